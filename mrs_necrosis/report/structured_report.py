"""The assessment as a DICOM structured report.

It is an Enhanced or Comprehensive 3D SR after template TID 1500. Ratios and metabolites carry the
standard's codes where there are any; the rest is in the private scheme 99MRSNEC, whose meanings
stand in ``PRIVATE_CODES``. What a published criterion favours is never a coded finding of disease:
it is a private concept that says research use, in a document that is preliminary and not verified.
The source is evidence and no image item: a spectroscopy object is not an image.
"""

from __future__ import annotations

import math
import os
import unicodedata
import warnings
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final, Literal

import mrs_necrosis
from mrs_necrosis.analysis import Analysis
from mrs_necrosis.assessment import Favors
from mrs_necrosis.errors import FormatError, SignalError
from mrs_necrosis.ratios import RatioStatus
from mrs_necrosis.report.dicom_objects import (
    MAKER,
    RATIO_CONCEPTS,
    RATIO_UNIT,
    SERIES_NUMBER,
    coded,
    decimal,
    fingerprint,
    load_highdicom,
    read_object,
    to_bytes,
    uid_of,
)
from mrs_necrosis.report.rows import ratio_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrs_necrosis.assessment import Assessment, Gate
    from mrs_necrosis.report.rows import Row


_PEAKS: Final = {
    "Cho": ("65123005", "SCT", "Choline"),
    "Cr": ("14804005", "SCT", "Creatine"),
    "NAA": ("115391007", "SCT", "N-acetylaspartate"),
    "LL": ("113095", "DCM", "Lipid and Lactate"),
}
_LABELS: Final = {
    Favors.NECROSIS: "MRS011",
    Favors.RECURRENCE: "MRS012",
    Favors.INDETERMINATE: "MRS013",
    Favors.NOT_EVALUABLE: "MRS014",
    Favors.MIXED: "MRS015",
}
_STATUSES: Final = {
    RatioStatus.BELOW_DETECTION: "MRS041",
    RatioStatus.DENOMINATOR_NOT_DETECTED: "MRS040",
    RatioStatus.NOT_EVALUABLE: "MRS042",
}
_GATES: Final = {
    "fit": "MRS301", "snr": "MRS302", "linewidth": "MRS303", "residual": "MRS304",
    "unexpected-peak": "MRS305", "area-sd": "MRS306", "upright": "MRS307",
    "macromolecules": "MRS308", "unsuppressed-water": "MRS309", "reference": "MRS310",
    "two-peaks": "MRS311", "absent-peaks": "MRS312", "near-normal": "MRS313",
    "low-metabolites": "MRS314", "echo-time": "MRS315", "field": "MRS316",
    "lipid-contamination": "MRS317", "net-lactate": "MRS318", "after-bevacizumab": "MRS319",
    "sampling": "MRS320", "evidence": "MRS321", "conflict": "MRS322", "draws": "MRS323",
    "three-peaks": "MRS324", "lipid-left-out": "MRS325", "draws-together": "MRS326",
    "lesion-share": "MRS327", "inversion": "MRS328",
    "fat-saturation": "MRS329",
}  # fmt: skip
_BOUND_LEVEL: Final = 0.95
_ONE_SIDED: Final = NormalDist().inv_cdf(_BOUND_LEVEL)

_MR_SPECTROSCOPY: Final = "1.2.840.10008.5.1.4.1.1.4.2"
_AREA_UNIT: Final = ("[arb'U]", "UCUM", "arbitrary unit")
_BRAIN: Final = ("12738006", "SCT", "Brain")

Kind = Literal["Comprehensive3DSR", "EnhancedSR"]


def structured_report(
    analysis: Analysis, source: str | os.PathLike[str], *, kind: Kind = "Comprehensive3DSR"
) -> bytes:
    """Return the assessment as a DICOM structured report.

    Parameters
    ----------
    analysis : Analysis
        Of one voxel or a peak table.
    source : path
        A DICOM object of the same study: the spectroscopy itself, or an image. Its patient and
        study are copied, and it is named as evidence.
    kind : {"Comprehensive3DSR", "EnhancedSR"}
        SOP class.

    Returns
    -------
    bytes
        A DICOM file; the same for the same analysis and source.

    Raises
    ------
    SignalError
        If the analysis is of a grid; its maps go into ``parametric_maps``.
    FormatError
        If the source is no DICOM object with patient and study.
    MissingExtraError
        If highdicom is not installed.

    Examples
    --------
    >>> from mrs_necrosis import analyze
    >>> found = analyze("voxel.dcm")  # doctest: +SKIP
    >>> content = structured_report(found, "voxel.dcm")  # doctest: +SKIP
    """
    if analysis.assessment is None:
        msg = "a structured report is of one voxel; write the maps of a grid as Parametric Maps"
        raise SignalError(msg)
    highdicom = load_highdicom("a structured report")
    evidence = read_object(source)
    own_class = evidence.SOPClassUID
    if own_class.is_private:  # as that of Siemens' spectroscopy, whose parts highdicom asks for
        evidence.SOPClassUID = _MR_SPECTROSCOPY
    # the same result of the same source is the same object
    seed = [str(evidence.SOPInstanceUID), fingerprint(analysis), kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's quote values of the source
        content = highdicom.sr.MeasurementReport(
            observation_context=_context(highdicom),
            procedure_reported=coded("MRS001"),
            imaging_measurements=[_group(highdicom, analysis, seed)],
        )
        try:
            report = getattr(highdicom.sr, kind)(
                evidence=[evidence],
                content=content[0],
                series_instance_uid=uid_of(*seed, "series"),
                series_number=SERIES_NUMBER,
                sop_instance_uid=uid_of(*seed, "instance"),
                instance_number=1,
                manufacturer=MAKER,
                is_complete=True,
                is_final=False,
                is_verified=False,
                series_description="MR spectroscopy ratios, research use",
            )
        except (AttributeError, ValueError, TypeError, KeyError) as error:
            msg = (
                "cannot be the source of a structured report: what it says of patient and study "
                f"is not as DICOM wants it ({type(error).__name__}); give another object of the "
                "same study, such as an image"
            )
            raise FormatError(source, msg) from None
        evidence.SOPClassUID = own_class
        for element in report.iterall():
            if element.keyword == "ReferencedSOPClassUID":
                element.value = own_class  # nothing else is referred to
        return to_bytes(report, evidence)


def _context(highdicom: Any) -> Any:
    sr = highdicom.sr
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=uid_of("device", mrs_necrosis.__version__),
        name=f"mrs_necrosis {mrs_necrosis.__version__}",
        manufacturer_name=MAKER,
        model_name="mrs_necrosis",
    )
    device_type = ("121007", "DCM", "Device")
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=coded(device_type), observer_identifying_attributes=device
        )
    )


def _group(highdicom: Any, analysis: Analysis, seed: list[str]) -> Any:
    sr = highdicom.sr
    assert analysis.assessment is not None
    algorithm = _algorithm(sr, [
        f"interval level {analysis.level:g}",
        "echo time unknown" if analysis.echo_time_s is None
        else f"echo time {analysis.echo_time_s * 1e3:g} ms",
        "field unknown" if analysis.field_t is None else f"field {analysis.field_t:.3g} T",
    ])  # fmt: skip
    measurements, evaluations = _areas(sr, analysis)
    for row in ratio_rows(analysis, [analysis.first_voxel]):
        if row.name not in RATIO_CONCEPTS:
            continue
        # the code says at which level, whatever that of the intervals is
        bound = analysis.ratios[row.name].bound(_BOUND_LEVEL)
        at = None if bound is None else float(bound[analysis.first_voxel])
        found = _ratio(sr, row, at)
        if found is not None:
            measurements.append(found)
        if row.status in _STATUSES:
            code = coded(RATIO_CONCEPTS[row.name])
            evaluations.append(sr.QualitativeEvaluation(code, coded(_STATUSES[row.status])))
        elif row.shape in {"unbounded", "two-piece"}:
            evaluations.append(
                sr.QualitativeEvaluation(coded(RATIO_CONCEPTS[row.name]), coded("MRS044"))
            )
    if analysis.assessment.favors is not Favors.NOT_EVALUABLE:
        measurements += _weight(sr, analysis.assessment)
    label = coded(_LABELS[analysis.assessment.favors])
    evaluations += [
        sr.QualitativeEvaluation(coded("MRS010"), label),
        *(
            sr.QualitativeEvaluation(coded(_GATES[gate.name]), coded(_state(gate)))
            for gate in analysis.assessment.gates
        ),
        sr.QualitativeEvaluation(coded("MRS030"), coded("MRS031")),
    ]
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=uid_of(*seed, "tracking"), identifier="spectroscopy voxel"
        ),
        finding_sites=[sr.FindingSite(coded(_BRAIN))],
        algorithm_id=algorithm,
        measurements=measurements,
        qualitative_evaluations=evaluations,
    )


def _algorithm(sr: Any, parameters: Iterable[str]) -> Any:
    # a citation of a user's file may hold letters that the report's character set lacks
    plain = [
        unicodedata.normalize("NFKD", one).encode("ascii", "ignore").decode("ascii")
        for one in parameters
    ]
    return sr.AlgorithmIdentification(
        name="mrs_necrosis", version=mrs_necrosis.__version__, parameters=plain
    )


def _state(gate: Gate) -> str:
    if not gate.is_open:
        return "MRS062" if gate.gives is None else "MRS061"
    return "MRS060" if gate.is_checked else "MRS063"


def _weight(sr: Any, assessment: Assessment) -> list[Any]:
    """Return the likelihood ratio with its interval and the criteria that it was made of."""
    evidence = assessment.deciding
    weight = evidence.likelihood_ratio
    if weight is None or not math.isfinite(weight):
        return []
    low, high = evidence.interval or (math.nan, math.nan)
    algorithm = _algorithm(sr, [
        f"{finding.words}: {finding.favors.value}; {finding.citation}"
        for finding in assessment.findings if finding.is_scored
    ])  # fmt: skip
    return [
        _number(
            sr, "MRS020", weight, RATIO_UNIT, weight - low, high - weight, algorithm_id=algorithm
        )
    ]


def _areas(sr: Any, analysis: Analysis) -> tuple[list[Any], list[Any]]:
    """Return the areas, and what is to be said of those that are absent."""
    if analysis.areas.quantity != "area":
        return [], []
    made, absent = [], []
    voxel = analysis.first_voxel
    # to the same level as the intervals of the ratios
    z = NormalDist().inv_cdf(0.5 + analysis.level / 2)
    for name, code in _PEAKS.items():
        if name not in analysis.areas:
            continue
        value, sd = float(analysis.areas.value(name)[voxel]), analysis.areas.sd(name)
        if not math.isfinite(value):
            continue
        if not analysis.areas.detected(name)[voxel]:
            absent.append(sr.QualitativeEvaluation(coded(code), coded("MRS043")))
            if sd is not None:
                bound = max(value, 0.0) + _ONE_SIDED * float(sd[voxel])
                algorithm = _algorithm(sr, [f"bound of {name}"])
                made.append(_number(sr, "MRS202", bound, _AREA_UNIT, algorithm_id=algorithm))
            continue
        half = math.nan if sd is None else z * float(sd[voxel])
        made.append(_number(sr, code, value, _AREA_UNIT, half, half))
    return made, absent


def _number(
    sr: Any,
    name: str | tuple[str, str, str],
    value: float,
    unit: tuple[str, str, str],
    below: float = math.nan,
    above: float = math.nan,
    **more: Any,
) -> Any:
    """Return one measurement; `below` and `above` reach to the ends of its interval."""
    properties = None
    if math.isfinite(below) and math.isfinite(above):
        properties = sr.MeasurementProperties(
            upper_measurement_uncertainty=decimal(above),
            lower_measurement_uncertainty=decimal(below),
        )
    measurement = sr.Measurement(
        coded(name), decimal(value), coded(unit), properties=properties, **more
    )
    for item in measurement[0].ContentSequence if "ContentSequence" in measurement[0] else ():
        if item.ValueType == "NUM":
            # highdicom calls every uncertainty a number without unit
            item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0] = coded(unit)
    return measurement


def _ratio(sr: Any, row: Row, bound: float | None) -> Any:
    """Return a ratio with the distances to the ends of its interval, or the bound of one."""
    if row.status is RatioStatus.OK and row.value is not None:
        below = above = math.nan
        if row.shape == "bounded" and row.lower is not None and row.upper is not None:
            below, above = row.value - row.lower, row.upper - row.value
        return _number(sr, RATIO_CONCEPTS[row.name], row.value, RATIO_UNIT, below, above)
    if bound is None or not math.isfinite(bound):
        return None
    code = "MRS200" if row.status is RatioStatus.BELOW_DETECTION else "MRS201"
    algorithm = _algorithm(sr, [f"bound of {row.name}"])
    return _number(sr, code, bound, RATIO_UNIT, algorithm_id=algorithm)
