"""A ``Fit`` made of what was collected, voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import fft

from mrs_necrosis.areas import PeakAreas, upright
from mrs_necrosis.errors import FitError
from mrs_necrosis.fitting.inspection import linewidth_hz, notes_on
from mrs_necrosis.fitting.model import areas_of
from mrs_necrosis.fitting.result import Curves, Fit
from mrs_necrosis.fitting.varpro import rotation, row_by_row, time_columns
from mrs_necrosis.quality import FitStatus, Quality

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mrs_necrosis.fitting.model import Model
    from mrs_necrosis.fitting.problem import Problem
    from mrs_necrosis.spectra import Spectra


@dataclass(slots=True)
class VoxelArrays:
    """Results of V voxels while they are collected; NaN until there is one.

    The covariance is that of the areas: that of all components would take most of the memory.
    ``sd`` is the noise per in-band point.
    """

    amplitudes: NDArray[np.float64]
    covariance: NDArray[np.float64]
    theta: NDArray[np.float64]
    taken: NDArray[np.float64]
    residual: NDArray[np.float64]
    unexplained: NDArray[np.float64]
    tallest: NDArray[np.float64]
    sd: NDArray[np.float64]
    status: NDArray[np.uint8]

    @classmethod
    def empty(cls, voxels: int, problem: Problem) -> VoxelArrays:
        """Return arrays for so many voxels."""
        k, p = len(problem.model.components), len(problem.kind)
        areas = len(areas_of(problem.model)[0])
        return cls(
            amplitudes=np.full((voxels, k), np.nan),
            covariance=np.full((voxels, areas, areas), np.nan),
            theta=np.full((voxels, p), np.nan),
            taken=np.full((voxels, problem.roughness.size), np.nan),
            residual=np.full(voxels, np.nan),
            unexplained=np.full(voxels, np.nan),
            tallest=np.full(voxels, np.nan),
            sd=np.full(voxels, np.nan),
            status=np.full(voxels, FitStatus.MASKED, dtype=np.uint8),
        )

    def by_name(self) -> dict[str, NDArray[Any]]:
        """Return the arrays under their names."""
        return {name: getattr(self, name) for name in self.__slots__}

    def put(self, rows: NDArray[np.intp], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what another's ``by_name`` gave for some of the voxels."""
        for name, array in arrays.items():
            getattr(self, name)[rows] = array


def parts_of(
    problem: Problem,
    data: NDArray[np.complex128],
    theta: NDArray[np.float64],
    amplitudes: NDArray[np.float64],
    shrink: NDArray[np.float64],
) -> tuple[NDArray[np.complex128], NDArray[np.complex128], NDArray[np.complex128]]:
    """Return phased data (V, M), component curves (V, K, M) and the baseline (V, M)."""
    band = problem.frequency_hz.size
    columns = fft(time_columns(problem, theta), axis=2)[:, :, :band] * amplitudes[:, :, None]
    phased = rotation(problem, theta) * data
    smooth = row_by_row(phased - columns.sum(axis=1), problem.modes) * shrink
    baseline = row_by_row(smooth, problem.modes.T)
    return phased, columns, baseline


def of_areas(problem: Problem, covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance of the areas from that of the components, shape (V, K, K)."""
    combine = areas_of(problem.model)[1]
    summed = combine @ covariance @ combine.T
    symmetric: NDArray[np.float64] = (summed + np.swapaxes(summed, 1, 2)) / 2
    return symmetric


def result_of(
    spectra: Spectra,
    problem: Problem,
    out: VoxelArrays,
    *,
    backend: str,
) -> Fit:
    """Make a Fit of what was collected."""
    model, grid = problem.model, spectra.grid
    areas = _areas(out, model, grid)
    notes = list(model.assumed)
    if spectra.acquisition.echo_time_s is None:
        areas, inverted = upright(areas)
        if inverted.any():
            notes.append(
                "lactate or alanine stands upside down, as at an echo time of 120 to 160 ms; its "
                "area is the magnitude"
            )
    areas = areas.with_ll()
    theta = out.theta.copy()
    theta.setflags(write=False)
    return Fit(
        spectra=spectra,
        model=model,
        areas=areas,
        quality=_quality(spectra, problem, out),
        parameter_names=tuple(p.name for p in model.parameters),
        parameters=theta.reshape(*grid, -1),
        backend=backend,
        notes=(*notes_on(areas), *notes, *filter(None, [problem.emptied])),
        _curves=partial(_curves_at, spectra, problem, out),
    )


def _areas(out: VoxelArrays, model: Model, grid: tuple[int, int, int]) -> PeakAreas:
    """Return the areas, whose covariance is handed over and not copied."""
    names, combine = areas_of(model)
    values = row_by_row(out.amplitudes, combine.T)
    covariance = out.covariance
    covariance.setflags(write=False)
    out.covariance = covariance[:0]
    return PeakAreas(
        names,
        values.reshape(*grid, len(names)),
        covariance.reshape(*grid, len(names), len(names)),
    )


def _quality(spectra: Spectra, problem: Problem, out: VoxelArrays) -> Quality:
    grid = spectra.grid
    width = linewidth_hz(problem, out.theta, 0.0)
    width = np.where(np.isnan(out.theta).all(axis=1), np.nan, width)
    mhz = spectra.acquisition.spectrometer_frequency_mhz
    reference = spectra.acquisition.reference_or_water_ppm
    full_sd = out.sd * np.sqrt(spectra.n_samples / problem.time_s.size)
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = out.tallest / full_sd
    return Quality(
        snr=snr.reshape(grid),
        linewidth_hz=width.reshape(grid),
        linewidth_ppm=(width / mhz).reshape(grid),
        residual_ratio=out.residual.reshape(grid),
        status=out.status.reshape(grid),
        unexplained_ppm=(reference + out.unexplained / mhz).reshape(grid),
        reference_confidence=spectra.reference_confidence,
        water_ratio=spectra.water_ratio,
    )


def _curves_at(
    spectra: Spectra, problem: Problem, out: VoxelArrays, voxel: tuple[int, int, int]
) -> Curves:
    at = int(np.ravel_multi_index(voxel, spectra.grid))
    fid = spectra.fid[voxel][None]
    theta, amplitudes = out.theta[at][None], out.amplitudes[at][None]
    if np.isnan(theta).any():
        msg = f"voxel {voxel} has no fit: {FitStatus(out.status[at]).sentence}"
        raise FitError(msg)
    parts = parts_of(problem, problem.in_band(fid), theta, amplitudes, out.taken[at])
    phased, columns, baseline = (part[0] for part in parts)
    shift = problem.column(theta, "shift_hz", 0.0)[0]
    acquisition = spectra.acquisition
    ppm = acquisition.reference_or_water_ppm + (
        (problem.frequency_hz - shift) / acquisition.spectrometer_frequency_mhz
    )
    fitted = columns.sum(axis=0) + baseline
    return Curves(
        ppm=ppm,
        data=phased,
        fit=fitted,
        baseline=baseline,
        residual=phased - fitted,
        components=dict(zip(problem.model.names, columns, strict=True)),
    )
