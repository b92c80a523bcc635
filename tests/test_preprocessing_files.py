"""Preprocessing on real scanner files: each spectrum upright, its peaks where they belong."""

from dataclasses import replace

import numpy as np
import pytest

from mrs_necrosis import analyze
from mrs_necrosis.assessment import Favors
from mrs_necrosis.constants import PEAK_PPM
from mrs_necrosis.io import read
from mrs_necrosis.preprocessing import preprocess

PHILIPS = "philips_sdat"
BRAINS = {
    "3 T SDAT": (
        f"{PHILIPS}/brain_3T_press30/philips_spar_sdat_WS.SDAT",
        f"{PHILIPS}/brain_3T_press30/philips_spar_sdat_W.SDAT",
    ),
    "3 T SDAT, strong residual water": (
        f"{PHILIPS}/osprey_press35/sub-01_PRESS_35_act.sdat",
        f"{PHILIPS}/osprey_press35/sub-01_PRESS_35_ref.sdat",
    ),
    "3 T SDAT, another": (
        f"{PHILIPS}/osprey_press30_mm/sub-02_ses-01_PRESS_raw-act_noID.SDAT",
        f"{PHILIPS}/osprey_press30_mm/sub-02_ses-01_PRESS_raw-ref_noID.SDAT",
    ),
    "7 T NIfTI, 4 coils, 16 averages": (
        "nifti_mrs/brain_7T_steam11/metab_raw.nii.gz",
        "nifti_mrs/brain_7T_steam11/wref_raw.nii.gz",
    ),
    "3 T IMA, huge residual water": ("siemens_ima/brain_3T_SVS_30.IMA", None),
    "3 T RAW": ("lcmodel/brain_3T_press30/data.raw", None),
    "4 T Varian": ("varian_fid/4T_STEAM_TE4ms_human.fid", None),
    "challenge 1": (
        "ismrm_challenge/jmrui/dataset1_WS.txt",
        "ismrm_challenge/jmrui/dataset1_nWS.txt",
    ),
    "challenge 3, broad lines": ("ismrm_challenge/jmrui/dataset3_WS.txt", None),
}  # fmt: skip


def preprocessed(shared_data, path, water=None, **switches):
    acquired = read(shared_data / path)
    if water is not None:
        acquired = replace(acquired, water=read(shared_data / water))
    return preprocess(acquired, **switches)


def step(spectra, name):
    return next(step for step in spectra.history if step.name == name)


@pytest.mark.parametrize("brain", BRAINS)
def test_a_brain_is_upright_with_its_singlets_in_place(shared_data, brain):
    spectra = preprocessed(shared_data, *BRAINS[brain])

    spectrum = spectra.spectrum[0, 0, 0]
    for peak in ("NAA", "Cr", "Cho"):
        near = np.flatnonzero(np.abs(spectra.ppm - PEAK_PPM[peak]) < 0.06)
        # above a straight line under the peak, which takes most of the baseline away
        ends = near[[0, -1]]
        line = np.interp(spectra.ppm[near], spectra.ppm[ends], spectrum[ends].real)
        line = line + 1j * np.interp(spectra.ppm[near], spectra.ppm[ends], spectrum[ends].imag)
        above = spectrum[near] - line
        assert spectra.ppm[near[above.real.argmax()]] == pytest.approx(PEAK_PPM[peak], abs=0.025)
        assert above.real.max() > 0.75 * np.abs(above).max()
    assert step(spectra, "reference_shift").parameters["confidence"] > 0.9


@pytest.mark.parametrize("brain", BRAINS)
def test_a_brain_without_its_first_3_ms_is_found_to_be_so(shared_data, brain):
    whole = read(shared_data / BRAINS[brain][0])
    missing = round(3e-3 / whole.acquisition.dwell_time_s)
    cut = replace(whole, fid=whole.fid[:, :, :, missing:])

    begin_ms = [step(preprocess(one), "phase").parameters["begin_time_ms"] for one in (whole, cut)]

    missing_ms = 1e3 * missing * whole.acquisition.dwell_time_s
    assert begin_ms == pytest.approx([0.0, missing_ms], abs=0.3)


def test_a_reference_that_is_no_unsuppressed_water_is_left_aside(shared_data):
    folder = f"{PHILIPS}/phantom_3T"

    spectra = preprocessed(shared_data, f"{folder}/svs_30_WS.SDAT", f"{folder}/svs_30_ref.SDAT")

    assert not step(spectra, "correct_eddy_currents").parameters["applied"]
    assert spectra.water_area is None


WATER_ALONE = (
    f"{PHILIPS}/brain_3T_press30/philips_spar_sdat_W.SDAT",
    f"{PHILIPS}/osprey_press35/sub-01_PRESS_35_ref.sdat",
    f"{PHILIPS}/osprey_press30_mm/sub-02_ses-01_PRESS_raw-ref_noID.SDAT",
    "siemens_twix/spinal_cord_7T_sLASER_shortTE_noWS.dat",
    "nifti_mrs/brain_7T_steam11/wref_raw.nii.gz",
    "tarquin_dpt/brain_3T_press30/w.dpt",
    "ismrm_challenge/jmrui/dataset2_nWS.txt",
    "ismrm_challenge/jmrui/dataset26_nWS.txt",
)


@pytest.mark.filterwarnings("ignore:the chemical shift of this spectrum is uncertain")
@pytest.mark.parametrize("path", WATER_ALONE)
def test_a_water_reference_given_as_data_gets_no_label(shared_data, path):
    found = analyze(shared_data / path).assessment

    gate = next(one for one in found.gates if one.name == "unsuppressed-water")
    assert found.favors == Favors.NOT_EVALUABLE
    assert gate.sentence.startswith("This looks like an unsuppressed water signal: its line is")


@pytest.mark.parametrize(
    "path",
    [
        *(path for path, _ in BRAINS.values()),
        "siemens_ima/spinal_cord_7T_sLASER_shortTE_WS.dcm",
        "siemens_rda/phantom_1p5T_example.rda",
        "ge_pfile/P1751_1.5T_030_2000.7",
        "ge_pfile/P1904_1.5T_030_2000.7",
        "dicom_mrs/philips_1p5T_phantom_shortTE.dcm",
    ],
)
def test_suppressed_water_however_strong_is_not_called_unsuppressed(shared_data, path):
    assert preprocessed(shared_data, path).water_ratio.item() < 100


def test_the_water_of_a_p_file_is_unsuppressed_and_its_metabolites_are_not(shared_data):
    water = read(shared_data / "ge_pfile/P1834_1.5T_030_2000.7").water

    assert preprocess(water).water_ratio.item() > 300


@pytest.mark.parametrize(
    "path",
    [
        "varian_fid/3T_MM_human_STEAM_CMRR.fid",
        "jmrui/20240519_residual.mrui",
        f"{PHILIPS}/osprey_press30_mm/sub-02_ses-01_PRESS-Inverted_TI-600_raw-act_noID.SDAT",
    ],
)
def test_macromolecules_alone_get_no_label(shared_data, path):
    found = analyze(shared_data / path).assessment

    gate = next(one for one in found.gates if one.name == "macromolecules")
    assert found.favors == Favors.NOT_EVALUABLE
    assert gate.sentence.startswith("This looks like an acquisition with nulled metabolites")


def test_a_brain_with_its_macromolecules_is_not_called_nulled(shared_data):
    found = analyze(shared_data / BRAINS["7 T NIfTI, 4 coils, 16 averages"][0]).assessment

    assert next(one for one in found.gates if one.name == "macromolecules").is_open


@pytest.mark.filterwarnings("ignore:the chemical shift of this spectrum is uncertain")
def test_an_uncertain_chemical_shift_closes_a_gate(shared_data):
    # glutamine alone is none of what the reference knows
    found = analyze(shared_data / "ismrm_challenge/basis_jmrui/Gln.txt").assessment

    gate = next(one for one in found.gates if one.name == "reference")
    assert not gate.is_open
    assert "Phase and chemical shift are uncertain (confidence 0." in gate.sentence


@pytest.mark.parametrize(("name", "shift_ppm"), [("1", -0.05), ("broken", 0.0)])
def test_a_line_as_tall_as_creatine_beside_choline_is_not_called_creatine(
    shared_data, name, shift_ppm
):
    # taurine, which at 1.5 T looks like one line at 3.34 ppm; the two files are of one kind
    spectra = preprocessed(shared_data, f"tarquin_dpt/simulated_tumour_1p5T/{name}.dpt")

    found = step(spectra, "reference_shift").parameters
    assert found["shift_ppm"] == pytest.approx(shift_ppm, abs=0.025)
    assert found["confidence"] > 0.9
    assert "sI" in found["used"]


@pytest.mark.parametrize("name", ["P1751", "P1806", "P1820", "P1834", "P1851"])
def test_creatine_references_a_phantom_whatever_its_acetate(shared_data, name):
    spectra = preprocessed(shared_data, f"ge_pfile/{name}_1.5T_030_2000.7")

    # its water is at room temperature, so the axis was off by about 0.15 ppm
    assert step(spectra, "reference_shift").parameters["shift_ppm"] == pytest.approx(
        -0.16, abs=0.03
    )
    assert "Cr" in step(spectra, "reference_shift").parameters["used"]
    assert spectra.water_area is not None


def test_acetate_alone_is_not_taken_for_naa(shared_data):
    spectra = preprocessed(shared_data, "ge_pfile/P1904_1.5T_030_2000.7")

    assert step(spectra, "reference_shift").parameters["used"] == ["acetate"]
    assert step(spectra, "reject_averages").parameters["of"] == 16


@pytest.mark.parametrize(
    "brain", ["3 T SDAT, strong residual water", "3 T IMA, huge residual water"]
)
def test_huge_residual_water_is_removed(shared_data, brain):
    path, _ = BRAINS[brain]
    kept = preprocessed(shared_data, path, remove_water=False)

    removed = preprocessed(shared_data, path)

    def highest(spectra):
        return np.abs(spectra.spectrum[0, 0, 0, np.abs(spectra.ppm - 4.65) < 0.3]).max()

    assert highest(removed) < 0.05 * highest(kept)
