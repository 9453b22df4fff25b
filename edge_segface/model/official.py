"""Loads official SegFace checkpoints (MobileNetV3) by mapping their keys to ours.

A file is `{epoch, iteration, state_dict_backbone, optimizer, scheduler}`; despite its name `state_dict_backbone` is the
whole network, and the optimizer state is two thirds of the file. The backbone is torchvision's MobileNetV3-Large.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from edge_segface.errors import CheckpointError
from edge_segface.labels import CELEBAMASK19, HELEN11, LAPA11, LabelSpace
from edge_segface.model.build import build_paper
from edge_segface.model.segface import SegFace

STATE_KEY = "state_dict_backbone"

CELEB_TOKENS = (
    "background", "neck", "face", "cloth", "rightear", "leftear", "rightbro", "leftbro", "righteye", "lefteye",
    "nose", "innermouth", "lowerlip", "upperlip", "hair", "glass", "hat", "earring", "necklace",
)  # fmt: skip
LAPA_TOKENS = (
    "background", "face", "leftbro", "rightbro", "lefteye", "righteye", "nose", "upperlip", "innermouth", "lowerlip",
    "hair",
)  # fmt: skip

# LaPa and Helen have the same tokens, so a file does not show which it is; only LaPa's network uses the warp.
TOKENS = {CELEBAMASK19: CELEB_TOKENS, LAPA11: LAPA_TOKENS, HELEN11: LAPA_TOKENS}

# Our name -> official name, for everything except the class tokens and the backbone.
RENAMED = (
    (r"decoder\.project\.(\d)\.", r"linear_c.\1.proj."),
    (r"decoder\.fuse\.", r"linear_fuse."),
    (r"decoder\.position\.gaussian", r"pe_layer.positional_encoding_gaussian_matrix"),
    (r"decoder\.upscale\.", r"face_decoder.output_upscaling."),
    (r"decoder\.transformer\.blocks\.", r"face_decoder.transformer.layers."),
    (r"decoder\.transformer\.final_attention\.", r"face_decoder.transformer.final_attn_token_to_image."),
    (r"decoder\.transformer\.norm_final\.", r"face_decoder.transformer.norm_final_attn."),
    (r"\.self_attention\.", r".self_attn."),
    (r"\.tokens_to_image\.", r".cross_attn_token_to_image."),
    (r"\.image_to_tokens\.", r".cross_attn_image_to_token."),
    (r"\.(query|key|value|out)\.(weight|bias)$", lambda m: f".{'out' if m[1] == 'out' else m[1][0]}_proj.{m[2]}"),
    (r"\.norm_self\.", r".norm1."),
    (r"\.norm_tokens\.", r".norm2."),
    (r"\.norm_mlp\.", r".norm3."),
    (r"\.norm_image\.", r".norm4."),
    (r"\.mlp\.0\.", r".mlp.lin1."),
    (r"\.mlp\.2\.", r".mlp.lin2."),
    (r"decoder\.mask_mlp\.(\d)\.", lambda m: f"face_decoder.output_hypernetwork_mlps.layers.{int(m[1]) // 2}."),
)

# Blocks per stage of MobileNetV3-Large: torchvision numbers them consecutively, timm per stage.
BLOCKS_PER_STAGE = (1, 2, 3, 4, 2, 3)


def load_official(state: Mapping[str, Tensor], space: LabelSpace | None, path: Path) -> tuple[SegFace, LabelSpace]:
    """Build the network of an official state dict. Raise if it has other keys, shapes, tokens or another backbone.

    Its label space is `space`, or by default the one that its tokens show.
    """
    found = detect_space(state, path)
    if space is not None and TOKENS.get(space) != TOKENS[found]:
        raise CheckpointError(
            f"{path} is not a checkpoint for {space.name}",
            found=f"the tokens of {found.name}",
            remedy=f"leave out --labels or use --labels {found.name}",
        )
    space = space or found
    model = build_paper(len(space))
    names = official_names(model, space)
    missing = [name for name in names.values() if name not in state]
    extra = [name for name in state if name not in set(names.values())]
    if missing or extra:
        raise CheckpointError(
            f"{path} does not have the keys of the official MobileNetV3 SegFace",
            found=f"{_first_few(missing)} missing, {_first_few(extra)} extra",
            remedy="only MobileNet checkpoints are supported; download it again if it is one",
        )
    own = model.state_dict()
    wrong = [name for ours, name in names.items() if not _fits(state[name], own[ours])]
    if wrong:
        raise CheckpointError(
            f"{path} has tensors with other shapes or types than the official MobileNetV3 SegFace",
            found=_first_few(wrong),
            remedy="only MobileNet checkpoints of the released code are supported",
        )
    model.load_state_dict({ours: state[name] for ours, name in names.items()})
    return model.eval(), space


def official_names(model: SegFace, space: LabelSpace) -> dict[str, str]:
    """Return our name -> official name for every tensor of `paper`."""
    return {name: _official_name(name, TOKENS[space]) for name in model.state_dict()}


def detect_space(state: Mapping[str, Tensor], path: Path) -> LabelSpace:
    """Return the label space that the class tokens of a state dict show. Raise if its backbone is not MobileNet."""
    backbone = detect_backbone(state)
    if backbone != "mobilenet":
        raise CheckpointError(
            f"{path} is a SegFace checkpoint for another backbone",
            found=backbone,
            remedy="use a MobileNet one, for example: edge-segface fetch segface-mobilenet-celeb-512",
        )
    tokens = {match[1] for key in state if (match := re.fullmatch(r"face_decoder\.(\w+)_token\.weight", key))}
    # CelebAMask-HQ has all of LaPa's tokens and more, so one token that LaPa lacks is enough.
    return CELEBAMASK19 if tokens - set(LAPA_TOKENS) else LAPA11


def detect_backbone(state: Mapping[str, Tensor]) -> str:
    """Return the kind of backbone, by names and shapes of the first layers."""
    stem = state.get("backbone.0.0.weight")
    if stem is not None and stem.ndim == 4:
        if "backbone.1.block.0.0.weight" in state or stem.shape[0] == 16:
            return "mobilenet"
        if stem.shape[2] == 4:
            return "swin or convnext"
        return "efficientnet" if stem.shape[2] == 3 else "another convolutional network"
    if any(key.startswith("backbone.") for key in state):
        return "first layer " + next(key for key in state if key.startswith("backbone."))
    return "no backbone.* keys"


def _fits(tensor: Tensor, own: Tensor) -> bool:
    return tensor.shape == own.shape and tensor.is_floating_point() == own.is_floating_point()


def _official_name(name: str, tokens: tuple[str, ...]) -> str:
    if match := re.fullmatch(r"decoder\.class_tokens\.(\d+)", name):
        return f"face_decoder.{tokens[int(match[1])]}_token.weight"
    if name.startswith("backbone."):
        return _torchvision_name(name.removeprefix("backbone."))
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _torchvision_name(name: str) -> str:
    """Map timm's name of a MobileNetV3-Large tensor to torchvision's, under SegFace's `backbone.`"""
    if name.startswith("conv_stem."):
        return name.replace("conv_stem.", "backbone.0.0.")
    if name.startswith("bn1."):
        return name.replace("bn1.", "backbone.0.1.")
    _, stage_text, block_text, layer, rest = name.split(".", 4)
    stage, block = int(stage_text), int(block_text)
    if stage == len(BLOCKS_PER_STAGE):
        return f"backbone.16.{0 if layer == 'conv' else 1}.{rest}"
    index = 1 + sum(BLOCKS_PER_STAGE[:stage]) + block
    if layer == "se":
        squeeze = 1 if stage == 0 else 2
        part, rest = rest.split(".")
        return f"backbone.{index}.block.{squeeze}.{'fc1' if part == 'conv_reduce' else 'fc2'}.{rest}"
    return f"backbone.{index}.block.{_layer_place(stage, layer, _has_squeeze(stage))}.{rest}"


def _layer_place(stage: int, layer: str, squeeze: bool) -> str:
    """Return the position of a layer in torchvision's block: expand, depthwise, squeeze if present, project."""
    if stage == 0:  # no expansion: depthwise, project
        return {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1.0", "bn2": "1.1"}[layer]
    last = 3 if squeeze else 2
    return {
        "conv_pw": "0.0",
        "bn1": "0.1",
        "conv_dw": "1.0",
        "bn2": "1.1",
        "conv_pwl": f"{last}.0",
        "bn3": f"{last}.1",
    }[layer]


def _has_squeeze(stage: int) -> bool:
    return stage in (2, 4, 5)


def _first_few(names: list[str], count: int = 3) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
