"""The whole loop: rates, sources that break off, recordings, signals. Real threads, real processes, real files."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_segface.assets import FOLDER
from edge_segface.camera import reader
from edge_segface.camera.loop import CameraLoop, LoopSettings
from edge_segface.camera.reader import SourceReader
from edge_segface.camera.recording import Recording
from edge_segface.camera.result import FrameResult
from edge_segface.camera.sinks import Masks, Sink
from edge_segface.camera.sources import CameraRequest, DemoSource, open_source
from edge_segface.camera.sources.gstreamer import GstSource
from edge_segface.camera.sources.pipelines import Pipeline, user_pipeline
from edge_segface.camera.stream import parse_stream
from edge_segface.errors import ModelError, SinkError, SourceError
from edge_segface.face.merge import paste_over
from edge_segface.face.parser import FaceParser
from edge_segface.face.tracker import TrackedFace
from edge_segface.frames import RoI, UInt8Array
from edge_segface.image_io import write_image
from edge_segface.labels import CELEBAMASK19
from edge_segface.regions import Face
from edge_segface.timing import Durations, Stopwatch
from tests.conftest import assert_one_line_error, run_cli
from tests.support.gstreamer import needs_gstreamer
from tests.support.images import read_png
from tests.support.video_files import all_of, write_video


@pytest.fixture(scope="module")
def parser() -> FaceParser:
    return FaceParser("edge-256")


def frames_in(path: Path) -> int:
    video = cv2.VideoCapture(str(path))
    count = 0
    while video.read()[0]:
        count += 1
    return count


class Counting:
    """A sink that remembers which frames it was shown."""

    name = "counting"
    draws = False

    def __init__(self, pause_s: float = 0.0) -> None:
        self.seen: list[int] = []
        self.closed = False
        self.pause_s = pause_s

    def show(self, shown: FrameResult) -> None:
        time.sleep(self.pause_s)
        self.seen.append(shown.frame.index)

    def close(self) -> None:
        self.closed = True


class Breaking:
    """A camera that breaks off after every few frames, and now and then does not open again at once."""

    live = True
    frames_independent = False
    frame_name: str | None = None
    fps = 30.0
    description = "a camera that breaks off"
    opened = 0

    def __init__(self, frames: int = 3, pause_s: float = 0.0) -> None:
        type(self).opened += 1
        if self.opened % 3 == 2:
            raise SourceError("the camera is busy")
        self._left, self._pause_s = frames, pause_s
        self._source = DemoSource((320, 240))

    def read(self) -> UInt8Array:
        time.sleep(self._pause_s)
        if not self._left:
            raise SourceError("the camera is unplugged")
        self._left -= 1
        return self._source.read()

    def close(self) -> None:
        pass


def test_durations_in_fixed_memory() -> None:
    generator = np.random.default_rng(0)
    seconds = generator.lognormal(-5, 1, 20000)
    durations = Durations()
    for value in seconds:
        durations.add(float(value))
    assert durations.total_s / durations.count == pytest.approx(seconds.mean())
    for percent in (50, 90, 99):
        assert durations.percentile_s(percent) == pytest.approx(np.percentile(seconds, percent), rel=0.01)
    durations.add(0.0)
    durations.add(1e9)  # beyond the bins, and no error
    assert math.isnan(Durations().percentile_s(50))


def test_a_file_gives_every_frame_and_both_rates(parser: FaceParser, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 30)
    slow = Counting(0.02)  # what is slow to show holds the loop up, but loses nothing
    report = CameraLoop(parser, partial(open_source, str(video)), lambda source: [slow]).run()
    assert slow.seen == list(range(30))
    assert slow.closed
    assert (report["frames"], report["dropped"], report["unshown"], report["reconnects"]) == (30, 0, 0, 0)
    assert report["engine_fps"] > report["glass_to_result_fps"] > 0
    assert report["paper_fps"] == 95.96
    assert report["of_paper"] == pytest.approx(report["glass_to_result_fps"] / 95.96, abs=0.01)
    assert report["bound_by"] in ("engine", "processor", "sinks")
    assert set(report["stages_ms"]) == {"capture", "crop", "infer", "track", "paste", "sink"}
    for times in (*report["stages_ms"].values(), report["latency_ms"]):
        assert 0 < times["p50"] <= times["p90"] <= times["p99"]
    assert json.dumps(report, allow_nan=False)
    assert report["faces_per_frame"] >= 0.9


def test_a_live_source_drops_what_is_old(parser: FaceParser) -> None:
    Breaking.opened = 0
    slow = Counting(0.4)  # slower than any engine
    loop = CameraLoop(parser, partial(Breaking, 100000), lambda source: [slow], LoopSettings(frames=30))
    report = loop.run()
    assert report["dropped"] > 0
    assert report["frames"] == len(slow.seen) < 30
    assert report["unshown"] == 30 - len(slow.seen)
    assert slow.seen == sorted(slow.seen)
    assert report["bound_by"] == "sinks"


def test_a_source_that_breaks_off_comes_back(parser: FaceParser) -> None:
    Breaking.opened = 0
    said: list[str] = []
    before = threading.active_count()
    report = CameraLoop(parser, Breaking, settings=LoopSettings(frames=9), on_message=said.append).run()
    assert report["reconnects"] >= 2
    assert any("the camera is unplugged; reconnecting" in line for line in said)
    assert any("the camera is busy; next try in 0.4 s" in line for line in said)
    assert any(line.startswith("reconnected: ") for line in said)
    assert threading.active_count() == before


def test_a_camera_that_does_not_return_is_opened_again(parser: FaceParser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "STALL_S", 0.5)
    opened: list[Stalling] = []
    released = threading.Event()

    class Stalling(DemoSource):
        live = True
        left = 3

        def read(self) -> UInt8Array:
            self.left -= 1
            if len(opened) == 1 and self.left < 0:
                released.wait(30)  # a driver that hangs
            return super().read()

    def open_camera() -> Stalling:
        opened.append(Stalling((320, 240)))
        return opened[-1]

    said: list[str] = []
    report = CameraLoop(parser, open_camera, settings=LoopSettings(frames=8), on_message=said.append).run()
    released.set()
    for thread in threading.enumerate():  # what was left behind ends now
        if thread.name in ("reader", "closing"):
            thread.join(10)
    assert (report["frames"], report["reconnects"]) == (8, 1)
    assert "no frame for 0.5 s; reconnecting" in said


class Failing(Counting):
    """A sink with a bug."""

    def show(self, shown: FrameResult) -> None:
        super().show(shown)
        if shown.frame.index == 3:
            raise RuntimeError("a bug")


def test_a_sink_with_a_bug_is_named_and_the_loop_goes_on(parser: FaceParser) -> None:
    before, failing, other = threading.active_count(), Failing(), Counting()
    failing.name = "wall"
    settings = LoopSettings(frames=12)
    report = CameraLoop(parser, DemoSource, lambda source: [failing, other], settings).run()
    assert failing.closed
    assert other.closed
    assert (report["frames"], report["sinks"], report["failed_sinks"]) == (12, ["counting"], ["wall"])
    assert "the wall ends because of a RuntimeError (found: a bug); please report this" in report["failure"]
    assert threading.active_count() <= before  # a thread of an earlier test may have ended meanwhile


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError(), cv2.error("driver")])
def test_a_camera_comes_back_whatever_opening_it_raised(parser: FaceParser, error: Exception) -> None:
    attempts: list[int] = []

    def open_camera() -> Breaking:
        attempts.append(len(attempts))
        if len(attempts) == 2:
            raise error
        return Breaking()

    Breaking.opened = 0
    report = CameraLoop(parser, open_camera, settings=LoopSettings(frames=9)).run()
    assert report["reconnects"] >= 1


def test_a_source_with_a_bug_ends_the_loop_with_its_error(parser: FaceParser) -> None:
    class Buggy(DemoSource):
        def read(self) -> UInt8Array:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        CameraLoop(parser, Buggy).run()


def test_without_a_face_the_engine_is_not_called_fast(parser: FaceParser, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "grey.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 240))
    for _ in range(60):
        writer.write(np.full((240, 320, 3), 120, np.uint8))
    writer.release()
    report = CameraLoop(parser, partial(open_source, str(tmp_path / "grey.avi"))).run()
    assert report["faces_per_frame"] == 0
    assert report["searches"] == pytest.approx(30, abs=2)  # by the clock of the video, not of the wall
    per_look = 1e-3 * report["stages_ms"]["infer"]["p50"]
    assert report["engine_fps"] < 2.5 / per_look  # a look in every second frame
    assert report["engine_fps"] > report["glass_to_result_fps"]


@pytest.mark.parametrize(("pause_s", "sink_s", "bound"), [(0.4, 0.1, "source"), (0.0, 0.5, "sinks")])
def test_what_bounds_it(parser: FaceParser, pause_s: float, sink_s: float, bound: str) -> None:
    Breaking.opened = 0
    slow = Counting(sink_s)  # slower than any engine, but not than a camera of two frames a second
    settings = LoopSettings(frames=12)
    report = CameraLoop(parser, partial(Breaking, 1000, pause_s), lambda source: [slow], settings).run()
    assert report["bound_by"] == bound


@needs_gstreamer
def test_stop_is_heard_while_a_camera_is_waited_for() -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    before = threading.active_count()
    start = time.monotonic()
    text = "gst:videotestsrc ! video/x-raw,width=64,height=64 ! valve drop=true"
    with pytest.raises(SourceError, match="was stopped"):
        open_source(text, CameraRequest(stop=stop))
    assert time.monotonic() - start < 3
    assert threading.active_count() <= before


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb, which stands in for a screen, is not installed")
def test_a_window_shows_the_picture_and_q_ends_it(tmp_path: Path) -> None:
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "800x600x24", "-noreset", "-fbdir", str(tmp_path)]
    screen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert screen.stdout is not None
    environment = {**os.environ, "DISPLAY": ":" + screen.stdout.readline().strip(), "QT_QPA_PLATFORM": "xcb"}
    command = [sys.executable, "-m", "edge_segface", "webcam", "--source", "demo", "--frames", "100000"]

    def opened() -> subprocess.Popen[str] | None:
        """The command, once a photograph is on the screen and not an empty window."""
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 20
        while time.monotonic() < until and process.poll() is None:
            content = np.frombuffer((tmp_path / "Xvfb_screen0").read_bytes(), np.uint8)[-800 * 600 * 4 :]
            if len(np.unique(content.reshape(-1, 4), axis=0)) >= 1000:
                return process
            time.sleep(0.2)
        process.kill()
        process.communicate()
        return None

    process = None
    try:  # of OpenCV's windows one in six stays black where no window manager is, as here
        process = next(filter(None, (opened() for _ in range(5))), None)
        assert process is not None
        if shutil.which("xdotool"):
            until = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < until:
                subprocess.run(["xdotool", "mousemove", "400", "300", "key", "q"], env=environment, check=False)
                time.sleep(0.3)
        else:
            process.terminate()
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
        assert "window" not in stderr
        assert "engine only" in stdout
    finally:
        if process is not None:
            process.kill()
        screen.terminate()
        screen.wait()


def test_a_display_that_does_not_answer() -> None:
    result = run_cli("webcam", "--source", "demo", "--frames", 3, env={**os.environ, "DISPLAY": ":4321"})
    assert_one_line_error(result, "no window can be opened", ":4321", "--headless", beside="source: ")


def test_a_source_that_does_not_open_is_an_error_at_once(parser: FaceParser) -> None:
    with pytest.raises(SourceError, match="not found"):
        CameraLoop(parser, partial(open_source, "97")).run()


def test_a_picture_changes_its_size_while_it_is_recorded(
    parser: FaceParser, tmp_path: Path, portrait: np.ndarray
) -> None:
    for name, image in {
        "1": portrait,
        "2": cv2.resize(portrait, (640, 360)),
        "3": cv2.resize(portrait, (7680, 4320)),
        "4": np.full((300, 200, 3), 90, np.uint8),
    }.items():
        write_image(image, tmp_path / "in" / f"{name}.png")
    out = tmp_path / "out.mp4"
    masks = tmp_path / "masks"

    def sinks(source: SourceReader) -> Sequence[Sink]:
        return [Recording(out, source.fps, live=source.live), Masks(masks)]

    report = CameraLoop(parser, partial(open_source, str(tmp_path / "in")), sinks).run()
    assert report["frames"] == frames_in(out) == 4
    shapes = [read_png(path).shape for path in sorted(masks.glob("*.png"))]
    assert shapes == [(352, 352), (360, 640), (4320, 7680), (300, 200)]


def test_a_disk_that_is_full_ends_the_recording_and_not_the_loop(parser: FaceParser, tmp_path: Path) -> None:
    said: list[str] = []
    free = shutil.disk_usage(tmp_path).free
    counting = Counting()

    def sinks(source: SourceReader) -> Sequence[Sink]:
        recording = Recording(tmp_path / "r.avi", 30, live=False, reserve_bytes=0)
        recording._reserve = 2 * free  # as if the disk had filled up since
        recording.frames = 1  # past the look at the beginning
        return [recording, counting]

    report = CameraLoop(parser, DemoSource, sinks, LoopSettings(frames=40), said.append).run()
    assert report["frames"] == 40
    assert counting.seen == list(range(40))
    assert frames_in(tmp_path / "r.avi") == 14
    assert any("stops after 15 frames because the disk is nearly full" in line for line in said)
    with pytest.raises(SinkError, match="nearly full"):
        Recording(tmp_path / "s.avi", 30, live=False, reserve_bytes=2 * free)


def test_a_square_leaves_the_neighbours_face() -> None:
    labels = np.zeros((100, 100), np.uint8)
    labels[20:60, 20:60] = 3
    face = np.zeros((64, 64), np.uint8)
    face[:, 32:] = 5
    paste_over(TrackedFace(1, Face((40.0, 10.0, 90.0, 60.0), 1.0), RoI((59.5, 39.5), 64.0), face), labels)
    assert labels[30, 30] == 3  # where the square shows background
    assert labels[40, 80] == 5
    paste_over(TrackedFace(2, Face((0.0, 0.0, 9.0, 9.0), 1.0), RoI((-500.0, 0.0), 64.0), face), labels)  # outside


def test_a_stream_for_programs(parser: FaceParser, tmp_path: Path) -> None:
    seen = list(parse_stream(str(write_video(tmp_path / "v.mp4", 8)), parser))
    assert len(seen) == 8
    for image, class_map, faces in seen:
        assert image.shape[:2] == class_map.labels.shape == (240, 320)
        assert class_map.mask("hair").any()
        assert len(faces) == 1


@needs_gstreamer
def test_a_stream_of_a_live_source_gives_its_newest_frames(parser: FaceParser) -> None:
    indices = []
    text = "gst:videotestsrc is-live=true num-buffers=60 ! video/x-raw,width=64,height=48,framerate=60/1"
    for result in parse_stream(text, parser):
        indices.append(result.frame.index)
        time.sleep(0.1)
    assert np.diff(indices).max() > 1
    assert indices[-1] == 59
    assert len(indices) < 40


def test_a_stream_warns_of_images_that_it_skips(parser: FaceParser, tmp_path: Path, portrait: np.ndarray) -> None:
    for name in ("a", "c"):
        write_image(portrait, tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="skipped: .*b.png is not a readable image"):
        results = list(parse_stream(str(tmp_path), parser))
    assert [(result.frame.index, result.frame.name) for result in results] == [(0, "a"), (1, "c")]


def test_a_stream_whose_source_fails_raises_and_leaves_no_thread(parser: FaceParser) -> None:
    before = threading.active_count()
    with pytest.raises(SourceError, match="does not exist"):
        next(parse_stream("nothing.mp4", parser))
    stream = parse_stream("demo", parser)
    next(stream)
    del stream
    assert threading.active_count() == before


def test_a_model_without_labels_is_refused(parser: FaceParser, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(parser.engine, "spec", replace(parser.spec, outputs=("logits",)))
    with pytest.raises(ModelError, match="returns no labels"):
        CameraLoop(parser, DemoSource)


def webcam(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edge_segface", "webcam", "--headless", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_whole_video_and_the_summary(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "r.mp4"
    process = webcam("--source", "demo", "--record", out, "--json", tmp_path / "r.json")
    while not out.exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1.5)
    process.send_signal(number)
    try:
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, stderr
    assert "engine only" in stdout
    assert "end to end" in stdout
    assert "95.96" in stdout
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["frames"] == frames_in(out) > 5


@needs_gstreamer
def test_a_camera_whose_process_is_killed_comes_back_and_the_recording_goes_on(
    parser: FaceParser, tmp_path: Path
) -> None:
    text = "gst:videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=60/1"
    out, before = tmp_path / "r.avi", threading.active_count()
    opened: list[GstSource] = []

    def camera() -> GstSource:
        opened.append(GstSource("camera", [open_pipeline(text)]))
        return opened[-1]

    def killer() -> None:
        for _ in range(5):
            count = len(opened)
            opened[-1]._process.popen.kill()
            while len(opened) == count and not loop.stop.is_set():
                time.sleep(0.05)
            time.sleep(0.3)
        loop.stop.set()

    loop = CameraLoop(parser, camera, lambda source: [Recording(out, 60, live=False)])
    threading.Timer(1.0, killer).start()
    report = loop.run()
    assert report["reconnects"] == 5
    assert report["frames"] == frames_in(out) > 5
    assert threading.active_count() == before


def open_pipeline(text: str) -> Pipeline:
    return user_pipeline(text.removeprefix("gst:"))


def test_webcam_command(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 12)
    report, masks = tmp_path / "r.json", tmp_path / "masks"
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    result = run_cli(
        "webcam", "--source", video, "--json", report, "--save-masks", masks, "--stabilise", "--record",
        tmp_path / "r.mkv", env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "no display" in result.stderr
    assert "source: " in result.stderr
    assert "flicker: " in result.stdout
    written = json.loads(report.read_text())
    assert {"engine_fps", "glass_to_result_fps", "stages_ms", "dropped", "paper_fps"} <= set(written)
    assert written["flicker_percent"]["without"] >= 0
    assert len(list(masks.glob("*.png"))) == frames_in(tmp_path / "r.mkv") == 12
    ids = read_png(masks / "000011.png")
    assert CELEBAMASK19.id_of("nose") in ids


def test_a_folder_with_a_broken_image_is_parsed_and_the_exit_code_says_so(tmp_path: Path, portrait: np.ndarray) -> None:
    for name in ("a", "c"):
        write_image(portrait, tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    arguments = ("webcam", "--headless", "--source", tmp_path / "in", "--save-masks", tmp_path / "masks")
    result = run_cli(*arguments, "--json", tmp_path / "r.json")
    assert result.returncode == 1
    assert "b.png is not a readable image" in result.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["frames"], report["skipped"], report["failure"]) == (2, 1, None)
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["a.png", "c.png", "masks.txt"]
    again = run_cli(*arguments)
    assert_one_line_error(again, "already holds 2 PNG files", "add --overwrite", beside=("source: ", "skipped: "))
    (tmp_path / "in" / "c.png").unlink()
    assert run_cli(*arguments, "--overwrite").returncode == 1
    assert sorted(path.name for path in (tmp_path / "masks").glob("*.png")) == ["a.png"]


def test_outputs_never_replace_their_source(tmp_path: Path, portrait: np.ndarray) -> None:
    image, video = tmp_path / "in" / "000001.png", write_video(tmp_path / "v.mp4", 3)
    write_image(portrait, image)
    before = image.read_bytes(), video.read_bytes()
    (tmp_path / "link.mp4").symlink_to(video)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "masks.txt").symlink_to(video)
    for arguments, words in (
        (["--source", tmp_path / "in", "--save-masks", tmp_path / "in"], "the masks would be among the images"),
        (["--source", image, "--save-masks", tmp_path / "in"], "the masks would be among the images"),
        (["--source", tmp_path / "in" / "*.png", "--save-masks", tmp_path / "in"], "the masks would be among"),
        (["--source", "demo", "--record", tmp_path / "link.mp4"], "a symbolic link"),
        (["--source", "demo", "--save-masks", tmp_path / "linked"], "is a symbolic link"),
        (["--source", video, "--record", video], "would be recorded onto itself"),
    ):
        result = run_cli("webcam", "--headless", "--overwrite", *arguments)
        assert_one_line_error(result, words, beside="source: ")
    assert (image.read_bytes(), video.read_bytes()) == before


def test_a_part_is_cut_out_with_soft_edges(tmp_path: Path, portrait: np.ndarray) -> None:
    write_image(portrait, tmp_path / "a.png")
    common = ("webcam", "--headless", "--source", tmp_path / "a.png", "--no-hud")
    result = run_cli(*common, "--alpha", "person", "--save-masks", tmp_path / "m", "--record", tmp_path / "r.avi")
    assert result.returncode == 0, result.stderr
    alpha = read_png(tmp_path / "m" / "a.png")
    assert {0, 255} < set(np.unique(alpha).tolist())
    frame = all_of(open_source(str(tmp_path / "r.avi")))[0]
    assert frame[2, 2] == pytest.approx(np.array([64, 177, 0]), abs=12)
    typo = run_cli(*common, "--classes", "hiar")
    assert_one_line_error(typo, "did you mean hair")


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    for arguments, words in (
        (["--source", "98"], "camera /dev/video98 not found"),
        (["--source", tmp_path / "no.mp4"], "does not exist"),
        (["--source", "demo", "--size", "tall"], "is not a valid size"),
        (["--source", "demo", "--record", tmp_path / "x.gif"], "cannot record"),
        (["--source", "demo", "--detector", tmp_path / "no.onnx"], "FaceDetectorYN"),
        (["--source", "demo", "--serve", "nowhere"], "cannot serve at"),
        (["--source", "demo", "--serve", "a..b:80"], "cannot serve at"),
        (["--source", "demo", "--detector", FOLDER / "edge-256.onnx"], "FaceDetectorYN"),
        (["--source", "demo", "--json", tmp_path], "a folder"),
        (["--source", "x" * 5000], "is not a valid source"),
    ):
        result = run_cli("webcam", "--headless", "--frames", 3, *arguments)
        assert_one_line_error(result, words, beside="source: ")
    (tmp_path / "v.avi").write_bytes(write_video(tmp_path / "w.avi", 40, codec="MJPG").read_bytes()[:-60000])
    cut = run_cli("webcam", "--headless", "--source", tmp_path / "v.avi", "--json", tmp_path / "r.json")
    assert cut.returncode == 1
    report = json.loads((tmp_path / "r.json").read_text())
    assert 0 < report["frames"] < 40  # what can be read of it counts
    assert "ends early" in report["failure"]
    assert re.search(r"ends early and may be truncated \(found: \d+ of 40 frames\)", cut.stderr)
    assert "engine only" in cut.stdout


def test_watch_without_a_stage() -> None:
    assert Stopwatch().total_s("infer") == 0
