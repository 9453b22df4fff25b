"""Files in the working folder of a user are data: none of them is imported, whatever it is called."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_segface.isolation import isolated_python
from edge_segface.spec import EngineRecord, sealed_record, to_json
from tests.conftest import run_cli
from tests.test_spec import RECORD

MARKER = "imported.txt"
STRANGER = f"import pathlib; pathlib.Path(__file__).with_name({MARKER!r}).write_text(__name__)\n"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Return a folder with modules that leave a marker when they are imported."""
    for name in ("cv2", "runpy", "numpy", "evilmod", "onnxruntime", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(STRANGER, encoding="utf-8")
    return tmp_path


def test_a_stranger_is_imported_where_nothing_is_isolated(hostile: Path) -> None:
    subprocess.run([sys.executable, "-c", "import cv2"], cwd=hostile, check=True, env=without_safe_path())
    assert (hostile / MARKER).read_text() == "cv2"


def test_our_processes_import_nothing_from_the_working_folder(hostile: Path) -> None:
    for module in ("edge_segface.camera.try_window", "edge_segface.bench.cold_start", "edge_segface.quantize.worker"):
        command = isolated_python(module, "{}")
        subprocess.run(command, cwd=hostile, capture_output=True, check=False, env=without_safe_path())
    assert not (hostile / MARKER).exists()


def test_the_command_line_imports_nothing_from_the_working_folder(hostile: Path) -> None:
    made = run_cli("benchmark", "edge-256", "--rounds", "2", cwd=hostile, env=without_safe_path())
    assert made.returncode == 0, made.stderr
    assert not (hostile / MARKER).exists()


@pytest.mark.parametrize("runtime", ["evilmod", "onnxruntime"])
def test_a_forged_record_names_no_module(hostile: Path, runtime: str) -> None:
    (hostile / "x.engine").write_bytes(b"plan")
    record = dataclasses.replace(RECORD, engine_sha256=hashlib.sha256(b"plan").hexdigest())
    content = json.loads(to_json(record))
    content["engine"]["runtime"] = runtime
    EngineRecord.path_for(hostile / "x.engine").write_text(sealed_record(content), encoding="utf-8")
    for command in (["benchmark", "x.engine"], ["info", "x.engine"], ["parse", "demo.jpg", "--model", "x.engine"]):
        failed = run_cli(*command, cwd=hostile, env=without_safe_path())
        assert failed.returncode == 1
        assert "unknown runtime" in failed.stderr
        assert "Traceback" not in failed.stderr
    assert not (hostile / MARKER).exists()


def without_safe_path() -> dict[str, str]:
    """Return the environment without what would protect every Python of this machine."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
