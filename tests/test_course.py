"""The course of a lesion as text, JSON, figure and page."""

import json
import re
import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pytest

import mrs_necrosis
from mrs_necrosis import analyze, cli
from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.cli.console import EXIT_BAD_INPUT, EXIT_OUTPUT, EXIT_USAGE
from mrs_necrosis.cli.followup import _measured
from mrs_necrosis.errors import FormatError
from mrs_necrosis.followup import (
    Date,
    FollowUp,
    Timeline,
    Treatment,
    Visit,
    followup,
    read_timeline,
)
from mrs_necrosis.io import write_nifti_mrs
from mrs_necrosis.report import course
from mrs_necrosis.simulation import phantom, sample_path

PEAKS = ("Cho", "Cr", "NAA")


def visit(date, values, **more):
    return Visit.of(date, PeakAreas(PEAKS, values, np.diag([0.05] * 3) ** 2), **more)


@pytest.fixture(scope="module")
def reference() -> FollowUp:
    return followup(read_timeline(sample_path("reference_case_timeline.toml")))


@pytest.fixture(scope="module")
def rising() -> FollowUp:
    visits = [visit("2013-01", [1.0, 1.0, 1.0]), visit("2013-07-14", [2.0, 1.0, 0.5])]
    return followup(visits, treatments=[Treatment(name="x", start=Date.parse("2013-02"))])


def test_the_summary_tells_the_course_and_the_limits(reference):
    words = course.summary(reference)

    assert "8 visits from August 2011 to March 2015, 1 of them with peak values" in words
    assert "Cho/Cr 1.14" in words
    assert "Not a diagnosis" in words
    assert max(map(len, words.splitlines())) <= 100


def test_the_json_holds_every_visit_treatment_and_change(reference, rising):
    document = json.loads(course.to_json(reference))
    assert [v["date"] for v in document["visits"]][2] == "2012-09"
    assert len(document["treatments"]) == 4
    assert document["treatments"][0]["end"] is None
    assert document["changes"] == []

    change = json.loads(course.to_json(rising))["changes"][0]
    assert change["ratio"] == "Cho/Cr"
    assert change["factor"] == pytest.approx(2.0)
    assert change["exceeds_error"] is True


def test_the_same_course_gives_the_same_bytes(reference):
    assert course.render(reference) == course.render(reference)


def test_the_page_has_figure_visits_and_changes(rising):
    html = course.render(rising)["followup.html"].decode()

    assert "<svg" in html
    assert "14 July 2013" in html
    row = r'<th scope="row" class="w">Cho/Cr</th>.*?2\.00.*?<td>yes</td>'
    assert re.search(row, html, flags=re.DOTALL)
    assert html.count("<th ") == html.count(" scope=")
    assert "not a medical device" in html
    assert not re.search(r"(src|href)=[\"'](?![#]|data:)", html)


def test_hostile_words_of_a_timeline_are_escaped():
    hostile = "<script>alert(1)</script>$_{$"
    seen = replace(visit("2013-01", [1, 1, 1], event=hostile), readings={"conclusion": hostile})
    told = Timeline(visits=(seen,), title=hostile, lesion=hostile, citation=hostile)
    found = followup(told, treatments=[Treatment(name=hostile, start=Date.parse("2013"))])

    contents = course.render(found)

    assert contents["followup.html"].count(b"&lt;script") >= 5
    assert b"<script" not in contents["followup.html"] + contents["timeline.svg"]


def test_an_absent_peak_is_drawn_as_a_bound():
    found = followup([visit("2013-01", [1.0, 1.0, 0.01]), visit("2013-02", [1.0, 0.01, 1.0])])

    html = course.render(found)["followup.html"].decode()

    assert "&lt; 0." in html
    assert "&gt; " in html


def test_an_absent_peak_is_not_drawn_as_measured():
    areas = PeakAreas(("NAA", "Cr"), [0.02, 1.0], np.diag([0.03, 0.03]) ** 2)
    found = followup([Visit(date=Date.parse("2013-01"), areas=areas)])

    axes = course.course_figure(found).axes[0]

    assert all(0.02 not in line.get_ydata() for line in axes.lines)


def test_the_axis_of_ratios_has_numbers(reference):
    axes = course.course_figure(reference).axes[0]

    assert len(axes.get_yticks()) >= 3


def test_the_intervals_of_one_visit_stand_side_by_side(rising):
    drawing = course.course_figure(rising)
    drawing.canvas.draw()

    upright = [
        line.get_transform().transform(line.get_xydata())[:, 0]
        for line in drawing.axes[0].lines
        if line.get_linewidth() == 1.4
    ]
    places = sorted({round(float(at[0]), 1) for at in upright})
    # three ratios at two visits, none on another, further apart than a point is wide
    assert len(upright) == len(places) == 6
    assert np.diff(places).min() >= 5 * drawing.dpi / 72


def test_visits_without_numbers_have_no_upper_panel():
    found = followup([Visit.of("2013-01", None), Visit.of("2013-05", None)])

    assert len(course.course_figure(found).axes) == 1


@pytest.mark.parametrize(
    ("dates", "tick"),
    [
        (("2013-01", "2013-07-14"), "2013-03"),
        (("2011", "2015"), "2013"),
        (("1990", "2010"), "2000"),
    ],
)
def test_the_axis_shows_dates(dates, tick):
    found = followup([visit(date, [1, 1, 1]) for date in dates])
    drawing = course.course_figure(found)

    assert tick in [label.get_text() for label in drawing.axes[-1].get_xticklabels()]


def test_the_first_visit_is_not_cut_by_the_axis(reference):
    bottom = course.course_figure(reference).axes[-1]

    first, last = bottom.get_xlim()
    years = [found.date.decimal_year for found in reference.visits]
    assert years[0] - first == pytest.approx(last - years[-1])
    assert years[0] - first > 0.03 * (last - first)


def test_the_command_does_not_follow_a_spectrum_of_no_use(capsys):
    poor, good = sample_path("too_poor_te144.nii.gz"), sample_path("reference_case_te144.nii.gz")

    assert cli.main(["followup", "--visit", "2020", str(poor), "--visit", "2021", str(good)]) == 0

    told = " ".join(capsys.readouterr().out.split())
    assert "2020: a spectrum that is not used, it failed the check" in told
    assert "Cho/Cr from 2020" not in told


def test_the_command_follows_files_and_tables(capsys, tmp_path):
    table = tmp_path / "later.toml"
    table.write_text("[peaks]\nCho = 40000\nCr = 29534\nNAA = 31278\n")
    timeline = str(sample_path("reference_case_timeline.toml"))

    code = cli.main(["followup", timeline, "--visit", "2014-06", str(table), "--reproducibility",
                     "Cho/Cr=0.1", "--out", str(tmp_path / "out")])  # fmt: skip

    assert code == 0
    assert "9 visits" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"followup.json", "followup.html", "timeline.svg", "timeline.png"}
    again = ["followup", timeline, "--out", str(tmp_path / "out")]
    assert cli.main(again) == EXIT_OUTPUT
    assert cli.main([*again, "--overwrite"]) == 0


def test_a_timeline_may_name_the_files_of_its_spectra(capsys, tmp_path):
    for name in ("recurrence_te144.nii.gz", "reference_case_te144.nii.gz"):
        shutil.copy(sample_path(name), tmp_path / name)
    timeline = tmp_path / "course.toml"
    timeline.write_text(
        "lesion = 'left parietal'\n"
        "[[visits]]\ndate = '2012-09'\ninput = 'reference_case_te144.nii.gz'\nevent = 'oedema'\n"
        "[[visits]]\ndate = '2012-12'\ninput = 'recurrence_te144.nii.gz'\n"
    )

    code = cli.main(["followup", str(timeline)])

    assert code == 0
    words = " ".join(capsys.readouterr().out.split())
    assert words.startswith("left parietal - 2 visits")
    assert "September 2012 (oedema): Cho/Cr 1.1" in words
    assert "Cho/Cr from September 2012 to December 2012: up by" in words
    with pytest.raises(ValueError, match="spectra of September 2012 are not analysed yet"):
        followup(read_timeline(timeline))
    timeline.write_text("[[visits]]\ndate = '2012'\ninput = 'a.rda'\npeaks = { Cho = 1 }\n")
    with pytest.raises(FormatError, match="visit 1 has peaks and an input: give one of them"):
        read_timeline(timeline)


def test_a_timeline_says_what_its_files_do_not(tmp_path, monkeypatch):
    made = phantom("radiation_necrosis", np.random.default_rng(1), sequence="STEAM").data
    unsaid = replace(made.acquisition, sequence=None, manufacturer=None)
    write_nifti_mrs(tmp_path / "a.nii.gz", replace(made, acquisition=unsaid))
    (tmp_path / "b.csv").write_text("peak,area\nCho,1\nCr,1\n")
    timeline = tmp_path / "timeline.toml"
    timeline.write_text("".join(
        f"[[visits]]\ndate = '{date}'\ninput = '{name}'\n"
        "sequence = 'STEAM'\nmanufacturer = 'GE'\nfield_t = 3.0\n"
        for date, name in (("2012-09", "a.nii.gz"), ("2012-12", "b.csv"))
    ))  # fmt: skip
    fitted = []
    monkeypatch.setattr(mrs_necrosis, "analyze", lambda *a, **k: fitted.append(analyze(*a, **k))
                        or fitted[-1])  # fmt: skip

    visits = [_measured(None, visit) for visit in read_timeline(timeline).visits]

    assert fitted[0].acquisition.sequence == "STEAM"  # which is how its spins were fitted
    assert {(visit.sequence, visit.manufacturer) for visit in visits} == {("STEAM", "GE")}
    assert [visit.field_t for visit in visits] == [pytest.approx(123.2 / 42.577, abs=1e-3), 3.0]


def grid_visits(folder, *masks):
    """Write a timeline of one grid whose first voxel of three is all tumour."""
    areas = PeakAreas(("Cho", "Cr", "NAA"), [[[[3.0, 1.0, 0.5]]], [[[1.0, 1.0, 1.5]]]] * 2)
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    made = phantom(areas, np.random.default_rng(3), grid=(4, 1, 1), snr=60.0, echo_time_s=0.144,
                   affine=affine).data  # fmt: skip
    write_nifti_mrs(folder / "grid.nii.gz", made)
    lines = []
    for at, mask in enumerate(masks):
        lines += ["[[visits]]", f"date = '202{at}'", "input = 'grid.nii.gz'"]
        if mask is not None:
            volume = np.zeros((4, 1, 1), dtype=np.uint8)
            volume[mask] = 1
            nibabel.save(nibabel.Nifti1Image(volume, affine), folder / f"lesion{at}.nii.gz")
            lines.append(f"lesion_mask = 'lesion{at}.nii.gz'")
    (folder / "timeline.toml").write_text("\n".join(lines))
    return folder / "timeline.toml"


def test_a_grid_of_a_timeline_is_added_up_over_its_lesion(tmp_path, capsys):
    timeline = grid_visits(tmp_path, [0, 2], [1, 3])

    assert cli.main(["followup", str(timeline), "--out", str(tmp_path / "out")]) == 0

    said = capsys.readouterr().err
    assert said.count("its mask holds 2 separate lesions, which were added up: a course") == 2
    assert "note: the visit of 2020: its mask" in said
    found = json.loads((tmp_path / "out" / "followup.json").read_text())
    values = [point["value"] for point in found["points"] if point["ratio"] == "Cho/Cr"]
    # the ratios are those of the two tissues that the phantom was made of
    assert values == [pytest.approx(3.0, rel=0.1), pytest.approx(1.0, rel=0.1)]


@pytest.mark.parametrize(
    ("mask", "code", "message"),
    [
        (None, EXIT_USAGE, "needs its lesion: name a lesion_mask in a timeline"),
        ([], EXIT_BAD_INPUT, "grid.nii.gz: no voxel of its lesion"),
    ],
)
def test_a_grid_without_a_lesion_is_refused(tmp_path, capsys, mask, code, message):
    timeline = grid_visits(tmp_path, mask)

    assert cli.main(["followup", str(timeline)]) == code
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_word_of_a_timeline_that_is_no_sequence_is_refused(tmp_path, capsys):
    timeline = tmp_path / "timeline.toml"
    timeline.write_text(
        f"[[visits]]\ndate = '2012-09'\ninput = '{sample_path('reference_case_te144.nii.gz')}'\n"
        "sequence = 'single voxel, long'\n"
    )

    assert cli.main(["followup", str(timeline)]) == EXIT_USAGE
    assert "the visit of September 2012: sequence must be a name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], EXIT_USAGE, "give a timeline"),
        (["--visit", "soon", "Cho=1 Cr=1"], EXIT_USAGE, "a date is written"),
        (["--visit", "2012", "nowhere.rda"], EXIT_BAD_INPUT, "does not exist"),
        (["nowhere.toml"], EXIT_BAD_INPUT, "nowhere.toml"),
        (
            ["--visit", "2012", "Cho=1 Cr=1", "--reproducibility", "Cho/Cr"],
            EXIT_USAGE,
            "0",
        ),
    ],
)
def test_a_wrong_course_is_refused(capsys, arguments, code, message):
    assert cli.main(["followup", *arguments]) == code
    assert message in capsys.readouterr().err
