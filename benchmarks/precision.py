"""Accuracy cost of fp16 and int8, on images that were neither trained nor calibrated on.

    python benchmarks/precision.py --data DIR [--labels NAME] [MODEL]

Calibrates on the training split and scores on the validation split of a folder. Compares calibration sets chosen for
the long tail with random ones, and the methods of finding ranges with each other.
"""

from __future__ import annotations

import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import common
from common import Report, Row

from edge_segface.assets import DEFAULT_MODEL
from edge_segface.data import Dataset
from edge_segface.face.parser import FaceParser
from edge_segface.models import resolve
from edge_segface.quantize.accuracy_gate import ENOUGH_IMAGES, AccuracyGate
from edge_segface.quantize.calibration.collect import collect
from edge_segface.quantize.calibration.definition import Definition, Strategy
from edge_segface.quantize.calibration.sources import from_dataset
from edge_segface.quantize.options import INT8_DEFAULTS, Int8Options
from edge_segface.quantize.pipeline import QuantizeResult, quantize_fp16, quantize_int8
from edge_segface.train.run_folder import versions

STRATEGIES: tuple[Strategy, ...] = ("long-tail", "random")


@dataclass(frozen=True)
class Variant:
    strategy: Strategy | None = None  # of choosing the calibration set; None for fp16, which needs none
    options: Int8Options = INT8_DEFAULTS


VARIANTS = {
    "fp16": Variant(),
    "int8, long-tail set, entropy": Variant("long-tail"),
    "int8, long-tail set, max": Variant("long-tail", Int8Options("max")),
    "int8, long-tail set, 99.9th percentile": Variant("long-tail", Int8Options("percentile", 99.9)),
    "int8, long-tail set, 99.99th percentile": Variant("long-tail", Int8Options("percentile", 99.99)),
    "int8, long-tail set, 99.999th percentile": Variant("long-tail", Int8Options("percentile", 99.999)),
    "int8, random set, entropy": Variant("random"),
}


def main() -> None:
    arguments = common.argument_parser(__doc__)
    arguments.add_argument("model", nargs="?", default=DEFAULT_MODEL, help=f"Default: {DEFAULT_MODEL}.")
    common.add_dataset(arguments)
    arguments.add_argument("--count", type=int, default=256, help="Images to calibrate on (default: 256).")
    options = arguments.parse_args()
    source = resolve(options.model).path
    train_set, val_set = common.open_split(options, "train"), common.open_split(options, "val")
    gate = AccuracyGate(val_set, max_drop=0.25)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        sets = write_calibration_sets(source, train_set, options.count, Path(folder))
        for name, variant in VARIANTS.items():
            start, out = time.perf_counter(), Path(folder) / "out.onnx"
            result = quantized(variant, source, sets, out, gate)
            rows.append(row(name, result, out, time.perf_counter() - start))
            print(rows[-1], flush=True)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = {
        **common.new_report(),
        "versions": versions(),
        "model": options.model,
        "source_mb": round(source.stat().st_size / 1e6, 1),
        "calibrated_on": options.count,
        "scored_on": len(val_set),
        "data": options.data.name,
        "peak_memory_of_modelopt_mb": round(children.ru_maxrss / 1e3),
        "rows": rows,
    }
    common.write_result("precision", report)
    print(table(report))


def write_calibration_sets(source: Path, train_set: Dataset, count: int, folder: Path) -> dict[Strategy, Path]:
    """Write a calibration set chosen by each strategy."""
    sets: dict[Strategy, Path] = {}
    with FaceParser(source, runtime="onnxruntime") as parser:
        for strategy in STRATEGIES:
            chosen = collect(
                from_dataset(train_set, parser),
                parser.spec,
                Definition(count=count, strategy=strategy),
                source=train_set.root.name,
                labelled_by="the dataset",
            )
            sets[strategy] = folder / f"{strategy}.npz"
            chosen.save(sets[strategy])
    return sets


def quantized(
    variant: Variant, source: Path, sets: dict[Strategy, Path], out: Path, gate: AccuracyGate
) -> QuantizeResult:
    """Quantize and measure the accuracy drop, however large."""
    if variant.strategy is None:
        return quantize_fp16(source, out, gate=gate, allow_drop=True)
    calibration = sets[variant.strategy]
    return quantize_int8(source, calibration, out, options=variant.options, gate=gate, allow_drop=True)


def row(name: str, result: QuantizeResult, out: Path, seconds: float) -> Row:
    drop, model = result.drop, result.model
    assert drop is not None  # measured by the gate
    counted = {
        drop.space.names[index]: float(drop.drops[index])
        for index in range(1, len(drop.space))
        if drop.images_with_class[index] >= ENOUGH_IMAGES
    }
    worst = max(counted, key=lambda part: counted[part])
    return {
        "variant": name,
        "mean_f1": round(drop.after.matrix.mean_f1(), 2),
        "mean_drop": round(drop.mean_drop, 3),
        "long_tail_drop": round(drop.before.long_tail_f1() - drop.after.long_tail_f1(), 3),
        "worst_class": worst,
        "worst_drop": round(counted[worst], 3),
        "int8_share": round(100 * model.int8_share, 1),
        "kept": sorted(model.spec.kept or {}),
        "file_mb": round(out.stat().st_size / 1e6, 1),
        "seconds": round(seconds, 1),
    }


def table(report: Report) -> str:
    columns = ("file", "mean F1", "drop", "long-tail drop", "largest class drop", "int8, % of work", "MB", "s")
    rows = [
        (
            row["variant"] + (f" (kept: {', '.join(row['kept'])})" if row["kept"] else ""),
            f"{row['mean_f1']:.2f}",
            f"{row['mean_drop']:.2f}",
            f"{row['long_tail_drop']:.2f}",
            f"{row['worst_class']} {row['worst_drop']:.2f}",
            row["int8_share"] or "-",
            row["file_mb"],
            round(row["seconds"]),
        )
        for row in report["rows"]
    ]
    return common.markdown_table(columns, rows) + common.footer(
        "precision",
        report,
        f"`{report['model']}` ({report['source_mb']} MB), calibrated on {report['calibrated_on']} images, scored on "
        f"{report['scored_on']} others of {report['data']}, in ONNX Runtime. Largest class drop: of the classes in at "
        f"least {ENOUGH_IMAGES} images. Work: multiply-adds of convolutions and linear layers. Seconds: quantizing, "
        f"scanning and scoring together; modelopt used at most {report['peak_memory_of_modelopt_mb']} MB.",
        packages=(),
    )


if __name__ == "__main__":
    main()
