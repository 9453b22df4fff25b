"""Lower precision that lives in the ONNX file: fp16 by AutoCast, int8 by explicit Q/DQ, both by nvidia-modelopt.

Everything between bytes in and classes out changes, the wrapping does not. What must stay in floating point is kept
there by name: attention products, layer norms and softmax always, other groups of layers where measuring says so.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, helper

from edge_segface import __version__
from edge_segface.engine.onnxruntime import installed
from edge_segface.errors import MissingExtra, ModelError, QuantizeError
from edge_segface.files import sha256_of, written_whole
from edge_segface.frames import UInt8Array
from edge_segface.quantize.calibration.artefact import CalibrationSet
from edge_segface.quantize.lint import lint
from edge_segface.quantize.qdq import (
    LAYERS,
    int8_share,
    quantized_for_layers_alone,
    with_shared_constants,
    with_stored_float,
    with_stored_int8,
)
from edge_segface.spec import ModelSpec

Method = Literal["entropy", "max", "percentile"]
Rest = Literal["fp16", "fp32"]

WRAPPING = (r"^/?before/.*", r"^/?after/.*")
ATTENTION = (r".*/(tokens_from_image|image_from_tokens|self_attention|final_attention)/MatMul.*",)
MASKS = (r".*/decoder/MatMul$",)  # tokens times pixels, which are the logits: no constant side, little work
SMALL = (r".*/se/.*",)  # two products of one pixel each: nothing to win, and much to lose
NEVER_INT8 = (*WRAPPING, *ATTENTION, *MASKS, *SMALL)
# Pointwise work runs beside its neighbours in whatever type they have; residual additions are left to modelopt.
NEVER_INT8_OPS = ("HardSwish", "HardSigmoid", "Mul", "Resize", "ReduceMean", "GlobalAveragePool", "Softmax")
FP16_PIXELS = 8 * 256**2  # AutoCast keeps every tensor of every picture in memory
PERCENTILE = 99.99  # of the values of a tensor, that `percentile` does not cut off

OnPicture = Callable[[], None]


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """A model in lower precision, not yet written: int8 weights are still floats behind a Q and a DQ."""

    model: ModelProto
    spec: ModelSpec
    int8_share: float

    def save(self, path: Path) -> None:
        model = with_stored_int8(self.model)
        if findings := lint(model):
            raise QuantizeError("the quantized file breaks rules of TensorRT", found="; ".join(map(str, findings[:3])))
        helper.set_model_props(model, self.spec.metadata())
        with written_whole(path) as temporary:
            onnx.save(model, temporary)


@contextmanager
def on_disk(lowered: QuantizedModel) -> Iterator[Path]:
    """Written for as long as the block lasts, for engines, which open files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lowered.onnx"
        lowered.save(path)
        yield path


def load_float(path: Path) -> tuple[ModelProto, ModelSpec]:
    """A model of ours in fp32, and what it says of itself; anything else is an error."""
    try:
        model = onnx.load(path)
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist", remedy="check the path") from error
    except (OSError, ValueError, DecodeError) as error:
        raise ModelError(
            f"{path} is not an ONNX file", found=type(error).__name__, remedy="make one with: edge-segface export"
        ) from error
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props}, path)
    if spec.precision != "fp32":
        raise QuantizeError(
            f"{path} is in {spec.precision} already", remedy="start from the fp32 file that export writes"
        )
    if "labels" not in spec.outputs:
        raise QuantizeError(
            f"{path} returns no labels", found=", ".join(spec.outputs), remedy="export it with --outputs both"
        )
    return with_stored_float(model), spec


def to_fp16(source: Path, images_bgr: UInt8Array, threads: int | None = None) -> QuantizedModel:
    """fp16 wherever AutoCast finds that numbers stay in range on these pictures; the wrapping as it is."""
    model, spec = load_float(source)
    task = {"precision": "fp16", "threads": threads, "exclude": list(WRAPPING)}
    enough = max(1, FP16_PIXELS // spec.input_size**2)
    lowered = _by_modelopt(model, images_bgr[:enough], task)
    return QuantizedModel(lowered, _spec(spec, "fp16", source), 0.0)


def to_int8(
    source: Path,
    calibration: CalibrationSet,
    *,
    method: Method = "entropy",
    percentile: float = PERCENTILE,
    rest: Rest = "fp16",
    keep: Sequence[str] = (),
    threads: int | None = None,
    on_picture: OnPicture = lambda: None,
) -> QuantizedModel:
    """Q/DQ on the inputs of convolutions and linear layers, but those whose names match one of `keep`."""
    model, spec = load_float(source)
    calibration.check_for(spec)
    check_names(keep, model)
    task = {
        "precision": "int8",
        "threads": threads,
        "method": method,
        "percentile": percentile,
        "rest": rest,
        "exclude": [*NEVER_INT8, *keep],
        "exclude_ops": list(NEVER_INT8_OPS),
    }
    lowered = quantized_for_layers_alone(_by_modelopt(model, calibration.images_bgr, task, on_picture))
    described = replace(_spec(spec, "int8", source), calibration_sha256=calibration.sha256)
    return QuantizedModel(lowered, described, int8_share(lowered))


def check_names(patterns: Sequence[str], model: ModelProto) -> None:
    """Each must be a regular expression that fits the beginning of some layer's name, as modelopt reads it."""
    names = [node.name for node in model.graph.node if node.op_type in LAYERS]
    for pattern in patterns:
        try:
            fits = any(re.match(pattern, name) for name in names)
        except re.error as error:
            raise QuantizeError(f"{pattern!r} is no regular expression", found=error) from error
        if not pattern or not fits:
            raise QuantizeError(
                f"no layer is called {pattern!r}", remedy=f"names are like {names[-1]}; say --keep '.*/refine_half/.*'"
            )


def check_one_runtime() -> None:
    """Two distributions of ONNX Runtime install the same folder, and break each other."""
    if len(there := installed()) > 1:
        raise QuantizeError(
            "two distributions of ONNX Runtime are installed over each other",
            found=", ".join(there),
            remedy="run: pip uninstall -y onnxruntime onnxruntime-gpu, then install the one that you need",
        )


def _spec(spec: ModelSpec, precision: str, source: Path) -> ModelSpec:
    return replace(
        spec,
        name=spec.name if spec.name.endswith(precision) else f"{spec.name}-{precision}",
        precision=precision,
        f1=None,  # what the source has been measured with is not true of this any more
        made_by=f"edge-segface {__version__}, nvidia-modelopt {version('nvidia-modelopt')}",
        parent_sha256=sha256_of(source),
    )


def _by_modelopt(
    model: ModelProto, images_bgr: UInt8Array, task: dict[str, Any], on_picture: OnPicture = lambda: None
) -> ModelProto:
    check_one_runtime()
    if find_spec("modelopt") is None:
        raise MissingExtra("nvidia-modelopt", "quantize", "lowering the precision of a model")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / "source.onnx")
        np.savez(folder / "images.npz", image=images_bgr)
        paths = {"source": "source.onnx", "images": "images.npz", "out": "out.onnx"}
        task = {**task, **{key: str(folder / file) for key, file in paths.items()}}
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        with open(folder / "words.txt", "w+", encoding="utf-8") as words:
            command = [sys.executable, "-m", "edge_segface.quantize.worker", str(folder / "task.json")]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True, cwd=folder)  # noqa: S603
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    if line.strip() == "picture":
                        on_picture()
                code = process.wait()
            finally:
                process.kill()
                process.wait()
            words.seek(0)
            said = words.read().strip().splitlines()
        if code or not (folder / "out.onnx").exists():
            raise QuantizeError("nvidia-modelopt failed", found=said[-1] if said else f"exit code {code}")
        return with_shared_constants(onnx.load(folder / "out.onnx"))
