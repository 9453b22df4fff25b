"""Atomic file writes, the cache folder, and checksums."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_segface import signals
from edge_segface.errors import OutputError, reason_of


def read_file(path: Path, most_bytes: int) -> bytes:
    """Read a regular file. Raise OSError for anything else, such as a pipe that never ends, and for a larger one."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "a folder" if os.path.isdir(path) else "not a regular file", str(path))
    if status.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"{status.st_size >> 20} MB", str(path))
    with open(path, "rb") as file:
        return file.read(most_bytes)


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` if the block succeeds, remove it otherwise."""
    target = Path(os.path.realpath(target))  # a symbolic link is kept and its target replaced
    check_target(target)
    temporary = target.with_name(f".{target.stem}-{secrets.token_hex(4)}{target.suffix}")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise write_error(target, error) from error
    try:
        yield temporary
        signals.exit_if_received()
        temporary.replace(target)
    except OSError as error:
        if error.filename is not None and Path(error.filename) != temporary:
            raise  # another file that the block opened
        raise write_error(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; rename it to `target` if the block succeeds, remove it otherwise."""
    if os.path.lexists(target):
        raise OutputError(f"{target} already exists", remedy="name another one, or remove it")
    make_folder(target.parent)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise write_error(target, error) from error
    try:
        yield temporary
        signals.exit_if_received()
        temporary.chmod(0o777 & ~umask())
        try:
            temporary.rename(target)
        except OSError as error:
            raise write_error(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def umask() -> int:
    """Return the permissions that new files do not get; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def check_place(target: Path) -> None:
    """Raise OutputError unless a file can be written there; call it before hours of work."""
    check_target(target)
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise write_error(target, error) from error


def check_target(target: Path) -> None:
    """Create the folder of a file; raise if something that is not a regular file is in its place."""
    if os.path.exists(target) and not os.path.isfile(target):
        found = "a folder" if os.path.isdir(target) else "not a regular file"
        raise OutputError(f"cannot write {target}", found=found, remedy="name a file")
    make_folder(target.parent)


def size_mb(model: Path) -> float:
    """Return the size of a model in MB: of OpenVINO and ncnn together with the .bin that holds the weights."""
    if os.path.isdir(model):
        files = [file for file in model.rglob("*") if file.is_file()]
    else:
        files = [model, model.with_suffix(".bin")] if model.suffix.lower() in (".xml", ".param") else [model]
    return sum(file.stat().st_size for file in files if os.path.exists(file)) / 1e6


def write_text(text: str, target: Path) -> None:
    with atomic_write(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(content: bytes | memoryview, target: Path) -> None:
    """Write and sync to disk before returning, so that a power cut leaves the old or the new content."""
    with atomic_write(target) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error


def write_error(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path}", found=reason_of(error), remedy="choose a writable place with free space")


def cache_folder() -> Path:
    """Return where downloads and caches live: $EDGE_SEGFACE_HOME, or edge-segface in the user's cache folder."""
    if given := os.environ.get("EDGE_SEGFACE_HOME"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "edge-segface"


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
