"""Spectra whose echo time nobody knows are fitted at the one that they look most like."""

from dataclasses import replace

import numpy as np
import pytest

from mrs_necrosis import Spectra, analyze, ratio
from mrs_necrosis.fitting import default_model, fit, suited_model
from mrs_necrosis.simulation import phantom


def not_told(spectra, **told):
    """Return spectra whose echo time and sequence no file tells."""
    unknown = {"echo_time_s": None, "echo_times_s": None, "sequence": None}
    return replace(spectra, acquisition=replace(spectra.acquisition, **(unknown | told)))


@pytest.mark.parametrize(
    ("echo_time_s", "looks_like"),
    [(0.025, 30), (0.03, 30), (0.068, 70), (0.144, 140), (0.27, 280)],
)
def test_ratios_are_those_of_the_right_echo_time(echo_time_s, looks_like):
    made = phantom(
        "radiation_necrosis", np.random.default_rng(2), grid=(24, 1, 1), snr=40.0,
        echo_time_s=echo_time_s, lipid_shape="asymmetric",
    )  # fmt: skip

    found = fit(not_told(made.spectra))

    assert any(f"as in a PRESS of {looks_like} ms" in note for note in found.notes)
    assert found.spectra.acquisition.echo_time_s is None
    for name, within in (("Cho/Cr", 0.06), ("NAA/Cr", 0.08), ("LL/Cr", 0.2)):
        one, true = ratio(found.areas, *name.split("/")), made.truth.ratio(*name.split("/"))
        assert np.median(one.value / true) == pytest.approx(1, abs=within)
        assert one.interval(0.95).contains(np.broadcast_to(true, (24, 1, 1))).mean() > 0.7


def test_the_sequence_that_is_known_is_taken():
    made = phantom("normal_white_matter", np.random.default_rng(3), snr=40.0, sequence="STEAM")

    model = suited_model(not_told(made.spectra, sequence="STEAM"))

    assert "as in a STEAM of" in model.assumed[0]


def test_what_is_known_or_asked_for_is_not_guessed():
    made = phantom("normal_white_matter", np.random.default_rng(4), snr=40.0)

    assert suited_model(made.spectra) == default_model(made.spectra.acquisition)
    peaks = suited_model(not_told(made.spectra), kind="peaks")
    assert (peaks.name, peaks.assumed) == ("peaks", ())


def test_voxels_without_a_spectrum_say_nothing_and_their_order_does_not_matter():
    made = phantom("normal_white_matter", np.random.default_rng(5), grid=(20, 1, 1), snr=30.0)
    fid = made.spectra.fid.copy()
    fid[3], fid[7] = np.nan, 0.0
    spectra = Spectra(fid=fid, acquisition=not_told(made.spectra).acquisition)

    model = suited_model(spectra)

    assert "of 30 ms" in model.assumed[0]
    assert suited_model(replace(spectra, fid=fid[::-1], mask=None)) == model


def test_without_any_spectrum_there_is_nothing_to_guess_from():
    made = phantom("normal_white_matter", np.random.default_rng(6))
    spectra = not_told(made.spectra)

    model = suited_model(Spectra(fid=np.zeros_like(spectra.fid), acquisition=spectra.acquisition))

    assert (model.name, model.assumed) == ("peaks", ())


def test_an_analysis_says_what_it_assumed_and_goes_on_not_knowing():
    made = phantom("recurrent_gbm_high_lipid", np.random.default_rng(7), echo_time_s=0.144, snr=30)
    data = replace(made.data, acquisition=not_told(made.spectra).acquisition)

    narrow = analyze(data, fit_range_ppm=(0.5, 4.0))

    for found in (analyze(data), narrow, analyze(data, model="metabolites")):
        assert sum("The echo time is unknown: coupled" in note for note in found.fit.notes) == 1
        assert found.echo_time_s is None
        assert any("The echo time is unknown" in text for text in found.assessment.caveats)
    assert narrow.fit.model.range_ppm == (0.5, 4.0)
