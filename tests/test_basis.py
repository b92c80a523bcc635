"""Basis sets: peaks where chemistry puts them."""

import time

import numpy as np
import pytest
from basis_files import fsl_json

from mrs_necrosis.errors import FormatError
from mrs_necrosis.io import Basis, read_basis


def strongest_ppm(basis, name):
    fid = basis.fids[basis.names.index(name)]
    n = 4 * len(fid)
    hz = np.fft.fftfreq(n, basis.dwell_time_s)
    reference = 4.65 if basis.reference_ppm is None else basis.reference_ppm
    ppm = reference + hz / basis.spectrometer_frequency_mhz
    inside = (ppm > 0.5) & (ppm < 4.3)  # a reference singlet may stand at 0 ppm
    return float(ppm[np.where(inside, np.abs(np.fft.fft(fid, n)), 0.0).argmax()])


@pytest.mark.parametrize(
    ("path", "shape", "frequency", "dwell_s", "echo_s", "sequence"),
    [
        ("lcmodel/brain_3T_press30/3t.basis", (17, 1024), 127.7861, 5e-4, None, "PRESS"),
        ("mrsi/lcmodel_multivoxel_10/sim_se_csi_te16.basis", (18, 4096), 123.3, 5e-4, 0.016,
         "SPIN-ECHO"),
        ("ismrm_challenge/basis_jmrui", (12, 2048), 123.22, 2.5e-4, None, None),
    ],
)  # fmt: skip
def test_a_basis_set_has_its_peaks_where_chemistry_puts_them(
    shared_data, path, shape, frequency, dwell_s, echo_s, sequence
):
    basis = read_basis(shared_data / path)

    assert basis.fids.shape == shape
    assert basis.spectrometer_frequency_mhz == pytest.approx(frequency, rel=1e-6)
    assert basis.dwell_time_s == pytest.approx(dwell_s, rel=1e-6)
    assert basis.echo_time_s == echo_s
    assert basis.sequence == sequence
    # Govindaraju 2000
    for name, ppm in (("NAA", 2.008), ("Cr", 3.027), ("GPC", 3.212), ("Ala", 1.467)):
        assert strongest_ppm(basis, name) == pytest.approx(ppm, abs=0.04), name
    # a free induction decay begins loud
    quarter = shape[1] // 4
    energy = np.abs(basis.fids) ** 2
    assert (energy[:, :quarter].sum(axis=1) > 0.25 * energy.sum(axis=1)).all()


def test_a_folder_that_is_no_basis_set_is_refused(shared_data, tmp_path):
    with pytest.raises(FormatError, match="must hold 1 to 200 files of a basis set; got 0"):
        read_basis(tmp_path)
    (tmp_path / "a.txt").write_bytes(
        (shared_data / "ismrm_challenge/basis_jmrui/Cr.txt").read_bytes()
    )
    (tmp_path / "b.dpt").write_bytes(
        (shared_data / "tarquin_dpt/phantom_3T/svs_30_w.dpt").read_bytes()
    )

    with pytest.raises(FormatError, match="holds FIDs of different acquisitions"):
        read_basis(tmp_path)


def fsl_text(name="Cr", **changes):
    """Return creatine's CH3 as FSL-MRS writes it."""
    t = np.arange(1024) * 2.5e-4
    fid = 3 * np.exp(2j * np.pi * (3.027 - 4.65) * 123.2 * t - np.pi * 2 * t)
    return fsl_json(fid, name, dwell_time_s=2.5e-4, **changes)


def test_fsl_mrs_json_is_read_alone_and_in_a_folder(tmp_path):
    (tmp_path / "a.json").write_text(fsl_text())
    (tmp_path / "b.json").write_text(fsl_text("PCr"))

    one, both = read_basis(tmp_path / "a.json"), read_basis(tmp_path)

    assert (one.names, both.names) == (("Cr",), ("Cr", "PCr"))
    assert both.fids.shape == (2, 1024)
    assert (one.spectrometer_frequency_mhz, one.dwell_time_s, one.reference_ppm) == (
        123.2, 2.5e-4, 4.65,
    )  # fmt: skip
    assert strongest_ppm(one, "Cr") == pytest.approx(3.027, abs=0.01)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (fsl_text()[:-200], "is damaged: it is no JSON to its end"),
        ("{}", "is a JSON text without the FID"),
        (fsl_text(basis_im=[1.0]), "no real and imaginary part of one size"),
        (fsl_text(basis_re=["a"], basis_im=["b"]), "no real and imaginary part of one size"),
        (fsl_text(basis_re=[10**400] * 20), "no real and imaginary part of one size"),
        (
            fsl_text(basis_re=[1.0] * 15, basis_im=[0.0] * 15),
            "has 15 samples in an FID; a basis set has 16 to 65536",
        ),
        (fsl_text(basis_dwell=1e6), "does not say its frequency and dwell time"),
        (fsl_text(basis_centre=123.2e6), "does not say its frequency and dwell time"),
        (fsl_text(basis_dwell=None), "does not say its frequency and dwell time"),
        (fsl_text(basis_centre=-1), "does not say its frequency and dwell time"),
        (fsl_text(basis_name="<script>"), "has no name of its own"),
        (fsl_text(basis_name=["Cr"]), "has no name of its own"),
        ("[" * 100_000, "cannot be recognised|is no"),
    ],
    ids=range(13),
)
def test_damaged_json_is_refused(tmp_path, text, problem):
    path = tmp_path / "Cr.json"
    path.write_text(text)

    with pytest.raises(FormatError, match=problem):
        read_basis(path)


def test_a_line_of_brackets_is_refused_at_once(tmp_path):
    path = tmp_path / "Cr.json"
    path.write_text("[" * 100_000)
    begun = time.process_time()

    with pytest.raises(FormatError):
        read_basis(path)

    assert time.process_time() - begun < 5  # 0.1 s; it was 60 s


def test_json_larger_than_an_fid_is_not_read(tmp_path):
    path = tmp_path / "Cr.json"
    path.write_text('{"basis": {"basis_re": [' + "1," * 2**23 + "1]}}")

    with pytest.raises(FormatError, match="too large for the FID of one metabolite"):
        read_basis(path)


def test_a_folder_names_each_metabolite_once(tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(fsl_text())

    with pytest.raises(FormatError, match="names a metabolite twice"):
        read_basis(tmp_path)


def test_a_folder_has_fids_of_one_size(tmp_path):
    (tmp_path / "a.json").write_text(fsl_text())
    (tmp_path / "b.json").write_text(fsl_text("NAA", basis_re=[1.0] * 16, basis_im=[0.0] * 16))

    with pytest.raises(FormatError, match="holds FIDs of different sizes"):
        read_basis(tmp_path)


def lcmodel_text(*, mhz="123.2", dwell_s="5e-4", n_samples=16, numbers="1. 0. " * 16):
    return (
        f" $SEQPAR\n HZPPPM={mhz}\n ECHOT=30\n $END\n $BASIS1\n BADELT={dwell_s}\n"
        f" NDATAB={n_samples}\n $END\n $BASIS\n METABO='Cr'\n ISHIFT=0\n $END\n{numbers}\n"
    )


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({"dwell_s": "-5e-4"}, "does not say its frequency, dwell time and size"),
        ({"dwell_s": "5."}, "does not say its frequency, dwell time and size"),
        ({"mhz": "-123.2"}, "does not say its frequency, dwell time and size"),
        ({"n_samples": 1, "numbers": "1. 0."}, "has 1 samples in an FID; a basis set has 16"),
        ({"numbers": "1e999 nan " * 16}, "has samples that are no numbers"),
    ],
)
def test_impossible_numbers_of_an_lcmodel_basis_set_are_refused(tmp_path, told, problem):
    path = tmp_path / "a.basis"
    path.write_text(lcmodel_text())
    assert read_basis(path).fids.shape == (1, 16)
    path.write_text(lcmodel_text(**told))

    with pytest.raises(FormatError, match=problem):
        read_basis(path)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"fids": np.ones((1, 15))}, "16 <= N <= 65536"),
        ({"fids": np.ones((2, 16))}, "K = 1"),
        ({"names": (), "fids": np.ones((0, 16))}, "one FID or more"),
        ({"dwell_time_s": 5.0}, "dwell_time_s must be"),
        ({"spectrometer_frequency_mhz": 3.0e8}, "spectrometer_frequency_mhz must be"),
    ],
)
def test_a_basis_set_made_of_impossible_numbers_is_refused(wrong, problem):
    made = {
        "names": ("Cr",), "fids": np.ones((1, 16)), "spectrometer_frequency_mhz": 123.2,
        "dwell_time_s": 5e-4,
    }  # fmt: skip

    with pytest.raises(ValueError, match=problem):
        Basis(**made | wrong)


def test_one_scanners_file_is_a_set_of_one(samples):
    basis = read_basis(samples / "normal_te30.nii.gz")

    assert basis.names == ("normal_te30",)
    assert basis.fids.shape[0] == 1


def test_a_truncated_basis_set_is_refused(shared_data, tmp_path):
    content = (shared_data / "lcmodel/brain_3T_press30/3t.basis").read_bytes()
    for share in (0.999, 0.5, 0.01):
        path = tmp_path / "cut.basis"
        path.write_bytes(content[: int(share * len(content))])

        with pytest.raises(FormatError):
            read_basis(path)
