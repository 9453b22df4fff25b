"""Conversion of parsed JSON or YAML into checked dataclasses, for every file format of ours.

msgspec and cattrs were tried. msgspec ignores unknown keys of dataclasses, and cattrs turns a number into a string
without a word. Here, a mistyped key or value must be an error that names it.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, TypeVar

T = TypeVar("T")
LONGEST_SHOWN = 100  # characters of a value in a message


def from_plain(kind: type[T], content: object, prefix: str = "", *, ignore_unknown: bool = False) -> T:
    """Build a dataclass from a mapping. Raises TypeError or ValueError that names the key, as `optimizer.lr`.

    `ignore_unknown` accepts keys that a newer version may have added.
    """
    if not isinstance(content, Mapping):
        raise TypeError(f"{prefix.rstrip('.') or 'the content'} must hold `key: value` pairs, not {shown(content)}")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}  # type: ignore[arg-type]
    unknown = [shown(key).strip("'") for key in content if key not in fields]
    if unknown and not ignore_unknown:
        raise ValueError(f"unknown key {prefix}{unknown[0]}; known are {', '.join(prefix + name for name in fields)}")
    missing = dataclasses.MISSING
    required = [name for name, f in fields.items() if f.default is missing and f.default_factory is missing]
    if absent := [name for name in required if name not in content]:
        raise ValueError(f"{prefix}{absent[0]} is missing")
    values = {
        name: value_of(hints[name], content[name], prefix + name, ignore_unknown=ignore_unknown)
        for name in fields
        if name in content
    }
    return kind(**values)


def value_of(hint: Any, value: Any, key: str, *, ignore_unknown: bool = False) -> Any:
    """Return the value as its type annotation demands it."""
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast(type, hint), value, f"{key}.", ignore_unknown=ignore_unknown)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        chosen = next(argument for argument in arguments if argument is not type(None))
        return value_of(chosen, value, key, ignore_unknown=ignore_unknown)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{key} must be one of {', '.join(map(str, arguments))}, not {shown(value)}")
        return value
    if typing.is_typeddict(hint):
        return _typed_dict(hint, value, key)
    if origin is list:
        if not isinstance(value, list):
            raise TypeError(f"{key} must be a list, not {shown(value)}")
        return [
            value_of(arguments[0], item, f"{key}[{index}]", ignore_unknown=ignore_unknown)
            for index, item in enumerate(value)
        ]
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{key} must be a list, not {shown(value)}")
        kinds = [arguments[0]] * len(value) if arguments[-1] is ... else list(arguments)
        if len(kinds) != len(value):
            raise ValueError(f"{key} must have {len(kinds)} values, not {len(value)}")
        pairs = zip(kinds, value, strict=True)
        return tuple(value_of(kind, item, key, ignore_unknown=ignore_unknown) for kind, item in pairs)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise TypeError(f"{key} must be a mapping, not {shown(value)}")
        return {
            value_of(arguments[0], k, key): value_of(arguments[1], v, f"{key}.{k}", ignore_unknown=ignore_unknown)
            for k, v in value.items()
        }
    if hint is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):  # YAML reads 1e-4 as a string
            value = float(value)
    if (
        not isinstance(value, hint)
        or (isinstance(value, bool) and hint is not bool)
        or (isinstance(value, float) and not math.isfinite(value))
    ):
        raise TypeError(f"{key} must be {hint.__name__}, not {shown(value)}")
    return value


def shown(value: Any) -> str:
    """Return a value as a message shows it, shortened."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _typed_dict(hint: Any, value: Any, key: str) -> dict[str, Any]:
    """A mapping with at least the required keys of a TypedDict; other keys pass unchecked."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{key} must be a mapping, not {shown(value)}")
    if absent := sorted(hint.__required_keys__ - value.keys()):
        raise ValueError(f"{key}.{absent[0]} is missing")
    hints = typing.get_type_hints(hint)
    return {
        name: value_of(hints[name], inner, f"{key}.{name}") if name in hints else inner for name, inner in value.items()
    }
