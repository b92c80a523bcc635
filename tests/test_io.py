"""The contract that every reader keeps, on real files; expected values are data/README.md's."""

import logging
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

from mrs_necrosis.errors import FormatError, MissingMetadataError
from mrs_necrosis.io import read
from mrs_necrosis.io.recording import sequence_name
from mrs_necrosis.simulation import sample_path


@dataclass(frozen=True)
class Expected:
    path: str
    format: str
    shape: tuple
    dwell_time_s: float
    frequency_mhz: float
    echo_time_s: float | None
    repetition_time_s: float | None
    sequence: str | None
    peaks_ppm: tuple = ()  # strongest peaks between 0.5 and 4.2 ppm, any order
    dims: tuple = ()
    reference_ppm: float | None = None
    voxel_mm: tuple | None = None
    water_shape: tuple | None = None
    given: tuple = ()


BRAIN_3T = (2.01, 3.03, 3.92, 3.21)
SAMPLES = [
    Expected(
        "nifti_mrs/brain_7T_steam11/metab_raw.nii.gz", "NIfTI-MRS", (1, 1, 1, 4096, 4, 16),
        8.33e-5, 297.219948, 0.011, 5.0, "STEAM", (2.01, 3.03, 3.92, 3.21),
        dims=("DIM_COIL", "DIM_DYN"), voxel_mm=(20, 20, 20),
    ),
    Expected(
        "siemens_rda/phantom_1p5T_example.rda", "Siemens RDA", (1, 1, 1, 2048),
        5e-4, 63.68399, 0.03, 1.5, "PRESS", voxel_mm=(20, 20, 20),
    ),
    Expected(
        "siemens_ima/brain_3T_SVS_30.IMA", "Siemens CSA DICOM", (1, 1, 1, 1024),
        8.334e-4, 123.234655, 0.03, 2.0, "PRESS", voxel_mm=(20, 40, 20),
    ),
    Expected(
        "siemens_ima/phantom_1p5T_VA21_SIEMENSTEST.ima", "Siemens CSA DICOM", (1, 1, 1, 2048),
        5e-4, 63.68397, 0.03, 7.5, "PRESS", voxel_mm=(20, 20, 20),
    ),
    Expected(
        "siemens_ima/spinal_cord_7T_sLASER_shortTE_WS.dcm", "Siemens CSA DICOM", (1, 1, 1, 4096),
        2e-4, 297.205946, 0.01996, 3.69, "sLASER", (1.2, 3.2, 2.01), voxel_mm=(20, 8, 8),
    ),
    Expected(
        "siemens_twix/spinal_cord_7T_sLASER_shortTE_noWS.dat", "Siemens TWIX",
        (1, 1, 1, 4112, 8, 2), 2e-4, 297.2, 0.01996, 3.26, "sLASER",
        dims=("DIM_COIL", "DIM_DYN"), voxel_mm=(20, 8, 8),
    ),
    Expected(
        "dicom_mrs/philips_1p5T_phantom_shortTE.dcm", "DICOM MR Spectroscopy", (1, 1, 1, 1024),
        1e-3, 63.89575, 0.0319136, 2.0, "PRIME", (1.85, 2.87, 3.04), reference_ppm=4.68,
        voxel_mm=(25, 15, 15), water_shape=(1, 1, 1, 1024),
    ),
    Expected(
        "dicom_mrs/siemens_XA60_3T_phantom_te30.dcm", "DICOM MR Spectroscopy", (1, 1, 1, 1024),
        1 / 1199.904, 123.255089, 0.03, 2.0, "PRESS", (1.07, 3.55), reference_ppm=4.7,
        voxel_mm=(30, 30, 30),
    ),
    Expected(
        "philips_sdat/brain_3T_press30/philips_spar_sdat_WS.SDAT", "Philips SDAT/SPAR",
        (1, 1, 1, 1024), 5e-4, 127.786142, 0.03, 2.0, "PRESS", BRAIN_3T, voxel_mm=(20, 20, 20),
    ),
    Expected(
        "philips_sdat/phantom_3T/svs_30_WS.SPAR", "Philips SDAT/SPAR", (1, 1, 1, 2048),
        5e-4, 127.788256, 0.03, 1.5, None, (1.84, 2.86, 3.02), voxel_mm=(30, 30, 30),
    ),
    Expected(
        "ge_pfile/P1834_1.5T_030_2000.7", "GE P-file", (1, 1, 1, 2048, 1, 16),
        4e-4, 63.872622, 0.03, 2.0, "PRESS", (2.87, 3.77), dims=("DIM_COIL", "DIM_DYN"),
        voxel_mm=(22.11, 21.97, 22), water_shape=(1, 1, 1, 2048, 1, 8),
    ),
    Expected(
        "lcmodel/brain_3T_press30/data.raw", "LCModel RAW", (1, 1, 1, 1024),
        5e-4, 127.786142, None, None, None, BRAIN_3T,
    ),
    Expected(
        "lcmodel/brain_1p5T_press30/Siemens_2000.RAW", "LCModel RAW", (1, 1, 1, 2048),
        5e-4, 63.684, 0.03, None, "PRESS", (2.03, 3.22, 3.57),
        given=(("dwell_time_s", 5e-4),),
    ),
    Expected(
        "mrsi/lcmodel_multivoxel_10/multi-voxel.met", "LCModel RAW", (10, 1, 1, 512),
        8e-4, 123.23, 0.0156, None, None,
    ),
    Expected(
        "ismrm_challenge/jmrui/dataset1_WS.txt", "jMRUI", (1, 1, 1, 2048),
        2.5e-4, 123.22, None, None, None, (2.01, 3.03, 3.92),
    ),
    Expected(
        "ismrm_challenge/jmrui/dataset25_WS.txt", "jMRUI", (1, 1, 1, 2048),
        2.5e-4, 123.22, None, None, None, (1.34, 0.91),
    ),
    Expected(
        "ismrm_challenge/text/dataset1.txt", "four-column text", (1, 1, 1, 2048),
        2.5e-4, 123.22, None, None, None, (2.01, 3.03, 3.92), water_shape=(1, 1, 1, 2048),
        given=(("dwell_time_s", 2.5e-4), ("spectrometer_frequency_mhz", 123.22)),
    ),
    Expected(
        "jmrui/20240519_residual.mrui", "jMRUI", (1, 1, 1, 4096),
        2e-4, 400.265406, None, None, None, (0.9, 2.02, 1.38), reference_ppm=4.6965,
    ),
    Expected(
        "tarquin_dpt/brain_3T_press30/ws.dpt", "Dangerplot", (1, 1, 1, 1024),
        5e-4, 127.786142, None, None, None, BRAIN_3T,
    ),
    Expected(
        "tarquin_dpt/simulated_tumour_1p5T/1.dpt", "Dangerplot", (1, 1, 1, 1024),
        1e-3, 63.866, None, None, None, (3.16, 3.30, 1.95),
    ),
    Expected(
        "varian_fid/4T_STEAM_TE4ms_human.fid/fid", "Varian fid", (1, 1, 1, 2048),
        1 / 6000.15, 169.28781, 0.004, 5.0, "STEAM", (2.01, 3.03, 3.92, 3.21),
    ),
    Expected(
        "varian_fid/3T_MM_human_STEAM_CMRR.fid", "Varian fid", (1, 1, 1, 2048),
        1 / 6002.4, 123.245, 0.008, 5.0, "STEAM", (0.85, 2.01, 1.37),
    ),
]  # fmt: skip


def magnitude_spectrum(data):
    """Sum of magnitude spectra over everything, and its axis."""
    fid = data.fid.reshape(-1, *data.fid.shape[3:])
    fid = np.moveaxis(fid, 1, -1)
    time_s = np.arange(data.n_samples) * data.acquisition.dwell_time_s
    n = 2 * data.n_samples
    lines = np.fft.fftshift(np.fft.fft(fid * np.exp(-6 * time_s), n, axis=-1), axes=-1)
    hz = np.fft.fftshift(np.fft.fftfreq(n, data.acquisition.dwell_time_s))
    ppm = (
        data.acquisition.reference_or_water_ppm + hz / data.acquisition.spectrometer_frequency_mhz
    )
    return ppm, np.abs(lines).reshape(-1, n).sum(axis=0)


def strongest_peaks(data, count):
    ppm, spectrum = magnitude_spectrum(data)
    spectrum = np.where((ppm > 0.5) & (ppm < 4.15), spectrum, 0.0)
    peaks = []
    for _ in range(count):
        at = spectrum.argmax()
        peaks.append(float(ppm[at]))
        spectrum[np.abs(ppm - ppm[at]) < 0.08] = 0.0
    return peaks


def assert_close(value, expected, tolerance):
    if expected is None or value is None:
        assert value is expected
    else:
        assert value == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("expected", SAMPLES, ids=lambda sample: sample.path)
def test_a_real_file_is_read_with_its_own_numbers(shared_data, expected):
    if expected.format == "Siemens TWIX":
        pytest.importorskip("spec2nii", reason="needs the extra vendor")

    data = read(shared_data / expected.path, **dict(expected.given))

    acquisition = data.acquisition
    assert data.source_format == expected.format
    assert data.fid.shape == expected.shape
    assert data.dims == expected.dims
    assert acquisition.nucleus == "1H"
    assert_close(acquisition.dwell_time_s, expected.dwell_time_s, 1e-6)
    assert_close(acquisition.spectrometer_frequency_mhz, expected.frequency_mhz, 3e-5)
    assert_close(acquisition.echo_time_s, expected.echo_time_s, 1e-6)
    assert_close(acquisition.repetition_time_s, expected.repetition_time_s, 1e-6)
    assert acquisition.sequence == expected.sequence
    assert_close(acquisition.reference_ppm, expected.reference_ppm, 1e-4)
    assert_close(data.voxel_size_mm, expected.voxel_mm, 1e-3)
    assert (data.water.fid.shape if data.water else None) == expected.water_shape
    assert np.isfinite(data.fid).all()
    found = strongest_peaks(data, 12)
    for peak in expected.peaks_ppm:
        assert min(abs(peak - at) for at in found) < 0.06, (peak, found)


@pytest.mark.parametrize(
    "expected",
    [sample for sample in SAMPLES if sample.peaks_ppm],
    ids=lambda sample: sample.path,
)
def test_metabolites_lie_below_water_and_not_mirrored_above_it(shared_data, expected):
    data = read(shared_data / expected.path, **dict(expected.given))

    ppm, spectrum = magnitude_spectrum(data)
    offset = ppm - 4.65
    below = spectrum[(offset < -1.3) & (offset > -3.9)].max()
    above = spectrum[(offset > 1.3) & (offset < 3.9)].max()

    assert below > 1.5 * above


def test_every_file_of_the_shared_data_is_read_or_refused_in_one_sentence(shared_data):
    pytest.importorskip("spec2nii", reason="needs the extra vendor")
    refused = {}
    for path in sorted(shared_data.rglob("*")):
        if not path.is_file() or "LICENSES" in path.parts:
            continue
        try:
            read(path)
        except FormatError as error:
            refused[str(path.relative_to(shared_data))] = error.problem

    must_be_read = [
        name
        for name in refused
        if not name.endswith((
            ".shf", ".xml", ".md", ".tsv", ".csv", ".basis", ".file", ".coord", ".COORD", ".table",
            "/text",
        ))
    ]  # fmt: skip
    without_dwell_time = {
        "ismrm_challenge/text/dataset1.txt",
        "lcmodel/brain_1p5T_press30/Siemens_2000.RAW",
        *(
            f"ismrm_challenge/lcmodel/dataset{i}.{kind}"
            for i in (1, 2, 25)
            for kind in ("RAW", "H2O")
        ),
    }
    assert set(must_be_read) == without_dwell_time
    for name in without_dwell_time:
        assert "does not say" in refused[name]
    for problem in refused.values():
        assert "\n" not in problem
        assert not problem.endswith(".")
        assert len(problem) < 300


def test_one_acquisition_in_three_formats_is_one_fid(shared_data):
    sdat = read(shared_data / "philips_sdat/brain_3T_press30/philips_spar_sdat_WS.SDAT")
    dpt = read(shared_data / "tarquin_dpt/brain_3T_press30/ws.dpt")
    raw = read(shared_data / "lcmodel/brain_3T_press30/data.raw")

    scale = np.abs(sdat.fid).max()
    # DPT prints 9 digits of a float32, RAW 7
    assert np.abs(dpt.fid - sdat.fid).max() < 1e-8 * scale
    assert np.abs(raw.fid - sdat.fid).max() < 1e-6 * scale


def test_one_challenge_dataset_in_three_formats_is_one_fid(shared_data):
    known = {"dwell_time_s": 2.5e-4, "spectrometer_frequency_mhz": 123.22}
    folder = shared_data / "ismrm_challenge"
    jmrui = read(
        folder / "jmrui/dataset1_WS.txt", water_reference=folder / "jmrui/dataset1_nWS.txt"
    )
    text = read(folder / "text/dataset1.txt", **known)
    raw = read(
        folder / "lcmodel/dataset1.RAW",
        water_reference=folder / "lcmodel/dataset1.H2O",
        **known,
    )

    for ours in (jmrui, raw):
        for name in ("fid", "water"):
            fid = ours.fid if name == "fid" else ours.water.fid
            truth = text.fid if name == "fid" else text.water.fid
            scale = np.abs(truth).max()
            # the challenge's jMRUI and RAW files print six digits
            assert np.abs(fid - truth).max() < 2e-5 * scale


def test_water_frames_of_a_pfile_are_water(shared_data):
    data = read(shared_data / "ge_pfile/P1834_1.5T_030_2000.7")

    first = np.abs(data.water.fid[0, 0, 0, 1, 0]), np.abs(data.fid[0, 0, 0, 1, 0])

    assert first[0].min() > 20 * first[1].max()


def test_the_water_reference_of_a_philips_dicom_is_its_second_frame(shared_data):
    data = read(shared_data / "dicom_mrs/philips_1p5T_phantom_shortTE.dcm")

    assert np.abs(data.water.fid[..., 1]) > 20 * np.abs(data.fid[..., 1])
    assert strongest_peaks(data, 1)[0] == pytest.approx(1.85, abs=0.05)


def test_a_second_file_becomes_the_water_reference(shared_data):
    folder = shared_data / "philips_sdat/brain_3T_press30"

    data = read(
        folder / "philips_spar_sdat_WS.SDAT",
        water_reference=folder / "philips_spar_sdat_W.SPAR",
    )

    assert np.abs(data.water.fid[..., 1]) > 50 * np.abs(data.fid[..., 1])
    assert [step.name for step in data.history] == ["read", "read_water_reference"]


def test_a_water_reference_of_another_acquisition_is_refused(shared_data):
    with pytest.raises(FormatError, match=r"its dwell_time_s is 0\.00025 s, that of the input"):
        read(
            shared_data / "philips_sdat/brain_3T_press30/philips_spar_sdat_WS.SDAT",
            water_reference=shared_data / "ismrm_challenge/jmrui/dataset1_nWS.txt",
        )
    with pytest.raises(FormatError, match=r"it has \(1, 1, 1\) voxels, the input \(10, 1, 1\)"):
        read(
            shared_data / "mrsi/lcmodel_multivoxel_10/multi-voxel.met",
            water_reference=shared_data / "ismrm_challenge/jmrui/dataset1_nWS.txt",
        )


def test_what_the_file_lacks_can_be_given_and_stands_in_the_history(shared_data):
    path = shared_data / "lcmodel/brain_1p5T_press30/Siemens_2000.RAW"
    with pytest.raises(MissingMetadataError, match=r"dwell time; give dwell_time_s=\.\.\. \(on"):
        read(path)

    data = read(path, dwell_time_s=5e-4, repetition_time_s=1.5, echo_time_s=0.144)

    assert data.acquisition.repetition_time_s == 1.5
    assert data.acquisition.echo_time_s == 0.144
    step = data.history[0]
    assert step.parameters["given"] == {
        "dwell_time_s": 5e-4, "repetition_time_s": 1.5, "echo_time_s": 0.144,
    }  # fmt: skip
    assert step.parameters["replaced"] == {"echo_time_s": 0.03}
    assert "echo_time_s was given and replaced the file's value" in step.note


def test_a_given_value_in_the_wrong_unit_is_the_callers_error(shared_data):
    path = shared_data / "tarquin_dpt/brain_3T_press30/ws.dpt"

    with pytest.raises(ValueError, match="echo_time_s must be in s, between 0 and 2; got 30"):
        read(path, echo_time_s=30)
    with pytest.raises(ValueError, match="nucleus must be a name such as '1H'"):
        read(path, nucleus="water")
    with pytest.raises(ValueError, match="sequence must be a name such as 'PRESS'"):
        read(path, sequence="<script>")


def test_many_voxels_without_control_file_ask_for_the_length_of_an_fid(shared_data, tmp_path):
    path = tmp_path / "voxels.met"
    path.write_bytes((shared_data / "mrsi/lcmodel_multivoxel_10/multi-voxel.met").read_bytes())
    with pytest.raises(MissingMetadataError, match="holds 5120 complex samples"):
        read(path, dwell_time_s=8e-4)

    data = read(path, dwell_time_s=8e-4, n_samples=512)

    original = read(shared_data / "mrsi/lcmodel_multivoxel_10/multi-voxel.met")
    assert np.array_equal(data.fid, original.fid)


def test_a_31p_file_is_refused(shared_data, tmp_path):
    text = (shared_data / "ismrm_challenge/jmrui/dataset1_WS.txt").read_text("latin-1")
    path = tmp_path / "phosphorus.txt"
    path.write_text(text.replace("1.2322E8", "4.99E7"), "latin-1")

    with pytest.raises(FormatError, match="holds 31P spectra; only 1H spectra can be judged"):
        read(path)
    with pytest.raises(FormatError, match="holds 31P spectra"):
        read(path, nucleus="1H")


def test_an_unknown_nucleus_needs_the_users_word(shared_data, tmp_path):
    text = (shared_data / "ismrm_challenge/jmrui/dataset1_WS.txt").read_text("latin-1")
    path = tmp_path / "unknown.txt"
    path.write_text(text.replace("MagneticField: 2.9E0", "MagneticField: 0E0"), "latin-1")
    with pytest.raises(MissingMetadataError, match="does not say which nucleus was measured"):
        read(path)

    assert read(path, nucleus="1H").acquisition.nucleus == "1H"


PLANTED = "DOE^JANE 1960-01-31"


@pytest.mark.parametrize(
    "path",
    [
        "siemens_rda/phantom_1p5T_example.rda",
        "philips_sdat/brain_3T_press30/philips_spar_sdat_WS.SPAR",
        "ismrm_challenge/jmrui/dataset1_WS.txt",
    ],
)
def test_no_header_text_reaches_the_data(shared_data, tmp_path, path):
    original = shared_data / path
    content = original.read_bytes()
    for word in (b"PHANTOM^SPHERICAL^^Prof", b"PHAN_BUOY", b"NameOfPatient: dataset1_WS"):
        content = content.replace(word, word.partition(b":")[0] + b": " + PLANTED.encode())
    copy = tmp_path / original.name
    copy.write_bytes(content)
    if original.suffix == ".SPAR":
        copy.with_suffix(".SDAT").write_bytes(original.with_suffix(".SDAT").read_bytes())

    data = read(copy)

    assert "JANE" in content.decode("latin-1")
    assert "JANE" not in repr(data)
    assert "JANE" not in repr(data.history)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"hello\n", "is none of the formats that can be read"),
        (b"<html><body></body></html>", "is an XML or HTML document"),
        (b"1 2\n3 4\n5 6\n7 8\n", "is two bare columns of numbers"),
        (b'{"EchoTime": 0.03}', "is a JSON text"),
        (b"\x00" * 5000, "is none of the formats that can be read"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is a picture or a document; values printed on it can"),
        (b"PK\x03\x04" + bytes(50), "is a ZIP archive or an office document"),
        (b"MATLAB 5.0 MAT-file" + bytes(50), "is a MATLAB file"),
        (b"LL 108964\nCho 33671\nCr 29534\n", "holds peak values but is no peak table: write it"),
        (b"LL: 5 Cho=2", "holds peak values but is no peak table: write it"),
        (b"##TITLE=Parameter List, ParaVision 6\n", "is a parameter file of Bruker"),
        (b"# === DATA DESCRIPTION FILE ====\n", "is Philips' list of raw data"),
        (
            b"[peaks]\nLL = 1.0\nCr = 2.0\n",
            "is a peak table, not spectra; read it with read_peaks",
        ),
    ],
)
def test_a_file_that_is_no_acquisition_gets_one_true_sentence(tmp_path, content, sentence):
    path = tmp_path / "input.dat"
    path.write_bytes(content)

    with pytest.raises(FormatError, match=sentence):
        read(path)


def test_a_missing_file_and_a_folder_get_one_true_sentence(tmp_path):
    with pytest.raises(FormatError, match=r"nothing\.rda: does not exist or is not a file"):
        read(tmp_path / "nothing.rda")
    with pytest.raises(FormatError, match="is a folder without a Varian fid file"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("philips_sdat/brain_3T_press30/philips_spar_sdat_WS.SDAT", "its SPAR file is not beside"),
        ("philips_sdat/brain_3T_press30/philips_spar_sdat_WS.SPAR", "its SDAT file is not beside"),
        ("varian_fid/4T_STEAM_TE4ms_human.fid/fid", "its procpar file is not beside"),
        ("varian_fid/4T_STEAM_TE4ms_human.fid/procpar", "its fid file is not beside"),
    ],
)
def test_half_a_pair_says_which_half_is_missing(shared_data, tmp_path, name, sentence):
    path = tmp_path / (shared_data / name).name
    path.write_bytes((shared_data / name).read_bytes())

    with pytest.raises(FormatError, match=sentence):
        read(path)


def copied(shared_data, folder, sample):
    """Copy a sample, with what belongs to it, to a folder; return the file that holds samples."""
    original = shared_data / sample.path
    if original.is_dir():
        original /= "fid"
    partners = [original]
    if original.suffix.lower() in {".sdat", ".spar"}:
        partners = sorted(original.parent.glob(f"{original.stem}.*"))
    elif original.name == "fid":
        partners = [original, original.with_name("procpar")]
    elif sample.format == "LCModel RAW":
        partners = [original, *original.parent.glob("control.file")]
    for partner in partners:
        (folder / partner.name).write_bytes(partner.read_bytes())
    name = original.name.replace(".SPAR", ".SDAT")
    return folder / name


@pytest.mark.parametrize("expected", SAMPLES, ids=lambda sample: sample.path)
@pytest.mark.parametrize("share", [0.999, 0.7, 0.3, 0.02])
def test_a_truncated_file_never_gives_an_array(shared_data, tmp_path, expected, share):
    if expected.format == "Siemens TWIX":
        pytest.importorskip("spec2nii", reason="needs the extra vendor")
    path = copied(shared_data, tmp_path, expected)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    whole_lines = expected.format == "four-column text"

    if whole_lines and share in {0.7, 0.3}:
        # without a header nothing says how long the FID is; half a line does show
        path.write_bytes(content[: int(share * len(content)) // 65 * 65 + 30])
    with pytest.raises(FormatError):
        read(path, **dict(expected.given))


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("*svs_se", "PRESS"), ("svs_se_30", "PRESS"), ("probe-p", "PRESS"), ("PRESS", "PRESS"),
        ("*csi_slaser", "sLASER"), ("eja_svs_slaser", "sLASER"), ("probe-sl", "sLASER"),
        ("svs_st", "STEAM"), ("steam4T", "STEAM"), ("probe-s", "STEAM"), ("SE", "SPIN-ECHO"),
        ("eja_svs_mpress", "eja_svs_mpress"), ("svs_edit", "svs_edit"), ("svs_special",) * 2,
        ("PROBE-SVQ", "PROBE-SVQ"), ("fid", "fid"), ("%CustomerSeq%\\x y", None), ("", None),
    ],
)  # fmt: skip
def test_a_sequence_is_called_by_the_fields_name_or_its_own(word, name):
    assert sequence_name(word) == name


def test_an_absurd_size_is_not_printed_digit_by_digit(shared_data, tmp_path):
    folder = shared_data / "philips_sdat/brain_3T_press30"
    content = (folder / "philips_spar_sdat_WS.SPAR").read_text("latin-1")
    (tmp_path / "scan.SPAR").write_text(content.replace("samples : 1024", "samples : 1e308"))
    (tmp_path / "scan.SDAT").write_bytes((folder / "philips_spar_sdat_WS.SDAT").read_bytes())

    with pytest.raises(FormatError, match="it does not say how many samples there are"):
        read(tmp_path / "scan.SDAT")


def test_letter_case_of_a_pair_does_not_matter(shared_data, tmp_path):
    folder = shared_data / "philips_sdat/brain_3T_press30"
    for suffix, other in (("SDAT", "sdat"), ("SPAR", "Spar")):
        content = (folder / f"philips_spar_sdat_WS.{suffix}").read_bytes()
        (tmp_path / f"scan.{other}").write_bytes(content)

    data = read(tmp_path / "scan.sdat")

    original = read(folder / "philips_spar_sdat_WS.SDAT")
    assert np.array_equal(data.fid, original.fid)


def test_nan_samples_pass_the_reader(shared_data, tmp_path):
    path = tmp_path / "nan.dpt"
    lines = (shared_data / "tarquin_dpt/brain_3T_press30/ws.dpt").read_text().splitlines()
    lines[20] = "nan\tnan"
    path.write_text("\n".join(lines))

    data = read(path)

    assert np.isnan(data.fid).sum() == 1


def test_many_threads_may_read_and_leave_the_process_as_it_was(shared_data, capsys):
    pytest.importorskip("spec2nii", reason="needs the extra vendor")
    paths = [
        shared_data / path
        for path in (
            "siemens_twix/spinal_cord_7T_sLASER_shortTE_noWS.dat",
            "siemens_ima/brain_3T_SVS_30.IMA",
            "dicom_mrs/siemens_XA60_3T_phantom_te30.dcm",
            "nifti_mrs/brain_7T_steam11/wref_raw.nii.gz",
        )
    ]
    before = sys.stdout, sys.stderr, list(warnings.filters)

    with ThreadPoolExecutor(8) as pool:
        data = list(pool.map(read, paths * 4))

    assert (sys.stdout, sys.stderr, list(warnings.filters)) == before
    assert not logging.getLogger("pydicom").disabled
    for one, same in zip(data[:4], data[4:8], strict=True):
        assert np.array_equal(one.fid, same.fid)
    assert capsys.readouterr() == ("", "")


def test_the_input_itself_is_no_water_reference(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(sample_path("normal_te30.nii.gz").read_bytes())

    with pytest.raises(FormatError, match="is the input itself; give the scan without water"):
        read(path, water_reference=tmp_path / ".." / tmp_path.name / "a.nii")


def test_an_empty_path_is_not_the_current_folder():
    with pytest.raises(FormatError, match="an input: is an empty path; give a file"):
        read("")
