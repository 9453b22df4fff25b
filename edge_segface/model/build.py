"""The presets: builder calls with literal numbers, and one dict of them.

torch and timm take seconds to load, so they are imported when a network is built; the names are known without them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_segface.model.segface import SegFace


def build_paper(classes: int) -> SegFace:
    """Build the official MobileNetV3 SegFace: 7.04 M parameters; official checkpoints load key for key."""
    from edge_segface.model.paper import PaperDecoder
    from edge_segface.model.segface import SegFace

    backbone = mobilenet("mobilenetv3_large_100", out_indices=(1, 2, 3, 4))
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
    """Build the network for Orin-class boards and laptops: the paper's backbone, a decoder with a tenth of the work."""
    from edge_segface.model.edge import EdgeDecoder
    from edge_segface.model.segface import SegFace

    backbone = mobilenet("mobilenetv3_large_100", out_indices=(0, 1, 2, 3, 4))
    decoder = EdgeDecoder(
        classes,
        backbone.feature_info.channels(),
        width=128,
        depth=2,
        heads=4,
        cross_inner=64,
        hidden=512,
        refine_width=64,
        mask_width=32,
    )
    return SegFace(backbone, decoder)


def build_lite(classes: int) -> SegFace:
    """Build the network for int8 and NPUs: EfficientNet-Lite0, which has no squeeze-and-excitation and no h-swish."""
    from edge_segface.model.edge import EdgeDecoder
    from edge_segface.model.segface import SegFace

    backbone = efficientnet_lite("tf_efficientnet_lite0")
    decoder = EdgeDecoder(
        classes,
        backbone.feature_info.channels(),
        width=128,
        depth=2,
        heads=4,
        cross_inner=64,
        hidden=512,
        refine_width=64,
        mask_width=32,
    )
    return SegFace(backbone, decoder)


def build_teacher(classes: int) -> SegFace:
    """Build a network that is too slow for small devices and teaches the others: EfficientNet-Lite2."""
    from edge_segface.model.edge import EdgeDecoder
    from edge_segface.model.segface import SegFace

    backbone = efficientnet_lite("tf_efficientnet_lite2")
    decoder = EdgeDecoder(
        classes,
        backbone.feature_info.channels(),
        width=128,
        depth=2,
        heads=4,
        cross_inner=64,
        hidden=512,
        refine_width=64,
        mask_width=32,
    )
    return SegFace(backbone, decoder)


def build_pico(classes: int) -> SegFace:
    """Build the network for boards below Orin, on MobileNetV3-Small, whose first stage already has stride 4."""
    from edge_segface.model.edge import EdgeDecoder
    from edge_segface.model.segface import SegFace

    backbone = mobilenet("mobilenetv3_small_100", out_indices=(0, 1, 2, 3, 4))
    decoder = EdgeDecoder(
        classes,
        backbone.feature_info.channels(),
        width=96,
        depth=2,
        heads=4,
        cross_inner=48,
        hidden=384,
        refine_width=48,
        mask_width=24,
    )
    return SegFace(backbone, decoder)


PRESETS: dict[str, Callable[[int], SegFace]] = {
    "paper": build_paper,
    "edge": build_edge,
    "lite": build_lite,
    "pico": build_pico,
    "teacher": build_teacher,
}


def mobilenet(name: str, out_indices: tuple[int, ...]) -> Any:
    """Return a timm MobileNetV3 that outputs its stages, with torchvision's batch-norm settings, as SegFace used."""
    import timm

    return timm.create_model(name, features_only=True, out_indices=out_indices, bn_eps=1e-3, bn_momentum=0.01)


def efficientnet_lite(name: str) -> Any:
    """Return a timm EfficientNet-Lite that outputs its stages at strides 2 to 32."""
    import timm

    return timm.create_model(name, features_only=True, out_indices=(0, 1, 2, 3, 4), bn_momentum=0.01)
