"""From an fp32 file to one in fp16 or int8."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_segface.data import Dataset
from edge_segface.data.synthetic.drawn import open_drawn
from edge_segface.engine.onnxruntime import spec_of
from edge_segface.engine.tensorrt.build import PlanSettings, build_plan
from edge_segface.errors import CalibrationError, ModelError, QuantizeError
from edge_segface.export.onnx_export import export_onnx
from edge_segface.face.parser import FaceParser
from edge_segface.files import sha256_of
from edge_segface.models import resolve
from edge_segface.quantize.accuracy_gate import AccuracyGate
from edge_segface.quantize.calibration.artefact import CalibrationSet, hashes
from edge_segface.quantize.calibration.collect import collect
from edge_segface.quantize.calibration.definition import Definition
from edge_segface.quantize.calibration.sources import from_dataset
from edge_segface.quantize.graph_info import int8_share
from edge_segface.quantize.lint import lint
from edge_segface.quantize.modelopt import check_one_runtime
from edge_segface.quantize.options import Int8Options
from edge_segface.quantize.pipeline import QuantizeResult, quantize, quantize_fp16, quantize_int8
from tests.conftest import assert_one_line_error, run_cli
from tests.quantize.conftest import BUNDLED, KEPT_PATTERN, RecordedProgress
from tests.support.weights import weights_of


def test_int8_file_does_most_of_its_work_in_int8(int8: tuple[Path, QuantizeResult]) -> None:
    path, result = int8
    model = onnx.load(path)
    assert int8_share(model) == result.model.int8_share > 0.85
    assert result.agreement > 0.94  # on drawn faces, which this network was not trained on
    assert path.stat().st_size < 0.9 * BUNDLED.stat().st_size  # which stores 16 bits a weight
    quantized_at_load = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert not quantized_at_load & {tensor.name for tensor in model.graph.initializer}  # weights are stored in int8


def test_int8_file_keeps_byte_input_and_byte_output(int8: tuple[Path, QuantizeResult]) -> None:
    graph = onnx.load(int8[0]).graph
    types = [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)]
    assert types == [TensorProto.UINT8, TensorProto.UINT8]


def test_int8_spec_records_calibration_drop_and_kept_layers(
    int8: tuple[Path, QuantizeResult], calibration: Path
) -> None:
    path, result = int8
    spec = spec_of(path)
    assert (spec.precision, spec.preset, spec.input_size) == ("int8", "edge", 256)
    assert spec.calibration_sha256 == CalibrationSet.load(calibration).sha256
    assert spec.parent_sha256 == sha256_of(BUNDLED)
    assert result.drop is not None
    assert spec.f1_drop == result.drop.by_name()
    assert spec.kept == {KEPT_PATTERN: "requested"}
    assert "nvidia-modelopt" in spec.made_by


def test_int8_progress_counts_calibration_images(
    int8: tuple[Path, QuantizeResult], int8_progress: RecordedProgress, few_faces: Dataset
) -> None:
    assert int8_progress.steps["calibrating int8"] >= 8
    assert int8_progress.steps["scoring fp32"] == int8_progress.steps["scoring int8"] == len(few_faces)


def test_fp16_file_parses_as_fp32_does(fp16: Path) -> None:
    spec = spec_of(fp16)
    assert (spec.precision, spec.f1, spec.f1_drop) == ("fp16", None, None)
    image = open_drawn("test")[0].image_bgr
    with FaceParser(fp16) as half, FaceParser(BUNDLED) as full:
        assert (half(image).labels == full(image).labels).mean() > 0.995


def test_tensorrt_rtx_compiles_both_precisions(int8: tuple[Path, QuantizeResult], fp16: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")
    for path in (int8[0], fp16):
        plan = build_plan("tensorrt-rtx", path.read_bytes(), spec_of(path), PlanSettings((1, 2, 4)))
        assert plan.layers["half"] > plan.layers.get("float", 0)
        assert ("int8" in plan.layers) == (path == int8[0])


@pytest.mark.slow
def test_fp16_with_too_large_a_drop_writes_nothing(few_faces: Dataset, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match=r"F1 drops by more than -100\.0, so no file was written.*--allow-drop"):
        quantize_fp16(BUNDLED, tmp_path / "out.onnx", gate=AccuracyGate(few_faces, max_drop=-100.0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_int8_with_too_large_a_drop_writes_nothing(calibration: Path, few_faces: Dataset, tmp_path: Path) -> None:
    gate = AccuracyGate(few_faces.only(few_faces.names[:2]), max_drop=-100.0)
    with pytest.raises(QuantizeError, match="so no file was written"):
        quantize_int8(BUNDLED, calibration, tmp_path / "out.onnx", gate=gate)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_paper_preset_is_quantized_with_constants_stored_once(tmp_path: Path) -> None:
    source, out = tmp_path / "paper-256.onnx", tmp_path / "paper-256-int8.onnx"
    export_onnx(weights_of("paper"), source, size=256)
    with FaceParser(source) as parser:
        squares = from_dataset(open_drawn("val"), parser)
        collect(squares, parser.spec, Definition(count=8), "drawn", "the dataset").save(tmp_path / "set.npz")
    result = quantize_int8(source, tmp_path / "set.npz", out)
    assert result.model.int8_share > 0.9
    assert lint(onnx.load(out)) == []
    assert out.stat().st_size < source.stat().st_size / 2


def test_bundled_int8_file_was_made_from_the_bundled_model() -> None:
    path = resolve("edge-256-int8").path
    spec = spec_of(path)
    assert spec.precision == "int8"
    assert spec.parent_sha256 == sha256_of(BUNDLED)
    assert spec.f1_drop is not None
    assert lint(onnx.load(path)) == []


def test_int8_needs_a_calibration_set(tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="int8 needs a calibration set.*edge-segface calibrate"):
        quantize(BUNDLED, "int8", None, tmp_path / "out.onnx")


@pytest.mark.parametrize("options", [Int8Options(scan=True), Int8Options(keep=(KEPT_PATTERN,))])
def test_fp16_takes_no_int8_options(options: Int8Options, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="fp16 needs no calibration.*leave out"):
        quantize(BUNDLED, "fp16", None, tmp_path / "out.onnx", options=options)


def test_fp16_takes_no_calibration_set(calibration: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="fp16 needs no calibration"):
        quantize(BUNDLED, "fp16", calibration, tmp_path / "out.onnx")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"method": "mean"}, "unknown calibration method 'mean'.*entropy, max, percentile"),
        ({"rest": "int4"}, "the rest cannot be in 'int4'"),
        ({"percentile": 120.0}, "percentile must be from 50 to 100"),
        ({"keep": ("(",)}, "is not a valid regular expression"),
    ],
)
def test_int8_options_are_checked(options: dict[str, object], error: str) -> None:
    with pytest.raises(QuantizeError, match=error):
        Int8Options(**options)  # type: ignore[arg-type]


def test_pattern_must_match_a_layer(calibration: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="no layer matches 'refine_half'.*--keep"):
        quantize_int8(BUNDLED, calibration, tmp_path / "out.onnx", options=Int8Options(keep=("refine_half",)))


def test_source_must_be_an_fp32_file_of_ours(calibration: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    foreign, text = tmp_path / "foreign.onnx", tmp_path / "text.onnx"
    node = helper.make_node("Relu", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph([node], "g", values[:1], values[1:])), foreign)
    text.write_text("text")
    for source, error, message in (
        (resolve("edge-256-int8").path, QuantizeError, "is already in int8"),
        (foreign, ModelError, "has no ModelSpec"),
        (text, ModelError, "is not an ONNX file"),
        (tmp_path / "missing.onnx", ModelError, "does not exist"),
    ):
        with pytest.raises(error, match=message):
            quantize_int8(source, calibration, out)
    assert not out.exists()


def test_calibration_set_must_fit_the_model(calibration: Path, tmp_path: Path) -> None:
    full = CalibrationSet.load(calibration)
    small = np.ascontiguousarray(full.images_bgr[:, ::2, ::2])
    CalibrationSet(small, replace(full.info, input_size=128, sha256=hashes(small))).save(tmp_path / "small.npz")
    with pytest.raises(CalibrationError, match="not made for edge-256"):
        quantize_int8(BUNDLED, tmp_path / "small.npz", tmp_path / "out.onnx")


def test_output_must_be_an_onnx_file(calibration: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="name an .onnx file"):
        quantize_int8(BUNDLED, calibration, tmp_path / "out.bin")
    with pytest.raises(QuantizeError, match="name an .onnx file"):
        quantize_fp16(BUNDLED, tmp_path / "out.bin")


def test_two_distributions_of_onnx_runtime_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_one_runtime()
    for package in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{package}-1.2.3.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2.3\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(QuantizeError, match="two distributions of ONNX Runtime.*pip uninstall -y onnxruntime"):
        check_one_runtime()


@pytest.mark.slow
def test_quantize_command_prints_drop_agreement_and_speed(tmp_path: Path) -> None:
    result = run_cli("quantize", "edge-256", "--precision", "fp16", "--out", tmp_path / "a.onnx", "--dataset", "drawn",
                     "--split", "test", "--max-drop", "100")  # fmt: skip
    assert result.returncode == 0, result.stderr
    for words in ("F1 before and after", "neck_l", "long tail", "of pixels as in fp32", "on this processor"):
        assert words in result.stdout


def test_quantize_command_names_a_missing_calibration_set(tmp_path: Path) -> None:
    result = run_cli(
        "quantize", "edge-256", "--precision", "int8", "--out", tmp_path / "b.onnx", "--calibration", "none.npz"
    )
    assert_one_line_error(result, "none.npz does not exist", "edge-segface calibrate")
