"""Dyes hair and lips in a live picture, and keeps their light and shade.

    python examples/recolour.py --source 0 --hair 40,60,190 --lips 150,30,90

Colours are red, green, blue. Runs until `q`, or writes a video with --out.
"""

import argparse

import cv2
import numpy as np
from live import frames, show

from edge_segface.frames import ClassMap

SOFT_PX = 7


def dyed(image_bgr: np.ndarray, mask: np.ndarray, colour_rgb: tuple[int, ...], strength: float) -> np.ndarray:
    """The colour takes the place of the picture's own; lightness stays, and the edge is soft."""
    wanted = cv2.cvtColor(np.uint8([[colour_rgb[::-1]]]), cv2.COLOR_BGR2LAB)[0, 0]
    lab = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2LAB).astype(np.float32)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (SOFT_PX, SOFT_PX), 0)[..., None] * strength
    lab[..., 1:] += soft * (wanted[1:].astype(np.float32) - lab[..., 1:])
    return cv2.cvtColor(lab.astype(np.uint8), cv2.COLOR_LAB2BGR)


def recoloured(image_bgr: np.ndarray, classes: ClassMap, hair: tuple[int, ...], lips: tuple[int, ...]) -> np.ndarray:
    image_bgr = dyed(image_bgr, classes.mask("hair"), hair, 0.7)
    return dyed(image_bgr, classes.mask("upper_lip") | classes.mask("lower_lip"), lips, 0.8)


def colour(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--hair", type=colour, default=(150, 50, 160))
    options.add_argument("--lips", type=colour, default=(200, 30, 60))
    asked, stream = frames(options)
    show((recoloured(image, classes, asked.hair, asked.lips) for image, classes, _ in stream), asked)
