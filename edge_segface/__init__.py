"""edge-segface: face parsing with SegFace, from data to device."""

__version__ = "0.1.0"
