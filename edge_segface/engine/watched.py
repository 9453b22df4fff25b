"""An engine that is opened again when it hangs or keeps failing, for cameras that run with nobody nearby."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError  # TimeoutError itself since Python 3.11
from types import TracebackType
from typing import Any

import numpy.typing as npt

from edge_segface.engine.base import Engine
from edge_segface.errors import EngineError, InputError, first_line
from edge_segface.frames import UInt8Array

TIMEOUT_S = 20.0  # for one call
FAILURES = 3  # calls in a row, after which the engine is opened again
RESTARTS, RESTARTS_S = 5, 60.0  # so many within so many seconds are made at once; then pauses double
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0

Outputs = dict[str, npt.NDArray[Any]]


class EngineLostError(EngineError):
    """A call that got no result because the engine hangs, fails or waits to be opened again."""


class RestartBudget:
    """Says when the next restart may be made."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._made_at_s: deque[float] = deque(maxlen=RESTARTS)
        self._pause_s = 0.0
        self._due_s = 0.0

    def wait_s(self) -> float:
        return max(0.0, self._due_s - self._clock())

    def made(self) -> None:
        """Count a restart; after too many within a while, the next ones wait longer and longer."""
        now = self._clock()
        is_full = len(self._made_at_s) == RESTARTS and now - self._made_at_s[0] < RESTARTS_S + self._pause_s * RESTARTS
        self._pause_s = min(2 * self._pause_s or FIRST_PAUSE_S, LONGEST_PAUSE_S) if is_full else 0.0
        self._made_at_s.append(now)
        self._due_s = now + self._pause_s


class WatchedEngine:
    """Runs the calls of an engine in a thread that is given up when a call hangs.

    `open_engine` opens the engine, also later ones; the first error of it is raised. `on_event` hears of restarts.
    """

    def __init__(
        self, open_engine: Callable[[], Engine], on_event: Callable[[str], None], *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._open, self._on_event, self._timeout_s = open_engine, on_event, timeout_s
        self._engine: Engine | None = open_engine()
        self.spec, self.description = self._engine.spec, self._engine.description
        self.gpu_ms: list[tuple[float, float, float]] | None = None
        self.restarts = 0
        self._worker = Worker()
        self._budget = RestartBudget()
        self._failures = 0

    def infer(self, images: UInt8Array) -> UInt8Array:
        labels: UInt8Array = self._call(lambda engine: engine.infer(images))
        return labels

    def infer_all(self, images: UInt8Array) -> Outputs:
        outputs: Outputs = self._call(lambda engine: engine.infer_all(images))
        return outputs

    def close(self) -> None:
        engine, self._engine = self._engine, None
        self._worker.end()
        if engine is not None:
            engine.close()

    def __enter__(self) -> WatchedEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, call: Callable[[Engine], Any]) -> Any:
        engine = self._engine or self._opened_again()
        try:
            result = self._worker.run(lambda: call(engine), self._timeout_s)
        except InputError:
            raise
        except FutureTimeoutError as error:
            self._worker = Worker()  # the old one may never come back
            self._lose(f"the engine did not answer within {self._timeout_s:g} s", error)
        except Exception as error:  # runtimes raise what they like
            self._failures += 1
            if self._failures >= FAILURES:
                self._lose(f"the engine failed {FAILURES} times in a row", error)
            raise EngineLostError("the engine failed", found=first_line(error)) from error
        self._failures = 0
        self.gpu_ms = engine.gpu_ms
        return result

    def _lose(self, what: str, error: Exception) -> None:
        self._engine, self._failures = None, 0
        raise EngineLostError(f"{what}; it is opened again", found=first_line(error)) from error

    def _opened_again(self) -> Engine:
        if wait_s := self._budget.wait_s():
            raise EngineLostError("the engine is not running", found=f"next try in {wait_s:.0f} s")
        self._budget.made()
        try:
            engine: Engine = self._worker.run(self._open, max(self._timeout_s, TIMEOUT_S))
        except Exception as error:
            if isinstance(error, FutureTimeoutError):
                self._worker = Worker()
            raise EngineLostError("the engine cannot be opened again", found=first_line(error)) from error
        self._engine = engine
        self.restarts += 1
        self._on_event(f"the engine was opened again: {engine.description}")
        return engine


class Worker:
    """A thread that runs one call at a time; whoever asked waits only so long."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    def run(self, call: Callable[[], Any], timeout_s: float) -> Any:
        """Return the result of the call, or raise its error, or TimeoutError."""
        answer: Future[Any] = Future()
        self._calls.put((call, answer))
        return answer.result(timeout_s)

    def end(self) -> None:
        self._calls.put(None)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            call, answer = item
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                answer.set_exception(error)
            else:
                answer.set_result(result)
