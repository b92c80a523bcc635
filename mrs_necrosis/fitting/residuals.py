"""One voxel's objective as rows whose squares add up to it, for any least-squares solver.

The variables are the K amplitudes (in units of the noise) and the P nonlinear parameters. The
rows are the real and imaginary parts of the phased residual, with the baseline eliminated
exactly, then the amplitudes' prior, then the priors of the nonlinear parameters. Eliminating a
penalised baseline ``modes @ c`` from a residual r leaves ``|r|^2 - sum(shrink |modes^T r|^2)``;
that is the squared norm of r with ``1 - sqrt(1 - shrink)`` of each mode taken out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import fft
from threadpoolctl import threadpool_limits

from mrs_necrosis.errors import FitError
from mrs_necrosis.fitting.echo import suited_model
from mrs_necrosis.fitting.optimum import noise_in_fit, noise_unit, optimise
from mrs_necrosis.fitting.problem import prepare
from mrs_necrosis.fitting.solver import NumpySolver
from mrs_necrosis.fitting.varpro import derivatives, rotation, time_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.fitting.model import Model
    from mrs_necrosis.fitting.problem import Problem
    from mrs_necrosis.spectra import Spectra


@dataclass(frozen=True, slots=True, eq=False)
class VoxelObjective:
    """What ``fit`` minimises in one voxel.

    Parameters
    ----------
    spectra : Spectra
        The voxel, as a grid of one.
    problem : Problem
        With K components, P parameters and M in-band points.
    data : ndarray of complex128, shape (M,)
        In-band points in units of the noise.
    unit : float
        The noise: an amplitude times it is an area.
    start, lower, upper : ndarray of float64, shape (K + P,)
        Where a search starts, and its box; amplitudes have none.
    optimum : ndarray of float64, shape (K + P,)
        What ``fit`` found.
    prior_root : ndarray of float64, shape (K, K)
        Its rows times the amplitudes, less ``prior_target``, are the prior's rows.
    prior_target : ndarray of float64, shape (K,)
        See there.
    shrink : ndarray of float64, shape (B,)
        What the baseline takes of each mode.
    aim : ndarray of float64, shape (P,)
        Means of the parameters' priors, see ``varpro.aim_of``.
    """

    spectra: Spectra
    problem: Problem
    data: NDArray[np.complex128]
    unit: float
    start: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    optimum: NDArray[np.float64]
    prior_root: NDArray[np.float64]
    prior_target: NDArray[np.float64]
    shrink: NDArray[np.float64]
    aim: NDArray[np.float64]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables: components, then nonlinear parameters."""
        model = self.problem.model
        return (*model.names, *(p.name for p in model.parameters))

    def rows(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the rows at ``x``, shape (2 M + K + priors,)."""
        k = len(self.problem.model.components)
        theta = x[None, k:]
        columns = fft(time_columns(self.problem, theta)[0], axis=1)[:, : self.data.size]
        phased = rotation(self.problem, theta)[0] * self.data
        return self._stacked(self.without_baseline(phased - x[:k] @ columns), x)

    def jacobian(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the derivatives of ``rows``, shape (2 M + K + priors, K + P)."""
        problem, m = self.problem, self.data.size
        k = len(problem.model.components)
        theta = x[None, k:]
        samples = time_columns(problem, theta)[0]
        columns = fft(samples, axis=1)[:, :m]
        phased = rotation(problem, theta)[0] * self.data
        classes = np.arange(problem.acts.shape[1])[:, None]
        summed = (x[:k] * (problem.shape_of == classes)) @ samples
        # the rows' own derivatives, which turn the data: a search as the solver's turns the model
        slopes = -np.concatenate([columns, derivatives(problem, summed, phased)])
        inner = self.without_baseline(slopes).view(np.float64).T
        informed = np.isfinite(problem.sd)
        prior = np.zeros((k + int(informed.sum()), x.size))
        prior[:k, :k] = self.prior_root
        prior[np.arange(k, len(prior)), k + np.flatnonzero(informed)] = 1 / problem.sd[informed]
        return np.concatenate([inner, prior])

    def chi_square(self, x: NDArray[np.float64]) -> float:
        """Return the objective at ``x``: data, baseline and priors."""
        rows = self.rows(x)
        return float(rows @ rows)

    def without_baseline(self, residual: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Return residuals (..., M) with the penalised baseline's share taken out."""
        modes = self.problem.modes
        part = 1.0 - np.sqrt(np.maximum(1.0 - self.shrink, 0.0))
        kept: NDArray[np.complex128] = residual - ((residual @ modes) * part) @ modes.T
        return np.ascontiguousarray(kept)

    def _stacked(
        self, residual: NDArray[np.complex128], x: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        k = len(self.problem.model.components)
        informed = np.isfinite(self.problem.sd)
        offset = (x[k:] - self.aim)[informed] / self.problem.sd[informed]
        prior = self.prior_root @ x[:k] - self.prior_target
        return np.concatenate([residual.view(np.float64), prior, offset])


def voxel_objective(
    spectra: Spectra, model: Model | None = None, voxel: tuple[int, int, int] = (0, 0, 0)
) -> VoxelObjective:
    """Return the objective that ``fit`` minimises in one voxel.

    The start, the unit of the amplitudes' priors and the stiffness of the baseline are found
    first, as ``fit`` finds them; they are constants of the objective.

    Parameters
    ----------
    spectra, model
        As in ``fit``.
    voxel : tuple of int
        Index along X, Y, Z.

    Returns
    -------
    VoxelObjective
        Rows, Jacobian, start, box and the optimum that ``fit`` finds.

    Raises
    ------
    FitError
        If the voxel holds nothing to fit, or not enough points for the model.
    """
    at = tuple(slice(i, i + 1) for i in voxel)
    fid = spectra.fid[voxel]
    water = None if spectra.water_area is None else spectra.water_area[at]
    one = replace(spectra, fid=spectra.fid[at], mask=None, affine=None, water_area=water)
    if not (np.isfinite(fid).all() and np.abs(fid).any()):
        msg = f"voxel {voxel} is zero or not finite: there is nothing to fit"
        raise FitError(msg)
    problem = prepare(spectra, suited_model(spectra) if model is None else model)
    k = len(problem.model.components)
    with threadpool_limits(limits=1, user_api="blas"):
        data = problem.in_band(fid[None])
        unit = noise_unit(data, noise_in_fit(one, problem))
        found = optimise(NumpySolver(problem), data / unit[:, None])
    # the priors compete with the noise that the fit saw in the end
    unit *= found.loudness
    data /= unit[:, None]
    root = np.linalg.cholesky(found.objective.precision[0]).T
    target = np.linalg.solve(root.T, found.objective.pull[0])
    begun, free = found.begun, np.full(k, np.inf)
    optimum = np.concatenate([found.state.amplitudes[0], found.state.theta[0]])
    return VoxelObjective(
        spectra=one,
        problem=problem,
        data=data[0],
        unit=float(unit[0]),
        start=np.concatenate([begun.amplitudes[0] / found.loudness[0], begun.theta[0]]),
        lower=np.concatenate([-free, begun.box.lower[0]]),
        upper=np.concatenate([free, begun.box.upper[0]]),
        optimum=optimum,
        prior_root=root,
        prior_target=target,
        shrink=found.objective.shrink[0].copy(),
        aim=found.objective.aim[0],
    )
