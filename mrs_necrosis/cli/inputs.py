"""What a command line asks to analyse: files, their water references, peak values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from mrs_necrosis.errors import MRSNecrosisError

if TYPE_CHECKING:
    import argparse


_PEAK: Final = re.compile(r"[A-Za-z][\w+./-]*\s*=.*", re.DOTALL)


def take_water_references(
    parser: argparse.ArgumentParser, arguments: list[str]
) -> tuple[list[str], dict[int, str]]:
    """Take ``--water-reference FILE`` out; return the rest and the files by input's number."""
    rest: list[str] = []
    references: dict[int, str] = {}
    queue = list(arguments)
    while queue:
        argument = queue.pop(0)
        option, equals, value = argument.partition("=")
        if option != "--water-reference":
            rest.append(argument)
            continue
        if not equals:
            if not queue:
                parser.error("argument --water-reference: expected one argument")
            value = queue.pop(0)
        # the inputs that stand before it are those of a command line that ends here
        before = parser.parse_known_intermixed_args([*rest, "-"])[0].inputs[:-1]
        if not before:
            parser.error("--water-reference follows the input it belongs to")
        if len(before) - 1 in references:
            parser.error("one input has two --water-reference")
        references[len(before) - 1] = value
    return rest, references


class Input(NamedTuple):
    """One thing to analyse: a file, or the peak values of the command line."""

    source: str | list[str]
    name: str
    water: str | None


def inputs_of(
    parser: argparse.ArgumentParser, words: list[str], references: dict[int, str]
) -> list[Input]:
    """Return the inputs among the words of a command line."""
    inputs: list[Input] = []
    peaks: list[str] = []
    for number, text in enumerate(words):
        if text == "-":  # most formats are read here and there, or lie in two files
            parser.error("standard input is not read: give a file")
        if _PEAK.fullmatch(text) is None or Path(text).exists():
            inputs.append(Input(text, text, references.get(number)))
            continue
        if number in references:
            parser.error("peak values have no water reference")
        if not peaks:
            inputs.append(Input(peaks, "peak values", None))
        peaks.append(text)
    if peaks:
        from mrs_necrosis.io import read_peak_table

        try:
            read_peak_table(peaks)
        except (MRSNecrosisError, ValueError) as error:
            parser.error(str(error))
    return inputs
