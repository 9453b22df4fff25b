"""Whole examples of what each target reads, from which damaged ones are made."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_segface.assets import PORTRAIT
from edge_segface.quantize.calibration.artefact import FORMAT, hashes
from edge_segface.spec import to_json
from edge_segface.train.recipe import FOLDER as RECIPES
from tests.fuzz.servers import motion_jpeg_of
from tests.test_spec import RECORD, SPEC


def images() -> list[bytes]:
    found = []
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"):
        buffer = io.BytesIO()
        Image.open(PORTRAIT).resize((24, 24)).save(buffer, kind)
        found.append(buffer.getvalue())
    return found


def jpegs() -> list[bytes]:
    """Return frames of a camera, the last of another size."""
    found = []
    for side in (48, 48, 48, 64):
        buffer = io.BytesIO()
        Image.open(PORTRAIT).resize((side, side)).save(buffer, "JPEG")
        found.append(buffer.getvalue())
    return found


def masks() -> list[bytes]:
    found = []
    for mode in ("L", "P", "1", "RGB", "LA", "I;16"):
        buffer = io.BytesIO()
        Image.new(mode, (16, 16)).save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


def calibration_info(pictures: npt.NDArray[Any]) -> dict[str, Any]:
    """Return what a calibration set says about its images (n, s, s, 3)."""
    return {
        "format": FORMAT, "input_size": pictures.shape[1], "warp": None, "label_space": "celebamask19", "source": "x",
        "names": ["a"] * len(pictures), "strategy": "random", "seed": 0, "sha256": list(hashes(pictures)),
        "candidates": 9, "pictures_with": {}, "pixels_of": {}, "labelled_by": "x",
    }  # fmt: skip


def calibration_set() -> bytes:
    pictures, buffer = np.zeros((8, 128, 128, 3), np.uint8), io.BytesIO()
    np.savez_compressed(buffer, images=pictures, facts=np.array(json.dumps(calibration_info(pictures))))
    return buffer.getvalue()


EXAMPLES: dict[str, list[bytes]] = {
    "image": images(),
    "mask": masks(),
    "seal": [b"\x72\x57"],
    "calibration set": [calibration_set()],
    "definition": [b"dataset: folder\ncount: 64\nstrategy: random\n"],
    "recipe": [path.read_bytes() for path in sorted(RECIPES.glob("*.yaml"))],
    "recipe change": [b"optimizer.lr=1e-3", b"camera={scenes: 0.2}"],
    "report": [b'{"kind": "benchmark", "schema": 2, "models": []}'],
    "list of a dataset": [b"\xef\xbb\xbf0001\r\n0002\n"],
    "landmarks": [b"68\n" + b"1.5 2\n" * 68],
    "specification": [to_json(SPEC).encode()],
    "record": [to_json(RECORD).encode()],
    "credentials": [b"me:secret\n"],
    "pipeline": [b"v4l2src ! videoconvert ! appsink", b"videotestsrc pattern='red'"],
    "frame size": [b"1280x720"],
    "address": [b"127.0.0.1:8080", b"[::1]:80"],
    "redaction": [b"rtsp://me:secret@camera:554/x?password=1", b"user-pw=secret"],
    "arguments": [b"--json a.json edge-256 -j"],
    "y4m header": [b"YUV4MPEG2 W64 H48 F30:1 C420\n"],
    "request of the page": [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: none\r\nCookie: a=b\r\n\r\n",
        b"GET /healthz?a=%41 HTTP/1.1\r\nHost: 127.0.0.1:80\r\nConnection: close\r\n\r\n",
        b"POST /stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        b"PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
    "Motion JPEG": [motion_jpeg_of(jpegs())],
}
