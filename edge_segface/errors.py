"""What can go wrong that is not a bug. Each says, in one line, what happened, what was found, what to do next."""

from __future__ import annotations


class EdgeSegfaceError(Exception):
    """Base of all our own errors: the command line prints it as one line and exits 1."""

    def __init__(self, what: str, *, found: object = "", remedy: str = "") -> None:
        self.what = what
        self.found = str(found)
        self.remedy = remedy
        text = what
        if self.found:
            text += f" (found: {self.found})"
        if remedy:
            text += f"; {remedy}"
        super().__init__(" ".join(text.split()))


class ImageError(EdgeSegfaceError):
    """A picture that cannot be read or parsed."""


class LabelError(EdgeSegfaceError):
    """A label space that does not exist, or labels that do not belong to it."""


class ModelError(EdgeSegfaceError):
    """A model or engine file that is missing, broken, foreign, or unfit for what was asked."""


class EngineError(EdgeSegfaceError):
    """A runtime or device that is not there, or an engine that cannot be built or run on it."""


class CheckpointError(ModelError):
    """Weights that cannot become one of our networks."""


class ParityError(ModelError):
    """A written artefact that does not agree with what it was made from."""


class InputError(EdgeSegfaceError):
    """An array handed to an engine that is not what its door asks for."""


class OutputError(EdgeSegfaceError):
    """A result that cannot be written."""


class DatasetError(EdgeSegfaceError):
    """A labelled dataset that is missing, of another kind, or holds what cannot be used."""


class CalibrationError(EdgeSegfaceError):
    """A calibration set that cannot be made, read or used."""


class TrainingError(EdgeSegfaceError):
    """A recipe that cannot be followed, or a run that cannot go on."""


class SampleLostError(TrainingError):
    """A picture of a checked dataset that cannot be read any more; only the process that wanted it knows."""


class QuantizeError(EdgeSegfaceError):
    """A model whose precision cannot be lowered, or that loses too much by it."""


class SourceError(EdgeSegfaceError):
    """A camera, stream or video that does not open, or breaks off."""


class SinkError(EdgeSegfaceError):
    """A window, recording or page that cannot be had."""


class FetchError(EdgeSegfaceError):
    """A download that did not arrive, or is not what was expected."""


class MissingExtra(EdgeSegfaceError):
    """A package of an optional wing that is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed here",
            remedy=f"run: pip install 'edge-segface[{extra}]'",
        )


def first_line(error: BaseException) -> str:
    """The first line of a foreign error, for the `found` of one of ours."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
