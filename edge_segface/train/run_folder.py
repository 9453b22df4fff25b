"""The folder of a run: what was asked for, what it ran on, what came of it, and all that is needed to go on."""

from __future__ import annotations

import io
import json
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge_segface import __version__
from edge_segface.errors import CheckpointError, OutputError, TrainingError
from edge_segface.files import cannot_write, make_folder, write_bytes, write_text
from edge_segface.train.recipe import Recipe, differences, plain, recipe_from, recipe_text

PACKAGES = ("edge-segface", "torch", "timm", "lightning-fabric", "numpy", "opencv-python")
STATE = "state.pt"


@dataclass(frozen=True)
class RunFolder:
    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / STATE

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    @property
    def last(self) -> Path:
        return self.folder / "last.pt"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    def check(self, *, resume: bool) -> None:
        """Refuses to begin where a run is already, and to go on where none is."""
        if resume and not self.state.is_file():
            raise TrainingError(f"{self.folder} holds no run to go on with", remedy="leave --resume out to begin one")
        if not resume and (self.state.exists() or self.metrics.exists()):
            raise OutputError(
                f"{self.folder} holds a run already", remedy="go on with it by --resume, or name another --out"
            )

    def begin(self, recipe: Recipe, data: dict[str, Any]) -> None:
        make_folder(self.folder)
        self.tidy(step=0)  # of a run that was killed before its first state
        write_text(recipe_text(recipe), self.folder / "recipe.yaml")
        facts = {"versions": versions(), "git": git_revision(), "data": data, "command": sys.argv[1:]}
        write_text(json.dumps(facts, indent=2) + "\n", self.folder / "run.json")

    def load(self, recipe: Recipe, data: dict[str, Any]) -> dict[str, Any]:
        """The state to go on from. Refuses that of another recipe or other data, and says what differs."""
        from edge_segface.model.checkpoint import load_content

        state = load_content(self.state)
        if not {"recipe", "data", "step", "learner"} <= state.keys():
            raise CheckpointError(f"{self.state} is not the state of a run", found=", ".join(list(state)[:4]))
        begun = plain(recipe_from(state["recipe"], str(self.state)))  # with what newer recipes say by default
        if different := differences(begun, plain(recipe)) + differences(state["data"], data, "data."):
            raise TrainingError(
                f"{self.folder} was begun with another recipe or other data",
                found="; ".join(different),
                remedy="go on with those, or begin anew in another --out",
            )
        return dict(state)

    def tidy(self, step: int) -> None:
        """Takes away what was written after the state that a run goes on from, and what a kill left half written."""
        for pattern in (".state-*.pt", ".last-*.pt", ".best-*.pt", ".metrics-*.jsonl"):
            for left in self.folder.glob(pattern):
                left.unlink(missing_ok=True)
        if self.metrics.exists():
            lines = self.metrics.read_text(encoding="utf-8").splitlines()
            write_text("".join(line + "\n" for line in lines if _step_of(line) <= step), self.metrics)

    def save(self, state: dict[str, Any]) -> None:
        """Whole or not at all: a kill or a full disk in the middle leaves the state before."""
        import torch

        content = io.BytesIO()  # torch itself has no one error for a full disk
        torch.save(state, content)
        try:
            write_bytes(content.getbuffer(), self.state)
        except OutputError as error:
            resume = "go on with --resume" if self.state.exists() else "begin again"
            raise OutputError(error.what, found=error.found, remedy=f"make room, then {resume}") from error

    def write_metrics(self, record: dict[str, Any]) -> None:
        try:
            with open(self.metrics, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise cannot_write(self.metrics, error) from error


def _step_of(line: str) -> float:
    """Of a line of metrics; infinite if it was cut short."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "edge-segface": __version__}
    for package in PACKAGES[1:]:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def git_revision() -> str | None:
    """Of the checkout that the package runs from, with a `+` if files were changed since.

    None for a copy of the package that merely lies inside some repository, such as an environment in a project.
    """
    here = Path(__file__)
    try:
        _, revision, changes = (
            subprocess.run(  # noqa: S603
                ["git", "-C", str(here.parent), *words],  # noqa: S607
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for words in (
                ["ls-files", "--error-unmatch", here.name],
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return revision + ("+" if changes else "")
