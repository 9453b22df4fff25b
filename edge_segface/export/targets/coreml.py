"""Core ML, by coremltools. It converts everywhere; predictions need macOS."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import coremltools
import numpy as np
from PIL import Image

from edge_segface.engine.planes import labels_of
from edge_segface.errors import ModelError
from edge_segface.export.targets import Options, Run
from edge_segface.export.targets.channels_first import INPUT, OUTPUT, ChannelsFirst
from edge_segface.export.targets.torch_graph import exported_program
from edge_segface.frames import UInt8Array


@contextmanager
def converted(planes: ChannelsFirst, out: Path, options: Options) -> Iterator[Run | None]:
    """Elsewhere than on macOS the result is None."""
    spec = planes.spec
    shape = (1, 3, spec.input_size, spec.input_size)
    exact = coremltools.precision.FLOAT32
    model: Any = coremltools.convert(
        exported_program(planes).run_decompositions({}),
        inputs=[coremltools.ImageType(INPUT, shape=shape, color_layout=coremltools.colorlayout.RGB)],
        outputs=[coremltools.TensorType(OUTPUT, dtype=np.float32)],
        minimum_deployment_target=coremltools.target.iOS16,
        compute_precision=exact if options.precision == "fp32" else coremltools.precision.FLOAT16,
    )
    model.short_description = f"{spec.name}, face parsing by edge-segface"
    model.license = spec.weights_licence
    model.user_defined_metadata["names"] = json.dumps(spec.class_names)
    model.save(str(out))
    _check(model, spec.input_size)

    def run(image_bgr: UInt8Array) -> UInt8Array:
        logits = model.predict({INPUT: Image.fromarray(image_bgr[:, :, ::-1])})[OUTPUT]
        return labels_of(np.asarray(logits[0], np.float32), len(image_bgr))

    yield run if sys.platform == "darwin" else None


def _check(model: Any, side: int) -> None:
    """Check what can be checked without macOS: the types and sizes of input and output."""
    description = model.get_spec().description
    image, logits = description.input[0], description.output[0]
    found = (image.name, image.type.imageType.width, image.type.imageType.height, logits.name)
    if found != (INPUT, side, side, OUTPUT):
        raise ModelError("the Core ML model has other inputs or outputs than it should", found=found)
