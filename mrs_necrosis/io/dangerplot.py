"""Dangerplot text (``.dpt``), the plain format of Tarquin.

``Name<tab>value`` lines (points, sampling and transmitter frequency in Hz, two phases for display,
ppm at zero frequency and, in newer files, the echo time in s, 0 where it is unknown), then a line
of column titles and one complex sample a line. Specified by Tarquin's program alone. Higher ppm
is at negative frequency. The format has no field for the nucleus and knows 1H only. Phases and
ppm reference are settings of the program that wrote the file (0 and 4.7 ppm stand in files of one
kind), not the scanner's word: they are not taken over, so that the file reads like the scanner's
own.

An own reader: no kept library reads it.
"""

from __future__ import annotations

import math
from typing import Final

from mrs_necrosis.io.recording import Recording, number, whole, within
from mrs_necrosis.io.source import Source, complex_pairs
from mrs_necrosis.io.text_samples import text_numbers

NAME: Final = "Dangerplot"


def recognises(source: Source) -> bool:
    """Return whether the file begins as Dangerplot files do."""
    return source.head.lstrip()[:18].lower() == b"dangerplot_version"


def parse(source: Source) -> Recording:
    """Read a Dangerplot file."""
    header: dict[str, str] = {}
    head, found, body = source.text.partition("Real_FID")
    if not found:
        source.fail("is truncated: its column titles are missing")
    for line in head.splitlines():
        name, _, value = line.strip().partition("\t")
        header[name.lower()] = value
    n_samples = whole(header.get("number_of_points"))
    if n_samples is None or n_samples < 1:
        source.fail("is damaged: it does not say how many points it holds")
    numbers = text_numbers(source, body.partition("\n")[2], 2 * n_samples)
    sampling_hz = number(header.get("sampling_frequency"))
    transmitter_hz = number(header.get("transmitter_frequency"))
    phases = [number(header.get(name)) or 0.0 for name in ("phi0", "phi1")]
    notes: tuple[str, ...] = ()
    if any(not math.isclose(phase, 0.0, abs_tol=1e-12) for phase in phases):
        notes = ("The phases that the file sets for its display were not applied.",)
    return Recording(
        format=NAME,
        fid=complex_pairs(numbers).conj().reshape(1, 1, 1, n_samples),
        spectrometer_frequency_mhz=transmitter_hz / 1e6 if transmitter_hz else None,
        dwell_time_s=1.0 / sampling_hz if sampling_hz else None,
        echo_time_s=within(number(header.get("echo_time")) or None, 1e-3, 2.0),
        nucleus="1H",
        notes=notes,
    )
