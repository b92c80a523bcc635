"""What the voxels of a lesion say together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.assessment import LABELS, Favors
from mrs_necrosis.ratios import Ratio

if TYPE_CHECKING:
    from collections.abc import Mapping


MIXED_SHARE = 0.10
"""Assumed: a tissue that fills less of the lesion than this does not make it mixed."""

NO_LESION = 0.05
"""Of a voxel's signal: less than this from the lesion is the point spread's side lobes."""

EVALUABLE_SHARE = 0.50
"""Assumed: a lesion of which less than this can be judged gets no label."""

LEAST_VOXELS = 0.999
"""One voxel, but for rounding: a lesion of which less can be judged gets no label (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionSummary:
    """What the voxels of a lesion say together.

    Parameters
    ----------
    favors : Favors
        MIXED when one side surely fills at least ``MIXED_SHARE`` of what can be judged, and at
        least twofold evidence for the other side does, too.
    n_voxels : float
        Sum of the weights: the lesion's size in voxels.
    n_evaluable : float
        Of these, in voxels with a label (indeterminate is one).
    fractions : mapping of str to (fraction, lower, upper)
        Share of the evaluable lesion per label, with a 95 % interval from the probabilities of
        the voxels' labels; the ends are None without probabilities.
    worst_voxel : tuple of int or None
        Where the evidence for tumour is strongest.
    worst_likelihood_ratio : float or None
        Its likelihood ratio.
    distribution : mapping of str to (p10, median, p90)
        Of each ratio over the lesion's evaluable voxels, weighted.
    leaning : mapping of str to (fraction, lower, upper)
        As `fractions`, of at least twofold evidence for necrosis and for recurrence, whether or
        not it makes a label; empty without probabilities.
    lesions : tuple of LesionSummary
        Each of several separate lesions of one mask, judged alone, the largest first; empty if
        there is one.
    centre_voxel : tuple of int or None
        Where most of it lies.
    sentence : str
        All of this for the reader.
    """

    favors: Favors
    n_voxels: float
    n_evaluable: float
    fractions: Mapping[str, tuple[float, float | None, float | None]]
    worst_voxel: tuple[int, int, int] | None
    worst_likelihood_ratio: float | None
    distribution: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    leaning: Mapping[str, tuple[float, float | None, float | None]] = field(default_factory=dict)
    lesions: tuple[LesionSummary, ...] = ()
    centre_voxel: tuple[int, int, int] | None = None
    sentence: str = ""


JUDGED = LABELS[:3]
"""Labels that count as evaluable, in the order of ``label_probability``."""


def _weighted_quantiles(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float, float]:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    middle = (cumulative - 0.5 * weights[order]) / cumulative[-1]
    low, median, high = np.interp([0.1, 0.5, 0.9], middle, values[order])
    return float(low), float(median), float(high)


Share = tuple[float, float | None, float | None]
"""Part of a lesion, and the ends of its 95 % interval; None without probabilities."""


def _shares(
    weights: NDArray[np.float64],
    chance: NDArray[np.float64],
    rng: np.random.Generator,
    n_draws: int,
) -> list[Share]:
    """Return the weighted share of each of C kinds, whose probabilities are (V, C)."""
    share = weights / weights.sum()
    edges = np.cumsum(chance, axis=1)
    drawn = np.empty((n_draws, chance.shape[1]))
    for at in range(n_draws):  # over draws, not voxels: memory stays that of one draw
        uniform = rng.random(len(share))[:, None]
        pick = np.minimum((uniform >= edges).sum(axis=1), chance.shape[1] - 1)
        drawn[at] = np.bincount(pick, weights=share, minlength=chance.shape[1])
    lower, upper = np.quantile(drawn, [0.025, 0.975], axis=0)
    ends = zip(share @ chance, lower, upper, strict=True)
    # what is rare in every voxel may be in none of the draws, and is not outside its interval
    return [(float(m), float(min(m, low)), float(max(m, high))) for m, low, high in ends]


def _fractions(
    labels: NDArray[np.str_],
    weights: NDArray[np.float64],
    probability: NDArray[np.float64] | None,
    rng: np.random.Generator,
    n_draws: int,
) -> dict[str, Share]:
    certain = np.stack([labels == label.value for label in JUDGED], axis=1).astype(np.float64)
    if probability is None:
        plain = weights @ certain / weights.sum()
        return {label.value: (float(plain[i]), None, None) for i, label in enumerate(JUDGED)}
    total = probability.sum(axis=1, keepdims=True)
    known = (total[:, 0] > 0) & np.isfinite(total[:, 0])
    chance = np.where(known[:, None], probability / np.where(known[:, None], total, 1.0), certain)
    found = _shares(weights, chance, rng, n_draws)
    return {label.value: one for label, one in zip(JUDGED, found, strict=True)}


def _leaning(
    weights: NDArray[np.float64],
    probability: NDArray[np.float64] | None,
    rng: np.random.Generator,
    n_draws: int,
) -> dict[str, Share]:
    if probability is None:
        return {}
    sides = np.nan_to_num(probability)
    neither = 1.0 - sides.sum(axis=1, keepdims=True)
    found = _shares(weights, np.concatenate([sides, neither], axis=1), rng, n_draws)
    return {label.value: one for label, one in zip(JUDGED[:2], found[:2], strict=True)}


def _is_sure(share: Share) -> bool:
    mean, lower, _ = share
    return (mean if lower is None else lower) >= MIXED_SHARE


def _lesion_label(
    fractions: Mapping[str, Share],
    leaning: Mapping[str, Share],
    labels: NDArray[np.str_],
) -> Favors:
    """Return the lesion's label; a side counts if a voxel has its label and its share is sure."""

    def has(label: Favors) -> bool:
        return _is_sure(fractions[label.value]) and bool((labels == label.value).any())

    def leans(label: Favors) -> bool:
        return label.value in leaning and _is_sure(leaning[label.value])

    tumour, necrosis = has(Favors.RECURRENCE), has(Favors.NECROSIS)
    if (tumour and (necrosis or leans(Favors.NECROSIS))) or (
        necrosis and leans(Favors.RECURRENCE)
    ):
        return Favors.MIXED
    if tumour:
        return Favors.RECURRENCE
    if necrosis and fractions[Favors.NECROSIS.value][0] >= 0.5:
        return Favors.NECROSIS
    return Favors.INDETERMINATE


def summarize_lesion(
    weights: NDArray[np.float64],
    labels: NDArray[np.str_],
    *,
    label_probability: NDArray[np.float64] | None = None,
    leaning_probability: NDArray[np.float64] | None = None,
    likelihood_ratio: NDArray[np.float64] | None = None,
    ratios: tuple[Ratio, ...] = (),
    n_draws: int = 2000,
    seed: int = 0,
) -> LesionSummary:
    """Return what the voxels of a lesion say together.

    Parameters
    ----------
    weights : ndarray of float64, shape (X, Y, Z)
        Share of each voxel's signal that comes from the lesion (``mask_weights``): how much each
        voxel counts.
    labels : ndarray of str, shape (X, Y, Z)
        ``Favors`` values, one per voxel.
    label_probability : ndarray of float64, shape (X, Y, Z, 3), or None
        Probability of each label of ``JUDGED``, from the draws of the areas.
    leaning_probability : ndarray of float64, shape (X, Y, Z, 2), or None
        Probability of at least twofold evidence for necrosis and for recurrence.
    likelihood_ratio : ndarray of float64, shape (X, Y, Z), or None
        Above 1 towards recurrence.
    ratios : tuple of Ratio
        Whose distribution over the lesion is wanted.
    n_draws, seed : int
        Draws of the voxels' labels for the intervals of the fractions, and where they begin.

    Returns
    -------
    LesionSummary
        ``favors`` follows the voxels. A side counts if at least one voxel has its label and the
        lower end of its share of the evaluable lesion reaches ``MIXED_SHARE``. The lesion is
        mixed if one side counts, and at least twofold evidence for the other surely fills as
        much of it: published criteria label few voxels, and a part that speaks against the rest
        must not be lost. Tumour alone is recurrence-favoring; necrosis alone needs half of the
        lesion. Not-evaluable if less than half of the lesion, or less than a voxel of it, can
        be judged.

    Raises
    ------
    ValueError
        If the lesion does not touch the grid.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.repeat(["necrosis-favoring", "recurrence-favoring"], [3, 1]).reshape(4, 1, 1)
    >>> summarize_lesion(np.ones((4, 1, 1)), labels).favors
    <Favors.MIXED: 'mixed'>
    """
    total = float(weights.sum())
    if not total > 1e-6:
        msg = "the lesion mask does not touch the grid; check that both are in one world space"
        raise ValueError(msg)
    member = weights > NO_LESION
    centre = _centre(weights)
    judged = member & np.isin(labels, [label.value for label in JUDGED])
    size, evaluable = float(weights[member].sum()), float(weights[judged].sum())
    size = size or total
    if not judged.any():
        return LesionSummary(
            favors=Favors.NOT_EVALUABLE,
            n_voxels=size,
            n_evaluable=0.0,
            fractions={},
            worst_voxel=None,
            worst_likelihood_ratio=None,
            centre_voxel=centre,
            sentence="No voxel of the lesion could be judged.",
        )
    inside, weight = labels[judged], weights[judged]
    rng = np.random.default_rng(seed)
    chance = None if label_probability is None else label_probability[judged]
    fractions = _fractions(inside, weight, chance, rng, n_draws)
    lean = None if leaning_probability is None else leaning_probability[judged]
    leaning = _leaning(weight, lean, rng, n_draws)
    favors = Favors.NOT_EVALUABLE
    if evaluable >= max(LEAST_VOXELS, EVALUABLE_SHARE * size):
        favors = _lesion_label(fractions, leaning, inside)
    worst, worst_lr = None, None
    # only where the lesion is most of the voxel: a voxel beside it is not its worst part
    candidates = judged & (weights >= min(0.5, float(weights[judged].max())))
    if likelihood_ratio is not None and np.isfinite(likelihood_ratio[candidates]).any():
        at = np.nanargmax(np.where(candidates, likelihood_ratio, np.nan))
        i, j, k = (int(n) for n in np.unravel_index(at, labels.shape))
        worst, worst_lr = (i, j, k), float(likelihood_ratio[i, j, k])
    distribution = {}
    for one in ratios:
        seen = judged & np.isfinite(one.value)
        if seen.any():
            distribution[one.name] = _weighted_quantiles(one.value[seen], weights[seen])
    return LesionSummary(
        favors=favors,
        n_voxels=size,
        n_evaluable=evaluable,
        fractions=fractions,
        leaning=leaning,
        worst_voxel=worst,
        worst_likelihood_ratio=worst_lr,
        distribution=distribution,
        centre_voxel=centre,
        sentence=_sentence(favors, size, evaluable, fractions, leaning, worst, worst_lr),
    )


def _centre(weights: NDArray[np.float64]) -> tuple[int, int, int]:
    """Return the voxel of the lesion that lies nearest to its centre of mass."""
    places = np.argwhere(weights >= 0.5 * weights.max())
    mass = weights[tuple(places.T)]
    middle = mass @ places / mass.sum()
    i, j, k = places[np.argmin(((places - middle) ** 2).sum(axis=1))]
    return int(i), int(j), int(k)


def with_lesions(whole: LesionSummary, lesions: tuple[LesionSummary, ...]) -> LesionSummary:
    """Return the summary of a mask that holds several separate lesions.

    A recurrence must not drown in a necrosis elsewhere: each lesion is judged alone, and the
    label of all follows theirs. Mixed if they contradict each other or one is mixed; a recurrence
    beside undecided ones is recurrence-favoring; necrosis-favoring only if each is.

    Parameters
    ----------
    whole : LesionSummary
        Of all of the mask.
    lesions : tuple of LesionSummary
        Of each lesion.

    Returns
    -------
    LesionSummary
        `whole` if there are fewer than two.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.repeat(["necrosis-favoring", "recurrence-favoring"], [7, 2]).reshape(9, 1, 1)
    >>> first, second = np.zeros((9, 1, 1)), np.zeros((9, 1, 1))
    >>> first[:5], second[7:] = 1, 1
    >>> whole, *each = (summarize_lesion(w, labels) for w in (first + second, first, second))
    >>> with_lesions(whole, tuple(each)).favors
    <Favors.MIXED: 'mixed'>
    """
    if len(lesions) < 2:
        return whole
    labels = {one.favors for one in lesions}
    if Favors.MIXED in labels or {Favors.NECROSIS, Favors.RECURRENCE} <= labels:
        favors = Favors.MIXED
    elif Favors.RECURRENCE in labels:
        favors = Favors.RECURRENCE
    elif len(labels) == 1:
        favors = next(iter(labels))
    else:
        favors = Favors.INDETERMINATE
    each = "; ".join(
        f"{one.n_voxels:.1f} voxels about {one.centre_voxel}: {one.favors.value}"
        for one in lesions[:_MOST_TOLD]
    )
    more = len(lesions) - _MOST_TOLD
    rest = f"; and {more} smaller ones" if more > 0 else ""
    together, _, _ = whole.sentence.partition(" The lesion is ")
    together, _, _ = together.partition(" Too little of the lesion ")
    together = together.replace("The lesion fills", "Together they fill")
    worst = ""
    if whole.worst_voxel is not None and whole.worst_likelihood_ratio is not None:
        worst = f" {_worst(whole.worst_voxel, whole.worst_likelihood_ratio)}"
    return replace(
        whole,
        favors=favors,
        lesions=lesions,
        sentence=(
            f"The mask holds {len(lesions)} separate lesions, each judged alone: {each}{rest}. "
            f"{together}{worst}"
        ),
    )


_MOST_TOLD: Final = 6


def _worst(voxel: tuple[int, int, int], likelihood_ratio: float) -> str:
    return (
        f"The voxel that looks most like tumour is {voxel} "
        f"(likelihood ratio {likelihood_ratio:.2g})."
    )


def _percent(share: Share) -> str:
    mean, low, high = share
    between = "" if low is None or high is None else f" ({100 * low:.0f} to {100 * high:.0f} %)"
    return f"{100 * mean:.0f} %{between}"


def _sentence(
    favors: Favors,
    size: float,
    evaluable: float,
    fractions: Mapping[str, Share],
    leaning: Mapping[str, Share],
    worst: tuple[int, int, int] | None,
    worst_lr: float | None,
) -> str:
    words = {
        Favors.NECROSIS: "looks like necrosis",
        Favors.RECURRENCE: "looks like tumour",
        Favors.INDETERMINATE: "is indeterminate",
    }
    if evaluable < LEAST_VOXELS:
        return (
            f"The lesion fills {size:.1f} voxels, of which {evaluable:.1f} can be judged: too "
            "little for a label."
        )
    order = (Favors.RECURRENCE, Favors.NECROSIS, Favors.INDETERMINATE)
    parts = [f"{_percent(fractions[label.value])} {words[label]}" for label in order]
    text = (
        f"The lesion fills {size:.1f} voxels, of which {evaluable:.1f} can be judged; of these "
        f"{parts[0]}, {parts[1]} and {parts[2]}. "
    )
    mixed = "The lesion is mixed: parts of it look like tumour and parts like necrosis."
    for side, others in ((Favors.NECROSIS, "tumour"), (Favors.RECURRENCE, "necrosis")):
        if side.value in leaning and not _is_sure(fractions[side.value]):
            mixed = (
                f"The lesion is mixed: parts of it look like {others}, and in "
                f"{_percent(leaning[side.value])} of it the evidence is at least two to one for "
                f"{'necrosis' if side is Favors.NECROSIS else 'tumour'}."
            )
    conclusion = {
        Favors.MIXED: mixed,
        Favors.RECURRENCE: "The lesion is recurrence-favoring.",
        Favors.NECROSIS: "The lesion is necrosis-favoring.",
        Favors.INDETERMINATE: "The lesion is indeterminate.",
        Favors.NOT_EVALUABLE: "Too little of the lesion can be judged for a label.",
    }[favors]
    if worst is not None and worst_lr is not None:
        conclusion += f" {_worst(worst, worst_lr)}"
    return text + conclusion
