"""The files in deploy/: every command in them is valid, and systemd accepts the unit."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from edge_segface.cli import app
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILES = [DEPLOY / "Dockerfile.x86", DEPLOY / "Dockerfile.jetson"]
UNIT = DEPLOY / "edge-segface.service"


def check_arguments(arguments: list[str]) -> None:
    """Raise unless the command line would accept these arguments."""
    group = typer.main.get_command(app)
    command = group.commands[arguments[0]]  # type: ignore[attr-defined]
    command.make_context(arguments[0], arguments[1:], resilient_parsing=False)


def environment() -> dict[str, str]:
    lines = (DEPLOY / "edge-segface.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def commands_in(dockerfile: Path) -> Iterator[list[str]]:
    """The default command, and those in the comments at the top."""
    text = dockerfile.read_text()
    match = re.search(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert match is not None
    yield json.loads(match[1])
    comments = text[: text.index("FROM")].replace("\\\n#", " ")
    yield from (shlex.split(line) for line in re.findall(r"edge-segface +((?:build-engine|webcam) .*)", comments))


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_containers_run_valid_commands(dockerfile: Path) -> None:
    found = list(commands_in(dockerfile))
    assert found
    for arguments in found:
        check_arguments(arguments)
    assert 'ENTRYPOINT ["edge-segface"]' in dockerfile.read_text()


def test_containers_install_extras_that_exist() -> None:
    settings = (ROOT / "pyproject.toml").read_text()
    for dockerfile in DOCKERFILES:
        match = re.search(r"'\.\[(.*?)\]'", dockerfile.read_text())
        assert match is not None
        for extra in match[1].split(","):
            assert re.search(rf"^{extra} = \[", settings, re.MULTILINE), extra


def test_the_service_runs_a_valid_command() -> None:
    match = re.search(r"^ExecStart=\S+/edge-segface (.*)$", UNIT.read_text(), re.MULTILINE)
    assert match is not None
    values = environment()
    text = re.sub(r"\$\{(\w+)\}", lambda name: values[name[1]], match[1])
    check_arguments(shlex.split(text))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    result = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "Unknown" not in result.stderr, result.stderr
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["config.py", "test.py"])
def test_the_recipe_for_jetson_containers_is_python(name: str) -> None:
    ast.parse((DEPLOY / "jetson-containers" / name).read_text())


def test_no_image_is_tied_to_a_host() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            assert not re.search(r"^FROM \S+\.\S+/", path.read_text(), re.MULTILINE), path
