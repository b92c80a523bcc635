"""The compiled solver: the objective and the algorithm of ``varpro``, voxel by voxel in numba.

Every voxel has its own workspace and sees no other, so the result does not depend on chunks,
threads or order. Worker threads share the voxels; the kernels release the interpreter's lock.
Nothing of numba's own thread pool is used, which could neither be nested nor forked, and nothing
of BLAS. Imported only when the compiled backend is chosen.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from mrs_necrosis.fitting.kernel_cache import compile_apart, is_cached
from mrs_necrosis.fitting.kernels import (
    aim_range,
    average_range,
    linear_range,
    minimise_range,
    spectrum_range,
)
from mrs_necrosis.fitting.lanes import LANES, places_of, radices_of, twiddles_of
from mrs_necrosis.fitting.model import GAUSS_RATE, default_model
from mrs_necrosis.fitting.objective import Box, Objective
from mrs_necrosis.fitting.posterior import TRUST, Posterior
from mrs_necrosis.fitting.problem import prepare
from mrs_necrosis.fitting.varpro import INTEGRATED, MOST_ITERATIONS, TOLERANCE, State
from mrs_necrosis.spectra import Acquisition, Spectra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.fitting.problem import Problem

_log = logging.getLogger(__name__)

_KINDS: Final = {"phase": 0, "begin": 1, "shift": 2, "lorentz": 3, "gauss2": 4}
NEGLIGIBLE: Final = 1e-15
"""Of a component's largest sample: what is smaller is left out."""

_PER_THREAD: Final = 4
"""Voxels that a worker thread takes at a time."""


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
        kind=np.array([_KINDS[kind] for kind in problem.kind]),
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


class CompiledSolver:
    """The compiled twin of ``solver.NumpySolver``.

    Parameters
    ----------
    problem : Problem
        The shared part.
    threads : int
        That share the voxels.
    """

    name = "compiled"

    def __init__(self, problem: Problem, threads: int = 1) -> None:
        self.problem = problem
        self.threads = threads
        self.plan = plan_of(problem)

    def _spread(self, kernel: Any, voxels: int, *arguments: Any) -> None:
        """Run a kernel over the voxels, in as many threads as there are."""
        if self.threads == 1 or voxels <= _PER_THREAD:
            kernel(0, voxels, *arguments)
            return
        parts = range(0, voxels, _PER_THREAD)
        with ThreadPoolExecutor(self.threads) as pool:
            jobs = [
                pool.submit(kernel, a, min(a + _PER_THREAD, voxels), *arguments) for a in parts
            ]
            for job in jobs:
                job.result()

    def eliminate(
        self, objective: Objective, theta: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return chi-square, amplitudes and their sd; see ``varpro.eliminate``."""
        voxels = theta.shape[0]
        chi_square = np.empty(voxels)
        amplitudes, sd = np.empty((2, voxels, self.plan.k))
        given = (objective.data, theta, objective.precision, objective.pull, objective.shrink)
        self._spread(
            linear_range, voxels, self.plan, *map(_flat_copy, given), chi_square, amplitudes, sd
        )
        return chi_square, amplitudes, sd

    def minimise(
        self,
        objective: Objective,
        theta: NDArray[np.float64],
        box: Box,
        *,
        most_iterations: int = MOST_ITERATIONS,
        tolerance: float = TOLERANCE,
    ) -> tuple[State, NDArray[np.bool_]]:
        """Minimise in every voxel; see ``varpro.minimise``. A voxel that fails is NaN."""
        voxels, total = theta.shape[0], self.plan.k + self.plan.p + 1
        state = State(
            np.array(theta, dtype=np.float64),
            np.empty(voxels),
            np.empty((voxels, self.plan.k)),
            np.empty((voxels, total, total)),
            np.empty((voxels, total, 2 * self.problem.roughness.size)),
        )
        end = np.empty(voxels, dtype=np.int64)
        weighing = (objective.precision, objective.pull, objective.shrink, objective.aim)
        self._spread(
            minimise_range, voxels, self.plan, _flat_copy(objective.data), state.theta,
            *map(_flat_copy, (*box, *weighing)), most_iterations, tolerance,
            state.gram, state.smooth, state.amplitudes, state.chi_square, end,
        )  # fmt: skip
        return state, end == 1

    def aim(self, objective: Objective, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where the priors of the parameters aim; see ``varpro.aim_of``."""
        aim = np.empty(theta.shape)
        given = map(_flat_copy, (theta, objective.precision, objective.shrink))
        self._spread(aim_range, theta.shape[0], self.plan, *given, INTEGRATED, aim)
        return aim

    def average(self, objective: Objective, state: State, stuck: NDArray[np.bool_]) -> Posterior:
        """Average over the stiffness of the baseline; see ``posterior.average``."""
        voxels, n = state.theta.shape[0], self.plan.k + self.plan.p
        candidates = np.ascontiguousarray(self.problem.candidates())
        made = Posterior(
            np.empty((voxels, n)), np.empty((voxels, n, n)), np.empty((voxels, len(candidates)))
        )
        given = (stuck, objective.precision, objective.pull, objective.aim)
        self._spread(
            average_range, voxels, self.plan, candidates, TRUST, state.theta, state.amplitudes,
            state.gram, state.smooth, *map(_flat_copy, given), made.mean, made.covariance,
            made.weight,
        )  # fmt: skip
        return made

    def spectrum(
        self, theta: NDArray[np.float64], amplitudes: NDArray[np.float64]
    ) -> NDArray[np.complex128]:
        """Return the modelled spectrum without the baseline, shape (V, M)."""
        out = np.empty((theta.shape[0], self.plan.m), dtype=np.complex128)
        arguments = map(_flat_copy, (theta, amplitudes))
        self._spread(spectrum_range, theta.shape[0], self.plan, *arguments, out)
        return out


def _flat_copy(array: NDArray[Any]) -> NDArray[Any]:
    """Return a contiguous, writable array: one kind, so that one kernel is compiled."""
    return np.require(array, requirements=["C", "W"])


def ensure_compiled() -> None:
    """Have the kernels compiled in a process apart, unless they are here or in the cache."""
    if minimise_range.signatures or is_cached():
        return
    _log.warning("compiling the fit for this processor; the result is kept for next time")
    compile_apart()


def _call_all() -> None:
    """Call every kernel once, on one voxel of nothing in particular."""
    acquisition = Acquisition(
        spectrometer_frequency_mhz=123.2, dwell_time_s=1e-3, nucleus="1H", reference_ppm=4.65
    )
    spectra = Spectra(fid=np.ones((1, 1, 1, 512), dtype=np.complex128), acquisition=acquisition)
    problem = prepare(spectra, default_model(acquisition, kind="peaks"))
    solver = CompiledSolver(problem)
    data = problem.in_band(spectra.fid.reshape(1, -1))
    k = len(problem.model.components)
    theta = problem.start[None]
    objective = Objective(
        problem, data, np.eye(k)[None], np.zeros((1, k)), problem.candidates()[:1], aim=theta
    )
    box = Box(problem.lower[None], problem.upper[None])
    solver.eliminate(objective, theta)
    solver.aim(objective, theta)
    state, _ = solver.minimise(objective, theta, box, most_iterations=1)
    solver.average(objective, state, np.zeros(theta.shape, dtype=bool))
    solver.spectrum(theta, state.amplitudes)
