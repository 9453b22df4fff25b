"""The running wing, installed as a device installs it: the base package alone, in an environment without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Everything but this must load without torch; a new room is in by itself.
TRAINING_WING = (
    "edge_segface.model",
    "edge_segface.export",
    *(
        f"edge_segface.quantize.{module}"
        for module in (
            "accuracy_gate",
            "graph_edit",
            "graph_info",
            "lint",
            "modelopt",
            "pipeline",
            "quantized_model",
            "sensitivity",
        )
    ),
    "edge_segface.train",
    "edge_segface.warp.training",
)


@pytest.fixture(scope="module")
def base_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "venv"
    python = folder / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(python), str(ROOT)], check=True)
    return python


def run(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(python), *arguments], capture_output=True, text=True, cwd=cwd, timeout=120)


def test_every_module_loads_and_torch_is_not_there(base_python: Path, tmp_path: Path) -> None:
    code = f"""
import importlib, importlib.util, pkgutil, sys, edge_segface
for name in ("torch", "timm", "onnx", "huggingface_hub"):
    assert importlib.util.find_spec(name) is None, name
assert "site-packages" in edge_segface.__file__
loaded = 0
for module in pkgutil.walk_packages(edge_segface.__path__, "edge_segface."):
    if not module.name.startswith({TRAINING_WING!r}) and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        loaded += 1
print(loaded)
"""
    result = run(base_python, "-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 20


def test_a_picture_is_parsed_and_the_demo_runs(base_python: Path, tmp_path: Path) -> None:
    result = run(base_python, "-m", "edge_segface", "demo", "--frames", "3", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "demo" / "demo.json").read_text())["engine_fps"] > 0


def test_a_dataset_is_scored_without_torch(base_python: Path, tmp_path: Path) -> None:
    result = run(
        base_python,
        "-m",
        "edge_segface",
        "evaluate",
        "edge-256",
        "--dataset",
        "drawn",
        "--json",
        "r.json",
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "r.json").read_text())["pictures"] == 32


def test_what_only_reads_files_needs_no_extra(base_python: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (["recipes"], "paper-lapa"),
        (["recipes", "edge"], "preset: edge"),
        (["recipes", "edge", "--json", "edge.json"], ""),
        (["info"], "needs the package onnx"),
        (["info", "--json"], '"mean_f1": '),
    ):
        result = run(base_python, "-m", "edge_segface", *arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert words in result.stdout
    assert json.loads((tmp_path / "edge.json").read_text())["preset"] == "edge"
    estimated = run(base_python, "-m", "edge_segface", "estimate", "edge-256", cwd=tmp_path)
    assert (estimated.returncode, "run: pip install onnx\n" in estimated.stderr) == (1, True)


def test_training_commands_name_the_extra_to_install(base_python: Path, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"a checkpoint")
    for arguments in (
        ["export", "x.pt", "--out", "x.onnx"],
        ["fetch", "segface-mobilenet-celeb-512"],
        ["train", "drawn", "--out", "run"],
        ["evaluate", "x.pt", "--dataset", "drawn"],
    ):
        result = subprocess.run(
            [str(base_python), "-m", "edge_segface", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"EDGE_SEGFACE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
        assert result.returncode == 1
        assert "pip install 'edge-segface[train]'" in result.stderr
        assert "Traceback" not in result.stderr


def test_quantize_names_the_extra_to_install(base_python: Path, tmp_path: Path) -> None:
    arguments = ("-m", "edge_segface", "quantize", "edge-256", "--precision", "fp16", "--out", "x.onnx")
    result = run(base_python, *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert "quantizing a model needs onnx" in result.stderr
    assert "pip install 'edge-segface[quantize]'" in result.stderr
