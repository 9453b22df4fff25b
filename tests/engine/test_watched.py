"""An engine that hangs or fails is opened again, with pauses that grow, and a camera loop goes on meanwhile."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge_segface.camera.loop import CameraLoop, LoopSettings
from edge_segface.camera.sources import DemoSource
from edge_segface.engine import Engine
from edge_segface.engine.watched import (
    FAILURES,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    RESTARTS,
    EngineLostError,
    RestartBudget,
    WatchedEngine,
)
from edge_segface.errors import InputError, ModelError
from edge_segface.face.parser import FaceParser
from edge_segface.frames import UInt8Array
from edge_segface.models import load_engine


class Unreliable:
    """A real engine of which single calls hang or fail."""

    def __init__(self, faults: dict[int, str]) -> None:
        self._engine = load_engine("edge-256", threads=1)
        self.spec, self.description = self._engine.spec, "an unreliable engine"
        self.gpu_ms: list[tuple[float, float, float]] | None = None
        self._faults, self._calls = faults, 0

    def infer(self, images: UInt8Array) -> UInt8Array:
        return self.infer_all(images)["labels"]

    def infer_all(self, images: UInt8Array) -> dict[str, npt.NDArray[Any]]:
        self._calls += 1
        fault = self._faults.get(self._calls)
        if fault == "hangs":
            threading.Event().wait(30)
        if fault == "fails":
            raise ModelError("the device is gone")
        return self._engine.infer_all(images)

    def close(self) -> None:
        self._engine.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


IMAGES = np.zeros((1, 256, 256, 3), np.uint8)


def test_a_call_that_hangs_is_given_up_and_the_engine_opened_again() -> None:
    said: list[str] = []
    faults: list[dict[int, str]] = [{2: "hangs"}, {}]
    with WatchedEngine(lambda: Unreliable(faults.pop(0)), said.append, timeout_s=1.0) as engine:
        expected = engine.infer(IMAGES)
        started = time.monotonic()
        with pytest.raises(EngineLostError, match="did not answer within 1 s; it is opened again"):
            engine.infer(IMAGES)
        assert time.monotonic() - started < 5
        assert np.array_equal(engine.infer(IMAGES), expected)
        assert (engine.restarts, said) == (1, ["the engine was opened again: an unreliable engine"])


def test_only_failures_in_a_row_count() -> None:
    faults = [{1: "fails", 2: "fails", 4: "fails", 5: "fails", 6: "fails"}, {}]
    with WatchedEngine(lambda: Unreliable(faults.pop(0)), print) as engine:
        for _ in range(FAILURES - 1):
            with pytest.raises(EngineLostError, match="the engine failed .*the device is gone"):
                engine.infer(IMAGES)
        engine.infer(IMAGES)
        for _ in range(FAILURES - 1):
            with pytest.raises(EngineLostError, match="the engine failed"):
                engine.infer(IMAGES)
        with pytest.raises(EngineLostError, match="failed 3 times in a row; it is opened again"):
            engine.infer(IMAGES)
        engine.infer(IMAGES)
        assert engine.restarts == 1


def test_wrong_input_is_no_failure_of_the_engine() -> None:
    with WatchedEngine(lambda: load_engine("edge-256"), print) as engine:
        for _ in range(FAILURES + 1):
            with pytest.raises(InputError):
                engine.infer(IMAGES[:, :10])
        assert engine.restarts == 0


def test_an_engine_that_does_not_open_at_first_is_an_error_at_once() -> None:
    with pytest.raises(ModelError, match="does not exist"):
        WatchedEngine(lambda: load_engine("none.onnx"), print)


def test_restarts_become_rare() -> None:
    now_s = [0.0]
    budget = RestartBudget(lambda: now_s[0])
    waits = []
    for _ in range(RESTARTS + 12):
        waits.append(budget.wait_s())
        now_s[0] += budget.wait_s() + 1
        budget.made()
    assert waits[: RESTARTS + 1] == [0.0] * (RESTARTS + 1)
    assert waits[RESTARTS + 1] == FIRST_PAUSE_S
    assert waits[RESTARTS + 1 :] == sorted(waits[RESTARTS + 1 :])
    assert waits[-1] == LONGEST_PAUSE_S


def test_a_camera_loop_goes_on_without_its_engine_for_a_while() -> None:
    class Camera(DemoSource):
        live = True

    said: list[str] = []
    faults: list[dict[int, str]] = [{5: "hangs"}, {}]
    with WatchedEngine(lambda: Unreliable(faults.pop(0)), said.append, timeout_s=1.0) as engine:
        loop = CameraLoop(FaceParser(engine), Camera, settings=LoopSettings(frames=20), on_message=said.append)
        report = loop.run()
    assert (report["frames"], report["engine_losses"], report["failure"]) == (20, 1, None)
    assert any("did not answer within 1 s" in line for line in said)


def test_a_file_loses_no_frame() -> None:
    faults: list[dict[int, str]] = [{5: "hangs"}, {}]
    with WatchedEngine(lambda: Unreliable(faults.pop(0)), print, timeout_s=1.0) as engine:
        report = CameraLoop(FaceParser(engine), DemoSource, settings=LoopSettings(frames=12)).run()
    assert (report["frames"], report["engine_losses"], report["dropped"]) == (12, 1, 0)
