"""Gates first, then evidence, then the draw rule: the label of a voxel or of a whole grid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.areas import PeakAreas, check_areas
from mrs_necrosis.arguments import check_each, check_probability, check_type, check_whole
from mrs_necrosis.assessment import Assessment, Evidence, Favors, Finding
from mrs_necrosis.classifier import phrasing
from mrs_necrosis.classifier.context import Context
from mrs_necrosis.classifier.gates import Check, quality_checks, tissue_checks
from mrs_necrosis.classifier.scoring import (
    INDETERMINATE,
    NECROSIS,
    NOT_EVALUABLE,
    RECURRENCE,
    Ranges,
    Score,
    Scoring,
    Weighted,
    are_opposed,
    detected_ranges,
    involves_lipid,
    judge,
    label_codes,
    plain_ranges,
    score,
    weigh,
)
from mrs_necrosis.criteria import Criterion, load_criteria
from mrs_necrosis.errors import joined
from mrs_necrosis.quality import Quality, QualityThresholds
from mrs_necrosis.spectra import Conditions

if TYPE_CHECKING:
    from mrs_necrosis.assessment import Gate
    from mrs_necrosis.classifier.context import Reading


LABELS: Final = (
    Favors.NECROSIS,
    Favors.RECURRENCE,
    Favors.INDETERMINATE,
    Favors.NOT_EVALUABLE,
)
"""Labels by their code in arrays."""

LIPID20_PROTONS: Final = 1.33 / 2
"""Area at 2.04 ppm over area at 1.28 ppm for a ratio of 1, that LCModel assumes."""

TOGETHER: Final = "draws-together"
"""The gate that does not concern the label of spectroscopy alone."""

_ELEMENTS = 2**18  # voxels times draws at a time: stays in the processor's cache


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Case:
    """Everything that is needed to judge V voxels."""

    areas: PeakAreas
    criteria: tuple[Weighted, ...]
    checks: tuple[Check, ...]
    scoring: Scoring
    context: Context
    lipid_off: NDArray[np.bool_]
    lipid_off_by_threshold: NDArray[np.bool_]
    factor: float

    @property
    def spectroscopy(self) -> list[Weighted]:
        """The criteria of spectroscopy."""
        return [one for one in self.criteria if one.criterion.kind == "spectroscopy"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Draws:
    """Summary over draws; arrays of shape (V,) unless said otherwise."""

    interval: NDArray[np.float64]
    fractions: NDArray[np.float64]
    leaning: NDArray[np.float64]
    on_side: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    # of one voxel alone, shape (1, D): the log-likelihood ratios, and where families oppose
    totals: NDArray[np.float64] | None = None
    opposed: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class _Others:
    """What the other examinations add to the log-likelihood ratio of spectroscopy."""

    log_ratio: float
    shrink: float

    def together(self, log_ratio: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log-likelihood ratio of all examinations."""
        total: NDArray[np.float64] = (log_ratio + self.log_ratio) / self.shrink
        return total

    def codes(
        self, log_ratio: NDArray[np.float64], opposed: NDArray[np.bool_], scoring: Scoring
    ) -> NDArray[np.uint8]:
        """Return the label of all examinations; spectroscopy against perfusion gives none."""
        clash = np.minimum(abs(log_ratio), abs(self.log_ratio)) > scoring.opposed
        clash &= log_ratio * self.log_ratio < 0
        return label_codes(self.together(log_ratio), opposed | clash, scoring)

    def held(
        self, codes: NDArray[np.uint8], draws: _Draws | None, scoring: Scoring
    ) -> NDArray[np.float64] | None:
        """Return the fraction of draws of one voxel that give these codes of all examinations."""
        if draws is None or draws.totals is None or draws.opposed is None:
            return None
        drawn = self.codes(draws.totals, draws.opposed, scoring)
        fraction: NDArray[np.float64] = (drawn == codes[:, np.newaxis]).mean(axis=1)
        return fraction


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
    if areas.values.size != len(areas.names):
        msg = (
            f"assess takes one voxel; got values of shape {areas.values.shape} "
            "(assess_grid takes many)"
        )
        raise ValueError(msg)
    scoring, thresholds = scoring or Scoring(), thresholds or QualityThresholds()
    context = context or Context()
    check_probability("prior", prior)
    _check_draws(n_draws, seed)
    case = _prepare(areas, quality, acquisition, criteria, scoring, thresholds, context)
    nominal = _score(case)
    draws = _draw(case, nominal, n_draws, seed, each_criterion=True)
    perfusion, log_ratio = _other_findings(case)
    others = None if log_ratio is None else _Others(log_ratio, 1 + scoring.examination_correlation)
    checks = (
        *case.checks,
        *_evidence_checks(case, nominal, draws, others, n_draws=n_draws, seed=seed),
    )
    gates = tuple(check.gate(0) for check in checks)
    codes = _codes(nominal, checks, scoring)

    findings = tuple(
        _finding(one, case, nominal, draws)
        for one in case.spectroscopy
        if one.criterion.is_verified
    )
    evidence = _evidence(nominal, draws, prior, LABELS[codes[0]])
    combined = _combine(evidence, nominal, draws, others, gates, scoring)
    favors = LABELS[codes[0]] if combined is None or combined.favors is None else combined.favors
    found = Assessment(
        favors=favors,
        evidence=evidence,
        findings=findings + perfusion,
        gates=gates,
        combined=combined,
    )
    facts = phrasing.Facts(
        areas=case.areas,
        quality=quality,
        acquisition=acquisition,
        thresholds=thresholds,
        context=context,
        scoring=scoring,
        lipid_scenarios=_lipid_scenarios(case),
        lactate_scenarios=_lactate_scenarios(case, nominal),
        criteria=case.criteria,
        together=None if combined is None or others is None else others.together,
    )
    found = replace(
        found,
        caveats=phrasing.caveats(found, facts),
        suggestions=phrasing.suggestions(found, facts),
    )
    return replace(found, paragraph=phrasing.paragraph(found, facts))


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
    check_areas(areas)
    scoring, thresholds = scoring or Scoring(), thresholds or QualityThresholds()
    context = context or Context()
    check_probability("prior", prior)
    _check_draws(n_draws, seed)
    shape = areas.values.shape[:-1]
    case = _prepare(
        areas, quality, acquisition, criteria, scoring, thresholds, context,
        None if near_skull is None else np.broadcast_to(near_skull, shape).reshape(-1),
    )  # fmt: skip
    nominal = _score(case)
    draws = _draw(case, nominal, n_draws, seed, each_criterion=False)
    checks = (*case.checks, *_evidence_checks(case, nominal, draws, n_draws=n_draws, seed=seed))
    return GridAssessment(
        codes=_codes(nominal, checks, scoring).reshape(shape),
        log_likelihood_ratio=nominal.total.reshape(shape),
        interval=None if draws is None else draws.interval.reshape(*shape, 2),
        posterior=_posterior(nominal.total, prior).reshape(shape),
        label_probability=None if draws is None else draws.fractions.reshape(*shape, 3),
        leaning_probability=None if draws is None else draws.leaning.reshape(*shape, 2),
        closed={check.name: (check.is_closed & check.is_checked).reshape(shape)
                for check in checks},
        family_scores={name: np.array(values).reshape(shape)
                       for name, values in nominal.families.items()},
        prior=prior,
        findings=_grid_findings(case, nominal, shape),
        requirements={check.name: check.threshold for check in checks},
        withholding=frozenset(check.name for check in checks if check.gives is not None),
    )  # fmt: skip


def _grid_findings(case: _Case, nominal: Score, shape: tuple[int, ...]) -> tuple[GridFinding, ...]:
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
        ``scored`` says which would take part in the evidence.

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
    if areas.values.size != len(areas.names):
        msg = f"place takes one voxel; got values of shape {areas.values.shape}"
        raise ValueError(msg)
    case = _prepare(
        areas, None, acquisition, criteria, scoring or Scoring(), QualityThresholds(),
        context or Context(),
    )  # fmt: skip
    nominal = _score(case)
    draws = _draw(case, nominal, 1000, 0, each_criterion=True)
    return tuple(_finding(one, case, nominal, draws) for one in case.spectroscopy)


def _check_draws(n_draws: object, seed: object) -> None:
    check_whole("n_draws", n_draws, 1)
    check_whole("seed", seed, 0)


# ---- preparation ------------------------------------------------------------------------------


def _flat(areas: PeakAreas) -> PeakAreas:
    k = len(areas.names)
    covariance = areas.covariance
    flat = PeakAreas(
        areas.names,
        areas.values.reshape(-1, k),
        None if covariance is None else covariance.reshape(-1, k, k),
        areas.unit,
        areas.quantity,
    ).with_ll()
    parts = ("Lip13", "Lip09")
    is_known = "Lip" not in flat and all(name in flat for name in parts)
    return flat.with_sum("Lip", parts) if is_known else flat


def _flat_quality(quality: Quality | None, v: int) -> Quality | None:
    if quality is None:
        return None
    if quality.snr.size != v:
        msg = f"quality has {quality.snr.size} voxels, the areas have {v}"
        raise ValueError(msg)
    return Quality(*(getattr(quality, name).reshape(-1) for name in quality.__slots__))


def _prepare(
    areas: PeakAreas,
    quality: Quality | None,
    acquisition: Conditions | None,
    criteria: Sequence[Criterion] | None,
    scoring: Scoring,
    thresholds: QualityThresholds,
    context: Context,
    near_skull: NDArray[np.bool_] | None = None,
) -> _Case:
    for name, value, kind, wanted in (
        ("quality", quality, Quality, "a Quality, such as fit(...).quality"),
        ("context", context, Context, "a Context"),
        ("scoring", scoring, Scoring, "a Scoring"),
        ("thresholds", thresholds, QualityThresholds, "QualityThresholds"),
    ):
        check_type(name, value, kind, wanted, optional=True)
    if acquisition is not None:
        wanted = "an Acquisition, such as spectra.acquisition"
        check_type("acquisition", acquisition, Conditions, wanted)
    other = context.contralateral
    if other is not None and (other.quantity, other.unit) != (areas.quantity, areas.unit):
        msg = (
            "contralateral must be in the quantity and unit of the case: it is "
            f"{_measure(other)} and the case {_measure(areas)}"
        )
        raise ValueError(msg)
    criteria = load_criteria() if criteria is None else criteria
    criteria = (criteria,) if isinstance(criteria, Criterion) else criteria
    check_each("criteria", criteria, Criterion, "Criterion objects, as load_criteria returns")
    flat = _flat(areas)
    v = len(flat.values)
    weighted = weigh(
        criteria,
        quantity=flat.quantity,
        acquisition=acquisition,
        population=context.population,
        scoring=scoring,
    )
    spectroscopy = [one for one in weighted if one.criterion.kind == "spectroscopy"]
    checks = (
        *quality_checks(flat, _flat_quality(quality, v), thresholds, scoring),
        *tissue_checks(flat, acquisition, context, spectroscopy, scoring, near_skull),
    )
    lipid_off, by_fact = np.zeros(v, dtype=bool), np.zeros(v, dtype=bool)
    for check in checks:
        if check.takes_lipid_off:
            closed = check.is_closed & check.is_checked
            lipid_off |= closed
            if not check.by_threshold:
                by_fact |= closed
    return _Case(
        areas=flat,
        criteria=weighted,
        checks=checks,
        scoring=scoring,
        context=context,
        lipid_off=lipid_off,
        lipid_off_by_threshold=lipid_off & ~by_fact,
        factor=scoring.after_bevacizumab if context.after_bevacizumab else 1.0,
    )


def _measure(areas: PeakAreas) -> str:
    return areas.quantity if areas.unit is None else f"{areas.quantity} in {areas.unit}"


def _score(case: _Case) -> Score:
    return score(
        case.spectroscopy,
        detected_ranges(case.areas),
        (len(case.areas.values),),
        case.scoring,
        lipid_off=case.lipid_off,
        factor=case.factor,
    )


# ---- draws ------------------------------------------------------------------------------------


def _needed_peaks(case: _Case) -> list[str]:
    """Return the peaks that some scored criterion looks at."""
    needed: dict[str, None] = {}
    for one in case.criteria:
        for comparison in one.criterion.any_of:
            names = [name for _, name in comparison.terms]
            names += [comparison.proxy_for] if comparison.proxy_for else []
            for name in names:
                needed.update(dict.fromkeys(name.split("/")))
    return [name for name in needed if name in case.areas]


def _square_roots(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return A with A A^T = covariance, which may be singular, shape (V, P, P)."""
    finite = np.asarray(np.isfinite(covariance).all(axis=(1, 2)))
    clean = np.where(finite[:, np.newaxis, np.newaxis], covariance, 0.0)
    values, vectors = np.linalg.eigh(clean)
    roots: NDArray[np.float64] = vectors * np.sqrt(np.maximum(values, 0.0))[:, np.newaxis, :]
    return roots


def _draw(
    case: _Case, nominal: Score, n_draws: int, seed: int, *, each_criterion: bool
) -> _Draws | None:
    """Repeat the score over draws of the areas' errors, in pieces that stay in the cache."""
    areas = case.areas
    if areas.covariance is None:
        return None
    spectroscopy = case.spectroscopy
    names = _needed_peaks(case)
    at = [areas.index(name) for name in names]
    covariance = areas.covariance[:, at][:, :, at]
    roots = _square_roots(covariance)
    standard = np.random.default_rng(seed).standard_normal((len(at), n_draws))
    v = len(areas.values)
    interval = np.full((v, 2), np.nan)
    fractions = np.full((v, 3), np.nan)
    leaning = np.full((v, 2), np.nan)
    on_side: dict[str, NDArray[np.float64]] = {}
    totals = opposed = None
    step = max(1, _ELEMENTS // n_draws)
    for start in range(0, v, step):
        piece = slice(start, min(start + step, v))
        drawn = areas.values[piece][:, at][:, :, np.newaxis] + roots[piece] @ standard
        ranges = plain_ranges({name: drawn[:, i] for i, name in enumerate(names)})
        found = score(
            spectroscopy,
            ranges,
            (drawn.shape[0], n_draws),
            case.scoring,
            lipid_off=case.lipid_off[piece, np.newaxis],
            factor=case.factor,
            nominal=_slice(nominal, piece),
        )
        is_opposed = are_opposed(found, case.scoring)
        codes = label_codes(found.total, is_opposed, case.scoring)
        for code in (NECROSIS, RECURRENCE, INDETERMINATE):
            fractions[piece, code] = (codes == code).mean(axis=1)
        for code, sign in ((NECROSIS, -1), (RECURRENCE, 1)):
            leaning[piece, code] = (sign * found.total >= case.scoring.opposed).mean(axis=1)
        # an empty draw (no ratio at all) is no evidence
        ordered = np.sort(np.nan_to_num(found.total), axis=1)
        low, high = int(0.025 * (n_draws - 1)), math.ceil(0.975 * (n_draws - 1))
        interval[piece, 0], interval[piece, 1] = ordered[:, low], ordered[:, high]
        if each_criterion:
            on_side.update(_sides(case, ranges, nominal))
            totals, opposed = np.nan_to_num(found.total), is_opposed
    silent = np.isnan(nominal.total)
    for one in (interval, fractions, leaning):
        one[silent] = np.nan
    return _Draws(
        interval=interval, fractions=fractions, leaning=leaning, on_side=on_side, totals=totals,
        opposed=opposed,
    )  # fmt: skip


def _slice(nominal: Score, piece: slice) -> Score:
    """Return the part of a score that draws need."""
    outcomes = {
        name: (replace(outcome, is_decided=outcome.is_decided[piece]), own)
        for name, (outcome, own) in nominal.outcomes.items()
    }
    direct = {
        name: [mask if mask.size == 1 else mask[piece] for mask in masks]
        for name, masks in nominal.direct.items()
    }
    return Score(nominal.total[piece], {}, outcomes, direct)


def _sides(case: _Case, ranges: object, nominal: Score) -> dict[str, NDArray[np.float64]]:
    """Return, for one voxel, the fraction of draws that meet each criterion."""
    fractions = {}
    for one in case.criteria:
        masks = nominal.direct.get(one.criterion.id)
        direct = None if masks is None else [mask[:, np.newaxis] for mask in masks]
        outcome, _ = judge(one.criterion, ranges, direct)  # type: ignore[arg-type]
        if outcome is not None:
            fractions[one.criterion.id] = outcome.is_met.mean(axis=1)
    return fractions


# ---- label ------------------------------------------------------------------------------------


def _evidence_checks(
    case: _Case,
    nominal: Score,
    draws: _Draws | None,
    others: _Others | None = None,
    *,
    n_draws: int,
    seed: int,
) -> tuple[Check, ...]:
    """Return the gates on the evidence itself: any, unopposed, robust, and no normal brain's."""
    scoring = case.scoring
    opposed = are_opposed(nominal, scoring)
    codes = label_codes(nominal.total, opposed, scoring)
    together = codes if others is None else others.codes(nominal.total, opposed, scoring)
    return (
        *_score_checks(nominal, opposed, scoring),
        _draws_check(codes, draws, scoring),
        *_three_peaks_checks(case.areas, (codes == NECROSIS) | (together == NECROSIS)),
        *_left_out_checks(case, codes, together, others, n_draws, seed),
        *_together_checks(together, draws, others, scoring),
    )


def _score_checks(
    nominal: Score, opposed: NDArray[np.bool_], scoring: Scoring
) -> tuple[Check, Check]:
    """Return the gates that ask for evidence, and for evidence that does not contradict itself."""
    silent, families = np.isnan(nominal.total), nominal.families
    yes = np.ones(silent.shape, dtype=bool)

    def say_opposed(i: int) -> str:
        if not opposed[i]:
            return "No two families of criteria oppose each other strongly."
        strongest = sorted(families, key=lambda name: float(families[name][i]))
        return (
            f"{strongest[0]} points to necrosis and {strongest[-1]} to recurrence, each beyond a "
            f"factor of {math.exp(scoring.opposed):.2g}."
        )

    return (
        Check(
            "evidence", silent, yes,
            lambda i: f"{'No criterion' if silent[i] else 'Criteria'} can be evaluated.",
            threshold="at least one criterion", source="by definition",
            gives=Favors.NOT_EVALUABLE,
        ),
        Check(
            "conflict", opposed, yes, say_opposed,
            threshold=f"no two families opposed beyond {math.exp(scoring.opposed):.2g} : 1",
            gives=Favors.INDETERMINATE,
        ),
    )  # fmt: skip


def _draws_check(codes: NDArray[np.uint8], draws: _Draws | None, scoring: Scoring) -> Check:
    """Return the gate on labels that do not hold within the areas' errors."""
    limit = 100 * scoring.draws_on_label
    threshold = f"label holds in >= {limit:.0f} % of draws"
    if draws is None:
        no = np.zeros(codes.shape, dtype=bool)
        return Check(
            "draws", no, no,
            lambda _: "Not checked: the areas have no reported uncertainty to draw from.",
            threshold=threshold,
        )  # fmt: skip
    labelled = codes < INDETERMINATE
    held = np.where(labelled, _held(draws, codes), 1.0)

    def say_held(i: int) -> str:
        if not labelled[i]:
            return "There is no label to hold."
        return (
            f"The label holds in {100 * held[i]:.0f} % of draws of the areas' errors "
            f"(limit: {limit:.0f} %)."
        )

    return Check(
        "draws", held < scoring.draws_on_label, labelled, say_held,
        threshold=threshold, gives=Favors.INDETERMINATE,
    )  # fmt: skip


def _three_peaks_checks(areas: PeakAreas, is_necrosis: NDArray[np.bool_]) -> Iterable[Check]:
    """Yield the gate on necrosis where a peak is missing that would tell normal brain."""
    missing = [name for name in ("Cho", "Cr", "NAA") if name not in areas]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        yield Check(
            "three-peaks", is_necrosis, np.ones(is_necrosis.shape, dtype=bool),
            lambda _: (
                f"{joined(missing)} {verb} not among the peaks: what the published criteria call "
                "necrosis may then be normal brain."
            ),
            threshold="Cho, Cr and NAA given, or another label than necrosis",
            source="what the near-normal gate needs", gives=Favors.INDETERMINATE,
        )  # fmt: skip


def _left_out_checks(
    case: _Case,
    codes: NDArray[np.uint8],
    together: NDArray[np.uint8],
    others: _Others | None,
    n_draws: int,
    seed: int,
) -> Iterable[Check]:
    """Yield the gate on labels that exist only because a threshold left lipid criteria out."""
    left_out = case.lipid_off_by_threshold
    if not left_out.any():
        return
    differs = np.zeros(left_out.shape, dtype=bool)
    asked = np.flatnonzero(left_out & (np.minimum(codes, together) < INDETERMINATE))
    if asked.size:
        whole = replace(
            case, areas=_voxels(case.areas, asked), lipid_off=np.zeros(asked.size, dtype=bool)
        )
        nominal = _score(whole)
        draws = _draw(whole, nominal, n_draws, seed, each_criterion=others is not None)
        opposed = are_opposed(nominal, case.scoring)
        found = label_codes(nominal.total, opposed, case.scoring)
        held = None if draws is None else _held(draws, found)
        kept = _keeps(codes[asked], found, held, case.scoring)
        if others is not None:
            found = others.codes(nominal.total, opposed, case.scoring)
            held = others.held(found, draws, case.scoring)
            kept &= _keeps(together[asked], found, held, case.scoring)
        differs[asked] = ~kept

    def sentence(i: int) -> str:
        if not differs[i]:
            return "No label rests on lipid criteria being left out."
        return (
            "A label would rest on lipid criteria being left out, by a threshold that is assumed: "
            "with them there is none."
        )

    yield Check(
        "lipid-left-out", differs, left_out, sentence,
        threshold="the same label with the lipid criteria, where a threshold left them out",
        source="an assumed threshold may only withhold a label", gives=Favors.INDETERMINATE,
    )  # fmt: skip


def _held(draws: _Draws, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the fraction of draws that give the label of each voxel, where it has one."""
    fraction: NDArray[np.float64] = draws.fractions[
        np.arange(len(codes)), np.minimum(codes, INDETERMINATE)
    ]
    return fraction


def _keeps(
    codes: NDArray[np.uint8],
    found: NDArray[np.uint8],
    held: NDArray[np.float64] | None,
    scoring: Scoring,
) -> NDArray[np.bool_]:
    """Return where a label, if there is one, is found again and holds in the draws."""
    again = found == codes
    if held is not None:
        again &= held >= scoring.draws_on_label
    kept: NDArray[np.bool_] = (codes >= INDETERMINATE) | again
    return kept


def _voxels(areas: PeakAreas, at: NDArray[np.intp]) -> PeakAreas:
    """Return some voxels of areas of shape (V, K)."""
    covariance = None if areas.covariance is None else areas.covariance[at]
    return PeakAreas(areas.names, areas.values[at], covariance, areas.unit, areas.quantity)


def _together_checks(
    codes: NDArray[np.uint8], draws: _Draws | None, others: _Others | None, scoring: Scoring
) -> Iterable[Check]:
    """Yield the draw rule for the label of all examinations of one voxel."""
    held = None if others is None else others.held(codes, draws, scoring)
    if held is None:
        return
    limit, labelled = scoring.draws_on_label, codes < INDETERMINATE

    def sentence(i: int) -> str:
        if not labelled[i]:
            return "The examinations together give no label to hold."
        return (
            "The label of all examinations together holds in "
            f"{100 * held[i]:.0f} % of draws of the areas' errors (limit: {100 * limit:.0f} %)."
        )

    yield Check(
        TOGETHER, labelled & (held < limit), labelled, sentence,
        threshold=f"label holds in >= {100 * limit:.0f} % of draws", gives=Favors.INDETERMINATE,
    )  # fmt: skip


def _codes(nominal: Score, checks: Sequence[Check], scoring: Scoring) -> NDArray[np.uint8]:
    codes = label_codes(nominal.total, are_opposed(nominal, scoring), scoring)
    return _apply(codes, [check for check in checks if check.name != TOGETHER])


def _apply(codes: NDArray[np.uint8], checks: Sequence[Check]) -> NDArray[np.uint8]:
    gated = codes.copy()
    for gives, code in ((Favors.INDETERMINATE, INDETERMINATE),
                        (Favors.NOT_EVALUABLE, NOT_EVALUABLE)):  # fmt: skip
        for check in checks:
            if check.gives is gives:
                gated[check.is_closed & check.is_checked] = code
    return gated


def _posterior(log_ratio: NDArray[np.float64], prior: float) -> NDArray[np.float64]:
    odds = np.exp(log_ratio) * prior / (1 - prior)
    posterior: NDArray[np.float64] = odds / (1 + odds)
    return posterior


def _evidence(nominal: Score, draws: _Draws | None, prior: float, favors: Favors) -> Evidence:
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


# ---- findings ---------------------------------------------------------------------------------


def _finding(one: Weighted, case: _Case, nominal: Score, draws: _Draws | None) -> Finding:
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
        is_bound=value is not None and _is_bound(shown, ranges),
        is_met=met,
        favors=favors,
        family=criterion.family,
        scored=takes_part,
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


def _is_bound(criterion: Criterion, ranges: Ranges) -> bool:
    """Return whether a ratio of a criterion is known by a bound alone."""
    found = [ranges(name) for one in criterion.any_of for _, name in one.terms]
    return any(one is not None and one[0][0] != one[1][0] for one in found)


def _side(criterion: Criterion, *, met: bool) -> Favors:
    towards_recurrence = (criterion.side == "recurrence") == met
    return Favors.RECURRENCE if towards_recurrence else Favors.NECROSIS


def _weights(one: Weighted, case: _Case, is_proxy: bool, distance: float) -> dict[str, float]:
    weights = {
        "applicability": one.applicability,
        "borderline": min(distance / case.scoring.borderline, 1.0),
        "proxy": case.scoring.proxy if is_proxy else 1.0,
    }
    if case.factor != 1:
        weights["after-bevacizumab"] = case.factor
    return weights


def _other_findings(case: _Case) -> tuple[tuple[Finding, ...], float | None]:
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


def _perfusion_finding(one: Weighted, case: _Case) -> Finding | None:
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
        scored=log_ratio is not None,
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


def _combine(
    evidence: Evidence,
    nominal: Score,
    draws: _Draws | None,
    others: _Others | None,
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


# ---- robustness -------------------------------------------------------------------------------


def _scenario(case: _Case, peaks: Mapping[str, NDArray[np.float64]], nominal: Score) -> float:
    """Return the likelihood ratio of changed areas."""
    columns = {name: values[:, np.newaxis] for name, values in peaks.items()}
    found = score(
        case.spectroscopy, plain_ranges(columns), (1, 1), case.scoring,
        lipid_off=case.lipid_off[:, np.newaxis], factor=case.factor, nominal=nominal,
    )  # fmt: skip
    return math.exp(float(found.total[0, 0]))


def _lipid_scenarios(case: _Case) -> tuple[tuple[float, float, float], ...]:
    """Return (lipid 2.0 over 1.3, share of NAA removed, likelihood ratio) for each share."""
    areas = case.areas
    if "Lip20" in areas or "NAA" not in areas or not areas.detected("NAA")[0]:
        return ()
    lipid = next((name for name in ("Lip13", "LL") if name in areas), None)
    if lipid is None:
        return ()
    nominal = _score(case)
    if math.isnan(nominal.total[0]):
        return ()
    peaks = {name: areas.value(name) for name in areas.names}
    naa, amount = peaks["NAA"], np.maximum(peaks[lipid], 0.0)
    found = []
    for share in case.scoring.lipid20_shares:
        removed = share * LIPID20_PROTONS * amount
        changed = _scenario(case, {**peaks, "NAA": naa - removed}, nominal)
        found.append((share, float(removed[0] / naa[0]), changed))
    return tuple(found)


def _lactate_scenarios(case: _Case, nominal: Score) -> tuple[tuple[float, float], ...]:
    """Return (lactate over LL, likelihood ratio), where LL could not be split."""
    areas = case.areas
    proxied = any(bool(outcome.is_proxy.reshape(-1)[0]) and bool(outcome.is_decided[0])
                  for outcome, _ in nominal.outcomes.values())  # fmt: skip
    if "LL" not in areas or case.lipid_off[0] or not proxied or math.isnan(nominal.total[0]):
        return ()
    found = []
    for share in case.scoring.lactate_shares:
        # the published ratios are evaluated, at the weight of the proxies
        criteria = tuple(_split(one, share) for one in case.criteria)
        changed = replace(case, criteria=criteria)
        found.append((share, math.exp(float(_score(changed).total[0]))))
    return tuple(found)


def _split(one: Weighted, lactate_share: float) -> Weighted:
    """Return a criterion whose proxy is corrected for the share of lactate in LL."""
    criterion = one.criterion
    if not criterion.is_proxy:
        return one
    comparisons = []
    for comparison in criterion.any_of:
        factor = 1.0
        if comparison.proxy_for is not None:
            meant = comparison.proxy_for.split("/")
            # never quite zero: no lactate at all is far below any cut-off, not undefined
            shares = {"Lac": max(lactate_share, 1e-9), "Lip": max(1 - lactate_share, 1e-9)}
            factor = shares.get(meant[0], 1.0) / shares.get(meant[1], 1.0)
        comparisons.append(replace(comparison, cutoff=comparison.cutoff / factor))
    return replace(one, criterion=replace(criterion, any_of=tuple(comparisons)))
