"""What every engine is: a context manager with one `infer`, whose inputs are checked at the door."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge_segface.errors import InputError, ModelError
from edge_segface.frames import UInt8Array
from edge_segface.spec import ModelSpec


class Engine(Protocol):
    """Runs one network. `description` says runtime, version, device and settings, for reports."""

    spec: ModelSpec
    description: str

    def infer(self, images: UInt8Array) -> UInt8Array:
        """BGR pictures (n, s, s, 3) -> class ids (n, s, s)"""
        ...

    def infer_all(self, images: UInt8Array) -> dict[str, npt.NDArray[Any]]:
        """What the model has of `labels` and `logits`, float (n, classes, s/4, s/4), from one run."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def check_images(images: UInt8Array, spec: ModelSpec) -> UInt8Array:
    """The images, contiguous, or an error that says what was expected and what came."""
    side = spec.input_size
    expected = f"{spec.name} eats uint8 BGR of shape (n, {side}, {side}, 3) with n >= 1"
    if not isinstance(images, np.ndarray):
        raise InputError(expected, found=type(images).__name__)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 3) or not len(images):
        raise InputError(
            expected, found=f"{images.dtype} {images.shape}", remedy="cut it out with edge_segface.frames.crop"
        )
    return np.ascontiguousarray(images)


def check_has_labels(spec: ModelSpec) -> None:
    if "labels" not in spec.outputs:
        raise ModelError(
            f"{spec.name} returns no labels", found=", ".join(spec.outputs), remedy="export it with --outputs labels"
        )
