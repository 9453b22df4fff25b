"""Sources, opened for real: files, GStreamer processes, an HTTP camera, an RTSP server."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edge_segface.assets import PORTRAIT
from edge_segface.camera.reader import SourceReader
from edge_segface.camera.sources import (
    CameraRequest,
    DemoSource,
    GstSource,
    ImageSource,
    VideoSource,
    gstreamer,
    open_source,
    size_from,
)
from edge_segface.camera.sources.base import CREDENTIALS_VARIABLE, Credentials
from edge_segface.camera.sources.gstreamer_process import GStreamerProcess
from edge_segface.camera.sources.opencv import open_opencv_stream
from edge_segface.camera.sources.pipelines import Pipeline, csi_pipelines, rtsp_pipelines, usb_pipeline, user_pipeline
from edge_segface.errors import EdgeSegfaceError, FrameError, SourceError
from edge_segface.image_io import write_image
from edge_segface.timing import Stopwatch
from tests.camera import rtsp_server
from tests.support.gstreamer import needs_gstreamer
from tests.support.mjpeg_server import mjpeg_server
from tests.support.video_files import all_of, write_video

SYSTEM_PYTHON = "/usr/bin/python3"
TINY = "video/x-raw,width=64,height=64"


def test_video_gives_every_frame_in_order(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "v.mp4", 9)))
    assert isinstance(source, VideoSource)
    assert (source.live, source.frames_independent, source.fps) == (False, False, 30.0)
    frames = all_of(source)
    clip = DemoSource((320, 240))
    expected = [clip.read() for _ in range(9)]
    assert len(frames) == 9
    for frame, original in zip(frames, expected, strict=True):
        assert frame.shape == (240, 320, 3)
        assert np.abs(frame.astype(int) - original).mean() < 10


def test_video_can_be_a_file_url_or_have_brackets_in_its_name(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 3)
    assert len(all_of(open_source(f"file://{video}"))) == 3
    renamed = video.rename(tmp_path / "v [abc].mp4")  # which is not meant as a pattern
    assert len(all_of(open_source(str(renamed)))) == 3


def test_video_in_portrait_format(tmp_path: Path) -> None:
    video = write_video(tmp_path / "tall.avi", 3, (240, 426), "MJPG")
    assert all_of(open_source(str(video)))[0].shape == (426, 240, 3)


def test_unreadable_video_is_an_error(tmp_path: Path) -> None:
    content = write_video(tmp_path / "v.mp4", 9).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])  # without the index, which is at the end
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mkv").write_text("hello")
    for name in ("cut.mp4", "empty.mp4", "text.mkv"):
        with pytest.raises(SourceError, match=rf"cannot read any frame of .*{name}, which may be truncated"):
            open_source(str(tmp_path / name))


def test_truncated_video_ends_with_an_error(tmp_path: Path) -> None:
    content = write_video(tmp_path / "v.avi", 20, codec="MJPG").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    source = open_source(str(tmp_path / "cut.avi"))
    with pytest.raises(SourceError, match=r"cut.avi ends early and may be truncated \(found: \d+ of 20 frames\)"):
        all_of(source)
    source.close()


def test_images_come_from_a_file_a_folder_or_a_pattern(tmp_path: Path, drawn_face: np.ndarray) -> None:
    assert len(all_of(open_source(str(PORTRAIT)))) == 1
    for number in range(3):
        write_image(drawn_face, tmp_path / f"{number}.png")
    folder = open_source(str(tmp_path))
    assert isinstance(folder, ImageSource)
    assert folder.frames_independent
    assert folder.description == f"3 images from {tmp_path}"
    assert len(all_of(open_source(str(tmp_path / "*.png")))) == 3


def test_an_unreadable_image_is_a_frame_error_and_the_next_one_follows(tmp_path: Path, drawn_face: np.ndarray) -> None:
    for name in ("a.png", "c.png", "c.jpg"):
        write_image(drawn_face, tmp_path / name)
    (tmp_path / "b.jpg").write_bytes(b"no image")
    write_image(np.zeros((1, 1, 3), np.uint8), tmp_path / "d.png")
    source, names = open_source(str(tmp_path)), list[str | None]()
    for broken in (None, "b.jpg is not a readable image", None, None, "d.png is too small"):
        if broken is None:
            assert source.read() is not None
            names.append(source.frame_name)
        else:
            with pytest.raises(FrameError, match=broken):
                source.read()
    assert source.read() is None
    assert names == ["a", "c.jpg", "c.png"]


def test_images_of_which_none_can_be_read_are_an_error(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(b"no image")
    source = open_source(str(tmp_path))
    for _ in range(2):
        with pytest.raises(FrameError, match="is not a readable image"):
            source.read()
    with pytest.raises(SourceError, match=r"no image of .* can be read \(found: 2 unreadable\)"):
        source.read()
    with pytest.raises(SourceError, match="b.jpg is not a readable image") as caught:
        open_source(str(tmp_path / "b.jpg")).read()
    assert not isinstance(caught.value, FrameError)  # there is no next one


def test_videos_beside_images_are_named_and_not_read(tmp_path: Path, drawn_face: np.ndarray) -> None:
    video = write_video(tmp_path / "clip.mp4", 3)
    with pytest.raises(SourceError, match=r"no image in .* \(found: 1 videos\); name one .*--source .*clip.mp4"):
        open_source(str(tmp_path))
    with pytest.raises(SourceError, match="name one video at a time"):
        open_source(str(tmp_path / "*.mp4"))
    write_image(drawn_face, tmp_path / "a.png")
    (tmp_path / "b.MOV").write_bytes(video.read_bytes())
    source = open_source(str(tmp_path))
    assert re.search(r"a.png, without 2 videos such as (clip.mp4|b.MOV)", source.description)
    assert len(all_of(source)) == 1


def test_a_missing_file_gets_the_nearest_name(tmp_path: Path, drawn_face: np.ndarray) -> None:
    write_image(drawn_face, tmp_path / "holiday.png")
    (tmp_path / "photos").mkdir()
    for text, name in (("holidya.png", "holiday.png"), ("photo", "photos"), ("holiday.mp4", "holiday.png")):
        with pytest.raises(SourceError, match=rf"{text} does not exist; did you mean {name}\?"):
            open_source(str(tmp_path / text))
    with pytest.raises(SourceError, match="'a{80}' is not a valid source .*too long"):
        open_source("a" * 400)


@needs_gstreamer
def test_a_pipeline_states_its_frame_rate() -> None:
    source = open_source("gst:videotestsrc num-buffers=2 ! video/x-raw,width=64,height=48,framerate=12/1")
    assert source.fps == 12
    source.close()


@needs_gstreamer
def test_a_slow_loop_parses_every_frame_of_a_pipeline_without_a_clock() -> None:
    text = "gst:videotestsrc num-buffers=1 ! imagefreeze num-buffers=40 ! video/x-raw,width=64,height=48"
    reader = SourceReader(partial(open_source, text), Stopwatch(), pytest.fail)
    indices = []
    while not reader.ended:
        if (frame := reader.next(1.0)) is not None:
            indices.append(frame.index)
            time.sleep(0.01)
    reader.close()
    assert (indices, reader.dropped) == (list(range(40)), 0)


@needs_gstreamer
def test_a_slow_loop_gets_the_newest_frames_of_a_live_pipeline_and_the_others_are_counted() -> None:
    text = "gst:videotestsrc is-live=true num-buffers=60 ! video/x-raw,width=64,height=48,framerate=60/1"
    reader = SourceReader(partial(open_source, text), Stopwatch(), pytest.fail)
    seen = 0
    while not reader.ended:
        seen += reader.next(1.0) is not None
        time.sleep(0.1)
    reader.close()
    assert seen + reader.dropped == 60
    assert reader.dropped > 30


@needs_gstreamer
@pytest.mark.parametrize(
    "text", ["videotestsrc num-buffers=40", "videotestsrc num-buffers=1 ! imagefreeze num-buffers=40"]
)
def test_a_pipeline_without_a_clock_loses_no_frame(text: str) -> None:
    source = open_source(f"gst:{text} ! video/x-raw,width=64,height=48")
    try:
        assert not source.live
        frames = 0
        while source.read() is not None:
            frames += 1
            time.sleep(0.01)  # slower than the pipeline
    finally:
        source.close()
    assert frames == 40


@needs_gstreamer
def test_a_pipeline_with_a_clock_is_live() -> None:
    source = open_source("gst:videotestsrc is-live=true num-buffers=5 ! video/x-raw,width=64,height=48")
    assert source.live
    source.close()


def test_demo_clip_knows_where_its_face_is() -> None:
    source = DemoSource((640, 480))
    left, top, right, bottom = source.truth(100)
    eye = source.frame_from_portrait(100) @ (155.0, 117.0, 1)  # the subject's right eye
    assert left < eye[0] < (left + right) / 2
    assert top < eye[1] < (top + bottom) / 2


@pytest.mark.parametrize("size_wh", [(640, 480), (1280, 720), (480, 640)])
def test_demo_person_reaches_below_the_frame_and_the_face_stays_inside(size_wh: tuple[int, int]) -> None:
    source = DemoSource(size_wh)
    for number in range(0, 1800, 5):
        matrix = source.frame_from_portrait(number)
        for x in (-16, 320):  # lower ends of the arms that the outline draws
            assert (matrix @ (x, 380.0, 1))[1] > size_wh[1]
        left, top, right, bottom = source.truth(number)
        assert 0 < left < right < size_wh[0]
        assert 0 < top < bottom < size_wh[1]


def test_demo_room_stands_still_behind_the_person_and_nothing_is_stretched() -> None:
    source = DemoSource((640, 480))
    first, *later = (source.read() for _ in range(90))
    corner = np.s_[:200, 600:]  # which the person never reaches
    assert all(np.array_equal(image[corner], first[corner]) for image in later)
    for edge in (first[:, :6], first[:, -6:]):  # stretched pixels repeat the column at the edge
        assert (edge[:, :-1] != edge[:, 1:]).any(axis=(0, 2)).all()
    assert not np.array_equal(first[240], later[-1][240])


@pytest.mark.parametrize("size_wh", [(8, 8), (8, 400), (400, 8)])
def test_demo_takes_every_size(size_wh: tuple[int, int]) -> None:
    assert DemoSource(size_wh).read().shape == (size_wh[1], size_wh[0], 3)


def test_demo_face_can_leave_and_return() -> None:
    source = DemoSource((640, 480), leaves=True)
    assert source.truth(225)[2] < 0
    assert source.truth(300)[0] > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("97", "camera /dev/video97 not found .*csi://0"),
        ("/dev/video97", "camera /dev/video97 not found"),
        ("v4l2:///dev/video97", "camera /dev/video97 not found"),
        ("nothing.mp4", "nothing.mp4 does not exist; use a number"),
        ("", "'' is not a valid source"),
        ("ftp://x/y", "'ftp://x/y' is not a valid source"),
        ("x" * 5000, "'x{80}' is not a valid source"),
        ("gst:", "gst: needs a pipeline"),
        ("gst:videotestsrc ! 'x", "cannot parse gst:videotestsrc.*quotes"),
        ("nothing/*.png", r"nothing/\*.png"),
    ],
)
def test_invalid_source_is_an_error(text: str, message: str) -> None:
    with pytest.raises(EdgeSegfaceError, match=message):
        open_source(text)


def test_frame_size_is_parsed_and_checked() -> None:
    assert size_from("1280x720") == (1280, 720)
    for text in ("1280", "0x480", "99999x10", "axb"):
        with pytest.raises(SourceError, match="is not a valid size"):
            size_from(text)


def test_credentials_come_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("me:p@ss:w/d\n", encoding="utf-8")
    monkeypatch.setenv(CREDENTIALS_VARIABLE, "you:other")
    found = Credentials.load(tmp_path / "secret")
    assert found == Credentials("me", "p@ss:w/d")
    assert "p@ss" not in repr(found)
    assert found.added_to("rtsp://camera:554/x") == "rtsp://me:p%40ss%3Aw%2Fd@camera:554/x"
    assert found.added_to("rtsp://a:b@camera/x") == "rtsp://a:b@camera/x"
    assert Credentials.load(None) == Credentials("you", "other")
    monkeypatch.delenv(CREDENTIALS_VARIABLE)
    assert Credentials.load(None) is None
    for wrong in ("nobody", "", "a\nb:c"):
        (tmp_path / "secret").write_text(wrong, encoding="utf-8")
        with pytest.raises(SourceError, match="not USER:PASSWORD"):
            Credentials.load(tmp_path / "secret")
    with pytest.raises(SourceError, match="No such file"):
        Credentials.load(tmp_path / "none")


@needs_gstreamer
@pytest.mark.parametrize(
    "address",
    [
        'rtsp://x"!videotestsrc!filesink/location=owned',
        "rtsp://x'!videotestsrc!filesink/location=owned",
        "rtsp://x!videotestsrc!filesink!location=owned",
        "rtsp://127.0.0.1:1/;videotestsrc!filesink",
        'rtsp://127.0.0.1:1/\\"!videotestsrc!filesink',
    ],
)
def test_an_address_is_never_parsed_as_a_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(tmp_path)
    process = GStreamerProcess(rtsp_pipelines(address)[-1], threading.Event())
    elements = process_tree_arguments(process)
    assert address not in elements
    with pytest.raises(SourceError):
        process.read_frame(5)
    process.close()
    assert list(tmp_path.iterdir()) == []


@needs_gstreamer
def test_a_password_is_not_among_the_arguments_of_a_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://me:secret@127.0.0.1:{silent.getsockname()[1]}/x"
        process = GStreamerProcess(rtsp_pipelines(url)[-1], threading.Event())
        assert "gst_program" in process_tree_arguments(process)
        assert "secret" not in process_tree_arguments(process)
        with pytest.raises(SourceError) as failure:
            process.read_frame(0.5)
        process.close()
    assert "secret" not in str(failure.value)


def process_tree_arguments(process: GStreamerProcess) -> str:
    return Path(f"/proc/{process.popen.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


@pytest.mark.parametrize("address", ["rtsp://a b", "http://x/\n", "rtsp://" + "x" * 5000, "http://a\0b"])
def test_addresses_with_spaces_and_control_characters_are_refused(address: str) -> None:
    with pytest.raises(SourceError, match="not a valid address"):
        open_source(address)


def test_csi_pipelines_request_size_and_rate() -> None:
    nvidia, other = csi_pipelines(1, CameraRequest((1280, 720), 60))
    assert nvidia.arguments[:2] == ("nvarguscamerasrc", "sensor-id=1")
    assert "video/x-raw(memory:NVMM),width=1280,height=720,framerate=60/1,format=NV12" in nvidia.arguments
    assert other.arguments == ("libcamerasrc", "!", "video/x-raw,width=1280,height=720,framerate=60/1")


def test_usb_pipeline_decodes_mjpeg_in_hardware() -> None:
    arguments = usb_pipeline(3, CameraRequest((1280, 720), 60)).arguments
    assert arguments[:4] == ("v4l2src", "device=/dev/video3", "!", "image/jpeg,width=1280,height=720,framerate=60/1")
    assert "mjpeg=1" in arguments


def test_rtsp_pipelines_try_hardware_first() -> None:
    pipelines = rtsp_pipelines("rtsp://x")
    names = [pipeline.name for pipeline in pipelines]
    assert names == ["hardware H264 by nvv4l2decoder", "hardware H265 by nvv4l2decoder", "software"]
    assert all(pipeline.arguments[:2] == ("rtspsrc", "name=source") for pipeline in pipelines)
    assert all(pipeline.properties == {"source": {"location": "rtsp://x"}} for pipeline in pipelines)


def test_sink_of_a_user_pipeline_is_replaced() -> None:
    expected = ("v4l2src", "!", "videoconvert")
    assert user_pipeline("v4l2src ! videoconvert ! appsink drop=true").arguments == expected
    assert user_pipeline("v4l2src ! videoconvert").arguments == expected


@needs_gstreamer
def test_pipeline_with_odd_size_keeps_its_colours() -> None:
    # Rows of 639 pixels are padded in the pipe.
    source = open_source("gst:videotestsrc pattern=red num-buffers=10 ! video/x-raw,width=639,height=481")
    assert not source.live
    frames = all_of(source)
    assert 0 < len(frames) <= 10
    for frame in frames:
        assert frame.shape == (480, 638, 3)  # even, because OpenCV converts even sizes only
        assert (np.abs(frame.astype(int) - (0, 0, 255)) < 4).all()


@needs_gstreamer
@pytest.mark.parametrize("size_wh", [(640, 480), (322, 242), (1280, 720)])
def test_pipeline_keeps_every_pixel_in_its_place(size_wh: tuple[int, int], tmp_path: Path) -> None:
    image = DemoSource(size_wh).read()
    write_image(image, tmp_path / "frame.png")
    text = f"gst:filesrc location={tmp_path / 'frame.png'} ! pngdec ! imagefreeze num-buffers=2"
    frames = all_of(open_source(text))
    assert frames
    assert frames[0].shape == image.shape
    assert np.abs(frames[0].astype(int) - image).mean() < 3  # 4:2:0 has less colour, as every camera has


@needs_gstreamer
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gst:videotestsrc ! nosuchelement", r"did not start \(found: .*no element \"nosuchelement\""),
        ("gst:filesrc location=/no/where ! decodebin", "did not start .*Resource not found"),
    ],
)
def test_pipeline_that_does_not_start_is_an_error(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(text)


@needs_gstreamer
def test_missing_elements_are_named() -> None:
    with pytest.raises(SourceError, match="CSI camera 0 cannot be opened .*no GStreamer element nosuchelement"):
        GstSource("CSI camera 0", [Pipeline("hardware", ("nosuchelement",), ())])


@needs_gstreamer
def test_failing_pipeline_reports_its_output_and_leaves_no_thread() -> None:
    before = threading.active_count()
    source = open_source(f"gst:videotestsrc is-live=true ! {TINY} ! identity error-after=5")
    with pytest.raises(SourceError, match=r"your pipeline stopped unexpectedly \(found: .*Failed after iterations"):
        all_of(source)
    source.close()
    assert threading.active_count() == before


@needs_gstreamer
def test_killed_pipeline_is_an_error_and_leaves_no_thread() -> None:
    before = threading.active_count()
    source = GstSource("camera", [user_pipeline(f"videotestsrc is-live=true ! {TINY}")])
    source._process.popen.kill()
    with pytest.raises(SourceError, match="stopped unexpectedly"):
        all_of(source)
    source.close()
    assert threading.active_count() == before


@needs_gstreamer
def test_silent_pipeline_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer, "NEXT_CANDIDATE_S", 0.3)
    missing = Pipeline("of another board", ("nosuchelement",), ())
    silent = Pipeline("hardware", (), ("videotestsrc", "!", TINY, "!", "valve", "drop=true"))
    good = Pipeline("software", (), ("videotestsrc", "!", TINY))
    source = GstSource("camera", [missing, silent, good])
    assert source.description == "camera, 64x64, by GStreamer (software)"
    source.close()


@needs_gstreamer
def test_stop_ends_the_wait_for_a_camera() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(SourceError, match="was stopped"):
        GstSource("camera", [user_pipeline(f"videotestsrc ! {TINY} ! valve drop=true")], stop=stop)


@needs_gstreamer
def test_closing_ends_the_gstreamer_process() -> None:
    process = GStreamerProcess(user_pipeline("videotestsrc is-live=true"), threading.Event())
    assert process.read_frame(10) is not None
    process.close()
    assert process.popen.poll() is not None


def test_http_camera_is_read_until_it_ends() -> None:
    with mjpeg_server(frames=30) as url:
        source = open_source(url)
        assert source.live
        assert source.description == f"{url}, 320x240, by FFmpeg"
        assert all(source.read() is not None for _ in range(20))
        with pytest.raises(SourceError, match="stopped delivering frames"):
            all_of(source)
        source.close()


def test_network_camera_that_does_not_answer_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://me:secret@127.0.0.1:{silent.getsockname()[1]}/video"
        with pytest.raises(SourceError, match=r"http://127[^@]* does not deliver any frame"):
            open_opencv_stream(url, timeout_ms=300)
    with pytest.raises(SourceError, match="does not deliver any frame"):
        open_source(url)  # nothing listens there any more


@needs_gstreamer
def test_rtsp_stream_is_read_until_its_server_dies() -> None:
    if not os.access(SYSTEM_PYTHON, os.X_OK):
        pytest.skip(f"{SYSTEM_PYTHON} is not installed")
    with subprocess.Popen([SYSTEM_PYTHON, rtsp_server.__file__], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        if not (url := server.stdout.readline().strip()):
            assert server.wait() == rtsp_server.BINDINGS_MISSING
            pytest.skip("gir1.2-gst-rtsp-server-1.0 and python3-gi are not installed")
        try:
            source = open_source(url)
            assert source.description == f"{url}, 320x240, by GStreamer (software)"
            assert all(source.read() is not None for _ in range(5))
            server.kill()
            with pytest.raises(SourceError, match="stopped"):
                all_of(source)
            source.close()
        finally:
            server.kill()
