"""The graph for DeepStream's Gst-nvinfer, which feeds float planes and selects classes itself.

Input `pixels`: float BGR (b 3 s s) in 0..255. Output `planes`: float (b n s s), 1 where a pixel belongs to a class,
else 0. Everything in between stays bit for bit the same, in any precision.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_segface.engine.base import check_has_labels
from edge_segface.engine.onnxruntime import spec_of
from edge_segface.errors import ModelError
from edge_segface.files import atomic_write


def write_planes_graph(source: Path, out: Path) -> None:
    spec = spec_of(source)
    check_has_labels(spec)
    side, classes = spec.input_size, len(spec.class_names)
    model = onnx.load(source)
    graph = model.graph
    last = next((node for node in graph.node if "labels" in node.output), None)  # the cast to uint8
    if last is None or len(last.input) != 1:
        raise ModelError(f"{source} has another layout than edge-segface exports", remedy="export it again")
    graph.node.remove(last)
    ids = numpy_helper.from_array(np.arange(classes, dtype=np.int32).reshape(1, classes, 1, 1), "planes/ids")
    one = numpy_helper.from_array(np.array([1], dtype=np.int64), "planes/axis")
    graph.initializer.extend([ids, one])
    before = helper.make_node("Transpose", ["pixels"], ["image"], name="planes/image", perm=[0, 2, 3, 1])
    after = [
        helper.make_node("Cast", [last.input[0]], ["planes/numbers"], name="planes/numbers", to=TensorProto.INT32),
        helper.make_node("Unsqueeze", ["planes/numbers", one.name], ["planes/plane"], name="planes/plane"),
        helper.make_node("Equal", ["planes/plane", ids.name], ["planes/equal"], name="planes/equal"),
        helper.make_node("Cast", ["planes/equal"], ["planes"], name="planes/cast", to=TensorProto.FLOAT),
    ]
    nodes = [before, *graph.node, *after]
    for old in (graph.node, graph.input, graph.output, graph.value_info, model.metadata_props):
        del old[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, side, side]))
    graph.output.append(helper.make_tensor_value_info("planes", TensorProto.FLOAT, ["n", classes, side, side]))
    model.doc_string = f"{spec.name} of edge-segface, {spec.label_space}, {spec.precision}; for Gst-nvinfer"
    onnx.checker.check_model(model, full_check=True)
    with atomic_write(out) as temporary:
        onnx.save(model, temporary)
