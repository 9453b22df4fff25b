"""The examples, as they stand, and what they do to a picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_segface.face.tracker import TrackedFace
from edge_segface.frames import ClassMap, RoI
from edge_segface.labels import CELEBAMASK19
from edge_segface.regions import Face
from tests.camera.test_loop import frames_in
from tests.conftest import ROOT

FOLDER = ROOT / "examples"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.stem != "live")


@pytest.fixture(autouse=True)
def in_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_each_runs_and_is_short(path: Path, tmp_path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60
    out = tmp_path / "out.mp4"
    command = [sys.executable, path, "--source", "demo", "--frames", "12", "--out", out]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert path.stem == "alarm" or frames_in(out) == 12


def test_only_what_is_asked_for_is_dyed(portrait: np.ndarray) -> None:
    from recolour import recoloured

    labels = np.zeros(portrait.shape[:2], np.uint8)
    labels[20:80, 100:250] = CELEBAMASK19.id_of("hair")
    dyed = recoloured(portrait, ClassMap(labels, CELEBAMASK19), (20, 20, 220), (200, 0, 0))
    change = np.abs(dyed.astype(int) - portrait)
    assert change[30:70, 110:240].mean() > 10
    assert change[120:, :].max() <= 8  # but for the way to another colour space and back


def test_the_background_goes(portrait: np.ndarray) -> None:
    from background import without_background

    labels = np.zeros(portrait.shape[:2], np.uint8)
    labels[100:200, 100:200] = CELEBAMASK19.id_of("skin")
    result = without_background(portrait, ClassMap(labels, CELEBAMASK19), 21, (0, 255, 0))
    assert (result[:80, :80] == (0, 255, 0)).all()
    assert np.abs(result[120:180, 120:180].astype(int) - portrait[120:180, 120:180]).max() <= 1


def test_the_alarm_waits_until_it_is_sure() -> None:
    from alarm import Alarm

    def face(hat: bool) -> list[TrackedFace]:
        labels = np.zeros((64, 64), np.uint8)
        labels[:10] = CELEBAMASK19.id_of("hat") * hat
        return [TrackedFace(3, Face((0.0, 0.0, 9.0, 9.0), 1.0), RoI((5.0, 5.0), 20.0), labels)]

    alarm = Alarm(CELEBAMASK19, 0.5)
    said = [alarm(face(hat), when_s) for when_s, hat in ((0.0, True), (0.2, False), (0.3, True), (0.7, True))]
    assert said == [[], [], [], []]
    assert alarm(face(True), 0.9) == ["face 3: hat on"]
    assert alarm(face(False), 1.0) == []
    assert alarm(face(False), 1.6) == ["face 3: hat off"]
