"""Run bad inputs against the command line: `python -m tests.fuzz.run --cases 1000 --seed 1 [--json FILE]`.

Each case runs in a process that is forked after everything has been imported, so that a thousand take minutes. What
counts as a fault: a traceback, an unexpected kind of error, a crash, a hang, a left-over temporary file, more than
1.5 GB of memory, a file outside the case's folder, or success where only an error is right.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fuzz.bad_inputs import Case, make_case

TIMEOUT_S = 40.0
MOST_MB = 1500.0
OUTPUT = "stderr.txt"


@dataclass(frozen=True)
class Fault:
    """What went wrong with a case."""

    family: str
    number: int
    arguments: list[str]
    what: str
    said: str


def preload() -> None:
    """Import what the commands import, so that a forked process need not."""
    import cv2
    import onnxruntime
    import torch

    import edge_segface.bench.measure
    import edge_segface.camera.session
    import edge_segface.cli
    import edge_segface.evaluate
    import edge_segface.face.parse_images
    import edge_segface.model.checkpoint
    import edge_segface.quantize.pipeline

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    assert onnxruntime.__version__
    assert edge_segface.cli.app


def run_case(case: Case, folder: Path, *, slow: float = 1.0) -> tuple[Fault | None, float, float]:
    """Run a case and return its fault, its seconds and its peak memory in MB."""
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        run_in_child(case, folder)
    deadline_s = started + TIMEOUT_S * slow
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline_s:
            os.killpg(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            return fault_of(case, folder, "hangs"), time.monotonic() - started, usage.ru_maxrss / 1e3
        time.sleep(0.005)
    seconds, memory_mb = time.monotonic() - started, usage.ru_maxrss / 1e3
    what = judge(case, folder, status, memory_mb)
    return (fault_of(case, folder, what) if what else None), seconds, memory_mb


def run_in_child(case: Case, folder: Path) -> None:
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        os.environ["EDGE_SEGFACE_HOME"] = str(folder.parent / "cache")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        output = os.open(folder.parent / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (1, 2):
            os.dup2(output, number)
        sys.argv = ["edge-segface", *map(os.fsdecode, case.arguments)]
        from edge_segface.cli import main

        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def judge(case: Case, folder: Path, status: int, memory_mb: float) -> str:
    """Return what is wrong with the end of a case, or nothing."""
    if os.WIFSIGNALED(status):
        return f"crashes with signal {os.WTERMSIG(status)}"
    code, said = os.WEXITSTATUS(status), (folder.parent / OUTPUT).read_text(errors="replace")
    if "Traceback (most recent call last)" in said:
        return "prints a traceback"
    if "please report this" in said:
        return "ends with an unexpected error"
    if code not in (0, 1, 2):
        return f"ends with {code}"
    if code == 1 and not said.strip():
        return "fails without a word"
    if code == 0 and case.fails:
        return "succeeds"
    if memory_mb > MOST_MB:
        return f"takes {memory_mb:.0f} MB"
    if left := [path.name for path in folder.rglob(".*-????????*") if path.name.count(".") <= 2]:
        return f"leaves {left[0]}"
    if strays := {path.name for path in folder.parent.iterdir()} - {folder.name, OUTPUT, "cache"}:
        return f"writes {min(strays)} outside"
    return ""


def fault_of(case: Case, folder: Path, what: str) -> Fault:
    said = (folder.parent / OUTPUT).read_text(errors="replace")
    arguments = [os.fsdecode(word)[:200] for word in case.arguments]
    return Fault(case.family, case.number, arguments, what, said[-600:])


def run_cases(numbers: range, seed: int, *, slow: float = 1.0, show: bool = False) -> dict[str, object]:
    """Run cases one after another and return what happened."""
    preload()
    faults: list[Fault] = []
    families: Counter[str] = Counter()
    slowest_s = most_mb = 0.0
    for number in numbers:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "case"
            folder.mkdir()
            case = make_case(seed, number, folder)
            fault, seconds, memory_mb = run_case(case, folder, slow=slow)
        families[case.family] += 1
        slowest_s, most_mb = max(slowest_s, seconds), max(most_mb, memory_mb)
        if fault is not None:
            faults.append(fault)
            if show:
                sys.stdout.write(f"{fault.family} {fault.number}: {fault.what}: {fault.arguments}\n    {fault.said}\n")
                sys.stdout.flush()
    return {
        "cases": len(numbers),
        "seed": seed,
        "families": dict(families),
        "faults": [asdict(fault) for fault in faults],
        "slowest_s": round(slowest_s, 1),
        "most_mb": round(most_mb),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report = run_cases(range(options.first, options.first + options.cases), options.seed, show=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    faults = report["faults"]
    assert isinstance(faults, list)
    sys.stdout.write(
        f"{report['cases']} cases, {len(faults)} faults, slowest {report['slowest_s']} s, {report['most_mb']} MB\n"
    )
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
