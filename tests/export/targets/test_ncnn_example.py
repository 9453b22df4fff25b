"""The C++ example, built with ncnn's library and run; $ncnn_DIR may name the folder of the library's CMake files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_segface.assets import BUNDLED
from edge_segface.export.comparison import SampleCrops
from edge_segface.export.targets import Options
from edge_segface.export.targets.convert import convert
from edge_segface.models import load_engine
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build: Path = tmp_path_factory.mktemp("build")
    try:
        made = subprocess.run(
            ["cmake", "-S", ROOT / "examples" / "ncnn", "-B", build], capture_output=True, text=True, timeout=120
        )
    except FileNotFoundError:
        pytest.skip("cmake is not installed")
    if "ncnn" in made.stderr and made.returncode:
        pytest.skip("the C++ library of ncnn is not installed")
    assert made.returncode == 0, made.stderr
    subprocess.run(["cmake", "--build", build], check=True, capture_output=True, timeout=300)
    return build / "parse"


def test_it_finds_the_same_classes(program: Path, tmp_path: Path) -> None:
    model = tmp_path / "edge.ncnn.param"
    convert("ncnn", BUNDLED["edge-256"], model, Options())
    crop = SampleCrops(256).crops[0]
    cv2.imwrite(str(tmp_path / "face.ppm"), crop)
    found = tmp_path / "classes.pgm"
    subprocess.run([program, model, "256", tmp_path / "face.ppm", found], check=True, timeout=120)
    with load_engine(model) as engine:
        expected = engine.infer(crop[None])[0]
    assert np.mean(cv2.imread(str(found), cv2.IMREAD_GRAYSCALE) == expected) > 0.999


def test_wrong_input_is_one_line(program: Path, tmp_path: Path) -> None:
    (tmp_path / "text.ppm").write_text("P6 but no image")
    arguments: list[str | Path] = [program, "missing.ncnn.param", "256", tmp_path / "text.ppm", tmp_path / "out.pgm"]
    failed = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
