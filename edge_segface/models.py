"""The one answer to "what is MODEL?".

Every command and `FaceParser` accept the same names: a bundled model (`edge-256`), official weights that were
downloaded (`segface-mobilenet-celeb-512`), a checkpoint, an ONNX file, an OpenVINO `.xml`, an ncnn
`.ncnn.param`, or a TensorRT `.engine`.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge_segface.assets import BUNDLED
from edge_segface.engine import Engine, EngineOptions, Runtime, open_engine
from edge_segface.errors import ModelError, did_you_mean
from edge_segface.extras import check_torch
from edge_segface.fetch import SOURCES, path_of
from edge_segface.labels import LabelSpace, label_space
from edge_segface.machine import cpu_cores
from edge_segface.spec import ModelSpec

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from edge_segface.model.checkpoint import Weights

SLOW_S = 0.008  # of a call on one core, from which the engine gets both of two
TIMED_CALLS = 5
DEFAULT_SIZE = 512  # input of a checkpoint that does not record its own; the paper's

Kind = Literal["checkpoint", "onnx", "openvino", "ncnn", "engine"]
BuildRuntime = Literal["tensorrt", "tensorrt-rtx", "openvino", "onnxruntime"]


@dataclass(frozen=True)
class FileFormat:
    """A kind of model file: the runtimes that execute it, default first, and those `build-engine` writes it for."""

    kind: Kind
    runtimes: tuple[Runtime, ...] = ()
    built_for: tuple[BuildRuntime, ...] = ()


FORMATS: dict[str, FileFormat] = {
    ".pt": FileFormat("checkpoint"),
    ".pth": FileFormat("checkpoint"),
    ".onnx": FileFormat("onnx", ("onnxruntime", "openvino"), ("onnxruntime",)),
    ".xml": FileFormat("openvino", ("openvino",), ("openvino",)),
    ".param": FileFormat("ncnn", ("ncnn",)),
    ".engine": FileFormat("engine", ("tensorrt",), ("tensorrt", "tensorrt-rtx")),  # the record says which of the two
}


@dataclass(frozen=True)
class ModelFile:
    """A model as the user named it, and the file that holds it."""

    name: str
    path: Path
    format: FileFormat

    @property
    def is_checkpoint(self) -> bool:
        return self.format.kind == "checkpoint"


def resolve(model: str | Path) -> ModelFile:
    """Find the file of a model. Raises if no such model, or no such kind of file, is known.

    Whether the file exists and is sound is checked by what opens it, except for checkpoints: reading those takes
    PyTorch, which loads slowly.
    """
    name, path = str(model), Path(model)
    if name in SOURCES:
        path = path_of(name)
        if not path.exists():
            raise ModelError(f"{name} has not been downloaded", remedy=f"run: edge-segface fetch {name}")
    elif name in BUNDLED:
        path = BUNDLED[name]
    elif not path.suffix and path.name == name and not os.path.exists(path):
        raise ModelError(
            f"no bundled model is called {name!r}",
            remedy=f"{did_you_mean(name, (*BUNDLED, *SOURCES))}choose one of {', '.join((*BUNDLED, *SOURCES))}, "
            "or give a file",
        )
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ModelError(
            f"{path} is not a supported model file",
            found=suffix or "no suffix",
            remedy=f"give a file ending in {', '.join(FORMATS)}",
        )
    found = ModelFile(name, path, FORMATS[suffix])
    if found.is_checkpoint and not os.path.isfile(path):
        what = "is not a regular file" if os.path.exists(path) else "does not exist"
        raise ModelError(f"{path} {what}", remedy="check the path")
    return found


def resolve_checkpoint(model: str | Path) -> Path:
    """The checkpoint of a model; a file may have any suffix, as official ones do."""
    if str(model) in SOURCES:
        return resolve(model).path
    path = Path(model)
    if not os.path.isfile(path):
        if str(model) in BUNDLED:
            raise ModelError(f"{model} is an ONNX file, and here a checkpoint is needed", remedy="give a .pt file")
        raise ModelError(f"{path} does not exist", remedy="check the path")
    return path


def resolve_onnx(model: str | Path) -> Path:
    """The ONNX file of a model, for what reads graphs."""
    found = resolve(model)
    if found.is_checkpoint:
        raise ModelError(
            f"{model} is a checkpoint, not an ONNX file", remedy=f"run: edge-segface export {model} --out F.onnx"
        )
    if found.format.kind != "onnx":
        raise ModelError(
            f"{model} is not an ONNX file", found=found.path.suffix, remedy="give the .onnx file it was built from"
        )
    return found.path


def load_engine(
    model: str | Path, *, size: int | None = None, runtime: Runtime | None = None, **options: Unpack[EngineOptions]
) -> Engine:
    """Open a model for inference: in OpenVINO, ONNX Runtime or TensorRT, or in PyTorch for a checkpoint.

    Examples:
        >>> with load_engine("edge-256", threads=2) as engine:
        ...     engine.spec.input_size
        256

    `size` is the input of a checkpoint; other files have a fixed one. `runtime` chooses where several can run the file.
    By default it is the fastest that is installed. `options` are those of the engine's class, such as `threads`.
    """
    found = resolve(model)
    if found.is_checkpoint:
        return _load_checkpoint(found.path, size, runtime, **options)
    if size is not None:
        raise ModelError(f"the input size of {model} is fixed", remedy="leave size out; only checkpoints take one")
    return open_engine(found.path, found.format.runtimes, runtime, **options)


def load_loop_engine(model: str | Path, *, runtime: Runtime | None = None, **options: Unpack[EngineOptions]) -> Engine:
    """Open a model for a camera loop: `load_engine`, with a number of threads that suits what runs beside the engine.

    On a CPU one core is left to the rest of the loop. With two cores, a network that is slow on one of them gets both.
    """
    cores = cpu_cores()
    runs_on_cpu = (
        resolve(model).format.kind in ("onnx", "openvino", "ncnn")
        and options.get("provider") in (None, "cpu")
        and options.get("device") in (None, "CPU")
    )
    if options.get("threads") is not None or cores == 1 or not runs_on_cpu:
        return load_engine(model, runtime=runtime, **options)
    all_but_one = {**options, "threads": cores - 1}
    engine = load_engine(model, runtime=runtime, **all_but_one)  # type: ignore[arg-type]
    if cores > 2 or _seconds_of(engine) < SLOW_S:
        return engine
    engine.close()
    return load_engine(model, runtime=runtime, **options)


def _seconds_of(engine: Engine) -> float:
    """Return the seconds of a call, the fastest of a few."""
    side, seconds = engine.spec.input_size, []
    image = np.zeros((1, side, side, 3), np.uint8)
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        engine.infer_all(image)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def input_size(weights: Weights, size: int | None = None) -> int:
    """The size given, else that of the training, else the paper's."""
    return size or weights.size or DEFAULT_SIZE


def model_spec(model: str | Path) -> ModelSpec:
    """What a model says about itself."""
    found = resolve(model)
    if found.format.kind == "onnx":
        from edge_segface.engine.onnxruntime import spec_of

        return spec_of(found.path)
    with load_engine(model) as engine:
        return engine.spec


def mask_space(labels: str | None, dataset: str | None, default: LabelSpace | str | Path) -> LabelSpace | None:
    """The label space to expect of masks: the one named, else for a folder the model's own, else the dataset's (None).

    `default` is a model, or its label space where that is known already.
    """
    if labels is not None:
        return label_space(labels)
    if dataset != "folder":
        return None
    return default if isinstance(default, LabelSpace) else model_spec(default).space


def _load_checkpoint(path: Path, size: int | None, runtime: Runtime | None, **options: Unpack[EngineOptions]) -> Engine:
    if runtime is not None:
        raise ModelError(
            f"{runtime} does not run checkpoints", found=path, remedy=f"run: edge-segface export {path} --out F.onnx"
        )
    if unknown := {name for name, value in options.items() if value is not None} - {"threads", "provider"}:
        raise ModelError(f"PyTorch has no option {', '.join(sorted(unknown))}", remedy="leave it out")
    threads, provider = options.get("threads"), options.get("provider") or "cpu"
    check_torch()
    import torch

    from edge_segface.model.checkpoint import load_weights
    from edge_segface.model.torch_engine import TorchEngine
    from edge_segface.spec import check_size

    if provider == "tensorrt" or (provider == "cuda" and not torch.cuda.is_available()):
        raise ModelError(f"PyTorch cannot run {path} on {provider} here", remedy="leave --provider out")
    weights = load_weights(path)
    size = input_size(weights, size)
    check_size(size)
    if threads is not None:
        torch.set_num_threads(threads)
    weights.model.to(provider)
    return TorchEngine(weights, size)
