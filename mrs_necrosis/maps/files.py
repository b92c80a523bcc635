"""Maps as files: NIfTI-1 with the grid's affine, units of mm, and a JSON sidecar each.

They are named ``<stem>[_met-<peaks>]_desc-<what>_mrsmap.nii.gz``; the same results give the same
bytes.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.errors import OutputError, name_of
from mrs_necrosis.maps.map import Map
from mrs_necrosis.staging import write_atomically


def write_maps(
    folder: str | os.PathLike[str],
    stem: str,
    maps: Iterable[Map],
    *,
    affine: NDArray[np.float64] | None,
    provenance: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write each map as NIfTI with a JSON sidecar.

    Parameters
    ----------
    folder : str or PathLike
        Made if it is not there.
    stem : str
        First part of the names: ``"sub-01"``.
    maps : iterable of Map
        Of one grid.
    affine : ndarray of float64, shape (4, 4), or None
        Grid indices to RAS+ mm. None: the files say that their position is unknown.
    provenance : mapping of str to JSON types, or None
        Copied into every sidecar.

    Returns
    -------
    list of Path
        The NIfTI files; each sidecar has the same name with ``.json``. A file appears complete
        or not at all, the sidecar first.

    Raises
    ------
    OutputError
        If the folder cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.areas import PeakAreas
    >>> covariance = 0.01 * np.eye(2).reshape(1, 1, 1, 2, 2)
    >>> areas = PeakAreas(("Cho", "Cr"), np.array([[[[1.2, 1.0]]]]), covariance)
    >>> from tempfile import TemporaryDirectory
    >>> from mrs_necrosis.maps import area_maps
    >>> with TemporaryDirectory() as folder:
    ...     files = write_maps(folder, "sub-01", area_maps(areas), affine=np.eye(4))
    >>> files[0].name
    'sub-01_met-Cho_desc-area_mrsmap.nii.gz'
    """
    contents = map_files(stem, maps, affine=affine, provenance=provenance)
    home = Path(folder)
    try:
        home.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_atomically(home / name, content)
    except OSError as error:
        msg = f"cannot write maps to {name_of(home)}: {error.strerror or type(error).__name__}"
        raise OutputError(msg) from error
    return [home / name for name in contents if name.endswith(".nii.gz")]


def map_files(
    stem: str,
    maps: Iterable[Map],
    *,
    affine: NDArray[np.float64] | None,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """Return the files of ``write_maps`` by name, each map after its sidecar.

    Parameters
    ----------
    stem, maps, affine, provenance :
        As in ``write_maps``.

    Returns
    -------
    dict of str to bytes
        NIfTI and JSON.

    Raises
    ------
    ValueError
        If the stem is no part of a file name, or two maps have one name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", stem):
        msg = f"stem must be a plain file name of letters, digits and ._+-; got {stem!r}"
        raise ValueError(msg)
    listed = list(maps)
    names = [one.name for one in listed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"two maps have the same name: {', '.join(twice)}"
        raise ValueError(msg)
    contents = {}
    for one in listed:
        name = f"{stem}_{one.name}_mrsmap"
        sidecar = json.dumps(_sidecar(one, affine, provenance or {}), indent=2) + "\n"
        contents[f"{name}.json"] = sidecar.encode()
        contents[f"{name}.nii.gz"] = _nifti(one, affine)
    return contents


def _nifti(one: Map, affine: NDArray[np.float64] | None) -> bytes:
    import nibabel

    nifti: Any = nibabel.Nifti1Image  # its methods have no types
    image = nifti(one.values, affine)
    header = image.header
    if affine is None:
        image.set_sform(None, code="unknown")
        image.set_qform(None, code="unknown")
        header.set_xyzt_units("unknown")
    else:
        image.set_sform(affine, code="scanner")
        # a quaternion holds no shear; the sform does
        image.set_qform(affine, code="scanner", strip_shears=True)
        header.set_xyzt_units("mm")
    header["descrip"] = one.name.encode()[:79]
    finite = one.values[np.isfinite(one.values)]
    if one.kind == "quantity" and finite.size:
        # an infinite interval end must not decide a viewer's colours
        header["cal_min"], header["cal_max"] = np.percentile(finite, [2, 98])
    return gzip.compress(image.to_bytes(), mtime=0)


def _sidecar(
    one: Map, affine: NDArray[np.float64] | None, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    content: dict[str, Any] = {"Description": one.description, "Title": one.title}
    if one.met:
        content["Peaks"] = one.met
    if one.unit:
        content["Units"] = one.unit
    if one.kind == "quantity":
        content["NaN"] = "no answer; zero is never written for failure"
    else:
        content["Kind"] = "sum of the codes that apply" if one.kind == "bits" else "code"
        content["Key"] = {str(code): meaning for code, meaning in one.key.items()}
    if affine is None:
        content["Position"] = "unknown: the source gives no geometry"
    return {**content, **one.details, "Provenance": dict(provenance)}
