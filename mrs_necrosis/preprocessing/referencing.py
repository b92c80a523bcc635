"""Phase and chemical shift, found together, also where a tumour left few peaks; and taken out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.arguments import check_type
from mrs_necrosis.constants import LACTATE_J_HZ
from mrs_necrosis.preprocessing.noise import has_signal, noise_sd
from mrs_necrosis.preprocessing.patterns import SEARCH_PPM, pattern_bank
from mrs_necrosis.preprocessing.search import CHUNK, CORRELATED, Band, Reference, residues, search
from mrs_necrosis.spectra import Spectra, Step, check_spectra

if TYPE_CHECKING:
    from mrs_necrosis.preprocessing.patterns import Bank


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
_STRETCHES = np.concatenate([
    [0.415, 0.5, 0.52, 0.6, 0.7, 0.75],
    0.8 * 1.02 ** np.arange(10),
    1.055 * 1.02 ** np.arange(9),
    [1.333, 1.43, 1.67, 1.93, 2.0, 2.41],
])  # fmt: skip
"""True over stored distances of peaks: halves, doubles, other fields, and all within a quarter."""
_STRETCH_LEFT = 0.08
_STRETCH_SHARE = 0.6
_STRETCHED_PPM = 0.05
_ELSEWHERE = 0.05
"""Confidence in a shift when another axis that was not searched explains the spectrum better."""


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
    nothing = np.zeros(grid)
    bank = pattern_bank(
        spectra.n_samples,
        acquisition.dwell_time_s,
        acquisition.spectrometer_frequency_mhz,
        acquisition.reference_or_water_ppm,
    )
    if bank is None or not good.size:
        return Reference(nothing, nothing, nothing, ((),) * len(flat))
    band = Band(
        bank=bank,
        spectrum=_in_band(spectra, bank, good),
        noise=noise_sd(flat[good]) ** 2 * spectra.n_samples,
        water_ppm=water[good],
        lactate=_lactate_bounds(acquisition.echo_time_s, acquisition.sequence),
        phase_of_water=phase_of_water,
    )
    found = _found(spectra, band, good)
    phase_rad, shift_ppm, confidence = (np.zeros(len(flat)) for _ in range(3))
    phase_rad[good], shift_ppm[good] = found.phase_rad, found.shift_ppm
    confidence[good] = found.confidence
    used: list[tuple[str, ...]] = [()] * len(flat)
    for voxel, names in zip(good, found.used, strict=True):
        used[voxel] = names
    return replace(
        found,
        phase_rad=phase_rad.reshape(grid),
        shift_ppm=shift_ppm.reshape(grid),
        confidence=confidence.reshape(grid),
        used=tuple(used),
    )


def _found(spectra: Spectra, band: Band, good: NDArray[np.intp]) -> Reference:
    """Return the reference of the voxels with a signal, as flat arrays, begin time included."""
    acquisition = spectra.acquisition
    begin_s = _far_begin_time_s(band)
    if begin_s:
        band = _begun(band, begin_s)
    found = search(band)
    pivot_hz = (
        _PIVOT_PPM - acquisition.reference_or_water_ppm
    ) * acquisition.spectrometer_frequency_mhz
    later_s = _begin_time_s(band, found, pivot_hz)
    if later_s:
        turned = _begun(band, later_s)
        again = search(turned)
        # what was not clear before is believed if it is clear now
        if max(found.confidence.max(), again.confidence.max()) > _CLEAR:
            band, found, begin_s = turned, again, begin_s + later_s
    found = replace(found, begin_time_s=begin_s, stretch=_stretch(band, spectra, good, found))
    if found.stretch == 1.0:
        off_ppm = _further_off_ppm(band, spectra, good, found, begin_s)
        found = replace(found, further_off_ppm=off_ppm)
    if found.further_off_ppm or found.stretch != 1.0:
        return replace(found, confidence=np.minimum(found.confidence, _ELSEWHERE))
    return found


def _in_band(spectra: Spectra, bank: Bank, voxels: NDArray[np.intp]) -> NDArray[np.complex128]:
    """Return the band of the spectra of some voxels, shape (V, n)."""
    flat = spectra.fid.reshape(-1, spectra.n_samples)
    band = np.empty((voxels.size, bank.points.size), dtype=np.complex128)
    for first in range(0, voxels.size, CHUNK):
        part = slice(first, first + CHUNK)
        whole = np.fft.fftshift(np.fft.fft(flat[voxels[part]], axis=1), axes=1)
        band[part] = whole[:, bank.points]
    return band


def _begun(band: Band, begin_s: float) -> Band:
    """Return spectra without the first-order phase of a begin time."""
    return replace(
        band, spectrum=band.spectrum * np.exp(-2j * np.pi * band.bank.frequency_hz * begin_s)
    )


def _some_rows(band: Band) -> NDArray[np.intp]:
    """Return up to eight voxels from the strongest to the middle: the strongest are scalp."""
    strength = (np.abs(band.spectrum) ** 2).sum(axis=1) / np.maximum(band.noise, 1e-300)
    upper = np.argsort(-strength, kind="stable")[: (len(strength) + 1) // 2]
    return upper[np.unique(np.linspace(0, len(upper) - 1, _FAR_VOXELS).astype(np.intp))]


def _left_here(band: Band, found: Reference, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the energy (R,) that the patterns leave of some voxels where they were found."""
    shift_ppm, phase_rad = found.shift_ppm[rows], found.phase_rad[rows]
    left: NDArray[np.float64] = residues(
        band.bank, band.spectrum[None, rows], shift_ppm, phase_rad, band.lactate
    )[0]
    return left


def _energy(bank: Bank, spectrum: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return the energy (V,) of spectra without their baseline."""
    energy: NDArray[np.float64] = (np.abs(bank.without_baseline(spectrum)) ** 2).sum(axis=1)
    return energy


def _on_other_axes(
    band: Band, spectrum: NDArray[np.complex128], rows: NDArray[np.intp]
) -> tuple[Reference, NDArray[np.float64], NDArray[np.intp]]:
    """Search some voxels again on other axes, all voxels of one after those of another.

    Also return the energy that the patterns leave, and how many of Cho, Cr and NAA decided.
    """
    noise = np.tile(band.noise[rows], len(spectrum) // len(rows))
    there = search(
        Band(
            bank=band.bank,
            spectrum=spectrum,
            noise=noise,
            water_ppm=np.full(len(noise), np.nan),
            lactate=band.lactate,
            phase_of_water=False,
        )
    )
    rss = residues(band.bank, spectrum[None], there.shift_ppm, there.phase_rad, band.lactate)[0]
    known = np.array([len(_METABOLITES.intersection(names)) for names in there.used])
    return there, rss, known


def _further_off_ppm(
    band: Band, spectra: Spectra, good: NDArray[np.intp], found: Reference, begin_s: float
) -> float:
    """Return how far the peaks lie off, if it is further than was searched; else 0.

    Where the axis is some 1 ppm wrong, the patterns settle on something; at the true place they
    leave less than 0.6 of that, and find two of Cho, Cr and NAA or more, and more of them than
    here. No file at hand does so anywhere but at its own.
    """
    bank, rows = band.bank, _some_rows(band)
    acquisition = spectra.acquisition
    fid = spectra.fid.reshape(-1, spectra.n_samples)[good[rows]]
    turn_hz = _FURTHER_PPM[:, None] * acquisition.spectrometer_frequency_mhz
    moved = fid * np.exp(-2j * np.pi * turn_hz * spectra.time_s)[:, None]
    moved = moved.reshape(-1, spectra.n_samples)
    shifted = np.fft.fftshift(np.fft.fft(moved, axis=1), axes=1)[:, bank.points]
    shifted = shifted * np.exp(-2j * np.pi * bank.frequency_hz * begin_s)
    there, rss, known = _on_other_axes(band, shifted, rows)
    n = len(_FURTHER_PPM)
    here = _left_here(band, found, rows)
    rss = rss.reshape(n, -1)
    better = rss < _FURTHER_SHARE * here
    better &= there.confidence.reshape(n, -1) > _CLEAR
    here_known = [len(_METABOLITES.intersection(found.used[row])) for row in rows]
    better &= known.reshape(n, -1) > np.maximum(here_known, 1)
    off_ppm = _FURTHER_PPM[:, None] + there.shift_ppm.reshape(n, -1)
    better &= np.abs(off_ppm) > SEARCH_PPM
    rows_better = better.any(axis=0)
    if 4 * np.count_nonzero(rows_better) < len(rows):
        return 0.0
    best = np.where(better, rss, np.inf).argmin(axis=0)
    return float(np.median(off_ppm[best, np.arange(len(rows))][rows_better]))


def _stretch(band: Band, spectra: Spectra, good: NDArray[np.intp], found: Reference) -> float:
    """Return by what the distances between the peaks are wrong, if they clearly are; else 1.

    Where the dwell time or the frequency of the header is wrong, some pattern is settled on, and
    at the true distances less than 0.6 of what it leaves is left, at no shift, with two of Cho,
    Cr and NAA or more. That was 0.5 or less in simulated spectra whose header was 6 % off or
    more, and 0.93 or more in the files at hand.
    """
    bank, rows = band.bank, _some_rows(band)
    here = _left_here(band, found, rows)
    energy = _energy(bank, band.spectrum[rows])
    here_left = here - 2.0 * bank.points.size * band.noise[rows]
    suspect = (here_left > _STRETCH_LEFT * energy) | (
        np.abs(found.shift_ppm[rows]) > _STRETCHED_PPM
    )
    if 4 * np.count_nonzero(suspect) < len(rows):
        return 1.0
    from scipy.signal import zoom_fft  # takes longer to import than all else of a search

    asked = rows[suspect]
    fid = spectra.fid.reshape(-1, spectra.n_samples)[good[asked]]
    first, last = bank.frequency_hz[[0, -1]]
    stretched: NDArray[np.complex128] = np.concatenate([
        zoom_fft(fid, [first / by, last / by], bank.points.size,
                 fs=1.0 / spectra.acquisition.dwell_time_s, endpoint=True)
        for by in _STRETCHES
    ])  # fmt: skip
    there, rss, known = _on_other_axes(band, stretched, asked)
    n = len(_STRETCHES)
    noise = np.tile(band.noise[asked], n)
    share = (rss - 2.0 * bank.points.size * noise) / _energy(bank, stretched)
    fits = (known > 1) & (there.confidence > _CLEAR)
    fits &= np.abs(there.shift_ppm) <= _STRETCHED_PPM
    left = np.where(fits, share, np.inf).reshape(n, -1)
    better = left.min(axis=0) < _STRETCH_SHARE * (here_left / energy)[suspect]
    if 4 * np.count_nonzero(better) < len(rows):
        return 1.0
    return float(np.median(_STRETCHES[left.argmin(axis=0)[better]]))


def _far_begin_time_s(band: Band) -> float:
    """Return a begin time so far off that without it phase and shift are found wrong; else 0.

    Some voxels are searched at every begin time. At its own a spectrum leaves 0.2 to 0.7 of what
    it leaves 1 ms beside; one whose first sample lies at the echo leaves no less than 0.9
    elsewhere, unless it is all water or fat: Cho, Cr or NAA must be among what decided.
    """
    rows = _some_rows(band)
    n_times, n_rows = len(_FAR_TIMES_S), len(rows)
    turns = np.exp(-2j * np.pi * _FAR_TIMES_S[:, None] * band.bank.frequency_hz)
    turned = (band.spectrum[rows] * turns[:, None]).reshape(n_times * n_rows, -1)
    found = search(
        replace(
            band,
            spectrum=turned,
            noise=np.tile(band.noise[rows], n_times),
            water_ppm=np.tile(band.water_ppm[rows], n_times),
        )
    )
    rss = residues(band.bank, turned[None], found.shift_ppm, found.phase_rad, band.lactate)
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


def _begin_time_s(band: Band, found: Reference, pivot_hz: float) -> float:
    """Return the begin time that explains the clearest voxels best; 0 unless it matters.

    It matters if it raises the log likelihood by more than 10 and lowers the residual energy by
    more than 6 %, and at least two patterns decided. Where no voxel is clear, that may be its
    doing, and the strongest are asked.
    """
    bank, spectrum, noise = band.bank, band.spectrum, band.noise
    clear = [i for i, names in enumerate(found.used) if len(names) > 1]
    clear = [i for i in clear if found.confidence[i] > _CLEAR] or clear
    strength = (np.abs(spectrum[clear]) ** 2).sum(axis=1) / np.maximum(noise[clear], 1e-300)
    rows = np.array(clear, dtype=np.intp)[np.argsort(-strength, kind="stable")[:_BEGIN_VOXELS]]
    if not rows.size:
        return 0.0
    # turned about a point amid the peaks, so that their mean phase stays
    offset_hz = bank.frequency_hz - pivot_hz
    turns = np.exp(-2j * np.pi * _BEGIN_TIMES_S[:, None, None] * offset_hz)
    rss = residues(
        bank, spectrum[rows] * turns, found.shift_ppm[rows], found.phase_rad[rows], band.lactate
    )
    variance = np.maximum(noise[rows], rss.min(axis=0) / (2.0 * bank.points.size)) * CORRELATED
    cost = (rss / (2.0 * variance)).sum(axis=1)
    best, zero = int(cost.argmin()), len(_BEGIN_TIMES_S) // 2
    inside = 0 < best < len(cost) - 1
    gain = float(cost[zero] - cost[best])
    if not inside or gain < _BEGIN_GAIN or gain < _BEGIN_SHARE * cost[zero]:
        return 0.0
    below, here, above = cost[best - 1 : best + 2]
    offset = 0.5 * (below - above) / (below - 2.0 * here + above)
    return float(_BEGIN_TIMES_S[best] + offset * (_BEGIN_TIMES_S[1] - _BEGIN_TIMES_S[0]))


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
    found = _given_or_found(spectra, reference)
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
    found = _given_or_found(spectra, reference)
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
    if found.stretch != 1.0:
        note += f" {found.stretch_sentence(spectra.acquisition)}"
    step = Step(
        "reference_shift", {"shift_ppm": median, "confidence": sure, "used": list(used)}, note
    )
    return moved(spectra, found.shift_ppm, step)


def moved(spectra: Spectra, shift_ppm: NDArray[np.float64], step: Step) -> Spectra:
    """Return spectra whose peaks lay `shift_ppm` too high, (X, Y, Z), moved by that.

    Zero frequency is then at ``acquisition.reference_ppm``.
    """
    shift_hz = shift_ppm * spectra.acquisition.spectrometer_frequency_mhz
    turn = np.exp(-2j * np.pi * shift_hz[..., None] * spectra.time_s)
    acquisition = replace(
        spectra.acquisition, reference_ppm=spectra.acquisition.reference_or_water_ppm
    )
    return spectra.done(step, fid=spectra.fid * turn, acquisition=acquisition)


def _given_or_found(spectra: Spectra, reference: Reference | None) -> Reference:
    check_spectra(spectra)
    wanted = "a Reference, as find_reference returns it"
    check_type("reference", reference, Reference, wanted, optional=True)
    return find_reference(spectra) if reference is None else reference


def _median(values: NDArray[np.float64], found: Reference) -> float:
    known = values[found.confidence > 0]
    return round(float(np.median(known)), 4) if known.size else 0.0


def _used(found: Reference) -> tuple[str, ...]:
    """Return the patterns that decided in most voxels."""
    names = [name for voxel in found.used for name in voxel]
    deciding = sum(1 for voxel in found.used if voxel)
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    return tuple(sorted(name for name, n in counts.items() if 2 * n >= max(deciding, 1)))
