"""Engines: what runs a model. `load_engine` picks one by the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_segface.engine.base import Engine
from edge_segface.errors import ModelError

__all__ = ["Engine", "load_engine"]


def load_engine(model: str | Path, **options: Any) -> Engine:
    """A bundled name or an .onnx file -> an engine; `options` are those of its class."""
    from edge_segface.weights import model_path

    path = model_path(model)
    if path.suffix.lower() == ".onnx":
        from edge_segface.engine.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(path, **options)
    if path.suffix.lower() in (".pt", ".pth", ".safetensors"):
        raise ModelError(
            f"{path} holds weights, which run after export", remedy=f"run: edge-segface export {path} --out F.onnx"
        )
    raise ModelError(f"no engine runs {path}", found=path.suffix or "no suffix", remedy="give an .onnx file")
