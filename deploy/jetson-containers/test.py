#!/usr/bin/env python3
"""Run by jetson-containers after the build: the bundled model parses the built-in portrait, and TensorRT is there."""

import tensorrt

from edge_segface import FaceParser
from edge_segface.assets import PORTRAIT

result = FaceParser()(PORTRAIT)
assert len(result.faces) == 1, result
assert result.mask("hair").any(), result
print(f"edge-segface OK: {result}; TensorRT {tensorrt.__version__}")
