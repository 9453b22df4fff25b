"""Where results go: a window, masks, a recording (recording.py), a web page (viewer/).

A failing sink is removed; the loop continues.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TextIO

import cv2

from edge_segface.camera.result import FrameResult
from edge_segface.errors import SinkError, first_line
from edge_segface.files import make_folder, write_error
from edge_segface.frames import UInt8Array
from edge_segface.image_io import write_image
from edge_segface.isolation import isolated_python
from edge_segface.soft_edges import as_uint8

ESCAPE = 27
MASK_LIST = "masks.txt"  # in the folder of masks: their names, one a line


class Sink(Protocol):
    """Receives results; `show` and `close` run in one thread. A sink that cannot continue raises SinkError."""

    name: str
    draws: bool  # whether it needs the frame with the classes drawn over it

    def show(self, result: FrameResult) -> None: ...

    def close(self) -> None: ...


class Window:
    """A window. Only the main thread opens, refreshes and destroys it, as window systems require."""

    name = "window"
    draws = True

    def __init__(self, title: str) -> None:
        self._title = title
        self._image: UInt8Array | None = None
        check_display()
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        self._opened = False

    def show(self, result: FrameResult) -> None:
        self._image = result.drawn

    def close(self) -> None:
        self._image = None

    def refresh(self) -> bool:
        """Show the newest frame; return False once the user pressed `q` or closed the window."""
        image, self._image = self._image, None
        if image is not None:
            if not self._opened:
                cv2.resizeWindow(self._title, image.shape[1], image.shape[0])
            cv2.imshow(self._title, image)
            self._opened = True
        if cv2.waitKey(1) & 0xFF in (ord("q"), ESCAPE):
            return False
        return not self._opened or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1

    def destroy(self) -> None:
        with suppress(cv2.error):  # already closed by the user
            cv2.destroyWindow(self._title)


def has_display() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def check_display() -> None:
    """Try to open a window in another process, because OpenCV aborts if the display does not answer."""
    command = isolated_python("edge_segface.camera.try_window")
    try:
        tried = subprocess.run(command, capture_output=True, timeout=30, check=False)  # noqa: S603
        failed = tried.returncode != 0
    except subprocess.TimeoutExpired:
        failed = True
    if failed:
        display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or "no display"
        raise SinkError("no window can be opened", found=display, remedy="use --headless, with --serve for a page")


class Masks:
    """Writes one PNG per frame: class ids, or the alpha of a part that is cut out.

    Masks of images have the images' names, others the number of their frame. The folder must not hold other PNG files.
    With `overwrite` it may hold masks of an earlier run, all of which are removed: a list beside them names them.
    """

    name = "masks"
    draws = False

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        self._folder, self._list = folder, folder / MASK_LIST
        if os.path.islink(self._list):
            raise SinkError(f"{self._list} is a symbolic link", remedy="name another folder")
        self._old = listed_masks(self._list) if overwrite else []
        make_folder(folder)
        check_no_other_png(folder, set(self._old), overwrite=overwrite)
        self._names: TextIO | None = None

    def show(self, result: FrameResult) -> None:
        try:
            names = self._names or self._begin()
            file_name = f"{result.frame.name or f'{result.frame.index:06d}'}.png"
            names.write(file_name + "\n")
            names.flush()
        except OSError as error:
            raise write_error(self._list, error) from error
        labels = result.class_map.labels if result.alpha is None else as_uint8(result.alpha)
        write_image(labels, self._folder / file_name)

    def close(self) -> None:
        if self._names is not None:
            self._names.close()

    def _begin(self) -> TextIO:
        """Remove the earlier run's masks and begin the list of this one's."""
        for path in self._old:
            path.unlink(missing_ok=True)
        self._names = open(self._list, "w", encoding="utf-8")  # noqa: SIM115
        return self._names


def listed_masks(names: Path) -> list[Path]:
    """Return the masks that an earlier run listed and that are still there."""
    try:
        listed = names.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise SinkError(f"cannot read {names}", found=first_line(error), remedy="name another folder") from error
    return [path for name in listed if is_plain_png(name) and (path := names.with_name(name)).is_file()]


def is_plain_png(name: str) -> bool:
    return name == Path(name).name and name.lower().endswith(".png")


def check_no_other_png(folder: Path, masks: set[Path], *, overwrite: bool) -> None:
    others = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png" and path not in masks)
    if not others:
        return
    ours = (folder / MASK_LIST).exists() and not overwrite
    remedy = "name another folder, or add --overwrite" if ours else "name another folder: --overwrite keeps such files"
    raise SinkError(f"{folder} already holds {len(others)} PNG files", found=others[0].name, remedy=remedy)
