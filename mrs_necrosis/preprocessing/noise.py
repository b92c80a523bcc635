"""Where there is signal, how strong the noise is, and how the noise of coils is correlated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TINY = np.finfo(np.float64).tiny

_FILTERED = 100.0
"""Blocks this much quieter than the louder quarter were filtered away (assumed)."""


def has_signal(fid: NDArray[np.complex128]) -> NDArray[np.bool_]:
    """Say which FIDs hold finite samples only, and not only zeros.

    Parameters
    ----------
    fid : ndarray of complex128, shape (..., N)
        FIDs.

    Returns
    -------
    ndarray of bool, shape (...)
        True where there is something to process.
    """
    peak = np.abs(fid).max(axis=-1)  # NaN and infinity survive the maximum
    signal: NDArray[np.bool_] = np.isfinite(peak) & (peak > 0)
    return signal


def noise_sd(fid: NDArray[np.complex128]) -> NDArray[np.float64]:
    r"""Return the standard deviation of the noise in the real part of each FID's samples.

    The noise is what adjacent points of the spectrum do not share: the second differences of the
    quieter half of the spectrum, taken robustly, so that peaks and their tails hardly count.
    Blocks that a filter has emptied are left out.

    Parameters
    ----------
    fid : ndarray of complex128, shape (..., N)
        FIDs. The noise of the plain FFT is :math:`\sqrt N` times what is returned.

    Returns
    -------
    ndarray of float64, shape (...)
        In units of the FID; 0 for a zero FID, NaN where a sample is not finite.
    """
    n_samples = fid.shape[-1]
    spectrum = np.fft.fft(np.where(np.isfinite(fid), fid, 0.0), axis=-1) / np.sqrt(n_samples)
    second = np.diff(spectrum, n=2, axis=-1) / np.sqrt(6.0)  # white noise keeps its variance
    n_blocks = min(16, max(2, n_samples // 16))
    usable = second.shape[-1] // n_blocks * n_blocks
    blocks = second[..., :usable].reshape(*second.shape[:-1], n_blocks, -1)
    # the modulus of complex noise of sd s per part has the median s sqrt(2 ln 2)
    per_block = np.median(np.abs(blocks), axis=-1) / np.sqrt(2.0 * np.log(2.0))
    # what a filter has emptied is no noise
    loud = np.quantile(per_block, 0.75, axis=-1, keepdims=True)
    heard = per_block >= loud / _FILTERED
    by_size = np.sort(np.where(heard, per_block, np.inf), axis=-1)
    n_quiet = (heard.sum(axis=-1, keepdims=True) + 1) // 2
    middle = np.take_along_axis(by_size, np.maximum(n_quiet - 1, 0) // 2, axis=-1)
    middle = 0.5 * (middle + np.take_along_axis(by_size, n_quiet // 2, axis=-1))
    # choosing the quieter half of white noise lowers its median by 2.3 / sqrt(N) (simulated)
    level = middle[..., 0] / (1.0 - 2.3 / np.sqrt(max(n_samples, 64)))
    sd: NDArray[np.float64] = np.where(np.isfinite(fid).all(axis=-1), level, np.nan)
    return sd


def noise_covariance(fid: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return the noise covariance of C channels, pooled over all FIDs.

    Taken from the last quarter of the FIDs, in the parts of its spectrum that hold least energy,
    so that a signal which has not decayed there does not pass for noise. The scale is therefore
    a little low; whitening needs the ratios and correlations of the channels only.

    Parameters
    ----------
    fid : ndarray of complex128, shape (V, C, N)
        FIDs; those with samples that are not finite are left out.

    Returns
    -------
    ndarray of complex128, shape (C, C)
        Hermitian and positive definite; the identity if there is no noise at all.
    """
    n_channels = fid.shape[1]
    good = fid[np.isfinite(fid).all(axis=(1, 2))]
    tail = good[..., -max(8, fid.shape[-1] // 4) :]
    tail = tail * np.blackman(tail.shape[-1])
    spectrum = np.fft.fft(tail, axis=-1)
    energy = (np.abs(spectrum) ** 2).sum(axis=(0, 1))
    # whole blocks: picking single points would favour those where the noise happens to be low
    blocks = np.array_split(np.arange(energy.size), min(32, energy.size // 2))
    order = np.argsort([energy[block].mean() for block in blocks], kind="stable")
    quiet = np.concatenate([blocks[i] for i in order[: (3 * len(blocks)) // 8 + 1]])
    samples = np.moveaxis(spectrum[..., quiet], 1, 0).reshape(n_channels, -1)
    window_energy = float((np.blackman(tail.shape[-1]) ** 2).sum())
    covariance: NDArray[np.complex128] = (
        samples @ samples.conj().T / (max(samples.shape[1], 1) * window_energy)
    )
    scale = float(np.trace(covariance).real) / n_channels
    if not scale > _TINY:
        return np.eye(n_channels, dtype=np.complex128)
    # a dead channel must not make the matrix singular
    covariance += np.eye(n_channels) * (1e-6 * scale)
    return covariance
