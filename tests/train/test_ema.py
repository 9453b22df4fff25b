from __future__ import annotations

import pytest
import torch

from edge_segface.train.ema import Ema


class Counter(torch.nn.Module):
    """One weight and one integer buffer, as batch norms have."""

    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))


def test_ema_follows_its_formula() -> None:
    model = Counter()
    ema = Ema(model, 0.5)
    expected = 0.0
    for step in range(1, 21):
        with torch.no_grad():
            model.weight.fill_(step)
        model.count += 1
        ema.update(model)
        decay = min(0.5, step / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert ema.model.weight.tolist() == pytest.approx([expected] * 2)
    assert int(ema.model.get_buffer("count")) == 20  # integers are copied
    assert not ema.model.weight.requires_grad


def test_restored_ema_continues_exactly() -> None:
    one, other = Ema(Counter(), 0.9), Ema(Counter(), 0.9)
    model = Counter()
    for step in range(3):
        torch.nn.init.constant_(model.weight, step + 0.1)
        one.update(model)
    other.load_state_dict(one.state_dict())
    for ema in (one, other):
        ema.update(model)
    assert torch.equal(one.model.weight, other.model.weight)
