"""Write the bundled files of a model: `make weights DATA=faces/ [LABELS=celebamask19-raw] [MODEL=lite] [FROM=best.pt]`.

FROM replaces the bundled checkpoint, from which the other files are made; of several checkpoints, the mean is taken.
DATA is a folder of labelled images. Its training split calibrates int8 and its validation split measures the accuracy
drop; no image of it is stored.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from edge_segface.assets import FOLDER
from edge_segface.data import Dataset, open_dataset
from edge_segface.export.onnx_export import export_onnx
from edge_segface.face.parser import FaceParser
from edge_segface.labels import label_space
from edge_segface.model.checkpoint import Weights, load_weights, save_weights
from edge_segface.quantize.accuracy_gate import AccuracyGate
from edge_segface.quantize.calibration.collect import collect
from edge_segface.quantize.calibration.definition import Definition
from edge_segface.quantize.calibration.sources import from_dataset
from edge_segface.quantize.pipeline import quantize_int8

MAX_DROP = 1.0


@dataclass(frozen=True)
class Bundled:
    """A bundled checkpoint, and the files that are made from it."""

    checkpoint: Path
    size: int
    int8: bool

    @property
    def onnx(self) -> Path:
        return FOLDER / f"{self.checkpoint.stem}-{self.size}.onnx"


MODELS = {
    "edge": Bundled(FOLDER / "edge.pt", 256, int8=True),
    "lite": Bundled(FOLDER / "lite.pt", 384, int8=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and masks/")
    parser.add_argument("--labels", default="celebamask19", help="label space of the masks (default: celebamask19)")
    parser.add_argument("--model", choices=MODELS, default="edge", help="which of the models (default: edge)")
    parser.add_argument("--from", dest="checkpoints", type=Path, nargs="*", help="checkpoints that replace the bundled")
    arguments = parser.parse_args()
    bundled = MODELS[arguments.model]
    space = label_space(arguments.labels)
    train_set, val_set = (open_dataset("folder", arguments.data, split, space) for split in ("train", "val"))
    if arguments.checkpoints:
        save_weights(mean_weights(arguments.checkpoints), bundled.checkpoint, torch.float16)
    exported = export_onnx(load_weights(bundled.checkpoint), bundled.onnx, size=bundled.size, half_weights=True)
    report(bundled.onnx, str(exported.parity))
    if bundled.int8:
        quantize(bundled.onnx, train_set, val_set)


def quantize(model: Path, train_set: Dataset, val_set: Dataset) -> None:
    out = model.with_name(f"{model.stem}-int8.onnx")
    with tempfile.TemporaryDirectory() as folder:
        calibration = Path(folder) / "calibration.npz"
        with FaceParser(model) as parser:
            images = from_dataset(train_set, parser)
            collect(images, parser.spec, Definition(), "train", "the dataset").save(calibration)
        result = quantize_int8(model, calibration, out, gate=AccuracyGate(val_set, MAX_DROP))
    assert result.drop is not None
    share = f"{100 * result.model.int8_share:.1f} % of multiply-adds in int8"
    report(out, f"mean F1 drops by {result.drop.mean_drop:.2f}, {share}")


def mean_weights(checkpoints: Sequence[Path]) -> Weights:
    """Return the mean of networks fine-tuned from the same weights, often better than each ("Model soups", 2022)."""
    networks = [load_weights(path) for path in checkpoints]
    first = networks[0]
    if len(networks) == 1:
        return first
    states = [weights.model.state_dict() for weights in networks]
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(value.dtype)
        for name, value in states[0].items()
    }
    first.model.load_state_dict(mean)
    data = "; ".join(dict.fromkeys(weights.training_data for weights in networks))
    return replace(first, training_data=data, f1=None)  # F1 was measured on the parts, not on the mean


def report(path: Path, text: str) -> None:
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {text}")  # noqa: T201


if __name__ == "__main__":
    main()
