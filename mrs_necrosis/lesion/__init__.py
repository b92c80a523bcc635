"""The lesion on the grid: point spread, own normal voxels, Cho/NAA index, summary.

Everything here takes arrays and affines and reads no file. Shapes: X, Y, Z voxels; K peaks; L
labels. A weight is the share of a voxel's signal that comes from a mask, between 0 and 1.

Numbers without a source are *assumed*: they are named constants.
"""

from mrs_necrosis.lesion.masks import mask_weights, separate_lesions
from mrs_necrosis.lesion.normal_tissue import cho_naa_index, contralateral_reference
from mrs_necrosis.lesion.summary import summarize_lesion, with_lesions

__all__ = [
    "cho_naa_index",
    "contralateral_reference",
    "mask_weights",
    "separate_lesions",
    "summarize_lesion",
    "with_lesions",
]
