"""The command line and the files that scripts rely on, compared with recorded lists: nothing recorded may vanish."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer

from edge_segface.cli import app
from tests.conftest import run_cli

RECORDED = Path(__file__).parent / "data"
OPEN_ENDED = {
    "f1",
    "iou",
    "shares",
    "versions",
    "f1_drop",
    "pictures_with",
    "pixels_of",
}  # keyed by class or package


def recorded(name: str) -> set[str]:
    return set((RECORDED / name).read_text(encoding="utf-8").splitlines())


def choices(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [str(value) for value in typing.get_args(annotation)]
    return [choice for inner in typing.get_args(annotation) for choice in choices(inner)]


def described(command: str, parameter: Any) -> str:
    """One line for a parameter: its long names, and what it accepts."""
    default = parameter.default() if callable(parameter.default) else parameter.default
    facts = ["required"] if parameter.required else [] if default is None else [f"default {default}"]
    if accepted := choices(parameter.type_descriptor.annotation):
        facts.append("one of " + "|".join(accepted))
    if parameter.min is not None or parameter.max is not None:
        facts.append(f"{parameter.min}..{parameter.max}")
    if parameter.multiple:
        facts.append("repeatable")
    if parameter.nargs != 1:
        facts.append(f"{parameter.nargs} values")
    if getattr(parameter, "is_flag", False):
        facts.append("flag")
    names = "/".join(sorted(name for name in all_names(parameter) if not is_short(name)))
    return f"{command} {names}: {', '.join(facts)}" if facts else f"{command} {names}"


def all_names(parameter: Any) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts]


def is_short(name: str) -> bool:
    return name.startswith("-") and not name.startswith("--")


def short_names(command: str, parameter: Any) -> set[str]:
    """One line for each short name of an option."""
    long_name = next((name for name in parameter.opts if not is_short(name)), "")
    return {f"{command} {name}: {long_name}" for name in all_names(parameter) if is_short(name)}


def key_paths(value: object, path: str = "") -> Iterator[str]:
    """Dotted paths of all keys in JSON-like data; `[]` stands for the items of a list."""
    if isinstance(value, dict) and path.rpartition(".")[2] not in OPEN_ENDED:
        for key, inner in value.items():
            yield from key_paths(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from key_paths(inner, f"{path}[]")
    else:
        yield path


def assert_keys(file: str, found: object) -> None:
    expected = {line.partition(" ")[2] for line in recorded("formats.txt") if line.startswith(f"{file} ")}
    assert expected
    assert expected - set(key_paths(found)) == set()


def test_every_recorded_option_still_exists() -> None:
    group = typer.main.get_command(app)
    commands = group.commands.items()  # type: ignore[attr-defined]
    parameters = [(name, parameter) for name, command in commands for parameter in command.params]
    found = {described(name, parameter) for name, parameter in parameters}
    found = found.union(*(short_names(name, parameter) for name, parameter in parameters))
    assert recorded("interface.txt") - found == set()


@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("demo.json", ["demo", "--frames", "3", "--out", "."]),
        ("webcam.json", ["webcam", "--source", "demo", "--headless", "--frames", "3", "--json", "webcam.json"]),
        ("bench.json", ["benchmark", "edge-256", "--rounds", "2", "--json", "bench.json"]),
        ("estimate.json", ["estimate", "edge-256", "--json", "estimate.json"]),
        ("doctor.json", ["doctor", "--json", "doctor.json"]),
        ("evaluate.json", ["evaluate", "edge-256", "--dataset", "drawn", "--json", "evaluate.json"]),
    ],
)
def test_reports_keep_their_keys(tmp_path: Path, file: str, arguments: list[str]) -> None:
    result = run_cli(*arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert_keys(file, json.loads((tmp_path / file).read_text()))


def test_model_specifications_keep_their_keys() -> None:
    assert_keys("info.json", json.loads(run_cli("info", "edge-256", "--json").stdout))


def test_calibration_sets_keep_their_format(tmp_path: Path) -> None:
    result = run_cli("calibrate", "--dataset", "drawn", "--count", "8", "--out", tmp_path / "cal.npz")
    assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "cal.npz") as content:
        assert_keys("cal.npz", dict.fromkeys(content.files, "") | {"facts": json.loads(str(content["facts"]))})


def test_run_folders_keep_their_format(tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = run_cli("train", "drawn", "--set", "epochs=1", "--set", "batch=32", "--out", run)
    assert result.returncode == 0, result.stderr
    assert_keys("run.json", json.loads((run / "run.json").read_text()))
    assert_keys("metrics.jsonl", json.loads((run / "metrics.jsonl").read_text().splitlines()[0]))
    for name in ("best.pt", "state.pt"):
        content = torch.load(run / name, weights_only=True)
        assert_keys(name, dict.fromkeys(content))
    assert {"best.pt", "last.pt", "recipe.yaml", "run.json", "state.pt", "tensorboard"} <= {
        path.name for path in run.iterdir()
    }
