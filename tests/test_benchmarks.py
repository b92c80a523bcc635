"""What the benchmarks' one command calls a change."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = runpy.run_path(str(ROOT / "benchmarks" / "_readme.py"))
RUNNER = runpy.run_path(str(ROOT / "benchmarks" / "__main__.py"))
moved = RUNNER["moved"]

TABLE = "ratio     bias   cover    ms\nCho/Cr    0.10   0.950   1.5\nread in 3.2 s\n"


@pytest.mark.parametrize(
    ("was", "now"),
    [("0.950", "0.951"), ("1.5\n", "9.5\n"), ("3.2 s", "8.8 s"), ("ratio", "# Python 3.9\nratio")],
    ids=["rounding", "time in a column", "time with its unit", "versions"],
)
def test_rounding_times_and_versions_are_no_change(was, now):
    assert moved(TABLE, TABLE.replace(was, now)) == []


@pytest.mark.parametrize(
    ("was", "now"), [("0.10", "0.14"), ("0.950", "0.850"), ("Cho/Cr", "NAA/Cr")]
)
def test_a_moved_number_or_another_row_is_marked(was, now):
    old, new = (text.splitlines()[1] for text in (TABLE, TABLE.replace(was, now)))

    assert moved(TABLE, TABLE.replace(was, now)) == [f"- {old}", f"+ {new}"]


def test_a_table_of_another_length_is_a_change():
    assert moved(TABLE, TABLE + "NAA/Cr 1 1 1\n") == ["the table has 4 lines, and had 3"]


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "results").glob("*.txt")))
def test_every_kept_table_is_of_a_benchmark_that_exists(path):
    assert path.stem in RUNNER["scripts"]()


def test_the_tables_of_the_readme_are_those_that_were_measured():
    readme = (ROOT / "README.md").read_text("utf-8")

    assert readme.count("<!-- from benchmarks/results/") == len(NUMBERS["TABLES"])
    assert NUMBERS["written"](readme) == readme


def test_numbers_in_sentences_are_those_that_were_measured():
    assert NUMBERS["stale"]() == []
