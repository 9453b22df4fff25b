"""How artefacts describe themselves: a ModelSpec inside every ONNX file, an EngineRecord beside every engine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edge_segface.documents import DocumentError, parse_json, read_document
from edge_segface.errors import ModelError
from edge_segface.files import write_text
from edge_segface.labels import LABEL_SPACES, LabelSpace
from edge_segface.typed import from_plain

METADATA_KEY = "edge_segface.spec"
PLANES_KEY = "edge_segface.planes"  # of files that `export --format portable` writes
RECORD_DIGEST = "sha256"  # key of a record's checksum
SCHEMA = 1
SIZES = range(128, 1025, 32)
RUNTIMES = ("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx")
PRECISIONS = ("fp32", "fp16", "int8")
LONGEST_NAME, LONGEST_TEXT = 100, 2000  # characters
NOT_IN_NAMES = frozenset('/\\:*?"<>|')  # what no file name may contain on some system
IDENTIFIER = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)

Spec = TypeVar("Spec", "ModelSpec", "EngineSpec", "EngineRecord", "TargetRecord")
Record = TypeVar("Record", "EngineRecord", "TargetRecord")


@dataclass(frozen=True)
class ModelSpec:
    """What a model file computes, and where its weights come from."""

    name: str
    preset: str
    label_space: str
    class_names: tuple[str, ...]  # in the order of their ids
    input_size: int
    outputs: tuple[str, ...]  # `labels`, `logits` or both
    precision: str
    training_data: str
    weights_licence: str
    made_by: str
    warp: str | None = None  # `roi-tanh`: expects images warped by five landmarks
    f1: dict[str, float] | None = None  # class name -> 0..100; None if not measured at this input size
    parent_sha256: str | None = None  # of the file this one was made from
    calibration_sha256: str | None = None  # of the images an int8 model was calibrated on
    f1_drop: dict[str, float] | None = None  # class name -> F1 lost by lower precision, if measured
    kept: dict[str, str] | None = None  # layers kept in floating point -> reason
    f1_size: int | None = None  # input size at which the F1 of the weights was measured
    sealed: bool = False  # whether the file carries a checksum (see seal.py)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        _check_texts(self)
        if not is_name(self.name):
            raise ModelError("a model has an unusable name", found=repr(self.name), remedy="use letters and digits")
        for field, value in (("preset", self.preset), ("label space", self.label_space)):
            if not IDENTIFIER.fullmatch(value):
                raise ModelError(f"{self.name} has an unusable {field}", found=repr(value))
        if unusable := [name for name in self.class_names if not IDENTIFIER.fullmatch(name)]:
            raise ModelError(f"{self.name} has a class with an unusable name", found=repr(unusable[0]))
        if self.precision not in PRECISIONS:
            raise ModelError(
                f"{self.name} has an unknown precision", found=self.precision, remedy=f"use {', '.join(PRECISIONS)}"
            )
        check_size(self.input_size)
        if not self.outputs or not set(self.outputs) <= {"labels", "logits"}:
            raise ModelError(f"{self.name} must have outputs `labels`, `logits` or both", found=self.outputs)
        if self.warp not in (None, "roi-tanh"):
            raise ModelError(f"{self.name} uses an unknown warp", found=self.warp)
        space = LABEL_SPACES.get(self.label_space)
        if space is not None and space.names != self.class_names:
            raise ModelError(
                f"{self.name} claims {self.label_space}, but its classes are in another order",
                found=", ".join(self.class_names),
                remedy="export it again from its weights",
            )
        if self.f1 is not None and not all(0 <= score <= 100 for score in self.f1.values()):
            raise ModelError(f"{self.name} has an F1 score that is not between 0 and 100", found=max(self.f1.values()))
        if self.f1 is not None and not set(self.f1) <= set(self.class_names):
            raise ModelError(f"{self.name} has F1 scores of classes that it does not have", found=", ".join(self.f1))

    @property
    def space(self) -> LabelSpace:
        if self.label_space not in LABEL_SPACES:
            raise ModelError(
                f"{self.name} uses an unknown label space",
                found=self.label_space,
                remedy="update edge-segface",
            )
        return LABEL_SPACES[self.label_space]

    @property
    def mean_f1(self) -> float | None:
        """Mean over the classes without background, as SegFace's tables report it."""
        return self._mean(self.class_names[1:])

    @property
    def long_tail_f1(self) -> float | None:
        """Mean over the rare classes of the label space."""
        return self._mean(self.class_names[index] for index in self.space.long_tail)

    @property
    def why_no_f1(self) -> str:
        """Why the file carries no F1; empty if it does."""
        if self.f1:
            return ""
        if self.f1_size not in (None, self.input_size):
            return f"not measured at this size; its weights were scored at {self.f1_size}"
        return "not measured"

    def _mean(self, names: Iterable[str]) -> float | None:
        scores = [self.f1[name] for name in names if name in self.f1] if self.f1 else []
        return sum(scores) / len(scores) if scores else None

    def metadata(self) -> dict[str, str]:
        return {METADATA_KEY: to_json(self)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Path) -> ModelSpec:
        if PLANES_KEY in metadata:
            raise ModelError(
                f"{path} is a portable file, for other programs", remedy="give the model that it was exported from"
            )
        if METADATA_KEY not in metadata:
            raise ModelError(
                f"{path} has no ModelSpec, so its classes and input are unknown",
                remedy="make it with: edge-segface export WEIGHTS --out F.onnx",
            )
        return from_json(cls, metadata[METADATA_KEY], path)


@dataclass(frozen=True)
class EngineSpec:
    """Runtime, precision and batch range of a build."""

    runtime: str
    precision: str
    batch: tuple[int, int, int] = (1, 1, 1)  # minimum, typical, maximum

    def __post_init__(self) -> None:
        for field, value, known in (("runtime", self.runtime, RUNTIMES), ("precision", self.precision, PRECISIONS)):
            if value not in known:
                raise ModelError(f"an engine has an unknown {field}", found=value, remedy=f"use {', '.join(known)}")
        least, usual, most = self.batch
        if not 1 <= least <= usual <= most:
            raise ModelError("a batch range must rise from 1 or more", found=self.batch)


@dataclass(frozen=True)
class EngineRecord:
    """What a build produced, from which file, on which machine."""

    engine: EngineSpec
    model: ModelSpec
    runtime_version: str
    device: str
    compute_capability: str | None
    onnx_sha256: str
    engine_sha256: str
    build_seconds: float
    calibration_sha256: str | None = None
    f1: dict[str, float] | None = None
    f1_drop: dict[str, float] | None = None
    system: str | None = None  # for example Linux aarch64
    command: str = ""  # that rebuilds the engine
    targets: tuple[str, ...] = ()  # compute capabilities TensorRT-RTX built for; empty: all it supports
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        _check_texts(self)

    @staticmethod
    def path_for(engine: Path) -> Path:
        return engine.with_name(engine.name + ".json")

    def save(self, engine: Path) -> None:
        write_text(sealed_record(dataclasses.asdict(self)), self.path_for(engine))

    @classmethod
    def load(cls, engine: Path) -> EngineRecord:
        return _load_record(cls, cls.path_for(engine), engine, "build the engine again")

    def mismatches(self, **machine: str | None) -> dict[str, tuple[object, object]]:
        """Map each field that differs to (recorded, found here)."""
        return {field: (getattr(self, field), here) for field, here in machine.items() if getattr(self, field) != here}


@dataclass(frozen=True)
class TargetRecord:
    """What a model in another format computes, and which files hold it; written beside it as NAME.json."""

    format: str
    model: ModelSpec  # with the precision of these files
    input: str
    output: str
    made_with: str  # packages and their versions
    agreement: float | None  # share of pixels with the class that ONNX Runtime finds; None: not run
    onnx_sha256: str  # of the file it was made from
    files: dict[str, str]  # path, relative to the record -> sha256
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        _check_texts(self)

    @staticmethod
    def path_for(model: Path) -> Path:
        return model.with_name(model.name + ".json")

    @classmethod
    def load(cls, model: Path) -> TargetRecord:
        return _load_record(cls, cls.path_for(model), model, "export it again")


def _load_record(kind: type[Record], path: Path, artefact: Path, remedy: str) -> Record:
    """Read a record whose checksum is right."""
    try:
        text = read_document(path)
    except DocumentError as error:
        raise ModelError(f"{artefact} has no readable record beside it", found=path, remedy=remedy) from error
    record = from_json(kind, text, path)
    content = parse_json(text)
    if content.pop(RECORD_DIGEST, None) != _digest(content):
        raise ModelError(
            f"{path} is damaged or was changed", found="its values do not match its checksum", remedy=remedy
        )
    return record


def sealed_record(content: Mapping[str, Any]) -> str:
    """Return the JSON of a record with a checksum over its values."""
    return json.dumps({**content, RECORD_DIGEST: _digest(content)}, indent=2) + "\n"


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_size(size: int) -> None:
    if size not in SIZES:
        near = min(SIZES, key=lambda candidate: abs(candidate - size))
        raise ModelError(
            "the input size must be a multiple of 32 from 128 to 1024", found=size, remedy=f"the nearest is {near}"
        )


def is_name(text: str) -> bool:
    """Whether a text may become the name of a file or folder, and a value in a server's configuration."""
    return (
        0 < len(text) <= LONGEST_NAME
        and text.isprintable()
        and not text.startswith((".", "-", " "))
        and not NOT_IN_NAMES & set(text)
    )


def _check_texts(record: ModelSpec | EngineRecord | TargetRecord) -> None:
    """Raise if a text that comes from a file has control characters, which would forge lines in what we write."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        texts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
        for text in texts:
            if isinstance(text, str) and not (text.isprintable() and len(text) <= LONGEST_TEXT):
                raise ModelError(f"{field.name} is not one line of text", found=repr(text[:80]))


def to_json(spec: ModelSpec | EngineSpec | EngineRecord | TargetRecord) -> str:
    return json.dumps(dataclasses.asdict(spec))


def from_json(kind: type[Spec], text: str, path: Path) -> Spec:
    """Parse what `to_json` wrote. Unknown fields of a newer minor version are ignored; wrong ones are errors."""
    try:
        content: Any = parse_json(text)
    except DocumentError as error:
        raise _broken(kind, path, str(error)) from error
    parts = [content, *content.values()] if isinstance(content, dict) else []
    for schema in (part.get("schema") for part in parts if isinstance(part, dict)):
        if isinstance(schema, int) and schema > SCHEMA:
            raise ModelError(
                f"{path} was written by a newer edge-segface", found=f"schema {schema}", remedy="update edge-segface"
            )
    try:
        return from_plain(kind, content, ignore_unknown=True)
    except (TypeError, ValueError) as error:
        raise _broken(kind, path, str(error)) from error


def _broken(kind: type[Any], path: Path, found: str) -> ModelError:
    return ModelError(f"{path} has a broken {kind.__name__}", found=found, remedy="make the file again")
