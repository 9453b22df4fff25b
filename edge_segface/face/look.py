"""A look at a region of an image: its crop, parsed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge_segface.frames import RoI, UInt8Array, crop

if TYPE_CHECKING:
    from edge_segface.face.parser import FaceParser


@dataclass(frozen=True, eq=False)
class Look:
    """A square region of an image, and the labels (s, s) of its crop."""

    roi: RoI
    labels: UInt8Array
    logits: npt.NDArray[np.float32] | None = None  # (classes, s/4, s/4), if the model outputs them


def look_at(image_bgr: UInt8Array, rois: Sequence[RoI], parser: FaceParser) -> list[Look]:
    """Parse regions of an image."""
    if not rois:
        return []
    size = parser.spec.input_size
    crops = np.stack([crop(image_bgr, roi, size) for roi in rois])
    if "logits" not in parser.spec.outputs:
        return [Look(roi, labels) for roi, labels in zip(rois, parser.parse_crops(crops), strict=True)]
    results = parser.parse_all(crops)
    return [Look(*each) for each in zip(rois, results["labels"], results["logits"], strict=True)]
