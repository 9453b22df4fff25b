"""Official weights from the Hugging Face hub: downloads resume, and checksums are verified and recorded."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from edge_segface.documents import read_json
from edge_segface.errors import FetchError, MissingExtra, did_you_mean, first_line
from edge_segface.files import cache_folder, make_folder, sha256_of, write_error, write_text


@dataclass(frozen=True)
class Source:
    repository: str
    file: str


@dataclass(frozen=True)
class Fetched:
    path: Path
    sha256: str
    revision: str
    was_there: bool


SOURCES = {"segface-mobilenet-celeb-512": Source("kartiknarayan/SegFace", "mobilenet_celeba_512/model_299.pt")}


def path_of(name: str) -> Path:
    return cache_folder() / f"{name}.pt"


def fetch(name: str, sha256: str | None = None) -> Fetched:
    """Download a checkpoint unless it exists, and verify it.

    The first download records the hub's checksum and revision beside the file, and the file must keep that checksum.
    `sha256` requires a given one.
    """
    if name not in SOURCES:
        raise FetchError(
            f"unknown weights {name!r}", remedy=f"{did_you_mean(name, SOURCES)}choose one of {', '.join(SOURCES)}"
        )
    if sha256 is not None:
        sha256 = sha256.lower()
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise FetchError("a sha256 has 64 hexadecimal digits", found=sha256, remedy="copy it again")
    target, record_path = path_of(name), path_of(name).with_suffix(".json")
    if os.path.exists(target):
        record = _record(record_path)
        expected = sha256 or record.get("sha256")
        actual = sha256_of(target)
        if expected and actual != expected:
            raise _wrong_checksum(target, expected, actual)
        if not record:  # placed by hand
            record = _save_record(record_path, SOURCES[name], actual, "by hand")
        return Fetched(target, actual, record["revision"], was_there=True)
    return _download(SOURCES[name], target, record_path, sha256)


def _download(source: Source, target: Path, record_path: Path, sha256: str | None) -> Fetched:
    try:
        import huggingface_hub as hub
    except ModuleNotFoundError as error:
        raise MissingExtra("huggingface_hub", "train", "fetching weights") from error
    make_folder(target.parent)
    try:
        metadata = hub.get_hf_file_metadata(hub.hf_hub_url(source.repository, source.file), token=False)
        part = target.with_name(f".{target.stem}-{(metadata.etag or 'unknown')[:16]}.part")
        _append_rest(metadata.location, part, metadata.size, target.name)
    except PermissionError as error:
        raise write_error(target, error) from error
    except (hub.errors.HfHubHTTPError, hub.errors.OfflineModeIsEnabled, OSError) as error:
        raise _unreachable(source, target, error) from error
    except (
        Exception
    ) as error:  # the hub's HTTP client raises its own exceptions, and which client it is depends on the version
        if not type(error).__module__.startswith(("httpx", "httpcore", "requests", "urllib3")):
            raise
        raise _unreachable(source, target, error) from error
    actual = sha256_of(part)
    promised = metadata.etag if metadata.etag and len(metadata.etag) == 64 else None  # LFS files carry their sha256
    for expected in (sha256, promised):
        if expected and actual != expected:
            part.unlink()
            raise _wrong_checksum(part, expected, actual, "it was deleted; fetch again")
    part.replace(target)
    record = _save_record(record_path, source, actual, metadata.commit_hash or "unknown")
    return Fetched(target, actual, record["revision"], was_there=False)


def _append_rest(url: str, part: Path, size: int | None, shown_as: str) -> None:
    """Download the rest of a partial file.

    The hub's own download resumes within one run only, hence its internal calls.

    The file is public, so no token is sent, least of all to the host that the hub redirects to.
    """
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    if size is not None and os.path.exists(part) and part.stat().st_size > size:
        part.unlink()
    with open(part, "r+b" if os.path.exists(part) else "w+b") as file:
        there = file.seek(0, 2)
        http_get(
            url,
            file,
            resume_size=there,
            headers=build_hf_headers(token=False),
            expected_size=size,
            displayed_filename=shown_as,
        )


def _record(path: Path) -> dict[str, str]:
    if not os.path.exists(path):
        return {}
    try:
        record = read_json(path)
        return {"sha256": str(record["sha256"]), "revision": str(record["revision"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FetchError(
            f"{path} is not the record of a download", found=first_line(error), remedy="delete it and fetch again"
        ) from error


def _save_record(path: Path, source: Source, sha256: str, revision: str) -> dict[str, str]:
    record = {"repository": source.repository, "file": source.file, "revision": revision, "sha256": sha256}
    write_text(json.dumps(record, indent=2) + "\n", path)
    return record


def _unreachable(source: Source, target: Path, error: BaseException) -> FetchError:
    return FetchError(
        f"{source.file} of {source.repository} could not be downloaded",
        found=first_line(error),
        remedy=(
            "run the same command again to resume, or download it by hand from "
            f"https://huggingface.co/{source.repository}/resolve/main/{source.file} and save it as {target}"
        ),
    )


def _wrong_checksum(path: Path, expected: str, actual: str, remedy: str = "delete it and fetch again") -> FetchError:
    return FetchError(f"{path} does not have the sha256 {expected}", found=actual, remedy=remedy)
