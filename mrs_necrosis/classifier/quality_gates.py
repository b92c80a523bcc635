"""Gates on spectrum and fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mrs_necrosis.areas import DETECTION_SD
from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier.gates import USED_PPM, Check, unchecked
from mrs_necrosis.errors import joined
from mrs_necrosis.quality import FitStatus, Quality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from mrs_necrosis.areas import PeakAreas
    from mrs_necrosis.classifier.scoring import Scoring
    from mrs_necrosis.quality import QualityThresholds


QC_SOURCE: Final = (
    "assumed; attributed to Wilson 2019 (doi 10.1002/mrm.27742) and Oz 2014, tables not read"
)


def quality_checks(
    areas: PeakAreas, quality: Quality | None, thresholds: QualityThresholds, scoring: Scoring
) -> Iterable[Check]:
    """Yield the gates on spectrum and fit.

    Parameters
    ----------
    areas : PeakAreas
        values (V, K).
    quality : Quality or None
        Fields of shape (V,).
    thresholds : QualityThresholds
        Numbers to compare with.
    scoring : Scoring
        How near an unexplained peak may be.

    Yields
    ------
    Check
        unsuppressed-water, reference, fit, snr, linewidth, residual, unexpected-peak, area-sd,
        upright, macromolecules.
    """
    v = len(areas.values)
    limit = thresholds
    nothing = np.full(v, np.nan)
    known = quality or Quality(
        nothing, nothing, nothing, nothing, np.zeros(v, dtype=np.uint8), nothing
    )
    for check, missing in (
        (_water_check(known, limit), "the water's height is unknown"),
        (_reference_check(known, limit), "nobody said how sure the chemical shift is"),
        (_fit_check(known), "no fit was given"),
        (_snr_check(known, limit), "the SNR is unknown"),
        (_linewidth_check(known, limit), "the linewidth is unknown"),
        (_residual_check(known, limit), "the fit's residual is unknown"),
        (_unexpected_check(known, scoring), "no residual was searched for unexpected peaks"),
    ):
        if quality is None:
            yield unchecked(check.name, v, f"Not checked: {missing}.", check.gives,
                             check.threshold, check.source)  # fmt: skip
        else:
            yield check
    yield _area_sd_check(areas, thresholds)
    yield _upright_check(areas)
    yield _macromolecule_check(areas, thresholds)


def _macromolecule_check(areas: PeakAreas, limit: QualityThresholds) -> Check:
    v = len(areas.values)
    threshold = f"macromolecules <= {limit.macromolecules_fail:g} x the tallest of Cho, Cr, NAA"
    source = (
        "assumed, between 41 (the most of 2,000 simulated lesions) and 62 (nulled metabolites) of "
        "what was at hand"
    )
    if "MM" not in areas or areas.covariance is None:
        return unchecked(
            "macromolecules", v, "Not checked: macromolecules were not fitted.",
            Favors.NOT_EVALUABLE, threshold, source,
        )  # fmt: skip
    tallest = np.fmax.reduce([areas.value(name) for name in USED_PPM if name in areas])
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(tallest > 0, areas.value("MM") / tallest, np.inf)
        closed = areas.detected("MM") & (ratio > limit.macromolecules_fail)

    def sentence(i: int) -> str:
        if not closed[i]:
            return "The macromolecules do not hide the metabolites."
        return (
            "This looks like an acquisition with nulled metabolites: the macromolecules hold "
            f"{_times(ratio[i])} times the area of the tallest of Cho, Cr and NAA."
        )

    return Check(
        "macromolecules",
        closed,
        np.isfinite(areas.value("MM")),
        sentence,
        threshold=threshold,
        source=source,
        gives=Favors.NOT_EVALUABLE,
    )


def _water_check(quality: Quality, limit: QualityThresholds) -> Check:
    ratio = _known(quality.water_ratio)
    known = np.isfinite(ratio)
    closed = known & (ratio > limit.water_fail)

    def sentence(i: int) -> str:
        if not known[i]:
            return "Not checked: the water's height is unknown."
        if not closed[i]:
            return "The water is suppressed, or the metabolites stand out beside it."
        return (
            f"This looks like an unsuppressed water signal: its line is {_times(ratio[i])} times "
            "as high as anything narrow between 1.8 and 3.5 ppm; give the water-suppressed "
            "acquisition, and this one as its water reference."
        )

    return Check(
        "unsuppressed-water",
        closed,
        known,
        sentence,
        threshold=f"water <= {limit.water_fail:g} x the highest narrow peak",
        source="assumed, between 90 (suppressed) and 450 (unsuppressed) of the files at hand",
        gives=Favors.NOT_EVALUABLE,
    )


def _reference_check(quality: Quality, limit: QualityThresholds) -> Check:
    confidence = _known(quality.reference_confidence)
    known = np.isfinite(confidence)
    closed = known & (confidence < limit.reference_fail)

    def sentence(i: int) -> str:
        if not known[i]:
            return "Not checked: nobody said how sure the chemical shift is."
        if not closed[i]:
            return f"Phase and chemical shift were found with confidence {confidence[i]:.2f}."
        if confidence[i] == 0.0:
            return "Nothing was recognised to find phase and chemical shift by."
        return (
            f"Phase and chemical shift are uncertain (confidence {confidence[i]:.2f}): peaks may "
            "be taken for others; look at the figure, or give the shift."
        )

    return Check(
        "reference",
        closed,
        known,
        sentence,
        threshold=f"confidence >= {limit.reference_fail:g}",
        source="assumed",
        gives=Favors.NOT_EVALUABLE,
    )


def _times(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio < 10_000 else "more than 10000"


def _known(numbers: NDArray[np.float64] | None) -> NDArray[np.float64]:
    assert numbers is not None  # Quality fills in NaN
    return numbers


def _fit_check(quality: Quality) -> Check:
    usable = (FitStatus.OK, FitStatus.AT_BOUND)
    status = quality.status
    return Check(
        "fit",
        ~np.isin(status, usable),
        np.ones(status.shape, dtype=bool),
        lambda i: _sentence(FitStatus(int(status[i])).sentence),
        threshold="the fit converged",
        source="by definition",
        gives=Favors.NOT_EVALUABLE,
    )


def _number_check(
    name: str,
    numbers: NDArray[np.float64],
    is_closed: NDArray[np.bool_],
    threshold: str,
    say: Callable[[float], str],
    *,
    extra: Callable[[int], str] = lambda _: "",
) -> Check:
    known = np.isfinite(numbers)

    def sentence(i: int) -> str:
        if not known[i]:
            return f"Not checked: the {name} has no answer."
        verdict = "too poor to judge" if is_closed[i] else "good enough"
        return f"{say(float(numbers[i]))}{extra(i)}: {verdict} (limit: {threshold})."

    return Check(
        name, is_closed & known, known, sentence, threshold, QC_SOURCE, Favors.NOT_EVALUABLE
    )


def _snr_check(quality: Quality, limit: QualityThresholds) -> Check:
    return _number_check(
        "snr", quality.snr, quality.snr < limit.snr_fail, f"SNR >= {limit.snr_fail:g}",
        lambda x: f"The SNR is {'below 1' if x < 1 else f'{x:.1f}'}",
    )  # fmt: skip


def _linewidth_check(quality: Quality, limit: QualityThresholds) -> Check:
    width_hz = quality.linewidth_hz
    return _number_check(
        "linewidth",
        quality.linewidth_ppm,
        quality.linewidth_ppm > limit.linewidth_fail_ppm,
        f"linewidth <= {limit.linewidth_fail_ppm:g} ppm",
        lambda x: f"The lines are {x:.3f} ppm wide",
        extra=lambda i: f" ({width_hz[i]:.1f} Hz)" if np.isfinite(width_hz[i]) else "",
    )


def _residual_check(quality: Quality, limit: QualityThresholds) -> Check:
    return _number_check(
        "residual",
        quality.residual_ratio,
        quality.residual_ratio > limit.residual_fail,
        f"residual <= {limit.residual_fail:g} x noise",
        lambda x: f"The fit leaves {x:.1f} times the noise",
    )


def _unexpected_check(quality: Quality, scoring: Scoring) -> Check:
    where = quality.unexplained_ppm
    positions = np.array(list(USED_PPM.values()))
    away = np.abs(where[:, np.newaxis] - positions)
    nearest = np.where(np.isfinite(away), away, np.inf).argmin(axis=1)
    near = np.isfinite(where) & (away.min(axis=1) <= scoring.unexpected_ppm)

    def sentence(i: int) -> str:
        if not np.isfinite(where[i]):
            return "Every strong peak is one that the model knows."
        found = f"The residual holds a strong peak at {where[i]:.2f} ppm that the model does not"
        if not near[i]:
            return f"{found} know; it is far from the peaks that are used."
        peak = list(USED_PPM)[nearest[i]]
        return f"{found} know, so close to {peak} that {peak} cannot be told from it."

    return Check(
        "unexpected-peak",
        near,
        np.ones(where.shape, dtype=bool),
        sentence,
        threshold=f"no unexplained peak within {scoring.unexpected_ppm:g} ppm of NAA, Cr or Cho",
        gives=Favors.NOT_EVALUABLE,
    )


def _area_sd_check(areas: PeakAreas, thresholds: QualityThresholds) -> Check:
    v = len(areas.values)
    names = [name for name in USED_PPM if name in areas]
    threshold = f"sd <= {100 * thresholds.area_sd_fail:.0f} % of the tallest of Cho, Cr, NAA"
    source = (
        "assumed; compared with the tallest peak, because a limit on each peak's own relative "
        "error would discard truly low peaks (Kreis 2016, doi 10.1002/mrm.25568)"
    )
    if areas.covariance is None or not names:
        return unchecked(
            "area-sd", v, "Not checked: the areas have no reported uncertainty.",
            Favors.NOT_EVALUABLE, threshold, source,
        )  # fmt: skip
    value, sd = _stacked(areas, names)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.fmax.reduce(sd) / np.fmax.reduce(value)
    relative = np.where(np.fmax.reduce(value) > 0, relative, np.inf)
    relative = np.where(np.isnan(sd).any(axis=0), np.nan, relative)
    known = ~np.isnan(relative)
    closed = known & (relative > thresholds.area_sd_fail)

    def sentence(i: int) -> str:
        if not known[i]:
            return "Not checked: the areas have no answer."
        verdict = "too poor to judge" if closed[i] else "good enough"
        size = f"{100 * relative[i]:.0f} %" if relative[i] < 10 else "more than ten times"
        return f"The largest sd among Cho, Cr and NAA is {size} of the tallest of them: {verdict}."

    return Check(
        "area-sd",
        closed,
        known,
        sentence,
        threshold=threshold,
        source=source,
        gives=Favors.NOT_EVALUABLE,
    )


def _stacked(
    areas: PeakAreas, names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the areas of some peaks and their standard deviations, each of shape (peaks, V)."""
    value = np.stack([areas.value(name) for name in names])
    sd = np.stack([areas.sd(name) for name in names])  # type: ignore[misc]
    return value, sd


def _upright_check(areas: PeakAreas) -> Check:
    v = len(areas.values)
    names = [name for name in (*USED_PPM, "Lac") if name in areas]
    threshold = f"no area of Cho, Cr, NAA or Lac below -{DETECTION_SD:g} sd"
    source = "assumed; the least of 1,800 simulated spectra was -1.5 sd"
    if areas.covariance is None or not names:
        return unchecked(
            "upright", v, "Not checked: the areas have no reported uncertainty.",
            Favors.NOT_EVALUABLE, threshold, source,
        )  # fmt: skip
    value, sd = _stacked(areas, names)
    inverted = value < -DETECTION_SD * sd

    def sentence(i: int) -> str:
        found = [name for name, where in zip(names, inverted[:, i], strict=True) if where]
        if not found:
            return "No peak points the wrong way."
        verb = "points" if len(found) == 1 else "point"
        return (
            f"{joined(found)} {verb} the wrong way, by more than the error: phase, first samples "
            "or chemical shift are not what they seem, or the sequence is another; look at the "
            "figure."
        )

    return Check(
        "upright",
        np.asarray(inverted.any(axis=0)),
        np.asarray(np.isfinite(value).any(axis=0)),
        sentence,
        threshold=threshold,
        source=source,
        gives=Favors.NOT_EVALUABLE,
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
