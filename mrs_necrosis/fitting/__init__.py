"""The fit: a model laid under all voxels at once, and its areas with their covariance."""

from mrs_necrosis.fitting.band import within
from mrs_necrosis.fitting.echo import suited_model
from mrs_necrosis.fitting.engine import fit
from mrs_necrosis.fitting.model import Baseline, Component, Model, Parameter
from mrs_necrosis.fitting.priors import default_model
from mrs_necrosis.fitting.result import Curves, Fit

__all__ = [
    "Baseline",
    "Component",
    "Curves",
    "Fit",
    "Model",
    "Parameter",
    "default_model",
    "fit",
    "suited_model",
    "within",
]
