"""Starting values that survive a tumour: shift, phase and widths before any fit.

A bank of templates (the singlets that the model names as its scale, at every shift of the search
range and at three linewidths) is correlated with the data after lipids, macromolecules and a
smooth baseline were projected out of both, one matrix product for all voxels. The singlets share
one phase, found in closed form: half the argument of the sum of squared correlations, its sign
such that the areas are positive. Widths of the broad components are then tried out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.fft import fft

from mrs_necrosis.fitting.model import GAUSS_RATE
from mrs_necrosis.fitting.objective import Box
from mrs_necrosis.fitting.varpro import row_by_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mrs_necrosis.fitting.objective import Objective
    from mrs_necrosis.fitting.problem import Problem
    from mrs_necrosis.fitting.solver import Solver

SEARCH_PPM = 0.10
"""Half the range of shifts that are searched; preprocessing has referenced the spectrum."""

BOX_PPM = 0.035
"""Half the box of the shift around its start."""

LINEWIDTHS_HZ = (1.5, 3.5, 6.5, 11.0)
"""Full widths at half maximum of the templates."""

LORENTZ_PART, GAUSS_PART = 0.5, 0.65
"""Lorentzian and Gaussian width of a template, as fractions of its width."""

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


CLEAR = 140.0
"""Spectra whose tallest point is so many times the noise are searched from their start again: of
1,920 phantoms 1.3 % ended above another valley, nine in ten of them clearer than this."""

AGAIN = (0.5, 0.02)
"""Widths of the lipids there, as fractions of their boxes: of twelve starts tried, the best."""


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
        decay = np.exp(
            -np.pi * LORENTZ_PART * width * t - GAUSS_RATE * (GAUSS_PART * width * t) ** 2
        )
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


class Start(NamedTuple):
    """Where a search starts, the box it stays in, and the amplitudes there."""

    theta: NDArray[np.float64]  # (V, P)
    box: Box
    amplitudes: NDArray[np.float64]  # (V, K)
    sd: NDArray[np.float64]  # theirs


def starting_values(
    solver: Solver, objective: Objective, broad_trials: tuple[tuple[float, ...], ...]
) -> Start:
    """Return where the search starts.

    Parameters
    ----------
    solver : Solver
        Evaluates the objective.
    objective : Objective
        Of V voxels; nothing need be known of the amplitudes.
    broad_trials : tuple of tuple of float
        Settings of the broad components' own widths that are tried, as fractions of the way
        from the lower to the upper bound of each ``gauss2`` parameter that acts on them alone.

    Returns
    -------
    Start
        Best start. The box is the model's, but shift and phase stay around their start.
    """
    problem = objective.problem
    shift, phase, width = find_shift_and_phase(problem, objective.data)
    theta = np.tile(problem.start, (shift.size, 1))
    names = [p.name for p in problem.model.parameters]
    half = {"shift_hz": BOX_PPM * problem.frequency_mhz, "phase_rad": np.pi / 2}
    common = {names.index(name): half[name] for name in half if name in names}
    for name, value in (("shift_hz", shift), ("phase_rad", phase)):
        if name in names:
            theta[:, names.index(name)] = value
    widths = {"lorentz_hz": LORENTZ_PART * width, "gauss2_hz2": (GAUSS_PART * width) ** 2}
    for name, value in widths.items():
        if name in names:
            p = names.index(name)
            theta[:, p] = np.clip(value, problem.lower[p], problem.upper[p])
    trials = _broad_trials(problem, theta, broad_trials)
    theta, chi_square, amplitudes, sd = _lowest(solver, objective, trials)
    # tall multiplets may turn what is well phased; its own place is tried, too
    far = np.abs(shift) > FAR_PPM * problem.frequency_mhz
    at = np.flatnonzero(far | (np.abs(phase) > FAR_RAD))
    if at.size and common:
        given = [trial[at] for trial in trials]
        for trial in given:
            trial[:, list(common)] = problem.start[list(common)]
        other = _lowest(solver, objective.rows(at), given)
        better = other[1] < chi_square[at]
        for all_, own in zip((theta, chi_square, amplitudes, sd), other, strict=True):
            all_[at[better]] = own[better]
    box = Box(np.tile(problem.lower, (shift.size, 1)), np.tile(problem.upper, (shift.size, 1)))
    for p, reach in common.items():
        box.lower[:, p], box.upper[:, p] = theta[:, p] - reach, theta[:, p] + reach
    return Start(theta, box, amplitudes, sd)


def _lowest(
    solver: Solver, objective: Objective, trials: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], ...]:
    """Return the lowest of some parameters in each voxel, and chi-square, amplitudes, sd there."""
    found = [solver.eliminate(objective, trial) for trial in trials]
    choice = np.stack([lowest for lowest, _, _ in found]).argmin(axis=0)
    rows = np.arange(choice.size)
    at_choice = (np.stack(values)[choice, rows] for values in zip(*found, strict=True))
    return np.stack(trials)[choice, rows], *at_choice


def _broad_trials(
    problem: Problem, theta: NDArray[np.float64], settings: tuple[tuple[float, ...], ...]
) -> list[NDArray[np.float64]]:
    """Return parameters with the broad components' own widths as in each of the settings."""
    broad = [
        p
        for p, parameter in enumerate(problem.model.parameters)
        if parameter.kind == "gauss2" and parameter.name != "gauss2_hz2"
    ]
    trials = []
    for setting in settings if broad else ((),):
        trial = theta.copy()
        for i, p in enumerate(broad):
            fraction = setting[min(i, len(setting) - 1)]
            low, high = problem.lower[p], problem.upper[p]
            trial[:, p] = low + fraction * (high - low)
        trials.append(trial)
    return trials


def from_the_start(
    problem: Problem, begun: Start, data: NDArray[np.complex128]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return spectra so clear that a wrong valley stands out, and where to begin again.

    Parameters
    ----------
    problem : Problem
        With P parameters.
    begun : Start
        Where the search began.
    data : ndarray of complex128, shape (V, M)
        In-band points in units of the noise.

    Returns
    -------
    at : ndarray of int, shape (R,)
        Voxels to search again.
    start : ndarray of float64, shape (R, P)
        From where.
    """
    at = np.flatnonzero(np.abs(data).max(axis=1) > CLEAR)
    return at, _broad_trials(problem, begun.theta[at], (AGAIN,))[0]


def other_starts(
    problem: Problem,
    theta: NDArray[np.float64],
    box: Box,
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
    box : Box
        Bounds.

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
