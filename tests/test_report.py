"""The report, from analyses made by hand."""

import dataclasses
import errno
import functools
import json
import math
import os
import re
import shutil
import subprocess
import threading
from html import unescape
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from mrs_necrosis import analyze
from mrs_necrosis.analysis import Analysis, Source
from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.assessment import Assessment, Evidence, Favors, Finding, Gate
from mrs_necrosis.classifier import Context, Reading, assess
from mrs_necrosis.errors import OutputError
from mrs_necrosis.fitting.result import Curves, Fit
from mrs_necrosis.quality import FitStatus, Quality
from mrs_necrosis.ratios import ratio, standard_ratios
from mrs_necrosis.report import cohort_page, document, figure, files, page, rows, table, text
from mrs_necrosis.simulation import phantom
from mrs_necrosis.spectra import Acquisition, Spectra, Step

jsonschema = pytest.importorskip("jsonschema")

REFERENCE = PeakAreas(("LL", "Cho", "Cr", "NAA"), np.array([108964.0, 33671.0, 29534.0, 31278.0]))
HOSTILE = '<script>alert("x")</script>$_{$=CMD|\'\' & "é'


def made_assessment(areas, *, hostile="", **changes):
    values = {name: float(r.value.flat[0]) for name, r in standard_ratios(areas).items()}

    def finding(name, cutoff, author, side, **more):
        return Finding(
            id=f"{author.lower()}_{name.replace('/', '_').lower()}",
            statement=f"{name} > {cutoff:g} ({author}){hostile}",
            citation=f"{author}, Journal 1:2-3{hostile}",
            expression=name,
            comparator=">",
            cutoff=cutoff,
            value=None if math.isnan(values[name]) else values[name],
            favors=side,
            family="cho_cr",
            is_scored=True,
            log_likelihood_ratio=-0.6 if side is Favors.NECROSIS else 0.5,
            weights={"applicability": 0.75},
            **more,
        )

    base = {
        "favors": Favors.NECROSIS,
        "evidence": Evidence(likelihood_ratio=0.28, posterior=0.22),
        "findings": (
            finding("Cho/Cr", 1.5, "Ando 2004", Favors.NECROSIS),
            finding("Cho/Cr", 1.11, "Plotkin 2004", Favors.RECURRENCE, note="Only 2.7 % over."),
            finding("Cho/NAA", 1.17, "Plotkin 2004", Favors.NECROSIS),
            finding("LL/Cr", 1.9, "Bulik 2015", Favors.RECURRENCE, note="Opposite direction."),
            Finding(
                id="perfusion", statement="low perfusion", citation="", kind="perfusion",
                favors=Favors.NECROSIS,
            ),
        ),
        "gates": (
            Gate(name="snr", is_open=True, is_checked=False, sentence="SNR is unknown."),
            Gate(name="near-normal", is_open=True, is_checked=True, threshold="0.3",
                 source="Song 1996", sentence=f"Not normal.{hostile}"),
        ),
        "caveats": ("The echo time is unknown.", "No uncertainty is reported."),
        "suggestions": ("Perfusion imaging would help.",),
        "paragraph": f"The spectrum favours necrosis.\n\nFor it:\n- choline{hostile}\n- lipid",
    }  # fmt: skip
    return Assessment(**{**base, **changes})


def table_analysis(areas=REFERENCE, **changes):
    base = {
        "source": Source("peak table", "0" * 64),
        "areas": areas,
        "ratios": standard_ratios(areas),
        "provenance": {"software": {"mrs_necrosis": "0.1.0"}, "parameters": {"prior": 0.5}},
    }
    if "assessment" not in changes:
        changes["assessment"] = made_assessment(areas)
    return Analysis(**{**base, **changes})


def made_curves(ppm, noise):
    def line(centre, area, width=0.06):
        return area / (1 + 2j * (ppm - centre) / width)

    components = {
        "Lip13": line(1.28, 9.0, 0.15), "Lip09": line(0.89, 2.0, 0.15), "Lac": line(1.31, 1.5),
        "NAA": line(2.01, 3.0), "Cr": line(3.03, 2.9), "Cho": line(3.21, 3.4), "mI": line(3.56, 1),
    }  # fmt: skip
    baseline = 0.4 * np.exp(-(((ppm - 1.5) / 1.2) ** 2)) + 0j
    fit = sum(components.values()) + baseline
    return Curves(ppm, fit + noise, fit, baseline, noise, components)


def spectrum_analysis(*, sequence="PRESS", grid=(1, 1, 1), **changes):
    rng = np.random.default_rng(1)
    ppm = np.linspace(0.0, 4.6, 600)
    noise = 0.15 * (rng.standard_normal(600) + 1j * rng.standard_normal(600))
    acquisition = Acquisition(
        spectrometer_frequency_mhz=127.7, dwell_time_s=5e-4, echo_time_s=0.03,
        repetition_time_s=2.0, sequence=sequence, nucleus="1H",
    )  # fmt: skip
    spectra = Spectra(
        fid=np.ones((*grid, 64)) + 0j,
        acquisition=acquisition,
        affine=np.diag([20.0, 20.0, 20.0, 1.0]),
        history=(Step("average", {"n": 128}, "128 averages were averaged."),),
    )
    names = ("LL", "Cho", "Cr", "NAA", "mI")
    values = np.broadcast_to([10.9, 3.37, 2.95, 3.13, 0.2], (*grid, 5))
    covariance = np.broadcast_to(np.diag([0.6, 0.12, 0.12, 0.15, 0.2]) ** 2, (*grid, 5, 5))
    areas = PeakAreas(names, values, covariance)
    one = np.ones(grid)
    quality = Quality(40 * one, 6.1 * one, 0.048 * one, 1.05 * one, 0 * one, np.nan * one)
    fit = Fit(
        spectra=spectra, model=SimpleNamespace(components=()), areas=areas, quality=quality,
        parameter_names=("shift_hz",),
        parameters=np.zeros((*grid, 1)), backend="numpy",
        notes=("Lactate and lipid are not separable.",),
        _curves=lambda voxel: made_curves(ppm, noise),
    )  # fmt: skip
    single = grid == (1, 1, 1)
    base = {
        "source": Source("NIfTI-MRS", "a" * 64),
        "areas": areas,
        "ratios": standard_ratios(areas),
        "assessment": made_assessment(areas) if single else None,
        "spectra": spectra,
        "fit": fit,
        "echo_time_s": 0.03,
        "field_t": 3.0,
        "provenance": {"software": {"mrs_necrosis": "0.1.0"}, "steps": [{"name": "average"}]},
    }
    return Analysis(**{**base, **changes})


ANALYSES = {
    "peak table": table_analysis,
    "spectrum": spectrum_analysis,
    "grid": lambda: spectrum_analysis(grid=(3, 2, 1)),
    "no assessment": lambda: table_analysis(assessment=None),
    "absent creatine": lambda: table_analysis(
        PeakAreas(("LL", "Cho", "Cr", "NAA"), [9.0, 3.0, 0.1, 3.0], np.diag([0.1] * 4) ** 2)
    ),
    "nothing": lambda: table_analysis(
        PeakAreas(("LL", "Cho", "Cr", "NAA"), [np.nan] * 4, np.diag([0.1] * 4) ** 2)
    ),
}


@functools.cache
def rendered(name):
    return files.render(ANALYSES[name]())


any_analysis = pytest.mark.parametrize("name", ANALYSES)


@any_analysis
def test_every_result_obeys_the_schema(name):
    result = json.loads(rendered(name)["result.json"])

    jsonschema.Draft202012Validator.check_schema(document.schema())
    jsonschema.validate(result, document.schema(), cls=jsonschema.Draft202012Validator)


def test_the_schema_refuses_a_wrong_status():
    result = document.document(table_analysis())
    result["ratios"]["Cho/Cr"]["status"] = "fine"

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(result, document.schema())


def test_json_holds_the_reference_ratios():
    result = json.loads(document.to_json(table_analysis()))

    # reference-case.md gives the quotients to five decimals
    assert round(result["ratios"]["Cho/Cr"]["value"], 5) == 1.14008
    assert round(result["ratios"]["LL/Cr"]["value"], 5) == 3.68944
    assert result["ratios"]["Cho/Cr"]["interval"] is None
    assert result["assessment"]["favors"] == "necrosis-favoring"
    assert result["assessment"]["likelihood_ratio"] == 0.28


def test_no_answer_is_null_and_a_bound_is_given():
    result = document.document(ANALYSES["absent creatine"]())
    cho_cr = result["ratios"]["Cho/Cr"]

    assert cho_cr["value"] is None
    assert cho_cr["status"] == "denominator-not-detected"
    assert cho_cr["bound"] > 3.0 / 0.5
    assert "NaN" not in document.to_json(ANALYSES["nothing"]())


def test_a_grid_becomes_nested_lists():
    result = document.document(ANALYSES["grid"]())

    assert result["grid"] == [3, 2, 1]
    assert np.shape(result["ratios"]["Cho/Cr"]["value"]) == (3, 2, 1)


def test_an_infinite_end_is_null_and_its_shape_says_so():
    areas = PeakAreas(("Cho", "Cr"), [1.0, 0.5], np.diag([1.0, 0.4]) ** 2)
    analysis = table_analysis(areas, assessment=None)

    interval = document.document(analysis)["ratios"]["Cho/Cr"]["interval"]

    assert interval["shape"] == "unbounded"
    assert interval["lower"] is None
    assert interval["upper"] is None


@any_analysis
def test_two_runs_write_the_same_bytes(name):
    assert files.render(ANALYSES[name]()) == rendered(name)


def test_the_table_is_tidy():
    lines = table.to_tsv([spectrum_analysis()]).splitlines()
    header, first = lines[0].split("\t"), lines[1].split("\t")
    row = dict(zip(header, first, strict=True))

    assert header == list(table.COLUMNS)
    assert len(lines) == 1 + len(spectrum_analysis().ratios)
    assert row["ratio"] == "Cho/Cr"
    assert float(row["value"]) == pytest.approx(3.37 / 2.95)
    assert float(row["ci_low"]) < float(row["value"]) < float(row["ci_high"])
    assert row["echo_time_s"] == "0.03"
    assert row["snr"] == "40"
    assert "ando 2004_cho_cr: necrosis-favoring" in row["criterion"]
    assert row["verdict"] == "necrosis-favoring"


def test_a_grid_has_one_row_per_voxel_and_ratio():
    analysis = ANALYSES["grid"]()
    lines = table.to_tsv([analysis]).splitlines()

    assert len(lines) == 1 + 6 * len(analysis.ratios)
    assert lines[-1].split("\t")[1:4] == ["2", "1", "0"]


@pytest.mark.parametrize("start", "=+-@")
def test_a_cell_is_never_a_formula(start):
    analysis = table_analysis(source=Source("peak table", None, None, f"{start}1+cmd|' /C'!A0"))

    first = table.to_tsv([analysis]).splitlines()[1]

    assert first.startswith("'" + start)


def test_a_cell_holds_no_tab_or_line_end():
    assert table.cell("a\tb\nc") == "a b c"


def test_a_negative_number_stays_a_number():
    areas = PeakAreas(("Cho", "Cr"), [-0.5, 10.0], np.diag([1.0, 1.0]) ** 2)
    analysis = table_analysis(areas, assessment=None)
    cells = dict(zip(table.COLUMNS, table.to_tsv([analysis]).splitlines()[1].split("\t"),
                     strict=True))  # fmt: skip

    assert float(cells["value"]) == pytest.approx(-0.05)
    assert cells["status"] == "below-detection"


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]


def parsed(html):
    parser = _Page()
    parser.feed(html)
    return parser


def html_of(name):
    return rendered(name)["report.html"].decode()


@any_analysis
def test_the_page_asks_for_nothing_from_elsewhere(name):
    html = html_of(name)
    found = parsed(html)

    assert not {"script", "link", "iframe", "object", "embed"} & set(found.tags)
    links = [v for _, name, v in found.attributes if name in {"src", "href", "xlink:href"}]
    assert all(value.startswith(("#", "data:")) for value in links)
    assert not re.search(r"url\((?!#)|@import", html)
    policy = [v for tag, name, v in found.attributes if tag == "meta" and name == "content"]
    assert any(value.startswith("default-src 'none'") for value in policy)


@any_analysis
def test_an_identifier_stands_once_on_the_page(name):
    found = parsed(html_of(name))

    identifiers = [value for _, key, value in found.attributes if key == "id"]
    assert len(identifiers) == len(set(identifiers))
    used = {v[1:] for _, key, v in found.attributes if key.endswith("href") and v[0] == "#"}
    used |= {v[5:-1] for _, key, v in found.attributes if key == "clip-path"}
    assert used <= set(identifiers)


@any_analysis
def test_a_screen_reader_finds_figures_and_the_names_of_rows(name):
    found = parsed(html_of(name))

    # a role on <figure> would hide its caption
    assert not [key for tag, key, _ in found.attributes if tag == "figure"]
    named = [value for tag, key, value in found.attributes if (tag, key) == ("svg", "aria-label")]
    assert len(named) == found.tags.count("svg")
    scopes = [value for tag, key, value in found.attributes if (tag, key) == ("th", "scope")]
    assert len(scopes) == found.tags.count("th")
    assert "row" in scopes


def test_the_page_of_a_cohort_asks_for_nothing_from_elsewhere():
    done = {"unit": "sub-01_svs", "state": "done", "place": "sub-01/mrs/sub-01_desc-status.json",
            "files": {"sub-01/mrs/sub-01_desc-report_mrs.html": "0"},
            "summary": {"favors": "indeterminate", "ratios": {}}}  # fmt: skip
    hostile = {**done, "unit": HOSTILE, "state": "failed", "message": HOSTILE}

    html = cohort_page.cohort_page([done, hostile], tables=["ratios.tsv"])

    found = parsed(html)
    assert not {"img", "iframe", "object", "embed", "form"} & set(found.tags)
    assert found.tags.count("script") == 1
    links = {value for _, name, value in found.attributes if name in {"src", "href"}}
    assert links == {"data:,", "sub-01/mrs/sub-01_desc-report_mrs.html", "ratios.tsv"}
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttp|eval\(", html)
    policy = [v for tag, name, v in found.attributes if tag == "meta" and name == "content"]
    assert any(value.startswith("default-src 'none'; script-src 'sha256-") for value in policy)


@any_analysis
def test_the_page_states_its_limits(name):
    html = html_of(name)

    assert html.count("not a diagnosis") >= 1
    assert "not a medical device" in html


def test_hostile_text_is_escaped_and_drawn():
    assessment = made_assessment(spectrum_analysis().areas, hostile=HOSTILE)
    analysis = spectrum_analysis(
        sequence=HOSTILE,
        assessment=assessment,
        source=Source(HOSTILE, None, None, HOSTILE),
        provenance={HOSTILE: HOSTILE},
    )

    contents = files.render(analysis)

    html = contents["report.html"].decode()
    assert "script" not in parsed(html).tags
    assert "&lt;script&gt;alert(" in html
    assert b"<script" not in contents["spectrum.svg"] + contents["evidence.svg"]
    jsonschema.validate(json.loads(contents["result.json"]), document.schema())
    for line in contents["ratios.tsv"].decode().splitlines():
        assert len(line.split("\t")) == len(table.COLUMNS)


def test_every_output_has_the_interval_of_the_level_that_was_asked_for():
    analysis = spectrum_analysis(level=0.68)
    wanted = analysis.ratios["Cho/Cr"].interval(0.68)

    contents = files.render(analysis, formats=())

    found = json.loads(contents["result.json"])["ratios"]["Cho/Cr"]
    assert found["level"] == 0.68
    assert found["interval"]["lower"] == pytest.approx(wanted.lower.item())
    assert found["interval"]["upper"] == pytest.approx(wanted.upper.item())
    titles, *rows = (line.split("\t") for line in contents["ratios.tsv"].decode().splitlines())
    row = next(dict(zip(titles, row, strict=True)) for row in rows if "Cho/Cr" in row)
    assert row["level"] == "0.68"
    assert float(row["ci_low"]) == pytest.approx(wanted.lower.item())
    ends = f"{wanted.lower.item():.2f} to {wanted.upper.item():.2f}"
    for said in (contents["report.html"].decode(), text.summary(analysis)):
        assert "68 % interval" in said
        assert ends in said


def test_the_page_shows_what_disagrees_beside_what_agrees():
    html = html_of("peak table")

    assert "recurrence-favoring: 2 of 4" in html
    assert "necrosis-favoring: 2 of 4" in html
    assert "Only 2.7 % over." in html
    assert "low perfusion" in html
    assert "The source reports no uncertainty" in html


def test_the_page_tells_paragraphs_and_lists():
    html = html_of("peak table")

    assert "<p>The spectrum favours necrosis.</p>" in html
    assert "<p>For it:</p>" in html
    assert "<li>lipid</li></ul>" in html


def test_the_page_says_what_was_not_detected():
    html = html_of("absent creatine")

    assert re.search(r"above \d+\.\d+, Cr not detected", html)


def test_figures_carry_no_date_and_no_creator():
    contents = rendered("spectrum")

    for name in ("spectrum", "evidence"):
        svg = contents[f"{name}.svg"].decode()
        assert "<metadata" not in svg
        assert "atplotlib" not in svg.partition("<defs>")[0]
        assert b"Software" not in contents[f"{name}.png"]


def test_the_ppm_axis_falls_to_the_right():
    drawing = figure.spectrum(spectrum_analysis())

    for axes in drawing.axes:
        assert axes.get_xlim() == (4.2, 0.2)


def test_the_figure_draws_the_curves_of_the_fit():
    analysis = spectrum_analysis()
    curves = analysis.fit.curves((0, 0, 0))
    residual, main, parts = figure.spectrum(analysis).axes

    drawn = {line.get_label(): line.get_ydata() for line in main.get_lines()}
    np.testing.assert_array_equal(drawn["data"], curves.data.real)
    np.testing.assert_array_equal(drawn["fit"], curves.fit.real)
    np.testing.assert_array_equal(drawn["baseline"], curves.baseline.real)
    np.testing.assert_array_equal(residual.get_lines()[0].get_ydata(), curves.residual.real)
    assert [t.get_text() for t in parts.texts] == ["mI", "Cho", "Cr", "NAA", "Lac", "Lip"]
    # mI is not detected here: 0.2 with a standard deviation of 0.2
    assert {t.get_text() for t in main.texts} == {"NAA", "Cr", "Cho", "LL"}


def test_groups_and_baseline_make_up_the_fit():
    curves = made_curves(np.linspace(0.0, 4.6, 600), np.zeros(600))
    areas = {"Lip13": "Lip13", "Lac": "", "mI": "MM30"}

    groups = figure.grouped(curves, areas)

    np.testing.assert_allclose(sum(groups.values()) + curves.baseline.real, curves.fit.real)
    assert list(groups) == ["Cho", "Cr", "NAA", "Lac", "Lip", "MM"]


@pytest.mark.parametrize(("whole", "part"), [("Cr", "CrCH2"), ("NAA", "NAAasp"), ("Lac", "LacCH")])
def test_what_is_missing_of_a_metabolites_lines_is_drawn_with_it(whole, part):
    curves = made_curves(np.linspace(0.0, 4.6, 600), np.zeros(600))

    groups = figure.grouped(curves, {"mI": part})

    both = curves.components[whole] + curves.components["mI"]
    np.testing.assert_array_equal(groups[whole], both.real)
    assert not {"mI", "other"} & set(groups)


def test_a_peak_table_has_no_spectrum_to_draw():
    with pytest.raises(ValueError, match="peak table"):
        figure.spectrum(table_analysis())


def test_an_assessment_without_cutoffs_has_no_evidence_figure():
    with pytest.raises(ValueError, match="no criterion"):
        figure.evidence(table_analysis(assessment=None))
    assert "evidence.svg" not in rendered("no assessment")


def test_a_bound_is_never_printed_as_if_it_were_measured():
    findings = made_assessment(REFERENCE).findings
    below, above = (
        dataclasses.replace(finding, is_bound=True, value=value)
        for finding, value in zip(findings, (0.22, 5.12), strict=False)
    )
    several = dataclasses.replace(above, cutoff=None)
    analysis = table_analysis(
        assessment=made_assessment(REFERENCE, findings=(below, above, several))
    )

    words = text.summary(analysis)
    html = page.to_html(analysis, {})
    axes = figure.evidence(analysis).axes[0]
    drawn = [label.get_text() for label in axes.texts]
    arrows = {line.get_marker() for line in axes.lines} & {"<", ">", "o"}

    assert arrows == {"<", ">"}  # towards where the truth lies, and no dot
    for bound in ("below 0.22", "above 5.12"):
        assert f": {bound}\n" in words
        assert f">{bound}<" in html
        assert bound in drawn
    assert ": bound 5.12\n" in words


def test_an_absent_peak_is_shown_as_a_bound_everywhere():
    # LL is not detected, nor is NAA
    areas = PeakAreas(
        ("LL", "Cho", "Cr", "NAA"), [0.2, 3.4, 2.9, 0.1], np.diag([0.2, 0.1, 0.1, 0.1]) ** 2
    )
    analysis = table_analysis(areas, assessment=None)
    below, above = (analysis.ratios[name].bound().item() for name in ("LL/Cr", "Cho/NAA"))

    shown = text.summary(analysis), page.to_html(analysis, {})

    for words in shown:
        assert f"LL not detected, below {below:.2f}" in words
        assert f"above {above:.2f}, NAA not detected" in words
        assert "neither LL nor NAA detected" in words


def test_a_ratio_that_only_a_criterion_uses_has_its_interval():
    areas = PeakAreas(("Cho", "Cr", "Lac"), [3.4, 2.9, 4.1], np.diag([0.1, 0.1, 0.2]) ** 2)
    finding = Finding(
        id="lac", statement="Lac/Cho > 1.05 (Nakajima 2009)", citation="1", expression="Lac/Cho",
        comparator=">", cutoff=1.05, value=4.1 / 3.4, favors=Favors.NECROSIS, is_scored=True,
    )  # fmt: skip
    assert "Lac/Cho" not in standard_ratios(areas)
    interval = ratio(areas, "Lac", "Cho").interval(0.95)
    shown = f"1.21 ({float(interval.lower):.2f} to {float(interval.upper):.2f})"

    analysis = table_analysis(areas, assessment=made_assessment(REFERENCE, findings=(finding,)))

    assert shown in text.summary(analysis)
    assert shown in page.to_html(analysis, {})
    assert shown in [words.get_text() for words in figure.evidence(analysis).axes[0].texts]


def test_no_header_promises_an_interval_that_the_source_does_not_give():
    assert "(interval)" not in page.to_html(table_analysis(), {})
    assert "value (interval)" in page.to_html(spectrum_analysis(), {})


def test_a_perfusion_that_is_not_scored_is_shown_with_its_value():
    found = analyze({"Cho": 1, "Cr": 1, "NAA": 1}, context=Context(rcbv_white=1.5))

    assert (
        "perfusion: recurrence criterion not met: rCBV/WM > 2 (Hoefnagels 2009): 1.50"
        in text.summary(found)
    )


def test_a_criterion_that_is_not_met_is_said_to_favor_the_other_side():
    analysis = analyze({"LL": 108964, "Cho": 33671, "Cr": 29534, "NAA": 31278})

    for words in (text.summary(analysis), page.to_html(analysis, {})):
        assert "recurrence criterion not met: Cho/NAA > 1.17" in unescape(words)
        assert "not met: LL/Cho" not in words  # is met, and for necrosis
    assert {one.is_met for one in analysis.assessment.findings if one.is_scored} == {True, False}


def test_a_criterion_of_necrosis_that_is_not_met_is_called_one_of_necrosis():
    found = analyze({"LL": 0.5, "Lac": 0.2, "Cho": 2.0, "Cr": 1.0, "NAA": 1.0})

    words = text.summary(found)

    assert "    necrosis criterion not met: Lac/Cho > 1.05 (Nakajima 2009): 0.10" in words


def test_the_summary_fits_a_terminal_and_says_it_all():
    words = text.summary(table_analysis())

    assert max(map(len, words.splitlines())) <= 100
    assert re.search(r"Cho/Cr +1\.14", words)
    assert re.search(r"LL/Cr +3\.69", words)
    assert "NECROSIS-FAVORING: likelihood ratio 0.280" in words
    assert "recurrence-favoring (2)" in words
    assert "The echo time is unknown." in words
    assert "Not a diagnosis" in words
    assert "TE unknown" in words


def test_the_summary_says_what_was_odd_about_the_data():
    analysis = spectrum_analysis()
    note = "The file's echo time is no length in s and was not used."
    history = (
        Step("read", {}, note),
        Step("reject_averages", {"rejected": [3]}, "1 of 8 averages left out: 4 is zero."),
        Step("correct_eddy_currents", {"applied": False}, "The water reference was not used."),
        Step("phase", {}, "Turned."),
    )
    spectra = dataclasses.replace(analysis.fit.spectra, history=history)

    words = text.summary(dataclasses.replace(analysis, spectra=spectra))

    assert note in words
    assert "1 of 8 averages left out" in words
    assert "The water reference was not used." in words
    assert "Turned." not in words


def test_the_summary_of_a_grid_counts_its_voxels():
    words = text.summary(ANALYSES["grid"]())

    assert "grid of 3 x 2 x 1 voxels" in words
    assert re.search(r"6  the fit converged", words)


def test_the_summary_of_a_grid_says_what_withholds_the_labels():
    made = phantom("normal_white_matter", np.random.default_rng(1), grid=(3, 1, 1), snr=30.0)

    words = text.summary(analyze(made.data, preprocessing={"find_mask": False}))

    assert "       3  not-evaluable\nwithheld by: near-normal (3)" in words


def test_a_closed_gate_is_in_the_summary():
    gate = Gate(name="snr", is_open=False, is_checked=True, sentence="SNR is 3, below 5.",
                gives=Favors.NOT_EVALUABLE)  # fmt: skip
    assessment = made_assessment(REFERENCE, favors=Favors.NOT_EVALUABLE, gates=(gate,))

    words = text.summary(table_analysis(assessment=assessment))

    assert "NOT-EVALUABLE" in words
    assert "SNR is 3, below 5." in words


def test_no_number_stands_beside_a_label_that_is_withheld():
    gate = Gate(name="snr", is_open=False, is_checked=True, sentence="SNR is 3, below 5.",
                gives=Favors.NOT_EVALUABLE)  # fmt: skip
    assessment = made_assessment(REFERENCE, favors=Favors.NOT_EVALUABLE, gates=(gate,))
    analysis = table_analysis(assessment=assessment)

    words, shown = text.summary(analysis), page.to_html(analysis, {})

    assert "NOT-EVALUABLE: SNR is 3, below 5.\n" in words
    assert "<p>SNR is 3, below 5.</p>" in shown
    unusable = "These numbers are not to be used: the spectrum failed the check of snr."
    assert unusable in shown
    assert words.index(unusable) < words.index("Cho/Cr")
    assert "No label is given. The criteria alone would say: likelihood ratio" in shown


def test_what_a_gate_says_is_not_said_again_as_a_caveat():
    said = "One voxel speaks for its own tissue."
    gate = Gate(name="sampling", is_open=False, is_checked=True, sentence=said)
    assessment = made_assessment(REFERENCE, gates=(gate,), caveats=(said, "Another."))

    words = text.summary(table_analysis(assessment=assessment))

    assert words.count(said) == 1
    assert "Another." in words


@pytest.mark.parametrize(
    ("value", "printed"),
    [(1.14008, "1.14"), (0.0412, "0.041"), (0.0, "0.00"), (None, rows.DASH), (math.nan, rows.DASH),
     (math.inf, "∞"), (-0.3, "\N{MINUS SIGN}0.30"), (108964.0, "108964")],
)  # fmt: skip
def test_numbers_are_printed_as_they_are_read(value, printed):
    assert rows.number(value) == printed


def test_intervals_are_printed_by_their_shape():
    assert rows.interval_text(1.0, 2.0, "bounded") == "1.00 to 2.00"
    assert rows.interval_text(1.0, 2.0, "two-piece") == "below 1.00 or above 2.00"
    assert rows.interval_text(-math.inf, math.inf, "unbounded") == "any value"
    assert rows.interval_text(None, None, "none") == rows.DASH


def test_writing_makes_whole_files_and_leaves_nothing_else(tmp_path):
    written = files.write(spectrum_analysis(), tmp_path / "a" / "b")

    names = {path.name for path in (tmp_path / "a" / "b").iterdir()}
    assert names == {path.name for path in written} == {
        "result.json", "ratios.tsv", "mrsinmrs.tsv", "report.html",
        "spectrum.png", "spectrum.svg", "evidence.png", "evidence.svg",
    }  # fmt: skip


def test_a_result_is_not_replaced_unasked(tmp_path):
    files.write(table_analysis(), tmp_path)

    with pytest.raises(OutputError, match="give --overwrite"):
        files.write(table_analysis(), tmp_path)
    files.write(table_analysis(), tmp_path, overwrite=True)


def test_nothing_of_an_earlier_result_stays_beside_a_new_one(tmp_path):
    files.write(spectrum_analysis(), tmp_path)
    (tmp_path / "maps").mkdir()
    for name in ("grid.html", "label.png", "assessment.dcm", "map_ChoCr.dcm",
                 "maps/grid_met-ChoCr_desc-ratio_mrsmap.nii.gz"):  # fmt: skip
        (tmp_path / name).write_text("of another patient")
    (tmp_path / "notes.txt").write_text("mine")

    files.write(table_analysis(), tmp_path, overwrite=True)

    assert {path.name for path in tmp_path.iterdir()} == {
        "result.json", "ratios.tsv", "mrsinmrs.tsv", "report.html", "evidence.png",
        "evidence.svg", "notes.txt",
    }  # fmt: skip


def test_what_is_no_result_is_not_removed(tmp_path):
    (tmp_path / "spectrum.png").write_text("mine")
    (tmp_path / "result.json").write_text('{"mine": true}')

    files.remove_earlier(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {"spectrum.png", "result.json"}


def no_room_for(name, monkeypatch):
    staged = files.staged

    def full(path, data):
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return staged(path, data)

    monkeypatch.setattr(files, "staged", full)


def test_a_result_that_finds_no_room_leaves_no_part_of_it(tmp_path, monkeypatch):
    no_room_for("report.html", monkeypatch)

    with pytest.raises(OutputError, match="No space left"):
        files.write(table_analysis(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_result_that_finds_no_room_leaves_the_earlier_one_as_it_was(tmp_path, monkeypatch):
    files.write(spectrum_analysis(), tmp_path)
    earlier = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    no_room_for("report.html", monkeypatch)

    with pytest.raises(OutputError, match="No space left"):
        files.write(table_analysis(), tmp_path, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == earlier


@pytest.mark.skipif(os.name == "nt", reason="folders have no lock there")
def test_of_two_results_written_at_once_the_last_is_whole(tmp_path, monkeypatch):
    files.write(table_analysis(), tmp_path)
    second = threading.Thread(
        target=files.write, args=(spectrum_analysis(), tmp_path), kwargs={"overwrite": True}
    )
    remove = files.remove_earlier

    def slow(folder, *, keep):
        if threading.current_thread() is not second:
            second.start()
            second.join(timeout=1.0)  # it would have written in between
            assert second.is_alive()
        remove(folder, keep=keep)

    monkeypatch.setattr(files, "remove_earlier", slow)

    files.write(table_analysis(), tmp_path, overwrite=True)
    second.join()

    alone = {path.name for path in files.write(spectrum_analysis(), tmp_path / "alone")}
    for name in alone:
        assert (tmp_path / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="folders have no lock there")
def test_what_a_killed_command_left_is_removed(tmp_path):
    left = tmp_path / ".report.html.4711-0123abcd"
    left.write_text("half of it")
    other = tmp_path / ".report.html.notes"
    other.write_text("mine")

    files.write(table_analysis(), tmp_path)

    assert not left.exists()
    assert other.read_text() == "mine"


def test_a_foreign_file_is_never_replaced(tmp_path):
    (tmp_path / "report.html").write_text("mine")

    with pytest.raises(OutputError, match=r"report\.html exists and is not a result"):
        files.write(table_analysis(), tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "mine"


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")

    with pytest.raises(OutputError, match="not a folder"):
        files.write(table_analysis(), tmp_path / "out")


def test_a_full_disk_is_an_output_error(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OutputError, match="No space left"):
        files.write(table_analysis(), tmp_path)


def test_the_reporting_table_says_what_is_not_known():
    from mrs_necrosis.report.reporting import mrsinmrs_rows, mrsinmrs_tsv

    values = {item: value for _, item, value in mrsinmrs_rows(table_analysis())}
    assert values["field strength"] == "not available"
    values = {item: value for _, item, value in mrsinmrs_rows(spectrum_analysis())}
    assert values["field strength"] == "3 T"
    assert values["repetition time, echo time"] == "2000 ms, 30 ms"
    assert values["nominal voxel size"] == "20 x 20 x 20 mm"

    lines = [line.split("\t") for line in mrsinmrs_tsv(spectrum_analysis()).splitlines()]
    assert lines[0] == ["part", "item", "value"]
    assert lines[1:] == [list(row) for row in mrsinmrs_rows(spectrum_analysis())]


def test_the_line_of_quality_is_that_of_its_voxel():
    analysis = spectrum_analysis(grid=(1, 2, 1))
    snr = np.array([[[40.0], [7.0]]])
    quality = dataclasses.replace(analysis.quality, snr=snr)

    assert text.quality_line(quality, (0, 1, 0)).startswith("SNR 7,")
    assert quality.voxel((0, 1, 0)).snr.item() == 7.0


def test_an_snr_without_an_upright_peak_is_no_negative_number():
    analysis = spectrum_analysis(grid=(1, 1, 1))
    quality = dataclasses.replace(analysis.quality, snr=np.full((1, 1, 1), -13.0))
    analysis = dataclasses.replace(
        analysis, fit=dataclasses.replace(analysis.fit, quality=quality),
        assessment=assess(analysis.areas, quality=quality),
    )  # fmt: skip

    words, shown = text.summary(analysis), page.to_html(analysis, {})

    assert "SNR below 1, linewidth" in words
    assert "The SNR is below 1: too poor" in words
    assert "-13" not in words
    assert "<td>below 1</td>" in shown


def test_statuses_are_named_in_the_json():
    analysis = spectrum_analysis()
    quality = dataclasses.replace(
        analysis.quality, status=np.full((1, 1, 1), FitStatus.AT_BOUND, dtype=np.uint8)
    )
    analysis = dataclasses.replace(
        analysis, fit=dataclasses.replace(analysis.fit, quality=quality)
    )

    assert document.document(analysis)["quality"]["status"] == "at-bound"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium")
def test_a_browser_shows_the_page_from_disk(tmp_path):
    files.write(spectrum_analysis(), tmp_path)
    picture = tmp_path / "page.png"

    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1000,1400",
         f"--screenshot={picture}", (tmp_path / "report.html").as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip

    from matplotlib.image import imread

    pixels = imread(picture)[..., :3]
    assert pixels.shape[:2] == (1400, 1000)
    # the fit is drawn in vermilion: a page without its figure would have almost none
    fit_colour = np.abs(pixels - np.array([0xD5, 0x5E, 0x00]) / 255).max(axis=-1) < 0.1
    assert fit_colour.sum() > 200


def test_the_page_template_never_meets_an_undefined_name():
    with pytest.raises(Exception, match="undefined"):
        page.environment().from_string("{{ nothing }}").render()


def test_the_reporting_table_counts_receivers_and_averages():
    from mrs_necrosis import analyze
    from mrs_necrosis.report.reporting import mrsinmrs_rows

    made = phantom("mixed", np.random.default_rng(0), coils=2, averages=4, n_samples=512)

    values = {item: value for _, item, value in mrsinmrs_rows(analyze(made.data))}

    assert values["coils"] == "2 receivers, combined here"
    assert values["averages"] == "4, averaged here"


@pytest.mark.parametrize(("label", "shown"), [("indeterminate", True), ("not-evaluable", False)])
def test_a_cohort_shows_no_likelihood_ratio_where_the_label_is_withheld(label, shown):
    summary = {"favors": label, "likelihood_ratio": 0.2451, "ratios": {}}
    marker = {"unit": "sub-01_svs", "state": "done", "files": {}, "summary": summary}

    html = cohort_page.cohort_page([marker])

    assert ("0.245" in html) is shown


def test_the_provenance_is_read_by_a_person():
    known = {"parameters": {"basis_sha256": None, "fit_range_ppm": [0.2, 4.15]}}

    shown = page.to_html(spectrum_analysis(provenance=known), {})

    assert re.search(r"parameters\.basis_sha256</th>\s*<td>none<", shown)
    assert re.search(r"parameters\.fit_range_ppm</th>\s*<td>0\.2, 4\.15<", shown)


def test_the_picture_of_a_grids_spectrum_names_its_voxel():
    shown = figure.spectrum(spectrum_analysis(grid=(1, 2, 1)), (0, 1, 0))
    alone = figure.spectrum(spectrum_analysis())

    assert shown.axes[0].get_title(loc="left").startswith("voxel 0, 1, 0,  PRESS")
    assert alone.axes[0].get_title(loc="left").startswith("PRESS")


def test_a_cohort_of_single_voxels_has_no_column_of_voxels():
    single = {"unit": "a", "state": "done", "files": {}, "summary": {"voxels": 1}}
    grid = {**single, "summary": {"voxels": 256, "counts": {"indeterminate": 9}}}

    assert ">Voxels<" not in cohort_page.cohort_page([single])
    assert ">Voxels<" in cohort_page.cohort_page([single, grid])


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium")
def test_the_page_can_be_read_on_a_telephone(tmp_path):
    files.write(table_analysis(), tmp_path)
    # the browser's own window is never narrower than 500 pixels
    frame = f'<iframe id="page" src="{(tmp_path / "report.html").as_uri()}" width="400">'
    asked = (
        f"<html><body>{frame}</iframe><script>"
        "addEventListener('load', () => { const cells = document.getElementById('page')"
        ".contentDocument.querySelectorAll('table.findings th[scope=row]');"
        "document.title = Math.min(...[...cells].map((cell) => cell.clientWidth)); });"
        "</script></body></html>"
    )
    (tmp_path / "asked.html").write_text(asked, encoding="utf-8")

    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu",
         "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         (tmp_path / "asked.html").as_uri()],
        check=True, capture_output=True, timeout=120, text=True,
    )  # fmt: skip

    width = re.search(r"<title>(\d+)", done.stdout)
    # a column of one letter a line was 9 pixels wide
    assert width is not None
    assert int(width[1]) > 150


def test_the_number_beside_a_label_is_the_one_that_decided_it():
    analysis = analyze(
        {"LL": 108964, "Cho": 33671, "Cr": 29534, "NAA": 31278},
        context=Context(
            population="metastasis", perfusion_reading="low",
            readings=(Reading(kind="mri", text="map-like enhancement"),),
        ),
    )  # fmt: skip

    shown = " ".join(text.summary(analysis).split())

    # spectroscopy alone is 0.349, which is no label
    assert "NECROSIS-FAVORING: likelihood ratio 0.243" in shown
    assert "spectroscopy alone: indeterminate, likelihood ratio 0.349" in shown
    assert "shown, not scored MRI: map-like enhancement" in shown


def test_the_methods_of_a_table_are_those_of_its_quantity():
    from mrs_necrosis.report.reporting import methods_paragraph

    molar = PeakAreas(("LL", "Cho", "Cr", "NAA"), [1.35, 0.36, 0.33, 0.37], None, "mM", "molar")

    printed = methods_paragraph(analyze(molar, context=Context(perfusion_reading="low")))
    fitted = methods_paragraph(spectrum_analysis())

    assert "Ratios are quotients of concentrations." in printed
    assert "Perfusion was added as a likelihood ratio of its own" in printed
    assert "LL is lipid 1.3" not in printed
    assert "Ratios are quotients of areas; LL is lipid 1.3" in fitted
    assert "Perfusion" not in fitted


def test_a_component_that_points_down_is_not_cut():
    axes = Figure().subplots()
    ppm = np.linspace(0.5, 4.0, 50)

    figure._draw_components(axes, {"mI": np.ones(50) * 0.1, "other": -np.ones(50)}, ppm)

    assert axes.get_ylim()[0] < -1.3


def test_a_likelihood_ratio_and_its_interval_are_rounded_alike():
    evidence = Evidence(likelihood_ratio=0.3256, interval=(0.3251, 0.3314), posterior=0.25)

    assert text.evidence_words(evidence).startswith("likelihood ratio 0.326 (0.325 to 0.331), ")
