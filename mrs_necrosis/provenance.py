"""Where a result comes from: checksums, versions, parameters, steps."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mrs_necrosis
from mrs_necrosis.analysis import Source
from mrs_necrosis.errors import FormatError
from mrs_necrosis.quality import QualityThresholds
from mrs_necrosis.spectra import Spectra

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mrs_necrosis.classifier import Context
    from mrs_necrosis.criteria import Criterion
    from mrs_necrosis.fitting import Fit
    from mrs_necrosis.inputs import Image, Input
    from mrs_necrosis.io import PeakTable
    from mrs_necrosis.maps.grid import Surroundings


_SOFTWARE = ("numpy", "scipy", "numba")


def sha256(path: Path) -> str:
    """Return the checksum of a file, or of all files of a folder in the order of their names.

    Parameters
    ----------
    path : Path
        A file or a folder.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    FormatError
        If there is no such file, or it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        for file in files:
            with file.open("rb") as stream:
                while block := stream.read(2**20):
                    digest.update(block)
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def origin(
    source: Input,
    water_reference: str | os.PathLike[str] | None,
    data: Spectra | PeakTable,
    label: str | None,
) -> Source:
    """Return what was analysed, without anything that could name a person."""
    name = data.source_format if isinstance(data, Spectra) else "peak table"
    is_file = isinstance(source, (str, os.PathLike)) and Path(source).exists()
    return Source(
        format=name or "spectra from memory",
        sha256=sha256(Path(source)) if is_file else None,  # type: ignore[arg-type]
        water_sha256=None if water_reference is None else sha256(Path(water_reference)),
        label=label,
    )


def provenance_of(
    data: Spectra | PeakTable, fitted: Fit | None, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Return versions, parameters and steps of an analysis."""
    steps = data.history if isinstance(data, Spectra) else ()
    return {
        "software": {
            "mrs_necrosis": mrs_necrosis.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in _SOFTWARE},
        },
        "machine": platform.machine(),
        "backend": None if fitted is None else fitted.backend,
        "parameters": dict(parameters),
        "steps": [
            {"name": step.name, "parameters": dict(step.parameters), "note": step.note}
            for step in steps
        ],
    }


def context_values(context: Context | None) -> dict[str, Any]:
    """Return what a context says in numbers and words."""
    if context is None:
        return {}
    values = {one.name: getattr(context, one.name) for one in fields(context)}
    known: dict[str, Any] = {
        name: v for name, v in values.items() if isinstance(v, (str, float, int))
    }
    other = context.contralateral
    if other is not None:
        known["contralateral"] = dict(zip(other.names, other.values.ravel(), strict=True))
    return known


def criteria_values(criteria: Sequence[Criterion] | None) -> dict[str, list[str]]:
    """Return how criteria differ from the shipped ones: nothing where they do not."""
    from mrs_necrosis.criteria import load_criteria

    if criteria is None:
        return {}
    shipped = {one.id: one for one in load_criteria()}
    given = {one.id: one for one in criteria}
    differences = {
        "added": sorted(given.keys() - shipped.keys()),
        "changed": sorted(
            name for name in given.keys() & shipped.keys() if given[name] != shipped[name]
        ),
        "left_out": sorted(shipped.keys() - given.keys()),
    }
    return {name: ids for name, ids in differences.items() if ids}


def threshold_values(thresholds: QualityThresholds | None) -> dict[str, float]:
    """Return the thresholds that are not the shipped ones."""
    if thresholds is None:
        return {}
    shipped = QualityThresholds()
    names = [one.name for one in fields(thresholds)]
    return {
        name: getattr(thresholds, name)
        for name in names
        if getattr(thresholds, name) != getattr(shipped, name)
    }


def position_values(
    lesion_mask: Image | None,
    contralateral_mask: Image | None,
    anatomy: Image | None,
    around: Surroundings | None,
) -> dict[str, Any]:
    """Return what was laid beside the spectra, files by their checksums."""
    if around is None:
        return {}
    images = {
        "lesion_mask": lesion_mask, "contralateral_mask": contralateral_mask, "anatomy": anatomy
    }  # fmt: skip
    given: dict[str, Any] = {
        name: sha256(Path(one)) if isinstance(one, (str, os.PathLike)) else "from memory"
        for name, one in images.items()
        if one is not None
    }
    return {**given, "point_spread": around.point_spread, "midline_mm": around.midline_mm}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
