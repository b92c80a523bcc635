"""What the trainable model looks at: logarithms of ratios, with the covariance of their errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.ratios import parse_ratio

FEATURES: Final = ("Cho/Cr", "NAA/Cr", "LL/Cr")
"""Three ratios from which all others among LL, Cho, Cr and NAA follow."""


def log_ratios(
    areas: PeakAreas, names: Sequence[str] = FEATURES
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return the logarithms of ratios with the covariance of their errors.

    A peak that lies below its own standard deviation enters as that: it is known to be low, within
    a factor of e, and little else.

    Parameters
    ----------
    areas : PeakAreas
        values (..., K).
    names : sequence of str
        Ratios, F of them.

    Returns
    -------
    tuple of ndarray
        Log-ratios (..., F), NaN without an answer; and their covariance (..., F, F), to first
        order, or None if the areas have none.

    Raises
    ------
    KeyError
        If a peak is missing.
    """
    areas = areas.with_ll()
    pairs = [parse_ratio(name) for name in names]
    values = areas.values
    k = len(areas.names)
    if areas.covariance is None:
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.where(values > 0, np.log(values), np.nan)
        covariance = None
    else:
        covariance = areas.covariance
        sd = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
        with np.errstate(invalid="ignore", divide="ignore"):
            floored = np.where(np.isfinite(values), np.maximum(values, sd), np.nan)
            logs = np.where(floored > 0, np.log(floored), np.nan)
            slope = 1 / floored
        covariance = covariance * slope[..., :, np.newaxis] * slope[..., np.newaxis, :]
    contrast = np.zeros((len(pairs), k))
    for row, (numerator, denominator) in enumerate(pairs):
        contrast[row, areas.index(numerator)] += 1
        contrast[row, areas.index(denominator)] -= 1
    used = np.asarray(np.abs(contrast).any(axis=0))
    logs = np.where(used, logs, 0.0) @ contrast.T
    if covariance is not None:
        covariance = np.where(used[:, np.newaxis] & used, covariance, 0.0)
        covariance = contrast @ covariance @ contrast.T
    return logs, covariance
