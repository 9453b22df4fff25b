"""The running wing, installed as a device installs it: the base package alone, in an environment without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

MODULES = (
    "edge_segface.bench.stopwatch",
    "edge_segface.cli",
    "edge_segface.demo",
    "edge_segface.draw",
    "edge_segface.engine.onnxruntime",
    "edge_segface.metrics",
    "edge_segface.parse",
    "edge_segface.parser",
    "edge_segface.pictures",
    "edge_segface.spec",
    "edge_segface.tables",
    "edge_segface.warp.running",
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
import importlib, importlib.util, sys
for name in ("torch", "timm", "onnx", "huggingface_hub"):
    assert importlib.util.find_spec(name) is None, name
for name in {MODULES!r}:
    importlib.import_module(name)
assert not any("site-packages" not in m.__file__ for n, m in sys.modules.items() if n.startswith("edge_segface"))
"""
    result = run(base_python, "-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_a_picture_is_parsed_and_the_demo_runs(base_python: Path, tmp_path: Path) -> None:
    result = run(base_python, "-m", "edge_segface", "demo", "--frames", "3", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "demo" / "demo.json").read_text())["engine_fps"] > 0


def test_the_training_wing_says_what_to_install(base_python: Path, tmp_path: Path) -> None:
    for arguments in (["export", "x.pt", "--out", "x.onnx"], ["fetch", "segface-mobilenet-celeb-512"]):
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


def test_no_module_of_the_running_wing_names_torch() -> None:
    folders = ("engine", "bench")
    files = [
        *(ROOT / "edge_segface").glob("*.py"),
        *(f for d in folders for f in (ROOT / "edge_segface" / d).rglob("*.py")),
    ]
    naming = [file.name for file in files if "import torch" in file.read_text() and file.name != "cli.py"]
    assert naming == []
