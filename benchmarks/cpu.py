"""Fastest precision on a CPU, and its accuracy cost: fp32, bf16 and int8, in ONNX Runtime and OpenVINO.

    python benchmarks/cpu.py --data DIR [--labels NAME]

The int8 file of `quantize` is compared with those of the runtimes' own tools: ONNX Runtime's `quantize_static` with
unsigned activations, as its documentation advises for x86, and NNCF's for transformers (skipped if nncf is not
installed). Speed: one image, all files of a size in one interleaved run. F1: on the validation split of a folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import common
import numpy as np
import onnx
import openvino as ov
from common import Report, Row
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edge_segface.assets import FOLDER
from edge_segface.bench.interleave import interleaved
from edge_segface.data import Dataset
from edge_segface.engine import Engine
from edge_segface.engine.openvino.engine import SPEC_PATH
from edge_segface.evaluate import evaluate
from edge_segface.export.onnx_export import export_onnx
from edge_segface.face.parser import FaceParser
from edge_segface.frames import UInt8Array
from edge_segface.model.checkpoint import load_weights
from edge_segface.models import load_engine
from edge_segface.quantize.calibration.artefact import CalibrationSet
from edge_segface.quantize.calibration.collect import collect
from edge_segface.quantize.calibration.definition import Definition
from edge_segface.quantize.calibration.sources import from_dataset
from edge_segface.quantize.pipeline import quantize_int8
from edge_segface.spec import METADATA_KEY

SIZES = (256, 512)
CALIBRATION_IMAGES = 64
ROUNDS = 40


def main() -> None:
    arguments = common.argument_parser(__doc__)
    common.add_dataset(arguments)
    options = arguments.parse_args()
    train_set, val_set = common.open_split(options, "train"), common.open_split(options, "val")
    rows = [row for size in SIZES for row in rows_of_size(size, train_set, val_set)]
    report = common.new_report("onnxruntime", "openvino", "nncf")
    report["machine"] = {**report["machine"], "features": processor_features()}
    report |= {
        "rounds": ROUNDS,
        "calibrated_on": CALIBRATION_IMAGES,
        "data": f"{len(val_set)} held-out images of {options.data.name}",
        "rows": rows,
    }
    common.write_result("cpu", report)
    print(table(report))


def rows_of_size(size: int, train_set: Dataset, val_set: Dataset) -> list[Row]:
    """Time all files of one input size in one run, then score each."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        engines = {name: load() for name, load in candidates(Path(folder), size, train_set)}
        image = common.noise_image(size)
        works = {name: partial(engine.infer, image) for name, engine in engines.items()}
        seconds = interleaved(works, ROUNDS)
        baseline = next(iter(seconds.values()))
        for name, engine in engines.items():
            row = {
                "size": size,
                "file": name,
                "engine": engine.description,
                "median_ms": common.median_ms(seconds[name]),
                "p90_ms": round(1e3 * float(np.percentile(seconds[name], 90)), 2),
                "ratio": common.speed_up(baseline, seconds[name]),
                "mean_f1": evaluate(FaceParser(engine), val_set).report()["mean_f1"],
            }
            rows.append(row)
            print(row, flush=True)
            engine.close()
    return rows


def candidates(folder: Path, size: int, train_set: Dataset) -> Iterator[tuple[str, Callable[[], Engine]]]:
    """Write the files to compare; yield the name of each and a function that loads it. The first is the baseline."""
    source, ours = folder / "fp32.onnx", folder / "int8.onnx"
    export_onnx(load_weights(FOLDER / "edge.pt"), source, size=size)
    calibration = write_calibration_set(source, train_set, folder / "set.npz")
    quantize_int8(source, folder / "set.npz", ours)
    yield "fp32, ONNX Runtime", lambda: load_engine(source, runtime="onnxruntime")
    yield "fp32, OpenVINO", lambda: load_engine(source, runtime="openvino", precision="fp32")
    if "BF16" in processor_features():
        yield "fp32 file in bf16, OpenVINO", lambda: load_engine(source, runtime="openvino", precision="bf16")
    yield "int8 by `quantize`, ONNX Runtime", lambda: load_engine(ours, runtime="onnxruntime")
    yield "int8 by `quantize`, OpenVINO", lambda: load_engine(ours, runtime="openvino")
    yield "int8 by `quantize`, OpenVINO, rest in fp32", lambda: load_engine(ours, runtime="openvino", precision="fp32")
    static = quantize_by_onnxruntime(source, folder / "u8s8.onnx", calibration.images_bgr)
    yield "int8 convolutions by `quantize_static`, ONNX Runtime", lambda: load_engine(static, runtime="onnxruntime")
    if find_spec("nncf") is None:
        print("skipped: nncf is not installed")
        return
    nncf = quantize_by_nncf(source, folder / "nncf.xml", calibration.images_bgr)
    yield "int8 by NNCF, OpenVINO", lambda: load_engine(nncf)


def write_calibration_set(source: Path, train_set: Dataset, out: Path) -> CalibrationSet:
    with FaceParser(source, runtime="onnxruntime") as parser:
        calibration = collect(
            from_dataset(train_set, parser),
            parser.spec,
            Definition(count=CALIBRATION_IMAGES),
            source="train",
            labelled_by="the dataset",
        )
    calibration.save(out)
    return calibration


class ImageReader(CalibrationDataReader):  # type: ignore[misc]
    """Hands the calibration images to ONNX Runtime, one at a time."""

    def __init__(self, images_bgr: UInt8Array) -> None:
        self.images = iter(images_bgr[:, None])

    def get_next(self) -> dict[str, Any] | None:
        image = next(self.images, None)
        return None if image is None else {"image": image}


def quantize_by_onnxruntime(source: Path, out: Path, images_bgr: UInt8Array) -> Path:
    wrapping = [node.name for node in onnx.load(source).graph.node if node.name.startswith(("/before", "/after"))]
    quantize_static(
        source,
        out,
        ImageReader(images_bgr),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv"],  # ONNX Runtime cannot run some matrix products with per-channel scales
        nodes_to_exclude=wrapping,
    )
    return out


def quantize_by_nncf(source: Path, out: Path, images_bgr: UInt8Array) -> Path:
    import nncf

    quantized = nncf.quantize(
        ov.Core().read_model(source),
        nncf.Dataset(list(images_bgr[:, None])),
        subset_size=len(images_bgr),
        model_type=nncf.ModelType.TRANSFORMER,
    )
    with load_engine(source, runtime="onnxruntime") as engine:
        quantized.set_rt_info(engine.spec.metadata()[METADATA_KEY], SPEC_PATH)
    ov.save_model(quantized, out)
    return out


def processor_features() -> list[str]:
    """Return the precisions and optimisations that OpenVINO reports for this processor."""
    return list(ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def table(report: Report) -> str:
    rows = [
        (
            row["size"],
            row["file"],
            row["median_ms"],
            row["p90_ms"],
            f"{row['ratio']:.2f}",
            f"{row['mean_f1']:.2f}",
        )
        for row in report["rows"]
    ]
    columns = ("input", "file and runtime", "median ms", "p90 ms", "speed-up", "mean F1")
    return common.markdown_table(columns, rows) + common.footer(
        "cpu",
        report,
        f"`edge` weights, one image, {report['rounds']} interleaved rounds. Speed-up over the first row of each input "
        f"size: medians of per-round ratios. Calibrated on {report['calibrated_on']} images; F1 on "
        f"{common.held_out(report['data'])}. OpenVINO reports for this processor: "
        f"{', '.join(report['machine']['features'])}.",
    )


if __name__ == "__main__":
    main()
