"""Branches of the readers that no file at hand reaches: grids, averages, water frames, affines.

The files are written here from the formats' descriptions; where a library reads a format right,
its affine is the truth.
"""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from mrs_necrosis.errors import FormatError, MissingExtraError, OutputError
from mrs_necrosis.io import read, read_image, write_nifti_mrs
from mrs_necrosis.spectra import Acquisition, Spectra, SpectralData

N = 64
DWELL_S = 5e-4
# an oblique plane: any mix-up of rows, columns or signs shows
ROW = np.array([0.96, -0.28, 0.0])
COLUMN = np.array([0.28 * 0.6, 0.96 * 0.6, -0.8])
SPACING_X, SPACING_Y, SPACING_Z = 10.0, 12.0, 15.0
CORNER_LPS = np.array([-40.0, -30.0, 20.0])


def grid_fid(x, y, z):
    """Return an FID for each voxel: amplitude tells the voxel, one line at +100 Hz."""
    time_s = np.arange(N) * DWELL_S
    amplitude = 1.0 + np.arange(x * y * z).reshape(x, y, z)
    line = np.exp(2j * np.pi * 100.0 * time_s - 20.0 * time_s)
    return (amplitude[..., None] * line).astype(np.complex64)


def frequency_hz(fid):
    spectrum = np.abs(np.fft.fft(fid, axis=3)).reshape(-1, N).sum(axis=0)
    return np.fft.fftfreq(N, DWELL_S)[spectrum.argmax()]


def centre_ras(x, y, z, *, step_z=None):
    """Return the centre of a voxel in RAS mm, from the corner of the first voxel's slice."""
    normal = np.cross(ROW, COLUMN)
    if step_z is None:
        step_z = normal * SPACING_Z
    lps = CORNER_LPS + (x + 0.5) * SPACING_X * ROW + (y + 0.5) * SPACING_Y * COLUMN + z * step_z
    return lps * [-1, -1, 1]


def rda(path, fid, **changes):
    x, y, z = fid.shape[:3]
    header = {
        "PatientName": "PLANTED^NAME",
        "SoftwareVersion[0]": "syngo MR B17",
        "SequenceName": "csi_se",
        "TR": "1700,000000",
        "TE": "135.000000",
        "TM": "0.000000",
        "DwellTime": "500",
        "MRFrequency": "123.2",
        "Nucleus": "1H",
        "VectorSize": str(N),
        **{f"CSIMatrixSize[{i}]": str(n) for i, n in enumerate((x, y, z))},
        "SliceThickness": f"{SPACING_Z}",
        **{f"PositionVector[{i}]": f"{v:f}" for i, v in enumerate(CORNER_LPS)},
        **{f"RowVector[{i}]": f"{v:f}" for i, v in enumerate(ROW)},
        **{f"ColumnVector[{i}]": f"{v:f}" for i, v in enumerate(COLUMN)},
        "VOIPositionSag": "1.0",
        "VOIPositionCor": "2.0",
        "VOIPositionTra": "3.0",
        "PixelSpacingRow": f"{SPACING_Y}",
        "PixelSpacingCol": f"{SPACING_X}",
        "PixelSpacing3D": f"{SPACING_Z}",
        "TI": "0.0",
        "FlipAngle": "90.0",
        "ModelName": "X",
        "DeviceSerialNumber": "1",
        "InstitutionName": "X",
        "TransmitCoil": "Body",
        "PatientWeight": "60.0",
    } | changes
    text = ">>> Begin of header <<<\r\n"
    text += "".join(f"{name}: {value}\r\n" for name, value in header.items())
    text += ">>> End of header <<<\r\n"
    stored = fid.transpose(2, 1, 0, 3).conj().astype(np.complex128)
    path.write_bytes(text.encode("latin-1") + stored.tobytes())
    return path


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


def csa_header(tags):
    """Write a CSA2 header, as nibabel's documentation of the format describes it."""
    content = b"SV10\x04\x03\x02\x01" + struct.pack("<2I", len(tags), 77)
    for name, items in tags.items():
        kind = b"CS\0\0" if isinstance(items[0], str) else b"FD\0\0"
        content += struct.pack("<64si4s3i", name.encode(), len(items), kind, 4, len(items), 77)
        for item in items:
            text = str(item).encode() + b"\0"
            content += struct.pack("<4i", len(text), len(text), 77, len(text))
            content += text + b"\0" * (-len(text) % 4)
    return content


def dicom_file(path, dataset, sop_class):
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientName = "PLANTED^NAME"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def csa_dicom(path, fid, **changes):
    from pydicom.dataset import Dataset

    x, y, z = fid.shape[:3]
    tags = {
        "SequenceName": ["*csi_slaser"],
        "RepetitionTime": [1700.0],
        "EchoTime": [40.0],
        "ImagingFrequency": [123.2],
        "ImagedNucleus": ["1H"],
        "Rows": [y],
        "Columns": [x],
        "NumberOfFrames": [z],
        "DataPointColumns": [N],
        "RealDwellTime": [500000],
        "ImagePositionPatient": list(CORNER_LPS),
        "ImageOrientationPatient": [*ROW, *COLUMN],
        "PixelSpacing": [SPACING_Y, SPACING_X],
        "SliceThickness": [SPACING_Z],
    } | changes
    dataset = Dataset()
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", csa_header(tags))
    samples = fid.transpose(2, 1, 0, 3).conj().tobytes()
    data = dataset.private_block(0x7FE1, "SIEMENS CSA NON-IMAGE", create=True)
    data.add_new(0x10, "OB", samples)
    return dicom_file(path, dataset, "1.3.12.2.1107.5.9.1")


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


def mrs_dicom(path, frames, positions, *, manufacturer="Siemens Healthineers", water=()):
    """Write MR Spectroscopy Storage; frames of shape (frames, rows, columns, N)."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    n_frames, rows, columns, n = frames.shape
    dataset = Dataset()
    dataset.Manufacturer = manufacturer
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = rows, columns, n_frames
    dataset.DataPointRows, dataset.DataPointColumns = 1, n
    dataset.DataRepresentation, dataset.SignalDomainColumns = "COMPLEX", "TIME"
    dataset.SpectralWidth = 1 / DWELL_S
    dataset.TransmitterFrequency = 123.2
    dataset.ResonantNucleus = "1H"
    dataset.ChemicalShiftReference = 4.7
    dataset.VolumeLocalizationTechnique = "PRESS"
    shared = Dataset()
    orientation, measures, echo, timing = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [f"{v:.6f}" for v in (*ROW, *COLUMN)]
    measures.PixelSpacing = [SPACING_Y, SPACING_X]
    measures.SliceThickness = SPACING_Z
    echo.EffectiveEchoTime = 135.0
    timing.RepetitionTime = 1700
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.MREchoSequence = Sequence([echo])
    shared.MRTimingAndRelatedParametersSequence = Sequence([timing])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for position in positions:
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = [f"{v:.6f}" for v in position]
        group.PlanePositionSequence = Sequence([place])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    if water:
        marks = []
        for frame in range(n_frames):
            mark = Dataset()
            block = mark.private_block(0x2005, "Philips MR Imaging DD 004", create=True)
            block.add_new(0x04, "SS", int(frame in water))
            mark.add_new((0x2005, 0x1304), "SS", int(frame in water))
            marks.append(mark)
        dataset.add_new((0x2005, 0x0014), "LO", "Philips MR Imaging DD 005")
        dataset.add_new((0x2005, 0x140F), "SQ", Sequence(marks))
    dataset.add_new((0x5600, 0x0020), "OF", frames.astype(np.complex64).tobytes())
    return dicom_file(path, dataset, "1.2.840.10008.5.1.4.1.1.4.2")


def first_centre_lps():
    return CORNER_LPS + 0.5 * SPACING_X * ROW + 0.5 * SPACING_Y * COLUMN


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


def vax(values):
    """Return VAX F floats: an IEEE float four times as large with its halves swapped."""
    words = (np.asarray(values, np.float32) * 4).view("<u4")
    return ((words >> 16) | (words << 16)).astype("<u4").tobytes()


def sdat_pair(folder, rows, *, encoded, planes=(1, 1, 1)):
    """Write a pair from FIDs of shape (rows, N)."""
    spar = {
        "examination_name": "PLANTED NAME",
        "scan_id": "PRESS_144",
        "samples": N,
        "rows": len(rows),
        "synthesizer_frequency": "127786142.000000",
        "sample_frequency": "2000",
        "nucleus": "1H",
        "echo_time": "144",
        "repetition_time": "2000",
        "volume_selection_enable": '"yes"',
        **{f"{axis}_size": size for axis, size in (("ap", 30), ("lr", 20), ("cc", 15))},
        **{f"{axis}_off_center": v for axis, v in (("ap", -5.5), ("lr", 12.0), ("cc", 33.0))},
        **{f"{axis}_angulation": v for axis, v in (("ap", 4.0), ("lr", -7.0), ("cc", 11.0))},
        "phase_encoding_enable": '"yes"' if encoded else '"no"',
        "nr_of_slices_for_multislice": planes[2],
        "dim2_pnts": planes[0],
        "dim3_pnts": planes[1],
        "spectrum_inversion_time": 0,
        "offset_frequency": 0,
        "patient_position": "x",
        "patient_orientation": "y",
    }
    text = "!--\n" + "".join(f"{name} : {value}\n" for name, value in spar.items())
    (folder / "scan.SPAR").write_text(text)
    pairs = np.asarray(rows, np.complex64).view(np.float32)
    (folder / "scan.SDAT").write_bytes(vax(pairs.ravel()))
    return folder / "scan.SDAT"


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


def varian_pair(folder, fid, *, receivers):
    """Write FIDs of shape (dynamics, receivers, N)."""
    traces = fid.conj().reshape(-1, N).astype(np.complex64)
    block = struct.pack(">4hi4f", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    header = struct.pack(">6i2hi", len(traces), 1, 2 * N, 4, 8 * N, 8 * N + 28, 0, 0x19, 1)
    content = header
    for trace in traces:
        content += block + trace.view(np.float32).astype(">f4").tobytes()
    (folder / "fid").write_bytes(content)
    values = {"np": 2 * N, "sw": 2000, "sfrq": 127.7, "te": 0.03, "tr": 2, "tm": 0}
    words = {"tn": "H1", "seqfil": "press", "rcvrs": "y" * receivers}
    text = "".join(f"{name} 1 1 9 0 0 2 1 0 1 64\n1 {v} \n0 \n" for name, v in values.items())
    text += "".join(f'{name} 2 2 9 0 0 2 1 0 1 64\n1 "{v}"\n0 \n' for name, v in words.items())
    (folder / "procpar").write_text(text)
    return folder


def test_varian_receivers_become_coils(tmp_path):
    fid = grid_fid(1, 3, 4)[0].transpose(1, 0, 2)  # 4 dynamics, 3 receivers

    data = read(varian_pair(tmp_path, fid, receivers=3))

    assert data.dims == ("DIM_COIL", "DIM_DYN")
    assert np.allclose(data.fid[0, 0, 0], fid.transpose(2, 1, 0))
    assert data.acquisition.mixing_time_s is None


@pytest.mark.filterwarnings("ignore")  # twixtools' own
def test_a_synthetic_twix_file_keeps_coils_and_averages(tmp_path):
    pytest.importorskip("spec2nii", reason="needs the extra vendor")
    path = twix_file(tmp_path / "meas.dat", grid_fid(1, 4, 8)[0])

    data = read(path)

    assert data.dims == ("DIM_COIL", "DIM_DYN")
    assert data.fid.shape == (1, 1, 1, N // 2, 4, 8)
    assert data.acquisition.dwell_time_s == 2 * DWELL_S
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 3000])
    with pytest.raises(FormatError, match="is truncated: its last scans are missing"):
        read(path)


def twix_file(path, fid):
    """Write a VB file of coils x averages by its description: header parts, then scans."""
    settings = {
        "sRXSPEC.alDwellTime[0]": int(DWELL_S * 1e9),
        "alTE[0]": 30000,
        "alTR[0]": 2000000,
        "sTXSPEC.asNucleusInfo[0].lFrequency": 123200000,
        "sTXSPEC.asNucleusInfo[0].tNucleus": '"1H"',
        "sSpecPara.lVectorSize": N // 2,
        "sSpecPara.sVoI.dThickness": 20.0,
        "sSpecPara.sVoI.dPhaseFOV": 20.0,
        "sSpecPara.sVoI.dReadoutFOV": 20.0,
        "tSequenceFileName": '"%SiemensSeq%\\svs_se"',
    }
    ascconv = "### ASCCONV BEGIN ###\n"
    ascconv += "".join(f"{name} = {value}\n" for name, value in settings.items())
    ascconv += "### ASCCONV END ###\n"
    xprotocol = "<XProtocol> \n{\n"
    for name, value in (
        ("SoftwareVersions", "syngo MR B17"),
        ("tSequenceString", "svs_se"),
        ("ManufacturersModelName", "X"),
        ("DeviceSerialNumber", "1"),
        ("Manufacturer", "SIEMENS"),
        ("InstitutionName", "X"),
        ("InstitutionAddress", "X"),
        ("TransmittingCoil", "Body"),
        ("tPatientPosition", "HFS"),
        ("tPatientName", "PLANTED"),
        ("tProtocolName", "svs"),
        ("PatientBirthDay", "19600131"),
        ("tICEProgramName", "X"),
        ("tSequenceFileName", "svs_se"),
        ("tPatientID", "PLANTED"),
        ("ResonantNucleus", "1H"),
        ("PatientPosition", "HFS"),
        ("PatientName", "PLANTED"),
        ("SequenceFileName", "svs_se"),
    ):
        xprotocol += f'  <ParamString."{name}"> {{ "{value}" }}\n'
    for name, value in (
        ("lFrequency", 123200000), ("lFinalMatrixSizePhase", 1), ("lFinalMatrixSizeRead", 1),
        ("lFinalMatrixSizeSlice", 1), ("lVectorSize", N // 2), ("flUsedPatientWeight", 60),
        ("lPatientSex", 1), ("UsedPatientWeight", 60), ("PatientSex", 1), ("TR", 2000000),
        ("Frequency", 123200000), ("FlipAngle", 90), ("dDeltaFrequency", 0),
    ):  # fmt: skip
        xprotocol += f'  <ParamLong."{name}"> {{ {value} }}\n'
    xprotocol += "}\n"
    parts = {"Config": xprotocol, "Dicom": xprotocol, "Meas": xprotocol, "MeasYaps": ascconv,
             "Phoenix": ascconv}  # fmt: skip
    body = b""
    for name, text in parts.items():
        content = text.encode() + b"\0"
        body += name.encode() + b"\0" + struct.pack("<I", len(content)) + content
    length = 32 * 512  # a shorter one would look like version VD
    header = struct.pack("<2I", length, len(parts)) + body
    content = header + b"\0" * (length - len(header))
    coils, averages = fid.shape[:2]
    size = 128 + 8 * N
    for average in range(averages + 1):
        is_end = average == averages
        for coil in range(coils):
            scan = bytearray(128)
            struct.pack_into("<I", scan, 0, size * coils if coil == 0 else size)
            # the first flag ends the acquisition, the third marks an online scan
            struct.pack_into("<Q", scan, 20, 1 if is_end else 0b1000)
            struct.pack_into("<HH", scan, 28, N, coils)
            struct.pack_into("<H", scan, 32 + 14, min(average, averages - 1))  # set
            struct.pack_into("<H", scan, 124, coil)
            content += bytes(scan) + fid[coil, min(average, averages - 1)].conj().tobytes()
    path.write_bytes(content)
    return path


def test_twix_without_its_extra_says_how_to_get_it(shared_data, monkeypatch):
    monkeypatch.setitem(sys.modules, "mapvbvd", None)

    with pytest.raises(MissingExtraError, match=r'pip install "mrs-necrosis\[vendor\]"'):
        read(shared_data / "siemens_twix/spinal_cord_7T_sLASER_shortTE_noWS.dat")


# --- NIfTI-MRS out and in again


def spectral_data(shape=(3, 2, 4, N), dims=(), **metadata):
    rng = np.random.default_rng(7)
    affine = np.array([[9.0, 1, 0, -30], [-1, 9, 2, 10], [0, -2, 9, 5], [0, 0, 0, 1.0]])
    return SpectralData(
        fid=rng.normal(size=shape) + 1j * rng.normal(size=shape),
        acquisition=Acquisition(
            spectrometer_frequency_mhz=123.2531,
            dwell_time_s=1 / 3000,
            nucleus="1H",
            **metadata,
        ),
        dims=dims,
        affine=affine,
    )


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
