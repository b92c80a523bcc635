"""Whether the fit reaches the Cramer-Rao bound where the model is right.

Spectra are made of the model that is fitted: the default one without macromolecules and with one
line for each lipid, areas and widths at their priors' means, a lesion's lipid and lactate, no
baseline; 200 draws a cell with their own noise, phase and shift. The bound is that of the same
model with every parameter and amplitude free, lactate's CH, too, but told that creatine's CH2 is
whole and how the echo time is divided, and a baseline of 3 dimensions, the stiffest that the fit
considers; what macromolecules would make of it is no bound on anything. Priors may beat it, the
choice of the baseline costs. Bar: rmse at most 1.1 of it at SNR 10 and above.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.fit_accuracy import folded, free_covariance, relative_sd, without_priors
from mrs_necrosis import Acquisition, Spectra, ratio
from mrs_necrosis.fitting import Baseline, default_model, fit
from mrs_necrosis.fitting.problem import prepare
from mrs_necrosis.fitting.varpro import time_columns

DRAWS, SAMPLES, SEED = 200, 1024, 7
SNRS = (10, 20, 50, 100)
MEMBERS = {
    "Cho": ("GPC", "PCh"), "Cr": ("Cr", "PCr"), "NAA": ("NAA", "NAAG"),
    "LL": ("Lip13", "Lip09", "Lac"),
}  # fmt: skip
PAIRS = ("Cho/Cr", "NAA/Cr", "LL/Cr")
EXTRA_LIPIDS = ("Lip13b", "Lip16", "Lip09b", "Lip20a", "Lip20b")
OWN = {"NAA": 0.33, "Cr": 0.16, "GPC": 0.17, "Lip13": 0.5, "Lac": 0.15}
"""Areas, in units of the priors' scale, of what has no prior."""


def areas_of(model):
    """Return the amplitude of each component: its prior's mean, or what a lesion has."""
    found: dict[str, float] = {}
    for item in model.components:
        found[item.name] = OWN.get(item.name, item.prior_mean or 0.0)
    for item in model.components:
        if item.tied_to:
            found[item.name] = item.tie_mean * found[item.tied_to]
    return np.array([found[item.name] for item in model.components])


def main() -> None:
    print(f"{DRAWS} draws a cell; rmse over the Cramer-Rao bound, coverage of 95 % intervals")
    print(f"{'TE':>4}{'SNR':>5}" + "".join(f" |{p:>8}{'bound %':>8}{'cover':>7}" for p in PAIRS))
    for echo_time_s in (0.030, 0.144):
        acquisition = Acquisition(
            spectrometer_frequency_mhz=123.2, dwell_time_s=5e-4, echo_time_s=echo_time_s,
            sequence="PRESS", nucleus="1H", reference_ppm=4.65,
        )  # fmt: skip
        model = default_model(acquisition)
        model = model.without(*(n for n in model.names if n.startswith("MM") or n in EXTRA_LIPIDS))
        known = without_priors(model, ("CrCH2",))
        areas = areas_of(known)
        blank = Spectra(fid=np.ones((1, 1, 1, SAMPLES)), acquisition=acquisition)
        problem = prepare(blank, replace(known, baseline=Baseline((3.0,))))
        theta = folded(model, {p.name: p.start for p in model.parameters})[None]
        carrier = np.exp(2j * np.pi * problem.first_bin * np.arange(SAMPLES) / SAMPLES)
        columns = time_columns(problem, theta)[0] * carrier
        narrow = [c.area in {"NAA", "Cr", "Cho"} for c in known.components]
        height = np.fft.fft((areas * narrow) @ columns).real.max()
        for snr in SNRS:
            rng = np.random.default_rng([SEED, snr])
            sd = height / snr / np.sqrt(SAMPLES)
            shift = rng.uniform(-4, 4, (DRAWS, 1))
            turn = np.exp(
                1j * rng.uniform(-0.5, 0.5, (DRAWS, 1)) + 2j * np.pi * shift * problem.time_s
            )
            noise = rng.standard_normal((2, DRAWS, SAMPLES))
            fid = (areas @ columns) * turn + sd * (noise[0] + 1j * noise[1])
            spectra = Spectra(fid=fid.reshape(DRAWS, 1, 1, SAMPLES), acquisition=acquisition)
            found = fit(spectra, model)
            unit = sd * np.sqrt(SAMPLES)
            clean = problem.in_band((areas @ columns)[None]) / unit
            index = {name: k for k, name in enumerate(known.names)}
            values = {
                name: np.array([sum(areas[index[part]] for part in parts)]) / unit
                for name, parts in MEMBERS.items()
            }
            covariance = free_covariance(problem, clean, theta)
            least = relative_sd(covariance, known, values, MEMBERS, PAIRS)
            line = f"{1e3 * echo_time_s:>4.0f}{snr:>5}"
            for pair in PAIRS:
                n, d = pair.split("/")
                truth = float(values[n][0] / values[d][0])
                one = ratio(found.areas, n, d)
                error = one.value.ravel() / truth - 1
                covered = one.interval().contains(truth).mean()
                bound = float(least[pair][0])
                rmse = float(np.sqrt(np.nanmean(error**2)))
                line += f" |{rmse / bound:>8.2f}{100 * bound:>8.1f}{100 * covered:>7.1f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
