"""A reliability figure: stated probabilities against what came true."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from mrs_necrosis.classifier import Reliability
from mrs_necrosis.report.figure import FAINT, GREY, INK, SERIES_COLOURS, STYLE, settle

_MARKERS = ("o", "s", "D", "^")


def reliability_figure(found: Mapping[str, Reliability], *, outcome: str = "recurrence") -> Figure:
    """Draw how often each stated probability came true.

    Parameters
    ----------
    found : mapping of str to Reliability
        By name of the model: one to four.
    outcome : str
        What the probabilities are of.

    Returns
    -------
    Figure
        Above, frequency against probability, with two standard deviations of chance; below, how
        many cases were in each bin. Ready for ``to_svg`` and ``to_png``.

    Raises
    ------
    ValueError
        If there is nothing to draw, or too much.
    """
    if not 1 <= len(found) <= len(SERIES_COLOURS):
        msg = f"a reliability figure shows one to {len(SERIES_COLOURS)} models; got {len(found)}"
        raise ValueError(msg)
    with rc_context(STYLE):
        figure = Figure(figsize=(4.4, 5.6), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1.0))
        top.plot([0, 1], [0, 1], color=FAINT, linewidth=1.2, zorder=0)
        for (name, one), colour, marker in zip(
            found.items(), SERIES_COLOURS, _MARKERS, strict=False
        ):
            used = one.count > 0
            label = f"{name} (calibration error {one.expected_calibration_error:.3f})"
            top.errorbar(
                one.probability[used], one.frequency[used], yerr=2 * one.frequency_sd[used],
                color=colour, marker=marker, markersize=4.5, linewidth=1.0, elinewidth=0.9,
                label=label,
            )  # fmt: skip
            bottom.stairs(one.count, one.edges, color=colour, linewidth=1.2)
        top.set_ylabel(f"frequency of {outcome}")
        top.set_xlim(0, 1)
        top.set_ylim(-0.02, 1.02)
        top.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2)
        bottom.set_ylabel("cases")
        bottom.set_ylim(bottom=0)
        bottom.set_xlabel(f"stated probability of {outcome}")
        bottom.set_xticks(np.linspace(0, 1, 6))
        for axes in (top, bottom):
            axes.tick_params(color=GREY, labelcolor=INK)
            axes.spines[["top", "right"]].set_visible(False)
        settle(figure)
    return figure
