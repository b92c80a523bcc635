import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.assessment import LABELS, Favors
from mrs_necrosis.classifier import assess_grid
from mrs_necrosis.fitting import fit
from mrs_necrosis.lesion import (
    cho_naa_index,
    contralateral_reference,
    mask_weights,
    summarize_lesion,
)
from mrs_necrosis.lesion.masks import mirrored, separate_lesions, usable_voxels
from mrs_necrosis.lesion.normal_tissue import normalized_ratios
from mrs_necrosis.lesion.summary import JUDGED, with_lesions
from mrs_necrosis.preprocessing import preprocess
from mrs_necrosis.quality import FitStatus, Quality
from mrs_necrosis.ratios import ratio
from mrs_necrosis.simulation import grid_phantom

NAMES = ("Cho", "Cr", "NAA")
N, R = Favors.NECROSIS.value, Favors.RECURRENCE.value
SILENT, CLOSED = Favors.INDETERMINATE.value, Favors.NOT_EVALUABLE.value


def brain(shape=(16, 16, 1), sd=0.02, seed=0, tumour=None):
    """Cho = 0.1 + 0.5 NAA with a scatter of 0.05, measured with an error of ``sd``."""
    rng = np.random.default_rng(seed)
    naa = rng.uniform(1.0, 2.0, shape)
    cho = 0.1 + 0.5 * naa + rng.normal(0, 0.05, shape)
    if tumour is not None:
        cho[tumour] += 1.0
        naa[tumour] *= 0.4
    values = np.stack([cho, np.full(shape, 1.0) + rng.normal(0, 0.03, shape), naa], axis=-1)
    values = values + rng.normal(0, sd, values.shape)
    covariance = np.broadcast_to(np.eye(3) * sd**2, (*shape, 3, 3))
    return PeakAreas(NAMES, values, covariance)


def usable(areas):
    return np.ones(areas.values.shape[:3], dtype=bool)


@pytest.mark.parametrize(
    ("changed", "is_usable"),
    [
        ({}, True),
        ({"status": FitStatus.AT_BOUND}, True),
        ({"status": FitStatus.NOT_CONVERGED}, False),
        ({"status": FitStatus.MASKED, "snr": np.nan}, False),
        ({"snr": 4.9}, False),
        ({"linewidth_ppm": 0.11}, False),
        ({"linewidth_ppm": np.nan}, False),
    ],
    ids=str,
)
def test_a_voxel_stands_for_its_tissue_where_a_label_could_be_given(changed, is_usable):
    good = {"snr": 5.1, "linewidth_hz": 6.0, "linewidth_ppm": 0.09, "residual_ratio": 1.0,
            "status": FitStatus.OK, "unexplained_ppm": np.nan}  # fmt: skip
    quality = Quality(**{k: np.full((1, 1, 1), v) for k, v in (good | changed).items()})

    assert usable_voxels(quality).item() is is_usable


# ------------------------------------------------------------------ Cho/NAA index


def test_index_finds_the_tumour_and_the_line_of_normal_tissue():
    tumour = np.zeros((16, 16, 1), dtype=bool)
    tumour[3:6, 3:6] = True
    areas = brain(tumour=tumour)

    index = cho_naa_index(areas, usable=usable(areas))

    assert not index.is_refused
    assert (index.value[tumour] > 5).all()
    assert not index.normal[tumour].any()
    # 0.054 = scatter 0.05, error of Cho 0.02, of 0.5 NAA 0.01; cut at 2 sd: 9 % smaller
    assert index.spread == pytest.approx(0.91 * 0.0548, rel=0.12)
    assert index.slope == pytest.approx(0.5, abs=4 * 0.0548 / np.sqrt(240) / 0.29)
    assert "normal voxels" in index.sentence


@given(scale=st.floats(1e-3, 1e6))
def test_index_does_not_depend_on_the_unit_of_area(scale):
    areas = brain()
    scaled = PeakAreas(NAMES, areas.values * scale, areas.covariance * scale**2)

    one, other = (cho_naa_index(a, usable=usable(a)) for a in (areas, scaled))

    np.testing.assert_allclose(one.value, other.value, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.sd, other.sd, rtol=1e-6)


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_sd_of_the_index_is_the_scatter_over_repeated_measurements(correlation):
    truth = brain(sd=1e-9).values
    sd, repeats = 0.04, 300
    rng = np.random.default_rng(5)
    one = np.eye(3)
    one[0, 2] = one[2, 0] = correlation  # of Cho and NAA
    covariance = np.broadcast_to(one * sd**2, (*truth.shape, 3))
    values, claimed = [], []
    for _ in range(repeats):
        error = rng.normal(0, sd, truth.shape) @ np.linalg.cholesky(one).T
        areas = PeakAreas(NAMES, truth + error, covariance)
        index = cho_naa_index(areas, usable=usable(areas))
        values.append(index.value)
        claimed.append(index.sd)

    observed = np.std(values, axis=0, ddof=1)

    # 256 voxels of 300 repeats: the mean ratio is known to far better than the 10 % allowed,
    # which is for the linear propagation
    assert np.mean(np.mean(claimed, axis=0) / observed) == pytest.approx(1.0, abs=0.1)


def test_the_spread_and_its_own_error_are_those_of_a_line():
    areas = brain(shape=(6, 6, 1), sd=1e-9)
    values = areas.values.copy()
    n = 35
    values[0, 0, 0] = [5.0, 1.0, np.delete(values[..., 2].ravel(), 0).mean()]

    normal = usable(areas)
    normal[0, 0, 0] = False

    index = cho_naa_index(
        PeakAreas(NAMES, values, areas.covariance),
        usable=usable(areas),
        presumed_normal=normal,
        removal_sd=10.0,
    )

    assert index.normal.sum() == n
    cho, naa = values[index.normal][:, 0], values[index.normal][:, 2]
    slope, intercept = np.polyfit(naa, cho, 1)
    residual = cho - intercept - slope * naa
    assert index.spread == pytest.approx(np.sqrt((residual**2).sum() / (n - 2)))
    # at the mean NAA the line is known to spread / sqrt(n); the spread to 1 / sqrt(2 (n - 2))
    z = index.value[0, 0, 0]
    assert index.sd[0, 0, 0] == pytest.approx(np.sqrt(1 / n + z**2 / (2 * (n - 2))), rel=1e-6)


def test_a_lesion_of_a_third_of_the_voxels_does_not_draw_the_line_itself():
    tumour = np.zeros((10, 6, 1), dtype=bool)
    tumour[:5, :4] = True
    areas = brain(shape=tumour.shape, tumour=tumour)
    # it has lost its NAA and little more: Cho of the whole grid says nothing about NAA
    values = areas.values.copy()
    values[tumour] = [1.0, 1.0, 0.4]

    index = cho_naa_index(PeakAreas(NAMES, values, areas.covariance), usable=usable(areas))

    assert (index.value[tumour] > 5).all()
    assert not index.normal[tumour].any()
    assert index.normal[~tumour].sum() >= 36


def test_a_minority_on_a_line_is_no_normal_tissue():
    areas = brain(sd=1e-9)
    values = areas.values.copy()
    # ever higher above the line, so that what is cut off leaves more to be cut off
    values[..., 0] += 1e-3 * np.exp(np.random.default_rng(0).uniform(0, 12, values.shape[:3]))

    index = cho_naa_index(PeakAreas(NAMES, values), usable=usable(areas))

    assert index.is_refused
    found = int(
        re.search(r"only (\d+) of 256 usable voxels lie on a common line", index.sentence)[1]
    )
    assert 64 <= found < 128


def test_too_few_normal_voxels_are_refused_with_a_reason():
    areas = brain(shape=(4, 4, 1))

    index = cho_naa_index(areas, usable=usable(areas))

    assert index.is_refused
    assert np.isnan(index.value).all()
    assert not index.normal.any()
    assert "16 of 16 usable voxels look normal, at least 20 are needed" in index.sentence


def test_voxels_without_normal_tissue_are_refused():
    areas = brain(seed=3)
    falling = areas.values.copy()
    falling[..., 0] = 2.5 - falling[..., 2]
    areas = PeakAreas(NAMES, falling, areas.covariance)

    index = cho_naa_index(areas, usable=usable(areas))

    assert index.is_refused
    assert "Cho does not rise with NAA" in index.sentence


@pytest.mark.parametrize(
    ("quantity", "factor", "is_refused"),
    [("area", 1.0, False), ("area", 2.0, True), ("height", 2.0, False),
     ("molar", 0.4, False), ("molar", 0.6, True)],
)  # fmt: skip
def test_a_grid_that_lies_in_the_lesion_has_no_normal_tissue(quantity, factor, is_refused):
    areas = brain()
    values = areas.values * [factor, 1.0, 1.0]

    index = cho_naa_index(PeakAreas(NAMES, values, quantity=quantity), usable=usable(areas))

    assert index.is_refused is is_refused
    assert is_refused == ("of normal brain, so they are not normal tissue" in index.sentence)


def test_unusable_and_unfitted_voxels_have_no_index():
    areas = brain()
    values = areas.values.copy()
    values[0, 0, 0] = np.nan
    mask = usable(areas)
    mask[1, 1, 0] = False

    index = cho_naa_index(PeakAreas(NAMES, values), usable=mask)

    assert np.isnan(index.value[0, 0, 0])
    assert np.isnan(index.value[1, 1, 0])
    assert np.isfinite(index.value).sum() == 254
    assert index.sd is None


# ------------------------------------------------------------------ masks


def affine_of(voxel_mm, shape):
    """Centre of the grid at the origin of the world."""
    affine = np.diag([*voxel_mm, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


@pytest.mark.parametrize("point_spread", ["box", "sinc", "hamming"])
def test_a_mask_of_everything_fills_every_voxel(point_spread):
    shape = (8, 6, 2)
    affine = affine_of((10.0, 10.0, 10.0), shape)
    everywhere = np.ones((60, 60, 60))

    weights = mask_weights(
        everywhere,
        affine_of((4.0,) * 3, (60,) * 3),
        shape=shape,
        affine=affine,
        point_spread=point_spread,
    )

    np.testing.assert_allclose(weights, 1.0, atol=1e-9)


def test_box_weights_are_volume_fractions():
    shape = (4, 4, 1)
    affine = affine_of((10.0, 10.0, 10.0), shape)
    fine = affine_of((1.0, 1.0, 1.0), (40, 40, 10))
    mask = np.zeros((40, 40, 10))
    mask[0:25, 0:10, :] = 1  # two and a half voxels of the first row

    weights = mask_weights(mask, fine, shape=shape, affine=affine, point_spread="box")

    # eight samples along an edge of ten mask voxels
    np.testing.assert_allclose(weights[:, 0, 0], [1, 1, 0.5, 0], atol=0.5 / 8)
    np.testing.assert_allclose(weights[:, 2:, 0], 0, atol=1e-9)


@pytest.mark.parametrize(("point_spread", "window"), [("sinc", False), ("hamming", True)])
def test_point_spread_is_the_transform_of_the_k_space_samples(point_spread, window):
    n = 8
    shape = (n, n, 1)
    affine = affine_of((10.0, 10.0, 10.0), shape)
    points = 8 * n
    fine = affine_of((1.25, 1.25, 1.25), (points, points, 8))
    mask = np.zeros((points, points, 8))
    mask[20:36, 28:36] = 1  # one voxel and a half along y, two along x
    # the scanner's way: transform the object, keep n x n samples, transform back
    centre = (np.arange(points) - (points - 1) / 2) / 8
    k = np.arange(n) - n // 2
    encode = np.exp(-2j * np.pi * np.outer(k, centre) / n)
    signal = encode @ mask[:, :, 0] @ encode.T
    if window:  # one at k = 0: a uniform object keeps its value
        h = 0.54 + 0.46 * np.cos(2 * np.pi * k / n)
        signal = signal * np.outer(h, h)
    voxel = np.arange(n) - (n - 1) / 2
    decode = np.exp(2j * np.pi * np.outer(voxel, k) / n)
    image = (decode @ signal @ decode.T).real / points**2

    weights = mask_weights(mask, fine, shape=shape, affine=affine, point_spread=point_spread)

    np.testing.assert_allclose(weights[:, :, 0], np.clip(image, 0, 1), atol=0.01)


def test_weights_do_not_depend_on_the_space_of_the_mask():
    shape = (8, 8, 2)
    affine = affine_of((10.0, 10.0, 10.0), shape)
    fine = affine_of((2.0, 2.0, 2.0), (50, 50, 20))
    mask = np.zeros((50, 50, 20))
    mask[20:34, 12:22, 5:15] = 1
    flipped = fine @ np.array([[-1.0, 0, 0, 49], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])

    one = mask_weights(mask, fine, shape=shape, affine=affine)
    other = mask_weights(np.flip(mask, 0).transpose(0, 2, 1), flipped, shape=shape, affine=affine)

    np.testing.assert_allclose(one, other, atol=1e-9)


def test_a_mask_that_is_none_is_refused():
    with pytest.raises(ValueError, match="three axes"):
        mask_weights(np.ones((2, 2)), np.eye(4), shape=(1, 1, 1), affine=np.eye(4))
    with pytest.raises(ValueError, match="between 0 and 1"):
        mask_weights(np.full((2, 2, 2), 2.0), np.eye(4), shape=(1, 1, 1), affine=np.eye(4))


@settings(max_examples=30)
@given(seed=st.integers(0, 100), midline=st.sampled_from([0.0, 5.0, -10.0]))
def test_mirroring_twice_returns_what_stays_inside(seed, midline):
    shape = (8, 5, 2)
    affine = affine_of((-10.0, 10.0, 12.0), shape)
    mask = np.random.default_rng(seed).random(shape) < 0.3

    twice = mirrored(mirrored(mask, affine, midline_mm=midline), affine, midline_mm=midline)

    assert not (twice & ~mask).any()
    if midline == 0:
        np.testing.assert_array_equal(mirrored(mask, affine), mask[::-1])


# ------------------------------------------------------------------ reference


def test_reference_is_the_normal_mirror_image_of_the_lesion():
    shape = (16, 16, 1)
    tumour = np.zeros(shape, dtype=bool)
    tumour[2:6, 5:9] = True
    areas = brain(shape, tumour=tumour)
    index = cho_naa_index(areas, usable=usable(areas))

    reference = contralateral_reference(
        areas,
        usable=usable(areas),
        lesion=tumour,
        affine=affine_of((10.0,) * 3, shape),
        index=index,
    )

    assert not reference.is_refused
    assert not (reference.mask & ~tumour[::-1]).any()
    assert reference.mask.sum() >= 12
    members = areas.values[reference.mask]
    np.testing.assert_allclose(reference.areas.values, members.mean(axis=0))
    # the error of a mean of n voxels, whose scatter n voxels know as Student's t says
    n = len(members)
    np.testing.assert_allclose(
        reference.areas.covariance, np.cov(members.T) / n * (n - 1) / (n - 3)
    )
    assert "mirror image" in reference.sentence


def test_a_lesion_across_the_midline_is_not_its_own_reference():
    shape = (16, 16, 1)
    lesion = np.zeros(shape, dtype=bool)
    lesion[5:9, 5:9] = True  # its mirror image is 7:11
    areas = brain(shape)
    index = cho_naa_index(areas, usable=usable(areas))

    reference = contralateral_reference(
        areas,
        usable=usable(areas),
        lesion=lesion,
        affine=affine_of((10.0,) * 3, shape),
        index=index,
    )

    assert not reference.is_refused
    assert not (reference.mask & lesion).any()


def test_a_reference_of_too_few_voxels_is_refused():
    areas = brain()
    chosen = np.zeros((16, 16, 1), dtype=bool)
    chosen[0, :3] = True

    few = contralateral_reference(areas, usable=usable(areas), chosen=chosen)
    none = contralateral_reference(areas, usable=usable(areas))

    assert few.is_refused
    assert "holds 3 usable normal voxels, at least 5" in few.sentence
    assert none.is_refused
    assert "without a Cho/NAA index" in none.sentence
    assert normalized_ratios(areas, few) == ()


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_normalised_ratios_are_one_in_the_reference_and_hold_both_errors(correlation):
    areas = brain(seed=7)
    covariance = areas.covariance.copy()
    covariance[..., 0, 1] = covariance[..., 1, 0] = correlation * 0.02**2  # of Cho and Cr
    areas = PeakAreas(NAMES, areas.values, covariance)
    chosen = np.zeros((16, 16, 1), dtype=bool)
    chosen[8:, :4] = True
    reference = contralateral_reference(areas, usable=usable(areas), chosen=chosen)

    ratios = {one.name: one for one in normalized_ratios(areas, reference)}

    assert set(ratios) == {"Cho/nCho", "Cr/nCr", "Cho/nCr", "Cho/Cr(n)", "Cho/NAA(n)"}
    assert np.mean(ratios["Cho/nCho"].value[chosen]) == pytest.approx(1.0, abs=1e-9)
    assert np.mean(ratios["Cho/Cr(n)"].value[chosen]) == pytest.approx(1.0, abs=0.02)
    same = ratio(areas, "Cho", "Cr")
    np.testing.assert_allclose(
        ratios["Cho/Cr(n)"].value,
        same.value * reference.areas.values[1] / reference.areas.values[0],
    )
    # relative variances add; second-order terms are a few per mille here
    quotient = ratio(reference.areas, "Cho", "Cr")
    expected = np.hypot(same.sd / same.value, float(quotient.sd / quotient.value))
    found = ratios["Cho/Cr(n)"].sd / ratios["Cho/Cr(n)"].value
    np.testing.assert_allclose(found, expected, rtol=0.01)


# ------------------------------------------------------------------ summary


def grid_of(labels):
    return np.array(labels).reshape(len(labels), 1, 1)


@pytest.mark.parametrize(
    ("labels", "favors"),
    [
        ([R] * 3 + [N] * 7, Favors.MIXED),
        ([R] * 3 + [SILENT] * 7, Favors.RECURRENCE),
        ([N] * 6 + [SILENT] * 4, Favors.NECROSIS),
        ([N] * 4 + [SILENT] * 6, Favors.INDETERMINATE),
        ([R] * 4 + [CLOSED] * 6, Favors.NOT_EVALUABLE),
        ([CLOSED] * 10, Favors.NOT_EVALUABLE),
        # one voxel of twenty may be chance
        ([R] + [N] * 19, Favors.NECROSIS),
    ],
)
def test_label_of_the_lesion_follows_the_shares_of_its_voxels(labels, favors):
    grid = grid_of(labels)

    summary = summarize_lesion(np.ones(grid.shape), grid)

    assert summary.favors is favors
    assert ("mixed" in summary.sentence) == (favors is Favors.MIXED)


def test_a_voxel_counts_as_much_as_it_lies_in_the_lesion():
    labels = grid_of([N, R, R])
    weights = np.array([1.0, 0.2, 0.05]).reshape(labels.shape)  # the last is a side lobe's

    summary = summarize_lesion(weights, labels)

    assert summary.n_voxels == pytest.approx(1.2)
    assert summary.fractions[N][0] == pytest.approx(1.0 / 1.2)
    assert summary.fractions[R][0] == pytest.approx(0.2 / 1.2)


def test_doubt_alone_is_no_tumour():
    labels = grid_of([SILENT] * 20)
    probability = np.zeros((20, 1, 1, 3))
    probability[..., :] = (0.1, 0.4, 0.5)

    doubtful = summarize_lesion(np.ones((20, 1, 1)), labels, label_probability=probability)
    labels = grid_of([R] + [SILENT] * 19)
    with_one = summarize_lesion(np.ones((20, 1, 1)), labels, label_probability=probability)

    assert doubtful.favors is Favors.INDETERMINATE
    assert with_one.favors is Favors.RECURRENCE


def leaning_of(necrosis, recurrence):
    """Return probabilities of twofold evidence for either side, and of labels below it."""
    leaning = np.stack([np.array(necrosis), np.array(recurrence)], axis=-1)
    return leaning.reshape(-1, 1, 1, 2)


def test_a_part_that_speaks_against_the_rest_makes_a_lesion_mixed():
    # a rim of tumour, and a core whose evidence for necrosis makes no label in any voxel
    labels = grid_of([R] * 6 + [SILENT] * 4)
    probability = np.zeros((10, 1, 1, 3))
    probability[:6, ..., 1] = probability[6:, ..., 2] = 1.0
    leaning = leaning_of([0.0] * 6 + [0.95] * 4, [1.0] * 6 + [0.0] * 4)

    summary = summarize_lesion(
        np.ones((10, 1, 1)), labels, label_probability=probability, leaning_probability=leaning
    )

    assert summary.favors is Favors.MIXED
    share, low, high = summary.leaning[N]
    assert share == pytest.approx(0.38)
    assert f"in {100 * share:.0f} % ({100 * low:.0f} to {100 * high:.0f} %)" in summary.sentence
    assert "two to one for necrosis" in summary.sentence


@pytest.mark.parametrize("necrosis", [0.02, 0.10])
def test_what_a_pure_lesion_shows_by_chance_does_not_make_it_mixed(necrosis):
    labels = grid_of([R] * 40)
    probability = np.zeros((40, 1, 1, 3))
    probability[..., 1] = 1.0
    leaning = leaning_of([necrosis] * 40, [0.8] * 40)

    summary = summarize_lesion(
        np.ones((40, 1, 1)), labels, label_probability=probability, leaning_probability=leaning
    )

    assert summary.favors is Favors.RECURRENCE
    assert "mixed" not in summary.sentence


def test_a_lesion_without_any_label_is_not_mixed():
    labels = grid_of([SILENT] * 10)
    leaning = leaning_of([1.0] * 5 + [0.0] * 5, [0.0] * 5 + [1.0] * 5)

    summary = summarize_lesion(np.ones((10, 1, 1)), labels, leaning_probability=leaning)

    assert summary.favors is Favors.INDETERMINATE


@pytest.mark.parametrize(
    ("core", "rim", "favors"),
    [
        ("radiation_necrosis", "metastasis_recurrence", {Favors.MIXED}),
        ("metastasis_recurrence", "metastasis_recurrence", {Favors.RECURRENCE}),
        ("radiation_necrosis", "radiation_necrosis", {Favors.NECROSIS, Favors.INDETERMINATE}),
    ],
)
def test_a_simulated_lesion_is_mixed_when_its_core_is_necrotic_and_its_rim_is_not(
    core, rim, favors
):
    made = grid_phantom(
        np.random.default_rng(5), grid=(12, 12, 1), core=core, rim=rim, snr=30.0,
        lesion_radius=0.6, lesion_centre=(0.15, -0.1, 0.0), water_share=0.0,
    )  # fmt: skip
    names = np.array(made.truth.label_names)[made.truth.labels]
    lesion = np.isin(names, ["core", "rim"]).astype(float)

    found = assess_grid(fit(preprocess(made.data)).areas, acquisition=made.data.acquisition)
    labels = np.array([label.value for label in LABELS])[found.codes]
    summary = summarize_lesion(
        lesion, labels, label_probability=found.label_probability,
        leaning_probability=found.leaning_probability,
    )  # fmt: skip

    assert summary.favors in favors
    assert ("mixed" in summary.sentence) == (favors == {Favors.MIXED})


def test_shares_of_less_than_a_voxel_are_not_stated():
    labels = grid_of([R] + [CLOSED] * 19)
    weights = np.where(labels == R, 0.4, 1.0)

    summary = summarize_lesion(weights, labels)

    assert summary.favors is Favors.NOT_EVALUABLE
    assert "too little for a label" in summary.sentence
    assert "%" not in summary.sentence


def test_interval_of_the_fraction_covers_the_truth():
    rng = np.random.default_rng(11)
    voxels, lesions = 40, 200
    weights = rng.uniform(0.3, 1.0, (voxels, 1, 1))
    hits = 0
    for _ in range(lesions):
        chance = rng.beta(0.5, 0.5, voxels)
        truth = rng.random(voxels) < chance
        probability = np.zeros((voxels, 1, 1, 3))
        probability[:, 0, 0, JUDGED.index(Favors.RECURRENCE)] = chance
        probability[:, 0, 0, JUDGED.index(Favors.INDETERMINATE)] = 1 - chance
        labels = grid_of(np.where(chance > 0.9, R, SILENT))
        summary = summarize_lesion(weights, labels, label_probability=probability, n_draws=500)
        _, low, high = summary.fractions[R]
        share = (weights[:, 0, 0] * truth).sum() / weights.sum()
        hits += low <= share <= high

    # binomial: 0.95 +- 3 sqrt(0.95 * 0.05 / 200)
    assert 0.90 <= hits / lesions <= 1.0


def test_worst_voxel_lies_in_the_lesion_and_has_the_highest_evidence():
    labels = grid_of([N, R, R, CLOSED, R])
    weights = np.array([1, 1, 0.2, 1, 0.0]).reshape(5, 1, 1)
    evidence = np.array([0.1, 6.0, 9.0, np.nan, 20.0]).reshape(5, 1, 1)

    summary = summarize_lesion(weights, labels, likelihood_ratio=evidence)

    assert summary.worst_voxel == (1, 0, 0)
    assert summary.worst_likelihood_ratio == 6.0
    assert summary.n_voxels == pytest.approx(3.2)
    assert summary.n_evaluable == pytest.approx(2.2)


def test_distribution_is_weighted():
    labels = grid_of([N] * 4)
    weights = np.array([1, 1, 1, 1e-1]).reshape(4, 1, 1)
    values = np.array([1.0, 2.0, 3.0, 100.0]).reshape(4, 1, 1, 1)
    areas = PeakAreas(("Cho", "Cr"), np.concatenate([values, np.ones_like(values)], axis=-1))

    summary = summarize_lesion(weights, labels, ratios=(ratio(areas, "Cho", "Cr"),))

    low, median, high = summary.distribution["Cho/Cr"]
    assert low < median < high
    assert median == pytest.approx(2.0, abs=0.1)


def test_a_lesion_beside_the_grid_is_refused():
    with pytest.raises(ValueError, match="does not touch the grid"):
        summarize_lesion(np.zeros((1, 1, 1)), grid_of([N]))


def test_a_share_lies_in_its_interval_though_no_draw_has_any_of_it():
    labels = np.full((40, 1, 1), Favors.INDETERMINATE.value)
    probability = np.zeros((40, 1, 1, 3))
    probability[..., 1], probability[..., 2] = 1e-5, 1.0 - 1e-5

    summary = summarize_lesion(np.ones((40, 1, 1)), labels, label_probability=probability)

    for share, low, high in summary.fractions.values():
        assert low <= share <= high


@pytest.mark.parametrize(
    ("weight", "favors"), [(0.4, "not-evaluable"), (0.5, "recurrence-favoring")]
)
def test_a_lesion_smaller_than_a_voxel_gets_no_label(weight, favors):
    labels = np.full((2, 1, 1), "recurrence-favoring")

    summary = summarize_lesion(np.full((2, 1, 1), weight), labels)

    assert summary.favors == favors
    assert ("too little for a label" in summary.sentence) is (favors == "not-evaluable")


def test_lesions_that_do_not_touch_are_told_apart():
    mask = np.zeros((12, 12, 4))
    mask[1:5, 1:5, 1:3] = 1
    mask[5, 5, 3] = 1  # touches the first at a corner
    mask[9:11, 9:11, 1] = 1
    mask[0, 11, 0] = 1  # a speck
    affine = np.diag([2.0, 2.0, 2.0, 1.0])

    found = separate_lesions(mask, affine, least_mm3=9.0)

    assert [int(one.sum()) for one, _ in found] == [33, 4]
    assert separate_lesions(np.zeros((3, 3, 3)), affine, least_mm3=1.0) == ()


def test_the_parts_of_a_mask_are_seen_as_the_whole():
    rng = np.random.default_rng(1)
    mask = np.zeros((40, 30, 12))
    mask[3:17, 5:16, 1:9] = rng.uniform(0.5, 1, (14, 11, 8))
    mask[25:36, 9:27, 3:12] = 1
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, :3] = affine[:3, :3] @ [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]]
    grid = {"shape": (10, 9, 2), "affine": np.diag([20.0, 20.0, 30.0, 1.0])}
    grid["affine"][:3, 3] = (-60.3, 10.7, 0.1)  # no place lies between two voxels

    parts = [mask_weights(*one, point_spread="box", **grid)
             for one in separate_lesions(mask, affine, least_mm3=1.0)]  # fmt: skip

    assert len(parts) == 2
    assert sum(parts) == pytest.approx(mask_weights(mask, affine, point_spread="box", **grid))


def test_soft_edges_of_lesions_that_meet_go_with_the_nearer_one():
    mask = np.array([0, 0.2, 1, 1, 0.3, 0.1, 0.3, 1, 0.4, 0]).reshape(10, 1, 1)

    first, second = separate_lesions(mask, np.eye(4), least_mm3=0.5)

    assert first[0].ravel() == pytest.approx([0, 0.2, 1, 1, 0.3, 0.1])
    assert second[0].ravel() == pytest.approx([0.3, 1, 0.4])
    assert second[1][:3, 3].tolist() == [6, 0, 0]


@pytest.mark.parametrize(
    ("labels", "favors"),
    [
        ([[N] * 30, [R] * 2], Favors.MIXED),  # two voxels of 32 are no tenth of the whole
        ([[N] * 4, [N] * 4], Favors.NECROSIS),
        ([[N] * 30, [SILENT] * 2], Favors.INDETERMINATE),
        ([[N] * 30, [CLOSED] * 2], Favors.INDETERMINATE),
        ([[R] * 4, [SILENT] * 30], Favors.RECURRENCE),
        ([[SILENT] * 4, [SILENT] * 4], Favors.INDETERMINATE),
        ([[CLOSED] * 4, [CLOSED] * 4], Favors.NOT_EVALUABLE),
    ],
)
def test_each_of_several_lesions_is_judged_alone(labels, favors):
    number = np.repeat(np.arange(len(labels)), [len(one) for one in labels])[:, None, None]
    grid = grid_of([label for one in labels for label in one])
    lesions = tuple(
        summarize_lesion((number == at).astype(float), grid) for at in range(len(labels))
    )

    found = with_lesions(summarize_lesion(np.ones(grid.shape), grid), lesions)

    assert found.favors is favors
    assert found.lesions == lesions
    assert found.sentence.startswith("The mask holds 2 separate lesions, each judged alone: ")
    assert f"about {lesions[1].centre_voxel}: {lesions[1].favors.value}" in found.sentence
    assert "The lesion is" not in found.sentence


def test_one_lesion_stays_as_it_is():
    whole = summarize_lesion(np.ones((4, 1, 1)), grid_of([N] * 4))

    assert with_lesions(whole, (whole,)) is whole


def test_without_choline_there_is_no_index():
    areas = brain()
    alone = PeakAreas(("Cr", "NAA"), areas.values[..., 1:])

    index = cho_naa_index(alone, usable=usable(areas))

    assert index.is_refused
    assert "Cho or NAA is not among the peaks" in index.sentence


def test_without_a_position_the_reference_is_what_looks_normal_outside_the_lesion():
    areas = brain()
    lesion = np.zeros((16, 16, 1), dtype=bool)
    lesion[:4] = True
    index = cho_naa_index(areas, usable=usable(areas))

    found = contralateral_reference(areas, usable=usable(areas), lesion=lesion, index=index)

    assert (found.mask == (index.normal & ~lesion)).all()


def test_ratios_of_peaks_that_are_not_there_are_not_normalized():
    areas = brain()
    alone = PeakAreas(("Cho",), areas.values[..., :1])
    chosen = usable(areas)

    reference = contralateral_reference(alone, usable=chosen, chosen=chosen)

    assert [one.name for one in normalized_ratios(alone, reference)] == ["Cho/nCho"]


@pytest.mark.parametrize("count", [5, 8, 20])
def test_a_reference_of_few_voxels_knows_how_little_it_knows(count):
    rng = np.random.default_rng(4)
    draws, truth = 1500, 2.0  # Cho of the lesion over that of normal tissue
    inside = 0
    for _ in range(draws):
        values = np.array([1.0, 1.0, 1.7]) * (1 + 0.1 * rng.standard_normal((count + 1, 1, 1, 3)))
        values[-1] = [truth, 0.8, 0.9]
        covariance = np.broadcast_to(np.eye(3) * 0.01**2, (count + 1, 1, 1, 3, 3))
        areas = PeakAreas(NAMES, values, covariance)
        chosen = np.ones((count + 1, 1, 1), dtype=bool)
        chosen[-1] = False
        found = contralateral_reference(areas, usable=usable(areas), chosen=chosen)
        over_normal = next(r for r in normalized_ratios(areas, found) if r.name == "Cho/nCho")
        inside += bool(over_normal.interval(0.95).contains(truth)[-1, 0, 0])

    # 88, 91 and 94 % as if five voxels knew the scatter
    assert inside / draws == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / draws))


def test_a_lesion_that_only_touches_its_voxels_has_its_size_all_the_same():
    found = summarize_lesion(np.full((4, 1, 1), 0.04), grid_of([N, N, R, N]))

    assert found.n_voxels == pytest.approx(0.16)
    assert found.favors == Favors.NOT_EVALUABLE
