"""From the glass to the result: one thread reads, one parses, one draws and shows, with a frame or two between them.

Two rates are told, and never one without the other: what the engine alone could do, and how often a result comes out at
the end, after capture, crop, engine, paste, drawing and every sink.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_segface.camera.presenter import Presenter
from edge_segface.camera.reader import SourceReader
from edge_segface.camera.sinks import FrameResult, Sink, Window
from edge_segface.camera.sources import Source
from edge_segface.camera.stats import LoopStats
from edge_segface.engine.base import check_has_labels
from edge_segface.errors import EdgeSegfaceError
from edge_segface.face.parser import FaceParser
from edge_segface.face.stabiliser import Stabiliser
from edge_segface.face.tracker import MAX_FACES, Detector, FaceTracker, class_map_of
from edge_segface.frames import Frame
from edge_segface.machine import machine_info

POLL_S = 0.1
Say = Callable[[str], None]


def quiet(words: str) -> None:
    """For whom nothing is said."""


def no_sinks(source: SourceReader) -> Sequence[Sink]:  # noqa: ARG001
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
    """Runs until the source ends, `frames` are done, its window is closed or `stop` is set. It can run once."""

    parser: FaceParser
    open_source: Callable[[], Source]
    open_sinks: Callable[[SourceReader], Sequence[Sink]] = no_sinks
    settings: LoopSettings = field(default_factory=LoopSettings)
    say: Say = quiet
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        check_has_labels(self.parser.spec)
        self.meter = LoopStats()
        self._stabiliser = Stabiliser(len(self.parser.space)) if self.settings.stabilise else None
        self._tracker = FaceTracker(
            self.parser,
            max_faces=self.settings.max_faces,
            detector=self.settings.detector,
            stabiliser=self._stabiliser,
        )

    def run(self) -> dict[str, Any]:
        """Returns the report, also after Ctrl-C."""
        grabber = SourceReader(self.open_source, self.meter.watch, self.say)
        presenter, sinks = None, list[Sink]()
        windows: list[Window] = []
        try:
            self.say(f"source: {grabber.description}")
            sinks = list(self.open_sinks(grabber))
            windows = [sink for sink in sinks if isinstance(sink, Window)]
            presenter = Presenter(sinks, self.meter, self.stop, self.say) if sinks else None
            self._loop(grabber, presenter, windows)
        except KeyboardInterrupt:
            self.say("stopping")
        finally:
            self.stop.set()
            grabber.close()
            try:
                if presenter is not None:
                    presenter.close()
            finally:
                for window in windows:
                    window.destroy()
        return self._report(grabber, sinks)

    def _loop(self, grabber: SourceReader, presenter: Presenter | None, windows: Sequence[Window]) -> None:
        while not self.stop.is_set() and self.meter.frames != self.settings.frames:
            start = time.perf_counter()
            try:
                frame = grabber.next(POLL_S)
            except EdgeSegfaceError as error:
                if not self.meter.frames:
                    raise
                self.say(str(error))  # the end of a file that is cut short; what was read of it counts
                return
            self.meter.waited_s += time.perf_counter() - start
            if frame is not None:
                self._parse(frame, grabber, presenter)
            elif grabber.ended:
                return
            if not all(window.refresh() for window in windows):
                return

    def _parse(self, frame: Frame, grabber: SourceReader, presenter: Presenter | None) -> None:
        now_s = frame.captured_at_s if grabber.live else frame.index / grabber.fps
        faces = self._tracker.update(frame.image_bgr, now_s, self.meter.watch, alone=grabber.frames_independent)
        with self.meter.watch.stage("paste"):
            class_map = class_map_of(faces, frame.image_bgr.shape[:2], self.parser.space)
        self.meter.parsed(len(faces))
        if presenter is None:
            self.meter.finished(frame)
        else:
            lines, numbers = self.meter.lines(), self.meter.numbers()
            shown = FrameResult(frame, class_map, faces, lines, numbers, self.settings.opacity)
            presenter.put(shown, wait=not grabber.live)

    def _report(self, grabber: SourceReader, sinks: Sequence[Sink]) -> dict[str, Any]:
        return {
            "schema": 1,
            "model": self.parser.spec.name,
            "engine": self.parser.engine.description,
            "source": grabber.description,
            **self.meter.report(),
            "dropped": grabber.dropped,
            "reconnects": grabber.reconnects,
            "searches": self._tracker.searches,
            "flicker_percent": self._stabiliser.flicker.report() if self._stabiliser else None,
            "sinks": [sink.name for sink in sinks],
            "machine": machine_info(),
        }
