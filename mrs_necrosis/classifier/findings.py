"""Each criterion, and each reading, beside the case."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mrs_necrosis.assessment import LABELS, Favors, Finding
from mrs_necrosis.classifier.judging import detected_ranges, judge
from mrs_necrosis.classifier.scoring import NOT_EVALUABLE, involves_lipid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.classifier.case import Case
    from mrs_necrosis.classifier.context import Reading
    from mrs_necrosis.classifier.draws import Draws
    from mrs_necrosis.classifier.judging import Ranges
    from mrs_necrosis.classifier.scoring import Score, Weighted
    from mrs_necrosis.criteria import Criterion


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridFinding:
    """One scored criterion laid beside every voxel of a grid.

    Parameters
    ----------
    id, statement, citation : str
        As in ``Finding``.
    side : str
        ``"recurrence"`` or ``"necrosis"``: what it favours where it is met.
    codes : ndarray of uint8, shape (...)
        0 necrosis-favoring, 1 recurrence-favoring, 3 not-evaluable.
    expression : str
        As in ``Finding``.
    """

    id: str
    statement: str
    citation: str
    side: str
    codes: NDArray[np.uint8]
    expression: str = ""


def grid_findings(case: Case, nominal: Score, shape: tuple[int, ...]) -> tuple[GridFinding, ...]:
    """Return the scored criteria beside every voxel."""
    findings = []
    for one in case.criteria:
        criterion = one.criterion
        if criterion.id not in nominal.outcomes:
            continue
        outcome = nominal.outcomes[criterion.id][0]
        met, other = (
            LABELS.index(_side(criterion, met=True)),
            LABELS.index(_side(criterion, met=False)),
        )
        codes = np.where(
            outcome.is_decided, np.where(outcome.is_met, met, other), NOT_EVALUABLE
        ).astype(np.uint8)
        findings.append(
            GridFinding(
                id=criterion.id,
                statement=criterion.statement,
                citation=criterion.citation,
                side=criterion.side,
                codes=codes.reshape(shape),
                expression=" or ".join(one.expression for one in criterion.any_of),
            )
        )
    return tuple(findings)


def finding_of(one: Weighted, case: Case, nominal: Score, draws: Draws | None) -> Finding:
    """Return a criterion of spectroscopy beside one voxel."""
    criterion = one.criterion
    scored = nominal.outcomes.get(criterion.id)
    ranges = detected_ranges(case.areas)
    outcome = judge(criterion, ranges)[0] if scored is None else scored[0]
    is_off = bool(case.lipid_off[0]) and involves_lipid(criterion)
    is_decided = outcome is not None and bool(outcome.is_decided.reshape(-1)[0])
    favors, value, weights, met = Favors.NOT_EVALUABLE, None, {}, None
    note = criterion.note
    if outcome is not None and is_decided and not is_off:
        met = bool(outcome.is_met[0])
        favors = _side(criterion, met=met)
        number = float(outcome.value[0])
        value = number if math.isfinite(number) else None
        weights = _weights(one, case, bool(outcome.is_proxy.reshape(-1)[0]),
                           float(outcome.distance[0]))  # fmt: skip
    elif is_off:
        note = f"Left out: lipid and lactate are not to be trusted here. {note}".strip()
    takes_part = one.is_scored and scored is not None and bool(scored[0].is_decided[0])
    probability = None
    if draws is not None and criterion.id in draws.on_side and favors != Favors.NOT_EVALUABLE:
        met_share = float(draws.on_side[criterion.id][0])
        probability = met_share if met else 1 - met_share
    if not criterion.is_verified:
        note = f"Not verified: recalled, the paper was not read. {note}".strip()
    if one.misfits:
        note = f"{note} Does not fit the case: {', '.join(one.misfits)}.".strip()
    published = outcome is not None and is_decided and not outcome.is_proxy.reshape(-1)[0]
    shown = _as_published(criterion) if published else criterion
    return Finding(
        id=criterion.id,
        statement=shown.statement,
        citation=criterion.citation,
        expression=" or ".join(c.expression for c in shown.any_of),
        comparator=criterion.any_of[0].comparator if len(criterion.any_of) == 1 else "",
        cutoff=criterion.any_of[0].cutoff if len(criterion.any_of) == 1 else None,
        value=value,
        is_bound=value is not None and _is_bound(shown, ranges, value),
        is_met=met,
        favors=favors,
        family=criterion.family,
        is_scored=takes_part,
        log_likelihood_ratio=float(scored[1][0]) if takes_part and scored else None,
        probability=probability,
        weights=weights,
        note=note,
    )


def _as_published(criterion: Criterion) -> Criterion:
    """Return a criterion by the ratios that were published, not those that stand in for them."""
    return replace(
        criterion,
        any_of=tuple(
            one
            if one.proxy_for is None
            else replace(one, expression=one.proxy_for, proxy_for=None)
            for one in criterion.any_of
        ),
    )


def _is_bound(criterion: Criterion, ranges: Ranges, value: float) -> bool:
    """Return whether the value is a bound, and not that of a comparison whose peaks are there."""
    has_bound = False
    for one in criterion.any_of:
        found = [(factor, ends) for factor, name in one.terms if (ends := ranges(name))]
        if any(low[0] != high[0] for _, (low, high) in found):
            has_bound = True
        elif math.isclose(sum(factor * low[0] for factor, (low, _) in found), value):
            return False
    return has_bound


def _side(criterion: Criterion, *, met: bool) -> Favors:
    towards_recurrence = (criterion.side == "recurrence") == met
    return Favors.RECURRENCE if towards_recurrence else Favors.NECROSIS


def _weights(one: Weighted, case: Case, is_proxy: bool, distance: float) -> dict[str, float]:
    weights = {
        "applicability": one.applicability,
        "borderline": min(distance / case.scoring.borderline, 1.0),
        "proxy": case.scoring.proxy if is_proxy else 1.0,
    }
    if case.factor != 1:
        weights["after-bevacizumab"] = case.factor
    return weights


def other_findings(case: Case) -> tuple[tuple[Finding, ...], float | None]:
    """Return the findings of perfusion and MRI, and the log-likelihood ratio that they add."""
    judged = [
        _perfusion_finding(one, case)
        for one in case.criteria
        if one.criterion.kind == "perfusion" and one.criterion.enabled
    ]
    perfusion = [one for one in judged if one is not None]
    readings = [
        _reading_finding(number, reading)
        for number, reading in enumerate(case.context.readings, 1)
    ]
    scored = (one.log_likelihood_ratio for one in perfusion)
    log_ratios = [log_ratio for log_ratio in scored if log_ratio is not None]
    # perfusion is one examination, and what it says in several ways is averaged
    mean = sum(log_ratios) / len(log_ratios) if log_ratios else None
    return (*perfusion, *readings), mean


def _perfusion_finding(one: Weighted, case: Case) -> Finding | None:
    """Return a criterion of perfusion beside the case; None if the case says nothing of it."""
    criterion, context = one.criterion, case.context
    is_reading = criterion.reading is not None
    if is_reading:
        if criterion.reading != "high perfusion" or context.perfusion_reading is None:
            return None
        met, value, distance = context.perfusion_reading == "high", None, math.inf
        statement = f"perfusion map read as {context.perfusion_reading} ({criterion.label})"
    else:
        numbers = {"rCBV/GM": context.rcbv_grey, "rCBV/WM": context.rcbv_white}
        value = numbers.get(criterion.any_of[0].expression)
        if value is None:
            return None
        given = np.array([value])
        outcome, _ = judge(criterion, lambda _: (given, given))
        assert outcome is not None
        met, distance = bool(outcome.is_met[0]), float(outcome.distance[0])
        statement = criterion.statement
    log_ratio = None
    weights = _weights(one, replace(case, factor=1.0), is_proxy=False, distance=distance)
    if one.is_scored and one.for_recurrence is not None and one.for_necrosis is not None:
        towards_recurrence = met == (criterion.side == "recurrence")
        raw = one.for_recurrence if towards_recurrence else one.for_necrosis
        log_ratio = raw * weights["applicability"] * weights["borderline"]
    return Finding(
        id=criterion.id,
        statement=statement,
        citation=criterion.citation,
        expression="perfusion map" if is_reading else criterion.rule,
        comparator=criterion.any_of[0].comparator if criterion.any_of else "",
        cutoff=criterion.any_of[0].cutoff if criterion.any_of else None,
        value=value,
        is_met=None if is_reading else met,
        favors=_side(criterion, met=met),
        family=criterion.family,
        is_scored=log_ratio is not None,
        log_likelihood_ratio=log_ratio,
        weights=weights,
        kind="perfusion",
        note=criterion.note,
    )


def _reading_finding(number: int, reading: Reading) -> Finding:
    favors = {
        "necrosis": Favors.NECROSIS,
        "recurrence": Favors.RECURRENCE,
        None: Favors.INDETERMINATE,
    }[reading.suggests]
    return Finding(
        id=f"{reading.kind}_reading_{number}",
        statement=reading.text,
        citation=reading.source,
        favors=favors,
        family=reading.kind,
        kind=reading.kind,
        note="A reading without a likelihood ratio: shown, not scored.",
    )
