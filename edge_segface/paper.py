"""What the SegFace paper (AAAI 2025) publishes and our measurements are compared with."""

from __future__ import annotations

PAPER_FPS = 95.96  # MobileNetV3 variant at 512; the paper states no hardware, precision or batch size
