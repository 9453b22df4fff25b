"""Serves the page and, to every viewer, as many results as its connection takes.

The server runs in a thread of its own. A result is encoded once for all viewers, and only if there are any; which
classes are shown, and how, each page decides for itself. Only loopback is open to all; other addresses need a token.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import math
import secrets
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge_segface.camera.sinks import FrameResult
from edge_segface.errors import MissingExtra, SinkError
from edge_segface.labels import LabelSpace

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

PAGE = Path(__file__).parent / "page.html"
MOST_VIEWERS = 64
MOST_FPS = 30.0
WIDEST = 960  # pixels of what is sent
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 80]
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
STARTING_S = 10.0


class PageSink:
    """The sink behind `--serve`. `url` is what to open, with the token if one is needed."""

    name = "page"
    draws = False

    def __init__(self, address: str, space: LabelSpace) -> None:
        host, port = parsed_address(address)
        try:
            import starlette  # noqa: F401
            import uvicorn
        except ModuleNotFoundError as error:
            raise MissingExtra(str(error.name), "viewer", "the web page") from error
        self._socket = bind_socket(host, port)
        port = self._socket.getsockname()[1]
        self.token = None if is_loopback(host) else secrets.token_urlsafe(24)
        shown_host = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
        self.url = f"http://{shown_host}:{port}/" + (f"?token={self.token}" if self.token else "")
        self._stream = Stream()
        app = make_app(self._stream, space, self.token, f"edge_segface_{port}")
        config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="viewer", daemon=True)
        self._thread.start()
        until = time.monotonic() + STARTING_S
        while not self._server.started and self._thread.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
        if not self._server.started:
            raise SinkError(f"the page at {self.url} did not start")
        self._next_s = 0.0

    @property
    def viewers(self) -> int:
        return self._stream.viewers

    def show(self, shown: FrameResult) -> None:
        now = time.monotonic()
        if self._stream.viewers and now >= self._next_s:
            self._next_s = max(self._next_s + 1 / MOST_FPS, now - 1 / MOST_FPS)
            self._stream.publish(message_of(shown))

    def close(self) -> None:
        self._stream.end()
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


class Stream:
    """The newest message, handed to whoever is ready for it."""

    def __init__(self) -> None:
        self.viewers = 0
        self._message = b""
        self._number = 0
        self._ended = False
        self._fresh: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def publish(self, message: bytes) -> None:
        """From any thread."""
        self._message = message
        self._call(self._announce)

    def end(self) -> None:
        self._ended = True
        self._call(self._announce)

    async def messages(self) -> AsyncIterator[bytes]:
        """For one viewer: what is newest whenever it has taken what it was sent."""
        self._loop = asyncio.get_running_loop()
        self._fresh = self._fresh or asyncio.Event()
        self.viewers += 1
        seen = self._number
        try:
            while not self._ended:
                if seen == self._number:
                    await self._fresh.wait()
                    continue
                seen = self._number
                yield self._message
        finally:
            self.viewers -= 1

    def _announce(self) -> None:
        self._number += 1
        if self._fresh is not None:
            self._fresh.set()
            self._fresh = asyncio.Event()

    def _call(self, what: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)


def make_app(stream: Stream, space: LabelSpace, token: str | None, cookie: str) -> ASGIApp:
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, PlainTextResponse, StreamingResponse
    from starlette.routing import Route

    text = PAGE.read_text(encoding="utf-8").replace("{{about}}", json.dumps(about(space)).replace("<", "\\u003c"))

    async def page(_: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "img-src blob: data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        )
        headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
        return HTMLResponse(text.replace("{{nonce}}", nonce), headers=headers)

    async def results(_: Request) -> Response:
        if stream.viewers >= MOST_VIEWERS:
            return PlainTextResponse("too many viewers", 503)
        return StreamingResponse(
            stream.messages(), media_type="application/octet-stream", headers={"Cache-Control": "no-store"}
        )

    return Guard(Starlette(routes=[Route("/", page), Route("/stream", results)]), token, cookie)


class Guard:
    """Lets in who may see the page.

    On loopback: who asked for it by a name of this machine, so that no page elsewhere can reach it through a name of
    its own. On other addresses: who has the token, which is taken from the address once and kept in a cookie then.
    """

    def __init__(self, app: ASGIApp, token: str | None, cookie: str) -> None:
        self._app, self._token, self._cookie = app, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse, RedirectResponse

        if scope["type"] != "http":
            return
        request = Request(scope)
        refusal: Response | None = None
        if self._token is None:
            if not is_loopback(request.url.hostname or ""):
                refusal = PlainTextResponse("open this page as localhost", 403)
        elif self._matches(request.query_params.get("token")):
            refusal = RedirectResponse("/", 303)
            refusal.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
        elif not self._matches(request.cookies.get(self._cookie)):
            refusal = PlainTextResponse("open this page by the address that was printed, with its token", 401)
        await (refusal or self._app)(scope, receive, send)

    def _matches(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), (self._token or "").encode())


def about(space: LabelSpace) -> dict[str, Any]:
    classes = []
    for part, title, (red, green, blue) in zip(space.parts, space.titles, space.palette_rgb.tolist(), strict=True):
        abgr = 0xFF000000 | blue << 16 | green << 8 | red  # as a little-endian word of RGBA
        classes.append(
            {"part": part, "title": title, "colour": f"rgb({red} {green} {blue})", "abgr": abgr, "shown": True}
        )
    return {"classes": classes}


def message_of(shown: FrameResult) -> bytes:
    image, labels = shown.frame.image_bgr, shown.class_map.labels
    if image.shape[1] > WIDEST:
        size_wh = (WIDEST, max(1, round(image.shape[0] * WIDEST / image.shape[1])))
        image = np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        labels = np.asarray(cv2.resize(labels, size_wh, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    numbers = {"frame": shown.frame.index, "faces": len(shown.faces), **finite(shown.numbers)}
    parts = [
        json.dumps(numbers).encode(),
        cv2.imencode(".jpg", image, JPEG)[1].tobytes(),
        cv2.imencode(".png", labels, PNG)[1].tobytes(),
    ]
    return struct.pack(">III", *map(len, parts)) + b"".join(parts)


def finite(value: Any) -> Any:
    """JSON has no nan."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parsed_address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `:PORT` or `PORT`; without a host it is loopback."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise SinkError(f"cannot serve at {text!r}", remedy="say HOST:PORT, such as 127.0.0.1:8080")
    return host.strip("[]") or "127.0.0.1", int(port)


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bind_socket(host: str, port: int) -> socket.socket:
    made = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except (OSError, UnicodeError) as error:
        if made is not None:
            made.close()
        raise SinkError(
            f"cannot serve at {host}:{port}",
            found=getattr(error, "strerror", None) or error,
            remedy="name an address of this machine and a free port; port 0 takes any",
        ) from error
    return made
