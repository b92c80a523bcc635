"""The examples run as they stand."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import bids_dataset
import pytest

from mrs_necrosis.criteria import load_criteria
from mrs_necrosis.simulation import sample_path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SNAKEFILE = EXAMPLES / "snakemake" / "Snakefile"
COMMAND = f"{shlex.quote(sys.executable)} -m mrs_necrosis"


@pytest.fixture
def root(tmp_path):
    return bids_dataset.dataset(tmp_path / "raw", 2, n_samples=512)


@pytest.fixture
def snakemake(tmp_path):
    # a program of its own environment: it pins more than a library should be tested with
    program = os.environ.get("SNAKEMAKE") or shutil.which("snakemake")
    if program is None:
        pytest.skip("needs the program snakemake, or its path in the variable SNAKEMAKE")
    return [program, "--snakefile", str(SNAKEFILE), "--directory", str(tmp_path), "--cores", "2",
            "--quiet", "all"]  # fmt: skip


def test_the_shell_lines_of_the_snakefile_make_what_they_promise(root, tmp_path):
    lines = re.findall(r'shell:\n\s+"(.*)"', SNAKEFILE.read_text())
    out = tmp_path / "derivatives"
    assert len(lines) == 2

    for line in lines:
        words = {
            "{COMMAND}": COMMAND, "{BIDS:q}": shlex.quote(str(root)),
            "{OUT:q}": shlex.quote(str(out)), "{wildcards.label}": "01",
        }  # fmt: skip
        for name, value in words.items():
            line = line.replace(name, value)
        subprocess.run(line, shell=True, check=True, stdout=subprocess.DEVNULL)

    assert (out / "sub-01.html").is_file()
    assert (out / "group_desc-ratios_mrs.tsv").is_file()


def test_snakemake_runs_the_workflow_and_then_has_nothing_to_do(root, tmp_path, snakemake):
    out = tmp_path / "derivatives"
    command = [*snakemake, "--config", f"bids={root}", f"out={out}", f"command={COMMAND}"]

    first = subprocess.run(command, capture_output=True, text=True, check=False)
    again = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=False)

    assert first.returncode == 0, first.stderr
    rows = (out / "group_desc-ratios_mrs.tsv").read_text().splitlines()
    assert {row.split("\t")[0] for row in rows[1:]} == {"sub-01", "sub-02"}
    assert "participant" not in again.stdout + again.stderr


def test_snakemake_tries_a_participant_that_failed_again(root, tmp_path, snakemake):
    out = tmp_path / "derivatives"
    damaged = root / "sub-02" / "mrs" / "sub-02_svs.nii.gz"  # the one that runs first
    whole = damaged.read_bytes()
    damaged.write_bytes(b"no image")
    command = [*snakemake, "--cores", "1", "--keep-going",
               "--config", f"bids={root}", f"out={out}", f"command={COMMAND}"]  # fmt: skip
    failed = subprocess.run(command, capture_output=True, check=False)

    damaged.write_bytes(whole)
    repaired = subprocess.run(command, capture_output=True, text=True, check=False)

    assert failed.returncode == 1
    assert repaired.returncode == 0, repaired.stderr
    rows = (out / "group_desc-ratios_mrs.tsv").read_text().splitlines()
    assert {row.split("\t")[0] for row in rows[1:]} == {"sub-01", "sub-02"}


def test_the_function_of_the_node_is_whole_by_itself(tmp_path):
    # Nipype and Pydra run the function's source, or its pickle, somewhere else
    module = runpy.run_path(str(EXAMPLES / "nipype_node.py"))

    favors, *paths = module["spectroscopy"](
        str(sample_path("reference_case.toml")), str(tmp_path)
    )  # fmt: skip

    assert favors == "necrosis-favoring"
    assert all(Path(path).is_file() for path in paths)
    assert module["spectroscopy"].__globals__.keys() >= {"OUTPUTS"}


def test_nipype_runs_the_node(tmp_path):
    pytest.importorskip("nipype", reason="needs nipype")
    command = [sys.executable, str(EXAMPLES / "nipype_node.py"),
               str(sample_path("reference_case.toml")), str(tmp_path)]  # fmt: skip

    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)

    assert "necrosis-favoring" in run.stdout


@pytest.mark.filterwarnings("ignore")
def test_pydra_runs_the_task(tmp_path, monkeypatch):
    pytest.importorskip("pydra", reason="needs Pydra, which the extras do not bring")
    monkeypatch.setenv("HOME", str(tmp_path))  # where it caches

    module = runpy.run_path(str(EXAMPLES / "nipype_node.py"))
    table = str(sample_path("reference_case.toml"))

    done = module["pydra_task"](in_file=table, out_dir=str(tmp_path / "out"))()

    done = getattr(done, "output", done)  # before 1.0
    assert done.favors == "necrosis-favoring"
    assert Path(done.report).is_file()


def test_the_criteria_of_the_example_are_added_to_the_shipped_ones():
    shipped, mine = (
        {one.id for one in load_criteria(path)} for path in (None, EXAMPLES / "my_criteria.toml")
    )

    assert mine > shipped


@pytest.mark.filterwarnings("ignore")
def test_the_classifier_of_the_example_is_trained_and_saved(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn", reason="needs the extra [learn]")
    model = tmp_path / "model.json"
    monkeypatch.setattr(sys, "argv", ["train_classifier.py", str(model)])

    runpy.run_path(str(EXAMPLES / "train_classifier.py"), run_name="__main__")

    assert "the case: necrosis-favoring" in capsys.readouterr().out
    assert model.is_file()
