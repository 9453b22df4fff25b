"""SegFace MobileNetV3 at 512, one image, beside the paper's 95.96 FPS: in PyTorch and in every engine here.

    python benchmarks/paper.py [--rounds N] [--model FILE.onnx|FILE.engine ...]

PyTorch runs eager and compiled, in fp32 and in half precision (fp16 on a GPU, bf16 on a CPU), from normalised floats to
logits, as the official code does. Our export of the same weights runs from bytes to class ids in every installed
runtime. Weights are random unless `segface-mobilenet-celeb-512` was fetched; they do not change the time.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import common
import numpy as np
import torch
from common import Report, Row

from edge_segface.bench.environment import PACKAGES
from edge_segface.bench.interleave import interleaved
from edge_segface.bench.plots import bar_chart
from edge_segface.engine import Engine
from edge_segface.errors import EdgeSegfaceError, first_line
from edge_segface.export.onnx_export import export_onnx
from edge_segface.fetch import path_of
from edge_segface.labels import CELEBAMASK19
from edge_segface.machine import machine_info
from edge_segface.model.build import build_paper
from edge_segface.model.checkpoint import Weights, load_weights
from edge_segface.model.segface import SegFace
from edge_segface.models import FORMATS, load_engine
from edge_segface.paper import PAPER_FPS

SIZE = 512
ROUNDS = 20
OFFICIAL = "segface-mobilenet-celeb-512"

Works = dict[str, Callable[[], object]]
Skipped = dict[str, str]  # name -> reason


def main() -> None:
    arguments = common.argument_parser(__doc__)
    common.add_rounds(arguments, ROUNDS)
    arguments.add_argument("--model", type=Path, nargs="*", default=[], help="More engine files of `paper` at 512.")
    options = arguments.parse_args()
    fetched = path_of(OFFICIAL)
    model = (load_weights(fetched).model if fetched.exists() else build_paper(len(CELEBAMASK19))).eval()
    works, skipped = pytorch_works(model)
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "paper-512.onnx"
        export_onnx(Weights(model, "paper", CELEBAMASK19, "unknown", "unknown"), exported, size=SIZE)
        engine_works, engine_skipped = works_of_engines(exported, options.model)
        seconds = interleaved(works | engine_works, options.rounds)
    chip = torch.cuda.get_device_name() if torch.cuda.is_available() else machine_info()["cpu"]
    report = {
        **common.new_report("python", *PACKAGES, "torch"),
        "chip": chip,
        "settings": {"batch": 1, "size": SIZE, "rounds": options.rounds, "threads": torch.get_num_threads()},
        "weights": OFFICIAL if fetched.exists() else "random",
        "paper_fps": PAPER_FPS,
        "rows": [row(name, values) for name, values in seconds.items()],
        "skipped": skipped | engine_skipped,
    }
    common.write_result(f"paper{gpu_suffix()}", report)
    print(table(report))


def row(name: str, seconds: Sequence[float]) -> Row:
    fps = 1 / float(np.median(seconds))
    return {
        "what": name,
        "median_ms": common.median_ms(seconds),
        "fps": round(fps, 2),
        "of_paper": round(fps / PAPER_FPS, 3),
    }


def gpu_suffix() -> str:
    """Return a suffix that keeps the results of a GPU beside those of the CPU."""
    return f"-{torch.cuda.get_device_name().replace(' ', '-').lower()}" if torch.cuda.is_available() else ""


def pytorch_works(model: SegFace) -> tuple[Works, Skipped]:
    """Return calls of the network in PyTorch, and the variants that failed to compile."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    works: Works = {}
    skipped: Skipped = {}
    for dtype in (torch.float32, torch.float16 if device == "cuda" else torch.bfloat16):
        precision = str(dtype).removeprefix("torch.")
        network = copy.deepcopy(model).to(device=device, dtype=dtype)
        image = torch.zeros(1, 3, SIZE, SIZE, device=device, dtype=dtype)
        for mode, runner in (("eager", network), ("compiled", torch.compile(network))):
            name = f"PyTorch {torch.__version__}, {mode}, {precision}, {device}"
            work = partial(run_once, runner, image, device)
            try:
                work()
            except Exception as error:  # noqa: BLE001 - compilers fail in many ways; the report lists each
                skipped[name] = first_line(error)
            else:
                works[name] = work
    return works, skipped


@torch.inference_mode()
def run_once(network: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, device: str) -> None:
    network(image)
    if device == "cuda":
        torch.cuda.synchronize()


def works_of_engines(exported: Path, more: Sequence[Path]) -> tuple[Works, Skipped]:
    """Return calls of the exported file in every installed runtime and of more engine files; those that fail, too."""
    image = common.noise_image(SIZE)
    works: Works = {}
    skipped: Skipped = {}
    cases: list[tuple[Path, Any]] = [(exported, runtime) for runtime in FORMATS[".onnx"].runtimes if find_spec(runtime)]
    for path, runtime in [*cases, *((path, None) for path in more)]:
        try:
            engine = load_engine(path, runtime=runtime)
            engine.infer(image)
        except EdgeSegfaceError as error:
            skipped[f"{path} in {runtime or 'its own runtime'}"] = str(error)
            continue
        works[engine_title(engine, None if path == exported else path)] = partial(engine.infer, image)
    return works, skipped


def engine_title(engine: Engine, path: Path | None) -> str:
    return engine.description if path is None else f"{path}, {engine.spec.precision}: {engine.description}"


def figure(report: Report) -> str:
    """Draw the rate of each runtime."""
    rows = report["rows"]
    return bar_chart([row["what"] for row in rows], [row["fps"] for row in rows], report["paper_fps"])


def table(report: Report) -> str:
    rows = [
        (row["what"], f"{row['median_ms']:.1f}", f"{row['fps']:.2f}", f"{row['of_paper']:.3f}")
        for row in report["rows"]
    ]
    rows += [(name, "-", "-", reason) for name, reason in report["skipped"].items()]
    columns = ("runtime", "median ms", "FPS", f"share of the paper's {report['paper_fps']} FPS")
    settings = report["settings"]
    return common.markdown_table(columns, rows) + common.footer(
        "paper",
        report,
        f"SegFace MobileNetV3 at {settings['size']}, one image, {settings['rounds']} interleaved rounds, weights: "
        f"{report['weights']}. The paper states neither machine nor precision.",
        packages=(),
    )


if __name__ == "__main__":
    main()
