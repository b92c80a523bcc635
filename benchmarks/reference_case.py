"""The reference case simulated 200 times: bias, scatter, coverage and label.

Areas are exactly those of the report, LL divided as in the simulator's typical necrosis; every
spectrum has its own noise, baseline, phase, shift and residual water. Bias is in units of the
median sd that is reported, rmse in units of the Cramer-Rao bound (``fit_accuracy.bound``: every
shape known, everything free). Baseline in the same run: the ratio of heights in the real spectrum,
phased and shifted by the truth.
"""

import runpy
from pathlib import Path

import numpy as np

from benchmarks.fit_accuracy import bound
from mrs_necrosis.assessment import LABELS
from mrs_necrosis.classifier import assess_grid
from mrs_necrosis.constants import PEAK_PPM
from mrs_necrosis.fitting import fit
from mrs_necrosis.preprocessing import preprocess
from mrs_necrosis.ratios import ratio
from mrs_necrosis.simulation import phantom

SEED = 20120901
DRAWS = 200
SNRS = (100.0, 40.0, 10.0)
ECHO_TIMES_S = (0.030, 0.144)
RATIOS = ("Cho/Cr", "NAA/Cr", "Cho/NAA", "LL/Cr", "LL/Cho", "LL/NAA")
SAMPLES = Path(__file__).parents[1] / "data" / "samples" / "make_samples.py"


def heights(made, name):
    """Return the height of a peak in the real spectrum, with the true phase and shift."""
    spectra, truth = made.spectra, made.truth.parameters
    turn = truth["phase_rad"][..., None] + 2 * np.pi * truth["shift_hz"][..., None] * (
        spectra.time_s
    )
    spectrum = np.fft.fftshift(np.fft.fft(spectra.fid * np.exp(-1j * turn), axis=3), axes=3).real
    near = np.abs(spectra.ppm - PEAK_PPM[name]) < 0.05
    return spectrum[..., near].max(axis=-1)


def main() -> None:
    reference_areas = runpy.run_path(str(SAMPLES))["reference_areas"]
    print(f"{DRAWS} draws a cell, seed {SEED}; bias in units of the median sd reported,")
    print("rmse in units of the Cramer-Rao bound; coverage of the 95 % interval,")
    print(f"binomial error {np.sqrt(0.95 * 0.05 / DRAWS):.3f}\n")
    head = f"{'TE':>4}{'SNR':>5}  {'ratio':<8}{'truth':>7}{'median':>8}{'sd':>7}{'bias':>7}"
    print(head + f"{'rmse':>7}{'cover':>7}{'heights':>9}")
    labels = []
    for number, echo_time_s in enumerate(ECHO_TIMES_S):
        areas = reference_areas(echo_time_s)
        for snr in SNRS:
            rng = np.random.default_rng([SEED, number, int(snr)])
            made = phantom(
                areas, rng, grid=(DRAWS, 1, 1), echo_time_s=echo_time_s, n_samples=2048,
                snr=snr, linewidth_hz=5.5, baseline=0.03, residual_water=2.0,
                phase_rad=rng.uniform(-0.5, 0.5, (DRAWS, 1, 1)),
                shift_hz=rng.uniform(-4, 4, (DRAWS, 1, 1)), keep_components=True,
            )  # fmt: skip
            ideal = bound(made, "gaussian", RATIOS)
            spectra = preprocess(made.data)
            fitted = fit(spectra)
            found = fitted.areas.with_ll()
            for name in RATIOS:
                numerator, denominator = name.split("/")
                truth = float(np.median(made.truth.ratio(numerator, denominator)))
                one = ratio(found, numerator, denominator)
                sd = float(np.nanmedian(one.sd))
                error = one.value - truth
                least = truth * float(np.median(ideal[name]))
                covered = one.interval(0.95).contains(truth).mean()
                rough = "-"
                if "LL" not in name:
                    quotient = heights(made, numerator) / heights(made, denominator)
                    rough = f"{float(np.median(quotient)):.2f}"
                print(
                    f"{1e3 * echo_time_s:>4.0f}{snr:>5.0f}  {name:<8}{truth:>7.2f}"
                    f"{float(np.nanmedian(one.value)):>8.2f}{sd:>7.3f}"
                    f"{float(np.nanmean(error)) / sd:>7.2f}"
                    f"{float(np.sqrt(np.nanmean(error**2))) / least:>7.2f}"
                    f"{covered:>7.3f}{rough:>9}"
                )
            judged = assess_grid(
                found, quality=fitted.quality, acquisition=spectra.acquisition
            )  # fmt: skip
            labels.append((echo_time_s, snr, judged.counts()))
    print(f"\n{'TE':>4}{'SNR':>5}  " + "".join(f"{label.value:>22}" for label in LABELS))
    for echo_time_s, snr, counts in labels:
        cells = "".join(f"{counts[label]:>22}" for label in LABELS)
        print(f"{1e3 * echo_time_s:>4.0f}{snr:>5.0f}  {cells}")


if __name__ == "__main__":
    main()
