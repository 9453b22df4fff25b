"""What a camera loop measures: two rates, the latency, and the bottleneck."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from edge_segface.frames import Frame
from edge_segface.paper import PAPER_FPS
from edge_segface.timing import Durations, Stopwatch

WORK = ("crop", "infer", "track", "paste")  # the stages of the parsing thread
STAGES = ("capture", *WORK, "draw", "sink")
RECENT = 512  # results
RECENT_S = 2.0
WAIT_SHARE = 0.1  # a part for which the loop waits longer than this share of its time, or drops more frames, limits it


@dataclass(frozen=True)
class Parsed:
    """When a frame was parsed, the frames parsed until then, and the seconds that the engine ran for them."""

    at_s: float
    frames: int
    engine_s: float


@dataclass(frozen=True)
class Result:
    """When a frame had passed every sink, and when it was parsed."""

    at_s: float
    parsed: Parsed


@dataclass(frozen=True)
class Rates:
    """Frames per second, NaN where there are none yet.

    Both rates are of the same span. Results per second are over the slower of the two threads, so that a queue that is
    just being emptied counts as no rate. Engine only is all parsed frames over the engine's seconds, also the frames
    without a face that need no engine. The engine runs within the span, so end to end is never above engine only.
    """

    engine_only: float = math.nan
    end_to_end: float = math.nan

    @classmethod
    def between(cls, first: Result, last: Result, results: int, *, until_s: float | None = None) -> Rates:
        """Return the rates of `results` after the first, up to the last or to a later time."""
        seconds = max((until_s or last.at_s) - first.at_s, last.parsed.at_s - first.parsed.at_s)
        engine_s = last.parsed.engine_s - first.parsed.engine_s
        frames = last.parsed.frames - first.parsed.frames
        return cls(frames / engine_s if engine_s > 0 else math.nan, results / seconds if seconds > 0 else math.nan)


class LoopStats:
    def __init__(self) -> None:
        self.watch = Stopwatch()
        self.latency = Durations()
        self.waited_s = 0.0  # for frames
        self.blocked_s = 0.0  # by sinks
        self.unshown = 0
        self.frames = 0
        self.faces = 0
        self.results = 0
        self._parsed: deque[Parsed] = deque()  # not finished yet
        self._first: Result | None = None  # starts the clock
        self._recent: deque[Result] = deque(maxlen=RECENT)

    def parsed(self, faces: int) -> None:
        self.frames += 1
        self.faces += faces
        self._parsed.append(Parsed(time.perf_counter(), self.frames, self.watch.total_s("infer")))

    def not_shown(self) -> None:
        """Count that the frame parsed last is dropped, because the sinks are still busy with earlier ones."""
        self._parsed.pop()
        self.unshown += 1

    def finished(self, frame: Frame) -> None:
        """Count the result of the earliest parsed frame that is not finished."""
        parsed = self._parsed.popleft()
        result = Result(time.perf_counter(), parsed)
        self._first = self._first or result
        self._recent.append(result)
        self.results += 1
        self.latency.add(time.monotonic() - frame.captured_at_s)

    def rates(self) -> Rates:
        """Return the rates from the first result to the last."""
        if self._first is None:
            return Rates()
        return Rates.between(self._first, self._recent[-1], self.results - 1)

    def recent_rates(self) -> Rates:
        """Return the rates over the last two seconds; end to end falls towards 0 once results stay away."""
        now_s = time.perf_counter()
        recent = [result for result in tuple(self._recent) if result.at_s >= now_s - RECENT_S]
        if len(recent) < 2:
            return Rates(end_to_end=0.0 if self.results > 1 else math.nan)
        first, last = recent[0], recent[-1]
        usual_s = (last.at_s - first.at_s) / (len(recent) - 1)
        waiting = now_s - last.at_s > 2 * usual_s
        return Rates.between(first, last, len(recent) - 1, until_s=now_s if waiting else None)

    def bound_by(self) -> str:
        """Return the bottleneck: what to make faster for more results."""
        work = self.watch.total_s(*WORK)
        limit = WAIT_SHARE * (work + self.waited_s + self.blocked_s)
        if self.unshown > WAIT_SHARE * self.frames or self.blocked_s > max(limit, self.waited_s):
            return "sinks"
        if self.waited_s > limit:
            return "source"
        return "engine" if self.watch.total_s("infer") > work / 2 else "processor"

    def lines(self) -> list[str]:
        """Return the current rates as text."""
        rates = self.recent_rates()
        return [
            f"engine only {fps_text(rates.engine_only)} FPS",
            f"end to end {fps_text(rates.end_to_end)} FPS",
            f"paper {PAPER_FPS} FPS",
        ]

    def numbers(self) -> dict[str, Any]:
        """Return the current rates for the page; stage times are means of the whole run."""
        stages, rates = self.watch.stages, self.recent_rates()
        return {
            "engine_fps": rounded(rates.engine_only),
            "glass_to_result_fps": rounded(rates.end_to_end),
            "paper_fps": PAPER_FPS,
            "bound_by": self.bound_by(),
            "means_ms": {name: 1e3 * stages[name].total_s / max(1, self.frames) for name in STAGES if name in stages},
        }

    def report(self) -> dict[str, Any]:
        rates, stages = self.rates(), self.watch.stages_ms()
        seconds = self._recent[-1].at_s - self._first.at_s if self._first else 0.0
        return {
            "frames": self.results,
            "seconds": round(seconds, 3),
            "engine_fps": rounded(rates.engine_only),
            "glass_to_result_fps": rounded(rates.end_to_end),
            "paper_fps": PAPER_FPS,
            "of_paper": rounded(rates.end_to_end / PAPER_FPS),
            "latency_ms": self.latency.percentiles_ms() if self.latency.count else {},
            "stages_ms": {name: stages[name] for name in STAGES if name in stages},
            "bound_by": self.bound_by(),
            "unshown": self.unshown,
            "faces_per_frame": rounded(self.faces / self.frames) if self.frames else None,
        }


def rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)


def fps_text(value: float) -> str:
    return "..." if math.isnan(value) else f"{value:.1f}"
