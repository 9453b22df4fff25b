"""A run's files, its reproducibility, and how it ends when the loss diverges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from edge_segface.data import open_dataset
from edge_segface.errors import SampleLostError, TrainingError
from edge_segface.labels import CELEBAMASK19, LAPA11
from edge_segface.model.checkpoint import load_weights
from edge_segface.progress import NoProgress
from edge_segface.train.batches import Batch
from edge_segface.train.devices import Devices
from edge_segface.train.loop import Trainer, train
from edge_segface.train.recipe import load_recipe
from edge_segface.train.run_folder import RunFolder
from tests.support.datasets import write_folder, write_lapa
from tests.support.training import STEPS, AtStep, read_metrics, read_state, run_tiny, same_weights, tiny_recipe


def test_run_folder_contains_checkpoints_metrics_recipe_and_versions(finished_run: Path) -> None:
    weights = load_weights(finished_run / "best.pt")
    assert (weights.preset, weights.space) == ("pico", CELEBAMASK19)
    assert weights.f1 is not None
    assert weights.licence == "free; drawn by this package"
    records = read_metrics(finished_run)
    assert [record["epoch"] for record in records] == [1, 2]
    assert {"mean_f1", "miou", "f1", "artefacts"} <= records[-1]["val"].keys()
    losses = records[-1]["loss"]
    assert losses["total"] == pytest.approx(0.5 * losses["ce"] + 0.5 * losses["dice"], abs=1e-5)
    facts = json.loads((finished_run / "run.json").read_text())
    assert facts["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert facts["data"]["train"]["pictures"] == 8
    assert "epochs: 2" in (finished_run / "recipe.yaml").read_text()
    assert any((finished_run / "tensorboard").iterdir())
    assert read_state(finished_run)["step"] == STEPS


def test_weights_depend_on_the_seed_alone(finished_run: Path, tmp_path: Path) -> None:
    run_tiny(tmp_path / "same")
    assert same_weights(finished_run, tmp_path / "same")
    run_tiny(tmp_path / "other", tiny_recipe("seed=1"))
    assert not same_weights(finished_run, tmp_path / "other")


def test_progress_counts_steps_and_notes_each_epoch(tmp_path: Path) -> None:
    class Recorded(NoProgress):
        def __init__(self) -> None:
            self.stages: list[tuple[str, int | None]] = []
            self.steps = 0
            self.texts: list[str] = []
            self.notes: list[str] = []

        def stage(self, name: str, total: int | None = None) -> None:
            self.stages.append((name, total))

        def advance(self, count: int = 1) -> None:
            self.steps += count

        def describe(self, text: str) -> None:
            self.texts.append(text)

        def note(self, text: str) -> None:
            self.notes.append(text)

    progress = Recorded()
    result = run_tiny(tmp_path / "run", tiny_recipe("epochs=1"), progress=progress)
    assert progress.stages == [("training", result.steps)]
    assert progress.steps == result.steps == 2
    assert progress.notes == progress.texts
    assert progress.notes[0].startswith("epoch 1/1  loss ")
    assert progress.notes[0].endswith(f"images/s  best F1 {result.best_f1:.2f}")


def test_accumulation_takes_as_many_steps(tmp_path: Path) -> None:
    devices = Devices("cpu", accumulate=2, workers=0)
    assert run_tiny(tmp_path / "run", tiny_recipe("epochs=1"), devices=devices).steps == 2


def test_lapa_is_trained_through_the_warp(tmp_path: Path) -> None:
    root = write_lapa(tmp_path / "lapa", {"train": 2, "val": 1})
    recipe = load_recipe("paper-lapa", ["size=128", "epochs=1", "batch=2", "backbone=null", "preset=pico"])
    train_set, val_set = (open_dataset("lapa", root, split) for split in ("train", "val"))
    result = train(recipe, train_set, val_set, RunFolder(tmp_path / "run"), Devices("cpu", workers=0))
    weights = load_weights(result.run.best)
    assert (weights.space, weights.warp) == (LAPA11, "roi-tanh")
    assert weights.licence.startswith("for non-commercial research")


def test_diverging_loss_stops_with_step_and_images(tmp_path: Path) -> None:
    match = r"the loss is no longer finite.*step \d+, images drawn-\d.*state\.pt is from before it"
    with pytest.raises(TrainingError, match=match):
        run_tiny(tmp_path / "run", tiny_recipe("optimizer.lr=1e30", "optimizer.clip=null", "epochs=4"))


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of a step cannot show that its own update broke the weights."""
    one_step = Trainer.one_step

    def step_that_breaks_weights(self: Trainer, loader: Iterator[Batch], epoch: int) -> None:
        one_step(self, loader, epoch)
        if self.state.step == 1:
            with torch.no_grad():
                next(iter(self.state.learner.parameters())).fill_(float("nan"))

    monkeypatch.setattr(Trainer, "one_step", step_that_breaks_weights)
    with pytest.raises(TrainingError, match=r"no longer finite.*step 2, images"):
        run_tiny(tmp_path / "run")
    assert not (tmp_path / "run" / "last.pt").exists()
    assert read_state(tmp_path / "run")["step"] == 0


def test_image_that_disappears_during_training_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = open_dataset("folder", write_folder(tmp_path / "faces", 8), "all", CELEBAMASK19)
    monkeypatch.setattr("edge_segface.train.loop.IN_MEMORY_BYTES", 0)
    lost = tmp_path / "faces" / "images" / "005.jpg"
    with pytest.raises(SampleLostError, match=r"\(found: 005\.jpg\); restore the file"):
        run_tiny(
            tmp_path / "run",
            tiny_recipe("epochs=20", "validate_epochs=20"),
            train_set=faces,
            devices=Devices("cpu", workers=1),
            progress=AtStep(1, lost.unlink),
        )


def test_batches_that_cannot_be_divided_or_filled(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"a batch of 4 cannot be divided evenly .*--set batch=3"):
        run_tiny(tmp_path / "a", devices=Devices("cpu", accumulate=3, workers=0))
    with pytest.raises(TrainingError, match="8 images do not fill a batch of 64"):
        run_tiny(tmp_path / "b", tiny_recipe("batch=64"))
