"""Write the tables and figures of all saved results into the pages.

    python benchmarks/tables.py [--check]

In README.md, docs/, benchmarks/README.md and the model card, the text between `<!-- benchmarks/results/NAME.json -->`
and `<!-- end -->` is replaced by the table of that file. Figures are written beside their results.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import ablation
import accuracy
import bad_inputs
import common
import cpu
import engines
import estimates
import finder
import growth
import loop
import models
import paper
import peers
import photos
import power_cut
import precision
import rewrite
import scenes
import soak
import targets

from edge_segface.bench.plots import svg_file

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "benchmarks/README.md", "edge_segface/assets/CARD.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
TABLES = {
    "ablation": ablation.table,
    "accuracy": accuracy.table,
    "bad_inputs": bad_inputs.table,
    "cpu": cpu.table,
    "engines": engines.table,
    "estimates": estimates.table,
    "finder": finder.table,
    "growth": growth.table,
    "loop": loop.table,
    "models": models.table,
    "paper": paper.table,
    "peers": peers.table,
    "photos": photos.table,
    "power_cut": power_cut.table,
    "precision": precision.table,
    "rewrite": rewrite.table,
    "scenes": scenes.table,
    "targets": targets.table,
    "soak": soak.table,
}
FIGURES = {"growth": growth.figure, "loop": loop.figure, "paper": paper.figure, "peers": peers.figure}


def table_of(path: Path) -> str:
    """Return the table of a result. `paper-GPU.json`, from another machine, is laid out like `paper.json`."""
    return TABLES[path.stem.split("-")[0]](json.loads(path.read_text(encoding="utf-8")))


def with_tables(text: str) -> str:
    """Return the text of a page with every table regenerated."""

    def block(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{table_of(ROOT / match[1])}<!-- end -->"

    return re.sub(r"<!-- (\S+\.json) -->\n.*?<!-- end -->", block, text, flags=re.DOTALL)


def generated_files() -> dict[Path, str]:
    """Return every page and figure as it should be."""
    files = {page: with_tables(page.read_text(encoding="utf-8")) for page in PAGES}
    for name, figure in FIGURES.items():
        files[common.result_path(name).with_suffix(".svg")] = svg_file(figure(common.read_result(name)))
    return files


def main() -> int:
    arguments = common.argument_parser(__doc__)
    arguments.add_argument("--check", action="store_true", help="Write nothing; exit with 1 if a file is out of date.")
    options = arguments.parse_args()
    stale = {
        path: content
        for path, content in generated_files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    }
    for path, content in stale.items():
        if options.check:
            print(f"{path} is out of date; run: python benchmarks/tables.py")
        else:
            path.write_text(content, encoding="utf-8")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
