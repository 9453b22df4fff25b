"""Recordings: real files, read back by FFmpeg and by a browser."""

from __future__ import annotations

import functools
import http.server
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edge_segface.camera.recording import Recording, can_encode, letterbox
from edge_segface.camera.result import FrameResult
from edge_segface.errors import SinkError
from edge_segface.frames import ClassMap, Frame
from edge_segface.labels import CELEBAMASK19
from tests.conftest import CHROMIUM, run_cli

SUFFIXES = [".mp4", ".mkv", ".mov", ".avi"]


def result(value: int, index: int, when_s: float, size_hw: tuple[int, int] = (48, 64)) -> FrameResult:
    class_map = ClassMap(np.zeros(size_hw, np.uint8), CELEBAMASK19)
    return FrameResult(Frame(np.full((*size_hw, 3), value, np.uint8), index, when_s), class_map, [], [])


def frames_of(path: Path) -> list[tuple[float, float]]:
    """Return time in seconds and mean brightness of each frame; a file that was cut off ends with a broken one."""
    frames = []
    with av.open(str(path)) as container, suppress(av.error.InvalidDataError):
        for frame in container.decode(video=0):
            assert frame.pts is not None
            at_s = float(frame.pts * (frame.time_base or Fraction(1)))
            frames.append((at_s, float(frame.to_ndarray(format="gray").mean())))
    return frames


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_plays_at_its_own_rate(tmp_path: Path, suffix: str) -> None:
    recording = Recording(tmp_path / f"r{suffix}", 25, live=False)
    for index in range(30):
        recording.show(result(8 * index, index, 0.0))
    recording.close()
    frames = frames_of(recording.path)
    assert len(frames) == 30
    times, levels = zip(*frames, strict=True)
    assert np.diff(times) == pytest.approx(1 / 25, abs=0.002)
    assert (np.diff(levels) > 3).all()


def test_a_live_source_plays_as_fast_as_it_was_filmed(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "live.mp4", 30, live=True)
    for index, when_s in enumerate((5.0, 5.2, 5.5, 100.0, 100.1)):  # the fourth after a long outage
        recording.show(result(50 * index, index, when_s))
    recording.close()
    times = [when for when, _ in frames_of(recording.path)]
    assert times == pytest.approx([0.0, 0.2, 0.5, 5.5, 5.6], abs=0.01)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_kill_loses_about_a_second(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"r{suffix}"
    command = [sys.executable, "-m", "edge_segface", "webcam", "--headless", "--source", "demo", "--record", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not out.exists() or out.stat().st_size < 300_000):
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    frames = frames_of(out)
    assert len(frames) >= 30
    assert all(level > 20 for _, level in frames)


def test_key_frames_come_every_second(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "r.mp4", 20, live=False)
    for index in range(60):
        recording.show(result(4 * index, index, 0.0))
    recording.close()
    with av.open(str(recording.path)) as container:
        keys = [float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.is_keyframe]
    assert keys == pytest.approx([0.0, 1.0, 2.0], abs=0.01)


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "r.mp4"
    path.write_bytes(b"yesterday")
    with pytest.raises(SinkError, match="already exists; name another file, or add --overwrite"):
        Recording(path, 30, live=False)
    assert path.read_bytes() == b"yesterday"
    recording = Recording(path, 30, live=False, overwrite=True)
    recording.show(result(90, 0, 0.0))
    recording.close()
    assert len(frames_of(path)) == 1


def test_what_cannot_be_recorded(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"cannot record .*x.gif \(found: .gif\); name one of .mp4"):
        Recording(tmp_path / "x.gif", 30, live=False)


def test_odd_sizes_and_changing_ones_fit(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "r.mp4", 30, live=False)
    for index, size_hw in enumerate([(49, 65), (300, 20), (12, 400)]):
        recording.show(result(200, index, 0.0, size_hw))
    recording.close()
    with av.open(str(recording.path)) as container:
        frames = list(container.decode(video=0))
    assert [(frame.width, frame.height) for frame in frames] == [(64, 48)] * 3
    wide = np.full((30, 60, 3), 200, np.uint8)
    square = letterbox(wide, (40, 40))
    assert (square[12:28] == 200).all()
    assert not square[:9].any()


def test_a_write_that_fails_ends_the_recording_and_not_the_loop(tmp_path: Path) -> None:
    out = tmp_path / "r.mp4"

    def limit_file_size() -> None:  # as a full disk does, every write beyond it fails
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    ended = run_cli(
        *("webcam", "--headless", "--source", "demo", "--frames", 90, "--record", out), preexec_fn=limit_file_size
    )
    assert ended.returncode == 0, ended.stderr
    assert "the recording" in ended.stderr
    assert "ends (found:" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(frames_of(out)) > 5


def test_an_encoder_without_its_hardware_is_not_chosen() -> None:
    assert can_encode("libx264", (64, 48))
    assert not can_encode("h264_v4l2m2m", (64, 48)) or Path("/dev/video11").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_plays_it(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    recording = Recording(tmp_path / "r.mp4", 30, live=False)
    for index in range(60):
        recording.show(result(4 * index, index, 0.0, (240, 320)))
    recording.close()
    (tmp_path / "page.html").write_text("<video src=r.mp4 muted></video>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_address[1]}/page.html")
            page.evaluate("document.querySelector('video').play()")
            page.wait_for_function("document.querySelector('video').currentTime > 0.5")
            video = page.evaluate("(v => [v.duration, v.videoWidth, v.videoHeight])(document.querySelector('video'))")
            browser.close()
    finally:
        server.shutdown()
        server.server_close()
    assert video == pytest.approx([2.0, 320, 240], abs=0.1)
