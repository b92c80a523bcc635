"""What the terminal shows: ratios, the label, what speaks for and against it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from mrs_necrosis.assessment import Favors
from mrs_necrosis.quality import FitStatus
from mrs_necrosis.report.rows import (
    DASH,
    finding_rows,
    finding_text,
    number,
    ratio_rows,
    snr_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mrs_necrosis.analysis import Analysis, Source, Voxel
    from mrs_necrosis.assessment import Assessment, Evidence, Finding, Gate
    from mrs_necrosis.quality import Quality
    from mrs_necrosis.report.rows import Row
    from mrs_necrosis.spectra import Step

WIDTH = 96
_OF_QUALITY = frozenset({
    "unsuppressed-water", "reference", "fit", "snr", "linewidth", "residual", "area-sd",
    "unexpected-peak", "upright", "macromolecules",
})  # fmt: skip
QUANTITY_WORDS = {"area": "areas", "height": "heights", "molar": "concentrations"}
RESEARCH_LINE = "Research use only. Not a diagnosis, not a medical device."


def summary(analysis: Analysis) -> str:
    """Return the analysis as text for a terminal, at most 96 columns wide."""
    parts = [headline(analysis)]
    if analysis.spectra is not None:
        parts += [wrap(step.note) for step in analysis.spectra.history if _is_odd(step)]
    if analysis.is_single:
        if analysis.quality is not None:
            parts.append(quality_line(analysis.quality, analysis.first_voxel))
        if analysis.assessment is not None:
            parts.append(wrap(unusable_words(analysis.assessment)))
        parts.append(ratio_table(analysis))
    else:
        parts.append(_grid_counts(analysis))
    if analysis.fit is not None:
        parts += [wrap(note) for note in analysis.fit.notes]
    if analysis.assessment is not None:
        parts.append(_assessment(analysis.assessment, finding_rows(analysis)))
    parts.append(RESEARCH_LINE)
    return "\n\n".join(part for part in parts if part)


def _is_odd(step: Step) -> bool:
    """Whether a step tells what a user did not expect of the data."""
    return step.name in {"read", "reject_averages"} or step.parameters.get("applied") is False


def source_words(source: Source) -> str:
    """Return the source in words, such as ``"NIfTI-MRS, sha256 6cdf…"``."""
    name = f"{source.label}: " if source.label else ""
    checksum = f", sha256 {source.sha256[:12]}" if source.sha256 else ""
    return f"{name}{source.format}{checksum}"


def headline(analysis: Analysis) -> str:
    """Return one line on what was measured."""
    words = [source_words(analysis.source)]
    if analysis.areas.quantity != "area":
        words.append(QUANTITY_WORDS[analysis.areas.quantity])
    acquisition = analysis.acquisition
    if acquisition is not None and acquisition.sequence:
        words.append(acquisition.sequence)
    words.append(f"field {field_words(analysis.field_t)}")
    words.append(f"TE {milliseconds(analysis.echo_time_s)}")
    if acquisition is not None:
        words.append(f"TR {milliseconds(acquisition.repetition_time_s)}")
    return wrap(", ".join(words))


def field_words(field_t: float | None) -> str:
    """Return a field strength as it is printed."""
    return "unknown" if field_t is None else f"{field_t:.3g} T"


def milliseconds(time_s: float | None) -> str:
    """Return a time as it is printed, in ms."""
    return "unknown" if time_s is None else f"{time_s * 1e3:.4g} ms"


def size_words(size_mm: Sequence[float] | None) -> str:
    """Return the edges of a voxel as they are printed."""
    if size_mm is None:
        return "unknown"
    return " x ".join(f"{edge:.3g}" for edge in size_mm) + " mm"


def quality_line(quality: Quality, voxel: Voxel) -> str:
    """Return SNR, linewidth, residual and status of one voxel in one line."""
    at = quality.voxel(voxel) if len(voxel) == 3 else quality
    status = FitStatus(int(at.status.flat[0]))
    words = (
        f"SNR {snr_text(float(at.snr.flat[0]))}, linewidth {at.linewidth_hz.flat[0]:.1f} Hz, "
        f"residual {at.residual_ratio.flat[0]:.2f} x noise; {status.sentence}"
    )
    return wrap(words.replace("nan", DASH) + ".")


def evidence_words(evidence: Evidence) -> str:
    """Return the weight of the evidence in one sentence without its full stop."""
    if evidence.likelihood_ratio is None:
        return "no criterion could be evaluated"
    words = f"likelihood ratio {evidence.likelihood_ratio:.3f}"
    if evidence.interval is not None:
        low, high = evidence.interval
        words += f" ({low:.3f} to {high:.3f})"
    if evidence.posterior is not None:
        words += (
            f", probability of recurrence {evidence.posterior:.2f} "
            f"for a prior of {evidence.prior:.2g}"
        )
    return words


def verdict_words(assessment: Assessment) -> str:
    """Return what stands beside the label, without full stop: the evidence, or why there is none.

    A number beside "not-evaluable" would be read all the same.
    """
    reason = closing_gate(assessment)
    if reason is not None:
        return reason.sentence.rstrip(".")
    alone, combined = assessment.evidence, assessment.combined
    if combined is None:
        return evidence_words(alone)
    # the number beside the label is the one that decided it
    label = "" if alone.favors is None else f"{alone.favors.value}, "
    return (
        f"{evidence_words(combined)}, with the other examinations; "
        f"spectroscopy alone: {label}{evidence_words(alone)}"
    )


def closing_gate(assessment: Assessment) -> Gate | None:
    """Return the first gate that makes the case not evaluable, if one does."""
    if assessment.favors is not Favors.NOT_EVALUABLE:
        return None
    closed = (gate for gate in assessment.gates if not gate.is_open)
    return next((gate for gate in closed if gate.gives is Favors.NOT_EVALUABLE), None)


def unusable_words(assessment: Assessment) -> str:
    """Return why the fitted numbers are not to be used; nothing if they are."""
    failed = failed_checks(assessment)
    if not failed:
        return ""
    return f"These numbers are not to be used: the spectrum failed the check of {failed[0]}."


def failed_checks(assessment: Assessment) -> tuple[str, ...]:
    """Return the names of the checks of quality that the spectrum failed."""
    return tuple(
        gate.name for gate in assessment.gates if not gate.is_open and gate.name in _OF_QUALITY
    )


def sides(findings: Iterable[Finding]) -> dict[Favors, list[Finding]]:
    """Return the scored findings by the side that they take."""
    by_side: dict[Favors, list[Finding]] = {}
    for finding in findings:
        if finding.is_scored:
            by_side.setdefault(finding.favors, []).append(finding)
    return by_side


def _assessment(assessment: Assessment, rows: Mapping[str, Row]) -> str:
    reason = closing_gate(assessment)
    verdict = verdict_words(assessment) if reason is None else reason.sentence
    lines = [wrap(f"{assessment.favors.value.upper()}: {verdict}")]
    for side, findings in sides(assessment.findings).items():
        lines.append(f"  {side.value} ({len(findings)})")
        lines += [wrap(_said(finding, rows), "    ") for finding in findings]
    others = [f for f in assessment.findings if f.kind != "spectroscopy" and not f.is_scored]
    if others:
        lines.append("  shown, not scored")
        lines += [
            wrap(f"{finding.kind.replace('mri', 'MRI')}: {_said(finding, rows)}", "    ")
            for finding in others
        ]
    closed = [gate for gate in assessment.gates if not gate.is_open and gate is not reason]
    withheld = "also" if reason else "withheld because"
    for title, gates in (
        (withheld, [gate for gate in closed if gate.gives is not None]),
        ("counts less because", [gate for gate in closed if gate.gives is None]),
    ):
        if gates:
            lines.append(f"  {title}")
            lines += [wrap(gate.sentence, "    - ") for gate in gates]
    said = {gate.sentence for gate in closed}
    caveats = [caveat for caveat in assessment.caveats if caveat not in said]
    if caveats:
        lines.append("  mind")
        lines += [wrap(caveat, "    - ") for caveat in caveats]
    return "\n".join(lines)


def _said(finding: Finding, rows: Mapping[str, Row]) -> str:
    value = "" if finding.value is None else f": {finding_text(finding, rows)}"
    return f"{finding.words}{value}"


def ratio_table(analysis: Analysis) -> str:
    """Return the ratios of a single voxel, one a line."""
    rows = list(ratio_rows(analysis))
    if not rows:
        return ""
    percent = f"{100 * analysis.level:.0f} % interval"
    lines = [f"  {'ratio':<9}{'value':>8}{'sd':>9}   {percent}"]
    for row in rows:
        if row.status.value != "ok":
            lines.append(f"  {row.name:<9}  {row.value_text}")
            continue
        lines.append(
            f"  {row.name:<9}{number(row.value):>8}{number(row.sd):>9}   {row.interval_text}"
        )
    return "\n".join(lines)


def _grid_counts(analysis: Analysis) -> str:
    quality = analysis.quality
    words = f"grid of {' x '.join(map(str, analysis.grid))} voxels"
    if quality is None:
        return words
    lines = [words]
    for status in FitStatus:
        count = int((quality.status == status).sum())
        if count:
            lines.append(f"  {count:>6}  {status.sentence}")
    if analysis.grid_assessment is not None:
        lines.append("of which the published criteria call")
        for favors, count in analysis.grid_assessment.counts().items():
            lines.append(f"  {count:>6}  {favors.value}")
        withheld = {
            name: int(closed.sum())
            for name, closed in analysis.grid_assessment.closed.items()
            if name in analysis.grid_assessment.withholding and closed.any()
        }
        if withheld:
            most = sorted(withheld.items(), key=lambda item: -item[1])
            lines.append(wrap("withheld by: " + ", ".join(f"{n} ({c})" for n, c in most)))
    if analysis.grid_result is not None:
        lines += ["", *(wrap(note, "  - ") for note in analysis.grid_result.notes)]
        if analysis.grid_result.lesion is not None:
            lines += ["", wrap(analysis.grid_result.lesion.sentence)]
    return "\n".join(lines)


def wrap(text: str, bullet: str = "") -> str:
    """Return a text in lines of a terminal's width."""
    return textwrap.fill(text, WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet))
