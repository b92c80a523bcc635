"""Where the voxels are: vendors' positions and directions as an affine to RAS+ millimetres.

DICOM and Siemens give patient coordinates as LPS+ (left, posterior, superior), NIfTI as RAS+; the
first two coordinates change their sign at the door. A direction is a unit vector along which an
index grows. A position is the centre of voxel (0, 0, 0).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_LARGEST_MM = 1e4  # NIfTI-MRS writes 10 m for an axis that was not localised


def _finite(values: Sequence[float | None], count: int) -> NDArray[np.float64] | None:
    if len(values) != count or any(value is None for value in values):
        return None
    array = np.array(values, dtype=np.float64)
    return array if np.isfinite(array).all() else None


def affine_from_lps(
    centre_mm: Sequence[float | None],
    row: Sequence[float | None],
    column: Sequence[float | None],
    spacing_mm: Sequence[float | None],
    *,
    corner: bool = False,
    normal: Sequence[float | None] | None = None,
) -> NDArray[np.float64] | None:
    """Return the affine of a grid whose X runs along ``row`` and Y along ``column``.

    Parameters
    ----------
    centre_mm : sequence of float, 3
        Centre of voxel (0, 0, 0), LPS+.
    row, column : sequence of float, 3
        Directions in which X and Y grow, LPS+ (DICOM's image orientation).
    spacing_mm : sequence of float, 3
        Distances between voxels along X, Y, Z.
    corner : bool
        Whether ``centre_mm`` is instead the corner of that voxel in the plane of its slice, as
        Siemens writes before version XA.
    normal : sequence of float, 3, or None
        Direction in which Z grows; by default the cross product of the other two.

    Returns
    -------
    ndarray of float64, shape (4, 4), or None
        None if a number is missing or the directions are no right angle: no geometry is better
        than a wrong one.
    """
    position = _finite(centre_mm, 3)
    along_x, along_y = _finite(row, 3), _finite(column, 3)
    spacing = _finite(spacing_mm, 3)
    if position is None or along_x is None or along_y is None or spacing is None:
        return None
    if max(np.abs(along_x).max(), np.abs(along_y).max()) > 2.0:
        return None
    lengths = float(np.linalg.norm(along_x)), float(np.linalg.norm(along_y))
    if any(abs(length - 1.0) > 0.01 for length in lengths) or np.abs(position).max() > _LARGEST_MM:
        return None
    along_x, along_y = along_x / lengths[0], along_y / lengths[1]
    if abs(float(along_x @ along_y)) > 0.01 or not ((spacing > 0) & (spacing < _LARGEST_MM)).all():
        return None
    along_z = np.cross(along_x, along_y)
    if normal is not None:
        given = _finite(normal, 3)
        if given is None or abs(abs(float(given @ along_z)) - 1.0) > 0.01:
            return None
        along_z = along_z * math.copysign(1.0, float(given @ along_z))
    axes = np.stack([along_x, along_y, along_z], axis=1) * spacing
    if corner:
        position = position + axes @ np.array([0.5, 0.5, 0.0])
    affine = np.eye(4)
    affine[:3, :3] = _LPS_TO_RAS @ axes
    affine[:3, 3] = _LPS_TO_RAS @ position
    return affine


def slice_normal(
    row: Sequence[float | None], column: Sequence[float | None]
) -> tuple[float, float, float] | None:
    """Return the direction of rising slices: the normal towards left, posterior or superior.

    Siemens counts the partitions of a volume along the normal whose largest LPS+ component is
    positive.
    """
    along_x, along_y = _finite(row, 3), _finite(column, 3)
    if along_x is None or along_y is None:
        return None
    normal = np.cross(along_x, along_y)
    normal = normal * math.copysign(1.0, float(normal[np.abs(normal).argmax()]))
    return float(normal[0]), float(normal[1]), float(normal[2])


def affine_from_angles(
    centre_mm: Sequence[float | None],
    angles_deg: Sequence[float | None],
    size_mm: Sequence[float | None],
) -> NDArray[np.float64] | None:
    """Return the affine of one voxel as Philips gives it.

    Parameters
    ----------
    centre_mm : sequence of float, 3
        Centre along left, posterior and head (``lr``, ``ap``, ``cc``).
    angles_deg : sequence of float, 3
        Rotations about these axes, applied one after the other about the turned axes.
    size_mm : sequence of float, 3
        Edges along these axes.

    Returns
    -------
    ndarray of float64, shape (4, 4), or None
        None if a number is missing or no edge length.
    """
    centre, angles = _finite(centre_mm, 3), _finite(angles_deg, 3)
    size = _finite(size_mm, 3)
    if centre is None or angles is None or size is None:
        return None
    if not ((size > 0) & (size < _LARGEST_MM)).all() or np.abs(centre).max() > _LARGEST_MM:
        return None
    turned = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(angles)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[second, first] = math.sin(angle)
        turn[first, second] = -math.sin(angle)
        turned = turned @ turn
    affine = np.eye(4)
    # the voxel's own axes run to the right, the front and the head, so that its affine is RAS+
    affine[:3, :3] = _LPS_TO_RAS @ turned @ _LPS_TO_RAS * size
    affine[:3, 3] = _LPS_TO_RAS @ centre
    return affine
