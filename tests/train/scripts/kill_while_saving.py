"""Trains, and kills itself while it writes the state for the N-th time. Usage: kill_while_saving.py FOLDER N"""

import os
import signal
import sys
from pathlib import Path
from unittest.mock import patch

from tests.support.training import run_tiny


def main(folder: Path, at_save: int) -> None:
    saves = 0

    def truncate_and_kill(descriptor: int) -> None:
        nonlocal saves
        if ".state" in os.readlink(f"/proc/self/fd/{descriptor}"):
            saves += 1
            if saves == at_save:
                os.truncate(descriptor, 1000)
                os.kill(os.getpid(), signal.SIGKILL)

    with patch.object(os, "fsync", truncate_and_kill):
        run_tiny(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
