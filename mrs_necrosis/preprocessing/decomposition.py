"""An FID as a sum of damped exponentials (HLSVD)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class DampedExponentials:
    r"""A sum of K damped exponentials, :math:`\sum_k a_k e^{i\varphi_k + (2\pi i f_k - d_k) t}`.

    Parameters
    ----------
    amplitudes : ndarray of float64, shape (K,)
        At t = 0, in units of the FID.
    frequencies_hz : ndarray of float64, shape (K,)
        In Hz; positive above the reference.
    dampings_hz : ndarray of float64, shape (K,)
        Decay rates in 1/s; the full width at half maximum is this over pi. Negative for a
        component that grows.
    phases_rad : ndarray of float64, shape (K,)
        At t = 0.
    singular_values : ndarray of float64, shape (K,)
        Of the Hankel matrix, falling.
    """

    amplitudes: NDArray[np.float64]
    frequencies_hz: NDArray[np.float64]
    dampings_hz: NDArray[np.float64]
    phases_rad: NDArray[np.float64]
    singular_values: NDArray[np.float64]

    def fid(
        self,
        n_samples: int,
        dwell_time_s: float,
        selected: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.complex128]:
        """Return the sum of the components, or of those selected.

        Parameters
        ----------
        n_samples : int
            Length of the result.
        dwell_time_s : float
            Time between samples.
        selected : ndarray of bool, shape (K,), or None
            Which components to add; all by default.

        Returns
        -------
        ndarray of complex128, shape (n_samples,)
            The FID.
        """
        chosen = slice(None) if selected is None else selected
        rate = 2j * np.pi * self.frequencies_hz[chosen] - self.dampings_hz[chosen]
        amplitude = self.amplitudes[chosen] * np.exp(1j * self.phases_rad[chosen])
        total: NDArray[np.complex128] = (
            np.exp(np.outer(np.arange(n_samples) * dwell_time_s, rate)) @ amplitude
        )
        return total


def hlsvd(
    fid: NDArray[np.complex128],
    dwell_time_s: float,
    n_components: int = 25,
    *,
    n_columns: int | None = None,
    n_decomposed: int | None = None,
    tolerance: float = 0.0,
) -> DampedExponentials:
    """Decompose an FID into damped exponentials by the Hankel-Lanczos singular value method.

    The leading singular vectors of the Hankel matrix come from a Lanczos iteration whose
    products with the matrix are convolutions by FFT; the poles are the eigenvalues of the
    operator that shifts their rows by one (total least squares is not used); the amplitudes are
    a linear least-squares fit. The start vector is fixed, so the result is reproducible.

    Parameters
    ----------
    fid : ndarray of complex128, shape (N,)
        Finite samples.
    dwell_time_s : float
        Time between samples.
    n_components : int
        Singular values kept, and so components found.
    n_columns : int or None
        Columns of the Hankel matrix; half of the samples decomposed by default.
    n_decomposed : int or None
        How many of the first samples the poles are taken from; all by default. The amplitudes
        are fitted to all samples in any case.
    tolerance : float
        Relative accuracy at which the iteration stops; 0 is that of the machine.

    Returns
    -------
    DampedExponentials
        In order of falling frequency.

    Raises
    ------
    ValueError
        If the FID is not one row of finite samples, or is too short for the components.

    References
    ----------
    Pijnappel et al., J. Magn. Reson. 97, 122 (1992): HLSVD. Laudadio et al., J. Magn. Reson.
    157, 292 (2002): Lanczos iteration with the Hankel product by FFT.

    Examples
    --------
    >>> import numpy as np
    >>> fid = 3.0 * np.exp((2j * np.pi * 40.0 - 12.0) * 5e-4 * np.arange(512))
    >>> found = hlsvd(fid, 5e-4, 1)
    >>> round(float(found.frequencies_hz[0]), 6), round(float(found.amplitudes[0]), 6)
    (40.0, 3.0)
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    samples = np.asarray(fid, dtype=np.complex128)
    if samples.ndim != 1 or not np.isfinite(samples).all():
        msg = f"fid must be one row of finite samples; got shape {samples.shape}"
        raise ValueError(msg)
    n_samples = samples.size
    n_decomposed = n_samples if n_decomposed is None else min(n_decomposed, n_samples)
    columns = n_decomposed // 2 if n_columns is None else n_columns
    rows = n_decomposed + 1 - columns
    if not 0 < n_components < min(rows - 1, columns):
        msg = (
            f"{n_components} components need a Hankel matrix with more rows and columns; "
            f"{n_decomposed} samples give {rows} x {columns}"
        )
        raise ValueError(msg)

    # a circular convolution as long as the FID leaves the wanted products untouched
    transformed = np.fft.fft(samples[:n_decomposed])
    conjugated = np.fft.fft(samples[:n_decomposed].conj())

    def product(vector: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Multiply by the Hankel matrix and its adjoint, whose eigenvectors are wanted."""
        half = np.fft.ifft(conjugated * np.fft.fft(vector.ravel()[::-1], n_decomposed))[rows - 1 :]
        return np.fft.ifft(transformed * np.fft.fft(half[::-1], n_decomposed))[columns - 1 :]

    operator = LinearOperator((rows, rows), matvec=product, dtype=np.complex128)
    start = np.exp(1j * np.arange(rows) ** 2)  # any fixed vector that is not special
    squared, left = eigsh(operator, k=n_components, v0=start, tol=tolerance)
    order = np.argsort(-squared)
    left, singular = left[:, order], np.sqrt(np.maximum(squared[order], 0.0))

    # left[:-1] @ shift = left[1:] has a closed solution: the columns of left are orthonormal
    last = left[-1:].conj()
    gram = left[:-1].conj().T @ left[1:]
    shift = gram + last.T @ (last.conj() @ gram) / max(
        1.0 - float(np.vdot(last, last).real), 1e-12
    )
    poles = np.linalg.eigvals(shift)
    modulus = np.maximum(np.abs(poles), 1e-3)
    frequency = np.angle(poles) / (2.0 * np.pi * dwell_time_s)
    damping = -np.log(modulus) / dwell_time_s
    falling = np.argsort(-frequency)
    frequency, damping = frequency[falling], damping[falling]

    # a growing component is written from its end, or its powers overflow
    time_s = np.arange(n_samples) * dwell_time_s
    origin_s = np.where(damping < 0, time_s[-1], 0.0)
    basis = np.exp((2j * np.pi * frequency - damping) * (time_s[:, None] - origin_s))
    amplitude = np.linalg.lstsq(basis, samples, rcond=None)[0]
    amplitude = amplitude * np.exp((damping - 2j * np.pi * frequency) * origin_s)
    return DampedExponentials(np.abs(amplitude), frequency, damping, np.angle(amplitude), singular)
