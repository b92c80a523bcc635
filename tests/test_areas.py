import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrs_necrosis.areas import DETECTION_SD, PeakAreas

NAMES = ("Lip13", "Lip09", "Lac", "Cr")


def made(seed=0, shape=(3, 2)):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(*shape, 4, 4))
    return PeakAreas(NAMES, rng.normal(size=(*shape, 4)), root @ np.swapaxes(root, -1, -2))


@given(seed=st.integers(0, 1000))
def test_a_sum_has_the_covariance_of_its_parts(seed):
    areas = made(seed)

    summed = areas.with_sum("LL", ("Lip13", "Lip09", "Lac"))

    # Var(a + b + c) and Cov(a + b + c, d), written out
    expected = areas.covariance[..., :3, :3].sum(axis=(-1, -2))
    np.testing.assert_allclose(summed.sd("LL") ** 2, expected, rtol=1e-9)
    np.testing.assert_allclose(summed.covariance[..., 4, 3], areas.covariance[..., :3, 3].sum(-1))
    np.testing.assert_allclose(summed.value("LL"), areas.values[..., :3].sum(axis=-1))
    np.testing.assert_array_equal(summed.covariance[..., :4, :4], areas.covariance)


def test_ll_is_the_sum_of_the_parts_that_there_are_and_is_not_made_twice():
    areas = PeakAreas(("Lip13", "Cr"), np.array([2.0, 1.0]))

    with_ll = areas.with_ll()

    assert with_ll.value("LL") == 2.0
    assert with_ll.with_ll() is with_ll
    assert "LL" not in PeakAreas(("Cho", "Cr"), np.ones(2)).with_ll()


def test_detection_is_three_sd_or_a_printed_number():
    values = np.array([[DETECTION_SD - 0.01], [DETECTION_SD], [-5.0], [np.nan]])
    with_error = PeakAreas(("Cr",), values, np.ones((4, 1, 1)))
    printed = PeakAreas(("Cr",), np.array([[0.1], [0.0], [-1.0]]))

    assert with_error.detected("Cr").tolist() == [False, True, False, False]
    assert printed.detected("Cr").tolist() == [True, False, False]


def test_areas_cannot_be_changed_and_do_not_change_with_their_source():
    source = np.ones((2, 1))
    areas = PeakAreas(("Cr",), source)

    source[0, 0] = 7.0

    assert areas.value("Cr").tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        areas.values[0] = 2.0


@pytest.mark.parametrize(
    ("names", "values", "covariance", "message"),
    [
        (("Cr", "Cr"), np.ones(2), None, "names must be distinct"),
        ((), np.ones(0), None, "names must be distinct"),
        (("Cr",), np.ones(2), None, "must have 1 areas on its last axis"),
        (("Cr",), np.array([np.inf]), None, "cannot be infinite"),
        (("Cr",), np.ones(1), np.ones((2, 2)), "covariance must have shape"),
        (("Cr",), np.ones(1), -np.ones((1, 1)), "negative variance"),
        (("Cr", "Cho"), np.ones(2), np.array([[1, 0.5], [0.1, 1]]), "must be symmetric"),
    ],
)
def test_impossible_areas_are_refused(names, values, covariance, message):
    with pytest.raises(ValueError, match=message):
        PeakAreas(names, values, covariance)


def test_asymmetry_is_found_in_any_voxel_of_a_large_grid():
    covariance = np.broadcast_to(np.eye(2), (10_000, 2, 2)).copy()
    covariance[9_999, 0, 1] = 0.5

    with pytest.raises(ValueError, match="must be symmetric"):
        PeakAreas(("Cr", "Cho"), np.ones((10_000, 2)), covariance)


def test_an_unknown_quantity_or_peak_is_named():
    with pytest.raises(ValueError, match="quantity must be one of"):
        PeakAreas(("Cr",), np.ones(1), quantity="volume")
    with pytest.raises(KeyError, match="no peak 'Cho'; there are Cr"):
        PeakAreas(("Cr",), np.ones(1)).value("Cho")


def test_no_answer_is_allowed():
    areas = PeakAreas(("Cr",), np.array([[np.nan]]), np.full((1, 1, 1), np.nan))

    assert np.isnan(areas.sd("Cr")).all()
    assert not areas.detected("Cr").any()
