"""Engines: one class for each runtime, all with the same interface.

`edge_segface.models.load_engine` also accepts bundled names and checkpoints; use it unless you have a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from edge_segface.engine.base import Engine
from edge_segface.errors import ModelError

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Engine", "EngineOptions", "Runtime", "open_engine"]

Runtime = Literal["onnxruntime", "openvino", "tensorrt"]


class EngineOptions(TypedDict, total=False):
    """Options of the engines; each engine rejects those that it does not have. None means the engine's default."""

    threads: int | None
    provider: str | None  # ONNX Runtime: cpu, cuda or tensorrt
    spin: bool  # ONNX Runtime: whether idle threads spin
    precision: Literal["auto", "fp32", "bf16", "fp16"]  # OpenVINO
    hint: Literal["latency", "throughput"]  # OpenVINO
    device: str  # OpenVINO: CPU, GPU or NPU
    cache: Path  # OpenVINO: folder of compiled models
    memory: Literal["auto", "copy", "mapped"]  # TensorRT
    graphs: bool  # TensorRT: whether to use CUDA graphs


ENGINE_CLASSES: dict[Runtime, tuple[str, str]] = {  # imported when used: each needs packages of its own
    "onnxruntime": ("onnxruntime", "OnnxRuntimeEngine"),
    "openvino": ("openvino.engine", "OpenVinoEngine"),
    "tensorrt": ("tensorrt.engine", "TensorRtEngine"),
}


def open_engine(
    path: Path, runtimes: Sequence[Runtime], runtime: Runtime | None = None, **options: Unpack[EngineOptions]
) -> Engine:
    """Open a model file in `runtime`, or in the first of the `runtimes` that execute such files."""
    chosen = runtime or runtimes[0]
    if chosen not in runtimes:
        raise ModelError(
            f"{chosen} does not run {path.suffix.lower()} files", found=path, remedy=f"use {' or '.join(runtimes)}"
        )
    module, name = ENGINE_CLASSES[chosen]
    engine_class = getattr(import_module(f"edge_segface.engine.{module}"), name)
    given = {name: value for name, value in options.items() if value is not None}
    if unknown := set(given) - set(signature(engine_class).parameters):
        raise ModelError(f"{chosen} has no option {', '.join(sorted(unknown))}", remedy="leave it out")
    engine: Engine = engine_class(path, **given)
    return engine
