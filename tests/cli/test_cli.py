from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_segface import __version__
from edge_segface.assets import FOLDER, PORTRAIT
from edge_segface.cli import app
from tests.conftest import ROOT, assert_one_line_error, run_cli
from tests.support.datasets import write_folder
from tests.support.images import read_png


def test_bad_input_is_one_line_and_exit_1(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "cut.onnx").write_bytes((FOLDER / "edge-256.onnx").read_bytes()[:1000])
    assert_one_line_error(
        run_cli("parse", PORTRAIT, "--out", tmp_path / "file" / "x"), "cannot write", "choose a writable place"
    )
    assert_one_line_error(
        run_cli("parse", PORTRAIT, "--out", tmp_path, "--model", "best"), "no bundled model", "edge-256"
    )
    assert_one_line_error(run_cli("parse", tmp_path / "*.jpg", "--out", tmp_path), "no image in")
    assert_one_line_error(run_cli("info", tmp_path / "cut.onnx"), "cut.onnx cannot be loaded")
    assert_one_line_error(run_cli("export", tmp_path / "none.pt", "--out", tmp_path / "x.onnx"), "does not exist")
    edge = FOLDER / "edge.pt"
    assert_one_line_error(run_cli("export", edge, "--out", tmp_path / "x.onnx", "--size", 250), "250", "nearest is 256")
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_half_written(tmp_path: Path, number: signal.Signals) -> None:
    arguments = ("calibrate", "--dataset", "drawn", "--count", "8", "--out", str(tmp_path / "x.npz"))
    command = [sys.executable, "-m", "tests.cli.scripts.signal_while_saving", *arguments]
    environment = {**os.environ, "SIGNAL": str(int(number))}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 128 + number, ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_usage_errors_exit_2() -> None:
    assert run_cli("parse").returncode == 2
    assert run_cli("export", "x.pt", "--out", "x.onnx", "--outputs", "masks").returncode == 2
    assert run_cli("fly").returncode == 2


def test_every_command_has_help_and_the_version_is_printed() -> None:
    assert run_cli("--version").stdout == f"edge-segface {__version__}\n"
    commands = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    assert set(commands) == {
        "demo", "doctor", "parse", "fetch", "train", "pseudo-label", "recipes", "evaluate", "balance", "calibrate",
        "export", "quantize", "build-engine", "package", "info", "webcam", "benchmark", "estimate",
    }  # fmt: skip
    for command in commands:
        result = CliRunner().invoke(app, [command, "--help"])
        assert result.exit_code == 0
        assert "Usage:" in result.stdout


def test_help_loads_nothing_heavy() -> None:
    result = run_cli("--help", env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
    loaded = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "typer" in loaded
    assert loaded.isdisjoint({"torch", "cv2", "onnxruntime", "timm", "onnx"})


def test_export_info_parse_from_an_official_checkpoint(official_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    model = tmp_path / "paper-128.onnx"
    exported = run_cli("export", official_checkpoints["celebamask19"], "--out", model, "--size", 128)
    assert exported.returncode == 0, exported.stderr
    assert "parity: " in exported.stdout
    spec = json.loads(run_cli("info", model, "--json").stdout)
    assert (spec["preset"], spec["input_size"], spec["class_names"][13]) == ("paper", 128, "u_lip")
    assert run_cli("parse", PORTRAIT, "--model", model, "--out", tmp_path / "out").returncode == 0
    note = run_cli("export", official_checkpoints["lapa11"], "--out", tmp_path / "l.onnx", "--size", 128)
    assert "assuming LaPa" in note.stderr
    unsuited = run_cli("parse", PORTRAIT, "--model", tmp_path / "l.onnx", "--out", tmp_path / "out")
    assert_one_line_error(unsuited, "needs five landmarks", "from Python")


def test_demo_report_has_the_promised_keys(tmp_path: Path) -> None:
    result = run_cli("demo", "--out", tmp_path, "--frames", 80)
    assert result.returncode == 0, result.stderr
    assert "95.96" in result.stdout
    report = json.loads((tmp_path / "demo.json").read_text())
    assert report["paper_fps"] == 95.96
    assert report["engine_fps"] > report["glass_to_result_fps"] > 0
    assert report["dropped"] == 0
    for times in report["stages_ms"].values():
        assert times["p50"] <= times["p90"] <= times["p99"]
    assert {"hair", "skin", "nose", "left_eye", "right_eye"} <= set(report["shares"])
    assert set(report["stages_ms"]) == {"capture", "crop", "infer", "track", "paste", "draw", "sink"}
    assert report["faces_per_frame"] >= 1
    assert read_png(tmp_path / "demo.png").shape[0] == 480


def test_shell_completion_offers_commands() -> None:
    words = {"_EDGE_SEGFACE_COMPLETE": "complete_bash", "COMP_WORDS": "edge-segface build", "COMP_CWORD": "1"}
    command = [str(Path(sys.executable).with_name("edge-segface"))]
    result = subprocess.run(command, env={**os.environ, **words}, capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["build-engine"]


@pytest.mark.slow
def test_fetched_names_work_where_models_do(official_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """`parse` and `build-engine --dataset folder` rejected names of weights that were fetched."""
    name = "segface-mobilenet-celeb-512"
    (tmp_path / f"{name}.pt").write_bytes(official_checkpoints["celebamask19"].read_bytes())
    environment = {**os.environ, "EDGE_SEGFACE_HOME": str(tmp_path)}
    parsed = run_cli("parse", PORTRAIT, "--model", name, "--out", tmp_path / "out", env=environment)
    assert parsed.returncode == 0, parsed.stderr
    assert (tmp_path / "out" / "portrait.png").exists()
    write_folder(tmp_path / "faces", 6, size=128)
    gate = ("--dataset", "folder", "--data", tmp_path / "faces", "--split", "all")
    options = ("--size", 128, "--precision", "int8", "--out", tmp_path / "x.onnx")
    built = run_cli("build-engine", name, *gate, *options, env=environment)
    message = (f"{name}-128.onnx is in fp32", "int8 needs calibration")
    assert_one_line_error(built, *message, beside="label space of the masks")
