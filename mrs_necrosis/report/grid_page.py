"""A grid as one HTML file: maps on the anatomy, and the spectrum of the voxel one clicks.

The file needs no network and no server. Its only script and style are its own and are named by
their checksums in a content-security policy; everything else in it is data. Numbers travel as
gzipped, byte-shuffled binary arrays (``_packed``), which the browser unpacks itself, the spectra
slice by slice when they are looked at.

Orientation: the screen's horizontal axis is the one along the subject's left-right (in a sagittal
slice: front-back), the view is radiological (the subject's right is on the left) unless the
reader switches it, and the letters at the edges come from the affine.
"""

from __future__ import annotations

import base64
import gzip
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from mrs_necrosis.constants import PEAK_PPM
from mrs_necrosis.quality import FitStatus
from mrs_necrosis.report.screen import anatomy_slices, geometry, two_sided

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mrs_necrosis.fitting.result import Curves
    from mrs_necrosis.lesion.summary import LesionSummary
    from mrs_necrosis.maps import Map
    from mrs_necrosis.maps.grid import Anatomy, Statement
    from mrs_necrosis.quality import Quality

_LEVELS = 4000  # of a curve's own range: finer than the screen
_MANTISSA_BITS = 12  # kept of 23: a relative error of 1e-4, where three digits are shown
_GROUPS = {
    "label": "Evidence",
    "likelihoodratio": "Evidence",
    "gates": "Evidence",
    "index": "Normal tissue",
    "indexsd": "Normal tissue",
    "normal": "Normal tissue",
    "reference": "Normal tissue",
    "area": "Areas",
    "areasd": "Areas",
    "snr": "Quality",
    "linewidth": "Quality",
    "linewidthppm": "Quality",
    "residual": "Quality",
    "status": "Quality",
    "scalplipid": "Quality",
    "lesion": "Normal tissue",
}


# ------------------------------------------------------------------ packing


def _packed(array: NDArray[Any]) -> str:
    """Return bytes of one place side by side (they compress better), gzipped, as base64."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    shuffled = little.reshape(-1).view(np.uint8).reshape(-1, little.dtype.itemsize).T
    return base64.b64encode(gzip.compress(shuffled.tobytes(), mtime=0)).decode()


def _shortened(values: NDArray[np.float32]) -> NDArray[np.float32]:
    bits = values.astype(np.float32).view(np.uint32)
    drop = np.uint32(23 - _MANTISSA_BITS)
    half = np.uint32(1 << (int(drop) - 1))
    rounded = (bits + half) >> drop << drop
    # rounding must make neither a NaN nor an infinity into something else
    kept = np.where(np.isfinite(values), rounded, bits).astype(np.uint32)
    return kept.view(np.float32)


def _group(desc: str) -> str:
    if desc.startswith("labelprobability"):
        return "Evidence"
    details = "Ratios" if desc.startswith(("ratio", "probability")) else "Ratios in detail"
    return _GROUPS.get(desc, details)


def _packed_map(one: Map) -> dict[str, Any]:
    quantity = one.kind == "quantity"
    values = _shortened(one.values) if quantity else one.values.astype(np.uint32)
    return {
        "name": one.name,
        "met": one.met,
        "desc": one.desc,
        "title": one.title,
        "about": one.description,
        "unit": one.unit,
        "kind": one.kind,
        "key": {str(code): text for code, text in one.key.items()},
        "group": "Ratios in detail" if one.desc == "status" and one.met else _group(one.desc),
        "data": _packed(values),
    }


def _packed_slice(curves: Callable[[tuple[int, int, int]], Curves], rows: Any) -> dict[str, Any]:
    """Return the spectra of some voxels of a slice as integers on each voxel's own scale."""
    drawn = [curves(voxel) for voxel in rows]
    points = min(len(one.ppm) for one in drawn)
    traces = np.empty((len(drawn), 3, points), dtype=np.int16)
    scale = np.empty((len(drawn), 4), dtype=np.float32)  # offset, step, first ppm, ppm step
    for at, one in enumerate(drawn):
        real = np.stack([c.real[:points] for c in (one.data, one.fit, one.baseline)])
        real = np.nan_to_num(real, nan=0.0, posinf=0.0, neginf=0.0)
        low, high = float(real.min()), float(real.max())
        step = (high - low) / _LEVELS or 1.0
        traces[at] = np.rint((real - low) / step)
        ppm_step = (one.ppm[points - 1] - one.ppm[0]) / (points - 1)
        scale[at] = low, step, one.ppm[0], ppm_step
    # differences along the axis: a smooth curve becomes small numbers
    differences = np.diff(traces, axis=-1, prepend=np.int16(0))
    return {"points": points, "traces": _packed(differences), "scale": _packed(scale)}


def _spectra(
    curves: Callable[[tuple[int, int, int]], Curves], fitted: NDArray[np.bool_]
) -> list[dict[str, Any] | None]:
    slices: list[dict[str, Any] | None] = []
    for k in range(fitted.shape[2]):
        rows = [(int(i), int(j), k) for i, j in np.argwhere(fitted[:, :, k])]
        if not rows:
            slices.append(None)
            continue
        row_of = np.full(fitted.shape[:2], -1, dtype=np.int32)
        row_of[fitted[:, :, k]] = np.arange(len(rows))
        slices.append({"rows": _packed(row_of), **_packed_slice(curves, rows)})
    return slices


def _packed_statements(statements: Sequence[Statement]) -> list[dict[str, str]]:
    return [
        {
            "kind": one.kind,
            "text": one.text,
            "where": _packed(np.packbits(one.where.reshape(-1), bitorder="little")),
        }
        for one in statements
        if one.where.any()
    ]


# ------------------------------------------------------------------ the page


def grid_page(
    maps: Sequence[Map],
    *,
    quality: Quality,
    affine: NDArray[np.float64] | None,
    curves: Callable[[tuple[int, int, int]], Curves] | None = None,
    statements: Sequence[Statement] = (),
    anatomy: Anatomy | None = None,
    lesion: LesionSummary | None = None,
    lesion_weights: NDArray[np.float64] | None = None,
    notes: Sequence[str] = (),
    provenance: Mapping[str, Any] | None = None,
    title: str = "Spectroscopic grid",
) -> str:
    """Return a whole grid as one HTML page that opens offline.

    Parameters
    ----------
    maps : sequence of Map
        What can be shown; the first one is shown first.
    quality : Quality
        Of shape (X, Y, Z).
    affine : ndarray of float64, shape (4, 4), or None
        Grid indices to RAS+ mm. None: the page says that the orientation is unknown.
    curves : callable or None
        ``Fit.curves``; without it there are maps and numbers but no spectra.
    statements : sequence of Statement
        Reasons, per voxel.
    anatomy : Anatomy or None
        Needs an affine; without it the maps stand alone.
    lesion : LesionSummary or None
        Its sentence is shown above the map.
    lesion_weights : ndarray of float64, shape (X, Y, Z), or None
        Its outline (half of a voxel's signal) is drawn.
    notes : sequence of str
        Sentences about the whole grid.
    provenance : mapping of str to JSON types, or None
        Shown at the end.
    title : str
        Of the page.

    Returns
    -------
    str
        The file's text; the same input gives the same text.

    Raises
    ------
    ValueError
        If there are no maps, or they are not all of one grid.
    """
    if not maps:
        msg = "a page needs at least one map"
        raise ValueError(msg)
    shape = quality.snr.shape
    if any(one.values.shape != shape for one in maps):
        msg = f"every map must have the shape {shape} of the quality"
        raise ValueError(msg)
    screen = geometry(affine)
    data: dict[str, Any] = {
        "shape": list(shape),
        "affine": None if affine is None else np.asarray(affine, dtype=float).tolist(),
        "across": screen.across,
        "down": screen.down,
        "acrossEnds": screen.across_ends,
        "downEnds": screen.down_ends,
        "sizes": screen.sizes_mm,
        "view": screen.view,
        "maps": [_packed_map(one) for one in maps],
        "spectra": None if curves is None else _spectra(curves, quality.has_areas),
        "statements": _packed_statements(statements),
        "fitted": [s.value for s in FitStatus if s.has_areas],
        "peaks": {name: PEAK_PPM[name] for name in ("Cho", "Cr", "NAA", "mI")}
        | {"LL": PEAK_PPM["Lac"]},
        "colours": _colour_tables(),
        "anatomy": None,
        "lesion": None,
    }
    if lesion_weights is not None:
        data["lesion"] = _packed(_shortened(lesion_weights.astype(np.float32)))
    if anatomy is not None and affine is not None:
        x, y, z = shape
        margin = max(1, round(0.12 * max(x, y)))
        per_voxel = int(np.clip(320 // (max(x, y) + 2 * margin), 4, 32))
        pixels = anatomy_slices(
            anatomy, shape=(x, y, z), affine=affine, margin=margin, per_voxel=per_voxel
        )
        data["anatomy"] = {
            "margin": margin,
            "perVoxel": per_voxel,
            "slices": [_packed(one) for one in pixels],
        }
    return _rendered(data, title, lesion, notes, provenance or {})


def _colour_tables() -> dict[str, str]:
    from matplotlib import colormaps

    steps = np.linspace(0, 1, 256)
    tables = {"sequential": colormaps["viridis"](steps), "sides": two_sided()(steps)}
    return {
        name: base64.b64encode(np.rint(table[:, :3] * 255).astype(np.uint8).tobytes()).decode()
        for name, table in tables.items()
    }


def _rendered(
    data: dict[str, Any],
    title: str,
    lesion: LesionSummary | None,
    notes: Sequence[str],
    provenance: Mapping[str, Any],
) -> str:
    from mrs_necrosis.report.page import checksum, environment

    here = files("mrs_necrosis.report")
    script = here.joinpath("grid.js").read_text("utf-8")
    style = here.joinpath("grid.css").read_text("utf-8")

    template = environment().get_template("grid.html.j2")
    # a "<" in a string could end the element that holds the data
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return template.render(
        title=title,
        script=script,
        style=style,
        script_hash=checksum(script),
        style_hash=checksum(style),
        data=text,
        lesion=lesion,
        notes=list(notes),
        provenance=json.dumps(dict(provenance), indent=2, sort_keys=True, default=str),
    )
