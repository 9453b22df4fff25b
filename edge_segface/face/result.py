"""What `FaceParser` returns for an image: one class map, and the faces in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_segface.draw import draw_boxes, overlay
from edge_segface.errors import InputError
from edge_segface.face.merge import enlarged
from edge_segface.frames import ClassMap, RoI, UInt8Array, crop, describe_shares
from edge_segface.image_io import write_image
from edge_segface.labels import LabelSpace
from edge_segface.regions import Box, Face
from edge_segface.soft_edges import probability, soft_alpha


@dataclass(frozen=True, eq=False, repr=False)
class ParsedFace:
    """One face of an image: its box and score, and its labels (s, s) in the square `roi` of the image."""

    face: Face
    roi: RoI
    labels: UInt8Array
    space: LabelSpace
    image_bgr: UInt8Array
    logits: npt.NDArray[np.float32] | None = None  # (classes, s/4, s/4), if the model outputs them

    @property
    def box_xyxy(self) -> Box:
        return self.face.box_xyxy

    @property
    def score(self) -> float:
        return self.face.score

    @property
    def class_map(self) -> ClassMap:
        """The class map of the square, at the model's resolution."""
        return ClassMap(self.labels, self.space)

    def shares(self) -> dict[str, float]:
        """Return the share of each part in the square, largest first."""
        return self.class_map.shares()

    def crop(self, size: int | None = None) -> UInt8Array:
        """Return the square of the image, BGR; by default as many pixels as it has in the image."""
        return crop(self.image_bgr, self.roi, size or max(1, round(self.roi.side)))

    def to_dict(self) -> dict[str, Any]:
        """Return box, score and shares as plain data."""
        box = [round(edge, 1) for edge in self.box_xyxy]
        return {"box_xyxy": box, "score": round(self.score, 3), "shares": rounded(self.shares())}

    def to_space(self, target: LabelSpace, *, drop_missing: bool = False) -> ParsedFace:
        """Return the same face with the class ids of another label space; logits have no other order, and go."""
        labels = self.class_map.to_space(target, drop_missing=drop_missing).labels
        return replace(self, labels=labels, space=target, logits=self.logits if target == self.space else None)

    def __repr__(self) -> str:
        box = ", ".join(f"{edge:.0f}" for edge in self.box_xyxy)
        return f"<ParsedFace at ({box}), score {self.score:.2f}: {describe_shares(self.shares())}>"


@dataclass(frozen=True, eq=False, repr=False)
class ParsedImage(ClassMap):
    """The class map of a whole image, background outside its faces, and the faces, largest first.

    Examples:
        >>> from edge_segface import FaceParser
        >>> from edge_segface.assets import PORTRAIT
        >>> result = FaceParser()(PORTRAIT)
        >>> len(result.faces), result.mask("lips").shape
        (1, (352, 352))
        >>> result.plot().shape
        (352, 352, 3)
    """

    image_bgr: UInt8Array
    faces: tuple[ParsedFace, ...] = ()
    model: str = ""

    def plot(self, *, opacity: float = 0.6, classes: Sequence[str] | None = None, boxes: bool = True) -> UInt8Array:
        """Return the image with the classes drawn over it, BGR; of `classes`, parts or groups, only those."""
        squares = [face.roi for face in self.faces]
        drawn = overlay(self.image_bgr, self, opacity, classes=classes, squares=squares)
        if boxes:
            draw_boxes(drawn, [face.box_xyxy for face in self.faces])
        return drawn

    def alpha(
        self, part: str, image_bgr: UInt8Array | None = None, *, feather: float | None = None, grow: float = 0.0
    ) -> npt.NDArray[np.float32]:
        """Return a soft mask (h, w) of a part or group, 0..1, whose edge follows the image's own.

        A model that outputs logits says how sure it is at each edge; otherwise the edge is that of the labels.
        """
        image_bgr = self.image_bgr if image_bgr is None else image_bgr
        return soft_alpha(self._inside(part), image_bgr, feather=feather, grow=grow)

    def _inside(self, part: str) -> npt.NDArray[np.bool_] | npt.NDArray[np.float32]:
        """Return the mask of a part, or its probability where the faces have logits."""
        mask = self.mask(part)
        if all(face.logits is None for face in self.faces):
            return mask
        inside = mask.astype(np.float32)
        for face in sorted(self.faces, key=lambda face: face.roi.side):
            left, top, right, bottom = face.roi.bounds_xyxy((mask.shape[0], mask.shape[1]))
            if face.logits is not None and right > left and bottom > top:
                seen = probability(face.logits, self.space.ids_of(part))
                inside[top:bottom, left:right] = enlarged(seen, face.roi, (left, top, right, bottom))
        return inside

    def save(self, path: str | Path) -> None:
        """Write what `plot` returns."""
        write_image(self.plot(), Path(path))

    def crop(self, number: int = 0, size: int | None = None) -> UInt8Array:
        """Return the square around a face, BGR; the largest face is number 0."""
        if not 0 <= number < len(self.faces):
            raise InputError(f"the image has {len(self.faces)} faces", found=f"number {number}")
        return self.faces[number].crop(size)

    def to_space(self, target: LabelSpace, *, drop_missing: bool = False) -> ParsedImage:
        """Return the same result with the class ids of another label space."""
        labels = super().to_space(target, drop_missing=drop_missing).labels
        faces = tuple(face.to_space(target, drop_missing=drop_missing) for face in self.faces)
        return replace(self, labels=labels, space=target, faces=faces)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, without the labels."""
        height, width = self.labels.shape
        return {
            "width": width,
            "height": height,
            "model": self.model,
            "label_space": self.space.name,
            "faces": [face.to_dict() for face in self.faces],
            "shares": rounded(self.shares()),
        }

    def __repr__(self) -> str:
        height, width = self.labels.shape
        faces = "1 face" if len(self.faces) == 1 else f"{len(self.faces)} faces"
        return f"<ParsedImage {width}x{height}, {faces}: {describe_shares(self.shares())}>"


def rounded(shares: dict[str, float]) -> dict[str, float]:
    return {part: round(share, 4) for part, share in shares.items()}
