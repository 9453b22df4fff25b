"""The thread that draws and hands results to the sinks, of which each may fail without the others."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

from edge_segface.camera.sinks import FrameResult, Sink
from edge_segface.camera.stats import LoopStats
from edge_segface.errors import EdgeSegfaceError

WAITING = 2  # results that may wait for the sinks
POLL_S = 0.1


class Presenter:
    """`failed` is what ended it, if it did not end by `close`; the sinks are closed whatever happens."""

    def __init__(
        self, sinks: Sequence[Sink], meter: LoopStats, stop: threading.Event, say: Callable[[str], None]
    ) -> None:
        self._sinks, self._meter, self._stop, self._say = list(sinks), meter, stop, say
        self.failed: BaseException | None = None
        self._waiting: queue.Queue[FrameResult | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="presenter", daemon=True)
        self._thread.start()

    def put(self, shown: FrameResult, *, wait: bool) -> None:
        """Of a live source a result that nobody is ready for is not shown, so that what is shown is never old."""
        if not wait:
            try:
                self._waiting.put_nowait(shown)
            except queue.Full:
                self._meter.unshown += 1
            return
        start = time.perf_counter()
        while self._thread.is_alive() and not self._stop.is_set():
            try:
                self._waiting.put(shown, timeout=POLL_S)
                break
            except queue.Full:
                continue
        self._meter.blocked_s += time.perf_counter() - start

    def close(self) -> None:
        """Shows what is waiting, and closes every sink."""
        while self._thread.is_alive():
            try:
                self._waiting.put(None, timeout=POLL_S)
                break
            except queue.Full:
                continue
        self._thread.join()
        if self.failed is not None:
            raise self.failed

    def _run(self) -> None:
        try:
            while (shown := self._waiting.get()) is not None:
                if any(sink.draws for sink in self._sinks):
                    with self._meter.watch.stage("draw"):
                        _ = shown.drawn
                with self._meter.watch.stage("sink"):
                    for sink in list(self._sinks):
                        self._show(sink, shown)
                self._meter.finished(shown.frame)
        except BaseException as error:  # noqa: BLE001 - of this thread; it is raised again where it was started
            self.failed = error
            self._stop.set()
        finally:
            for sink in self._sinks:
                try:
                    sink.close()
                except Exception as error:  # noqa: BLE001 - one sink must not keep the others open
                    self.failed = self.failed or error

    def _show(self, sink: Sink, shown: FrameResult) -> None:
        try:
            sink.show(shown)
        except EdgeSegfaceError as error:
            self._say(str(error))
            sink.close()
            self._sinks.remove(sink)
