"""Peak areas with their covariance: what a fit or a printed peak table hands to the ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.arguments import check_type, read_only, restore
from mrs_necrosis.constants import LL_PARTS

Quantity = Literal["area", "height", "molar"]
QUANTITIES: tuple[Quantity, ...] = ("area", "height", "molar")
_ALIASES: Final = {
    "cho": "Cho",
    "tcho": "Cho",
    "choline": "Cho",
    "gpc+pch": "Cho",
    "pch+gpc": "Cho",
    "cr": "Cr",
    "tcr": "Cr",
    "creatine": "Cr",
    "cr+pcr": "Cr",
    "pcr+cr": "Cr",
    "naa": "NAA",
    "tnaa": "NAA",
    "naa+naag": "NAA",
    "naag+naa": "NAA",
    "n-acetylaspartate": "NAA",
    "n-acetyl-aspartate": "NAA",
    "ll": "LL",
    "lip+lac": "LL",
    "lac+lip": "LL",
    "lip/lac": "LL",
    "lac/lip": "LL",
    "lipid+lactate": "LL",
    "lipid/lactate": "LL",
    "lipids+lactate": "LL",
    "lipids/lactate": "LL",
    "lip": "Lip",
    "lipid": "Lip",
    "lipids": "Lip",
    "lac": "Lac",
    "lactate": "Lac",
    "mi": "mI",
    "ins": "mI",
    "myo-inositol": "mI",
    "myoinositol": "mI",
    "glx": "Glx",
    "glu+gln": "Glx",
}
_NO_PEAKS: Final = {
    **dict.fromkeys(
        ("te", "te_ms", "te_s", "echo_time", "echo_time_ms", "echo_time_s", "echotime"),
        "is the echo time and no peak: write echo_time_ms in a TOML file, or give --echo-time",
    ),
    **dict.fromkeys(
        ("b0", "b0_t", "field", "field_t", "field_strength"),
        "is the field and no peak: write field_t in a TOML file, or give --field",
    ),
}

DETECTION_SD = 3.0
"""A peak is detected when its area is at least this many standard deviations."""


INVERTED = frozenset({"Lac", "Ala"})
"""Doublets that stand upside down at an echo time of 120 to 160 ms: J is 7 Hz."""

LARGEST_QUOTIENT = 1e6
"""Peaks of one spectrum differ by less: no spectrum has that much more signal than noise
(assumed)."""

_BLOCK = 4096  # voxels that are looked at together


def _what_is_wrong(covariance: NDArray[np.float64]) -> str | None:
    """Return why a matrix is no covariance, a sentence without its subject; None if it is one."""
    k = covariance.shape[-1]
    rows = covariance.reshape(-1, k, k)
    for start in range(0, len(rows), _BLOCK):
        some = rows[start : start + _BLOCK]
        sd = np.sqrt(np.einsum("vkk->vk", some))
        scale = sd[:, :, None] * sd[:, None, :]
        with np.errstate(invalid="ignore"):
            if (np.abs(some - np.swapaxes(some, 1, 2)) > 1e-6 * scale + 1e-300).any():
                return "must be symmetric"
            # draws from it would have no error, or one of another size
            if (np.isfinite(scale) & ~(np.abs(some) <= (1 + 1e-6) * scale + 1e-300)).any():
                return "must be finite where its variances are, with no correlation beyond 1"
    return None


def _digits(number: float, count: int) -> str:
    return np.format_float_positional(number, precision=count, fractional=False, trim="-")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PeakAreas:
    """Areas of K peaks in one common unit, in any number of voxels. Those of one voxel print.

    An area is a resonance's time-domain amplitude at t = 0, at the echo time, of the group that
    names it (``constants.PEAK_PPM``), protons included.

    Parameters
    ----------
    names : tuple of str
        K distinct names: ``"LL"``, ``"Cho"``, ``"Cr"``, ``"NAA"``, …
    values : ndarray of float64, shape (..., K)
        Areas; NaN where there is no answer. Negative values within the error are kept.
    covariance : ndarray of float64, shape (..., K, K), or None
        None if the source reports no uncertainty.
    unit : str or None
        None if the source does not say; ratios do not depend on it.
    quantity : {"area", "height", "molar"}
        What the numbers are; a console's peak table is an area unless it says otherwise.

    Raises
    ------
    ValueError
        If the shapes do not fit, a name appears twice, or the covariance is not one.
    TypeError
        If the names are no names, the values no numbers, or the unit no text.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    covariance: NDArray[np.float64] | None = None
    unit: str | None = None
    quantity: Quantity = "area"

    def __post_init__(self) -> None:
        wanted = "a tuple of names, such as ('Cho', 'Cr')"
        check_type("names", self.names, (tuple, list), wanted)
        names = tuple(self.names)
        for name in names:
            check_type("the name of a peak", name, str, "text")
        if not names or len(set(names)) != len(names) or not all(names):
            msg = f"names must be distinct and not empty; got {names}"
            raise ValueError(msg)
        if self.quantity not in QUANTITIES:
            msg = f"quantity must be one of {QUANTITIES}; got {self.quantity!r}"
            raise ValueError(msg)
        check_type("unit", self.unit, str, "text", optional=True)
        values = read_only(self.values, np.float64, "values")
        if values.ndim == 0 or values.shape[-1] != len(names):
            msg = f"values must have {len(names)} areas on its last axis; got {values.shape}"
            raise ValueError(msg)
        if np.isinf(values).any():
            msg = "an area cannot be infinite; NaN means no answer"
            raise ValueError(msg)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "values", values)
        if self.covariance is not None:
            covariance = read_only(self.covariance, np.float64, "covariance")
            if covariance.shape != (*values.shape, len(names)):
                msg = (
                    f"covariance must have shape {(*values.shape, len(names))}; "
                    f"got {covariance.shape}"
                )
                raise ValueError(msg)
            variance = np.diagonal(covariance, axis1=-2, axis2=-1)
            if (variance < 0).any():
                msg = "covariance has a negative variance on its diagonal"
                raise ValueError(msg)
            wrong = _what_is_wrong(covariance)
            if wrong is not None:
                msg = f"covariance {wrong}"
                raise ValueError(msg)
            object.__setattr__(self, "covariance", covariance)

    __setstate__ = restore

    def __repr__(self) -> str:
        voxels = self.values.size // len(self.names)
        in_voxels = "" if voxels == 1 else f" in {voxels} voxels"
        errors = "without errors" if self.covariance is None else "with covariance"
        return f"<PeakAreas {', '.join(self.names)}{in_voxels}, {self.quantity}, {errors}>"

    def __str__(self) -> str:
        if not self.is_single:
            return repr(self)
        lines = []
        for name in self.names:
            sd = self.sd(name)
            error = "" if sd is None else f" ± {_digits(sd.item(), 2)}"
            lines.append(f"{name} {_digits(self.value(name).item(), 6)}{error}")
        return "\n".join(lines)

    @property
    def is_single(self) -> bool:
        """Whether these are the areas of exactly one voxel."""
        return self.values.size == len(self.names)

    def flat(self) -> PeakAreas:
        """Return these areas with all voxels along one axis: values of shape (V, K)."""
        k = len(self.names)
        covariance = self.covariance
        if covariance is not None:
            covariance = covariance.reshape(-1, k, k)
        return replace(self, values=self.values.reshape(-1, k), covariance=covariance)

    def index(self, name: str) -> int:
        """Return the position of ``name`` among the peaks.

        Parameters
        ----------
        name : str
            One of ``names``.

        Returns
        -------
        int
            Along the last axis of ``values``.

        Raises
        ------
        KeyError
            If there is no such peak; the message lists those that there are.
        """
        try:
            return self.names.index(name)
        except ValueError:
            msg = f"no peak {name!r}; there are {', '.join(self.names)}"
            raise KeyError(msg) from None

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def value(self, name: str) -> NDArray[np.float64]:
        """Return the areas of one peak.

        Parameters
        ----------
        name : str
            One of ``names``; a KeyError lists them.

        Returns
        -------
        ndarray of float64, shape (...)
            In ``unit``; NaN where there is no answer.
        """
        area: NDArray[np.float64] = self.values[..., self.index(name)]
        return area

    def sd(self, name: str) -> NDArray[np.float64] | None:
        """Return the standard deviations of one peak.

        Parameters
        ----------
        name : str
            One of ``names``; a KeyError lists them.

        Returns
        -------
        ndarray of float64, shape (...), or None
            In ``unit``; None if the source reports no uncertainty.
        """
        if self.covariance is None:
            return None
        at = self.index(name)
        deviation: NDArray[np.float64] = np.sqrt(self.covariance[..., at, at])
        return deviation

    def detected(self, name: str) -> NDArray[np.bool_]:
        """Return where a peak is detected.

        With a covariance: the area is at least ``DETECTION_SD`` standard deviations. Without
        one: the area is above zero, because a console prints only what it found.

        Parameters
        ----------
        name : str
            One of ``names``; a KeyError lists them.

        Returns
        -------
        ndarray of bool, shape (...)
            False where there is no answer.
        """
        value = self.value(name)
        sd = self.sd(name)
        found: NDArray[np.bool_] = value > 0
        if sd is not None:
            found = found & (value >= DETECTION_SD * sd)
        return found

    def with_sum(self, name: str, parts: Sequence[str]) -> PeakAreas:
        """Return these areas and one more, the sum of ``parts``, with its covariance.

        Parameters
        ----------
        name : str
            Name of the sum.
        parts : sequence of str
            Names to add up.

        Returns
        -------
        PeakAreas
            With K + 1 peaks.
        """
        k = len(self.names)
        combine = np.vstack([np.eye(k), np.zeros((1, k))])
        for part in parts:
            combine[k, self.index(part)] = 1.0
        covariance = None
        if self.covariance is not None:
            weights = combine[k]
            crossed = self.covariance @ weights
            covariance = np.empty((*self.values.shape[:-1], k + 1, k + 1))
            covariance[..., :k, :k] = self.covariance
            covariance[..., :k, k] = covariance[..., k, :k] = crossed
            covariance[..., k, k] = crossed @ weights
            covariance.setflags(write=False)
        return PeakAreas(
            (*self.names, name), self.values @ combine.T, covariance, self.unit, self.quantity
        )

    def with_ll(self) -> PeakAreas:
        """Return these areas with LL, the sum of lipid and lactate, where all of it is known."""
        if "LL" in self.names:
            return self
        # lactate alone is no LL: what is not among the peaks is unknown, and not zero
        for parts in (LL_PARTS, ("Lip", "Lac")):
            if all(name in self.names for name in parts):
                return self.with_sum("LL", parts)
        return self

    def to_ufloats(self) -> dict[str, Any]:
        """Return the areas of one voxel as numbers of the package ``uncertainties``.

        They know their covariance, so that any expression of them gets its standard deviation to
        first order; ``ratio`` gives Fieller's interval as well.

        Returns
        -------
        dict of str to uncertainties.UFloat
            By name.

        Raises
        ------
        ValueError
            If there are many voxels, or no covariance.

        Examples
        --------
        >>> import numpy as np
        >>> areas = PeakAreas(("Cho", "Cr", "NAA"), [3.0, 2.0, 4.0], np.diag([0.01, 0.01, 0.04]))
        >>> peaks = areas.to_ufloats()
        >>> print((peaks["Cho"] + peaks["Cr"]) / peaks["NAA"])
        1.25+/-0.07
        """
        if not self.is_single or self.covariance is None:
            msg = "only areas of one voxel with a covariance are numbers with errors"
            raise ValueError(msg)
        k = len(self.names)
        values, covariance = self.values.reshape(k), self.covariance.reshape(k, k)
        known = np.isfinite(values) & np.isfinite(covariance.diagonal())
        uncertainties: Any = import_module("uncertainties")  # lmfit brings it
        # one that is not known would take the errors of all others with it
        together = covariance[np.ix_(known, known)]
        numbers = iter(
            uncertainties.correlated_values(values[known], together) if known.any() else ()
        )
        return {
            name: next(numbers) if is_known else uncertainties.ufloat(value, np.nan)
            for name, value, is_known in zip(self.names, values.tolist(), known, strict=True)
        }

    @classmethod
    def from_ufloats(
        cls, areas: Mapping[str, Any], unit: str | None = None, quantity: Quantity = "area"
    ) -> PeakAreas:
        """Return areas with the covariance that numbers of ``uncertainties`` have.

        Parameters
        ----------
        areas : mapping of str to uncertainties.UFloat
            By the name of the peak.
        unit, quantity :
            As in ``PeakAreas``.

        Returns
        -------
        PeakAreas
            values (K,).

        Raises
        ------
        TypeError
            If one of them is a plain number: its error is unknown, and not zero.
        ValueError
            If an error is not finite, of an area that is.

        Examples
        --------
        >>> from uncertainties import ufloat
        >>> cho = ufloat(3.0, 0.1)
        >>> PeakAreas.from_ufloats({"Cho": cho, "Cr": 0.5 * cho}).covariance.round(4).tolist()
        [[0.01, 0.005], [0.005, 0.0025]]
        """
        values, covariance = values_of_ufloats(areas)
        return cls(tuple(map(peak_called, areas)), values, covariance, unit, quantity)


def values_of_ufloats(
    areas: Mapping[str, Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values (K,) and covariance (K, K) of numbers of ``uncertainties``.

    Parameters
    ----------
    areas : mapping of str to uncertainties.UFloat
        By the name of the peak.

    Returns
    -------
    tuple of ndarray
        In the order of the mapping.

    Raises
    ------
    TypeError, ValueError
        As ``PeakAreas.from_ufloats``.
    """
    for name, number in areas.items():
        check_type("the name of a peak", name, str, "text")
        if not hasattr(number, "std_dev"):
            msg = f"every area needs an error, as those of others have; got {number!r} of {name}"
            raise TypeError(msg)
        if math.isfinite(number.nominal_value) and not math.isfinite(number.std_dev):
            msg = f"the error of {name} must be a number; got {number.std_dev}"
            raise ValueError(msg)
    uncertainties: Any = import_module("uncertainties")
    numbers = list(areas.values())
    values = np.array([number.nominal_value for number in numbers], dtype=np.float64)
    return values, np.array(uncertainties.covariance_matrix(numbers), dtype=np.float64)


def upright(areas: PeakAreas) -> tuple[PeakAreas, NDArray[np.bool_]]:
    """Return areas in which doublets that stand upside down are magnitudes, and where they were.

    For numbers that a console printed, and for a fit that did not know the echo time and gave
    lactate whichever sign it had.

    Parameters
    ----------
    areas : PeakAreas
        Signed, of any number of voxels; without an error nothing below zero is noise.

    Returns
    -------
    areas : PeakAreas
        Lactate and alanine that lay below zero by more than ``DETECTION_SD`` of their error are
        above it; noise keeps its sign.
    inverted : ndarray of bool, shape (X, Y, Z)
        Voxels in which one did.
    """
    doublet = np.array([name in INVERTED for name in areas.names])
    below = (areas.values < -_noise(areas)) & doublet
    signs = np.where(below, -1.0, 1.0)
    covariance = areas.covariance
    if covariance is not None:
        covariance = covariance * signs[..., :, np.newaxis] * signs[..., np.newaxis, :]
    found = replace(areas, values=areas.values * signs, covariance=covariance)
    inverted: NDArray[np.bool_] = np.asarray(below.any(axis=-1))
    return found, inverted


def _noise(areas: PeakAreas) -> NDArray[np.float64]:
    """Return how large an area may be and still be noise, as ``values``; 0 without an error."""
    if areas.covariance is None:
        return np.zeros(areas.values.shape)
    noise: NDArray[np.float64] = DETECTION_SD * np.sqrt(
        np.diagonal(areas.covariance, axis1=-2, axis2=-1)
    )
    return noise


def known_peak(title: str) -> str | None:
    """Return the peak that a title names in one of the usual spellings, or None."""
    return _ALIASES.get(title.strip().lower())


def peak_called(name: str) -> str:
    """Return the peak that a printed name stands for; a name that is not known stays.

    Parameters
    ----------
    name : str
        As a console or a person writes it.

    Returns
    -------
    str
        Such as ``"Cho"`` for ``"tCho"``.

    Raises
    ------
    ValueError
        If it is no peak but a ratio, the echo time or the field.

    Examples
    --------
    >>> peak_called("GPC+PCh"), peak_called("Ala")
    ('Cho', 'Ala')
    """
    if name.lower() in _NO_PEAKS:
        msg = f"{name}, which {_NO_PEAKS[name.lower()]}"
        raise ValueError(msg)
    known = known_peak(name) or name
    if "/" in known:
        msg = (
            "ratios where peaks are needed: give the peaks, or their ratios to creatine as "
            "Cho=1.14 Cr=1 NAA=1.06"
        )
        raise ValueError(msg)
    return known


def as_printed(areas: PeakAreas) -> PeakAreas:
    """Return the numbers that a console or another program printed, as the magnitudes they are.

    Lactate or alanine below zero is an inverted doublet and becomes its magnitude. What lies below
    zero by less than ``DETECTION_SD`` of its error is noise, and kept, and so is a net value,
    ``LL_net``. Anything else below zero is a slip.

    Parameters
    ----------
    areas : PeakAreas
        Of one voxel.

    Returns
    -------
    PeakAreas
        The same peaks.

    Raises
    ------
    ValueError
        If an area is negative, or two differ by more than ``LARGEST_QUOTIENT``.
    """
    k = len(areas.names)
    values, noise = areas.values.reshape(k), _noise(areas).reshape(k)
    for i in np.flatnonzero(values < -noise):
        name = areas.names[i]
        if name not in {*INVERTED, "LL_net"}:
            far = "" if areas.covariance is None else f", more than {DETECTION_SD:g} sd below zero"
            net = "; a net LL of 120 to 160 ms needs its echo time" if name == "LL" else ""
            msg = (
                f"the area of {name} is {values[i]:g}{far}; an area is a magnitude, so write 0 "
                f"for a peak that was not found{net}"
            )
            raise ValueError(msg)
    found = [i for i in range(k) if values[i] > noise[i]]
    if found:
        high, low = max(found, key=values.item), min(found, key=values.item)
        with np.errstate(over="ignore"):
            quotient = values[high] / values[low]
        if quotient > LARGEST_QUOTIENT:
            msg = (
                f"the areas of {areas.names[high]} and {areas.names[low]} differ by a factor of "
                f"{quotient:.0e}; peaks of one spectrum, in one unit, do not"
            )
            raise ValueError(msg)
    return upright(areas)[0]


def check_areas(areas: object) -> None:
    """Refuse what is no PeakAreas, such as the whole fit.

    Parameters
    ----------
    areas : object
        What was given.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    check_type("areas", areas, PeakAreas, "PeakAreas, such as fit(...).areas")
