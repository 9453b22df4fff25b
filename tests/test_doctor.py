"""What `doctor` says of machines, this one and drawn ones."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest

from edge_segface import doctor
from edge_segface.doctor import Finding, can_run, examine
from edge_segface.errors import ModelError
from tests.conftest import run_cli


def found(findings: list[Finding], part: str) -> Finding:
    [one] = [each for each in findings if each.part == part]
    return one


def test_this_machine(tmp_path: Path) -> None:
    result = run_cli("doctor", "--json", tmp_path / "d.json")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "d.json").read_text())
    parts = {each["part"]: each for each in report["findings"]}
    assert report["can_run"] is True
    assert onnxruntime.__version__ in parts["ONNX Runtime"]["found"]
    assert parts["edge-256"]["state"] == "good"
    for part, each in parts.items():
        assert part in result.stdout
        assert each["state"] == "good" or each["remedy"]


@pytest.mark.parametrize(
    ("release", "state", "words"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic", "good", "6.2 (L4T 36.4.3)"),
        ("# R36 (release), REVISION: 3.0, GCID: 1", "good", "6.0 (L4T 36.3.0)"),
        ("# R39 (release), REVISION: 2.0, GCID: 1", "good", "7.2 (L4T 39.2.0)"),
        ("# R41 (release), REVISION: 1.0, GCID: 1", "good", "newer than this version knows (L4T 41.1.0)"),
        ("# R35 (release), REVISION: 4.1, GCID: 1", "bad", "5 (L4T 35.4.1)"),
        ("something else", "bad", "something else"),
    ],
)
def test_a_board(release: str, state: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nv_tegra_release").write_text(release + "\n")
    (tmp_path / "proc" / "device-tree").mkdir(parents=True)
    (tmp_path / "proc" / "device-tree" / "model").write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "video0").touch()
    findings = examine(tmp_path)
    jetpack = found(findings, "JetPack")
    assert (jetpack.state, jetpack.found) == (state, words)
    assert found(findings, "board").found == "NVIDIA Jetson Orin Nano Developer Kit"
    assert found(findings, str(tmp_path / "dev" / "video0")).state == "good"


def test_a_default_model_that_does_not_run_is_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ModelError(f"{name} cannot be loaded", found="half a file")

    monkeypatch.setattr(doctor, "load_engine", broken)
    findings = examine()
    assert not can_run(findings)
    model = found(findings, "edge-256")
    assert (model.state, model.found) == ("bad", "edge-256 cannot be loaded: half a file")
    assert model.remedy
