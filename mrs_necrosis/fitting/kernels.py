"""The kernels of the compiled solver: one voxel's search, and its average over the baseline.

A voxel's columns are made eight at a time (``lanes``): the modulation by recurrences along time,
restarted every 64 samples, then a transform of which only the points in the band are finished:
the samples are split into D interleaved series whose transforms are just long enough. Derivatives
are made only where a step is accepted. The names and the algebra are those of ``varpro`` and
``posterior``. Nothing here raises: a voxel that fails is NaN.
"""
# mypy: ignore-errors
# numba infers types; annotations of its vectors would say nothing

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from mrs_necrosis.fitting.lanes import (
    aligned,
    fma,
    fnma,
    load,
    mul,
    quartet,
    splat,
    spread,
    store,
    transform,
    turn,
)
from mrs_necrosis.fitting.model import GAUSS_RATE
from mrs_necrosis.fitting.varpro import FIRM, LEAST_CURVED, NEAR

IMPORTED: Final = "c07c8b951531"
"""Digest of what is compiled in from other files; the compiler's cache looks at this one alone."""

_RESTART: Final = 64
_PI: Final = float(np.pi)
_RATE: Final = float(GAUSS_RATE)
_PHASE, _BEGIN, _SHIFT, _LORENTZ, _GAUSS2 = range(5)
_OPTIONS: Final[dict[str, Any]] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz"},
}


@njit(**_OPTIONS)
def _rates(plan, theta):
    """Return shift, Lorentzian width and squared Gaussian width of each class, (3, C)."""
    rates = np.zeros((3, plan.c))
    for p in range(plan.p):
        kind = plan.kind[p]
        if kind >= _SHIFT:
            for c in range(plan.c):
                rates[kind - _SHIFT, c] += theta[p] * plan.acts[p, c]
    return rates


@njit(**_OPTIONS)
def _modulations(plan, rates, ways, table, slowing):
    """Fill ``table`` with where each recurrence starts: modulation and its change by one step.

    By class, series, way and restart: (C, D, ways, restarts, 4), real and imaginary parts.
    ``slowing`` is the change of the change. A series is walked from ``ways`` samples at once.
    """
    d, dwell = plan.d, plan.dwell
    step = d * dwell
    length = plan.h // ways
    restarts = table.shape[3]
    for c in range(plan.c):
        turn, lorentz, gauss = 2 * _PI * rates[0, c], _PI * rates[1, c], _RATE * rates[2, c]
        slowing[c] = np.exp(-2 * gauss * step * step)
        size = np.exp(-lorentz * step - gauss * step * step)
        pace_re, pace_im = size * np.cos(turn * step), size * np.sin(turn * step)
        for way in range(ways):
            for q in range(restarts):
                t0 = (way * length + q * _RESTART) * step
                size = np.exp(-lorentz * t0 - gauss * t0 * t0)
                re, im = size * np.cos(turn * t0), size * np.sin(turn * t0)
                less = np.exp(-2 * gauss * step * t0)
                size = np.exp(-lorentz * dwell - gauss * dwell * (2 * t0 + dwell))
                on_re, on_im = size * np.cos(turn * dwell), size * np.sin(turn * dwell)
                bend, lag = np.exp(-2 * gauss * dwell * dwell), np.exp(-2 * gauss * step * dwell)
                for r in range(d):
                    entry = table[c, r, way, q]
                    entry[0], entry[1] = re, im
                    entry[2], entry[3] = pace_re * less, pace_im * less
                    re, im = re * on_re - im * on_im, re * on_im + im * on_re
                    on_re, on_im, less = on_re * bend, on_im * bend, less * lag


@njit(**_OPTIONS)
def _started(table, slowing, shape_of, block, r, way, q, states):
    """Gather the eight columns' states into ``states``, five by eight, flat."""
    for lane in range(8):
        c = shape_of[block * 8 + lane]
        entry = table[c, r, way, q]
        for part in range(4):
            states[part * 8 + lane] = entry[part]
        states[32 + lane] = slowing[c]


@njit(**_OPTIONS)
def _fours(plan, table, slowing, shape_of, block, r, source_re, source_im, moments, out):
    """Modulate one series of eight columns and do the first stage of its transform.

    ``out`` holds two workspaces. The samples go to the first; or, if ``moments`` are wanted,
    samples times t to the first and times t squared to the second.
    """
    d, h, dwell = plan.d, plan.h, plan.dwell
    a_re, a_im, b_re, b_im = out
    length = h // 4
    base = (block * d + r) * h * 8
    states = _matrix(4, 40)
    for q in range(table.shape[3]):
        for way in range(4):
            _started(table, slowing, shape_of, block, r, way, q, states[way])
        s0, s1, s2, s3 = states[0], states[1], states[2], states[3]
        z0r, z0i, w0r, w0i = load(s0, 0), load(s0, 8), load(s0, 16), load(s0, 24)
        z1r, z1i, w1r, w1i = load(s1, 0), load(s1, 8), load(s1, 16), load(s1, 24)
        z2r, z2i, w2r, w2i = load(s2, 0), load(s2, 8), load(s2, 16), load(s2, 24)
        z3r, z3i, w3r, w3i = load(s3, 0), load(s3, 8), load(s3, 16), load(s3, 24)
        slow = load(s0, 32)
        for j in range(q * _RESTART, min((q + 1) * _RESTART, length)):
            at = base + j * 8
            to = plan.place[j] * 8
            br, bi = load(source_re, at), load(source_im, at)
            x0r, x0i = fnma(bi, z0i, mul(br, z0r)), fma(br, z0i, mul(bi, z0r))
            at += length * 8
            br, bi = load(source_re, at), load(source_im, at)
            x1r, x1i = fnma(bi, z1i, mul(br, z1r)), fma(br, z1i, mul(bi, z1r))
            at += length * 8
            br, bi = load(source_re, at), load(source_im, at)
            x2r, x2i = fnma(bi, z2i, mul(br, z2r)), fma(br, z2i, mul(bi, z2r))
            at += length * 8
            br, bi = load(source_re, at), load(source_im, at)
            x3r, x3i = fnma(bi, z3i, mul(br, z3r)), fma(br, z3i, mul(bi, z3r))
            if moments:
                t = (d * j + r) * dwell
                t0, t1 = splat(t), splat(t + d * length * dwell)
                t2, t3 = splat(t + 2 * d * length * dwell), splat(t + 3 * d * length * dwell)
                x0r, x0i, x1r, x1i = mul(x0r, t0), mul(x0i, t0), mul(x1r, t1), mul(x1i, t1)
                x2r, x2i, x3r, x3i = mul(x2r, t2), mul(x2i, t2), mul(x3r, t3), mul(x3i, t3)
                quartet(
                    b_re, b_im, to, 8, mul(x0r, t0), mul(x0i, t0), mul(x1r, t1), mul(x1i, t1),
                    mul(x2r, t2), mul(x2i, t2), mul(x3r, t3), mul(x3i, t3),
                )  # fmt: skip
            quartet(a_re, a_im, to, 8, x0r, x0i, x1r, x1i, x2r, x2i, x3r, x3i)
            z0r, z0i = fnma(z0i, w0i, mul(z0r, w0r)), fma(z0r, w0i, mul(z0i, w0r))
            z1r, z1i = fnma(z1i, w1i, mul(z1r, w1r)), fma(z1r, w1i, mul(z1i, w1r))
            z2r, z2i = fnma(z2i, w2i, mul(z2r, w2r)), fma(z2r, w2i, mul(z2i, w2r))
            z3r, z3i = fnma(z3i, w3i, mul(z3r, w3r)), fma(z3r, w3i, mul(z3i, w3r))
            w0r, w0i, w1r, w1i = mul(w0r, slow), mul(w0i, slow), mul(w1r, slow), mul(w1i, slow)
            w2r, w2i, w3r, w3i = mul(w2r, slow), mul(w2i, slow), mul(w3r, slow), mul(w3i, slow)


@njit(**_OPTIONS)
def _ones(plan, table, slowing, shape_of, block, r, source_re, source_im, moments, out):
    """Do as ``_fours`` does, for a length that is no multiple of four: no stage is done."""
    d, h, dwell = plan.d, plan.h, plan.dwell
    a_re, a_im, b_re, b_im = out
    base = (block * d + r) * h * 8
    states = aligned(40)
    for q in range(table.shape[3]):
        _started(table, slowing, shape_of, block, r, 0, q, states)
        zr, zi, wr, wi = load(states, 0), load(states, 8), load(states, 16), load(states, 24)
        slow = load(states, 32)
        for j in range(q * _RESTART, min((q + 1) * _RESTART, h)):
            at, to = base + j * 8, plan.place[j] * 8
            br, bi = load(source_re, at), load(source_im, at)
            xr, xi = fnma(bi, zi, mul(br, zr)), fma(br, zi, mul(bi, zr))
            if moments:
                t = splat((d * j + r) * dwell)
                xr, xi = mul(xr, t), mul(xi, t)
                store(b_re, to, mul(xr, t))
                store(b_im, to, mul(xi, t))
            store(a_re, to, xr)
            store(a_im, to, xi)
            zr, zi = fnma(zi, wi, mul(zr, wr)), fma(zr, wi, mul(zi, wr))
            wr, wi = mul(wr, slow), mul(wi, slow)


@njit(**_OPTIONS)
def _join(plan, r, re, im, sum_re, sum_im, block, out):
    """Add one series' transform to the sum; behind the last, write the band to ``out``."""
    m, width, last = plan.m, out.shape[1], r == plan.d - 1
    flat = out.reshape(out.size)
    joint_re, joint_im = plan.joint_re[r], plan.joint_im[r]
    if r == 0 and not last:
        return
    for i in range(m):
        xr, xi = load(sum_re, i * 8), load(sum_im, i * 8)
        if r > 0:
            yr, yi = load(re, i * 8), load(im, i * 8)
            cr, ci = spread(joint_re, i), spread(joint_im, i)
            xr, xi = fnma(yi, ci, fma(yr, cr, xr)), fma(yr, ci, fma(yi, cr, xi))
        if last:
            store(flat, i * width + block * 8, xr)
            store(flat, (m + i) * width + block * 8, xi)
        else:
            store(sum_re, i * 8, xr)
            store(sum_im, i * 8, xi)


@njit(**_OPTIONS)
def _columns(plan, rates, source_re, source_im, shape_of, moments, out, second):
    """Modulate columns, transform them and write their in-band points to ``out``.

    ``source`` holds blocks of eight columns, series by series, sample by sample; ``shape_of`` is
    the class of each column. ``out`` is (2 M, columns): real parts, then imaginary parts. If
    ``moments`` are wanted, samples times t are transformed, and times t squared to ``second``.
    """
    d, h = plan.d, plan.h
    fours = h % 4 == 0
    ways = 4 if fours else 1
    table = np.empty((plan.c, d, ways, (h // ways + _RESTART - 1) // _RESTART, 4))
    slowing = np.empty(plan.c)
    _modulations(plan, rates, ways, table, slowing)
    # the first series of each is transformed in place of the sum
    size = h * 8
    sums = (aligned(size), aligned(size), aligned(size), aligned(size))
    rest = (aligned(size), aligned(size), aligned(size), aligned(size))
    for block in range(shape_of.size // 8):
        for r in range(d):
            to = sums if r == 0 else rest
            if fours:
                _fours(plan, table, slowing, shape_of, block, r, source_re, source_im, moments, to)
            else:
                _ones(plan, table, slowing, shape_of, block, r, source_re, source_im, moments, to)
            transform(to[0], to[1], h, plan.radices, fours, plan.twiddles)
            _join(plan, r, to[0], to[1], sums[0], sums[1], block, out)
            if moments:
                transform(to[2], to[3], h, plan.radices, fours, plan.twiddles)
                _join(plan, r, to[2], to[3], sums[2], sums[3], block, second)


@njit(**_OPTIONS)
def _inner(a, b, symmetric):
    """Return ``a.T @ b`` for columns in multiples of eight, shape (columns of a, of b)."""
    out = _matrix(a.shape[1], b.shape[1])
    _fill_inner(a, b, symmetric, out)
    return out


@njit(**_OPTIONS)
def _matrix(rows, columns):
    """Return an empty matrix whose rows of eights do not straddle cache lines."""
    return aligned(rows * columns).reshape((rows, columns))


@njit(**_OPTIONS)
def _fill_inner(a, b, symmetric, out):
    """Do as ``_inner`` does, into ``out``."""
    rows, left, right = a.shape[0], a.shape[1], b.shape[1]
    fa, fb, fo = a.reshape(a.size), b.reshape(b.size), out.reshape(out.size)
    zero = splat(0.0)
    for j in range(0, right, 16):
        wide = j + 8 < right
        for i in range(0, left, 8):
            if symmetric and i >= j + (16 if wide else 8):
                break
            x0, x1, x2, x3 = zero, zero, zero, zero
            x4, x5, x6, x7 = zero, zero, zero, zero
            y0, y1, y2, y3 = zero, zero, zero, zero
            y4, y5, y6, y7 = zero, zero, zero, zero
            if wide:
                for row in range(rows):
                    at = row * left + i
                    u, v = load(fb, row * right + j), load(fb, row * right + j + 8)
                    s = spread(fa, at)
                    x0, y0 = fma(s, u, x0), fma(s, v, y0)
                    s = spread(fa, at + 1)
                    x1, y1 = fma(s, u, x1), fma(s, v, y1)
                    s = spread(fa, at + 2)
                    x2, y2 = fma(s, u, x2), fma(s, v, y2)
                    s = spread(fa, at + 3)
                    x3, y3 = fma(s, u, x3), fma(s, v, y3)
                    s = spread(fa, at + 4)
                    x4, y4 = fma(s, u, x4), fma(s, v, y4)
                    s = spread(fa, at + 5)
                    x5, y5 = fma(s, u, x5), fma(s, v, y5)
                    s = spread(fa, at + 6)
                    x6, y6 = fma(s, u, x6), fma(s, v, y6)
                    s = spread(fa, at + 7)
                    x7, y7 = fma(s, u, x7), fma(s, v, y7)
            else:
                for row in range(rows):
                    at = row * left + i
                    u = load(fb, row * right + j)
                    x0 = fma(spread(fa, at), u, x0)
                    x1 = fma(spread(fa, at + 1), u, x1)
                    x2 = fma(spread(fa, at + 2), u, x2)
                    x3 = fma(spread(fa, at + 3), u, x3)
                    x4 = fma(spread(fa, at + 4), u, x4)
                    x5 = fma(spread(fa, at + 5), u, x5)
                    x6 = fma(spread(fa, at + 6), u, x6)
                    x7 = fma(spread(fa, at + 7), u, x7)
            to = i * right + j
            store(fo, to, x0)
            store(fo, to + right, x1)
            store(fo, to + 2 * right, x2)
            store(fo, to + 3 * right, x3)
            store(fo, to + 4 * right, x4)
            store(fo, to + 5 * right, x5)
            store(fo, to + 6 * right, x6)
            store(fo, to + 7 * right, x7)
            if wide:
                store(fo, to + 8, y0)
                store(fo, to + right + 8, y1)
                store(fo, to + 2 * right + 8, y2)
                store(fo, to + 3 * right + 8, y3)
                store(fo, to + 4 * right + 8, y4)
                store(fo, to + 5 * right + 8, y5)
                store(fo, to + 6 * right + 8, y6)
                store(fo, to + 7 * right + 8, y7)
    if symmetric:
        for i in range(left):
            for j in range(i):
                out[i, j] = out[j, i]


@njit(**_OPTIONS)
def _cholesky(matrix, n, upper):
    """Factor the leading ``n`` rows of a matrix; return whether it is positive definite.

    ``upper`` has rows of eights; its upper triangle is filled, the rest is of no meaning.
    """
    wide = upper.shape[1]
    flat = upper.reshape(upper.size)
    for i in range(n):
        row = upper[i]
        for j in range(i // 8 * 8, n):
            row[j] = matrix[i, j]
        for j in range(n, wide):
            row[j] = 0.0
    for i in range(n):
        if not upper[i, i] > 0.0:
            return False
        low = i // 8 * 8
        scale = splat(1.0 / np.sqrt(upper[i, i]))
        for x in range(i * wide + low, (i + 1) * wide, 8):
            store(flat, x, mul(load(flat, x), scale))
        for j in range(i + 1, n):
            factor = spread(flat, i * wide + j)
            for x in range(j // 8 * 8, wide, 8):
                left = load(flat, j * wide + x)
                store(flat, j * wide + x, fnma(factor, load(flat, i * wide + x), left))
    return True


@njit(**_OPTIONS)
def _solve(upper, n, x):
    """Solve in place, for one right-hand side."""
    for i in range(n):
        row = upper[i]
        x[i] /= row[i]
        for j in range(i + 1, n):
            x[j] -= row[j] * x[i]
    for i in range(n - 1, -1, -1):
        row = upper[i]
        left = x[i]
        for j in range(i + 1, n):
            left -= row[j] * x[j]
        x[i] = left / row[i]


@njit(**_OPTIONS)
def _forward(upper, n, rows):
    """Solve the first, upper half of a system in place, for many right-hand sides (n, eights)."""
    wide, count = upper.shape[1], rows.shape[1]
    factors, flat = upper.reshape(upper.size), rows.reshape(rows.size)
    for i in range(n):
        scale = splat(1.0 / upper[i, i])
        for x in range(i * count, (i + 1) * count, 8):
            store(flat, x, mul(load(flat, x), scale))
        for j in range(i + 1, n):
            factor = spread(factors, i * wide + j)
            for x in range(0, count, 8):
                left = load(flat, j * count + x)
                store(flat, j * count + x, fnma(factor, load(flat, i * count + x), left))


@njit(**_OPTIONS)
def _invert(upper, n, rows):
    """Fill ``rows`` with the transposed factor's inverse, (n, eights); it is zero above."""
    wide, count = upper.shape[1], rows.shape[1]
    factors, flat = upper.reshape(upper.size), rows.reshape(rows.size)
    rows[:] = 0.0
    for i in range(n):
        rows[i, i] = 1.0
    for i in range(n):
        scale = splat(1.0 / upper[i, i])
        end = i // 8 * 8 + 8
        for x in range(i * count, i * count + end, 8):
            store(flat, x, mul(load(flat, x), scale))
        for j in range(i + 1, n):
            factor = spread(factors, i * wide + j)
            for x in range(0, end, 8):
                left = load(flat, j * count + x)
                store(flat, j * count + x, fnma(factor, load(flat, i * count + x), left))


@njit(**_OPTIONS)
def _rotate(plan, data, theta, columns, to):
    """Phase the data and write them to one column."""
    phase, begin = 0.0, 0.0
    for p in range(plan.p):
        if plan.kind[p] == _PHASE:
            phase += theta[p]
        elif plan.kind[p] == _BEGIN:
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


@njit(**_OPTIONS)
def _normal(plan, columns, precision, shrink, kept):
    """Return the columns' Gram matrix, their smooth modes and what the baseline takes of these.

    ``kept`` is filled with the Gram matrix without the baseline and with the amplitudes' prior.
    """
    gram = _inner(columns, columns, True)
    smooth = _smooth(plan, columns)
    taken = _taken(plan, smooth, shrink)
    less = _inner(smooth, taken, True)
    for i in range(gram.shape[0]):
        for j in range(gram.shape[1]):
            kept[i, j] = gram[i, j] - less[i, j]
    for i in range(plan.k):
        for j in range(plan.k):
            kept[i, j] += precision[i, j]
    return gram, smooth, taken


@njit(**_OPTIONS)
def _linear(plan, data, theta, precision, pull, shrink, aim, columns, kept, upper, amplitudes):
    """Eliminate baseline and amplitudes; return objective, Gram matrix, modes and success.

    ``columns`` (2 M, columns) is filled with components and, behind them, the phased data;
    ``kept`` with their Gram matrix without the baseline and with the amplitudes' prior;
    ``upper`` with its factor and ``amplitudes`` with the solution.
    """
    k = plan.k
    _columns(
        plan,
        _rates(plan, theta),
        plan.lanes_re,
        plan.lanes_im,
        plan.shape_of,
        False,
        columns,
        columns,
    )
    _rotate(plan, data, theta, columns, k)
    gram, smooth, _ = _normal(plan, columns, precision, shrink, kept)
    for i in range(k):
        amplitudes[i] = kept[i, k] + pull[i]
    objective = kept[k, k]
    for p in range(plan.p):
        objective += (theta[p] - aim[p]) ** 2 * plan.precision[p]
    good = _cholesky(kept, k, upper)
    if good:
        _solve(upper, k, amplitudes)
        for i in range(k):
            objective -= (kept[i, k] + pull[i]) * amplitudes[i]
    return objective, gram, smooth, good and np.isfinite(objective)


@njit(**_OPTIONS)
def _smooth(plan, columns):
    """Return the smooth modes of columns: real parts, then imaginary parts, (2 B, columns).

    Even modes see the sum of either side of the band, odd ones the difference: half the work.
    The order of the modes is that of ``plan.mode_of``.
    """
    m, wide = plan.m, plan.halves.shape[2]
    half, n = plan.halves.shape[1], columns.shape[1]
    smooth = _matrix(4 * wide, n)
    even, odd = _matrix(half, n), _matrix(half, n)
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
        _fill_inner(plan.halves[0], even, False, smooth[at : at + wide])
        _fill_inner(plan.halves[1], odd, False, smooth[at + wide : at + 2 * wide])
    return smooth


@njit(**_OPTIONS)
def _taken(plan, modes, shrink):
    """Return modes times what the baseline takes of each."""
    count, n = plan.mode_of.size, modes.shape[1]
    out = _matrix(2 * count, n)
    for row in range(2 * count):
        mode = plan.mode_of[row % count]
        share = shrink[mode] if mode >= 0 else 0.0
        for j in range(n):
            out[row, j] = share * modes[row, j]
    return out


@njit(**_OPTIONS)
def _class_sums(plan, amplitudes):
    """Return the summed FIDs of each class, in blocks of eight, flat."""
    n = plan.d * plan.h
    blocks = (plan.c + 7) // 8
    sums_re, sums_im = aligned(blocks * n * 8), aligned(blocks * n * 8)
    part_re, part_im = aligned(8 * n), aligned(8 * n)
    for block in range(blocks):
        part_re[:] = 0.0
        part_im[:] = 0.0
        for k in range(plan.k):
            lane = plan.shape_of[k] - 8 * block
            if 0 <= lane < 8:
                a, length = amplitudes[k], plan.lasting[k]
                for r in range(plan.d):
                    first = r * plan.h
                    to = lane * n + first
                    to_re, to_im = part_re[to : to + length], part_im[to : to + length]
                    of_re = plan.basis_re[k, first : first + length]
                    of_im = plan.basis_im[k, first : first + length]
                    for i in range(length):
                        to_re[i] += a * of_re[i]
                    for i in range(length):
                        to_im[i] += a * of_im[i]
        at = block * n * 8
        for i in range(0, n // 8 * 8, 8):
            turn(part_re, i, n, sums_re, at + i * 8)
            turn(part_im, i, n, sums_im, at + i * 8)
        for i in range(n // 8 * 8, n):
            for lane in range(8):
                sums_re[at + i * 8 + lane] = part_re[lane * n + i]
                sums_im[at + i * 8 + lane] = part_im[lane * n + i]
    return sums_re, sums_im


@njit(**_OPTIONS)
def _explained(plan, amplitudes, columns, smooth, shrink):
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


@njit(**_OPTIONS)
def _derivatives(plan, theta, amplitudes, explained, out):
    """Fill ``out`` (2 M, parameters) with what the modelled spectrum's derivatives are."""
    m, classes = plan.m, plan.c
    rates = _rates(plan, theta)
    sums_re, sums_im = _class_sums(plan, amplitudes)
    wide = ((classes + 7) // 8) * 8
    of_class = np.zeros(wide, dtype=np.int64)
    of_class[:classes] = np.arange(classes)
    first, second = _matrix(2 * m, wide), _matrix(2 * m, wide)
    _columns(plan, rates, sums_re, sums_im, of_class, True, first, second)
    sets = plan.set_size.size
    sums = np.empty((2, 2, sets))
    for i in range(m):
        for at in range(sets):
            ar, ai, br, bi = 0.0, 0.0, 0.0, 0.0
            for x in range(plan.set_size[at]):
                c, factor = plan.set_classes[at, x], plan.set_factor[at, x]
                ar += factor * first[i, c]
                ai += factor * first[m + i, c]
                br += factor * second[i, c]
                bi += factor * second[m + i, c]
            sums[0, 0, at], sums[0, 1, at] = ar, ai
            sums[1, 0, at], sums[1, 1, at] = br, bi
        for p in range(plan.p):
            kind, at = plan.kind[p], plan.set_of[p]
            if kind < _SHIFT:
                factor = 1.0 if kind == _PHASE else plan.omega[i]
                out[i, p] = -factor * explained[m + i]
                out[m + i, p] = factor * explained[i]
            elif kind == _SHIFT:
                out[i, p] = -2 * _PI * sums[0, 1, at]
                out[m + i, p] = 2 * _PI * sums[0, 0, at]
            elif kind == _LORENTZ:
                out[i, p] = -_PI * sums[0, 0, at]
                out[m + i, p] = -_PI * sums[0, 1, at]
            else:
                out[i, p] = -_RATE * sums[1, 0, at]
                out[m + i, p] = -_RATE * sums[1, 1, at]


@njit(**_OPTIONS)
def _reduced(
    plan, theta, shrink, aim, smooth, slopes, cross, square, amplitudes, kept, upper
):  # fmt: skip
    """Return curvature and slope of the profile objective, and the derivatives' modes."""
    k, n = plan.k, plan.p
    modes = _smooth(plan, slopes)
    taken = _taken(plan, modes, shrink)
    mixed = cross - _inner(smooth, taken, False)
    curvature = square - _inner(modes, taken, True)
    slope = mixed[k, :n].copy()
    for i in range(k):
        for p in range(n):
            slope[p] -= mixed[i, p] * amplitudes[i]
    _forward(upper, k, mixed)
    curvature -= _inner(mixed[:k], mixed[:k], True)
    for p in range(n):
        slope[p] -= (theta[p] - aim[p]) * plan.precision[p]
        curvature[p, p] += plan.precision[p]
    return curvature, slope, modes


@njit(**_OPTIONS)
def _bounded(curvature, slope, theta, low, high, damping, trial):
    """Fill ``trial`` with the damped step's end in the box; see ``varpro``."""
    n = theta.size
    fixed = np.zeros(n, dtype=np.bool_)
    system, upper = np.empty((n, n)), _matrix(n, (n + 7) // 8 * 8)
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
        if not _cholesky(system, n, upper):
            return False
        _solve(upper, n, right)
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


@njit(**_OPTIONS)
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


@njit(**_OPTIONS)
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
    columns, kept = _matrix(2 * m, wide), _matrix(wide, wide)
    upper = _matrix(k, (k + 7) // 8 * 8)
    slopes = _matrix(2 * m, tall)
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
        value, new_block, new_modes, good = _linear(
            plan, data, trial, precision, pull, shrink, aim, columns, kept, upper, better
        )
        if iteration == 0 and not good:
            return np.nan, -1
        gain = (objective - value) / predicted
        if good and gain > 0:
            theta[:] = trial
            amplitudes[:] = better
            objective, block, modes = value, new_block, new_modes
            explained = _explained(plan, amplitudes, columns, modes, shrink)
            _derivatives(plan, theta, amplitudes, explained, slopes)
            cross, square = _inner(columns, slopes, False), _inner(slopes, slopes, True)
            before = slope
            curvature, slope, slope_modes = _reduced(
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


@njit(**_OPTIONS)
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


@njit(**_OPTIONS)
def linear_range(
    first, last, plan, data, theta, precision, pull, shrink, objective, amplitudes, sd
):
    """Eliminate the linear part in some voxels; write objectives, amplitudes and their sd."""
    wide = plan.shape_of.size
    columns, kept = _matrix(2 * plan.m, wide), _matrix(wide, wide)
    tall = (plan.k + 7) // 8 * 8
    upper, rows = _matrix(plan.k, tall), _matrix(plan.k, tall)
    for v in range(first, last):
        value, _, _, good = _linear(
            plan, data[v], theta[v], precision[v], pull[v], shrink[v], plan.start, columns, kept,
            upper, amplitudes[v],
        )  # fmt: skip
        objective[v] = value if good else np.nan
        if not good:
            amplitudes[v] = np.nan
            sd[v] = np.nan
            continue
        _invert(upper, plan.k, rows)
        for j in range(plan.k):
            variance = 0.0
            for i in range(j, plan.k):
                variance += rows[i, j] ** 2
            sd[v, j] = np.sqrt(variance)


@njit(**_OPTIONS)
def aim_range(first, last, plan, theta, precision, shrink, share, aim):
    """Write where the priors of the parameters aim in some voxels; see ``varpro.aim_of``."""
    m, k, wide = plan.m, plan.k, plan.shape_of.size
    columns, kept = _matrix(2 * m, wide), _matrix(wide, wide)
    slower = (_matrix(2 * m, wide), _matrix(2 * m, wide))
    tall = (k + 7) // 8 * 8
    upper, rows, covariance = _matrix(k, tall), _matrix(k, tall), _matrix(tall, tall)
    gain = np.empty(plan.c)
    for v in range(first, last):
        aim[v] = plan.start
        rates = _rates(plan, theta[v])
        lanes = plan.lanes_re, plan.lanes_im
        _columns(plan, rates, lanes[0], lanes[1], plan.shape_of, False, columns, columns)
        _columns(plan, rates, lanes[0], lanes[1], plan.shape_of, True, slower[0], slower[1])
        _, _, taken = _normal(plan, columns, precision[v], shrink[v], kept)
        if not _cholesky(kept, k, upper):
            aim[v] = np.nan
            continue
        _invert(upper, k, rows)
        _fill_inner(rows, rows, True, covariance)
        for power in range(2):
            across = _inner(columns, slower[power], False)
            across -= _inner(taken, _smooth(plan, slower[power]), False)
            gain[:] = 0.0
            for i in range(k):
                for j in range(k):
                    gain[plan.shape_of[j]] += covariance[i, j] * across[i, j]
            kind, rate = (_LORENTZ, _PI) if power == 0 else (_GAUSS2, _RATE)
            for p in range(plan.p):
                if plan.kind[p] == kind and plan.precision[p] > 0.0:
                    for c in range(plan.c):
                        aim[v, p] += share * rate * gain[c] * plan.acts[p, c] / plan.precision[p]


@njit(**_OPTIONS)
def spectrum_range(first, last, plan, theta, amplitudes, out):
    """Write the modelled spectra of some voxels, without the baseline."""
    wide = ((plan.c + 7) // 8) * 8
    of_class = np.zeros(wide, dtype=np.int64)
    of_class[: plan.c] = np.arange(plan.c)
    parts = _matrix(2 * plan.m, wide)
    for v in range(first, last):
        sums_re, sums_im = _class_sums(plan, amplitudes[v])
        _columns(plan, _rates(plan, theta[v]), sums_re, sums_im, of_class, False, parts, parts)
        for i in range(plan.m):
            re, im = 0.0, 0.0
            for c in range(plan.c):
                re += parts[i, c]
                im += parts[plan.m + i, c]
            out[v, i] = complex(re, im)


@njit(**_OPTIONS)
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


@njit(**_OPTIONS)
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


@njit(**_OPTIONS)
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
    modes, half, taken = _matrix(2 * count, wide), _matrix(2 * count, wide), _matrix(wide, wide)
    rows, own = _matrix(n, tall), _matrix(tall, tall)
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
            _fill_inner(modes, half, True, taken)
            gradient, step, upper = gradients[candidate], steps[candidate], uppers[candidate]
            chi[candidate] = _system(
                plan, taken, theta[v], amplitudes[v], gram[v], held[v], precision[v], pull[v],
                aim[v], hessian, gradient,
            )  # fmt: skip
            if not _cholesky(hessian, n, upper):
                fine = False
                break
            log_det = 0.0
            for i in range(n):
                log_det += 2 * np.log(upper[i, i])
            step[:] = gradient
            _solve(upper, n, step)
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
                _invert(uppers[candidate], n, rows)
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
            _invert(uppers[candidate], n, rows)
            for p in range(plan.p):
                if held[v, p]:
                    rows[:, k + p] = 0.0
            _fill_inner(rows, rows, True, own)
            for i in range(n):
                row[i] = steps[candidate, i] - (mean[v, i] - here[i])
            for i in range(n):
                away = row[i]
                for j in range(n):
                    covariance[v, i, j] += share * (own[i, j] + away * row[j])
