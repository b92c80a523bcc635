"""Siemens CSA Non-Image DICOM (``.IMA``, ``.dcm``): spectra of versions VA to VE.

The samples are complex float32, little endian, in the private element (7FE1,xx10) under the
creator ``SIEMENS CSA NON-IMAGE``: frames of rows of columns of samples. What they mean stands in
the private CSA header under ``SIEMENS CSA HEADER``, which Siemens describes nowhere and nibabel
parses. Higher ppm is at negative frequency. ``RealDwellTime`` (ns) is after the removal of the
oversampling; the protocol's own dwell time is before it. ``EchoTime`` (ms) is the sum where a
sequence has several (19.96 ms for the 7 T sLASER at hand; spec2nii adds the protocol's and gets
4.2 s). ``ImagePositionPatient`` is the corner of the first voxel within its slice.

An own reader above nibabel's parser: spec2nii fails on version VA21, suspect swaps the spacings of
rows and columns.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

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
from mrs_necrosis.io.source import complex_pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mrs_necrosis.io.source import Source

NAME: Final = "Siemens CSA DICOM"
_DATA_GROUP: Final = 0x7FE1
_DATA_CREATOR: Final = "SIEMENS CSA NON-IMAGE"


def parse(source: Source, dataset: Any) -> Recording:
    """Read a CSA Non-Image object.

    Parameters
    ----------
    source : Source
        The file.
    dataset : pydicom.Dataset
        Its content.
    """
    csareader: Any = import_module("nibabel.nicom.csareader")
    header = csareader.get_csa_header(dataset, "image")
    if header is None:
        source.fail("holds no CSA header, which says what its samples are")
    tags = header["tags"]
    columns, rows, frames = (
        whole(_item(tags, name)) or 1 for name in ("Columns", "Rows", "NumberOfFrames")
    )
    content = dataset.private_block(_DATA_GROUP, _DATA_CREATOR)[0x10].value
    if not isinstance(content, bytes) or min(columns, rows, frames) < 1:
        source.fail("holds no spectra, or says an impossible size")
    n_voxels = columns * rows * frames
    n_samples = whole(_item(tags, "DataPointColumns"))
    if n_samples is None:
        # version VA does not say; whatever is there must be whole samples of every voxel
        n_samples = len(content) // (8 * n_voxels)
    numbers = source.samples(content, 0, 2 * n_voxels * n_samples, "<f4")
    stored = complex_pairs(numbers).reshape(frames, rows, columns, n_samples)
    return Recording(
        format=NAME,
        fid=stored.transpose(2, 1, 0, 3).conj(),
        spectrometer_frequency_mhz=number(_item(tags, "ImagingFrequency")),
        dwell_time_s=scaled(_item(tags, "RealDwellTime"), 1e-9),
        echo_time_s=scaled(_item(tags, "EchoTime"), 1e-3),
        repetition_time_s=within(scaled(_item(tags, "RepetitionTime"), 1e-3), 1e-3, 100.0),
        mixing_time_s=scaled(_item(tags, "MixingTime"), 1e-3) or None,
        inversion_time_s=inversion_time(_item(tags, "InversionTime"), 1e-3),
        sequence=sequence_name(_item(tags, "SequenceName")),
        nucleus=nucleus_name(_item(tags, "ImagedNucleus") or _item(tags, "ResonantNucleus")),
        manufacturer="Siemens",
        affine=_affine(tags, frames),
    )


def _items(tags: Any, name: str) -> list[Any]:
    items = tags.get(name, {}).get("items", [])
    return list(items)


def _item(tags: Any, name: str) -> Any:
    items = _items(tags, name)
    return items[0] if items else None


def _affine(tags: Any, frames: int) -> NDArray[np.float64] | None:
    directions = [number(item) for item in _items(tags, "ImageOrientationPatient")]
    spacing = [number(item) for item in _items(tags, "PixelSpacing")]
    row, column = directions[:3], directions[3:]
    return affine_from_lps(
        [number(item) for item in _items(tags, "ImagePositionPatient")],
        row,
        column,
        # DICOM gives the distance between rows first
        [*spacing[::-1], number(_item(tags, "SliceThickness"))],
        corner=True,
        normal=slice_normal(row, column) if frames > 1 else None,
    )
