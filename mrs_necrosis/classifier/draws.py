"""The score repeated over draws of the areas' errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mrs_necrosis.classifier.judging import judge, plain_ranges
from mrs_necrosis.classifier.scoring import (
    INDETERMINATE,
    NECROSIS,
    RECURRENCE,
    Score,
    are_opposed,
    label_codes,
    score,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mrs_necrosis.classifier.case import Case


_ELEMENTS = 2**18  # voxels times draws at a time: stays in the processor's cache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draws:
    """Summary over draws; arrays of shape (V,) unless said otherwise."""

    interval: NDArray[np.float64]
    fractions: NDArray[np.float64]
    leaning: NDArray[np.float64]
    on_side: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    # of one voxel alone, shape (1, D): the log-likelihood ratios, and where families oppose
    totals: NDArray[np.float64] | None = None
    opposed: NDArray[np.bool_] | None = None


def _needed_peaks(case: Case) -> list[str]:
    """Return the peaks that some scored criterion looks at."""
    needed: dict[str, None] = {}
    for one in case.criteria:
        for comparison in one.criterion.any_of:
            names = [name for _, name in comparison.terms]
            names += [comparison.proxy_for] if comparison.proxy_for else []
            for name in names:
                needed.update(dict.fromkeys(name.split("/")))
    return [name for name in needed if name in case.areas]


def _square_roots(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return A with A A^T = covariance, which may be singular, shape (V, P, P)."""
    finite = np.asarray(np.isfinite(covariance).all(axis=(1, 2)))
    clean = np.where(finite[:, np.newaxis, np.newaxis], covariance, 0.0)
    values, vectors = np.linalg.eigh(clean)
    roots: NDArray[np.float64] = vectors * np.sqrt(np.maximum(values, 0.0))[:, np.newaxis, :]
    return roots


def draw(
    case: Case, nominal: Score, n_draws: int, seed: int, *, each_criterion: bool
) -> Draws | None:
    """Repeat the score over draws of the areas' errors, in pieces that stay in the cache."""
    areas = case.areas
    if areas.covariance is None:
        return None
    spectroscopy = case.spectroscopy
    names = _needed_peaks(case)
    at = [areas.index(name) for name in names]
    covariance = areas.covariance[:, at][:, :, at]
    roots = _square_roots(covariance)
    standard = np.random.default_rng(seed).standard_normal((len(at), n_draws))
    v = len(areas.values)
    interval = np.full((v, 2), np.nan)
    fractions = np.full((v, 3), np.nan)
    leaning = np.full((v, 2), np.nan)
    on_side: dict[str, NDArray[np.float64]] = {}
    totals = opposed = None
    step = max(1, _ELEMENTS // n_draws)
    for start in range(0, v, step):
        piece = slice(start, min(start + step, v))
        drawn = areas.values[piece][:, at][:, :, np.newaxis] + roots[piece] @ standard
        ranges = plain_ranges({name: drawn[:, i] for i, name in enumerate(names)})
        found = score(
            spectroscopy,
            ranges,
            (drawn.shape[0], n_draws),
            case.scoring,
            lipid_off=case.lipid_off[piece, np.newaxis],
            factor=case.factor,
            nominal=_slice(nominal, piece),
        )
        is_opposed = are_opposed(found, case.scoring)
        codes = label_codes(found.total, is_opposed, case.scoring)
        for code in (NECROSIS, RECURRENCE, INDETERMINATE):
            fractions[piece, code] = (codes == code).mean(axis=1)
        for code, sign in ((NECROSIS, -1), (RECURRENCE, 1)):
            leaning[piece, code] = (sign * found.total >= case.scoring.opposed).mean(axis=1)
        # an empty draw (no ratio at all) is no evidence
        ordered = np.sort(np.nan_to_num(found.total), axis=1)
        low, high = int(0.025 * (n_draws - 1)), math.ceil(0.975 * (n_draws - 1))
        interval[piece, 0], interval[piece, 1] = ordered[:, low], ordered[:, high]
        if each_criterion:
            on_side.update(_sides(case, ranges, nominal))
            totals, opposed = np.nan_to_num(found.total), is_opposed
    silent = np.isnan(nominal.total)
    for one in (interval, fractions, leaning):
        one[silent] = np.nan
    return Draws(
        interval=interval, fractions=fractions, leaning=leaning, on_side=on_side, totals=totals,
        opposed=opposed,
    )  # fmt: skip


def _slice(nominal: Score, piece: slice) -> Score:
    """Return the part of a score that draws need."""
    outcomes = {
        name: (replace(outcome, is_decided=outcome.is_decided[piece]), own)
        for name, (outcome, own) in nominal.outcomes.items()
    }
    direct = {
        name: [mask if mask.size == 1 else mask[piece] for mask in masks]
        for name, masks in nominal.direct.items()
    }
    return Score(nominal.total[piece], {}, outcomes, direct)


def _sides(case: Case, ranges: object, nominal: Score) -> dict[str, NDArray[np.float64]]:
    """Return, for one voxel, the fraction of draws that meet each criterion."""
    fractions = {}
    for one in case.criteria:
        masks = nominal.direct.get(one.criterion.id)
        direct = None if masks is None else [mask[:, np.newaxis] for mask in masks]
        outcome, _ = judge(one.criterion, ranges, direct)  # type: ignore[arg-type]
        if outcome is not None:
            fractions[one.criterion.id] = outcome.is_met.mean(axis=1)
    return fractions
