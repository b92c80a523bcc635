"""A grid from spectra to files, as a user has it."""

import json
import re
import time
from dataclasses import replace

import jsonschema
import nibabel
import numpy as np
import pytest

from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier import Context, assess_grid
from mrs_necrosis.cli import main
from mrs_necrosis.criteria import load_criteria
from mrs_necrosis.errors import FormatError, SignalError
from mrs_necrosis.io import write_nifti_mrs
from mrs_necrosis.pipeline import analyze
from mrs_necrosis.quality import FitStatus
from mrs_necrosis.report.document import schema
from mrs_necrosis.report.table import to_tsv
from mrs_necrosis.simulation.phantoms import phantom

SHAPE = (6, 6, 1)
AFFINE = np.diag([-10.0, 10.0, 15.0, 1.0])
AFFINE[:3, 3] = (25.0, -25.0, 10.0)
LESION = np.zeros(SHAPE)
LESION[1:3, 2:4] = 1


@pytest.fixture(scope="module")
def spectra():
    """Normal tissue with a tumour of four voxels; two voxels are spoiled."""
    normal, tumour = (
        phantom(name, np.random.default_rng(i), grid=SHAPE, snr=40, echo_time_s=0.135,
                affine=AFFINE).spectra
        for i, name in enumerate(("normal_white_matter", "metastasis_recurrence"))
    )  # fmt: skip
    fid = np.where(LESION[..., None] > 0, tumour.fid, normal.fid)
    fid[5, 5, 0] = np.nan
    fid[0, 0, 0] = np.nan  # also the first one, which must not be the one that is shown
    return replace(normal, fid=fid)


@pytest.fixture(scope="module")
def written(spectra, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    source = folder / "grid.nii.gz"
    write_nifti_mrs(source, spectra)
    mask = folder / "lesion.nii.gz"
    nibabel.save(nibabel.Nifti1Image(LESION.astype(np.uint8), AFFINE), mask)
    out = folder / "out"
    return analyzed(folder, out), out


def analyzed(folder, out):
    source, mask = str(folder / "grid.nii.gz"), str(folder / "lesion.nii.gz")
    return main([
        "analyze", source, "--lesion-mask", mask, "--point-spread", "box", "--anatomy", mask,
        "--out", str(out), "--quiet",
    ])  # fmt: skip


def test_no_file_of_a_grid_knows_the_time(written, spectra, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1e9)  # the year 2001, for gzip too
    _, out = written

    write_nifti_mrs(tmp_path / "grid.nii.gz", spectra)
    assert analyzed(out.parent, tmp_path / "out") == 0

    source = (out.parent / "grid.nii.gz").read_bytes()
    assert (tmp_path / "grid.nii.gz").read_bytes() == source
    names = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    assert len(names) > 50
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes(), name


def test_the_command_writes_maps_page_and_pictures_of_a_grid(written):
    code, out = written

    assert code == 0
    assert {"result.json", "report.html", "grid.html", "label.png"} <= {
        p.name for p in out.iterdir()
    }
    document = json.loads((out / "result.json").read_text())
    jsonschema.validate(document, schema())
    lesion = document["grid_assessment"]["lesion"]
    assert lesion["voxels"] == pytest.approx(4)
    assert document["grid_assessment"]["favors"][5][5][0] == "not-evaluable"
    assert sum(document["grid_assessment"]["counts"].values()) == 36
    label = nibabel.load(out / "maps" / "grid_desc-label_mrsmap.nii.gz")
    np.testing.assert_allclose(label.affine, AFFINE, atol=1e-4)
    area = nibabel.load(out / "maps" / "grid_met-Cho_desc-area_mrsmap.nii.gz").get_fdata()
    assert np.isnan(area[5, 5, 0])
    assert (np.isfinite(area).sum()) == 34
    sidecar = json.loads((out / "maps" / "grid_met-ChoCr_desc-ratio_mrsmap.json").read_text())
    assert sidecar["Provenance"]["source"]["sha256"]
    report = (out / "report.html").read_text()
    assert report.count('src="data:image/png;base64,') >= 1
    assert re.search(r"<h2>Spectrum of voxel \d, \d, 0</h2>", report)
    assert "grid.nii.gz" not in json.dumps(sidecar)  # a file name may name a person


def test_one_criterion_alone_counts_as_one_for_a_grid(spectra):
    one = next(each for each in load_criteria() if each.enabled)

    alone, listed = (analyze(spectra, criteria=given) for given in (one, [one]))

    assert alone.provenance["parameters"] == listed.provenance["parameters"]
    assert [each.name for each in alone.grid_result.maps] == [
        each.name for each in listed.grid_result.maps
    ]


def test_the_map_of_labels_carries_its_criteria_and_checks(written):
    sidecar = json.loads((written[1] / "maps" / "grid_desc-label_mrsmap.json").read_text())

    assert "Plotkin et al. 2004" in sidecar["Criteria"]["Cho/Cr > 1.11 (Plotkin 2004)"]
    assert sidecar["Checks"]["snr"] == {"Threshold": "SNR >= 5", "WithholdsLabel": True}
    assert sidecar["ChecksMap"] == "desc-gates"


def test_the_table_of_a_grid_says_of_each_voxel_what_the_maps_say(written):
    _, out = written
    label = nibabel.load(out / "maps" / "grid_desc-label_mrsmap.nii.gz").get_fdata()
    key = json.loads((out / "maps" / "grid_desc-label_mrsmap.json").read_text())["Key"]

    lines = [line.split("\t") for line in (out / "ratios.tsv").read_text().splitlines()]

    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    for row in rows:
        assert row["verdict"] == key[str(int(label[int(row["x"]), int(row["y"]), int(row["z"])]))]
        assert "inf" not in {row["ci_low"], row["ci_high"]} | {row["ci_low"][1:]}
    tumour = next(r for r in rows if (r["x"], r["y"], r["ratio"]) == ("1", "2", "Cho/NAA"))
    assert "plotkin2004_cho_naa: recurrence-favoring" in tumour["criterion"]
    assert all(row["criterion"] == "n/a" for row in rows if (row["x"], row["y"]) == ("5", "5"))


def test_the_table_marks_lipid_that_is_not_that_of_the_tissue(spectra):
    scalp = np.zeros(SHAPE, dtype=bool)
    scalp[0, 1] = True
    marked = replace(spectra, scalp_lipid=scalp, lipids_suppressed=True)

    lines = [line.split("\t") for line in to_tsv([analyze(marked)]).splitlines()]

    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    assert ("0", "1", "LL/Cr") in {(row["x"], row["y"], row["ratio"]) for row in rows}
    for row in rows:
        fatty = row["ratio"].startswith(("LL", "Lac"))
        assert ("lipids-suppressed" in row["qc"]) == fatty
        assert ("scalp-lipid" in row["qc"]) == (fatty and (row["x"], row["y"]) == ("0", "1"))


@pytest.mark.parametrize("suppressed", [False, True])
def test_lipid_that_is_not_that_of_the_tissue_is_no_evidence(spectra, suppressed):
    scalp = np.zeros(SHAPE, dtype=bool)
    scalp[0, 1] = True

    found = analyze(replace(spectra, scalp_lipid=scalp, lipids_suppressed=suppressed))

    left_out = found.grid_assessment.closed["lipid-contamination"]
    assert left_out[0, 1, 0]
    assert left_out.all() == suppressed


def test_spoiled_voxels_stop_nothing(spectra):
    found = analyze(spectra, lesion_mask=(LESION, AFFINE), point_spread="box")

    assert found.fit.status[5, 5, 0] == FitStatus.NOT_FINITE
    assert (found.fit.status <= FitStatus.AT_BOUND).sum() >= 33
    assert found.grid_assessment.codes[5, 5, 0] == 3
    assert found.grid_result.lesion.n_voxels == pytest.approx(4)
    assert found.shown_voxel == found.grid_result.lesion.worst_voxel
    assert found.grid_result.lesion.favors in {Favors.RECURRENCE, Favors.INDETERMINATE}


def test_the_own_normal_tissue_reaches_the_evidence(spectra):
    found = analyze(spectra)

    assert not found.grid_result.own.index.is_refused
    reference = found.grid_result.own.reference
    assert not reference.is_refused
    beside = assess_grid(
        found.areas,
        quality=found.quality,
        acquisition=found.acquisition,
        context=Context(contralateral=reference.areas),
    )
    np.testing.assert_array_equal(found.grid_assessment.codes, beside.codes)
    np.testing.assert_array_equal(
        found.grid_assessment.closed["near-normal"], beside.closed["near-normal"]
    )


def test_masks_without_a_position_or_of_normal_tissue_beside_one_voxel_are_refused(
    spectra, tmp_path
):
    one = replace(spectra, fid=spectra.fid[:1, :1], mask=None)
    with pytest.raises(SignalError, match=r"belongs to a grid; .* --contralateral"):
        analyze(one, contralateral_mask=(LESION, AFFINE))
    with pytest.raises(SignalError, match="a peak table does not say where it is from"):
        analyze({"Cho": 1.0, "Cr": 1.0, "NAA": 1.0}, anatomy=(LESION, AFFINE))
    with pytest.raises(SignalError, match="need the position of the spectra"):
        analyze(replace(spectra, affine=None), anatomy=(LESION, AFFINE))
    path = tmp_path / "series.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 3), np.uint8), np.eye(4)), path)
    with pytest.raises(FormatError, match="more than three axes"):
        analyze(spectra, anatomy=path)


def test_a_grid_is_not_written_over_without_being_told(written, capsys):
    _, out = written
    before = (out / "maps" / "grid_desc-label_mrsmap.json").read_bytes()
    source = out.parent / "grid.nii.gz"

    code = main(["analyze", str(source), "--out", str(out), "--quiet"])

    assert code != 0
    assert "exists already" in capsys.readouterr().err
    assert (out / "maps" / "grid_desc-label_mrsmap.json").read_bytes() == before
    told = ["--quiet", "--overwrite", "--no-figures"]
    assert main(["analyze", str(source), "--out", str(out), *told]) == 0


def test_an_interrupted_analysis_goes_on_from_its_folder(spectra, tmp_path, monkeypatch):
    monkeypatch.setattr("mrs_necrosis.pipeline._LONG_WORK", 1)
    monkeypatch.setattr("mrs_necrosis.fitting.engine.PIECE", 12)
    out = tmp_path / "out"

    def stop(done, _):
        if done >= 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyze(spectra, out=out, progress=stop)
    kept = sorted((out / ".unfinished").iterdir())
    times = [path.stat().st_mtime_ns for path in kept]
    seen = []
    analyze(spectra, out=out, figures=False, progress=lambda done, _: seen.append(
        [path.stat().st_mtime_ns for path in kept]))  # fmt: skip

    assert len(kept) == 2
    assert seen[-1] == times  # they were taken, not made again
    assert not (out / ".unfinished").exists()
    assert (out / "result.json").exists()
