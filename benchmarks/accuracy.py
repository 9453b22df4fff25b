"""How well bundled models parse pictures that they were not trained on.

    python benchmarks/accuracy.py --data DIR [--labels NAME] [MODEL...]

The pictures are the validation split of a folder, which chose the weights; see the card for what that means.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from edge_segface.assets import BUNDLED
from edge_segface.data import open_dataset
from edge_segface.evaluate import evaluate
from edge_segface.face.parser import FaceParser
from edge_segface.files import write_text
from edge_segface.labels import CELEBAMASK19, label_space
from edge_segface.machine import machine_info

RESULT = Path(__file__).parent / "results" / "accuracy.json"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("models", nargs="*", default=list(BUNDLED))
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--labels", default="celebamask19")
    asked = options.parse_args()
    pictures = open_dataset("folder", asked.data, "val", label_space(asked.labels))
    rows = []
    for model in asked.models:
        with FaceParser(model) as parser:
            scores = evaluate(parser, pictures).report()
            rows.append({"model": parser.spec.name, "engine": parser.engine.description, **scores})
    report = {
        "schema": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine_info(),
        "data": f"{len(pictures)} pictures of {asked.data.name} that were not trained on, scored at their own size",
        "rows": rows,
    }
    write_text(json.dumps(report, indent=2) + "\n", RESULT)
    print(table(report))


def table(report: dict[str, Any]) -> str:
    rows = report["rows"]
    parts = dict(zip(CELEBAMASK19.names, CELEBAMASK19.titles, strict=True))
    tail = [CELEBAMASK19.names[index] for index in CELEBAMASK19.long_tail]
    lines = ["| F1 | " + " | ".join(row["model"] for row in rows) + " |", "|---|" + "---|" * len(rows)]
    for words, values in (
        ("**mean, without background**", [row["mean_f1"] for row in rows]),
        ("**long-tail mean**", [row["long_tail_f1"] for row in rows]),
        *(
            (parts[name] + (" (long tail)" if name in tail else ""), [row["f1"][name] for row in rows])
            for name in parts
        ),
        ("mIoU", [row["miou"] for row in rows]),
    ):
        lines.append(f"| {words} | " + " | ".join("-" if value is None else f"{value:.1f}" for value in values) + " |")
    lines += ["", f"{report['data']}; {rows[0]['engine']}, {report['date']}. Made by `benchmarks/accuracy.py`."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
