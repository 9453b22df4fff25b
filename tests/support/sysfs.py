"""Folders with the files that Linux and Jetson boards have in /sys, /proc and /etc."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_files(root: Path, files: Mapping[str, object]) -> Path:
    """Write each content, followed by a line break, to its path below `root`; return `root`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root
