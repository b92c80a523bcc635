"""The samples that come with the library: found, readable, and what they say they are."""

import importlib.util
import tomllib
from pathlib import Path

import numpy as np
import pytest

from mrs_necrosis.errors import FormatError
from mrs_necrosis.io import read, read_peaks
from mrs_necrosis.simulation import samples as samples_module
from mrs_necrosis.simulation.samples import sample_names, sample_path

REPORTED = {"LL": 108964.0, "Cho": 33671.0, "Cr": 29534.0, "NAA": 31278.0}


@pytest.fixture(scope="module")
def maker():
    path = Path(__file__).parents[1] / "data" / "samples" / "make_samples.py"
    spec = importlib.util.spec_from_file_location("make_samples", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_table_holds_the_four_values_and_nothing_that_was_not_reported():
    peaks = read_peaks(sample_path("reference_case.toml"))
    document = tomllib.loads(sample_path("reference_case.toml").read_text("utf-8"))

    assert {name: float(peaks.value(name)) for name in peaks.names} == REPORTED
    assert peaks.covariance is None
    assert peaks.unit is None
    assert set(document) == {"title", "date", "peaks"}


@pytest.mark.parametrize("name", ["reference_case_te30", "reference_case_te144"])
def test_the_true_areas_of_the_reference_spectra_are_the_reported_values(maker, name):
    areas = maker.spectra()[name].truth.areas

    for peak, value in REPORTED.items():
        assert areas.value(peak).item() == pytest.approx(value, rel=1e-12)


def test_the_files_are_those_that_the_script_makes(maker, tmp_path):
    maker.main(tmp_path)

    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == sorted(
        name for name in sample_names() if name.endswith(".nii.gz") or name == "truth.toml"
    )
    for name in made:
        if name == "truth.toml":
            assert (tmp_path / name).read_text("utf-8") == sample_path(name).read_text("utf-8")
            continue
        if name == "phosphorus_31p.nii.gz":
            continue  # read refuses it; see below
        fresh, shipped = read(tmp_path / name), read(sample_path(name))
        # another numpy may round the last bit of a single-precision sample differently
        assert fresh.fid == pytest.approx(shipped.fid, abs=1e-5 * np.abs(shipped.fid).max())
        assert fresh.acquisition == shipped.acquisition


def test_the_timeline_has_the_reports_numbers_once_and_invents_none():
    timeline = tomllib.loads(sample_path("reference_case_timeline.toml").read_text("utf-8"))

    with_peaks = [visit for visit in timeline["visits"] if visit["peaks"] != "not reported"]
    assert [visit["date"] for visit in with_peaks] == ["2012-09"]
    assert with_peaks[0]["peaks"] == REPORTED
    assert with_peaks[0]["echo_time_ms"] == "not reported"
    dates = [visit["date"] for visit in timeline["visits"]]
    assert dates == sorted(dates)
    cycles = [one["cycles"] for one in timeline["treatments"] if one["name"] == "bevacizumab"]
    assert cycles == [10, 7]


def test_the_phosphorus_sample_is_refused_for_its_nucleus():
    with pytest.raises(FormatError, match="holds 31P spectra"):
        read(sample_path("phosphorus_31p.nii.gz"))


def test_the_samples_stay_small():
    assert sum(sample_path(name).stat().st_size for name in sample_names()) < 1.5e6


def test_an_unknown_sample_is_refused_with_the_known_ones():
    with pytest.raises(KeyError, match=r"no sample 'x'; there are .*reference_case\.toml"):
        sample_path("x")


def test_an_installed_package_without_samples_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(samples_module, "_folder", lambda: tmp_path / "nowhere")

    with pytest.raises(KeyError, match="there are none installed"):
        sample_path("reference_case.toml")
