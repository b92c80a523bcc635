"""A model that people train: Gaussian classes over log-ratios, with each case's own error.

Every class is a normal distribution of log-ratios in the population. A measured case is its true
value plus a normal error with a known covariance, so that a case is compared with the class
widened by its own error, and a noisy case gives a cautious probability. The population's mean and
covariance are found by expectation maximisation with the errors taken out (Bovy, Hogg and Roweis,
Ann. Appl. Stat. 5, 1657 (2011), with one component). Probabilities are then calibrated on cases
that were left out, whole patients at a time.

No trained model is shipped. What the project trains and evaluates is simulated, and says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrs_necrosis.arguments import check_probability
from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier.calibration import Reliability, reliability
from mrs_necrosis.classifier.gaussians import (
    error_covariance,
    fitted_calibration,
    log_densities,
    populations,
    softmax,
    squares_of,
)
from mrs_necrosis.errors import FormatError, MissingExtraError

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    feature = "NecrosisClassifier"
    raise MissingExtraError(feature, "learn") from error

NECROSIS: Final = "necrosis"
RECURRENCE: Final = "recurrence"
"""The classes, in the words that labels are made of."""

_SCHEMA = "mrs-necrosis-classifier/1"


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """What ``NecrosisClassifier.decision`` says of n cases.

    Parameters
    ----------
    favors : tuple of Favors
        INDETERMINATE below the asked certainty, NOT_EVALUABLE out of distribution.
    probability : ndarray of float64, shape (n, C)
        Calibrated, one column per class.
    distance : ndarray of float64, shape (n,)
        Mahalanobis distance to the nearest class, the case's own error included.
    is_outside : ndarray of bool, shape (n,)
        Whether the case is unlike every class it was trained on.
    """

    favors: tuple[Favors, ...]
    probability: NDArray[np.float64]
    distance: NDArray[np.float64]
    is_outside: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class CrossValidation:
    """Predictions for cases whose patients were left out of the training.

    Parameters
    ----------
    classes : tuple
        Of the classifier.
    probability : ndarray of float64, shape (n, C)
        Calibrated within the training part.
    accuracy : float
        Fraction right.
    auc : float
        Area under the ROC curve of the last class; NaN for more than two.
    reliability : Reliability
        Of the last class.
    """

    classes: tuple[Any, ...]
    probability: NDArray[np.float64]
    accuracy: float
    auc: float
    reliability: Reliability


class NecrosisClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Gaussian classes over features with known errors, calibrated by patient.

    Parameters
    ----------
    priors : sequence of float or None
        Prior probability of each class, in the order of ``classes_``; None for the frequencies in
        the training data.
    regularization : float
        Added to each class's covariance, relative to the variances of all cases.
    calibration_folds : int
        Parts in which cases are left out to calibrate; 0 for no calibration. Classes with too few
        cases (or patients) for that leave the probabilities uncalibrated.
    outside_probability : float
        A case is out of distribution if so few cases of every class lie farther out.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
        As in `y`, sorted.
    means_, covariances_ : ndarray of float64, shapes (C, F), (C, F, F)
        Of the true values in the population.
    log_priors_ : ndarray of float64, shape (C,)
        Logarithms.
    slope_, offsets_ : float, ndarray of float64, shape (C,)
        The calibration: logits are ``slope_ * log joint + offsets_``.
    is_calibrated_ : bool
        Whether there were enough cases.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = np.concatenate([rng.normal(0, 1, (50, 2)), rng.normal(3, 1, (50, 2))])
    >>> model = NecrosisClassifier().fit(x, ["necrosis"] * 50 + ["recurrence"] * 50)
    >>> model.predict([[0.1, -0.2], [2.9, 3.3]]).tolist()
    ['necrosis', 'recurrence']
    """

    def __init__(
        self,
        *,
        priors: Sequence[float] | None = None,
        regularization: float = 1e-3,
        calibration_folds: int = 5,
        outside_probability: float = 0.001,
    ) -> None:
        self.priors = priors
        self.regularization = regularization
        self.calibration_folds = calibration_folds
        self.outside_probability = outside_probability

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        error: ArrayLike | None = None,
        patients: ArrayLike | None = None,
    ) -> NecrosisClassifier:
        """Train.

        Parameters
        ----------
        X : array_like of float, shape (n, F)
            Features, such as ``log_ratios`` gives.
        y : array_like, shape (n,)
            Classes, such as ``"necrosis"`` and ``"recurrence"``.
        error : array_like of float or None
            Standard deviations (n, F) or covariances (n, F, F) of the features; None for exact
            features.
        patients : array_like or None
            Whose case it is, shape (n,); no patient is split between training and calibration.

        Returns
        -------
        NecrosisClassifier
            Itself.

        Raises
        ------
        ValueError
            If the data do not fit each other, there is only one class, or a parameter is out of
            its range.
        """
        self._check_parameters()
        x, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            msg = f"there must be at least two classes; got one class: {str(self.classes_[0])!r}"
            raise ValueError(msg)
        covariance = error_covariance(error, x.shape)
        log_priors = self._log_priors(codes)
        groups = None if patients is None else np.asarray(patients)
        if groups is not None and groups.shape != (len(x),):
            msg = f"patients must have shape {(len(x),)}; got {groups.shape}"
            raise ValueError(msg)

        self.log_priors_ = log_priors
        self.slope_, self.offsets_ = 1.0, np.zeros(len(self.classes_))
        self._calibrate(x, codes, covariance, groups)
        self.means_, self.covariances_ = populations(
            x, codes, len(self.classes_), covariance, self.regularization
        )
        return self

    def _check_parameters(self) -> None:
        check_probability("outside_probability", self.outside_probability)
        for name in ("regularization", "calibration_folds"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                msg = f"{name} must be a number from 0 on; got {value!r}"
                raise ValueError(msg)

    def _log_priors(self, codes: NDArray[np.int64]) -> NDArray[np.float64]:
        count = len(self.classes_)
        if self.priors is None:
            shares = np.bincount(codes, minlength=count) / len(codes)
        else:
            shares = np.asarray(self.priors, dtype=np.float64)
            if shares.shape != (count,) or not (shares > 0).all():
                msg = f"priors must be {count} positive numbers; got {self.priors!r}"
                raise ValueError(msg)
            shares = shares / shares.sum()
        logs: NDArray[np.float64] = np.log(shares)
        return logs

    def _calibrate(
        self,
        X: NDArray[np.float64],
        codes: NDArray[np.int64],
        error: NDArray[np.float64] | None,
        groups: NDArray[Any] | None,
    ) -> None:
        """Fit slope and offsets on the log joint densities of cases that were left out."""
        n_classes, folds = len(self.classes_), self.calibration_folds
        fewest = np.bincount(codes).min()
        if groups is not None:
            fewest = min(len(np.unique(groups[codes == code])) for code in range(n_classes))
        self.is_calibrated_ = folds >= 2 and fewest >= 2 * folds
        if not self.is_calibrated_:
            return
        split = StratifiedKFold(folds) if groups is None else StratifiedGroupKFold(folds)
        joint = np.empty((len(X), n_classes))
        for train, held in split.split(X, codes, groups):
            means, covariances = populations(
                X[train], codes[train], n_classes,
                None if error is None else error[train], self.regularization,
            )  # fmt: skip
            joint[held] = self.log_priors_ + log_densities(
                X[held], means, covariances, None if error is None else error[held]
            )
        # training frequencies may differ from the priors: the offsets must not learn them
        weight = np.exp(self.log_priors_)[codes] * len(codes) / np.bincount(codes)[codes]
        self.slope_, self.offsets_ = fitted_calibration(joint, codes, weight)

    def _cases(
        self, X: ArrayLike, error: ArrayLike | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return cases to judge and the covariances of their errors, checked."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False)
        return x, error_covariance(error, x.shape)

    def _logits(self, X: ArrayLike, error: ArrayLike | None) -> NDArray[np.float64]:
        x, covariance = self._cases(X, error)
        joint = self.log_priors_ + log_densities(x, self.means_, self.covariances_, covariance)
        logits: NDArray[np.float64] = self.slope_ * joint + self.offsets_
        return logits

    def predict_proba(self, X: ArrayLike, error: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return calibrated probabilities.

        Parameters
        ----------
        X : array_like of float, shape (n, F)
            Features.
        error : array_like of float or None
            As in ``fit``.

        Returns
        -------
        ndarray of float64, shape (n, C)
            Rows add up to 1; columns as ``classes_``.
        """
        return softmax(self._logits(X, error))

    def predict(self, X: ArrayLike, error: ArrayLike | None = None) -> NDArray[Any]:
        """Return the most probable class of each case, always one of ``classes_``.

        Parameters
        ----------
        X : array_like of float, shape (n, F)
            Features.
        error : array_like of float or None
            As in ``fit``.

        Returns
        -------
        ndarray, shape (n,)
            Classes.
        """
        best = self._logits(X, error).argmax(axis=1)
        classes: NDArray[Any] = self.classes_[best]
        return classes

    def mahalanobis(self, X: ArrayLike, error: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the distance of each case from the nearest class.

        Parameters
        ----------
        X : array_like of float, shape (n, F)
            Features.
        error : array_like of float or None
            As in ``fit``; it widens the classes.

        Returns
        -------
        ndarray of float64, shape (n,)
            In standard deviations.
        """
        x, covariance = self._cases(X, error)
        squares, _ = squares_of(x, self.means_, self.covariances_, covariance)
        distance: NDArray[np.float64] = np.sqrt(squares.min(axis=1))
        return distance

    def decision(
        self, X: ArrayLike, error: ArrayLike | None = None, *, certainty: float = 0.75
    ) -> Decisions:
        """Return a class only where it is probable enough and the case is of a known kind.

        Parameters
        ----------
        X : array_like of float, shape (n, F)
            Features.
        error : array_like of float or None
            As in ``fit``.
        certainty : float
            Least probability of a label; 0.75 is a likelihood ratio of 3 from an even prior.

        Returns
        -------
        Decisions
            Labels, probabilities, distances.

        Raises
        ------
        ValueError
            If the classes are other than necrosis and recurrence, or the certainty is no
            probability.
        """
        from scipy.stats import chi2

        words = {
            NECROSIS: Favors.NECROSIS,
            RECURRENCE: Favors.RECURRENCE,
            Favors.NECROSIS.value: Favors.NECROSIS,
            Favors.RECURRENCE.value: Favors.RECURRENCE,
        }
        check_is_fitted(self)
        check_probability("certainty", certainty)
        unknown = [str(one) for one in self.classes_ if str(one) not in words]
        if unknown:
            msg = f"decision needs the classes {NECROSIS} and {RECURRENCE}; got {unknown}"
            raise ValueError(msg)
        probability = self.predict_proba(X, error)
        distance = self.mahalanobis(X, error)
        limit = math.sqrt(float(chi2.isf(self.outside_probability, self.n_features_in_)))
        is_outside = distance > limit
        best = probability.argmax(axis=1)
        favors = tuple(
            Favors.NOT_EVALUABLE if outside
            else words[str(self.classes_[code])] if row[code] >= certainty
            else Favors.INDETERMINATE
            for outside, code, row in zip(is_outside, best, probability, strict=True)
        )  # fmt: skip
        return Decisions(favors, probability, distance, is_outside)

    def save(self, path: str | PathLike[str], *, features: Sequence[str], trained_on: str) -> None:
        """Write the trained model as JSON that a person can read.

        Parameters
        ----------
        path : path
            File to write; one that exists is not touched.
        features : sequence of str
            Names of the features, in order.
        trained_on : str
            What the training data were: ``"4000 simulated lesions per group"``.

        Raises
        ------
        ValueError
            If the names do not fit, or it is not said what it was trained on.
        FileExistsError
            If there is such a file.
        """
        check_is_fitted(self)
        if len(features) != self.n_features_in_ or not trained_on.strip():
            msg = (
                f"save needs {self.n_features_in_} names of features and what it was trained on; "
                f"got {list(features)} and {trained_on!r}"
            )
            raise ValueError(msg)
        document = {
            "schema": _SCHEMA,
            "features": list(features),
            "trained_on": trained_on,
            "classes": self.classes_.tolist(),
            "parameters": {
                name: list(value) if name == "priors" and value is not None else value
                for name, value in self.get_params().items()
            },
            "means": self.means_.tolist(),
            "covariances": self.covariances_.tolist(),
            "log_priors": self.log_priors_.tolist(),
            "slope": self.slope_,
            "offsets": self.offsets_.tolist(),
            "is_calibrated": bool(self.is_calibrated_),
        }
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(text)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> NecrosisClassifier:
        """Read a model that ``save`` wrote. Nothing in the file is run.

        Parameters
        ----------
        path : path
            JSON file.

        Returns
        -------
        NecrosisClassifier
            As it was; ``feature_names_`` and ``trained_on_`` say what is in it.

        Raises
        ------
        FormatError
            If the file is not such a model.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            if document["schema"] != _SCHEMA:
                problem = f"the schema is not {_SCHEMA}"
                raise FormatError(path, problem)
            return cls._from(document)
        except OSError as error:
            raise FormatError(path, f"cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise FormatError(path, "not a classifier that was saved here") from None

    @classmethod
    def _from(cls, document: dict[str, Any]) -> NecrosisClassifier:
        model = cls(**document["parameters"])
        model.classes_ = np.array(document["classes"])
        model.means_ = np.array(document["means"], dtype=np.float64)
        model.covariances_ = np.array(document["covariances"], dtype=np.float64)
        model.log_priors_ = np.array(document["log_priors"], dtype=np.float64)
        model.slope_ = float(document["slope"])
        model.offsets_ = np.array(document["offsets"], dtype=np.float64)
        model.is_calibrated_ = bool(document["is_calibrated"])
        model.feature_names_ = tuple(str(name) for name in document["features"])
        model.trained_on_ = str(document["trained_on"])
        c, f = len(model.classes_), len(model.feature_names_)
        model.n_features_in_ = f
        shapes = (
            (model.means_, (c, f)), (model.covariances_, (c, f, f)),
            (model.log_priors_, (c,)), (model.offsets_, (c,)),
        )  # fmt: skip
        # a slope below zero would turn every label round
        is_usable = 0 < model.slope_ < math.inf and len(set(document["classes"])) == c
        if (
            c < 2
            or not is_usable
            or any(a.shape != s or not np.isfinite(a).all() for a, s in shapes)
        ):
            msg = "shapes"
            raise ValueError(msg)
        np.linalg.cholesky(model.covariances_)
        return model


def cross_validate(
    model: NecrosisClassifier,
    X: ArrayLike,
    y: ArrayLike,
    *,
    patients: ArrayLike,
    error: ArrayLike | None = None,
    folds: int = 5,
) -> CrossValidation:
    """Train and predict with whole patients left out.

    Parameters
    ----------
    model : NecrosisClassifier
        Its parameters are used; it is not changed.
    X, y, error :
        As in ``NecrosisClassifier.fit``.
    patients : array_like, shape (n,)
        Whose case it is.
    folds : int
        Parts.

    Returns
    -------
    CrossValidation
        Out-of-fold probabilities and what they are worth.

    Raises
    ------
    ValueError
        If shapes do not fit each other.
    """
    from sklearn.base import clone
    from sklearn.metrics import roc_auc_score

    x, labels, groups = np.asarray(X, dtype=np.float64), np.asarray(y), np.asarray(patients)
    covariance = error_covariance(error, x.shape)
    classes = np.unique(labels)
    probability = np.empty((len(x), len(classes)))
    for train, held in StratifiedGroupKFold(folds).split(x, labels, groups):
        fold = clone(model).fit(
            x[train], labels[train], None if covariance is None else covariance[train],
            groups[train],
        )  # fmt: skip
        probability[held] = fold.predict_proba(
            x[held], None if covariance is None else covariance[held]
        )
    is_last = labels == classes[-1]
    auc = float(roc_auc_score(is_last, probability[:, -1])) if len(classes) == 2 else math.nan
    return CrossValidation(
        classes=tuple(classes.tolist()),
        probability=probability,
        accuracy=float((classes[probability.argmax(axis=1)] == labels).mean()),
        auc=auc,
        reliability=reliability(is_last, probability[:, -1]),
    )
