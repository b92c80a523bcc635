"""Bare text of four columns: the plain format of the ISMRM 2016 fitting challenge.

Real and imaginary part of the water-suppressed FID, then of the water FID, one sample a line and
no header at all; described in the challenge's own notes. Higher ppm is at negative frequency, as
in the challenge's LCModel files. Dwell time and frequency must be given; the challenge knows 1H
only. Two bare columns are refused elsewhere: nobody says what their sign is.
"""

from __future__ import annotations

import re
from typing import Final

from mrs_necrosis.io.recording import Recording
from mrs_necrosis.io.source import Source, complex_pairs
from mrs_necrosis.io.text_samples import text_numbers

NAME: Final = "four-column text"
_WORD = r"[+-]?(?:\d[\d.]*|\.\d+|nan|inf)(?:[eEdD][+-]?\d+)?"
_ROW = re.compile(rf"[ \t]*{_WORD}(?:[ \t]+{_WORD}){{3}}[ \t]*", re.IGNORECASE)


def recognises(source: Source) -> bool:
    """Return whether the file begins with four lines of four numbers."""
    if not source.is_text:
        return False
    lines = source.head_text.splitlines()[:4]
    return len(lines) == 4 and all(_ROW.fullmatch(line) for line in lines)


def parse(source: Source) -> Recording:
    """Read four columns of numbers."""
    numbers = text_numbers(source, source.text)
    if numbers.size % 4:
        source.fail("is truncated: its last line has less than four numbers")
    columns = numbers.reshape(-1, 4)
    n_samples = len(columns)
    return Recording(
        format=NAME,
        fid=complex_pairs(columns[:, :2].ravel()).conj().reshape(1, 1, 1, n_samples),
        water=complex_pairs(columns[:, 2:].ravel()).conj().reshape(1, 1, 1, n_samples),
        nucleus="1H",
        notes=("Columns three and four are the water reference.",),
    )
