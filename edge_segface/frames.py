"""Images, the square crops that a network receives, and the class maps it returns.

Coordinates are those of pixel centres: the first pixel spans -0.5..0.5, so an image of width w spans -0.5..w-0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface import masks
from edge_segface.errors import ImageError
from edge_segface.extras import check_extra
from edge_segface.labels import LabelSpace, remap_table
from edge_segface.soft_edges import soft_alpha

if TYPE_CHECKING:
    from supervision import Detections

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

# The mean colour is zero after normalisation, like the network's own zero padding.
OUTSIDE_BGR = (104, 116, 124)
MIN_SIDE = 8
MAX_SIDE = 16384


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a source, and its capture time on the monotonic clock.

    Examples:
        >>> Frame(np.zeros((48, 64, 3), np.uint8), index=0, captured_at_s=0.0).image_bgr.shape
        (48, 64, 3)
    """

    image_bgr: UInt8Array
    index: int
    captured_at_s: float
    name: str | None = None  # of the image file, without its suffix

    def __post_init__(self) -> None:
        check_image(self.image_bgr, "the frame")


@dataclass(frozen=True)
class RoI:
    """A square region of interest. `angle_deg` rotates it clockwise as seen on the screen.

    Examples:
        >>> RoI.from_box_xyxy((60, 0, 300, 240)).side
        240.0
        >>> RoI.whole((480, 640)).centre_xy
        (319.5, 239.5)
    """

    centre_xy: tuple[float, float]
    side: float
    angle_deg: float = 0.0

    def __post_init__(self) -> None:
        numbers = (*self.centre_xy, self.side, self.angle_deg)
        if not all(math.isfinite(number) for number in numbers) or self.side <= 0:
            raise ImageError("an RoI needs finite numbers and a positive side", found=self)

    @classmethod
    def whole(cls, size_hw: tuple[int, int]) -> RoI:
        """Return the smallest upright square that contains a whole image."""
        height, width = size_hw
        return cls(((width - 1) / 2, (height - 1) / 2), float(max(height, width)))

    @classmethod
    def from_box_xyxy(cls, box_xyxy: tuple[float, float, float, float], grow: float = 1.0) -> RoI:
        """Return the square around a box given by its outer edges in pixels, `grow` times its longer side."""
        left, top, right, bottom = box_xyxy
        if not (right > left and bottom > top):
            raise ImageError("a box needs right > left and bottom > top", found=box_xyxy)
        centre = ((left + right - 1) / 2, (top + bottom - 1) / 2)
        return cls(centre, grow * max(right - left, bottom - top))

    def square_from_frame(self, size: int) -> FloatArray:
        """Return the affine matrix (2, 3) from frame coordinates to those of a `size` x `size` square."""
        scale = size / self.side
        angle = math.radians(self.angle_deg)
        cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
        x, y = self.centre_xy
        middle = (size - 1) / 2
        return np.array(
            [
                [cosine, sine, middle - cosine * x - sine * y],
                [-sine, cosine, middle + sine * x - cosine * y],
            ]
        )

    def corners_xy(self) -> FloatArray:
        """Return the outer corners (4, 2) in frame coordinates, clockwise from the top left of the square."""
        half = self.side / 2
        angle = math.radians(self.angle_deg)
        right = np.array([math.cos(angle), math.sin(angle)]) * half
        down = np.array([-math.sin(angle), math.cos(angle)]) * half
        centre = np.array(self.centre_xy)
        return np.stack([centre - right - down, centre + right - down, centre + right + down, centre - right + down])

    def bounds_xyxy(self, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return the pixels of an image that the square touches: left, top, right, bottom, the last two exclusive."""
        corners = self.corners_xy() + 0.5
        left, top = np.floor(corners.min(axis=0) + 1e-6).astype(int)
        right, bottom = np.ceil(corners.max(axis=0) - 1e-6).astype(int)
        height, width = size_hw
        return max(left, 0), max(top, 0), min(right, width), min(bottom, height)


@dataclass(frozen=True, eq=False, repr=False)
class ClassMap:
    """One class id per pixel, with the label space that gives ids their meaning.

    Examples:
        >>> labels = np.zeros((4, 6), np.uint8)
        >>> labels[1:3, 1:4] = CELEBAMASK19.id_of("hair")
        >>> class_map = ClassMap(labels, CELEBAMASK19)
        >>> int(class_map.mask("hair").sum())
        6
        >>> class_map.shares()
        {'background': 0.75, 'hair': 0.25}
        >>> class_map.polygons("hair")[0].tolist()
        [[1.0, 1.0], [1.0, 2.0], [3.0, 2.0], [3.0, 1.0]]
    """

    labels: UInt8Array
    space: LabelSpace

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or self.labels.dtype != np.uint8:
            raise ImageError(
                "a class map must be uint8 of shape (h, w)", found=f"{self.labels.dtype} {self.labels.shape}"
            )

        if self.labels.size and self.labels.max() >= len(self.space):
            raise ImageError(f"a class map has ids outside {self.space.name}", found=int(self.labels.max()))

    def mask(self, part: str) -> npt.NDArray[np.bool_]:
        """Return the pixels of a part, or of a group of parts such as `lips`, as a boolean array (h, w)."""
        chosen = np.zeros(256, dtype=bool)
        chosen[list(self.space.ids_of(part))] = True
        return chosen[self.labels]

    def only(self, *parts: str) -> ClassMap:
        """Return the class map in which all but these parts, or groups of parts, are background."""
        kept = np.zeros(256, dtype=np.uint8)
        ids = list(self.space.ids_of(*parts))
        kept[ids] = ids
        return ClassMap(np.asarray(cv2.LUT(self.labels, kept), dtype=np.uint8), self.space)

    def alpha(
        self, part: str, image_bgr: UInt8Array | None = None, *, feather: float | None = None, grow: float = 0.0
    ) -> npt.NDArray[np.float32]:
        """Return a soft mask (h, w) of a part or group, 0..1; with the image, its edge follows hair and contours.

        The edge is `feather` pixels wide, by default in proportion to the part; it moves outwards by `grow` pixels.

        Examples:
            >>> labels = np.zeros((5, 9), np.uint8)
            >>> labels[:, :4] = CELEBAMASK19.id_of("hair")
            >>> ClassMap(labels, CELEBAMASK19).alpha("hair", feather=4)[2, 1:7].round(1).tolist()
            [1.0, 0.9, 0.6, 0.4, 0.1, 0.0]
        """
        return soft_alpha(self.mask(part), image_bgr, feather=feather, grow=grow)

    def polygons(self, part: str) -> list[FloatArray]:
        """Return the outlines of a part as points (n, 2), x first, one per component; holes are not cut out."""
        return masks.polygons(self.mask(part))

    def rle(self, part: str) -> dict[str, object]:
        """Return the mask of a part in COCO's compressed run-length encoding."""
        return masks.coco_rle(self.mask(part))

    def to_supervision(self) -> Detections:
        """Return `supervision.Detections` with one mask per part that occurs, without background."""
        check_extra("supervision", "conversion to supervision", "supervision")
        import supervision

        ids = [index for index in np.unique(self.labels).tolist() if index]
        all_masks = np.array([self.labels == index for index in ids], dtype=bool).reshape(-1, *self.labels.shape)
        return supervision.Detections(
            xyxy=supervision.mask_to_xyxy(all_masks).astype(np.float32) if ids else np.empty((0, 4), np.float32),
            mask=all_masks,
            class_id=np.array(ids, dtype=int),
            data={"class_name": np.array([self.space.parts[index] for index in ids])},
        )

    def shares(self) -> dict[str, float]:
        """Return the share of the pixels of each part that occurs, largest first."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.space))
        order = np.argsort(-counts, kind="stable")
        return {self.space.parts[i]: float(counts[i] / self.labels.size) for i in order if counts[i]}

    def to_space(self, target: LabelSpace, *, drop_missing: bool = False) -> ClassMap:
        if target == self.space:
            return self
        return ClassMap(remap_table(self.space, target, drop_missing=drop_missing)[self.labels], target)

    def __repr__(self) -> str:
        height, width = self.labels.shape
        return f"<ClassMap {width}x{height}, {self.space.name}: {describe_shares(self.shares())}>"


def describe_shares(shares: dict[str, float], most: int = 4) -> str:
    """Return the largest shares as text, without background."""
    parts = [(part, share) for part, share in shares.items() if part != "background"]
    texts = [f"{part} {100 * share:.1f} %" for part, share in parts[:most]]
    return ", ".join([*texts, "..."] if len(parts) > most else texts) or "only background"


def check_image(image_bgr: UInt8Array, name: str) -> None:
    """Raise ImageError unless the array is an image that can be parsed."""
    if not isinstance(image_bgr, np.ndarray) or image_bgr.dtype != np.uint8 or image_bgr.ndim != 3:
        found = f"{image_bgr.dtype} {image_bgr.shape}" if isinstance(image_bgr, np.ndarray) else type(image_bgr)
        raise ImageError(f"{name} must be a uint8 BGR array of shape (h, w, 3)", found=found)
    height, width, channels = image_bgr.shape
    if channels != 3:
        raise ImageError(
            f"{name} must have 3 channels in BGR order", found=channels, remedy="convert it with cv2.cvtColor first"
        )
    if min(height, width) < MIN_SIDE:
        raise ImageError(
            f"{name} is too small to hold a face",
            found=f"{width}x{height} px",
            remedy=f"at least {MIN_SIDE} px per side are needed",
        )
    if max(height, width) > MAX_SIDE:
        raise ImageError(
            f"{name} is too large",
            found=f"{width}x{height} px",
            remedy=f"scale it down or crop the face: at most {MAX_SIDE} px per side",
        )


def crop(image_bgr: UInt8Array, roi: RoI, size: int) -> UInt8Array:
    """Return the RoI as a `size` x `size` image: antialiased when shrunk, the mean colour outside the image."""
    left, top, right, bottom = roi.bounds_xyxy((image_bgr.shape[0], image_bgr.shape[1]))
    if right <= left or bottom <= top:
        return np.full((size, size, 3), OUTSIDE_BGR, dtype=np.uint8)
    part = image_bgr[top:bottom, left:right]
    to_part = np.array([[1.0, 0.0, left], [0.0, 1.0, top], [0.0, 0.0, 1.0]])
    shrink = roi.side / size
    if shrink > 1:
        height, width = part.shape[:2]
        small_wh = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        part = np.asarray(cv2.resize(part, small_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        scale_x, scale_y = width / small_wh[0], height / small_wh[1]
        to_part = to_part @ np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])
    matrix = roi.square_from_frame(size) @ to_part
    if part.shape[:2] == (size, size) and np.allclose(matrix, np.eye(2, 3), atol=1e-6):
        return np.ascontiguousarray(part)
    warped = cv2.warpAffine(
        part, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=OUTSIDE_BGR
    )
    return np.asarray(warped, dtype=np.uint8)


def paste(square: UInt8Array, roi: RoI, onto: UInt8Array) -> None:
    """Write the labels (s, s) of an RoI into the labels (h, w) of its image, in place, nearest pixel."""
    left, top, right, bottom = roi.bounds_xyxy((onto.shape[0], onto.shape[1]))
    if right <= left or bottom <= top:
        return
    size = square.shape[0]
    matrix = roi.square_from_frame(size) @ np.array([[1.0, 0.0, left], [0.0, 1.0, top], [0.0, 0.0, 1.0]])
    target = onto[top:bottom, left:right]
    if target.shape == square.shape and np.allclose(matrix, np.eye(2, 3), atol=1e-6):
        target[:] = square
        return
    x = np.arange(right - left)
    y = np.arange(bottom - top)
    if roi.angle_deg == 0:
        # Upright: indexing rows and columns separately is exact and several times faster than a warp.
        columns = np.rint(matrix[0, 0] * x + matrix[0, 2]).astype(np.intp)
        rows = np.rint(matrix[1, 1] * y + matrix[1, 2]).astype(np.intp)
        x_inside = slice(*np.searchsorted(columns, (0, size)))
        y_inside = slice(*np.searchsorted(rows, (0, size)))
        target[y_inside, x_inside] = square[rows[y_inside]].take(columns[x_inside], axis=1)
        return
    size_wh = (right - left, bottom - top)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(square, matrix, size_wh, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    ones = np.ones_like(square)
    covered = cv2.warpAffine(ones, matrix, size_wh, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    np.copyto(target, moved, where=np.asarray(covered, dtype=bool))


def pasted(square: UInt8Array, roi: RoI, size_hw: tuple[int, ...]) -> UInt8Array:
    """Return the labels of an RoI in an image of `size_hw` that is background elsewhere."""
    labels = np.zeros(size_hw, dtype=np.uint8)
    paste(square, roi, labels)
    return labels
