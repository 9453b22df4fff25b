"""Comparing two reports: how much faster, and whether they are comparable at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_segface.bench.results import BenchmarkReport, EngineRow
from edge_segface.errors import EdgeSegfaceError

# What must be equal for a ratio to be about the engines alone.
SETTINGS = (
    "machine",
    "power_state",
    "versions",
    "settings",
    "sha256",
    "engine",
    "precision",
    "input_size",
)
DRAWS = 1000


@dataclass(frozen=True)
class Ratio:
    """The speed of the second report relative to the first: above 1 is faster."""

    name: str
    batch: int
    first_ms: float
    second_ms: float
    faster: float
    between: tuple[float, float]  # 95 % bootstrap interval
    differs: dict[str, tuple[object, object]]


@dataclass(frozen=True)
class Comparison:
    ratios: list[Ratio]
    warnings: list[str]


def compare(first: BenchmarkReport, second: BenchmarkReport) -> Comparison:
    """Compare what both measured, by name and batch; if each has a single model, its name may differ."""
    ours = {(row["name"], row["batch"]): row for row in first["models"]}
    theirs = {(row["name"], row["batch"]): row for row in second["models"]}
    pairs = [(ours.pop(key), theirs.pop(key)) for key in list(ours) if key in theirs]
    if not pairs and len(ours) == len(theirs) == 1 and {batch for _, batch in ours} == {batch for _, batch in theirs}:
        pairs = [(ours.popitem()[1], theirs.popitem()[1])]
    if not pairs:
        one, other = (", ".join(sorted({name for name, _ in rows})) or "none" for rows in (ours, theirs))
        raise EdgeSegfaceError(
            "the two reports have no engine in common",
            found=f"{one} and {other}",
            remedy="measure the same models and batches",
        )
    ratios = [ratio(one, other) for one, other in pairs]
    both = (("first", first), ("second", second))
    notes = [f"warning in the {which} report: {line}" for which, report in both for line in report["warnings"]]
    notes += [
        f"{name}, batch {batch}, is only in the {which} report"
        for which, rows in (("first", ours), ("second", theirs))
        for name, batch in rows
    ]
    return Comparison(ratios, [*differing(ratios), *notes])


def ratio(one: EngineRow, other: EngineRow) -> Ratio:
    name = one["name"] if one["name"] == other["name"] else f"{one['name']} -> {other['name']}"
    return Ratio(
        name=name,
        batch=one["batch"],
        first_ms=one["latency_ms"]["p50"],
        second_ms=other["latency_ms"]["p50"],
        faster=round(one["latency_ms"]["p50"] / other["latency_ms"]["p50"], 3),
        between=bootstrap_interval(one["samples_ms"], other["samples_ms"]),
        differs={
            key: pair
            for group in SETTINGS
            for key, pair in differences(group, dict(one)[group], dict(other)[group]).items()
        },
    )


def bootstrap_interval(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    generator = np.random.default_rng(0)
    medians = [
        np.array([np.median(generator.choice(samples, len(samples))) for _ in range(DRAWS)]) for samples in (one, other)
    ]
    low, high = np.percentile(medians[0] / medians[1], [2.5, 97.5])
    return round(float(low), 3), round(float(high), 3)


def differing(ratios: Sequence[Ratio]) -> list[str]:
    """Return each difference once, with the engines it concerns unless it concerns all."""
    rows: dict[tuple[str, str], list[str]] = {}
    for one in ratios:
        for key, (first, second) in one.differs.items():
            rows.setdefault((key, f"{first} and {second}"), []).append(f"{one.name}, batch {one.batch}")
    return [
        f"{key} differs: {values}" + ("" if len(names) == len(ratios) else f" ({'; '.join(names)})")
        for (key, values), names in rows.items()
    ]


def differences(name: str, one: object, other: object) -> dict[str, tuple[object, object]]:
    """Map the dotted name of each difference to the two values."""
    if isinstance(one, dict) and isinstance(other, dict):
        found: dict[str, tuple[object, object]] = {}
        for key in sorted(one.keys() | other.keys()):
            found |= differences(f"{name}.{key}", one.get(key), other.get(key))
        return found
    return {} if one == other else {name: (one, other)}
