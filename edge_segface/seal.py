"""A checksum over the content of a model file, in the file itself, so that damage is noticed when it is loaded.

In an ONNX file it is the last metadata entry, written behind everything that it covers. In an .xml of OpenVINO it is a
comment at the end, over the rest of the file and over the .bin beside it.
"""

from __future__ import annotations

import hashlib
import logging
import re
from functools import lru_cache
from pathlib import Path

from edge_segface.errors import ModelError

KEY = "edge_segface.sha256"
DIGEST_LENGTH = 64
BLOCK = 1 << 20
XML_END = re.compile(rb"<!-- edge_segface\.sha256 ([0-9a-f]{64}) -->\n\Z")
XML_END_BYTES = len(f"<!-- {KEY} {'0' * DIGEST_LENGTH} -->\n")

log = logging.getLogger("edge_segface")


def sealed_onnx(content: bytes) -> bytes:
    """Return a serialized ONNX model with its checksum as a further metadata entry."""
    return content + _onnx_entry(hashlib.sha256(content).hexdigest())


def sealed_xml(content: bytes, weights: bytes) -> bytes:
    """Return an .xml of OpenVINO with a checksum over itself and its .bin."""
    digest = hashlib.sha256(content)
    digest.update(weights)
    return content + f"<!-- {KEY} {digest.hexdigest()} -->\n".encode()


def check_seal(path: Path) -> bool:
    """Return whether a model file has a checksum; raise if it is not that of the content."""
    parts = [path, path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else [path]
    states = tuple((str(part), part.stat().st_mtime_ns, part.stat().st_size) for part in parts if part.exists())
    return _check(states)


def check_is_sealed(path: Path, *, is_sealed: bool, expected: bool) -> None:
    """Raise if a file lost the checksum that its specification mentions; say so if it never had one."""
    if expected and not is_sealed:
        raise _damaged(path, "its checksum is missing")
    if not is_sealed:
        _say_unsealed(str(path))


@lru_cache(maxsize=64)
def _check(states: tuple[tuple[str, int, int], ...]) -> bool:
    path = Path(states[0][0])
    if path.suffix.lower() == ".xml":
        content = path.read_bytes()
        found = XML_END.search(content)
        if found is None:
            return False
        weights = b"".join(Path(name).read_bytes() for name, _, _ in states[1:])
        if sealed_xml(content[: found.start()], weights) != content:
            raise _damaged(path, "its content does not match its checksum")
        return True
    end_bytes = len(_onnx_entry("0" * DIGEST_LENGTH))
    size = states[0][2]
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        rest = max(0, size - end_bytes)
        while rest and (block := file.read(min(BLOCK, rest))):
            digest.update(block)
            rest -= len(block)
        end = file.read()
    if end[:-DIGEST_LENGTH] != _onnx_entry("0" * DIGEST_LENGTH)[:-DIGEST_LENGTH]:
        return False
    if end != _onnx_entry(digest.hexdigest()):
        raise _damaged(path, "its content does not match its checksum")
    return True


@lru_cache(maxsize=64)
def _say_unsealed(path: str) -> None:
    log.warning("%s has no checksum, so damage in it would not be noticed", path)


def _onnx_entry(digest: str) -> bytes:
    """Return field 14 (metadata_props) of a ModelProto with one entry; fields may be appended to a message."""
    entry = b"".join(bytes([tag, len(text)]) + text.encode() for tag, text in ((0x0A, KEY), (0x12, digest)))
    return bytes([14 << 3 | 2, len(entry)]) + entry


def _damaged(path: Path, found: str) -> ModelError:
    return ModelError(f"{path} is damaged or was changed", found=found, remedy="copy it again, or export it again")
