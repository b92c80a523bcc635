"""What preprocessing does to grids: k-space, mask, scalp lipid, denoising."""

import numpy as np
import pytest

from mrs_necrosis.errors import SignalError
from mrs_necrosis.preprocessing import (
    denoise,
    filter_kspace,
    find_mask,
    flag_scalp_lipid,
    preprocess,
    suppress_lipids,
)
from mrs_necrosis.preprocessing.noise import noise_sd
from mrs_necrosis.simulation.grids import grid_phantom
from mrs_necrosis.spectra import Acquisition, Spectra, SpectralData

MHZ, DWELL_S, N = 123.2, 5e-4, 512
TIME_S = np.arange(N) * DWELL_S
ACQUISITION = Acquisition(spectrometer_frequency_mhz=MHZ, dwell_time_s=DWELL_S)


def line(ppm, area, fwhm_hz=6.0):
    return area * np.exp((2j * np.pi * (ppm - 4.65) * MHZ - np.pi * fwhm_hz) * TIME_S)


def noise(rng, sd, *shape):
    return sd * (rng.normal(size=shape) + 1j * rng.normal(size=shape))


def grid_of(values, **kwargs):
    """Return a grid whose FIDs are one FID times the values of the voxels."""
    fid = np.asarray(values)[..., None] * line(2.0, 1.0)
    return SpectralData(fid=fid, acquisition=ACQUISITION, **kwargs)


# --- k-space


@pytest.mark.parametrize(
    ("window", "centre", "side"), [("hamming", 0.54, 0.23), ("hann", 0.5, 0.25)]
)
@pytest.mark.parametrize("n_voxels", [7, 8])
def test_the_window_has_its_point_spread(window, centre, side, n_voxels):
    values = np.zeros((n_voxels, 1, 1))
    values[3] = 1.0

    filtered = filter_kspace(grid_of(values), window=window).fid[:, 0, 0, 0]

    expected = np.zeros(n_voxels)
    expected[2:5] = side, centre, side
    np.testing.assert_allclose(filtered, expected, atol=1e-12)


def test_zero_filling_interpolates_a_smooth_field_and_its_affine_follows():
    x = np.arange(8)
    field = 1.0 + np.cos(2 * np.pi * x / 8 + 0.3)[:, None, None] * np.ones((1, 4, 1))
    affine = np.array([[8.0, 0, 0, -30], [0, 8, 0, -20], [0, 0, 10, 5], [0, 0, 0, 1]])

    filled = filter_kspace(grid_of(field, affine=affine), window=None, zero_fill_to=(16, 4, 1))

    fine = 1.0 + np.cos(2 * np.pi * np.arange(16) / 16 + 0.3)
    np.testing.assert_allclose(filled.fid[:, 2, 0, 0].real, fine, atol=1e-12)
    # voxel 5 of the new grid lies midway between voxels 2 and 3 of the old one
    np.testing.assert_allclose(filled.affine @ [5, 0, 0, 1], affine @ [2.5, 0, 0, 1])


def test_a_spoilt_voxel_counts_as_zero_for_its_neighbours():
    values = np.ones((6, 6, 1))
    spoilt, zero = values.copy(), values.copy()
    spoilt[2, 2], zero[2, 2] = np.nan, 0.0

    filtered = filter_kspace(grid_of(spoilt)).fid

    others = np.ones((6, 6, 1), dtype=bool)
    others[2, 2] = False
    np.testing.assert_allclose(filtered[others], filter_kspace(grid_of(zero)).fid[others])
    assert np.isnan(filtered[2, 2]).all()


def test_the_water_reference_is_filtered_alike():
    values = np.random.default_rng(1).random((6, 6, 1))

    filtered = filter_kspace(grid_of(values, water=grid_of(3 * values)), zero_fill_to=(12, 12, 1))

    np.testing.assert_allclose(filtered.water.fid, 3 * filtered.fid)


def test_a_grid_is_not_made_smaller():
    with pytest.raises(ValueError, match="none below the grid's"):
        filter_kspace(grid_of(np.ones((6, 6, 1))), zero_fill_to=(4, 6, 1))
    with pytest.raises(ValueError, match="window must be one of"):
        filter_kspace(grid_of(np.ones((6, 6, 1))), window="boxcar")


# --- denoising


def low_rank(rng, n_voxels=144):
    shares = rng.random((n_voxels, 3))
    patterns = np.stack([line(3.21, 1.0), line(3.03, 0.8), line(2.01, 1.5)])
    return (shares @ patterns).reshape(12, n_voxels // 12, 1, N)


def test_denoising_finds_the_rank_and_lowers_the_error():
    rng = np.random.default_rng(2)
    clean = low_rank(rng)
    noisy = Spectra(fid=clean + noise(rng, 0.05, *clean.shape), acquisition=ACQUISITION)

    denoised = denoise(noisy)

    assert denoised.history[-1].parameters["rank"] == 3
    before, after = (np.linalg.norm(s.fid - clean) for s in (noisy, denoised))
    # rank 3 of 144 voxels and 512 samples keeps 3 (144 + 512) / (144 * 512) of the noise energy
    assert after / before == pytest.approx(np.sqrt(3 * (144 + 512) / (144 * 512)), rel=0.1)


def test_denoising_states_the_noise_of_the_data_before():
    rng = np.random.default_rng(3)
    clean = low_rank(rng)
    noisy = Spectra(fid=clean + noise(rng, 0.05, *clean.shape), acquisition=ACQUISITION)

    denoised = denoise(noisy)

    np.testing.assert_array_equal(denoised.noise_sd, noise_sd(noisy.fid))
    assert np.median(noise_sd(denoised.fid)) < 0.3 * np.median(denoised.noise_sd)


def test_denoising_makes_no_tissue_of_noise():
    made = grid_phantom(np.random.default_rng(2), grid=(12, 12, 1), residual_water=0.0)

    masks = [find_mask(one).mask for one in (made.spectra, denoise(made.spectra))]

    air = made.truth.labels == made.truth.label_names.index("outside")
    assert not masks[0][air].any()
    assert not masks[1][air].any()
    assert (masks[0] ^ masks[1]).sum() <= 2


def test_a_fit_of_denoised_spectra_uses_the_stated_noise():
    from mrs_necrosis.fitting.problem import noise_sd as noise_of_fit

    rng = np.random.default_rng(4)
    clean = low_rank(rng)
    noisy = Spectra(fid=clean + noise(rng, 0.05, *clean.shape), acquisition=ACQUISITION)

    stated = noise_of_fit(denoise(noisy))

    # 0.05 per part of a sample is 0.05 sqrt(N) in the plain FFT
    assert np.median(stated) == pytest.approx(0.05 * np.sqrt(N), rel=0.05)


def test_denoising_needs_voxels_that_share_something():
    few = Spectra(fid=np.ones((2, 2, 1, N)), acquisition=ACQUISITION)
    with pytest.raises(SignalError, match="at least 8 voxels"):
        denoise(few)
    with pytest.raises(ValueError, match="rank must be between 1 and 144"):
        denoise(Spectra(fid=low_rank(np.random.default_rng(5)), acquisition=ACQUISITION), rank=0)


# --- mask and scalp


@pytest.fixture(scope="module")
def head():
    made = grid_phantom(np.random.default_rng(6), grid=(24, 24, 1), snr=15.0)
    return made, preprocess(made.data)


def where(head, name):
    made, _ = head
    return made.truth.labels == made.truth.label_names.index(name)


def test_the_mask_leaves_out_air_and_keeps_tissue(head):
    spectra = head[1]

    assert spectra.mask[where(head, "outside")].mean() < 0.25
    for tissue in ("normal", "core", "rim"):
        assert spectra.mask[where(head, tissue)].all()


def test_scalp_lipid_is_flagged_at_the_edge_and_never_in_the_lesion(head):
    made, spectra = head
    lipid = made.truth.ratio("LL", "Cr")
    normal = where(head, "normal")

    flagged = spectra.scalp_lipid

    assert flagged[where(head, "scalp")].mean() > 0.9
    assert not flagged[where(head, "core") | where(head, "rim")].any()
    assert not flagged[normal & (lipid < 0.5)].any()
    assert not spectra.lipids_suppressed


def test_scalp_lipid_is_flagged_where_the_point_spread_brings_it_into_the_brain(head):
    made, spectra = head
    brought = where(head, "normal") & (made.truth.ratio("LL", "Cr") > 4.0)

    # it looked at the scalp alone once: not one of these was flagged
    assert brought.sum() > 30
    assert spectra.scalp_lipid[brought].mean() > 0.8


@pytest.mark.parametrize("fwhm_hz", [15.0, 30.0, 40.0])
def test_scalp_lipid_is_flagged_however_broad_its_line(fwhm_hz):
    rng = np.random.default_rng(1)
    brain = line(2.01, 1.0) + line(3.03, 0.5) + line(3.21, 0.3)
    fat = line(1.3, 300.0, fwhm_hz) + line(0.9, 100.0, fwhm_hz)
    scalp = np.ones((8, 8, 1), dtype=bool)
    scalp[1:-1, 1:-1] = False
    fid = np.where(scalp[..., None], fat, brain) + noise(rng, 0.02, 8, 8, 1, N)

    flagged = preprocess(SpectralData(fid=fid, acquisition=ACQUISITION)).scalp_lipid

    # the foot of a line of 25 Hz passed for metabolites once, however strong the line
    assert flagged[scalp].all()
    assert not flagged[~scalp].any()


def test_a_head_without_scalp_lipid_has_none_flagged():
    made = grid_phantom(
        np.random.default_rng(6), grid=(16, 16, 1), scalp_lipid=0.0, water_share=0.0
    )

    assert not preprocess(made.data).scalp_lipid.any()


def test_nothing_is_masked_or_flagged_in_a_single_voxel():
    made = SpectralData(
        fid=(line(2.0, 1.0) + line(3.0, 1.0))[None, None, None], acquisition=ACQUISITION
    )

    spectra = preprocess(made)

    assert spectra.scalp_lipid is None
    assert spectra.mask.all()


def test_a_voxel_that_cannot_be_fitted_is_not_hidden_by_the_mask():
    rng = np.random.default_rng(7)
    fid = line(2.0, 5.0) + noise(rng, 0.05, 4, 4, 1, N)
    fid[0, 0] = np.nan
    fid[1, 1] = noise(rng, 0.05, N)

    masked = find_mask(Spectra(fid=fid, acquisition=ACQUISITION))

    assert masked.mask[0, 0, 0]
    assert not masked.mask[1, 1, 0]
    assert masked.mask.sum() == 15


def test_suppression_takes_lipid_out_marks_it_and_spares_the_metabolites(head):
    spectra = head[1]
    scalp = spectra.scalp_lipid

    suppressed = suppress_lipids(spectra)

    lipid = (spectra.ppm > 0.8) & (spectra.ppm < 1.6)
    others = (spectra.ppm > 1.95) & (spectra.ppm < 4.2)
    before, after = np.abs(spectra.spectrum), np.abs(suppressed.spectrum)
    assert after[scalp][:, lipid].max() < 0.1 * before[scalp][:, lipid].max()
    # the FFT and back: what lies outside the suppressed band is the same
    np.testing.assert_allclose(after[..., others], before[..., others], atol=1e-9 * before.max())
    assert suppressed.lipids_suppressed
    assert "no longer those of the tissue" in suppressed.history[-1].note


def test_suppression_needs_scalp_to_learn_from():
    rng = np.random.default_rng(8)
    plain = Spectra(fid=line(2.0, 5.0) + noise(rng, 0.05, 4, 4, 1, N), acquisition=ACQUISITION)

    with pytest.raises(SignalError, match="nothing to learn lipids from"):
        suppress_lipids(plain)
    with pytest.raises(ValueError, match="strength must be a positive number"):
        suppress_lipids(plain, strength=0.0)
    with pytest.raises(ValueError, match="source must have the shape"):
        suppress_lipids(plain, source=np.ones((2, 2, 1), dtype=bool))


def test_flagging_alone_removes_nothing(head):
    spectra = head[1]

    np.testing.assert_array_equal(flag_scalp_lipid(spectra).fid, spectra.fid)


def test_spoilt_voxels_of_a_grid_stop_nothing():
    made = grid_phantom(np.random.default_rng(9), grid=(12, 12, 1), spoiled=0.1)

    spectra = preprocess(made.data, filter_kspace=True, denoise=True)

    names = [step.name for step in spectra.history]
    assert names[-2:] == ["find_mask", "flag_scalp_lipid"]
    assert np.isfinite(spectra.fid).all(axis=3).mean() > 0.8
