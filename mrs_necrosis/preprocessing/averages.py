"""Averages: aligned in frequency and phase, outlying ones left out, then averaged.

All of it works on the axis ``DIM_DYN``; the other axes that hold repetitions of the same
measurement (``DIM_MEAS``, ``DIM_PHASE_CYCLE``) are joined to it. On a grid one correction and one
verdict per average holds for all voxels, because an average is one measurement of the whole grid.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from mrs_necrosis.errors import SignalError
from mrs_necrosis.preprocessing.noise import has_signal, noise_sd
from mrs_necrosis.spectra import SpectralData, Step, check_spectral_data

if TYPE_CHECKING:
    from numpy.typing import NDArray

AVERAGING_DIMS = ("DIM_DYN", "DIM_MEAS", "DIM_PHASE_CYCLE")
"""Axes of repetitions of one measurement."""

_REFUSED = {
    "DIM_EDIT": "edited data (DIM_EDIT) cannot be averaged: the ratios of an edited spectrum have "
    "another meaning; give one sub-spectrum, without the axis",
    "DIM_INDIRECT_0": "data with an indirect dimension (DIM_INDIRECT_0) are not a repetition of "
    "one measurement; give one echo time or delay, without the axis",
    "DIM_ISIS": "ISIS cycles (DIM_ISIS) must be added with their signs; give data that the "
    "scanner has combined",
    "DIM_METCYCLE": "metabolite-cycled data (DIM_METCYCLE) must be subtracted; give data that the "
    "scanner has combined",
}

_BAND_PPM = (1.85, 4.2)
"""Between the lipids and the water, whose amplitudes vary from average to average."""

_MAX_SHIFT_PPM = 0.3
"""Drifts beyond this are not searched for."""

_USEFUL_SD_HZ = 1.0
"""The band is used alone if it tells an average's frequency to this sd or better."""

_REGION = "1.85-4.2 ppm"

_TOGETHER = (1, 2, 4, 8)
"""Consecutive averages that are taken together where each alone holds too little signal."""

_USELESS_SD_HZ = 1.5
"""Averages whose frequency is known no better than this are left as they are."""

_OUTLIER = 5.0
"""Robust standard scores beyond which an average is left out."""


def _joined(data: SpectralData) -> NDArray[np.complex128] | None:
    """Return FIDs as (V, D, N), all averaging axes joined; None if there are none."""
    for name in data.dims:
        if name in AVERAGING_DIMS or name == "DIM_COIL":
            continue
        msg = _REFUSED.get(name.replace("INDIRECT_1", "INDIRECT_0").replace("_2", "_0"))
        if msg is None:
            msg = f"the axis {name} is not known to hold repetitions; give data without it"
        raise SignalError(msg)
    names = [name for name in data.dims if name in AVERAGING_DIMS]
    if not names:
        return None
    if "DIM_COIL" in data.dims:
        msg = "averages are handled after coil combination; call combine_coils first"
        raise ValueError(msg)
    fid = data.fid.reshape(-1, data.n_samples, int(np.prod(data.fid.shape[4:])))
    return np.swapaxes(fid, 1, 2)


def align_averages(data: SpectralData) -> SpectralData:
    r"""Align the averages in frequency and phase.

    Spectral registration: each average, turned by :math:`\exp(i(2\pi f t + \varphi))`, is brought
    as near as possible (least squares in the time domain, analytic derivatives, all averages at
    once) to the mean of the aligned averages, which starts as the average that most resembles
    the others. Only the band between lipids and water counts where it holds enough signal,
    because their amplitudes are not stable; otherwise the whole spectrum does. Where single
    averages hold too little, up to 8 consecutive ones are taken together, and what is found is
    interpolated.

    Parameters
    ----------
    data : SpectralData
        After coil combination.

    Returns
    -------
    SpectralData
        With the same axes; `data` itself if there is nothing to align. The step lists the shift
        (Hz) and phase (degrees) that were taken out of each average.

    Raises
    ------
    SignalError
        If an axis does not hold repetitions, such as ``DIM_EDIT``.
    ValueError
        If the coils are not combined yet.

    References
    ----------
    Near et al., Magn. Reson. Med. 73, 44 (2015): spectral registration in the time domain.
    Mikkelsen et al., NMR Biomed. 33, e4368 (2020): why lipids and water must not decide.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> rng = np.random.default_rng(1)
    >>> made = phantom("normal_white_matter", rng, averages=8, drift_hz=4.0)
    >>> align_averages(made.data).history[-1].name
    'align_averages'
    """
    check_spectral_data(data)
    fid = _joined(data)
    if fid is None or fid.shape[1] < 2:
        return data
    signal = has_signal(fid)
    # spoilt averages are left as they are; reject_averages names them
    sound = np.flatnonzero(signal.any(axis=0))
    good_voxel = signal[:, sound].all(axis=1)
    if sound.size < 2 or not good_voxel.any():
        return data
    dwell_s = data.acquisition.dwell_time_s
    limit_hz = _MAX_SHIFT_PPM * data.acquisition.spectrometer_frequency_mhz
    usable = fid[good_voxel][:, sound]

    noise = float(np.sqrt((noise_sd(usable) ** 2).mean()))
    band, share = _band(usable, data)
    regions = {
        _REGION: (band, share, _USEFUL_SD_HZ),
        "whole spectrum": (usable, 1.0, _USELESS_SD_HZ),
    }
    sizes = [size for size in _TOGETHER if size == 1 or sound.size >= 4 * size]
    found = None
    for together, region in itertools.product(sizes, regions):
        values, part, enough_hz = regions[region]
        joint, numbers = _together(values, together)
        tried = _register(joint, noise / np.sqrt(together), part, dwell_s, limit_hz)
        if tried[2] <= enough_hz:
            found = tried
            break
    if found is None:
        step = Step(
            "align_averages",
            {"applied": False, "sd_hz": None},
            "The averages were not aligned: they hold too little signal to tell their frequency.",
        )
        return data.done(step)
    shift_hz, phase_rad, sd_hz = np.zeros(fid.shape[1]), np.zeros(fid.shape[1]), found[2]
    shift_hz[sound] = np.interp(np.arange(sound.size), numbers, found[0])
    phase_rad[sound] = np.interp(np.arange(sound.size), numbers, np.unwrap(found[1]))
    time_s = np.arange(data.n_samples) * dwell_s
    turn = np.exp(1j * (2.0 * np.pi * shift_hz[:, None] * time_s + phase_rad[:, None]))
    aligned = np.swapaxes(fid * turn, 1, 2).reshape(data.fid.shape)
    spread_hz = float(shift_hz.max() - shift_hz.min())
    step = Step(
        "align_averages",
        {
            "applied": True,
            "region": region,
            "together": together,
            "shift_hz": [round(float(-f), 3) for f in shift_hz],
            "phase_deg": [round(float(np.degrees(-p)), 2) for p in phase_rad],
            "sd_hz": round(sd_hz, 4),
        },
        f"{len(shift_hz)} averages were aligned; their frequencies spread over {spread_hz:.1f} "
        f"Hz ({region}{'' if together == 1 else f', {together} at a time'}).",
    )
    return data.done(step, fid=aligned)


def _together(
    fid: NDArray[np.complex128], size: int
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Return means of so many consecutive averages (V, D, N), and their mean numbers."""
    n_blocks = fid.shape[1] // size
    blocks = fid[:, : n_blocks * size].reshape(fid.shape[0], n_blocks, size, fid.shape[2])
    return blocks.mean(axis=2), np.arange(n_blocks) * size + 0.5 * (size - 1)


def _band(fid: NDArray[np.complex128], data: SpectralData) -> tuple[NDArray[np.complex128], float]:
    """Return the FIDs with only the band between lipids and water left, and its share."""
    acquisition, n_samples = data.acquisition, fid.shape[-1]
    ppm = acquisition.reference_or_water_ppm + (
        np.fft.fftfreq(2 * n_samples, acquisition.dwell_time_s)
        / acquisition.spectrometer_frequency_mhz
    )
    edge_ppm = 0.1
    low, high = _BAND_PPM
    ramp = np.clip(np.minimum(ppm - low, high - ppm) / edge_ppm, 0.0, 1.0)
    window = np.sin(0.5 * np.pi * ramp) ** 2
    # twice the length, or the filter would carry the beginning of the FID round to its end
    banded: NDArray[np.complex128] = np.fft.ifft(
        np.fft.fft(fid, 2 * n_samples, axis=-1) * window, axis=-1
    )[..., :n_samples]
    return banded, float((window**2).mean())


def _register(
    fid: NDArray[np.complex128], noise: float, share: float, dwell_s: float, limit_hz: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return shift (D,) in Hz and phase (D,) that align FIDs (V, D, N), and the shift's sd.

    `noise` is the sd per part before a band with `share` of the spectrum was selected.
    """
    n_used = _samples_with_signal(fid, 2.0 * share * noise**2)
    signal = fid[..., :n_used]
    time_s = np.arange(n_used) * dwell_s

    # start at the average whose modulus is nearest to the median modulus
    modulus = np.abs(signal)
    distance = ((modulus - np.median(modulus, axis=1, keepdims=True)) ** 2).sum(axis=(0, 2))
    reference = signal[:, np.argmin(distance)]
    shift_hz, phase_rad = _coarse(signal, reference, dwell_s, limit_hz)
    for _ in range(4):
        shift_hz, phase_rad, normal = _refine(signal, reference, time_s, shift_hz, phase_rad)
        turn = np.exp(1j * (2.0 * np.pi * shift_hz[:, None] * time_s + phase_rad[:, None]))
        turned = signal * turn
        # the median does not follow a spoilt average; its real and imaginary part are apart
        reference = np.median(turned.real, axis=1) + 1j * np.median(turned.imag, axis=1)
    shift_hz, phase_rad, normal = _refine(signal, reference, time_s, shift_hz, phase_rad)
    covariance = np.linalg.pinv(normal) * noise**2
    sd_hz = float(np.median(np.sqrt(np.maximum(covariance[:, 0, 0], 0.0)))) / (2.0 * np.pi)
    middle = int(np.argsort(shift_hz)[len(shift_hz) // 2])
    # the mean frequency stays where it was: referencing comes later
    return (
        shift_hz - shift_hz[middle],
        np.angle(np.exp(1j * (phase_rad - phase_rad[middle]))),
        sd_hz,
    )


def _samples_with_signal(fid: NDArray[np.complex128], noise_energy: float) -> int:
    """Return how many of the first samples of FIDs (V, D, N) are worth using."""
    n_blocks = min(64, fid.shape[-1] // 8)
    energy = (np.abs(fid) ** 2).mean(axis=(0, 1))
    size = energy.size // n_blocks
    per_block = energy[: size * n_blocks].reshape(n_blocks, size).mean(axis=1)
    below = np.flatnonzero(per_block < 2.0 * noise_energy)
    n_used = size * int(below[0]) if below.size else energy.size
    return int(np.clip(n_used, 32, energy.size))


def _coarse(
    signal: NDArray[np.complex128],
    reference: NDArray[np.complex128],
    dwell_s: float,
    limit_hz: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the best of a fine grid of shifts, and the phase that goes with it."""
    n_fft = 4 * int(2 ** np.ceil(np.log2(signal.shape[-1])))
    frequency_hz = np.fft.fftfreq(n_fft, dwell_s)
    correlation = np.fft.fft((signal.conj() * reference[:, None, :]).sum(axis=0), n=n_fft, axis=-1)
    correlation[:, np.abs(frequency_hz) > limit_hz] = 0.0
    best = np.argmax(np.abs(correlation), axis=1)
    phase = np.angle(np.take_along_axis(correlation, best[:, None], axis=1)[:, 0])
    return frequency_hz[best], phase


def _refine(
    signal: NDArray[np.complex128],
    reference: NDArray[np.complex128],
    time_s: NDArray[Any],
    shift_hz: NDArray[np.float64],
    phase_rad: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return shift and phase after a few Gauss-Newton steps, and the last normal matrices."""
    unknowns = np.stack([2.0 * np.pi * shift_hz, phase_rad], axis=1)
    normal = np.zeros((len(unknowns), 2, 2))
    weights = np.stack([time_s, np.ones_like(time_s)])  # d phase / d (angular frequency, phase)
    products = (weights[:, None, :] * weights[None, :, :]).reshape(4, -1)
    for _ in range(5):
        turned = signal * np.exp(1j * (unknowns @ weights))
        # residual = turned - reference; its derivative is i * weight * turned
        energy = (np.abs(turned) ** 2).sum(axis=0)
        normal = (energy @ products.T).reshape(-1, 2, 2)
        cross = (turned.conj() * reference[:, None, :]).sum(axis=0).imag
        gradient = cross @ weights.T
        unknowns += (np.linalg.pinv(normal) @ gradient[..., None])[..., 0]
    return unknowns[:, 0] / (2.0 * np.pi), unknowns[:, 1], normal


def reject_averages(data: SpectralData) -> SpectralData:
    """Leave out averages that are not like the others.

    An average's distance is the root mean square difference from the median average, over the
    samples that hold signal. Left out is one that holds samples which are not finite, that is
    zero throughout, or whose distance lies more than 5 robust standard deviations, and more than
    a quarter, above the median distance. With fewer than five averages only the first two
    reasons apply, and never are more than a third left out for the last.

    Parameters
    ----------
    data : SpectralData
        After alignment.

    Returns
    -------
    SpectralData
        Without the outlying averages (the averaging axes are joined to one ``DIM_DYN``); `data`
        itself if there are none. The step says which and why.

    Raises
    ------
    SignalError
        If an axis does not hold repetitions, or no average is left.
    ValueError
        If the coils are not combined yet.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> rng = np.random.default_rng(1)
    >>> made = phantom("normal_white_matter", rng, averages=8)
    >>> made.data.fid.shape, reject_averages(made.data).fid.shape
    ((1, 1, 1, 1024, 8), (1, 1, 1, 1024, 8))
    """
    check_spectral_data(data)
    fid = _joined(data)
    if fid is None or fid.shape[1] < 2:
        return data
    n_averages = fid.shape[1]
    # a voxel that never was finite says nothing about the averages
    heard = has_signal(fid).any(axis=1)
    if not heard.any():
        return data
    usable = fid[heard]
    # a spoilt voxel alone does not spoil the average for the others
    finite = np.isfinite(usable).all(axis=2).any(axis=0)
    silent = (np.abs(usable) == 0).all(axis=(0, 2))
    reasons = dict.fromkeys(np.flatnonzero(~finite).tolist(), "holds samples that are not finite")
    reasons |= dict.fromkeys(np.flatnonzero(silent).tolist(), "is zero throughout")
    left = np.flatnonzero(finite & ~silent)
    if left.size == 0:
        msg = "no average is left: each holds samples that are not finite, or only zeros"
        raise SignalError(msg)
    whole = usable[:, left]
    whole = whole[np.isfinite(whole).all(axis=(1, 2))]
    if left.size >= 5 and len(whole):
        reasons |= _outliers(whole, left)
    kept = [i for i in range(n_averages) if i not in reasons]
    if not reasons:
        return data
    shape = (*data.fid.shape[:4], len(kept))
    named = "; ".join(f"{i + 1} {reasons[i]}" for i in sorted(reasons))
    step = Step(
        "reject_averages",
        {
            "rejected": sorted(reasons),
            "of": n_averages,
            "why": [reasons[i] for i in sorted(reasons)],
        },
        f"{len(reasons)} of {n_averages} averages left out: {named}.",
    )
    return data.done(step, fid=np.swapaxes(fid[:, kept], 1, 2).reshape(shape), dims=("DIM_DYN",))


def _outliers(fid: NDArray[np.complex128], numbers: NDArray[np.intp]) -> dict[int, str]:
    noise_energy = 2.0 * float((noise_sd(fid) ** 2).mean())
    signal = fid[..., : _samples_with_signal(fid, noise_energy)]
    median = np.median(signal.real, axis=1) + 1j * np.median(signal.imag, axis=1)
    distance = np.sqrt((np.abs(signal - median[:, None, :]) ** 2).mean(axis=(0, 2)))
    middle = np.median(distance)
    spread = 1.4826 * np.median(np.abs(distance - middle))
    score = (distance - middle) / max(spread, 1e-12 * max(middle, 1e-300))
    outlying = np.flatnonzero((score > _OUTLIER) & (distance > 1.25 * middle))
    worst_first = outlying[np.argsort(-distance[outlying])][: len(distance) // 3]
    return {
        int(numbers[i]): f"differs from the median average {distance[i] / middle:.1f} times as "
        "much as usual"
        for i in worst_first
    }


def average(data: SpectralData) -> SpectralData:
    """Average the repetitions of the measurement.

    Parameters
    ----------
    data : SpectralData
        After coil combination.

    Returns
    -------
    SpectralData
        Without averaging axes: the mean, so that the scale does not depend on how many there
        were. `data` itself if it has none.

    Raises
    ------
    SignalError
        If an axis does not hold repetitions, such as ``DIM_EDIT``: the ratios of an edited
        spectrum have another meaning.
    ValueError
        If the coils are not combined yet.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> rng = np.random.default_rng(1)
    >>> made = phantom("normal_white_matter", rng, averages=8)
    >>> made.data.fid.shape, average(made.data).fid.shape
    ((1, 1, 1, 1024, 8), (1, 1, 1, 1024))
    """
    check_spectral_data(data)
    fid = _joined(data)
    if fid is None:
        return data
    count = fid.shape[1]
    note = f"{count} averages were averaged." if count > 1 else "There is one average."
    step = Step("average", {"averages": count}, note)
    return data.done(step, fid=fid.mean(axis=1).reshape(data.fid.shape[:4]), dims=())
