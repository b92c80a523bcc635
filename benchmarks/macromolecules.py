"""Where the macromolecules' prior comes from: three sources laid on one comb of lines.

A comb of Gaussian lines with a smooth baseline is fitted, without negative areas, to two
metabolite-nulled human brain spectra at 3 T (STEAM 8 ms, MRSHub's "3T_MM_human_STEAM_CMRR";
PRESS 30 ms with inversion, Osprey's example data), and the comb alone to the published
parametrisation of Bell et al., Magn. Reson. Med. (2024), as the simulator has it. Areas are
relative to the 0.92 ppm line. The prior's mean is the mean of the three, each with the same
weight, because they differ by more than any of them is known. How they differ is no matter of each
line alone: between the lines one of them has a floor that another has not. Three sources differ in
two patterns, the principal ones of their deviations: ``floor`` and ``other``, each of one standard
deviation. Beyond them each line has a standard deviation of a quarter of its mean and 0.08, added
in squares: ``sd``. Where a line adds nothing that its neighbour does not, ``with`` names the one
whose amplitude it shares, as their means are; one without a mean is left out. The last columns
stand in ``resources/priors/metabolites.toml``; there a pattern's lines are shares of its sum, that
stands below.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.optimize import lsq_linear

from mrs_necrosis import preprocess, read
from mrs_necrosis.fitting.model import GAUSS_RATE
from mrs_necrosis.fitting.problem import shrinkage_of, smooth_modes
from mrs_necrosis.simulation.tissues import tissue_data

DATA = Path(__file__).parents[2] / "shared" / "data"
PPM = (
    0.92, 1.21, 1.30, 1.39, 1.48, 1.58, 1.67, 1.76, 1.85, 1.95, 2.04, 2.13, 2.25, 2.36, 2.46,
    2.58, 2.74, 2.88, 2.99, 3.10, 3.21, 3.33, 3.45, 3.58, 3.72, 3.86, 3.97, 4.10,
)  # fmt: skip
WIDTH_PPM = 0.15
LINEWIDTH_HZ = 6.0
DIMENSIONS = 7.0
REST_PPM = (1.95, 2.008, 2.35, 3.027, 3.21, 3.925)
"""What inversion leaves of metabolites, of either sign."""
SPREAD_OF_MEAN, LEAST_SD = 0.25, 0.08
WITH = {1.30: 1.21, 1.48: 1.39, 1.85: 1.76, 2.88: 2.74, 3.33: 3.21, 4.10: 3.97}
"""Lines without an amplitude of their own: with fewer the fit is quicker and no worse."""


def line(ppm, width_ppm, time_s, mhz, reference):
    width2 = (width_ppm * mhz) ** 2 + LINEWIDTH_HZ**2
    return np.exp(2j * np.pi * (ppm - reference) * mhz * time_s - GAUSS_RATE * width2 * time_s**2)


def comb_of(fid, dwell_s, mhz, reference, rest=(), *, measured=True):
    """Return the areas of the comb; what is measured has a baseline, and the best phase."""
    time_s = np.arange(fid.size) * dwell_s
    ppm = reference + np.fft.fftfreq(fid.size, dwell_s) / mhz
    order = np.argsort(ppm)
    band = order[(ppm[order] > 0.4) & (ppm[order] < 4.15)]
    lines = [(p, WIDTH_PPM) for p in PPM] + [(p, 0.0) for p in rest]
    columns = np.fft.fft([line(*one, time_s, mhz, reference) for one in lines], axis=1)[:, band].T
    data = np.fft.fft(fid)[band]
    # a penalised baseline, eliminated: what it takes of each smooth mode is left out of all
    modes, roughness = smooth_modes(band.size)
    taken = shrinkage_of(roughness, DIMENSIONS)
    kept = modes * (1 - np.sqrt(1 - taken)) * measured

    def less(curves):
        return curves - kept @ (modes.T @ curves)

    small = less(columns)
    design = np.concatenate([small.real, small.imag])
    lower = np.r_[np.zeros(len(PPM)), np.full(len(rest), -np.inf)]
    best = None
    for phase in np.arange(-0.6, 0.61, 0.05) if measured else (0.0,):
        turned = less(data * np.exp(1j * phase))
        found = lsq_linear(
            design, np.concatenate([turned.real, turned.imag]), (lower, np.inf), tol=1e-12
        )
        if best is None or found.cost < best.cost:
            best = found
    return best.x[: len(PPM)] / best.x[0]


def stored_comb():
    """Return the comb of a metabolite-nulled sum whose reference line lies at 0 ppm."""
    found = read(DATA / "varian_fid" / "3T_MM_human_STEAM_CMRR.fid")
    fid, acquisition = found.fid[0, 0, 0], found.acquisition
    mhz, dwell = acquisition.spectrometer_frequency_mhz, acquisition.dwell_time_s
    fine = 1 << 16
    ppm = 4.65 + np.fft.fftfreq(fine, dwell) / mhz
    near = np.flatnonzero(np.abs(ppm) < 0.3)
    zero = ppm[near[np.abs(np.fft.fft(fid, fine)[near]).argmax()]]
    return comb_of(fid * np.exp(-0.35j), dwell, mhz, 4.65 - zero)


def nulled_comb():
    folder = DATA / "philips_sdat" / "osprey_press30_mm"
    stem = "sub-02_ses-01_PRESS-Inverted_TI-600_raw-{}_noID.SDAT"
    spectra = preprocess(
        read(folder / stem.format("act"), water_reference=folder / stem.format("ref"))
    )
    acquisition = spectra.acquisition
    return comb_of(
        spectra.fid[0, 0, 0], acquisition.dwell_time_s, acquisition.spectrometer_frequency_mhz,
        acquisition.reference_or_water_ppm, REST_PPM,
    )  # fmt: skip


def published_comb():
    time_s, mhz = np.arange(4096) * 2.5e-4, 123.2
    rows = tissue_data()["macromolecules"].values()
    fid = sum(area * line(ppm, width, time_s, mhz, 4.65) for ppm, width, area in rows)
    return comb_of(fid, 2.5e-4, mhz, 4.65, measured=False)


def patterns_of(sources):
    """Return the two patterns in which three sources differ, shape (2, L)."""
    _, size, rows = np.linalg.svd(sources - sources.mean(axis=0), full_matrices=False)
    patterns = rows[:2] * (size[:2, None] / np.sqrt(len(sources)))
    return patterns * np.sign(patterns.sum(axis=1, keepdims=True))


def main() -> None:
    if not DATA.is_dir():
        print(f"the files are not in {DATA.parent.name}/{DATA.name} beside the project")
        return
    sources = np.stack([stored_comb(), nulled_comb(), published_comb()])
    mean, patterns = sources.mean(axis=0), patterns_of(sources)
    sd = np.hypot(SPREAD_OF_MEAN * mean, LEAST_SD)
    columns = (*sources, mean, sd, *patterns)
    titles = ("ppm", "STEAM 8", "PRESS 30", "Bell", "mean", "sd", "floor", "other", "with")
    print("".join(f"{title:>9}" for title in titles))
    for ppm, *row in zip(PPM, *columns, strict=True):
        shared = f"{WITH[ppm]:>9.2f}" if ppm in WITH else ""
        print("".join(f"{value:>9.2f}" for value in (ppm, *row)) + shared)
    print(f"{'sum':>9}" + "".join(f"{column.sum():>9.2f}" for column in columns))


if __name__ == "__main__":
    main()
