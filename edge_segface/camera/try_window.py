"""A program that opens a window for a moment: OpenCV ends the process if the display does not answer."""

from __future__ import annotations

import cv2

if __name__ == "__main__":
    cv2.namedWindow("edge-segface")
    cv2.waitKey(1)
