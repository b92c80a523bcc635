"""What the pictures of grids and voxels share: their place on the screen, anatomy, colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.colors import LinearSegmentedColormap
    from numpy.typing import NDArray

    from mrs_necrosis.maps.grid import Anatomy

LESION_COLOUR = "#ffe14d"
"""Of the lesion's outline."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How slices of the grid are laid on the screen.

    Parameters
    ----------
    across, down : int
        Grid axes (0 or 1) along the screen's horizontal and vertical.
    across_ends, down_ends : tuple of str
        Letters of the subject's side at the low and the high index: ``("L", "R")``; empty
        strings where the source gives no position.
    sizes_mm : tuple of float
        Voxel edges across and down.
    view : str
        ``"axial"``, ``"coronal"``, ``"sagittal"`` or ``""``.
    """

    across: int
    down: int
    across_ends: tuple[str, str]
    down_ends: tuple[str, str]
    sizes_mm: tuple[float, float]
    view: str


def geometry(affine: NDArray[np.float64] | None) -> Geometry:
    """Return how slices along the third axis are laid on the screen.

    Parameters
    ----------
    affine : ndarray of float64, shape (4, 4), or None
        Grid indices to RAS+ mm.

    Returns
    -------
    Geometry
        For an oblique grid the letters are those of the nearest direction.
    """
    if affine is None:
        return Geometry(0, 1, ("", ""), ("", ""), (1.0, 1.0), "")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / sizes
    through = int(np.argmax(np.abs(direction[:, 2])))
    # screen axes of an axial, coronal and sagittal slice, as world axes
    horizontal = {2: 0, 1: 0, 0: 1}[through]
    vertical = {2: 1, 1: 2, 0: 2}[through]
    across = int(np.argmax(np.abs(direction[horizontal, :2])))
    down = 1 - across
    ends = (("L", "R"), ("P", "A"), ("I", "S"))

    def letters(axis: int, world: int) -> tuple[str, str]:
        low, high = ends[world]
        return (low, high) if direction[world, axis] > 0 else (high, low)

    return Geometry(
        across,
        down,
        letters(across, horizontal),
        letters(down, vertical),
        (float(sizes[across]), float(sizes[down])),
        ("sagittal", "coronal", "axial")[through],
    )


def anatomy_slices(
    anatomy: Anatomy,
    *,
    shape: tuple[int, int, int],
    affine: NDArray[np.float64],
    margin: int,
    per_voxel: int,
) -> NDArray[np.uint8]:
    """Return the anatomy at the centre of each slice, in the grid's own axes.

    Parameters
    ----------
    anatomy : Anatomy
        Interpolated linearly; its 1st and 99.5th percentile become black and white.
    shape : tuple of int
        The grid X, Y, Z.
    affine : ndarray of float64, shape (4, 4)
        Grid indices to RAS+ mm.
    margin : int
        Voxels shown around the grid.
    per_voxel : int
        Pixels along each edge of a voxel.

    Returns
    -------
    ndarray of uint8, shape (Z, (X + 2 margin) per_voxel, (Y + 2 margin) per_voxel)
        Black outside the anatomy.
    """
    from scipy.ndimage import map_coordinates

    values = np.nan_to_num(np.asarray(anatomy.values, dtype=np.float32))
    black, white = window(values)
    to_image = np.linalg.inv(anatomy.affine) @ affine
    ticks = [
        (np.arange((n + 2 * margin) * per_voxel) + 0.5) / per_voxel - 0.5 - margin
        for n in shape[:2]
    ]
    i, j = np.meshgrid(*ticks, indexing="ij")
    slices = np.zeros((shape[2], *i.shape), dtype=np.uint8)
    size = np.array(values.shape)[:, None, None]
    for k in range(shape[2]):
        index = np.stack([i, j, np.full_like(i, float(k))])
        where = np.tensordot(to_image[:3, :3], index, axes=1) + to_image[:3, 3, None, None]
        # an image's outermost voxels reach half a voxel beyond their centres
        outside = ((where < -0.5) | (where > size - 0.5)).any(axis=0)
        plane = map_coordinates(values, where, order=1, mode="nearest")
        plane[outside] = 0
        slices[k] = np.clip((plane - black) / (white - black) * 255, 0, 255)
    return slices


def window(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return the values of an image that become black and white."""
    inside = values[values > 0] if (values > 0).any() else values
    black, white = np.percentile(inside, [1.0, 99.5])
    if white <= black:
        return 0.0, max(float(values.max()), 1e-30)  # a mask has but two values
    return black, white


def two_sided() -> LinearSegmentedColormap:
    """Return the colours of a quantity with two sides.

    Blue and vermilion stay apart in every common colour-vision deficiency (Okabe and Ito).
    """
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("sides", ["#0072B2", "#f4f1ea", "#D55E00"])
