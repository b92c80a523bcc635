"""Every message has a test: those of misuse stand here, and none is without one."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrs_necrosis import PeakAreas, Spectra, analyze, assess, fit, ratio, read, read_peaks
from mrs_necrosis.classifier import (
    Context,
    NecrosisClassifier,
    Reading,
    assess_grid,
    place,
    prior_after_radiosurgery,
)
from mrs_necrosis.classifier.calibration import reliability
from mrs_necrosis.cli import main
from mrs_necrosis.cohort import analyze_table
from mrs_necrosis.criteria import AppliesTo, Comparison, _shipped, load_criteria
from mrs_necrosis.errors import FitError, FormatError, OutputError, SignalError
from mrs_necrosis.fitting import default_model
from mrs_necrosis.fitting.model import Parameter, check_parameters
from mrs_necrosis.followup import Visit, followup, read_timeline
from mrs_necrosis.io import read_peak_table, write_nifti_mrs
from mrs_necrosis.lesion import mask_weights
from mrs_necrosis.maps import Map, write_maps
from mrs_necrosis.preprocessing import correct_eddy_currents, hlsvd, preprocess, remove_water
from mrs_necrosis.quality import Quality
from mrs_necrosis.report.figure import evidence
from mrs_necrosis.simulation import phantom, sample_path
from mrs_necrosis.simulation.spins import Lines
from mrs_necrosis.spectra import Acquisition, SpectralData

ROOT = Path(__file__).resolve().parents[1]
ACQUISITION = Acquisition(spectrometer_frequency_mhz=123.2, dwell_time_s=5e-4, nucleus="1H")
FID = np.exp(-np.arange(512) / 100.0).reshape(1, 1, 1, 512).astype(complex)
CASE = {"LL": 108964, "Cho": 33671, "Cr": 29534, "NAA": 31278}
TWO = PeakAreas(("Cho", "Cr"), np.ones((2, 1, 1, 2)))
ONE = next(one for one in load_criteria() if one.counts is not None)


def data(fid=FID, **more):
    return SpectralData(fid=fid, acquisition=ACQUISITION, **more)


def with_water(shape=(1, 1, 1, 512, 2), dims=("DIM_COIL",)):
    water = data(np.ones(shape, complex), dims=dims)
    return replace(water, water=water)


def trained():
    rng = np.random.default_rng(0)
    return NecrosisClassifier().fit(rng.normal(size=(40, 2)), ["a", "b"] * 20)


def phase():
    return Parameter("phase_rad", "phase", (), 0.0, None, -1.0, 1.0)


def two_maps():
    one = Map(desc="snr", values=np.ones((1, 1, 1)), title="SNR", description="For a test.")
    return [one, one]


def numbered(cases):
    return [f"{at} {text[:40]}" for at, (_, text) in enumerate(cases)]


MISUSE = [
    (lambda: reliability([1, 0], [0.5]), "reliability needs as many outcomes as probabilities"),
    (lambda: Reading(kind="ct", text="x"), "a reading has kind 'perfusion' or 'mri'"),
    (lambda: Reading(kind="mri", text=" "), "a reading needs a text"),
    (lambda: place(TWO), "place takes one voxel; got values of shape"),
    (
        lambda: assess_grid(TWO, quality=Quality(*(np.ones(3) for _ in Quality.__slots__))),
        "quality has 3 voxels, the areas have 2",
    ),
    (lambda: trained().decision(np.zeros((1, 2))), "decision needs the classes"),
    (
        lambda: Comparison(expression="Cho", comparator=">", cutoff=1.0),
        "expression must be a sum of ratios like",
    ),
    (lambda: AppliesTo(te_class="medium"), "te_class must be short, long or very_long"),
    (lambda: AppliesTo(field_t=(0.0,)), "field_t must be above zero; got"),
    (lambda: replace(ONE, reading="x"), "either a comparison (expression or any_of) or a reading"),
    (lambda: replace(ONE, counts=None), "which does not fit counts"),
    (lambda: replace(ONE, counts=(1, -1, 1, 1)), "counts must not be negative; got"),
    (
        lambda: replace(default_model(ACQUISITION), range_ppm=(4.0, 1.0)),
        "range_ppm must ascend; got",
    ),
    (lambda: check_parameters([phase(), phase()]), "a model has at most one phase"),
    (
        lambda: mask_weights(np.ones((2, 2)), np.eye(4), shape=(2, 2, 1), affine=np.eye(4)),
        "a mask must have three axes; got shape",
    ),
    (
        lambda: write_maps("nowhere", "x", two_maps(), affine=np.eye(4)),
        "two maps have the same name",
    ),
    (lambda: preprocess(data(), phase="maybe"), 'phase must be "auto", True or False'),
    (lambda: preprocess(data(), shift_ppm=np.nan), "shift_ppm must be a finite number; got"),
    (
        lambda: correct_eddy_currents(with_water()),
        "eddy currents are corrected after coils and averages are combined",
    ),
    (
        lambda: remove_water(data(np.ones((1, 1, 1, 512, 2), complex), dims=("DIM_COIL",))),
        "water is removed after coils and averages are combined",
    ),
    (
        lambda: hlsvd(FID[0, 0, 0][:20], ACQUISITION.dwell_time_s, n_components=15),
        "components need a Hankel matrix with more rows and columns",
    ),
    (
        lambda: evidence(analyze({"Cho": 1.0})),
        "there is no criterion with a value and a cut-off to draw",
    ),
    (lambda: Lines(np.zeros((1, 2)), np.zeros(2)), "must both have shape (L,); got"),
    (lambda: replace(ACQUISITION, echo_time_s=np.nan), "must be a finite number in s; got"),
    (
        lambda: replace(ACQUISITION, echo_time_s=30),
        "echo_time_s must be in s, between 0 and 2; got 30",
    ),
    (
        lambda: replace(ACQUISITION, dwell_time_s=None),
        "dwell_time_s must be a finite number in s; got None",
    ),
    (lambda: data(affine=np.eye(3)), "affine must be a finite 4 x 4 matrix in mm; got shape"),
    (lambda: data(affine=np.zeros((4, 4))), "affine must be invertible; its three axes lie in"),
    (lambda: data(FID[0]), "fid must have 4 axes (X, Y, Z, N) and one per name in dims"),
    (lambda: data(FID[0, 0, 0]), "a single FID is given as fid[None, None, None]"),
    (lambda: read_peaks("Cho=1 Cr=2", echo_time_s="30ms"), "must be a finite number in s; got"),
    (lambda: read_peaks("Cho=1 Cr=2", echo_time_s=30), "echo_time_s must be in s, between"),
    (lambda: analyze(CASE, field_t="3 T"), "field_t must be a finite number in T; got '3 T'"),
    (lambda: analyze(data(), field_t=300), "field_t must be in T, between 0.03 and 23; got 300"),
    (lambda: read_peak_table(["Cho=1", "Cr=2"], field_t=24), "field_t must be in T, between 0.03"),
    (lambda: analyze(CASE, threads="x"), "threads must be a whole number from 1 on or None; got"),
    (lambda: analyze(CASE, dicom_source="a.dcm"), "dicom_source needs out, the folder that the"),
    (lambda: analyze(CASE, seed=True), "seed must be a whole number from 0 on; got True"),
    (lambda: analyze(CASE, seed=-1), "seed must be a whole number from 0 on; got -1"),
    (lambda: analyze(CASE, model="peak"), "model must be a Model, 'metabolites', 'peaks' or None"),
    (lambda: analyze(CASE, midline_mm=np.nan), "midline_mm must be a finite number in mm; got"),
    (lambda: analyze(CASE, point_spread="gauss"), "point_spread must be one of sinc, hamm"),
    (lambda: analyze(CASE, dwell_time_s=3), "dwell_time_s must be in s, between"),
    (lambda: analyze(data(), sequence=3), "sequence must be a name such as 'PRESS', 'STEAM' or"),
    (lambda: analyze(data(), quantity="sum"), "quantity must be one of area, height, molar; got"),
    (lambda: analyze(CASE, water_reference="w.rda"), "water_reference goes with a file; for spec"),
    (lambda: analyze(data(), water_reference="w.rda"), "water_reference goes with a file; for sp"),
    (lambda: assess_grid(TWO, n_draws="many"), "n_draws must be a whole number from 1 on; got"),
    (lambda: assess_grid(TWO, n_draws=0), "n_draws must be a whole number from 1 on; got 0"),
    (lambda: assess_grid(TWO, seed=1.5), "seed must be a whole number from 0 on; got 1.5"),
    (lambda: Context(rcbv_grey="low"), "rcbv_grey must be a number from 0 on, or None; got 'low'"),
    (lambda: Context(other_voxels=1.5), "other_voxels must be a whole number from 0 on or None"),
    (lambda: prior_after_radiosurgery("7"), "months since radiosurgery must be a number from 0"),
    (lambda: replace(ACQUISITION, echo_times_s=(0.01, -1)), "echo_times_s must be in s, between"),
    (
        lambda: mask_weights(
            np.ones((2, 2, 1)), np.eye(4), shape=(2, 2, 1), affine=np.eye(4), point_spread="gauss"
        ),
        "point_spread must be one of sinc, hamming, box; got 'gauss'",
    ),
    (lambda: analyze(CASE, level=95), "level must be between 0 and 1; got 95"),
    (lambda: analyze(CASE, prior="low"), "prior must be between 0 and 1; got 'low'"),
    (lambda: analyze(CASE, basis=""), "basis is an empty path, which would be the current folder"),
    (lambda: analyze(CASE, model="peaks", basis="set.basis"), "model cannot be 'peaks' with it"),
    (lambda: analyze(CASE, fit_range_ppm=3), "fit_range_ppm must be two numbers in ppm; got 3"),
    (
        lambda: analyze(CASE, fit_range_ppm=(2.5, 2.7)),
        "fit_range_ppm must ascend, and hold 2.6 to 3.03 ppm; got (2.5, 2.7)",
    ),
    (
        lambda: ratio(TWO, "Cho", "Cr").probability_above(float("nan")),
        "cutoff must be finite; got nan",
    ),
    (lambda: analyze(CASE, echo_time_s=True), "must be a finite number in s; got True"),
    (lambda: ratio(TWO, "Cho", "Cr").bound(95), "level must be between 0 and 1; got 95"),
    (
        lambda: ratio(TWO, "Cho", "Cr").interval(method="exact"),
        "method must be 'auto', 'fieller' or 'delta'; got 'exact'",
    ),
    (lambda: preprocess(data(), phase_deg="90"), "phase_deg must be a finite number; got '90'"),
    (lambda: preprocess(data(), phase=[1]), 'phase must be "auto", True or False; got [1]'),
    (lambda: preprocess(data(), zero_fill_to=32), "zero_fill_to must give three numbers"),
    (lambda: read("scan.dat", n_samples=0), "n_samples must be a whole number from 1 on; got 0"),
]


@pytest.mark.parametrize(("misuse", "message"), MISUSE, ids=numbered(MISUSE))
def test_misuse_is_refused_in_one_sentence(misuse, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        misuse()


WRONG_TYPES = [
    (lambda: read(3), "path must be a path; got int"),
    (lambda: read("a.rda", water_reference=3), "water_reference must be a path or None; got int"),
    (lambda: analyze(CASE, basis=3), "basis must be a Basis, a path or None; got int"),
    (lambda: analyze_table("visits.csv", "out", basis=3), "basis must be a Basis, a path or None"),
    (lambda: read_peaks(3), "source must be a path or words such as 'Cho=33671'; got int"),
    (lambda: read_peaks(CASE), "source must be a path or words such as 'Cho=33671'; got dict"),
    (lambda: write_nifti_mrs(data(), "a.nii"), "path must be a path; got SpectralData"),
    (lambda: write_nifti_mrs("a.nii", FID), "data must be SpectralData or Spectra; got ndarray"),
    (lambda: load_criteria(3), "path must be a path or None; got int"),
    (lambda: read_timeline(3), "path must be a path; got int"),
    (lambda: followup([3]), "visits must be a Timeline or visits; got int"),
    (lambda: followup(3), "visits must be a Timeline or visits; got int"),
    (lambda: Visit.of("2012", CASE), "areas must be PeakAreas or None; got dict"),
    (lambda: analyze(3), "source must be a path, spectra or peak areas; got int"),
    (lambda: analyze(FID), "source must be a path, spectra or peak areas; got ndarray"),
    (lambda: analyze({"Cho": None}), "the value of Cho must be a number; got NoneType"),
    (lambda: analyze({"Cho": "high"}), "the value of Cho must be a number; got str"),
    (lambda: analyze({1: 2.0}), "the name of a peak must be text; got int"),
    (lambda: analyze(CASE, out=3), "out must be a path or None; got int"),
    (lambda: analyze(CASE, water_reference=3), "water_reference must be a path or None; got int"),
    (lambda: analyze(CASE, preprocessing=3), "preprocessing must be a mapping or None; got int"),
    (lambda: analyze(data(), model=3), "model must be a Model, 'metabolites', 'peaks' or None"),
    (lambda: analyze(CASE, lesion_mask=3), "lesion_mask must be a path, (array, affine) or None"),
    (lambda: analyze(CASE, echo_time=0.03), "analyze takes no echo_time; what a source does not"),
    (lambda: analyze(CASE, criteria="Plotkin"), "criteria must be Criterion objects, as load_"),
    (lambda: analyze(CASE, criteria=3), "criteria must be Criterion objects, as load_criteria"),
    (lambda: analyze(CASE, context={"population": "glioma"}), "context must be a Context or None"),
    (lambda: analyze(CASE, label=3), "label must be text or None; got int"),
    (lambda: analyze(CASE, progress=3), "progress must be a function of what is done and what is"),
    (lambda: analyze(CASE, executor=3), "executor must have a method submit, or be None; got int"),
    (lambda: Context(population=3), "population must be text or None; got int"),
    (lambda: Context(near_skull="no"), "near_skull must be True, False or None; got str"),
    (lambda: Context(contralateral=CASE), "contralateral must be PeakAreas or None; got dict"),
    (lambda: Context(readings=("high",)), "readings must be a tuple of Reading; got str"),
    (lambda: preprocess(data(), denoise="yes"), "denoise must be True or False; got str"),
    (lambda: preprocess(data(), progress=3), "progress must be a function of what is done and"),
    (lambda: replace(ACQUISITION, echo_times_s=0.01), "echo_times_s must be a tuple of times"),
    (lambda: PeakAreas(("Cho",), [1.0], unit=3), "unit must be text or None; got int"),
    (lambda: ratio(3, "Cho", "Cr"), "areas must be PeakAreas, such as fit(...).areas; got int"),
    (lambda: ratio(CASE, "Cho", "Cr"), "areas must be PeakAreas, such as fit(...).areas; got"),
    (lambda: ratio(TWO, "Cho", "Cr").probability_above("1"), "cutoff must be a number; got str"),
    (lambda: assess(3), "areas must be PeakAreas, such as fit(...).areas; got int"),
    (lambda: assess_grid(CASE), "areas must be PeakAreas, such as fit(...).areas; got dict"),
    (lambda: place(3), "areas must be PeakAreas, such as fit(...).areas; got int"),
    (lambda: assess_grid(TWO, quality=3), "quality must be a Quality, such as fit(...).quality"),
    (
        lambda: assess_grid(TWO, acquisition=data()),
        "acquisition must be an Acquisition, such as spectra.acquisition; got SpectralData",
    ),
    (lambda: assess_grid(TWO, scoring=3), "scoring must be a Scoring or None; got int"),
    (lambda: assess_grid(TWO, thresholds=3), "thresholds must be QualityThresholds or None; got"),
    (lambda: PeakAreas("Cho", [1.0]), "names must be a tuple of names, such as ('Cho', 'Cr')"),
    (lambda: PeakAreas((1, 2), [1.0, 2.0]), "the name of a peak must be text; got int"),
    (lambda: PeakAreas(("Cho", "Cr"), ["a", "b"]), "values must be an array of numbers; got list"),
    (lambda: replace(ACQUISITION, sequence=3), "sequence must be text or None; got int"),
    (lambda: data("no fid"), "fid must be an array of numbers; got str"),
    (lambda: data(FID[..., None], dims="DIM_COIL"), "dims must be a tuple of names, such as"),
    (lambda: data(water=FID), "water must be SpectralData or None; got ndarray"),
    (lambda: SpectralData(fid=FID, acquisition=3), "acquisition must be an Acquisition; got int"),
    (lambda: Spectra(fid=FID, acquisition=None), "acquisition must be an Acquisition; got None"),
    (lambda: phantom("mixed", 1), "rng must be a numpy random Generator, such as numpy.random."),
]


@pytest.mark.parametrize(("misuse", "message"), WRONG_TYPES, ids=numbered(WRONG_TYPES))
def test_another_type_is_refused_in_one_sentence(misuse, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        misuse()


def test_what_a_table_says_of_itself_can_be_given_with_areas():
    areas = PeakAreas(("Cho", "Cr", "NAA"), [3.0, 2.0, 1.0])

    assert analyze(areas, quantity="height").areas.quantity == "height"


def test_a_criterion_that_is_no_entry_is_refused():
    with pytest.raises(TypeError, match="label must be text that is not empty; got ''"):
        replace(ONE, label="")
    with pytest.raises(TypeError, match="field_t must be a list; got '3 T'"):
        AppliesTo(field_t="3 T")
    with pytest.raises(TypeError, match="cutoff must be a number; got 'x'"):
        Comparison(expression="Cho/Cr", comparator=">", cutoff="x")


def test_a_file_of_criteria_that_is_no_toml_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("schema = ")
    with pytest.raises(FormatError, match="not a TOML file of criteria: "):
        load_criteria(path)


def test_a_criterion_is_shipped_once(tmp_path, monkeypatch):
    folder = ROOT / "mrs_necrosis" / "resources" / "criteria"
    copies = tmp_path / "resources" / "criteria"
    copies.mkdir(parents=True)
    for name in ("spectroscopy.toml", "twice.toml"):
        (copies / name).write_bytes((folder / "spectroscopy.toml").read_bytes())
    monkeypatch.setattr("mrs_necrosis.criteria.resources.files", lambda _: tmp_path)
    with pytest.raises(FormatError, match=r"the criterion '.*' is there twice"):
        _shipped.__wrapped__()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 0}', "the schema is not mrs-necrosis-classifier/1"),
        ("[]", "not a classifier that was saved here"),
        ("{", "not a classifier that was saved here"),
    ],
)
def test_a_file_that_is_no_classifier_is_refused(tmp_path, text, message):
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        NecrosisClassifier.load(path)


def test_a_classifier_of_impossible_shapes_is_refused(tmp_path):
    path = tmp_path / "model.json"
    trained().save(path, features=("a", "b"), trained_on="chance")
    path.write_text(path.read_text().replace('"offsets": [', '"offsets": [0, '))
    with pytest.raises(FormatError, match="not a classifier that was saved here"):
        NecrosisClassifier.load(path)


def test_a_timeline_with_a_number_for_a_word_is_refused(tmp_path):
    path = tmp_path / "course.toml"
    path.write_text('[[visits]]\ndate = "2012-02"\npeaks = { Cho = 1.0 }\nevent = 3\n')
    with pytest.raises(FormatError, match="must be text; got 3"):
        read_timeline(path)


@pytest.mark.parametrize(
    ("fid", "message"),
    [
        (np.full((1, 1, 1, 512), np.nan, complex), "no voxel has a finite FID"),
        (np.zeros((1, 1, 1, 512), complex), "every FID is zero; there is nothing to analyse"),
    ],
)
def test_spectra_without_a_signal_are_refused(fid, message):
    made = phantom("normal_white_matter", np.random.default_rng(0), n_samples=512).spectra
    with pytest.raises(SignalError, match=message):
        analyze(replace(made, fid=fid))


def test_spectra_of_another_nucleus_are_refused():
    made = phantom("normal_white_matter", np.random.default_rng(0), n_samples=512).spectra
    other = replace(made, acquisition=replace(made.acquisition, nucleus="31P"))
    with pytest.raises(SignalError, match="the spectra are of 31P; only 1H is analysed"):
        analyze(other)


def test_a_fid_too_short_for_the_model_is_refused():
    made = phantom("normal_white_matter", np.random.default_rng(0), n_samples=512).spectra
    with pytest.raises(FitError, match="too few for a model of "):
        fit(replace(made, fid=made.fid[..., :64]))


def test_a_voxel_without_a_fit_has_no_curves():
    made = phantom("normal_white_matter", np.random.default_rng(0), n_samples=512, grid=(2, 1, 1))
    broken = made.spectra.fid.copy()
    broken[1] = np.nan
    fitted = fit(replace(made.spectra, fid=broken))
    with pytest.raises(FitError, match=r"voxel \(1, 0, 0\) has no fit: "):
        fitted.curves((1, 0, 0))


def test_compartments_that_are_not_the_whole_are_refused():
    from mrs_necrosis.fitting.quantify import Compartment, molar

    parts = [Compartment(fraction=0.4, water_g_per_ml=0.8, t2_s=0.08)]
    with pytest.raises(ValueError, match="fractions of the compartments must add up to 1"):
        molar(TWO, 1.0, parts, echo_time_s=0.03, repetition_time_s=2.0, t2_s=0.2, t1_s=None)


COMMANDS = [
    ("", "which command? analyze, bids"),
    ("analyze", "give inputs, or --table with a list of them"),
    ("analyze a.rda --te fast", "a time is written like 30ms or 0.03s; got 'fast'"),
    ("analyze a.rda --te 1.2.3ms", "a time is written like 30ms or 0.03s; got '1.2.3ms'"),
    ("analyze a.rda --fit-range 3.0 4.0", "--fit-range must ascend, and hold 2.6 to 3.03 ppm"),
    ("analyze --table x.tsv", "--table needs --out, and has its labels itself"),
    ("criteria a.rda b.rda", "criteria takes one input"),
    (f"criteria {sample_path('grid_te144.nii.gz')}", "criteria takes a single voxel"),
    (
        f"followup --visit 2012-09 {sample_path('grid_te144.nii.gz')}",
        "a visit of many voxels needs its lesion: name a lesion_mask in a timeline",
    ),
]


@pytest.mark.parametrize(("command", "message"), COMMANDS, ids=[text for _, text in COMMANDS])
def test_a_wrong_command_line_is_said_in_one_sentence(capsys, command, message):
    assert main(command.split(" ") if command else []) == 2
    assert message in capsys.readouterr().err


def test_steps_that_cannot_be_left_out_are_said(tmp_path, capsys):
    made = phantom("mixed", np.random.default_rng(0), coils=2, n_samples=512).data
    write_nifti_mrs(tmp_path / "a.nii", made)

    assert main(["analyze", str(tmp_path / "a.nii"), "--combine-coils", "off"]) == 2
    assert "leave out --combine-coils and --average off" in capsys.readouterr().err


# ---- none is without ----------------------------------------------------------------------------

_ENOUGH = 14
"""So many characters of a message in a row are its own."""


def literals(node):
    """Return the fixed pieces of a text that is put together."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return [piece for value in node.values for piece in literals(value)]
    if isinstance(node, ast.BinOp):
        return literals(node.left) + literals(node.right)
    return []


def messages(path):
    """Yield the line and the fixed pieces of every message that is raised, warned or printed."""
    for function in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        texts = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                texts.setdefault(node.targets[0].id, []).append((node.lineno, node.value))
        for node in ast.walk(function):
            call = node.exc if isinstance(node, ast.Raise) else node
            if not isinstance(call, ast.Call):
                continue
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if not (isinstance(node, ast.Raise) or name in {"warn", "warning", "error"}):
                continue
            pieces = []
            for argument in call.args:
                if isinstance(argument, ast.Name):
                    known = [text for text in texts.get(argument.id, []) if text[0] < node.lineno]
                    pieces += literals(max(known, key=lambda text: text[0])[1]) if known else []
                else:
                    pieces += literals(argument)
            pieces = [piece.strip() for piece in pieces if len(piece.strip()) >= 6]
            if pieces:
                yield node.lineno, pieces


def test_no_message_is_without_a_test():
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").glob("*.py"))
    tests = re.sub(r'"\s*\n\s*[rf]*"', "", re.sub(r"\\(.)", r"\1", tests))

    def is_tested(piece):
        size = min(_ENOUGH, len(piece))
        return any(piece[at : at + size] in tests for at in range(len(piece) - size + 1))

    without = [
        f"{path.relative_to(ROOT)}:{line}: {' … '.join(pieces)}"
        for path in sorted((ROOT / "mrs_necrosis").rglob("*.py"))
        for line, pieces in messages(path)
        if not any(map(is_tested, pieces))
    ]

    assert without == []


@pytest.mark.parametrize(
    ("name", "read", "message"),
    [
        ("m.json", NecrosisClassifier.load, "not a classifier that was saved here"),
        ("c.toml", load_criteria, "not a TOML file of criteria"),
        ("t.toml", read_timeline, "not a TOML timeline"),
    ],
)
def test_a_file_nested_without_end_is_refused(tmp_path, name, read, message):
    deep = "[" * 100_000 + "]" * 100_000
    path = tmp_path / name
    path.write_text(deep if name.endswith("json") else f"a = {deep}")

    with pytest.raises(FormatError, match=message):
        read(path)


def test_a_file_nested_without_end_is_not_taken_for_a_result(tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    (tmp_path / "result.json").write_text(deep)
    (tmp_path / "dataset_description.json").write_text(deep)

    with pytest.raises(OutputError, match="not a result of mrs-necrosis"):
        analyze(CASE, out=tmp_path, overwrite=True)
    assert main(["bids", "nowhere", str(tmp_path), "group"]) == 4
