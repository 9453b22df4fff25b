"""Puts the tables that benchmarks wrote into the README, between the comments that name their files.

python benchmarks/tables.py [--check]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def filled(text: str) -> str:
    def with_table(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{(ROOT / match[1]).read_text(encoding='utf-8')}<!-- end -->"

    return re.sub(r"<!-- (\S+\.md) -->\n.*?<!-- end -->", with_table, text, flags=re.DOTALL)


def main() -> int:
    text = README.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        return 0 if filled(text) == text else 1
    README.write_text(filled(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
