"""DICOM output: validated by independent tools, and read back by another library."""

import io
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid
from scanner_files import mrs_dicom

from mrs_necrosis import analyze
from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier import Context
from mrs_necrosis.classifier.evidence_gates import TOGETHER
from mrs_necrosis.cli import main
from mrs_necrosis.criteria import load_criteria
from mrs_necrosis.errors import FormatError, MissingExtraError, SignalError
from mrs_necrosis.report import dicom_objects, files, structured_report
from mrs_necrosis.report.parametric_maps import parametric_maps
from mrs_necrosis.simulation import phantom, sample_path
from mrs_necrosis.spectra import SpectralData

highdicom = pytest.importorskip("highdicom", reason="needs the extra [dicom]")

PEAKS = {"LL": 108964, "Cho": 33671, "Cr": 29534, "NAA": 31278}
AFFINE = np.array(
    [[0.0, -10.0, 0.0, 40.0], [12.0, 0.0, 0.0, -30.0], [0.0, 0.0, 15.0, 5.0], [0, 0, 0, 1.0]]
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A spectroscopy object with the patient and study that an archive needs."""
    fid = np.exp(-np.arange(256) / 40.0).astype(complex).reshape(1, 1, 1, 256)
    path = tmp_path_factory.mktemp("source") / "mrs.dcm"
    mrs_dicom(path, fid, [(0.0, 0.0, 0.0)])
    dataset = pydicom.dcmread(path)
    for name, value in {
        "PatientID": "P1", "PatientBirthDate": "19500101", "PatientSex": "O",
        "StudyInstanceUID": generate_uid(entropy_srcs=["study"]), "StudyID": "1",
        "SeriesInstanceUID": generate_uid(entropy_srcs=["series"]), "SeriesNumber": 1,
        "StudyDate": "20200102", "StudyTime": "030405", "AccessionNumber": "A1",
        "ReferringPhysicianName": "", "Modality": "MR",
    }.items():  # fmt: skip
        setattr(dataset, name, value)
    dataset.save_as(path)
    return path


@pytest.fixture(scope="module")
def anatomy(tmp_path_factory):
    """Two slices of one MR series, from pydicom's own test image."""
    folder = tmp_path_factory.mktemp("anatomy")
    found = pydicom.data.get_testdata_file("MR_small.dcm", download=False)
    series = generate_uid(entropy_srcs=["anatomy"])
    for number in (1, 2):
        image = pydicom.dcmread(found)
        image.SeriesInstanceUID = series
        image.SOPInstanceUID = generate_uid(entropy_srcs=["slice", str(number)])
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.InstanceNumber = number
        image.ImagePositionPatient = [-80.0, -80.0, 10.0 * number]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.save_as(folder / f"{number}.dcm")
    return folder


@pytest.fixture(scope="module")
def voxel():
    return analyze(sample_path("reference_case_te144.nii.gz"))


@pytest.fixture(scope="module")
def grid():
    made = phantom("radiation_necrosis", np.random.default_rng(0), grid=(3, 2, 2), snr=30.0,
                   n_samples=512, echo_time_s=0.144)  # fmt: skip
    fid = made.data.fid.copy()
    fid[1, 1, 0] = np.nan
    acquisition = made.data.acquisition
    return analyze(SpectralData(fid=fid, acquisition=acquisition, affine=AFFINE))


def checked(content, folder, tool):
    """Return what a tool of the distribution says of the file."""
    command = shutil.which(tool)
    if command is None:
        pytest.skip(f"needs the program {tool}")
    path = folder / "made.dcm"
    path.write_bytes(content)
    run = subprocess.run([command, str(path)], capture_output=True, check=False)
    return run.returncode, (run.stdout + run.stderr).decode("utf-8", "replace")


def items(content):
    """Yield every content item of a report."""
    queue = [pydicom.dcmread(io.BytesIO(content))]
    while queue:
        item = queue.pop(0)
        queue += list(item.get("ContentSequence", ()))
        yield item


def numbers(content):
    """Return the measurements by the code of their name."""
    found = {}
    for item in items(content):
        if item.get("ValueType") != "NUM":
            continue
        measured = item.MeasuredValueSequence[0]
        found.setdefault(item.ConceptNameCodeSequence[0].CodeValue, []).append(
            (float(measured.NumericValue),
             measured.MeasurementUnitsCodeSequence[0].CodeValue, item)
        )  # fmt: skip
    return found


# ---- the structured report --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Comprehensive3DSR", "EnhancedSR"])
def test_two_independent_tools_accept_the_report(voxel, source, tmp_path, kind):
    content = structured_report.structured_report(voxel, source, kind=kind)

    code, words = checked(content, tmp_path, "dciodvfy")
    assert code == 0
    assert "Error" not in words, words
    code, words = checked(content, tmp_path, "dsrdump")
    assert code == 0
    for line in ("PRELIMINARY", "UNVERIFIED", "Choline/Creatine Ratio", "Research use only"):
        assert line in words


def test_every_number_is_read_back(voxel, source):
    found = numbers(structured_report.structured_report(voxel, source))

    for name, code in (("Cho/Cr", "113081"), ("NAA/Cr", "113082"), ("LL/Cr", "MRS102")):
        ((value, unit, item),) = found[code]
        ratio = voxel.ratios[name]
        interval = ratio.interval(0.95)
        assert unit == "{ratio}"
        assert value == pytest.approx(float(ratio.value.item()), rel=1e-7)
        ends = {
            part.ConceptNameCodeSequence[0].CodeValue: part.MeasuredValueSequence[0]
            for part in item.ContentSequence
        }
        # SNOMED CT: upper 371886008, lower 371885007 range of uncertainty
        up, down = ends["371886008"], ends["371885007"]
        assert value + float(up.NumericValue) == pytest.approx(interval.upper.item(), rel=1e-6)
        assert value - float(down.NumericValue) == pytest.approx(interval.lower.item(), rel=1e-6)
        assert up.MeasurementUnitsCodeSequence[0].CodeValue == "{ratio}"
    ((cho, unit, _),) = found["65123005"]
    assert cho == pytest.approx(voxel.areas.value("Cho").item(), rel=1e-7)
    assert unit == "[arb'U]"


def test_highdicom_reads_the_groups_back(voxel, source):
    content = structured_report.structured_report(voxel, source)

    read = highdicom.sr.srread(io.BytesIO(content))
    (group,) = read.content.get_image_measurement_groups()

    label = next(one for one in group.get_qualitative_evaluations() if one.name.value == "MRS010")
    assert label.value.meaning.lower() == voxel.assessment.favors.value


def test_no_likelihood_ratio_stands_beside_a_label_that_is_withheld(voxel, source):
    withheld = replace(
        voxel, assessment=replace(voxel.assessment, favors=Favors.NOT_EVALUABLE)
    )  # fmt: skip

    assert "MRS020" in numbers(structured_report.structured_report(voxel, source))
    assert "MRS020" not in numbers(structured_report.structured_report(withheld, source))


def test_the_label_carries_its_checks_and_citations(voxel, source):
    content = structured_report.structured_report(voxel, source)

    found = list(items(content))
    states = {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.ConceptCodeSequence[0].CodeValue
        for item in found if item.get("ValueType") == "CODE"
        and item.ConceptNameCodeSequence[0].CodeValue.startswith("MRS3")
    }  # fmt: skip
    words = " ".join(item.TextValue for item in found if item.get("ValueType") == "TEXT")
    assert len(states) == len(voxel.assessment.gates)
    assert states["Check: signal-to-noise ratio"] == "MRS060"
    assert states["Check: sampling of the lesion"] == "MRS062"
    assert states["Check: after bevacizumab"] == "MRS063"
    for finding in voxel.assessment.findings:
        assert (finding.citation in words) or not finding.is_scored
    ((weight, _, item),) = numbers(content)["MRS020"]
    ends = {
        part.ConceptNameCodeSequence[0].CodeValue: part.MeasuredValueSequence[0].NumericValue
        for part in item.ContentSequence if part.ValueType == "NUM"
    }  # fmt: skip
    low, high = voxel.assessment.evidence.interval
    assert weight - float(ends["371885007"]) == pytest.approx(low, rel=1e-6)
    assert weight + float(ends["371886008"]) == pytest.approx(high, rel=1e-6)


def test_a_citation_in_any_script_is_written(source, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(
        'schema = 1\n[[criterion]]\nid = "ando2004_cho_cr"\ncitation = "Šimko \u2192 日本 2004"\n',
        encoding="utf-8",
    )
    found = analyze(PEAKS, criteria=load_criteria(own))

    content = structured_report.structured_report(found, source)

    assert any("Simko" in item.get("TextValue", "") for item in items(content))


def test_every_check_has_a_code():
    folder = Path(structured_report.__file__).parent.parent / "classifier"
    code = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    names = set(
        re.findall(r'(?:Check|unchecked|_number_check|_mismatch_check)\(\s*"([a-z-]+)"', code)
    )
    names |= {TOGETHER}

    assert {"snr", "near-normal", "draws", "three-peaks"} <= names <= set(structured_report._GATES)


def test_an_absent_peak_has_no_area(source):
    found = analyze(sample_path("too_poor_te144.nii.gz"))
    absent = [n for n in ("Cho", "Cr", "NAA", "LL") if not found.areas.detected(n).item()]

    content = structured_report.structured_report(found, source)

    assert absent
    said = {
        item.ConceptNameCodeSequence[0].CodeMeaning
        for item in items(content)
        if item.get("ValueType") == "CODE" and item.ConceptCodeSequence[0].CodeValue == "MRS043"
    }
    assert len(said) == len(absent)
    assert len(numbers(content)["MRS202"]) == len(absent)
    for name in absent:
        assert structured_report._PEAKS[name][0] not in numbers(content)


def test_the_likelihood_ratio_is_the_one_that_decided_the_label(source):
    context = Context(population="metastasis", perfusion_reading="low")
    found = analyze(PEAKS, context=context)

    ((ratio, _, _),) = numbers(structured_report.structured_report(found, source))["MRS020"]

    assert found.assessment.evidence.likelihood_ratio > 1 / 3
    assert ratio == pytest.approx(found.assessment.combined.likelihood_ratio)


def test_the_label_is_no_coded_disease(voxel, source):
    content = structured_report.structured_report(voxel, source)

    # SNOMED CT: necrosis, recurrent tumour
    for code in (b"6574001", b"25173007"):
        assert code not in content
    assert not any(item.get("ValueType") == "IMAGE" for item in items(content))


def test_the_source_is_evidence(voxel, source):
    made = pydicom.dcmread(io.BytesIO(structured_report.structured_report(voxel, source)))
    read = pydicom.dcmread(source)

    series = [
        one for study in (made.get("CurrentRequestedProcedureEvidenceSequence", [])
                          or made.PertinentOtherEvidenceSequence)
        for one in study.ReferencedSeriesSequence
    ]  # fmt: skip
    assert series[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == read.SOPInstanceUID
    assert (made.PatientID, made.StudyInstanceUID) == (read.PatientID, read.StudyInstanceUID)
    assert made.SeriesInstanceUID != read.SeriesInstanceUID


def test_a_private_class_of_the_scanner_may_be_the_source(voxel, source, tmp_path):
    private = "1.3.12.2.1107.5.9.1"  # Siemens CSA Non-Image Storage: spectra of VA to VE
    dataset = pydicom.dcmread(source)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = private
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(tmp_path / "voxel.IMA")

    content = structured_report.structured_report(voxel, tmp_path / "voxel.IMA")
    made = pydicom.dcmread(io.BytesIO(content))

    referred = [one.value for one in made.iterall() if one.keyword == "ReferencedSOPClassUID"]
    assert referred == [private]
    assert (made.PatientID, made.StudyInstanceUID) == ("P1", dataset.StudyInstanceUID)


def test_of_the_patient_only_what_an_archive_files_by_is_copied(
    voxel, grid, source, anatomy, tmp_path
):
    planted = "Zzdoe"
    free = (
        "OtherPatientIDs", "PatientComments", "AdditionalPatientHistory", "Allergies",
        "MedicalAlerts", "Occupation", "EthnicGroup", "AdmittingDiagnosesDescription",
        "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "InstitutionName",
        "InstitutionAddress", "OperatorsName", "StationName", "DeviceSerialNumber",
        "ProtocolName", "SeriesDescription", "ImageComments", "RequestedProcedureDescription",
        "PerformedProcedureStepDescription", "ClinicalTrialSiteName", "RequestingService",
    )  # fmt: skip
    paths = []
    for number, original in enumerate((source, *sorted(anatomy.iterdir()))):
        dataset = pydicom.dcmread(original)
        for name in free:
            setattr(dataset, name, planted)
        paths.append(tmp_path / f"{number}.dcm")
        dataset.save_as(paths[-1])

    made = [structured_report.structured_report(voxel, paths[0])]
    made += parametric_maps(grid, paths[1:]).values()

    for content in made:
        copied = pydicom.dcmread(io.BytesIO(content))
        assert [one.keyword for one in copied.iterall() if planted in str(one.value)] == []
    assert "PatientName" in copied


def test_equal_input_gives_equal_bytes(voxel, grid, source, anatomy):
    images = sorted(anatomy.iterdir())

    assert structured_report.structured_report(
        voxel, source
    ) == structured_report.structured_report(voxel, source)
    assert parametric_maps(grid, images) == parametric_maps(grid, images)
    other = analyze(PEAKS)
    assert structured_report.structured_report(
        voxel, source
    ) != structured_report.structured_report(other, source)


def test_dates_are_those_of_the_source_and_not_of_today(voxel, grid, source, anatomy):
    image = pydicom.dcmread(min(anatomy.iterdir()))
    content = parametric_maps(grid, sorted(anatomy.iterdir()))["map_ChoCr.dcm"]
    for made, of in (
        (structured_report.structured_report(voxel, source), pydicom.dcmread(source)),
        (content, image),
    ):
        dates = {
            element.keyword: str(element.value)
            for element in pydicom.dcmread(io.BytesIO(made)).iterall()
            if element.VR == "DA" and element.keyword not in {"PatientBirthDate"}
        }
        assert {"ContentDate", "StudyDate"} <= set(dates)
        assert set(dates.values()) <= {of.get("ContentDate"), of.get("StudyDate"), ""}


def test_an_absent_peak_is_a_bound_and_no_number(source, tmp_path):
    areas = PeakAreas(
        ("LL", "Cho", "Cr", "NAA"), [5.0, 100.0, 90.0, 1.0], np.diag([4.0, 4.0, 4.0, 4.0]) ** 2
    )
    found = analyze(areas)

    content = structured_report.structured_report(
        replace(found, level=0.8), source
    )  # the bound stays at 95 %

    by_code = numbers(content)
    assert "MRS102" not in by_code  # LL/Cr
    assert "MRS101" not in by_code  # Cho/NAA
    bounds = [value for value, *_ in by_code["MRS200"]]
    assert any(b == pytest.approx(found.ratios["LL/Cr"].bound().item(), rel=1e-6) for b in bounds)
    assert by_code["MRS201"]
    evaluations = [
        (item.ConceptNameCodeSequence[0].CodeValue, item.ConceptCodeSequence[0].CodeValue)
        for item in items(content)
        if item.get("ValueType") == "CODE"
    ]
    assert ("MRS102", "MRS041") in evaluations
    assert ("MRS101", "MRS040") in evaluations
    assert checked(content, tmp_path, "dciodvfy")[0] == 0


def test_a_peak_table_has_numbers_without_uncertainty(source, tmp_path):
    content = structured_report.structured_report(analyze(PEAKS), source)

    said = [item.ConceptCodeSequence[0].CodeValue for item in items(content)
            if item.get("ValueType") == "CODE"]  # fmt: skip
    assert "MRS044" not in said  # an interval that is not known is not unbounded

    ((value, _, item),) = numbers(content)["113081"]
    assert value == pytest.approx(1.14008, abs=5e-6)
    assert not any(part.ValueType == "NUM" for part in item.get("ContentSequence", ()))
    code, words = checked(content, tmp_path, "dciodvfy")
    assert (code, "Error" in words) == (0, False)


def test_spectra_of_siemens_may_be_the_source(voxel, shared_data):
    path = shared_data / "siemens_ima" / "brain_3T_SVS_30.IMA"

    made = pydicom.dcmread(io.BytesIO(structured_report.structured_report(voxel, path)))

    assert made.StudyInstanceUID == pydicom.dcmread(path).StudyInstanceUID


def test_a_source_whose_dates_are_none_is_refused(voxel, shared_data):
    path = shared_data / "siemens_ima" / "spinal_cord_7T_sLASER_shortTE_WS.dcm"

    with pytest.raises(FormatError, match=r"is not as DICOM wants it .*; give another object of"):
        structured_report.structured_report(voxel, path)


def test_meanings_of_codes_fit_the_standard():
    # PS3.5: a long string has at most 64 characters
    assert max(map(len, dicom_objects.PRIVATE_CODES.values())) <= 64


def test_every_private_code_stands_in_the_documentation():
    page = (Path(__file__).parents[1] / "docs" / "dicom.md").read_text()

    for code, meaning in dicom_objects.PRIVATE_CODES.items():
        assert f"| {code} | {meaning} |" in page


def test_what_cannot_be_written_is_said(voxel, grid, tmp_path, source, anatomy, monkeypatch):
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(b"no dicom" * 50)
    with pytest.raises(FormatError, match="no DICOM object that can be read"):
        structured_report.structured_report(voxel, bad)
    dataset = pydicom.dcmread(source)
    del dataset.StudyInstanceUID
    dataset.save_as(bad)
    with pytest.raises(FormatError, match="has no StudyInstanceUID"):
        structured_report.structured_report(voxel, bad)
    with pytest.raises(SignalError, match="of one voxel"):
        structured_report.structured_report(grid, source)
    with pytest.raises(SignalError, match="are of a grid"):
        parametric_maps(voxel, [source])
    with pytest.raises(SignalError, match="at least one image"):
        parametric_maps(grid, [])
    with pytest.raises(FormatError, match="no image with a frame of reference"):
        parametric_maps(grid, [source])
    first, second = sorted(anatomy.iterdir())
    other = pydicom.dcmread(second)
    other.SeriesInstanceUID = generate_uid(entropy_srcs=["other"])
    other.save_as(bad)
    with pytest.raises(FormatError, match="of another series"):
        parametric_maps(grid, [first, bad])
    no_size = pydicom.dcmread(first)
    no_size.PixelSpacing = None
    no_size.save_as(bad)
    with pytest.raises(FormatError, match=r"no Parametric Map can be laid on these images \("):
        parametric_maps(grid, [bad])
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingExtraError, match=r"mrs-necrosis\[dicom\]"):
        structured_report.structured_report(voxel, source)


# ---- parametric maps --------------------------------------------------------------------------


def test_the_maps_are_read_back_with_their_place(grid, anatomy, tmp_path):
    contents = parametric_maps(grid, sorted(anatomy.iterdir()))

    assert sorted(contents) == ["map_ChoCr.dcm", "map_ChoNAA.dcm", "map_LLCr.dcm", "map_NAACr.dcm"]
    made = pydicom.dcmread(io.BytesIO(contents["map_ChoCr.dcm"]))
    frames = np.frombuffer(made.FloatPixelData, "<f4").reshape(2, 2, 3)
    values = grid.ratios["Cho/Cr"].value
    shared = made.SharedFunctionalGroupsSequence[0]
    spacing = [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing]
    turn = np.array(
        shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float
    ).reshape(2, 3)
    for pixels, frame in zip(frames, made.PerFrameFunctionalGroupsSequence, strict=True):
        start = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        for row, column in np.ndindex(2, 3):
            # PS3.3 C.7.6.2.1.1: columns run along the first direction, rows along the second
            place = start + turn[0] * spacing[1] * column + turn[1] * spacing[0] * row
            voxel = np.linalg.solve(AFFINE, [*(place * [-1, -1, 1]), 1.0])[:3]
            i, j, k = np.rint(voxel).astype(int)
            np.testing.assert_allclose(voxel, [i, j, k], atol=1e-5)
            np.testing.assert_allclose(pixels[row, column], values[i, j, k], rtol=1e-6)
    assert np.isnan(frames).sum() == np.isnan(values).sum() >= 1
    mapping = shared.RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "{ratio}"
    assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == "113081"
    assert made.ContentQualification == "RESEARCH"


@pytest.mark.parametrize("scale", [1.0, 0.01, 0.0], ids=["wide", "narrow", "all alike"])
def test_an_independent_tool_accepts_the_maps(grid, anatomy, tmp_path, scale):
    found = grid.ratios["LL/Cr"]
    lipid = replace(found, value=scale * found.value)
    scaled = replace(grid, ratios={**grid.ratios, "LL/Cr": lipid})
    contents = parametric_maps(scaled, sorted(anatomy.iterdir()))

    _, words = checked(contents["map_LLCr.dcm"], tmp_path, "dciodvfy")

    errors = [line for line in words.splitlines() if line.startswith("Error")]
    assert errors == []
    shared = pydicom.dcmread(io.BytesIO(contents["map_LLCr.dcm"])).SharedFunctionalGroupsSequence
    # PS3.3 C.11.2.1.3.2: greater than 0
    assert shared[0].FrameVOILUTSequence[0].WindowWidth > 0


def test_a_grid_without_place_or_with_slanted_axes_has_no_maps(grid, anatomy):
    images = sorted(anatomy.iterdir())
    slanted = AFFINE.copy()
    slanted[0, 0] = 6.0

    with pytest.raises(SignalError, match="at right angles"):
        parametric_maps(replace(grid, spectra=replace(grid.spectra, affine=slanted)), images)
    with pytest.raises(SignalError, match="need the position"):
        parametric_maps(replace(grid, spectra=replace(grid.spectra, affine=None)), images)


# ---- with the other files ---------------------------------------------------------------------


def test_a_result_whose_dicom_cannot_be_made_leaves_the_earlier_one(grid, anatomy, tmp_path):
    slanted = replace(grid.spectra, affine=AFFINE + np.eye(4, k=1))
    analyze(PEAKS, out=tmp_path)
    earlier = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(SignalError, match="at right angles"):
        files.write(replace(grid, spectra=slanted), tmp_path, overwrite=True, dicom_source=anatomy)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == earlier


def test_a_grid_is_written_with_its_maps(grid, anatomy, tmp_path):
    written = files.write(grid, tmp_path, dicom_source=anatomy)

    assert tmp_path / "map_ChoCr.dcm" in written
    assert tmp_path / "result.json" in written


def test_without_the_extra_dicom_is_refused_before_any_work(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)

    with pytest.raises(MissingExtraError, match=r"mrs-necrosis\[dicom\]"):
        analyze(PEAKS, out=tmp_path / "out", dicom_source=source)

    assert not (tmp_path / "out").exists()


# ---- the command ------------------------------------------------------------------------------


def test_the_command_writes_the_report(source, tmp_path):
    table = str(sample_path("reference_case.toml"))
    out = tmp_path / "out"

    assert main(["analyze", table, "--out", str(out), "--dicom-source", str(source), "-q"]) == 0

    read = pydicom.dcmread(out / "assessment.dcm")
    assert read.SOPClassUID.name == "Comprehensive 3D SR Storage"
    assert main(["analyze", table, "--dicom-source", str(source)]) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("a note"), "is no DICOM object that can be read"),
        (lambda path: path.mkdir(), "is a folder without DICOM files"),
    ],
    ids=["missing", "text", "empty folder"],
)
def test_a_source_that_is_none_stops_before_anything_is_written(tmp_path, capsys, make, message):
    make(tmp_path / "source")
    table = str(sample_path("reference_case.toml"))
    arguments = ["--out", str(tmp_path / "out"), "--dicom-source", str(tmp_path / "source")]

    assert main(["analyze", table, *arguments]) == 3

    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert not (tmp_path / "out").exists()
