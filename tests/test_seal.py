"""Damage in a model file is noticed when it is loaded, wherever it is."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import onnx
import pytest

from edge_segface.build import BuildRequest, build_engine
from edge_segface.engine.onnxruntime import spec_of
from edge_segface.engine.openvino.engine import OpenVinoEngine
from edge_segface.errors import ModelError
from edge_segface.models import resolve
from edge_segface.seal import KEY, check_seal
from tests.support.tiny_onnx import write_tiny_onnx


def test_every_changed_byte_is_an_error_or_leaves_the_content(tmp_path: Path) -> None:
    content = write_tiny_onnx(tmp_path / "a.onnx").read_bytes()
    assert check_seal(tmp_path / "a.onnx")
    spec = spec_of(tmp_path / "a.onnx")
    for at in range(len(content)):
        path = tmp_path / f"{at}.onnx"
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(ModelError):
            spec_of(path)
    for end in random.Random(0).sample(range(len(content)), 100):
        path = tmp_path / f"cut-{end}.onnx"
        path.write_bytes(content[:end])
        with pytest.raises(ModelError):
            spec_of(path)
    assert onnx.load(tmp_path / "a.onnx").metadata_props[-1].key == KEY
    assert spec.sealed


def test_bundled_models_are_sealed() -> None:
    for name in ("edge-256", "edge-256-int8", "lite-384"):
        assert check_seal(resolve(name).path)
        assert spec_of(resolve(name).path).sealed


def test_a_foreign_file_is_said_to_have_no_checksum(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = onnx.load(write_tiny_onnx(tmp_path / "a.onnx"))
    for entry in list(model.metadata_props):
        if entry.key == KEY:
            model.metadata_props.remove(entry)
        else:
            entry.value = entry.value.replace('"sealed": true', '"sealed": false')
    onnx.save(model, tmp_path / "b.onnx")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            spec_of(tmp_path / "b.onnx")
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'b.onnx'} has no checksum, so damage in it would not be noticed"
    ]


def test_both_files_of_openvino_are_covered(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    path = tmp_path / "a.xml"
    build_engine(BuildRequest(str(write_tiny_onnx(tmp_path / "a.onnx")), path, "openvino"))
    OpenVinoEngine(path).close()
    xml, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    path.with_suffix(".bin").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(ModelError, match="damaged or was changed"):
        OpenVinoEngine(path)
    path.with_suffix(".bin").write_bytes(weights)
    path.write_bytes(xml.replace(b"layer", b"laver", 1))
    with pytest.raises(ModelError, match="damaged or was changed"):
        OpenVinoEngine(path)
    path.write_bytes(xml[: xml.rindex(b"<!--")])
    with pytest.raises(ModelError, match="its checksum is missing"):
        OpenVinoEngine(path)
