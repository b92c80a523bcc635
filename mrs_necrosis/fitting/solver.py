"""Which solver minimises: the numpy reference, or its compiled twin.

Both state the same objective and run the same algorithm; one evaluation agrees to rounding and
converged areas to a hundredth of their standard deviation. Each is bit-identical with itself
whatever the chunk, the threads or the order of voxels.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from scipy.fft import fft

from mrs_necrosis.fitting.posterior import average
from mrs_necrosis.fitting.varpro import (
    MOST_ITERATIONS,
    TOLERANCE,
    aim_of,
    eliminate,
    minimise,
    time_columns,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.fitting.objective import Box, Objective
    from mrs_necrosis.fitting.posterior import Posterior
    from mrs_necrosis.fitting.problem import Problem
    from mrs_necrosis.fitting.varpro import State

    Floats = NDArray[np.float64]

Backend = Literal["auto", "numpy", "compiled"]
BackendName = Literal["numpy", "compiled"]

LONE_VOXELS = 8
"""Fewer are fitted by numpy, whatever is compiled: loading the compiled fit takes as long, and the
bytes of a result do not depend on what the machine did before."""

FEW_VOXELS = 200
"""So few do not wait for a compiler: it takes 40 s, and numpy some 40 ms a voxel."""


class Solver(Protocol):
    """What a fit needs to have done, for V voxels at once; shapes as in ``varpro``."""

    name: str
    problem: Problem

    def eliminate(self, objective: Objective, theta: Floats) -> tuple[Floats, Floats, Floats]:
        """Return chi-square (V,), amplitudes (V, K) and their sd; see ``varpro.eliminate``."""
        ...

    def minimise(
        self,
        objective: Objective,
        theta: Floats,
        box: Box,
        *,
        most_iterations: int = MOST_ITERATIONS,
        tolerance: float = TOLERANCE,
    ) -> tuple[State, NDArray[np.bool_]]:
        """Return the optimum and whether it was reached; see ``varpro.minimise``."""
        ...

    def aim(self, objective: Objective, theta: Floats) -> Floats:
        """Return where the priors of the parameters aim, (V, P); see ``varpro.aim_of``."""
        ...

    def average(self, objective: Objective, state: State, stuck: NDArray[np.bool_]) -> Posterior:
        """Average over the stiffness of the baseline; see ``posterior.average``."""
        ...

    def spectrum(self, theta: Floats, amplitudes: Floats) -> NDArray[np.complex128]:
        """Return the modelled spectrum without the baseline, shape (V, M)."""
        ...


class NumpySolver:
    """The readable reference.

    Parameters
    ----------
    problem : Problem
        The shared part.
    """

    name = "numpy"
    eliminate = staticmethod(eliminate)
    minimise = staticmethod(minimise)
    aim = staticmethod(aim_of)
    average = staticmethod(average)

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def spectrum(self, theta: Floats, amplitudes: Floats) -> NDArray[np.complex128]:
        """Return the modelled spectrum without the baseline, shape (V, M)."""
        columns = fft(time_columns(self.problem, theta), axis=2)
        band = columns[:, :, : self.problem.frequency_hz.size]
        summed: NDArray[np.complex128] = (band * amplitudes[:, :, None]).sum(axis=1)
        return summed


def choose_backend(backend: Backend, voxels: int) -> BackendName:
    """Return which solver is used.

    Parameters
    ----------
    backend : {"auto", "numpy", "compiled"}
        What was asked for. ``"auto"`` is numpy for a handful of voxels or without numba, and
        for a few more if the other was not compiled on this machine before.
    voxels : int
        That are to be fitted.

    Returns
    -------
    {"numpy", "compiled"}
        What it comes to.

    Raises
    ------
    ValueError
        If there is no such backend.
    """
    if backend not in {"auto", "numpy", "compiled"}:
        msg = f"backend must be 'auto', 'numpy' or 'compiled'; got {backend!r}"
        raise ValueError(msg)
    if backend != "auto":
        return "numpy" if backend == "numpy" else "compiled"
    if find_spec("numba") is None or voxels < LONE_VOXELS:
        return "numpy"
    if voxels < FEW_VOXELS:
        from mrs_necrosis.fitting.kernel_cache import is_cached

        return "compiled" if is_cached() else "numpy"
    return "compiled"


def solver_for(problem: Problem, backend: BackendName, threads: int) -> Solver:
    """Return a solver of one problem; ``threads`` are the compiled one's."""
    if backend == "numpy":
        return NumpySolver(problem)
    from mrs_necrosis.fitting.compiled import CompiledSolver, ensure_compiled

    ensure_compiled()
    return CompiledSolver(problem, threads)
