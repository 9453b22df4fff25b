"""Model files for a benchmark: checkpoints are exported first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_segface.bench.measure import BenchmarkModel
from edge_segface.errors import EdgeSegfaceError
from edge_segface.extras import check_torch
from edge_segface.models import input_size, resolve


def model_files(models: Sequence[str], sizes: Sequence[int], folder: Path) -> list[BenchmarkModel]:
    """Return the file of every model, or the error; checkpoints are exported into `folder` at each size."""
    files: list[BenchmarkModel] = []
    for number, model in enumerate(models):
        try:
            files += _files_of(model, sizes, folder / str(number))
        except EdgeSegfaceError as error:
            files.append(BenchmarkModel(model, error))
    return files


def _files_of(model: str, sizes: Sequence[int], folder: Path) -> list[BenchmarkModel]:
    found = resolve(model)
    if not found.is_checkpoint:
        return [BenchmarkModel(model, found.path)]
    check_torch("exporting a checkpoint")
    from edge_segface.export.onnx_export import export_onnx
    from edge_segface.model.checkpoint import load_weights

    weights = load_weights(found.path)
    files = []
    for size in sizes or [input_size(weights)]:
        exported = export_onnx(weights, folder / f"{found.path.stem}-{size}.onnx", size=size)
        files.append(BenchmarkModel(f"{model} at {size}", exported.path))
    return files
