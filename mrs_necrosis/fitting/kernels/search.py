"""Levenberg-Marquardt in one voxel after the other; the algorithm of ``varpro``."""
# mypy: ignore-errors
# numba infers types; annotations of its vectors would say nothing

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from mrs_necrosis.fitting.kernels.algebra import (
    cholesky,
    empty_matrix,
    fill_inner,
    inner,
    invert,
    solve,
)
from mrs_necrosis.fitting.kernels.columns import fill_columns, rates_of, sum_classes
from mrs_necrosis.fitting.kernels.lanes import OPTIONS
from mrs_necrosis.fitting.kernels.objective import (
    differentiate,
    eliminate,
    explain,
    fill_normal,
    project,
    reduce_to_parameters,
)
from mrs_necrosis.fitting.kernels.plan import GAUSS2, LORENTZ
from mrs_necrosis.fitting.model import GAUSS_RATE
from mrs_necrosis.fitting.varpro import FIRM, LEAST_CURVED, NEAR

DIGEST: Final = "09efec53e4d7"
"""Digest of all kernels: the compiler's cache of this file looks at no other."""


@njit(**OPTIONS)
def _bounded(curvature, slope, theta, low, high, damping, trial):
    """Fill ``trial`` with the damped step's end in the box; see ``varpro``."""
    n = theta.size
    fixed = np.zeros(n, dtype=np.bool_)
    system, upper = np.empty((n, n)), empty_matrix(n, (n + 7) // 8 * 8)
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
def _minimise_voxel(
    plan, data, theta, low, high, precision, pull, shrink, aim, most, tolerance, gram, smooth,
    found,
):  # fmt: skip
    """Search in one voxel; write the state and return objective and how it ended.

    The end is 1 where the search converged, 0 where it ran out of iterations, -1 where numbers
    failed.
    """
    k, n, m = plan.k, plan.p, plan.m
    wide, tall = plan.shape_of.size, ((n + 7) // 8) * 8
    columns, kept = empty_matrix(2 * m, wide), empty_matrix(wide, wide)
    upper = empty_matrix(k, (k + 7) // 8 * 8)
    slopes = empty_matrix(2 * m, tall)
    slopes[:] = 0.0
    amplitudes, better = np.empty(k), np.empty(k)
    objective, damping, growth, predicted = np.inf, 1e-3, 2.0, 1.0
    trial, moved, push = theta.copy(), np.zeros(n), np.empty(n)
    block, modes = kept, kept
    curvature, slope, slope_modes, cross, square = kept, push, kept, kept, kept
    end = 0
    for iteration in range(most + 1):
        if iteration > 0:
            push[:] = slope
            if not _bounded(curvature, push, theta, low, high, damping, trial):
                return np.nan, -1
            predicted = 0.0
            for p in range(n):
                moved[p] = trial[p] - theta[p]
            for p in range(n):
                bent = 0.0
                for q in range(n):
                    bent += curvature[p, q] * moved[q]
                predicted += moved[p] * (2 * push[p] - bent)
            if not np.isfinite(predicted):
                return np.nan, -1
            if abs(predicted) * (1 + damping) < tolerance:
                end = 1
                break
        value, new_block, new_modes, good = eliminate(
            plan, data, trial, precision, pull, shrink, aim, columns, kept, upper, better
        )
        if iteration == 0 and not good:
            return np.nan, -1
        gain = (objective - value) / predicted
        if good and gain > 0:
            theta[:] = trial
            amplitudes[:] = better
            objective, block, modes = value, new_block, new_modes
            explained = explain(plan, amplitudes, columns, modes, shrink)
            differentiate(plan, theta, amplitudes, explained, slopes)
            cross, square = inner(columns, slopes, False), inner(slopes, slopes, True)
            before = slope
            curvature, slope, slope_modes = reduce_to_parameters(
                plan, theta, shrink, aim, modes, slopes, cross, square, amplitudes, kept, upper
            )
            if iteration > 0:
                if predicted < NEAR:
                    _correct(curvature, moved, before, slope)
                damping *= max(1 / 3, 1 - (2 * gain - 1) ** 3)
                growth = 2.0
        else:
            damping = max(damping, FIRM) * growth
            growth *= 2
        damping = min(max(damping, 1e-9), 1e12)
    found[:] = amplitudes
    last = k + n
    count = plan.mode_of.size
    for i in range(k + 1):
        to = i if i < k else last
        for j in range(k + 1):
            gram[to, j if j < k else last] = block[i, j]
        for p in range(n):
            gram[to, k + p] = cross[i, p]
            gram[k + p, to] = cross[i, p]
        for row in range(count):
            b = plan.mode_of[row]
            if b >= 0:
                smooth[to, 2 * b], smooth[to, 2 * b + 1] = modes[row, i], modes[count + row, i]
    for p in range(n):
        for q in range(n):
            gram[k + p, k + q] = square[p, q]
        for row in range(count):
            b = plan.mode_of[row]
            if b >= 0:
                smooth[k + p, 2 * b] = slope_modes[row, p]
                smooth[k + p, 2 * b + 1] = slope_modes[count + row, p]
    return objective, end


@njit(**OPTIONS)
def minimise_range(
    first, last, plan, data, theta, low, high, precision, pull, shrink, aim, most, tolerance,
    gram, smooth, amplitudes, objective, end,
):  # fmt: skip
    """Search in voxels ``first`` to ``last``; write states, objectives and how each ended."""
    for v in range(first, last):
        objective[v], end[v] = _minimise_voxel(
            plan, data[v], theta[v], low[v], high[v], precision[v], pull[v], shrink[v], aim[v],
            most, tolerance, gram[v], smooth[v], amplitudes[v],
        )  # fmt: skip
        if end[v] < 0:
            theta[v] = np.nan
            gram[v] = np.nan
            smooth[v] = np.nan
            amplitudes[v] = np.nan


@njit(**OPTIONS)
def linear_range(
    first, last, plan, data, theta, precision, pull, shrink, objective, amplitudes, sd
):
    """Eliminate the linear part in some voxels; write objectives, amplitudes and their sd."""
    wide = plan.shape_of.size
    columns, kept = empty_matrix(2 * plan.m, wide), empty_matrix(wide, wide)
    tall = (plan.k + 7) // 8 * 8
    upper, rows = empty_matrix(plan.k, tall), empty_matrix(plan.k, tall)
    for v in range(first, last):
        value, _, _, good = eliminate(
            plan, data[v], theta[v], precision[v], pull[v], shrink[v], plan.start, columns, kept,
            upper, amplitudes[v],
        )  # fmt: skip
        objective[v] = value if good else np.nan
        if not good:
            amplitudes[v] = np.nan
            sd[v] = np.nan
            continue
        invert(upper, plan.k, rows)
        for j in range(plan.k):
            variance = 0.0
            for i in range(j, plan.k):
                variance += rows[i, j] ** 2
            sd[v, j] = np.sqrt(variance)


@njit(**OPTIONS)
def aim_range(first, last, plan, theta, precision, shrink, share, aim):
    """Write where the priors of the parameters aim in some voxels; see ``varpro.aim_of``."""
    m, k, wide = plan.m, plan.k, plan.shape_of.size
    columns, kept = empty_matrix(2 * m, wide), empty_matrix(wide, wide)
    slower = (empty_matrix(2 * m, wide), empty_matrix(2 * m, wide))
    tall = (k + 7) // 8 * 8
    upper, rows, covariance = (
        empty_matrix(k, tall),
        empty_matrix(k, tall),
        empty_matrix(tall, tall),
    )
    gain = np.empty(plan.c)
    for v in range(first, last):
        aim[v] = plan.start
        rates = rates_of(plan, theta[v])
        lanes = plan.lanes_re, plan.lanes_im
        fill_columns(plan, rates, lanes[0], lanes[1], plan.shape_of, False, columns, columns)
        fill_columns(plan, rates, lanes[0], lanes[1], plan.shape_of, True, slower[0], slower[1])
        _, _, taken = fill_normal(plan, columns, precision[v], shrink[v], kept)
        if not cholesky(kept, k, upper):
            aim[v] = np.nan
            continue
        invert(upper, k, rows)
        fill_inner(rows, rows, True, covariance)
        for power in range(2):
            across = inner(columns, slower[power], False)
            across -= inner(taken, project(plan, slower[power]), False)
            gain[:] = 0.0
            for i in range(k):
                for j in range(k):
                    gain[plan.shape_of[j]] += covariance[i, j] * across[i, j]
            kind, rate = (LORENTZ, np.pi) if power == 0 else (GAUSS2, GAUSS_RATE)
            for p in range(plan.p):
                if plan.kind[p] == kind and plan.precision[p] > 0.0:
                    for c in range(plan.c):
                        aim[v, p] += share * rate * gain[c] * plan.acts[p, c] / plan.precision[p]


@njit(**OPTIONS)
def spectrum_range(first, last, plan, theta, amplitudes, out):
    """Write the modelled spectra of some voxels, without the baseline."""
    wide = ((plan.c + 7) // 8) * 8
    of_class = np.zeros(wide, dtype=np.int64)
    of_class[: plan.c] = np.arange(plan.c)
    parts = empty_matrix(2 * plan.m, wide)
    for v in range(first, last):
        sums_re, sums_im = sum_classes(plan, amplitudes[v])
        fill_columns(
            plan, rates_of(plan, theta[v]), sums_re, sums_im, of_class, False, parts, parts
        )
        for i in range(plan.m):
            re, im = 0.0, 0.0
            for c in range(plan.c):
                re += parts[i, c]
                im += parts[plan.m + i, c]
            out[v, i] = complex(re, im)
