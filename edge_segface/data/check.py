"""Passes over a whole dataset: check every sample, count the pixels of each class, load it into memory.

What a pass finds is cached until a file of the dataset changes, so a large dataset is read only the first time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_segface.data.sample import Dataset, Sample, SampleError
from edge_segface.errors import DatasetError, OutputError
from edge_segface.files import cache_folder, write_text
from edge_segface.progress import NO_PROGRESS, Progress

CACHE_FORMAT = 4  # to be raised when readers accept other files than before
SHOWN_NAMES = 3
READ_AT_ONCE = 64

Problems = dict[str, dict[str, str]]  # kind of problem -> name of the sample -> details


def check_samples(dataset: Dataset, *, skip_bad: bool = False, progress: Progress = NO_PROGRESS) -> Dataset:
    """Read every sample once; raise if some cannot be used, or return the dataset without them.

    Samples that failed are read again the next time: the disk or the network may have been the cause.
    """
    cache = _cache_file(dataset, "problems")
    known = _load_cache(cache)
    suspects = dataset.names if known is None else [name for names in known.values() for name in names]
    problems = _find_problems(dataset, suspects, progress)
    if problems != known:
        _save_cache(problems, cache)
    if not problems:
        return dataset
    if not skip_bad:
        raise DatasetError(
            f"{sum(map(len, problems.values()))} of {len(dataset)} samples of {dataset.root} cannot be used",
            found="; ".join(f"{len(names)} {what}: {_shortened(names)}" for what, names in problems.items()),
            remedy="repair them, or skip them with --skip-bad",
        )
    skipped = {what: list(names) for what, names in problems.items()}
    for what, names in skipped.items():
        progress.note(f"skipped in {dataset.split}: {len(names)} with {what}: {', '.join(names[:3])}")
    bad = {name for names in skipped.values() for name in names}
    return replace(dataset, names=tuple(name for name in dataset.names if name not in bad), skipped=skipped)


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


def _find_problems(dataset: Dataset, names: Sequence[str], progress: Progress) -> Problems:
    if not names:
        return {}
    problems: defaultdict[str, dict[str, str]] = defaultdict(dict)
    progress.stage("checking the dataset", len(names))
    with _threads() as pool:
        errors = pool.map(lambda name: _problem(dataset, name), names)
        for name, error in zip(names, errors, strict=True):
            if error is not None:
                problems[error.what][name] = error.found
            progress.advance()
    return dict(problems)


def _problem(dataset: Dataset, name: str) -> SampleError | None:
    try:
        dataset.read(name)
    except SampleError as error:
        return error
    return None


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


def _load_cache(path: Path) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _save_cache(content: dict[str, Any], path: Path) -> None:
    with suppress(OutputError):  # without a writable cache folder, everything is read again the next time
        write_text(json.dumps(content), path)


def _shortened(details: Mapping[str, str]) -> str:
    shown = [f"{name} ({found})" if found else name for name, found in list(details.items())[:SHOWN_NAMES]]
    more = f" and {len(details) - SHOWN_NAMES} more" if len(details) > SHOWN_NAMES else ""
    return ", ".join(shown) + more
