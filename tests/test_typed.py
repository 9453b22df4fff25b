from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypedDict

import pytest

from edge_segface.typed import from_plain, value_of


@dataclass(frozen=True)
class Inner:
    rate: float
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    sizes: tuple[int, ...] = ()
    scores: dict[str, float] | None = None
    flags: tuple[bool, ...] = field(default=())


class Row(TypedDict):
    name: str
    times: list[float]


def test_nested_values_arrive_typed() -> None:
    built = from_plain(Outer, {"name": "x", "inner": {"rate": "1e-4"}, "sizes": [1, 2], "scores": {"hat": 3}})
    assert built == Outer("x", Inner(1e-4), (1, 2), {"hat": 3.0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nam": 1}, "unknown key nam; known are name, inner"),
        ({"inner": {}}, "inner.rate is missing"),
        ({"inner": {"rate": 1, "kind": "c"}}, "inner.kind must be one of a, b, not 'c'"),
        ({"name": 1}, "name must be str, not 1"),
        ({"sizes": [True]}, "sizes must be int, not True"),
        ({"sizes": 1}, "sizes must be a list"),
        ({"inner": {"rate": True}}, "inner.rate must be float, not True"),
        ({"inner": {"rate": float("nan")}}, "inner.rate must be float, not nan"),
    ],
)
def test_errors_name_the_key(change: dict[str, object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        from_plain(Outer, {"name": "x", "inner": {"rate": 1}, **change})


def test_unknown_keys_can_be_ignored() -> None:
    assert from_plain(Inner, {"rate": 2, "new": 1}, ignore_unknown=True) == Inner(2.0)


def test_typed_dicts_check_what_they_name() -> None:
    assert value_of(Row, {"name": "x", "times": [1], "more": None}, "row") == {
        "name": "x",
        "times": [1.0],
        "more": None,
    }
    with pytest.raises(ValueError, match=r"rows\[0\].times is missing"):
        value_of(list[Row], [{"name": "x"}], "rows")
