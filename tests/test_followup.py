"""The course of a lesion: changes with errors, guards, timeline files, words."""

import datetime
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.errors import FormatError
from mrs_necrosis.followup import Date, Treatment, Visit, followup, read_timeline
from mrs_necrosis.ratios import ratio
from mrs_necrosis.spectra import Acquisition

PEAKS = ("LL", "Cho", "Cr", "NAA")
SNAPSHOTS = Path(__file__).parent / "snapshots"
SAME = {
    "echo_time_s": 0.144,
    "field_t": 3.0,
    "sequence": "PRESS",
    "manufacturer": "Siemens",
    "affine": np.diag([20.0, 20.0, 20.0, 1.0]),
}


def visit(date, values, cv=0.04, **known):
    values = np.array(values, dtype=float)
    covariance = None if cv is None else np.diag((cv * values) ** 2)
    return Visit(date=Date.parse(date), areas=PeakAreas(PEAKS, values, covariance), **known)


def change(course, name, which=0):
    return [one for one in course.changes if one.ratio == name][which]


FIRST, SECOND = [3.6, 1.14, 1.0, 1.06], [2.6, 1.6, 1.0, 0.7]


def test_a_change_is_the_quotient_of_the_two_ratios():
    course = followup([visit("2012-09", FIRST, **SAME), visit("2012-12", SECOND, **SAME)])

    found = change(course, "Cho/Cr")

    assert found.factor == pytest.approx(1.6 / 1.14)
    # four peaks with 4 % each: the log-factor has an sd of 8 %
    assert np.log(found.interval) == pytest.approx(
        np.log(1.6 / 1.14) + 1.96 * 0.08 * np.array([-1, 1]), abs=1e-4
    )
    assert found.exceeds_error


def test_stable_lesions_exceed_their_error_as_rarely_as_the_level_says():
    rng = np.random.default_rng(0)
    cv, n = 0.05, 2000
    exceeded = 0
    for _ in range(n):
        noisy = np.array(FIRST) * (1 + cv * rng.standard_normal((2, 4)))
        course = followup(
            [visit("2012", noisy[0], cv), visit("2013", noisy[1], cv)], ratios=["Cho/Cr"]
        )
        exceeded += change(course, "Cho/Cr").exceeds_error

    # binomial: 5 % of 2000 is 100 with an sd of 9.7; first order in cv costs little
    assert 70 <= exceeded <= 130


def test_the_interval_of_a_factor_is_one_of_factors():
    visits = [visit("2012-09", FIRST, **SAME), visit("2012-12", [3.6, 5.0, 1.0, 1.06], **SAME)]

    found = change(followup(visits), "Cho/Cr")

    low, high = found.interval
    words = f"{found.factor:.1f} times as high (95 % interval {low:.1f} to {high:.1f}), more than"
    assert words in found.sentence


def test_an_interval_that_ends_at_no_change_has_no_minus_zero():
    areas = PeakAreas(("Cho", "NAA"), [3.0, 1.0], np.eye(2) * 0.01)
    higher = PeakAreas(("Cho", "NAA"), [4.0, 1.0], np.eye(2) * 0.01)

    course = followup([Visit.of("2024-03", areas), Visit.of("2024-05", higher)])

    assert "Cho/NAA from March 2024 to May 2024: up by 33 % (95 % interval 0 % to +78 %)" in str(
        course
    )


def test_day_to_day_scatter_makes_a_change_less_certain():
    visits = [visit("2012-09", FIRST, **SAME), visit("2012-12", [3.6, 1.4, 1.0, 1.06], **SAME)]

    found = change(followup(visits, reproducibility={"Cho/Cr": 0.15}), "Cho/Cr")

    assert found.exceeds_error
    assert found.exceeds_reproducibility is False
    assert "not more than day-to-day scatter" in found.sentence
    assert change(followup(visits), "Cho/Cr").exceeds_reproducibility is None


@pytest.mark.parametrize(
    ("peaks", "message"),
    [
        ("TE = 144, Cho = 3, Cr = 2", "visit 1: peaks has TE, which is the echo time and no peak"),
        ("'Cho/Cr' = 1.4", "visit 1: peaks has ratios where peaks are needed"),
    ],
)
def test_what_is_no_peak_of_a_visit_is_refused(tmp_path, peaks, message):
    timeline = tmp_path / "timeline.toml"
    timeline.write_text(f"[[visits]]\ndate = '2012'\npeaks = {{ {peaks} }}\n")

    with pytest.raises(FormatError, match=message):
        read_timeline(timeline)


def test_a_peak_that_is_not_reported_is_not_among_the_peaks(tmp_path):
    timeline = tmp_path / "timeline.toml"
    timeline.write_text(
        "[[visits]]\ndate = '2012'\n"
        "peaks = { LL = 'not reported', Cho = 3, Cr = 2, NAA = nan }\n"
        "peaks_sd = { LL = nan, Cho = 0.1, Cr = 0.1 }\n"
        "[[visits]]\ndate = '2013'\npeaks = { LL = 'not reported' }\n"
    )

    first, second = read_timeline(timeline).visits

    assert first.areas.names == ("Cho", "Cr")
    assert first.areas.covariance is not None
    assert not second.is_measured


def test_peaks_of_a_visit_may_have_the_names_of_consoles(tmp_path):
    timeline = tmp_path / "timeline.toml"
    timeline.write_text("[[visits]]\ndate = '2012'\npeaks = { Choline = 3, tCr = 2 }\n")

    assert read_timeline(timeline).visits[0].areas.names == ("Cho", "Cr")


def test_the_same_measurement_twice_is_noticed():
    twice = followup([visit("2012-09", FIRST), visit("2013-01", FIRST)])
    close = followup([visit("2012-09", FIRST), visit("2013-01", [3.61, *FIRST[1:]])])

    question = "values of January 2013 are exactly those of September 2012: is it the same"
    assert question in " ".join(twice.sentences)
    assert "exactly those" not in " ".join(close.sentences)


@settings(deadline=None)
@given(st.floats(1e-3, 1e3))
def test_a_change_does_not_depend_on_the_unit_of_either_visit(scale):
    visits = [visit("2012-09", FIRST), visit("2012-12", SECOND)]
    scaled = [visits[0], visit("2012-12", np.array(SECOND) * scale)]

    assert change(followup(scaled), "LL/Cr").factor == pytest.approx(
        change(followup(visits), "LL/Cr").factor
    )


def test_visits_without_errors_give_a_factor_and_no_verdict():
    found = change(followup([visit("2012", FIRST, None), visit("2013", SECOND, None)]), "Cho/Cr")

    assert found.factor == pytest.approx(1.6 / 1.14)
    assert found.interval is None
    assert found.exceeds_error is None
    assert "no error is reported" in found.sentence


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"echo_time_s": 0.03}, r"echo times differ \(144 ms and 30 ms\)"),
        ({"field_t": 1.5}, r"field strengths differ \(3 T and 1.5 T\)"),
        ({"sequence": "STEAM"}, "sequences differ"),
        ({"manufacturer": "Philips"}, "scanners differ"),
        ({"affine": np.diag([15.0, 15.0, 15.0, 1.0])}, r"differ in size \(8.0 and 3.4 mL\)"),
        (
            {"affine": np.array([[20.0, 0, 0, 9], [0, 20, 0, 0], [0, 0, 20, 0], [0, 0, 0, 1]])},
            "9 mm apart",
        ),
    ],
    ids=["echo time", "field", "sequence", "scanner", "size", "place"],
)
def test_what_cannot_be_compared_is_not(other, reason):
    course = followup([visit("2012-09", FIRST, **SAME), visit("2012-12", SECOND, **SAME | other)])

    found = change(course, "Cho/Cr")

    assert found.factor is None
    assert found.interval is None
    assert any(re.search(reason, text) for text in found.obstacles)
    assert "not compared" in str(course)


def test_small_differences_are_no_obstacle():
    close = SAME | {"echo_time_s": 0.140, "field_t": 2.89, "sequence": "press"}

    course = followup([visit("2012-09", FIRST, **SAME), visit("2012-12", SECOND, **close)])

    assert change(course, "Cho/Cr").obstacles == ()


def test_what_is_unknown_is_compared_and_said():
    course = followup([visit("2012-09", FIRST), visit("2012-12", SECOND)])

    assert change(course, "Cho/Cr").factor is not None
    assert "Not known to be the same at all visits: echo times" in str(course)


def test_ll_needs_an_echo_time_of_both_or_of_neither():
    course = followup([visit("2012-09", FIRST, echo_time_s=0.03), visit("2012-12", SECOND)])

    assert change(course, "Cho/Cr").factor is not None
    assert change(course, "LL/Cr").factor is None
    neither = followup([visit("2012-09", FIRST), visit("2012-12", SECOND)])
    assert change(neither, "LL/Cr").factor == pytest.approx(2.6 / 3.6)


def test_heights_are_not_compared_with_areas():
    heights = Visit(date=Date(2013), areas=PeakAreas(PEAKS, SECOND, quantity="height"))

    found = change(followup([visit("2012", FIRST, None), heights]), "Cho/Cr")

    assert found.obstacles == ("one is area and the other height",)


def test_a_peak_that_vanishes_gives_a_bound_of_the_change():
    sd = 0.05
    gone = Visit(date=Date(2013), areas=PeakAreas(PEAKS, [3.6, 0.05, 1, 1], np.eye(4) * sd**2))
    course = followup([visit("2012", FIRST), gone])

    found = change(course, "Cho/Cr")

    assert found.factor is None
    assert found.interval[0] == 0
    # below (0.05 + 1.645 * 0.05) against 1.14 less its own error
    assert 0.10 < found.interval[1] < 0.16
    assert found.exceeds_error
    assert "not detected" in found.sentence
    point = course.series("Cho/Cr")[1]
    assert point.status == "below-detection"
    assert point.lower is None
    assert point.upper < 0.16


def test_the_bound_of_an_absent_peak_is_of_the_level_that_was_asked_for():
    gone = Visit(date=Date(2013), areas=PeakAreas(PEAKS, [3.6, 0.05, 1, 1], np.eye(4) * 0.05**2))
    bound = ratio(gone.areas, "Cho", "Cr").bound

    course = followup([visit("2012", FIRST), gone], level=0.99)

    assert course.series("Cho/Cr")[1].upper == pytest.approx(bound(0.99).item())
    least = 1.14 * np.exp(-2.5758 * np.hypot(0.04, 0.04))
    most = change(course, "Cho/Cr").interval[1]
    assert most == pytest.approx(bound(0.99).item() / least, rel=1e-3)


@pytest.mark.parametrize("appears", [True, False])
def test_a_bound_of_the_change_lies_between_the_far_ends_of_both_visits(appears):
    there = visit("2013-01", FIRST, **SAME)
    absent = Visit(
        date=Date.parse("2013-02" if not appears else "2012-12"),
        areas=PeakAreas(PEAKS, [0.05, 1.14, 1.0, 1.06], np.diag([0.05, 0.04, 0.04, 0.04]) ** 2),
        **SAME,
    )

    found = change(followup([there, absent]), "LL/Cr")

    bound = ratio(absent.areas, "LL", "Cr").bound().item()
    log_sd = np.hypot(0.04, 0.04)
    least = 3.6 * np.exp(-1.96 * log_sd) / bound  # a peak that appears grew at least by this
    if appears:
        assert found.interval == pytest.approx((least, np.inf), rel=1e-3)
    else:
        assert found.interval == pytest.approx((0.0, 1 / least), rel=1e-3)


@pytest.mark.parametrize(("cv", "is_beyond"), [(0.08, True), (0.10, False)])
def test_both_visits_have_the_day_to_day_scatter(cv, is_beyond):
    visits = [visit("2012-09", FIRST, 0.001, **SAME),
              visit("2012-12", [3.6, 1.14 * 1.27, 1.0, 1.06], 0.001, **SAME)]  # fmt: skip

    found = change(followup(visits, reproducibility={"Cho/Cr": cv}), "Cho/Cr")

    # ln 1.27 is 0.239; 1.96 sqrt(2) times the scatter is 0.222 and 0.277
    assert found.exceeds_reproducibility is is_beyond


@pytest.mark.parametrize("appears", [True, False])
@pytest.mark.parametrize(("cv", "is_beyond"), [(0.1, True), (2.0, False)])
def test_a_peak_that_comes_or_goes_is_held_against_the_scatter_too(appears, cv, is_beyond):
    gone = PeakAreas(PEAKS, [3.6, 0.01, 1.0, 1.06], np.eye(4) * 0.01**2)
    there = PeakAreas(PEAKS, FIRST, np.eye(4) * 0.01**2)
    order = (gone, there) if appears else (there, gone)
    visits = [Visit(date=Date(2012 + i), areas=areas) for i, areas in enumerate(order)]

    found = change(followup(visits, reproducibility={"Cho/Cr": cv}), "Cho/Cr")

    assert found.exceeds_error
    assert found.exceeds_reproducibility is is_beyond


def test_a_ratio_that_the_data_bound_on_no_side_says_so():
    # detected, and at this level compatible with no creatine at all
    areas = PeakAreas(PEAKS, [3.6, 1.0, 0.31, 1.06], np.eye(4) * 0.1**2)

    course = followup([Visit(date=Date(2012), areas=areas)], level=0.999)

    assert "Cho/Cr 3.23 (unbounded)" in str(course)
    assert course.series("Cho/Cr")[0].lower == -np.inf


def test_a_lesion_outlined_at_each_visit_may_lie_elsewhere():
    grid = PeakAreas(PEAKS, np.array([[[FIRST]]]), np.eye(4)[None, None, None] * 0.01)
    moved = SAME["affine"] + np.array([[0, 0, 0, 50.0]] + [[0] * 4] * 3)
    here, there = (
        Visit(date=Date(2012 + i), areas=grid, mask=np.ones((1, 1, 1), dtype=bool),
              **{**SAME, "affine": affine})
        for i, affine in enumerate((SAME["affine"], moved))
    )  # fmt: skip

    assert change(followup([here, there]), "Cho/Cr").obstacles == ()


def test_two_absent_peaks_give_no_answer():
    gone = PeakAreas(PEAKS, [3.6, 0.05, 0.05, 1], np.eye(4) * 0.05**2)

    found = change(followup([visit("2012", FIRST), Visit(date=Date(2013), areas=gone)]), "Cho/Cr")

    assert found.factor is None
    assert found.interval is None
    assert "no answer" in found.sentence


def test_each_visit_is_compared_with_the_first_and_the_one_before():
    course = followup([visit(year, FIRST) for year in ("2014", "2012", "2013")])

    pairs = [(one.before.year, one.after.year) for one in course.changes if one.ratio == "Cho/Cr"]
    assert pairs == [(2012, 2013), (2012, 2014), (2013, 2014)]


def test_treatments_are_told_in_the_order_of_time():
    late, early = (
        Treatment(name=n, start=Date.parse(d)) for n, d in (("b", "2013"), ("a", "2012"))
    )

    course = followup([visit("2014", FIRST)], treatments=[late, early])

    assert course.treatments == (early, late)


def test_two_visits_of_one_date_keep_their_own_values():
    course = followup([
        visit("2012-09", [3.6, 1.0, 1.0, 1.0]), visit("2012-09", [3.6, 2.0, 1.0, 1.0]),
        visit("2013-01", [3.6, 3.0, 1.0, 1.0]),
    ])  # fmt: skip

    told = {one.visit: round(one.value, 6) for one in course.series("Cho/Cr")}
    first, second = (text for text in course.sentences if text.startswith("September 2012"))
    assert told == {1: 1.0, 2: 2.0, 3: 3.0}
    assert "Cho/Cr 1.00" in first
    assert "Cho/Cr 2.00" not in first
    assert "Cho/Cr 2.00" in second
    assert "Cho/Cr 1.00" not in second
    assert any("from September 2012 (visit 2) to January 2013 (visit 3)" in text
               for text in course.sentences)  # fmt: skip
    assert (
        "Which of the visits of September 2012 came first is not known; this order is assumed."
        in course.sentences
    )


@pytest.mark.parametrize(
    ("before", "after", "is_after"),
    [
        ("2020-06", "2020-07", True), ("2021-02", "2021-03", True), ("2020-12", "2021-01", True),
        ("2020-12-31", "2021-01-01", True), ("2020", "2021", True), ("2020", "2020-12", False),
        ("2020-02-29", "2020-03", True), ("2020-07", "2020-07-01", False),
    ],
)  # fmt: skip
def test_what_begins_where_the_other_ends_is_surely_after_it(before, after, is_after):
    assert Date.parse(after).surely_after(Date.parse(before)) is is_after


def test_a_spectrum_that_failed_its_checks_is_not_compared():
    course = followup([
        visit("2012-09", FIRST, **SAME), visit("2012-12", SECOND, problems=("snr", "fit"), **SAME),
        visit("2013-03", SECOND, **SAME),
    ])  # fmt: skip

    assert {str(one.after) for one in course.changes} == {"March 2013"}
    assert [point.visit for point in course.series("Cho/Cr")] == [1, 3]
    assert (
        "December 2012: a spectrum that is not used, it failed the checks of snr and fit."
        in course.sentences
    )


def test_two_scanners_of_one_manufacturer_are_not_said_to_be_one():
    course = followup([visit("2012-09", FIRST, **SAME), visit("2012-12", SECOND, **SAME)])

    assert change(course, "Cho/Cr").obstacles == ()
    assert change(course, "Cho/Cr").unknowns == ("scanners (of one manufacturer)",)


def test_voxels_of_another_size_are_not_compared():
    known = {name: value for name, value in SAME.items() if name != "affine"}

    course = followup([
        visit("2012-09", FIRST, volume_ml=8.0, **known),
        visit("2012-12", SECOND, volume_ml=1.0, **known),
    ])  # fmt: skip

    assert change(course, "Cho/Cr").obstacles == ("the voxels differ in size (8.0 and 1.0 mL)",)


def test_a_year_that_holds_the_other_visit_leaves_the_order_open():
    course = followup([visit("2013-02", FIRST), visit("2013", SECOND)])

    assert any("visits of February 2013 and 2013 came first" in text for text in course.sentences)


@pytest.mark.parametrize(
    ("start", "end", "date", "said"),
    [
        ("2012-02", None, "2012-09", "September 2012, 7 months after CyberKnife:"),
        ("2011-12", "2012-02", "2013-03", "March 2013, 13 months after CyberKnife:"),
        ("2012-02-20", None, "2012-03-19", "19 March 2012, less than a month after CyberKnife:"),
        ("2012-02-20", None, "2012-03-20", "20 March 2012, 1 month after CyberKnife:"),
        ("2012", None, "2013-03", "March 2013:"),  # between 2 and 14 months
        ("2012-02", None, "2012-02", "February 2012:"),  # which came first is open
        ("2012-09", None, "2012-03", "March 2012:"),
    ],
)
def test_a_visit_says_how_long_after_irradiation_it_was(start, end, date, said):
    beam = Treatment(name="CyberKnife", kind="radiosurgery", start=Date.parse(start),
                     end=None if end is None else Date.parse(end))  # fmt: skip
    drug = Treatment(name="bevacizumab", kind="antiangiogenic", start=Date.parse("2011-01"))

    course = followup([visit(date, FIRST)], treatments=[drug, beam])

    assert any(sentence.startswith(said) for sentence in course.sentences)


def test_the_last_irradiation_before_a_visit_counts():
    treatments = [
        Treatment(name=name, kind="radiotherapy", start=Date.parse(start))
        for name, start in (("first", "2011-01"), ("second", "2012-01"), ("third", "2013-01"))
    ]

    course = followup([visit("2012-03", FIRST)], treatments=treatments)

    assert any(text.startswith("March 2012, 2 months after second:") for text in course.sentences)


def test_a_grid_is_added_up_over_the_lesion():
    values = np.array([[FIRST, SECOND], [[9, 9, 9, 9], [np.nan] * 4]]).reshape(2, 2, 1, 4)
    covariance = np.broadcast_to(np.eye(4) * 0.01, (2, 2, 1, 4, 4))
    mask = np.array([[True, True], [False, True]]).reshape(2, 2, 1)

    found = Visit(date=Date(2012), areas=PeakAreas(PEAKS, values, covariance), mask=mask)

    np.testing.assert_allclose(found.areas.values, np.add(FIRST, SECOND))
    np.testing.assert_allclose(found.areas.covariance, np.eye(4) * 0.02)
    with pytest.raises(ValueError, match="needs a mask"):
        Visit(date=Date(2012), areas=PeakAreas(PEAKS, values))
    with pytest.raises(ValueError, match="hold a voxel"):
        Visit(date=Date(2012), areas=PeakAreas(PEAKS, values), mask=np.zeros((2, 2, 1)))


def test_a_grid_takes_the_words_of_its_visit():
    values = np.array([FIRST, SECOND]).reshape(2, 1, 1, 4)
    mask = np.array([True, False]).reshape(2, 1, 1)
    made = Visit(date=Date(2012), areas=PeakAreas(PEAKS, values), mask=mask)

    found = Visit(date=Date(2013), event="headache").measured(made)

    np.testing.assert_allclose(found.areas.values, FIRST)
    assert (found.date, found.event) == (Date(2013), "headache")


def test_a_visit_knows_what_its_acquisition_says():
    acquisition = Acquisition(
        spectrometer_frequency_mhz=123.2, dwell_time_s=5e-4, echo_time_s=0.03, sequence="PRESS",
        manufacturer="GE",
    )  # fmt: skip

    found = Visit.of("2012-09-03", None, acquisition=acquisition)

    assert (found.echo_time_s, found.sequence, found.manufacturer) == (0.03, "PRESS", "GE")
    assert found.field_t == pytest.approx(2.894, abs=1e-3)
    assert found.date == Date(2012, 9, 3)


@pytest.mark.parametrize(
    "text", ["", "12-09", "2012-13", "2012-02-30", "2012-00", "1.9.2012", 2012]
)
def test_dates_that_do_not_exist_are_refused(text):
    with pytest.raises(ValueError, match="a date is written"):
        Date.parse(text)


@settings(deadline=None)
@given(st.dates(min_value=datetime.date(1900, 1, 1),
                max_value=datetime.date(2200, 12, 31)))  # fmt: skip
def test_a_day_lies_inside_its_month_and_its_year(day):
    date = Date.parse(day.isoformat())

    assert date.year <= date.decimal_year < date.year + 1
    assert not Date(day.year, day.month).surely_after(date)
    assert not date.surely_after(Date(day.year, day.month))


def test_after_bevacizumab_a_fall_of_choline_is_not_taken_for_success():
    treatment = Treatment(name="bevacizumab", start=Date(2012, 10), kind="antiangiogenic")
    visits = [visit("2012-09", FIRST), visit("2012-12", SECOND)]

    assert "choline falls in tumour too" in str(followup(visits, treatments=[treatment]))
    assert "The spectrum of December 2012 was" in str(followup(visits, treatments=[treatment]))
    assert "choline falls" not in str(followup(visits))


# ---- the reference case ------------------------------------------------------------------------


def test_the_course_of_the_reference_case_holds_what_is_reported_and_no_more(samples):
    timeline = read_timeline(samples / "reference_case_timeline.toml")
    course = followup(timeline)

    assert [str(one.date) for one in course.visits if one.areas is not None] == ["September 2012"]
    assert len(course.visits) == 8
    point = course.series("Cho/Cr")[0]
    assert point.value == pytest.approx(1.14008, abs=1e-5)
    assert point.lower is None
    assert course.visits[2].echo_time_s is None
    assert [one.details.get("cycles") for one in course.treatments] == [None, None, 10, 7]
    assert course.treatments[0].end is None
    assert course.changes == ()
    assert "no change of a ratio can be given" in str(course)


def courses(samples):
    timeline = read_timeline(samples / "reference_case_timeline.toml")
    moved = SAME | {"echo_time_s": 0.03}
    return {
        "reference": followup(timeline),
        "invented": followup(
            [visit("2012-09-14", FIRST, **SAME), visit("2012-12", SECOND, **SAME),
             visit("2013-03", [1.2, 1.5, 1, 0.72], **moved)],
            treatments=timeline.treatments[2:3], reproducibility={"Cho/Cr": 0.1},
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["reference", "invented"])
def test_the_words_of_a_course_are_those_that_a_person_has_read(name, samples):
    text = "\n".join(courses(samples)[name].sentences) + "\n"

    assert text == (SNAPSHOTS / f"course_{name}.txt").read_text(encoding="utf-8")
    assert "diagnos" not in text.lower()


# ---- timeline files ----------------------------------------------------------------------------

GOOD = """title = "a case"
[[visits]]
date = "2012-09"
peaks = { LL = 3.0, Cho = 1.2, Cr = 1.0 }
peaks_sd = { LL = 0.1, Cho = 0.1, Cr = 0.1 }
echo_time_ms = 30
[[treatments]]
name = "bevacizumab"
start = "2012-09"
end = "not reported"
"""


def test_a_timeline_file_is_read(tmp_path):
    path = tmp_path / "case.toml"
    path.write_text(GOOD)

    found = read_timeline(path)

    assert found.visits[0].areas.covariance[0, 0] == pytest.approx(0.01)
    assert found.visits[0].echo_time_s == pytest.approx(0.03)
    assert found.treatments[0].end is None


def test_a_printed_ll_at_144_ms_is_net(tmp_path):
    path = tmp_path / "case.toml"
    path.write_text(GOOD.replace("echo_time_ms = 30", "echo_time_ms = 144"))

    assert read_timeline(path).visits[0].areas.names == ("LL_net", "Cho", "Cr")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('date = "2012-09"\n', "", "visit 1 has no date"),
        ('"2012-09"\npeaks', '"Sept 2012"\npeaks', "visit 1: a date is written"),
        ("echo_time_ms = 30", "echo_time_ms = -1", "visit 1: echo_time_ms must be a number"),
        ("echo_time_ms = 30", "echo_tim = 30", "visit 1 has an unknown key 'echo_tim'"),
        ("Cho = 1.2", 'Cho = "much"', "visit 1: peaks must be a table of numbers"),
        ("Cho = 1.2", "Cho = -1.2", "visit 1: the area of Cho is -1.2"),
        ("LL = 0.1, Cho", "Cho", "a standard deviation for each peak"),
        ('name = "bevacizumab"\n', "", "treatment 1: a treatment needs a name"),
        ('end = "not reported"', 'end = "2011"', "ends .2011. before it starts"),
        ('end = "not', 'target = 3\nend = "not', "treatment 1: target must be text; got 3"),
        ('end = "not', 'dose_gy = "36"\nend = "not', "dose_gy must be a number from 0 to 1000 or"),
        ('end = "not', 'dose_gy = [36]\nend = "not', "dose_gy must be a number from 0 to 1000 or"),
        ('end = "not', 'cycles = -1\nend = "not', "treatment 1: cycles must be a number from 0"),
        ('end = "not', 'interval_weeks = [3, "4"]\nend = "not', "interval_weeks must be a number"),
        ('title = "a case"', "title = 7", "title must be text"),
        ("[[treatments]]", "[treatments]", r"written as \[\[treatments\]\]"),
        ('title = "a case"', "title = ", "not a TOML timeline"),
    ],
    ids=range(17),
)
def test_a_malformed_timeline_is_refused_with_the_reason(tmp_path, old, new, reason):
    path = tmp_path / "case.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))

    with pytest.raises(FormatError, match=reason):
        read_timeline(path)


def test_a_timeline_without_visits_or_without_a_file_is_refused(tmp_path):
    path = tmp_path / "case.toml"
    with pytest.raises(FormatError, match="cannot be read"):
        read_timeline(path)
    path.write_text('title = "empty"\n')
    with pytest.raises(FormatError, match=r"needs \[\[visits\]\]"):
        read_timeline(path)
    with pytest.raises(ValueError, match="at least one visit"):
        followup([])


def test_a_date_is_taken_as_python_has_it():
    day = datetime.date(2012, 9, 14)

    assert Visit(date=day).date == Visit(date="2012-09-14").date == Date(2012, 9, 14)
    with pytest.raises(ValueError, match="a date is written 2012, 2012-09 or 2012-09-14"):
        Visit(date="yesterday")


def test_the_last_day_of_a_leap_year_is_of_that_year():
    assert 2012.99 < Date.parse("2012-12-31").decimal_year < 2013.0


def test_a_fat_saturated_visit_is_not_compared_with_one_that_is_not():
    areas = PeakAreas(("Cho", "Cr", "LL"), [3.0, 2.0, 4.0], np.diag([0.01] * 3))
    given = {"spectrometer_frequency_mhz": 123.2, "dwell_time_s": 5e-4, "nucleus": "1H"}
    plain, saturated = (
        Acquisition(**given, echo_time_s=0.03, fat_saturated=one) for one in (None, True)
    )
    visits = [
        Visit.of("2024-03", areas, acquisition=plain),
        Visit.of("2024-05", areas, acquisition=saturated),
    ]

    assert "the fat saturations differ" in str(followup(visits))
