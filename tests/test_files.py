from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from edge_segface import signals
from edge_segface.errors import OutputError
from edge_segface.files import atomic_write


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "new" / "x.bin"
    with atomic_write(target) as temporary:
        temporary.write_bytes(b"one")
    with pytest.raises(KeyError), atomic_write(target) as temporary:
        {"two": temporary.write_bytes(b"two")}["one"]
    assert target.read_bytes() == b"one"
    assert [item.name for item in target.parent.iterdir()] == ["x.bin"]


def test_nothing_is_written_after_a_signal_whose_exit_a_library_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_received", [])
    before = signal.getsignal(signal.SIGTERM)
    signals.exit_on_termination()

    def deepcopy() -> None:
        with suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()

    with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)), atomic_write(tmp_path / "x"):
        deepcopy()
    signal.signal(signal.SIGTERM, before)
    assert list(tmp_path.iterdir()) == []


def test_links_stay_and_devices_are_refused(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "x")
    with atomic_write(tmp_path / "link") as temporary:
        temporary.write_text("content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "x").read_text() == "content"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="not a regular file"), atomic_write(tmp_path / "pipe"):
        pass


def test_an_error_of_another_file_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="input"), atomic_write(tmp_path / "x"):
        (tmp_path / "input").read_bytes()


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose a writable place"), atomic_write(tmp_path / "file" / "x"):
        pass
    with pytest.raises(OutputError, match="a folder"), atomic_write(tmp_path):
        pass
