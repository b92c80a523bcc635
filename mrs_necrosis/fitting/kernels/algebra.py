"""Products and factors of small matrices whose rows are padded to eights.

A matrix is factored as ``upper.T @ upper``, for which numba's own would call BLAS.
"""
# mypy: ignore-errors
# numba infers types; annotations of its vectors would say nothing

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from mrs_necrosis.fitting.kernels.lanes import (
    OPTIONS,
    aligned,
    fma,
    fnma,
    load,
    mul,
    splat,
    spread,
    store,
)

DIGEST: Final = "ea47dcd47777"
"""Digest of all kernels: the compiler's cache of this file looks at no other."""


@njit(**OPTIONS)
def eights(n):
    """Return a number, rounded up to a multiple of eight."""
    return (n + 7) // 8 * 8


@njit(**OPTIONS)
def inner(a, b, symmetric):
    """Return ``a.T @ b`` for columns in multiples of eight, shape (columns of a, of b)."""
    out = empty_matrix(a.shape[1], b.shape[1])
    fill_inner(a, b, symmetric, out)
    return out


@njit(**OPTIONS)
def take_from(matrix, taken):
    """Return a matrix less another, in place of the other."""
    for i in range(taken.shape[0]):
        for j in range(taken.shape[1]):
            taken[i, j] = matrix[i, j] - taken[i, j]
    return taken


@njit(**OPTIONS)
def empty_matrix(rows, columns):
    """Return an empty matrix whose rows of eights do not straddle cache lines."""
    return aligned(rows * columns).reshape((rows, columns))


@njit(**OPTIONS)
def fill_inner(a, b, symmetric, out):
    """Do as ``inner`` does, into ``out``."""
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


@njit(**OPTIONS)
def cholesky(matrix, n, upper):
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


@njit(**OPTIONS)
def solve(upper, n, x):
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


@njit(**OPTIONS)
def forward(upper, n, rows):
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


@njit(**OPTIONS)
def invert(upper, n, rows):
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
