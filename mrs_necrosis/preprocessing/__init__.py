"""From what a file holds to one clean FID per voxel; each step is a function.

``preprocess`` runs them in their order. Each takes the data and returns new data with a ``Step``
in the history that says what was done and why.
"""

from __future__ import annotations

from mrs_necrosis.preprocessing.averages import align_averages, average, reject_averages
from mrs_necrosis.preprocessing.chain import preprocess
from mrs_necrosis.preprocessing.coils import combine_coils
from mrs_necrosis.preprocessing.decomposition import hlsvd
from mrs_necrosis.preprocessing.denoising import denoise
from mrs_necrosis.preprocessing.eddy_currents import correct_eddy_currents
from mrs_necrosis.preprocessing.kspace import filter_kspace
from mrs_necrosis.preprocessing.lipids import find_mask, flag_scalp_lipid, suppress_lipids
from mrs_necrosis.preprocessing.referencing import find_reference, phase, reference_shift
from mrs_necrosis.preprocessing.water import remove_water

__all__ = [
    "align_averages",
    "average",
    "combine_coils",
    "correct_eddy_currents",
    "denoise",
    "filter_kspace",
    "find_mask",
    "find_reference",
    "flag_scalp_lipid",
    "hlsvd",
    "phase",
    "preprocess",
    "reference_shift",
    "reject_averages",
    "remove_water",
    "suppress_lipids",
]
