"""Commands that train networks and score models: train, pseudo-label, recipes, evaluate, balance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_segface.cli.options import (
    DATASET,
    Data,
    DatasetKind,
    DatasetRequired,
    Device,
    JsonFile,
    JsonOut,
    JsonPrinted,
    LabelsName,
    MaskLabels,
    ModelArgument,
    Provider,
    RuntimeOption,
    SkipBad,
    Threads,
    comma_separated,
    engine_options,
    json_writer,
    open_split,
    print_json,
)
from edge_segface.extras import check_training

DEVICES = "Devices"


def complete_recipes(incomplete: str) -> list[str]:
    """Names of recipes for shell completion; without a match, shells complete files."""
    from edge_segface.train.recipe import recipe_names

    return [name for name in recipe_names() if name.startswith(incomplete)]


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe's name (see `edge-segface recipes`) or a YAML file.", autocompletion=complete_recipes
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    data: Data = None,
    dataset: Annotated[
        DatasetKind | None,
        typer.Option(help="Kind of dataset. Default: the recipe's.", rich_help_panel=DATASET),
    ] = None,
    labels: MaskLabels = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the recipe, as in optimizer.lr=1e-3; may be repeated."),
    ] = None,
    skip_bad: SkipBad = False,
    accelerator: Annotated[
        str, typer.Option(help="Where to train: auto, cpu, cuda or mps.", rich_help_panel=DEVICES)
    ] = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="Processes on this machine, each with a device.", rich_help_panel=DEVICES)
    ] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Number of machines.", rich_help_panel=DEVICES)] = 1,
    accumulate: Annotated[
        int, typer.Option(min=1, help="Steps of gradient accumulation a batch.", rich_help_panel=DEVICES)
    ] = 1,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, help="Data loading processes per device. Default: 2 on Linux, else 0.", rich_help_panel=DEVICES
        ),
    ] = None,
    threads: Threads = None,
) -> None:
    """Train a network by a recipe."""
    check_training()
    from edge_segface.cli.console import messages
    from edge_segface.cli.console.progress import progress_bar
    from edge_segface.train.command import TrainRequest, run_training

    messages.only_first_process_prints()
    request = TrainRequest(
        recipe=recipe,
        out=out,
        data=data,
        dataset=dataset,
        labels=labels,
        resume=resume,
        changes=tuple(changes or ()),
        skip_bad=skip_bad,
        accelerator=accelerator,
        devices=devices,
        nodes=nodes,
        accumulate=accumulate,
        workers=workers,
        threads=threads,
    )
    with progress_bar() as progress:
        result = run_training(request, progress=progress)
    if result.stopped:
        messages.warn(f"stopped at step {result.steps}; continue with --resume")
        raise typer.Exit(130 if messages.is_first() else 0)  # a failing process has the others killed
    messages.say(f"{result.run.best}  mean F1 {result.best_f1:.2f} on {result.validated_on}")


def pseudo_label(
    images: Annotated[
        list[str],
        typer.Argument(help="Image files, folders and glob patterns.", metavar="IMAGES...", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the labelled images; an earlier one is continued.")
    ],
    teachers: Annotated[
        list[str],
        typer.Option(
            "--teacher", metavar="CHECKPOINT", help="A checkpoint; may be repeated, probabilities are averaged."
        ),
    ],
    size: Annotated[
        int | None, typer.Option(help="Input size of the teachers. Default: that of the first one's training.")
    ] = None,
    coarse: Annotated[
        Path | None,
        typer.Option(
            "--coarse", metavar="FOLDER", help="Masks with rough edges, named as the images: adds parts from them."
        ),
    ] = None,
    coarse_parts: Annotated[
        str, typer.Option("--coarse-parts", help="The parts to add; they replace hair and background.")
    ] = "hat,cloth",
    coarse_labels: Annotated[
        LabelsName | None, typer.Option(help="Label space of the coarse masks. Default: that of the teachers.")
    ] = None,
    threads: Threads = None,
) -> None:
    """Label images with trained networks, to train others on them."""
    check_training()
    from edge_segface.cli.console import messages
    from edge_segface.cli.console.progress import progress_bar
    from edge_segface.train.command import run_pseudo_labelling

    with progress_bar() as progress:
        result = run_pseudo_labelling(
            teachers,
            images,
            out,
            size=size,
            coarse=coarse,
            coarse_space=coarse_labels,
            coarse_parts=comma_separated(coarse_parts),
            threads=threads,
            progress=progress,
        )
    earlier = f", {result.present} were there before" if result.present else ""
    typer.echo(f"{out}  {result.written} images labelled{earlier}")
    if result.skipped:
        messages.warn(f"could not be read: {len(result.skipped)}")
        raise typer.Exit(1)


def recipes(
    name: Annotated[
        str | None, typer.Argument(help="Show this recipe with all its values.", autocompletion=complete_recipes)
    ] = None,
    as_json: JsonPrinted = False,
    json_file: JsonFile = None,
) -> None:
    """List the recipes of the package, or show one with all its values."""
    from edge_segface.train.recipe import load_recipe, recipe_names, recipe_summary, recipe_text, to_plain

    if name is not None:
        recipe = load_recipe(name)
        if as_json:
            print_json(to_plain(recipe), json_file)
        else:
            typer.echo(recipe_text(recipe).rstrip())
        return
    summaries = {each: recipe_summary(each) for each in recipe_names()}
    if as_json:
        print_json([{"name": each, "summary": summary} for each, summary in summaries.items()], json_file)
        return
    for each, summary in summaries.items():
        typer.echo(f"{each:18} {summary}")


def evaluate(
    model: ModelArgument,
    dataset: DatasetRequired,
    data: Data = None,
    labels: MaskLabels = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split to score: train, val, test or all. Default: test; all of a folder.", rich_help_panel=DATASET
        ),
    ] = None,
    score_size: Annotated[
        int | None,
        typer.Option(min=16, help="Compare at this size, as SegFace's tables do. Default: each mask's own size."),
    ] = None,
    fit: Annotated[
        Literal["squash", "whole"] | None,
        typer.Option(help="How an image becomes a square. Default: squash for LaPa and Helen, else whole."),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Input size of a checkpoint. Default: that of its training.")] = None,
    json_out: JsonOut = None,
    skip_bad: SkipBad = False,
    threads: Threads = None,
    runtime: RuntimeOption = None,
    provider: Provider = "cpu",
    device: Device = None,
) -> None:
    """Score a model on a labelled dataset, class by class."""
    from edge_segface.cli.console.progress import progress_bar
    from edge_segface.cli.console.tables import print_scores
    from edge_segface.evaluate import evaluate as run_evaluation
    from edge_segface.evaluate import evaluation_report
    from edge_segface.face.parser import FaceParser
    from edge_segface.models import load_engine

    write_json = json_writer(json_out)
    split = split or ("all" if dataset == "folder" else "test")
    engine = load_engine(model, size=size, **engine_options(threads, runtime, provider, device))
    with engine, FaceParser(engine) as parser:
        samples = open_split(dataset, data, split, labels, parser.space, skip_bad=skip_bad)
        with progress_bar() as progress:
            scores = run_evaluation(parser, samples, fit=fit, score_size=score_size, progress=progress)
        report = evaluation_report(scores, parser, samples, fit=fit, score_size=score_size)
        write_json(report)
        print_scores(report, parser.space)


def balance(
    weights: Annotated[str, typer.Argument(help="A checkpoint of ours.", metavar="CHECKPOINT")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The checkpoint to write.")],
    dataset: DatasetRequired,
    data: Data = None,
    labels: MaskLabels = None,
    split: Annotated[
        str,
        typer.Option(
            help="Split to tune on; not the one trained on, nor the one reported on later.", rich_help_panel=DATASET
        ),
    ] = "val",
    size: Annotated[int | None, typer.Option(help="Input size. Default: that of the training.")] = None,
    skip_bad: SkipBad = False,
    threads: Threads = None,
) -> None:
    """Tune a checkpoint's per-class logit offsets to maximise F1 on labelled images."""
    from edge_segface.models import input_size, resolve

    check_training()
    path = resolve(weights).path
    import torch

    from edge_segface.cli.console.messages import warn
    from edge_segface.files import check_place
    from edge_segface.model.checkpoint import load_weights, save_weights
    from edge_segface.train.balance import balance as tune

    check_place(out)
    if threads is not None:
        torch.set_num_threads(threads)
    loaded = load_weights(path)
    samples = open_split(dataset, data, split, labels, loaded.space, skip_bad=skip_bad)
    balanced = tune(loaded, samples, input_size(loaded, size))
    save_weights(balanced.weights, out)
    offsets = ", ".join(f"{name} {offset:+.2f}" for name, offset in balanced.offsets.items())
    warn(f"cross-validated on halves of these images: mean F1 {balanced.cross_validated:.2f}; expect that on others")
    typer.echo(f"{out}  {offsets or 'no offset improves it'}; mean F1 {balanced.before:.2f} -> {balanced.after:.2f}")
