"""Writes the images of README and docs, docs/images/*.jpg, from the bundled portrait.

python tools/make_images.py [MODEL]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from edge_segface.assets import DEFAULT_MODEL, PORTRAIT
from edge_segface.assets.portrait import PORTRAIT_ROI
from edge_segface.compositing import composite, open_backdrop
from edge_segface.draw import colour, legend, overlay
from edge_segface.face.parser import FaceParser
from edge_segface.face.result import ParsedImage
from edge_segface.files import make_folder
from edge_segface.frames import UInt8Array, crop
from edge_segface.image_io import read_image

OUT = Path(__file__).resolve().parent.parent / "docs" / "images"
SIDE = 360
DETAIL = np.s_[20:200, 150:330]  # curls at the top of the head


def main() -> None:
    image = crop(read_image(PORTRAIT), PORTRAIT_ROI, SIDE)
    with FaceParser(sys.argv[1] if len(sys.argv) > 1 else DEFAULT_MODEL) as parser:
        result = parser(image, whole=True)
    make_folder(OUT)
    panels = [image, colour(result), overlay(image, result)]
    save(np.hstack([*panels, legend(result, SIDE)[:SIDE]]), "portrait.jpg")
    save(soft_edges(result), "soft-edges.jpg")


def soft_edges(result: ParsedImage) -> UInt8Array:
    """Return the person cut out with hard and with soft edges, whole and in detail."""
    backdrop = open_backdrop("green")(result.image_bgr)
    cut_outs = [
        composite(result.image_bgr, alpha, backdrop)
        for alpha in (result.mask("person").astype(np.float32), result.alpha("person"))
    ]
    details = [
        np.asarray(cv2.resize(cut_out[DETAIL], (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)) for cut_out in cut_outs
    ]
    return np.hstack([cut_outs[0], details[0], cut_outs[1], details[1]])


def save(image: UInt8Array, name: str) -> None:
    cv2.imwrite(str(OUT / name), image, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
