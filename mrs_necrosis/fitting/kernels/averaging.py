"""The average over how stiff the baseline may be, in one voxel after the other."""
# mypy: ignore-errors
# numba infers types; annotations of its vectors would say nothing

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numba import njit

from mrs_necrosis.fitting.kernels.algebra import (
    cholesky,
    eights,
    empty_matrix,
    fill_inner,
    invert,
    solve,
)
from mrs_necrosis.fitting.kernels.lanes import OPTIONS, aligned
from mrs_necrosis.fitting.kernels.objective import found_in, of_voxel
from mrs_necrosis.fitting.posterior import TRUSTED_SD

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIGEST: Final = "ea47dcd47777"
"""Digest of all kernels: the compiler's cache of this file looks at no other."""

_SURE: Final = 8.99
"""A step whose square is less is shorter than ``TRUSTED_SD``, whatever rounding does."""

_HOPELESS: Final = 40.0
"""So much less log evidence weighs nothing beside the last digit of the rest."""

_NOTHING: Final = 1e-15
"""Weight beyond the last digit."""


class _Candidates(NamedTuple):
    """The expansion of one voxel's objective for each of L candidate baselines."""

    upper: NDArray[np.float64]  # factor of the joint system, (L, K + P, eights)
    gradient: NDArray[np.float64]  # (L, K + P)
    step: NDArray[np.float64]  # (L, K + P)
    chi_square: NDArray[np.float64]  # with the log volume, at the state, (L,)
    evidence: NDArray[np.float64]  # at the end of the step, (L,)
    sure: NDArray[np.bool_]  # whether the step is shorter than the expansion is trusted, (L,)


@njit(**OPTIONS)
def _system(plan, given, found, held, taken, hessian, gradient):
    """Fill the joint system of one candidate baseline; return the objective."""
    k, n = plan.k, plan.k + plan.p
    a, gram = found.amplitudes, found.gram
    for i in range(n):
        row, of, less = hessian[i], gram[i], taken[i]
        for j in range(n):
            row[j] = of[j] - less[j]
        total = of[n] - less[n]
        for j in range(k):
            total -= row[j] * a[j]
        gradient[i] = total
    chi = gram[n, n] - taken[n, n]
    for i in range(k):
        # what is left of the data times the modelled part, twice counted on purpose
        chi -= a[i] * (gradient[i] + gram[i, n] - taken[i, n])
        pulled = 0.0
        for j in range(k):
            pulled += given.precision[i, j] * a[j]
            hessian[i, j] += given.precision[i, j]
        gradient[i] += given.pull[i] - pulled
        chi += a[i] * (pulled - 2 * given.pull[i])
    for p in range(plan.p):
        offset = found.theta[p] - given.aim[p]
        hessian[k + p, k + p] += plan.precision[p]
        gradient[k + p] -= offset * plan.precision[p]
        chi += offset * offset * plan.precision[p]
        if held[p]:
            gradient[k + p] = 0.0
            for j in range(n):
                hessian[k + p, j] = 0.0
                hessian[j, k + p] = 0.0
            hessian[k + p, k + p] = 1.0
    return chi


@njit(**OPTIONS)
def _take_share(modes, shrink, taken):
    """Fill ``taken`` with what the baseline takes of modes; return its log volume, negative."""
    occam = 0.0
    for b in range(shrink.size):
        share = shrink[b]
        for row in range(2 * b, 2 * b + 2):
            for i in range(modes.shape[1]):
                taken[row, i] = share * modes[row, i]
        if share < 1.0 - 1e-12:
            occam += 2 * np.log1p(-share)
    return occam


@njit(**OPTIONS)
def _expand(plan, given, found, held, shrink, made):
    """Expand the objective for each candidate; return whether all have a minimum."""
    n, (candidates, count) = plan.k + plan.p, shrink.shape
    wide = eights(n + 1)
    modes, half = empty_matrix(2 * count, wide), empty_matrix(2 * count, wide)
    taken, hessian = empty_matrix(wide, wide), np.empty((n, n))
    modes[:] = 0.0
    for i in range(n + 1):
        for b in range(2 * count):
            modes[b, i] = found.smooth[i, b]
    for candidate in range(candidates):
        occam = _take_share(modes, shrink[candidate], half)
        fill_inner(modes, half, True, taken)
        gradient, step = made.gradient[candidate], made.step[candidate]
        upper = made.upper[candidate]
        chi = _system(plan, given, found, held, taken, hessian, gradient)
        if not cholesky(hessian, n, upper):
            return False
        log_det = 0.0
        for i in range(n):
            log_det += 2 * np.log(upper[i, i])
        step[:] = gradient
        solve(upper, n, step)
        gained = 0.0
        for i in range(n):
            gained += step[i] * gradient[i]
        chi += log_det - occam
        made.chi_square[candidate] = chi
        # by Cauchy and Schwarz no part of the step is longer than the root of this
        made.sure[candidate] = gained < _SURE
        made.evidence[candidate] = -0.5 * (chi - gained)
    return True


@njit(**OPTIONS)
def _shorten(rows, n, step):
    """Shorten a step to the standard deviations for which the expansion is trusted."""
    reach = 1e-12
    for i in range(n):
        variance = 0.0
        for x in range(i, n):
            variance += rows[x, i] ** 2
        reach = max(reach, abs(step[i]) / np.sqrt(variance))
    scale = min(1.0, TRUSTED_SD / reach)
    for i in range(n):
        step[i] *= scale


@njit(**OPTIONS)
def _weigh(made, trust, rows, weight):
    """Write what each candidate weighs; return whether that is a number.

    Steps that are too long are shortened first, with the evidence that goes with them.
    """
    candidates, n = made.step.shape
    # a step that is shortened uppers the evidence: what is hopeless without stays so
    least = -np.inf
    for candidate in range(candidates):
        if made.sure[candidate]:
            least = max(least, made.evidence[candidate])
    for candidate in range(candidates):
        if not made.sure[candidate] and not made.evidence[candidate] < least - _HOPELESS / trust:
            step, gradient = made.step[candidate], made.gradient[candidate]
            invert(made.upper[candidate], n, rows)
            _shorten(rows, n, step)
            gained = 0.0
            for i in range(n):
                gained += step[i] * gradient[i]
            made.evidence[candidate] = -0.5 * (made.chi_square[candidate] - gained)
    largest = np.max(made.evidence)
    if not np.isfinite(largest):
        return False
    total = 0.0
    for candidate in range(candidates):
        weight[candidate] = np.exp(trust * (made.evidence[candidate] - largest))
        total += weight[candidate]
    for candidate in range(candidates):
        weight[candidate] /= total
    return True


@njit(**OPTIONS)
def _mix(plan, found, held, made, rows, posterior):
    """Write mean and covariance of the weighed candidates."""
    k, n = plan.k, plan.k + plan.p
    mean, covariance, weight = posterior
    candidates = weight.size
    own, here, away = empty_matrix(eights(n), eights(n)), np.empty(n), np.empty(n)
    here[:k] = found.amplitudes
    here[k:] = found.theta
    mean[:] = here
    for candidate in range(candidates):
        for i in range(n):
            mean[i] += weight[candidate] * made.step[candidate, i]
    covariance[:] = 0.0
    for candidate in range(candidates):
        share = weight[candidate]
        if share < _NOTHING:
            continue
        invert(made.upper[candidate], n, rows)
        for p in range(plan.p):
            if held[p]:
                rows[:, k + p] = 0.0
        fill_inner(rows, rows, True, own)
        for i in range(n):
            away[i] = made.step[candidate, i] - (mean[i] - here[i])
        for i in range(n):
            for j in range(n):
                covariance[i, j] += share * (own[i, j] + away[i] * away[j])


@njit(**OPTIONS)
def average_range(first, last, plan, given, found, held, shrink, trust, posterior):
    """Average over the candidate baselines in some voxels; see ``posterior.average``.

    ``posterior`` is (mean, covariance, weight).
    """
    n, candidates = plan.k + plan.p, shrink.shape[0]
    rows = empty_matrix(n, eights(n))
    made = _Candidates(
        aligned(candidates * n * eights(n)).reshape((candidates, n, eights(n))),
        np.empty((candidates, n)),
        np.empty((candidates, n)),
        np.empty(candidates),
        np.empty(candidates),
        np.empty(candidates, dtype=np.bool_),
    )
    for v in range(first, last):
        ours = posterior[0][v], posterior[1][v], posterior[2][v]
        here, walls = found_in(found, v), held[v]
        is_good = _expand(plan, of_voxel(given, v), here, walls, shrink, made)
        if is_good and _weigh(made, trust, rows, ours[2]):
            _mix(plan, here, walls, made, rows, ours)
        else:
            ours[0][:] = np.nan
            ours[1][:] = np.nan
            ours[2][:] = np.nan
