"""Writes docs/images/portrait.jpg, the image at the top of the README, from the bundled portrait.

python tools/make_readme_image.py [MODEL]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from edge_segface.assets import DEFAULT_MODEL, PORTRAIT
from edge_segface.assets.portrait import PORTRAIT_ROI
from edge_segface.draw import colour, legend, overlay
from edge_segface.face.parser import FaceParser
from edge_segface.frames import ClassMap, crop
from edge_segface.image_io import read_image

OUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "portrait.jpg"
SIDE = 360


def main() -> None:
    image = crop(read_image(PORTRAIT), PORTRAIT_ROI, SIDE)
    with FaceParser(sys.argv[1] if len(sys.argv) > 1 else DEFAULT_MODEL) as parser:
        class_map: ClassMap = parser(image)
    panels = [image, colour(class_map), overlay(image, class_map), legend(class_map, SIDE)]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(OUT), np.hstack(panels), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
