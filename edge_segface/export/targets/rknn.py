"""Rockchip's NPUs, by rknn-toolkit2, whose simulator computes what the chip should."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from rknn.api import RKNN

from edge_segface.engine.planes import labels_of
from edge_segface.errors import ModelError
from edge_segface.export.targets import CHIPS, Options, Run
from edge_segface.export.targets.channels_first import ChannelsFirst
from edge_segface.frames import UInt8Array


@contextmanager
def converted(planes: ChannelsFirst, out: Path, options: Options) -> Iterator[Run]:
    if options.chip not in CHIPS:
        raise ModelError("rknn files are made for one chip", found=options.chip, remedy=f"choose {', '.join(CHIPS)}")
    toolkit: Any = RKNN(verbose=False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "planes.onnx"
            onnx.save(planes.model, source)
            toolkit.config(target_platform=options.chip, mean_values=[[0, 0, 0]], std_values=[[1, 1, 1]])
            _check("load_onnx", toolkit.load_onnx(str(source)))
            if options.images is not None and options.images.shape[1] != planes.spec.input_size:
                raise ModelError(
                    f"the calibration images do not fit {planes.spec.name}",
                    found=f"{options.images.shape[1]} px",
                    remedy=f"make a set with: edge-segface calibrate --model {planes.spec.name}",
                )
            images = None if options.images is None else _write_images(options.images, Path(folder))
            _check("build", toolkit.build(do_quantization=images is not None, dataset=images))
        _check("export_rknn", toolkit.export_rknn(str(out)))
        _check("init_runtime", toolkit.init_runtime())

        def run(image_bgr: UInt8Array) -> UInt8Array:
            pixels = np.ascontiguousarray(image_bgr[None, :, :, ::-1])
            logits = toolkit.inference([pixels], data_format=["nhwc"])[0][0]
            return labels_of(np.asarray(logits, np.float32), len(image_bgr))

        yield run
    finally:
        toolkit.release()


def _write_images(images_bgr: UInt8Array, folder: Path) -> str:
    """Write calibration images as the toolkit reads them: as files, and a list of these."""
    names = [folder / f"{index}.png" for index in range(len(images_bgr))]
    for name, image in zip(names, images_bgr, strict=True):
        cv2.imwrite(str(name), image)
    listed = folder / "images.txt"
    listed.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return str(listed)


def _check(step: str, code: int) -> None:
    if code:
        raise ModelError(f"rknn-toolkit2 cannot convert this model: {step} failed", found=f"code {code}")
