"""A benchmark report recorded by an earlier version."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_segface.bench.results import BenchmarkReport, load_report


@pytest.fixture(scope="session")
def recorded_path() -> Path:
    """Two batch sizes of one model with sustained load, and a model that does not exist."""
    return Path(__file__).parent / "data" / "report.json"


@pytest.fixture(scope="session")
def recorded(recorded_path: Path) -> BenchmarkReport:
    return load_report(recorded_path)
