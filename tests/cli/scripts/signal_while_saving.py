"""The command line, in which writing a calibration set sends $SIGNAL to itself half-way."""

from __future__ import annotations

import os
import time
from typing import IO
from unittest import mock

import numpy as np

from edge_segface.cli import main


def write_half(file: IO[bytes], **_: object) -> None:
    file.write(b"half")
    os.kill(os.getpid(), int(os.environ["SIGNAL"]))
    time.sleep(60)


with mock.patch.object(np, "savez_compressed", write_half):
    main()
