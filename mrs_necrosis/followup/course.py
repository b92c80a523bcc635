"""The course of a lesion: its visits, ratios and changes. The types only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from mrs_necrosis.errors import joined
from mrs_necrosis.followup.dates import Date
from mrs_necrosis.followup.visits import Treatment, Visit

_TIMES: Final = 3.0
"""From here on a factor is easier to read than a percentage."""


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
        text += "a peak is not detected" if self.factor is None else _change(self.factor)
        if self.interval is None:
            return f"{text}; whether that exceeds the error is unknown, no error is reported."
        low, high = self.interval
        say = _percent if self.factor is None or self.factor < _TIMES else _times
        text += (
            f" ({100 * self.level:.0f} % interval {say(low)} to {say(high)}), "
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


def _change(factor: float) -> str:
    percent = 100 * (factor - 1)
    if factor >= _TIMES:
        return f"{_times(factor)} times as high"
    if abs(percent) < 0.5:
        return "unchanged"
    return f"{'up' if percent > 0 else 'down'} by {abs(percent):.0f} %"


def _times(factor: float) -> str:
    return "no limit" if math.isinf(factor) else f"{factor:.1f}"


def _percent(factor: float) -> str:
    if math.isinf(factor):
        return "no limit"
    percent = round(100 * (factor - 1))
    return f"{percent:+d} %".replace("-", "\N{MINUS SIGN}") if percent else "0 %"
