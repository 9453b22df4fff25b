"""The camera loop: one thread reads, one parses, one draws and presents, with a frame or two queued between them.

Two rates are always reported together: engine only, and end to end after capture, crop, inference, pasting, drawing and
every sink.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_segface.camera.presenter import Presenter
from edge_segface.camera.reader import SourceReader
from edge_segface.camera.recording import Recording
from edge_segface.camera.result import DrawOptions, FrameResult
from edge_segface.camera.sinks import Sink, Window
from edge_segface.camera.sources import Source
from edge_segface.camera.stats import LoopStats
from edge_segface.engine.base import check_has_labels
from edge_segface.engine.watched import EngineLostError
from edge_segface.errors import EdgeSegfaceError
from edge_segface.face.detector import Detector
from edge_segface.face.merge import merged_class_map
from edge_segface.face.parser import FaceParser
from edge_segface.face.stabiliser import Stabiliser
from edge_segface.face.tracker import MAX_FACES, FaceTracker, TrackedFace
from edge_segface.frames import Frame
from edge_segface.machine import machine_info

POLL_S = 0.1
LOST_PAUSE_S = 0.2  # before the next call of an engine that gave no result
OnMessage = Callable[[str], None]


def ignore_message(text: str) -> None:
    """Discard a message: the default of `on_message`."""


def no_tick() -> None:
    """Do nothing: the default of `on_tick`."""


def no_sinks(reader: SourceReader) -> Sequence[Sink]:  # noqa: ARG001
    """Open nothing: the default of `open_sinks`."""
    return ()


@dataclass(frozen=True)
class LoopSettings:
    frames: int | None = None  # stop after this many
    max_faces: int = MAX_FACES
    stabilise: bool = False
    detector: Detector | None = None
    draw: DrawOptions = field(default_factory=DrawOptions)


@dataclass(eq=False)
class CameraLoop:
    """Runs until the source ends, `frames` are done, its window is closed, or `stop` is set. A loop runs once."""

    parser: FaceParser
    open_source: Callable[[], Source]
    open_sinks: Callable[[SourceReader], Sequence[Sink]] = no_sinks
    settings: LoopSettings = field(default_factory=LoopSettings)
    on_message: OnMessage = ignore_message
    stop: threading.Event = field(default_factory=threading.Event)
    on_tick: Callable[[], None] = no_tick  # called at every turn, with or without a frame

    def __post_init__(self) -> None:
        check_has_labels(self.parser.spec)
        self.parser.space.ids_of(*(self.settings.draw.classes or ()), *filter(None, [self.settings.draw.alpha]))
        self.stats = LoopStats()
        self._failures: list[str] = []  # what ended the source or a sink early
        self.engine_losses = 0  # calls of the engine without a result
        self._last_loss = ""
        self._stabiliser = Stabiliser(len(self.parser.space)) if self.settings.stabilise else None
        self._tracker = FaceTracker(
            self.parser,
            max_faces=self.settings.max_faces,
            detector=self.settings.detector,
            stabiliser=self._stabiliser,
        )

    def run(self) -> dict[str, Any]:
        """Run, and return the report; also after Ctrl-C."""
        reader = SourceReader(self.open_source, self.stats.watch, self.on_message)
        presenter, sinks = None, list[Sink]()
        windows: list[Window] = []
        try:
            self.on_message(f"source: {reader.description}")
            sinks = list(self.open_sinks(reader))
            windows = [sink for sink in sinks if isinstance(sink, Window)]
            presenter = Presenter(sinks, self.stats, self.stop, self._fail) if sinks else None
            self._loop(reader, presenter, windows)
        except KeyboardInterrupt:
            self.on_message("stopping")
        finally:
            self.stop.set()
            reader.close()
            try:
                if presenter is not None:
                    presenter.close()
            finally:
                for window in windows:
                    window.destroy()
        return self._report(reader, sinks, presenter.failed_sinks if presenter is not None else [])

    def _loop(self, reader: SourceReader, presenter: Presenter | None, windows: Sequence[Window]) -> None:
        while not self.stop.is_set() and self.stats.frames != self.settings.frames:
            self.on_tick()
            start = time.perf_counter()
            try:
                frame = reader.next(POLL_S)
            except EdgeSegfaceError as error:
                if not self.stats.frames:
                    raise
                self._fail(str(error))  # a truncated file: what was read of it counts
                return
            self.stats.waited_s += time.perf_counter() - start
            if frame is not None:
                self._parse(frame, reader, presenter)
            elif reader.ended:
                return
            if not all(window.refresh() for window in windows):
                return

    def _fail(self, text: str) -> None:
        self._failures.append(text)
        self.on_message(text)

    def _parse(self, frame: Frame, reader: SourceReader, presenter: Presenter | None) -> None:
        faces = self._track(frame, reader)
        if faces is None:
            return
        with self.stats.watch.stage("paste"):
            class_map = merged_class_map(faces, frame.image_bgr.shape[:2], self.parser.space)
        self.stats.parsed(len(faces))
        if presenter is None:
            self.stats.finished(frame)
        else:
            lines, numbers = self.stats.lines(), self.stats.numbers()
            result = FrameResult(frame, class_map, faces, lines, numbers, self.settings.draw)
            presenter.put(result, wait=not reader.live)

    def _track(self, frame: Frame, reader: SourceReader) -> list[TrackedFace] | None:
        """Return the faces of a frame; without an engine, None for a live frame, while a file waits for one."""
        while True:
            try:
                return self._tracker.update(
                    frame.image_bgr,
                    reader.time_of(frame),
                    self.stats.watch,
                    frames_independent=reader.frames_independent,
                )
            except EngineLostError as error:
                self.engine_losses += 1
                if str(error) != self._last_loss:  # not once a frame
                    self._last_loss = str(error)
                    self.on_message(self._last_loss)
                if self.stop.wait(LOST_PAUSE_S) or reader.live:
                    return None

    def _report(self, reader: SourceReader, sinks: Sequence[Sink], failed: Sequence[str]) -> dict[str, Any]:
        return {
            "schema": 1,
            "model": self.parser.spec.name,
            "engine": self.parser.engine.description,
            "source": reader.description,
            **self.stats.report(),
            "dropped": reader.dropped,
            "skipped": reader.skipped,
            "failure": "; ".join(self._failures) or None,
            "reconnects": reader.reconnects,
            "engine_losses": self.engine_losses,
            "searches": self._tracker.searches,
            "flicker_percent": self._stabiliser.flicker.report() if self._stabiliser else None,
            "sinks": [sink.name for sink in sinks if sink.name not in failed],
            "failed_sinks": list(failed),
            "recording": next((sink.report() for sink in sinks if isinstance(sink, Recording)), None),
            "machine": machine_info(),
        }
