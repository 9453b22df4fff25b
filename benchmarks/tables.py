"""Puts tables of what benchmarks measured into the README and docs/, between the comments that name their files.

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

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "benchmarks/README.md", "edge_segface/weights/CARD.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
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


def filled(text: str) -> str:
    def with_table(match: re.Match[str]) -> str:
        path = ROOT / match[1]
        report = json.loads(path.read_text(encoding="utf-8"))
        return f"<!-- {match[1]} -->\n{TABLES[path.stem](report)}<!-- end -->"

    return re.sub(r"<!-- (\S+\.json) -->\n.*?<!-- end -->", with_table, text, flags=re.DOTALL)


def main() -> int:
    stale = [page for page in PAGES if filled(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")]
    if "--check" in sys.argv:
        return 1 if stale else 0
    for page in stale:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
