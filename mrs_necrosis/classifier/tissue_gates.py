"""Gates on what was measured and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier.gates import Check, unchecked
from mrs_necrosis.classifier.scoring import involves_lipid
from mrs_necrosis.criteria import te_class
from mrs_necrosis.errors import joined
from mrs_necrosis.ratios import RatioStatus, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from mrs_necrosis.classifier.context import Context
    from mrs_necrosis.classifier.scoring import Scoring, Weighted
    from mrs_necrosis.spectra import Conditions


SONG: Final = "Song 1996 (25 volunteers, 1.5 T, TE 270 ms)"

SAMPLING: Final = (
    "One voxel speaks for its own tissue: it does not exclude tumour elsewhere in the lesion "
    "(11 of 33 treated metastases were mixed, Chernov 2006)."
)


def tissue_checks(
    areas: PeakAreas,
    acquisition: Conditions | None,
    context: Context,
    criteria: Sequence[Weighted],
    scoring: Scoring,
    near_skull: NDArray[np.bool_] | None = None,
) -> Iterable[Check]:
    """Yield the gates on what was measured and where.

    Parameters
    ----------
    areas : PeakAreas
        values (V, K), with LL where it is known.
    acquisition : Acquisition, PeakTable or None
        None if unknown.
    context : Context
        What else is known.
    criteria : sequence of Weighted
        With their mismatches.
    scoring : Scoring
        Constants.
    near_skull : ndarray of bool, shape (V,), or None
        Voxels whose lipid is not that of the tissue.

    Yields
    ------
    Check
        two-peaks, absent-peaks, near-normal, low-metabolites, echo-time, field,
        lipid-contamination, net-lactate, after-bevacizumab, sampling; lesion-share where the
        lesion's mask is known.
    """
    yield from _absent_checks(areas)
    normal = _normality(areas, acquisition, context, scoring, near_skull)
    yield _near_normal_check(areas, normal)
    yield _low_metabolites_check(areas, context, scoring)
    yield _mismatch_check("echo-time", "echo time", areas, acquisition, criteria, scoring)
    yield _mismatch_check("field", "field", areas, acquisition, criteria, scoring)
    yield _contamination_check(areas, context, normal, near_skull, scoring)
    yield _net_check(areas, acquisition)
    yield _bevacizumab_check(areas, context, scoring)
    yield _sampling_check(areas, context)
    if context.lesion_share is not None:
        yield _lesion_share_check(context.lesion_share, len(areas.values), scoring)


def _absent_checks(areas: PeakAreas) -> Iterable[Check]:
    absent = {
        name: ~areas.detected(name) if name in areas else np.ones(len(areas.values), dtype=bool)
        for name in ("Cho", "Cr", "NAA")
    }
    missing = absent["Cho"].astype(int) + absent["Cr"] + absent["NAA"]
    known = np.ones(missing.shape, dtype=bool)

    def say_few(i: int) -> str:
        found = [name for name, where in absent.items() if not where[i]]
        if len(found) > 1:
            return f"{joined(found)} are detected."
        which = f"Of Cho, Cr and NAA only {found[0]}" if found else "None of Cho, Cr and NAA"
        verb = "is detected" if any(name in areas for name in absent) else "is among the peaks"
        return f"{which} {verb}: there is no ratio of two of them to judge."

    def say_absent(i: int) -> str:
        names = [name for name, where in absent.items() if where[i]]
        if not names:
            return "Cho, Cr and NAA are detected."
        said = []
        missing = [name for name in names if name not in areas]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            said.append(
                f"{joined(missing)} {verb} not among the peaks, and no criterion that needs "
                f"{'it' if len(missing) == 1 else 'them'} is judged."
            )
        undetected = [name for name in names if name in areas]
        if undetected:
            peaks = joined(undetected)
            verb = "is" if len(undetected) == 1 else "are"
            said.append(
                f"{peaks} {verb} not detected; ratios with {peaks} are bounds, and a criterion "
                "counts only where the bound already decides it."
            )
        return " ".join(said)

    yield Check(
        "two-peaks", missing > 1, known, say_few,
        threshold="two of Cho, Cr and NAA detected",
        source="by definition of a ratio; a phantom or a voxel without tissue looks like this",
        gives=Favors.NOT_EVALUABLE,
    )  # fmt: skip
    yield Check(
        "absent-peaks", missing > 0, known, say_absent,
        threshold="area >= 3 sd", source="definition of detection",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Normality:
    cho_naa: NDArray[np.float64]
    naa_cr: NDArray[np.float64]
    ll_cr: NDArray[np.float64]
    least_ll_cr: NDArray[np.float64]
    is_normal_beside_ll: NDArray[np.bool_]
    is_near_normal: NDArray[np.bool_]
    is_inside: NDArray[np.bool_]
    is_known: NDArray[np.bool_]
    limits: str
    source: str


def _quotient(areas: PeakAreas, numerator: str, denominator: str) -> NDArray[np.float64]:
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


def _normality(
    areas: PeakAreas,
    acquisition: Conditions | None,
    context: Context,
    scoring: Scoring,
    near_skull: NDArray[np.bool_] | None,
) -> _Normality:
    cho_naa = _quotient(areas, "Cho", "NAA")
    naa_cr = _quotient(areas, "NAA", "Cr")
    ll_cr = _quotient(areas, "LL", "Cr")
    if near_skull is not None:
        # the scalp's lipid does not make the tissue beneath it less normal
        ll_cr = np.where(near_skull, np.nan, ll_cr)
    scale = 3.0 if areas.quantity == "molar" else 1.0  # limits are those of areas: Cho 9 H, NAA 3
    is_short = (
        acquisition is not None
        and acquisition.echo_time_s is not None
        and te_class(acquisition.echo_time_s) == "short"
    )
    cho_limit, naa_limit = scoring.normal_cho_naa, scoring.normal_naa_cr
    naa_source = SONG
    if is_short:
        naa_limit, naa_source = scoring.normal_naa_cr_short, "assumed at short echo time"
    near_cho, near_naa = scoring.near_normal_cho_naa, scoring.near_normal_naa_cr
    source = f"{SONG}; NAA/Cr {naa_source}; LL/Cr assumed"
    if context.contralateral is not None:
        other = context.contralateral.flat().with_ll()
        other_cho, other_naa = _quotient(other, "Cho", "NAA")[0], _quotient(other, "NAA", "Cr")[0]
        if np.isfinite(other_cho) and np.isfinite(other_naa):
            near_cho = cho_limit = scale * other_cho * scoring.contralateral_factor
            near_naa = naa_limit = other_naa / scoring.contralateral_factor
            source = (
                "the patient's other side, within a factor of "
                f"{scoring.contralateral_factor:g} (assumed); LL/Cr assumed"
            )
    known = np.isfinite(cho_naa) & np.isfinite(naa_cr)
    beside = known & (scale * cho_naa <= cho_limit) & (naa_cr >= naa_limit)
    near = (scale * cho_naa <= near_cho) & (naa_cr >= near_naa)
    inside = known & (scale * cho_naa <= cho_limit)
    near = inside | (known & near)
    least = ll_cr - scoring.near_normal_sd * _ratio_sd(areas, "LL", "Cr")
    # where the tissue's LL is unknown, as near the scalp, only a clearly normal Cho/NAA counts
    low = np.where(
        np.isfinite(least), least <= scoring.near_normal_ll_cr, scale * cho_naa <= cho_limit
    )
    near &= low
    beneath = ""
    if near_skull is not None and near_skull.any():
        # without its lipid too little speaks for a label of what may be normal
        least_cho = cho_naa - scoring.near_normal_sd * _ratio_sd(areas, "Cho", "NAA")
        near |= known & near_skull & (scale * least_cho <= cho_limit)
        beneath = f"; beneath the scalp, Cho/NAA <= {cho_limit / scale:.2f} within its error"
    limits = (
        f"LL/Cr <= {scoring.near_normal_ll_cr:g} (within {scoring.near_normal_sd:g} sd) with "
        f"Cho/NAA <= {near_cho / scale:.2f} and NAA/Cr >= {near_naa:.2f}, or with "
        f"Cho/NAA <= {cho_limit / scale:.2f}; or, whatever LL, "
        f"Cho/NAA <= {cho_limit / scale:.2f} and NAA/Cr >= {naa_limit:.2f}{beneath}"
    )
    return _Normality(
        cho_naa, naa_cr, ll_cr, least, beside, near | beside, inside, known, limits, source
    )


def _near_normal_check(areas: PeakAreas, normal: _Normality) -> Check:
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
        threshold=normal.limits,
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


def _low_metabolites_check(areas: PeakAreas, context: Context, scoring: Scoring) -> Check:
    v = len(areas.values)
    other = None if context.contralateral is None else context.contralateral.flat().with_ll()
    name = "low-metabolites"
    threshold = f"Cho or Cr >= {scoring.low_metabolites:g} x the other side"
    source = "assumed; ambiguity of both-low voxels: Dowling 2001, AJNR 22:604-12"
    if other is None or not all(p in areas and p in other for p in ("Cho", "Cr")):
        return unchecked(
            name, v, "Not checked: no voxel of the other side was given.", Favors.INDETERMINATE,
            threshold, source,
        )  # fmt: skip
    with np.errstate(invalid="ignore", divide="ignore"):
        cho = areas.value("Cho") / other.value("Cho")[0]
        cr = areas.value("Cr") / other.value("Cr")[0]
    known = np.isfinite(cho) & np.isfinite(cr)
    closed = known & (cho < scoring.low_metabolites) & (cr < scoring.low_metabolites)

    def sentence(i: int) -> str:
        if not known[i]:
            return "Not checked: Cho or Cr has no number."
        found = f"Cho is {cho[i]:.2f} and Cr {cr[i]:.2f} of the other side"
        if closed[i]:
            return (
                f"{found}: both are low, which is found from necrosis to mixed tissue; "
                "no side is favoured."
            )
        return f"{found}: not both low."

    return Check(
        name,
        closed,
        known,
        sentence,
        threshold=threshold,
        source=source,
        gives=Favors.INDETERMINATE,
    )


def _mismatch_check(
    name: str,
    aspect: str,
    areas: PeakAreas,
    acquisition: Conditions | None,
    criteria: Sequence[Weighted],
    scoring: Scoring,
) -> Check:
    v = len(areas.values)
    enabled = [one for one in criteria if one.criterion.enabled]
    threshold = f"within {100 * scoring.field_tolerance:.0f} % of the study's"
    if aspect == "echo time":
        threshold = "TE short < 50, long 120-160, very long >= 250 ms"
    given = None
    if acquisition is not None and aspect == "echo time" and acquisition.echo_time_s is not None:
        given = f"{acquisition.echo_time_s * 1e3:.4g} ms"
    elif acquisition is not None and aspect == "field" and acquisition.field_t is not None:
        given = f"{acquisition.field_t:.2g} T"
    if given is None:
        return unchecked(name, v, f"Not checked: the {aspect} is unknown.", threshold=threshold)
    misfits = [one for one in enabled if aspect in one.misfits]
    if misfits:
        labels = sorted({one.criterion.label for one in misfits})
        listed = joined(labels)
        verb = "are" if labels[1:] else "is"
        sentence = (
            f"The {aspect} ({given}) is not that of {listed}, which {verb} weighted by "
            f"{scoring.mismatch:g}"
        )
        dropped = [one for one in misfits if involves_lipid(one.criterion)]
        if dropped and aspect == "echo time":
            sentence += "; their lipid criteria are left out"
        sentence += "."
    else:
        sentence = f"No criterion is known to need another {aspect} than {given}."
    closed = np.full(v, bool(misfits))
    return Check(
        name,
        closed,
        np.ones(v, dtype=bool),
        lambda _: sentence,
        threshold=threshold,
    )


def _contamination_check(
    areas: PeakAreas,
    context: Context,
    normal: _Normality,
    near_skull: NDArray[np.bool_] | None,
    scoring: Scoring,
) -> Check:
    v = len(areas.values)
    general = ""
    if context.near_skull:
        general = "the voxel lies near the skull"
    if context.contralateral is not None and not general:
        other = _quotient(context.contralateral.flat().with_ll(), "LL", "Cr")[0]
        if np.isfinite(other) and other > scoring.near_normal_ll_cr:
            general = f"the other side holds lipid too (LL/Cr {other:.2f})"
    with np.errstate(invalid="ignore"):
        alone = normal.is_normal_beside_ll & (normal.least_ll_cr > scoring.near_normal_ll_cr)
    scalp = np.zeros(v, dtype=bool) if near_skull is None else near_skull
    reasons = np.full(v, bool(general)) | alone | scalp
    known = np.isfinite(normal.ll_cr) | bool(general) | scalp

    def sentence(i: int) -> str:
        why = general or ("LL is raised while Cho/NAA and NAA/Cr are normal" if alone[i] else "")
        if scalp[i]:
            why = "the voxel's lipid looks like that of the scalp, or was suppressed"
        if why:
            return f"Lipid may come from outside the lesion: {why}; lipid criteria are left out."
        if not known[i]:
            return "Not checked: LL has no number."
        is_told = context.near_skull is False
        place = "" if is_told else " (the voxel's distance to the skull is unknown)"
        return f"No sign of scalp lipid{place}."

    return Check(
        "lipid-contamination",
        reasons,
        known,
        sentence,
        threshold=f"LL/Cr of the other side <= {scoring.near_normal_ll_cr:g}; "
        "Cho/NAA or NAA/Cr changed where LL is raised",
        takes_lipid_off=True,
        # lipid that was suppressed everywhere is nobody's threshold
        by_threshold=not context.near_skull and not scalp.all(),
    )


def _net_check(areas: PeakAreas, acquisition: Conditions | None) -> Check:
    v = len(areas.values)
    te = None if acquisition is None else acquisition.echo_time_s
    is_printed = "LL" in areas and areas.covariance is None and "Lac" not in areas
    at_long = te is not None and te_class(te) == "long"
    is_net = ("LL_net" in areas and "LL" not in areas) or (is_printed and at_long)
    is_checked = "LL_net" in areas or not is_printed or te is not None
    if is_net:
        sentence = (
            "At this echo time lactate is inverted and a printed LL is a net value: lipid minus "
            "lactate; lipid criteria are left out."
        )
    elif not is_checked:
        sentence = "Not checked: without the echo time, LL may be a net value."
    else:
        sentence = "LL is a sum of magnitudes, not a net value."
    return Check(
        "net-lactate",
        np.full(v, is_net),
        np.full(v, is_checked),
        lambda _: sentence,
        threshold="printed LL not at TE 120-160 ms",
        source="lactate's doublet (J 6.9 Hz) is inverted at TE = 1/J",
        takes_lipid_off=True,
    )


def _bevacizumab_check(areas: PeakAreas, context: Context, scoring: Scoring) -> Check:
    v = len(areas.values)
    threshold = "no bevacizumab before the spectrum"
    source = "Jeon 2012 (Cho/NAA -26 %), Ratai 2013 (doi 10.1093/neuonc/not044); factor assumed"
    if context.after_bevacizumab is None:
        return unchecked(
            "after-bevacizumab", v, "Not checked: treatment is unknown.", threshold=threshold,
            source=source,
        )  # fmt: skip
    if context.after_bevacizumab:
        sentence = (
            "Taken during or after bevacizumab, under which choline falls in tumour too: all "
            f"weights are x {scoring.after_bevacizumab:g}."
        )
    else:
        sentence = "Not taken under bevacizumab."
    return Check(
        "after-bevacizumab",
        np.full(v, context.after_bevacizumab),
        np.ones(v, dtype=bool),
        lambda _: sentence,
        threshold=threshold,
        source=source,
    )


def _sampling_check(areas: PeakAreas, context: Context) -> Check:
    v = len(areas.values)
    others = context.other_voxels
    is_closed = v == 1 and not others
    sentence = SAMPLING if is_closed else f"{v + (others or 0)} voxels were judged."
    return Check(
        "sampling",
        np.full(v, is_closed),
        np.ones(v, dtype=bool),
        lambda _: sentence,
        threshold="more than one voxel of the lesion judged",
        source="mixed lesions: Chernov 2006, Brain Tumor Pathol 23:19-27; one voxel missed 2 of 4 "
        "recurrences: Chernov 2005, doi 10.1055/s-2005-870952",
    )


def _lesion_share_check(share: float, v: int, scoring: Scoring) -> Check:
    """Return the gate on a voxel that is mostly other tissue than the lesion."""
    fills = f"The lesion fills {100 * share:.0f} % of the voxel"
    is_closed = share < scoring.least_lesion_share
    sentence = f"{fills}."
    if share == 0:
        sentence = "The voxel lies outside the lesion's mask; check the mask's space."
    elif is_closed:
        sentence = f"{fills}: most of what was measured is other tissue."
    return Check(
        "lesion-share",
        np.full(v, is_closed),
        np.ones(v, dtype=bool),
        lambda _: sentence,
        threshold=f"lesion in >= {100 * scoring.least_lesion_share:.0f} % of the voxel",
        gives=Favors.NOT_EVALUABLE,
    )
