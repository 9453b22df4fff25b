"""One source of a camera loop, with its own tracker, rates and sinks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from edge_segface.camera.presenter import Presenter
from edge_segface.camera.reader import SourceReader
from edge_segface.camera.recording import Recording
from edge_segface.camera.result import DrawOptions, FrameResult
from edge_segface.camera.sinks import Sink, Window
from edge_segface.camera.sources import Source
from edge_segface.camera.stats import LoopStats
from edge_segface.camera.viewer.server import PageSink
from edge_segface.errors import EdgeSegfaceError, InputError
from edge_segface.face.detector import Detector
from edge_segface.face.merge import merged_class_map
from edge_segface.face.parser import FaceParser
from edge_segface.face.stabiliser import Stabiliser
from edge_segface.face.tracker import MAX_FACES, FaceTracker, Plan, TrackedFace
from edge_segface.frames import Frame

OnMessage = Callable[[str], None]
OpenSinks = Callable[[SourceReader], Sequence[Sink]]
Outputs = dict[str, npt.NDArray[Any]]


def no_sinks(reader: SourceReader) -> Sequence[Sink]:  # noqa: ARG001
    """Open nothing: the default of `open_sinks`."""
    return ()


@dataclass(frozen=True)
class LoopSettings:
    frames: int | None = None  # stop a source after this many
    max_faces: int = MAX_FACES
    stabilise: bool = False
    detector: Detector | None = None
    draw: DrawOptions = field(default_factory=DrawOptions)
    overlap: bool = True  # prepare a frame while the engine still runs for the one before
    every: int = 1  # parse every n-th frame only
    max_fps: float | None = None  # of each source

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError("every takes a number of frames from 1", found=self.every)
        if self.max_fps is not None and not self.max_fps > 0:
            raise InputError("max_fps must be positive", found=self.max_fps)


@dataclass(eq=False)
class Planned:
    """A frame whose crops are in the engine, and the faces found in it so far."""

    frame: Frame
    plan: Plan
    faces: list[TrackedFace] = field(default_factory=list)


class Channel:
    """Reads the frames of one source, says what to parse of them, and passes results to its sinks.

    `take` gives a frame, `plan` its crops, `follow` the faces in the engine's outputs, and `deliver` the result. If
    `tolerant`, a source without a frame is reported as failed; otherwise its error is raised.
    """

    def __init__(
        self,
        open_source: Callable[[], Source],
        open_sinks: OpenSinks,
        parser: FaceParser,
        settings: LoopSettings,
        on_message: OnMessage,
        stop: threading.Event,
        arrival: threading.Event,
        *,
        tolerant: bool,
    ) -> None:
        self.stats = LoopStats()
        self.planned: Planned | None = None
        self.ended = False
        self._next_s = time.monotonic()  # from which a further frame may be taken
        self.windows: list[Window] = []
        self._parser, self._settings, self._on_message, self._tolerant = parser, settings, on_message, tolerant
        self._failures: list[str] = []  # what ended the source or a sink early
        self._sinks: list[Sink] = []
        self._presenter: Presenter | None = None
        self._stabiliser = Stabiliser(len(parser.space)) if settings.stabilise else None
        self._tracker = FaceTracker(
            parser, max_faces=settings.max_faces, detector=settings.detector, stabiliser=self._stabiliser
        )
        self.reader = SourceReader(open_source, self.stats.watch, on_message, arrival=arrival, every=settings.every)
        try:
            on_message(f"source: {self.reader.description}")
            self._sinks = list(open_sinks(self.reader))
            self.windows = [sink for sink in self._sinks if isinstance(sink, Window)]
            for sink in self._sinks:
                if isinstance(sink, PageSink):
                    sink.report = self.report
            self._presenter = Presenter(self._sinks, self.stats, stop, self._fail) if self._sinks else None
        except BaseException:
            self.close()
            raise

    @property
    def live(self) -> bool:
        return self.reader.live

    @property
    def may_overlap(self) -> bool:
        """Whether the next frame may be planned before this one is finished: only while faces are tracked."""
        return self._settings.overlap and self._tracker.is_tracking and not self.reader.frames_independent

    @property
    def wants_frame(self) -> bool:
        """Whether a further frame may be planned now."""
        if self.ended or self.pause_s or (self.planned is not None and not self.may_overlap):
            return False
        return self._settings.frames is None or self.stats.frames + (self.planned is not None) < self._settings.frames

    @property
    def pause_s(self) -> float:
        """Seconds until `max_fps` allows a further frame."""
        return max(0.0, self._next_s - time.monotonic())

    @property
    def done(self) -> bool:
        """Whether no further result will come."""
        return self.planned is None and (self.ended or self.stats.frames == self._settings.frames)

    def take(self, timeout_s: float) -> Frame | None:
        """Return the next frame, or None if there is none yet or none any more."""
        try:
            frame = self.reader.next(timeout_s)
        except EdgeSegfaceError as error:
            self.ended = True
            if not self._tolerant and not self.stats.frames and self.planned is None:
                raise
            self._fail(str(error))  # a truncated file: what was read of it counts
            return None
        self.ended = frame is None and self.reader.ended
        if frame is not None and self._settings.max_fps is not None:
            self._next_s = max(self._next_s + 1 / self._settings.max_fps, time.monotonic())
        return frame

    def plan(self, frame: Frame) -> Planned:
        plan = self._tracker.plan(
            frame.image_bgr,
            self.reader.time_of(frame),
            self.stats.watch,
            frames_independent=self.reader.frames_independent,
        )
        return Planned(frame, plan)

    def follow(self, planned: Planned, outputs: Outputs) -> Planned | None:
        """Note the faces in the outputs for a plan. Return close looks at further ones, if they are not to wait."""
        planned.faces += self._tracker.finish(planned.plan, outputs, self.stats.watch)
        if self.planned is not planned:
            return None  # the next frame has been planned already, and the one after it will show them
        more = self._tracker.plan_confirmation(planned.frame.image_bgr, self.stats.watch)
        return None if more is None else Planned(planned.frame, more, planned.faces)

    def lose(self, planned: Planned) -> None:
        """Note that there are no outputs for a plan."""
        self._tracker.abandon()
        if self.planned is planned:
            self.planned = None

    def deliver(self, planned: Planned) -> None:
        """Pass the result of a frame on."""
        frame, faces = planned.frame, planned.faces
        if self.planned is planned:
            self.planned = None
        with self.stats.watch.stage("paste"):
            class_map = merged_class_map(faces, frame.image_bgr.shape[:2], self._parser.space)
        self.stats.parsed(len(faces))
        if self._presenter is None:
            self.stats.finished(frame)
        else:
            lines, numbers = self.stats.lines(), self.stats.numbers()
            result = FrameResult(frame, class_map, faces, lines, numbers, self._settings.draw)
            self._presenter.put(result, wait=not self.live)

    def close(self) -> None:
        self.reader.close()
        try:
            if self._presenter is not None:
                self._presenter.close()
            else:
                for sink in self._sinks:
                    sink.close()
        finally:
            for window in self.windows:
                window.destroy()

    def report(self) -> dict[str, Any]:
        failed = self._presenter.failed_sinks if self._presenter is not None else []
        return {
            "source": self.reader.description,
            **self.stats.report(),
            "dropped": self.reader.dropped,
            "skipped": self.reader.skipped,
            "failure": "; ".join(self._failures) or None,
            "reconnects": self.reader.reconnects,
            "searches": self._tracker.searches,
            "flicker_percent": self._stabiliser.flicker.report() if self._stabiliser else None,
            "sinks": [sink.name for sink in self._sinks if sink.name not in failed],
            "failed_sinks": list(failed),
            "recording": next((sink.report() for sink in self._sinks if isinstance(sink, Recording)), None),
        }

    def _fail(self, text: str) -> None:
        self._failures.append(text)
        self._on_message(text)
