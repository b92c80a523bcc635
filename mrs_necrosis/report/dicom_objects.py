"""What DICOM objects made here have in common: codes, identifiers, and what is kept of a source.

What an archive files by is copied from the source, and nothing else of the patient: an export
without names starts from a source without names. Equal input gives equal bytes.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import mrs_necrosis
from mrs_necrosis.errors import FormatError, MissingExtraError

if TYPE_CHECKING:
    import os

    from mrs_necrosis.analysis import Analysis


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
    "MRS327": "Check: share of the voxel that is lesion",
    "MRS328": "Check: inversion before the excitation",
    "MRS329": "Check: fat saturation",
}
"""Meanings of the private codes, by value; at most 64 characters, as the standard allows."""

RATIO_CONCEPTS: Final[dict[str, str | tuple[str, str, str]]] = {
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

RATIO_UNIT: Final = ("{ratio}", "UCUM", "ratio")

MAKER: Final = "mrs_necrosis developers"
SERIES_NUMBER: Final = 9900

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


def load_highdicom(feature: str) -> Any:
    """Return highdicom; a missing one is refused with the extra that brings it."""
    try:
        highdicom: Any = import_module("highdicom")
        import_module("highdicom.sr")
    except ImportError:
        raise MissingExtraError(feature, "dicom") from None
    return highdicom


def coded(value: str | tuple[str, str, str]) -> Any:
    """Return a coded concept; a text is a private code."""
    concept: Any = import_module("highdicom.sr").CodedConcept
    if isinstance(value, str):
        value = (value, SCHEME, PRIVATE_CODES[value])
    code, scheme, meaning = value
    return concept(value=code, scheme_designator=scheme, meaning=meaning)


def uid_of(*seed: str) -> Any:
    """Return the identifier that belongs to a seed."""
    generate: Any = import_module("pydicom.uid").generate_uid
    return import_module("highdicom").UID(generate(entropy_srcs=list(seed)))


def fingerprint(analysis: Analysis) -> str:
    """Return a checksum of all that decides about an object's content."""
    digest = hashlib.sha256(mrs_necrosis.__version__.encode())
    digest.update(np.ascontiguousarray(analysis.areas.values).tobytes())
    if analysis.areas.covariance is not None:
        digest.update(np.ascontiguousarray(analysis.areas.covariance).tobytes())
    digest.update(repr((analysis.source, analysis.assessment, analysis.level)).encode())
    return digest.hexdigest()


def decimal(value: float) -> float:
    """Return a number whose decimal string fits the 16 characters of DICOM."""
    return float(f"{value:.8g}")


def read_object(path: str | os.PathLike[str]) -> Any:
    """Return a DICOM object of a study, or refuse the file."""
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


def to_bytes(made: Any, source: Any) -> bytes:
    """Return an object as a file, without what is not to be passed on."""
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
            element.value = uid_of(str(made.SOPInstanceUID), "dimensions")
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
