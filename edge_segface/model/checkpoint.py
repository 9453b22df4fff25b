"""Checkpoints: our own and official ones. Loading one never executes code from the file."""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_segface.errors import CheckpointError, LabelError, first_line
from edge_segface.files import sha256_of, write_bytes
from edge_segface.labels import LAPA11, LabelSpace, label_space
from edge_segface.model.build import FIRST, PRESETS
from edge_segface.model.official import STATE_KEY, load_official
from edge_segface.model.segface import SegFace
from edge_segface.spec import ModelSpec

FORMAT = "edge-segface checkpoint 2"
FIRST_FORMAT = "edge-segface checkpoint 1"  # in which some presets had other names
PARALLEL_PREFIX = "module."  # prefix of every name in a checkpoint of a DataParallel network
OFFICIAL_DATA = {
    "celebamask19": "CelebAMask-HQ (official SegFace weights)",
    "lapa11": "LaPa (official SegFace weights)",
    "helen11": "Helen (official SegFace weights)",
}
OFFICIAL_LICENCE = "MIT as published; the data they were trained on are for non-commercial research"


@dataclass(frozen=True, eq=False)
class Weights:
    """A network in evaluation mode, with its label space and origin."""

    model: SegFace
    preset: str
    space: LabelSpace
    training_data: str
    licence: str
    warp: str | None = None
    size: int | None = None  # input size of the training
    f1: dict[str, float] | None = None  # by class, at that size
    sha256: str | None = None

    def f1_at(self, size: int) -> dict[str, float] | None:
        """Return F1 by class if it was measured at this input size: at another one it says nothing."""
        return self.f1 if size == self.size else None

    def spec(self, name: str, size: int, outputs: tuple[str, ...], made_by: str) -> ModelSpec:
        """Return the ModelSpec of an fp32 artefact made from these weights."""
        return ModelSpec(
            name=name,
            preset=self.preset,
            label_space=self.space.name,
            class_names=self.space.names,
            input_size=size,
            outputs=outputs,
            precision="fp32",
            training_data=self.training_data,
            weights_licence=self.licence,
            made_by=made_by,
            warp=self.warp,
            f1=self.f1_at(size),
            f1_size=self.size if self.f1 else None,
            parent_sha256=self.sha256,
        )


def load_weights(path: Path, space: LabelSpace | None = None) -> Weights:
    """Load our own or an official checkpoint. Raise if it is unreadable, foreign or damaged.

    `space` is needed for what a file does not contain: whether eleven tokens are LaPa's or Helen's.
    """
    content = load_content(path)
    if content.get("format") in (FORMAT, FIRST_FORMAT):
        return _load_own(content, space, path)
    state = content.get(STATE_KEY, content)
    if isinstance(state, Mapping) and state and all(str(key).startswith(PARALLEL_PREFIX) for key in state):
        state = {str(key).removeprefix(PARALLEL_PREFIX): value for key, value in state.items()}
    named = isinstance(state, Mapping) and bool(state) and all(isinstance(key, str) for key in state)
    if not named or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(
            f"{path} is neither an edge-segface nor an official SegFace checkpoint",
            found=f"keys {', '.join(map(str, list(content)[:4])) or 'none'}",
            remedy=f"official ones store their tensors under {STATE_KEY!r}",
        )
    model, space = load_official(state, space, path)
    _check_finite(model, path)
    return Weights(
        model,
        preset="paper",
        space=space,
        training_data=OFFICIAL_DATA[space.name],
        licence=OFFICIAL_LICENCE,
        warp="roi-tanh" if space == LAPA11 else None,
        sha256=sha256_of(path),
    )


def save_weights(weights: Weights, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a checkpoint in our own format; `dtype` may be half to save space."""
    state = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in weights.model.state_dict().items()
    }
    content = {
        "format": FORMAT,
        "preset": weights.preset,
        "label_space": weights.space.name,
        "training_data": weights.training_data,
        "licence": weights.licence,
        "warp": weights.warp,
        "size": weights.size,
        "f1": weights.f1,
        "state_dict": state,
    }
    file = io.BytesIO()
    torch.save(content, file)
    write_bytes(file.getbuffer(), path)


def load_content(path: Path) -> Mapping[str, Any]:
    """Return the content of a torch file without executing code from it. Raise if it is damaged or not a checkpoint."""
    try:
        if path.stat().st_size == 0:
            raise CheckpointError(f"{path} is empty", found="0 bytes", remedy="download or save it again")
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if broken := archive.testzip():  # torch does not verify checksums
                    raise CheckpointError(
                        f"{path} is damaged",
                        found=f"{broken} fails its checksum",
                        remedy="download it again",
                    )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about pickle protocols
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _unreadable(path, error) from error
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist", remedy="check the path") from error
    except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint; it may be incomplete",
            found=first_line(error),
            remedy="download or save it again",
        ) from error
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise CheckpointError(
            f"{path} is not a checkpoint", found=type(content).__name__, remedy="give a file saved by training"
        )
    return content


def _unreadable(path: Path, error: pickle.UnpicklingError) -> CheckpointError:
    text = " ".join(str(error).split())
    if found := re.search(r"GLOBAL \S+|Unsupported (?:global|class)[^.]*|REDUCE[^.]*", text):
        return CheckpointError(
            f"{path} contains Python objects that would run code when loaded, so it was not loaded",
            found=found[0],
            remedy="if you trust it, save its state dict alone with torch.save(model.state_dict(), F)",
        )
    return CheckpointError(
        f"{path} is not a checkpoint", found=first_line(error), remedy="give a file written by torch.save"
    )


def _load_own(content: Mapping[str, Any], space: LabelSpace | None, path: Path) -> Weights:
    try:
        own_space = label_space(content["label_space"])
        preset = content["preset"]
        if content["format"] == FIRST_FORMAT:
            preset = FIRST.get(preset, preset)
        model = PRESETS[preset](len(own_space))
        state = {
            name: value.float() if value.is_floating_point() else value for name, value in content["state_dict"].items()
        }
        if "class_offset" in state:
            model.class_offset = torch.empty(len(own_space))
        model.load_state_dict(state)
        known: dict[str, Any] = {name: content.get(name) for name in ("training_data", "licence", "warp", "size", "f1")}
        if not all(isinstance(known[name], str) for name in ("training_data", "licence")):
            raise TypeError("training_data and licence must be strings")
    except (LookupError, AttributeError, RuntimeError, TypeError, LabelError) as error:
        raise CheckpointError(
            f"{path} is an edge-segface checkpoint that this version cannot load",
            found=" ".join(str(error).split())[:200],
            remedy="use the version that saved it, or update",
        ) from error
    if space is not None and space != own_space:
        raise CheckpointError(f"{path} is not for {space.name}", found=own_space.name, remedy="leave out --labels")
    _check_finite(model, path)
    return Weights(
        model.eval(),
        preset=preset,
        space=own_space,
        sha256=sha256_of(path),
        **known,
    )


def _check_finite(model: SegFace, path: Path) -> None:
    """Raise if a weight is infinite or NaN."""
    for name, value in model.state_dict().items():
        if not torch.isfinite(value).all():
            raise CheckpointError(
                f"{path} contains weights that are not finite",
                found=name,
                remedy="use a checkpoint from before it diverged",
            )
