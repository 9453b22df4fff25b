"""Settings of the jetson-containers package: which version of edge-segface it installs."""

from jetson_containers import L4T_VERSION
from packaging.version import Version


def edge_segface(version: str = "") -> dict:
    """Return the package for one version of edge-segface, the newest by default."""
    config = package.copy()
    config["build_args"] = {"EDGE_SEGFACE_VERSION": f"=={version}" if version else ""}
    config["requires"] = ">=36"  # JetPack 6, the first with Python 3.10
    return config


package = [edge_segface()] if Version("36") <= L4T_VERSION else None
