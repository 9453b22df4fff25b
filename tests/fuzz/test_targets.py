"""Damaged examples of everything that strangers may hand us end as one of our own errors."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.examples import EXAMPLES
from tests.fuzz.targets import TARGETS

EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 24), st.binary(max_size=6)), max_size=4)


def edited(content: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """Replace some bytes of an example, each edit at a share of its length."""
    for share, count, new in edits:
        at = int(share * len(content))
        content = content[:at] + new + content[at + count :]
    return content


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_examples(name: str, data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(EXAMPLES[name]))
    TARGETS[name](edited(content, data.draw(EDITS)))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=200))
def test_any_bytes(name: str, content: bytes) -> None:
    TARGETS[name](content)


def test_whole_examples_are_accepted() -> None:
    assert set(EXAMPLES) == set(TARGETS)
    for name, examples in EXAMPLES.items():
        for content in examples:
            TARGETS[name](content)
