"""A calibration set as a file: squares as the deploy graph eats them, and where they come from."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_segface.errors import CalibrationError, first_line
from edge_segface.files import written_whole
from edge_segface.frames import UInt8Array
from edge_segface.spec import ModelSpec

FORMAT = "edge-segface calibration set 1"
LEAST = 8  # fewer pictures say little about the range of anything


@dataclass(frozen=True)
class CalibrationInfo:
    """All that is known of a set, beside its pictures."""

    input_size: int
    warp: str | None
    label_space: str
    source: str
    strategy: str
    seed: int
    names: tuple[str, ...]
    sha256: tuple[str, ...]  # of each picture
    candidates: int  # that there were to choose from
    pictures_with: dict[str, int]  # part -> pictures of the set that show it
    pixels_of: dict[str, int]  # part -> its pixels in the set
    labelled_by: str  # the dataset, or the model that parsed the candidates


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    images_bgr: UInt8Array  # n s s 3
    facts: CalibrationInfo

    @property
    def sha256(self) -> str:
        """Of the pictures, in order: what artefacts made with this set record."""
        return hashlib.sha256("".join(self.facts.sha256).encode()).hexdigest()

    def check_for(self, spec: ModelSpec) -> None:
        """Raises unless the set shows what this model eats."""
        facts = self.facts
        if (facts.input_size, facts.warp) != (spec.input_size, spec.warp):
            raise CalibrationError(
                f"this calibration set was not made for {spec.name}",
                found=f"pictures of {facts.input_size} px" + (f" through {facts.warp}" if facts.warp else ""),
                remedy=f"make one with: edge-segface calibrate --model {spec.name}",
            )
        if len(self.images_bgr) < LEAST:
            raise CalibrationError("a set needs more pictures", found=len(self.images_bgr), remedy=f"at least {LEAST}")

    def save(self, path: Path) -> None:
        check_suffix(path)
        facts = json.dumps({"format": FORMAT, **asdict(self.facts)})
        with written_whole(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, images=self.images_bgr, facts=np.array(facts))

    @classmethod
    def load(cls, path: Path) -> CalibrationSet:
        try:
            with np.load(path, allow_pickle=False) as content:
                images, facts = content["images"], json.loads(str(content["facts"]))
        except FileNotFoundError as error:
            raise CalibrationError(f"{path} does not exist", remedy="make it with: edge-segface calibrate") from error
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise CalibrationError(
                f"{path} is not a calibration set",
                found=first_line(error),
                remedy="make one with: edge-segface calibrate",
            ) from error
        loaded = cls(images, _facts(facts, path))
        if images.dtype != np.uint8 or images.ndim != 4 or loaded.facts.sha256 != hashes(images):
            raise CalibrationError(
                f"the pictures in {path} are not those that it was made of",
                remedy="make it again; it was changed or damaged",
            )
        return loaded


def check_suffix(path: Path) -> None:
    if path.suffix.lower() != ".npz":
        raise CalibrationError(f"cannot write {path}", found=path.suffix or "no suffix", remedy="name a .npz file")


def hashes(images_bgr: UInt8Array) -> tuple[str, ...]:
    return tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in images_bgr)


def _facts(content: Mapping[str, Any], path: Path) -> CalibrationInfo:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CalibrationError(f"{path} is no calibration set of this version")
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items() if name != "format"
    }
    try:
        return CalibrationInfo(**known)
    except TypeError as error:
        raise CalibrationError(f"{path} is not a calibration set", found=error) from error
