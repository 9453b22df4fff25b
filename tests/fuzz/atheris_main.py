"""Give one target to Atheris: `python -m tests.fuzz.atheris_main TARGET [options of libFuzzer]`."""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path


def main() -> None:
    atheris = import_module("atheris")

    with atheris.instrument_imports(include=["edge_segface"]):
        from tests.fuzz.examples import EXAMPLES
        from tests.fuzz.targets import TARGETS

    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as corpus:
        for number, content in enumerate(EXAMPLES[name]):
            (Path(corpus) / str(number)).write_bytes(content)
        atheris.Setup([*sys.argv, corpus], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
