"""Levenberg-Marquardt in one voxel after the other; the algorithm of ``varpro``."""
# mypy: ignore-errors
# numba infers types; annotations of its vectors would say nothing

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from mrs_necrosis.fitting.kernels.algebra import (
    cholesky,
    eights,
    empty_matrix,
    fill_inner,
    inner,
    invert,
    solve,
    take_from,
)
from mrs_necrosis.fitting.kernels.columns import components, fill_columns, rates_of, sum_classes
from mrs_necrosis.fitting.kernels.lanes import OPTIONS
from mrs_necrosis.fitting.kernels.objective import (
    differentiate,
    eliminate,
    explain,
    fill_normal,
    found_in,
    of_voxel,
    project,
    reduce_to_parameters,
    workspace,
)
from mrs_necrosis.fitting.kernels.plan import GAUSS2, LORENTZ, Slopes
from mrs_necrosis.fitting.model import GAUSS_RATE
from mrs_necrosis.fitting.varpro import (
    FIRM,
    FIRST_DAMPING,
    LEAST_CURVED,
    LEAST_DAMPING,
    MOST_DAMPING,
    NEAR,
)

DIGEST: Final = "ea47dcd47777"
"""Digest of all kernels: the compiler's cache of this file looks at no other."""


@njit(**OPTIONS)
def _bounded(curvature, slope, theta, box, damping, trial):
    """Fill ``trial`` with the damped step's end in the box; see ``varpro``."""
    n, (low, high) = theta.size, box
    fixed = np.zeros(n, dtype=np.bool_)
    system, upper = np.empty((n, n)), empty_matrix(n, eights(n))
    right, damped = np.empty(n), np.empty(n)
    for p in range(n):
        trial[p] = theta[p]
        damped[p] = max(curvature[p, p], 1e-12) * (1 + damping)
        if (theta[p] <= low[p] and slope[p] < 0) or (theta[p] >= high[p] and slope[p] > 0):
            fixed[p] = True
            slope[p] = 0.0
    for _ in range(n):
        for p in range(n):
            right[p] = slope[p]
            for q in range(n):
                off = p != q
                value = curvature[p, q] if off else damped[p]
                if fixed[q]:
                    right[p] -= value * (trial[q] - theta[q])
                system[p, q] = (0.0 if off else 1.0) if fixed[p] or fixed[q] else value
            if fixed[p]:
                right[p] = 0.0
        if not cholesky(system, n, upper):
            return False
        solve(upper, n, right)
        beyond = False
        for p in range(n):
            if fixed[p]:
                continue
            aim = theta[p] + right[p]
            trial[p] = min(max(aim, low[p]), high[p])
            if trial[p] != aim:
                fixed[p] = True
                beyond = True
        if not beyond:
            break
    return True


@njit(**OPTIONS)
def _correct(curvature, moved, before, after):
    """Let the curvature say by how much the last step has changed the slope; see ``varpro``."""
    n = moved.size
    curved = np.zeros(n)
    assumed, true = 0.0, 0.0
    for p in range(n):
        for q in range(n):
            curved[p] += curvature[p, q] * moved[q]
        assumed += curved[p] * moved[p]
        true += (before[p] - after[p]) * moved[p]
    if not true > LEAST_CURVED * assumed:
        return
    for p in range(n):
        for q in range(n):
            curvature[p, q] += (before[p] - after[p]) * (before[q] - after[q]) / true
            curvature[p, q] -= curved[p] * curved[q] / assumed


@njit(**OPTIONS)
def _predicted(curvature, slope, moved):
    """Return by how much a step is predicted to lower chi-square."""
    n = moved.size
    predicted = 0.0
    for p in range(n):
        bent = 0.0
        for q in range(n):
            bent += curvature[p, q] * moved[q]
        predicted += moved[p] * (2 * slope[p] - bent)
    return predicted


@njit(**OPTIONS)
def _write(plan, block, modes, slopes, found):
    """Write the inner products of components, derivatives and data, in this order."""
    k, n = plan.k, plan.p
    gram, smooth = found.gram, found.smooth
    last = k + n
    for i in range(k + 1):
        to = i if i < k else last
        for j in range(k + 1):
            gram[to, j if j < k else last] = block[i, j]
        for p in range(n):
            gram[to, k + p] = slopes.cross[i, p]
            gram[k + p, to] = slopes.cross[i, p]
        _write_modes(plan, modes, i, smooth[to])
    for p in range(n):
        for q in range(n):
            gram[k + p, k + q] = slopes.square[p, q]
        _write_modes(plan, slopes.modes, p, smooth[k + p])


@njit(**OPTIONS)
def _write_modes(plan, modes, column, out):
    """Write the smooth modes of a column in the problem's order."""
    count = plan.mode_of.size
    for row in range(count):
        b = plan.mode_of[row]
        if b >= 0:
            out[2 * b], out[2 * b + 1] = modes[row, column], modes[count + row, column]


@njit(**OPTIONS)
def _minimise_voxel(plan, given, box, stop, found):
    """Search in one voxel; write the state and return chi-square and how it ended.

    The end is 1 where the search converged, 0 where it ran out of iterations, -1 where numbers
    failed.
    """
    n, theta, (most, tolerance) = plan.p, found.theta, stop
    work, none = workspace(plan), empty_matrix(1, 8)
    derivatives = empty_matrix(2 * plan.m, eights(n))
    derivatives[:] = 0.0
    better = np.empty(plan.k)
    chi_square, damping, growth, predicted = np.inf, FIRST_DAMPING, 2.0, 1.0
    trial, moved, push = theta.copy(), np.zeros(n), np.empty(n)
    # nothing yet, but numba wants to know what kind of thing
    block, modes, curvature, slope, slopes = none, none, none, push, Slopes(none, none, none)
    end = 0
    for iteration in range(most + 1):
        if iteration > 0:
            push[:] = slope
            if not _bounded(curvature, push, theta, box, damping, trial):
                return np.nan, -1
            for p in range(n):
                moved[p] = trial[p] - theta[p]
            predicted = _predicted(curvature, push, moved)
            if not np.isfinite(predicted):
                return np.nan, -1
            if abs(predicted) * (1 + damping) < tolerance:
                end = 1
                break
        value, new_block, new_modes, good = eliminate(plan, given, trial, work, better)
        if iteration == 0 and not good:
            return np.nan, -1
        gain = (chi_square - value) / predicted
        if good and gain > 0:
            theta[:] = trial
            found.amplitudes[:] = better
            chi_square, block, modes = value, new_block, new_modes
            explained = explain(plan, better, work.columns, modes, given.shrink)
            differentiate(plan, theta, better, explained, derivatives)
            before = slope
            curvature, slope, slopes = reduce_to_parameters(
                plan, given, theta, better, modes, derivatives, work
            )
            if iteration > 0:
                if predicted < NEAR:
                    _correct(curvature, moved, before, slope)
                damping *= max(1 / 3, 1 - (2 * gain - 1) ** 3)
                growth = 2.0
        else:
            damping = max(damping, FIRM) * growth
            growth *= 2
        damping = min(max(damping, LEAST_DAMPING), MOST_DAMPING)
    _write(plan, block, modes, slopes, found)
    return chi_square, end


@njit(**OPTIONS)
def minimise_range(first, last, plan, given, box, stop, found, chi_square, end):
    """Search in voxels ``first`` to ``last``; write states, chi-square and how each ended.

    ``box`` is (lower, upper), ``stop`` is (most iterations, tolerance).
    """
    for v in range(first, last):
        one = found_in(found, v)
        walls = box[0][v], box[1][v]
        chi_square[v], end[v] = _minimise_voxel(plan, of_voxel(given, v), walls, stop, one)
        if end[v] < 0:
            one.theta[:] = np.nan
            one.amplitudes[:] = np.nan
            one.gram[:] = np.nan
            one.smooth[:] = np.nan


@njit(**OPTIONS)
def linear_range(first, last, plan, given, theta, chi_square, amplitudes, sd):
    """Eliminate the linear part in some voxels; write chi-square, amplitudes and their sd."""
    work, rows = workspace(plan), empty_matrix(plan.k, eights(plan.k))
    for v in range(first, last):
        one = of_voxel(given, v)
        value, _, _, good = eliminate(plan, one, theta[v], work, amplitudes[v])
        chi_square[v] = value if good else np.nan
        if not good:
            amplitudes[v] = np.nan
            sd[v] = np.nan
            continue
        invert(work.upper, plan.k, rows)
        for j in range(plan.k):
            variance = 0.0
            for i in range(j, plan.k):
                variance += rows[i, j] ** 2
            sd[v, j] = np.sqrt(variance)


@njit(**OPTIONS)
def aim_range(first, last, plan, given, theta, share, aim):
    """Write where the priors of the parameters aim in some voxels; see ``varpro.aim_of``."""
    k, wide = plan.k, plan.shape_of.size
    work = workspace(plan)
    slower = (empty_matrix(2 * plan.m, wide), empty_matrix(2 * plan.m, wide))
    rows, covariance = empty_matrix(k, eights(k)), empty_matrix(eights(k), eights(k))
    for v in range(first, last):
        aim[v] = plan.start
        rates = rates_of(plan, theta[v])
        fill_columns(plan, rates, components(plan), False, (work.columns, work.columns))
        fill_columns(plan, rates, components(plan), True, slower)
        _, _, taken = fill_normal(plan, of_voxel(given, v), work)
        if not cholesky(work.kept, k, work.upper):
            aim[v] = np.nan
            continue
        invert(work.upper, k, rows)
        fill_inner(rows, rows, True, covariance)
        for power in range(2):
            across = take_from(
                inner(work.columns, slower[power], False),
                inner(taken, project(plan, slower[power]), False),
            )
            kind, rate = (LORENTZ, np.pi) if power == 0 else (GAUSS2, GAUSS_RATE)
            _move_aim(plan, covariance, across, kind, share * rate, aim[v])


@njit(**OPTIONS)
def _move_aim(plan, covariance, across, kind, rate, aim):
    """Move the aim of the widths of one kind by what the log determinant's slope says."""
    gain = np.zeros(plan.c)
    for i in range(plan.k):
        for j in range(plan.k):
            gain[plan.shape_of[j]] += covariance[i, j] * across[i, j]
    for p in range(plan.p):
        if plan.kind[p] == kind and plan.precision[p] > 0.0:
            for c in range(plan.c):
                aim[p] += rate * gain[c] * plan.acts[p, c] / plan.precision[p]


@njit(**OPTIONS)
def spectrum_range(first, last, plan, theta, amplitudes, out):
    """Write the modelled spectra of some voxels, without the baseline."""
    parts = empty_matrix(2 * plan.m, eights(plan.c))
    for v in range(first, last):
        rates, sums = rates_of(plan, theta[v]), sum_classes(plan, amplitudes[v])
        fill_columns(plan, rates, sums, False, (parts, parts))
        for i in range(plan.m):
            re, im = 0.0, 0.0
            for c in range(plan.c):
                re += parts[i, c]
                im += parts[plan.m + i, c]
            out[v, i] = complex(re, im)
