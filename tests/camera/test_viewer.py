"""The web page: a real server, real viewers, a real browser."""

from __future__ import annotations

import io
import itertools
import json
import logging
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_segface.assets import PORTRAIT
from edge_segface.camera.loop import LoopSettings, MultiCameraLoop
from edge_segface.camera.reader import SourceReader
from edge_segface.camera.result import DrawOptions, FrameResult
from edge_segface.camera.session import stream_info
from edge_segface.camera.sources import DemoSource
from edge_segface.camera.viewer import connections, server
from edge_segface.camera.viewer.address import bind_socket, is_loopback, parse_address
from edge_segface.camera.viewer.broadcast import MAX_VIEWERS
from edge_segface.camera.viewer.connections import OncePerWhile
from edge_segface.camera.viewer.message import MAX_WIDTH, LastMessage, StreamInfo, encode_message, finite
from edge_segface.camera.viewer.server import Page, PageSink, TlsFiles
from edge_segface.compositing import open_backdrop
from edge_segface.errors import SinkError
from edge_segface.face.parser import FaceParser
from edge_segface.face.tracker import TrackedFace
from edge_segface.frames import ClassMap, Frame, RoI
from edge_segface.image_io import read_image
from edge_segface.labels import CELEBAMASK19, LAPA11
from edge_segface.regions import Face
from edge_segface.telemetry import Sensor, Values
from edge_segface.timing import Stopwatch
from tests.conftest import CHROMIUM
from tests.support.images import read_png

pytest.importorskip("uvicorn", reason="uvicorn (extra viewer) is not installed")
INFO = StreamInfo("edge-256", "ONNX Runtime 1.2.3, cpu, all threads", "fp32", 256, "the built-in clip, 640x480")
HAIR = CELEBAMASK19.id_of("hair")
TOGGLE_HAIR = (Path(__file__).parent / "toggle_hair.js").read_text(encoding="utf-8")


def result(index: int = 0, side: int = 352) -> FrameResult:
    """A result with one face, whose upper half is hair."""
    image = cv2.resize(read_image(PORTRAIT), (side, side))
    labels = np.zeros((side, side), np.uint8)
    labels[: side // 2] = HAIR
    numbers = {
        "engine_fps": 100.0, "glass_to_result_fps": float("nan"), "paper_fps": 95.96, "bound_by": "engine",
        "means_ms": {"infer": 10.0, "draw": 0.5},
    }  # fmt: skip
    box = (0.25 * side, 0.2 * side, 0.75 * side, 0.8 * side)
    face = TrackedFace(1, Face(box, 1.0), RoI.from_box_xyxy(box), labels)
    class_map = ClassMap(labels, CELEBAMASK19)
    return FrameResult(Frame(np.ascontiguousarray(image), index, 0.0), class_map, [face], [], numbers)


@pytest.fixture
def page() -> Iterator[PageSink]:
    sink = PageSink("127.0.0.1:0", CELEBAMASK19)
    yield sink
    sink.close()


def connect(page: PageSink, path: str = "/stream", **headers: str) -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", urlparse(page.url).port or 0, timeout=10)
    connection.request("GET", path, headers=headers)
    return connection


def status_of(page: PageSink, path: str, **headers: str) -> int:
    return connect(page, path, **headers).getresponse().status


def read_content(read: Callable[[int], bytes]) -> tuple[dict[str, Any], bytes, bytes]:
    """Return the parts of the next message of any kind."""
    lengths = struct.unpack(">III", read(12))
    content, jpeg, png = (read(length) if length else b"" for length in lengths)  # read(0) waits for the next chunk
    return json.loads(content), jpeg, png


def read_message(read: Callable[[int], bytes]) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return the next frame, with its images decoded."""
    content, jpeg, png = read_content(read)
    if content["kind"] != "frame":
        assert jpeg == png == b""
        return read_message(read)
    image, labels = (cv2.imdecode(np.frombuffer(part, np.uint8), cv2.IMREAD_UNCHANGED) for part in (jpeg, png))
    assert image is not None
    assert labels is not None
    return content, image, labels


class Viewer(threading.Thread):
    """Reads `count` messages and keeps their frame numbers."""

    def __init__(self, page: PageSink, count: int) -> None:
        super().__init__(daemon=True)
        self.frames: list[int] = []
        self._count = count
        self._connection = connect(page)
        self._read = self._connection.getresponse().read
        self.start()

    def run(self) -> None:
        while len(self.frames) < self._count:
            self.frames.append(read_message(self._read)[0]["frame"])
        self._connection.close()


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def show_until(page: PageSink, condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Show one result after another, as a camera loop does, until the condition holds."""
    deadline = time.monotonic() + seconds
    for index in itertools.count():
        if condition() or time.monotonic() > deadline:
            break
        page.show(result(index))
        time.sleep(0.01)
    assert condition()


def test_message_carries_numbers_image_and_class_ids() -> None:
    numbers, image, labels = read_message(io.BytesIO(encode_message(result(7, 1200))).read)
    assert (numbers["frame"], numbers["engine_fps"], numbers["glass_to_result_fps"]) == (7, 100.0, None)
    assert image.shape == (MAX_WIDTH, MAX_WIDTH, 3)
    assert set(np.unique(labels)) == {0, HAIR}
    assert (numbers["faces"], numbers["face_numbers"]) == (1, [1])
    assert numbers["boxes_xyxy"] == [[240.0, 192.0, 720.0, 768.0]]  # in the image that is sent
    assert numbers["squares_xyxy"] == [[192, 192, 768, 768]]
    assert numbers["draw"] == {"opacity": 0.6, "boxes": True, "classes": None}


def test_what_is_behind_a_cut_out_part_is_not_sent() -> None:
    draw = DrawOptions(alpha="hair", backdrop=open_backdrop("#00ff00"))
    numbers, image, labels = read_message(io.BytesIO(encode_message(replace(result(), draw=draw))).read)
    assert numbers["draw"]["boxes"] is False
    assert not labels.any()
    assert image[-40:].reshape(-1, 3).mean(axis=0) == pytest.approx([0, 255, 0], abs=6)  # below the hair


def test_every_connection_starts_with_model_engine_source_and_classes() -> None:
    page = PageSink("127.0.0.1:0", CELEBAMASK19, lambda: INFO)
    try:
        hello, jpeg, png = read_content(connect(page).getresponse().read)
    finally:
        page.close()
    assert (hello["kind"], jpeg, png) == ("hello", b"", b"")
    assert hello["stream"] == {
        "model": "edge-256", "engine": "ONNX Runtime 1.2.3, cpu, all threads", "precision": "fp32", "input_size": 256,
        "source": "the built-in clip, 640x480",
    }  # fmt: skip
    assert hello["classes"][HAIR]["part"] == "hair"


class SecretCamera(DemoSource):
    def __init__(self) -> None:
        super().__init__((64, 48))
        self.description = "rtsp://admin:secret@camera.local/live"


def test_page_never_shows_credentials() -> None:
    reader = SourceReader(SecretCamera, Stopwatch(), print)
    try:
        with FaceParser("edge-256") as parser:
            info = stream_info(parser, reader)
    finally:
        reader.close()
    assert info.source == "rtsp://camera.local/live"
    assert info.engine.startswith(("OpenVINO", "ONNX Runtime"))
    assert (info.model, info.precision, info.input_size) == ("edge-256", "fp32", 256)


def test_viewers_learn_why_no_frame_comes_and_that_the_loop_has_ended() -> None:
    said: list[str] = []
    messages = LastMessage(said.append)
    page = PageSink("127.0.0.1:0", CELEBAMASK19, lambda: INFO, messages)
    messages("before the first frame")
    read = connect(page).getresponse().read
    assert read_content(read)[0]["kind"] == "hello"
    assert read_content(read)[0] == {"kind": "quiet", "stream": asdict(INFO), "message": None}
    page.show(result(1))
    assert read_content(read)[0]["frame"] == 1
    messages("the camera is unplugged; reconnecting")
    quiet = read_content(read)[0]
    assert (quiet["kind"], quiet["message"]) == ("quiet", "the camera is unplugged; reconnecting")
    page.close()
    assert read_content(read)[0]["kind"] == "ended"
    assert said == ["before the first frame", "the camera is unplugged; reconnecting"]


def test_numbers_that_json_lacks_become_null() -> None:
    assert finite({"a": [1], "b": float("inf"), "c": {"d": float("nan")}}) == {"a": [1], "b": None, "c": {"d": None}}


def test_viewer_receives_the_newest_result(page: PageSink) -> None:
    page.show(result(0))  # before anybody looks
    viewer = connect(page)
    answer = viewer.getresponse()
    wait_for(lambda: page.viewers == 1)
    page.show(result(1))
    numbers, image, labels = read_message(answer.read)
    assert numbers["frame"] == 1
    assert image.shape == (352, 352, 3)
    assert labels[0, 0] == HAIR
    viewer.close()


def test_viewer_that_leaves_is_forgotten(page: PageSink) -> None:
    assert page.viewers == 0
    Viewer(page, count=1)
    wait_for(lambda: page.viewers == 1)
    show_until(page, lambda: page.viewers == 0)


def test_slow_viewer_does_not_slow_the_others(page: PageSink) -> None:
    with socket.create_connection(("127.0.0.1", urlparse(page.url).port or 0)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")  # and never reads the answer
        quick = Viewer(page, count=15)
        wait_for(lambda: page.viewers == 2)
        show_until(page, lambda: not quick.is_alive())
    assert len(quick.frames) == 15
    assert quick.frames == sorted(set(quick.frames))


def test_twenty_viewers_all_receive_results(page: PageSink) -> None:
    viewers = [Viewer(page, count=5) for _ in range(20)]
    wait_for(lambda: page.viewers == 20)
    show_until(page, lambda: not any(viewer.is_alive() for viewer in viewers))
    assert [len(viewer.frames) for viewer in viewers] == [5] * 20


def test_sources_share_a_page() -> None:
    page = Page("127.0.0.1:0")
    sinks = {name: PageSink(page, CELEBAMASK19, source=name) for name in ("1", "2/b", "3")}
    with ExitStack() as stack:
        stack.callback(page.close)
        reads = {}
        for path in ("/overview", "/stream?source=2%2Fb", "/stream?source=unknown"):
            reads[path] = connect(sinks["1"], path).getresponse().read
        hellos = {path: read_content(read)[0] for path, read in reads.items()}
        assert {tuple(hello["sources"]) for hello in hellos.values()} == {("1", "2/b", "3")}
        assert [hello.get("source") for hello in hellos.values()] == [None, "2/b", "1"]
        for _ in range(2):
            for number, sink in enumerate(sinks.values()):
                sink.show(result(number))
        assert read_message(reads["/stream?source=2%2Fb"])[0]["frame"] == 1
        tiles: dict[str, tuple[int, ...]] = {}
        while len(tiles) < 3:
            content, jpeg, _ = read_content(reads["/overview"])
            assert content["kind"] == "tile"
            image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert image is not None
            tiles[content["source"]] = image.shape
        assert tiles == dict.fromkeys(sinks, (224, 224, 3))
        sinks["1"].close()
        assert read_content(connect(sinks["2/b"], "/stream?source=1").getresponse().read)[0]["source"] == "2/b"
        assert status_of(sinks["3"], "/healthz") == 200
        for sink in sinks.values():
            sink.close()
        assert status_of(sinks["3"], "/stream") == 404


def test_loopback_is_open_under_names_of_this_machine_only(page: PageSink) -> None:
    assert page.token is None
    assert status_of(page, "/") == 200
    assert status_of(page, "/", Host="localhost") == 200
    assert status_of(page, "/", Host="evil.example") == 403
    assert status_of(page, "/nothing") == 404


@pytest.mark.parametrize("host", ["", "a b", "127.0.0.1:8080@evil", "localhost:port", "localhost/x", "[::1", "\xe9"])
def test_a_malformed_host_is_refused(page: PageSink, host: str) -> None:
    assert status_of(page, "/", Host=host) in (400, 403)


def test_other_sites_may_link_to_the_page_but_load_nothing(page: PageSink) -> None:
    link = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for site in ("cross-site", "same-site"):
        assert status_of(page, "/stream", **{"Sec-Fetch-Site": site}) == 403
        assert (
            status_of(page, "/", **{"Sec-Fetch-Site": site, "Sec-Fetch-Dest": "iframe", "Sec-Fetch-Mode": "navigate"})
            == 403
        )
        assert status_of(page, "/", **{"Sec-Fetch-Site": site, **link}) == 200
    for site in ("same-origin", "none"):
        assert status_of(page, "/", **{"Sec-Fetch-Site": site}) == 200


def test_every_answer_forbids_other_uses(page: PageSink) -> None:
    for path, host in (("/", "localhost"), ("/nothing", "localhost"), ("/", "evil.example")):
        headers = connect(page, path, Host=host).getresponse().headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_websocket_is_refused(page: PageSink) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "x" * 22,
        "Sec-WebSocket-Version": "13",
    }
    assert status_of(page, "/stream", **upgrade) == 403


@pytest.mark.parametrize("body", [b"3\r\naFRAME\n", b"zz\r\n", b"3\r\nabcdef\r\n"])
def test_a_malformed_body_leaves_no_traceback(page: PageSink, body: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    head = b"PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    logging.getLogger("uvicorn.error").filters[0].__init__()  # type: ignore[misc]  # let the next record through
    with socket.create_connection(("127.0.0.1", urlparse(page.url).port or 0), timeout=5) as connection:
        connection.sendall(head + body)
        with suppress(ConnectionResetError):
            assert connection.recv(1000) == b""
    assert status_of(page, "/") == 200
    assert "Traceback" not in capfd.readouterr().err


def test_monitors_learn_whether_results_come(monkeypatch: pytest.MonkeyPatch) -> None:
    page = PageSink("0.0.0.0:0", CELEBAMASK19)
    try:
        assert status_of(page, "/healthz") == 200
        page.show(result())
        answer = connect(page, "/healthz").getresponse()
        assert (answer.status, answer.read()) == (200, b"ok")
        monkeypatch.setattr(server, "UNHEALTHY_S", 0.0)
        answer = connect(page, "/healthz").getresponse()
        assert answer.status == 503
        assert b"no result for 0 s" in answer.read()
    finally:
        page.close()


def test_prometheus_reads_the_state_of_all_sources() -> None:
    names = ("door", 'a "hall"\n\\')
    page = Page("127.0.0.1:0")
    seen: list[str] = []
    with FaceParser("edge-256") as parser:
        loop = MultiCameraLoop(parser, LoopSettings(frames=30))
        for name in names:
            loop.add(name, DemoSource, lambda _, name=name: [PageSink(page, parser.space, source=name)])  # type: ignore[misc]
        loop.on_tick = lambda: seen.append(page.metrics()) if len(page.sinks) == 2 else None
        loop.run()
    page.close()
    samples = [sample for family in text_string_to_metric_families(seen[-1]) for sample in family.samples]
    for name in names:

        def value(metric: str, source: str = name, **labels: str) -> float:
            wanted = {"source": source, **labels}
            found = [one.value for one in samples if (one.name, one.labels) == (f"edge_segface_{metric}", wanted)]
            assert len(found) == 1, (metric, wanted)
            return float(found[0])

        assert 10 < value("results_total") <= 30
        assert value("reconnects_total") == 0
        assert 0 < value("stage_seconds", stage="infer", quantile="0.5") < 10
        assert 0 < value("latency_seconds", quantile="0.99") < 10
        assert value("frames_per_second", rate="end_to_end") > 0
        assert 0 <= value("seconds_since_result") < 10


def test_metrics_need_the_token_beyond_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    page = PageSink("0.0.0.0:0", CELEBAMASK19)
    monkeypatch.setattr(server, "sensors", lambda: [Thermometer()])
    try:
        assert status_of(page, "/metrics") == 401
        assert status_of(page, "/metrics", Authorization="Bearer wrong") == 401
        answer = connect(page, "/metrics", Authorization=f"Bearer {page.token}").getresponse()
        assert answer.status == 200
        assert answer.getheader("content-type") == "text/plain; version=0.0.4; charset=utf-8"
        assert 'edge_segface_temperature_celsius{zone="cpu"} 51\n' in answer.read().decode()
    finally:
        page.close()


class Thermometer(Sensor):
    def read(self) -> Values:
        return {"temperature_c.cpu": 51.0}


@contextmanager
def clients(page: PageSink, count: int, request: bytes = b"") -> Iterator[None]:
    """Hold connections that send this and then neither send nor read anything."""
    with ExitStack() as held:
        for _ in range(count):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", urlparse(page.url).port or 0)))
            connection.sendall(request)
        yield


def assert_viewer_is_served(page: PageSink) -> None:
    viewer = Viewer(page, count=3)
    show_until(page, lambda: not viewer.is_alive())
    assert len(viewer.frames) == 3


def test_silent_connections_lock_nobody_out(page: PageSink) -> None:
    with clients(page, 400):
        before = len(list(Path("/proc/self/fd").iterdir()))
        assert before < 2 * 400 + 100  # both ends of these connections are in this process
        assert_viewer_is_served(page)


def test_viewers_who_take_nothing_make_room(page: PageSink) -> None:
    with clients(page, MAX_VIEWERS + 6, b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        wait_for(lambda: page.viewers == MAX_VIEWERS)
        assert_viewer_is_served(page)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: local", b"\x16\x03\x01"])
def test_whoever_does_not_finish_a_request_is_cut_off(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connections, "HEADER_S", 0.3)
    page = PageSink("127.0.0.1:0", CELEBAMASK19)
    try:
        with socket.create_connection(("127.0.0.1", urlparse(page.url).port or 0), timeout=10) as connection:
            connection.sendall(sent)
            with suppress(ConnectionResetError):
                while connection.recv(4096):
                    pass
    finally:
        page.close()


def test_whoever_does_not_take_an_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WRITE_S", 0.5)
    page = PageSink("127.0.0.1:0", CELEBAMASK19)
    try:
        with socket.create_connection(("127.0.0.1", urlparse(page.url).port or 0)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait_for(lambda: page.viewers == 1)
            show_until(page, lambda: page.viewers == 0)
    finally:
        page.close()


def test_a_flood_of_log_records_is_one_line() -> None:
    once = OncePerWhile()
    record = logging.makeLogRecord({"msg": "x"})
    assert [once.filter(record) for _ in range(5)] == [True, False, False, False, False]


def test_the_page_by_https(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    make += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    page = PageSink(Page("127.0.0.1:0", TlsFiles(certificate, key)), CELEBAMASK19, owns_page=True)
    try:
        assert page.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(certificate))
        connection = HTTPSConnection("localhost", urlparse(page.url).port or 0, context=context, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
    finally:
        page.close()
    for wrong in (
        TlsFiles(key, certificate),
        TlsFiles(certificate, tmp_path / "none"),
        TlsFiles(certificate, tmp_path),
    ):
        with pytest.raises(SinkError, match=r"cannot serve with .*in PEM"):
            Page("127.0.0.1:0", wrong)


def test_page_loads_nothing_from_elsewhere(page: PageSink) -> None:
    answer = connect(page, "/").getresponse()
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    html = answer.read().decode()
    assert "http:" not in html
    assert "https:" not in html
    assert "{{" not in html


def test_other_addresses_need_the_token() -> None:
    page = PageSink("0.0.0.0:0", CELEBAMASK19)
    try:
        assert page.token is not None
        assert len(page.token) >= 32
        assert page.token in page.url
        for path in ("/", "/stream", "/?token=wrong", "/?token=%C3%A9"):
            assert status_of(page, path) == 401
        welcome = connect(page, f"/?token={page.token}").getresponse()
        assert (welcome.status, welcome.headers["Location"]) == (303, "/")
        cookie = welcome.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert status_of(page, "/", Cookie=cookie.split(";")[0]) == 200
    finally:
        page.close()


def test_address_is_parsed_and_checked() -> None:
    assert parse_address("8080") == ("127.0.0.1", 8080)
    assert parse_address(":8080") == ("127.0.0.1", 8080)
    assert parse_address("[::1]:80") == ("::1", 80)
    assert parse_address("board.local:80") == ("board.local", 80)
    for text in ("", "x", "host:", "1:99999", "host:-1", "1:" + "9" * 5000):
        with pytest.raises(SinkError, match="cannot serve at .*HOST:PORT"):
            parse_address(text)


def test_loopback_addresses_are_recognised() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "[::1]"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "10.0.0.1", "x"))


def test_port_in_use_is_an_error() -> None:
    with bind_socket("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        message = rf"cannot serve at 127.0.0.1:{port} \(found: .* in use\); .*a free port"
        with pytest.raises(SinkError, match=message):
            PageSink(f"127.0.0.1:{port}", CELEBAMASK19)


def test_closing_ends_server_and_viewers() -> None:
    before = threading.active_count()
    page = PageSink("127.0.0.1:0", CELEBAMASK19)
    viewer = connect(page)
    viewer.getresponse()
    wait_for(lambda: page.viewers == 1)
    page.close()
    wait_for(lambda: threading.active_count() == before)
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(page.url, timeout=2)
    viewer.close()


@pytest.fixture
def served_loop() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`edge-segface webcam` on the built-in clip with a page, and the page's address."""
    command = ["webcam", "--source", "demo", "--headless", "--serve", "127.0.0.1:0"]
    with subprocess.Popen(
        [sys.executable, "-m", "edge_segface", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        yield process, next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
        process.kill()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_page_works_in_a_browser(served_loop: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    expect, (process, url) = sync_api.expect, served_loop
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(url)
        body = page.locator("body")
        expect(body).to_have_attribute("data-frame", re.compile(r"\d"), timeout=30_000)
        expect(body).not_to_have_attribute("data-frame", body.get_attribute("data-frame"))
        expect(page.locator("#end-to-end")).to_have_text(re.compile(r"^[1-9]"))
        expect(page.locator("#state")).to_contain_text("live")
        assert page.locator("#paper").text_content() == "95.96"
        assert page.locator(".bar[data-stage=infer]").count() == 1
        assert page.locator("#source").text_content() == "the built-in clip, 640x480"
        assert page.locator("#faces").text_content() == "1"
        without_hair, with_hair_again = page.evaluate(TOGGLE_HAIR)
        assert without_hair > 0.01
        assert with_hair_again == 0
        with page.expect_download() as download:
            page.click("#snapshot")
        download.value.save_as(tmp_path / "snapshot.png")
        assert read_png(tmp_path / "snapshot.png", cv2.IMREAD_COLOR).shape == (480, 640, 3)
        assert not errors
        browser.close()
    process.terminate()
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "95.96" in stdout


class ShownLoop:
    """Shows results on a page from a thread, as a camera loop does, while `runs` is true."""

    def __init__(self, page: PageSink, draw: DrawOptions | None = None) -> None:
        self.page, self.runs, self._draw = page, True, draw or DrawOptions()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.page.close()

    def _run(self) -> None:
        for index in itertools.count():
            if self._stop.wait(0.05):
                return
            if self.runs:
                self.page.show(replace(result(index), draw=self._draw))


@pytest.fixture
def tab() -> Iterator[Any]:
    """A browser's page that fails the test if a script of it fails."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(20_000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        browser.close()
        assert not errors


def state_is(tab: Any, state: str) -> None:
    tab.wait_for_function("state => document.body.dataset.state === state", arg=state)


def test_page_shows_that_the_stream_has_stopped_and_recovers_without_reload(tab: Any) -> None:
    messages = LastMessage(lambda text: None)
    loop = ShownLoop(PageSink("127.0.0.1:0", CELEBAMASK19, lambda: INFO, messages))
    tab.goto(loop.page.url)
    state_is(tab, "live")
    assert not tab.locator("#banner").is_visible()
    tab.evaluate("window.neverReloaded = true")

    loop.runs = False  # the camera fails
    messages("the camera is unplugged; reconnecting")
    tab.wait_for_function("() => document.getElementById('banner-reason').textContent.includes('unplugged')")
    assert tab.locator("#banner").is_visible()
    assert re.match(r"Last frame \d+ s ago\. Waiting for frames\.", tab.locator("#banner-age").text_content())
    assert float(tab.evaluate("getComputedStyle(document.getElementById('view')).opacity")) < 0.5
    loop.runs = True
    state_is(tab, "live")
    assert not tab.locator("#banner").is_visible()

    loop.close()
    state_is(tab, "stopped")
    assert tab.locator("#banner").is_visible()
    assert tab.locator("#banner-reason").text_content() == "The loop has ended"
    another = StreamInfo("edge-256-int8", "OpenVINO", "int8", 256, "camera 0")
    loop = ShownLoop(PageSink(urlparse(loop.page.url).netloc, LAPA11, lambda: another))
    state_is(tab, "live")
    assert tab.locator("#model").text_content() == "edge-256-int8, int8, 256 px"
    assert tab.locator("#classes input").count() == len(LAPA11) - 1  # of the new model
    assert tab.evaluate("window.neverReloaded")
    loop.close()


@pytest.fixture
def live_tab(tab: Any) -> Iterator[Any]:
    loop = ShownLoop(PageSink("127.0.0.1:0", CELEBAMASK19, lambda: INFO))
    tab.goto(loop.page.url)
    state_is(tab, "live")
    yield tab
    loop.close()


def drawn(tab: Any) -> str:
    """The image on the page, which is the same in every frame of `ShownLoop`."""
    return str(tab.evaluate("(draw(), view.canvas.toDataURL())"))


def test_head_tools_and_shortcuts(live_tab: Any) -> None:
    tab = live_tab
    head = tab.locator("header").inner_text()
    for text in ("edge-256, fp32, 256 px", "ONNX Runtime 1.2.3, cpu, all threads", "the built-in clip, 640x480"):
        assert text in head
    assert tab.locator("#faces").text_content() == "1"
    assert tab.locator("#end-to-end").text_content() == "–"  # the number is not there yet
    complete = drawn(tab)
    tab.click("#boxes")
    without_boxes = drawn(tab)
    tab.keyboard.press("o")
    bare = drawn(tab)
    assert len({complete, without_boxes, bare}) == 3
    assert tab.locator("#overlay").get_attribute("aria-pressed") == "false"
    tab.keyboard.press("o")
    tab.keyboard.press("b")
    assert drawn(tab) == complete
    tab.keyboard.press("p")
    assert tab.locator("#paused").is_visible()
    tab.wait_for_function("() => document.getElementById('state').textContent === 'live, paused'")
    image = tab.evaluate_handle("latest.image")
    number = tab.locator("body").get_attribute("data-frame")
    tab.wait_for_function("number => document.body.dataset.frame !== number", arg=number)  # numbers go on
    assert tab.evaluate("image => image === latest.image", image)
    tab.keyboard.press("p")
    tab.wait_for_function("image => image !== latest.image", arg=image)
    tab.keyboard.press("f")
    tab.wait_for_function("() => document.fullscreenElement?.id === 'stage'")


def test_page_starts_as_the_loop_draws(tab: Any) -> None:
    draw = DrawOptions(opacity=0.3, classes=("lips", "hair"), boxes=False)
    loop = ShownLoop(PageSink("127.0.0.1:0", CELEBAMASK19, lambda: INFO), draw)
    tab.goto(loop.page.url)
    state_is(tab, "live")
    shown = "[...document.querySelectorAll('#classes input:checked')].map((box) => box.dataset.part)"
    assert tab.evaluate(shown) == ["lower_lip", "upper_lip", "hair"]
    assert tab.locator("#opacity").input_value() == "30"
    assert tab.locator("#boxes").get_attribute("aria-pressed") == "false"
    tab.click("[data-part=nose]")
    number = tab.locator("body").get_attribute("data-frame")
    tab.wait_for_function("number => document.body.dataset.frame !== number", arg=number)
    assert "nose" in tab.evaluate(shown)  # what the viewer changes, stays
    loop.close()


# The image is grey. Skin is tinted: it keeps its lightness. Hair is painted, and fades towards the cut below.
TINT_AND_FADE = """() => {
  const [width, height] = [100, 100], data = new Uint8ClampedArray(4 * width * height);
  const id = (part) => classes.findIndex((each) => each.part === part);
  for (let y = 0; y < 80; y++) for (let x = 0; x < width; x++) data[4 * (y * width + x)] = id(x < 50 ? "skin" : "hair");
  const grey = new OffscreenCanvas(width, height), pen = grey.getContext("2d");
  pen.fillStyle = "rgb(60 60 60)";
  pen.fillRect(0, 0, width, height);
  mask.canvas.width = width;
  mask.canvas.height = height;
  $("opacity").value = 100;
  latest = { image: grey, ids: { width, height, data }, boxes: [], squares: [[0, 0, 100, 80]], faceNumbers: [] };
  draw();
  return [[25, 40], [75, 40], [75, 73], [75, 78], [75, 90]].map((at) => [...view.getImageData(...at, 1, 1).data]);
}"""


def test_page_keeps_the_lightness_of_skin_and_fades_what_a_square_cuts(live_tab: Any) -> None:
    skin, hair, *fading, outside = np.array(live_tab.evaluate(TINT_AND_FADE))[:, :3]
    assert skin @ (0.3, 0.59, 0.11) == pytest.approx(60, abs=2)
    assert skin[0] > skin[2] + 10  # its hue
    assert hair == pytest.approx(CELEBAMASK19.palette_rgb[HAIR], abs=1)
    shares = [np.abs(each - 60).sum() / np.abs(hair - 60).sum() for each in fading]
    assert 0.9 > shares[0] > shares[1] > 0
    assert (outside == 60).all()


CUT = """() => [...document.querySelectorAll("header, #tools, aside, .panel, .rates span, button, #classes label")]
  .filter((each) => each.clientHeight)
  .filter((each) => {
    const box = each.getBoundingClientRect();
    const isOutside = box.left < 0 || box.top < 0 || box.right > innerWidth || box.bottom > innerHeight;
    return isOutside || each.scrollHeight > each.clientHeight + 1 || each.scrollWidth > each.clientWidth + 1;
  }).map((each) => each.id || each.textContent)"""


SECOND_IS_SHOWN = "() => document.querySelectorAll('#tiles button')[1]?.ariaPressed === 'true'"


def test_a_click_shows_another_source(tab: Any) -> None:
    page = Page("127.0.0.1:0")
    loops = [ShownLoop(PageSink(page, CELEBAMASK19, lambda: INFO, source=name)) for name in ("left", "right")]
    tab.goto(page.url)
    state_is(tab, "live")
    buttons = tab.locator("#tiles button")
    buttons.nth(1).wait_for()
    assert [buttons.nth(n).get_attribute("aria-pressed") for n in range(2)] == ["true", "false"]
    buttons.nth(1).click()
    tab.wait_for_function(SECOND_IS_SHOWN)
    state_is(tab, "live")
    tab.reload()
    tab.wait_for_function(SECOND_IS_SHOWN)
    for width, height in ((1280, 800), (390, 844), (740, 360)):
        tab.set_viewport_size({"width": width, "height": height})
        root = tab.evaluate_handle("document.documentElement")
        assert tab.evaluate("root => [root.scrollWidth, root.scrollHeight]", root) == [width, height]
    for loop in loops:
        loop.close()
    page.close()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844), (740, 360)])
def test_everything_fits_without_scrolling(live_tab: Any, width: int, height: int) -> None:
    live_tab.set_viewport_size({"width": width, "height": height})
    for panel in ("classes", "speed", "stages"):
        live_tab.evaluate(f"showPanel('{panel}')")
        root = live_tab.evaluate_handle("document.documentElement")
        assert live_tab.evaluate("root => [root.scrollWidth, root.scrollHeight]", root) == [width, height]
        assert live_tab.evaluate(CUT) == []
    image = live_tab.locator("#stage").bounding_box()
    assert image["width"] * image["height"] > 0.3 * width * height
