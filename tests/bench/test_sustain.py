"""Sustained load: rates, energy and clocks of recorded readings, and whether a run is comparable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from edge_segface.bench.results import Clock, SustainedLoad
from edge_segface.bench.sustain import IdleMachine, slower_from_s, summarise, sustain
from edge_segface.errors import EngineError
from edge_segface.telemetry import Reading

IDLE = IdleMachine({"board": 2.0}, 40.0)
UNKNOWN_IDLE = IdleMachine({}, None)
NO_OTHERS: Mapping[str, float] = {}


def steady_clock(second: float) -> float:
    return 1000.0


def readings(
    clock_mhz: Callable[[float], float] = steady_clock, others: Mapping[str, float] = NO_OTHERS
) -> list[Reading]:
    """Return a minute of readings at 12 W that gets 30 degrees warmer."""
    return [
        Reading(at, {"power_w.board": 12.0, "clock_mhz.gpu": clock_mhz(at), "temperature_c.gpu": 40 + at / 2, **others})
        for at in np.arange(0, 60, 0.5).tolist()
    ]


def call_ends(*call_s: float, seconds: float = 60.0) -> np.ndarray:
    """Return when calls end in a run whose parts, of equal length, have calls of these durations."""
    part = seconds / len(call_s)
    return np.cumsum(np.concatenate([np.full(round(part / each), each) for each in call_s]))


def run_on_gpu(
    *call_s: float,
    clock_mhz: Callable[[float], float] = steady_clock,
    unit: str = "gpu",
    others: Mapping[str, float] = NO_OTHERS,
) -> SustainedLoad:
    return summarise(call_ends(*call_s), 1, readings(clock_mhz, others), unit, IDLE)


def test_hot_board_is_slower_and_not_comparable() -> None:
    hot = run_on_gpu(0.01, 0.0125, clock_mhz=lambda at: 1000.0 if at < 30 else 800.0)
    assert hot.cold_fps == pytest.approx(100, rel=0.01)
    assert hot.steady_fps == pytest.approx(80, rel=0.01)
    assert hot.slower_from_s == 30
    assert hot.comparable is False
    assert hot.clocks_mhz["gpu"] == Clock(first=1000, p5=800, p95=1000, moved_share=0.5)
    assert hot.mj_per_frame == pytest.approx(150, rel=0.01)
    assert hot.mj_per_frame_above_idle == pytest.approx(125, rel=0.01)
    assert hot.temperature_c["gpu"][-1][1] == pytest.approx(69.75)
    assert hot.power_over_time_w["board"][0][1] == 12
    assert hot.clock_over_time_mhz["gpu"][0][1] == 1000


def test_cool_board_is_comparable() -> None:
    cool = summarise(call_ends(0.01), 2, readings(), "gpu", UNKNOWN_IDLE)
    assert (cool.comparable, cool.slower_from_s, cool.mj_per_frame_above_idle) == (True, None, None)
    assert cool.steady_fps == pytest.approx(200, rel=0.01)


def test_comparability_is_unknown_without_a_clock_or_in_a_short_run() -> None:
    without_sensors = summarise(call_ends(0.01, seconds=6), 1, [], "gpu", UNKNOWN_IDLE)
    assert (without_sensors.comparable, without_sensors.power_w, without_sensors.mj_per_frame) == (None, None, None)
    assert run_on_gpu(0.01, unit="cpu").comparable is None  # only the GPU's clock was read
    assert run_on_gpu(0.01, unit="cpu", others={"clock_mhz.cpu": 1500.0}).comparable is True
    assert run_on_gpu(0.01, clock_mhz=lambda _: 0.0).comparable is None  # the unit was off
    assert summarise(call_ends(0.01, seconds=3), 1, readings(), "gpu", IDLE).comparable is None


def test_unstable_clock_or_rate_is_not_comparable() -> None:
    assert run_on_gpu(0.01).comparable is True
    assert run_on_gpu(0.01, clock_mhz=lambda at: 600.0 if at > 20 and at % 5 < 2 else 1000.0).comparable is False
    assert run_on_gpu(0.01, 0.012).comparable is False  # slower, although the clocks were steady
    assert run_on_gpu(*(0.01, 0.01, 0.01, 0.0154) * 5).comparable is False  # slower at intervals


@pytest.mark.parametrize(
    ("cause", "unit", "comparable"), [("oc3", "gpu", False), ("gpu", "gpu", False), ("gpu", "cpu", True)]
)
def test_throttling_of_the_working_unit_is_not_comparable(cause: str, unit: str, comparable: bool) -> None:
    load = run_on_gpu(0.01, unit=unit, others={f"throttled.{cause}": 7.0, "clock_mhz.cpu": 1500.0})
    assert (load.comparable, load.throttled) == (comparable, {} if comparable else {cause: 7})


@pytest.mark.parametrize(("call_s", "jitter"), [(0.2917, 0.0), (0.1, 0.05), (0.009, 0.3)])
def test_steady_machine_is_not_reported_slower(call_s: float, jitter: float) -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        ends = np.cumsum(call_s * np.maximum(0.1, generator.normal(1, jitter, round(60 / call_s))))
        load = summarise(ends, 1, [], "cpu", UNKNOWN_IDLE)
        assert load.slower_from_s is None
        assert load.steady_fps == pytest.approx(1 / call_s, rel=0.05)


def test_last_second_alone_does_not_count_as_slower() -> None:
    rates = np.array([100.0] * 59 + [50.0])
    assert slower_from_s(np.arange(60.0), rates, 100.0, 60.0) is None


def test_few_long_calls() -> None:
    load = summarise(np.array([25.0, 61.0]), 4, readings(lambda _: 0.0), "gpu", IDLE)
    assert load.steady_fps == pytest.approx(4 / 36, rel=0.01)
    assert (load.mj_per_frame or 0) > 0
    assert load.clocks_mhz == {}


def test_power_is_that_of_the_working_unit() -> None:
    both = [Reading(at, {"power_w.gpu": 200.0, "power_w.package": 50.0}) for at in np.arange(0, 60, 0.5).tolist()]
    for unit, scope, watts in (("gpu", "gpu", 200), ("cpu", "package", 50)):
        load = summarise(call_ends(0.01), 1, both, unit, IDLE)
        assert (load.power_scope, load.power_w) == (scope, watts)
    package = [Reading(1.0, {"power_w.package": 50.0})]
    assert summarise(call_ends(0.01), 1, package, "gpu", IDLE).power_w is None


def test_run_that_fails_returns_what_was_measured() -> None:
    until = time.monotonic() + 0.3

    def run() -> None:
        time.sleep(0.01)
        if time.monotonic() > until:
            raise EngineError("out of memory")

    load = sustain(run, 1, 30.0, "cpu", UNKNOWN_IDLE)
    assert load.error == "out of memory"
    assert 0 < load.seconds < 30
    assert load.steady_fps > 0
    with pytest.raises(EngineError, match="out of memory"):  # the first call fails
        sustain(run, 1, 30.0, "cpu", UNKNOWN_IDLE)
