"""What can be analysed, and what is said of it: checked, read, and laid on its surroundings."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.areas import QUANTITIES, PeakAreas, as_printed, values_of_ufloats
from mrs_necrosis.arguments import check_number, check_range, check_type
from mrs_necrosis.constants import FIELD_T, PROTON_MHZ_PER_TESLA
from mrs_necrosis.errors import FormatError, MRSNecrosisWarning, SignalError
from mrs_necrosis.spectra import Spectra, SpectralData

if TYPE_CHECKING:
    from mrs_necrosis.classifier.context import Context
    from mrs_necrosis.io import PeakTable
    from mrs_necrosis.lesion.masks import PointSpread
    from mrs_necrosis.maps.grid import Surroundings
    from mrs_necrosis.maps.placement import Placement

Image = str | os.PathLike[str] | tuple[NDArray[Any], NDArray[np.float64]]
"""An image: a file, or an array and its affine."""

Input = (
    str | os.PathLike[str] | SpectralData | Spectra | PeakAreas | Mapping[str, float]
    | Sequence[str]
)  # fmt: skip
"""What can be analysed: a file, what was read from one, or peak values."""

CAN_BE_GIVEN = frozenset({
    "echo_time_s", "first_echo_time_s", "repetition_time_s", "mixing_time_s", "sequence",
    "spectrometer_frequency_mhz", "dwell_time_s", "nucleus", "reference_ppm", "n_samples",
    "field_t", "quantity",
})  # fmt: skip

_TABLES = frozenset({".toml", ".csv", ".tsv"})


def check_given(acquisition: Mapping[str, Any]) -> None:
    """Refuse what is said of an acquisition where it is not what its name says.

    Parameters
    ----------
    acquisition : mapping of str to object
        What ``analyze`` takes; None is unknown.

    Raises
    ------
    ValueError
        If a number is outside its range, or there is no such word.
    """
    from mrs_necrosis.io.reading import checked

    if acquisition.get("field_t") is not None:
        check_range("field_t", acquisition["field_t"], *FIELD_T, "T")
    if acquisition.get("quantity") not in {None, *QUANTITIES}:
        msg = f"quantity must be one of {', '.join(QUANTITIES)}; got {acquisition['quantity']!r}"
        raise ValueError(msg)
    checked({n: v for n, v in acquisition.items() if n not in {"field_t", "quantity"}})


def read_input(
    source: Input, water_reference: str | os.PathLike[str] | None, given: Mapping[str, Any]
) -> SpectralData | Spectra | PeakTable:
    """Return what a source holds, with what is said of it."""
    from mrs_necrosis.io import PeakTable, is_peak_table, read, read_peak_table
    from mrs_necrosis.io.peak_table import peak_table_of
    from mrs_necrosis.io.reading import checked, told

    if water_reference is not None and not isinstance(source, (str, os.PathLike)):
        msg = "water_reference goes with a file; for spectra in memory, give it to read"
        raise ValueError(msg)
    if isinstance(source, PeakAreas):
        if source.covariance is None and source.is_single:
            source = as_printed(source)
        known = _of_a_table(given)
        quantity = known.pop("quantity", source.quantity)
        return PeakTable(replace(source, quantity=quantity), **known)
    if isinstance(source, Mapping) and any(hasattr(v, "std_dev") for v in source.values()):
        values, covariance = values_of_ufloats(source)
        named = dict(zip(source, values.tolist(), strict=True))
        return peak_table_of(named, covariance, **_of_a_table(given))
    if isinstance(source, Mapping):
        for name, value in source.items():
            check_type("the name of a peak", name, str, "text")
            check_number(f"the value of {name}", value)
            if math.isinf(value):
                msg = f"an area cannot be infinite, as that of {name}; NaN means no answer"
                raise ValueError(msg)
        return peak_table_of(source, **_of_a_table(given))
    if isinstance(source, (SpectralData, Spectra)):
        acquisition = told(source.acquisition, checked(_without_field(given)))
        data: SpectralData | Spectra = replace(source, acquisition=acquisition)
        return data
    if not isinstance(source, (os.PathLike, str)):
        check_type("source", source, (tuple, list), "a path, spectra or peak areas")
        return read_peak_table(source, **_of_a_table(given))
    if Path(source).suffix.lower() in _TABLES or is_peak_table(source):
        return read_peak_table(source, **_of_a_table(given))
    return read(source, water_reference=water_reference, **_without_field(given))


def _of_a_table(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what can be said of a peak table; the rest has no meaning for it."""
    from mrs_necrosis.io.reading import checked

    known = ("echo_time_s", "field_t", "quantity")
    nucleus = checked({"nucleus": given.get("nucleus")}).get("nucleus", "1H")
    if nucleus != "1H":
        msg = f"the peaks are of {nucleus}; only 1H is analysed"
        raise SignalError(msg)
    table = {name: given[name] for name in known if given.get(name) is not None}
    if given.get("spectrometer_frequency_mhz") is not None:
        table["field_t"] = given["spectrometer_frequency_mhz"] / PROTON_MHZ_PER_TESLA
    return table


def _without_field(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what can be said of a spectrum: a field strength as the frequency of protons.

    Raises
    ------
    SignalError
        If it says what a peak table holds.
    """
    if given.get("quantity") is not None:
        msg = "quantity says what a peak table holds, and this is a spectrum: leave it out"
        raise SignalError(msg)
    spectrum = {name: value for name, value in given.items() if name != "quantity"}
    field_t = spectrum.pop("field_t", None)
    if field_t is not None:
        spectrum["spectrometer_frequency_mhz"] = field_t * PROTON_MHZ_PER_TESLA
    return spectrum


def surroundings(
    lesion: Image | None,
    reference: Image | None = None,
    anatomy: Image | None = None,
    point_spread: PointSpread = "hamming",
    midline_mm: float = 0.0,
) -> Surroundings | None:
    """Read what lies around the spectra.

    Parameters
    ----------
    lesion, reference, anatomy : path, (array, affine) or None
        Masks and image.
    point_spread, midline_mm :
        As in ``analyze``.

    Returns
    -------
    Surroundings or None
        None if there is nothing.

    Raises
    ------
    FormatError
        If an image cannot be read, or has more than three axes.
    TypeError, ValueError
        If an argument is not what its name says.
    """
    from mrs_necrosis.lesion.masks import POINT_SPREADS
    from mrs_necrosis.maps.grid import Anatomy, Surroundings

    if point_spread not in POINT_SPREADS:
        msg = f"point_spread must be one of {', '.join(POINT_SPREADS)}; got {point_spread!r}"
        raise ValueError(msg)
    check_range("midline_mm", midline_mm, -1000.0, 1000.0, "mm")

    def image(name: str, given: Image | None) -> Anatomy | None:
        if given is None:
            return None
        kinds = (str, os.PathLike, tuple, list)
        check_type(name, given, kinds, "a path, (array, affine)", optional=True)
        if isinstance(given, (str, os.PathLike)):
            from mrs_necrosis.io import read_image

            values, affine = read_image(given)
            values = values.reshape(values.shape[:3] + tuple(n for n in values.shape[3:] if n > 1))
            if values.ndim != 3:
                raise FormatError(given, "has more than three axes; give one volume")
            return Anatomy(values, affine)
        pair: Sequence[Any] = given
        if len(pair) != 2:
            msg = f"{name} must be a path or (array, affine); got {len(pair)} things"
            raise ValueError(msg)
        try:
            affine = np.asarray(pair[1], dtype=np.float64)
            return Anatomy(np.asarray(pair[0]), affine)
        except (TypeError, ValueError) as error:
            msg = f"{name}: {error}"
            raise ValueError(msg) from None

    if lesion is None and reference is None and anatomy is None:
        return None
    return Surroundings(
        lesion=image("lesion_mask", lesion),
        reference=image("contralateral_mask", reference),
        anatomy=image("anatomy", anatomy),
        point_spread=point_spread,
        midline_mm=midline_mm,
    )


def check_position(data: SpectralData | Spectra | PeakTable, around: Surroundings) -> None:
    """Refuse masks and anatomy for what has no position, and a grid's for a single voxel.

    Raises
    ------
    SignalError
        With the way out.
    """
    if not isinstance(data, (SpectralData, Spectra)):
        msg = "masks and anatomy belong to spectra; a peak table does not say where it is from"
        raise SignalError(msg)
    if data.affine is None:
        msg = (
            "masks and anatomy need the position of the spectra, which this file does not give; "
            "convert it to NIfTI-MRS with an affine"
        )
        raise SignalError(msg)
    if around.reference is not None and np.prod(data.fid.shape[:3]) == 1:
        msg = (
            "a mask of normal tissue belongs to a grid; beside a single voxel give one of the "
            "other side (on the command line --contralateral)"
        )
        raise SignalError(msg)


def placed(
    context: Context | None, around: Surroundings | None, data: object
) -> tuple[Context | None, Placement | None]:
    """Return where a single voxel lies, and a context that says how much of it is lesion."""
    from mrs_necrosis.classifier.context import Context
    from mrs_necrosis.maps.placement import placement

    if around is None or not isinstance(data, Spectra) or data.fid[..., 0].size != 1:
        return context, None
    assert data.affine is not None  # or it was refused
    place = placement(around, data.affine)
    if place.is_off_the_anatomy:
        msg = "the voxel lies outside the anatomy; both must be in the scanner's space"
        warnings.warn(msg, MRSNecrosisWarning, stacklevel=3)
    if place.lesion_share is not None:
        context = replace(context or Context(), lesion_share=place.lesion_share)
    return context, place
