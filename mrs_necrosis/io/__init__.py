"""Reading scanner files, peak tables and anatomy; writing NIfTI-MRS.

``read`` hands a file to the first format that recognises its content; each format has a module,
which says where the format is specified and which library, if any, is used. The names below are
loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrs_necrosis.lazy import loaded_on_use

if TYPE_CHECKING:
    from mrs_necrosis.io.basis import Basis as Basis
    from mrs_necrosis.io.basis import read_basis as read_basis
    from mrs_necrosis.io.image import read_image as read_image
    from mrs_necrosis.io.lcmodel_table import LCModelTable as LCModelTable
    from mrs_necrosis.io.lcmodel_table import read_lcmodel_table as read_lcmodel_table
    from mrs_necrosis.io.nifti_mrs import write_nifti_mrs as write_nifti_mrs
    from mrs_necrosis.io.peak_table import PeakTable as PeakTable
    from mrs_necrosis.io.peak_table import is_peak_table as is_peak_table
    from mrs_necrosis.io.peak_table import read_peak_table as read_peak_table
    from mrs_necrosis.io.peak_table import read_peaks as read_peaks
    from mrs_necrosis.io.reading import read as read

_HOME = {
    "Basis": "basis",
    "LCModelTable": "lcmodel_table",
    "PeakTable": "peak_table",
    "is_peak_table": "peak_table",
    "read": "reading",
    "read_basis": "basis",
    "read_image": "image",
    "read_lcmodel_table": "lcmodel_table",
    "read_peak_table": "peak_table",
    "read_peaks": "peak_table",
    "write_nifti_mrs": "nifti_mrs",
}

__all__ = sorted(_HOME)

__getattr__, __dir__ = loaded_on_use(__name__, _HOME)
