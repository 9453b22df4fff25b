"""SegFace MobileNetV3 at 512, one picture: what the paper most likely timed, and what runs here, beside its 95.96 FPS.

    python benchmarks/paper.py [--rounds N] [--model F.onnx or F.engine ...]

PyTorch eager and compiled, in fp32 and in half precision (fp16 on a GPU, bf16 on a processor), from normalised floats
to logits, as the official code runs it; and our export of the same weights, from bytes to classes, in every engine that
is installed. Weights are random unless `segface-mobilenet-celeb-512` was fetched; they do not change the time.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge_segface.bench.interleave import interleaved
from edge_segface.bench.measure import versions
from edge_segface.bench.plots import bars
from edge_segface.errors import EdgeSegfaceError, first_line
from edge_segface.export.onnx_export import export_onnx
from edge_segface.fetch import path_of
from edge_segface.files import write_text
from edge_segface.labels import CELEBAMASK19
from edge_segface.machine import machine_info
from edge_segface.model.build import build_paper
from edge_segface.model.checkpoint import Weights, load_weights
from edge_segface.model.segface import SegFace
from edge_segface.models import FORMATS, load_engine
from edge_segface.paper import PAPER_FPS

RESULT = Path(__file__).parent / "results" / "paper.json"
SIZE = 512
ROUNDS = 20
OFFICIAL = "segface-mobilenet-celeb-512"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--model", type=Path, nargs="*", default=[], help="more engines of `paper` at 512")
    asked = options.parse_args()
    fetched = path_of(OFFICIAL)
    model = load_weights(fetched).model if fetched.exists() else build_paper(len(CELEBAMASK19))
    model = model.eval()
    works, skipped = in_torch(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "paper-512.onnx"
        write_ours(model, path)
        picture = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
        files = [(path, runtime) for runtime in FORMATS[".onnx"].runtimes if find_spec(runtime)]
        for file, runtime in [*files, *((file, None) for file in asked.model)]:
            try:
                engine = load_engine(file, runtime=runtime)
                engine.infer(picture)
            except EdgeSegfaceError as error:
                skipped[f"{file} in {runtime or 'its own runtime'}"] = str(error)
                continue
            own = "" if file == path else f"{file}, {engine.spec.precision}: "
            works[own + engine.description] = partial(engine.infer, picture)
        seconds = {name: np.array(values) for name, values in interleaved(works, asked.rounds).items()}
    rows = [
        {
            "what": name,
            "median_ms": round(1e3 * float(np.median(values)), 2),
            "fps": round(1 / float(np.median(values)), 2),
            "of_paper": round(1 / float(np.median(values)) / PAPER_FPS, 3),
        }
        for name, values in seconds.items()
    ]
    report = {
        "schema": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine_info(),
        "chip": torch.cuda.get_device_name() if torch.cuda.is_available() else machine_info()["cpu"],
        "versions": {**versions(), "torch": torch.__version__},
        "settings": {"batch": 1, "size": SIZE, "rounds": asked.rounds, "threads": torch.get_num_threads()},
        "weights": OFFICIAL if fetched.exists() else "random",
        "paper_fps": PAPER_FPS,
        "rows": rows,
        "skipped": skipped,
    }
    write_text(json.dumps(report, indent=2) + "\n", RESULT.with_name(f"paper{suffix()}.json"))
    print(table(report))


def picture(report: dict[str, Any]) -> str:
    rows = report["rows"]
    return bars([row["what"] for row in rows], [row["fps"] for row in rows], report["paper_fps"])


def suffix() -> str:
    """Results of a GPU lie beside those of the processor."""
    return f"-{torch.cuda.get_device_name().replace(' ', '-').lower()}" if torch.cuda.is_available() else ""


def write_ours(model: SegFace, path: Path) -> None:
    export_onnx(Weights(model, "paper", CELEBAMASK19, "not told", "not told"), path, size=SIZE)


def in_torch(model: SegFace) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    half = torch.float16 if device == "cuda" else torch.bfloat16
    works: dict[str, Callable[[], object]] = {}
    skipped = {}
    for dtype in (torch.float32, half):
        name = str(dtype).removeprefix("torch.")
        network = copy.deepcopy(model).to(device=device, dtype=dtype)
        image = torch.zeros(1, 3, SIZE, SIZE, device=device, dtype=dtype)
        for how, runner in (("eager", network), ("compiled", torch.compile(network))):
            label = f"PyTorch {torch.__version__}, {how}, {name}, {device}"
            try:
                runs = partial(one_run, runner, image, device)
                runs()
            except Exception as error:  # noqa: BLE001 - compilers fail in many ways; each is told
                skipped[label] = first_line(error)
                continue
            works[label] = runs
    return works, skipped


@torch.inference_mode()
def one_run(network: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, device: str) -> None:
    network(image)
    if device == "cuda":
        torch.cuda.synchronize()


def table(report: dict[str, Any]) -> str:
    lines = ["| what | median ms | FPS | of the paper's 95.96 |", "|---|---|---|---|"]
    for row in report["rows"]:
        lines.append(f"| {row['what']} | {row['median_ms']:.1f} | {row['fps']:.2f} | {row['of_paper']:.3f} |")
    lines += [f"| {name} | - | - | {why} |" for name, why in report["skipped"].items()]
    settings = report["settings"]
    lines += [
        "",
        f"SegFace MobileNetV3 at {settings['size']}, one picture, {settings['rounds']} interleaved rounds, weights "
        f"{report['weights']}. {report['chip']}, {report['machine']['cores']} cores. {report['date']}. Made by "
        "`benchmarks/paper.py`. The paper names neither machine nor precision.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
