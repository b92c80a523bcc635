"""What is known of a lesion over time: visits and treatments."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.arguments import check_type
from mrs_necrosis.followup.dates import Date
from mrs_necrosis.spectra import Acquisition


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Visit:
    """One examination.

    Parameters
    ----------
    date : Date
        When; ``"2012-09"`` and a ``datetime.date`` are understood.
    areas : PeakAreas or None
        One voxel, or a grid of which `mask` says what belongs to the lesion; None without
        spectroscopy in numbers.
    mask : ndarray of bool, or None
        Voxels of the lesion; their areas are added up.
    event : str
        What the visit was, in words.
    readings : mapping of str to str
        What was found in words: ``clinical``, ``mri``, ``perfusion``, ``mrs_reading``,
        ``conclusion``.
    echo_time_s, field_t : float or None
        Of the spectroscopy.
    sequence, manufacturer : str or None
        Of the spectroscopy.
    inversion_time_s, fat_saturated : float, bool or None
        As in ``Acquisition``.
    affine : ndarray of float64, shape (4, 4), or None
        Voxel to RAS+ mm in a frame that the visits share; None if that is unknown.
    volume_ml : float or None
        Of the voxel, where its place is in no frame that the visits share.
    problems : tuple of str
        Checks of quality that its spectrum failed: its values are then not used.
    source : Path or None
        File of its spectroscopy that is still to be analysed; see ``measured``.
    lesion_mask : Path or None
        Image of the lesion.

    Raises
    ------
    ValueError
        If there are many voxels and no mask, or the mask does not fit.
    TypeError
        If `areas` are something else.
    """

    date: Date
    areas: PeakAreas | None = None
    mask: NDArray[np.bool_] | None = None
    event: str = ""
    readings: Mapping[str, str] = field(default_factory=dict)
    echo_time_s: float | None = None
    field_t: float | None = None
    sequence: str | None = None
    manufacturer: str | None = None
    affine: NDArray[np.float64] | None = None
    volume_ml: float | None = None
    problems: tuple[str, ...] = ()
    source: Path | None = None
    lesion_mask: Path | None = None
    inversion_time_s: float | None = None
    fat_saturated: bool | None = None

    @property
    def is_measured(self) -> bool:
        """Whether it has peak values that can be used."""
        return self.areas is not None and not self.problems

    def __post_init__(self) -> None:
        given: object = self.date
        if not isinstance(given, Date):
            object.__setattr__(self, "date", Date.parse(given))
        if self.areas is None:
            return
        check_type("areas", self.areas, PeakAreas, "PeakAreas", optional=True)
        voxels = self.areas.values.shape[:-1]
        if self.mask is None:
            if math.prod(voxels) != 1:
                msg = (
                    f"a grid of {voxels} voxels needs a mask that says which of them are the "
                    "lesion"
                )
                raise ValueError(msg)
            object.__setattr__(self, "areas", _single(self.areas, np.ones(voxels, dtype=bool)))
            return
        if not voxels:
            return  # added up already: a copy of a visit
        mask = np.asarray(self.mask, dtype=bool)
        if mask.shape != voxels or not mask.any():
            msg = f"mask must have the shape {voxels} of the grid and hold a voxel"
            raise ValueError(msg)
        object.__setattr__(self, "areas", _single(self.areas, mask))

    def measured(self, other: Visit) -> Visit:
        """Return this visit with the spectroscopy of another one: what its file was found to hold.

        Parameters
        ----------
        other : Visit
            Made from the fit of `source`, as by ``Visit.of``.

        Returns
        -------
        Visit
            With the date and the words of this one.
        """
        return replace(other, date=self.date, event=self.event, readings=self.readings)

    @classmethod
    def of(
        cls,
        date: str | dt.date,
        areas: PeakAreas | None,
        *,
        acquisition: Acquisition | None = None,
        affine: NDArray[np.float64] | None = None,
        volume_ml: float | None = None,
        mask: NDArray[np.bool_] | None = None,
        event: str = "",
        problems: Sequence[str] = (),
    ) -> Visit:
        """Return a visit from what a fit was made of.

        Parameters
        ----------
        date : str or datetime.date
            See ``Date.parse``.
        areas : PeakAreas or None
            See ``Visit``.
        acquisition : Acquisition or None
            Echo time, field, sequence, manufacturer, inversion and fat saturation are taken from
            it.
        affine, volume_ml, mask, event, problems :
            See ``Visit``.

        Returns
        -------
        Visit
            With everything that the acquisition says.
        """
        known: dict[str, Any] = {}
        if acquisition is not None:
            known = {
                name: getattr(acquisition, name)
                for name in (
                    "echo_time_s",
                    "field_t",
                    "sequence",
                    "manufacturer",
                    "inversion_time_s",
                    "fat_saturated",
                )
            }
        return cls(
            date=Date.parse(date), areas=areas, affine=affine, volume_ml=volume_ml, mask=mask,
            event=event, problems=tuple(problems), **known,
        )  # fmt: skip


def _single(areas: PeakAreas, mask: NDArray[np.bool_]) -> PeakAreas:
    """Return the sum over the voxels of a lesion, whose errors are independent, as one voxel."""
    chosen = areas.values[mask]
    answered = ~np.isnan(chosen).all(axis=1)
    values = chosen[answered].sum(axis=0) if answered.any() else chosen[0]
    covariance = areas.covariance
    if covariance is not None:
        inside = covariance[mask]
        covariance = inside[answered].sum(axis=0) if answered.any() else inside[0]
    return replace(areas, values=values, covariance=covariance).with_ll()


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """A treatment over some time.

    Parameters
    ----------
    name : str
        ``"bevacizumab"``.
    start : Date
        First day.
    end : Date or None
        Last day; None if it is not known or goes on.
    kind : str
        ``"antiangiogenic"``, ``"radiosurgery"``, ``"radiotherapy"`` (after these two the months
        are counted), ….
    details : mapping of str to scalar or list
        Dose, cycles and so on, as written.
    """

    name: str
    start: Date
    end: Date | None = None
    kind: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What a timeline file says.

    Parameters
    ----------
    visits, treatments : tuple
        In order of time.
    title, lesion, disease, citation : str
        Empty where the file does not say.
    """

    visits: tuple[Visit, ...]
    treatments: tuple[Treatment, ...] = ()
    title: str = ""
    lesion: str = ""
    disease: str = ""
    citation: str = ""
