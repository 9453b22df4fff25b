"""Reading and writing images. An image is read as a viewer shows it: upright, in colour, 8 bits."""

from __future__ import annotations

import io
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from edge_segface.errors import ImageError, OutputError, first_line, reason_of
from edge_segface.files import atomic_write, read_file
from edge_segface.frames import OUTSIDE_BGR, UInt8Array, check_image

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

Image: TypeAlias = "str | Path | npt.NDArray[Any] | PilImage"
Channels = Literal["bgr", "rgb"]
VIDEO_SUFFIXES = frozenset((".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".y4m", ".mpg", ".ts"))
MAX_MEGAPIXELS_VARIABLE = "EDGE_SEGFACE_MAX_MEGAPIXELS"
MAX_MEGAPIXELS = 120
MOST_BYTES = 1 << 30  # of an image file
ROWS_AT_ONCE = 256
ORIENTATION = 0x0112  # tag of Exif
# How an image is turned upright: whether it is mirrored first, and by how many quarters anticlockwise.
TURNS = {
    1: (False, 0), 2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1),
}  # fmt: skip
SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))

# `max_pixels` takes the place of Pillow's warning. Threads read images, and a filter for one of them would be unsafe.
warnings.filterwarnings("ignore", category=PillowImage.DecompressionBombWarning)


def read_image(path: Path) -> UInt8Array:
    """Read an image as BGR. Its size is read first, and nothing is decoded that exceeds `max_pixels()`.

    Orientation tags are applied; grey, CMYK and 16-bit images are converted; transparency becomes the mean colour.
    """
    try:
        content = read_file(path, MOST_BYTES)
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        found = reason_of(error)
        raise ImageError(f"cannot read {path}", found=found, remedy="check the path") from error
    if not content:
        raise ImageError(f"{path} is empty", found="0 bytes", remedy="copy it again")
    if is_truncated(content):
        raise ImageError(
            f"{path} is truncated", found=f"{len(content)} bytes without an end marker", remedy="copy it again"
        )
    header = read_header(content, path)
    encoded = np.frombuffer(content, dtype=np.uint8)
    try:
        decoded = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED if header.has_alpha else cv2.IMREAD_COLOR)
        if decoded is None:
            raise _unreadable(path)
        if header.has_alpha:
            decoded = _over_mean_colour_upright(decoded, header.orientation)
    except (cv2.error, MemoryError) as error:
        raise ImageError(f"{path} cannot be decoded", found=first_line(error), remedy="scale it down") from error
    image = np.asarray(decoded, dtype=np.uint8)
    check_image(image, str(path))
    return image


@dataclass(frozen=True)
class ImageHeader:
    """What an image file says about itself before it is decoded."""

    has_alpha: bool
    orientation: int  # as Exif counts: 1 is upright


def read_header(content: bytes, path: Path) -> ImageHeader:
    """Read the header of an image; raise if it is none, or if it has too many pixels to be decoded."""
    try:
        with PillowImage.open(io.BytesIO(content)) as image:
            check_pixels(image.size, path)
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            exif = PillowImage.Exif()
            exif.load(image.info.get("exif", b""))
            orientation = exif.get(ORIENTATION, 1)
    except PillowImage.DecompressionBombError as error:
        raise ImageError(f"{path} is too large", found=first_line(error), remedy="scale it down") from error
    except ImageError:
        raise
    except Exception as error:  # Pillow's readers raise many kinds for a broken file
        raise _unreadable(path) from error
    return ImageHeader(has_alpha, orientation if orientation in TURNS else 1)


def check_pixels(size_wh: tuple[int, int], path: Path) -> None:
    """Raise if an image has more pixels than may be decoded."""
    width, height = size_wh
    if width * height > max_pixels():
        raise ImageError(
            f"{path} is too large",
            found=f"{width}x{height}",
            remedy=f"scale it down, or raise the limit of {max_pixels() / 1e6:g} megapixels: {MAX_MEGAPIXELS_VARIABLE}",
        )


def max_pixels() -> int:
    """Return the most pixels that an image may have: those of the environment variable, or 120 million."""
    try:
        return int(float(os.environ.get(MAX_MEGAPIXELS_VARIABLE, MAX_MEGAPIXELS)) * 1_000_000)
    except (ValueError, OverflowError):
        return MAX_MEGAPIXELS * 1_000_000


def _unreadable(path: Path) -> ImageError:
    return ImageError(f"{path} is not a readable image", remedy=f"give one of {', '.join(sorted(SUFFIXES))}")


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
            found.setdefault(Path(os.path.realpath(match)), match)
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
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and os.path.isfile(path)


def _matches(text: str, path: Path) -> tuple[list[Path], str]:
    if os.path.isdir(path):
        images = sorted(item for item in path.iterdir() if _is_image(item))
        return images, f"it should contain {', '.join(sorted(SUFFIXES))} files"
    if os.path.exists(path) or not any(sign in text for sign in "*?["):
        return [path], ""
    pattern = text.removeprefix(path.anchor)
    return sorted(match for match in Path(path.anchor).glob(pattern) if os.path.isfile(match)), "check the pattern"


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


def _over_mean_colour_upright(stored: npt.NDArray[Any], orientation: int) -> UInt8Array:
    """Return what OpenCV decoded unchanged as BGR, upright."""
    if stored.ndim == 2:
        stored = cv2.cvtColor(stored, cv2.COLOR_GRAY2BGR)
    colour, alpha = stored[..., :3], stored[..., 3:]
    if colour.dtype == np.uint16:
        colour = colour >> 8
    image = _over_mean_colour(colour, alpha[..., 0]) if alpha.size else np.asarray(colour, dtype=np.uint8)
    mirror, quarters = TURNS[orientation]
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if mirror else image, quarters))


def _over_mean_colour(image: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> UInt8Array:
    mixed = np.empty((*alpha.shape, 3), dtype=np.uint8)
    behind = np.array(OUTSIDE_BGR, dtype=np.float32)
    for top in range(0, len(alpha), ROWS_AT_ONCE):  # because floats of a large image take gigabytes
        rows = slice(top, top + ROWS_AT_ONCE)
        opacity = alpha[rows].astype(np.float32)[..., None] / np.iinfo(alpha.dtype).max
        mixed[rows] = np.rint(image[rows] * opacity + behind * (1 - opacity))
    return mixed


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
