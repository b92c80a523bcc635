"""The objective of one voxel: its linear part, and its slope and curvature.

Columns are (2 M, eights): real parts, then imaginary parts; derivatives are made only where a
step is accepted.
"""
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
    forward,
    inner,
    solve,
    take_from,
)
from mrs_necrosis.fitting.kernels.columns import components, fill_columns, rates_of, sum_classes
from mrs_necrosis.fitting.kernels.lanes import OPTIONS
from mrs_necrosis.fitting.kernels.plan import (
    BEGIN,
    LORENTZ,
    PHASE,
    SHIFT,
    Found,
    Given,
    Slopes,
    Workspace,
)
from mrs_necrosis.fitting.model import GAUSS_RATE

DIGEST: Final = "ea47dcd47777"
"""Digest of all kernels: the compiler's cache of this file looks at no other."""


@njit(**OPTIONS)
def _rotate(plan, data, theta, columns, to):
    """Phase the data and write them to one column."""
    phase, begin = 0.0, 0.0
    for p in range(plan.p):
        if plan.kind[p] == PHASE:
            phase += theta[p]
        elif plan.kind[p] == BEGIN:
            begin += theta[p]
    # the angular frequencies are equally spaced
    m = plan.m
    angle = begin * (plan.omega[1] - plan.omega[0])
    on_re, on_im = np.cos(angle), -np.sin(angle)
    re, im = 0.0, 0.0
    for i in range(m):
        if i % 32 == 0:
            angle = phase + begin * plan.omega[i]
            re, im = np.cos(angle), -np.sin(angle)
        columns[i, to] = data[i].real * re - data[i].imag * im
        columns[m + i, to] = data[i].real * im + data[i].imag * re
        re, im = re * on_re - im * on_im, re * on_im + im * on_re


@njit(**OPTIONS)
def of_voxel(given, v):
    """Return what is given of one voxel."""
    return Given(given.data[v], given.precision[v], given.pull[v], given.shrink[v], given.aim[v])


@njit(**OPTIONS)
def found_in(found, v):
    """Return the state of one voxel."""
    return Found(found.theta[v], found.amplitudes[v], found.gram[v], found.smooth[v])


@njit(**OPTIONS)
def workspace(plan):
    """Return an empty workspace, for one voxel after the other."""
    wide = plan.shape_of.size
    return Workspace(
        empty_matrix(2 * plan.m, wide),
        empty_matrix(wide, wide),
        empty_matrix(plan.k, eights(plan.k)),
    )


@njit(**OPTIONS)
def fill_normal(plan, given, work):
    """Return the columns' Gram matrix, their smooth modes and what the baseline takes of these.

    ``work.kept`` is filled with the Gram matrix without the baseline and with the amplitudes'
    prior.
    """
    kept = work.kept
    gram = inner(work.columns, work.columns, True)
    smooth = project(plan, work.columns)
    taken = _shrunk(plan, smooth, given.shrink)
    less = inner(smooth, taken, True)
    for i in range(gram.shape[0]):
        for j in range(gram.shape[1]):
            kept[i, j] = gram[i, j] - less[i, j]
    for i in range(plan.k):
        for j in range(plan.k):
            kept[i, j] += given.precision[i, j]
    return gram, smooth, taken


@njit(**OPTIONS)
def eliminate(plan, given, theta, work, amplitudes):
    """Eliminate baseline and amplitudes; return chi-square, Gram matrix, modes and success.

    ``work`` is filled, and ``amplitudes`` with the solution.
    """
    k, columns, kept = plan.k, work.columns, work.kept
    fill_columns(plan, rates_of(plan, theta), components(plan), False, (columns, columns))
    _rotate(plan, given.data, theta, columns, k)
    gram, smooth, _ = fill_normal(plan, given, work)
    for i in range(k):
        amplitudes[i] = kept[i, k] + given.pull[i]
    chi_square = kept[k, k]
    for p in range(plan.p):
        chi_square += (theta[p] - given.aim[p]) ** 2 * plan.precision[p]
    good = cholesky(kept, k, work.upper)
    if good:
        solve(work.upper, k, amplitudes)
        for i in range(k):
            chi_square -= (kept[i, k] + given.pull[i]) * amplitudes[i]
    return chi_square, gram, smooth, good and np.isfinite(chi_square)


@njit(**OPTIONS)
def project(plan, columns):
    """Return the smooth modes of columns: real parts, then imaginary parts, (2 B, columns).

    Even modes see the sum of either side of the band, odd ones the difference: half the work.
    The order of the modes is that of ``plan.mode_of``.
    """
    m, wide = plan.m, plan.halves.shape[2]
    half, n = plan.halves.shape[1], columns.shape[1]
    smooth = empty_matrix(4 * wide, n)
    even, odd = empty_matrix(half, n), empty_matrix(half, n)
    for part in range(2):
        for i in range(half):
            one, other = columns[part * m + i], columns[part * m + m - 1 - i]
            if 2 * i == m - 1:
                even[i] = one
                odd[i] = 0.0
            else:
                for j in range(n):
                    even[i, j] = one[j] + other[j]
                for j in range(n):
                    odd[i, j] = one[j] - other[j]
        at = 2 * part * wide
        fill_inner(plan.halves[0], even, False, smooth[at : at + wide])
        fill_inner(plan.halves[1], odd, False, smooth[at + wide : at + 2 * wide])
    return smooth


@njit(**OPTIONS)
def _shrunk(plan, modes, shrink):
    """Return modes times what the baseline takes of each."""
    count, n = plan.mode_of.size, modes.shape[1]
    out = empty_matrix(2 * count, n)
    for row in range(2 * count):
        mode = plan.mode_of[row % count]
        share = shrink[mode] if mode >= 0 else 0.0
        for j in range(n):
            out[row, j] = share * modes[row, j]
    return out


@njit(**OPTIONS)
def explain(plan, amplitudes, columns, smooth, shrink):
    """Return model and baseline: real parts, then imaginary parts, (2 M,)."""
    m, k, count = plan.m, plan.k, plan.mode_of.size
    explained = np.empty(2 * m)
    taken = np.empty(shrink.size)
    for i in range(2 * m):
        row = columns[i]
        total = 0.0
        for j in range(k):
            total += amplitudes[j] * row[j]
        explained[i] = total
    for part in range(2):
        for b in range(count):
            mode = plan.mode_of[b]
            if mode < 0:
                continue
            row = smooth[part * count + b]
            left = row[k]
            for j in range(k):
                left -= amplitudes[j] * row[j]
            taken[mode] = left * shrink[mode]
        for i in range(m):
            row = plan.modes[i]
            total = 0.0
            for b in range(shrink.size):
                total += taken[b] * row[b]
            explained[part * m + i] += total
    return explained


@njit(**OPTIONS)
def differentiate(plan, theta, amplitudes, explained, out):
    """Fill ``out`` (2 M, parameters) with what the modelled spectrum's derivatives are."""
    m, sums = plan.m, sum_classes(plan, amplitudes)
    wide = sums.shape_of.size
    first, second = empty_matrix(2 * m, wide), empty_matrix(2 * m, wide)
    fill_columns(plan, rates_of(plan, theta), sums, True, (first, second))
    sets = plan.set_size.size
    parts = np.empty((2, 2, sets))
    for i in range(m):
        for at in range(sets):
            ar, ai, br, bi = 0.0, 0.0, 0.0, 0.0
            for x in range(plan.set_size[at]):
                c, factor = plan.set_classes[at, x], plan.set_factor[at, x]
                ar += factor * first[i, c]
                ai += factor * first[m + i, c]
                br += factor * second[i, c]
                bi += factor * second[m + i, c]
            parts[0, 0, at], parts[0, 1, at] = ar, ai
            parts[1, 0, at], parts[1, 1, at] = br, bi
        for p in range(plan.p):
            kind, at = plan.kind[p], plan.set_of[p]
            if kind < SHIFT:
                factor = 1.0 if kind == PHASE else plan.omega[i]
                out[i, p] = -factor * explained[m + i]
                out[m + i, p] = factor * explained[i]
            elif kind == SHIFT:
                out[i, p] = -2 * np.pi * parts[0, 1, at]
                out[m + i, p] = 2 * np.pi * parts[0, 0, at]
            elif kind == LORENTZ:
                out[i, p] = -np.pi * parts[0, 0, at]
                out[m + i, p] = -np.pi * parts[0, 1, at]
            else:
                out[i, p] = -GAUSS_RATE * parts[1, 0, at]
                out[m + i, p] = -GAUSS_RATE * parts[1, 1, at]


@njit(**OPTIONS)
def reduce_to_parameters(plan, given, theta, amplitudes, modes, derivatives, work):
    """Return curvature and slope of the profile objective, and the derivatives' inner products.

    ``work`` is as ``eliminate`` left it there, and ``modes`` are what it returned.
    """
    k, n = plan.k, plan.p
    slopes = Slopes(
        inner(work.columns, derivatives, False),
        inner(derivatives, derivatives, True),
        project(plan, derivatives),
    )
    taken = _shrunk(plan, slopes.modes, given.shrink)
    mixed = take_from(slopes.cross, inner(modes, taken, False))
    curvature = take_from(slopes.square, inner(slopes.modes, taken, True))
    slope = mixed[k, :n].copy()
    for i in range(k):
        for p in range(n):
            slope[p] -= mixed[i, p] * amplitudes[i]
    forward(work.upper, k, mixed)
    curvature = take_from(curvature, inner(mixed[:k], mixed[:k], True))
    for p in range(n):
        slope[p] -= (theta[p] - given.aim[p]) * plan.precision[p]
        curvature[p, p] += plan.precision[p]
    return curvature, slope, slopes
