"""What there is to say about a model: its specification, its file, its size and its work."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge_segface.files import size_mb
from edge_segface.models import model_spec, resolve
from edge_segface.spec import ModelSpec


@dataclass(frozen=True)
class ModelInfo:
    """A model file described for people and scripts."""

    spec: ModelSpec
    path: Path
    file_mb: float
    parameters: int | None = None  # None: not counted, `uncounted` says why
    gflop: float | None = None  # of one image
    uncounted: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the specification's fields, and beside them what was found about the file."""
        f1 = {"mean_f1": self.spec.mean_f1, "long_tail_f1": self.spec.long_tail_f1}
        return {
            **asdict(self.spec),
            **{name: None if score is None else round(score, 2) for name, score in f1.items()},
            "path": str(self.path),
            "file_mb": round(self.file_mb, 2),
            "parameters": self.parameters,
            "gflop": None if self.gflop is None else round(self.gflop, 3),
        }


def describe_model(model: str | Path) -> ModelInfo:
    """Describe a model by any name that `resolve` knows. Parameters and GFLOP need the `onnx` package."""
    found = resolve(model)
    spec, path = model_spec(model), found.path.resolve()
    size = size_mb(path)
    if found.format.kind != "onnx":
        return ModelInfo(spec, path, size, uncounted="only counted in .onnx files")
    if find_spec("onnx") is None:
        return ModelInfo(spec, path, size, uncounted="not counted: needs the package onnx; run: pip install onnx")
    from edge_segface.bench.onnx_layers import layers_of, parameters_of

    gflop = sum(layer.flop for layer in layers_of(path).layers) / 1e9
    return ModelInfo(spec, path, size, parameters_of(path), gflop)
