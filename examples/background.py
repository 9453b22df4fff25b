"""Blur the background of a live video, or replace it by a colour.

    python examples/background.py --source 0 [--blur 31 | --colour 0,120,60]

The parser knows faces, hair, hats, necks and the clothes near them; the rest of a body counts as background.
"""

import argparse

import cv2
import numpy as np
from live import open_stream, show
from recolour import rgb

from edge_segface import ClassMap


def replace_background(
    image_bgr: np.ndarray, class_map: ClassMap, blur: int, colour_rgb: tuple[int, ...] | None
) -> np.ndarray:
    """Return the image with its background blurred, or in one colour. The edge of the foreground is soft."""
    foreground = class_map.alpha("person", image_bgr)[..., None]
    if colour_rgb is None:
        small = cv2.resize(image_bgr, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)  # blurs faster
        background = cv2.resize(cv2.GaussianBlur(small, (blur | 1, blur | 1), 0), image_bgr.shape[1::-1])
    else:
        background = np.full_like(image_bgr, colour_rgb[::-1])
    return (foreground * image_bgr + (1 - foreground) * background).astype(np.uint8)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--blur", type=int, default=21, help="Kernel size at a quarter of the image (default: 21).")
    arguments.add_argument("--colour", type=rgb, help="Red, green, blue; replaces the blur.")
    options, stream = open_stream(arguments)
    show((replace_background(r.image_bgr, r.class_map, options.blur, options.colour) for r in stream), options)
