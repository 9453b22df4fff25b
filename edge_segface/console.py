"""How results look in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edge_segface.errors import EdgeSegfaceError

if TYPE_CHECKING:
    from edge_segface.demo import DemoResult
    from edge_segface.spec import ModelSpec

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def notify(text: str) -> None:
    stderr.print(text, markup=False)


@contextmanager
def picture_progress(total: int) -> Iterator[Callable[[EdgeSegfaceError | None], None]]:
    columns = (TextColumn("parsing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task("parsing", total=total)

        def on_done(error: EdgeSegfaceError | None) -> None:
            if error is not None:
                progress.console.print(f"error: {error}", markup=False, style="red")
            progress.advance(task)

        yield on_done


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
        "made by": spec.made_by,
        "made from": spec.parent_sha256 or "unknown",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    stdout.print(table)


def print_demo(result: DemoResult) -> None:
    report = result.report
    table = Table(title=f"{report['model']} on {report['engine']}", title_justify="left")
    for column in ("stage", "p50 ms", "p90 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, times in report["stages_ms"].items():
        table.add_row(name, *(f"{times[p]:.2f}" for p in ("p50", "p90", "p99")))
    stdout.print(table)
    stdout.print(f"engine only       {report['engine_fps']:8.2f} FPS")
    stdout.print(f"picture to result {report['glass_to_result_fps']:8.2f} FPS")
    stdout.print(f"paper             {report['paper_fps']:8.2f} FPS (SegFace MobileNetV3 at 512; machine not stated)")
    stdout.print(f"{report['source']}; {report['machine']['cpu']}, {report['machine']['cores']} cores")
    seen = (f"{part.replace('_', ' ')} {100 * share:.1f} %" for part, share in report["shares"].items())
    stdout.print("seen: " + ", ".join(seen))
    stdout.print(f"wrote {result.picture} and {result.json}")
