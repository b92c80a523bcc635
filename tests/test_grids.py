"""Grid phantoms: truth maps that are where they say, and voxels spoiled as told."""

import numpy as np
import pytest

from mrs_necrosis.simulation.grids import LABELS, SPOILINGS, grid_phantom


@pytest.fixture(scope="module")
def made():
    return grid_phantom(np.random.default_rng(0), grid=(24, 24, 1), n_samples=512)


def of(made, name):
    return made.truth.labels == LABELS.index(name)


def test_core_and_rim_lie_around_the_lesions_centre(made):
    x, y, _ = np.nonzero(of(made, "core"))
    centre = (np.array([x.mean(), y.mean()]) + 0.5) / 24 * 2 - 1

    assert centre == pytest.approx([0.30, -0.15], abs=2 / 24)
    for name in LABELS:
        assert of(made, name).sum() >= 8, name


def test_tissues_differ_as_their_classes_do(made):
    cho_naa, ll_cr = (made.truth.ratio(*pair) for pair in (("Cho", "NAA"), ("LL", "Cr")))

    normal, core, rim = (of(made, name) for name in ("normal", "core", "rim"))
    assert np.median(cho_naa[normal]) < np.median(cho_naa[core]) < np.median(cho_naa[rim])
    assert np.median(ll_cr[core]) > 2
    assert np.median(made.truth.areas.value("Cr")[normal]) == pytest.approx(1.0, rel=0.15)


def test_the_scalp_is_fat_and_its_blur_reaches_the_brain(made):
    lipid = made.truth.areas.value("Lip13")

    assert lipid[of(made, "scalp")].max() > 15
    assert lipid[of(made, "normal")].max() > 1 > np.median(lipid[of(made, "normal")])


def test_the_field_drifts_smoothly_within_its_bounds(made):
    drift = made.truth.parameters["shift_hz"][:, :, 0]

    assert np.abs(drift).max() == pytest.approx(20.0, abs=1.0)
    assert np.abs(np.diff(drift, axis=0)).max() < 10
    assert np.abs(np.diff(drift, axis=1)).max() < 10


def test_the_noise_is_the_same_everywhere(made):
    assert np.ptp(made.truth.noise_sd) == 0
    late = made.data.fid[of(made, "outside")][:, 256:]

    sd = late.real.std()
    assert sd == pytest.approx(made.truth.noise_sd[0, 0, 0], rel=0.2)
    snr = made.truth.snr[of(made, "normal")]
    assert np.median(snr) == pytest.approx(20.0, rel=0.25)


def test_as_many_voxels_are_spoiled_as_asked_in_every_way():
    made = grid_phantom(np.random.default_rng(1), grid=(20, 20, 1), n_samples=256, spoiled=0.05)
    counts = np.bincount(made.truth.spoiled.ravel(), minlength=len(SPOILINGS))

    assert counts[1:].tolist() == [5, 5, 5, 5]
    fid = made.data.fid
    assert np.isnan(fid[made.truth.spoiled == 1]).any(axis=1).all()
    assert not fid[made.truth.spoiled == 2].any()
    assert np.isfinite(fid[made.truth.spoiled == 0]).all()


def test_one_seed_gives_one_grid():
    one, two = (
        grid_phantom(np.random.default_rng(3), grid=(6, 6, 2), n_samples=128) for _ in range(2)
    )

    assert np.array_equal(one.data.fid, two.data.fid)
    assert one.data.voxel_size_mm == pytest.approx((7.0, 7.0, 12.0))


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ValueError, match="spoiled is a share of the voxels"):
        grid_phantom(np.random.default_rng(0), grid=(4, 4, 1), spoiled=5.0)
