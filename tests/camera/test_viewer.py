"""The page: a real server, real viewers, a real browser."""

from __future__ import annotations

import io
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlparse

import cv2
import numpy as np
import pytest

from edge_segface.assets import PORTRAIT
from edge_segface.camera.sinks import FrameResult
from edge_segface.errors import SinkError
from edge_segface.frames import ClassMap, Frame
from edge_segface.image_io import read_image
from edge_segface.labels import CELEBAMASK19
from tests.conftest import CHROMIUM, assert_one_line_error, run_cli

pytest.importorskip("uvicorn", reason="uvicorn (extra viewer) is not installed here")
from edge_segface.camera.viewer.server import (
    WIDEST,
    PageSink,
    bind_socket,
    finite,
    is_loopback,
    message_of,
    parsed_address,
)


def shown(index: int = 0, side: int = 352) -> FrameResult:
    image = cv2.resize(read_image(PORTRAIT), (side, side))
    labels = np.zeros((side, side), np.uint8)
    labels[: side // 2] = CELEBAMASK19.id_of("hair")
    numbers = {
        "engine_fps": 100.0, "glass_to_result_fps": float("nan"), "paper_fps": 95.96, "bound_by": "engine",
        "means_ms": {"infer": 10.0, "draw": 0.5},
    }  # fmt: skip
    return FrameResult(Frame(np.ascontiguousarray(image), index, 0.0), ClassMap(labels, CELEBAMASK19), [], [], numbers)


@pytest.fixture
def page() -> Iterator[PageSink]:
    sink = PageSink("127.0.0.1:0", CELEBAMASK19)
    yield sink
    sink.close()


def connect(sink: PageSink, path: str = "/stream", **headers: str) -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", urlparse(sink.url).port or 0, timeout=10)
    connection.request("GET", path, headers=headers)
    return connection


def message_from(read) -> tuple[dict[str, object], np.ndarray, np.ndarray]:
    lengths = struct.unpack(">III", read(12))
    numbers, jpeg, png = (read(length) for length in lengths)
    picture, labels = (cv2.imdecode(np.frombuffer(part, np.uint8), cv2.IMREAD_UNCHANGED) for part in (jpeg, png))
    return json.loads(numbers), picture, labels


def wait_for(what, seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not what() and time.monotonic() < until:
        time.sleep(0.02)
    assert what()


def test_a_message_carries_picture_classes_and_numbers() -> None:
    numbers, picture, labels = message_from(io.BytesIO(message_of(shown(7, 1200))).read)
    assert (numbers["frame"], numbers["engine_fps"], numbers["glass_to_result_fps"]) == (7, 100.0, None)
    assert picture.shape == (WIDEST, WIDEST, 3)
    assert set(np.unique(labels)) == {0, CELEBAMASK19.id_of("hair")}
    assert finite({"a": [1], "b": float("inf")}) == {"a": [1], "b": None}


def test_a_viewer_gets_what_is_shown_and_nobody_costs_nothing(page: PageSink) -> None:
    page.show(shown(0))
    assert page.viewers == 0
    viewer = connect(page)
    answer = viewer.getresponse()
    wait_for(lambda: page.viewers == 1)
    page.show(shown(1))
    numbers, picture, labels = message_from(answer.read)
    assert numbers["frame"] == 1
    assert picture.shape == (352, 352, 3)
    assert labels[0, 0] == CELEBAMASK19.id_of("hair")
    viewer.close()
    for index in range(2, 60):
        page.show(shown(index))
        time.sleep(0.02)
    wait_for(lambda: page.viewers == 0)


def test_a_slow_viewer_gets_fewer_and_slows_nobody(page: PageSink) -> None:
    slow = socket.create_connection(("127.0.0.1", urlparse(page.url).port or 0))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")  # and never reads
    quick = connect(page)
    answer = quick.getresponse()
    wait_for(lambda: page.viewers == 2)
    seen: list[int] = []

    def read_on() -> None:
        while len(seen) < 40:
            seen.append(int(message_from(answer.read)[0]["frame"]))  # type: ignore[call-overload]

    reader = threading.Thread(target=read_on, daemon=True)
    reader.start()
    index = 0
    slowest = 0.0
    while reader.is_alive() and index < 2000:
        start = time.monotonic()
        page.show(shown(index))
        slowest = max(slowest, time.monotonic() - start)
        time.sleep(0.01)
        index += 1
    assert len(seen) == 40
    assert seen == sorted(set(seen))
    assert slowest < 2
    slow.close()
    quick.close()


def test_twenty_viewers_are_held(page: PageSink) -> None:
    viewers = [connect(page) for _ in range(20)]
    answers = [viewer.getresponse() for viewer in viewers]
    wait_for(lambda: page.viewers == 20)
    counts = [0] * 20
    stop = threading.Event()

    def read_on(index: int) -> None:
        while not stop.is_set() and counts[index] < 10:
            message_from(answers[index].read)
            counts[index] += 1

    readers = [threading.Thread(target=read_on, args=(index,), daemon=True) for index in range(20)]
    for reader in readers:
        reader.start()
    index = 0
    while any(reader.is_alive() for reader in readers) and index < 3000:
        page.show(shown(index))
        index += 1
        time.sleep(0.01)
    stop.set()
    assert counts == [10] * 20
    for viewer in viewers:
        viewer.close()


def test_loopback_is_open_to_names_of_this_machine_alone(page: PageSink) -> None:
    assert page.token is None
    assert connect(page, "/").getresponse().status == 200
    assert connect(page, "/", Host="localhost").getresponse().status == 200
    assert connect(page, "/", Host="evil.example").getresponse().status == 403
    assert connect(page, "/nothing").getresponse().status == 404
    answer = connect(page, "/").getresponse()
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    text = answer.read().decode()
    assert "http" not in text.replace('"http', "").split("<script")[0]  # nothing from elsewhere
    assert "necklace" in text


def test_other_addresses_need_a_token() -> None:
    sink = PageSink("0.0.0.0:0", CELEBAMASK19)
    try:
        assert sink.token is not None
        assert len(sink.token) >= 32
        assert sink.token in sink.url
        assert connect(sink, "/").getresponse().status == 401
        assert connect(sink, "/stream").getresponse().status == 401
        assert connect(sink, "/?token=wrong").getresponse().status == 401
        assert connect(sink, "/?token=%C3%A9").getresponse().status == 401
        welcome = connect(sink, f"/?token={sink.token}").getresponse()
        assert (welcome.status, welcome.headers["Location"]) == (303, "/")
        cookie = welcome.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert connect(sink, "/", Cookie=cookie.split(";")[0]).getresponse().status == 200
    finally:
        sink.close()


def test_addresses() -> None:
    assert parsed_address("8080") == ("127.0.0.1", 8080)
    assert parsed_address(":8080") == ("127.0.0.1", 8080)
    assert parsed_address("[::1]:80") == ("::1", 80)
    assert parsed_address("board.local:80") == ("board.local", 80)
    for text in ("", "x", "host:", "1:99999", "host:-1"):
        with pytest.raises(SinkError, match="cannot serve at"):
            parsed_address(text)
    assert [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "10.0.0.1", "x")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_a_port_in_use() -> None:
    taken = bind_socket("127.0.0.1", 0)
    taken.listen()
    port = taken.getsockname()[1]
    result = run_cli("webcam", "--headless", "--source", "demo", "--frames", 2, "--serve", f"127.0.0.1:{port}")
    assert_one_line_error(result, "cannot serve at", "in use", "a free port", beside="source: ")
    taken.close()


def test_nothing_is_left_when_it_closes() -> None:
    before = threading.active_count()
    sink = PageSink("127.0.0.1:0", CELEBAMASK19)
    viewer = connect(sink)
    viewer.getresponse()
    wait_for(lambda: sink.viewers == 1)
    sink.close()
    wait_for(lambda: threading.active_count() == before)
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(sink.url, timeout=2)
    viewer.close()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed here")
def test_in_a_real_browser(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")
    command = [
        sys.executable,
        "-m",
        "edge_segface",
        "webcam",
        "--source",
        "demo",
        "--headless",
        "--serve",
        "127.0.0.1:0",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        url = next(found[1] for line in process.stderr if (found := re.match(r"page: (\S+)", line)))
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.goto(url)
            wait_for(lambda: page.evaluate("document.body.dataset.frame") is not None, 30)
            first = int(page.evaluate("document.body.dataset.frame"))
            wait_for(lambda: int(page.evaluate("document.body.dataset.frame")) > first + 10, 30)
            wait_for(lambda: float(page.locator("#result").text_content()) > 0)
            wait_for(lambda: page.locator("#state").text_content().startswith("live"))
            assert page.locator("#paper").text_content() == "95.96"
            assert page.locator(".bar[data-stage=infer]").count() == 1
            # Hair is painted over, and no more when it is switched off: both drawn on one and the same picture.
            changed = page.evaluate(
                """() => {
                  const grab = () => [...picture.getImageData(0, 0, picture.canvas.width, picture.canvas.height).data];
                  draw();
                  const before = grab();
                  document.querySelector('[data-part=hair]').click();
                  const after = grab();
                  document.querySelector('[data-part=hair]').click();
                  const again = grab();
                  const differ = (a, b) => a.filter((value, at) => value !== b[at]).length / a.length;
                  return [differ(before, after), differ(before, again)];
                }"""
            )
            assert changed[0] > 0.01
            assert changed[1] == 0
            with page.expect_download() as download:
                page.click("#snapshot")
            download.value.save_as(tmp_path / "snapshot.png")
            assert cv2.imread(str(tmp_path / "snapshot.png")).shape == (480, 640, 3)
            page.set_viewport_size({"width": 390, "height": 844})  # a phone
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            assert not errors
            browser.close()
    finally:
        process.terminate()
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "glass to result" in stdout
