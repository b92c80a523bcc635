import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrs_necrosis import analyze, ratio
from mrs_necrosis.areas import DETECTION_SD, PeakAreas, as_printed
from mrs_necrosis.errors import FormatError

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


def test_ll_is_the_sum_of_all_its_parts_and_is_not_made_twice():
    areas = PeakAreas(("Lip13", "Lip09", "Lac", "Cr"), np.array([1.0, 0.5, 0.5, 3.0]))

    with_ll = areas.with_ll()

    assert with_ll.value("LL") == 2.0
    assert with_ll.with_ll() is with_ll
    assert PeakAreas(("Lip", "Lac"), np.array([1.0, 0.5])).with_ll().value("LL") == 1.5


@pytest.mark.parametrize("names", [("Cho", "Cr"), ("Lac", "Cr"), ("Lip13", "Lac"), ("Lip", "Cr")])
def test_a_part_alone_is_no_ll(names):
    assert "LL" not in PeakAreas(names, np.ones(2)).with_ll()


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
        (("Cr", "Cho"), np.ones(2), np.array([[1, 1.1], [1.1, 1]]), "no correlation beyond 1"),
        (("Cr", "Cho"), np.ones(2), np.array([[0, 0.1], [0.1, 1]]), "no correlation beyond 1"),
        (
            ("Cr", "Cho"),
            np.ones(2),
            np.array([[1, np.nan], [np.nan, 1]]),
            "must be finite where its variances are",
        ),
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


@pytest.mark.parametrize(
    ("values", "sd", "message"),
    [
        ([-5, 3, 4], None, "the area of Cho is -5; an area is a magnitude, so write 0 for a peak"),
        ([5, -3, 4], [1, 0.9, 1], "the area of Cr is -3, more than 3 sd below zero; an area is"),
        (
            [5, 1e-300, 4],
            None,
            "the areas of Cho and Cr differ by a factor of 5e.300; peaks of one",
        ),
    ],
)
def test_no_console_prints_such_a_number(values, sd, message):
    areas = PeakAreas(("Cho", "Cr", "NAA"), values, None if sd is None else np.diag(sd) ** 2)

    with pytest.raises(ValueError, match=message):
        as_printed(areas)


def test_a_negative_ll_may_be_a_net_value():
    with pytest.raises(ValueError, match="a net LL of 120 to 160 ms needs its echo time"):
        as_printed(PeakAreas(("LL", "Cr"), [-5.0, 3.0]))

    net = PeakAreas(("LL_net", "Cr"), [-5.0, 3.0])
    assert as_printed(net).value("LL_net") == -5.0


def test_zero_and_noise_below_zero_are_no_mistakes():
    zero = PeakAreas(("Cho", "Cr"), [0.0, 3.0])
    noise = PeakAreas(("Cho", "Cr"), [-2.0, 3.0], np.diag([1.0, 1.0]))

    assert as_printed(zero).value("Cho") == 0.0
    assert as_printed(noise).value("Cho") == -2.0


@pytest.mark.parametrize("name", ["Lac", "Ala"])
def test_the_area_of_an_inverted_doublet_is_its_magnitude(name):
    covariance = np.array([[4.0, 1.0], [1.0, 9.0]])

    found = as_printed(PeakAreas((name, "Cr"), [-50.0, 30.0], covariance))
    unsure = as_printed(PeakAreas((name, "Cr"), [-5.0, 30.0], covariance))

    assert found.value(name) == 50.0
    np.testing.assert_array_equal(found.covariance, [[4.0, -1.0], [-1.0, 9.0]])
    assert unsure.value(name) == -5.0


def test_areas_do_not_change_with_what_a_read_only_view_looks_at():
    source = np.array([1.0, 2.0])
    view = source.view()
    view.setflags(write=False)

    areas = PeakAreas(("Cho", "Cr"), view)
    source[0] = 9.0

    assert areas.values.tolist() == [1.0, 2.0]


def test_complex_areas_are_refused_and_do_not_lose_their_imaginary_part():
    with pytest.raises(TypeError, match="values must be real numbers; got complex ones"):
        PeakAreas(("Cho", "Cr"), np.array([1.0 + 1.0j, 2.0]))


def test_a_read_only_array_is_not_copied():
    source = np.array([1.0, 2.0])
    source.setflags(write=False)

    assert np.shares_memory(PeakAreas(("Cho", "Cr"), source[:]).values, source)


def test_flat_areas_are_those_of_all_voxels_along_one_axis():
    covariance = np.broadcast_to(np.diag([1.0, 4.0]), (3, 2, 1, 2, 2))
    grid = PeakAreas(("Cho", "Cr"), np.arange(12.0).reshape(3, 2, 1, 2), covariance, "mmol/l")

    flat = grid.flat()

    assert flat.values.tolist() == np.arange(12.0).reshape(6, 2).tolist()
    assert flat.covariance.shape == (6, 2, 2)
    assert (flat.names, flat.unit, flat.quantity) == (grid.names, grid.unit, grid.quantity)
    assert PeakAreas(("Cho", "Cr"), [1.0, 2.0]).flat().is_single
    assert not grid.is_single


def test_areas_and_their_covariance_go_to_uncertainties_and_come_back():
    covariance = np.array([[0.04, 0.01, 0.0], [0.01, 0.09, -0.02], [0.0, -0.02, 0.16]])
    areas = PeakAreas(("Cho", "Cr", "NAA"), [3.0, 2.0, 4.0], covariance)

    peaks = areas.to_ufloats()
    back = PeakAreas.from_ufloats(peaks)
    quotient, told = peaks["Cho"] / peaks["Cr"], ratio(areas, "Cho", "Cr")

    np.testing.assert_allclose(back.covariance, covariance, atol=1e-12)
    assert (quotient.nominal_value, quotient.std_dev) == pytest.approx(
        (float(told.value), float(told.sd)), rel=1e-9
    )
    assert (peaks["Cr"] / peaks["Cr"]).std_dev == pytest.approx(0.0, abs=1e-12)


def test_areas_with_errors_of_uncertainties_are_analysed_with_their_covariance():
    areas = PeakAreas(("Cho", "Cr", "NAA", "LL"), [3.0, 2.0, 2.0, 7.0], np.eye(4) * 0.01)
    peaks = areas.to_ufloats()

    found = analyze({"tCho": peaks["Cho"], "Cr": peaks["Cr"], "NAA": peaks["NAA"],
                     "LL": peaks["LL"]})  # fmt: skip

    assert found.ratios["Cho/Cr"].sd == pytest.approx(ratio(areas, "Cho", "Cr").sd, rel=1e-9)
    with pytest.raises(TypeError, match=r"every area needs an error.*2\.0 of Cr"):
        analyze({"Cho": peaks["Cho"], "Cr": 2.0})
    with pytest.raises(ValueError, match="one voxel with a covariance"):
        PeakAreas(("Cho",), [3.0]).to_ufloats()


def test_numbers_with_errors_obey_what_peak_values_obey():
    """At a long echo time LL is a net value; a ratio or an echo time is no peak."""
    ufloat = pytest.importorskip("uncertainties").ufloat
    peaks = {"LL": 108964, "Cho": 33671, "Cr": 29534, "NAA": 31278}
    errors = {name: ufloat(value, 500) for name, value in peaks.items()}

    plain, known = (analyze(one, echo_time_s=0.144) for one in (peaks, errors))

    assert known.areas.names == plain.areas.names == ("LL_net", "Cho", "Cr", "NAA")
    assert known.areas.covariance[1, 1] == pytest.approx(500**2)
    with pytest.raises(FormatError, match="the area of Cho is -3"):
        analyze({**errors, "Cho": ufloat(-3, 0.1)})
    with pytest.raises(FormatError, match="has ratios where peaks are needed"):
        analyze({**errors, "Cho/Cr": ufloat(1.1, 0.1)})


def test_an_error_that_is_no_number_and_a_name_that_is_no_text_are_refused():
    ufloat = pytest.importorskip("uncertainties").ufloat
    cr = ufloat(2.0, 0.1)

    for error in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="the error of Cho must be a number"):
            analyze({"Cho": ufloat(3.0, error), "Cr": cr})
    with pytest.raises(TypeError, match="the name of a peak must be text"):
        analyze({1: cr, "Cr": cr})


def test_a_peak_without_an_answer_leaves_the_errors_of_the_others():
    pytest.importorskip("uncertainties")
    nan = np.nan
    covariance = [[0.04, nan, 0.01], [nan, nan, nan], [0.01, nan, 0.09]]
    areas = PeakAreas(("Cho", "Lac", "Cr"), [3.0, nan, 2.0], covariance)

    back = PeakAreas.from_ufloats(areas.to_ufloats())

    np.testing.assert_allclose(back.values, areas.values)
    np.testing.assert_allclose(back.covariance[::2, ::2], [[0.04, 0.01], [0.01, 0.09]])
    assert np.isnan(areas.to_ufloats()["Lac"].std_dev)
    nothing = PeakAreas(("Cho",), [nan], [[nan]])
    assert np.isnan(nothing.to_ufloats()["Cho"].nominal_value)
