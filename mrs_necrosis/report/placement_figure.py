"""A single voxel on the anatomy: the three planes through its centre."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mrs_necrosis.maps.grid import Anatomy
from mrs_necrosis.maps.placement import Placement
from mrs_necrosis.report.screen import LESION_COLOUR, window

_PIXELS = 320  # of a plane along its longer edge
_LEAST_MM = 60.0  # shown around the voxel where there is no anatomy
_PLANES = (
    # name, world axes across and down, and the letters at left, right, top and bottom
    ("axial", 0, 1, ("R", "L", "A", "P")),
    ("coronal", 0, 2, ("R", "L", "S", "I")),
    ("sagittal", 1, 2, ("A", "P", "S", "I")),
)


def placement_figure(place: Placement) -> Figure:
    """Return the voxel and the lesion's outline in three planes, in the radiological view.

    Parameters
    ----------
    place : Placement
        Without anatomy the planes are black.

    Returns
    -------
    matplotlib.figure.Figure
        Made without pyplot: nothing stays open.

    Examples
    --------
    >>> import numpy as np
    >>> voxel = np.diag([20.0, 20.0, 20.0, 1.0])
    >>> figure = placement_figure(Placement(affine=voxel))
    >>> [axis.get_title() for axis in figure.axes]
    ['axial', 'coronal', 'sagittal']
    """
    centre = place.affine[:3, 3]
    low, high = _box(place)
    planes = [_plane(centre, low, high, across, down) for _, across, down, _ in _PLANES]
    grounds, black, white = [np.zeros(world.shape[1:]) for world in planes], 0.0, 1.0
    if place.anatomy is not None:
        grounds = [_sampled(place.anatomy, world) for world in planes]
        black, white = window(np.concatenate([ground.ravel() for ground in grounds]))
    figure = Figure(figsize=(9.6, 3.9), layout="constrained", facecolor="white")
    for axis, (name, *_, letters), world, ground in zip(
        figure.subplots(1, 3), _PLANES, planes, grounds, strict=True
    ):
        axis.set_axis_off()
        axis.imshow(ground, cmap="gray", vmin=black, vmax=white, interpolation="nearest")
        _outline(axis, 0.5 - np.abs(_index(place.affine, world)).max(axis=0), 0.0, "white")
        if place.lesion is not None:
            _outline(axis, _sampled(place.lesion, world), 0.5, LESION_COLOUR)
        for at, letter in zip(((0.03, 0.5), (0.97, 0.5), (0.5, 0.96), (0.5, 0.04)), letters,
                              strict=True):  # fmt: skip
            axis.text(*at, letter, transform=axis.transAxes, color="white", fontsize=8,
                      fontweight="bold", ha="center", va="center")  # fmt: skip
        axis.set_title(name, fontsize=9)
    figure.supxlabel("radiological view; research use, no diagnosis", fontsize=8, color="#5b6776")
    return figure


def _box(place: Placement) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of what is shown, in mm: the anatomy, and the voxel in any case."""
    half = np.abs(place.affine[:3, :3]).sum(axis=1) / 2
    half = half + 5.0 if place.anatomy is not None else np.maximum(2 * half, _LEAST_MM)
    ends = [place.affine[:3, 3] - half, place.affine[:3, 3] + half]
    if place.anatomy is not None:
        shape = np.array(place.anatomy.values.shape[:3])
        corners = np.array(np.meshgrid(*([-0.5, n - 0.5] for n in shape))).reshape(3, -1)
        affine = place.anatomy.affine
        ends.extend((affine[:3, :3] @ corners + affine[:3, 3:]).T)
    return np.min(ends, axis=0), np.max(ends, axis=0)


def _plane(
    centre: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64],
    across: int, down: int,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the places in mm of a plane's pixels, shape (3, rows, columns)."""
    step = max(high[across] - low[across], high[down] - low[down]) / _PIXELS
    # RAS+ mm fall to the right and down: the subject's right, or front, is at the left
    ticks = [np.arange(high[one], low[one], -step) for one in (across, down)]
    world = np.empty((3, len(ticks[1]), len(ticks[0])))
    world[:] = centre[:, None, None]
    world[across], world[down] = np.meshgrid(*ticks)
    return world


def _sampled(image: Anatomy, world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an image at places in mm; zero outside it, and where it is no number."""
    from scipy.ndimage import map_coordinates

    index = _index(image.affine, world)
    shape = image.values.shape
    # of a large image only the part around the plane is copied
    first = [
        int(np.clip(np.floor(one.min()), 0, n - 1)) for one, n in zip(index, shape, strict=True)
    ]
    last = [
        int(np.clip(np.ceil(one.max()), 0, n - 1)) for one, n in zip(index, shape, strict=True)
    ]
    part = image.values[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))]
    plane: NDArray[np.float64] = map_coordinates(
        np.nan_to_num(np.asarray(part, dtype=np.float64), posinf=0.0, neginf=0.0),
        index - np.array(first)[:, None, None], order=1, cval=0.0, mode="constant",
    )  # fmt: skip
    return plane


def _index(affine: NDArray[np.float64], world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the voxel indices of places in mm."""
    inverse = np.linalg.inv(affine)
    index: NDArray[np.float64] = np.tensordot(inverse[:3, :3], world, axes=1)
    return index + inverse[:3, 3, None, None]


def _outline(axis: Any, plane: NDArray[np.float64], level: float, colour: str) -> None:
    """Draw where a plane reaches a level, on a dark rim so that it shows on any ground."""
    if not plane.min() < level < plane.max():
        return
    for width, ink in ((2.6, "black"), (1.2, colour)):
        axis.contour(plane, levels=[level], colors=[ink], linewidths=[width])
