"""What the rewrite and the `edge` network save: latency, peak memory, parameters and GFLOP of exported networks.

One run, rounds interleaved over all models, medians, two threads, ONNX Runtime on the CPU, fp32, batch 1. Weights are
random: they do not change the time. `plain` is the network as it is trained, exported with the same wrapping (bytes in,
classes out); `plain logits` is what torch.onnx.export gives without any of ours: normalised floats in, full logits out.

    python benchmarks/rewrite.py [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edge_segface.engine.onnxruntime import open_session
from edge_segface.files import write_text
from edge_segface.machine import machine_info
from edge_segface.timing import percentiles_ms

THREADS = 2
RESULT = Path(__file__).parent / "results" / "rewrite.json"
BASELINE = "plain paper 512"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        print(peak_mb(arguments.peak_of))
        return
    with tempfile.TemporaryDirectory() as folder:
        models = write_models(Path(folder))
        times = interleaved(models, arguments.rounds)
        rows = []
        for name, (path, counts) in models.items():
            ratios = np.array(times[BASELINE]) / np.array(times[name])
            rows.append(
                {
                    "model": name,
                    **counts,
                    "file_mb": round(path.stat().st_size / 1e6, 1),
                    "latency_ms": percentiles_ms(times[name]),
                    "speed_up": round(float(np.median(ratios)), 2),
                    "peak_memory_mb": peak_of_fresh_process(path),
                }
            )
    settings = {
        "threads": THREADS,
        "rounds": arguments.rounds,
        "batch": 1,
        "precision": "fp32",
        "spinning": False,
        "onnxruntime": ort.__version__,
        "compared_with": BASELINE,
    }
    report = {
        "schema": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine_info(),
        "settings": settings,
        "models": rows,
    }
    write_text(json.dumps(report, indent=2) + "\n", RESULT)
    print(table(report))


def write_models(folder: Path) -> dict[str, tuple[Path, dict[str, float]]]:
    """Name -> file, parameters and GFLOP."""
    import torch

    from edge_segface.export.deploy import DeployGraph
    from edge_segface.export.onnx_export import write_graph
    from edge_segface.export.rewrite import rewrite
    from edge_segface.model.build import PRESETS

    torch.manual_seed(0)
    models = {}
    for preset, size in (("paper", 512), ("edge", 512), ("edge", 256), ("pico", 256)):
        model = PRESETS[preset](19).eval()
        parameters = round(sum(p.numel() for p in model.parameters()) / 1e6, 2)
        graphs = {f"{preset} {size}": (DeployGraph(model, size, ("labels",)), rewrite(model, size))}
        if preset == "paper":
            logits = folder / "plain-logits.onnx"
            torch.onnx.export(
                model,
                (torch.zeros(1, 3, size, size),),
                str(logits),
                input_names=["image"],
                dynamo=False,
                opset_version=17,
            )
            counts = {"parameters_m": parameters, "gflop": gflop(model, size)}
            models["plain logits paper 512"] = (logits, counts)
            graphs = {BASELINE: (plain_graph(model), model), **graphs}
        for name, (graph, network) in graphs.items():
            path = folder / f"{name.replace(' ', '-')}.onnx"
            write_graph(graph, size, ("labels",), path)
            models[name] = (path, {"parameters_m": parameters, "gflop": gflop(network, size)})
    return models


def plain_graph(model: object) -> object:
    """A network as it is trained, in the wrapping of ours: bytes in, classes out."""
    import torch

    from edge_segface.model.segface import normalised

    class Plain(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.model(normalised(image)).argmax(dim=1).to(torch.uint8)

    plain = Plain()
    plain.model = model
    return plain


def gflop(network: object, size: int) -> float:
    """Two per multiply-add of convolutions and matrix products, counted by torch while the network runs once."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, size, size))  # type: ignore[operator]
    return round(counter.get_total_flops() / 1e9, 2)


def session_of(path: Path) -> tuple[ort.InferenceSession, dict[str, np.ndarray]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    # Idle threads of one session would spin while another is timed.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = open_session(path, options)
    [image] = session.get_inputs()
    shape = [1, *image.shape[1:]]
    generator = np.random.default_rng(0)
    if image.type == "tensor(uint8)":
        return session, {"image": generator.integers(0, 256, shape, dtype=np.uint8)}
    return session, {"image": generator.standard_normal(shape, dtype=np.float32)}


def interleaved(models: dict[str, tuple[Path, dict[str, float]]], rounds: int) -> dict[str, list[float]]:
    sessions = {name: session_of(path) for name, (path, _) in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for index in range(rounds + 3):
        for name, (session, feed) in sessions.items():
            start = time.perf_counter()
            session.run(None, feed)
            if index >= 3:
                times[name].append(time.perf_counter() - start)
    return times


def peak_of_fresh_process(path: Path) -> float:
    """Peak resident memory of loading and running one model, above that of a process which has loaded the runtime."""
    result = subprocess.run(
        [sys.executable, __file__, "--peak-of", str(path)], capture_output=True, text=True, check=True
    )
    return float(result.stdout)


def peak_mb(path: Path) -> float:
    before = _peak_resident_mb()
    session, feed = session_of(path)
    for _ in range(5):
        session.run(None, feed)
    return round(_peak_resident_mb() - before, 1)


def _peak_resident_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count what the parent had when it forked
        return float(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024 / 1e6  # type: ignore[index]
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def table(report: dict[str, object]) -> str:
    where, settings = report["machine"], report["settings"]
    lines = [
        "| model | parameters M | GFLOP | median ms | p90 ms | times as fast | peak memory MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["models"]:  # type: ignore[attr-defined]
        latency = row["latency_ms"]
        lines.append(
            f"| {row['model']} | {row['parameters_m']} | {row['gflop']} | {latency['p50']:.1f} | {latency['p90']:.1f} "
            f"| {row['speed_up']:.2f} | {row['peak_memory_mb']:.0f} |"
        )
    lines.append("")
    lines.append(
        f"{where['cpu']}, {where['cores']} cores, {where['system']}, Python {where['python']}, "  # type: ignore[index]
        f"ONNX Runtime {settings['onnxruntime']}, {settings['threads']} threads, fp32, batch 1; "  # type: ignore[index]
        f"{settings['rounds']} interleaved rounds, {report['date']}. "  # type: ignore[index]
        f"Ratios are medians of round by round ratios to `{settings['compared_with']}`. "  # type: ignore[index]
        "Made by `benchmarks/rewrite.py`."
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
