"""A calibration set as a file: crops in the input format of the deploy graph, and where they come from."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edge_segface.documents import parse_json
from edge_segface.errors import CalibrationError, first_line
from edge_segface.files import atomic_write
from edge_segface.frames import UInt8Array
from edge_segface.spec import ModelSpec
from edge_segface.typed import from_plain

FORMAT = "edge-segface calibration set 1"
MIN_IMAGES = 8  # fewer say little about value ranges
MOST_BYTES = 1 << 30  # of a set in memory: 1,300 images of 512 x 512


@dataclass(frozen=True)
class CalibrationInfo:
    """What is known about a set besides its images. The names of the fields are part of the file format."""

    input_size: int
    warp: str | None
    label_space: str
    source: str
    strategy: str
    seed: int
    names: tuple[str, ...]
    sha256: tuple[str, ...]  # one per image
    candidates: int  # images that the set was selected from
    pictures_with: dict[str, int]  # part -> images of the set that show it
    pixels_of: dict[str, int]  # part -> its pixels in the set
    labelled_by: str  # the dataset, or the model that parsed the candidates


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """Images to calibrate a model on, with a record of their origin."""

    images_bgr: UInt8Array  # n s s 3
    info: CalibrationInfo

    @property
    def sha256(self) -> str:
        """Digest of the images in their order; quantized models record it."""
        return hashlib.sha256("".join(self.info.sha256).encode()).hexdigest()

    def check_for(self, spec: ModelSpec) -> None:
        """Raise unless the set fits the input of the model."""
        info = self.info
        if (info.input_size, info.warp) != (spec.input_size, spec.warp):
            raise CalibrationError(
                f"this calibration set was not made for {spec.name}",
                found=f"images of {info.input_size} px" + (f" with the {info.warp} warp" if info.warp else ""),
                remedy=f"make one with: edge-segface calibrate --model {spec.name}",
            )
        check_count(len(self.images_bgr))

    def save(self, path: Path) -> None:
        """Write the set as a compressed .npz file."""
        check_suffix(path)
        info = json.dumps({"format": FORMAT, **asdict(self.info)})
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, images=self.images_bgr, facts=np.array(info))

    @classmethod
    def load(cls, path: Path) -> CalibrationSet:
        """Read a set, and raise if it is damaged or was changed."""
        try:
            check_file(path)
            with np.load(path, allow_pickle=False) as content:
                images, info = content["images"], parse_json(str(content["facts"]))
            loaded = cls(images, _info_from(info))
        except FileNotFoundError as error:
            raise CalibrationError(f"{path} does not exist", remedy="make it with: edge-segface calibrate") from error
        except (
            OSError, ValueError, KeyError, TypeError, MemoryError, NotImplementedError, RuntimeError,
            zipfile.BadZipFile, zlib.error, EOFError,
        ) as error:  # fmt: skip
            raise CalibrationError(
                f"{path} is not a calibration set",
                found=first_line(error),
                remedy="make one with: edge-segface calibrate",
            ) from error
        if images.dtype != np.uint8 or images.ndim != 4 or loaded.info.sha256 != hashes(images):
            raise CalibrationError(
                f"the images in {path} do not match their checksums",
                remedy="make the set again; the file was changed or damaged",
            )
        return loaded


def check_file(path: Path) -> None:
    """Raise ValueError unless the file is an archive that unpacks to a size that a set can have."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError("not a regular file")
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MOST_BYTES:
        raise ValueError(f"{unpacked >> 20} MB when unpacked")


def check_suffix(path: Path) -> None:
    """Raise unless the path ends in .npz."""
    if path.suffix.lower() != ".npz":
        raise CalibrationError(f"cannot write {path}", found=path.suffix or "no suffix", remedy="name a .npz file")


def check_count(count: int) -> None:
    """Raise if a set would have too few images."""
    if count < MIN_IMAGES:
        raise CalibrationError("a calibration set needs more images", found=count, remedy=f"use at least {MIN_IMAGES}")


def hashes(images_bgr: UInt8Array) -> tuple[str, ...]:
    """Return the sha256 of each image."""
    return tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in images_bgr)


def _info_from(content: object) -> CalibrationInfo:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("another format or version")
    return from_plain(CalibrationInfo, {key: value for key, value in content.items() if key != "format"})
