"""Whether a written file does what its network does, over the whole way from an image file to a class map."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edge_segface.assets import PORTRAIT
from edge_segface.engine.onnxruntime import OnnxRuntimeEngine
from edge_segface.errors import ParityError
from edge_segface.frames import RoI, UInt8Array, crop, pasted
from edge_segface.image_io import read_image
from edge_segface.model.checkpoint import Weights
from edge_segface.model.segface import SegFace, normalised


@dataclass(frozen=True)
class Limits:
    least_agreement: float  # share of pixels
    most_logit_difference: float  # relative to the largest logit, or to 1 if that is smaller


FULL = Limits(0.999, 1e-4)
HALVES = Limits(0.99, 0.02)  # weights stored in 16 bits move the pixels that were nearly tied
SLACK = 5.0  # how many times the rounding of torch itself: two orders of summation differ by a few


@dataclass(frozen=True)
class Parity:
    agreement: float | None  # share of pixels with the same class, where the file has labels
    worst_logit: float | None  # largest difference, where the file has logits

    def within(self, least_agreement: float, most_logit_difference: float) -> bool:
        agrees = self.agreement is None or self.agreement >= least_agreement
        return agrees and (self.worst_logit is None or self.worst_logit <= most_logit_difference)  # a NaN is not

    def __str__(self) -> str:
        parts = []
        if self.agreement is not None:
            parts.append(f"{100 * self.agreement:.3f} % of pixels as torch")
        if self.worst_logit is not None:
            parts.append(f"logits within {self.worst_logit:.1e}")
        return ", ".join(parts)


def check_parity(path: Path, weights: Weights, limits: Limits = FULL) -> Parity:
    """Compares on the picture upright and mirrored, one at a time and as a batch of two; raises when they part.

    With some weights torch in 32 bits is itself far from the exact result. Then the file must be about as near to
    that, taken as torch in 64 bits, as torch in 32 bits is.
    """
    image = read_image(PORTRAIT)
    roi = RoI.whole((image.shape[0], image.shape[1]))
    with OnnxRuntimeEngine(path) as engine:
        spec = engine.spec
        square = crop(image, roi, spec.input_size)
        squares = np.stack([square, square[:, ::-1]])
        batches = [engine.infer_all(squares[:1]), engine.infer_all(squares)]  # a batch fixed by mistake shows here
    in_torch = torch_results(weights.model, squares)
    largest = float(np.abs(in_torch["logits"]).max())
    if not np.isfinite(largest):
        raise ParityError(f"the weights of {spec.name} give logits that are not finite", remedy="check the checkpoint")
    parity = compared(batches, in_torch, roi, image)
    if parity.within(limits.least_agreement, limits.most_logit_difference * max(1.0, largest)):
        return parity
    exact = torch_results(copy.deepcopy(weights.model).double(), squares)
    own = compared([in_torch], exact, roi, image)
    assert own.agreement is not None
    assert own.worst_logit is not None
    least_agreement = min(limits.least_agreement, 1 - SLACK * (1 - own.agreement))
    if compared(batches, exact, roi, image).within(least_agreement, SLACK * own.worst_logit):
        return parity
    raise ParityError(
        f"the exported {spec.name} does not do what its weights do in torch",
        found=parity,
        remedy="no file is kept; please report this with the versions of torch and onnxruntime",
    )


Results = dict[str, npt.NDArray[Any]]


def compared(batches: list[Results], expected: Results, roi: RoI, image: UInt8Array) -> Parity:
    """The worst over batches: of class maps at the size of the picture, and of logits."""
    agreement: float | None = None
    worst: float | None = None
    for batch in batches:
        for found, wanted in zip(batch.get("labels", ()), expected["labels"], strict=False):
            share = float(np.mean(pasted(found, roi, image.shape[:2]) == pasted(wanted, roi, image.shape[:2])))
            agreement = share if agreement is None else min(agreement, share)
        if "logits" in batch:
            difference = float(np.abs(batch["logits"] - expected["logits"][: len(batch["logits"])]).max())
            worst = difference if worst is None else float(np.maximum(worst, difference))  # keeps a NaN
    return Parity(agreement, worst)


@torch.no_grad()
def torch_results(model: SegFace, squares_bgr: UInt8Array) -> Results:
    """What an exported file should return, from the network as it is trained, in the precision of its weights."""
    image = normalised(squares_bgr).to(next(model.parameters()).dtype)
    own = model.decoded(image)
    low_logits = torch.nn.functional.avg_pool2d(own, own.shape[-1] * 4 // image.shape[-1])
    labels = model(image).argmax(dim=1).to(torch.uint8)
    return {"labels": labels.numpy(), "logits": low_logits.numpy()}
