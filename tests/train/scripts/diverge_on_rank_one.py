"""Trains under torchrun with a NaN loss in the second step of the second process.

Usage: diverge_on_rank_one.py FOLDER
"""

import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from edge_segface.errors import TrainingError
from edge_segface.train.learner import Learner
from tests.support.training import run_tiny, tiny_recipe

forward = Learner.forward
calls = 0


def forward_with_nan(learner: Learner, *batch: Any) -> dict[str, torch.Tensor]:
    global calls
    calls += 1
    losses = forward(learner, *batch)
    if os.environ["RANK"] == "1" and calls == 2:
        losses["total"] = losses["total"] * float("nan")
    return losses


if __name__ == "__main__":
    try:
        with patch.object(Learner, "forward", forward_with_nan):
            run_tiny(Path(sys.argv[1]), tiny_recipe("epochs=1", "batch=2"))
    except TrainingError as error:
        print("ERROR", os.environ["RANK"], error)  # noqa: T201
