"""Writes the bundled files: `make weights DATA=faces/ [LABELS=celebamask19-raw] [FROM=runs/edge/best.pt]`.

FROM gives its weights to the bundled checkpoint, of which all else is made; of several checkpoints, their mean. DATA, a
folder of labelled pictures, is what int8 is calibrated on (its training split) and judged on (its validation split); no
picture of it is kept.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from edge_segface.assets import FOLDER
from edge_segface.data import open_dataset
from edge_segface.export.onnx_export import export_onnx
from edge_segface.face.parser import FaceParser
from edge_segface.labels import label_space
from edge_segface.model.checkpoint import Weights, load_weights, save_weights
from edge_segface.quantize.accuracy_gate import AccuracyGate
from edge_segface.quantize.calibration.collect import collect
from edge_segface.quantize.calibration.definition import Definition
from edge_segface.quantize.calibration.sources import from_dataset
from edge_segface.quantize.pipeline import reduce_precision

CHECKPOINT = FOLDER / "edge.pt"
MAX_DROP = 1.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--labels", default="celebamask19")
    options.add_argument("--from", dest="sources", type=Path, nargs="*")
    asked = options.parse_args()
    if asked.sources:
        save_weights(averaged(asked.sources), CHECKPOINT, torch.float16)
    exported = export_onnx(load_weights(CHECKPOINT), FOLDER / "edge-256.onnx", size=256, half_weights=True)
    say(exported.path, exported.parity)
    train_set, val_set = (
        open_dataset("folder", asked.data, split, label_space(asked.labels)) for split in ("train", "val")
    )
    with tempfile.TemporaryDirectory() as folder:
        pictures, out = Path(folder) / "set.npz", FOLDER / "edge-256-int8.onnx"
        with FaceParser(exported.path) as parser:
            collect(
                from_dataset(train_set, parser), parser.spec, Definition(), source="train", labelled_by="the dataset"
            ).save(pictures)
        result = reduce_precision(exported.path, "int8", pictures, out, judge=AccuracyGate(val_set, MAX_DROP))
    assert result.verdict is not None
    say(
        out,
        f"mean F1 drops by {result.verdict.mean_drop:.2f}, {100 * result.lowered.int8_share:.1f} % of the work in int8",
    )


def averaged(checkpoints: Sequence[Path]) -> Weights:
    """The mean of networks that went on from the same weights, which finds more than each ("Model soups", 2022)."""
    several = [load_weights(path) for path in checkpoints]
    first = several[0]
    if len(several) == 1:
        return first
    states = [weights.model.state_dict() for weights in several]
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(value.dtype)
        for name, value in states[0].items()
    }
    first.model.load_state_dict(mean)
    data = "; ".join(dict.fromkeys(weights.training_data for weights in several))
    return replace(first, training_data=data, f1=None)  # whose own is not that of the mean


def say(path: Path, words: object) -> None:
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {words}")  # noqa: T201


if __name__ == "__main__":
    main()
