"""Whether a written file does what its network does, over the whole way from an image file to a class map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edge_segface.engine.onnxruntime import OnnxRuntimeEngine
from edge_segface.errors import ParityError
from edge_segface.export.deploy import MEAN_RGB, STD_RGB
from edge_segface.frames import RoI, UInt8Array, crop, paste
from edge_segface.model.checkpoint import Weights
from edge_segface.model.segface import SegFace
from edge_segface.pictures import read_picture
from edge_segface.weights import PORTRAIT


@dataclass(frozen=True)
class Limits:
    least_agreement: float  # share of pixels
    most_logit_difference: float  # relative to the largest logit, or to 1 if that is smaller


FULL = Limits(0.999, 1e-4)
HALVES = Limits(0.99, 0.02)  # weights stored in 16 bits move the pixels that were nearly tied


@dataclass(frozen=True)
class Parity:
    agreement: float | None  # share of pixels with the same class, where the file has labels
    worst_logit: float | None  # largest difference, where the file has logits

    def __str__(self) -> str:
        parts = []
        if self.agreement is not None:
            parts.append(f"{100 * self.agreement:.3f} % of pixels as torch")
        if self.worst_logit is not None:
            parts.append(f"logits within {self.worst_logit:.1e}")
        return ", ".join(parts)


def check_parity(path: Path, weights: Weights, limits: Limits = FULL) -> Parity:
    """Compares on the picture upright and mirrored, one at a time and as a batch of two; raises when they part."""
    image = read_picture(PORTRAIT)
    roi = RoI.whole((image.shape[0], image.shape[1]))
    with OnnxRuntimeEngine(path) as engine:
        square = crop(image, roi, engine.spec.input_size)
        squares = np.stack([square, square[:, ::-1]])
        batches = [engine.infer_all(squares[:1]), engine.infer_all(squares)]  # a batch fixed by mistake shows here
        spec = engine.spec
    labels, low_logits = torch_results(weights.model, squares)
    agreement = worst = None
    if "labels" in spec.outputs:
        shares = [
            np.mean(_pasted(found, roi, image) == _pasted(expected, roi, image))
            for batch in batches
            for found, expected in zip(batch["labels"], labels, strict=False)
        ]
        agreement = float(min(shares))
    if "logits" in spec.outputs:
        differences = [np.abs(batch["logits"] - low_logits[: len(batch["logits"])]) for batch in batches]
        worst = float(max(difference.max() for difference in differences))
    parity = Parity(agreement, worst)
    most = limits.most_logit_difference * max(1.0, float(np.abs(low_logits).max()))
    # Asked in this direction, a NaN fails.
    sound = bool(np.isfinite(low_logits).all())
    sound = sound and (agreement is None or agreement >= limits.least_agreement)
    if not (sound and (worst is None or worst <= most)):
        raise ParityError(
            f"the exported {spec.name} does not do what its weights do in torch",
            found=parity if np.isfinite(low_logits).all() else "logits that are not finite, in torch already",
            remedy="no file is kept; please report this with the versions of torch and onnxruntime",
        )
    return parity


def _pasted(square: UInt8Array, roi: RoI, image: UInt8Array) -> UInt8Array:
    labels = np.zeros(image.shape[:2], dtype=np.uint8)
    paste(square, roi, labels)
    return labels


@torch.no_grad()
def torch_results(model: SegFace, squares_bgr: UInt8Array) -> tuple[UInt8Array, npt.NDArray[np.float32]]:
    """Labels (n, s, s) and mean logits of 4x4 pixels (n, classes, s/4, s/4) of the network as it is trained."""
    image = normalised(squares_bgr)
    own = model.decoder(model.backbone(image))
    low_logits = torch.nn.functional.avg_pool2d(own, own.shape[-1] * 4 // image.shape[-1])
    return model(image).argmax(dim=1).to(torch.uint8).numpy(), low_logits.numpy()


def normalised(squares_bgr: UInt8Array) -> torch.Tensor:
    """BGR bytes (n, s, s, 3) -> what the network is trained on (n 3 s s)"""
    rgb = torch.from_numpy(np.ascontiguousarray(squares_bgr[..., ::-1])).permute(0, 3, 1, 2) / 255
    return (rgb - torch.tensor(MEAN_RGB)[:, None, None]) / torch.tensor(STD_RGB)[:, None, None]
