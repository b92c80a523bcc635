"""The arithmetic of the evidence: one criterion beside ranges of ratios."""

import dataclasses

import numpy as np
import pytest

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.classifier.judging import detected_ranges, judge
from mrs_necrosis.classifier.scoring import (
    INDETERMINATE,
    NECROSIS,
    RECURRENCE,
    Score,
    Scoring,
    are_opposed,
    label_codes,
    score,
    weigh,
)
from mrs_necrosis.criteria import Comparison, Criterion


def criterion(*rules):
    """Return a criterion that is met if one of the rules is, such as ``"Cho/Cr > 1.5"``."""
    parts = [rule.rsplit(" ", 2) for rule in rules]
    return Criterion(
        id="one", label="One", citation="nowhere", side="recurrence", family="Cho/Cr",
        any_of=tuple(Comparison(expression=text, comparator=comparator, cutoff=float(cutoff))
                     for text, comparator, cutoff in parts),
    )  # fmt: skip


def judged(one, **ratios):
    """Judge one voxel by ratios that are numbers, or ranges where a peak is absent."""

    def ranges(name):
        low, high = np.broadcast_to(ratios[name.replace("/", "_")], (2,))
        return np.array([low]), np.array([high])

    outcome, _ = judge(one, ranges)
    return bool(outcome.is_decided[0]), bool(outcome.is_met[0]), float(outcome.value[0])


@pytest.mark.parametrize(
    ("cutoff", "decided", "met"), [(0.5, True, True), (1.5, False, None), (2.5, True, False)]
)
def test_what_is_taken_away_turns_its_bound_round(cutoff, decided, met):
    # NAA/Cr is below 1: the difference lies between 1 and 2
    found = judged(criterion(f"Cho/Cr - NAA/Cr > {cutoff}"), Cho_Cr=2.0, NAA_Cr=(0.0, 1.0))

    assert found[0] is decided
    assert met is None or found[1] is met


def test_of_comparisons_that_are_met_the_clearest_is_shown():
    either = criterion("Cho/Cr > 1", "Cho/NAA > 1")

    assert judged(either, Cho_Cr=1.5, Cho_NAA=3.0) == (True, True, 3.0)
    assert judged(either, Cho_Cr=1.5, Cho_NAA=0.1) == (True, True, 1.5)


def test_of_comparisons_that_are_not_met_the_closest_is_shown():
    either = criterion("Cho/Cr > 1", "Cho/NAA > 1")

    assert judged(either, Cho_Cr=0.9, Cho_NAA=0.2) == (True, False, 0.9)


def test_one_comparison_decides_what_is_met_and_all_of_them_what_is_not():
    either = criterion("Cho/Cr > 1", "Cho/NAA > 1")
    is_open = (0.5, np.inf)

    assert judged(either, Cho_Cr=2.0, Cho_NAA=is_open)[:2] == (True, True)
    assert judged(either, Cho_Cr=0.5, Cho_NAA=is_open)[0] is False


def test_a_criterion_that_is_left_out_does_not_dilute_its_family():
    plain, fatty = (
        dataclasses.replace(
            criterion(f"{name} > 1"), id=name, enabled=True, verified={"cutoff": True},
            counts=(9.0, 1.0, 9.0, 1.0), counts_basis="reported",
        )
        for name in ("Cho/Cr", "LL/Cr")
    )  # fmt: skip
    scoring, off = Scoring(), np.array([True])

    def family(*criteria):
        weighted = weigh(
            criteria, quantity="area", acquisition=None, population=None, scoring=scoring
        )
        twos = np.array([2.0])
        found = score(weighted, lambda _: (twos, twos), (1,), scoring, lipid_off=off)
        return found.families["Cho/Cr"][0]

    assert family(plain, fatty) == family(plain) > 0


def test_an_absent_peak_without_an_error_has_no_range():
    ranges = detected_ranges(PeakAreas(("Cho", "Cr"), [[0.0, 1.0], [1.0, 0.0]]))

    assert np.isnan(ranges("Cho/Cr")).all()


@pytest.mark.parametrize(("lowest", "opposed"), [(-0.6, False), (-0.8, True)])
def test_families_oppose_each_other_when_both_go_beyond_a_factor_of_two(lowest, opposed):
    families = {"Cho/Cr": np.array([0.8]), "Cho/NAA": np.array([lowest])}

    assert are_opposed(Score(np.zeros(1), families), Scoring()).tolist() == [opposed]


def test_a_likelihood_ratio_of_three_or_a_third_makes_a_label():
    log_ratio = np.log([1 / 3, 0.34, 2.9, 3.0])

    codes = label_codes(log_ratio, np.zeros(4, dtype=bool), Scoring())

    assert codes.tolist() == [NECROSIS, INDETERMINATE, INDETERMINATE, RECURRENCE]
