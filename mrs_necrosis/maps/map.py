"""One number per voxel and what it means: the type, and each result as a map."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.arguments import check_type
from mrs_necrosis.assessment import Favors
from mrs_necrosis.quality import FitStatus, Quality
from mrs_necrosis.ratios import Ratio, RatioStatus, standard_ratios

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrs_necrosis.lesion.normal_tissue import ChoNAAIndex, Reference


Kind = Literal["quantity", "code", "bits"]

LABEL_CODES = {
    Favors.NECROSIS: 1,
    Favors.RECURRENCE: 2,
    Favors.INDETERMINATE: 3,
    Favors.NOT_EVALUABLE: 4,
}
"""Codes of ``desc-label``; none is zero, because zero is never written for failure."""

RATIO_CODES = {
    RatioStatus.OK: 0,
    RatioStatus.BELOW_DETECTION: 1,
    RatioStatus.DENOMINATOR_NOT_DETECTED: 2,
    RatioStatus.NOT_EVALUABLE: 3,
}
"""Codes of a ratio's ``desc-status``."""


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
    ratio: Ratio, *, level: float = 0.95, cutoffs: Sequence[float] = ()
) -> tuple[Map, ...]:
    """Return a ratio, its sd, interval, bound, status and probabilities above cut-offs.

    Parameters
    ----------
    ratio : Ratio
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
    check_type("ratio", ratio, Ratio, "a Ratio, as ratio returns it")
    name = ratio.name
    # "Cho/Cr" and "Cho/Cr(n)" must not share a file name
    met = name.replace("(n)", "n")
    maps = [
        Map("ratio", ratio.value, name, f"{name}: quotient of the areas", met),
        *_interval_maps(ratio, met, level),
    ]
    for at, cutoff in enumerate(cutoffs):
        chance = ratio.probability_above(cutoff)
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
    return (*maps, _status_map(ratio, met))


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
            key={s.value: f"{s.word}: {s.sentence}" for s in FitStatus},
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
        Made by ``lesion.normalized_ratios``.
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
