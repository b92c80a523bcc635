"""One page for many acquisitions: a table to sort, quality at a glance, links to the reports.

It is drawn from the markers alone, opens offline, and its only script is named by checksum.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import mrs_necrosis
from mrs_necrosis.quality import QualityThresholds
from mrs_necrosis.report.document import RESEARCH_USE
from mrs_necrosis.report.rows import DASH, number, snr_text
from mrs_necrosis.report.text import milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

RATIOS = ("Cho/Cr", "Cho/NAA", "NAA/Cr", "LL/Cr")
COLUMNS = (
    "Acquisition", "Label", "Likelihood ratio", *RATIOS, "SNR", "Linewidth (Hz)", "TE",
    "Voxels",
)  # fmt: skip

_PLOT = {"width": 420, "height": 260, "left": 52, "right": 400, "top": 10, "bottom": 214}
_SNR_RANGE = (1.0, 1000.0)
_WIDTH_RANGE = (0.0, 0.15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the table, with what it is sorted by."""

    text: str
    sort: str = ""
    small: str = ""
    link: str = ""
    page: str = ""
    style: str = ""
    number: bool = False


def cohort_page(
    markers: Sequence[Mapping[str, Any]],
    *,
    title: str = "Proton MR spectroscopy of a cohort",
    up: str = "",
    tables: Iterable[str] = (),
) -> str:
    """Return the page.

    Parameters
    ----------
    markers : sequence of mapping
        One per acquisition, as ``*_desc-status.json`` holds it.
    title : str
        Its head.
    up : str
        Link to the page above; none if empty.
    tables : iterable of str
        Links to tables beside it.

    Returns
    -------
    str
        HTML; the same text for the same markers and version.
    """
    from mrs_necrosis.report.page import checksum, environment

    script = files("mrs_necrosis.report").joinpath("cohort.js").read_text("utf-8")
    has_grids = any("counts" in _summary(marker) for marker in markers)
    shown = len(COLUMNS) if has_grids else len(COLUMNS) - 1
    return (
        environment()
        .get_template("cohort.html.j2")
        .render(
            title=title,
            up=up,
            version=mrs_necrosis.__version__,
            research_use=RESEARCH_USE,
            is_mixed=_is_mixed(markers),
            counts=_counts(markers),
            quality=_quality(markers),
            points=_points(markers),
            plot=_plot(markers),
            columns=[(name, name not in {"Acquisition", "Label"}) for name in COLUMNS[:shown]],
            rows=[_row(marker, shown) for marker in markers],
            tables=list(tables),
            script=script,
            script_hash=checksum(script),
        )
    )


def _is_mixed(markers: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether acquisitions were analysed by different options or versions."""
    return len({m.get("options") for m in markers if m.get("state") == "done"}) > 1


def _summary(marker: Mapping[str, Any]) -> Mapping[str, Any]:
    summary = marker.get("summary")
    return summary if isinstance(summary, dict) else {}


def _favors(marker: Mapping[str, Any]) -> str:
    """Return the label, or what stands in its place."""
    if marker.get("state") != "done":
        return "failed" if marker.get("state") == "failed" else "unfinished"
    if "counts" in _summary(marker):
        return str(_summary(marker).get("lesion", "grid"))
    return str(_summary(marker).get("favors", DASH))


def _number(summary: Mapping[str, Any], name: str) -> float | None:
    value = summary.get(name)
    return float(value) if isinstance(value, (int, float)) else None


def _counts(markers: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    return sorted(Counter(_favors(marker) for marker in markers).items())


def _limits(markers: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return the limits of SNR and linewidth: the first's, as the page says if others differ."""
    shipped = QualityThresholds()
    told = [_summary(one) for one in markers if _number(_summary(one), "snr_fail") is not None]
    first = told[0] if told else {}
    return (
        first.get("snr_fail", shipped.snr_fail),
        first.get("linewidth_fail_ppm", shipped.linewidth_fail_ppm),
    )


def _quality(markers: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    rows = []
    for name, words, digits in (
        ("snr", "SNR", 0), ("linewidth_hz", "linewidth (Hz)", 1),
        ("linewidth_ppm", "linewidth (ppm)", 3),
    ):  # fmt: skip
        known = [_number(_summary(marker), name) for marker in markers]
        values = sorted(value for value in known if value is not None)
        if values:
            low, middle, high = (
                values[round(share * (len(values) - 1))] for share in (0.25, 0.5, 0.75)
            )
            text = f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
            rows.append((f"{words}, median and quartiles", text))
    snr_fail, linewidth_fail_ppm = _limits(markers)
    known = [_number(_summary(marker), "snr") for marker in markers]
    low_snr = sum(value < snr_fail for value in known if value is not None)
    known = [_number(_summary(marker), "linewidth_ppm") for marker in markers]
    broad = sum(value > linewidth_fail_ppm for value in known if value is not None)
    rows.append((f"SNR below {snr_fail:g}", str(low_snr)))
    rows.append((f"linewidth over {linewidth_fail_ppm:g} ppm", str(broad)))
    return rows


def _x(snr: float) -> float:
    low, high = (math.log10(end) for end in _SNR_RANGE)
    share = (min(max(math.log10(max(snr, 1e-9)), low), high) - low) / (high - low)
    return round(_PLOT["left"] + share * (_PLOT["right"] - _PLOT["left"]), 1)


def _y(linewidth_ppm: float) -> float:
    low, high = _WIDTH_RANGE
    share = (min(max(linewidth_ppm, low), high) - low) / (high - low)
    return round(_PLOT["bottom"] - share * (_PLOT["bottom"] - _PLOT["top"]), 1)


def _points(markers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    points = []
    for marker in markers:
        summary = _summary(marker)
        snr, linewidth = _number(summary, "snr"), _number(summary, "linewidth_ppm")
        if snr is not None and linewidth is not None:
            points.append({
                "name": marker.get("unit"), "favors": _favors(marker), "x": _x(snr),
                "y": _y(linewidth), "snr": snr_text(snr), "linewidth": f"{linewidth:.3f}",
            })  # fmt: skip
    return points


def _plot(markers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    snr_fail, linewidth_fail_ppm = _limits(markers)
    return {
        **_PLOT,
        "x_ticks": [(_x(10.0**power), f"{10**power}") for power in range(4)],
        "y_ticks": [(_y(value / 100), f"{value / 100:g}") for value in (0, 5, 10, 15)],
        "snr_limit": _x(snr_fail),
        "width_limit": _y(linewidth_fail_ppm),
    }


def _row(marker: Mapping[str, Any], shown: int) -> dict[str, Any]:
    summary, favors = _summary(marker), _favors(marker)
    files = marker.get("files", {}) if marker.get("state") == "done" else {}
    report = next((f for f in files if _is_report(f)), "")
    grid = next((f for f in files if re.search(r"(/|_desc-)grid[a-z]*(_mrs)?\.html$", f)), "")
    name = str(marker.get("unit", DASH))
    counts = summary.get("counts")
    spread = ""
    if isinstance(counts, dict):
        spread = ", ".join(f"{count} {label}" for label, count in counts.items() if count)
    remarks = [str(text) for text in (marker.get("message", ""), *marker.get("notes", ()))]
    ratios = summary.get("ratios", {})
    # a number beside "not-evaluable" would be read all the same
    is_judged = favors != "not-evaluable"
    weight = _number(summary, "likelihood_ratio") if is_judged else None
    cells = [
        Cell(text=name, sort=name, link=report, page=grid, small=" ".join(filter(None, remarks))),
        Cell(text=favors, sort=favors, small=spread, style=favors),
        _numeric(weight, "{:.3g}".format),
        *(_ratio(ratios.get(one, {})) for one in RATIOS),
        _numeric(_number(summary, "snr"), snr_text),
        _numeric(_number(summary, "linewidth_hz"), "{:.1f}".format),
        _numeric(_number(summary, "echo_time_s"), milliseconds),
        _numeric(_number(summary, "voxels"), "{:.0f}".format),
    ]
    return {"cells": cells[:shown], "failed": marker.get("state") != "done"}


def _is_report(file: str) -> bool:
    return file.endswith(("/report.html", "_mrs.html")) and "report" in file.rpartition("/")[2]


def _numeric(value: float | None, say: Callable[[float], str]) -> Cell:
    if value is None:
        return Cell(text=DASH, number=True)
    return Cell(text=say(value), sort=repr(value), number=True)


def _ratio(ratio: Mapping[str, Any]) -> Cell:
    if not ratio:
        return Cell(text=DASH, number=True)
    value = _number(ratio, "value")
    text, interval = str(ratio.get("text") or number(value)), str(ratio.get("interval", ""))
    small = "" if interval == DASH else interval
    if "not detected" in text:
        # "LL not detected, below 0.45": the bound in the place of the value
        words = sorted(text.split(", "), key=lambda part: "detected" in part)
        text, small = words[0] if len(words) == 2 else DASH, words[-1]
    return Cell(
        text=text,
        sort="" if value is None else repr(value),
        small=small,
        number=True,
    )
