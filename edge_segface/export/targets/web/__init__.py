"""A folder for any static host: a page that parses in the browser, by ONNX Runtime Web and the modules in `site`."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_segface import __version__
from edge_segface.assets import MIN_FACE_SCORE
from edge_segface.engine.base import check_has_labels
from edge_segface.errors import EdgeSegfaceError, ModelError
from edge_segface.export.targets import Options, Run
from edge_segface.export.targets.channels_first import ChannelsFirst
from edge_segface.face.extend import EXTENDING_PARTS
from edge_segface.face_score import COUNTED, score_for
from edge_segface.files import cache_folder, make_folder, sha256_of
from edge_segface.frames import UInt8Array
from edge_segface.regions import HEAD_PARTS
from edge_segface.spec import ModelSpec

HERE = Path(__file__).parent
SITE = HERE / "site"
CHECK = HERE / "check.mjs"
# Of npm. The digest is that of the package's .tgz.
ORT_WEB = "onnxruntime-web@1.30.0"
ORT_WEB_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
ORT_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
DOWNLOAD_S, CHECK_S = 600, 120  # time limits


@contextmanager
def converted(planes: ChannelsFirst, out: Path, options: Options) -> Iterator[Run | None]:
    """Without Node, the result is None."""
    check_has_labels(planes.spec)
    if planes.spec.warp is not None:
        raise ModelError(f"{planes.spec.name} needs five landmarks, which the page has not", found=planes.spec.warp)
    shutil.copytree(SITE, out)
    shutil.copyfile(planes.source, out / "model.onnx")
    (out / "model.json").write_text(json.dumps(description(planes.spec), indent=2) + "\n", encoding="utf-8")
    _copy_ort_web(options.ort_web or _downloaded(), out / "ort")
    worker = out / "sw.js"
    worker.write_text(worker.read_text(encoding="utf-8").replace("VERSION", _version_of(out)), encoding="utf-8")
    package = {
        "name": "edge-segface-web",
        "version": __version__,
        "type": "module",
        "exports": "./edge-segface.mjs",
        "types": "./edge-segface.d.ts",
    }
    (out / "package.json").write_text(json.dumps(package, indent=2) + "\n", encoding="utf-8")
    node = shutil.which("node")
    yield None if node is None else lambda image: parse_in_node(node, out, image, whole=True)


def description(spec: ModelSpec) -> dict[str, Any]:
    """Return what the page needs to know about a model, as JSON."""
    score = score_for(spec.name)
    space = spec.space
    return {
        "name": spec.name,
        "size": spec.input_size,
        "labelSpace": spec.label_space,
        "parts": space.parts,
        "titles": space.titles,
        "palette": space.palette_rgb.tolist(),
        "groups": [space.present_ids(group) for group in COUNTED],
        "head": space.present_ids(HEAD_PARTS),
        "extending": space.present_ids(EXTENDING_PARTS),
        "score": {"coefficients": score.coefficients, "bias": score.bias},
        "minScore": MIN_FACE_SCORE,
        "trainingData": spec.training_data,
        "licence": spec.weights_licence,
    }


def parse_in_node(node: str, site: Path, image_bgr: UInt8Array, *, whole: bool = False) -> UInt8Array:
    """Parse an image with the modules of the page, outside a browser."""
    height, width = image_bgr.shape[:2]
    command = [node, str(CHECK), str(site), str(width), str(height), *(["whole"] if whole else [])]
    pixels = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGBA).tobytes()
    done = subprocess.run(command, input=pixels, capture_output=True, timeout=CHECK_S, check=False)  # noqa: S603
    if done.returncode or len(done.stdout) != height * width:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ModelError("the page cannot parse an image in Node", found=next(iter(lines), f"code {done.returncode}"))
    return np.frombuffer(done.stdout, np.uint8).reshape(height, width)


def _downloaded() -> Path:
    """Return the package of ONNX Runtime Web, from the cache or by npm."""
    folder = cache_folder() / "npm"
    kept = folder / f"{ORT_WEB.replace('@', '-')}.tgz"
    if kept.exists() and sha256_of(kept) == ORT_WEB_SHA256:
        return kept
    npm = shutil.which("npm")
    if npm is None:
        raise EdgeSegfaceError(
            "export to web needs npm, which is not installed",
            remedy=f"install it, or give the package {ORT_WEB} as a .tgz file with --ort-web",
        )
    make_folder(folder)
    command = [npm, "pack", ORT_WEB, "--silent", "--pack-destination", str(folder)]
    with tempfile.TemporaryDirectory() as empty:  # no settings of a project in the working folder apply
        done = subprocess.run(command, cwd=empty, capture_output=True, timeout=DOWNLOAD_S, check=False)  # noqa: S603
    if done.returncode or not kept.exists():
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise EdgeSegfaceError(f"npm could not download {ORT_WEB}", found=next(iter(lines), f"code {done.returncode}"))
    return kept


def _copy_ort_web(package: Path, folder: Path) -> None:
    """Unpack the files that the page loads, after a look at the checksum of the package."""
    if not package.is_file():
        raise EdgeSegfaceError(f"{package} does not exist", remedy=f"give the package {ORT_WEB} as a .tgz file")
    if (found := sha256_of(package)) != ORT_WEB_SHA256:
        raise EdgeSegfaceError(f"{package} is not {ORT_WEB}, or it is damaged", found=f"sha256 {found[:12]}...")
    folder.mkdir()
    with tarfile.open(package) as archive:
        for name in ORT_FILES:
            content = archive.extractfile(f"package/dist/{name}")
            assert content is not None  # the checksum is right
            (folder / name).write_bytes(content.read())


def _version_of(site: Path) -> str:
    """Return a digest of all files, by which the service worker tells one export from the next."""
    digest = hashlib.sha256()
    for path in sorted(site.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(site).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
