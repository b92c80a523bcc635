"""One call from a source to an analysis, and the same step by step."""

from dataclasses import replace

import numpy as np
import pytest

import mrs_necrosis
from mrs_necrosis import analyze, assess, fit, preprocess, ratio, read
from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier import assess_grid
from mrs_necrosis.cohort import analyze_dataset, analyze_file, analyze_table
from mrs_necrosis.criteria import load_criteria
from mrs_necrosis.errors import FormatError, MRSNecrosisError, SignalError
from mrs_necrosis.followup import followup
from mrs_necrosis.maps import quality_maps, ratio_maps
from mrs_necrosis.preprocessing import (
    average,
    combine_coils,
    denoise,
    find_reference,
    phase,
    remove_water,
)
from mrs_necrosis.provenance import sha256
from mrs_necrosis.quality import QualityThresholds
from mrs_necrosis.report import document
from mrs_necrosis.report.figure import spectrum
from mrs_necrosis.report.files import write
from mrs_necrosis.report.text import summary
from mrs_necrosis.simulation import phantom, sample_path
from mrs_necrosis.spectra import Acquisition, Spectra, SpectralData

SPECTRUM = "reference_case_te144.nii.gz"
PEAKS = {"LL": 108964, "Cho": 33671, "Cr": 29534, "NAA": 31278}
SPECTRA = preprocess(read(sample_path(SPECTRUM)))
ACQUISITION = Acquisition(spectrometer_frequency_mhz=123.2, dwell_time_s=5e-4, nucleus="1H")


@pytest.fixture(scope="module")
def found():
    return analyze(sample_path(SPECTRUM))


def test_analyze_is_read_preprocess_fit_ratio_assess(found):
    spectra = preprocess(read(sample_path(SPECTRUM)))
    fitted = fit(spectra)
    judged = assess(
        fitted.areas.with_ll(), quality=fitted.quality, acquisition=spectra.acquisition
    )

    assert found.ratios["Cho/Cr"].value == ratio(fitted.areas, "Cho", "Cr").value
    assert found.assessment == judged


@pytest.mark.parametrize(
    "source",
    [
        PEAKS,
        [f"{name}={value}" for name, value in PEAKS.items()],
        " ".join(f"{name}={value}" for name, value in PEAKS.items()),
        PeakAreas(tuple(PEAKS), list(PEAKS.values())),
        sample_path("reference_case.toml"),
        str(sample_path("reference_case.toml")),
    ],
    ids=["mapping", "words", "text", "PeakAreas", "Path", "str"],
)
def test_a_peak_table_comes_in_any_spelling(source):
    analysis = analyze(source)

    # reference-case.md gives the quotients to five decimals
    assert round(float(analysis.ratios["Cho/Cr"].value), 5) == 1.14008
    assert round(float(analysis.ratios["LL/Cr"].value), 5) == 3.68944
    assert analysis.fit is None
    assert analysis.echo_time_s is None
    assert analysis.assessment.favors == "necrosis-favoring"


@pytest.mark.parametrize("make", [read, lambda path: preprocess(read(path))])
def test_what_was_read_or_preprocessed_gives_the_same_ratios(found, make):
    again = analyze(make(sample_path(SPECTRUM)))

    for name, one in found.ratios.items():
        np.testing.assert_allclose(again.ratios[name].value, one.value, rtol=1e-12)
    assert again.source.sha256 is None


def test_given_metadata_goes_to_the_table_or_to_the_spectrum():
    table = analyze(PEAKS, echo_time_s=0.03, field_t=3.0)
    spectrum = analyze(read(sample_path(SPECTRUM)), repetition_time_s=1.5)

    assert (table.echo_time_s, table.field_t) == (0.03, 3.0)
    assert spectrum.acquisition.repetition_time_s == 1.5
    assert spectrum.provenance["parameters"]["given"] == {"repetition_time_s": 1.5}


def test_the_provenance_says_how_the_criteria_differ_from_the_shipped_ones(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(
        'schema = 1\n[[criterion]]\nid = "ando2004_cho_cr"\nenabled = false\n[[criterion]]\n'
        'id = "mine"\nlabel = "Mine"\ncitation = "own data"\nexpression = "Cho/Cr"\n'
        'comparator = ">"\ncutoff = 1.3\nside = "recurrence"\nfamily = "Cho/Cr"\n'
        "verified = { cutoff = true }\nenabled = true\n"
    )

    own = analyze(PEAKS, criteria=load_criteria(path)[1:])

    assert own.provenance["parameters"]["criteria"] == {
        "added": ["mine"], "changed": ["ando2004_cho_cr"], "left_out": ["plotkin2004_cho_cr"],
    }  # fmt: skip
    for shipped in (None, load_criteria()):
        assert analyze(PEAKS, criteria=shipped).provenance["parameters"]["criteria"] == {}


def test_thresholds_of_ones_own_decide_and_stand_in_the_provenance():
    strict = QualityThresholds(snr_warn=90.0, snr_fail=80.0)

    found = analyze(sample_path(SPECTRUM), thresholds=strict)

    assert found.assessment.favors == Favors.NOT_EVALUABLE
    assert "limit: SNR >= 80" in str(found)
    assert found.provenance["parameters"]["thresholds"] == {"snr_warn": 90.0, "snr_fail": 80.0}
    assert analyze(PEAKS).provenance["parameters"]["thresholds"] == {}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"snr_fail": 12.0}, "snr_warn must not lie below snr_fail; got 10 and 12"),
        ({"linewidth_warn_ppm": 0.2}, "linewidth_fail_ppm must not lie below linewidth_warn_ppm"),
        ({"area_sd_fail": -1.0}, "area_sd_fail must be a number from 0 on; got -1.0"),
        ({"snr_warn": "9"}, "snr_warn must be a number"),
        ({"snr_fail": True}, "snr_fail must be a number"),
    ],
)
def test_thresholds_that_leave_a_hole_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        QualityThresholds(**wrong)


def test_preprocessing_options_are_passed_on(found):
    steps = [step["name"] for step in found.provenance["steps"]]
    plain = analyze(sample_path(SPECTRUM), preprocessing={"phase": False, "remove_water": False})

    assert len([s["name"] for s in plain.provenance["steps"]]) <= len(steps)
    assert plain.provenance["parameters"]["preprocessing"] == {
        "phase": False, "remove_water": False,
    }  # fmt: skip


def test_a_grid_has_a_label_in_every_voxel():
    made = phantom("radiation_necrosis", np.random.default_rng(0), grid=(2, 2, 1), snr=30.0)

    analysis = analyze(made.data)

    assert analysis.grid == (2, 2, 1)
    assert analysis.assessment is None
    assert analysis.grid_assessment.codes.shape == (2, 2, 1)
    assert np.shape(document.document(analysis)["ratios"]["Cho/Cr"]["value"]) == (2, 2, 1)


def test_one_bad_voxel_stops_nothing():
    made = phantom("radiation_necrosis", np.random.default_rng(0), grid=(3, 1, 1), snr=30.0)
    fid = made.data.fid.copy()
    fid[1] = np.nan

    analysis = analyze(SpectralData(fid=fid, acquisition=made.data.acquisition))

    value = analysis.ratios["Cho/Cr"].value
    assert np.isnan(value[1, 0, 0])
    assert np.isfinite(value[[0, 2], 0, 0]).all()


@pytest.mark.parametrize("type_", [SpectralData, Spectra])
@pytest.mark.parametrize(
    ("fid", "message"),
    [(np.full((1, 1, 1, 64), np.nan + 0j), "finite"), (np.zeros((1, 1, 1, 64), complex), "zero")],
)
def test_a_source_without_signal_is_refused(type_, fid, message):
    with pytest.raises(SignalError, match=message):
        analyze(type_(fid=fid, acquisition=ACQUISITION))


@pytest.mark.parametrize("echo_time_s", [0.03, 0.144])
@pytest.mark.parametrize(
    ("sequence", "mixing_time_s", "said"),
    [
        (None, None, "sequence is unknown: coupled spins were fitted as in a PRESS"),
        ("PRIME", None, "none of PRESS, STEAM, sLASER, SPIN-ECHO, PULSE-ACQUIRE: coupled spins"),
        ("STEAM", None, "mixing time of the STEAM is unknown"),
        ("STEAM", 0.01, None),
        ("PRESS", None, None),
    ],
)
def test_what_the_spins_were_taken_for_is_said(sequence, mixing_time_s, said, echo_time_s):
    made = phantom("radiation_necrosis", np.random.default_rng(1), echo_time_s=echo_time_s)
    acquisition = replace(
        made.data.acquisition, sequence=sequence, mixing_time_s=mixing_time_s, echo_times_s=None
    )

    notes = analyze(replace(made.data, acquisition=acquisition)).fit.notes

    assumed = [note for note in notes if "coupled spins were fitted as" in note]
    assert len(assumed) == (said is not None)
    assert all(said in note for note in assumed)


@pytest.mark.parametrize(
    ("mixing_time_s", "told"),
    [(0.01, {"sequence": None, "mixing_time_s": None}), (0.03, {"mixing_time_s": None})],
)
def test_what_the_spins_are_taken_for_moves_ratios_at_short_echo_times(mixing_time_s, told):
    spectra = phantom(
        "radiation_necrosis", np.random.default_rng(1), grid=(8, 1, 1), sequence="STEAM",
        mixing_time_s=mixing_time_s, snr=100,
    ).spectra  # fmt: skip
    unsaid = replace(spectra, acquisition=replace(spectra.acquisition, **told))

    known, assumed = (ratio(fit(one).areas, "Glx", "Cr") for one in (spectra, unsaid))

    assert np.median(np.abs(assumed.value - known.value) / known.sd) > 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: analyze(None), "source must be a path, spectra or peak areas; got NoneType"),
        (lambda: preprocess("scan.rda"), "SpectralData, as read returns it; got str"),
        (lambda: combine_coils(None), "data must be SpectralData, as read returns it; got None"),
        (lambda: average("scan.rda"), "data must be SpectralData, as read returns it; got str"),
        (lambda: remove_water(SPECTRA), "must be SpectralData, as read returns it; got Spectra"),
        (lambda: find_reference(None), "spectra must be Spectra, as preprocess returns them"),
        (lambda: denoise(np.ones(3)), "Spectra, as preprocess returns them; got ndarray"),
        (lambda: phase(SPECTRA, 3.0), "a Reference, as find_reference returns it or None; got fl"),
        (lambda: write(None, "out"), "analysis must be an Analysis, as analyze returns it"),
        (lambda: spectrum(SPECTRA), "an Analysis, as analyze returns it; got Spectra"),
        (lambda: ratio_maps(None), "ratio must be a Ratio, as ratio returns it; got NoneType"),
        (lambda: quality_maps(None), r"a Quality, such as fit\(...\).quality; got NoneType"),
        (lambda: followup(None), "visits must be a Timeline or visits; got NoneType"),
        (lambda: assess({"Cho": 1.0}), r"PeakAreas, such as fit\(...\).areas; got dict"),
        (lambda: assess_grid(None), r"PeakAreas, such as fit\(...\).areas; got NoneType"),
    ],
)
def test_what_is_of_another_kind_is_refused_with_the_way_out(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: analyze(PEAKS, out=""),
        lambda: analyze(PEAKS, out="out", dicom_source=""),
        lambda: write(analyze(PEAKS), ""),
        lambda: analyze_table("inputs.tsv", ""),
        lambda: analyze_dataset("", "out"),
        lambda: analyze_file("scan.rda", ""),
    ],
    ids=["analyze", "dicom", "write", "table", "dataset", "file"],
)
def test_an_empty_path_of_a_folder_is_not_the_current_one(call):
    with pytest.raises(ValueError, match="is an empty path, which would be the current folder"):
        call()


def test_what_a_notebook_shows_of_a_result_is_short_and_says_it():
    found = analyze(sample_path(SPECTRUM))
    table = analyze(PEAKS)
    grid = analyze(phantom("mixed", np.random.default_rng(1), grid=(2, 1, 1)).data)

    assert repr(found) == "<Analysis of NIfTI-MRS: necrosis-favoring>"
    assert repr(grid) == "<Analysis of simulation of 2 x 1 x 1 voxels>"
    assert repr(found.assessment).startswith("<Assessment necrosis-favoring, likelihood ratio 0.")
    assert repr(table.areas) == "<PeakAreas LL, Cho, Cr, NAA, area, without errors>"
    assert "in 2 voxels" in str(grid.areas)
    assert str(table.areas).startswith("LL 108964\nCho 33671\n")
    assert str(table).startswith("Cho/Cr 1.14\n")
    assert "points to necrosis" in str(table) or "point to necrosis" in str(table)
    assert "\nCho/NAA 1.0" in str(found)
    assert "not-evaluable" in str(grid)
    assert repr(grid.grid_assessment).startswith("<GridAssessment 0 necrosis-favoring, ")
    assert repr(grid.grid_result).startswith("<GridResult desc-label, ")


def test_a_single_criterion_and_an_array_of_two_ends_are_taken():
    [one, *_] = load_criteria()

    assert len(analyze(PEAKS, criteria=one).assessment.findings) == 1
    assert analyze(PEAKS, fit_range_ppm=np.array([1.0, 4.0])).assessment is not None


def test_peaks_that_nobody_gave_are_not_called_absent():
    unknown = analyze({"foo": 1, "bar": 2}).assessment

    [gate] = [gate for gate in unknown.gates if gate.name == "two-peaks"]
    assert gate.sentence.startswith("None of Cho, Cr and NAA is among the peaks")


def test_a_converted_cutoff_has_four_digits():
    found = analyze({"Cho": 1, "Cr": 2, "NAA": 2}, quantity="molar")

    words = " ".join(finding.statement for finding in found.assessment.findings)
    assert "Cho/Cr > 0.5937 (multivoxel thesis, 1.781 of areas)" in words
    assert "0.593667" not in words + found.assessment.paragraph


def test_a_quantity_is_a_tables(mixed_spectra):
    with pytest.raises(SignalError, match="this is a spectrum: leave it out"):
        analyze(mixed_spectra(1), quantity="molar")


def test_peaks_of_another_nucleus_are_refused():
    with pytest.raises(SignalError, match="the peaks are of 31P; only 1H is analysed"):
        analyze(PEAKS, nucleus="31P")


@pytest.mark.parametrize("spelling", ["H1", "1h", "proton"])
def test_protons_may_be_spelled_in_any_way_for_peaks_too(spelling):
    assert analyze(PEAKS, nucleus=spelling).assessment is not None


def test_a_field_in_the_place_of_a_frequency_is_refused():
    acquisition = Acquisition(spectrometer_frequency_mhz=3.0, dwell_time_s=5e-4)
    fid = np.exp(-np.arange(64) / 20)[np.newaxis, np.newaxis, np.newaxis] + 0j

    with pytest.raises(SignalError, match="at 3 MHz water covers the metabolites"):
        analyze(Spectra(fid=fid, acquisition=acquisition))


def test_a_band_that_leaves_out_naa_is_refused_and_not_taken_for_a_brain_without_it():
    def made(width_hz):
        return phantom(
            "radiation_necrosis",
            np.random.default_rng(1),
            dwell_time_s=1 / width_hz,
            n_samples=512,
        )

    says = r"width of 500 Hz reaches from 2\.62 to 6\.68 ppm, which leaves out NAA"
    with pytest.raises(SignalError, match=says):
        analyze(made(500.0).data)
    assert "NAA/Cr" in analyze(made(700.0).data).ratios


@pytest.mark.parametrize("type_", [SpectralData, Spectra])
def test_another_nucleus_is_refused(type_):
    acquisition = Acquisition(
        spectrometer_frequency_mhz=49.9, dwell_time_s=5e-4, nucleus="31P"
    )  # fmt: skip
    fid = np.exp(-np.arange(64) / 10) * np.ones((1, 1, 1, 64), complex)

    with pytest.raises(MRSNecrosisError, match="31P"):
        analyze(type_(fid=fid, acquisition=acquisition))


def test_the_checksum_is_that_of_the_content(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")

    # FIPS 180-2, appendix B.1
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path) == sha256(path)
    with pytest.raises(FormatError, match="cannot be read"):
        sha256(tmp_path / "nowhere")


def test_progress_reaches_the_caller():
    seen = []
    made = phantom("radiation_necrosis", np.random.default_rng(0), grid=(2, 1, 1), snr=30.0)

    analyze(made.data, progress=lambda done, total: seen.append((done, total)))

    assert seen[-1] == (2, 2)


def test_provenance_names_versions_and_no_path(found):
    assert found.provenance["software"]["mrs_necrosis"] == mrs_necrosis.__version__
    assert found.provenance["software"]["numpy"] == np.__version__
    assert found.provenance["backend"] == found.fit.backend
    assert SPECTRUM not in document.to_json(found)


def test_the_same_acquisition_in_three_formats_gives_the_same_ratios(shared_data):
    # RAW and DPT hold no echo time
    same = {"echo_time_s": 0.03, "sequence": "PRESS"}
    found = [
        analyze(shared_data / path, **same)
        for path in (
            "philips_sdat/brain_3T_press30/philips_spar_sdat_WS.SDAT",
            "tarquin_dpt/brain_3T_press30/ws.dpt",
            "lcmodel/brain_3T_press30/data.raw",
        )
    ]

    for name in ("Cho/Cr", "NAA/Cr", "Cho/NAA"):
        first, *others = (float(analysis.ratios[name].value.item()) for analysis in found)
        assert others == pytest.approx([first, first], rel=1e-3)


def test_a_challenge_dataset_in_three_formats_gives_the_same_ratios(shared_data):
    folder = shared_data / "ismrm_challenge"
    known = {"dwell_time_s": 2.5e-4, "spectrometer_frequency_mhz": 123.22}
    # the text holds its water too; the same ratios are promised without it
    without = {"correct_eddy_currents": False}
    found = [
        analyze(folder / path, echo_time_s=0.03, sequence="PRESS", preprocessing=without, **given)
        for path, given in (
            ("jmrui/dataset1_WS.txt", {}),
            ("lcmodel/dataset1.RAW", known),
            ("text/dataset1.txt", known),
        )
    ]

    for name in ("Cho/Cr", "NAA/Cr", "Cho/NAA", "mI/Cr"):
        first, *others = (float(analysis.ratios[name].value.item()) for analysis in found)
        assert others == pytest.approx([first, first], rel=1e-3)


def test_lactate_over_creatine_does_not_depend_on_the_voxel(shared_data):
    found = {
        name: analyze(shared_data / f"ge_pfile/{name}_1.5T_030_2000.7").ratios["Lac/Cr"]
        for name in ("P1751", "P1806", "P1820", "P1834", "P1851", "P1904")
    }

    without_creatine = found.pop("P1904")
    values = np.array([one.value.item() for one in found.values()])
    sd = np.array([one.sd.item() for one in found.values()])
    mean = np.average(values, weights=1 / sd**2)
    # chi squared of 4 degrees of freedom: 13.3 is exceeded once in a hundred times
    assert (((values - mean) / sd) ** 2).sum() < 13.3
    assert mean == pytest.approx(1.0, abs=0.2)
    assert without_creatine.status.item() == "not-evaluable"
    assert np.isnan(without_creatine.value).all()


def test_a_phantom_without_creatine_says_that_nothing_is_detected(shared_data):
    found = analyze(shared_data / "ge_pfile/P1904_1.5T_030_2000.7")

    assert "Lac/Cr     neither Lac nor Cr detected" in summary(found)
    assert "no answer" not in summary(found)


def test_no_digit_depends_on_the_threads_of_the_algebra():
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(3)
    made = phantom("radiation_necrosis", rng, residual_water=5.0, baseline=0.3)
    found = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads, user_api="blas"):
            spectra = preprocess(made.data)
            found.append((spectra.fid, fit(spectra).areas.values))

    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_a_range_given_leaves_out_what_lies_beside_it():
    made = phantom("radiation_necrosis", np.random.default_rng(1), echo_time_s=0.03, snr=30.0)

    found = analyze(made.data, fit_range_ppm=(1.9, 4.0))

    assert "LL/Cr" not in found.ratios
    assert "Cho/Cr" in found.ratios
    assert found.provenance["parameters"]["fit_range_ppm"] == [1.9, 4.0]


def test_a_negative_area_without_an_error_is_refused_from_memory_too():
    with pytest.raises(ValueError, match="the area of Cho is -5; an area is a magnitude"):
        analyze(PeakAreas(("Cho", "Cr", "NAA"), [-5.0, 3.0, 4.0]))
    with pytest.raises(ValueError, match="an area cannot be infinite"):
        analyze({"Cho": np.inf, "Cr": 1.0})


def test_what_is_given_means_the_same_for_spectra_in_memory_as_for_their_file():
    path = sample_path("reference_case_te144.nii.gz")
    given = {"first_echo_time_s": 0.02, "sequence": "press", "reference_ppm": None}

    from_memory = analyze(read(path), **given).acquisition

    assert from_memory == analyze(path, **given).acquisition
    assert from_memory.echo_times_s == pytest.approx((0.02, 0.124))


def test_parts_of_another_echo_time_are_not_kept():
    data = read(sample_path("reference_case_te144.nii.gz"), first_echo_time_s=0.02)

    found = analyze(data, echo_time_s=0.1)

    assert found.acquisition.echo_times_s is None


def test_a_notebook_shows_the_ratios_and_the_words_of_the_assessment():
    found = analyze({"LL": 108964, "Cho": 33671, "Cr": 29534, "NAA": 31278}, label="<b>a</b>")

    html = found._repr_html_()

    assert "<td>Cho/Cr 1.14</td>" in html
    assert "<p>Necrosis-favoring: this spectrum favours radiation necrosis." in html
    assert "<ul><li>Cho/NAA 1.08, below 1.17" in html
    assert "&lt;b&gt;a&lt;/b&gt;" in html
    assert "<b>a" not in html
    assert found.assessment._repr_html_() in html


def test_a_notebook_shows_how_many_voxels_got_which_label():
    made = phantom("normal_white_matter", np.random.default_rng(1), grid=(2, 1, 1), snr=30.0)

    html = analyze(made.data, preprocessing={"find_mask": False})._repr_html_()

    assert "<td>2 not-evaluable</td>" in html


def test_a_field_stands_for_the_frequency_and_the_other_way_round(samples):
    spectrum = analyze(samples / "reference_case_te144.nii.gz", field_t=3.0, model="peaks")
    table = analyze(PEAKS, spectrometer_frequency_mhz=3 * 42.577478518)

    assert spectrum.acquisition.spectrometer_frequency_mhz == pytest.approx(127.73, abs=0.01)
    assert spectrum.fit.model.name == "peaks"
    assert table.field_t == pytest.approx(3.0)
