from __future__ import annotations

import copy

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from edge_segface.model.build import PRESETS
from edge_segface.train.cpu import DepthwiseConv2d, DepthwiseConv2dSame, speed_up_depthwise


@pytest.mark.parametrize("layer_class", [nn.Conv2d, Conv2dSame])
@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 1, 12), (3, 2, 12), (5, 1, 9), (5, 2, 13)])
def test_fast_gradients_equal_those_of_torch(layer_class: type[nn.Conv2d], kernel: int, stride: int, size: int) -> None:
    torch.manual_seed(0)
    padding = 0 if layer_class is Conv2dSame else kernel // 2
    layer = layer_class(8, 8, kernel, stride=stride, padding=padding, groups=8, bias=False)
    fast = nn.Sequential(copy.deepcopy(layer))
    speed_up_depthwise(fast)
    assert type(fast[0]) in (DepthwiseConv2d, DepthwiseConv2dSame)
    image = torch.randn(2, 8, size, size, requires_grad=True)
    same = image.detach().clone().requires_grad_()
    expected = layer(image)
    gradient = torch.randn_like(expected)
    expected.backward(gradient)
    with torch.autocast("cpu", torch.bfloat16):
        found = fast(same)
    found.backward(gradient.bfloat16())
    weight = fast.get_parameter("0.weight")
    for one, other in ((found, expected), (same.grad, image.grad), (weight.grad, layer.weight.grad)):
        assert one is not None
        assert other is not None
        assert (one - other).norm() < 0.01 * other.norm()


def test_only_depthwise_layers_change_and_copies_keep_working() -> None:
    model = PRESETS["edge"](5)
    names = set(model.state_dict())
    speed_up_depthwise(model)
    twin = copy.deepcopy(model).eval()
    image = torch.randn(1, 3, 64, 64)
    plain = PRESETS["edge"](5).eval()
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(twin(image), plain(image))
    assert set(model.state_dict()) == names
    fast = [module for module in model.modules() if isinstance(module, DepthwiseConv2d)]
    assert fast
    assert all(module.groups == module.in_channels for module in fast)
