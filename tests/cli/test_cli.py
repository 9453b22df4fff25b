from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_segface import __version__
from edge_segface.assets import FOLDER, PORTRAIT
from edge_segface.cli import app
from edge_segface.face.parser import FaceParser
from edge_segface.image_io import read_image, write_image
from edge_segface.labels import CELEBAMASK19, CELEBAMASK19_RAW, remap_table
from tests.conftest import ROOT, assert_one_line_error, run_cli
from tests.support.datasets import write_folder
from tests.support.images import read_png


def test_parse_writes_ids_and_overlays_and_goes_on_after_a_bad_file(tmp_path: Path, drawn_face: np.ndarray) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_image(read_image(PORTRAIT), photos / "a.jpg")
    write_image(drawn_face, photos / "b.png")
    (photos / "bad.jpg").write_bytes(b"")
    result = run_cli("parse", photos, "--out", out)
    assert result.returncode == 1
    assert "2 of 3 parsed into" in result.stdout
    assert "error: " in result.stderr
    assert "bad.jpg is empty" in result.stderr
    assert "1 failed: " in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(item.name for item in out.iterdir()) == ["a.overlay.jpg", "a.png", "b.overlay.jpg", "b.png"]
    ids = read_png(out / "a.png")
    with FaceParser() as parser:
        assert np.array_equal(ids, parser(read_image(photos / "a.jpg")).labels)


def test_parse_into_another_label_space(tmp_path: Path) -> None:
    assert run_cli("parse", PORTRAIT, "--out", tmp_path / "own", "--no-overlay").returncode == 0
    result = run_cli("parse", PORTRAIT, "--out", tmp_path / "raw", "--labels", "celebamask19-raw")
    assert result.returncode == 0, result.stderr
    own, raw = (read_png(tmp_path / name / "portrait.png") for name in ("own", "raw"))
    assert np.array_equal(remap_table(CELEBAMASK19, CELEBAMASK19_RAW)[own], raw)
    assert [item.name for item in (tmp_path / "own").iterdir()] == ["portrait.png"]
    lapa = run_cli("parse", PORTRAIT, "--out", tmp_path / "lapa", "--labels", "lapa11")
    assert lapa.returncode == 0
    assert "neck becomes background" in lapa.stderr
    assert "left_ear becomes skin" in lapa.stderr


def test_parse_never_overwrites_a_picture(tmp_path: Path, drawn_face: np.ndarray) -> None:
    for name in ("x.png", "x.jpg", "deep/x.png"):
        write_image(drawn_face, tmp_path / name)
    before = (tmp_path / "x.png").read_bytes()
    result = run_cli("parse", tmp_path / "x.png", "--out", tmp_path)
    assert_one_line_error(result, "would overwrite", "x.png", "another folder")
    assert (tmp_path / "x.png").read_bytes() == before
    assert run_cli("parse", f"{tmp_path}/**/x.*", "--out", tmp_path / "out", "--no-overlay").returncode == 0
    assert len(list((tmp_path / "out").iterdir())) == 3
    (tmp_path / "x.overlay.jpg").write_bytes((tmp_path / "x.jpg").read_bytes())
    result = run_cli("parse", tmp_path / "x.jpg", tmp_path / "x.overlay.jpg", "--out", tmp_path)
    assert_one_line_error(result, "would overwrite", "x.overlay.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert_one_line_error(run_cli("parse", PORTRAIT, "--out", tmp_path / "out"), "cannot write")


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
        "demo", "doctor", "parse", "fetch", "train", "recipes", "evaluate", "balance", "calibrate", "export",
        "quantize", "build-engine", "package", "info", "webcam", "benchmark", "estimate",
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
    assert_one_line_error(built, f"{name}-128.onnx is in fp32", "int8 needs calibration")
