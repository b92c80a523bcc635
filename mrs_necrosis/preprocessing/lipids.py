"""Where a grid holds tissue, where scalp lipid reaches in, and how it may be suppressed."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.errors import SignalError
from mrs_necrosis.preprocessing.noise import has_signal, noise_sd
from mrs_necrosis.spectra import Spectra, Step, check_spectra

_SIGNAL_PPM = (0.2, 4.2)
_LIPID_PPM = (0.7, 1.7)
_METABOLITES_PPM = (1.85, 4.1)
_BEYOND_LIPID_PPM = (2.9, 4.1)
_TIMES_NOISE = 5.0
_TIMES_METABOLITES = 5.0
_TIMES_TYPICAL = 3.0
_EDGE_VOXELS = 2
_SPREAD_METABOLITES = 0.4
_SPREAD_VOXELS = 6
_SUPPRESSED_PPM = (0.3, 1.85)
_MAX_BASIS = 40


def find_mask(spectra: Spectra) -> Spectra:
    """Mask the voxels of a grid that hold nothing but noise.

    A voxel counts if its highest point between 0.2 and 4.2 ppm (modulus of the plain FFT) exceeds
    5 times the noise (that before denoising), or if its water reference exceeds a tenth of the
    90th percentile of the grid's. Only voxels without any sign of tissue are left out: a necrosis
    may be nearly empty.

    Parameters
    ----------
    spectra : Spectra
        After water removal.

    Returns
    -------
    Spectra
        With the mask, within any it had.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import grid_phantom
    >>> rng = np.random.default_rng(1)
    >>> made = grid_phantom(rng, grid=(8, 8, 1), n_samples=512, residual_water=0.0)
    >>> int(find_mask(made.spectra).mask.sum())
    60
    """
    check_spectra(spectra)
    used = has_signal(spectra.fid)
    peak = _height(spectra, _SIGNAL_PPM)
    sd = spectra.noise_sd
    if sd is None:
        sd = noise_sd(np.where(used[..., None], spectra.fid, 0.0))
    noise = sd * np.sqrt(spectra.n_samples)
    tissue = used & (peak > _TIMES_NOISE * noise)
    if spectra.water_area is not None and np.isfinite(spectra.water_area).any():
        water = np.nan_to_num(spectra.water_area)
        tissue |= used & (water > 0.1 * np.quantile(water[water > 0], 0.9))
    # what cannot be fitted stays in: its status tells why, which a mask would hide
    mask = spectra.voxels_to_fit & (tissue | ~used)
    left_out = int((~mask & spectra.voxels_to_fit).sum())
    step = Step(
        "find_mask",
        {"left_out": left_out, "of": int(mask.size)},
        f"{left_out} of {mask.size} voxels hold nothing but noise and were not fitted.",
    )
    return spectra.done(step, mask=mask)


def flag_scalp_lipid(spectra: Spectra) -> Spectra:
    """Flag voxels whose lipid probably comes from the scalp.

    Flagged is a voxel within two voxels of the edge of the tissue (in the plane of each slice),
    whose highest point between 0.7 and 1.7 ppm exceeds 5 times the highest between 2.9 and 4.1
    ppm, where the feet of broad lipid no longer reach, and 3 times the grid's median of it: the
    scalp. From there the flag spreads to neighbours, up to 6 voxels, that are like it, or as long
    as that lipid falls and still exceeds 0.4 times the metabolites and 3 times the quietest tenth
    of the grid: what the scalp's point spread brings into the brain. Nothing is removed: a lesion
    near the skull may hold such lipid itself.

    Parameters
    ----------
    spectra : Spectra
        After masking and water removal.

    Returns
    -------
    Spectra
        With ``scalp_lipid``.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import grid_phantom
    >>> rng = np.random.default_rng(1)
    >>> made = grid_phantom(rng, grid=(8, 8, 1), n_samples=512, residual_water=0.0)
    >>> int(flag_scalp_lipid(made.spectra).scalp_lipid.sum())
    28
    """
    check_spectra(spectra)
    used = has_signal(spectra.fid) & spectra.voxels_to_fit
    lipid, others = _height(spectra, _LIPID_PPM), _height(spectra, _METABOLITES_PPM)
    flagged = np.zeros(spectra.grid, dtype=bool)
    if used.any():
        typical = float(np.median(lipid[used]))
        inside = used
        for _ in range(_EDGE_VOXELS):
            inside = _eroded(inside)
        like_scalp = used & (lipid > _TIMES_METABOLITES * _height(spectra, _BEYOND_LIPID_PPM))
        like_scalp &= lipid > _TIMES_TYPICAL * typical
        flagged = like_scalp & ~inside
        low = float(np.quantile(lipid[used], 0.1))
        reached = used & (lipid > _SPREAD_METABOLITES * others) & (lipid > _TIMES_TYPICAL * low)
        for _ in range(_SPREAD_VOXELS):
            beside = _highest_beside(lipid, flagged)
            flagged = flagged | (like_scalp & (beside > 0)) | (reached & (beside > lipid))
    count = int(flagged.sum())
    step = Step(
        "flag_scalp_lipid",
        {"flagged": count, "of": int(used.sum())},
        f"Lipid of {count} voxels at the edge probably comes from the scalp; nothing was removed."
        if count
        else "",
    )
    return spectra.done(step, scalp_lipid=flagged)


def suppress_lipids(
    spectra: Spectra, *, source: NDArray[np.bool_] | None = None, strength: float = 1.0
) -> Spectra:
    r"""Suppress lipid signals that look like those of the scalp, by L2 regularisation.

    With the lipid spectra L of the scalp voxels as columns (0.3 to 1.85 ppm only), each spectrum
    x becomes :math:`(I + \beta L L^H)^{-1} x`. Beta is such that a lipid component is halved
    where its mean energy in the scalp equals that of the noise; `strength` multiplies it.
    Lesion lipid and lactate that resemble scalp lipid are suppressed too: no lipid, lactate or LL
    area of the result is one of the tissue.

    Parameters
    ----------
    spectra : Spectra
        After water removal.
    source : ndarray of bool, shape (X, Y, Z), or None
        Scalp voxels; those that `flag_scalp_lipid` flagged by default.
    strength : float
        Positive.

    Returns
    -------
    Spectra
        With ``lipids_suppressed`` set.

    Raises
    ------
    SignalError
        If there is no scalp voxel to learn from.
    ValueError
        If the strength is not positive or the source has another shape.

    References
    ----------
    Bilgic et al., J. Magn. Reson. Imaging 40, 181 (2014): lipid basis and L2 penalty.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import grid_phantom
    >>> rng = np.random.default_rng(1)
    >>> made = grid_phantom(rng, grid=(8, 8, 1), n_samples=512, residual_water=0.0)
    >>> suppress_lipids(flag_scalp_lipid(made.spectra)).lipids_suppressed
    True
    """
    check_spectra(spectra)
    if not (np.isfinite(strength) and strength > 0):
        msg = f"strength must be a positive number; got {strength!r}"
        raise ValueError(msg)
    if source is None:
        flagged = spectra if spectra.scalp_lipid is not None else flag_scalp_lipid(spectra)
        chosen = flagged.scalp_lipid
    else:
        chosen = np.asarray(source, dtype=bool)
    if chosen is None or chosen.shape != spectra.grid:
        msg = f"source must have the shape {spectra.grid} of the grid"
        raise ValueError(msg)
    used = has_signal(spectra.fid)
    chosen = chosen & used
    if not chosen.any():
        msg = "no voxel of scalp lipid is known, so there is nothing to learn lipids from"
        raise SignalError(msg)
    ppm = np.fft.ifftshift(spectra.ppm)
    band = np.flatnonzero((ppm >= _SUPPRESSED_PPM[0]) & (ppm <= _SUPPRESSED_PPM[1]))
    spectrum = np.fft.fft(np.where(used[..., None], spectra.fid, 0.0), axis=3)
    lipid = spectrum[chosen][:, band]
    _, singular, vectors = np.linalg.svd(lipid, full_matrices=False)
    basis = vectors[:_MAX_BASIS].conj()  # (R, n), rows orthonormal; spectra project on them
    mean_energy = singular[:_MAX_BASIS] ** 2 / len(lipid)
    noise = float(np.median(noise_sd(spectra.fid[used]))) ** 2 * 2.0 * spectra.n_samples
    # what noise alone would give of so few voxels is no lipid
    chance = noise * (1.0 + np.sqrt(band.size / len(lipid))) ** 2
    mean_energy = np.maximum(mean_energy - chance, 0.0)
    beta_energy = strength * mean_energy / max(noise, 1e-12 * float(mean_energy[0]), 1e-300)
    removed_share = beta_energy / (1.0 + beta_energy)
    part = spectrum[..., band]
    part -= ((part @ basis.T) * removed_share) @ basis.conj()
    spectrum[..., band] = part
    fid = np.where(used[..., None], np.fft.ifft(spectrum, axis=3), spectra.fid)
    step = Step(
        "suppress_lipids",
        {"scalp_voxels": len(lipid), "strength": float(strength), "touched": "LL"},
        f"Lipids like those of {len(lipid)} scalp voxels were suppressed (L2) in every voxel: "
        "lipid, lactate and LL areas are no longer those of the tissue.",
    )
    return spectra.done(step, fid=fid, lipids_suppressed=True)


def _height(spectra: Spectra, region_ppm: tuple[float, float]) -> NDArray[np.float64]:
    """Return the highest modulus in a region, shape (X, Y, Z); 0 where there is no signal."""
    used = has_signal(spectra.fid)
    ppm = np.fft.ifftshift(spectra.ppm)
    inside = (ppm >= region_ppm[0]) & (ppm <= region_ppm[1])
    height = np.zeros(spectra.grid)
    if inside.any() and used.any():
        height[used] = np.abs(np.fft.fft(spectra.fid[used], axis=1)[:, inside]).max(axis=1)
    return height


def _highest_beside(height: NDArray[np.float64], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the highest of a voxel's neighbours in a mask, slices included; 0 without any."""
    padded = np.pad(np.where(where, height, 0.0), 1)
    steps = [step for step in itertools.product((0, 1, 2), repeat=3) if step != (1, 1, 1)]
    shifted = [
        padded[tuple(slice(at, at + n) for at, n in zip(step, height.shape, strict=True))]
        for step in steps
    ]
    highest: NDArray[np.float64] = np.max(shifted, axis=0)
    return highest


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask without its edge, in the plane of X and Y; the border of the grid is one."""
    padded = np.pad(mask, ((1, 1), (1, 1), (0, 0)))
    x, y = mask.shape[:2]
    eroded = mask.copy()
    for dx, dy in ((0, 1), (2, 1), (1, 0), (1, 2)):
        eroded &= padded[dx : dx + x, dy : dy + y]
    return eroded
