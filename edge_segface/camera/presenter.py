"""The thread that draws results and passes them to the sinks, each of which may fail by itself."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

from edge_segface.camera.result import FrameResult
from edge_segface.camera.sinks import Sink
from edge_segface.camera.stats import LoopStats
from edge_segface.errors import EdgeSegfaceError, first_line

WAITING = 2  # results queued for the sinks
POLL_S = 0.1


class Presenter:
    """Passes results to the sinks. `failed` is an unexpected error that ended it; the sinks are closed in any case."""

    def __init__(
        self, sinks: Sequence[Sink], stats: LoopStats, stop: threading.Event, on_failure: Callable[[str], None]
    ) -> None:
        self._sinks, self._stats, self._stop, self._on_failure = list(sinks), stats, stop, on_failure
        self.failed: BaseException | None = None
        self.failed_sinks: list[str] = []
        self._waiting: queue.Queue[FrameResult | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="presenter", daemon=True)
        self._thread.start()

    def put(self, result: FrameResult, *, wait: bool) -> None:
        """Queue a result. From a live source it is dropped if the queue is full, so that what is shown is never old."""
        if not wait:
            try:
                self._waiting.put_nowait(result)
            except queue.Full:
                self._stats.not_shown()
            return
        start = time.perf_counter()
        while self._thread.is_alive() and not self._stop.is_set():
            try:
                self._waiting.put(result, timeout=POLL_S)
                break
            except queue.Full:
                continue
        self._stats.blocked_s += time.perf_counter() - start

    def close(self) -> None:
        """Present what is queued, and close every sink."""
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
            while (result := self._waiting.get()) is not None:
                if any(sink.draws for sink in self._sinks):
                    with self._stats.watch.stage("draw"):
                        _ = result.drawn
                with self._stats.watch.stage("sink"):
                    for sink in list(self._sinks):
                        self._show(sink, result)
                self._stats.finished(result.frame)
        except BaseException as error:  # noqa: BLE001 - raised again by `close` in the main thread
            self.failed = error
            self._stop.set()
        finally:
            for sink in self._sinks:
                self._close(sink)

    def _show(self, sink: Sink, result: FrameResult) -> None:
        try:
            sink.show(result)
        except Exception as error:  # noqa: BLE001 - one sink must not end the loop
            self._report(sink, error)
            self._sinks.remove(sink)
            self._close(sink)

    def _close(self, sink: Sink) -> None:
        try:
            sink.close()
        except Exception as error:  # noqa: BLE001 - one sink must not keep the others open
            self._report(sink, error)

    def _report(self, sink: Sink, error: Exception) -> None:
        if sink.name not in self.failed_sinks:
            self.failed_sinks.append(sink.name)
        self._on_failure(str(error) if isinstance(error, EdgeSegfaceError) else unexpected(sink, error))


def unexpected(sink: Sink, error: Exception) -> str:
    """Return the message about an error that a sink should not raise."""
    return f"the {sink.name} ends because of a {type(error).__name__} (found: {first_line(error)}); please report this"
