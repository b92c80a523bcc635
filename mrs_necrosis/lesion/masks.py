"""Masks on the grid: through the point spread, mirrored, and of voxels that are good enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.quality import FitStatus, QualityThresholds

if TYPE_CHECKING:
    from mrs_necrosis.quality import Quality


LEAST_LESION = 0.5
"""Of a voxel's volume: what is smaller is a speck of the mask and no lesion of its own
(assumed)."""

PointSpread = Literal["sinc", "hamming", "box"]
POINT_SPREADS: Final = get_args(PointSpread)
"""Responses of a voxel that are known."""

_FINE_PER_VOXEL = 8  # samples of a mask along each edge of a voxel, at most


def _kernel(n: int, fine: int, point_spread: PointSpread) -> NDArray[np.float64]:
    """Return the response of n voxels to ``n * fine`` places along one axis; rows sum to one."""
    place = (np.arange(n * fine) + 0.5) / fine - 0.5
    distance = place[None, :] - np.arange(n)[:, None]
    if point_spread == "box":
        response = (np.abs(distance) < 0.5).astype(np.float64)
    else:
        k = np.arange(n) - n // 2
        weight = np.ones(n)
        if point_spread == "hamming":
            weight = 0.54 + 0.46 * np.cos(2 * np.pi * k / n)
        response = np.cos(2 * np.pi * distance[..., None] * k / n) @ weight
    normalised: NDArray[np.float64] = response / response.sum(axis=1, keepdims=True)
    return normalised


def mask_weights(
    mask: NDArray[np.generic],
    mask_affine: NDArray[np.float64],
    *,
    shape: tuple[int, int, int],
    affine: NDArray[np.float64],
    point_spread: PointSpread = "hamming",
) -> NDArray[np.float64]:
    """Return the share of each voxel's signal that comes from a mask, shape (X, Y, Z).

    A phase-encoded voxel is no box: its response is the Fourier transform of the k-space samples
    (a periodic sinc), or of those samples under a Hamming window. An axis of one voxel is
    slice-selective and taken as a box.

    Parameters
    ----------
    mask : ndarray, shape (A, B, C)
        Membership, 0 to 1 (a boolean mask will do), in any space.
    mask_affine : ndarray of float64, shape (4, 4)
        Mask indices to RAS+ mm.
    shape : tuple of int
        The grid X, Y, Z.
    affine : ndarray of float64, shape (4, 4)
        Grid indices to RAS+ mm.
    point_spread : {"hamming", "sinc", "box"}
        Response of a voxel. With ``"sinc"`` the mask is sampled without a window.

    Returns
    -------
    ndarray of float64
        Clipped to 0 to 1: the side lobes of a sinc reach slightly beyond.

    Raises
    ------
    ValueError
        If the mask is not three-dimensional or holds numbers outside 0 to 1, or there is no such
        response.

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.zeros((40, 40, 10))
    >>> mask[10:20, 10:20] = 1  # one voxel of the grid, in mm
    >>> grid = np.diag([10.0, 10.0, 10.0, 1.0])
    >>> grid[:3, 3] = 4.5  # the first voxel's centre
    >>> weights = mask_weights(mask, np.eye(4), shape=(4, 4, 1), affine=grid, point_spread="box")
    >>> weights[..., 0].round(2).tolist()
    [[0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    if point_spread not in POINT_SPREADS:
        msg = f"point_spread must be one of {', '.join(POINT_SPREADS)}; got {point_spread!r}"
        raise ValueError(msg)
    values = np.asarray(mask, dtype=np.float64)
    if values.ndim != 3:
        msg = f"a mask must have three axes; got shape {values.shape}"
        raise ValueError(msg)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        msg = "a mask must hold membership between 0 and 1 (or False and True)"
        raise ValueError(msg)
    to_mask = np.linalg.inv(mask_affine) @ np.asarray(affine, dtype=np.float64)
    fine = [
        int(np.clip(np.ceil(np.linalg.norm(to_mask[:3, axis])), 2, _FINE_PER_VOXEL))
        for axis in range(3)
    ]
    kernels = [_kernel(n, f, point_spread) for n, f in zip(shape, fine, strict=True)]
    places = [(np.arange(n * f) + 0.5) / f - 0.5 for n, f in zip(shape, fine, strict=True)]
    plane_i, plane_j = np.meshgrid(places[0], places[1], indexing="ij")
    weights = np.zeros(shape)
    size = np.array(values.shape)[:, None, None]
    # plane by plane, so that memory does not grow with the number of slices
    for at, place_k in enumerate(places[2]):
        index = np.stack([plane_i, plane_j, np.full_like(plane_i, place_k)])
        where = np.tensordot(to_mask[:3, :3], index, axes=1) + to_mask[:3, 3, None, None]
        nearest = np.rint(where).astype(np.intp)
        inside = np.all((nearest >= 0) & (nearest < size), axis=0)
        if inside.any():
            plane = np.zeros(inside.shape)
            plane[inside] = values[tuple(nearest[:, inside])]
            seen = kernels[0] @ plane @ kernels[1].T
            weights += seen[:, :, None] * kernels[2][None, None, :, at]
    clipped: NDArray[np.float64] = np.clip(weights, 0.0, 1.0)
    return clipped


def separate_lesions(
    mask: NDArray[np.float64], affine: NDArray[np.float64], *, least_mm3: float
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]:
    """Return a mask and its affine for each lesion that touches no other, the largest first.

    Parameters
    ----------
    mask : ndarray of float64, shape (A, B, C)
        Membership, 0 to 1.
    affine : ndarray of float64, shape (4, 4)
        Mask indices to RAS+ mm.
    least_mm3 : float
        Smaller ones are specks and are left out.

    Returns
    -------
    tuple of (ndarray of float64, ndarray of float64, shape (4, 4))
        Each mask is cut to its lesion. What belongs to a lesion by less than half goes with the
        lesion next to it.

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.zeros((9, 1, 1))
    >>> mask[[1, 2, 3, 6, 8]] = 1
    >>> [int(one.sum()) for one, _ in separate_lesions(mask, np.eye(4), least_mm3=1)]
    [3, 1, 1]
    """
    from scipy.ndimage import distance_transform_edt, find_objects, label

    touching = np.ones((3, 3, 3))
    number, count = label(mask >= 0.5, structure=touching)
    if count > 1 and (mask[number == 0] > 0).any():
        nearest = distance_transform_edt(number == 0, return_distances=False, return_indices=True)
        number = number[tuple(nearest)]
    volume = abs(float(np.linalg.det(affine[:3, :3]))) * np.bincount(
        number.ravel(), weights=mask.ravel(), minlength=count + 1
    )
    boxes = find_objects(np.where(mask > 0, number, 0))
    lesions = []
    for at in np.argsort(-volume[1:], kind="stable") + 1:
        if volume[at] < least_mm3:
            break
        # even, so that a place between two voxels is rounded as in the whole mask
        box = tuple(slice(one.start - one.start % 2, one.stop) for one in boxes[at - 1])
        moved = affine.copy()
        moved[:3, 3] += affine[:3, :3] @ [one.start for one in box]
        lesions.append((np.where(number[box] == at, mask[box], 0.0), moved))
    return tuple(lesions)


def mirrored(
    mask: NDArray[np.bool_], affine: NDArray[np.float64], *, midline_mm: float = 0.0
) -> NDArray[np.bool_]:
    """Return a mask of the grid mirrored about the mid-sagittal plane, shape (X, Y, Z).

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
        On the grid.
    affine : ndarray of float64, shape (4, 4)
        Grid indices to RAS+ mm.
    midline_mm : float
        World x of the mid-sagittal plane; 0 is the scanner's or the atlas' own.

    Returns
    -------
    ndarray of bool
        True where the mirror image of a voxel's centre lies in a voxel of `mask`. What falls
        outside the grid is lost.
    """
    index = np.indices(mask.shape).reshape(3, -1)
    world = affine[:3, :3] @ index + affine[:3, 3:]
    world[0] = 2 * midline_mm - world[0]
    inverse = np.linalg.inv(affine)
    source = np.rint(inverse[:3, :3] @ world + inverse[:3, 3:]).astype(np.intp)
    inside = np.all((source >= 0) & (source < np.array(mask.shape)[:, None]), axis=0)
    result = np.zeros(mask.size, dtype=bool)
    result[inside] = mask[tuple(source[:, inside])]
    return result.reshape(mask.shape)


def usable_voxels(
    quality: Quality, thresholds: QualityThresholds | None = None
) -> NDArray[np.bool_]:
    """Return where a voxel is good enough to stand for its tissue, shape (X, Y, Z).

    Parameters
    ----------
    quality : Quality
        Of shape (X, Y, Z).
    thresholds : QualityThresholds or None
        Those beyond which a label would be withheld.

    Returns
    -------
    ndarray of bool
        True where the fit converged and SNR and linewidth are within the limits.
    """
    limits = thresholds or QualityThresholds()
    converged = np.isin(quality.status, [FitStatus.OK, FitStatus.AT_BOUND])
    usable: NDArray[np.bool_] = (
        converged
        & (quality.snr >= limits.snr_fail)
        & (quality.linewidth_ppm <= limits.linewidth_fail_ppm)
    )
    return usable
