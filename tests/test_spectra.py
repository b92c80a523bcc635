"""Acquisitions and spectra: the conventions, and what does not fit together."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrs_necrosis import Acquisition, Spectra, SpectralData
from mrs_necrosis.quality import Quality
from mrs_necrosis.spectra import Step

KNOWN = {"spectrometer_frequency_mhz": 100.0, "dwell_time_s": 1e-3}
FID = np.zeros((1, 1, 1, 16), dtype=complex)


def spectra(fid=FID, **changes):
    return Spectra(fid=fid, acquisition=Acquisition(**KNOWN), **changes)


@given(st.integers(-7, 7), st.floats(0.1, 10.0))
def test_a_resonance_stands_where_the_convention_says_with_its_area(bin_, area):
    time = np.arange(16) * 1e-3
    frequency_hz = bin_ / 16e-3
    found = spectra(area * np.exp(2j * np.pi * frequency_hz * time)[None, None, None])

    spectrum = found.spectrum[0, 0, 0]
    at = np.abs(spectrum).argmax()

    assert (np.diff(found.ppm) > 0).all()
    assert found.ppm[at] == pytest.approx(4.65 + frequency_hz / 100.0)  # water is the reference
    assert found.frequency_hz[at] == pytest.approx(frequency_hz)
    assert spectrum[at] == pytest.approx(16 * area)
    assert spectrum.mean() == pytest.approx(area)  # without scaling: the first sample


def test_the_axis_begins_where_the_source_says():
    told = Acquisition(**KNOWN, reference_ppm=3.0)

    axis = Spectra(fid=FID, acquisition=told).ppm

    assert axis[8] == 3.0


def test_edges_are_those_of_the_affines_columns():
    affine = np.eye(4)
    affine[:3, :3] = [[0.0, 0.0, 7.0], [-10.0, 0.0, 0.0], [0.0, 20.0, 0.0]]

    data = SpectralData(fid=FID, acquisition=Acquisition(**KNOWN), affine=affine)

    assert data.voxel_size_mm == (10.0, 20.0, 7.0)
    assert spectra(affine=affine).voxel_size_mm == (10.0, 20.0, 7.0)
    assert spectra().voxel_size_mm is None


def test_a_left_handed_grid_is_one_too():
    assert spectra(affine=np.diag([-10.0, 10.0, 10.0, 1.0])).voxel_size_mm == (10.0,) * 3


@pytest.mark.parametrize(("nucleus", "tesla"), [(None, 2.3487), ("1H", 2.3487), ("31P", None)])
def test_the_field_is_that_of_protons_alone(nucleus, tesla):
    field = Acquisition(**KNOWN, nucleus=nucleus).field_t

    assert field == (None if tesla is None else pytest.approx(tesla, abs=1e-4))


def test_what_was_done_is_added_to_the_history():
    done = spectra(history=(Step("read"),)).done(Step("phase", {"phase_deg": 3.0}), fid=FID + 1)

    assert [step.name for step in done.history] == ["read", "phase"]
    assert (done.fid == 1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fid": FID[..., :15]}, "must hold at least one voxel of 16 samples; got shape (1, 1"),
        ({"fid": FID[:0]}, "must hold at least one voxel of 16 samples; got shape (0, 1"),
        ({"fid": FID[..., None]}, "fid must have 4 axes (X, Y, Z, N) and one per name in dims ()"),
        ({"fid": FID[0, 0, 0]}, "a single FID is given as fid[None, None, None]"),
        ({"fid": FID[..., None], "dims": ("DIM_NONE",)}, "dims must be distinct names of"),
        ({"fid": FID[..., None, None], "dims": ("DIM_COIL",) * 2}, "dims must be distinct names"),
        ({"affine": np.eye(3)}, "affine must be a finite 4 x 4 matrix in mm; got shape (3, 3)"),
        ({"affine": np.full((4, 4), np.nan)}, "affine must be a finite 4 x 4 matrix in mm"),
        ({"affine": np.zeros((4, 4))}, "affine must be invertible; its three axes lie in one"),
    ],
)
def test_data_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SpectralData(**{"fid": FID, "acquisition": Acquisition(**KNOWN), **changes})


def test_water_of_other_voxels_is_refused():
    water = SpectralData(fid=np.zeros((1, 1, 2, 16)), acquisition=Acquisition(**KNOWN))

    with pytest.raises(ValueError, match=r"the water reference has \(1, 1, 2\) voxels"):
        SpectralData(fid=FID, acquisition=Acquisition(**KNOWN), water=water)


@pytest.mark.parametrize(
    "name",
    ["mask", "water_area", "noise_sd", "scalp_lipid", "reference_confidence", "water_ratio"],
)
def test_what_is_said_of_each_voxel_has_the_shape_of_the_grid(name):
    with pytest.raises(ValueError, match=rf"{name} must have the shape \(1, 1, 1\) of the grid"):
        spectra(**{name: np.ones((1, 2, 1))})


def test_spectra_without_their_axes_are_refused():
    with pytest.raises(ValueError, match=r"fid must have shape \(X, Y, Z, N\) with N >= 16"):
        spectra(FID[..., :15])
    with pytest.raises(ValueError, match="a single FID is given as"):
        spectra(FID[0, 0, 0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spectrometer_frequency_mhz", 123.2e6),
        ("dwell_time_s", 500.0),
        ("echo_time_s", 30.0),
        ("repetition_time_s", 2000.0),
        ("repetition_time_s", 101.0),
        ("mixing_time_s", 11.0),
        ("reference_ppm", 1001.0),
        ("echo_times_s", (15.0, 15.0)),
    ],
)
def test_a_number_in_another_unit_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be in "):
        Acquisition(**{**KNOWN, name: value})


def test_qualities_of_one_shape_belong_together():
    one = np.ones((1, 1, 1))

    with pytest.raises(ValueError, match=r"status must have the shape \(1, 1, 1\) of snr"):
        Quality(one, one, one, one, np.zeros((1, 1, 2)), one)


def test_two_echoes_make_an_echo_time():
    acquisition = Acquisition(
        spectrometer_frequency_mhz=123.2, dwell_time_s=5e-4, echo_times_s=(0.011, 0.019)
    )

    assert acquisition.echo_time_s == pytest.approx(0.03)
    assert replace(acquisition, echo_time_s=0.03).echo_time_s == 0.03
