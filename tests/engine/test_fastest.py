"""Which runtime is chosen by default, and OpenVINO's cache of compiled models."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from edge_segface import engine as engines
from edge_segface import models
from edge_segface.assets import BUNDLED
from edge_segface.engine import fastest_first
from edge_segface.engine.base import say_once
from edge_segface.engine.openvino import engine as openvino_engine
from edge_segface.engine.openvino.cache import MOST_ENTRIES
from edge_segface.engine.openvino.engine import OpenVinoEngine
from edge_segface.errors import ModelError
from edge_segface.frames import UInt8Array
from edge_segface.models import FORMATS, load_engine, load_loop_engine
from tests.conftest import run_cli

RUNTIMES = FORMATS[".onnx"].runtimes
X86 = {"x86_64": True, "AMD64": True, "aarch64": False, "arm64": False, "riscv64": False}


@pytest.fixture(autouse=True)
def with_nothing_said() -> Iterator[None]:
    say_once.cache_clear()
    yield
    say_once.cache_clear()


@pytest.fixture
def images(portrait: UInt8Array) -> UInt8Array:
    return np.stack([portrait[:256, :256]])


@pytest.mark.parametrize(("machine", "is_x86"), X86.items())
@pytest.mark.parametrize("installed", [True, False])
def test_openvino_is_first_on_x86_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, machine: str, is_x86: bool, installed: bool
) -> None:
    monkeypatch.setattr(engines, "machine", lambda: machine)
    monkeypatch.setattr(engines, "find_spec", lambda _: object() if installed else None)
    expected = ["openvino", "onnxruntime"] if is_x86 and installed else ["onnxruntime"]
    assert fastest_first(RUNTIMES, {}) == expected
    assert fastest_first(RUNTIMES, {"threads": 2, "provider": "cpu"}) == expected
    assert fastest_first(RUNTIMES, {"provider": "cuda"}) == ["onnxruntime"]
    assert fastest_first(RUNTIMES, {"spin": False}) == ["onnxruntime"]
    assert fastest_first(RUNTIMES, {"hint": "throughput"}) == ["openvino"]
    assert fastest_first(("tensorrt",), {}) == ["tensorrt"]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_loop_leaves_a_core_free_unless_the_network_is_slow(
    monkeypatch: pytest.MonkeyPatch, runtime: Literal["onnxruntime", "openvino"]
) -> None:
    def threads(cores: int, slow_s: float, **options: Any) -> str:
        monkeypatch.setattr(models, "cpu_cores", lambda: cores)
        monkeypatch.setattr(models, "SLOW_S", slow_s)
        with load_loop_engine("edge-256", runtime=runtime, **options) as engine:
            found = re.search(r"(\w+) threads", engine.description)
            assert found is not None
            return found[1]

    assert threads(2, slow_s=10.0) == "1"
    assert threads(2, slow_s=0.0) == "all"
    assert threads(4, slow_s=0.0) == "3"
    assert threads(1, slow_s=10.0) == "all"
    assert threads(2, slow_s=0.0, threads=1) == "1"


def test_a_broken_openvino_is_passed_over_and_mentioned_once(tmp_path: Path) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("raise ImportError('libtbb.so.12: cannot open shared object')")
    code = "from edge_segface.models import load_engine as f; print(f('edge-256').description, f('edge-256').spec.name)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.startswith("ONNX Runtime")
    assert done.stderr.count("libtbb.so.12") == done.stderr.count("onnxruntime is used") == 1
    parsed = run_cli("benchmark", "edge-256", "--runtime", "openvino", "--rounds", "2", env=environment)
    assert parsed.returncode == 1
    assert "libtbb.so.12" in parsed.stderr


def test_what_is_wrong_with_a_file_is_said_as_before(tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(BUNDLED["edge-256"].read_bytes()[:100_000])
    with pytest.raises(ModelError, match="cannot be loaded by ONNX Runtime; it may be truncated"):
        load_engine(path)


def test_a_compiled_model_is_found_again(tmp_path: Path, images: UInt8Array, monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenVinoEngine(BUNDLED["edge-256"], cache=tmp_path) as engine:
        expected, spec = engine.infer(images), engine.spec
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(openvino_engine, "read_model", None)  # nothing is compiled
    with OpenVinoEngine(BUNDLED["edge-256"], cache=tmp_path) as engine:
        assert np.array_equal(engine.infer(images), expected)
        assert engine.spec == spec
    monkeypatch.undo()
    with OpenVinoEngine(BUNDLED["edge-256"], cache=tmp_path, threads=1) as engine:
        engine.infer(images)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_damaged_entry_is_replaced(
    tmp_path: Path, images: UInt8Array, caplog: pytest.LogCaptureFixture, place: int
) -> None:
    with OpenVinoEngine(BUNDLED["edge-256"], cache=tmp_path) as engine:
        expected = engine.infer(images)
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 1
    for content in (bytes(damaged), whole[:1000], b""):
        entry.write_bytes(content)
        with OpenVinoEngine(BUNDLED["edge-256"], cache=tmp_path) as engine:
            assert np.array_equal(engine.infer(images), expected)
        assert len(entry.read_bytes()) > 0.9 * len(whole)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "damaged entry" in caplog.text


def test_a_cache_that_cannot_be_written_is_mentioned_once(
    tmp_path: Path, images: UInt8Array, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    for _ in range(2):
        with OpenVinoEngine(BUNDLED["edge-256"], cache=tmp_path / "file" / "cache") as engine:
            assert engine.infer(images).shape == (1, 256, 256)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "compiled model is not cached" in caplog.text


def test_the_oldest_entries_go(tmp_path: Path) -> None:
    for number in range(MOST_ENTRIES + 3):
        path = tmp_path / f"{number}.blob"
        path.write_bytes(b"x")
        os.utime(path, (number, number))
    OpenVinoEngine(BUNDLED["edge-256"], cache=tmp_path).close()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == MOST_ENTRIES
    assert {"0.blob", "1.blob", "2.blob", "3.blob"}.isdisjoint(left)


def test_the_cache_lies_with_the_others_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_SEGFACE_HOME", str(tmp_path))
    OpenVinoEngine(BUNDLED["edge-256"]).close()
    assert len(list((tmp_path / "openvino").iterdir())) == 1
