"""GE P-files: the raw frames a GE scanner keeps.

A binary header whose layout depends on its revision (the float at byte 0), then frames of
integers for each receiver, the first a baseline to be dropped. Revision 9 (LX 11, 2000 to 2006) is
read here from these bytes, little endian:

====== =============================================== ====== ==================================
byte   what                                            byte   what
====== =============================================== ====== ==================================
74     frames                                          57436  field in G
80     samples of a frame                              60088  corners of the image, RAS mm
82     bytes of an integer                             60128  repetition time in us
200    first and last receiver                         60136  echo time in us
292    (user 19) frames of water, which come first     60248  sequence
368    spectral width in Hz                            60384  edges of the voxel in mm
424    frequency in 0.1 Hz                             60396  its centre, RAS mm
====== =============================================== ====== ==================================

Samples start at 61464. GE publishes no specification; the places were checked against the ``.shf``
text of six files. Higher ppm is at negative frequency. The nucleus follows from frequency over
field. Newer revisions go to spec2nii (extra ``vendor``), which fails on every revision 9 file
tried.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mrs_necrosis.io.recording import Recording, nucleus_of, sequence_name
from mrs_necrosis.io.source import Source, complex_pairs
from mrs_necrosis.io.spec2nii_bridge import bounded, convert

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME: Final = "GE P-file"
_LOGOS: Final = (b"GE_MED_NMR", b"INVALIDNMR")
_REVISIONS: Final = (7.0, 35.0)
_HEADER_BYTES: Final = 61464


def recognises(source: Source) -> bool:
    """Return whether the file begins with a revision number and GE's mark."""
    if len(source.head) < 4096:
        return False
    revision = _number(source.head, 0, "<f")
    # the mark moved with revision 26, when offsets came to stand before it
    marks = source.head[34:44], source.head[110:120]
    is_marked = any(mark in _LOGOS for mark in marks) or source.suffix == ".7"
    return _REVISIONS[0] <= revision <= _REVISIONS[1] and is_marked


_UNTESTED: Final = (
    "How GE's grids lie is not verified by spec2nii, which read this: rows and columns may be "
    "turned or mirrored, and the position is not used."
)


def parse(source: Source) -> Recording:
    """Read a P-file of revision 9 here, a newer one through spec2nii."""
    revision = _number(source.head, 0, "<f")
    if revision > 9.5:
        return _newer(source)
    if abs(revision - 9.0) > 1e-3:
        source.fail(
            f"is a P-file of revision {revision:g}; revision 9 and those from 11 on can be read"
        )
    if source.size <= _HEADER_BYTES:
        source.fail("is truncated: its header is not complete")
    content = source.content
    n_frames = int(_number(content, 74, "<h"))
    n_samples = int(_number(content, 80, "<H"))
    per_number = int(_number(content, 82, "<h"))
    n_receivers = int(_number(content, 202, "<h")) - int(_number(content, 200, "<h")) + 1
    n_slices, n_echoes = int(_number(content, 68, "<h")), int(_number(content, 70, "<h"))
    if per_number not in {2, 4} or min(n_frames, n_samples, n_receivers) < 1 or n_receivers > 128:
        source.fail("is damaged: its header gives impossible sizes")
    if max(n_slices, n_echoes) > 1 or any(
        _number(content, at, "<h") > 1 for at in (374, 376, 378)
    ):
        source.fail("is a P-file of several slices, echoes or voxels, not one voxel")
    count = 2 * n_receivers * (n_frames + 1) * n_samples
    numbers = source.samples(content, _HEADER_BYTES, count, f"<i{per_number}", exact=False)
    frames = complex_pairs(numbers).conj().reshape(n_receivers, n_frames + 1, n_samples)
    # the first frame of each receiver is a baseline, taken without excitation
    frames = frames[:, 1:].transpose(2, 0, 1)[None, None, None]
    n_water = int(np.nan_to_num(_number(content, 292, "<f"), posinf=0.0, neginf=0.0))
    if not 0 <= n_water < n_frames:
        source.fail("is damaged: it says that all its frames are water")
    frequency_mhz = _number(content, 424, "<I") / 1e7
    width_hz = _number(content, 368, "<f")
    return Recording(
        format=NAME,
        fid=frames[..., n_water:],
        dims=("DIM_COIL", "DIM_DYN"),
        water=frames[..., :n_water] if n_water else None,
        water_dims=("DIM_COIL", "DIM_DYN"),
        spectrometer_frequency_mhz=frequency_mhz,
        dwell_time_s=1.0 / width_hz if width_hz > 0 else None,
        repetition_time_s=_number(content, 60128, "<i") / 1e6 or None,
        echo_time_s=_number(content, 60136, "<i") / 1e6,
        sequence=sequence_name(_word(content[60248:60281])),
        nucleus=nucleus_of(frequency_mhz, _field_t(content)),
        manufacturer="GE",
        affine=_affine(content),
    )


def _number(content: bytes, offset: int, layout: str) -> float:
    return float(struct.unpack_from(layout, content, offset)[0])


def _word(content: bytes) -> str:
    return content.partition(b"\0")[0].decode("ascii", "ignore")


def _field_t(content: bytes) -> float | None:
    return _number(content, 57436, "<i") / 1e4


def _affine(content: bytes) -> NDArray[np.float64] | None:
    corners = np.frombuffer(content, "<f4", 9, 60088).reshape(3, 3).astype(np.float64)
    size = np.frombuffer(content, "<f4", 3, 60384).astype(np.float64)
    centre = np.frombuffer(content, "<f4", 3, 60396).astype(np.float64)
    values = np.concatenate([corners.ravel(), size, centre])
    if not np.isfinite(values).all() or np.abs(values).max() > 1e4 or (size <= 0).any():
        return None
    row, column = corners[1] - corners[0], corners[2] - corners[1]
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if min(lengths) <= 0.0:
        return None
    row, column = row / lengths[0], column / lengths[1]
    if abs(float(row @ column)) > 0.01:
        return None
    axes = np.stack([row, column, -np.cross(row, column)], axis=1)
    # the edges belong to the scanner's axes; each goes to the image axis nearest to it
    order = np.abs(axes).argmax(axis=0)
    if len(set(order.tolist())) != 3:
        return None
    affine = np.eye(4)
    affine[:3, :3] = axes * size[order]
    affine[:3, 3] = centre
    return affine


def _newer(source: Source) -> Recording:
    bounded(source)
    header: Any = None

    def run() -> Any:
        nonlocal header
        from spec2nii.GE.ge_hdr_fields import get_pfile_hdr_fields
        from spec2nii.GE.ge_pfile import read_pfile

        fields = get_pfile_hdr_fields(_number(source.head, 0, "<f"))
        layout: Any = type(
            "Header",
            (ctypes.LittleEndianStructure,),
            {"_pack_": 1, "_layout_": "ms", "_fields_": fields},
        )
        header = layout.from_buffer_copy(source.content)
        end = header.rhr_rdb_hdr_off_data + header.rhr_rh_raw_pass_size
        if not 0 < header.rhr_rdb_hdr_off_data < end <= source.size:
            # spec2nii would allocate what the header asks for and fill it with what there is
            source.fail(f"is truncated: its header promises {end} bytes, {source.size} are there")
        return read_pfile(source.path, "x")

    recording = convert(source, NAME, run, manufacturer="GE")
    # spec2nii says 1H where the field is not known
    nucleus = nucleus_of(header.rhr_rh_ps_mps_freq / 1e7, header.rhe_magstrength / 1e4)
    if max(recording.fid.shape[:3]) > 1:
        # a tumour at a wrong place is worse than one without a place
        recording = replace(recording, affine=None, notes=(*recording.notes, _UNTESTED))
    return replace(recording, nucleus=nucleus)
