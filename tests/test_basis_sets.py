"""Basis sets given by the user: reference, phase, scale and dwell time are put right."""

import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from basis_files import macromolecules

from mrs_necrosis import Acquisition, Spectra, read
from mrs_necrosis.errors import FitError
from mrs_necrosis.fitting import default_model, fit
from mrs_necrosis.fitting.basis import model_from_basis
from mrs_necrosis.fitting.matching import compare
from mrs_necrosis.io.basis import read_basis

ACQUISITION = Acquisition(
    spectrometer_frequency_mhz=123.2,
    dwell_time_s=5e-4,
    echo_time_s=0.03,
    sequence="PRESS",
    nucleus="1H",
)
NAMES = ("NAA", "NAAG", "Cr", "PCr", "GPC", "PCh", "Ins", "Glu", "Gln", "Lac")


def own_set(
    *, dwell_time_s=5e-4, offset_ppm=0.0, phase=0.0, scale=1.0, width_hz=0.0, tsp=0.0, mhz=123.2
):
    """Return the library's own metabolites as a stranger's basis set, one unit a proton."""
    table = {c.name: c for c in default_model(ACQUISITION, kind="metabolites").components}
    protons = {"NAA": 3, "NAAG": 3, "Cr": 3, "PCr": 3, "GPC": 9, "PCh": 9}
    protons |= {"mI": 4, "Glu": 2, "Gln": 2, "Lac": 3}
    t = np.arange(round(0.6 / dwell_time_s)) * dwell_time_s
    fids = []
    for name in NAMES:
        name = "mI" if name == "Ins" else name
        fid = protons[name] * table[name].samples(t, mhz, 4.65 - offset_ppm)
        fid = fid + tsp * np.exp(-2j * np.pi * 4.65 * mhz * t - np.pi * 0.5 * t)
        fids.append(scale * np.exp(1j * phase - np.pi * width_hz * t) * fid)
    return SimpleNamespace(
        names=NAMES,
        fids=np.array(fids),
        spectrometer_frequency_mhz=mhz,
        dwell_time_s=dwell_time_s,
        echo_time_s=0.03,
        reference_ppm=4.65,
    )


def distance(model, name, *, width_hz=0.0):
    """Return how far a component lies from the library's, over its norm."""
    own = next(c for c in default_model(ACQUISITION).components if c.name == name)
    made = next(c for c in model.components if c.name == name)
    t = np.arange(1000) * ACQUISITION.dwell_time_s
    expected = own.samples(t, 123.2, 4.65) * np.exp(-np.pi * width_hz * t)
    found = made.samples(t, 123.2, 4.65)
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("name", ["NAA", "mI", "Glu", "Lac"])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"scale": 0.0137},
        {"phase": 2.5},
        {"dwell_time_s": 2.5e-4},
        {"dwell_time_s": 3.7e-4},
        {"offset_ppm": -0.04},
        {"tsp": 2.0},
    ],
    ids=str,
)
def test_the_librarys_own_lines_come_back_whatever_was_done_to_them(given, name):
    model = model_from_basis(own_set(**given), ACQUISITION)

    # an offset is found to 0.02 Hz, which turns the end of half a second by 0.06 radians
    assert distance(model, name) < (0.06 if "offset_ppm" in given else 0.01)


def test_what_was_corrected_is_noted():
    strange = own_set(offset_ppm=-0.04, phase=2.5, width_hz=2.0, tsp=3.0)

    source = model_from_basis(strange, ACQUISITION).source

    assert "reference was -0.040 ppm off" in source
    assert "phase was +143 degrees" in source
    assert "2.0 Hz of their own" in source
    assert "0 ppm removed from 10" in source


def test_a_line_that_is_broader_comes_off_the_linewidth():
    plain = model_from_basis(own_set(), ACQUISITION)
    broad = model_from_basis(own_set(width_hz=2.0), ACQUISITION)

    lower = [
        next(p.lower for p in model.parameters if p.name == "lorentz_hz")
        for model in (plain, broad)
    ]
    assert lower[0] - lower[1] == pytest.approx(2.0)
    assert distance(broad, "Cr", width_hz=2.0) < 0.01


def test_a_mirrored_set_is_refused():
    mirrored = own_set()
    mirrored.fids = mirrored.fids.conj()

    with pytest.raises(FitError, match="may be mirrored"):
        model_from_basis(mirrored, ACQUISITION)


def test_a_set_of_another_field_is_refused():
    with pytest.raises(FitError, match=r"is for 127\.70 MHz, the data are of 123\.20"):
        model_from_basis(own_set(mhz=127.7), ACQUISITION)


def test_a_set_without_singlets_is_refused():
    few = own_set()
    few.names, few.fids = ("Glu",), few.fids[7:8]

    with pytest.raises(FitError, match="must hold one of NAA"):
        model_from_basis(few, ACQUISITION)


def alone(name, fid):
    return SimpleNamespace(
        names=(name,), fids=fid[None], spectrometer_frequency_mhz=123.2, dwell_time_s=5e-4,
        echo_time_s=None, reference_ppm=4.65,
    )  # fmt: skip


def test_a_measured_macromolecule_spectrum_replaces_the_models_own():
    with_mm = own_set()
    with_mm.names, with_mm.fids = (*NAMES, "Mac"), np.vstack([with_mm.fids, macromolecules()])

    model = model_from_basis(with_mm, ACQUISITION, others="drop", lipids=False)

    measured = next(c for c in model.components if c.name == "MM")
    assert measured.prior_sd is None
    assert set(model.names) == {*NAMES, "MM"} - {"Ins"} | {"mI"}


def test_a_lesions_lipids_stay_beside_measured_macromolecules():
    own = default_model(ACQUISITION).names

    model = model_from_basis(alone("MM", macromolecules()), ACQUISITION)

    assert [n for n in model.names if not n.startswith("MM")] == [
        n for n in own if not n.startswith("MM")
    ]
    assert [n for n in model.names if n.startswith("MM")] == ["MM"]
    assert model.name == "metabolites"
    assert "Govindaraju" in model.source
    assert model.source.endswith("basis set given by the user: 1 spectrum of MM")
    assert model.assumed == ("A basis set was given: 1 spectrum of MM.",)


def test_an_unknown_echo_time_is_the_basis_sets():
    given = alone("MM", macromolecules())
    given.echo_time_s = 0.03
    unknown = replace(ACQUISITION, echo_time_s=None)

    of_set = model_from_basis(given, unknown)

    assert of_set.components == model_from_basis(given, ACQUISITION).components
    assert of_set.assumed[-1].endswith(
        "its echo time of 30 ms is taken for the data's, which is unknown."
    )


def test_macromolecules_of_another_echo_time_do_not_speak_of_coupled_spins():
    given = alone("MM", macromolecules())
    given.echo_time_s = 0.02

    said = model_from_basis(given, ACQUISITION).assumed[-1]

    assert "its echo time is 20 ms, the data's 30 ms: their sizes beside each other" in said
    assert "coupled" not in said


def test_macromolecules_alone_are_put_right():
    plain = model_from_basis(alone("MM", macromolecules()), ACQUISITION)
    strange = macromolecules(offset_ppm=-0.06, phase=2.0)
    turned = model_from_basis(alone("Mac", strange), ACQUISITION)

    first, second = (
        next(c for c in model.components if c.name == "MM").fid for model in (plain, turned)
    )
    overlap = np.vdot(first, second) / np.vdot(first, first)
    assert overlap.real == pytest.approx(1, abs=0.02)
    assert overlap.imag == pytest.approx(0, abs=0.2)
    assert "0.06" in turned.source
    assert "degrees" in turned.source


@pytest.mark.parametrize(
    "fid",
    [macromolecules().conj(), own_set().fids[7]],
    ids=["mirrored", "glutamate"],
)
def test_what_is_no_macromolecule_spectrum_is_refused(fid):
    with pytest.raises(FitError, match="do not look like those of brain"):
        model_from_basis(alone("MM", fid), ACQUISITION)


def test_a_sets_phase_is_taken_out_of_its_macromolecules_too():
    made = []
    for phase in (0.0, 2.5):
        given = own_set(phase=phase)
        given.names = (*NAMES, "MM")
        given.fids = np.vstack([given.fids, macromolecules(phase=phase)])
        model = model_from_basis(given, ACQUISITION)
        made.append(next(c for c in model.components if c.name == "MM").fid)

    np.testing.assert_allclose(made[1], made[0], atol=0.03)


def test_single_lines_of_macromolecules_and_lipids_are_the_librarys_own():
    given = own_set()
    given.names = (*NAMES, "MM09", "Lip13a", "MM12")
    given.fids = np.vstack([given.fids, given.fids[:3]])

    model = model_from_basis(given, ACQUISITION)

    assert model.names == model_from_basis(own_set(), ACQUISITION).names
    assert distance(model, "MM09") == 0
    assert "MM09, Lip13a, MM12 left out" in model.source


def test_macromolecules_that_have_died_away_do_not_shorten_the_data():
    long, short = (
        model_from_basis(alone("MM", macromolecules(n_samples=n)), ACQUISITION)
        for n in (1200, 256)
    )

    t = np.arange(1100) * ACQUISITION.dwell_time_s
    rng = np.random.default_rng(1)
    fid = sum(
        c.samples(t, 123.2, 4.65) for c in long.components if c.name in {"NAA", "Cr", "PCr", "PCh"}
    )
    fid = fid * np.exp(-15 * t) + 0.01 * (rng.normal(size=1100) + 1j * rng.normal(size=1100))
    spectra = Spectra(fid=fid.reshape(1, 1, 1, -1), acquisition=ACQUISITION)
    first, second = (fit(spectra, model).areas for model in (long, short))
    # what is left of the shorter at its end: 6e-9 of its maximum
    np.testing.assert_allclose(second.values, first.values, rtol=1e-4, atol=1e-5)


def test_noise_behind_macromolecules_does_not_pass_for_signal():
    rng = np.random.default_rng(2)
    fid = macromolecules(n_samples=512)
    noise = 0.03 * np.abs(fid).max() * (rng.normal(size=512) + 1j * rng.normal(size=512))

    model = model_from_basis(alone("MMexp", fid + noise), ACQUISITION)

    assert model.assumed == ("A basis set was given: 1 spectrum of MM.",)


def cut(given, n):
    given.fids = given.fids[:, :n]
    return given


def test_a_set_that_ends_with_signal_left_says_so_or_is_refused():
    model = model_from_basis(cut(own_set(), 512), ACQUISITION)

    assert "its FIDs end after 256 ms with signal left" in model.assumed[-1]
    assert "with signal left" not in model_from_basis(own_set(), ACQUISITION).assumed[-1]
    with pytest.raises(
        FitError, match=r"end after 100 ms with signal left; take a set of 1\d\d ms"
    ):
        model_from_basis(cut(own_set(), 200), ACQUISITION)
    with pytest.raises(FitError, match=r"FIDs last 10\.0 ms; they must last 24 ms or more"):
        model_from_basis(cut(own_set(), 20), ACQUISITION)


def test_a_set_of_too_narrow_a_spectrum_is_refused():
    with pytest.raises(FitError, match="spectral width is 909 Hz; it must be 986 Hz or more"):
        model_from_basis(own_set(dwell_time_s=1.1e-3), ACQUISITION)


def test_one_metabolite_by_two_names_is_refused():
    given = own_set()
    given.names = (*NAMES, "mI")
    given.fids = np.vstack([given.fids, given.fids[:1]])

    with pytest.raises(FitError, match="holds one metabolite by several names: Ins, mI"):
        model_from_basis(given, ACQUISITION)


@pytest.mark.parametrize("size", [1e-310, 1e300])
def test_amplitudes_that_cannot_be_calculated_with_are_refused(size):
    with pytest.raises(FitError, match="MM holds no signal"):
        model_from_basis(alone("MM", size * macromolecules()), ACQUISITION)


@pytest.mark.parametrize(
    "model",
    [default_model(ACQUISITION, kind="peaks"), default_model(ACQUISITION).without("NAA")],
    ids=["peaks", "no NAA"],
)
def test_a_model_without_metabolites_to_replace_is_refused(model):
    with pytest.raises(ValueError, match="model must be of whole metabolites with NAA"):
        model_from_basis(own_set(), ACQUISITION, model=model)


@pytest.mark.parametrize("fid", [np.zeros(1200), np.full(1200, np.nan)], ids=["zero", "nan"])
def test_an_empty_spectrum_is_refused(fid):
    with pytest.raises(FitError, match="MM holds no signal"):
        model_from_basis(alone("MM", fid.astype(complex)), ACQUISITION)


def test_coupled_lines_of_a_basis_set_are_taken_as_they_are():
    assert "NAAasp" in default_model(ACQUISITION).names
    assert "NAAasp" not in model_from_basis(own_set(), ACQUISITION).names


@pytest.mark.parametrize("name", ["-CrCH2", "CrCH2"])
def test_a_given_correction_of_creatine_does_not_stand_beside_the_models_own(name):
    given = own_set()
    line = 2 * np.exp(-2j * np.pi * 0.72 * 123.2 * np.arange(given.fids.shape[1]) * 5e-4)
    given.names, given.fids = (*NAMES, name), np.vstack([given.fids, line])

    model = model_from_basis(given, ACQUISITION)

    assert [n for n in model.names if "CrCH2" in n] == ["CrCH2"]
    assert distance(model, "CrCH2") == 0


def test_a_given_set_fits_as_the_librarys_own(mixed_spectra):
    spectra = mixed_spectra(1, seed=8)
    own = default_model(spectra.acquisition)

    ours = fit(spectra, own)
    theirs = fit(spectra, model_from_basis(own_set(dwell_time_s=2.5e-4), spectra.acquisition))

    for name in ("NAA", "Cr", "Cho"):
        sd = np.sqrt(ours.areas.covariance[..., ours.areas.index(name), ours.areas.index(name)])
        assert np.abs((ours.areas.value(name) - theirs.areas.value(name)) / sd).max() < 0.2


def test_compare_finds_shift_width_scale_and_phase():
    own = next(c for c in default_model(ACQUISITION).components if c.name == "Cr")
    t = np.arange(1024) * 5e-4
    fid = 0.7 * np.exp(0.5j) * own.samples(t, 123.2, 4.61) * np.exp(-np.pi * 3.0 * t)

    match = compare(fid, own, t, 123.2, 4.65)

    assert match.offset_ppm == pytest.approx(0.04, abs=0.003)
    assert match.linewidth_hz == pytest.approx(3.0, abs=0.3)
    assert match.scale == pytest.approx(0.7, rel=0.02)
    assert match.phase_rad == pytest.approx(0.5, abs=0.1)
    assert match.alike > 0.99


def test_an_lcmodel_set_is_alike_the_librarys_simulation(shared_data):
    given = read_basis(shared_data / "lcmodel" / "brain_3T_press30" / "3t.basis")
    acquisition = replace(ACQUISITION, spectrometer_frequency_mhz=127.786)
    own = {c.name: c for c in default_model(acquisition).components}
    t = np.arange(given.fids.shape[1]) * given.dwell_time_s

    alike = {
        name: compare(fid, own[name], t, given.spectrometer_frequency_mhz, 4.65).alike
        for name, fid in zip(given.names, given.fids, strict=True)
        if name in own
    }

    assert min(alike.values()) > 0.95
    assert len(alike) > 12


def test_the_challenges_ratios_with_its_own_macromolecules(challenge):
    errors = []
    for _, areas, true in challenge:
        naa, cho, cr = (areas.value(name).item() for name in ("NAA", "Cho", "Cr"))
        creatine = true["Cr+PCr"]
        errors.append((
            naa / cr / (true["NAA+NAAG"] / creatine) - 1,
            cho / cr / 3 / (true["GPC+PCho"] / creatine) - 1,
        ))  # fmt: skip

    # LCModel with the same macromolecules: 0.7 and 4.1 %, FSL-MRS 1.1 and 4.4 % (median)
    median = np.median(np.abs(errors), axis=0)
    assert median[0] < 0.02
    assert median[1] < 0.042


def test_the_challenges_macromolecules_beside_the_librarys_metabolites(shared_data):
    folder = shared_data / "ismrm_challenge"
    given = read_basis(folder / "basis_jmrui")
    at = given.names.index("Mac")
    measured = replace(given, names=("Mac",), fids=given.fids[at : at + 1])
    with (folder / "truth_datasets_1-10.csv").open() as file:
        table = {row["metabolite"]: row for row in csv.DictReader(file)}
    of = {"NAA": "NAA+NAAG", "Cho": "GPC+PCho", "mI": "Ins", "Glx": "Glu+Gln"}
    protons = {"NAA": 3, "Cho": 9, "mI": 4, "Glx": 2}
    errors = []

    for k in range(1, 11):
        data = read(folder / "jmrui" / f"dataset{k}_WS.txt")
        acquisition = replace(data.acquisition, echo_time_s=0.03, sequence="PRESS")
        spectra = Spectra(fid=data.fid, acquisition=acquisition)
        areas = fit(spectra, model_from_basis(measured, acquisition)).areas
        true = {name: float(table[name][f"dataset{k}"]) for name in (*of.values(), "Cr+PCr")}
        creatine = areas.value("Cr").item() / (3 * true["Cr+PCr"])
        errors.append(
            [
                areas.value(name).item() / (protons[name] * true[summed]) / creatine - 1
                for name, summed in of.items()
            ]
        )

    # noise alone would give 1.4, 4.0, 4.1 and 2.0 % (median)
    assert (np.median(np.abs(errors), axis=0) < [0.015, 0.042, 0.05, 0.04]).all()
