"""How metabolites of a basis set compare with the library's own, and what that says of the set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.errors import FitError
from mrs_necrosis.fitting.model import Component
from mrs_necrosis.fitting.priors import group_protons

ANCHORS: Final = ("NAA", "Cr", "PCr", "GPC", "PCh")
"""Metabolites whose singlets settle reference, phase and scale."""

SEARCH_PPM: Final = 0.12
"""Offsets up to this are searched."""

OFFSET_PPM: Final = 0.006
"""A smaller common offset is within the scatter of published shifts and is left alone."""

LEAST_PHASE_RAD: Final = 0.2
"""A smaller common phase is left alone: sequences differ in what they do to coupled spins."""

SAME_SCALE: Final = 0.12
"""Relative spread of the anchors' scales up to which a set has one scale."""

ALIKE: Final = 0.6
"""Least correlation of an anchor with the library's; a mirrored one has less than 0.3."""

ALIKE_MEASURED: Final = 0.85
"""Least correlation of a macromolecule spectrum with the library's: of the three at hand they are
0.92 to 0.97; one mirrored about 2.6 ppm has 0.75, glutamate 0.69."""

OFFSET_MEASURED_PPM: Final = 0.03
"""Macromolecules at hand lie up to 0.03 ppm from the library's where their reference is right."""

MEASURED: Final = "MM"
"""Name of a measured macromolecule spectrum."""


@dataclass(frozen=True, slots=True)
class Match:
    """How a metabolite of a basis set compares with the library's own.

    Parameters
    ----------
    offset_ppm : float
        By how much it lies at higher shifts.
    linewidth_hz : float
        By how much it is broader, Lorentzian.
    scale, phase_rad : float
        Its amplitude and phase for one unit of area.
    alike : float
        Correlation after all that, 1 for the same.
    """

    offset_ppm: float
    linewidth_hz: float
    scale: float
    phase_rad: float
    alike: float


def compare(
    fid: NDArray[np.complex128],
    own: Component,
    time_s: NDArray[np.float64],
    frequency_mhz: float,
    reference_ppm: float,
) -> Match:
    """Compare a metabolite of a basis set with the library's own.

    Parameters
    ----------
    fid : ndarray of complex128, shape (N,)
        The basis set's.
    own : Component
        The library's, made of lines.
    time_s : ndarray of float64, shape (N,)
        From 0, evenly spaced.
    frequency_mhz, reference_ppm : float
        Of the basis set.

    Returns
    -------
    Match
        At the shift and extra linewidth with the largest correlation.
    """
    n = time_s.size
    expected = own.samples(time_s, frequency_mhz, reference_ppm) * np.exp(-np.pi * 2.0 * time_s)
    given = fid * np.exp(-np.pi * 2.0 * time_s)
    padded = 8 * n
    hz = np.fft.fftfreq(padded, time_s[1])
    near = np.flatnonzero(np.abs(hz) <= SEARCH_PPM * frequency_mhz)
    near = near[np.argsort(hz[near])]
    best = Match(0.0, 0.0, 1.0, 0.0, -1.0)
    size = np.sqrt((np.abs(given) ** 2).sum())
    for width in np.arange(0.0, 8.01, 0.25):
        shape = expected * np.exp(-np.pi * width * time_s)
        norm = np.sqrt((np.abs(shape) ** 2).sum())
        height = np.abs(np.fft.fft(shape.conj() * given, padded)[near])
        top = int(np.clip(np.argmax(height), 1, height.size - 2))
        left, middle, right = height[top - 1 : top + 2]
        bend = left - 2 * middle + right
        between = 0.5 * (left - right) / bend if bend < 0 else 0.0
        at = hz[near][top] + np.clip(between, -1, 1) * hz[1]
        overlap = (shape.conj() * given) @ np.exp(-2j * np.pi * at * time_s)
        alike = float(np.abs(overlap) / (norm * size))
        if alike > best.alike:
            best = Match(
                float(at / frequency_mhz),
                float(width),
                float(np.abs(overlap) / norm**2),
                float(np.angle(overlap)),
                alike,
            )
    return best


def settled(
    matches: dict[str, Match], names: tuple[str, ...], notes: list[str]
) -> tuple[float, float, dict[str, float]]:
    """Return the set's offset in ppm, its phase, and the scale of each metabolite."""
    anchors = {name: matches[name] for name in ANCHORS if name in matches}
    if not anchors:
        msg = (
            f"a basis set must hold one of {', '.join(ANCHORS)}, or a macromolecule spectrum "
            f"({MEASURED}) alone; got {', '.join(names) or 'none of them'}"
        )
        raise FitError(msg)
    alike = float(np.median([m.alike for m in anchors.values()]))
    if alike < ALIKE:
        msg = (
            f"the basis set's {', '.join(anchors)} do not look like the library's (correlation "
            f"{alike:.2f}): it may be mirrored (conjugated), or of another field or echo time"
        )
        raise FitError(msg)
    offset = float(np.median([m.offset_ppm for m in anchors.values()]))
    offset = _offset_worth_correcting(offset, OFFSET_PPM, notes)
    notes.extend(
        f"its {name} lies {m.offset_ppm - offset:+.3f} ppm from where it is published"
        for name, m in matches.items()
        if abs(m.offset_ppm - offset) > 0.015 and m.alike > ALIKE
    )
    turned = np.angle(np.mean([np.exp(1j * m.phase_rad) for m in anchors.values()]))
    phase = _phase_worth_correcting(float(turned), notes)
    # a match's scale is for one unit of area; a set of one scale has the same for each proton
    protons = group_protons()
    each = np.array([m.scale / protons[name] for name, m in anchors.items()])
    # creatine's two singlets are the surest: nothing of it is coupled
    sure = [u for name, u in zip(anchors, each, strict=True) if name in {"Cr", "PCr"}]
    common = float(np.median(sure or each))
    if np.abs(each / common - 1).max() <= SAME_SCALE:
        notes.append(f"its scale is {common:.4g} a proton, from {', '.join(anchors)}")
        return offset, phase, {name: common * protons.get(name, 1.0) for name in names}
    notes.append("its metabolites are scaled one by one: it has no common scale")
    return (
        offset,
        phase,
        {name: matches[name].scale if name in matches else common for name in names},
    )


def settled_macromolecules(match: Match, notes: list[str]) -> tuple[float, float]:
    """Return the offset in ppm and the phase of a macromolecule spectrum that stands alone."""
    if match.alike < ALIKE_MEASURED:
        msg = (
            "the basis set's macromolecules do not look like those of brain (correlation "
            f"{match.alike:.2f}): they may be mirrored (conjugated), or metabolites may be left"
        )
        raise FitError(msg)
    offset = _offset_worth_correcting(match.offset_ppm, OFFSET_MEASURED_PPM, notes)
    return offset, _phase_worth_correcting(match.phase_rad, notes)


def _offset_worth_correcting(offset_ppm: float, least_ppm: float, notes: list[str]) -> float:
    """Return the offset of a set, or 0 where it is within the scatter of published shifts."""
    if abs(offset_ppm) < least_ppm:
        return 0.0
    notes.append(f"its reference was {offset_ppm:+.3f} ppm off and is corrected")
    return offset_ppm


def _phase_worth_correcting(phase_rad: float, notes: list[str]) -> float:
    """Return the phase of a set, or 0 where it is within the scatter of sequences."""
    if abs(phase_rad) <= LEAST_PHASE_RAD:
        return 0.0
    notes.append(f"its phase was {np.degrees(phase_rad):+.0f} degrees and is corrected")
    return phase_rad
