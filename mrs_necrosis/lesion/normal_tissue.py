"""The subject's own normal tissue: the Cho/NAA index, and areas to normalise to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.constants import NORMAL_CHO_NAA, PROTONS
from mrs_necrosis.lesion.masks import mirrored
from mrs_necrosis.ratios import ratio

if TYPE_CHECKING:
    from mrs_necrosis.ratios import Ratio


MINIMUM_NORMAL_VOXELS = 20
"""Assumed: the spread of 20 voxels is known to about 17 %, and with it every index."""

MINIMUM_REFERENCE_VOXELS = 5
"""Assumed: fewer give no usable estimate of their own scatter."""

REMOVAL_SD = 2.0
"""Voxels further above the line than this many standard deviations are not normal."""


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


def _outlying(quotient: NDArray[np.float64], limit_sd: float) -> NDArray[np.bool_]:
    """Return which lie far above the median: a lesion of a third would draw the line itself."""
    far = np.log(quotient) - np.log(np.median(quotient))
    spread = 1.4826 * np.median(np.abs(far))  # of a normal distribution
    return np.asarray(far > limit_sd * max(spread, 1e-9))


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


def _why_not_normal(areas: PeakAreas, quotient: float, found: int) -> str:
    """Return why voxels on a common line are no normal brain; empty if they may be."""
    limit = NORMAL_CHO_NAA
    if areas.quantity == "height":
        return ""  # no limit of heights was published
    if areas.quantity == "molar":
        limit *= PROTONS["NAA"] / PROTONS["Cho"]
    if quotient <= limit:
        return ""
    return (
        f"Cho/NAA of the {found} voxels that look alike is {quotient:.2f}, more than the "
        f"{limit:.2f} of normal brain, so they are not normal tissue"
    )


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

    Cho is regressed on NAA over the presumed-normal voxels, without those whose Cho/NAA lies more
    than `removal_sd` robust standard deviations above their median; those further than
    `removal_sd` standard deviations *above* the line are removed and the line is drawn again,
    until no voxel is removed. The index is :math:`z = (Cho - a - b\,NAA) / s`.

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
        Distance above the median, and above the line, beyond which a voxel is not normal.

    Returns
    -------
    ChoNAAIndex
        Refused, with the reason, when too few normal voxels are left, fewer than half of those
        it started from, when Cho does not rise with NAA among them, or their Cho/NAA is not that
        of normal brain (``constants.NORMAL_CHO_NAA``).

    Notes
    -----
    The procedure is McKnight's as it is described by others; the paper itself was not read. The
    median is ours: on a grid of which the lesion takes a third, line and spread of all voxels
    gave its rim, with a Cho/NAA of 3.4, an index of 1.
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
    if start.sum() >= minimum:
        normal[start] = ~_outlying(cho[start] / naa[start], removal_sd)
    line, spread, line_covariance = np.full(2, np.nan), float("nan"), np.full((2, 2), np.nan)
    while normal.sum() >= minimum:
        line, spread, line_covariance = _line(naa[normal], cho[normal])
        far = normal & (cho - line[0] - line[1] * naa > removal_sd * spread * (1 + 1e-12))
        if not far.any():
            break
        normal &= ~far
    found, started = int(normal.sum()), int(start.sum())
    problem = _why_no_line(found, started, minimum, rises=line[1] > 0 and spread > 0)
    if not problem:
        problem = _why_not_normal(areas, float(np.median(cho[normal] / naa[normal])), found)
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """Mean areas of normal tissue of the same subject.

    Parameters
    ----------
    areas : PeakAreas or None
        values (K,), with the covariance of the mean: the scatter of the voxels over their number,
        widened for how well few voxels know it; None if refused.
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
    # the scatter of few voxels is itself unsure: the variance of Student's t
    covariance *= (count - 1) / max(count - 3, 1)
    mean = replace(areas, values=members.mean(axis=0), covariance=covariance)
    sentence = f"normalised to the mean of {count} voxels: {origin}"
    return Reference(areas=mean, mask=mask, is_refused=False, sentence=sentence)


def normalized_ratios(areas: PeakAreas, reference: Reference) -> tuple[Ratio, ...]:
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
