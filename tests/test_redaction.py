from __future__ import annotations

import pytest

from edge_segface.errors import SourceError
from edge_segface.redaction import redact


@pytest.mark.parametrize("secret", ["me:secret", "me:p@ss", "me:p/w", "me:p?w", "me:p#w", "secret", "me:%73ecret"])
def test_user_and_password_of_an_address(secret: str) -> None:
    assert redact(f"rtsp://{secret}@camera.local:554/x") == "rtsp://camera.local:554/x"
    assert redact(f"cannot open HTTP://{secret}@[::1]/x, sorry") == "cannot open HTTP://[::1]/x, sorry"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://camera.local/x", "http://camera.local/x"),
        ("http://camera/x?password=secret&b=1 failed", "http://camera/x?... failed"),
        ("http://camera/x?mail=a@b", "http://camera/x?..."),
        ("rtspsrc user-id=me user-pw=secret ! fakesink", "rtspsrc user-id=... user-pw=... ! fakesink"),
        ('user-pw="two words" x', "user-pw=... x"),
        ("password: secret", "password: ..."),
        ("--set optimizer.lr=1e-3", "--set optimizer.lr=1e-3"),
        ("a mean of 5:3 at 10:30", "a mean of 5:3 at 10:30"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_every_error_of_ours_is_redacted() -> None:
    error = SourceError("http://a:secret@h/ fails", found="http://a:secret@h/", remedy="try http://a:secret@h/")
    assert "secret" not in f"{error} {error.what} {error.found} {error.remedy} {error.args}"
