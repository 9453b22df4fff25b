"""What a camera loop measures: two rates, the latency, and the bottleneck."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any

from edge_segface.frames import Frame
from edge_segface.paper import PAPER_FPS
from edge_segface.timing import Durations, Rate, Stopwatch

WORK = ("crop", "infer", "track", "paste")  # the stages of the parsing thread
STAGES = ("capture", *WORK, "draw", "sink")
RECENT = 100  # frames
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
        self._engine_s: deque[float] = deque(maxlen=RECENT)  # of the last frames in which the engine ran
        self._engine_frames = 0
        self._engine_total_s = self._counted_s = 0.0

    def parsed(self, faces: int) -> None:
        """Count a parsed frame. The engine's time for the first is excluded, because it starts the clock."""
        total = self.watch.total_s("infer")
        spent, self._counted_s = total - self._counted_s, total
        if spent and self.frames:
            self._engine_s.append(spent)
            self._engine_frames += 1
            self._engine_total_s += spent
        self.frames += 1
        self.faces += faces

    def finished(self, frame: Frame) -> None:
        self.results.tick()
        self.latency.add(time.monotonic() - frame.captured_at_s)

    def engine_fps(self) -> float:
        """Return the frames per second that the engine could do if nothing else ran, searches included."""
        return self._engine_frames / self._engine_total_s if self._engine_frames else math.nan

    def recent_engine_fps(self) -> float:
        recent = tuple(self._engine_s)
        return len(recent) / sum(recent) if recent else math.nan

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
            f"engine only {self.recent_engine_fps():.1f} FPS",
            f"end to end {self.results.recent_fps():.1f} FPS",
            f"paper {PAPER_FPS} FPS",
        ]

    def numbers(self) -> dict[str, Any]:
        """Return the current rates for the page; stage times are means of the whole run."""
        stages = self.watch.stages
        return {
            "engine_fps": self.recent_engine_fps(),
            "glass_to_result_fps": self.results.recent_fps(),
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
