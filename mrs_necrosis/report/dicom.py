"""DICOM for the archive: the assessment as a structured report, ratio maps as Parametric Maps.

The report is an Enhanced or Comprehensive 3D SR after template TID 1500. Ratios and metabolites
carry the standard's codes where there are any; the rest is in the private scheme 99MRSNEC, whose
meanings stand in ``PRIVATE_CODES``. What a published criterion favours is never a coded finding of
disease: it is a private concept that says research use, in a document that is preliminary and not
verified. The source is evidence and no image item: a spectroscopy object is not an image.

What an archive files by is copied from the source, and nothing else of the patient: an export
without names starts from a source without names. Equal input gives equal bytes.
"""

from __future__ import annotations

import hashlib
import io
import math
import unicodedata
import warnings
from importlib import import_module
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

import mrs_necrosis
from mrs_necrosis.assessment import Favors
from mrs_necrosis.errors import FormatError, MissingExtraError, SignalError
from mrs_necrosis.ratios import RatioStatus
from mrs_necrosis.report.rows import ratio_rows

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from mrs_necrosis.analysis import Analysis
    from mrs_necrosis.assessment import Assessment, Gate
    from mrs_necrosis.report.rows import Row

SCHEME: Final = "99MRSNEC"
PRIVATE_CODES: Final = {
    "MRS001": "Proton MR spectroscopy of an irradiated brain lesion",
    "MRS010": "Published criteria, taken together, favor (research use)",
    "MRS011": "Necrosis-favoring",
    "MRS012": "Recurrence-favoring",
    "MRS013": "Indeterminate",
    "MRS014": "Not evaluable",
    "MRS015": "Mixed",
    "MRS020": "Likelihood ratio, recurrence over necrosis, published criteria",
    "MRS030": "Intended use",
    "MRS031": "Research use only; no diagnosis, not validated prospectively",
    "MRS040": "Peak of the denominator not detected",
    "MRS041": "Peak of the numerator not detected",
    "MRS042": "Neither peak detected",
    "MRS043": "Peak not detected",
    "MRS044": "Interval unbounded",
    "MRS060": "Passed",
    "MRS061": "Closed: withholds a label",
    "MRS062": "Closed: evidence counts less",
    "MRS063": "Not checked",
    "MRS101": "Choline/N-acetylaspartate Ratio",
    "MRS102": "Lipid and Lactate/Creatine Ratio",
    "MRS103": "Lipid and Lactate/Choline Ratio",
    "MRS104": "Lipid and Lactate/N-acetylaspartate Ratio",
    "MRS105": "Lactate/Creatine Ratio",
    "MRS106": "Inositol/Creatine Ratio",
    "MRS200": "Upper bound, numerator not detected (one-sided 95 %)",
    "MRS201": "Lower bound, denominator not detected (one-sided 95 %)",
    "MRS202": "Upper bound, peak not detected (one-sided 95 %)",
    "MRS301": "Check: fit",
    "MRS302": "Check: signal-to-noise ratio",
    "MRS303": "Check: linewidth",
    "MRS304": "Check: residual",
    "MRS305": "Check: unexpected peak",
    "MRS306": "Check: standard deviation of the areas",
    "MRS307": "Check: upright peaks",
    "MRS308": "Check: macromolecules",
    "MRS309": "Check: unsuppressed water",
    "MRS310": "Check: chemical-shift reference",
    "MRS311": "Check: two peaks detected",
    "MRS312": "Check: absent peaks",
    "MRS313": "Check: near-normal spectrum",
    "MRS314": "Check: low metabolites",
    "MRS315": "Check: echo time",
    "MRS316": "Check: field",
    "MRS317": "Check: lipid contamination",
    "MRS318": "Check: net lactate",
    "MRS319": "Check: after bevacizumab",
    "MRS320": "Check: sampling of the lesion",
    "MRS321": "Check: evidence",
    "MRS322": "Check: conflict of criteria",
    "MRS323": "Check: label holds in draws of the errors",
    "MRS324": "Check: three peaks given",
    "MRS325": "Check: label without the lipid criteria",
    "MRS326": "Check: label of all examinations holds in draws",
}
"""Meanings of the private codes, by value; at most 64 characters, as the standard allows."""

_RATIOS: Final[dict[str, str | tuple[str, str, str]]] = {
    "Cho/Cr": ("113081", "DCM", "Choline/Creatine Ratio"),
    "NAA/Cr": ("113082", "DCM", "N-acetylaspartate/Creatine Ratio"),
    "NAA/Cho": ("113083", "DCM", "N-acetylaspartate/Choline Ratio"),
    "Cho/NAA": "MRS101",
    "LL/Cr": "MRS102",
    "LL/Cho": "MRS103",
    "LL/NAA": "MRS104",
    "Lac/Cr": "MRS105",
    "mI/Cr": "MRS106",
}
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
}  # fmt: skip
_BOUND_LEVEL: Final = 0.95
_ONE_SIDED: Final = NormalDist().inv_cdf(_BOUND_LEVEL)
_RATIO_UNIT: Final = ("{ratio}", "UCUM", "ratio")
_AREA_UNIT: Final = ("[arb'U]", "UCUM", "arbitrary unit")
_BRAIN: Final = ("12738006", "SCT", "Brain")
_MAKER: Final = "mrs_necrosis developers"
_SERIES_NUMBER: Final = 9900

_PATIENT_GROUPS: Final = frozenset({0x0010, 0x0012, 0x0032, 0x0038})
_FILED_BY: Final = frozenset({
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
})  # fmt: skip
"""What an archive files by; the source says more of its patient: allergies, comments."""

_OF_THE_VISIT: Final = frozenset({
    "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence", "PhysiciansOfRecord",
    "PhysiciansOfRecordIdentificationSequence", "NameOfPhysiciansReadingStudy",
    "PhysiciansReadingStudyIdentificationSequence", "ConsultingPhysicianName",
    "ConsultingPhysicianIdentificationSequence", "ReferringPhysicianIdentificationSequence",
    "ReasonForVisit", "ReasonForVisitCodeSequence",
})  # fmt: skip
_OF_THE_PLACE: Final = frozenset({
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName",
    "DeviceSerialNumber", "OperatorsName", "DeviceUID",
})  # fmt: skip

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
    highdicom = _highdicom("a structured report")
    evidence = _read(source)
    # the same result of the same source is the same object
    seed = [str(evidence.SOPInstanceUID), _fingerprint(analysis), kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's quote values of the source
        content = highdicom.sr.MeasurementReport(
            observation_context=_context(highdicom),
            procedure_reported=_code("MRS001"),
            imaging_measurements=[_group(highdicom, analysis, seed)],
        )
        try:
            report = getattr(highdicom.sr, kind)(
                evidence=[evidence],
                content=content[0],
                series_instance_uid=_uid(*seed, "series"),
                series_number=_SERIES_NUMBER,
                sop_instance_uid=_uid(*seed, "instance"),
                instance_number=1,
                manufacturer=_MAKER,
                is_complete=True,
                is_final=False,
                is_verified=False,
                series_description="MR spectroscopy ratios, research use",
            )
        except (AttributeError, ValueError, TypeError, KeyError) as error:
            msg = (
                f"cannot be the source of a structured report ({type(error).__name__}); give "
                "another object of the same study, such as an image"
            )
            raise FormatError(source, msg) from None
        return _bytes(report, evidence)


def parametric_maps(
    analysis: Analysis,
    anatomy: Iterable[str | os.PathLike[str]],
    *,
    ratios: Iterable[str] = ("Cho/Cr", "NAA/Cr", "Cho/NAA", "LL/Cr"),
) -> dict[str, bytes]:
    """Return ratio maps of a grid as DICOM Parametric Map objects.

    Parameters
    ----------
    analysis : Analysis
        Of a grid whose position is known.
    anatomy : iterable of path
        MR images of one series in the same frame of reference; patient, study and frame of
        reference are copied.
    ratios : iterable of str
        Which ones, of those that there are.

    Returns
    -------
    dict of str to bytes
        By name such as ``"map_ChoCr.dcm"``. A voxel without an answer is NaN.

    Raises
    ------
    SignalError
        If the analysis is no grid, its position is unknown, or its axes are not at right angles.
    FormatError
        If the images are not of one series with a frame of reference.
    MissingExtraError
        If highdicom is not installed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from mrs_necrosis import analyze
    >>> found = analyze("grid.nii.gz")  # doctest: +SKIP
    >>> maps = parametric_maps(found, sorted(Path("t1").glob("*.dcm")))  # doctest: +SKIP
    """
    if analysis.is_single or analysis.spectra is None:
        msg = "Parametric Maps are of a grid; this is a single voxel"
        raise SignalError(msg)
    affine = analysis.spectra.affine
    if affine is None:
        msg = "Parametric Maps need the position of the grid, which this file does not give"
        raise SignalError(msg)
    highdicom = _highdicom("a Parametric Map")
    images = _series(anatomy)
    geometry = _geometry(highdicom, affine, analysis.grid[2])
    made = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, name in enumerate(ratios, 1):
            if name in analysis.ratios:
                made[f"map_{name.replace('/', '')}.dcm"] = _map(
                    highdicom, analysis, name, images, geometry, number
                )
    return made


def dicom_files(analysis: Analysis, source: str | os.PathLike[str]) -> dict[str, bytes]:
    """Return the DICOM files of any analysis by name.

    Parameters
    ----------
    analysis : Analysis
        Of a voxel: ``structured_report``. Of a grid: ``parametric_maps``.
    source : path
        A DICOM object, or the folder of one series, as these functions want it.

    Returns
    -------
    dict of str to bytes
        ``"assessment.dcm"``, or ``"map_ChoCr.dcm"``, ….

    Raises
    ------
    SignalError, FormatError, MissingExtraError
        As these functions do.
    """
    if analysis.assessment is not None:
        return {"assessment.dcm": structured_report(analysis, source)}
    return parametric_maps(analysis, _files_of(Path(source)))


# ---- parts of the report ----------------------------------------------------------------------


def _highdicom(feature: str) -> Any:
    try:
        highdicom: Any = import_module("highdicom")
        import_module("highdicom.sr")
    except ImportError:
        raise MissingExtraError(feature, "dicom") from None
    return highdicom


def _code(value: str | tuple[str, str, str]) -> Any:
    concept: Any = import_module("highdicom.sr").CodedConcept
    if isinstance(value, str):
        value = (value, SCHEME, PRIVATE_CODES[value])
    code, scheme, meaning = value
    return concept(value=code, scheme_designator=scheme, meaning=meaning)


def _uid(*seed: str) -> Any:
    generate: Any = import_module("pydicom.uid").generate_uid
    return import_module("highdicom").UID(generate(entropy_srcs=list(seed)))


def _fingerprint(analysis: Analysis) -> str:
    digest = hashlib.sha256(mrs_necrosis.__version__.encode())
    digest.update(np.ascontiguousarray(analysis.areas.values).tobytes())
    if analysis.areas.covariance is not None:
        digest.update(np.ascontiguousarray(analysis.areas.covariance).tobytes())
    digest.update(repr((analysis.source, analysis.assessment, analysis.level)).encode())
    return digest.hexdigest()


def _context(highdicom: Any) -> Any:
    sr = highdicom.sr
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=_uid("device", mrs_necrosis.__version__),
        name=f"mrs_necrosis {mrs_necrosis.__version__}",
        manufacturer_name=_MAKER,
        model_name="mrs_necrosis",
    )
    device_type = ("121007", "DCM", "Device")
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=_code(device_type), observer_identifying_attributes=device
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
        if row.name not in _RATIOS:
            continue
        # the code says at which level, whatever that of the intervals is
        bound = analysis.ratios[row.name].bound(_BOUND_LEVEL)
        at = None if bound is None else float(bound[analysis.first_voxel])
        found = _ratio(sr, row, at)
        if found is not None:
            measurements.append(found)
        if row.status in _STATUSES:
            code = _code(_RATIOS[row.name])
            evaluations.append(sr.QualitativeEvaluation(code, _code(_STATUSES[row.status])))
        elif row.shape in {"unbounded", "two-piece"}:
            evaluations.append(sr.QualitativeEvaluation(_code(_RATIOS[row.name]), _code("MRS044")))
    if analysis.assessment.favors is not Favors.NOT_EVALUABLE:
        measurements += _weight(sr, analysis.assessment)
    label = _code(_LABELS[analysis.assessment.favors])
    evaluations += [
        sr.QualitativeEvaluation(_code("MRS010"), label),
        *(
            sr.QualitativeEvaluation(_code(_GATES[gate.name]), _code(_state(gate)))
            for gate in analysis.assessment.gates
        ),
        sr.QualitativeEvaluation(_code("MRS030"), _code("MRS031")),
    ]
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=_uid(*seed, "tracking"), identifier="spectroscopy voxel"
        ),
        finding_sites=[sr.FindingSite(_code(_BRAIN))],
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
    return "MRS060" if gate.checked else "MRS063"


def _weight(sr: Any, assessment: Assessment) -> list[Any]:
    """Return the likelihood ratio with its interval and the criteria that it was made of."""
    evidence = assessment.deciding
    weight = evidence.likelihood_ratio
    if weight is None or not math.isfinite(weight):
        return []
    low, high = evidence.interval or (math.nan, math.nan)
    algorithm = _algorithm(sr, [
        f"{finding.words}: {finding.favors.value}; {finding.citation}"
        for finding in assessment.findings if finding.scored
    ])  # fmt: skip
    return [
        _number(
            sr, "MRS020", weight, _RATIO_UNIT, weight - low, high - weight, algorithm_id=algorithm
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
            absent.append(sr.QualitativeEvaluation(_code(code), _code("MRS043")))
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
            upper_measurement_uncertainty=_decimal(above),
            lower_measurement_uncertainty=_decimal(below),
        )
    measurement = sr.Measurement(
        _code(name), _decimal(value), _code(unit), properties=properties, **more
    )
    for item in measurement[0].ContentSequence if "ContentSequence" in measurement[0] else ():
        if item.ValueType == "NUM":
            # highdicom calls every uncertainty a number without unit
            item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0] = _code(unit)
    return measurement


def _ratio(sr: Any, row: Row, bound: float | None) -> Any:
    """Return a ratio with the distances to the ends of its interval, or the bound of one."""
    if row.status is RatioStatus.OK and row.value is not None:
        below = above = math.nan
        if row.shape == "bounded" and row.lower is not None and row.upper is not None:
            below, above = row.value - row.lower, row.upper - row.value
        return _number(sr, _RATIOS[row.name], row.value, _RATIO_UNIT, below, above)
    if bound is None or not math.isfinite(bound):
        return None
    code = "MRS200" if row.status is RatioStatus.BELOW_DETECTION else "MRS201"
    algorithm = _algorithm(sr, [f"bound of {row.name}"])
    return _number(sr, code, bound, _RATIO_UNIT, algorithm_id=algorithm)


def _decimal(value: float) -> float:
    """Return a number whose decimal string fits the 16 characters of DICOM."""
    return float(f"{value:.8g}")


# ---- parts of the maps ------------------------------------------------------------------------


def _geometry(highdicom: Any, affine: NDArray[np.float64], slices: int) -> Mapping[str, Any]:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    axes = lps[:3, :3]
    edges = np.sqrt((axes**2).sum(axis=0))
    units = axes / edges
    if np.abs(units.T @ units - np.eye(3)).max() > 1e-3:
        msg = "Parametric Maps need a grid whose axes are at right angles"
        raise SignalError(msg)
    positions = [lps @ np.array([0.0, 0.0, k, 1.0]) for k in range(slices)]
    return {
        # columns run along the first axis of the grid, rows along the second
        "plane_orientation": highdicom.PlaneOrientationSequence(
            coordinate_system="PATIENT",
            image_orientation=[_decimal(e) for e in (*units[:, 0], *units[:, 1])],
        ),
        "plane_positions": [
            highdicom.PlanePositionSequence(
                coordinate_system="PATIENT", image_position=[_decimal(e) for e in position[:3]]
            )
            for position in positions
        ],
        "pixel_measures": highdicom.PixelMeasuresSequence(
            pixel_spacing=[_decimal(edges[1]), _decimal(edges[0])],
            slice_thickness=_decimal(edges[2]),
        ),
    }


def _map(
    highdicom: Any,
    analysis: Analysis,
    name: str,
    images: list[Any],
    geometry: Mapping[str, Any],
    number: int,
) -> bytes:
    values = np.asarray(analysis.ratios[name].value, dtype=np.float32)
    frames = np.ascontiguousarray(values.transpose(2, 1, 0))
    finite = frames[np.isfinite(frames)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    high = max(high, low + 1e-6)
    label = name.replace("/", "_").upper()
    seed = [str(images[0].SeriesInstanceUID), _fingerprint(analysis), name]
    try:
        made = highdicom.pm.ParametricMap(
            source_images=images,
            pixel_array=frames,
            series_instance_uid=_uid(*seed, "series"),
            series_number=_SERIES_NUMBER + number,
            sop_instance_uid=_uid(*seed, "instance"),
            instance_number=1,
            manufacturer=_MAKER,
            manufacturer_model_name="mrs_necrosis",
            software_versions=mrs_necrosis.__version__,
            device_serial_number="0",
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[
                highdicom.pm.RealWorldValueMapping(
                    lut_label=label[:16],
                    lut_explanation=f"{name} ratio; NaN is no answer",
                    unit=_code(_RATIO_UNIT),
                    value_range=(low, high),
                    slope=1.0,
                    intercept=0.0,
                    quantity_definition=_code(_RATIOS[name]),
                )
            ],
            voi_lut_transformations=[
                highdicom.VOILUTTransformation(
                    window_center=_decimal((low + high) / 2),
                    window_width=_decimal(high - low or 1.0),
                    voi_lut_function="LINEAR_EXACT",  # LINEAR forbids a width below 1
                )
            ],
            content_label=label[:16],
            content_description=f"{name} by MR spectroscopy, research use",
            content_qualification="RESEARCH",
            series_description=f"{name} ratio map, research use",
            **geometry,
        )
    except (AttributeError, ValueError, TypeError, KeyError) as error:
        msg = f"no Parametric Map can be laid on these images ({type(error).__name__})"
        raise FormatError(Path(str(images[0].filename)), msg) from None
    made.BodyPartExamined = "BRAIN"  # without it the standard asks which of two sides it is
    return _bytes(made, images[0])


# ---- files ------------------------------------------------------------------------------------


def check_source(path: Path) -> None:
    """Refuse what cannot be the DICOM source, before anything is computed or written.

    Parameters
    ----------
    path : Path
        A DICOM object, or a folder of them.

    Raises
    ------
    FormatError
        If the file, or the first file of the folder, is no DICOM object of a study.
    MissingExtraError
        If highdicom is not installed.
    """
    _highdicom("DICOM output")
    files = _files_of(path)
    if not files:
        raise FormatError(path, "is a folder without DICOM files")
    _read(files[0])


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.is_file())


def _read(path: str | os.PathLike[str]) -> Any:
    pydicom: Any = import_module("pydicom")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = pydicom.dcmread(path)
            missing = [
                name
                for name in ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID",
                             "SeriesInstanceUID")
                if not found.get(name)
            ]  # fmt: skip
        except FileNotFoundError:
            raise FormatError(path, "does not exist") from None
        except Exception as error:  # noqa: BLE001 - pydicom raises anything on damaged files
            msg = f"is no DICOM object that can be read ({type(error).__name__})"
            raise FormatError(path, msg) from None
    if missing:
        raise FormatError(path, f"is no DICOM object of a study: it has no {', '.join(missing)}")
    return found


def _series(paths: Iterable[str | os.PathLike[str]]) -> list[Any]:
    images = [_read(path) for path in paths]
    if not images:
        msg = "Parametric Maps need at least one image of an anatomical series"
        raise SignalError(msg)
    first = images[0]
    for image in images:
        name = Path(str(image.filename))
        if not image.get("FrameOfReferenceUID") or "Rows" not in image:
            raise FormatError(name, "is no image with a frame of reference")
        if image.SeriesInstanceUID != first.SeriesInstanceUID:
            raise FormatError(name, "is of another series than the first image; give one series")
    return images


def _bytes(made: Any, source: Any) -> bytes:
    for element in list(made):
        is_of_patient = element.tag.group in _PATIENT_GROUPS and element.keyword not in _FILED_BY
        if is_of_patient or element.keyword in _OF_THE_VISIT:
            del made[element.tag]
    for device in made.get("ContributingEquipmentSequence", ()):
        for element in list(device):
            if element.keyword in _OF_THE_PLACE:
                del device[element.tag]
    # a clock and chance would make two runs differ: the times are those of the source
    date = source.get("ContentDate") or source.get("StudyDate") or "19000101"
    time = source.get("ContentTime") or source.get("StudyTime") or "000000"
    for element in made.iterall():
        if element.keyword in {"ContentDate", "InstanceCreationDate", "SeriesDate"}:
            element.value = date
        elif element.keyword in {"ContentTime", "InstanceCreationTime", "SeriesTime"}:
            element.value = time
        elif element.keyword in {"ContributionDateTime", "ObservationDateTime"}:
            element.value = f"{date}{str(time)[:6]}"
        elif element.keyword == "DimensionOrganizationUID":
            element.value = _uid(str(made.SOPInstanceUID), "dimensions")
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
