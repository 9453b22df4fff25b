"""Blurs what is behind people, or paints it in one colour.

    python examples/background.py --source 0 [--blur 31 | --colour 0,120,60]

The parser knows faces, hair, hats, necks and clothes near them; what it does not see of a body counts as background.
"""

import argparse

import cv2
import numpy as np
from live import frames, show
from recolour import colour

from edge_segface.frames import ClassMap


def without_background(
    image_bgr: np.ndarray, classes: ClassMap, blur: int, colour_rgb: tuple[int, ...] | None
) -> np.ndarray:
    people = (classes.labels > 0).astype(np.float32)
    people = cv2.GaussianBlur(people, (9, 9), 0)[..., None]
    if colour_rgb is None:
        small = cv2.resize(image_bgr, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)  # blurs faster
        behind = cv2.resize(cv2.GaussianBlur(small, (blur | 1, blur | 1), 0), image_bgr.shape[1::-1])
    else:
        behind = np.full_like(image_bgr, colour_rgb[::-1])
    return (people * image_bgr + (1 - people) * behind).astype(np.uint8)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--blur", type=int, default=21)
    options.add_argument("--colour", type=colour)
    asked, stream = frames(options)
    show((without_background(image, classes, asked.blur, asked.colour) for image, classes, _ in stream), asked)
