"""What `info` says about a model, and which numbers belong to which input size."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_segface.assets import BUNDLED, FOLDER
from edge_segface.build import BuildRequest, build_engine
from edge_segface.cli import app
from edge_segface.engine.onnxruntime import spec_of
from edge_segface.export.onnx_export import export_onnx
from edge_segface.files import size_mb
from edge_segface.labels import CELEBAMASK19
from edge_segface.model.checkpoint import load_weights, save_weights
from edge_segface.model_info import describe_model
from tests.conftest import run_cli
from tests.support.weights import weights_of

F1 = {name: 50.0 + index for index, name in enumerate(CELEBAMASK19.names)}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights whose F1 was measured at 160."""
    path = tmp_path_factory.mktemp("weights") / "w.pt"
    save_weights(replace(weights_of("pico"), size=160, f1=F1), path)
    return path


def test_only_a_file_at_the_measured_size_carries_f1(checkpoint: Path, tmp_path: Path) -> None:
    weights = load_weights(checkpoint)
    same = export_onnx(weights, tmp_path / "same.onnx", size=160).spec
    other = export_onnx(weights, tmp_path / "other.onnx", size=128).spec
    assert (same.f1, same.why_no_f1) == (F1, "")
    assert same.mean_f1 == pytest.approx(np.mean(range(51, 69)))  # without background
    assert same.long_tail_f1 == pytest.approx(np.mean([65, 66, 67, 68]))
    assert (other.f1, other.mean_f1, other.long_tail_f1) == (None, None, None)
    assert other.why_no_f1 == "not measured at this size; its weights were scored at 160"
    unmeasured = export_onnx(replace(weights, f1=None), tmp_path / "none.onnx", size=160).spec
    assert unmeasured.why_no_f1 == "not measured"


def test_export_defaults_to_the_size_of_the_training(checkpoint: Path, tmp_path: Path) -> None:
    run = CliRunner()
    exported = run.invoke(app, ["export", str(checkpoint), "-o", str(tmp_path / "m.onnx")])
    assert exported.exit_code == 0, exported.stderr
    assert " 160x160, " in exported.stdout
    assert spec_of(tmp_path / "m.onnx").input_size == 160
    assert spec_of(tmp_path / "m.onnx").f1 == F1
    other = run.invoke(app, ["export", str(checkpoint), "-o", str(tmp_path / "s.onnx"), "--size", "128"])
    assert "F1 of these weights was measured at 160, so the file at 128 carries none" in other.stderr
    described = run.invoke(app, ["info", str(tmp_path / "s.onnx")])
    shown = " ".join(described.stdout.replace("│", " ").split())
    assert "mean F1 not measured at this size; its weights were scored at 160" in shown


def test_a_step_with_the_f1_of_another_size_is_done_again(checkpoint: Path, tmp_path: Path) -> None:
    export_onnx(load_weights(checkpoint), tmp_path / "w-128.onnx", size=128)
    request = BuildRequest(str(checkpoint), tmp_path / "e.onnx", "onnxruntime", size=128)
    assert build_engine(request).stages[0].note == "exists"
    wrong = replace(load_weights(checkpoint), size=128)  # as files of earlier versions have it
    export_onnx(wrong, tmp_path / "w-128.onnx", size=128)
    assert build_engine(request).stages[0].note == ""
    assert spec_of(tmp_path / "e.onnx").f1 is None


def test_the_default_model_is_described_with_numbers() -> None:
    info = describe_model("edge-256")
    assert info.path == BUNDLED["edge-256"].resolve()
    assert info.file_mb == pytest.approx(info.path.stat().st_size / 1e6)
    assert info.spec.f1 is not None
    own = load_weights(FOLDER / "edge.pt")
    assert info.parameters == pytest.approx(sum(each.numel() for each in own.model.parameters()), rel=0.05)
    assert info.gflop == pytest.approx(0.6, rel=0.1)
    content = info.to_json()
    assert content["mean_f1"] == round(np.mean([info.spec.f1[name] for name in info.spec.class_names[1:]]), 2)
    printed = json.loads(run_cli("info", "edge-256", "--json").stdout)
    assert printed == json.loads(json.dumps(content))
    table = run_cli("info").stdout
    for row in ("mean F1", "long-tail F1", "file", "parameters", "GFLOP", "input", "outputs", "precision",
                "label space", "weights licence"):  # fmt: skip
        assert row in table


def test_parameters_in_16_bits_and_int8_count_as_many(tmp_path: Path) -> None:
    weights = weights_of("pico")
    full = export_onnx(weights, tmp_path / "full.onnx", size=128).path
    half = export_onnx(weights, tmp_path / "half.onnx", size=128, half_weights=True).path
    assert describe_model(full).parameters == describe_model(half).parameters
    float32, int8 = (describe_model(name).parameters for name in ("edge-256", "edge-256-int8"))
    assert int8 == pytest.approx(float32, rel=0.02)


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_the_size_of_an_openvino_model_counts_its_weights(tmp_path: Path) -> None:
    built = run_cli("build-engine", "edge-256", "-o", tmp_path / "e.xml")
    assert built.returncode == 0, built.stderr
    both = sum((tmp_path / name).stat().st_size for name in ("e.xml", "e.bin")) / 1e6
    assert size_mb(tmp_path / "e.xml") == pytest.approx(both)
    assert both > 3
    assert f" {both:.1f} " in built.stdout
    info = describe_model(tmp_path / "e.xml")
    assert info.file_mb == pytest.approx(both)
    assert info.parameters is None
    assert info.uncounted == "only counted in .onnx files"
