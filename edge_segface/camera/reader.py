"""The thread that reads a source: the newest frame of a camera, every frame of a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import cv2

from edge_segface.camera.sources import Source
from edge_segface.errors import FrameError, SourceError, first_line
from edge_segface.frames import Frame, UInt8Array
from edge_segface.redaction import redact
from edge_segface.timing import Stopwatch

FIRST_RETRY_S = 0.2  # before the first attempt to reconnect; doubles with every failure
LONGEST_RETRY_S = 5.0
STALL_S = 20.0  # without a frame, after which a live source is opened again even if it does not return from `read`
# What a camera may raise that works again later; OSError also when all descriptors are in use.
RECOVERABLE = (SourceError, OSError, MemoryError, cv2.error)


class Lost:
    """Stands in for a source that is given up: reading it fails, and so the source is opened again."""

    live = True
    frames_independent = False
    fps = 30.0
    frame_name: str | None = None

    def __init__(self, why: str) -> None:
        self.description = why

    def read(self) -> UInt8Array | None:
        raise SourceError(self.description)

    def close(self) -> None:
        pass


class SourceReader:
    """Reads the frames of a source, and reconnects to a live one whenever it fails, unless that is not wanted.

    A source that cannot be opened at the start is an error at once, because its address may be wrong.
    """

    def __init__(
        self,
        open_source: Callable[[], Source],
        watch: Stopwatch,
        on_event: Callable[[str], None],
        *,
        reconnect: bool = True,
        arrival: threading.Event | None = None,
        every: int = 1,
    ) -> None:
        self._open, self._watch, self._on_event, self._reconnect = open_source, watch, on_event, reconnect
        self._source = open_source()
        self.live = self._source.live
        self.description = redact(self._source.description)
        self.frames_independent = self._source.frames_independent
        self._every, self._source_fps = every, self._source.fps
        self.fps = self._source_fps / every  # of the frames that are handed over
        self.dropped = 0
        self.reconnects = 0
        self.skipped = 0
        self._frame: Frame | None = None
        self._index = 0
        self._alive_s = time.monotonic()  # when the source last gave a frame or was said to be lost
        self._error: BaseException | None = None
        self._ended = False
        self._stop = threading.Event()
        self._arrival = arrival or threading.Event()  # set when there is a frame or the source has ended
        self._change = threading.Condition()
        self._thread = self._start()

    def next(self, timeout_s: float) -> Frame | None:
        """Return the next frame, or None if there is none yet. At the end `ended` is true; an error is raised once."""
        if self.live and self._reconnect and time.monotonic() - self._alive_s > STALL_S:
            self._abandon()
        with self._change:
            self._change.wait_for(lambda: self._frame is not None or self._ended, timeout_s)
            frame, self._frame = self._frame, None
            self._change.notify_all()
            if frame is None and self._error is not None:
                error, self._error = self._error, None
                raise error
            return frame

    def time_of(self, frame: Frame) -> float:
        """Return when a frame was taken, in seconds: by the clock for a live source, else by its place in the file."""
        return frame.captured_at_s if self.live else frame.index / self._source_fps

    @property
    def ended(self) -> bool:
        with self._change:
            return self._ended and self._frame is None and self._error is None

    def close(self) -> None:
        self._stop.set()
        with self._change:
            self._change.notify_all()
        self._thread.join(10)

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=(self._source,), name="reader", daemon=True)
        thread.start()
        return thread

    def _abandon(self) -> None:
        """Leave a thread behind whose source does not return from `read`, and open the source in another one."""
        stalled, self._source = self._source, Lost(f"no frame for {STALL_S:g} s")
        self._alive_s = time.monotonic()
        threading.Thread(target=stalled.close, name="closing", daemon=True).start()  # which may hang, too
        self._thread = self._start()

    def _run(self, source: Source) -> None:
        try:
            while not self._stop.is_set():
                try:
                    with self._watch.stage("capture"):
                        image = source.read()
                    if source is not self._source:
                        return  # it came back after another thread had taken over
                    if image is None:
                        break
                    frame = Frame(image, self._index, time.monotonic(), source.frame_name)
                except FrameError as error:
                    self.skipped += 1
                    self._on_event(f"skipped: {error}")
                    continue
                except RECOVERABLE as error:
                    if source is not self._source:
                        return
                    if not (self.live and self._reconnect):
                        raise
                    again = self._reopen(source, error)
                    if again is None:
                        return
                    source = again
                    continue
                self._index += 1
                self._alive_s = time.monotonic()
                if frame.index % self._every == 0:
                    self._hand_over(frame)
        except BaseException as error:  # noqa: BLE001 - raised again by `next` in the thread that waits
            self._error = error
        finally:
            if source is self._source:
                source.close()
                with self._change:
                    self._ended = True
                    self._change.notify_all()
                self._arrival.set()

    def _hand_over(self, frame: Frame) -> None:
        with self._change:
            if self.live:
                self.dropped += self._frame is not None
            else:
                self._change.wait_for(lambda: self._frame is None or self._stop.is_set())
            self._frame = frame
            self._change.notify_all()
        self._arrival.set()

    def _reopen(self, lost: Source, error: Exception) -> Source | None:
        """Open the source again, however often it takes; return None if the loop ends, or another thread took over."""
        self._on_event(f"{redact(first_line(error))}; reconnecting")
        with suppress(*RECOVERABLE):
            lost.close()
        pause = FIRST_RETRY_S
        while not self._stop.wait(pause):
            self._alive_s = time.monotonic() + STALL_S  # opening may take longer than reading
            try:
                source = self._open()
            except RECOVERABLE as again:
                pause = min(2 * pause, LONGEST_RETRY_S)
                self._on_event(f"{redact(first_line(again))}; next try in {pause:.1f} s")
                continue
            if self._source is not lost:
                source.close()
                return None
            self._source = source
            self.reconnects += 1
            self.description = redact(source.description)
            self._on_event(f"reconnected: {self.description}")
            return source
        return None
