"""The command line."""

from __future__ import annotations

from edge_segface.cli.app import app, main

__all__ = ["app", "main"]
