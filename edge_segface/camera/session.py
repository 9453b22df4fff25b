"""A camera loop with everything the user asked for around it: what `edge-segface webcam` runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_segface.camera.loop import CameraLoop, LoopSettings, MultiCameraLoop, OnMessage
from edge_segface.camera.reader import SourceReader
from edge_segface.camera.recording import Recording
from edge_segface.camera.sinks import Masks, Sink, Window, has_display
from edge_segface.camera.sources import CameraRequest, is_image_source, open_source
from edge_segface.camera.systemd import SystemdWatchdog
from edge_segface.camera.viewer.message import LastMessage, StreamInfo
from edge_segface.errors import ImageError, SinkError, SourceError
from edge_segface.face.parser import FaceParser
from edge_segface.image_io import find_images
from edge_segface.redaction import redact
from edge_segface.signals import stop_on_signal

if TYPE_CHECKING:
    from edge_segface.camera.viewer.server import Page

Lines = Callable[[], list[str]]  # the current rates as text


@dataclass(frozen=True)
class Outputs:
    """Which sinks to open."""

    window: bool = False
    record: Path | None = None
    masks: Path | None = None
    serve: str | None = None
    tls: tuple[Path, Path] | None = None  # certificate and private key of the page
    overwrite: bool = False  # an existing recording, and masks of an earlier run

    def numbered(self, number: int) -> Outputs:
        """Return the outputs of one of several sources: files with its number, a folder in that of the masks."""
        record, masks = self.record, self.masks
        if record is not None:
            record = record.with_name(f"{record.stem}-{number}{record.suffix}")
        if masks is not None:
            masks = masks / str(number)
        return replace(self, record=record, masks=masks)


def run_webcam(
    parser: FaceParser,
    sources: Sequence[str],
    request: CameraRequest,
    outputs: Outputs,
    settings: LoopSettings,
    *,
    on_message: OnMessage,
    status: Callable[[Lines], AbstractContextManager[None]],
) -> dict[str, Any]:
    """Run until all sources end, or Ctrl-C, SIGTERM or `q` stop it, and return the report.

    Several sources are numbered from 1, and so are their outputs.
    """
    written = [outputs] if len(sources) == 1 else [outputs.numbered(number + 1) for number in range(len(sources))]
    for each in written:
        for source in sources:
            check_outputs_apart(each, source)
    messages = LastMessage(on_message)
    tick = SystemdWatchdog().tick
    if len(sources) == 1:
        opened, sinks = partial(open_source, sources[0], request), partial(open_sinks, parser, outputs, messages)
        loop = CameraLoop(parser, opened, sinks, settings, messages, request.stop, tick)
        with status(loop.lines), stop_on_signal(request.stop.set):
            return loop.run()
    several = MultiCameraLoop(parser, settings, on_message=messages, stop=request.stop, on_tick=tick)
    with ExitStack() as stack:
        stack.callback(several.close)  # also if a source or its outputs cannot be opened
        page = None
        if outputs.serve is not None:
            page = stack.enter_context(closing(open_page(outputs)))
            messages(f"page: {page.url}")
        missing = add_sources(several, sources, request, outputs, messages, page)
        with status(several.lines), stop_on_signal(request.stop.set):
            report = several.run()
    report["sources"] = dict(sorted({**report["sources"], **missing}.items(), key=lambda item: int(item[0])))
    return report


def add_sources(
    loop: MultiCameraLoop,
    sources: Sequence[str],
    request: CameraRequest,
    outputs: Outputs,
    messages: LastMessage,
    page: Page | None,
) -> dict[str, dict[str, str]]:
    """Add numbered sources, and report those that cannot be opened; raise if none can."""
    missing = {}
    for number, source in enumerate(sources, start=1):
        name = str(number)
        sinks = partial(open_sinks, loop.parser, outputs.numbered(number), messages, name=name, page=page)
        try:
            loop.add(name, partial(open_source, source, request), sinks)
        except SourceError as error:
            messages(f"source {name}: {error}")
            missing[name] = {"source": redact(source), "failure": str(error)}
    if len(missing) == len(sources):
        raise SourceError(f"none of the {len(sources)} sources can be opened", remedy="correct their addresses")
    return missing


def check_outputs_apart(outputs: Outputs, source: str) -> None:
    """Raise if an output would replace its own source, or if masks would be read as images by the next run."""
    file = source.removeprefix("file://")
    if outputs.record is not None and is_same(outputs.record, file):
        raise SinkError(f"{file} would be recorded onto itself", remedy="name another file")
    if outputs.masks is not None and any(is_same(outputs.masks, folder) for folder in folders_of_images(file)):
        raise SinkError(f"the masks would be among the images in {file}", remedy="name another folder")


def folders_of_images(source: str) -> set[str]:
    """Return the folders in which a source of images finds them."""
    if not is_image_source(source):
        return set()
    try:
        return {os.path.dirname(path) or "." for path in find_images([source])}
    except ImageError:
        return set()  # opening the source says what is wrong with it


def is_same(path: Path, text: str) -> bool:
    return os.path.exists(path) and os.path.exists(text) and os.path.samefile(path, text)


def open_page(outputs: Outputs) -> Page:
    from edge_segface.camera.viewer.server import Page, TlsFiles

    return Page(outputs.serve or "", TlsFiles(*outputs.tls) if outputs.tls is not None else None)


def open_sinks(
    parser: FaceParser,
    outputs: Outputs,
    on_message: LastMessage,
    reader: SourceReader,
    *,
    name: str = "",
    page: Page | None = None,
) -> list[Sink]:
    """Open all sinks of a source, or none if one is not available. Several sources have names and one page."""
    with ExitStack() as undo:
        sinks: list[Sink] = []

        def add(sink: Sink) -> None:
            sinks.append(sink)
            undo.callback(sink.close)

        if outputs.serve is not None:
            from edge_segface.camera.viewer.server import PageSink

            served = page or open_page(outputs)
            if page is None:
                undo.callback(served.close)
                on_message(f"page: {served.url}")
            info = partial(stream_info, parser, reader)
            add(PageSink(served, parser.space, info, on_message, source=name, owns_page=page is None))
        if outputs.record is not None:
            add(Recording(outputs.record, reader.fps, live=reader.live, overwrite=outputs.overwrite))
        if outputs.masks is not None:
            add(Masks(outputs.masks, overwrite=outputs.overwrite))
        if outputs.window and has_display():
            add(Window(f"edge-segface {name}".rstrip()))
        elif outputs.window and outputs.serve is None:
            on_message("no display, so no window; --serve 127.0.0.1:8080 shows a page instead")
        undo.pop_all()
        return sinks


def stream_info(parser: FaceParser, reader: SourceReader) -> StreamInfo:
    """Describe the loop for the page."""
    spec = parser.spec
    return StreamInfo(spec.name, parser.engine.description, spec.precision, spec.input_size, reader.description)
