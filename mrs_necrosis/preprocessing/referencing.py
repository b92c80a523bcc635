r"""Phase and chemical shift, found together, also where a tumour left few peaks.

A bank of patterns (Cho, Cr, NAA, mI, Glx, lactate, lipids and macromolecules, at many shifts and
a few linewidths) is laid under each spectrum after smooth baseline modes were projected out of
both. Metabolites and lipids count with positive amplitudes and one common phase; only lactate may
be negative, and only where its echo time lets it be. What explains the spectrum best, weighed with
what is known of the axis beforehand, wins; how far it wins is the confidence. Nothing depends on
any one peak: where Cho, Cr and NAA are absent, lipid and lactate decide, and where these are
absent too, the water.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mrs_necrosis.arguments import check_type
from mrs_necrosis.constants import LACTATE_J_HZ
from mrs_necrosis.preprocessing.noise import has_signal, noise_sd
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
    Bank,
    nonnegative,
    pattern_bank,
)
from mrs_necrosis.spectra import Spectra, Step, check_spectra

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 128
_N_FINALISTS = 5

_RARE_ODDS = 6.0
"""Log odds against a tall peak that few brains show: acetate (phantoms, abscesses), taurine."""

_CORRELATED = 4.0
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

_BEGIN_TIMES_S = np.arange(-20, 21) * 2e-4
_CLEAR = 0.9
_PIVOT_PPM = 2.6
_BEGIN_GAIN = 10.0
_BEGIN_SHARE = 0.06
_BEGIN_VOXELS = 16
_FAR_TIMES_S = np.arange(-8, 17) * 5e-4
_FAR_VOXELS = 8
_FAR_SHARE = 0.7
_METABOLITES = frozenset({"Cho", "Cr", "NAA"})
_FURTHER_PPM = np.array([-1.8, -0.9, 0.9, 1.8])
_FURTHER_SHARE = 0.6
_ELSEWHERE = 0.05
"""Confidence in a shift when another that was not searched explains the spectrum better."""


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
    """

    phase_rad: NDArray[np.float64]
    shift_ppm: NDArray[np.float64]
    confidence: NDArray[np.float64]
    used: tuple[tuple[str, ...], ...]
    begin_time_s: float = 0.0
    further_off_ppm: float = 0.0


def _lactate_bounds(echo_time_s: float | None, sequence: str | None) -> tuple[float, float]:
    """Return the bounds of lactate's amplitude: its doublet inverts with period 2/J."""
    if echo_time_s is None or "STEAM" in (sequence or "").upper():
        return -np.inf, np.inf
    turns = np.cos(np.pi * LACTATE_J_HZ * echo_time_s)
    if echo_time_s < 0.05 or turns > 0.7:
        return 0.0, np.inf
    return -np.inf, (0.0 if turns < -0.7 else np.inf)


def find_reference(
    spectra: Spectra,
    *,
    water_shift_ppm: NDArray[np.float64] | float | None = None,
    phase_of_water: bool = False,
) -> Reference:
    """Find the phase and the chemical-shift offset of each voxel.

    Parameters
    ----------
    spectra : Spectra
        After water removal.
    water_shift_ppm : float or ndarray of float64, shape (X, Y, Z), or None
        How far the water, of a reference or of the residue, was seen above 4.65 ppm; NaN where
        it was not. It weighs as a hint, since water moves with temperature.
    phase_of_water : bool
        Whether the spectra have the phase of their water reference already, so that theirs is
        near zero.

    Returns
    -------
    Reference
        Zero phase and shift with confidence 0 where there is no signal.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> rng = np.random.default_rng(1)
    >>> made = phantom("normal_white_matter", rng, shift_hz=5.0)
    >>> found = find_reference(made.spectra)
    >>> round(123.2 * float(found.shift_ppm[0, 0, 0]))
    5
    """
    check_spectra(spectra)
    acquisition = spectra.acquisition
    grid = spectra.grid
    flat = spectra.fid.reshape(-1, spectra.n_samples)
    good = np.flatnonzero(has_signal(flat))
    water = np.full(len(flat), np.nan)
    if water_shift_ppm is not None:
        water[:] = np.broadcast_to(water_shift_ppm, grid).ravel()
    phase_rad, shift_ppm, confidence = (np.zeros(len(flat)) for _ in range(3))
    used: list[tuple[str, ...]] = [()] * len(flat)
    begin_s = further_ppm = 0.0
    bank = pattern_bank(
        spectra.n_samples,
        acquisition.dwell_time_s,
        acquisition.spectrometer_frequency_mhz,
        acquisition.reference_or_water_ppm,
    )
    if bank is not None and good.size:
        lactate = _lactate_bounds(acquisition.echo_time_s, acquisition.sequence)
        spectrum = _in_band(spectra, bank, good)
        noise = noise_sd(flat[good]) ** 2 * spectra.n_samples  # variance per part
        begin_s = _far_begin_time_s(bank, spectrum, noise, water[good], lactate, phase_of_water)
        if begin_s:
            spectrum = spectrum * np.exp(-2j * np.pi * bank.frequency_hz * begin_s)
        found = _search(bank, spectrum, noise, water[good], lactate, phase_of_water)
        pivot_hz = (
            _PIVOT_PPM - acquisition.reference_or_water_ppm
        ) * acquisition.spectrometer_frequency_mhz
        later_s = _begin_time_s(bank, spectrum, noise, found, lactate, pivot_hz)
        if later_s:
            turned = spectrum * np.exp(-2j * np.pi * bank.frequency_hz * later_s)
            again = _search(bank, turned, noise, water[good], lactate, phase_of_water)
            # what was not clear before is believed if it is clear now
            if max(found.confidence.max(), again.confidence.max()) > _CLEAR:
                spectrum, found, begin_s = turned, again, begin_s + later_s
        further_ppm = _further_off_ppm(
            bank, spectra, good, spectrum, noise, found, lactate, begin_s
        )
        if further_ppm:
            found = replace(found, confidence=np.minimum(found.confidence, _ELSEWHERE))
        phase_rad[good], shift_ppm[good], confidence[good] = (
            found.phase_rad,
            found.shift_ppm,
            found.confidence,
        )
        for voxel, names in zip(good, found.used, strict=True):
            used[voxel] = names
    return Reference(
        phase_rad.reshape(grid),
        shift_ppm.reshape(grid),
        confidence.reshape(grid),
        tuple(used),
        begin_s,
        further_ppm,
    )


def _in_band(spectra: Spectra, bank: Bank, voxels: NDArray[np.intp]) -> NDArray[np.complex128]:
    """Return the band of the spectra of some voxels, shape (V, n)."""
    flat = spectra.fid.reshape(-1, spectra.n_samples)
    band = np.empty((voxels.size, bank.points.size), dtype=np.complex128)
    for first in range(0, voxels.size, _CHUNK):
        part = slice(first, first + _CHUNK)
        whole = np.fft.fftshift(np.fft.fft(flat[voxels[part]], axis=1), axes=1)
        band[part] = whole[:, bank.points]
    return band


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


def _search(
    bank: Bank,
    spectrum: NDArray[np.complex128],
    noise: NDArray[np.float64],
    water_ppm: NDArray[np.float64],
    lactate: tuple[float, float],
    phase_of_water: bool,
) -> Reference:
    """Search all voxels (V, n), chunk by chunk; the result's arrays are flat."""
    parts = [
        _search_chunk(bank, spectrum[part], noise[part], water_ppm[part], lactate, phase_of_water)
        for part in (slice(i, i + _CHUNK) for i in range(0, len(spectrum), _CHUNK))
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


def _residues(
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
    left = spectrum - (spectrum @ bank.baseline) @ bank.baseline.T
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


def _some_rows(spectrum: NDArray[np.complex128], noise: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return up to eight voxels from the strongest to the middle: the strongest are scalp."""
    strength = (np.abs(spectrum) ** 2).sum(axis=1) / np.maximum(noise, 1e-300)
    upper = np.argsort(-strength, kind="stable")[: (len(strength) + 1) // 2]
    return upper[np.unique(np.linspace(0, len(upper) - 1, _FAR_VOXELS).astype(np.intp))]


def _further_off_ppm(
    bank: Bank,
    spectra: Spectra,
    good: NDArray[np.intp],
    spectrum: NDArray[np.complex128],
    noise: NDArray[np.float64],
    found: Reference,
    lactate: tuple[float, float],
    begin_s: float,
) -> float:
    """Return how far the peaks lie off, if it is further than was searched; else 0.

    Where the axis is some 1 ppm wrong, the patterns settle on something; at the true place they
    leave less than 0.6 of that, and find two of Cho, Cr and NAA or more, and more of them than
    here. No file at hand does so anywhere but at its own.
    """
    rows = _some_rows(spectrum, noise)
    acquisition = spectra.acquisition
    fid = spectra.fid.reshape(-1, spectra.n_samples)[good[rows]]
    turn_hz = _FURTHER_PPM[:, None] * acquisition.spectrometer_frequency_mhz
    moved = fid * np.exp(-2j * np.pi * turn_hz * spectra.time_s)[:, None]
    moved = moved.reshape(-1, spectra.n_samples)
    band = np.fft.fftshift(np.fft.fft(moved, axis=1), axes=1)[:, bank.points]
    band = band * np.exp(-2j * np.pi * bank.frequency_hz * begin_s)
    n = len(_FURTHER_PPM)
    there = _search(
        bank, band, np.tile(noise[rows], n), np.full(n * len(rows), np.nan), lactate, False
    )
    rss = _residues(bank, band[None], there.shift_ppm, there.phase_rad, lactate).reshape(n, -1)
    here = _residues(
        bank, spectrum[None, rows], found.shift_ppm[rows], found.phase_rad[rows], lactate
    )[0]
    better = rss < _FURTHER_SHARE * here
    better &= there.confidence.reshape(n, -1) > _CLEAR
    known = np.array([len(_METABOLITES.intersection(names)) for names in there.used])
    here_known = [len(_METABOLITES.intersection(found.used[row])) for row in rows]
    better &= known.reshape(n, -1) > np.maximum(here_known, 1)
    off_ppm = _FURTHER_PPM[:, None] + there.shift_ppm.reshape(n, -1)
    better &= np.abs(off_ppm) > SEARCH_PPM
    rows_better = better.any(axis=0)
    if 4 * np.count_nonzero(rows_better) < len(rows):
        return 0.0
    best = np.where(better, rss, np.inf).argmin(axis=0)
    return float(np.median(off_ppm[best, np.arange(len(rows))][rows_better]))


def _far_begin_time_s(
    bank: Bank,
    spectrum: NDArray[np.complex128],
    noise: NDArray[np.float64],
    water_ppm: NDArray[np.float64],
    lactate: tuple[float, float],
    phase_of_water: bool,
) -> float:
    """Return a begin time so far off that without it phase and shift are found wrong; else 0.

    Some voxels are searched at every begin time. At its own a spectrum leaves 0.2 to 0.7 of what
    it leaves 1 ms beside; one whose first sample lies at the echo leaves no less than 0.9
    elsewhere, unless it is all water or fat: Cho, Cr or NAA must be among what decided.
    """
    rows = _some_rows(spectrum, noise)
    n_times, n_rows = len(_FAR_TIMES_S), len(rows)
    turns = np.exp(-2j * np.pi * _FAR_TIMES_S[:, None] * bank.frequency_hz)
    turned = (spectrum[rows] * turns[:, None]).reshape(n_times * n_rows, -1)
    found = _search(
        bank, turned, np.tile(noise[rows], n_times), np.tile(water_ppm[rows], n_times), lactate,
        phase_of_water,
    )  # fmt: skip
    rss = _residues(bank, turned[None], found.shift_ppm, found.phase_rad, lactate)
    rss = rss.reshape(n_times, n_rows)
    best, zero = rss.argmin(axis=0), int(np.abs(_FAR_TIMES_S).argmin())
    at = best * n_rows + np.arange(n_rows)
    clear = found.confidence[at] > _CLEAR
    clear &= [not _METABOLITES.isdisjoint(found.used[one]) for one in at]
    clear &= (best > 0) & (best < n_times - 1)
    clear &= rss[best, np.arange(n_rows)] < _FAR_SHARE * rss[zero]
    if 4 * np.count_nonzero(clear) < n_rows:
        return 0.0
    middle = float(np.median(_FAR_TIMES_S[best[clear]]))
    agree = np.abs(_FAR_TIMES_S[best[clear]] - middle) <= 5e-4
    return middle if agree.mean() >= 0.75 else 0.0


def _begin_time_s(
    bank: Bank,
    spectrum: NDArray[np.complex128],
    noise: NDArray[np.float64],
    found: Reference,
    lactate: tuple[float, float],
    pivot_hz: float,
) -> float:
    """Return the begin time that explains the clearest voxels best; 0 unless it matters.

    It matters if it raises the log likelihood by more than 10 and lowers the residual energy by
    more than 6 %, and at least two patterns decided. Where no voxel is clear, that may be its
    doing, and the strongest are asked.
    """
    clear = [i for i, names in enumerate(found.used) if len(names) > 1]
    clear = [i for i in clear if found.confidence[i] > _CLEAR] or clear
    strength = (np.abs(spectrum[clear]) ** 2).sum(axis=1) / np.maximum(noise[clear], 1e-300)
    rows = np.array(clear, dtype=np.intp)[np.argsort(-strength, kind="stable")[:_BEGIN_VOXELS]]
    if not rows.size:
        return 0.0
    # turned about a point amid the peaks, so that their mean phase stays
    offset_hz = bank.frequency_hz - pivot_hz
    turns = np.exp(-2j * np.pi * _BEGIN_TIMES_S[:, None, None] * offset_hz)
    rss = _residues(
        bank, spectrum[rows] * turns, found.shift_ppm[rows], found.phase_rad[rows], lactate
    )
    variance = np.maximum(noise[rows], rss.min(axis=0) / (2.0 * bank.points.size)) * _CORRELATED
    cost = (rss / (2.0 * variance)).sum(axis=1)
    best, zero = int(cost.argmin()), len(_BEGIN_TIMES_S) // 2
    inside = 0 < best < len(cost) - 1
    gain = float(cost[zero] - cost[best])
    if not inside or gain < _BEGIN_GAIN or gain < _BEGIN_SHARE * cost[zero]:
        return 0.0
    below, here, above = cost[best - 1 : best + 2]
    offset = 0.5 * (below - above) / (below - 2.0 * here + above)
    return float(_BEGIN_TIMES_S[best] + offset * (_BEGIN_TIMES_S[1] - _BEGIN_TIMES_S[0]))


def _search_chunk(
    bank: Bank,
    spectrum: NDArray[np.complex128],
    noise: NDArray[np.float64],
    water_ppm: NDArray[np.float64],
    lactate: tuple[float, float],
    phase_of_water: bool,
) -> Reference:
    n_voxels, n_patterns = len(spectrum), len(PATTERNS)
    n_shifts, n_widths = bank.shifts_ppm.size, len(WIDTHS_PPM)
    n_points = bank.points.size
    spectrum = spectrum - (spectrum @ bank.baseline) @ bank.baseline.T
    energy = (np.abs(spectrum) ** 2).sum(axis=1)
    product = (spectrum.conj() @ bank.columns).conj()
    product = product.reshape(n_voxels, n_shifts * n_widths, n_patterns)
    prior = _log_prior(bank.shifts_ppm, water_ppm)
    temper = np.maximum(noise, 0.02 * energy / n_points)[:, None]
    setting, angle = _candidates(bank, product, prior, temper, water_ppm)
    lower, upper = _bounds(lactate)
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
    if phase_of_water:
        stray = np.angle(np.exp(1j * angle)) / _PHASE_SD_RAD
        prior = prior + np.log(0.99 * np.exp(-0.5 * stray**2) + 0.01)
    return _verdict(
        bank, rss, energy, noise, setting, angle, amplitude, prior, n_points, water_ppm
    )


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
    bank: Bank,
    rss: NDArray[np.float64],
    energy: NDArray[np.float64],
    noise: NDArray[np.float64],
    setting: NDArray[np.intp],
    angle: NDArray[np.float64],
    amplitude: NDArray[np.float64],
    prior: NDArray[np.float64],
    n_points: int,
    water_ppm: NDArray[np.float64],
) -> Reference:
    """Weigh the candidates: the winner, its probability, and the patterns that decided."""
    n_widths = len(WIDTHS_PPM)
    rows = np.arange(len(rss))
    # what the model cannot explain is error too, and it is correlated over a linewidth
    variance = np.maximum(noise, rss.min(axis=1) / (2.0 * n_points)) * _CORRELATED
    at_shift = setting // n_widths
    rare = amplitude[..., RARE] ** 2 / (2.0 * variance[:, None, None])
    log = -rss / (2.0 * variance[:, None]) + prior - np.minimum(rare, _RARE_ODDS).sum(axis=2)
    best = log.argmax(axis=1)
    log -= log[rows, best][:, None]
    shift = bank.shifts_ppm[at_shift]
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
    confidence = np.minimum(confidence, _identity(share, shift[rows, best], water_ppm))
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


def phase(spectra: Spectra, reference: Reference | None = None) -> Spectra:
    """Turn each spectrum upright: remove its zero- and first-order phase.

    Parameters
    ----------
    spectra : Spectra
        After water removal.
    reference : Reference or None
        What `find_reference` found; it is looked for by default.

    Returns
    -------
    Spectra
        Phased; the step holds the median phase in degrees.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> rng = np.random.default_rng(1)
    >>> made = phantom("normal_white_matter", rng, phase_rad=1.0)
    >>> phase(made.spectra).history[-1].name
    'phase'
    """
    check_spectra(spectra)
    wanted = "a Reference, as find_reference returns it"
    check_type("reference", reference, Reference, wanted, optional=True)
    found = find_reference(spectra) if reference is None else reference
    median = _median(np.degrees(found.phase_rad), found)
    begin_ms = 1e3 * found.begin_time_s
    late = f", and a begin time of {begin_ms:.2f} ms was taken out" if begin_ms else ""
    step = Step(
        "phase",
        {
            "phase_deg": median,
            "begin_time_ms": round(begin_ms, 4),
            "confidence": _median(found.confidence, found),
        },
        f"The spectrum was turned by {round(-median)} degrees"
        f"{'' if found.phase_rad.size == 1 else ' (median over the grid)'}{late}.",
    )
    fid = spectra.fid
    if found.begin_time_s:
        frequency_hz = np.fft.fftfreq(spectra.n_samples, spectra.acquisition.dwell_time_s)
        turn = np.exp(-2j * np.pi * frequency_hz * found.begin_time_s)
        fid = np.fft.ifft(np.fft.fft(fid, axis=3) * turn, axis=3)
    return spectra.done(step, fid=fid * np.exp(-1j * found.phase_rad)[..., None])


def reference_shift(spectra: Spectra, reference: Reference | None = None) -> Spectra:
    """Put the peaks where their chemical shifts say, by shifting each FID's frequency.

    Parameters
    ----------
    spectra : Spectra
        After water removal.
    reference : Reference or None
        What `find_reference` found; it is looked for by default.

    Returns
    -------
    Spectra
        With zero frequency at ``acquisition.reference_ppm``, which is the water's 4.65 ppm where
        the source said nothing. The step says by what, how far and how sure.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> rng = np.random.default_rng(1)
    >>> made = phantom("normal_white_matter", rng, shift_hz=8.0)
    >>> reference_shift(made.spectra).history[-1].name
    'reference_shift'
    """
    check_spectra(spectra)
    wanted = "a Reference, as find_reference returns it"
    check_type("reference", reference, Reference, wanted, optional=True)
    found = find_reference(spectra) if reference is None else reference
    shift_hz = found.shift_ppm * spectra.acquisition.spectrometer_frequency_mhz
    turn = np.exp(-2j * np.pi * shift_hz[..., None] * spectra.time_s)
    median, sure = _median(found.shift_ppm, found), _median(found.confidence, found)
    used = _used(found)
    if not found.confidence.any():
        note = "Nothing was recognised to reference the chemical shift by; the axis was kept."
    else:
        many = "" if found.shift_ppm.size == 1 else " in the median over the grid"
        note = (
            f"The axis was referenced by {', '.join(used) or 'the whole pattern'}: moved by "
            f"{0.0 - median:+.3f} ppm{many}, confidence {sure:.2f}."
        )
    if found.further_off_ppm:
        zero_ppm = spectra.acquisition.reference_or_water_ppm - found.further_off_ppm
        note += (
            f" The peaks seem to lie {found.further_off_ppm:+.2f} ppm off: if so, give "
            f"reference_ppm={zero_ppm:.2f} (on the command line --reference-ppm)."
        )
    step = Step(
        "reference_shift", {"shift_ppm": median, "confidence": sure, "used": list(used)}, note
    )
    acquisition = replace(
        spectra.acquisition, reference_ppm=spectra.acquisition.reference_or_water_ppm
    )
    return spectra.done(step, fid=spectra.fid * turn, acquisition=acquisition)


def _median(values: NDArray[np.float64], found: Reference) -> float:
    known = values[found.confidence > 0]
    return round(float(np.median(known)), 4) if known.size else 0.0


def _used(found: Reference) -> tuple[str, ...]:
    """Return the patterns that decided in most voxels."""
    names = [name for voxel in found.used for name in voxel]
    deciding = sum(1 for voxel in found.used if voxel)
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    return tuple(sorted(name for name, n in counts.items() if 2 * n >= max(deciding, 1)))
