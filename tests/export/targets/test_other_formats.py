"""LiteRT, ExecuTorch, Core ML and RKNN: exported from an installed wheel, and read by the runtimes' own tools."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_segface.engine.planes import labels_of, rgb_planes
from edge_segface.export.comparison import SampleCrops
from edge_segface.models import load_engine
from edge_segface.quantize.calibration.artefact import CalibrationInfo, CalibrationSet, hashes
from edge_segface.spec import TargetRecord
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the converters are tried with Python 3.11"),
    pytest.mark.skipif(sys.platform != "linux", reason="rknn-toolkit2 is for Linux"),
]

RUN_LITERT = """
import sys, numpy as np
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(sys.argv[1])
model.allocate_tensors()
model.set_tensor(model.get_input_details()[0]["index"], np.load(sys.argv[2]).transpose(0, 2, 3, 1))
model.invoke()
np.save(sys.argv[3], model.get_tensor(model.get_output_details()[0]["index"]).transpose(0, 3, 1, 2))
"""
RUN_EXECUTORCH = """
import sys, numpy as np, torch
from executorch.runtime import Runtime
method = Runtime.get().load_program(sys.argv[1]).load_method("forward")
np.save(sys.argv[3], method.execute([torch.from_numpy(np.load(sys.argv[2]))])[0].numpy())
"""
DESCRIBE_COREML = """
import sys, coremltools
spec = coremltools.models.MLModel(sys.argv[1], skip_model_load=True).get_spec()
image, logits = spec.description.input[0], spec.description.output[0]
print(image.name, image.type.imageType.width, image.type.imageType.height, *logits.type.multiArrayType.shape)
"""


def environment(folder: Path, *extras: str) -> Path:
    """Install the package with these extras in an environment of their own; return its programs' folder."""
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    package = f"{ROOT}[{','.join(extras)}]"
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), package], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def torch_formats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("formats") / "venv", "litert", "executorch", "coreml")


def export(programs: Path, out: Path, *arguments: str) -> str:
    command = [str(programs / "edge-segface"), "export", "edge-256", "-o", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=out.parent)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, done.stdout  # nothing of what the converters print
    return done.stdout


@pytest.mark.parametrize(
    ("name", "suffix", "script"), [("litert", ".tflite", RUN_LITERT), ("executorch", ".pte", RUN_EXECUTORCH)]
)
def test_the_runtime_finds_the_same_classes(
    torch_formats: Path, tmp_path: Path, name: str, suffix: str, script: str
) -> None:
    out = tmp_path / f"edge{suffix}"
    assert "100.000 % of pixels" in export(torch_formats, out, "--format", name)
    crop = SampleCrops(256).crops[:1]
    np.save(tmp_path / "in.npy", rgb_planes(crop[0]))
    command = [
        str(torch_formats / "python"),
        "-c",
        script,
        str(out),
        str(tmp_path / "in.npy"),
        str(tmp_path / "out.npy"),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    with load_engine("edge-256", runtime="onnxruntime") as engine:
        expected = engine.infer(crop)[0]
    assert np.mean(labels_of(np.load(tmp_path / "out.npy")[0], 256) == expected) > 0.999


def test_core_ml_converts_and_describes_itself(torch_formats: Path, tmp_path: Path) -> None:
    out = tmp_path / "edge.mlpackage"
    assert "not compared" in export(torch_formats, out, "--format", "coreml")
    command = [str(torch_formats / "python"), "-c", DESCRIBE_COREML, str(out)]
    described = subprocess.run(command, check=True, capture_output=True, text=True, timeout=200).stdout
    assert described.split() == ["image", "256", "256", "1", "19", "128", "128"]
    record = TargetRecord.load(out)
    assert record.agreement is None
    assert any(name.endswith("weight.bin") for name in record.files)


def test_rknn_in_its_simulator(tmp_path: Path) -> None:
    programs = environment(tmp_path / "venv", "rknn")
    out = tmp_path / "edge.rknn"
    assert float(export(programs, out, "--format", "rknn").split("parity: ")[1].split()[0]) > 99
    assert out.read_bytes()[:4] == b"RKNN"
    images = np.repeat(SampleCrops(256).crops, 8, axis=0)
    info = CalibrationInfo(
        input_size=256, warp=None, label_space="celebamask19", source="the built-in image", strategy="random", seed=0,
        names=tuple(map(str, range(len(images)))), sha256=hashes(images), candidates=len(images), pictures_with={},
        pixels_of={}, labelled_by="nothing",
    )  # fmt: skip
    CalibrationSet(images, info).save(tmp_path / "set.npz")
    small = tmp_path / "edge-int8.rknn"
    export(programs, small, "--format", "rknn", "--precision", "int8", "--calibration", str(tmp_path / "set.npz"))
    assert small.stat().st_size < 0.8 * out.stat().st_size
