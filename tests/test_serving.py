"""Model repositories for Triton, read back by its own schema, and folders for DeepStream, whose graph is run."""

from __future__ import annotations

import configparser
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from edge_segface.assets import FOLDER
from edge_segface.assets.portrait import PORTRAIT_ROI
from edge_segface.build import BuildRequest, build_engine
from edge_segface.errors import ModelError, OutputError
from edge_segface.export.onnx_export import export_onnx
from edge_segface.frames import crop
from edge_segface.labels import CELEBAMASK19
from edge_segface.model.checkpoint import load_weights
from edge_segface.models import load_engine, resolve
from edge_segface.serving import package_for_deepstream, package_for_triton
from edge_segface.spec import EngineRecord
from tests.conftest import assert_one_line_error, run_cli


def config_in(folder: Path) -> ModelConfig:
    return text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())


def test_an_onnx_file(tmp_path: Path) -> None:
    export_onnx(load_weights(FOLDER / "edge.pt"), tmp_path / "e.onnx", size=128, outputs="both")
    folder = package_for_triton(tmp_path / "e.onnx", tmp_path / "models", most=16, wait_us=500)
    config = config_in(folder)
    assert (config.name, config.backend, config.max_batch_size) == ("e", "onnxruntime", 16)
    [image] = config.input
    assert (image.name, list(image.dims)) == ("image", [128, 128, 3])
    assert [(output.name, list(output.dims)) for output in config.output] == [
        ("labels", [128, 128]),
        ("logits", [19, 32, 32]),
    ]
    types = [DataType.Name(each.data_type) for each in (image, *config.output)]
    assert types == ["TYPE_UINT8", "TYPE_UINT8", "TYPE_FP32"]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert config.parameters["label_space"].string_value == "celebamask19"
    assert (folder / "labels.txt").read_text().split() == list(CELEBAMASK19.names)
    with load_engine(folder / "1" / "model.onnx") as engine:
        assert engine.spec.name == "e"
    with pytest.raises(OutputError, match="already exists"):
        package_for_triton(tmp_path / "e.onnx", tmp_path / "models")


def test_plans(tmp_path: Path) -> None:
    plan = tmp_path / "e.engine"
    build_engine(BuildRequest("edge-256", plan, "tensorrt-rtx"))
    with pytest.raises(ModelError, match="is for tensorrt-rtx, which Triton does not run.*build it for tensorrt"):
        package_for_triton(plan, tmp_path / "rtx")
    record = EngineRecord.load(plan)
    for batch, fixed in (((1, 1, 1), True), ((1, 2, 4), False)):  # as TensorRT would have written them
        replace(record, engine=replace(record.engine, runtime="tensorrt", batch=batch)).save(plan)
        config = config_in(package_for_triton(plan, tmp_path / str(fixed)))
        assert config.backend == "tensorrt"
        assert config.max_batch_size == (0 if fixed else 4)
        assert list(config.input[0].dims) == ([1] if fixed else []) + [256, 256, 3]
        assert config.HasField("dynamic_batching") is not fixed
        assert (tmp_path / str(fixed) / "edge-256" / "1" / "model.plan").read_bytes() == plan.read_bytes()


@pytest.mark.parametrize(("name", "mode"), [("edge-256", 0), ("edge-256-int8", 1)])
def test_deepstream(tmp_path: Path, portrait: np.ndarray, name: str, mode: int) -> None:
    folder = package_for_deepstream(name, tmp_path, most=2)
    parsed = configparser.ConfigParser()
    parsed.read(folder / "config_infer.txt")
    [section] = parsed.sections()
    told = parsed[section]
    assert (section, told.getint("network-type"), told.getint("network-mode")) == ("property", 2, mode)
    assert (told.getint("num-detected-classes"), told["infer-dims"]) == (19, "3;256;256")
    assert (told.getint("batch-size"), told.getint("model-color-format")) == (2, 1)
    assert (folder / told["labelfile-path"]).read_text().split() == list(CELEBAMASK19.names)

    # As Gst-nvinfer does: planes of y = scale * x in, and of the planes that come out the one above the threshold.
    session = ort.InferenceSession(folder / told["onnx-file"], providers=["CPUExecutionProvider"])
    square = crop(portrait, PORTRAIT_ROI, 256)
    pixels = told.getfloat("net-scale-factor") * square.astype(np.float32).transpose(2, 0, 1)[None]
    [planes] = session.run([told["output-blob-names"]], {"pixels": np.concatenate([pixels, pixels])})
    assert planes.shape == (2, 19, 256, 256)
    assert ((planes > told.getfloat("segmentation-threshold")).sum(axis=1) == 1).all()
    with load_engine(name, runtime="onnxruntime") as engine:
        assert np.array_equal(planes[1].argmax(axis=0), engine.infer(square[None])[0])


@pytest.mark.parametrize("name", ["edge-256", "edge-256-int8"])
def test_what_deepstream_gets_is_built_by_the_parser_of_tensorrt(tmp_path: Path, name: str) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx, which parses and builds, is not installed")
    folder = package_for_deepstream(name, tmp_path)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse((folder / "model.onnx").read_bytes()), [parser.get_error(i) for i in range(parser.num_errors)]
    profile = builder.create_optimization_profile()
    profile.set_shape("pixels", (1, 3, 256, 256), (1, 3, 256, 256), (1, 3, 256, 256))
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None


def test_package_command(tmp_path: Path) -> None:
    good = run_cli("package", "edge-256", "--for", "triton", "--out", tmp_path / "m")
    assert good.returncode == 0, good.stderr
    assert config_in(tmp_path / "m" / "edge-256").max_batch_size == 8
    assert (tmp_path / "m" / "edge-256" / "1" / "model.onnx").read_bytes() == resolve("edge-256").path.read_bytes()
    bad = run_cli("package", FOLDER / "edge.pt", "--for", "triton", "--out", tmp_path / "n")
    assert_one_line_error(bad, "cannot be served", ".onnx or .engine")
    bad = run_cli("package", FOLDER / "edge.pt", "--for", "deepstream", "--out", tmp_path / "n")
    assert_one_line_error(bad, "DeepStream cannot use", ".onnx")
    assert not (tmp_path / "n").exists()
    good = run_cli("package", "edge-256", "--for", "deepstream", "--out", tmp_path / "d")
    assert "config-file-path=" in good.stdout, good.stderr
