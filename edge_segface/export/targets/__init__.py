"""Formats other than our ONNX that `export` writes: a table of them, and a module for each.

Each module has one function, `converted(planes, out, options)`: a context in which the file or folder `out` is written.
Its value is a function from a crop to its classes, computed by a runtime of that format from what was written, or None
where no such runtime exists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edge_segface.frames import UInt8Array

Precision = Literal["fp32", "fp16", "int8"]
Run = Callable[[UInt8Array], UInt8Array]  # BGR crop (s, s, 3) -> classes (s, s)

CHIPS = ("rk3562", "rk3566", "rk3568", "rk3576", "rk3588")  # of Rockchip

PLANES_IN = "float32 (1, 3, s, s): planes of red, green and blue in 0..255"
PIXELS_IN = "float32 (1, s, s, 3): pixels of red, green and blue in 0..255"
PLANES_OUT = "float32 (1, n, g, g): logits; enlarge them to s bilinearly, then take the class of the largest"
PIXELS_OUT = "float32 (1, g, g, n): logits; enlarge them to s bilinearly, then take the class of the largest"


@dataclass(frozen=True)
class Options:
    """How to convert."""

    precision: Precision | None = None  # None: the target's default
    images: UInt8Array | None = None  # BGR crops (n, s, s, 3) to calibrate int8 on
    chip: str = ""  # of rknn
    ort_web: Path | None = None  # for web: the package of ONNX Runtime Web; None: by npm


@dataclass(frozen=True)
class Target:
    """One format. `least` maps each precision, the default first, to the least share of pixels of the same class."""

    suffix: str  # of the file or folder; empty: any folder
    where: str
    extra: str
    modules: tuple[str, ...]  # that must be installed
    least: dict[Precision, float] = field(default_factory=lambda: {"fp32": 0.999})
    input: str = PLANES_IN
    output: str = PLANES_OUT
    is_folder: bool = False

    @property
    def default_precision(self) -> Precision:
        return next(iter(self.least))


TARGETS: dict[str, Target] = {
    "portable": Target(".onnx", "any runtime that reads ONNX", "onnx", ("onnx",)),
    "ncnn": Target(
        ".ncnn.param", "Raspberry Pi, phones", "pnnx", ("onnx", "ncnn", "pnnx"), {"fp16": 0.99, "fp32": 0.999}
    ),
    "litert": Target(
        ".tflite",
        "Android, Linux boards",
        "litert",
        ("onnx", "torch", "litert_torch", "ai_edge_litert"),
        input=PIXELS_IN,
        output=PIXELS_OUT,
    ),
    "executorch": Target(".pte", "phones with PyTorch", "executorch", ("onnx", "torch", "executorch")),
    "coreml": Target(
        ".mlpackage",
        "iPhone, iPad, Mac",
        "coreml",
        ("onnx", "torch", "coremltools"),
        {"fp16": 0.99, "fp32": 0.999},
        input="image (s, s), red, green and blue in 0..255",
        is_folder=True,
    ),
    "rknn": Target(
        ".rknn",
        "Rockchip RK3562 to RK3588",
        "rknn",
        ("onnx", "rknn", "pkg_resources"),
        {"fp16": 0.99, "int8": 0.9},
        input="uint8 (1, s, s, 3): pixels of red, green and blue",
    ),
    "web": Target(
        "",
        "browsers",
        "onnx",
        ("onnx",),
        input="model.json describes it",
        output="model.json describes it",
        is_folder=True,
    ),
    "hailo": Target(".onnx", "Hailo's Dataflow Compiler", "onnx", ("onnx",)),
}
