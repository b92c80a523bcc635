"""What is said of a fit that has ended: walls, unexpected lines, heights, sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mrs_necrosis.simulation.signal import voigt_width_hz

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.areas import PeakAreas
    from mrs_necrosis.fitting.objective import Box
    from mrs_necrosis.fitting.problem import Problem
    from mrs_necrosis.fitting.solver import Solver

UNEXPLAINED_SD = 8.0
"""A residual line of so many standard deviations is an unexpected peak (assumed)."""

UNEXPLAINED_SHARE = 0.10
"""… if its area is also such a share of the largest of NAA, Cr and Cho (assumed)."""

MATCHED_POINTS = 24
"""Points on either side that the matched filter takes in."""

LIKELY_WIDTH_HZ = 6.0
"""Width of such a line where the model has none of its own (assumed)."""


def at_wall(problem: Problem, theta: NDArray[np.float64], box: Box) -> NDArray[np.bool_]:
    """Return whether a global shift, width or phase lies at a wall that is not physical."""
    lower, upper = theta <= box.lower, theta >= box.upper
    # a purely Gaussian line is a fine answer
    lower[:, problem.index("lorentz")] = False
    watched = [
        p
        for p, parameter in enumerate(problem.model.parameters)
        if ":" not in parameter.name and parameter.kind != "gauss2"
    ]
    found: NDArray[np.bool_] = np.any((lower | upper)[:, watched], axis=1)
    return found


def unexplained_hz(
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
    v = residual.shape[0]
    shift = problem.column(theta, "shift_hz", 0.0)
    width = linewidth_hz(problem, theta, LIKELY_WIDTH_HZ)
    step = problem.frequency_hz[1] - problem.frequency_hz[0]
    reach = MATCHED_POINTS
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


def linewidth_hz(
    problem: Problem, theta: NDArray[np.float64], unknown: float
) -> NDArray[np.float64]:
    """Return the full width at half maximum that all lines share, shape (V,)."""
    return voigt_width_hz(
        problem.column(theta, "lorentz_hz", unknown), problem.column(theta, "gauss2_hz2", 0.0)
    )


def tallest(
    solver: Solver, theta: NDArray[np.float64], amplitudes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the height of the tallest of NAA, Cr and Cho in the phased model, shape (V,)."""
    chosen = [c.area in {"NAA", "Cr", "Cho"} for c in solver.problem.model.components]
    height: NDArray[np.float64] = solver.spectrum(theta, amplitudes * chosen).real.max(axis=1)
    return height


def notes_on(areas: PeakAreas) -> tuple[str, ...]:
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
            where = "here" if areas.is_single else f"in {100 * share:.0f} % of voxels"
            notes.append(
                f"Lactate and lipid 1.3 are not separable {where}: "
                "read LL, their sum, which is better known than its parts."
            )
    return tuple(notes)
