"""The graph of planes computes what the deployed graph does, for every preset, in ONNX Runtime and in PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import helper

from edge_segface.engine.planes import labels_of, low_resolution, rgb_planes
from edge_segface.errors import ModelError
from edge_segface.export.comparison import SampleCrops
from edge_segface.export.onnx_export import export_onnx
from edge_segface.export.targets.channels_first import ChannelsFirst, channels_first
from edge_segface.export.targets.portable import in_opset_11
from edge_segface.export.targets.torch_graph import TorchGraph
from edge_segface.models import load_engine
from tests.support.weights import weights_of

SIZE = 128


@pytest.fixture(scope="module", params=["edge", "pico", "lite", "paper"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp(request.param) / "both.onnx"
    return export_onnx(weights_of(request.param), out, size=SIZE, outputs="both").path


@pytest.fixture(scope="module")
def planes(exported: Path) -> ChannelsFirst:
    return channels_first(exported)


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return SampleCrops(SIZE).crops


def test_logits_and_classes_are_those_of_the_deployed_graph(
    exported: Path, planes: ChannelsFirst, crops: np.ndarray
) -> None:
    session = ort.InferenceSession(planes.model.SerializeToString())
    with load_engine(exported, runtime="onnxruntime") as engine:
        expected = engine.infer_all(crops)
    for index, image in enumerate(crops):
        logits = session.run(None, {"image": rgb_planes(image)})[0][0]
        assert logits.shape == (19, planes.grid, planes.grid)
        assert np.mean(labels_of(logits, SIZE) == expected["labels"][index]) > 0.999
        scale = np.abs(expected["logits"][index]).max()
        assert np.abs(low_resolution(logits, SIZE) - expected["logits"][index]).max() < 1e-4 * max(1, scale)


def test_every_shape_is_fixed_and_every_resize_is_of_planes(planes: ChannelsFirst) -> None:
    inferred = onnx.shape_inference.infer_shapes(planes.model, strict_mode=True)
    shapes = {value.name: value.type.tensor_type.shape for value in inferred.graph.value_info}
    assert all(side.dim_value > 0 for shape in shapes.values() for side in shape.dim)
    scales = {item.name: onnx.numpy_helper.to_array(item) for item in planes.model.graph.initializer}
    resized = [scales[node.input[2]] for node in planes.model.graph.node if node.op_type == "Resize"]
    assert resized
    assert all(list(scale[:2]) == [1, 1] for scale in resized)
    kinds = {node.op_type for node in planes.model.graph.node}
    assert not kinds & {"Shape", "Gather", "ArgMax", "Cast", "Constant", "Pad"}


def test_pytorch_runs_the_same_graph(planes: ChannelsFirst, crops: np.ndarray) -> None:
    image = rgb_planes(crops[0])
    expected = ort.InferenceSession(planes.model.SerializeToString()).run(None, {"image": image})[0]
    with torch.no_grad():
        found = TorchGraph(planes)(torch.from_numpy(image)).numpy()
    assert np.abs(found - expected).max() < 1e-4 * max(1, np.abs(expected).max())


def test_opset_11_computes_the_same(planes: ChannelsFirst, crops: np.ndarray) -> None:
    lowered = in_opset_11(planes)
    assert [item.version for item in lowered.opset_import] == [11]
    image = rgb_planes(crops[0])
    found, expected = (
        ort.InferenceSession(model.SerializeToString()).run(None, {"image": image})[0]
        for model in (lowered, planes.model)
    )
    assert np.abs(found - expected).max() < 1e-4 * max(1, np.abs(expected).max())


def test_an_operation_that_is_not_known_is_named(planes: ChannelsFirst) -> None:
    foreign = ChannelsFirst(onnx.ModelProto(), planes.spec, planes.source)
    foreign.model.CopyFrom(planes.model)
    foreign.model.graph.node.append(helper.make_node("Einsum", ["logits"], ["other"], equation="bchw->bc"))
    for convert in (in_opset_11, TorchGraph):
        with pytest.raises(ModelError, match="Einsum"):
            convert(foreign)


def test_int8_is_refused() -> None:
    with pytest.raises(ModelError, match="give the fp32 file"):
        channels_first(Path(__file__).parents[3] / "edge_segface" / "assets" / "edge-256-int8.onnx")
