"""The web page of a running loop, served from a thread of its own.

Only loopback is open to everyone; other addresses need the token in the printed URL.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_segface.camera.result import FrameResult
from edge_segface.camera.viewer.access import HEALTH_PATH, AccessControl
from edge_segface.camera.viewer.address import bind_socket, is_loopback, parse_address, url_host
from edge_segface.camera.viewer.broadcast import Broadcast
from edge_segface.camera.viewer.connections import (
    CONNECTION,
    DESCRIPTORS_SHARE,
    MAX_CONNECTIONS,
    Listener,
    OncePerWhile,
    protocol_class,
)
from edge_segface.camera.viewer.message import LastMessage, StreamInfo, encode_message, encode_tile
from edge_segface.camera.viewer.metrics import CONTENT_TYPE, metrics_text
from edge_segface.draw import FADE, TINTED_PARTS
from edge_segface.errors import SinkError, reason_of
from edge_segface.extras import check_extra
from edge_segface.files import read_file
from edge_segface.labels import LabelSpace
from edge_segface.redaction import redact
from edge_segface.telemetry import Sensor, read_all, sensors

if TYPE_CHECKING:
    import uvicorn
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

PAGE = Path(__file__).parent / "page.html"
MAX_FPS = 30.0
TILE_S = 0.25  # between two small images of a source
START_TIMEOUT_S = 10.0
UNHEALTHY_S = 30.0  # without a result
MOST_HEADER_BYTES = 1 << 14
MOST_PEM_BYTES = 1 << 20
LAG_S = 1.0  # by which a result may come after the message that the camera failed


class Page:
    """A served page with a tile for each source. `url` is its address, including the token if one is needed."""

    def __init__(self, address: str, tls: TlsFiles | None = None) -> None:
        host, port = parse_address(address)
        check_extra("viewer", "the web page", "starlette", "uvicorn")
        if tls is not None:
            tls.check()
        self._socket = bind_socket(host, port)
        port = self._socket.getsockname()[1]
        self.token = None if is_loopback(host) else secrets.token_urlsafe(24)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://{url_host(host)}:{port}/" + (f"?token={self.token}" if self.token else "")
        self.sinks: dict[str, PageSink] = {}  # by the name of the source
        self.overview = Broadcast(self._sources, self._sources)
        self._sensors: list[Sensor] | None = None  # found when they are first asked for
        app = make_app(self, f"edge_segface_{port}", secure=tls is not None)
        self._server = make_server(app, self._socket, tls)
        self._thread = threading.Thread(target=self._serve, name="viewer", daemon=True)
        self._thread.start()
        self._wait_for_start()

    @property
    def is_served(self) -> bool:
        return self._thread.is_alive()

    def silent_s(self) -> float:
        """Return the seconds since the last result of the source that has been silent for the longest time."""
        return max((sink.silent_s() for sink in tuple(self.sinks.values())), default=0.0)

    def close(self) -> None:
        self.overview.end()
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()
        for sensor in self._sensors or ():
            sensor.close()

    def metrics(self) -> str:
        """Return the state of all sources and sensors as Prometheus reads it."""
        if self._sensors is None:
            self._sensors = sensors()
        sinks = dict(self.sinks)
        reports = {name: report for name, sink in sinks.items() if (report := sink.report())}
        silent_s = {name: sink.silent_s() for name, sink in sinks.items()}
        return metrics_text(reports, silent_s, read_all(self._sensors)[0])

    def _sources(self) -> dict[str, Any]:
        return {"sources": list(self.sinks)}

    def _serve(self) -> None:
        asyncio.run(self._server.serve([self._socket]))

    def _wait_for_start(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        if not self._server.started:
            raise SinkError(f"the page at {self.url} did not start")


class PageSink:
    """Sends the results of a source to a page: one at an address of its own, or one that others share.

    `info` is asked whenever a viewer connects or the stream stands still, because a camera that reconnects may change
    it. `messages` are those of the loop.
    """

    name = "page"
    draws = False

    def __init__(
        self,
        page: Page | str,
        space: LabelSpace,
        info: Callable[[], StreamInfo] | None = None,
        messages: LastMessage | None = None,
        *,
        source: str = "",
        owns_page: bool = False,
    ) -> None:
        self._owns_page = owns_page or isinstance(page, str)
        self._page = Page(page) if isinstance(page, str) else page
        self._source, self._space, self._info, self._messages = source, space, info, messages
        self._shown_s = math.inf
        self._opened_s = time.monotonic()
        self._next_s = self._next_tile_s = 0.0
        self.broadcast = Broadcast(self._hello, self._quiet)
        self.report: Callable[[], dict[str, Any]] = dict  # of the source so far; the loop sets it
        self._page.sinks[source] = self

    @property
    def url(self) -> str:
        return self._page.url

    @property
    def token(self) -> str | None:
        return self._page.token

    @property
    def viewers(self) -> int:
        return self.broadcast.viewers

    def show(self, result: FrameResult) -> None:
        """Send a result, at most `MAX_FPS` times a second, if anybody is looking."""
        if not self._page.is_served:
            raise SinkError(f"the page at {redact(self.url)} has ended")
        self._shown_s = now = time.monotonic()
        if self.broadcast.viewers and now >= self._next_s:
            self._next_s = max(self._next_s + 1 / MAX_FPS, now - 1 / MAX_FPS)
            self.broadcast.publish(encode_message(result))
        if self._page.overview.viewers and now >= self._next_tile_s:
            self._next_tile_s = now + TILE_S
            self._page.overview.publish(encode_tile(self._source, result), self._source)

    def close(self) -> None:
        self.broadcast.end()
        if self._owns_page:
            self._page.close()
        else:
            self._page.sinks.pop(self._source, None)

    def silent_s(self) -> float:
        """Return the seconds since the last result, or since the start."""
        return time.monotonic() - (self._shown_s if math.isfinite(self._shown_s) else self._opened_s)

    def _hello(self) -> dict[str, Any]:
        found = {"classes": class_list(self._space), "fade": FADE, "sources": list(self._page.sinks)}
        return {**self._stream(), **found, "source": self._source}

    def _quiet(self) -> dict[str, Any]:
        message = self._messages.since(self._shown_s - LAG_S) if self._messages else None
        return {**self._stream(), "message": message}

    def _stream(self) -> dict[str, Any]:
        return {"stream": asdict(self._info()) if self._info else {}}


@dataclass(frozen=True)
class TlsFiles:
    """A certificate and its private key, in PEM files."""

    certificate: Path
    key: Path

    def check(self) -> None:
        """Raise unless both can be used."""
        try:
            for path in (self.certificate, self.key):
                read_file(path, MOST_PEM_BYTES)
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key, password=lambda: "")
        except (OSError, ValueError) as error:  # of files, and of what is in them
            raise SinkError(
                f"cannot serve with {self.certificate} and {self.key}", found=reason_of(error),
                remedy="give a certificate and its private key without a passphrase, in PEM",
            ) from error  # fmt: skip


def make_server(app: ASGIApp, listener: Listener, tls: TlsFiles | None) -> uvicorn.Server:
    import uvicorn

    listener.most = min(MAX_CONNECTIONS, max(8, descriptor_limit() // DESCRIPTORS_SHARE))
    config = uvicorn.Config(
        app,
        http=protocol_class(listener),
        ws="none",
        log_level="error",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        server_header=False,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else str(tls.key),
    )
    for name in ("uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        if not any(isinstance(one, OncePerWhile) for one in logger.filters):
            logger.addFilter(OncePerWhile())
    return uvicorn.Server(config)


def descriptor_limit() -> int:
    """Return how many files and connections the process may open."""
    try:
        import resource
    except ImportError:  # Windows
        return 512
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def make_app(page_of: Page, cookie: str, *, secure: bool = False) -> ASGIApp:
    """Return the web app: the page at `/`, the results of a source at `/stream`, small images of all sources at
    `/overview`, the state of everything for Prometheus at `/metrics`, and at `/healthz` whether results come.
    """
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, PlainTextResponse, StreamingResponse
    from starlette.routing import Route

    html = PAGE.read_text(encoding="utf-8")

    async def page(_: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        headers = {
            "Content-Security-Policy": content_security_policy(nonce),
            "Cache-Control": "no-store",
        }
        return HTMLResponse(html.replace("{{nonce}}", nonce), headers=headers)

    def streamed(broadcast: Broadcast, request: Request) -> Response:
        messages = broadcast.messages(request.scope.get(CONNECTION))
        headers = {"Cache-Control": "no-store"}
        return StreamingResponse(messages, media_type="application/octet-stream", headers=headers)

    async def stream(request: Request) -> Response:
        sinks = page_of.sinks
        sink = sinks.get(request.query_params.get("source", "")) or next(iter(tuple(sinks.values())), None)
        if sink is None:
            return PlainTextResponse("no source is running", 404)
        return streamed(sink.broadcast, request)

    async def overview(request: Request) -> Response:
        return streamed(page_of.overview, request)

    async def health(_: Request) -> Response:
        seconds = page_of.silent_s()
        text, status = ("ok", 200) if seconds < UNHEALTHY_S else (f"no result for {seconds:.0f} s", 503)
        return PlainTextResponse(text, status, headers={"Cache-Control": "no-store"})

    def metrics(_: Request) -> Response:  # in a thread, since sensors are files
        return PlainTextResponse(page_of.metrics(), media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    routes = [
        Route("/", page),
        Route("/stream", stream),
        Route("/overview", overview),
        Route("/metrics", metrics),
        Route(HEALTH_PATH, health),
    ]
    return AccessControl(Starlette(routes=routes), page_of.token, cookie, secure=secure)


def content_security_policy(nonce: str) -> str:
    """Allow the page's own script and style, the images it makes, its stream, and nothing else."""
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "img-src blob: data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )


def class_list(space: LabelSpace) -> list[dict[str, Any]]:
    """Describe the classes for the page; `abgr` is a colour as one little-endian word of RGBA.

    Of those that are `tinted`, the page takes the hue and keeps the lightness of the image.
    """
    return [
        {
            "part": part,
            "title": title,
            "colour": f"rgb({red} {green} {blue})",
            "tinted": part in TINTED_PARTS,
            "abgr": 0xFF000000 | blue << 16 | green << 8 | red,
        }
        for part, title, (red, green, blue) in zip(space.parts, space.titles, space.palette_rgb.tolist(), strict=True)
    ]
