"""An HTTP camera: a server that sends one JPEG after another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2

from edge_segface.camera.sources import DemoSource


class MjpegHandler(BaseHTTPRequestHandler):
    def __init__(self, frames: int, *arguments: Any) -> None:
        self._frames = frames
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        source = DemoSource((320, 240))
        for _ in range(self._frames):
            jpeg = cv2.imencode(".jpg", source.read())[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
            try:
                self.wfile.write(head + jpeg + b"\r\n")
            except OSError:  # the client has left
                return

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def mjpeg_server(frames: int) -> Iterator[str]:
    """Serve `frames` frames to each client; the value is the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(MjpegHandler, frames))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/video"
    server.shutdown()
    server.server_close()
