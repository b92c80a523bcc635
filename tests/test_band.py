"""Regions that a filter has emptied: neither noise nor signal."""

from dataclasses import replace

import numpy as np
import pytest

from mrs_necrosis.fitting import default_model, fit
from mrs_necrosis.fitting.band import heard_ppm, within
from mrs_necrosis.fitting.problem import noise_sd
from mrs_necrosis.ratios import ratio
from mrs_necrosis.simulation import phantom


def emptied(spectra, low, high, *, left=0.0):
    """Return spectra in which a part between two chemical shifts was filtered away."""
    ppm = np.fft.ifftshift(spectra.ppm)
    spectrum = np.fft.fft(spectra.fid, axis=3)
    spectrum[..., (ppm > low) & (ppm < high)] *= left
    return replace(spectra, fid=np.fft.ifft(spectrum, axis=3))


@pytest.mark.parametrize("left", [0.0, 1e-4])
@pytest.mark.parametrize("snr", [20.0, 1000.0])
def test_noise_is_not_taken_from_a_region_that_a_filter_emptied(left, snr):
    made = phantom("radiation_necrosis", np.random.default_rng(1), snr=snr, grid=(8, 1, 1))

    found = noise_sd(emptied(made.spectra, 4.65, 20.0, left=left))

    true = made.truth.noise_sd * np.sqrt(made.spectra.n_samples)
    # the quieter half of some 14 blocks of 24 points, each known to 12 %
    assert np.median(found / true) == pytest.approx(1.0, abs=0.15)


def test_areas_do_not_depend_on_what_was_filtered_away_outside_the_range():
    made = phantom("radiation_necrosis", np.random.default_rng(1), snr=30.0, grid=(8, 1, 1))

    whole, cut = fit(made.spectra), fit(emptied(made.spectra, 4.65, 20.0, left=1e-4))

    for name in ("Cho/Cr", "NAA/Cr", "LL/Cr"):
        one, other = (ratio(result.areas, *name.split("/")) for result in (whole, cut))
        assert np.abs((other.value - one.value) / one.sd).max() < 0.5, name
        assert np.median(other.sd / one.sd) == pytest.approx(1.0, abs=0.1), name


def test_nothing_is_said_of_lipids_that_a_filter_took():
    made = phantom("radiation_necrosis", np.random.default_rng(1), snr=30.0, grid=(8, 1, 1))

    found = fit(emptied(made.spectra, -5.0, 1.8, left=1e-4))

    assert "LL" not in found.areas
    assert "Lac" not in found.areas
    assert found.model.range_ppm[0] == pytest.approx(1.8, abs=0.16)
    assert "emptied" in found.notes[-1]
    error = ratio(found.areas, "Cho", "Cr")
    pull = (error.value - made.truth.ratio("Cho", "Cr")) / error.sd
    assert np.abs(pull).max() < 4


@pytest.mark.parametrize("echo_time_s", [0.03, 0.144])
@pytest.mark.parametrize("snr", [3.0, 30.0, 1e5])
def test_no_region_of_a_whole_spectrum_counts_as_emptied(echo_time_s, snr):
    for tissue in ("radiation_necrosis", "normal_white_matter"):
        made = phantom(tissue, np.random.default_rng(1), snr=snr, echo_time_s=echo_time_s)

        found = heard_ppm(made.spectra, (0.2, 4.2), made.spectra.n_samples)

        assert found == (0.2, 4.2)


def test_lactate_goes_with_the_lipids_although_its_quartet_is_inside():
    made = phantom("radiation_necrosis", np.random.default_rng(1), echo_time_s=0.03)
    model = default_model(made.spectra.acquisition)

    narrow = within(model, (1.0, 4.0))

    assert {c.area for c in model.components} >= {"Lip09", "Lip13", "Lac"}
    assert not {c.area for c in narrow.components} & {"Lip09", "Lip13", "Lac"}
    assert narrow.range_ppm == (1.0, 4.0)


@pytest.mark.parametrize("apodised_hz", [1.0, 4.0, 8.0])
def test_apodisation_makes_no_spectrum_better(apodised_hz):
    rng = np.random.default_rng(1)
    made = phantom("recurrent_hgg_low_lipid", rng, snr=20.0, grid=(48, 1, 1), echo_time_s=0.144)
    spectra = made.spectra
    smoothed = spectra.fid * np.exp(-np.pi * apodised_hz * spectra.time_s)

    found = fit(replace(spectra, fid=smoothed))

    # the fit's SNR is of the whole noise beside the lowered line
    assert np.median(found.quality.snr) == pytest.approx(18.0, rel=0.15)
    for name in ("Cho/Cr", "NAA/Cr", "LL/Cr"):
        one, (top, bottom) = ratio(found.areas, *name.split("/")), name.split("/")
        pull = (one.value - made.truth.ratio(top, bottom)) / one.sd
        # 48 draws: 95 % less three binomial standard deviations
        assert (np.abs(pull) < 1.96).mean() > 0.86, name


def test_white_noise_does_not_count_as_apodised():
    made = phantom("radiation_necrosis", np.random.default_rng(1), snr=30.0, grid=(300, 1, 1))
    true = made.truth.noise_sd * np.sqrt(made.spectra.n_samples)

    found = noise_sd(made.spectra) / true

    # known to 4 % each; what counts as apodised by chance stands out by more
    assert (np.abs(found - 1.0) > 0.2).mean() < 0.01


def test_a_range_without_naa_and_creatine_on_its_sides_is_refused():
    made = phantom("radiation_necrosis", np.random.default_rng(1), echo_time_s=0.03)

    with pytest.raises(ValueError, match="must ascend and hold"):
        within(default_model(made.spectra.acquisition), (2.8, 4.0))
