"""The interface of every engine: a context manager with `infer`, whose inputs are checked on entry."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge_segface.errors import InputError, ModelError
from edge_segface.frames import UInt8Array
from edge_segface.spec import ModelSpec

log = logging.getLogger("edge_segface")

MOST_THREADS = 256
MOST_BYTES = 1 << 30  # of a model file


class Engine(Protocol):
    """Runs one network.

    `description` states runtime, version, device and settings, for reports. `gpu_ms` holds the GPU times of the last
    call in ms (upload, compute, download), or None where it is not measured.
    """

    spec: ModelSpec
    description: str
    gpu_ms: list[tuple[float, float, float]] | None

    def infer(self, images: UInt8Array) -> UInt8Array:
        """Return class ids (n, s, s) of BGR images (n, s, s, 3)."""
        ...

    def infer_all(self, images: UInt8Array) -> dict[str, npt.NDArray[Any]]:
        """Return the model's `labels`, `logits` (float, (n, classes, s/4, s/4)) or both, from one run."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@lru_cache(maxsize=64)
def say_once(text: str) -> None:
    """Log a warning, but not again in this process."""
    log.warning("%s", text)


def check_images(images: UInt8Array, spec: ModelSpec) -> UInt8Array:
    """Return the images as a contiguous array, or raise with the expected and received shape."""
    side = spec.input_size
    expected = f"{spec.name} expects uint8 BGR of shape (n, {side}, {side}, 3) with n >= 1"
    if not isinstance(images, np.ndarray):
        raise InputError(expected, found=type(images).__name__)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 3) or not len(images):
        raise InputError(
            expected, found=f"{images.dtype} {images.shape}", remedy="crop it with edge_segface.frames.crop"
        )
    return np.ascontiguousarray(images)


def check_has_labels(spec: ModelSpec) -> None:
    if "labels" not in spec.outputs:
        raise ModelError(
            f"{spec.name} returns no labels", found=", ".join(spec.outputs), remedy="export it with --outputs labels"
        )


def check_tensors(found: list[tuple[str, str, list[int]]], spec: ModelSpec, path: Path) -> None:
    """Check name, type and shape (except the batch) of the input and every output against the spec."""
    side = spec.input_size
    known: dict[str, tuple[str, list[int]]] = {
        "image": ("uint8", [side, side, 3]),
        "labels": ("uint8", [side, side]),
        "logits": ("float32", [len(spec.class_names), side // 4, side // 4]),
    }
    if found != [(name, *known[name]) for name in ("image", *spec.outputs)]:
        raise ModelError(f"{path} is not the graph that its ModelSpec describes", found=found, remedy="export it again")


def check_model_file(path: Path) -> None:
    if os.path.isdir(path):
        raise ModelError(f"{path} is a folder, not a model", found="a folder", remedy="name the file in it")
    if not os.path.exists(path):
        raise ModelError(f"{path} does not exist", remedy="check the path, or name a bundled model such as edge-256")
    if not os.path.isfile(path):
        raise ModelError(f"{path} is not a regular file", remedy="copy the model into a file")
    size = path.stat().st_size
    if size == 0:
        raise ModelError(f"{path} is empty", found="0 bytes", remedy="copy or export it again")
    if size > MOST_BYTES:
        raise ModelError(f"{path} is larger than any model of ours", found=f"{size >> 20} MB", remedy="check the path")


def check_threads(threads: int | None) -> int:
    """Return the number of threads, 0 for all cores."""
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise ModelError(
            f"an engine takes 1 to {MOST_THREADS} threads", found=threads, remedy="leave it out for all cores"
        )
    return threads or 0
