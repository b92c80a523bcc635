"""Figures: the spectrum with its fit, and the case beside the published cut-offs.

Matplotlib is used without pyplot, so that nothing global changes. The same analysis gives the
same bytes: no date, no creator, fixed identifiers. Text from a file is never parsed as markup.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from mrs_necrosis.analysis import Analysis, Voxel
from mrs_necrosis.arguments import check_type
from mrs_necrosis.assessment import Favors
from mrs_necrosis.constants import PEAK_PPM
from mrs_necrosis.report.rows import finding_rows, finding_text, row_of
from mrs_necrosis.report.text import field_words, milliseconds, size_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from mrs_necrosis.assessment import Assessment, Finding
    from mrs_necrosis.fitting.result import Curves

PPM_RANGE = (4.2, 0.2)
"""Ends of the axis: chemical shift falls to the right, as everywhere in the field."""

# Okabe and Ito's colours, which colour-blind readers tell apart
INK, GREY, FAINT = "#1a1a1a", "#6e6e6e", "#d9d9d9"
FIT, BASELINE = "#d55e00", "#0072b2"
SERIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
SIDE_COLOUR = {
    Favors.NECROSIS: "#0072b2",
    Favors.RECURRENCE: "#d55e00",
    Favors.INDETERMINATE: "#6e6e6e",
    Favors.NOT_EVALUABLE: "#6e6e6e",
    Favors.MIXED: "#6e6e6e",
}

# Any: matplotlib types each key as a literal
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.linewidth": 0.8,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "lines.linewidth": 1.0,
    "svg.fonttype": "path",
    "axes.unicode_minus": True,
}
_DPI = 200
_GROUPS = {
    "mI": ("mI", "mIecho"), "Cho": ("Cho",), "Cr": ("Cr", "CrCH2"),
    "Glx": ("Glx", "Glu", "Gln", "Gluecho", "Glnecho"), "NAA": ("NAA", "NAAasp", "NAAecho"),
    "Lac": ("Lac", "LacCH"), "Lip": ("Lip13", "Lip09", "Lip20", "LL"),
}  # fmt: skip
_NAMED = ("mI", "Cho", "Cr", "NAA")


def spectrum(analysis: Analysis, voxel: Voxel | None = None) -> Figure:
    """Draw one voxel: data, fit, baseline, residual above, components below.

    Parameters
    ----------
    analysis : Analysis
        With a fit.
    voxel : tuple of int, optional
        Index along X, Y, Z; ``analysis.shown_voxel`` by default.

    Returns
    -------
    Figure
        Ready for ``to_svg`` and ``to_png``.

    Raises
    ------
    ValueError
        If the analysis has no fit, as that of a peak table, or no voxel could be fitted.

    Examples
    --------
    >>> from mrs_necrosis import analyze
    >>> from mrs_necrosis.simulation import sample_path
    >>> drawing = spectrum(analyze(sample_path("reference_case_te144.nii.gz")))
    >>> to_png(drawing)[1:4]
    b'PNG'
    """
    check_type("analysis", analysis, Analysis, "an Analysis, as analyze returns it")
    chosen = voxel if voxel is not None else analysis.shown_voxel
    if analysis.fit is None or chosen is None:
        msg = (
            "there is no spectrum to draw: the analysis is of a peak table, or nothing was fitted"
        )
        raise ValueError(msg)
    x, y, z = chosen
    curves = analysis.fit.curves((x, y, z))
    model = analysis.fit.model
    groups = grouped(curves, {one.name: one.area for one in model.components})
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 6.0), layout="constrained")
        rows = figure.subplots(
            3, 1, sharex=True, gridspec_kw={"height_ratios": (0.8, 4.0, 2.4), "hspace": 0.0}
        )
        residual, main, parts = rows
        _draw_residual(residual, curves)
        found = {name for name in analysis.areas.names if analysis.areas.detected(name)[x, y, z]}
        _draw_main(main, curves, found)
        _draw_components(parts, groups, curves.ppm)
        for axes in rows:
            axes.set_yticks([])
            axes.spines[["top", "left", "right"]].set_visible(False)
        for axes in rows[:-1]:
            axes.spines["bottom"].set_visible(False)
            axes.tick_params(which="both", bottom=False)
        parts.set_xlim(*PPM_RANGE)
        parts.set_xticks(np.arange(4.0, 0.2, -0.5))
        parts.set_xticks(np.arange(4.2, 0.15, -0.1), minor=True)
        parts.set_xlabel("chemical shift (ppm)")
        residual.set_title(_title(analysis, chosen), loc="left", fontsize=9, parse_math=False)
        settle(figure)
    return figure


def settle(figure: Figure) -> None:
    """Lay a figure out, and keep the layout."""
    # room for letters that are a little wider at another resolution
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.05)
    # the layout solver's last bits change from run to run; rounded positions do not
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        edges = np.round(axes.get_position().extents, 4)
        axes.set_position(Bbox.from_extents(*edges))


def _title(analysis: Analysis, voxel: Voxel) -> str:
    acquisition = analysis.acquisition
    words = [] if analysis.is_single else [f"voxel {', '.join(map(str, voxel))}"]
    words += [acquisition.sequence] if acquisition is not None and acquisition.sequence else []
    words += [field_words(analysis.field_t), f"TE {milliseconds(analysis.echo_time_s)}"]
    if acquisition is not None and acquisition.repetition_time_s is not None:
        words.append(f"TR {milliseconds(acquisition.repetition_time_s)}")
    size = analysis.spectra.voxel_size_mm if analysis.spectra is not None else None
    if size is not None:
        words.append(size_words(size))
    return ",  ".join(words)


def _inside(ppm: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (ppm <= PPM_RANGE[0]) & (ppm >= PPM_RANGE[1])


def _draw_residual(axes: Axes, curves: Curves) -> None:
    axes.plot(curves.ppm, curves.residual.real, color=GREY, linewidth=0.7)
    axes.axhline(0.0, color=FAINT, linewidth=0.6, zorder=0)
    axes.set_ylabel("residual", rotation=0, ha="right", va="center")
    shown = np.abs(curves.residual.real[_inside(curves.ppm)])
    height = float(np.nanmax(shown, initial=0.0)) or 1.0
    axes.set_ylim(-1.2 * height, 1.2 * height)


def _draw_main(axes: Axes, curves: Curves, found: set[str]) -> None:
    axes.plot(curves.ppm, curves.data.real, color=INK, linewidth=0.8, label="data")
    axes.plot(curves.ppm, curves.fit.real, color=FIT, linewidth=1.3, label="fit")
    axes.plot(curves.ppm, curves.baseline.real, color=BASELINE, linewidth=1.0, label="baseline")
    inside = _inside(curves.ppm)
    data, ppm = curves.data.real[inside], curves.ppm[inside]
    shown = np.concatenate([data, curves.fit.real[inside], curves.baseline.real[inside]])
    top, bottom = float(np.nanmax(shown)), float(np.nanmin(shown))
    room = 0.12 * (top - bottom)
    axes.set_ylim(bottom - 0.5 * room, top + 2.2 * room)
    for text, centre, width in _peak_labels(found):
        near = np.abs(ppm - centre) < width
        if near.any():
            height = float(np.nanmax(np.where(near, data, -np.inf)))
            axes.annotate(
                text, (centre, height), (0, 5), textcoords="offset points",
                ha="center", va="bottom", fontsize=9, fontweight="bold",
            )  # fmt: skip
    axes.legend(frameon=False, loc="upper left", ncols=3, handlelength=1.6, borderaxespad=0.2)


def _peak_labels(found: set[str]) -> list[tuple[str, float, float]]:
    """Return name, place and half width of the peaks that were detected."""
    labels = [(name, PEAK_PPM[name], 0.06) for name in _NAMED if name in found]
    if "LL" in found:
        labels.append(("LL", PEAK_PPM["Lip13"] + 0.02, 0.12))
    return labels


def _draw_components(
    axes: Axes, groups: Mapping[str, NDArray[np.float64]], ppm: NDArray[np.float64]
) -> None:
    heights = {name: float(np.abs(curve[_inside(ppm)]).max()) for name, curve in groups.items()}
    tallest = max(heights.values(), default=0.0) or 1.0
    step, level, lowest = 0.34 * tallest, 0.0, 0.0
    for name, curve in groups.items():
        axes.axhline(level, color=FAINT, linewidth=0.5, zorder=0)
        axes.plot(ppm, curve + level, color=INK, linewidth=0.9)
        axes.text(
            1.005, level, name, transform=axes.get_yaxis_transform(), va="center", fontsize=7.5,
            parse_math=False,
        )  # fmt: skip
        lowest = min(lowest, level + float(curve[_inside(ppm)].min()))
        level -= step
    axes.set_ylim(min(level + 0.4 * step, lowest - 0.1 * step), tallest * 1.05)
    axes.set_ylabel("components", rotation=0, ha="right", va="center")


def grouped(curves: Curves, area_of: Mapping[str, str]) -> dict[str, NDArray[np.float64]]:
    """Return the curves of a fit by the peak that they belong to.

    Parameters
    ----------
    curves : Curves
        One curve per amplitude of the model.
    area_of : mapping of str to str
        The area that each amplitude counts towards; its own name by default.

    Returns
    -------
    dict of str to ndarray of float64, shape (M,)
        Real parts, in the order in which they are drawn: what is drawn together is added up,
        so that the groups and the baseline still make up the fit.
    """
    groups: dict[str, NDArray[np.float64]] = {}
    for name, curve in curves.components.items():
        peak = area_of.get(name) or name
        group = next((g for g, members in _GROUPS.items() if peak in members), "")
        if not group:
            group = "MM" if peak.startswith("MM") else "other"
        groups[group] = groups.get(group, np.zeros(curve.shape)) + curve.real
    return {name: groups[name] for name in (*_GROUPS, "MM", "other") if name in groups}


def has_evidence(assessment: Assessment) -> bool:
    """Return whether there is a finding with a value and a cut-off that can be drawn."""
    return bool(_drawable(assessment))


def _drawable(assessment: Assessment) -> list[Finding]:
    return [
        finding
        for finding in assessment.findings
        if finding.is_scored
        and finding.cutoff is not None
        and finding.value is not None
        and finding.cutoff > 0
        and finding.value > 0
    ]


def evidence(analysis: Analysis) -> Figure:
    """Draw the case's value and interval beside the cut-off of every scored criterion.

    Parameters
    ----------
    analysis : Analysis
        With an assessment that has at least one such criterion.

    Returns
    -------
    Figure
        One row per criterion, on a logarithmic axis.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    findings = [] if analysis.assessment is None else _drawable(analysis.assessment)
    if not findings:
        msg = "there is no criterion with a value and a cut-off to draw"
        raise ValueError(msg)
    rows = finding_rows(analysis)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.9 + 0.27 * len(findings)), layout="constrained")
        axes = figure.subplots()
        for height, finding in enumerate(reversed(findings)):
            assert finding.value is not None
            assert finding.cutoff is not None
            colour = SIDE_COLOUR[finding.favors]
            row = row_of(finding, rows)
            if row is not None and row.shape == "bounded" and row.lower and row.upper:
                # a logarithmic axis has no place below zero
                axes.plot([max(row.lower, 1e-3), row.upper], [height] * 2, color=colour,
                          linewidth=2.2, alpha=0.45, solid_capstyle="butt")  # fmt: skip
            axes.plot([finding.cutoff] * 2, [height - 0.33, height + 0.33], color=INK,
                      linewidth=1.6)  # fmt: skip
            axes.plot([finding.value], [height], _marker(finding), color=colour, markersize=5.5)
            axes.text(1.02, height, finding_text(finding, rows), va="center", fontsize=7.5,
                      transform=axes.get_yaxis_transform(), color=INK)  # fmt: skip
        axes.set_xscale("log")
        axes.set_yticks(range(len(findings)))
        axes.set_yticklabels([f.statement for f in reversed(findings)], parse_math=False)
        axes.set_ylim(-0.7, len(findings) - 0.3)
        _log_ticks(axes)
        axes.set_xlabel("value of the ratio (logarithmic)")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.grid(axis="y", color=FAINT, linewidth=0.5)
        axes.set_axisbelow(True)
        keys = [
            Line2D([], [], marker="o", linestyle="", markersize=5.5, color=SIDE_COLOUR[side],
                   label=side.value)
            for side in (Favors.NECROSIS, Favors.RECURRENCE)
        ]  # fmt: skip
        if any(finding.is_bound for finding in findings):
            keys.append(Line2D([], [], marker="<", linestyle="", markersize=5.5, color=INK,
                               label="bound: a peak is not detected"))  # fmt: skip
        keys.append(Line2D([], [], marker="|", linestyle="", markersize=9, markeredgewidth=1.6,
                           color=INK, label="published cut-off"))  # fmt: skip
        figure.legend(handles=keys, loc="outside upper center", ncols=len(keys), frameon=False)
        settle(figure)
    return figure


def _marker(finding: Finding) -> str:
    """Return a dot, or an arrow to the side on which the true value of a bound lies."""
    if not finding.is_bound or finding.value is None or finding.cutoff is None:
        return "o"
    return ">" if finding.value > finding.cutoff else "<"


def _log_ticks(axes: Axes) -> None:
    low, high = axes.get_xlim()
    ticks = [
        t
        for t in (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 50)
        if low <= t <= high
    ]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def to_svg(figure: Figure, name: str) -> str:
    """Return a figure as SVG text.

    Parameters
    ----------
    figure : Figure
        From this module.
    name : str
        Makes the identifiers inside distinct from those of other figures on the same page.

    Returns
    -------
    str
        Without date or creator.
    """
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with rc_context({**STYLE, "svg.hashsalt": f"mrs-necrosis {name}"}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    return buffer.getvalue()


def to_png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file, at 200 dots per inch."""
    buffer = io.BytesIO()
    with rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
