"""Targets that are reached over a connection: the page of a loop, and the reader of a network camera."""

from __future__ import annotations

import atexit
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

from edge_segface.camera.sources.opencv import open_opencv_stream
from edge_segface.camera.viewer.server import PageSink
from edge_segface.errors import EdgeSegfaceError
from edge_segface.labels import CELEBAMASK19

MOST_READ_FRAMES = 8
TIMEOUT_MS = 2000
EXPECTED_STATUS = frozenset((200, 303, 400, 401, 403, 404, 405))
BOUNDARY = "frame"


class Tracebacks(logging.Handler):
    """Keeps what a server logs about exceptions that its app let pass."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(record.getMessage() + "\n" + str(record.exc_info[1]))


@cache
def page() -> tuple[PageSink, Tracebacks]:
    """Return a page that is served until the process ends."""
    sink, tracebacks = PageSink("127.0.0.1:0", CELEBAMASK19), Tracebacks()
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).addHandler(tracebacks)
    atexit.register(sink.close)
    return sink, tracebacks


def page_request(content: bytes) -> None:
    """Send the bytes to a page; it must answer them or hang up, and serve the next one."""
    sink, tracebacks = page()
    port = int(sink.url.rstrip("/").rpartition(":")[2])
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(4096)
        if answer:
            protocol, status = answer.split(b" ", 2)[:2]
            assert protocol.startswith(b"HTTP/1."), answer
            assert int(status) in EXPECTED_STATUS, answer
    with urlopen(f"{sink.url}healthz", timeout=5) as health:
        assert health.status == 200
    found, tracebacks.found = tracebacks.found, []
    assert not found, found


class Camera(ThreadingHTTPServer):
    """Sends `body` to whoever asks."""

    daemon_threads = True
    body = b""


class Answer(BaseHTTPRequestHandler):
    server: Camera

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def camera(body: bytes) -> Iterator[str]:
    """Serve bytes as the body of a Motion JPEG stream, which then ends; yield the address."""
    with Camera(("127.0.0.1", 0), Answer) as server:
        server.body = body
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/video"
        finally:
            server.shutdown()


def motion_jpeg(content: bytes) -> None:
    """Read the bytes as a network camera sends them: frames of one kind, then an error."""
    with camera(content) as url, suppress(EdgeSegfaceError):
        source = open_opencv_stream(url, TIMEOUT_MS)
        try:
            for _ in range(MOST_READ_FRAMES):
                frame = source.read()
                assert frame is not None
                assert frame.ndim == 3
                assert frame.shape[2] == 3
        finally:
            source.close()


def motion_jpeg_of(jpegs: list[bytes]) -> bytes:
    """Return a stream of these images."""
    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: "
    return b"".join(f"{head}{len(jpeg)}\r\n\r\n".encode() + jpeg + b"\r\n" for jpeg in jpegs)
