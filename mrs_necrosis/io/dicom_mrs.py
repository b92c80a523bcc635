"""DICOM MR Spectroscopy Storage: Siemens from version XA on, Philips.

Frames of rows of columns of complex float32 samples in (5600,0020); spectral width in Hz,
transmitter frequency in MHz, times in ms. Specified in DICOM PS3.3, A.36.3 and C.8.14. Higher ppm
is at positive frequency. The byte count must be exactly what the five sizes promise; pydicom does
not check it.

Frames at different positions are slices, frames at one position are averages, and those that
Philips marks (or, without marks, the second of two with water-referenced phase correction) are the
water reference. Rows and columns follow the image orientation; the position is the centre of the
first voxel. Philips' single voxels are placed by the angles and edges of its volume selection,
because its slab orientations hold angles; Y in (2005,1597) says that it edited. UIH stores higher
ppm at negative frequency, and its water in (0065,FF07), as spec2nii has it: no file was at hand.

An own reader: spec2nii reads Siemens, but no grid of Philips and not the file at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mrs_necrosis.io.geometry import affine_from_angles, affine_from_lps
from mrs_necrosis.io.recording import (
    Recording,
    inversion_time,
    manufacturer_name,
    nucleus_name,
    number,
    scaled,
    sequence_name,
    whole,
    within,
)
from mrs_necrosis.io.source import complex_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.io.source import Source

NAME: Final = "DICOM MR Spectroscopy"
_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
_SATURATED: Final = {"FAT": True, "FAT_AND_WATER": True, "WATER": False, "NONE": False}
_UNREADABLE: Final = (
    AttributeError,
    KeyError,
    IndexError,
    ValueError,
    TypeError,
    NotImplementedError,
)


def parse(source: Source, dataset: Any) -> Recording:
    """Read an MR Spectroscopy Storage object.

    Parameters
    ----------
    source : Source
        The file.
    dataset : pydicom.Dataset
        Its content.
    """
    if _word(dataset, "DataRepresentation") not in {None, "COMPLEX"}:
        source.fail("holds no complex samples; export them complex")
    if _word(dataset, "SignalDomainColumns") not in {None, "TIME"}:
        source.fail("holds spectra instead of FIDs; export the time domain")
    rows, columns = whole(_get(dataset, "Rows")), whole(_get(dataset, "Columns"))
    n_frames = whole(_get(dataset, "NumberOfFrames")) or 1
    n_samples = whole(_get(dataset, "DataPointColumns")) or whole(
        _get(dataset, "SpectroscopyAcquisitionDataColumns")
    )
    if (whole(_get(dataset, "DataPointRows")) or 1) != 1:
        source.fail("is a two-dimensional spectrum, which is not supported")
    if not rows or not columns or not n_samples or min(rows, columns, n_frames, n_samples) < 1:
        source.fail("is damaged: it does not say how many samples it holds")
    content = _get(dataset, (0x5600, 0x0020))
    if not isinstance(content, bytes):
        source.fail("holds no spectroscopy data")
    is_big = str(_get(dataset.file_meta, "TransferSyntaxUID")) == _BIG_ENDIAN
    count = 2 * n_frames * rows * columns * n_samples
    numbers = source.samples(content, 0, count, ">f4" if is_big else "<f4")
    frames = complex_pairs(numbers).reshape(n_frames, rows, columns, n_samples)
    manufacturer = manufacturer_name(_word(dataset, "Manufacturer"))
    if manufacturer == "UIH":
        frames = frames.conj()
    positions = [_position(dataset, frame) for frame in range(n_frames)]
    width_hz = number(_one(_get(dataset, "SpectralWidth")))
    water = _water_frames(dataset, n_frames) if manufacturer == "Philips" else []
    main = [frame for frame in range(n_frames) if frame not in water]
    fid, dims, order = _arranged(frames, main, positions)
    water_fid, water_dims, _ = _arranged(frames, water, positions) if water else (None, (), [])
    if manufacturer == "UIH" and fid.shape == (1, 1, 1, n_samples):
        water_fid = _uih_water(dataset, n_samples)
    if water_fid is not None and water_fid.shape[:3] != fid.shape[:3]:
        source.fail("has water frames that do not fit its grid")
    return Recording(
        format=NAME,
        fid=fid,
        dims=dims,
        water=water_fid,
        water_dims=water_dims,
        spectrometer_frequency_mhz=number(_one(_get(dataset, "TransmitterFrequency"))),
        dwell_time_s=1.0 / width_hz if width_hz else None,
        echo_time_s=_time_s(dataset, "MREchoSequence", "EffectiveEchoTime"),
        repetition_time_s=within(
            _time_s(dataset, "MRTimingAndRelatedParametersSequence", "RepetitionTime"), 1e-3, 100.0
        ),
        sequence="MEGA"
        if _word(dataset, (0x2005, 0x1597)) == "Y"
        else sequence_name(
            _word(dataset, "VolumeLocalizationTechnique"),
            _word(dataset, "PulseSequenceName"),
            _word(dataset, "SequenceName"),
            free_text=[_word(dataset, "ProtocolName")],
        ),
        inversion_time_s=_inversion_time_s(dataset),
        fat_saturated=_SATURATED.get(_word(dataset, "SpectrallySelectedSuppression") or ""),
        nucleus=nucleus_name(_one(_get(dataset, "ResonantNucleus"))),
        manufacturer=manufacturer,
        reference_ppm=number(_one(_get(dataset, "ChemicalShiftReference"))),
        affine=_affine(dataset, (columns, rows, fid.shape[2]), [positions[at] for at in order]),
    )


def _get(dataset: Any, *path: Any) -> Any:
    """Return what lies at a path of keywords, tags and indices; None where nothing readable is."""
    try:
        for step in path:
            if isinstance(step, str):
                dataset = getattr(dataset, step)
            elif isinstance(step, tuple):
                dataset = dataset[step].value
            else:
                dataset = dataset[step]
    except _UNREADABLE:
        return None
    return dataset


def _one(value: Any) -> Any:
    if value is None or isinstance(value, (str, bytes, int, float)):
        return value
    try:
        return value[0]
    except _UNREADABLE:
        return None


def _word(dataset: Any, keyword: str | tuple[int, int]) -> str | None:
    value = _one(_get(dataset, keyword))
    return value if isinstance(value, str) else None


def _vector(value: Any, length: int) -> list[float | None]:
    try:
        items = list(value)
    except TypeError:
        return [None] * length
    return [number(item) for item in items] if len(items) == length else [None] * length


def _in_groups(dataset: Any, frame: int, *path: Any) -> Any:
    """Return what a functional group says of a frame, whether it stands there or is shared."""
    own = _get(dataset, "PerFrameFunctionalGroupsSequence", frame, *path)
    return _get(dataset, "SharedFunctionalGroupsSequence", 0, *path) if own is None else own


def _time_s(dataset: Any, group: str, keyword: str) -> float | None:
    return scaled(_in_groups(dataset, 0, group, 0, keyword), 1e-3)


def _inversion_time_s(dataset: Any) -> float | None:
    if _in_groups(dataset, 0, "MRModifierSequence", 0, "InversionRecovery") != "YES":
        return None
    times = _in_groups(dataset, 0, "MRModifierSequence", 0, "InversionTimes")
    return inversion_time(_one(times), 1e-3)


def _position(dataset: Any, frame: int) -> tuple[float | None, ...]:
    value = _in_groups(dataset, frame, "PlanePositionSequence", 0, "ImagePositionPatient")
    return tuple(_vector(value, 3))


def _water_frames(dataset: Any, n_frames: int) -> list[int]:
    marks = [_get(dataset, (0x2005, 0x140F), at, (0x2005, 0x1304)) for at in range(n_frames)]
    water = [at for at, mark in enumerate(marks) if whole(_one(mark)) == 1]
    if not water and n_frames == 2 and _word(dataset, "WaterReferencedPhaseCorrection") == "YES":
        water = [1]
    return water if len(water) < n_frames else []


def _uih_water(dataset: Any, n_samples: int) -> NDArray[np.complex128] | None:
    content = _get(dataset, (0x0065, 0xFF07))
    if not isinstance(content, bytes) or len(content) != 8 * n_samples:
        return None
    numbers = np.frombuffer(content, "<f4").astype(np.float64)
    return complex_pairs(numbers).conj().reshape(1, 1, 1, n_samples)


def _arranged(
    frames: NDArray[np.complex128], chosen: list[int], positions: list[tuple[float | None, ...]]
) -> tuple[NDArray[np.complex128], tuple[str, ...], list[int]]:
    """Return chosen frames as (X, Y, Z, N, dynamics), and a frame of each slice in Z's order."""
    places: dict[tuple[float | None, ...], list[int]] = {}
    for frame in chosen:
        places.setdefault(positions[frame], []).append(frame)
    counts = {len(members) for members in places.values()}
    if None in positions[chosen[0]] or len(counts) != 1:
        places = {positions[chosen[0]]: chosen}
    slices = list(places.values())
    stack = np.stack([frames[members] for members in slices])  # Z, dynamics, rows, columns, N
    fid = stack.transpose(3, 2, 0, 4, 1)
    first = [members[0] for members in slices]
    return (fid[..., 0], (), first) if fid.shape[-1] == 1 else (fid, ("DIM_DYN",), first)


def _affine(
    dataset: Any, grid: tuple[int, int, int], positions: list[tuple[float | None, ...]]
) -> NDArray[np.float64] | None:
    if grid == (1, 1, 1):
        volume = _get(dataset, (0x2005, 0x1085), 0)

        def along(*elements: int) -> list[float | None]:
            return [number(_get(volume, (0x2005, element))) for element in elements]

        affine = affine_from_angles(
            along(0x105C, 0x105A, 0x105B),
            along(0x1056, 0x1054, 0x1055),
            along(0x1059, 0x1057, 0x1058),
        )
        if affine is not None:
            return affine
    directions = _vector(
        _in_groups(dataset, 0, "PlaneOrientationSequence", 0, "ImageOrientationPatient"), 6
    )
    # DICOM gives the distance between rows first
    spacing = _vector(_in_groups(dataset, 0, "PixelMeasuresSequence", 0, "PixelSpacing"), 2)[::-1]
    thickness = number(_in_groups(dataset, 0, "PixelMeasuresSequence", 0, "SliceThickness"))
    normal: list[float | None] | None = None
    if len(positions) > 1:
        steps = np.diff(np.array(positions, dtype=np.float64), axis=0)
        thickness = float(np.linalg.norm(steps[0]))
        if not np.allclose(steps, steps[0], atol=0.01 * thickness):
            return None  # unevenly spaced slices are no grid
        normal = [float(part) for part in steps[0] / thickness]
    elif grid[2] == 1 and thickness is None:
        thickness = number(_get(dataset, "VolumeLocalizationSequence", 0, "SlabThickness"))
    return affine_from_lps(
        positions[0], directions[:3], directions[3:], [*spacing, thickness], normal=normal
    )
