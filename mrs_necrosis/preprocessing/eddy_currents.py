"""The water reference: eddy-current correction, its frequency, its area."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mrs_necrosis.preprocessing.noise import has_signal, noise_sd
from mrs_necrosis.spectra import SpectralData, Step, check_spectral_data

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MIN_HEIGHT_RATIO = 5.0
_MIN_SHARE = 0.9
_MIN_SNR = 50.0
_NEAR_PPM = 0.5
_SMOOTHING_S = 2e-3
_EXTRAPOLATED_S = 8e-3


def correct_eddy_currents(data: SpectralData) -> SpectralData:
    r"""Take the phase that eddy currents gave the water out of the data.

    Each FID is turned by minus the phase of the water reference at each instant, without the
    reference's mean frequency: the line shapes become symmetric and the zero-order phase becomes
    that of the water, while the frequency axis stays where it was. Where the reference has
    decayed below 10 times its noise, its last phase is kept.

    Parameters
    ----------
    data : SpectralData
        One FID per voxel, with a water reference of one FID per voxel.

    Returns
    -------
    SpectralData
        `data` itself if there is no reference; with a step that says why, and nothing changed,
        if the reference is not an unsuppressed water signal. Voxels whose reference is zero or
        not finite stay as they are.

    Raises
    ------
    ValueError
        If coils or averages are not combined yet.

    References
    ----------
    Klose, Magn. Reson. Med. 14, 26 (1990).

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> rng = np.random.default_rng(1)
    >>> made = phantom("normal_white_matter", rng, water_reference=True, eddy_current_hz=5.0)
    >>> correct_eddy_currents(made.data).history[-1].name
    'correct_eddy_currents'
    """
    check_spectral_data(data)
    water = data.water
    if water is None:
        return data
    if data.dims or water.dims:
        msg = "eddy currents are corrected after coils and averages are combined"
        raise ValueError(msg)
    reason = why_no_water_reference(data)
    if reason:
        return data.done(Step("correct_eddy_currents", {"applied": False}, reason))
    frequency_hz, phase_rad = _water_phase(water)
    if water.n_samples < data.n_samples or not np.isclose(
        water.acquisition.dwell_time_s, data.acquisition.dwell_time_s, rtol=1e-3
    ):
        data_s = np.arange(data.n_samples) * data.acquisition.dwell_time_s
        at = np.minimum(data_s / water.acquisition.dwell_time_s, water.n_samples - 1.0)
        before = np.minimum(at.astype(np.intp), water.n_samples - 2)
        share = at - before
        phase_rad = (1.0 - share) * phase_rad[..., before] + share * phase_rad[..., before + 1]
    turned = data.fid * np.exp(-1j * phase_rad[..., : data.n_samples])
    shift_hz = float(np.nanmedian(frequency_hz))
    step = Step(
        "correct_eddy_currents",
        {"applied": True, "water_hz": round(shift_hz, 3)},
        "Eddy currents were corrected with the water reference (Klose).",
    )
    return data.done(step, fid=turned)


def why_no_water_reference(data: SpectralData) -> str:
    """Say why the water reference is none, or return an empty string if it is one.

    An unsuppressed water signal is at least 5 times as high as anything in the data, holds 90 %
    of its energy within 0.5 ppm of its peak and starts 50 times above its noise, in the median
    voxel.

    Parameters
    ----------
    data : SpectralData
        One FID per voxel, and the same of its water reference.

    Returns
    -------
    str
        A sentence, or nothing.
    """
    water = data.water
    if water is None:
        return "There is no water reference."
    used = has_signal(data.fid) & has_signal(water.fid)
    if not used.any():
        return "The water reference was not used: no voxel has both a signal and one."
    reference = np.abs(np.fft.fft(water.fid[used], axis=-1))
    tallest = np.abs(np.fft.fft(data.fid[used], axis=-1)).max(axis=-1)
    at = reference.argmax(axis=-1)
    ratio = float(np.median(reference.max(axis=-1) / tallest))
    if ratio < _MIN_HEIGHT_RATIO:
        return (
            f"The water reference was not used: it is only {ratio:.2g} times as high as the data, "
            "so it is not an unsuppressed water signal."
        )
    frequency_hz = np.fft.fftfreq(water.n_samples, water.acquisition.dwell_time_s)
    distance_hz = np.abs(frequency_hz - frequency_hz[at][:, None])
    # the axis is a circle: a line at its end has its other half at the beginning
    distance_hz = np.minimum(distance_hz, water.acquisition.spectral_width_hz - distance_hz)
    near = distance_hz <= _NEAR_PPM * water.acquisition.spectrometer_frequency_mhz
    energy = reference**2
    share = float(np.median((energy * near).sum(axis=-1) / energy.sum(axis=-1)))
    if share < _MIN_SHARE:
        return (
            f"The water reference was not used: only {100 * share:.0f} % of its energy lies "
            "within 0.5 ppm of its peak, so it is not one water line."
        )
    first = np.abs(water.fid[used][:, :8]).max(axis=-1)
    noise = noise_sd(water.fid[used])
    snr = float(np.median(first / np.maximum(noise, 1e-12 * first)))
    if snr < _MIN_SNR:
        return f"The water reference was not used: it is only {snr:.0f} times its noise."
    return ""


def water_frequency_hz(water: SpectralData) -> NDArray[np.float64]:
    """Return the mean frequency of each voxel's water reference.

    Parameters
    ----------
    water : SpectralData
        One FID per voxel.

    Returns
    -------
    ndarray of float64, shape (X, Y, Z)
        In Hz on the reference's own axis; NaN where there is no signal.
    """
    return _water_phase(water)[0]


def water_area(water: SpectralData) -> NDArray[np.float64]:
    """Return the amplitude of each voxel's water reference at t = 0.

    The logarithm of the modulus is extrapolated from the first 8 ms by a parabola. The first
    sample is left out: some scanners' filters halve it.

    Parameters
    ----------
    water : SpectralData
        One FID per voxel.

    Returns
    -------
    ndarray of float64, shape (X, Y, Z)
        In units of the FID; NaN where there is no signal.
    """
    dwell_s = water.acquisition.dwell_time_s
    n_used = min(water.n_samples, max(8, round(_EXTRAPOLATED_S / dwell_s) + 1))
    time = np.arange(1, n_used) / n_used
    used = has_signal(water.fid)
    modulus = np.abs(np.where(used[..., None], water.fid, 1.0)[..., 1:n_used])
    modulus = np.maximum(modulus, 1e-12 * modulus.max(axis=-1, keepdims=True))
    powers = np.stack([np.ones(n_used - 1), time, time**2], axis=-1)
    coefficients = np.log(modulus) @ np.linalg.pinv(powers).T
    area: NDArray[np.float64] = np.where(used, np.exp(coefficients[..., 0]), np.nan)
    return area


def _water_phase(water: SpectralData) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean frequency (X, Y, Z) in Hz and what is left of the phase (X, Y, Z, N) in rad."""
    n_samples, dwell_s = water.n_samples, water.acquisition.dwell_time_s
    used = has_signal(water.fid)
    fid = np.where(used[..., None], water.fid, 0.0)
    time_s = np.arange(n_samples) * dwell_s
    grid_hz = np.fft.fftfreq(n_samples, dwell_s)
    peak_hz = grid_hz[np.abs(np.fft.fft(fid, axis=3)).argmax(axis=3)]
    slow = fid * np.exp(-2j * np.pi * peak_hz[..., None] * time_s)

    # smooth along time, with the ends mirrored so that the first phase keeps its value
    half = max(1, round(_SMOOTHING_S / dwell_s))
    kernel = np.exp(-0.5 * (2.0 * np.arange(-2 * half, 2 * half + 1) / half) ** 2)
    kernel /= kernel.sum()
    reach = min(2 * half, n_samples - 1)
    padded = np.concatenate(
        [slow[..., reach:0:-1].conj() * _turn(slow), slow, slow[..., -2 : -reach - 2 : -1]], axis=3
    )
    n_fft = int(2 ** np.ceil(np.log2(padded.shape[3] + kernel.size)))
    smooth = np.fft.ifft(np.fft.fft(padded, n_fft, axis=3) * np.fft.fft(kernel, n_fft), axis=3)[
        ..., 2 * half + reach : 2 * half + reach + n_samples
    ]

    phase = np.unwrap(np.angle(smooth), axis=3)
    noise = noise_sd(np.where(used[..., None], fid, 1.0)) / np.sqrt(half)
    above = np.abs(smooth) > 10.0 * noise[..., None]
    # the first time the water falls below its noise ends what is known of its phase
    last = np.where(above.all(axis=3), n_samples, above.argmin(axis=3)) - 1
    index = np.minimum(np.arange(n_samples), np.maximum(last, 0)[..., None])
    phase = np.take_along_axis(phase, index, axis=3)

    weight = np.abs(smooth) ** 2 * (np.arange(n_samples) <= last[..., None])
    total = np.maximum(weight.sum(axis=3), np.finfo(np.float64).tiny)
    mean_s = (weight * time_s).sum(axis=3) / total
    mean_rad = (weight * phase).sum(axis=3) / total
    lever_s = time_s - mean_s[..., None]
    slope = (weight * lever_s * (phase - mean_rad[..., None])).sum(axis=3) / np.maximum(
        (weight * lever_s**2).sum(axis=3), np.finfo(np.float64).tiny
    )
    frequency_hz = np.where(used, peak_hz + slope / (2.0 * np.pi), np.nan)
    phase = np.where(used[..., None], phase - slope[..., None] * time_s, 0.0)
    return frequency_hz, phase


def _turn(fid: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return the factor by which a mirrored and conjugated FID continues the FID before t = 0."""
    first = fid[..., :1]
    squared = first**2
    modulus = np.abs(squared)
    turn: NDArray[np.complex128] = np.where(
        modulus > 0, squared / np.where(modulus > 0, modulus, 1.0), 1.0
    )
    return turn
