"""FaceParser: images in, class maps out, with any engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from edge_segface.assets import MIN_FACE_SCORE, PHOTO_MODEL
from edge_segface.engine import Engine, Runtime
from edge_segface.errors import InputError
from edge_segface.face.photo import parse_photo, parse_square
from edge_segface.face.result import ParsedImage
from edge_segface.frames import ClassMap, RoI, UInt8Array, check_image, crop, pasted
from edge_segface.image_io import Channels, Image, load_image
from edge_segface.labels import LabelSpace
from edge_segface.models import load_engine
from edge_segface.spec import ModelSpec
from edge_segface.warp.running import unwarp_labels, warp_image

BATCH = 8  # crops per call of the engine, which bounds its memory
Landmarks = npt.ArrayLike  # (5, 2): eyes, nose tip, mouth corners; the image's left first, in its pixels


class FaceParser:
    """Finds and parses the faces of images of any size.

    Examples:
        >>> from edge_segface.assets import PORTRAIT
        >>> parser = FaceParser("edge-256")
        >>> result = parser(PORTRAIT)
        >>> len(result.faces), result.mask("hair").shape
        (1, (352, 352))
        >>> result.faces[0].shares()["hair"] > 0.05
        True

    `model` is anything `load_engine` accepts, or an open engine; the options are those of `load_engine`. The parser
    closes the engine it opened.
    """

    def __init__(
        self,
        model: str | Path | Engine = PHOTO_MODEL,
        *,
        size: int | None = None,
        runtime: Runtime | None = None,
        threads: int | None = None,
        provider: str | None = None,
        device: str | None = None,
    ) -> None:
        self._owns_engine = isinstance(model, (str, Path))
        self.engine: Engine = (
            load_engine(model, size=size, runtime=runtime, threads=threads, provider=provider, device=device)
            if isinstance(model, (str, Path))
            else model
        )

    @property
    def spec(self) -> ModelSpec:
        return self.engine.spec

    @property
    def space(self) -> LabelSpace:
        return self.engine.spec.space

    @overload
    def __call__(
        self,
        image: Image,
        roi: RoI | None = None,
        landmarks: Landmarks | None = None,
        *,
        whole: bool = False,
        max_faces: int | None = None,
        min_score: float = MIN_FACE_SCORE,
        channels: Channels = "bgr",
    ) -> ParsedImage: ...

    @overload
    def __call__(
        self,
        image: list[Image],
        *,
        whole: bool = False,
        max_faces: int | None = None,
        min_score: float = MIN_FACE_SCORE,
        channels: Channels = "bgr",
    ) -> list[ParsedImage]: ...

    def __call__(
        self,
        image: Image | list[Image],
        roi: RoI | None = None,
        landmarks: Landmarks | None = None,
        *,
        whole: bool = False,
        max_faces: int | None = None,
        min_score: float = MIN_FACE_SCORE,
        channels: Channels = "bgr",
    ) -> ParsedImage | list[ParsedImage]:
        """Find and parse all faces of an image, or of each image in a list.

        An image is a path, a PIL image, or a uint8 array: grey, or BGR as OpenCV has it; `channels="rgb"` for RGB.
        With `roi`, that square is parsed as one face; with `whole`, the whole image is. `max_faces` keeps the largest
        faces, `min_score` those at least as certain. Models trained with the RoI tanh warp (LaPa) need five
        `landmarks`.
        """
        if isinstance(image, list):
            return [
                self(one, whole=whole, max_faces=max_faces, min_score=min_score, channels=channels) for one in image
            ]
        image_bgr = load_image(image, channels)
        if roi is not None or landmarks is not None or whole:
            return parse_square(self, image_bgr, roi, landmarks)
        return parse_photo(self, image_bgr, max_faces=max_faces, min_score=min_score)

    def batch(
        self,
        images_bgr: Sequence[UInt8Array],
        rois: Sequence[RoI] | None = None,
        landmarks: Sequence[Landmarks] | None = None,
    ) -> list[ClassMap]:
        """Return the class map of one square of each image, by default of all of it, background elsewhere."""
        images_bgr = list(images_bgr)
        for index, image in enumerate(images_bgr):
            check_image(image, "the image" if len(images_bgr) == 1 else f"image {index}")
        if rois is None:
            rois = [RoI.whole((image.shape[0], image.shape[1])) for image in images_bgr]
        squares = self.parse_rois(images_bgr, rois, landmarks)
        return [
            ClassMap(pasted(square, roi, image.shape[:2]), self.space)
            for image, roi, square in zip(images_bgr, rois, squares, strict=True)
        ]

    def parse_rois(
        self, images_bgr: Sequence[UInt8Array], rois: Sequence[RoI], landmarks: Sequence[Landmarks] | None = None
    ) -> UInt8Array:
        """Return the labels (n, s, s) of one square of each image."""
        for name, given in (("RoIs", rois), ("sets of landmarks", landmarks)):
            if given is not None and len(given) != len(images_bgr):
                raise InputError(f"{len(images_bgr)} images need as many {name}", found=len(given))
        for roi in rois:
            if not isinstance(roi, RoI):
                raise InputError("a region must be an RoI", found=roi, remedy="make one with RoI.from_box_xyxy")
        size = self.spec.input_size
        if not images_bgr:
            return np.empty((0, size, size), dtype=np.uint8)
        return self.parse_crops(
            np.stack([crop(image, roi, size) for image, roi in zip(images_bgr, rois, strict=True)]),
            None if landmarks is None else [
                self._in_crop(points, roi) for points, roi in zip(landmarks, rois, strict=True)
            ],
        )  # fmt: skip

    def parse_crops(self, squares_bgr: UInt8Array, landmarks: Sequence[Landmarks] | None = None) -> UInt8Array:
        """Parse crops (n, s, s, 3) of the model's input size to labels (n, s, s); landmarks in pixels of the crops."""
        if self.spec.warp is None:
            if landmarks is not None:
                raise InputError(f"{self.spec.name} uses no warp, so it takes no landmarks", remedy="leave them out")
            return self._infer(squares_bgr)
        if landmarks is None:
            raise InputError(
                f"{self.spec.name} was trained on faces warped by five landmarks, and none were given",
                remedy="pass landmarks=(5, 2): eyes, nose tip, mouth corners, in pixels",
            )
        warped = np.stack([warp_image(square, points) for square, points in zip(squares_bgr, landmarks, strict=True)])
        labels = self._infer(warped)
        return np.stack([unwarp_labels(one, points) for one, points in zip(labels, landmarks, strict=True)])

    def parse_all(self, squares_bgr: UInt8Array) -> dict[str, npt.NDArray[Any]]:
        """Return all outputs of the model for crops (n, s, s, 3): `labels`, `logits` or both."""
        results = [self.engine.infer_all(batch) for batch in _batches(squares_bgr)]
        return {name: np.concatenate([each[name] for each in results]) for name in self.spec.outputs}

    def _infer(self, squares_bgr: UInt8Array) -> UInt8Array:
        return np.concatenate([self.engine.infer(batch) for batch in _batches(squares_bgr)])

    def close(self) -> None:
        if self._owns_engine:
            self.engine.close()

    def __repr__(self) -> str:
        return f"<FaceParser {self.spec.name}, {self.space.name}, {self.engine.description}>"

    def __enter__(self) -> FaceParser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _in_crop(self, points_xy: Landmarks, roi: RoI) -> npt.NDArray[np.float64]:
        points = np.asarray(points_xy)
        if points.shape != (5, 2) or points.dtype.kind not in "iuf":
            raise InputError("landmarks must be five points of shape (5, 2)", found=f"{points.dtype} {points.shape}")
        matrix = roi.square_from_frame(self.spec.input_size)
        moved: npt.NDArray[np.float64] = points @ matrix[:, :2].T + matrix[:, 2]
        return moved


def _batches(squares_bgr: UInt8Array) -> Iterator[UInt8Array]:
    return (squares_bgr[start : start + BATCH] for start in range(0, len(squares_bgr), BATCH))
