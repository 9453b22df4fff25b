"""Engines: what runs a model. `load_engine` picks one by the file."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from edge_segface.engine.base import Engine
from edge_segface.errors import ModelError

__all__ = ["RUNTIMES", "Engine", "Runtime", "load_engine"]


Runtime = Literal["onnxruntime", "openvino", "tensorrt"]
RUNTIMES: dict[str, tuple[Runtime, ...]] = {
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
    ".engine": ("tensorrt",),  # or TensorRT-RTX, as its record says
}
CLASSES: dict[Runtime, tuple[str, str]] = {
    "onnxruntime": ("onnxruntime", "OnnxRuntimeEngine"),
    "openvino": ("openvino", "OpenVinoEngine"),
    "tensorrt": ("tensorrt", "TensorRtEngine"),
}


def load_engine(model: str | Path, *, runtime: Runtime | None = None, **options: Any) -> Engine:
    """A bundled name or a model file -> an engine; `options` are those of its class.

    `runtime`: what runs it, where more than one can; ONNX Runtime for an .onnx file unless told otherwise.
    """
    from edge_segface.weights import model_path

    path = model_path(model)
    suffix = path.suffix.lower()
    if suffix in (".pt", ".pth", ".safetensors"):
        raise ModelError(
            f"{path} holds weights, which run after export", remedy=f"run: edge-segface export {path} --out F.onnx"
        )
    if suffix not in RUNTIMES:
        raise ModelError(
            f"no engine runs {path}", found=suffix or "no suffix", remedy="give an .onnx, .xml or .engine file"
        )
    chosen = runtime or RUNTIMES[suffix][0]
    if chosen not in RUNTIMES[suffix]:
        raise ModelError(
            f"{chosen} does not run {suffix} files", found=path, remedy=f"take {' or '.join(RUNTIMES[suffix])}"
        )
    module, name = CLASSES[chosen]
    kind = getattr(import_module(f"edge_segface.engine.{module}"), name)
    if strange := set(options) - set(signature(kind).parameters):
        raise ModelError(f"{chosen} has no setting {', '.join(sorted(strange))}", remedy="leave it out")
    engine: Engine = kind(path, **options)
    return engine
