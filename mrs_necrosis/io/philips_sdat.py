"""Philips SDAT/SPAR: what a Philips scanner exports for spectroscopy.

``.SPAR`` is text, ``name : value`` a line (frequencies in Hz, times in ms, sizes in mm); ``.SDAT``
holds nothing but complex VAX F floats: rows (averages or voxels) of samples. Philips publishes no
specification. Higher ppm is at positive frequency. Integers may be written as floats
(``127788256.000000``). Either file of the pair may be given; letter case does not matter.

With phase encoding the rows are voxels, the second dimension fastest, then the third, then
slices; no file at hand shows which way these run in the patient, so such a grid has no affine.
Without, several rows are averages. An own reader: spec2nii fails on SPAR files with such
integers and converts VAX floats one by one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from mrs_necrosis.io.geometry import affine_from_angles
from mrs_necrosis.io.recording import (
    Recording,
    inversion_time,
    nucleus_name,
    number,
    scaled,
    sequence_name,
    whole,
    within,
)
from mrs_necrosis.io.source import Source, complex_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME: Final = "Philips SDAT/SPAR"


def recognises(source: Source) -> bool:
    """Return whether the file is a SPAR, or an SDAT (which has no mark) by its name or partner."""
    return _is_spar(source) or source.suffix == ".sdat" or _spar(source) is not None


def _is_spar(source: Source) -> bool:
    return source.is_text and all(
        re.search(rf"^\s*{name}\s*:", source.head_text, re.MULTILINE)
        for name in ("samples", "rows", "synthesizer_frequency")
    )


def _spar(source: Source) -> Source | None:
    partner = source.sibling(f"{source.stem}.spar")
    if partner is None or partner == source.path:
        return None
    spar = Source(partner)
    return spar if _is_spar(spar) else None


def parse(source: Source) -> Recording:
    """Read a pair, given as either of its files."""
    if _is_spar(source):
        spar = source
        partner = source.sibling(f"{source.stem}.sdat")
        if partner is None:
            source.fail("holds parameters only; its SDAT file is not beside it")
        sdat = Source(partner)
    else:
        found = _spar(source)
        if found is None:
            source.fail("holds samples only; its SPAR file is not beside it")
        spar, sdat = found, source
    header = _header(spar.text)
    n_samples, rows = whole(header.get("samples")), whole(header.get("rows"))
    if not n_samples or not rows or n_samples < 1 or rows < 1:
        spar.fail("is damaged: it does not say how many samples there are")
    if sdat.size != 8 * n_samples * rows:
        state = "truncated" if sdat.size < 8 * n_samples * rows else "damaged"
        sdat.fail(
            f"is {state}: its SPAR promises {rows} x {n_samples} complex samples "
            f"({8 * n_samples * rows} bytes), {sdat.size} bytes are there"
        )
    content = sdat.content
    stored = complex_pairs(vax_floats(content)).reshape(rows, n_samples)
    grid = _grid(spar, header, rows)
    is_single = grid == (1, 1, 1)
    fid = stored.T.reshape(1, 1, 1, n_samples, rows)
    dims: tuple[str, ...] = ("DIM_DYN",)
    if not is_single or rows == 1:
        x, y, z = grid
        fid, dims = stored.reshape(z, y, x, n_samples).transpose(2, 1, 0, 3), ()
    frequency_hz = number(header.get("synthesizer_frequency"))
    sampling_hz = number(header.get("sample_frequency"))
    return Recording(
        format=NAME,
        fid=fid,
        dims=dims,
        spectrometer_frequency_mhz=frequency_hz / 1e6 if frequency_hz else None,
        dwell_time_s=1.0 / sampling_hz if sampling_hz else None,
        echo_time_s=scaled(header.get("echo_time"), 1e-3),
        repetition_time_s=within(scaled(header.get("repetition_time"), 1e-3), 1e-3, 100.0),
        inversion_time_s=inversion_time(header.get("spectrum_inversion_time"), 1e-3),
        sequence=sequence_name(free_text=[header.get("scan_id")]),
        nucleus=nucleus_name(header.get("nucleus")),
        manufacturer="Philips",
        affine=_affine(header) if is_single else None,
        notes=() if is_single else ("The SPAR does not say how the grid lies in the patient.",),
    )


def _header(text: str) -> dict[str, str]:
    header: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith("!"):
            header.setdefault(name.strip(), value.strip().strip('"').strip())
    return header


def _grid(spar: Source, header: dict[str, str], rows: int) -> tuple[int, int, int]:
    if header.get("phase_encoding_enable") != "yes" or rows == 1:
        return 1, 1, 1
    columns, lines = (whole(header.get(f"dim{axis}_pnts")) or 1 for axis in (2, 3))
    slices = whole(header.get("nr_of_slices_for_multislice")) or 1
    if min(columns, lines, slices) < 1 or columns * lines * slices != rows:
        spar.fail(f"is damaged: its {rows} rows are not {columns} x {lines} x {slices} voxels")
    return columns, lines, slices


def _affine(header: dict[str, str]) -> NDArray[np.float64] | None:
    if header.get("volume_selection_enable") != "yes":
        return None

    def along(kind: str) -> list[float | None]:
        return [number(header.get(f"{axis}_{kind}")) for axis in ("lr", "ap", "cc")]

    return affine_from_angles(along("off_center"), along("angulation"), along("size"))


def vax_floats(content: bytes) -> NDArray[np.float64]:
    """Return VAX F floats as float64.

    A VAX F float is two little-endian 16-bit words, the one with sign, exponent (excess 128) and
    the upper fraction first; the fraction has a hidden bit and lies in [0.5, 1). Exponent zero
    is zero, with the sign bit it is the reserved operand, which has no value.

    Parameters
    ----------
    content : bytes
        4 bytes a number.

    Returns
    -------
    ndarray of float64, shape (N,)
        The numbers; NaN for the reserved operand.

    Examples
    --------
    >>> vax_floats(bytes([0x80, 0x40, 0, 0, 0x20, 0xC2, 0, 0]))
    array([  1., -10.])
    """
    words = np.frombuffer(content, "<u2").reshape(-1, 2).astype(np.int64)
    exponent = (words[:, 0] >> 7) & 0xFF
    fraction = ((words[:, 0] & 0x7F) << 16) | words[:, 1] | 0x800000
    is_negative = (words[:, 0] >> 15).astype(bool)
    values = np.ldexp(np.where(is_negative, -1.0, 1.0) * fraction, exponent - (128 + 24))
    return np.where(exponent > 0, values, np.where(is_negative, np.nan, 0.0))
