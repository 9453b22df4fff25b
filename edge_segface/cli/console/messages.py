"""Lines printed to the terminal; of several training processes only the first prints."""

from __future__ import annotations

import os

from rich.console import Console

stdout = Console(markup=False, highlight=False, soft_wrap=True)  # without markup: names may contain brackets
stderr = Console(markup=False, stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a result."""
    stdout.print(text)


def warn(text: str) -> None:
    """Print a note or a warning to stderr."""
    stderr.print(text)


def only_first_process_prints() -> None:
    stdout.quiet = stderr.quiet = not is_first()


def is_first() -> bool:
    """Return whether this is the first of several training processes, or the only one."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def is_first_on_machine() -> bool:
    """Return whether this is the first process on this machine: an error may concern one machine only."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
