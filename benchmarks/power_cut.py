"""Kill what writes at random moments, and look at what is left: `python benchmarks/power_cut.py [--kills 50] [--save]`.

SIGKILL ends a process as a power cut does, except that the system still writes what it had been given. After each kill,
every file that is in place must be whole, and what was finished before must still be there.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
import common
import cv2
from common import Report

from edge_segface.assets import FOLDER
from edge_segface.engine.tensorrt.engine import read_engine
from edge_segface.errors import EdgeSegfaceError
from edge_segface.model.checkpoint import load_content
from edge_segface.models import load_engine
from edge_segface.quantize.calibration.artefact import CalibrationSet

CLIP = Path(__file__).parents[1] / "tests" / "fuzz" / "corpus" / "clip.mp4"
SLACK_S = 2.5  # of a recording that a kill may cost, on a busy machine: its last second and what was still queued


@dataclass(frozen=True)
class Job:
    """A command that writes, when it is killed, and the look at its files.

    It is killed some `seconds` after the file `begins` appears, or, without one, in the last third of its usual time.
    """

    command: tuple[str, ...]
    faults: Callable[[Path, float], list[str]]
    begins: str = ""
    seconds: tuple[float, float] = (0.0, 0.0)


def main() -> None:
    arguments = common.argument_parser(__doc__)
    arguments.add_argument("--kills", type=int, default=50, help="Default: 50.")
    arguments.add_argument("--save", action="store_true", help="Write results/power_cut.json.")
    options = arguments.parse_args()
    rng = random.Random(0)
    rows: dict[str, dict[str, Any]] = {name: {"kills": 0, "before_the_end": 0, "faults": []} for name in JOBS}
    for number in range(options.kills):
        name = list(JOBS)[number % len(JOBS)]
        killed, faults = kill_once(JOBS[name], rng)
        rows[name]["kills"] += 1
        rows[name]["before_the_end"] += killed
        rows[name]["faults"] += faults
        print(number, name, "killed" if killed else "had ended", *faults, flush=True)
    report = {**common.new_report("av", "torch", "onnxruntime"), "jobs": rows}
    print(table(report))
    if options.save:
        common.write_result("power_cut", report)
    sys.exit(any(row["faults"] for row in rows.values()))


def kill_once(job: Job, rng: random.Random) -> tuple[bool, list[str]]:
    """Start a job, kill it at a random moment, and return whether it was still running, and what is wrong."""
    usual_s = 0.0 if job.begins else usual_seconds(job.command)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "edge_segface", *job.command]
        output = subprocess.DEVNULL
        with subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, start_new_session=True) as process:
            while job.begins and process.poll() is None and not (folder / job.begins).exists():
                time.sleep(0.02)
            began = time.monotonic()
            try:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(rng.uniform(*job.seconds) if job.begins else rng.uniform(usual_s * 2 / 3, usual_s))
            finally:
                process.kill()
            written_s = time.monotonic() - began
        return process.returncode == -signal.SIGKILL, job.faults(folder, written_s)


@cache
def usual_seconds(command: tuple[str, ...]) -> float:
    """Return how long a command takes."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "edge_segface", *command], cwd=folder, capture_output=True, check=True)
        return time.monotonic() - started


def recording_faults(folder: Path, written_s: float) -> list[str]:
    """A recording must play up to its last seconds."""
    path = next(iter(folder.glob("r.*")), None)
    if path is None or written_s < SLACK_S:
        return []
    try:
        with av.open(str(path)) as container:
            times = [frame.time for frame in container.decode(video=0) if frame.time is not None]
    except av.error.FFmpegError as error:
        return [f"a recording of {written_s:.1f} s does not open: {error}"]
    return [] if times else [f"a recording of {written_s:.1f} s has no frame"]


def mask_faults(folder: Path, _: float) -> list[str]:
    """Every mask under its name must be whole, and the list must name all of them."""
    names = set((folder / "m" / "masks.txt").read_text(encoding="utf-8").split())
    faults = [f"{path.name} is broken" for path in folder.glob("m/[0-9]*.png") if cv2.imread(str(path)) is None]
    return faults + [f"{path.name} is not listed" for path in folder.glob("m/[0-9]*.png") if path.name not in names]


def calibration_faults(folder: Path, _: float) -> list[str]:
    return whole(folder / "c.npz", CalibrationSet.load)


def onnx_faults(folder: Path, _: float) -> list[str]:
    return whole(folder / "e.onnx", lambda path: load_engine(path).close())


def openvino_faults(folder: Path, _: float) -> list[str]:
    return whole(folder / "e.xml", lambda path: load_engine(path).close())


def plan_faults(folder: Path, _: float) -> list[str]:
    """A plan without a record is not loaded; with one, both must belong together."""
    return whole(folder / "e.engine", read_engine) if (folder / "e.engine.json").exists() else []


def training_faults(folder: Path, _: float) -> list[str]:
    """The state of a run must be whole; that runs resume from it exactly is a test of its own."""
    return whole(folder / "run" / "state.pt", load_content)


def whole(path: Path, load: Callable[[Path], object]) -> list[str]:
    """Return what is wrong with a file that is in its place."""
    if not path.exists():
        return []
    try:
        load(path)
    except EdgeSegfaceError as error:
        return [str(error)]
    return []


CALIBRATE = ("calibrate", "--source", str(CLIP), "--count", "64", "--every", "1", "-o", "c.npz")
TRAIN = ("train", "drawn", "-o", "run", "--set", "epochs=2", "--set", "size=128", "--workers", "0")
JOBS = {
    "MP4": Job(("webcam", "-s", "demo", "--headless", "--record", "r.mp4"), recording_faults, "r.mp4", (0.2, 6)),
    "MKV": Job(("webcam", "-s", "demo", "--headless", "--record", "r.mkv"), recording_faults, "r.mkv", (0.2, 6)),
    "masks": Job(("webcam", "-s", "demo", "--headless", "--save-masks", "m"), mask_faults, "m/masks.txt", (0, 3)),
    "calibration set": Job(CALIBRATE, calibration_faults),
    "ONNX file": Job(("export", str(FOLDER / "edge.pt"), "-o", "e.onnx", "--size", "128"), onnx_faults),
    "OpenVINO engine": Job(("build-engine", "edge-256", "-o", "e.xml"), openvino_faults),
    "TensorRT-RTX plan": Job(("build-engine", "edge-256", "-o", "e.engine", "--runtime", "tensorrt-rtx"), plan_faults),
    "checkpoint": Job(TRAIN, training_faults, "run/state.pt", (0, 20)),
}


def table(report: Report) -> str:
    """Return the figures as Markdown."""
    rows = [[name, row["kills"], row["before_the_end"], len(row["faults"])] for name, row in report["jobs"].items()]
    return common.markdown_table(["written", "kills", "of them before the end", "faults"], rows) + common.footer(
        "power_cut",
        report,
        "A fault: a file in its place that cannot be read, or a recording without a frame although it had run for "
        f"{SLACK_S:g} s.",
    )


if __name__ == "__main__":
    main()
