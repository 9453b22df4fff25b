"""One thread publishes messages, and any number of viewers read them in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from edge_segface.camera.viewer.message import packed

QUIET_S = 1.0  # after this time without a result, viewers get a `quiet` message
Content = Callable[[], dict[str, Any]]


class Broadcast:
    """Hands the newest message to every viewer that is ready for it. A slow viewer skips messages.

    `hello` and `quiet` return the content of the messages of those kinds. `publish` and `end` may be called from any
    thread; everything else runs in the server's event loop.
    """

    def __init__(self, hello: Content, quiet: Content) -> None:
        self.viewers = 0
        self._hello, self._quiet = hello, quiet
        self._message = b""
        self._number = 0
        self._ended = False
        self._changed: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def publish(self, message: bytes) -> None:
        self._message = message
        self._call_in_loop(self._announce)

    def end(self) -> None:
        """End the messages of all viewers."""
        self._ended = True
        self._call_in_loop(self._announce)

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield a greeting, the newest message each time one viewer has taken the one before, and a farewell."""
        self._loop = asyncio.get_running_loop()
        self._changed = self._changed or asyncio.Event()
        self.viewers += 1
        sent = self._number
        try:
            yield packed({"kind": "hello", **self._hello()})
            while not self._ended:
                if sent == self._number:
                    if not await self._wait():
                        yield packed({"kind": "quiet", **self._quiet()})
                    continue
                sent = self._number
                yield self._message
            yield packed({"kind": "ended", **self._quiet()})
        finally:
            self.viewers -= 1

    async def _wait(self) -> bool:
        """Wait for a change, at most `QUIET_S`."""
        assert self._changed is not None
        try:
            await asyncio.wait_for(self._changed.wait(), QUIET_S)
        except asyncio.TimeoutError:
            return False
        return True

    def _announce(self) -> None:
        self._number += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = asyncio.Event()

    def _call_in_loop(self, callback: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)
