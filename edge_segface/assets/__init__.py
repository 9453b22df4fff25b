"""The models and the portrait that are bundled with the package. tools/make_weights.py writes the models."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
BUNDLED = {path.stem: path for path in sorted(FOLDER.glob("*.onnx"))}  # name -> file
DEFAULT_MODEL = "edge-256"
PHOTO_MODEL = "lite-384"  # more exact, and slower
PORTRAIT = FOLDER / "portrait.jpg"
MIN_FACE_SCORE = 0.5  # probability from which a face is reported
FACE_SCORE = FOLDER / "face_score.json"  # written by benchmarks/finder.py --fit
