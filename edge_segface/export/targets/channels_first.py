"""The network of an exported file alone: planes of pixels in, planes of logits out, every shape fixed.

Input `image`: float RGB (1 3 s s) in 0..255. Output `logits`: float (1 n g g) on the grid of the masks, which the
caller enlarges to s before it takes the class. That is the form which most runtimes and converters accept: no bytes,
no channels-last resize, no argmax.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edge_segface.engine.onnxruntime import spec_of
from edge_segface.errors import ModelError
from edge_segface.spec import ModelSpec

INPUT, OUTPUT = "image", "logits"
NHWC, NCHW = [0, 2, 3, 1], [0, 3, 1, 2]  # permutations to each from the other


@dataclass(frozen=True)
class ChannelsFirst:
    """A graph of planes, and the specification of the file that it was cut from."""

    model: ModelProto
    spec: ModelSpec
    source: Path

    @property
    def grid(self) -> int:
        """Side of the output."""
        return int(self.model.graph.output[0].type.tensor_type.shape.dim[3].dim_value)


def channels_first(source: Path) -> ChannelsFirst:
    """Cut the network out of a file that edge-segface exported in fp32."""
    spec = spec_of(source)
    if spec.precision != "fp32":
        raise ModelError(
            f"{source} is {spec.precision}, and other formats are made from fp32",
            remedy="give the fp32 file that it was made from",
        )
    graph = _Graph(_constants_folded(source), source)
    grid = graph.end_in_planes(spec)
    graph.begin_with_planes()
    graph.move_channels_first()
    model = graph.finished()
    side = spec.input_size
    for values, name, shape in (
        (model.graph.input, INPUT, [1, 3, side, side]),
        (model.graph.output, OUTPUT, [1, len(spec.class_names), grid, grid]),
    ):
        del values[:]
        values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    onnx.checker.check_model(model, full_check=True)
    return ChannelsFirst(model, spec, source)


def _constants_folded(source: Path) -> ModelProto:
    """Return the model with a batch of one, and with everything computed that depends on constants alone."""
    model = onnx.load(source)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        fixed, folded = Path(folder) / "fixed.onnx", Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(folded)
        onnx.save(model, fixed)
        # Without these two the nodes keep the order in which `_Graph` looks for them.
        ort.InferenceSession(
            str(fixed),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["TransposeOptimizer", "MatMulAddFusion"],
        )
        model = onnx.load(folded)
    del model.metadata_props[:], model.graph.value_info[:]
    foreign = [opset for opset in model.opset_import if opset.domain]
    for opset in foreign:
        model.opset_import.remove(opset)
    return model


class _Graph:
    """Edits of one graph. Nodes that nothing needs any more stay until `finished`."""

    def __init__(self, model: ModelProto, source: Path) -> None:
        self.model = model
        self.source = source
        self.nodes = list(model.graph.node)
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.maker = {output: node for node in self.nodes for output in node.output}

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        node = helper.make_node(kind, inputs, [output], name=output, **attributes)
        self.nodes.append(node)
        self.maker[output] = node
        return output

    def constant(self, name: str, values: npt.NDArray[Any]) -> str:
        self.constants[name] = values
        return name

    def shape(self, name: str, *sides: int) -> str:
        return self.constant(name, np.array(sides, np.int64))

    def users(self, output: str) -> list[NodeProto]:
        return [node for node in self.nodes if output in node.input]

    def made_by(self, output: str, kind: str) -> NodeProto | None:
        """Return the node that makes `output`, if it is of that kind."""
        node = self.maker.get(output)
        return node if node is not None and node.op_type == kind else None

    def replace(self, old: str, new: str) -> None:
        """Let whoever reads `old` read `new`, except what `new` itself is made from."""
        for node in self.users(old):
            if new not in node.output:
                for index, name in enumerate(node.input):
                    if name == old:
                        node.input[index] = new

    def unknown_layout(self, what: str) -> ModelError:
        return ModelError(f"{self.source} has another layout than edge-segface exports", found=what)

    def begin_with_planes(self) -> None:
        """Read RGB planes instead of BGR bytes: swap the order in the mean and in the first convolution."""
        sub = next((node for node in self.nodes if node.op_type == "Sub" and node.name.startswith("/before/")), None)
        stem = self.users(sub.output[0]) if sub is not None else []
        if sub is None or len(stem) != 1 or stem[0].op_type != "Conv":
            raise self.unknown_layout("no subtraction of the mean before the first convolution")
        sub.input[0] = INPUT
        sub.input[1] = self.constant("mean_rgb", self.constants[sub.input[1]][::-1].copy())
        stem[0].input[1] = self.constant("stem_rgb", self.constants[stem[0].input[1]][:, ::-1].copy())

    def end_in_planes(self, spec: ModelSpec) -> int:
        """End in planes of logits instead of what follows the network; return the side of the planes."""
        after = next((node for node in self.nodes if node.name.startswith("/after/")), None)
        if after is None:
            raise self.unknown_layout("nothing after the network")
        rows, classes = after.input[0], len(spec.class_names)
        if (product := self.made_by(rows, "MatMul")) is not None and self._swap_mask_product(product):
            planes = product.output[0]  # (1 n p)
        else:
            planes = self.add("Transpose", [rows], "planes", perm=[0, 2, 1])
        if spec.preset == "paper":
            grid = spec.input_size
            planes = self._unfold_cells(planes, classes, grid // 4)
        else:
            grid = spec.input_size // 2
        self.add("Reshape", [planes, self.shape("planes/shape", 1, classes, grid, grid)], OUTPUT)
        return grid

    def _swap_mask_product(self, product: NodeProto) -> bool:
        """Let pixels (1 p m) @ tokens (1 m n) become tokens (1 n m) @ pixels (1 m p), if they are made so."""
        rows, columns = self.made_by(product.input[0], "Reshape"), self.made_by(product.input[1], "Transpose")
        pixels = self.made_by(rows.input[0], "Transpose") if rows is not None else None
        if rows is None or columns is None or pixels is None or not _is_permuted(pixels, NHWC):
            return False
        count, width = self.constants[rows.input[1]][1:]
        flat = self.add("Reshape", [pixels.input[0], self.shape("pixels/shape", 1, width, count)], "pixels")
        del product.input[:]
        product.input.extend([columns.input[0], flat])
        return True

    def _unfold_cells(self, planes: str, classes: int, side: int) -> str:
        """Put the sixteen pixels of each position in their places: see `RewrittenPaperDecoder.to_grid`."""
        for step, rest in (1, 8), (2, 2):  # two doublings; `rest`: numbers of a cell that stay together
            shape = self.shape(f"cells_{step}/shape", classes * side * step, side * step, 2, rest)
            cells = self.add("Reshape", [planes, shape], f"cells_{step}")
            planes = self.add("Transpose", [cells], f"cells_{step}/rows", perm=[0, 2, 1, 3])
        return planes

    def move_channels_first(self) -> None:
        """Turn products over the last of four axes into 1x1 convolutions, and resize planes only."""
        for node in list(self.nodes):
            weight = self.constants.get(node.input[1]) if node.op_type == "MatMul" else None
            before = self.made_by(node.input[0], "Transpose")
            if weight is not None and weight.ndim == 2 and before is not None and _is_permuted(before, NHWC):
                kernel = self.constant(f"{node.name}/kernel", weight.T[:, :, None, None].copy())
                planes = self.add("Conv", [before.input[0], kernel], f"{node.name}/planes", kernel_shape=[1, 1])
                self.replace(node.output[0], self.add("Transpose", [planes], f"{node.name}/rows", perm=NHWC))
        for node in list(self.nodes):
            scales = self.constants[node.input[2]] if node.op_type == "Resize" else None
            if scales is None or scales[1] == 1:
                continue
            before = self.made_by(node.input[0], "Transpose")
            if before is not None and _is_permuted(before, NHWC):
                planes = before.input[0]
            else:
                planes = self.add("Transpose", [node.input[0]], f"{node.name}/planes", perm=NCHW)
            factors = self.constant(f"{node.name}/scales", scales[[0, 3, 1, 2]])
            # The attributes are those that converters look for.
            resized = self.add(
                "Resize",
                [planes, "", factors],
                f"{node.name}/resized",
                mode="linear",
                coordinate_transformation_mode="half_pixel",
                cubic_coeff_a=-0.75,
                nearest_mode="floor",
            )
            self.replace(node.output[0], self.add("Transpose", [resized], f"{node.name}/rows", perm=NHWC))

    def finished(self) -> ModelProto:
        """Return the model with the nodes that its output needs, in an order in which they can run."""
        order: list[NodeProto] = []
        done: set[str] = {INPUT, *self.constants, ""}
        pending = [OUTPUT]
        while pending:
            output = pending[-1]
            node = self.maker.get(output)
            if output in done:
                pending.pop()
            elif node is None:
                raise self.unknown_layout(f"nothing makes {output}")
            elif missing := [name for name in node.input if name not in done]:
                pending.extend(missing)
            else:
                order.append(node)
                done.update(node.output)
        graph = self.model.graph
        read = {name for node in order for name in node.input}
        del graph.node[:], graph.initializer[:]
        graph.node.extend(order)
        graph.initializer.extend(
            numpy_helper.from_array(values, name) for name, values in self.constants.items() if name in read
        )
        return self.model


def _is_permuted(transpose: NodeProto, order: list[int]) -> bool:
    return list(helper.get_node_attr_value(transpose, "perm")) == order
