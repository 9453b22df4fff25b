"""Drawings of class maps: coloured labels, overlays and legends."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.errors import ImageError
from edge_segface.frames import ClassMap, RoI, UInt8Array
from edge_segface.labels import LabelSpace
from edge_segface.regions import Box

FONT = cv2.FONT_HERSHEY_SIMPLEX
LIGHT_BGR = (235, 235, 235)
DARK_BGR = (32, 32, 32)
BOX_BGR = (80, 220, 80)
# These are tinted, not painted: their colour takes the lightness of the image, so that dark skin stays dark.
TINTED_PARTS = ("skin", "neck", "left_ear", "right_ear", "nose")
FADE = 0.12  # width of the strip in which a part fades out where a square cuts it, relative to the square's side
GREY = 128  # lightness of a tint
LUMA_BGR = (0.114, 0.587, 0.299)
BRIGHTEST = 1.4  # largest factor by which a tint brightens one of the three colours


def colour(class_map: ClassMap) -> UInt8Array:
    """Return the class map in the colours of its label space, BGR."""
    return _painted(class_map.labels, class_map.space)


def overlay(
    image_bgr: UInt8Array,
    class_map: ClassMap,
    opacity: float = 0.6,
    *,
    classes: Sequence[str] | None = None,
    squares: Sequence[RoI] = (),
) -> UInt8Array:
    """Blend the classes over the image, with a line between classes; background stays as it is.

    Only `classes`, parts or groups, are drawn, by default all. Where one of the `squares` of faces cuts a part off, the
    part fades out.
    """
    if image_bgr.shape[:2] != class_map.labels.shape:
        raise ImageError(
            "image and class map must have the same size", found=f"{image_bgr.shape[:2]} and {class_map.labels.shape}"
        )
    space = class_map.space
    labels = (class_map if classes is None else class_map.only(*classes)).labels
    drawn = image_bgr.copy()
    left, top, width, height = cv2.boundingRect(labels)  # bounding box of everything but background
    if width and height and opacity > 0:
        line = line_width(image_bgr.shape)
        left, top = max(left - line, 0), max(top - line, 0)
        area = np.s_[top : top + height + 2 * line, left : left + width + 2 * line]
        part, shown = np.ascontiguousarray(labels[area]), drawn[area]
        mixed = cv2.addWeighted(shown, 1 - opacity, _tinted(shown, part, space), opacity, 0)
        kernel = cv2.getStructuringElement(cv2.MORPH_CROSS, (2 * line + 1, 2 * line + 1))
        edge = cv2.compare(cv2.dilate(part, kernel), part, cv2.CMP_GT)
        cv2.copyTo(cv2.convertScaleAbs(_painted(part, space), None, 0.5, 127), edge, mixed)
        visible = cv2.bitwise_or(part, edge)
        faded = cut_weights(labels, squares)
        if faded is None:
            cv2.copyTo(mixed, visible, shown)
        else:
            weight = np.where(visible > 0, faded[area], np.float32(0))
            shown[:] = cv2.blendLinear(mixed, np.ascontiguousarray(shown), weight, 1 - weight)
    return np.asarray(drawn, dtype=np.uint8)


def draw_boxes(image_bgr: UInt8Array, boxes: Sequence[Box]) -> None:
    """Draw boxes in place, with lines that suit the size of the image."""
    for box in boxes:
        left, top, right, bottom = (round(edge) for edge in box)
        cv2.rectangle(image_bgr, (left, top), (right, bottom), BOX_BGR, line_width(image_bgr.shape), cv2.LINE_AA)


def line_width(shape: tuple[int, ...]) -> int:
    return max(1, round(min(shape[:2]) / 480))


def text_scale(height: int) -> float:
    """Return the scale of text that can be read in an image of this height: 2.5 % of it, at least 9 pixels."""
    return max(0.4, height / 880)


def side_by_side(
    image_bgr: UInt8Array, class_map: ClassMap, *, opacity: float = 0.6, squares: Sequence[RoI] = ()
) -> UInt8Array:
    """Return image, overlay and legend in one row; a small image leaves room below for the legend."""
    panel = legend(class_map, image_bgr.shape[0])
    row = np.hstack([image_bgr, overlay(image_bgr, class_map, opacity, squares=squares)])
    below = panel.shape[0] - row.shape[0]
    row = np.asarray(cv2.copyMakeBorder(row, 0, below, 0, 0, cv2.BORDER_CONSTANT, value=DARK_BGR), dtype=np.uint8)
    return np.hstack([row, panel])


def legend(class_map: ClassMap, height: int) -> UInt8Array:
    """Return a column, at least `height` tall, with the colour and share of each class that occurs, largest first."""
    titles = dict(zip(class_map.space.parts, class_map.space.titles, strict=True))
    rows = [(part, share) for part, share in class_map.shares().items() if part != "background"]
    texts = [f"{titles[part]}  {100 * share:.1f} %" for part, share in rows]
    ids = [class_map.space.id_of(part) for part, _ in rows]
    scale = text_scale(height)
    width, needed = _list_size(texts, scale)
    panel = np.full((max(height, needed), width, 3), DARK_BGR, dtype=np.uint8)
    _list_classes(panel, texts, ids, class_map.space, scale)
    return panel


def draw_legend(image_bgr: UInt8Array, class_map: ClassMap) -> None:
    """Write the classes that occur into the top right corner, in place, on a darkened ground."""
    counts = cv2.calcHist([class_map.labels], [0], None, [256], [0, 256])
    ids = [int(index) for index in np.flatnonzero(counts) if index]
    texts = [class_map.space.titles[index] for index in ids]
    if not ids:
        return
    height, width = image_bgr.shape[:2]
    scale = text_scale(height)
    if (needed := _list_size(texts, scale)[1]) > height:
        scale *= height / needed
    wide, high = _list_size(texts, scale)
    corner = image_bgr[:high, max(0, width - wide) :]
    _darken(corner)
    _list_classes(corner, texts, ids, class_map.space, scale)


def captions(image_bgr: UInt8Array, lines: Sequence[str]) -> None:
    """Write lines into the top left corner, in place, on a darkened ground."""
    if not lines:
        return
    scale = text_scale(image_bgr.shape[0])
    high = round(36 * scale)
    widths = [cv2.getTextSize(text, FONT, scale, _stroke(scale))[0][0] for text in lines]
    _darken(image_bgr[: high * len(lines) + high // 2, : max(widths) + high])
    for index, text in enumerate(lines):
        _write(image_bgr, text, (high // 2, high * (index + 1)), scale)


def _list_size(texts: Sequence[str], scale: float) -> tuple[int, int]:
    """Return width and height of a list of classes."""
    line = max(6, round(44 * scale))
    widths = [cv2.getTextSize(text, FONT, scale, _stroke(scale))[0][0] for text in texts] or [0]
    return max(widths) + 2 * line + line // 2, line * (len(texts) + 1)


def _list_classes(panel: UInt8Array, texts: Sequence[str], ids: Sequence[int], space: LabelSpace, scale: float) -> None:
    line = max(6, round(44 * scale))
    for index, (class_id, text) in enumerate(zip(ids, texts, strict=True)):
        top = line // 2 + index * line
        blue, green, red = (int(value) for value in space.palette_rgb[class_id][::-1])
        cv2.rectangle(panel, (line // 2, top), (line // 2 + line * 2 // 3, top + line * 2 // 3), (blue, green, red), -1)
        _write(panel, text, (line * 3 // 2, top + line * 5 // 8), scale)


def _write(image_bgr: UInt8Array, text: str, corner_xy: tuple[int, int], scale: float) -> None:
    cv2.putText(image_bgr, text, corner_xy, FONT, scale, LIGHT_BGR, _stroke(scale), cv2.LINE_AA)


def _stroke(scale: float) -> int:
    return max(1, round(1.6 * scale))


def _darken(image_bgr: UInt8Array) -> None:
    cv2.convertScaleAbs(image_bgr, image_bgr, 0.35, 0)


def _painted(labels: UInt8Array, space: LabelSpace) -> UInt8Array:
    return np.asarray(cv2.applyColorMap(labels, _colours(space)), dtype=np.uint8)


def _tinted(image_bgr: UInt8Array, labels: UInt8Array, space: LabelSpace) -> UInt8Array:
    """Return the classes in their colours, those of skin at the lightness that the image has there."""
    coloured = np.asarray(cv2.applyColorMap(labels, _tints(space)), dtype=np.uint8)
    grey = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY)
    tinted = cv2.LUT(labels, _tinted_ids(space))
    light = cv2.cvtColor(cv2.copyTo(grey, tinted, np.full_like(grey, GREY)), cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.multiply(coloured, light, scale=1 / GREY), dtype=np.uint8)


def cut_weights(labels: UInt8Array, squares: Sequence[RoI]) -> npt.NDArray[np.float32] | None:
    """Return weights (h, w) that fade parts, the labels above 0, out towards where an upright square cuts them off.

    None if no square does.
    """
    cuts = np.zeros_like(labels)
    height, width = labels.shape
    for square in squares:
        left, top, right, bottom = square.bounds_xyxy((height, width))
        for inside, edge, outside in ((top + 1, top, top - 2), (bottom - 2, bottom - 1, bottom + 1)):
            if 0 <= outside < height:
                _mark_cut(labels, cuts, slice(left, right), inside, edge, outside)
        for inside, edge, outside in ((left + 1, left, left - 2), (right - 2, right - 1, right + 1)):
            if 0 <= outside < width:
                _mark_cut(labels.T, cuts.T, slice(top, bottom), inside, edge, outside)
    if not cuts.any():
        return None
    distance = cv2.distanceTransform(cv2.bitwise_not(cuts), cv2.DIST_L2, 3)
    width = max(1.0, FADE * min(square.side for square in squares))
    return np.asarray(np.minimum(distance / width, 1), dtype=np.float32)


def _mark_cut(labels: UInt8Array, cuts: UInt8Array, span: slice, inside: int, edge: int, outside: int) -> None:
    """Mark, in place, the pixels of two rows in which a part ends; the square may end in either of them."""
    ends = np.uint8(255) * ((labels[inside, span] > 0) & (labels[outside, span] == 0))
    cuts[inside, span] |= ends
    cuts[edge, span] |= ends


@cache
def _colours(space: LabelSpace) -> UInt8Array:
    table = np.zeros((256, 1, 3), dtype=np.uint8)
    table[: len(space), 0] = space.palette_rgb[:, ::-1]
    return table


@cache
def _tints(space: LabelSpace) -> UInt8Array:
    """Return the colours of classes, those of skin scaled to the lightness `GREY`."""
    table = _colours(space).copy()
    for index in np.flatnonzero(_tinted_ids(space)):
        colour_bgr = table[index, 0].astype(float)
        tint = colour_bgr * GREY / (colour_bgr @ LUMA_BGR)
        # Paler if bright skin would leave the range of colours and darken.
        table[index, 0] = GREY + (tint - GREY) * min(1, GREY * (BRIGHTEST - 1) / (tint.max() - GREY))
    return np.asarray(table, dtype=np.uint8)


@cache
def _tinted_ids(space: LabelSpace) -> UInt8Array:
    return _kept(space.present_ids(TINTED_PARTS))


def _kept(ids: Sequence[int]) -> UInt8Array:
    """Return a lookup table that keeps these ids and makes all others background."""
    table = np.zeros(256, dtype=np.uint8)
    table[list(ids)] = list(ids)
    return table
