"""Engines: one class for each runtime, all with the same interface.

`edge_segface.models.load_engine` also accepts bundled names and checkpoints; use it unless you have a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from platform import machine
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from edge_segface.engine.base import Engine, say_once
from edge_segface.errors import EdgeSegfaceError, ModelError, first_line

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Engine", "EngineOptions", "Runtime", "open_engine"]

Runtime = Literal["onnxruntime", "openvino", "ncnn", "tensorrt"]


class EngineOptions(TypedDict, total=False):
    """Options of the engines; each engine rejects those that it does not have. None means the engine's default."""

    threads: int | None
    provider: str | None  # ONNX Runtime: a name of PROVIDERS
    spin: bool  # ONNX Runtime: whether idle threads spin
    precision: Literal["auto", "fp32", "bf16", "fp16"]  # OpenVINO
    hint: Literal["latency", "throughput"]  # OpenVINO
    device: str | None  # OpenVINO: CPU, GPU or NPU
    cache: Path  # OpenVINO: folder of compiled models
    memory: Literal["auto", "copy", "mapped"]  # TensorRT
    graphs: bool  # TensorRT: whether to use CUDA graphs


# Imported when used: each needs packages of its own.
ENGINE_CLASSES: dict[Runtime, tuple[str, str]] = {
    "onnxruntime": ("onnxruntime", "OnnxRuntimeEngine"),
    "openvino": ("openvino.engine", "OpenVinoEngine"),
    "ncnn": ("ncnn", "NcnnEngine"),
    "tensorrt": ("tensorrt.engine", "TensorRtEngine"),
}


def open_engine(
    path: Path, runtimes: Sequence[Runtime], runtime: Runtime | None = None, **options: Unpack[EngineOptions]
) -> Engine:
    """Open a model file in `runtime`, or in the fastest installed one of the `runtimes` that execute such files."""
    if runtime is not None and runtime not in runtimes:
        raise ModelError(
            f"{runtime} does not run {path.suffix.lower()} files", found=path, remedy=f"use {' or '.join(runtimes)}"
        )
    given = {name: value for name, value in options.items() if value is not None}
    first, *others = [runtime] if runtime else fastest_first(runtimes, given)
    try:
        return _open(first, path, given)
    except (ImportError, OSError, EdgeSegfaceError) as error:
        if not others:
            raise
        engine = _open(others[0], path, given)  # if the file is at fault, this says what is wrong with it
        say_once(f"{first} does not work here, so {others[0]} is used: {first_line(error)}")
        return engine


def fastest_first(runtimes: Sequence[Runtime], options: Mapping[str, Any]) -> list[Runtime]:
    """Return the runtimes to try, fastest first; only one if the options are of one only.

    OpenVINO is the fastest on x86-64 with every model and processor measured (docs/guides/engines.md); elsewhere, and
    where it is not installed, the first one is.
    """
    first, *others = runtimes
    if "openvino" not in others or options.get("provider", "cpu") != "cpu" or "spin" in options:
        return [first]
    if options.keys() & {"precision", "hint", "device", "cache"}:
        return ["openvino"]
    is_faster = machine().lower() in ("x86_64", "amd64") and find_spec("openvino") is not None
    return ["openvino", first] if is_faster else [first]


def _open(runtime: Runtime, path: Path, options: Mapping[str, Any]) -> Engine:
    module, name = ENGINE_CLASSES[runtime]
    engine_class = getattr(import_module(f"edge_segface.engine.{module}"), name)
    if runtime != "onnxruntime":
        options = {key: value for key, value in options.items() if (key, value) != ("provider", "cpu")}
    if unknown := options.keys() - signature(engine_class).parameters.keys():
        raise ModelError(f"{runtime} has no option {', '.join(sorted(unknown))}", remedy="leave it out")
    engine: Engine = engine_class(path, **options)
    return engine
