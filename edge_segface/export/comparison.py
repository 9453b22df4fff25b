"""How closely two sets of outputs agree, from an image to its class map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_segface.assets import PORTRAIT
from edge_segface.frames import RoI, UInt8Array, crop, pasted
from edge_segface.image_io import read_image

Outputs = dict[str, npt.NDArray[Any]]  # output name -> values


@dataclass(frozen=True)
class Parity:
    """How closely two sets of outputs agree. A field is None if the file lacks that output."""

    agreement: float | None  # share of pixels with the same class
    worst_logit: float | None  # largest absolute difference
    reference: str = "PyTorch"

    def within(self, min_agreement: float, max_logit_error: float) -> bool:
        agrees = self.agreement is None or self.agreement >= min_agreement
        return agrees and (self.worst_logit is None or self.worst_logit <= max_logit_error)  # false for NaN

    def __str__(self) -> str:
        parts = []
        if self.agreement is not None:
            parts.append(f"{100 * self.agreement:.3f} % of pixels as in {self.reference}")
        if self.worst_logit is not None:
            parts.append(f"logits within {self.worst_logit:.1e}")
        return ", ".join(parts)


class SampleCrops:
    """The built-in portrait, and its crop for one input size, upright and mirrored."""

    def __init__(self, size: int) -> None:
        self.image = read_image(PORTRAIT)
        self.roi = RoI.whole((self.image.shape[0], self.image.shape[1]))
        square = crop(self.image, self.roi, size)
        self.crops = np.stack([square, square[:, ::-1]])

    def compare(self, batches: Sequence[Outputs], expected: Outputs, reference: str = "PyTorch") -> Parity:
        """Return the worst parity over all batches, of class maps at the size of the image and of logits."""
        agreement: float | None = None
        worst: float | None = None
        for batch in batches:
            for labels, wanted in zip(batch.get("labels", ()), expected["labels"], strict=False):
                share = float(np.mean(self._map_of(labels) == self._map_of(wanted)))
                agreement = share if agreement is None else min(agreement, share)
            if "logits" in batch:
                difference = float(np.abs(batch["logits"] - expected["logits"][: len(batch["logits"])]).max())
                worst = difference if worst is None else float(np.maximum(worst, difference))  # unlike max, keeps a NaN
        return Parity(agreement, worst, reference)

    def _map_of(self, labels: UInt8Array) -> UInt8Array:
        return pasted(labels, self.roi, self.image.shape[:2])
