"""Calls of ONNX Runtime and OpenVINO without our engine classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import openvino as ov

from edge_segface.engine.openvino.layout import optimise_for_openvino

Call = Callable[[], Any]


def onnxruntime_call(path: Path, *, threads: int | None = None) -> Call:
    """Return a call that runs the file on noise; `threads` defaults to all cores."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    [image] = session.get_inputs()
    shape, generator = [1, *image.shape[1:]], np.random.default_rng(0)
    noise: np.ndarray[Any, Any]
    if image.type == "tensor(uint8)":
        noise = generator.integers(0, 256, shape, dtype=np.uint8)
    else:
        noise = generator.standard_normal(shape, dtype=np.float32)
    return partial(session.run, None, {image.name: noise})


def openvino_call(path: Path, images_bgr: np.ndarray[Any, Any]) -> Call:
    """Return a call of the same graph with the settings of our engine, written as in OpenVINO's own examples."""
    core = ov.Core()
    model = core.read_model(path)
    model.reshape({0: list(images_bgr.shape)})
    compiled = core.compile_model(optimise_for_openvino(model), "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    return partial(compiled.create_infer_request().infer, {0: images_bgr}, share_inputs=True)
