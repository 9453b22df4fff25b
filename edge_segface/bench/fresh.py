"""One engine in a process of its own: how long it takes to load and to answer first, and how much memory it needs.

Run by `measure`, which hands the file and the options over as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from edge_segface.bench.measure import most_memory_mb, pictures
from edge_segface.engine import load_engine
from edge_segface.errors import EdgeSegfaceError


def main() -> None:
    asked = json.loads(sys.argv[1])
    before = most_memory_mb()
    start = time.perf_counter()
    try:
        with load_engine(Path(asked.pop("path")), **asked) as engine:
            loaded = time.perf_counter()
            picture = pictures(engine, 1)
            first = time.perf_counter()
            engine.infer_all(picture)
            ended = time.perf_counter()
            for _ in range(3):
                engine.infer_all(picture)
    except EdgeSegfaceError as error:
        sys.exit(f"error: {error}")
    after = most_memory_mb()
    sys.stdout.write(
        json.dumps(
            {
                "load_ms": round(1e3 * (loaded - start), 2),
                "first_ms": round(1e3 * (ended - first), 2),
                "peak_mb": after,
                "peak_mb_above_start": None if after is None or before is None else round(after - before, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
