"""Criteria: the shipped entries, what a user may change, and what is refused."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrs_necrosis.criteria import AppliesTo, Comparison, load_criteria, parse_expression, te_class
from mrs_necrosis.errors import FormatError

GOOD = """schema = 1

[[criterion]]
id = "mine"
label = "Mine 2026"
citation = "Mine et al. 2026"
expression = "Cho/Cr"
comparator = ">"
cutoff = 1.3
side = "recurrence"
family = "Cho/Cr"
counts = [8, 2, 9, 1]
counts_basis = "reported"
verified = { cutoff = true }
enabled = true
"""


def by_id(path=None):
    return {one.id: one for one in load_criteria(path)}


def test_eleven_verified_criteria_of_spectroscopy_are_enabled():
    enabled = [one for one in load_criteria() if one.enabled and one.kind == "spectroscopy"]

    assert len(enabled) == 11
    assert all(one.is_verified and one.counts is not None for one in enabled)


def test_no_unverified_criterion_is_enabled():
    unverified = [one for one in load_criteria() if not one.is_verified]

    assert len(unverified) >= 11
    assert not any(one.enabled for one in unverified)


@pytest.mark.parametrize(
    ("name", "sensitivity", "specificity"),
    [
        # percentages as printed in the abstracts, to the rounding of the counts
        ("plotkin2004_cho_cr", 0.89, 0.83),
        ("ando2004_cho_cr", 0.64, 0.83),
        ("mvthesis_cho_naa", 0.87, 1.0),
        ("bulik2015_naa_cr", 0.944, 0.917),
        ("bulik2015_ll_cr", 0.917, 0.75),
        ("anbarloui2015_algorithm", 0.84, 0.75),
        ("schlemmer2001_lda", 0.82, 0.81),
        ("hoefnagels2009_rcbv_gm", 0.70, 1.0),
        ("hoefnagels2009_visual", 0.70, 0.929),
    ],
)
def test_counts_reproduce_the_published_percentages(name, sensitivity, specificity):
    tp, fn, tn, fp = by_id()[name].counts

    assert tp / (tp + fn) == pytest.approx(sensitivity, abs=0.006)
    assert tn / (tn + fp) == pytest.approx(specificity, abs=0.006)


def test_log_likelihood_ratios_are_those_of_jeffreys_counts():
    # Plotkin: 17.5/20 = 0.875 and 5.5/7; ln(0.875/(1.5/7)), ln(0.125/(5.5/7))
    above, below = by_id()["plotkin2004_cho_cr"].log_likelihood_ratios(jeffreys=0.5, cap=9.0)

    assert above == pytest.approx(math.log(0.875 * 7 / 1.5))
    assert below == pytest.approx(math.log(0.125 * 7 / 5.5))


def test_molar_cutoffs_of_areas_are_multiplied_by_nine_over_three():
    molar = by_id()["bulik2015_cho_naa"]

    converted = molar.for_quantity("area")

    assert converted.any_of[0].cutoff == pytest.approx(4.2)
    assert "1.4" in converted.note
    assert molar.for_quantity("molar") is molar


def test_every_part_of_a_criterion_is_converted():
    criteria = by_id()

    sum_of_two = criteria["schlemmer2001_lda"].for_quantity("molar")
    either = criteria["anbarloui2015_algorithm"].for_quantity("molar")
    stands_in = criteria["nakajima2009_lac_cho"].for_quantity("molar")

    # areas of Cho stand for nine protons, those of the others for three
    assert sum_of_two.any_of[0].cutoff == pytest.approx(2.5 / 3)
    assert [one.cutoff for one in either.any_of] == pytest.approx([0.6, 1.0])
    assert either.quantity is None  # its part of lipid still is one of areas
    assert stands_in.any_of[0].cutoff == pytest.approx(3.15)
    assert stands_in.label == "Nakajima 2009, 1.05 of areas"


def test_ratios_that_scale_differently_are_converted_each():
    one = Comparison(expression="Cho/Cr - 0.5*NAA/Cr", comparator=">", cutoff=1.5)

    molar = one.for_protons(-1.0)

    assert molar.cutoff == 1.5
    assert molar.terms == ((3.0, "Cho/Cr"), (-0.5, "NAA/Cr"))
    assert molar.for_protons(1.0).terms == one.terms


def test_cutoffs_without_a_proton_count_are_not_converted():
    criteria = by_id()

    assert criteria["bulik2015_ll_cr"].for_quantity("area").any_of[0].cutoff == 1.9
    assert criteria["bulik2015_naa_cr"].for_quantity("area").any_of[0].cutoff == 0.7


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0.01, 100).map(lambda x: round(x, 2)),
            st.sampled_from(["Cho/Cr", "Cho/NAA", "LL/Cr"]),
            st.sampled_from("+-"),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_expressions_are_read_as_they_are_written(terms):
    text = " ".join(f"{sign} {factor}*{name}" for factor, name, sign in terms)

    read = parse_expression(text)

    assert read == tuple((f if s == "+" else -f, n) for f, n, s in terms)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Cho",
        "Cho/Cr Cho/NAA",
        "Cho/Cr * Cho/NAA",
        "Cho/Cr + 1",
        "__import__('os').system('true')",
        "Cho/Cr/NAA",
        "2 ** Cho/Cr",
    ],
)
def test_anything_but_a_sum_of_ratios_is_refused(text):
    with pytest.raises(ValueError, match="sum of ratios"):
        parse_expression(text)


@pytest.mark.parametrize(
    ("echo_time_s", "name"),
    [(0.03, "short"), (0.05, "between"), (0.12, "long"), (0.144, "long"), (0.16, "long"),
     (0.2, "between"), (0.25, "very_long"), (0.288, "very_long")],
)  # fmt: skip
def test_echo_times_fall_into_their_class(echo_time_s, name):
    assert te_class(echo_time_s) == name


def test_a_users_file_adds_a_criterion(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)

    assert by_id(path)["mine"].any_of == (
        Comparison(expression="Cho/Cr", comparator=">", cutoff=1.3),
    )
    assert len(load_criteria(path)) == len(load_criteria()) + 1


def test_the_echo_times_of_a_study_give_their_class(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + "applies_to = { echo_time_ms = [25, 35] }\n")

    assert by_id(path)["mine"].applies_to.te_class == "short"
    assert AppliesTo(echo_time_ms=(30, 144)).te_class is None
    assert AppliesTo(echo_time_ms=(60, 100)).te_class is None


def test_a_users_file_switches_a_shipped_criterion_off(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('schema = 1\n[[criterion]]\nid = "ando2004_cho_cr"\nenabled = false\n')

    changed = by_id(path)["ando2004_cho_cr"]

    assert not changed.enabled
    assert changed.counts == by_id()["ando2004_cho_cr"].counts


def test_a_person_who_read_the_paper_can_enable_its_criterion(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'schema = 1\n[[criterion]]\nid = "zeng2007_cho_cr"\nenabled = true\n'
        'verified = { cutoff = true }\ncounts = [9, 1, 9, 1]\ncounts_basis = "reported"\n'
    )

    assert by_id(path)["zeng2007_cho_cr"].enabled


@pytest.mark.parametrize(
    ("line", "new", "at", "reason"),
    [
        ("cutoff = 1.3", 'cutoff = "high"', 9, "must be a number"),
        ("cutoff = 1.3", "cutoff = -1", 9, "above zero"),
        ("cutoff = 1.3", "cutof = 1.3", 9, "unknown key 'cutof'"),
        ("cutoff = 1.3\n", "", 3, "cutoff is missing"),
        ('comparator = ">"', 'comparator = "=="', 8, "comparator must be one of"),
        ('side = "recurrence"', 'side = "tumour"', 10, "side must be one of"),
        ('expression = "Cho/Cr"', 'expression = "open(1)"', 7, "sum of ratios"),
        ("counts = [8, 2, 9, 1]", "counts = [8, 2, 9]", 12, r"counts must be \[tp, fn, tn, fp\]"),
        ("counts = [8, 2, 9, 1]", "counts = [0, 0, 9, 1]", 12, "lesions of both kinds"),
        ("verified = { cutoff = true }", "verified = { cutoff = false }", 3, "cannot be enabled"),
        ("enabled = true", 'enabled = "yes"', 15, "enabled must be true or false"),
        ("{ cutoff = true }", '{ cutoff = "no" }', 14, "'no'; it must be true or false"),
        ("{ cutoff = true }", "{ cutoff = true, te = 3 }", 14, "it must be true, false or words"),
        ("enabled = true", "enabled = true\nsensitivity = 83", 16, "must be from 0 to 1; got"),
        ("enabled = true", 'enabled = true\nspecificity = "a"', 16, "must be from 0 to 1; got"),
        ("enabled = true", "enabled = true\nn = 0", 16, "number of lesions"),
        (
            "enabled = true",
            "enabled = true\napplies_to = { echo_time_ms = [30] }",
            16,
            r"must be \[lowest, highest\]",
        ),
        (
            "enabled = true",
            "enabled = true\napplies_to = { echo_time_ms = [35, 20] }",
            16,
            r"must be \[lowest, highest\]",
        ),
        (
            "enabled = true",
            'enabled = true\napplies_to = { echo_time_ms = [20, 35], te_class = "long" }',
            16,
            "does not hold 20 to 35 ms",
        ),
        ('id = "mine"', "id = 7", 4, "needs an id"),
        ("schema = 1", "schema = 2", 1, "begin with 'schema = 1'"),
        ("[[criterion]]", "[[rules]]", 3, "tables and nothing else"),
    ],
)
def test_a_malformed_file_is_refused_with_line_and_reason(tmp_path, line, new, at, reason):
    path = tmp_path / "mine.toml"
    assert line in GOOD
    path.write_text(GOOD.replace(line, new, 1))

    with pytest.raises(FormatError, match=rf"mine\.toml: line {at}: .*{reason}"):
        load_criteria(path)


def test_a_file_that_is_not_toml_is_refused_with_its_line(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + "\nthis is not toml\n")

    with pytest.raises(FormatError, match="line 17"):
        load_criteria(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b""])
def test_bytes_that_are_no_criteria_are_refused(tmp_path, content):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)

    with pytest.raises(FormatError, match=r"mine\.toml"):
        load_criteria(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FormatError, match="cannot be read"):
        load_criteria(tmp_path / "absent.toml")


def test_the_same_criterion_twice_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + GOOD.partition("\n")[2])

    with pytest.raises(FormatError, match="there twice"):
        load_criteria(path)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ('expression = "Cho/Cr"\ncomparator = ">"\ncutoff = 1\nany_of = []',
         "either expression or any_of"),
        ("any_of = []", "any_of is a list of comparisons"),
        ("any_of = [1]", "a table was expected; got 1"),
        ('reading = "high"\nverified = 1', "verified is a table like"),
        ('expression = "LL/Cr"\ncomparator = ">"\ncutoff = 1\nproxy_for = "Lac/Cr + Lac/Cho"',
         "proxy_for must be one ratio"),
    ],
)  # fmt: skip
def test_an_entry_that_contradicts_itself_is_refused(tmp_path, entry, reason):
    path = tmp_path / "mine.toml"
    path.write_text(
        'schema = 1\n[[criterion]]\nid = "x"\nlabel = "X"\ncitation = "nowhere"\n'
        f'side = "necrosis"\nfamily = "x"\n{entry}\n'
    )

    with pytest.raises(FormatError, match=reason):
        load_criteria(path)


def test_one_comparison_takes_the_place_of_several(tmp_path):
    several = next(one for one in load_criteria() if len(one.any_of) > 1)
    path = tmp_path / "mine.toml"
    path.write_text(
        f'schema = 1\n[[criterion]]\nid = "{several.id}"\n'
        'expression = "Cho/Cr"\ncomparator = ">"\ncutoff = 2\n'
    )

    assert by_id(path)[several.id].rule == "Cho/Cr > 2"


def test_a_criterion_without_counts_has_no_likelihood_ratio():
    unscored = next(one for one in load_criteria() if one.counts is None)

    with pytest.raises(ValueError, match="has no counts, so it has no likelihood ratio"):
        unscored.log_likelihood_ratios(jeffreys=0.5, cap=2.3)
