"""Python processes of ours that import nothing from the folder in which a user works."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGE_PARENT = Path(__file__).resolve().parents[1]

# `-m` and `-c` put the working folder first on the path, where a stranger's `cv2.py` would win over the installed one.
# The option against that, -P, is new in Python 3.11, and -I would ignore packages that were installed for one user.
# The parent of this package comes last, for a checkout that runs without being installed.
START = (
    "import sys; sys.path[:] = [path for path in sys.path if path]; sys.path.append(sys.argv.pop(1)); "
    "import runpy; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
)


def isolated_python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules as a program."""
    file = PACKAGE_PARENT.joinpath(*module.split(".")).with_suffix(".py")
    return [sys.executable, "-c", START, str(PACKAGE_PARENT), str(file), *arguments]


def forget_working_folder() -> None:
    """Take the working folder off the path, which `python -m` puts first, unless this package lies there."""
    sys.path[:] = [path for path in sys.path if path and not _is_foreign_working_folder(path)]


def _is_foreign_working_folder(path: str) -> bool:
    return os.path.realpath(path) == os.getcwd() != str(PACKAGE_PARENT)
