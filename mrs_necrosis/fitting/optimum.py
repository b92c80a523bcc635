"""Where the search ends in every voxel, and the objective that it minimised there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mrs_necrosis.fitting.objective import Objective
from mrs_necrosis.fitting.problem import LEAST_REACH, amplitude_prior, noise_sd
from mrs_necrosis.fitting.start import from_the_start, other_starts, starting_values
from mrs_necrosis.fitting.varpro import (
    MOST_ITERATIONS,
    TOLERANCE,
    root_diagonal,
    rotation,
    row_by_row,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from mrs_necrosis.fitting.objective import Box
    from mrs_necrosis.fitting.posterior import Posterior
    from mrs_necrosis.fitting.problem import Problem
    from mrs_necrosis.fitting.solver import Solver
    from mrs_necrosis.fitting.start import Start
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
    begun : Start
        Where it began, before anything was known.
    state : State
        At the optimum.
    converged : ndarray of bool, shape (V,)
        False where the search ran out of iterations.
    objective : Objective
        What was minimised in the end.
    posterior : Posterior
        Averaged over the baseline's stiffness.
    loudness : ndarray of float64, shape (V,)
        By how much more than the noise the data were divided in the end, because the model
        leaves so much over. All but ``begun`` is in that unit.
    residual : ndarray of complex128, shape (V, M)
        What the model leaves over.
    """

    begun: Start
    state: State
    converged: NDArray[np.bool_]
    objective: Objective
    posterior: Posterior
    loudness: NDArray[np.float64]
    residual: NDArray[np.complex128]

    @property
    def box(self) -> Box:
        """Bounds of the nonlinear parameters."""
        return self.begun.box

    @property
    def stuck(self) -> NDArray[np.bool_]:
        """Whether a parameter lies at a wall of its box, shape (V, P)."""
        return self.box.at_wall(self.state.theta)


def optimise(solver: Solver, data: NDArray[np.complex128]) -> Optimum:
    """Find the optimum of every voxel.

    The search runs twice: with a middling baseline, then with what was learnt from that; where a
    lipid may lie in the wrong valley, once more from the other one.

    Parameters
    ----------
    solver : Solver
        Of some problem.
    data : ndarray of complex128, shape (V, M)
        In-band points in units of the noise.

    Returns
    -------
    Optimum
        Under the priors and the stiffness that the data chose.
    """
    objective = _knowing_nothing(solver.problem, data)
    begun = starting_values(solver, objective, BROAD_TRIALS)

    # how much lipid there is beyond macromolecules, before lipids are tied to each other
    objective, _ = _with_priors(objective, begun.amplitudes, begun.sd, least_reach=LOOSE_REACH)
    _, first, _ = solver.eliminate(objective, begun.theta)

    objective, widened = _with_priors(objective, first, begun.sd)
    state, _ = solver.minimise(
        objective,
        begun.theta,
        begun.box,
        most_iterations=FIRST_ITERATIONS,
        tolerance=FIRST_TOLERANCE,
    )
    post = solver.average(objective, state, begun.box.at_wall(state.theta))

    # where the model leaves over more than noise, that is the noise the priors compete with
    loudness = np.maximum(residual_ratio(_residual(solver, objective, state, post)), 1.0)
    loudness = np.where(loudness > LOUD, loudness, 1.0)
    objective = replace(objective, data=data / loudness[:, None])
    amplitudes, widened = (a / loudness[:, None] for a in (state.amplitudes, widened))
    objective = _learnt(solver, objective, state.theta, amplitudes, post, widened)
    state, converged = solver.minimise(objective, state.theta, begun.box)
    starts = (
        *other_starts(solver.problem, state.theta, begun.box),
        from_the_start(solver.problem, begun, objective.data),
    )
    _look_elsewhere(solver, objective, begun.box, starts, state, converged)
    post = solver.average(objective, state, begun.box.at_wall(state.theta))
    residual = _residual(solver, objective, state, post)
    return Optimum(begun, state, converged, objective, post, loudness, residual)


def _knowing_nothing(problem: Problem, data: NDArray[np.complex128]) -> Objective:
    """Return an objective with a middling baseline and a ridge that keeps matrices regular."""
    v, k = data.shape[0], len(problem.model.components)
    precision, index = np.zeros((v, k, k)), np.arange(k)
    precision[:, index, index] = 1e-6 + 1.0 / np.abs(data).max(axis=1)[:, None] ** 2
    table = problem.candidates()
    middling = table[np.abs(table.sum(axis=1) - FIRST_DIMENSIONS).argmin()]
    return Objective(
        problem,
        data,
        precision=precision,
        pull=np.zeros((v, k)),
        shrink=np.broadcast_to(middling, (v, middling.size)),
        aim=np.broadcast_to(problem.start, (v, problem.start.size)),
    )


def _with_priors(
    objective: Objective,
    amplitudes: NDArray[np.float64],
    sd: NDArray[np.float64],
    least: NDArray[np.float64] | float = 0.0,
    *,
    least_reach: float = LEAST_REACH,
) -> tuple[Objective, NDArray[np.float64]]:
    """Return an objective with the model's amplitude priors, and the widths of those widened.

    Arguments as for ``amplitude_prior``; the priors' scale is that of the amplitudes.
    """
    problem = objective.problem
    scale = _scale_of(problem, amplitudes)
    precision, pull, widened = amplitude_prior(
        problem, scale, amplitudes, sd, least, least_reach=least_reach
    )
    return replace(objective, precision=precision, pull=pull), widened


def _learnt(
    solver: Solver,
    objective: Objective,
    theta: NDArray[np.float64],
    amplitudes: NDArray[np.float64],
    post: Posterior,
    widened: NDArray[np.float64],
) -> Objective:
    """Return the objective of the second search: all but the data as the first one taught."""
    k = amplitudes.shape[1]
    sd = root_diagonal(post.covariance)[:, :k]
    objective, _ = _with_priors(objective, amplitudes, sd, widened)
    # areas are not negative beyond their error: pull those that are back to it
    negative = post.mean[:, :k] < -NEGATIVE_SD * sd
    precision, index = objective.precision.copy(), np.arange(k)
    precision[:, index, index] += np.where(negative, sd**-2.0, 0.0)
    shrink = objective.problem.candidates()[post.weight.argmax(axis=1)]
    objective = replace(objective, precision=precision, shrink=shrink)
    return replace(objective, aim=solver.aim(objective, theta))


def _look_elsewhere(
    solver: Solver,
    objective: Objective,
    box: Box,
    starts: Iterable[tuple[NDArray[np.intp], NDArray[np.float64]]],
    state: State,
    converged: NDArray[np.bool_],
) -> None:
    """Search again where another valley may be deeper, and keep in ``state`` what is lower.

    A rough search shows which starts lead lower: most come back to where the search was.
    """
    for at, start in starts:
        for iterations, tolerance in SECOND_LOOK:
            if at.size == 0:
                break
            other, done = solver.minimise(
                objective.rows(at),
                start,
                box.rows(at),
                most_iterations=iterations,
                tolerance=tolerance,
            )
            lower = other.chi_square < state.chi_square[at]
            at, start = at[lower], other.theta[lower]
        else:
            state.put(at, other.rows(lower))
            converged[at] = done[lower]


def _residual(
    solver: Solver, objective: Objective, state: State, post: Posterior
) -> NDArray[np.complex128]:
    """Return what the model leaves over at the optimum, shape (V, M)."""
    problem = objective.problem
    taken = row_by_row(post.weight, problem.candidates())
    left: NDArray[np.complex128] = rotation(problem, state.theta) * objective.data
    left -= solver.spectrum(state.theta, state.amplitudes)
    left -= row_by_row(row_by_row(left, problem.modes) * taken, problem.modes.T)
    return left


def residual_ratio(residual: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return the residual over the unit of the data, shape (V,)."""
    ratio: NDArray[np.float64] = np.sqrt((np.abs(residual) ** 2).mean(axis=1) / 2)
    return ratio
