"""What a camera loop or `parse_stream` delivers for each frame, and how it is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_segface.compositing import Backdrop, composite, plain_backdrop
from edge_segface.draw import captions, cut_weights, draw_boxes, draw_legend, overlay
from edge_segface.face.tracker import TrackedFace
from edge_segface.frames import ClassMap, Frame, UInt8Array


@dataclass(frozen=True)
class DrawOptions:
    """What is drawn over the frames: all `classes` if None. With `alpha` only that part is shown, on the backdrop."""

    opacity: float = 0.6
    classes: tuple[str, ...] | None = None
    boxes: bool = True
    hud: bool = True
    legend: bool = False
    alpha: str | None = None
    backdrop: Backdrop = plain_backdrop


@dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame, its class map (background outside the faces), and its tracked faces.

    It unpacks as `image_bgr, class_map, faces`. `lines`, `numbers` and `draw` are what sinks draw and send.
    """

    frame: Frame
    class_map: ClassMap
    faces: Sequence[TrackedFace]
    lines: Sequence[str] = ()
    numbers: dict[str, Any] = field(default_factory=dict)
    draw: DrawOptions = field(default_factory=DrawOptions)

    @property
    def image_bgr(self) -> UInt8Array:
        return self.frame.image_bgr

    def __iter__(self) -> Iterator[Any]:
        return iter((self.image_bgr, self.class_map, self.faces))

    @cached_property
    def alpha(self) -> npt.NDArray[np.float32] | None:
        """The soft mask (h, w), 0..1, of the part that is cut out, if one is; it fades out where a square ends."""
        if self.draw.alpha is None:
            return None
        alpha = self.class_map.alpha(self.draw.alpha, self.image_bgr)
        squares = [face.roi for face in self.faces]
        if (weights := cut_weights(self.class_map.only(self.draw.alpha).labels, squares)) is not None:
            alpha *= weights
            outside = np.ones(alpha.shape, dtype=np.bool_)  # where a soft edge would reach beyond the cut
            for square in squares:
                left, top, right, bottom = square.bounds_xyxy((alpha.shape[0], alpha.shape[1]))
                outside[top:bottom, left:right] = False
            alpha[outside] = 0
        return alpha

    @cached_property
    def drawn(self) -> UInt8Array:
        """The frame as it is shown and recorded; drawn once, when the first sink asks for it."""
        options = self.draw
        if self.alpha is not None:
            return composite(self.image_bgr, self.alpha, options.backdrop(self.image_bgr))
        shown = self.class_map if options.classes is None else self.class_map.only(*options.classes)
        drawn = overlay(self.image_bgr, shown, options.opacity, squares=[face.roi for face in self.faces])
        if options.boxes:
            draw_boxes(drawn, [face.face.box_xyxy for face in self.faces])
        if options.legend:
            draw_legend(drawn, shown)
        if options.hud:
            captions(drawn, self.lines)
        return drawn
