"""Every refusal of a reader, each caused by one deliberate fault, says what is wrong."""

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import scanner_files as synthetic

from mrs_necrosis.errors import FormatError, MissingMetadataError
from mrs_necrosis.io import read, read_image, read_peak_table, write_nifti_mrs
from mrs_necrosis.io import source as source_module
from mrs_necrosis.spectra import Acquisition, SpectralData

N = synthetic.N


def text_fault(original, old, new):
    content = original.read_bytes()
    assert old in content
    return content.replace(old, new, 1)


@pytest.mark.parametrize(
    ("path", "old", "new", "sentence"),
    [
        ("siemens_rda/phantom_1p5T_example.rda", b"VectorSize: 2048", b"VectorSize: many",
         "its RDA header does not say how many samples"),
        ("siemens_rda/phantom_1p5T_example.rda", b"CSIMatrixSize[0]: 1", b"CSIMatrixSize[0]: -1",
         "its RDA header gives a size below one"),
        ("siemens_rda/phantom_1p5T_example.rda", b">>> End of header", b">>> end of header",
         "the end of its RDA header is missing"),
        ("siemens_rda/phantom_1p5T_example.rda", b"Nucleus: 1H", b"Nucleus: 31P",
         "holds 31P spectra; only 1H spectra can be judged"),
        ("siemens_rda/phantom_1p5T_example.rda", b"Nucleus: 1H", b"Nucleus: ",
         "does not say which nucleus was measured; if it is 1H, give nucleus='1H'"),
        ("siemens_rda/phantom_1p5T_example.rda", b"DwellTime: 500", b"DwellTime: 5000000",
         r"has an impossible header: dwell_time_s must be in s, between 1e-05 and 0\.01; got 5"),
        ("siemens_rda/phantom_1p5T_example.rda", b"MRFrequency: ", b"MRFrequency: x",
         r"does not say its spectrometer frequency; give spectrometer_frequency_mhz=\.\.\."),
        ("tarquin_dpt/brain_3T_press30/ws.dpt", b"Number_of_points\t1024", b"Number_of_points\t",
         "it does not say how many points it holds"),
        ("tarquin_dpt/brain_3T_press30/ws.dpt", b"Real_FID", b"Real",
         "its column titles are missing"),
        ("tarquin_dpt/brain_3T_press30/ws.dpt", b"Number_of_points\t1024",
         b"Number_of_points\t1023", "damaged: its header promises 2046 numbers, 2048 are there"),
        ("tarquin_dpt/brain_3T_press30/ws.dpt", b"\n1.74934394e-03", b"\nword",
         "a word stands where a number should"),
        ("ismrm_challenge/basis_jmrui/Ala.txt", b"PointsInDataset: 2048", b"PointsInDataset: 0",
         "it does not say how many points it holds"),
        ("ismrm_challenge/basis_jmrui/Ala.txt", b"DatasetsInFile: 1", b"DatasetsInFile: 2",
         "its header promises 2 signals, 1 are there"),
        ("ismrm_challenge/basis_jmrui/Ala.txt", b"2.7694800\t0.0349232", b"2.7694800",
         "its samples are neither two nor four columns"),
        ("lcmodel/brain_3T_press30/data.raw", b" $END", b" $ND",
         "its namelist .NMID does not end"),
        ("lcmodel/brain_3T_press30/data.raw", b" TRAMP=1", b" SEQACQ=.TRUE.",
         "was sampled sequentially"),
        ("ge_pfile/P1834_1.5T_030_2000.7", struct.pack("<f", 9.0), struct.pack("<f", 8.0),
         "is a P-file of revision 8; revision 9 and those from 11 on can be read"),
    ],
)  # fmt: skip
def test_one_fault_in_a_header_is_named(shared_data, tmp_path, path, old, new, sentence):
    copy = tmp_path / (shared_data / path).name
    copy.write_bytes(text_fault(shared_data / path, old, new))

    with pytest.raises(FormatError, match=sentence):
        read(copy)


@pytest.mark.parametrize(
    ("offset", "layout", "value", "sentence"),
    [
        (82, "<h", 3, "its header gives impossible sizes"),
        (68, "<h", 2, "is a P-file of several slices, echoes or voxels"),
        (376, "<h", 8, "is a P-file of several slices, echoes or voxels"),
        (292, "<f", 24.0, "it says that all its frames are water"),
        (57436, "<i", 0, "does not say which nucleus was measured"),
        (57436, "<i", 37000, "holds 31P spectra"),
        (368, "<f", 0.0, "does not say its dwell time"),
    ],
)
def test_one_fault_in_a_pfile_is_named(shared_data, tmp_path, offset, layout, value, sentence):
    content = bytearray((shared_data / "ge_pfile/P1834_1.5T_030_2000.7").read_bytes())
    struct.pack_into(layout, content, offset, value)
    path = tmp_path / "P1.7"
    path.write_bytes(content)

    with pytest.raises(FormatError, match=sentence):
        read(path)


@pytest.mark.parametrize(
    ("offset", "value"), [(60384, -1.0), (60088, 1e9), (60396, float("nan")), (60100, 125.26804)]
)
def test_a_pfile_with_impossible_geometry_has_none(shared_data, tmp_path, offset, value):
    content = bytearray((shared_data / "ge_pfile/P1834_1.5T_030_2000.7").read_bytes())
    struct.pack_into("<f", content, offset, value)
    if offset == 60100:  # all three corners at one place
        content[60100:60124] = content[60088:60100] * 2
    path = tmp_path / "P1.7"
    path.write_bytes(content)

    assert read(path).affine is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"status": 0x1B}, "holds no complex FIDs; export the raw fid"),
        ({"status": 0x09}, "holds no complex FIDs; export the raw fid"),
        ({"np": 64}, "does not fit its procpar: 128 numbers a trace, procpar says 64"),
        ({"nv": 16}, "is phase-encoded k-space; reconstruct it into a grid first"),
        ({"rcvrs": "yyyyy"}, "4 traces cannot be shared out to 5 receivers"),
    ],
)
def test_one_fault_in_a_varian_pair_is_named(tmp_path, changes, sentence):
    synthetic.varian_pair(tmp_path, synthetic.grid_fid(1, 4, 1)[0], receivers=1)
    content = bytearray((tmp_path / "fid").read_bytes())
    if "status" in changes:
        struct.pack_into(">h", content, 26, changes["status"])
    (tmp_path / "fid").write_bytes(content)
    text = (tmp_path / "procpar").read_text()
    text = text.replace("1 128 \n", f"1 {changes.get('np', 128)} \n")
    text = text.replace('1 "y"', f'1 "{changes.get("rcvrs", "y")}"')
    text += f"nv 1 1 9 0 0 2 1 0 1 64\n1 {changes.get('nv', 0)} \n0 \n"
    (tmp_path / "procpar").write_text(text)

    with pytest.raises(FormatError, match=sentence):
        read(tmp_path / "fid")
    with pytest.raises(FormatError, match=sentence):
        read(tmp_path / "procpar")


def test_a_procpar_beside_something_else_is_named(tmp_path):
    synthetic.varian_pair(tmp_path, synthetic.grid_fid(1, 1, 1)[0], receivers=1)
    (tmp_path / "fid").write_bytes(b"no fid")

    with pytest.raises(FormatError, match="fid: is damaged or not a Varian fid file"):
        read(tmp_path / "procpar")


def mrs_dicom(tmp_path, positions=None, frames=1, **changes):
    import pydicom

    fid = synthetic.grid_fid(3, 2, frames).transpose(2, 1, 0, 3)
    first = synthetic.first_centre_lps()
    path = synthetic.mrs_dicom(tmp_path / "a.dcm", fid, positions or [first] * frames)
    dataset = pydicom.dcmread(path)
    for name, value in changes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"DataRepresentation": "REAL"}, "holds no complex samples; export them complex"),
        ({"SignalDomainColumns": "FREQUENCY"}, "holds spectra instead of FIDs"),
        ({"DataPointRows": 4}, "is a two-dimensional spectrum, which is not supported"),
        ({"Rows": None}, "it does not say how many samples it holds"),
        ({"SpectroscopyData": None}, "holds no spectroscopy data"),
        ({"Rows": 3}, "is truncated: its header promises 1152 numbers, 768 are there"),
        ({"Columns": 2}, "is damaged: its header promises 512 numbers, 768 are there"),
        ({"ResonantNucleus": "31P"}, "holds 31P spectra"),
    ],
)
def test_one_fault_in_mr_spectroscopy_storage_is_named(tmp_path, changes, sentence):
    with pytest.raises(FormatError, match=sentence):
        read(mrs_dicom(tmp_path, **changes))


def test_unevenly_spaced_slices_have_no_affine(tmp_path):
    first = synthetic.first_centre_lps()
    normal = np.cross(synthetic.ROW, synthetic.COLUMN)
    positions = [first, first + 10 * normal, first + 25 * normal]

    data = read(mrs_dicom(tmp_path, positions=positions, frames=3))

    assert data.fid.shape[:3] == (3, 2, 3)
    assert data.affine is None


def test_csa_without_its_header_is_named(tmp_path):
    import pydicom

    path = synthetic.csa_dicom(tmp_path / "a.IMA", synthetic.grid_fid(1, 1, 1))
    dataset = pydicom.dcmread(path)
    del dataset[0x0029, 0x1010]
    dataset.save_as(path)
    with pytest.raises(FormatError, match="holds no CSA header"):
        read(path)

    path = synthetic.csa_dicom(tmp_path / "b.IMA", synthetic.grid_fid(1, 1, 1), Rows=[-1])
    with pytest.raises(FormatError, match="or says an impossible size"):
        read(path)


def test_a_private_spectrum_of_philips_names_the_way_out(tmp_path):
    from pydicom.dataset import Dataset

    path = synthetic.dicom_file(tmp_path / "a.dcm", Dataset(), "1.3.46.670589.11.0.0.12.1")

    with pytest.raises(FormatError, match="export SDAT/SPAR or MR Spectroscopy Storage instead"):
        read(path)


def nifti(tmp_path, change=lambda content: None, **metadata):
    data = SpectralData(
        fid=np.ones((1, 1, 1, N)),
        acquisition=Acquisition(
            spectrometer_frequency_mhz=123.2, dwell_time_s=1e-3, nucleus="1H", **metadata
        ),
    )
    path = tmp_path / "a.nii"
    write_nifti_mrs(path, data)
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path


def replaced(old, new):
    def change(content):
        at = content.index(old)
        content[at : at + len(old)] = new.ljust(len(old))

    return change


def packed(layout, offset, *values):
    return lambda content: struct.pack_into(layout, content, offset, *values)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (packed("<q", 16, 3), r"spectra need 4 to 7 axes, its shape is \(1, 1, 1\)"),
        (packed("<i", 548, 6), "without the header that NIfTI-MRS adds"),
        (replaced(b'{"Spectro', b"Spectro"), "its NIfTI-MRS header is no JSON"),
        (replaced(b'{"SpectrometerFrequency": [123.2], "ResonantNucleus": ["1H"]}', b"[]"),
         "its NIfTI-MRS header is no JSON object"),
        (replaced(b'"1H"', b'"  "'), "does not say which nucleus"),
        (packed("<d", 104 + 32, 0.0), "does not say its dwell time"),
    ],
)  # fmt: skip
def test_one_fault_in_nifti_mrs_is_named(tmp_path, change, sentence):
    with pytest.raises(FormatError, match=sentence):
        read(nifti(tmp_path, change))


def test_an_axis_that_nifti_mrs_does_not_know_is_named(tmp_path):
    data = SpectralData(
        fid=np.ones((1, 1, 1, N, 2)),
        acquisition=Acquisition(spectrometer_frequency_mhz=123.2, dwell_time_s=1e-3, nucleus="1H"),
        dims=("DIM_DYN",),
    )
    path = tmp_path / "a.nii"
    write_nifti_mrs(path, data)
    path.write_bytes(path.read_bytes().replace(b"DIM_DYN", b"DIM_DAY"))

    with pytest.raises(FormatError, match="axis 5 has a name that NIfTI-MRS lacks"):
        read(path)


def test_a_newer_nifti_mrs_is_read_with_a_note(tmp_path):
    path = nifti(tmp_path, replaced(b"mrs_v0_11", b"mrs_v1_00"))

    assert "follows a newer version of NIfTI-MRS" in read(path).history[0].note


def test_a_scaled_nifti_mrs_is_scaled(tmp_path):
    path = nifti(tmp_path, packed("<2d", 176, 2.0, 1.0))

    assert np.allclose(read(path).fid, 3.0)


def test_what_nifti_mrs_cannot_hold_is_named(tmp_path):
    acquisition = Acquisition(spectrometer_frequency_mhz=123.2, dwell_time_s=1e-3)
    data = SpectralData(fid=np.ones((1, 1, 1, N)), acquisition=acquisition)
    with pytest.raises(ValueError, match="must name the nucleus"):
        write_nifti_mrs(tmp_path / "a.nii", data)

    acquisition = Acquisition(spectrometer_frequency_mhz=123.2, dwell_time_s=1e-3, nucleus="1H")
    dims = ("DIM_COIL", "DIM_DYN", "DIM_EDIT", "DIM_ISIS")
    data = SpectralData(fid=np.ones((1, 1, 1, N, 1, 1, 1, 1)), acquisition=acquisition, dims=dims)
    with pytest.raises(ValueError, match="three axes after the samples at most"):
        write_nifti_mrs(tmp_path / "a.nii", data)


def test_a_file_that_is_too_large_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    write_nifti_mrs(path, read(nifti(tmp_path)))
    monkeypatch.setattr(source_module, "MAX_BYTES", 1000)
    with pytest.raises(FormatError, match="expands to more than 1000 bytes"):
        read(path)

    monkeypatch.setattr(source_module, "MAX_BYTES", 100)
    with pytest.raises(FormatError, match=r"has \d+ bytes; at most 100 can be read in one piece"):
        read(path)


def test_a_text_that_is_too_large_is_named(shared_data, monkeypatch):
    monkeypatch.setattr(source_module, "MAX_TEXT_BYTES", 100)

    with pytest.raises(FormatError, match="is too large for a text file: 31686 bytes"):
        read(shared_data / "tarquin_dpt/brain_3T_press30/ws.dpt")


def test_a_damaged_compressed_file_is_named(tmp_path):
    path = tmp_path / "a.nii.gz"
    content = nifti(tmp_path).read_bytes() * 50
    packer = zlib.compressobj(wbits=31)
    stored = bytearray(packer.compress(np.random.default_rng(0).bytes(20000)) + packer.flush())
    stored = bytearray(zlib.compress(content, wbits=31))
    stored[-5] ^= 0xFF  # the check sum
    path.write_bytes(stored)

    with pytest.raises(FormatError, match="is compressed and damaged; copy it again"):
        read(path)


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions of a Unix file")
def test_a_file_without_permission_is_named(tmp_path, monkeypatch):
    from pathlib import Path

    path = nifti(tmp_path)

    def refuse(*_, **__):
        raise PermissionError(13, "DOE^JANE")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FormatError, match=r"a\.nii: cannot be opened \(PermissionError\)$"):
        read(path)


def test_a_name_that_no_file_can_have_is_named():
    with pytest.raises(FormatError, match=r"does not exist or is not a file|cannot be opened"):
        read("a\0b")


def test_whatever_a_parser_raises_says_nothing_of_the_header(tmp_path, monkeypatch):
    from mrs_necrosis.io import nifti_mrs

    path = nifti(tmp_path)
    for error, sentence in (
        (RuntimeError("DOE^JANE"), "is damaged or no complete NIfTI-MRS file"),
        (MemoryError("DOE^JANE"), "NIfTI-MRS header asks for cannot be held in memory"),
        (RecursionError("DOE^JANE"), "NIfTI-MRS header asks for cannot be held in memory"),
    ):

        def fail(_source, error=error):
            raise error

        monkeypatch.setattr(nifti_mrs, "parse", fail)
        with pytest.raises(FormatError, match=sentence) as caught:
            read(path)
        assert "JANE" not in str(caught.value)
        assert caught.value.__suppress_context__


def test_a_foreign_twix_file_is_named(tmp_path):
    pytest.importorskip("spec2nii", reason="needs the extra vendor")
    path = synthetic.twix_file(tmp_path / "a.dat", synthetic.grid_fid(1, 2, 2)[0])
    path.write_bytes(path.read_bytes().replace(b"ResonantNucleus", b"ResonantNobody!"))

    with pytest.raises(FormatError, match="is damaged, or of a kind of Siemens TWIX file that"):
        read(path)


def test_a_twix_scan_that_is_not_there_is_named(tmp_path):
    pytest.importorskip("spec2nii", reason="needs the extra vendor")
    path = synthetic.twix_file(tmp_path / "a.dat", synthetic.grid_fid(1, 1, 3)[0])
    content = bytearray(path.read_bytes())
    second = 32 * 512 + 128 + 8 * N
    struct.pack_into("<H", content, second + 46, 2)  # as the third
    path.write_bytes(content)

    with pytest.raises(FormatError, match="its loop counters name scans that are not there"):
        read(path)


def test_a_control_file_that_promises_other_voxels_is_named(tmp_path):
    (tmp_path / "a.RAW").write_text(" $NMID ID='x' $END\n" + "1.0 2.0\n" * (3 * N))
    (tmp_path / "a.control").write_text(
        f"$LCMODL\nfilraw='a.RAW'\nnunfil={N}\ndeltat=5e-4\nhzpppm=123\nndcols=2\nndrows=2\n$END"
    )
    with pytest.raises(FormatError, match="promises 2 x 2 x 1 voxels of 64 samples, 3 are there"):
        read(tmp_path / "a.RAW")

    (tmp_path / "a.RAW").write_text(" $NMID ID='x' $END\n" + "1.0 2.0\n" * 100)
    with pytest.raises(FormatError, match="100 complex samples are no multiple of 64 an FID"):
        read(tmp_path / "a.RAW")


def test_an_unknown_dwell_time_names_its_option(tmp_path):
    (tmp_path / "a.RAW").write_text(" $NMID ID='x' $END\n" + "1.0 2.0\n" * N)

    with pytest.raises(MissingMetadataError, match=r"\(on the command line --frequency"):
        read(tmp_path / "a.RAW")
    with pytest.raises(MissingMetadataError, match=r"\(on the command line --dwell-time\)"):
        read(tmp_path / "a.RAW", spectrometer_frequency_mhz=123.2)


def test_an_incomplete_last_signal_of_mrui_is_named(shared_data, tmp_path):
    content = (shared_data / "jmrui/20240519_residual.mrui").read_bytes()
    path = tmp_path / "a.mrui"
    path.write_bytes(content + content[600:5000])

    with pytest.raises(FormatError, match="its last signal is not complete"):
        read(path)
    path.write_bytes(content + b"a comment\r\n")
    assert read(path).fid.shape == (1, 1, 1, 4096)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda image: image.header.set_data_shape((2, 3)), "is no volume"),
        (lambda image: image.set_sform(None, 0), "neither its qform nor its sform is set"),
        (lambda image: image.header.set_data_shape((200, 300, 400)), "voxels that are not there"),
    ],
)
def test_one_fault_in_an_image_is_named(tmp_path, change, sentence):
    import nibabel

    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.eye(4))
    content = image.to_bytes()
    change(image)
    path = tmp_path / "a.nii"
    path.write_bytes(image.header.binaryblock + content[348:])

    with pytest.raises(FormatError, match=sentence):
        read_image(path)


def test_an_image_with_a_flat_affine_is_named_and_single_axes_go(tmp_path):
    import nibabel

    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 3, 4, 1, 1), np.uint8), np.eye(4)), path)
    assert read_image(path)[0].shape == (2, 3, 4)

    image = nibabel.Nifti1Image(np.ones((2, 3, 4), np.uint8), np.eye(4))
    image.header["srow_x"] = 0
    image.header["sform_code"] = 1
    path.write_bytes(image.header.binaryblock + image.to_bytes()[348:])
    with pytest.raises(FormatError, match="has no usable affine"):
        read_image(path)


def test_a_peak_table_takes_what_the_user_knows():
    table = read_peak_table("Cho=2 Cr=1", field_t=3.0, quantity="height", echo_time_s=0.03)

    assert (table.field_t, table.echo_time_s, table.areas.quantity) == (3.0, 0.03, "height")
    # as in read: what the user gives wrongly is the user's slip, and none of the table
    with pytest.raises(ValueError, match=r"field_t must be in T, between 0\.03 and 23; got 3000"):
        read_peak_table("Cho=2 Cr=1", field_t=3000.0)


def test_a_peak_table_with_an_impossible_field_is_refused(tmp_path):
    path = tmp_path / "case.toml"
    path.write_text("field_t = 3000\n[peaks]\nCho = 2\nCr = 1\n")

    with pytest.raises(FormatError, match=r"field_t must be in T, between 0\.03 and 23; got 3000"):
        read_peak_table(path)


@pytest.mark.parametrize("call", ["is_dir", "iterdir"])
def test_a_locked_folder_is_not_called_damaged(tmp_path, monkeypatch, call):
    def locked(*_, **__):
        raise PermissionError

    monkeypatch.setattr(Path, call, locked)

    with pytest.raises(FormatError, match="cannot be opened"):
        read(tmp_path)


def test_all_that_is_missing_is_said_at_once(tmp_path):
    path = tmp_path / "dataset.txt"
    path.write_text("".join(f"{i}.0 1.0 2.0 3.0\n" for i in range(64)))

    with pytest.raises(
        MissingMetadataError, match="spectrometer frequency and dwell time; give s"
    ):
        read(path)
