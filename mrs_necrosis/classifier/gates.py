"""Checks that stand before a label. Each has a sentence, a threshold and a source.

A closed gate withholds the label, or takes some criteria out of the evidence. An assumed
threshold may only withhold. What cannot be checked leaves its gate open and is said so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from mrs_necrosis.assessment import Gate
from mrs_necrosis.constants import PEAK_PPM

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mrs_necrosis.assessment import Favors


USED_PPM: Final = {name: PEAK_PPM[name] for name in ("NAA", "Cr", "Cho")}


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """A gate over V voxels.

    Parameters
    ----------
    name : str
        As in ``Gate``.
    is_closed, is_checked : ndarray of bool, shape (V,)
        What is closed and not checked becomes open.
    say : callable
        From a voxel to the sentence.
    threshold, source, gives :
        As in ``Gate``.
    takes_lipid_off : bool
        Whether it takes criteria of lipid and lactate out of the evidence.
    by_threshold : bool
        Whether a threshold decides that, and not a fact that was given: a label that exists only
        because of it is withheld.
    """

    name: str
    is_closed: NDArray[np.bool_]
    is_checked: NDArray[np.bool_]
    say: Callable[[int], str]
    threshold: str = ""
    source: str = "assumed"
    gives: Favors | None = None
    takes_lipid_off: bool = False
    by_threshold: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_closed", self.is_closed & self.is_checked)

    def gate(self, voxel: int) -> Gate:
        """Return the gate of one voxel."""
        is_closed = bool(self.is_closed[voxel])
        return Gate(
            name=self.name,
            is_open=not is_closed,
            is_checked=bool(self.is_checked[voxel]),
            sentence=self.say(voxel),
            threshold=self.threshold,
            source=self.source,
            gives=self.gives if is_closed else None,
        )


def unchecked(
    name: str,
    v: int,
    sentence: str,
    gives: Favors | None = None,
    threshold: str = "",
    source: str = "assumed",
) -> Check:
    """Return a gate that stands open because nothing is known to check it by."""
    no = np.zeros(v, dtype=bool)
    return Check(name, no, no, lambda _: sentence, threshold, source, gives)
