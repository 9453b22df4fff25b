"""A text report and a contact sheet of a calibration set, for people to check it."""

from __future__ import annotations

import cv2
import numpy as np

from edge_segface.frames import UInt8Array
from edge_segface.labels import LabelSpace
from edge_segface.quantize.calibration.artefact import CalibrationSet
from edge_segface.quantize.calibration.choose import min_images_per_class

TILE, COLUMNS = 96, 16


def report_text(calibration: CalibrationSet, space: LabelSpace) -> str:
    """Return what is in a set and which classes it lacks."""
    info, count = calibration.info, len(calibration.images_bgr)
    lines = [
        f"{count} of {info.candidates} images from {info.source}, {info.input_size} px, selected by {info.strategy}, "
        f"seed {info.seed}; labels from {info.labelled_by}",
        f"sha256 {calibration.sha256}",
        "",
        f"{'part':14} {'images':>8} {'pixels':>10}",
    ]
    long_tail = {space.parts[index] for index in space.long_tail}
    for part in sorted(space.parts, key=lambda part: (part not in long_tail, info.pictures_with[part])):
        note = "  long tail" if part in long_tail else ""
        lines.append(f"{part:14} {info.pictures_with[part]:>8} {info.pixels_of[part]:>10}{note}")
    enough = min_images_per_class(count)
    if rare := [part for part in space.parts[1:] if info.pictures_with[part] < enough]:
        lines += ["", f"in fewer than {enough} images (one eighth): {', '.join(rare)}; add images that show them"]
    brightness = calibration.images_bgr.mean(axis=(1, 2, 3))
    low, middle, high = brightness.min(), np.median(brightness), brightness.max()
    lines += ["", f"mean brightness from {low:.0f} to {high:.0f}, median {middle:.0f}"]
    return "\n".join(lines) + "\n"


def contact_sheet(calibration: CalibrationSet) -> UInt8Array:
    """Return small versions of all images in one."""
    tiles = [
        np.asarray(cv2.resize(image, (TILE, TILE), interpolation=cv2.INTER_AREA)) for image in calibration.images_bgr
    ]
    rows = -(-len(tiles) // COLUMNS)
    sheet = np.full((rows * TILE, min(len(tiles), COLUMNS) * TILE, 3), 255, dtype=np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // COLUMNS * TILE, index % COLUMNS * TILE
        sheet[top : top + TILE, left : left + TILE] = tile
    return sheet
