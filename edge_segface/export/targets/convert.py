"""Convert a model to another format; what is written has been compared with ONNX Runtime, from an image to classes."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.metadata import packages_distributions, version
from pathlib import Path

import numpy as np

from edge_segface.engine.onnxruntime import OnnxRuntimeEngine
from edge_segface.errors import EdgeSegfaceError, ModelError, OutputError, ParityError, first_line
from edge_segface.export.comparison import Parity, SampleCrops
from edge_segface.export.targets import TARGETS, Options, Run, Target
from edge_segface.extras import check_extra, check_torch
from edge_segface.files import check_place, make_folder, sha256_of, write_error, write_text
from edge_segface.labels import LabelSpace
from edge_segface.models import resolve, resolve_onnx
from edge_segface.spec import TargetRecord, sealed_record

STANDARD_STREAMS = (1, 2)

log = logging.getLogger("edge_segface")


@dataclass(frozen=True)
class Converted:
    """What was written. `parity` is None where nothing here runs the format."""

    path: Path
    parity: Parity | None
    record: TargetRecord

    @property
    def parity_text(self) -> str:
        return "not compared, because nothing here runs this format" if self.parity is None else str(self.parity)


def export_to(
    name: str,
    model: str,
    out: Path,
    options: Options,
    *,
    size: int | None = None,
    space: LabelSpace | None = None,
    warn: Callable[[str], None] = log.warning,
) -> Converted:
    """Export a model to the format `name`: a checkpoint, at `size`, or an ONNX file of ours."""
    check_request(name, out, options)
    check_extra(TARGETS[name].extra, f"export to {name}", *TARGETS[name].modules)
    if not resolve(model).is_checkpoint:
        if size is not None:
            raise ModelError(f"the input size of {model} is fixed", remedy="leave the size out")
        return convert(name, resolve_onnx(model), out, options)
    check_torch("exporting")
    from edge_segface.export.checkpoint import export_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"{resolve(model).path.stem}.onnx"
        export_checkpoint(model, source, size, space, warn=warn)
        return convert(name, source, out, options)


def convert(name: str, source: Path, out: Path, options: Options) -> Converted:
    """Convert an fp32 ONNX file of ours to the format `name`. If the result differs, raise and write nothing."""
    target = TARGETS[name]
    precision = options.precision or target.default_precision
    from edge_segface.export.targets.channels_first import channels_first

    planes = channels_first(source)
    with _staged(out) as staged:
        with _output_hidden():
            try:
                with import_module(f"edge_segface.export.targets.{name}").converted(planes, staged, options) as run:
                    parity = None if run is None else _parity(source, run)
            except EdgeSegfaceError:
                raise
            except Exception as error:  # converters raise errors of every kind
                raise ModelError(f"{planes.spec.name} cannot be converted to {name}", found=_reason(error)) from error
        least = target.least[precision]
        if parity is not None and not parity.within(least, np.inf):
            raise ParityError(
                f"the {name} model differs from its ONNX file",
                found=parity,
                remedy=f"at least {100 * least:g} % are needed; no file was written",
            )
        parent = sha256_of(source)
        f1 = planes.spec.f1 if precision == "fp32" else None  # lower precision has another
        record = TargetRecord(
            format=name,
            model=replace(planes.spec, precision=precision, f1=f1, parent_sha256=parent, sealed=False),
            input=target.input,
            output=target.output,
            made_with=_versions(target),
            agreement=None if parity is None or parity.agreement is None else round(parity.agreement, 6),
            onnx_sha256=parent,
            files={
                file.relative_to(staged.parent).as_posix(): sha256_of(file)
                for file in sorted(staged.parent.rglob("*"))
                if file.is_file()
            },
        )
        write_text(sealed_record(asdict(record)), TargetRecord.path_for(staged))
    return Converted(out, parity, record)


def check_request(name: str, out: Path, options: Options) -> None:
    """Raise unless the place, the precision and the calibration fit the format."""
    target = TARGETS[name]
    precision = options.precision or target.default_precision
    if not out.name.endswith(target.suffix) or out.name == target.suffix:
        raise OutputError(f"{name} models end in {target.suffix}", found=out, remedy="name such a file with --out")
    if precision not in target.least:
        raise ModelError(
            f"{name} has no {precision} here", remedy=f"choose {' or '.join(target.least)} with --precision"
        )
    if (precision == "int8") != (options.images is not None):
        raise ModelError(
            "a calibration set belongs to int8", remedy="give --precision int8 together with --calibration"
        )
    if target.is_folder and os.path.lexists(out):
        raise OutputError(f"{out} already exists", remedy="name another one, or remove it")
    check_place(TargetRecord.path_for(out))


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """Yield the path to write to, in a folder beside `out`; if the block succeeds, move what is there to its place."""
    make_folder(out.parent)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        yield Path(folder) / out.name
        for made in sorted(Path(folder).iterdir()):
            try:
                os.replace(made, out.with_name(made.name))
            except OSError as error:
                raise write_error(out, error) from error


def _parity(source: Path, run: Run) -> Parity:
    with OnnxRuntimeEngine(source) as engine:
        sample = SampleCrops(engine.spec.input_size)
        expected = engine.infer(sample.crops)
    found = np.stack([run(image) for image in sample.crops])
    return sample.compare([{"labels": found}], {"labels": expected}, "ONNX Runtime")


def _reason(error: Exception) -> str:
    """Return the line of a converter's error that says what is wrong: some put a traceback into their message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines and lines[0].startswith("Traceback") else first_line(error)


def _versions(target: Target) -> str:
    names = {top: packages[0] for top, packages in packages_distributions().items()}
    packages = sorted({names[module] for module in target.modules if module in names})
    return ", ".join(f"{package} {version(package)}" for package in packages)


@contextmanager
def _output_hidden() -> Iterator[None]:
    """Keep what converters print, also from C++, off the terminal."""
    sys.stdout.flush()
    sys.stderr.flush()
    with open(os.devnull, "wb") as nowhere:
        saved = [os.dup(number) for number in STANDARD_STREAMS]
        for number in STANDARD_STREAMS:
            os.dup2(nowhere.fileno(), number)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in zip(STANDARD_STREAMS, saved, strict=True):
                os.dup2(copy, number)
                os.close(copy)
