"""NIfTI-MRS: read with nibabel alone, and written without loss.

NIfTI-1 or -2 with complex samples along the fourth axis (dwell time in ``pixdim[4]``), up to three
axes more, and a JSON text in header extension 44 with ``SpectrometerFrequency`` (MHz) and
``ResonantNucleus``; times in s, ``SpecFreqChemShift`` in ppm at zero frequency. Specified at
https://doi.org/10.5281/zenodo.5084788 (Clarke, Magn. Reson. Med. 88, 2358 (2022)). Samples are
stored with higher ppm at negative frequency. An axis of 10 m means that it was not localised;
unknown units are millimetres and seconds, as in real files.

nibabel reads the bytes; the nifti-mrs package, which would bring 20 MB more, checks what is
written in the tests. Of the JSON only physical numbers, the sequence and the manufacturer are
read, and nothing else is written: headers of converted files name patients.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from dataclasses import replace
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.arguments import check_path, check_type
from mrs_necrosis.constants import ECHO_TIME_S
from mrs_necrosis.errors import OutputError
from mrs_necrosis.io.recording import (
    Recording,
    inversion_time,
    manufacturer_name,
    nucleus_name,
    number,
    sequence_name,
    within,
)
from mrs_necrosis.io.silence import no_warnings
from mrs_necrosis.spectra import DIMS, EDITED, Spectra, SpectralData
from mrs_necrosis.staging import write_atomically

if TYPE_CHECKING:
    from mrs_necrosis.io.source import Source


NAME: Final = "NIfTI-MRS"
_EXTENSION_CODE: Final = 44
_NEWEST: Final = (0, 11)
_HZ: Final = 1e6  # no MHz: spec2nii writes Hz for jMRUI's binary files
_UNLOCALISED_MM: Final = 9999.0
_TIME_UNITS: Final = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_DEFAULT_DIMS: Final = ("DIM_COIL", "DIM_DYN", "DIM_INDIRECT_0")


def recognises(source: Source) -> bool:
    """Return whether the file, inflated if need be, has NIfTI's mark in its header."""
    head = source.head
    return head[4:8] in {b"n+2\0", b"ni2\0"} or head[344:348] in {b"n+1\0", b"ni1\0"}


def parse(source: Source) -> Recording:
    """Read a NIfTI-MRS file."""
    nibabel: Any = import_module("nibabel")
    content = source.content
    is_second = content[4:6] in {b"n+", b"ni"}
    image_class = nibabel.Nifti2Image if is_second else nibabel.Nifti1Image
    with no_warnings():
        image = image_class.from_bytes(content)
        header = image.header
        shape = tuple(int(size) for size in header.get_data_shape())
        dtype = header.get_data_dtype()
        if dtype.kind != "c":
            source.fail(
                "is a NIfTI image of real numbers, not NIfTI-MRS; give anatomy and masks apart"
            )
        if not 4 <= len(shape) <= 7 or min(shape) < 1:
            source.fail(f"is damaged: spectra need 4 to 7 axes, its shape is {shape}")
        offset, count = int(image.dataobj.offset), math.prod(shape)
        expected = offset + dtype.itemsize * count
        if len(content) < expected:
            source.fail(
                f"is truncated: its header promises {expected} bytes, {len(content)} are there"
            )
        extension = _extension(source, header)
        unit = _TIME_UNITS.get(header.get_xyzt_units()[1], 1.0)
        dwell_time_s = float(header["pixdim"][4]) * unit
        has_geometry = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
        # a view: a large grid is not held twice
        stored = np.frombuffer(content, dtype, count, offset).reshape(shape, order="F")
        slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
        if (slope, intercept) != (1.0, 0.0):
            stored = stored * slope + intercept
        affine = image.affine if has_geometry else None
        version = re.fullmatch(rb"mrs_v(\d+)_(\d+)", bytes(header["intent_name"]).rstrip(b"\0"))
    recording = recording_of(source, stored, extension, dwell_time_s, affine)
    if version is not None and (int(version[1]), int(version[2])) > _NEWEST:
        note = "The file follows a newer version of NIfTI-MRS than this reader knows."
        recording = replace(recording, notes=(*recording.notes, note))
    return recording


def _extension(source: Source, header: Any) -> dict[str, Any]:
    texts = [e.get_content() for e in header.extensions if e.get_code() == _EXTENSION_CODE]
    if not texts:
        source.fail("is a complex NIfTI image without the header that NIfTI-MRS adds")
    text = texts[0]
    content = text.encode() if isinstance(text, str) else bytes(text)
    try:
        extension = json.loads(content.rstrip(b"\0 ").decode("utf-8"))
    except (ValueError, RecursionError):
        source.fail("is damaged: its NIfTI-MRS header is no JSON")
    if not isinstance(extension, dict):
        source.fail("is damaged: its NIfTI-MRS header is no JSON object")
    return extension


def recording_of(
    source: Source,
    stored: NDArray[np.complex64] | NDArray[np.complex128],
    extension: dict[str, Any],
    dwell_time_s: float,
    affine: NDArray[np.float64] | None,
) -> Recording:
    """Return what samples, header extension and affine of NIfTI-MRS mean here.

    Parameters
    ----------
    source : Source
        The file, for errors.
    stored : ndarray of complex, shape (X, Y, Z, N, ...)
        As NIfTI-MRS stores it.
    extension : dict
        The JSON header; only physical numbers and known words of it are used.
    dwell_time_s : float
        In s.
    affine : ndarray of float64, shape (4, 4), or None
        Voxel indices to RAS+ mm.

    Returns
    -------
    Recording
        In the library's convention.
    """
    dims = []
    for axis, default in enumerate(_DEFAULT_DIMS, start=4):
        if axis >= stored.ndim:
            break
        name = extension.get(f"dim_{axis + 1}") or default
        if name not in DIMS:
            source.fail(f"is damaged: axis {axis + 1} has a name that NIfTI-MRS lacks")
        dims.append(name)
    if not (np.isfinite(dwell_time_s) and dwell_time_s > 0):
        width_hz = number(_first(extension.get("SpectralWidth")))
        dwell_time_s = 1.0 / width_hz if width_hz and width_hz > 0 else np.nan
    frequency_mhz = number(_first(extension.get("SpectrometerFrequency")))
    notes: tuple[str, ...] = ()
    if frequency_mhz is not None and frequency_mhz > _HZ:
        frequency_mhz /= 1e6
        notes = ("The file gives its frequency in Hz, where the standard says MHz.",)
    echo_time_s = within(number(extension.get("EchoTime")), *ECHO_TIME_S)
    if echo_time_s is None and extension.get("EchoTime") is not None:
        notes += ("The file's echo time is no length in s and was not used.",)
    k_space = extension.get("kSpace")
    if any(flag in (True, "true") for flag in _listed(k_space) or [k_space]):
        source.fail(
            "holds k-space, not voxels (its header's kSpace says so); reconstruct it first"
        )
    times = [number(value) for value in _listed(_user_value(extension, "EchoTimes"))]
    return Recording(
        format=NAME,
        fid=np.conjugate(stored, dtype=np.complex128, order="C"),
        dims=tuple(dims),
        spectrometer_frequency_mhz=frequency_mhz,
        dwell_time_s=dwell_time_s if np.isfinite(dwell_time_s) else None,
        echo_time_s=echo_time_s,
        repetition_time_s=within(number(extension.get("RepetitionTime")), 1e-3, 100.0),
        mixing_time_s=within(number(extension.get("MixingTime")), 0.0, 10.0) or None,
        # spec2nii writes what Siemens and Philips store, in us or ms, inverted or not:
        # far beyond the range in s, and so unknown
        inversion_time_s=inversion_time(extension.get("InversionTime"), 1.0),
        fat_saturated=_flag(_user_value(extension, "FatSaturated")),
        echo_times_s=tuple(time for time in times if time is not None) or None,
        sequence=_sequence(extension),
        nucleus=nucleus_name(_first(extension.get("ResonantNucleus"))),
        manufacturer=manufacturer_name(extension.get("Manufacturer")),
        reference_ppm=number(extension.get("SpecFreqChemShift")),
        affine=_localised(affine),
        notes=notes,
    )


def _sequence(extension: dict[str, Any]) -> str | None:
    words = extension.get("SequenceName"), extension.get("ProtocolName")
    name = sequence_name(words[0], free_text=words[1:])
    if extension.get("EditPulse") or extension.get("EditCondition"):
        # a difference keeps these and may have lost its axis; a localisation's name hides them
        return name if name and re.search(EDITED, name, re.IGNORECASE) else "edited"
    return name


def _listed(value: Any) -> list[Any]:
    return value[:16] if isinstance(value, list) else []


def _first(value: Any) -> Any:
    return (value[0] if value else None) if isinstance(value, list) else value


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _user_value(extension: dict[str, Any], name: str) -> Any:
    entry = extension.get(name)
    return entry.get("Value") if isinstance(entry, dict) else None


def _localised(affine: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    if affine is None:
        return None
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        return None
    edges = np.sqrt((matrix[:3, :3] ** 2).sum(axis=0))
    if (edges >= _UNLOCALISED_MM).any() or abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
        return None
    return matrix


def write_nifti_mrs(path: str | PathLike[str], data: SpectralData | Spectra) -> None:
    """Write spectra as NIfTI-MRS, so that ``read`` gives the same samples and numbers back.

    The file appears whole or not at all, and equal data gives equal bytes. The water reference
    of ``data`` is not written with it: write ``data.water`` to a file of its own.

    Parameters
    ----------
    path : str or PathLike
        Ends in ``.nii`` or ``.nii.gz``; an existing file is replaced.
    data : SpectralData or Spectra
        At most three axes after N.

    Raises
    ------
    ValueError
        If the name has another ending, there are more axes, or the nucleus is unknown.
    OutputError
        If the file cannot be written.
    TypeError
        If the two arguments change places, or are something else.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from mrs_necrosis import read
    >>> from mrs_necrosis.simulation import sample_path
    >>> data = read(sample_path("normal_te30.nii.gz"))
    >>> with TemporaryDirectory() as folder:
    ...     write_nifti_mrs(Path(folder) / "copy.nii.gz", data)
    ...     copy = read(Path(folder) / "copy.nii.gz")
    >>> bool((copy.fid == data.fid).all())
    True
    """
    check_path("path", path)
    check_type("data", data, (SpectralData, Spectra), "SpectralData or Spectra")
    target = Path(path)
    if not target.name.endswith((".nii", ".nii.gz")):
        msg = f"a NIfTI-MRS file must be named .nii or .nii.gz; got {target.name!r}"
        raise ValueError(msg)
    content = _nifti_bytes(data)
    if target.name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=6, mtime=0)
    try:
        write_atomically(target, content)
    except OSError as error:
        msg = f"{target.name} cannot be written: {error.strerror or type(error).__name__}"
        raise OutputError(msg) from None


def _nifti_bytes(data: SpectralData | Spectra) -> bytes:
    nibabel: Any = import_module("nibabel")
    acquisition = data.acquisition
    if acquisition.nucleus is None:
        msg = "NIfTI-MRS must name the nucleus; give the acquisition nucleus='1H'"
        raise ValueError(msg)
    dims: tuple[str, ...] = getattr(data, "dims", ())
    if len(dims) > 3:
        msg = f"NIfTI-MRS has three axes after the samples at most; got {dims}"
        raise ValueError(msg)
    stored: NDArray[Any] = data.fid.conj()
    with np.errstate(over="ignore"):
        narrow = stored.astype(np.complex64)
    if np.array_equal(narrow.astype(np.complex128), stored, equal_nan=True):
        stored = narrow
    affine = data.affine if data.affine is not None else np.diag([1e4, 1e4, 1e4, 1.0])
    image = nibabel.Nifti2Image(stored, affine)
    header = image.header
    header.set_xyzt_units("mm", "sec")
    header["pixdim"][4] = acquisition.dwell_time_s
    header["intent_name"] = "mrs_v{}_{}".format(*_NEWEST).encode()
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1, strip_shears=True)
    # nibabel derives the pixel sizes from the quaternion; the dwell time must survive that
    header["pixdim"][4] = acquisition.dwell_time_s
    text = json.dumps(_header_extension(data, dims), indent=None, ensure_ascii=True)
    header.extensions.append(nibabel.nifti1.Nifti1Extension(_EXTENSION_CODE, text.encode("utf-8")))
    content: bytes = image.to_bytes()
    return content


def _header_extension(data: SpectralData | Spectra, dims: tuple[str, ...]) -> dict[str, Any]:
    acquisition = data.acquisition
    extension: dict[str, Any] = {
        "SpectrometerFrequency": [acquisition.spectrometer_frequency_mhz],
        "ResonantNucleus": [acquisition.nucleus],
    }
    extension |= {f"dim_{axis}": name for axis, name in enumerate(dims, start=5)}
    for key, value in (
        ("EchoTime", acquisition.echo_time_s),
        ("RepetitionTime", acquisition.repetition_time_s),
        ("MixingTime", acquisition.mixing_time_s),
        ("InversionTime", acquisition.inversion_time_s),
        ("SpecFreqChemShift", acquisition.reference_ppm),
        ("SequenceName", acquisition.sequence),
        ("Manufacturer", acquisition.manufacturer),
    ):
        if value is not None:
            extension[key] = value
    if acquisition.fat_saturated is not None:
        extension["FatSaturated"] = {
            "Value": acquisition.fat_saturated,
            "Description": "Whether lipid was saturated before the excitation",
        }
    if acquisition.echo_times_s:
        extension["EchoTimes"] = {
            "Value": list(acquisition.echo_times_s),
            "Description": "Parts of the echo time, in s",
        }
    return extension
