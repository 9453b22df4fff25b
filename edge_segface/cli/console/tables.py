"""Results as tables on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from edge_segface.cli.console.messages import say, stdout, warn
from edge_segface.files import size_mb
from edge_segface.paper import PAPER_FPS

if TYPE_CHECKING:
    from pathlib import Path

    from edge_segface.bench.compare import Comparison
    from edge_segface.bench.interleave import RuntimeLatency
    from edge_segface.bench.layer_times import LayerTimes
    from edge_segface.bench.results import BenchmarkReport
    from edge_segface.bench.roofline import Estimate
    from edge_segface.build import BuildResult
    from edge_segface.demo import DemoResult
    from edge_segface.doctor import Finding
    from edge_segface.evaluate import EvaluationReport
    from edge_segface.face.parse_images import ParseSummary
    from edge_segface.labels import LabelSpace
    from edge_segface.model_info import ModelInfo
    from edge_segface.quantize.accuracy_gate import AccuracyDrop
    from edge_segface.quantize.sensitivity import Sensitivity

MOST_LINES = 10  # images that get a line of their own
MOST_LAYERS = 15
LEAST_SHARE = 0.005  # of a kind of layer to be listed


def print_build(result: BuildResult) -> None:
    table = Table(title="stages", title_justify="left")
    for column in ("stage", "file", "MB", "seconds"):
        table.add_column(column, justify="right" if column in ("MB", "seconds") else "left")
    for stage in result.stages:
        size = f"{size_mb(stage.file):.1f}" if stage.file.exists() else "-"
        table.add_row(
            stage.what, str(stage.file), size, stage.note or ("-" if stage.seconds is None else f"{stage.seconds:.1f}")
        )
    stdout.print(table)
    if result.layers:
        stdout.print("layers by output precision: " + ", ".join(f"{n} {kind}" for kind, n in result.layers.items()))
    if result.f1_drop:
        worst = max(result.f1_drop, key=lambda name: (result.f1_drop or {})[name])
        stdout.print(f"largest F1 drop from the lower precision: {result.f1_drop[worst]:.2f} ({worst})")
    if result.judged:
        stdout.print(result.judged)
    for warning in dict.fromkeys(result.warnings):
        warn(f"TensorRT warning: {warning}")


def print_findings(findings: Sequence[Finding]) -> None:
    marks = {"good": ("✓", "green"), "missing": ("-", "yellow"), "bad": ("✗", "red")}
    table = Table.grid(padding=(0, 2))
    for each in findings:
        mark, colour = marks[each.state]
        table.add_row(Text(mark, style=colour), each.part, Text(each.found))
        if each.remedy:
            table.add_row("", "", Text(each.remedy, style="dim" if each.state == "good" else colour))
    stdout.print(table)


def print_accuracy_drop(drop: AccuracyDrop) -> None:
    table = Table(title="F1 before and after", title_justify="left")
    for column in ("class", "images", "before", "after", "drop"):
        table.add_column(column, justify="left" if column == "class" else "right")
    before, after = drop.before.matrix, drop.after.matrix
    for index, name in enumerate(drop.space.names):
        scores = (before.f1()[index], after.f1()[index], drop.drops[index])
        table.add_row(name, str(drop.images_with_class[index]), *("-" if s != s else f"{s:.2f}" for s in scores))
    table.add_section()
    table.add_row("mean", "", f"{before.mean_f1():.2f}", f"{after.mean_f1():.2f}", f"{drop.mean_drop:.2f}")
    tails = drop.before.long_tail_f1(), drop.after.long_tail_f1()
    if tails[0] == tails[0]:
        table.add_row("long tail", "", f"{tails[0]:.2f}", f"{tails[1]:.2f}", f"{tails[0] - tails[1]:.2f}")
    stdout.print(table)
    stdout.print(drop.judged)


def print_sensitivity(ranked: list[Sensitivity]) -> None:
    table = Table(title="noise that int8 of each group alone adds to the logits, worst first", title_justify="left")
    for column in ("group", "layers", "work", "signal to noise"):
        table.add_column(column, justify="left" if column == "group" else "right")
    for one in ranked:
        table.add_row(one.group, str(one.layers), f"{100 * one.work:.1f} %", f"{one.noise_db:.1f} dB")
    stdout.print(table)


def print_scores(report: EvaluationReport, space: LabelSpace) -> None:
    table = Table(title=f"{report['model']} on {report['pictures']} images", title_justify="left")
    for column in ("class", "part", "F1", "IoU"):
        table.add_column(column, justify="left" if column in ("class", "part") else "right")
    tail = set(space.long_tail)
    order = [index for index in range(len(space)) if index not in tail] + sorted(tail)
    for place, index in enumerate(order):
        name = space.names[index]
        last_common = bool(tail) and place == len(order) - len(tail) - 1
        table.add_row(
            name, space.titles[index], _score(report["f1"][name]), _score(report["iou"][name]), end_section=last_common
        )
    stdout.print(table)
    stdout.print(f"mean F1 {_score(report['mean_f1'])} (without background), mIoU {_score(report['miou'])}")
    if tail:
        stdout.print(
            f"long-tail mean F1 {_score(report['long_tail_f1'])}: " + ", ".join(space.titles[i] for i in sorted(tail))
        )
    for name, score in report.get("merged_f1", {}).items():
        stdout.print(f"{name} {_score(score)}")
    stdout.print(f"artefacts {report['artefacts']:.2f} components too many or too few per image and class")


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def print_info(info: ModelInfo) -> None:
    spec = info.spec
    table = Table(title=spec.name, show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    side = spec.input_size
    means = {"mean F1": spec.mean_f1, "long-tail F1": spec.long_tail_f1}
    rows = {
        **{name: spec.why_no_f1 if mean is None else f"{mean:.2f}" for name, mean in means.items()},
        "file": f"{info.path} ({info.file_mb:.1f} MB)",
        "parameters": info.uncounted
        if info.parameters is None
        else f"{info.parameters / 1e6:.2f} million, as exported",
        "GFLOP": info.uncounted if info.gflop is None else f"{info.gflop:.2f} an image",
        "preset": spec.preset,
        "precision": spec.precision,
        "input": f"uint8 BGR (n, {side}, {side}, 3)" + (f", warped: {spec.warp}" if spec.warp else ""),
        "outputs": ", ".join(spec.outputs),
        "label space": spec.label_space,
        "classes": ", ".join(f"{index} {name}" for index, name in enumerate(spec.class_names)),
        "trained on": spec.training_data,
        "weights licence": spec.weights_licence,
        "F1": ", ".join(f"{name} {value:.1f}" for name, value in spec.f1.items()) if spec.f1 else spec.why_no_f1,
        "F1 drop": ", ".join(f"{name} {value:.2f}" for name, value in (spec.f1_drop or {}).items()) or "-",
        "kept in floating point": "; ".join(f"{name}: {why}" for name, why in (spec.kept or {}).items()) or "-",
        "calibrated on": spec.calibration_sha256 or "-",
        "made by": spec.made_by,
        "made from": spec.parent_sha256 or "unknown",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    stdout.print(table)


def print_speed(timed: Sequence[RuntimeLatency], source: str, quantized: Path) -> None:
    """Print the latency of both files on this machine, and which one to use here."""
    stdout.print(
        "latency on this processor: "
        + ", ".join(f"{one.model} in {one.runtime} {one.median_ms:.1f} ms" for one in timed)
    )
    fastest = min(timed, key=lambda one: one.ratio)
    if fastest.model == source:
        warn(
            f"{quantized} is slower than {source} here: on this processor run {source} in {fastest.runtime}; "
            "lower precision pays on GPUs, with TensorRT"
        )


def print_benchmark(report: BenchmarkReport) -> None:
    from edge_segface.bench.report import engine_lines, machine_line, report_tables, sustained_lines

    for content in report_tables(report):
        table = Table(title=content.title, title_justify="left", box=SIMPLE, padding=(0, 0))
        for column in content.columns:
            named = column == "model"
            table.add_column(column, justify="left" if named else "right", no_wrap=not named, overflow="fold")
        for cells in content.rows:
            table.add_row(*cells)
        stdout.print(table)
    sustained = (line for result in report.models for line in sustained_lines(result))
    for line in (*engine_lines(report), machine_line(report), *sustained):
        stdout.print(line)
    stdout.print(f"paper {report.paper_fps} FPS (SegFace MobileNetV3 at 512; machine not stated)")
    for line in report.warnings:
        warn(f"warning: {line}")


def print_comparison(comparison: Comparison) -> None:
    table = Table(title="second report against the first: p50, ms", title_justify="left", box=SIMPLE, padding=(0, 0))
    for column in ("engine", "batch", "first", "second", "speed-up", "95 % interval"):
        named = column == "engine"
        table.add_column(column, justify="left" if named else "right", no_wrap=not named, overflow="fold")
    for each in comparison.speed_ups:
        interval = f"{each.interval[0]:.3f} to {each.interval[1]:.3f}"
        times = (f"{each.first_ms:.3f}", f"{each.second_ms:.3f}", f"{each.ratio:.3f}", interval)
        table.add_row(each.name, str(each.batch), *times)
    stdout.print(table)
    for line in comparison.warnings:
        warn(f"warning: {line}")


def print_estimates(name: str, found: Sequence[Estimate]) -> None:
    first = found[0]
    table = Table(title=f"{name}, {first.precision}, batch 1: an ESTIMATE", title_justify="left")
    for column in ("board", "bound by", "ms", "FPS"):
        table.add_column(column, justify="right" if column in ("ms", "FPS") else "left")
    for one in found:
        slow, fast = one.fps
        unsure = " (?)" if {one.precision, "gb_per_s"} & set(one.board.unsure) else ""
        bound = f"{one.bound} ({100 * one.memory_share:.0f} % memory)"
        times = f"{one.best_ms:.2f} to {one.worst_ms:.2f}", f"{slow:.0f} to {fast:.0f}"
        table.add_row(one.board.title + unsure, bound, *times)
    stdout.print(table)
    stdout.print(
        f"{first.gflop:.2f} GFLOP, {first.mb:.1f} MB of memory traffic; board peaks are from data sheets. "
        "None of this was measured on a board."
    )
    if first.unknown:
        warn(f"warning: {first.unknown} layers are not counted: the file does not state their sizes")


def print_loop(report: dict[str, Any]) -> None:
    table = Table(title=f"{report['model']} on {report['engine']}", title_justify="left")
    for column in ("stage", "p50 ms", "p90 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    rows = {**report["stages_ms"], "end to end": report["latency_ms"]}
    for name, times in rows.items():
        if times:
            table.add_row(name, *(f"{times[p]:.2f}" for p in ("p50", "p90", "p99")), end_section=name == list(rows)[-2])
    stdout.print(table)
    stdout.print(f"engine only  {_fps(report['engine_fps'])} FPS")
    times = "" if report["of_paper"] is None else f", {report['of_paper']:.2f} times the paper's"
    stdout.print(f"end to end   {_fps(report['glass_to_result_fps'])} FPS{times}")
    stdout.print(f"paper        {_fps(report['paper_fps'])} FPS (SegFace MobileNetV3 at 512; machine not stated)")
    faces = "" if report["faces_per_frame"] is None else f", {report['faces_per_frame']} faces per frame"
    stdout.print(f"{report['frames']} frames in {report['seconds']:.1f} s{faces}; bound by: {report['bound_by']}")
    _print_power(report)
    if (recording := report["recording"]) and recording["frames"]:
        say(f"recorded {recording['frames']} frames in {recording['file']}, {recording['codec']}")
    lost = {
        "skipped": "unreadable images skipped",
        "dropped": "frames dropped for newer ones",
        "unshown": "frames parsed but not shown",
        "reconnects": "reconnects",
    }
    losses = [f"{report[key]} {words}" for key, words in lost.items() if report[key]]
    if losses:
        stdout.print(", ".join(losses))
    if report["flicker_percent"] and report["flicker_percent"]["with"] is not None:
        flicker = report["flicker_percent"]
        stdout.print(
            f"flicker: {flicker['with']:.2f} % of still pixels change class between frames, "
            f"{flicker['without']:.2f} % without the stabiliser"
        )
    stdout.print(f"{report['source']}; {report['machine']['cpu']}, {report['machine']['cores']} cores")


def print_layers(measured: LayerTimes) -> None:
    """Print the slowest layers of a model and the share of each kind."""
    table = Table(title=f"{measured.model} in {measured.runtime}, {measured.total_ms:.2f} ms", title_justify="left")
    for column in ("layer", "kind", "ms", "%"):
        table.add_column(column, justify="right" if column in ("ms", "%") else "left", overflow="fold")
    for layer in measured.layers[:MOST_LAYERS]:
        share = 100 * layer.ms / measured.total_ms
        table.add_row(Text(layer.name), Text(layer.kind), f"{layer.ms:.3f}", f"{share:.1f}")
    stdout.print(table)
    kinds = [f"{kind} {100 * share:.1f} %" for kind, share in measured.by_kind().items() if share >= LEAST_SHARE]
    stdout.print(Text(f"{len(measured.layers)} layers; by kind: {'; '.join(kinds)}"))


def print_sources(report: dict[str, Any]) -> None:
    """Print a line for each of several sources, and the rates of all together."""
    table = Table(title=f"{report['model']} on {report['engine']}", title_justify="left")
    for column in ("source", "", "frames", "end to end FPS", "p99 ms", "dropped", "reconnects"):
        table.add_column(column, justify="left" if column in ("source", "") else "right")
    for name, one in report["sources"].items():
        if "frames" not in one:
            table.add_row(name, Text(one["source"]), *["-"] * 5)
            continue
        latency = one["latency_ms"].get("p99")
        table.add_row(
            name, Text(one["source"]), str(one["frames"]), _fps(one["glass_to_result_fps"]),
            "-" if latency is None else f"{latency:.1f}", str(one["dropped"]), str(one["reconnects"]),
        )  # fmt: skip
    stdout.print(table)
    total = sum(one.get("glass_to_result_fps") or 0 for one in report["sources"].values())
    stdout.print(f"end to end   {_fps(total)} FPS together, {total / PAPER_FPS:.2f} times the paper's")
    for name, one in report["sources"].items():
        if (recording := one.get("recording")) and recording["frames"]:
            say(f"{name}: recorded {recording['frames']} frames in {recording['file']}, {recording['codec']}")
        if one["failure"]:
            say(f"{name}: {one['failure']}")
    stdout.print(
        f"{report['machine']['cpu']}, {report['machine']['cores']} cores, {report['cpu_cores']:.2f} of them busy"
    )
    _print_power(report)


def _print_power(report: dict[str, Any]) -> None:
    """Print mean power and temperature, where the machine has sensors."""
    found = [f"{watts:.1f} W ({scope})" for scope, watts in report["power_w"].items()]
    if temperatures := report["temperature_c"]:
        found.append(f"{max(temperatures.values()):.0f} °C")
    if found:
        say(f"on average {', '.join(found)}")


def _fps(value: float | None) -> str:
    return "       -" if value is None else f"{value:8.2f}"


def print_demo(result: DemoResult) -> None:
    print_loop(result.report)
    shares = (f"{part.replace('_', ' ')} {100 * share:.1f} %" for part, share in result.report["shares"].items())
    stdout.print("classes: " + ", ".join(shares))
    stdout.print(f"wrote {result.image} and {result.json}")


def print_parsed(summary: ParseSummary, images: int, out: Path) -> None:
    """Print how many faces each image has, or for many images all of them, and what needs attention."""
    if len(summary.face_heights) <= MOST_LINES:
        for path, heights in summary.face_heights.items():
            say(f"{path}: {count_of(len(heights), 'face')}")
    faces = sum(map(len, summary.face_heights.values()))
    say(f"{len(summary.written)} of {images} parsed into {out}: {count_of(faces, 'face')}")
    if empty := summary.without_face:
        warn(
            f"no face found in {names_of(empty)}; --whole parses a close-up as one face, a lower --min-score finds more"
        )
    if tiny := summary.tiny:
        warn(f"only tiny faces, with few of their parts, in {names_of(tiny)}; larger images give better results")
    if summary.failures:
        warn(f"{len(summary.failures)} failed: {names_of(list(summary.failures))}")


def count_of(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def names_of(paths: Sequence[Path], most: int = 5) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(str(path) for path in paths[:most]) + more
