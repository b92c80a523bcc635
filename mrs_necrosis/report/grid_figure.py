"""A map laid on the anatomy as a figure: one panel per slice, voxels as they are."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from mrs_necrosis.report.screen import LESION_COLOUR, anatomy_slices, geometry, two_sided

if TYPE_CHECKING:
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from mrs_necrosis.maps import Map
    from mrs_necrosis.maps.grid import Anatomy
    from mrs_necrosis.report.screen import Geometry

LABEL_COLOURS = ("#0072b2", "#d55e00", "#e8d9a0", "#c9ced6")
"""Necrosis, recurrence, indeterminate; not evaluable, which is not drawn."""

_PER_VOXEL = 16


def _on_screen(image: NDArray[Any], screen: Geometry) -> NDArray[Any]:
    """Turn (X, Y) into rows and columns of the radiological view."""
    turned = image.T if screen.across == 0 else image
    if screen.across_ends[0] in {"L", "P"}:
        turned = turned[:, ::-1]
    if screen.down_ends[0] not in {"A", "S"}:
        turned = turned[::-1]
    return turned


def grid_figure(
    one: Map,
    *,
    affine: NDArray[np.float64] | None,
    anatomy: Anatomy | None = None,
    lesion_weights: NDArray[np.float64] | None = None,
    opacity: float = 0.6,
) -> Figure:
    """Return a map over the anatomy, one panel per slice, in the radiological view.

    Parameters
    ----------
    one : Map
        What to draw. A voxel without an answer is left out.
    affine : ndarray of float64, shape (4, 4), or None
        Grid indices to RAS+ mm.
    anatomy : Anatomy or None
        Needs an affine; without it the map stands on black.
    lesion_weights : ndarray of float64, shape (X, Y, Z), or None
        The outline of half of a voxel's signal is drawn.
    opacity : float
        Of the map over the anatomy, 0 to 1.

    Returns
    -------
    matplotlib.figure.Figure
        Made without pyplot: nothing stays open.
    """
    from matplotlib.figure import Figure

    x, y, z = one.values.shape
    screen = geometry(affine)
    columns = int(np.ceil(np.sqrt(z)))
    lines = int(np.ceil(z / columns))
    ratio = [x, y][screen.down] * screen.sizes_mm[1] / ([x, y][screen.across] * screen.sizes_mm[0])
    edge = 5.2 if z == 1 else 2.7
    figure = Figure(
        # a row of voxels is flat; the names of its labels are not
        figsize=(columns * edge + 1.8, max(lines * edge * ratio + 0.5, 2.2)),
        layout="constrained",
        facecolor="white",
    )
    axes = figure.subplots(lines, columns, squeeze=False).reshape(-1)

    shown, norm, colours = _coloured(one)
    margin = max(1, round(0.12 * max(x, y))) if anatomy is not None and affine is not None else 0
    background = None
    if anatomy is not None and affine is not None:
        background = anatomy_slices(
            anatomy, shape=(x, y, z), affine=affine, margin=margin, per_voxel=_PER_VOXEL
        )
    wide, tall = [x, y][screen.across], [x, y][screen.down]
    inner = (-0.5, wide - 0.5, tall - 0.5, -0.5)
    outer = (-0.5 - margin, wide - 0.5 + margin, tall - 0.5 + margin, -0.5 - margin)
    drawn = None
    for k, axis in enumerate(axes):
        axis.set_axis_off()
        if k >= z:
            continue
        ground = np.zeros((2, 2)) if background is None else _on_screen(background[k], screen)
        axis.imshow(ground, cmap="gray", vmin=0, vmax=255, extent=outer, interpolation="nearest")
        drawn = axis.imshow(
            _on_screen(shown[:, :, k], screen),
            cmap=colours,
            norm=norm,
            extent=inner,
            interpolation="nearest",
            alpha=opacity if background is not None else 1.0,
        )
        if lesion_weights is not None and (lesion_weights[:, :, k] >= 0.5).any():
            inside = _on_screen(lesion_weights[:, :, k] >= 0.5, screen)
            _outline(axis, inside)
        axis.set_xlim(outer[0], outer[1])
        axis.set_ylim(outer[2], outer[3])
        axis.set_aspect(screen.sizes_mm[1] / screen.sizes_mm[0])
        if z > 1:
            axis.set_title(f"slice {k + 1}", fontsize=9)
        _letters(axis, screen)
    assert drawn is not None
    bar: Any = figure.colorbar(drawn, ax=list(axes), shrink=0.75, pad=0.02)
    bar.solids.set_alpha(1.0)  # pale colours would be those of the map on white
    _name_colours(bar, one)
    view = "radiological view" if screen.view else "orientation unknown"
    figure.suptitle(one.title, fontsize=12)
    figure.supxlabel(f"{view}; research use, no diagnosis", fontsize=8, color="#5b6776")
    return figure


def _coloured(one: Map) -> tuple[Any, Normalize, Any]:
    """Return what is drawn of a map, its range, and the colours of that."""
    from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize

    values = one.values.astype(np.float64)
    if one.kind == "quantity":
        shown = np.ma.masked_invalid(values)
        if one.desc == "index":  # as on the page: white is normal
            return shown, Normalize(-5, 5), two_sided()
        finite = values[np.isfinite(values)]
        low, high = np.percentile(finite, [2, 98]) if finite.size else (0.0, 1.0)
        if one.desc.startswith(("probability", "labelprobability")):
            low, high = 0.0, 1.0
        return shown, Normalize(low, high), "viridis"
    codes = sorted(one.key) or [0]
    palette = LABEL_COLOURS if one.desc == "label" else _palette(len(codes))
    places = np.searchsorted(codes, values)
    if one.desc == "label":
        places = np.ma.masked_equal(places, len(codes) - 1)
    norm = BoundaryNorm(np.arange(len(codes) + 1) - 0.5, len(codes))
    return places, norm, ListedColormap(palette[: len(codes)])


def _name_colours(bar: Any, one: Map) -> None:
    if one.kind == "quantity":
        bar.set_label(one.title + (f" ({one.unit})" if one.unit not in one.title else ""))
    else:
        bar.set_ticks(range(len(one.key)))
        names = [one.key[code].partition(": ")[0] for code in sorted(one.key)]
        if one.desc == "label":
            names[-1] += " (not drawn)"
        bar.set_ticklabels(names)
    bar.outline.set_visible(False)


def _palette(count: int) -> list[Any]:
    from matplotlib import colormaps

    return [colormaps["tab10"](i % 10) for i in range(count)]


def _outline(axis: Any, inside: NDArray[np.bool_]) -> None:
    padded = np.pad(inside, 1)
    segments = []
    for r, c in np.argwhere(padded[1:-1, 1:-1]):
        for dr, dc, ends in (
            (-1, 0, [(c - 0.5, r - 0.5), (c + 0.5, r - 0.5)]),
            (1, 0, [(c - 0.5, r + 0.5), (c + 0.5, r + 0.5)]),
            (0, -1, [(c - 0.5, r - 0.5), (c - 0.5, r + 0.5)]),
            (0, 1, [(c + 0.5, r - 0.5), (c + 0.5, r + 0.5)]),
        ):
            if not padded[r + 1 + dr, c + 1 + dc]:
                segments.append(ends)
    from matplotlib.collections import LineCollection

    axis.add_collection(LineCollection(segments, colors="black", linewidths=2.6))
    axis.add_collection(LineCollection(segments, colors=LESION_COLOUR, linewidths=1.3))


def _letters(axis: Any, screen: Geometry) -> None:
    across, down = screen.across_ends, screen.down_ends
    left, right = across[::-1] if across[0] in {"L", "P"} else across
    top, bottom = down if down[0] in {"A", "S"} else down[::-1]
    places = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.97), (0.5, 0.03))
    for at, letter in zip(places, (left, right, top, bottom), strict=True):
        axis.text(
            *at,
            letter,
            transform=axis.transAxes,
            color="white",
            fontsize=8,
            fontweight="bold",
            ha="center",
            va="center",
        )


def to_png(figure: Figure, *, dots_per_inch: float = 150) -> bytes:
    """Return the bytes of a PNG; the same figure gives the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Made by ``grid_figure``.
    dots_per_inch : float
        Resolution.

    Returns
    -------
    bytes
        Without the name and version of the software, which would change them.
    """
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return buffer.getvalue()
