"""Properties of the readers: whatever was written comes back, and no header word gets through."""

import re
import struct
from dataclasses import replace

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import scanner_files as synthetic
from hypothesis import HealthCheck, given, settings

from mrs_necrosis.io import read, read_peaks, write_nifti_mrs
from mrs_necrosis.io.geometry import affine_from_angles, affine_from_lps, slice_normal
from mrs_necrosis.io.philips_sdat import vax_floats
from mrs_necrosis.io.recording import nucleus_name, nucleus_of, number, sequence_name, whole
from mrs_necrosis.spectra import Acquisition, Spectra, SpectralData

N = synthetic.N
same_folder = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
grids = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))


@st.composite
def fids(draw, shape=grids):
    """Any grid of samples over twelve decades, exact zeros among them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parts = rng.normal(size=(*draw(shape), N, 2)) * 10.0 ** draw(st.integers(-6, 6))
    parts[rng.random(parts.shape) < draw(st.sampled_from([0.0, 0.1, 1.0]))] = 0.0
    return parts.astype(np.float32).view(np.complex64)[..., 0]


@given(fid=fids())
@same_folder
def test_any_grid_comes_back_from_rda(tmp_path, fid):
    assert np.array_equal(read(synthetic.rda(tmp_path / "a.rda", fid)).fid, fid)


@given(fid=fids())
@same_folder
def test_any_grid_comes_back_from_csa_dicom(tmp_path, fid):
    assert np.array_equal(read(synthetic.csa_dicom(tmp_path / "a.IMA", fid)).fid, fid)


@given(fid=fids())
@same_folder
def test_any_grid_comes_back_from_mr_spectroscopy_storage(tmp_path, fid):
    step = np.cross(synthetic.ROW, synthetic.COLUMN) * 15.0
    positions = [synthetic.first_centre_lps() + z * step for z in range(fid.shape[2])]

    data = read(synthetic.mrs_dicom(tmp_path / "a.dcm", fid.transpose(2, 1, 0, 3), positions))

    assert np.array_equal(data.fid, fid)


@given(fid=fids())
@same_folder
def test_any_grid_comes_back_from_sdat(tmp_path, fid):
    x, y, z = fid.shape[:3]
    rows = fid.transpose(2, 1, 0, 3).reshape(-1, N)

    data = read(synthetic.sdat_pair(tmp_path, rows, encoded=True, planes=(x, y, z)))

    assert np.array_equal(data.fid, fid)


@given(fid=fids(st.tuples(st.just(1), st.integers(1, 3), st.integers(1, 3))))
@same_folder
def test_any_receivers_come_back_from_varian(tmp_path, fid):
    dynamics, receivers = fid.shape[1:3]

    data = read(synthetic.varian_pair(tmp_path, fid[0], receivers=receivers))

    back = data.fid.reshape(N, receivers, dynamics)
    assert np.array_equal(back.transpose(2, 1, 0), fid[0])


@st.composite
def whole_numbers(draw):
    """Any FIDs of whole numbers, as GE stores them: of water and of metabolites."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    coils = draw(st.integers(1, 3))
    top = draw(st.sampled_from([1, 1000, 2**23]))
    return tuple(
        rng.integers(-top, top + 1, (coils, frames, N, 2)) @ np.array([1, 1j])
        for frames in (draw(st.integers(0, 2)), draw(st.integers(1, 3)))
    )


@given(written=whole_numbers())
@same_folder
def test_any_coils_and_frames_come_back_from_an_old_pfile(tmp_path, written):
    water, metabolites = written

    data = read(synthetic.old_pfile(tmp_path / "P1.7", water, metabolites))

    assert np.array_equal(data.fid[0, 0, 0].transpose(1, 2, 0), metabolites)
    assert (data.water is None) == (not water.size)
    if data.water is not None:
        assert np.array_equal(data.water.fid[0, 0, 0].transpose(1, 2, 0), water)


@given(written=whole_numbers())
@same_folder
def test_any_coils_and_frames_come_back_from_a_new_pfile(tmp_path, written):
    pytest.importorskip("spec2nii", reason="needs the extra vendor")
    _, metabolites = written
    water = np.concatenate([metabolites, metabolites], axis=1)[:, :2]  # 16 averages, 8 a frame

    data = read(synthetic.new_pfile(tmp_path / "P1.7", water, metabolites))

    for there, back in ((metabolites, data), (water, data.water)):
        frames = back.fid.reshape(N, len(there), -1).transpose(1, 2, 0)
        assert np.array_equal(frames, there)


@given(
    gains=hnp.arrays(
        np.complex128, (3, 2), elements=st.complex_numbers(min_magnitude=0.1, max_magnitude=10)
    ),
    is_vd=st.booleans(),
)
@same_folder
@pytest.mark.filterwarnings("ignore")  # twixtools' own
def test_any_gain_of_coil_and_average_comes_back_from_twix(tmp_path, gains, is_vd):
    pytest.importorskip("spec2nii", reason="needs the extra vendor")
    line = synthetic.grid_fid(1, 1, 1)[0, 0, 0]
    fid = (gains[..., None] * line).astype(np.complex64)

    data = read(synthetic.twix_file(tmp_path / "meas.dat", fid, is_vd=is_vd))

    back = data.fid[0, 0, 0]  # the oversampling is taken out: gains are left, not samples
    assert np.allclose(back, back[:, :1, :1] * (gains / gains[0, 0]), atol=1e-4 * abs(back).max())


WRITERS = {
    "RDA": lambda folder, fid: synthetic.rda(folder / "a.rda", fid),
    "CSA": lambda folder, fid: synthetic.csa_dicom(folder / "a.IMA", fid),
    "DICOM": lambda folder, fid: synthetic.mrs_dicom(
        folder / "a.dcm", fid.transpose(2, 1, 0, 3), [synthetic.first_centre_lps()]
    ),
    "SDAT": lambda folder, fid: synthetic.sdat_pair(folder, fid[0, 0], encoded=False),
    "jMRUI": lambda folder, fid: synthetic.jmrui_text(folder / "a.txt", fid[0, 0]),
    "mrui": lambda folder, fid: synthetic.mrui(folder / "a.mrui", fid[0, 0]),
    "Dangerplot": lambda folder, fid: synthetic.dangerplot(folder / "a.dpt", fid[0, 0, 0]),
    "P-file": lambda folder, fid: synthetic.old_pfile(
        folder / "P1.7", np.zeros((1, 0, N)), np.round(1e6 * fid[0])
    ),
}


@pytest.mark.parametrize("name", WRITERS)
@given(share=st.floats(-0.45, 0.45))
@same_folder
def test_a_line_stays_at_its_chemical_shift_on_the_way_to_nifti_mrs(tmp_path, name, share):
    time = np.arange(N)
    fid = np.exp(2j * np.pi * share * time - 0.02 * time)[None, None, None].astype(np.complex64)

    data = read(WRITERS[name](tmp_path, fid))
    write_nifti_mrs(tmp_path / "back.nii.gz", data)
    back = read(tmp_path / "back.nii.gz")

    assert np.array_equal(back.fid.astype(np.complex64), data.fid.astype(np.complex64))
    assert (back.affine is None) == (data.affine is None)
    if data.affine is not None:
        assert np.allclose(back.affine, data.affine, atol=1e-4)
    for one in (data, back):
        acquisition = one.acquisition
        samples = one.fid.reshape(1, 1, 1, N, -1)[..., 0]
        spectra = Spectra(fid=samples, acquisition=acquisition)
        at = spectra.ppm[np.abs(spectra.spectrum[0, 0, 0]).argmax()]
        hz = share / acquisition.dwell_time_s
        expected = acquisition.reference_or_water_ppm + hz / acquisition.spectrometer_frequency_mhz
        bin_ppm = 1 / (N * acquisition.dwell_time_s * acquisition.spectrometer_frequency_mhz)
        assert abs(at - expected) <= bin_ppm


KNOWN = {"dwell_time_s": synthetic.DWELL_S, "spectrometer_frequency_mhz": 123.2}


@given(fid=fids(st.tuples(st.just(1), st.just(1), st.integers(1, 3))))
@same_folder
def test_any_fid_comes_back_from_the_text_formats(tmp_path, fid):
    signals = fid[0, 0]
    one, other = signals[0], signals[-1]

    beside = read(synthetic.four_columns(tmp_path / "a.txt", one, other), **KNOWN)
    for data, expected in (
        (read(synthetic.dangerplot(tmp_path / "a.dpt", one)), one),
        (read(synthetic.lcmodel_raw(tmp_path / "a.RAW", one), **KNOWN), one),
        (read(synthetic.lcmodel_raw(tmp_path / "b.RAW", one, columns=8), **KNOWN), one),
        (beside, one),
        (beside.water, other),
    ):
        assert np.array_equal(data.fid[0, 0, 0].astype(np.complex64), expected)
    for data in (
        read(synthetic.jmrui_text(tmp_path / "b.txt", signals)),
        read(synthetic.mrui(tmp_path / "a.mrui", signals)),
    ):
        back = data.fid[0, 0, 0].reshape(N, -1).T
        assert np.array_equal(back.astype(np.complex64), signals)


@given(
    values=hnp.arrays(
        np.complex128,
        st.tuples(*[st.integers(1, 2)] * 3, st.integers(16, 20), *[st.integers(1, 3)] * 2),
        elements=st.complex_numbers(allow_infinity=True, allow_nan=True),
    ),
    frequency=st.floats(1, 1000),
    dwell=st.floats(1e-5, 1e-2),
    echo=st.none() | st.floats(0, 2),
    reference=st.none() | st.floats(-10, 10),
)
@same_folder
def test_any_samples_and_numbers_come_back_from_nifti_mrs(
    tmp_path, values, frequency, dwell, echo, reference
):
    data = SpectralData(
        fid=values,
        acquisition=Acquisition(
            spectrometer_frequency_mhz=frequency,
            dwell_time_s=dwell,
            echo_time_s=echo,
            reference_ppm=reference,
            nucleus="1H",
        ),
        dims=("DIM_COIL", "DIM_DYN"),
    )

    write_nifti_mrs(tmp_path / "a.nii", data)

    back = read(tmp_path / "a.nii")
    assert np.array_equal(back.fid, data.fid, equal_nan=True)
    # a file's echo time of 0 is one that it does not state
    assert back.acquisition == replace(data.acquisition, echo_time_s=echo or None)


@given(
    angle=st.tuples(*[st.floats(-180, 180)] * 3),
    size=st.tuples(*[st.floats(1, 300)] * 3),
    centre=st.tuples(*[st.floats(-500, 500)] * 3),
)
@same_folder
def test_any_place_comes_back_from_nifti_mrs(tmp_path, angle, size, centre):
    affine = affine_from_angles(centre, angle, size)

    write_nifti_mrs(tmp_path / "a.nii", replace(synthetic.spectral_data(), affine=affine))

    assert np.allclose(read(tmp_path / "a.nii").affine, affine, atol=1e-3)


@given(value=st.floats(-(2.0**120), 2.0**120, width=32).filter(lambda v: abs(v) > 1e-37))
def test_a_vax_float_has_the_value_of_the_ieee_float_it_was_made_from(value):
    assert vax_floats(synthetic.vax([value]))[0] == value


@given(st.binary(min_size=4, max_size=4))
def test_every_vax_pattern_follows_the_definition(pattern):
    high, low = struct.unpack("<2H", pattern)
    sign, exponent, fraction = high >> 15, (high >> 7) & 255, ((high & 127) << 16) | low

    value = vax_floats(pattern)[0]

    if exponent:
        assert value == (-1) ** sign * (0.5 + fraction / 2**24) * 2.0 ** (exponent - 128)
    else:
        assert np.isnan(value) if sign else value == 0.0


angles = st.floats(-180, 180)


@given(
    angle=st.tuples(angles, angles, angles),
    size=st.tuples(*[st.floats(1, 300)] * 3),
    centre=st.tuples(*[st.floats(-500, 500)] * 3),
)
def test_turning_a_voxel_changes_neither_its_edges_nor_its_place(angle, size, centre):
    affine = affine_from_angles(centre, angle, size)

    edges = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    assert np.allclose(edges, size)
    assert np.allclose(affine[:3, 3], np.array(centre) * [-1, -1, 1])
    assert np.linalg.det(affine[:3, :3]) == pytest.approx(np.prod(size))


@given(
    angle=st.tuples(angles, angles, angles),
    spacing=st.tuples(*[st.floats(1, 300)] * 3),
    index=st.tuples(*[st.integers(0, 40)] * 3),
    corner=st.booleans(),
)
def test_an_index_walks_along_row_column_and_normal(angle, spacing, index, corner):
    turn = affine_from_angles([0, 0, 0], angle, [1, 1, 1])[:3, :3]
    row, column = turn[:, 0], turn[:, 1]
    normal = slice_normal(row, column)
    origin = np.array([10.0, -20.0, 30.0])

    affine = affine_from_lps(origin, row, column, spacing, corner=corner, normal=normal)

    shift = 0.5 if corner else 0.0
    lps = (
        origin
        + (index[0] + shift) * spacing[0] * row
        + (index[1] + shift) * spacing[1] * column
        + index[2] * spacing[2] * np.array(normal)
    )
    assert np.allclose((affine @ [*index, 1])[:3], lps * [-1, -1, 1], atol=1e-6)
    assert max(normal, key=abs) > 0  # towards left, back or head


@given(st.tuples(*[st.floats() | st.none()] * 3), st.tuples(*[st.floats()] * 3))
def test_impossible_geometry_is_none(values, row):
    affine = affine_from_lps(values, row, (0.0, 1.0, 0.0), (1.0, 1.0, 1.0))

    assert affine is None or (np.isfinite(affine).all() and abs(np.linalg.det(affine)) > 0.5)


@given(st.text())
def test_no_free_text_gets_through_as_a_sequence(text):
    name = sequence_name(text, free_text=[text])

    assert name is None or re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{1,31}|SPIN-ECHO", name)
    typed = sequence_name(free_text=[text])
    assert typed in {None, "PRESS", "STEAM", "sLASER", "SPIN-ECHO"}


@given(st.text() | st.integers() | st.floats() | st.none() | st.booleans())
def test_a_header_value_is_a_finite_number_or_unknown(value):
    found = number(value)

    assert found is None or (isinstance(found, float) and np.isfinite(found))
    assert whole(value) is None or whole(value) == found
    assert nucleus_name(value) is None or re.fullmatch(r"\d+[A-Z]{1,2}", nucleus_name(value))


@given(st.floats(0.2, 20))
def test_frequency_over_field_names_the_nucleus(field_t):
    assert nucleus_of(42.577 * field_t, field_t) == "1H"
    assert nucleus_of(17.235 * field_t, field_t) == "31P"
    assert nucleus_of(30.0 * field_t, field_t) is None


@given(
    st.dictionaries(
        st.sampled_from(["LL", "Cho", "Cr", "NAA", "mI", "Lac", "Glx", "Ala", "Lip13"]),
        st.just(0.0) | st.floats(1e3, 1e9),
        min_size=1,
    )
)
def test_any_peak_values_come_back_from_text(peaks):
    areas = read_peaks(" ".join(f"{name}={value!r}" for name, value in peaks.items()))

    assert dict(zip(areas.names, areas.values.tolist(), strict=True)) == peaks
