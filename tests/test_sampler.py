"""The sampler against the fit's intervals."""

from dataclasses import replace

import numpy as np
import pytest

from mrs_necrosis import ratio
from mrs_necrosis.fitting import Baseline, default_model, fit

pytest.importorskip("emcee")

from mrs_necrosis.fitting.sampler import _conditional, sample


@pytest.fixture(scope="module")
def drawn(mixed_spectra):
    spectra = mixed_spectra(1, echo_time_s=0.144, seed=21)
    model = default_model(spectra.acquisition, kind="peaks", baseline=Baseline((8.0,)))
    draws = sample(spectra, model, rng=np.random.default_rng(4), steps=300, burn_in=300)
    return spectra, model, draws


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Cho/Cr", "NAA/Cr"])
def test_the_fits_interval_is_the_posteriors(drawn, name):
    spectra, model, draws = drawn
    numerator, denominator = name.split("/")

    reported = ratio(fit(spectra, model).areas, numerator, denominator)

    value, sd = float(reported.value[0, 0, 0]), float(reported.sd[0, 0, 0])
    low, high = draws.interval(numerator, denominator)
    # some 3000 correlated draws know an end of the interval to about a fifth of the sd
    assert low == pytest.approx(value - 1.96 * sd, abs=0.7 * sd)
    assert high == pytest.approx(value + 1.96 * sd, abs=0.7 * sd)


def test_draws_are_healthy(mixed_spectra):
    spectra = mixed_spectra(1, echo_time_s=0.144, seed=21)
    model = default_model(spectra.acquisition, kind="peaks")

    draws = sample(spectra, model, rng=np.random.default_rng(4), steps=20, burn_in=10)

    assert 0.1 < draws.accepted < 0.8
    assert draws.areas.shape == (len(draws.parameters), len(draws.names))
    assert "LL" in draws.names


def test_amplitudes_are_integrated_out_exactly(mixed_spectra):
    from mrs_necrosis.fitting.residuals import voxel_objective

    spectra = mixed_spectra(1, echo_time_s=0.144, seed=21)
    o = voxel_objective(spectra, default_model(spectra.acquisition, kind="peaks"))
    o = replace(o, aim=o.problem.start)
    k = len(o.problem.model.components)

    marginal, mean, root = _conditional(o, o.optimum[k:])

    # Laplace is exact for a normal: the joint density at its mode, times the normal's volume
    joint = o.chi_square(np.concatenate([mean, o.optimum[k:]]))
    constant = o.prior_target @ o.prior_target
    assert marginal == pytest.approx(
        -0.5 * (joint - constant) - np.log(np.diagonal(root)).sum(), rel=1e-9
    )
