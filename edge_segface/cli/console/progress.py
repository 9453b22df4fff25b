"""Progress bars and live status on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as rich_progress
from rich.live import Live
from rich.text import Text

from edge_segface.cli.console.messages import stderr
from edge_segface.progress import Progress


class ProgressBar:
    """Draws a `Progress` as one rich bar."""

    def __init__(self, bar: rich_progress.Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None)

    def stage(self, name: str, total: int | None = None) -> None:
        self._bar.reset(self._task, total=total, description=name[:60])

    def advance(self, count: int = 1) -> None:
        self._bar.advance(self._task, count)

    def describe(self, text: str) -> None:
        self._bar.update(self._task, description=text)

    def note(self, text: str) -> None:
        self._bar.console.print(text, markup=False)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show a bar on stderr while the block runs."""
    columns = (
        rich_progress.SpinnerColumn(),
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=stderr, transient=True) as bar:
        yield ProgressBar(bar)


@contextmanager
def loop_status(lines: Callable[[], list[str]]) -> Iterator[None]:
    """Show the rates of a camera loop on stderr while it runs."""

    def line() -> Text:
        return Text("   ".join(lines()))

    with Live(get_renderable=line, console=stderr, refresh_per_second=2, transient=True):
        yield
