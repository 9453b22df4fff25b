"""Marks tests that need GStreamer's command line tools."""

from __future__ import annotations

import shutil

import pytest

needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="gst-launch-1.0 (gstreamer1.0-tools) is not installed"
)
