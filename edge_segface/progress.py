"""How long-running functions report their progress."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the stages of a task and the steps within each. The console draws it; a program may pass its own."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage; `total` is its number of steps, or None if unknown."""
        ...

    def advance(self, count: int = 1) -> None:
        """Complete `count` steps of the current stage."""
        ...

    def describe(self, text: str) -> None:
        """Replace the text beside the current stage, such as a loss and a rate."""
        ...

    def note(self, text: str) -> None:
        """Report one line that stays, such as a file that was skipped or an epoch that ended."""
        ...


class NoProgress:
    """Discards all progress: the default of every function that takes a `Progress`."""

    def stage(self, name: str, total: int | None = None) -> None:
        pass

    def advance(self, count: int = 1) -> None:
        pass

    def describe(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass


NO_PROGRESS: Progress = NoProgress()
