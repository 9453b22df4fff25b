"""Reading and writing images. An image is read as a viewer shows it: upright, in colour, 8 bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.errors import ImageError, OutputError, first_line
from edge_segface.files import atomic_write
from edge_segface.frames import OUTSIDE_BGR, UInt8Array, check_image

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

Image: TypeAlias = "str | Path | npt.NDArray[Any] | PilImage"
Channels = Literal["bgr", "rgb"]
VIDEO_SUFFIXES = frozenset((".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".y4m", ".mpg", ".ts"))
SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))


def read_image(path: Path) -> UInt8Array:
    """Read an image as BGR.

    Orientation tags are applied; grey, CMYK and 16-bit images are converted; transparency becomes the mean colour.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read {path}", found=error.strerror or error, remedy="check the path") from error
    if not content:
        raise ImageError(f"{path} is empty", found="0 bytes", remedy="copy it again")
    if is_truncated(content):
        raise ImageError(
            f"{path} is truncated", found=f"{len(content)} bytes without an end marker", remedy="copy it again"
        )
    encoded = np.frombuffer(content, dtype=np.uint8)
    try:
        decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        if decoded is None:
            raise ImageError(f"{path} is not a readable image", remedy=f"give one of {', '.join(sorted(SUFFIXES))}")
        image = np.asarray(decoded, dtype=np.uint8)
        if content[:2] != b"\xff\xd8":  # JPEG has no transparency
            image = _without_transparency(image, encoded)
    except (cv2.error, MemoryError) as error:  # beyond OpenCV's limit, or this machine's memory
        raise ImageError(f"{path} cannot be decoded", found=first_line(error), remedy="scale it down") from error
    check_image(image, str(path))
    return image


def load_image(source: Image, channels: Channels = "bgr") -> UInt8Array:
    """Return a path, a PIL image or an array as BGR. `channels` is the order of an array's channels."""
    if channels not in ("bgr", "rgb"):
        raise ImageError("the channels of an image are bgr or rgb", found=channels)
    if isinstance(source, (str, Path)):
        return read_image(Path(source))
    if not isinstance(source, np.ndarray):
        source, channels = _from_pil(source), "rgb"
    image = _to_bgr(source, channels)
    check_image(image, "the image")
    return image


def write_image(image: UInt8Array, path: Path) -> None:
    """Write a BGR or single-channel image in the format of the suffix."""
    with atomic_write(path) as temporary:
        done, encoded = cv2.imencode(path.suffix, image)
        if not done:
            raise OutputError(f"cannot encode {path}", remedy="name a .png or .jpg file")
        temporary.write_bytes(encoded.tobytes())


def find_images(inputs: Sequence[str]) -> list[Path]:
    """Return the images named by files, folders (not their subfolders) and glob patterns, in order, each once."""
    found: dict[Path, Path] = {}
    for text in inputs:
        if not text:
            raise ImageError("the name of an image is empty", remedy="check the variable that it comes from")
        path = Path(text)
        check_is_no_other_kind(text)
        try:
            matches, remedy = _matches(text, path)
        except (OSError, ValueError) as error:
            raise ImageError(f"cannot search {text}", found=first_line(error), remedy="check the path") from error
        if not matches:
            raise ImageError(f"no image in {text}", remedy=remedy)
        for match in matches:
            found.setdefault(match.resolve(), match)
    return list(found.values())


def distinct_stems(paths: Sequence[Path]) -> list[str]:
    """Return one name per file, without its suffix where that is distinct."""
    stems = Counter(path.stem for path in paths)
    names: dict[str, None] = {}
    for path in paths:
        name = path.stem if stems[path.stem] == 1 else path.name
        number = 1
        while name in names:
            number += 1
            name = f"{path.name}-{number}"
        names[name] = None
    return list(names)


def check_is_no_other_kind(text: str) -> None:
    """Raise for what is no image file, with what takes it instead."""
    remedies = {
        VIDEO_SUFFIXES: f"run: edge-segface webcam --source {text} --headless --save-masks masks/",
        frozenset((".pdf",)): f"make images of its pages first, as with: pdftoppm -r 150 -png {text} page",
        frozenset((".heic", ".heif", ".avif")): "convert it to JPEG first; phones can also save JPEG",
        frozenset((".svg",)): "draw it as a PNG first",
    }
    if "://" in text:
        raise ImageError(
            f"{text} is an address", remedy="download the image first; for a stream run: edge-segface webcam --source"
        )
    for suffixes, remedy in remedies.items():
        if Path(text).suffix.lower() in suffixes:
            raise ImageError(f"{text} is not an image", found=f"a {Path(text).suffix} file", remedy=remedy)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _matches(text: str, path: Path) -> tuple[list[Path], str]:
    if path.is_dir():
        images = sorted(item for item in path.iterdir() if _is_image(item))
        return images, f"it should contain {', '.join(sorted(SUFFIXES))} files"
    if path.exists() or not any(sign in text for sign in "*?["):
        return [path], ""
    pattern = text.removeprefix(path.anchor)
    return sorted(match for match in Path(path.anchor).glob(pattern) if match.is_file()), "check the pattern"


def is_truncated(content: bytes) -> bool:
    """Return whether a JPEG or PNG ends before its end marker; OpenCV would fill the rest with grey silently."""
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return b"IEND" not in content
    if content[:2] != b"\xff\xd8":
        return False
    at = 2
    while at + 4 <= len(content):
        marker = content[at + 1]
        if content[at] != 0xFF:
            return False  # unusual layout: leave it to OpenCV
        if marker == 0xFF:  # filling
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a length
            at += 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
            if marker == 0xDA:  # the scan: the end marker must follow its header
                return content.find(b"\xff\xd9", at) < 0
    return True


def _without_transparency(image: UInt8Array, encoded: UInt8Array) -> UInt8Array:
    raw = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)  # with alpha, but not rotated upright
    if raw is None or raw.ndim != 3 or raw.shape[2] != 4:
        return image
    stored = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION), dtype=np.uint8)
    mixed = _over_mean_colour(stored, np.asarray(raw[..., 3]))
    for mirror in (False, True):
        for quarters in range(4):  # find the rotation that OpenCV applied
            if np.array_equal(_rotated(stored, mirror, quarters), image):
                return np.ascontiguousarray(_rotated(mixed, mirror, quarters))
    return mixed


def _rotated(image: UInt8Array, mirror: bool, quarters: int) -> UInt8Array:
    return np.rot90(image[:, ::-1] if mirror else image, quarters)


def _over_mean_colour(image: UInt8Array, alpha: npt.NDArray[Any]) -> UInt8Array:
    opacity = alpha.astype(np.float32)[..., None] / np.iinfo(alpha.dtype).max
    mixed = image * opacity + np.array(OUTSIDE_BGR, dtype=np.float32) * (1 - opacity)
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def _from_pil(source: PilImage) -> UInt8Array:
    if not type(source).__module__.startswith("PIL."):
        raise ImageError(
            "an image must be a path, a PIL image or a NumPy array", found=type(source).__name__,
            remedy="convert it with numpy.asarray",
        )  # fmt: skip
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(source)
    mode = "RGBA" if "A" in upright.getbands() or "transparency" in upright.info else "RGB"
    return np.asarray(upright.convert(mode), dtype=np.uint8)


def _to_bgr(image: npt.NDArray[Any], channels: Channels) -> UInt8Array:
    """Return a uint8 array, grey or in colour, with or without alpha, as contiguous BGR; other arrays as they are."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        return image
    image = image[..., None] if image.ndim == 2 else image
    count = image.shape[2]
    if count in (1, 2):
        colour = np.repeat(image[..., :1], 3, axis=2)
    elif count in (3, 4):
        colour = image[..., 2::-1] if channels == "rgb" else image[..., :3]
    else:
        return image
    return np.ascontiguousarray(_over_mean_colour(colour, image[..., -1]) if count in (2, 4) else colour)
