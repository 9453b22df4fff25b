"""How results look in a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from edge_segface.errors import EdgeSegfaceError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_segface.bench.compare import Comparison
    from edge_segface.bench.interleave import Timed
    from edge_segface.bench.roofline import Estimate
    from edge_segface.build import BuildResult
    from edge_segface.camera.loop import CameraLoop
    from edge_segface.data import Dataset
    from edge_segface.demo import DemoResult
    from edge_segface.doctor import Finding
    from edge_segface.labels import LabelSpace
    from edge_segface.progress import Progress as StageProgress
    from edge_segface.quantize.accuracy_gate import AccuracyDrop
    from edge_segface.quantize.sensitivity import Sensitivity
    from edge_segface.spec import ModelSpec
    from edge_segface.train.loop import Progress as TrainProgress

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def be_quiet_unless_leading() -> None:
    """Of several processes that train together only the first speaks."""
    stdout.quiet = stderr.quiet = not leads()


def leads() -> bool:
    """Whether this is the first of several processes, or the only one."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def leads_here() -> bool:
    """Whether this is the first of the processes on this machine: an error may be of this machine alone."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def say(text: str) -> None:
    stdout.print(text, markup=False)


def notify(text: str) -> None:
    stderr.print(text, markup=False)


def notify_left_out(*datasets: Dataset) -> None:
    for dataset in datasets:
        for what, names in dataset.left_out.items():
            notify(f"left out of {dataset.split}: {len(names)} with {what}: {', '.join(names[:3])}")


@contextmanager
def picture_progress(total: int) -> Iterator[Callable[[EdgeSegfaceError | None], None]]:
    with _bar("parsing", total) as (progress, task):

        def on_done(error: EdgeSegfaceError | None) -> None:
            if error is not None:
                progress.console.print(f"error: {error}", markup=False, style="red")
            progress.advance(task)

        yield on_done


@contextmanager
def score_progress(total: int) -> Iterator[Callable[[], None]]:
    with _bar("scoring", total) as (progress, task):
        yield lambda: progress.advance(task)


@contextmanager
def count_progress(words: str) -> Iterator[Callable[[], None]]:
    """Of something whose end is not known."""
    with _bar(words, None) as (progress, task):
        yield lambda: progress.advance(task)


@contextmanager
def check_progress() -> Iterator[Callable[[int, int], None]]:
    """Of the first opening of a dataset, which reads every sample."""
    with _bar("checking the dataset", None) as (progress, task):
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def train_progress() -> Iterator[Callable[[TrainProgress], None]]:
    """A bar where a person looks on; a line an epoch where the output goes to a file."""

    def on_progress(at: TrainProgress) -> None:
        words = f"epoch {at.epoch}/{at.epochs}  loss {at.loss:.4f}  {at.images_per_s:.1f} images/s"
        words += "" if at.best_f1 is None else f"  best F1 {at.best_f1:.2f}"
        progress.update(task, completed=at.step, total=at.steps, description=words)
        if at.ended and not stderr.is_terminal:
            notify(words)

    with _bar("training", None) as (progress, task):
        yield on_progress


@contextmanager
def _bar(words: str, total: int | None) -> Iterator[tuple[Progress, TaskID]]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True) as progress:
        yield progress, progress.add_task(words, total=total)


class ProgressBar:
    """Draws a `Progress` as one rich bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def stage(self, name: str, total: int | None = None) -> None:
        self._progress.reset(self._task, total=total, description=name)

    def advance(self, count: int = 1) -> None:
        self._progress.advance(self._task, count)

    def describe(self, text: str) -> None:
        self._progress.update(self._task, description=text)

    def note(self, text: str) -> None:
        self._progress.console.print(text, markup=False)


@contextmanager
def quantize_progress() -> Iterator[StageProgress]:
    with _bar("quantizing", None) as (progress, task):
        yield ProgressBar(progress, task)


@contextmanager
def step_progress() -> Iterator[Callable[[str, float | None], None]]:
    """A phase and the share of the whole that is done; a bar that swings where that is not known."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task("", total=None)

        def on_step(phase: str, share: float | None) -> None:
            total = None if share is None else 1.0
            progress.update(task, description=phase[:60], total=total, completed=share or 0.0)

        yield on_step


def print_built(built: BuildResult) -> None:
    table = Table(title="stages", title_justify="left")
    for column in ("stage", "file", "MB", "seconds"):
        table.add_column(column, justify="right" if column in ("MB", "seconds") else "left")
    for stage in built.stages:
        size = f"{stage.file.stat().st_size / 1e6:.1f}" if stage.file.exists() else "-"
        table.add_row(
            stage.what, str(stage.file), size, stage.note or ("-" if stage.seconds is None else f"{stage.seconds:.1f}")
        )
    stdout.print(table)
    if built.layers:
        stdout.print("layers by what they put out: " + ", ".join(f"{n} {kind}" for kind, n in built.layers.items()))
    if built.f1_drop:
        worst = max(built.f1_drop, key=lambda name: (built.f1_drop or {})[name])
        stdout.print(f"F1 lost by its precision: at most {built.f1_drop[worst]:.2f}, by {worst}")
    for warning in dict.fromkeys(built.warnings):
        notify(f"TensorRT warns: {warning}")


def print_findings(findings: Sequence[Finding]) -> None:
    marks = {"good": ("✓", "green"), "missing": ("-", "yellow"), "bad": ("✗", "red")}
    table = Table.grid(padding=(0, 2))
    for each in findings:
        mark, colour = marks[each.state]
        table.add_row(Text(mark, style=colour), each.part, Text(each.found))
        if each.remedy:
            table.add_row("", "", Text(each.remedy, style="dim" if each.state == "good" else colour))
    stdout.print(table)


def print_verdict(verdict: AccuracyDrop) -> None:
    table = Table(title="F1 before and after", title_justify="left")
    for column in ("class", "pictures", "before", "after", "drop"):
        table.add_column(column, justify="left" if column == "class" else "right")
    before, after = verdict.before.matrix, verdict.after.matrix
    for index, name in enumerate(verdict.space.names):
        scores = (before.f1()[index], after.f1()[index], verdict.drops[index])
        table.add_row(name, str(verdict.images_with_class[index]), *("-" if s != s else f"{s:.2f}" for s in scores))
    table.add_section()
    table.add_row("mean", "", f"{before.mean_f1():.2f}", f"{after.mean_f1():.2f}", f"{verdict.mean_drop:.2f}")
    tails = verdict.before.long_tail_f1(), verdict.after.long_tail_f1()
    if tails[0] == tails[0]:
        table.add_row("long tail", "", f"{tails[0]:.2f}", f"{tails[1]:.2f}", f"{tails[0] - tails[1]:.2f}")
    stdout.print(table)


def print_sensitivity(ranked: list[Sensitivity]) -> None:
    table = Table(title="what int8 of each group alone does to the logits, worst first", title_justify="left")
    for column in ("group", "layers", "work", "signal over noise"):
        table.add_column(column, justify="left" if column == "group" else "right")
    for one in ranked:
        table.add_row(one.group, str(one.layers), f"{100 * one.work:.1f} %", f"{one.noise_db:.1f} dB")
    stdout.print(table)


def print_scores(report: dict[str, Any], space: LabelSpace) -> None:
    table = Table(title=f"{report['model']} on {report['pictures']} pictures", title_justify="left")
    for column in ("class", "part", "F1", "IoU"):
        table.add_column(column, justify="left" if column in ("class", "part") else "right")
    tail = set(space.long_tail)
    order = [index for index in range(len(space)) if index not in tail] + sorted(tail)
    for place, index in enumerate(order):
        name = space.names[index]
        last_common = bool(tail) and place == len(order) - len(tail) - 1
        table.add_row(
            name, space.titles[index], _score(report["f1"][name]), _score(report["iou"][name]), end_section=last_common
        )
    stdout.print(table)
    stdout.print(f"mean F1 {_score(report['mean_f1'])} (without background), mIoU {_score(report['miou'])}")
    if tail:
        stdout.print(
            f"long-tail mean F1 {_score(report['long_tail_f1'])}: " + ", ".join(space.titles[i] for i in sorted(tail))
        )
    for name, score in report.get("merged_f1", {}).items():
        stdout.print(f"{name} {_score(score)}")
    stdout.print(f"artefacts {report['artefacts']:.2f} pieces too many or too few, a picture and class")


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def print_spec(spec: ModelSpec) -> None:
    table = Table(title=spec.name, show_header=False, title_justify="left")
    side = spec.input_size
    rows = {
        "preset": spec.preset,
        "precision": spec.precision,
        "input": f"uint8 BGR (n, {side}, {side}, 3)" + (f", warped: {spec.warp}" if spec.warp else ""),
        "outputs": ", ".join(spec.outputs),
        "label space": spec.label_space,
        "classes": ", ".join(f"{index} {name}" for index, name in enumerate(spec.class_names)),
        "trained on": spec.training_data,
        "weights licence": spec.weights_licence,
        "F1": ", ".join(f"{name} {value:.1f}" for name, value in spec.f1.items()) if spec.f1 else "not measured",
        "F1 lost by it": ", ".join(f"{name} {value:.2f}" for name, value in (spec.f1_drop or {}).items()) or "-",
        "kept in floating point": "; ".join(f"{name}: {why}" for name, why in (spec.kept or {}).items()) or "-",
        "calibrated on": spec.calibration_sha256 or "-",
        "made by": spec.made_by,
        "made from": spec.parent_sha256 or "unknown",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    stdout.print(table)


def print_speed(timed: Sequence[Timed], source: str, quantized: Path) -> None:
    """How fast both files are here, and which to take on this processor if it is not the new one."""
    stdout.print(
        "on this processor: " + ", ".join(f"{one.model} in {one.runtime} {one.median_ms:.1f} ms" for one in timed)
    )
    fastest = min(timed, key=lambda one: one.ratio)
    if fastest.model == source:
        notify(
            f"{quantized} is slower than {source} here: on this processor run {source} in {fastest.runtime}; "
            "quantized files are for GPUs, through TensorRT"
        )


def print_benchmark(report: dict[str, Any]) -> None:
    from edge_segface.bench.report import engines, sustained_lines, tables, where

    for title, columns, rows in tables(report):
        table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 0))
        for column in columns:
            named = column == "model"
            table.add_column(column, justify="left" if named else "right", no_wrap=not named, overflow="fold")
        for cells in rows:
            table.add_row(*cells)
        stdout.print(table)
    for line in (*engines(report), where(report)):
        stdout.print(line)
    for row in report["models"]:
        if "sustain" in row:
            for line in sustained_lines(row):
                stdout.print(line)
    stdout.print(f"paper {report['paper_fps']} FPS (SegFace MobileNetV3 at 512; machine not stated)")
    for line in report["warnings"]:
        notify(f"warning: {line}")


def print_comparison(found: Comparison) -> None:
    table = Table(title="the second report to the first: p50, ms", title_justify="left", box=SIMPLE, padding=(0, 0))
    for column in ("engine", "batch", "first", "second", "times as fast", "95 %"):
        named = column == "engine"
        table.add_column(column, justify="left" if named else "right", no_wrap=not named, overflow="fold")
    for one in found.ratios:
        between = f"{one.between[0]:.3f} to {one.between[1]:.3f}"
        times = (f"{one.first_ms:.3f}", f"{one.second_ms:.3f}", f"{one.faster:.3f}", between)
        table.add_row(one.name, str(one.batch), *times)
    stdout.print(table)
    for line in found.warnings:
        notify(f"warning: {line}")


def print_estimates(name: str, found: Sequence[Estimate]) -> None:
    first = found[0]
    table = Table(title=f"{name}, {first.precision}, one picture: an ESTIMATE", title_justify="left")
    for column in ("board", "bound by", "ms", "FPS"):
        table.add_column(column, justify="right" if column in ("ms", "FPS") else "left")
    for one in found:
        slow, fast = one.fps
        unsure = " (?)" if {one.precision, "gb_per_s"} & set(one.board.unsure) else ""
        bound = f"{one.bound} ({100 * one.memory_share:.0f} % memory)"
        times = f"{one.best_ms:.2f} to {one.worst_ms:.2f}", f"{slow:.0f} to {fast:.0f}"
        table.add_row(one.board.title + unsure, bound, *times)
    stdout.print(table)
    stdout.print(
        f"{first.gflop:.2f} GFLOP, {first.mb:.1f} MB moved; peaks of boards are those of data sheets. "
        "Nothing of this was measured on a board."
    )
    if first.unknown:
        notify(f"warning: {first.unknown} layers are left out: the file does not tell their sizes")


@contextmanager
def loop_status(loop: CameraLoop) -> Iterator[None]:
    """A line that is always there while the loop runs, for who sits at a terminal."""

    def line() -> Text:
        return Text("   ".join(loop.meter.lines()))

    with Live(get_renderable=line, console=stderr, refresh_per_second=2, transient=True):
        yield


def print_loop(report: dict[str, Any]) -> None:
    table = Table(title=f"{report['model']} on {report['engine']}", title_justify="left")
    for column in ("stage", "p50 ms", "p90 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    rows = {**report["stages_ms"], "glass to result": report["latency_ms"]}
    for name, times in rows.items():
        if times:
            table.add_row(name, *(f"{times[p]:.2f}" for p in ("p50", "p90", "p99")), end_section=name == list(rows)[-2])
    stdout.print(table)
    stdout.print(f"engine only     {_fps(report['engine_fps'])} FPS")
    times = "" if report["of_paper"] is None else f", {report['of_paper']:.2f} times the paper's"
    stdout.print(f"glass to result {_fps(report['glass_to_result_fps'])} FPS{times}")
    stdout.print(f"paper           {_fps(report['paper_fps'])} FPS (SegFace MobileNetV3 at 512; machine not stated)")
    faces = "" if report["faces_per_frame"] is None else f", {report['faces_per_frame']} faces a frame"
    stdout.print(f"{report['frames']} frames in {report['seconds']:.1f} s{faces}; bound by: {report['bound_by']}")
    lost = {
        "dropped": "dropped for newer ones",
        "unshown": "parsed and not shown",
        "reconnects": "times connected again",
    }
    said = [f"{report[key]} {words}" for key, words in lost.items() if report[key]]
    if said:
        stdout.print(", ".join(said))
    if report["flicker_percent"] and report["flicker_percent"]["with"] is not None:
        flicker = report["flicker_percent"]
        stdout.print(
            f"flicker: {flicker['with']:.2f} % of still pixels change their class from frame to frame, "
            f"{flicker['without']:.2f} % without the stabiliser"
        )
    stdout.print(f"{report['source']}; {report['machine']['cpu']}, {report['machine']['cores']} cores")


def _fps(value: float | None) -> str:
    return "       -" if value is None else f"{value:8.2f}"


def print_demo(result: DemoResult) -> None:
    print_loop(result.report)
    seen = (f"{part.replace('_', ' ')} {100 * share:.1f} %" for part, share in result.report["shares"].items())
    stdout.print("seen: " + ", ".join(seen))
    stdout.print(f"wrote {result.picture} and {result.json}")
