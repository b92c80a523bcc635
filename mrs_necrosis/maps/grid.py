"""A grid as a whole: its lesion, its own normal tissue, and everything that is shown of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mrs_necrosis.assessment import LABELS, Favors, not_met
from mrs_necrosis.lesion import (
    cho_naa_index,
    contralateral_reference,
    mask_weights,
    summarize_lesion,
)
from mrs_necrosis.lesion.masks import LEAST_LESION, separate_lesions, usable_voxels
from mrs_necrosis.lesion.normal_tissue import normalized_ratios
from mrs_necrosis.lesion.summary import JUDGED, NO_LESION, with_lesions
from mrs_necrosis.maps.map import (
    index_maps,
    label_maps,
    lesion_map,
    reference_maps,
    scalp_map,
    standard_maps,
)
from mrs_necrosis.ratios import standard_ratios

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mrs_necrosis.areas import PeakAreas
    from mrs_necrosis.classifier import GridAssessment
    from mrs_necrosis.lesion.masks import PointSpread
    from mrs_necrosis.lesion.normal_tissue import ChoNAAIndex, Reference
    from mrs_necrosis.lesion.summary import LesionSummary
    from mrs_necrosis.maps.map import Map
    from mrs_necrosis.quality import Quality, QualityThresholds
    from mrs_necrosis.ratios import Ratio


StatementKind = Literal["gate", "recurrence", "necrosis", "caveat"]

_OVERSHOOT = 1.5  # of a share that was resampled; beyond, the numbers are others

SUPPRESSED = "lipid signals were suppressed: no area of lipid, lactate or LL is one of the tissue"
"""What every map of them says then."""


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """A sentence that holds in some voxels: a closed gate, a criterion that is met.

    Parameters
    ----------
    kind : {"gate", "recurrence", "necrosis", "caveat"}
        A closed gate, a criterion that favours a side, anything else worth knowing.
    text : str
        The sentence.
    where : ndarray of bool, shape (X, Y, Z)
        The voxels in which it holds.
    """

    kind: StatementKind
    text: str
    where: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """An image to lay the grid on, or a mask.

    Parameters
    ----------
    values : ndarray, shape (A, B, C)
        Real numbers, in any space.
    affine : ndarray of float64, shape (4, 4)
        Its indices to RAS+ mm.

    Raises
    ------
    ValueError
        If the array is no volume of real numbers, or the affine cannot be inverted.
    """

    values: NDArray[Any]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        values, affine = self.values, self.affine
        if values.ndim != 3 or values.size < 1 or values.dtype.kind not in "biuf":
            msg = (
                "an image must be an array of real numbers with three axes; got "
                f"{values.dtype} of shape {values.shape}"
            )
            raise ValueError(msg)
        is_affine = affine.shape == (4, 4) and np.isfinite(affine).all()
        if not is_affine or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            got = affine.tolist()
            msg = f"an image's affine must be 4 x 4 numbers that can be inverted; got {got}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surroundings:
    """What is known of a grid or voxel besides its own spectra.

    Parameters
    ----------
    lesion : Anatomy or None
        Mask of the lesion, in any space.
    reference : Anatomy or None
        Mask of normal tissue, in any space; found automatically if None.
    anatomy : Anatomy or None
        To lay the maps on.
    point_spread : {"hamming", "sinc", "box"}
        Response of a voxel, for the masks.
    midline_mm : float
        World x of the mid-sagittal plane.
    """

    lesion: Anatomy | None = None
    reference: Anatomy | None = None
    anatomy: Anatomy | None = None
    point_spread: PointSpread = "hamming"
    midline_mm: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OwnTissue:
    """The lesion and the normal tissue of one grid.

    Parameters
    ----------
    lesion_weights : ndarray of float64, shape (X, Y, Z), or None
        Share of each voxel's signal that comes from the lesion.
    index : ChoNAAIndex
        Against the subject's own normal voxels, or refused.
    reference : Reference
        Mean areas of normal tissue, or refused.
    normalized : tuple of Ratio
        Against the reference.
    each_lesion : tuple of ndarray of float64, shape (X, Y, Z)
        The weights of each of several separate lesions of the mask; empty if there is one.
    """

    lesion_weights: NDArray[np.float64] | None
    index: ChoNAAIndex
    reference: Reference
    normalized: tuple[Ratio, ...]
    each_lesion: tuple[NDArray[np.float64], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class GridResult:
    """Everything that is written and drawn of a grid.

    Parameters
    ----------
    maps : tuple of Map
        The label first.
    own : OwnTissue
        Lesion and normal tissue.
    lesion : LesionSummary or None
        None without a mask of the lesion.
    statements : tuple of Statement
        Reasons, per voxel.
    anatomy : Anatomy or None
        To lay the maps on.
    notes : tuple of str
        Sentences about the whole grid.
    """

    maps: tuple[Map, ...]
    own: OwnTissue
    lesion: LesionSummary | None
    statements: tuple[Statement, ...]
    anatomy: Anatomy | None
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        lesion = "" if self.lesion is None else f", lesion: {self.lesion.favors.value}"
        return f"<GridResult {', '.join(one.name for one in self.maps)}{lesion}>"


def membership(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return a mask as membership: whole numbers are labels, others shares if near 0 to 1.

    Parameters
    ----------
    values : ndarray
        As the image holds them; NaN is none of it.

    Returns
    -------
    ndarray of float64
        0 to 1, of the same shape.
    """
    given = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0)
    if (given == np.rint(given)).all() or given.max() > _OVERSHOOT:
        return (given > 0.0).astype(np.float64)
    return np.clip(given, 0.0, 1.0)


def own_tissue(
    areas: PeakAreas,
    quality: Quality,
    *,
    affine: NDArray[np.float64] | None,
    surroundings: Surroundings | None = None,
    scalp_lipid: NDArray[np.bool_] | None = None,
    thresholds: QualityThresholds | None = None,
) -> OwnTissue:
    """Return the lesion's weights and the subject's own normal tissue.

    Parameters
    ----------
    areas : PeakAreas
        values (X, Y, Z, K).
    quality : Quality
        Of shape (X, Y, Z).
    affine : ndarray of float64, shape (4, 4), or None
        Grid indices to RAS+ mm.
    surroundings : Surroundings or None
        Masks: shares between 0 and 1, or labels in whole numbers, of which all above 0 count.
    scalp_lipid : ndarray of bool, shape (X, Y, Z), or None
        Voxels whose lipid comes from the scalp: they stand for no normal tissue.
    thresholds : QualityThresholds or None
        Beyond which a voxel stands for no tissue.

    Returns
    -------
    OwnTissue
        Index and reference are refused, with the reason, where the grid does not carry them.

    Raises
    ------
    ValueError
        If a mask is given and the grid has no position.
    """
    around = surroundings or Surroundings()
    x, y, z = quality.snr.shape

    def weights_of(values: NDArray[np.float64], mask_affine: NDArray[Any]) -> NDArray[np.float64]:
        if affine is None:
            msg = "a mask needs a grid with a position; this source gives none"
            raise ValueError(msg)
        return mask_weights(
            values, mask_affine, shape=(x, y, z), affine=affine, point_spread=around.point_spread
        )

    weights: NDArray[np.float64] | None = None
    each: tuple[NDArray[np.float64], ...] = ()
    if around.lesion is not None:
        mask, mask_affine = membership(around.lesion.values), around.lesion.affine
        weights = weights_of(mask, mask_affine)
        assert affine is not None
        least_mm3 = LEAST_LESION * abs(float(np.linalg.det(affine[:3, :3])))
        apart = separate_lesions(mask, mask_affine, least_mm3=least_mm3)
        if len(apart) > 1:
            seen = (weights_of(*one) for one in apart)
            each = tuple(one for one in seen if one.sum() >= LEAST_LESION)
    chosen = None
    if around.reference is not None:
        region = membership(around.reference.values)
        chosen = weights_of(region, around.reference.affine) >= 0.5
    usable = usable_voxels(quality, thresholds)
    if scalp_lipid is not None:
        usable &= ~scalp_lipid
    normal = chosen
    lesion = weights
    if lesion is not None and lesion.max() <= NO_LESION:
        lesion = None
    if normal is None and lesion is not None:
        normal = lesion < NO_LESION
    index = cho_naa_index(areas, usable=usable, presumed_normal=normal)
    reference = contralateral_reference(
        areas,
        usable=usable,
        chosen=chosen,
        lesion=None if lesion is None else lesion >= 0.5,
        affine=affine,
        index=index,
        midline_mm=around.midline_mm,
    )
    normalised = normalized_ratios(areas, reference)
    return OwnTissue(
        lesion_weights=weights,
        index=index,
        reference=reference,
        normalized=normalised,
        each_lesion=each,
    )


def grid_result(
    areas: PeakAreas,
    quality: Quality,
    assessment: GridAssessment,
    own: OwnTissue,
    *,
    level: float = 0.95,
    cutoffs: Mapping[str, Sequence[float]] | None = None,
    anatomy: Anatomy | None = None,
    scalp_lipid: NDArray[np.bool_] | None = None,
    lipids_suppressed: bool = False,
) -> GridResult:
    """Return everything that is written and drawn of a grid.

    Parameters
    ----------
    areas : PeakAreas
        values (X, Y, Z, K).
    quality : Quality
        Of shape (X, Y, Z).
    assessment : GridAssessment
        Made by ``classifier.assess_grid``.
    own : OwnTissue
        Made by ``own_tissue``.
    level : float
        Coverage of the intervals.
    cutoffs : mapping of str to sequence of float, or None
        Cut-offs by name of the ratio, for maps of probability.
    anatomy : Anatomy or None
        To lay the maps on.
    scalp_lipid : ndarray of bool, shape (X, Y, Z), or None
        Voxels whose lipid probably comes from the scalp.
    lipids_suppressed : bool
        Whether lipid signals were suppressed: every map of LL then says so.

    Returns
    -------
    GridResult
        The same input gives the same result.
    """
    labels = np.array([favors.value for favors in LABELS])[assessment.codes]
    # what a gate withholds has no evidence either: near-normal tissue is no necrosis
    withheld = labels == Favors.NOT_EVALUABLE.value
    likelihood = np.where(withheld, np.nan, np.exp(assessment.log_likelihood_ratio))
    chance, leaning = (
        None if one is None else np.where(withheld[..., None], np.nan, one)
        for one in (assessment.label_probability, assessment.leaning_probability)
    )
    maps = (
        *label_maps(
            labels,
            likelihood_ratio=likelihood,
            label_probability=None
            if chance is None
            else {label.value: chance[..., i] for i, label in enumerate(JUDGED)},
            closed_gates=assessment.closed,
            details=_reasons(assessment),
        ),
        *standard_maps(areas, quality, level=level, cutoffs=cutoffs),
        *index_maps(own.index),
        *reference_maps(own.reference, own.normalized, level=level),
    )
    notes = [own.index.sentence, own.reference.sentence]
    if scalp_lipid is not None:
        maps = (*maps, scalp_map(scalp_lipid))
        if scalp_lipid.any():
            notes.append(
                f"lipid of {int(scalp_lipid.sum())} voxels at the edge probably comes from the "
                "scalp; criteria of lipid and lactate are left out there"
            )
    if lipids_suppressed:
        maps = tuple(_not_of_the_tissue(one) for one in maps)
        notes.append(SUPPRESSED)
    summary = None
    if own.lesion_weights is not None:
        maps = (*maps, lesion_map(own.lesion_weights))
        if own.lesion_weights.max() > NO_LESION:
            known: dict[str, Any] = {
                "label_probability": chance,
                "leaning_probability": leaning,
                "likelihood_ratio": likelihood,
                "ratios": tuple(standard_ratios(areas).values()),
            }
            summary = with_lesions(
                summarize_lesion(own.lesion_weights, labels, **known),
                tuple(summarize_lesion(one, labels, **known) for one in own.each_lesion),
            )
        else:
            notes.append("the lesion mask is empty or does not touch the grid; check its space")
    return GridResult(
        maps=maps,
        own=own,
        lesion=summary,
        statements=_statements(assessment),
        anatomy=anatomy,
        notes=tuple(notes),
    )


def _reasons(assessment: GridAssessment) -> dict[str, Any]:
    """Return what a label must not be without, for the sidecar of its map."""
    return {
        "Criteria": {one.statement: one.citation for one in assessment.findings},
        "Checks": {
            gate: {"Threshold": threshold, "WithholdsLabel": gate in assessment.withholding}
            for gate, threshold in assessment.requirements.items()
        },
        "ChecksMap": "desc-gates",
    }


def _statements(assessment: GridAssessment) -> tuple[Statement, ...]:
    statements = []
    for gate, closed in assessment.closed.items():
        asked = assessment.requirements.get(gate, "")
        text = f"{gate} (asks for: {asked})" if asked else gate
        kind: StatementKind = "gate" if gate in assessment.withholding else "caveat"
        statements.append(Statement(kind, text, closed))
    sides: tuple[tuple[StatementKind, Favors], ...] = (
        ("recurrence", Favors.RECURRENCE),
        ("necrosis", Favors.NECROSIS),
    )
    for finding in assessment.findings:
        for side, favors in sides:
            is_met = side == finding.side
            words = finding.statement if is_met else not_met(finding.statement, finding.side)
            where = finding.codes == LABELS.index(favors)
            statements.append(Statement(side, words, where))
    return tuple(statements)


def _not_of_the_tissue(one: Map) -> Map:
    """Mark a map of lipid or lactate whose signals were suppressed."""
    if not {"LL", "Lac", "Lip13", "Lip09", "Lip20"} & set(one.met.split("/")):
        return one
    return replace(
        one,
        title=f"{one.title} (lipids suppressed)" if one.desc != "ratio" else one.title,
        description=f"{one.description}; {SUPPRESSED}",
        details={**one.details, "LipidsSuppressed": True},
    )
