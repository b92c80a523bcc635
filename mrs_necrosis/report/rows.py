"""The ratios of one voxel as rows of plain numbers, and how numbers are printed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mrs_necrosis.ratios import RatioStatus, parse_ratio, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mrs_necrosis.analysis import Analysis, Voxel
    from mrs_necrosis.assessment import Finding
    from mrs_necrosis.ratios import Ratio

DASH = "\N{EN DASH}"
"""Printed where there is no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One ratio in one voxel; None where there is no number.

    An infinite end of the interval is kept infinite here and becomes null in JSON.
    """

    voxel: tuple[int, ...]
    name: str
    numerator: str
    denominator: str
    value: float | None
    sd: float | None
    lower: float | None
    upper: float | None
    shape: str
    method: str | None
    level: float
    correlation: float | None
    status: RatioStatus
    bound: float | None
    is_absent: bool = False  # both peaks were fitted, and neither was detected

    @property
    def value_text(self) -> str:
        """Value, or the bound of what was not detected, in words."""
        if self.status is RatioStatus.BELOW_DETECTION:
            bound = "" if self.bound is None else f", below {number(self.bound)}"
            return f"{self.numerator} not detected{bound}"
        if self.status is RatioStatus.DENOMINATOR_NOT_DETECTED:
            bound = "" if self.bound is None else f"above {number(self.bound)}, "
            return f"{bound}{self.denominator} not detected"
        if self.status is RatioStatus.NOT_EVALUABLE:
            if self.is_absent:
                return f"neither {self.numerator} nor {self.denominator} detected"
            return "no answer"
        return number(self.value)

    @property
    def interval_text(self) -> str:
        """Interval in words."""
        return interval_text(self.lower, self.upper, self.shape)


def number(value: float | None) -> str:
    """Return a ratio as it is printed: two decimals, or two digits if it is small."""
    if value is None or math.isnan(value):
        return DASH
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else "\N{MINUS SIGN}\N{INFINITY}"
    text = f"{value:.2f}" if value == 0 or abs(value) >= 0.1 else f"{value:.2g}"
    if abs(value) >= 1000:
        text = f"{value:.0f}"
    return text.replace("-", "\N{MINUS SIGN}") if value < 0 else text


def snr_text(snr: float) -> str:
    """Return an SNR as it is printed; one below zero only says that no peak stands upright."""
    if math.isnan(snr):
        return DASH
    return "below 1" if snr < 1 else f"{snr:.0f}"


def interval_text(lower: float | None, upper: float | None, shape: str) -> str:
    """Return an interval in words: ``"1.02 to 1.27"``."""
    if shape == "none" or lower is None or upper is None:
        return DASH
    if shape == "two-piece":
        return f"below {number(lower)} or above {number(upper)}"
    if shape == "unbounded":
        return "any value"
    return f"{number(lower)} to {number(upper)}"


def finite(value: Any) -> float | None:
    """Return a number, or None where it is NaN; infinite ends are kept."""
    value = float(value)
    return None if math.isnan(value) else value


def ratio_rows(analysis: Analysis, voxels: list[Voxel] | None = None) -> Iterator[Row]:
    """Yield one row per voxel and ratio.

    Parameters
    ----------
    analysis : Analysis
        Its ratios are computed already; only the intervals are evaluated.
    voxels : list of tuple of int, optional
        Voxels to show; all of them by default.

    Yields
    ------
    Row
        Voxel by voxel, in the order of ``analysis.ratios``.
    """
    columns = [_Columns(ratio, analysis.level) for ratio in analysis.ratios.values()]
    for voxel in np.ndindex(analysis.grid) if voxels is None else voxels:
        for column in columns:
            yield column.row(voxel)


def finding_rows(analysis: Analysis) -> dict[str, Row]:
    """Return the rows of a single voxel by name, with those of ratios that only a finding uses.

    Lac/Cho is none of the standard ratios, but a criterion looks at it, and no ratio leaves
    without its interval.
    """
    voxel = analysis.first_voxel
    rows = {row.name: row for row in ratio_rows(analysis, [voxel])}
    findings = () if analysis.assessment is None else analysis.assessment.findings
    for name in {finding.expression for finding in findings} - set(rows):
        try:
            peaks = parse_ratio(name)
        except ValueError:  # a sum of ratios, or a reading
            continue
        if all(peak in analysis.areas for peak in peaks):
            rows[name] = _Columns(ratio(analysis.areas, *peaks), analysis.level).row(voxel)
    return rows


def finding_text(finding: Finding, rows: Mapping[str, Row] | None = None) -> str:
    """Return what a finding measured, as it is printed: ``"1.14 (1.02 to 1.27)"``.

    A peak that was not detected leaves a bound, which is never printed as if it were measured:
    ``"below 0.22"``.

    Parameters
    ----------
    finding : Finding
        One criterion beside the case.
    rows : mapping of str to Row, optional
        Rows of the same voxel by their names, for the interval.
    """
    if finding.value is None:
        return DASH
    words = number(finding.value)
    if finding.is_bound:
        if finding.cutoff is None:
            return f"bound {words}"
        return f"{'above' if finding.value > finding.cutoff else 'below'} {words}"
    row = None if rows is None else row_of(finding, rows)
    if row is not None and row.interval_text != DASH:
        words += f" ({row.interval_text})"
    return words


def row_of(finding: Finding, rows: Mapping[str, Row]) -> Row | None:
    """Return the row of the ratio that a finding looked at.

    None if it looked at a sum of ratios, or at another ratio than the one that it names: a
    published ratio that its expression stands in for.
    """
    row = rows.get(finding.expression)
    if row is None or row.value is None or finding.value is None:
        return None
    return row if math.isclose(row.value, finding.value, rel_tol=1e-6) else None


class _Columns:
    """The arrays of one ratio, evaluated once for the whole grid."""

    def __init__(self, ratio: Ratio, level: float) -> None:
        self.ratio, self.level = ratio, level
        self.interval = ratio.interval(level)
        self.bound = ratio.bound(level)
        self.correlation = ratio.correlation

    def row(self, voxel: Voxel) -> Row:
        ratio, interval = self.ratio, self.interval

        def at(array: Any) -> float | None:
            return None if array is None else finite(array[voxel])

        status = RatioStatus(str(ratio.status[voxel]))
        return Row(
            voxel=voxel,
            name=ratio.name,
            numerator=ratio.numerator,
            denominator=ratio.denominator,
            value=at(ratio.value),
            sd=at(ratio.sd),
            lower=at(interval.lower) if interval else None,
            upper=at(interval.upper) if interval else None,
            shape=str(interval.shape[voxel]) if interval else "none",
            method=interval.method if interval else None,
            level=self.level,
            correlation=at(self.correlation),
            status=status,
            bound=at(self.bound),
            is_absent=status is RatioStatus.NOT_EVALUABLE
            and ratio.moments is not None
            and all(math.isfinite(area[voxel]) for area in ratio.moments[:2]),
        )
