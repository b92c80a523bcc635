"""Gates first, then evidence, then the draw rule: the label of a voxel or of a whole grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.areas import PeakAreas, check_areas
from mrs_necrosis.arguments import check_probability, check_whole
from mrs_necrosis.assessment import LABELS, Assessment, Evidence, Favors, Finding
from mrs_necrosis.classifier.case import nominal_score, prepared
from mrs_necrosis.classifier.caveats import Facts, caveats, suggestions
from mrs_necrosis.classifier.context import Context
from mrs_necrosis.classifier.draws import draw
from mrs_necrosis.classifier.evidence_gates import TOGETHER, Others, evidence_checks
from mrs_necrosis.classifier.findings import GridFinding, finding_of, grid_findings, other_findings
from mrs_necrosis.classifier.phrasing import paragraph
from mrs_necrosis.classifier.scenarios import lactate_scenarios, lipid_scenarios
from mrs_necrosis.classifier.scoring import (
    INDETERMINATE,
    NOT_EVALUABLE,
    Scoring,
    are_opposed,
    label_codes,
)
from mrs_necrosis.criteria import Criterion
from mrs_necrosis.quality import Quality, QualityThresholds
from mrs_necrosis.spectra import Conditions

if TYPE_CHECKING:
    from mrs_necrosis.assessment import Gate
    from mrs_necrosis.classifier.draws import Draws
    from mrs_necrosis.classifier.gates import Check
    from mrs_necrosis.classifier.scoring import Score


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class GridAssessment:
    """Labels and evidence of every voxel of a grid.

    Parameters
    ----------
    codes : ndarray of uint8, shape (...)
        0 necrosis-favoring, 1 recurrence-favoring, 2 indeterminate, 3 not-evaluable.
    log_likelihood_ratio : ndarray of float64, shape (...)
        Towards recurrence, spectroscopy alone, whatever the gates say; NaN without evidence.
    interval : ndarray of float64, shape (..., 2), or None
        95 % range of it over draws; None without covariance.
    posterior : ndarray of float64, shape (...)
        Probability of recurrence for `prior`.
    label_probability : ndarray of float64, shape (..., 3), or None
        Fraction of draws that give necrosis, recurrence, indeterminate; None without covariance.
    leaning_probability : ndarray of float64, shape (..., 2), or None
        Fraction of draws with at least twofold evidence (``Scoring.opposed``) for necrosis and
        for recurrence, whether or not it makes a label; None without covariance.
    closed : mapping of str to ndarray of bool, shape (...)
        Where each gate is closed.
    family_scores : mapping of str to ndarray of float64, shape (...)
        Log-likelihood ratio of each family; NaN without evidence.
    prior : float
        Prior probability of recurrence.
    findings : tuple of GridFinding
        The criteria that were scored.
    requirements : mapping of str to str
        What each gate asks for.
    withholding : frozenset of str
        Gates that withhold a label where they are closed; the others take evidence away.
    """

    codes: NDArray[np.uint8]
    log_likelihood_ratio: NDArray[np.float64]
    interval: NDArray[np.float64] | None
    posterior: NDArray[np.float64]
    label_probability: NDArray[np.float64] | None
    leaning_probability: NDArray[np.float64] | None
    closed: Mapping[str, NDArray[np.bool_]]
    family_scores: Mapping[str, NDArray[np.float64]]
    prior: float
    findings: tuple[GridFinding, ...] = ()
    requirements: Mapping[str, str] = field(default_factory=dict)
    withholding: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {label.value}" for label, count in self.counts().items())
        return f"<GridAssessment {counts}>"

    def counts(self, mask: NDArray[np.bool_] | None = None) -> dict[Favors, int]:
        """Return how many voxels have each label.

        Parameters
        ----------
        mask : ndarray of bool, shape (...), or None
            Voxels to count; all if None.

        Returns
        -------
        dict of Favors to int
            All four labels.
        """
        codes = self.codes if mask is None else self.codes[mask]
        return {label: int((codes == code).sum()) for code, label in enumerate(LABELS)}


def assess(
    areas: PeakAreas,
    *,
    quality: Quality | None = None,
    acquisition: Conditions | None = None,
    criteria: Sequence[Criterion] | None = None,
    prior: float = 0.5,
    scoring: Scoring | None = None,
    thresholds: QualityThresholds | None = None,
    context: Context | None = None,
    n_draws: int = 1000,
    seed: int = 0,
) -> Assessment:
    """Judge one voxel: necrosis-favoring, recurrence-favoring, indeterminate, not-evaluable.

    Parameters
    ----------
    areas : PeakAreas
        values (K,) or (1, 1, 1, K). Without a covariance the draws are skipped, and a caveat
        says so.
    quality : Quality or None
        Of this voxel.
    acquisition : Acquisition, PeakTable or None
        Echo time and field decide how much each criterion counts.
    criteria : sequence of Criterion or None
        ``load_criteria()`` if None.
    prior : float
        Prior probability of recurrence, see ``prior_after_radiosurgery``.
    scoring : Scoring or None
        Constants of the combination; the defaults if None.
    thresholds : QualityThresholds or None
        Limits of the quality gates; the defaults if None.
    context : Context or None
        What else is known of the case.
    n_draws : int
        Draws of the areas' errors.
    seed : int
        Of the draws.

    Returns
    -------
    Assessment
        ``evidence`` is spectroscopy alone; ``combined`` adds perfusion where it was given, and
        then decides the label.

    Raises
    ------
    TypeError
        If `areas` are something else, such as the whole fit.
    ValueError
        If there is more than one voxel, the prior is not a probability, or the draws or their
        seed are no whole numbers.

    Examples
    --------
    >>> from mrs_necrosis import PeakAreas
    >>> areas = PeakAreas(("LL", "Cho", "Cr", "NAA"), [108964.0, 33671.0, 29534.0, 31278.0])
    >>> found = assess(areas)
    >>> found.favors.value, round(found.evidence.likelihood_ratio, 3)
    ('necrosis-favoring', 0.28)
    """
    check_areas(areas)
    if not areas.is_single:
        msg = (
            f"assess takes one voxel; got values of shape {areas.values.shape} "
            "(assess_grid takes many)"
        )
        raise ValueError(msg)
    check_probability("prior", prior)
    _check_draws(n_draws, seed)
    case = prepared(
        areas, quality=quality, acquisition=acquisition, criteria=criteria, scoring=scoring,
        thresholds=thresholds, context=context,
    )  # fmt: skip
    nominal = nominal_score(case)
    draws = draw(case, nominal, n_draws, seed, each_criterion=True)
    perfusion, log_ratio = other_findings(case)
    others = (
        None if log_ratio is None else Others(log_ratio, 1 + case.scoring.examination_correlation)
    )
    checks = (
        *case.checks,
        *evidence_checks(case, nominal, draws, others, n_draws=n_draws, seed=seed),
    )
    gates = tuple(check.gate(0) for check in checks)
    codes = _codes(nominal, checks, case.scoring)
    findings = tuple(
        finding_of(one, case, nominal, draws)
        for one in case.spectroscopy
        if one.criterion.is_verified
    )
    evidence = _evidence(nominal, draws, prior, LABELS[codes[0]])
    combined = _combine(evidence, nominal, draws, others, gates, case.scoring)
    favors = LABELS[codes[0]] if combined is None or combined.favors is None else combined.favors
    found = Assessment(
        favors=favors,
        evidence=evidence,
        findings=findings + perfusion,
        gates=gates,
        combined=combined,
    )
    facts = Facts(
        case=case,
        lipid_scenarios=lipid_scenarios(case),
        lactate_scenarios=lactate_scenarios(case, nominal),
        together=None if combined is None or others is None else others.together,
    )
    found = replace(
        found,
        caveats=caveats(found, facts),
        suggestions=suggestions(found, facts),
    )
    return replace(found, paragraph=paragraph(found, facts))


def assess_grid(
    areas: PeakAreas,
    *,
    quality: Quality | None = None,
    acquisition: Conditions | None = None,
    criteria: Sequence[Criterion] | None = None,
    prior: float = 0.5,
    scoring: Scoring | None = None,
    thresholds: QualityThresholds | None = None,
    context: Context | None = None,
    near_skull: NDArray[np.bool_] | None = None,
    n_draws: int = 500,
    seed: int = 0,
) -> GridAssessment:
    """Judge any number of voxels at once, by the same rules as ``assess``.

    Parameters
    ----------
    areas : PeakAreas
        values (..., K).
    quality : Quality or None
        Fields of shape (...).
    acquisition, criteria, prior, scoring, thresholds, context :
        As in ``assess``; what the context says holds for every voxel. Perfusion is not combined.
    near_skull : ndarray of bool, shape (...), or None
        Voxels whose lipid is not that of the tissue: criteria of lipid and lactate are left out
        there.
    n_draws, seed : int
        The same draws are used in every voxel, so that a voxel's answer does not depend on its
        neighbours, nor on how the grid is cut into pieces.

    Returns
    -------
    GridAssessment
        Arrays of shape (...).

    Raises
    ------
    TypeError
        If `areas` are something else, such as the whole fit.
    ValueError
        If shapes do not fit, the prior is not a probability, or the draws or their seed are no
        whole numbers.

    Examples
    --------
    >>> from mrs_necrosis.areas import PeakAreas
    >>> values = np.array([[3.7, 1.1, 1.0, 1.1], [0.3, 3.0, 1.0, 0.6]])
    >>> areas = PeakAreas(("LL", "Cho", "Cr", "NAA"), values)
    >>> [LABELS[code].value for code in assess_grid(areas).codes]
    ['necrosis-favoring', 'recurrence-favoring']
    """
    check_probability("prior", prior)
    _check_draws(n_draws, seed)
    case = prepared(
        areas, quality=quality, acquisition=acquisition, criteria=criteria, scoring=scoring,
        thresholds=thresholds, context=context, near_skull=near_skull,
    )  # fmt: skip
    shape = areas.values.shape[:-1]
    nominal = nominal_score(case)
    draws = draw(case, nominal, n_draws, seed, each_criterion=False)
    checks = (*case.checks, *evidence_checks(case, nominal, draws, n_draws=n_draws, seed=seed))
    return GridAssessment(
        codes=_codes(nominal, checks, case.scoring).reshape(shape),
        log_likelihood_ratio=nominal.total.reshape(shape),
        interval=None if draws is None else draws.interval.reshape(*shape, 2),
        posterior=_posterior(nominal.total, prior).reshape(shape),
        label_probability=None if draws is None else draws.fractions.reshape(*shape, 3),
        leaning_probability=None if draws is None else draws.leaning.reshape(*shape, 2),
        closed={check.name: check.is_closed.reshape(shape) for check in checks},
        family_scores={name: np.array(values).reshape(shape)
                       for name, values in nominal.families.items()},
        prior=prior,
        findings=grid_findings(case, nominal, shape),
        requirements={check.name: check.threshold for check in checks},
        withholding=frozenset(check.name for check in checks if check.gives is not None),
    )  # fmt: skip


def place(
    areas: PeakAreas,
    *,
    acquisition: Conditions | None = None,
    criteria: Sequence[Criterion] | None = None,
    scoring: Scoring | None = None,
    context: Context | None = None,
) -> tuple[Finding, ...]:
    """Lay every criterion beside one voxel, also those that are disabled or were not verified.

    Parameters
    ----------
    areas : PeakAreas
        values (K,) or (1, 1, 1, K).
    acquisition, criteria, scoring, context :
        As in ``assess``.

    Returns
    -------
    tuple of Finding
        One per criterion of spectroscopy, in the order of the files. Gates are not applied, and
        ``is_scored`` says which would take part in the evidence.

    Raises
    ------
    ValueError
        If there is more than one voxel.
    TypeError
        If `areas` are something else, such as the whole fit.

    Examples
    --------
    >>> from mrs_necrosis import PeakAreas
    >>> first = place(PeakAreas(("Cho", "Cr", "NAA"), [33671.0, 29534.0, 31278.0]))[0]
    >>> first.statement, round(first.value, 2), first.favors.value
    ('Cho/Cr > 1.11 (Plotkin 2004)', 1.14, 'recurrence-favoring')
    """
    check_areas(areas)
    if not areas.is_single:
        msg = f"place takes one voxel; got values of shape {areas.values.shape}"
        raise ValueError(msg)
    case = prepared(
        areas, acquisition=acquisition, criteria=criteria, scoring=scoring, context=context
    )
    nominal = nominal_score(case)
    draws = draw(case, nominal, 1000, 0, each_criterion=True)
    return tuple(finding_of(one, case, nominal, draws) for one in case.spectroscopy)


def _check_draws(n_draws: object, seed: object) -> None:
    check_whole("n_draws", n_draws, 1)
    check_whole("seed", seed, 0)


def _codes(nominal: Score, checks: Sequence[Check], scoring: Scoring) -> NDArray[np.uint8]:
    codes = label_codes(nominal.total, are_opposed(nominal, scoring), scoring)
    return _apply(codes, [check for check in checks if check.name != TOGETHER])


def _apply(codes: NDArray[np.uint8], checks: Sequence[Check]) -> NDArray[np.uint8]:
    gated = codes.copy()
    for gives, code in ((Favors.INDETERMINATE, INDETERMINATE),
                        (Favors.NOT_EVALUABLE, NOT_EVALUABLE)):  # fmt: skip
        for check in checks:
            if check.gives is gives:
                gated[check.is_closed] = code
    return gated


def _posterior(log_ratio: NDArray[np.float64], prior: float) -> NDArray[np.float64]:
    odds = np.exp(log_ratio) * prior / (1 - prior)
    posterior: NDArray[np.float64] = odds / (1 + odds)
    return posterior


def _evidence(nominal: Score, draws: Draws | None, prior: float, favors: Favors) -> Evidence:
    total = float(nominal.total[0])
    if math.isnan(total):
        return Evidence(likelihood_ratio=None, prior=prior, favors=favors)
    return Evidence(
        likelihood_ratio=math.exp(total),
        interval=None if draws is None else _exp_pair(draws.interval[0]),
        prior=prior,
        posterior=float(_posterior(nominal.total, prior)[0]),
        label_probability=None if draws is None else {
            LABELS[code].value: float(draws.fractions[0, code]) for code in range(3)
        },
        family_scores={
            name: float(values[0]) for name, values in nominal.families.items()
            if not math.isnan(values[0])
        },
        favors=favors,
    )  # fmt: skip


def _exp_pair(pair: NDArray[np.float64]) -> tuple[float, float]:
    return math.exp(pair[0]), math.exp(pair[1])


def _combine(
    evidence: Evidence,
    nominal: Score,
    draws: Draws | None,
    others: Others | None,
    gates: Sequence[Gate],
    scoring: Scoring,
) -> Evidence | None:
    """Add the other examinations, unless spectroscopy itself could not be judged."""
    if others is None or evidence.likelihood_ratio is None:
        return None
    total = others.together(nominal.total)
    interval = label_probability = None
    if draws is not None:
        interval = _exp_pair(others.together(draws.interval[0]))
        shares = [others.held(np.array([code], dtype=np.uint8), draws, scoring)
                  for code in range(3)]  # fmt: skip
        label_probability = {
            LABELS[code].value: float(share[0])
            for code, share in enumerate(shares) if share is not None
        }  # fmt: skip
    favors = evidence.favors
    if favors != Favors.NOT_EVALUABLE:
        opposed = are_opposed(nominal, scoring)
        favors = LABELS[int(others.codes(nominal.total, opposed, scoring)[0])]
        # what withheld the label of spectroscopy withholds this one too
        if any(gate.gives is Favors.INDETERMINATE for gate in gates):
            favors = Favors.INDETERMINATE
    return Evidence(
        likelihood_ratio=math.exp(float(total[0])),
        interval=interval,
        prior=evidence.prior,
        posterior=float(_posterior(total, evidence.prior)[0]),
        label_probability=label_probability,
        family_scores={**evidence.family_scores, "perfusion": others.log_ratio},
        favors=favors,
    )
