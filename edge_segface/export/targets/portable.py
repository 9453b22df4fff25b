"""Plain ONNX: fixed shapes, planes of floats, and an opset as low as the operations allow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edge_segface import __version__
from edge_segface.engine.onnxruntime import open_session
from edge_segface.engine.planes import labels_of, rgb_planes
from edge_segface.errors import ModelError
from edge_segface.export.targets import PLANES_IN, PLANES_OUT, Options, Run
from edge_segface.export.targets.channels_first import INPUT, ChannelsFirst
from edge_segface.frames import UInt8Array
from edge_segface.spec import PLANES_KEY, to_json

OPSET = 11  # the first with a Resize that has half-pixel centres
# Operations that mean the same in opset 11 as in 17, as our graphs use them: Softmax over the last axis.
SINCE_11 = {
    "Add", "Clip", "Conv", "Div", "Erf", "HardSigmoid", "MatMul", "Mul", "ReduceMean", "Relu", "Reshape", "Resize",
    "Softmax", "Sub", "Transpose",
}  # fmt: skip
NO_REGION = "no_region"
STRIDE = 32  # the input's sides are multiples of it


@contextmanager
def converted(planes: ChannelsFirst, out: Path, _options: Options) -> Iterator[Run]:
    model = in_opset_11(planes)
    spec = planes.spec
    helper.set_model_props(
        model,
        {
            # The keys by which ultralytics and its readers describe a model.
            "description": f"{spec.name}, face parsing; input {PLANES_IN}; output {PLANES_OUT}",
            "names": str(dict(enumerate(spec.class_names))),
            "imgsz": json.dumps([spec.input_size, spec.input_size]),
            "task": "semantic",
            "stride": str(STRIDE),
            "batch": "1",
            "channels": "3",
            "version": __version__,
            "license": spec.weights_licence,
            PLANES_KEY: to_json(spec),
        },
    )
    onnx.save(model, out)
    session = open_session(out)

    def run(image_bgr: UInt8Array) -> UInt8Array:
        return labels_of(session.run(None, {INPUT: rgb_planes(image_bgr)})[0][0], len(image_bgr))

    yield run


def in_opset_11(planes: ChannelsFirst) -> ModelProto:
    """Return a copy of the graph in the operations of opset 11."""
    model = ModelProto()
    model.CopyFrom(planes.model)
    nodes: list[NodeProto] = []
    for index, node in enumerate(model.graph.node):
        if node.op_type == "LayerNormalization":
            nodes += _layer_norm(model, node, f"layer_norm_{index}")
        elif node.op_type in SINCE_11:
            nodes.append(node)
            if node.op_type == "Resize":  # here the region of interest is not optional yet
                node.input[1] = NO_REGION
            if node.op_type == "Reshape":  # `allowzero` is of opset 14
                del node.attribute[:]
        else:
            raise ModelError(f"{planes.spec.name} has an operation that opset {OPSET} lacks", found=node.op_type)
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]  # copies: the graph's own go
    del model.graph.node[:], model.opset_import[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(0, np.float32), NO_REGION))
    model.opset_import.append(helper.make_opsetid("", OPSET))
    model.ir_version = 6  # the first with opset 11
    model.producer_name, model.producer_version = "edge-segface", __version__
    onnx.checker.check_model(model, full_check=True)
    return model


def _layer_norm(model: ModelProto, node: NodeProto, name: str) -> list[NodeProto]:
    """Return the nodes that a LayerNormalization over the last axis is short for."""
    x, weight, bias = node.input
    epsilon = next((item.f for item in node.attribute if item.name == "epsilon"), 1e-5)
    model.graph.initializer.append(numpy_helper.from_array(np.array(epsilon, np.float32), f"{name}/epsilon"))
    mean, centred, square, variance, shifted, deviation, scaled, weighted = (
        f"{name}/{part}"
        for part in ("mean", "centred", "square", "variance", "shifted", "deviation", "scaled", "weighted")
    )
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("ReduceMean", [x], mean, {"axes": [-1]}),
        ("Sub", [x, mean], centred, {}),
        ("Mul", [centred, centred], square, {}),
        ("ReduceMean", [square], variance, {"axes": [-1]}),
        ("Add", [variance, f"{name}/epsilon"], shifted, {}),
        ("Sqrt", [shifted], deviation, {}),
        ("Div", [centred, deviation], scaled, {}),
        ("Mul", [scaled, weight], weighted, {}),
        ("Add", [weighted, bias], node.output[0], {}),
    ]
    return [helper.make_node(kind, inputs, [output], name=output, **given) for kind, inputs, output, given in steps]
