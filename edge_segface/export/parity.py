"""Whether a written file does what its network does, over the whole way from an image file to a class map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edge_segface.engine.onnxruntime import open_session
from edge_segface.errors import ParityError
from edge_segface.export.deploy import MEAN_RGB, STD_RGB
from edge_segface.frames import RoI, UInt8Array, crop
from edge_segface.model.checkpoint import Weights
from edge_segface.model.segface import SegFace
from edge_segface.pictures import read_picture
from edge_segface.spec import ModelSpec
from edge_segface.weights import PORTRAIT

LEAST_AGREEMENT = 0.999
LEAST_AGREEMENT_OF_HALVES = 0.99  # weights stored in 16 bits move the pixels that were nearly tied
MOST_LOGIT_DIFFERENCE = 0.02


@dataclass(frozen=True)
class Parity:
    agreement: float  # share of pixels with the same class
    worst_logit: float | None  # largest difference, where the file has logits

    def __str__(self) -> str:
        logits = "" if self.worst_logit is None else f", logits within {self.worst_logit:.1e}"
        return f"{100 * self.agreement:.3f} % of pixels as torch{logits}"


def check_parity(path: Path, weights: Weights, spec: ModelSpec, *, least_agreement: float = LEAST_AGREEMENT) -> Parity:
    """Compares on the picture upright and mirrored, as one batch of two; raises when they part."""
    image = read_picture(PORTRAIT)
    square = crop(image, RoI.whole((image.shape[0], image.shape[1])), spec.input_size)
    squares = np.stack([square, square[:, ::-1]])
    labels, low_logits = torch_results(weights.model, squares)
    session = open_session(path)
    agreement, worst = 1.0, 0.0
    for count in (1, 2):  # a batch that was fixed by mistake shows here
        results = dict(zip(spec.outputs, session.run(spec.outputs, {"image": squares[:count]}), strict=True))
        if "labels" in results:
            agreement = min(agreement, float((results["labels"] == labels[:count]).mean()))
        if "logits" in results:
            worst = max(worst, float(np.abs(results["logits"] - low_logits[:count]).max()))
    parity = Parity(agreement, worst if "logits" in spec.outputs else None)
    if agreement < least_agreement or worst > MOST_LOGIT_DIFFERENCE * float(np.abs(low_logits).max()):
        raise ParityError(
            f"the exported {spec.name} does not do what its weights do in torch",
            found=parity,
            remedy="nothing was written; please report this with the versions of torch and onnxruntime",
        )
    return parity


@torch.no_grad()
def torch_results(model: SegFace, squares_bgr: UInt8Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Labels (n, s, s) and mean logits of 4x4 pixels (n, classes, s/4, s/4) of the network as it is trained."""
    image = normalised(squares_bgr)
    own = model.decoder(model.backbone(image))
    low_logits = torch.nn.functional.avg_pool2d(own, own.shape[-1] * 4 // image.shape[-1])
    return model(image).argmax(dim=1).numpy(), low_logits.numpy()


def normalised(squares_bgr: UInt8Array) -> torch.Tensor:
    """BGR bytes (n, s, s, 3) -> what the network is trained on (n 3 s s)"""
    rgb = torch.from_numpy(np.ascontiguousarray(squares_bgr[..., ::-1])).permute(0, 3, 1, 2) / 255
    return (rgb - torch.tensor(MEAN_RGB)[:, None, None]) / torch.tensor(STD_RGB)[:, None, None]
