"""Scanner files for tests, written from the formats' descriptions: grids, averages, water."""

import struct

import numpy as np

from mrs_necrosis.spectra import Acquisition, SpectralData

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


def vax(values):
    """Return VAX F floats: an IEEE float four times as large with its halves swapped."""
    # a VAX has neither a negative zero, whose pattern is a fault, nor numbers as small as that
    values = np.asarray(values, np.float32)
    values = np.where(np.abs(values) < np.finfo(np.float32).tiny, np.float32(0), values)
    words = (values * 4).view("<u4")
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


def old_pfile(path, water, metabolites):
    """Write a P-file of revision 9 from FIDs (coils, frames, N), by the layout in data/README."""
    import struct

    coils, frames = len(water), np.concatenate([water, metabolites], axis=1)
    header = bytearray(61464)
    for at, layout, value in (
        (0, "<f", 9.0), (68, "<h", 1), (70, "<h", 1), (74, "<h", frames.shape[1]), (80, "<H", N),
        (82, "<h", 4), (200, "<h", 0), (202, "<h", coils - 1), (292, "<f", water.shape[1]),
        (368, "<f", 1 / DWELL_S), (424, "<I", 638_700_000), (57436, "<i", 15000),
        (60128, "<i", 2_000_000), (60136, "<i", 35000),
    ):  # fmt: skip
        struct.pack_into(layout, header, at, value)
    header[34:44] = b"GE_MED_NMR"
    stored = np.concatenate([np.zeros((coils, 1, N)), frames], axis=1).conj()
    parts = np.stack([stored.real, stored.imag], axis=-1).astype("<i4").tobytes()
    path.write_bytes(bytes(header) + parts)
    return path


def new_pfile(path, water, metabolites, changes=None):
    """Write a P-file of revision 26.002 from FIDs (coils, frames, N), by spec2nii's own layout."""
    import ctypes

    from spec2nii.GE.ge_hdr_fields import get_pfile_hdr_fields

    fields = get_pfile_hdr_fields(26.002)
    layout = type(
        "Header",
        (ctypes.LittleEndianStructure,),
        {"_pack_": 1, "_layout_": "ms", "_fields_": fields},
    )
    header = layout()
    coils = len(water)
    frames = np.concatenate([water, metabolites], axis=1)
    baseline = np.zeros((coils, 1, N), np.complex64)
    stored = np.concatenate([baseline, frames], axis=1).conj()
    parts = np.stack([stored.real, stored.imag], axis=-1).astype("<i4").tobytes()
    size = 213684  # where revision 26.002 begins its samples
    for name, value in {
        "rhr_rh_rdbm_rev": 26.002, "rhr_rh_logo": b"GE_MED_NMR", "rhr_rdb_hdr_off_data": size,
        "rhr_rh_raw_pass_size": len(parts), "rhr_rh_nframes": frames.shape[1],
        "rhr_rh_frame_size": N, "rhr_rh_point_size": 4, "rhr_rh_dab[0]_start_rcv": 0,
        "rhr_rh_dab[0]_stop_rcv": coils - 1, "rhr_rh_user19": water.shape[1],
        "rhr_spectral_width": 1 / DWELL_S, "rhr_rh_ps_mps_freq": 1277000000,
        "rhe_magstrength": 30000, "rhe_patname": b"PLANTED", "rhi_te": 35000, "rhi_tr": 2000000,
        "rhi_psdname": b"probe-p", "rhi_numecho": 1, "rhr_rh_nslices": 1, "rhr_rh_nechoes": 1,
        "rhr_rh_npasses": 1, "rhr_rh_navs": 1, "rhi_freq_dir": 1, "rhi_nex": 8.0,
        "rhi_user4": 8.0 * metabolites.shape[1],
        "rhi_tlhc_R": 120.0, "rhi_tlhc_A": 120.0, "rhi_trhc_R": -120.0, "rhi_trhc_A": 120.0,
        "rhi_brhc_R": -120.0, "rhi_brhc_A": -120.0, "rhi_user8": 20.0, "rhi_user9": 22.0,
        "rhi_user10": 24.0, "rhi_user11": 5.0, "rhi_user12": -6.0, "rhi_user13": 7.0,
        **(changes or {}),
    }.items():  # fmt: skip
        setattr(header, name, value)
    path.write_bytes(bytes(header).ljust(size, b"\0") + parts)
    return path


def ge_grid(path, fid):
    """Write a P-file of a spectroscopic image from FIDs (X, Y, coils, N), as k-space samples."""
    x, y, coils, _ = fid.shape
    samples = np.fft.ifft2(np.fft.ifftshift(fid, axes=(0, 1)), axes=(0, 1))
    # frames run along x first; the first of each coil is the baseline that new_pfile writes
    frames = 1000 * samples.transpose(2, 1, 0, 3).reshape(coils, x * y, N)
    changes = {
        "rhr_rh_file_contents": 1, "rhr_xcsi": x, "rhr_ycsi": y, "rhr_zcsi": 1, "rhr_csi_dims": 2,
        "rhi_psdname": b"presscsi", "rhi_dfov": 160.0, "rhi_nex": 2.0,
    }  # fmt: skip
    return new_pfile(path, frames[:, :0], np.round(frames), changes)


def twix_file(path, fid, *, is_vd=False):
    """Write a TWIX file of coils x averages by its description: header parts, then scans."""
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
        ("SoftwareVersions", "syngo MR E11" if is_vd else "syngo MR B17"),
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
    start = b""
    if is_vd:
        # one measurement of a list that has room for 64
        start = struct.pack("<4I2Q", 0, 1, 1, 1, 10240, 0).ljust(10240, b"\0")
    of_scan, of_receiver, shift = (192, 32, 20) if is_vd else (0, 128, 0)
    length = of_scan + (of_receiver + 8 * N) * coils
    for average in range(averages + 1):
        is_end = average == averages
        place = min(average, averages - 1)
        head = bytearray(of_scan or 128)
        struct.pack_into("<I", head, 0, length)
        # the first flag ends the acquisition, the fourth marks an online scan
        struct.pack_into("<Q", head, 20 + shift, 1 if is_end else 0b1000)
        struct.pack_into("<HH", head, 28 + shift, N, coils)
        struct.pack_into("<H", head, 46 + shift, place)  # the counter of sets
        content += bytes(head) if is_vd else b""
        for coil in range(coils):
            receiver = bytearray(32) if is_vd else head
            struct.pack_into("<H", receiver, 24 if is_vd else 124, coil)
            content += bytes(receiver) + fid[coil, place].tobytes()
    if is_vd:
        start = start[:24] + struct.pack("<Q", len(content)) + start[32:]
    content = start + content
    path.write_bytes(content)
    return path


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


def complex_lines(fid, separator="\t"):
    """Write samples as real and imaginary part, one a line, with digits enough for a float32."""
    return "".join(f"{value.real:.9e}{separator}{value.imag:.9e}\n" for value in fid)


def dangerplot(path, fid):
    """Write one FID as Dangerplot text."""
    path.write_text(
        f"Dangerplot_version\t1.0\nNumber_of_points\t{len(fid)}\n"
        f"Sampling_frequency\t{1 / DWELL_S}\nTransmitter_frequency\t1.232e8\n"
        "Phi0\t0\nPhi1\t0\nPPM_reference\t4.7\nReal_FID\tImag_FID\t\n" + complex_lines(fid.conj())
    )
    return path


def lcmodel_raw(path, fid, *, columns=2):
    """Write one FID as LCModel RAW, with numbers that touch where they are negative."""
    numbers = np.stack([fid.real, -fid.imag], axis=-1).ravel()
    lines = [
        "".join(f"{number:16.9E}" for number in numbers[start : start + columns])
        for start in range(0, len(numbers), columns)
    ]
    head = f" $NMID ID='x', FMTDAT='({columns}E16.9)'\n TRAMP=1, VOLUME=1 $END\n"
    path.write_text(head + "\n".join(lines) + "\n")
    return path


def jmrui_text(path, signals):
    """Write FIDs (signals, N) as jMRUI text with two columns."""
    text = (
        f"jMRUI Data Textfile\n\nPointsInDataset: {N}\nDatasetsInFile: {len(signals)}\n"
        f"SamplingInterval: {DWELL_S * 1e3}E0\nTransmitterFrequency: 1.232E8\n"
        "MagneticField: 2.89E0\nTypeOfNucleus: 1E0\nNameOfPatient: PLANTED\n\n"
        "Signal and FFT\nsig(real)\tsig(imag)\n"
    )
    for number, signal in enumerate(signals, start=1):
        text += f"Signal {number} out of {len(signals)} in file\n{complex_lines(signal)}"
    path.write_text(text)
    return path


def mrui(path, signals):
    """Write FIDs (signals, N) as a binary jMRUI file."""
    header = np.zeros(64)
    header[:8] = [0, N, DWELL_S * 1e3, 0, 0, 1.232e8, 2.89, 1]
    pairs = np.ascontiguousarray(signals, np.complex128).view(np.float64)
    path.write_bytes(header.astype(">f8").tobytes() + pairs.astype(">f8").tobytes() + b"x y\n")
    return path


def four_columns(path, fid, water):
    """Write an FID and its water as bare text."""
    rows = np.stack([fid.real, -fid.imag, water.real, -water.imag], axis=-1)
    path.write_text("".join("  ".join(f"{value:.9e}" for value in row) + "\n" for row in rows))
    return path
