"""What all voxels of one fit share: time axis, band, basis, baseline, priors; and the data in it.

The fit looks at the complex in-band points of the plain discrete Fourier transform, not
zero-filled, so that their noise is white. Data are scaled to unit noise; chi-square is then a sum
of squares.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import fft

from mrs_necrosis.errors import FitError
from mrs_necrosis.fitting.band import (
    DOWNFIELD_PPM,
    frequencies_ppm,
    heard_ppm,
    noise_at_start,
    noise_of,
    quiet_region,
    within,
)
from mrs_necrosis.fitting.model import areas_of, check_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.fitting.model import Model
    from mrs_necrosis.spectra import Acquisition, Spectra

PIVOT_PPM = 2.6
"""First-order phase is zero here, between NAA and Cho, so that it hardly mixes with phase."""

LONGEST_FIT_S = 0.55
"""Later samples are left out: five decay times of a 3 Hz line, so they hold noise alone."""

RECEIVED = 0.96
"""Share of the spectral width in which receivers do not filter."""

BASELINE_MODES = 60
"""Smooth modes that are kept; stiffer or not, nothing with more dimensions is a baseline."""

CONTRADICTION_SD = 4.0
"""See ``amplitude_prior``."""

LEAST_POINTS = 3
"""In-band points for each nonlinear parameter; with fewer there is nothing to fit."""

LEAST_REACH = 0.15
"""Least size of a tie: one that followed its amplitude to zero would hold it there."""

FLAT_SD = 100.0
"""A flat amplitude prior is a normal one of this many scales: it only keeps matrices regular."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """The shared part of a fit.

    Parameters
    ----------
    model : Model
        With K components in C classes and P parameters.
    frequency_mhz : float
        Spectrometer frequency.
    time_s : ndarray of float64, shape (N,)
        Of the samples that are used.
    frequency_hz : ndarray of float64, shape (M,)
        Of the in-band points, relative to the reference.
    basis : ndarray of complex128, shape (K, N)
        Component FIDs, demodulated so that the band starts at zero frequency.
    shape_of : ndarray of int, shape (K,)
        Class of each component.
    acts : ndarray of float64, shape (P, C)
        By how much a parameter acts on a class: mostly 0 or 1.
    modes : ndarray of float64, shape (M, B)
        Orthonormal smooth modes of the baseline, smoothest first.
    roughness : ndarray of float64, shape (B,)
        Their penalty; the first two, a straight line, cost nothing.
    first_bin : int
        Bin of the transform at which the band starts.
    omega : ndarray of float64, shape (M,)
        Angular frequency from the pivot, for first-order phase.
    kind : tuple of str
        Kind of each parameter.
    start, sd, lower, upper : ndarray of float64, shape (P,)
        Priors and boxes; a flat prior has an infinite sd.
    emptied : str
        Says where a filter has left nothing to fit; empty if nowhere.
    """

    model: Model
    frequency_mhz: float
    time_s: NDArray[np.float64]
    frequency_hz: NDArray[np.float64]
    basis: NDArray[np.complex128]
    shape_of: NDArray[np.intp]
    acts: NDArray[np.float64]
    modes: NDArray[np.float64]
    roughness: NDArray[np.float64]
    first_bin: int
    omega: NDArray[np.float64]
    kind: tuple[str, ...]
    start: NDArray[np.float64]
    sd: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    emptied: str = ""

    def index(self, kind: str) -> list[int]:
        """Return the positions of the parameters of one kind."""
        return [i for i, k in enumerate(self.kind) if k == kind]

    def column(self, theta: NDArray[np.float64], name: str, unknown: float) -> NDArray[np.float64]:
        """Return one parameter of V voxels, shape (V,); ``unknown`` where the model lacks it."""
        names = [parameter.name for parameter in self.model.parameters]
        if name not in names:
            return np.full(len(theta), unknown)
        return theta[:, names.index(name)]

    def shrinkage(self, dimensions: float) -> NDArray[np.float64]:
        """Return how much of each mode the baseline takes, shape (B,)."""
        return shrinkage_of(self.roughness, dimensions)

    def candidates(self) -> NDArray[np.float64]:
        """Return ``shrinkage`` for every candidate of the model's baseline, shape (L, B)."""
        baseline = self.model.baseline
        if not baseline.dimensions:
            return np.zeros((1, self.roughness.size))
        return np.stack([self.shrinkage(d) for d in baseline.dimensions])

    def in_band(self, fid: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Return the in-band points of FIDs of shape (..., N), shape (..., M)."""
        n = self.time_s.size
        demodulated = fid[..., :n] * np.exp(-2j * np.pi * self.first_bin * np.arange(n) / n)
        band: NDArray[np.complex128] = fft(demodulated, axis=-1)[..., : self.frequency_hz.size]
        return band


@lru_cache(maxsize=64)
def _penalty_for(roughness: tuple[float, ...], dimensions: float) -> float:
    """Return the factor of ``roughness`` that leaves so many effective dimensions."""
    r = np.array(roughness)
    low, high = -12.0, 12.0
    for _ in range(80):
        middle = (low + high) / 2
        if (1.0 / (1.0 + 10.0**middle * r)).sum() > dimensions:
            low = middle
        else:
            high = middle
    return float(10.0**middle)


def shrinkage_of(roughness: NDArray[np.float64], dimensions: float) -> NDArray[np.float64]:
    """Return how much a baseline of so many dimensions takes of each of its modes, shape (B,)."""
    taken: NDArray[np.float64] = 1.0 / (
        1.0 + _penalty_for(tuple(roughness), dimensions) * roughness
    )
    return taken


@lru_cache(maxsize=16)
def smooth_modes(n_points: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the Demmler-Reinsch modes of a second-difference penalty, smoothest first."""
    difference = np.diff(np.eye(n_points), n=2, axis=0)
    values, vectors = np.linalg.eigh(difference.T @ difference)
    keep = min(BASELINE_MODES, n_points)
    values = np.maximum(values[:keep], 0.0)
    values[:2] = 0.0  # a straight line, up to rounding
    values /= values[min(8, keep - 1)] or 1.0
    # the sign of an eigenvector is arbitrary: fix it, for reproducible bits
    vectors = vectors[:, :keep] * np.sign(vectors[-1, :keep] + 1e-300)
    vectors[:, 0], vectors[:, 1] = 1.0, np.linspace(-1.0, 1.0, n_points)
    # modes are even and odd in turn, and orthogonal; rounding must blur neither
    for parity, sign in ((0, 1.0), (1, -1.0)):
        half = vectors[:, parity:keep:2]
        q, r = np.linalg.qr(half + sign * half[::-1])
        q = (q + sign * q[::-1]) * np.sign(np.diagonal(r))
        vectors[:, parity:keep:2] = q / np.sqrt((q**2).sum(axis=0))
    return vectors, values


def noise_sd(spectra: Spectra) -> NDArray[np.float64]:
    """Return the standard deviation of the noise in the real part of the plain FFT.

    From second differences along frequency outside 0 to 5.5 ppm, which smooth tails do not
    touch, robustly; the outermost 4 % at either end, where receivers filter, are left out. Where
    the spectral width leaves no such region, the whole spectrum serves; where a filter has
    emptied it, the quieter half of what is left.

    Parameters
    ----------
    spectra : Spectra
        Of V = X Y Z voxels.

    Returns
    -------
    ndarray of float64, shape (X, Y, Z)
        0 where the spectrum is zero; NaN where it is not finite. ``spectra.noise_sd`` is taken
        where a step of preprocessing has stated it.
    """
    if spectra.noise_sd is not None:
        stated: NDArray[np.float64] = spectra.noise_sd * np.sqrt(spectra.n_samples)
        return stated
    n = used_samples(spectra)
    fid = spectra.fid[..., :n]
    spectrum = np.fft.fftshift(fft(fid, axis=3), axes=3)
    ppm = frequencies_ppm(spectra.acquisition, n)
    quiet, edge = quiet_region(ppm)
    sd = noise_of(spectrum, quiet, edge)
    silent = quiet & ((ppm < 0) | (ppm > DOWNFIELD_PPM))
    if not quiet.all() and silent.sum() >= 96:
        sd = np.maximum(sd, noise_at_start(spectrum, silent, spectra.acquisition.dwell_time_s))
    scaled: NDArray[np.float64] = sd * np.sqrt(spectra.n_samples / n)
    return scaled


def used_samples(spectra: Spectra) -> int:
    """Return how many samples hold signal: those that are not zero-filled."""
    power = np.zeros(spectra.n_samples)
    rows = spectra.fid.reshape(-1, spectra.n_samples)
    for start in range(0, len(rows), 1024):  # the whole may not fit into memory twice
        power += np.nansum(np.abs(rows[start : start + 1024]), axis=0)
    filled = np.flatnonzero(power)
    last = int(filled[-1]) + 1 if filled.size else spectra.n_samples
    return spectra.n_samples if last < spectra.n_samples // 8 else last


def fast_length(n: int) -> int:
    """Return the largest number up to ``n`` with no prime factor above 5, for fast transforms."""
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n -= 1


def prepare(spectra: Spectra, model: Model) -> Problem:
    """Set up the shared part of a fit.

    Parameters
    ----------
    spectra : Spectra
        What is to be fitted.
    model : Model
        What is to be laid under it.

    Returns
    -------
    Problem
        Ready for any chunk of the voxels.

    Raises
    ------
    FitError
        If the spectral width or the duration is too small for the model's range.
    """
    acquisition = spectra.acquisition
    mhz, dwell = acquisition.spectrometer_frequency_mhz, acquisition.dwell_time_s
    reference = acquisition.reference_or_water_ppm
    used = used_samples(spectra)
    model, emptied = _heard_part(spectra, model, used)
    check_parameters(model.parameters)
    sampled = [c.fid.size for c in model.components if c.fid is not None]
    longest = max(256, int(np.ceil(LONGEST_FIT_S / dwell)))
    n = fast_length(min(used, longest, *sampled))
    bins = _bins(acquisition, model, n)
    first, hz = int(bins[0]), bins / (n * dwell)
    time: NDArray[np.float64] = np.arange(n, dtype=np.float64) * dwell
    fids = np.stack([c.samples(time, mhz, reference) for c in model.components])
    fids = fids * np.exp(-2j * np.pi * first * np.arange(n) / n)
    modes, roughness = smooth_modes(hz.size)
    return Problem(
        model=model,
        frequency_mhz=mhz,
        time_s=time,
        frequency_hz=hz,
        basis=fids,
        shape_of=np.array([model.shapes.index(c.shape) for c in model.components]),
        acts=_acts(model),
        modes=modes,
        roughness=roughness,
        first_bin=first,
        omega=2 * np.pi * (hz - (PIVOT_PPM - reference) * mhz),
        kind=tuple(p.kind for p in model.parameters),
        start=np.array([p.start for p in model.parameters]),
        sd=np.array([np.inf if p.sd is None else p.sd for p in model.parameters]),
        lower=np.array([p.lower for p in model.parameters]),
        upper=np.array([p.upper for p in model.parameters]),
        emptied=emptied,
    )


def _heard_part(spectra: Spectra, model: Model, used: int) -> tuple[Model, str]:
    """Return the model of what a filter has left, and a sentence that says so, or nothing."""
    heard = heard_ppm(spectra, model.range_ppm, used)
    if heard == model.range_ppm:
        return model, ""
    left = within(model, heard)
    gone = ", ".join(a for a in areas_of(model)[0] if a not in areas_of(left)[0])
    return left, (
        f"a filter has emptied the spectrum outside {heard[0]:.2f} to {heard[1]:.2f} ppm: "
        f"only this was fitted{gone and f', and nothing is said of {gone}'}"
    )


def _bins(acquisition: Acquisition, model: Model, n: int) -> NDArray[np.intp]:
    """Return which bins of a transform of ``n`` samples lie in the model's range."""
    dwell = acquisition.dwell_time_s
    low, high = (
        (ppm - acquisition.reference_or_water_ppm) * acquisition.spectrometer_frequency_mhz
        for ppm in model.range_ppm
    )
    edge = RECEIVED * (0.5 / dwell)
    low, high = max(low, -edge), min(high, edge)
    first = int(np.ceil(low * n * dwell))
    last = int(np.floor(high * n * dwell))
    if last - first < LEAST_POINTS * len(model.parameters):
        msg = (
            f"{max(last - first, 0)} points lie between {model.range_ppm[0]:.2f} and "
            f"{model.range_ppm[1]:.2f} ppm, too few for a model of {len(model.parameters)} "
            "parameters; the FID is too short, or the spectral width or frequency is wrong"
        )
        raise FitError(msg)
    return np.arange(first, last + 1)


def _acts(model: Model) -> NDArray[np.float64]:
    """Return by how much each parameter acts on each class, shape (P, C)."""
    acts = np.zeros((len(model.parameters), len(model.shapes)))
    for p, parameter in enumerate(model.parameters):
        for shape, factor in zip(parameter.shapes, parameter.by_shape, strict=True):
            acts[p, model.shapes.index(shape)] = factor
    return acts


def amplitude_prior(
    problem: Problem,
    scale: NDArray[np.float64],
    amplitudes: NDArray[np.float64],
    sd: NDArray[np.float64],
    least: NDArray[np.float64] | float = 0.0,
    *,
    least_reach: float = LEAST_REACH,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the amplitudes' normal prior as precision and precision times mean.

    A prior that the data contradict, by more than ``CONTRADICTION_SD`` of its own and of the
    estimate's standard deviations, is widened to the distance: it is a guess about brain, and
    this is something else.

    Parameters
    ----------
    problem : Problem
        With K components.
    scale : ndarray of float64, shape (V,)
        Unit of the priors in each voxel.
    amplitudes : ndarray of float64, shape (V, K)
        Where the search stands; a tie's sd is relative to the amplitude that it ties to.
    sd : ndarray of float64, shape (V, K)
        Their standard deviations.
    least : ndarray of float64, shape (V, K), or float
        Width below which no prior may fall: what an earlier call widened it to.
    least_reach : float
        Least size, in scales, of an amplitude that others are tied to.

    Returns
    -------
    precision : ndarray of float64, shape (V, K, K)
        Symmetric.
    pull : ndarray of float64, shape (V, K)
        Precision times mean.
    widened : ndarray of float64, shape (V, K)
        Widths of the priors that the data contradict, zero elsewhere.
    """
    v, k = amplitudes.shape
    widened = np.zeros((v, k)) + least
    precision = np.zeros((v, k, k))
    pull = np.zeros((v, k))
    names = problem.model.names
    for i, item in enumerate(problem.model.components):
        if item.prior_sd is None or item.prior_mean is None:
            mean, width = 0.0, FLAT_SD * scale
        else:
            mean, width = item.prior_mean, item.prior_sd * scale
            away = np.abs(amplitudes[:, i] - mean * scale)
            wrong = away > CONTRADICTION_SD * (width + sd[:, i])
            widened[:, i] = np.maximum(widened[:, i], np.where(wrong, away, 0.0))
            width = np.maximum(width, widened[:, i])
        weight = 1.0 / width**2
        precision[:, i, i] += weight
        pull[:, i] += weight * mean * scale
        if item.tied_to:
            j = names.index(item.tied_to)
            # an sd that followed the estimate would reward a larger one: MM09's is its prior's
            tied = problem.model.components[j]
            if tied.prior_mean is None or tied.prior_sd is None:
                reach = np.maximum(amplitudes[:, j], least_reach * scale)
            else:
                reach = (tied.prior_mean or tied.prior_sd) * scale
            weight = 1.0 / (item.tie_sd * reach) ** 2
            precision[:, i, i] += weight
            precision[:, j, j] += weight * item.tie_mean**2
            precision[:, i, j] -= weight * item.tie_mean
            precision[:, j, i] -= weight * item.tie_mean
    return precision, pull, widened
