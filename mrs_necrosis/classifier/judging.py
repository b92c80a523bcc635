"""One criterion laid beside the case, over any number of voxels and draws at once.

Arrays have shape (V,) for voxels or (V, D) for voxels and draws. A ratio is carried as a range
(low, high): one number where both peaks are detected, half a line where one is absent. A criterion
is decided where the whole range lies on one side of the cut-off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from mrs_necrosis.ratios import RatioStatus, parse_ratio, ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.areas import PeakAreas
    from mrs_necrosis.criteria import Comparison, Criterion

Range = tuple["NDArray[np.float64]", "NDArray[np.float64]"]
Ranges = Callable[[str], "Range | None"]


def detected_ranges(areas: PeakAreas) -> Ranges:
    """Return a function that gives the range of a ratio in every voxel.

    Parameters
    ----------
    areas : PeakAreas
        values (V, K).

    Returns
    -------
    callable
        From a ratio's name to (low, high), each of shape (V,): equal where both peaks are
        detected, from 0 to the bound where the numerator is absent, from the bound to infinity
        where the denominator is, NaN where there is no answer; None if there is no such peak.
    """
    known: dict[str, Range | None] = {}

    def ranges(name: str) -> Range | None:
        if name not in known:
            known[name] = _detected_range(areas, *parse_ratio(name))
        return known[name]

    return ranges


def _detected_range(areas: PeakAreas, numerator: str, denominator: str) -> Range | None:
    if numerator not in areas or denominator not in areas:
        return None
    found = ratio(areas, numerator, denominator)
    bound = found.bound()
    limit = np.full(found.value.shape, np.nan) if bound is None else bound
    below = found.status == RatioStatus.BELOW_DETECTION
    above = found.status == RatioStatus.DENOMINATOR_NOT_DETECTED
    low = np.where(below, np.where(np.isnan(limit), np.nan, 0.0), found.value)
    low = np.where(above, limit, low)
    high = np.where(below, limit, found.value)
    high = np.where(above & ~np.isnan(limit), np.inf, high)
    return low, high


def plain_ranges(peaks: Mapping[str, NDArray[np.float64]]) -> Ranges:
    """Return a function that divides drawn areas, of which negative ones count as zero.

    Parameters
    ----------
    peaks : mapping of str to ndarray of float64, shape (V, D)
        Areas.

    Returns
    -------
    callable
        From a ratio's name to (value, value); infinite where only the denominator is zero, NaN
        where both are; None if there is no such peak.
    """
    positive = {name: np.maximum(values, 0.0) for name, values in peaks.items()}
    known: dict[str, Range | None] = {}

    def ranges(name: str) -> Range | None:
        if name not in known:
            numerator, denominator = parse_ratio(name)
            known[name] = None
            if numerator in positive and denominator in positive:
                with np.errstate(invalid="ignore", divide="ignore"):
                    value = positive[numerator] / positive[denominator]
                known[name] = value, value
        return known[name]

    return ranges


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a criterion says in every voxel (and draw).

    Parameters
    ----------
    is_met, is_decided : ndarray of bool
        Whether the case is on the criterion's side, and whether it is on any.
    distance : ndarray of float64
        Absolute logarithm of value over cut-off.
    value : ndarray of float64
        Of the (deciding) expression; the bound where it decides.
    is_proxy : ndarray of bool
        Where a ratio stands in for the published one.
    """

    is_met: NDArray[np.bool_]
    is_decided: NDArray[np.bool_]
    distance: NDArray[np.float64]
    value: NDArray[np.float64]
    is_proxy: NDArray[np.bool_]


def judge(
    criterion: Criterion, ranges: Ranges, direct: Sequence[NDArray[np.bool_]] | None = None
) -> tuple[Outcome | None, list[NDArray[np.bool_]]]:
    """Lay a criterion beside the case.

    Parameters
    ----------
    criterion : Criterion
        With one comparison, or several of which any suffices.
    ranges : callable
        See ``detected_ranges``.
    direct : sequence of ndarray of bool, or None
        For each comparison, where the published ratio is used and not its proxy; None: wherever
        the published one decides.

    Returns
    -------
    tuple
        The outcome, None if a peak is missing everywhere; and the masks to hand to later calls.
    """
    found: list[Outcome | None] = []
    masks: list[NDArray[np.bool_]] = []
    for at, one in enumerate(criterion.any_of):
        outcome, mask = _judge_one(one, ranges, None if direct is None else direct[at])
        found.append(outcome)
        masks.append(mask)
    there = next((one for one in found if one is not None), None)
    if there is None:
        return None, []
    unknown = np.zeros(there.is_met.shape, dtype=bool)
    nowhere = np.full(there.is_met.shape, np.nan)
    outcomes = [
        Outcome(unknown, unknown, nowhere, nowhere, unknown) if one is None else one
        for one in found
    ]
    if len(outcomes) == 1:
        return outcomes[0], masks
    met = np.stack([o.is_met & o.is_decided for o in outcomes])
    decided = np.stack([o.is_decided for o in outcomes])
    distance = np.stack([o.distance for o in outcomes])
    is_met: NDArray[np.bool_] = np.asarray(met.any(axis=0))
    # met: the clearest of those that are met; not met: the one that came closest
    clearest = np.where(met, distance, -np.inf).argmax(axis=0)
    closest = np.where(decided, distance, np.inf).argmin(axis=0)
    chosen = np.where(is_met, clearest, closest)[np.newaxis]
    return Outcome(
        is_met,
        is_met | np.asarray(decided.all(axis=0)),
        np.take_along_axis(distance, chosen, 0)[0],
        np.take_along_axis(np.stack([o.value for o in outcomes]), chosen, 0)[0],
        reduce(np.logical_or, [o.is_proxy for o in outcomes]),
    ), masks


def _judge_one(
    one: Comparison, ranges: Ranges, direct: NDArray[np.bool_] | None
) -> tuple[Outcome | None, NDArray[np.bool_]]:
    none = np.zeros(1, dtype=bool)
    outcome = _compare(one.terms, one, ranges)
    if one.proxy_for is None:
        return outcome, none
    published = _compare(((1.0, one.proxy_for),), one, ranges)
    if outcome is not None:
        outcome = replace(outcome, is_proxy=np.ones(outcome.is_met.shape, dtype=bool))
    if published is None:
        return outcome, none
    mask = published.is_decided if direct is None else direct
    if outcome is None:
        return published, mask
    return Outcome(
        np.where(mask, published.is_met, outcome.is_met),
        np.where(mask, published.is_decided, outcome.is_decided),
        np.where(mask, published.distance, outcome.distance),
        np.where(mask, published.value, outcome.value),
        np.where(mask, False, outcome.is_proxy),
    ), mask


def _compare(
    terms: Sequence[tuple[float, str]], one: Comparison, ranges: Ranges
) -> Outcome | None:
    low: Any = 0.0
    high: Any = 0.0
    for factor, name in terms:
        found = ranges(name)
        if found is None:
            return None
        bottom, top = found if factor > 0 else (found[1], found[0])
        if factor == 1 and len(terms) == 1:
            low, high = bottom, top
        else:
            low, high = low + factor * bottom, high + factor * top
    cutoff = one.cutoff
    # a value on the cut-off is below it for > and <=, and above it for >= and <
    if one.comparator in {">", "<="}:
        above, below = low > cutoff, high <= cutoff
    else:
        above, below = low >= cutoff, high < cutoff
    value = low if low is high else np.where(above, low, np.where(below, high, np.nan))
    with np.errstate(invalid="ignore", divide="ignore"):
        # an expression with negative terms may fall below zero: as far from the cut-off as can be
        distance = np.abs(np.log(np.maximum(value, 0.0) / cutoff))
    met = above if one.comparator in {">", ">="} else below
    return Outcome(met, above | below, distance, value, np.zeros(1, dtype=bool))
