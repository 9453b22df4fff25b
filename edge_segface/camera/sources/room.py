"""A drawn room, slightly out of focus: what the camera of the built-in clip sees behind the person."""

from __future__ import annotations

import cv2
import numpy as np

from edge_segface.frames import UInt8Array

HEIGHT = 480  # pixels in which the room is drawn; it is scaled to the frame afterwards
WIDTHS = (160, 1600)
WALL_BGR = (199, 202, 205)  # like the backdrop of the portrait, so that the hair's edge shows no rim
BOOKS_BGR = ((96, 74, 58), (86, 112, 128), (120, 128, 96), (150, 160, 168), (72, 66, 104), (138, 108, 78))
FRAME_BGR = (226, 229, 231)  # of the window
WOOD_BGR = (112, 140, 164)
FOCUS = 3.2  # pixels of blur

Point = tuple[float, float]


def draw_room(size_wh: tuple[int, int]) -> UInt8Array:
    """Return the room at the size of the frame: a window at the left, a shelf and a plant at the right."""
    width = int(np.clip(HEIGHT * size_wh[0] / size_wh[1], *WIDTHS))
    room = np.full((HEIGHT, width, 3), WALL_BGR, np.uint8)
    _draw_window(room, width * 0.04, 24, min(150, width // 3), 250)
    _draw_shelf(room, max(0, width - 178), width - 10)
    _draw_sideboard(room)
    _draw_plant(room, (width - 70, 352))
    soft = cv2.GaussianBlur(room, (0, 0), FOCUS).astype(np.float32)
    soft *= _light(width)[..., None]
    soft += np.random.default_rng(0).normal(0, 1.2, soft.shape[:2])[..., None]  # grain hides the steps of the light
    drawn = np.clip(soft, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(drawn, size_wh, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _light(width: int) -> UInt8Array:
    """Return the brightness (h, w) of daylight that comes from the window."""
    x, y = np.linspace(0, 1, width), np.linspace(0, 1, HEIGHT)
    return np.asarray(1.04 - 0.13 * x[None, :] - 0.14 * y[:, None] ** 2, dtype=np.float32)


def _draw_window(room: UInt8Array, left: float, top: float, width: float, height: float) -> None:
    right, bottom = left + width, top + height
    _box(room, (left - 9, top - 9), (right + 9, bottom + 9), FRAME_BGR)
    outside = np.full((round(height), round(width), 3), (240, 232, 219), np.uint8)
    for x, radius in ((0.1, 0.34), (0.42, 0.42), (0.82, 0.37)):  # trees
        centre, axes = (round(x * width), round(height)), (round(radius * width), round(radius * height))
        cv2.ellipse(outside, centre, axes, 0, 180, 360, (158, 184, 166), -1, cv2.LINE_AA)
    y, x = round(top), round(left)
    room[y : y + outside.shape[0], x : x + outside.shape[1]] = cv2.GaussianBlur(outside, (0, 0), 2.5 * FOCUS)
    _box(room, (left + width / 2 - 4, top), (left + width / 2 + 4, bottom), FRAME_BGR)
    _box(room, (left, top + 0.4 * height - 4), (right, top + 0.4 * height + 4), FRAME_BGR)
    _box(room, (left - 16, bottom + 9), (right + 16, bottom + 20), (214, 217, 220))  # sill


def _draw_shelf(room: UInt8Array, left: float, right: float) -> None:
    for row, bottom in enumerate((118, 214)):
        x = left + 10
        for book in range(11):
            thickness, height = 9 + (book * 7 + row * 5) % 8, 46 + (book * 13 + row * 11) % 24
            if (book + 3 * row) % 6 != 4:  # a gap now and then
                _box(room, (x, bottom - height), (x + thickness, bottom), BOOKS_BGR[(book * 5 + row) % len(BOOKS_BGR)])
            x += thickness + 2
            if x > right - 20:
                break
        _box(room, (left, bottom), (right, bottom + 9), WOOD_BGR)


def _draw_sideboard(room: UInt8Array) -> None:
    width = room.shape[1]
    _box(room, (0, 382), (width, HEIGHT), (120, 146, 168))
    _box(room, (0, 374), (width, 386), (138, 164, 186))
    for x in range(40, width, 150):
        _box(room, (x, 398), (x + 3, HEIGHT), (98, 122, 142))


def _draw_plant(room: UInt8Array, foot: Point) -> None:
    x, y = round(foot[0]), round(foot[1])
    for index, angle in enumerate(range(-70, 71, 20)):
        tip = np.array([np.sin(np.radians(angle)), -np.cos(np.radians(angle))])
        centre = np.array([x, y - 8]) + 46 * tip
        green = (84 + 6 * (index % 3), 128 + 9 * (index % 4), 92)
        cv2.ellipse(room, (round(centre[0]), round(centre[1])), (46, 11), angle - 90, 0, 360, green, -1, cv2.LINE_AA)
    pot = np.array([(x - 26, y - 12), (x + 26, y - 12), (x + 19, y + 24), (x - 19, y + 24)], np.int32)
    cv2.fillPoly(room, [pot], (176, 178, 186), cv2.LINE_AA)


def _box(room: UInt8Array, start: Point, end: Point, colour: tuple[int, int, int]) -> None:
    cv2.rectangle(room, (round(start[0]), round(start[1])), (round(end[0]), round(end[1])), colour, -1)
