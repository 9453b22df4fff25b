"""Runs nvidia-modelopt in a process of its own: it patches ONNX Runtime, and says much on the way.

`python -m edge_segface.quantize.worker TASK.json` prints a line `picture` for each picture that it looks at.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


class Pictures:
    """What modelopt asks of a source of calibration data."""

    def __init__(self, images: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        self.images = images
        self.rewind()

    def rewind(self) -> None:
        self._left: Iterator[np.ndarray[Any, np.dtype[np.uint8]]] = iter(self.images[:, None])

    def get_first(self) -> dict[str, Any]:
        return {"image": self.images[:1]}

    def get_next(self) -> dict[str, Any] | None:
        picture = next(self._left, None)
        if picture is None:
            return None
        print("picture", flush=True)  # noqa: T201
        return {"image": picture}


def main(task_path: str) -> None:
    task = json.loads(Path(task_path).read_text(encoding="utf-8"))
    if task["threads"] and hasattr(os, "sched_setaffinity"):  # modelopt opens its sessions without asking how many
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task["threads"]])
    if task["precision"] == "fp16":
        convert(task)
    else:
        quantize(task)


def convert(task: dict[str, Any]) -> None:
    import onnx
    from modelopt.onnx.autocast import convert_to_mixed_precision

    model = convert_to_mixed_precision(
        task["source"],
        low_precision_type="fp16",
        nodes_to_exclude=task["exclude"],
        keep_io_types=True,
        calibration_data=task["images"],
        providers=["cpu"],
    )
    onnx.save(model, task["out"])


def quantize(task: dict[str, Any]) -> None:
    from modelopt.onnx.quantization import quantize as run

    if task["method"] == "percentile":
        clip_at_percentile(task["percentile"])
    with np.load(task["images"]) as content:
        images = content["image"]
    run(
        task["source"],
        quantize_mode="int8",
        calibration_data_reader=Pictures(images),
        calibration_method="entropy" if task["method"] == "entropy" else "max",
        calibration_eps=["cpu"],
        op_types_to_exclude=task["exclude_ops"],
        nodes_to_exclude=task["exclude"],
        high_precision_dtype=task["rest"],
        output_path=task["out"],
    )


def clip_at_percentile(percentile: float) -> None:
    """modelopt asks ONNX Runtime for the ranges, and only ever by entropy or max. Where it says max, this is done."""
    from modelopt.onnx.quantization import int8, ort_patching
    from onnxruntime.quantization import CalibrationMethod

    class Clipped(ort_patching.PercentileCalibrater):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "percentile": percentile})

    class Methods:
        Entropy = MinMax = CalibrationMethod.Percentile

    ort_patching.PercentileCalibrater = Clipped
    int8.CalibrationMethod = Methods


if __name__ == "__main__":
    main(sys.argv[1])
