"""The arithmetic of the evidence, over any number of voxels and draws at once.

A criterion gives a log-likelihood ratio from its study's counts, on the side where the case falls,
times three weights: how far the value is from the cut-off, how well the study's echo time, field
and population fit the case, and whether a ratio stands in for the published one. Criteria that
share a numerator (a *family*) are averaged, because they share patients and the same peak; the
families are added and divided by ``1 + (k - 1) rho``, because they still share choline.

Arrays have shape (V,) for voxels or (V, D) for voxels and draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mrs_necrosis.classifier.judging import judge
from mrs_necrosis.constants import NORMAL_CHO_NAA
from mrs_necrosis.criteria import populations_of, te_class

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mrs_necrosis.areas import Quantity
    from mrs_necrosis.classifier.judging import Outcome, Ranges
    from mrs_necrosis.criteria import Criterion
    from mrs_necrosis.spectra import Conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """Constants of the scorer and of the gates on tissue; all can be set.

    None was fitted to data; those marked *assumed* have no source. "Song" is Song 1996: 25
    volunteers, 1.5 T, TE 270 ms, five regions.

    Parameters
    ----------
    jeffreys : float
        Added to each count of a study (Jeffreys' prior, 1/2).
    criterion_cap : float
        Largest absolute log-likelihood ratio of one criterion: ln 10 (assumed).
    borderline : float
        A value has full weight from this log-distance to the cut-off on: ln 1.2 (assumed).
    unknown : float
        Factor where the study or the case does not say echo time, field or population (assumed).
    mismatch : float
        Factor for each of these that differs, and for heights judged by a cut-off of areas or
        concentrations, or the other way round (assumed). Lipid criteria of another echo-time class
        are left out.
    proxy : float
        Factor where a ratio stands in for the published one (assumed).
    family_correlation : float
        rho between families (assumed).
    examination_correlation : float
        rho between spectroscopy and perfusion (assumed).
    necrosis_at_or_below, recurrence_at_or_above : float
        Likelihood ratios that make a label (assumed).
    opposed : float
        Two families that oppose each other beyond this log-likelihood ratio make the evidence
        indeterminate: ln 2 (assumed).
    after_bevacizumab : float
        Factor on everything, because choline falls in treated tumour too (Jeon 2012, Ratai 2013;
        the factor is assumed).
    draws_on_label : float
        Fraction of draws of the areas' errors that a label must hold in (assumed).
    believable : float
        A likelihood ratio beyond this, or below its inverse, is more than spectroscopy alone can
        give: about 20, from the pooled ratios of Zhang 2014.
    field_tolerance : float
        Relative difference up to which two field strengths are the same (2.89 T is 3 T).
    normal_cho_naa, normal_naa_cr : float
        Ends of the range of regional means in Song: NAA/Cho from 1.09, NAA/Cr from 1.72. Inside
        both the tissue is normal, whatever LL.
    normal_naa_cr_short : float
        The same for NAA/Cr at short echo time: white matter at TE 30 ms, 1.5 to 3 T (assumed).
    near_normal_cho_naa, near_normal_naa_cr : float
        Two sd beyond the outermost region of Song: 1 / (1.09 - 2 x 0.2) and 1.72 - 2 x 0.35.
        Inside both, and with little LL, the spectrum is near-normal.
    near_normal_ll_cr, near_normal_sd : float
        LL/Cr of normal brain is below 0.3 at TE 30 ms and 0.2 at 144 ms, with an allowance
        (assumed); LL counts as raised only beyond so many of its sd, because a broad hump in a
        normal spectrum must not look like lipid.
    contralateral_factor : float
        Cho/NAA and NAA/Cr within this factor of the other side are unchanged (assumed).
    low_metabolites : float
        Cho and Cr both below this fraction of the other side: necrosis, mixed tissue and partial
        volume look alike (assumed; their ambiguity: Dowling 2001).
    least_lesion_share : float
        Of a voxel; with less of the lesion in it, no label is given of the lesion (assumed).
    unexpected_ppm : float
        An unexplained peak this near to a used one may be what was fitted as it (assumed).
    lipid20_shares : tuple of float
        Scenarios of lipid at 2.0 over lipid at 1.3 ppm: none, and the 0.15 +/- 0.07 that LCModel
        assumes.
    lactate_shares : tuple of float
        Scenarios of lactate over LL.
    """

    jeffreys: float = 0.5
    criterion_cap: float = math.log(10)
    borderline: float = math.log(1.2)
    unknown: float = 0.75
    mismatch: float = 0.5
    proxy: float = 0.5
    family_correlation: float = 0.5
    examination_correlation: float = 0.5
    necrosis_at_or_below: float = 1 / 3
    recurrence_at_or_above: float = 3.0
    opposed: float = math.log(2)
    after_bevacizumab: float = 0.5
    draws_on_label: float = 0.9
    believable: float = 20.0
    field_tolerance: float = 0.1
    normal_cho_naa: float = NORMAL_CHO_NAA
    normal_naa_cr: float = 1.72
    normal_naa_cr_short: float = 1.4
    near_normal_cho_naa: float = 1.45
    near_normal_naa_cr: float = 1.02
    near_normal_ll_cr: float = 0.5
    near_normal_sd: float = 2.0
    contralateral_factor: float = 1.3
    low_metabolites: float = 0.5
    least_lesion_share: float = 0.5
    unexpected_ppm: float = 0.2
    lipid20_shares: tuple[float, ...] = (0.0, 0.08, 0.15, 0.22)
    lactate_shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            numbers = tuple(value) if name.endswith("_shares") else (value,)
            if not all(isinstance(x, (int, float)) and 0 <= x < math.inf for x in numbers):
                msg = f"{name} must be a number from 0 on; got {value!r}"
                raise ValueError(msg)
        if not 0 < self.necrosis_at_or_below <= 1 <= self.recurrence_at_or_above:
            msg = (
                "labels need necrosis_at_or_below in (0, 1] and recurrence_at_or_above from 1 on; "
                f"got {self.necrosis_at_or_below} and {self.recurrence_at_or_above}"
            )
            raise ValueError(msg)
        if not self.borderline > 0:
            msg = "borderline must be above zero"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """A criterion as it applies to one acquisition.

    Parameters
    ----------
    criterion : Criterion
        With its cut-off for the quantity that is judged.
    applicability : float
        0 where it is left out.
    misfits, unknowns : tuple of str
        Which of ``"echo time"``, ``"field"``, ``"population"``, ``"quantity"``.
    for_recurrence, for_necrosis : float or None
        Log-likelihood ratios of both outcomes; None if the criterion has no counts.
    """

    criterion: Criterion
    applicability: float
    misfits: tuple[str, ...] = ()
    unknowns: tuple[str, ...] = ()
    for_recurrence: float | None = None
    for_necrosis: float | None = None

    @property
    def is_scored(self) -> bool:
        """Whether it takes part in the likelihood ratio."""
        return (
            self.criterion.enabled and self.for_recurrence is not None and self.applicability > 0
        )


def involves_lipid(criterion: Criterion) -> bool:
    """Return whether a criterion looks at lipid or lactate."""
    return any(
        peak in {"LL", "Lip", "Lac", "Lip13", "Lip09"}
        for one in criterion.any_of
        for _, name in one.terms
        for peak in name.split("/")
    )


def weigh(
    criteria: Sequence[Criterion],
    *,
    quantity: Quantity,
    acquisition: Conditions | None,
    population: str | None,
    scoring: Scoring,
) -> tuple[Weighted, ...]:
    """Return the criteria with what their studies and the case have in common.

    Parameters
    ----------
    criteria : sequence of Criterion
        In any order.
    quantity : {"area", "height", "molar"}
        What is judged.
    acquisition : Acquisition, PeakTable or None
        None if nothing is known of it.
    population : str or None
        Of the case.
    scoring : Scoring
        Its factors are multiplied: one per mismatch, and one if anything is unknown.

    Returns
    -------
    tuple of Weighted
        In the same order.
    """
    return tuple(_weigh(one, quantity, acquisition, population, scoring) for one in criteria)


def _weigh(
    criterion: Criterion,
    quantity: Quantity,
    acquisition: Conditions | None,
    population: str | None,
    scoring: Scoring,
) -> Weighted:
    fits = {"population": _population_fits(criterion, population)}
    if criterion.kind == "spectroscopy":
        fits["echo time"] = _echo_time_fits(criterion, acquisition)
        fits["field"] = _field_fits(criterion, acquisition, scoring)
    misfits = [name for name, fit in fits.items() if fit is False]
    unknowns = [name for name, fit in fits.items() if fit is None]
    if criterion.quantity not in {None, quantity} and "height" in {criterion.quantity, quantity}:
        misfits.append("quantity")
    applicability = scoring.mismatch ** len(misfits)
    if unknowns:
        applicability *= scoring.unknown
    if "echo time" in misfits and involves_lipid(criterion):
        applicability = 0.0
    for_recurrence = for_necrosis = None
    if criterion.counts is not None:
        for_recurrence, for_necrosis = criterion.log_likelihood_ratios(
            jeffreys=scoring.jeffreys, cap=scoring.criterion_cap
        )
    return Weighted(
        criterion=criterion.for_quantity(quantity),
        applicability=applicability,
        misfits=tuple(misfits),
        unknowns=tuple(unknowns),
        for_recurrence=for_recurrence,
        for_necrosis=for_necrosis,
    )


def _population_fits(criterion: Criterion, population: str | None) -> bool | None:
    published = criterion.applies_to
    if population is None or not published.population:
        return None
    if populations_of(population) & set(published.population):
        return True
    return None if published.has_mixed_population else False


def _echo_time_fits(criterion: Criterion, acquisition: Conditions | None) -> bool | None:
    published = criterion.applies_to.te_class
    if published is None or acquisition is None or acquisition.echo_time_s is None:
        return None
    return te_class(acquisition.echo_time_s) == published


def _field_fits(
    criterion: Criterion, acquisition: Conditions | None, scoring: Scoring
) -> bool | None:
    published = criterion.applies_to.field_t
    tesla = None if acquisition is None else acquisition.field_t
    if not published or tesla is None:
        return None
    return any(abs(tesla - one) <= scoring.field_tolerance * one for one in published)


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Combined evidence in every voxel (and draw).

    Parameters
    ----------
    total : ndarray of float64
        Log-likelihood ratio towards recurrence; NaN where no criterion is decided.
    families : mapping of str to ndarray of float64
        The same for each family; NaN where none of its criteria is decided.
    outcomes : mapping of str to (Outcome, ndarray of float64)
        By identifier: what the criterion says, and its own log-likelihood ratio.
    direct : mapping of str to list of ndarray
        Where published ratios were used and not their proxies.
    """

    total: NDArray[np.float64]
    families: Mapping[str, NDArray[np.float64]]
    outcomes: Mapping[str, tuple[Outcome, NDArray[np.float64]]] = field(default_factory=dict)
    direct: Mapping[str, list[NDArray[np.bool_]]] = field(default_factory=dict)


def score(
    criteria: Sequence[Weighted],
    ranges: Ranges,
    shape: tuple[int, ...],
    scoring: Scoring,
    *,
    lipid_off: NDArray[np.bool_],
    factor: float = 1.0,
    nominal: Score | None = None,
) -> Score:
    """Combine all scored criteria.

    Parameters
    ----------
    criteria : sequence of Weighted
        Those that are not scored are left out.
    ranges : callable
        Ratios; see ``detected_ranges`` and ``plain_ranges``.
    shape : tuple of int
        (V,), or (V, D) for draws.
    scoring : Scoring
        Constants.
    lipid_off : ndarray of bool, shape (V,) or (V, 1)
        Where criteria that look at lipid or lactate are left out.
    factor : float
        On everything (after bevacizumab).
    nominal : Score or None
        For draws: the score of the areas themselves. It decides which criteria take part and
        where a published ratio is used, so that draws differ by their areas alone.

    Returns
    -------
    Score
        Arrays of the given shape.
    """
    sums: dict[str, NDArray[np.float64]] = {}
    numbers: dict[str, NDArray[np.float64]] = {}
    asked: dict[str, NDArray[np.float64]] = {}
    outcomes: dict[str, tuple[Outcome, NDArray[np.float64]]] = {}
    masks: dict[str, list[NDArray[np.bool_]]] = {}
    for one in criteria:
        name = one.criterion.id
        if not one.is_scored or one.for_recurrence is None or one.for_necrosis is None:
            continue
        direct = None
        if nominal is not None:
            if name not in nominal.outcomes:
                continue
            direct = [mask[:, np.newaxis] for mask in nominal.direct[name]]
        outcome, used = judge(one.criterion, ranges, direct)
        if outcome is None:
            continue
        masks[name] = used
        takes_part = outcome.is_decided
        if nominal is not None:
            takes_part = takes_part & nominal.outcomes[name][0].is_decided[:, np.newaxis]
        if involves_lipid(one.criterion):
            takes_part = takes_part & ~lipid_off
        met, otherwise = one.for_recurrence, one.for_necrosis
        if one.criterion.side == "necrosis":
            met, otherwise = otherwise, met
        weight = np.minimum(outcome.distance / scoring.borderline, 1.0)
        weight = weight * (one.applicability * factor)
        if outcome.is_proxy.any():
            weight = weight * np.where(outcome.is_proxy, scoring.proxy, 1.0)
        own = np.where(takes_part, weight * np.where(outcome.is_met, met, otherwise), 0.0)
        outcomes[name] = replace(outcome, is_decided=takes_part), own
        family = one.criterion.family
        sums[family] = sums[family] + own if family in sums else own
        numbers[family] = numbers.get(family, 0.0) + takes_part.astype(np.float64)
        # what a bound leaves open says nothing, and does not leave the mean to what it decides
        is_asked = ~lipid_off if involves_lipid(one.criterion) else np.ones(1, dtype=bool)
        asked[family] = asked.get(family, 0.0) + (takes_part | is_asked).astype(np.float64)
    total = np.zeros(shape)
    k = np.zeros(shape)
    families: dict[str, NDArray[np.float64]] = {}
    for family, summed in sums.items():
        with np.errstate(invalid="ignore"):
            mean = np.where(numbers[family] > 0, summed / asked[family], np.nan)
            families[family] = np.broadcast_to(mean, shape)
        has_any = numbers[family] > 0
        total = total + np.where(has_any, families[family], 0.0)
        k = k + has_any
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.where(k > 0, total / (1 + (k - 1) * scoring.family_correlation), np.nan)
    return Score(total, families, outcomes, masks)


NECROSIS, RECURRENCE, INDETERMINATE, NOT_EVALUABLE = range(4)
"""Codes of the labels in arrays: their places in ``assessment.LABELS``."""


def are_opposed(found: Score, scoring: Scoring) -> NDArray[np.bool_]:
    """Return where two families oppose each other beyond ``scoring.opposed``."""
    opposed: NDArray[np.bool_] = np.zeros(found.total.shape, dtype=bool)
    if found.families:
        families = list(found.families.values())
        highest = np.fmax.reduce(families)
        lowest = np.fmin.reduce(families)
        opposed = (highest > scoring.opposed) & (lowest < -scoring.opposed)
    return opposed


def label_codes(
    log_ratio: NDArray[np.float64], opposed: NDArray[np.bool_], scoring: Scoring
) -> NDArray[np.uint8]:
    """Return the label that evidence alone gives, before gates.

    Parameters
    ----------
    log_ratio : ndarray of float64
        Towards recurrence; NaN where there is none.
    opposed : ndarray of bool
        Where families oppose each other.
    scoring : Scoring
        Limits.

    Returns
    -------
    ndarray of uint8
        0 necrosis-favoring, 1 recurrence-favoring, 2 indeterminate, 3 not-evaluable.
    """
    codes = np.full(log_ratio.shape, INDETERMINATE, dtype=np.uint8)
    codes[log_ratio <= math.log(scoring.necrosis_at_or_below)] = NECROSIS
    codes[log_ratio >= math.log(scoring.recurrence_at_or_above)] = RECURRENCE
    codes[opposed] = INDETERMINATE
    codes[np.isnan(log_ratio)] = NOT_EVALUABLE
    return codes
