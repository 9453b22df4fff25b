"""Several sources on one engine, overlapping, and what saves power. Real threads and files."""

from __future__ import annotations

import json
import threading
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_segface.camera import loop as camera_loop
from edge_segface.camera.loop import CameraLoop, LoopSettings, MultiCameraLoop
from edge_segface.camera.reader import SourceReader
from edge_segface.camera.recording import Recording
from edge_segface.camera.result import FrameResult
from edge_segface.camera.sinks import Sink
from edge_segface.camera.sources import DemoSource, open_source
from edge_segface.cli.console.tables import print_loop
from edge_segface.engine.watched import EngineLostError
from edge_segface.errors import InputError, SourceError
from edge_segface.face.parser import FaceParser
from edge_segface.face.tracker import IDLE_AFTER_S, SEARCHES_PER_S, FaceTracker
from edge_segface.frames import UInt8Array
from edge_segface.telemetry import Sensor, Values
from edge_segface.timing import Stopwatch
from tests.conftest import assert_one_line_error, run_cli
from tests.support.video_files import write_video


@pytest.fixture(scope="module")
def parser() -> FaceParser:
    return FaceParser("edge-256")


class Keep:
    """A sink that keeps class maps."""

    name = "keep"
    draws = False

    def __init__(self) -> None:
        self.maps: dict[int, UInt8Array] = {}
        self.faces: dict[int, int] = {}
        self.closed = False

    def show(self, result: FrameResult) -> None:
        self.maps[result.frame.index] = result.class_map.labels
        self.faces[result.frame.index] = len(result.faces)

    def close(self) -> None:
        self.closed = True


class Camera:
    """A live camera with a frame rate, which dies after some frames for good."""

    live = True
    frames_independent = False
    frame_name: str | None = None
    description = "a camera"

    def __init__(self, fps: float = 30.0, frames: int = 1_000_000, size_wh: tuple[int, int] = (320, 240)) -> None:
        self.fps, self._left, self._clip = fps, frames, DemoSource(size_wh)

    def read(self) -> UInt8Array:
        time.sleep(1 / self.fps)
        if not self._left:
            raise SourceError("the camera is unplugged")
        self._left -= 1
        return self._clip.read()

    def close(self) -> None:
        pass


class OnceOnly:
    """Opens a camera once; after that it cannot be opened again."""

    def __init__(self, frames: int) -> None:
        self._frames, self._opened = frames, False

    def __call__(self) -> Camera:
        if self._opened:
            raise SourceError("the camera is gone")
        self._opened = True
        return Camera(60, self._frames)


def run_one(parser: FaceParser, settings: LoopSettings) -> tuple[Keep, dict[str, object]]:
    keep = Keep()
    return keep, CameraLoop(parser, DemoSource, lambda _: [keep], settings).run()


def test_a_video_is_parsed_alike_each_time(parser: FaceParser) -> None:
    first, _ = run_one(parser, LoopSettings(60))
    again, _ = run_one(parser, LoopSettings(60))
    assert list(first.maps) == list(again.maps) == list(range(60))
    assert all(np.array_equal(first.maps[index], again.maps[index]) for index in first.maps)


def test_without_overlap_a_frame_is_parsed_as_alone(parser: FaceParser) -> None:
    alone, clip, watch = FaceTracker(parser), DemoSource(), Stopwatch()
    expected = [[face.roi for face in alone.update(clip.read(), n / 30, watch)] for n in range(40)]
    found: list[object] = []

    class Rois(Keep):
        def show(self, result: FrameResult) -> None:
            found.append([face.roi for face in result.faces])

    CameraLoop(parser, DemoSource, lambda _: [Rois()], LoopSettings(40, overlap=False)).run()
    assert found == expected


def test_overlap_loses_no_face_and_agrees_with_no_overlap(parser: FaceParser) -> None:
    with_overlap, _ = run_one(parser, LoopSettings(90))
    without, _ = run_one(parser, LoopSettings(90, overlap=False))
    assert set(with_overlap.faces.values()) == {1}
    agreement = [np.mean(with_overlap.maps[index] == without.maps[index]) for index in range(90)]
    assert np.mean(agreement) > 0.985
    assert min(agreement) > 0.95


def test_a_further_face_is_found_while_one_is_followed(parser: FaceParser) -> None:
    """With overlap, candidates wait for the next plan."""

    class Joined(DemoSource):
        """Shows the clip, and from frame 30 on a second copy of it at the right."""

        def __init__(self) -> None:
            super().__init__((480, 480))
            self._count = 0

        def read(self) -> UInt8Array:
            frame = super().read()
            self._count += 1
            return np.hstack([frame, frame if self._count > 30 else np.full_like(frame, 120)])

    keep = Keep()
    CameraLoop(parser, Joined, lambda _: [keep], LoopSettings(90)).run()
    assert keep.faces[20] == 1
    assert keep.faces[89] == 2


def test_sources_are_parsed_side_by_side(parser: FaceParser, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 40)
    loop = MultiCameraLoop(parser, LoopSettings(60))
    keeps = {name: Keep() for name in ("clip", "wide", "video")}
    loop.add("clip", DemoSource, lambda _: [keeps["clip"]])
    loop.add("wide", partial(DemoSource, (960, 360)), lambda _: [keeps["wide"]])
    loop.add("video", partial(open_source, str(video)), lambda _: [keeps["video"]])
    report = loop.run()
    assert {name: one["frames"] for name, one in report["sources"].items()} == {"clip": 60, "wide": 60, "video": 40}
    assert all(keep.closed for keep in keeps.values())
    alone, _ = run_one(parser, LoopSettings(60, overlap=False))
    assert np.mean([np.mean(keeps["clip"].maps[n] == alone.maps[n]) for n in range(60)]) > 0.98
    assert keeps["wide"].maps[10].shape == (360, 960)
    assert json.dumps(report, allow_nan=False)
    assert report["engine_losses"] == 0
    assert report["cpu_cores"] > 0


def test_a_source_that_dies_leaves_the_others_alone(parser: FaceParser) -> None:
    said: list[str] = []
    stop = threading.Event()
    loop = MultiCameraLoop(parser, on_message=said.append, stop=stop)
    keep = Keep()

    class Enough(Keep):
        def show(self, result: FrameResult) -> None:
            super().show(result)
            if len(self.maps) >= 60 and any("unplugged" in line for line in said):  # a live frame may be dropped
                stop.set()

    loop.add("dying", OnceOnly(10), lambda _: [keep])
    loop.add("other", Camera, lambda _: [Enough()])
    report = loop.run()
    assert report["sources"]["dying"]["frames"] <= 10
    assert report["sources"]["other"]["frames"] >= 60
    assert any(line.startswith("source dying: ") and "unplugged" in line for line in said)


def test_a_broken_file_among_several_is_reported(parser: FaceParser, tmp_path: Path) -> None:
    whole = write_video(tmp_path / "v.mp4", 20)
    broken = tmp_path / "grey.avi"
    broken.write_bytes(write_video(tmp_path / "g.avi", 20).read_bytes()[:6000])
    arguments = ("webcam", "--headless", "--source", whole, "--source", broken, "--source", tmp_path / "no.mp4")
    done = run_cli(*arguments, "--json", tmp_path / "r.json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    report = json.loads((tmp_path / "r.json").read_text())["sources"]
    assert report["1"]["frames"] == 20
    assert report["1"]["failure"] is None
    assert report["2"]["failure"]
    assert "does not exist" in report["3"]["failure"]
    assert_one_line_error(run_cli("webcam", "--headless", "--source", "n1", "--source", "n2"), "none", beside="source")


def test_recordings_and_masks_are_numbered(tmp_path: Path) -> None:
    arguments = ("webcam", "--headless", "--source", "demo", "--source", "demo", "--frames", 12)
    outputs = ("--record", tmp_path / "a.mkv", "--save-masks", tmp_path / "masks")
    done = run_cli(*arguments, *outputs)
    assert done.returncode == 0, done.stderr
    for number in (1, 2):
        video = cv2.VideoCapture(str(tmp_path / f"a-{number}.mkv"))
        assert sum(1 for _ in iter(lambda: video.read()[0] or None, None)) == 12  # noqa: B023
        assert len(list((tmp_path / "masks" / str(number)).glob("*.png"))) == 12
    assert not (tmp_path / "a.mkv").exists()
    assert "times the paper's" in done.stdout


def test_sources_come_and_go(parser: FaceParser) -> None:
    loop = MultiCameraLoop(parser)
    keeps = [Keep(), Keep()]
    loop.add("first", Camera, lambda _: [keeps[0]])

    def change() -> None:
        wait_for(lambda: len(keeps[0].maps) >= 5)
        loop.add("second", Camera, lambda _: [keeps[1]])
        wait_for(lambda: len(keeps[1].maps) >= 5)
        loop.drop("first")
        wait_for(lambda: keeps[0].closed)
        count = len(keeps[1].maps)
        wait_for(lambda: len(keeps[1].maps) >= count + 5)
        loop.drop("second")

    thread = threading.Thread(target=change)
    thread.start()
    report = loop.run()  # ends with its last source
    thread.join()
    assert set(report["sources"]) == {"first", "second"}
    assert loop.channels == {}


def test_a_slow_source_does_not_hold_up_a_fast_one(parser: FaceParser) -> None:
    loop = MultiCameraLoop(parser)
    slow, fast = Keep(), Keep()

    class Until(Keep):
        def show(self, result: FrameResult) -> None:
            fast.show(result)
            if len(slow.maps) >= 4:
                loop.stop.set()

    loop.add("slow", partial(Camera, 2.0), lambda _: [slow])
    loop.add("fast", partial(Camera, 30.0), lambda _: [Until()])
    loop.run()
    assert len(fast.maps) > 4 * len(slow.maps)


def test_an_engine_that_fails_once_costs_a_file_no_frame(parser: FaceParser) -> None:
    class Failing:
        """Fails at every seventh call."""

        spec, description, gpu_ms, calls = parser.spec, "failing", None, 0

        def infer_all(self, images: UInt8Array) -> object:
            self.calls += 1
            if self.calls % 7 == 0:
                raise EngineLostError("the engine failed")
            return parser.engine.infer_all(images)

    keep = Keep()
    report = CameraLoop(FaceParser(Failing()), DemoSource, lambda _: [keep], LoopSettings(30)).run()  # type: ignore[arg-type]
    assert list(keep.maps) == list(range(30))
    assert report["engine_losses"] >= 4


def test_only_every_so_manieth_frame_is_parsed(parser: FaceParser, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 31)
    keep, rates = Keep(), []

    def sinks(reader: SourceReader) -> list[Sink]:
        rates.append(reader.fps)
        return [keep, Recording(tmp_path / "out.mkv", reader.fps, live=False)]

    CameraLoop(parser, partial(open_source, str(video)), sinks, LoopSettings(every=5)).run()
    assert list(keep.maps) == [0, 5, 10, 15, 20, 25, 30]
    recorded = cv2.VideoCapture(str(tmp_path / "out.mkv"))
    assert recorded.get(cv2.CAP_PROP_FPS) == pytest.approx(rates[0], rel=0.01)
    assert rates[0] == pytest.approx(cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FPS) / 5)


@pytest.mark.parametrize("source", [DemoSource, partial(Camera, 100.0)])
def test_max_fps_bounds_the_rate(parser: FaceParser, source: object) -> None:
    start = time.monotonic()
    report = CameraLoop(parser, source, settings=LoopSettings(15, max_fps=10)).run()  # type: ignore[arg-type]
    assert time.monotonic() - start > 1.3
    assert report["frames"] == 15
    assert report["glass_to_result_fps"] < 11


def test_wrong_rates_are_rejected() -> None:
    for wrong in ({"max_fps": 0}, {"max_fps": -1.0}, {"max_fps": float("nan")}, {"every": 0}):
        with pytest.raises(InputError):
            LoopSettings(**wrong)
    for arguments in (("--max-fps", "0"), ("--max-fps", "nan"), ("--every", "0")):
        wrong_usage = run_cli("webcam", "--source", "demo", "--headless", *arguments)
        assert wrong_usage.returncode in (1, 2)
        assert "Traceback" not in wrong_usage.stderr
        assert wrong_usage.stderr.strip()


def test_a_scene_without_faces_is_searched_less_after_a_while(parser: FaceParser) -> None:
    tracker, watch, grey = FaceTracker(parser), Stopwatch(), np.full((240, 320, 3), 120, np.uint8)
    searched: list[int] = []
    for second in range(int(IDLE_AFTER_S) + 6):
        before = tracker.searches
        for n in range(30):
            tracker.update(grey, second + n / 30, watch)
        searched.append(tracker.searches - before)
    assert searched[1] == SEARCHES_PER_S["lost"]
    assert searched[-1] == SEARCHES_PER_S["idle"]
    clip = DemoSource((320, 240))
    found_at = [n for n in range(30) if tracker.update(clip.read(), len(searched) + n / 30, watch)]
    assert found_at[0] <= 30 / SEARCHES_PER_S["idle"]


def test_a_face_that_was_followed_for_long_is_searched_as_often_as_any(parser: FaceParser) -> None:
    tracker, watch, still = FaceTracker(parser, max_faces=1), Stopwatch(), DemoSource((320, 240)).read()
    for now_s in (0.0, 0.1, 0.2, IDLE_AFTER_S + 5):
        assert len(tracker.update(still, now_s, watch)) == 1
    before = tracker.searches
    for n in range(1, 31):
        tracker.update(np.full_like(still, 120), IDLE_AFTER_S + 5 + n / 30, watch)
    assert tracker.searches - before > SEARCHES_PER_S["idle"] + 1


def test_numbered_outputs_replace_no_source(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a-2.mp4", 5)
    content = source.read_bytes()
    sources = ("--source", source, "--source", "demo", "--frames", 3)
    done = run_cli("webcam", "--headless", *sources, "--record", tmp_path / "a.mp4", "--overwrite")
    assert_one_line_error(done, "would be recorded onto itself")
    assert source.read_bytes() == content


def test_sources_that_were_opened_are_closed_if_another_fails(parser: FaceParser) -> None:
    loop, keep = MultiCameraLoop(parser), Keep()
    loop.add("first", Camera, lambda _: [keep])
    loop.close()
    assert keep.closed


def wait_for(condition: object, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Scales(Sensor):
    """A sensor of a board that draws the same power all the time."""

    def read(self) -> Values:
        return {"power_w.board": 7.5, "temperature_c.cpu": 51.0, "clock_mhz.cpu": 2000.0}


def test_power_and_temperature_are_reported(
    parser: FaceParser, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(camera_loop, "sensors", lambda: [Scales()])
    monkeypatch.setattr(camera_loop, "SENSORS_S", 0.01)
    report = CameraLoop(parser, DemoSource, settings=LoopSettings(frames=40)).run()
    assert (report["power_w"], report["temperature_c"]) == ({"board": 7.5}, {"cpu": 51.0})
    print_loop(report)
    assert "on average 7.5 W (board), 51 °C" in capsys.readouterr().out
