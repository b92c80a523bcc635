"""Acquisitions and spectra: the types, and the conventions of sign, axis and unit.

Conventions, stated once and used everywhere inside the library:

* An FID is ``sum_k a_k exp(2j pi f_k t)``: a resonance above the reference has *positive*
  frequency. Readers conjugate at the door where their format stores the other sign.
* ``ppm = reference_ppm + f / spectrometer_frequency_mhz``; arrays ascend in ppm, only figures are
  drawn with ppm falling from left to right.
* A spectrum is ``fftshift(fft(fid))`` along N, without scaling: an FID of amplitude *a* (at
  t = 0) has the *area* a.
* Times are in s, frequencies in Hz, the spectrometer frequency in MHz, chemical shifts in ppm.
* ``affine`` maps voxel indices to RAS+ millimetres, as in NIfTI.
* Shapes: X, Y, Z voxels; N samples; C coils; K peaks. A single voxel is a 1 x 1 x 1 grid.
* ``None`` means that the source does not say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.arguments import check_range, check_type, read_only, restore
from mrs_necrosis.constants import (
    DWELL_TIME_S,
    ECHO_TIME_S,
    FREQUENCY_MHZ,
    PROTON_MHZ_PER_TESLA,
    WATER_PPM,
)

DIMS = frozenset({
    "DIM_COIL", "DIM_DYN", "DIM_INDIRECT_0", "DIM_INDIRECT_1", "DIM_INDIRECT_2",
    "DIM_PHASE_CYCLE", "DIM_EDIT", "DIM_MEAS", "DIM_USER_0", "DIM_USER_1", "DIM_USER_2",
    "DIM_ISIS", "DIM_METCYCLE",
})  # fmt: skip
"""Names of the axes after N, as NIfTI-MRS defines them."""

_ONE_FID: Final = "; a single FID is given as fid[None, None, None]"

EDITED: Final = r"mega|hermes|hercules|edit|m(?:press|slaser)|jpress"
"""What the names of sequences have that edit the spectrum (a regular expression)."""


@runtime_checkable
class Conditions(Protocol):
    """What must be known of a measurement to judge it: an ``Acquisition``, or a peak table."""

    @property
    def echo_time_s(self) -> float | None:
        """Echo time, in s."""

    @property
    def field_t(self) -> float | None:
        """Field strength, in T."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """What the scanner did, as far as the source says.

    Parameters
    ----------
    spectrometer_frequency_mhz : float
        Larmor frequency of the nucleus, 1 to 1000 MHz.
    dwell_time_s : float
        Time between samples, 1e-5 to 1e-2 s; the spectral width is its inverse.
    echo_time_s, repetition_time_s, mixing_time_s : float or None
        In s.
    echo_times_s : tuple of float or None
        The echo-time split, where the source gives it (PRESS: TE1 and TE2). Their sum is the echo
        time where it is not given.
    sequence : str or None
        Localisation sequence: ``"PRESS"``, ``"STEAM"``, ``"sLASER"``, ``"SPIN-ECHO"``, … or the
        source's own word where it is none of these.
    nucleus : str or None
        ``"1H"`` when known. Anything else than 1H is refused by what comes later.
    reference_ppm : float or None
        Chemical shift at zero frequency.
    manufacturer : str or None
        Of the scanner.
    inversion_time_s : float or None
        From an inversion before the excitation, where the source tells of one.
    fat_saturated : bool or None
        Whether lipid was saturated before the excitation.

    Raises
    ------
    ValueError
        If a number is outside its range: the unit is probably another one.
    TypeError
        If a name is no text, or the split of the echo time no tuple.
    """

    spectrometer_frequency_mhz: float
    dwell_time_s: float
    echo_time_s: float | None = None
    repetition_time_s: float | None = None
    mixing_time_s: float | None = None
    echo_times_s: tuple[float, ...] | None = None
    sequence: str | None = None
    nucleus: str | None = None
    reference_ppm: float | None = None
    manufacturer: str | None = None
    inversion_time_s: float | None = None
    fat_saturated: bool | None = None

    def __post_init__(self) -> None:
        for name, low, high, unit in (
            ("spectrometer_frequency_mhz", *FREQUENCY_MHZ, "MHz"),
            ("dwell_time_s", *DWELL_TIME_S, "s"),
            ("echo_time_s", *ECHO_TIME_S, "s"),
            ("repetition_time_s", 1e-3, 100.0, "s"),
            ("mixing_time_s", 0.0, 10.0, "s"),
            ("inversion_time_s", 1e-3, 10.0, "s"),
            ("reference_ppm", -1000.0, 1000.0, "ppm"),
        ):
            value = getattr(self, name)
            if value is not None or name in {"spectrometer_frequency_mhz", "dwell_time_s"}:
                check_range(name, value, low, high, unit)
        if self.echo_times_s is not None:
            wanted = "a tuple of times in s"
            check_type("echo_times_s", self.echo_times_s, (tuple, list), wanted)
            for value in self.echo_times_s:
                check_range("echo_times_s", value, *ECHO_TIME_S, "s")
            object.__setattr__(self, "echo_times_s", tuple(self.echo_times_s))
            if self.echo_times_s and self.echo_time_s is None:
                object.__setattr__(self, "echo_time_s", math.fsum(self.echo_times_s))
        for name in ("sequence", "nucleus", "manufacturer"):
            check_type(name, getattr(self, name), str, "text", optional=True)
        check_type("fat_saturated", self.fat_saturated, bool, "True, False", optional=True)

    @property
    def spectral_width_hz(self) -> float:
        """Inverse of the dwell time."""
        return 1.0 / self.dwell_time_s

    @property
    def field_t(self) -> float | None:
        """Field strength in T, from the frequency; None for another nucleus than 1H."""
        if self.nucleus not in {None, "1H"}:
            return None
        return self.spectrometer_frequency_mhz / PROTON_MHZ_PER_TESLA

    @property
    def is_edited(self) -> bool:
        """Whether the sequence's name says that it edits the spectrum, as MEGA does."""
        return re.search(EDITED, self.sequence or "", re.IGNORECASE) is not None

    @property
    def reference_or_water_ppm(self) -> float:
        """Chemical shift at zero frequency; on-resonance water is taken where it is unknown."""
        return WATER_PPM if self.reference_ppm is None else self.reference_ppm


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done to the data.

    Parameters
    ----------
    name : str
        The function's name.
    parameters : mapping of str to scalar, str or list
        What it was called with, and what it chose (JSON types only).
    note : str
        One sentence for the reader of the report; empty if there is nothing to say.
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


def _frequency_axis(n_samples: int, dwell_time_s: float) -> NDArray[np.float64]:
    axis: NDArray[np.float64] = np.fft.fftshift(np.fft.fftfreq(n_samples, dwell_time_s))
    return axis


def _check_affine(affine: Any) -> NDArray[np.float64] | None:
    if affine is None:
        return None
    matrix = read_only(affine, np.float64, "affine")
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        msg = f"affine must be a finite 4 x 4 matrix in mm; got shape {matrix.shape}"
        raise ValueError(msg)
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
        msg = "affine must be invertible; its three axes lie in one plane"
        raise ValueError(msg)
    return matrix


def _voxel_size_mm(affine: NDArray[np.float64] | None) -> tuple[float, float, float] | None:
    if affine is None:
        return None
    x, y, z = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return float(x), float(y), float(z)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectralData:
    """FIDs as a file holds them: any number of voxels, coils and averages.

    Parameters
    ----------
    fid : ndarray of complex128, shape (X, Y, Z, N, ...)
        In the sign convention of this module.
    acquisition : Acquisition
        What the source says of the measurement.
    dims : tuple of str
        Names of the axes after N, such as ``("DIM_COIL", "DIM_DYN")``.
    affine : ndarray of float64, shape (4, 4), or None
        Voxel indices to RAS+ mm.
    water : SpectralData or None
        Water reference of the same voxels, if there is one.
    history : tuple of Step
        What was done so far.
    source_format : str or None
        Name of the format the data came from.

    Raises
    ------
    ValueError
        If shapes, names or numbers do not fit each other.
    TypeError
        If something is no array, or not of its type.
    """

    fid: NDArray[np.complex128]
    acquisition: Acquisition
    dims: tuple[str, ...] = ()
    affine: NDArray[np.float64] | None = None
    water: SpectralData | None = None
    history: tuple[Step, ...] = ()
    source_format: str | None = None

    def __post_init__(self) -> None:
        check_type("acquisition", self.acquisition, Acquisition, "an Acquisition")
        check_type("water", self.water, SpectralData, "SpectralData", optional=True)
        check_type("dims", self.dims, (tuple, list), "a tuple of names, such as ('DIM_COIL',)")
        object.__setattr__(self, "dims", tuple(self.dims))
        fid = read_only(self.fid, np.complex128, "fid")
        if fid.ndim != 4 + len(self.dims):
            msg = (
                f"fid must have 4 axes (X, Y, Z, N) and one per name in dims {self.dims}; "
                f"got shape {fid.shape}{_ONE_FID if fid.ndim == 1 else ''}"
            )
            raise ValueError(msg)
        if 0 in fid.shape or fid.shape[3] < 16:
            msg = f"fid must hold at least one voxel of 16 samples; got shape {fid.shape}"
            raise ValueError(msg)
        unknown = [name for name in self.dims if name not in DIMS]
        if unknown or len(set(self.dims)) != len(self.dims):
            msg = f"dims must be distinct names of {sorted(DIMS)}; got {self.dims}"
            raise ValueError(msg)
        object.__setattr__(self, "fid", fid)
        object.__setattr__(self, "affine", _check_affine(self.affine))
        if self.water is not None and self.water.fid.shape[:3] != fid.shape[:3]:
            msg = (
                f"the water reference has {self.water.fid.shape[:3]} voxels, "
                f"the data has {fid.shape[:3]}"
            )
            raise ValueError(msg)

    @property
    def n_samples(self) -> int:
        """Samples of an FID."""
        return int(self.fid.shape[3])

    @property
    def voxel_size_mm(self) -> tuple[float, float, float] | None:
        """Edge lengths, from the affine."""
        return _voxel_size_mm(self.affine)

    def axis_of(self, dim: str) -> int | None:
        """Return the axis of ``fid`` that a name belongs to.

        Parameters
        ----------
        dim : str
            Such as ``"DIM_COIL"``.

        Returns
        -------
        int or None
            None if ``dims`` does not hold it.
        """
        return 4 + self.dims.index(dim) if dim in self.dims else None

    __setstate__ = restore

    def done(self, step: Step, **changes: Any) -> SpectralData:
        """Return a copy with changes and with a step added to the history.

        Parameters
        ----------
        step : Step
            What was done.
        **changes
            Fields and their new values.

        Returns
        -------
        SpectralData
            Checked as at birth.
        """
        return replace(self, history=(*self.history, step), **changes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectra:
    """One clean FID per voxel of a grid: what a fit takes.

    Parameters
    ----------
    fid : ndarray of complex128, shape (X, Y, Z, N)
        Phased and referenced as well as preprocessing could; zero frequency is at
        ``acquisition.reference_or_water_ppm``.
    acquisition : Acquisition
        As in the source.
    mask : ndarray of bool, shape (X, Y, Z)
        True where there is something to fit; all True by default.
    affine : ndarray of float64, shape (4, 4), or None
        Voxel indices to RAS+ mm.
    water_area : ndarray of float64, shape (X, Y, Z), or None
        Amplitude at t = 0 of the water reference, on the scale of ``fid``.
    history : tuple of Step
        What was done so far.
    source_format : str or None
        Name of the format the data came from.
    noise_sd : ndarray of float64, shape (X, Y, Z), or None
        Standard deviation of the real part of an FID's samples, where a step such as denoising
        left less noise to be seen than counts for the errors.
    scalp_lipid : ndarray of bool, shape (X, Y, Z), or None
        True where the lipid probably comes from the scalp; None if nobody looked.
    lipids_suppressed : bool
        Whether lipid signals were suppressed, so that no LL area is one of the tissue.
    reference_confidence : ndarray of float64, shape (X, Y, Z), or None
        Probability that phase and chemical shift were found right; None if nobody looked.
    water_ratio : ndarray of float64, shape (X, Y, Z), or None
        How many times as high the water was as the highest narrow peak beside it; None if
        nobody looked.

    Raises
    ------
    ValueError
        If shapes do not fit each other.
    TypeError
        If something is no array, or not of its type.
    """

    fid: NDArray[np.complex128]
    acquisition: Acquisition
    mask: NDArray[np.bool_] | None = None
    affine: NDArray[np.float64] | None = None
    water_area: NDArray[np.float64] | None = None
    history: tuple[Step, ...] = ()
    source_format: str | None = None
    noise_sd: NDArray[np.float64] | None = None
    scalp_lipid: NDArray[np.bool_] | None = None
    lipids_suppressed: bool = False
    reference_confidence: NDArray[np.float64] | None = None
    water_ratio: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        check_type("acquisition", self.acquisition, Acquisition, "an Acquisition")
        fid = read_only(self.fid, np.complex128, "fid")
        if fid.ndim != 4 or 0 in fid.shape or fid.shape[3] < 16:
            msg = f"fid must have shape (X, Y, Z, N) with N >= 16; got {fid.shape}"
            msg += _ONE_FID if fid.ndim == 1 else ""
            raise ValueError(msg)
        grid = fid.shape[:3]
        mask = np.ones(grid, dtype=bool) if self.mask is None else self.mask
        object.__setattr__(self, "fid", fid)
        object.__setattr__(self, "mask", read_only(mask, np.bool_, "mask"))
        object.__setattr__(self, "affine", _check_affine(self.affine))
        per_voxel = {
            "water_area": np.float64,
            "noise_sd": np.float64,
            "scalp_lipid": np.bool_,
            "reference_confidence": np.float64,
            "water_ratio": np.float64,
        }
        for name, dtype in per_voxel.items():
            if getattr(self, name) is not None:
                values = read_only(getattr(self, name), dtype, name)
                object.__setattr__(self, name, values)
        for name in ("mask", *per_voxel):
            value = getattr(self, name)
            if value is not None and value.shape != grid:
                msg = f"{name} must have the shape {grid} of the grid; got {value.shape}"
                raise ValueError(msg)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Voxels along X, Y and Z."""
        x, y, z = self.fid.shape[:3]
        return x, y, z

    @property
    def n_samples(self) -> int:
        """Samples of an FID."""
        return int(self.fid.shape[3])

    @property
    def voxels_to_fit(self) -> NDArray[np.bool_]:
        """The mask, shape (X, Y, Z); never None."""
        assert self.mask is not None
        return self.mask

    @property
    def time_s(self) -> NDArray[np.float64]:
        """Times of the samples, shape (N,), starting at 0."""
        return np.arange(self.n_samples, dtype=np.float64) * self.acquisition.dwell_time_s

    @property
    def frequency_hz(self) -> NDArray[np.float64]:
        """Frequencies of ``spectrum``, shape (N,), ascending."""
        return _frequency_axis(self.n_samples, self.acquisition.dwell_time_s)

    @property
    def ppm(self) -> NDArray[np.float64]:
        """Chemical shifts of ``spectrum``, shape (N,), ascending."""
        offset_ppm = self.frequency_hz / self.acquisition.spectrometer_frequency_mhz
        axis: NDArray[np.float64] = self.acquisition.reference_or_water_ppm + offset_ppm
        return axis

    @property
    def spectrum(self) -> NDArray[np.complex128]:
        """Spectra, shape (X, Y, Z, N), along ``ppm``."""
        transformed: NDArray[np.complex128] = np.fft.fftshift(np.fft.fft(self.fid, axis=3), axes=3)
        return transformed

    @property
    def voxel_size_mm(self) -> tuple[float, float, float] | None:
        """Edge lengths, from the affine."""
        return _voxel_size_mm(self.affine)

    __setstate__ = restore

    def done(self, step: Step, **changes: Any) -> Spectra:
        """Return a copy with changes and with a step added to the history.

        Parameters
        ----------
        step : Step
            What was done.
        **changes
            Fields and their new values.

        Returns
        -------
        Spectra
            Checked as at birth.
        """
        return replace(self, history=(*self.history, step), **changes)


def check_spectral_data(data: object) -> None:
    """Refuse what is no ``SpectralData``, as in ``check_type``."""
    check_type("data", data, SpectralData, "SpectralData, as read returns it")


def check_spectra(spectra: object) -> None:
    """Refuse what is no ``Spectra``, as in ``check_type``."""
    check_type("spectra", spectra, Spectra, "Spectra, as preprocess returns them")
