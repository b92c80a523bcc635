"""The course of a lesion over its visits: text, JSON, figure and one-file page."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

import mrs_necrosis
from mrs_necrosis.report.document import RESEARCH_USE, plain
from mrs_necrosis.report.figure import (
    FAINT,
    GREY,
    INK,
    SERIES_COLOURS,
    STYLE,
    settle,
    to_png,
    to_svg,
)
from mrs_necrosis.report.page import environment, inline
from mrs_necrosis.report.rows import DASH, interval_text, number
from mrs_necrosis.report.text import RESEARCH_LINE, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from mrs_necrosis.followup import Change, Date, FollowUp, Point

SCHEMA = "mrs-necrosis/followup/1"
DRAWN = ("Cho/Cr", "Cho/NAA", "NAA/Cr", "LL/Cr")
"""Ratios in the figure and in the table of visits; the JSON has all of them."""
_ASIDE = 6.0
"""Points between the ratios of one visit, a little more than their dots are wide."""


def summary(found: FollowUp) -> str:
    """Return the course as text for a terminal."""
    heading = found.title or found.lesion
    title = [heading] if heading else []
    return "\n".join([
        *title, *(wrap(sentence, "  - ") for sentence in found.sentences), "", RESEARCH_LINE,
    ])  # fmt: skip


def to_json(found: FollowUp) -> str:
    """Return the course as JSON text; unknown is null, and so is an infinite end."""
    document = {
        "schema": SCHEMA,
        "notice": RESEARCH_USE,
        "title": found.title,
        "lesion": found.lesion,
        "citation": found.citation,
        "visits": [
            {
                "date": _iso(visit.date),
                "event": visit.event,
                "readings": dict(visit.readings),
                "echo_time_s": visit.echo_time_s,
                "field_t": visit.field_t,
                "problems": list(visit.problems),
            }
            for visit in found.visits
        ],
        "treatments": [
            {
                "name": treatment.name,
                "kind": treatment.kind,
                "start": _iso(treatment.start),
                "end": None if treatment.end is None else _iso(treatment.end),
                "details": plain(treatment.details),
            }
            for treatment in found.treatments
        ],
        "points": [plain({**asdict(p), "date": _iso(p.date)}) for p in found.points],
        "changes": [
            plain({**asdict(c), "before": _iso(c.before), "after": _iso(c.after)})
            for c in found.changes
        ],
        "sentences": list(found.sentences),
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _iso(date: Any) -> str:
    parts = [f"{date.year:04d}", *(f"{p:02d}" for p in (date.month, date.day) if p is not None)]
    return "-".join(parts)


def render(found: FollowUp, *, level: float = 0.95) -> dict[str, bytes]:
    """Return every output file by its name.

    Parameters
    ----------
    found : FollowUp
        Made by ``followup``.
    level : float
        Coverage of its intervals.

    Returns
    -------
    dict of str to bytes
        ``followup.json``, ``timeline.svg``, ``timeline.png``, ``followup.html``.
    """
    drawing = course_figure(found)
    svg = to_svg(drawing, "timeline")
    return {
        "followup.json": to_json(found).encode(),
        "timeline.svg": svg.encode(),
        "timeline.png": to_png(drawing),
        "followup.html": to_html(found, svg, level=level).encode(),
    }


def to_html(found: FollowUp, svg: str, *, level: float = 0.95) -> str:
    """Return the page, self-contained."""
    at = {(point.ratio, point.visit): point for point in found.points}
    names = [name for name in DRAWN if any(point.ratio == name for point in found.points)]
    visits = [
        (index, visit, [_cell(at.get((name, index))) for name in names])
        for index, visit in enumerate(found.visits, 1)
    ]
    return (
        environment()
        .get_template("course.html.j2")
        .render(
            found=found,
            figure=inline(svg, "timeline", "Ratios, visits and treatments over time"),
            ratios=names,
            visits=visits,
            changes=[_change(change) for change in found.changes],
            percent=f"{100 * level:.0f} %",
            research_use=RESEARCH_USE,
            version=mrs_necrosis.__version__,
        )
    )


def _cell(point: Point | None) -> str:
    if point is None:
        return DASH
    if point.status == "below-detection":
        return f"< {number(point.upper)}" if point.upper is not None else "not detected"
    if point.status == "denominator-not-detected":
        return f"> {number(point.lower)}" if point.lower is not None else "not detected"
    return number(point.value)


def _change(change: Change) -> dict[str, str]:
    answers = {True: "yes", False: "no", None: "unknown"}
    ends = change.interval or (None, None)
    return {
        "ratio": change.ratio,
        "before": _visit_of(change.before, change.visits, 0),
        "after": _visit_of(change.after, change.visits, 1),
        "factor": number(change.factor),
        "interval": interval_text(ends[0], ends[1], "bounded") if change.interval else DASH,
        "exceeds_error": DASH if change.obstacles else answers[change.exceeds_error],
        "exceeds_reproducibility": DASH
        if change.obstacles
        else answers[change.exceeds_reproducibility],
        "remarks": "; ".join((*change.obstacles, *change.unknowns)),
    }


def _visit_of(date: Date, visits: tuple[int, int] | None, which: int) -> str:
    return str(date) if visits is None else f"{date} ({visits[which]})"


def course_figure(found: FollowUp) -> Figure:
    """Draw the ratios over time, and the visits and treatments below.

    Parameters
    ----------
    found : FollowUp
        With at least one visit.

    Returns
    -------
    Figure
        Ready for ``to_svg`` and ``to_png``.
    """
    lanes = list(dict.fromkeys(treatment.name for treatment in found.treatments))
    with rc_context(STYLE):
        height = 0.9 + 0.28 * (1 + len(lanes))
        drawn = [name for name in DRAWN if any(point.ratio == name for point in found.points)]
        if drawn:
            figure = Figure(figsize=(7.2, 2.6 + height), layout="constrained")
            top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, height))
            _draw_ratios(top, found, drawn)
        else:
            figure = Figure(figsize=(7.2, height), layout="constrained")
            bottom = figure.subplots()
        _draw_lanes(bottom, found, lanes)
        settle(figure)
    return figure


def _draw_ratios(axes: Axes, found: FollowUp, names: list[str]) -> None:
    for year in {point.date.decimal_year for point in found.points}:
        axes.axvline(year, color=FAINT, linewidth=0.5, zorder=0)
    for at, name in enumerate(names):
        before = len(axes.lines)
        _draw_ratio(axes, found.series(name), SERIES_COLOURS[DRAWN.index(name)])
        # side by side, because the intervals of one visit would hide each other; only now, as
        # what is moved does not count for the limits of the axes
        aside = _ASIDE / 72 * (at - (len(names) - 1) / 2)
        for line in axes.lines[before:]:
            line.set_transform(
                axes.transData + ScaledTranslation(aside, 0, axes.figure.dpi_scale_trans)
            )
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    low, high = low / 1.15, high * 1.15
    axes.set_ylim(low, high)
    ticks = [t for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low <= t <= high]
    if len(ticks) < 3:
        ticks = [t for n in range(-3, 4) for t in (10.0**n * np.arange(1, 10)) if low <= t <= high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.set_ylabel("ratio")
    axes.tick_params(axis="x", bottom=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_ratio(axes: Axes, points: Sequence[Point], colour: str) -> None:
    # an absent peak has its arrow alone: what was not detected is not drawn as measured
    shown = [p for p in points if p.status == "ok" and p.value is not None and p.value > 0]
    axes.plot(
        [p.date.decimal_year for p in shown], [p.value for p in shown if p.value], "o-",
        color=colour, markersize=5, linewidth=1.0, label=points[0].ratio,
    )  # fmt: skip
    for point in points:
        year = point.date.decimal_year
        low, high = point.lower, point.upper
        if point.status == "ok" and low is not None and high is not None and low > 0:
            axes.plot([year] * 2, [low, min(high, 1e3)], color=colour, linewidth=1.4)
        elif point.status == "below-detection" and high is not None and high > 0:
            axes.plot([year], [high], marker=7, color=colour, markersize=7)
        elif point.status == "denominator-not-detected" and low is not None and low > 0:
            axes.plot([year], [low], marker=6, color=colour, markersize=7)


def _draw_lanes(axes: Axes, found: FollowUp, lanes: list[str]) -> None:
    end = max(
        [visit.date.decimal_year for visit in found.visits]
        + [t.end.decimal_year for t in found.treatments if t.end is not None]
    )
    for treatment in found.treatments:
        lane = -1 - lanes.index(treatment.name)
        start = treatment.start.decimal_year
        stop = treatment.end.decimal_year if treatment.end is not None else end
        if math.isclose(start, stop):
            axes.plot([start], [lane], "D", color=GREY, markersize=6)
            continue
        axes.barh(
            lane, stop - start, left=start, height=0.55, color=GREY,
            alpha=0.75 if treatment.end is not None else 0.35, linewidth=0,
        )  # fmt: skip
    for index, visit in enumerate(found.visits, 1):
        has_values = visit.is_measured
        year = visit.date.decimal_year
        axes.plot([year], [0], "o", markersize=11, markeredgecolor=INK, markeredgewidth=0.9,
                  color=INK if has_values else "white")  # fmt: skip
        axes.text(year, -0.03, str(index), ha="center", va="center", fontsize=7,
                  color="white" if has_values else INK)  # fmt: skip
    for one in axes.figure.axes:
        one.use_sticky_edges = False  # the first bar would cut the first visit in half
    axes.margins(x=0.04)
    axes.set_yticks([0, *(-1 - i for i in range(len(lanes)))])
    axes.set_yticklabels(["visits", *lanes], parse_math=False)
    axes.set_ylim(-0.7 - len(lanes), 0.7)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    _date_ticks(axes)
    axes.set_xlabel("a filled visit has peak values")
    axes.spines[["top", "right", "left"]].set_visible(False)


def _date_ticks(axes: Axes) -> None:
    """Mark years, or months where there are few years."""
    first, last = axes.get_xlim()
    months = next((m for m in (1, 2, 3, 6, 12, 24, 60) if (last - first) * 12 <= 8 * m), 120)
    at = [n * months for n in range(int(first * 12 / months), int(last * 12 / months) + 1)]
    at = [month for month in at if first <= month / 12 <= last]
    words = [
        f"{month // 12}" if months % 12 == 0 else f"{month // 12}-{month % 12 + 1:02d}"
        for month in at
    ]
    axes.set_xticks([month / 12 for month in at], words)
