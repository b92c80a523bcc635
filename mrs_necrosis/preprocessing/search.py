"""The search for phase and shift: a bank of patterns laid under each spectrum.

Smooth baseline modes are projected out of both. Metabolites and lipids count with positive
amplitudes and one common phase; only lactate may be negative, and only where its echo time lets it
be. What explains the spectrum best, weighed with what is known of the axis beforehand, wins; how
far it wins is the confidence. Nothing depends on any one peak: where Cho, Cr and NAA are absent,
lipid and lactate decide, and where these are absent too, the water.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mrs_necrosis.preprocessing.patterns import (
    CENTRES_PPM,
    FATTY,
    LACTATE,
    MACROMOLECULES,
    NAMES,
    PATTERNS,
    RARE,
    SEARCH_PPM,
    SINGLETS,
    WIDTHS_PPM,
    nonnegative,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.preprocessing.patterns import Bank
    from mrs_necrosis.spectra import Acquisition


CHUNK = 128
_N_FINALISTS = 5

_RARE_ODDS = 6.0
"""Log odds against a tall peak that few brains show: acetate (phantoms, abscesses), taurine."""

CORRELATED = 4.0
"""Points of a model error that are not independent of each other."""

_UNEXPLAINED = 0.3
"""Share of the signal that the patterns may leave unexplained before they are doubted."""

_ONE_LINE_PPM = 0.15
"""Patterns this near to each other may share one line; Cho and Cr lie 0.18 ppm apart."""

_SECOND_LINE = (3.0, 0.07)
"""Log likelihood of a second line, and its height over the first one's: what noise and a line
unlike the patterns leave beside an only line passes for no more than 2.6, or for a lower one."""

_OTHER_LINE = 0.2
"""Prior density, per ppm, of a line that is none of the patterns: a quarter of what is left for
an axis that may lie anywhere (assumed)."""

_PHASE_SD_RAD = 0.26
"""How far the metabolites' phase strays from the water's (15 degrees)."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Phase and shift of each voxel of a grid, and how sure they are.

    Parameters
    ----------
    phase_rad : ndarray of float64, shape (X, Y, Z)
        Zero-order phase of the spectrum: multiply by ``exp(-1j * phase_rad)`` to remove it.
    shift_ppm : ndarray of float64, shape (X, Y, Z)
        How far the peaks lie above their true chemical shift.
    confidence : ndarray of float64, shape (X, Y, Z)
        Probability, between 0 and 1, that shift and phase are the right ones of those that could
        explain the spectrum; 0 where there is nothing to go by.
    used : tuple of tuple of str
        For each voxel in C order, the patterns that decided.
    begin_time_s : float
        How long after the echo the first sample was taken, one number for the grid: multiply the
        spectrum by ``exp(-2j * pi * frequency_hz * begin_time_s)`` to remove the first-order
        phase, before anything else. 0 unless the spectra tell otherwise.
    further_off_ppm : float
        How far the peaks seem to lie above their chemical shift where that is further than is
        searched, so that the confidence is low; 0 otherwise.
    stretch : float
        True over stored distances between the peaks, where a wrong dwell time or spectrometer
        frequency makes them differ, so that the confidence is low; 1 otherwise.
    """

    phase_rad: NDArray[np.float64]
    shift_ppm: NDArray[np.float64]
    confidence: NDArray[np.float64]
    used: tuple[tuple[str, ...], ...]
    begin_time_s: float = 0.0
    further_off_ppm: float = 0.0
    stretch: float = 1.0

    def stretch_sentence(self, acquisition: Acquisition) -> str:
        """Say what the header would have to hold instead, where `stretch` is not 1."""
        mhz, dwell_us = acquisition.spectrometer_frequency_mhz, 1e6 * acquisition.dwell_time_s
        return (
            f"The peaks lie {self.stretch:.2f} times as far apart as the header makes them: its "
            f"frequency or its dwell time is wrong; {mhz / self.stretch:.1f} instead of "
            f"{mhz:.1f} MHz, or {dwell_us / self.stretch:.0f} instead of {dwell_us:.0f} us, would "
            "fit (on the command line --frequency and --dwell-time)."
        )


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """What is searched: the band of V spectra, and what is known of them beforehand.

    Parameters
    ----------
    bank : Bank
        Patterns in the same band.
    spectrum : ndarray of complex128, shape (V, n)
        At the bank's points.
    noise : ndarray of float64, shape (V,)
        Variance of either part of the spectrum.
    water_ppm : ndarray of float64, shape (V,)
        How far the water was seen above 4.65 ppm; NaN where it was not.
    lactate : tuple of float
        Bounds of lactate's amplitude.
    phase_of_water : bool
        Whether the spectra have the phase of their water reference.
    """

    bank: Bank
    spectrum: NDArray[np.complex128]
    noise: NDArray[np.float64]
    water_ppm: NDArray[np.float64]
    lactate: tuple[float, float]
    phase_of_water: bool

    def rows(self, rows: slice) -> Band:
        """Return some of the spectra."""
        return replace(
            self,
            spectrum=self.spectrum[rows],
            noise=self.noise[rows],
            water_ppm=self.water_ppm[rows],
        )


def _log_prior(
    shifts_ppm: NDArray[np.float64], water_ppm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the log prior (V, S): near the water where it was seen, else near zero; both wide."""
    seen = np.isfinite(water_ppm)
    centre = np.where(seen, np.clip(water_ppm, -SEARCH_PPM, SEARCH_PPM), 0.0)
    narrow = np.where(seen, 0.03, 0.08)[:, None]
    distance = shifts_ppm - centre[:, None]
    density = 0.8 / narrow * np.exp(-0.5 * (distance / narrow) ** 2)
    density += 0.2 / 0.25 * np.exp(-0.5 * (distance / 0.25) ** 2)
    # the water of a phantom at room temperature stands 0.15 ppm higher than that of a body
    cold = (distance + 0.15) / 0.03
    density += np.where(seen, 0.1 / 0.03, 0.0)[:, None] * np.exp(-0.5 * cold**2)
    log: NDArray[np.float64] = np.log(density)
    return log


def search(band: Band) -> Reference:
    """Search all voxels, chunk by chunk; the result's arrays are flat."""
    parts = [
        _search_chunk(band.rows(slice(i, i + CHUNK))) for i in range(0, len(band.spectrum), CHUNK)
    ]
    return Reference(
        np.concatenate([part.phase_rad for part in parts]),
        np.concatenate([part.shift_ppm for part in parts]),
        np.concatenate([part.confidence for part in parts]),
        tuple(names for part in parts for names in part.used),
    )


def _bounds(lactate: tuple[float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lower, upper = np.zeros(len(PATTERNS)), np.full(len(PATTERNS), np.inf)
    lower[LACTATE], upper[LACTATE] = lactate
    return lower, upper


def residues(
    bank: Bank,
    spectrum: NDArray[np.complex128],
    shift_ppm: NDArray[np.float64],
    phase_rad: NDArray[np.float64],
    lactate: tuple[float, float],
) -> NDArray[np.float64]:
    """Return the energy (T, V) that the patterns at V shifts leave of spectra (T, V, n)."""
    n_times, n_widths = len(spectrum), len(WIDTHS_PPM)
    at = np.abs(bank.shifts_ppm - shift_ppm[:, None]).argmin(axis=1)
    setting = at[:, None] * n_widths + np.arange(n_widths)
    columns = bank.columns.reshape(len(bank.points), -1, len(PATTERNS))[:, setting].conj()
    left = bank.without_baseline(spectrum)
    # voxel by voxel (V, T, n) x (V, n, W K), at once for all times
    by_voxel = columns.transpose(1, 0, 2, 3).reshape(len(at), len(bank.points), -1)
    product = np.swapaxes(np.swapaxes(left, 0, 1) @ by_voxel, 0, 1)
    value, _, _ = _common_phase(
        np.tile(bank.gram[:, :, setting.ravel()], (1, 1, n_times)),
        product.reshape(n_times * len(at), n_widths, -1),
        np.tile(np.repeat(phase_rad[:, None], n_widths, axis=1), (n_times, 1)),
        *_bounds(lactate),
    )
    explained = value.max(axis=1).reshape(n_times, -1)
    energy: NDArray[np.float64] = (np.abs(left) ** 2).sum(axis=2) - explained
    return energy


def _search_chunk(band: Band) -> Reference:
    bank, spectrum, noise, water_ppm = band.bank, band.spectrum, band.noise, band.water_ppm
    n_voxels, n_patterns = len(spectrum), len(PATTERNS)
    n_shifts, n_widths = bank.shifts_ppm.size, len(WIDTHS_PPM)
    n_points = bank.points.size
    spectrum = bank.without_baseline(spectrum)
    energy = (np.abs(spectrum) ** 2).sum(axis=1)
    product = (spectrum.conj() @ bank.columns).conj()
    product = product.reshape(n_voxels, n_shifts * n_widths, n_patterns)
    prior = _log_prior(bank.shifts_ppm, water_ppm)
    temper = np.maximum(noise, 0.02 * energy / n_points)[:, None]
    setting, angle = _candidates(bank, product, prior, temper, water_ppm)
    lower, upper = _bounds(band.lactate)
    best_value, angle, amplitude = _common_phase(
        *_gathered(bank, product, setting), angle, lower, upper
    )
    # the likeliest few go on; each settles its width and shift by descent
    likely = best_value / (2.0 * temper) + np.take_along_axis(prior, setting // n_widths, axis=1)
    kept = np.argsort(-likely, axis=1, kind="stable")[:, :_N_FINALISTS]
    best_value = np.take_along_axis(best_value, kept, axis=1)
    angle = np.take_along_axis(angle, kept, axis=1)
    setting = np.take_along_axis(setting, kept, axis=1)
    amplitude = np.take_along_axis(amplitude, kept[..., None], axis=1)
    for _ in range(3):
        centre, centre_angle, start = setting.copy(), angle.copy(), amplitude.copy()
        for shift_step, width_step in ((0, -1), (0, 1), (-1, 0), (1, 0)):
            s = np.clip(centre // n_widths + shift_step, 0, n_shifts - 1)
            w = np.clip(centre % n_widths + width_step, 0, n_widths - 1)
            tried = s * n_widths + w
            value, turned_to, a = _common_phase(
                *_gathered(bank, product, tried), centre_angle, lower, upper, start
            )
            better = value > best_value
            best_value = np.where(better, value, best_value)
            setting = np.where(better, tried, setting)
            angle = np.where(better, turned_to, angle)
            amplitude = np.where(better[..., None], a, amplitude)
    rss = energy[:, None] - best_value

    prior = np.take_along_axis(prior, setting // n_widths, axis=1)
    if band.phase_of_water:
        stray = np.angle(np.exp(1j * angle)) / _PHASE_SD_RAD
        prior = prior + np.log(0.99 * np.exp(-0.5 * stray**2) + 0.01)
    return _verdict(band, rss, energy, setting, angle, amplitude, prior)


def _candidates(
    bank: Bank,
    product: NDArray[np.complex128],
    prior: NDArray[np.float64],
    temper: NDArray[np.float64],
    water_ppm: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return settings and phases (V, C): the best shifts by singlets, by lipids, of the water."""
    n_voxels, n_shifts, n_widths = len(product), bank.shifts_ppm.size, len(WIDTHS_PPM)
    picked = [*range(len(SINGLETS)), *FATTY]
    q = np.einsum("vsk,slk->vsl", product[:, :, picked], bank.singlets)
    common = 0.5 * np.angle((q**2).sum(axis=2))
    turned = (q * np.exp(-1j * common)[..., None]).real
    plus = (np.maximum(turned, 0.0) ** 2).sum(axis=2)
    minus = (np.maximum(-turned, 0.0) ** 2).sum(axis=2)
    score = np.maximum(plus, minus)
    common = np.where(minus > plus, common + np.pi, common)
    fat_q = product[:, :, FATTY[0]]
    shape = (n_voxels, n_shifts, n_widths)
    near = np.where(np.isfinite(water_ppm), water_ppm, 0.0)
    hint = np.abs(bank.shifts_ppm - near[:, None]).argmin(axis=1)
    settings, phases = [], []
    for strength, angle, count in (
        (score, common, 5),
        (np.abs(fat_q) ** 2, np.angle(fat_q), 2),
    ):
        by_shift = strength.reshape(shape)
        width = by_shift.argmax(axis=2)
        left = by_shift.max(axis=2) / (2.0 * temper) + prior
        for _ in range(count):
            at = left.argmax(axis=1)
            setting = at * n_widths + np.take_along_axis(width, at[:, None], axis=1)[:, 0]
            settings.append(setting)
            phases.append(np.take_along_axis(angle, setting[:, None], axis=1)[:, 0])
            apart = np.abs(np.arange(n_shifts) - at[:, None]) > 4
            left = np.where(apart, left, -np.inf)
    width = score.reshape(shape)[np.arange(n_voxels), hint].argmax(axis=1)
    settings.append(hint * n_widths + width)
    phases.append(common[np.arange(n_voxels), settings[-1]])

    upside_down = [phase + np.pi for phase in phases]
    return np.stack([*settings, *settings], axis=1), np.stack([*phases, *upside_down], axis=1)


def _gathered(
    bank: Bank, product: NDArray[np.complex128], setting: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Return the Gram matrices (K, K, V C) and products (V, C, K) of settings (V, C)."""
    return bank.gram[:, :, setting.ravel()], np.take_along_axis(
        product, setting[..., None], axis=1
    )


def _common_phase(
    gram: NDArray[np.float64],
    product: NDArray[np.complex128],
    angle: NDArray[np.float64],
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    start: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return explained energy (V, C), phase (V, C) and amplitudes (V, C, K) of candidates."""
    shape = product.shape
    q = product.reshape(-1, shape[2]).T
    phase = angle.ravel().copy()
    amplitude = np.zeros(q.shape) if start is None else start.reshape(-1, shape[2]).T
    for sweeps in (10, 5) if start is None else (4, 3):
        c = (q * np.exp(-1j * phase)).real
        amplitude = nonnegative(gram, c, lower, upper, sweeps, amplitude)
        along = (amplitude * q).sum(axis=0)
        phase = np.where(along != 0, np.angle(along), phase)
    value = 2.0 * np.abs(along) - np.einsum("km,klm,lm->m", amplitude, gram, amplitude)
    return value.reshape(shape[:2]), phase.reshape(shape[:2]), amplitude.T.reshape(shape)


def _verdict(
    band: Band,
    rss: NDArray[np.float64],
    energy: NDArray[np.float64],
    setting: NDArray[np.intp],
    angle: NDArray[np.float64],
    amplitude: NDArray[np.float64],
    prior: NDArray[np.float64],
) -> Reference:
    """Weigh the candidates: the winner, its probability, and the patterns that decided."""
    n_widths, n_points, noise = len(WIDTHS_PPM), band.bank.points.size, band.noise
    rows = np.arange(len(rss))
    # what the model cannot explain is error too, and it is correlated over a linewidth
    variance = np.maximum(noise, rss.min(axis=1) / (2.0 * n_points)) * CORRELATED
    at_shift = setting // n_widths
    rare = amplitude[..., RARE] ** 2 / (2.0 * variance[:, None, None])
    log = -rss / (2.0 * variance[:, None]) + prior - np.minimum(rare, _RARE_ODDS).sum(axis=2)
    best = log.argmax(axis=1)
    log -= log[rows, best][:, None]
    shift = band.bank.shifts_ppm[at_shift]
    same = (np.abs(shift - shift[rows, best][:, None]) < 0.045) & (
        np.cos(angle - angle[rows, best][:, None]) > 0.5
    )
    # candidates that came to the same place count once
    other = np.where(same, -np.inf, log)
    rival = np.exp(other.max(axis=1))
    gain = (energy - rss[rows, best]) / (2.0 * variance)
    # patterns that leave much more than noise unexplained may all be the wrong ones
    unknown = np.maximum(rss[rows, best] - 2.0 * n_points * noise, 0.0) / np.maximum(
        energy, np.finfo(np.float64).tiny
    )
    doubt = np.minimum((1.0 - unknown) / (1.0 - _UNEXPLAINED), 1.0)
    confidence = np.where(gain > 10.0, doubt / (1.0 + rival), 0.0)
    chosen = amplitude[rows, best]
    share = chosen**2 / (2.0 * variance[:, None])
    confidence = np.minimum(confidence, _identity(share, shift[rows, best], band.water_ppm))
    used = tuple(
        tuple(NAMES[k] for k in np.argsort(-row, kind="stable")[:4] if row[k] > 8.0)
        for row in share
    )
    known = gain > 10.0
    return Reference(
        np.where(known, angle[rows, best], 0.0),
        np.where(known, shift[rows, best], 0.0),
        confidence,
        used,
    )


def _identity(
    share: NDArray[np.float64], shift_ppm: NDArray[np.float64], water_ppm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the probability (V,) that an only line is what it is taken for; 1 beside others.

    One line is explained as well by any pattern of one line, each at its own shift, and what is
    known of the axis alone can tell them apart. `share` is the log likelihood (V, K) of each.
    """
    strongest = share.argmax(axis=1)
    is_apart = np.abs(CENTRES_PPM - CENTRES_PPM[strongest, None]) > _ONE_LINE_PPM
    is_apart[:, MACROMOLECULES] = True  # many lines, which know each other
    least, height = _SECOND_LINE
    is_seen = (share > least) & (share > height**2 * share.max(axis=1, keepdims=True))
    is_only = ~(is_seen & is_apart).any(axis=1)
    line_ppm = CENTRES_PPM[strongest] + shift_ppm
    taken = np.exp(_log_prior(shift_ppm[:, None], water_ppm))[:, 0]
    density = np.exp(_log_prior(line_ppm[:, None] - CENTRES_PPM, water_ppm))
    density[:, list(RARE)] *= np.exp(-_RARE_ODDS)
    is_apart[:, MACROMOLECULES] = False
    others = np.where(is_apart, density, 0.0).sum(axis=1) + _OTHER_LINE
    return np.where(is_only, taken / (taken + others), 1.0)
