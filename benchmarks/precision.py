"""What fp16 and int8 cost in accuracy, on pictures that were neither trained nor calibrated on.

    python benchmarks/precision.py --data DIR [--labels NAME] [MODEL]

Calibrates on the training split and scores on the validation split of a folder. Sets chosen for the long tail are
compared with sets chosen by chance, and the ways of finding ranges with each other.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from edge_segface.assets import DEFAULT_MODEL
from edge_segface.data import open_dataset
from edge_segface.face.parser import FaceParser
from edge_segface.files import write_text
from edge_segface.labels import label_space
from edge_segface.machine import machine_info
from edge_segface.models import resolve
from edge_segface.quantize.accuracy_gate import AccuracyGate
from edge_segface.quantize.calibration.collect import collect
from edge_segface.quantize.calibration.definition import Definition
from edge_segface.quantize.calibration.sources import from_dataset
from edge_segface.quantize.options import Int8Options
from edge_segface.quantize.pipeline import QuantizeResult, quantize
from edge_segface.train.run_folder import versions

RESULT = Path(__file__).parent / "results" / "precision.json"
VARIANTS: dict[str, dict[str, Any]] = {
    "fp16": {"precision": "fp16"},
    "int8, long-tail set, entropy": {"precision": "int8"},
    "int8, long-tail set, max": {"precision": "int8", "method": "max"},
    "int8, long-tail set, 99.9th percentile": {"precision": "int8", "method": "percentile", "percentile": 99.9},
    "int8, long-tail set, 99.99th percentile": {"precision": "int8", "method": "percentile", "percentile": 99.99},
    "int8, long-tail set, 99.999th percentile": {"precision": "int8", "method": "percentile", "percentile": 99.999},
    "int8, random set, entropy": {"precision": "int8", "strategy": "random"},
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", nargs="?", default=DEFAULT_MODEL)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--labels", default="celebamask19")
    options.add_argument("--count", type=int, default=256)
    asked = options.parse_args()
    space, source = label_space(asked.labels), resolve(asked.model).path
    train_set, val_set = (open_dataset("folder", asked.data, split, space) for split in ("train", "val"))
    gate = AccuracyGate(val_set, max_drop=0.25)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        sets = {}
        with FaceParser(source) as parser:
            for strategy in ("long-tail", "random"):
                wish = Definition(count=asked.count, strategy=strategy)  # type: ignore[arg-type]
                made = collect(
                    from_dataset(train_set, parser),
                    parser.spec,
                    wish,
                    source=train_set.root.name,
                    labelled_by="the dataset",
                )
                sets[strategy] = Path(folder) / f"{strategy}.npz"
                made.save(sets[strategy])
        for name, how in VARIANTS.items():
            start = time.perf_counter()
            out = Path(folder) / "out.onnx"
            options = Int8Options(**{key: value for key, value in how.items() if key in ("method", "percentile")})
            chosen = sets[how.get("strategy", "long-tail")] if how["precision"] == "int8" else None
            result = quantize(source, how["precision"], chosen, out, options=options, gate=gate, allow_drop=True)
            rows.append(row(name, result, out, time.perf_counter() - start))
            print(rows[-1], flush=True)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = {
        "schema": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine_info(),
        "versions": versions(),
        "model": asked.model,
        "source_mb": round(source.stat().st_size / 1e6, 1),
        "calibrated_on": asked.count,
        "scored_on": len(val_set),
        "data": asked.data.name,
        "peak_memory_of_modelopt_mb": round(children.ru_maxrss / 1e3),
        "rows": rows,
    }
    write_text(json.dumps(report, indent=2) + "\n", RESULT)
    print(table(report))


def row(name: str, result: QuantizeResult, out: Path, seconds: float) -> dict[str, Any]:
    drop = result.drop
    assert drop is not None
    before, after = drop.before, drop.after
    judged = {
        drop.space.names[index]: float(drop.drops[index])
        for index in range(1, len(drop.space))
        if drop.images_with_class[index] >= 30
    }
    worst = max(judged, key=lambda each: judged[each])
    return {
        "variant": name,
        "mean_f1": round(after.matrix.mean_f1(), 2),
        "mean_drop": round(drop.mean_drop, 3),
        "long_tail_drop": round(before.long_tail_f1() - after.long_tail_f1(), 3),
        "worst_class": worst,
        "worst_drop": round(judged[worst], 3),
        "int8_share": round(100 * result.model.int8_share, 1),
        "kept": sorted(result.model.spec.kept or {}),
        "file_mb": round(out.stat().st_size / 1e6, 1),
        "seconds": round(seconds, 1),
    }


def table(report: dict[str, Any]) -> str:
    titles = ("file", "mean F1", "drop", "long-tail drop", "worst class with 30 pictures", "int8, % of work", "MB", "s")
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for each in report["rows"]:
        name = each["variant"] + (f" (kept: {', '.join(each['kept'])})" if each["kept"] else "")
        worst = f"{each['worst_class']} {each['worst_drop']:.2f}"
        drops = (f"{each['mean_f1']:.2f}", f"{each['mean_drop']:.2f}", f"{each['long_tail_drop']:.2f}")
        share = each["int8_share"] or "-"
        cells = (name, *drops, worst, share, each["file_mb"], round(each["seconds"]))
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    where = report["machine"]
    lines += [
        "",
        f"`{report['model']}` ({report['source_mb']} MB) calibrated on {report['calibrated_on']} pictures, scored on "
        f"{report['scored_on']} others of {report['data']}, in ONNX Runtime on {where['cpu']}, {where['cores']} cores. "
        "Work: multiply-adds of convolutions and linear layers. Seconds: lowering, scanning and scoring together; "
        f"modelopt took at most {report['peak_memory_of_modelopt_mb']} MB. {report['date']}. "
        "Made by `benchmarks/precision.py`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
