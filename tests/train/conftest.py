from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.torch_threads import one_thread
from tests.support.training import run_tiny


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run that was not interrupted. Copy it before you change it."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run_tiny(folder)
    return folder
