"""The interface of a source, and the settings requested from a camera."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Protocol

from edge_segface.frames import UInt8Array


class Source(Protocol):
    """A stream of BGR frames. Constructing a source opens it."""

    live: bool  # a camera or stream: old frames are dropped, and after a failure it is opened again
    frames_independent: bool  # unrelated images: faces are not tracked from one to the next
    fps: float  # nominal frame rate
    description: str
    frame_name: str | None  # of the last frame, if it was an image file

    def read(self) -> UInt8Array | None:
        """Return the next frame, or None at the end.

        Raise FrameError if one frame cannot be read but the source goes on, SourceError if the source fails.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class CameraRequest:
    """The frame size and rate to request from a camera, which may deliver different ones."""

    size_wh: tuple[int, int] = (640, 480)
    fps: float = 30.0
    stop: threading.Event = field(default_factory=threading.Event)  # when set, stop waiting for a camera to open


def redact_credentials(url: str) -> str:
    """Return the address without user name and password, for messages."""
    return re.sub(r"//.*@", "//", url)
