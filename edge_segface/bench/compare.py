"""Comparing two reports: the speed-up of each engine, and every difference that may explain it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from edge_segface.bench.results import BenchmarkReport, EngineResult
from edge_segface.errors import EdgeSegfaceError

# Fields that must be equal for a speed-up to be due to the engines alone.
FIELDS = (
    "machine",
    "power_state",
    "versions",
    "settings",
    "sha256",
    "engine",
    "precision",
    "input_size",
)
BOOTSTRAP_DRAWS = 1000

Differences = dict[str, tuple[object, object]]  # dotted name -> the two values


@dataclass(frozen=True)
class SpeedUp:
    """The speed of the second report relative to the first: above 1 is faster."""

    name: str
    batch: int
    first_ms: float
    second_ms: float
    ratio: float
    interval: tuple[float, float]  # 95 %, by bootstrap
    differences: Differences

    @property
    def label(self) -> str:
        return f"{self.name}, batch {self.batch}"


@dataclass(frozen=True)
class Comparison:
    speed_ups: list[SpeedUp]
    warnings: list[str]


def compare(first: BenchmarkReport, second: BenchmarkReport) -> Comparison:
    """Compare what both measured, by name and batch; if each has a single model, the names may differ."""
    firsts = {(result.name, result.batch): result for result in first.models}
    seconds = {(result.name, result.batch): result for result in second.models}
    pairs = [(firsts.pop(key), seconds.pop(key)) for key in list(firsts) if key in seconds]
    if not pairs and len(firsts) == len(seconds) == 1:
        [one], [other] = firsts.values(), seconds.values()
        if one.batch == other.batch:
            pairs, firsts, seconds = [(one, other)], {}, {}
    if not pairs:
        names = (", ".join(sorted({name for name, _ in results})) or "none" for results in (firsts, seconds))
        raise EdgeSegfaceError(
            "the two reports have no engine in common",
            found=" and ".join(names),
            remedy="measure the same models and batches",
        )
    speed_ups = [speed_up(one, other) for one, other in pairs]
    warnings = difference_warnings(speed_ups)
    for which, report in (("first", first), ("second", second)):
        warnings += [f"warning in the {which} report: {line}" for line in report.warnings]
    for which, unpaired in (("first", firsts), ("second", seconds)):
        warnings += [f"{result.label}, is only in the {which} report" for result in unpaired.values()]
    return Comparison(speed_ups, warnings)


def speed_up(one: EngineResult, other: EngineResult) -> SpeedUp:
    fields, other_fields = asdict(one), asdict(other)
    differences: Differences = {}
    for name in FIELDS:
        differences |= differences_between(name, fields[name], other_fields[name])
    return SpeedUp(
        name=one.name if one.name == other.name else f"{one.name} -> {other.name}",
        batch=one.batch,
        first_ms=one.latency_ms.p50,
        second_ms=other.latency_ms.p50,
        ratio=round(one.latency_ms.p50 / other.latency_ms.p50, 3),
        interval=bootstrap_interval(one.samples_ms, other.samples_ms),
        differences=differences,
    )


def bootstrap_interval(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the ratio of medians."""
    generator = np.random.default_rng(0)
    medians = [
        np.array([np.median(generator.choice(samples, len(samples))) for _ in range(BOOTSTRAP_DRAWS)])
        for samples in (one, other)
    ]
    low, high = np.percentile(medians[0] / medians[1], [2.5, 97.5])
    return round(float(low), 3), round(float(high), 3)


def difference_warnings(speed_ups: Sequence[SpeedUp]) -> list[str]:
    """Return each difference once, with the engines it concerns unless it concerns all."""
    engines: dict[tuple[str, str], list[str]] = {}
    for each in speed_ups:
        for name, (first, second) in each.differences.items():
            engines.setdefault((name, f"{first} and {second}"), []).append(each.label)
    return [
        f"{name} differs: {values}" + ("" if len(labels) == len(speed_ups) else f" ({'; '.join(labels)})")
        for (name, values), labels in engines.items()
    ]


def differences_between(name: str, one: object, other: object) -> Differences:
    """Map the dotted name of each difference to the two values."""
    if isinstance(one, dict) and isinstance(other, dict):
        found: Differences = {}
        for key in sorted(one.keys() | other.keys()):
            found |= differences_between(f"{name}.{key}", one.get(key), other.get(key))
        return found
    return {} if one == other else {name: (one, other)}
