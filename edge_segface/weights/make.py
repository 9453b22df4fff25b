"""Writes the bundled files: `make weights`, or `make weights RUN=runs/edge` to bundle the best weights of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from edge_segface.export.onnx_file import export_onnx
from edge_segface.model.checkpoint import load_weights, save_weights
from edge_segface.weights import FOLDER

CHECKPOINT = FOLDER / "edge.pt"


def main(run: str | None = None) -> None:
    if run:
        save_weights(load_weights(Path(run) / "best.pt"), CHECKPOINT, torch.float16)
    exported = export_onnx(load_weights(CHECKPOINT), FOLDER / "edge-256.onnx", size=256, half_weights=True)
    print(f"{exported.path.name}: {exported.path.stat().st_size / 1e6:.1f} MB, {exported.parity}")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
