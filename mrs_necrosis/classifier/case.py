"""What is judged: voxels with their criteria, their gates, and the score of their areas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mrs_necrosis.areas import PeakAreas, check_areas
from mrs_necrosis.arguments import check_type
from mrs_necrosis.classifier.context import Context
from mrs_necrosis.classifier.judging import detected_ranges
from mrs_necrosis.classifier.quality_gates import quality_checks
from mrs_necrosis.classifier.scoring import Scoring, score, weigh
from mrs_necrosis.classifier.tissue_gates import tissue_checks
from mrs_necrosis.criteria import Criterion, listed_criteria, load_criteria
from mrs_necrosis.quality import Quality, QualityThresholds
from mrs_necrosis.spectra import Conditions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mrs_necrosis.classifier.gates import Check
    from mrs_necrosis.classifier.scoring import Score, Weighted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """Everything that is needed to judge V voxels."""

    areas: PeakAreas
    quality: Quality | None
    acquisition: Conditions | None
    criteria: tuple[Weighted, ...]
    scoring: Scoring
    thresholds: QualityThresholds
    context: Context
    checks: tuple[Check, ...]
    lipid_off: NDArray[np.bool_]
    lipid_off_by_threshold: NDArray[np.bool_]
    factor: float

    @property
    def spectroscopy(self) -> list[Weighted]:
        """The criteria of spectroscopy."""
        return [one for one in self.criteria if one.criterion.kind == "spectroscopy"]


def _flat(areas: PeakAreas) -> PeakAreas:
    flat = areas.flat().with_ll()
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


def prepared(
    areas: PeakAreas,
    *,
    quality: Quality | None = None,
    acquisition: Conditions | None = None,
    criteria: Sequence[Criterion] | None = None,
    scoring: Scoring | None = None,
    thresholds: QualityThresholds | None = None,
    context: Context | None = None,
    near_skull: NDArray[np.bool_] | None = None,
) -> Case:
    """Return what the arguments of ``assess`` and ``assess_grid`` come to, checked."""
    check_areas(areas)
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
    scoring, thresholds = scoring or Scoring(), thresholds or QualityThresholds()
    context = context or Context()
    other = context.contralateral
    if other is not None and (other.quantity, other.unit) != (areas.quantity, areas.unit):
        msg = (
            "contralateral must be in the quantity and unit of the case: it is "
            f"{_measure(other)} and the case {_measure(areas)}"
        )
        raise ValueError(msg)
    criteria = load_criteria() if criteria is None else listed_criteria(criteria)
    flat = _flat(areas)
    v = len(flat.values)
    quality = _flat_quality(quality, v)
    if near_skull is not None:
        near_skull = np.broadcast_to(near_skull, areas.values.shape[:-1]).reshape(-1)
    weighted = weigh(
        criteria,
        quantity=flat.quantity,
        acquisition=acquisition,
        population=context.population,
        scoring=scoring,
    )
    spectroscopy = [one for one in weighted if one.criterion.kind == "spectroscopy"]
    checks = (
        *quality_checks(flat, quality, thresholds, scoring),
        *tissue_checks(flat, acquisition, context, spectroscopy, scoring, near_skull),
    )
    lipid_off, by_fact = np.zeros(v, dtype=bool), np.zeros(v, dtype=bool)
    for check in checks:
        if check.takes_lipid_off:
            lipid_off |= check.is_closed
            if not check.by_threshold:
                by_fact |= check.is_closed
    return Case(
        areas=flat,
        quality=quality,
        acquisition=acquisition,
        criteria=weighted,
        scoring=scoring,
        thresholds=thresholds,
        context=context,
        checks=checks,
        lipid_off=lipid_off,
        lipid_off_by_threshold=lipid_off & ~by_fact,
        factor=scoring.after_bevacizumab if context.after_bevacizumab else 1.0,
    )


def _measure(areas: PeakAreas) -> str:
    return areas.quantity if areas.unit is None else f"{areas.quantity} in {areas.unit}"


def nominal_score(case: Case) -> Score:
    """Return the score of the areas themselves."""
    return score(
        case.spectroscopy,
        detected_ranges(case.areas),
        (len(case.areas.values),),
        case.scoring,
        lipid_off=case.lipid_off,
        factor=case.factor,
    )
