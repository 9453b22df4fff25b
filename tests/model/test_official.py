from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from edge_segface.errors import CheckpointError
from edge_segface.labels import CELEBAMASK19, HELEN11, LAPA11, LabelSpace
from edge_segface.model.build import build_edge, build_paper
from edge_segface.model.checkpoint import Weights, load_weights, save_weights
from edge_segface.model.official import CELEB_TOKENS, LAPA_TOKENS, official_names
from edge_segface.model.segface import normalised
from edge_segface.warp.training import WarpedSegFace

State = dict[str, Any]


def test_celeb_checkpoint_gives_the_recorded_official_logits(official_fixtures: Path) -> None:
    recorded = np.load(official_fixtures / "segface_celeb_mobilenet_512_io.npz")
    weights = load_weights(official_fixtures / "segface_celeb_mobilenet_512.pt")
    assert (weights.space, weights.warp) == (CELEBAMASK19, None)
    with torch.no_grad():
        logits = weights.model(normalised(recorded["image"][..., ::-1])).numpy()
    assert np.abs(logits[:, :, ::4, ::4] - recorded["logits_stride4"]).max() < 1e-4
    assert (logits.argmax(1) == recorded["labels"]).mean() >= 0.9999


def test_lapa_checkpoint_gives_the_recorded_official_logits(official_fixtures: Path) -> None:
    recorded = np.load(official_fixtures / "segface_lapa_mobilenet_512_io.npz")
    weights = load_weights(official_fixtures / "segface_lapa_mobilenet_512.pt")
    assert (weights.space, weights.warp) == (LAPA11, "roi-tanh")
    network = WarpedSegFace(weights.model)
    with torch.no_grad():
        logits = network(normalised(recorded["image"][..., ::-1]), torch.tensor(recorded["landmarks5"])).numpy()
    assert np.abs(logits[:, :, ::4, ::4] - recorded["logits_stride4"]).max() < 1e-4
    assert (logits.argmax(1) == recorded["labels"]).mean() >= 0.9999


@pytest.mark.parametrize(("space", "tokens"), [(CELEBAMASK19, CELEB_TOKENS), (LAPA11, LAPA_TOKENS)])
def test_official_names_equal_those_of_the_released_code(space: LabelSpace, tokens: tuple[str, ...]) -> None:
    """The expected names are written out from the released code, without our own table."""
    attention = [f"{layer}_proj.{kind}" for layer in ["q", "k", "v", "out"] for kind in ("weight", "bias")]
    block = [f"{name}.{rest}" for name in ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
             for rest in attention]  # fmt: skip
    block += [f"{name}.{kind}" for name in ("norm1", "norm2", "norm3", "norm4", "mlp.lin1", "mlp.lin2")
              for kind in ("weight", "bias")]  # fmt: skip
    decoder = [f"transformer.layers.{index}.{name}" for index in (0, 1) for name in block]
    decoder += [f"transformer.final_attn_token_to_image.{name}" for name in attention]
    decoder += [f"{name}.{kind}" for kind in ("weight", "bias") for name in (
        "transformer.norm_final_attn", "output_upscaling.0", "output_upscaling.1", "output_upscaling.3",
        "output_hypernetwork_mlps.layers.0", "output_hypernetwork_mlps.layers.1", "output_hypernetwork_mlps.layers.2",
    )]  # fmt: skip
    decoder += [f"{token}_token.weight" for token in tokens]
    expected = {f"face_decoder.{name}" for name in decoder}
    expected |= {
        f"backbone.{name}" for name in torchvision.models.mobilenet_v3_large(weights=None).features.state_dict()
    }
    expected |= {f"linear_c.{index}.proj.{kind}" for index in range(4) for kind in ("weight", "bias")}
    expected |= {"linear_fuse.weight", "pe_layer.positional_encoding_gaussian_matrix"}
    names = official_names(build_paper(len(space)), space)
    assert set(names.values()) == expected
    assert len(names) == len(expected) == 412 + len(tokens)


def test_backbone_features_equal_torchvisions(official_checkpoints: dict[str, Path]) -> None:
    state = torch.load(official_checkpoints["celebamask19"], weights_only=True)["state_dict_backbone"]
    theirs = torchvision.models.mobilenet_v3_large(weights=None).features.eval()
    prefix = "backbone."
    theirs.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
    ours = load_weights(official_checkpoints["celebamask19"]).model.backbone
    x = torch.randn(1, 3, 96, 96)
    expected = []
    with torch.no_grad():
        features = ours(x)
        for index, child in enumerate(theirs):
            x = child(x)
            if index in (3, 6, 12, 16):
                expected.append(x)
    for feature, reference in zip(features, expected, strict=True):
        assert torch.allclose(feature, reference, rtol=1e-3, atol=1e-4 * float(reference.abs().max()))


def test_official_tensors_load_into_the_right_layers(official_checkpoints: dict[str, Path]) -> None:
    state = torch.load(official_checkpoints["celebamask19"], weights_only=True)["state_dict_backbone"]
    assert len(state) == 431
    model: Any = load_weights(official_checkpoints["celebamask19"]).model  # so that layers can be looked up
    blocks = model.decoder.transformer.blocks
    for official, ours in {
        "backbone.0.0.weight": model.backbone.conv_stem.weight,
        "backbone.1.block.1.0.weight": model.backbone.blocks[0][0].conv_pw.weight,
        "backbone.4.block.2.fc1.bias": model.backbone.blocks[2][0].se.conv_reduce.bias,
        "backbone.4.block.3.1.running_var": model.backbone.blocks[2][0].bn3.running_var,
        "backbone.7.block.2.0.weight": model.backbone.blocks[3][0].conv_pwl.weight,
        "backbone.15.block.1.0.weight": model.backbone.blocks[5][2].conv_dw.weight,
        "backbone.16.1.running_mean": model.backbone.blocks[6][0].bn1.running_mean,
        "pe_layer.positional_encoding_gaussian_matrix": model.decoder.position.gaussian,
        "linear_c.2.proj.weight": model.decoder.project[2].weight,
        "linear_fuse.weight": model.decoder.fuse.weight,
        "face_decoder.transformer.layers.1.cross_attn_image_to_token.q_proj.weight": blocks[
            1
        ].image_to_tokens.query.weight,
        "face_decoder.transformer.layers.0.mlp.lin2.weight": blocks[0].mlp[2].weight,
        "face_decoder.transformer.layers.0.norm4.bias": blocks[0].norm_image.bias,
        "face_decoder.rightbro_token.weight": model.decoder.class_tokens[CELEBAMASK19.names.index("l_brow")],
        "face_decoder.lowerlip_token.weight": model.decoder.class_tokens[CELEBAMASK19.names.index("l_lip")],
        "face_decoder.output_upscaling.3.weight": model.decoder.upscale[3].weight,
        "face_decoder.output_hypernetwork_mlps.layers.2.bias": model.decoder.mask_mlp[4].bias,
    }.items():
        assert torch.equal(state[official], ours), official


def test_eleven_tokens_are_lapa_unless_helen_is_given(official_checkpoints: dict[str, Path]) -> None:
    path = official_checkpoints["lapa11"]
    assert load_weights(path).space == LAPA11
    helen = load_weights(path, HELEN11)
    assert (helen.space, helen.warp) == (HELEN11, None)
    with pytest.raises(CheckpointError, match="not a checkpoint for celebamask19"):
        load_weights(path, CELEBAMASK19)


def _swin(state: State) -> State:
    return {"backbone.0.0.weight": torch.zeros(128, 3, 4, 4), "backbone.1.0.norm1.weight": torch.zeros(128)}


def _resnet(state: State) -> State:
    return {"backbone.conv1.weight": torch.zeros(64, 3, 7, 7)}


def _without_two(state: State) -> State:
    return {key: value for key, value in state.items() if not key.startswith("linear_c.3")}


def _with_extra(state: State) -> State:
    return {**state, "classifier.weight": torch.zeros(3), "classifier.bias": torch.zeros(3)}


def _of_other_shape(state: State) -> State:
    return {**state, "linear_fuse.weight": torch.zeros(256, 512, 1, 1)}


def _of_other_type(state: State) -> State:
    return {**state, "linear_fuse.weight": state["linear_fuse.weight"].to(torch.int32)}


def _not_finite(state: State) -> State:
    return {**state, "linear_fuse.weight": state["linear_fuse.weight"] * float("nan")}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_swin, r"another backbone \(found: swin or convnext\)"),
        (_resnet, "another backbone .*first layer backbone.conv1.weight"),
        (_without_two, r"linear_c.3.proj.weight, linear_c.3.proj.bias missing, none extra"),
        (_with_extra, r"none missing, classifier.weight, classifier.bias extra"),
        (_of_other_type, r"other shapes or types .*linear_fuse.weight"),
        (_of_other_shape, r"other shapes .*linear_fuse.weight"),
        (_not_finite, r"not finite .*decoder.fuse.weight"),
        (lambda state: {"a": 1}, "neither an edge-segface nor an official"),
        (lambda state: {}, "neither an edge-segface nor an official"),
    ],
)
def test_official_checkpoint_that_does_not_fit_is_rejected(
    official_checkpoints: dict[str, Path], tmp_path: Path, change: Callable[[State], State], text: str
) -> None:
    content = torch.load(official_checkpoints["celebamask19"], weights_only=True)
    content["state_dict_backbone"] = change(content["state_dict_backbone"])
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=text):
        load_weights(tmp_path / "x.pt")


class Harmful:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_checkpoint_is_not_executed(tmp_path: Path, legacy: bool) -> None:
    path, marker = tmp_path / "x.pt", tmp_path / "it-ran"
    if legacy:
        path.write_bytes(pickle.dumps({"state_dict_backbone": Harmful(marker)}, protocol=2))
    else:
        torch.save({"state_dict_backbone": Harmful(marker)}, path)
    with pytest.raises(CheckpointError, match="would run code"):
        load_weights(path)
    assert not marker.exists()


def test_pickle_without_code_is_not_reported_as_code(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(pickle.dumps([[1, 2], {"a": (3,)}], protocol=4))
    with pytest.raises(CheckpointError, match="not a checkpoint") as caught:
        load_weights(tmp_path / "x.pt")
    assert "would run code" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"preset": ["edge"]}, {"label_space": {}}, {"label_space": "x"}, {"training_data": 5}, {"state_dict": 7}]
)
def test_own_checkpoint_with_invalid_fields_is_rejected(tmp_path: Path, change: State) -> None:
    save_weights(Weights(build_edge(11), "edge", LAPA11, "drawn faces", "MIT"), tmp_path / "x.pt")
    content = torch.load(tmp_path / "x.pt", weights_only=True)
    torch.save({**content, **change}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="x.pt is an edge-segface checkpoint that this version cannot load"):
        load_weights(tmp_path / "x.pt")


def test_damaged_archive_is_rejected(official_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(official_checkpoints["lapa11"].read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "flipped.pt").write_bytes(data)
    with pytest.raises(CheckpointError, match="fails its checksum"):
        load_weights(tmp_path / "flipped.pt")


def test_prefix_of_a_data_parallel_network_is_removed(official_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    state = torch.load(official_checkpoints["lapa11"], weights_only=True)["state_dict_backbone"]
    torch.save({"state_dict_backbone": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "w.pt")
    assert load_weights(tmp_path / "w.pt").space == LAPA11


def test_checkpoint_keys_must_be_strings(tmp_path: Path) -> None:
    for content in ({1: torch.zeros(1)}, {"state_dict_backbone": {1: torch.zeros(1)}}):
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(CheckpointError, match="checkpoint"):
            load_weights(tmp_path / "x.pt")


def test_files_that_are_not_checkpoints_are_rejected(official_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    content = official_checkpoints["lapa11"].read_bytes()
    for name, data, text in (
        ("cut.pt", content[: len(content) // 2], "may be incomplete"),
        ("empty.pt", b"", r"0 bytes"),
        ("byte.pt", b"}", "not a"),
        ("text.pt", b"hello world, not a checkpoint", "not a"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError, match=text):
            load_weights(tmp_path / name)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_weights(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="may be incomplete"):
        load_weights(tmp_path)


def test_own_checkpoint_survives_a_round_trip(tmp_path: Path) -> None:
    model = build_edge(11).eval()
    path = tmp_path / "edge.pt"
    save_weights(Weights(model, "edge", LAPA11, "drawn faces", "MIT", f1={"skin": 90.0}), path)
    loaded = load_weights(path)
    assert (loaded.preset, loaded.space, loaded.training_data, loaded.f1) == (
        "edge",
        LAPA11,
        "drawn faces",
        {"skin": 90.0},
    )
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.model.state_dict().values(), strict=True)
    )
    content = torch.load(path, weights_only=True)
    torch.save({**content, "preset": "later"}, path)
    with pytest.raises(CheckpointError, match="cannot load .*later"):
        load_weights(path)
