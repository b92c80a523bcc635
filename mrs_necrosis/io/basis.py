"""Basis sets: the metabolites' FIDs as simulated or measured for one sequence.

A basis set is one LCModel ``.basis`` file, or a folder with one file for each metabolite: FSL-MRS'
JSON, or any format that ``read`` reads; one such file is a set of one. In ``.basis`` (LCModel's
manual, section 8) each metabolite is its spectrum on the whole width, in namelists ``$BASIS``;
higher ppm is at negative frequency, zero frequency at 4.65 ppm, and the spectrum still has to be
moved by ``ISHIFT`` points. In JSON (FSL-MRS' documentation, "Basis Spectra Simulation") the FID
stands in ``basis``, with its frequency in MHz as ``basis_centre``; higher ppm is at positive
frequency, zero frequency at 4.65 ppm. Own readers: no kept library has them.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.arguments import (
    check_each,
    check_folder,
    check_range,
    check_type,
    read_only,
    restore,
)
from mrs_necrosis.constants import DWELL_TIME_S, ECHO_TIME_S, FREQUENCY_MHZ, WATER_PPM
from mrs_necrosis.errors import FormatError
from mrs_necrosis.io.lcmodel import settings_of
from mrs_necrosis.io.reading import read
from mrs_necrosis.io.recording import number, scaled, sequence_name, whole, within
from mrs_necrosis.io.source import Source, complex_pairs
from mrs_necrosis.io.text_samples import text_numbers

NAME: Final = "basis set"
_LABEL: Final = re.compile(r"[-+A-Za-z0-9_./]{1,32}")
_MOST_FILES: Final = 200
_LEAST_SAMPLES: Final = 16
_MOST_SAMPLES: Final = 2**16
_LARGEST_JSON: Final = 2**24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Basis:
    """FIDs of K metabolites, as simulated or measured for one sequence.

    Parameters
    ----------
    names : tuple of str
        K distinct names.
    fids : ndarray of complex128, shape (K, N)
        In the library's sign convention.
    spectrometer_frequency_mhz, dwell_time_s : float
        Of the FIDs.
    echo_time_s : float or None
        In s.
    sequence : str or None
        As in `Acquisition`.
    reference_ppm : float or None
        Chemical shift at zero frequency.

    Raises
    ------
    ValueError
        If names and FIDs do not fit each other, or a number is impossible.
    """

    names: tuple[str, ...]
    fids: NDArray[np.complex128]
    spectrometer_frequency_mhz: float
    dwell_time_s: float
    echo_time_s: float | None = None
    sequence: str | None = None
    reference_ppm: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        check_each("names", self.names, str, "texts")
        fids = read_only(self.fids, np.complex128, "fids")
        if fids.ndim != 2 or len(fids) != len(self.names) or not _is_size(fids.shape[1]):
            msg = (
                f"fids must have shape (K, N) with K = {len(self.names)} and "
                f"{_LEAST_SAMPLES} <= N <= {_MOST_SAMPLES}; got {fids.shape}"
            )
            raise ValueError(msg)
        if not self.names:
            msg = "a basis set must hold one FID or more"
            raise ValueError(msg)
        check_range(
            "spectrometer_frequency_mhz", self.spectrometer_frequency_mhz, *FREQUENCY_MHZ, "MHz"
        )
        check_range("dwell_time_s", self.dwell_time_s, *DWELL_TIME_S, "s")
        if len(set(self.names)) != len(self.names):
            msg = "names of a basis set must be distinct"
            raise ValueError(msg)
        object.__setattr__(self, "fids", fids)

    __setstate__ = restore

    @property
    def sha256(self) -> str:
        """Checksum of all that the set holds, 64 hexadecimal digits."""
        digest = hashlib.sha256(repr((self.names, *_conditions(self))).encode())
        digest.update(np.ascontiguousarray(self.fids, dtype="<c16").tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return (
            f"<Basis of {', '.join(self.names)}, {self.spectrometer_frequency_mhz:g} MHz, "
            f"{self.sha256[:16]}>"
        )


def read_basis(path: str | PathLike[str], **given: Any) -> Basis:
    """Read a basis set.

    Parameters
    ----------
    path : str or PathLike
        An LCModel ``.basis`` file, a folder with one file a metabolite (FSL-MRS' JSON, NIfTI-MRS,
        jMRUI, …), or one such file.
    **given : float or str
        What the files of a folder do not say, as for ``read``.

    Returns
    -------
    Basis
        The metabolites in the file's or the alphabet's order.

    Raises
    ------
    FormatError
        If there is no basis set, or its parts do not fit each other.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from mrs_necrosis import read, write_nifti_mrs
    >>> from mrs_necrosis.simulation import sample_path
    >>> data = read(sample_path("normal_te30.nii.gz"))
    >>> with TemporaryDirectory() as folder:
    ...     write_nifti_mrs(Path(folder) / "Cr.nii.gz", data)
    ...     write_nifti_mrs(Path(folder) / "NAA.nii.gz", data)
    ...     basis = read_basis(folder)
    >>> basis.names
    ('Cr', 'NAA')
    """
    where = Path(path)
    if where.is_dir():
        return _folder(where, given)
    source = Source(where)
    if source.is_text and "$BASIS" in source.head_text.upper():
        return _lcmodel_basis(source)
    return _one(source, given)


def given_basis(basis: object) -> Basis | None:
    """Return the basis set that an argument is, or that the path names; None if it is None."""
    if basis is None or isinstance(basis, Basis):
        return basis
    check_type("basis", basis, (str, PathLike), "a Basis, a path", optional=True)
    check_folder("basis", basis)
    return read_basis(basis)  # type: ignore[arg-type]


def _refuse(path: Path, problem: str) -> NoReturn:
    raise FormatError(path, problem) from None


def _folder(folder: Path, given: dict[str, Any]) -> Basis:
    try:
        files = sorted(
            file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")
        )
    except OSError as error:
        _refuse(folder, f"cannot be opened ({type(error).__name__})")
    if not 1 <= len(files) <= _MOST_FILES:
        _refuse(folder, f"must hold 1 to {_MOST_FILES} files of a basis set; got {len(files)}")
    parts = [_one(Source(file), given) for file in files]
    names = tuple(name for part in parts for name in part.names)
    if len(set(names)) != len(names):
        _refuse(folder, "names a metabolite twice")
    first = parts[0]
    for part in parts:
        if part.fids.shape != first.fids.shape:
            _refuse(folder, "holds FIDs of different sizes; a basis set has one FID a file")
        if _conditions(part) != _conditions(first):
            _refuse(folder, "holds FIDs of different acquisitions")
    return replace(first, names=names, fids=np.concatenate([part.fids for part in parts]))


def _conditions(basis: Basis) -> tuple[object, ...]:
    return (
        basis.spectrometer_frequency_mhz, basis.dwell_time_s, basis.echo_time_s, basis.sequence,
        basis.reference_ppm,
    )  # fmt: skip


def _one(source: Source, given: dict[str, Any]) -> Basis:
    """Return the basis set of the one metabolite of a file."""
    if source.is_text and source.head_text.lstrip().startswith("{"):
        return _fsl_basis(source)
    data = read(source.path, **given)
    if data.fid.size != data.n_samples:
        source.fail("holds several FIDs; a basis set has one a file")
    _check_size(source, data.n_samples)
    name = source.name.partition(".")[0]
    if not _LABEL.fullmatch(name):
        source.fail("must have its metabolite's name, such as NAA or MM")
    acquisition = data.acquisition
    return Basis(
        names=(name,),
        fids=data.fid.reshape(1, -1),
        spectrometer_frequency_mhz=acquisition.spectrometer_frequency_mhz,
        dwell_time_s=acquisition.dwell_time_s,
        echo_time_s=acquisition.echo_time_s,
        sequence=acquisition.sequence,
        reference_ppm=acquisition.reference_ppm,
    )


def _is_size(n_samples: int) -> bool:
    return _LEAST_SAMPLES <= n_samples <= _MOST_SAMPLES


def _check_size(source: Source, n_samples: int) -> None:
    if not _is_size(n_samples):
        limits = f"{_LEAST_SAMPLES} to {_MOST_SAMPLES}"
        source.fail(f"has {n_samples} samples in an FID; a basis set has {limits}")


def _fsl_basis(source: Source) -> Basis:
    if source.size > _LARGEST_JSON:
        source.fail(f"is too large for the FID of one metabolite: {source.size} bytes")
    try:
        content = json.loads(source.text)
    except (ValueError, RecursionError):
        source.fail("is damaged: it is no JSON to its end")
    found = content.get("basis") if isinstance(content, dict) else None
    if not isinstance(found, dict):
        source.fail("is a JSON text without the FID of a basis set")
    dwell_time_s = within(number(found.get("basis_dwell")), *DWELL_TIME_S)
    frequency_mhz = within(number(found.get("basis_centre")), *FREQUENCY_MHZ)
    name = found.get("basis_name", source.stem)
    try:
        parts = np.array([found.get("basis_re"), found.get("basis_im")], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        parts = np.empty(0)
    if parts.ndim != 2 or not np.isfinite(parts).all():
        source.fail("is damaged: its FID has no real and imaginary part of one size")
    _check_size(source, parts.shape[1])
    if dwell_time_s is None or frequency_mhz is None:
        source.fail("is damaged: it does not say its frequency and dwell time")
    if not isinstance(name, str) or not _LABEL.fullmatch(name):
        source.fail("is damaged: a metabolite has no name of its own")
    return Basis(
        names=(name,),
        fids=parts[:1] + 1j * parts[1:],
        spectrometer_frequency_mhz=frequency_mhz,
        dwell_time_s=dwell_time_s,
        reference_ppm=WATER_PPM,
    )


def _lcmodel_basis(source: Source) -> Basis:
    head, *parts = re.split(r"\$BASIS(?!1)\b", source.text, flags=re.IGNORECASE)
    settings = settings_of(head)
    frequency_mhz = within(number(settings.get("hzpppm")), *FREQUENCY_MHZ)
    dwell_time_s = within(number(settings.get("badelt")), *DWELL_TIME_S)
    n_samples = whole(settings.get("ndatab"))
    if frequency_mhz is None or dwell_time_s is None or n_samples is None or not parts:
        source.fail("is damaged: it does not say its frequency, dwell time and size")
    _check_size(source, n_samples)
    fids: dict[str, NDArray[np.complex128]] = {}
    for part in parts:
        namelist, end, body = part.partition("$END")
        own = settings_of(namelist)
        name = own.get("metabo", "")
        if not end or not _LABEL.fullmatch(name) or name in fids:
            source.fail("is damaged: a metabolite has no name of its own")
        numbers = text_numbers(source, re.split(r"\$[A-Z]", body, maxsplit=1)[0], 2 * n_samples)
        if not np.isfinite(numbers).all():
            source.fail("is damaged: a spectrum has samples that are no numbers")
        shift = whole(own.get("ishift", "0"))
        if shift is None or abs(shift) > n_samples:
            source.fail("is damaged: a metabolite has an impossible shift")
        turns = np.exp(2j * np.pi * shift * np.arange(n_samples) / n_samples)
        fids[name] = np.fft.ifft(complex_pairs(numbers)).conj() * turns
    return Basis(
        names=tuple(fids),
        fids=np.stack(list(fids.values())),
        spectrometer_frequency_mhz=frequency_mhz,
        dwell_time_s=dwell_time_s,
        echo_time_s=within(scaled(settings.get("echot"), 1e-3), *ECHO_TIME_S),
        sequence=sequence_name(settings.get("seq")),
        reference_ppm=WATER_PPM,
    )
