"""edge-segface: face parsing with SegFace, from data to device.

The names below load what they need when they are first used; importing the package itself loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_segface.camera.result import FrameResult
    from edge_segface.camera.stream import parse_stream
    from edge_segface.errors import EdgeSegfaceError
    from edge_segface.face.finder import FaceFinder
    from edge_segface.face.parser import FaceParser
    from edge_segface.face.result import ParsedFace, ParsedImage
    from edge_segface.frames import ClassMap, Frame, RoI
    from edge_segface.labels import LabelSpace, label_space
    from edge_segface.models import load_engine
    from edge_segface.regions import Face

__version__ = "0.1.0"

__all__ = [
    "ClassMap",
    "EdgeSegfaceError",
    "Face",
    "FaceFinder",
    "FaceParser",
    "Frame",
    "FrameResult",
    "LabelSpace",
    "ParsedFace",
    "ParsedImage",
    "RoI",
    "__version__",
    "label_space",
    "load_engine",
    "parse_stream",
]

_MODULES = {
    "ClassMap": "frames",
    "EdgeSegfaceError": "errors",
    "Face": "regions",
    "FaceFinder": "face.finder",
    "FaceParser": "face.parser",
    "Frame": "frames",
    "FrameResult": "camera.result",
    "LabelSpace": "labels",
    "ParsedFace": "face.result",
    "ParsedImage": "face.result",
    "RoI": "frames",
    "label_space": "labels",
    "load_engine": "models",
    "parse_stream": "camera.stream",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'edge_segface' has no attribute {name!r}")
    return getattr(import_module(f"edge_segface.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
