"""The README, the documentation and the Makefile: what they show works as they show it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from edge_segface.assets import PORTRAIT
from edge_segface.cli import COMMANDS, app
from edge_segface.image_io import read_image, write_image
from tests.conftest import ROOT, run_cli

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *(
        ROOT / "edge_segface" / "assets" / "CARD.md",
        ROOT / "calibration" / "README.md",
        ROOT / "benchmarks" / "README.md",
    ),
    *sorted((ROOT / "docs").rglob("*.md")),
]
RETIRED_WORDS = re.compile(
    r"\b(picture|pictures|glass to result|unless told|anew|broke off|breaks off|let out)\b", re.I
)


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every `edge-segface ...` line in shell blocks, without comments."""
    for block in code_blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "edge-segface":
                yield words[1:]


@pytest.fixture
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the photos that the README speaks of."""
    for path in (tmp_path / "photo.jpg", tmp_path / "photos" / "a.jpg"):
        write_image(read_image(PORTRAIT), path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_commands_run_as_they_stand(work_folder: Path) -> None:
    found = list(commands(ROOT / "README.md"))
    assert {arguments[0] for arguments in found} == {"demo", "parse", "webcam"}
    for arguments in found:
        result = run_cli(*arguments, cwd=work_folder)
        assert result.returncode == 0, (arguments, result.stderr)
    assert (work_folder / "parsed" / "photo.png").exists()


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "docs" / "index.md", ROOT / "docs" / "guides" / "photos.md"],
    ids=lambda p: p.name,
)
def test_python_examples_run_as_they_stand(work_folder: Path, page: Path) -> None:
    blocks = code_blocks(page, "python")
    assert blocks
    for block in blocks:
        exec(compile(block, str(page), "exec"), {})


def test_readme_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"^make (\S+)", page.read_text(), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_documented_commands_have_valid_options(page: Path) -> None:
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, *arguments in commands(page):
        assert name in known
        known[name].make_context(name, arguments, resilient_parsing=True)


def test_every_command_is_documented_somewhere() -> None:
    documented = {arguments[0] for page in PAGES for arguments in commands(page)}
    assert {name for group in COMMANDS.values() for name in group} - documented == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_readable_as_text(page: Path) -> None:
    text = re.sub(r"<!-- \S+\.json -->.*?<!-- end -->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for number, line in enumerate(text.splitlines(), 1):
        assert len(line) <= 120 or line.startswith("|"), f"{page.name}:{number} is {len(line)} columns wide"
        assert not RETIRED_WORDS.search(line), f"{page.name}:{number}: {line}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http", "mailto")):
                assert os.path.exists(page.parent / target), f"{page.name} -> {target}"
