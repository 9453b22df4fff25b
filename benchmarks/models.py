"""The bundled models: size, accuracy, and speed in each CPU runtime.

    python benchmarks/models.py [--rounds N]

Latencies come from one interleaved run of all models in ONNX Runtime and OpenVINO, on one image. F1 is read from
results/accuracy.json, which benchmarks/accuracy.py writes.
"""

from __future__ import annotations

import common
from common import Report, Row

from edge_segface.assets import BUNDLED
from edge_segface.bench.interleave import time_runtimes
from edge_segface.models import load_engine

ROUNDS = 40
LICENCE = "non-commercial research"  # of the training images, and so of all bundled weights
RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def main() -> None:
    arguments = common.argument_parser(__doc__)
    common.add_rounds(arguments, ROUNDS)
    options = arguments.parse_args()
    accuracy = {row["model"]: row for row in common.read_result("accuracy")["rows"]}
    rows = {name: properties(name, accuracy[name]) for name in sorted(BUNDLED)}
    for timed in time_runtimes({name: BUNDLED[name] for name in rows}, options.rounds):
        rows[timed.model]["median_ms"][timed.runtime] = round(timed.median_ms, 2)
    report = {
        **common.new_report(*RUNTIMES),
        "rounds": options.rounds,
        "scored_images": min(accuracy[name]["pictures"] for name in rows),
        "rows": list(rows.values()),
    }
    common.write_result("models", report)
    print(table(report))


def properties(name: str, accuracy: Row) -> Row:
    """Return what is known of a model before it is timed."""
    with load_engine(BUNDLED[name]) as engine:
        spec = engine.spec
    return {
        "model": name,
        "input_size": spec.input_size,
        "file_mb": round(BUNDLED[name].stat().st_size / 1e6, 1),
        "precision": spec.precision,
        "mean_f1": accuracy["mean_f1"],
        "long_tail_f1": accuracy["long_tail_f1"],
        "median_ms": {},
        "licence": LICENCE,
    }


def table(report: Report) -> str:
    columns = ["model", "input", "MB", "mean F1", "long-tail F1", *(f"{title} ms" for title in RUNTIMES.values())]
    rows = [
        [
            f"`{row['model']}`",
            row["input_size"],
            row["file_mb"],
            f"{row['mean_f1']:.1f}",
            f"{row['long_tail_f1']:.1f}",
            *(f"{row['median_ms'][name]:.1f}" if name in row["median_ms"] else "-" for name in RUNTIMES),
            row["licence"],
        ]
        for row in report["rows"]
    ]
    return common.markdown_table([*columns, "licence"], rows) + common.footer(
        "models",
        report,
        f"F1 on {report['scored_images']} held-out images. Latency: one image, medians of {report['rounds']} "
        "interleaved rounds.",
    )


if __name__ == "__main__":
    main()
