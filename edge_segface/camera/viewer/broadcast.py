"""One thread publishes messages, and any number of viewers read them in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable


class Broadcast:
    """Hands the newest message to every viewer that is ready for it. A slow viewer skips messages.

    `publish` and `end` may be called from any thread; everything else runs in the server's event loop.
    """

    def __init__(self) -> None:
        self.viewers = 0
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
        """Yield the newest message each time one viewer has taken the one before."""
        self._loop = asyncio.get_running_loop()
        self._changed = self._changed or asyncio.Event()
        self.viewers += 1
        sent = self._number
        try:
            while not self._ended:
                if sent == self._number:
                    await self._changed.wait()
                    continue
                sent = self._number
                yield self._message
        finally:
            self.viewers -= 1

    def _announce(self) -> None:
        self._number += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = asyncio.Event()

    def _call_in_loop(self, callback: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)
