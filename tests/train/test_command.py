"""`edge-segface train`, as a function and as a command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge_segface.data import open_dataset
from edge_segface.errors import EdgeSegfaceError
from edge_segface.labels import label_space
from edge_segface.progress import NO_PROGRESS
from edge_segface.train.command import TrainRequest, open_splits, run_training
from edge_segface.train.devices import native_precision
from edge_segface.train.recipe import load_recipe
from tests.conftest import assert_one_line_error, run_cli
from tests.support.datasets import write_folder
from tests.support.training import TINY, read_metrics, read_state


def test_run_training_trains_on_a_folder_and_resumes(tmp_path: Path) -> None:
    request = {
        "recipe": "drawn", "dataset": "folder", "data": write_folder(tmp_path / "faces", 8), "out": tmp_path / "run",
        "changes": (*TINY, "train_split=all", "val_split=all", "precision=auto"), "accelerator": "cpu", "workers": 0,
    }  # fmt: skip
    result = run_training(TrainRequest(**request))  # type: ignore[arg-type]
    assert (result.steps, result.stopped) == (4, False)
    assert result.run.best.exists()
    assert run_training(TrainRequest(**request, resume=True)).best_f1 == result.best_f1  # type: ignore[arg-type]
    assert [record["epoch"] for record in read_metrics(tmp_path / "run")] == [1, 2]
    assert load_recipe(str(tmp_path / "run" / "recipe.yaml")).precision == native_precision("cpu")


def test_further_samples_are_all_trained_on_and_none_is_validated_on(tmp_path: Path) -> None:
    faces = write_folder(tmp_path / "faces", 8)
    more = write_folder(tmp_path / "more", 5, space=label_space("celebamask19-raw"))
    request = TrainRequest(
        recipe="drawn", dataset="folder", data=faces, labels="celebamask19", out=tmp_path / "run",
        changes=(f"also={more}", "train_split=all", "val_split=all"),
    )  # fmt: skip
    recipe = load_recipe("drawn", (*request.changes, "dataset=folder"))
    train_set, val_set = open_splits(request, recipe, label_space("celebamask19"), NO_PROGRESS)
    assert (len(train_set), len(val_set)) == (13, 8)
    added = train_set[12]
    assert added.name.startswith("+")
    assert np.array_equal(added.labels, train_set[4].labels)  # the same faces, with ids in another order
    assert len({path for name in train_set.names for path in train_set.files(name)}) == 26
    with pytest.raises(EdgeSegfaceError, match="cannot be added to"):
        train_set.joined(open_dataset("folder", more, "all", label_space("celebamask19-raw")))


def test_official_weights_teach_the_edge_network(official_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    teacher = official_checkpoints["celebamask19"]
    request = TrainRequest(
        recipe="edge-distilled", dataset="folder", data=write_folder(tmp_path / "faces", 4), out=tmp_path / "run",
        changes=(
            "epochs=1", "batch=2", "size=128", "distillation.size=128", f"distillation.teacher={teacher}",
            "train_split=all", "val_split=all",
        ),
        accelerator="cpu", workers=0,
    )  # fmt: skip
    assert run_training(request).steps == 2
    assert read_metrics(tmp_path / "run")[0]["loss"]["distillation"] > 0


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        ({"recipe": "nosuch"}, "no recipe is called 'nosuch'"),
        ({"recipe": "drawn", "accelerator": "gpu0"}, "cannot train on 1 x gpu0"),
        (
            {"recipe": "paper-lapa", "dataset": "folder", "data": "faces", "labels": "celebamask19"},
            "roi-tanh needs five landmarks.*folder has none",
        ),
        (
            {"recipe": "paper-lapa", "dataset": "folder", "data": "faces", "labels": "lapa11"},
            "not in lapa11 .*give --labels celebamask19",
        ),
        ({"recipe": "drawn", "changes": ("epoch=3",)}, "unknown key epoch"),
        ({"recipe": "drawn", "labels": "lapa11"}, "drawn .*celebamask19.*--labels"),
        ({"recipe": "edge-distilled"}, "segface-mobilenet-celeb-512 has not been downloaded.*edge-segface fetch"),
        ({"recipe": "drawn", "changes": ("distillation.teacher=gone.pt",)}, "gone.pt does not exist"),
        ({"recipe": "drawn", "resume": True}, "contains no run to resume.*leave out --resume"),
        ({"recipe": "edge"}, "celebamask needs a folder.*--dataset drawn"),
        ({"recipe": "edge", "data": "faces"}, "celebamask.*--dataset folder"),
        (
            {"recipe": "edge", "data": "faces", "dataset": "folder", "changes": ("batch=64",)},
            "do not fill a batch of 64",
        ),
    ],
)
def test_wrong_requests_are_explained(tmp_path: Path, request_: dict[str, object], match: str) -> None:
    if "data" in request_:
        request_ = {**request_, "data": write_folder(tmp_path / "faces", 4)}
    with pytest.raises(EdgeSegfaceError, match=match):
        run_training(TrainRequest(out=tmp_path / "run", **{"accelerator": "cpu", **request_}))  # type: ignore[arg-type]


def test_lost_parts_and_skipped_samples_are_noted(tmp_path: Path) -> None:
    """They are reported although the request then fails for its batch size."""
    from edge_segface.progress import NoProgress

    class Notes(NoProgress):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def note(self, text: str) -> None:
            self.lines.append(text)

    root = write_folder(tmp_path / "faces", 4)
    (root / "images" / "002.jpg").write_bytes(b"broken")
    notes = Notes()
    request = TrainRequest(
        recipe="drawn", dataset="folder", data=root, labels="celebamask19", out=tmp_path / "run", accelerator="cpu",
        skip_bad=True, changes=("label_space=lapa11", "batch=64", "train_split=all", "val_split=all"),
    )  # fmt: skip
    with pytest.raises(EdgeSegfaceError, match="3 images do not fill a batch of 64"):
        run_training(request, progress=notes)
    assert notes.lines[0].startswith("skipped in all: 1 with")
    assert notes.lines[-1].startswith("lapa11 lacks some parts: ")


def test_folder_with_a_run_is_not_overwritten(finished_run: Path) -> None:
    before = (finished_run / "state.pt").read_bytes()
    assert_one_line_error(run_cli("train", "drawn", "--out", finished_run), "already contains a run", "--resume")
    assert (finished_run / "state.pt").read_bytes() == before


def test_wrong_commands_are_reported_before_torch_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "state.pt").touch()
    for arguments in (
        ("recipes",),
        ("train", "nosuch", "--out", tmp_path / "run"),
        ("train", "edge", "--out", tmp_path),
        ("train", "edge", "--out", tmp_path / "run"),
    ):
        result = run_cli(*arguments, env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
        assert "| edge_segface.cli" in result.stderr
        assert not re.search(r"\| +(torch|timm)$", result.stderr, re.MULTILINE)


@pytest.mark.slow
def test_ctrl_c_saves_and_names_the_resume_option(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--dataset", "folder", "--data", write_folder(tmp_path / "faces", 8), "--accelerator", "cpu")
    changes = (*TINY, "epochs=500", "train_split=all", "val_split=all")
    command = [
        sys.executable, "-m", "edge_segface", "train", "drawn", "--out", run, *options, "--workers", "1",
        "--threads", "1", *(word for change in changes for word in ("--set", change)),
    ]  # fmt: skip
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 300
    while not (run / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all processes, workers too
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "--resume" in errors
    assert read_state(run)["step"] > 0


def test_recipes_are_listed_and_shown() -> None:
    listed = run_cli("recipes")
    assert "paper-lapa" in listed.stdout
    shown = run_cli("recipes", "edge")
    assert "augmentation: camera" in shown.stdout
