"""What the page grants to connections: how many may be open, and how long each may take to ask and to take an answer.

Strangers can connect before they show a token. Whoever stays silent is the first to go.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_CONNECTIONS = 128
DESCRIPTORS_SHARE = 4  # the page takes at most one in so many of the descriptors that the process may open
HEADER_S = 5.0  # for a request to arrive whole
WRITE_S = 10.0  # for a viewer to take what was sent
SEND_BYTES = 1 << 18  # that the system buffers for a viewer, so that one who does not read is noticed
LOG_EVERY_S = 10.0
CONNECTION = "edge_segface.connection"  # key of the scope of a request


class Listener(socket.socket):
    """A listening socket that keeps the number of open connections within limits, including those in a TLS handshake.

    A new connection over the limit ends the oldest that has not been trusted, or else the oldest.
    """

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self.most = MAX_CONNECTIONS
        self._open: dict[int, socket.socket] = {}  # by descriptor, oldest first
        self._trusted: set[int] = set()

    def accept(self) -> tuple[socket.socket, Any]:
        accepted, address = super().accept()
        self._forget_closed()
        while len(self._open) >= self.most:
            goes = next((number for number in self._open if number not in self._trusted), next(iter(self._open)))
            end(self._open.pop(goes))
        self._open[accepted.fileno()] = accepted
        return accepted, address

    def trust(self, number: int) -> None:
        """Prefer the connection with this descriptor over those that have shown no token."""
        self._trusted.add(number)

    def _forget_closed(self) -> None:
        self._open = {number: one for number, one in self._open.items() if one.fileno() == number}
        self._trusted &= self._open.keys()


def end(connection: socket.socket) -> None:
    """Have the event loop see the end of a connection, which it then closes."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has ended already
        return


def protocol_class(listener: Listener) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol with time limits."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Connection(H11Protocol):
        """One connection. Requests find it in their scope."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.paused_at_s: float | None = None
            self._timers: dict[str, asyncio.TimerHandle] = {}
            self._socket = transport.get_extra_info("socket")
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
            self.app = with_connection(self.app, self)
            self._start("header", HEADER_S)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop("header")
            else:
                self._start("header", HEADER_S)

        def send_400_response(self, msg: str) -> None:
            """Answer a malformed request; hang up if its head was valid, because the app is answering it."""
            answered = self.cycle is not None and not self.cycle.response_complete
            if answered or self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
                if self.cycle is not None:
                    self.cycle.disconnected = True
                self.abort()
            else:
                super().send_400_response(msg)

        def pause_writing(self) -> None:
            super().pause_writing()
            self.paused_at_s = time.monotonic()
            self._start("write", WRITE_S)

        def resume_writing(self) -> None:
            super().resume_writing()
            self.paused_at_s = None
            self._stop("write")

        def connection_lost(self, exc: Exception | None) -> None:
            for name in list(self._timers):
                self._stop(name)
            super().connection_lost(exc)

        def trust(self) -> None:
            listener.trust(self._socket.fileno())

        def abort(self) -> None:
            """End the connection without sending what is still waiting."""
            self.transport.abort()

        def _start(self, name: str, seconds: float) -> None:
            if name not in self._timers:
                self._timers[name] = self.loop.call_later(seconds, self.abort)

        def _stop(self, name: str) -> None:
            if timer := self._timers.pop(name, None):
                timer.cancel()

    return Connection


def with_connection(app: ASGIApp, connection: object) -> ASGIApp:
    """Return the app with the connection of each request in its scope."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope[CONNECTION] = connection
        await app(scope, receive, send)

    return call


class OncePerWhile(logging.Filter):
    """Lets one record through in `LOG_EVERY_S`: a flood of connections must not become a flood of lines."""

    def __init__(self) -> None:
        super().__init__()
        self._next_s = 0.0

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        now = time.monotonic()
        if now < self._next_s:
            return False
        self._next_s = now + LOG_EVERY_S
        return True
