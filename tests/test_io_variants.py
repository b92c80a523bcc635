"""Files as other programs, versions and people leave them: the same numbers come out."""

import gzip
import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scanner_files import (
    DWELL_S,
    N,
    csa_dicom,
    dangerplot,
    grid_fid,
    jmrui_text,
    lcmodel_raw,
    mrs_dicom,
    rda,
    sdat_pair,
    spectral_data,
    twix_file,
    varian_pair,
)

from mrs_necrosis.errors import FormatError, SignalError
from mrs_necrosis.fitting import default_model
from mrs_necrosis.io import read, write_nifti_mrs
from mrs_necrosis.io.source import Source
from mrs_necrosis.io.spec2nii_bridge import convert
from mrs_necrosis.preprocessing import preprocess
from mrs_necrosis.simulation import sample_path

FID = grid_fid(1, 1, 1)
pytestmark = pytest.mark.filterwarnings("ignore:the chemical shift of this spectrum is uncertain")
GIVEN = {"dwell_time_s": DWELL_S, "spectrometer_frequency_mhz": 123.2}


def compressed(path):
    """Put a gzipped copy into a folder of its own and return it."""
    folder = path.parent / "compressed"
    folder.mkdir(exist_ok=True)
    copy = folder / f"{path.name}.gz"
    copy.write_bytes(gzip.compress(path.read_bytes()))
    return copy


# ---- compressed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: rda(folder / "scan.rda", FID),
        lambda folder: csa_dicom(folder / "scan.IMA", FID),
        lambda folder: dangerplot(folder / "scan.dpt", FID[0, 0, 0]),
        lambda folder: lcmodel_raw(folder / "scan.RAW", FID[0, 0, 0]),
        lambda folder: jmrui_text(folder / "scan.txt", FID[0, 0]),
    ],
    ids=["rda", "csa", "dangerplot", "lcmodel", "jmrui"],
)
def test_a_compressed_file_reads_as_the_one_inside(tmp_path, write):
    path = write(tmp_path)
    given = GIVEN if path.suffix == ".RAW" else {}

    inside, outside = read(path, **given), read(compressed(path), **given)

    assert np.array_equal(inside.fid, outside.fid)
    assert inside.acquisition == outside.acquisition


@pytest.mark.parametrize("both", [True, False])
def test_a_pair_may_be_compressed_whole_or_by_half(tmp_path, both):
    sdat = sdat_pair(tmp_path, FID[0, 0], encoded=False)
    copy = compressed(sdat)
    spar = sdat.with_suffix(".SPAR")
    if both:
        compressed(spar)
    else:
        shutil.copy(spar, copy.parent)

    assert np.array_equal(read(copy).fid, read(sdat).fid)


def test_a_compressed_varian_pair_is_read(tmp_path):
    varian_pair(tmp_path, FID[0, 0][None], receivers=1)
    copies = [compressed(tmp_path / name) for name in ("fid", "procpar")]

    assert np.array_equal(read(copies[0]).fid, read(tmp_path).fid)


def test_a_compressed_file_of_a_foreign_reader_says_to_unpack_it(tmp_path):
    path = compressed(twix_file(tmp_path / "meas.dat", np.ones((2, 2, N), np.complex64)))

    with pytest.raises(FormatError, match="is compressed; unpack it first"):
        read(path)


def test_what_only_looks_compressed_is_damaged(tmp_path):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(b"\x1f\x8b" + bytes(range(200)))

    with pytest.raises(FormatError, match="is compressed and damaged; copy it again"):
        read(path)


# ---- Siemens RDA -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head.replace(b"\r\n", b"\n"),
        lambda head: b"\xef\xbb\xbf" + head,
        lambda head: head.replace(b"PLANTED^NAME", b"M\xfcller^\xd8"),
        lambda head: head.replace(b"135.000000", b"135,000000"),
        lambda head: head.replace(b"DwellTime: 500", b"DwellTime: 500.000000"),
        lambda head: head.replace(b"VectorSize: 64", b"VectorSize:64 "),
        lambda head: head.replace(b"syngo MR B17", b"syngo MR XA30"),
    ],
    ids=["unix", "mark", "latin-1", "comma", "float", "space", "XA"],
)
def test_an_rda_of_another_console_is_the_same(tmp_path, change):
    path = rda(tmp_path / "scan.rda", FID)
    original = read(path)
    text, end, samples = path.read_bytes().partition(b">>> End of header <<<\r\n")
    changed = change(text + end)
    assert changed != text + end

    path.write_bytes(changed + samples)

    assert np.array_equal(read(path).fid, original.fid)
    assert read(path).acquisition == original.acquisition


def test_an_rda_that_ends_like_a_text_is_the_same(tmp_path):
    path = rda(tmp_path / "scan.rda", FID)
    original = read(path)
    path.write_bytes(path.read_bytes() + b"\r\n")

    assert np.array_equal(read(path).fid, original.fid)


def test_bytes_that_are_left_over_are_named(tmp_path):
    path = rda(tmp_path / "scan.rda", FID)
    path.write_bytes(path.read_bytes() + b"\x01\x02\x03")

    with pytest.raises(FormatError, match="promises 128 numbers, 3 bytes more are there"):
        read(path)


# ---- LCModel and Tarquin -----------------------------------------------------------------------


def test_fid_a_writes_points_and_dwell_time_into_lcmodels_header(tmp_path):
    path = lcmodel_raw(tmp_path / "scan.RAW", FID[0, 0, 0])
    seqpar = (
        " $SEQPAR\n echot= 35.00\n seq= 'PRESS'\n hzpppm= 123.200000\n"
        f" NumberOfPoints= {N}\n dwellTime= 0.000500\n $END\n"
    )
    path.write_text(seqpar + path.read_text())

    data = read(path)

    assert data.acquisition.dwell_time_s == DWELL_S
    assert data.acquisition.echo_time_s == 0.035
    assert data.acquisition.sequence == "PRESS"
    assert data.fid.shape == (1, 1, 1, N)


@pytest.mark.parametrize(
    "namelist",
    [
        " &NMID ID='a/b', FMTDAT='(2E16.9)' TRAMP=1., VOLUME=1. /",
        " &nmid id='a/b', fmtdat='(2e16.9)'\n tramp=1., volume=1.\n /",
        " $nmid id='a/b', fmtdat='(2e16.9)'\n tramp=1., volume=1.\n $end",
        " $NMID ID='/tmp/a/'\n FMTDAT='(2E16.9)'\n &END",
    ],
)
def test_a_namelist_may_be_written_as_fortran_allows(tmp_path, namelist):
    path = lcmodel_raw(tmp_path / "scan.RAW", FID[0, 0, 0])
    original = read(path, **GIVEN)
    path.write_text(namelist + path.read_text().partition("$END")[2])

    assert np.array_equal(read(path, **GIVEN).fid, original.fid)


def test_an_echo_time_of_zero_in_a_header_is_not_stated(tmp_path):
    path = rda(tmp_path / "scan.rda", FID, TE="0.000000")

    silent, given = read(path), read(path, echo_time_s=0.0)

    assert silent.acquisition.echo_time_s is None
    assert "echo time of 0 was taken as not stated" in silent.history[0].note
    assert given.acquisition.echo_time_s == 0.0


@pytest.mark.parametrize(("line", "echo_time_s"), [("0.03", 0.03), ("0", None), ("NA", None)])
def test_newer_dangerplot_holds_the_echo_time(tmp_path, line, echo_time_s):
    path = dangerplot(tmp_path / "scan.dpt", FID[0, 0, 0])
    text = path.read_text().replace("version\t1.0", "version\t2.0")
    path.write_text(text.replace("Real_FID", f"Echo_time\t{line}\nReal_FID"))

    assert read(path).acquisition.echo_time_s == echo_time_s


@pytest.mark.parametrize(("phase", "notes"), [("0", 0), ("30", 1)])
def test_phases_for_the_display_of_dangerplot_are_not_applied_and_said(tmp_path, phase, notes):
    path = dangerplot(tmp_path / "scan.dpt", FID[0, 0, 0])
    original = read(path)
    path.write_text(path.read_text().replace("Phi0\t0", f"Phi0\t{phase}"))

    data = read(path)

    assert np.array_equal(data.fid, original.fid)
    assert data.history[0].note.count("phases that the file sets for its display") == notes


def test_jmrui_text_may_have_decimal_commas(tmp_path):
    path = jmrui_text(tmp_path / "scan.txt", FID[0, 0])
    original = read(path)
    path.write_text(path.read_text().replace(".", ","))

    assert np.array_equal(read(path).fid, original.fid)
    assert read(path).acquisition == original.acquisition


# ---- NIfTI-MRS ---------------------------------------------------------------------------------


def nifti(path, *, big=False, unit="sec", dwell=DWELL_S, **extension):
    """Write one FID with nibabel, as other programs do."""
    nibabel = pytest.importorskip("nibabel")
    header = nibabel.Nifti1Header(endianness=">" if big else "<")
    header.set_data_dtype(np.complex64)
    stored = FID.conj().astype(">c8" if big else "<c8")
    image = nibabel.Nifti1Image(stored, np.eye(4), header)
    image.header.set_xyzt_units("mm", unit)
    image.header["pixdim"][4] = dwell
    image.header["intent_name"] = b"mrs_v0_2"
    content = {"SpectrometerFrequency": [123.2], "ResonantNucleus": ["1H"]} | extension
    code = nibabel.nifti1.Nifti1Extension(44, json.dumps(content).encode())
    image.header.extensions.append(code)
    path.write_bytes(image.to_bytes())
    return path


@pytest.mark.parametrize(
    "variant",
    [
        {"big": True},
        {"unit": "msec", "dwell": 1e3 * DWELL_S},
        {"unit": "usec", "dwell": 1e6 * DWELL_S},
        {"unit": "unknown"},
        {"dwell": 0.0, "SpectralWidth": 1 / DWELL_S},
        {"dim_5": None},
        {"SpectrometerFrequency": 123.2, "ResonantNucleus": "1H"},
        {"SpectrometerFrequency": [123.2e6]},
    ],
)
def test_nifti_mrs_of_another_writer_is_the_same(tmp_path, variant):
    data = read(nifti(tmp_path / "scan.nii", **variant))

    assert np.allclose(data.fid, FID, rtol=1e-6)
    assert data.acquisition.dwell_time_s == pytest.approx(DWELL_S, rel=1e-6)
    assert data.acquisition.spectrometer_frequency_mhz == 123.2


def test_an_axis_of_one_step_repeats_nothing_and_is_dropped(tmp_path):
    path = tmp_path / "scan.nii.gz"
    data = spectral_data((1, 1, 1, N, 2, 1, 1), ("DIM_COIL", "DIM_USER_0", "DIM_INDIRECT_0"))
    write_nifti_mrs(path, data)

    assert preprocess(read(path), find_mask=False).fid.shape == (1, 1, 1, N)


def test_a_water_reference_of_other_coils_is_refused(tmp_path):
    for name, coils in (("metabolites", 3), ("water", 2)):
        write_nifti_mrs(
            tmp_path / f"{name}.nii", spectral_data((1, 1, 1, N, coils), ("DIM_COIL",))
        )

    with pytest.raises(FormatError, match="it has 2 coils, the input 3"):
        read(tmp_path / "metabolites.nii", water_reference=tmp_path / "water.nii")


# ---- spec2nii ----------------------------------------------------------------------------------


class Converted:
    """What spec2nii returns, as far as it is used: samples that tell which one it is."""

    dwelltime = DWELL_S

    def __init__(self, number):
        self.image = np.full((1, 1, 1, N), number, np.complex64)
        self.hdr_ext = self

    def to_dict(self):
        return {"SpectrometerFrequency": [123.2], "ResonantNucleus": ["1H"]}

    def getAffine(self, *_):
        return np.eye(4)


@pytest.mark.parametrize(
    ("names", "data", "water", "others"),
    [
        (["x"], "x", None, 1),
        (["x", "x_ref"], "x", "x_ref", 1),
        # GE's sLASER, oslaser and HBCD
        (["x", "x_ref_ecc", "x_ref_no_ovs"], "x", "x_ref_ecc", 1),
        (["x_quant", "x_ecc", "x"], "x", "x_ecc", 1),
        (["x_edited", "x_short_te", "x_ref_edited", "x_ref_short_te"], "x_short_te",
         "x_ref_short_te", 2),
        # CMRR's sLASER on Siemens, XA's automatic reference
        (["x", "x_rf_off", "x_rf_grads_ovs_off"], "x", "x_rf_off", 1),
        (["x", "x_vapor_ovs_rfoff"], "x", "x_vapor_ovs_rfoff", 1),
        (["x_ref_short_te", "x_ref_edited", "x_short_te", "x_edited"], "x_short_te",
         "x_ref_short_te", 2),
        # axes that spec2nii splits; water alone
        (["x_Set 000", "x_Set 001"], "x_Set 001", None, 2),
        (["x_ref"], "x_ref", None, 1),
    ],
)  # fmt: skip
def test_of_what_spec2nii_returns_water_is_never_the_data(tmp_path, names, data, water, others):
    path = tmp_path / "meas.dat"
    path.write_bytes(b"x")

    found = convert(
        Source(path), "TWIX", lambda: ([Converted(n) for n in range(len(names))], names),
        manufacturer="Siemens",
    )  # fmt: skip

    assert found.fid.flat[0] == names.index(data)
    assert (None if found.water is None else names[int(found.water.flat[0].real)]) == water
    assert any(f"holds {others} acquisitions" in note for note in found.notes) == (others > 1)


# ---- edited ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", ["MEGA_PRESS_GABA", "WIP HERMES", "Hercules 1", "megapress", "MEGA-sLASER 68"]
)
def test_an_edited_sdat_is_read_and_not_judged(tmp_path, word):
    path = sdat_pair(tmp_path, np.repeat(FID[0, 0], 4, axis=0), encoded=False)
    spar = path.with_suffix(".SPAR")
    spar.write_text(spar.read_text().replace("PRESS_144", word))

    data = read(path)

    assert data.acquisition.is_edited
    with pytest.raises(SignalError, match=r"edits the spectrum, .* --sequence PRESS"):
        preprocess(data)
    assert preprocess(read(path, sequence="PRESS")).fid.shape == (1, 1, 1, N)


@pytest.mark.parametrize("word", ["Omega study PRESS", "Meditation PRESS", "edited twice PRESS"])
def test_a_study_whose_name_holds_such_a_word_is_not_edited(tmp_path, word):
    path = sdat_pair(tmp_path, FID[0, 0], encoded=False)
    spar = path.with_suffix(".SPAR")
    spar.write_text(spar.read_text().replace("PRESS_144", word))

    assert not read(path).acquisition.is_edited


@pytest.mark.parametrize("name", ["svs_edit", "eja_svs_mpress", "eja_svs_mslaser"])
def test_an_edited_siemens_sequence_is_not_judged(tmp_path, name):
    data = read(rda(tmp_path / "scan.rda", FID, SequenceName=name))

    with pytest.raises(SignalError, match=f"the sequence \\({name}\\) edits the spectrum"):
        preprocess(data)


def test_philips_dicom_says_that_it_edited(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    path = mrs_dicom(tmp_path / "scan.dcm", FID, [(0, 0, 0)], manufacturer="Philips")
    dataset = pydicom.dcmread(path)
    dataset.add_new((0x2005, 0x0015), "LO", "Philips MR Imaging DD 006")
    dataset.add_new((0x2005, 0x1597), "CS", "Y")
    dataset.save_as(path)

    assert read(path).acquisition.is_edited


# ---- DICOM -------------------------------------------------------------------------------------


def numbered(path, *, series="1.2.3.4", number=1, identity=None):
    """Make a file one of a series."""
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.dcmread(path)
    dataset.SeriesInstanceUID = series
    dataset.InstanceNumber = number
    dataset.SOPInstanceUID = identity or f"1.2.3.{number}"
    dataset.save_as(path)
    return path


def test_a_folder_with_one_spectrum_among_other_files_is_that_spectrum(tmp_path):
    path = csa_dicom(tmp_path / "IM0002", FID)
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / ".hidden").write_bytes(path.read_bytes())

    assert np.array_equal(read(tmp_path).fid, read(path).fid)


def test_a_series_is_known_by_what_stands_behind_a_long_sequence(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    for number in (1, 2):
        path = numbered(csa_dicom(tmp_path / f"{3 - number}", number * FID), number=number)
        dataset = pydicom.dcmread(path)
        dataset.StudyDescription = "x"
        dataset.ReferencedImageSequence = pydicom.Sequence([pydicom.Dataset()])
        dataset.ReferencedImageSequence[0].TextValue = "x" * 50_000
        dataset.save_as(path)

    assert np.allclose(read(tmp_path).fid[..., 0], FID)


def test_a_folder_with_the_averages_of_a_series_is_one_acquisition(tmp_path):
    # the order of the names is not that of the numbers
    for number, name in ((3, "a"), (1, "b"), (2, "c")):
        numbered(csa_dicom(tmp_path / name, number * FID), number=number)
    shutil.copy(tmp_path / "b", tmp_path / "copy of b")

    data = read(tmp_path)

    assert data.dims == ("DIM_DYN",)
    assert np.allclose(data.fid, np.stack([FID, 2 * FID, 3 * FID], axis=-1))
    assert "3 DICOM files of one series were taken as averages" in data.history[0].note


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        ({"series": "1.2.3.5"}, "2 DICOM files that hold spectra, of more than one series"),
        ({"EchoTime": [80.0]}, "that are no averages of one acquisition; give one of them"),
        ({"SliceThickness": [5.0]}, "that are no averages of one acquisition; give one of them"),
    ],
)
def test_a_folder_of_several_acquisitions_says_so(tmp_path, second, sentence):
    numbered(csa_dicom(tmp_path / "a", FID))
    series = {"series": second.pop("series")} if "series" in second else {}
    numbered(csa_dicom(tmp_path / "b", FID, **second), number=2, **series)

    with pytest.raises(FormatError, match=sentence):
        read(tmp_path)


def test_a_folder_without_spectra_says_what_was_looked_for(tmp_path):
    (tmp_path / "a.txt").write_text("nothing")

    with pytest.raises(FormatError, match="without a Varian fid file or a DICOM file that holds"):
        read(tmp_path)


def test_mr_spectroscopy_storage_may_name_its_samples_by_the_acquisition(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    path = mrs_dicom(tmp_path / "scan.dcm", FID, [(0, 0, 0)])
    dataset = pydicom.dcmread(path)
    del dataset.DataPointColumns
    dataset.SpectroscopyAcquisitionDataColumns = N
    dataset.save_as(path)

    assert np.array_equal(read(path).fid, FID)


def test_uih_has_the_other_sign_and_its_water_beside(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    path = mrs_dicom(tmp_path / "scan.dcm", FID.conj(), [(0, 0, 0)], manufacturer="UIH")
    dataset = pydicom.dcmread(path)
    dataset.add_new((0x0065, 0x00FF), "LO", "Image Private Header")
    dataset.add_new((0x0065, 0xFF07), "OB", (50 * FID.conj()).astype(np.complex64).tobytes())
    dataset.save_as(path)

    data = read(path)

    assert np.array_equal(data.fid, FID)
    assert np.allclose(data.water.fid, 50 * FID)


@pytest.mark.parametrize(
    ("given", "in_file"),
    [({}, 144.0), ({}, "soon"), ({}, -0.144), ({"echo_time_s": 0.03}, 0.144)],
)
def test_parts_of_an_echo_time_that_do_not_add_up_to_it_are_left_out(tmp_path, given, in_file):
    made = nibabel.load(sample_path("reference_case_te144.nii.gz"))
    header = json.loads(made.header.extensions[0].get_content())
    assert len(header["EchoTimes"]["Value"]) == 2
    header["EchoTime"] = in_file
    made.header.extensions.clear()
    content = json.dumps(header).encode()
    made.header.extensions.append(nibabel.nifti1.Nifti1Extension(44, content))
    nibabel.save(made, tmp_path / "scan.nii.gz")

    data = read(tmp_path / "scan.nii.gz", **given)

    assert data.acquisition.echo_times_s is None
    assert data.acquisition.echo_time_s == given.get("echo_time_s")
    assert "do not add up" in data.history[0].note
    assert given or "no length in s" in data.history[0].note


def test_the_length_of_the_first_echo_can_be_given():
    path = sample_path("reference_case_te144.nii.gz")

    data = read(path, first_echo_time_s=0.072)

    assert data.acquisition.echo_times_s == pytest.approx((0.072, 0.072))
    assert data.history[0].parameters["first_echo_time_s"] == 0.072
    lines = {c.name: c.weight for c in default_model(data.acquisition).components}
    usual = {c.name: c.weight for c in default_model(read(path).acquisition).components}
    assert lines["NAA"] != usual["NAA"]
    assert lines["Cr"] == usual["Cr"]  # not coupled: no difference


@pytest.mark.parametrize(
    ("first_echo_time_s", "error", "sentence"),
    [
        (
            0.144,
            FormatError,
            "has an echo time of 144 ms, and the first of two echoes must be",
        ),
        (72.0, ValueError, "first_echo_time_s must be in s, between 0.001 and 1; got 72.0"),
    ],
    ids=["as long as both", "in ms"],
)
def test_a_first_echo_that_cannot_be_is_refused(first_echo_time_s, error, sentence):
    with pytest.raises(error, match=sentence):
        read(sample_path("reference_case_te144.nii.gz"), first_echo_time_s=first_echo_time_s)


def with_header(path, **changes):
    """Write a sample as NIfTI-MRS with these keys of its header changed."""
    made = nibabel.load(sample_path("reference_case_te144.nii.gz"))
    header = json.loads(made.header.extensions[0].get_content()) | changes
    made.header.extensions.clear()
    content = json.dumps(header).encode()
    made.header.extensions.append(nibabel.nifti1.Nifti1Extension(44, content))
    nibabel.save(made, path)
    return path


def test_nifti_mrs_in_k_space_is_refused(tmp_path):
    assert read(with_header(tmp_path / "image.nii.gz", kSpace=[False] * 3)).fid.size

    with pytest.raises(FormatError, match="k-space, not voxels"):
        read(with_header(tmp_path / "raw.nii.gz", kSpace=[True, True, False]))
    for careless in (True, [1, 1, 0], "true", ["true"]):
        with pytest.raises(FormatError, match="holds k-space"):
            read(with_header(tmp_path / "raw.nii.gz", kSpace=careless))


@pytest.mark.parametrize(
    "keys", [{"EditCondition": ["ON"]}, {"EditPulse": {"ON": {"PulseOffset": 1.9}}}]
)
def test_nifti_mrs_that_names_an_edit_pulse_is_not_judged(tmp_path, keys):
    data = read(with_header(tmp_path / "difference.nii.gz", **keys))

    with pytest.raises(SignalError, match="edits the spectrum"):
        preprocess(data)
    preprocess(read(tmp_path / "difference.nii.gz", sequence="PRESS"))


def test_the_shift_at_zero_frequency_bears_the_key_of_the_standard(tmp_path):
    data = read(with_header(tmp_path / "scan.nii.gz", SpecFreqChemShift=3.0))
    write_nifti_mrs(tmp_path / "copy.nii.gz", data)
    written = nibabel.load(tmp_path / "copy.nii.gz").header.extensions[0].get_content()

    assert data.acquisition.reference_ppm == 3.0
    assert json.loads(written)["SpecFreqChemShift"] == 3.0


def test_an_inversion_and_fat_saturation_are_read_from_each_format(tmp_path):
    pydicom = pytest.importorskip("pydicom")

    def acquisition(path):
        return read(path).acquisition

    nifti = with_header(tmp_path / "a.nii.gz", InversionTime=0.6)
    write_nifti_mrs(tmp_path / "b.nii.gz", read(nifti, sequence="PRESS"))
    spoken = rda(tmp_path / "scan.rda", FID, TI="170,0")
    storage = mrs_dicom(tmp_path / "scan.dcm", FID, [(0, 0, 0)])
    dataset = pydicom.dcmread(storage)
    dataset.SpectrallySelectedSuppression = "FAT_AND_WATER"
    modifier = pydicom.Dataset()
    modifier.InversionRecovery, modifier.InversionTimes = "YES", [220.0]
    dataset.SharedFunctionalGroupsSequence[0].MRModifierSequence = [modifier]
    dataset.save_as(storage)

    assert acquisition(nifti).inversion_time_s == 0.6
    assert acquisition(tmp_path / "b.nii.gz").inversion_time_s == 0.6
    assert acquisition(spoken).inversion_time_s == pytest.approx(0.17)
    assert acquisition(storage).inversion_time_s == pytest.approx(0.22)
    assert acquisition(storage).fat_saturated is True
    for nothing in (0.0, None, 600.0, "x"):
        plain = with_header(tmp_path / "c.nii.gz", InversionTime=nothing)
        assert acquisition(plain).inversion_time_s is None


def test_what_was_saturated_is_written_and_read_again(tmp_path):
    data = read(sample_path("reference_case_te144.nii.gz"))
    changed = replace(data.acquisition, fat_saturated=True)
    write_nifti_mrs(tmp_path / "a.nii.gz", replace(data, acquisition=changed))

    assert read(tmp_path / "a.nii.gz").acquisition == changed


def test_an_open_file_is_read_like_the_file(tmp_path):
    path = sample_path("reference_case_te144.nii.gz")
    sdat = sdat_pair(tmp_path, FID[0, 0], encoded=True)
    expected = read(path)

    with path.open("rb") as file, sdat.open("rb") as of_a_pair:
        assert np.array_equal(read(file).fid, expected.fid)
        assert np.array_equal(read(of_a_pair).fid, read(sdat).fid)
    held = io.BytesIO(path.read_bytes())
    assert np.array_equal(read(held).fid, expected.fid)
    both = read(io.BytesIO(path.read_bytes()), water_reference=io.BytesIO(path.read_bytes()))
    assert both.water is not None
    with pytest.raises(FormatError, match="open file: is none of the formats"):
        read(io.BytesIO(b"nothing" * 100))
    with path.open() as text:
        for opened in (text, io.StringIO("text")):
            with pytest.raises(TypeError, match="must be a path or a binary file; got one"):
                read(opened)


def test_an_open_file_is_taken_for_itself_and_not_for_its_name(tmp_path, monkeypatch):
    """A member of an archive was taken for the file on the disk that has its name."""
    content = sample_path("reference_case_te144.nii.gz").read_bytes()
    fid = read(sample_path("reference_case_te144.nii.gz")).fid
    monkeypatch.chdir(tmp_path)
    Path("scan.nii.gz").write_bytes(sample_path("recurrence_te144.nii.gz").read_bytes())
    with zipfile.ZipFile("all.zip", "w") as archive:
        archive.writestr("scan.nii.gz", content)

    with zipfile.ZipFile("all.zip") as archive, archive.open("scan.nii.gz") as member:
        assert np.array_equal(read(member).fid, fid)


def test_an_open_file_is_read_from_where_it_stands(tmp_path):
    path = tmp_path / "behind"
    path.write_bytes(b"1234" + sample_path("reference_case_te144.nii.gz").read_bytes())
    fid = read(sample_path("reference_case_te144.nii.gz")).fid

    with path.open("rb") as stream:
        stream.seek(4)
        assert np.array_equal(read(stream).fid, fid)


def test_an_open_file_may_give_less_than_was_asked_for_and_other_bytes():
    class Pipe:
        """A pipe without a buffer."""

        def __init__(self):
            path = sample_path("reference_case_te144.nii.gz")
            self.left = io.BytesIO(path.read_bytes())

        def read(self, size):
            return bytearray(self.left.read(min(size, 1000)))

    fid = read(sample_path("reference_case_te144.nii.gz")).fid

    assert np.array_equal(read(Pipe()).fid, fid)
