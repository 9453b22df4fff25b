"""The camera loop: threads read, one thread tracks faces, one runs the engine, and threads draw and present.

While the engine runs for one frame, the crops of the next are cut and the faces of the one before are followed. Two
rates are always reported together: engine only, and end to end after capture, crop, inference, pasting, drawing and
every sink.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np

from edge_segface.camera.channel import Channel, LoopSettings, OnMessage, OpenSinks, Outputs, Planned, no_sinks
from edge_segface.camera.sources import Source
from edge_segface.camera.stats import LoopStats
from edge_segface.engine.base import check_has_labels
from edge_segface.engine.watched import EngineLostError
from edge_segface.face.parser import FaceParser
from edge_segface.machine import machine_info
from edge_segface.paper import PAPER_FPS
from edge_segface.telemetry import Sampler, sensors

__all__ = ["CameraLoop", "LoopSettings", "MultiCameraLoop", "OnMessage"]

POLL_S = 0.1
SENSORS_S = 1.0  # between readings of power and temperature
SENSOR_READINGS = 600  # the latest ones, whose mean is reported
LOST_PAUSE_S = 0.2  # before the next call of an engine that gave no result


def ignore_message(text: str) -> None:
    """Discard a message: the default of `on_message`."""


def no_tick() -> None:
    """Do nothing: the default of `on_tick`."""


@dataclass(frozen=True, eq=False)
class Batch:
    """The planned frames of one call of the engine, each of another channel, and the call's outputs."""

    planned: list[tuple[Channel, Planned]]
    outputs: Future[Outputs]


class MultiCameraLoop:
    """Parses the frames of several sources with one engine, all squares of all sources in one call.

    `run` ends when every source has ended. Sources may be added and dropped meanwhile, by any thread.
    """

    def __init__(
        self,
        parser: FaceParser,
        settings: LoopSettings | None = None,
        *,
        on_message: OnMessage = ignore_message,
        stop: threading.Event | None = None,
        on_tick: Callable[[], None] = no_tick,
    ) -> None:
        check_has_labels(parser.spec)
        self.settings = settings or LoopSettings()
        draw = self.settings.draw
        parser.space.ids_of(*(draw.classes or ()), *filter(None, [draw.alpha]))  # raises if it lacks one
        self.parser, self.on_message, self.on_tick = parser, on_message, on_tick
        self.stop = stop or threading.Event()
        self.engine_losses = 0  # calls of the engine without a result
        self.reports: dict[str, dict[str, Any]] = {}  # of the sources that have ended or were dropped
        self._last_loss = ""
        self._arrival = threading.Event()  # set when a source has a frame, or ends
        self._channels: dict[str, Channel] = {}
        self._changes: SimpleQueue[tuple[str, Channel | None]] = SimpleQueue()  # added, or dropped if None
        self._running: Batch | None = None
        self._inference = ThreadPoolExecutor(1, thread_name_prefix="inference")

    def add(
        self, name: str, open_source: Callable[[], Source], open_sinks: OpenSinks = no_sinks, *, tolerant: bool = True
    ) -> Channel:
        """Open a source and its sinks, to be parsed from the next turn on. If `tolerant`, its errors end it only."""
        channel = Channel(
            open_source, open_sinks, self.parser, self.settings, partial(self._say, name), self.stop, self._arrival,
            tolerant=tolerant,
        )  # fmt: skip
        self._changes.put((name, channel))
        return channel

    def drop(self, name: str) -> None:
        """Close a source and its sinks after the frame that is being parsed."""
        self._changes.put((name, None))

    @property
    def channels(self) -> Mapping[str, Channel]:
        """The sources that are being parsed."""
        return dict(self._channels)

    def lines(self) -> list[str]:
        """Return the current rates as text."""
        rates = [channel.stats.recent_rates().end_to_end for channel in tuple(self._channels.values())]
        total = sum(rate for rate in rates if not math.isnan(rate))
        return [f"{len(rates)} sources", f"end to end {total:.1f} FPS together", f"paper {PAPER_FPS} FPS"]

    def run(self) -> dict[str, Any]:
        """Run, and return the report; also after Ctrl-C."""
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        with Sampler(sensors(), SENSORS_S, keep=SENSOR_READINGS) as sampler:
            self._run()
        wall_s = time.perf_counter() - wall_s
        return {
            "schema": 1,
            "model": self.parser.spec.name,
            "engine": self.parser.engine.description,
            "cpu_cores": round((time.process_time() - cpu_s) / wall_s, 2),
            "power_w": sampler.means("power_w"),
            "temperature_c": sampler.means("temperature_c"),
            "sources": self.reports,
            "engine_losses": self.engine_losses,
            "machine": machine_info(),
        }

    def _run(self) -> None:
        try:
            while not self.stop.is_set():
                self._change()
                if not self._channels:
                    break
                self.on_tick()
                self._turn()
                if not all(window.refresh() for channel in self._channels.values() for window in channel.windows):
                    break
            self._finish_running()
        except KeyboardInterrupt:
            self.on_message("stopping")
        finally:
            self.close()

    def close(self) -> None:
        """Stop, and close all sources and sinks; `run` does so at its end."""
        self.stop.set()
        self._inference.shutdown(cancel_futures=True)
        self._receive_changes()
        with ExitStack() as closing:  # all of them, and then the first error is raised
            for name in self._channels:
                closing.callback(self._close, name)

    def _say(self, name: str, text: str) -> None:
        self.on_message(f"source {name}: {text.removeprefix('source: ')}" if name else text)

    def _change(self) -> None:
        """Add and drop sources as requested, and close those that have ended."""
        if not self._changes.empty():
            self._finish_running()
            self._receive_changes()
        for name in [name for name, channel in self._channels.items() if channel.done]:
            if len(self._channels) > 1:
                self._finish_running()
            self._close(name)

    def _receive_changes(self) -> None:
        while not self._changes.empty():
            name, channel = self._changes.get()
            if name in self._channels:
                self._close(name)
            if channel is not None:
                self._channels[name] = channel

    def _close(self, name: str) -> None:
        channel = self._channels.pop(name)
        try:
            channel.close()
        finally:
            self.reports[name] = channel.report()

    def _turn(self) -> None:
        """Give the engine what is there, and meanwhile finish what it was given before."""
        planned = self._planned()
        if not planned and self._running is None:
            return
        if not planned and self._must_wait():
            return
        before, self._running = self._running, self._start(planned) if planned else None
        if before is not None:
            self._finish(before)

    def _planned(self) -> list[tuple[Channel, Planned]]:
        """Plan the next frame of every channel that has one; wait for one while the engine has nothing to do."""
        self._arrival.clear()
        planned = self._planned_now()
        if planned or (self._running is not None and not self._must_wait()):
            return planned
        start = time.perf_counter()
        self._arrival.wait(min([POLL_S, *(channel.pause_s for channel in self._channels.values() if channel.pause_s)]))
        for channel in self._channels.values():
            channel.stats.waited_s += time.perf_counter() - start
        return self._planned_now()

    def _planned_now(self) -> list[tuple[Channel, Planned]]:
        planned = []
        for channel in self._channels.values():
            if channel.wants_frame and (frame := channel.take(0)) is not None:
                channel.planned = channel.plan(frame)
                planned.append((channel, channel.planned))
        return planned

    def _must_wait(self) -> bool:
        """Whether to finish nothing before the next frame is planned.

        A single video is parsed in the same way each time, however fast it is read. With a camera, or several sources,
        a result never waits for a frame.
        """
        only = next(iter(self._channels.values()))
        return len(self._channels) == 1 and not only.live and only.wants_frame

    def _start(self, planned: list[tuple[Channel, Planned]]) -> Batch:
        """Give the crops of several frames to the engine."""
        crops = np.concatenate([one.plan.crops for _, one in planned]) if len(planned) > 1 else planned[0][1].plan.crops
        counts = [len(one.plan.crops) for _, one in planned]
        if not len(crops):
            done: Future[Outputs] = Future()
            done.set_result({"labels": np.empty(crops.shape[:3], np.uint8)})
            return Batch(planned, done)

        def run() -> Outputs:
            start = time.perf_counter()
            outputs = self.parser.parse_all(crops)
            seconds = time.perf_counter() - start
            for (channel, _), count in zip(planned, counts, strict=True):
                if count:
                    channel.stats.watch.add("infer", seconds * count / len(crops))
            return outputs

        return Batch(planned, self._inference.submit(run))

    def _finish_running(self) -> None:
        before, self._running = self._running, None
        if before is not None:
            self._finish(before)

    def _finish(self, batch: Batch) -> None:
        """Follow the faces in the outputs of a batch, and pass on each frame that needs no closer looks."""
        while batch.planned:
            outputs = self._outputs(batch)
            if outputs is None:
                for channel, planned in batch.planned:
                    channel.lose(planned)
                return
            closer = []
            for channel, planned, part in parts_of(batch.planned, outputs):
                more = channel.follow(planned, part)
                if more is None:
                    channel.deliver(planned)
                else:
                    channel.planned = more
                    closer.append((channel, more))
            if not closer:
                return
            batch = self._start(closer)

    def _outputs(self, batch: Batch) -> Outputs | None:
        """Return the outputs; without an engine, None for live frames, while those of files wait for one."""
        while True:
            try:
                return batch.outputs.result()
            except EngineLostError as error:
                self.engine_losses += 1
                if str(error) != self._last_loss:  # not once a frame
                    self._last_loss = str(error)
                    self.on_message(self._last_loss)
                if self.stop.wait(LOST_PAUSE_S) or all(channel.live for channel, _ in batch.planned):
                    return None
                batch = self._start(batch.planned)


@dataclass(eq=False)
class CameraLoop:
    """Runs until the source ends, `frames` are done, its window is closed, or `stop` is set. A loop runs once."""

    parser: FaceParser
    open_source: Callable[[], Source]
    open_sinks: OpenSinks = no_sinks
    settings: LoopSettings = field(default_factory=LoopSettings)
    on_message: OnMessage = ignore_message
    stop: threading.Event = field(default_factory=threading.Event)
    on_tick: Callable[[], None] = no_tick  # called at every turn, with or without a frame

    def __post_init__(self) -> None:
        self._loop = MultiCameraLoop(
            self.parser, self.settings, on_message=self.on_message, stop=self.stop, on_tick=self.on_tick
        )
        self._channel: Channel | None = None

    @property
    def stats(self) -> LoopStats:
        """The rates so far."""
        return self._channel.stats if self._channel is not None else LoopStats()

    def lines(self) -> list[str]:
        """Return the current rates as text."""
        return self.stats.lines()

    def run(self) -> dict[str, Any]:
        """Run, and return the report; also after Ctrl-C."""
        self._channel = self._loop.add("", self.open_source, self.open_sinks, tolerant=False)
        report = self._loop.run()
        only: dict[str, Any] = report.pop("sources")[""]
        return {**report, **only}


def parts_of(
    planned: Iterable[tuple[Channel, Planned]], outputs: Outputs
) -> Iterable[tuple[Channel, Planned, Outputs]]:
    """Divide the outputs of a batch among its frames."""
    start = 0
    for channel, one in planned:
        end = start + len(one.plan.crops)
        yield channel, one, {name: array[start:end] for name, array in outputs.items()}
        start = end
