"""Shared by all benchmark scripts: arguments, the machine and versions of a result, saved results and table cells."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_segface.bench.environment import package_versions
from edge_segface.data import Dataset, open_dataset
from edge_segface.files import write_text
from edge_segface.labels import label_space
from edge_segface.machine import machine_info

RESULTS = Path(__file__).parent / "results"

Report = dict[str, Any]  # as saved in results/
Row = dict[str, Any]
Seconds = Sequence[float] | npt.NDArray[np.float64]  # one for each round


def argument_parser(doc: str | None) -> ArgumentParser:
    """Return a parser whose help is the docstring of the script."""
    return ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)


def add_rounds(parser: ArgumentParser, default: int) -> None:
    parser.add_argument("--rounds", type=int, default=default, help=f"Interleaved rounds (default: {default}).")


def add_dataset(parser: ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="Folder of labelled images, split into train and val.")
    parser.add_argument("--labels", default="celebamask19", help="Label space of its masks (default: celebamask19).")


def open_split(options: Namespace, split: str) -> Dataset:
    """Open one split of the folder given by `add_dataset`."""
    return open_dataset("folder", options.data, split, label_space(options.labels))


def new_report(*packages: str) -> Report:
    """Return the start of a report: date, machine, and the versions of the packages that are installed."""
    return {
        "schema": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine_info(),
        "versions": package_versions(packages),
    }


def result_path(name: str) -> Path:
    return RESULTS / f"{name}.json"


def read_result(name: str) -> Report:
    report: Report = json.loads(result_path(name).read_text(encoding="utf-8"))
    return report


def write_result(name: str, content: Report) -> None:
    write_text(json.dumps(content, indent=2) + "\n", result_path(name))


def percent(shares: Sequence[float]) -> float | None:
    """Return the mean as a percentage; JSON has no number for that of nothing."""
    return round(100 * float(np.mean(shares)), 1) if shares else None


def median_ms(seconds: Seconds) -> float:
    return round(1e3 * float(np.median(seconds)), 2)


def speed_up(baseline: Seconds, seconds: Seconds) -> float:
    """Return the median of the per-round ratios; above 1 is faster than the baseline."""
    return round(float(np.median(np.asarray(baseline) / np.asarray(seconds))), 2)


def noise_image(size: int) -> npt.NDArray[np.uint8]:
    """Return a batch of one noise image: a network's time does not depend on its input."""
    return np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def machine_line(report: Mapping[str, Any], packages: Iterable[str] | None = None) -> str:
    """Return processor, cores, versions (default: all in the report) and date."""
    machine, versions = report["machine"], report.get("versions", {})
    names = [name for name in (versions if packages is None else packages) if name in versions]
    parts = [f"{report.get('chip', machine['cpu'])}, {machine['cores']} cores"]
    parts += [f"{name} {versions[name]}" for name in names]
    return f"{', '.join(parts)}; {report['date']}."


def footer(script: str, report: Report, *sentences: str, packages: Iterable[str] | None = None) -> str:
    """Return the paragraph below a table: how it was measured, on what, when, and by which script."""
    return "\n" + " ".join([*sentences, machine_line(report, packages), made_by(script)]) + "\n"


def made_by(script: str) -> str:
    return f"Made by `benchmarks/{script}.py`."


def held_out(data: str) -> str:
    """Return a saved description of images in the words of the tables."""
    count, _, rest = data.partition(" pictures of ")  # results saved with earlier wording
    if not rest:
        return data
    return f"{count} held-out images of {rest.replace(' that were not trained on', '')}"
