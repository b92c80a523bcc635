r"""The parts of a simulated signal: damped lines, baselines, water, receivers and noise.

A phantom's FID at time t after the echo top, in the convention of ``spectra``:

.. math:: s(t) = e^{i\varphi} \sum_k a_k\, b_k(\tau)\, e^{2\pi i \Delta f \tau}\, D(\tau)
          + \text{water} + \text{noise}, \qquad \tau = t + t_0

with begin time :math:`t_0` (a first-order phase), shift :math:`\Delta f`, zero-order phase
:math:`\varphi` and the Voigt damping :math:`D(\tau) = e^{-\pi L\tau - (\pi G\tau)^2/(4\ln 2)}` of
Lorentzian and Gaussian widths L and G. Metabolites are coupled spins at the acquisition's field,
sequence and echo time; lipids and macromolecules are broad Gaussians with the same damping on
top. The areas :math:`a_k` are those at :math:`\tau = 0`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from mrs_necrosis.arguments import read_only
from mrs_necrosis.constants import PEAK_PPM, WATER_PPM
from mrs_necrosis.simulation.spins import metabolite_group_area, metabolite_lines
from mrs_necrosis.simulation.tissues import LIPIDS, decay_rate, macromolecule_names, tissue_data

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from mrs_necrosis.spectra import Acquisition


BaselineKind = Literal["gaussians", "process"]

_FWHM_TO_DECAY: Final = math.pi**2 / (4 * math.log(2))

_VOIGT_LORENTZ, _VOIGT_SQUARE = 0.5346, 0.2166  # see voigt_width_hz

_CHUNK: Final = 512  # voxels at once, which bounds the memory
_TAYLOR_ORDER: Final = 6  # of the begin time, on lines around _TAYLOR_PPM
_TAYLOR_PPM: Final = 2.8
_TOP_WINDOW_PPM: Final = 0.05  # a named singlet is looked for this near to its centre
TOPS: Final = ("Cho", "Cr", "NAA")


@dataclass(frozen=True, slots=True)
class Voigt:
    """Damping of many voxels, each array of shape (V, 1)."""

    phase_rad: NDArray[np.float64]
    begin_time_s: NDArray[np.float64]
    shift_hz: NDArray[np.float64]
    lorentz_hz: NDArray[np.float64]
    gauss_hz: NDArray[np.float64]

    def rows(self, rows: slice) -> Voigt:
        """Return the damping of some voxels."""
        return Voigt(
            *(getattr(self, name)[rows] for name in self.__slots__)  # the order of the fields
        )

    def __call__(self, time_s: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Return the damping at some times, shape (V, N)."""
        tau = time_s + self.begin_time_s
        decay = -np.pi * self.lorentz_hz * tau - _FWHM_TO_DECAY * (self.gauss_hz * tau) ** 2
        turn = np.exp(1j * (self.phase_rad + 2 * np.pi * self.shift_hz * self.begin_time_s))
        if self.shift_hz.any():
            # powers of one step instead of an exponential per sample
            step = np.exp(2j * np.pi * self.shift_hz * (time_s[1] - time_s[0]))
            powers = np.broadcast_to(step, tau.shape).copy()
            powers[:, 0] = turn[:, 0]
            turn = np.cumprod(powers, axis=1)
        damping: NDArray[np.complex128] = np.exp(decay) * turn
        return damping


def voigt_widths_hz(
    linewidth_hz: ArrayLike, lorentz_share: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return the Lorentzian and Gaussian widths of a Voigt line.

    Solves the approximation of ``voigt_width_hz``.

    Parameters
    ----------
    linewidth_hz : array_like
        Full width W at half maximum.
    lorentz_share : array_like
        L / W, from 0 (Gaussian) to 1 (Lorentzian).

    Returns
    -------
    lorentz_hz, gauss_hz : ndarray of float64
        Full widths at half maximum.
    """
    width = np.asarray(linewidth_hz, dtype=np.float64)
    lorentz = width * np.asarray(lorentz_share, dtype=np.float64)
    square = (width - _VOIGT_LORENTZ * lorentz) ** 2 - _VOIGT_SQUARE * lorentz**2
    return lorentz, np.sqrt(np.maximum(square, 0.0))


def voigt_width_hz(
    lorentz_hz: NDArray[np.float64], gauss2_hz2: NDArray[np.float64]
) -> NDArray[np.float64]:
    r"""Return the full width at half maximum of a Voigt line.

    The approximation :math:`W = 0.5346\,L + \sqrt{0.2166\,L^2 + G^2}` (Olivero and Longbothum,
    J. Quant. Spectrosc. Radiat. Transfer 17, 233 (1977); good to 0.02 %).

    Parameters
    ----------
    lorentz_hz, gauss2_hz2 : ndarray of float64
        Lorentzian width L and squared Gaussian width.

    Returns
    -------
    ndarray of float64
        W.
    """
    width: NDArray[np.float64] = _VOIGT_LORENTZ * lorentz_hz + np.sqrt(
        _VOIGT_SQUARE * lorentz_hz**2 + np.maximum(gauss2_hz2, 0.0)
    )
    return width


@lru_cache(maxsize=32)
def _basis(
    names: tuple[str, ...],
    acquisition: Acquisition,
    n_samples: int,
    order: int,
    t2_linewidths: bool,
) -> NDArray[np.complex128]:
    """Return FIDs of unit areas, and their derivatives in the begin time: (order + 1, M, N)."""
    time_s = np.arange(n_samples) * acquisition.dwell_time_s
    frequency_mhz = acquisition.spectrometer_frequency_mhz
    basis = np.empty((order + 1, len(names), n_samples), dtype=np.complex128)
    for row, name in enumerate(names):
        lines = metabolite_lines(
            name,
            spectrometer_frequency_mhz=frequency_mhz,
            sequence=acquisition.sequence,
            echo_time_s=float(acquisition.echo_time_s or 0.0),
            echo_times_s=acquisition.echo_times_s,
            mixing_time_s=acquisition.mixing_time_s,
        )
        amplitude = lines.amplitude / metabolite_group_area(name)
        frequency_hz = (lines.shift_ppm - WATER_PPM) * frequency_mhz
        turns = np.exp(2j * np.pi * np.multiply.outer(frequency_hz, time_s))
        offset = 2j * np.pi * (lines.shift_ppm - _TAYLOR_PPM) * frequency_mhz
        for k in range(order + 1):
            basis[k, row] = (amplitude * offset**k / math.factorial(k)) @ turns
        if t2_linewidths:
            basis[:, row] *= np.exp(-time_s * decay_rate(name))
    return read_only(basis, np.complex128)


def _metabolite_areas(
    parts: Mapping[str, NDArray[np.float64]],
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return names of spin systems and their areas, shape (V, M), with the pools shared out."""
    areas: dict[str, NDArray[np.float64]] = {}
    for name, value in parts.items():
        if name in LIPIDS or name in macromolecule_names():
            continue
        for member, share in tissue_data()["pools"].get(name, {name: 1.0}).items():
            areas[member] = areas.get(member, np.zeros_like(value)) + share * value
    n_voxels = next(iter(parts.values())).size
    return tuple(areas), np.array(list(areas.values())).reshape(-1, n_voxels).T


def metabolite_fids(
    parts: Mapping[str, NDArray[np.float64]],
    acquisition: Acquisition,
    time_s: NDArray[np.float64],
    damping: Voigt,
    t2_linewidths: bool,
) -> NDArray[np.complex128]:
    """Return the metabolites, shape (V, N)."""
    names, areas = _metabolite_areas(parts)
    order = _TAYLOR_ORDER if damping.begin_time_s.any() else 0
    basis = _basis(names, acquisition, len(time_s), order, t2_linewidths)
    centre_hz = (_TAYLOR_PPM - WATER_PPM) * acquisition.spectrometer_frequency_mhz
    fid = np.empty((len(areas), len(time_s)), dtype=np.complex128)
    for start in range(0, len(areas), _CHUNK):
        rows = slice(start, start + _CHUNK)
        part = damping.rows(rows)
        signal = areas[rows] @ basis[0]
        for k in range(1, order + 1):
            signal += part.begin_time_s**k * (areas[rows] @ basis[k])
        signal *= np.exp(2j * np.pi * centre_hz * part.begin_time_s)
        fid[rows] = signal * part(time_s)
    return fid


def broad_fids(
    areas: Mapping[str, NDArray[np.float64]],
    lines: Mapping[str, list[list[float]]],
    acquisition: Acquisition,
    time_s: NDArray[np.float64],
    damping: Voigt,
    width: NDArray[np.float64],
    shift_ppm: NDArray[np.float64],
) -> NDArray[np.complex128]:
    """Return Gaussian lines with the metabolites' damping on top, shape (V, N)."""
    frequency_mhz = acquisition.spectrometer_frequency_mhz
    same_everywhere = not (damping.begin_time_s.any() or shift_ppm.any() or np.ptp(width) > 0)
    n_voxels = len(damping.phase_rad)
    if same_everywhere and areas:
        shapes = []
        for name in areas:
            shape = np.zeros(len(time_s), dtype=np.complex128)
            for ppm, fwhm_ppm, weight in lines[name]:
                turn = 2j * np.pi * (ppm - WATER_PPM) * frequency_mhz * time_s
                fwhm_hz = fwhm_ppm * frequency_mhz * width[0, 0]
                shape += weight * np.exp(turn - _FWHM_TO_DECAY * (fwhm_hz * time_s) ** 2)
            shapes.append(shape)
        amplitudes = np.stack(list(areas.values()), axis=-1)
        return (amplitudes @ np.array(shapes)) * damping(time_s)
    fid = np.zeros((n_voxels, len(time_s)), dtype=np.complex128)
    for start in range(0, n_voxels, _CHUNK):
        rows = slice(start, start + _CHUNK)
        part = damping.rows(rows)
        for name, value in areas.items():
            for ppm, fwhm_ppm, weight in lines[name]:
                fwhm_hz = fwhm_ppm * frequency_mhz * width[rows]
                until = _dies_out(float(fwhm_hz.min()), acquisition.dwell_time_s, len(time_s))
                tau = time_s[:until] + part.begin_time_s
                turn_hz = (ppm + shift_ppm[rows] - WATER_PPM) * frequency_mhz
                fid[rows, :until] += (weight * value[rows, None]) * np.exp(
                    2j * np.pi * turn_hz * tau - _FWHM_TO_DECAY * (fwhm_hz * tau) ** 2
                )
        fid[rows] *= part(time_s)
    return fid


def _dies_out(fwhm_hz: float, dwell_time_s: float, n_samples: int) -> int:
    """Return the samples after which nothing is left of a Gaussian line (e to the -40)."""
    longest_s = math.sqrt(40 / _FWHM_TO_DECAY) / max(fwhm_hz, 1e-9)
    return min(n_samples, 1 + int(longest_s / dwell_time_s))


def tallest(
    parts: Mapping[str, NDArray[np.float64]],
    acquisition: Acquisition,
    time_s: NDArray[np.float64],
    lorentz_hz: NDArray[np.float64],
    gauss_hz: NDArray[np.float64],
    t2_linewidths: bool,
) -> NDArray[np.float64]:
    """Return the height of the tallest of NAA, Cr, Cho in the phased spectrum, shape (V, 1)."""
    names, areas = _metabolite_areas(parts)
    basis = _basis(names, acquisition, len(time_s), 0, t2_linewidths)[0]
    nothing = np.zeros_like(lorentz_hz)
    damping = Voigt(nothing, nothing, nothing, lorentz_hz, gauss_hz)
    frequency_hz = np.fft.fftfreq(len(time_s), acquisition.dwell_time_s)
    ppm = WATER_PPM + frequency_hz / acquisition.spectrometer_frequency_mhz
    near = np.zeros(len(ppm), dtype=bool)
    for name in TOPS:
        near |= np.abs(ppm - PEAK_PPM[name]) < _TOP_WINDOW_PPM
    height = np.empty((len(areas), 1))
    for start in range(0, len(areas), _CHUNK):
        rows = slice(start, start + _CHUNK)
        spectrum = np.fft.fft((areas[rows] @ basis) * damping.rows(rows)(time_s), axis=1)
        height[rows, 0] = spectrum[:, near].real.max(axis=1)
    return height


def baseline_fids(
    rms: NDArray[np.float64],
    kind: BaselineKind,
    acquisition: Acquisition,
    time_s: NDArray[np.float64],
    damping: Voigt,
    rng: np.random.Generator,
) -> NDArray[np.complex128]:
    """Return smooth baselines with the phase of the data, shape (V, N)."""
    n_voxels, n = len(rms), len(time_s)
    fid = np.zeros((n_voxels, n), dtype=np.complex128)
    if not rms.any():
        return fid
    frequency_mhz = acquisition.spectrometer_frequency_mhz
    if kind == "gaussians":
        centre_hz = (rng.uniform(0.0, 4.8, (n_voxels, 10)) - WATER_PPM) * frequency_mhz
        fwhm_hz = rng.uniform(0.4, 0.9, (n_voxels, 10)) * frequency_mhz
        amplitude = rng.standard_normal((n_voxels, 10)) * fwhm_hz
        until = _dies_out(float(fwhm_hz.min()), acquisition.dwell_time_s, n)
        tau = time_s[:until]
        for k in range(10):
            fid[:, :until] += amplitude[:, k, None] * np.exp(
                2j * np.pi * centre_hz[:, k, None] * tau
                - _FWHM_TO_DECAY * (fwhm_hz[:, k, None] * tau) ** 2
            )
    else:
        # white noise under an envelope of 6 ms at 3 T: structure of about half a ppm
        envelope = 1.0 / (1.0 + (time_s * frequency_mhz / 0.75) ** 4)
        noise = rng.standard_normal((2, n_voxels, n))
        fid = envelope * (noise[0] + 1j * noise[1])
    ppm = WATER_PPM + np.fft.fftfreq(n, acquisition.dwell_time_s) / frequency_mhz
    band = (ppm > 0.2) & (ppm < 4.2)
    size = np.sqrt((np.fft.fft(fid, axis=1)[:, band].real ** 2).mean(axis=1, keepdims=True))
    scaled: NDArray[np.complex128] = fid * (rms / size) * np.exp(1j * damping.phase_rad)
    return scaled


def water_fids(
    amplitude: NDArray[np.float64],
    time_s: NDArray[np.float64],
    damping: Voigt,
    rng: np.random.Generator,
) -> NDArray[np.complex128]:
    """Return residual water: four lines of different phase that no single line fits."""
    n_voxels = len(amplitude)
    fid = np.zeros((n_voxels, len(time_s)), dtype=np.complex128)
    if not amplitude.any():
        return fid
    share = rng.dirichlet(np.ones(4), n_voxels)
    place_hz = rng.normal(0.0, 6.0, (n_voxels, 4))
    width_hz = rng.uniform(1.0, 12.0, (n_voxels, 4))
    phase = rng.uniform(-np.pi, np.pi, (n_voxels, 1)) + rng.normal(0.0, 0.7, (n_voxels, 4))
    for k in range(4):
        # powers of one step instead of an exponential per sample
        step = (2j * np.pi * place_hz[:, k] - np.pi * width_hz[:, k]) * (time_s[1] - time_s[0])
        line = np.broadcast_to(np.exp(step)[:, None], fid.shape).copy()
        line[:, 0] = amplitude * share[:, k] * np.exp(1j * phase[:, k])
        fid += np.cumprod(line, axis=1)
    return fid * damping(time_s)


def eddy_current(eddy_current_hz: float, time_s: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the turning of a frequency error that decays within 100 ms."""
    decay_s = 0.1
    turn = 2 * np.pi * eddy_current_hz * decay_s * (1 - np.exp(-time_s / decay_s))
    phase: NDArray[np.complex128] = np.exp(1j * turn)
    return phase


def receivers(
    coils: int, rng: np.random.Generator
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Return the coils' sensitivities (C,) and a root (C, C) of their noise covariance.

    The noise is correlated, and the sensitivities are such that the optimal combination of all
    coils has the signal and the noise of one ideal coil.
    """
    if coils == 1:
        return np.ones(1, dtype=np.complex128), np.eye(1, dtype=np.complex128)
    noise = rng.standard_normal((2, 2, coils, coils))
    root = np.diag(rng.uniform(0.7, 1.4, coils)) @ (
        np.eye(coils) + 0.2 * (noise[0, 0] + 1j * noise[0, 1]) / math.sqrt(coils)
    )
    sensitivity = rng.uniform(0.2, 1.0, coils) * np.exp(2j * np.pi * rng.uniform(size=coils))
    whitened = np.linalg.solve(root, sensitivity)
    return sensitivity / np.linalg.norm(whitened), root


def measured(
    fid: NDArray[np.complex128],
    noise_sd: NDArray[np.float64],
    time_s: NDArray[np.float64],
    rng: np.random.Generator,
    receive: tuple[NDArray[np.complex128], NDArray[np.complex128]],
    averages: int,
    drift_hz: float,
    phase_jitter_rad: float,
) -> NDArray[np.complex128]:
    """Return noisy FIDs, shape (V, N), (V, N, C), (V, N, A) or (V, N, C, A)."""
    sensitivity, root = receive
    coils = len(sensitivity)
    shift_hz = np.linspace(-0.5, 0.5, averages) * drift_hz if averages > 1 else np.zeros(1)
    phase_rad = phase_jitter_rad * rng.standard_normal(averages)
    moved = np.exp(2j * np.pi * np.multiply.outer(time_s, shift_hz) + 1j * phase_rad)  # (N, A)
    shape = (*fid.shape, coils, averages)
    noise = np.empty(shape, dtype=np.complex128)
    rng.standard_normal(out=noise.view(np.float64))
    noise *= (noise_sd * math.sqrt(averages))[..., None, None]
    if coils > 1:
        noise = np.einsum("cd,vnda->vnca", root, noise)
    measured = fid[:, :, None, None] * sensitivity[:, None] * moved[:, None, :] + noise
    return measured.reshape(*fid.shape, *(coils,) * (coils > 1), *(averages,) * (averages > 1))
