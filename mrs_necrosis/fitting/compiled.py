"""The compiled solver: the objective and the algorithm of ``varpro``, voxel by voxel in numba.

Every voxel has its own workspace and sees no other, so the result does not depend on chunks,
threads or order. Worker threads share the voxels; the kernels release the interpreter's lock.
Nothing of numba's own thread pool is used, which could neither be nested nor forked, and nothing
of BLAS. Imported only when the compiled backend is chosen.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mrs_necrosis.fitting.kernel_cache import compile_apart, is_cached
from mrs_necrosis.fitting.kernels.averaging import average_range
from mrs_necrosis.fitting.kernels.plan import Found, Given, plan_of
from mrs_necrosis.fitting.kernels.search import (
    aim_range,
    linear_range,
    minimise_range,
    spectrum_range,
)
from mrs_necrosis.fitting.objective import Box, Objective
from mrs_necrosis.fitting.posterior import TRUST, Posterior
from mrs_necrosis.fitting.priors import default_model
from mrs_necrosis.fitting.problem import prepare
from mrs_necrosis.fitting.varpro import INTEGRATED, MOST_ITERATIONS, TOLERANCE, State
from mrs_necrosis.spectra import Acquisition, Spectra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.fitting.problem import Problem

_log = logging.getLogger(__name__)

_PER_THREAD: Final = 4
"""Voxels that a worker thread takes at a time."""


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
        given, theta = _given(objective), _flat_copy(theta)
        self._spread(linear_range, voxels, self.plan, given, theta, chi_square, amplitudes, sd)
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
        self._spread(
            minimise_range, voxels, self.plan, _given(objective), tuple(map(_flat_copy, box)),
            (most_iterations, tolerance), _found(state), state.chi_square, end,
        )  # fmt: skip
        return state, end == 1

    def aim(self, objective: Objective, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where the priors of the parameters aim; see ``varpro.aim_of``."""
        aim = np.empty(theta.shape)
        given, theta = _given(objective), _flat_copy(theta)
        self._spread(aim_range, theta.shape[0], self.plan, given, theta, INTEGRATED, aim)
        return aim

    def average(self, objective: Objective, state: State, stuck: NDArray[np.bool_]) -> Posterior:
        """Average over the stiffness of the baseline; see ``posterior.average``."""
        voxels, n = state.theta.shape[0], self.plan.k + self.plan.p
        candidates = np.ascontiguousarray(self.problem.candidates())
        made = Posterior(
            np.empty((voxels, n)), np.empty((voxels, n, n)), np.empty((voxels, len(candidates)))
        )
        self._spread(
            average_range, voxels, self.plan, _given(objective), _found(state), _flat_copy(stuck),
            candidates, TRUST, (made.mean, made.covariance, made.weight),
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


def _given(objective: Objective) -> Given:
    return Given(*(_flat_copy(getattr(objective, name)) for name in Given._fields))


def _found(state: State) -> Found:
    return Found(*(getattr(state, name) for name in Found._fields))


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
