"""Two CPU processes that train one network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from edge_segface.errors import TrainingError
from edge_segface.train.devices import Devices, native_precision, start_fabric
from tests.conftest import ROOT, run_cli
from tests.support.datasets import write_folder
from tests.support.training import SIZE, TINY, read_metrics, read_state

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_unknown_accelerator_is_an_error_with_the_choices() -> None:
    with pytest.raises(TrainingError, match=r"cannot train on 1 x gpu0 .*auto, cpu, cuda, mps"):
        start_fabric("fp32", Devices("gpu0"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU decides, not the processor")
@pytest.mark.parametrize(
    ("features", "precision"), [({"avx2"}, "fp32"), ({"avx512_bf16", "avx2"}, "bf16"), ({"bf16", "asimd"}, "bf16")]
)
def test_bfloat16_is_chosen_where_the_processor_has_it(
    features: set[str], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_segface.train.devices.cpu_features", lambda: frozenset(features))
    assert native_precision("cpu") == precision


@pytest.mark.slow
@pytest.mark.parametrize("started_by", ["fabric", "torchrun"])
def test_two_processes_train_one_network(started_by: str, tmp_path: Path) -> None:
    run, data = tmp_path / "run", ("--dataset", "folder", "--data", write_folder(tmp_path / "faces", 12, size=128))
    changes = (*TINY, "epochs=1", "train_split=all", "val_split=all")
    launcher, devices = (TORCHRUN, ()) if started_by == "torchrun" else ((), ("--devices", "2"))
    command = [
        sys.executable, *launcher, "-m", "edge_segface", "train", "drawn", "--out", run, *data, "--workers", "0",
        "--threads", "1", "--accelerator", "cpu", *devices, *(word for change in changes for word in ("--set", change)),
    ]  # fmt: skip
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("mean F1") == 1
    records = read_metrics(run)
    assert [record["step"] for record in records] == [12 // 4]  # written by one process only
    assert not any(key.startswith("module.") for key in read_state(run)["learner"])

    # The scores that both computed together are those that one process computes alone.
    alone = run_cli("evaluate", run / "last.pt", *data, "--size", SIZE, "--json", tmp_path / "alone.json")
    assert alone.returncode == 0, alone.stderr
    scores = json.loads((tmp_path / "alone.json").read_text())["f1"]
    for name, score in records[0]["val"]["f1"].items():
        assert scores[name] == pytest.approx(score, abs=0.3)  # a few pixels are nearly tied


@pytest.mark.slow
def test_divergence_names_the_process_whose_loss_broke_first(tmp_path: Path) -> None:
    command = [sys.executable, *TORCHRUN, "-m", "tests.train.scripts.diverge_on_rank_one", str(tmp_path / "run")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    errors = sorted(line for line in result.stdout.splitlines() if line.startswith("ERROR"))
    assert [error[:7] for error in errors] == ["ERROR 0", "ERROR 1"], result.stderr
    assert errors[0][7:] == errors[1][7:]
    assert "step 2, images drawn-" in errors[0]
