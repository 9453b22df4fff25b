"""The models and the portrait that are bundled with the package. tools/make_weights.py writes the models."""

from __future__ import annotations

from pathlib import Path

from edge_segface.frames import RoI

FOLDER = Path(__file__).parent
BUNDLED = {path.stem: path for path in sorted(FOLDER.glob("*.onnx"))}  # name -> file
PORTRAIT = FOLDER / "portrait.jpg"
PORTRAIT_ROI = RoI((180.0, 110.0), 240.0)  # the square around the head in the portrait
