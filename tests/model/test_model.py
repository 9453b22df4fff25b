from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from edge_segface.model.attention import Attention, FourierPosition
from edge_segface.model.build import PRESETS, build_edge, build_paper
from edge_segface.warp.training import unwarp_grid


@pytest.mark.parametrize(("classes", "tensors", "parameters"), [(19, 431, 7_035_824), (11, 423, 7_033_776)])
def test_paper_has_the_official_number_of_tensors_and_parameters(classes: int, tensors: int, parameters: int) -> None:
    model = build_paper(classes)
    assert len(model.state_dict()) == tensors
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_backbone_outputs_strides_4_to_32() -> None:
    features = build_paper(19).eval().backbone(torch.zeros(1, 3, 512, 512))
    assert [tuple(feature.shape[1:]) for feature in features] == [
        (24, 128, 128),
        (40, 64, 64),
        (112, 32, 32),
        (960, 16, 16),
    ]
    assert {m.eps for m in build_paper(19).backbone.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size_hw", [(128, 128), (96, 160)])
def test_logits_have_the_size_of_the_image(preset: str, size_hw: tuple[int, int]) -> None:
    logits = PRESETS[preset](11).eval()(torch.zeros(2, 3, *size_hw))
    assert logits.shape == (2, 11, *size_hw)


def test_every_parameter_gets_a_gradient() -> None:
    for preset in PRESETS.values():
        model = preset(5)
        model(torch.randn(2, 3, 64, 64)).square().mean().backward()
        # The bias of keys shifts all scores of a softmax alike: its gradient is zero up to rounding, but not None.
        assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_forward_is_re_entrant() -> None:
    model = build_edge(11).eval()
    images = [torch.randn(1, 3, 128, 128) for _ in range(4)]
    with torch.no_grad():
        expected = [model(image) for image in images]
        found: dict[int, torch.Tensor] = {}

        def work(index: int) -> None:
            with torch.no_grad():
                found[index] = model(images[index])

        threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for index, logits in enumerate(expected):
        assert torch.allclose(found[index], logits, atol=1e-5)


def test_attention_equals_torch_multihead_attention() -> None:
    torch.manual_seed(0)
    ours, theirs = Attention(32, 4, 32), nn.MultiheadAttention(32, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    query, key, value = torch.randn(2, 5, 32), torch.randn(2, 7, 32), torch.randn(2, 7, 32)
    assert torch.allclose(ours(query, key, value), theirs(query, key, value)[0], atol=1e-6)


def test_position_code_of_one_pixel_equals_its_formula() -> None:
    position = FourierPosition(8)
    x, y = 2 * (2 + 0.5) / 5 - 1, 2 * (1 + 0.5) / 3 - 1
    angle = 2 * torch.pi * (x * position.gaussian[0] + y * position.gaussian[1])
    expected = torch.cat([angle.sin(), angle.cos()])
    assert torch.allclose(position(3, 5)[1 * 5 + 2], expected, atol=1e-5)


def test_positions_and_warps_keep_full_precision_under_autocast() -> None:
    torch.manual_seed(0)
    position = FourierPosition(128)
    landmarks = torch.tensor([[[190.0, 230.0], [310.0, 228.0], [250.0, 290.0], [212.0, 355.0], [290.0, 352.0]]])
    expected = position(32, 32), unwarp_grid(landmarks, 512)
    with torch.autocast("cpu", torch.bfloat16):
        got = position(32, 32), unwarp_grid(landmarks, 512)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == torch.float32
        assert torch.allclose(one, other, atol=1e-6)
