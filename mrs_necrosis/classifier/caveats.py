"""What limits an assessment, and what would change it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier.context import (
    NARLOCH_MONTHS,
    NARLOCH_PRIORS,
    prior_after_radiosurgery,
    share_words,
)
from mrs_necrosis.criteria import LIPID_FAMILY, populations_of, te_class
from mrs_necrosis.errors import joined
from mrs_necrosis.quality import FitStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from mrs_necrosis.assessment import Assessment, Finding
    from mrs_necrosis.classifier.case import Case
    from mrs_necrosis.classifier.scoring import Scoring

SMALL_STUDIES: Final = (
    "Published cut-offs come from small studies that mostly tuned and tested them on the same "
    "patients; this is a calculation for research and does not replace imaging follow-up or "
    "histology."
)


_MOSTLY: Final = 0.9
"""Share of a voxel from which on the tissue beside the lesion is not worth a word (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """What the words need beside the assessment itself."""

    case: Case
    lipid_scenarios: tuple[tuple[float, float, float], ...]
    lactate_scenarios: tuple[tuple[float, float], ...]
    together: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
    """From the log-likelihood ratio of spectroscopy to that with the other examinations."""

    @property
    def with_lipid_under_naa(self) -> list[tuple[float, float, float]]:
        """The scenarios of lipid in which there is some."""
        return [one for one in self.lipid_scenarios if one[0] > 0]

    def all_together(self, ratio: float) -> float:
        """Return the likelihood ratio that decides, for one of spectroscopy."""
        if self.together is None:
            return ratio
        return float(np.exp(self.together(np.log(ratio))))


def caveats(found: Assessment, facts: Facts) -> tuple[str, ...]:
    """Return the sentences that limit an assessment.

    Parameters
    ----------
    found : Assessment
        Without words yet.
    facts : Facts
        Scenarios and what was given.

    Returns
    -------
    tuple of str
        In the order of their weight.
    """
    return tuple(
        sentence
        for source in (
            _uncertainty_caveats(found, facts),
            _scenario_caveats(found, facts),
            _acquisition_caveats(facts),
            _quality_caveats(facts),
            _case_caveats(found, facts),
            _evidence_caveats(found, facts),
            (
                gate.sentence
                for gate in found.gates
                if gate.name == "sampling" and not gate.is_open
            ),
            (SMALL_STUDIES,),
        )
        for sentence in source
    )


def _uncertainty_caveats(found: Assessment, facts: Facts) -> Iterable[str]:
    if facts.case.areas.covariance is None:
        yield (
            "No uncertainty is reported for the peaks: whether the label holds within their "
            "error could not be checked."
        )
    for gate in found.gates:
        if gate.name == "absent-peaks" and not gate.is_open:
            yield gate.sentence


class LipidUnderNAA(NamedTuple):
    """What the conclusion comes to where some of NAA is lipid at 2.0 ppm."""

    ratios: list[float]
    """The likelihood ratio that decides, for less to more lipid."""
    verdict: str
    is_survived: bool


def lipid_under_naa(found: Assessment, facts: Facts) -> LipidUnderNAA | None:
    """Return what lipid under NAA could change; None if nothing, or there is no conclusion."""
    ratio, changed = found.evidence.likelihood_ratio, facts.with_lipid_under_naa
    if ratio is None or found.favors == Favors.NOT_EVALUABLE:
        return None
    if not changed or max(lost for _, lost, _ in changed) < 0.01:
        return None
    label = label_of(facts.all_together(ratio), facts.case.scoring)
    ratios = [facts.all_together(lr) for _, _, lr in changed]
    held = [label_of(lr, facts.case.scoring) == label for lr in ratios]
    if label != "indeterminate" and found.favors == Favors.INDETERMINATE:
        return LipidUnderNAA(ratios, "no label is given in any case", is_survived=True)
    if all(held):
        return LipidUnderNAA(ratios, "the conclusion does not change", is_survived=True)
    all_of = " all of" if any(held) else ""
    return LipidUnderNAA(ratios, f"the conclusion does not survive{all_of} it", is_survived=False)


def _scenario_caveats(found: Assessment, facts: Facts) -> Iterable[str]:
    lipid = lipid_under_naa(found, facts)
    if lipid is not None:
        changed = facts.with_lipid_under_naa
        lost = [min(lost, 1.0) for _, lost, _ in changed]
        ratios = ", ".join(number(lr) for _, _, lr in changed)
        if facts.together is not None:
            both = ", ".join(map(number, lipid.ratios))
            ratios = f"of spectroscopy {ratios}, with the other examinations {both}"
        assumed = ""
        if "Lip13" not in facts.case.areas:
            shares = ", ".join(f"{share:g}" for share, _, _ in changed)
            assumed = f" (lipid 2.0 over 1.3 of {shares}; upper bounds, all of LL taken as lipid)"
        yield (
            f"Lipid at 2.0 ppm may lie under NAA: taking away {100 * lost[0]:.0f} to "
            f"{100 * lost[-1]:.0f} % of NAA{assumed} makes the likelihood ratio {ratios}; "
            f"{lipid.verdict}."
        )
    if found.evidence.likelihood_ratio is None or found.favors == Favors.NOT_EVALUABLE:
        return
    each = [lr for _, lr in facts.lactate_scenarios]
    if each and max(each) > 1.01 * min(each):
        yield (
            "How much of LL is lactate is unknown: from none to all of it, the likelihood ratio "
            f"runs from {number(min(each))} to {number(max(each))}."
        )


def _acquisition_caveats(facts: Facts) -> Iterable[str]:
    acquisition = facts.case.acquisition
    te = None if acquisition is None else acquisition.echo_time_s
    tesla = None if acquisition is None else acquisition.field_t
    if te is None:
        yield (
            "The echo time is unknown: ratios of LL do not transfer between echo times, and "
            "Cho/Cr differs by some 20 % between 30 and 144 ms."
        )
    elif te_class(te) == "between":
        yield f"No criterion was measured near this echo time ({te * 1e3:.4g} ms)."
    if tesla is None:
        yield "The field strength is unknown."
    elif tesla > 2.5:
        yield (
            "At this field choline and lipid are excited in shifted volumes (1.9 ppm apart): the "
            "bandwidth of the pulses is not known here, so LL and Cho may come from partly "
            "different tissue."
        )
    if facts.case.areas.quantity == "height":
        yield "Peak heights were judged; they favour narrow peaks and underrate lactate and lipid."


def _quality_caveats(facts: Facts) -> Iterable[str]:
    limit, quality = facts.case.thresholds, facts.case.quality
    if quality is not None:
        snr, width = float(quality.snr.flat[0]), float(quality.linewidth_ppm.flat[0])
        residual = float(quality.residual_ratio.flat[0])
        other = float(quality.unexplained_ppm.flat[0])
        if limit.snr_fail <= snr < limit.snr_warn:
            yield f"The SNR is low ({snr:.1f}, below {limit.snr_warn:g})."
        if limit.linewidth_warn_ppm < width <= limit.linewidth_fail_ppm:
            yield f"The lines are broad ({width:.3f} ppm, above {limit.linewidth_warn_ppm:g})."
        if limit.residual_warn < residual <= limit.residual_fail:
            yield f"The fit leaves more than noise ({residual:.1f} times the noise)."
        if quality.reference_confidence is not None:
            sure = float(quality.reference_confidence.flat[0])
            if limit.reference_fail <= sure < limit.reference_warn:
                yield (
                    f"The chemical shift is not quite certain (confidence {sure:.2f}): look at "
                    "the figure whether the peaks bear the right names."
                )
        if quality.status.flat[0] == FitStatus.AT_BOUND:
            yield f"{FitStatus.AT_BOUND.sentence.capitalize()}."
        if math.isfinite(other):
            yield f"The spectrum holds a strong peak at {other:.2f} ppm that the model lacks."
    wide = []
    for name in ("Cho", "Cr", "NAA"):
        if name not in facts.case.areas or facts.case.areas.covariance is None:
            continue
        value, sd = float(facts.case.areas.value(name)[0]), facts.case.areas.sd(name)
        if sd is not None and value > 0 and limit.area_sd_warn * value < sd[0] <= value / 3:
            wide.append(f"{name} ({100 * sd[0] / value:.0f} %)")
    if wide:
        yield f"Measured with an sd above {100 * limit.area_sd_warn:.0f} %: {', '.join(wide)}."


def _case_caveats(found: Assessment, facts: Facts) -> Iterable[str]:
    context = facts.case.context
    known = sorted(
        {name for one in facts.case.criteria for name in one.criterion.applies_to.population}
    )
    if context.population is not None and not populations_of(context.population) & set(known):
        yield (
            "No criterion was measured in the population that was given, so each counts less; "
            f"known are {joined(known)}."
        )
    share = context.lesion_share
    if share is not None and facts.case.scoring.least_lesion_share <= share < _MOSTLY:
        yield (
            f"The lesion fills {share_words(share)} of the voxel: the ratios are pulled towards "
            "those of the tissue beside it."
        )
    if context.post_contrast:
        yield "Acquired after contrast agent, which can change choline's line."
    if context.contralateral is not None:
        yield from _contralateral_caveats(facts)
    months = context.months_since_irradiation
    if found.evidence.prior in NARLOCH_PRIORS and context.population is None:
        yield (
            "The prior is that of metastases after radiosurgery (Narloch 2017); whether this is "
            "one was not said."
        )
    if months is not None and "metastasis" in populations_of(context.population or ""):
        when = "up to" if months <= NARLOCH_MONTHS else "more than"
        is_used = found.evidence.prior == prior_after_radiosurgery(months)
        use = "that is the prior here" if is_used else "that can serve as the prior"
        yield (
            f"Of enlarging metastases biopsied {when} {NARLOCH_MONTHS:g} months after "
            f"radiosurgery, {100 * prior_after_radiosurgery(months):.0f} % held tumour "
            f"(Narloch 2017, 35 lesions): {use}."
        )


def _contralateral_caveats(facts: Facts) -> Iterable[str]:
    other = facts.case.context.contralateral
    if other is None or not all(p in other and p in facts.case.areas for p in ("Cho", "Cr")):
        return
    flat = dict(zip(other.names, other.values.reshape(-1), strict=True))
    cho, cr = float(facts.case.areas.value("Cho")[0]), float(facts.case.areas.value("Cr")[0])
    if not (flat["Cho"] > 0 and flat["Cr"] > 0):
        return
    yield (
        f"Against the other side, Cho is {cho / flat['Cho']:.2f} of its Cho and "
        f"{cho / flat['Cr']:.2f} of its Cr, and Cr is {cr / flat['Cr']:.2f} of its Cr."
    )
    if cr < 0.7 * flat["Cr"]:
        yield (
            "Cr is below 0.7 of the other side, which raises Cho/Cr without any rise of choline "
            "(Chan 1999)."
        )


def _conversion_caveats(found: Assessment, facts: Facts) -> Iterable[str]:
    scored = {finding.id for finding in found.findings if finding.is_scored}
    for one in facts.case.criteria:
        criterion = one.criterion
        is_molar = criterion.quantity == "molar"
        if criterion.id not in scored or is_molar == (facts.case.areas.quantity == "molar"):
            continue
        label = criterion.label
        if label.endswith((" of areas", " molar")):  # what was converted of it
            label = label.rpartition(", ")[0]
        words = ("molar", "areas") if is_molar else ("one of areas", "concentrations")
        for each in criterion.any_of:
            if not each.has_protons:
                yield (
                    f"The cut-off of {label} for {each.expression} is "
                    f"{words[0]} and cannot be converted to {words[1]}; it is used as it stands."
                )


def _evidence_caveats(found: Assessment, facts: Facts) -> Iterable[str]:
    ratio = found.evidence.likelihood_ratio
    if ratio is None or found.favors == Favors.NOT_EVALUABLE:
        return
    limit = facts.case.scoring.believable
    if not 1 / limit <= ratio <= limit:
        yield (
            f"A likelihood ratio beyond {limit:g} : 1 is more than spectroscopy alone is known "
            "to give (pooled studies: Zhang 2014)."
        )
    lipid = [f for f in found.findings if f.is_scored and f.family == LIPID_FAMILY]
    if any(f.favors == Favors.NECROSIS for f in lipid) and any(
        f.favors == Favors.RECURRENCE for f in lipid
    ):
        yield (
            "Published criteria of LL contradict each other: high LL favours necrosis in "
            "Nakajima 2009 and Anbarloui 2015, and relapse of glioblastoma in Bulik 2015."
        )
    yield from _conversion_caveats(found, facts)
    used = {f.id for f in found.findings if f.is_scored and f.weights.get("proxy", 1.0) != 1.0}
    stand_ins = [
        f"{each.expression} for {each.proxy_for} in {one.criterion.label}"
        for one in facts.case.criteria
        for each in one.criterion.any_of
        if one.criterion.id in used and each.proxy_for is not None
    ]
    if stand_ins:
        yield (
            "Another ratio stands in where the published one is not known, weighted by "
            f"{facts.case.scoring.proxy:g}: {joined(stand_ins)}."
        )
    scored = [finding for finding in found.findings if finding.is_scored]
    implied = sorted({short_label(one) for one in scored if _basis(one, facts) == "model_implied"})
    if implied:
        yield f"The accuracy of {', '.join(implied)} is implied by reported means, not reported."


def _basis(finding: Finding, facts: Facts) -> str:
    for one in facts.case.criteria:
        if one.criterion.id == finding.id:
            return one.criterion.counts_basis
    return "none"


def suggestions(found: Assessment, facts: Facts) -> tuple[str, ...]:
    """Return what would change the conclusion.

    Parameters
    ----------
    found : Assessment
        With caveats.
    facts : Facts
        What was given.

    Returns
    -------
    tuple of str
        Most telling first.
    """
    context, given = facts.case.context, []
    closed = {gate.name for gate in found.gates if not gate.is_open}
    if "unsuppressed-water" in closed:
        given.append("the water-suppressed acquisition of this voxel")
    if closed & {"snr", "linewidth", "fit", "residual", "area-sd", "unexpected-peak", "two-peaks",
                 "upright"}:  # fmt: skip
        given.append("a spectrum of better quality (shim, more averages, a larger voxel)")
    if closed & {"near-normal", "lesion-share"}:
        given.append("a voxel that is known to lie in the lesion")
    has_perfusion = any(f.kind == "perfusion" for f in found.findings)
    if not has_perfusion:
        given.append("perfusion imaging (rCBV)")
    te = None if facts.case.acquisition is None else facts.case.acquisition.echo_time_s
    if te is None:
        given.append("the echo time of this spectrum")
    if te is None or te_class(te) == "short":
        given.append(
            "the same voxel at an echo time of 144 or 288 ms, which tells lactate from lipid"
        )
    else:
        given.append("the same voxel at a short echo time, which shows the lipid in full")
    if "sampling" in closed:
        given.append("more voxels of the lesion")
    if context.contralateral is None:
        given.append("a voxel of the other side for comparison")
    given.append(
        "a repeat after some weeks (choline rose for a time in 4 of 9 necroses, Nakajima 2009)"
    )
    return tuple(given)


def label_of(ratio: float, scoring: Scoring) -> str:
    """Return the side that a likelihood ratio alone takes, in a word."""
    if ratio <= scoring.necrosis_at_or_below:
        return "necrosis"
    return "recurrence" if ratio >= scoring.recurrence_at_or_above else "indeterminate"


def short_label(finding: Finding) -> str:
    """Return the label of a finding's criterion: ``"Ando 2004"``."""
    return finding.statement.rpartition("(")[2].rstrip(")")


def number(value: float) -> str:
    """Return a likelihood ratio as it is printed."""
    if not np.isfinite(value):
        return "unbounded"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
