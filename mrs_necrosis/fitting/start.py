"""Starting values that survive a tumour: shift, phase and widths before any fit.

A bank of templates (the singlets that the model names as its scale, at every shift of the search
range and at three linewidths) is correlated with the data after lipids, macromolecules and a
smooth baseline were projected out of both, one matrix product for all voxels. The singlets share
one phase, found in closed form: half the argument of the sum of squared correlations, its sign
such that the areas are positive. Widths of the broad components are then tried out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import fft

from mrs_necrosis.fitting.model import GAUSS_RATE
from mrs_necrosis.fitting.varpro import row_by_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mrs_necrosis.fitting.problem import Problem
    from mrs_necrosis.fitting.solver import Solver

SEARCH_PPM = 0.10
"""Half the range of shifts that are searched; preprocessing has referenced the spectrum."""

BOX_PPM = 0.035
"""Half the box of the shift around its start."""

LINEWIDTHS_HZ = (1.5, 3.5, 6.5, 11.0)
"""Full widths at half maximum of the templates."""

NUISANCE_PPM = 0.15
"""Width that is added to lipids and macromolecules before they are projected out."""

SMOOTH_MODES = 10
"""Modes of the baseline that are projected out."""

STRAYED_SD = 2.0
"""A line so many standard deviations from its place may have lost its signal there …"""

BROAD_STRAYED_SD = 1.0
"""… a broad one at so many."""

NARROW, HALFWAY, WIDE = 0.02, 0.15, 0.4
"""Width with which a broad one is tried again, as a fraction of its box: wide if it was narrow,
and the other way round."""

FAR_PPM, FAR_RAD = 0.02, 0.6
"""A start so far from where preprocessing put the spectrum is tried beside that."""

OTHER_SIDE = -0.5
"""Where a metabolite's line is tried again: so much of its distance, on the other side."""


def _nuisance(problem: Problem) -> NDArray[np.complex128]:
    """Return orthonormal columns of what is not a metabolite line, shape (M, Q).

    Lipids one by one, macromolecules as one pattern in the proportions of their ties: a comb of
    them could imitate the singlets.
    """
    t = problem.time_s
    columns = []
    pattern = np.zeros(t.size, dtype=np.complex128)
    for k, item in enumerate(problem.model.components):
        if not any(width > 0 for width in item.gauss_ppm) and item.shape != "mm":
            continue
        decay = np.exp(
            -np.pi * 4.0 * t - GAUSS_RATE * (NUISANCE_PPM * problem.frequency_mhz * t) ** 2
        )
        if item.area.startswith("Lip"):
            columns.append(problem.basis[k] * decay)
        else:
            pattern += (item.tie_mean if item.tied_to else 1.0) * problem.basis[k] * decay
    if pattern.any():
        columns.append(pattern)
    broad = [fft(column)[: problem.frequency_hz.size, None] for column in columns]
    smooth = problem.modes[:, :SMOOTH_MODES].astype(np.complex128)
    q, r = np.linalg.qr(np.concatenate([smooth, *broad], axis=1))
    size = np.abs(np.diagonal(r))
    return q[:, size > 1e-6 * size.max()]


def _anchors(problem: Problem) -> list[NDArray[np.complex128]]:
    """Return one FID per area of the model's scale, shape (N,) each.

    Acetate is among them, lest its line be taken for that of NAA at another shift.
    """
    model = problem.model
    by_area: dict[str, list[int]] = {}
    for k, item in enumerate(model.components):
        if item.name in model.scale or item.name == "Ace":
            by_area.setdefault(item.area, []).append(k)
    return [problem.basis[index].mean(axis=0) for index in by_area.values()]


@lru_cache(maxsize=1)  # a grid is fitted chunk by chunk
def _bank(
    problem: Problem,
) -> tuple[NDArray[np.complex128], NDArray[np.complex128], NDArray[np.float64]]:
    """Return normalised templates (S A, M), the nuisance (M, Q) and S shifts and widths (S, 2)."""
    t = problem.time_s
    m = problem.frequency_hz.size
    mhz = problem.frequency_mhz
    step = max(1.0 / (t.size * t[1]), 0.006 * mhz)
    reach = int(np.ceil(SEARCH_PPM * mhz / step))
    shifts = np.arange(-reach, reach + 1) * step
    nuisance = _nuisance(problem)
    anchors = _anchors(problem)
    templates, settings = [], []
    for width in LINEWIDTHS_HZ:
        decay = np.exp(-np.pi * 0.5 * width * t - GAUSS_RATE * (0.65 * width * t) ** 2)
        for shift in shifts:
            modulation = decay * np.exp(2j * np.pi * shift * t)
            templates.append([fft(a * modulation)[:m] for a in anchors])
            settings.append((shift, width))
    bank = np.array(templates).reshape(-1, m)
    bank = bank - (bank @ nuisance.conj()) @ nuisance.T
    norm = np.sqrt((np.abs(bank) ** 2).sum(axis=1))
    return bank / norm[:, None], nuisance, np.array(settings)


def find_shift_and_phase(
    problem: Problem, data: NDArray[np.complex128]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Find the common shift, phase and linewidth of the singlets.

    Parameters
    ----------
    problem : Problem
        The shared part.
    data : ndarray of complex128, shape (V, M)
        In-band points in units of the noise.

    Returns
    -------
    shift_hz, phase, linewidth_hz : ndarray of float64, shape (V,)
        Best of the bank; phase in radians.
    """
    bank, nuisance, grid = _bank(problem)
    settings = len(grid)
    clean = data - row_by_row(row_by_row(data, nuisance.conj()), nuisance.T)
    match = row_by_row(clean, bank.conj().T).reshape(data.shape[0], settings, -1)
    phase = 0.5 * np.angle((match**2).sum(axis=2))
    phase += np.pi * ((match * np.exp(-1j * phase)[..., None]).real.sum(axis=2) < 0)
    aligned = (match * np.exp(-1j * phase)[..., None]).real
    score = (np.maximum(aligned, 0.0) ** 2).sum(axis=2)
    # where nothing speaks, nothing moves: half a unit of chi-square per 0.03 ppm squared
    score = score - 0.5 * (grid[:, 0] / (0.03 * problem.frequency_mhz)) ** 2
    best = score.argmax(axis=1)
    rows = np.arange(data.shape[0])
    angle = np.angle(np.exp(1j * phase[rows, best]))
    return grid[best, 0], angle, grid[best, 1]


def starting_values(
    problem: Problem,
    solver: Solver,
    data: NDArray[np.complex128],
    precision: NDArray[np.float64],
    pull: NDArray[np.float64],
    shrink: NDArray[np.float64],
    broad_trials: tuple[tuple[float, ...], ...],
) -> tuple[
    NDArray[np.float64],
    tuple[NDArray[np.float64], NDArray[np.float64]],
    NDArray[np.float64],
    NDArray[np.float64],
]:
    """Return where the search starts, the box it stays in, and the amplitudes there.

    Parameters
    ----------
    problem : Problem
        With P parameters.
    solver : Solver
        Evaluates the objective.
    data : ndarray of complex128, shape (V, M)
        In-band points in units of the noise.
    precision, pull, shrink : ndarray
        As for ``varpro.evaluate``.
    broad_trials : tuple of tuple of float
        Settings of the broad components' own widths that are tried, as fractions of the way
        from the lower to the upper bound of each ``gauss2`` parameter that acts on them alone.

    Returns
    -------
    theta : ndarray of float64, shape (V, P)
        Best start.
    box : tuple of ndarray of float64, shapes (V, P)
        Lower and upper bounds: the model's, shift and phase around their start.
    amplitudes, sd : ndarray of float64, shape (V, K)
        As ``varpro.eliminate`` finds them at the start.
    """
    shift, phase, width = find_shift_and_phase(problem, data)
    v = data.shape[0]
    theta = np.tile(problem.start, (v, 1))
    lower, upper = np.tile(problem.lower, (v, 1)), np.tile(problem.upper, (v, 1))
    names = [p.name for p in problem.model.parameters]
    half = {"shift_hz": BOX_PPM * problem.frequency_mhz, "phase_rad": np.pi / 2}
    common = {names.index(name): half[name] for name in half if name in names}
    for name, value in (("shift_hz", shift), ("phase_rad", phase)):
        if name in names:
            theta[:, names.index(name)] = value
    for name, value in (("lorentz_hz", 0.5 * width), ("gauss2_hz2", (0.65 * width) ** 2)):
        if name in names:
            p = names.index(name)
            theta[:, p] = np.clip(value, problem.lower[p], problem.upper[p])
    broad = [
        i
        for i, parameter in enumerate(problem.model.parameters)
        if parameter.kind == "gauss2" and parameter.name != "gauss2_hz2"
    ]
    trials = []
    for setting in broad_trials if broad else ((),):
        trial = theta.copy()
        for i, p in enumerate(broad):
            fraction = setting[min(i, len(setting) - 1)]
            trial[:, p] = lower[:, p] + fraction * (upper[:, p] - lower[:, p])
        trials.append(trial)
    found = [solver.eliminate(data, trial, precision, pull, shrink) for trial in trials]
    choice = np.stack([objective for objective, _, _ in found]).argmin(axis=0), np.arange(v)
    objective = np.stack([objective for objective, _, _ in found])[choice]
    amplitudes = np.stack([values for _, values, _ in found])[choice]
    sd = np.stack([values for _, _, values in found])[choice]
    theta = np.stack(trials)[choice]
    # tall multiplets may turn what is well phased; its own place is tried, too
    far = np.abs(shift) > FAR_PPM * problem.frequency_mhz
    at = np.flatnonzero(far | (np.abs(phase) > FAR_RAD))
    if at.size and common:
        given = trials[len(trials) // 2][at]
        given[:, list(common)] = problem.start[list(common)]
        weighing = (one[at] for one in (precision, pull, shrink))
        lowest, values, deviation = solver.eliminate(data[at], given, *weighing)
        better = lowest < objective[at]
        at = at[better]
        theta[at], amplitudes[at], sd[at] = given[better], values[better], deviation[better]
    for p, reach in common.items():
        lower[:, p], upper[:, p] = theta[:, p] - reach, theta[:, p] + reach
    return theta, (lower, upper), amplitudes, sd


def other_starts(
    problem: Problem,
    theta: NDArray[np.float64],
    box: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Find voxels where the search may lie in the wrong valley, and where else to look.

    Lipid beside lactate, and lipid beside macromolecules, have two valleys: a narrow line and a
    broad one. A search that ends at a wall of the width, or away from the line's place, may have
    lost the signal there: with the amplitude at zero no slope leads back. Where priors and ties
    hold all amplitudes of a class there is one valley: of 1,100 such starts on phantoms none led
    lower. A metabolite far from its place may explain what stands on the other side of it, with
    a negative amplitude.

    Parameters
    ----------
    problem : Problem
        With P parameters.
    theta : ndarray of float64, shape (V, P)
        Where the search ended.
    box : tuple of ndarray of float64, shapes (V, P)
        Lower and upper bounds.

    Yields
    ------
    at : ndarray of int, shape (R,)
        Voxels to search again, for one class of components at a time.
    start : ndarray of float64, shape (R, P)
        From where: all else unchanged.
    """
    lower, upper = box
    names = [p.name for p in problem.model.parameters]
    free = {c.shape for c in problem.model.components if c.prior_sd is None and not c.tied_to}
    for shape in problem.model.shapes:
        if f"{shape}:shift_hz" not in names:
            continue
        place = names.index(f"{shape}:shift_hz")
        away = theta[:, place] - problem.start[place]
        distance = np.abs(away) / problem.sd[place]
        if f"{shape}:gauss2_hz2" not in names:
            at = np.flatnonzero(distance > STRAYED_SD)
            start = theta[at]
            start[:, place] = problem.start[place] + OTHER_SIDE * away[at]
        elif shape in free:
            width = names.index(f"{shape}:gauss2_hz2")
            own, low, high = theta[:, width], lower[:, width], upper[:, width]
            wall = ((own <= low) | (own >= high)) & (own != problem.start[width])
            at = np.flatnonzero((distance > BROAD_STRAYED_SD) | wall)
            start = theta[at]
            start[:, place] = problem.start[place]
            share = (own[at] - low[at]) / (high[at] - low[at])
            other = np.where(share < HALFWAY, WIDE, NARROW)
            start[:, width] = low[at] + other * (high[at] - low[at])
        else:
            continue
        if at.size:
            yield at, start
