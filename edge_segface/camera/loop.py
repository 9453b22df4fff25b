"""From the glass to the result: one thread reads, one parses, one draws and shows, with a frame or two between them.

Two rates are told, and never one without the other: what the engine alone could do, and how often a result comes out at
the end, after capture, crop, engine, paste, drawing and every sink.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_segface.bench.stopwatch import PAPER_FPS, Durations, Rate, Stopwatch, machine
from edge_segface.camera.grabber import Grabber
from edge_segface.camera.sinks import Shown, Sink
from edge_segface.camera.sources import Source
from edge_segface.camera.stabiliser import Stabiliser
from edge_segface.camera.tracker import MAX_FACES, Detector, FaceTracker, Parsed, class_map_of
from edge_segface.engine.base import check_has_labels
from edge_segface.errors import EdgeSegfaceError
from edge_segface.frames import ClassMap, Frame
from edge_segface.parser import FaceParser

WAITING = 2  # results that may wait for the sinks
POLL_S = 0.2
RECENT = 100  # frames
WORK = ("crop", "infer", "track", "paste")  # the stages of the parsing thread
STAGES = ("capture", *WORK, "draw", "sink")
Say = Callable[[str], None]


def quiet(words: str) -> None:
    """For whom nothing is said."""


def no_sinks(source: Grabber) -> Sequence[Sink]:  # noqa: ARG001
    """For whom the results are enough."""
    return ()


@dataclass(frozen=True)
class LoopSettings:
    frames: int | None = None  # to stop after
    max_faces: int = MAX_FACES
    stabilise: bool = False
    detector: Detector | None = None
    opacity: float = 0.6


@dataclass(eq=False)
class CameraLoop:
    """Runs until the source ends, `frames` are done, a window is closed or `stop` is called. It can run once."""

    parser: FaceParser
    open_source: Callable[[], Source]
    open_sinks: Callable[[Grabber], Sequence[Sink]] = no_sinks
    settings: LoopSettings = field(default_factory=LoopSettings)
    say: Say = quiet

    def __post_init__(self) -> None:
        check_has_labels(self.parser.spec)
        self.watch = Stopwatch()
        self.results = Rate()
        self.latency = Durations()
        self.sink_names: list[str] = []
        self.waited_s = 0.0
        self._first_s = 0.0  # that the engine spent on the first frame
        self._spent: deque[float] = deque(maxlen=RECENT)  # seconds of the engine up to each of the last frames
        self.unshown = 0
        self.faces = 0
        self.last: tuple[Frame, ClassMap] | None = None
        self._stop = threading.Event()
        self._stabiliser = Stabiliser(len(self.parser.space)) if self.settings.stabilise else None
        self._tracker = FaceTracker(
            self.parser,
            max_faces=self.settings.max_faces,
            detector=self.settings.detector,
            stabiliser=self._stabiliser,
        )

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> dict[str, Any]:
        """Returns the report, also after Ctrl-C and SIGTERM."""
        self.grabber = grabber = Grabber(self.open_source, self.watch, self.say)
        presenter = None
        try:
            self.say(f"source: {grabber.description}")
            sinks = self.open_sinks(grabber)
            self.sink_names = [sink.name for sink in sinks]
            presenter = Presenter(sinks, self) if sinks else None
            self._loop(grabber, presenter)
        except KeyboardInterrupt:
            self.say("stopping")
        finally:
            grabber.close()
            if presenter is not None:
                presenter.close()
        return self.report()

    def _loop(self, grabber: Grabber, presenter: Presenter | None) -> None:
        done = 0
        while not self._stop.is_set() and done != self.settings.frames:
            start = time.perf_counter()
            try:
                frame = grabber.next(POLL_S)
            except EdgeSegfaceError as error:
                if not done:
                    raise
                self.say(str(error))  # the end of a file that is cut short; what was read of it counts
                return
            self.waited_s += time.perf_counter() - start
            if frame is None:
                if grabber.ended:
                    return
                continue
            class_map, faces = self._parsed(frame)
            self._spent.append(self.watch.total_s("infer"))
            self._first_s = self._first_s if done else self._spent[0]
            done += 1
            self.faces += len(faces)
            self.last = frame, class_map
            if presenter is None:
                self.finished(frame)
            else:
                shown = Shown(frame, class_map, faces, self.lines(), self.numbers(), self.settings.opacity)
                presenter.put(shown, wait=not grabber.live)

    def _parsed(self, frame: Frame) -> tuple[ClassMap, list[Parsed]]:
        faces = self._tracker.update(frame, self.watch)
        with self.watch.stage("paste"):
            return class_map_of(faces, frame.image_bgr.shape[:2], self.parser.space), faces

    def finished(self, frame: Frame) -> None:
        self.results.tick()
        self.latency.add(time.monotonic() - frame.captured_at_s)

    def numbers(self) -> dict[str, Any]:
        """What a page shows of a running loop."""
        return {
            "engine_fps": self.recent_engine_fps(),
            "glass_to_result_fps": self.results.recent_fps(),
            "paper_fps": PAPER_FPS,
            "bound_by": self.bound_by(),
            "means_ms": {
                name: 1e3 * self.watch.stages[name].total_s / max(1, self.results.count)
                for name in STAGES
                if name in self.watch.stages
            },
        }

    def lines(self) -> list[str]:
        return [
            f"engine only {self.recent_engine_fps():.1f} FPS",
            f"glass to result {self.results.recent_fps():.1f} FPS",
            f"paper {PAPER_FPS} FPS",
        ]

    def engine_fps(self) -> float:
        """Frames that the engine could do in a second if it did nothing else, searches for faces included.

        As of the results, the first is not counted: it is where the clock starts.
        """
        spent = self.watch.total_s("infer") - self._first_s
        return (self.watch.stages["paste"].count - 1) / spent if spent > 0 else float("nan")

    def recent_engine_fps(self) -> float:
        """Over the last frames, as what is shown of a running loop."""
        if len(self._spent) < 2:
            return float("nan")
        spent = self._spent[-1] - self._spent[0]
        return (len(self._spent) - 1) / spent if spent else float("nan")

    def bound_by(self) -> str:
        """What to make faster so that more results come out."""
        busy = {name: self.watch.total_s(name) for name in STAGES}
        work = sum(busy[name] for name in WORK)
        if busy["draw"] + busy["sink"] > max(work, self.waited_s):
            return "sinks"
        if self.waited_s > work:
            return "source"
        return "engine" if busy["infer"] > work / 2 else "processor"

    def report(self) -> dict[str, Any]:
        fps, engine_fps = self.results.fps(), self.engine_fps()
        stages = self.watch.stages_ms()
        return {
            "schema": 1,
            "model": self.parser.spec.name,
            "engine": self.parser.engine.description,
            "source": self.grabber.description,
            "frames": self.results.count,
            "seconds": round(self.results.seconds, 3),
            "engine_fps": rounded(engine_fps),
            "glass_to_result_fps": rounded(fps),
            "paper_fps": PAPER_FPS,
            "of_paper": rounded(fps / PAPER_FPS),
            "latency_ms": self.latency.percentiles_ms() if self.latency.count else {},
            "stages_ms": {name: stages[name] for name in STAGES if name in stages},
            "bound_by": self.bound_by(),
            "dropped": self.grabber.dropped,
            "unshown": self.unshown,
            "reconnects": self.grabber.reconnects,
            "faces_per_frame": rounded(self.faces / max(1, self.watch.stages["paste"].count)) if self.last else None,
            "searches": self._tracker.searches,
            "flicker_percent": self._stabiliser.flicker.report() if self._stabiliser else None,
            "sinks": self.sink_names,
            "machine": machine(),
        }


class Presenter:
    """The thread that draws and hands results to the sinks, of which each may fail without the others."""

    def __init__(self, sinks: Sequence[Sink], loop: CameraLoop) -> None:
        self._sinks, self._loop = list(sinks), loop
        self._waiting: queue.Queue[Shown | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="presenter", daemon=True)
        self._thread.start()

    def put(self, shown: Shown, *, wait: bool) -> None:
        """Of a live source a result that nobody is ready for is not shown, so that what is shown is never old."""
        while True:
            try:
                self._waiting.put(shown, timeout=POLL_S if wait else 0)
                return
            except queue.Full:
                if not wait:
                    self._loop.unshown += 1
                    return
                if not self._thread.is_alive():
                    return

    def close(self) -> None:
        """Shows what is waiting, and closes every sink."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (shown := self._waiting.get()) is not None:
            if any(sink.draws for sink in self._sinks):
                with self._loop.watch.stage("draw"):
                    _ = shown.drawn
            with self._loop.watch.stage("sink"):
                for sink in list(self._sinks):
                    self._show(sink, shown)
            self._loop.finished(shown.frame)
        for sink in self._sinks:
            sink.close()

    def _show(self, sink: Sink, shown: Shown) -> None:
        try:
            if not sink.show(shown):
                self._loop.stop()
        except EdgeSegfaceError as error:
            self._loop.say(str(error))
            sink.close()
            self._sinks.remove(sink)


def rounded(value: float) -> float | None:
    return None if value != value else round(value, 2)
