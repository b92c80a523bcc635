"""Killed, crowded out, locked out, or fed with names: what is on disk stays whole and silent."""

import base64
import contextlib
import gzip
import hashlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import bids_dataset
import numpy as np
import pytest

from mrs_necrosis import analyze
from mrs_necrosis.cli import main
from mrs_necrosis.cohort import analyze_dataset
from mrs_necrosis.cohort import marker as marker_module
from mrs_necrosis.cohort import run as run_module
from mrs_necrosis.cohort.listing import dataset_units

PRIORS = (0.3, 0.5)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, for many kills fast")


# ---- killed, and two at once ------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One unit, its two analyses, and the bytes that each of them gives."""
    root = bids_dataset.dataset(tmp_path_factory.mktemp("raw") / "raw", 1, n_samples=512)
    (unit,) = dataset_units(root)
    analyses = {
        prior: run_module.analyze_unit(unit, settings(Path("nowhere"), prior)) for prior in PRIORS
    }
    expected = {
        prior: run_module.render_unit(unit, settings(Path("nowhere"), prior), analysis)
        for prior, analysis in analyses.items()
    }
    return unit, analyses, expected


def settings(out, prior):
    return run_module.Settings(
        out=out, keywords={"prior": prior}, figures=False, overwrite=True
    )  # fmt: skip


def writer(unit, analyses, out, priors):
    """Start a process that writes the unit again and again; it ends by a signal or ``priors``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this process has threads; the child starts none
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        run_module.analyze_unit = lambda _, chosen: analyses[chosen.keywords["prior"]]
        states = [run_module.run_unit(unit, settings(out, prior)).state for prior in priors]
        code = int(set(states) != {"done"})
    finally:
        os._exit(code)


def check_whole(out, unit, expected):
    """Every file is one that was written whole, and a marker that says done tells the truth."""
    versions = {
        name: {content[name] for content in expected.values() if name in content}
        for name in set().union(*expected.values())
    }
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if path.is_file() and name in versions:
            assert path.read_bytes() in versions[name], name
    marker = marker_module.read_marker(out / unit.marker)
    if marker.get("state") == "done":
        assert marker_module.all_there(out, marker["files"])
        alone = [prior for prior in PRIORS if marker["files"] == digests(expected[prior])]
        assert len(alone) == 1
    elif marker:
        assert marker["state"] == "writing"
    return marker.get("state")


def digests(contents):
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}


@needs_fork
def test_a_run_killed_at_any_moment_leaves_whole_files_and_goes_on(written, tmp_path):
    unit, analyses, expected = written
    rng = np.random.default_rng(0)
    seen = set()

    for round_ in range(40):
        out = tmp_path / f"{round_ % 4}"  # some go on in what another left
        out.mkdir(exist_ok=True)
        child = writer(unit, analyses, out, itertools.cycle(PRIORS))
        begun = time.monotonic()
        while not (out / unit.marker).exists() and time.monotonic() - begun < 20:
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        seen.add(check_whole(out, unit, expected))

    for out in tmp_path.iterdir():
        _, status = os.waitpid(writer(unit, analyses, out, [0.5]), 0)
        assert status == 0
        assert check_whole(out, unit, expected) == "done"
        left = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
        assert left == {*expected[0.5], unit.marker, f".mrs_necrosis/{unit.key}.lock"}
    assert "writing" in seen  # some were hit in the middle


@needs_fork
def test_many_runs_into_one_folder_do_not_mix_their_files(written, tmp_path):
    unit, analyses, expected = written

    children = [
        writer(unit, analyses, tmp_path, PRIORS[:: 1 - 2 * (number % 2)] * 3)
        for number in range(4)
    ]
    while True:
        check_locked = marker_module.read_marker(tmp_path / unit.marker)
        assert check_locked.get("state") in {None, "writing", "done"}
        if not any(os.waitpid(child, os.WNOHANG)[0] == 0 for child in children[:1]):
            break
        time.sleep(0.01)
    ends = [os.waitpid(child, 0)[1] for child in children[1:]]

    assert ends == [0, 0, 0]
    assert check_whole(tmp_path, unit, expected) == "done"
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".mrs_necrosis"]


def test_two_commands_share_the_work(tmp_path):
    root = bids_dataset.dataset(tmp_path / "raw", 2, n_samples=512)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mrs_necrosis", "bids", str(root), str(out), "participant",
               "--no-figures", "--nprocs", "1"]  # fmt: skip

    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate()[0] for one in running]

    assert [one.returncode for one in running] == [0, 0]
    analysed = sum(int(n) for text in said for n in re.findall(r"(\d+) analysed", text))
    assert analysed == 2
    assert (out / "cohort.html").read_text().count("<tr>") == 3


# ---- no room, no right ------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, 200 kB large."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)],
            capture_output=True, check=False,
        )  # fmt: skip
    except OSError:
        pytest.skip("there is no mount command here")
    if made.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_full_disk_is_said_and_the_next_run_goes_on(small_disk, tmp_path, capsys):
    root = bids_dataset.dataset(tmp_path / "raw", 2, n_samples=512)
    out = small_disk / "out"
    (small_disk / "filler").write_bytes(b"x" * 130_000)

    code = main(["bids", str(root), str(out), "participant", "--no-figures"])

    assert code == 4
    assert "No space left" in capsys.readouterr().err
    for path in out.rglob("*.json"):
        json.loads(path.read_bytes())
    assert not [p for p in out.rglob(".*") if p.is_file() and p.name != ".bidsignore"]
    remount(small_disk, "size=4m")
    assert analyze_dataset(root, out, figures=False).exit_code == 0


def test_a_full_disk_is_said_of_a_table_too(small_disk, tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("label,Cho,Cr,NAA\na,3,2,1\nb,-3,2,1\n")
    with (small_disk / "filler").open("wb") as file, pytest.raises(OSError, match="No space"):
        file.write(b"x" * 300_000)

    code = main(["analyze", "--table", str(table), "--out", str(small_disk / "out")])

    assert code == 4
    assert "No space left" in capsys.readouterr().err


def test_no_room_at_all_is_an_error_of_the_output(small_disk, tmp_path, capsys):
    root = bids_dataset.dataset(tmp_path / "raw", 1, n_samples=512)
    filler = os.open(small_disk / "filler", os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(filler, b"x" * 4096)
    os.close(filler)

    code = main(["bids", str(root), str(small_disk / "out"), "participant", "--no-figures"])
    table = str(Path(__file__).parents[1] / "data" / "samples" / "reference_case.toml")
    also = main(["analyze", table, "--out", str(small_disk / "one"), "-q"])

    assert (code, also) == (4, 4)
    assert capsys.readouterr().err.count("cannot write to") == 2
    assert not list(small_disk.rglob("*.json"))


def test_a_read_only_folder_is_an_error_of_the_output(small_disk, tmp_path, capsys):
    root = bids_dataset.dataset(tmp_path / "raw", 1, n_samples=512)
    remount(small_disk, "ro")

    code = main(["bids", str(root), str(small_disk / "out"), "participant", "--no-figures"])

    assert code == 4
    assert "cannot write to out: Read-only file system" in capsys.readouterr().err


# ---- no names ---------------------------------------------------------------------------------

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
PLANTED = "Zzdoe"
"""In no word of any output, and in every header below."""

_TEXT_FIELDS = re.compile(
    rb"(?im)^(\s*(?:patient\w*|institution\w*|study(?:desc|id|instance)\w*|series(?:desc|instance)"
    rb"\w*|station\w*|operator\w*|protocolname|instancecomments|modelname|nameofpatient|"
    rb"examination_name|scan_id|scan_date|patient_name|patient_birth_date|additionalinformation|"
    rb"dateofexperiment)\s*:)[^\r\n]*"
)


def plant_text(path):
    content, count = _TEXT_FIELDS.subn(
        rb"\1 " + PLANTED.encode(), path.read_bytes().partition(b">>> End of header <<<")[0]
    )
    rest = path.read_bytes().partition(b">>> End of header <<<")
    path.write_bytes(content + rest[1] + rest[2])
    return count


def plant_dicom(path):
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        for name in (
            "PatientName", "PatientID", "OtherPatientIDs", "InstitutionName", "InstitutionAddress",
            "StudyDescription", "SeriesDescription", "ProtocolName", "OperatorsName",
            "ReferringPhysicianName", "PatientComments", "AccessionNumber", "StationName",
            "DeviceSerialNumber", "ImageComments", "StudyID", "PerformedProcedureStepDescription",
        ):  # fmt: skip
            setattr(dataset, name, PLANTED)
        dataset.save_as(path)


def plant_nifti(path):
    import nibabel

    image = nibabel.load(path)
    header = image.header
    (extension,) = [one for one in header.extensions if one.get_code() == 44]
    content = json.loads(extension.get_content())
    for name in ("PatientName", "PatientID", "PatientDoB", "ProtocolName", "InstitutionName",
                 "OriginalFile", "ConversionMethod", "DeviceSerialNumber"):  # fmt: skip
        content[name] = PLANTED
    content["private_note"] = {"Value": PLANTED, "Description": PLANTED}
    del header.extensions[:]
    header.extensions.append(
        nibabel.nifti1.Nifti1Extension(44, json.dumps(content).encode("utf-8"))
    )
    for field in ("descrip", "aux_file"):
        header[field] = PLANTED
    nibabel.save(image, path)


def plant_pfile(path):
    """Overwrite every text of the header that is not the sequence's name."""
    content = bytearray(path.read_bytes())
    for match in re.finditer(rb"[ -~]{6,}", bytes(content[:61464])):
        if b"PROBE" not in match[0].upper() and b"GE_MED" not in match[0]:
            word = (PLANTED.encode() * 40)[: len(match[0])]
            content[match.start() : match.end()] = word
    path.write_bytes(bytes(content))


def plant_twix(path):
    """Overwrite names, birth date, institution, study and protocol in the text of the header."""
    content = path.read_bytes()
    for field in (rb"t?Patients?Name", rb"PatientBirthDay", rb"InstitutionName", rb"ProtocolName",
                  rb"InstitutionAddress", rb"tStudyDescription", rb"PatientID"):  # fmt: skip
        content = re.sub(
            rb'("' + field + rb'">\s*\{\s*")([^"]+)"',
            lambda found: found[1] + (PLANTED.encode() * 20)[: len(found[2])] + b'"',
            content,
        )
    path.write_bytes(content)


def plant_lcmodel(path):
    text = path.read_text("latin-1")
    text = re.sub(r"(?i)\b(id|title)\s*=\s*'[^'\n]*'", rf"\1='{PLANTED}'", text)
    path.write_text(text, "latin-1")


def plant_procpar(path):
    procpar = path / "procpar"
    text = procpar.read_text("latin-1")
    for name in ("comment", "name", "ident", "operator_", "studyid_"):
        text += f'{name} 2 2 9 0 0 2 1 0 1 64\n1 "{PLANTED}"\n0 \n'
    procpar.write_text(text, "latin-1")


REAL = [
    pytest.param("siemens_rda/phantom_1p5T_example.rda", plant_text, id="RDA"),
    pytest.param("siemens_ima/brain_3T_SVS_30.IMA", plant_dicom, id="IMA"),
    pytest.param("dicom_mrs/philips_1p5T_phantom_shortTE.dcm", plant_dicom, id="DICOM MRS"),
    pytest.param("dicom_mrs/siemens_XA60_3T_phantom_te30.dcm", plant_dicom, id="DICOM XA"),
    pytest.param("siemens_twix/spinal_cord_7T_sLASER_shortTE_noWS.dat", plant_twix, id="TWIX"),
    pytest.param("jmrui/20240519_residual.mrui", lambda path: None, id="mrui"),
    pytest.param("ismrm_challenge/text/dataset1.txt", lambda path: None, id="text"),
    pytest.param("nifti_mrs/brain_7T_steam11/wref_raw.nii.gz", plant_nifti, id="NIfTI-MRS"),
    pytest.param(
        "philips_sdat/brain_3T_press30/philips_spar_sdat_WS.SDAT",
        lambda path: plant_text(path.with_suffix(".SPAR")), id="SDAT"),
    pytest.param("ge_pfile/P1806_1.5T_030_2000.7", plant_pfile, id="P-file"),
    pytest.param("ismrm_challenge/jmrui/dataset1_WS.txt", plant_text, id="jMRUI"),
    pytest.param("lcmodel/brain_3T_press30/data.raw", plant_lcmodel, id="LCModel"),
    pytest.param("tarquin_dpt/brain_3T_press30/ws.dpt", lambda path: None, id="Dangerplot"),
    pytest.param("varian_fid/4T_STEAM_TE4ms_human.fid", plant_procpar, id="Varian"),
]  # fmt: skip


def copied(source, folder):
    """Copy a file, or a pair of files, under a name that names a person."""
    folder.mkdir()
    if source.is_dir():
        target = folder / f"{PLANTED}.fid"
        target.mkdir()
        for one in source.iterdir():
            (target / one.name).write_bytes(one.read_bytes())
        return target
    ending = ".nii.gz" if source.name.endswith(".nii.gz") else source.suffix
    for one in source.parent.glob(f"{source.name.removesuffix(ending)}.*"):
        kept = ending if one == source else one.suffix
        (folder / f"{PLANTED}{kept}").write_bytes(one.read_bytes())
    return folder / f"{PLANTED}{ending}"


def assert_silent(folder, *texts):
    """No output holds the planted word, compressed or encoded."""
    word = re.compile(PLANTED.encode(), re.IGNORECASE)
    for path in folder.rglob("*"):
        assert not word.search(path.name.encode()), path
        if not path.is_file():
            continue
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        if path.suffix == ".html":
            for packed in re.findall(rb"base64,([A-Za-z0-9+/=]+)", content):
                content += base64.b64decode(packed)
        assert not word.search(content), path
        assert not word.search(content.replace(b"\0", b"")), path
    for text in texts:
        assert not word.search(text.encode())


@pytest.mark.parametrize(("name", "plant"), REAL)
def test_no_output_of_a_real_file_names_the_person(shared_data, tmp_path, capsys, name, plant):
    path = copied(shared_data / name, tmp_path / f"{PLANTED}_folder")
    plant(path)
    out = tmp_path / "out"

    # figures are drawn of the same analysis; those of a sample are looked at below
    told = ["--echo-time", "30ms", "--nucleus", "1H", "--dwell-time", "0.5ms",
            "--frequency", "127.7MHz" if "ge_" not in name else "63.87MHz"]  # fmt: skip
    code = main(["analyze", str(path), "--out", str(out), "--json", str(tmp_path / "r.json"),
                 "--no-figures", "-v", *told])  # fmt: skip

    said = capsys.readouterr()
    assert code == 0, said.err
    assert (out / "report.html").is_file()
    assert_silent(out, said.out, said.err, (tmp_path / "r.json").read_text())


@pytest.mark.parametrize("name", ["reference_case_te30.nii.gz", "grid_te144.nii.gz"])
def test_no_output_of_a_sample_names_the_person(tmp_path, capsys, name):
    path = copied(SAMPLES / name, tmp_path / f"{PLANTED}_folder")
    plant_nifti(path)
    out = tmp_path / "out"

    code = main(["analyze", str(path), "--out", str(out), "-vv"])

    said = capsys.readouterr()
    assert code == 0, said.err
    assert_silent(out, said.out.replace(str(out), ""), said.err.replace(str(out), ""))


def test_no_output_of_a_dataset_names_more_than_its_labels(tmp_path, capsys):
    root = bids_dataset.dataset(tmp_path / f"{PLANTED}_raw", 1, n_samples=512)
    path = root / "sub-01" / "mrs" / "sub-01_svs.nii.gz"
    plant_nifti(path)
    sidecar = json.loads(path.with_name("sub-01_svs.json").read_text())
    sidecar |= dict.fromkeys(("PatientName", "InstitutionName", "ProtocolName"), PLANTED)
    path.with_name("sub-01_svs.json").write_text(json.dumps(sidecar))
    grid = root / "sub-01" / "mrs" / "sub-01_mrsi.nii.gz"
    bids_dataset.add(root, "sub-01", bids_dataset.made("mixed", 1, grid=(2, 1, 1), n_samples=512),
                     suffix="mrsi")  # fmt: skip
    plant_nifti(grid)
    out = tmp_path / "out"

    code = main(["bids", str(root), str(out), "participant", "--deidentify", "-v"])

    said = capsys.readouterr()
    assert code == 0, said.err
    assert_silent(out, said.out, said.err)
    assert not re.search(rb"sub-01", b"".join(p.read_bytes() for p in out.rglob("*.json")))


def test_an_analysis_from_memory_names_nobody(tmp_path):
    from mrs_necrosis import read
    from mrs_necrosis.report.files import write

    path = tmp_path / f"{PLANTED}.nii.gz"
    from mrs_necrosis import write_nifti_mrs

    write_nifti_mrs(path, bids_dataset.made("mixed", 1, n_samples=512))
    plant_nifti(path)

    write(analyze(read(path)), tmp_path / "out")

    assert_silent(tmp_path / "out")
