"""Two reports side by side: how much faster, and whether the two may be compared at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_segface.errors import EdgeSegfaceError

# What must be the same for a ratio to speak of the engines alone.
SETTINGS = ("machine", "power_state", "versions", "settings", "engine", "precision", "input_size")


@dataclass(frozen=True)
class Ratio:
    """Of the second report to the first: above 1 is faster."""

    name: str
    batch: int
    first_ms: float
    second_ms: float
    faster: float
    differs: dict[str, tuple[object, object]]


def compare(first: dict[str, Any], second: dict[str, Any]) -> list[Ratio]:
    """What both have measured, by name and batch; of one model each, whatever their names are."""
    ours = {(row["name"], row["batch"]): row for row in first["models"]}
    theirs = {(row["name"], row["batch"]): row for row in second["models"]}
    pairs = [(ours[key], theirs[key]) for key in ours if key in theirs]
    if not pairs and len(ours) == len(theirs) == 1:
        pairs = [(next(iter(ours.values())), next(iter(theirs.values())))]
    if not pairs:
        one, other = (", ".join(sorted({name for name, _ in rows})) or "none" for rows in (ours, theirs))
        raise EdgeSegfaceError(
            "the two reports have no engine in common",
            found=f"{one} and {other}",
            remedy="measure the same models and batches",
        )
    return [
        Ratio(
            one["name"] if one["name"] == other["name"] else f"{one['name']} -> {other['name']}",
            one["batch"],
            one["latency_ms"]["p50"],
            other["latency_ms"]["p50"],
            round(one["latency_ms"]["p50"] / other["latency_ms"]["p50"], 3),
            {key: pair for name in SETTINGS for key, pair in differences(name, one[name], other[name]).items()},
        )
        for one, other in pairs
    ]


def differences(name: str, one: object, other: object) -> dict[str, tuple[object, object]]:
    """Dotted name -> the two values."""
    if isinstance(one, dict) and isinstance(other, dict):
        found: dict[str, tuple[object, object]] = {}
        for key in sorted(one.keys() | other.keys()):
            found |= differences(f"{name}.{key}", one.get(key), other.get(key))
        return found
    return {} if one == other else {name: (one, other)}
