"""A recipe: a YAML file with everything that determines the trained weights, as checked values."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from edge_segface.data.augment import AUGMENTATIONS, CameraSettings
from edge_segface.documents import DocumentError, parse_yaml, read_yaml
from edge_segface.errors import TrainingError, did_you_mean
from edge_segface.model.build import PRESETS
from edge_segface.spec import SIZES
from edge_segface.typed import from_plain

FOLDER = Path(__file__).parent / "recipes"
MOST_EPOCHS, MOST_IMAGES = 1_000_000, 1 << 20


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class Optimizer:
    """Options of AdamW."""

    lr: float = 1e-4
    weight_decay: float = 1e-5
    decay_all: bool = True  # weight decay on biases and norms too
    clip: float | None = None  # maximum norm of the gradients

    def __post_init__(self) -> None:
        _require(
            self.lr > 0 and self.weight_decay >= 0 and (self.clip is None or self.clip > 0),
            "lr and clip must be positive, weight_decay must not be negative",
        )


@dataclass(frozen=True)
class Schedule:
    """Learning rate: steps down by gamma at milestones, or a cosine."""

    kind: Literal["steps", "cosine"] = "steps"
    milestones: tuple[int, ...] = (80, 200)  # epochs
    gamma: float = 0.1
    warm_up_steps: int = 0
    floor: float = 0.01  # end of the cosine, as a fraction of lr

    def __post_init__(self) -> None:
        _require(
            self.warm_up_steps >= 0 and 0 <= self.floor <= 1,
            "warm_up_steps must not be negative, floor must be between 0 and 1",
        )


@dataclass(frozen=True)
class Consensus:
    """Structure via Consensus (Masi et al., CVPR 2020, eq. 8) on the connected components of every class."""

    weight: float = 0.0
    label: float = 0.0  # alpha: the mean over a component must predict its class
    agreement: float = 1.0  # beta: the pixels of a component must agree with its mean
    from_epoch: int = 0
    min_area: int = 16  # pixels of a component
    most: int = 64  # components per image

    def __post_init__(self) -> None:
        _require(min(self.weight, self.label, self.agreement) >= 0, "weights must not be negative")
        _require(self.min_area >= 1 and self.most >= 1, "min_area and most must be at least 1")


@dataclass(frozen=True)
class Contrastive:
    """Sub-class-balanced contrastive learning (Hou et al., ICCV 2023) on the class tokens after the transformer."""

    weight: float = 0.0
    temperature: float = 0.1
    same_class: float = 0.25  # weight of other sub-classes of the same class
    width: int = 128
    min_area: int = 64  # pixels of a class in an image for its token to be used
    from_epoch: int = 10
    regroup_epochs: int = 10
    most_groups: int = 16

    def __post_init__(self) -> None:
        _require(self.weight >= 0 and self.temperature > 0, "weight must not be negative, temperature must be positive")
        _require(min(self.width, self.regroup_epochs, self.most_groups) >= 1, "counts must be at least 1")


@dataclass(frozen=True)
class Distillation:
    """Knowledge distillation from the logits of a trained network."""

    teacher: str | None = None  # a checkpoint, ours or official, or the name of fetched weights
    weight: float = 1.0
    temperature: float = 2.0
    size: int | None = None  # of the teacher's input; default: the student's

    def __post_init__(self) -> None:
        _require(self.weight >= 0 and self.temperature > 0, "weight must not be negative, temperature must be positive")
        _require(
            self.size is None or self.size in SIZES, f"size must be a multiple of 32 from {SIZES[0]} to {SIZES[-1]}"
        )


@dataclass(frozen=True)
class Recipe:
    """Network, data, losses and optimisation of a training run."""

    preset: str
    epochs: int
    batch: int  # images of one step, over all processes
    label_space: Literal["celebamask19", "lapa11", "helen11"] = "celebamask19"
    dataset: Literal["celebamask", "lapa", "helen", "folder", "drawn"] = "celebamask"
    also: str | None = None  # a folder of further samples, all for training, such as pseudo-labelled images
    train_split: str = "train"
    val_split: str = "val"
    size: int = 512
    seed: int = 0
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "fp32"  # auto: the fastest that the device has
    backbone: str | None = None  # "imagenet", or a file with a state dict of torchvision's network
    start_from: str | None = None  # a checkpoint of the same preset
    warp: Literal["roi-tanh"] | None = None
    ce: float = 0.5
    dice: float = 0.5
    dice_only_present: bool = False  # leave out classes that a batch lacks, instead of pushing them to zero
    rarity: float = 0.0  # exponent of the weights that the cross-entropy gives to rare classes
    ema: float | None = None  # decay of the averaged weights
    augmentation: str = "none"
    camera: CameraSettings = field(default_factory=CameraSettings)
    repeat_threshold: float = 0.0  # images with a class rarer than this share appear more often
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
        _require(
            min(self.epochs, self.batch, self.validate_epochs) >= 1,
            "epochs, batch and validate_epochs must be at least 1",
        )
        _require(self.epochs <= MOST_EPOCHS and self.batch <= MOST_IMAGES, "epochs or batch is too large")
        _require(self.size in SIZES, f"size must be a multiple of 32 from {SIZES[0]} to {SIZES[-1]}, not {self.size}")
        _require(self.ema is None or 0 < self.ema < 1, f"ema must be between 0 and 1, not {self.ema}")
        _require(
            min(self.seed, self.repeat_threshold, self.rarity) >= 0,
            "seed, repeat_threshold and rarity must not be negative",
        )
        if self.warp and self.augmentation == "camera":
            raise ValueError("the warp needs landmarks, which the camera augmentation does not produce")

    @property
    def needs_class_pixels(self) -> bool:
        """Whether the pixels of each class in every image must be counted before training."""
        borrows = self.augmentation == "camera" and self.camera.borrow > 0
        return bool(self.repeat_threshold or self.rarity or self.contrastive.weight or borrows)


def recipe_names() -> list[str]:
    """Return the names of the recipes in the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def recipe_summary(name: str) -> str:
    """Return the first line of a recipe of the package: what it is for."""
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def load_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Load a recipe of the package, or a YAML file, and change values by `key=value`; nested keys have dots."""
    path = FOLDER / f"{name}.yaml" if name in recipe_names() else Path(name)
    if not os.path.exists(path):
        names = recipe_names()
        raise TrainingError(
            f"no recipe is called {name!r}",
            remedy=f"{did_you_mean(name, names)}choose one of {', '.join(names)}, or give a YAML file",
        )
    try:
        content = read_yaml(path)
    except DocumentError as error:
        raise TrainingError(f"{path} is not a readable recipe", found=error) from error
    if not isinstance(content, dict):
        raise TrainingError(f"{path} is not a recipe", found=type(content).__name__, remedy="give `key: value` lines")
    for change in changes:
        _change(content, change)
    return recipe_from(content, str(path))


def recipe_from(content: Mapping[str, Any], source: str) -> Recipe:
    """Check parsed YAML and return it as a recipe; errors name the source and the key."""
    try:
        return from_plain(Recipe, content)
    except (ValueError, TypeError) as error:
        raise TrainingError(
            f"{source} is not a valid recipe",
            found=error,
            remedy="see all keys with: edge-segface recipes edge",
        ) from error


def recipe_text(recipe: Recipe) -> str:
    """Return the recipe as YAML, with all its values."""
    return yaml.safe_dump(to_plain(recipe), sort_keys=False)


def to_plain(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as nested dicts and lists, as YAML and JSON store it."""
    return {
        name: list(value) if isinstance(value, tuple) else to_plain(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
        for name, value in ((f.name, getattr(recipe, f.name)) for f in dataclasses.fields(recipe))
    }


def differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return a text like `optimizer.lr: 0.001, now 0.002` for each value that differs."""
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
        raise TrainingError("--set takes key=value", found=change, remedy="for example: --set optimizer.lr=1e-3")
    *path, last = key.strip().split(".")
    section = content
    for name in path:
        section = section.setdefault(name, {})
        if not isinstance(section, dict):
            raise TrainingError(f"{name} has no keys inside it", found=change, remedy=f"give --set {name}=VALUE")
    try:
        section[last] = parse_yaml(value)
    except DocumentError as error:
        raise TrainingError(f"the value of {key} is not valid YAML", found=value, remedy="quote it") from error
