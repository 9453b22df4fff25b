"""A part of the bad inputs of `python -m tests.fuzz.run`, in a process of its own because it forks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fuzz.bad_inputs import FAMILIES

ROUNDS = 2


@pytest.mark.skipif(sys.platform != "linux", reason="cases run in forked processes")
def test_bad_inputs_end_in_one_line(tmp_path: Path) -> None:
    count = ROUNDS * len(FAMILIES)
    command = [sys.executable, "-m", "tests.fuzz.run", "--cases", str(count), "--seed", "7"]
    command += ["--json", str(tmp_path / "r.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["families"] == dict.fromkeys(FAMILIES, ROUNDS)
    assert report["faults"] == [], done.stdout
