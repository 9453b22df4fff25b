"""Bad inputs against the command line: `python benchmarks/bad_inputs.py [--cases 1000] [--seed 1] [--save]`."""

from __future__ import annotations

import sys
from pathlib import Path

import common
from common import Report

ROOT = Path(__file__).parent.parent


def main() -> None:
    arguments = common.argument_parser(__doc__)
    arguments.add_argument("--cases", type=int, default=1000, help="Default: 1000.")
    arguments.add_argument("--seed", type=int, default=1, help="Default: 1.")
    arguments.add_argument("--save", action="store_true", help="Write results/bad_inputs.json.")
    options = arguments.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.fuzz.run import run_cases

    report = common.new_report("onnxruntime", "opencv-python", "pillow")
    report |= run_cases(range(options.cases), options.seed, show=True)
    print(table(report))
    if options.save:
        common.write_result("bad_inputs", report)
    sys.exit(1 if report["faults"] else 0)


def table(report: Report) -> str:
    """Return the figures as Markdown."""
    faults = [fault["family"] for fault in report["faults"]]
    rows = [[family, count, faults.count(family)] for family, count in sorted(report["families"].items())]
    rows.append(["**all**", report["cases"], len(faults)])
    return common.markdown_table(["bad input", "cases", "faults"], rows) + common.footer(
        "bad_inputs",
        report,
        "A fault: a traceback, an unexpected kind of error, a crash, a hang, more than 1.5 GB of memory, a left-over "
        "file, a file in another place, or success where only an error is right.",
        f"Seed {report['seed']}; the slowest took {report['slowest_s']:g} s, the largest {report['most_mb']} MB.",
    )


if __name__ == "__main__":
    main()
