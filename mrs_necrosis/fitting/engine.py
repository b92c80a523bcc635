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
from mrs_necrosis.fitting.echo import suited_model
from mrs_necrosis.fitting.model import Model, areas_of, misshapen
from mrs_necrosis.fitting.optimum import (
    at_wall,
    noise_in_fit,
    noise_unit,
    optimise,
    residual_ratio,
    root_diagonal,
)
from mrs_necrosis.fitting.pieces import PIECE, run, some_of
from mrs_necrosis.fitting.problem import prepare
from mrs_necrosis.fitting.result import Curves, Fit
from mrs_necrosis.fitting.solver import choose_backend, solver_for
from mrs_necrosis.fitting.varpro import rotation, row_by_row, time_columns
from mrs_necrosis.processors import available_processors
from mrs_necrosis.quality import FitStatus, Quality
from mrs_necrosis.spectra import Spectra

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from numpy.typing import NDArray

    from mrs_necrosis.fitting.pieces import Executor
    from mrs_necrosis.fitting.problem import Problem
    from mrs_necrosis.fitting.solver import Backend, BackendName, Solver

CHUNKS = {"numpy": 16, "compiled": 64}
"""Voxels that are fitted together; more do not fit the processor's cache and are slower."""

UNEXPLAINED_SD = 8.0
"""A residual line of so many standard deviations is an unexpected peak (assumed)."""

UNEXPLAINED_SHARE = 0.10
"""… if its area is also such a share of the largest of NAA, Cr and Cho (assumed)."""


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
        work = ((problem, some_of(spectra, rows), *how) for rows in chosen)
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
    out.tallest[at] = tallest(solver, problem, theta, post.mean[:, :k]) * unit
    out.taken[at] = row_by_row(post.weight, problem.candidates())
    out.unexplained[at] = _unexplained(
        problem,
        found.residual * found.loudness[:, None],
        state.amplitudes * found.loudness[:, None],
        root_diagonal(post.covariance)[:, :k] * found.loudness[:, None],
        theta,
    )
    finite = np.isfinite(post.mean).all(axis=1) & np.isfinite(post.covariance).all(axis=(1, 2))
    walls = at_wall(problem, theta, found.box)
    status[at] = np.where(
        finite,
        np.where(
            found.converged,
            np.where(walls, FitStatus.AT_BOUND, FitStatus.OK),
            FitStatus.NOT_CONVERGED,
        ),
        FitStatus.FAILED,
    )


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
    notes = list(model.assumed)
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
