"""What changed between visits by more than its error, and what must not be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtri

from mrs_necrosis.arguments import check_each, check_probability
from mrs_necrosis.constants import STANDARD_RATIOS
from mrs_necrosis.followup.course import Change, FollowUp, Point
from mrs_necrosis.followup.visits import Timeline, Treatment, Visit
from mrs_necrosis.followup.wording import sentences
from mrs_necrosis.ratios import RatioStatus, parse_ratio, ratio

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrs_necrosis.areas import PeakAreas


SAME_ECHO_TIME: Final = 0.05
SAME_FIELD: Final = 0.1
SAME_VOLUME: Final = 0.2
"""Relative differences up to which echo times, fields and voxel volumes count as the same
(assumed)."""
SAME_PLACE: Final = 0.25
"""Centres may be this fraction of the shortest edge apart (assumed)."""


def followup(
    visits: Sequence[Visit] | Timeline,
    *,
    treatments: Sequence[Treatment] = (),
    ratios: Sequence[str] = STANDARD_RATIOS,
    level: float = 0.95,
    reproducibility: Mapping[str, float] | None = None,
) -> FollowUp:
    """Compare the visits of one lesion.

    Parameters
    ----------
    visits : sequence of Visit, or Timeline
        In any order.
    treatments : sequence of Treatment
        Beside those of the timeline.
    ratios : sequence of str
        Which to follow; those that no visit has are left out.
    level : float
        Coverage of the intervals, and of the one-sided bounds of absent peaks.
    reproducibility : mapping of str to float, or None
        Coefficient of variation of a ratio from day to day in a stable lesion, where it is known.

    Returns
    -------
    FollowUp
        Points, changes and words.

    Raises
    ------
    ValueError
        If there is no visit, or the level is no probability.
    TypeError
        If the visits are something else.

    Examples
    --------
    >>> from mrs_necrosis import PeakAreas
    >>> peaks = ("Cho", "Cr")
    >>> error = np.diag([0.02, 0.02]) ** 2
    >>> course = followup([
    ...     Visit.of("2012-09", PeakAreas(peaks, [1.0, 1.0], error)),
    ...     Visit.of("2012-12", PeakAreas(peaks, [1.5, 1.0], error)),
    ... ])
    >>> course.changes[0].exceeds_error
    True
    """
    title = lesion = citation = ""
    if isinstance(visits, Timeline):
        title, lesion, citation = visits.title, visits.lesion, visits.citation
        treatments = (*visits.treatments, *treatments)
        visits = visits.visits
    check_each("visits", visits, Visit, "a Timeline or visits")
    if not visits:
        msg = "a course needs at least one visit"
        raise ValueError(msg)
    for visit in visits:
        if visit.source is not None:
            msg = (
                f"the spectra of {visit.date} are not analysed yet; replace the visit by "
                "visit.measured(Visit.of(visit.date, analyze(visit.source).areas))"
            )
            raise ValueError(msg)
    check_probability("level", level)
    ordered = tuple(sorted(visits, key=lambda visit: visit.date.decimal_year))
    treated = tuple(sorted(treatments, key=lambda treatment: treatment.start.decimal_year))
    measured = [(at, visit) for at, visit in enumerate(ordered, 1) if visit.is_measured]
    names = [name for name in ratios if any(_has(visit, name) for _, visit in measured)]
    points = tuple(
        _point(at, visit, name, level)
        for name in names
        for at, visit in measured
        if _has(visit, name)
    )
    scatter = reproducibility or {}
    is_ambiguous = len({visit.date for _, visit in measured}) < len(measured)
    changes = tuple(
        replace(
            _change(before, after, name, level, scatter.get(name)),
            visits=(first, second) if is_ambiguous else None,
        )
        for name in names
        for (first, before), (second, after) in _pairs(
            [(at, visit) for at, visit in measured if _has(visit, name)]
        )
    )
    found = FollowUp(
        visits=ordered, treatments=treated, points=points, changes=changes,
        title=title, lesion=lesion, citation=citation,
    )  # fmt: skip
    return replace(found, sentences=tuple(sentences(found)))


def _pairs(
    visits: Sequence[tuple[int, Visit]],
) -> Iterable[tuple[tuple[int, Visit], tuple[int, Visit]]]:
    """Yield first and each later visit, then each visit and the next, without repeats."""
    for after in visits[1:]:
        yield visits[0], after
    yield from pairwise(visits[1:])


def _has(visit: Visit, name: str) -> bool:
    numerator, denominator = parse_ratio(name)
    areas = visit.areas
    return areas is not None and numerator in areas and denominator in areas


def _point(number: int, visit: Visit, name: str, level: float) -> Point:
    assert visit.areas is not None
    found = ratio(visit.areas, *parse_ratio(name))
    status = str(found.status)
    value = float(found.value)
    lower = upper = None
    interval, bound = found.interval(level), found.bound(level)
    if status == RatioStatus.OK and interval is not None:
        lower, upper = float(interval.lower), float(interval.upper)
        if str(interval.shape) != "bounded":
            lower, upper = -math.inf, math.inf
    elif bound is not None and math.isfinite(float(bound)):
        if status == RatioStatus.BELOW_DETECTION:
            upper = float(bound)
        elif status == RatioStatus.DENOMINATOR_NOT_DETECTED:
            lower = float(bound)
    return Point(
        ratio=name,
        date=visit.date,
        value=value if math.isfinite(value) else None,
        lower=lower,
        upper=upper,
        status=status,
        visit=number,
    )


def comparability(before: Visit, after: Visit) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return why two visits must not be compared, and what could not be checked.

    Parameters
    ----------
    before, after : Visit
        With spectroscopy.

    Returns
    -------
    tuple
        Obstacles, and unknowns, both tuples of str.
    """
    obstacles, unknowns = settings_compared(before, after)
    assert before.areas is not None
    assert after.areas is not None
    if before.areas.quantity != after.areas.quantity:
        obstacles.append(f"one is {before.areas.quantity} and the other {after.areas.quantity}")
    if before.affine is None or after.affine is None:
        unknowns.append("voxel positions")
        obstacles.extend(volumes_compared(before.volume_ml, after.volume_ml))
    else:
        obstacles.extend(_displacement(before, after))
    return tuple(obstacles), tuple(unknowns)


def settings_compared(one: object, other: object) -> tuple[list[str], list[str]]:
    """Return which settings of two spectra differ, and which are not known of both.

    Parameters
    ----------
    one, other : Visit, Acquisition or PeakTable
        With what is known of ``echo_time_s``, ``field_t``, ``sequence`` and ``manufacturer``, and
        of an inversion and fat saturation.

    Returns
    -------
    tuple of list of str
        Sentences, and words.
    """
    obstacles: list[str] = []
    unknowns: list[str] = []
    for name, word, tolerance, unit, scale in (
        ("echo_time_s", "echo times", SAME_ECHO_TIME, "ms", 1e3),
        ("field_t", "field strengths", SAME_FIELD, "T", 1.0),
    ):
        first, second = getattr(one, name, None), getattr(other, name, None)
        if first is None or second is None:
            unknowns.append(word)
        elif abs(first - second) > tolerance * max(first, second):
            both = f"{scale * first:.3g} {unit} and {scale * second:.3g} {unit}"
            obstacles.append(f"the {word} differ ({both})")
    for name, word in (("sequence", "sequences"), ("manufacturer", "scanners")):
        first, second = getattr(one, name, None), getattr(other, name, None)
        if first is None or second is None:
            unknowns.append(word)
        elif first.casefold() != second.casefold():
            obstacles.append(f"the {word} differ")
        elif name == "manufacturer":
            unknowns.append("scanners (of one manufacturer)")  # which of his it was no file tells
    for name, word in (("inversion_time_s", "inversions"), ("fat_saturated", "fat saturations")):
        first, second = getattr(one, name, None), getattr(other, name, None)
        if (first or None) != (second or None):  # most files do not say that there was none
            obstacles.append(f"the {word} differ")
    return obstacles, unknowns


def _displacement(before: Visit, after: Visit) -> Iterable[str]:
    first, second = np.asarray(before.affine), np.asarray(after.affine)
    if before.mask is not None or after.mask is not None:
        return  # the lesion was outlined at each visit; its voxels need not coincide
    yield from volumes_compared(
        *(abs(float(np.linalg.det(a[:3, :3]))) / 1e3 for a in (first, second))
    )
    edges = [np.sqrt((a[:3, :3] ** 2).sum(axis=0)).min() for a in (first, second)]
    apart = float(np.linalg.norm(first[:3, 3] - second[:3, 3]))
    if apart > SAME_PLACE * min(edges):
        yield f"the voxels lie {apart:.0f} mm apart"


def volumes_compared(first: float | None, second: float | None) -> Iterable[str]:
    """Yield that two voxels, in mL, differ in size, if they are known to."""
    if first is None or second is None:
        return
    if abs(first - second) > SAME_VOLUME * max(first, second):
        yield f"the voxels differ in size ({first:.1f} and {second:.1f} mL)"


def _change(before: Visit, after: Visit, name: str, level: float, scatter: float | None) -> Change:
    assert before.areas is not None
    assert after.areas is not None
    obstacles, unknowns = comparability(before, after)
    change = partial(
        Change, ratio=name, before=before.date, after=after.date, level=level, unknowns=unknowns
    )
    if any(peak.startswith("LL") for peak in name.split("/")):
        te = {before.echo_time_s, after.echo_time_s}
        if None in te and len(te) > 1:
            obstacles = (*obstacles, "LL depends on the echo time, which is known of one only")
    if obstacles:
        return change(obstacles=obstacles)
    first, second = _log_range(before.areas, name, level), _log_range(after.areas, name, level)
    z = _z(level)
    if first is None or second is None:
        return change()
    factor = interval = exceeds = beyond = None
    if first.value is not None and second.value is not None:
        step = second.value - first.value
        factor = math.exp(step)
        if first.sd is not None and second.sd is not None:
            sd = math.hypot(first.sd, second.sd)
            interval = math.exp(step - z * sd), math.exp(step + z * sd)
            if scatter is not None:
                beyond = abs(step) > z * math.hypot(sd, math.sqrt(2) * scatter)
    else:
        # a bound against an interval, or against another bound: both at their far ends
        low, high = second.low - first.high, second.high - first.low
        if low == -math.inf and high == math.inf:
            return change()
        interval = math.exp(low), math.inf if high == math.inf else math.exp(high)
        if scatter is not None:
            extra = z * math.sqrt(2) * scatter
            beyond = low > extra or high < -extra
    if interval is not None:
        exceeds = interval[0] > 1 or interval[1] < 1
    return change(
        factor=factor,
        interval=interval,
        exceeds_error=exceeds,
        exceeds_reproducibility=beyond,
    )


def _z(level: float) -> float:
    """Return how many standard deviations an interval of a level reaches to either side."""
    return float(ndtri(0.5 + level / 2))


@dataclass(frozen=True, slots=True)
class _LogRange:
    """Logarithm of a ratio with its sd, or the half line on which an absent peak leaves it."""

    value: float | None
    sd: float | None
    low: float
    high: float


def _log_range(areas: PeakAreas, name: str, level: float) -> _LogRange | None:
    """Return what is known of a ratio's logarithm; None without an answer."""
    found = ratio(areas, *parse_ratio(name))
    value, status, bound = float(found.value), str(found.status), found.bound(level)
    if status == RatioStatus.OK and value > 0:
        log = math.log(value)
        if found.sd is None:
            return _LogRange(log, None, log, log)
        z, sd = _z(level), float(found.sd) / value
        return _LogRange(log, sd, log - z * sd, log + z * sd)
    limit = math.nan if bound is None else float(bound)
    if not limit > 0:
        return None
    if status == RatioStatus.BELOW_DETECTION:
        return _LogRange(None, None, -math.inf, math.log(limit))
    if status == RatioStatus.DENOMINATOR_NOT_DETECTED:
        return _LogRange(None, None, math.log(limit), math.inf)
    return None
