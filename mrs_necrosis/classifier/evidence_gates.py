"""Gates on the evidence itself: any, unopposed, robust, and no normal brain's."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier.case import nominal_score
from mrs_necrosis.classifier.draws import draw
from mrs_necrosis.classifier.gates import Check
from mrs_necrosis.classifier.scoring import INDETERMINATE, NECROSIS, are_opposed, label_codes
from mrs_necrosis.errors import joined

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from mrs_necrosis.classifier.case import Case
    from mrs_necrosis.classifier.draws import Draws
    from mrs_necrosis.classifier.scoring import Score, Scoring


TOGETHER: Final = "draws-together"
"""The gate that does not concern the label of spectroscopy alone."""


@dataclass(frozen=True, slots=True)
class Others:
    """What the other examinations add to the log-likelihood ratio of spectroscopy."""

    log_ratio: float
    shrink: float

    def together(self, log_ratio: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log-likelihood ratio of all examinations."""
        total: NDArray[np.float64] = (log_ratio + self.log_ratio) / self.shrink
        return total

    def codes(
        self, log_ratio: NDArray[np.float64], opposed: NDArray[np.bool_], scoring: Scoring
    ) -> NDArray[np.uint8]:
        """Return the label of all examinations; spectroscopy against perfusion gives none."""
        clash = np.minimum(abs(log_ratio), abs(self.log_ratio)) > scoring.opposed
        clash &= log_ratio * self.log_ratio < 0
        return label_codes(self.together(log_ratio), opposed | clash, scoring)

    def held(
        self, codes: NDArray[np.uint8], draws: Draws | None, scoring: Scoring
    ) -> NDArray[np.float64] | None:
        """Return the fraction of draws of one voxel that give these codes of all examinations."""
        if draws is None or draws.totals is None or draws.opposed is None:
            return None
        drawn = self.codes(draws.totals, draws.opposed, scoring)
        fraction: NDArray[np.float64] = (drawn == codes[:, np.newaxis]).mean(axis=1)
        return fraction


def evidence_checks(
    case: Case,
    nominal: Score,
    draws: Draws | None,
    others: Others | None = None,
    *,
    n_draws: int,
    seed: int,
) -> tuple[Check, ...]:
    """Return the gates on the evidence itself: any, unopposed, robust, and no normal brain's."""
    scoring = case.scoring
    opposed = are_opposed(nominal, scoring)
    codes = label_codes(nominal.total, opposed, scoring)
    together = codes if others is None else others.codes(nominal.total, opposed, scoring)
    return (
        *_score_checks(nominal, opposed, scoring),
        _draws_check(codes, draws, scoring),
        *_three_peaks_checks(case.areas, (codes == NECROSIS) | (together == NECROSIS)),
        *_left_out_checks(case, codes, together, others, n_draws, seed),
        *_together_checks(together, draws, others, scoring),
    )


def _score_checks(
    nominal: Score, opposed: NDArray[np.bool_], scoring: Scoring
) -> tuple[Check, Check]:
    """Return the gates that ask for evidence, and for evidence that does not contradict itself."""
    silent, families = np.isnan(nominal.total), nominal.families
    yes = np.ones(silent.shape, dtype=bool)

    def say_opposed(i: int) -> str:
        if not opposed[i]:
            return "No two families of criteria oppose each other strongly."
        strongest = sorted(families, key=lambda name: float(families[name][i]))
        return (
            f"{strongest[0]} points to necrosis and {strongest[-1]} to recurrence, each beyond a "
            f"factor of {math.exp(scoring.opposed):.2g}."
        )

    return (
        Check(
            "evidence", silent, yes,
            lambda i: f"{'No criterion' if silent[i] else 'Criteria'} can be evaluated.",
            threshold="at least one criterion", source="by definition",
            gives=Favors.NOT_EVALUABLE,
        ),
        Check(
            "conflict", opposed, yes, say_opposed,
            threshold=f"no two families opposed beyond {math.exp(scoring.opposed):.2g} : 1",
            gives=Favors.INDETERMINATE,
        ),
    )  # fmt: skip


def _draws_check(codes: NDArray[np.uint8], draws: Draws | None, scoring: Scoring) -> Check:
    """Return the gate on labels that do not hold within the areas' errors."""
    limit = 100 * scoring.draws_on_label
    threshold = f"label holds in >= {limit:.0f} % of draws"
    if draws is None:
        no = np.zeros(codes.shape, dtype=bool)
        return Check(
            "draws", no, no,
            lambda _: "Not checked: the areas have no reported uncertainty to draw from.",
            threshold=threshold,
        )  # fmt: skip
    labelled = codes < INDETERMINATE
    held = np.where(labelled, _held(draws, codes), 1.0)

    def say_held(i: int) -> str:
        if not labelled[i]:
            return "There is no label to hold."
        return (
            f"The label holds in {100 * held[i]:.0f} % of draws of the areas' errors "
            f"(limit: {limit:.0f} %)."
        )

    return Check(
        "draws", held < scoring.draws_on_label, labelled, say_held,
        threshold=threshold, gives=Favors.INDETERMINATE,
    )  # fmt: skip


def _three_peaks_checks(areas: PeakAreas, is_necrosis: NDArray[np.bool_]) -> Iterable[Check]:
    """Yield the gate on necrosis where a peak is missing that would tell normal brain."""
    missing = [name for name in ("Cho", "Cr", "NAA") if name not in areas]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        yield Check(
            "three-peaks", is_necrosis, np.ones(is_necrosis.shape, dtype=bool),
            lambda _: (
                f"{joined(missing)} {verb} not among the peaks: what the published criteria call "
                "necrosis may then be normal brain."
            ),
            threshold="Cho, Cr and NAA given, or another label than necrosis",
            source="what the near-normal gate needs", gives=Favors.INDETERMINATE,
        )  # fmt: skip


def _left_out_checks(
    case: Case,
    codes: NDArray[np.uint8],
    together: NDArray[np.uint8],
    others: Others | None,
    n_draws: int,
    seed: int,
) -> Iterable[Check]:
    """Yield the gate on labels that exist only because a threshold left lipid criteria out."""
    left_out = case.lipid_off_by_threshold
    if not left_out.any():
        return
    differs = np.zeros(left_out.shape, dtype=bool)
    asked = np.flatnonzero(left_out & (np.minimum(codes, together) < INDETERMINATE))
    if asked.size:
        covariance = None if case.areas.covariance is None else case.areas.covariance[asked]
        areas = replace(case.areas, values=case.areas.values[asked], covariance=covariance)
        whole = replace(case, areas=areas, lipid_off=np.zeros(asked.size, dtype=bool))
        nominal = nominal_score(whole)
        draws = draw(whole, nominal, n_draws, seed, each_criterion=others is not None)
        opposed = are_opposed(nominal, case.scoring)
        found = label_codes(nominal.total, opposed, case.scoring)
        held = None if draws is None else _held(draws, found)
        kept = _keeps(codes[asked], found, held, case.scoring)
        if others is not None:
            # the draw rule withholds the label of all where that of the spectrum does not hold
            kept &= _keeps(found, found, held, case.scoring)
            found = others.codes(nominal.total, opposed, case.scoring)
            held = others.held(found, draws, case.scoring)
            kept &= _keeps(together[asked], found, held, case.scoring)
        differs[asked] = ~kept

    def sentence(i: int) -> str:
        if not differs[i]:
            return "No label rests on lipid criteria being left out."
        return (
            "A label would rest on lipid criteria being left out, by a threshold that is assumed: "
            "with them there is none."
        )

    yield Check(
        "lipid-left-out", differs, left_out, sentence,
        threshold="the same label with the lipid criteria, where a threshold left them out",
        source="an assumed threshold may only withhold a label", gives=Favors.INDETERMINATE,
    )  # fmt: skip


def _held(draws: Draws, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the fraction of draws that give the label of each voxel, where it has one."""
    fraction: NDArray[np.float64] = draws.fractions[
        np.arange(len(codes)), np.minimum(codes, INDETERMINATE)
    ]
    return fraction


def _keeps(
    codes: NDArray[np.uint8],
    found: NDArray[np.uint8],
    held: NDArray[np.float64] | None,
    scoring: Scoring,
) -> NDArray[np.bool_]:
    """Return where a label, if there is one, is found again and holds in the draws."""
    again = found == codes
    if held is not None:
        again &= held >= scoring.draws_on_label
    kept: NDArray[np.bool_] = (codes >= INDETERMINATE) | again
    return kept


def _together_checks(
    codes: NDArray[np.uint8], draws: Draws | None, others: Others | None, scoring: Scoring
) -> Iterable[Check]:
    """Yield the draw rule for the label of all examinations of one voxel."""
    held = None if others is None else others.held(codes, draws, scoring)
    if held is None:
        return
    limit, labelled = scoring.draws_on_label, codes < INDETERMINATE

    def sentence(i: int) -> str:
        if not labelled[i]:
            return "The examinations together give no label to hold."
        return (
            "The label of all examinations together holds in "
            f"{100 * held[i]:.0f} % of draws of the areas' errors (limit: {100 * limit:.0f} %)."
        )

    yield Check(
        TOGETHER, labelled & (held < limit), labelled, sentence,
        threshold=f"label holds in >= {100 * limit:.0f} % of draws", gives=Favors.INDETERMINATE,
    )  # fmt: skip
