"""What a camera loop or `parse_stream` delivers for each frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cv2

from edge_segface.draw import captions, overlay
from edge_segface.face.tracker import TrackedFace
from edge_segface.frames import ClassMap, Frame, UInt8Array

FACE_BGR = (80, 220, 80)


@dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame, its class map (background outside the faces), and its tracked faces.

    It unpacks as `image_bgr, class_map, faces`. `lines`, `numbers` and `opacity` are what sinks draw and send.
    """

    frame: Frame
    class_map: ClassMap
    faces: Sequence[TrackedFace]
    lines: Sequence[str] = ()
    numbers: dict[str, Any] = field(default_factory=dict)
    opacity: float = 0.6

    @property
    def image_bgr(self) -> UInt8Array:
        return self.frame.image_bgr

    def __iter__(self) -> Iterator[Any]:
        return iter((self.image_bgr, self.class_map, self.faces))

    @cached_property
    def drawn(self) -> UInt8Array:
        """The frame with classes, boxes and lines drawn over it; drawn once, when the first sink asks for it."""
        drawn = overlay(self.image_bgr, self.class_map, self.opacity)
        for face in self.faces:
            left, top, right, bottom = (round(edge) for edge in face.face.box_xyxy)
            cv2.rectangle(drawn, (left, top), (right, bottom), FACE_BGR, 1)
        captions(drawn, self.lines)
        return drawn
