"""The models and the picture that come with the package."""

from __future__ import annotations

from pathlib import Path

from edge_segface.errors import ModelError

FOLDER = Path(__file__).parent
DEFAULT_MODEL = "edge-256"
PORTRAIT = FOLDER / "portrait.jpg"


def bundled_models() -> dict[str, Path]:
    return {path.stem: path for path in sorted(FOLDER.glob("*.onnx"))}


def model_path(model: str | Path) -> Path:
    """A bundled name or a path -> a path. A path always has a suffix or a folder, so the two never meet."""
    path = Path(model)
    models = bundled_models()
    if str(model) in models:
        return models[str(model)]
    if not path.suffix and path.name == str(model) and not path.exists():
        raise ModelError(
            f"no bundled model is called {str(model)!r}", remedy=f"choose one of {', '.join(models)}, or give a file"
        )
    return path
