"""A head as a grid of spectra: normal tissue, a lesion with core and rim, scalp, spoiled voxels.

Fields vary smoothly over the grid, as tissue and magnets do; noise is the same everywhere. Tissue
classes are mixed by their amplitudes at the borders.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mrs_necrosis.arguments import check_generator, read_only
from mrs_necrosis.simulation.phantoms import LipidShape, Phantom, Truth, phantom
from mrs_necrosis.simulation.signal import BaselineKind
from mrs_necrosis.simulation.tissues import LIPIDS, sums, typical, with_sums

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mrs_necrosis.areas import PeakAreas

LABELS: Final = ("outside", "scalp", "normal", "core", "rim")
"""Names of a grid's labels, by index."""

SPOILINGS: Final = ("none", "NaN", "zeros", "spike", "bytes swapped")
"""What can be wrong with a voxel, by index."""

_SKULL: Final = 0.86  # inner edge of the scalp, in half-axes of the head
_SCALP_CENTRE: Final = 0.95
_SCALP_WIDTH: Final = 0.07  # blurred by the point spread, so that it reaches the brain
_CORE_SHARE: Final = 0.58  # of the lesion's radius
_BORDER: Final = 0.03  # softness of borders
_TISSUE_LOG_SD: Final = 0.08


def grid_phantom(
    rng: np.random.Generator,
    *,
    grid: tuple[int, int, int] = (32, 32, 1),
    echo_time_s: float = 0.144,
    spectrometer_frequency_mhz: float = 123.2,
    sequence: str = "PRESS",
    n_samples: int = 1024,
    dwell_time_s: float = 5e-4,
    snr: float = 20.0,
    core: str = "radiation_necrosis",
    rim: str = "recurrent_hgg_low_lipid",
    lesion_centre: tuple[float, float, float] = (0.30, -0.15, 0.0),
    lesion_radius: float = 0.36,
    b0_hz: float = 20.0,
    scalp_lipid: float = 30.0,
    residual_water: float = 8.0,
    water_share: float = 0.3,
    baseline: float = 0.05,
    baseline_kind: BaselineKind = "gaussians",
    lipid_shape: LipidShape = "gaussian",
    spoiled: float = 0.0,
    voxel_size_mm: tuple[float, float, float] = (7.0, 7.0, 12.0),
) -> Phantom:
    """Simulate a spectroscopic image of a head with known truth maps.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all chance.
    grid : tuple of int
        X, Y, Z; the head fills it.
    echo_time_s, spectrometer_frequency_mhz, sequence, n_samples, dwell_time_s
        The acquisition.
    snr : float
        Of a typical normal voxel with 6 Hz linewidth; the noise is the same everywhere.
    core, rim : str
        Tissue classes of the lesion's core and of the shell around it.
    lesion_centre : tuple of float
        In half-axes of the grid, from -1 to 1.
    lesion_radius : float
        In half-axes of the grid along X and Y; the core has 58 % of it.
    b0_hz : float
        The frequency drifts smoothly by this much up and down over the head.
    scalp_lipid : float
        Lipid 1.3 of the scalp over normal creatine; its blurred edge reaches the brain.
    residual_water, water_share : float
        Mean amplitude of remaining water over the largest peak, in this share of the voxels.
    baseline, baseline_kind, lipid_shape
        As in ``phantom``.
    spoiled : float
        Share of voxels that are made useless, in one of the ways of ``SPOILINGS``.
    voxel_size_mm : tuple of float
        Along X, Y, Z; the grid is oblique in space.

    Returns
    -------
    Phantom
        ``truth.labels`` and ``truth.spoiled`` tell what each voxel is; areas are relative to
        the creatine of typical normal tissue at this echo time.

    Raises
    ------
    KeyError
        If a tissue class is not known.
    ValueError
        If a share is not between 0 and 1.
    TypeError
        If `rng` is no random generator, such as a seed.

    Examples
    --------
    >>> made = grid_phantom(np.random.default_rng(2), grid=(8, 8, 1), n_samples=256)
    >>> made.data.fid.shape, made.truth.labels.shape
    ((8, 8, 1, 256), (8, 8, 1))
    """
    check_generator(rng)
    for label, share in (("spoiled", spoiled), ("water_share", water_share)):
        if not 0 <= share <= 1:
            msg = f"{label} is a share of the voxels, between 0 and 1; got {share!r}"
            raise ValueError(msg)
    places = _places(grid)
    radius = np.sqrt((places**2).sum(axis=0))
    fractions = _fractions(places, radius, lesion_centre, lesion_radius)
    scalp = np.exp(-(((radius - _SCALP_CENTRE) / _SCALP_WIDTH) ** 2) / 2)
    classes = {"normal": "normal_white_matter", "core": core, "rim": rim}
    tissues = {part: typical(name, echo_time_s=echo_time_s) for part, name in classes.items()}
    areas = _mixed(tissues, fractions, places, rng)
    fat = scalp_lipid * scalp * np.exp(0.3 * _smooth(places, rng))
    for name, share in zip(LIPIDS, (1.0, 0.4, 0.1), strict=True):
        areas[name] = areas[name] + share * fat

    drift = _smooth(places, rng)
    drift *= b0_hz / max(float(np.abs(drift[radius < 1]).max(initial=0)), 1e-9)
    drift = np.clip(drift, -b0_hz, b0_hz)
    linewidth_hz = 6.0 * np.exp(0.15 * _smooth(places, rng)) * (1 + 0.4 * radius**4)
    wet = rng.uniform(size=grid) < water_share
    water = np.where(wet, residual_water * rng.gamma(4.0, 0.25, grid), 0.05)

    common: dict[str, Any] = {
        "echo_time_s": echo_time_s,
        "spectrometer_frequency_mhz": spectrometer_frequency_mhz,
        "sequence": sequence,
        "n_samples": n_samples,
        "dwell_time_s": dwell_time_s,
    }
    reference = phantom(tissues["normal"], rng, snr=snr, **common)
    made = phantom(
        with_sums(areas),
        rng,
        grid=grid,
        noise_sd=reference.truth.noise_sd.item(),
        linewidth_hz=linewidth_hz,
        phase_rad=0.4 + 0.2 * _smooth(places, rng),
        shift_hz=drift,
        residual_water=water,
        baseline=baseline,
        baseline_kind=baseline_kind,
        lipid_shape=lipid_shape,
        lipid_variation=0.1,
        affine=_oblique(grid, voxel_size_mm),
        **common,
    )

    ranked = np.stack([np.full(grid, 0.05), scalp, *(fractions[name] for name in LABELS[2:])])
    labels = ranked.argmax(axis=0).astype(np.uint8)
    fid, kinds = _spoil(made.data.fid, spoiled, rng)
    truth: Truth = replace(
        made.truth,
        labels=read_only(labels, np.uint8),
        label_names=LABELS,
        spoiled=read_only(kinds, np.uint8),
    )
    return Phantom(replace(made.data, fid=fid), truth)


def _fractions(
    places: NDArray[np.float64],
    radius: NDArray[np.float64],
    centre: tuple[float, float, float],
    lesion_radius: float,
) -> dict[str, NDArray[np.float64]]:
    """Return the share of each voxel that is normal brain, core and rim of the lesion."""
    brain = _inside(_SKULL - radius)
    distance = np.sqrt(sum((place - at) ** 2 for place, at in zip(places, centre, strict=True)))
    lesion = _inside(lesion_radius - distance) * brain
    heart = _inside(_CORE_SHARE * lesion_radius - distance) * brain
    return {"normal": brain - lesion, "core": heart, "rim": lesion - heart}


def _mixed(
    tissues: Mapping[str, PeakAreas],
    fractions: Mapping[str, NDArray[np.float64]],
    places: NDArray[np.float64],
    rng: np.random.Generator,
) -> dict[str, NDArray[np.float64]]:
    """Return the areas of tissues by their share of each voxel, which vary smoothly."""
    areas: dict[str, NDArray[np.float64]] = {}
    for name in tissues["normal"].names:
        if name in sums():
            continue
        mixed = sum(
            (fractions[part] * float(tissues[part].value(name)) for part in fractions),
            np.zeros(places.shape[1:]),
        )
        areas[name] = mixed * np.exp(_TISSUE_LOG_SD * _smooth(places, rng))
    return areas


def _places(grid: tuple[int, int, int]) -> NDArray[np.float64]:
    """Return the voxels' places in half-axes of the grid, shape (3, X, Y, Z)."""
    axes = [(np.arange(n) + 0.5) / n * 2 - 1 for n in grid]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def _inside(depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 well inside, 0 well outside, and something between at a border."""
    soft: NDArray[np.float64] = 0.5 * (1 + np.tanh(depth / _BORDER))
    return soft


def _smooth(places: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random smooth field of unit standard deviation (a few plane waves)."""
    n_waves = 6
    field = np.zeros(places.shape[1:])
    for _ in range(n_waves):
        wave = rng.normal(0.0, 2.0, 3)
        field += np.cos(np.tensordot(wave, places, axes=1) + rng.uniform(0, 2 * np.pi))
    return field * math.sqrt(2 / n_waves)


def _oblique(
    grid: tuple[int, int, int], voxel_size_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Return an affine whose grid is turned by 20 degrees and centred on a point of the head."""
    turn = math.radians(20.0)
    rotation = np.array(
        [
            [math.cos(turn), -math.sin(turn), 0.0],
            [math.sin(turn), math.cos(turn), 0.0],
            [0.0, 0.0, 1.0],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.array(voxel_size_mm)
    centre = (np.array(grid) - 1) / 2
    affine[:3, 3] = np.array([3.0, -18.0, 24.0]) - affine[:3, :3] @ centre
    return affine


def _spoil(
    fid: NDArray[np.complex128], share: float, rng: np.random.Generator
) -> tuple[NDArray[np.complex128], NDArray[np.uint8]]:
    """Return FIDs of which some are useless, and what is wrong with each voxel."""
    grid = fid.shape[:3]
    kinds = np.zeros(math.prod(grid), dtype=np.uint8)
    chosen = rng.permutation(kinds.size)[: round(share * kinds.size)]
    kinds[chosen] = 1 + np.arange(len(chosen)) % (len(SPOILINGS) - 1)
    flat = fid.reshape(kinds.size, -1).copy()
    largest = float(np.abs(flat).max())
    for voxel in chosen:
        kind = SPOILINGS[kinds[voxel]]
        if kind == "NaN":
            flat[voxel, rng.integers(flat.shape[1]) :] = np.nan
        elif kind == "zeros":
            flat[voxel] = 0.0
        elif kind == "spike":
            flat[voxel, rng.integers(flat.shape[1], size=3)] += 1e3 * largest
        else:
            with np.errstate(invalid="ignore"):  # some of the swapped bytes are no numbers
                flat[voxel] = flat[voxel].astype(np.complex64).byteswap()
    return flat.reshape(fid.shape), kinds.reshape(grid)
