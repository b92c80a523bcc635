"""How far stated probabilities can be trusted: bins, frequencies, expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """The numbers of a reliability figure.

    Parameters
    ----------
    edges : ndarray of float64, shape (B + 1,)
        Ends of the bins of probability.
    probability : ndarray of float64, shape (B,)
        Mean stated probability in each bin; NaN in an empty one.
    frequency : ndarray of float64, shape (B,)
        How often it came true; NaN in an empty one.
    count : ndarray of int64, shape (B,)
        Cases.
    expected_calibration_error : float
        Mean absolute difference of the two, weighted by cases.
    brier : float
        Mean squared error of the probabilities.
    """

    edges: NDArray[np.float64]
    probability: NDArray[np.float64]
    frequency: NDArray[np.float64]
    count: NDArray[np.int64]
    expected_calibration_error: float
    brier: float

    @property
    def frequency_sd(self) -> NDArray[np.float64]:
        """Standard deviation of each frequency, shape (B,): how far chance alone moves it."""
        with np.errstate(invalid="ignore"):
            # one case more on either side: a bin with 3 of 3 is not certain
            share = (self.frequency * self.count + 1) / (self.count + 2)
            sd: NDArray[np.float64] = np.sqrt(share * (1 - share) / (self.count + 2))
        return np.where(self.count > 0, sd, np.nan)


def reliability(came_true: ArrayLike, probability: ArrayLike, *, bins: int = 10) -> Reliability:
    """Compare stated probabilities with what came true.

    Parameters
    ----------
    came_true : array_like of bool, shape (n,)
        Outcomes.
    probability : array_like of float, shape (n,)
        Stated beforehand.
    bins : int
        Bins of equal width.

    Returns
    -------
    Reliability
        With its expected calibration error.

    Raises
    ------
    ValueError
        If shapes differ, there is nothing, or a number is no probability.

    Examples
    --------
    >>> reliability([True, True, False, True], [0.75, 0.75, 0.75, 0.75]).expected_calibration_error
    0.0
    """
    truth = np.asarray(came_true, dtype=np.float64)
    stated = np.asarray(probability, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != stated.shape or not truth.size or bins < 1:
        msg = (
            "reliability needs as many outcomes as probabilities, and bins; "
            f"got {truth.shape}, {stated.shape} and {bins}"
        )
        raise ValueError(msg)
    if not ((stated >= 0) & (stated <= 1)).all():
        msg = "probabilities must lie between 0 and 1"
        raise ValueError(msg)
    edges = np.linspace(0, 1, bins + 1)
    at = np.minimum((stated * bins).astype(np.int64), bins - 1)
    count = np.bincount(at, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(at, stated, bins) / count
        frequency = np.bincount(at, truth, bins) / count
    gap = np.abs(np.nan_to_num(mean - frequency))
    return Reliability(
        edges=edges,
        probability=mean,
        frequency=frequency,
        count=count,
        expected_calibration_error=float((gap * count).sum() / truth.size),
        brier=float(np.mean((stated - truth) ** 2)),
    )
