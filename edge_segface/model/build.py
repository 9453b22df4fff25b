"""The presets: builder calls with literal numbers, and one dict of them.

torch and timm take seconds to load, so they are imported when a network is built; the names are known without them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from edge_segface.model.segface import SegFace


def build_paper(classes: int) -> SegFace:
    """Build the official MobileNetV3 SegFace: 7.04 M parameters; official checkpoints load key for key."""
    from edge_segface.model.backbone import mobilenet_v3
    from edge_segface.model.paper import PaperDecoder
    from edge_segface.model.segface import SegFace

    backbone = mobilenet_v3("mobilenetv3_large_100", out_indices=(1, 2, 3, 4))
    decoder = PaperDecoder(
        classes,
        backbone.feature_info.channels(),
        width=256,
        depth=2,
        heads=8,
        cross_inner=128,
        hidden=2048,
        mask_width=32,
    )
    return SegFace(backbone, decoder)


def build_edge(classes: int) -> SegFace:
    """Build the network for laptops, mini-PCs and Orin-class boards, of convolutions with ReLU and a light decoder."""
    from edge_segface.model.backbone import MobileNetV4

    backbone = MobileNetV4("mobilenetv4_conv_small")
    return with_edge_decoder(
        classes,
        backbone,
        backbone.channels,
        width=128,
        depth=1,
        cross_inner=64,
        hidden=256,
        eighth_width=64,
        refine_width=32,
        mask_width=16,
    )


def build_pico(classes: int) -> SegFace:
    """Build the network for boards below Orin: `edge` with half the channels in its backbone."""
    from edge_segface.model.backbone import MobileNetV4

    backbone = MobileNetV4("mobilenetv4_conv_small_050")
    return with_edge_decoder(
        classes,
        backbone,
        backbone.channels,
        width=96,
        depth=1,
        cross_inner=48,
        hidden=192,
        eighth_width=48,
        refine_width=32,
        mask_width=16,
    )


# The decoder of `lite`, `teacher` and the first `edge`.
AT_STRIDE_8: dict[str, int] = {
    "width": 128,
    "depth": 2,
    "cross_inner": 64,
    "hidden": 512,
    "refine_width": 64,
    "mask_width": 32,
}


def build_lite(classes: int) -> SegFace:
    """Build the network for int8 and NPUs: EfficientNet-Lite0, which has no squeeze-and-excitation and no h-swish."""
    return _on_efficientnet_lite(classes, "tf_efficientnet_lite0")


def build_teacher(classes: int) -> SegFace:
    """Build a network that is too slow for small devices and teaches the others: EfficientNet-Lite2."""
    return _on_efficientnet_lite(classes, "tf_efficientnet_lite2")


def _on_efficientnet_lite(classes: int, name: str) -> SegFace:
    from edge_segface.model.backbone import efficientnet_lite

    backbone = efficientnet_lite(name)
    return with_edge_decoder(classes, backbone, backbone.feature_info.channels(), **AT_STRIDE_8)


def build_edge_v1(classes: int) -> SegFace:
    """Build the first `edge`, for checkpoints of it: MobileNetV3-Large, with the transformer at stride 8."""
    from edge_segface.model.backbone import mobilenet_v3

    backbone = mobilenet_v3("mobilenetv3_large_100")
    return with_edge_decoder(classes, backbone, backbone.feature_info.channels(), **AT_STRIDE_8)


def build_pico_v1(classes: int) -> SegFace:
    """Build the first `pico`, for checkpoints of it: MobileNetV3-Small, whose first stage already has stride 4."""
    from edge_segface.model.backbone import mobilenet_v3

    backbone = mobilenet_v3("mobilenetv3_small_100")
    return with_edge_decoder(
        classes,
        backbone,
        backbone.feature_info.channels(),
        width=96,
        depth=2,
        cross_inner=48,
        hidden=384,
        refine_width=48,
        mask_width=24,
    )


def with_edge_decoder(classes: int, backbone: nn.Module, channels: Sequence[int], **numbers: Any) -> SegFace:
    """Join a backbone with an EdgeDecoder of four heads."""
    from edge_segface.model.edge import EdgeDecoder
    from edge_segface.model.segface import SegFace

    return SegFace(backbone, EdgeDecoder(classes, channels, heads=4, **numbers))


PRESETS: dict[str, Callable[[int], SegFace]] = {
    "paper": build_paper,
    "edge": build_edge,
    "pico": build_pico,
    "lite": build_lite,
    "teacher": build_teacher,
    "edge-v1": build_edge_v1,
    "pico-v1": build_pico_v1,
}
FIRST = {"edge": "edge-v1", "pico": "pico-v1"}  # names that presets had in checkpoints of the first format
