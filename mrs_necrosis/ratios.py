"""Ratios of two areas, with an interval that knows the covariance of both.

A ratio of two normal quantities is not normal. The interval is Fieller's (J. R. Stat. Soc. B 16,
175 (1954)): the set of r for which ``n - r d`` is compatible with zero. It is exact for normal
areas, asymmetric, and unbounded when the denominator itself may be zero. Absent peaks give
bounds, never zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from mrs_necrosis.areas import PeakAreas, check_areas
from mrs_necrosis.arguments import check_number, check_probability, read_only, restore
from mrs_necrosis.constants import STANDARD_RATIOS

SIGNED_NUMERATORS = frozenset({"Lac"})
"""Areas whose error is heavy-tailed and signed: their interval is the symmetric delta one."""


class RatioStatus(StrEnum):
    """What a ratio's number means."""

    OK = "ok"
    BELOW_DETECTION = "below-detection"
    DENOMINATOR_NOT_DETECTED = "denominator-not-detected"
    NOT_EVALUABLE = "not-evaluable"

    @property
    def sentence(self) -> str:
        """The sentence shown to the user."""
        return _SENTENCES[self]


_SENTENCES = {
    RatioStatus.OK: "both peaks are detected",
    RatioStatus.BELOW_DETECTION: "the numerator is not detected; the ratio is below the bound",
    RatioStatus.DENOMINATOR_NOT_DETECTED: (
        "the denominator is not detected; the ratio is above the bound"
    ),
    RatioStatus.NOT_EVALUABLE: "neither peak is detected, or there is no fit; no ratio",
}


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """A set of ratios that are compatible with the data.

    Parameters
    ----------
    lower, upper : ndarray of float64, shape (...)
        Ends. For ``"two-piece"`` the set is everything *outside* (lower, upper).
    shape : ndarray of str, shape (...)
        ``"bounded"``, ``"unbounded"`` (all numbers), ``"two-piece"`` or ``"none"`` (no answer).
    level : float
        Coverage.
    method : {"fieller", "delta"}
        How it was made.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    shape: NDArray[np.str_]
    level: float
    method: Literal["fieller", "delta"] = "fieller"

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "shape"):
            array = getattr(self, name)
            object.__setattr__(self, name, read_only(array, array.dtype, name))

    __setstate__ = restore

    def contains(self, value: float | NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return where a ratio lies in the set.

        Parameters
        ----------
        value : float or ndarray of float64
            Ratios that broadcast to the voxels.

        Returns
        -------
        ndarray of bool, shape (...)
            Of ``"two-piece"``: whether it lies outside (lower, upper).
        """
        inside = (self.lower <= value) & (value <= self.upper)
        outside = (value <= self.lower) | (value >= self.upper)
        found: NDArray[np.bool_] = np.where(
            self.shape == "two-piece", outside, inside & (self.shape != "none")
        )
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Ratio:
    """One ratio in any number of voxels. Made by ``ratio``; that of one voxel prints in words.

    Parameters
    ----------
    numerator, denominator : str
        Names of the peaks.
    value : ndarray of float64, shape (...)
        The quotient; NaN where the denominator is not detected.
    sd : ndarray of float64, shape (...), or None
        First-order standard deviation; None if the areas have no covariance.
    status : ndarray of str, shape (...)
        ``RatioStatus`` values.
    moments : ndarray of float64, shape (5, ...), or None
        Both areas, their variances and their covariance; None without a covariance.
    """

    numerator: str
    denominator: str
    value: NDArray[np.float64]
    sd: NDArray[np.float64] | None
    status: NDArray[np.str_]
    moments: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name in ("value", "sd", "status", "moments"):
            array = getattr(self, name)
            if array is not None:
                object.__setattr__(self, name, read_only(array, array.dtype, name))

    __setstate__ = restore

    @property
    def name(self) -> str:
        """Name as in tables: ``"Cho/Cr"``."""
        return f"{self.numerator}/{self.denominator}"

    def __str__(self) -> str:
        if self.value.size != 1:
            return f"{self.name} in {self.value.size} voxels"
        status = RatioStatus(self.status.item())
        if status is not RatioStatus.OK:
            bound = self.bound()
            is_known = bound is not None and bool(np.isfinite(bound).all())
            words = f" ({bound.item():.2f})" if bound is not None and is_known else ""
            return f"{self.name}: {status.sentence}{words}"
        interval = self.interval()
        ends = ""
        if interval is not None and interval.shape.item() == "bounded":
            ends = f" ({interval.lower.item():.2f} to {interval.upper.item():.2f})"
        return f"{self.name} {self.value.item():.2f}{ends}"

    @property
    def correlation(self) -> NDArray[np.float64] | None:
        """Correlation between the errors of the two areas, shape (...); None if unknown."""
        if self.moments is None:
            return None
        _, _, var_n, var_d, cov = self.moments
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            correlation: NDArray[np.float64] = cov / np.sqrt(var_n * var_d)
        return correlation

    def interval(
        self,
        level: float = 0.95,
        *,
        method: Literal["auto", "fieller", "delta"] = "auto",
    ) -> Interval | None:
        r"""Return the interval of the ratio.

        Fieller: the r with :math:`(n - r d)^2 \le z^2 (\sigma_n^2 - 2 r \sigma_{nd} + r^2
        \sigma_d^2)`.

        Parameters
        ----------
        level : float
            Coverage, between 0 and 1.
        method : {"auto", "fieller", "delta"}
            ``"auto"`` is Fieller's, except delta for signed lactate in the numerator.

        Returns
        -------
        Interval or None
            None if the areas have no covariance.

        Raises
        ------
        ValueError
            If ``level`` is not between 0 and 1, or there is no such method.

        References
        ----------
        Fieller, J. R. Stat. Soc. B 16, 175 (1954).
        """
        check_probability("level", level)
        if method not in {"auto", "fieller", "delta"}:
            msg = f"method must be 'auto', 'fieller' or 'delta'; got {method!r}"
            raise ValueError(msg)
        if self.moments is None:
            return None
        z = float(ndtri(0.5 + level / 2))
        if method == "delta" or (method == "auto" and self.numerator in SIGNED_NUMERATORS):
            return self._delta(z, level)
        return self._fieller(z, level)

    def _delta(self, z: float, level: float) -> Interval:
        assert self.sd is not None
        shape = np.where(np.isfinite(self.value), "bounded", "none")
        lower, upper = self.value - z * self.sd, self.value + z * self.sd
        return Interval(lower, upper, shape, level, "delta")

    def _fieller(self, z: float, level: float) -> Interval:
        assert self.moments is not None
        n, d, var_n, var_d, cov = self.moments
        if self.numerator == self.denominator:
            one = np.where(np.isfinite(n), 1.0, np.nan)
            return Interval(one, one, np.where(np.isfinite(n), "bounded", "none"), level)
        # a r^2 - 2 b r + c <= 0
        a = d**2 - z**2 * var_d
        b = n * d - z**2 * cov
        c = n**2 - z**2 * var_n
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            disc = b**2 - a * c
            # rounding can leave a tiny negative where the interval has no width
            root = np.sqrt(np.maximum(disc, 0.0))
            low, high = (b - root) / a, (b + root) / a
            lower = np.where(a > 0, low, np.where(disc > 0, high, -np.inf))
            upper = np.where(a > 0, high, np.where(disc > 0, low, np.inf))
        finite = np.isfinite(n) & np.isfinite(d) & np.isfinite(var_n) & np.isfinite(var_d)
        shape = np.where(a > 0, "bounded", np.where(disc > 0, "two-piece", "unbounded"))
        shape = np.where(finite, shape, "none")
        lower = np.where(finite, lower, np.nan)
        upper = np.where(finite, upper, np.nan)
        return Interval(lower, upper, shape, level)

    def probability_above(self, cutoff: float) -> NDArray[np.float64] | None:
        """Return the probability that the true ratio exceeds ``cutoff``, shape (...).

        ``P(n - cutoff d > 0)`` for normal areas with their covariance. A detected denominator
        is negative with a probability below 0.0014, which is neglected.

        Parameters
        ----------
        cutoff : float
            A ratio.

        Returns
        -------
        ndarray of float64 or None
            NaN where the denominator is not detected; None if there is no covariance.

        Raises
        ------
        TypeError
            If ``cutoff`` is no number.
        ValueError
            If it is not finite.
        """
        check_number("cutoff", cutoff)
        if not np.isfinite(cutoff):
            msg = f"cutoff must be finite; got {cutoff}"
            raise ValueError(msg)
        if self.moments is None:
            return None
        n, d, var_n, var_d, cov = self.moments
        spread = np.sqrt(np.maximum(var_n - 2 * cutoff * cov + cutoff**2 * var_d, 0.0))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            z = (n - cutoff * d) / spread
        probability = ndtr(np.where(np.isnan(z), 0.0, z))
        probability = np.where((spread == 0) & (n == cutoff * d), 0.0, probability)
        result: NDArray[np.float64] = np.where(np.isfinite(self.value), probability, np.nan)
        return result

    def bound(self, level: float = 0.95) -> NDArray[np.float64] | None:
        """Return the one-sided bound of an absent peak, shape (...).

        Parameters
        ----------
        level : float
            One-sided confidence.

        Returns
        -------
        ndarray of float64 or None
            Upper bound ("below x") where the numerator is absent, lower bound ("above x") where
            the denominator is, NaN where both are detected or neither is; None without a
            covariance. An estimate below zero counts as zero, so a bound is never negative.

        Raises
        ------
        ValueError
            If ``level`` is not between 0 and 1.
        """
        check_probability("level", level)
        if self.moments is None:
            return None
        n, d, var_n, var_d, cov = self.moments
        z = float(ndtri(level))
        below = self.status == RatioStatus.BELOW_DETECTION
        above = self.status == RatioStatus.DENOMINATOR_NOT_DETECTED
        n, d = np.where(below, np.maximum(n, 0.0), n), np.where(above, np.maximum(d, 0.0), d)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            a = d**2 - z**2 * var_d
            b = n * d - z**2 * cov
            c = n**2 - z**2 * var_n
            root = np.sqrt(np.maximum(b**2 - a * c, 0.0))
            highest = (b + root) / a
            # the smallest r with n - r d <= z sd, in the form that survives a = 0
            lowest = np.maximum(c / (b + root), 0.0)
        result: NDArray[np.float64] = np.where(below, highest, np.where(above, lowest, np.nan))
        return result


def ratio(areas: PeakAreas, numerator: str, denominator: str) -> Ratio:
    r"""Return ``numerator / denominator`` with its standard deviation.

    First-order propagation with the covariance between the two areas:
    :math:`\sigma_R^2 = (\sigma_n^2 + R^2\sigma_d^2 - 2R\sigma_{nd}) / d^2`.

    Parameters
    ----------
    areas : PeakAreas
        Areas of K peaks, in one common unit.
    numerator, denominator : str
        Names in ``areas.names``.

    Returns
    -------
    Ratio
        Dimensionless. ``sd`` is None if `areas` carries no covariance; ``value`` is NaN where
        the denominator is not detected.

    Raises
    ------
    KeyError
        If a name is not among the peaks; the message lists them.
    TypeError
        If `areas` are something else, such as the whole fit.

    References
    ----------
    Fieller, J. R. Stat. Soc. B 16, 175 (1954), for ``Ratio.interval``.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis import PeakAreas
    >>> areas = PeakAreas(("Cho", "Cr"), np.array([33671.0, 29534.0]))
    >>> round(float(ratio(areas, "Cho", "Cr").value), 5)
    1.14008
    """
    check_areas(areas)
    n, d = areas.value(numerator), areas.value(denominator)
    has_n, has_d = areas.detected(numerator), areas.detected(denominator)
    status = np.where(
        has_d,
        np.where(has_n, RatioStatus.OK.value, RatioStatus.BELOW_DETECTION.value),
        np.where(
            has_n, RatioStatus.DENOMINATOR_NOT_DETECTED.value, RatioStatus.NOT_EVALUABLE.value
        ),
    )
    status = np.where(np.isnan(n) | np.isnan(d), RatioStatus.NOT_EVALUABLE.value, status)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        value = np.where(has_d, n / d, np.nan)
    if areas.covariance is None:
        return Ratio(numerator, denominator, value, None, status)
    i, j = areas.index(numerator), areas.index(denominator)
    var_n, var_d = areas.covariance[..., i, i], areas.covariance[..., j, j]
    cov = areas.covariance[..., i, j]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        variance = (var_n + value**2 * var_d - 2 * value * cov) / d**2
        # rounding can leave -1e-20 for Cr/Cr
        sd = np.sqrt(np.maximum(variance, 0.0))
    moments = np.stack([n, d, var_n, var_d, cov])
    return Ratio(numerator, denominator, value, sd, status, moments)


def standard_ratios(areas: PeakAreas) -> dict[str, Ratio]:
    """Return the standard ratios of the peaks that there are.

    Parameters
    ----------
    areas : PeakAreas
        K peaks, in any number of voxels.

    Returns
    -------
    dict of str to Ratio
        By name, in the order of ``STANDARD_RATIOS``.
    """
    pairs = [(name, parse_ratio(name)) for name in STANDARD_RATIOS]
    return {name: ratio(areas, *pair) for name, pair in pairs if all(p in areas for p in pair)}


def parse_ratio(name: str) -> tuple[str, str]:
    """Split ``"Cho/Cr"`` into its two names.

    Parameters
    ----------
    name : str
        Numerator, a slash, denominator.

    Returns
    -------
    tuple of str
        Numerator and denominator.

    Raises
    ------
    ValueError
        If there is not exactly one slash between two names.
    """
    numerator, slash, denominator = name.partition("/")
    if not (slash and numerator.strip() and denominator.strip()) or "/" in denominator:
        msg = f"a ratio is written like 'Cho/Cr'; got {name!r}"
        raise ValueError(msg)
    return numerator.strip(), denominator.strip()
