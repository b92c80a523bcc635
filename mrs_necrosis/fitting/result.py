"""What a fit returns: areas with their covariance, quality and curves for every voxel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.fitting.model import Model
from mrs_necrosis.quality import FitStatus, Quality
from mrs_necrosis.spectra import Spectra


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """One voxel's spectrum and what the fit says it is made of, phased for the eye.

    Parameters
    ----------
    ppm : ndarray of float64, shape (M,)
        Ascending chemical shifts of the fitted range, referenced by the fit.
    data, fit, baseline, residual : ndarray of complex128, shape (M,)
        ``data = fit + residual``; ``fit`` includes the baseline.
    components : mapping of str to ndarray of complex128, shape (M,)
        One curve per amplitude of the model, without the baseline.
    """

    ppm: NDArray[np.float64]
    data: NDArray[np.complex128]
    fit: NDArray[np.complex128]
    baseline: NDArray[np.complex128]
    residual: NDArray[np.complex128]
    components: Mapping[str, NDArray[np.complex128]]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A model laid under every voxel of a grid.

    Parameters
    ----------
    spectra : Spectra
        What was fitted.
    model : Model
        What was laid under it.
    areas : PeakAreas
        values (X, Y, Z, K), covariance (X, Y, Z, K, K); NaN where there is no fit.
    quality : Quality
        SNR, linewidth, residual and status per voxel.
    parameter_names : tuple of str
        Names of the P nonlinear parameters.
    parameters : ndarray of float64, shape (X, Y, Z, P)
        Their values, in the units that the names state.
    backend : str
        Which solver minimised: ``"numpy"``, ``"compiled"`` or ``"lmfit"``.
    notes : tuple of str
        Sentences about the whole fit, such as that lactate and lipid are not separable.
    """

    spectra: Spectra
    model: Model
    areas: PeakAreas
    quality: Quality
    parameter_names: tuple[str, ...]
    parameters: NDArray[np.float64]
    backend: str
    notes: tuple[str, ...]
    _curves: Callable[[tuple[int, int, int]], Curves]

    def __repr__(self) -> str:
        wanted = int((self.status != FitStatus.MASKED).sum())
        have = int(self.quality.has_areas.sum())
        lost = f", {wanted - have} without areas" if have < wanted else ""
        voxels = "1 voxel" if wanted == 1 else f"{wanted} voxels"
        return f"<Fit of {self.model.name} to {voxels}{lost}, {self.backend}>"

    @property
    def status(self) -> NDArray[np.uint8]:
        """``FitStatus`` codes, shape (X, Y, Z)."""
        return self.quality.status

    def curves(self, voxel: tuple[int, int, int] = (0, 0, 0)) -> Curves:
        """Return the fitted curves of one voxel.

        Parameters
        ----------
        voxel : tuple of int
            Index along X, Y, Z.

        Returns
        -------
        Curves
            Evaluated on demand.

        Raises
        ------
        IndexError
            If there is no such voxel.
        """
        if not all(0 <= i < n for i, n in zip(voxel, self.spectra.grid, strict=True)):
            msg = f"no voxel {voxel} in a grid of {self.spectra.grid}"
            raise IndexError(msg)
        return self._curves(voxel)
