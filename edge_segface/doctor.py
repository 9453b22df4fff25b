"""What this machine can run, what is missing, and the command that fixes it."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge_segface import __version__
from edge_segface.assets import BUNDLED, DEFAULT_MODEL
from edge_segface.board import board_model, l4t_of, nvpmodel_output, power_mode, tegra_release
from edge_segface.engine.onnxruntime import installed
from edge_segface.engine.tensorrt.common import EXTRAS, TITLES, load_tensorrt
from edge_segface.engine.tensorrt.cuda import open_cuda
from edge_segface.errors import EdgeSegfaceError, first_line
from edge_segface.installation import install_command
from edge_segface.machine import machine_info
from edge_segface.models import load_engine

State = Literal["good", "missing", "bad"]  # missing: not installed, and not needed for the bundled models

# L4T release -> JetPack; the first match counts
JETPACKS = (
    ("39.2", "7.2"),
    ("38.4", "7.1"),
    ("38.", "7.0"),
    ("36.5", "6.2.2"),
    ("36.4.7", "6.2.1"),
    ("36.4.4", "6.2.1"),
    ("36.4.3", "6.2"),
    ("36.4", "6.1"),
    ("36.", "6.0"),
    ("35.", "5"),
    ("32.", "4"),
)


@dataclass(frozen=True)
class Finding:
    """One row: a part of the machine, its state, what was found, and what to type if it is not good."""

    group: str
    part: str
    state: State
    found: str
    remedy: str = ""


def examine(root: Path = Path("/")) -> list[Finding]:
    """Examine the machine. `root` is the root of the file system."""
    return [
        *_system(root),
        *_onnxruntime(),
        _openvino(),
        *_nvidia(root),
        *_cameras(root),
        *_models(),
    ]


def can_run(findings: list[Finding]) -> bool:
    """Return whether the default model runs here."""
    return any(each.part == DEFAULT_MODEL and each.state == "good" for each in findings)


def report(findings: list[Finding]) -> dict[str, Any]:
    return {
        "schema": 1,
        "edge_segface": __version__,
        "machine": machine_info(),
        "can_run": can_run(findings),
        "findings": [asdict(each) for each in findings],
    }


def _system(root: Path) -> Iterator[Finding]:
    where = machine_info()
    yield Finding("system", "Python", "good", f"{platform.python_version()} at {sys.executable}")
    yield Finding("system", "processor", "good", f"{where['cpu']}, {where['cores']} cores, {platform.machine()}")
    if (board := board_model(root)) is not None:
        yield Finding("system", "board", "good", board)
    if (release := tegra_release(root)) is not None:
        yield _jetpack(release)
    if (said := nvpmodel_output()) is not None:
        if (mode := power_mode(said)) is None:
            yield Finding(
                "system", "power mode", "missing", " ".join(said.split())[:80] or "no answer", "run: sudo nvpmodel -q"
            )
        else:
            yield Finding(
                "system", "power mode", "good", mode, "for full speed: sudo nvpmodel -m 0; sudo jetson_clocks"
            )


def _jetpack(text: str) -> Finding:
    l4t = l4t_of(text)
    if l4t is None:
        return Finding("system", "JetPack", "bad", first_line(ValueError(text)), "look at /etc/nv_tegra_release")
    jetpack = next((name for beginning, name in JETPACKS if l4t.startswith(beginning)), None)
    if jetpack is None or int(jetpack.split(".")[0]) >= 6:
        return Finding("system", "JetPack", "good", f"{jetpack or 'newer than this version knows'} (L4T {l4t})")
    remedy = "its TensorRT is too old for this program: build the .onnx file with trtexec there"
    return Finding("system", "JetPack", "bad", f"{jetpack} (L4T {l4t})", remedy)


def _onnxruntime() -> Iterator[Finding]:
    if len(there := installed()) > 1:
        remedy = "run: pip uninstall -y onnxruntime onnxruntime-gpu, then install the one you need"
        yield Finding("runtime", "ONNX Runtime", "bad", " and ".join(there) + " overwriting each other", remedy)
        return

    def look() -> str:
        ort = importlib.import_module("onnxruntime")
        providers = ", ".join(name.removesuffix("ExecutionProvider") for name in ort.get_available_providers())
        return f"{ort.__version__}: {providers}"

    yield _probe("runtime", "ONNX Runtime", look, "bad", "run: pip install onnxruntime")


def _openvino() -> Finding:
    def look() -> str:
        openvino = importlib.import_module("openvino")
        core = openvino.Core()
        can = ", ".join(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        return f"{openvino.__version__.split('-')[0]}: {', '.join(core.available_devices)}; the CPU supports {can}"

    return _probe("runtime", "OpenVINO", look, "missing", f"run: {install_command('openvino')}")


def _nvidia(root: Path) -> Iterator[Finding]:
    for runtime in ("tensorrt", "tensorrt-rtx"):
        remedy = f"run: {install_command(EXTRAS[runtime])}"
        if runtime == "tensorrt":
            remedy += ", or use JetPack's own in a venv made with --system-site-packages"
        title = TITLES[runtime]
        yield _probe("runtime", title, lambda runtime=runtime: load_tensorrt(runtime).__version__, "missing", remedy)  # type: ignore[misc]

    def look() -> str:
        cuda = open_cuda()
        major, minor = cuda.device.compute_capability
        found = f"{cuda.device.name}, compute capability {major}.{minor}, by {cuda.package}"
        cuda.close()
        return found

    remedy = "install its driver, and: pip install cuda-python"
    if tegra_release(root) is not None:
        remedy = f"run: {install_command('jetson')}"
    yield _probe("runtime", "NVIDIA GPU", look, "missing", remedy)


def _cameras(root: Path) -> Iterator[Finding]:
    import cv2

    line = re.search(r"GStreamer:\s*(\S+)", cv2.getBuildInformation())
    with_gstreamer = line is not None and line[1] == "YES"
    words = "with GStreamer" if with_gstreamer else "without GStreamer; gst-launch-1.0 is used instead"
    yield Finding("camera", "OpenCV", "good", f"{cv2.__version__}, {words}")
    if (tool := shutil.which("gst-launch-1.0")) is not None:
        yield Finding("camera", "GStreamer", "good", _describe_devices([tool, "--version"]).splitlines()[0])
    else:
        remedy = "run: sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-good"
        yield Finding("camera", "GStreamer", "missing", "gst-launch-1.0 not found", remedy)
    devices = sorted((root / "dev").glob("video*"))
    if not devices:
        yield Finding("camera", "cameras", "missing", "no /dev/video* found", "plug one in, or use a file or a stream")
    for device in devices:
        if os.access(device, os.R_OK | os.W_OK):
            yield Finding("camera", str(device), "good", "readable")
        else:
            yield Finding("camera", str(device), "bad", "not readable", "run: sudo usermod -aG video $USER")


def _models() -> Iterator[Finding]:
    for name in BUNDLED:

        def infer(name: str = name) -> str:
            with load_engine(name) as engine:
                side = engine.spec.input_size
                engine.infer(np.zeros((1, side, side, 3), np.uint8))
                return f"runs in {engine.description}"

        yield _probe("model", name, infer, "bad", "reinstall edge-segface")


def _probe(group: str, part: str, probe: Callable[[], str], otherwise: State, remedy: str) -> Finding:
    """Return what `probe` finds; a part that is installed but fails is bad, whatever it is needed for."""
    try:
        return Finding(group, part, "good", probe())
    except ModuleNotFoundError as error:
        return Finding(group, part, otherwise, first_line(error), remedy)
    except EdgeSegfaceError as error:
        found = error.what + (f": {error.found}" if error.found else "")
        return Finding(group, part, otherwise, found, error.remedy or remedy)
    except Exception as error:  # noqa: BLE001 - whatever a foreign library raises, this page must come to its end
        return Finding(group, part, "bad", f"{type(error).__name__}: {first_line(error)}", remedy)


def _describe_devices(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return first_line(error)
