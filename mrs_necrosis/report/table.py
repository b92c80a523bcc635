"""The ratios as a tidy table: one row per voxel and ratio, tab separated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mrs_necrosis.assessment import LABELS, Favors
from mrs_necrosis.constants import LL_PARTS
from mrs_necrosis.quality import FitStatus
from mrs_necrosis.report.rows import Row, ratio_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mrs_necrosis.analysis import Analysis, Voxel

COLUMNS = {
    "source": "first 12 digits of the input's SHA-256, or the label that the user gave",
    "x": "voxel index along X; n/a for a peak table",
    "y": "voxel index along Y",
    "z": "voxel index along Z",
    "ratio": "numerator/denominator; LL is lipid 1.3 + lipid 0.9 + lactate",
    "value": "the quotient of the two areas, without unit",
    "sd": "its first-order standard deviation, from the covariance of both areas",
    "ci_low": "lower end of the interval; n/a if there is none or it is infinite",
    "ci_high": "upper end of the interval; n/a if there is none or it is infinite",
    "level": "coverage of the interval",
    "method": "fieller or delta",
    "shape": "bounded, unbounded, two-piece (the set is outside the ends) or none",
    "corr": "correlation between the errors of the two areas",
    "status": "ok, below-detection, denominator-not-detected or not-evaluable",
    "bound": "one-sided bound where a peak is not detected: below it, or above it",
    "echo_time_s": "echo time in s",
    "snr": "tallest of NAA, Cr, Cho over the standard deviation of the noise",
    "fwhm_hz": "linewidth of the metabolites in Hz",
    "qc": "what became of the fit; of ratios with lipid or lactate also scalp-lipid or "
    "lipids-suppressed where these are not those of the tissue",
    "criterion": "scored criteria that look at this ratio, each with the side it takes",
    "verdict": "what the voxel favours, all criteria together",
}
"""Every column of ``ratios.tsv`` and what it holds: the data dictionary."""

MISSING = "n/a"

_FATTY = frozenset({"LL", "Lip", *LL_PARTS})
"""Peaks that scalp lipid and its suppression change."""


def to_tsv(analyses: Iterable[Analysis]) -> str:
    """Return a table of all voxels and ratios, with a header line.

    Parameters
    ----------
    analyses : iterable of Analysis
        One or more; their rows follow each other.

    Returns
    -------
    str
        Lines end with a line feed; a cell that a spreadsheet could take for a formula is
        prefixed with an apostrophe.
    """
    lines = ["\t".join(COLUMNS)]
    for analysis in analyses:
        lines += ["\t".join(cells) for cells in _rows(analysis)]
    return "\n".join(lines) + "\n"


def cell(value: object) -> str:
    """Return one cell: ``n/a`` for None, no tabs or line ends, never a formula."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, float):
        return f"{value:.8g}" if math.isfinite(value) else MISSING
    text = " ".join(str(value).split())
    return "'" + text if text[:1] in {"=", "+", "-", "@"} else text


def _rows(analysis: Analysis) -> Iterator[list[str]]:
    source = analysis.source.label or (analysis.source.sha256 or "")[:12]
    for row in ratio_rows(analysis):
        x, y, z = row.voxel or (None, None, None)
        snr, fwhm, qc = _quality(analysis, row)
        values = [
            source, x, y, z, row.name, row.value, row.sd, row.lower, row.upper,
            None if row.method is None else row.level, row.method, row.shape, row.correlation,
            row.status.value, row.bound, analysis.echo_time_s, snr, fwhm, qc,
            _criteria(analysis, row), _verdict(analysis, row.voxel),
        ]  # fmt: skip
        yield [cell(value) for value in values]


def _quality(analysis: Analysis, row: Row) -> tuple[float | None, float | None, str | None]:
    quality, voxel = analysis.quality, row.voxel
    if quality is None:
        return None, None, None
    words = [FitStatus(int(quality.status[voxel])).word]
    spectra = analysis.spectra
    if spectra is not None and not _FATTY.isdisjoint(row.name.split("/")):
        if spectra.scalp_lipid is not None and spectra.scalp_lipid[voxel]:
            words.append("scalp-lipid")
        if spectra.lipids_suppressed:
            words.append("lipids-suppressed")
    return float(quality.snr[voxel]), float(quality.linewidth_hz[voxel]), "; ".join(words)


def _criteria(analysis: Analysis, row: Row) -> str | None:
    if analysis.assessment is not None:
        sides = [
            (finding.id, finding.favors)
            for finding in analysis.assessment.findings
            if finding.is_scored and row.name in finding.expression
        ]
    elif analysis.grid_assessment is not None:
        sides = [
            (finding.id, LABELS[finding.codes[row.voxel]])
            for finding in analysis.grid_assessment.findings
            if row.name in finding.expression
        ]
    else:
        return None
    sides = [(name, side) for name, side in sides if side != Favors.NOT_EVALUABLE]
    return "; ".join(f"{name}: {side.value}" for name, side in sides) or None


def _verdict(analysis: Analysis, voxel: Voxel) -> str | None:
    if analysis.assessment is not None:
        return analysis.assessment.favors.value
    if analysis.grid_assessment is not None:
        return LABELS[analysis.grid_assessment.codes[voxel]].value
    return None
