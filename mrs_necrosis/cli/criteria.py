"""``mrs-necrosis criteria``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mrs_necrosis
from mrs_necrosis.cli.console import EXIT_OK, say
from mrs_necrosis.cli.inputs import inputs_of
from mrs_necrosis.cli.options import add_acquisition, add_context, criteria_of, keywords_of

if TYPE_CHECKING:
    import argparse


def add_criteria(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("inputs", nargs="*", metavar="INPUT",
                        help="show where each criterion would put this case")  # fmt: skip
    parser.add_argument("--all", action="store_true",
                        help="also those that are switched off, unverified ones too")  # fmt: skip
    add_acquisition(parser)
    add_context(parser)


def run_criteria(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    criteria = criteria_of(options)
    places = {}
    inputs = inputs_of(options.parser, options.inputs, {})
    if len(inputs) > 1:
        options.parser.error("criteria takes one input")
    if inputs:
        from mrs_necrosis.classifier import place
        from mrs_necrosis.report.rows import finding_text

        keywords = keywords_of(options)
        found = mrs_necrosis.analyze(inputs[0].source, **keywords)
        if not found.is_single:
            options.parser.error("criteria takes a single voxel")
        conditions: Any = found  # has an echo time and a field
        findings = place(found.areas, acquisition=conditions, criteria=criteria,
                         context=keywords["context"])  # fmt: skip
        places = {finding.id: finding for finding in findings}
    for one in criteria:
        if not (one.enabled or options.all):
            continue
        state = "" if one.enabled else (" [off]" if one.is_verified else " [off, not verified]")
        say(f"{one.id}{state}")
        say(f"    {one.statement} favors {one.side}; {one.citation}")
        finding = places.get(one.id)
        if finding is not None:
            value = "" if finding.value is None else f" ({finding_text(finding)})"
            # a cut-off of concentrations is another one for areas
            as_what = "" if finding.statement == one.statement else f", as {finding.statement}"
            say(f"    this case: {finding.favors.value}{value}{as_what}")
        if one.note and options.verbose:
            say(f"    {one.note}")
    return EXIT_OK
