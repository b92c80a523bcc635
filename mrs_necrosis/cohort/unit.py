"""One acquisition of a cohort, what is the same for all of them, and what became of it.

The types only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS_ENDING: Final = "_desc-status.json"
"""Ends the name of a unit's marker."""

State = Literal["done", "unchanged", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One thing to analyse and where its results go.

    Parameters
    ----------
    name : str
        Base of the names of its files: ``"sub-01_acq-press"``.
    source : Path
        The file with the spectra.
    peaks : str
        Peak values in words, such as ``"Cho=33671 Cr=29534"``; `source` is then the table that
        they stand in.
    water : Path or None
        Its water reference.
    anatomy, lesion : Path or None
        The image to lay maps or voxel on, and the lesion's mask.
    folder : str
        Where the results go, relative to the output, with forward slashes.
    figures : str
        Where the figures go; the same as `folder` if empty.
    suffix : str
        ``"svs"`` or ``"mrsi"`` in a BIDS dataset; empty otherwise.
    tag : str
        Added to each ``desc-`` where two files of a dataset would give the same names.
    participant, session : str or None
        Labels, for the tables.
    given : mapping
        What the user says of the acquisition.
    metadata : mapping or None
        The sidecar's fields, of a BIDS dataset.
    sources : tuple of str
        BIDS URIs of the inputs.
    notes : tuple of str
        What a reader must know before the analysis has begun.
    problem : str
        Why it cannot be analysed; empty if it can.
    """

    name: str
    source: Path
    peaks: str = ""
    water: Path | None = None
    anatomy: Path | None = None
    lesion: Path | None = None
    folder: str = ""
    figures: str = ""
    suffix: str = ""
    tag: str = ""
    participant: str | None = None
    session: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] | None = None
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def key(self) -> str:
        """Name that no other unit of the cohort has."""
        return f"{self.name}{'_' if self.suffix else ''}{self.suffix}"

    def path(self, description: str, ending: str, *, folder: str | None = None) -> str:
        """Return the name of one output, relative to the output folder."""
        place = self.folder if folder is None else folder
        suffix = "_mrs" if self.suffix else ""
        return f"{place}/{self.name}_desc-{description}{self.tag}{suffix}{ending}"

    @property
    def marker(self) -> str:
        """Name of the marker, relative to the output folder."""
        return f"{self.folder}/{self.name}{f'_{self.tag}' if self.tag else ''}{STATUS_ENDING}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is the same for every unit.

    Parameters
    ----------
    out : Path
        The output folder.
    keywords : mapping
        Of ``analyze``; what `Unit.given` says comes on top.
    figures : bool
        Whether to draw; drawing takes three times as long as analysing.
    overwrite : bool
        Redo what is done.
    work : Path or None
        For temporary files.
    threads : int or None
        Of one fit; as many as there are processors if None.
    """

    out: Path
    keywords: Mapping[str, Any] = field(default_factory=dict)
    figures: bool = True
    overwrite: bool = False
    work: Path | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one unit.

    Parameters
    ----------
    name : str
        The unit's key.
    state : {"done", "unchanged", "failed"}
        ``"unchanged"`` was done by an earlier run.
    message : str
        Why it failed, in one sentence; empty otherwise.
    is_output_error : bool
        Whether it failed because its results could not be written.
    """

    name: str
    state: State
    message: str = ""
    is_output_error: bool = False
