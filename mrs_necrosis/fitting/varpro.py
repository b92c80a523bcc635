"""Variable projection over many voxels at once, in numpy: the readable reference solver.

For given nonlinear parameters the amplitudes and the baseline are linear and are eliminated
exactly: the baseline by a diagonal shrinkage in its smooth modes, the amplitudes by one small
normal equation with their priors. What is left is a profile objective of the nonlinear
parameters, minimised by Levenberg-Marquardt with Kaufman's Jacobian and Nielsen's damping
(Golub & Pereyra, Inverse Problems 19, R1 (2003); Kaufman, BIT 15, 49 (1975); Nielsen,
IMM-REP-1999-05). Near the optimum the curvature is corrected by what the last step has shown of
it (Broyden's, Fletcher's, Goldfarb's and Shanno's formula; Nocedal & Wright, Numerical
Optimization (2006), eq. 6.19). Phase and begin time turn model and baseline. All arrays carry the
voxel axis V first; no voxel sees another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.fft import fft

from mrs_necrosis.fitting.model import GAUSS_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.fitting.objective import Box, Objective
    from mrs_necrosis.fitting.problem import Problem

TOLERANCE = 1e-3
"""The search stops when the next step is predicted to lower chi-square by less."""

MOST_ITERATIONS = 300

FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-3, 1e-9, 1e12
"""Share of its diagonal that is added to the curvature."""

FIRM = 0.02
"""Damping after a step that led uphill is more than this; less would lead there again."""

NEAR = 3.0
"""A step predicted to lower chi-square by less corrects the curvature.

Curvature of the model alone, without what the residual adds, makes each step's error a tenth of
the last one's, in a flat valley nine tenths. Corrected, a search is a fifth shorter. Longer steps
correct it for the worse.
"""

LEAST_CURVED = 0.05
"""A step that shows less of the assumed curvature than this corrects nothing."""

INTEGRATED = 0.5
"""Share of the log determinant that counts.

Without it Cho, Cr and NAA of phantoms at 30 ms and SNR 20 or 100 came out 3 to 13 % too small, and
95 % intervals of the areas covered 53 to 91 %; with all of it they came out 3 to 24 % too large,
because amplitudes without a prior count as flat. With half they were right within 7 %. Ratios
hardly move. What it comes to now: ``benchmarks/fit_accuracy.py``.
"""


@dataclass(slots=True, eq=False)
class State:
    """Where the search stands in V voxels, and the small matrices that it needs there.

    ``chi_square`` is the objective's value; ``amplitudes`` solve its linear part; ``gram`` and
    ``smooth`` hold the inner products of components, derivatives and data, before and after
    projection on the smooth modes: (V, K + P + 1, K + P + 1) and (V, K + P + 1, 2 B).
    """

    theta: NDArray[np.float64]
    chi_square: NDArray[np.float64]
    amplitudes: NDArray[np.float64]
    gram: NDArray[np.float64]
    smooth: NDArray[np.float64]

    def rows(self, at: NDArray[Any]) -> State:
        """Return the state of some voxels."""
        return State(*(getattr(self, name)[at] for name in self.__slots__))

    def put(self, at: NDArray[Any], other: State) -> None:
        """Copy another state to the voxels ``at`` of this one."""
        for name in self.__slots__:
            getattr(self, name)[at] = getattr(other, name)


def _phasor(rate_hz: NDArray[np.float64], n: int, dwell: float) -> NDArray[np.complex128]:
    """Return ``exp(2j pi rate t)`` for n samples, from two short tables."""
    inner = 32
    outer = -(-n // inner)
    angle = 2j * np.pi * dwell * rate_hz[..., None]
    fine = np.exp(angle * np.arange(inner))
    coarse = np.exp(angle * (inner * np.arange(outer)))
    whole = coarse[..., :, None] * fine[..., None, :]
    shaped: NDArray[np.complex128] = whole.reshape(*rate_hz.shape, outer * inner)[..., :n]
    return shaped


def row_by_row(rows: NDArray[Any], matrix: NDArray[Any]) -> NDArray[Any]:
    """Return ``rows @ matrix``, each row on its own.

    One product for all rows may round a row otherwise when others stand beside it.
    """
    product: NDArray[Any] = np.matmul(rows[:, None, :], matrix)[:, 0]
    return product


def _flat(columns: NDArray[np.complex128]) -> NDArray[np.float64]:
    """View complex columns as real ones of twice the length."""
    return np.ascontiguousarray(columns).view(np.float64)


def _parts(
    problem: Problem, columns: NDArray[np.complex128]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return complex columns as real ones, and their smooth modes: (V, K, 2 M), (V, K, 2 B)."""
    return _flat(columns), _flat(columns @ problem.modes)


def _without_baseline(
    left: tuple[NDArray[np.float64], NDArray[np.float64]],
    right: tuple[NDArray[np.float64], NDArray[np.float64]],
    shrink: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return inner products of columns, less what the baseline takes of them, (V, K, L)."""
    weight = np.repeat(shrink, 2, axis=1)
    inner: NDArray[np.float64] = left[0] @ np.swapaxes(right[0], 1, 2)
    inner -= (left[1] * weight[:, None]) @ np.swapaxes(right[1], 1, 2)
    return inner


def time_columns(problem: Problem, theta: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the modulated component FIDs, shape (V, K, N)."""
    rates = {}
    for kind in ("shift", "lorentz", "gauss2"):
        index = problem.index(kind)
        rates[kind] = row_by_row(theta[:, index], problem.acts[index])
    t = problem.time_s
    decay = np.exp(
        -np.pi * rates["lorentz"][..., None] * t - GAUSS_RATE * rates["gauss2"][..., None] * t**2
    )
    modulation = _phasor(rates["shift"], t.size, float(t[1])) * decay
    columns: NDArray[np.complex128] = problem.basis * modulation[:, problem.shape_of]
    return columns


def rotation(problem: Problem, theta: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the factor that phases the data, shape (V, M).

    It goes to the left of them: numpy multiplies into a large temporary on the right, with the
    factors swapped and so another last bit, and the number of voxels would matter.
    """
    angle = np.zeros((theta.shape[0], problem.omega.size))
    for p in problem.index("phase"):
        angle += theta[:, p, None]
    for p in problem.index("begin"):
        angle += theta[:, p, None] * problem.omega
    factor: NDArray[np.complex128] = np.exp(-1j * angle)
    return factor


class _Linear(NamedTuple):
    """The linear part where it is eliminated."""

    samples: NDArray[np.complex128]  # component FIDs, (V, K, N)
    columns: NDArray[np.complex128]  # components, room for derivatives, phased data: (V, …, M)
    normal: NDArray[np.float64]  # matrix of the amplitudes' equations, (V, K, K)
    amplitudes: NDArray[np.float64]
    chi_square: NDArray[np.float64]


def _linear_part(objective: Objective, theta: NDArray[np.float64], room: int) -> _Linear:
    """Eliminate baseline and amplitudes; leave room for derivatives among the columns."""
    problem = objective.problem
    v, m = objective.data.shape
    k = len(problem.model.components)
    samples = time_columns(problem, theta)
    columns = np.empty((v, k + room + 1, m), dtype=np.complex128)
    columns[:, :k] = fft(samples, axis=2)[:, :, :m]
    columns[:, -1] = rotation(problem, theta) * objective.data
    parts = _parts(problem, columns[:, [*range(k), k + room]])
    kept = _without_baseline(parts, parts, objective.shrink)
    right = kept[:, :k, k] + objective.pull
    normal = kept[:, :k, :k] + objective.precision
    amplitudes = np.linalg.solve(normal, right[..., None])[..., 0].astype(np.float64, copy=False)
    chi_square: NDArray[np.float64] = kept[:, k, k] - (right * amplitudes).sum(axis=1)
    chi_square += (objective.offset(theta) ** 2).sum(axis=1)
    return _Linear(samples, columns, normal, amplitudes, chi_square)


def evaluate(objective: Objective, theta: NDArray[np.float64]) -> State:
    """Evaluate an objective at nonlinear parameters ``theta``, shape (V, P)."""
    problem = objective.problem
    k, p = len(problem.model.components), theta.shape[1]
    samples, columns, _, amplitudes, chi_square = _linear_part(objective, theta, room=p)
    total = np.einsum("vk,vkm->vm", amplitudes, columns[:, :k])
    left = row_by_row(columns[:, -1] - total, problem.modes) * objective.shrink
    explained = total + row_by_row(left, problem.modes.T)
    summed = _by_class(problem, samples, amplitudes)
    columns[:, k : k + p] = derivatives(problem, summed, explained)
    flat = _flat(columns)
    gram = flat @ np.swapaxes(flat, 1, 2)
    smooth = _flat(columns @ problem.modes)
    return State(theta, chi_square, amplitudes, gram, smooth)


def eliminate(
    objective: Objective, theta: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Eliminate the linear part alone.

    Parameters
    ----------
    objective : Objective
        Of V voxels.
    theta : ndarray of float64, shape (V, P)
        Nonlinear parameters.

    Returns
    -------
    chi_square : ndarray of float64, shape (V,)
        The objective's value there.
    amplitudes, sd : ndarray of float64, shape (V, K)
        Best amplitudes and their standard deviations, given the nonlinear parameters.
    """
    found = _linear_part(objective, theta, room=0)
    return found.chi_square, found.amplitudes, root_diagonal(np.linalg.inv(found.normal))


def root_diagonal(covariance: NDArray[Any]) -> NDArray[np.float64]:
    """Return the standard deviations of covariances (V, K, K), shape (V, K); none is zero."""
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    deviation: NDArray[np.float64] = np.sqrt(np.maximum(variance, 1e-300))
    return deviation


def aim_of(objective: Objective, theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return means of the parameters' priors that allow for how many amplitudes there are.

    The search takes the best amplitudes for each width. They are many, and lines come out too
    narrow (Neyman and Scott, Econometrica 16, 1 (1948)): macromolecules take their tails. To
    integrate over amplitudes instead multiplies the density by the root of the determinant of
    their covariance. ``INTEGRATED`` of its logarithm, taken as linear in the widths around
    ``theta``, moves the mean of each width's normal prior.

    Parameters
    ----------
    objective : Objective
        Whose amplitudes' prior and baseline count; data and present aim do not.
    theta : ndarray of float64, shape (V, P)
        Where the widths are about right.

    Returns
    -------
    ndarray of float64, shape (V, P)
        Differs from ``problem.start`` in widths that have a prior.
    """
    problem, shrink = objective.problem, objective.shrink
    band = problem.frequency_hz.size
    samples = time_columns(problem, theta)
    parts = _parts(problem, fft(samples, axis=2)[:, :, :band])
    covariance = np.linalg.inv(_without_baseline(parts, parts, shrink) + objective.precision)
    aim = np.tile(problem.start, (theta.shape[0], 1))
    of_class = np.eye(problem.acts.shape[1])[problem.shape_of]
    for kind, rate, power in (("lorentz", np.pi, 1), ("gauss2", GAUSS_RATE, 2)):
        slower = fft(samples * problem.time_s**power, axis=2)[:, :, :band]
        across = _without_baseline(parts, _parts(problem, slower), shrink)
        gain = rate * row_by_row((covariance * across).sum(axis=1), of_class)
        for p in problem.index(kind):
            if np.isfinite(problem.sd[p]):
                moved = (gain * problem.acts[p]).sum(axis=1)
                aim[:, p] += INTEGRATED * problem.sd[p] ** 2 * moved
    return aim


def derivatives(
    problem: Problem, summed: NDArray[np.complex128], turned: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    """Return the derivatives of a modelled spectrum by the nonlinear parameters.

    Parameters
    ----------
    problem : Problem
        With P parameters, C classes, N samples and M in-band points.
    summed : ndarray of complex128, shape (..., C, N)
        Components times their amplitudes, summed by class.
    turned : ndarray of complex128, shape (..., M)
        What phase and begin time turn. The model and its baseline: to turn the data instead has
        the same gradient, but counts the noise as curvature, and makes a search crawl.

    Returns
    -------
    ndarray of complex128, shape (..., P, M)
        One spectrum per parameter.
    """
    band = problem.frequency_hz.size
    first = fft(summed * problem.time_s, axis=-1)[..., :band]
    second = fft(summed * problem.time_s**2, axis=-1)[..., :band]
    found = np.empty((*turned.shape[:-1], len(problem.kind), band), dtype=np.complex128)
    for p, kind in enumerate(problem.kind):
        if kind == "phase":
            found[..., p, :] = 1j * turned
        elif kind == "begin":
            found[..., p, :] = 1j * problem.omega * turned
        elif kind == "shift":
            found[..., p, :] = 2j * np.pi * (problem.acts[p] @ first)
        elif kind == "lorentz":
            found[..., p, :] = -np.pi * (problem.acts[p] @ first)
        else:
            found[..., p, :] = -GAUSS_RATE * (problem.acts[p] @ second)
    return found


def _by_class(
    problem: Problem, samples: NDArray[np.complex128], amplitudes: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Return component FIDs (V, K, N) times amplitudes (V, K), summed by class, (V, C, N)."""
    v, _, n = samples.shape
    classes = problem.acts.shape[1]
    summed = np.empty((v, classes, n), dtype=np.complex128)
    for c in range(classes):
        members = np.flatnonzero(problem.shape_of == c)
        summed[:, c] = np.einsum("vk,vkn->vn", amplitudes[:, members], samples[:, members])
    return summed


def normal_equations(
    objective: Objective, state: State
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the joint Gauss-Newton system of amplitudes and nonlinear parameters.

    Parameters
    ----------
    objective : Objective
        Its priors and its baseline, which may be another than the state was evaluated with.
    state : State
        Where the search stands.

    Returns
    -------
    hessian : ndarray of float64, shape (V, K + P, K + P)
        Half the second derivative of the objective.
    gradient : ndarray of float64, shape (V, K + P)
        Minus half its first derivative, at the state's amplitudes.
    chi_square : ndarray of float64, shape (V,)
        Its value there, without the amplitudes' prior.
    """
    precision, sd = objective.precision, objective.problem.sd
    k, p = state.amplitudes.shape[1], state.theta.shape[1]
    weight = np.repeat(objective.shrink, 2, axis=1)
    kept = state.gram - (state.smooth * weight[:, None]) @ np.swapaxes(state.smooth, 1, 2)
    hessian = kept[:, : k + p, : k + p].copy()
    hessian[:, :k, :k] += precision
    diagonal = np.arange(k, k + p)
    hessian[:, diagonal, diagonal] += sd**-2.0
    a = state.amplitudes
    gradient = kept[:, : k + p, -1] - np.einsum("vij,vj->vi", kept[:, : k + p, :k], a)
    gradient[:, :k] += objective.pull - np.einsum("vij,vj->vi", precision, a)
    offset = objective.offset(state.theta)
    gradient[:, k:] -= offset / sd
    chi_square = (
        kept[:, -1, -1]
        - 2 * np.einsum("vi,vi->v", kept[:, :k, -1], a)
        + np.einsum("vi,vij,vj->v", a, kept[:, :k, :k], a)
        + (offset**2).sum(axis=1)
    )
    return hessian, gradient, chi_square


def _profile(
    hessian: NDArray[np.float64], gradient: NDArray[np.float64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eliminate the first ``k`` unknowns of a system."""
    cross = hessian[:, k:, :k]
    solved = np.linalg.solve(hessian[:, :k, :k], np.swapaxes(cross, 1, 2))
    reduced = hessian[:, k:, k:] - cross @ solved
    return reduced, gradient[:, k:] - np.einsum("vkp,vk->vp", solved, gradient[:, :k])


def _bounded_step(
    curvature: NDArray[np.float64],
    slope: NDArray[np.float64],
    theta: NDArray[np.float64],
    box: Box,
    damping: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the damped step leads in the box, and the slope without what pushes at a wall.

    A parameter whose step would leave the box goes to the wall, and the others are solved for
    again, given that; cutting all of them short would leave the valley.
    """
    lower, upper = box
    index = np.arange(theta.shape[1])
    stuck = ((theta <= lower) & (slope < 0)) | ((theta >= upper) & (slope > 0))
    slope = np.where(stuck, 0.0, slope)
    diagonal = np.maximum(np.einsum("vpp->vp", curvature), 1e-12)
    damped = curvature.copy()
    damped[:, index, index] = diagonal * (1 + damping[:, None])
    fixed, step, trial = stuck, np.zeros_like(theta), theta
    for _ in range(theta.shape[1]):
        free = np.where(fixed, 0.0, 1.0)
        right = (slope - np.einsum("vpq,vq->vp", damped, np.where(fixed, step, 0.0))) * free
        system = damped * (free[:, :, None] * free[:, None, :])
        system[:, index, index] += 1.0 - free
        solved = np.linalg.solve(system, right[..., None])[..., 0]
        step = np.where(fixed, step, solved)
        trial = np.where(fixed, trial, np.clip(theta + step, lower, upper))
        beyond = ~fixed & (trial != theta + step)
        if not beyond.any():
            break
        step = np.where(beyond, trial - theta, step)
        fixed = fixed | beyond
    return trial, slope


def _corrected(
    curvature: NDArray[np.float64], moved: NDArray[np.float64], turned: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the curvature by which the last step ``moved`` changes the slope as it did.

    ``turned`` is slope before less slope after. Where nothing ``moved``, nothing is corrected.
    """
    curved = np.einsum("vpq,vq->vp", curvature, moved)
    assumed, true = (np.einsum("vp,vp->v", moved, x)[:, None, None] for x in (curved, turned))
    with np.errstate(divide="ignore", invalid="ignore"):
        gained = turned[:, :, None] * turned[:, None, :] / true
        lost = curved[:, :, None] * curved[:, None, :] / assumed
    return np.where(true > LEAST_CURVED * assumed, curvature + gained - lost, curvature)


def minimise(
    objective: Objective,
    theta: NDArray[np.float64],
    box: Box,
    *,
    most_iterations: int = MOST_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> tuple[State, NDArray[np.bool_]]:
    """Minimise the profile objective in every voxel.

    Parameters
    ----------
    objective : Objective
        Of V voxels.
    theta : ndarray of float64, shape (V, P)
        Start, inside the box.
    box : Box
        Bounds.
    most_iterations : int
        Evaluations per voxel.
    tolerance : float
        Predicted decrease of chi-square at which the search stops.

    Returns
    -------
    state : State
        At the optimum.
    converged : ndarray of bool, shape (V,)
        False where ``most_iterations`` was reached.
    """
    v, k = objective.pull.shape
    best = evaluate(objective, theta.copy())
    converged = np.zeros(v, dtype=bool)
    damping = np.full(v, FIRST_DAMPING)
    growth = np.full(v, 2.0)
    last, before = np.zeros_like(theta), np.zeros_like(theta)
    active = np.arange(v)
    for _ in range(most_iterations):
        here, mu = best.rows(active), damping[active]
        hessian, gradient, _ = normal_equations(objective.rows(active), here)
        curvature, slope = _profile(hessian, gradient, k)
        curvature = _corrected(curvature, last[active], before[active] - slope)
        trial, push = _bounded_step(curvature, slope, here.theta, box.rows(active), mu)
        moved = trial - here.theta
        predicted = (moved * (2 * push - np.einsum("vpq,vq->vp", curvature, moved))).sum(axis=1)
        # a step that would raise chi-square says that the damping is too weak, not that it ends
        done = np.abs(predicted) * (1 + mu) < tolerance
        converged[active[done]] = True
        go = np.flatnonzero(~done)
        if go.size == 0:
            break
        at = active[go]
        new = evaluate(objective.rows(at), trial[go])
        gain = (best.chi_square[at] - new.chi_square) / predicted[go]
        good = (gain > 0) & np.isfinite(new.chi_square)
        best.put(at[good], new.rows(good))
        near = predicted[go][good] < NEAR
        last[at[good]] = np.where(near[:, None], moved[go][good], 0.0)
        before[at[good]] = slope[go][good]
        with np.errstate(over="ignore", invalid="ignore"):
            cut = np.maximum(1 / 3, 1 - (2 * gain - 1) ** 3)
        firmer = np.maximum(damping[at], FIRM) * growth[at]
        damping[at] = np.where(good, damping[at] * cut, firmer)
        growth[at] = np.where(good, 2.0, growth[at] * 2)
        damping[at] = np.clip(damping[at], LEAST_DAMPING, MOST_DAMPING)
        active = at
    return best, converged
