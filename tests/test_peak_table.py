"""Peak tables: what a console printed, in three spellings."""

import math

import numpy as np
import pytest

from mrs_necrosis import ratio
from mrs_necrosis.errors import FormatError
from mrs_necrosis.io import is_peak_table, read_peak_table, read_peaks

CASE = {"LL": 108964.0, "Cho": 33671.0, "Cr": 29534.0, "NAA": 31278.0}  # Oncotarget 7, 13265


def as_dict(areas):
    return dict(zip(areas.names, areas.values.tolist(), strict=True))


@pytest.mark.parametrize(
    "source",
    [
        "LL=108964 Cho=33671 Cr=29534 NAA=31278",
        "LL = 108964, Cho = 33671; tCr=29534\ntNAA=3.1278e4",
        ["LL=108964", "Cho=33671", "Cr=29534", "NAA=31278"],
        ["LL=108964 Cho=33671", "Cr=29534 NAA=31278"],
    ],
)
def test_the_reference_case_is_read_from_text_and_nothing_is_added(source):
    areas = read_peaks(source)

    assert as_dict(areas) == CASE
    assert areas.unit is None
    assert areas.covariance is None
    assert areas.quantity == "area"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("case.toml", "[peaks]\nLL = 108964\nCho = 33671\nCr = 29534\nNAA = 31278\n"),
        ("case.csv", "peak,area\nLL,108964\nCho,33671\nCr,29534\nNAA,31278\n"),
        (
            "case.tsv",
            "# console\nMetabolite\tvalue\nLL\t108964\nCho\t33671\nCr\t29534\nNAA\t31278",
        ),
        ("wide.csv", "LL;Cho;Cr;NAA\n108964;33671;29534;31278\n"),
    ],
)
def test_the_reference_case_is_read_from_a_file(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")

    table = read_peak_table(path)

    assert as_dict(table.areas) == CASE
    assert table.areas.covariance is None
    assert table.echo_time_s is None
    assert table.field_t is None
    assert is_peak_table(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_a_table_of_a_spreadsheet_is_read_in_its_encoding(tmp_path, encoding):
    path = tmp_path / "case.csv"
    text = "peak\tvalue\t°\nLL\t108964\t\nCho\t33671\t\nCr\t29534\t\nNAA\t31278\t\n"
    path.write_bytes(text.encode(encoding))

    assert as_dict(read_peaks(path)) == CASE


def test_a_toml_table_carries_its_context(tmp_path):
    path = tmp_path / "case.toml"
    path.write_text(
        'title = "follow-up"\ndate = 2012-09-01\nquantity = "height"\nunit = "a.u."\n'
        "echo_time_ms = 30\nfield_t = 3\n[peaks]\nCho = { value = 20, sd = 2 }\n"
        "Cr = { value = 10, sd = 1 }\n",
        encoding="utf-8",
    )

    table = read_peak_table(path)

    assert table.echo_time_s == 0.03
    assert table.field_t == 3.0
    assert table.date == "2012-09-01"
    assert table.title == "follow-up"
    assert table.areas.quantity == "height"
    assert table.areas.unit == "a.u."
    assert np.array_equal(table.areas.covariance, np.diag([4.0, 1.0]))


def test_a_covariance_is_taken_as_it_stands(tmp_path):
    path = tmp_path / "case.toml"
    path.write_text("covariance = [[4, 1], [1, 2]]\n[peaks]\nCho = 20\nCr = 10\n")

    assert np.array_equal(read_peaks(path).covariance, [[4.0, 1.0], [1.0, 2.0]])


def test_an_sd_may_stand_behind_each_value():
    areas = read_peaks("Cho=33671±300 Cr=29534+-400")

    assert np.allclose(areas.sd("Cho"), 300.0)
    assert np.allclose(areas.sd("Cr"), 400.0)


@pytest.mark.parametrize(
    ("echo_time_s", "name"),
    [
        (None, "LL"), (0.030, "LL"), (0.119, "LL"), (0.120, "LL_net"), (0.144, "LL_net"),
        (0.160, "LL_net"), (0.161, "LL"), (0.288, "LL"),
    ],
)  # fmt: skip
def test_ll_is_a_net_value_where_lactate_is_inverted(echo_time_s, name):
    areas = read_peaks("LL=10 Cr=5", echo_time_s=echo_time_s)

    assert areas.names == (name, "Cr")


def test_an_absent_value_is_nan_and_not_zero(tmp_path):
    path = tmp_path / "case.csv"
    path.write_text("peak,value,sd\nCho,20,\nCr,n/a,\n")

    areas = read_peaks(path)

    assert areas.values[0] == 20.0
    assert math.isnan(areas.values[1])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Cho=1 Cho=2", "names a peak twice"),
        ("Cho=1 tCho=2", "names a peak twice"),
        ("Cho=n/a Cr=n/a", "has no peak with a value"),
        ("Cho=1±1e308 Cr=3±1", "must give an sd of 0 or more for every peak or for none"),
        ("Cho=1±2 Cr=3", "must give an sd of 0 or more for every peak or for none: see Cr"),
    ],
)
def test_text_that_is_no_table_is_refused(text, sentence):
    with pytest.raises(FormatError, match=sentence):
        read_peaks(text)


def test_sums_of_metabolites_are_known_by_their_parts():
    areas = read_peaks("GPC+PCh=1 Cr+PCr=2 NAA+NAAG=3 Glu+Gln=4")

    assert areas.names == ("Cho", "Cr", "NAA", "Glx")


def test_absurd_values_are_refused_without_a_warning():
    with pytest.raises(FormatError, match="differ by a factor of inf"):
        read_peaks("Cho=1e300 Cr=1e-300 NAA=1")


def test_no_text_at_all_is_no_table():
    with pytest.raises(FormatError, match="must be written NAME=VALUE"):
        read_peaks("")


def test_words_that_are_no_assignments_are_refused():
    with pytest.raises(FormatError, match="must be written NAME=VALUE, for example LL=108964"):
        read_peaks(["LL=108964", "Cho"])


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.toml", "[peaks\n", "it is not valid TOML"),
        ("a.toml", "x = 1\n", r"it has no \[peaks\]"),
        ("a.toml", "[peaks]\nCho = 'many'\n", "has a peak without a plain number"),
        ("a.toml", "[peaks]\nCho = inf\n", "has a peak without a plain number"),
        ("a.toml", "[peaks]\n'<script>' = 1\n", "whose name is no short word"),
        ("a.toml", "quantity = 'mass'\n[peaks]\nCho = 1\n", "one of area, height, molar"),
        ("a.toml", "echo_time_ms = 'x'\n[peaks]\nCho = 1\n", "must give echo_time_ms as a number"),
        ("a.toml", "echo_time_s = 30\n[peaks]\nCho = 1\n", "echo_time_s must be in s, between 0"),
        ("a.toml", "covariance = [[1]]\n[peaks]\nCho = 1\nCr = 2\n", "covariance must have shape"),
        ("a.toml", "covariance = [[nan]]\n[peaks]\nCho = 1\n", "as a square of numbers"),
        ("a.toml", "covariance = 'x'\n[peaks]\nCho = 1\nCr = 2\n", "as a square of numbers"),
        (
            "a.toml",
            "te_ms = 144\n[peaks]\nLL = 1\n",
            "has a key that means nothing here; known are",
        ),
        ("a.toml", "[peaks]\nCho = { value = 1, error = 2 }\n", "a peak as a number or as {"),
        ("a.toml", "sd = 1\n[peaks]\nCho = 1\n", r"must give sd as a table \[sd\]"),
        ("a.csv", "\n\n", "it has no line of values"),
        ("a.csv", "a,b\n1,2\n", r"it needs the titles peak,value\[,sd\]"),
        ("a.csv", "peak,value\nCho\n", "a line has too few cells"),
        ("a.csv", "peak,value\nCho,33 671\nCr,29 534\n", "without a plain number"),
        ("a.csv", "peak,value\nCho,3 mM\nCr,2 mM\n", "without a plain number"),
        ("a.csv", "peak,value,unit\nCho,3,mM\nCr,2,a.u.\n", "has concentrations .mM. of some"),
        ("a.csv", "peak,value,sd\nCho,3,1 000\nCr,2,1\n", "has an sd that is no number"),
        ("a.csv", "Cho (mM),Cr\n3,2\n", "has concentrations .mM. of some"),
        ("a.csv", "Cho\x00", "it is not text"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, text, sentence):
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(FormatError, match=sentence):
        read_peaks(path)
    assert not is_peak_table(path)


def test_a_large_file_is_not_read_as_a_table(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"peak,value\n" + b"Cho,1\n" * 200_000)

    with pytest.raises(FormatError, match="is too large for a peak table"):
        read_peaks(path)


def test_results_and_spectra_are_no_peak_tables(shared_data):
    for name in (
        "mrsi/lcmodel_multivoxel_10/test-reference-multi-voxel.csv",
        "lcmodel/brain_3T_press30/data.raw",
        "ismrm_challenge/truth_datasets_1-10.csv",
        "MANIFEST.tsv",
    ):
        assert not is_peak_table(shared_data / name), name


@pytest.mark.parametrize(
    "content",
    [
        'peak,value\nCho,"33,671"\nCr,29534\n',
        'peak,value,sd\nCho,33671,"1,900"\nCr,29534,850\n',
        "peak\tvalue\nCho\t1,033,671\nCr\t29534\n",
        'Cho,Cr\n"33,671",29534\n',
    ],
)
def test_thousands_are_not_taken_for_a_decimal_comma(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_text(content)

    # 33.671 over 29534 would be a ratio, and a label
    with pytest.raises(FormatError, match="thousands or a decimal comma"):
        read_peaks(path)


def test_a_decimal_comma_is_understood_between_semicolons(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("peak;value\nCho;33,671\nCr;29,534\n")

    assert read_peaks(path).values.tolist() == [33.671, 29.534]


def test_values_on_the_command_line_are_told_from_file_names():
    assert is_peak_table("LL=108964 Cho=33671")
    assert is_peak_table(["LL=108964", "Cho=33671"])
    assert not is_peak_table("scan.rda")
    assert not is_peak_table("TE=30/scan.rda")
    assert not is_peak_table([])


TABLE_OF_LCMODEL = """ LCModel (Version 6.3-1L)
 somebody's name

$$CONC 9 lines in following concentration table = NCONC+1
    Conc.  %SD /Cr+PCr  Metabolite
    4.000  20%   0.400 Cr
    6.000  10%   0.600 PCr
    3.000   8%   0.300 GPC+PCh
   12.000   4%   1.200 NAA
    0.000 999%   0.000 Lac
    8.000   5%   0.800 Ins
   50.000  10%   5.000 Lip13a
   10.000   3%   1.000 Cr+PCr

$$MISC  1 lines in following misc. output table
  FWHM = 0.038 ppm    S/N =  12
"""


def test_metabolites_of_lcmodel_are_concentrations_with_their_errors(tmp_path):
    path = tmp_path / "voxel.table"
    path.write_text(TABLE_OF_LCMODEL)

    areas = read_peaks(path)

    # no lactate, of which nobody knows how far it may be off, and no lipid
    assert as_dict(areas) == {"Cho": 3.0, "Cr": 10.0, "NAA": 12.0, "mI": 8.0}
    assert np.sqrt(np.diag(areas.covariance)) == pytest.approx([0.24, 0.3, 0.48, 0.4])
    assert areas.quantity == "molar"
    assert is_peak_table(path)


def test_an_absent_metabolite_of_lcmodel_has_no_error(tmp_path):
    path = tmp_path / "voxel.table"
    path.write_text(TABLE_OF_LCMODEL.replace("   12.000   4%   1.200", "    0.000 999%   0.000"))

    areas = read_peaks(path)

    assert areas.value("NAA") == 0
    assert areas.covariance is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1, 1, 3, 4, 1", "1, 2, 3, 4, 1"], "is LCModel's result of many voxels"),
        (["1, 1, 3, 4, 1"], "is a result of LCModel without choline, creatine and NAA"),
    ],
)
def test_a_result_of_lcmodel_that_is_no_voxel_is_refused(tmp_path, lines, message):
    path = tmp_path / "result.csv"
    path.write_text("\n".join(["Row, Col, Ala, Ala %SD, Ala/Cr+PCr", *lines, ""]))

    with pytest.raises(FormatError, match=message):
        read_peaks(path)


def test_real_results_of_lcmodel_have_the_ratios_that_it_printed(shared_data):
    path = shared_data / "lcmodel_coord/oryx_mrsi_3T_press52/K_01_sl2_7-7.table"

    areas = read_peaks(path)

    over_cr = {name: float(areas.value(name) / areas.value("Cr")) for name in areas.names}
    assert over_cr["Cho"] == pytest.approx(0.365, abs=0.002)
    assert over_cr["NAA"] == pytest.approx(1.432, abs=0.01)
    assert over_cr["mI"] == pytest.approx(1.041, abs=0.01)


def test_a_negative_area_is_refused_and_says_which(tmp_path):
    path = tmp_path / "case.csv"
    path.write_text("peak,area\nCho,-5\nCr,3\nNAA,4\n")

    with pytest.raises(FormatError, match="a wrong number: the area of Cho is -5; an area is"):
        read_peaks(path)
    with pytest.raises(FormatError, match="the area of Cho is -5; an area is"):
        read_peaks("Cho=-5 Cr=3 NAA=4")


def test_printed_lactate_that_is_inverted_is_there():
    areas = read_peaks("Lac=-20000 Cho=33671 Cr=29534", echo_time_s=0.144)

    assert areas.detected("Lac")
    assert areas.value("Lac") == 20000.0


@pytest.mark.parametrize(
    ("lines", "quantity", "deviations"),
    [
        (["peak,area,sd", "Cho,400,2%", "Cr,300,850"], "area", [8.0, 850.0]),
        (["Peak;Amplitude (a.u.);SD (%)", "Cho;400,0;2", "Cr;300,0;5"], "area", [8.0, 15.0]),
        (["name,Concentration,%SD", "Cho,400,2", "Cr,300,5"], "molar", [8.0, 15.0]),
        (["metabolite,value (mM),CRLB (%)", "Cho,400,2", "Cr,300,5"], "molar", [8.0, 15.0]),
        (["Peak,ppm,Integral,Height", "Cho,3.21,400,9", "Cr,3.03,300,8"], "area", None),
        (["sep=;", "peak;height;std", "Cho;400;8", "Cr;300;15"], "height", [8.0, 15.0]),
        (["peak,value,unit", "Cho,400,mM", "Cr,300,mM"], "molar", None),
        (
            [
                "peak,value,unit",
                "Cho,400,\N{MICRO SIGN}mol/g",
                "Cr,300,\N{GREEK SMALL LETTER MU}M",
            ],
            "molar",
            None,
        ),
        (["peak,value,unit", "Cho,400,uM", "Cr,300,mol/L"], "molar", None),
        (["peak,value,unit", "Cho,400,a.u.", "Cr,300,"], "area", None),
        (["Cho (mM),Cr [mM]", "400,300"], "molar", None),
        (["Cho (3.2 ppm),Cr", "400,300"], "area", None),
    ],
)
def test_titles_of_a_table_may_name_units_and_percent(tmp_path, lines, quantity, deviations):
    path = tmp_path / "console.csv"
    path.write_text("\n".join(lines))

    areas = read_peaks(path)

    assert as_dict(areas) == {"Cho": 400.0, "Cr": 300.0}
    assert areas.quantity == quantity
    if deviations is None:
        assert areas.covariance is None
    else:
        assert np.sqrt(np.diag(areas.covariance)) == pytest.approx(deviations)


def test_an_error_that_cannot_be_read_is_not_one_that_is_missing(tmp_path):
    path = tmp_path / "console.csv"
    path.write_text("peak,value,sd\nCho,4,small\nCr,3,0.1\n")

    with pytest.raises(FormatError, match="has an sd that is no number: write it in the unit"):
        read_peaks(path)


@pytest.mark.parametrize("value", ["0", "0.0"])
def test_a_share_of_nothing_is_no_error(tmp_path, value):
    path = tmp_path / "console.csv"
    path.write_text(f"peak,value,sd\nCho,4,3%\nCr,3,3%\nLac,{value},3%\n")

    # "not detected, below 0.00" would be sure of what nobody knows
    with pytest.raises(FormatError, match="an sd of 0 or more for every peak or for none: see La"):
        read_peaks(path)


def test_a_bound_that_may_be_percent_is_asked_about(tmp_path):
    path = tmp_path / "console.csv"
    path.write_text("peak,value,CRLB\nCho,4,3\nCr,3,3\n")

    with pytest.raises(FormatError, match=r"has a column crlb: write crlb \(%\), or sd in the"):
        read_peaks(path)


def test_a_peak_without_an_answer_needs_no_error():
    areas = read_peaks("Cho=4±0.1 Cr=3±3% Lac=nan")

    assert np.sqrt(np.diag(areas.covariance)) == pytest.approx([0.1, 0.09, np.nan], nan_ok=True)
    assert float(ratio(areas, "Cho", "Cr").sd) > 0
    assert ratio(areas, "Lac", "Cr").status == "not-evaluable"


def test_names_that_consoles_print_are_known():
    areas = read_peaks("Choline=3 Creatine=2 N-Acetylaspartate=1 Lipid+Lactate=5 myo-Inositol=1")

    assert areas.names == ("Cho", "Cr", "NAA", "LL", "mI")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Cho/Cr=1.14 NAA/Cr=1.06", "ratios where peaks are needed: .*as Cho=1.14 Cr=1 NAA=1.06"),
        # ignored, it would leave a net value to be judged as LL
        (
            "TE=144 LL=5 Cho=3 Cr=2",
            "has TE, which is the echo time and no peak: write echo_time_ms",
        ),
        ("field=3 LL=5 Cho=3 Cr=2", "has field, which is the field and no peak: write field_t"),
    ],
)
def test_what_is_no_peak_is_not_taken_for_one(text, message):
    with pytest.raises(FormatError, match=message):
        read_peaks(text)


def test_a_line_of_ratios_is_told_from_one_of_peaks(tmp_path):
    path = tmp_path / "ratios.csv"
    path.write_text("Cho/Cr,NAA/Cr,Cho/NAA\n1.14,1.06,1.08\n")

    with pytest.raises(FormatError, match="has ratios where peaks are needed"):
        read_peaks(path)


def test_several_lines_of_values_are_several_voxels(tmp_path):
    path = tmp_path / "voxels.csv"
    path.write_text("Cho,Cr,NAA\n1,2,3\n4,5,6\n")

    with pytest.raises(
        FormatError, match="several lines of values: analyse it as a table of inputs"
    ):
        read_peaks(path)


def test_a_result_of_lcmodel_says_its_echo_time_and_field(tmp_path):
    path = tmp_path / "voxel.table"
    path.write_text(
        TABLE_OF_LCMODEL
        + "\n$$INPU  2 lines in following table of input changes:\n echot= 35.\n"
        + " hzpppm= 1.2773e+02\n"
    )

    table = read_peak_table(path)

    assert table.echo_time_s == pytest.approx(0.035)
    assert table.field_t == pytest.approx(3.0, abs=0.001)  # 42.577 MHz/T
    assert read_peak_table(path, echo_time_s=0.03).echo_time_s == 0.03


@pytest.mark.parametrize(
    ("lines", "quantity"),
    [
        ('unit = "mM"', "molar"),
        ('unit = "a.u."', "area"),
        ('unit = "mM"\nquantity = "area"', "area"),
    ],
)
def test_the_unit_of_a_toml_table_makes_concentrations_as_that_of_a_csv_does(
    tmp_path, lines, quantity
):
    path = tmp_path / "a.toml"
    path.write_text(f"{lines}\n[peaks]\nCho = 3\nCr = 2\n")

    assert read_peak_table(path).areas.quantity == quantity
