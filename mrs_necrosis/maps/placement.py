"""Where a single voxel lies: on the anatomy, and how much of it is lesion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.classifier.context import share_words
from mrs_necrosis.maps.grid import Anatomy, Surroundings, membership

_FINE = 50  # places along each edge of the voxel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Placement:
    """Where a single voxel lies.

    Parameters
    ----------
    affine : ndarray of float64, shape (4, 4)
        Of the voxel, whose index runs from -0.5 to 0.5, to RAS+ mm.
    anatomy, lesion : Anatomy or None
        What the voxel is drawn on, and the mask of the lesion, 0 to 1.
    lesion_share : float or None
        Share of the voxel's volume that is lesion; None without a mask.
    held : float or None
        Share of the lesion's volume that lies in the voxel; None without a mask, or an empty one.
    """

    affine: NDArray[np.float64]
    anatomy: Anatomy | None = None
    lesion: Anatomy | None = None
    lesion_share: float | None = None
    held: float | None = None

    def __repr__(self) -> str:
        beside = " and ".join(
            name for name in ("anatomy", "lesion") if getattr(self, name) is not None
        )
        return f"<Placement with {beside or 'nothing'}: {self.sentence or 'no mask'}>"

    @property
    def is_off_the_anatomy(self) -> bool:
        """Whether the voxel's centre lies outside the anatomy: their spaces may differ."""
        if self.anatomy is None:
            return False
        at = (np.linalg.inv(self.anatomy.affine) @ self.affine[:, 3])[:3]
        size = np.array(self.anatomy.values.shape)
        return bool(((at < -0.5) | (at > size - 0.5)).any())

    @property
    def sentence(self) -> str:
        """What a mask says of the voxel; empty without one."""
        if self.lesion_share is None:
            return ""
        if self.held is None:
            return "The lesion's mask is empty."
        return (
            f"The lesion fills {share_words(self.lesion_share)} of the voxel, which holds "
            f"{share_words(self.held)} of the lesion."
        )


def placement(around: Surroundings, affine: NDArray[np.float64]) -> Placement:
    """Return where a single voxel lies.

    Parameters
    ----------
    around : Surroundings
        Anatomy and the lesion's mask, in any space.
    affine : ndarray of float64, shape (4, 4)
        Of the voxel to RAS+ mm.

    Returns
    -------
    Placement
        The voxel is taken as a box: chemical-shift displacement and the slopes of the pulses'
        profiles are not known.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.maps.grid import Anatomy, Surroundings
    >>> mask = np.zeros((40, 40, 40))
    >>> mask[10:20, 10:30, 10:30] = 1  # the left half of the voxel
    >>> voxel = np.diag([20.0, 20.0, 20.0, 1.0])
    >>> voxel[:3, 3] = 19.5  # its centre
    >>> placement(Surroundings(lesion=Anatomy(mask, np.eye(4))), voxel).lesion_share
    0.5
    """
    lesion = around.lesion
    if lesion is None:
        return Placement(affine=affine, anatomy=around.anatomy)
    mask = membership(lesion.values)
    share = _share(mask, np.linalg.inv(lesion.affine) @ affine)
    whole = float(mask.sum()) * abs(float(np.linalg.det(lesion.affine[:3, :3])))
    inside = share * abs(float(np.linalg.det(affine[:3, :3])))
    return Placement(
        affine=affine,
        anatomy=around.anatomy,
        lesion=Anatomy(mask, lesion.affine),
        lesion_share=share,
        held=min(inside / whole, 1.0) if whole > 0 else None,
    )


def _share(mask: NDArray[np.float64], to_mask: NDArray[np.float64]) -> float:
    """Return the mean of a mask over the voxel."""
    places = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    index = np.stack(np.meshgrid(places, places, places, indexing="ij")).reshape(3, -1)
    nearest = np.rint(to_mask[:3, :3] @ index + to_mask[:3, 3:]).astype(np.intp)
    inside = np.all((nearest >= 0) & (nearest < np.array(mask.shape)[:, None]), axis=0)
    return float(mask[tuple(nearest[:, inside])].sum()) / index.shape[1]
