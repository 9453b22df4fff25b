"""The pip command for an extra, from where the user stands: a checkout, or an installed package."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

ASK = "from edge_segface.installation import install_command; print(install_command('viewer'))"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like a checkout, with the modules that answer."""
    folder = tmp_path / "a checkout"
    (folder / "edge_segface").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "edge_segface" / "__init__.py").write_text("")
    shutil.copy(ROOT / "edge_segface" / "installation.py", folder / "edge_segface")
    return folder


def site_packages(folder: Path, checkout: Path, *, direct_url: object | None, with_package: bool) -> Path:
    """A folder as pip fills it: the package's metadata, and unless it is editable the package."""
    metadata = folder / "edge_segface-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: edge-segface\nVersion: 0.1.0\n")
    if direct_url is not None:
        (metadata / "direct_url.json").write_text(json.dumps(direct_url))
    if with_package:
        shutil.copytree(checkout / "edge_segface", folder / "edge_segface")
    return folder


def asked(path: list[Path], cwd: Path) -> str:
    code = f"import sys; sys.path[:0] = {[str(each) for each in path]!r}; {ASK}"
    command = [sys.executable, "-I", "-c", code]  # -I: the current folder is not searched
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()


def test_a_checkout_that_is_not_installed(checkout: Path, tmp_path: Path) -> None:
    empty = site_packages(tmp_path / "site", checkout, direct_url=None, with_package=False)
    assert asked([checkout, empty], checkout) == "pip install '.[viewer]'"
    assert asked([checkout, empty], tmp_path) == f"pip install '{checkout}[viewer]'"


def test_an_editable_install_stays_editable(checkout: Path, tmp_path: Path) -> None:
    origin = {"url": checkout.as_uri(), "dir_info": {"editable": True}}
    site = site_packages(tmp_path / "site", checkout, direct_url=origin, with_package=False)
    assert asked([checkout, site], checkout) == "pip install -e '.[viewer]'"
    assert asked([checkout, site], tmp_path) == f"pip install -e '{checkout}[viewer]'"


def test_an_installed_wheel_is_named_by_its_project(checkout: Path, tmp_path: Path) -> None:
    origins = (
        None,
        {"url": "file:///tmp/edge_segface-0.1.0-py3-none-any.whl", "archive_info": {}},
        {"url": checkout.as_uri(), "dir_info": {}},
    )
    for number, origin in enumerate(origins):
        site = site_packages(tmp_path / str(number), checkout, direct_url=origin, with_package=True)
        assert asked([site], tmp_path) == "pip install 'edge-segface[viewer]'"


def test_an_install_from_a_checkout_names_it_by_a_dot_inside_it(checkout: Path, tmp_path: Path) -> None:
    origin = {"url": checkout.as_uri(), "dir_info": {}}
    site = site_packages(tmp_path / "site", checkout, direct_url=origin, with_package=True)
    assert asked([site], checkout) == "pip install '.[viewer]'"
