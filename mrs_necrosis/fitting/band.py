"""Which part of the spectrum holds anything: noise, and where a filter left none."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import fft

from mrs_necrosis.constants import LL_PARTS
from mrs_necrosis.fitting.model import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.fitting.model import Component
    from mrs_necrosis.spectra import Acquisition, Spectra

BLOCK = 24
"""Points of the spectrum whose noise is taken together."""

FILTERED = 100.0
"""A region this much quieter than the louder quarter of the spectrum was filtered away (assumed):
second differences of noise beside peaks do not stay so far below those of the peaks."""

EARLY_S = (0.015, 0.050)
"""Where the lines of brain are, after the onset of what lies far off."""

DOWNFIELD_PPM = 9.0
"""Amides and aromatic protons reach up to here."""

APODISED = -1.6
"""Change of the logarithm of the noise's power over the whole FID beyond which it was apodised:
by 0.5 Hz in half a second; white noise does it by chance in less than 1 of 1000 (assumed)."""

SILENT = 0.1
"""Part of the noise below which a stretch of the fitted range was filtered away (assumed)."""

STRETCH_PPM = 0.15
"""Length of the stretches that are looked at."""

VOXELS = 64
"""A filter is the file's: so many voxels show it."""

EDGE_PPM = 0.05
"""Half of a line that stands nearer to the end of the range lies outside."""

BETWEEN_PPM = 2.6
"""Between NAA and Cr: what is fitted reaches from here to both sides."""


def noise_of(
    spectrum: NDArray[np.complex128], quiet: NDArray[np.bool_], edge: int
) -> NDArray[np.float64]:
    """Return the noise of spectra from what adjacent points do not share.

    Parameters
    ----------
    spectrum : ndarray of complex128, shape (..., N)
        In ascending order of frequency.
    quiet : ndarray of bool, shape (N,)
        Where no peaks are expected.
    edge : int
        Points at either end that are left out of any choice.

    Returns
    -------
    ndarray of float64, shape (...)
        Standard deviation of the real part: from the quiet region; where that was filtered
        away, from the quieter half of what was not.
    """
    second = _second_differences(spectrum)
    whole = quiet[2:] & quiet[1:-1] & quiet[:-2]
    chosen = second[..., whole]
    both = np.concatenate([chosen.real, chosen.imag], axis=-1)
    sd: NDArray[np.float64] = np.median(np.abs(both), axis=-1) / 0.6744897501960817
    levels = _levels(second[..., edge : second.shape[-1] - edge], BLOCK)
    threshold = np.quantile(levels, 0.75, axis=-1) / FILTERED
    filtered = sd < threshold
    if filtered.any():
        heard = levels[filtered] > threshold[filtered, None]
        louder = np.sort(np.where(heard, levels[filtered], np.inf), axis=-1)
        middle = (heard.sum(axis=-1) - 1) // 4  # the median of the quieter half
        sd[filtered] = np.take_along_axis(louder, middle[:, None], axis=-1)[:, 0]
    return sd


def noise_at_start(
    spectrum: NDArray[np.complex128], silent: NDArray[np.bool_], dwell_time_s: float
) -> NDArray[np.float64]:
    """Return the noise of the FIDs' beginning, where they were apodised.

    An apodised FID loses its noise towards the end, and its spectrum looks better than it is:
    what a fit learns comes from the beginning, where all of the noise is.

    Parameters
    ----------
    spectrum : ndarray of complex128, shape (..., N)
        In ascending order of frequency.
    silent : ndarray of bool, shape (N,)
        Where there are no peaks at all, amides included.
    dwell_time_s : float
        Time between samples.

    Returns
    -------
    ndarray of float64, shape (...)
        Standard deviation of the real part of the spectrum, were all samples as noisy as those
        at 15 to 50 ms; 0 where the noise does not decline with time, as after apodisation.
    """
    n = spectrum.shape[-1]
    # tails of peaks are smooth: without sharp ends they stay at the very beginning
    window = np.zeros(n)
    ends = np.flatnonzero(np.diff(np.concatenate([[0], silent.astype(int), [0]])))
    for first, last in ends.reshape(-1, 2):
        window[first:last] = np.hanning(last - first + 2)[1:-1]
    alone = np.fft.ifft(spectrum * window, axis=-1)
    power = np.abs(alone) ** 2 * (n**2 / (2.0 * (window**2).sum()))
    # the power of complex noise has a median of ln 2 times its mean
    edges = np.linspace(0.15, 0.95, 9) * n
    parts = [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    course = np.stack([np.median(power[..., part], axis=-1) for part in parts], axis=-1)
    lever = np.arange(len(parts)) - (len(parts) - 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.log(course) @ lever / (lever @ lever) * len(parts) / 0.8
    early = slice(int(EARLY_S[0] / dwell_time_s), int(EARLY_S[1] / dwell_time_s) + 1)
    start = np.sqrt(np.median(power[..., early], axis=-1) / np.log(2))
    declining: NDArray[np.float64] = np.where(slope < APODISED, start, 0.0)
    return declining


def heard_ppm(
    spectra: Spectra, range_ppm: tuple[float, float], n_used: int
) -> tuple[float, float]:
    """Return the part of a range that no filter has emptied.

    A stretch was emptied if, in the median voxel, adjacent points differ by less than a tenth of
    the noise and the signal itself is within twice the noise.

    Parameters
    ----------
    spectra : Spectra
        Of V voxels.
    range_ppm : tuple of float
        Where to look.
    n_used : int
        Samples that are not zero-filled.

    Returns
    -------
    tuple of float
        What is left around 2.6 ppm; `range_ppm` itself if nothing was emptied.
    """
    fid = spectra.fid.reshape(-1, spectra.n_samples)
    chosen = np.flatnonzero(spectra.voxels_to_fit)
    chosen = chosen[:: max(1, chosen.size // VOXELS)]
    used = fid[chosen][:, :n_used]
    used = used[np.isfinite(used).all(axis=1) & used.any(axis=1)]
    ppm = frequencies_ppm(spectra.acquisition, n_used)
    inside = (ppm >= range_ppm[0]) & (ppm <= range_ppm[1])
    points = max(8, round(STRETCH_PPM * inside.sum() / (range_ppm[1] - range_ppm[0])))
    if not len(used) or inside.sum() < 4 * points:
        return range_ppm
    spectrum = np.fft.fftshift(fft(used, axis=1), axes=1)
    noise = noise_of(spectrum, *quiet_region(ppm))[:, None]
    inner = spectrum[:, inside]
    with np.errstate(divide="ignore", invalid="ignore"):
        rough = np.median(_levels(_second_differences(inner), points) / noise, axis=0)
        strong = np.median(_levels(inner, points)[:, : rough.size] / noise, axis=0)
    silent = (rough < SILENT) & (strong < 2.0)
    starts = ppm[inside][: rough.size * points : points]
    length = float(ppm[1] - ppm[0]) * points
    below = starts[silent & (starts < BETWEEN_PPM)] + length
    above = starts[silent & (starts >= BETWEEN_PPM)]
    low, high = max([range_ppm[0], *below]), min([range_ppm[1], *above])
    return (float(low), float(high)) if low < BETWEEN_PPM < high else range_ppm


def frequencies_ppm(acquisition: Acquisition, n: int) -> NDArray[np.float64]:
    """Return the chemical shifts of the plain transform of n samples, ascending."""
    hz = np.fft.fftshift(np.fft.fftfreq(n, acquisition.dwell_time_s))
    ppm: NDArray[np.float64] = acquisition.reference_or_water_ppm + (
        hz / acquisition.spectrometer_frequency_mhz
    )
    return ppm


def quiet_region(ppm: NDArray[np.float64]) -> tuple[NDArray[np.bool_], int]:
    """Return where no peaks are expected, and how many points receivers filter at either end."""
    edge = ppm.size // 25
    quiet = (ppm < -0.2) | (ppm > 6.0)
    quiet[:edge] = quiet[ppm.size - edge :] = False
    if quiet.sum() < 48:
        quiet = np.ones(ppm.size, dtype=bool)
    return quiet, edge


def within(model: Model, range_ppm: tuple[float, float]) -> Model:
    """Return a model for less of the spectrum, without what can then not be measured.

    Parameters
    ----------
    model : Model
        Of a wider range.
    range_ppm : tuple of float
        What is to be fitted: where lipids or water were taken out of the data, the rest.

    Returns
    -------
    Model
        Without the components most of whose signal lies outside, except for those that others
        are tied to. LL needs all of its parts, so that lipids and lactate go together.

    Raises
    ------
    ValueError
        If NAA and creatine would not be on both sides of what is left.

    Examples
    --------
    >>> from mrs_necrosis.fitting import default_model
    >>> from mrs_necrosis.spectra import Acquisition
    >>> acquisition = Acquisition(
    ...     spectrometer_frequency_mhz=123.2, dwell_time_s=5e-4, echo_time_s=0.144
    ... )
    >>> narrow = within(default_model(acquisition), (1.9, 4.0))
    >>> [name for name in ("NAA", "Cr", "Lac", "Lip13") if name in narrow.names]
    ['NAA', 'Cr']
    """
    low = max(model.range_ppm[0], range_ppm[0])
    high = min(model.range_ppm[1], range_ppm[1])
    if not low < BETWEEN_PPM < high:
        msg = f"range_ppm must ascend and hold {BETWEEN_PPM} ppm; got {range_ppm}"
        raise ValueError(msg)
    lost = {c.name for c in model.components if _share_inside(c, low, high) < 0.5}
    if lost & {c.name for c in model.components if c.area in LL_PARTS}:
        lost |= {c.name for c in model.components if c.area == "Lac" or c.area[:3] == "Lip"}
    # what is no area of its own says nothing without the one that it mends
    lost |= {c.name for c in model.components if not c.area and c.tied_to in lost}
    # what others are tied to stays: without it they would be free
    lost -= {c.tied_to for c in model.components if c.name not in lost}
    kept = model.without(*lost) if lost else model
    return replace(kept, range_ppm=(low, high))


def _share_inside(item: Component, low: float, high: float) -> float:
    """Return how much of a component's signal lies in a range; 1 if it is sampled."""
    if item.fid is not None:
        return 1.0
    weight, at = np.abs(item.weight), np.array(item.shift_ppm)
    inside = (at >= low + EDGE_PPM) & (at <= high - EDGE_PPM)
    return float(weight[inside].sum() / weight.sum())


def _second_differences(spectrum: NDArray[np.complex128]) -> NDArray[np.complex128]:
    # a second difference of white noise has 1 + 4 + 1 times its variance
    differences: NDArray[np.complex128] = np.diff(spectrum, n=2, axis=-1) / np.sqrt(6.0)
    return differences


def _levels(values: NDArray[np.complex128], block: int) -> NDArray[np.float64]:
    """Return the robust root mean square of either part in each block, shape (..., B)."""
    blocks = values[..., : values.shape[-1] // block * block]
    blocks = blocks.reshape(*values.shape[:-1], -1, block)
    # the modulus of complex noise of sd s per part has the median s sqrt(2 ln 2)
    levels: NDArray[np.float64] = np.median(np.abs(blocks), axis=-1) / np.sqrt(2 * np.log(2))
    return levels
