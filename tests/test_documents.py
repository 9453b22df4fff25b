"""Documents with whatever parsers accept or choke on end as one kind of error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_segface.documents import DocumentError, parse_json, parse_yaml, read_json, read_yaml


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5000, "whole number of 5000 digits"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": -Infinity}', "Infinity is not a number"),
        ('{"a": 1, "a": 2}', "a key appears twice among a, a"),
        ('"\udc80"[', "not JSON"),
    ],
)
def test_json(text: str, words: str) -> None:
    with pytest.raises(DocumentError, match=words):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1, 2", "line 1"),
        ("[" * 500, "nested too deeply|line 1"),
        ("[" * 200 + "]" * 200, "nested too deeply"),
        ("a: " + "1" * 5000, "whole number of 5000 digits"),
        ("a: 1\na: 2", "a appears twice"),
        ("a: &x [1]\nb: *x", "aliases are not used"),
        ("a: &x [*x]", "aliases are not used"),
        ("? [1, 2]\n: 3", "line 1"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("a: \x00", "not valid YAML"),
        ("a: 2024-13-45", ""),
    ],
)
def test_yaml(text: str, words: str) -> None:
    if not words:
        assert parse_yaml(text) == {"a": "2024-13-45"}
        return
    with pytest.raises(DocumentError, match=words):
        parse_yaml(text)


def test_dates_stay_text() -> None:
    assert parse_yaml("a: 2024-01-02\nb: 1e-3\nc: 5") == {"a": "2024-01-02", "b": "1e-3", "c": 5}


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    for name, words in {
        "pipe": "not a regular file",
        "zero": "not a regular file",
        "loop": "symbolic links",
        "latin": "utf-8",
        "none": "No such file",
        ".": "a folder",
        "a\0b": "null",
        "n" * 300: "too long",
    }.items():
        for read in (read_json, read_yaml):
            with pytest.raises(DocumentError, match=words):
                read(tmp_path / name)


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "bom.json") == {}
