"""Errors that users can act on. Each fits one line: what happened, what was found, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from edge_segface.installation import install_command
from edge_segface.redaction import redact


class EdgeSegfaceError(Exception):
    """Base class of all our errors. The command line prints it as one line and exits with 1."""

    def __init__(self, what: str, *, found: object = "", remedy: str = "") -> None:
        self.what = redact(what)
        self.found = redact(str(found))
        self.remedy = redact(remedy)
        text = self.what
        if self.found:
            text += f" (found: {self.found})"
        if remedy:
            text += f"; {self.remedy}"
        super().__init__(printable(" ".join(text.split())))


def printable(text: str) -> str:
    """Return a text with control characters and the bytes of names that are not UTF-8 written as escapes."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


class ImageError(EdgeSegfaceError):
    """An image that cannot be read or parsed."""


class LabelError(EdgeSegfaceError):
    """An unknown label space, or labels that do not belong to it."""


class ModelError(EdgeSegfaceError):
    """A model file that is missing, damaged, foreign, or unsuitable for the request."""


class EngineError(EdgeSegfaceError):
    """A runtime or device that is not available, or an engine that cannot be built or run on it."""


class CheckpointError(ModelError):
    """Weights that do not fit any of our networks."""


class ParityError(ModelError):
    """An exported file whose output differs from its network's."""


class InputError(EdgeSegfaceError):
    """An array that an engine does not accept."""


class OutputError(EdgeSegfaceError):
    """A result that cannot be written."""


class DatasetError(EdgeSegfaceError):
    """A labelled dataset that is missing, of another kind, or contains unusable samples."""


class CalibrationError(EdgeSegfaceError):
    """A calibration set that cannot be made, read or used."""


class TrainingError(EdgeSegfaceError):
    """A recipe that cannot be followed, or a run that cannot continue."""


class SampleLostError(TrainingError):
    """A sample that was readable when it was checked, but no longer is. Only the process that read it knows."""


class QuantizeError(EdgeSegfaceError):
    """A model that cannot be quantized, or loses too much accuracy by it."""


class SourceError(EdgeSegfaceError):
    """A camera, stream or video that does not open, or fails while running."""


class FrameError(SourceError):
    """One frame that cannot be read, of a source that goes on."""


class SinkError(EdgeSegfaceError):
    """A window, recording or page that is not available."""


class FetchError(EdgeSegfaceError):
    """A download that failed or is not what was expected."""


class MissingExtra(EdgeSegfaceError):
    """A package of an optional extra that is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed",
            remedy=f"run: {install_command(extra)}",
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `did you mean X? ` for the nearest known name, or nothing; for the beginning of a remedy."""
    near = get_close_matches(name.lower(), known, n=1)
    return f"did you mean {near[0]}? " if near else ""


def reason_of(error: BaseException) -> str:
    """Return why a call of the system failed, without its number and the path; else the first line of the error."""
    return getattr(error, "strerror", None) or first_line(error)


def first_line(error: BaseException) -> str:
    """Return the first line of a foreign exception, for the `found` of one of ours."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
