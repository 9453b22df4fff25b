"""Export a checkpoint as the command line names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_segface.export.onnx_export import ExportedModel, export_onnx
from edge_segface.labels import LabelSpace
from edge_segface.model.checkpoint import load_weights
from edge_segface.models import input_size, resolve_checkpoint
from edge_segface.spec import check_size


def export_checkpoint(
    model: str,
    out: Path,
    size: int | None = None,
    space: LabelSpace | None = None,
    *,
    outputs: str = "labels",
    half_weights: bool = False,
    warn: Callable[[str], None],
) -> ExportedModel:
    """Export a checkpoint to ONNX. `warn` receives a line for each assumption and for a missing F1."""
    if size is not None:
        check_size(size)
    weights = load_weights(resolve_checkpoint(model), space)
    if space is None and weights.space.name == "lapa11" and weights.preset == "paper":
        warn("eleven classes: assuming LaPa, which needs five landmarks; use --labels helen11 if it is Helen")
    side = input_size(weights, size)
    exported = export_onnx(weights, out, size=side, outputs=outputs, half_weights=half_weights)
    if exported.spec.f1_size not in (None, side):
        warn(f"the F1 of these weights was measured at {exported.spec.f1_size}, so the file at {side} carries none")
    return exported
