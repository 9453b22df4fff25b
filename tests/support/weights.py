"""Networks with random weights."""

from __future__ import annotations

import torch

from edge_segface.labels import CELEBAMASK19
from edge_segface.model.build import PRESETS
from edge_segface.model.checkpoint import Weights
from edge_segface.model.segface import SegFace


def random_network(preset: str, classes: int = 19, seed: int = 0) -> SegFace:
    """Return a network in which no weight is 0 or 1 by default, so that no term of a computation can go missing."""
    torch.manual_seed(seed)
    model = PRESETS[preset](classes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return model


def weights_of(preset: str, classes: int = 19, seed: int = 0) -> Weights:
    return Weights(random_network(preset, classes, seed), preset, CELEBAMASK19, "nothing", "none")
