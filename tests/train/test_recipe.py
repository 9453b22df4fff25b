from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from edge_segface.errors import TrainingError
from edge_segface.train.recipe import differences, load_recipe, recipe_from, recipe_names, recipe_text, to_plain
from edge_segface.train.setup import learning_rate


@pytest.mark.parametrize(
    ("name", "dataset", "space", "batch", "augmentation", "warp"),
    [
        ("paper-celebamask", "celebamask", "celebamask19", 32, "none", None),
        ("paper-lapa", "lapa", "lapa11", 32, "lapa", "roi-tanh"),
        ("paper-helen", "helen", "helen11", 16, "none", None),
    ],
)
def test_paper_recipes_have_the_papers_settings(
    name: str, dataset: str, space: str, batch: int, augmentation: str, warp: str | None
) -> None:
    recipe = load_recipe(name)
    assert (recipe.preset, recipe.dataset, recipe.label_space) == ("paper", dataset, space)
    assert (recipe.epochs, recipe.batch, recipe.size, recipe.precision) == (300, batch, 512, "fp32")
    assert (recipe.optimizer.lr, recipe.optimizer.weight_decay, recipe.optimizer.decay_all) == (1e-4, 1e-5, True)
    assert (recipe.schedule.kind, recipe.schedule.milestones, recipe.schedule.gamma) == ("steps", (80, 200), 0.1)
    assert (recipe.ce, recipe.dice, recipe.augmentation, recipe.warp) == (0.5, 0.5, augmentation, warp)
    assert recipe.backbone == "imagenet"
    assert (recipe.ema, recipe.optimizer.clip, recipe.schedule.warm_up_steps) == (None, None, 0)
    assert not any(
        (recipe.consensus.weight, recipe.contrastive.weight, recipe.distillation.teacher, recipe.repeat_threshold)
    )


def test_learning_rate_steps_down_at_the_papers_milestones() -> None:
    schedule = load_recipe("paper-celebamask").schedule
    rates = [learning_rate(schedule, 1e-4, epoch * 755, 300 * 755, 755) for epoch in (0, 79, 80, 199, 200, 299)]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6])
    edge = load_recipe("edge").schedule
    assert learning_rate(edge, 1.0, 0, 1000, 10) == pytest.approx(1 / edge.warm_up_steps)
    assert learning_rate(edge, 1.0, 1000, 1000, 10) == pytest.approx(edge.floor)


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_survives_a_round_trip_through_yaml(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe_from(yaml.safe_load(recipe_text(recipe)), "again") == recipe


def test_changes_reach_nested_keys() -> None:
    recipe = load_recipe("edge", ["optimizer.lr=3e-4", "epochs=7", "ema=null", "schedule.milestones=[1, 2]"])
    assert (recipe.optimizer.lr, recipe.epochs, recipe.ema, recipe.schedule.milestones) == (3e-4, 7, None, (1, 2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("epoch=7", "unknown key epoch; known are preset, epochs"),
        ("optimizer.rate=1", "unknown key optimizer.rate; known are optimizer.lr"),
        ("epochs=many", "epochs must be int, not 'many'"),
        ("epochs=0", "must be at least 1"),
        ("size=250", "size must be a multiple of 32"),
        ("precision=int8", "precision must be one of fp32, bf16, fp16, auto"),
        ("preset=tiny", "preset must be one of paper, edge, pico, lite, teacher, edge-v1, pico-v1"),
        ("augmentation=all", "augmentation must be one of none, lapa, camera"),
        ("camera.scenes=2", "must lie between 0 and 1"),
        ("optimizer=fast", "optimizer must hold"),
        ("epochs.x=1", "epochs has no keys inside it"),
        ("epochs", "--set takes key=value"),
        ("warp=roi-tanh", "the warp needs landmarks"),
    ],
)
def test_invalid_changes_name_key_and_choices(change: str, words: str) -> None:
    with pytest.raises(TrainingError, match=words.replace("[", r"\[")):
        load_recipe("edge", [change])


def test_missing_and_broken_recipe_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no recipe is called 'edgy'.*choose one of .*edge"):
        load_recipe("edgy")
    (tmp_path / "a.yaml").write_text("preset: [")
    with pytest.raises(TrainingError, match="is not a readable recipe"):
        load_recipe(str(tmp_path / "a.yaml"))
    (tmp_path / "b.yaml").write_text("- 1")
    with pytest.raises(TrainingError, match="is not a recipe"):
        load_recipe(str(tmp_path / "b.yaml"))
    (tmp_path / "c.yaml").write_text("preset: edge\nbatch: 4\n")
    with pytest.raises(TrainingError, match="epochs is missing"):
        load_recipe(str(tmp_path / "c.yaml"))


def test_differences_name_key_and_both_values() -> None:
    one, other = (to_plain(load_recipe("edge", [f"optimizer.lr={lr}"])) for lr in (1e-3, 2e-3))
    assert differences(one, other) == ["optimizer.lr: 0.001, now 0.002"]
    assert differences(one, one) == []
