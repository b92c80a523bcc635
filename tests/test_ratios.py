import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.ratios import RatioStatus, parse_ratio, ratio, standard_ratios


def pair(n, d, sd_n, sd_d, correlation=0.0):
    """Return Cho and Cr with errors; all broadcast."""
    n, d, sd_n, sd_d, correlation = np.broadcast_arrays(n, d, sd_n, sd_d, correlation)
    covariance = np.empty((*n.shape, 2, 2))
    covariance[..., 0, 0], covariance[..., 1, 1] = sd_n**2, sd_d**2
    covariance[..., 0, 1] = covariance[..., 1, 0] = correlation * sd_n * sd_d
    return PeakAreas(("Cho", "Cr"), np.stack([n, d], axis=-1).astype(float), covariance)


def cho_cr(*arguments):
    return ratio(pair(*arguments), "Cho", "Cr")


# ------------------------------------------------------------------ the numbers


def test_ratios_of_the_reference_case_are_those_of_the_report():
    areas = PeakAreas(("LL", "Cho", "Cr", "NAA"), np.array([108964.0, 33671.0, 29534.0, 31278.0]))
    expected = {
        "Cho/Cr": 1.14008, "LL/Cr": 3.68944, "NAA/Cr": 1.05905,
        "Cho/NAA": 1.07651, "LL/Cho": 3.23614, "LL/NAA": 3.48373,
    }  # fmt: skip

    for name, value in expected.items():
        one = ratio(areas, *name.split("/"))
        assert round(float(one.value), 5) == value
        # the report gives no error, so there is none
        assert one.sd is None
        assert one.interval() is None
        assert one.probability_above(1.0) is None
        assert one.bound() is None


def test_sd_is_the_scatter_of_repeated_measurements():
    rng = np.random.default_rng(1)
    for correlation in (-0.8, 0.0, 0.6):
        truth = pair(3.0, 2.0, 0.06, 0.05, correlation)
        draws = rng.multivariate_normal(truth.values, truth.covariance, size=40_000)

        observed = np.std(draws[:, 0] / draws[:, 1])

        # the sd of 40 000 draws is known to 0.35 %; second-order terms are below 0.3 %
        assert float(ratio(truth, "Cho", "Cr").sd) == pytest.approx(observed, rel=0.02)


@pytest.mark.parametrize("correlation", [-0.9, -0.3, 0.0, 0.7])
@pytest.mark.parametrize("cv", [0.05, 0.20, 0.30])
def test_interval_covers_the_truth(cv, correlation):
    rng = np.random.default_rng(7)
    truth = pair(3.0, 1.0, 0.1, cv, correlation)
    draws = rng.multivariate_normal(truth.values, truth.covariance, size=20_000)
    measured = PeakAreas(("Cho", "Cr"), draws, np.broadcast_to(truth.covariance, (20_000, 2, 2)))

    covered = ratio(measured, "Cho", "Cr").interval(0.95).contains(3.0).mean()

    # Fieller is exact, also where the set is unbounded: 0.95 +- 4 sqrt(0.95 * 0.05 / 20000)
    assert covered == pytest.approx(0.95, abs=0.0062)


def test_probability_above_is_the_share_of_draws():
    rng = np.random.default_rng(3)
    truth = pair(2.0, 1.5, 0.2, 0.15, -0.5)
    draws = rng.multivariate_normal(truth.values, truth.covariance, size=100_000)
    one = ratio(truth, "Cho", "Cr")

    for cutoff in (1.0, 1.3, 1.6):
        share = (draws[:, 0] / draws[:, 1] > cutoff).mean()
        assert float(one.probability_above(cutoff)) == pytest.approx(share, abs=0.0065)


@pytest.mark.parametrize("correlation", [-0.8, 0.0, 0.6])
def test_a_bound_lies_where_the_line_through_zero_is_one_sided_compatible(correlation):
    z = 1.6448536269514722  # the standard normal's 95 % point
    below = cho_cr(0.2, 2.0, 0.1, 0.3, correlation)
    above = cho_cr(2.0, 0.2, 0.3, 0.1, correlation)

    for one, sign in ((below, -1.0), (above, 1.0)):
        n, d, var_n, var_d, cov = one.moments
        r = one.bound()
        # n - r d is normal with this sd: the bound is the r at which it is z sd from zero
        sd = np.sqrt(var_n - 2 * r * cov + r**2 * var_d)
        assert n - r * d == pytest.approx(sign * z * sd, rel=1e-9)


def test_bound_of_an_absent_numerator_covers():
    rng = np.random.default_rng(5)
    draws = rng.normal([0.0, 1.0], [0.1, 0.05], size=(20_000, 2))
    covariance = np.broadcast_to(np.diag([0.01, 0.0025]), (20_000, 2, 2))
    one = ratio(PeakAreas(("Cho", "Cr"), draws, covariance), "Cho", "Cr")
    absent = one.status == RatioStatus.BELOW_DETECTION

    bounds = one.bound(0.95)[absent]

    assert absent.mean() > 0.99
    # the truth is zero, and a bound is never below zero: it always covers
    assert (bounds > 0).all()
    # a numerator of exactly zero: z sd / d, to first order
    exact = float(cho_cr(0.0, 1.0, 0.1, 1e-9).bound(0.95))
    assert exact == pytest.approx(0.1645, abs=1e-4)


# ------------------------------------------------------------------ properties

positive = st.floats(0.1, 10.0)
errors = st.floats(0.001, 0.3)
correlations = st.floats(-0.95, 0.95)


@given(n=positive, d=positive, a=errors, b=errors, c=correlations, unit=st.floats(1e-3, 1e6))
def test_nothing_depends_on_the_unit_of_area(n, d, a, b, c, unit):
    one = cho_cr(n, d, a * n, b * d, c)
    other = cho_cr(n * unit, d * unit, a * n * unit, b * d * unit, c)

    np.testing.assert_allclose(one.value, other.value, rtol=1e-9)
    np.testing.assert_allclose(one.sd, other.sd, rtol=1e-6)
    for level in (0.68, 0.95):
        first, second = one.interval(level), other.interval(level)
        assert first.shape == second.shape
        np.testing.assert_allclose(first.lower, second.lower, rtol=1e-6)
        np.testing.assert_allclose(first.upper, second.upper, rtol=1e-6)
    assert one.status == other.status


@given(n=positive, d=positive, a=st.floats(0.001, 0.2), b=st.floats(0.001, 0.2), c=correlations)
def test_the_inverse_ratio_has_the_inverse_interval(n, d, a, b, c):
    areas = pair(n, d, a * n, b * d, c)

    one = ratio(areas, "Cho", "Cr").interval()
    inverse = ratio(areas, "Cr", "Cho").interval()

    np.testing.assert_allclose(one.lower, 1 / inverse.upper, rtol=1e-6)
    np.testing.assert_allclose(one.upper, 1 / inverse.lower, rtol=1e-6)


@given(n=st.floats(-3, 10), d=st.floats(-3, 10), a=st.floats(0.01, 3), b=st.floats(0.01, 3),
       c=correlations)  # fmt: skip
def test_an_interval_holds_its_own_estimate_and_grows_with_its_level(n, d, a, b, c):
    one = cho_cr(n, d, a, b, c)
    narrow, wide = one.interval(0.5), one.interval(0.95)

    if str(one.status) in {"ok", "below-detection"}:
        assert wide.shape == "bounded"
        assert narrow.lower - 1e-9 <= one.value <= narrow.upper + 1e-9
        assert wide.lower <= narrow.lower + 1e-9
        assert wide.upper >= narrow.upper - 1e-9
    else:
        assert np.isnan(one.value)


@given(n=positive, d=positive, a=errors, b=errors, c=correlations)
def test_probability_falls_with_the_cutoff_and_is_half_at_the_value(n, d, a, b, c):
    one = cho_cr(n, d, a * n, b * d, c)
    at = [float(one.probability_above(x)) for x in (0.5 * n / d, n / d, 2 * n / d)]
    assert one.status == RatioStatus.OK

    assert at[0] >= at[1] >= at[2]
    assert at[1] == pytest.approx(0.5, abs=1e-6)


# ------------------------------------------------------------------ absent peaks


def test_absent_peaks_follow_the_table():
    one = cho_cr(
        np.array([5.0, 0.2, 5.0, 0.2, np.nan]),
        np.array([4.0, 4.0, 0.2, 0.2, 4.0]),
        0.1, 0.1,
    )  # fmt: skip
    bound = one.bound()

    assert one.status.tolist() == [
        "ok", "below-detection", "denominator-not-detected", "not-evaluable", "not-evaluable",
    ]  # fmt: skip
    assert np.isfinite(one.value).tolist() == [True, True, False, False, False]
    assert one.value[1] == pytest.approx(0.05)  # the estimate, never zero
    assert np.isfinite(bound).tolist() == [False, True, True, False, False]
    assert bound[1] > 0.05
    assert 5.0 / 0.4 < bound[2] < 5.0 / 0.2
    assert np.isnan(one.probability_above(1.0)[2:]).all()
    assert all(status.sentence for status in RatioStatus)


def test_an_estimate_below_zero_counts_as_zero_in_a_bound():
    below = cho_cr(-0.2, 1.0, 0.1, 0.1), cho_cr(0.0, 1.0, 0.1, 0.1)
    above = cho_cr(1.0, -0.2, 0.1, 0.1), cho_cr(1.0, 0.0, 0.1, 0.1)

    for negative, zero in (below, above):
        assert float(negative.bound()) == pytest.approx(float(zero.bound()))


def test_a_bound_is_never_negative():
    # at this level a numerator of 3 sd may be below zero itself
    assert float(cho_cr(0.31, 0.0, 0.1, 0.1).bound(0.9999)) == 0.0


def test_a_denominator_that_may_be_zero_leaves_the_interval_open():
    interval = cho_cr(np.array([5.0, 0.1]), 0.1, 0.1, 0.1).interval()

    assert interval.shape.tolist() == ["two-piece", "unbounded"]
    # everything outside the two ends
    assert interval.contains(100.0).tolist() == [True, True]
    assert interval.contains(-100.0).tolist() == [True, True]
    assert interval.contains(0.0).tolist() == [False, True]


def test_no_fit_is_no_interval():
    areas = PeakAreas(("Cho", "Cr"), np.full((1, 2), np.nan), np.full((1, 2, 2), np.nan))

    one = ratio(areas, "Cho", "Cr")

    assert one.interval().shape.tolist() == ["none"]
    assert not one.interval().contains(1.0).any()
    assert one.status.tolist() == ["not-evaluable"]


def test_an_area_whose_error_is_not_known_has_no_interval():
    covariance = np.array([[np.nan, np.nan], [np.nan, 0.01]])

    one = ratio(PeakAreas(("Cho", "Cr"), [2.0, 1.0], covariance), "Cr", "Cho")

    assert one.interval().shape == "none"
    assert np.isnan([one.interval().lower, one.interval().upper]).all()


def test_a_peak_over_itself_is_one_without_error():
    areas = pair(3.0, 2.0, 0.3, 0.2)

    one = ratio(areas, "Cr", "Cr")

    assert (one.value, one.sd) == (1.0, 0.0)
    assert (one.interval().lower, one.interval().upper) == (1.0, 1.0)
    above = [float(one.probability_above(cutoff)) for cutoff in (0.99, 1.0, 1.01)]
    assert above == pytest.approx([1.0, 0.0, 0.0])


def test_signed_lactate_has_the_symmetric_interval():
    areas = PeakAreas(("Lac", "Cr"), np.array([0.8, 2.0]), np.diag([0.04, 0.01]))

    one = ratio(areas, "Lac", "Cr")
    interval = one.interval(0.95)

    assert float(interval.upper - one.value) == pytest.approx(1.959964 * float(one.sd), rel=1e-6)
    assert float(one.value - interval.lower) == pytest.approx(1.959964 * float(one.sd), rel=1e-6)
    assert interval.upper != one.interval(0.95, method="fieller").upper


# ------------------------------------------------------------------ misuse


def test_misuse_is_named():
    one = cho_cr(3.0, 2.0, 0.1, 0.1)
    for level in (0.0, 1.0, 95):
        with pytest.raises(ValueError, match="level must be between 0 and 1"):
            one.interval(level)
    with pytest.raises(KeyError, match="no peak 'NAA'; there are Cho, Cr"):
        ratio(pair(1, 1, 1, 1), "NAA", "Cr")
    assert parse_ratio(" Cho / Cr ") == ("Cho", "Cr")
    for wrong in ("Cho", "Cho/", "/Cr", "a/b/c"):
        with pytest.raises(ValueError, match="written like 'Cho/Cr'"):
            parse_ratio(wrong)


@pytest.mark.parametrize(
    ("values", "sd", "words"),
    [
        ([2.0, 1.0], 0.1, "Cho/Cr 2.00 (1.63 to 2.53)"),
        ([2.0, 1.0], None, "Cho/Cr 2.00"),
        ([2.0, 1.0], 0.6, "Cho/Cr: the denominator is not detected; the ratio is above the bound"),
        ([0.1, 1.0], 0.1, "Cho/Cr: the numerator is not detected; the ratio is below the bound ("),
        ([0.0, 1.0], None, "Cho/Cr: the numerator is not detected; the ratio is below the bound"),
        ([np.nan, 1.0], 0.1, "Cho/Cr: neither peak is detected, or there is no fit; no ratio"),
    ],
)
def test_a_ratio_of_one_voxel_prints_in_words(values, sd, words):
    covariance = None if sd is None else np.diag([sd**2] * 2)

    found = ratio(PeakAreas(("Cho", "Cr"), values, covariance), "Cho", "Cr")

    assert str(found).startswith(words)


def test_a_ratio_of_a_grid_prints_how_many_voxels_it_has():
    assert str(ratio(PeakAreas(("Cho", "Cr"), np.ones((2, 3, 1, 2))), "Cho", "Cr")) == (
        "Cho/Cr in 6 voxels"
    )


def test_the_arrays_of_a_ratio_cannot_be_changed():
    found = ratio(PeakAreas(("Cho", "Cr"), [1.0, 2.0], np.eye(2)), "Cho", "Cr")

    for array in (found.value, found.sd, found.status, found.moments):
        assert not array.flags.writeable


def test_standard_ratios_are_those_whose_peaks_are_there():
    areas = PeakAreas(("Cho", "Cr", "mI"), [1.0, 2.0, 3.0])

    assert list(standard_ratios(areas)) == ["Cho/Cr", "mI/Cr"]
