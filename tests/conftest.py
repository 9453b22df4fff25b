"""Small real things that tests run on."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_segface.assets import PORTRAIT
from edge_segface.image_io import read_image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ROOT = Path(__file__).resolve().parent.parent

for _number in (signal.SIGINT, signal.SIGHUP):  # which a shell's background and nohup ignore, and children inherit that
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)
OFFICIAL_FIXTURES = ROOT.parent / "shared" / "fixtures" / "official"


@pytest.fixture
def drawn_face() -> np.ndarray:
    """240 wide, 200 high, BGR."""
    image = np.full((200, 240, 3), (180, 160, 140), np.uint8)
    cv2.ellipse(image, (120, 80), (62, 70), 0, 0, 360, (30, 50, 70), -1)
    cv2.ellipse(image, (120, 100), (48, 64), 0, 0, 360, (150, 180, 225), -1)
    for x in (100, 140):
        cv2.circle(image, (x, 88), 6, (90, 60, 30), -1)
    cv2.ellipse(image, (120, 132), (18, 7), 0, 0, 360, (70, 60, 190), -1)
    return image


@pytest.fixture
def portrait() -> np.ndarray:
    return read_image(PORTRAIT)


@pytest.fixture(scope="session")
def official_fixtures() -> Path:
    if not OFFICIAL_FIXTURES.is_dir():
        pytest.skip("the recorded outputs of the official code (../shared/fixtures/official) are not on this machine")
    return OFFICIAL_FIXTURES


@pytest.fixture(scope="session")
def official_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights in the official layout, optimizer state and all: label space -> file."""
    import torch

    from edge_segface.labels import CELEBAMASK19, LAPA11
    from edge_segface.model.build import build_paper
    from edge_segface.model.official import official_names

    folder = tmp_path_factory.mktemp("official")
    paths = {}
    for space in (CELEBAMASK19, LAPA11):
        torch.manual_seed(len(space))
        model = build_paper(len(space))
        with torch.no_grad():  # batch norms that are not the identity
            for name, buffer in model.named_buffers():
                if name.endswith("running_var"):
                    buffer.uniform_(0.5, 2.0)
                elif name.endswith("running_mean"):
                    buffer.normal_(0, 0.2)
        state = {theirs: model.state_dict()[ours] for ours, theirs in official_names(model, space).items()}
        paths[space.name] = folder / f"{space.name}.pt"
        moments = {index: {"exp_avg": torch.zeros(4)} for index in range(3)}
        content = {"epoch": 299, "iteration": 1, "state_dict_backbone": state, "scheduler": {}}
        torch.save({**content, "optimizer": {"state": moments, "param_groups": []}}, paths[space.name])
    return paths


def run_cli(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "edge_segface", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload, no-any-return]


def assert_one_line_error(
    result: subprocess.CompletedProcess[str], *words: str, beside: str | tuple[str, ...] = ()
) -> None:
    """Our own error: exit 1 and one line on stderr with all the words, `beside` progress that begins so."""
    assert result.returncode == 1, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.strip() and not line.startswith(beside)]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]
