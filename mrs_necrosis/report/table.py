"""The ratios as a tidy table: one row per voxel and ratio, tab separated."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    "qc": "what became of the fit",
    "criterion": "scored criteria that look at this ratio, each with the side it takes",
    "verdict": "what the voxel favours, all criteria together",
}
"""Every column of ``ratios.tsv`` and what it holds: the data dictionary."""

MISSING = "n/a"


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
        return MISSING if value in {float("inf"), float("-inf")} else f"{value:.8g}"
    text = " ".join(str(value).split())
    return "'" + text if text[:1] in {"=", "+", "-", "@"} else text


def _rows(analysis: Analysis) -> Iterator[list[str]]:
    source = analysis.source.label or (analysis.source.sha256 or "")[:12]
    for row in ratio_rows(analysis):
        x, y, z = row.voxel or (None, None, None)
        snr, fwhm, qc = _quality(analysis, row.voxel)
        values = [
            source, x, y, z, row.name, row.value, row.sd, row.lower, row.upper,
            None if row.method is None else row.level, row.method, row.shape, row.correlation,
            row.status.value, row.bound, analysis.echo_time_s, snr, fwhm, qc,
            _criteria(analysis, row), _verdict(analysis),
        ]  # fmt: skip
        yield [
            # a negative number is a number, not a formula
            cell(value) if not isinstance(value, float) or value >= 0 else f"{value:.8g}"
            for value in values
        ]


def _quality(analysis: Analysis, voxel: Voxel) -> tuple[float | None, float | None, str | None]:
    quality = analysis.quality
    if quality is None:
        return None, None, None
    snr, fwhm = float(quality.snr[voxel]), float(quality.linewidth_hz[voxel])
    status = FitStatus(int(quality.status[voxel]))
    return (
        snr if snr == snr else None,
        fwhm if fwhm == fwhm else None,
        status.name.lower().replace("_", "-"),
    )


def _criteria(analysis: Analysis, row: Row) -> str | None:
    if analysis.assessment is None:
        return None
    found = [
        f"{finding.id}: {finding.favors.value}"
        for finding in analysis.assessment.findings
        if finding.scored and row.name in finding.expression
    ]
    return "; ".join(found) or None


def _verdict(analysis: Analysis) -> str | None:
    return None if analysis.assessment is None else analysis.assessment.favors.value
