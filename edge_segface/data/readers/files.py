"""Reading the files of a dataset; a file that cannot be used raises SampleError."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from edge_segface.data.sample import SampleError
from edge_segface.documents import DocumentError, read_document
from edge_segface.errors import DatasetError, ImageError, first_line
from edge_segface.frames import UInt8Array
from edge_segface.image_io import check_pixels, read_image
from edge_segface.labels import LabelSpace

GREY_MODES = ("1", "L", "LA", "P")  # of Pillow; the first channel holds ids
COLOUR_MODES = ("RGB", "RGBA")


def read_sample_image(path: Path) -> UInt8Array:
    """Read the image of a sample (h, w, 3), BGR."""
    if not os.path.isfile(path):
        raise SampleError("image missing", found=path.name)
    try:
        return read_image(path)
    except ImageError as error:
        raise SampleError("unreadable image", found=error.found or path.name) from error


def read_mask(path: Path) -> UInt8Array:
    """Read a mask as one id per pixel (h, w): its grey values or palette indices."""
    if not os.path.isfile(path):
        raise SampleError("mask missing", found=path.name)
    try:
        with Image.open(path) as mask:
            check_pixels(mask.size, path)
            mask.verify()  # finds a PNG that lacks its end; the file must be opened again to be read
        with Image.open(path) as mask:
            return _ids(mask, path)
    except SampleError:
        raise
    except ImageError as error:
        raise SampleError("mask too large", found=error.found) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SampleError("unreadable mask", found=first_line(error)) from error


def check_ids(labels: UInt8Array, space: LabelSpace) -> UInt8Array:
    """Return the labels; raise if they hold ids that the label space lacks."""
    if labels.max(initial=0) >= len(space):
        raise SampleError(f"mask with ids outside {space.name}", found=f"id {labels.max()}")
    return labels


def read_lines(path: Path) -> list[str]:
    """Read the lines of a list in UTF-8, with or without a byte order mark."""
    try:
        return read_document(path).splitlines()
    except DocumentError as error:
        raise DatasetError(f"{path} cannot be read", found=error, remedy="save it as UTF-8") from error


def _ids(mask: ImageFile.ImageFile, path: Path) -> UInt8Array:
    has_16_bits = ";16" in str(mask.tile)  # Pillow would reduce colours of 16 bits to 8
    if mask.mode not in (*GREY_MODES, *COLOUR_MODES) or has_16_bits:
        raise SampleError("unreadable mask", found=f"{path.name} does not hold 8-bit values")
    if mask.mode == "1":
        return np.array(mask.convert("L"))
    ids, *others = (np.array(channel) for channel in mask.split()[:3])
    if mask.mode in COLOUR_MODES and not all(np.array_equal(ids, other) for other in others):
        raise SampleError("mask with colours instead of ids", found=path.name)
    return ids
