"""Spectra whose truth is known: coupled spins, phantoms, samples, the lines a fit starts from."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrs_necrosis.simulation.grids import grid_phantom as grid_phantom
    from mrs_necrosis.simulation.phantoms import phantom as phantom
    from mrs_necrosis.simulation.samples import sample_path as sample_path
    from mrs_necrosis.simulation.spins import metabolite_lines as metabolite_lines
    from mrs_necrosis.simulation.tissues import cohort as cohort

_HOMES = {
    "cohort": "tissues",
    "phantom": "phantoms",
    "sample_path": "samples",
    "grid_phantom": "grids",
    "metabolite_lines": "spins",
}


__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
