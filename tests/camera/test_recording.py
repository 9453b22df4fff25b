"""Recordings: real files, read back by FFmpeg and by a browser."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edge_segface.camera import encoders, gstreamer_encoder
from edge_segface.camera.encoders import Shape
from edge_segface.camera.gstreamer_encoder import GstCodec, GstEncoder
from edge_segface.camera.recording import Recording, letterbox
from edge_segface.camera.result import FrameResult
from edge_segface.camera.sources import open_source
from edge_segface.camera.sources.gstreamer import has_element
from edge_segface.camera.video_file import TICK_S
from edge_segface.errors import SinkError
from edge_segface.frames import ClassMap, Frame
from edge_segface.labels import CELEBAMASK19
from tests.conftest import CHROMIUM, ROOT, run_cli
from tests.support.video_files import all_of

SUFFIXES = [".mp4", ".mkv", ".mov", ".avi"]


def result(value: int, index: int, when_s: float, size_hw: tuple[int, int] = (48, 64)) -> FrameResult:
    class_map = ClassMap(np.zeros(size_hw, np.uint8), CELEBAMASK19)
    return FrameResult(Frame(np.full((*size_hw, 3), value, np.uint8), index, when_s), class_map, [], [])


def written_frames(path: Path) -> int:
    """Return how many frames a file holds that is still being written."""
    with suppress(FileNotFoundError, av.error.InvalidDataError):
        return len(frames_of(path))
    return 0


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


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_our_own_recordings_of_live_sources_count_as_complete(tmp_path: Path, suffix: str) -> None:
    recording = Recording(tmp_path / f"live{suffix}", 30, live=True)
    for index in range(12):
        recording.show(result(20 * index, index, 0.2 * index))
    recording.close()
    frames = all_of(open_source(str(recording.path)))  # MKV announces 2.2 s of 30 frames each, and AVI repeats frames
    assert len(frames) == (12 if suffix == ".mkv" else 67)
    levels = [round(float(frame.mean())) for frame in frames]
    assert levels == sorted(levels)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_kill_loses_at_most_about_a_second(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"r{suffix}"
    command = [sys.executable, "-m", "tests.camera.record_and_print", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        times = [float(next(process.stdout)) for _ in range(80)]
        process.kill()
        times += map(float, process.stdout)
    decoded = [at_s for at_s, _ in frames_of(out)]
    assert times[-1] - 1.1 < decoded[-1] <= times[-1] + 0.1
    assert len(decoded) == round(30 * decoded[-1]) + 1


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

    def limit_file_size() -> None:  # as on a full disk, every write beyond it fails
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    ended = run_cli(
        *("webcam", "--headless", "--source", "demo", "--frames", 90, "--record", out), preexec_fn=limit_file_size
    )
    assert ended.returncode == 1, ended.stderr
    assert re.search(r"the recording .*r\.mp4 ends after \d+ frames \(found: .*File too large", ended.stderr)
    assert "Traceback" not in ended.stderr
    assert "90 frames in" in ended.stdout
    assert len(frames_of(out)) >= 30


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_limit_on_the_size_of_files_is_noticed(tmp_path: Path, suffix: str) -> None:
    video = tmp_path / f"r{suffix}"
    command = f"{sys.executable} -m edge_segface webcam -s demo --headless --frames 90 --record {video}"
    shell = ["bash", "-c", f"ulimit -f 40; exec {command}"]
    made = subprocess.run(shell, capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode == 1, made.stderr
    assert f"the recording {video} ends after" in made.stderr
    assert "File too large" in made.stderr


def test_a_disk_that_fills_up_at_the_end_leaves_what_plays(tmp_path: Path) -> None:
    before = threading.active_count()
    recording = Recording(tmp_path / "r.mp4", 10, live=False)
    for index in range(31):
        recording.show(result(4 * index, index, 0.0))
    assert recording._video is not None
    recording._video._file.freeze()  # before the index is written
    with pytest.raises(SinkError, match="ends after 31 frames"):
        recording.close()
    recording.close()
    assert len(frames_of(recording.path)) == 30  # whose fragments were complete
    assert threading.active_count() == before


def test_a_finished_file_has_an_index_for_seeking(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "r.mp4", 30, live=False)
    for index in range(100):
        recording.show(result(2 * index, index, 0.0))
    recording.close()
    with av.open(str(recording.path)) as container:
        assert container.streams.video[0].frames == 100
    assert recording.report() == {"file": str(recording.path), "codec": "H.264 by libx264", "frames": 100}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_colours_stay(tmp_path: Path, suffix: str) -> None:
    recording = Recording(tmp_path / f"r{suffix}", 30, live=False)
    colour = (40, 180, 90)
    image = np.full((48, 64, 3), colour, np.uint8)
    nothing = ClassMap(np.zeros((48, 64), np.uint8), CELEBAMASK19)
    recording.show(FrameResult(Frame(image, 0, 0.0), nothing, []))
    recording.close()
    with av.open(str(recording.path)) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="bgr24")
    assert np.abs(frame.astype(int) - colour).max() < 8


def test_an_encoder_without_its_hardware_is_not_chosen() -> None:
    shape = Shape((64, 48), Fraction(30), TICK_S)
    assert encoders.works(encoders.X264, shape)
    assert not encoders.works(encoders.V4L2, shape) or Path("/dev/video11").exists()
    assert not encoders.works(encoders.Codec("no_such_encoder"), shape)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_an_encoder_with_its_parameters_in_the_stream_gives_files_that_play(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_v4l2 = replace(encoders.X264, options={"tune": "zerolatency"}, in_band=True)
    monkeypatch.setattr(encoders, "HARDWARE", (as_v4l2,))
    recording = Recording(tmp_path / f"r{suffix}", 30, live=False)
    for index in range(40):
        recording.show(result(6 * index, index, 0.0))
    recording.close()
    assert len(frames_of(recording.path)) == 40


OPENH264 = GstCodec("openh264enc", "openh264enc bitrate={bit_rate} gop-size={interval}")
needs_openh264 = pytest.mark.skipif(
    not has_element("openh264enc"), reason="openh264enc (gstreamer1.0-plugins-bad), a stand-in, is not installed"
)


@needs_openh264
def test_an_encoder_of_gstreamer_keeps_the_times_of_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer_encoder, "JETSON", OPENH264)
    before = threading.active_count()
    recording = Recording(tmp_path / "r.mp4", 29.97, live=True)
    times = [0.0, 0.1, 0.2, 0.5, *(1 + 0.04 * index for index in range(30))]
    for index, when_s in enumerate(times):
        recording.show(result(6 * index, index, 100 + when_s, (120, 160)))
    recording.close()
    assert recording.report()["codec"] == "H.264 by openh264enc"
    frames = frames_of(recording.path)
    assert [at_s for at_s, _ in frames] == pytest.approx(times, abs=0.001)
    assert [level for _, level in frames] == pytest.approx([6 * i for i in range(len(times))], abs=9)
    assert threading.active_count() == before


@needs_openh264
def test_an_encoder_of_gstreamer_that_dies_ends_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer_encoder, "JETSON", OPENH264)
    recording = Recording(tmp_path / "r.mp4", 30, live=False)
    deadline_s = time.monotonic() + 60
    while written_frames(recording.path) < 15 and time.monotonic() < deadline_s:
        for _ in range(30):
            recording.show(result(recording.frames % 200, recording.frames, 0.0, (120, 160)))
        time.sleep(0.1)  # the encoder is a process of its own
    assert recording._video is not None
    assert isinstance(recording._video._encoder, GstEncoder)
    recording._video._encoder._popen.kill()
    recording._video._encoder._popen.wait()
    with pytest.raises(SinkError, match="ends after .* Broken pipe"):
        recording.show(result(0, recording.frames, 0.0, (120, 160)))
    recording.close()
    assert len(frames_of(recording.path)) >= 15


def test_gstreamer_encoders_that_are_not_installed_do_not_work() -> None:
    shape = Shape((64, 48), Fraction(30), TICK_S)
    assert not gstreamer_encoder.works(GstCodec("nosuchelement", "nosuchelement"), shape)


VIDEO = "document.querySelector('video')"


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_plays_it_finished_or_not(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    recording = Recording(tmp_path / "finished.mp4", 30, live=True)
    for index in range(61):
        recording.show(result(4 * index, index, index / 20, (240, 320)))
    shutil.copy(recording.path, tmp_path / "cut.mp4")  # as a power cut would leave it
    recording.close()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        for name, duration_s in (("finished", 3.03), ("cut", 3.0)):
            (tmp_path / f"{name}.html").write_text(f"<video src={name}.mp4 muted></video>")
            page.goto((tmp_path / f"{name}.html").as_uri())
            page.evaluate(f"{VIDEO}.playbackRate = 4; {VIDEO}.play()")
            page.wait_for_function(f"{VIDEO}.ended")
            end = page.evaluate(f"[{VIDEO}.currentTime, {VIDEO}.duration, {VIDEO}.videoWidth, {VIDEO}.videoHeight]")
            assert end == pytest.approx([duration_s, duration_s, 320, 240], abs=0.1), name
            page.evaluate(f"{VIDEO}.currentTime = 1.5")
            page.wait_for_function(f"!{VIDEO}.seeking && {VIDEO}.currentTime == 1.5")
        browser.close()
