"""Columns of the model: component FIDs modulated and transformed, of which the band is kept.

They are made eight at a time: the modulation by recurrences along time, restarted every 64
samples, then a transform of which only the points in the band are finished: the samples are
split into D interleaved series whose transforms are just long enough.
"""
# mypy: ignore-errors
# numba infers types; annotations of its vectors would say nothing

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numba import njit

from mrs_necrosis.fitting.kernels.algebra import eights, empty_matrix
from mrs_necrosis.fitting.kernels.lanes import (
    OPTIONS,
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
from mrs_necrosis.fitting.kernels.plan import SHIFT, Source
from mrs_necrosis.fitting.model import GAUSS_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIGEST: Final = "ea47dcd47777"
"""Digest of all kernels: the compiler's cache of this file looks at no other."""

_RESTART: Final = 64
"""Samples after which a recurrence starts anew, before rounding adds up."""


class _Recurrences(NamedTuple):
    """Modulations of the classes: a factor that changes by a factor, which changes itself.

    A series is walked from several samples at once, its ``ways``, and each way starts anew from
    time to time. ``starts`` are the factor and its change, real and imaginary parts, by class,
    series, way and restart: (C, D, ways, restarts, 4). ``slowing`` (C,) is the change's change.
    """

    starts: NDArray[np.float64]
    slowing: NDArray[np.float64]


@njit(**OPTIONS)
def rates_of(plan, theta):
    """Return shift, Lorentzian width and squared Gaussian width of each class, (3, C)."""
    rates = np.zeros((3, plan.c))
    for p in range(plan.p):
        kind = plan.kind[p]
        if kind >= SHIFT:
            for c in range(plan.c):
                rates[kind - SHIFT, c] += theta[p] * plan.acts[p, c]
    return rates


@njit(**OPTIONS)
def _recurrences(plan, rates, ways):
    """Return the recurrences of all classes."""
    d, dwell = plan.d, plan.dwell
    step = d * dwell
    length = plan.h // ways
    restarts = (length + _RESTART - 1) // _RESTART
    starts, slowing = np.empty((plan.c, d, ways, restarts, 4)), np.empty(plan.c)
    for c in range(plan.c):
        turn, lorentz, gauss = (
            2 * np.pi * rates[0, c],
            np.pi * rates[1, c],
            GAUSS_RATE * rates[2, c],
        )
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
                    entry = starts[c, r, way, q]
                    entry[0], entry[1] = re, im
                    entry[2], entry[3] = pace_re * less, pace_im * less
                    re, im = re * on_re - im * on_im, re * on_im + im * on_re
                    on_re, on_im, less = on_re * bend, on_im * bend, less * lag
    return _Recurrences(starts, slowing)


@njit(**OPTIONS)
def _gather(recurrences, classes, r, way, q, states):
    """Gather where eight columns start into ``states``, five by eight, flat."""
    for lane in range(8):
        c = classes[lane]
        entry = recurrences.starts[c, r, way, q]
        for part in range(4):
            states[part * 8 + lane] = entry[part]
        states[32 + lane] = recurrences.slowing[c]


@njit(**OPTIONS)
def _fours(plan, recurrences, source, block, r, moments, out):
    """Modulate one series of eight columns and do the first stage of its transform.

    ``out`` holds two workspaces. The samples go to the first; or, if ``moments`` are wanted,
    samples times t to the first and times t squared to the second.
    """
    d, h, dwell = plan.d, plan.h, plan.dwell
    a_re, a_im, b_re, b_im = out
    length = h // 4
    base, classes = (block * d + r) * h * 8, source.shape_of[block * 8 : block * 8 + 8]
    source_re, source_im = source.re, source.im
    states = empty_matrix(4, 40)
    for q in range(recurrences.starts.shape[3]):
        for way in range(4):
            _gather(recurrences, classes, r, way, q, states[way])
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


@njit(**OPTIONS)
def _ones(plan, recurrences, source, block, r, moments, out):
    """Do as ``_fours`` does, for a length that is no multiple of four: no stage is done."""
    d, h, dwell = plan.d, plan.h, plan.dwell
    a_re, a_im, b_re, b_im = out
    base, classes = (block * d + r) * h * 8, source.shape_of[block * 8 : block * 8 + 8]
    source_re, source_im = source.re, source.im
    states = aligned(40)
    for q in range(recurrences.starts.shape[3]):
        _gather(recurrences, classes, r, 0, q, states)
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


@njit(**OPTIONS)
def _join(plan, block, r, own, total, out):
    """Add one series' transform to the sum; behind the last, write the band to ``out``."""
    m, width, last = plan.m, out.shape[1], r == plan.d - 1
    flat = out.reshape(out.size)
    joint_re, joint_im = plan.joint_re[r], plan.joint_im[r]
    (re, im), (sum_re, sum_im) = own, total
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


@njit(**OPTIONS)
def components(plan):
    """Return all components, to be modulated."""
    return Source(plan.lanes_re, plan.lanes_im, plan.shape_of)


@njit(**OPTIONS)
def fill_columns(plan, rates, source, moments, out):
    """Modulate columns, transform them and write their in-band points to ``out``.

    Two matrices (2 M, columns): real parts, then imaginary parts. The first gets what is
    transformed; or, if ``moments`` are wanted, samples times t, and the second times t squared.
    """
    d, h = plan.d, plan.h
    fours = h % 4 == 0
    recurrences = _recurrences(plan, rates, 4 if fours else 1)
    # the first series of each is transformed in place of the sum
    size = h * 8
    sums = (aligned(size), aligned(size), aligned(size), aligned(size))
    rest = (aligned(size), aligned(size), aligned(size), aligned(size))
    for block in range(source.shape_of.size // 8):
        for r in range(d):
            to = sums if r == 0 else rest
            if fours:
                _fours(plan, recurrences, source, block, r, moments, to)
            else:
                _ones(plan, recurrences, source, block, r, moments, to)
            transform(to[0], to[1], h, plan.radices, fours, plan.twiddles)
            _join(plan, block, r, to[:2], sums[:2], out[0])
            if moments:
                transform(to[2], to[3], h, plan.radices, fours, plan.twiddles)
                _join(plan, block, r, to[2:], sums[2:], out[1])


@njit(**OPTIONS)
def _add(plan, k, amplitude, part_re, part_im):
    """Add a component to its lane of eight summed FIDs, series by series."""
    n, length = plan.d * plan.h, plan.lasting[k]
    for r in range(plan.d):
        first = r * plan.h
        to = plan.shape_of[k] % 8 * n + first
        to_re, to_im = part_re[to : to + length], part_im[to : to + length]
        of_re = plan.basis_re[k, first : first + length]
        of_im = plan.basis_im[k, first : first + length]
        for i in range(length):
            to_re[i] += amplitude * of_re[i]
        for i in range(length):
            to_im[i] += amplitude * of_im[i]


@njit(**OPTIONS)
def sum_classes(plan, amplitudes):
    """Return the sum of each class, to be modulated as one column."""
    n, columns = plan.d * plan.h, eights(plan.c)
    sums_re, sums_im = aligned(columns * n), aligned(columns * n)
    part_re, part_im = aligned(8 * n), aligned(8 * n)
    for block in range(columns // 8):
        part_re[:] = 0.0
        part_im[:] = 0.0
        for k in range(plan.k):
            if plan.shape_of[k] // 8 == block:
                _add(plan, k, amplitudes[k], part_re, part_im)
        at = block * n * 8
        for i in range(0, n // 8 * 8, 8):
            turn(part_re, i, n, sums_re, at + i * 8)
            turn(part_im, i, n, sums_im, at + i * 8)
        for i in range(n // 8 * 8, n):
            for lane in range(8):
                sums_re[at + i * 8 + lane] = part_re[lane * n + i]
                sums_im[at + i * 8 + lane] = part_im[lane * n + i]
    of_class = np.zeros(columns, dtype=np.int64)
    of_class[: plan.c] = np.arange(plan.c)
    return Source(sums_re, sums_im, of_class)
