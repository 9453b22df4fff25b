"""One thread publishes messages, and any number of viewers read them in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Protocol

from edge_segface.camera.viewer.message import packed

MAX_VIEWERS = 64
QUIET_S = 1.0  # after this time without a result, viewers get a `quiet` message
Content = Callable[[], dict[str, Any]]


class Connection(Protocol):
    """The connection of a viewer. `paused_at_s` is when it stopped taking what is sent, on the monotonic clock."""

    paused_at_s: float | None

    def abort(self) -> None: ...


class Broadcast:
    """Hands the newest message to every viewer that is ready for it. A slow viewer skips messages.

    `hello` and `quiet` return the content of the messages of those kinds. `publish` and `end` may be called from any
    thread; everything else runs in the server's event loop.

    Of more than `MAX_VIEWERS`, the one goes that has taken nothing for the longest time, or else the first that came:
    viewers that only stay connected cannot lock anybody out.
    """

    def __init__(self, hello: Content, quiet: Content) -> None:
        self._viewers: dict[object, Connection | None] = {}  # in the order in which they came
        self._hello, self._quiet = hello, quiet
        self._messages: dict[str, tuple[int, bytes]] = {}  # of each source the newest, with its number
        self._number = 0
        self._ended = False
        self._changed: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def publish(self, message: bytes, source: str = "") -> None:
        """Send a message, in the place of an earlier one of the same source that is not sent yet."""
        self._call_in_loop(partial(self._announce, source, message))

    def end(self) -> None:
        """End the messages of all viewers."""
        self._ended = True
        self._call_in_loop(self._wake)

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    async def messages(self, connection: Connection | None = None) -> AsyncIterator[bytes]:
        """Yield a greeting, the newest message each time one viewer has taken the one before, and a farewell."""
        self._loop = asyncio.get_running_loop()
        self._changed = self._changed or asyncio.Event()
        self._make_room()
        viewer = object()
        self._viewers[viewer] = connection
        sent = self._number
        try:
            yield packed({"kind": "hello", **self._hello()})
            while not self._ended:
                if sent == self._number:
                    if not await self._wait():
                        yield packed({"kind": "quiet", **self._quiet()})
                    continue
                newer = sorted(one for one in self._messages.values() if one[0] > sent)
                sent = self._number
                for _, message in newer:
                    yield message
            yield packed({"kind": "ended", **self._quiet()})
        finally:
            self._viewers.pop(viewer, None)

    def _make_room(self) -> None:
        while len(self._viewers) >= MAX_VIEWERS:
            paused_at_s = {
                viewer: connection.paused_at_s
                for viewer, connection in self._viewers.items()
                if connection is not None and connection.paused_at_s is not None
            }
            goes = min(paused_at_s, key=paused_at_s.__getitem__) if paused_at_s else next(iter(self._viewers))
            connection = self._viewers.pop(goes)
            if connection is not None:
                connection.abort()

    async def _wait(self) -> bool:
        """Wait for a change, at most `QUIET_S`."""
        assert self._changed is not None
        try:
            await asyncio.wait_for(self._changed.wait(), QUIET_S)
        except asyncio.TimeoutError:
            return False
        return True

    def _announce(self, source: str, message: bytes) -> None:
        self._number += 1
        self._messages[source] = self._number, message
        self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = asyncio.Event()

    def _call_in_loop(self, callback: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)
