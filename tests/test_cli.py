"""The command: what it prints, what it writes, how it ends."""

import errno
import gzip
import json
import logging
import os
import socket
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from basis_files import macromolecule_json

import mrs_necrosis
from mrs_necrosis import cli
from mrs_necrosis.cli import command as command_line
from mrs_necrosis.cli import console, criteria
from mrs_necrosis.cli.console import (
    EXIT_BAD_INPUT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_OUTPUT,
    EXIT_SOME_FAILED,
    EXIT_USAGE,
)
from mrs_necrosis.criteria import load_criteria
from mrs_necrosis.errors import MRSNecrosisWarning
from mrs_necrosis.io import read, read_basis, write_nifti_mrs
from mrs_necrosis.report.document import schema
from mrs_necrosis.simulation import phantom, sample_path
from mrs_necrosis.spectra import Acquisition, SpectralData

jsonschema = pytest.importorskip("jsonschema")

PEAKS = ["LL=108964", "Cho=33671", "Cr=29534", "NAA=31278"]
SPECTRUM = "reference_case_te144.nii.gz"


def command(capsys, *arguments):
    """Run the command in this process; return exit code, standard output and standard error."""
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def made(path, fid, **known):
    acquisition = Acquisition(
        **{"spectrometer_frequency_mhz": 123.2, "dwell_time_s": 5e-4, "nucleus": "1H",
           "echo_time_s": 0.03, **known}
    )  # fmt: skip
    write_nifti_mrs(path, SpectralData(fid=fid, acquisition=acquisition))
    return path


def test_peak_values_on_the_command_line(capsys):
    code, out, err = command(capsys, "analyze", *PEAKS)

    assert code == 0
    assert "Cho/Cr       1.14" in out
    assert "LL/Cr        3.69" in out
    assert "NECROSIS-FAVORING: likelihood ratio 0.28" in out
    assert "Not a diagnosis" in out
    assert err == ""


def test_a_spectrum_gets_a_folder_of_results(capsys, tmp_path):
    code, out, _ = command(capsys, "analyze", sample_path(SPECTRUM), "--out", tmp_path / "out")

    assert code == 0
    assert "TE 144 ms" in out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "result.json", "ratios.tsv", "mrsinmrs.tsv", "report.html",
        "spectrum.png", "spectrum.svg", "evidence.png", "evidence.svg",
    }  # fmt: skip
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    jsonschema.validate(result, schema())
    assert result["source"]["sha256"] is not None
    assert result["acquisition"]["echo_time_s"] == pytest.approx(0.144)


@pytest.mark.parametrize(
    "name",
    ["normal_te30.nii.gz", "recurrence_te144.nii.gz", "too_poor_te144.nii.gz",
     "reference_case_te30.nii.gz", "reference_case.toml"],
)  # fmt: skip
def test_every_sample_gives_a_result_that_obeys_the_schema(capsys, name):
    code, out, _ = command(capsys, "analyze", sample_path(name), "--json", "-")

    assert code == 0
    jsonschema.validate(json.loads(out), schema())


def test_two_runs_write_the_same_bytes(capsys, tmp_path):
    for folder in ("a", "b"):
        assert (
            command(capsys, "analyze", sample_path(SPECTRUM), "--out", tmp_path / folder)[0] == 0
        )

    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_json_on_standard_output_is_nothing_but_json(capsys):
    code, out, err = command(capsys, "analyze", *PEAKS, "--json", "-")

    assert code == 0
    assert json.loads(out)["assessment"]["favors"] == "necrosis-favoring"
    assert err == ""


def test_json_goes_to_a_file(capsys, tmp_path):
    target = tmp_path / "one.json"

    assert command(capsys, "analyze", *PEAKS, "--json", target)[0] == 0
    code, _, err = command(capsys, "analyze", *PEAKS, "--json", target)
    assert code == EXIT_OUTPUT
    assert "give --overwrite" in err
    assert command(capsys, "analyze", *PEAKS, "--json", target, "--overwrite")[0] == 0
    jsonschema.validate(json.loads(target.read_text()), schema())


def test_overwrite_spares_a_foreign_file(capsys, tmp_path):
    target = tmp_path / "notes.json"
    target.write_text('{"mine": true}')

    code, _, err = command(capsys, "analyze", *PEAKS, "--json", target, "--overwrite")

    assert code == EXIT_OUTPUT
    assert "not a result of mrs-necrosis" in err
    assert target.read_text() == '{"mine": true}'


def test_a_result_is_replaced_only_when_asked(capsys, tmp_path):
    assert command(capsys, "analyze", *PEAKS, "--out", tmp_path, "--no-figures")[0] == 0
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    code, out, err = command(capsys, "analyze", *PEAKS, "--out", tmp_path)
    assert code == EXIT_OUTPUT
    assert len(err.splitlines()) == 1
    assert out == ""
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert command(capsys, "analyze", *PEAKS, "--out", tmp_path, "--overwrite")[0] == 0


def test_more_results_of_an_earlier_command_do_not_stay(capsys, tmp_path):
    table = tmp_path / "one.toml"
    table.write_text(sample_path("reference_case.toml").read_text("utf-8"), "utf-8")
    out = tmp_path / "out"
    arguments = ("--out", out, "--no-figures")
    command(capsys, "analyze", table, table, table, *arguments)
    (out / "003" / "notes.txt").write_text("mine")

    assert command(capsys, "analyze", table, table, *arguments, "--overwrite")[0] == 0

    assert {path.name for path in out.iterdir()} == {"001", "002", "003", "ratios.tsv"}
    assert [path.name for path in (out / "003").iterdir()] == ["notes.txt"]


def test_context_of_a_peak_table_changes_what_counts(capsys):
    _, unknown, _ = command(capsys, "analyze", *PEAKS, "--json", "-")
    _, known, _ = command(
        capsys, "analyze", *PEAKS, "--te", "30ms", "--field", "3T", "--json", "-"
    )
    unknown, known = json.loads(unknown), json.loads(known)

    assert known["echo_time_s"] == pytest.approx(0.03)
    assert known["field_t"] == pytest.approx(3)
    assert unknown["echo_time_s"] is None
    assert known["assessment"]["likelihood_ratio"] != unknown["assessment"]["likelihood_ratio"]
    assert known["ratios"]["Cho/Cr"]["value"] == unknown["ratios"]["Cho/Cr"]["value"]


def test_perfusion_and_mri_are_shown_beside_the_spectrum(capsys):
    _, out, _ = command(
        capsys, "analyze", *PEAKS, "--perfusion", "low", "--mri", "map-like enhancement",
        "--json", "-",
    )  # fmt: skip
    kinds = {finding["kind"] for finding in json.loads(out)["assessment"]["findings"]}

    assert kinds == {"spectroscopy", "perfusion", "mri"}


def test_the_prior_changes_the_posterior_alone(capsys):
    _, half, _ = command(capsys, "analyze", *PEAKS, "--json", "-")
    _, late, _ = command(
        capsys, "analyze", *PEAKS, "--prior", "narloch", "--months-since-irradiation", "12",
        "--json", "-",
    )  # fmt: skip
    half, late = json.loads(half)["assessment"], json.loads(late)["assessment"]

    assert late["likelihood_ratio"] == half["likelihood_ratio"]
    # a calculation apart from the library: 0.018 at the prior of 0.063
    assert late["prior"] == 0.063
    assert late["posterior"] == pytest.approx(0.018, abs=0.001)


def test_a_criteria_file_changes_the_evidence(capsys, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('schema = 1\n[[criterion]]\nid = "bulik2015_ll_cr"\nenabled = false\n')

    code, out, _ = command(capsys, "analyze", *PEAKS, "--criteria", mine, "--json", "-")

    assert code == 0
    assert json.loads(out)["assessment"]["likelihood_ratio"] < 0.27


# ---- several inputs ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    ["--out", "--criteria", "--dicom-source", "--table", "--anatomy", "--lesion-mask"],
)
def test_an_empty_path_is_not_the_current_folder(capsys, option):
    code, _, err = command(capsys, "analyze", *PEAKS, option, "")

    assert code == 2
    assert f"argument {option}: is an empty path, which would be the current folder" in err


def test_a_name_that_is_too_long_is_refused_in_a_short_sentence(capsys):
    code, _, err = command(capsys, "analyze", "a" * 5000)
    also, _, more = command(capsys, "analyze", *PEAKS, "--out", "b" * 300)

    assert (code, also) == (3, 4)
    assert "aa…aa" in err
    assert "cannot be opened (OSError)" in err
    assert "cannot write to bb" in more
    assert len(err + more) < 500


def test_what_cannot_be_written_is_refused_before_any_work(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path))
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr("mrs_necrosis.analyze", None)

    for out, why in (
        ("file/x", "cannot write to x: file is not a folder"),
        ("link", "link exists and is not a folder"),
        ("locked/x/y", "cannot write to y: Permission denied"),
    ):
        code, _, err = command(capsys, "analyze", *PEAKS, "--out", tmp_path / out)

        assert code == 4
        assert f"mrs-necrosis: {why}" in err


@pytest.mark.skipif(os.name == "nt", reason="a shell closes the streams")
@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 3), ("<&-", 0)])
def test_a_closed_stream_is_no_error(tmp_path, closed, code):
    source = " ".join(PEAKS) if code == 0 else tmp_path / "nothing.rda"

    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m mrs_necrosis analyze {source} {closed}"],
        capture_output=True, check=False,
    )  # fmt: skip

    assert done.returncode == code
    assert done.stderr == b""


def test_no_figures_are_drawn_where_none_are_wanted(capsys, tmp_path):
    source = sample_path(SPECTRUM)

    command(capsys, "analyze", source, "--out", tmp_path, "--no-figures")

    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"result.json", "ratios.tsv", "mrsinmrs.tsv", "report.html"}


def test_a_visit_that_cannot_be_analysed_is_named(capsys, tmp_path):
    zeros = made(tmp_path / "zeros.nii.gz", np.zeros((1, 1, 1, 512), complex))

    code, _, err = command(capsys, "followup", "--visit", "2012-09", zeros)

    assert code == 3
    assert "mrs-necrosis: zeros.nii.gz: every sample of the data is zero" in err


def test_what_is_said_of_one_of_several_inputs_names_it(capsys, tmp_path):
    zeros = made(tmp_path / "zeros.nii.gz", np.zeros((1, 1, 1, 512), complex))
    noise = np.random.default_rng(0).standard_normal((2, 1, 1, 1, 512))
    noisy = made(tmp_path / "noise.nii.gz", noise[0] + 1j * noise[1])

    code, _, err = command(capsys, "analyze", zeros, noisy)

    assert code == 1
    assert "mrs-necrosis: zeros.nii.gz: every sample of the data is zero" in err
    assert "note: noise.nii.gz: the chemical shift of this spectrum is uncertain" in err


def test_several_inputs_get_numbered_folders_and_one_table(capsys, tmp_path):
    table = sample_path("reference_case.toml")

    code, out, _ = command(capsys, "analyze", table, *PEAKS, "--out", tmp_path, "--no-figures")

    assert code == 0
    assert (tmp_path / "001" / "report.html").exists()
    assert (tmp_path / "002" / "report.html").exists()
    assert "reference_case.toml" in out
    lines = (tmp_path / "ratios.tsv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 6


def test_one_bad_input_does_not_stop_the_others(capsys, tmp_path):
    bad = tmp_path / "bad.rda"
    bad.write_bytes(b"\x00" * 100)

    code, out, err = command(
        capsys, "analyze", bad, *PEAKS, "--out", tmp_path / "out", "--no-figures"
    )

    assert code == EXIT_SOME_FAILED
    assert "bad.rda" in err
    assert "NECROSIS-FAVORING" in out
    assert not (tmp_path / "out" / "001").exists()


def test_all_inputs_bad_is_bad_input(capsys, tmp_path):
    assert command(capsys, "analyze", tmp_path / "a", tmp_path / "b")[0] == EXIT_BAD_INPUT


def units_of(*arguments):
    parser, commands = command_line._parsers()
    return command_line._parse(parser, commands, ["analyze", *arguments]).inputs


def test_a_water_reference_belongs_to_the_input_before_it():
    units = units_of("a.rda", "b.rda", "--out", "x", "--water-reference", "w.rda", "c.rda",
                     "--water-reference=v.rda")  # fmt: skip

    assert [(unit.source, unit.water) for unit in units] == [
        ("a.rda", None), ("b.rda", "w.rda"), ("c.rda", "v.rda"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--water-reference", "w.rda", "a.rda"], "follows the input"),
        (["a.rda", "--water-reference"], "expected one argument"),
        (["a.rda", "--water-reference", "w", "--water-reference", "v"], "two --water-reference"),
        (["Cho=1", "--water-reference", "w"], "no water reference"),
    ],
)
def test_a_misplaced_water_reference_is_refused(capsys, arguments, message):
    code, _, err = command(capsys, "analyze", *arguments)

    assert code == EXIT_USAGE
    assert message in err


# ---- a wrong command line ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which command"),
        (["nonsense"], "invalid choice"),
        (["analyze"], "INPUT"),
        (["analyze", "x.rda", "--echo-time", "30"], "30ms or 0.03s"),
        (["analyze", "x.rda", "--echo-time", "soon"], "30ms or 0.03s"),
        (["analyze", "x.rda", "--echo-time", "30s"], "echo_time_s must be in s"),
        (["analyze", "x.rda", "--field", "3T", "--frequency", "127MHz"], "not allowed with"),
        (["analyze", "x.rda", "--field", "300T"], "field_t must be in T, between 0.03 and 23"),
        (["analyze", "x.rda", "--nucleus", "foo"], "a nucleus is written like 1H; got 'foo'"),
        (["analyze", "x.rda", "--sequence", "a b"], "a sequence is written like PRESS, STEAM or"),
        (["analyze", "x.rda", "--samples", "5"], "must be a whole number from 16 on; got '5'"),
        (["analyze", "x.rda", "--random-seed=-1"], "a whole number from 0 on; got '-1'"),
        (["analyze", "x.rda", "--samples", "99999999"], "a whole number up to 16777216"),
        (["analyze", "x.rda", "--fit-range", "4", "2"], "--fit-range must ascend, and hold 2.6"),
        (["analyze", "x.rda", "--fit-range", "2.5", "2.7"], "and hold 2.6 to 3.03 ppm"),
        (["analyze", "x.rda", "--omp-nthreads", "0"], "must be a whole number from 1 on"),
        (["analyze", "x.rda", "--prior", "1.5"], "between 0 and 1"),
        (["analyze", "x.rda", "--rcbv-grey", "-1"], "between 0 and 100; got '-1'"),
        (["analyze", "x.rda", "--prior", "narloch"], "--months-since-irradiation"),
        (
            [
                "analyze",
                "x.rda",
                "--prior",
                "narloch",
                "--months-since-irradiation",
                "7",
                "--population",
                "glioma",
            ],
            "--prior narloch is of metastases, not of another",
        ),
        (["analyze", "x.rda", "--level", "95"], "between 0 and 1"),
        (["simulate", "mixed", "--out", "x.nii", "--snr", "0"], "a number above 0; got '0'"),
        (["analyze", "x.rda", "--nprocs", "2"], "--nprocs and --mem-mb go with --table"),
        (["analyze", "x.rda", "--mem-mb", "800"], "--nprocs and --mem-mb go with --table"),
        (["analyze", "x.rda", "--work-dir", "w"], "unrecognized arguments: --work-dir"),
        (
            ["analyze", "--table", "t.csv", "--out", "o", "--dicom-source", "a.dcm"],
            "--dicom-source does not go with --table",
        ),
        (["analyze", "Cho=many", "Cr=1"], "NAME=VALUE"),
        (["analyze", "Cho=1", "Cho=2"], "a peak twice"),
        (["simulate", "radiation_necrosis", "--out", "x.txt"], ".nii or .nii.gz"),
        (
            ["simulate", "mixed", "--out", "x.nii", "--grid", "1000", "1000", "100"],
            "at most 1 GB are simulated at once",
        ),
        (
            ["simulate", "radiation_necrosis", "--out", "x.nii", "--sequence", "FOO"],
            "sequence must be one of PRESS, STEAM, sLASER, SPIN-ECHO, PULSE-ACQUIRE; got 'FOO'",
        ),
        (
            ["simulate", "radiation_necrosis", "--out", "x.nii", "--water-reference", "x.nii"],
            "--water-reference and --out must be two files",
        ),
        (["followup", "--reproducibility", "Cho=1", "--visit", "2012", "x.rda"], "like 'Cho/Cr'"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(capsys, arguments, message):
    code, out, err = command(capsys, *arguments)

    assert code == EXIT_USAGE
    assert message in err
    assert out == ""


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [
        (MemoryError(), EXIT_BAD_INPUT, "there is not enough memory for this"),
        (OSError(errno.ENOSPC, "full"), EXIT_OUTPUT, "no space is left for the output"),
    ],
)
def test_a_full_machine_is_said_in_one_sentence(capsys, monkeypatch, error, exit_code, message):
    def fail(*_):
        raise error

    monkeypatch.setattr(criteria, "say", fail)

    code, _, err = command(capsys, "criteria")

    assert code == exit_code
    assert err == f"mrs-necrosis: {message}\n"


def test_a_step_that_cannot_be_left_out_is_a_usage_error(capsys, tmp_path):
    made = phantom("normal_white_matter", np.random.default_rng(1), averages=2)
    write_nifti_mrs(tmp_path / "scan.nii.gz", made.data)

    code, out, err = command(capsys, "analyze", tmp_path / "scan.nii.gz", "--average", "off")

    assert code == EXIT_USAGE
    assert "a fit takes one FID per voxel; leave out --combine-coils and --average off" in err
    assert out == ""


# ---- bad inputs -------------------------------------------------------------------------------


def truncated(tmp_path):
    path = tmp_path / "truncated.nii.gz"
    path.write_bytes(sample_path(SPECTRUM).read_bytes()[:4000])
    return path


def shortened(tmp_path):
    path = tmp_path / "shortened.nii"
    path.write_bytes(gzip.decompress(sample_path(SPECTRUM).read_bytes())[:-1000])
    return path


def corrupted(tmp_path):
    content = bytearray(gzip.decompress(sample_path(SPECTRUM).read_bytes()))
    content[540:900] = b"\xff" * 360
    path = tmp_path / "corrupted.nii"
    path.write_bytes(bytes(content))
    return path


def empty(tmp_path):
    path = tmp_path / "empty.rda"
    path.write_bytes(b"")
    return path


def a_picture(tmp_path):
    path = tmp_path / "picture.dcm"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    return path


def a_folder(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    return path


def nothing_there(tmp_path):
    return tmp_path / "nowhere.rda"


def all_nan(tmp_path):
    return made(tmp_path / "nan.nii.gz", np.full((1, 1, 1, 512), np.nan + 0j))


def all_zero(tmp_path):
    return made(tmp_path / "zero.nii.gz", np.zeros((1, 1, 1, 512), complex))


def phosphorus(tmp_path):
    return sample_path("phosphorus_31p.nii.gz")


def broken_table(tmp_path):
    path = tmp_path / "peaks.toml"
    path.write_text("[peaks\nCho = 1")
    return path


def text_that_is_no_spectrum(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear colleague,\nthank you for the spectrum.\n")
    return path


BAD = [
    truncated, shortened, corrupted, empty, a_picture, a_folder, nothing_there, all_nan, all_zero,
    phosphorus, broken_table, text_that_is_no_spectrum,
]  # fmt: skip


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_a_bad_input_gets_one_sentence_and_leaves_nothing(capsys, tmp_path, make):
    path = make(tmp_path)
    out_folder = tmp_path / "out"
    json_file = tmp_path / "out.json"

    code, out, err = command(
        capsys, "analyze", path, "--out", out_folder, "--json", json_file
    )  # fmt: skip

    assert code == EXIT_BAD_INPUT
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("mrs-necrosis: ")
    assert "Traceback" not in err
    assert "internal" not in err
    assert not out_folder.exists()
    assert not json_file.exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (phosphorus, "31P"),
        (all_zero, "zero"),
        (all_nan, "finite"),
        (nothing_there, "does not exist"),
    ],
)
def test_the_sentence_says_what_is_wrong(capsys, tmp_path, make, message):
    _, _, err = command(capsys, "analyze", make(tmp_path))

    assert message.lower() in err.lower()


def test_a_wrong_criteria_file_is_a_bad_input(capsys, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text("schema = 1\n[[criterion]]\nid = 3\n")

    code, _, err = command(capsys, "analyze", *PEAKS, "--criteria", mine)

    assert code == EXIT_BAD_INPUT
    assert len(err.splitlines()) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written_is_an_output_error(capsys, tmp_path):
    tmp_path.chmod(0o500)

    code, _, err = command(capsys, "analyze", *PEAKS, "--out", tmp_path / "out")

    assert code == EXIT_OUTPUT
    assert len(err.splitlines()) == 1


def test_an_out_that_is_a_file_is_an_output_error(capsys, tmp_path):
    target = tmp_path / "out"
    target.write_text("mine")

    assert command(capsys, "analyze", *PEAKS, "--out", target)[0] == EXIT_OUTPUT
    assert target.read_text() == "mine"


@pytest.mark.parametrize("name", [".", "a\nb\x1b[31m.nii"])
def test_a_message_names_the_input_in_one_line(capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)

    code, _, err = command(capsys, "analyze", name)

    assert code == EXIT_BAD_INPUT
    shown = {".": "."}.get(name, "a b?[31m.nii")
    assert err.startswith(f"mrs-necrosis: {shown}: ")
    assert len(err.splitlines()) == 1


def test_a_label_holds_nothing_that_a_terminal_or_a_page_could_obey(capsys, tmp_path):
    command(
        capsys, "analyze", *PEAKS, "--label", "A\tB\n\x1b[31m\u202ebad", "--out", tmp_path / "o"
    )

    for name in ("report.html", "ratios.tsv", "result.json"):
        assert "A B ?[31m?bad" in (tmp_path / "o" / name).read_text("utf-8")


# ---- people -----------------------------------------------------------------------------------

CANARY = "Canary^Patricia"


def test_standard_input_is_no_file_called_minus(capsys):
    code, _, err = command(capsys, "analyze", "-")

    assert code == EXIT_USAGE
    assert "standard input is not read: give a file" in err


def test_a_file_whose_name_begins_with_a_dash_is_no_option(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-q.csv").write_text("Cho,Cr,NAA\n3,2,1\n")

    code, out, _ = command(capsys, "analyze", "--label", "case", "--", "-q.csv")

    assert code == 0
    assert out.startswith("case: peak table")


def test_verbose_says_what_each_step_did(capsys):
    code, _, err = command(capsys, "analyze", sample_path(SPECTRUM), "-v")
    quiet = command(capsys, "analyze", sample_path(SPECTRUM))[2]

    assert code == 0
    assert "mrs_necrosis.pipeline: phase: The spectrum was turned by" in err
    assert "mrs_necrosis.pipeline: fit: model metabolites, " in err
    assert not quiet


def test_a_home_that_cannot_be_written_to_is_no_news(capsys, monkeypatch, caplog):
    said = logging.getLogger("matplotlib")

    def analyze(*arguments, **options):
        said.warning("Matplotlib created a temporary cache directory")
        return original(*arguments, **options)

    original = mrs_necrosis.analyze
    monkeypatch.setattr(mrs_necrosis, "analyze", analyze)

    assert command(capsys, "analyze", *PEAKS)[0] == 0
    assert not caplog.records
    assert said.level == logging.NOTSET


def test_no_name_from_a_header_or_a_file_name_reaches_an_output(capsys, tmp_path):
    rda = canary_rda(tmp_path / "Doe_Jane_19600101.rda")

    code, out, err = command(capsys, "analyze", rda, "--out", tmp_path / "out", "-v", "-v")

    assert code == 0
    for words in (out, err):
        assert CANARY not in words
    for path in (tmp_path / "out").iterdir():
        content = path.read_bytes()
        for word in (CANARY, "Canary", "19600101", "Doe_Jane", str(tmp_path)):
            assert word.encode() not in content, path.name


def canary_rda(path, **fields):
    data = read(sample_path(SPECTRUM))
    header = {
        "PatientName": CANARY, "PatientID": "Canary-4711", "PatientBirthDate": "19600101",
        "InstitutionName": "Canary hospital", "StudyDescription": "Canary",
        "SequenceName": "svs_se", "SequenceDescription": "Canary", "TR": "2000.0", "TE": "144.0",
        "Nucleus": "1H", "MRFrequency": "123.2", "DwellTime": "500", "VectorSize": "1024",
        "NumberOfRows": "1", "NumberOfColumns": "1", "NumberOf3DParts": "1",
        "CSIMatrixSize[0]": "1", "CSIMatrixSize[1]": "1", "CSIMatrixSize[2]": "1",
        "PixelSpacingRow": "20", "PixelSpacingCol": "20", "PixelSpacing3D": "20",
        "FoVHeight": "20", "FoVWidth": "20", "FoV3D": "20", "SliceThickness": "20",
        "PositionVector[0]": "0", "PositionVector[1]": "0", "PositionVector[2]": "0",
        "RowVector[0]": "1", "RowVector[1]": "0", "RowVector[2]": "0",
        "ColumnVector[0]": "0", "ColumnVector[1]": "1", "ColumnVector[2]": "0",
        "VOINormalSag": "0", "VOINormalCor": "0", "VOINormalTra": "1", **fields,
    }  # fmt: skip
    lines = [">>> Begin of header <<<", *(f"{n}: {v}" for n, v in header.items()),
             ">>> End of header <<<", ""]  # fmt: skip
    fid = np.conj(data.fid[0, 0, 0, :1024]).astype("<c16")
    path.write_bytes("\r\n".join(lines).encode("latin-1") + fid.tobytes())
    return path


def test_hostile_header_text_is_no_markup_and_no_terminal_command(capsys, tmp_path):
    hostile = "<script>alert(1)</script>\x1b[2J"
    rda = canary_rda(tmp_path / "hostile.rda", SequenceName=hostile, StudyDescription=hostile)

    code, out, err = command(capsys, "analyze", rda, "--out", tmp_path / "out")

    assert code == 0
    assert "\x1b" not in out + err
    assert "<script" not in (tmp_path / "out" / "report.html").read_text().lower()


def test_a_label_is_escaped(capsys, tmp_path):
    command(capsys, "analyze", *PEAKS, "--label", "<b>case</b>", "--out", tmp_path)

    assert "<b>case" not in (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;case" in (tmp_path / "report.html").read_text()


def test_nothing_asks_the_network(capsys, tmp_path, monkeypatch):
    def refused(*arguments, **keywords):
        raise AssertionError

    monkeypatch.setattr(socket, "socket", refused)
    monkeypatch.setattr(socket, "create_connection", refused)

    assert command(capsys, "analyze", sample_path(SPECTRUM), "--out", tmp_path / "out")[0] == 0


@pytest.mark.slow
def test_every_real_file_is_analysed_or_refused_in_one_sentence(capsys, shared_data):
    for path in sorted(shared_data.rglob("*")):
        if not path.is_file() or "LICENSES" in path.parts:
            continue
        code, _, err = command(capsys, "analyze", path)

        assert code in {EXIT_OK, EXIT_BAD_INPUT}, path.name
        assert "internal" not in err, path.name
        if code == EXIT_BAD_INPUT:
            assert len(err.splitlines()) == 1, path.name


# ---- the other commands -----------------------------------------------------------------------


def test_demo_shows_the_reference_case(capsys, tmp_path):
    # an earlier demo's results are replaced
    command(capsys, "analyze", "Cho=1", "Cr=1", "--out", tmp_path / "demo" / "peak-table")

    code, out, _ = command(capsys, "demo", "--out", tmp_path / "demo")

    assert code == 0
    assert "Cho/Cr       1.14" in out
    assert "LL/Cr        3.69" in out
    assert "NECROSIS-FAVORING: likelihood ratio 0.28" in out
    for folder in ("peak-table", "spectrum-te30", "spectrum-te144"):
        assert (tmp_path / "demo" / folder / "report.html").exists()
    # no label without its evidence
    assert out.count(": likelihood ratio ") == 3


def test_a_quiet_demo_says_nothing(capsys, tmp_path):
    code, out, err = command(capsys, "demo", "-q", "--out", tmp_path / "demo")

    assert (code, out, err) == (0, "", "")
    assert (tmp_path / "demo" / "peak-table" / "report.html").exists()


def test_criteria_lists_what_counts_and_what_is_off(capsys):
    _, on, _ = command(capsys, "criteria")
    _, everything, _ = command(capsys, "criteria", "--all")

    assert "plotkin2004_cho_cr" in on
    assert "not verified" not in on
    assert "not verified" in everything
    assert len(everything) > len(on)


def test_criteria_places_the_case_at_hand(capsys):
    code, out, _ = command(capsys, "criteria", *PEAKS)

    assert code == 0
    assert out.count("this case: necrosis-favoring") >= 9
    assert out.count("this case: recurrence-favoring") >= 2


def test_criteria_places_areas_by_the_cutoff_of_areas(capsys):
    _, out, _ = command(capsys, "criteria", "Cho=2", "NAA=1", "Cr=1.5", "LL=1")

    assert "Cho/NAA >= 1.4 (Bulik 2015) favors recurrence" in out
    assert "this case: necrosis-favoring (2.00), as Cho/NAA >= 4.2 (Bulik 2015, 1.4 molar)" in out


def test_simulate_writes_a_spectrum_and_its_truth(capsys, tmp_path):
    target = tmp_path / "phantom.nii.gz"
    arguments = ["simulate", "radiation_necrosis", "--te", "144ms", "--snr", "50", "--seed", "3"]

    code, _, _ = command(capsys, *arguments, "--out", target)

    assert code == 0
    truth = json.loads((tmp_path / "phantom.truth.json").read_text())
    assert truth["snr"] == pytest.approx(50)
    assert read(target).acquisition.echo_time_s == pytest.approx(0.144)
    first = target.read_bytes()
    assert command(capsys, *arguments, "--out", target)[0] == EXIT_OUTPUT
    assert command(capsys, *arguments, "--out", target, "--overwrite")[0] == 0
    assert target.read_bytes() == first


@pytest.mark.parametrize(("grid", "edge_mm"), [(("1", "1", "1"), 20.0), (("4", "2", "1"), 10.0)])
def test_simulated_voxels_have_a_place(capsys, tmp_path, grid, edge_mm):
    path = tmp_path / "a.nii.gz"

    command(capsys, "simulate", "radiation_necrosis", "--grid", *grid, "--out", path)

    affine = read(path).affine
    assert np.diag(affine)[:3] == pytest.approx(edge_mm)
    middle = (np.array(grid, dtype=float) - 1) / 2
    assert affine @ [*middle, 1.0] == pytest.approx([0, 0, 0, 1])


def test_warnings_of_other_libraries_are_not_shown(capsys, monkeypatch):
    analyze = mrs_necrosis.analyze

    def warning(*arguments, **keywords):
        warnings.warn("header of Doe^Jane", UserWarning, stacklevel=1)
        warnings.warn("ours", MRSNecrosisWarning, stacklevel=1)
        return analyze(*arguments, **keywords)

    monkeypatch.setattr(mrs_necrosis, "analyze", warning)

    code, out, err = command(capsys, "analyze", "Cho=1", "Cr=1")

    assert code == 0
    assert "ours" in err
    assert "Doe" not in out + err


def test_the_json_of_several_inputs_is_a_list_of_them(capsys):
    inputs = [sample_path("reference_case.toml"), sample_path("too_poor_te144.nii.gz")]

    code, out, _ = command(capsys, "analyze", *inputs, "--json", "-")

    assert code == 0
    found = json.loads(out)
    assert [one["source"]["format"] for one in found] == ["peak table", "NIfTI-MRS"]


def test_a_basis_set_takes_the_place_of_the_librarys(capsys, tmp_path):
    case = sample_path("recurrence_te30.nii.gz")
    path = tmp_path / "MM.json"
    path.write_text(macromolecule_json(read(case).acquisition))

    code, out, _ = command(capsys, "analyze", case, "--basis", path, "--json", "-")

    assert code == 0
    found = json.loads(out)
    assert "A basis set was given: 1 spectrum of MM." in found["notes"]
    assert found["provenance"]["parameters"]["basis_sha256"] == read_basis(path).sha256
    assert {"MM", "Lip13", "LL"} <= set(found["areas"]["names"])


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (
            ("--model", "peaks"),
            EXIT_USAGE,
            "--basis takes the place of whole metabolites",
        ),
        ((), EXIT_BAD_INPUT, "MM.json: is a JSON text without the FID of a basis set"),
    ],
)
def test_a_basis_set_that_is_none_is_refused(capsys, tmp_path, arguments, code, problem):
    path = tmp_path / "MM.json"
    path.write_text("{}")
    out = tmp_path / "out"

    found = command(
        capsys, "analyze", sample_path("recurrence_te30.nii.gz"), "--basis", path, "--out", out,
        *arguments,
    )  # fmt: skip

    assert found[0] == code
    assert problem in " ".join(found[2].split())
    assert not out.exists()


def test_the_command_line_comes_on_top_of_a_file_of_options(capsys, tmp_path):
    config = tmp_path / "options.toml"
    config.write_text("prior = 0.3\n")

    def prior(*arguments):
        _, out, _ = command(
            capsys, "analyze", "Cho=1", "Cr=1", "--json", "-", "--config", config, *arguments
        )
        return json.loads(out)["provenance"]["parameters"]["prior"]

    assert prior() == 0.3
    assert prior("--prior", "0.6") == 0.6


@pytest.mark.skipif(os.name == "nt", reason="no folder may be called so there")
def test_no_name_commands_the_terminal(capsys, tmp_path):
    name = "a\x1b[31mred\x07"

    code, out, err = command(
        capsys, "analyze", "Cho=1", "Cr=1", "--label", name, "--out", tmp_path / name
    )

    assert code == 0
    assert "a?[31mred?" in out
    assert "a?[31mred?" in err
    assert all(letter.isprintable() or letter == "\n" for letter in out + err)


def test_simulate_lists_the_tissues_it_knows(capsys, tmp_path):
    code, _, err = command(capsys, "simulate", "cheese", "--out", tmp_path / "x.nii.gz")

    assert code == EXIT_USAGE
    assert "radiation_necrosis" in err
    assert list(tmp_path.iterdir()) == []


# ---- the process ------------------------------------------------------------------------------


def process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "mrs_necrosis", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False, **options,
    )  # fmt: skip


def test_the_process_returns_the_exit_code(tmp_path):
    assert process("--version").returncode == 0
    assert process("analyze", tmp_path / "nowhere.rda").returncode == EXIT_BAD_INPUT
    assert process("analyze", "--nonsense").returncode == EXIT_USAGE


def test_help_names_the_exit_codes_and_the_limits():
    shown = process("analyze", "--help").stdout

    for code in ("0 ", "1 ", "2 ", "3 ", "4 ", "130 "):
        assert f"\n  {code}" in shown
    assert "Not a diagnosis" in shown


def test_help_imports_nothing_heavy():
    code = (
        "import sys, mrs_necrosis.cli as c; c.main(['--help']); "
        "print(sorted({'numpy', 'scipy', 'matplotlib', 'nibabel', 'pydicom', 'numba', 'lmfit', "
        "'jinja2'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert shown.stdout.rstrip().endswith("[]")


def test_an_interrupt_ends_with_130(capsys, monkeypatch):
    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(mrs_necrosis, "analyze", interrupted, raising=False)

    code, _, err = command(capsys, "analyze", *PEAKS)

    assert code == EXIT_INTERRUPTED
    assert err == "interrupted\n"


def test_a_voxel_of_the_other_side_is_compared(capsys):
    code, out, _ = command(
        capsys, "analyze", *PEAKS, "--contralateral", "Cho=30000 Cr=60000 NAA=90000",
        "--json", "-",
    )  # fmt: skip

    assert code == 0
    result = json.loads(out)
    said = " ".join(result["assessment"]["caveats"])
    assert "Cho is 1.12 of its Cho and 0.56 of its Cr, and Cr is 0.49 of its Cr" in said
    assert result["provenance"]["parameters"]["context"]["contralateral"]["Cr"] == 60000.0
    assert "a voxel of the other side for comparison" not in result["assessment"]["suggestions"]


def test_a_spectrum_of_the_other_side_is_fitted_as_the_case_is(capsys, tmp_path):
    other = phantom("normal_white_matter", np.random.default_rng(2), echo_time_s=0.144, snr=60.0)
    write_nifti_mrs(tmp_path / "other.nii.gz", other.data)

    code, out, _ = command(
        capsys, "analyze", sample_path(SPECTRUM), "--contralateral", tmp_path / "other.nii.gz"
    )

    assert code == 0
    assert "Against the other side" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((*PEAKS, "--contralateral", "nowhere.rda"), EXIT_BAD_INPUT, "nowhere.rda: does not"),
        ((sample_path(SPECTRUM), "--contralateral", sample_path("too_poor_te144.nii.gz")),
         EXIT_BAD_INPUT, "too_poor_te144.nii.gz: cannot stand for the other side; it failed"),
        ((sample_path(SPECTRUM), "--contralateral", "Cho=1 Cr=1"), EXIT_BAD_INPUT,
         "the other side must be measured as the case is"),
        ((sample_path(SPECTRUM), "--contralateral", sample_path(SPECTRUM)), EXIT_BAD_INPUT,
         "cannot stand for the other side; it is the input itself"),
        ((sample_path(SPECTRUM), "--contralateral", sample_path("normal_te30.nii.gz")),
         EXIT_BAD_INPUT, "other side; the echo times differ (144 ms and 30 ms)"),
        (("--contralateral", "Cho=1 Cr=1", "--table", "x.tsv"), EXIT_USAGE,
         "--contralateral belongs to one input"),
        ((sample_path(SPECTRUM), sample_path(SPECTRUM), "--contralateral", "Cho=1 Cr=1"),
         EXIT_USAGE, "--contralateral belongs to one input"),
    ],
)  # fmt: skip
def test_a_voxel_that_cannot_be_the_other_side_is_refused(capsys, arguments, code, message):
    found, out, err = command(capsys, "analyze", *arguments)

    assert found == code
    assert message in " ".join(err.split())
    assert out == ""


def test_a_fat_saturated_voxel_cannot_be_the_other_side_of_one_that_is_not(capsys, tmp_path):
    other = phantom("normal_white_matter", np.random.default_rng(2), echo_time_s=0.144, snr=60.0)
    acquisition = replace(other.data.acquisition, fat_saturated=True)
    path = tmp_path / "other.nii.gz"
    write_nifti_mrs(path, replace(other.data, acquisition=acquisition))

    code, _, err = command(capsys, "analyze", sample_path(SPECTRUM), "--contralateral", path)

    assert code == EXIT_BAD_INPUT
    assert "the fat saturations differ" in " ".join(err.split())


def test_a_copy_of_the_input_cannot_be_the_other_side(capsys, tmp_path):
    copy = tmp_path / "other.nii"
    copy.write_bytes(gzip.decompress(sample_path(SPECTRUM).read_bytes()))

    for arguments in ((sample_path(SPECTRUM), copy), (*PEAKS, " ".join(PEAKS))):
        *case, other = arguments
        code, _, err = command(capsys, "analyze", *case, "--contralateral", other)
        assert code == EXIT_BAD_INPUT
        assert "it is the input itself" in " ".join(err.split())


def test_an_internal_error_is_one_line_and_a_traceback_only_when_asked(capsys, monkeypatch):
    def broken(*arguments, **keywords):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(mrs_necrosis, "analyze", broken, raising=False)

    code, _, err = command(capsys, "analyze", *PEAKS)
    assert code == EXIT_SOME_FAILED
    assert err == "mrs-necrosis: internal error (ZeroDivisionError); run with -v to see where\n"
    with pytest.raises(ZeroDivisionError):
        cli.main(["analyze", *PEAKS, "-v"])


def test_progress_is_shown_on_a_terminal_alone(capsys, monkeypatch):
    parser, commands = command_line._parsers()
    options = command_line._parse(parser, commands, ["analyze", *PEAKS])

    with console.progress_bar(options) as progress:
        assert progress is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    times = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(times))
    with console.progress_bar(options) as progress:
        progress(25, 100)
    assert "25 of 100 voxels, 30 s left" in capsys.readouterr().err


def test_simulate_takes_a_field_and_writes_a_water_reference(capsys, tmp_path):
    water = tmp_path / "water.nii.gz"

    code, _, _ = command(capsys, "simulate", "mixed", "--field", "1.5T", "--out",
                         tmp_path / "a.nii.gz", "--water-reference", water)  # fmt: skip

    assert code == 0
    assert read(water).acquisition.field_t == pytest.approx(1.5)


def test_simulate_makes_no_folder(capsys, tmp_path):
    code, _, err = command(capsys, "simulate", "mixed", "--out", tmp_path / "no" / "a.nii.gz")

    assert code == EXIT_OUTPUT
    assert "the folder of a.nii.gz does not exist" in err


def test_verbose_criteria_tell_their_notes(capsys):
    note = next(one.note for one in load_criteria() if one.enabled and one.note)

    assert note not in command(capsys, "criteria")[1]
    assert note in command(capsys, "criteria", "-v")[1]


def test_a_group_has_nothing_to_try(capsys, tmp_path):
    code, out, _ = command(capsys, "bids", tmp_path, tmp_path / "out", "group", "--dry-run")

    assert code == 0
    assert "one table of all results there" in out


def test_a_threshold_can_be_given(capsys):
    path = sample_path("reference_case_te144.nii.gz")
    strict = ("--threshold", "snr_fail=80", "--threshold", "snr_warn=90")

    code, out, _ = command(capsys, "analyze", path, *strict)

    assert code == 0
    assert "limit: SNR >= 80" in " ".join(out.split())
    for text, message in (
        ("snr_fail", "is written like snr_fail=3"),
        ("snr=3", "knows no 'snr'; there are snr_warn, snr_fail,"),
        ("snr_fail=12", "--threshold: snr_warn must not lie below snr_fail"),
    ):
        code, _, err = command(capsys, "analyze", path, "--threshold", text)
        assert code == 2
        assert message in " ".join(err.split())
