"""Quantize with nvidia-modelopt: fp16 by AutoCast, int8 by explicit Q/DQ. The precision lives in the ONNX file.

The network between preprocessing and postprocessing changes, these two do not. In int8, attention products, layer norms
and softmax always stay in floating point; other layers do where a pattern says so.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from edge_segface import __version__
from edge_segface.engine.onnxruntime import installed
from edge_segface.errors import QuantizeError
from edge_segface.export.node_names import ATTENTION_PRODUCTS, MASK_PRODUCT, SQUEEZE_EXCITE, WRAPPING
from edge_segface.extras import check_quantize
from edge_segface.files import sha256_of
from edge_segface.frames import UInt8Array
from edge_segface.isolation import isolated_python
from edge_segface.progress import NO_PROGRESS, Progress
from edge_segface.quantize.calibration.artefact import CalibrationSet
from edge_segface.quantize.graph_edit import with_only_layers_quantized, with_shared_constants
from edge_segface.quantize.graph_info import LAYERS, int8_share
from edge_segface.quantize.options import INT8_DEFAULTS, Int8Options
from edge_segface.quantize.quantized_model import QuantizedModel, load_fp32
from edge_segface.spec import ModelSpec

NEVER_INT8 = (*WRAPPING, *ATTENTION_PRODUCTS, *MASK_PRODUCT, *SQUEEZE_EXCITE)
# Elementwise operators run in the type of their neighbours; residual additions are left to modelopt.
NEVER_INT8_OPS = ("HardSwish", "HardSigmoid", "Mul", "Resize", "ReduceMean", "GlobalAveragePool", "Softmax")
FP16_PIXELS = 8 * 256**2  # limit for AutoCast, which keeps every tensor of every image in memory


def to_fp16(source: Path, images_bgr: UInt8Array, threads: int | None = None) -> QuantizedModel:
    """Convert to fp16 the layers whose values stay in its range on these images, as AutoCast finds."""
    model, spec = load_fp32(source)
    task = {"precision": "fp16", "threads": threads, "exclude": list(WRAPPING)}
    count = max(1, FP16_PIXELS // spec.input_size**2)
    converted = _run_modelopt(model, images_bgr[:count], task)
    return QuantizedModel(converted, _quantized_spec(spec, "fp16", source), 0.0)


def to_int8(
    source: Path,
    calibration: CalibrationSet,
    options: Int8Options = INT8_DEFAULTS,
    *,
    threads: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> QuantizedModel:
    """Put Q/DQ on the inputs of convolutions and linear layers, except those to keep."""
    model, spec = load_fp32(source)
    calibration.check_for(spec)
    check_patterns(options.keep, model)
    task = {
        "precision": "int8",
        "threads": threads,
        "method": options.method,
        "percentile": options.percentile,
        "rest": options.rest,
        "exclude": [*NEVER_INT8, *options.keep],
        "exclude_ops": list(NEVER_INT8_OPS),
    }
    progress.stage("calibrating int8", len(calibration.images_bgr))
    quantized = with_only_layers_quantized(_run_modelopt(model, calibration.images_bgr, task, progress))
    kept = dict.fromkeys(options.keep, "requested") or None
    spec = replace(_quantized_spec(spec, "int8", source), calibration_sha256=calibration.sha256, kept=kept)
    return QuantizedModel(quantized, spec, int8_share(quantized))


def check_patterns(patterns: Sequence[str], model: ModelProto) -> None:
    """Raise unless each pattern matches the beginning of a layer's name, which is how modelopt reads it."""
    names = [node.name for node in model.graph.node if node.op_type in LAYERS]
    for pattern in patterns:
        if not pattern or not any(re.match(pattern, name) for name in names):
            raise QuantizeError(
                f"no layer matches {pattern!r}", found=f"names such as {names[-1]}",
                remedy="give a pattern such as --keep '.*/refine_half/.*'",
            )  # fmt: skip


def check_one_runtime() -> None:
    """Raise if two distributions of ONNX Runtime are installed: they share a folder and break each other."""
    if len(found := installed()) > 1:
        raise QuantizeError(
            "two distributions of ONNX Runtime are installed over each other",
            found=", ".join(found),
            remedy="run: pip uninstall -y onnxruntime onnxruntime-gpu, then install the one that you need",
        )


def _quantized_spec(spec: ModelSpec, precision: str, source: Path) -> ModelSpec:
    return replace(
        spec,
        name=spec.name if spec.name.endswith(precision) else f"{spec.name}-{precision}",
        precision=precision,
        f1=None,  # measured on the source
        made_by=f"edge-segface {__version__}, nvidia-modelopt {version('nvidia-modelopt')}",
        parent_sha256=sha256_of(source),
    )


def _run_modelopt(
    model: ModelProto, images_bgr: UInt8Array, task: dict[str, Any], progress: Progress = NO_PROGRESS
) -> ModelProto:
    check_quantize()
    check_one_runtime()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / "source.onnx")
        np.savez(folder / "images.npz", image=images_bgr)
        paths = {"source": "source.onnx", "images": "images.npz", "out": "out.onnx"}
        task = {**task, **{key: str(folder / file) for key, file in paths.items()}}
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        _run_worker(folder, progress)
        return with_shared_constants(onnx.load(folder / "out.onnx"))


def _run_worker(folder: Path, progress: Progress) -> None:
    """Run the task in a folder; the worker prints a line per image. Raise with its last message if it fails."""
    command = isolated_python("edge_segface.quantize.worker", str(folder / "task.json"))
    with open(folder / "log.txt", "w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder)  # noqa: S603
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip() == "image":
                    progress.advance()
            code = process.wait()
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        messages = log.read().strip().splitlines()
    if code or not (folder / "out.onnx").exists():
        raise QuantizeError(
            "nvidia-modelopt failed", found=messages[-1] if messages else f"exit code {code}",
            remedy="please report this with the versions of nvidia-modelopt and onnxruntime",
        )  # fmt: skip
