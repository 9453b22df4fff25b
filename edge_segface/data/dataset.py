"""A labelled set of pictures: names, one function that reads a sample, and a check that reads them all once."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.errors import DatasetError, ImageError, OutputError, first_line
from edge_segface.files import cache_folder, write_text
from edge_segface.frames import UInt8Array
from edge_segface.image_io import is_truncated, read_image
from edge_segface.labels import LabelSpace, remap_table

NAMED_AT_MOST = 3
READ_TOGETHER = 64

Points = npt.NDArray[np.float64]
OnChecked = Callable[[int, int], None]  # done, of how many
Problems = dict[str, dict[str, str]]  # what is wrong -> name of a sample -> what was found

SQUASHED = frozenset(("lapa", "helen"))  # kinds whose papers squeeze every picture to a square


class SampleError(DatasetError):
    """One sample that cannot be used. Its `what` is the kind of problem, the same words for all of that kind."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture (h, w, 3), one id per pixel (h, w), and for some datasets five landmarks (5, 2) in its pixels."""

    name: str
    image_bgr: UInt8Array
    labels: UInt8Array
    landmarks_xy: Points | None = None

    def __post_init__(self) -> None:
        if self.image_bgr.shape[:2] != self.labels.shape:
            found = f"{_size(self.image_bgr)} and {_size(self.labels)}"
            raise SampleError("picture and mask differ in size", found=found)


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a reader opens. `files` names what a sample is read from; `left_out` says which samples were unusable."""

    kind: str
    root: Path
    split: str
    space: LabelSpace
    names: tuple[str, ...]
    read: Callable[[str], Sample]
    files: Callable[[str], Iterable[Path]]
    left_out: dict[str, list[str]] = field(default_factory=dict)
    masks_in: LabelSpace | None = None  # what the files hold, where `space` is another

    def __post_init__(self) -> None:
        if not self.names:
            raise DatasetError(f"the {self.split} split of {self.root} is empty", found="no samples")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return self.read(self.names[index])

    def only(self, names: Sequence[str]) -> Dataset:
        return replace(self, names=tuple(names))

    def to_space(self, target: LabelSpace) -> Dataset:
        """The same pictures with their labels in another order; a part that the target lacks goes where it belongs."""
        if target == self.space:
            return self
        table, read = remap_table(self.space, target, drop_missing=True), self.read

        def remapped(name: str) -> Sample:
            sample = read(name)
            return replace(sample, labels=table[sample.labels])

        return replace(self, space=target, read=remapped, masks_in=self.masks_in or self.space)


def checked(dataset: Dataset, *, skip_bad: bool = False, on_checked: OnChecked | None = None) -> Dataset:
    """Reads every sample once and raises, or leaves out, what cannot be used.

    What was found good is remembered for as long as no file changes, so a large dataset is read only the first time.
    What was not is read again: it may have been the disk's fault.
    """
    stamp = cache_folder() / "checked" / f"{_fingerprint(dataset)}.json"
    bad = _remembered(stamp)
    suspects = dataset.names if bad is None else [name for names in bad.values() for name in names]
    problems = _read_all(dataset, suspects, on_checked)
    if problems != bad:
        with suppress(OutputError):  # a home that cannot be written to: the next opening reads everything again
            write_text(json.dumps(problems), stamp)
    if not problems:
        return dataset
    if not skip_bad:
        raise DatasetError(
            f"{sum(map(len, problems.values()))} of {len(dataset)} samples of {dataset.root} cannot be used",
            found="; ".join(f"{len(names)} {what}: {_few(names)}" for what, names in problems.items()),
            remedy="mend them, or leave them out with --skip-bad",
        )
    left_out = {what: list(names) for what, names in problems.items()}
    unfit = {name for names in left_out.values() for name in names}
    return replace(dataset, names=tuple(name for name in dataset.names if name not in unfit), left_out=left_out)


def class_pixels(dataset: Dataset) -> npt.NDArray[np.int64]:
    """(samples, classes): how many pixels of each class a sample has. Reads all, and remembers what it found."""
    stamp = cache_folder() / "checked" / f"{_fingerprint(dataset)}-pixels.json"
    remembered = _remembered(stamp)
    if remembered is not None:
        return np.array(remembered["pixels"], dtype=np.int64)

    def counted(index: int) -> npt.NDArray[np.int64]:
        return np.bincount(dataset[index].labels.ravel(), minlength=len(dataset.space))

    with _threads() as pool:
        pixels = np.stack(list(pool.map(counted, range(len(dataset)))))
    if any(True for _ in dataset.files(dataset.names[0])):  # what is drawn may be drawn in another size next time
        with suppress(OutputError):
            write_text(json.dumps({"pixels": pixels.tolist()}), stamp)
    return pixels


def in_memory(dataset: Dataset, at_most: int) -> Dataset:
    """The dataset with every sample read already, unless by what was read so far all take more than so many bytes."""
    samples: dict[str, Sample] = {}
    with _threads() as pool:
        for start in range(0, len(dataset), READ_TOGETHER):
            names = dataset.names[start : start + READ_TOGETHER]
            samples.update(zip(names, pool.map(dataset.read, names), strict=True))
            taken = sum(sample.image_bgr.nbytes + sample.labels.nbytes for sample in samples.values())
            if taken / len(samples) * len(dataset) > at_most:
                return dataset
    return replace(dataset, read=samples.__getitem__)


def read_lines(path: Path) -> list[str]:
    """Of a list that came with a dataset, or that a person wrote, perhaps in an editor that marks UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read", found=first_line(error), remedy="save it as UTF-8") from error


def read_sample_image(path: Path) -> UInt8Array:
    if not path.is_file():
        raise SampleError("picture missing", found=path.name)
    try:
        return read_image(path)
    except ImageError as error:
        raise SampleError("unreadable picture", found=error.found or path.name) from error


def read_mask(path: Path) -> UInt8Array:
    """A grey or palette PNG as its numbers (h, w)."""
    if not path.is_file():
        raise SampleError("mask missing", found=path.name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SampleError("unreadable mask", found=error.strerror or error) from error
    if not content or is_truncated(content):
        raise SampleError("unreadable mask", found=f"{path.name} is truncated")
    try:
        decoded = cv2.imdecode(np.frombuffer(indices_as_greys(content), dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise SampleError("unreadable mask", found=first_line(error)) from error
    if decoded is None or decoded.dtype != np.uint8:
        raise SampleError("unreadable mask", found=path.name)
    channels = np.atleast_3d(np.asarray(decoded, dtype=np.uint8))[..., :3]
    if (channels != channels[..., :1]).any():
        raise SampleError("mask with colours instead of ids", found=path.name)
    return np.ascontiguousarray(channels[..., 0])


def indices_as_greys(png: bytes) -> bytes:
    """A palette PNG with the palette i -> (i, i, i) and no transparency: what decodes it then shows its indices."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or png[25:26] != b"\x03":  # the colour type in IHDR
        return png
    greys = bytes(value for index in range(256) for value in (index, index, index))
    pieces, at = [png[:8]], 8
    while at + 8 <= len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        kind, body = png[at + 4 : at + 8], png[at + 8 : end - 4]
        if kind == b"PLTE":
            body = greys[: len(body)]
        if kind != b"tRNS":
            pieces += [len(body).to_bytes(4, "big"), kind, body, zlib.crc32(kind + body).to_bytes(4, "big")]
        at = end
    return b"".join(pieces)


def check_ids(labels: UInt8Array, space: LabelSpace) -> UInt8Array:
    if labels.max(initial=0) >= len(space):
        raise SampleError(f"mask with ids beyond {space.name}", found=f"id {labels.max()}")
    return labels


def resized_labels(labels: UInt8Array, size_wh: tuple[int, int]) -> UInt8Array:
    return np.asarray(cv2.resize(labels, size_wh, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)


def not_laid_out(kind: str, root: Path, missing: str) -> DatasetError:
    """A folder of another kind, with the kind that it looks like."""
    if not root.is_dir():
        return DatasetError(f"{root} is not a folder", remedy="give the dataset's root with --data")
    marks = {"celebamask": "CelebAMask-HQ-mask-anno", "folder": "masks", "lapa": "train/landmarks", "helen": "train"}
    like = [other for other, mark in marks.items() if other != kind and (root / mark).is_dir()]
    remedy = f"it looks like {like[0]}: say --dataset {like[0]}" if like else "give the dataset's root with --data"
    return DatasetError(f"{root} is not laid out as {kind}", found=f"no {missing}", remedy=remedy)


def check_split(split: str, possible: Sequence[str]) -> None:
    if split not in possible:
        raise DatasetError(f"there is no split {split!r}", remedy=f"choose one of {', '.join(possible)}")


def _read_all(dataset: Dataset, names: Sequence[str], on_checked: OnChecked | None) -> Problems:
    problems: defaultdict[str, dict[str, str]] = defaultdict(dict)
    with _threads() as pool:
        found = pool.map(lambda name: _problem(dataset, name), names)
        for done, (name, error) in enumerate(zip(names, found, strict=True), 1):
            if error is not None:
                problems[error.what][name] = error.found
            if on_checked is not None:
                on_checked(done, len(names))
    return dict(problems)


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(16, os.cpu_count() or 1))


def _problem(dataset: Dataset, name: str) -> SampleError | None:
    try:
        dataset.read(name)
    except SampleError as error:
        return error
    return None


def _fingerprint(dataset: Dataset) -> str:
    """Of names, sizes and times of every file and of what their ids mean: it changes when any of them does."""
    spaces = f"{dataset.space.name} {(dataset.masks_in or dataset.space).name}"
    digest = hashlib.sha256(f"3 {dataset.kind} {spaces} {dataset.root.resolve()}".encode())
    for name in dataset.names:
        for path in dataset.files(name):
            try:
                status = path.stat()
                digest.update(f"{path} {status.st_size} {status.st_mtime_ns}".encode())
            except OSError:
                digest.update(f"{path} none".encode())
    return digest.hexdigest()[:32]


def _remembered(stamp: Path) -> Any:
    try:
        content = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _few(names: Mapping[str, str]) -> str:
    words = [f"{name} ({found})" if found else name for name, found in names.items()]
    more = f" and {len(words) - NAMED_AT_MOST} more" if len(words) > NAMED_AT_MOST else ""
    return ", ".join(words[:NAMED_AT_MOST]) + more


def _size(array: UInt8Array) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
