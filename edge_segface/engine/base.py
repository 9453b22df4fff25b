"""What every engine is: a context manager with one `infer`, whose inputs are checked at the door."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_segface.errors import InputError, ModelError
from edge_segface.spec import ModelSpec

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


class Engine(Protocol):
    """Runs one network. `description` says runtime, version, device and settings, for reports."""

    spec: ModelSpec
    description: str

    def infer(self, images: UInt8Array) -> UInt8Array:
        """BGR pictures (n, s, s, 3) -> class ids (n, s, s)"""
        ...

    def infer_with_logits(self, images: UInt8Array) -> tuple[UInt8Array, FloatArray]:
        """As `infer`, and the logits (n, classes, s/4, s/4), for models exported with both outputs."""
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


def check_outputs(spec: ModelSpec, *needed: str) -> None:
    lacking = [name for name in needed if name not in spec.outputs]
    if lacking:
        wanted = "both" if len(needed) > 1 else needed[0]
        raise ModelError(
            f"{spec.name} has no output {' or '.join(lacking)}",
            found=", ".join(spec.outputs),
            remedy=f"export it with --outputs {wanted}",
        )
