"""The YUV4MPEG stream that GStreamer's y4menc writes: a header with the frame size, then I420 frames."""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np

from edge_segface.frames import UInt8Array

STREAM_START, FRAME_START = b"YUV4MP", b"FRAME\n"  # of the same length, so either can be read first
SIZE, RATE = re.compile(rb" W(\d+) H(\d+)"), re.compile(rb" F(\d+):(\d+)")


def size_from_header(line: bytes) -> tuple[int, int] | None:
    found = SIZE.search(line)
    return (int(found[1]), int(found[2])) if found else None


def fps_from_header(line: bytes) -> float | None:
    """Return the nominal frame rate, or None if the stream states none or an implausible one."""
    found = RATE.search(line)
    fps = int(found[1]) / int(found[2]) if found and int(found[2]) else 0.0
    return fps if 1 <= fps <= 1000 else None


@dataclass(frozen=True)
class I420Layout:
    """Where GStreamer puts the planes of an I420 frame: rows start at multiples of four bytes."""

    width: int
    height: int

    @property
    def luma_stride(self) -> int:
        return round_up(self.width, 4)

    @property
    def chroma_stride(self) -> int:
        return round_up((self.width + 1) // 2, 4)

    @property
    def rows(self) -> int:
        return round_up(self.height, 2)

    @property
    def frame_bytes(self) -> int:
        return self.rows * (self.luma_stride + self.chroma_stride)

    def bgr_from(self, content: UInt8Array) -> UInt8Array:
        """Convert one frame. An odd last row or column is dropped, because OpenCV converts even sizes only."""
        width, height = self.width - self.width % 2, self.height - self.height % 2
        if (self.luma_stride, 2 * self.chroma_stride) != (width, width):
            content = self._without_padding(content, width, height)
        planes = content[: height * width * 3 // 2].reshape(height * 3 // 2, width)
        return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420), dtype=np.uint8)

    def _without_padding(self, content: UInt8Array, width: int, height: int) -> UInt8Array:
        luma_bytes = self.rows * self.luma_stride
        luma = content[:luma_bytes].reshape(self.rows, self.luma_stride)
        chroma = content[luma_bytes:].reshape(2, self.rows // 2, self.chroma_stride)
        return np.concatenate([luma[:height, :width].ravel(), chroma[:, : height // 2, : width // 2].ravel()])


def round_up(value: int, step: int) -> int:
    return -(-value // step) * step
