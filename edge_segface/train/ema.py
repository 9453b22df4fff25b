"""The mean of the weights over the last steps, which is what is validated and kept."""

from __future__ import annotations

import copy
from typing import Any, Generic, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class Ema(Generic[Network]):
    """Exponential mean of weights and running statistics. Early on it forgets faster, so as not to keep the start."""

    def __init__(self, model: Network, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.steps += 1
        decay = min(self.decay, self.steps / (10 + self.steps))
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        means, news = zip(*((mean, new) for mean, new in pairs if mean.is_floating_point()), strict=True)
        torch._foreach_lerp_(list(means), list(news), 1 - decay)
        for mean, new in pairs:
            if not mean.is_floating_point():
                mean.copy_(new)

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.steps = state["steps"]
