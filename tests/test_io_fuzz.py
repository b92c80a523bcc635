"""Damaged files: whatever a header says, one sentence comes out, in little memory and time.

Each input is a real or a synthetic file with flipped bits, cut or doubled pieces, swapped numbers
or foreign words. A reader may refuse it with an error of the library or read it; an array that
comes out has the shape, the numbers and the axes that the types promise, because these check
themselves. Damaged inputs of each format: 60 in the fast tests, 2,000 in the slow ones, and as
many as one likes with

    MRS_NECROSIS_FUZZ=20000 python -m pytest -m slow tests/test_io_fuzz.py
"""

import os
import random
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import scanner_files as synthetic

from mrs_necrosis.errors import MRSNecrosisError
from mrs_necrosis.io import is_peak_table, read, read_image, read_peaks, write_nifti_mrs

GIB = 2**30
FORMATS = {
    # name: file below the shared data, what must lie beside it, seconds an input may take
    "nifti": ("nifti_mrs/brain_7T_steam11/wref_raw.nii.gz", ()),
    "rda": ("siemens_rda/phantom_1p5T_example.rda", ()),
    "csa": ("siemens_ima/phantom_1p5T_VA21_SIEMENSTEST.ima", ()),
    "csa_vd": ("siemens_ima/brain_3T_SVS_30.IMA", ()),
    "dicom_philips": ("dicom_mrs/philips_1p5T_phantom_shortTE.dcm", ()),
    "dicom_xa": ("dicom_mrs/siemens_XA60_3T_phantom_te30.dcm", ()),
    "spar": (
        "philips_sdat/brain_3T_press30/philips_spar_sdat_WS.SPAR",
        ("philips_sdat/brain_3T_press30/philips_spar_sdat_WS.SDAT",),
    ),
    "pfile": ("ge_pfile/P1834_1.5T_030_2000.7", ()),
    "lcmodel": (
        "lcmodel/brain_3T_press30/data.raw",
        ("lcmodel/brain_3T_press30/control.file",),
    ),
    "jmrui": ("ismrm_challenge/basis_jmrui/Ala.txt", ()),
    "mrui": ("jmrui/20240519_residual.mrui", ()),
    "dpt": ("tarquin_dpt/brain_3T_press30/ws.dpt", ()),
    "varian": (
        "varian_fid/4T_STEAM_TE4ms_human.fid/fid",
        ("varian_fid/4T_STEAM_TE4ms_human.fid/procpar",),
    ),
    "procpar": (
        "varian_fid/4T_STEAM_TE4ms_human.fid/procpar",
        ("varian_fid/4T_STEAM_TE4ms_human.fid/fid",),
    ),
    "text": ("ismrm_challenge/text/dataset1.txt", ()),
}
NUMBERS = [
    b"0", b"-1", b"1", b"2", b"1e308", b"-1e308", b"nan", b"inf", b"99999999999999999999",
    b"2147483647", b"4294967295", b"65536", b"1e-300", b"1.5", b"", b"x", b"%s", b"\xff\xfe",
]  # fmt: skip
INTEGERS = [0, 1, -1, 2, 127, 255, 256, 32767, -32768, 65535, 2**20, 2**31 - 1, -(2**31)]


def mutated(content, rng):
    """Return a damaged copy of a file."""
    data = bytearray(content)
    # most damage goes to the header, where it matters
    reach = len(data) if rng.random() < 0.3 else min(len(data), rng.choice([64, 600, 4000, 70000]))
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        at = rng.randrange(max(reach, 1))
        kind = rng.randrange(8)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at : at + rng.choice([1, 2, 4, 100, 10**6])]
        elif kind == 2:
            data[at:at] = data[at : at + rng.choice([1, 4, 100, 5000])]
        elif kind == 3:
            value = rng.choice(INTEGERS)
            layout = rng.choice(["<i", ">i", "<q", "<h"])
            try:
                packed = struct.pack(layout, value)
            except struct.error:
                continue
            data[at : at + len(packed)] = packed
        elif kind == 4:
            layout = rng.choice(["<f", ">f", "<d", ">d"])
            value = rng.choice([0.0, -1.0, 1e38, float("nan"), float("inf"), 1e-38])
            data[at : at + struct.calcsize(layout)] = struct.pack(layout, value)
        elif kind == 5:
            # the next number in the text becomes another one
            end = start = at
            while start < len(data) and not chr(data[start]).isdigit():
                start += 1
                if start - at > 2000:
                    break
            end = start
            while end < len(data) and chr(data[end]) in "0123456789.eE+-":
                end += 1
            data[start:end] = rng.choice(NUMBERS)
        elif kind == 6:
            data[at : at + 40] = bytes(rng.randrange(256) for _ in range(40))
        else:
            lines = bytes(data[:reach]).split(b"\n")
            rng.shuffle(lines) if len(lines) < 50 else lines.pop(rng.randrange(len(lines)))
            data[:reach] = b"\n".join(lines)
    return bytes(data)


@pytest.fixture
def little_memory():
    """Bound the address space, so that an allocation driven by a header fails at once."""
    resource = pytest.importorskip("resource", reason="no memory limits on this system")
    if not Path("/proc/self/statm").exists():
        pytest.skip("the memory in use is not known on this system")
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * GIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def attack(path, content, count, reader, seed):
    """Read ``count`` damaged copies; return how many were read."""
    rng = random.Random(seed)
    n_read = 0
    for index in range(count):
        damaged = mutated(content, rng)
        path.write_bytes(damaged)
        start = time.process_time()
        refusal = None
        try:
            reader(path)
            n_read += 1
        except MRSNecrosisError as error:
            refusal = error
        except BaseException as error:
            error.add_note(f"seed {seed}, input {index}, {len(damaged)} bytes")
            raise
        if refusal is not None:
            assert "\n" not in str(refusal), (seed, index)
            assert len(str(refusal)) < 400, (seed, index)
            assert refusal.__cause__ is None, (seed, index)
        assert time.process_time() - start < 10.0, (seed, index)
    return n_read


def run(shared_data, tmp_path, name, count, *, seed):
    relative, partners = FORMATS[name]
    for partner in partners:
        (tmp_path / Path(partner).name).write_bytes((shared_data / partner).read_bytes())
    path = tmp_path / Path(relative).name
    given = {}
    if name in {"text", "lcmodel"}:
        given = {"dwell_time_s": 5e-4, "spectrometer_frequency_mhz": 123.2}
    content = (shared_data / relative).read_bytes()
    return attack(path, content, count, lambda p: read(p, **given), seed)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_read_or_refused(shared_data, tmp_path, name):
    run(shared_data, tmp_path, name, 60, seed=20161)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", FORMATS)
def test_many_damaged_files_are_read_or_refused(shared_data, tmp_path, name):
    run(shared_data, tmp_path, name, int(os.environ.get("MRS_NECROSIS_FUZZ", "2000")), seed=7)


def small_files(folder):
    """Write what no real file stands for: grids, an enhanced DICOM, TWIX, tables, an image."""
    fid = synthetic.grid_fid(3, 2, 2)
    write_nifti_mrs(folder / "grid.nii", synthetic.spectral_data((3, 2, 4, 64)))
    files = {
        "rda_grid": synthetic.rda(folder / "grid.rda", fid),
        "csa_grid": synthetic.csa_dicom(folder / "grid.IMA", fid),
        "nifti_grid": folder / "grid.nii",
        "sdat_grid": synthetic.sdat_pair(
            folder, fid.reshape(-1, synthetic.N), encoded=True, planes=(3, 2, 2)
        ),
    }
    first = synthetic.first_centre_lps()
    positions = [first, first + np.array([0.0, 0.0, 20.0])]
    files["dicom_grid"] = synthetic.mrs_dicom(
        folder / "grid.dcm", fid.transpose(2, 1, 0, 3), positions
    )
    (folder / "case.toml").write_text("echo_time_ms = 30\n[peaks]\nLL = 108964\nCr = 29534\n")
    (folder / "case.csv").write_text("peak,value,sd\nLL,108964,10\nCr,29534,20\n")
    files["toml"], files["csv"] = folder / "case.toml", folder / "case.csv"
    files["image"] = folder / "grid.nii"
    return files


SMALL = {
    "rda_grid": read,
    "csa_grid": read,
    "nifti_grid": read,
    "sdat_grid": read,
    "dicom_grid": read,
    "toml": read_peaks,
    "csv": read_peaks,
    "image": read_image,
}


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", SMALL)
def test_a_damaged_small_file_is_read_or_refused(tmp_path, name):
    path = small_files(tmp_path)[name]
    attack(path, path.read_bytes(), 60, SMALL[name], seed=5)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", SMALL)
def test_many_damaged_small_files_are_read_or_refused(tmp_path, name):
    path = small_files(tmp_path)[name]
    count = int(os.environ.get("MRS_NECROSIS_FUZZ", "2000"))
    attack(path, path.read_bytes(), count, SMALL[name], seed=6)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("is_vd", [False, True])
@pytest.mark.parametrize("count", [25, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.timeout(0)
@pytest.mark.filterwarnings("ignore")  # third-party readers leave files open
def test_a_damaged_twix_file_is_read_or_refused(tmp_path, count, is_vd):
    pytest.importorskip("spec2nii", reason="needs the extra vendor")
    path = synthetic.twix_file(tmp_path / "meas.dat", synthetic.grid_fid(1, 2, 3)[0], is_vd=is_vd)
    if count > 100:
        count = int(os.environ.get("MRS_NECROSIS_FUZZ", str(count)))
    attack(path, path.read_bytes(), count, read, seed=8)


@pytest.mark.parametrize("name", [*FORMATS])
def test_the_first_bytes_alone_are_refused(shared_data, tmp_path, name):
    relative, _ = FORMATS[name]
    content = (shared_data / relative).read_bytes()
    path = tmp_path / Path(relative).name
    for length in (1, 2, 3, 7, 63, 133, 200, 400, 1000):
        path.write_bytes(content[:length])
        with pytest.raises(MRSNecrosisError):
            read(path)
        assert not is_peak_table(path)


def test_deeply_nested_headers_are_refused(tmp_path):
    path = tmp_path / "deep.nii"
    write_nifti_mrs(path, synthetic.spectral_data((1, 1, 1, 64)))
    content = path.read_bytes()
    at = content.index(b'{"Spec')
    size = struct.unpack_from("<i", content, at - 8)[0] - 8
    path.write_bytes(content[:at] + b"[" * size + content[at + size :])
    with pytest.raises(MRSNecrosisError, match="its NIfTI-MRS header is no JSON"):
        read(path)

    path = tmp_path / "deep.dcm"
    nested = b""
    for _ in range(2000):
        nested += b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(b"\0" * 128 + b"DICM" + nested)
    with pytest.raises(MRSNecrosisError):
        read(path)
