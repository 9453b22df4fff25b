"""Lower precision, on the bundled network and small ones."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edge_segface.data import Dataset
from edge_segface.data.synthetic.drawn import open_drawn
from edge_segface.engine.tensorrt.build import PlanSettings, build_plan
from edge_segface.errors import CalibrationError, ModelError, QuantizeError
from edge_segface.evaluate import Scores
from edge_segface.export.onnx_export import export_onnx
from edge_segface.face.parser import FaceParser
from edge_segface.files import sha256_of
from edge_segface.labels import CELEBAMASK19
from edge_segface.metrics import ConfusionMatrix
from edge_segface.model.build import PRESETS
from edge_segface.model.checkpoint import load_weights
from edge_segface.models import resolve
from edge_segface.quantize.accuracy_gate import AccuracyDrop, AccuracyGate
from edge_segface.quantize.calibration.artefact import CalibrationSet, hashes
from edge_segface.quantize.calibration.collect import collect
from edge_segface.quantize.calibration.definition import Definition
from edge_segface.quantize.calibration.sources import from_dataset
from edge_segface.quantize.lint import lint
from edge_segface.quantize.modelopt import QuantizedModel, check_one_runtime, load_float
from edge_segface.quantize.pipeline import ReducedPrecision, reduce_precision
from edge_segface.quantize.qdq import Graph, int8_share, layers, macs_of, shapes_of, without_groups
from edge_segface.quantize.sensitivity import keep_until, signal_over_noise_db
from edge_segface.spec import ModelSpec
from tests.conftest import assert_one_line_error, run_cli

BUNDLED = resolve("edge-256").path
PRODUCTS = ("tokens_from_image", "image_from_tokens", "self_attention", "final_attention")  # linear layers lie deeper


@pytest.fixture(scope="module")
def faces() -> Dataset:
    dataset = open_drawn("test")
    return dataset.only(dataset.names[:12])


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibration") / "set.npz"
    with FaceParser("edge-256") as parser:
        collect(
            from_dataset(open_drawn("val"), parser),
            parser.spec,
            Definition(count=8),
            source="drawn",
            labelled_by="the dataset",
        ).save(path)
    return path


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory, calibration: Path, faces: Dataset) -> tuple[Path, ReducedPrecision]:
    out = tmp_path_factory.mktemp("int8") / "edge-256-int8.onnx"
    done: list[str] = []
    result = reduce_precision(
        BUNDLED, "int8", calibration, out, judge=AccuracyGate(faces, max_drop=5.0), scan=True,
        on_work=lambda words, count: done.append(words) if count < 0 else None,
    )  # fmt: skip
    assert done.count("calibrating") >= 8  # what a progress bar counts
    return out, result


@pytest.fixture(scope="module")
def fp16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fp16") / "edge-256-fp16.onnx"
    reduce_precision(BUNDLED, "fp16", None, out)
    return out


def spec_of(path: Path) -> ModelSpec:
    return ModelSpec.from_metadata({entry.key: entry.value for entry in onnx.load(path).metadata_props}, path)


def test_int8_does_most_of_the_work_and_keeps_bytes_at_both_ends(int8: tuple[Path, ReducedPrecision]) -> None:
    path, result = int8
    model = onnx.load(path)
    assert int8_share(model) == result.lowered.int8_share > 0.9
    [image], [labels] = model.graph.input, model.graph.output
    assert image.type.tensor_type.elem_type == labels.type.tensor_type.elem_type == TensorProto.UINT8
    assert result.agreement > 0.94  # on drawn faces, which are nothing that this network knows
    assert path.stat().st_size < 0.9 * BUNDLED.stat().st_size  # which holds 16 bits a weight
    stored = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert not stored & {tensor.name for tensor in model.graph.initializer}  # weights are stored as they are used


def test_attention_products_and_the_wrapping_stay_in_floating_point(int8: tuple[Path, ReducedPrecision]) -> None:
    graph = Graph(onnx.load(int8[0]))
    for node in graph.nodes:
        attention = node.op_type == "MatMul" and node.name.split("/")[-2] in PRODUCTS
        if (
            node.op_type in ("Softmax", "LayerNormalization")
            or attention
            or node.name.startswith(("/before", "/after"))
        ):
            makers = [graph.producer[name].op_type for name in node.input if name in graph.producer]
            assert "DequantizeLinear" not in makers, node.name


def test_every_quantized_product_has_constant_weights(int8: tuple[Path, ReducedPrecision]) -> None:
    graph = Graph(onnx.load(int8[0]))
    products = [node for node in graph.nodes if node.op_type == "MatMul" and graph.is_quantized(node)]
    assert len(products) > 10
    assert all(any(graph.is_constant(name) for name in node.input) for node in products)


def test_a_lowered_file_says_what_it_is(int8: tuple[Path, ReducedPrecision], fp16: Path, calibration: Path) -> None:
    path, result = int8
    spec = spec_of(path)
    assert (spec.precision, spec.preset, spec.input_size) == ("int8", "edge", 256)
    assert spec.calibration_sha256 == CalibrationSet.load(calibration).sha256
    assert spec.f1_drop is not None
    assert result.verdict is not None
    assert spec.f1_drop == result.verdict.by_name()
    assert "nvidia-modelopt" in spec.made_by
    half = spec_of(fp16)
    assert (half.precision, half.f1, half.f1_drop) == ("fp16", None, None)
    with FaceParser(fp16) as parser, FaceParser("edge-256") as before:
        image = open_drawn("test")[0].image_bgr
        assert (parser(image).labels == before(image).labels).mean() > 0.995


def test_tensorrt_rtx_builds_every_lowered_file(int8: tuple[Path, ReducedPrecision], fp16: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86-64 only")
    for path in (int8[0], fp16):
        plan = build_plan("tensorrt-rtx", path.read_bytes(), spec_of(path), PlanSettings((1, 2, 4)))
        assert plan.layers["half"] > plan.layers.get("float", 0)
        assert ("int8" in plan.layers) == (path == int8[0])


def test_groups_are_ranked_worst_first_and_can_be_taken_out(int8: tuple[Path, ReducedPrecision]) -> None:
    _, result = int8
    noise = [one.noise_db for one in result.ranked]
    assert noise == sorted(noise)
    assert sum(one.work for one in result.ranked) == pytest.approx(result.lowered.int8_share, abs=1e-6)
    worst = result.ranked[0].group
    kept = without_groups(result.lowered.model, [worst])
    onnx.checker.check_model(kept, full_check=True)
    assert {layer.group for layer in layers(kept) if layer.quantized} == {one.group for one in result.ranked} - {worst}
    assert int8_share(kept) == pytest.approx(result.lowered.int8_share - result.ranked[0].work, abs=1e-6)


def test_multiply_adds_are_counted_as_torch_counts_them(int8: tuple[Path, ReducedPrecision]) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = PRESETS["edge"](19).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.backbone(torch.zeros(1, 3, 256, 256))
    ours = sum(layer.macs for layer in layers(load_float(BUNDLED)[0]) if "/backbone/" in layer.name)
    assert 2 * ours == pytest.approx(counter.get_total_flops(), rel=0.01)
    graph = Graph(onnx.load(int8[0]))
    stem = next(node for node in graph.nodes if node.name == "/network/backbone/conv_stem/Conv")
    assert macs_of(stem, shapes_of(graph.model), graph) == 128 * 128 * 16 * 27


def test_the_linter_passes_what_we_write_and_names_what_tensorrt_refuses(
    int8: tuple[Path, ReducedPrecision], fp16: Path
) -> None:
    good = onnx.load(int8[0])
    assert lint(good) == []
    assert lint(onnx.load(fp16)) == []

    def broken(change: object) -> str:
        model = onnx.ModelProto()
        model.CopyFrom(good)
        change(model)  # type: ignore[operator]
        return "; ".join(map(str, lint(model)))

    def zero_point(model: onnx.ModelProto, values: np.ndarray) -> None:
        node = next(n for n in model.graph.node if n.op_type == "QuantizeLinear")
        model.graph.initializer.append(numpy_helper.from_array(values, "zero"))
        node.input[2] = "zero"

    def no_zero_point(model: onnx.ModelProto) -> None:
        del next(n for n in model.graph.node if n.op_type == "QuantizeLinear").input[2:]

    def one_scale(model: onnx.ModelProto) -> None:
        graph = Graph(model)
        conv = next(n for n in graph.nodes if n.op_type == "Conv" and graph.is_quantized(n))
        dequantize = graph.producer[conv.input[1]]
        model.graph.initializer.append(numpy_helper.from_array(np.array(0.1, np.float16), "one"))
        dequantize.input[1] = "one"

    def integer_product(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("MatMulInteger", ["a", "b"], ["c"], name="bad"))

    def bytes_first(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Transpose", ["image"], ["turned"], name="bad"))

    def int32_bias(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(4, np.int32), "bias"))
        model.graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "s"))
        model.graph.node.append(helper.make_node("DequantizeLinear", ["bias", "s"], ["b"], name="bad"))

    def split(model: onnx.ModelProto) -> None:
        graph = Graph(model)
        relu = next(n for n in graph.nodes if n.op_type == "Relu" and graph.producer[n.input[0]].op_type == "Conv")
        conv = graph.producer[relu.input[0]]
        pair = next(n for n in graph.nodes if n.op_type == "QuantizeLinear")
        model.graph.node.append(
            helper.make_node("QuantizeLinear", [conv.output[0], *pair.input[1:]], ["q"], name="bad")
        )
        model.graph.node.append(helper.make_node("DequantizeLinear", ["q", *pair.input[1:]], ["d"], name="bad2"))
        relu.input[0] = "d"

    assert "uint8 quantization" in broken(lambda model: zero_point(model, np.array(0, np.uint8)))
    assert "zero point that is not 0" in broken(lambda model: zero_point(model, np.array(3, np.int8)))
    assert "no zero point, so the type is uint8" in broken(no_zero_point)
    assert "each output channel needs its own" in broken(one_scale)
    assert "operator of integer arithmetic" in broken(integer_product)
    assert "bytes transposed before they are cast" in broken(bytes_first)
    assert "int32 bias" in broken(int32_bias)
    assert "between a convolution and its activation" in broken(split)


def verdict(before: np.ndarray, after: np.ndarray, pictures: int, max_drop: float) -> AccuracyDrop:
    """Of hits out of 1000 pixels of each class."""
    scores = []
    for hits in (before, after):
        matrix = ConfusionMatrix(CELEBAMASK19)
        matrix.counts[np.arange(19), np.arange(19)] = hits
        matrix.counts[:, 0] += 1000 - hits
        scores.append(Scores(matrix, np.zeros(19, np.int64), 50))
    return AccuracyDrop(scores[0], scores[1], np.full(19, pictures), max_drop)


def test_the_gate_names_the_classes_that_lose_too_much() -> None:
    before = np.full(19, 900)
    after = before.copy()
    after[17] = 850
    closed = verdict(before, after, 40, 1.0)
    assert closed.too_much() == [f"ear_r {closed.drops[17]:.2f}"]
    with pytest.raises(QuantizeError, match="loses more than 1.0 F1.*ear_r 2"):
        closed.check()
    verdict(before, after, 20, 1.0).check()  # too few pictures to judge one class by
    after[1:] = 850
    assert verdict(before, after, 20, 1.0).too_much()[0].startswith("the mean 2.")
    verdict(before, before, 40, 0.0).check()
    stray = verdict(before, before, 40, 0.5)  # one pixel of a class that no mask shows
    stray.pictures_with[18] = 0
    for scores, count in ((stray.before, 0), (stray.after, 1)):
        scores.matrix.counts[18] = 0
        scores.matrix.counts[:, 18] = 0
        scores.matrix.counts[0, 18] = count
    assert np.isnan(stray.drops[18])
    assert stray.mean_drop == pytest.approx(0, abs=0.01)


def test_a_closed_gate_writes_nothing_unless_allowed(calibration: Path, faces: Dataset, tmp_path: Path) -> None:
    impossible = AccuracyGate(faces, max_drop=-100.0)
    for allow in (False, True):
        out = tmp_path / f"{allow}.onnx"
        if allow:
            result = reduce_precision(BUNDLED, "fp16", None, out, judge=impossible, allow_drop=True)
            assert result.verdict is not None
            assert spec_of(out).f1_drop == result.verdict.by_name()
        else:
            with pytest.raises(QuantizeError, match="loses more than"):
                reduce_precision(BUNDLED, "fp16", None, out, judge=impossible)
            assert not out.exists()


def test_layers_are_kept_by_hand_or_until_little_enough_is_lost(
    calibration: Path, faces: Dataset, int8: tuple[Path, ReducedPrecision], tmp_path: Path
) -> None:
    with pytest.raises(QuantizeError, match="no layer is called 'refine_half'.*--keep"):
        reduce_precision(BUNDLED, "int8", calibration, tmp_path / "a.onnx", keep=["refine_half"])
    with pytest.raises(QuantizeError, match="is no regular expression"):
        reduce_precision(BUNDLED, "int8", calibration, tmp_path / "a.onnx", keep=["("])
    result = reduce_precision(BUNDLED, "int8", calibration, tmp_path / "a.onnx", keep=[".*/refine_half/.*"])
    assert spec_of(tmp_path / "a.onnx").kept == {".*/refine_half/.*": "asked for"}
    assert "refinement at half" not in {layer.group for layer in layers(result.lowered.model) if layer.quantized}
    judge = AccuracyGate(faces, max_drop=0.0)
    asked: list[float] = []

    def lenient_in_the_end(lowered: QuantizedModel) -> AccuracyDrop:
        asked.append(lowered.int8_share)
        seen = judge(BUNDLED, lowered)
        return replace(seen, max_drop=-100.0 if len(asked) < 3 else 100.0)

    ranked = int8[1].ranked
    settled, _ = keep_until(result.lowered, ranked, lenient_in_the_end)
    assert len(asked) == 3
    assert asked == sorted(asked, reverse=True)
    assert set(settled.spec.kept or {}) == {".*/refine_half/.*", ranked[0].group, ranked[1].group}
    settled.save(tmp_path / "b.onnx")
    assert spec_of(tmp_path / "b.onnx").kept == settled.spec.kept


def test_paper_at_512_is_quantized_too(tmp_path: Path, official_checkpoints: dict[str, Path]) -> None:
    source = tmp_path / "paper-512.onnx"
    export_onnx(load_weights(official_checkpoints["celebamask19"]), source, size=512)
    with FaceParser(source) as parser:
        made = collect(
            from_dataset(open_drawn("val"), parser),
            parser.spec,
            Definition(count=8),
            source="drawn",
            labelled_by="the dataset",
        )
    made.save(tmp_path / "set.npz")
    result = reduce_precision(source, "int8", tmp_path / "set.npz", tmp_path / "paper-512-int8.onnx")
    assert result.lowered.int8_share > 0.9
    assert lint(onnx.load(tmp_path / "paper-512-int8.onnx")) == []
    assert (tmp_path / "paper-512-int8.onnx").stat().st_size < source.stat().st_size / 2  # no constant is there twice


def test_the_bundled_int8_file_was_made_of_the_bundled_model() -> None:
    spec = spec_of(resolve("edge-256-int8").path)
    assert spec.precision == "int8"
    assert spec.parent_sha256 == sha256_of(BUNDLED)
    assert spec.f1_drop is not None
    assert lint(onnx.load(resolve("edge-256-int8").path)) == []


def test_what_cannot_be_quantized_says_why(
    int8: tuple[Path, ReducedPrecision], calibration: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.onnx"
    with pytest.raises(QuantizeError, match="is in int8 already"):
        reduce_precision(int8[0], "int8", calibration, out)
    with pytest.raises(QuantizeError, match="int8 needs a calibration set"):
        reduce_precision(BUNDLED, "int8", None, out)
    foreign = tmp_path / "foreign.onnx"
    node = helper.make_node("Relu", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph([node], "g", value[:1], value[1:])), foreign)
    with pytest.raises(ModelError, match="has no ModelSpec"):
        reduce_precision(foreign, "int8", calibration, out)
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(ModelError, match="is not an ONNX file"):
        reduce_precision(tmp_path / "text.onnx", "int8", calibration, out)
    full = CalibrationSet.load(calibration)
    small = np.ascontiguousarray(full.images_bgr[:, ::2, ::2])
    CalibrationSet(small, replace(full.info, input_size=128, sha256=hashes(small))).save(tmp_path / "small.npz")
    with pytest.raises(CalibrationError, match="not made for edge-256"):
        reduce_precision(BUNDLED, "int8", tmp_path / "small.npz", out)
    with pytest.raises(QuantizeError, match="name an .onnx file"):
        reduce_precision(BUNDLED, "int8", calibration, tmp_path / "out.bin")
    assert not out.exists()


def test_two_runtimes_over_each_other_are_noticed(tmp_path: Path) -> None:
    check_one_runtime()
    for package in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{package}-1.2.3.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2.3\n")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from edge_segface.export.quantize import check_one_runtime; check_one_runtime()"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "two distributions of ONNX Runtime" in result.stderr
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in result.stderr


def test_noise_is_measured_in_decibels() -> None:
    exact = np.ones((1, 2, 4, 4))
    assert signal_over_noise_db(exact, exact * 1.1) == pytest.approx(20.0)
    assert signal_over_noise_db(exact, exact) == float("inf")


def test_the_command_prints_the_drop_and_refuses_what_it_must(calibration: Path, tmp_path: Path) -> None:
    good = run_cli("quantize", "edge-256", "--precision", "fp16", "--out", tmp_path / "a.onnx", "--dataset", "drawn",
                   "--split", "test", "--max-drop", "100")  # fmt: skip
    assert good.returncode == 0, good.stderr
    for words in ("F1 before and after", "neck_l", "long tail", "of pixels as in fp32"):
        assert words in good.stdout
    bad = run_cli(
        "quantize", "edge-256", "--precision", "int8", "--out", tmp_path / "b.onnx", "--calibration", "none.npz"
    )
    assert_one_line_error(bad, "none.npz does not exist", "edge-segface calibrate")
