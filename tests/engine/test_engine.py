from __future__ import annotations

import dataclasses
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from openvino import opset13 as ops

from edge_segface.assets import FOLDER
from edge_segface.engine import Runtime
from edge_segface.engine.base import Engine
from edge_segface.engine.onnxruntime import OnnxRuntimeEngine
from edge_segface.engine.openvino.engine import read_model
from edge_segface.engine.openvino.layout import optimise_for_openvino
from edge_segface.errors import EngineError, ImageError, InputError, MissingExtra, ModelError
from edge_segface.export.onnx_export import export_onnx
from edge_segface.export.targets import Options
from edge_segface.export.targets.convert import convert
from edge_segface.face.parser import FaceParser
from edge_segface.frames import RoI, crop
from edge_segface.installation import install_command
from edge_segface.model.checkpoint import load_weights
from edge_segface.model.segface import normalised
from edge_segface.model.torch_engine import TorchEngine
from edge_segface.models import FORMATS, load_engine
from edge_segface.quantize.pipeline import quantize_fp16
from edge_segface.seal import KEY, sealed_onnx
from edge_segface.warp.training import WarpedSegFace

BUNDLED = FOLDER / "edge-256.onnx"
GREY = np.full((1, 256, 256, 3), 128, np.uint8)


@pytest.fixture(scope="module", params=FORMATS[".onnx"].runtimes)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    runtime: Runtime = request.param
    return runtime


@pytest.fixture(scope="module", params=(*FORMATS[".onnx"].runtimes, "ncnn"))
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    if request.param != "ncnn":
        return load_engine("edge-256", runtime=request.param, threads=2)
    out: Path = tmp_path_factory.mktemp("ncnn") / "edge-256.ncnn.param"
    return load_engine(convert("ncnn", BUNDLED, out, Options()).path, threads=2)


def test_batches_and_threads_give_what_one_gives(engine: Engine, portrait: np.ndarray) -> None:
    squares = np.stack([crop(portrait, RoI((180, 110), side), 256) for side in (200, 240, 300)])
    alone = np.concatenate([engine.infer(square[None]) for square in squares])
    assert alone.dtype == np.uint8
    assert alone.shape == (3, 256, 256)
    assert (engine.infer(squares) == alone).mean() > 0.9999
    assert np.array_equal(
        engine.infer(squares[:, ::1, ::-1][:, :, ::-1]), engine.infer(squares)
    )  # strides do not matter
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(engine.infer(squares[:1]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(labels, alone[:1]) for labels in found)
    assert len(found) == 4


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (GREY.astype(np.float32), r"float32 \(1, 256, 256, 3\)"),
        (GREY[0], r"uint8 \(256, 256, 3\)"),
        (GREY[:, :128], r"\(1, 128, 256, 3\)"),
        (GREY[..., :1], r"\(1, 256, 256, 1\)"),
        (GREY[:0], r"\(0, 256, 256, 3\)"),
        (GREY.transpose(0, 3, 1, 2), r"\(1, 3, 256, 256\)"),
        ([1, 2], "list"),
    ],
)
def test_wrong_inputs_are_rejected_with_their_shape(engine: Engine, images: np.ndarray, found: str) -> None:
    with pytest.raises(InputError, match=rf"expects uint8 BGR of shape \(n, 256, 256, 3\).*found: .*{found}"):
        engine.infer(images)


def test_an_output_that_is_not_there(engine: Engine) -> None:
    assert list(engine.infer_all(GREY)) == ["labels"]


def test_both_outputs_and_logits_alone(tmp_path: Path, runtime: Runtime) -> None:
    weights = load_weights(FOLDER / "edge.pt")
    both = export_onnx(weights, tmp_path / "both.onnx", size=128, outputs="both")
    alone = export_onnx(weights, tmp_path / "alone.onnx", size=128, outputs="logits")
    assert alone.parity.agreement is None
    squares = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    with load_engine(both.path, runtime=runtime) as engine:
        results = engine.infer_all(squares)
        assert np.array_equal(results["labels"], engine.infer(squares))
        assert results["logits"].shape == (2, 19, 32, 32)
    with load_engine(alone.path, runtime=runtime) as engine:
        assert np.allclose(engine.infer_all(squares)["logits"], results["logits"], atol=1e-5)
        with pytest.raises(ModelError, match="returns no labels.*--outputs labels"):
            engine.infer(squares)
    with pytest.raises(ModelError, match="is closed"):
        engine.infer_all(squares)


def test_broken_and_foreign_files(tmp_path: Path, runtime: Runtime) -> None:
    content = BUNDLED.read_bytes()
    for name, data in {"cut.onnx": content[: len(content) // 2], "text.onnx": b"hello", "empty.onnx": b""}.items():
        (tmp_path / name).write_bytes(data)
    foreign = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["x"], ["y"])],
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, [1])],
            [onnx.helper.make_tensor_value_info("y", 1, [1])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(foreign, tmp_path / "foreign.onnx")
    onnx.helper.set_model_props(foreign, {p.key: p.value for p in onnx.load(BUNDLED).metadata_props if p.key != KEY})
    (tmp_path / "lies.onnx").write_bytes(sealed_onnx(foreign.SerializeToString()))
    shutil.copy(FOLDER / "edge.pt", tmp_path / "weights.pt")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "x.tflite").write_bytes(b"x")
    for name, text in {
        "cut.onnx": "cut.onnx cannot be loaded by ONNX Runtime; it may be truncated",
        "text.onnx": "cannot be loaded",
        "empty.onnx": r"empty.onnx is empty \(found: 0 bytes\)",
        "foreign.onnx": "has no ModelSpec.*edge-segface export",
        "lies.onnx": "not the graph that its ModelSpec describes",
        "folder.onnx": "a folder",
        "none.onnx": "does not exist",
        "weights.pt": "edge-segface export .*weights.pt",
        "x.tflite": "is not a supported model file",
    }.items():
        with pytest.raises(ModelError, match=text):
            load_engine(tmp_path / name, runtime=runtime)
    with pytest.raises(ModelError, match="no bundled model is called 'edge-999'; did you mean edge-256"):
        load_engine("edge-999")


def test_settings_that_cannot_be_had() -> None:
    with pytest.raises(ModelError, match="unknown provider 'gpu'; choose one of cpu, cuda, tensorrt"):
        OnnxRuntimeEngine(BUNDLED, provider="gpu")
    with pytest.raises(ModelError, match="takes 1 to 256 threads"):
        OnnxRuntimeEngine(BUNDLED, threads=0)
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(ModelError, match="has no cuda provider"):
            OnnxRuntimeEngine(BUNDLED, provider="cuda")


@pytest.mark.parametrize("outputs", ["labels", "both"])
@pytest.mark.parametrize(("network", "size"), [("paper", 128), ("edge", 160)])
def test_openvino_gives_what_onnxruntime_gives(
    network: str, size: int, outputs: str, official_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    weights = {"paper": official_checkpoints["celebamask19"], "edge": FOLDER / "edge.pt"}[network]
    path = export_onnx(load_weights(weights), tmp_path / "x.onnx", size=size, outputs=outputs).path
    with (
        load_engine(path, runtime="onnxruntime") as one,
        load_engine(path, runtime="openvino", precision="fp32") as other,
    ):
        squares = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
        expected, found = one.infer_all(squares), other.infer_all(squares)
        assert (found["labels"] == expected["labels"]).mean() > 0.9999
        if outputs == "both":
            assert np.allclose(found["logits"], expected["logits"], atol=1e-3)
        assert other.description.endswith("CPU, f32, all threads, latency")


def test_openvino_settings(tmp_path: Path, portrait: np.ndarray) -> None:
    squares = np.stack([crop(portrait, RoI((180, 110), side), 256) for side in range(180, 300, 20)])
    with load_engine("edge-256", runtime="openvino") as engine:
        expected = engine.infer(squares)
    with load_engine("edge-256", runtime="openvino", hint="throughput", cache=tmp_path) as engine:
        assert np.array_equal(engine.infer(squares), expected)  # in the order of the images
    assert list(tmp_path.iterdir())
    with pytest.raises(EngineError, match=r"OpenVINO finds no GPU here \(found: CPU"):
        load_engine("edge-256", device="GPU")
    with pytest.raises(ModelError, match=r"OpenVINO cannot compile .* for NPU9 .*available: CPU"):
        load_engine("edge-256", runtime="openvino", device="NPU9")
    with pytest.raises(ModelError, match="takes 1 to 256 threads"):
        load_engine("edge-256", runtime="openvino", threads=999)


@pytest.mark.parametrize("network", ["paper", "edge"])
def test_openvino_gets_planes(network: str, official_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    weights = {"paper": official_checkpoints["celebamask19"], "edge": FOLDER / "edge.pt"}[network]
    path = export_onnx(load_weights(weights), tmp_path / "x.onnx", size=128).path
    model, _ = read_model(openvino.Core(), path)
    before = [node.get_type_name() for node in model.get_ordered_ops()]
    nodes = optimise_for_openvino(model).get_ordered_ops()
    resizes = [node for node in nodes if node.get_type_name() == "Interpolate"]
    assert len(resizes) == before.count("Interpolate") > 0
    for resize in resizes:
        there, here = (list(shape) for shape in (resize.get_input_partial_shape(0), resize.get_output_partial_shape(0)))
        assert str(there[1]) == str(here[1])  # channels are second, and stay as many
        if there[1].get_length() > 19:  # of features: resized where the backbone made them
            assert resize.input_value(0).get_node().get_type_name() in ("Add", "Convolution")
    [choice] = [node for node in nodes if node.get_type_name() == "TopK"]
    assert choice.get_axis() == 1
    attentions = [  # one core would do each
        node
        for node in nodes
        if node.get_type_name() == "Softmax"
        and [user.get_node().get_type_name() for user in node.output(0).get_target_inputs()] == ["MatMul"]
        and len(node.output(0).get_partial_shape()) == 3
    ]
    assert not attentions


def test_openvino_leaves_alone_what_only_looks_alike() -> None:
    """An attention over queries, a product that reads transposed, a choice along another axis."""
    generator = np.random.default_rng(0)
    keys, values = generator.random((1, 6, 5), np.float32), generator.random((1, 6, 4), np.float32)
    image = ops.parameter([1, 6, 6], np.float32)
    over_queries = ops.matmul(ops.softmax(ops.matmul(image, keys, False, False), 1), values[:, :5], False, False)
    transposed = ops.matmul(ops.softmax(ops.matmul(image, keys, False, False), 2), values, True, False)
    _, rows = ops.topk(ops.matmul(image, keys, False, False), np.int64(1), 1, "max", "none").outputs()
    model = openvino.Model([over_queries.output(0), transposed.output(0), rows], [image])
    picture = generator.random((1, 6, 6), np.float32)
    plain = openvino.Core().compile_model(model.clone(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(picture)
    changed = openvino.Core().compile_model(optimise_for_openvino(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
        picture
    )
    for index in range(3):
        assert np.allclose(plain[index], changed[index], atol=1e-5)


def test_openvino_divides_first_where_numbers_are_short() -> None:
    """Undivided sums over all positions would leave what fp16 holds."""
    for wide, divisions in ((True, 0), (False, 2)):
        model, _ = read_model(openvino.Core(), BUNDLED)
        model.reshape({0: [1, 256, 256, 3]})
        attentions = [
            node
            for node in optimise_for_openvino(model, wide=wide).get_ordered_ops()
            if node.get_type_name() == "Softmax" and len(node.output(0).get_partial_shape()) == 3
        ]
        assert len(attentions) == divisions


@pytest.mark.parametrize(
    ("model", "settings", "floor"),
    [
        ("edge-256", {"runtime": "onnxruntime"}, 0.995),
        ("edge-256", {"runtime": "openvino", "precision": "fp32"}, 0.995),
        ("edge-256", {"runtime": "openvino", "precision": "bf16"}, 0.99),
        ("fp16", {"runtime": "onnxruntime"}, 0.99),
        ("fp16", {"runtime": "openvino"}, 0.99),
    ],
)
def test_every_engine_does_what_torch_does(
    model: str, settings: dict[str, Any], floor: float, portrait: np.ndarray, fp16: Path
) -> None:
    """From the image to its class map, near and far."""
    rois = [RoI((180, 110), side) for side in (140, 200, 240, 300, 360)]
    expected = FaceParser(TorchEngine(load_weights(FOLDER / "edge.pt"), 256)).batch([portrait] * 5, rois)
    with load_engine(fp16 if model == "fp16" else model, **settings) as engine:
        parser = FaceParser(engine)
        found = parser.batch([portrait] * 5, rois)
    same = [one.labels == other.labels for one, other in zip(expected, found, strict=True)]
    assert np.mean(same) >= floor


@pytest.fixture(scope="module")
def fp16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("modelopt", reason="nvidia-modelopt, which lowers precision, is not installed")
    path = tmp_path_factory.mktemp("fp16") / "edge-256-fp16.onnx"
    quantize_fp16(BUNDLED, path)
    return path


def test_a_file_that_the_runtime_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text("<net/>")
    with pytest.raises(ModelError, match="onnxruntime does not run .xml files.*use openvino"):
        load_engine(tmp_path / "x.xml", runtime="onnxruntime")
    with pytest.raises(ModelError, match="cannot be read by OpenVINO"):
        load_engine(tmp_path / "x.xml")


def test_parser_on_pictures_of_any_size(engine: Engine, portrait: np.ndarray) -> None:
    parser = FaceParser(engine)
    roi = RoI((180, 110), 240)
    class_map = parser(portrait, roi)
    assert class_map.labels.shape == portrait.shape[:2]
    assert not class_map.labels[232:].any()  # below the RoI
    # What anybody can see in the image: where the hair, the face and the eyes are. The subject's left is our right.
    assert class_map.space.parts[class_map.labels[40, 180]] == "hair"
    assert class_map.space.parts[class_map.labels[165, 180]] == "skin"
    left_x = np.nonzero(class_map.mask("left_eye"))[1].mean()
    right_x = np.nonzero(class_map.mask("right_eye"))[1].mean()
    assert right_x < 180 < left_x
    assert len(class_map.shares()) >= 12
    tall = np.ascontiguousarray(portrait[:, 60:300])
    wholes = parser.batch([portrait, tall, portrait[:40, :90]])
    assert [m.labels.shape for m in wholes] == [(352, 352), (352, 240), (40, 90)]
    assert (wholes[1].labels == parser(tall, whole=True).labels).mean() > 0.99
    assert parser.batch([]) == []


def test_parser_refuses_what_does_not_fit(engine: Engine, portrait: np.ndarray) -> None:
    parser = FaceParser(engine)
    with pytest.raises(InputError, match="2 images need as many RoIs"):
        parser.batch([portrait, portrait], [RoI((1, 1), 5)])
    with pytest.raises(InputError, match=r"must be an RoI \(found: \(60, 0, 300, 240\)\)"):
        parser(portrait, (60, 0, 300, 240))  # type: ignore[call-overload]
    with pytest.raises(InputError, match="takes no landmarks"):
        parser(portrait, landmarks=np.zeros((5, 2)))
    with pytest.raises(ImageError, match="image 1 must have 3 channels"):
        parser.batch([portrait, portrait[..., :1]])


def test_a_provider_that_does_not_start_is_no_silent_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a GPU build does whose libraries are missing: it lists the provider and then runs without it.
    there = [*onnxruntime.get_available_providers(), "CUDAExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(ModelError, match="could not start its cuda provider"),
    ):
        OnnxRuntimeEngine(BUNDLED, provider="cuda")


def test_parser_closes_what_it_opened_only(engine: Engine) -> None:
    with FaceParser("edge-256") as parser:
        opened = parser.engine
    with pytest.raises(ModelError, match="is closed"):
        opened.infer(GREY)
    with FaceParser(engine):
        pass
    engine.infer(GREY)


def test_warped_models_are_warped_there_and_back(tmp_path: Path, portrait: np.ndarray) -> None:
    """Against torch, with the bundled weights: a network that knows faces, as a random one is all edges.

    Torch moves logits back and then chooses a class; a device chooses and then moves. So they part along edges.
    """
    weights = dataclasses.replace(load_weights(FOLDER / "edge.pt"), warp="roi-tanh")
    exported = export_onnx(weights, tmp_path / "warped.onnx", size=256)
    head = np.ascontiguousarray(portrait[:256, 52:308])
    landmarks = np.array([[105, 102], [153, 102], [128, 128], [110, 143], [148, 143]], dtype=np.float32)
    with FaceParser(exported.path) as parser:
        with pytest.raises(InputError, match="five landmarks, and none were given"):
            parser(portrait)
        with pytest.raises(InputError, match="five points"):
            parser(portrait, landmarks=landmarks[:3])
        cut_out = parser(head, landmarks=landmarks)
        in_place = parser(portrait, RoI.from_box_xyxy((52, 0, 308, 256)), landmarks + np.array([52, 0], np.float32))
    with torch.no_grad():
        logits = WarpedSegFace(weights.model)(normalised(head[None]), torch.tensor(landmarks)[None])
    assert (cut_out.labels == logits[0].argmax(0).numpy()).mean() > 0.98
    assert (in_place.labels[:256, 52:308] == cut_out.labels).mean() > 0.999
    assert {"hair", "skin", "nose", "left_eye"} <= set(cut_out.shares())


def test_missing_extra_names_the_command() -> None:
    assert str(MissingExtra("torch", "train", "exporting")) == (
        f"exporting needs torch, which is not installed; run: {install_command('train')}"
    )
