"""``fit``: from spectra to areas, for any number of voxels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import fft
from threadpoolctl import threadpool_limits

from mrs_necrosis.areas import PeakAreas, upright
from mrs_necrosis.arguments import (
    check_executor,
    check_path,
    check_progress,
    check_type,
    check_whole,
)
from mrs_necrosis.errors import FitError
from mrs_necrosis.fitting.model import Model, areas_of, default_model, misshapen
from mrs_necrosis.fitting.pieces import PIECE, run
from mrs_necrosis.fitting.problem import amplitude_prior, noise_sd, prepare
from mrs_necrosis.fitting.result import Curves, Fit
from mrs_necrosis.fitting.solver import choose_backend, solver_for
from mrs_necrosis.fitting.start import other_starts, starting_values
from mrs_necrosis.fitting.varpro import (
    MOST_ITERATIONS,
    TOLERANCE,
    rotation,
    row_by_row,
    time_columns,
)
from mrs_necrosis.processors import available_processors
from mrs_necrosis.quality import FitStatus, Quality
from mrs_necrosis.spectra import Spectra

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from numpy.typing import NDArray

    from mrs_necrosis.fitting.pieces import Executor
    from mrs_necrosis.fitting.posterior import Posterior
    from mrs_necrosis.fitting.problem import Problem
    from mrs_necrosis.fitting.solver import Backend, BackendName, Solver
    from mrs_necrosis.fitting.varpro import State

CHUNKS = {"numpy": 16, "compiled": 64}
"""Voxels that are fitted together; more do not fit the processor's cache and are slower."""

FIRST_DIMENSIONS = 10.0
"""Dimensions of the baseline while its stiffness is not yet known."""

FIRST_ITERATIONS = 10
"""Iterations of the first search, before anything is known of the baseline."""

LOOSE_REACH = 10.0
"""Size, in scales, of the ties between lipids while nothing is known of them."""

LOUD = 1.3
"""Residual over noise beyond which the model's own error counts as noise (assumed)."""

LEAST_NOISE = 5e-4
"""Noise is taken to be at least this share of the largest point: no model is better."""

UNEXPLAINED_SD = 8.0
"""A residual line of so many standard deviations is an unexpected peak (assumed)."""

UNEXPLAINED_SHARE = 0.10
"""… if its area is also such a share of the largest of NAA, Cr and Cho (assumed)."""

NEGATIVE_SD = 0.5
"""A component that comes out more negative than so many standard deviations gets a normal prior
around zero with its own standard deviation: it may stay negative, within its error."""

FIRST_TOLERANCE = 0.1
"""The first search stops when the next step is predicted to lower chi-square by less."""

SECOND_LOOK = ((FIRST_ITERATIONS, FIRST_TOLERANCE), (MOST_ITERATIONS, TOLERANCE))
"""Iterations and tolerance of a search from another start: roughly, then to the end."""

BROAD_TRIALS = ((0.05, 0.05), (0.15, 0.15), (0.4, 0.3))
"""Starting widths of the lipids, as fractions of their boxes."""


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
        ``default_model(spectra.acquisition)`` by default.
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
    model = default_model(spectra.acquisition) if model is None else model
    # for the whole of it: the limit is the process's, and of two threads that each set it the
    # first to end would lift it for the other
    with threadpool_limits(limits=1, user_api="blas"):
        problem = prepare(spectra, model)
        grid = spectra.grid
        fid = spectra.fid.reshape(-1, spectra.n_samples)
        todo = np.ravel(spectra.voxels_to_fit)
        voxels = fid.shape[0]
        out = VoxelArrays.empty(voxels, problem)
        status = np.full(voxels, FitStatus.MASKED, dtype=np.uint8)
        sd = np.full(voxels, np.nan)
        at = np.flatnonzero(todo)
        chosen = [at[start : start + PIECE] for start in range(0, at.size, PIECE)]
        chosen_backend = choose_backend(backend, at.size)
        if threads is None:
            threads = 1 if executor is not None else available_processors()
        how = (chosen_backend, threads, CHUNKS[chosen_backend] if chunk is None else chunk)
        work = ((problem, _some(spectra, fid, rows), *how) for rows in chosen)
        done, folder = 0, None if keep is None else Path(keep)
        for rows, found in zip(
            chosen, run(work, _solve, executor=executor, keep=folder), strict=True
        ):
            for name in VoxelArrays.__slots__:
                getattr(out, name)[rows] = found[name]
            status[rows], sd[rows] = found["status"], found["sd"]
            done += rows.size
            if progress is not None:
                progress(done, at.size)
        return result_of(spectra, problem, out, status, sd, grid, backend=chosen_backend)


def _some(spectra: Spectra, fid: NDArray[np.complex128], rows: NDArray[np.intp]) -> Spectra:
    """Return some voxels as a grid of their own."""
    stated = spectra.noise_sd
    return Spectra(
        fid=fid[rows][:, None, None],
        acquisition=spectra.acquisition,
        noise_sd=None if stated is None else stated.reshape(-1)[rows][:, None, None],
    )


def _solve(
    problem: Problem, spectra: Spectra, backend: BackendName, threads: int, chunk: int
) -> dict[str, NDArray[Any]]:
    """Fit the voxels of one piece; importable by the workers of an executor."""
    fid = spectra.fid.reshape(-1, spectra.n_samples)
    status = _status_before(fid, np.ones(fid.shape[0], dtype=bool))
    todo = np.flatnonzero(status == FitStatus.OK)
    out = VoxelArrays.empty(fid.shape[0], problem)
    solver = solver_for(problem, backend, threads)
    with threadpool_limits(limits=1, user_api="blas"):
        sd = noise_in_fit(spectra, problem)
        sd[todo] = noise_unit(problem.in_band(fid[todo]), sd[todo])
        for start in range(0, todo.size, chunk):
            at = todo[start : start + chunk]
            # a voxel that failed is NaN in the compiled solver, and its arithmetic goes on
            with np.errstate(invalid="ignore", over="ignore"):
                _fit_chunk(problem, solver, fid[at], sd[at], out, at, status)
    bad = ~np.isin(status, [s for s in FitStatus if s.has_areas])
    out.amplitudes[bad] = np.nan
    out.covariance[bad] = np.nan
    out.theta[bad] = np.nan
    return {name: getattr(out, name) for name in VoxelArrays.__slots__} | {
        "status": status,
        "sd": sd,
    }


@dataclass(slots=True)
class VoxelArrays:
    """Results of V voxels while they are collected; NaN until there is one.

    The covariance is that of the areas: that of all components would take most of the memory.
    """

    amplitudes: NDArray[np.float64]
    covariance: NDArray[np.float64]
    theta: NDArray[np.float64]
    taken: NDArray[np.float64]
    residual: NDArray[np.float64]
    unexplained: NDArray[np.float64]
    tallest: NDArray[np.float64]

    @classmethod
    def empty(cls, voxels: int, problem: Problem) -> VoxelArrays:
        """Return arrays for so many voxels."""
        k, p = len(problem.model.components), len(problem.kind)
        areas = len(areas_of(problem.model)[0])
        return cls(
            np.full((voxels, k), np.nan),
            np.full((voxels, areas, areas), np.nan),
            np.full((voxels, p), np.nan),
            np.full((voxels, problem.roughness.size), np.nan),
            np.full(voxels, np.nan),
            np.full(voxels, np.nan),
            np.full(voxels, np.nan),
        )


def _status_before(fid: NDArray[np.complex128], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    status = np.full(fid.shape[0], FitStatus.OK, dtype=np.uint8)
    status[~mask] = FitStatus.MASKED
    finite = np.isfinite(fid).all(axis=1)
    status[mask & ~finite] = FitStatus.NOT_FINITE
    status[mask & finite & ~np.abs(fid).any(axis=1)] = FitStatus.NO_SIGNAL
    return status


def noise_in_fit(spectra: Spectra, problem: Problem) -> NDArray[np.float64]:
    """Return the noise per in-band point of the samples that the fit uses, shape (V,)."""
    with np.errstate(invalid="ignore"):
        full = noise_sd(spectra).ravel()
    scaled: NDArray[np.float64] = full * np.sqrt(problem.time_s.size / spectra.n_samples)
    return scaled


def noise_unit(band: NDArray[np.complex128], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the data are divided by, shape (V,): the noise, but some of it in any case.

    Data without noise have nothing to weigh with, and no model is better than ``LEAST_NOISE``.
    """
    unit: NDArray[np.float64] = np.maximum(
        np.where(np.isfinite(sd), sd, 0.0), LEAST_NOISE * np.abs(band).max(axis=1)
    )
    return unit


def _scale_of(problem: Problem, amplitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit of the amplitudes' priors, shape (V,); it is never zero."""
    names = problem.model.names
    members = [names.index(name) for name in problem.model.scale] or list(range(len(names)))
    summed = np.maximum(amplitudes[:, members], 0.0).sum(axis=1)
    floor = 0.02 * np.abs(amplitudes).max(axis=1) + 1e-12
    scale: NDArray[np.float64] = np.maximum(summed, floor)
    return scale


def _fit_chunk(
    problem: Problem,
    solver: Solver,
    fid: NDArray[np.complex128],
    sd: NDArray[np.float64],
    out: VoxelArrays,
    at: NDArray[np.intp],
    status: NDArray[np.uint8],
) -> None:
    """Fit some voxels and write them to their places in ``out``."""
    data = problem.in_band(fid)
    try:
        found = optimise(problem, solver, data / sd[:, None])
    except np.linalg.LinAlgError:
        if at.size == 1:
            status[at] = FitStatus.FAILED
            return
        for i in range(at.size):
            one = slice(i, i + 1)
            _fit_chunk(problem, solver, fid[one], sd[one], out, at[one], status)
        return
    state, post = found.state, found.posterior
    k = state.amplitudes.shape[1]
    unit = sd * found.loudness
    out.amplitudes[at] = post.mean[:, :k] * unit[:, None]
    covariance = post.covariance[:, :k, :k]
    covariance = (covariance + np.swapaxes(covariance, 1, 2)) / 2
    # what the model leaves over beyond the noise widens every error
    ratio = _ratio_of(found.residual)
    widen = np.maximum(ratio, 1.0) ** 2
    covariance *= widen[:, None, None]
    for matrix in misshapen(problem.model):
        error = row_by_row(post.mean[:, :k], matrix)
        covariance += error[:, :, None] * error[:, None, :]
    out.covariance[at] = of_areas(problem, covariance * (unit**2)[:, None, None])
    theta = np.clip(post.mean[:, k:], *found.box)
    out.theta[at] = theta
    out.residual[at] = ratio * found.loudness
    out.tallest[at] = tallest(solver, problem, theta, post.mean[:, :k]) * unit
    out.taken[at] = row_by_row(post.weight, problem.candidates())
    out.unexplained[at] = _unexplained(
        problem,
        found.residual * found.loudness[:, None],
        state.amplitudes * found.loudness[:, None],
        _root_diagonal(post.covariance)[:, :k] * found.loudness[:, None],
        theta,
    )
    finite = np.isfinite(post.mean).all(axis=1) & np.isfinite(post.covariance).all(axis=(1, 2))
    walls = _at_wall(problem, theta, found.box)
    status[at] = np.where(
        finite,
        np.where(
            found.converged,
            np.where(walls, FitStatus.AT_BOUND, FitStatus.OK),
            FitStatus.NOT_CONVERGED,
        ),
        FitStatus.FAILED,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """Where the search ended in V voxels, and the objective that it minimised there.

    Parameters
    ----------
    begun : tuple of ndarray of float64, shapes (V, P) and (V, K)
        Parameters and amplitudes at the start, before anything was known.
    state : State
        At the optimum.
    box : tuple of ndarray of float64, shapes (V, P)
        Lower and upper bounds of the nonlinear parameters.
    converged : ndarray of bool, shape (V,)
        False where the search ran out of iterations.
    precision, pull : ndarray of float64, shapes (V, K, K) and (V, K)
        Prior of the amplitudes.
    shrink : ndarray of float64, shape (V, B)
        What the baseline takes of each mode.
    aim : ndarray of float64, shape (V, P)
        Means of the parameters' priors, see ``varpro.aim_of``.
    posterior : Posterior
        Averaged over the baseline's stiffness.
    loudness : ndarray of float64, shape (V,)
        By how much more than the noise the data were divided in the end, because the model
        leaves so much over. All but ``begun`` is in that unit.
    residual : ndarray of complex128, shape (V, M)
        What the model leaves over.
    """

    begun: tuple[NDArray[np.float64], NDArray[np.float64]]
    state: State
    box: tuple[NDArray[np.float64], NDArray[np.float64]]
    converged: NDArray[np.bool_]
    precision: NDArray[np.float64]
    pull: NDArray[np.float64]
    shrink: NDArray[np.float64]
    aim: NDArray[np.float64]
    posterior: Posterior
    loudness: NDArray[np.float64]
    residual: NDArray[np.complex128]


def optimise(problem: Problem, solver: Solver, data: NDArray[np.complex128]) -> Optimum:
    """Find the optimum of every voxel.

    The search runs twice: with a middling baseline, then with what was learnt from that; where a
    lipid may lie in the wrong valley, once more from the other one.

    Parameters
    ----------
    problem : Problem
        The shared part.
    solver : Solver
        Of that problem.
    data : ndarray of complex128, shape (V, M)
        In-band points in units of the noise.

    Returns
    -------
    Optimum
        Under the priors and the stiffness that the data chose.
    """
    v, k = data.shape[0], len(problem.model.components)
    index = np.arange(k)
    precision, pull = np.zeros((v, k, k)), np.zeros((v, k))
    # before anything is known: a ridge that only keeps matrices regular
    precision[:, index, index] = 1e-6 + 1.0 / np.abs(data).max(axis=1)[:, None] ** 2
    table = problem.candidates()
    middling = np.abs(table.sum(axis=1) - FIRST_DIMENSIONS).argmin()
    shrink = np.broadcast_to(table[middling], (v, table.shape[1]))
    theta, box, begun, sd = starting_values(
        problem, solver, data, precision, pull, shrink, BROAD_TRIALS
    )

    # how much lipid there is beyond macromolecules, before lipids are tied to each other
    scale = _scale_of(problem, begun)
    precision, pull, _ = amplitude_prior(problem, scale, begun, sd, least_reach=LOOSE_REACH)
    _, first, _ = solver.eliminate(data, theta, precision, pull, shrink)

    scale = _scale_of(problem, first)
    precision, pull, widened = amplitude_prior(problem, scale, first, sd)
    state, _ = solver.minimise(
        data,
        theta,
        box,
        precision,
        pull,
        shrink,
        most_iterations=FIRST_ITERATIONS,
        tolerance=FIRST_TOLERANCE,
    )
    post = solver.average(state, _stuck(state.theta, box), precision, pull)

    # where the model leaves over more than noise, that is the noise the priors compete with
    loudness = np.maximum(_ratio_of(_residual(problem, solver, data, state, post)), 1.0)
    loudness = np.where(loudness > LOUD, loudness, 1.0)
    data = data / loudness[:, None]
    amplitudes = state.amplitudes / loudness[:, None]
    sd = _root_diagonal(post.covariance)[:, :k]
    scale = _scale_of(problem, amplitudes)
    widened /= loudness[:, None]
    precision, pull, _ = amplitude_prior(problem, scale, amplitudes, sd, widened)
    # areas are not negative beyond their error: pull those that are back to it
    negative = post.mean[:, :k] < -NEGATIVE_SD * sd
    precision[:, index, index] += np.where(negative, sd**-2.0, 0.0)
    shrink = table[post.weight.argmax(axis=1)]
    aim = solver.aim(state.theta, precision, shrink)
    state, converged = solver.minimise(data, state.theta, box, precision, pull, shrink, aim)
    weighing = (precision, pull, shrink, aim)
    _look_elsewhere(problem, solver, data, box, weighing, state, converged)
    post = solver.average(state, _stuck(state.theta, box), precision, pull, aim)
    residual = _residual(problem, solver, data, state, post)
    begun_at = (theta, begun)
    return Optimum(
        begun_at, state, box, converged, precision, pull, shrink, aim, post, loudness, residual
    )


def _look_elsewhere(
    problem: Problem,
    solver: Solver,
    data: NDArray[np.complex128],
    box: tuple[NDArray[np.float64], NDArray[np.float64]],
    weighing: tuple[NDArray[np.float64], ...],
    state: State,
    converged: NDArray[np.bool_],
) -> None:
    """Search again where another valley may be deeper, and keep in ``state`` what is lower.

    A rough search shows which starts lead lower: most come back to where the search was.
    """
    for at, start in other_starts(problem, state.theta.copy(), box):
        for iterations, tolerance in SECOND_LOOK:
            other, done = solver.minimise(
                data[at],
                start,
                (box[0][at], box[1][at]),
                *(one[at] for one in weighing),
                most_iterations=iterations,
                tolerance=tolerance,
            )
            lower = other.objective < state.objective[at]
            at, start = at[lower], other.theta[lower]
            if at.size == 0:
                break
        else:
            state.put(at, other, lower)
            converged[at] = done[lower]


def _residual(
    problem: Problem,
    solver: Solver,
    data: NDArray[np.complex128],
    state: State,
    post: Posterior,
) -> NDArray[np.complex128]:
    """Return what the model leaves over at the optimum, shape (V, M)."""
    taken = row_by_row(post.weight, problem.candidates())
    left: NDArray[np.complex128] = rotation(problem, state.theta) * data
    left -= solver.spectrum(state.theta, state.amplitudes)
    left -= row_by_row(row_by_row(left, problem.modes) * taken, problem.modes.T)
    return left


def _ratio_of(residual: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return the residual over the unit of the data, shape (V,)."""
    ratio: NDArray[np.float64] = np.sqrt((np.abs(residual) ** 2).mean(axis=1) / 2)
    return ratio


def _root_diagonal(covariance: NDArray[Any]) -> NDArray[np.float64]:
    deviation: NDArray[np.float64] = np.sqrt(
        np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 1e-300)
    )
    return deviation


def _stuck(
    theta: NDArray[np.float64], box: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.bool_]:
    return (theta <= box[0]) | (theta >= box[1])


def _at_wall(
    problem: Problem,
    theta: NDArray[np.float64],
    box: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.bool_]:
    """Return whether a global shift, width or phase lies at a wall that is not physical."""
    lower, upper = theta <= box[0], theta >= box[1]
    # a purely Gaussian line is a fine answer
    lower[:, problem.index("lorentz")] = False
    watched = [
        p
        for p, parameter in enumerate(problem.model.parameters)
        if ":" not in parameter.name and parameter.kind != "gauss2"
    ]
    found: NDArray[np.bool_] = np.any((lower | upper)[:, watched], axis=1)
    return found


def parts_of(
    problem: Problem,
    data: NDArray[np.complex128],
    theta: NDArray[np.float64],
    amplitudes: NDArray[np.float64],
    shrink: NDArray[np.float64],
) -> tuple[NDArray[np.complex128], NDArray[np.complex128], NDArray[np.complex128]]:
    """Return phased data (V, M), component curves (V, K, M) and the baseline (V, M)."""
    band = problem.frequency_hz.size
    columns = fft(time_columns(problem, theta), axis=2)[:, :, :band] * amplitudes[:, :, None]
    phased = rotation(problem, theta) * data
    smooth = row_by_row(phased - columns.sum(axis=1), problem.modes) * shrink
    baseline = row_by_row(smooth, problem.modes.T)
    return phased, columns, baseline


def _unexplained(
    problem: Problem,
    residual: NDArray[np.complex128],
    amplitudes: NDArray[np.float64],
    sd: NDArray[np.float64],
    theta: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return where a line stands that brain does not have, in Hz from the reference; else NaN.

    Either the residual holds one that a matched filter finds, or acetate, which the model knows
    so that it is not called NAA.
    """
    model = problem.model
    names = [p.name for p in model.parameters]
    v = residual.shape[0]
    shift = np.zeros(v)
    if "shift_hz" in names:
        shift = theta[:, names.index("shift_hz")]
    width = np.full(v, 6.0)
    if "lorentz_hz" in names and "gauss2_hz2" in names:
        width = voigt_width(
            theta[:, names.index("lorentz_hz")], theta[:, names.index("gauss2_hz2")]
        )
    step = problem.frequency_hz[1] - problem.frequency_hz[0]
    reach = 24
    offset = np.arange(-reach, reach + 1) * step
    shape = np.exp(-4 * np.log(2) * (offset / np.maximum(width, 2 * step)[:, None]) ** 2)
    norm = np.sqrt((shape**2).sum(axis=1))
    padded = np.pad(residual.real, ((0, 0), (reach, reach)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=1)
    match = np.einsum("vmj,vj->vm", windows, shape / norm[:, None])
    peak = match.argmax(axis=1)
    height = match[np.arange(v), peak]
    # a Gaussian line of height h sums to h * sum(shape) points; N points make one unit of area
    area = height / norm * shape.sum(axis=1) / problem.time_s.size
    largest = np.zeros(v)
    for name in ("NAA", "Cr", "Cho"):
        members = [k for k, c in enumerate(model.components) if c.area == name]
        largest = np.maximum(largest, amplitudes[:, members].sum(axis=1))
    strong = (height > UNEXPLAINED_SD) & (area > UNEXPLAINED_SHARE * largest)
    where = np.where(strong, problem.frequency_hz[peak] - shift, np.nan)
    if "Ace" in model.names:
        k = model.names.index("Ace")
        acetate = amplitudes[:, k]
        found = (acetate > UNEXPLAINED_SHARE * largest) & (acetate > UNEXPLAINED_SD * sd[:, k])
        hz = problem.frequency_hz[0] + _line_hz(problem, k)
        where = np.where(found, hz, where)
    return where


def _line_hz(problem: Problem, component: int) -> float:
    """Return the frequency of a single-line component, relative to the band's start."""
    samples = problem.basis[component]
    return float(np.angle(samples[1] / samples[0]) / (2 * np.pi * problem.time_s[1]))


def voigt_width(
    lorentz_hz: NDArray[np.float64], gauss2_hz2: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the full width at half maximum of a Voigt line, in Hz.

    Olivero & Longbothum, J. Quant. Spectrosc. Radiat. Transf. 17, 233 (1977).

    Parameters
    ----------
    lorentz_hz, gauss2_hz2 : ndarray of float64
        Lorentzian width and squared Gaussian width.

    Returns
    -------
    ndarray of float64
        Accurate to 0.02 %.
    """
    width: NDArray[np.float64] = 0.5346 * lorentz_hz + np.sqrt(
        0.2166 * lorentz_hz**2 + np.maximum(gauss2_hz2, 0.0)
    )
    return width


def of_areas(problem: Problem, covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance of the areas from that of the components, shape (V, K, K)."""
    combine = areas_of(problem.model)[1]
    summed = combine @ covariance @ combine.T
    symmetric: NDArray[np.float64] = (summed + np.swapaxes(summed, 1, 2)) / 2
    return symmetric


def result_of(
    spectra: Spectra,
    problem: Problem,
    out: VoxelArrays,
    status: NDArray[np.uint8],
    sd: NDArray[np.float64],
    grid: tuple[int, int, int],
    *,
    backend: str,
) -> Fit:
    """Make a Fit of what was collected; ``sd`` is the noise per in-band point, shape (V,)."""
    model = problem.model
    names, combine = areas_of(model)
    values = row_by_row(out.amplitudes, combine.T)
    covariance = out.covariance
    covariance.setflags(write=False)  # handed over, not copied
    out.covariance = covariance[:0]
    areas = PeakAreas(
        names,
        values.reshape(*grid, len(names)),
        covariance.reshape(*grid, len(names), len(names)),
    )
    notes = []
    if spectra.acquisition.echo_time_s is None:
        areas, inverted = upright(areas)
        if inverted.any():
            notes.append(
                "lactate or alanine stands upside down, as at an echo time of 120 to 160 ms; its "
                "area is the magnitude"
            )
    areas = areas.with_ll()
    parameter_names = tuple(p.name for p in model.parameters)
    column = {name: out.theta[:, i] for i, name in enumerate(parameter_names)}
    zero = np.zeros(len(status))
    width = voigt_width(column.get("lorentz_hz", zero), column.get("gauss2_hz2", zero))
    width = np.where(np.isnan(out.theta).all(axis=1), np.nan, width)
    mhz = spectra.acquisition.spectrometer_frequency_mhz
    reference = spectra.acquisition.reference_or_water_ppm
    full_sd = sd * np.sqrt(spectra.n_samples / problem.time_s.size)
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = out.tallest / full_sd
    quality = Quality(
        snr=snr.reshape(grid),
        linewidth_hz=width.reshape(grid),
        linewidth_ppm=(width / mhz).reshape(grid),
        residual_ratio=out.residual.reshape(grid),
        status=status.reshape(grid),
        unexplained_ppm=(reference + out.unexplained / mhz).reshape(grid),
        reference_confidence=spectra.reference_confidence,
        water_ratio=spectra.water_ratio,
    )
    theta = out.theta.copy()
    theta.setflags(write=False)
    return Fit(
        spectra=spectra,
        model=model,
        areas=areas,
        quality=quality,
        parameter_names=parameter_names,
        parameters=theta.reshape(*grid, -1),
        backend=backend,
        notes=(*_notes(areas), *notes, *filter(None, [problem.emptied])),
        _curves=partial(_curves_at, spectra, problem, out),
    )


def tallest(
    solver: Solver,
    problem: Problem,
    theta: NDArray[np.float64],
    amplitudes: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the height of the tallest of NAA, Cr and Cho in the phased model, shape (V,)."""
    chosen = [c.area in {"NAA", "Cr", "Cho"} for c in problem.model.components]
    height: NDArray[np.float64] = solver.spectrum(theta, amplitudes * chosen).real.max(axis=1)
    return height


def _notes(areas: PeakAreas) -> tuple[str, ...]:
    """Say where lipid and lactate cannot be told apart."""
    notes = []
    if areas.covariance is not None and {"Lac", "Lip13"} <= set(areas.names):
        i, j = areas.index("Lac"), areas.index("Lip13")
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = areas.covariance[..., i, j] / np.sqrt(
                areas.covariance[..., i, i] * areas.covariance[..., j, j]
            )
        present = areas.detected("LL")
        blurred = present & ((correlation < -0.8) | ~areas.detected("Lac"))
        if blurred.any():
            share = blurred.sum() / max(present.sum(), 1)
            where = (
                "here"
                if areas.values.size == len(areas.names)
                else f"in {100 * share:.0f} % of voxels"
            )
            notes.append(
                f"lactate and lipid 1.3 are not separable {where}: "
                "read LL, their sum, which is better known than its parts"
            )
    return tuple(notes)


def _curves_at(
    spectra: Spectra, problem: Problem, out: VoxelArrays, voxel: tuple[int, int, int]
) -> Curves:
    at = int(np.ravel_multi_index(voxel, spectra.grid))
    fid = spectra.fid[voxel][None]
    theta, amplitudes = out.theta[at][None], out.amplitudes[at][None]
    if np.isnan(theta).any():
        msg = f"voxel {voxel} has no fit: {FitStatus(FitStatus.FAILED).sentence}"
        raise FitError(msg)
    parts = parts_of(problem, problem.in_band(fid), theta, amplitudes, out.taken[at])
    phased, columns, baseline = (part[0] for part in parts)
    shift = 0.0
    names = [p.name for p in problem.model.parameters]
    if "shift_hz" in names:
        shift = float(theta[0, names.index("shift_hz")])
    acquisition = spectra.acquisition
    ppm = acquisition.reference_or_water_ppm + (
        (problem.frequency_hz - shift) / acquisition.spectrometer_frequency_mhz
    )
    fitted = columns.sum(axis=0) + baseline
    return Curves(
        ppm=ppm,
        data=phased,
        fit=fitted,
        baseline=baseline,
        residual=phased - fitted,
        components=dict(zip(problem.model.names, columns, strict=True)),
    )
