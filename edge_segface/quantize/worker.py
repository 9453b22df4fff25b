"""Run nvidia-modelopt in a process of its own, because it patches ONNX Runtime and prints a lot.

`edge_segface.quantize.worker TASK.json` prints the line `image` for each image that it calibrates on.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Images = np.ndarray[Any, np.dtype[np.uint8]]  # n s s 3


class CalibrationReader:
    """Feeds images to modelopt one at a time, by the interface of ONNX Runtime's CalibrationDataReader."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.rewind()

    def rewind(self) -> None:
        self._remaining: Iterator[Images] = iter(self.images[:, None])

    def get_first(self) -> dict[str, Any]:
        return {"image": self.images[:1]}

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._remaining, None)
        if image is None:
            return None
        print("image", flush=True)  # noqa: T201
        return {"image": image}


def main(task_path: str) -> None:
    """Run the task of a JSON file."""
    task = json.loads(Path(task_path).read_text(encoding="utf-8"))
    if task["threads"] and hasattr(os, "sched_setaffinity"):  # modelopt has no setting for its number of threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task["threads"]])
    if task["precision"] == "fp16":
        convert_to_fp16(task)
    else:
        quantize_to_int8(task)


def convert_to_fp16(task: dict[str, Any]) -> None:
    """Write the task's model in fp16, except excluded nodes."""
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


def quantize_to_int8(task: dict[str, Any]) -> None:
    """Write the task's model with Q/DQ, except on excluded nodes and operators."""
    from modelopt.onnx.quantization import quantize

    if task["method"] == "percentile":
        use_percentile(task["percentile"])
    with np.load(task["images"]) as content:
        images = content["image"]
    quantize(
        task["source"],
        quantize_mode="int8",
        calibration_data_reader=CalibrationReader(images),
        calibration_method="entropy" if task["method"] == "entropy" else "max",
        calibration_eps=["cpu"],
        op_types_to_exclude=task["exclude_ops"],
        nodes_to_exclude=task["exclude"],
        high_precision_dtype=task["rest"],
        output_path=task["out"],
    )


def use_percentile(percentile: float) -> None:
    """Make modelopt calibrate by percentile where it is asked for `max`: it offers only entropy and max.

    ONNX Runtime, which computes the ranges for modelopt, has a percentile calibrator.
    """
    from modelopt.onnx.quantization import int8, ort_patching
    from onnxruntime.quantization import CalibrationMethod

    class Calibrator(ort_patching.PercentileCalibrater):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "percentile": percentile})

    class Methods:
        Entropy = MinMax = CalibrationMethod.Percentile

    ort_patching.PercentileCalibrater = Calibrator
    int8.CalibrationMethod = Methods


if __name__ == "__main__":
    main(sys.argv[1])
