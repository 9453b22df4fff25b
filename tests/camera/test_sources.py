"""Sources, opened for real: files, GStreamer in its process, an HTTP camera, an RTSP server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_segface.assets import PORTRAIT
from edge_segface.camera.sources import (
    CameraRequest,
    DemoSource,
    ImageSource,
    Source,
    VideoSource,
    csi_pipelines,
    open_source,
    redact_credentials,
    rtsp_pipelines,
    size_from,
    usb_pipeline,
)
from edge_segface.camera.sources.gstreamer import GStreamerProcess, GstSource, Pipeline, user_pipeline
from edge_segface.errors import EdgeSegfaceError, ImageError, SourceError
from edge_segface.image_io import write_image
from tests.conftest import ROOT

needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="gst-launch-1.0 (gstreamer1.0-tools) is not installed here"
)


def all_of(source: Source) -> list[np.ndarray]:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    return frames


def write_video(path: Path, count: int = 20, size_wh: tuple[int, int] = (320, 240), codec: str = "mp4v") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 30, size_wh)
    source = DemoSource(size_wh)
    for _ in range(count):
        writer.write(source.read())
    writer.release()
    return path


def test_a_video_gives_every_frame(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "v.mp4")))
    assert isinstance(source, VideoSource)
    assert (source.live, source.fps) == (False, 30.0)
    frames = all_of(source)
    assert len(frames) == 20
    assert frames[0].shape == (240, 320, 3)
    assert np.abs(frames[7].astype(int) - demo_frame(7, (320, 240))).mean() < 10  # in their order
    assert len(all_of(open_source(f"file://{tmp_path / 'v.mp4'}"))) == 20
    (tmp_path / "v.mp4").rename(tmp_path / "v [abc].mp4")  # no pattern
    assert len(all_of(open_source(str(tmp_path / "v [abc].mp4")))) == 20
    tall = write_video(tmp_path / "tall.avi", 3, (240, 426), "MJPG")
    assert all_of(open_source(str(tall)))[0].shape == (426, 240, 3)


def demo_frame(number: int, size_wh: tuple[int, int]) -> np.ndarray:
    source = DemoSource(size_wh)
    for _ in range(number):
        source.read()
    return source.read().astype(int)


def test_videos_that_are_broken(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # its index is at the end
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mkv").write_text("hello")
    for name in ("cut.mp4", "empty.mp4", "text.mkv"):
        with pytest.raises(SourceError, match=rf"no frame of .*{name} can be read, perhaps cut short"):
            open_source(str(tmp_path / name))
    whole = write_video(tmp_path / "whole.avi", 40, codec="MJPG").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    source = open_source(str(tmp_path / "cut.avi"))
    with pytest.raises(SourceError, match=r"cut.avi ends early, perhaps cut short \(found: \d+ of \d+ frames\)"):
        all_of(source)
    source.close()


def test_pictures(tmp_path: Path, drawn_face: np.ndarray) -> None:
    assert len(all_of(open_source(str(PORTRAIT)))) == 1
    for number in range(3):
        write_image(drawn_face, tmp_path / f"{number}.png")
    assert isinstance(open_source(str(tmp_path)), ImageSource)
    assert len(all_of(open_source(str(tmp_path / "*.png")))) == 3
    write_image(np.zeros((1, 1, 3), np.uint8), tmp_path / "small" / "one.png")
    with pytest.raises(ImageError, match="too small"):
        all_of(open_source(str(tmp_path / "small")))


def test_the_clip_knows_where_its_face_is() -> None:
    source = DemoSource((640, 480))
    left, top, right, bottom = source.truth(100)
    matrix = source.matrix(100)
    eye = matrix @ (155.0, 117.0, 1)  # the subject's right eye, in the picture
    assert left < eye[0] < (left + right) / 2
    assert top < eye[1] < (top + bottom) / 2
    gone = DemoSource((640, 480), leaves=True)
    assert gone.truth(225)[2] < 0
    assert gone.truth(300)[0] > 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("97", "there is no camera /dev/video97 .*csi://0"),
        ("/dev/video97", "there is no camera"),
        ("v4l2:///dev/video97", "there is no camera"),
        ("nothing.mp4", "nothing.mp4 does not exist; give a number"),
        ("", "'' is no source"),
        ("ftp://x/y", "'ftp://x/y' is no source"),
        ("gst:", "gst: needs a pipeline"),
        ("gst:videotestsrc ! 'x", "cannot be read .*quotes"),
        ("nothing/*.png", "no picture in"),
    ],
)
def test_what_is_no_source(text: str, words: str) -> None:
    with pytest.raises(EdgeSegfaceError, match=words):
        open_source(text)


def test_sizes() -> None:
    assert size_from("1280x720") == (1280, 720)
    for text in ("1280", "0x480", "99999x10", "axb"):
        with pytest.raises(SourceError, match="is no size"):
            size_from(text)


def test_addresses_are_shown_without_passwords() -> None:
    for secret in ("me:secret", "me:p@ss", "me:p/w"):
        assert redact_credentials(f"rtsp://{secret}@camera.local:554/x") == "rtsp://camera.local:554/x"
    assert redact_credentials("http://camera.local/x") == "http://camera.local/x"


def test_pipelines_of_boards() -> None:
    """What is asked of hardware that is not here, as words of gst-launch-1.0."""
    wanted = CameraRequest((1280, 720), 60)
    nvidia, other = csi_pipelines(1, wanted)
    assert nvidia.words[:2] == ("nvarguscamerasrc", "sensor-id=1")
    assert "video/x-raw(memory:NVMM),width=1280,height=720,framerate=60/1,format=NV12" in nvidia.words
    assert other.name == "libcamerasrc"
    assert "mjpeg=1" in usb_pipeline(0, wanted).words
    names = [pipeline.name for pipeline in rtsp_pipelines("rtsp://x")]
    assert names == ["hardware H264 by nvv4l2decoder", "hardware H265 by nvv4l2decoder", "software"]
    assert user_pipeline("v4l2src ! videoconvert ! appsink drop=true").words == ("v4l2src", "!", "videoconvert")


@needs_gstreamer
def test_a_pipeline_gives_its_frames_to_the_end() -> None:
    # Rows of 639 pixels are padded in the pipe, and colours must come through.
    source = open_source(
        "gst:videotestsrc pattern=red num-buffers=30 ! video/x-raw,width=639,height=481,framerate=30/1"
    )
    assert source.live
    frames = all_of(source)
    assert 0 < len(frames) <= 30
    for frame in frames:
        assert frame.shape == (480, 638, 3)  # even, as OpenCV takes them
        assert (np.abs(frame.astype(int) - (0, 0, 255)) < 4).all()


@needs_gstreamer
@pytest.mark.parametrize("size", ["640x480", "322x242", "1280x720"])
def test_every_pixel_of_a_pipeline_is_in_its_place(size: str, tmp_path: Path) -> None:
    width, height = map(int, size.split("x"))
    image = DemoSource((width, height)).read()
    write_image(image, tmp_path / "frame.png")
    text = f"gst:filesrc location={tmp_path / 'frame.png'} ! pngdec ! imagefreeze num-buffers=3"
    frames = all_of(open_source(text))
    assert frames
    assert np.abs(frames[0].astype(int) - image).mean() < 3  # less colour, as of every camera
    assert frames[0].shape == image.shape


@needs_gstreamer
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gst:videotestsrc ! nosuchelement", r"did not start \(found: .*no element \"nosuchelement\""),
        ("gst:filesrc location=/nowhere ! decodebin", "did not start .*Resource not found"),
        ("csi://0", "CSI camera 0 cannot be opened .*nvarguscamerasrc"),
    ],
)
def test_pipelines_that_do_not_start(text: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        open_source(text)


@needs_gstreamer
def test_a_process_that_dies_says_its_last_words_and_leaves_nothing() -> None:
    before = threading.active_count()
    source = open_source("gst:videotestsrc is-live=true ! video/x-raw,width=320,height=240 ! identity error-after=10")
    assert isinstance(source, GstSource)
    with pytest.raises(SourceError, match=r"your pipeline broke off \(found: .*Failed after iterations"):
        all_of(source)
    source.close()
    assert threading.active_count() == before
    killed = open_source("gst:videotestsrc is-live=true ! video/x-raw,width=320,height=240")
    assert isinstance(killed, GstSource)
    killed._child.process.kill()
    with pytest.raises(SourceError, match="broke off"):
        all_of(killed)
    killed.close()
    assert threading.active_count() == before


@needs_gstreamer
def test_what_hangs_is_left_for_the_next_candidate() -> None:
    silent = Pipeline(
        "hardware", (), ("videotestsrc", "!", "video/x-raw,width=64,height=64", "!", "valve", "drop=true")
    )
    good = Pipeline("software", (), ("videotestsrc", "!", "video/x-raw,width=64,height=64"))
    start = time.monotonic()
    source = GstSource("camera", [Pipeline("of another board", ("nosuchelement",), ()), silent, good])
    assert 1.5 < time.monotonic() - start < 8
    assert source.description == "camera, 64x64, by GStreamer (software)"
    source.close()


@needs_gstreamer
def test_the_child_ends_with_its_source() -> None:
    child = GStreamerProcess(user_pipeline("videotestsrc is-live=true"), threading.Event())
    assert child.frame(10) is not None
    child.close()
    assert child.process.poll() is not None


class Camera(BaseHTTPRequestHandler):
    """An HTTP camera: JPEG after JPEG, until the server stops."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        source = DemoSource((320, 240))
        for _ in range(self.server.most):  # type: ignore[attr-defined]
            jpeg = cv2.imencode(".jpg", source.read())[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
            try:
                self.wfile.write(head + jpeg + b"\r\n")
            except OSError:
                return

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def http_camera() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    server.most = 60  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/video"
    server.shutdown()
    server.server_close()


def test_an_http_camera(http_camera: str) -> None:
    source = open_source(http_camera)
    assert source.live
    assert source.description.endswith("320x240, by FFmpeg")
    assert all(source.read() is not None for _ in range(50))
    with pytest.raises(SourceError, match="broke off"):
        all_of(source)
    source.close()


def test_an_address_that_never_answers() -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    start = time.monotonic()
    with pytest.raises(SourceError, match="gives no picture"):
        open_source(f"http://127.0.0.1:{silent.getsockname()[1]}/video")
    assert time.monotonic() - start < 30
    silent.close()
    with pytest.raises(SourceError, match="gives no picture"):
        open_source("http://127.0.0.1:9/video")


@needs_gstreamer
def test_a_real_rtsp_server() -> None:
    python = "/usr/bin/python3"
    bindings = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not Path(python).exists() or subprocess.run([python, "-c", bindings], capture_output=True).returncode:
        pytest.skip("no RTSP server here (gir1.2-gst-rtsp-server-1.0 and python3-gi)")
    server = subprocess.Popen([python, ROOT / "tests" / "camera" / "rtsp_server.py"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    try:
        source = open_source(url)
        assert source.description == f"{url}, 320x240, by GStreamer (software)"
        assert all(source.read() is not None for _ in range(10))
        server.kill()
        with pytest.raises(SourceError, match="broke off"):
            all_of(source)
        source.close()
    finally:
        server.kill()
        server.wait()
