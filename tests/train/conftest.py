from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.training import run_tiny


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run that was not interrupted. Copy it before you change it."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run_tiny(folder)
    return folder
