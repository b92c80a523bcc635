"""Ratio maps of a grid as DICOM Parametric Maps."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mrs_necrosis
from mrs_necrosis.analysis import Analysis
from mrs_necrosis.errors import FormatError, SignalError
from mrs_necrosis.report.dicom_objects import (
    MAKER,
    RATIO_CONCEPTS,
    RATIO_UNIT,
    SERIES_NUMBER,
    coded,
    decimal,
    fingerprint,
    load_highdicom,
    read_object,
    to_bytes,
    uid_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def parametric_maps(
    analysis: Analysis,
    anatomy: Iterable[str | os.PathLike[str]],
    *,
    ratios: Iterable[str] = ("Cho/Cr", "NAA/Cr", "Cho/NAA", "LL/Cr"),
) -> dict[str, bytes]:
    """Return ratio maps of a grid as DICOM Parametric Map objects.

    Parameters
    ----------
    analysis : Analysis
        Of a grid whose position is known.
    anatomy : iterable of path
        MR images of one series in the same frame of reference; patient, study and frame of
        reference are copied.
    ratios : iterable of str
        Which ones, of those that there are.

    Returns
    -------
    dict of str to bytes
        By name such as ``"map_ChoCr.dcm"``. A voxel without an answer is NaN.

    Raises
    ------
    SignalError
        If the analysis is no grid, its position is unknown, or its axes are not at right angles.
    FormatError
        If the images are not of one series with a frame of reference.
    MissingExtraError
        If highdicom is not installed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from mrs_necrosis import analyze
    >>> found = analyze("grid.nii.gz")  # doctest: +SKIP
    >>> maps = parametric_maps(found, sorted(Path("t1").glob("*.dcm")))  # doctest: +SKIP
    """
    if analysis.is_single or analysis.spectra is None:
        msg = "Parametric Maps are of a grid; this is a single voxel"
        raise SignalError(msg)
    affine = analysis.spectra.affine
    if affine is None:
        msg = "Parametric Maps need the position of the grid, which this file does not give"
        raise SignalError(msg)
    highdicom = load_highdicom("a Parametric Map")
    images = _series(anatomy)
    geometry = _geometry(highdicom, affine, analysis.grid[2])
    made = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, name in enumerate(ratios, 1):
            if name in analysis.ratios:
                made[f"map_{name.replace('/', '')}.dcm"] = _map(
                    highdicom, analysis, name, images, geometry, number
                )
    return made


def _geometry(highdicom: Any, affine: NDArray[np.float64], slices: int) -> Mapping[str, Any]:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    axes = lps[:3, :3]
    edges = np.sqrt((axes**2).sum(axis=0))
    units = axes / edges
    if np.abs(units.T @ units - np.eye(3)).max() > 1e-3:
        msg = "Parametric Maps need a grid whose axes are at right angles"
        raise SignalError(msg)
    positions = [lps @ np.array([0.0, 0.0, k, 1.0]) for k in range(slices)]
    return {
        # columns run along the first axis of the grid, rows along the second
        "plane_orientation": highdicom.PlaneOrientationSequence(
            coordinate_system="PATIENT",
            image_orientation=[decimal(e) for e in (*units[:, 0], *units[:, 1])],
        ),
        "plane_positions": [
            highdicom.PlanePositionSequence(
                coordinate_system="PATIENT", image_position=[decimal(e) for e in position[:3]]
            )
            for position in positions
        ],
        "pixel_measures": highdicom.PixelMeasuresSequence(
            pixel_spacing=[decimal(edges[1]), decimal(edges[0])],
            slice_thickness=decimal(edges[2]),
        ),
    }


def _map(
    highdicom: Any,
    analysis: Analysis,
    name: str,
    images: list[Any],
    geometry: Mapping[str, Any],
    number: int,
) -> bytes:
    values = np.asarray(analysis.ratios[name].value, dtype=np.float32)
    frames = np.ascontiguousarray(values.transpose(2, 1, 0))
    finite = frames[np.isfinite(frames)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    high = max(high, low + 1e-6)
    label = name.replace("/", "_").upper()
    seed = [str(images[0].SeriesInstanceUID), fingerprint(analysis), name]
    try:
        made = highdicom.pm.ParametricMap(
            source_images=images,
            pixel_array=frames,
            series_instance_uid=uid_of(*seed, "series"),
            series_number=SERIES_NUMBER + number,
            sop_instance_uid=uid_of(*seed, "instance"),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name="mrs_necrosis",
            software_versions=mrs_necrosis.__version__,
            device_serial_number="0",
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[
                highdicom.pm.RealWorldValueMapping(
                    lut_label=label[:16],
                    lut_explanation=f"{name} ratio; NaN is no answer",
                    unit=coded(RATIO_UNIT),
                    value_range=(low, high),
                    slope=1.0,
                    intercept=0.0,
                    quantity_definition=coded(RATIO_CONCEPTS[name]),
                )
            ],
            voi_lut_transformations=[
                highdicom.VOILUTTransformation(
                    window_center=decimal((low + high) / 2),
                    window_width=decimal(high - low or 1.0),
                    voi_lut_function="LINEAR_EXACT",  # LINEAR forbids a width below 1
                )
            ],
            content_label=label[:16],
            content_description=f"{name} by MR spectroscopy, research use",
            content_qualification="RESEARCH",
            series_description=f"{name} ratio map, research use",
            **geometry,
        )
    except (AttributeError, ValueError, TypeError, KeyError) as error:
        msg = f"no Parametric Map can be laid on these images ({type(error).__name__})"
        raise FormatError(Path(str(images[0].filename)), msg) from None
    made.BodyPartExamined = "BRAIN"  # without it the standard asks which of two sides it is
    return to_bytes(made, images[0])


def _series(paths: Iterable[str | os.PathLike[str]]) -> list[Any]:
    images = [read_object(path) for path in paths]
    if not images:
        msg = "Parametric Maps need at least one image of an anatomical series"
        raise SignalError(msg)
    first = images[0]
    for image in images:
        name = Path(str(image.filename))
        if not image.get("FrameOfReferenceUID") or "Rows" not in image:
            raise FormatError(name, "is no image with a frame of reference")
        if image.SeriesInstanceUID != first.SeriesInstanceUID:
            raise FormatError(name, "is of another series than the first image; give one series")
    return images
