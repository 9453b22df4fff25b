"""Dye hair and lips in a live video; light and shade stay.

    python examples/recolour.py --source 0 --hair 40,60,190 --lips 150,30,90

Colours are red, green, blue. Runs until `q` is pressed, or writes a video with --out.
"""

import argparse

import cv2
import numpy as np
from live import open_stream, show

from edge_segface import ClassMap

SOFT_EDGE_PX = 7


def dye(image_bgr: np.ndarray, mask: np.ndarray, colour_rgb: tuple[int, ...], strength: float) -> np.ndarray:
    """Shift the colour of the masked pixels towards `colour_rgb`. Lightness stays, and the edge is soft."""
    target_lab = cv2.cvtColor(np.uint8([[colour_rgb[::-1]]]), cv2.COLOR_BGR2LAB)[0, 0].astype(np.float32)
    lab = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2LAB).astype(np.float32)
    weight = cv2.GaussianBlur(mask.astype(np.float32), (SOFT_EDGE_PX, SOFT_EDGE_PX), 0)[..., None] * strength
    lab[..., 1:] += weight * (target_lab[1:] - lab[..., 1:])
    return cv2.cvtColor(lab.astype(np.uint8), cv2.COLOR_LAB2BGR)


def recolour(image_bgr: np.ndarray, class_map: ClassMap, hair: tuple[int, ...], lips: tuple[int, ...]) -> np.ndarray:
    """Return the image with dyed hair and lips."""
    image_bgr = dye(image_bgr, class_map.mask("hair"), hair, 0.7)
    return dye(image_bgr, class_map.mask("upper_lip") | class_map.mask("lower_lip"), lips, 0.8)


def rgb(text: str) -> tuple[int, ...]:
    return tuple(int(value) for value in text.split(","))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--hair", type=rgb, default=(150, 50, 160), help="Default: 150,50,160.")
    arguments.add_argument("--lips", type=rgb, default=(200, 30, 60), help="Default: 200,30,60.")
    options, stream = open_stream(arguments)
    show((recolour(r.image_bgr, r.class_map, options.hair, options.lips) for r in stream), options)
