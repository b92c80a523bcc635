"""Where the search ends in every voxel, and the objective that it minimised there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mrs_necrosis.fitting.problem import amplitude_prior, noise_sd
from mrs_necrosis.fitting.start import other_starts, starting_values
from mrs_necrosis.fitting.varpro import MOST_ITERATIONS, TOLERANCE, rotation, row_by_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.fitting.posterior import Posterior
    from mrs_necrosis.fitting.problem import Problem
    from mrs_necrosis.fitting.solver import Solver
    from mrs_necrosis.fitting.varpro import State
    from mrs_necrosis.spectra import Spectra

FIRST_DIMENSIONS = 10.0
"""Dimensions of the baseline while its stiffness is not yet known."""

FIRST_ITERATIONS = 10
"""Iterations of the first search, before anything is known of the baseline."""

LOOSE_REACH = 10.0
"""Size, in scales, of the ties between lipids while nothing is known of them."""

LOUD = 1.3
"""Residual over noise beyond which the model's own error counts as noise (assumed)."""

LEAST_NOISE = 5e-4
"""Noise is taken to be at least this share of the largest point: no model is better."""

NEGATIVE_SD = 0.5
"""A component that comes out more negative than so many standard deviations gets a normal prior
around zero with its own standard deviation: it may stay negative, within its error."""

FIRST_TOLERANCE = 0.1
"""The first search stops when the next step is predicted to lower chi-square by less."""

SECOND_LOOK = ((FIRST_ITERATIONS, FIRST_TOLERANCE), (MOST_ITERATIONS, TOLERANCE))
"""Iterations and tolerance of a search from another start: roughly, then to the end."""

BROAD_TRIALS = ((0.05, 0.05), (0.15, 0.15), (0.4, 0.3))
"""Starting widths of the lipids, as fractions of their boxes."""


def noise_in_fit(spectra: Spectra, problem: Problem) -> NDArray[np.float64]:
    """Return the noise per in-band point of the samples that the fit uses, shape (V,)."""
    with np.errstate(invalid="ignore"):
        full = noise_sd(spectra).ravel()
    scaled: NDArray[np.float64] = full * np.sqrt(problem.time_s.size / spectra.n_samples)
    return scaled


def noise_unit(band: NDArray[np.complex128], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the data are divided by, shape (V,): the noise, but some of it in any case.

    Data without noise have nothing to weigh with, and no model is better than ``LEAST_NOISE``.
    """
    unit: NDArray[np.float64] = np.maximum(
        np.where(np.isfinite(sd), sd, 0.0), LEAST_NOISE * np.abs(band).max(axis=1)
    )
    return unit


def _scale_of(problem: Problem, amplitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit of the amplitudes' priors, shape (V,); it is never zero."""
    names = problem.model.names
    members = [names.index(name) for name in problem.model.scale] or list(range(len(names)))
    summed = np.maximum(amplitudes[:, members], 0.0).sum(axis=1)
    floor = 0.02 * np.abs(amplitudes).max(axis=1) + 1e-12
    scale: NDArray[np.float64] = np.maximum(summed, floor)
    return scale


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """Where the search ended in V voxels, and the objective that it minimised there.

    Parameters
    ----------
    begun : tuple of ndarray of float64, shapes (V, P) and (V, K)
        Parameters and amplitudes at the start, before anything was known.
    state : State
        At the optimum.
    box : tuple of ndarray of float64, shapes (V, P)
        Lower and upper bounds of the nonlinear parameters.
    converged : ndarray of bool, shape (V,)
        False where the search ran out of iterations.
    precision, pull : ndarray of float64, shapes (V, K, K) and (V, K)
        Prior of the amplitudes.
    shrink : ndarray of float64, shape (V, B)
        What the baseline takes of each mode.
    aim : ndarray of float64, shape (V, P)
        Means of the parameters' priors, see ``varpro.aim_of``.
    posterior : Posterior
        Averaged over the baseline's stiffness.
    loudness : ndarray of float64, shape (V,)
        By how much more than the noise the data were divided in the end, because the model
        leaves so much over. All but ``begun`` is in that unit.
    residual : ndarray of complex128, shape (V, M)
        What the model leaves over.
    """

    begun: tuple[NDArray[np.float64], NDArray[np.float64]]
    state: State
    box: tuple[NDArray[np.float64], NDArray[np.float64]]
    converged: NDArray[np.bool_]
    precision: NDArray[np.float64]
    pull: NDArray[np.float64]
    shrink: NDArray[np.float64]
    aim: NDArray[np.float64]
    posterior: Posterior
    loudness: NDArray[np.float64]
    residual: NDArray[np.complex128]

    @property
    def stuck(self) -> NDArray[np.bool_]:
        """Whether a parameter lies at a wall of its box, shape (V, P)."""
        return _stuck(self.state.theta, self.box)


def optimise(problem: Problem, solver: Solver, data: NDArray[np.complex128]) -> Optimum:
    """Find the optimum of every voxel.

    The search runs twice: with a middling baseline, then with what was learnt from that; where a
    lipid may lie in the wrong valley, once more from the other one.

    Parameters
    ----------
    problem : Problem
        The shared part.
    solver : Solver
        Of that problem.
    data : ndarray of complex128, shape (V, M)
        In-band points in units of the noise.

    Returns
    -------
    Optimum
        Under the priors and the stiffness that the data chose.
    """
    v, k = data.shape[0], len(problem.model.components)
    index = np.arange(k)
    precision, pull = np.zeros((v, k, k)), np.zeros((v, k))
    # before anything is known: a ridge that only keeps matrices regular
    precision[:, index, index] = 1e-6 + 1.0 / np.abs(data).max(axis=1)[:, None] ** 2
    table = problem.candidates()
    middling = np.abs(table.sum(axis=1) - FIRST_DIMENSIONS).argmin()
    shrink = np.broadcast_to(table[middling], (v, table.shape[1]))
    theta, box, begun, sd = starting_values(
        problem, solver, data, precision, pull, shrink, BROAD_TRIALS
    )

    # how much lipid there is beyond macromolecules, before lipids are tied to each other
    scale = _scale_of(problem, begun)
    precision, pull, _ = amplitude_prior(problem, scale, begun, sd, least_reach=LOOSE_REACH)
    _, first, _ = solver.eliminate(data, theta, precision, pull, shrink)

    scale = _scale_of(problem, first)
    precision, pull, widened = amplitude_prior(problem, scale, first, sd)
    state, _ = solver.minimise(
        data,
        theta,
        box,
        precision,
        pull,
        shrink,
        most_iterations=FIRST_ITERATIONS,
        tolerance=FIRST_TOLERANCE,
    )
    post = solver.average(state, _stuck(state.theta, box), precision, pull)

    # where the model leaves over more than noise, that is the noise the priors compete with
    loudness = np.maximum(residual_ratio(_residual(problem, solver, data, state, post)), 1.0)
    loudness = np.where(loudness > LOUD, loudness, 1.0)
    data = data / loudness[:, None]
    amplitudes = state.amplitudes / loudness[:, None]
    sd = root_diagonal(post.covariance)[:, :k]
    scale = _scale_of(problem, amplitudes)
    widened /= loudness[:, None]
    precision, pull, _ = amplitude_prior(problem, scale, amplitudes, sd, widened)
    # areas are not negative beyond their error: pull those that are back to it
    negative = post.mean[:, :k] < -NEGATIVE_SD * sd
    precision[:, index, index] += np.where(negative, sd**-2.0, 0.0)
    shrink = table[post.weight.argmax(axis=1)]
    aim = solver.aim(state.theta, precision, shrink)
    state, converged = solver.minimise(data, state.theta, box, precision, pull, shrink, aim)
    weighing = (precision, pull, shrink, aim)
    _look_elsewhere(problem, solver, data, box, weighing, state, converged)
    post = solver.average(state, _stuck(state.theta, box), precision, pull, aim)
    residual = _residual(problem, solver, data, state, post)
    begun_at = (theta, begun)
    return Optimum(
        begun_at, state, box, converged, precision, pull, shrink, aim, post, loudness, residual
    )


def _look_elsewhere(
    problem: Problem,
    solver: Solver,
    data: NDArray[np.complex128],
    box: tuple[NDArray[np.float64], NDArray[np.float64]],
    weighing: tuple[NDArray[np.float64], ...],
    state: State,
    converged: NDArray[np.bool_],
) -> None:
    """Search again where another valley may be deeper, and keep in ``state`` what is lower.

    A rough search shows which starts lead lower: most come back to where the search was.
    """
    for at, start in other_starts(problem, state.theta.copy(), box):
        for iterations, tolerance in SECOND_LOOK:
            other, done = solver.minimise(
                data[at],
                start,
                (box[0][at], box[1][at]),
                *(one[at] for one in weighing),
                most_iterations=iterations,
                tolerance=tolerance,
            )
            lower = other.objective < state.objective[at]
            at, start = at[lower], other.theta[lower]
            if at.size == 0:
                break
        else:
            state.put(at, other, lower)
            converged[at] = done[lower]


def _residual(
    problem: Problem,
    solver: Solver,
    data: NDArray[np.complex128],
    state: State,
    post: Posterior,
) -> NDArray[np.complex128]:
    """Return what the model leaves over at the optimum, shape (V, M)."""
    taken = row_by_row(post.weight, problem.candidates())
    left: NDArray[np.complex128] = rotation(problem, state.theta) * data
    left -= solver.spectrum(state.theta, state.amplitudes)
    left -= row_by_row(row_by_row(left, problem.modes) * taken, problem.modes.T)
    return left


def residual_ratio(residual: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return the residual over the unit of the data, shape (V,)."""
    ratio: NDArray[np.float64] = np.sqrt((np.abs(residual) ** 2).mean(axis=1) / 2)
    return ratio


def root_diagonal(covariance: NDArray[Any]) -> NDArray[np.float64]:
    """Return the standard deviations of covariances, shape (V, K)."""
    deviation: NDArray[np.float64] = np.sqrt(
        np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 1e-300)
    )
    return deviation


def _stuck(
    theta: NDArray[np.float64], box: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.bool_]:
    return (theta <= box[0]) | (theta >= box[1])
