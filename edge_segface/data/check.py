"""Passes over a whole dataset: check every sample and its labels, count the pixels of each class, load it into memory.

What a pass finds is cached until a file of the dataset changes, so a large dataset is read only the first time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_segface.data.label_check import (
    ORDERS,
    IdPlaces,
    fit_spaces,
    mixed_spaces,
    names_by_space,
    order_of,
    shortened,
    sides_contradict,
)
from edge_segface.data.sample import Dataset, Sample, SampleError
from edge_segface.documents import DocumentError, read_json
from edge_segface.errors import DatasetError, OutputError
from edge_segface.files import cache_folder, write_text
from edge_segface.progress import NO_PROGRESS, Progress
from edge_segface.typed import from_plain

CACHE_FORMAT = 5  # to be raised when readers accept other files than before, or when checks change
READ_AT_ONCE = 64

Problems = dict[str, dict[str, str]]  # kind of problem -> name of the sample -> details


@dataclass(frozen=True)
class Findings:
    """What a pass over a dataset found, by sample."""

    problems: Problems = field(default_factory=dict)
    other_space: dict[str, str] = field(default_factory=dict)  # name -> the order of parts that its mask fits better
    mirrored: list[str] = field(default_factory=list)  # masks whose left and right contradict the image


def check_samples(dataset: Dataset, *, skip_bad: bool = False, progress: Progress = NO_PROGRESS) -> Dataset:
    """Read every sample once; raise if some cannot be used, or return the dataset without them.

    Samples that failed are read again the next time: the disk or the network may have been the cause.
    """
    cache = _cache_file(dataset, "findings")
    known = _load_findings(cache)
    findings = _inspect(dataset, known, progress)
    if findings != known:
        _save_cache(asdict(findings), cache)
    problems = dict(findings.problems)
    if findings.other_space:
        if not skip_bad:
            raise _mixed(dataset, findings.other_space)
        problems["mask in another label space"] = findings.other_space
    if problems and not skip_bad:
        raise DatasetError(
            f"{sum(map(len, problems.values()))} of {len(dataset)} samples of {dataset.root} cannot be used",
            found="; ".join(f"{len(names)} {what}: {_described(names)}" for what, names in problems.items()),
            remedy="repair them, or skip them with --skip-bad",
        )
    if findings.mirrored:
        progress.note(
            f"left and right contradict the image in {len(findings.mirrored)} of {len(dataset)} masks of "
            f"{dataset.root}, as if mirrored: {shortened(findings.mirrored)}"
        )
    return _without(dataset, problems, progress)


def _without(dataset: Dataset, problems: Problems, progress: Progress) -> Dataset:
    """Return the dataset without the samples that have problems, and list them."""
    if not problems:
        return dataset
    skipped = {what: list(names) for what, names in problems.items()}
    for what, names in skipped.items():
        progress.note(f"skipped in {dataset.split}: {len(names)} with {what}: {', '.join(names[:3])}")
    bad = {name for names in skipped.values() for name in names}
    return replace(dataset, names=tuple(name for name in dataset.names if name not in bad), skipped=skipped)


def _mixed(dataset: Dataset, other_space: Mapping[str, str]) -> DatasetError:
    order = {space.name: space for space in ORDERS}
    own = order_of(dataset.mask_space or dataset.space)
    return mixed_spaces(
        dataset.root, names_by_space({name: order.get(other_space.get(name, ""), own) for name in dataset.names})
    )


def class_pixels(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Count the pixels of each class in every sample: (samples, classes)."""
    cache = _cache_file(dataset, "pixels")
    known = _load_cache(cache)
    if known is not None:
        return np.array(known["pixels"], dtype=np.int64)

    def count(index: int) -> npt.NDArray[np.int64]:
        return np.bincount(dataset[index].labels.ravel(), minlength=len(dataset.space))

    with _threads() as pool:
        pixels = np.stack(list(pool.map(count, range(len(dataset)))))
    if any(True for _ in dataset.files(dataset.names[0])):  # drawn samples have none, and may come in other sizes
        _save_cache({"pixels": pixels.tolist()}, cache)
    return pixels


def in_memory(dataset: Dataset, max_bytes: int) -> Dataset:
    """Return the dataset with all samples loaded, or unchanged if they are estimated to need more memory."""
    samples: dict[str, Sample] = {}
    with _threads() as pool:
        for start in range(0, len(dataset), READ_AT_ONCE):
            names = dataset.names[start : start + READ_AT_ONCE]
            samples.update(zip(names, pool.map(dataset.read, names), strict=True))
            used = sum(sample.image_bgr.nbytes + sample.labels.nbytes for sample in samples.values())
            if used / len(samples) * len(dataset) > max_bytes:
                return dataset
    return replace(dataset, read=samples.__getitem__)


def _inspect(dataset: Dataset, known: Findings | None, progress: Progress) -> Findings:
    """Read every sample, or where an earlier pass is known those that had problems, and return what was found."""
    names = dataset.names if known is None else [name for names in known.problems.values() for name in names]
    if not names:
        return known or Findings()
    other_space = {} if known is None else dict(known.other_space)
    mirrored = [] if known is None else list(known.mirrored)
    problems: defaultdict[str, dict[str, str]] = defaultdict(dict)
    progress.stage("checking the dataset", len(names))
    with _threads() as pool:
        for name, found in zip(names, pool.map(lambda name: _inspect_sample(dataset, name), names), strict=True):
            if isinstance(found, SampleError):
                problems[found.what][name] = found.found
            else:
                other, contradicts = found
                if other:
                    other_space[name] = other
                elif contradicts:
                    mirrored.append(name)
            progress.advance()
    return Findings(dict(problems), other_space, mirrored)


def _inspect_sample(dataset: Dataset, name: str) -> SampleError | tuple[str, bool]:
    """Return why a sample cannot be used; else the order of parts that it fits better, and if its sides contradict."""
    try:
        sample = dataset.read(name)
    except SampleError as error:
        return error
    places = IdPlaces.of(sample.labels)
    fit = fit_spaces(places) if dataset.kind == "folder" else None  # other kinds define their label space
    other = fit.contradicts(dataset.space) if fit is not None else None
    return other.name if other is not None else "", sides_contradict(places, dataset.space)


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(16, os.cpu_count() or 1))


def _cache_file(dataset: Dataset, content: str) -> Path:
    """Return the cache file for this state of the dataset: another name when any file or label space changes."""
    spaces = f"{dataset.space.name} {(dataset.mask_space or dataset.space).name}"
    digest = hashlib.sha256(f"{CACHE_FORMAT} {dataset.kind} {spaces} {dataset.root.resolve()}".encode())
    for name in dataset.names:
        for path in dataset.files(name):
            try:
                status = path.stat()
                digest.update(f"{path} {status.st_size} {status.st_mtime_ns}".encode())
            except OSError:
                digest.update(f"{path} none".encode())
    return cache_folder() / "checked" / f"{digest.hexdigest()[:32]}-{content}.json"


def _load_findings(path: Path) -> Findings | None:
    try:
        return from_plain(Findings, _load_cache(path))
    except (TypeError, ValueError):
        return None


def _load_cache(path: Path) -> Any:
    try:
        content = read_json(path)
    except DocumentError:
        return None
    return content if isinstance(content, dict) else None


def _save_cache(content: dict[str, Any], path: Path) -> None:
    with suppress(OutputError):  # without a writable cache folder, everything is read again the next time
        write_text(json.dumps(content), path)


def _described(details: Mapping[str, str]) -> str:
    return shortened([f"{name} ({found})" if found else name for name, found in details.items()])
