"""Where the head is in the bundled portrait."""

from __future__ import annotations

from edge_segface.frames import RoI

PORTRAIT_ROI = RoI((180.0, 110.0), 240.0)
