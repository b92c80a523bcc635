"""Spatial filter and zero-filling of a grid, in its k-space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mrs_necrosis.spectra import SpectralData, Step, check_spectral_data

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COSINE_SHARE = {"hamming": 0.46, "hann": 0.5}


def filter_kspace(
    data: SpectralData,
    *,
    window: Literal["hamming", "hann"] | None = "hamming",
    zero_fill_to: tuple[int, int, int] | None = None,
) -> SpectralData:
    """Filter a grid in k-space, and interpolate it by zero-filling.

    A window trades resolution for side lobes: it widens the point spread along each axis (full
    width at half maximum 1.8 voxels for Hamming, 2.0 for Hann, 1.2 without) and keeps scalp
    lipid from ringing into the brain. Noise of neighbours becomes correlated; that of each voxel
    stays white. The water reference is treated in the same way.

    Parameters
    ----------
    data : SpectralData
        With any axes after N. Axes of one voxel are left alone.
    window : {"hamming", "hann"} or None
        None filters nothing.
    zero_fill_to : tuple of int or None
        New numbers of voxels along X, Y, Z; none may be smaller than it is. The first voxel's
        centre stays where it is, and the affine follows.

    Returns
    -------
    SpectralData
        Voxels without finite samples count as zero for their neighbours and stay NaN.

    Raises
    ------
    ValueError
        If the window is not known or the new grid would be smaller.

    References
    ----------
    Harris, Proc. IEEE 66, 51 (1978): the windows.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import grid_phantom
    >>> rng = np.random.default_rng(1)
    >>> made = grid_phantom(rng, grid=(8, 8, 1), n_samples=512, residual_water=0.0)
    >>> filter_kspace(made.data, zero_fill_to=(16, 16, 1)).fid.shape
    (16, 16, 1, 512)
    """
    check_spectral_data(data)
    grid = data.fid.shape[:3]
    given = (zero_fill_to,) if isinstance(zero_fill_to, int) else zero_fill_to
    new = grid if given is None else tuple(int(n) for n in given)
    if len(new) != 3 or any(n < old for n, old in zip(new, grid, strict=True)):
        msg = f"zero_fill_to must give three numbers, none below the grid's {grid}; got {new}"
        raise ValueError(msg)
    if window is not None and window not in _COSINE_SHARE:
        msg = f"window must be one of {sorted(_COSINE_SHARE)} or None; got {window!r}"
        raise ValueError(msg)
    affine = data.affine
    if affine is not None:
        affine = affine @ np.diag([*(old / n for old, n in zip(grid, new, strict=True)), 1.0])
    name = "no window" if window is None else f"a {window.capitalize()} window"
    filled = "" if new == grid else f", zero-filled from {grid} to {new} voxels"
    step = Step(
        "filter_kspace",
        {"window": window, "from": list(grid), "to": list(new)},
        f"The grid was filtered in k-space with {name}{filled}.",
    )
    water = data.water
    if water is not None:
        water = water.done(step, fid=_filtered(water.fid, window, new), affine=affine)
    return data.done(step, fid=_filtered(data.fid, window, new), affine=affine, water=water)


def _filtered(
    fid: NDArray[np.complex128], window: str | None, new: tuple[int, ...]
) -> NDArray[np.complex128]:
    old = fid.shape[:3]
    spoilt: NDArray[np.bool_] = ~np.isfinite(np.abs(fid.reshape(*old, -1)).sum(axis=3))
    values = np.where(spoilt.reshape(*old, *(1,) * (fid.ndim - 3)), 0.0, fid)
    for axis in range(3):
        n, m = old[axis], new[axis]
        if n == 1 and m == 1:
            continue
        along = [1] * fid.ndim
        order = np.fft.ifftshift(np.arange(n) - n // 2)
        share = 0.0 if window is None else _COSINE_SHARE[window]
        weight = (1.0 - share) + share * np.cos(2.0 * np.pi * order / n)
        along[axis] = n
        kspace = np.fft.fft(values, axis=axis) * weight.reshape(along)
        if m > n:
            shape = list(kspace.shape)
            shape[axis] = m
            padded = np.zeros(shape, dtype=np.complex128)
            to: tuple[Any, ...] = (*(slice(None),) * axis, order % m)
            padded[to] = kspace
            kspace = padded * (m / n)
        values = np.fft.ifft(kspace, axis=axis)
    if spoilt.any():
        nearest = np.ix_(
            *(
                np.round(np.arange(m) * n / m).astype(int) % n
                for n, m in zip(old, new, strict=True)
            )
        )
        values[spoilt[nearest]] = np.nan
    filtered: NDArray[np.complex128] = values
    return filtered
