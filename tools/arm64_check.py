"""Part of tools/arm64.sh: `run` parses the built-in portrait in ONNX Runtime and ncnn, `compare` compares two runs."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np

from edge_segface.assets import PORTRAIT
from edge_segface.engine import Runtime
from edge_segface.face.parser import FaceParser
from edge_segface.frames import UInt8Array

LEAST_EQUAL = 0.999  # share of pixels


def main() -> None:
    command, first, second = sys.argv[1:]
    if command == "run":
        run(first, Path(second))
    else:
        compare(Path(first), Path(second))


def run(ncnn_model: str, out: Path) -> None:
    np.savez(out, onnxruntime=labels_by("edge-256", "onnxruntime"), ncnn=labels_by(ncnn_model, "ncnn"))


def labels_by(model: str, runtime: Runtime) -> UInt8Array:
    with FaceParser(model, runtime=runtime) as parser:
        print(f"{platform.machine()}, Python {platform.python_version()}: {parser.engine.description}")
        return parser(PORTRAIT).labels


def compare(one: Path, other: Path) -> None:
    with np.load(one) as here, np.load(other) as there:
        for name in here.files:
            share = float(np.mean(here[name] == there[name]))
            print(f"{name}: {100 * share:.3f} % of pixels of the same class")
            if share < LEAST_EQUAL:
                raise SystemExit(1)


if __name__ == "__main__":
    main()
