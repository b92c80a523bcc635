"""Eight numbers at once for numba, and a Fourier transform of eight columns that uses them.

Numba knows no vector type, and its compiler does not vectorise butterflies because it cannot
know that their rows do not overlap. So here is a type of eight doubles (LLVM makes of it what
the processor has), and a mixed-radix transform (2, 3, 4, 5; decimation in time, input in
digit-reversed order) of eight interleaved columns at once.

Numba's cache of ``kernels`` does not notice a change here: empty ``__pycache__`` after one.
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


@intrinsic
def splat(typing_context, value):
    """Return eight times the same number."""

    def code(context, builder, signature, args):
        one = builder.insert_element(
            ir.Constant(_VECTOR, ir.Undefined), args[0], ir.Constant(ir.IntType(32), 0)
        )
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), mask)

    return _lanes(types.float64), code


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


def radices_of(n: int) -> tuple[int, ...]:
    """Return factors 4, 2, 3, 5 whose product is ``n``, in the order of the stages.

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
    for radix in (5, 3, 4, 2):
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


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _turned_re(x, y, c, s):
    return fma(x, c, sub(splat(0.0), mul(y, s)))


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _turned_im(x, y, c, s):
    return fma(x, s, mul(y, c))


@njit(cache=True, nogil=True, error_model="numpy")
def transform(re, im, n, radices, table_re, table_im):
    """Transform eight columns in place.

    ``re`` and ``im`` are flat, sample by sample, in the order of ``places_of``; the tables hold
    ``exp(-2j pi k / n)``.
    """
    span = 1
    third = splat(-0.8660254037844386)
    half = splat(-0.5)
    c1, c2 = splat(0.30901699437494745), splat(-0.8090169943749475)
    s1, s2 = splat(0.9510565162951535), splat(0.5877852522924731)
    for stage in range(radices.size):
        radix = radices[stage]
        whole = span * radix
        stride = n // whole
        for j in range(span):
            w1r, w1i = splat(table_re[j * stride]), splat(table_im[j * stride])
            for block in range(0, n, whole):
                i0 = (block + j) * 8
                i1 = i0 + span * 8
                ar, ai = load(re, i0), load(im, i0)
                xr, xi = load(re, i1), load(im, i1)
                br, bi = _turned_re(xr, xi, w1r, w1i), _turned_im(xr, xi, w1r, w1i)
                if radix == 2:
                    store(re, i0, add(ar, br))
                    store(im, i0, add(ai, bi))
                    store(re, i1, sub(ar, br))
                    store(im, i1, sub(ai, bi))
                    continue
                i2 = i1 + span * 8
                w2r, w2i = splat(table_re[2 * j * stride]), splat(table_im[2 * j * stride])
                xr, xi = load(re, i2), load(im, i2)
                cr, ci = _turned_re(xr, xi, w2r, w2i), _turned_im(xr, xi, w2r, w2i)
                if radix == 3:
                    tr, ti = add(br, cr), add(bi, ci)
                    ur, ui = fma(half, tr, ar), fma(half, ti, ai)
                    # (b - c) times -i sin(2 pi / 3)
                    vr = mul(third, sub(ci, bi))
                    vi = mul(third, sub(br, cr))
                    store(re, i0, add(ar, tr))
                    store(im, i0, add(ai, ti))
                    store(re, i1, add(ur, vr))
                    store(im, i1, add(ui, vi))
                    store(re, i2, sub(ur, vr))
                    store(im, i2, sub(ui, vi))
                    continue
                i3 = i2 + span * 8
                w3r, w3i = splat(table_re[3 * j * stride]), splat(table_im[3 * j * stride])
                xr, xi = load(re, i3), load(im, i3)
                dr, di = _turned_re(xr, xi, w3r, w3i), _turned_im(xr, xi, w3r, w3i)
                if radix == 4:
                    pr, pi = add(ar, cr), add(ai, ci)
                    qr, qi = sub(ar, cr), sub(ai, ci)
                    ur, ui = add(br, dr), add(bi, di)
                    vr, vi = sub(bi, di), sub(dr, br)
                    store(re, i0, add(pr, ur))
                    store(im, i0, add(pi, ui))
                    store(re, i1, add(qr, vr))
                    store(im, i1, add(qi, vi))
                    store(re, i2, sub(pr, ur))
                    store(im, i2, sub(pi, ui))
                    store(re, i3, sub(qr, vr))
                    store(im, i3, sub(qi, vi))
                    continue
                i4 = i3 + span * 8
                w4r, w4i = splat(table_re[4 * j * stride]), splat(table_im[4 * j * stride])
                xr, xi = load(re, i4), load(im, i4)
                er, ei = _turned_re(xr, xi, w4r, w4i), _turned_im(xr, xi, w4r, w4i)
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
        span = whole
