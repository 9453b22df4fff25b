"""Peak rates of boards from data sheets, and of this machine by measurement."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_segface.errors import EdgeSegfaceError, did_you_mean

BOARDS = Path(__file__).parent / "boards.yaml"
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Board:
    name: str
    title: str
    flops: dict[str, float | None]  # precision -> operations per second; None: not supported
    bytes_per_s: float
    unsure: tuple[str, ...] = ()  # values that no data sheet states

    def check_precision(self, precision: str) -> None:
        """Raise unless the board computes in this precision."""
        if self.flops.get(precision) is not None:
            return
        supported = ", ".join(name for name, flops in self.flops.items() if flops)
        if self.name == "here":
            raise EdgeSegfaceError(
                f"this processor's peak in {precision} is not measured", remedy=f"use --precision {supported}"
            )
        raise EdgeSegfaceError(f"{self.title} gains nothing from {precision}", found=f"it computes in {supported}")


def all_boards() -> dict[str, Board]:
    import yaml

    table = yaml.safe_load(BOARDS.read_text(encoding="utf-8"))
    return {
        name: Board(
            name=name,
            title=row["title"],
            flops={precision: None if row[precision] is None else row[precision] * 1e12 for precision in PRECISIONS},
            bytes_per_s=row["gb_per_s"] * 1e9,
            unsure=tuple(row.get("unsure", ())),
        )
        for name, row in table.items()
    }


def find_board(name: str) -> Board:
    """Return a board by its name; `here` measures this processor."""
    if name == "here":
        return measure_this_machine()
    boards = all_boards()
    if name not in boards:
        near = did_you_mean(name, boards)
        raise EdgeSegfaceError(f"unknown board {name!r}", remedy=f"{near}choose one of {', '.join(boards)}, or here")
    return boards[name]


def measure_this_machine(seconds: float = 1.0) -> Board:
    """Measure this processor's peaks with a large matrix product, and copies larger than any cache."""
    side = 2048
    matrix = np.random.default_rng(0).random((side, side), dtype=np.float32)
    flops = 2 * side**3 / _shortest_s(lambda: matrix @ matrix, seconds)
    source = np.ones(64 << 20, dtype=np.uint8)
    target = np.empty_like(source)
    bytes_per_s = 2 * source.nbytes / _shortest_s(lambda: np.copyto(target, source), seconds)
    return Board("here", "this processor, measured", {"fp32": flops, "fp16": None, "int8": None}, bytes_per_s)


def _shortest_s(call: Callable[[], object], seconds: float) -> float:
    shortest, until = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest
