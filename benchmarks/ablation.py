"""What `edge` owes to each of its parts: networks and ways of training, with the same data, budget and seed.

    python benchmarks/ablation.py --data DIR [--labels NAME] [--runs DIR] [--only NAME...] [--seeds 0 1]

Every run is trained by `edge_segface.train` from nothing and kept under --runs; what is finished is not trained again,
and what was cut off goes on. The result is written after every run. F1 is that of the last epoch, on the validation
split, at the masks' own size. Times are of the networks as they are trained, exported without the rewrite, so that all
are treated alike.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import rewrite
import torch
import yaml
from torch import Tensor

from edge_segface.data import Dataset, open_dataset
from edge_segface.files import write_text
from edge_segface.labels import label_space
from edge_segface.machine import machine_info
from edge_segface.model.build import PRESETS, build_edge, mobilenet
from edge_segface.model.edge import EdgeDecoder, Refine
from edge_segface.model.segface import SegFace
from edge_segface.progress import NoProgress
from edge_segface.train.devices import Devices
from edge_segface.train.loop import train
from edge_segface.train.recipe import load_recipe
from edge_segface.train.run_folder import RunFolder, versions

RESULT = Path(__file__).parent / "results" / "ablation.json"
SIZE = 256
# Short enough to be run on two cores, and without what only cameras need.
BUDGET = ("epochs=12", "validate_epochs=4", "camera.scenes=0", "camera.borrow=0", "repeat_threshold=0", f"size={SIZE}")
ROUNDS = 30
COLUMNS = (
    "variant", "parameters M", "GFLOP", "median ms", "steps", "mean F1", "small parts F1", "long tail F1", "artefacts",
    "seeds",
)  # fmt: skip
SMALL = ("l_brow", "r_brow", "l_eye", "r_eye", "mouth", "l_lip", "u_lip")  # what refinement is for


@dataclass(frozen=True)
class Variant:
    group: str
    preset: str = "edge"
    changes: tuple[str, ...] = ()
    teacher: str | None = None  # another variant


def build_variant(width: int = 128, depth: int = 2, refine_width: int = 64) -> SegFace:
    backbone = mobilenet("mobilenetv3_large_100", out_indices=(0, 1, 2, 3, 4))
    decoder = EdgeDecoder(
        19,
        backbone.feature_info.channels(),
        width=width,
        depth=depth,
        heads=4,
        cross_inner=width // 2,
        hidden=4 * width,
        refine_width=refine_width,
        mask_width=32,
    )
    return SegFace(backbone, decoder)


class HalfLeftOut(torch.nn.Module):
    """Masks at a quarter of the input: without the last refinement."""

    def forward(self, pixels: Tensor, half: Tensor) -> Tensor:  # noqa: ARG002
        return pixels


def build_quarter() -> SegFace:
    model = build_edge(19)
    channels = model.backbone.feature_info.channels()  # type: ignore[union-attr, operator]
    decoder = model.decoder
    decoder.refine_quarter = Refine(128, channels[1], 32, kernel=5)
    decoder.refine_half = HalfLeftOut()
    return model


PRESETS.update(
    {
        "edge-width-96": lambda _: build_variant(width=96),
        "edge-width-192": lambda _: build_variant(width=192),
        "edge-depth-1": lambda _: build_variant(depth=1),
        "edge-depth-3": lambda _: build_variant(depth=3),
        "edge-refine-32": lambda _: build_variant(refine_width=32),
        "edge-quarter": lambda _: build_quarter(),
    }
)

VARIANTS = {
    "edge": Variant("network"),
    "paper": Variant("network", "paper"),
    "width 96": Variant("network", "edge-width-96"),
    "width 192": Variant("network", "edge-width-192"),
    "depth 1": Variant("network", "edge-depth-1"),
    "depth 3": Variant("network", "edge-depth-3"),
    "refinement 32 wide": Variant("network", "edge-refine-32"),
    "masks at a quarter": Variant("network", "edge-quarter"),
    "consensus 0.1": Variant("training", changes=("consensus.weight=0.1", "consensus.from_epoch=1")),
    "consensus 0.1 with labels": Variant(
        "training", changes=("consensus.weight=0.1", "consensus.label=1.0", "consensus.from_epoch=1")
    ),
    "repeat factors 0.25": Variant("training", changes=("repeat_threshold=0.25",)),
    "14 epochs": Variant("training", changes=("epochs=14",)),  # as many steps as with repeat factors
    "borrowed parts 0.35": Variant("training", changes=("camera.borrow=0.35",)),
    "contrastive 0.1": Variant(
        "training", changes=("contrastive.weight=0.1", "contrastive.from_epoch=2", "contrastive.regroup_epochs=3")
    ),
    "taught by paper": Variant("training", teacher="paper"),
    "whole frames 0.3": Variant("training", changes=("camera.scenes=0.3",)),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--labels", default="celebamask19")
    options.add_argument("--runs", type=Path, default=Path("runs/ablation"))
    options.add_argument("--only", nargs="*", default=list(VARIANTS), help="Names of variants.")
    options.add_argument("--seeds", nargs="*", type=int, default=[0])
    options.add_argument("--set", nargs="*", default=[], dest="changes")
    asked = options.parse_args()
    space = label_space(asked.labels)
    train_set, val_set = (open_dataset("folder", asked.data, split, space) for split in ("train", "val"))
    for seed in asked.seeds:
        for name in asked.only:
            if not trained(name, seed, asked.runs, asked.changes, train_set, val_set):
                sys.exit("stopped; the same command goes on")
            write(asked.runs, asked.changes, train_set, val_set)
    write(asked.runs, asked.changes, train_set, val_set, timed=True)


class PrintedProgress(NoProgress):
    """Prints the state of training once a minute."""

    def __init__(self, name: str) -> None:
        self.name, self.printed_s = name, time.monotonic()

    def describe(self, text: str) -> None:
        if time.monotonic() - self.printed_s > 60:
            self.printed_s = time.monotonic()
            print(self.name, text, flush=True, file=sys.stderr)


def folder_of(runs: Path, name: str, seed: int) -> Path:
    return runs / f"{name.replace(' ', '-')}-seed-{seed}"


def trained(name: str, seed: int, runs: Path, changes: list[str], train_set: Dataset, val_set: Dataset) -> bool:
    variant, run = VARIANTS[name], RunFolder(folder_of(runs, name, seed))
    more = (
        ()
        if variant.teacher is None
        else (f"distillation.teacher={folder_of(runs, variant.teacher, seed) / 'last.pt'}",)
    )
    recipe = load_recipe(
        "edge",
        ["dataset=folder", f"preset={variant.preset}", *BUDGET, *variant.changes, *more, f"seed={seed}", *changes],
    )
    devices, progress = Devices("cpu", workers=1), PrintedProgress(f"{name} {seed}")
    result = train(recipe, train_set, val_set, run, devices, resume=run.state.exists(), progress=progress)
    return not result.stopped


def write(runs: Path, changes: list[str], train_set: Dataset, val_set: Dataset, *, timed: bool = False) -> None:
    """Gathers what is there. Times are measured at the end, in one interleaved run."""
    rows = []
    for name, variant in VARIANTS.items():
        scores = {}
        for folder in sorted(runs.glob(f"{name.replace(' ', '-')}-seed-*")):
            metrics = RunFolder(folder).metrics
            lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []
            records = [json.loads(line) for line in lines]
            if records and records[-1]["epoch"] == epochs_of(folder):  # what is not finished is no result
                val = {key: records[-1]["val"][key] for key in ("mean_f1", "long_tail_f1", "miou", "artefacts", "f1")}
                scores[folder.name.rsplit("-", 1)[1]] = {**val, "steps": records[-1]["step"]}
        if scores:
            rows.append({"variant": name, "group": variant.group, "preset": variant.preset, "seeds": scores})
    if timed:
        add_times(rows)
    report = {
        "schema": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine_info(),
        "versions": versions(),
        "settings": {
            "size": SIZE,
            "budget": [*BUDGET, *changes],
            "train": len(train_set),
            "val": len(val_set),
            "data": train_set.root.name,
            "rounds": ROUNDS,
            "onnxruntime": ort.__version__,
        },
        "rows": rows,
    }
    write_text(json.dumps(report, indent=2) + "\n", RESULT)


def epochs_of(folder: Path) -> int:
    return int(yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))["epochs"])


def add_times(rows: list[dict[str, object]]) -> None:
    from edge_segface.export.onnx_export import write_graph

    with tempfile.TemporaryDirectory() as folder:
        models = {}
        for preset in {str(row["preset"]) for row in rows}:
            model = PRESETS[preset](19).eval().requires_grad_(False)
            path = Path(folder) / f"{preset}.onnx"
            write_graph(rewrite.plain_graph(model), SIZE, ("labels",), path)
            parameters = round(sum(p.numel() for p in model.parameters()) / 1e6, 2)
            models[preset] = (path, {"parameters_m": parameters, "gflop": rewrite.gflop(model, SIZE)})
        times = rewrite.interleaved(models, ROUNDS)
    for row in rows:
        preset = str(row["preset"])
        row |= models[preset][1]
        row["median_ms"] = round(1e3 * float(np.median(times[preset])), 2)


def line(row: dict[str, Any]) -> str:
    seeds = list(row["seeds"].values())
    cells = [row["variant"], *(row.get(key, "") for key in ("parameters_m", "gflop", "median_ms"))]
    cells += [
        seeds[0]["steps"],
        spread([seed["mean_f1"] for seed in seeds]),
        spread([float(np.mean([seed["f1"][part] for part in SMALL])) for seed in seeds]),
        spread([seed["long_tail_f1"] for seed in seeds]),
        f"{np.mean([seed['artefacts'] for seed in seeds]):.2f}",
        len(seeds),
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def spread(values: list[float]) -> str:
    """The mean of the seeds, and how far the outermost lie from the middle."""
    return f"{np.mean(values):.1f}" + (f" ± {np.ptp(values) / 2:.1f}" if len(values) > 1 else "")


def table(report: dict[str, object]) -> str:
    settings, where = report["settings"], report["machine"]
    lines = []
    for group, words in (("network", "The network"), ("training", "The training of `edge`")):
        lines += [
            f"### {words}",
            "",
            "| " + " | ".join(COLUMNS) + " |",
            "|---" * len(COLUMNS) + "|",
        ]
        for row in report["rows"]:  # type: ignore[attr-defined]
            if row["group"] == group or (group == "training" and row["variant"] == "edge"):
                lines.append(line(row))
        lines.append("")
    lines.append(
        f"{settings['train']} pictures of {settings['data']} for training, {settings['val']} others for scoring at "  # type: ignore[index]
        f"their own size; recipe `edge` with {', '.join(settings['budget'])}, from nothing. "  # type: ignore[index]
        "Small parts: brows, eyes, lips and inner mouth. "
        f"{where['cpu']}, {where['cores']} cores, torch {report['versions']['torch']}. "  # type: ignore[index]
        f"Times: ONNX Runtime {settings['onnxruntime']}, fp32, batch 1, graphs not rewritten, "  # type: ignore[index]
        f"{settings['rounds']} interleaved rounds. {report['date']}. "  # type: ignore[index]
        "Made by `benchmarks/ablation.py`."
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
