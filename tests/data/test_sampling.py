"""The order of an epoch, and its division among processes."""

from __future__ import annotations

import numpy as np
import pytest

from edge_segface.data.sampling import Batches, epoch_order, repeat_factors


def test_repeat_factors_follow_the_formula() -> None:
    present = np.zeros((100, 3), dtype=bool)
    present[:, 0] = True  # in all samples
    present[:4, 1] = True  # in 4 %
    present[4, 2] = True  # in one
    factors = repeat_factors(present, threshold=0.1)
    assert factors[0] == pytest.approx(np.sqrt(0.1 / 0.04))
    assert factors[4] == pytest.approx(np.sqrt(0.1 / 0.01))
    assert (factors[5:] == 1).all()
    assert (repeat_factors(present, threshold=0.0) == 1).all()


def test_samples_appear_as_often_as_their_factors_on_average() -> None:
    factors = np.array([1.0, 1.0, 2.5, 1.25])
    counts = sum(np.bincount(epoch_order(factors, 0, epoch), minlength=4) for epoch in range(400))
    assert all(len(epoch_order(factors, 0, epoch)) == 5 for epoch in range(20))
    assert counts / 400 == pytest.approx(factors * 5 / 5.75, rel=0.06)
    ones = np.ones(10)
    assert sorted(epoch_order(ones, 0, 3)) == list(range(10))
    assert list(epoch_order(ones, 0, 3)) != list(epoch_order(ones, 0, 4))


def test_processes_share_each_step_without_overlap() -> None:
    factors = np.ones(50)
    single = list(Batches(factors, 1, batch=12, epochs=2))
    shares = [list(Batches(factors, 1, 12, 2, rank=rank, processes=2, accumulate=3)) for rank in (0, 1)]
    assert len(single) == 2 * 4
    assert len(shares[0]) == 2 * 4 * 3
    for step, expected in enumerate(single):
        parts = [place for share in shares for batch in share[3 * step : 3 * step + 3] for place in batch]
        assert sorted(parts) == sorted(expected)


@pytest.mark.parametrize("start", [0, 3, 4, 7])
def test_resumed_batches_continue_the_sequence(start: int) -> None:
    factors = np.linspace(1, 2, 30)
    expected = list(Batches(factors, 5, batch=10, epochs=2))
    assert list(Batches(factors, 5, batch=10, epochs=2, start_step=start)) == expected[start:]
