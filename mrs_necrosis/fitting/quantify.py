"""Areas in millimoles per litre, by the water signal of the same voxel.

With areas S of water and of a metabolite at the echo time, N protons in the group that names it,
and relaxation factors R = exp(-TE / T2) (1 - exp(-TR / T1)),

``c = S / N / R * sum_k(f_k c_k R_k) / (S_water / 2) / f``

where f_k is compartment k's share of the voxel's volume, c_k its water in mol/l, and f the share
that holds metabolites (Ernst, Kreis & Ross, J. Magn. Reson. B 102, 1 (1993); Gasparovic et al.,
Magn. Reson. Med. 55, 1219 (2006)). Nothing is assumed here: each number is an argument. Ratios
need none of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.fitting.priors import group_protons

WATER_G_PER_MOL: Final = 18.015


@dataclass(frozen=True, slots=True)
class Compartment:
    """A part of the voxel that has its own water.

    Parameters
    ----------
    fraction : float
        Its share of the voxel's volume, 0 to 1.
    water_g_per_ml : float
        Water in it, 0 to 1.
    t2_s : float
        Transverse relaxation time of that water.
    t1_s : float or None
        Longitudinal one; None if the repetition time is much longer.
    has_metabolites : bool
        False for cerebrospinal fluid and cysts.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    fraction: float
    water_g_per_ml: float
    t2_s: float
    t1_s: float | None = None
    has_metabolites: bool = True

    def __post_init__(self) -> None:
        if not (0 <= self.fraction <= 1 and 0 < self.water_g_per_ml <= 1.1):
            msg = (
                "a compartment has a fraction of 0 to 1 and up to 1 g/ml of water; got "
                f"{self.fraction!r} and {self.water_g_per_ml!r}"
            )
            raise ValueError(msg)
        if not self.t2_s > 0 or (self.t1_s is not None and not self.t1_s > 0):
            msg = f"relaxation times are positive seconds; got {self.t2_s!r} and {self.t1_s!r}"
            raise ValueError(msg)

    def signal(self, echo_time_s: float, repetition_time_s: float | None) -> float:
        """Return its water signal in mmol per litre of voxel, relaxation included."""
        molar = self.fraction * self.water_g_per_ml / WATER_G_PER_MOL * 1e6
        return molar * relaxation(echo_time_s, repetition_time_s, t2_s=self.t2_s, t1_s=self.t1_s)


def relaxation(
    echo_time_s: float,
    repetition_time_s: float | None,
    *,
    t2_s: float,
    t1_s: float | None,
) -> float:
    """Return what relaxation leaves of a signal after a 90-degree pulse.

    Parameters
    ----------
    echo_time_s, repetition_time_s : float or None
        Of the acquisition.
    t2_s, t1_s : float or None
        Relaxation times; without ``t1_s`` the repetition time counts as long.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    ValueError
        If there is a ``t1_s`` and no repetition time.
    """
    left = float(np.exp(-echo_time_s / t2_s))
    if t1_s is None:
        return left
    if repetition_time_s is None:
        msg = "t1_s needs the repetition time; without either, saturation is left out"
        raise ValueError(msg)
    return left * float(1 - np.exp(-repetition_time_s / t1_s))


def molar(
    areas: PeakAreas,
    water_area: ArrayLike,
    compartments: Sequence[Compartment],
    *,
    echo_time_s: float,
    repetition_time_s: float | None,
    t2_s: float | Mapping[str, float],
    t1_s: float | Mapping[str, float] | None,
    water_echo_time_s: float | None = None,
) -> PeakAreas:
    """Return areas as concentrations in mmol per litre of what holds metabolites.

    Parameters
    ----------
    areas : PeakAreas
        Of a fit, quantity ``"area"``.
    water_area : array_like of float, shape (X, Y, Z)
        Amplitude of the water reference at t = 0, on the scale of the FIDs, such as
        ``spectra.water_area``. Its own error is left out: it is common to all areas.
    compartments : sequence of Compartment
        Their fractions add up to 1.
    echo_time_s, repetition_time_s : float or None
        Of the metabolites.
    t2_s, t1_s : float or mapping of str to float, or None
        Relaxation times of the metabolites, one for all or by name; without ``t1_s`` the
        repetition time counts as long.
    water_echo_time_s : float or None
        Of the water reference, where it is another.

    Returns
    -------
    PeakAreas
        Quantity ``"molar"``, unit ``"mmol/l"``; only areas whose group has a known number of
        protons, so neither lipids nor macromolecules. NaN where there is no water.

    Raises
    ------
    ValueError
        If the fractions do not add up to 1, nothing holds metabolites, or ``areas`` are no areas.
    KeyError
        If a mapping of relaxation times lacks a name.
    """
    if areas.quantity != "area":
        msg = f"areas are needed; got the quantity {areas.quantity!r}"
        raise ValueError(msg)
    total = sum(part.fraction for part in compartments)
    inside = sum(part.fraction for part in compartments if part.has_metabolites)
    if abs(total - 1) > 0.01 or inside <= 0:
        msg = (
            "fractions of the compartments must add up to 1, with metabolites in some of them; "
            f"they add up to {total:.3f}, {inside:.3f} with metabolites"
        )
        raise ValueError(msg)
    protons = {"Cho": 9.0, "Glx": 2.0, **group_protons()}
    names = tuple(name for name in areas.names if name in protons)
    water = np.asarray(water_area, dtype=np.float64)
    water_te = echo_time_s if water_echo_time_s is None else water_echo_time_s
    signal = sum(part.signal(water_te, repetition_time_s) for part in compartments)
    factor = np.empty(len(names))
    for i, name in enumerate(names):
        t2 = t2_s[name] if not isinstance(t2_s, (int, float)) else float(t2_s)
        t1 = t1_s if t1_s is None or isinstance(t1_s, (int, float)) else t1_s[name]
        kept = relaxation(echo_time_s, repetition_time_s, t2_s=t2, t1_s=t1)
        factor[i] = signal / inside / (protons[name] * kept)
    index = [areas.index(name) for name in names]
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(water > 0, 2.0 / water, np.nan)[..., None] * factor
    covariance = None
    if areas.covariance is not None:
        chosen = areas.covariance[..., index, :][..., index]
        covariance = chosen * each[..., :, None] * each[..., None, :]
    values = areas.values[..., index] * each
    return PeakAreas(names, values, covariance, quantity="molar", unit="mmol/l")
