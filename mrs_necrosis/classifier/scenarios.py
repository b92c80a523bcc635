"""What if some lipid lies under NAA, or some of LL is lactate."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from mrs_necrosis.classifier.case import nominal_score
from mrs_necrosis.classifier.judging import plain_ranges
from mrs_necrosis.classifier.scoring import score

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mrs_necrosis.classifier.case import Case
    from mrs_necrosis.classifier.scoring import Score, Weighted


LIPID20_PROTONS: Final = 1.33 / 2
"""Area at 2.04 ppm over area at 1.28 ppm for a ratio of 1, that LCModel assumes."""


def _scenario(case: Case, peaks: Mapping[str, NDArray[np.float64]], nominal: Score) -> float:
    """Return the likelihood ratio of changed areas."""
    columns = {name: values[:, np.newaxis] for name, values in peaks.items()}
    found = score(
        case.spectroscopy, plain_ranges(columns), (1, 1), case.scoring,
        lipid_off=case.lipid_off[:, np.newaxis], factor=case.factor, nominal=nominal,
    )  # fmt: skip
    return math.exp(float(found.total[0, 0]))


def lipid_scenarios(case: Case) -> tuple[tuple[float, float, float], ...]:
    """Return (lipid 2.0 over 1.3, share of NAA removed, likelihood ratio) for each share."""
    areas = case.areas
    if "Lip20" in areas or "NAA" not in areas or not areas.detected("NAA")[0]:
        return ()
    lipid = next((name for name in ("Lip13", "LL") if name in areas), None)
    if lipid is None:
        return ()
    nominal = nominal_score(case)
    if math.isnan(nominal.total[0]):
        return ()
    peaks = {name: areas.value(name) for name in areas.names}
    naa, amount = peaks["NAA"], np.maximum(peaks[lipid], 0.0)
    found = []
    for share in case.scoring.lipid20_shares:
        removed = share * LIPID20_PROTONS * amount
        changed = _scenario(case, {**peaks, "NAA": naa - removed}, nominal)
        found.append((share, float(removed[0] / naa[0]), changed))
    return tuple(found)


def lactate_scenarios(case: Case, nominal: Score) -> tuple[tuple[float, float], ...]:
    """Return (lactate over LL, likelihood ratio), where LL could not be split."""
    areas = case.areas
    proxied = any(bool(outcome.is_proxy.reshape(-1)[0]) and bool(outcome.is_decided[0])
                  for outcome, _ in nominal.outcomes.values())  # fmt: skip
    if "LL" not in areas or case.lipid_off[0] or not proxied or math.isnan(nominal.total[0]):
        return ()
    found = []
    for share in case.scoring.lactate_shares:
        # the published ratios are evaluated, at the weight of the proxies
        criteria = tuple(_split(one, share) for one in case.criteria)
        changed = replace(case, criteria=criteria)
        found.append((share, math.exp(float(nominal_score(changed).total[0]))))
    return tuple(found)


def _split(one: Weighted, lactate_share: float) -> Weighted:
    """Return a criterion whose proxy is corrected for the share of lactate in LL."""
    criterion = one.criterion
    if not criterion.is_proxy:
        return one
    comparisons = []
    for comparison in criterion.any_of:
        factor = 1.0
        if comparison.proxy_for is not None:
            meant = comparison.proxy_for.split("/")
            # never quite zero: no lactate at all is far below any cut-off, not undefined
            shares = {"Lac": max(lactate_share, 1e-9), "Lip": max(1 - lactate_share, 1e-9)}
            factor = shares.get(meant[0], 1.0) / shares.get(meant[1], 1.0)
        comparisons.append(replace(comparison, cutoff=comparison.cutoff / factor))
    return replace(one, criterion=replace(criterion, any_of=tuple(comparisons)))
