"""The trainable classifier: scikit-learn's contract, measurement error, calibration, saving."""

import json
import math

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra 'learn'")

from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier import NecrosisClassifier, cross_validate, log_ratios, reliability
from mrs_necrosis.errors import FormatError
from mrs_necrosis.simulation.tissues import cohort

PEAKS = ("LL", "Cho", "Cr", "NAA")


def simulated(n, seed=0, noise=0.05):
    """Return log-ratios, their errors and classes of two simulated groups."""
    rng = np.random.default_rng(seed)
    features, errors = [], []
    for group in ("radiation_necrosis", "metastasis_recurrence"):
        drawn = cohort(n, group, rng)
        values = np.stack([drawn.value(name) for name in PEAKS], axis=-1)
        sd = noise * np.exp(rng.normal(0, 0.5, n))
        values = values + rng.standard_normal(values.shape) * sd[:, np.newaxis]
        covariance = np.eye(4) * sd[:, np.newaxis, np.newaxis] ** 2
        x, error = log_ratios(PeakAreas(PEAKS, values, covariance))
        features.append(x)
        errors.append(error)
    classes = np.repeat(["necrosis", "recurrence"], n)
    return np.concatenate(features), np.concatenate(errors), classes


def test_scikit_learn_accepts_the_estimator():
    results = check_estimator(NecrosisClassifier(), on_skip=None)

    assert len(results) > 40
    assert {one["status"] for one in results} <= {"passed", "skipped"}
    # what is skipped without a variable of scipy's, and without pandas
    assert {one["check_name"] for one in results if one["status"] == "skipped"} <= {
        "check_array_api_input",
        "check_classifier_data_not_an_array",
    }


def test_log_ratios_have_the_covariance_of_their_shared_creatine():
    sd = 0.02
    areas = PeakAreas(PEAKS, [3.0, 1.2, 1.0, 0.8], np.eye(4) * sd**2)
    rng = np.random.default_rng(0)
    draws = rng.normal([3.0, 1.2, 1.0, 0.8], sd, (200_000, 4))

    logs, covariance = log_ratios(areas)

    drawn = np.log(draws[:, [1, 3, 0]] / draws[:, [2]])
    assert logs == pytest.approx(np.log([1.2, 0.8, 3.0]))
    # 1 % of Monte Carlo error of a covariance at 200 000 draws, and 0.1 % of second order
    np.testing.assert_allclose(np.cov(drawn.T), covariance, rtol=0.02, atol=2e-6)


def test_an_absent_peak_gives_a_finite_log_ratio_with_a_wide_error():
    logs, covariance = log_ratios(PeakAreas(PEAKS, [3.0, 1.2, 1.0, -0.05], np.eye(4) * 0.01))

    assert np.isfinite(logs).all()
    assert logs[1] == pytest.approx(math.log(0.1))
    assert covariance[1, 1] >= 1.0


def test_voxels_without_an_answer_stay_without():
    logs, _ = log_ratios(PeakAreas(PEAKS, [[np.nan] * 4, [1.0, 1.0, 1.0, 1.0]]))

    assert np.isnan(logs[0]).all()
    assert logs[1] == pytest.approx([0, 0, 0])


def test_populations_are_found_behind_their_measurement_error():
    rng = np.random.default_rng(1)
    n, truth = 4000, np.array([[1.0, 0.3], [0.3, 0.5]])
    x = np.concatenate([rng.multivariate_normal([0, 0], truth, n),
                        rng.multivariate_normal([4, 0], truth, n)])  # fmt: skip
    sd = rng.uniform(0.2, 1.5, x.shape)

    model = NecrosisClassifier(calibration_folds=0, regularization=0.0).fit(
        x + sd * rng.standard_normal(x.shape), np.repeat(["a", "b"], n), sd
    )

    # the sd of a variance of 4000 draws with this error is about 0.03
    np.testing.assert_allclose(model.covariances_[0], truth, atol=0.12)
    np.testing.assert_allclose(model.means_, [[0, 0], [4, 0]], atol=0.12)


def test_a_noisy_case_gets_a_more_cautious_probability():
    x, error, y = simulated(400)
    model = NecrosisClassifier().fit(x, y, error)
    case = x[[int(np.argmax(model.predict_proba(x, error)[:, 0]))]]

    sharp = model.predict_proba(case, np.full((1, 3), 0.02))
    blurred = model.predict_proba(case, np.full((1, 3), 1.5))

    assert blurred[0].max() < sharp[0].max()


def test_predict_never_abstains_and_decision_does():
    x, error, y = simulated(300)
    model = NecrosisClassifier().fit(x, y, error)

    strange = np.vstack([x, [[9.0, -9.0, 9.0]]])
    wider = np.concatenate([error, error[:1]])
    decided = model.decision(strange, wider)

    assert set(model.predict(strange, wider)) == {"necrosis", "recurrence"}
    assert set(decided.favors) == {
        Favors.NECROSIS, Favors.RECURRENCE, Favors.INDETERMINATE, Favors.NOT_EVALUABLE,
    }  # fmt: skip
    assert decided.favors[-1] == Favors.NOT_EVALUABLE
    assert decided.is_outside[-1]
    assert decided.is_outside[:-1].mean() < 0.01
    certain = [p.max() for p, f in zip(decided.probability, decided.favors, strict=True)
               if f in {Favors.NECROSIS, Favors.RECURRENCE}]  # fmt: skip
    assert min(certain) >= 0.75


def test_decision_needs_the_two_words():
    model = NecrosisClassifier().fit([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1])

    with pytest.raises(ValueError, match="classes necrosis and recurrence"):
        model.decision([[0.0]])


def test_probabilities_of_left_out_patients_are_calibrated():
    x, error, y = simulated(1500, seed=4, noise=0.1)

    found = cross_validate(
        NecrosisClassifier(), x, y, patients=np.arange(len(y)) // 3, error=error
    )

    # 300 cases a bin: an ECE of 0.02 is what chance alone leaves
    assert found.reliability.expected_calibration_error <= 0.05
    assert found.auc > 0.85
    assert found.classes == ("necrosis", "recurrence")


def test_no_patient_is_on_both_sides_of_a_split(monkeypatch):
    x, error, y = simulated(60)
    patients = np.arange(len(y)) % 30  # not in blocks, which any split would leave whole
    trained = []
    fit = NecrosisClassifier.fit

    def watch(self, X, y, error=None, patients=None):
        trained.append(set(patients))
        return fit(self, X, y, error, patients)

    monkeypatch.setattr(NecrosisClassifier, "fit", watch)
    cross_validate(NecrosisClassifier(), x, y, patients=patients, error=error, folds=5)

    assert len(trained) == 5
    left_out = [set(patients) - one for one in trained]
    assert set.union(*left_out) == set(patients)
    assert sum(map(len, left_out)) == len(set(patients))


def test_too_few_patients_leave_the_probabilities_as_they_are():
    x, error, y = simulated(40)

    few = NecrosisClassifier().fit(x, y, error, patients=np.arange(80) // 20)
    many = NecrosisClassifier().fit(x, y, error, patients=np.arange(80))

    assert not few.is_calibrated_
    assert few.slope_ == 1.0
    assert many.is_calibrated_


def test_a_saved_model_comes_back_the_same(tmp_path):
    x, error, y = simulated(100)
    model = NecrosisClassifier(priors=(0.3, 0.7)).fit(x, y, error)
    path = tmp_path / "model.json"

    model.save(path, features=("Cho/Cr", "NAA/Cr", "LL/Cr"), trained_on="100 simulated lesions")
    back = NecrosisClassifier.load(path)

    np.testing.assert_allclose(
        back.predict_proba(x, error), model.predict_proba(x, error), rtol=1e-12
    )
    assert back.trained_on_ == "100 simulated lesions"
    assert back.feature_names_ == ("Cho/Cr", "NAA/Cr", "LL/Cr")
    assert clone(back).get_params()["priors"] == [0.3, 0.7]
    assert json.loads(path.read_text())["schema"] == "mrs-necrosis-classifier/1"


def test_saving_says_what_it_was_trained_on_and_overwrites_nothing(tmp_path):
    x, error, y = simulated(30)
    model = NecrosisClassifier().fit(x, y, error)

    with pytest.raises(ValueError, match="what it was trained on"):
        model.save(tmp_path / "a.json", features=("a", "b", "c"), trained_on=" ")
    model.save(tmp_path / "a.json", features=("a", "b", "c"), trained_on="simulation")
    with pytest.raises(FileExistsError):
        model.save(tmp_path / "a.json", features=("a", "b", "c"), trained_on="simulation")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("means"),
        lambda d: d.update(schema="other"),
        lambda d: d.update(means=[[0.0]]),
        lambda d: d.update(covariances=[[[1, 2, 0], [2, 1, 0], [0, 0, 1]]] * 2),
        lambda d: d.update(parameters={"evil": 1}),
        lambda d: d.update(classes=["only"]),
        lambda d: d.update(slope=-1.0),
        lambda d: d.update(slope=math.inf),
        lambda d: d.update(classes=["necrosis", "necrosis"]),
    ],
    ids=[
        "no means",
        "schema",
        "shape",
        "not a covariance",
        "parameter",
        "one class",
        "labels turned round",
        "no slope",
        "one class twice",
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path, change):
    x, error, y = simulated(30)
    path = tmp_path / "model.json"
    NecrosisClassifier().fit(x, y, error).save(path, features="abc", trained_on="simulation")
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))

    with pytest.raises(FormatError, match=r"model\.json"):
        NecrosisClassifier.load(path)


@pytest.mark.parametrize("content", ["", "not json", "[]", "\x00"])
def test_text_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model.json"
    path.write_text(content)

    with pytest.raises(FormatError, match=r"model\.json"):
        NecrosisClassifier.load(path)


@pytest.mark.parametrize(
    "error", [np.ones((3, 2)), np.full((4, 1), np.nan), np.ones(4)], ids=["n", "nan", "1d"]
)
def test_errors_of_the_wrong_shape_are_refused(error):
    with pytest.raises(ValueError, match="error must be finite"):
        NecrosisClassifier().fit([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1], error)


def test_an_error_that_is_no_covariance_is_refused():
    x, _, y = simulated(10)

    with pytest.raises(ValueError, match="a matrix that is no covariance"):
        NecrosisClassifier().fit(x, y, np.broadcast_to(-np.eye(3), (len(x), 3, 3)))


@pytest.mark.parametrize(
    "wrong",
    [{"regularization": -1.0}, {"calibration_folds": -3}, {"outside_probability": 2.0}],
)
def test_parameters_out_of_range_are_refused(wrong):
    x, error, y = simulated(10)

    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        NecrosisClassifier(**wrong).fit(x, y, error)


@pytest.mark.parametrize("certainty", [-1, 2, math.nan])
def test_a_certainty_that_is_no_probability_is_refused(certainty):
    x, error, y = simulated(10)
    model = NecrosisClassifier().fit(x, y, error)

    with pytest.raises(ValueError, match="certainty must be between 0 and 1"):
        model.decision(x, error, certainty=certainty)


def test_reliability_counts_what_came_true():
    found = reliability([1, 1, 0, 1, 0, 0], [0.95, 0.95, 0.95, 0.95, 0.05, 0.05])

    # 3 of 4 at 0.95, 0 of 2 at 0.05: (0.2 * 4 + 0.05 * 2) / 6
    assert found.expected_calibration_error == pytest.approx(0.15)
    assert found.count.sum() == 6
    assert np.isnan(found.frequency[5])


@pytest.mark.parametrize(
    ("truth", "stated"), [([], []), ([1], [0.5, 0.5]), ([1], [1.5]), ([1], [math.nan])]
)
def test_reliability_of_nonsense_is_refused(truth, stated):
    with pytest.raises(ValueError, match="probabilit"):
        reliability(truth, stated)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    import sys

    from mrs_necrosis import classifier
    from mrs_necrosis.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "mrs_necrosis.classifier.estimator")

    with pytest.raises(MissingExtraError, match=r"mrs-necrosis\[learn\]"):
        _ = classifier.NecrosisClassifier


@pytest.mark.parametrize(
    ("parameters", "patients", "message"),
    [
        ({}, [1, 2], r"patients must have shape \(4,\); got \(2,\)"),
        ({"priors": [1.0]}, None, "priors must be 2 positive numbers"),
        ({"priors": [1.0, 0.0]}, None, "priors must be 2 positive numbers"),
    ],
)
def test_what_does_not_fit_the_training_data_is_refused(parameters, patients, message):
    with pytest.raises(ValueError, match=message):
        NecrosisClassifier(**parameters).fit(
            [[0.0], [0.1], [1.0], [1.1]], ["a", "a", "b", "b"], patients=patients
        )
