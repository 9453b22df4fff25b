"""What `--help` shows: nothing broken inside a word, and examples that are valid."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from edge_segface.cli import COMMANDS, app
from edge_segface.cli.command import with_json_file
from edge_segface.cli.examples import EXAMPLES
from tests.cli.test_interface import choices, is_short
from tests.conftest import assert_one_line_error, run_cli

NAMES = [name for group in COMMANDS.values() for name in group]


def known_commands() -> dict[str, Any]:
    return typer.main.get_command(app).commands  # type: ignore[attr-defined, no-any-return]


def help_of(name: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", columns)  # read from the environment on import
    result = CliRunner().invoke(app, [name, "-h"], env={"COLUMNS": str(columns)}, terminal_width=columns)
    assert result.exit_code == 0
    return result.stdout


def words_in(text: str) -> set[str]:
    """Words, with and without the punctuation around them; values in `a|b` count one by one."""
    words = set(re.split(r"[\s|│,]+", text))
    return words | {word.strip(".,;:()`'") for word in words}


@pytest.mark.parametrize("columns", [60, 80, 100])
@pytest.mark.parametrize("name", NAMES)
def test_help_breaks_no_name_and_no_choice(name: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = help_of(name, columns, monkeypatch)
    found = words_in(text)
    for parameter in known_commands()[name].params:
        if not getattr(parameter, "hidden", False):
            wanted = set(choices(parameter.type_descriptor.annotation))
            if parameter.param_type_name == "option":
                wanted |= {option for option in parameter.opts if not is_short(option)}
            assert wanted - found == set(), parameter.name
    assert max(len(line) for line in text.splitlines()) <= columns


@pytest.mark.parametrize("name", NAMES)
def test_every_command_ends_its_help_with_one_to_four_valid_examples(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 1 <= len(EXAMPLES[name]) <= 4
    shown = " ".join(help_of(name, 80, monkeypatch).rpartition("Examples:")[2].replace("\\\n", " ").split())
    for purpose, line in EXAMPLES[name]:
        program, command, *arguments = shlex.split(line)
        assert (program, command) == ("edge-segface", name)
        known_commands()[name].make_context(name, arguments)
        assert len(f"  # {purpose}") <= 78
        assert f"# {purpose} {line}" in shown


def test_examples_are_of_commands_that_exist() -> None:
    assert set(EXAMPLES) == set(NAMES)


@pytest.mark.parametrize(
    ("short", "long"), [("-o", "--out"), ("-m", "--model"), ("-d", "--data"), ("-j", "--json"), ("-s", "--source")]
)
def test_short_options_mean_the_same_everywhere(short: str, long: str) -> None:
    for name, command in known_commands().items():
        for parameter in command.params:
            if short in parameter.opts:
                assert long in parameter.opts, name
            elif long in parameter.opts and (name, long) != ("webcam", "--source"):
                pytest.fail(f"{name} {long} has no {short}")


def test_json_is_printed_or_written(tmp_path: Path) -> None:
    file = tmp_path / "info.json"
    printed = run_cli("info", "--json", "edge-256")  # a model may follow, as before the option took a file
    assert printed.returncode == 0, printed.stderr
    written = run_cli("info", "edge-256", "-j", file)
    assert (written.returncode, written.stdout) == (0, "")
    assert json.loads(file.read_text()) == json.loads(printed.stdout)
    assert run_cli("info", f"--json={file}").returncode == 0
    recipes = run_cli("recipes", "--json", tmp_path / "recipes.json")
    assert recipes.returncode == 0, recipes.stderr
    assert "edge" in {each["name"] for each in json.loads((tmp_path / "recipes.json").read_text())}
    assert json.loads(run_cli("recipes", "edge", "--json").stdout)["preset"] == "edge"
    assert_one_line_error(run_cli("info", "--json", tmp_path / "info.json" / "x.json"), "cannot write")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--json"], ["--json"]),
        (["--json", "edge-256"], ["--json", "edge-256"]),
        (["--json", "m.onnx"], ["--json", "m.onnx"]),
        (["edge-256", "-j", "f.json"], ["edge-256", "-j", "--json-file", "f.json"]),
        (["--json=f", "edge-256"], ["--json", "--json-file", "f", "edge-256"]),
        (["f.json"], ["f.json"]),
    ],
)
def test_a_file_after_json_is_told_from_a_model(given: list[str], expected: list[str]) -> None:
    assert with_json_file(given) == expected


def test_wrong_names_get_the_nearest_known_one(tmp_path: Path) -> None:
    wrong = run_cli("evalute", "edge-256")
    assert wrong.returncode == 2
    assert "Did you mean 'evaluate'?" in " ".join(wrong.stderr.replace("│", "").split())
    assert_one_line_error(run_cli("info", "edge256"), "did you mean edge-256?", "choose one of edge-256")
    assert_one_line_error(run_cli("recipes", "peco"), "did you mean pico?", "choose one of drawn, edge, ")
    assert_one_line_error(run_cli("train", "egde", "-o", tmp_path / "run"), "did you mean edge?")
    assert_one_line_error(run_cli("estimate", "edge-256", "--board", "orin-nano-8"), "did you mean orin-nano-8gb?")


@pytest.mark.parametrize(
    ("words", "position", "expected"),
    [
        ("edge-segface info edge", 2, {"edge-256", "edge-256-int8"}),
        ("edge-segface demo -m edge-256-", 3, {"edge-256-int8"}),
        ("edge-segface recipes paper-l", 2, {"paper-lapa"}),
        ("edge-segface evaluate edge-256 --labels lapa", 4, {"lapa11"}),
        ("edge-segface evaluate nothing-called-so", 2, set()),
    ],
)
def test_shells_complete_models_recipes_and_choices(words: str, position: int, expected: set[str]) -> None:
    variables = {"_EDGE_SEGFACE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    program = str(Path(sys.executable).with_name("edge-segface"))
    result = subprocess.run([program], env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert set(result.stdout.split()) == expected
