"""Backbones pretrained on ImageNet, as in SegFace."""

from __future__ import annotations

import pickle
from pathlib import Path
from urllib.error import URLError

import torch
import torchvision.models
from torch import Tensor

from edge_segface.errors import CheckpointError, FetchError, first_line
from edge_segface.model.segface import SegFace

TORCHVISION = {"paper": "mobilenet_v3_large", "edge": "mobilenet_v3_large", "pico": "mobilenet_v3_small"}
IMAGENET = "imagenet"


def load_backbone(model: SegFace, preset: str, source: str) -> None:
    """Load torchvision's ImageNet weights, or a file with such a state dict, into the backbone.

    timm and torchvision build the same layers in the same order under different names, so tensors are matched by their
    order, and every shape must agree.
    """
    state = {
        name.removeprefix("features."): value
        for name, value in _state(preset, source).items()
        if not name.startswith("classifier.")
    }
    ours = model.backbone.state_dict()
    pairs = list(zip(ours.items(), state.items(), strict=False))
    wrong = next(
        (f"{a} {tuple(x.shape)}, {b} {tuple(y.shape)}" for (a, x), (b, y) in pairs if x.shape != y.shape), None
    )
    if len(ours) != len(state) or wrong:
        raise CheckpointError(
            f"{source} does not fit the backbone of {preset}",
            found=wrong or f"{len(state)} tensors instead of {len(ours)}",
            remedy=f"give the state dict of torchvision's {TORCHVISION[preset]}",
        )
    model.backbone.load_state_dict({name: value for (name, _), (_, value) in pairs})


def _state(preset: str, source: str) -> dict[str, Tensor]:
    try:
        if source == IMAGENET:
            weights = torchvision.models.get_model_weights(TORCHVISION[preset])["IMAGENET1K_V1"]  # as SegFace
            return dict(weights.get_state_dict(progress=False, check_hash=True))
        state = torch.load(Path(source), map_location="cpu", weights_only=True)
    except (URLError, TimeoutError, ConnectionError) as error:
        raise FetchError(
            "ImageNet weights could not be downloaded",
            found=first_line(error),
            remedy=f"add --set backbone=FILE with a file of torchvision's {TORCHVISION[preset]}",
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{source} is not a readable state dict", found=first_line(error)) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{source} is not a state dict", found=type(state).__name__)
    return state
