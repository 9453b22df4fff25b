"""Interrupted runs: resuming gives the same weights, whatever the interruption."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from edge_segface.errors import CheckpointError, OutputError, TrainingError
from edge_segface.train.devices import Devices
from tests.conftest import ROOT
from tests.support.training import (
    STEPS,
    AtStep,
    drawn_faces,
    read_metrics,
    read_state,
    run_tiny,
    same_weights,
    tiny_recipe,
)


class Killed(Exception):
    """Raised to end a run without its cooperation."""


def test_resume_after_ctrl_c_gives_the_same_weights(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, interrupt = tmp_path / "run", AtStep(2, lambda: os.kill(os.getpid(), signal.SIGINT))
    with monkeypatch.context() as patch:
        patch.setattr("edge_segface.train.loop.CHECK_EVERY", 1)  # so that it stops in the middle of the second epoch
        result = run_tiny(folder, devices=Devices("cpu", workers=1), progress=interrupt)
    assert (result.stopped, result.steps) == (True, 3)
    assert run_tiny(folder, resume=True).steps == STEPS
    assert same_weights(finished_run, folder)
    assert [record["val"] for record in read_metrics(folder)] == [
        record["val"] for record in read_metrics(finished_run)
    ]


def test_resume_with_every_option_gives_the_same_weights(finished_run: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(
        "consensus.weight=0.1", "consensus.label=1.0", "contrastive.weight=0.1", "contrastive.from_epoch=0",
        "contrastive.regroup_epochs=1", "repeat_threshold=0.5", f"distillation.teacher={finished_run / 'best.pt'}",
        "distillation.size=160", "optimizer.clip=1.0", "precision=bf16",
    )  # fmt: skip
    run_tiny(tmp_path / "whole", recipe)
    losses = read_metrics(tmp_path / "whole")[-1]["loss"]
    weights = {"ce": 0.5, "dice": 0.5, "piece_label": 0.1, "agreement": 0.1, "contrast": 0.1, "distillation": 1.0}
    assert losses.keys() == {*weights, "total"}
    assert losses["total"] == pytest.approx(sum(weights[name] * losses[name] for name in weights), abs=1e-4)

    def kill() -> None:
        raise Killed

    steps_per_epoch = read_metrics(tmp_path / "whole")[0]["step"]
    with pytest.raises(Killed):
        run_tiny(tmp_path / "cut", recipe, progress=AtStep(steps_per_epoch, kill))
    run_tiny(tmp_path / "cut", recipe, resume=True)
    assert same_weights(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
@pytest.mark.parametrize("at_save", [1, 2, 3])  # before the first step, and after each of the two epochs
def test_kill_9_while_the_state_is_written_loses_nothing(finished_run: Path, tmp_path: Path, at_save: int) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "tests.train.scripts.kill_while_saving", str(folder), str(at_save)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert any(path.name.startswith(".state") for path in folder.iterdir())  # half written
    assert (folder / "metrics.jsonl").exists() == (folder / "state.pt").exists() == (at_save > 1)
    assert run_tiny(folder, resume=at_save > 1).steps == STEPS
    assert same_weights(finished_run, folder)
    assert [record["epoch"] for record in read_metrics(folder)] == [1, 2]
    assert not any(path.name.startswith(".state") for path in folder.iterdir())


def test_full_disk_keeps_the_previous_state(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, hard))

    try:
        with pytest.raises(OutputError, match=r"cannot write .*state\.pt.*free some space, then add --resume"):
            run_tiny(tmp_path / "run", progress=AtStep(2, limit_file_size))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_state(tmp_path / "run")["step"] == 2


def test_resume_with_another_recipe_or_data_names_the_differences(finished_run: Path) -> None:
    with pytest.raises(TrainingError, match=r"another recipe.*batch: 4, now 8; optimizer\.lr: 0\.003, now 0\.01"):
        run_tiny(finished_run, tiny_recipe("batch=8", "optimizer.lr=0.01"), resume=True)
    match = r"other data.*data\.train\.names_sha256: \w+, now \w+; data\.train\.pictures: 8, now 9"
    with pytest.raises(TrainingError, match=match):
        run_tiny(finished_run, resume=True, train_set=drawn_faces("train", 9))


def test_resume_accepts_a_state_from_before_a_recipe_key_existed(finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    state = read_state(finished_run)
    del state["recipe"]["camera"]["backdrops"], state["recipe"]["repeat_threshold"]
    torch.save(state, tmp_path / "run" / "state.pt")
    assert run_tiny(tmp_path / "run", resume=True).steps == STEPS


def test_resume_rejects_files_that_are_not_a_state(finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for content in (b"text", (finished_run / "last.pt").read_bytes()):
        (tmp_path / "run" / "state.pt").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"state\.pt is not"):
            run_tiny(tmp_path / "run", resume=True)


def test_resume_keeps_other_files_and_removes_half_written_ones(finished_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    (folder / ".gitignore").write_text("*\n")
    (folder / ".state-1234abcd.pt").write_bytes(b"half")
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 3, "step": 6, "loss": {"ce": 1}')
    run_tiny(folder, resume=True)
    assert (folder / ".gitignore").exists()
    assert not (folder / ".state-1234abcd.pt").exists()
    assert [record["epoch"] for record in read_metrics(folder)] == [1, 2]
