"""Model files of a few nodes that engines accept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edge_segface.labels import CELEBAMASK19
from edge_segface.seal import sealed_onnx
from edge_segface.spec import ModelSpec


def write_tiny_onnx(path: Path, size: int = 128, only_batch: int | None = None) -> Path:
    """Write a model whose labels are the blue channel. It runs one batch size only, if `only_batch` is given."""
    constants = [numpy_helper.from_array(np.array(0, np.int64), "blue")]
    nodes = [helper.make_node("Gather", ["image", "blue"], ["labels" if only_batch is None else "channel"], axis=3)]
    if only_batch is not None:
        constants.append(numpy_helper.from_array(np.array([only_batch, size, size], np.int64), "shape"))
        nodes.append(helper.make_node("Reshape", ["channel", "shape"], ["labels"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", size, size, 3])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, ["n", size, size])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = ModelSpec(
        name=path.stem,
        preset="edge",
        label_space=CELEBAMASK19.name,
        class_names=CELEBAMASK19.names,
        input_size=size,
        outputs=("labels",),
        precision="fp32",
        training_data="none",
        weights_licence="MIT",
        made_by="a test",
        sealed=True,
    )
    helper.set_model_props(model, spec.metadata())
    path.write_bytes(sealed_onnx(model.SerializeToString()))
    return path
