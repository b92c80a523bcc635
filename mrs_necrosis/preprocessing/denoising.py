"""Low-rank denoising of a grid, with errors that do not pretend to profit from it."""

from __future__ import annotations

import numpy as np

from mrs_necrosis.errors import SignalError
from mrs_necrosis.preprocessing.noise import has_signal, noise_sd
from mrs_necrosis.spectra import Spectra, Step, check_spectra


def denoise(spectra: Spectra, *, rank: int | None = None) -> Spectra:
    r"""Keep what the voxels of a grid share, by a truncated singular value decomposition.

    The matrix of V voxels by N samples is replaced by its R leading singular components. By
    default R counts the singular values above the largest that noise of the known sd would give,
    :math:`(\sqrt V + \sqrt N)\sqrt{2}\,\sigma` (Marchenko and Pastur). A higher threshold would
    remove more noise, and with it what makes voxels differ: on simulated heads it made NAA/Cr
    worse.

    Parameters
    ----------
    spectra : Spectra
        A grid, phased and referenced: what is alike has a lower rank.
    rank : int or None
        Components to keep.

    Returns
    -------
    Spectra
        Whose ``noise_sd`` is that of the spectra before: a fit that used the smaller noise it
        would see would report errors that are too small, since what the denoising lost is not
        known. A peak that only few voxels have may be weakened.

    Raises
    ------
    SignalError
        If fewer than 8 voxels hold a signal.
    ValueError
        If the rank is not between 1 and the number of voxels.

    References
    ----------
    Veraart et al., NeuroImage 142, 394 (2016): denoising by the edge of the noise's spectrum.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import grid_phantom
    >>> rng = np.random.default_rng(1)
    >>> made = grid_phantom(rng, grid=(8, 8, 1), n_samples=512, residual_water=0.0)
    >>> denoise(made.spectra).history[-1].name
    'denoise'
    """
    check_spectra(spectra)
    flat = spectra.fid.reshape(-1, spectra.n_samples)
    used = has_signal(flat)
    n_voxels, n_samples = int(used.sum()), spectra.n_samples
    if n_voxels < 8:
        msg = f"denoising needs at least 8 voxels with a signal; there are {n_voxels}"
        raise SignalError(msg)
    if rank is not None and not 1 <= rank <= min(n_voxels, n_samples):
        msg = f"rank must be between 1 and {min(n_voxels, n_samples)}; got {rank!r}"
        raise ValueError(msg)
    sd = noise_sd(spectra.fid) if spectra.noise_sd is None else spectra.noise_sd
    level = float(np.median(sd[np.isfinite(sd) & (sd > 0)])) if np.any(sd > 0) else 0.0
    matrix = flat[used]
    # the smaller Gram matrix holds the same subspace and is cheaper than the decomposition
    wide = n_voxels <= n_samples
    gram = matrix @ matrix.conj().T if wide else matrix.conj().T @ matrix
    squared, vectors = np.linalg.eigh(gram)
    singular = np.sqrt(np.maximum(squared[::-1], 0.0))
    vectors = vectors[:, ::-1]
    threshold = (np.sqrt(n_voxels) + np.sqrt(n_samples)) * np.sqrt(2.0) * level
    kept = max(1, int((singular > threshold).sum())) if rank is None else rank
    basis = vectors[:, :kept]
    dual = basis.conj().T
    cleaned = basis @ (dual @ matrix) if wide else (matrix @ basis) @ dual
    fid = np.array(flat)
    fid[used] = cleaned
    step = Step(
        "denoise",
        {"rank": kept, "voxels": n_voxels, "chosen": rank is None},
        f"The grid was denoised to {kept} components of {n_voxels} voxels; errors are those of "
        "the data before, and a peak of few voxels may be weakened.",
    )
    return spectra.done(step, fid=fid.reshape(spectra.fid.shape), noise_sd=sd)
