"""The layers of the package: an import may point down or within one package, never up or sideways."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import edge_segface

ROOT = Path(edge_segface.__file__).parent

# From the bottom up. Packages of one layer do not import each other, except in the base layer.
BASE = (
    "errors redaction labels face_score frames masks spec metrics files documents signals progress typed extras timing "
    "machine paper board isolation image_io draw assets regions fetch warp onnx_cost coco soft_edges compositing "
    "installation seal telemetry"
)
LAYERS = [
    BASE,
    "engine",
    "model data",
    "models",
    "face",
    "evaluate camera bench",
    "train export",
    "quantize",
    "build serving demo doctor benchmark model_info",
    "cli",
]
RANK = {package: rank for rank, packages in enumerate(LAYERS) for package in packages.split()}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level package of every import of ours, also inside functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "edge_segface":
            yield from ((node.lineno, alias.name) for alias in node.names if not alias.name.startswith("__"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("edge_segface."):
            yield node.lineno, node.module.split(".")[1]


def test_imports_point_down() -> None:
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT)
        package = relative.parts[0].removesuffix(".py")
        if package in ("__init__", "__main__"):  # the public API and the command line sit on top of everything
            continue
        for line, imported in imports(path):
            up = RANK[imported] > RANK[package]
            sideways = RANK[imported] == RANK[package] > 0 and imported != package
            if up or sideways:
                wrong.append(f"{relative}:{line} imports {imported}")
    assert wrong == []


def test_every_package_has_a_layer() -> None:
    packages = {path.stem for path in ROOT.glob("*.py")} | {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"__init__", "__main__"} == set(RANK)
