"""Which images a calibration set is selected from, how many, and how; as an object or as a YAML file."""

from __future__ import annotations

import typing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edge_segface.documents import DocumentError, read_yaml
from edge_segface.errors import CalibrationError
from edge_segface.quantize.calibration.artefact import check_count
from edge_segface.typed import from_plain

Strategy = Literal["long-tail", "random"]


@dataclass(frozen=True)
class Definition:
    """The contents of a file in calibration/."""

    dataset: str | None = None
    split: str = "train"
    labels: str | None = None  # label space of a folder's masks
    count: int = 256
    strategy: Strategy = "long-tail"
    seed: int = 0

    def __post_init__(self) -> None:
        check_count(self.count)
        if self.seed < 0:
            raise CalibrationError("the seed must not be negative", found=self.seed)
        if self.strategy not in typing.get_args(Strategy):
            raise CalibrationError(f"no strategy is called {self.strategy!r}", remedy="choose long-tail or random")


def load_definition(path: Path) -> Definition:
    """Read a definition from a YAML file."""
    try:
        return from_plain(Definition, read_yaml(path))
    except DocumentError as error:
        raise CalibrationError(f"{path} cannot be read", found=error) from error
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{path} is not a calibration definition", found=error) from error


def merge_definition(path: Path | None, **options: Any) -> Definition:
    """Return the definition in the file, or the default one, with those options replaced that are not None."""
    given = {name: value for name, value in options.items() if value is not None}
    return replace(load_definition(path) if path else Definition(), **given)
