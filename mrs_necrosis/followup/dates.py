"""Dates as precisely as a source gives them."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

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
