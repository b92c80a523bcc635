"""``fit``: from spectra to areas, for any number of voxels."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from mrs_necrosis.arguments import (
    check_executor,
    check_path,
    check_progress,
    check_type,
    check_whole,
)
from mrs_necrosis.fitting.assembly import VoxelArrays, of_areas, result_of
from mrs_necrosis.fitting.echo import suited_model
from mrs_necrosis.fitting.inspection import at_wall, tallest, unexplained_hz
from mrs_necrosis.fitting.model import Model, misshapen
from mrs_necrosis.fitting.optimum import (
    noise_in_fit,
    noise_unit,
    optimise,
    residual_ratio,
)
from mrs_necrosis.fitting.pieces import PIECE, Executor, run, some_of
from mrs_necrosis.fitting.problem import prepare
from mrs_necrosis.fitting.result import Fit
from mrs_necrosis.fitting.solver import Backend, choose_backend, solver_for
from mrs_necrosis.fitting.varpro import root_diagonal, row_by_row
from mrs_necrosis.processors import available_processors
from mrs_necrosis.quality import FitStatus
from mrs_necrosis.spectra import Spectra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.fitting.optimum import Optimum
    from mrs_necrosis.fitting.problem import Problem
    from mrs_necrosis.fitting.solver import BackendName, Solver

CHUNKS = {"numpy": 16, "compiled": 64}
"""Voxels that are fitted together; more do not fit the processor's cache and are slower."""


def fit(
    spectra: Spectra,
    model: Model | None = None,
    *,
    backend: Backend = "auto",
    threads: int | None = None,
    chunk: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    executor: Executor | None = None,
    keep: str | PathLike[str] | None = None,
) -> Fit:
    """Fit a model to every voxel.

    Parameters
    ----------
    spectra : Spectra
        Of V = X Y Z voxels.
    model : Model or None
        ``suited_model(spectra)`` by default.
    backend : {"auto", "numpy", "compiled"}
        Which solver minimises; see ``solver.choose_backend``.
    threads : int or None
        That share the voxels in the compiled solver; by default as many as there are processors
        for this process, and one for each worker of an ``executor``. The numbers are the same.
    chunk : int or None
        Voxels that are fitted together; memory grows with it and with nothing else.
    progress : callable or None
        Called with the number of voxels done and their total.
    executor : Executor or None
        Where pieces of the grid are fitted; here if None. The numbers are the same.
    keep : path or None
        Folder in which finished pieces are kept until the caller removes it, so that
        interrupted work goes on where it stopped.

    Returns
    -------
    Fit
        A voxel that cannot be fitted has NaN areas and a status that says why; it disturbs no
        other.

    Raises
    ------
    FitError
        If the model cannot be laid under these spectra at all.
    ValueError
        If ``chunk`` or ``threads`` is no positive whole number, or there is no such backend.
    TypeError
        If ``spectra`` is something else, such as data that were not preprocessed, or another
        argument is.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> rng = np.random.default_rng(1)
    >>> made = phantom("normal_white_matter", rng, snr=40.0)
    >>> fitted = fit(made.spectra)
    >>> int(fitted.status[0, 0, 0]), fitted.areas.covariance is not None
    (0, True)
    """
    check_type("spectra", spectra, Spectra, "Spectra, such as preprocess returns")
    check_type("model", model, Model, "a Model, such as default_model makes", optional=True)
    check_whole("chunk", chunk, 1, optional=True)
    check_whole("threads", threads, 1, optional=True)
    check_progress(progress)
    check_executor(executor)
    check_path("keep", keep, optional=True)
    model = suited_model(spectra) if model is None else model
    # for the whole of it: the limit is the process's, and of two threads that each set it the
    # first to end would lift it for the other
    with threadpool_limits(limits=1, user_api="blas"):
        problem = prepare(spectra, model)
        todo = np.ravel(spectra.voxels_to_fit)
        out = VoxelArrays.empty(todo.size, problem)
        at = np.flatnonzero(todo)
        chosen = [at[start : start + PIECE] for start in range(0, at.size, PIECE)]
        chosen_backend = choose_backend(backend, at.size)
        if threads is None:
            threads = 1 if executor is not None else available_processors()
        how = (chosen_backend, threads, CHUNKS[chosen_backend] if chunk is None else chunk)
        work = ((problem, some_of(spectra, rows), *how) for rows in chosen)
        done, folder = 0, None if keep is None else Path(keep)
        for rows, found in zip(
            chosen, run(work, _solve, executor=executor, keep=folder), strict=True
        ):
            out.put(rows, found)
            done += rows.size
            if progress is not None:
                progress(done, at.size)
        return result_of(spectra, problem, out, backend=chosen_backend)


def _solve(
    problem: Problem, spectra: Spectra, backend: BackendName, threads: int, chunk: int
) -> dict[str, NDArray[Any]]:
    """Fit the voxels of one piece; importable by the workers of an executor."""
    fid = spectra.fid.reshape(-1, spectra.n_samples)
    out = VoxelArrays.empty(fid.shape[0], problem)
    out.status = _status_before(fid)
    todo = np.flatnonzero(out.status == FitStatus.OK)
    solver = solver_for(problem, backend, threads)
    with threadpool_limits(limits=1, user_api="blas"):
        out.sd = noise_in_fit(spectra, problem)
        out.sd[todo] = noise_unit(problem.in_band(fid[todo]), out.sd[todo])
        for start in range(0, todo.size, chunk):
            at = todo[start : start + chunk]
            # a voxel that failed is NaN in the compiled solver, and its arithmetic goes on
            with np.errstate(invalid="ignore", over="ignore"):
                _fit_chunk(solver, fid[at], out, at)
    bad = ~np.isin(out.status, [s for s in FitStatus if s.has_areas])
    out.amplitudes[bad] = np.nan
    out.covariance[bad] = np.nan
    out.theta[bad] = np.nan
    return out.by_name()


def _status_before(fid: NDArray[np.complex128]) -> NDArray[np.uint8]:
    status = np.full(fid.shape[0], FitStatus.OK, dtype=np.uint8)
    status[~fid.any(axis=1)] = FitStatus.NO_SIGNAL
    status[~np.isfinite(fid).all(axis=1)] = FitStatus.NOT_FINITE
    return status


def _fit_chunk(
    solver: Solver, fid: NDArray[np.complex128], out: VoxelArrays, at: NDArray[np.intp]
) -> None:
    """Fit some voxels and write them to their places in ``out``, which has their noise."""
    problem = solver.problem
    data, sd = problem.in_band(fid), out.sd[at]
    try:
        found = optimise(solver, data / sd[:, None])
    except np.linalg.LinAlgError:
        if at.size == 1:
            out.status[at] = FitStatus.FAILED
            return
        for i in range(at.size):
            one = slice(i, i + 1)
            _fit_chunk(solver, fid[one], out, at[one])
        return
    state, post = found.state, found.posterior
    k = state.amplitudes.shape[1]
    unit = sd * found.loudness
    out.amplitudes[at] = post.mean[:, :k] * unit[:, None]
    covariance = post.covariance[:, :k, :k]
    covariance = (covariance + np.swapaxes(covariance, 1, 2)) / 2
    # what the model leaves over beyond the noise widens every error
    ratio = residual_ratio(found.residual)
    widen = np.maximum(ratio, 1.0) ** 2
    covariance *= widen[:, None, None]
    for matrix in misshapen(problem.model):
        error = row_by_row(post.mean[:, :k], matrix)
        covariance += error[:, :, None] * error[:, None, :]
    out.covariance[at] = of_areas(problem, covariance * (unit**2)[:, None, None])
    theta = np.clip(post.mean[:, k:], *found.box)
    out.theta[at] = theta
    out.residual[at] = ratio * found.loudness
    out.tallest[at] = tallest(solver, theta, post.mean[:, :k]) * unit
    out.taken[at] = row_by_row(post.weight, problem.candidates())
    out.unexplained[at] = unexplained_hz(
        problem,
        found.residual * found.loudness[:, None],
        state.amplitudes * found.loudness[:, None],
        root_diagonal(post.covariance)[:, :k] * found.loudness[:, None],
        theta,
    )
    out.status[at] = _status_after(found, at_wall(problem, theta, found.box))


def _status_after(found: Optimum, walls: NDArray[np.bool_]) -> NDArray[np.uint8]:
    post = found.posterior
    status = np.where(walls, FitStatus.AT_BOUND, FitStatus.OK).astype(np.uint8)
    status[~found.converged] = FitStatus.NOT_CONVERGED
    finite = np.isfinite(post.mean).all(axis=1) & np.isfinite(post.covariance).all(axis=(1, 2))
    status[~finite] = FitStatus.FAILED
    return status
