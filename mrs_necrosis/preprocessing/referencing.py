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
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from mrs_necrosis.constants import LACTATE_J_HZ, PEAK_PPM
from mrs_necrosis.preprocessing.noise import has_signal, noise_sd
from mrs_necrosis.spectra import Spectra, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEARCH_PPM: Final = 0.5
"""Shifts up to this are searched."""

_STEP_PPM = 0.01
_BAND_PPM = (0.35, 4.1)
_WIDTHS_PPM = (0.025, 0.05, 0.09, 0.15)
_N_BASELINE = 12
_CHUNK = 128
_N_FINALISTS = 5

_SINGLETS = ("Cho", "Cr", "NAA")

# Patterns: name, lines (ppm, weight), extra width in ppm. Shifts of Govindaraju 2000; multiplets
# are drawn with a few lines, which is enough to recognise them.
_PATTERNS: tuple[tuple[str, tuple[tuple[float, float], ...], float], ...] = (
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
    ("Lip09", ((PEAK_PPM["Lip09"], 1.0),), 0.12),
    ("MM 2.05", ((2.05, 1.0),), 0.15),
    ("MM 1.7", ((1.68, 1.0),), 0.15),
    ("acetate", ((1.904, 1.0),), 0.0),
)
_NAMES = tuple(name for name, _, _ in _PATTERNS)
_FATTY = tuple(_NAMES.index(name) for name in ("Lip13", "Lip13 broad", "Lip09"))
_LACTATE = _NAMES.index("Lac")
_ACETATE = _NAMES.index("acetate")

_RARE = 6.0
"""Log odds against acetate, which phantoms and abscesses hold, and brains do not."""

_CORRELATED = 4.0
"""Points of a model error that are not independent of each other."""

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
    """

    phase_rad: NDArray[np.float64]
    shift_ppm: NDArray[np.float64]
    confidence: NDArray[np.float64]
    used: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Bank:
    """Patterns at S shifts and W widths, K each, on n points of the spectrum."""

    points: NDArray[np.intp]  # (n,) indices into the ascending spectrum
    baseline: NDArray[np.float64]  # (n, B), orthonormal
    columns: NDArray[np.complex128]  # (n, S W K), baseline projected out
    gram: NDArray[np.float64]  # (K, K, S W), real part
    singlets: NDArray[np.complex128]  # (S W, 3, 3 + F): turns q of singlets and lipids into ...
    shifts_ppm: NDArray[np.float64]  # (S,)


@lru_cache(maxsize=4)
def _bank(n_samples: int, dwell_s: float, frequency_mhz: float, reference_ppm: float) -> _Bank:
    frequency_hz = np.fft.fftshift(np.fft.fftfreq(n_samples, dwell_s))
    ppm = reference_ppm + frequency_hz / frequency_mhz
    points = np.flatnonzero((ppm >= _BAND_PPM[0]) & (ppm <= _BAND_PPM[1]))
    n = points.size
    position = (np.arange(n) + 0.5) / n
    baseline = np.linalg.qr(np.cos(np.pi * np.outer(position, np.arange(_N_BASELINE))))[0]
    shifts = np.arange(-SEARCH_PPM, SEARCH_PPM + 0.5 * _STEP_PPM, _STEP_PPM)
    wave = np.exp(-2j * np.pi * frequency_hz[points] * dwell_s)
    half_j = 0.5 * LACTATE_J_HZ / frequency_mhz
    columns = np.zeros((n, shifts.size, len(_WIDTHS_PPM), len(_PATTERNS)), dtype=np.complex128)
    for k, (name, pattern, extra) in enumerate(_PATTERNS):
        lines = pattern or ((PEAK_PPM[name] - half_j, 0.5), (PEAK_PPM[name] + half_j, 0.5))
        for w, width in enumerate(_WIDTHS_PPM):
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
    by_setting = np.moveaxis(flat.reshape(n, -1, len(_PATTERNS)), 0, -1)  # (S W, K, n)
    complex_gram = by_setting.conj() @ np.swapaxes(by_setting, 1, 2)
    # singlets with the lipids projected out: r = q_s - G_sf inv(G_ff) q_f, then whitened
    s = np.arange(len(_SINGLETS))
    f = np.array(_FATTY)
    ridge = 1e-6 * np.eye(f.size)
    g_sf = complex_gram[:, s[:, None], f[None, :]]
    solve = g_sf @ np.linalg.inv(complex_gram[:, f[:, None], f[None, :]] + ridge)
    left = complex_gram[:, s[:, None], s[None, :]] - solve @ np.swapaxes(g_sf.conj(), 1, 2)
    root = np.linalg.inv(np.linalg.cholesky(left.real + 1e-6 * np.eye(s.size)))
    singlets = np.concatenate([root, -root @ solve], axis=2)
    return _Bank(
        points,
        baseline,
        flat,
        np.ascontiguousarray(np.moveaxis(complex_gram.real, 0, -1)),
        singlets,
        shifts,
    )


def _nonnegative(
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
    """
    acquisition = spectra.acquisition
    bank = _bank(
        spectra.n_samples,
        acquisition.dwell_time_s,
        acquisition.spectrometer_frequency_mhz,
        acquisition.reference_or_water_ppm,
    )
    grid = spectra.grid
    flat = spectra.fid.reshape(-1, spectra.n_samples)
    good = np.flatnonzero(has_signal(flat))
    water = np.full(len(flat), np.nan)
    if water_shift_ppm is not None:
        water[:] = np.broadcast_to(water_shift_ppm, grid).ravel()
    phase_rad, shift_ppm, confidence = (np.zeros(len(flat)) for _ in range(3))
    used: list[tuple[str, ...]] = [()] * len(flat)
    if bank.points.size >= 4 * _N_BASELINE:
        bounds = _lactate_bounds(acquisition.echo_time_s, acquisition.sequence)
        for first in range(0, good.size, _CHUNK):
            part = good[first : first + _CHUNK]
            found = _search(bank, flat[part], water[part], bounds, phase_of_water)
            phase_rad[part], shift_ppm[part], confidence[part] = found[:3]
            for voxel, names in zip(part, found[3], strict=True):
                used[voxel] = names
    return Reference(
        phase_rad.reshape(grid), shift_ppm.reshape(grid), confidence.reshape(grid), tuple(used)
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


def _search(
    bank: _Bank,
    fid: NDArray[np.complex128],
    water_ppm: NDArray[np.float64],
    lactate: tuple[float, float],
    phase_of_water: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], list[tuple[str, ...]]]:
    n_voxels, n_patterns = len(fid), len(_PATTERNS)
    n_shifts, n_widths = bank.shifts_ppm.size, len(_WIDTHS_PPM)
    n_points = bank.points.size
    spectrum = np.fft.fftshift(np.fft.fft(fid, axis=1), axes=1)[:, bank.points]
    spectrum = spectrum - (spectrum @ bank.baseline) @ bank.baseline.T
    energy = (np.abs(spectrum) ** 2).sum(axis=1)
    noise = (noise_sd(fid) ** 2) * fid.shape[1]  # variance per part of the plain FFT
    product = (spectrum.conj() @ bank.columns).conj()
    product = product.reshape(n_voxels, n_shifts * n_widths, n_patterns)

    # candidates: the best shifts by the singlets alone, by the lipids alone, and of the water
    picked = [*range(len(_SINGLETS)), *_FATTY]
    q = np.einsum("vsk,slk->vsl", product[:, :, picked], bank.singlets)
    common = 0.5 * np.angle((q**2).sum(axis=2))
    turned = (q * np.exp(-1j * common)[..., None]).real
    plus = (np.maximum(turned, 0.0) ** 2).sum(axis=2)
    minus = (np.maximum(-turned, 0.0) ** 2).sum(axis=2)
    score = np.maximum(plus, minus)
    common = np.where(minus > plus, common + np.pi, common)
    fat_q = product[:, :, _FATTY[0]]
    shape = (n_voxels, n_shifts, n_widths)
    prior = _log_prior(bank.shifts_ppm, water_ppm)
    temper = np.maximum(noise, 0.02 * energy / n_points)[:, None]
    near = np.where(np.isfinite(water_ppm), water_ppm, 0.0)
    hint = np.abs(bank.shifts_ppm - near[:, None]).argmin(axis=1)
    settings, phases = [], []
    for strength, angle, count in (
        (score, common, 5),
        (np.abs(fat_q) ** 2, np.angle(fat_q), 2),
    ):
        by_shift = strength.reshape(shape)
        width = by_shift.argmax(axis=2)
        best = by_shift.max(axis=2) / (2.0 * temper) + prior
        left = best.copy()
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

    setting = np.stack(settings, axis=1)  # (V, C)
    angle = np.stack(phases, axis=1)
    setting = np.concatenate([setting, setting], axis=1)
    angle = np.concatenate([angle, angle + np.pi], axis=1)
    lower, upper = np.zeros(n_patterns), np.full(n_patterns, np.inf)
    lower[_LACTATE], upper[_LACTATE] = lactate
    best_value, angle, amplitude = _common_phase(bank, product, setting, angle, lower, upper)
    # the likeliest few go on; each settles its width and shift by descent
    likely = best_value / (2.0 * temper) + np.take_along_axis(prior, setting // n_widths, axis=1)
    kept = np.argsort(-likely, axis=1, kind="stable")[:, :_N_FINALISTS]
    best_value, angle, setting = (
        np.take_along_axis(array, kept, axis=1) for array in (best_value, angle, setting)
    )
    amplitude = np.take_along_axis(amplitude, kept[..., None], axis=1)
    for _ in range(3):
        centre, centre_angle, start = setting.copy(), angle.copy(), amplitude.copy()
        for shift_step, width_step in ((0, -1), (0, 1), (-1, 0), (1, 0)):
            s = np.clip(centre // n_widths + shift_step, 0, n_shifts - 1)
            w = np.clip(centre % n_widths + width_step, 0, n_widths - 1)
            tried = s * n_widths + w
            value, turned_to, a = _common_phase(
                bank, product, tried, centre_angle, lower, upper, start
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
    return _verdict(bank, rss, energy, noise, setting, angle, amplitude, prior, n_points)


def _common_phase(
    bank: _Bank,
    product: NDArray[np.complex128],
    setting: NDArray[np.intp],
    angle: NDArray[np.float64],
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    start: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return explained energy, phase and amplitudes of candidates (V, C) at their settings."""
    n_patterns = product.shape[2]
    q = np.take_along_axis(product, setting[..., None], axis=1).reshape(-1, n_patterns).T
    gram = bank.gram[:, :, setting.ravel()]
    phase = angle.ravel().copy()
    amplitude = np.zeros(q.shape) if start is None else start.reshape(-1, n_patterns).T
    for sweeps in (10, 5) if start is None else (4, 3):
        c = (q * np.exp(-1j * phase)).real
        amplitude = _nonnegative(gram, c, lower, upper, sweeps, amplitude)
        along = (amplitude * q).sum(axis=0)
        phase = np.where(along != 0, np.angle(along), phase)
    value = 2.0 * np.abs(along) - np.einsum("km,klm,lm->m", amplitude, gram, amplitude)
    return (
        value.reshape(setting.shape),
        phase.reshape(setting.shape),
        amplitude.T.reshape(*setting.shape, n_patterns),
    )


def _verdict(
    bank: _Bank,
    rss: NDArray[np.float64],
    energy: NDArray[np.float64],
    noise: NDArray[np.float64],
    setting: NDArray[np.intp],
    angle: NDArray[np.float64],
    amplitude: NDArray[np.float64],
    prior: NDArray[np.float64],
    n_points: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], list[tuple[str, ...]]]:
    """Weigh the candidates: the winner, its probability, and the patterns that decided."""
    n_widths = len(_WIDTHS_PPM)
    rows = np.arange(len(rss))
    # what the model cannot explain is error too, and it is correlated over a linewidth
    variance = np.maximum(noise, rss.min(axis=1) / (2.0 * n_points)) * _CORRELATED
    at_shift = setting // n_widths
    acetate = amplitude[..., _ACETATE] ** 2 / (2.0 * variance[:, None])
    log = -rss / (2.0 * variance[:, None]) + prior - np.minimum(acetate, _RARE)
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
    confidence = np.where(gain > 10.0, 1.0 / (1.0 + rival), 0.0)
    chosen = amplitude[rows, best]
    share = chosen**2 / (2.0 * variance[:, None])
    used = [
        tuple(_NAMES[k] for k in np.argsort(-row, kind="stable")[:4] if row[k] > 8.0)
        for row in share
    ]
    phase = np.where(gain > 10.0, angle[rows, best], 0.0)
    return phase, np.where(gain > 10.0, shift[rows, best], 0.0), confidence, used


def phase(spectra: Spectra, reference: Reference | None = None) -> Spectra:
    """Turn each spectrum upright: remove its zero-order phase.

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
    """
    found = find_reference(spectra) if reference is None else reference
    median = _median(np.degrees(found.phase_rad), found)
    step = Step(
        "phase",
        {"phase_deg": median, "confidence": _median(found.confidence, found)},
        f"The spectrum was turned by {0.0 - median:.0f} degrees"
        f"{'' if found.phase_rad.size == 1 else ' (median over the grid)'}.",
    )
    return spectra.done(step, fid=spectra.fid * np.exp(-1j * found.phase_rad)[..., None])


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
    """
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
            f"{-median:+.3f} ppm{many}, confidence {sure:.2f}."
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
