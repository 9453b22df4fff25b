"""Rewriting our graphs into the layout OpenVINO runs fastest. Results differ by rounding only.

Files are written for ONNX Runtime and TensorRT: channels-last behind the backbone, with few large products. OpenVINO
assumes channels-first; what that makes slow is changed here, after a file is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import openvino as ov

TO_PLANES, TO_PIXELS = [0, 3, 1, 2], [0, 2, 3, 1]


def optimise_for_openvino(model: ov.Model, *, wide: bool = True) -> ov.Model:
    """Rewrite a model in place. `wide` means that values may use the range of float32 or bfloat16."""
    for change in (sum_as_planes, resize_as_planes, choose_over_planes, *((divide_after_product,) if wide else ())):
        change(model)
        model.validate_nodes_and_infer_types()
    return model


def sum_as_planes(model: ov.Model) -> None:
    """Turn resized sums of linear layers over pixels into 1x1 convolutions, so the backbone's planes stay planes."""
    from openvino import opset13 as ops

    for node in nodes(model, "Reshape"):
        summed = node.input_value(0)
        if kind(summed) == "Add" and len(summed.get_partial_shape()) == 4 and (planes := as_planes(summed)) is not None:
            node.input(0).replace_source_output(ops.transpose(planes, np.array(TO_PIXELS)).output(0))


def as_planes(pixels: ov.Output) -> ov.Output | None:
    """Return (b h w c) computed as (b c h w), if it comes from planes through sums, linear layers and resizes."""
    from openvino import opset13 as ops

    node = pixels.get_node()
    if kind(pixels) == "Transpose":
        return node.input_value(0) if list(values(node.input_value(1))) == TO_PIXELS else None
    if kind(pixels) == "Interpolate":
        scales, planes = scales_of_pixels(node), as_planes(node.input_value(0))
        return None if scales is None or planes is None else resized(planes, scales, node)
    if kind(pixels) == "MatMul":
        weight, planes = node.input_value(1), as_planes(node.input_value(0))
        if planes is None or not is_constant(weight) or len(weight.get_partial_shape()) != 2:
            return None
        if not node.get_attributes()["transpose_b"]:
            weight = ops.transpose(weight, np.array([1, 0])).output(0)
        kernel = ops.unsqueeze(weight, np.array([2, 3]))
        return ops.convolution(planes, kernel, [1, 1], [0, 0], [0, 0], [1, 1]).output(0)
    if kind(pixels) == "Add":
        one, other = (node.input_value(at) for at in (0, 1))
        if is_constant(one):
            one, other = other, one
        if is_constant(other) and len(other.get_partial_shape()) == 1:
            term: ov.Output | None = ops.unsqueeze(other, np.array([0, 2, 3])).output(0)
        else:
            term = as_planes(other)
        planes = as_planes(one)
        return None if planes is None or term is None else ops.add(planes, term).output(0)
    return None


def resize_as_planes(model: ov.Model) -> None:
    """Resize planes: OpenVINO takes the second axis of a resize as channels, whatever it is.

    The last resize and the class selection behind it took half of the network's time.
    """
    from openvino import opset13 as ops

    for node in nodes(model, "Interpolate"):
        scales = scales_of_pixels(node)
        if scales is None:
            continue
        planes = resized(ops.transpose(node.input_value(0), np.array(TO_PLANES)).output(0), scales, node)
        if (choice := following_topk(node)) is not None:
            choose(choice, planes)
        else:
            node.output(0).replace(ops.transpose(planes, np.array(TO_PIXELS)).output(0))


def choose_over_planes(model: ov.Model) -> None:
    """Select classes down planes instead of along rows of nineteen."""
    from openvino import opset13 as ops

    for node in nodes(model, "TopK"):
        product = node.input_value(0).get_node()
        if kind(node.input_value(0)) != "MatMul" or len(product.output(0).get_target_inputs()) != 1:
            continue
        if not selects_over_last(node):
            continue
        turned = product.get_attributes()
        planes = ops.matmul(
            product.input_value(1), product.input_value(0), not turned["transpose_b"], not turned["transpose_a"]
        )
        choose(node, planes.output(0))


def divide_after_product(model: ov.Model) -> None:
    """Divide by the softmax's sum after the following product, which is smaller.

    It also keeps OpenVINO from fusing an attention that would run each head on one core; ours has one head, of many
    rows.
    """
    from openvino import opset13 as ops

    for node in nodes(model, "Softmax"):
        scores = node.input_value(0)
        users = list(node.output(0).get_target_inputs())
        if kind(scores) != "MatMul" or len(scores.get_partial_shape()) != 3 or len(users) != 1:
            continue
        product = users[0].get_node()
        if product.get_type_name() != "MatMul" or users[0].get_index() != 0:
            continue
        if node.get_attributes()["axis"] not in (-1, 2) or product.get_attributes()["transpose_a"]:
            continue
        behind = list(product.output(0).get_target_inputs())
        last = np.array([2])
        powers = ops.exp(ops.subtract(scores, ops.reduce_max(scores, last, keep_dims=True)))
        users[0].replace_source_output(powers.output(0))
        divided = ops.divide(product, ops.reduce_sum(powers, last, keep_dims=True))
        for user in behind:
            user.replace_source_output(divided.output(0))


def following_topk(resize: ov.Node) -> ov.Node | None:
    """Return the TopK over classes if the resized rows go into it and nowhere else."""
    node = resize
    for expected in ("Reshape", "TopK"):
        users = list(node.output(0).get_target_inputs())
        if len(users) != 1 or users[0].get_node().get_type_name() != expected:
            return None
        node = users[0].get_node()
    return node if selects_over_last(node) else None


def selects_over_last(choice: ov.Node) -> bool:
    """Return whether a TopK picks the single largest value along the last axis of (b p c)."""
    asked, count = choice.get_attributes(), choice.input_value(1)
    return asked["axis"] in (-1, 2) and asked["mode"] == "max" and is_constant(count) and values(count) == 1


def choose(choice: ov.Node, planes: ov.Output) -> None:
    """Turn a `choice` along rows (b p c) into one over planes (b c ...)."""
    from openvino import opset13 as ops

    _, indices = ops.topk(planes, np.int64(1), 1, "max", "none", index_element_type="i32").outputs()
    choice.output(1).replace(ops.reshape(indices, np.array([0, -1, 1]), special_zero=True).output(0))


def resized(planes: ov.Output, scales: npt.NDArray[Any], like: ov.Node) -> ov.Output:
    from openvino import opset13 as ops

    return ops.interpolate(planes, scales[1:3], axes=np.array([2, 3]), **like.get_attributes()).output(0)


def scales_of_pixels(resize: ov.Node) -> npt.NDArray[Any] | None:
    """Return the scales of a resize of (b h w c); None for all others."""
    if not is_constant(resize.input_value(1)):
        return None
    scales = values(resize.input_value(1))
    return scales if len(scales) == 4 and scales[3] == 1 else None


def nodes(model: ov.Model, type_name: str) -> list[ov.Node]:
    return [node for node in model.get_ordered_ops() if node.get_type_name() == type_name]


def kind(output: ov.Output) -> str:
    name: str = output.get_node().get_type_name()
    return name


def is_constant(output: ov.Output) -> bool:
    while kind(output) in ("Transpose", "Convert"):
        output = output.get_node().input_value(0)
    return kind(output) == "Constant"


def values(constant: ov.Output) -> npt.NDArray[Any]:
    """Return the values of a constant, also behind a conversion."""
    while kind(constant) == "Convert":
        constant = constant.get_node().input_value(0)
    data: npt.NDArray[Any] = constant.get_node().get_data()
    return data
