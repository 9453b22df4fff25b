"""Conversions from the command line: what is kept, what is refused, and that nothing half-made stays."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import typer

from edge_segface.assets import BUNDLED, FOLDER, PORTRAIT
from edge_segface.cli import app
from edge_segface.engine.ncnn import NcnnNetwork
from edge_segface.engine.planes import FloatPlanes, labels_of, rgb_planes
from edge_segface.errors import EdgeSegfaceError, ModelError, OutputError, ParityError
from edge_segface.export.comparison import SampleCrops
from edge_segface.export.targets import CHIPS, TARGETS, Options, portable
from edge_segface.export.targets.convert import convert, export_to
from edge_segface.frames import UInt8Array
from edge_segface.models import load_engine
from edge_segface.spec import TargetRecord
from tests.cli.test_interface import choices
from tests.conftest import run_cli

EDGE = BUNDLED["edge-256"]


def test_portable_files_work_in_another_program(tmp_path: Path) -> None:
    out = tmp_path / "edge.onnx"
    result = run_cli("export", "edge-256", "--format", "portable", "-o", out)
    assert result.returncode == 0, result.stderr
    assert "100.000 % of pixels as in ONNX Runtime" in result.stdout
    metadata = {item.key: item.value for item in onnx.load(out).metadata_props}
    assert metadata["imgsz"] == "[256, 256]"
    assert eval(metadata["names"])[16] == "hat"  # as ultralytics reads it
    network = cv2.dnn.readNetFromONNX(str(out))
    sample = SampleCrops(256)
    network.setInput(rgb_planes(sample.crops[0]))
    with load_engine("edge-256", runtime="onnxruntime") as engine:
        expected = engine.infer(sample.crops[:1])[0]
    assert np.mean(labels_of(network.forward()[0], 256) == expected) > 0.999
    with pytest.raises(ModelError, match="is a portable file, for other programs"):
        load_engine(out)


def test_ncnn_is_a_model_like_any_other(tmp_path: Path) -> None:
    out = tmp_path / "edge.ncnn.param"
    result = run_cli("export", "edge-256", "--format", "ncnn", "-o", out)
    assert result.returncode == 0, result.stderr
    record = TargetRecord.load(out)
    assert record.model.precision == "fp16"
    assert record.agreement is not None
    assert record.agreement > 0.999
    assert set(record.files) == {"edge.ncnn.param", "edge.ncnn.bin"}
    parsed = run_cli("parse", PORTRAIT, "-m", out, "-o", tmp_path / "parsed")
    assert parsed.returncode == 0, parsed.stderr
    assert json.loads((tmp_path / "parsed" / f"{PORTRAIT.stem}.json").read_text())["faces"]
    refused = run_cli("parse", PORTRAIT, "-m", out, "-o", tmp_path / "other", "--runtime", "openvino")
    assert refused.returncode == 1
    assert "openvino does not run .param files" in refused.stderr


def test_damaged_ncnn_files_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "edge.ncnn.param"
    convert("ncnn", EDGE, out, Options())
    weights = out.with_suffix(".bin")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged or was changed .*edge.ncnn.bin does not match"):
        load_engine(out)
    weights.unlink()
    with pytest.raises(ModelError, match=r"edge.ncnn.bin does not exist"):
        load_engine(out)
    TargetRecord.path_for(out).unlink()
    weights.write_bytes(content)
    with pytest.raises(ModelError, match="has no readable record beside it"):
        load_engine(out)


def test_a_checkpoint_is_exported_on_the_way(tmp_path: Path) -> None:
    out = tmp_path / "small.ncnn.param"
    made = export_to("ncnn", str(FOLDER / "edge.pt"), out, Options(), size=128)
    assert made.record.model.input_size == 128
    with load_engine(out, threads=1) as engine:
        assert engine.infer(SampleCrops(128).crops).shape == (2, 128, 128)


def test_a_file_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mirrored(network: object, image: UInt8Array) -> FloatPlanes:
        return original(network, np.ascontiguousarray(image[:, ::-1]))  # type: ignore[arg-type]

    original = NcnnNetwork.logits
    monkeypatch.setattr(NcnnNetwork, "logits", mirrored)
    with pytest.raises(ParityError, match=r"the ncnn model differs .* at least 99 % are needed; no file was written"):
        convert("ncnn", EDGE, tmp_path / "edge.ncnn.param", Options())
    assert not list(tmp_path.iterdir())


def test_a_converter_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_planes: object) -> None:
        os.write(1, b"a banner of the converter")
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(portable, "in_opset_11", fail)
    with pytest.raises(ModelError, match=r"edge-256 cannot be converted to portable \(found: first line\)$"):
        convert("portable", EDGE, tmp_path / "edge.onnx", Options())
    assert "banner" not in capfd.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "out", "options", "message"),
    [
        ("ncnn", "edge.onnx", Options(), r"ncnn models end in .ncnn.param"),
        ("ncnn", ".ncnn.param", Options(), r"ncnn models end in .ncnn.param"),
        ("portable", "edge.onnx", Options("fp16"), "portable has no fp16 here; choose fp32"),
        ("rknn", "edge.rknn", Options("int8"), "a calibration set belongs to int8"),
        ("ncnn", "edge.ncnn.param", Options(images=np.zeros((1, 8, 8, 3), np.uint8)), "belongs to int8"),
    ],
)
def test_requests_that_make_no_sense(tmp_path: Path, name: str, out: str, options: Options, message: str) -> None:
    with pytest.raises(EdgeSegfaceError, match=message):
        export_to(name, "edge-256", tmp_path / out, options)


def test_places_that_are_taken(tmp_path: Path) -> None:
    (tmp_path / "edge.mlpackage").mkdir()
    with pytest.raises(OutputError, match="already exists"):
        export_to("coreml", "edge-256", tmp_path / "edge.mlpackage", Options())
    with pytest.raises(ModelError, match="the input size of edge-256 is fixed"):
        export_to("portable", "edge-256", tmp_path / "edge.onnx", Options(), size=128)


def test_the_command_line_offers_every_format_and_chip() -> None:
    command = typer.main.get_command(app).commands["export"]  # type: ignore[attr-defined]
    offered = {parameter.name: choices(parameter.type_descriptor.annotation) for parameter in command.params}
    assert sorted(offered["file_format"]) == sorted(["onnx", *TARGETS, "engine"])
    assert offered["chip"] == list(CHIPS)


def test_a_missing_package_names_its_extra(tmp_path: Path) -> None:
    missing = [name for name, target in TARGETS.items() if name in ("rknn", "executorch", "coreml")]
    for name in missing:
        result = run_cli("export", "edge-256", "--format", name, "-o", tmp_path / f"edge{TARGETS[name].suffix}")
        assert result.returncode == 1
        assert f"[{name}]" in result.stderr
        assert len(result.stderr.splitlines()) == 1
