"""Numbers in text files, counted before they are believed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from mrs_necrosis.io.source import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXPONENT = re.compile(r"(?<=[0-9.])[dD](?=[+-]?\d)")


def text_numbers(source: Source, text: str, count: int | None = None) -> NDArray[np.float64]:
    """Return the numbers of a text, shape (count,).

    Parameters
    ----------
    source : Source
        The file, for the error.
    text : str
        Numbers with white space between them; decimal commas and Fortran's ``D`` exponents are
        understood, and NaN is passed on, because a voxel without an answer is not a damaged file.
    count : int or None
        How many numbers the header promises; any number of them if None.

    Returns
    -------
    ndarray of float64, shape (count,)
        The numbers.

    Raises
    ------
    FormatError
        If a word is no number, or their count is not the promised one.
    """
    if "," in text and "." not in text:
        text = text.replace(",", ".")
    words = _EXPONENT.sub("e", text).split()
    if count is not None and len(words) != count:
        state = "truncated" if len(words) < count else "damaged"
        source.fail(f"is {state}: its header promises {count} numbers, {len(words)} are there")
    try:
        return np.array(words, dtype=np.float64)
    except ValueError:
        source.fail("is damaged: a word stands where a number should")
