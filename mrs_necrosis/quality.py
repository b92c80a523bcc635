"""How good a spectrum and its fit are: the type, the statuses and the thresholds.

SNR is the tallest of NAA, Cr and Cho in the phased metabolite spectrum (plain FFT) over the
standard deviation of the noise in its real part. The linewidth is the full width at half maximum
of the fitted metabolite singlets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.arguments import NUMBER, restore


class FitStatus(IntEnum):
    """What became of one voxel."""

    OK = 0
    AT_BOUND = 1
    NOT_CONVERGED = 2
    NO_SIGNAL = 3
    NOT_FINITE = 4
    MASKED = 5
    FAILED = 6

    @property
    def sentence(self) -> str:
        """The sentence shown to the user."""
        return _SENTENCES[self]

    @property
    def word(self) -> str:
        """The status as files have it: ``"at-bound"``."""
        return self.name.lower().replace("_", "-")

    @property
    def has_areas(self) -> bool:
        """Whether the voxel has areas at all."""
        return self in {FitStatus.OK, FitStatus.AT_BOUND, FitStatus.NOT_CONVERGED}


_SENTENCES = {
    FitStatus.OK: "the fit converged",
    FitStatus.AT_BOUND: "the fit converged, but a shift, width or phase lies at its bound",
    FitStatus.NOT_CONVERGED: "the fit did not converge; its areas are not to be trusted",
    FitStatus.NO_SIGNAL: "the FID is zero everywhere; there is nothing to fit",
    FitStatus.NOT_FINITE: "the FID holds NaN or infinite samples; there is nothing to fit",
    FitStatus.MASKED: "the voxel lies outside the mask and was not fitted",
    FitStatus.FAILED: "the fit failed for numerical reasons",
}


@dataclass(frozen=True, slots=True, eq=False)
class Quality:
    """Quality of each voxel of a grid.

    Parameters
    ----------
    snr : ndarray of float64, shape (X, Y, Z)
        As defined in this module; NaN without an answer, and so for the others.
    linewidth_hz, linewidth_ppm : ndarray of float64, shape (X, Y, Z)
        Full width at half maximum of the metabolite singlets.
    residual_ratio : ndarray of float64, shape (X, Y, Z)
        Standard deviation of the fit's residual over that of the noise; 1 is perfect.
    status : ndarray of uint8, shape (X, Y, Z)
        ``FitStatus`` codes.
    unexplained_ppm : ndarray of float64, shape (X, Y, Z)
        Where the residual holds a peak that the model does not know; NaN if there is none.
    reference_confidence, water_ratio : ndarray of float64, shape (X, Y, Z), or None
        As in ``Spectra``; None becomes NaN, unknown.
    """

    snr: NDArray[np.float64]
    linewidth_hz: NDArray[np.float64]
    linewidth_ppm: NDArray[np.float64]
    residual_ratio: NDArray[np.float64]
    status: NDArray[np.uint8]
    unexplained_ppm: NDArray[np.float64]
    reference_confidence: NDArray[np.float64] | None = None
    water_ratio: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.snr)
        for name in self.__slots__:
            dtype = np.uint8 if name == "status" else np.float64
            given = getattr(self, name)
            array: NDArray[Any] = np.array(
                np.full(shape, np.nan) if given is None else given, dtype
            )
            if array.shape != shape:
                msg = f"{name} must have the shape {shape} of snr; got {array.shape}"
                raise ValueError(msg)
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    __setstate__ = restore

    @property
    def has_areas(self) -> NDArray[np.bool_]:
        """Which voxels have areas at all, shape (X, Y, Z)."""
        return np.isin(self.status, [status for status in FitStatus if status.has_areas])

    def voxel(self, index: tuple[int, int, int]) -> Quality:
        """Return the quality of one voxel.

        Parameters
        ----------
        index : tuple of int
            X, Y, Z.

        Returns
        -------
        Quality
            Of a 1 x 1 x 1 grid.
        """
        at = tuple(slice(i, i + 1) for i in index)
        return Quality(*(getattr(self, name)[at] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class QualityThresholds:
    """Numbers beyond which a label is withheld, or given with a warning.

    The linewidth limits are attributed to the consensus papers Wilson 2019 (MRM 82:527) and
    Oz 2014 (Radiology 270:658), whose tables were not read: they are *assumed*, as is the rest.
    An assumed threshold may only withhold a label.

    Parameters
    ----------
    snr_warn, snr_fail : float
        SNR below this.
    linewidth_warn_ppm, linewidth_fail_ppm : float
        Full width at half maximum of the singlets above this, in ppm.
    area_sd_warn, area_sd_fail : float
        Largest sd among Cho, Cr and NAA over the tallest of them above this.
    residual_warn, residual_fail : float
        Standard deviation of the residual over that of the noise above this.
    reference_warn, reference_fail : float
        Probability that phase and shift were found right below this.
    water_fail : float
        Water over the highest narrow peak beside it above this.
    macromolecules_fail : float
        Macromolecules over the tallest of Cho, Cr and NAA above this.

    Raises
    ------
    ValueError
        If one is no number from 0 on, or would fail before it warns.
    """

    snr_warn: float = 10.0
    snr_fail: float = 5.0
    linewidth_warn_ppm: float = 0.08
    linewidth_fail_ppm: float = 0.10
    area_sd_warn: float = 0.20
    area_sd_fail: float = 0.50
    residual_warn: float = 1.5
    residual_fail: float = 3.0
    reference_warn: float = 0.95
    reference_fail: float = 0.70
    water_fail: float = 300.0
    macromolecules_fail: float = 50.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            number = isinstance(value, NUMBER) and not isinstance(value, bool)
            if not number or not 0 <= value < math.inf:
                msg = f"{name} must be a number from 0 on; got {value!r}"
                raise ValueError(msg)
        # between the two there is a caveat
        for above, below in (
            ("snr_warn", "snr_fail"),
            ("reference_warn", "reference_fail"),
            ("linewidth_fail_ppm", "linewidth_warn_ppm"),
            ("area_sd_fail", "area_sd_warn"),
            ("residual_fail", "residual_warn"),
        ):
            if getattr(self, above) < getattr(self, below):
                msg = (
                    f"{above} must not lie below {below}; got {getattr(self, above):g} and "
                    f"{getattr(self, below):g}"
                )
                raise ValueError(msg)
