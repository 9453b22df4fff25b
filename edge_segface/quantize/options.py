"""How to quantize to int8."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from edge_segface.errors import QuantizeError

Method = Literal["entropy", "max", "percentile"]
Rest = Literal["fp16", "fp32"]


@dataclass(frozen=True)
class Int8Options:
    """How value ranges are calibrated, and which layers stay in floating point."""

    method: Method = "entropy"  # how ranges follow from the calibration images
    percentile: float = 99.99  # share of a tensor's values inside its range, in %; for method percentile
    rest: Rest = "fp16"  # precision of everything outside int8
    keep: Sequence[str] = ()  # patterns of layer names to leave in floating point, matched from the beginning
    scan: bool = False  # rank groups of layers by the noise that int8 adds to the logits

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise QuantizeError(
                f"unknown calibration method {self.method!r}", remedy=f"choose one of {', '.join(get_args(Method))}"
            )
        if self.rest not in get_args(Rest):
            raise QuantizeError(f"the rest cannot be in {self.rest!r}", remedy="choose fp16 or fp32")
        if not 50 <= self.percentile <= 100:
            raise QuantizeError("a percentile must be from 50 to 100", found=self.percentile)
        for pattern in self.keep:
            try:
                re.compile(pattern)
            except re.error as error:
                raise QuantizeError(f"{pattern!r} is not a valid regular expression", found=error) from error


INT8_DEFAULTS = Int8Options()
