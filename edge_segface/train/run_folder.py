"""The folder of a training run: recipe, versions, metrics, checkpoints, and the state to resume from."""

from __future__ import annotations

import io
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge_segface import __version__
from edge_segface.errors import CheckpointError, OutputError, TrainingError
from edge_segface.files import make_folder, write_bytes, write_error, write_text
from edge_segface.train.recipe import Recipe, differences, recipe_from, recipe_text, to_plain

PACKAGES = ("edge-segface", "torch", "timm", "lightning-fabric", "numpy", "opencv-python")
STATE = "state.pt"


@dataclass(frozen=True)
class RunFolder:
    """Names, writes and reads the files of a run."""

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
        """Raise if a new run would overwrite one, or if there is none to resume."""
        if resume and not os.path.isfile(self.state):
            raise TrainingError(f"{self.folder} contains no run to resume", remedy="leave out --resume to start one")
        if not resume and (os.path.exists(self.state) or os.path.exists(self.metrics)):
            raise OutputError(f"{self.folder} already contains a run", remedy="add --resume, or give another --out")

    def begin(self, recipe: Recipe, data: dict[str, Any]) -> None:
        """Create the folder and record recipe, versions and data."""
        make_folder(self.folder)
        self.tidy(step=0)  # a run may have been killed before it saved its first state
        write_text(recipe_text(recipe), self.folder / "recipe.yaml")
        facts = {"versions": versions(), "git": git_revision(), "data": data, "command": sys.argv[1:]}
        write_text(json.dumps(facts, indent=2) + "\n", self.folder / "run.json")

    def load(self, recipe: Recipe, data: dict[str, Any]) -> dict[str, Any]:
        """Return the saved state. Raise, naming the differences, if it belongs to another recipe or other data."""
        from edge_segface.model.checkpoint import load_content

        state = load_content(self.state)
        if not {"recipe", "data", "step", "learner"} <= state.keys():
            raise CheckpointError(f"{self.state} is not the state of a run", found=f"keys {', '.join(list(state)[:4])}")
        saved = to_plain(recipe_from(state["recipe"], str(self.state)))  # with defaults for keys that are newer
        if different := differences(saved, to_plain(recipe)) + differences(state["data"], data, "data."):
            raise TrainingError(
                f"{self.folder} was started with another recipe or other data",
                found="; ".join(different),
                remedy="resume with those, or start a new run in another --out",
            )
        return dict(state)

    def tidy(self, step: int) -> None:
        """Remove metrics written after the step that the run resumes from, and files that a kill left half written."""
        for pattern in (".state-*.pt", ".last-*.pt", ".best-*.pt", ".metrics-*.jsonl"):
            for left in self.folder.glob(pattern):
                left.unlink(missing_ok=True)
        if os.path.exists(self.metrics):
            lines = self.metrics.read_text(encoding="utf-8").splitlines()
            write_text("".join(line + "\n" for line in lines if _step_of(line) <= step), self.metrics)

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state atomically: after a kill or on a full disk, the previous state remains."""
        import torch

        content = io.BytesIO()  # torch raises various errors on a full disk
        torch.save(state, content)
        try:
            write_bytes(content.getbuffer(), self.state)
        except OutputError as error:
            restart = "add --resume" if os.path.exists(self.state) else "start again"
            raise OutputError(error.what, found=error.found, remedy=f"free some space, then {restart}") from error

    def write_metrics(self, record: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        try:
            with open(self.metrics, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise write_error(self.metrics, error) from error


def _step_of(line: str) -> float:
    """Return the step of a line of metrics; infinity if the line was cut short."""
    try:
        return float(json.loads(line)["step"])  # a loss may be NaN, which the parser of documents refuses
    except (ValueError, KeyError, TypeError):
        return float("inf")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that influence training."""
    found = {"python": platform.python_version(), "edge-segface": __version__}
    for package in PACKAGES[1:]:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def git_revision(module: Path = Path(__file__)) -> str | None:
    """Return the commit of the checkout that the package runs from, with a `+` if tracked files were changed.

    None if the package is not tracked by git, such as in a virtual environment inside another repository.
    """
    try:
        _, revision, changes = (
            subprocess.run(  # noqa: S603
                ["git", "-C", str(module.parent), *words],  # noqa: S607
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for words in (
                ["ls-files", "--error-unmatch", module.name],
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return revision + ("+" if changes else "")
