"""One voxel's posterior by sampling, to check the intervals that the fit reports.

An affine-invariant ensemble (emcee, the ``[posterior]`` extra; Foreman-Mackey et al., PASP 125,
306 (2013)) walks over the nonlinear parameters inside their box. Amplitudes and baseline are
linear with normal priors, so their part is exact: integrated out of the density, and drawn from
their normal conditional for each sample. The stiffness of the baseline is the one that the fit
chose; unlike the fit's covariance, the draws do not average over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft
from scipy.linalg import solve_triangular

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.fitting.model import Model, areas_of
from mrs_necrosis.fitting.residuals import voxel_objective
from mrs_necrosis.fitting.varpro import rotation, time_columns
from mrs_necrosis.spectra import Spectra

if TYPE_CHECKING:
    from mrs_necrosis.fitting.residuals import VoxelObjective


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Samples of one voxel's posterior.

    Parameters
    ----------
    names : tuple of str
        Names of the K areas, as the fit has them, and ``LL`` where its parts are there.
    areas : ndarray of float64, shape (S, K)
        Draws, in the unit of the FID.
    parameter_names : tuple of str
        Names of the P nonlinear parameters.
    parameters : ndarray of float64, shape (S, P)
        Draws.
    accepted : float
        Share of accepted moves; 0.1 to 0.6 is healthy.
    """

    names: tuple[str, ...]
    areas: NDArray[np.float64]
    parameter_names: tuple[str, ...]
    parameters: NDArray[np.float64]
    accepted: float

    def interval(
        self, numerator: str, denominator: str, level: float = 0.95
    ) -> tuple[float, float]:
        """Return the central interval of a ratio of two areas.

        Parameters
        ----------
        numerator, denominator : str
            Names of areas.
        level : float
            Probability inside.

        Returns
        -------
        tuple of float
            Lower and upper end.
        """
        ratio = (
            self.areas[:, self.names.index(numerator)]
            / self.areas[:, self.names.index(denominator)]
        )
        low, high = np.quantile(ratio, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)


def sample(
    spectra: Spectra,
    model: Model | None = None,
    voxel: tuple[int, int, int] = (0, 0, 0),
    *,
    rng: np.random.Generator,
    steps: int = 400,
    burn_in: int = 200,
) -> Draws:
    """Sample one voxel's posterior.

    Parameters
    ----------
    spectra, model
        As in ``fit``.
    voxel : tuple of int
        Index along X, Y, Z.
    rng : numpy.random.Generator
        Of all draws.
    steps, burn_in : int
        Moves of each walker that are kept, and moves before them.

    Returns
    -------
    Draws
        Of areas and nonlinear parameters.

    Raises
    ------
    ModuleNotFoundError
        If emcee is not installed.
    """
    import emcee

    objective = voxel_objective(spectra, model, voxel)
    k = len(objective.problem.model.components)
    p = len(objective.problem.kind)
    low, high = objective.lower[k:], objective.upper[k:]
    middle = objective.optimum[k:]
    sd = _spread(objective)[k:]
    walkers = 2 * p + 2
    start = middle + 0.5 * sd * rng.normal(size=(walkers, p))
    margin = 1e-3 * (high - low)
    start = np.clip(start, low + margin * rng.uniform(size=start.shape), high - margin)

    def log_density(theta: NDArray[np.float64]) -> float:
        if (theta < low).any() or (theta > high).any():
            return -np.inf
        return _conditional(objective, theta)[0]

    sampler: Any = emcee.EnsembleSampler(
        walkers,
        p,
        log_density,
        moves=[(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)],
    )
    sampler.random_state = np.random.RandomState(rng.integers(2**32)).get_state()
    sampler.run_mcmc(start, burn_in + steps)
    thetas: NDArray[np.float64] = sampler.get_chain(discard=burn_in, thin=5, flat=True)
    amplitudes = np.empty((len(thetas), k))
    for i, theta in enumerate(thetas):
        _, mean, root = _conditional(objective, theta)
        noise = solve_triangular(root, rng.normal(size=k), lower=True, trans="T")
        amplitudes[i] = mean + noise
    names, combine = areas_of(objective.problem.model)
    areas = PeakAreas(names, amplitudes @ combine.T * objective.unit).with_ll()
    return Draws(
        names=areas.names,
        areas=areas.values,
        parameter_names=tuple(q.name for q in objective.problem.model.parameters),
        parameters=thetas,
        accepted=float(np.mean(sampler.acceptance_fraction)),
    )


def _spread(objective: VoxelObjective) -> NDArray[np.float64]:
    """Return the standard deviations at the optimum, of the Gauss-Newton approximation."""
    jacobian = objective.jacobian(objective.optimum)
    covariance = np.linalg.pinv(jacobian.T @ jacobian)
    spread: NDArray[np.float64] = np.sqrt(np.maximum(np.diagonal(covariance), 1e-300))
    return spread


def _conditional(
    objective: VoxelObjective, theta: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return marginal log density, and the amplitudes' mean and root precision."""
    problem = objective.problem
    m = objective.data.size
    at = theta[None]
    columns = fft(time_columns(problem, at)[0], axis=1)[:, :m]
    phased = objective.data * rotation(problem, at)[0]
    design = objective.without_baseline(columns).view(np.float64)
    data = objective.without_baseline(phased).view(np.float64)
    root_prior = objective.prior_root
    precision = design @ design.T + root_prior.T @ root_prior
    right = design @ data + root_prior.T @ objective.prior_target
    root: NDArray[np.float64] = np.linalg.cholesky(precision).astype(np.float64, copy=False)
    half = solve_triangular(root, right, lower=True)
    mean = solve_triangular(root, half, lower=True, trans="T")
    informed = np.isfinite(problem.sd)
    # amplitudes are integrated out here; in the fit the aim of the priors stands in for that
    offset = ((theta - problem.start) / problem.sd)[informed]
    chi_square = data @ data - half @ half + offset @ offset
    log_density = -0.5 * chi_square - np.log(np.diagonal(root)).sum()
    return float(log_density), mean, root
