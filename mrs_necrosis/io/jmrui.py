"""jMRUI: the text export and the binary ``.mrui`` file.

Text: ``jMRUI Data Textfile``, ``Name: value`` lines (sampling interval in ms, transmitter
frequency in Hz), then for each signal a line ``Signal i out of n in file`` and one sample a line,
as real and imaginary part of the signal and, often, of its transform. Binary: 64 big-endian
doubles of header in the same order and units, then complex doubles, then free text. Both are
described in jMRUI's manual. Higher ppm is at positive frequency in both.

The nucleus is a number (0 none, 1 1H, 2 31P, 3 13C, 4 19F, 5 23Na); where it is none, frequency
over field tells it. The reference of the binary file is the frequency of 0 ppm. An own reader:
spec2nii gives the binary file's frequency in Hz where the standard says MHz and fails on half of
the damaged files with errors of Unicode.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from mrs_necrosis.io.recording import Recording, nucleus_name, nucleus_of, number, scaled, whole
from mrs_necrosis.io.source import Source, complex_pairs
from mrs_necrosis.io.text_samples import text_numbers

NAME: Final = "jMRUI"
_TITLE: Final = "jmrui data textfile"
_HEADER_BYTES: Final = 512
_NUCLEI: Final = {1: "1H", 2: "31P", 3: "13C", 4: "19F", 5: "23NA"}


def recognises(source: Source) -> bool:
    """Return whether the file is jMRUI text, or binary with a sensible header."""
    return _is_text(source) or _is_binary(source)


def _is_text(source: Source) -> bool:
    return source.head_text.lstrip()[: len(_TITLE)].lower() == _TITLE


def _is_binary(source: Source) -> bool:
    if source.size <= _HEADER_BYTES or len(source.head) < _HEADER_BYTES:
        return False
    header = np.frombuffer(source.head, ">f8", 13)
    with np.errstate(invalid="ignore"):
        return bool(
            np.isfinite(header).all()
            and header[0] in {0.0, 1.0, 2.0, 3.0}
            and header[1] == np.floor(header[1])
            and 16 <= header[1] <= 2**24
            and 1e-3 <= header[2] <= 100.0
            and 1e6 <= header[5] <= 2e9
            and 0.0 <= header[6] <= 30.0
        )


def parse(source: Source) -> Recording:
    """Read either kind of jMRUI file."""
    return _parse_text(source) if _is_text(source) else _parse_binary(source)


def _recording(
    stored: np.ndarray,
    transmitter_hz: float | None,
    dwell_time_s: float | None,
    nucleus: str | None,
    field_t: float | None,
    reference_ppm: float | None = None,
) -> Recording:
    frequency_mhz = transmitter_hz / 1e6 if transmitter_hz else None
    notes: tuple[str, ...] = ()
    if nucleus is None:
        nucleus = nucleus_of(frequency_mhz, field_t)
        if nucleus is not None:
            notes = ("The nucleus follows from frequency over field; the file names none.",)
    n_signals, n_samples = stored.shape
    fid = stored.T.reshape(1, 1, 1, n_samples, n_signals)
    return Recording(
        format=NAME,
        fid=fid if n_signals > 1 else fid[..., 0],
        dims=("DIM_DYN",) if n_signals > 1 else (),
        spectrometer_frequency_mhz=frequency_mhz,
        dwell_time_s=dwell_time_s,
        nucleus=nucleus,
        reference_ppm=reference_ppm,
        notes=notes,
    )


def _parse_text(source: Source) -> Recording:
    head, *parts = re.split(
        r"^[ \t]*Signal[ \t]+\d+[ \t]+out[ \t]+of[ \t]+\d+[^\n]*\n",
        source.text,
        flags=re.MULTILINE | re.IGNORECASE,
    )
    header = {
        name.lower(): value
        for name, value in re.findall(r"^([A-Za-z]+):[ \t]*([^\n]*)", head, re.MULTILINE)
    }
    n_samples = whole(header.get("pointsindataset"))
    n_signals = whole(header.get("datasetsinfile"))
    if not n_samples or not n_signals or n_samples < 1 or n_signals < 1:
        source.fail("is damaged: it does not say how many points it holds")
    if len(parts) != n_signals:
        source.fail(
            f"is truncated: its header promises {n_signals} signals, {len(parts)} are there"
        )
    signals = []
    for part in parts:
        columns = len(part.lstrip("\n").partition("\n")[0].split())
        if columns not in {2, 4}:
            source.fail("is damaged: its samples are neither two nor four columns")
        numbers = text_numbers(source, part, columns * n_samples).reshape(n_samples, columns)
        signals.append(complex_pairs(numbers[:, :2].ravel()))
    kind = header.get("typeofnucleus")
    code = whole(kind)
    return _recording(
        np.stack(signals),
        number(header.get("transmitterfrequency")),
        scaled(header.get("samplinginterval"), 1e-3),
        _NUCLEI.get(code) if code is not None else nucleus_name(kind),
        number(header.get("magneticfield")),
    )


def _parse_binary(source: Source) -> Recording:
    content = source.content
    header = np.frombuffer(content, ">f8", 13)
    n_samples = int(header[1])
    n_signals = (source.size - _HEADER_BYTES) // (16 * n_samples)
    if n_signals < 1:
        source.fail(f"is truncated: its header promises {n_samples} complex samples")
    count = 2 * n_samples * n_signals
    text = content[_HEADER_BYTES + 8 * count :]
    # what follows the samples is printable text; a broken last signal is not
    if any(byte < 9 or 13 < byte < 32 for byte in text):
        source.fail("is truncated: its last signal is not complete")
    numbers = source.samples(content, _HEADER_BYTES, count, ">f8", exact=False)
    frequency_hz = float(header[5])
    return _recording(
        complex_pairs(numbers).reshape(n_signals, n_samples),
        frequency_hz,
        scaled(header[2], 1e-3),
        _NUCLEI.get(int(header[7])),
        float(header[6]),
        _reference_ppm(float(header[8]), float(header[9]), frequency_hz / 1e6),
    )


def _reference_ppm(zero_hz: float, zero_ppm: float, frequency_mhz: float) -> float | None:
    # the pair is one position in two units; where it is not, its meaning is not known
    if zero_hz == 0.0 or abs(zero_hz / frequency_mhz - zero_ppm) > 0.01:
        return None
    return -zero_ppm
