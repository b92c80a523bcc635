"""The course of a lesion in sentences."""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from mrs_necrosis.errors import joined
from mrs_necrosis.ratios import RatioStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mrs_necrosis.followup.course import Change, FollowUp, Point
    from mrs_necrosis.followup.dates import Date
    from mrs_necrosis.followup.visits import Treatment, Visit


ANTIANGIOGENIC: Final = "antiangiogenic"
IRRADIATIONS: Final = ("radiosurgery", "radiotherapy")
"""Kinds of treatment after which the months are counted."""


def sentences(found: FollowUp) -> Iterable[str]:
    """Yield the course of a lesion, with its limits."""
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
    for before, after in combinations(measured, 2):
        if _are_same(before, after):
            yield (
                f"The peak values of {after.date} are exactly those of {before.date}: is it the "
                "same measurement?"
            )
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


def _are_same(one: Visit, other: Visit) -> bool:
    """Whether two visits have the same numbers, as no two measurements of one lesion have."""
    a, b = one.areas, other.areas
    if a is None or b is None or a.names != b.names:
        return False
    return bool(np.array_equal(a.values, b.values, equal_nan=True))


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
