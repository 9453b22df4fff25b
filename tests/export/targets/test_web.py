"""The page in a real browser: the same classes as in Python, a camera, no network, and what keeps it from working."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_segface.assets import BUNDLED, PORTRAIT
from edge_segface.camera.sources import DemoSource
from edge_segface.errors import EdgeSegfaceError
from edge_segface.export.targets import Options
from edge_segface.export.targets.convert import convert, export_to
from edge_segface.face.parser import FaceParser
from edge_segface.image_io import read_image
from tests.conftest import CHROMIUM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm, which brings ONNX Runtime Web, is not installed"),
]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

PARSE = """async source => {
  const { width, height, labels, faces } = await window.edgeSegface.parse(source);
  let text = "";
  for (let at = 0; at < labels.length; at += 4096) text += String.fromCharCode(...labels.subarray(at, at + 4096));
  return { width, height, labels: btoa(text), faces };
}"""
STARTED = """() => document.getElementById("status").textContent.startsWith("edge-256")"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("web") / "site"
    made = convert("web", BUNDLED["edge-256"], out, Options())
    assert made.parity is not None
    assert made.parity.agreement == 1
    return out


class Server:
    """A static host on loopback, which can go away."""

    def __init__(self, folder: Path) -> None:
        handler = functools.partial(QuietHandler, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}/"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(site: Path) -> Iterator[Server]:
    server = Server(site)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake camera shows, as Chromium reads it."""
    source, path = DemoSource((640, 480)), tmp_path_factory.mktemp("clip") / "demo.mjpeg"
    path.write_bytes(b"".join(cv2.imencode(".jpg", source.read())[1].tobytes() for _ in range(20)))
    return path


@pytest.fixture(scope="module")
def browser(clip: Path) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    fake = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={clip}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *fake])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(permissions=["camera"])
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def three_faces() -> np.ndarray:
    """A wide image with three faces of different sizes."""
    image = np.full((720, 1280, 3), 160, np.uint8)
    face = read_image(PORTRAIT)
    for left, top, side in ((60, 100, 240), (480, 300, 400), (980, 40, 280)):
        image[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return image


@needs_chromium
def test_classes_are_those_of_python(page: Any, server: Server) -> None:
    page.goto(server.address)
    page.wait_for_function(STARTED, timeout=60000)
    assert page.evaluate("crossOriginIsolated")  # by the service worker, on any host
    with FaceParser("edge-256", runtime="onnxruntime") as parser:
        for image in (read_image(PORTRAIT), three_faces()):
            content = base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()
            found = page.evaluate(PARSE, f"data:image/png;base64,{content}")
            labels = np.frombuffer(base64.b64decode(found["labels"]), np.uint8).reshape(image.shape[:2])
            expected = parser(image)
            assert np.mean(labels == expected.labels) > 0.995
            assert len(found["faces"]) == len(expected.faces)
            for face, other in zip(found["faces"], expected.faces, strict=True):
                assert face["box"] == pytest.approx(other.face.box_xyxy, abs=2)
                assert face["score"] == pytest.approx(other.face.score, abs=0.02)
    with pytest.raises(Exception, match="not an image that the browser can read"):
        page.evaluate(PARSE, "data:text/plain,hello")
    with pytest.raises(Exception, match="cannot be loaded: 404"):
        page.evaluate(PARSE, "missing.jpg")


@needs_chromium
def test_camera_photo_effects_and_no_network(page: Any, server: Server, tmp_path: Path) -> None:
    page.goto(server.address)
    page.wait_for_function(STARTED, timeout=60000)
    page.click("#camera")
    page.wait_for_function("() => /frames a second, .* 1 face/.test(document.getElementById('status').textContent)")
    page.click("#camera")
    pictures = {}
    for effect in ("none", "overlay", "hair", "blur"):
        page.check(f"input[value={effect}]")
        pictures[effect] = page.evaluate("() => document.getElementById('view').toDataURL()")
    assert len(set(pictures.values())) == 4
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_input_files("#file", PORTRAIT)
    page.wait_for_function("() => /^1 face in/.test(document.getElementById('status').textContent)")
    server.stop()
    page.reload()
    page.wait_for_function(STARTED, timeout=60000)


@needs_chromium
def test_what_keeps_it_from_working_is_said(browser: Any, site: Path, server: Server) -> None:
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    assert "Serve the folder" in page.text_content("#status")
    page.close()
    page = browser.new_page()
    page.add_init_script("WebAssembly.validate = () => false")
    page.goto(server.address)
    page.wait_for_function("() => document.getElementById('status').textContent.includes('no WebAssembly SIMD')")
    page.close()
    page = browser.new_page()  # without permission for the camera
    page.goto(server.address)
    page.wait_for_function(STARTED, timeout=60000)
    page.click("#camera")
    page.wait_for_function("() => /camera was not allowed/.test(document.getElementById('status').textContent)")
    page.close()


def test_a_package_that_is_not_the_right_one(tmp_path: Path) -> None:
    other = tmp_path / "other.tgz"
    other.write_bytes(b"not a package")
    with pytest.raises(EdgeSegfaceError, match="is not onnxruntime-web@"):
        convert("web", BUNDLED["edge-256"], tmp_path / "site", Options(ort_web=other))
    with pytest.raises(EdgeSegfaceError, match=r"missing.tgz does not exist"):
        convert("web", BUNDLED["edge-256"], tmp_path / "site", Options(ort_web=tmp_path / "missing.tgz"))
    (tmp_path / "taken").mkdir()
    with pytest.raises(EdgeSegfaceError, match="already exists"):
        export_to("web", "edge-256", tmp_path / "taken", Options())
    assert {path.name for path in tmp_path.iterdir()} == {"other.tgz", "taken"}


def test_the_folder_is_a_module_with_types(site: Path) -> None:
    package = json.loads((site / "package.json").read_text())
    assert (site / package["exports"]).is_file()
    assert (site / package["types"]).is_file()
    assert "VERSION" not in (site / "sw.js").read_text()
