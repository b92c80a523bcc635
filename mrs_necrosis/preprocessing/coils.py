"""Coil combination: one FID out of those of C receive coils."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mrs_necrosis.preprocessing.noise import noise_covariance
from mrs_necrosis.spectra import SpectralData, Step, check_spectral_data

if TYPE_CHECKING:
    from numpy.typing import NDArray


def combine_coils(data: SpectralData) -> SpectralData:
    r"""Combine the coils with the weights that give the best signal-to-noise ratio.

    The channels are whitened with their noise covariance; the weights of each voxel are the
    principal eigenvector of the whitened signal's outer products, summed over samples and
    dynamics (so that a phase that differs between dynamics does no harm). The signal is the
    water reference if it has the same coils, and otherwise the data themselves. The water
    reference is combined with the same weights, so that both keep one scale.

    Parameters
    ----------
    data : SpectralData
        With or without an axis ``DIM_COIL``.

    Returns
    -------
    SpectralData
        Without ``DIM_COIL``; `data` itself if it has none. A coil without one finite number
        in a voxel is left out there; a voxel with other samples that are not finite becomes NaN.

    Raises
    ------
    ValueError
        If the water reference has another number of coils.

    Notes
    -----
    The noise of the result has the root mean square sd of the coils' noise, so the unit is kept.

    References
    ----------
    Rodgers and Robson, Magn. Reson. Med. 63, 881 (2010): whitened singular value decomposition.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> rng = np.random.default_rng(1)
    >>> made = phantom("normal_white_matter", rng, coils=4)
    >>> made.data.fid.shape, combine_coils(made.data).fid.shape
    ((1, 1, 1, 1024, 4), (1, 1, 1, 1024))
    """
    check_spectral_data(data)
    axis = data.axis_of("DIM_COIL")
    if axis is None:
        return data
    fid, n_silent = _without_broken_coils(np.moveaxis(data.fid, axis, -1))  # (X, Y, Z, N, ..., C)
    n_coils = fid.shape[-1]
    water = data.water
    water_axis = None if water is None else water.axis_of("DIM_COIL")
    water_fid = None
    if water is not None and water_axis is not None:
        if water.fid.shape[water_axis] != n_coils:
            msg = (
                f"data and water reference must come from the same coils; the data have "
                f"{n_coils}, the reference has {water.fid.shape[water_axis]}"
            )
            raise ValueError(msg)
        water_fid = _without_broken_coils(np.moveaxis(water.fid, water_axis, -1))[0]

    by_coil = np.moveaxis(fid, 3, -1).reshape(-1, n_coils, fid.shape[3])
    covariance = noise_covariance(by_coil)
    # whitened = inverse @ channels has the identity as its noise covariance
    inverse = np.linalg.inv(np.linalg.cholesky(covariance))
    weights = _weights(fid if water_fid is None else water_fid, inverse)
    weights *= np.sqrt(np.trace(covariance).real / n_coils)

    source = "data" if water_fid is None else "water reference"
    step = Step(
        "combine_coils",
        {"coils": n_coils, "weights_from": source},
        f"{n_coils} coils were combined, noise-whitened and weighted by the {source}."
        if n_coils > 1
        else f"The one coil was brought to the phase of the {source}.",
    )
    if n_silent:
        step = replace(step, note=f"{step.note} {n_silent} of them held no number.")
    changes: dict[str, Any] = {
        "fid": _combined(fid, weights),
        "dims": tuple(name for name in data.dims if name != "DIM_COIL"),
    }
    if water is not None and water_fid is not None:
        changes["water"] = water.done(
            step,
            fid=_combined(water_fid, weights),
            dims=tuple(name for name in water.dims if name != "DIM_COIL"),
        )
    return data.done(step, **changes)


def _without_broken_coils(
    fid: NDArray[np.complex128],
) -> tuple[NDArray[np.complex128], int]:
    """Return FIDs (X, Y, Z, N, ..., C) with zeros for coils of NaN, and how many these are."""
    known = np.isfinite(fid).any(axis=tuple(range(3, fid.ndim - 1)), keepdims=True)
    # where nothing is left, NaN says so
    broken = np.logical_and(np.logical_not(known), known.any(axis=-1, keepdims=True))
    if not broken.any():
        return fid, 0
    return np.where(broken, 0.0, fid), int(broken.reshape(-1, fid.shape[-1]).any(axis=0).sum())


def _weights(signal: NDArray[np.complex128], inverse: NDArray[Any]) -> NDArray[np.complex128]:
    """Return the weights of each voxel, shape (X, Y, Z, C), for channels that are not whitened."""
    grid, n_coils = signal.shape[:3], signal.shape[-1]
    channels = np.where(np.isfinite(signal), signal, 0.0).reshape(*grid, -1, n_coils)
    outer = np.swapaxes(channels, -1, -2) @ channels.conj()
    vectors = np.linalg.eigh(inverse @ outer @ inverse.conj().T)[1][..., -1]
    weights: NDArray[np.complex128] = vectors.conj() @ inverse
    # the phase of an eigenvector is arbitrary: keep that of the coil that counts most
    share = np.abs(weights) ** 2 * np.einsum("...cc->...c", outer).real
    pivot = np.take_along_axis(weights, np.argmax(share, axis=-1)[..., None], axis=-1)
    modulus = np.abs(pivot)
    turn = np.where(modulus > 0, pivot.conj() / np.where(modulus > 0, modulus, 1.0), 1.0)
    turned: NDArray[np.complex128] = weights * turn
    return turned


def _combined(
    fid: NDArray[np.complex128], weights: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    between = fid.ndim - 4
    combined: NDArray[np.complex128] = np.einsum(
        "...c,...c->...", fid, weights.reshape(*weights.shape[:3], *(1,) * between, -1)
    )
    return combined
