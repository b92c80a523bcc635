"""Siemens TWIX ``.dat``: the raw measurement, each receiver and repetition apart.

Version VB begins with the length of its header, VD and later with a list of measurements; then
come scans, each with a header (MDH) that gives its own length, and at last one with the flag
"end of acquisition". Siemens publishes no specification. Higher ppm is at positive frequency,
other than in the same scanner's DICOM and RDA.

Read through spec2nii and pymapvbvd (extra ``vendor``), which know the many places where sequences
keep their loops and their geometry; twofold oversampling is removed as the scanner does. pymapvbvd
returns fewer scans from a truncated file without a word, so the chain of scans is walked here
first and must reach its end.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np

from mrs_necrosis.io.recording import Recording
from mrs_necrosis.io.source import Source
from mrs_necrosis.io.spec2nii_bridge import bounded, convert

NAME: Final = "Siemens TWIX"
_END_OF_ACQUISITION: Final = 1
_IS_SYNC_DATA: Final = 0x20
_DMA_LENGTH: Final = 0x1FFFFFF
_LONGEST_HEADER: Final = 2**26


def recognises(source: Source) -> bool:
    """Return whether the file begins as either version of TWIX does."""
    return _is_vb(source) or _is_vd(source)


def _is_vb(source: Source) -> bool:
    if len(source.head) < 64:
        return False
    length, n_parts = struct.unpack_from("<2I", source.head)
    return (
        10000 <= length < _LONGEST_HEADER and 0 < n_parts < 64 and source.head[8:15] == b"Config\0"
    )


def _is_vd(source: Source) -> bool:
    if len(source.head) < 64:
        return False
    first, n_measurements = struct.unpack_from("<2I", source.head)
    if first >= 10000 or not 0 < n_measurements <= 64:
        return False
    offset, length = struct.unpack_from("<2Q", source.head, 16)
    return bool(8 + 152 * n_measurements <= offset < 2**40 and 0 < length < 2**40)


def parse(source: Source) -> Recording:
    """Read the last measurement of a TWIX file."""
    bounded(source)
    content = source.content
    if _is_vb(source):
        _walk(source, content, struct.unpack_from("<I", content)[0], is_vd=False)
    else:
        n_measurements = struct.unpack_from("<I", content, 4)[0]
        for index in range(n_measurements):
            offset = struct.unpack_from("<Q", content, 16 + 152 * index)[0]
            if offset + 4 > len(content):
                source.fail("is truncated: one of its measurements is not there")
            length = struct.unpack_from("<I", content, offset)[0]
            _walk(source, content, offset + length, is_vd=True)

    def run() -> Any:
        from mapvbvd import mapVBVD
        from spec2nii.Siemens.twixfunctions import process_twix

        measurements = mapVBVD(str(source.path), quiet=True)
        last = measurements[-1] if isinstance(measurements, list) else measurements
        overrides = {"dims": (None,) * 3, "tags": (None,) * 3}
        return process_twix(last, "x", "x", "image", overrides, True, False, remove_os=True)

    recording = convert(source, NAME, run, manufacturer="Siemens")
    coils = tuple(axis for axis, dim in enumerate(recording.dims, 4) if dim == "DIM_COIL")
    if (np.abs(recording.fid).max(axis=(3, *coils)) == 0.0).any():
        # a scan that the loop counters promise and no scan filled
        source.fail("is damaged: its loop counters name scans that are not there")
    return recording


def _walk(source: Source, content: bytes, start: int, *, is_vd: bool) -> None:
    """Follow the scans to the one that ends the acquisition."""
    # VD has one header for the scan and short ones for the receivers, VB one for each receiver
    header, of_scan, of_receiver, flags_at = (192, 192, 32, 40) if is_vd else (128, 0, 128, 20)
    offset = start
    while offset + header <= len(content):
        flags = content[offset + flags_at]
        if flags & _END_OF_ACQUISITION:
            return
        if flags & _IS_SYNC_DATA:
            length = struct.unpack_from("<I", content, offset)[0] & _DMA_LENGTH
        else:
            n_samples, n_receivers = struct.unpack_from("<2H", content, offset + flags_at + 8)
            length = of_scan + (8 * n_samples + of_receiver) * n_receivers
        if length < header:
            break
        offset += length
    source.fail("is truncated: its last scans are missing")
