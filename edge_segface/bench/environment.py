"""The state of the machine and the versions of the packages that numbers were measured with."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypedDict

from edge_segface.board import power_state
from edge_segface.machine import MachineInfo, machine_info

PACKAGES = ("edge-segface", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx", "numpy")


class Environment(TypedDict):
    """The part of a report that says what its numbers were measured on."""

    machine: MachineInfo
    power_state: dict[str, Any]
    versions: dict[str, str]


def environment() -> Environment:
    return {"machine": machine_info(), "power_state": power_state(), "versions": versions()}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that influence speed."""
    return {"python": sys.version.split()[0], **package_versions(PACKAGES)}


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
