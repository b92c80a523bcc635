"""How near a spectrum is to that of normal brain, and the gate on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier.gates import Check
from mrs_necrosis.criteria import te_class
from mrs_necrosis.ratios import RatioStatus, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mrs_necrosis.areas import PeakAreas
    from mrs_necrosis.classifier.context import Context
    from mrs_necrosis.classifier.scoring import Scoring
    from mrs_necrosis.spectra import Conditions


SONG: Final = "Song 1996 (25 volunteers, 1.5 T, TE 270 ms)"


class _Limits(NamedTuple):
    """What of areas counts as normal, and as near-normal where LL is low."""

    cho_naa: float
    naa_cr: float
    near_cho_naa: float
    near_naa_cr: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Normality:
    """What normal brain has beside what was measured; one value for each voxel."""

    cho_naa: NDArray[np.float64]
    naa_cr: NDArray[np.float64]
    ll_cr: NDArray[np.float64]
    least_ll_cr: NDArray[np.float64]
    is_normal_beside_ll: NDArray[np.bool_]
    is_near_normal: NDArray[np.bool_]
    is_inside: NDArray[np.bool_]
    is_known: NDArray[np.bool_]
    threshold: str
    source: str


def quotient(areas: PeakAreas, numerator: str, denominator: str) -> NDArray[np.float64]:
    """Divide, with NaN where the denominator is not detected or a peak is missing."""
    if numerator not in areas or denominator not in areas:
        return np.full(len(areas.values), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient = areas.value(numerator) / areas.value(denominator)
    result: NDArray[np.float64] = np.where(areas.detected(denominator), quotient, np.nan)
    return result


def _ratio_sd(areas: PeakAreas, numerator: str, denominator: str) -> NDArray[np.float64]:
    """Return the sd of a ratio, 0 where it is unknown."""
    none = np.zeros(len(areas.values))
    if areas.covariance is None or numerator not in areas or denominator not in areas:
        return none
    sd = ratio(areas, numerator, denominator).sd
    return none if sd is None else np.nan_to_num(sd)


def normality(
    areas: PeakAreas,
    acquisition: Conditions | None,
    context: Context,
    scoring: Scoring,
    near_skull: NDArray[np.bool_] | None,
) -> Normality:
    """Return how the ratios compare with those of normal brain."""
    cho_naa = quotient(areas, "Cho", "NAA")
    naa_cr = quotient(areas, "NAA", "Cr")
    ll_cr = quotient(areas, "LL", "Cr")
    if near_skull is not None:
        # the scalp's lipid does not make the tissue beneath it less normal
        ll_cr = np.where(near_skull, np.nan, ll_cr)
    scale = 3.0 if areas.quantity == "molar" else 1.0  # limits are those of areas: Cho 9 H, NAA 3
    limits = _limits(acquisition, context, scoring, scale)
    known = np.isfinite(cho_naa) & np.isfinite(naa_cr)
    within = scale * cho_naa <= limits.cho_naa
    inside = known & within
    beside = inside & (naa_cr >= limits.naa_cr)
    close = known & (scale * cho_naa <= limits.near_cho_naa) & (naa_cr >= limits.near_naa_cr)
    least = ll_cr - scoring.near_normal_sd * _ratio_sd(areas, "LL", "Cr")
    # where the tissue's LL is unknown, as near the scalp, only a clearly normal Cho/NAA counts
    low = np.where(np.isfinite(least), least <= scoring.near_normal_ll_cr, within)
    near = (inside | close) & low
    beneath = ""
    if near_skull is not None and near_skull.any():
        # without its lipid too little speaks for a label of what may be normal
        least_cho = cho_naa - scoring.near_normal_sd * _ratio_sd(areas, "Cho", "NAA")
        near |= known & near_skull & (scale * least_cho <= limits.cho_naa)
        beneath = f"; beneath the scalp, Cho/NAA <= {limits.cho_naa / scale:.2f} within its error"
    threshold = (
        f"LL/Cr <= {scoring.near_normal_ll_cr:g} (within {scoring.near_normal_sd:g} sd) with "
        f"Cho/NAA <= {limits.near_cho_naa / scale:.2f} and NAA/Cr >= {limits.near_naa_cr:.2f}, or "
        f"with Cho/NAA <= {limits.cho_naa / scale:.2f}; or, whatever LL, "
        f"Cho/NAA <= {limits.cho_naa / scale:.2f} and NAA/Cr >= {limits.naa_cr:.2f}{beneath}"
    )
    return Normality(
        cho_naa=cho_naa,
        naa_cr=naa_cr,
        ll_cr=ll_cr,
        least_ll_cr=least,
        is_normal_beside_ll=beside,
        is_near_normal=near | beside,
        is_inside=inside,
        is_known=known,
        threshold=threshold,
        source=limits.source,
    )


def _limits(
    acquisition: Conditions | None, context: Context, scoring: Scoring, scale: float
) -> _Limits:
    """Return the limits of the patient's other side or, without one, the published ones."""
    if context.contralateral is not None:
        other = context.contralateral.flat().with_ll()
        cho_naa, naa_cr = quotient(other, "Cho", "NAA")[0], quotient(other, "NAA", "Cr")[0]
        if np.isfinite(cho_naa) and np.isfinite(naa_cr):
            cho_naa = scale * cho_naa * scoring.contralateral_factor
            naa_cr = naa_cr / scoring.contralateral_factor
            source = (
                "the patient's other side, within a factor of "
                f"{scoring.contralateral_factor:g} (assumed); LL/Cr assumed"
            )
            return _Limits(cho_naa, naa_cr, cho_naa, naa_cr, source)
    naa_cr, naa_source = scoring.normal_naa_cr, SONG
    if (
        acquisition is not None
        and acquisition.echo_time_s is not None
        and te_class(acquisition.echo_time_s) == "short"
    ):
        naa_cr, naa_source = scoring.normal_naa_cr_short, "assumed at short echo time"
    return _Limits(
        scoring.normal_cho_naa,
        naa_cr,
        scoring.near_normal_cho_naa,
        scoring.near_normal_naa_cr,
        f"{SONG}; NAA/Cr {naa_source}; LL/Cr assumed",
    )


def near_normal_check(areas: PeakAreas, normal: Normality) -> Check:
    """Return the gate that withholds a label of what may be normal brain."""
    cho_naa, naa_cr = _found(areas, "Cho", "NAA"), _found(areas, "NAA", "Cr")
    ll_cr = _found(areas, "LL", "Cr")

    def sentence(i: int) -> str:
        if not normal.is_known[i]:
            return "Not checked: Cho/NAA or NAA/Cr has no number."
        found = f"Cho/NAA {cho_naa(i, normal.cho_naa[i])} and NAA/Cr {naa_cr(i, normal.naa_cr[i])}"
        if np.isfinite(normal.ll_cr[i]):
            found = f"{found}, LL/Cr {ll_cr(i, normal.ll_cr[i])}"
        if normal.is_near_normal[i]:
            which = "a near-normal spectrum"
            if not normal.is_inside[i]:  # Cho/NAA of 1.2 is that of few normal brains
                which = "not told apart from normal brain, which spreads that far"
            return f"{found}: {which}; the voxel may miss the lesion."
        return f"{found}: not the spectrum of normal brain."

    return Check(
        "near-normal",
        normal.is_near_normal,
        normal.is_known,
        sentence,
        threshold=normal.threshold,
        source=normal.source,
        gives=Favors.NOT_EVALUABLE,
    )


def _found(areas: PeakAreas, numerator: str, denominator: str) -> Callable[[int, float], str]:
    """Return what is said of a ratio: its value, or the bound of what was not detected."""
    are_there = numerator in areas and denominator in areas
    known = ratio(areas, numerator, denominator) if are_there else None
    bound = None if known is None else known.bound()

    def words(i: int, value: float) -> str:
        is_upper = known is not None and known.status[i] == RatioStatus.BELOW_DETECTION
        if bound is not None and np.isfinite(bound[i]):
            return f"is {'below' if is_upper else 'above'} {bound[i]:.2f}"
        return f"has no number ({numerator} is not detected)" if is_upper else f"is {value:.2f}"

    return words
