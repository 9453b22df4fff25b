from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edge_segface.errors import OutputError, TrainingError
from edge_segface.train.run_folder import RunFolder, git_revision


def test_revision_is_that_of_the_checkout_and_marks_changes(tmp_path: Path) -> None:
    """A copy in an untracked folder of a repository, such as a virtual environment, has no revision."""

    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(tmp_path), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    module = tmp_path / "venv" / "module.py"
    module.parent.mkdir()
    module.write_text("")
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "a project")
    assert git_revision(module) is None
    git("add", "venv")
    git("commit", "-q", "-m", "a checkout")
    assert git_revision(module) == git("rev-parse", "HEAD")
    module.write_text("changed = True\n")
    assert git_revision(module) == git("rev-parse", "HEAD") + "+"


def test_new_run_does_not_overwrite_and_resume_needs_one(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.check(resume=False)
    with pytest.raises(TrainingError, match="contains no run to resume; leave out --resume"):
        run.check(resume=True)
    run.write_metrics({"step": 1})
    with pytest.raises(OutputError, match="already contains a run; add --resume"):
        run.check(resume=False)
