"""What the project promises about itself: README, metadata, the gate."""

import contextlib
import copy
import dataclasses
import io
import json
import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import mrs_necrosis
from mrs_necrosis import analyze
from mrs_necrosis.io import Basis
from mrs_necrosis.simulation import phantom

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT, BUILD = SETTINGS["project"], SETTINGS["tool"]["hatch"]["build"]


def set_up_lines():
    return re.findall(r"^python3 -m venv .*$", README, flags=re.MULTILINE)


def test_the_readme_has_two_set_up_lines_each_complete():
    lines = set_up_lines()

    assert len(lines) == 2
    assert all(line.startswith("python3 -m venv .venv && ") for line in lines)
    assert lines[0].endswith("mrs-necrosis demo")
    assert "[test]" in lines[1]
    assert "-m pytest" in lines[1]


def test_the_gate_runs_the_lines_of_the_readme_as_they_stand():
    gate = (ROOT / ".ci" / "run").read_text("utf-8")

    # it takes them from the README by the same pattern, and holds no copy that could differ
    assert "grep '^python3 -m venv' README.md" in gate
    assert "readme_line 1" in gate
    assert "readme_line 2" in gate
    assert not any(line in gate for line in set_up_lines())


def test_the_source_distribution_holds_what_the_tests_read():
    included = {*BUILD["targets"]["sdist"]["include"], "pyproject.toml"}
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").glob("*.py"))

    assert set(re.findall(r'\bROOT / "([^"/]+)', tests)) <= included


def test_the_code_in_the_readme_prints_what_the_readme_says():
    code, printed = re.search(
        r"<!-- tested -->\n```python\n(.*?)```\n\n```text\n(.*?)```", README, flags=re.DOTALL
    ).groups()
    output = io.StringIO()

    with contextlib.redirect_stdout(output):
        exec(compile(code, "README.md", "exec"), {})

    assert output.getvalue() == printed


def test_names_in_the_readme_are_public():
    lines = re.findall(r"^from mrs_necrosis import (.*)$", README, flags=re.MULTILINE)

    names = {name.strip() for line in lines for name in line.split(",")}

    assert names
    assert names <= set(mrs_necrosis.__all__)


@pytest.mark.parametrize("name", mrs_necrosis.__all__)
def test_every_public_name_is_there(name):
    assert getattr(mrs_necrosis, name) is not None


@pytest.mark.parametrize(
    "name", ["simulation.phantom", "followup.followup", "NecrosisClassifier", "errors.FitError"]
)
def test_what_the_pages_name_is_found_from_the_package_alone(name):
    code = f"import mrs_necrosis; mrs_necrosis.{name}"

    # a process of its own: what a test imported before would be found anyway
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")

    codemeta = json.loads((ROOT / "codemeta.json").read_text("utf-8"))

    assert PROJECT["version"] == mrs_necrosis.__version__
    assert codemeta["version"] == mrs_necrosis.__version__
    assert f"version: {mrs_necrosis.__version__}\n" in citation
    assert f"## {mrs_necrosis.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_dependency_has_its_reason_in_contributing():
    reasons = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    extras = PROJECT["optional-dependencies"]

    for requirements in (PROJECT["dependencies"], *extras.values()):
        for requirement in requirements:
            name = re.match(r"[\w-]+", requirement)[0]
            assert name in reasons or name == PROJECT["name"], name
    for extra in extras:
        assert f"`[{extra}]`" in reasons, extra


def test_the_readme_names_the_exit_codes_of_the_command():
    from mrs_necrosis.cli.console import (
        EXIT_BAD_INPUT,
        EXIT_INTERRUPTED,
        EXIT_OUTPUT,
        EXIT_SOME_FAILED,
        EXIT_USAGE,
    )

    for code in (EXIT_SOME_FAILED, EXIT_USAGE, EXIT_BAD_INPUT, EXIT_OUTPUT,
                 EXIT_INTERRUPTED):  # fmt: skip
        assert f"{code} " in README.partition("## Exit codes")[2].partition("## ")[0]


def test_one_command_runs_a_benchmark_and_keeps_its_table(tmp_path, capsys, monkeypatch):
    import sys

    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import __main__ as benchmarks

    monkeypatch.setattr(benchmarks, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks"])

    assert benchmarks.main(["nonsense"]) == 2
    assert "import_time" in capsys.readouterr().out
    assert benchmarks.main(["import_time"]) == 0
    assert "mrs-necrosis --help" in (tmp_path / "import_time.txt").read_text()


def test_the_pictures_of_the_readme_are_there_and_small():
    pictures = [ROOT / path for path in re.findall(r"!\[[^\]]*\]\(([^)]*)\)", README)]

    assert len(pictures) == 2
    assert all(10_000 < picture.stat().st_size < 200_000 for picture in pictures)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_what_comes_back_from_a_worker_cannot_be_changed_either(way):
    made = phantom("radiation_necrosis", np.random.default_rng(1), snr=30.0)
    found = analyze(made.data)
    interval = found.ratios["Cho/Cr"].interval()
    basis = Basis(
        names=("Cr",), fids=np.ones((1, 16)), spectrometer_frequency_mhz=123.2, dwell_time_s=5e-4
    )

    for one in (made.data, found.spectra, found.areas, found.quality, *found.ratios.values(),
                interval, basis):  # fmt: skip
        back = way(one)

        arrays = [getattr(back, field.name) for field in dataclasses.fields(back)]
        arrays = [array for array in arrays if isinstance(array, np.ndarray)]
        assert arrays
        assert not any(array.flags.writeable for array in arrays)
    assert repr(way(found.areas)) == repr(found.areas)
    assert not interval.lower.flags.writeable
