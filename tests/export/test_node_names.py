"""The patterns by which quantization recognises nodes match what is exported."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import pytest

from edge_segface.export.deploy import DeployGraph
from edge_segface.export.node_names import (
    ATTENTION_PRODUCTS,
    BACKBONE,
    GROUPS,
    MASK_PRODUCT,
    SQUEEZE_EXCITE,
    WRAPPING,
    group_of,
)
from edge_segface.export.onnx_export import write_graph
from edge_segface.model.build import PRESETS
from tests.support.weights import random_network

# Groups that a decoder does not have.
NO_SQUEEZE = {"squeeze and excite"}
ABSENT = {
    "paper": {"refinement at an eighth", "refinement at a quarter", "refinement at half"},
    "edge": {"upscaling", *NO_SQUEEZE},
    "pico": {"upscaling", *NO_SQUEEZE},
    "lite": {"upscaling", "refinement at an eighth", *NO_SQUEEZE},
    "teacher": {"upscaling", "refinement at an eighth", *NO_SQUEEZE},
    "edge-v1": {"upscaling", "refinement at an eighth"},
    "pico-v1": {"upscaling", "refinement at an eighth"},
}
# Patterns that match no node of some presets: the first self-attention is a constant, and `edge` has only one.
ABSENT_PATTERNS = {
    **{preset: {r".*/self_attention/MatMul.*", *SQUEEZE_EXCITE} for preset in ("edge", "pico")},
    **{preset: {*SQUEEZE_EXCITE} for preset in ("lite", "teacher")},
}


@cache
def node_names(preset: str) -> tuple[str, ...]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.onnx"
        write_graph(DeployGraph(random_network(preset), 128, ("labels",)), 128, ("labels",), path)
        return tuple(node.name for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("pattern", [*WRAPPING, *ATTENTION_PRODUCTS, *MASK_PRODUCT, *SQUEEZE_EXCITE, f".*{BACKBONE}"])
def test_each_pattern_matches_a_node_of_each_preset(preset: str, pattern: str) -> None:
    found = any(re.match(pattern, name) for name in node_names(preset))
    assert found == (pattern not in ABSENT_PATTERNS.get(preset, set()))


@pytest.mark.parametrize("preset", PRESETS)
def test_each_group_has_nodes_in_each_preset_that_has_it(preset: str) -> None:
    groups = {group_of(name) for name in node_names(preset)}
    named = {group for pattern, group in GROUPS if not re.compile(pattern).groups}
    assert named - groups == ABSENT[preset]
    assert groups >= {f"backbone stage {index}" for index in range(4)}


@pytest.mark.parametrize("preset", PRESETS)
def test_no_node_of_the_network_is_without_a_group(preset: str) -> None:
    rest = [name for name in node_names(preset) if group_of(name) == "rest"]
    assert all(re.match(r"/(before|after)/|/network/backbone/(act|bn)\d|Constant_\d", name) for name in rest)
