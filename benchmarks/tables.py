"""Puts tables of what benchmarks measured into the README, between the comments that name their files.

python benchmarks/tables.py [--check]
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import rewrite

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def filled(text: str) -> str:
    def with_table(match: re.Match[str]) -> str:
        report = json.loads((ROOT / match[1]).read_text(encoding="utf-8"))
        return f"<!-- {match[1]} -->\n{rewrite.table(report)}<!-- end -->"

    return re.sub(r"<!-- (\S+\.json) -->\n.*?<!-- end -->", with_table, text, flags=re.DOTALL)


def main() -> int:
    text = README.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        return 0 if filled(text) == text else 1
    README.write_text(filled(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
