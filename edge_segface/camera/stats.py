"""What a camera loop measures: two rates, the latency, and the bottleneck."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any

from edge_segface.frames import Frame
from edge_segface.paper import PAPER_FPS
from edge_segface.timing import RECENT_S, Durations, Rate, Stopwatch

WORK = ("crop", "infer", "track", "paste")  # the stages of the parsing thread
STAGES = ("capture", *WORK, "draw", "sink")
RECENT = 1000  # frames
WAIT_SHARE = 0.1  # share of its time that the parsing thread may wait before what it waits for is the bottleneck


class LoopStats:
    def __init__(self) -> None:
        self.watch = Stopwatch()
        self.results = Rate()
        self.latency = Durations()
        self.waited_s = 0.0  # for frames
        self.blocked_s = 0.0  # by sinks
        self.unshown = 0
        self.frames = 0
        self.faces = 0
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)  # when the engine ran, and its seconds
        self._engine_frames = 0
        self._engine_total_s = self._counted_s = 0.0

    def parsed(self, faces: int) -> None:
        """Count a parsed frame. The engine's time for the first is excluded, because it starts the clock."""
        total = self.watch.total_s("infer")
        spent, self._counted_s = total - self._counted_s, total
        if spent and self.frames:
            self._recent.append((time.perf_counter(), spent))
            self._engine_frames += 1
            self._engine_total_s += spent
        self.frames += 1
        self.faces += faces

    def finished(self, frame: Frame) -> None:
        self.results.tick()
        self.latency.add(time.monotonic() - frame.captured_at_s)

    def engine_fps(self) -> float:
        """Return the frames per second that the engine could do if nothing else ran, searches included.

        Frames for which the engine does not run are not counted. With many of them the loop may be faster than the
        engine; it then counts as just as fast, because the two rates must not contradict each other.
        """
        return self._not_below(self.results.fps(), self._engine_frames, self._engine_total_s)

    def recent_engine_fps(self) -> float:
        since = time.perf_counter() - RECENT_S
        recent = [spent for when, spent in tuple(self._recent) if when >= since]
        return self._not_below(self.recent_fps(), len(recent), sum(recent))

    def recent_fps(self) -> float:
        return self.results.recent_fps() if self.results.count > 1 else math.nan

    @staticmethod
    def _not_below(end_to_end: float, frames: int, seconds: float) -> float:
        if seconds <= 0:
            return math.nan
        return frames / seconds if math.isnan(end_to_end) else max(frames / seconds, end_to_end)

    def bound_by(self) -> str:
        """Return the bottleneck: what to make faster for more results."""
        work = self.watch.total_s(*WORK)
        limit = WAIT_SHARE * (work + self.waited_s + self.blocked_s)
        sinks = max(self.blocked_s, self.unshown / max(1, self.frames) * work)
        if sinks > max(limit, self.waited_s):
            return "sinks"
        if self.waited_s > limit:
            return "source"
        return "engine" if self.watch.total_s("infer") > work / 2 else "processor"

    def lines(self) -> list[str]:
        """Return the current rates as text."""
        return [
            f"engine only {fps_text(self.recent_engine_fps())} FPS",
            f"end to end {fps_text(self.recent_fps())} FPS",
            f"paper {PAPER_FPS} FPS",
        ]

    def numbers(self) -> dict[str, Any]:
        """Return the current rates for the page; stage times are means of the whole run."""
        stages = self.watch.stages
        return {
            "engine_fps": rounded(self.recent_engine_fps()),
            "glass_to_result_fps": rounded(self.recent_fps()),
            "paper_fps": PAPER_FPS,
            "bound_by": self.bound_by(),
            "means_ms": {name: 1e3 * stages[name].total_s / max(1, self.frames) for name in STAGES if name in stages},
        }

    def report(self) -> dict[str, Any]:
        fps, stages = self.results.fps(), self.watch.stages_ms()
        return {
            "frames": self.results.count,
            "seconds": round(self.results.seconds, 3),
            "engine_fps": rounded(self.engine_fps()),
            "glass_to_result_fps": rounded(fps),
            "paper_fps": PAPER_FPS,
            "of_paper": rounded(fps / PAPER_FPS),
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
