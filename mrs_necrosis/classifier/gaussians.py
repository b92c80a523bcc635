"""Gaussian classes of cases with errors: their populations, densities and calibration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_ITERATIONS = 200
_TOLERANCE = 1e-5


def error_covariance(
    error: ArrayLike | None, shape: tuple[int, ...]
) -> NDArray[np.float64] | None:
    """Return the covariances (n, F, F) of the errors of n cases; None if there are none."""
    if error is None:
        return None
    given = np.asarray(error, dtype=np.float64)
    n, f = shape
    if given.shape == (n, f):
        given = given[:, :, np.newaxis] ** 2 * np.eye(f)
    if given.shape != (n, f, f) or not np.isfinite(given).all():
        msg = (
            f"error must be finite standard deviations of shape {(n, f)} or covariances of shape "
            f"{(n, f, f)}; got shape {np.shape(error)}"
        )
        raise ValueError(msg)
    if np.linalg.eigvalsh(given).min(initial=0.0) < -1e-9 * np.abs(given).max(initial=0.0):
        msg = "error holds a matrix that is no covariance: it has a variance below zero"
        raise ValueError(msg)
    return given


def populations(
    X: NDArray[np.float64],
    codes: NDArray[np.int64],
    n_classes: int,
    error: NDArray[np.float64] | None,
    regularization: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and covariance of each class, measurement errors taken out."""
    f = X.shape[1]
    variance = X.var(axis=0)
    # a constant feature, or a class with one case, must not make a covariance singular
    scale = np.where(variance > 0, variance, 1.0)
    ridge = np.diag(scale) * max(regularization, 1e-12)
    means, covariances = np.empty((n_classes, f)), np.empty((n_classes, f, f))
    for code in range(n_classes):
        chosen = codes == code
        cases = X[chosen]
        mean = cases.mean(axis=0)
        spread = np.diag(scale) if len(cases) < 2 else np.cov(cases.T, bias=True).reshape(f, f)
        if error is not None:
            mean, spread = _deconvolved(cases, error[chosen], mean, spread + ridge)
        means[code], covariances[code] = mean, spread + ridge
    return means, covariances


def _deconvolved(
    X: NDArray[np.float64],
    error: NDArray[np.float64],
    mean: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and covariance of the true values, by expectation maximisation."""
    for _ in range(_ITERATIONS):
        # gain (n, F, F): how much of a deviation is believed
        gain = np.swapaxes(np.linalg.solve(spread + error, np.broadcast_to(spread, error.shape)),
                           1, 2)  # fmt: skip
        believed = mean + np.einsum("nij,nj->ni", gain, X - mean)
        left = spread - gain @ spread
        new_mean = believed.mean(axis=0)
        away = believed - new_mean
        new_spread = away.T @ away / len(X) + left.mean(axis=0)
        new_spread = (new_spread + new_spread.T) / 2
        change = np.abs(new_spread - spread).max() / np.abs(spread).max()
        change += np.abs(new_mean - mean).max() / math.sqrt(np.abs(spread).max())
        mean, spread = new_mean, new_spread
        if change < _TOLERANCE:
            break
    return mean, spread


def squares_of(
    X: NDArray[np.float64],
    means: NDArray[np.float64],
    covariances: NDArray[np.float64],
    error: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return squared Mahalanobis distances and log-determinants, both (n, C)."""
    away = X[:, np.newaxis] - means
    widened = covariances[np.newaxis]
    if error is not None:
        widened = widened + error[:, np.newaxis]
    root = np.linalg.cholesky(widened)
    white = np.linalg.solve(np.broadcast_to(root, (*away.shape, away.shape[-1])),
                            away[..., np.newaxis])[..., 0]  # fmt: skip
    log_determinant = 2 * np.log(np.diagonal(root, axis1=-2, axis2=-1)).sum(axis=-1)
    return (white**2).sum(axis=-1), np.broadcast_to(log_determinant, away.shape[:2])


def log_densities(
    X: NDArray[np.float64],
    means: NDArray[np.float64],
    covariances: NDArray[np.float64],
    error: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return the log density (n, C) of each case in each class."""
    squares, log_determinant = squares_of(X, means, covariances, error)
    densities: NDArray[np.float64] = -0.5 * (
        squares + log_determinant + X.shape[1] * math.log(2 * math.pi)
    )
    return densities


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities of logits (n, C)."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result


def fitted_calibration(
    joint: NDArray[np.float64], codes: NDArray[np.int64], weight: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Return slope and offsets that maximise the likelihood of left-out cases."""
    from scipy.optimize import minimize

    relative = joint - joint.max(axis=1, keepdims=True)
    n, c = joint.shape
    truth = np.eye(c)[codes]
    weight = weight / weight.sum()

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope = math.exp(parameters[0])  # above zero: calibration never turns a ranking round
        offsets = np.append(parameters[1:], 0.0)
        logits = slope * relative + offsets
        probability = softmax(logits)
        value = -float(weight @ np.log(np.maximum(probability[np.arange(n), codes], 1e-300)))
        residual = weight[:, np.newaxis] * (probability - truth)
        gradient = np.concatenate([
            [slope * (residual * relative).sum()], residual.sum(axis=0)[:-1]
        ])  # fmt: skip
        # a slight pull to no change keeps separable classes finite
        pull = 1e-3
        return value + pull * float(parameters @ parameters), gradient + 2 * pull * parameters

    found = minimize(loss, np.zeros(c), jac=True, method="L-BFGS-B")
    return float(math.exp(found.x[0])), np.append(found.x[1:], 0.0)
