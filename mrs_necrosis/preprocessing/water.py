"""Residual water: found, and taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mrs_necrosis.arguments import Progress
from mrs_necrosis.preprocessing.decomposition import hlsvd
from mrs_necrosis.preprocessing.noise import has_signal, noise_sd
from mrs_necrosis.spectra import Acquisition, SpectralData, Step, check_spectral_data

if TYPE_CHECKING:
    from collections.abc import Iterator


_N_COMPONENTS = 25
_N_IN_BAND = 8
_DECOMPOSED_S = 0.4
_BAND_PPM = 1.4
_LEAST_GAIN = 0.05
_FEW_VOXELS = 64
_CHUNK = 64
_TOLERANCE = 1e-3
_SEARCH_PPM = (4.3, 5.1)
_METABOLITES_PPM = (1.8, 4.2)
_REACH_PPM = 0.35
_LOWEST_PPM = 4.25
_WIDEST_PPM = 0.4
_TIMES_NOISE = 5.0
_TIMES_MEDIAN = 2.0
_SHARE_OF_METABOLITES = 0.5
_NARROW_PPM = (1.8, 3.5)
_OUTSIDE_PPM = (0.2, 4.2)
_N_SMOOTH = 10
_FEW_FIDS = 256


def find_water(data: SpectralData) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Find the voxels with residual water, and where it is.

    Water is found where the highest point between 4.3 and 5.1 ppm exceeds 5 times the noise, half
    the highest point between 1.8 and 4.2 ppm, and twice the median between 4.3 and
    5.1 ppm, or it would be a flank and no peak (modulus of the plain FFT).

    Parameters
    ----------
    data : SpectralData
        One FID per voxel.

    Returns
    -------
    found : ndarray of bool, shape (X, Y, Z)
        True where there is water to remove.
    water_ppm : ndarray of float64, shape (X, Y, Z)
        Position of that highest point, as far as the axis is known.
    """
    ppm = _ppm(data)
    usable = has_signal(data.fid)
    fid = np.where(usable[..., None], data.fid, 0.0)
    spectrum = np.abs(np.fft.fft(fid, axis=3))
    window = np.flatnonzero((ppm >= _SEARCH_PPM[0]) & (ppm <= _SEARCH_PPM[1]))
    metabolites = (ppm >= _METABOLITES_PPM[0]) & (ppm <= _METABOLITES_PPM[1])
    if not window.size or not metabolites.any():
        return np.zeros_like(usable), np.full(usable.shape, np.nan)
    at = window[spectrum[..., window].argmax(axis=3)]
    height = np.take_along_axis(spectrum, at[..., None], axis=3)[..., 0]
    noise = noise_sd(fid) * np.sqrt(data.n_samples)
    tallest = spectrum[..., metabolites].max(axis=3)
    median = np.median(spectrum[..., window], axis=3)
    found = usable & (height > _TIMES_NOISE * noise) & (height > _TIMES_MEDIAN * median)
    found &= height > _SHARE_OF_METABOLITES * tallest
    return found, ppm[at]


def water_height(data: SpectralData) -> NDArray[np.float64]:
    """Return the height of the highest point outside 0.2 to 4.2 ppm: of the water, as a rule.

    Parameters
    ----------
    data : SpectralData
        One FID per voxel, with its water.

    Returns
    -------
    ndarray of float64, shape (X, Y, Z)
        Modulus of the plain FFT; NaN where there is no signal.
    """
    ppm = _ppm(data)
    outside = (ppm < _OUTSIDE_PPM[0]) | (ppm > _OUTSIDE_PPM[1])
    height = np.full(int(np.prod(data.fid.shape[:3])), np.nan)
    if outside.any():
        for at, spectrum in _spectra(data):
            height[at] = np.abs(spectrum[:, outside]).max(axis=1)
    return height.reshape(data.fid.shape[:3])


def water_ratio(
    data: SpectralData, height: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return how many times as high the water is as the highest narrow peak beside it.

    The narrow peaks are what ten smooth modes do not explain between 1.8 and 3.5 ppm: the tail
    of a strong water line is smooth, metabolites are not. The files at hand give 0 to 90 where
    water is suppressed, 450 to 6000 where it is not; noise counts as a peak, so that the ratio
    is never larger than what the noise lets be known.

    Parameters
    ----------
    data : SpectralData
        One FID per voxel, after water removal if there was any.
    height : ndarray of float64, shape (X, Y, Z), or None
        `water_height` before that; of `data` by default.

    Returns
    -------
    ndarray of float64, shape (X, Y, Z)
        NaN where there is no signal, or too few points to tell.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> rng = np.random.default_rng(1)
    >>> made = phantom("normal_white_matter", rng, water_reference=True)
    >>> float(water_ratio(made.data)[0, 0, 0]) < 100 < float(water_ratio(made.data.water)[0, 0, 0])
    True
    """
    if height is None:
        height = water_height(data)
    ppm = _ppm(data)
    narrow = np.flatnonzero((ppm > _NARROW_PPM[0]) & (ppm < _NARROW_PPM[1]))
    narrow = narrow[np.argsort(ppm[narrow])]
    ratio = np.full(height.size, np.nan)
    if narrow.size >= 2 * _N_SMOOTH:
        position = (np.arange(narrow.size) + 0.5) / narrow.size
        smooth = np.linalg.qr(np.cos(np.pi * np.outer(position, np.arange(_N_SMOOTH))))[0]
        for at, spectrum in _spectra(data):
            rest = spectrum[:, narrow]
            rest = np.abs(rest - (rest @ smooth) @ smooth.T).max(axis=1)
            water = height.ravel()[at]
            ratio[at] = water / np.maximum(rest, 1e-12 * water)
    return ratio.reshape(height.shape)


def _ppm(data: SpectralData) -> NDArray[np.float64]:
    """Return the chemical shifts of the plain FFT, shape (N,)."""
    acquisition = data.acquisition
    hz = np.asarray(np.fft.fftfreq(data.n_samples, acquisition.dwell_time_s), np.float64)
    return acquisition.reference_or_water_ppm + hz / acquisition.spectrometer_frequency_mhz


def _spectra(data: SpectralData) -> Iterator[tuple[NDArray[np.intp], NDArray[np.complex128]]]:
    """Yield the voxels with signal, a few at a time: their places (V,) and spectra (V, N)."""
    fid = data.fid.reshape(-1, data.n_samples)
    rows = np.flatnonzero(has_signal(fid))
    for first in range(0, rows.size, _FEW_FIDS):
        at = rows[first : first + _FEW_FIDS]
        yield at, np.fft.fft(fid[at], axis=1)


def _water_by_hlsvd(
    fid: NDArray[np.complex128],
    acquisition: Acquisition,
    water_ppm: NDArray[np.float64],
    n_components: int,
) -> NDArray[np.complex128]:
    """Return the water of one FID (1, N)."""
    # later samples hold noise; they and a tight tolerance change the real files' metabolite
    # regions by less than 5 % of their highest peak, and triple the time
    n_decomposed = max(4 * n_components, round(_DECOMPOSED_S / acquisition.dwell_time_s))
    lines = hlsvd(
        fid[0],
        acquisition.dwell_time_s,
        n_components,
        n_decomposed=n_decomposed,
        tolerance=_TOLERANCE,
    )
    ppm = acquisition.reference_or_water_ppm + (
        lines.frequencies_hz / acquisition.spectrometer_frequency_mhz
    )
    near = (np.abs(ppm - water_ppm[0]) <= _REACH_PPM) & (ppm >= _LOWEST_PPM)
    width_ppm = lines.dampings_hz / (np.pi * acquisition.spectrometer_frequency_mhz)
    near &= width_ppm <= _WIDEST_PPM
    return lines.fid(fid.shape[1], acquisition.dwell_time_s, near)[None]


def _decimation(acquisition: Acquisition, n_samples: int) -> tuple[int, int]:
    """Return every which sample is kept in the band, and how many are."""
    width_hz = 2.0 * _BAND_PPM * acquisition.spectrometer_frequency_mhz
    step = max(1, int(acquisition.spectral_width_hz / width_hz))
    kept = (n_samples - 4 * step) // step + 1
    return step, min(kept, int(_DECOMPOSED_S / acquisition.dwell_time_s / step))


def _water_in_band(
    fid: NDArray[np.complex128],
    acquisition: Acquisition,
    water_ppm: NDArray[np.float64],
    n_components: int,
) -> NDArray[np.complex128]:
    """Return the water of many FIDs (V, N); `remove_water` says how."""
    n_samples, dwell_s = fid.shape[1], acquisition.dwell_time_s
    step, kept = _decimation(acquisition, n_samples)
    centre_ppm = water_ppm - acquisition.reference_or_water_ppm
    cycles = (centre_ppm * acquisition.spectrometer_frequency_mhz * dwell_s)[:, None]
    turn = np.exp(2j * np.pi * cycles * np.arange(n_samples))
    window = np.blackman(4 * step + 2)[1:-1]
    window /= window.sum()
    runs = sliding_window_view(fid * turn.conj(), window.size, axis=1)
    decimated = runs[:, : kept * step : step] @ window

    rows = kept // 2
    hankel = sliding_window_view(decimated, kept + 1 - rows, axis=1)
    _, left = np.linalg.eigh(hankel @ np.swapaxes(hankel.conj(), 1, 2))
    left = left[..., -n_components:]
    last = left[:, -1:].conj()
    gram = np.swapaxes(left[:, :-1].conj(), 1, 2) @ left[:, 1:]
    rest = np.maximum(1.0 - (np.abs(last) ** 2).sum(axis=2, keepdims=True), 1e-12)
    poles = np.linalg.eigvals(gram + np.swapaxes(last, 1, 2) @ (last.conj() @ gram) / rest)
    # a component that grows is noise; mirrored, it does no harm
    decay = -np.abs(np.log(np.maximum(np.abs(poles), 1e-3)))
    rate = decay + 1j * np.angle(poles)

    powers = np.exp(rate[:, None, :] * np.arange(kept)[:, None])
    orthogonal, triangular = np.linalg.qr(powers)
    projected = np.swapaxes(orthogonal.conj(), 1, 2) @ decimated[..., None]
    amplitude = (np.linalg.pinv(triangular, rcond=1e-8) @ projected)[..., 0]
    rate /= step
    gain = (window * np.exp(rate[..., None] * np.arange(window.size))).sum(axis=2)
    offset_ppm = rate.imag / (2.0 * np.pi * dwell_s * acquisition.spectrometer_frequency_mhz)
    water = (np.abs(offset_ppm) <= _REACH_PPM) & (offset_ppm + water_ppm[:, None] >= _LOWEST_PPM)
    width_ppm = -rate.real / (np.pi * dwell_s * acquisition.spectrometer_frequency_mhz)
    water &= width_ppm <= _WIDEST_PPM
    # far from the band's centre, or decayed within the window, the gain says nothing
    water &= np.abs(gain) > _LEAST_GAIN
    amplitude = np.where(water, amplitude / np.where(water, gain, 1.0), 0.0)
    samples = np.exp(rate[:, None, :] * np.arange(n_samples)[:, None])
    residue: NDArray[np.complex128] = (samples @ amplitude[..., None])[..., 0] * turn
    return residue


def remove_water(
    data: SpectralData,
    *,
    n_components: int | None = None,
    method: Literal["auto", "hlsvd", "band"] = "auto",
    everywhere: bool = False,
    progress: Progress | None = None,
) -> SpectralData:
    r"""Remove residual water by HLSVD, from the voxels where there is any.

    Each such FID is decomposed, and the components within 0.35 ppm of the water peak, but never
    below 4.25 ppm and no wider than 0.4 ppm, are subtracted: what lies between 0 and 4.2 ppm
    stays, and so does the baseline. `find_water` states
    when water counts as found.

    On a grid the same decomposition is done in a band around the water, for many voxels at once:
    the FID is demodulated by the water's frequency and every D-th sample is taken of its running
    mean under a Blackman window of 4 D samples that begins at t = 0, which keeps 1.4 ppm on either
    side. A damped exponential stays one, with the pole :math:`z^D` and an amplitude multiplied by
    the known sum of the window's weights times powers of z, so that nothing is lost at the
    beginning and the components are extrapolated exactly; but the matrices are smaller. On
    simulated spectra this takes a tenth of the time, and what is removed wrongly between 0.2 and
    4.1 ppm grows from 1.3 to 2.2 % of the highest peak there, where noise is 7 % (median).

    Parameters
    ----------
    data : SpectralData
        One FID per voxel.
    n_components : int or None
        For the decomposition; 25, or 8 in the band, by default.
    method : {"auto", "hlsvd", "band"}
        HLSVD of the whole FID, or in the band; by default the latter for more than 64 voxels.
    everywhere : bool
        Remove from every voxel, whether water was found or not.
    progress : callable or None
        Called with the number of voxels done and to do.

    Returns
    -------
    SpectralData
        With a step that says in how many voxels water was removed.

    Raises
    ------
    ValueError
        If coils or averages are not combined yet.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> rng = np.random.default_rng(1)
    >>> made = phantom("normal_white_matter", rng, residual_water=50.0)
    >>> cleaned = remove_water(made.data)
    >>> bool(np.linalg.norm(cleaned.fid) < np.linalg.norm(made.data.fid) / 5)
    True
    """
    check_spectral_data(data)
    from threadpoolctl import threadpool_limits

    if method not in {"auto", "hlsvd", "band"}:
        msg = f'method must be "auto", "hlsvd" or "band"; got {method!r}'
        raise ValueError(msg)
    if data.dims:
        msg = "water is removed after coils and averages are combined"
        raise ValueError(msg)
    found, water_ppm = find_water(data)
    if everywhere:
        found = has_signal(data.fid) & np.isfinite(water_ppm)
    voxels = np.argwhere(found)
    batched = method == "band" or (method == "auto" and len(voxels) > _FEW_VOXELS)
    if n_components is None:
        n_components = _N_IN_BAND if batched else _N_COMPONENTS
    n_components = min(n_components, data.n_samples // 4)
    if batched and _decimation(data.acquisition, data.n_samples)[1] < 4 * n_components:
        batched = False  # too few samples are left in the band
    size = _CHUNK if batched else 1
    step_parameters: dict[str, Any] = {
        "method": "band" if batched else "hlsvd",
        "n_components": n_components,
        "voxels": len(voxels),
        "of": found.size,
    }
    if not len(voxels):
        step = Step("remove_water", step_parameters, "No residual water was found; none removed.")
        return data.done(step)
    fid = np.array(data.fid)
    share = np.empty(len(voxels))
    # small matrices: more than one thread makes BLAS slower, sometimes a hundred times
    with threadpool_limits(limits=1, user_api="blas"):
        for first in range(0, len(voxels), size):
            at = tuple(voxels[first : first + size].T)
            remove = _water_in_band if batched else _water_by_hlsvd
            residue = remove(fid[at], data.acquisition, water_ppm[at], n_components)
            share[first : first + size] = np.linalg.norm(residue, axis=1) / np.linalg.norm(
                fid[at], axis=1
            )
            fid[at] -= residue
            if progress is not None:
                progress(min(first + size, len(voxels)), len(voxels))
    where = "" if found.size == 1 else f" in {len(voxels)} of {found.size} voxels"
    median = float(np.median(share))
    percent = 100.0 * min(median**2, 1.0)
    step_parameters["median_share_of_norm"] = round(median, 4)
    step = Step(
        "remove_water",
        step_parameters,
        f"Residual water was removed by HLSVD{where}; it held {percent:.0f} % of the "
        "signal's energy.",
    )
    return data.done(step, fid=fid)
