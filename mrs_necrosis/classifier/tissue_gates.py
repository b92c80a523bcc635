"""Gates on what was measured and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier.context import share_words
from mrs_necrosis.classifier.gates import Check, unchecked
from mrs_necrosis.classifier.normality import near_normal_check, normality, quotient
from mrs_necrosis.classifier.scoring import involves_lipid
from mrs_necrosis.criteria import te_class
from mrs_necrosis.errors import joined
from mrs_necrosis.spectra import Acquisition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from mrs_necrosis.classifier.context import Context
    from mrs_necrosis.classifier.normality import Normality
    from mrs_necrosis.classifier.scoring import Scoring, Weighted
    from mrs_necrosis.spectra import Conditions


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
        lesion's mask is known, inversion and fat-saturation where the scan did that.
    """
    yield from _absent_checks(areas)
    normal = normality(areas, acquisition, context, scoring, near_skull)
    yield near_normal_check(areas, normal)
    yield _low_metabolites_check(areas, context, scoring)
    yield _mismatch_check("echo-time", "echo time", areas, acquisition, criteria, scoring)
    yield _mismatch_check("field", "field", areas, acquisition, criteria, scoring)
    yield from _prepared_checks(acquisition, len(areas.values))
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


def _prepared_checks(acquisition: Conditions | None, v: int) -> Iterable[Check]:
    """Yield the gates on what the scan did to the signal before it measured."""
    if not isinstance(acquisition, Acquisition):
        return
    yes = np.ones(v, dtype=bool)
    ti = acquisition.inversion_time_s
    if ti is not None:
        yield Check(
            "inversion", yes, yes,
            lambda _: (
                f"The scan began with an inversion (TI {1e3 * ti:.4g} ms): every peak is weighted "
                "by its T1, as in no published criterion, and lipid may be gone. If there was "
                "none, the inversion time in the header is wrong."
            ),
            threshold="no inversion before the excitation", source="by definition",
            gives=Favors.NOT_EVALUABLE, takes_lipid_off=True,
        )  # fmt: skip
    if acquisition.fat_saturated:
        yield Check(
            "fat-saturation", yes, yes,
            lambda _: "The scan saturated fat, and lipid with it: lipid criteria are left out.",
            threshold="no fat saturation", source="by definition", takes_lipid_off=True,
        )  # fmt: skip


def _contamination_check(
    areas: PeakAreas,
    context: Context,
    normal: Normality,
    near_skull: NDArray[np.bool_] | None,
    scoring: Scoring,
) -> Check:
    v = len(areas.values)
    general = ""
    if context.near_skull:
        general = "the voxel lies near the skull"
    if context.contralateral is not None and not general:
        other = quotient(context.contralateral.flat().with_ll(), "LL", "Cr")[0]
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
    fills = f"The lesion fills {share_words(share)} of the voxel"
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
