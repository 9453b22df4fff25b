"""The two rates of a camera loop: of the same span, and never in contradiction."""

from __future__ import annotations

import math
import queue
import threading
import time

import numpy as np
import pytest

from edge_segface.camera.stats import LoopStats, Parsed, Rates, Result
from edge_segface.frames import Frame


def frame(index: int) -> Frame:
    return Frame(np.zeros((16, 16, 3), np.uint8), index, time.monotonic())


def run(stats: LoopStats, frames: int, *, every: int, engine_s: float, other_s: float) -> None:
    """Parse frames, of which each `every`-th needs the engine."""
    for index in range(frames):
        if index % every == 0:
            with stats.watch.stage("infer"):
                time.sleep(engine_s)
        time.sleep(other_s)
        stats.parsed(0)
        stats.finished(frame(index))


def test_before_there_are_numbers_none_is_shown() -> None:
    stats = LoopStats()
    for finished in range(2):
        assert stats.lines()[:2] == ["engine only ... FPS", "end to end ... FPS"]
        assert (stats.numbers()["engine_fps"], stats.numbers()["glass_to_result_fps"]) == (None, None)
        assert stats.report()["frames"] == finished
        run(stats, 1, every=1, engine_s=0.002, other_s=0.0)
    assert "..." not in "".join(stats.lines())


def test_n_results_have_n_minus_one_intervals() -> None:
    stats = LoopStats()
    run(stats, 11, every=1, engine_s=0.004, other_s=0.006)
    report = stats.report()
    assert report["glass_to_result_fps"] == pytest.approx(10 / report["seconds"], rel=0.01)
    assert stats.recent_rates().end_to_end == pytest.approx(stats.rates().end_to_end, rel=0.01)


@pytest.mark.parametrize("every", [1, 3])
def test_engine_only_counts_all_frames_over_the_time_of_the_engine(every: int) -> None:
    stats = LoopStats()
    run(stats, 13, every=every, engine_s=0.01, other_s=0.004)
    engine_s = stats.watch.total_s("infer") * (1 - 1 / math.ceil(13 / every))  # the first frame starts the clock
    for rates in (stats.rates(), stats.recent_rates()):
        assert rates.engine_only == pytest.approx(12 / engine_s, rel=0.2)
        assert rates.engine_only > rates.end_to_end


def test_a_queue_that_is_emptied_at_once_is_no_rate() -> None:
    """Three frames are parsed, 50 ms each, while the first is shown for long; then all are shown at once."""
    stats = LoopStats()
    waiting: queue.Queue[Frame | None] = queue.Queue()

    def present() -> None:
        time.sleep(0.25)
        while (shown := waiting.get()) is not None:
            stats.finished(shown)

    presenter = threading.Thread(target=present)
    presenter.start()
    for index in range(4):
        with stats.watch.stage("infer"):
            time.sleep(0.05)
        stats.parsed(1)
        waiting.put(frame(index))
    waiting.put(None)
    presenter.join()
    assert stats.rates().end_to_end <= stats.rates().engine_only <= 20
    assert stats.report()["glass_to_result_fps"] <= stats.report()["engine_fps"]


def test_frames_that_are_not_shown_count_for_the_engine_only() -> None:
    stats = LoopStats()
    for index in range(9):
        with stats.watch.stage("infer"):
            time.sleep(0.01)
        stats.parsed(1)
        if index % 2:
            stats.not_shown()
        else:
            stats.finished(frame(index))
    assert stats.report()["unshown"] == 4
    assert stats.rates().engine_only == pytest.approx(2 * stats.rates().end_to_end, rel=0.1)


def test_a_rate_falls_while_results_stay_away() -> None:
    stats = LoopStats()
    run(stats, 10, every=1, engine_s=0.001, other_s=0.004)
    before = stats.recent_rates().end_to_end
    time.sleep(0.2)
    assert stats.recent_rates().end_to_end < 0.5 * before


def test_a_span_without_the_engine_has_no_engine_rate() -> None:
    first, last = (Result(at_s, Parsed(at_s, frames, 1.0)) for at_s, frames in ((1.0, 5), (2.0, 15)))
    rates = Rates.between(first, last, 10)
    assert math.isnan(rates.engine_only)
    assert rates.end_to_end == 10
