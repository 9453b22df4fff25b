"""Writes the bundled ONNX files from the bundled checkpoint: `make weights`."""

from __future__ import annotations

from edge_segface.export.onnx_file import export_onnx
from edge_segface.model.checkpoint import load_weights
from edge_segface.weights import FOLDER


def main() -> None:
    exported = export_onnx(load_weights(FOLDER / "edge.pt"), FOLDER / "edge-256.onnx", size=256, half_weights=True)
    print(f"{exported.path.name}: {exported.path.stat().st_size / 1e6:.1f} MB, {exported.parity}")  # noqa: T201


if __name__ == "__main__":
    main()
