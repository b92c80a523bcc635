"""``mrs-necrosis demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import mrs_necrosis
from mrs_necrosis.cli.console import EXIT_OK, progress_bar, say
from mrs_necrosis.cli.values import path_value

if TYPE_CHECKING:
    import argparse


def add_demo(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--out", type=path_value, default=Path("mrs-necrosis-demo"), metavar="DIR",
                        help="where the reports go (mrs-necrosis-demo)")  # fmt: skip


def run_demo(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from mrs_necrosis.report.text import ratio_table, summary, verdict_words
    from mrs_necrosis.simulation import sample_path

    def tell(text: str) -> None:
        if not options.quiet:
            say(text)

    tell("The reference case: peak values as a console printed them (Zhuang et al. 2016)\n")
    table = sample_path("reference_case.toml")
    found = mrs_necrosis.analyze(table, out=options.out / "peak-table", overwrite=True)
    tell(summary(found))
    for echo_time in ("30", "144"):
        spectrum = sample_path(f"reference_case_te{echo_time}.nii.gz")
        folder = options.out / f"spectrum-te{echo_time}"
        with progress_bar(options) as progress:
            found = mrs_necrosis.analyze(spectrum, out=folder, overwrite=True, progress=progress)
        tell(f"\nA simulated spectrum with the same areas, echo time {echo_time} ms\n")
        tell(ratio_table(found))
        assert found.assessment is not None
        label, why = found.assessment.favors.value, verdict_words(found.assessment)
        tell(f"\n{label.upper()}: {why}")
    tell(f"\nThe reports are in {options.out}: open report.html in each folder.")
    return EXIT_OK
