"""Networks as trained, without the rewrite, and what they cost: the baselines of several benchmarks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edge_segface.model.segface import normalised


class PlainGraph(nn.Module):
    """A network as trained, with the inputs and outputs of our exports: bytes in, class ids out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        labels: Tensor = self.model(normalised(image)).argmax(dim=1).to(torch.uint8)
        return labels


def gflop(network: nn.Module, size: int) -> float:
    """Count two operations per multiply-add of convolutions and matrix products, for one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, size, size))
    return round(float(counter.get_total_flops()) / 1e9, 2)


def parameters_m(network: nn.Module) -> float:
    return round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2)
