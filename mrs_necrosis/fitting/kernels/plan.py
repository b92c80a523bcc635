"""A problem laid out for the kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from mrs_necrosis.fitting.kernels.lanes import LANES, places_of, radices_of, twiddles_of
from mrs_necrosis.fitting.model import GAUSS_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.fitting.problem import Problem

_KINDS: Final = ("phase", "begin", "shift", "lorentz", "gauss2")
PHASE, BEGIN, SHIFT, LORENTZ, GAUSS2 = range(5)
"""What ``Plan.kind`` says of a parameter; those from ``SHIFT`` on modulate components."""

NEGLIGIBLE: Final = 1e-15
"""Of a component's largest sample: what is smaller is left out."""


class Plan(NamedTuple):
    """A problem as flat arrays: K components, P parameters, C classes, N = D H samples."""

    k: int
    p: int
    c: int
    m: int
    d: int
    h: int
    dwell: float
    basis_re: NDArray[np.float64]  # (K, N), series by series
    basis_im: NDArray[np.float64]
    lanes_re: NDArray[np.float64]  # (columns / 8, N, 8), flat
    lanes_im: NDArray[np.float64]
    shape_of: NDArray[np.int64]  # (columns,), padded with class 0
    lasting: NDArray[np.int64]  # (K,): samples of each series before it is over
    acts: NDArray[np.float64]  # (P, C)
    set_of: NDArray[np.int64]  # (P,): the set of classes that a parameter acts on
    set_size: NDArray[np.int64]  # (S,)
    set_classes: NDArray[np.int64]  # (S, C), the first so many
    set_factor: NDArray[np.float64]  # (S, C): by how much on each of them
    kind: NDArray[np.int64]
    start: NDArray[np.float64]
    precision: NDArray[np.float64]  # of the parameters' priors, (P,)
    modes: NDArray[np.float64]  # (M, B)
    halves: NDArray[np.float64]  # of the even and the odd modes, (2, (M + 1) / 2, padded)
    mode_of: NDArray[np.int64]  # of each column of the halves, flat; -1 for none
    omega: NDArray[np.float64]
    place: NDArray[np.int64]
    radices: NDArray[np.int64]
    twiddles: NDArray[np.float64]
    joint_re: NDArray[np.float64]  # (D, M)
    joint_im: NDArray[np.float64]


class Given(NamedTuple):
    """What an ``Objective`` gives: the arrays of V voxels or of one."""

    data: NDArray[np.complex128]  # (V, M)
    precision: NDArray[np.float64]  # (V, K, K)
    pull: NDArray[np.float64]  # (V, K)
    shrink: NDArray[np.float64]  # (V, B)
    aim: NDArray[np.float64]  # (V, P)


class Found(NamedTuple):
    """What a ``State`` holds, but for chi-square: the arrays of V voxels or of one."""

    theta: NDArray[np.float64]  # (V, P)
    amplitudes: NDArray[np.float64]  # (V, K)
    gram: NDArray[np.float64]  # (V, K + P + 1, K + P + 1)
    smooth: NDArray[np.float64]  # (V, K + P + 1, 2 B)


class Source(NamedTuple):
    """Columns before they are modulated: blocks of eight, series by series, flat."""

    re: NDArray[np.float64]
    im: NDArray[np.float64]
    shape_of: NDArray[np.int64]  # class of each column


class Workspace(NamedTuple):
    """Where the linear part of one voxel is worked out."""

    columns: NDArray[np.float64]  # components and, behind them, the phased data, (2 M, columns)
    kept: NDArray[np.float64]  # their Gram matrix without the baseline, with the prior
    upper: NDArray[np.float64]  # its factor, (K, eights)


class Slopes(NamedTuple):
    """Inner products of the derivatives of one voxel."""

    cross: NDArray[np.float64]  # with components and data
    square: NDArray[np.float64]  # with themselves
    modes: NDArray[np.float64]  # with the smooth modes


def _padded(n: int) -> int:
    return -(-n // LANES) * LANES


def _aligned(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a copy whose vectors do not straddle the processor's cache lines."""
    whole = np.empty(array.size + LANES)
    skip = -whole.ctypes.data // 8 % LANES
    copy = whole[skip : skip + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def _half_modes(
    modes: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return half of each even and each odd mode, and which mode each column is."""
    m = modes.shape[0]
    even = np.einsum("mb,mb->b", modes, modes[::-1]) > 0
    chosen = [np.flatnonzero(even), np.flatnonzero(~even)]
    wide = _padded(max(len(chosen[0]), len(chosen[1])))
    half = (m + 1) // 2
    halves = np.zeros((2, half, wide))
    mode_of = np.full((2, wide), -1, dtype=np.int64)
    for part, index in enumerate(chosen):
        halves[part, :, : len(index)] = modes[:half, index]
        mode_of[part, : len(index)] = index
    return halves, mode_of.ravel()


def _lasting(problem: Problem) -> NDArray[np.int64]:
    """Return how many samples of each component are not zero in all their digits, shape (K,).

    Whatever its width in the box: broad lines are over in half of the time.
    """
    t = problem.time_s
    slowest = np.ones((problem.acts.shape[1], t.size))
    for kind, decay in (("lorentz", -np.pi * t), ("gauss2", -GAUSS_RATE * t**2)):
        index = problem.index(kind)
        ends = (
            bound[index, None] * problem.acts[index] for bound in (problem.lower, problem.upper)
        )
        slowest *= np.exp(np.minimum(*ends).sum(axis=0)[:, None] * decay)
    size = np.abs(problem.basis) * slowest[problem.shape_of]
    alive = size > NEGLIGIBLE * size.max(axis=1, keepdims=True)
    last: NDArray[np.int64] = t.size - alive[:, ::-1].argmax(axis=1)
    return last


def plan_of(problem: Problem) -> Plan:
    """Lay out a problem for the kernels."""
    k, n = problem.basis.shape
    m = problem.frequency_hz.size
    divisors = [d for d in range(1, n + 1) if n % d == 0 and n // d >= m]
    d = max(divisors)
    h = n // d
    radices = radices_of(h)
    columns = _padded(k + 1)
    padded = np.zeros((columns, n), dtype=np.complex128)
    padded[:k] = problem.basis
    # sample d j + r of a column is number j of its series r
    padded = padded.reshape(columns, h, d).swapaxes(1, 2).reshape(columns, n)
    lanes = padded.reshape(columns // LANES, LANES, n).swapaxes(1, 2)
    shape_of = np.zeros(columns, dtype=np.int64)
    shape_of[:k] = problem.shape_of
    halves, mode_of = _half_modes(problem.modes)
    sets, set_of = np.unique(problem.acts, axis=0, return_inverse=True)
    set_classes = np.argsort(sets == 0, axis=1, kind="stable")
    joint = np.exp(-2j * np.pi * np.outer(np.arange(d), np.arange(m)) / n)
    return Plan(
        k=k,
        p=len(problem.kind),
        c=problem.acts.shape[1],
        m=m,
        d=d,
        h=h,
        dwell=float(problem.time_s[1]),
        basis_re=np.ascontiguousarray(padded[:k].real),
        basis_im=np.ascontiguousarray(padded[:k].imag),
        lanes_re=_aligned(lanes.real).ravel(),
        lanes_im=_aligned(lanes.imag).ravel(),
        shape_of=shape_of,
        lasting=-(-_lasting(problem) // d),
        acts=problem.acts,
        set_of=set_of.ravel().astype(np.int64),
        set_size=np.count_nonzero(sets, axis=1).astype(np.int64),
        set_classes=set_classes.astype(np.int64),
        set_factor=np.take_along_axis(sets, set_classes, axis=1),
        kind=np.array([_KINDS.index(kind) for kind in problem.kind]),
        start=problem.start,
        precision=problem.sd**-2.0,
        modes=np.ascontiguousarray(problem.modes),
        halves=_aligned(halves),
        mode_of=mode_of,
        omega=problem.omega,
        place=places_of(radices),
        radices=np.array(radices, dtype=np.int64),
        twiddles=twiddles_of(radices),
        joint_re=np.ascontiguousarray(joint.real),
        joint_im=np.ascontiguousarray(joint.imag),
    )
