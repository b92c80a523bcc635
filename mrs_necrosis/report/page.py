"""One self-contained HTML page for a human reader. It opens offline and prints well.

Everything that comes from a file is escaped, a content-security policy forbids scripts and any
request to elsewhere, and the figures are inline.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import mrs_necrosis
from mrs_necrosis.assessment import LABELS
from mrs_necrosis.quality import FitStatus
from mrs_necrosis.report.document import RESEARCH_USE
from mrs_necrosis.report.reporting import methods_paragraph, mrsinmrs_rows
from mrs_necrosis.report.rows import (
    DASH,
    finding_rows,
    finding_text,
    number,
    ratio_rows,
    snr_text,
)
from mrs_necrosis.report.text import (
    QUANTITY_WORDS,
    evidence_words,
    field_words,
    milliseconds,
    sides,
    size_words,
    source_words,
    unusable_words,
    verdict_words,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mrs_necrosis.analysis import Analysis
    from mrs_necrosis.assessment import Assessment, Finding

_PEAKS = ("LL", "Cho", "Cr", "NAA", "Lip13", "Lip09", "Lip20", "Lac", "mI", "Glx")
"""Shown where a fit has more peaks than a reader wants; the JSON has them all."""
_PICTURES = {
    "label.png": "What the published criteria favour in each voxel",
    "index.png": "Cho/NAA index: distance above the subject's own normal voxels, in standard "
    "deviations",
}


def to_html(
    analysis: Analysis,
    svgs: Mapping[str, str],
    *,
    pictures: Mapping[str, bytes] | None = None,
    grid_page: str = "grid.html",
    said: Mapping[str, str] | None = None,
) -> str:
    """Return the page.

    Parameters
    ----------
    analysis : Analysis
        What to show.
    svgs : mapping of str to str
        The figures ``"spectrum"`` and ``"evidence"``, where there are any.
    pictures : mapping of str to bytes, or None
        The grid's ``"label.png"`` and ``"index.png"`` or the voxel's ``"position.png"``.
    grid_page : str
        Link to the page of the grid.
    said : mapping of str to str, or None
        Values of the reporting table that the analysis does not know.

    Returns
    -------
    str
        HTML; the same text for the same analysis and versions.
    """
    voxel = analysis.first_voxel
    rows = list(ratio_rows(analysis, [voxel])) if analysis.is_single else []
    assessment = analysis.assessment
    lesion = None if analysis.grid_result is None else analysis.grid_result.lesion
    label = "grid of voxels"
    if assessment is not None or lesion is not None:
        label = (assessment or lesion).favors.value  # type: ignore[union-attr]
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            analysis=analysis,
            assessment=assessment,
            label=label,
            lesion=None if lesion is None else lesion.sentence,
            labels=_label_counts(analysis),
            pictures=[
                (_caption(name, analysis), base64.b64encode(content).decode())
                for name, content in (pictures or {}).items()
            ],
            grid_page=grid_page if analysis.grid_result is not None else "",
            evidence_words=evidence_words,
            verdict_words=verdict_words,
            unusable=unusable_words(assessment) if assessment else "",
            rows=rows,
            by_name=finding_rows(analysis) if assessment is not None else {},
            peaks=_peaks(analysis) if analysis.is_single else [],
            groups=_groups(assessment) if assessment else [],
            other=[f for f in assessment.findings if not f.is_scored] if assessment else [],
            quality=_quality(analysis),
            grid_counts=_grid_counts(analysis),
            header=_header(analysis),
            methods=methods_paragraph(analysis),
            mrsinmrs=mrsinmrs_rows(analysis, said),
            provenance=_flat(analysis.provenance),
            shown_voxel=", ".join(map(str, analysis.shown_voxel or ())),
            spectrum_figure=inline(
                svgs.get("spectrum", ""),
                "spectrum",
                "Spectrum with fit, baseline, residual and components",
            ),
            evidence_figure=inline(
                svgs.get("evidence", ""),
                "evidence",
                "Value of each ratio beside the published cut-offs",
            ),
            research_use=RESEARCH_USE,
            version=mrs_necrosis.__version__,
            percent=f"{100 * analysis.level:.0f} %",
            finding_value=finding_text,
            weight_words=_weight_words,
            cutoff_words=_cutoff_words,
        )
    )


def _caption(name: str, analysis: Analysis) -> str:
    place = analysis.placement
    if name != "position.png" or place is None:
        return _PICTURES[name]
    words = "The voxel (white)" if place.lesion is None else "Voxel (white) and lesion (yellow)"
    ground = "" if place.anatomy is None else " on the anatomy"
    if place.is_off_the_anatomy:
        ground = " outside the anatomy; check that both are in the scanner's space"
    said = f". {place.sentence}" if place.sentence else ""
    return f"{words}{ground}, in the planes through the voxel's centre{said}".removesuffix(".")


@cache
def environment() -> Environment:
    """Return the environment of the templates: everything is escaped, nothing is undefined."""
    environment = Environment(
        loader=PackageLoader("mrs_necrosis.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = number
    return environment


def checksum(text: str) -> str:
    """Return how a page's content-security policy names a script or style of its own."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def inline(svg: str, name: str, label: str) -> Markup:
    """Return one of our own figures as it stands inside a page, named for a screen reader."""
    # only our own figures come here, and matplotlib escapes the text in them
    drawing = svg[max(svg.find("<svg"), 0) :]
    # all figures call their groups axes_1 and the outline of a letter by its font: groups are
    # never referred to, and letters become those of this figure
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)
    drawing = re.sub(r'( id="|href="#|url\(#)', rf"\1{name}-", drawing)
    return Markup(drawing.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


def _label_counts(analysis: Analysis) -> list[tuple[int, str]]:
    """Return how many voxels of a grid got each label."""
    found = analysis.grid_assessment
    if found is None:
        return []
    return [(count, favors.value) for favors, count in found.counts().items() if count]


def _header(analysis: Analysis) -> list[tuple[str, str]]:
    acquisition = analysis.acquisition
    items = [("source", source_words(analysis.source))]
    if analysis.spectra is None:
        items.append(("values", QUANTITY_WORDS[analysis.areas.quantity]))
    items += [
        ("field", field_words(analysis.field_t)),
        ("echo time", milliseconds(analysis.echo_time_s)),
    ]
    if acquisition is not None:
        items += [
            ("repetition time", milliseconds(acquisition.repetition_time_s)),
            ("sequence", acquisition.sequence or "unknown"),
        ]
    if analysis.spectra is not None:
        items.append(("voxel", size_words(analysis.spectra.voxel_size_mm)))
        if not analysis.is_single:
            items.append(("grid", " x ".join(map(str, analysis.grid))))
    return items


def _peaks(analysis: Analysis) -> list[dict[str, str]]:
    areas, voxel = analysis.areas, analysis.first_voxel
    few = len(areas.names) <= len(_PEAKS)
    peaks = []
    for name in areas.names if few else [name for name in _PEAKS if name in areas]:
        sd = areas.sd(name)
        peaks.append(
            {
                "name": name,
                "area": _amount(areas.value(name)[voxel]),
                "sd": DASH if sd is None else _amount(sd[voxel]),
                "detected": "yes" if bool(areas.detected(name)[voxel]) else "no",
            }
        )
    return peaks


def _amount(value: Any) -> str:
    """Return an area as it is printed: whole numbers where it is large."""
    amount = float(value)
    if amount != amount:
        return DASH
    return f"{amount:.0f}" if abs(amount) >= 1000 else f"{amount:.4g}"


def _groups(assessment: Assessment) -> list[tuple[str, list[Finding]]]:
    by_side = sides(assessment.findings)
    return [(side.value, by_side[side]) for side in LABELS if side in by_side]


def _cutoff_words(finding: Finding) -> str:
    if finding.cutoff is None:
        return DASH
    return f"{finding.comparator} {finding.cutoff:.4g}".strip()


def _weight_words(finding: Finding) -> str:
    """Return what the finding adds to the logarithm of the likelihood ratio."""
    if finding.log_likelihood_ratio is None:
        return DASH
    sign = "\N{MINUS SIGN}" if finding.log_likelihood_ratio < 0 else "+"
    return f"{sign}{abs(finding.log_likelihood_ratio):.2f}"


def _quality(analysis: Analysis) -> list[tuple[str, str]]:
    quality = analysis.quality
    if quality is None or not analysis.is_single:
        return []
    voxel = analysis.first_voxel

    def words(name: str, form: str) -> str:
        value = float(getattr(quality, name)[voxel])
        return DASH if value != value else form.format(value)

    unexplained = words("unexplained_ppm", "{:.2f} ppm")
    return [
        ("signal to noise", snr_text(float(quality.snr[voxel]))),
        (
            "linewidth (FWHM)",
            f"{words('linewidth_hz', '{:.1f} Hz')}, {words('linewidth_ppm', '{:.3f} ppm')}",
        ),
        ("residual over noise", words("residual_ratio", "{:.2f}")),
        ("confidence of phase and shift", words("reference_confidence", "{:.2f}")),
        ("unexplained peak", "none" if unexplained == DASH else f"at {unexplained}"),
        ("fit", FitStatus(int(quality.status[voxel])).sentence),
    ]


def _grid_counts(analysis: Analysis) -> list[tuple[int, str]]:
    quality = analysis.quality
    if quality is None or analysis.is_single:
        return []
    counts = [(int((quality.status == status).sum()), status.sentence) for status in FitStatus]
    return [(count, sentence) for count, sentence in counts if count]


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested mappings as (dotted name, text) pairs."""
    if hasattr(value, "items"):
        return [
            pair
            for key, item in value.items()
            for pair in _flat(item, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, (list, tuple)) and any(hasattr(item, "items") for item in value):
        return [pair for i, item in enumerate(value, 1) for pair in _flat(item, f"{prefix}.{i}")]
    if isinstance(value, (list, tuple)):
        return [(prefix, ", ".join(map(str, value)))]
    return [(prefix, "none" if value is None else str(value))]
