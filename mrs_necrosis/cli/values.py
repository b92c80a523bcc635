"""Values of options: a text becomes a number with a unit, a path, a word; or is refused."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def quantity_value(units: dict[str, float], what: str, example: str) -> Callable[[str], float]:
    """Return a parser of a number with a unit."""

    def parse(text: str) -> float:
        found = re.fullmatch(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*([A-Za-z]*)\s*", text)
        try:
            if found is not None and found[2] in units:
                return float(found[1]) * units[found[2]]
        except ValueError:
            pass  # such as 1.2.3
        msg = f"{what} is written like {example}; got {text!r}"
        raise argparse.ArgumentTypeError(msg)

    return parse


TIME = quantity_value({"ms": 1e-3, "s": 1.0, "us": 1e-6}, "a time", "30ms or 0.03s")
FIELD = quantity_value({"T": 1.0, "": 1.0}, "a field", "3T")
FREQUENCY = quantity_value({"MHz": 1.0, "": 1.0}, "a frequency", "127.7MHz")


def path_value(text: str) -> Path:
    """Read a path; an empty one is refused."""
    if not text:  # an unset variable of a shell
        msg = "is an empty path, which would be the current folder; write . if you mean that"
        raise argparse.ArgumentTypeError(msg)
    return Path(text)


def number_value(low: float, high: float) -> Callable[[str], float]:
    """Return a parser of a number between two others."""
    return _number(low, high, lambda value: low < value < high)


def amount_value(high: float) -> Callable[[str], float]:
    """Return a parser of a number from 0 on and below another."""
    return _number(0, high, lambda value: 0 <= value < high)


def _number(low: float, high: float, fits: Callable[[float], bool]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            room = f"above {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
            msg = f"must be a number {room}; got {text!r}"
            raise argparse.ArgumentTypeError(msg)
        return value

    return parse


def nucleus_value(text: str) -> str:
    """Read a nucleus."""
    from mrs_necrosis.io.recording import nucleus_name

    return _word(nucleus_name(text), "a nucleus", "1H", text)


def sequence_value(text: str) -> str:
    """Read the name of a sequence."""
    from mrs_necrosis.io.recording import sequence_name

    return _word(sequence_name(text), "a sequence", "PRESS, STEAM or sLASER", text)


def _word(name: str | None, what: str, example: str, text: str) -> str:
    if name is None:
        msg = f"{what} is written like {example}; got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return name


def whole_value(low: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from ``low`` on."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not low <= int(text[:20]) <= 2**32:
            msg = f"must be a whole number from {low} on; got {text!r}"
            raise argparse.ArgumentTypeError(msg)
        return int(text)

    return parse


def samples_value(text: str) -> int:
    """Read a number of samples."""
    value = whole_value(16)(text)
    if value > 2**24:
        msg = f"must be a whole number up to {2**24}; got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return value


def prior_value(text: str) -> float | str:
    """Read a probability, or ``narloch``."""
    return text if text == "narloch" else number_value(0, 1)(text)


def named_path(text: str) -> tuple[str, Path]:
    """Read ``NAME=PATH``; a path alone is named as its last folder."""
    name, equals, path = text.partition("=")
    if not equals:
        name, path = Path(text).name, text
    if not re.fullmatch(r"[A-Za-z0-9_.+-]+", name) or name == "raw" or not path:
        msg = f"is written NAME=PATH, with a name of letters and digits; got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return name, Path(path)
