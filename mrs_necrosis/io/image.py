"""Anatomical images and masks, read with nibabel into an array and its affine.

NIfTI and MGH files are understood. Specified in nibabel's documentation of each format.
"""

from __future__ import annotations

import math
from importlib import import_module
from os import PathLike
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.errors import FormatError
from mrs_necrosis.io.silence import no_warnings
from mrs_necrosis.io.source import MAX_BYTES, Source

NAME: Final = "image"
_TYPES: Final = ("Nifti1Image", "Nifti2Image", "MGHImage")


def read_image(path: str | PathLike[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read an anatomical image or a mask.

    Parameters
    ----------
    path : str or PathLike
        A NIfTI or MGH file, compressed or not.

    Returns
    -------
    tuple of ndarray
        The image, float64 of shape (X, Y, Z) or with more axes, and its affine to RAS+ mm.

    Raises
    ------
    FormatError
        If the file is no image of real numbers, is damaged, or does not say where it lies.

    Examples
    --------
    >>> import nibabel
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "mask.nii.gz"
    ...     nibabel.Nifti1Image(np.ones((4, 4, 2), dtype=np.uint8), np.eye(4)).to_filename(path)
    ...     image, affine = read_image(path)
    >>> image.shape, image.dtype.name
    ((4, 4, 2), 'float64')
    """
    nibabel: Any = import_module("nibabel")
    source = Source(path)
    content = source.content
    with no_warnings():
        for name in _TYPES:
            image_type = getattr(nibabel, name)
            try:
                image = image_type.from_bytes(content)
                shape = tuple(int(size) for size in image.shape)
                dtype = np.dtype(image.get_data_dtype())
            except Exception:  # noqa: BLE001 - nibabel raises anything on a foreign file
                continue
            n_values = math.prod(shape)
            if len(shape) < 3 or n_values < 1:
                source.fail(f"is no volume: its shape is {shape}")
            if dtype.kind not in "iufb":
                source.fail("holds no real numbers; it is no anatomical image or mask")
            if name != "MGHImage" and not (
                image.header["sform_code"] or image.header["qform_code"]
            ):
                source.fail("does not say where it lies: neither its qform nor its sform is set")
            if n_values * dtype.itemsize > len(content) or 8 * n_values > MAX_BYTES:
                source.fail(
                    f"is truncated: its header promises {n_values} voxels that are not there"
                )
            try:
                array = np.asarray(image.get_fdata(dtype=np.float64, caching="unchanged"))
                affine = np.asarray(image.affine, dtype=np.float64)
            except Exception:  # noqa: BLE001 - nibabel raises anything on a damaged file
                source.fail("is damaged: its voxels cannot be read")
            if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
                source.fail("has no usable affine")
            while array.ndim > 3 and array.shape[-1] == 1:
                array = array[..., 0]
            return array, affine
    msg = "is no image that can be read; give a NIfTI file (.nii or .nii.gz)"
    raise FormatError(source.path, msg)
