"""The lesion on the grid: point spread, own normal voxels, Cho/NAA index, summary.

Everything here takes arrays and affines and reads no file. Shapes: X, Y, Z voxels; K peaks; L
labels. A weight is the share of a voxel's signal that comes from a mask, between 0 and 1.

Numbers without a source are *assumed*: they are named constants.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.assessment import Favors
from mrs_necrosis.quality import FitStatus, QualityThresholds
from mrs_necrosis.ratios import Ratio, ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mrs_necrosis.quality import Quality

MINIMUM_NORMAL_VOXELS = 20
"""Assumed: the spread of 20 voxels is known to about 17 %, and with it every index."""

MINIMUM_REFERENCE_VOXELS = 5
"""Assumed: fewer give no usable estimate of their own scatter."""

REMOVAL_SD = 2.0
"""Voxels further above the line than this many standard deviations are not normal."""

MIXED_SHARE = 0.10
"""Assumed: a tissue that fills less of the lesion than this does not make it mixed."""

NO_LESION = 0.05
"""Of a voxel's signal: less than this from the lesion is the point spread's side lobes."""

EVALUABLE_SHARE = 0.50
"""Assumed: a lesion of which less than this can be judged gets no label."""

LEAST_VOXELS = 0.999
"""One voxel, but for rounding: a lesion of which less can be judged gets no label (assumed)."""

PointSpread = Literal["sinc", "hamming", "box"]
POINT_SPREADS: Final = get_args(PointSpread)
"""Responses of a voxel that are known."""

_FINE_PER_VOXEL = 8  # samples of a mask along each edge of a voxel, at most


# ------------------------------------------------------------------ masks and point spread


def _kernel(n: int, fine: int, psf: PointSpread) -> NDArray[np.float64]:
    """Return the response of n voxels to ``n * fine`` places along one axis; rows sum to one."""
    place = (np.arange(n * fine) + 0.5) / fine - 0.5
    distance = place[None, :] - np.arange(n)[:, None]
    if psf == "box" or n == 1:
        response = (np.abs(distance) < 0.5).astype(np.float64)
    else:
        k = np.arange(n) - n // 2
        weight = np.ones(n)
        if psf == "hamming":
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
    psf: PointSpread = "hamming",
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
    psf : {"hamming", "sinc", "box"}
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
    >>> weights = mask_weights(mask, np.eye(4), shape=(4, 4, 1), affine=grid, psf="box")
    >>> weights[..., 0].round(2).tolist()
    [[0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    if psf not in POINT_SPREADS:
        msg = f"psf must be one of {', '.join(POINT_SPREADS)}; got {psf!r}"
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
    kernels = [_kernel(n, f, psf) for n, f in zip(shape, fine, strict=True)]
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


# ------------------------------------------------------------------ Cho/NAA index


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChoNAAIndex:
    """How far each voxel lies above the Cho-against-NAA line of the subject's normal voxels.

    Parameters
    ----------
    value : ndarray of float64, shape (X, Y, Z)
        z-score of the residual; NaN where there is no answer, everywhere if refused.
    sd : ndarray of float64, shape (X, Y, Z), or None
        Its standard deviation: measurement, line and spread; None without covariance.
    normal : ndarray of bool, shape (X, Y, Z)
        Voxels that were left as normal.
    slope, intercept, spread : float
        ``Cho = intercept + slope * NAA`` and the standard deviation about it; NaN if refused.
    is_refused : bool
        True if there is no index.
    sentence : str
        What was done, or why there is no index.
    """

    value: NDArray[np.float64]
    sd: NDArray[np.float64] | None
    normal: NDArray[np.bool_]
    slope: float
    intercept: float
    spread: float
    is_refused: bool
    sentence: str


def _line(
    naa: NDArray[np.float64], cho: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Return (intercept, slope), the residual's sd and the pair's covariance."""
    count, middle = len(naa), float(naa.mean())
    scatter = float(((naa - middle) ** 2).sum())
    if scatter == 0:
        return np.full(2, np.nan), float("nan"), np.full((2, 2), np.nan)
    slope = float(((naa - middle) * cho).sum() / scatter)
    line = np.array([cho.mean() - slope * middle, slope])
    residual = cho - line[0] - line[1] * naa
    spread = float(np.sqrt(residual @ residual / max(count - 2, 1)))
    information = np.array(
        [
            [1 / count + middle**2 / scatter, -middle / scatter],
            [-middle / scatter, 1 / scatter],
        ]
    )
    return line, spread, information * spread**2


def _why_no_line(found: int, started: int, minimum: int, *, rises: bool) -> str:
    """Return why the voxels that were left as normal are not; empty if they are."""
    if found < minimum:
        return f"{found} of {started} usable voxels look normal, at least {minimum} are needed"
    if found < 0.5 * started:
        return (
            f"only {found} of {started} usable voxels lie on a common line; give a mask of normal "
            "tissue"
        )
    if not rises:
        return (
            "Cho does not rise with NAA among the presumed-normal voxels, so they are not normal "
            "tissue; give a mask of normal tissue"
        )
    return ""


def _no_index(nothing: NDArray[np.float64], areas: PeakAreas, problem: str) -> ChoNAAIndex:
    return ChoNAAIndex(
        value=nothing,
        sd=None if areas.covariance is None else nothing.copy(),
        normal=np.zeros(nothing.shape, dtype=bool),
        slope=float("nan"),
        intercept=float("nan"),
        spread=float("nan"),
        is_refused=True,
        sentence=problem,
    )


def cho_naa_index(
    areas: PeakAreas,
    *,
    usable: NDArray[np.bool_],
    presumed_normal: NDArray[np.bool_] | None = None,
    minimum: int = MINIMUM_NORMAL_VOXELS,
    removal_sd: float = REMOVAL_SD,
) -> ChoNAAIndex:
    r"""Return the Cho/NAA index of a grid.

    Cho is regressed on NAA over the presumed-normal voxels; those further than `removal_sd`
    standard deviations *above* the line are removed and the line is drawn again, until no voxel
    is removed. The index is :math:`z = (Cho - a - b\,NAA) / s`.

    Parameters
    ----------
    areas : PeakAreas
        With Cho and NAA, values of shape (X, Y, Z, K).
    usable : ndarray of bool, shape (X, Y, Z)
        Voxels of good enough quality.
    presumed_normal : ndarray of bool, shape (X, Y, Z), or None
        Where the search for normal voxels starts; all usable voxels by default.
    minimum : int
        Fewer normal voxels than this: refused.
    removal_sd : float
        Distance above the line beyond which a voxel is not normal.

    Returns
    -------
    ChoNAAIndex
        Refused, with the reason, when too few normal voxels are left, fewer than half of those
        it started from, or when Cho does not rise with NAA among them.

    Notes
    -----
    The procedure is McKnight's as it is described by others; the paper itself was not read.
    Cutting a normal distribution again and again at 2 sd makes its spread 9 % too small, so that
    published cut-offs (2, 2.5) are on that scale; nothing is corrected here.

    References
    ----------
    McKnight et al., J. Magn. Reson. Imaging 13, 167 (2001).

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.areas import PeakAreas
    >>> rng = np.random.default_rng(1)
    >>> naa = rng.normal(1.5, 0.2, (8, 8, 1))
    >>> cho = 0.1 + 0.2 * naa + rng.normal(0, 0.02, (8, 8, 1))
    >>> cho[2, 2] *= 4
    >>> areas = PeakAreas(("Cho", "NAA"), np.stack([cho, naa], axis=-1))
    >>> usable = np.ones((8, 8, 1), dtype=bool)
    >>> index = cho_naa_index(areas, usable=usable)
    >>> bool(index.value[2, 2, 0] > 5), bool(index.normal[2, 2, 0])
    (True, False)
    """
    if not {"Cho", "NAA"} <= set(areas.names):
        nothing = np.full(usable.shape, np.nan)
        return _no_index(nothing, areas, "no Cho/NAA index: Cho or NAA is not among the peaks")
    cho, naa = areas.value("Cho"), areas.value("NAA")
    answer = usable & np.isfinite(cho) & np.isfinite(naa)
    start = answer & areas.detected("Cho") & areas.detected("NAA")
    if presumed_normal is not None:
        start &= presumed_normal

    minimum = max(minimum, 3)
    normal = start.copy()
    line, spread, line_covariance = np.full(2, np.nan), float("nan"), np.full((2, 2), np.nan)
    while normal.sum() >= minimum:
        line, spread, line_covariance = _line(naa[normal], cho[normal])
        far = normal & (cho - line[0] - line[1] * naa > removal_sd * spread * (1 + 1e-12))
        if not far.any():
            break
        normal &= ~far
    found, started = int(normal.sum()), int(start.sum())
    problem = _why_no_line(found, started, minimum, rises=line[1] > 0 and spread > 0)
    if problem:
        return _no_index(np.full(cho.shape, np.nan), areas, f"no Cho/NAA index: {problem}")

    value = np.where(answer, (cho - line[0] - line[1] * naa) / spread, np.nan)
    sd = None
    if areas.covariance is not None:
        c, n = areas.index("Cho"), areas.index("NAA")
        cov = areas.covariance
        measured = cov[..., c, c] + line[1] ** 2 * cov[..., n, n] - 2 * line[1] * cov[..., c, n]
        drawn = (
            line_covariance[0, 0]
            + 2 * naa * line_covariance[0, 1]
            + naa**2 * line_covariance[1, 1]
        )
        # the relative variance of a standard deviation of n voxels is 1 / (2 (n - 2))
        spread_share = value**2 / (2 * (found - 2))
        sd = np.sqrt(np.maximum((measured + drawn) / spread**2 + spread_share, 0.0))
    return ChoNAAIndex(
        value=value,
        sd=sd,
        normal=normal,
        slope=float(line[1]),
        intercept=float(line[0]),
        spread=spread,
        is_refused=False,
        sentence=(
            f"Cho/NAA index against {found} normal voxels of {started} usable ones; the spread "
            f"is known to {100 / np.sqrt(2 * (found - 2)):.0f} %"
        ),
    )


# ------------------------------------------------------------------ contralateral reference


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """Mean areas of normal tissue of the same subject.

    Parameters
    ----------
    areas : PeakAreas or None
        values (K,), with the covariance of the mean (scatter of the voxels over their number);
        None if refused.
    mask : ndarray of bool, shape (X, Y, Z)
        The voxels.
    is_refused : bool
        True if there is no reference.
    sentence : str
        Where it comes from, or why there is none.
    """

    areas: PeakAreas | None
    mask: NDArray[np.bool_]
    is_refused: bool
    sentence: str


def contralateral_reference(
    areas: PeakAreas,
    *,
    usable: NDArray[np.bool_],
    chosen: NDArray[np.bool_] | None = None,
    lesion: NDArray[np.bool_] | None = None,
    affine: NDArray[np.float64] | None = None,
    index: ChoNAAIndex | None = None,
    midline_mm: float = 0.0,
    minimum: int = MINIMUM_REFERENCE_VOXELS,
) -> Reference:
    """Return the mean areas of a chosen or automatically found region of normal tissue.

    Automatically: the mirror image of the lesion about the mid-sagittal plane (without a lesion:
    everything), less the lesion itself, and of that the voxels which the Cho/NAA index calls
    normal. Without an index there is no automatic region.

    Parameters
    ----------
    areas : PeakAreas
        values of shape (X, Y, Z, K).
    usable : ndarray of bool, shape (X, Y, Z)
        Voxels of good enough quality.
    chosen : ndarray of bool, shape (X, Y, Z), or None
        The user's region; nothing is searched then.
    lesion : ndarray of bool, shape (X, Y, Z), or None
        The lesion.
    affine : ndarray of float64, shape (4, 4), or None
        Grid indices to RAS+ mm; needed for the mirror image.
    index : ChoNAAIndex or None
        Made by ``cho_naa_index``.
    midline_mm : float
        World x of the mid-sagittal plane.
    minimum : int
        Fewer voxels than this: refused.

    Returns
    -------
    Reference
        Refused, with the reason, when too few voxels are left.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.areas import PeakAreas
    >>> rng = np.random.default_rng(1)
    >>> naa = rng.normal(1.5, 0.2, (8, 8, 1))
    >>> cho = 0.1 + 0.2 * naa + rng.normal(0, 0.02, (8, 8, 1))
    >>> cho[2, 2] *= 4
    >>> areas = PeakAreas(("Cho", "NAA"), np.stack([cho, naa], axis=-1))
    >>> usable = np.ones((8, 8, 1), dtype=bool)
    >>> chosen = np.zeros((8, 8, 1), dtype=bool)
    >>> chosen[5:, 5:] = True
    >>> found = contralateral_reference(areas, usable=usable, chosen=chosen)
    >>> found.is_refused, int(found.mask.sum())
    (False, 9)
    """
    finite = usable & np.isfinite(areas.values).all(axis=-1)
    if chosen is not None:
        mask, origin = finite & chosen, "the chosen reference region"
    elif index is None or index.is_refused:
        nobody = np.zeros(usable.shape, dtype=bool)
        why = "without a Cho/NAA index no normal region is found; give a mask"
        return Reference(areas=None, mask=nobody, is_refused=True, sentence=f"no reference: {why}")
    elif lesion is not None and affine is not None:
        mirror = mirrored(lesion, affine, midline_mm=midline_mm) & ~lesion
        mask = finite & mirror & index.normal
        origin = f"the mirror image of the lesion about x = {midline_mm:g} mm"
    else:
        mask = finite & index.normal
        if lesion is not None:
            mask &= ~lesion
        origin = "the voxels with a normal Cho/NAA index"
    count = int(mask.sum())
    if count < minimum:
        sentence = (
            f"no reference: {origin} holds {count} usable normal voxels, "
            f"at least {minimum} are needed"
        )
        return Reference(areas=None, mask=mask, is_refused=True, sentence=sentence)
    members = areas.values[mask]
    covariance = np.atleast_2d(np.cov(members, rowvar=False)) / count
    mean = PeakAreas(areas.names, members.mean(axis=0), covariance, areas.unit, areas.quantity)
    sentence = f"normalised to the mean of {count} voxels: {origin}"
    return Reference(areas=mean, mask=mask, is_refused=False, sentence=sentence)


def normalised_ratios(areas: PeakAreas, reference: Reference) -> tuple[Ratio, ...]:
    """Return ratios against the subject's own normal tissue, with both errors in them.

    ``Cho/nCho``, ``Cr/nCr``, ``Cho/nCr`` compare an area with the reference's; ``Cho/Cr(n)`` and
    ``Cho/NAA(n)`` compare a ratio with the reference's ratio.

    Parameters
    ----------
    areas : PeakAreas
        values of shape (X, Y, Z, K); ratios of peaks that are not there are left out.
    reference : Reference
        Made by ``contralateral_reference``.

    Returns
    -------
    tuple of Ratio
        Empty if the reference was refused. Without a covariance of `areas` they have no interval.

    Notes
    -----
    The denominator of ``Cho/Cr(n)`` is Cr times the reference's Cho/Cr, with the variance of
    that product; Fieller's interval of Cho over it then holds both errors. The reference's error
    is common to all voxels.
    """
    normal = reference.areas
    if normal is None:
        return ()
    results = []
    known = set(areas.names)
    for top, bottom in (("Cho", "Cho"), ("Cr", "Cr"), ("Cho", "Cr")):
        if not {top, bottom} <= known:
            continue
        at = normal.index(bottom)
        assert normal.covariance is not None
        mean, variance = normal.values[at], normal.covariance[at, at]
        results.append(_against(areas, top, f"n{bottom}", mean, variance, 0.0))
    for top, bottom in (("Cho", "Cr"), ("Cho", "NAA")):
        if not {top, bottom} <= known:
            continue
        quotient = ratio(normal, top, bottom)
        assert quotient.sd is not None
        scale, scale_variance = float(quotient.value), float(quotient.sd) ** 2
        area = areas.value(bottom)
        variance = covariance = None
        if areas.covariance is not None:
            i, j = areas.index(top), areas.index(bottom)
            own = areas.covariance[..., j, j]
            variance = scale**2 * own + area**2 * scale_variance + own * scale_variance
            covariance = scale * areas.covariance[..., i, j]
        results.append(_against(areas, top, f"{bottom}(n)", area * scale, variance, covariance))
    return tuple(results)


def _against(
    areas: PeakAreas,
    top: str,
    bottom_name: str,
    bottom: NDArray[np.float64] | float,
    variance: NDArray[np.float64] | float | None,
    covariance: NDArray[np.float64] | float | None,
) -> Ratio:
    value = areas.value(top)
    pair = np.stack([value, np.broadcast_to(bottom, value.shape)], axis=-1)
    matrix = None
    if areas.covariance is not None:
        assert variance is not None
        assert covariance is not None
        at = areas.index(top)
        matrix = np.empty((*value.shape, 2, 2))
        matrix[..., 0, 0] = areas.covariance[..., at, at]
        matrix[..., 1, 1] = variance
        matrix[..., 0, 1] = matrix[..., 1, 0] = covariance
        hole = ~np.isfinite(matrix).all(axis=(-1, -2))
        matrix[hole] = np.nan
        pair[hole] = np.nan
    return ratio(PeakAreas((top, bottom_name), pair, matrix), top, bottom_name)


# ------------------------------------------------------------------ summary


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionSummary:
    """What the voxels of a lesion say together.

    Parameters
    ----------
    favors : Favors
        MIXED when one side surely fills at least ``MIXED_SHARE`` of what can be judged, and at
        least twofold evidence for the other side does, too.
    n_voxels : float
        Sum of the weights: the lesion's size in voxels.
    n_evaluable : float
        Of these, in voxels with a label (indeterminate is one).
    fractions : mapping of str to (fraction, lower, upper)
        Share of the evaluable lesion per label, with a 95 % interval from the probabilities of
        the voxels' labels; the ends are None without probabilities.
    worst_voxel : tuple of int or None
        Where the evidence for tumour is strongest.
    worst_likelihood_ratio : float or None
        Its likelihood ratio.
    distribution : mapping of str to (p10, median, p90)
        Of each ratio over the lesion's evaluable voxels, weighted.
    leaning : mapping of str to (fraction, lower, upper)
        As `fractions`, of at least twofold evidence for necrosis and for recurrence, whether or
        not it makes a label; empty without probabilities.
    sentence : str
        All of this for the reader.
    """

    favors: Favors
    n_voxels: float
    n_evaluable: float
    fractions: Mapping[str, tuple[float, float | None, float | None]]
    worst_voxel: tuple[int, int, int] | None
    worst_likelihood_ratio: float | None
    distribution: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    leaning: Mapping[str, tuple[float, float | None, float | None]] = field(default_factory=dict)
    sentence: str = ""


JUDGED = (Favors.NECROSIS, Favors.RECURRENCE, Favors.INDETERMINATE)
"""Labels that count as evaluable, in the order of ``label_probability``."""


def _weighted_quantiles(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float, float]:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    middle = (cumulative - 0.5 * weights[order]) / cumulative[-1]
    low, median, high = np.interp([0.1, 0.5, 0.9], middle, values[order])
    return float(low), float(median), float(high)


Share = tuple[float, float | None, float | None]
"""Part of a lesion, and the ends of its 95 % interval; None without probabilities."""


def _shares(
    weights: NDArray[np.float64],
    chance: NDArray[np.float64],
    generator: np.random.Generator,
    draws: int,
) -> list[Share]:
    """Return the weighted share of each of C kinds, whose probabilities are (V, C)."""
    share = weights / weights.sum()
    edges = np.cumsum(chance, axis=1)
    drawn = np.empty((draws, chance.shape[1]))
    for at in range(draws):  # over draws, not voxels: memory stays that of one draw
        uniform = generator.random(len(share))[:, None]
        pick = np.minimum((uniform >= edges).sum(axis=1), chance.shape[1] - 1)
        drawn[at] = np.bincount(pick, weights=share, minlength=chance.shape[1])
    lower, upper = np.quantile(drawn, [0.025, 0.975], axis=0)
    ends = zip(share @ chance, lower, upper, strict=True)
    # what is rare in every voxel may be in none of the draws, and is not outside its interval
    return [(float(m), float(min(m, low)), float(max(m, high))) for m, low, high in ends]


def _fractions(
    labels: NDArray[np.str_],
    weights: NDArray[np.float64],
    probability: NDArray[np.float64] | None,
    generator: np.random.Generator,
    draws: int,
) -> dict[str, Share]:
    certain = np.stack([labels == label.value for label in JUDGED], axis=1).astype(np.float64)
    if probability is None:
        plain = weights @ certain / weights.sum()
        return {label.value: (float(plain[i]), None, None) for i, label in enumerate(JUDGED)}
    total = probability.sum(axis=1, keepdims=True)
    known = (total[:, 0] > 0) & np.isfinite(total[:, 0])
    chance = np.where(known[:, None], probability / np.where(known[:, None], total, 1.0), certain)
    found = _shares(weights, chance, generator, draws)
    return {label.value: one for label, one in zip(JUDGED, found, strict=True)}


def _leaning(
    weights: NDArray[np.float64],
    probability: NDArray[np.float64] | None,
    generator: np.random.Generator,
    draws: int,
) -> dict[str, Share]:
    if probability is None:
        return {}
    sides = np.nan_to_num(probability)
    neither = 1.0 - sides.sum(axis=1, keepdims=True)
    found = _shares(weights, np.concatenate([sides, neither], axis=1), generator, draws)
    return {label.value: one for label, one in zip(JUDGED[:2], found[:2], strict=True)}


def _is_sure(share: Share) -> bool:
    mean, lower, _ = share
    return (mean if lower is None else lower) >= MIXED_SHARE


def _lesion_label(
    fractions: Mapping[str, Share],
    leaning: Mapping[str, Share],
    labels: NDArray[np.str_],
) -> Favors:
    """Return the lesion's label; a side counts if a voxel has its label and its share is sure."""

    def has(label: Favors) -> bool:
        return _is_sure(fractions[label.value]) and bool((labels == label.value).any())

    def leans(label: Favors) -> bool:
        return label.value in leaning and _is_sure(leaning[label.value])

    tumour, necrosis = has(Favors.RECURRENCE), has(Favors.NECROSIS)
    if (tumour and (necrosis or leans(Favors.NECROSIS))) or (
        necrosis and leans(Favors.RECURRENCE)
    ):
        return Favors.MIXED
    if tumour:
        return Favors.RECURRENCE
    if necrosis and fractions[Favors.NECROSIS.value][0] >= 0.5:
        return Favors.NECROSIS
    return Favors.INDETERMINATE


def summarise_lesion(
    weights: NDArray[np.float64],
    labels: NDArray[np.str_],
    *,
    label_probability: NDArray[np.float64] | None = None,
    leaning_probability: NDArray[np.float64] | None = None,
    likelihood_ratio: NDArray[np.float64] | None = None,
    ratios: tuple[Ratio, ...] = (),
    generator: np.random.Generator | None = None,
    draws: int = 2000,
) -> LesionSummary:
    """Return what the voxels of a lesion say together.

    Parameters
    ----------
    weights : ndarray of float64, shape (X, Y, Z)
        Share of each voxel's signal that comes from the lesion (``mask_weights``). Voxels with
        less than half count with their weight only.
    labels : ndarray of str, shape (X, Y, Z)
        ``Favors`` values, one per voxel.
    label_probability : ndarray of float64, shape (X, Y, Z, 3), or None
        Probability of each label of ``JUDGED``, from the draws of the areas.
    leaning_probability : ndarray of float64, shape (X, Y, Z, 2), or None
        Probability of at least twofold evidence for necrosis and for recurrence.
    likelihood_ratio : ndarray of float64, shape (X, Y, Z), or None
        Above 1 towards recurrence.
    ratios : tuple of Ratio
        Whose distribution over the lesion is wanted.
    generator : numpy.random.Generator or None
        For the interval of the fractions; seeded with 0 by default.
    draws : int
        Of that interval.

    Returns
    -------
    LesionSummary
        ``favors`` follows the voxels. A side counts if at least one voxel has its label and the
        lower end of its share of the evaluable lesion reaches ``MIXED_SHARE``. The lesion is
        mixed if one side counts, and at least twofold evidence for the other surely fills as
        much of it: published criteria label few voxels, and a part that speaks against the rest
        must not be lost. Tumour alone is recurrence-favoring; necrosis alone needs half of the
        lesion. Not-evaluable if less than half of the lesion, or less than a voxel of it, can
        be judged.

    Raises
    ------
    ValueError
        If the lesion does not touch the grid.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.full((4, 1, 1), "necrosis-favoring")
    >>> labels[3] = "recurrence-favoring"
    >>> summarise_lesion(np.ones((4, 1, 1)), labels).favors
    <Favors.NECROSIS: 'necrosis-favoring'>
    """
    total = float(weights.sum())
    if not total > 1e-6:
        msg = "the lesion mask does not touch the grid; check that both are in one world space"
        raise ValueError(msg)
    member = weights > NO_LESION
    judged = member & np.isin(labels, [label.value for label in JUDGED])
    size, evaluable = float(weights[member].sum()), float(weights[judged].sum())
    size = size or total
    if not judged.any():
        return LesionSummary(
            favors=Favors.NOT_EVALUABLE,
            n_voxels=size,
            n_evaluable=0.0,
            fractions={},
            worst_voxel=None,
            worst_likelihood_ratio=None,
            sentence="No voxel of the lesion could be judged.",
        )
    inside, weight = labels[judged], weights[judged]
    rng = generator or np.random.default_rng(0)
    chance = None if label_probability is None else label_probability[judged]
    fractions = _fractions(inside, weight, chance, rng, draws)
    lean = None if leaning_probability is None else leaning_probability[judged]
    leaning = _leaning(weight, lean, rng, draws)
    favors = Favors.NOT_EVALUABLE
    if evaluable >= max(LEAST_VOXELS, EVALUABLE_SHARE * size):
        favors = _lesion_label(fractions, leaning, inside)
    worst, worst_lr = None, None
    # only where the lesion is most of the voxel: a voxel beside it is not its worst part
    candidates = judged & (weights >= min(0.5, float(weights[judged].max())))
    if likelihood_ratio is not None and np.isfinite(likelihood_ratio[candidates]).any():
        at = np.nanargmax(np.where(candidates, likelihood_ratio, np.nan))
        i, j, k = (int(n) for n in np.unravel_index(at, labels.shape))
        worst, worst_lr = (i, j, k), float(likelihood_ratio[i, j, k])
    distribution = {}
    for one in ratios:
        seen = judged & np.isfinite(one.value)
        if seen.any():
            distribution[one.name] = _weighted_quantiles(one.value[seen], weights[seen])
    return LesionSummary(
        favors=favors,
        n_voxels=size,
        n_evaluable=evaluable,
        fractions=fractions,
        leaning=leaning,
        worst_voxel=worst,
        worst_likelihood_ratio=worst_lr,
        distribution=distribution,
        sentence=_sentence(favors, size, evaluable, fractions, leaning, worst, worst_lr),
    )


def _percent(share: Share) -> str:
    mean, low, high = share
    between = "" if low is None or high is None else f" ({100 * low:.0f} to {100 * high:.0f} %)"
    return f"{100 * mean:.0f} %{between}"


def _sentence(
    favors: Favors,
    size: float,
    evaluable: float,
    fractions: Mapping[str, Share],
    leaning: Mapping[str, Share],
    worst: tuple[int, int, int] | None,
    worst_lr: float | None,
) -> str:
    words = {
        Favors.NECROSIS: "looks like necrosis",
        Favors.RECURRENCE: "looks like tumour",
        Favors.INDETERMINATE: "is indeterminate",
    }
    if evaluable < LEAST_VOXELS:
        return (
            f"The lesion fills {size:.1f} voxels, of which {evaluable:.1f} can be judged: too "
            "little for a label."
        )
    order = (Favors.RECURRENCE, Favors.NECROSIS, Favors.INDETERMINATE)
    parts = [f"{_percent(fractions[label.value])} {words[label]}" for label in order]
    text = (
        f"The lesion fills {size:.1f} voxels, of which {evaluable:.1f} can be judged; of these "
        f"{parts[0]}, {parts[1]} and {parts[2]}. "
    )
    mixed = "The lesion is mixed: parts of it look like tumour and parts like necrosis."
    for side, others in ((Favors.NECROSIS, "tumour"), (Favors.RECURRENCE, "necrosis")):
        if side.value in leaning and not _is_sure(fractions[side.value]):
            mixed = (
                f"The lesion is mixed: parts of it look like {others}, and in "
                f"{_percent(leaning[side.value])} of it the evidence is at least two to one for "
                f"{'necrosis' if side is Favors.NECROSIS else 'tumour'}."
            )
    conclusion = {
        Favors.MIXED: mixed,
        Favors.RECURRENCE: "The lesion is recurrence-favoring.",
        Favors.NECROSIS: "The lesion is necrosis-favoring.",
        Favors.INDETERMINATE: "The lesion is indeterminate.",
        Favors.NOT_EVALUABLE: "Too little of the lesion can be judged for a label.",
    }[favors]
    if worst is not None and worst_lr is not None:
        conclusion += (
            f" The voxel that looks most like tumour is {worst} (likelihood ratio {worst_lr:.2g})."
        )
    return text + conclusion
