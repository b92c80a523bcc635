"""Tissue classes as peak areas: cohorts of lesions, and what echo time does to them.

An area is that of the group that names the peak, at an echo time, relative to the creatine of the
patient's own normal white matter at that echo time. Ratios are drawn at long echo time, where the
published values come from, and carried to another one by transverse relaxation; the assumptions
stand beside the numbers in ``resources/tissues.toml``. Cohorts are synthetic and say nothing
clinical.
"""

from __future__ import annotations

import math
import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.arguments import check_generator
from mrs_necrosis.constants import LL_PARTS
from mrs_necrosis.simulation.spins import metabolite_group_area

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

LIPIDS: Final = ("Lip13", "Lip09", "Lip20")
"""Lipid peaks of the simulator; Lip20 lies under NAA and is no part of LL."""


@cache
def tissue_data() -> Mapping[str, Any]:
    """Return what ``tissues.toml`` holds: classes, T2, lipids, macromolecules, pools."""
    text = files("mrs_necrosis").joinpath("resources", "tissues.toml").read_text("utf-8")
    return tomllib.loads(text)


def tissue_classes() -> tuple[str, ...]:
    """Return the names of the tissue classes.

    Returns
    -------
    tuple of str
        What ``phantom`` and ``cohort`` take.

    Examples
    --------
    >>> tissue_classes()[:2]
    ('normal_white_matter', 'radiation_necrosis')
    """
    return tuple(tissue_data()["classes"])


def macromolecule_names() -> tuple[str, ...]:
    """Return the names of the macromolecule peaks, ascending in ppm."""
    return tuple(tissue_data()["macromolecules"])


def sums() -> Mapping[str, tuple[str, ...]]:
    """Return the peaks that are sums, with their parts."""
    return {"LL": LL_PARTS, "Glx": ("Glu", "Gln"), "MM": macromolecule_names()}


def t2_s(name: str) -> float:
    """Return the transverse relaxation time of a peak, in s, as the simulator takes it.

    Parameters
    ----------
    name : str
        A peak that is no sum, such as ``"Cr"`` or ``"MM09"``.

    Returns
    -------
    float
        In s.
    """
    table = tissue_data()["t2_s"]
    fallback = "MM" if name in tissue_data()["macromolecules"] else "other"
    return float(table.get(name, table[fallback]))


def decay_rate(name: str) -> float:
    """Return how much faster than coupled lines, glutamate's, a peak decays because of its T2.

    Parameters
    ----------
    name : str
        A peak, as in ``t2_s``, or a metabolite of one, such as ``"PCr"`` of Cr.

    Returns
    -------
    float
        In 1/s; over pi it is the line's further width in Hz.
    """
    pools: Mapping[str, Mapping[str, float]] = tissue_data()["pools"]
    peak = next((pool for pool, members in pools.items() if name in members), name)
    return 1 / t2_s(peak) - 1 / t2_s("Glu")


def with_sums(parts: Mapping[str, NDArray[np.float64]]) -> PeakAreas:
    """Return peak areas with LL, Glx and MM added up from their parts.

    Parameters
    ----------
    parts : mapping of str to ndarray of float64, shape (...)
        Areas by name; absent parts count as zero, and a sum without parts is left out.

    Returns
    -------
    PeakAreas
        The parts and the sums.
    """
    areas = {name: np.asarray(value, dtype=np.float64) for name, value in parts.items()}
    for name, members in sums().items():
        there = [areas[member] for member in members if member in areas]
        if there:
            areas[name] = np.sum(there, axis=0)
    return PeakAreas(tuple(areas), np.stack(list(areas.values()), axis=-1))


def relaxed(areas: PeakAreas, *, from_echo_time_s: float, to_echo_time_s: float) -> PeakAreas:
    """Return the areas that the same tissue has at another echo time.

    Every peak decays with its own T2 (``tissues.toml``); sums are added up anew. Areas are
    magnitudes, so J modulation does not enter here but in the lines.

    Parameters
    ----------
    areas : PeakAreas
        As ``cohort`` returns them; a covariance is not kept.
    from_echo_time_s, to_echo_time_s : float
        In s.

    Returns
    -------
    PeakAreas
        With the same names.
    """
    delay_s = to_echo_time_s - from_echo_time_s
    parts = {
        name: areas.value(name) * math.exp(-delay_s / t2_s(name))
        for name in areas.names
        if name not in sums()
    }
    return with_sums(parts)


def cohort(
    n: int, group: str, rng: np.random.Generator, *, echo_time_s: float | None = None
) -> PeakAreas:
    """Draw lesions of one tissue class.

    Log-ratios to creatine are drawn together with their correlations, everything else follows
    from the same draw, so that all ratios are consistent. ``mixed`` adds the amplitudes of two
    classes in random proportion.

    Parameters
    ----------
    n : int
        How many.
    group : str
        One of ``tissue_classes()``.
    rng : numpy.random.Generator
        Source of chance.
    echo_time_s : float, optional
        Where the areas are wanted, in s; 0.144 by default, which is where they are drawn.

    Returns
    -------
    PeakAreas
        Values (n, K), relative to creatine of normal white matter at that echo time; names
        include Cho, Cr, NAA, LL, Lac, Lip13, Lip09, Lip20, mI, Glx and MM.

    Raises
    ------
    KeyError
        If there is no such class; the message lists them.
    ValueError
        If n is not positive.
    TypeError
        If `rng` is no random generator, such as a seed.

    Examples
    --------
    >>> areas = cohort(5, "radiation_necrosis", np.random.default_rng(1))
    >>> areas.value("LL").shape
    (5,)
    """
    check_generator(rng)
    numbers = _class(group)
    if n < 1:
        msg = f"n must be at least 1; got {n!r}"
        raise ValueError(msg)
    if "mixture_of" in numbers:
        share = rng.beta(2.0, 2.0, size=n)
        first, second = (_drawn(n, _class(name), rng) for name in numbers["mixture_of"])
        parts = {name: (1 - share) * first[name] + share * second[name] for name in first}
    else:
        parts = _drawn(n, numbers, rng)
    return _at(with_sums(parts), echo_time_s)


def typical(group: str, *, echo_time_s: float | None = None) -> PeakAreas:
    """Return the median lesion of a tissue class, without scatter.

    Parameters
    ----------
    group : str
        One of ``tissue_classes()``.
    echo_time_s : float, optional
        As in ``cohort``.

    Returns
    -------
    PeakAreas
        Values (K,), names and unit as in ``cohort``; ``mixed`` is half of each part.

    Raises
    ------
    KeyError
        If there is no such class; the message lists them.

    Examples
    --------
    >>> areas = typical("normal_white_matter")
    >>> round(float(areas.value("NAA") / areas.value("Cr")), 2)
    1.98
    """
    numbers = _class(group)
    members = [_class(name) for name in numbers["mixture_of"]] if "mixture_of" in numbers else []
    drawn = [_drawn(1, member, None) for member in members or [numbers]]
    parts = {name: np.mean([one[name][0] for one in drawn], axis=0) for name in drawn[0]}
    return _at(with_sums(parts), echo_time_s)


def _class(group: str) -> Mapping[str, Any]:
    classes = tissue_data()["classes"]
    if group not in classes:
        msg = f"no tissue class {group!r}; there are {', '.join(classes)}"
        raise KeyError(msg)
    numbers: Mapping[str, Any] = classes[group]
    return numbers


def _at(areas: PeakAreas, echo_time_s: float | None) -> PeakAreas:
    """Return areas drawn at long echo time at another one, in its own unit."""
    drawn_at_s = float(tissue_data()["cohorts"]["echo_time_s"])
    if echo_time_s is None:
        return areas
    at = relaxed(areas, from_echo_time_s=drawn_at_s, to_echo_time_s=echo_time_s)
    # the normal creatine that everything is relative to has relaxed too
    unit = math.exp(-(echo_time_s - drawn_at_s) / t2_s("Cr"))
    return PeakAreas(at.names, at.values / unit)


def _log_moments(mean: float, sd: float) -> tuple[float, float]:
    variance = math.log1p((sd / mean) ** 2)
    return math.log(mean) - variance / 2, math.sqrt(variance)


def _drawn(
    n: int, numbers: Mapping[str, Any], rng: np.random.Generator | None
) -> dict[str, NDArray[np.float64]]:
    """Return the areas of one pure class at long echo time, without scatter if rng is None."""

    def normal(*shape: int) -> NDArray[np.float64]:
        return np.zeros(shape) if rng is None else rng.standard_normal(shape)

    settings = tissue_data()["cohorts"]
    keys = ("cho_cr", "naa_cr", "ll_cr")
    moments = np.array([_log_moments(*numbers[key]) for key in keys])
    correlation = np.eye(3)
    for i in range(3):
        for j in range(i):
            rho = settings["correlation"][f"{keys[j]}-{keys[i]}"]
            correlation[i, j] = correlation[j, i] = rho
    scatter = normal(n, 3) @ np.linalg.cholesky(correlation).T
    cho_cr, naa_cr, ll_cr = np.exp(moments[:, 0] + moments[:, 1] * scatter).T
    mean, sd = _log_moments(*numbers["cr_rel_contralateral"])
    cr = np.exp(mean + sd * normal(n))

    tightness = settings["lactate_share_concentration"]
    share = numbers["lactate_share"]
    lactate = np.full(n, share)
    if rng is not None:
        lactate = rng.beta(share * tightness, (1 - share) * tightness, size=n)
    per_lip13 = {
        name: median * np.exp(log_sd * normal(n))
        for name, (median, log_sd) in tissue_data()["lipids"]["per_lip13"].items()
    }
    lip13 = cr * ll_cr * (1 - lactate) / (1 + per_lip13["Lip09"])
    areas = {
        "Cho": cr * cho_cr,
        "Cr": cr,
        "NAA": cr * naa_cr,
        "Lac": cr * ll_cr * lactate,
        "Lip13": lip13,
        "Lip09": lip13 * per_lip13["Lip09"],
        "Lip20": lip13 * per_lip13["Lip20"],
    }

    long_s = float(settings["echo_time_s"])
    cr_molar = cr * math.exp(long_s / t2_s("Cr")) / metabolite_group_area("Cr")
    for name, per_cr in numbers["molar"].items():
        spread = np.exp(settings["molar_log_sd"] * normal(n))
        protons = metabolite_group_area(name)
        areas[name] = cr_molar * per_cr * spread * protons * math.exp(-long_s / t2_s(name))
    # given at 30 ms, where macromolecules can be seen
    cr_short = cr * math.exp((long_s - 0.030) / t2_s("Cr"))
    scale = numbers["mm"] * np.exp(settings["molar_log_sd"] * normal(n))
    for name, (_, _, relative) in tissue_data()["macromolecules"].items():
        areas[name] = cr_short * scale * relative * math.exp(-(long_s - 0.030) / t2_s(name))
    return areas
