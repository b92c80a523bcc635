"""The average over how stiff the baseline may be, in one voxel after the other."""
# mypy: ignore-errors
# numba infers types; annotations of its vectors would say nothing

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from mrs_necrosis.fitting.kernels.algebra import cholesky, empty_matrix, fill_inner, invert, solve
from mrs_necrosis.fitting.kernels.lanes import OPTIONS, aligned

DIGEST: Final = "09efec53e4d7"
"""Digest of all kernels: the compiler's cache of this file looks at no other."""


@njit(**OPTIONS)
def _system(plan, taken, theta, a, gram, held, precision, pull, aim, hessian, gradient):
    """Fill the joint system of one candidate baseline; return the objective."""
    k, n = plan.k, plan.k + plan.p
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
            pulled += precision[i, j] * a[j]
            hessian[i, j] += precision[i, j]
        gradient[i] += pull[i] - pulled
        chi += a[i] * (pulled - 2 * pull[i])
    for p in range(plan.p):
        offset = theta[p] - aim[p]
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
def _shorten(rows, n, step):
    """Shorten a step to the three standard deviations for which the expansion is trusted."""
    reach = 1e-12
    for i in range(n):
        variance = 0.0
        for x in range(i, n):
            variance += rows[x, i] ** 2
        reach = max(reach, abs(step[i]) / np.sqrt(variance))
    scale = min(1.0, 3.0 / reach)
    for i in range(n):
        step[i] *= scale


@njit(**OPTIONS)
def average_range(
    first, last, plan, shrink, trust, theta, amplitudes, gram, smooth, held, precision, pull, aim,
    mean, covariance, weight,
):  # fmt: skip
    """Average over the candidate baselines in some voxels; see ``posterior.average``."""
    k, n = plan.k, plan.k + plan.p
    wide, tall = (n + 8) // 8 * 8, (n + 7) // 8 * 8
    candidates, count = shrink.shape
    uppers = aligned(candidates * n * tall).reshape((candidates, n, tall))
    steps, gradients = np.empty((candidates, n)), np.empty((candidates, n))
    chi, evidence = np.empty(candidates), np.empty(candidates)
    sure = np.empty(candidates, dtype=np.bool_)
    modes, half, taken = (
        empty_matrix(2 * count, wide),
        empty_matrix(2 * count, wide),
        empty_matrix(wide, wide),
    )
    rows, own = empty_matrix(n, tall), empty_matrix(tall, tall)
    hessian, row, here = np.empty((n, n)), np.empty(n), np.empty(n)
    modes[:] = 0.0
    for v in range(first, last):
        mean[v] = np.nan
        covariance[v] = np.nan
        weight[v] = np.nan
        for i in range(n + 1):
            for b in range(2 * count):
                modes[b, i] = smooth[v, i, b]
        fine = True
        for candidate in range(candidates):
            occam = 0.0
            for b in range(count):
                share = shrink[candidate, b]
                for part in range(2):
                    for i in range(wide):
                        half[2 * b + part, i] = share * modes[2 * b + part, i]
                if share < 1.0 - 1e-12:
                    occam += 2 * np.log1p(-share)
            fill_inner(modes, half, True, taken)
            gradient, step, upper = gradients[candidate], steps[candidate], uppers[candidate]
            chi[candidate] = _system(
                plan, taken, theta[v], amplitudes[v], gram[v], held[v], precision[v], pull[v],
                aim[v], hessian, gradient,
            )  # fmt: skip
            if not cholesky(hessian, n, upper):
                fine = False
                break
            log_det = 0.0
            for i in range(n):
                log_det += 2 * np.log(upper[i, i])
            step[:] = gradient
            solve(upper, n, step)
            gained = 0.0
            for i in range(n):
                gained += step[i] * gradient[i]
            chi[candidate] += log_det - occam
            # by Cauchy and Schwarz no part of the step is longer than the root of this
            sure[candidate] = gained < 8.99
            evidence[candidate] = -0.5 * (chi[candidate] - gained)
        if not fine:
            continue
        # a step that is shortened uppers the evidence: what is hopeless without stays so
        least = -np.inf
        for candidate in range(candidates):
            if sure[candidate]:
                least = max(least, evidence[candidate])
        for candidate in range(candidates):
            if not sure[candidate] and not evidence[candidate] < least - 40.0 / trust:
                invert(uppers[candidate], n, rows)
                _shorten(rows, n, steps[candidate])
                gained = 0.0
                for i in range(n):
                    gained += steps[candidate, i] * gradients[candidate, i]
                evidence[candidate] = -0.5 * (chi[candidate] - gained)
        largest = np.max(evidence)
        if not np.isfinite(largest):
            continue
        total = 0.0
        for candidate in range(candidates):
            weight[v, candidate] = np.exp(trust * (evidence[candidate] - largest))
            total += weight[v, candidate]
        here[:k] = amplitudes[v]
        here[k:] = theta[v]
        mean[v] = here
        covariance[v] = 0.0
        for candidate in range(candidates):
            weight[v, candidate] /= total
            for i in range(n):
                mean[v, i] += weight[v, candidate] * steps[candidate, i]
        for candidate in range(candidates):
            share = weight[v, candidate]
            if share < 1e-15:  # beyond the last digit
                continue
            invert(uppers[candidate], n, rows)
            for p in range(plan.p):
                if held[v, p]:
                    rows[:, k + p] = 0.0
            fill_inner(rows, rows, True, own)
            for i in range(n):
                row[i] = steps[candidate, i] - (mean[v, i] - here[i])
            for i in range(n):
                away = row[i]
                for j in range(n):
                    covariance[v, i, j] += share * (own[i, j] + away * row[j])
