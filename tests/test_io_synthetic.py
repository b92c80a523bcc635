"""Branches of the readers that no file at hand reaches: grids, averages, water frames, affines.

The files are written here from the formats' descriptions; where a library reads a format right,
its affine is the truth.
"""

import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scanner_files import (
    COLUMN,
    DWELL_S,
    ROW,
    N,
    centre_ras,
    csa_dicom,
    dicom_file,
    first_centre_lps,
    frequency_hz,
    ge_grid,
    grid_fid,
    jmrui_text,
    mrs_dicom,
    new_pfile,
    rda,
    sdat_pair,
    spectral_data,
    twix_file,
    varian_pair,
)

from mrs_necrosis.errors import FormatError, MissingExtraError, OutputError
from mrs_necrosis.io import read, read_image, write_nifti_mrs
from mrs_necrosis.simulation import sample_path
from mrs_necrosis.spectra import Spectra


@pytest.mark.parametrize("grid", [(3, 2, 1), (3, 2, 4), (1, 1, 1)])
def test_an_rda_grid_lies_where_spec2nii_puts_it(tmp_path, grid):
    spec2nii_rda = pytest.importorskip("spec2nii.Siemens.rda", reason="needs the extra vendor")
    path = rda(tmp_path / "grid.rda", grid_fid(*grid))

    data = read(path)

    (oracle,), _ = spec2nii_rda.convert_rda(path, None, False)
    assert data.fid.shape == (*grid, N)
    assert np.allclose(data.fid, grid_fid(*grid))
    assert np.allclose(data.fid, oracle[:])
    assert np.allclose(data.affine, oracle.getAffine("voxel", "world"), atol=1e-4)


def test_the_corner_voxel_of_an_rda_grid_lies_in_its_corner(tmp_path):
    data = read(rda(tmp_path / "grid.rda", grid_fid(3, 2, 1)))

    last = data.affine @ [2, 1, 0, 1]

    assert np.allclose(last[:3], centre_ras(2, 1, 0), atol=1e-4)
    assert abs(data.fid[2, 1, 0, 0]) == pytest.approx(6.0)
    assert data.acquisition.repetition_time_s == 1.7  # a decimal comma
    assert data.acquisition.mixing_time_s is None
    assert frequency_hz(data.fid) == pytest.approx(93.75)  # the bin of +100 Hz


@pytest.mark.parametrize("grid", [(3, 2, 1), (3, 2, 4)])
def test_a_csa_grid_equals_the_rda_of_the_same_acquisition(tmp_path, grid):
    data = read(csa_dicom(tmp_path / "grid.IMA", grid_fid(*grid)))

    same = read(rda(tmp_path / "grid.rda", grid_fid(*grid)))
    assert np.allclose(data.fid, same.fid)
    assert np.allclose(data.affine, same.affine, atol=1e-4)
    assert data.acquisition.sequence == "sLASER"
    assert data.acquisition.echo_time_s == 0.04


def test_a_csa_size_that_its_samples_do_not_have_is_refused(tmp_path):
    path = csa_dicom(tmp_path / "grid.IMA", grid_fid(3, 2, 1), Rows=[3])

    with pytest.raises(FormatError, match="is truncated: its header promises 1152 numbers, 768"):
        read(path)


def test_frames_at_different_positions_are_slices_and_lie_there(tmp_path):
    fid = grid_fid(3, 2, 2)
    step = -np.cross(ROW, COLUMN) * 20.0
    positions = [first_centre_lps(), first_centre_lps() + step]

    data = read(mrs_dicom(tmp_path / "grid.dcm", fid.transpose(2, 1, 0, 3), positions))

    assert data.fid.shape == (3, 2, 2, N)
    assert np.allclose(data.fid, fid)
    assert np.allclose(
        (data.affine @ [2, 1, 1, 1])[:3], centre_ras(2, 1, 1, step_z=step), atol=1e-3
    )
    assert data.voxel_size_mm == pytest.approx((10, 12, 20), abs=1e-4)
    assert data.acquisition.reference_ppm == 4.7
    assert frequency_hz(data.fid) > 0


def test_frames_at_one_position_are_averages(tmp_path):
    fid = grid_fid(1, 1, 5)[0, 0]

    data = read(mrs_dicom(tmp_path / "svs.dcm", fid[:, None, None], [first_centre_lps()] * 5))

    assert data.dims == ("DIM_DYN",)
    assert np.allclose(data.fid[0, 0, 0], fid.T)


def test_frames_that_philips_marks_are_the_water_reference(tmp_path):
    fid = grid_fid(1, 1, 3)[0, 0]
    path = mrs_dicom(
        tmp_path / "svs.dcm",
        fid[:, None, None],
        [first_centre_lps()] * 3,
        manufacturer="Philips Medical Systems",
        water={1},
    )

    data = read(path)

    assert np.allclose(data.fid[0, 0, 0], fid[[0, 2]].T)
    assert np.allclose(data.water.fid[0, 0, 0], fid[1])


def test_dicom_that_is_no_spectrum_or_deflated_is_refused(tmp_path):
    from pydicom.dataset import Dataset

    path = dicom_file(tmp_path / "image.dcm", Dataset(), "1.2.840.10008.5.1.4.1.1.4")
    with pytest.raises(FormatError, match="is a DICOM file without MR spectra"):
        read(path)

    content = path.read_bytes().replace(
        b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99\0\0\0", 1
    )
    length = struct.unpack_from("<I", content, 140)[0]
    at = content.index(b"\x02\x00\x10\x00UI") + 6
    content = content[:at] + struct.pack("<H", 22) + content[at + 2 :]
    content = content[:140] + struct.pack("<I", length + 4) + content[144:]
    path.write_bytes(content.replace(b".99\0\0\0", b".99\0", 1))
    with pytest.raises(FormatError, match="deflated DICOM"):
        read(path)


def test_sdat_rows_with_phase_encoding_are_voxels(tmp_path):
    fid = grid_fid(3, 2, 2)
    rows = fid.transpose(2, 1, 0, 3).reshape(-1, N)

    data = read(sdat_pair(tmp_path, rows, encoded=True, planes=(3, 2, 2)))

    assert data.fid.shape == (3, 2, 2, N)
    assert np.allclose(data.fid, fid, rtol=1e-6)
    assert data.affine is None
    assert "does not say how the grid lies" in data.history[0].note


def test_sdat_rows_without_phase_encoding_are_averages(tmp_path):
    rows = grid_fid(1, 1, 4)[0, 0]

    data = read(sdat_pair(tmp_path, rows, encoded=False))

    assert data.dims == ("DIM_DYN",)
    assert np.allclose(data.fid[0, 0, 0], rows.T, rtol=1e-6)


def test_sdat_rows_that_make_no_grid_are_refused(tmp_path):
    rows = grid_fid(1, 1, 6)[0, 0]

    with pytest.raises(FormatError, match="its 6 rows are not 3 x 3 x 1 voxels"):
        read(sdat_pair(tmp_path, rows, encoded=True, planes=(3, 3, 1)))


def test_a_turned_philips_voxel_lies_where_spec2nii_puts_it(tmp_path):
    philips = pytest.importorskip("spec2nii.Philips.philips", reason="needs the extra vendor")
    path = sdat_pair(tmp_path, grid_fid(1, 1, 1)[0, 0], encoded=False)

    data = read(path)

    (oracle,), _ = philips.read_sdat_spar_pair(path, path.with_suffix(".SPAR"), tags=[None] * 3)
    assert np.allclose(data.affine, oracle.getAffine("voxel", "world"), atol=1e-4)
    assert np.allclose(data.fid, oracle[:], rtol=1e-6)


@pytest.mark.parametrize(
    ("path", "module", "function", "arguments"),
    [
        ("siemens_rda/phantom_1p5T_example.rda", "Siemens.rda", "convert_rda", (None, False)),
        (
            "siemens_ima/brain_3T_SVS_30.IMA",
            "Siemens.dicomfunctions",
            "multi_file_dicom",
            (None, None, False),
        ),
        (
            "dicom_mrs/siemens_XA60_3T_phantom_te30.dcm",
            "Siemens.dicomfunctions",
            "multi_file_dicom",
            (None, None, False),
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")  # spec2nii's own
def test_real_voxels_lie_where_spec2nii_puts_them(shared_data, path, module, function, arguments):
    oracle_module = pytest.importorskip(f"spec2nii.{module}", reason="needs the extra vendor")
    path = shared_data / path

    data = read(path)

    source = [path] if function == "multi_file_dicom" else path
    (oracle,), _ = getattr(oracle_module, function)(source, *arguments)
    assert np.allclose(data.affine, oracle.getAffine("voxel", "world"), atol=0.02)
    assert np.allclose(data.fid, oracle[:], rtol=1e-6)


def test_the_7t_voxel_lies_at_one_place_in_dicom_and_twix(shared_data):
    pytest.importorskip("spec2nii", reason="needs the extra vendor")
    folder = shared_data
    dicom = read(folder / "siemens_ima/spinal_cord_7T_sLASER_shortTE_WS.dcm")

    twix = read(folder / "siemens_twix/spinal_cord_7T_sLASER_shortTE_noWS.dat")

    assert np.allclose(dicom.affine, twix.affine, atol=1e-4)


def test_a_ge_voxel_lies_where_its_text_header_says(shared_data):
    data = read(shared_data / "ge_pfile/P1904_1.5T_030_2000.7")

    # sl_loc and sl_thick of the .shf, whose RL and AP run to the right and the front here
    assert np.allclose(data.affine[:3, 3], [4.3896, -13.1288, -0.909437], atol=1e-4)
    assert data.voxel_size_mm == pytest.approx((20.1574, 19.9939, 20), abs=1e-4)


def test_jmrui_text_with_several_signals_has_them_as_averages(tmp_path):
    fid = grid_fid(1, 1, 3)[0, 0]
    lines = [
        "jMRUI Data Textfile", "", f"PointsInDataset: {N}", "DatasetsInFile: 3",
        "SamplingInterval: 5E-1", "TransmitterFrequency: 1.232E8", "MagneticField: 2.89E0",
        "TypeOfNucleus: 1E0", "NameOfPatient: PLANTED", "", "Signal and FFT",
        "sig(real)\tsig(imag)",
    ]  # fmt: skip
    for number, signal in enumerate(fid, start=1):
        lines.append(f"Signal {number} out of 3 in file")
        lines += [f"{value.real:.8e}\t{value.imag:.8e}" for value in signal]
    path = tmp_path / "signals.txt"
    path.write_text("\n".join(lines))

    data = read(path)

    assert data.dims == ("DIM_DYN",)
    assert np.allclose(data.fid[0, 0, 0], fid.T)


def test_lcmodel_voxels_follow_the_control_files_grid(tmp_path):
    fid = grid_fid(3, 2, 1)
    rows = fid.transpose(2, 1, 0, 3).conj().reshape(-1)
    body = "".join(f"{value.real:15.6E}{value.imag:15.6E}\n" for value in rows)
    (tmp_path / "scan.RAW").write_text(f" $NMID ID='x', FMTDAT='(2E15.6)' $END\n{body}")
    (tmp_path / "scan.control").write_text(
        f" $LCMODL\n nunfil={N}\n deltat=5e-04\n hzpppm=123.2\n filraw='/data/scan.RAW'\n"
        " ndcols=3\n ndrows=2\n ndslic=1\n $END\n"
    )

    data = read(tmp_path / "scan.RAW")

    assert data.fid.shape == (3, 2, 1, N)
    assert np.allclose(data.fid, fid, atol=1e-5)


@pytest.mark.parametrize("flag", ["BRUKER=T", "BRUKER=.TRUE."])
def test_lcmodel_bruker_flag_turns_the_sign(tmp_path, flag):
    fid = grid_fid(1, 1, 1)[0, 0, 0]
    body = "".join(f"{value.real:15.6E}{value.imag:15.6E}\n" for value in fid)
    path = tmp_path / "scan.RAW"
    path.write_text(f" $NMID ID='x', FMTDAT='(2E15.6)', {flag} $END\n{body}")

    data = read(path, dwell_time_s=DWELL_S, spectrometer_frequency_mhz=123.2)

    assert frequency_hz(data.fid) > 0


def test_varian_receivers_become_coils(tmp_path):
    fid = grid_fid(1, 3, 4)[0].transpose(1, 0, 2)  # 4 dynamics, 3 receivers

    data = read(varian_pair(tmp_path, fid, receivers=3))

    assert data.dims == ("DIM_COIL", "DIM_DYN")
    assert np.allclose(data.fid[0, 0, 0], fid.transpose(2, 1, 0))
    assert data.acquisition.mixing_time_s is None


def test_a_newer_pfile_is_read_through_spec2nii(tmp_path):
    pytest.importorskip("spec2nii", reason="needs the extra vendor")
    fid = np.round(1000 * grid_fid(1, 2, 5)[0])
    path = new_pfile(tmp_path / "P1_ref.7", fid[:, :2], fid[:, 2:])

    data = read(path)

    assert data.dims == ("DIM_COIL", "DIM_DYN")
    assert np.allclose(data.fid[0, 0, 0], fid[:, 2:].transpose(2, 0, 1))
    assert np.allclose(data.water.fid[0, 0, 0], fid[:, :2].transpose(2, 0, 1))
    assert data.acquisition.echo_time_s == 0.035
    assert data.acquisition.sequence == "PRESS"
    assert data.acquisition.nucleus == "1H"
    assert data.acquisition.spectrometer_frequency_mhz == pytest.approx(127.7)
    assert np.allclose(data.affine[:3, 3], [5.0, -6.0, 7.0])
    assert data.voxel_size_mm == pytest.approx((20, 22, 24))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FormatError, match="is truncated: its header promises"):
        read(path)


def test_a_newer_ge_grid_is_read_but_has_no_position(tmp_path):
    pytest.importorskip("spec2nii", reason="needs the extra vendor")
    fid = grid_fid(8, 8, 1)[:, :, 0, None] * np.array([1.0, 0.5])[:, None]

    data = read(ge_grid(tmp_path / "P2.7", fid))

    assert data.fid.shape == (8, 8, 1, N, 2)
    assert data.dims == ("DIM_COIL",)
    # each voxel's FID is there, wherever it lies
    found = np.sort(np.abs(data.fid[..., 0, 0]).ravel())
    np.testing.assert_allclose(found, np.sort(1000 * np.abs(fid[:, :, 0, 0]).ravel()), atol=50)
    assert data.affine is None
    assert "may be turned or mirrored" in data.history[0].note


@pytest.mark.filterwarnings("ignore")  # twixtools' own
@pytest.mark.parametrize("is_vd", [False, True])
def test_a_synthetic_twix_file_keeps_coils_and_averages(tmp_path, is_vd):
    pytest.importorskip("spec2nii", reason="needs the extra vendor")
    path = twix_file(tmp_path / "meas.dat", grid_fid(1, 4, 8)[0], is_vd=is_vd)

    data = read(path)

    assert data.dims == ("DIM_COIL", "DIM_DYN")
    assert data.fid.shape == (1, 1, 1, N // 2, 4, 8)
    assert data.acquisition.dwell_time_s == 2 * DWELL_S
    hz = np.fft.fftfreq(N // 2, 2 * DWELL_S)
    spectrum = np.abs(np.fft.fft(data.fid[0, 0, 0], axis=0))
    assert (hz[spectrum.argmax(axis=0)] == 93.75).all()  # the bin of +100 Hz
    # coil and average are told by their amplitude
    loudness = np.linalg.norm(data.fid[0, 0, 0], axis=0)
    assert np.allclose(loudness / loudness[0, 0], 1.0 + np.arange(32).reshape(4, 8))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 3000])
    with pytest.raises(FormatError, match="is truncated: its last scans are missing"):
        read(path)


def test_twix_without_its_extra_says_how_to_get_it(shared_data, monkeypatch):
    monkeypatch.setitem(sys.modules, "mapvbvd", None)

    with pytest.raises(MissingExtraError, match=r'pip install "mrs-necrosis\[vendor\]"'):
        read(shared_data / "siemens_twix/spinal_cord_7T_sLASER_shortTE_noWS.dat")


# --- NIfTI-MRS out and in again


@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz"])
@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((3, 2, 4, N), ()),
        ((1, 1, 1, N, 4, 3), ("DIM_COIL", "DIM_DYN")),
        ((2, 1, 1, N, 3), ("DIM_EDIT",)),
    ],
)
def test_nifti_mrs_gives_back_what_was_written(tmp_path, name, shape, dims):
    data = spectral_data(
        shape,
        dims,
        echo_time_s=0.144,
        echo_times_s=(0.02, 0.124),
        repetition_time_s=1.5,
        mixing_time_s=0.01,
        sequence="STEAM",
        reference_ppm=4.68,
        manufacturer="Siemens",
    )

    write_nifti_mrs(tmp_path / name, data)

    back = read(tmp_path / name)
    assert np.array_equal(back.fid, data.fid)
    assert back.dims == data.dims
    assert back.acquisition == data.acquisition
    assert np.allclose(back.affine, data.affine, atol=1e-6)


def test_nifti_mrs_of_spectra_without_geometry_has_none_again(tmp_path):
    data = spectral_data((1, 1, 1, N))
    spectra = Spectra(fid=data.fid.astype(np.complex64), acquisition=data.acquisition)

    write_nifti_mrs(tmp_path / "out.nii.gz", spectra)

    back = read(tmp_path / "out.nii.gz")
    assert back.affine is None
    assert np.array_equal(back.fid, spectra.fid)


def test_nifti_mrs_bytes_are_the_same_every_time_and_no_part_is_left(tmp_path):
    data = spectral_data()

    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti_mrs(tmp_path / name, data)

    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


@pytest.mark.filterwarnings("ignore")  # the oracle's own
def test_the_nifti_mrs_package_accepts_what_is_written(tmp_path):
    validator = pytest.importorskip("nifti_mrs.validator", reason="the oracle is not installed")
    nifti_mrs = pytest.importorskip("nifti_mrs.nifti_mrs", reason="the oracle is not installed")
    data = spectral_data(
        (3, 2, 4, N, 2), ("DIM_DYN",), echo_time_s=0.03, reference_ppm=4.7, sequence="PRESS"
    )
    path = tmp_path / "out.nii.gz"
    write_nifti_mrs(path, data)

    oracle = nifti_mrs.NIFTI_MRS(str(path))

    validator.validate_nifti_mrs(oracle.image)
    assert np.allclose(oracle[:], data.fid)
    assert oracle.dwelltime == pytest.approx(1 / 3000, rel=1e-12)
    assert oracle.spectrometer_frequency == [123.2531]
    assert oracle.dim_tags[0] == "DIM_DYN"


def test_nifti_mrs_that_cannot_be_written_says_so(tmp_path):
    data = spectral_data((1, 1, 1, N))

    with pytest.raises(ValueError, match=r"must be named \.nii or \.nii\.gz; got 'out\.hdr'"):
        write_nifti_mrs(tmp_path / "out.hdr", data)
    with pytest.raises(OutputError, match=r"out\.nii cannot be written: No such file"):
        write_nifti_mrs(tmp_path / "missing" / "out.nii", data)
    assert not list(tmp_path.iterdir())


def test_every_sample_survives_nifti_mrs(shared_data, tmp_path):
    for path in (
        "siemens_rda/phantom_1p5T_example.rda",
        "ge_pfile/P1751_1.5T_030_2000.7",
        "nifti_mrs/brain_7T_steam11/metab_raw.nii.gz",
        "philips_sdat/brain_3T_press30/philips_spar_sdat_WS.SDAT",
    ):
        data = read(shared_data / path)
        write_nifti_mrs(tmp_path / "out.nii.gz", data)

        back = read(tmp_path / "out.nii.gz")

        assert np.array_equal(back.fid, data.fid), path
        assert back.acquisition == data.acquisition, path


def test_a_nifti_bomb_is_refused_without_unpacking_it(tmp_path):
    import gzip

    path = tmp_path / "bomb.nii.gz"
    write_nifti_mrs(path, spectral_data((1, 1, 1, N)))
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<8q", content, 16, 4, 4096, 4096, 2048, 1, 1, 1, 1)
    path.write_bytes(gzip.compress(bytes(content)))

    with pytest.raises(FormatError, match=r"is truncated: its header promises \d{12} bytes"):
        read(path)


def test_a_real_image_is_no_nifti_mrs_but_an_image(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    path = tmp_path / "t1.nii.gz"
    nibabel.save(nibabel.Nifti1Image(array, affine), path)

    image, back = read_image(path)

    assert np.array_equal(image, array)
    assert np.array_equal(back, affine)
    with pytest.raises(FormatError, match="is a NIfTI image of real numbers, not NIfTI-MRS"):
        read(path)


def test_what_is_no_image_is_refused(tmp_path):
    path = tmp_path / "mask.nii"
    path.write_bytes(b"no image at all" * 100)
    with pytest.raises(FormatError, match="is no image that can be read"):
        read_image(path)

    write_nifti_mrs(tmp_path / "mrs.nii.gz", spectral_data((1, 1, 1, N)))
    with pytest.raises(FormatError, match="holds no real numbers"):
        read_image(tmp_path / "mrs.nii.gz")


def test_a_value_that_replaces_the_files_own_is_noted():
    path = sample_path("normal_te30.nii.gz")

    given, silent = read(path, echo_time_s=0.035), read(path, echo_time_s=0.03)

    assert given.acquisition.echo_time_s == 0.035
    assert "echo_time_s was given and replaced the file's value." in given.history[0].note
    assert given.history[0].parameters["replaced"] == {"echo_time_s": 0.03}
    assert "replaced" not in silent.history[0].parameters
    assert "given and replaced" not in silent.history[0].note


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"dwell_time_s": 4e-4}, "its dwell_time_s is 0.0004 s, that of the input 0.0005 s"),
        ({"spectrometer_frequency_mhz": 297.2}, "its spectrometer_frequency_mhz is 297.2 MHz"),
    ],
    ids=["dwell time", "field"],
)
def test_water_of_another_acquisition_is_refused(tmp_path, changed, words):
    data = spectral_data((1, 1, 1, 64))
    data = replace(data, acquisition=replace(data.acquisition, dwell_time_s=5e-4))
    other = replace(data, acquisition=replace(data.acquisition, **changed))
    write_nifti_mrs(tmp_path / "a.nii", data)
    write_nifti_mrs(tmp_path / "water.nii", other)

    with pytest.raises(FormatError, match=f"is no water reference of this input: {words}"):
        read(tmp_path / "a.nii", water_reference=tmp_path / "water.nii")


def planted_files(folder):
    """Yield a file of each kind whose header names a person."""
    fid = grid_fid(1, 2, 5)
    yield rda(folder / "a.rda", fid)
    yield csa_dicom(folder / "a.IMA", fid)
    yield mrs_dicom(folder / "a.dcm", fid[:, :1, :1].transpose(2, 1, 0, 3), [first_centre_lps()])
    yield sdat_pair(folder, fid[0, 0], encoded=False)
    yield twix_file(folder / "a.dat", fid[0])
    yield new_pfile(folder / "a.7", 1000 * fid[0, :, :2], 1000 * fid[0, :, 2:])
    yield jmrui_text(folder / "a.txt", fid[0, 0])


def test_no_name_in_a_header_reaches_data_messages_or_written_files(tmp_path, capfd, caplog):
    pytest.importorskip("spec2nii", reason="needs the extra vendor")
    caplog.set_level("DEBUG")
    for path in planted_files(tmp_path):
        partner = path.with_suffix(".SPAR")
        assert b"PLANTED" in path.read_bytes() + (
            partner.read_bytes() if partner.exists() else b""
        )

        data = read(path)
        write_nifti_mrs(tmp_path / "out.nii", data)
        content = path.read_bytes()
        path.write_bytes(content[: int(0.9 * len(content))])
        with pytest.raises(FormatError) as caught:
            read(path)

        printed = "".join(capfd.readouterr()) + caplog.text
        written = (tmp_path / "out.nii").read_bytes()
        for text in (repr(data), str(caught.value), printed):
            assert "PLANTED" not in text, path.name
        assert b"PLANTED" not in written, path.name


def test_importing_io_loads_no_heavy_library():
    import subprocess

    code = (
        "import sys; import mrs_necrosis.io as io; io.read; io.read_peaks; "
        "print([m for m in ('nibabel', 'pydicom', 'spec2nii', 'scipy') if m in sys.modules])"
    )

    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )

    assert out.stdout.strip() == "[]"
