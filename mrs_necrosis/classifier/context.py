"""What else is known of a case, beside its spectrum. None means unknown, never no."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.arguments import NUMBER, check_each, check_range, check_type, check_whole
from mrs_necrosis.criteria import Side

NARLOCH_MONTHS: Final = 9.0
NARLOCH_PRIORS: Final = (0.526, 0.063)
"""Recurrence among biopsied enlarging metastases up to 9 months after radiosurgery (10 of 19) and
later (1 of 16): Narloch 2017, Neuro-Oncology 19:1391-7, doi 10.1093/neuonc/nox090."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a person read from another examination: shown, and not scored.

    Parameters
    ----------
    kind : {"perfusion", "mri"}
        Kind of examination.
    text : str
        In words: ``"map-like enhancement, large oedema"``.
    suggests : {"necrosis", "recurrence"} or None
        What the reader took it for; None if he did not say.
    source : str
        Who read it, or where it was reported.
    """

    kind: Literal["perfusion", "mri"]
    text: str
    suggests: Side | None = None
    source: str = "reading given with the case"

    def __post_init__(self) -> None:
        if self.kind not in {"perfusion", "mri"} or self.suggests not in {
            None,
            "necrosis",
            "recurrence",
        }:
            msg = (
                "a reading has kind 'perfusion' or 'mri' and suggests 'necrosis', 'recurrence' or "
                f"None; got {self.kind!r} and {self.suggests!r}"
            )
            raise ValueError(msg)
        if not self.text.strip():
            msg = "a reading needs a text"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """What else is known of a case.

    Parameters
    ----------
    population : str or None
        ``"glioma"``, ``"metastasis"``, ``"glioblastoma_pseudoprogression"``, …: compared with the
        population of each criterion. A glioblastoma, or another glioma by name, is a glioma.
    months_since_irradiation : float or None
        From the last irradiation of the site to the spectrum.
    after_bevacizumab : bool or None
        Whether the spectrum was taken during or after treatment with bevacizumab.
    contralateral : PeakAreas or None
        One voxel of the other side, on the same scale as the case (same acquisition).
    near_skull : bool or None
        Whether the voxel lies close enough to the skull to catch scalp lipid.
    post_contrast : bool or None
        Whether a contrast agent had been given.
    rcbv_grey, rcbv_white : float or None
        Maximal relative cerebral blood volume of the lesion over normal-appearing grey or white
        matter.
    perfusion_reading : {"low", "high"} or None
        The perfusion map read by eye.
    readings : tuple of Reading
        Other examinations in words.
    other_voxels : int or None
        How many other voxels of the lesion were judged as well.
    lesion_share : float or None
        Share of a single voxel's volume that is lesion, 0 to 1; ``analyze`` finds it from a mask.

    Raises
    ------
    ValueError
        If a number is impossible.
    TypeError
        If something is not of its type.
    """

    population: str | None = None
    months_since_irradiation: float | None = None
    after_bevacizumab: bool | None = None
    contralateral: PeakAreas | None = None
    near_skull: bool | None = None
    post_contrast: bool | None = None
    rcbv_grey: float | None = None
    rcbv_white: float | None = None
    perfusion_reading: Literal["low", "high"] | None = None
    readings: tuple[Reading, ...] = ()
    other_voxels: int | None = None
    lesion_share: float | None = None

    def __post_init__(self) -> None:
        check_type("population", self.population, str, "text", optional=True)
        for name in ("after_bevacizumab", "near_skull", "post_contrast"):
            check_type(name, getattr(self, name), bool, "True, False", optional=True)
        for name in ("months_since_irradiation", "rcbv_grey", "rcbv_white"):
            value = getattr(self, name)
            if value is not None and not _is_from_zero(value):
                msg = f"{name} must be a number from 0 on, or None; got {value!r}"
                raise ValueError(msg)
        check_whole("other_voxels", self.other_voxels, 0, optional=True)
        if self.lesion_share is not None:
            check_range("lesion_share", self.lesion_share, 0.0, 1.0, "of the voxel")
        check_type("readings", self.readings, (tuple, list), "a tuple of Reading")
        check_each("readings", self.readings, Reading, "a tuple of Reading")
        check_type("contralateral", self.contralateral, PeakAreas, "PeakAreas", optional=True)
        if self.perfusion_reading not in {None, "low", "high"}:
            msg = (
                f"perfusion_reading must be 'low', 'high' or None; got {self.perfusion_reading!r}"
            )
            raise ValueError(msg)
        if self.contralateral is not None and not self.contralateral.is_single:
            msg = (
                "contralateral must be one voxel; "
                f"got values of shape {self.contralateral.values.shape}"
            )
            raise ValueError(msg)


def _is_from_zero(value: object) -> bool:
    return isinstance(value, NUMBER) and bool(0 <= value < math.inf)


def prior_after_radiosurgery(months: float) -> float:
    """Return the prior probability of recurrence of an enlarging metastasis after radiosurgery.

    Parameters
    ----------
    months : float
        Since radiosurgery.

    Returns
    -------
    float
        0.526 (10 of 19) up to 9 months, 0.063 (1 of 16) later.

    Raises
    ------
    ValueError
        If `months` is negative or not a number.

    References
    ----------
    Narloch et al. 2017, Neuro-Oncology 19:1391-7, doi 10.1093/neuonc/nox090: 35 biopsied
    lesions of one centre.

    Examples
    --------
    >>> prior_after_radiosurgery(7)
    0.526
    """
    if not _is_from_zero(months):
        msg = f"months since radiosurgery must be a number from 0 on; got {months!r}"
        raise ValueError(msg)
    return NARLOCH_PRIORS[0] if months <= NARLOCH_MONTHS else NARLOCH_PRIORS[1]


def share_words(share: float) -> str:
    """Return a share in whole percent, rounded towards nothing: 49.9 % is no half.

    Parameters
    ----------
    share : float
        0 to 1.

    Returns
    -------
    str
        As it stands in a sentence.

    Examples
    --------
    >>> share_words(0.499), share_words(0.004), share_words(0.29)
    ('49 %', 'less than 1 %', '29 %')
    """
    percent = math.floor(round(100 * share, 6))  # 100 * 0.29 is 28.999…
    return "less than 1 %" if share > 0 and percent == 0 else f"{percent} %"
