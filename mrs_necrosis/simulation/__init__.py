"""Spectra whose truth is known: coupled spins, phantoms, samples, the lines a fit starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrs_necrosis.lazy import loaded_on_use

if TYPE_CHECKING:
    from mrs_necrosis.simulation.grids import grid_phantom as grid_phantom
    from mrs_necrosis.simulation.phantoms import phantom as phantom
    from mrs_necrosis.simulation.samples import sample_path as sample_path
    from mrs_necrosis.simulation.spins import metabolite_lines as metabolite_lines
    from mrs_necrosis.simulation.tissues import cohort as cohort
    from mrs_necrosis.simulation.tissues import tissue_classes as tissue_classes

_HOME = {
    "cohort": "tissues",
    "phantom": "phantoms",
    "sample_path": "samples",
    "grid_phantom": "grids",
    "metabolite_lines": "spins",
    "tissue_classes": "tissues",
}

__all__ = sorted(_HOME)

__getattr__, __dir__ = loaded_on_use(__name__, _HOME)
