"""Cohorts: a BIDS dataset or a table in, derivatives out, nothing lost and nothing twice."""

import argparse
import concurrent.futures
import contextlib
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import bids_dataset
import numpy as np
import pytest
from basis_files import macromolecule_json
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_grid_page import browser  # noqa: F401 - a fixture

import mrs_necrosis
from mrs_necrosis import analyze
from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.classifier import Context
from mrs_necrosis.cli import main
from mrs_necrosis.cohort import (
    CohortResult,
    Outcome,
    analyze_dataset,
    analyze_file,
    analyze_table,
    cluster,
    dataset,
)
from mrs_necrosis.cohort.batch import run_units
from mrs_necrosis.cohort.gathering import write_group_table
from mrs_necrosis.cohort.listing import dataset_units, table_units
from mrs_necrosis.cohort.sidecar import check_consistency, given_by, reported
from mrs_necrosis.cohort.unit import Settings, Unit
from mrs_necrosis.errors import FormatError, OutputError
from mrs_necrosis.fitting import default_model
from mrs_necrosis.io import read, write_nifti_mrs
from mrs_necrosis.quality import QualityThresholds
from mrs_necrosis.simulation import grid_phantom, sample_path
from mrs_necrosis.spectra import Acquisition, SpectralData


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three participants; the third has a grid and a voxel of one name, and a linked water."""
    root = bids_dataset.dataset(tmp_path_factory.mktemp("bids") / "raw", 2, n_samples=512)
    data = bids_dataset.made("metastasis_recurrence", 9, water=True, n_samples=512)
    link = "bids::sub-03/ses-01/mrs/sub-03_ses-01_acq-conc_mrsref.nii.gz"
    metadata = bids_dataset.sidecar(data, ReferenceSignal=link, RepetitionTime=1.5)
    bids_dataset.add(root, "sub-03_ses-01", data, metadata=metadata)
    bids_dataset.add(root, "sub-03_ses-01_acq-conc", data.water, suffix="mrsref")
    grid = bids_dataset.made("mixed", 10, grid=(2, 1, 1), n_samples=512)
    bids_dataset.add(root, "sub-03_ses-01", grid, suffix="mrsi")
    return root


@pytest.fixture(scope="module")
def derivatives(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("derivatives") / "mrs_necrosis"
    result = analyze_dataset(root, out)
    assert [outcome.message for outcome in result.outcomes] == [""] * 4
    analyze_dataset(root, out, "group")
    return out


def contents(folder, *, without=(".lock",)):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in without
    }


def quick(root, out, **options):
    return analyze_dataset(root, out, figures=False, **options)


def small(folder, participants=2):
    return bids_dataset.dataset(folder, participants, n_samples=512)


def validator(folder):
    pytest.importorskip("bids_validator_deno", reason="needs the package bids-validator-deno")
    command = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("the command bids-validator-deno is not beside the interpreter")
    return subprocess.run([command, str(folder)], capture_output=True, text=True, check=False)


# ---- what is found ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffixes", "first"), [(("mrsi", "mrsi"), "compiled"), (("svs", "mrsi"), "unit")]
)
def test_no_grid_is_fitted_before_another_has_the_fit_compiled(
    monkeypatch, tmp_path, suffixes, first
):
    from mrs_necrosis.cohort import batch
    from mrs_necrosis.fitting import compiled

    order = []
    monkeypatch.setattr(compiled, "ensure_compiled", lambda: order.append("compiled"))
    monkeypatch.setattr(
        batch, "run_unit",
        lambda unit, _: order.append("unit") or Outcome(name=unit.key, state="done"),
    )  # fmt: skip
    units = [Unit(name=f"sub-0{n}", source=tmp_path, suffix=one) for n, one in enumerate(suffixes)]

    run_units(units, Settings(out=tmp_path))

    assert order[0] == first


def test_voxels_and_grids_are_found_and_water_is_linked(root):
    units = dataset_units(root)

    assert [unit.key for unit in units] == [
        "sub-01_svs", "sub-02_svs", "sub-03_ses-01_mrsi", "sub-03_ses-01_svs",
    ]  # fmt: skip
    assert [unit.water is not None for unit in units] == [False, False, False, True]
    assert "ReferenceSignal does not link it" in units[2].notes[0]


@pytest.mark.parametrize("label", ["02", "sub-02"])
def test_participants_are_chosen_with_or_without_their_prefix(root, label):
    assert [unit.participant for unit in dataset_units(root, participants=[label])] == ["sub-02"]


@pytest.mark.parametrize("label", ["01", "ses-01"])
def test_sessions_are_chosen(root, label):
    assert {unit.session for unit in dataset_units(root, sessions=[label])} == {"ses-01"}


def test_what_is_not_there_is_said(root, tmp_path):
    with pytest.raises(FormatError, match="no participant 77"):
        dataset_units(root, participants=["77"])
    with pytest.raises(FormatError, match="no spectroscopy in session 9"):
        dataset_units(root, sessions=["9"])
    with pytest.raises(FormatError, match=r"no dataset_description\.json"):
        dataset_units(tmp_path)
    with pytest.raises(FormatError, match="is not a folder"):
        dataset_units(tmp_path / "nowhere")
    with pytest.raises(FormatError, match="is not a folder"):
        dataset_units(tmp_path / "nowhere", validate=False)
    with pytest.raises(FormatError, match="has no _svs or _mrsi file"):
        dataset_units(tmp_path, validate=False)
    (tmp_path / "dataset_description.json").write_text('{"Name": "x"}')
    with pytest.raises(FormatError, match="lacks the Name or the BIDSVersion"):
        dataset_units(tmp_path)
    (tmp_path / "dataset_description.json").write_text("[]")
    with pytest.raises(FormatError, match="no JSON object"):
        dataset_units(tmp_path)


def test_a_file_of_another_name_is_left_out(tmp_path, caplog):
    root = small(tmp_path, 1)
    folder = root / "sub-01" / "mrs"
    shutil.copy(folder / "sub-01_svs.nii.gz", folder / "sub-99_svs.nii.gz")
    shutil.copy(folder / "sub-01_svs.nii.gz", folder / "sub-01_colour-red_svs.nii.gz")
    shutil.copy(folder / "sub-01_svs.nii.gz", folder / "sub-01_unloc.nii.gz")

    assert [unit.key for unit in dataset_units(root)] == ["sub-01_svs"]
    assert caplog.messages == ["a file is not named as BIDS wants it and was left out"] * 2


def test_a_sidecar_with_an_impossible_number_is_refused(tmp_path):
    root = small(tmp_path / "raw", 1)
    path = root / "sub-01/mrs/sub-01_svs.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"MixingTime": 1e9}))

    (outcome,) = quick(root, tmp_path / "out").outcomes

    assert outcome.message.startswith("its sidecar is wrong: mixing_time_s must be in s")


def test_the_nearer_and_the_more_specific_sidecar_wins(tmp_path):
    path = bids_dataset.add(
        tmp_path, "sub-01_acq-press",
        bids_dataset.made("mixed", 0, n_samples=512), metadata={"A": "file"},
    )  # fmt: skip
    for name, fields in (
        ("svs.json", {"A": "root", "B": "root", "C": "root"}),
        ("acq-press_svs.json", {"C": "specific"}),
        ("acq-steam_svs.json", {"B": "another acquisition"}),
        ("mrsi.json", {"B": "another suffix"}),
        ("sub-01/sub-01_svs.json", {"B": "participant"}),
    ):
        (tmp_path / name).write_text(json.dumps(fields))

    found = dataset.sidecar(tmp_path, path)

    assert found == {"A": "file", "B": "participant", "C": "specific"}


def test_the_reporting_table_takes_numbers_and_known_words_of_the_sidecar(tmp_path):
    root, out = small(tmp_path / "raw", 1), tmp_path / "out"
    path = root / "sub-01/mrs/sub-01_svs.json"
    more = {
        "Manufacturer": "Philips Zzdoe", "ManufacturersModelName": "Zzdoe",
        "NumberOfTransients": 64, "AcquisitionVoxelSize": [30, 25, 15], "BodyPart": "BRAIN",
        "BodyPartDetails": "Zzdoe", "WaterSuppression": True,
        "WaterSuppressionTechnique": "VAPOR",
    }  # fmt: skip
    path.write_text(json.dumps(json.loads(path.read_text()) | more))

    quick(root, out)

    text = (out / "sub-01/mrs/sub-01_desc-mrsinmrs_mrs.tsv").read_text()
    values = dict(line.split("\t")[1:] for line in text.splitlines())
    assert values["manufacturer"] == "Philips"
    assert values["averages"] == "64"
    assert values["nominal voxel size"] == "30 x 25 x 15 mm"
    assert values["volume of interest"] == "brain"
    assert values["water suppression, shim"].startswith("water suppressed (VAPOR)")
    pages = [one.read_text() for one in out.rglob("*_desc-report_mrs.html")]
    assert ["water suppressed (VAPOR)" in page for page in pages] == [True]
    assert not any("Zzdoe" in page for page in pages)
    more = {
        "Manufacturer": 3, "NumberOfTransients": "x", "AcquisitionVoxelSize": [1, "x", 0],
        "WaterSuppression": "yes",
    }  # fmt: skip
    assert reported(more) == {}
    named = {"Manufacturer": "Zzdoe", "BodyPart": "Zzdoe", "WaterSuppression": True,
             "WaterSuppressionTechnique": "Zzdoe"}  # fmt: skip
    assert "Zzdoe" not in str(reported(named))
    assert "not" in reported({"WaterSuppression": False})["water suppression, shim"]


@pytest.mark.parametrize(
    "link",
    [
        "bids::sub-01/mrs/sub-01_acq-ecc_mrsref.nii.gz",
        "mrs/sub-01_acq-ecc_mrsref.nii.gz",
        "sub-01_acq-ecc_mrsref.nii.gz",
        ["bids::sub-01/mrs/sub-01_acq-conc_mrsref.nii.gz",
         "bids::sub-01/mrs/sub-01_acq-ecc_mrsref.nii.gz"],
    ],
)  # fmt: skip
def test_every_spelling_of_a_link_is_followed(tmp_path, link):
    data = bids_dataset.made("mixed", 0, water=True, n_samples=512)
    bids_dataset.describe(tmp_path)
    metadata = bids_dataset.sidecar(data, ReferenceSignal=link)
    bids_dataset.add(tmp_path, "sub-01", data, metadata=metadata)
    for kind in ("conc", "ecc"):
        bids_dataset.add(tmp_path, f"sub-01_acq-{kind}", data.water, suffix="mrsref")

    (unit,) = dataset_units(tmp_path)

    assert unit.water.name == "sub-01_acq-ecc_mrsref.nii.gz"


@pytest.mark.parametrize("link", ["bids::../../secret.nii.gz", "bids:other:x.nii.gz", "x", 3])
def test_a_link_to_elsewhere_is_not_followed(tmp_path, link):
    root = tmp_path / "a" / "b"
    data = bids_dataset.made("mixed", 0, n_samples=512)
    bids_dataset.describe(root)
    (tmp_path / "secret.nii.gz").write_bytes(b"x")
    links = [link] if isinstance(link, int) else link
    metadata = bids_dataset.sidecar(data, ReferenceSignal=links)
    bids_dataset.add(root, "sub-01", data, metadata=metadata)

    (unit,) = dataset_units(root)

    assert unit.water is None
    assert "does not lead to a file" in unit.notes[0]


# ---- what is said twice -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SpectrometerFrequency", 63.8),
        ("SpectrometerFrequency", [63.8]),
        ("SpectralWidth", 4000.0),
        ("EchoTime", 0.03),
        ("NumberOfSpectralPoints", 2048),
        ("ResonantNucleus", "31P"),
        ("ResonantNucleus", ["31P"]),
    ],
)
def test_a_sidecar_that_contradicts_the_header_is_refused(tmp_path, name, value):
    root = small(tmp_path / "raw", 1)
    sidecar = root / "sub-01" / "mrs" / "sub-01_svs.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {name: value}))

    (outcome,) = quick(root, tmp_path / "out").outcomes

    assert outcome.state == "failed"
    assert f"contradict each other: {name}" in outcome.message


@pytest.mark.parametrize(
    "edited",
    [
        {"EditTarget": "GABA", "EditCondition": ["ON", "OFF"]},  # bids-examples, mrs_biggaba
        {"PulseSequenceType": "MEGA-PRESS"},  # where the header says PRESS
    ],
)
def test_an_edited_acquisition_is_refused(tmp_path, edited):
    root = small(tmp_path / "raw", 1)
    sidecar = root / "sub-01" / "mrs" / "sub-01_svs.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | edited))

    (outcome,) = quick(root, tmp_path / "out").outcomes

    assert outcome.message.startswith("is an edited acquisition")


def test_what_only_the_sidecar_knows_is_used(tmp_path):
    data = bids_dataset.made("mixed", 0, n_samples=512)
    metadata = bids_dataset.sidecar(data, RepetitionTime=1.7)
    unknowing = replace(data.acquisition, echo_time_s=None, repetition_time_s=None)
    root, out = tmp_path / "raw", tmp_path / "out"
    bids_dataset.describe(root)
    bids_dataset.add(root, "sub-01", replace(data, acquisition=unknowing), metadata=metadata)

    quick(root, out)

    acquisition = json.loads((out / "sub-01/mrs/sub-01_desc-fit_mrs.json").read_text())
    assert acquisition["acquisition"]["echo_time_s"] == 0.144
    assert acquisition["acquisition"]["repetition_time_s"] == 1.7


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
JSON = st.recursive(
    LEAVES | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(
    st.sampled_from([*dataset.REQUIRED, "RepetitionTime", "MixingTime", "PulseSequenceType",
                     "SequenceName", "NumberOfSpectralPoints"]), JSON))  # fmt: skip
def test_any_sidecar_is_used_or_refused(fields):
    data = SpectralData(
        fid=np.ones((1, 1, 1, 64), complex),
        acquisition=Acquisition(spectrometer_frequency_mhz=123.2, dwell_time_s=5e-4),
    )
    path = Path("sub-01_svs.nii.gz")

    known, problem = {}, "sidecar"
    try:
        check_consistency(fields, data, path)
        known = given_by(fields, data, path)
    except FormatError as error:
        problem = error.problem

    assert "sidecar" in problem
    replace(data.acquisition, **known)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(
    st.sampled_from(["Manufacturer", "NumberOfTransients", "AcquisitionVoxelSize", "BodyPart",
                     "WaterSuppression", "WaterSuppressionTechnique"]), JSON))  # fmt: skip
def test_of_any_sidecar_only_numbers_and_known_words_are_reported(fields):
    known = re.compile(
        r"[A-Z][A-Za-z]+|\d+|[\d.e+-]+( x [\d.e+-]+){2} mm|brain|water (not )?suppressed"
        r"( \([A-Za-z]+\))?; shim not available"
    )

    assert all(known.fullmatch(text) for text in reported(fields).values())


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=JSON
    | st.fixed_dictionaries({"svs": JSON})
    | st.fixed_dictionaries(
        {"mrsi": st.dictionaries(st.sampled_from(["acquisition", "ses", "run", "colour"]), JSON)}
    )
)
def test_any_filter_file_is_used_or_refused(tmp_path, content):
    path = tmp_path / "filter.json"
    path.write_text(json.dumps(content))

    filters, problem = {}, ""
    try:
        filters = dataset.read_filters(path)
    except FormatError as error:
        problem = error.problem

    assert bool(filters) != bool(problem)
    assert set(filters) <= {"svs", "mrsi"}
    assert "\n" not in problem
    assert dataset.find(tmp_path, filters=filters) == []


def test_a_sidecar_without_what_bids_requires_is_noted(tmp_path):
    root = small(tmp_path, 1)
    (root / "sub-01" / "mrs" / "sub-01_svs.json").write_text('{"EchoTime": 0.144}')

    (unit,) = dataset_units(root)

    assert unit.notes == (
        "The sidecar lacks ResonantNucleus, SpectrometerFrequency, SpectralWidth, which BIDS "
        "requires.",
    )


@pytest.mark.parametrize(("said", "known"), [(0, {}), (0.144, {"echo_time_s": 0.144})])
def test_an_echo_time_of_zero_in_a_sidecar_is_not_stated(tmp_path, said, known):
    data = bids_dataset.made("mixed", 0, n_samples=512)
    silent = replace(data, acquisition=replace(data.acquisition, echo_time_s=None))

    assert given_by({"EchoTime": said}, silent, tmp_path / "x.nii.gz") == known


# ---- what comes out ---------------------------------------------------------------------------


def test_the_outputs_have_the_names_of_the_convention(derivatives):
    names = set(contents(derivatives))

    for name in (
        "dataset_description.json", ".bidsignore", "cohort.html", "sub-01.html", "sub-03.html",
        "group_desc-ratios_mrs.tsv", "group_desc-ratios_mrs.json",
        *(f"sub-01/mrs/sub-01_desc-{end}" for end in (
            "fit_mrs.json", "ratios_mrs.tsv", "ratios_mrs.json", "report_mrs.html",
            "provenance_mrs.json", "preproc_svs.nii.gz", "preproc_svs.json", "status.json",
            "mrsinmrs_mrs.tsv",
        )),
        "sub-01/figures/sub-01_desc-spectrum_mrs.svg",
        "sub-03/ses-01/mrs/sub-03_ses-01_desc-ratios_mrs.tsv",
        "sub-03/ses-01/mrs/sub-03_ses-01_desc-ratiosmrsi_mrs.tsv",
        "sub-03/ses-01/mrs/sub-03_ses-01_met-ChoCr_desc-ratio_mrsmap.nii.gz",
    ):  # fmt: skip
        assert name in names, name


def test_the_numbers_are_those_of_analyze(root, derivatives):
    alone = analyze(root / "sub-01" / "mrs" / "sub-01_svs.nii.gz")

    fit = json.loads((derivatives / "sub-01/mrs/sub-01_desc-fit_mrs.json").read_text())

    assert fit["ratios"]["Cho/Cr"]["value"] == float(alone.ratios["Cho/Cr"].value.item())
    assert fit["assessment"]["favors"] == alone.assessment.favors.value
    assert fit["source"]["sha256"] == alone.source.sha256


def test_every_column_stands_in_the_dictionary(derivatives):
    tables = list(derivatives.rglob("*ratios*_mrs.tsv"))
    assert len(tables) > 1
    for table in tables:
        lines = table.read_text().splitlines()
        columns = lines[0].split("\t")

        assert list(json.loads(table.with_suffix(".json").read_text())) == columns
        assert all(len(line.split("\t")) == len(columns) for line in lines)


def test_the_group_table_holds_every_row(derivatives):
    group = (derivatives / "group_desc-ratios_mrs.tsv").read_text().splitlines()
    single = (derivatives / "sub-01/mrs/sub-01_desc-ratios_mrs.tsv").read_text().splitlines()
    rows = [line for line in group if line.startswith("sub-01\tn/a\tsub-01_svs\t")]

    assert [row.split("\t")[3:] for row in rows] == [row.split("\t")[1:] for row in single[1:]]
    assert {line.split("\t")[0] for line in group[1:]} == {"sub-01", "sub-02", "sub-03"}


def test_the_pages_link_what_is_there(derivatives):
    pages = list(derivatives.glob("*.html"))
    assert len(pages) > 1
    for page in pages:
        links = re.findall(r'href="(?!data:)([^"]+)"', page.read_text())

        assert links
        assert all((derivatives / link).is_file() for link in links)


def test_a_click_sorts_the_table(browser, derivatives):  # noqa: F811 - the fixture
    browser.open(derivatives / "cohort.html")
    columns = browser.run("Array.from(document.querySelectorAll('thead th'), e => e.innerText)")
    place = columns.index("Cho/Cr")
    values = (
        "Array.from(document.querySelectorAll('tbody tr'), "
        f"row => row.cells[{place}].dataset.value)"
    )
    orders = []

    for _ in range(2):
        browser.run(f"document.querySelectorAll('thead button')[{place}].click()")
        orders.append(browser.run(values))

    # the grid has no number of its own, and comes last both times
    assert [order[-1] for order in orders] == ["", ""]
    numbers = [[float(value) for value in order[:-1]] for order in orders]
    assert numbers[0] == sorted(numbers[0])
    assert numbers[1] == numbers[0][::-1]
    assert len(set(numbers[0])) == 3


def test_input_and_output_pass_the_validator(root, derivatives):
    assert validator(root).returncode == 0
    checked = validator(derivatives)
    assert checked.returncode == 0, checked.stdout[-3000:]


def test_the_preprocessed_file_gives_the_same_ratios(derivatives):
    path = derivatives / "sub-02" / "mrs" / "sub-02_desc-preproc_svs.nii.gz"
    fit = json.loads(path.with_name("sub-02_desc-fit_mrs.json").read_text())

    again = analyze(path)

    value = float(again.ratios["Cho/Cr"].value.item())
    # a second preprocessing of clean data moves nothing by more than a tenth of its error
    assert abs(value - fit["ratios"]["Cho/Cr"]["value"]) < 0.1 * fit["ratios"]["Cho/Cr"]["sd"]


# ---- once, and only once ----------------------------------------------------------------------


def test_running_again_does_nothing(root, derivatives):
    before = contents(derivatives)
    times = {p: p.stat().st_mtime_ns for p in derivatives.rglob("*_mrs.json")}

    result = analyze_dataset(root, derivatives)

    assert result.count("unchanged") == 4
    assert contents(derivatives) == before
    assert {p: p.stat().st_mtime_ns for p in derivatives.rglob("*_mrs.json")} == times


@pytest.mark.parametrize(
    ("states", "unwritten", "code"),
    [
        (("done", "unchanged"), (False, False), 0),
        (("done", "failed"), (False, True), 1),
        (("failed", "failed"), (False, True), 1),
        (("failed", "failed"), (True, True), 4),
        ((), (), 0),
    ],
)
def test_the_exit_code_of_a_cohort_is_that_of_all_its_outcomes(states, unwritten, code):
    outcomes = tuple(
        Outcome(name=str(number), state=state, is_output_error=is_output)
        for number, (state, is_output) in enumerate(zip(states, unwritten, strict=True))
    )

    assert CohortResult(outcomes=outcomes).exit_code == code


def test_another_version_does_everything_again(tmp_path, monkeypatch):
    table = tmp_path / "table.csv"
    table.write_text(f"input\n{sample_path('reference_case.toml')}\n")
    analyze_table(table, tmp_path / "out", figures=False)
    monkeypatch.setattr(mrs_necrosis, "__version__", "99.0")

    found = analyze_table(table, tmp_path / "out", figures=False)

    assert found.count("done") == 1


def test_what_a_killed_run_left_half_written_is_not_gathered(tmp_path):
    table = tmp_path / "table.csv"
    source = sample_path("reference_case.toml")
    table.write_text(f"input,label\n{source},whole\n{source},half\n")
    out = tmp_path / "out"
    analyze_table(table, out, figures=False)
    (path,) = out.glob("half/*_desc-status.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "state": "writing"}))

    write_group_table(out, name="ratios.tsv")

    rows = (out / "ratios.tsv").read_text().splitlines()[1:]
    assert {row.split("\t")[2] for row in rows} == {"whole"}


def test_a_result_that_somebody_changed_is_not_removed(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(f"input,label\n{sample_path('reference_case.toml')},case\n")
    out = tmp_path / "out"
    analyze_table(table, out, figures=True)
    evidence = out / "case" / "evidence.svg"
    evidence.write_text("mine")

    analyze_table(table, out, figures=False)

    assert evidence.read_text() == "mine"
    evidence.unlink()
    analyze_table(table, out, figures=True)
    assert evidence.exists()
    analyze_table(table, out, figures=False)
    assert not evidence.exists()  # nobody touched it


def test_only_what_is_missing_or_changed_is_done_again(tmp_path):
    root, out = small(tmp_path / "raw", 3), tmp_path / "out"
    quick(root, out)
    (out / "sub-01/mrs/sub-01_desc-ratios_mrs.tsv").unlink()
    bids_dataset.add(root, "sub-02", bids_dataset.made("mixed", 77, n_samples=512))

    result = quick(root, out)

    assert [outcome.state for outcome in result.outcomes] == ["done", "done", "unchanged"]
    assert (out / "sub-01/mrs/sub-01_desc-ratios_mrs.tsv").exists()
    assert quick(root, out, overwrite=True).count("done") == 3
    assert quick(root, out, prior=0.3).count("done") == 3


def test_another_basis_set_or_model_is_another_analysis(tmp_path):
    root, out = small(tmp_path / "raw", 1), tmp_path / "out"
    acquisition = read(next(root.rglob("*_svs.nii.gz"))).acquisition
    path = tmp_path / "MM.json"
    path.write_text(macromolecule_json(acquisition))
    states = []

    for _ in range(2):
        states += [outcome.state for outcome in quick(root, out, basis=path).outcomes]
    path.write_text(macromolecule_json(acquisition, width_ppm=0.16))
    states += [outcome.state for outcome in quick(root, out, basis=path).outcomes]
    model = default_model(acquisition)
    wider = replace(model.parameters[3], sd=6.0)
    for one in (model, model, model.with_parameter(wider)):
        states += [outcome.state for outcome in quick(root, out, model=one).outcomes]

    assert states == ["done", "unchanged", "done", "done", "unchanged", "done"]


def test_another_mask_or_other_side_is_another_analysis(tmp_path):
    import nibabel

    table, out = tmp_path / "table.csv", tmp_path / "out"
    table.write_text(f"label,input\na,{sample_path('reference_case_te144.nii.gz')}\n")
    mask = tmp_path / "mask.nii.gz"

    def states(**keywords):
        (outcome,) = analyze_table(table, out, figures=False, **keywords).outcomes
        return outcome.state

    found = []
    for value in (0, 0, 1):
        image = nibabel.Nifti1Image(np.full((80, 80, 80), value, np.uint8), np.diag([2, 2, 2, 1]))
        nibabel.save(image, mask)
        found.append(states(lesion_mask=mask))
    for cho in (1.0, 1.0, 2.0):
        other = PeakAreas(("NAA", "Cr", "Cho"), [3.0, 2.0, cho])
        found.append(states(context=Context(contralateral=other)))

    assert found == ["done", "unchanged", "done"] * 2


def test_a_basis_set_that_cannot_be_read_stops_all(tmp_path):
    root, out = small(tmp_path / "raw", 1), tmp_path / "out"

    with pytest.raises(FormatError, match=r"none\.basis"):
        quick(root, out, basis=tmp_path / "none.basis")

    assert not out.exists()


def test_a_page_of_different_options_says_so(root, tmp_path):
    out = tmp_path / "derivatives"
    analyze_dataset(root, out, figures=False)
    said = "Not all of these acquisitions were analysed by one version with the same options"

    alike = (out / "cohort.html").read_text(encoding="utf-8")
    analyze_dataset(root, out, figures=False, participants=["01"], prior=0.3)

    assert said not in alike
    assert said in (out / "cohort.html").read_text(encoding="utf-8")


def test_one_bad_participant_stops_nothing(tmp_path):
    root, out = small(tmp_path / "raw", 3), tmp_path / "out"
    (root / "sub-02/mrs/sub-02_svs.nii.gz").write_bytes(b"no spectrum" * 100)

    result = quick(root, out)

    assert [outcome.state for outcome in result.outcomes] == ["done", "failed", "done"]
    assert result.exit_code == 1
    status = json.loads((out / "sub-02/mrs/sub-02_desc-status.json").read_text())
    assert status["state"] == "failed"
    assert "none of the formats" in status["message"]
    assert "none of the formats" in (out / "cohort.html").read_text()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "one of its sidecars is no JSON in UTF-8"),
        (b'{"A": "\xff"}', "one of its sidecars is no JSON in UTF-8"),
        (b"[" * 100_000, "one of its sidecars is no JSON in UTF-8"),
        (b"[1]", "one of its sidecars is no JSON object"),
        (b" " * (2**24 + 1), "one of its sidecars is too large for a sidecar"),
    ],
)
def test_a_broken_sidecar_is_one_failed_unit(tmp_path, content, problem):
    root = small(tmp_path / "raw", 2)
    (root / "sub-01" / "mrs" / "sub-01_svs.json").write_bytes(content)

    units = dataset_units(root)

    assert [unit.problem for unit in units] == [problem, ""]


def test_a_broken_sidecar_stops_nothing(tmp_path):
    root = small(tmp_path / "raw", 2)
    (root / "sub-01" / "mrs" / "sub-01_svs.json").write_text("{")

    result = quick(root, tmp_path / "out")

    assert [outcome.state for outcome in result.outcomes] == ["failed", "done"]
    assert result.outcomes[0].message == "one of its sidecars is no JSON in UTF-8"


def test_what_an_input_gave_before_it_broke_is_not_left(tmp_path):
    root, out = small(tmp_path / "raw", 1), tmp_path / "out"
    quick(root, out)
    (root / "sub-01/mrs/sub-01_svs.nii.gz").write_bytes(b"no spectrum" * 100)

    quick(root, out)

    assert [path.name for path in (out / "sub-01").rglob("*") if path.is_file()] == [
        "sub-01_desc-status.json"
    ]


def test_an_unforeseen_error_is_one_unit_and_quotes_nothing(tmp_path, monkeypatch):
    root, out = small(tmp_path / "raw", 1), tmp_path / "out"

    def broken(*_, **__):
        raise RuntimeError("PLANTED^NAME")

    monkeypatch.setattr("mrs_necrosis.pipeline.analyze", broken)
    (outcome,) = quick(root, out).outcomes

    assert outcome.message == "internal error (RuntimeError); logs/sub-01_svs.txt says where"
    assert outcome.message in (out / "cohort.html").read_text()
    trace = (out / "logs" / "sub-01_svs.txt").read_text()
    assert trace.splitlines()[0].endswith("RuntimeError, last call last")
    assert re.search(r"^mrs_necrosis\.cohort\.run:\d+ in analyze_unit$", trace, re.MULTILINE)
    assert "Zzdoe" not in trace
    assert b"PLANTED" not in b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file())


def test_files_of_others_are_neither_replaced_nor_removed(tmp_path):
    root, out = small(tmp_path / "raw", 1), tmp_path / "out"
    theirs = out / "sub-01" / "mrs" / "sub-01_desc-ratios_mrs.tsv"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    (out / "notes.txt").write_text("mine")

    (outcome,) = quick(root, out, overwrite=True).outcomes

    assert outcome.is_output_error
    assert "not a result of mrs-necrosis" in outcome.message
    assert theirs.read_text() == (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["cohort.html", "sub-01.html"])
def test_a_page_of_others_is_not_replaced(tmp_path, name):
    root, out = small(tmp_path / "raw", 1), tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")

    with pytest.raises(OutputError, match=f"{name} exists and is not"):
        quick(root, out)
    assert (out / name).read_text() == "mine"


def test_a_dataset_of_others_is_not_touched(tmp_path):
    root, out = small(tmp_path / "raw", 1), tmp_path / "out"
    out.mkdir()
    (out / "dataset_description.json").write_text('{"GeneratedBy": [{"Name": "fmriprep"}]}')

    with pytest.raises(OutputError, match="not from mrs-necrosis"):
        quick(root, out)
    with pytest.raises(OutputError, match="into the dataset itself"):
        quick(root, root)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is not a folder"):
        quick(root, tmp_path / "file")
    assert len(list(out.iterdir())) == 1


def test_a_marker_cannot_name_files_elsewhere(tmp_path):
    root, out = small(tmp_path / "raw", 1), tmp_path / "out"
    quick(root, out)
    victim = tmp_path / "victim"
    victim.write_text("x")
    marker = out / "sub-01/mrs/sub-01_desc-status.json"
    document = json.loads(marker.read_text())
    document["files"]["../victim"] = hashlib.sha256(b"x").hexdigest()
    marker.write_text(json.dumps(document))

    quick(root, out, overwrite=True)

    assert victim.exists()


# ---- the same everywhere ----------------------------------------------------------------------


def test_dask_gives_the_same_bytes_as_one_process(tmp_path):
    pytest.importorskip("distributed", reason="needs the extra [dask]")
    root = small(tmp_path / "raw", 2)
    alone, spread = tmp_path / "alone", tmp_path / "spread"

    assert quick(root, alone).count("done") == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cluster's own, about the machine it finds
        with cluster(workers=1) as executor:
            assert quick(root, spread, executor=executor).count("done") == 2

    assert contents(alone) == contents(spread)


def test_any_executor_gives_the_same_bytes_as_one_process(tmp_path):
    root = small(tmp_path / "raw", 2)
    seen = []

    quick(root, tmp_path / "alone")
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        quick(root, tmp_path / "pool", executor=executor, progress=lambda *n: seen.append(n))

    assert contents(tmp_path / "alone") == contents(tmp_path / "pool")
    assert seen == [(1, 2), (2, 2)]


def test_a_dead_worker_is_one_failed_unit(tmp_path):
    root = small(tmp_path / "raw", 1)

    class Dying:
        def submit(self, *_):
            future = concurrent.futures.Future()
            future.set_exception(RuntimeError("killed"))
            return future

    (outcome,) = quick(root, tmp_path / "out", executor=Dying()).outcomes

    assert outcome.message == "its worker died (RuntimeError)"


# ---- without names ----------------------------------------------------------------------------


def test_deidentified_outputs_hold_no_label(tmp_path):
    root, out = tmp_path / "raw", tmp_path / "out"
    bids_dataset.describe(root)
    data = bids_dataset.made("mixed", 1, n_samples=512)
    bids_dataset.add(root, "sub-SMITH_ses-20190304_acq-JANE", data)

    result = quick(root, out, deidentify=True)

    assert result.count("done") == 1
    for path in out.rglob("*"):
        text = path.name.encode() + (path.read_bytes() if path.is_file() else b"")
        for secret in (b"SMITH", b"20190304", b"JANE", b"raw/"):
            assert secret not in text, path
    assert quick(root, out, deidentify=True).count("unchanged") == 1


def test_copies_of_one_file_are_one_deidentified_acquisition(tmp_path, caplog):
    root = small(tmp_path / "raw", 1)
    folder = root / "sub-01" / "mrs"
    for ending in (".nii.gz", ".json"):
        shutil.copy(folder / f"sub-01_svs{ending}", folder / f"sub-01_run-2_svs{ending}")

    units = dataset_units(root, deidentify=True)

    assert len(units) == 1
    assert "1 inputs are copies of another; each is analysed once" in caplog.messages


def test_a_deidentified_participant_keeps_its_name_whatever_is_chosen(tmp_path):
    bids_dataset.describe(tmp_path)
    for number in (1, 2):
        data = bids_dataset.made("mixed", number, n_samples=512)
        bids_dataset.add(tmp_path, f"sub-A_ses-{number}", data)

    everything = dataset_units(tmp_path, deidentify=True)
    second = dataset_units(tmp_path, deidentify=True, sessions=["2"])

    assert second == everything[1:]
    assert len({unit.participant for unit in everything}) == 1
    assert len({unit.session for unit in everything}) == 2


# ---- a table ----------------------------------------------------------------------------------


def write_table(folder, text, name="inputs.tsv"):
    path = folder / name
    path.write_text(text)
    return path


def test_a_table_pairs_inputs_with_their_water(tmp_path):
    from mrs_necrosis.io import write_nifti_mrs

    data = bids_dataset.made("mixed", 1, water=True, n_samples=512)
    write_nifti_mrs(tmp_path / "a.nii.gz", data)
    write_nifti_mrs(tmp_path / "w.nii.gz", data.water)
    peaks = sample_path("reference_case.toml")
    table = write_table(
        tmp_path,
        "input\twater_reference\tlabel\techo_time_s\n"
        f"a.nii.gz\tw.nii.gz\tfirst\tn/a\n\n{peaks}\tn/a\tprinted\t0.03\nnowhere.rda\t\tlost\t\n",
    )
    out = tmp_path / "out"

    result = analyze_table(table, out, figures=False)

    assert [(one.name, one.state) for one in result.outcomes] == [
        ("first", "done"), ("printed", "done"), ("lost", "failed"),
    ]  # fmt: skip
    first = json.loads((out / "first/result.json").read_text())
    assert first["source"]["water_sha256"] is not None
    assert json.loads((out / "printed/result.json").read_text())["echo_time_s"] == 0.03
    rows = (out / "ratios.tsv").read_text().splitlines()
    assert {row.split("\t")[2] for row in rows[1:]} == {"first", "printed"}
    again = analyze_table(table, out, figures=False)
    assert [one.state for one in again.outcomes] == ["unchanged", "unchanged", "failed"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with a line of column names"),
        ("file\tlabel\n", "must begin with a line of column names"),
        ("input\tlabel\n", "lists no input"),
        ("input\tlabel\na\tx\nb\tX\n", "has a label twice"),
        ("input\tlabel\na\n", "line 2 has 1 columns, the first 2"),
        ("input\tlabel\na\t../up\n", "line 2: a label is made of"),
        ("input\tlabel\nn/a\tx\n", "line 2 names no input"),
        ("input\techo_time_s\na\tshort\n", "line 2: echo_time_s is no number"),
        ("input\techo_time_s\na\t30\n", "line 2: echo_time_s must be in s"),
        ("input\tfield_t\na\tnan\n", "line 2: field_t must be a finite number in T"),
        ("input\tnucleus\na\twater\n", "line 2: nucleus must be a name"),
        ("input\tfirst_echo_time_s\na\t11\n", "line 2: first_echo_time_s must be in s"),
        ("input\tnucleus\na\tDoe\n", "line 2: nucleus must be a name such as '1H'$"),
        ("input\tquantity\na\tvolume\n", "line 2: quantity must be one of area"),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused(tmp_path, text, message):
    with pytest.raises(FormatError, match=message):
        table_units(write_table(tmp_path, text))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_may_be_a_spreadsheets_text(tmp_path, encoding):
    table = tmp_path / "table.txt"
    table.write_text("label\tCho\tCr\tNAA\np1\t3\t2\t1\n", encoding)

    (unit,) = table_units(table)

    assert (unit.name, unit.peaks) == ("p1", "Cho=3 Cr=2 NAA=1")


def test_a_table_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        table_units(tmp_path / "nowhere.tsv")
    (tmp_path / "binary.tsv").write_bytes(b"input\n\xff\xfe")
    with pytest.raises(FormatError, match="is no table in UTF-8"):
        table_units(tmp_path / "binary.tsv")


def test_a_table_may_hold_the_peaks_themselves(tmp_path):
    table = tmp_path / "patients.csv"
    table.write_text(
        "label;echo_time_s;Choline;Cr;NAA;LL;Cho_sd;cr_sd;naa_sd\n"
        "p1;0,03;33671,5;29534;31278;;900;850;1100\n"
        "p2;;3;2;1;5;;;\n"
    )

    first, second = table_units(table)
    assert first.peaks == "Cho=33671.5±900 Cr=29534±850 NAA=31278±1100"
    assert first.given == {"echo_time_s": 0.03}
    assert second.peaks == "Cho=3 Cr=2 NAA=1 LL=5"
    done = analyze_table(table, tmp_path / "out", figures=False)

    assert done.count("done") == 2
    ratios = json.loads((tmp_path / "out/p1/result.json").read_text())["ratios"]
    assert ratios["Cho/Cr"]["value"] == pytest.approx(33671.5 / 29534)
    assert ratios["Cho/Cr"]["interval"] is not None
    # another line of the table does not undo what is done
    table.write_text(table.read_text() + "p3;;3;2;1;5;;;\n")
    again = analyze_table(table, tmp_path / "out", figures=False)
    assert (again.count("unchanged"), again.count("done")) == (2, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input,Cho,Cr\na.rda,3,2\n", "line 2 has an input and peaks"),
        ("Cho,Cr,Cr_sd\n3,,1\n", "line 2 has Cr_sd without its peak"),
        ('Cho,Cr\n"33,671",2\n', "line 2: Cho is no number such as 33671"),
        ("Cho,Choline\n3,2\n", "must begin with a line of column names"),
        ("Cho,Xyz\n3,2\n", "must begin with a line of column names"),
        ("label,Cho\np1,\n", "line 2 names no input"),
    ],
)
def test_a_table_of_peaks_that_cannot_be_understood_is_refused(tmp_path, text, message):
    table = tmp_path / "patients.csv"
    table.write_text(text)

    with pytest.raises(FormatError, match=message):
        table_units(table)


def test_a_marker_of_others_is_not_replaced(tmp_path):
    root, out = small(tmp_path / "raw", 1), tmp_path / "out"
    marker = out / "sub-01" / "mrs" / "sub-01_desc-status.json"
    marker.parent.mkdir(parents=True)
    marker.write_text('{"schema": "theirs"}')

    (outcome,) = quick(root, out).outcomes

    assert "sub-01_desc-status.json exists and is not a result" in outcome.message
    assert json.loads(marker.read_text()) == {"schema": "theirs"}


def test_a_table_may_be_separated_by_commas(tmp_path):
    table = write_table(tmp_path, 'input,label\n"a,b.rda",x\n', "inputs.csv")

    assert [(u.name, u.source.name) for u in table_units(table)] == [("x", "a,b.rda")]


def test_a_label_does_not_lead_out_of_the_folder(tmp_path):
    source = str(sample_path("reference_case.toml"))

    with pytest.raises(ValueError, match="label names a folder: letters, digits, - and _; got"):
        analyze_file(source, str(tmp_path / "out"), label="../elsewhere")

    assert not list(tmp_path.iterdir())


def test_a_tsv_of_commas_is_told(tmp_path):
    table = write_table(tmp_path, "input,label\na.rda,x\n", "inputs.tsv")

    with pytest.raises(FormatError, match="tsv has tabs between them"):
        table_units(table)


def test_one_file_is_a_node_of_plain_types(tmp_path):
    source = str(sample_path("reference_case.toml"))

    done = analyze_file(source, str(tmp_path), label="case")
    again = analyze_file(source, str(tmp_path), label="case")

    assert done == again
    assert done["favors"] == "necrosis-favoring"
    assert all(Path(done[name]).is_file() for name in ("result", "ratios", "report"))
    with pytest.raises(FormatError, match="cannot be read"):
        analyze_file(str(tmp_path / "nowhere.rda"), str(tmp_path))


# ---- the command ------------------------------------------------------------------------------


def test_the_command_takes_both_spellings_and_tells_what_it_did(tmp_path, capsys):
    root, out = small(tmp_path / "raw", 2), tmp_path / "out"
    command = ["bids", str(root), str(out), "participant", "--no-figures", "--nprocs", "1"]

    assert main([*command, "--participant_label", "sub-01", "--skip_bids_validation"]) == 0
    assert "1 analysed" in capsys.readouterr().out
    assert main([*command, "--participant-label", "01", "02"]) == 0
    assert "1 analysed, 1 done before" in capsys.readouterr().out
    assert main(["bids", str(root), str(out), "group"]) == 0
    assert (out / "group_desc-ratios_mrs.tsv").is_file()


SPELLINGS = [
    "--participant-label 01", "--participant_label sub-01 02", "--session-label 01",
    "--session_label ses-01", "--session 01", "--bids-filter-file f.json",
    "--bids_filter_file=f.json", "--skip-bids-validation", "--skip_bids_validation",
    "-d masks=derivatives/masks", "--derivatives masks=m more=n", "--nprocs 2", "--n-cpus 2",
    "--n_cpus 2", "--omp-nthreads 1", "--omp_nthreads 1", "--mem-mb 8000", "--mem_mb 8000",
    "-w work", "--work-dir work", "--work_dir work", "--dry-run", "--validate-only",
    "--reports-only", "--reports_only", "--random-seed 3", "--random_seed 3",
    "--stop-on-first-crash", "--stop_on_first_crash", "--overwrite", "--deidentify", "-v", "-vv",
    "-v -v", "-q", "--json -",
]  # fmt: skip
"""What BIDS Apps are given, each with hyphens and with underscores."""


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_bids_apps_is_understood(tmp_path, capsys, spelling):
    code = main(["bids", str(tmp_path / "no"), str(tmp_path / "out"), "participant",
                 *spelling.split()])  # fmt: skip

    assert code == 3  # the folder, not the spelling
    assert "is not a folder" in capsys.readouterr().err


def test_every_command_tells_its_version(capsys):
    for command in ([], ["bids"], ["analyze"]):
        assert main([*command, "--version"]) == 0
        assert capsys.readouterr().out == f"mrs-necrosis {mrs_necrosis.__version__}\n"


def test_options_may_stand_in_a_file(root, tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text(
        'participant-label = ["01", "02"]\ndry_run = true\noverwrite = false\n'
        "post-contrast = false\n"
    )
    command = ["bids", str(root), str(tmp_path / "out"), "participant", "--config", str(config)]

    assert main(command) == 0

    assert capsys.readouterr().out.count("_svs") == 2
    for text, message in (
        ("no-such = 1", "run.toml: there is no option --no-such"),
        ("not toml", "run.toml cannot be read: it is no TOML"),
        ("nprocs = 'x'", "argument --nprocs/--n-cpus: must be a whole number from 1 on; got 'x'"),
    ):
        config.write_text(text)
        assert main(command) == 2
        assert message in capsys.readouterr().err
    config.unlink()
    assert main(command) == 2
    assert "run.toml cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--nprocs 0", "--nprocs/--n-cpus: must be a whole number from 1 on"),
        ("--omp-nthreads 0", "--omp-nthreads: must be a whole number from 1 on"),
        ("--mem-mb 10", "--mem-mb: must be a whole number from 700 on"),
        ("-d raw=x", "is written NAME=PATH"),
        ("-d a=x a=y", "--derivatives has a name twice"),
    ],
)
def test_an_impossible_option_is_said(root, tmp_path, capsys, option, message):
    command = ["bids", str(root), str(tmp_path), "participant", *option.split()]

    assert main(command) == 2
    assert message in capsys.readouterr().err


def test_little_memory_means_few_processes(monkeypatch):
    from mrs_necrosis import cohort
    from mrs_necrosis.cli.many import running_many

    asked = []

    @contextlib.contextmanager
    def pretended(address, **options):
        asked.append(options)
        yield

    monkeypatch.setattr(cohort, "cluster", pretended)
    options = argparse.Namespace(nprocs=8, omp_nthreads=None, dask=None, mem_mb=1500)
    with running_many(options, 8):
        pass

    assert asked == [{"workers": 2, "memory_mb": 1500}]


def test_a_filter_file_chooses_by_entities(tmp_path):
    root = small(tmp_path / "raw", 1)
    data = bids_dataset.made("mixed", 1, n_samples=512)
    for name in ("sub-01_acq-press_run-01", "sub-01_acq-press_run-02", "sub-01_acq-slaser"):
        bids_dataset.add(root, name, data)
    path = tmp_path / "filter.json"

    def chosen(wanted):
        path.write_text(json.dumps({"bold": {"task": "rest"}, "svs": wanted}))
        return [unit.key.removeprefix("sub-01_") for unit in dataset_units(root, filter_file=path)]

    assert chosen({"suffix": "svs", "acquisition": "press", "run": 2}) == ["acq-press_run-02_svs"]
    assert chosen({"acq": ["slaser", None]}) == ["acq-slaser_svs", "svs"]
    assert chosen({"acquisition": "*", "run": "Query.NONE"}) == ["acq-slaser_svs"]
    assert len(chosen({})) == 4
    for text, message in (
        ('{"svs": {"colour": "red"}}', "is no entity"),
        ('{"svs": {"acq": [{}]}}', "is no entity or no label"),
        ('{"svs": "press"}', "must give the entities of svs as an object"),
        ('{"bold": {}}', "filters neither svs nor mrsi"),
        ("[]", "is no JSON object"),
    ):
        path.write_text(text)
        with pytest.raises(FormatError, match=message):
            dataset_units(root, filter_file=path)
    with pytest.raises(FormatError, match="or the filter lets none through"):
        chosen({"acq": "none"})


@pytest.fixture(scope="module")
def with_masks(tmp_path_factory):
    """Return a grid with an anatomical image, and a dataset with the mask of its lesion."""
    import nibabel

    folder = tmp_path_factory.mktemp("masks")
    root, masks = folder / "raw", folder / "masks"
    bids_dataset.describe(root)
    made = grid_phantom(np.random.default_rng(0), grid=(6, 6, 1), n_samples=512, snr=40.0)
    link = "bids::sub-01/anat/sub-01_T1w.nii.gz"
    metadata = bids_dataset.sidecar(made.data, AnatomicalImage=link)
    bids_dataset.add(root, "sub-01", made.data, suffix="mrsi", metadata=metadata)
    (root / "sub-01" / "anat").mkdir()
    affine = made.data.affine
    values = np.random.default_rng(1).random((6, 6, 1)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, affine), root / "sub-01/anat/sub-01_T1w.nii.gz")
    (masks / "sub-01" / "anat").mkdir(parents=True)
    inside = np.zeros((6, 6, 1), np.uint8)
    inside[3:5, 2:5] = 1
    mask = nibabel.Nifti1Image(inside, affine)
    nibabel.save(mask, masks / "sub-01/anat/sub-01_space-T1w_label-lesion_mask.nii.gz")
    nibabel.save(mask, masks / "sub-01/anat/sub-01_space-MNI152_label-lesion_mask.nii.gz")
    nibabel.save(mask, masks / "sub-01/anat/sub-01_label-brain_mask.nii.gz")
    return root, masks


def test_a_grid_gets_its_anatomy_and_its_lesion(with_masks, tmp_path):
    root, masks = with_masks
    out = tmp_path / "out"

    result = quick(root, out, derivatives={"masks": masks})

    assert [one.message for one in result.outcomes] == [""]
    (unit,) = dataset_units(root, derivatives={"masks": masks})
    assert (unit.anatomy.name, unit.lesion.name) == (
        "sub-01_T1w.nii.gz", "sub-01_space-T1w_label-lesion_mask.nii.gz"
    )  # fmt: skip
    fit = json.loads((out / "sub-01/mrs/sub-01_desc-fit_mrs.json").read_text())
    assert fit["grid_assessment"]["lesion"] is not None
    assert unit.sources == (
        "bids:raw:sub-01/mrs/sub-01_mrsi.nii.gz", "bids:raw:sub-01/anat/sub-01_T1w.nii.gz",
        "bids:masks:sub-01/anat/sub-01_space-T1w_label-lesion_mask.nii.gz",
    )  # fmt: skip
    links = json.loads((out / "dataset_description.json").read_text())["DatasetLinks"]
    assert set(links) == {"raw", "masks"}
    import nibabel

    mask = nibabel.load(out / "sub-01/mrs/sub-01_desc-qcmask_mrsmap.nii.gz").get_fdata()
    snr = nibabel.load(out / "sub-01/mrs/sub-01_desc-snr_mrsmap.nii.gz").get_fdata()
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert (snr[mask == 1] >= 5).all()
    page = (out / "cohort.html").read_text()
    assert f'"{fit["grid_assessment"]["lesion"]["favors"]}" data-value=' in page
    assert 'href="sub-01/mrs/sub-01_desc-grid_mrs.html">maps</a>' in page
    report = (out / "sub-01/mrs/sub-01_desc-report_mrs.html").read_text()
    assert "The lesion fills" in report
    assert 'href="sub-01_desc-grid_mrs.html"' in report
    assert validator(out).returncode == 0
    without = quick(root, out)
    assert [one.state for one in without.outcomes] == ["done"]  # the mask is part of the input


def test_mask_of_quality_and_page_are_of_the_thresholds_that_were_set(with_masks, tmp_path):
    import nibabel

    out = tmp_path / "out"
    quick(with_masks[0], out, thresholds=QualityThresholds(snr_warn=900, snr_fail=900))

    name = "sub-01/mrs/sub-01_desc-qcmask_mrsmap"
    assert not nibabel.load(out / f"{name}.nii.gz").get_fdata().any()
    assert "SNR is at least 900" in (out / f"{name}.json").read_text()
    assert "SNR below 900" in (out / "cohort.html").read_text()


def test_a_single_voxel_gets_its_anatomy_and_its_lesion(with_masks, tmp_path):
    root, masks = (shutil.copytree(one, tmp_path / one.name) for one in with_masks)
    for path in root.glob("sub-01/mrs/*"):
        path.unlink()
    data = replace(bids_dataset.made("radiation_necrosis", 0), affine=np.diag([20.0, 20, 20, 1]))
    link = "bids::sub-01/anat/sub-01_T1w.nii.gz"
    metadata = bids_dataset.sidecar(data, AnatomicalImage=link)
    bids_dataset.add(root, "sub-01", data, metadata=metadata)
    out = tmp_path / "out"

    result = analyze_dataset(root, out, derivatives={"masks": masks})

    assert [one.message for one in result.outcomes] == [""]
    fit = json.loads((out / "sub-01/mrs/sub-01_desc-fit_mrs.json").read_text())
    assert 0 <= fit["placement"]["lesion_share"] < 0.5
    assert fit["assessment"]["favors"] == "not-evaluable"
    assert (out / "sub-01/figures/sub-01_desc-position_mrs.png").exists()
    assert validator(out).returncode == 0


def test_what_is_not_the_lesion_of_a_grid_is_noted(with_masks, tmp_path):
    root, masks = (shutil.copytree(one, tmp_path / one.name) for one in with_masks)
    folder = masks / "sub-01" / "anat"
    shutil.copy(folder / "sub-01_label-brain_mask.nii.gz", folder / "sub-01_desc-lesion_mask.nii")
    sidecar = root / "sub-01/mrs/sub-01_mrsi.json"
    content = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(content | {"AnatomicalImage": "bids::sub-01/anat/none.nii"}))

    (unit,) = dataset_units(root, derivatives={"masks": masks})

    assert unit.lesion is None
    assert unit.anatomy is None
    assert [note.partition(";")[0] for note in unit.notes] == [
        "AnatomicalImage does not lead to an image of this dataset",
        "There are 2 masks of the lesion",
    ]
    with pytest.raises(FormatError, match="is not a folder; give the root of a dataset of deriv"):
        dataset_units(root, derivatives={"masks": masks / "none"})


def test_a_mask_that_is_none_is_said(with_masks, tmp_path):
    import nibabel

    root, masks = with_masks[0], shutil.copytree(with_masks[1], tmp_path / "masks")
    path = masks / "sub-01/anat/sub-01_space-T1w_label-lesion_mask.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((6, 6, 1), np.uint8), np.eye(4)), path)
    out = tmp_path / "out"

    empty = quick(root, out, derivatives={"masks": masks})
    page = (out / "cohort.html").read_text()
    path.write_bytes(b"x")
    broken = quick(root, out, derivatives={"masks": masks})

    assert [one.message for one in empty.outcomes] == [""]
    assert "the lesion mask is empty or does not touch the grid; check its space" in page
    assert broken.outcomes[0].message.startswith("its mask of the lesion is no image")


def test_anatomy_without_a_place_of_the_grid_is_not_used(with_masks, tmp_path):
    root, _ = with_masks
    root = shutil.copytree(root, tmp_path / "raw")
    path = root / "sub-01/mrs/sub-01_mrsi.nii.gz"
    write_nifti_mrs(path, replace(read(path), affine=None))
    out = tmp_path / "out"

    result = quick(root, out)

    assert [one.message for one in result.outcomes] == [""]
    marker = json.loads((out / "sub-01/mrs/sub-01_desc-status.json").read_text())
    assert "where its voxels lie: anatomy and mask were not used" in " ".join(marker["notes"])


def test_a_deidentified_grid_shows_no_anatomy(with_masks):
    root, masks = with_masks

    (unit,) = dataset_units(root, derivatives={"masks": masks}, deidentify=True)

    assert unit.anatomy is None
    assert unit.lesion is not None


@pytest.mark.parametrize("parallel", [False, True])
def test_the_first_crash_stops_a_run_that_asks_for_it(tmp_path, parallel):
    root = small(tmp_path / "raw", 3)
    (root / "sub-01/mrs/sub-01_svs.nii.gz").write_bytes(b"x")
    executor = concurrent.futures.ThreadPoolExecutor(1) if parallel else None

    result = quick(root, tmp_path / "out", stop_on_first_crash=True, executor=executor)

    assert [one.state for one in result.outcomes] == ["failed"]
    assert result.exit_code == 1
    if executor is not None:
        executor.shutdown()
    assert not (tmp_path / "out/sub-03").exists()


def test_pages_alone_are_written_again(root, derivatives, tmp_path, capsys):
    out = shutil.copytree(derivatives, tmp_path / "out")
    before = contents(out)
    (out / "cohort.html").unlink()
    (out / "sub-01.html").unlink()

    assert main(["bids", str(root), str(out), "participant", "--reports-only"]) == 0

    assert contents(out) == before
    command = ["bids", str(root), str(tmp_path / "no"), "participant", "--reports-only"]
    assert main(command) == 3
    assert "holds no results yet" in capsys.readouterr().err


def test_a_program_reads_what_became_of_each(tmp_path, capsys):
    root, out = small(tmp_path / "raw", 2), tmp_path / "out"
    (root / "sub-02/mrs/sub-02_svs.nii.gz").write_bytes(b"x")
    command = ["bids", str(root), str(out), "participant", "--no-figures", "--json"]

    assert main([*command, "-"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert main([*command, str(tmp_path / "run.json")]) == 1

    assert document["exit_code"] == 1
    assert [one["state"] for one in document["outcomes"]] == ["done", "failed"]
    again = json.loads((tmp_path / "run.json").read_text())
    assert [one["state"] for one in again["outcomes"]] == ["unchanged", "failed"]
    (tmp_path / "run.json").write_text("mine")
    assert main([*command, str(tmp_path / "run.json")]) == 4
    assert "run.json exists and is not a result" in capsys.readouterr().err


def test_the_seed_of_the_draws_is_written_and_decides(root):
    path = root / "sub-01/mrs/sub-01_svs.nii.gz"
    first, second, third = (analyze(path, seed=seed, threads=1) for seed in (0, 0, 5))

    assert first.assessment == second.assessment
    assert first.assessment != third.assessment
    assert third.provenance["parameters"]["seed"] == 5


def test_a_dry_run_writes_nothing(root, tmp_path, capsys):
    out = tmp_path / "out"

    assert main(["bids", str(root), str(out), "participant", "--dry-run"]) == 0

    assert "sub-03/ses-01/mrs/sub-03_ses-01_svs  (water)" in capsys.readouterr().out
    assert not out.exists()


def test_a_dry_run_tells_what_is_wrong(tmp_path, capsys):
    root = small(tmp_path / "raw", 2)
    (root / "sub-01/mrs/sub-01_svs.json").write_text("{")
    (root / "sub-02/mrs/sub-02_svs.json").write_text("{}")

    assert main(["bids", str(root), str(tmp_path), "participant", "--validate-only"]) == 1

    said = capsys.readouterr().out
    assert "    one of its sidecars is no JSON in UTF-8" in said
    assert "    The sidecar lacks ResonantNucleus" in said


def spoil_sidecar(root, **fields):
    """Say more beside spectra whose own header says little."""
    path = root / "sub-01/mrs/sub-01_svs.nii.gz"
    known = read(path).acquisition
    spoil_spectra(root, acquisition=replace(known, repetition_time_s=None, sequence=None))
    sidecar = root / "sub-01/mrs/sub-01_svs.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | fields))


def spoil_spectra(root, **changes):
    path = root / "sub-01/mrs/sub-01_svs.nii.gz"
    write_nifti_mrs(path, replace(read(path), **changes))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda root: spoil_sidecar(root, EchoTime=0.03), "contradict each other: EchoTime"),
        (lambda root: spoil_sidecar(root, RepetitionTime=3000), "its sidecar is wrong: "),
        (lambda root: spoil_sidecar(root, EditCondition=["ON", "OFF"]), "an edited acquisition"),
        (lambda root: spoil_sidecar(root, PulseSequenceType="MEGA-PRESS"), "an edited acq"),
        (lambda root: (root / "sub-01/mrs/sub-01_svs.nii.gz").write_bytes(b"no"), "is none of"),
        (
            lambda root: spoil_spectra(root, fid=np.zeros((1, 1, 1, 512), complex)),
            "every sample of the data is zero",
        ),
    ],
    ids=range(6),
)
def test_a_dry_run_finds_what_a_run_refuses(tmp_path, capsys, spoil, reason):
    root = small(tmp_path / "raw", 1)
    spoil(root)

    assert main(["bids", str(root), str(tmp_path / "out"), "participant", "--dry-run"]) == 1

    found = capsys.readouterr().out.splitlines()[1].strip()
    (outcome,) = quick(root, tmp_path / "out").outcomes
    assert reason in found
    assert found == outcome.message


def test_a_dry_run_finds_a_mask_that_is_none(tmp_path, capsys):
    root, masks = tmp_path / "raw", tmp_path / "lesions"
    bids_dataset.describe(root)
    grid = replace(bids_dataset.made("mixed", 1, grid=(2, 2, 1)), affine=np.eye(4))
    bids_dataset.add(root, "sub-01", grid, suffix="mrsi")
    (masks / "sub-01/anat").mkdir(parents=True)
    (masks / "sub-01/anat/sub-01_label-lesion_mask.nii.gz").write_bytes(b"no image")

    command = ["bids", str(root), str(tmp_path / "out"), "participant", "-d", f"x={masks}"]
    assert main([*command, "--dry-run"]) == 1

    assert "its mask of the lesion " in capsys.readouterr().out


def test_the_exit_code_tells(tmp_path, capsys):
    root, out = small(tmp_path / "raw", 1), tmp_path / "out"
    command = ["bids", str(root), str(out), "participant", "--no-figures"]

    assert main(["bids", str(tmp_path), str(out), "participant"]) == 3
    assert main(["bids", str(root), str(out), "group"]) == 3
    assert main(["bids", str(root), str(root), "participant"]) == 4
    assert main(["bids", str(root), str(out), "nonsense"]) == 2
    assert main([*command, "--nprocs", "0"]) == 2
    assert main(["analyze", "--table", "x.tsv"]) == 2
    assert main(["analyze"]) == 2
    (root / "sub-01/mrs/sub-01_svs.nii.gz").write_bytes(b"x")
    assert main(command) == 1
    assert "sub-01_svs: " in capsys.readouterr().err


def test_a_table_is_analysed_by_the_command(tmp_path, capsys):
    table = write_table(tmp_path, f"input\n{sample_path('reference_case.toml')}\n")

    code = main(["analyze", "--table", str(table), "--out", str(tmp_path / "out"), "--no-figures"])

    assert code == 0
    assert "1 analysed" in capsys.readouterr().out
    assert np.isclose(
        json.loads((tmp_path / "out/001/result.json").read_text())["ratios"]["Cho/Cr"]["value"],
        1.14008, atol=5e-6,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another matter there")
def test_an_interrupted_run_says_so_and_goes_on(tmp_path):
    root, out = small(tmp_path / "raw", 3), tmp_path / "out"
    command = [sys.executable, "-m", "mrs_necrosis", "bids", str(root), str(out), "participant",
               "--no-figures", "--nprocs", "1"]  # fmt: skip

    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True,
        # a shell's background job, such as a gate, is born deaf to this signal
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while running.poll() is None and not list(out.rglob("sub-02_desc-status.json")):
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate()

    assert running.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    assert not list(out.rglob("sub-03_desc-fit_mrs.json"))
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "done before" in again.stdout
