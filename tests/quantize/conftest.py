"""The bundled model, quantized once for all tests: starting nvidia-modelopt takes most of the time."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_segface.data import Dataset
from edge_segface.data.synthetic.drawn import open_drawn
from edge_segface.face.parser import FaceParser
from edge_segface.models import resolve
from edge_segface.progress import NoProgress
from edge_segface.quantize.accuracy_gate import AccuracyGate
from edge_segface.quantize.calibration.collect import collect
from edge_segface.quantize.calibration.definition import Definition
from edge_segface.quantize.calibration.sources import from_dataset
from edge_segface.quantize.options import Int8Options
from edge_segface.quantize.pipeline import QuantizeResult, quantize_fp16, quantize_int8

BUNDLED = resolve("edge-256").path
KEPT_PATTERN = ".*/refine_half/.*"


class RecordedProgress(NoProgress):
    def __init__(self) -> None:
        self.steps: dict[str, int] = {}

    def stage(self, name: str, total: int | None = None) -> None:
        self.current = name
        self.steps.setdefault(name, 0)

    def advance(self, count: int = 1) -> None:
        self.steps[self.current] += count


@pytest.fixture(scope="session")
def few_faces() -> Dataset:
    dataset = open_drawn("test")
    return dataset.only(dataset.names[:8])


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibration") / "set.npz"
    with FaceParser("edge-256") as parser:
        squares = from_dataset(open_drawn("val"), parser)
        collect(squares, parser.spec, Definition(count=8), "drawn", "the dataset").save(path)
    return path


@pytest.fixture(scope="session")
def int8_progress() -> RecordedProgress:
    return RecordedProgress()


@pytest.fixture(scope="session")
def int8(
    tmp_path_factory: pytest.TempPathFactory, calibration: Path, few_faces: Dataset, int8_progress: RecordedProgress
) -> tuple[Path, QuantizeResult]:
    """With one group kept by a pattern, the others ranked, and a drop that is measured but allowed."""
    out = tmp_path_factory.mktemp("int8") / "edge-256-int8.onnx"
    result = quantize_int8(
        BUNDLED,
        calibration,
        out,
        options=Int8Options(keep=(KEPT_PATTERN,), scan=True),
        gate=AccuracyGate(few_faces, max_drop=-100.0),
        allow_drop=True,
        progress=int8_progress,
    )
    return out, result


@pytest.fixture(scope="session")
def fp16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fp16") / "edge-256-fp16.onnx"
    quantize_fp16(BUNDLED, out)
    return out
