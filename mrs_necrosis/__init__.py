"""Radiation necrosis or tumour recurrence, from proton MR spectroscopy.

The public names are loaded on first use, so that ``import mrs_necrosis`` stays instant.
Research use only; nothing here is a diagnosis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrs_necrosis.lazy import loaded_on_use

if TYPE_CHECKING:
    from mrs_necrosis import areas as areas
    from mrs_necrosis import assessment as assessment
    from mrs_necrosis import classifier as classifier
    from mrs_necrosis import cohort as cohort
    from mrs_necrosis import criteria as criteria
    from mrs_necrosis import errors as errors
    from mrs_necrosis import fitting as fitting
    from mrs_necrosis import followup as followup
    from mrs_necrosis import io as io
    from mrs_necrosis import lesion as lesion
    from mrs_necrosis import maps as maps
    from mrs_necrosis import preprocessing as preprocessing
    from mrs_necrosis import quality as quality
    from mrs_necrosis import ratios as ratios
    from mrs_necrosis import report as report
    from mrs_necrosis import simulation as simulation
    from mrs_necrosis import spectra as spectra
    from mrs_necrosis.areas import PeakAreas as PeakAreas
    from mrs_necrosis.assessment import Assessment as Assessment
    from mrs_necrosis.assessment import Favors as Favors
    from mrs_necrosis.classifier import NecrosisClassifier as NecrosisClassifier
    from mrs_necrosis.classifier import assess as assess
    from mrs_necrosis.criteria import Criterion as Criterion
    from mrs_necrosis.criteria import load_criteria as load_criteria
    from mrs_necrosis.errors import FitError as FitError
    from mrs_necrosis.errors import FormatError as FormatError
    from mrs_necrosis.errors import MissingMetadataError as MissingMetadataError
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
    "Favors": "assessment",
    "Fit": "fitting",
    "FitError": "errors",
    "FormatError": "errors",
    "MRSNecrosisError": "errors",
    "MissingMetadataError": "errors",
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

_MODULES = (
    "areas", "assessment", "classifier", "cohort", "criteria", "errors", "fitting", "followup",
    "io", "lesion", "maps", "preprocessing", "quality", "ratios", "report", "simulation",
    "spectra",
)  # fmt: skip

__all__ = ["__version__", *_HOME]

__getattr__, __dir__ = loaded_on_use(
    __name__,
    _HOME,
    unlisted={"NecrosisClassifier": "classifier", **{name: name for name in _MODULES}},
)
