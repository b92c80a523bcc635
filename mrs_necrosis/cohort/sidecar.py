"""What the BIDS sidecar of a spectroscopy file says, beside what its header says.

The validator does not compare the two, so that is done here.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mrs_necrosis.errors import FormatError
from mrs_necrosis.spectra import EDITED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mrs_necrosis.spectra import SpectralData

_COMPARED: Final = (
    ("SpectrometerFrequency", "MHz", 0.005),
    ("SpectralWidth", "Hz", 0.01),
    ("EchoTime", "s", 0.02),
    ("NumberOfSpectralPoints", "points", 0.0),
)
"""Fields that sidecar and header both know, their unit, and by how much they may differ."""

_WATER_SUPPRESSION: Final = ("VAPOR", "WET", "CHESS", "MOIST", "Excitation", "Inversion")

_EDITED: Final = ("EditTarget", "EditCondition", "EditPulse")


def given_by(metadata: Mapping[str, Any], data: SpectralData, path: Path) -> dict[str, Any]:
    """Return what the sidecar says and the header does not, as ``read`` takes it.

    Parameters
    ----------
    metadata : mapping
        The sidecar's fields.
    data : SpectralData
        What the header said.
    path : Path
        The file, for the error.

    Returns
    -------
    dict
        Such as ``{"echo_time_s": 0.03}``.

    Raises
    ------
    FormatError
        If a number is impossible.
    """
    said = {
        "echo_time_s": _scalar(metadata.get("EchoTime")) or None,  # 0 stands for not stated
        "repetition_time_s": _scalar(metadata.get("RepetitionTime")),
        "mixing_time_s": _scalar(metadata.get("MixingTime")),
        "inversion_time_s": _scalar(metadata.get("InversionTime")) or None,
        "sequence": _sequence(metadata),
    }
    known: dict[str, Any] = {
        name: value
        for name, value in said.items()
        if value is not None and getattr(data.acquisition, name) is None
    }
    try:
        replace(data.acquisition, **known)
    except ValueError as error:
        # it quotes the number and its unit
        raise FormatError(path, f"its sidecar is wrong: {error}") from None
    return known


def _sequence(metadata: Mapping[str, Any]) -> str | None:
    from mrs_necrosis.io.recording import sequence_name

    return sequence_name(
        metadata.get("PulseSequenceType"), free_text=[metadata.get("SequenceName")]
    )


def reported(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return what a sidecar says of items of the MRSinMRS table: numbers and known words only.

    Parameters
    ----------
    metadata : mapping
        The sidecar's fields.

    Returns
    -------
    dict of str to str
        Value by item.
    """
    from mrs_necrosis.io.recording import manufacturer_name

    said = {}
    maker = manufacturer_name(metadata.get("Manufacturer"))
    if maker is not None:
        said["manufacturer"] = maker
    transients = _scalar(metadata.get("NumberOfTransients"))
    if transients is not None and 1 <= transients <= 1e6:
        said["averages"] = f"{transients:.0f}"
    size = metadata.get("AcquisitionVoxelSize")
    edges = [_scalar(edge) for edge in size] if isinstance(size, list) else []
    if len(edges) == 3 and all(edge is not None and 0 < edge < 1000 for edge in edges):
        said["nominal voxel size"] = " x ".join(f"{edge:.3g}" for edge in edges) + " mm"
    if metadata.get("BodyPart") == "BRAIN":
        said["volume of interest"] = "brain"
    suppressed = metadata.get("WaterSuppression")
    if isinstance(suppressed, bool):
        technique = metadata.get("WaterSuppressionTechnique")
        how = f" ({technique})" if technique in _WATER_SUPPRESSION else ""
        words = f"water suppressed{how}" if suppressed else "water not suppressed"
        said["water suppression, shim"] = f"{words}; shim not available"
    return said


def check_consistency(metadata: Mapping[str, Any], data: SpectralData, path: Path) -> None:
    """Refuse a file whose sidecar contradicts its header, or says that it is edited.

    Parameters
    ----------
    metadata : mapping
        The sidecar's fields; a number may stand alone or in a list.
    data : SpectralData
        What the header said.
    path : Path
        The file, for the error.

    Raises
    ------
    FormatError
        With both numbers.
    """
    from mrs_necrosis.io.recording import nucleus_name

    edits = re.search(EDITED, _sequence(metadata) or "", re.IGNORECASE)
    if edits or any(metadata.get(name) for name in _EDITED):
        raise FormatError(
            path, "is an edited acquisition, as its sidecar says; only unedited ones are analysed"
        )
    acquisition = data.acquisition
    nucleus = metadata.get("ResonantNucleus")
    name = nucleus_name(nucleus[0] if isinstance(nucleus, list) and nucleus else nucleus)
    if name is not None and acquisition.nucleus not in {None, name}:
        raise FormatError(
            path,
            f"its sidecar and its header contradict each other: ResonantNucleus is {name} in the "
            f"one and {acquisition.nucleus} in the other; correct the wrong one",
        )
    header = {
        "SpectrometerFrequency": acquisition.spectrometer_frequency_mhz,
        "SpectralWidth": acquisition.spectral_width_hz,
        "EchoTime": acquisition.echo_time_s,
        "NumberOfSpectralPoints": float(data.n_samples),
    }
    for field, unit, tolerance in _COMPARED:
        said, known = _scalar(metadata.get(field)), header[field]
        if said is None or known is None:
            continue
        if not math.isclose(said, known, rel_tol=tolerance, abs_tol=1e-9):
            raise FormatError(
                path,
                f"its sidecar and its header contradict each other: {field} is {said:g} {unit} "
                f"in the one and {known:g} {unit} in the other; correct the wrong one",
            )


def _scalar(value: object) -> float | None:
    if isinstance(value, list) and value and all(item == value[0] for item in value):
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON has integers of any length
        return None
    return number if math.isfinite(number) else None
