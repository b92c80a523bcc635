"""Eight numbers at once for numba, and a Fourier transform of eight columns that uses them.

Numba knows no vector type, and its compiler does not vectorise butterflies because it cannot
know that their rows do not overlap. So here is a type of eight doubles (LLVM makes of it what
the processor has), and a mixed-radix transform (2, 3, 4, 5; decimation in time, input in
digit-reversed order) of eight interleaved columns at once.
"""
# mypy: ignore-errors
# numba infers types; annotations of its vectors would say nothing

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES: Final = 8

_STAGE: Final[dict[str, Any]] = {"cache": True, "nogil": True, "error_model": "numpy"}
OPTIONS: Final[dict[str, Any]] = _STAGE | {"fastmath": {"reassoc", "contract", "nsz"}}
"""How all else is compiled."""

_VECTOR = ir.VectorType(ir.DoubleType(), LANES)


class _LanesType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Lanes")


_lanes = _LanesType()


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _VECTOR)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), _VECTOR.as_pointer())


@intrinsic
def load(typing_context, array, offset):
    """Return eight numbers of a flat array from an offset on."""

    def code(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], *args)
        return builder.load(pointer, align=8)

    return _lanes(array, types.intp), code


@intrinsic
def store(typing_context, array, offset, value):
    """Write eight numbers to a flat array from an offset on."""

    def code(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        builder.store(args[2], pointer, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, _lanes), code


def _eight_times(builder, value):
    one = builder.insert_element(
        ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
    )
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), mask)


@intrinsic
def splat(typing_context, value):
    """Return eight times the same number."""

    def code(context, builder, signature, args):
        return _eight_times(builder, args[0])

    return _lanes(types.float64), code


@intrinsic
def spread(typing_context, array, offset):
    """Return eight times a number of a flat array, whose offset is not negative."""

    def code(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return _eight_times(builder, builder.load(builder.gep(data, [args[1]])))

    return _lanes(array, types.intp), code


@intrinsic
def add(typing_context, a, b):
    """Return a + b."""

    def code(context, builder, signature, args):
        return builder.fadd(*args)

    return _lanes(_lanes, _lanes), code


@intrinsic
def sub(typing_context, a, b):
    """Return a - b."""

    def code(context, builder, signature, args):
        return builder.fsub(*args)

    return _lanes(_lanes, _lanes), code


@intrinsic
def mul(typing_context, a, b):
    """Return a b."""

    def code(context, builder, signature, args):
        return builder.fmul(*args)

    return _lanes(_lanes, _lanes), code


@intrinsic
def fma(typing_context, a, b, c):
    """Return a b + c, in one rounding where the processor can."""

    def code(context, builder, signature, args):
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        fused = cgutils.get_or_insert_function(builder.module, kind, "llvm.fmuladd.v8f64")
        return builder.call(fused, args)

    return _lanes(_lanes, _lanes, _lanes), code


@intrinsic
def fnma(typing_context, a, b, c):
    """Return c - a b, in one rounding where the processor can."""

    def code(context, builder, signature, args):
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        fused = cgutils.get_or_insert_function(builder.module, kind, "llvm.fmuladd.v8f64")
        return builder.call(fused, [builder.fneg(args[0]), args[1], args[2]])

    return _lanes(_lanes, _lanes, _lanes), code


@intrinsic
def turn(typing_context, source, offset, stride, out, to):
    """Write eight rows of eight, ``stride`` apart in a flat array, as columns to another."""

    def code(context, builder, signature, args):
        source, offset, stride, out, to = args
        kinds = signature.args
        rows = []
        for _ in range(LANES):
            pointer = _pointer(context, builder, kinds[0], source, offset)
            rows.append(builder.load(pointer, align=8))
            offset = builder.add(offset, stride)
        for apart in (1, 2, 4):
            turned = list(rows)
            for i in range(LANES):
                if not i & apart:
                    one, other = rows[i], rows[i + apart]
                    low = [x if not x & apart else x - apart + LANES for x in range(LANES)]
                    high = [x + apart if not x & apart else x + LANES for x in range(LANES)]
                    for at, order in ((i, low), (i + apart, high)):
                        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), order)
                        turned[at] = builder.shuffle_vector(one, other, mask)
            rows = turned
        for row in rows:
            builder.store(row, _pointer(context, builder, kinds[3], out, to), align=8)
            to = builder.add(to, ir.Constant(to.type, LANES))
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, out, types.intp), code


def radices_of(n: int) -> tuple[int, ...]:
    """Return factors 4, 5, 3, 2 whose product is ``n``, in the order of the stages.

    Parameters
    ----------
    n : int
        Length of a transform.

    Returns
    -------
    tuple of int
        Empty for 1.

    Raises
    ------
    ValueError
        If there are other prime factors.
    """
    found = []
    for radix in (4, 5, 3, 2):
        while n % radix == 0:
            found.append(radix)
            n //= radix
    if n != 1:
        msg = f"a transform's length may have the factors 2, 3 and 5 only; {n} is left"
        raise ValueError(msg)
    return tuple(found)


def places_of(radices: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return where each sample goes before the transform, shape (n,)."""
    n = int(np.prod(radices, dtype=np.int64)) if radices else 1
    place = np.empty(n, dtype=np.int64)
    for position in range(n):
        rest, index, digits = position, 0, []
        for radix in radices:
            digits.append(rest % radix)
            rest //= radix
        for radix, digit in zip(radices, digits, strict=True):
            index = index * radix + digit
        place[index] = position
    return place


def twiddles_of(radices: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the factors of each stage in the order of their use, real, imaginary, flat."""
    span, found = 1, [np.empty(0)]
    for radix in radices:
        power = np.outer(np.arange(span), np.arange(1, radix))
        found.append(np.exp(-2j * np.pi * power / (span * radix)).ravel().view(np.float64))
        span *= radix
    return np.concatenate(found)


@njit(**_STAGE)
def aligned(n):
    """Return an empty array whose vectors do not straddle cache lines."""
    whole = np.empty(n + LANES)
    skip = (-whole.ctypes.data // 8) % LANES
    return whole[skip : skip + n]


@njit(**_STAGE, inline="always")
def _turned(re, im, at, twiddles, to):
    """Return eight numbers times a factor."""
    x, y, c, s = load(re, at), load(im, at), spread(twiddles, to), spread(twiddles, to + 1)
    return fnma(y, s, mul(x, c)), fma(x, s, mul(y, c))


@njit(**_STAGE)
def _twos(re, im, n, span, twiddles, first):
    s8 = span * 8
    for block in range(0, n, 2 * span):
        for j in range(span):
            i0 = (block + j) * 8
            ar, ai = load(re, i0), load(im, i0)
            br, bi = _turned(re, im, i0 + s8, twiddles, first + 2 * j)
            store(re, i0, add(ar, br))
            store(im, i0, add(ai, bi))
            store(re, i0 + s8, sub(ar, br))
            store(im, i0 + s8, sub(ai, bi))


@njit(**_STAGE)
def _threes(re, im, n, span, twiddles, first):
    s8 = span * 8
    third, half = splat(-0.8660254037844386), splat(-0.5)
    for block in range(0, n, 3 * span):
        for j in range(span):
            i0 = (block + j) * 8
            i1, i2 = i0 + s8, i0 + 2 * s8
            ar, ai = load(re, i0), load(im, i0)
            br, bi = _turned(re, im, i1, twiddles, first + 4 * j)
            cr, ci = _turned(re, im, i2, twiddles, first + 4 * j + 2)
            tr, ti = add(br, cr), add(bi, ci)
            ur, ui = fma(half, tr, ar), fma(half, ti, ai)
            # (b - c) times -i sin(2 pi / 3)
            vr, vi = mul(third, sub(ci, bi)), mul(third, sub(br, cr))
            store(re, i0, add(ar, tr))
            store(im, i0, add(ai, ti))
            store(re, i1, add(ur, vr))
            store(im, i1, add(ui, vi))
            store(re, i2, sub(ur, vr))
            store(im, i2, sub(ui, vi))


@njit(**_STAGE, inline="always")
def quartet(re, im, i0, s8, ar, ai, br, bi, cr, ci, dr, di):
    """Write the transform of four samples to four places."""
    pr, pi, qr, qi = add(ar, cr), add(ai, ci), sub(ar, cr), sub(ai, ci)
    ur, ui, vr, vi = add(br, dr), add(bi, di), sub(bi, di), sub(dr, br)
    i1, i2, i3 = i0 + s8, i0 + 2 * s8, i0 + 3 * s8
    store(re, i0, add(pr, ur))
    store(im, i0, add(pi, ui))
    store(re, i1, add(qr, vr))
    store(im, i1, add(qi, vi))
    store(re, i2, sub(pr, ur))
    store(im, i2, sub(pi, ui))
    store(re, i3, sub(qr, vr))
    store(im, i3, sub(qi, vi))


@njit(**_STAGE)
def _fours(re, im, n, span, twiddles, first):
    s8 = span * 8
    for block in range(0, n, 4 * span):
        for j in range(span):
            i0, to = (block + j) * 8, first + 6 * j
            ar, ai = load(re, i0), load(im, i0)
            br, bi = _turned(re, im, i0 + s8, twiddles, to)
            cr, ci = _turned(re, im, i0 + 2 * s8, twiddles, to + 2)
            dr, di = _turned(re, im, i0 + 3 * s8, twiddles, to + 4)
            quartet(re, im, i0, s8, ar, ai, br, bi, cr, ci, dr, di)


@njit(**_STAGE)
def _fives(re, im, n, span, twiddles, first):
    s8 = span * 8
    c1, c2 = splat(0.30901699437494745), splat(-0.8090169943749475)
    s1, s2 = splat(0.9510565162951535), splat(0.5877852522924731)
    for block in range(0, n, 5 * span):
        for j in range(span):
            i0, to = (block + j) * 8, first + 8 * j
            i1, i2, i3, i4 = i0 + s8, i0 + 2 * s8, i0 + 3 * s8, i0 + 4 * s8
            ar, ai = load(re, i0), load(im, i0)
            br, bi = _turned(re, im, i1, twiddles, to)
            cr, ci = _turned(re, im, i2, twiddles, to + 2)
            dr, di = _turned(re, im, i3, twiddles, to + 4)
            er, ei = _turned(re, im, i4, twiddles, to + 6)
            pr, pi, mr, mi = add(br, er), add(bi, ei), sub(br, er), sub(bi, ei)
            qr, qi, nr, ni = add(cr, dr), add(ci, di), sub(cr, dr), sub(ci, di)
            store(re, i0, add(ar, add(pr, qr)))
            store(im, i0, add(ai, add(pi, qi)))
            ur, ui = fma(c1, pr, fma(c2, qr, ar)), fma(c1, pi, fma(c2, qi, ai))
            vr, vi = fma(c2, pr, fma(c1, qr, ar)), fma(c2, pi, fma(c1, qi, ai))
            # -i (s1 m + s2 n) and -i (s2 m - s1 n)
            fr, fi = fma(s1, mi, mul(s2, ni)), fma(s1, mr, mul(s2, nr))
            gr, gi = sub(mul(s2, mi), mul(s1, ni)), sub(mul(s2, mr), mul(s1, nr))
            store(re, i1, add(ur, fr))
            store(im, i1, sub(ui, fi))
            store(re, i4, sub(ur, fr))
            store(im, i4, add(ui, fi))
            store(re, i2, add(vr, gr))
            store(im, i2, sub(vi, gi))
            store(re, i3, sub(vr, gr))
            store(im, i3, add(vi, gi))


@njit(**_STAGE)
def transform(re, im, n, radices, done, twiddles):
    """Transform eight columns of length ``n`` in place.

    ``re`` and ``im`` are flat, sample by sample, in the order of ``places_of``; the factors are
    those of ``twiddles_of``. So many first stages may be ``done``.
    """
    span, first = 1, 0
    for stage in range(radices.size):
        radix = radices[stage]
        if stage >= done:
            if radix == 2:
                _twos(re, im, n, span, twiddles, first)
            elif radix == 3:
                _threes(re, im, n, span, twiddles, first)
            elif radix == 4:
                _fours(re, im, n, span, twiddles, first)
            else:
                _fives(re, im, n, span, twiddles, first)
        first += 2 * span * (radix - 1)
        span *= radix
