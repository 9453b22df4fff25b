"""What `FaceParser` returns for an image: one class map, and the faces in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from edge_segface.draw import overlay
from edge_segface.errors import InputError
from edge_segface.frames import ClassMap, RoI, UInt8Array, crop, describe_shares
from edge_segface.image_io import write_image
from edge_segface.labels import LabelSpace
from edge_segface.regions import Box, Face


@dataclass(frozen=True, eq=False, repr=False)
class ParsedFace:
    """One face of an image: its box and score, and its labels (s, s) in the square `roi` of the image."""

    face: Face
    roi: RoI
    labels: UInt8Array
    space: LabelSpace
    image_bgr: UInt8Array

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
        return replace(self, labels=self.class_map.to_space(target, drop_missing=drop_missing).labels, space=target)

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
        drawn = overlay(self.image_bgr, self, opacity)
        for face in self.faces if boxes else ():
            left, top, right, bottom = (round(edge) for edge in face.box_xyxy)
            cv2.rectangle(drawn, (left, top), (right, bottom), (80, 220, 80), 1)
        return drawn

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
