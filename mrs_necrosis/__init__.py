"""Radiation necrosis or tumour recurrence, from proton MR spectroscopy.

The public names are loaded on first use, so that ``import mrs_necrosis`` stays instant.
Research use only; nothing here is a diagnosis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrs_necrosis.lazy import loaded_on_use

if TYPE_CHECKING:
    from mrs_necrosis.areas import PeakAreas as PeakAreas
    from mrs_necrosis.assessment import Assessment as Assessment
    from mrs_necrosis.classifier import assess as assess
    from mrs_necrosis.criteria import Criterion as Criterion
    from mrs_necrosis.criteria import load_criteria as load_criteria
    from mrs_necrosis.errors import FormatError as FormatError
    from mrs_necrosis.errors import MRSNecrosisError as MRSNecrosisError
    from mrs_necrosis.fitting import Fit as Fit
    from mrs_necrosis.fitting import Model as Model
    from mrs_necrosis.fitting import fit as fit
    from mrs_necrosis.io import read as read
    from mrs_necrosis.io import read_peaks as read_peaks
    from mrs_necrosis.io import write_nifti_mrs as write_nifti_mrs
    from mrs_necrosis.pipeline import analyze as analyze
    from mrs_necrosis.preprocessing import preprocess as preprocess
    from mrs_necrosis.quality import Quality as Quality
    from mrs_necrosis.ratios import Ratio as Ratio
    from mrs_necrosis.ratios import ratio as ratio
    from mrs_necrosis.spectra import Acquisition as Acquisition
    from mrs_necrosis.spectra import Spectra as Spectra
    from mrs_necrosis.spectra import SpectralData as SpectralData

__version__ = "0.1.0"

_HOME = {
    "Acquisition": "spectra",
    "Assessment": "assessment",
    "Criterion": "criteria",
    "Fit": "fitting",
    "FormatError": "errors",
    "MRSNecrosisError": "errors",
    "Model": "fitting",
    "PeakAreas": "areas",
    "Quality": "quality",
    "Ratio": "ratios",
    "Spectra": "spectra",
    "SpectralData": "spectra",
    "analyze": "pipeline",
    "assess": "classifier",
    "fit": "fitting",
    "load_criteria": "criteria",
    "preprocess": "preprocessing",
    "ratio": "ratios",
    "read": "io",
    "read_peaks": "io",
    "write_nifti_mrs": "io",
}

__all__ = ["__version__", *_HOME]

__getattr__, __dir__ = loaded_on_use(__name__, _HOME)
