"""F1 of the bundled models on held-out images.

    python benchmarks/accuracy.py --data DIR [--labels NAME] [MODEL...]

Scores the validation split of a folder. That split also chose the weights; the model card says what this means.
"""

from __future__ import annotations

from collections.abc import Callable

import common
from common import Report, Row

from edge_segface.assets import BUNDLED
from edge_segface.evaluate import evaluate
from edge_segface.face.parser import FaceParser
from edge_segface.labels import CELEBAMASK19


def main() -> None:
    arguments = common.argument_parser(__doc__)
    arguments.add_argument("models", nargs="*", default=list(BUNDLED), metavar="MODEL", help="Default: all bundled.")
    common.add_dataset(arguments)
    options = arguments.parse_args()
    val_set = common.open_split(options, "val")
    rows = []
    for model in options.models:
        with FaceParser(model, runtime="onnxruntime") as parser:
            scores = evaluate(parser, val_set).report()
            rows.append({"model": parser.spec.name, "engine": parser.engine.description, **scores})
    report = {
        **common.new_report("onnxruntime"),
        "data": f"{len(val_set)} held-out images of {options.data.name}, scored at their own size",
        "rows": rows,
    }
    common.write_result("accuracy", report)
    print(table(report))


def table(report: Report) -> str:
    models: list[Row] = report["rows"]
    long_tail = {CELEBAMASK19.names[index] for index in CELEBAMASK19.long_tail}

    def line(title: str, score: Callable[[Row], float | None]) -> list[str]:
        return [title, *("-" if (value := score(row)) is None else f"{value:.1f}" for row in models)]

    rows = [
        line("**mean without background**", lambda row: row["mean_f1"]),
        line("**long-tail mean**", lambda row: row["long_tail_f1"]),
    ]
    for name, title in zip(CELEBAMASK19.names, CELEBAMASK19.titles, strict=True):
        rows.append(line(title + (" (long tail)" if name in long_tail else ""), lambda row, name=name: row["f1"][name]))  # type: ignore[misc]
    rows.append(line("mIoU", lambda row: row["miou"]))
    return common.markdown_table(["F1", *(row["model"] for row in models)], rows) + common.footer(
        "accuracy", report, f"{common.held_out(report['data'])}; {models[0]['engine']}.", packages=()
    )


if __name__ == "__main__":
    main()
