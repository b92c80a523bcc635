"""Siemens RDA: what the spectroscopy task card of a Siemens scanner exports.

A text header between ``>>> Begin of header <<<`` and ``>>> End of header <<<``, one
``Name: value`` a line, then complex doubles, little endian; partitions, columns, rows and samples
from the slowest to the fastest. Siemens publishes no specification. Higher ppm is at negative
frequency. ``DwellTime`` is in μs and rounded to one (0.05 % at 1200 Hz). Decimal commas occur.

An own reader: spec2nii reads sound files right and any other with five kinds of exception.
The first voxel's corner is at ``PositionVector`` (its centre from version XA on), as for the same
acquisition in DICOM; ``PixelSpacingCol`` is the distance along ``RowVector``.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

import numpy as np

from mrs_necrosis.io.geometry import affine_from_lps, slice_normal
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
from mrs_necrosis.io.source import Source, complex_pairs, decode

NAME: Final = "Siemens RDA"
_BEGIN: Final = b">>> Begin of header <<<"
_END: Final = b">>> End of header <<<"
_LONGEST_HEADER: Final = 2**17


def recognises(source: Source) -> bool:
    """Return whether the file begins as RDA files do."""
    return source.head.removeprefix(codecs.BOM_UTF8).lstrip()[: len(_BEGIN)] == _BEGIN


def parse(source: Source) -> Recording:
    """Read an RDA file, one voxel or a grid."""
    content = source.content
    end = content[:_LONGEST_HEADER].find(_END)
    if end < 0:
        source.fail("is truncated: the end of its RDA header is missing")
    header = dict(
        re.findall(r"^([\w\[\],]+):[ \t]*([^\r\n]*)", decode(content[:end]), re.MULTILINE)
    )
    offset = content.find(b"\n", end) + 1
    size_x, size_y, size_z = (whole(header.get(f"CSIMatrixSize[{axis}]", 1)) for axis in range(3))
    n_samples = whole(header.get("VectorSize"))
    if not (offset and size_x and size_y and size_z and n_samples):
        source.fail("is damaged: its RDA header does not say how many samples it holds")
    if min(size_x, size_y, size_z, n_samples) < 1:
        source.fail("is damaged: its RDA header gives a size below one")
    n_numbers = 2 * n_samples * size_x * size_y * size_z
    if not content[offset + 8 * n_numbers :].strip(b"\r\n\0 "):
        content = content[: offset + 8 * n_numbers]  # a copy in between ended it like a text
    numbers = source.samples(content, offset, n_numbers, "<f8")
    stored = complex_pairs(numbers).reshape(size_z, size_y, size_x, n_samples)
    return Recording(
        format=NAME,
        fid=stored.transpose(2, 1, 0, 3).conj(),
        spectrometer_frequency_mhz=number(header.get("MRFrequency")),
        dwell_time_s=scaled(header.get("DwellTime"), 1e-6),
        echo_time_s=scaled(header.get("TE"), 1e-3),
        repetition_time_s=within(scaled(header.get("TR"), 1e-3), 1e-3, 100.0),
        mixing_time_s=_mixing_time_s(header),
        inversion_time_s=inversion_time(header.get("TI"), 1e-3),
        sequence=sequence_name(header.get("SequenceName")),
        nucleus=nucleus_name(header.get("Nucleus")),
        manufacturer="Siemens",
        affine=_affine(header, (size_x, size_y, size_z)),
    )


def _mixing_time_s(header: dict[str, str]) -> float | None:
    # zero is what every sequence without a mixing time writes
    value = scaled(header.get("TM"), 1e-3)
    return value if value else None


def _affine(header: dict[str, str], grid: tuple[int, int, int]) -> np.ndarray | None:
    def vector(name: str) -> list[float | None]:
        return [number(header.get(f"{name}[{axis}]")) for axis in range(3)]

    row, column = vector("RowVector"), vector("ColumnVector")
    is_volume = grid[2] > 1
    thickness = header.get("PixelSpacing3D") if is_volume else header.get("SliceThickness")
    spacing = [number(header.get(name)) for name in ("PixelSpacingCol", "PixelSpacingRow")]
    voxel = [number(header.get(f"VOIPosition{axis}")) for axis in ("Sag", "Cor", "Tra")]
    is_single = grid == (1, 1, 1) and None not in voxel
    return affine_from_lps(
        voxel if is_single else vector("PositionVector"),
        row,
        column,
        [*spacing, number(thickness)],
        corner=not is_single and "XA" not in header.get("SoftwareVersion[0]", ""),
        normal=slice_normal(row, column) if is_volume else None,
    )
