"""A camera loop with all that was asked for around it: what `edge-segface webcam` runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edge_segface.camera.grabber import Grabber
from edge_segface.camera.loop import CameraLoop, LoopSettings, Say
from edge_segface.camera.sinks import Masks, Recording, Sink, Window, has_display
from edge_segface.camera.sources import Wanted, open_source
from edge_segface.parser import FaceParser


@dataclass(frozen=True)
class Outputs:
    window: bool = False
    record: Path | None = None
    masks: Path | None = None
    serve: str | None = None


def run_webcam(
    parser: FaceParser,
    source: str,
    wanted: Wanted,
    outputs: Outputs,
    settings: LoopSettings,
    *,
    say: Say,
    shown: Callable[[CameraLoop], AbstractContextManager[None]],
) -> dict[str, Any]:
    """Runs until the source ends, or Ctrl-C, SIGTERM or `q` end it, and returns the report."""
    sinks = partial(open_sinks, parser, outputs, say)
    loop = CameraLoop(parser, partial(open_source, source, wanted), sinks, settings, say, wanted.stop)
    with shown(loop), stopped_by_signals(wanted.stop.set):
        return loop.run()


def open_sinks(parser: FaceParser, outputs: Outputs, say: Say, grabber: Grabber) -> list[Sink]:
    """All of them, or, if one cannot be had, none."""
    with ExitStack() as undo:
        sinks: list[Sink] = []

        def add(sink: Sink) -> None:
            sinks.append(sink)
            undo.callback(sink.close)

        if outputs.serve is not None:
            from edge_segface.camera.viewer.server import PageSink

            page = PageSink(outputs.serve, parser.space)
            add(page)
            say(f"page: {page.url}")
        if outputs.record is not None:
            add(Recording(outputs.record, grabber.fps, live=grabber.live))
        if outputs.masks is not None:
            add(Masks(outputs.masks))
        if outputs.window and has_display():
            add(Window("edge-segface"))
        elif outputs.window and outputs.serve is None:
            say("there is no display, so no window; --serve 127.0.0.1:8080 shows a page instead")
        undo.pop_all()
        return sinks


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `stop`, the first time; the second time they do what they did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    numbers = [number for number in numbers if before[number] is not signal.SIG_IGN]  # as nohup wants it

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: object) -> None:  # noqa: ARG001
        restore()
        stop()

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
