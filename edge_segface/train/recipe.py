"""A recipe says all that decides what weights come out: YAML in, checked values out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from edge_segface.data.augment import AUGMENTATIONS, CameraSettings
from edge_segface.errors import TrainingError
from edge_segface.model.build import PRESETS
from edge_segface.spec import SIZES
from edge_segface.typed import from_plain

FOLDER = Path(__file__).parent / "recipes"


def _need(holds: bool, words: str) -> None:
    if not holds:
        raise ValueError(words)


@dataclass(frozen=True)
class Optimizer:
    """AdamW."""

    lr: float = 1e-4
    weight_decay: float = 1e-5
    decay_all: bool = True  # also biases and norms
    clip: float | None = None  # of the gradients' norm

    def __post_init__(self) -> None:
        _need(
            self.lr > 0 and self.weight_decay >= 0 and (self.clip is None or self.clip > 0),
            "lr and clip must be above 0",
        )


@dataclass(frozen=True)
class Schedule:
    kind: Literal["steps", "cosine"] = "steps"
    milestones: tuple[int, ...] = (80, 200)  # epochs
    gamma: float = 0.1
    warm_up_steps: int = 0
    floor: float = 0.01  # where the cosine ends, as a share of lr

    def __post_init__(self) -> None:
        _need(
            self.warm_up_steps >= 0 and 0 <= self.floor <= 1, "warm_up_steps must not be below 0, floor within 0 and 1"
        )


@dataclass(frozen=True)
class Consensus:
    """Structure via consensus (Masi et al., CVPR 2020, eq. 8) on the connected pieces of every class."""

    weight: float = 0.0
    label: float = 0.0  # alpha: the mean over a piece must name its class
    agreement: float = 1.0  # beta: the pixels of a piece must agree with its mean
    from_epoch: int = 0
    min_area: int = 16
    most: int = 64  # pieces a picture

    def __post_init__(self) -> None:
        _need(min(self.weight, self.label, self.agreement) >= 0, "weights must not be below 0")
        _need(self.min_area >= 1 and self.most >= 1, "min_area and most must be at least 1")


@dataclass(frozen=True)
class Contrastive:
    """Sub-class-balanced contrastive learning (Hou et al., ICCV 2023) on the class tokens after the transformer."""

    weight: float = 0.0
    temperature: float = 0.1
    same_class: float = 0.25  # weight of what is of the same class, but another sub-class
    width: int = 128
    min_area: int = 64  # pixels of a class in a picture for its token to count
    from_epoch: int = 10
    regroup_epochs: int = 10
    most_groups: int = 16

    def __post_init__(self) -> None:
        _need(self.weight >= 0 and self.temperature > 0, "weight must not be below 0, temperature above it")
        _need(min(self.width, self.regroup_epochs, self.most_groups) >= 1, "counts must be at least 1")


@dataclass(frozen=True)
class Distillation:
    teacher: str | None = None  # a checkpoint, ours or official
    weight: float = 1.0
    temperature: float = 2.0
    size: int | None = None  # of the teacher's input; the student's by default

    def __post_init__(self) -> None:
        _need(self.weight >= 0 and self.temperature > 0, "weight must not be below 0, temperature above it")
        _need(self.size is None or self.size in SIZES, f"size must be a multiple of 32 from {SIZES[0]} to {SIZES[-1]}")


@dataclass(frozen=True)
class Recipe:
    preset: str
    epochs: int
    batch: int  # of all processes together
    label_space: Literal["celebamask19", "lapa11", "helen11"] = "celebamask19"
    dataset: Literal["celebamask", "lapa", "helen", "folder", "drawn"] = "celebamask"
    train_split: str = "train"
    val_split: str = "val"
    size: int = 512
    seed: int = 0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    backbone: str | None = None  # "imagenet", or a file with the state dict of torchvision's network
    start_from: str | None = None  # a checkpoint of the same preset
    warp: Literal["roi-tanh"] | None = None
    ce: float = 0.5
    dice: float = 0.5
    ema: float | None = None
    augmentation: str = "none"
    camera: CameraSettings = field(default_factory=CameraSettings)
    repeat_threshold: float = 0.0  # images with a class rarer than this are drawn more often
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    consensus: Consensus = field(default_factory=Consensus)
    contrastive: Contrastive = field(default_factory=Contrastive)
    distillation: Distillation = field(default_factory=Distillation)
    validate_epochs: int = 1
    licence: str = "as the pictures it was trained on"

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, not {self.preset!r}")
        if self.augmentation not in AUGMENTATIONS:
            raise ValueError(f"augmentation must be one of {', '.join(AUGMENTATIONS)}, not {self.augmentation!r}")
        _need(
            min(self.epochs, self.batch, self.validate_epochs) >= 1,
            "epochs, batch and validate_epochs must be at least 1",
        )
        _need(self.size in SIZES, f"size must be a multiple of 32 from {SIZES[0]} to {SIZES[-1]}, not {self.size}")
        _need(self.ema is None or 0 < self.ema < 1, f"ema must lie between 0 and 1, not {self.ema}")
        _need(self.seed >= 0 and self.repeat_threshold >= 0, "seed and repeat_threshold must not be below 0")
        if self.warp and self.augmentation == "camera":
            raise ValueError("the warp needs landmarks, which the camera augmentation does not carry along")

    @property
    def needs_class_pixels(self) -> bool:
        """Whether to count, before training, how much of each class every picture has."""
        borrows = self.augmentation == "camera" and self.camera.borrow > 0
        return bool(self.repeat_threshold or self.contrastive.weight or borrows)


def recipe_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """A recipe of the package by name, or a YAML file; `changes` are `key=value`, with dots for what lies deeper."""
    path = FOLDER / f"{name}.yaml" if name in recipe_names() else Path(name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainingError(
            f"no recipe is called {name!r}", remedy=f"choose one of {', '.join(recipe_names())}, or give a YAML file"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TrainingError(f"{path} is not a readable recipe", found=" ".join(str(error).split())[:200]) from error
    if not isinstance(content, dict):
        raise TrainingError(f"{path} is not a recipe", found=type(content).__name__, remedy="give `key: value` lines")
    for change in changes:
        _change(content, change)
    return recipe_from(content, str(path))


def recipe_from(content: Mapping[str, Any], source: str) -> Recipe:
    try:
        return from_plain(Recipe, content)
    except (ValueError, TypeError) as error:
        raise TrainingError(
            f"{source} cannot be followed",
            found=error,
            remedy="see all keys with: edge-segface recipes edge",
        ) from error


def recipe_text(recipe: Recipe) -> str:
    return yaml.safe_dump(plain(recipe), sort_keys=False)


def plain(recipe: Recipe) -> dict[str, Any]:
    """As YAML and JSON hold it."""
    return {
        name: list(value) if isinstance(value, tuple) else plain(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
        for name, value in ((f.name, getattr(recipe, f.name)) for f in dataclasses.fields(recipe))
    }


def differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`key: one's value, now other's`, for what differs."""
    found = []
    for key in sorted(one.keys() | other.keys()):
        a, b = one.get(key), other.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a}, now {b}")
    return found


def _change(content: dict[str, Any], change: str) -> None:
    key, sign, value = change.partition("=")
    if not sign or not key:
        raise TrainingError("a change is written key=value", found=change, remedy="such as --set optimizer.lr=1e-3")
    *path, last = key.strip().split(".")
    place = content
    for step in path:
        place = place.setdefault(step, {})
        if not isinstance(place, dict):
            raise TrainingError(f"there is nothing inside {step}", found=change)
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise TrainingError(f"the value of {key} cannot be read", found=value) from error
