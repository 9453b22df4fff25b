"""Class offsets tuned after training, and the mean of checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge_segface.assets import FOLDER
from edge_segface.data.synthetic.drawn import open_drawn
from edge_segface.errors import TrainingError
from edge_segface.evaluate import evaluate
from edge_segface.export.onnx_export import export_onnx
from edge_segface.face.parser import FaceParser
from edge_segface.labels import CELEBAMASK19, LAPA11
from edge_segface.model.build import build_pico
from edge_segface.model.checkpoint import Weights, load_weights, save_weights
from edge_segface.model.torch_engine import TorchEngine
from edge_segface.models import load_engine
from edge_segface.train.balance import PixelSample, balance, tune_offsets
from tests.conftest import run_cli
from tests.support.datasets import write_folder
from tools.make_weights import mean_weights


def test_average_of_checkpoints_is_their_mean(tmp_path: Path) -> None:
    torch.manual_seed(0)
    models = [build_pico(19).eval() for _ in range(3)]
    for index, model in enumerate(models):
        weights = Weights(model, "pico", CELEBAMASK19, f"run {index // 2}", "-", f1={"hat": 50.0})
        save_weights(weights, tmp_path / f"{index}.pt")
    mean = mean_weights([tmp_path / f"{index}.pt" for index in range(3)])
    assert (mean.training_data, mean.f1) == ("run 0; run 1", None)
    state = mean.model.state_dict()
    for name, value in state.items():
        expected = sum(model.state_dict()[name].double() for model in models) / 3
        assert torch.allclose(value.double(), expected, atol=1e-6), name
    assert mean_weights([tmp_path / "0.pt"]).f1 == {"hat": 50.0}


def test_offset_rises_for_a_class_that_is_often_narrowly_missed() -> None:
    """Hat logits are within 0.7 of hair on hat pixels, and at least 2 below on hair pixels; others are far below."""
    hair, hat = CELEBAMASK19.id_of("hair"), CELEBAMASK19.id_of("hat")
    labels = np.repeat([hair, hat], 1000).astype(np.uint8)
    logits = np.full((2000, 19), -9.0, np.float32)
    logits[:, hair] = 0.0
    logits[:1000, hat] = np.linspace(-5, -2, 1000)
    logits[1000:, hat] = np.linspace(-0.7, 0.7, 1000)
    offset = tune_offsets(PixelSample(logits, labels, np.arange(2000)), CELEBAMASK19)
    assert 0.5 <= offset[hat] <= 1.0
    assert np.flatnonzero(offset).tolist() == [hat]
    found = logits.argmax(axis=1).astype(np.uint8)
    assert not tune_offsets(PixelSample(logits, found, np.arange(2000)), CELEBAMASK19).any()  # perfect already


@pytest.fixture(scope="module")
def overpredicting() -> Weights:
    """The bundled network, changed to predict far too much glasses."""
    weights = load_weights(FOLDER / "edge.pt")
    offset = torch.zeros(19) if weights.model.class_offset is None else weights.model.class_offset
    offset[CELEBAMASK19.id_of("glasses")] += 1.5
    weights.model.class_offset = offset
    return weights


def test_balance_corrects_an_overpredicted_class_in_checkpoint_and_onnx(
    overpredicting: Weights, tmp_path: Path
) -> None:
    faces = open_drawn("test").only(open_drawn("test").names[:20])
    before = evaluate(FaceParser(TorchEngine(overpredicting, 128)), faces).report()["f1"]["eye_g"]
    assert before is not None
    balanced = balance(overpredicting, faces, 128)
    assert balanced.offsets["eye_g"] <= -0.75
    assert balanced.after > balanced.before
    assert balanced.cross_validated <= balanced.after + 0.01
    save_weights(balanced.weights, tmp_path / "b.pt")
    loaded = load_weights(tmp_path / "b.pt")
    assert (loaded.size, loaded.f1) == (128, balanced.weights.f1)
    assert loaded.f1 is not None
    assert loaded.f1["eye_g"] > before
    assert torch.equal(loaded.model.class_offset, balanced.weights.model.class_offset)  # type: ignore[arg-type]
    export_onnx(loaded, tmp_path / "b.onnx", size=128)  # compares the file with torch
    with load_engine(tmp_path / "b.onnx") as engine:
        assert engine.spec.f1 == loaded.f1


def test_balance_needs_long_tail_classes_and_two_images() -> None:
    lapa = Weights(build_pico(11).eval(), preset="pico", space=LAPA11, training_data="-", licence="-", sha256="0")
    with pytest.raises(TrainingError, match="lapa11 has no long-tail classes"):
        balance(lapa, open_drawn("test"), 128)
    one = open_drawn("test").only(open_drawn("test").names[:1])
    with pytest.raises(TrainingError, match="needs at least two images"):
        balance(load_weights(FOLDER / "edge.pt"), one, 128)


def test_balance_command_prints_before_after_and_cross_validated_f1(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 4)
    options = ("--dataset", "folder", "--data", root, "--split", "all", "--size", 128, "--threads", 1)
    result = run_cli("balance", FOLDER / "edge.pt", "--out", tmp_path / "b.pt", *options)
    assert result.returncode == 0, result.stderr
    assert "cross-validated" in result.stderr
    assert "mean F1" in result.stdout
    assert load_weights(tmp_path / "b.pt").size == 128
