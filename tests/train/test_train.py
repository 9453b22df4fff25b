"""Training on drawn faces: what comes out, and that nothing which happens on the way changes it."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision

import edge_segface
from edge_segface.assets import FOLDER
from edge_segface.data import Dataset, open_dataset
from edge_segface.data.synthetic.drawn import open_drawn
from edge_segface.errors import CheckpointError, SampleLostError, TrainingError
from edge_segface.labels import CELEBAMASK19, LAPA11
from edge_segface.model.build import PRESETS
from edge_segface.model.checkpoint import Weights, load_weights, save_weights
from edge_segface.model.official import official_names
from edge_segface.train.backbone import load_backbone
from edge_segface.train.ema import Ema
from edge_segface.train.loop import Progress, Trained, train
from edge_segface.train.recipe import Recipe, load_recipe
from edge_segface.train.run_folder import RunFolder
from edge_segface.train.setup import Devices, starting_network
from tests.conftest import assert_one_line_error, run_cli
from tests.support.datasets import write_folder, write_lapa

TINY = (
    "size=128",
    "augmentation=camera",
    "epochs=2",
    "batch=4",
    "validate_epochs=1",
    "camera.scenes=0.3",
    "schedule.warm_up_steps=1",
)


def recipe(*changes: str) -> Recipe:
    return load_recipe("drawn", [*TINY, *changes])


def few(split: str, count: int) -> Dataset:
    dataset = open_drawn(split, 128)
    return dataset.only(dataset.names[:count])


def run_training(
    folder: Path, followed: Recipe, *, resume: bool = False, on_progress: Callable[[Progress], None] = lambda _: None,
    machines: Devices | None = None, train_set: Dataset | None = None,
) -> Trained:  # fmt: skip
    machines = machines or Devices("cpu", workers=0)
    return train(
        followed,
        train_set or few("train", 8),
        few("val", 2),
        RunFolder(folder),
        machines,
        resume=resume,
        on_progress=on_progress,
    )


def metrics(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def same_weights(one: Path, other: Path) -> bool:
    a, b = (torch.load(folder / "last.pt", weights_only=True)["state_dict"] for folder in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run_training(folder, recipe())
    return folder


def test_a_run_leaves_all_that_its_reader_needs(finished: Path) -> None:
    weights = load_weights(finished / "best.pt")
    assert (weights.preset, weights.space) == ("pico", CELEBAMASK19)
    assert weights.f1 is not None
    assert weights.licence == "free; drawn by this package"
    records = metrics(finished)
    assert [record["epoch"] for record in records] == [1, 2]
    assert {"mean_f1", "miou", "f1", "artefacts"} <= records[-1]["val"].keys()  # type: ignore[attr-defined]
    assert records[-1]["loss"]["total"] == pytest.approx(  # type: ignore[index]
        0.5 * records[-1]["loss"]["ce"] + 0.5 * records[-1]["loss"]["dice"], abs=1e-5  # type: ignore[index]
    )  # fmt: skip
    facts = json.loads((finished / "run.json").read_text())
    assert facts["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert facts["data"]["train"]["pictures"] == 8
    assert "epochs: 2" in (finished / "recipe.yaml").read_text()
    assert any((finished / "tensorboard").iterdir())


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(finished: Path, tmp_path: Path) -> None:
    run_training(tmp_path / "again", recipe())
    assert same_weights(finished, tmp_path / "again")
    run_training(tmp_path / "other", recipe("seed=1"))
    assert not same_weights(finished, tmp_path / "other")


def test_workers_and_interruptions_do_not_change_the_weights(finished: Path, tmp_path: Path) -> None:
    def stop_in_the_middle(at: Progress) -> None:
        if at.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    import edge_segface.train.loop as loop

    look_every = loop.LOOK_EVERY
    loop.LOOK_EVERY = 1  # so that it stops at once, in the middle of the second epoch
    try:
        first = run_training(
            tmp_path / "run", recipe(), on_progress=stop_in_the_middle, machines=Devices("cpu", workers=1)
        )
    finally:
        loop.LOOK_EVERY = look_every
    assert first.stopped
    assert first.steps == 3
    assert run_training(tmp_path / "run", recipe(), resume=True).steps == 4
    assert same_weights(finished, tmp_path / "run")
    assert [record["val"] for record in metrics(tmp_path / "run")] == [record["val"] for record in metrics(finished)]


def test_accumulation_runs_and_takes_as_many_steps(tmp_path: Path) -> None:
    trained = run_training(tmp_path / "run", recipe("epochs=1"), machines=Devices("cpu", accumulate=2, workers=0))
    assert trained.steps == 2


def test_every_option_at_once_goes_on_exactly(finished: Path, tmp_path: Path) -> None:
    options = (
        "consensus.weight=0.1", "consensus.label=1.0", "contrastive.weight=0.1", "contrastive.from_epoch=0",
        "contrastive.regroup_epochs=1", "repeat_threshold=0.5", f"distillation.teacher={finished / 'best.pt'}",
        "distillation.size=160", "optimizer.clip=1.0", "precision=bf16", "epochs=3",
    )  # fmt: skip
    run_training(tmp_path / "whole", recipe(*options))
    losses = metrics(tmp_path / "whole")[-1]["loss"]
    assert losses.keys() == {"ce", "dice", "piece_label", "agreement", "contrast", "distillation", "total"}  # type: ignore[attr-defined]
    weights = {"ce": 0.5, "dice": 0.5, "piece_label": 0.1, "agreement": 0.1, "contrast": 0.1, "distillation": 1.0}
    assert losses["total"] == pytest.approx(sum(weights[name] * losses[name] for name in weights), abs=1e-4)  # type: ignore[index]

    class Killed(Exception):
        pass

    def kill(at: Progress) -> None:
        if at.ended and at.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        run_training(tmp_path / "cut", recipe(*options), on_progress=kill)
    run_training(tmp_path / "cut", recipe(*options), resume=True)
    assert same_weights(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("killed_at", [1, 2, 3])  # before the first step, and after each of the two epochs
def test_kill_9_while_a_state_is_written_loses_nothing(finished: Path, tmp_path: Path, killed_at: int) -> None:
    folder = tmp_path / "run"
    script = (
        "import os\n"
        "from tests.train.test_train import *\n"
        "saves = []\n"
        "def fsync(number):\n"
        "    if '.state' in os.readlink(f'/proc/self/fd/{number}'):\n"
        "        saves.append(number)\n"
        f"        if len(saves) == {killed_at}:\n"
        "            os.truncate(number, 1000)\n"
        "            os.kill(os.getpid(), 9)\n"
        "os.fsync = fsync\n"
        f"run_training(Path({str(folder)!r}), recipe())\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert any(path.name.startswith(".state") for path in folder.iterdir())  # what was being written
    assert (folder / "metrics.jsonl").exists() == (folder / "state.pt").exists() == (killed_at > 1)
    assert run_training(folder, recipe(), resume=killed_at > 1).steps == 4
    assert same_weights(finished, folder)
    assert [record["epoch"] for record in metrics(folder)] == [1, 2]
    assert not any(path.name.startswith(".state") for path in folder.iterdir())


def test_a_full_disk_is_named_and_the_state_before_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    script = (
        "import resource, signal\n"
        "from tests.train.test_train import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "def limit(at):\n"
        "    if at.ended: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, resource.RLIM_INFINITY))\n"
        "try:\n"
        f"    run_training(Path({str(folder)!r}), recipe(), on_progress=limit)\n"
        "except EdgeSegfaceError as error:\n"
        "    print('ERROR', error)\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert f"ERROR cannot write {folder / 'state.pt'}" in result.stdout, result.stderr[-2000:]
    assert torch.load(folder / "state.pt", weights_only=True)["step"] == 2


def test_a_loss_that_is_no_number_stops_with_step_and_pictures(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"the loss is not a number.*step \d+, pictures drawn-\d.*state\.pt is from before it"
    ):
        run_training(tmp_path / "run", recipe("optimizer.lr=1e30", "optimizer.clip=null", "epochs=4"))
    run_training(tmp_path / "fine", recipe("epochs=1"))
    state = torch.load(tmp_path / "fine" / "state.pt", weights_only=True)
    for name, value in state["learner"].items():
        if name.endswith("class_tokens"):
            value.fill_(float("nan"))
    state["step"], state["recipe"]["epochs"] = 2, 2
    torch.save(state, tmp_path / "fine" / "state.pt")
    with pytest.raises(TrainingError, match=r"step 3, pictures .*state\.pt is from before it"):
        run_training(tmp_path / "fine", recipe("epochs=2"), resume=True)


def test_going_on_with_another_recipe_says_what_differs(finished: Path) -> None:
    with pytest.raises(TrainingError, match=r"another recipe.*batch: 4, now 8; optimizer\.lr: 0\.003, now 0\.01"):
        run_training(finished, recipe("batch=8", "optimizer.lr=0.01"), resume=True)
    with pytest.raises(
        TrainingError, match=r"other data.*data\.train\.names_sha256: \w+, now \w+; data\.train\.pictures: 8, now 9"
    ):
        run_training(finished, recipe(), resume=True, train_set=few("train", 9))


def test_a_run_that_was_begun_before_a_key_was_added_goes_on(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    state = torch.load(finished / "state.pt", weights_only=True)
    del state["recipe"]["camera"]["backdrops"], state["recipe"]["repeat_threshold"]
    torch.save(state, tmp_path / "run" / "state.pt")
    assert run_training(tmp_path / "run", recipe(), resume=True).steps == 4


def test_a_picture_that_is_lost_meanwhile_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = open_dataset("folder", write_folder(tmp_path / "faces", 8), "all", CELEBAMASK19)
    monkeypatch.setattr("edge_segface.train.loop.IN_MEMORY_BYTES", 0)
    lost = tmp_path / "faces" / "images" / "005.jpg"
    with pytest.raises(SampleLostError, match=r"^image missing \(found: 005\.jpg\); mend it"):
        run_training(
            tmp_path / "run",
            recipe("epochs=20"),
            train_set=faces,
            machines=Devices("cpu", workers=1),
            on_progress=lambda _: lost.unlink(missing_ok=True),
        )


def test_the_revision_is_that_of_the_code_which_runs(tmp_path: Path) -> None:
    """Not of a repository in whose ignored folder the package happens to be installed."""
    copy = tmp_path / "venv"
    shutil.copytree(Path(edge_segface.__file__).parent, copy / "edge_segface", ignore=shutil.ignore_patterns("assets"))
    shutil.copytree(FOLDER, copy / "edge_segface" / "assets", ignore=shutil.ignore_patterns("*.onnx", "*.pt"))

    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    def revision() -> str:
        script = "from edge_segface.train.run import git_revision; print(git_revision())"
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        return subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=tmp_path, env=environment
        ).stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "a project")
    assert revision() == "None"
    git("add", "venv")
    git("commit", "-q", "-m", "a checkout")
    assert revision() == git("rev-parse", "HEAD")


def test_a_foreign_state_is_no_traceback(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for content in (b"text", (finished / "last.pt").read_bytes()):
        (tmp_path / "run" / "state.pt").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"state\.pt is not"):
            run_training(tmp_path / "run", recipe(), resume=True)


def test_going_on_leaves_other_files_alone_and_survives_a_torn_line(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / ".gitignore").write_text("*\n")
    (folder / ".state-1234abcd.pt").write_bytes(b"half")
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 3, "step": 6, "loss": {"ce": 1}')
    run_training(folder, recipe(), resume=True)
    assert (folder / ".gitignore").exists()
    assert not (folder / ".state-1234abcd.pt").exists()
    assert [record["epoch"] for record in metrics(folder)] == [1, 2]


def test_weights_that_broke_in_the_last_step_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import edge_segface.train.loop as loop

    real = loop.Training.one_step

    def one_step(self: loop.Training, data: object, epoch: int) -> None:
        real(self, data, epoch)  # type: ignore[arg-type]
        if self.step == 1:
            with torch.no_grad():
                next(iter(self.learner.parameters())).fill_(float("nan"))

    monkeypatch.setattr(loop.Training, "one_step", one_step)
    with pytest.raises(TrainingError, match=r"not a number.*step 2, pictures"):
        run_training(tmp_path / "run", recipe())
    assert not (tmp_path / "run" / "last.pt").exists()


def test_batches_that_cannot_be_shared_or_filled(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"a batch of 4 cannot be shared out evenly .*say --set batch=3"):
        run_training(tmp_path / "a", recipe(), machines=Devices("cpu", accumulate=3, workers=0))
    with pytest.raises(TrainingError, match="8 pictures do not fill a batch of 64"):
        run_training(tmp_path / "b", recipe("batch=64"))


@pytest.mark.parametrize("started_by", ["ourselves", "torchrun"])
def test_two_processes_train_one_network(started_by: str, tmp_path: Path) -> None:
    changes = [argument for change in (*TINY, "epochs=1", "batch=64") for argument in ("--set", change)]
    arguments = ["edge_segface", "train", "drawn", "--out", str(tmp_path / "run"), "--workers", "0", "--threads", "1"]
    launcher = (
        ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"] if started_by == "torchrun" else []
    )
    more = [] if launcher else ["--devices", "2"]
    command = [sys.executable, "-m", *launcher, *arguments, "--accelerator", "cpu", *more, *changes]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    record = metrics(tmp_path / "run")[0]
    assert record["step"] == 256 // 64
    assert result.stdout.count("mean F1") == 1
    assert len(metrics(tmp_path / "run")) == 1  # written by one of them
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert not any(key.startswith("module.") for key in state["learner"])
    # What both scored together is what one alone scores.
    alone = run_cli("evaluate", tmp_path / "run" / "last.pt", "--dataset", "drawn", "--split", "val", "--size", 128,
                    "--json", tmp_path / "alone.json")  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    scores = json.loads((tmp_path / "alone.json").read_text())["f1"]
    for name, score in record["val"]["f1"].items():  # type: ignore[attr-defined]
        assert scores[name] == pytest.approx(score, abs=0.3)  # a few pixels are nearly tied


def test_of_two_processes_the_one_whose_loss_broke_is_named(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text(
        "import os\n"
        "from tests.train.test_train import *\n"
        "from edge_segface.train.learner import Learner\n"
        "forward, calls = Learner.forward, []\n"
        "def spoilt(self, *batch):\n"
        "    losses = forward(self, *batch)\n"
        "    calls.append(1)\n"
        "    if os.environ['RANK'] == '1' and len(calls) == 2: losses['total'] = losses['total'] * float('nan')\n"
        "    return losses\n"
        "Learner.forward = spoilt\n"
        "try:\n"
        f"    run_training(Path({str(tmp_path / 'run')!r}), recipe('epochs=1', 'batch=2'))\n"
        "except TrainingError as error:\n"
        "    print('ERROR', os.environ['RANK'], error)\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    errors = sorted(line for line in result.stdout.splitlines() if line.startswith("ERROR"))
    assert [error[:7] for error in errors] == ["ERROR 0", "ERROR 1"], result.stderr
    assert errors[0][7:] == errors[1][7:]
    assert "step 2, pictures drawn-" in errors[0]


def test_lapa_trains_through_the_warp(tmp_path: Path) -> None:
    from edge_segface.data import open_dataset

    root = write_lapa(tmp_path / "lapa", {"train": 4, "val": 2})
    followed = load_recipe("paper-lapa", ["size=128", "epochs=1", "batch=4", "backbone=null"])
    trained = train(
        followed, open_dataset("lapa", root, "train"), open_dataset("lapa", root, "val"), RunFolder(tmp_path / "run"),
        Devices("cpu", workers=0),
    )  # fmt: skip
    weights = load_weights(trained.run.best)
    assert (weights.space, weights.warp) == (LAPA11, "roi-tanh")
    assert weights.licence.startswith("for non-commercial research")


@pytest.mark.parametrize("preset", ["paper", "edge", "pico"])
def test_torchvisions_backbone_fits_tensor_by_tensor(preset: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    name = "mobilenet_v3_small" if preset == "pico" else "mobilenet_v3_large"
    theirs = torchvision.models.get_model(name, weights=None)
    for buffer in theirs.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    torch.save(theirs.state_dict(), tmp_path / "backbone.pt")
    model = PRESETS[preset](19)
    load_backbone(model, preset, str(tmp_path / "backbone.pt"))
    image = torch.randn(1, 3, 64, 64)
    deepest = model.backbone.eval()(image)[-1]
    assert torch.allclose(deepest, theirs.features.eval()(image), atol=1e-4)
    if preset == "paper":
        names = official_names(model, CELEBAMASK19)
        for ours, official in names.items():
            if official.startswith("backbone."):
                assert torch.equal(
                    model.state_dict()[ours], theirs.state_dict()[official.replace("backbone.", "features.", 1)]
                )


def test_a_backbone_of_another_kind_is_refused(tmp_path: Path) -> None:
    torch.save({"features.0.0.weight": torch.zeros(3)}, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match="does not fit the backbone of edge"):
        load_backbone(PRESETS["edge"](19), "edge", str(tmp_path / "b.pt"))
    with pytest.raises(CheckpointError, match="is not a readable state dict"):
        load_backbone(PRESETS["edge"](19), "edge", str(tmp_path / "none.pt"))


def test_start_and_teacher_must_be_of_one_kind(finished: Path, tmp_path: Path) -> None:
    started = recipe(f"start_from={finished / 'best.pt'}", "epochs=1")
    run_training(tmp_path / "on", started)
    with pytest.raises(TrainingError, match="is no edge .*found: pico"):
        run_training(tmp_path / "other", recipe(f"start_from={finished / 'best.pt'}", "preset=edge"))
    torch.manual_seed(0)
    lapa = Weights(PRESETS["pico"](11), "pico", LAPA11, "nothing", "free")
    save_weights(lapa, tmp_path / "lapa.pt")
    with pytest.raises(CheckpointError, match="is not for celebamask19"):
        run_training(tmp_path / "taught", recipe(f"distillation.teacher={tmp_path / 'lapa.pt'}"))


def test_training_goes_on_from_weights_without_the_offsets_that_ended_theirs() -> None:
    path = FOLDER / "edge.pt"
    balanced = load_weights(path).model
    assert balanced.class_offset is not None
    started = starting_network(recipe("preset=edge", f"start_from={path}"))
    assert started.class_offset is None
    assert torch.equal(started.decoder.class_tokens, balanced.decoder.class_tokens)  # type: ignore[arg-type, union-attr]


def test_the_mean_of_weights_follows_its_formula() -> None:
    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(2))
            self.register_buffer("count", torch.zeros((), dtype=torch.long))

    model = Small()
    ema = Ema(model, 0.5)
    expected = 0.0
    for step in range(1, 21):
        with torch.no_grad():
            model.weight.fill_(step)
        model.count += 1
        ema.update(model)
        decay = min(0.5, step / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert ema.model.weight.tolist() == pytest.approx([expected] * 2)
    assert int(ema.model.count) == 20
    assert not ema.model.weight.requires_grad


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("drawn", "--accelerator", "gpu0"), ("cannot train on 1 x gpu0",)),
        (
            ("paper-lapa", "--dataset", "folder", "--data", "DATA", "--labels", "celebamask19"),
            ("roi-tanh needs five landmarks", "folder has none"),
        ),
        (("paper-lapa", "--dataset", "folder", "--data", "DATA"), ("mask with ids outside lapa11",)),
        (("drawn", "--set", "epoch=3"), ("unknown key epoch",)),
        (("drawn", "--labels", "lapa11"), ("drawn is labelled in celebamask19", "leave --labels out")),
        (("drawn", "--resume"), ("holds no run to go on with", "leave --resume out")),
        (("edge",), ("celebamask needs a folder", "--dataset drawn")),
        (("edge", "--data", "DATA"), ("is not laid out as celebamask", "--dataset folder")),
        (("edge", "--data", "DATA", "--dataset", "folder", "--set", "batch=64"), ("do not fill a batch of 64",)),
    ],
)
def test_wrong_commands_are_answered_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    root = write_folder(tmp_path / "faces", 4)
    arguments = tuple(str(root) if argument == "DATA" else argument for argument in arguments)
    result = run_cli("train", "--accelerator", "cpu", *arguments, "--out", tmp_path / "run")
    assert_one_line_error(result, *words, beside="lapa11 lacks")


def test_a_folder_with_a_run_is_not_overwritten(finished: Path) -> None:
    before = (finished / "state.pt").read_bytes()
    result = run_cli("train", "drawn", "--out", finished)
    assert_one_line_error(result, "holds a run already", "--resume")
    assert (finished / "state.pt").read_bytes() == before


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    changes = [argument for change in (*TINY, "epochs=50") for argument in ("--set", change)]
    command = [sys.executable, "-m", "edge_segface", "train", "drawn", "--out", str(tmp_path / "run"), "--workers", "1"]
    process = subprocess.Popen(
        [*command, "--accelerator", "cpu", *changes], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 300
    while not (tmp_path / "run" / "last.pt").exists() and time.monotonic() < until:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells all processes, workers too
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "go on with --resume" in errors
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] > 0


def test_recipes_are_listed_and_shown() -> None:
    listed = run_cli("recipes")
    assert "paper-lapa" in listed.stdout
    shown = run_cli("recipes", "edge")
    assert "augmentation: camera" in shown.stdout


def test_what_is_wrong_with_a_command_is_said_before_torch_is_loaded(tmp_path: Path) -> None:
    for arguments in (
        ("recipes",),
        ("train", "nosuch", "--out", tmp_path / "run"),
        ("train", "edge", "--out", tmp_path),
    ):
        result = run_cli(*arguments, env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
        assert "| edge_segface.cli" in result.stderr
        assert not re.search(r"\| +(torch|timm)$", result.stderr, re.MULTILINE)
