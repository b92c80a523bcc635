"""The patterns that spectra are recognised by, and the bank of them at every shift and width."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from mrs_necrosis.constants import LACTATE_J_HZ, PEAK_PPM

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEARCH_PPM: Final = 0.5
"""Shifts up to this are searched."""

_STEP_PPM = 0.01
_BAND_PPM = (0.35, 4.1)

WIDTHS_PPM: Final = (0.025, 0.05, 0.09, 0.15)
"""Linewidths of the bank."""

N_BASELINE: Final = 12
"""Smooth modes, complex, that are projected out of the band."""

SINGLETS: Final = ("Cho", "Cr", "NAA")

# Patterns: name, lines (ppm, weight), extra width in ppm. Shifts of Govindaraju 2000; multiplets
# are drawn with a few lines, which is enough to recognise them; the macromolecules' relative areas
# are round numbers near those in resources/tissues.toml.
PATTERNS: Final[tuple[tuple[str, tuple[tuple[float, float], ...], float], ...]] = (
    ("Cho", ((PEAK_PPM["Cho"], 1.0),), 0.0),
    ("Cr", ((PEAK_PPM["Cr"], 1.0),), 0.0),
    ("NAA", ((PEAK_PPM["NAA"], 1.0),), 0.0),
    ("Cr 3.9", ((3.913, 1.0),), 0.0),
    ("mI", ((3.53, 0.5), (3.61, 0.5)), 0.03),
    ("Glx 3.75", ((3.75, 1.0),), 0.03),
    ("Glx 2.35", ((2.30, 0.25), (2.35, 0.5), (2.45, 0.25)), 0.04),
    ("Glx 2.1", ((2.08, 0.5), (2.14, 0.5)), 0.04),
    ("NAA 2.6", ((2.5, 0.3), (2.6, 0.3), (2.68, 0.4)), 0.04),
    ("Lac", (), 0.0),
    ("Lip13", ((PEAK_PPM["Lip13"], 1.0),), 0.10),
    ("Lip13 broad", ((1.32, 1.0),), 0.22),
    ("Lip13 high", ((1.36, 1.0),), 0.10),
    ("Lip09", ((0.91, 1.0),), 0.14),
    # tied: alone, any of them could pass for a lipid at another shift
    (
        "MM",
        (
            (0.91, 1.0),
            (1.21, 0.4),
            (1.39, 0.8),
            (1.68, 0.6),
            (2.05, 1.2),
            (2.27, 0.6),
            (3.0, 0.6),
        ),
        0.12,
    ),
    ("acetate", ((1.904, 1.0),), 0.0),
    # scyllo-inositol; at 1.5 T taurine's two triplets run together in the same place
    ("sI", ((3.34, 1.0),), 0.0),
)
NAMES = tuple(name for name, _, _ in PATTERNS)
FATTY = tuple(NAMES.index(name) for name in ("Lip13", "Lip13 broad", "Lip09"))
LACTATE = NAMES.index("Lac")
MACROMOLECULES = NAMES.index("MM")
RARE = tuple(NAMES.index(name) for name in ("acetate", "sI"))

CENTRES_PPM = np.array(
    [
        sum(at * weight for at, weight in lines) / sum(weight for _, weight in lines)
        if lines
        else PEAK_PPM[name]
        for name, lines, _ in PATTERNS
    ]
)
"""Where each pattern lies, which for the macromolecules means nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Patterns at S shifts and W widths, K each, on n points of the spectrum."""

    points: NDArray[np.intp]  # (n,) indices into the ascending spectrum
    frequency_hz: NDArray[np.float64]  # (n,)
    baseline: NDArray[np.float64]  # (n, B), orthonormal
    columns: NDArray[np.complex128]  # (n, S W K), baseline projected out
    gram: NDArray[np.float64]  # (K, K, S W), real part
    singlets: NDArray[np.complex128]  # (S W, 3, 3 + F), see below
    shifts_ppm: NDArray[np.float64]  # (S,)

    def without_baseline(self, spectrum: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Return spectra (..., n) without what the baseline takes of them."""
        flat: NDArray[np.complex128] = spectrum - (spectrum @ self.baseline) @ self.baseline.T
        return flat


@lru_cache(maxsize=4)
def pattern_bank(
    n_samples: int, dwell_s: float, frequency_mhz: float, reference_ppm: float
) -> Bank | None:
    """Return the bank for one kind of acquisition; None if it has too few points in the band."""
    frequency_hz = np.fft.fftshift(np.fft.fftfreq(n_samples, dwell_s))
    ppm = reference_ppm + frequency_hz / frequency_mhz
    points = np.flatnonzero((ppm >= _BAND_PPM[0]) & (ppm <= _BAND_PPM[1]))
    n = points.size
    if n < 4 * N_BASELINE:
        return None
    position = (np.arange(n) + 0.5) / n
    baseline = np.linalg.qr(np.cos(np.pi * np.outer(position, np.arange(N_BASELINE))))[0]
    shifts = np.arange(-SEARCH_PPM, SEARCH_PPM + 0.5 * _STEP_PPM, _STEP_PPM)
    wave = np.exp(-2j * np.pi * frequency_hz[points] * dwell_s)
    half_j = 0.5 * LACTATE_J_HZ / frequency_mhz
    columns = np.zeros((n, shifts.size, len(WIDTHS_PPM), len(PATTERNS)), dtype=np.complex128)
    for k, (name, pattern, extra) in enumerate(PATTERNS):
        lines = pattern or ((PEAK_PPM[name] - half_j, 0.5), (PEAK_PPM[name] + half_j, 0.5))
        for w, width in enumerate(WIDTHS_PPM):
            fwhm_hz = (width + extra) * frequency_mhz
            for at, weight in lines:
                hz = (at + shifts - reference_ppm) * frequency_mhz
                pole = np.exp((2j * np.pi * hz - np.pi * fwhm_hz) * dwell_s)
                # the sum of a geometric series: exactly the plain FFT of the exponential
                columns[:, :, w, k] += (
                    weight * (1.0 - pole**n_samples) / (1.0 - np.outer(wave, pole))
                )
    flat = columns.reshape(n, -1)
    flat -= baseline @ (baseline.T @ flat)
    norm = np.sqrt((np.abs(flat) ** 2).sum(axis=0))
    flat /= np.maximum(norm, 1e-6 * norm.max())
    by_setting = np.moveaxis(flat.reshape(n, -1, len(PATTERNS)), 0, -1)  # (S W, K, n)
    complex_gram = by_setting.conj() @ np.swapaxes(by_setting, 1, 2)
    # singlets with the lipids projected out: r = q_s - G_sf inv(G_ff) q_f, then whitened
    s = np.arange(len(SINGLETS))
    f = np.array(FATTY)
    ridge = 1e-6 * np.eye(f.size)
    g_sf = complex_gram[:, s[:, None], f[None, :]]
    solve = g_sf @ np.linalg.inv(complex_gram[:, f[:, None], f[None, :]] + ridge)
    left = complex_gram[:, s[:, None], s[None, :]] - solve @ np.swapaxes(g_sf.conj(), 1, 2)
    root = np.linalg.inv(np.linalg.cholesky(left.real + 1e-6 * np.eye(s.size)))
    singlets = np.concatenate([root, -root @ solve], axis=2)
    return Bank(
        points,
        frequency_hz[points],
        baseline,
        flat,
        np.ascontiguousarray(np.moveaxis(complex_gram.real, 0, -1)),
        singlets,
        shifts,
    )


def nonnegative(
    gram: NDArray[np.float64],
    product: NDArray[np.float64],
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    sweeps: int,
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Minimise a'Ga - 2 a'c within bounds by coordinate descent, for M problems at once.

    Shapes: gram (K, K, M), product, start and result (K, M), bounds (K,).
    """
    amplitude = start.copy()
    gradient = product - np.einsum("klm,lm->km", gram, amplitude)
    for _ in range(sweeps):
        for k in range(len(product)):
            new = amplitude[k] + gradient[k] / (gram[k, k] + 1e-9)
            new = np.minimum(np.maximum(new, lower[k]), upper[k])
            gradient -= gram[k] * (new - amplitude[k])
            amplitude[k] = new
    return amplitude
