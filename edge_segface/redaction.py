"""Removes passwords from whatever is shown, written or logged."""

from __future__ import annotations

import re

ADDRESS = re.compile(r"\b([a-z][a-z0-9+.-]*://)([^\s\"'<>]+)", re.IGNORECASE)
SECRET = re.compile(
    r"\b(user-pw|user-id|proxy-pw|password|passphrase|passwd|pwd|secret|token)(\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s&;,]+)",
    re.IGNORECASE,
)
HIDDEN = "..."


def redact(text: str) -> str:
    """Return a text without the user names, passwords and queries of the addresses in it, and without `password=...`.

    Examples:
        >>> redact("no frame from rtsp://me:secret@camera:554/live?key=1")
        'no frame from rtsp://camera:554/live?...'
    """
    shown = ADDRESS.sub(lambda match: match[1] + _without_secrets(match[2]), text)
    return SECRET.sub(lambda match: f"{match[1]}{match[2]}{HIDDEN}", shown)


def _without_secrets(rest: str) -> str:
    """Return what follows `scheme://`, without user and query. A password may contain any character, also / ? and @."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority or ("@" in rest and ":" in authority):
        rest = rest.rpartition("@")[2]
    place, sign, _ = rest.partition("?")
    return place + (sign + HIDDEN if sign else "")
