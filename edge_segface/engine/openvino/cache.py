"""Compiled models on disk: a start imports one in a few hundredths of a second instead of compiling for half a second.

The name of an entry is a hash of everything it depends on, so that a changed file, option, processor or version finds
no entry. Its content carries a checksum. The cache is never needed: what is wrong with it is said once and passed over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from edge_segface.engine.base import say_once
from edge_segface.errors import OutputError, first_line
from edge_segface.files import write_bytes
from edge_segface.spec import METADATA_KEY, ModelSpec

FORMAT = "1"  # to be raised when graphs are rewritten in another way before they are compiled
MOST_ENTRIES = 12
DIGEST_BYTES = 32
LENGTH_BYTES = 4


class CompiledCache:
    """The entry for one model file with certain options."""

    def __init__(self, folder: Path, files: Iterable[Path], *facts: str) -> None:
        digest = hashlib.sha256(json.dumps([FORMAT, *facts]).encode())
        for file in files:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        self._folder, self._path = folder, folder / f"{digest.hexdigest()}.blob"

    def load(self) -> tuple[ModelSpec, bytes] | None:
        """Return the specification and the compiled model, or None if the cache lacks it."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        with suppress(OSError):  # in a folder that may only be read
            self._path.touch()  # the entry was used just now
        rest = memoryview(content)[DIGEST_BYTES:]
        if hashlib.sha256(rest).digest() != content[:DIGEST_BYTES]:
            self.discard()
            return None
        start = LENGTH_BYTES + int.from_bytes(rest[:LENGTH_BYTES], "little")
        spec = ModelSpec.from_metadata({METADATA_KEY: str(rest[LENGTH_BYTES:start], "utf-8")}, self._path)
        return spec, bytes(rest[start:])

    def discard(self) -> None:
        """Remove a damaged entry; the next `save` replaces it."""
        say_once(f"a damaged entry in the cache of compiled models in {self._folder} is replaced")
        with suppress(OSError):
            self._path.unlink()

    def save(self, spec: ModelSpec, compiled: bytes) -> None:
        text = spec.metadata()[METADATA_KEY].encode()
        rest = len(text).to_bytes(LENGTH_BYTES, "little") + text + compiled
        try:
            write_bytes(hashlib.sha256(rest).digest() + rest, self._path)
            self._forget_oldest()
        except (OSError, OutputError) as error:
            say_once(f"the compiled model is not cached in {self._folder}: {first_line(error)}")

    def _forget_oldest(self) -> None:
        entries = sorted(self._folder.glob("*.blob"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in entries[MOST_ENTRIES:]:
            path.unlink(missing_ok=True)
