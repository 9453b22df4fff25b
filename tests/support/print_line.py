"""Stands in for tegrastats. Usage: print_line.py LINE exit|wait|repeat

Prints the line (none if it is empty), then exits, waits without printing more, or prints it again and again.
"""

import sys
import time


def main(line: str, then: str) -> None:
    while line:
        print(line, flush=True)  # noqa: T201
        if then != "repeat":
            break
        time.sleep(0.01)
    if then == "wait":
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
