"""Preprocessing against known truth, each beside a named baseline in the same run.

Printed: how often the shift (by more than 0.06 ppm) and the phase (by more than 40 degrees) are
found wrong, which is what the fit that follows cannot mend, beside the simplest way (the highest
point near 2 ppm is NAA; the phase that makes the real part largest); how well averages are
aligned, beside the tallest point's frequency; HLSVD's time beside hlsvdpropy, where that is
installed.

    python benchmarks/preprocessing.py
"""

from __future__ import annotations

import importlib.util
import time

import numpy as np
from threadpoolctl import threadpool_limits

from mrs_necrosis.constants import PEAK_PPM
from mrs_necrosis.preprocessing import align_averages, find_reference, hlsvd
from mrs_necrosis.simulation import phantom

TISSUES = (
    "normal_white_matter",
    "radiation_necrosis",
    "recurrent_hgg_low_lipid",
    "recurrent_gbm_high_lipid",
    "metastasis_recurrence",
)
DRAWS, MHZ = 200, 123.2


def simplest(spectra):
    """Call the highest point from 1.8 to 2.2 ppm NAA, and turn for the largest real part."""
    near = np.flatnonzero((spectra.ppm > 1.8) & (spectra.ppm < 2.2))
    spectrum = spectra.spectrum
    shift = spectra.ppm[near[np.abs(spectrum[..., near]).argmax(axis=-1)]] - PEAK_PPM["NAA"]
    band = (spectra.ppm > 1.8) & (spectra.ppm < 4.1)
    return shift, np.angle(spectrum[..., band].sum(axis=-1))


def referencing() -> None:
    print("Shift and phase, 3 T, PRESS, shifts within 0.1 ppm, any phase, baseline 0.3 of the")
    print(f"tallest singlet, linewidth 4 to 10 Hz; {DRAWS} draws; wrong in %, ours / simplest\n")
    print(
        f"{'tissue':26}{'TE ms':>6}{'SNR':>5}{'shift':>14}{'phase':>14}{'confidence':>12}{'ms':>6}"
    )
    for echo_time_s in (0.03, 0.144):
        for tissue in TISSUES:
            for snr in (5, 10, 20, 50):
                rng = np.random.default_rng(1)
                grid = (DRAWS, 1, 1)
                shift = rng.uniform(-0.1, 0.1, grid)
                phase = rng.uniform(-np.pi, np.pi, grid)
                spectra = phantom(
                    tissue, rng, grid=grid, echo_time_s=echo_time_s, snr=snr, phase_rad=phase,
                    shift_hz=shift * MHZ, linewidth_hz=rng.uniform(4, 10, grid), baseline=0.3,
                    spectrometer_frequency_mhz=MHZ, lipid_variation=0.15,
                    lipid_shape="asymmetric",
                ).spectra  # fmt: skip
                start = time.process_time()
                found = find_reference(spectra)
                cpu_ms = 1e3 * (time.process_time() - start) / DRAWS
                wrong = []
                for a, b in ((found.shift_ppm, found.phase_rad), simplest(spectra)):
                    stray = np.abs(np.angle(np.exp(1j * (b - phase))))
                    wrong.append((np.abs(a - shift) > 0.06).mean() * 100)
                    wrong.append((stray > np.radians(40)).mean() * 100)
                print(
                    f"{tissue:26}{1e3 * echo_time_s:6.0f}{snr:5}"
                    f"{wrong[0]:7.1f} /{wrong[2]:5.1f}{wrong[1]:7.1f} /{wrong[3]:5.1f}"
                    f"{found.confidence.mean():12.3f}{cpu_ms:6.1f}"
                )
    print()


def alignment() -> None:
    print("Alignment of 32 averages that drift by 8 Hz: rms error of the frequency in Hz\n")
    print(f"{'SNR of the mean':>16}{'ours':>8}{'tallest point':>15}")
    for snr in (10, 20, 50, 100):
        errors, naive = [], []
        for seed in range(10):
            rng = np.random.default_rng(seed)
            made = phantom(
                "recurrent_hgg_low_lipid", rng, averages=32, drift_hz=8.0, snr=snr,
                phase_jitter_rad=0.3, residual_water=5.0,
            ).data  # fmt: skip
            true = np.linspace(0, 8, 32)
            step = align_averages(made).history[-1].parameters
            found = np.array(step["shift_hz"]) if step["applied"] else np.zeros(32)
            spectrum = np.abs(np.fft.fft(made.fid[0, 0, 0], 8 * made.n_samples, axis=0))
            hz = np.fft.fftfreq(len(spectrum), made.acquisition.dwell_time_s)
            low = np.abs(hz / MHZ + 4.65 - 3.1) < 1.2
            for values, into in ((found, errors), (hz[low][spectrum[low].argmax(axis=0)], naive)):
                stray = values - true
                into.append(np.std(stray))
        print(f"{snr:16}{np.mean(errors):8.2f}{np.mean(naive):15.2f}")
    print()


def decomposition() -> None:
    peer = None
    if importlib.util.find_spec("hlsvdpropy"):
        from hlsvdpropy.hlsvd import hlsvdpro as peer
    print("HLSVD, 25 components, one thread, CPU ms: ours / hlsvdpropy; difference of the water\n")
    for n_samples in (512, 1024, 2048):
        made = phantom(
            "mixed", np.random.default_rng(0), n_samples=n_samples, residual_water=60.0, snr=50
        )
        fid, dwell_s = made.data.fid[0, 0, 0], made.data.acquisition.dwell_time_s
        with threadpool_limits(limits=1, user_api="blas"):
            start = time.process_time()
            ours = hlsvd(fid, dwell_s, 25)
            cpu = [1e3 * (time.process_time() - start)]
            water = ours.fid(n_samples, dwell_s, np.abs(ours.frequencies_hz) < 40)
            if peer is None:
                print(f"{n_samples:6}{cpu[0]:8.0f}  hlsvdpropy is not installed")
                continue
            start = time.process_time()
            _, _, turns, growth, height, phase, *_ = peer(fid, 25, sparse=False)
            cpu.append(1e3 * (time.process_time() - start))
        chosen = np.abs(turns / dwell_s) < 40
        rate = (2j * np.pi * turns + growth)[chosen]
        theirs = (
            np.exp(np.outer(np.arange(n_samples), rate)) @ (height * np.exp(1j * phase))[chosen]
        )
        apart = np.linalg.norm(water - theirs) / np.linalg.norm(theirs)
        print(f"{n_samples:6}{cpu[0]:8.0f} /{cpu[1]:6.0f}{apart:12.1e}")


if __name__ == "__main__":
    referencing()
    alignment()
    decomposition()
