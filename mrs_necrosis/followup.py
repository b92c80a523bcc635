"""One lesion over time: what changed by more than its error, and what must not be compared.

A change is the quotient of a ratio at two visits, with the errors of both. Two spectra are
compared only if they can be: same echo time, field, sequence, scanner and place. What is not known
to differ is compared, and said to be unknown.

A timeline file is TOML: ``title``, ``citation``, ``diagnosis`` (the underlying disease) and
``lesion``; ``[[visits]]`` with a ``date`` (``"2012"``, ``"2012-09"`` or ``"2012-09-14"``), what
was found in words, and ``peaks`` or ``input``, a file of spectra beside the timeline;
``[[treatments]]`` with ``name``, ``start`` and ``end``. The
words ``"not reported"`` stand for any value that the source does not give.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import tomllib
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.special import ndtri

from mrs_necrosis.areas import PeakAreas, as_printed
from mrs_necrosis.arguments import check_each, check_path, check_probability, check_type
from mrs_necrosis.constants import FIELD_T, STANDARD_RATIOS
from mrs_necrosis.criteria import te_class
from mrs_necrosis.errors import FormatError, joined
from mrs_necrosis.ratios import RatioStatus, parse_ratio, ratio

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from mrs_necrosis.spectra import Acquisition

SAME_ECHO_TIME: Final = 0.05
SAME_FIELD: Final = 0.1
SAME_VOLUME: Final = 0.2
"""Relative differences up to which echo times, fields and voxel volumes count as the same
(assumed)."""
SAME_PLACE: Final = 0.25
"""Centres may be this fraction of the shortest edge apart (assumed)."""
ANTIANGIOGENIC: Final = "antiangiogenic"
IRRADIATIONS: Final = ("radiosurgery", "radiotherapy")
"""Kinds of treatment after which the months are counted."""
NOT_REPORTED: Final = "not reported"

_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Date:
    """A day, a month or a year, as precisely as the source says.

    Parameters
    ----------
    year : int
        1900 to 2200.
    month, day : int or None
        None if the source does not say.
    """

    year: int
    month: int | None = None
    day: int | None = None

    @classmethod
    def parse(cls, text: object) -> Date:
        """Read ``"2012"``, ``"2012-09"`` or ``"2012-09-14"``.

        Parameters
        ----------
        text : str or datetime.date
            ISO 8601.

        Returns
        -------
        Date
            With the precision of the text.

        Raises
        ------
        ValueError
            If it is anything else, or no such day exists.
        """
        if isinstance(text, dt.date):
            return cls(text.year, text.month, text.day)
        found = _DATE.fullmatch(text) if isinstance(text, str) else None
        parts = [int(part) if part else None for part in found.groups()] if found else [0]
        if not parts[0] or not 1900 <= parts[0] <= 2200 or not _exists(*parts):
            msg = f"a date is written 2012, 2012-09 or 2012-09-14; got {text!r}"
            raise ValueError(msg)
        return cls(parts[0], *parts[1:])

    @property
    def decimal_year(self) -> float:
        """Middle of the day, month or year, in years, for the axis of a figure."""
        return (self._first + self._last) / 2

    @property
    def _first(self) -> float:
        return _decimal(dt.date(self.year, self.month or 1, self.day or 1))

    @property
    def _last(self) -> float:
        """The beginning of what comes next: a month is not a twelfth of a year."""
        if self.month is None:
            return float(self.year + 1)
        if self.day is None:
            after = self.year + self.month // 12, self.month % 12 + 1
            return _decimal(dt.date(*after, 1))
        return _decimal(dt.date(self.year, self.month, self.day) + dt.timedelta(days=1))

    def surely_after(self, other: Date) -> bool:
        """Return whether it lies after another date whatever the missing parts are."""
        return self._first >= other._last - 1e-9

    def __str__(self) -> str:
        if self.month is None:
            return str(self.year)
        month = f"{_MONTHS[self.month - 1]} {self.year}"
        return month if self.day is None else f"{self.day} {month}"


def _exists(year: int | None, month: int | None = None, day: int | None = None) -> bool:
    try:
        dt.date(year or 0, month or 1, day or 1)
    except ValueError:
        return False
    return month != 0 and day != 0


def _decimal(day: dt.date) -> float:
    start = dt.date(day.year, 1, 1)
    days = (dt.date(day.year + 1, 1, 1) - start).days
    return day.year + (day - start).days / days


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Visit:
    """One examination.

    Parameters
    ----------
    date : Date
        When; ``"2012-09"`` and a ``datetime.date`` are understood.
    areas : PeakAreas or None
        One voxel, or a grid of which `mask` says what belongs to the lesion; None without
        spectroscopy in numbers.
    mask : ndarray of bool, or None
        Voxels of the lesion; their areas are added up.
    event : str
        What the visit was, in words.
    readings : mapping of str to str
        What was found in words: ``clinical``, ``mri``, ``perfusion``, ``mrs_reading``,
        ``conclusion``.
    echo_time_s, field_t : float or None
        Of the spectroscopy.
    sequence, manufacturer : str or None
        Of the spectroscopy.
    affine : ndarray of float64, shape (4, 4), or None
        Voxel to RAS+ mm in a frame that the visits share; None if that is unknown.
    volume_ml : float or None
        Of the voxel, where its place is in no frame that the visits share.
    problems : tuple of str
        Checks of quality that its spectrum failed: its values are then not used.
    source : Path or None
        File of its spectroscopy that is still to be analysed; see ``measured``.
    lesion_mask : Path or None
        Image of the lesion, where `source` holds a grid.

    Raises
    ------
    ValueError
        If there are many voxels and no mask, or the mask does not fit.
    TypeError
        If `areas` are something else.
    """

    date: Date
    areas: PeakAreas | None = None
    mask: NDArray[np.bool_] | None = None
    event: str = ""
    readings: Mapping[str, str] = field(default_factory=dict)
    echo_time_s: float | None = None
    field_t: float | None = None
    sequence: str | None = None
    manufacturer: str | None = None
    affine: NDArray[np.float64] | None = None
    volume_ml: float | None = None
    problems: tuple[str, ...] = ()
    source: Path | None = None
    lesion_mask: Path | None = None

    @property
    def is_measured(self) -> bool:
        """Whether it has peak values that can be used."""
        return self.areas is not None and not self.problems

    def __post_init__(self) -> None:
        given: object = self.date
        if not isinstance(given, Date):
            object.__setattr__(self, "date", Date.parse(given))
        if self.areas is None:
            return
        check_type("areas", self.areas, PeakAreas, "PeakAreas", optional=True)
        voxels = self.areas.values.shape[:-1]
        if self.mask is None:
            if math.prod(voxels) != 1:
                msg = (
                    f"a grid of {voxels} voxels needs a mask that says which of them are the "
                    "lesion"
                )
                raise ValueError(msg)
            object.__setattr__(self, "areas", _single(self.areas, np.ones(voxels, dtype=bool)))
            return
        if not voxels:
            return  # added up already: a copy of a visit
        mask = np.asarray(self.mask, dtype=bool)
        if mask.shape != voxels or not mask.any():
            msg = f"mask must have the shape {voxels} of the grid and hold a voxel"
            raise ValueError(msg)
        object.__setattr__(self, "areas", _single(self.areas, mask))

    def measured(self, other: Visit) -> Visit:
        """Return this visit with the spectroscopy of another one: what its file was found to hold.

        Parameters
        ----------
        other : Visit
            Made from the fit of `source`, as by ``Visit.of``.

        Returns
        -------
        Visit
            With the date and the words of this one.
        """
        return replace(other, date=self.date, event=self.event, readings=self.readings)

    @classmethod
    def of(
        cls,
        date: str | dt.date,
        areas: PeakAreas | None,
        *,
        acquisition: Acquisition | None = None,
        affine: NDArray[np.float64] | None = None,
        volume_ml: float | None = None,
        mask: NDArray[np.bool_] | None = None,
        event: str = "",
        problems: Sequence[str] = (),
    ) -> Visit:
        """Return a visit from what a fit was made of.

        Parameters
        ----------
        date : str or datetime.date
            See ``Date.parse``.
        areas : PeakAreas or None
            See ``Visit``.
        acquisition : Acquisition or None
            Echo time, field, sequence and manufacturer are taken from it.
        affine, volume_ml, mask, event, problems :
            See ``Visit``.

        Returns
        -------
        Visit
            With everything that the acquisition says.
        """
        known: dict[str, Any] = {}
        if acquisition is not None:
            known = {
                name: getattr(acquisition, name)
                for name in ("echo_time_s", "field_t", "sequence", "manufacturer")
            }
        return cls(
            date=Date.parse(date), areas=areas, affine=affine, volume_ml=volume_ml, mask=mask,
            event=event, problems=tuple(problems), **known,
        )  # fmt: skip


def _single(areas: PeakAreas, mask: NDArray[np.bool_]) -> PeakAreas:
    """Return the sum over the voxels of a lesion, whose errors are independent, as one voxel."""
    chosen = areas.values[mask]
    answered = ~np.isnan(chosen).all(axis=1)
    values = chosen[answered].sum(axis=0) if answered.any() else chosen[0]
    covariance = areas.covariance
    if covariance is not None:
        inside = covariance[mask]
        covariance = inside[answered].sum(axis=0) if answered.any() else inside[0]
    return PeakAreas(areas.names, values, covariance, areas.unit, areas.quantity).with_ll()


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """A treatment over some time.

    Parameters
    ----------
    name : str
        ``"bevacizumab"``.
    start : Date
        First day.
    end : Date or None
        Last day; None if it is not known or goes on.
    kind : str
        ``"antiangiogenic"``, ``"radiosurgery"``, ``"radiotherapy"`` (after these two the months
        are counted), ….
    details : mapping of str to scalar or list
        Dose, cycles and so on, as written.
    """

    name: str
    start: Date
    end: Date | None = None
    kind: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One ratio at two visits.

    Parameters
    ----------
    ratio : str
        ``"Cho/Cr"``.
    before, after : Date
        The visits.
    factor : float or None
        Later value over earlier; None if one of them has none.
    interval : tuple of float or None
        Of the factor, errors of both included, possibly one-sided (0 or infinite ends) where a
        peak is not detected; None without uncertainties.
    level : float
        Coverage.
    exceeds_error : bool or None
        Whether the interval excludes 1; None without an interval.
    exceeds_reproducibility : bool or None
        The same with the day-to-day scatter of a stable lesion added; None if that was not given.
    obstacles : tuple of str
        Why the two must not be compared; then everything above is None.
    unknowns : tuple of str
        What could not be checked.
    visits : tuple of int, or None
        Numbers of the visits where two visits have one date.
    """

    ratio: str
    before: Date
    after: Date
    factor: float | None = None
    interval: tuple[float, float] | None = None
    level: float = 0.95
    exceeds_error: bool | None = None
    exceeds_reproducibility: bool | None = None
    obstacles: tuple[str, ...] = ()
    unknowns: tuple[str, ...] = ()
    visits: tuple[int, int] | None = None

    @property
    def when(self) -> str:
        """Between which visits it lies, in words."""
        if self.visits is None:
            return f"from {self.before} to {self.after}"
        first, second = self.visits
        return f"from {self.before} (visit {first}) to {self.after} (visit {second})"

    @property
    def sentence(self) -> str:
        """The change in words."""
        when = self.when
        if self.obstacles:
            return f"{self.ratio} {when}: not compared, because {joined(self.obstacles)}."
        if self.factor is None and self.interval is None:
            return f"{self.ratio} {when}: no answer, a peak is missing or not detected."
        text = f"{self.ratio} {when}: "
        text += "a peak is not detected" if self.factor is None else _percent(self.factor)
        if self.interval is None:
            return f"{text}; whether that exceeds the error is unknown, no error is reported."
        low, high = self.interval
        text += (
            f" ({100 * self.level:.0f} % interval {_signed(low)} to {_signed(high)}), "
            f"{'more' if self.exceeds_error else 'not more'} than measurement error"
        )
        if self.exceeds_reproducibility is not None:
            word = "more" if self.exceeds_reproducibility else "not more"
            text += f" and {word} than day-to-day scatter"
        return f"{text}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One ratio at one visit, for a figure.

    Parameters
    ----------
    ratio : str
        ``"Cho/Cr"``.
    date : Date
        When.
    value : float or None
        None where the denominator is not detected.
    lower, upper : float or None
        Interval, or the one bound of an absent peak; None without uncertainty, infinite where it
        is unbounded.
    status : str
        ``RatioStatus``.
    visit : int
        Number of the visit, from 1 in order of time.
    """

    ratio: str
    date: Date
    value: float | None
    lower: float | None
    upper: float | None
    status: str
    visit: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """The course of a lesion.

    Parameters
    ----------
    visits, treatments : tuple
        In order of time.
    points : tuple of Point
        Every ratio of every visit that has it.
    changes : tuple of Change
        Each visit with peak values against the first one, and against the one before.
    sentences : tuple of str
        The course in words, with its limits.
    title, lesion, citation : str
        Of the timeline, if it has them.
    """

    visits: tuple[Visit, ...]
    treatments: tuple[Treatment, ...] = ()
    points: tuple[Point, ...] = ()
    changes: tuple[Change, ...] = ()
    sentences: tuple[str, ...] = ()
    title: str = ""
    lesion: str = ""
    citation: str = ""

    def series(self, name: str) -> tuple[Point, ...]:
        """Return one ratio over time.

        Parameters
        ----------
        name : str
            ``"Cho/Cr"``.

        Returns
        -------
        tuple of Point
            In order of time; empty if no visit has it.
        """
        return tuple(point for point in self.points if point.ratio == name)

    def __str__(self) -> str:
        return " ".join(self.sentences)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What a timeline file says.

    Parameters
    ----------
    visits, treatments : tuple
        In order of time.
    title, lesion, disease, citation : str
        Empty where the file does not say.
    """

    visits: tuple[Visit, ...]
    treatments: tuple[Treatment, ...] = ()
    title: str = ""
    lesion: str = ""
    disease: str = ""
    citation: str = ""


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
    return replace(found, sentences=tuple(_course(found)))


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


# ---- what may be compared ---------------------------------------------------------------------


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
    obstacles: list[str] = []
    unknowns: list[str] = []
    for name, word, tolerance, unit, scale in (
        ("echo_time_s", "echo times", SAME_ECHO_TIME, "ms", 1e3),
        ("field_t", "field strengths", SAME_FIELD, "T", 1.0),
    ):
        first, second = getattr(before, name), getattr(after, name)
        if first is None or second is None:
            unknowns.append(word)
        elif abs(first - second) > tolerance * max(first, second):
            both = f"{scale * first:.3g} {unit} and {scale * second:.3g} {unit}"
            obstacles.append(f"the {word} differ ({both})")
    for name, word in (("sequence", "sequences"), ("manufacturer", "scanners")):
        first, second = getattr(before, name), getattr(after, name)
        if first is None or second is None:
            unknowns.append(word)
        elif first.casefold() != second.casefold():
            obstacles.append(f"the {word} differ")
        elif name == "manufacturer":
            unknowns.append("scanners (of one manufacturer)")  # which of his it was no file tells
    assert before.areas is not None
    assert after.areas is not None
    if before.areas.quantity != after.areas.quantity:
        obstacles.append(f"one is {before.areas.quantity} and the other {after.areas.quantity}")
    if before.affine is None or after.affine is None:
        unknowns.append("voxel positions")
        obstacles.extend(_sizes(before.volume_ml, after.volume_ml))
    else:
        obstacles.extend(_displacement(before, after))
    return tuple(obstacles), tuple(unknowns)


def _displacement(before: Visit, after: Visit) -> Iterable[str]:
    first, second = np.asarray(before.affine), np.asarray(after.affine)
    if before.mask is not None or after.mask is not None:
        return  # the lesion was outlined at each visit; its voxels need not coincide
    yield from _sizes(*(abs(float(np.linalg.det(a[:3, :3]))) / 1e3 for a in (first, second)))
    edges = [np.sqrt((a[:3, :3] ** 2).sum(axis=0)).min() for a in (first, second)]
    apart = float(np.linalg.norm(first[:3, 3] - second[:3, 3]))
    if apart > SAME_PLACE * min(edges):
        yield f"the voxels lie {apart:.0f} mm apart"


def _sizes(first: float | None, second: float | None) -> Iterable[str]:
    if first is None or second is None:
        return
    if abs(first - second) > SAME_VOLUME * max(first, second):
        yield f"the voxels differ in size ({first:.1f} and {second:.1f} mL)"


def _change(before: Visit, after: Visit, name: str, level: float, scatter: float | None) -> Change:
    assert before.areas is not None
    assert after.areas is not None
    obstacles, unknowns = comparability(before, after)
    same = {"ratio": name, "before": before.date, "after": after.date, "level": level}
    if any(name.startswith("LL") for name in name.split("/")):
        te = {before.echo_time_s, after.echo_time_s}
        if None in te and len(te) > 1:
            obstacles = (*obstacles, "LL depends on the echo time, which is known of one only")
    if obstacles:
        return Change(**same, obstacles=obstacles, unknowns=unknowns)  # type: ignore[arg-type]
    first, second = _log_range(before.areas, name, level), _log_range(after.areas, name, level)
    z = _z(level)
    if first is None or second is None:
        return Change(**same, unknowns=unknowns)  # type: ignore[arg-type]
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
            return Change(**same, unknowns=unknowns)  # type: ignore[arg-type]
        interval = math.exp(low), math.inf if high == math.inf else math.exp(high)
        if scatter is not None:
            extra = z * math.sqrt(2) * scatter
            beyond = low > extra or high < -extra
    if interval is not None:
        exceeds = interval[0] > 1 or interval[1] < 1
    return Change(
        **same,  # type: ignore[arg-type]
        factor=factor,
        interval=interval,
        exceeds_error=exceeds,
        exceeds_reproducibility=beyond,
        unknowns=unknowns,
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


# ---- the course in words ----------------------------------------------------------------------


def _course(found: FollowUp) -> Iterable[str]:
    measured = [visit for visit in found.visits if visit.is_measured]
    n = len(found.visits)
    yield (
        f"{n} visit{'s' if n > 1 else ''} from {found.visits[0].date} to "
        f"{found.visits[-1].date}, {len(measured)} of them with peak values."
        if n > 1
        else f"One visit, {found.visits[0].date}."
    )
    for treatment in found.treatments:
        yield _treatment_sentence(treatment)
    for number, visit in enumerate(found.visits, 1):
        yield _visit_sentence(number, visit, found)
    for before, after in pairwise(measured):
        if not after.date.surely_after(before.date):
            dates = str(after.date)
            if before.date != after.date:
                dates = f"{before.date} and {after.date}"
            yield f"Which of the visits of {dates} came first is not known; this order is assumed."
    if len(measured) < 2:
        yield "Without peak values of a second visit no change of a ratio can be given."
    last: dict[tuple[str, ...], list[Change]] = {}
    for change in found.changes:
        if change.obstacles:
            key = (change.when, *change.obstacles)
            last.setdefault(key, []).append(change)
        else:
            yield change.sentence
    for (when, *obstacles), some in last.items():
        names = joined([one.ratio for one in some])
        yield f"{names} {when}: not compared, because {joined(obstacles)}."
    unknowns = list(dict.fromkeys(word for change in found.changes for word in change.unknowns))
    compared = [change for change in found.changes if not change.obstacles]
    if unknowns and compared:
        yield f"Not known to be the same at all visits: {joined(unknowns)}."
    yield from _under_treatment(found, measured)


def _treatment_sentence(treatment: Treatment) -> str:
    name = f"{treatment.name[0].upper()}{treatment.name[1:]}"
    if treatment.end is None:
        when = f"from {treatment.start}, end not reported"
    elif treatment.end == treatment.start:
        when = f"{'in' if treatment.start.day is None else 'on'} {treatment.start}"
    else:
        when = f"from {treatment.start} to {treatment.end}"
    cycles = treatment.details.get("cycles")
    dose, fractions = treatment.details.get("dose_gy"), treatment.details.get("fractions")
    extra = ""
    if isinstance(cycles, int):
        extra = f", {cycles} cycles"
    elif dose is not None and fractions is not None:
        extra = f", {dose:g} Gy in {fractions} fractions"
    return f"{name} {when}{extra}."


def _visit_sentence(number: int, visit: Visit, found: FollowUp) -> str:
    points = [point for point in found.points if point.visit == number]
    if visit.problems:
        verb = "check" if len(visit.problems) == 1 else "checks"
        numbers = f"a spectrum that is not used, it failed the {verb} of {joined(visit.problems)}"
    elif points:
        values = ", ".join(_point_text(point) for point in points)
        numbers = values
        if all(point.lower is None and point.upper is None for point in points):
            numbers += " (no error reported)"
    else:
        reading = visit.readings.get("mrs_reading")
        numbers = f"spectroscopy read as: {reading}; no peak values" if reading else (
            "no peak values"
        )  # fmt: skip
    words = [
        f"{label}: {visit.readings[key]}"
        for key, label in (("mri", "MRI"), ("perfusion", "perfusion"), ("conclusion", "read as"))
        if key in visit.readings
    ]
    event = f" ({visit.event})" if visit.event else ""
    when = f"{visit.date}{_since_irradiation(visit, found.treatments)}"
    return f"{when}{event}: {'; '.join([numbers, *words])}."


def _since_irradiation(visit: Visit, treatments: Sequence[Treatment]) -> str:
    """Return how long after the last irradiation a visit was, where months are known."""
    beams = [
        (one.end or one.start, one.name)
        for one in treatments
        if one.kind in IRRADIATIONS and visit.date.surely_after(one.end or one.start)
    ]
    if not beams:
        return ""
    last, name = max(beams, key=lambda beam: beam[0].decimal_year)
    if last.month is None or visit.date.month is None:
        return ""
    months = 12 * (visit.date.year - last.year) + visit.date.month - last.month
    if visit.date.day is not None and last.day is not None and visit.date.day < last.day:
        months -= 1
    if months < 1:
        return f", less than a month after {name}"
    return f", {months} month{'' if months == 1 else 's'} after {name}"


def _point_text(point: Point) -> str:
    if point.status == RatioStatus.BELOW_DETECTION:
        bound = "" if point.upper is None else f", below {point.upper:.2f}"
        return f"{point.ratio} not detected{bound}"
    if point.status == RatioStatus.DENOMINATOR_NOT_DETECTED:
        bound = "" if point.lower is None else f" above {point.lower:.2f}"
        return f"{point.ratio}{bound} (denominator not detected)"
    if point.value is None:
        return f"{point.ratio} without an answer"
    text = f"{point.ratio} {point.value:.2f}"
    if point.lower is not None and point.upper is not None:
        if math.isinf(point.lower) or math.isinf(point.upper):
            return f"{text} (unbounded)"
        return f"{text} ({point.lower:.2f} to {point.upper:.2f})"
    return text


def _under_treatment(found: FollowUp, measured: Sequence[Visit]) -> Iterable[str]:
    starts: dict[str, Date] = {}
    for treatment in found.treatments:
        if treatment.kind == ANTIANGIOGENIC:
            starts.setdefault(treatment.name, treatment.start)
    for name, start in starts.items():
        after = [str(visit.date) for visit in measured if visit.date.surely_after(start)]
        if after:
            spectra = "spectrum" if len(after) == 1 else "spectra"
            verb = "was" if len(after) == 1 else "were"
            yield (
                f"The {spectra} of {joined(after)} {verb} taken after the start of {name}, under "
                "which choline falls in tumour too (Jeon 2012, Ratai 2013): a fall of Cho/NAA "
                "or Cho/Cr then does not speak against tumour."
            )


def _percent(factor: float) -> str:
    percent = 100 * (factor - 1)
    if factor >= 3:
        return f"{factor:.1f} times as high"
    if abs(percent) < 0.5:
        return "unchanged"
    return f"{'up' if percent > 0 else 'down'} by {abs(percent):.0f} %"


def _signed(factor: float) -> str:
    if math.isinf(factor):
        return "no limit"
    return f"{100 * (factor - 1):+.0f} %"


# ---- timeline files ---------------------------------------------------------------------------

_READINGS = ("clinical", "mri", "perfusion", "mrs_reading", "conclusion")
_VISIT_KEYS = frozenset({
    *_READINGS, "date", "event", "input", "lesion_mask", "peaks", "peaks_unit", "peaks_sd",
    "echo_time_ms", "field_t", "sequence", "manufacturer",
})  # fmt: skip
_AMOUNTS = {
    "cycles": 1000, "interval_weeks": 520, "dose_mg": 1e5, "dose_mg_per_kg": 1e3, "dose_gy": 1e3,
    "fractions": 1000, "isodose_percent": 100,
}  # fmt: skip
"""Details of a treatment that are numbers, and what they do not exceed."""
_TREATMENT_KEYS = frozenset({"name", "kind", "start", "end", "target", *_AMOUNTS})
_TOP_KEYS = frozenset({"title", "citation", "diagnosis", "lesion", "visits", "treatments"})


def read_timeline(path: str | PathLike[str]) -> Timeline:
    """Read a timeline file (see the module).

    Parameters
    ----------
    path : path
        TOML file.

    Returns
    -------
    Timeline
        Peak tables become areas without covariance unless ``peaks_sd`` is there; at an echo time
        of 120 to 160 ms a printed LL is a net value and is named ``LL_net``.

    Raises
    ------
    FormatError
        If the file is not a timeline; the message says which entry and why.
    TypeError
        If `path` is no path.

    Examples
    --------
    >>> from mrs_necrosis.simulation import sample_path
    >>> timeline = read_timeline(sample_path("reference_case_timeline.toml"))
    >>> len(timeline.visits), timeline.treatments[0].name
    (8, 'erlotinib')
    """
    check_path("path", path)
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror or 'unknown reason'}") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(path, f"not a TOML timeline: {error}") from None
    try:
        _known("the timeline", document, _TOP_KEYS)
        visits = [
            _read_visit(f"visit {at}", entry, Path(path).parent)
            for at, entry in enumerate(_tables(document, "visits"), start=1)
        ]
        treatments = [
            _read_treatment(f"treatment {at}", entry)
            for at, entry in enumerate(_tables(document, "treatments"), start=1)
        ]
        words = {key: _word(key, document) or "" for key in _TOP_KEYS - {"visits", "treatments"}}
    except (ValueError, TypeError) as error:
        raise FormatError(path, str(error)) from None
    if not visits:
        raise FormatError(path, "a timeline needs [[visits]]; there are none")
    return Timeline(
        visits=tuple(sorted(visits, key=lambda visit: visit.date.decimal_year)),
        treatments=tuple(sorted(treatments, key=lambda one: one.start.decimal_year)),
        title=words["title"],
        lesion=words["lesion"],
        disease=words["diagnosis"],
        citation=words["citation"],
    )


def _tables(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    tables = document.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        msg = f"{key} must be written as [[{key}]] tables"
        raise ValueError(msg)
    return tables


def _known(where: str, entry: Mapping[str, Any], keys: frozenset[str]) -> None:
    unknown = sorted(entry.keys() - keys)
    if unknown:
        msg = f"{where} has an unknown key {unknown[0]!r}; known are {', '.join(sorted(keys))}"
        raise ValueError(msg)


def _value(entry: Mapping[str, Any], key: str) -> Any:
    value = entry.get(key)
    return None if value == NOT_REPORTED else value


def _word(key: str, entry: Mapping[str, Any]) -> str | None:
    value = _value(entry, key)
    if value is not None and not isinstance(value, str):
        msg = f"{key} must be text; got {value!r}"
        raise TypeError(msg)
    return value


def _number(key: str, entry: Mapping[str, Any], low: float, high: float) -> float | None:
    value = _value(entry, key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        msg = f'{key} must be a number from {low:g} to {high:g} or "{NOT_REPORTED}"; got {value!r}'
        raise ValueError(msg)
    return float(value)


def _read_visit(where: str, entry: dict[str, Any], folder: Path) -> Visit:
    _known(where, entry, _VISIT_KEYS)
    if "date" not in entry:
        msg = f"{where} has no date"
        raise ValueError(msg)
    if _value(entry, "input") is not None and _value(entry, "peaks") is not None:
        msg = f"{where} has peaks and an input: give one of them"
        raise ValueError(msg)
    if _value(entry, "lesion_mask") is not None and _value(entry, "input") is None:
        msg = f"{where} has a lesion_mask and no input that it could belong to"
        raise ValueError(msg)
    try:
        echo_time_ms = _number("echo_time_ms", entry, 0.1, 2000)
        echo_time_s = None if echo_time_ms is None else echo_time_ms / 1e3
        words = {key: _word(key, entry) for key in _READINGS}
        source, mask = _word("input", entry), _word("lesion_mask", entry)
        return Visit(
            date=Date.parse(entry["date"]),
            areas=_read_peaks(entry, echo_time_s),
            event=_word("event", entry) or "",
            readings={key: text for key, text in words.items() if text},
            echo_time_s=echo_time_s,
            field_t=_number("field_t", entry, *FIELD_T),
            sequence=_word("sequence", entry),
            manufacturer=_word("manufacturer", entry),
            source=None if source is None else folder / source,
            lesion_mask=None if mask is None else folder / mask,
        )
    except (ValueError, TypeError) as error:
        msg = f"{where}: {error}"
        raise ValueError(msg) from None


def _read_peaks(entry: dict[str, Any], echo_time_s: float | None) -> PeakAreas | None:
    peaks, errors = _value(entry, "peaks"), _value(entry, "peaks_sd")
    if peaks is None:
        return None
    for name, table in (("peaks", peaks), ("peaks_sd", errors)):
        if table is not None and not (
            isinstance(table, dict)
            and table
            and all(
                isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)
                for x in table.values()
            )
        ):
            msg = f"{name} must be a table of numbers like {{ Cho = 33671, Cr = 29534 }}"
            raise ValueError(msg)
    covariance = None
    if errors is not None:
        if errors.keys() != peaks.keys() or min(errors.values()) < 0:
            msg = "peaks_sd must hold a standard deviation for each peak"
            raise ValueError(msg)
        covariance = np.diag([float(errors[name]) ** 2 for name in peaks])
    is_net = echo_time_s is not None and te_class(echo_time_s) == "long"
    names = tuple("LL_net" if name == "LL" and is_net else name for name in peaks)
    values = np.array(list(peaks.values()), dtype=float)
    return as_printed(PeakAreas(names, values, covariance, _word("peaks_unit", entry)))


def _read_treatment(where: str, entry: dict[str, Any]) -> Treatment:
    _known(where, entry, _TREATMENT_KEYS)
    try:
        name, start, end = (_word(key, entry) for key in ("name", "start", "end"))
        first = None if start is None else Date.parse(start)
        last = None if end is None else Date.parse(end)
        kind, _ = _word("kind", entry) or "", _word("target", entry)
        for key, high in _AMOUNTS.items():
            given = _value(entry, key)
            several = isinstance(given, list) and key == "interval_weeks"
            for one in given if several else [given]:
                _number(key, {key: one}, 0, high)
    except (ValueError, TypeError) as error:
        msg = f"{where}: {error}"
        raise ValueError(msg) from None
    if not name or first is None:
        msg = f"{where}: a treatment needs a name and a start"
        raise ValueError(msg)
    if last is not None and first.surely_after(last):
        msg = f"{where}: it ends ({last}) before it starts ({first})"
        raise ValueError(msg)
    details = {
        key: value for key, value in entry.items()
        if key not in {"name", "kind", "start", "end"} and value != NOT_REPORTED
    }  # fmt: skip
    return Treatment(name=name, start=first, end=last, kind=kind, details=details)
