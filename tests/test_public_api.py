from __future__ import annotations

import doctest
import subprocess
import sys
from importlib import import_module

import pytest

import edge_segface


@pytest.mark.parametrize("name", edge_segface.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(edge_segface, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'FaceParsers'"):
        _ = edge_segface.FaceParsers


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, edge_segface; print(*(set(sys.modules) & {'numpy', 'cv2', 'torch', 'onnxruntime', 'typer'}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


@pytest.mark.parametrize(
    "name",
    [
        "FaceParser",
        "ParsedImage",
        "FaceFinder",
        "parse_stream",
        "load_engine",
        "ClassMap",
        "RoI",
        "Frame",
        "LabelSpace",
    ],
)
def test_examples_in_docstrings_run(name: str) -> None:
    public = getattr(edge_segface, name)
    module = import_module(public.__module__)
    names = {**vars(module), **{each: getattr(edge_segface, each) for each in edge_segface.__all__}}
    if name == "ClassMap":
        names["CELEBAMASK19"] = edge_segface.label_space("celebamask19")
    found = doctest.DocTestFinder(recurse=False).find(public, name, module=module, globs=names)
    assert sum(len(test.examples) for test in found) > 0
    runner = doctest.DocTestRunner(verbose=False)
    for test in found:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
