"""What a search minimises in each voxel, and the box that it stays in.

All arrays carry the voxel axis V first. ``rows`` picks voxels, so that a search goes on with
those that have not ended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mrs_necrosis.fitting.problem import Problem


class Box(NamedTuple):
    """Lower and upper bounds of the nonlinear parameters, both of shape (V, P)."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def rows(self, at: NDArray[Any]) -> Box:
        """Return the bounds of some voxels."""
        return Box(self.lower[at], self.upper[at])

    def at_wall(self, theta: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether each parameter lies at a wall, shape (V, P)."""
        return (theta <= self.lower) | (theta >= self.upper)


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """Chi-square of V voxels with all priors and the baseline's penalty.

    Parameters
    ----------
    problem : Problem
        With K components, P parameters, M in-band points and B modes of the baseline.
    data : ndarray of complex128, shape (V, M)
        In-band points in units of the noise.
    precision : ndarray of float64, shape (V, K, K)
        Of the amplitudes' normal prior.
    pull : ndarray of float64, shape (V, K)
        Its precision times its mean.
    shrink : ndarray of float64, shape (V, B)
        What the baseline takes of each mode.
    aim : ndarray of float64, shape (V, P)
        Means of the parameters' normal priors: where the model starts them, or ``aim_of`` them.
    """

    problem: Problem
    data: NDArray[np.complex128]
    precision: NDArray[np.float64]
    pull: NDArray[np.float64]
    shrink: NDArray[np.float64]
    aim: NDArray[np.float64]

    def rows(self, at: NDArray[Any]) -> Objective:
        """Return the objective of some voxels."""
        return replace(
            self,
            data=self.data[at],
            precision=self.precision[at],
            pull=self.pull[at],
            shrink=self.shrink[at],
            aim=self.aim[at],
        )

    def offset(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far parameters lie from the means of their priors, in sd, shape (V, P)."""
        away: NDArray[np.float64] = (theta - self.aim) / self.problem.sd
        return away
