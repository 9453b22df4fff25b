"""Compare an exported file with the network it came from, all the way from an image to a class map."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edge_segface.engine.onnxruntime import OnnxRuntimeEngine
from edge_segface.errors import ParityError
from edge_segface.export.comparison import Outputs, Parity, SampleCrops
from edge_segface.frames import UInt8Array
from edge_segface.model.checkpoint import Weights
from edge_segface.model.segface import SegFace, normalised

# Tolerance for weights that PyTorch itself computes inaccurately, as a multiple of its own rounding error: two orders
# of summation differ by a small factor.
ROUNDING_FACTOR = 5.0


@dataclass(frozen=True)
class Tolerance:
    """How far an exported file may differ from its network."""

    min_agreement: float  # share of pixels with the same class
    max_logit_error: float  # relative to the largest logit, or to 1 if that is smaller


FULL = Tolerance(0.999, 1e-4)
HALVES = Tolerance(0.99, 0.02)  # weights stored in 16 bits change pixels where two classes are nearly tied


def check_parity(path: Path, weights: Weights, tolerance: Tolerance = FULL) -> Parity:
    """Compare an ONNX file with its weights in PyTorch, and raise if they differ by more than the tolerance.

    The input is the built-in portrait, upright and mirrored, one at a time and as a batch of two. With some weights
    PyTorch in 32 bits is itself far from the exact result, which PyTorch in 64 bits stands for here. Then the file
    passes if its error is of the size of PyTorch's own.
    """
    with OnnxRuntimeEngine(path) as engine:
        spec = engine.spec
        sample = SampleCrops(spec.input_size)
        crops = sample.crops
        batches = [engine.infer_all(crops[:1]), engine.infer_all(crops)]  # two sizes: reveals a batch fixed by mistake
    expected = torch_outputs(weights.model, crops)
    largest = float(np.abs(expected["logits"]).max())
    if not np.isfinite(largest):
        raise ParityError(f"the weights of {spec.name} give logits that are not finite", remedy="check the checkpoint")
    parity = sample.compare(batches, expected)
    if parity.within(tolerance.min_agreement, tolerance.max_logit_error * max(1.0, largest)):
        return parity
    exact = torch_outputs(copy.deepcopy(weights.model).double(), crops)
    rounding = sample.compare([expected], exact)
    assert rounding.agreement is not None
    assert rounding.worst_logit is not None
    min_agreement = min(tolerance.min_agreement, 1 - ROUNDING_FACTOR * (1 - rounding.agreement))
    if sample.compare(batches, exact).within(min_agreement, ROUNDING_FACTOR * rounding.worst_logit):
        return parity
    raise ParityError(
        f"the exported {spec.name} differs from its weights in PyTorch",
        found=parity,
        remedy="no file was written; please report this with the versions of torch and onnxruntime",
    )


@torch.no_grad()
def torch_outputs(model: SegFace, crops_bgr: UInt8Array) -> Outputs:
    """Return what an exported file should, computed by the trained network in the precision of its weights."""
    image = normalised(crops_bgr).to(next(model.parameters()).dtype)
    logits = model.decoded(image)
    low_logits = torch.nn.functional.avg_pool2d(logits, logits.shape[-1] * 4 // image.shape[-1])
    labels = model(image).argmax(dim=1).to(torch.uint8)
    return {"labels": labels.numpy(), "logits": low_logits.numpy()}
