"""What reads bytes of strangers, as functions that may raise our own errors and nothing else.

Hypothesis gives them damaged examples in every run of the tests, and `make fuzz` gives them to Atheris.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edge_segface.bench.results import load_report
from edge_segface.camera.sources import size_from
from edge_segface.camera.sources.base import Credentials
from edge_segface.camera.sources.pipelines import user_pipeline
from edge_segface.camera.sources.y4m import fps_from_header, size_from_header
from edge_segface.camera.viewer.address import parse_address
from edge_segface.cli.command import with_json_file
from edge_segface.data.readers.files import read_lines, read_mask
from edge_segface.data.readers.landmarks import read_points
from edge_segface.data.sample import SampleError
from edge_segface.errors import EdgeSegfaceError
from edge_segface.image_io import read_image
from edge_segface.quantize.calibration.artefact import CalibrationSet
from edge_segface.quantize.calibration.definition import load_definition
from edge_segface.redaction import redact
from edge_segface.seal import check_seal
from edge_segface.spec import METADATA_KEY, EngineRecord, ModelSpec, from_json
from edge_segface.train.recipe import load_recipe
from tests.fuzz.servers import motion_jpeg, page_request

Target = Callable[[bytes], None]


def of_file(suffix: str, read: Callable[[Path], object]) -> Target:
    """Return a target that writes the bytes into a file and reads that."""

    def target(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a{suffix}"
            path.write_bytes(content)
            with suppress(EdgeSegfaceError, SampleError):
                read(path)

    return target


def of_text(read: Callable[[str], object]) -> Target:
    """Return a target that reads the bytes as a text with whatever a command line or a file name may contain."""

    def target(content: bytes) -> None:
        with suppress(EdgeSegfaceError):
            read(content.decode("utf-8", "surrogateescape"))

    return target


def spec_in(text: str) -> ModelSpec:
    return ModelSpec.from_metadata({METADATA_KEY: text}, Path("a.onnx"))


def record_in(text: str) -> EngineRecord:
    return from_json(EngineRecord, text, Path("a.json"))


def y4m_header(content: bytes) -> None:
    size_from_header(content)
    fps_from_header(content)


TARGETS: dict[str, Target] = {
    "image": of_file(".png", read_image),
    "mask": of_file(".png", read_mask),
    "seal": of_file(".onnx", check_seal),
    "calibration set": of_file(".npz", CalibrationSet.load),
    "definition": of_file(".yaml", load_definition),
    "recipe": of_file(".yaml", lambda path: load_recipe(str(path))),
    "recipe change": of_text(lambda text: load_recipe("edge", [text])),
    "report": of_file(".json", load_report),
    "list of a dataset": of_file(".txt", read_lines),
    "landmarks": of_file(".txt", lambda path: read_points(path, 68)),
    "specification": of_text(spec_in),
    "record": of_text(record_in),
    "credentials": of_text(Credentials.parse),
    "pipeline": of_text(user_pipeline),
    "frame size": of_text(size_from),
    "address": of_text(parse_address),
    "redaction": of_text(redact),
    "arguments": of_text(lambda text: with_json_file(text.split())),
    "y4m header": y4m_header,
    "request of the page": page_request,
    "Motion JPEG": motion_jpeg,
}
