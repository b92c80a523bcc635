"""A grid's results as maps: one list of ``Map`` for the files, the page and the figures.

Files are NIfTI-1 with the grid's affine, units of mm, and a JSON sidecar each, named
``<stem>[_met-<peaks>]_desc-<what>_mrsmap.nii.gz``. What the numbers mean:

* Quantities are float32; NaN means that there is no answer. Zero is never written for failure.
* ``desc-lower`` and ``desc-upper`` hold the ends of the ratio's interval. Where the set of
  compatible ratios is unbounded, or is everything outside two numbers, they hold -inf and +inf:
  "the data bound the ratio on no side", which is another thing than NaN, "there is no fit". The
  one-sided statement for an absent peak is in ``desc-bound``.
* Codes (``desc-status``, ``desc-label``, ``desc-gates``) are unsigned integers; their key stands
  in the sidecar, and every voxel has one.

The same results give the same bytes.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.arguments import check_type
from mrs_necrosis.assessment import Favors, not_met
from mrs_necrosis.errors import OutputError, name_of
from mrs_necrosis.lesion import (
    JUDGED,
    NO_LESION,
    cho_naa_index,
    contralateral_reference,
    mask_weights,
    normalised_ratios,
    summarise_lesion,
    usable_voxels,
)
from mrs_necrosis.quality import FitStatus, Quality
from mrs_necrosis.ratios import Ratio, RatioStatus, standard_ratios
from mrs_necrosis.staging import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from mrs_necrosis.classifier import GridAssessment
    from mrs_necrosis.lesion import ChoNAAIndex, LesionSummary, PointSpread, Reference

Kind = Literal["quantity", "code", "bits"]
StatementKind = Literal["gate", "recurrence", "necrosis", "caveat"]

_OVERSHOOT = 1.5  # of a share that was resampled; beyond, the numbers are others

LABEL_CODES = {
    Favors.NECROSIS: 1,
    Favors.RECURRENCE: 2,
    Favors.INDETERMINATE: 3,
    Favors.NOT_EVALUABLE: 4,
}
"""Codes of ``desc-label``; none is zero, because zero is never written for failure."""

_ASSESSED = tuple(LABEL_CODES)  # in the order of the codes of GridAssessment

RATIO_CODES = {
    RatioStatus.OK: 0,
    RatioStatus.BELOW_DETECTION: 1,
    RatioStatus.DENOMINATOR_NOT_DETECTED: 2,
    RatioStatus.NOT_EVALUABLE: 3,
}
"""Codes of a ratio's ``desc-status``."""

SUPPRESSED = "lipid signals were suppressed: no area of lipid, lactate or LL is one of the tissue"
"""What every map of them says then."""


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """One number per voxel, and what it means.

    Parameters
    ----------
    desc : str
        What it is: ``"ratio"``, ``"sd"``, ``"lower"``, … letters and digits.
    values : ndarray, shape (X, Y, Z)
        float32 for quantities, unsigned integers for codes; copied in.
    title : str
        For the reader of the page: ``"Cho/Cr"``, ``"P(Cho/Cr > 1.5)"``.
    description : str
        One sentence, for the sidecar.
    met : str
        Which peaks: ``"Cho/Cr"``; empty where it concerns none.
    unit : str
        Empty if dimensionless or unknown.
    kind : {"quantity", "code", "bits"}
        Bits: each bit of the code is one statement.
    key : mapping of int to str
        Meaning of the codes (of the bits' values).
    details : mapping of str to JSON types
        More for the sidecar: level, cut-off, method.

    Raises
    ------
    ValueError
        If the values are no grid, or the name cannot be one of a file.
    """

    desc: str
    values: NDArray[Any]
    title: str
    description: str
    met: str = ""
    unit: str = ""
    kind: Kind = "quantity"
    key: Mapping[int, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9]+", self.desc):
            msg = f"desc must be of letters and digits; got {self.desc!r}"
            raise ValueError(msg)
        given = np.asarray(self.values)
        if given.ndim != 3 or 0 in given.shape:
            msg = f"a map must have shape (X, Y, Z); got {given.shape}"
            raise ValueError(msg)
        if self.kind == "quantity":
            # an infinite interval end stays one; a number too large for float32 is no answer
            with np.errstate(over="ignore"):
                values = given.astype(np.float32)
            values[np.isinf(values) & np.isfinite(given)] = np.nan
        else:
            top = int(given.max())
            dtype = np.uint8 if top < 2**8 else np.uint16 if top < 2**16 else np.uint32
            values = given.astype(dtype)
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    @property
    def name(self) -> str:
        """Entities of the file name: ``"met-ChoCr_desc-ratio"``."""
        peaks = re.sub(r"[^A-Za-z0-9]", "", self.met)
        return (f"met-{peaks}_" if peaks else "") + f"desc-{self.desc}"


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
    """An image to lay the grid on.

    Parameters
    ----------
    values : ndarray, shape (A, B, C)
        In any space.
    affine : ndarray of float64, shape (4, 4)
        Its indices to RAS+ mm.
    """

    values: NDArray[Any]
    affine: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surroundings:
    """What is known of a grid besides its own spectra.

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
    normalised : tuple of Ratio
        Against the reference.
    """

    lesion_weights: NDArray[np.float64] | None
    index: ChoNAAIndex
    reference: Reference
    normalised: tuple[Ratio, ...]


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


# ------------------------------------------------------------------ results to maps


def area_maps(areas: PeakAreas) -> tuple[Map, ...]:
    """Return each area and its standard deviation.

    Parameters
    ----------
    areas : PeakAreas
        values (X, Y, Z, K).

    Returns
    -------
    tuple of Map
        ``desc-area`` and, with a covariance, ``desc-areasd`` for each peak.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.areas import PeakAreas
    >>> covariance = 0.01 * np.eye(2).reshape(1, 1, 1, 2, 2)
    >>> areas = PeakAreas(("Cho", "Cr"), np.array([[[[1.2, 1.0]]]]), covariance)
    >>> [one.name for one in area_maps(areas)]
    ['met-Cho_desc-area', 'met-Cho_desc-areasd', 'met-Cr_desc-area', 'met-Cr_desc-areasd']
    """
    check_type("areas", areas, PeakAreas, "PeakAreas, such as fit(...).areas")
    maps = []
    unit = areas.unit or ""
    for name in areas.names:
        meaning = f"{name}: {areas.quantity} of the resonance"
        maps.append(Map("area", areas.value(name), name, meaning, name, unit))
        sd = areas.sd(name)
        if sd is not None:
            meaning = f"{name}: standard deviation of the {areas.quantity}"
            maps.append(Map("areasd", sd, f"sd of {name}", meaning, name, unit))
    return tuple(maps)


def ratio_maps(
    one: Ratio, *, level: float = 0.95, cutoffs: Sequence[float] = ()
) -> tuple[Map, ...]:
    """Return a ratio, its sd, interval, bound, status and probabilities above cut-offs.

    Parameters
    ----------
    one : Ratio
        Of shape (X, Y, Z).
    level : float
        Coverage of the interval.
    cutoffs : sequence of float
        One ``desc-probability`` each; from the second on ``desc-probability2``, ….

    Returns
    -------
    tuple of Map
        Without a covariance only ``desc-ratio`` and ``desc-status``.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.areas import PeakAreas
    >>> covariance = 0.01 * np.eye(2).reshape(1, 1, 1, 2, 2)
    >>> areas = PeakAreas(("Cho", "Cr"), np.array([[[[1.2, 1.0]]]]), covariance)
    >>> from mrs_necrosis.ratios import ratio
    >>> maps = ratio_maps(ratio(areas, "Cho", "Cr"), cutoffs=[1.5])
    >>> [one.name.rpartition("desc-")[2] for one in maps]
    ['ratio', 'sd', 'lower', 'upper', 'bound', 'probability', 'status']
    """
    check_type("one", one, Ratio, "a Ratio, as ratio returns it")
    name = one.name
    # "Cho/Cr" and "Cho/Cr(n)" must not share a file name
    met = name.replace("(n)", "n")
    maps = [
        Map("ratio", one.value, name, f"{name}: quotient of the areas", met),
        *_interval_maps(one, met, level),
    ]
    for at, cutoff in enumerate(cutoffs):
        chance = one.probability_above(cutoff)
        if chance is not None:
            maps.append(
                Map(
                    f"probability{at + 1}" if at else "probability",
                    chance,
                    f"P({name} > {cutoff:g})",
                    f"probability that the true {name} exceeds {cutoff:g}",
                    met,
                    details={"Cutoff": cutoff},
                )
            )
    return (*maps, _status_map(one, met))


def _interval_maps(one: Ratio, met: str, level: float) -> tuple[Map, ...]:
    """Return sd, ends of the interval and bound; nothing without a covariance."""
    name = one.name
    interval, bound = one.interval(level), one.bound(level)
    if one.sd is None or interval is None or bound is None:
        return ()
    share = f"{100 * level:g} %"
    answer = (one.status != RatioStatus.NOT_EVALUABLE) & (interval.shape != "none")
    open_ended = np.isin(interval.shape, ["unbounded", "two-piece"])
    ends = (
        "-inf and +inf where the data bound the ratio on no side or the set is everything "
        "outside two numbers; NaN where there is no answer"
    )
    details: dict[str, Any] = {"IntervalLevel": level, "IntervalEnds": ends}

    def end(which: str, values: NDArray[np.float64], beyond: float) -> Map:
        shown = np.where(answer, np.where(open_ended, beyond, values), np.nan)
        meaning = f"{name}: {which} end of the {share} interval"
        return Map(which, shown, f"{name}, {which} end", meaning, met, details=details)

    return (
        Map("sd", one.sd, f"sd of {name}", f"{name}: standard deviation", met),
        end("lower", interval.lower, -np.inf),
        end("upper", interval.upper, np.inf),
        Map(
            "bound",
            bound,
            f"{name}, bound of an absent peak",
            f"{name}: the ratio is below this where status is 1, above it where status is 2",
            met,
            details={"OneSidedLevel": level},
        ),
    )


def _status_map(one: Ratio, met: str) -> Map:
    codes = np.full(one.status.shape, RATIO_CODES[RatioStatus.NOT_EVALUABLE])
    for status, code in RATIO_CODES.items():
        codes[one.status == status.value] = code
    return Map(
        "status",
        codes,
        f"{one.name}, status",
        f"{one.name}: what the number means",
        met,
        kind="code",
        key={code: f"{status.value}: {status.sentence}" for status, code in RATIO_CODES.items()},
    )


def quality_maps(quality: Quality) -> tuple[Map, ...]:
    """Return SNR, linewidth, residual and the status of the fit.

    Parameters
    ----------
    quality : Quality
        Of shape (X, Y, Z).

    Returns
    -------
    tuple of Map
        ``desc-snr``, ``desc-linewidth``, ``desc-linewidthppm``, ``desc-residual``,
        ``desc-status``.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.fitting import fit
    >>> from mrs_necrosis.simulation import phantom
    >>> fitted = fit(phantom("normal_white_matter", np.random.default_rng(1)).spectra)
    >>> [one.name for one in quality_maps(fitted.quality)]
    ['desc-snr', 'desc-linewidth', 'desc-linewidthppm', 'desc-residual', 'desc-status']
    """
    check_type("quality", quality, Quality, "a Quality, such as fit(...).quality")
    return (
        Map(
            "snr",
            quality.snr,
            "SNR",
            "tallest of NAA, Cr, Cho over the standard deviation of the noise",
        ),
        Map(
            "linewidth",
            quality.linewidth_hz,
            "Linewidth (Hz)",
            "full width at half maximum of the metabolite singlets",
            unit="Hz",
        ),
        Map(
            "linewidthppm",
            quality.linewidth_ppm,
            "Linewidth (ppm)",
            "full width at half maximum of the metabolite singlets",
            unit="ppm",
        ),
        Map(
            "residual",
            quality.residual_ratio,
            "Residual over noise",
            "standard deviation of the residual over that of the noise; 1 is perfect",
        ),
        Map(
            "status",
            quality.status,
            "Fit status",
            "what became of the fit",
            kind="code",
            key={s.value: f"{s.name.lower().replace('_', '-')}: {s.sentence}" for s in FitStatus},
        ),
    )


def index_maps(index: ChoNAAIndex) -> tuple[Map, ...]:
    """Return the Cho/NAA index, its sd and the voxels taken as normal; nothing if refused.

    Parameters
    ----------
    index : ChoNAAIndex
        Made by ``lesion.cho_naa_index``.

    Returns
    -------
    tuple of Map
        ``met-ChoNAA`` with ``desc-index``, ``desc-indexsd``, ``desc-normal``.
    """
    if index.is_refused:
        return ()
    details = {
        "Method": index.sentence,
        "Slope": index.slope,
        "Intercept": index.intercept,
        "Spread": index.spread,
    }
    maps = [
        Map(
            "index",
            index.value,
            "Cho/NAA index",
            "z-score above the Cho-against-NAA line of the subject's own normal voxels",
            "Cho/NAA",
            details=details,
        )
    ]
    if index.sd is not None:
        meaning = "standard deviation of the Cho/NAA index: measurement, line and spread"
        maps.append(Map("indexsd", index.sd, "sd of Cho/NAA index", meaning, "Cho/NAA"))
    maps.append(
        Map(
            "normal",
            index.normal,
            "Voxels taken as normal",
            "voxels from which the Cho/NAA line was drawn",
            "Cho/NAA",
            kind="code",
            key={0: "not among them", 1: "taken as normal"},
        )
    )
    return tuple(maps)


def reference_maps(
    reference: Reference, ratios: Iterable[Ratio], *, level: float = 0.95
) -> tuple[Map, ...]:
    """Return normalised ratios and the voxels they are normalised to; nothing if refused.

    Parameters
    ----------
    reference : Reference
        Made by ``lesion.contralateral_reference``.
    ratios : iterable of Ratio
        Made by ``lesion.normalised_ratios``.
    level : float
        Coverage of the intervals.

    Returns
    -------
    tuple of Map
        As ``ratio_maps`` for each, and ``desc-reference``.
    """
    if reference.is_refused:
        return ()
    maps = [one for normalised in ratios for one in ratio_maps(normalised, level=level)]
    maps.append(
        Map(
            "reference",
            reference.mask,
            "Reference region",
            reference.sentence,
            kind="code",
            key={0: "not in the region", 1: "in the reference region"},
        )
    )
    return tuple(maps)


def label_maps(
    labels: NDArray[np.str_],
    *,
    likelihood_ratio: NDArray[np.float64] | None = None,
    label_probability: Mapping[str, NDArray[np.float64]] | None = None,
    closed_gates: Mapping[str, NDArray[np.bool_]] | None = None,
    details: Mapping[str, Any] | None = None,
) -> tuple[Map, ...]:
    """Return the label of each voxel, its evidence and the gates that are closed.

    Parameters
    ----------
    labels : ndarray of str, shape (X, Y, Z)
        ``Favors`` values.
    likelihood_ratio : ndarray of float64, shape (X, Y, Z), or None
        Above 1 towards recurrence.
    label_probability : mapping of str to ndarray of float64, shape (X, Y, Z), or None
        Share of the draws of the areas that give each label.
    closed_gates : mapping of str to ndarray of bool, shape (X, Y, Z), or None
        True where a gate is closed; at most 32.
    details : mapping of str to JSON types, or None
        What a label must not be without, for its sidecar: criteria with citations, checks.

    Returns
    -------
    tuple of Map
        ``desc-label``, ``desc-likelihoodratio``, ``desc-labelprobability<label>``,
        ``desc-gates``.

    Raises
    ------
    ValueError
        If a label is none of the four.

    Examples
    --------
    >>> import numpy as np
    >>> found = label_maps(np.array([[["necrosis-favoring"], ["indeterminate"]]]))
    >>> [one.name for one in found]
    ['desc-label']
    """
    known = [favors.value for favors in LABEL_CODES]
    if not np.isin(labels, known).all():
        msg = f"labels must be among {known}"
        raise ValueError(msg)
    codes = np.full(labels.shape, LABEL_CODES[Favors.NOT_EVALUABLE])
    for favors, code in LABEL_CODES.items():
        codes[labels == favors.value] = code
    maps = [
        Map(
            "label",
            codes,
            "Label",
            "what the published criteria favour in this voxel; research use, no diagnosis",
            kind="code",
            key={code: favors.value for favors, code in LABEL_CODES.items()},
            details=details or {},
        )
    ]
    if likelihood_ratio is not None:
        meaning = (
            "likelihood ratio of the evidence, above 1 towards recurrence; NaN without a label"
        )
        maps.append(Map("likelihoodratio", likelihood_ratio, "Likelihood ratio", meaning))
    for label, chance in (label_probability or {}).items():
        desc = "labelprobability" + re.sub(r"[^a-z]", "", label.lower())
        meaning = f"share of the draws of the areas that give {label}; NaN without a label"
        maps.append(Map(desc, chance, f"P({label})", meaning))
    if closed_gates:
        bits = np.zeros(labels.shape, dtype=np.uint32)
        for at, closed in enumerate(closed_gates.values()):
            bits |= np.where(closed, np.uint32(1 << at), np.uint32(0))
        key = {1 << at: f"{gate}: closed" for at, gate in enumerate(closed_gates)}
        meaning = "sum of the codes of the closed gates; 0 where all are open"
        maps.append(Map("gates", bits, "Closed gates", meaning, kind="bits", key=key))
    return tuple(maps)


def standard_maps(
    areas: PeakAreas,
    quality: Quality,
    *,
    level: float = 0.95,
    cutoffs: Mapping[str, Sequence[float]] | None = None,
) -> tuple[Map, ...]:
    """Return what every grid has: ratios, areas and quality.

    Parameters
    ----------
    areas : PeakAreas
        values (X, Y, Z, K).
    quality : Quality
        Of shape (X, Y, Z).
    level : float
        Coverage of the intervals.
    cutoffs : mapping of str to sequence of float, or None
        Cut-offs by name of the ratio.

    Returns
    -------
    tuple of Map
        Ratios first.
    """
    maps: list[Map] = []
    for name, one in standard_ratios(areas).items():
        maps += ratio_maps(one, level=level, cutoffs=(cutoffs or {}).get(name, ()))
    return (*maps, *area_maps(areas), *quality_maps(quality))


# ------------------------------------------------------------------ the whole grid


def _membership(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return a mask as membership: whole numbers are labels, others shares if near 0 to 1."""
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

    def weights_of(mask: Anatomy) -> NDArray[np.float64]:
        if affine is None:
            msg = "a mask needs a grid with a position; this source gives none"
            raise ValueError(msg)
        return mask_weights(
            _membership(mask.values),
            mask.affine,
            shape=(x, y, z),
            affine=affine,
            psf=around.point_spread,
        )

    weights = None if around.lesion is None else weights_of(around.lesion)
    chosen = None if around.reference is None else weights_of(around.reference) >= 0.5
    usable = usable_voxels(quality)
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
    normalised = normalised_ratios(areas, reference)
    return OwnTissue(
        lesion_weights=weights, index=index, reference=reference, normalised=normalised
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
    label_of = np.array([favors.value for favors in LABEL_CODES])
    labels = label_of[assessment.codes]
    # what a gate withholds has no evidence either: near-normal tissue is no necrosis
    withheld = labels == Favors.NOT_EVALUABLE.value
    likelihood = np.where(withheld, np.nan, np.exp(assessment.log_likelihood_ratio))
    chance = assessment.label_probability
    if chance is not None:
        chance = np.where(withheld[..., None], np.nan, chance)
    leaning = assessment.leaning_probability
    if leaning is not None:
        leaning = np.where(withheld[..., None], np.nan, leaning)
    maps = (
        *label_maps(
            labels,
            likelihood_ratio=likelihood,
            label_probability=None
            if chance is None
            else {label.value: chance[..., i] for i, label in enumerate(JUDGED)},
            closed_gates=assessment.closed,
            details={
                "Criteria": {one.statement: one.citation for one in assessment.findings},
                "Checks": {
                    gate: {
                        "Threshold": threshold,
                        "WithholdsLabel": gate in assessment.withholding,
                    }
                    for gate, threshold in assessment.requirements.items()
                },
                "ChecksMap": "desc-gates",
            },
        ),
        *standard_maps(areas, quality, level=level, cutoffs=cutoffs),
        *index_maps(own.index),
        *reference_maps(own.reference, own.normalised, level=level),
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
            summary = summarise_lesion(
                own.lesion_weights,
                labels,
                label_probability=chance,
                leaning_probability=leaning,
                likelihood_ratio=likelihood,
                ratios=tuple(standard_ratios(areas).values()),
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
            where = finding.codes == _ASSESSED.index(favors)
            statements.append(Statement(side, words, where))
    return tuple(statements)


def scalp_map(flagged: NDArray[np.bool_]) -> Map:
    """Return where the lipid probably comes from the scalp.

    Parameters
    ----------
    flagged : ndarray of bool, shape (X, Y, Z)
        As ``Spectra.scalp_lipid``.

    Returns
    -------
    Map
        ``desc-scalplipid``.
    """
    return Map(
        "scalplipid",
        flagged,
        "Scalp lipid",
        "voxels at the edge whose lipid probably comes from the scalp; nothing was removed",
        kind="code",
        key={0: "not flagged", 1: "lipid of the scalp"},
    )


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


def lesion_map(weights: NDArray[np.float64]) -> Map:
    """Return the share of each voxel's signal that comes from the lesion.

    Parameters
    ----------
    weights : ndarray of float64, shape (X, Y, Z)
        Made by ``lesion.mask_weights``.

    Returns
    -------
    Map
        ``desc-lesion``.
    """
    meaning = "share of the voxel's signal that comes from the lesion mask, by the point spread"
    return Map("lesion", weights, "Signal from the lesion", meaning)


# ------------------------------------------------------------------ files


def write_maps(
    folder: str | os.PathLike[str],
    stem: str,
    maps: Iterable[Map],
    *,
    affine: NDArray[np.float64] | None,
    provenance: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write each map as NIfTI with a JSON sidecar.

    Parameters
    ----------
    folder : str or PathLike
        Made if it is not there.
    stem : str
        First part of the names: ``"sub-01"``.
    maps : iterable of Map
        Of one grid.
    affine : ndarray of float64, shape (4, 4), or None
        Grid indices to RAS+ mm. None: the files say that their position is unknown.
    provenance : mapping of str to JSON types, or None
        Copied into every sidecar.

    Returns
    -------
    list of Path
        The NIfTI files; each sidecar has the same name with ``.json``. A file appears complete
        or not at all, the sidecar first.

    Raises
    ------
    OutputError
        If the folder cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.areas import PeakAreas
    >>> covariance = 0.01 * np.eye(2).reshape(1, 1, 1, 2, 2)
    >>> areas = PeakAreas(("Cho", "Cr"), np.array([[[[1.2, 1.0]]]]), covariance)
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     files = write_maps(folder, "sub-01", area_maps(areas), affine=np.eye(4))
    >>> files[0].name
    'sub-01_met-Cho_desc-area_mrsmap.nii.gz'
    """
    contents = map_files(stem, maps, affine=affine, provenance=provenance)
    home = Path(folder)
    try:
        home.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_atomically(home / name, content)
    except OSError as error:
        msg = f"cannot write maps to {name_of(home)}: {error.strerror or type(error).__name__}"
        raise OutputError(msg) from error
    return [home / name for name in contents if name.endswith(".nii.gz")]


def map_files(
    stem: str,
    maps: Iterable[Map],
    *,
    affine: NDArray[np.float64] | None,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """Return the files of ``write_maps`` by name, each map after its sidecar.

    Parameters
    ----------
    stem, maps, affine, provenance :
        As in ``write_maps``.

    Returns
    -------
    dict of str to bytes
        NIfTI and JSON.

    Raises
    ------
    ValueError
        If the stem is no part of a file name, or two maps have one name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", stem):
        msg = f"stem must be a plain file name of letters, digits and ._+-; got {stem!r}"
        raise ValueError(msg)
    listed = list(maps)
    names = [one.name for one in listed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"two maps have the same name: {', '.join(twice)}"
        raise ValueError(msg)
    contents = {}
    for one in listed:
        name = f"{stem}_{one.name}_mrsmap"
        sidecar = json.dumps(_sidecar(one, affine, provenance or {}), indent=2) + "\n"
        contents[f"{name}.json"] = sidecar.encode()
        contents[f"{name}.nii.gz"] = _nifti(one, affine)
    return contents


def _nifti(one: Map, affine: NDArray[np.float64] | None) -> bytes:
    import nibabel

    nifti: Any = nibabel.Nifti1Image  # its methods have no types
    image = nifti(one.values, affine)
    header = image.header
    if affine is None:
        image.set_sform(None, code="unknown")
        image.set_qform(None, code="unknown")
        header.set_xyzt_units("unknown")
    else:
        image.set_sform(affine, code="scanner")
        # a quaternion holds no shear; the sform does
        image.set_qform(affine, code="scanner", strip_shears=True)
        header.set_xyzt_units("mm")
    header["descrip"] = one.name.encode()[:79]
    finite = one.values[np.isfinite(one.values)]
    if one.kind == "quantity" and finite.size:
        # an infinite interval end must not decide a viewer's colours
        header["cal_min"], header["cal_max"] = np.percentile(finite, [2, 98])
    return gzip.compress(image.to_bytes(), mtime=0)


def _sidecar(
    one: Map, affine: NDArray[np.float64] | None, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    content: dict[str, Any] = {"Description": one.description, "Title": one.title}
    if one.met:
        content["Peaks"] = one.met
    if one.unit:
        content["Units"] = one.unit
    if one.kind == "quantity":
        content["NaN"] = "no answer; zero is never written for failure"
    else:
        content["Kind"] = "sum of the codes that apply" if one.kind == "bits" else "code"
        content["Key"] = {str(code): meaning for code, meaning in one.key.items()}
    if affine is None:
        content["Position"] = "unknown: the source gives no geometry"
    return {**content, **one.details, "Provenance": dict(provenance)}
