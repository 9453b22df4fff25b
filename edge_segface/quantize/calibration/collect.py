"""From pictures to a calibration set, with a report in words and a contact sheet to look at."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Literal

import cv2
import numpy as np
import yaml

from edge_segface.errors import CalibrationError
from edge_segface.frames import UInt8Array
from edge_segface.labels import LabelSpace
from edge_segface.quantize.calibration.artefact import LEAST, CalibrationInfo, CalibrationSet, hashes
from edge_segface.quantize.calibration.choose import ENOUGH_PICTURES, Candidate, choose, described, enough_pixels
from edge_segface.quantize.calibration.sources import Square
from edge_segface.spec import ModelSpec

Strategy = Literal["long-tail", "random"]
TILE, COLUMNS = 96, 16


@dataclass(frozen=True)
class Definition:
    """Which pictures a set is chosen from, how many, and how."""

    dataset: str | None = None
    split: str = "train"
    labels: str | None = None
    count: int = 256
    strategy: Strategy = "long-tail"
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.count, int) or self.count < LEAST:
            raise CalibrationError("a set needs more pictures", found=self.count, remedy=f"at least {LEAST}")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise CalibrationError("a seed is a whole number from 0 on", found=self.seed)
        if self.strategy not in ("long-tail", "random"):
            raise CalibrationError(f"no strategy is called {self.strategy}", remedy="choose long-tail or random")


def collect(
    squares: Iterable[Square], spec: ModelSpec, wish: Definition, source: str, labelled_by: str
) -> CalibrationSet:
    """Looks at every square once and keeps those that are chosen. The same squares and seed give the same set."""
    candidates: list[Candidate] = []
    with tempfile.TemporaryFile() as store:  # there may be more squares than memory
        for name, square, labels in squares:
            candidates.append(described(name, square, labels, spec.space))
            store.write(square.tobytes())
        return _collected(candidates, store, spec, wish, source, labelled_by)


def _collected(
    candidates: list[Candidate], store: IO[bytes], spec: ModelSpec, wish: Definition, source: str, labelled_by: str
) -> CalibrationSet:
    if len(candidates) < LEAST:
        raise CalibrationError(
            "there is too little to calibrate on",
            found=f"{len(candidates)} pictures that show anything",
            remedy=f"give at least {LEAST}; black and empty frames do not count",
        )
    chosen = choose(candidates, wish.count, spec.space, spec.input_size, wish.seed, wish.strategy)
    kept = np.stack([_square(store, index, spec.input_size) for index in chosen])
    pixels = np.stack([candidates[index].pixels for index in chosen])
    shows = pixels >= enough_pixels(spec.input_size)
    facts = CalibrationInfo(
        input_size=spec.input_size,
        warp=spec.warp,
        label_space=spec.label_space,
        source=source,
        strategy=wish.strategy,
        seed=wish.seed,
        names=tuple(candidates[index].name for index in chosen),
        sha256=hashes(kept),
        candidates=len(candidates),
        pictures_with={part: int(count) for part, count in zip(spec.space.parts, shows.sum(axis=0), strict=True)},
        pixels_of={part: int(count) for part, count in zip(spec.space.parts, pixels.sum(axis=0), strict=True)},
        labelled_by=labelled_by,
    )
    return CalibrationSet(kept, facts)


def _square(store: IO[bytes], index: int, size: int) -> UInt8Array:
    store.seek(index * size * size * 3)
    return np.frombuffer(store.read(size * size * 3), dtype=np.uint8).reshape(size, size, 3)


def in_words(calibration: CalibrationSet, space: LabelSpace) -> str:
    """What is in a set, and what is missing from it."""
    facts, count = calibration.facts, len(calibration.images_bgr)
    lines = [
        f"{count} of {facts.candidates} pictures of {facts.source}, {facts.input_size} px, chosen by {facts.strategy}, "
        f"seed {facts.seed}; labels by {facts.labelled_by}",
        f"sha256 {calibration.sha256}",
        "",
        f"{'part':14} {'pictures':>8} {'pixels':>10}",
    ]
    tail = {space.parts[index] for index in space.long_tail}
    for part in sorted(space.parts, key=lambda part: (part not in tail, facts.pictures_with[part])):
        note = "  long tail" if part in tail else ""
        lines.append(f"{part:14} {facts.pictures_with[part]:>8} {facts.pixels_of[part]:>10}{note}")
    wanted = max(1, round(ENOUGH_PICTURES * count))
    if few := [part for part in space.parts[1:] if facts.pictures_with[part] < wanted]:
        lines += ["", f"in fewer than {wanted} pictures (an eighth): {', '.join(few)}; add pictures that show them"]
    light = calibration.images_bgr.mean(axis=(1, 2, 3))
    lines += [
        "",
        f"mean brightness from {light.min():.0f} to {light.max():.0f}, half of them below {np.median(light):.0f}",
    ]
    return "\n".join(lines) + "\n"


def contact_sheet(calibration: CalibrationSet) -> UInt8Array:
    tiles = [
        np.asarray(cv2.resize(image, (TILE, TILE), interpolation=cv2.INTER_AREA)) for image in calibration.images_bgr
    ]
    rows = -(-len(tiles) // COLUMNS)
    sheet = np.full((rows * TILE, min(len(tiles), COLUMNS) * TILE, 3), 255, dtype=np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // COLUMNS * TILE, index % COLUMNS * TILE
        sheet[top : top + TILE, left : left + TILE] = tile
    return sheet


def load_definition(path: Path) -> Definition:
    """A YAML file of calibration/."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Definition(**content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CalibrationError(f"{path} is not readable", found=" ".join(str(error).split())[:200]) from error
    except TypeError as error:
        keys = ", ".join(field.name for field in fields(Definition))
        raise CalibrationError(f"{path} defines no calibration set", found=error, remedy=f"its keys: {keys}") from error
