"""The bridge to lmfit: the same objective, the same optimum, and a way back."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from mrs_necrosis import Spectra
from mrs_necrosis.errors import FitError
from mrs_necrosis.fitting import default_model, fit
from mrs_necrosis.fitting.lmfit_bridge import lmfit_problem
from mrs_necrosis.fitting.objective import Objective
from mrs_necrosis.fitting.residuals import voxel_objective
from mrs_necrosis.fitting.varpro import evaluate


@pytest.fixture(scope="module")
def spectra(mixed_spectra):
    return mixed_spectra(1, echo_time_s=0.144, seed=3)


@pytest.fixture(scope="module")
def problem(spectra):
    return lmfit_problem(spectra, default_model(spectra.acquisition, kind="peaks"), (1, 0, 0))


def test_rows_are_the_objective_of_the_solver(problem):
    o = problem.objective
    k = len(o.problem.model.components)
    precision, pull = o.prior_root.T @ o.prior_root, o.prior_root.T @ o.prior_target
    constant = o.prior_target @ o.prior_target

    objective = Objective(
        o.problem, *(a[None] for a in (o.data, precision, pull, o.shrink, o.aim))
    )
    found = evaluate(objective, o.optimum[None, k:]).chi_square[0]

    assert o.chi_square(o.optimum) == pytest.approx(found + constant, rel=1e-9)


def test_jacobian_is_the_derivative_of_the_rows(problem):
    o = problem.objective
    x = o.optimum + 0.01 * np.maximum(1, np.abs(o.optimum))
    jacobian = o.jacobian(x)
    for i, name in enumerate(o.names):
        step = np.zeros_like(x)
        step[i] = 1e-5 * max(1.0, abs(x[i]))

        numeric = (o.rows(x + step) - o.rows(x - step)) / (2 * step[i])

        scale = np.abs(numeric).max()
        np.testing.assert_allclose(jacobian[:, i], numeric, atol=1e-4 * scale, err_msg=name)


@pytest.mark.parametrize("kind", ["peaks", "metabolites"])
@pytest.mark.parametrize("echo_time_s", [0.03, 0.144])
def test_no_other_solver_finds_a_lower_point_nearby(mixed_spectra, kind, echo_time_s):
    spectra = mixed_spectra(1, echo_time_s=echo_time_s, seed=7)
    model = default_model(spectra.acquisition, kind=kind)
    for voxel in (1, 3, 5):
        o = voxel_objective(spectra, model, (voxel, 0, 0))
        inside = np.clip(o.optimum, o.lower + 1e-9, o.upper - 1e-9)

        polished = least_squares(
            o.rows, inside, jac=o.jacobian, bounds=(o.lower, o.upper), x_scale="jac"
        )

        assert o.chi_square(o.optimum) < 2 * polished.cost + 0.1


def test_lmfit_ends_at_the_same_optimum(problem):
    o = problem.objective

    # its numerical derivatives: independent of ours
    result = problem.minimize(problem.parameters(at_optimum=True), method="least_squares")

    assert abs(result.chisqr - o.chi_square(o.optimum)) < 0.1
    back = problem.as_fit(result)
    whole = fit(o.spectra, o.problem.model)
    sd = np.sqrt(np.diag(whole.areas.covariance[0, 0, 0]))
    apart = (back.areas.values - whole.areas.values)[0, 0, 0] / sd
    # the fit averages over the stiffness of the baseline, lmfit has one
    assert np.abs(apart).max() < 1.0
    np.testing.assert_allclose(back.curves().fit, back.curves().data - back.curves().residual)


def test_a_constraint_of_the_users_own_holds_and_reaches_the_covariance(problem):
    parameters = problem.parameters(at_optimum=True)
    parameters["area_Cho"].expr = "0.9 * area_Cr - area_Ch"

    back = problem.as_fit(problem.minimize(parameters, method="least_squares"))

    areas = back.areas
    cho, cr = areas.index("Cho"), areas.index("Cr")
    values, covariance = areas.values[0, 0, 0], areas.covariance[0, 0, 0]
    assert values[cho] == pytest.approx(0.9 * values[cr], rel=1e-9)
    assert covariance[cho, cho] == pytest.approx(0.81 * covariance[cr, cr], rel=1e-6)
    assert covariance[cho, cr] == pytest.approx(0.9 * covariance[cr, cr], rel=1e-6)


def test_a_search_leaves_its_start_alone(problem):
    o = problem.objective
    k = len(o.problem.model.components)

    # the start is where the filter bank says, not where the search ended
    assert np.abs(o.start[k:] - o.optimum[k:]).max() > 1e-3
    assert o.chi_square(o.start) > o.chi_square(o.optimum) + 10


def test_an_empty_voxel_is_refused(spectra):
    empty = Spectra(fid=np.zeros((1, 1, 1, 1024)), acquisition=spectra.acquisition)

    with pytest.raises(FitError, match="nothing to fit"):
        voxel_objective(empty)
