"""ONNX for Hailo's Dataflow Compiler, which parses opset 8 and 11 to 17 and quantizes by itself.

The compiler needs a registration with Hailo and was not available, so nothing but the ONNX file is checked.
"""

from __future__ import annotations

from edge_segface.export.targets.portable import converted

__all__ = ["converted"]
