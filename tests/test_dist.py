"""The wheel and the source distribution: built by `make dist`, installed in fresh environments, and used there."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from edge_segface import __version__
from edge_segface.assets import PORTRAIT
from tests.conftest import ROOT

pytestmark = pytest.mark.slow
MOST_MB = 40


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "uv", "build", "--quiet", "--out-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True)
    return folder


def file_of(dist: Path, pattern: str) -> Path:
    (path,) = dist.glob(pattern)
    assert path.stat().st_size < MOST_MB * 1e6
    return path


def test_the_wheel_holds_the_package_alone(dist: Path) -> None:
    with zipfile.ZipFile(file_of(dist, "*.whl")) as wheel:
        names = wheel.namelist()
        info = next(name for name in names if name.endswith("METADATA"))
        metadata = Parser().parsestr(wheel.read(info).decode())
    for wanted in ("edge_segface/py.typed", "edge_segface/assets/edge-256.onnx", "edge_segface/assets/CARD.md"):
        assert wanted in names
    assert {name.split("/")[0] for name in names} == {"edge_segface", info.split("/")[0]}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert {"jetson", "onnx", "openvino", "train", "viewer"} <= set(metadata.get_all("Provides-Extra", []))


def test_the_source_holds_what_its_tests_need(dist: Path) -> None:
    with tarfile.open(file_of(dist, "*.tar.gz")) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for wanted in (
        "Makefile",
        "pyproject.toml",
        "tests/test_dist.py",
        "deploy/Dockerfile.x86",
        "docs/index.md",
        "LICENSE",
    ):
        assert wanted in names
    assert not any(name.startswith((".venv", "runs", "build")) for name in names)


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_a_fresh_environment_runs_it(dist: Path, pattern: str, tmp_path: Path) -> None:
    uv, python = [sys.executable, "-m", "uv"], tmp_path / "venv" / "bin" / "python"
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv")], check=True)
    install = [*uv, "pip", "install", "--quiet", "--python", str(python), str(file_of(dist, pattern))]
    subprocess.run(install, check=True)
    tool = str(python.with_name("edge-segface"))

    def run(*arguments: str) -> str:
        return subprocess.run(
            [tool, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300
        ).stdout

    assert run("--version").strip() == f"edge-segface {__version__}"
    assert ": 1 face" in run("parse", str(PORTRAIT), "--out", "parsed")
    assert (tmp_path / "parsed" / "portrait.json").exists()
    assert "end to end" in run("webcam", "--headless", "--source", "demo", "--frames", "20", "--record", "clip.mp4")
    assert (tmp_path / "clip.mp4").stat().st_size > 1000
