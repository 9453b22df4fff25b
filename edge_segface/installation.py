"""How this package was installed, and the command that adds an extra to it."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlparse

PACKAGE = Path(__file__).resolve().parent
PROJECT = "edge-segface"


def install_command(extra: str) -> str:
    """Return the pip command that adds an extra, valid in the current folder.

    A checkout is named by its folder, since no index may have its version; `-e` keeps an editable install editable.
    """
    source, editable = _installed_from()
    checkout = checkout_of(PACKAGE)
    if checkout is None:  # in site-packages: pip takes the extra's packages from the installed metadata
        at_source = source is not None and source == Path.cwd() and checkout_of(source / "edge_segface") is not None
        return f"pip install {shlex.quote(f'.[{extra}]' if at_source else f'{PROJECT}[{extra}]')}"
    target = "." if checkout == Path.cwd() else str(checkout)
    option = "-e " if editable and source == checkout else ""
    return f"pip install {option}{shlex.quote(f'{target}[{extra}]')}"


def checkout_of(package: Path) -> Path | None:
    """Return the checkout that a package folder belongs to, None if it is installed elsewhere."""
    settings = package.parent / "pyproject.toml"
    try:
        is_ours = f'name = "{PROJECT}"' in settings.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return package.parent if is_ours else None


def _installed_from() -> tuple[Path | None, bool]:
    """Return the folder that pip installed this package from, if it was one, and whether as editable (PEP 610)."""
    try:
        text = distribution(PROJECT).read_text("direct_url.json")
    except PackageNotFoundError:
        return None, False
    origin = json.loads(text) if text else {}
    url = urlparse(origin.get("url", ""))
    if "dir_info" not in origin or url.scheme != "file":
        return None, False
    return Path(unquote(url.path)).resolve(), bool(origin["dir_info"].get("editable"))
