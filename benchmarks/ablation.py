"""Ablation of `edge`: networks and training methods, each trained on the same data with the same budget and seed.

    python benchmarks/ablation.py --data DIR [--labels NAME] [--runs DIR] [--only NAME...] [--seeds 0 1]

Every variant is trained by `edge_segface.train` from random weights and kept under --runs: finished runs are not
repeated, interrupted ones resume. The result is written after every run. F1 is that of the last epoch, on the
validation split, at the masks' own size. Latency is that of the networks as trained, exported without the rewrite, so
that all are treated alike.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path

import common
import numpy as np
import onnxruntime as ort
import torch
import yaml
from bare_runtimes import onnxruntime_call
from common import Report, Row
from networks import PlainGraph, gflop, parameters_m
from torch import Tensor

from edge_segface.bench.interleave import interleaved
from edge_segface.data import Dataset
from edge_segface.export.onnx_export import write_graph
from edge_segface.model.backbone import mobilenet_v3
from edge_segface.model.build import PRESETS, build_edge_v1, with_edge_decoder
from edge_segface.model.edge import Refine
from edge_segface.model.segface import SegFace
from edge_segface.progress import NoProgress
from edge_segface.train.devices import Devices
from edge_segface.train.loop import train
from edge_segface.train.recipe import Recipe, load_recipe
from edge_segface.train.run_folder import RunFolder, versions

SIZE = 256
# Short enough for two cores, and without the augmentation that only cameras need.
BUDGET = ("epochs=12", "validate_epochs=4", "camera.scenes=0", "camera.borrow=0", "repeat_threshold=0", f"size={SIZE}")
ROUNDS = 30
THREADS = 2
SCORES = ("mean_f1", "long_tail_f1", "miou", "artefacts", "f1")
SMALL_PARTS = ("l_brow", "r_brow", "l_eye", "r_eye", "mouth", "l_lip", "u_lip")  # what refinement is for
COLUMNS = (
    "variant", "parameters M", "GFLOP", "median ms", "steps", "mean F1", "small parts F1", "long tail F1", "artefacts",
    "seeds",
)  # fmt: skip
GROUPS = {"network": "The network", "training": "The training of `edge`"}
TITLES = {  # of variants whose name, also that of their run folder, does not explain itself
    "refinement 32 wide": "refinement width 32",
    "masks at a quarter": "masks at a quarter of the input size",
    "taught by paper": "distilled from `paper`",
}


@dataclass(frozen=True)
class Variant:
    group: str
    preset: str = "edge-v1"
    changes: tuple[str, ...] = ()
    teacher: str | None = None  # another variant


def build_variant(width: int = 128, depth: int = 2, refine_width: int = 64) -> SegFace:
    """Build the first `edge` with other widths and depths."""
    backbone = mobilenet_v3("mobilenetv3_large_100")
    return with_edge_decoder(
        19,
        backbone,
        backbone.feature_info.channels(),
        width=width,
        depth=depth,
        cross_inner=width // 2,
        hidden=4 * width,
        refine_width=refine_width,
        mask_width=32,
    )


class NoRefinement(torch.nn.Module):
    """Takes the place of the last refinement and changes nothing."""

    def forward(self, pixels: Tensor, half: Tensor) -> Tensor:  # noqa: ARG002
        return pixels


def build_quarter() -> SegFace:
    """Build the first `edge` with masks at a quarter of the input size, without the last refinement."""
    model = build_edge_v1(19)
    channels = model.backbone.feature_info.channels()  # type: ignore[union-attr, operator]
    decoder = model.decoder
    decoder.refine_quarter = Refine(128, channels[1], 32, kernel=5)
    decoder.refine_half = NoRefinement()
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
    "14 epochs": Variant("training", changes=("epochs=14",)),  # as many steps as repeat factors give
    "borrowed parts 0.35": Variant("training", changes=("camera.borrow=0.35",)),
    "contrastive 0.1": Variant(
        "training", changes=("contrastive.weight=0.1", "contrastive.from_epoch=2", "contrastive.regroup_epochs=3")
    ),
    "taught by paper": Variant("training", teacher="paper"),
    "whole frames 0.3": Variant("training", changes=("camera.scenes=0.3",)),
}


@dataclass
class MinuteLog(NoProgress):
    """Prints the progress of a run to stderr, at most once a minute."""

    title: str
    printed_at_s: float = field(default_factory=time.monotonic)

    def describe(self, text: str) -> None:
        if time.monotonic() - self.printed_at_s > 60:
            self.printed_at_s = time.monotonic()
            print(f"{self.title}: {text}", flush=True, file=sys.stderr)


def main() -> None:
    arguments = common.argument_parser(__doc__)
    common.add_dataset(arguments)
    arguments.add_argument("--runs", type=Path, default=Path("runs/ablation"), help="Default: runs/ablation.")
    arguments.add_argument("--only", nargs="*", default=list(VARIANTS), metavar="NAME", help="Default: all variants.")
    arguments.add_argument("--seeds", nargs="*", type=int, default=[0], help="Default: 0.")
    arguments.add_argument("--set", nargs="*", default=[], dest="changes", help="Changes of the recipe, KEY=VALUE.")
    options = arguments.parse_args()
    train_set, val_set = common.open_split(options, "train"), common.open_split(options, "val")
    for seed in options.seeds:
        for name in options.only:
            if not train_variant(name, seed, options, train_set, val_set):
                sys.exit("stopped; repeat the command to resume")
            common.write_result("ablation", new_report(options, train_set, val_set))
    report = new_report(options, train_set, val_set)
    add_costs(report["rows"])
    common.write_result("ablation", report)
    print(table(report))


def run_folder(runs: Path, name: str, seed: int | str) -> Path:
    return runs / f"{name.replace(' ', '-')}-seed-{seed}"


def recipe_of(name: str, seed: int, options: Namespace) -> Recipe:
    variant = VARIANTS[name]
    changes = ["dataset=folder", f"preset={variant.preset}", *BUDGET, *variant.changes]
    if variant.teacher is not None:
        changes.append(f"distillation.teacher={run_folder(options.runs, variant.teacher, seed) / 'last.pt'}")
    return load_recipe("edge", [*changes, f"seed={seed}", *options.changes])


def train_variant(name: str, seed: int, options: Namespace, train_set: Dataset, val_set: Dataset) -> bool:
    """Train or resume a variant; return whether it is finished."""
    run = RunFolder(run_folder(options.runs, name, seed))
    result = train(
        recipe_of(name, seed, options),
        train_set,
        val_set,
        run,
        Devices("cpu", workers=1),
        resume=run.state.exists(),
        progress=MinuteLog(f"{name}, seed {seed}"),
    )
    return not result.stopped


def new_report(options: Namespace, train_set: Dataset, val_set: Dataset) -> Report:
    """Return the scores of all finished runs, without the costs of the networks."""
    scores = {name: scores_by_seed(options.runs, name) for name in VARIANTS}
    return {
        **common.new_report(),
        "versions": versions(),
        "settings": {
            "size": SIZE,
            "budget": [*BUDGET, *options.changes],
            "train": len(train_set),
            "val": len(val_set),
            "data": train_set.root.name,
            "rounds": ROUNDS,
            "onnxruntime": ort.__version__,
        },
        "rows": [
            {"variant": name, "group": variant.group, "preset": variant.preset, "seeds": scores[name]}
            for name, variant in VARIANTS.items()
            if scores[name]
        ],
    }


def scores_by_seed(runs: Path, name: str) -> dict[str, Row]:
    found = {}
    for folder in sorted(runs.glob(run_folder(Path(), name, "*").name)):
        metrics = RunFolder(folder).metrics
        lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []
        last = json.loads(lines[-1]) if lines else {}
        if last.get("epoch") == planned_epochs(folder):  # unfinished runs do not count
            seed = folder.name.rsplit("-", 1)[1]
            found[seed] = {**{key: last["val"][key] for key in SCORES}, "steps": last["step"]}
    return found


def planned_epochs(run: Path) -> int:
    return int(yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))["epochs"])


def add_costs(rows: list[Row]) -> None:
    """Add parameters, GFLOP and latency of each network, timed in one interleaved run."""
    networks = {preset: PRESETS[preset](19).eval().requires_grad_(False) for preset in {row["preset"] for row in rows}}
    with tempfile.TemporaryDirectory() as folder:
        works = {}
        for preset, network in networks.items():
            path = Path(folder) / f"{preset}.onnx"
            write_graph(PlainGraph(network), SIZE, ("labels",), path)
            works[preset] = onnxruntime_call(path, threads=THREADS)
        seconds = interleaved(works, ROUNDS)
    for row in rows:
        network = networks[row["preset"]]
        row |= {
            "parameters_m": parameters_m(network),
            "gflop": gflop(network, SIZE),
            "median_ms": common.median_ms(seconds[row["preset"]]),
        }


def table(report: Report) -> str:
    settings = report["settings"]
    parts = []
    for group, title in GROUPS.items():
        rows = [
            cells(row)
            for row in report["rows"]
            if row["group"] == group or (group == "training" and row["variant"] == "edge")
        ]
        parts.append(f"### {title}\n\n{common.markdown_table(COLUMNS, rows)}")
    return "\n".join(parts) + common.footer(
        "ablation",
        report,
        f"Trained on {settings['train']} images of {settings['data']}, scored on {settings['val']} others at their own "
        f"size; recipe `edge` with {', '.join(settings['budget'])}, from random weights. Small parts: brows, eyes, "
        f"lips and inner mouth. Latency: ONNX Runtime {settings['onnxruntime']}, fp32, batch 1, graphs not rewritten, "
        f"{settings['rounds']} interleaved rounds.",
        packages=("torch",),
    )


def cells(row: Row) -> list[object]:
    seeds = list(row["seeds"].values())
    name = row["variant"]
    return [
        TITLES.get(name, name),
        *(row.get(key, "") for key in ("parameters_m", "gflop", "median_ms")),
        seeds[0]["steps"],
        mean_and_spread([seed["mean_f1"] for seed in seeds]),
        mean_and_spread([float(np.mean([seed["f1"][part] for part in SMALL_PARTS])) for seed in seeds]),
        mean_and_spread([seed["long_tail_f1"] for seed in seeds]),
        f"{np.mean([seed['artefacts'] for seed in seeds]):.2f}",
        len(seeds),
    ]


def mean_and_spread(values: list[float]) -> str:
    """Return the mean over seeds, and half the distance between the outermost."""
    return f"{np.mean(values):.1f}" + (f" ± {np.ptp(values) / 2:.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
