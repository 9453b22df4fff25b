"""Puts tables of what benchmarks measured into the README and docs/, between the comments that name their files, and
draws the pictures in results/.

python benchmarks/tables.py [--check]
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import ablation
import accuracy
import cpu
import engines
import estimates
import loop
import paper
import peers
import precision
import rewrite
import scenes

from edge_segface.bench.plots import by_itself

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "benchmarks/README.md", "edge_segface/assets/CARD.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
PICTURES = {"loop": loop.picture, "paper": paper.picture, "peers": peers.picture}
TABLES = {
    "rewrite": rewrite.table,
    "scenes": scenes.table,
    "ablation": ablation.table,
    "accuracy": accuracy.table,
    "cpu": cpu.table,
    "engines": engines.table,
    "estimates": estimates.table,
    "loop": loop.table,
    "paper": paper.table,
    "peers": peers.table,
    "precision": precision.table,
}


def table_of(path: Path) -> str:
    """`paper-some-gpu.json` is told by `paper`, as are all results of other machines."""
    table: str = TABLES[path.stem.split("-")[0]](json.loads(path.read_text(encoding="utf-8")))
    return table


def filled(text: str) -> str:
    def with_table(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{table_of(ROOT / match[1])}<!-- end -->"

    return re.sub(r"<!-- (\S+\.json) -->\n.*?<!-- end -->", with_table, text, flags=re.DOTALL)


def made() -> dict[Path, str]:
    """Every page and picture as it should be."""
    files = {page: filled(page.read_text(encoding="utf-8")) for page in PAGES}
    for name, draw in PICTURES.items():
        result = ROOT / "benchmarks" / "results" / f"{name}.json"
        files[result.with_suffix(".svg")] = by_itself(draw(json.loads(result.read_text(encoding="utf-8"))))
    return files


def main() -> int:
    stale = {
        path: content
        for path, content in made().items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    }
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path} is not what its JSON says")
        return 1 if stale else 0
    for path, content in stale.items():
        path.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
