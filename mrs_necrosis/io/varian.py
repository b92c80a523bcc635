"""Varian and Agilent: ``fid`` with ``procpar`` in one folder.

``fid``: a big-endian header of 32 bytes (blocks, traces a block, numbers a trace, bytes a number,
a trace and a block, status bits, block headers), then blocks of a 28-byte header and traces of
real and imaginary parts. ``procpar``: text, three lines or more a parameter. Both are specified in
Varian's *VNMR User Programming*. Higher ppm is at negative frequency, as in the files this was
tried on. Receivers alternate fastest and become ``DIM_COIL``.

The reference line in ``procpar`` (``rfl``, ``rfp``) is where somebody last clicked, half a ppm off
in one of those files, so the reference stays unknown. An own reader: small, and nmrglue would
bring much for it.
"""

from __future__ import annotations

import re
import struct
from typing import Final

import numpy as np

from mrs_necrosis.io.recording import Recording, nucleus_name, number, sequence_name, whole
from mrs_necrosis.io.source import MAX_TEXT_BYTES, Source, complex_pairs, decode

NAME: Final = "Varian fid"
_HEADER: Final = struct.Struct(">6i2hi")
_BLOCK_HEADER_BYTES: Final = 28
_IS_DATA, _IS_SPECTRUM, _IS_INT32, _IS_FLOAT, _IS_COMPLEX = 0x1, 0x2, 0x4, 0x8, 0x10
_PARAMETER: Final = re.compile(r"[A-Za-z_]\w*(?: [-+.eE\d]+){10}")


def recognises(source: Source) -> bool:
    """Return whether the file is a ``fid`` with a sensible header, or a ``procpar``."""
    return _is_procpar(source) or _is_fid(source)


def _is_procpar(source: Source) -> bool:
    first = source.head_text.partition("\n")[0].strip() if source.is_text else ""
    return _PARAMETER.fullmatch(first) is not None


def _is_fid(source: Source) -> bool:
    if len(source.head) < _HEADER.size:
        return False
    blocks, traces, numbers, per_number, per_trace, per_block, _, status, headers = (
        _HEADER.unpack_from(source.head)
    )
    return (
        blocks > 0
        and traces > 0
        and numbers > 0
        and per_number in {2, 4}
        and per_trace == numbers * per_number
        and 0 <= headers <= 9
        and per_block == traces * per_trace + headers * _BLOCK_HEADER_BYTES
        and bool(status & _IS_DATA)
    )


def parse(source: Source) -> Recording:
    """Read a pair, given as either of its files."""
    if _is_procpar(source):
        partner = source.sibling("fid")
        if partner is None:
            source.fail("holds parameters only; its fid file is not beside it")
        spectra, parameters = Source(partner), source.text
        if not _is_fid(spectra):
            spectra.fail("is damaged or not a Varian fid file")
    else:
        partner = source.sibling("procpar")
        if partner is None:
            source.fail("holds samples only; its procpar file is not beside it")
        spectra, parameters = source, decode(_limited(Source(partner)))
    stored = _stored(spectra, whole(_value(parameters, "np")))
    for name in ("nv", "ni"):
        if (whole(_value(parameters, name)) or 0) > 1:
            spectra.fail("is phase-encoded k-space; reconstruct it into a grid first")
    receivers = max((_text(parameters, "rcvrs") or "y").count("y"), 1)
    n_traces, n_samples = stored.shape
    if n_traces % receivers:
        spectra.fail(
            f"is damaged: {n_traces} traces cannot be shared out to {receivers} receivers"
        )
    n_dynamics = n_traces // receivers
    fid = stored.conj().reshape(n_dynamics, receivers, n_samples).transpose(2, 1, 0)
    keep = [name for name, size in (("DIM_COIL", receivers), ("DIM_DYN", n_dynamics)) if size > 1]
    shape = [size for size in (receivers, n_dynamics) if size > 1]
    width_hz = number(_value(parameters, "sw"))
    mixing_time_s = number(_value(parameters, "tm"))
    sequence = sequence_name(_text(parameters, "seqfil"), _text(parameters, "pslabel"))
    return Recording(
        format=NAME,
        fid=fid.reshape(1, 1, 1, n_samples, *shape),
        dims=tuple(keep),
        spectrometer_frequency_mhz=number(_value(parameters, "sfrq")),
        dwell_time_s=1.0 / width_hz if width_hz else None,
        echo_time_s=number(_value(parameters, "te")),
        repetition_time_s=number(_value(parameters, "tr")) or None,
        mixing_time_s=mixing_time_s if sequence == "STEAM" else None,
        sequence=sequence,
        nucleus=nucleus_name(_text(parameters, "tn")),
        manufacturer="Varian",
    )


def _limited(source: Source) -> bytes:
    if source.size > MAX_TEXT_BYTES:
        source.fail(f"is too large for a text file: {source.size} bytes")
    return source.content


def _value(parameters: str, name: str) -> str | None:
    match = re.search(rf"^{name} [^\n]*\n[ \t]*\d+[ \t]+([^\n]*)", parameters, re.MULTILINE)
    return match[1].strip() if match else None


def _text(parameters: str, name: str) -> str | None:
    value = _value(parameters, name)
    return None if value is None else value.strip('"')


def _stored(source: Source, promised: int | None) -> np.ndarray:
    blocks, traces, numbers, per_number, per_trace, per_block, _, status, headers = (
        _HEADER.unpack_from(source.head)
    )
    if status & _IS_SPECTRUM or not status & _IS_COMPLEX or numbers % 2:
        source.fail("holds no complex FIDs; export the raw fid")
    if promised is not None and promised != numbers:
        source.fail(
            f"does not fit its procpar: {numbers} numbers a trace, procpar says {promised}"
        )
    expected = _HEADER.size + blocks * per_block
    if source.size < expected:
        source.fail(f"is truncated: its header promises {expected} bytes, {source.size} are there")
    dtype = (">f4" if status & _IS_FLOAT else ">i4") if per_number == 4 else ">i2"
    whole_blocks = np.frombuffer(source.content, np.uint8, blocks * per_block, _HEADER.size)
    samples = whole_blocks.reshape(blocks, per_block)[:, headers * _BLOCK_HEADER_BYTES :]
    values = np.ascontiguousarray(samples).view(dtype).astype(np.float64)
    return complex_pairs(values.reshape(-1)).reshape(blocks * traces, per_trace // per_number // 2)
