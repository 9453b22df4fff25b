"""Export weights to one ONNX file that describes itself and has been compared with PyTorch."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from edge_segface import __version__
from edge_segface.errors import OutputError
from edge_segface.export.comparison import Parity
from edge_segface.export.deploy import DeployGraph
from edge_segface.export.parity import FULL, HALVES, check_parity
from edge_segface.files import atomic_write
from edge_segface.model.checkpoint import Weights
from edge_segface.seal import sealed_onnx
from edge_segface.spec import ModelSpec, check_size

OUTPUTS = {"labels": ("labels",), "logits": ("logits",), "both": ("labels", "logits")}

# 17 has LayerNormalization, and TensorRT 8.6 to 11, TensorRT-RTX, ONNX Runtime and OpenVINO all read it.
OPSET = 17


@dataclass(frozen=True)
class ExportedModel:
    """An ONNX file that was written, and how closely it agrees with PyTorch."""

    path: Path
    spec: ModelSpec
    parity: Parity


def export_onnx(
    weights: Weights, out: Path, *, size: int, outputs: str = "labels", half_weights: bool = False
) -> ExportedModel:
    """Export weights for one input size to `out`. If the file differs from PyTorch, raise and write nothing.

    `outputs` is a key of OUTPUTS. `half_weights` stores weights in 16 bits; computation stays in 32.
    """
    check_size(size)
    if out.suffix.lower() != ".onnx":
        raise OutputError(
            f"cannot export to {out}", found=out.suffix or "no suffix", remedy="name a file that ends in .onnx"
        )
    stored = ", weights in 16 bits" if half_weights else ""
    made_by = f"edge-segface {__version__}, torch {torch.__version__}{stored}"
    spec = replace(weights.spec(out.stem, size, OUTPUTS[outputs], made_by), sealed=True)
    with atomic_write(out) as temporary:
        write_graph(DeployGraph(weights.model, size, spec.outputs), size, spec.outputs, temporary)
        model = onnx.load(temporary)
        if half_weights:
            store_weights_as_half(model)
        helper.set_model_props(model, spec.metadata())
        onnx.checker.check_model(model, full_check=True)
        temporary.write_bytes(sealed_onnx(model.SerializeToString()))
        parity = check_parity(temporary, weights, HALVES if half_weights else FULL)
    return ExportedModel(out, spec, parity)


def write_graph(graph: torch.nn.Module, size: int, outputs: tuple[str, ...], path: Path) -> None:
    """Write a module that takes camera bytes as ONNX, with a dynamic batch."""
    image = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        # Only the tracing exporter writes opset 17 directly. It warns about its age and about constant shapes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.eval(),
            (image,),
            str(path),
            input_names=["image"],
            output_names=list(outputs),
            dynamic_axes={name: {0: "n"} for name in ("image", *outputs)},
            opset_version=OPSET,
            dynamo=False,
        )


def store_weights_as_half(model: onnx.ModelProto, min_size: int = 1024) -> None:
    """Store large float weights in 16 bits, each behind a Cast that runtimes fold when they load the file."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < min_size:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype("float16"), f"{name}/half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], name=f"{name}/cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
