"""The interface of a source, and the settings requested from a camera."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from edge_segface.documents import DocumentError, read_document
from edge_segface.errors import SourceError
from edge_segface.frames import UInt8Array

CREDENTIALS_VARIABLE = "EDGE_SEGFACE_CREDENTIALS"


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
    credentials: Credentials | None = None  # of a network camera, if its address has none


@dataclass(frozen=True)
class Credentials:
    """User name and password of a network camera."""

    user: str
    password: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Credentials:
        """Parse USER:PASSWORD."""
        user, colon, password = text.strip("\r\n").partition(":")
        if not user or not colon or not text.strip("\r\n").isprintable():
            raise SourceError("the credentials of a camera are not USER:PASSWORD", found=f"{len(text)} characters")
        return cls(user, password)

    @classmethod
    def load(cls, path: Path | None) -> Credentials | None:
        """Read the file, else the environment variable; return None if neither is given."""
        if path is None:
            given = os.environ.get(CREDENTIALS_VARIABLE)
            return cls.parse(given) if given else None
        try:
            return cls.parse(read_document(path))
        except DocumentError as error:
            raise SourceError(f"cannot read the credentials in {path}", found=error) from error

    def added_to(self, url: str) -> str:
        """Return the address with the credentials, unless it has some."""
        scheme, mark, rest = url.partition("://")
        if "@" in re.split(r"[/?#]", rest, maxsplit=1)[0]:
            return url
        return f"{scheme}{mark}{quote(self.user, safe='')}:{quote(self.password, safe='')}@{rest}"
