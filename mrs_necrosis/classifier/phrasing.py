"""An assessment in words: a page for a tumour board.

It states what published criteria favour and how strongly. It never names a condition as fact.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier.caveats import label_of, lipid_under_naa, number, short_label
from mrs_necrosis.criteria import LIPID_FAMILY
from mrs_necrosis.errors import joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mrs_necrosis.assessment import Assessment, Evidence, Finding, Gate
    from mrs_necrosis.classifier.caveats import Facts
    from mrs_necrosis.classifier.scoring import Scoring


def paragraph(found: Assessment, facts: Facts) -> str:
    """Return the whole in words that a tumour board can read.

    Parameters
    ----------
    found : Assessment
        With caveats and suggestions.
    facts : Facts
        What was given.

    Returns
    -------
    str
        Short paragraphs between empty lines; a line that begins with ``"- "`` is one of a list.
        Label and strength, what agrees, what disagrees, other examinations, limits, what would
        change it.
    """
    closed = [gate for gate in found.gates if not gate.is_open]
    deciding = [gate for gate in closed if gate.gives is not None]
    label, limits = [_headline(found, deciding)], []
    for_and_against: list[str] = []
    is_evaluable = found.evidence.favors != Favors.NOT_EVALUABLE
    if is_evaluable:
        label.append(_strength(found.evidence, facts.case.scoring))
        label.append(_why_no_label(found.evidence, facts.case.scoring))
        label.extend(gate.sentence for gate in deciding if gate.name not in {"near-normal"})
        for_and_against = list(_agreement(found))
        limits.append(_weightiest(found, facts))
        limits.extend(
            gate.sentence for gate in closed if gate.gives is None and gate.name != "sampling"
        )
        limits.extend(_key_limits(found, facts))
        limits.extend(gate.sentence for gate in closed if gate.name == "sampling")
    else:
        label.extend(_closing_gates(deciding))
    blocks = [
        _sentences(label),
        *for_and_against,
        _sentences(_other_examinations(found)),
        _sentences(limits),
        _list("What would change this:", found.suggestions[:4]),
        "Research use only: published cut-offs come from small studies; this replaces neither "
        "follow-up nor histology.",
    ]
    return "\n\n".join(block for block in blocks if block)


def _sentences(parts: Iterable[str]) -> str:
    return " ".join(part for part in parts if part)


def _list(title: str, items: Iterable[str]) -> str:
    return "\n- ".join([title, *items])


def _headline(found: Assessment, deciding: Sequence[Gate]) -> str:
    favors = found.favors
    is_combined = found.combined is not None and found.combined.favors is not None
    what = "Spectroscopy and perfusion together" if is_combined else "This spectrum"
    verb = "favour" if is_combined else "favours"
    if favors == Favors.NECROSIS:
        return f"{favors.value.capitalize()}: {_lower(what)} {verb} radiation necrosis."
    if favors == Favors.RECURRENCE:
        return f"{favors.value.capitalize()}: {_lower(what)} {verb} tumour recurrence."
    if favors == Favors.NOT_EVALUABLE:
        names = joined([gate.name for gate in deciding if gate.gives == Favors.NOT_EVALUABLE])
        return (
            "Not-evaluable: this spectrum cannot be used to tell radiation necrosis from tumour "
            f"recurrence ({names})."
        )
    return (
        f"Indeterminate: {_lower(what)} {'do' if is_combined else 'does'} not tell radiation "
        "necrosis from tumour recurrence."
    )


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _closing_gates(deciding: Sequence[Gate]) -> list[str]:
    return [gate.sentence for gate in deciding if gate.gives == Favors.NOT_EVALUABLE]


def _strength(evidence: Evidence, scoring: Scoring) -> str:
    ratio = evidence.likelihood_ratio
    if ratio is None or evidence.posterior is None:
        return ""
    side = "necrosis" if ratio < 1 else "recurrence"
    odds = 1 / ratio if ratio < 1 else ratio
    size = abs(math.log(ratio))
    if size < math.log(scoring.recurrence_at_or_above):
        word = "weak"
    elif size < scoring.criterion_cap:
        word = "low-to-moderate"
    else:
        word = "moderate"
    text = (
        f"Spectroscopy alone gives a likelihood ratio of {number(ratio)} towards recurrence, "
        f"{word} evidence ({odds:.1f} : 1 for {side})"
    )
    if evidence.interval is not None:
        low, high = evidence.interval
        text += f", 95 % range {number(low)} to {number(high)} from the error of the peaks"
    text += (
        f"; from a prior of {100 * evidence.prior:.0f} % it makes the probability of recurrence "
        f"{100 * evidence.posterior:.0f} %"
    )
    held = _held(evidence)
    return f"{text}{held}."


def _why_no_label(evidence: Evidence, scoring: Scoring) -> str:
    ratio = evidence.likelihood_ratio
    if ratio is None or label_of(ratio, scoring) != "indeterminate":
        return ""
    return (
        f"A label needs at most {number(scoring.necrosis_at_or_below)} or at least "
        f"{scoring.recurrence_at_or_above:g}."
    )


def _held(evidence: Evidence) -> str:
    if evidence.label_probability is None or evidence.favors not in {
        Favors.NECROSIS,
        Favors.RECURRENCE,
    }:
        return ""
    share = evidence.label_probability[evidence.favors.value]
    return f", and the label holds in {100 * share:.0f} % of draws"


def _agreement(found: Assessment) -> Iterable[str]:
    ratio = found.evidence.likelihood_ratio
    scored = [f for f in found.findings if f.is_scored and f.kind == "spectroscopy"]
    if ratio is None or not scored:
        return
    side = Favors.NECROSIS if ratio < 1 else Favors.RECURRENCE
    agree = [f for f in scored if f.favors == side]
    disagree = [f for f in scored if f.favors != side]
    word = "necrosis" if side == Favors.NECROSIS else "recurrence"
    if agree:
        verb = "points" if len(agree) == 1 else "point"
        title = f"{len(agree)} of {len(scored)} published criteria {verb} to {word}:"
        yield _list(title, _listed(agree))
    if disagree:
        verb = "points" if len(disagree) == 1 else "point"
        yield _list(f"{len(disagree)} {verb} the other way:", _listed(disagree))


def _weightiest(found: Assessment, facts: Facts) -> str:
    """Return which family of criteria the evidence rests on most."""
    ratio, families = found.evidence.likelihood_ratio, found.evidence.family_scores
    if ratio is None or not families:
        return ""
    choose = min if ratio < 1 else max
    strongest = choose(families, key=lambda name: families[name])
    lipid = families.get(LIPID_FAMILY)
    rest = f"The evidence rests most on {_FAMILY_WORDS.get(strongest, strongest)}"
    if lipid is not None and strongest != LIPID_FAMILY and abs(lipid) < facts.case.scoring.opposed:
        rest += "; lipid and lactate say little, because studies disagree on their direction"
    return f"{rest}."


_FAMILY_WORDS = {
    "Cho/Cr": "choline over creatine",
    "Cho/NAA": "choline and NAA",
    "joint": "choline over creatine and NAA together",
    LIPID_FAMILY: "lipid and lactate",
}


def _listed(findings: Sequence[Finding]) -> list[str]:
    """Return findings with those that share a ratio together: value first, then cut-offs."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.expression, []).append(finding)
    return [_group(expression, group) for expression, group in groups.items()]


def _group(expression: str, group: Sequence[Finding]) -> str:
    plain = [f for f in group if f.value is not None and f.cutoff is not None]
    if len(plain) < len(group):
        return "; ".join(_composite(f) for f in group)
    sides: dict[str, list[Finding]] = {}
    for finding in plain:
        assert finding.value is not None
        assert finding.cutoff is not None
        sides.setdefault("above" if finding.value > finding.cutoff else "below", []).append(
            finding
        )
    number = f"{plain[0].value:.2f}"
    if plain[0].is_bound:
        number = f"{'at least' if 'above' in sides else 'at most'} {number}"
    parts = [f"{word} {joined([_cutoff(f) for f in some])}" for word, some in sides.items()]
    return f"{expression} {number}, {' and '.join(parts)}"


def _cutoff(finding: Finding) -> str:
    assert finding.value is not None
    assert finding.cutoff is not None
    away = 100 * abs(finding.value / finding.cutoff - 1)
    near = f", by only {max(away, 1):.0f} %" if away < 10 and not finding.is_bound else ""
    return f"{finding.cutoff:.4g} ({short_label(finding)}{near})"


def _composite(finding: Finding) -> str:
    """Return a criterion of several comparisons: which side of it the case is on."""
    if finding.is_met:
        return finding.statement
    rule, _, label = finding.statement.rpartition(" (")
    return f"neither {rule.replace(' or ', ' nor ')} ({label}"


def _other_examinations(found: Assessment) -> Iterable[str]:
    for finding in found.findings:
        if finding.kind == "spectroscopy":
            continue
        towards = {Favors.NECROSIS: "necrosis", Favors.RECURRENCE: "recurrence"}.get(
            finding.favors
        )
        name = "Perfusion" if finding.kind == "perfusion" else "MRI"
        value = "" if finding.value is None else f", here {finding.value:g}"
        what = f"{name}: {finding.statement}{value}"
        if finding.statement.startswith("perfusion map"):
            what = f"{finding.statement[0].upper()}{finding.statement[1:]}"
        if finding.log_likelihood_ratio is not None:
            yield (
                f"{what}, points to {towards} (likelihood ratio "
                f"{number(math.exp(finding.log_likelihood_ratio))})."
            )
        elif towards is None:
            yield f"{what}; which side that speaks for was not said (not scored)."
        else:
            yield (
                f"{what}, read as pointing to {towards} "
                "(not scored: no likelihood ratio is known)."
            )
    combined = found.combined
    if combined is not None and combined.likelihood_ratio is not None and combined.posterior:
        alone = "" if found.evidence.favors is None else (
            f" (spectroscopy alone: {found.evidence.favors.value})"
        )  # fmt: skip
        yield (
            f"Together the likelihood ratio is {number(combined.likelihood_ratio)} and the "
            f"probability of recurrence {100 * combined.posterior:.0f} %{alone}."
        )


def _key_limits(found: Assessment, facts: Facts) -> Iterable[str]:
    """Yield the limits that matter most: robustness, echo time, uncertainty."""
    lipid = lipid_under_naa(found, facts)
    if lipid is not None and not lipid.is_survived:
        yield (
            "It is not robust to lipid under NAA, which could bring the likelihood ratio to "
            f"{number(lipid.ratios[0])} to {number(lipid.ratios[-1])}."
        )
    missing = []
    if facts.case.acquisition is None or facts.case.acquisition.echo_time_s is None:
        missing.append("the echo time")
    if facts.case.acquisition is None or facts.case.acquisition.field_t is None:
        missing.append("the field strength")
    if facts.case.areas.covariance is None:
        missing.append("the error of the peaks")
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        sentence = f"{joined(missing)} {verb} unknown."
        yield sentence[0].upper() + sentence[1:]
