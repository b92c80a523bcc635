"""The result of one analysis, from the source to the assessment. The type only.

It is made by ``pipeline.analyze`` and drawn by ``report``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.assessment import Assessment
from mrs_necrosis.classifier import GridAssessment
from mrs_necrosis.errors import printable
from mrs_necrosis.fitting.result import Fit
from mrs_necrosis.maps.grid import GridResult
from mrs_necrosis.maps.placement import Placement
from mrs_necrosis.quality import Quality
from mrs_necrosis.ratios import Ratio
from mrs_necrosis.spectra import Acquisition, Spectra

Voxel = tuple[int, ...]
"""Index of a voxel along X, Y and Z; empty for a peak table, which has none."""


@dataclass(frozen=True, slots=True)
class Source:
    """What was analysed, without anything that could name a person.

    Parameters
    ----------
    format : str
        Name of the format, or ``"peak table"``.
    sha256 : str or None
        Checksum of the file; None for what came from memory.
    water_sha256 : str or None
        Checksum of the separate water reference, if there was one.
    label : str or None
        What the user wants it to be called in the outputs; a file name only if asked for. One
        line of characters that print.
    """

    format: str
    sha256: str | None = None
    water_sha256: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.label is not None:
            object.__setattr__(self, "label", printable(self.label) or None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Analysis:
    """Areas, ratios and the assessment of one source, with all that led to them.

    Prints as its ratios and what they favor; of a grid, as how many voxels have each label.

    Parameters
    ----------
    source : Source
        What was analysed.
    areas : PeakAreas
        values (X, Y, Z, K), or (K,) for a peak table.
    ratios : mapping of str to Ratio
        The standard ratios of the peaks that there are, by name.
    assessment : Assessment or None
        None for a grid.
    grid_assessment : GridAssessment or None
        Labels and evidence of every voxel of a grid.
    grid_result : GridResult or None
        Maps, own normal tissue, lesion and reasons of a fitted grid.
    placement : Placement or None
        Where a single voxel lies; None without anatomy and mask.
    spectra : Spectra or None
        What was fitted; None for a peak table.
    fit : Fit or None
        None for a peak table.
    echo_time_s, field_t : float or None
        From the source or from the user.
    level : float
        Coverage of the intervals.
    provenance : mapping of str to JSON types
        Versions, parameters and backend.
    """

    source: Source
    areas: PeakAreas
    ratios: Mapping[str, Ratio]
    assessment: Assessment | None
    grid_assessment: GridAssessment | None = None
    grid_result: GridResult | None = None
    placement: Placement | None = None
    spectra: Spectra | None = None
    fit: Fit | None = None
    echo_time_s: float | None = None
    field_t: float | None = None
    level: float = 0.95
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        of = "" if self.is_single else f" of {' x '.join(map(str, self.grid))} voxels"
        label = "" if self.assessment is None else f": {self.assessment.favors.value}"
        return f"<Analysis of {self.source.label or self.source.format}{of}{label}>"

    def __str__(self) -> str:
        lines = self._lines() if self.is_single else [repr(self), *self._lines()]
        if self.assessment is not None:
            lines += ["", str(self.assessment)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        rows = "".join(f"<tr><td>{escape(line)}</td></tr>" for line in self._lines())
        words = "" if self.assessment is None else self.assessment._repr_html_()
        return f"<p>{escape(repr(self))}</p><table>{rows}</table>{words}"

    def _lines(self) -> list[str]:
        """Return the ratios of one voxel, or how many voxels of a grid got each label."""
        if self.is_single:
            return [str(one) for one in self.ratios.values()]
        if self.grid_assessment is None:
            return []
        counts = self.grid_assessment.counts().items()
        return [f"{count} {label.value}" for label, count in counts]

    @property
    def acquisition(self) -> Acquisition | None:
        """What the scanner did; None for a peak table."""
        return None if self.spectra is None else self.spectra.acquisition

    @property
    def quality(self) -> Quality | None:
        """Quality of each voxel; None for a peak table."""
        return None if self.fit is None else self.fit.quality

    @property
    def grid(self) -> tuple[int, ...]:
        """Voxels along X, Y and Z; empty for a peak table."""
        return self.areas.values.shape[:-1]

    @property
    def is_single(self) -> bool:
        """Whether there is exactly one voxel, or a peak table."""
        return self.areas.is_single

    @property
    def first_voxel(self) -> Voxel:
        """Index of the first voxel."""
        return (0,) * len(self.grid)

    @property
    def shown_voxel(self) -> tuple[int, int, int] | None:
        """Index of the voxel that figures show; None if no voxel has a fit.

        Of a grid: where the lesion looks most like tumour, or else the highest SNR.
        """
        if self.quality is None:
            return None
        fitted = self.quality.has_areas
        if not fitted.any():
            return None
        if self.grid_result is not None and self.grid_result.lesion is not None:
            worst = self.grid_result.lesion.worst_voxel
            if worst is not None and fitted[worst]:
                return worst
        snr = np.where(fitted, np.nan_to_num(self.quality.snr, nan=-1.0), -2.0)
        x, y, z = (int(i) for i in np.unravel_index(np.argmax(snr), snr.shape))
        return x, y, z
