"""The example scripts run as they are, and change what they should in an image."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from edge_segface.camera.sources import open_source
from edge_segface.face.tracker import TrackedFace
from edge_segface.frames import ClassMap, RoI
from edge_segface.labels import CELEBAMASK19
from edge_segface.regions import Face
from tests.conftest import ROOT
from tests.support.video_files import all_of

FOLDER = ROOT / "examples"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.stem != "live")
FRAMES = 6


@pytest.fixture(autouse=True)
def examples_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_example_is_short_and_writes_a_video(path: Path, tmp_path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60
    out = tmp_path / "out.mp4"
    command = [sys.executable, str(path), "--source", "demo", "--frames", str(FRAMES), "--out", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    if path.stem != "alarm":  # prints only
        assert len(all_of(open_source(str(out)))) == FRAMES


def test_recolour_dyes_hair_only(portrait: np.ndarray) -> None:
    recolour = import_module("recolour").recolour

    labels = np.zeros(portrait.shape[:2], np.uint8)
    labels[20:80, 100:250] = CELEBAMASK19.id_of("hair")
    dyed = recolour(portrait, ClassMap(labels, CELEBAMASK19), (20, 20, 220), (200, 0, 0))
    change = np.abs(dyed.astype(int) - portrait)
    assert change[30:70, 110:240].mean() > 10
    assert change[120:, :].max() <= 8  # rounding of the conversion to another colour space and back


def test_background_is_replaced_and_foreground_kept(portrait: np.ndarray) -> None:
    replace_background = import_module("background").replace_background

    labels = np.zeros(portrait.shape[:2], np.uint8)
    labels[100:200, 100:200] = CELEBAMASK19.id_of("skin")
    result = replace_background(portrait, ClassMap(labels, CELEBAMASK19), 21, (0, 255, 0))
    assert (result[:80, :80] == (0, 255, 0)).all()
    assert np.abs(result[120:180, 120:180].astype(int) - portrait[120:180, 120:180]).max() <= 1


def test_alarm_reports_a_change_once_it_has_lasted() -> None:
    alarm_type = import_module("alarm").Alarm

    def faces(*, hat: bool) -> list[TrackedFace]:
        labels = np.zeros((64, 64), np.uint8)
        labels[:10] = CELEBAMASK19.id_of("hat") * hat
        return [TrackedFace(3, Face((0.0, 0.0, 9.0, 9.0), 1.0), RoI((5.0, 5.0), 20.0), labels)]

    alarm = alarm_type(CELEBAMASK19, 0.5)
    for now_s, hat in ((0.0, True), (0.2, False), (0.3, True), (0.7, True)):
        assert alarm.update(faces(hat=hat), now_s) == []
    assert alarm.update(faces(hat=True), 0.9) == ["face 3: hat on"]
    assert alarm.update(faces(hat=False), 1.0) == []
    assert alarm.update(faces(hat=False), 1.6) == ["face 3: hat off"]
