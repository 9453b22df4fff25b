"""What runs fastest on a processor, and what that costs: fp32, bf16 and int8, in ONNX Runtime and OpenVINO.

    python benchmarks/cpu.py --data DIR [--labels NAME]

Beside the int8 file that `quantize` writes stand those of the runtimes' own tools: ONNX Runtime's `quantize_static`
with unsigned activations, as it advises for x86, and NNCF's for transformers (left out if nncf is not installed).
Speed: one picture, all files of a size in turns, in one process. F1: on the validation split of a folder.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edge_segface.assets import FOLDER
from edge_segface.bench.interleave import interleaved
from edge_segface.data import Dataset, open_dataset
from edge_segface.engine import Engine
from edge_segface.engine.openvino.engine import SPEC_PATH
from edge_segface.evaluate import evaluate
from edge_segface.export.onnx_export import export_onnx
from edge_segface.face.parser import FaceParser
from edge_segface.files import write_text
from edge_segface.frames import UInt8Array
from edge_segface.labels import label_space
from edge_segface.machine import machine_info
from edge_segface.model.checkpoint import load_weights
from edge_segface.models import load_engine
from edge_segface.quantize.calibration.collect import collect
from edge_segface.quantize.calibration.definition import Definition
from edge_segface.quantize.calibration.sources import from_dataset
from edge_segface.quantize.pipeline import quantize_int8
from edge_segface.spec import METADATA_KEY

RESULT = Path(__file__).parent / "results" / "cpu.json"
SIZES = (256, 512)
CALIBRATE_ON = 64
ROUNDS = 40


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--labels", default="celebamask19")
    asked = options.parse_args()
    space = label_space(asked.labels)
    train_set, val_set = (open_dataset("folder", asked.data, split, space) for split in ("train", "val"))
    rows = []
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            engines = {label: make() for label, make in candidates(Path(name), size, train_set)}
            picture = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
            works = {label: partial(engine.infer, picture) for label, engine in engines.items()}
            seconds = {label: np.array(values) for label, values in interleaved(works, ROUNDS).items()}
            first = next(iter(seconds.values()))
            for label, engine in engines.items():
                row = {
                    "size": size,
                    "file": label,
                    "engine": engine.description,
                    "median_ms": round(1e3 * float(np.median(seconds[label])), 2),
                    "p90_ms": round(1e3 * float(np.percentile(seconds[label], 90)), 2),
                    "ratio": round(float(np.median(first / seconds[label])), 2),
                    "mean_f1": evaluate(FaceParser(engine), val_set).report()["mean_f1"],
                }
                rows.append(row)
                print(row, flush=True)
                engine.close()
    report = {
        "schema": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": {**machine_info(), "features": processor_features()},
        "versions": {name: version(name) for name in ("onnxruntime", "openvino", "nncf") if find_spec(name)},
        "rounds": ROUNDS,
        "calibrated_on": CALIBRATE_ON,
        "data": f"{len(val_set)} pictures of {asked.data.name} that were not trained on",
        "rows": rows,
    }
    write_text(json.dumps(report, indent=2) + "\n", RESULT)
    print(table(report))


def candidates(folder: Path, size: int, train_set: Dataset) -> Iterator[tuple[str, Callable[[], Engine]]]:
    source, ours = folder / "fp32.onnx", folder / "int8.onnx"
    export_onnx(load_weights(FOLDER / "edge.pt"), source, size=size)
    with FaceParser(source) as parser:
        wish = Definition(count=CALIBRATE_ON)
        calibration = collect(
            from_dataset(train_set, parser), parser.spec, wish, source="train", labelled_by="the dataset"
        )
    calibration.save(folder / "set.npz")
    quantize_int8(source, folder / "set.npz", ours)
    yield "fp32, ONNX Runtime", lambda: load_engine(source)
    yield "fp32, OpenVINO", lambda: load_engine(source, runtime="openvino", precision="fp32")
    if "BF16" in processor_features():
        yield "fp32 file in bf16, OpenVINO", lambda: load_engine(source, runtime="openvino", precision="bf16")
    yield "int8 by `quantize`, ONNX Runtime", lambda: load_engine(ours)
    yield "int8 by `quantize`, OpenVINO", lambda: load_engine(ours, runtime="openvino")
    yield "int8 by `quantize`, OpenVINO, rest in fp32", lambda: load_engine(ours, runtime="openvino", precision="fp32")
    theirs = by_onnxruntime(source, folder / "u8s8.onnx", calibration.images_bgr)
    yield "int8 convolutions by `quantize_static`, ONNX Runtime", lambda: load_engine(theirs)
    if find_spec("nncf") is None:
        print("nncf is not installed: its rows are left out")
        return
    nncf = by_nncf(source, folder / "nncf.xml", calibration.images_bgr)
    yield "int8 by NNCF, OpenVINO", lambda: load_engine(nncf)


def by_onnxruntime(source: Path, out: Path, images_bgr: UInt8Array) -> Path:
    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(images_bgr[:, None])

        def get_next(self) -> dict[str, Any] | None:
            picture = next(self.left, None)
            return None if picture is None else {"image": picture}

    wrapping = [node.name for node in onnx.load(source).graph.node if node.name.startswith(("/before", "/after"))]
    quantize_static(
        source,
        out,
        Pictures(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv"],  # of matrix products it cannot run some with a scale a channel
        nodes_to_exclude=wrapping,
    )
    return out


def by_nncf(source: Path, out: Path, images_bgr: UInt8Array) -> Path:
    import nncf

    with load_engine(source) as engine:
        spec = engine.spec
    quantized = nncf.quantize(
        ov.Core().read_model(source),
        nncf.Dataset(list(images_bgr[:, None])),
        subset_size=len(images_bgr),
        model_type=nncf.ModelType.TRANSFORMER,
    )
    quantized.set_rt_info(spec.metadata()[METADATA_KEY], SPEC_PATH)
    ov.save_model(quantized, out)
    return out


def processor_features() -> list[str]:
    return list(ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def table(report: dict[str, Any]) -> str:
    titles = ("input", "file and runtime", "median ms", "p90 ms", "times as fast", "mean F1")
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for row in report["rows"]:
        cells = (
            row["size"],
            row["file"],
            row["median_ms"],
            row["p90_ms"],
            f"{row['ratio']:.2f}",
            f"{row['mean_f1']:.2f}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    where = report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    lines += [
        "",
        f"`edge` weights, one picture at a time on {where['cpu']}, {where['cores']} cores, which OpenVINO says can "
        f"{', '.join(where['features'])}; {versions}; {report['rounds']} interleaved rounds, times as fast: medians of "
        f"round by round ratios. Calibrated on {report['calibrated_on']} pictures, F1 on {report['data']}. "
        f"{report['date']}. Made by `benchmarks/cpu.py`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
