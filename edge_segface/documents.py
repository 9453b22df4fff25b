"""JSON and YAML that users can edit: parsed within limits, and with one kind of error for whatever is wrong."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import yaml

from edge_segface.errors import first_line, reason_of
from edge_segface.files import read_file

MOST_BYTES = 64 << 20
MOST_DIGITS = 40  # of a whole number
DEEPEST = 100  # levels of nesting
TIMESTAMP = "tag:yaml.org,2002:timestamp"


class DocumentError(ValueError):
    """A document that cannot be read, or is not what its format allows."""


def read_json(path: Path) -> Any:
    return parse_json(read_document(path))


def read_yaml(path: Path) -> Any:
    return parse_yaml(read_document(path))


def read_document(path: Path) -> str:
    """Return the text of a file."""
    try:
        return read_file(path, MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise DocumentError(reason_of(error)) from error
    except ValueError as error:  # not UTF-8, or a name that no file can have
        raise DocumentError(first_line(error)) from error


def parse_json(text: str) -> Any:
    """Parse JSON, without the NaN and the repeated keys that Python's parser accepts."""
    try:
        return json.loads(text, object_pairs_hook=_without_repetition, parse_constant=_no_constant, parse_int=_whole)
    except RecursionError as error:
        raise DocumentError("nested too deeply") from error
    except ValueError as error:
        raise DocumentError(f"not JSON: {first_line(error)}") from error


def parse_yaml(text: str) -> Any:
    """Parse YAML of plain values: no aliases, no repeated keys; dates stay text."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except RecursionError as error:
        raise DocumentError("nested too deeply") from error
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DocumentError(f"not valid YAML{where}: {error.problem}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise DocumentError(f"not valid YAML: {first_line(error)}") from error


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a key appears twice among {', '.join(key[:40] for key, _ in pairs)[:200]}")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """PyYAML's loader of plain values, with the limits of this module."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases are not used here", problem_mark=mark)
        self.depth += 1
        if self.depth > DEEPEST:
            raise RecursionError
        try:
            composed: yaml.Node | None = super().compose_node(parent, index)
            return composed
        finally:
            self.depth -= 1

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MOST_DIGITS:
            raise yaml.MarkedYAMLError(
                problem=f"a whole number of {len(node.value)} digits", problem_mark=node.start_mark
            )
        return int(super().construct_yaml_int(node))

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if repeated := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.MarkedYAMLError(problem=f"{repeated[:40]} appears twice", problem_mark=node.start_mark)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
