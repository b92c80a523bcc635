"""Coverage where the truth varies as the fit's own priors say.

``fit_accuracy`` asks whether intervals hold on phantoms that the model does not know. There all
spectra have the same macromolecules and the same T2, though tissue has not; what the intervals
allow for them is then not used up, and they cover more than they say. Here each spectrum draws
what the model leaves open: all amplitudes but the areas of the class from their priors, not below
zero; widths, shifts and begin time from theirs; and how wrong a line's shape is. Baselines are
those of ``fit_accuracy``, which no prior describes. ``error`` is the median absolute error and
``said`` what the fit expects of it, 0.67 of its standard deviations, in %; then the coverage of
95 % intervals. 500 spectra a cell by default; a number as argument takes another.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.fit_accuracy import CLASSES, RATIOS, SNRS, covered, spectra_of
from mrs_necrosis import Spectra, ratio
from mrs_necrosis.fitting import default_model, fit
from mrs_necrosis.fitting.model import areas_of, misshapen
from mrs_necrosis.fitting.problem import PIVOT_PPM, prepare
from mrs_necrosis.fitting.varpro import time_columns

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from mrs_necrosis.fitting import Component, Model
    from mrs_necrosis.fitting.problem import Problem
    from mrs_necrosis.simulation.phantoms import Phantom

    Floats = NDArray[np.float64]

SEED, HALF = 200, 0.6745
OF_CLASS = {"NAA": "NAA", "Cr": "Cr", "GPC": "Cho", "Lac": "Lac", "Lip13": "Lip13"}
"""Amplitudes without a prior, and the area of the phantom that they are given."""
PHASE_RAD, SHIFT_HZ = 0.3, 4.0
"""Phase and common shift have no prior; they are drawn evenly up to these."""


def normal(rng, mean, sd, low, high) -> Floats:
    """Draw normal numbers within bounds, one for each mean."""
    mean, sd, low, high = np.broadcast_arrays(mean, sd, low, high)
    drawn = mean + sd * rng.standard_normal(mean.shape)
    while (outside := (drawn < low) | (drawn > high)).any():
        again = mean + sd * rng.standard_normal(mean.shape)
        drawn = np.where(outside, again, drawn)
    return drawn


def is_difference(item: Component) -> bool:
    """Return whether an amplitude may be negative: it is what sets two patterns apart."""
    return item.tie_mean == 0 or item.name.endswith("echo")


def amplitudes_of(model: Model, made: Phantom, rng) -> Floats:
    """Draw the amplitudes of V voxels, shape (V, K)."""
    known = {item.name: item for item in model.components}
    drawn = {}

    def tied(masters: Collection[str]) -> None:
        for item in model.components:
            if item.tied_to in masters:
                master, size = known[item.tied_to], drawn[item.tied_to]
                mean = item.tie_mean * size
                if master.prior_sd is not None:
                    size = (master.prior_mean or master.prior_sd) * scale
                low = -np.inf if is_difference(item) else 0.0
                drawn[item.name] = normal(rng, mean, item.tie_sd * size, low, np.inf)

    for name, area in OF_CLASS.items():
        drawn[name] = made.truth.areas.value(area).ravel()
    tied(OF_CLASS)
    scale = sum(drawn[name] for name in model.scale)
    for item in model.components:
        if item.prior_sd is not None:
            drawn[item.name] = normal(
                rng, item.prior_mean * scale, item.prior_sd * scale, 0.0, np.inf
            )
    tied(known.keys() - OF_CLASS.keys())
    return np.stack([drawn[name] for name in model.names], axis=1)


def parameters_of(problem: Problem, voxels: int, rng) -> Floats:
    """Draw the nonlinear parameters of V voxels, shape (V, P)."""
    drawn = np.zeros((voxels, len(problem.kind)))
    for p, parameter in enumerate(problem.model.parameters):
        if parameter.sd is None:
            reach = PHASE_RAD if parameter.kind == "phase" else SHIFT_HZ
            drawn[:, p] = rng.uniform(-reach, reach, voxels)
        else:
            start, sd = np.full(voxels, parameter.start), parameter.sd
            drawn[:, p] = normal(rng, start, sd, parameter.lower, parameter.upper)
    return drawn


def turned(problem: Problem, made: Phantom, theta: Floats, fid):
    """Return FIDs with phase and begin time, shape (V, N)."""
    acquisition = made.spectra.acquisition
    hz = np.fft.fftfreq(fid.shape[1], acquisition.dwell_time_s)
    pivot = (
        PIVOT_PPM - acquisition.reference_or_water_ppm
    ) * acquisition.spectrometer_frequency_mhz
    (phase,), (begin,) = (theta[:, problem.index(kind)].T for kind in ("phase", "begin"))
    angle = phase[:, None] + 2 * np.pi * (hz - pivot) * begin[:, None]
    return np.fft.ifft(np.fft.fft(fid, axis=1) * np.exp(1j * angle), axis=1)


def drawn_like(made: Phantom, snr: float, rng) -> tuple[Spectra, dict[str, Floats]]:
    """Return spectra drawn from the priors around a phantom's class, and their true areas."""
    model = default_model(made.spectra.acquisition)
    problem = prepare(made.spectra, model)
    voxels = made.spectra.grid[0]
    amplitudes = amplitudes_of(model, made, rng)
    theta = parameters_of(problem, voxels, rng)
    bins = problem.first_bin * np.arange(problem.time_s.size) / problem.time_s.size
    columns = time_columns(problem, theta) * np.exp(2j * np.pi * bins)
    clean = np.einsum("vk,vkn->vn", amplitudes, columns)
    # a phantom's baseline is turned already: back by its phase
    phase = made.truth.parameters["phase_rad"].reshape(voxels, 1)
    clean += made.truth.components["baseline"].reshape(clean.shape) * np.exp(-1j * phase)
    named = amplitudes * [c.area in {"NAA", "Cr", "Cho"} for c in model.components]
    narrow = np.einsum("vk,vkn->vn", named, columns)
    heights = np.fft.fft(narrow, axis=1).real.max(axis=1)
    sd = heights[:, None] / (snr * np.sqrt(clean.shape[1]))
    noise = rng.standard_normal((2, *clean.shape))
    fid = turned(problem, made, theta, clean) + sd * (noise[0] + 1j * noise[1])
    true = amplitudes.copy()
    for matrix in misshapen(model):
        true += rng.standard_normal((voxels, 1)) * (amplitudes @ matrix)
    names, combine = areas_of(model)
    areas = dict(zip(names, combine @ true.T, strict=True))
    areas["LL"] = areas["Lip13"] + areas["Lip09"] + areas["Lac"]
    spectra = Spectra(fid=fid[:, None, None], acquisition=made.spectra.acquisition)
    return spectra, areas


def row(results, areas, name: str) -> str:
    """Return median error, what was said of it and coverage of one ratio."""
    n, d = name.split("/")
    error, said, held = [], [], []
    for result, true in zip(results, areas, strict=True):
        one, value = ratio(result.areas, n, d), (true[n] / true[d])[:, None, None]
        error.append(np.abs(one.value / value - 1))
        said.append(one.sd / value)
        held.append(covered(one, value))
    median = [100 * np.nanmedian(np.concatenate(column)) for column in (error, said)]
    cover = 100 * np.concatenate(held).mean()
    return f" |{median[0]:>14.1f}{HALF * median[1]:>6.1f}{cover:>6.1f}"


def main(n: int) -> None:
    for echo_time_s in (0.030, 0.144):
        print(f"PRESS {1e3 * echo_time_s:.0f} ms, {n} spectra a cell")
        titles = "".join(f" |{name:>8} error  said cover" for name in RATIOS)
        print(f"{'class':<26}{'SNR':>4}{titles}")
        for tissue in CLASSES:
            for snr in SNRS:
                rng = np.random.default_rng(SEED)
                made = spectra_of(tissue, n, SEED, snr, echo_time_s)
                spectra, areas = zip(*(drawn_like(m, snr, rng) for m in made), strict=True)
                results = [fit(one) for one in spectra]
                line = "".join(row(results, areas, name) for name in RATIOS)
                print(f"{tissue:<26}{snr:>4}{line}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
