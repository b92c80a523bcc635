"""What a format's reader hands on, and how header words become numbers.

A header is untrusted text: a number is parsed or is unknown, a word is compared with known words,
and nothing else of it goes further.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from mrs_necrosis.constants import PROTON_MHZ_PER_TESLA
from mrs_necrosis.spectra import EDITED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NUCLEI: Final = {
    "1H": 1.0,
    "2H": 0.153506,
    "3HE": 0.761813,
    "7LI": 0.388638,
    "13C": 0.251450,
    "17O": 0.135565,
    "19F": 0.940940,
    "23NA": 0.264519,
    "31P": 0.404807,
    "129XE": 0.278218,
}
"""Resonance frequency relative to 1H (IUPAC recommendations 2001, Xi / 100, magnitudes)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """FIDs and what the file says of them, before the user's own knowledge is added.

    Parameters
    ----------
    format : str
        Name of the format.
    fid : ndarray of complex128, shape (X, Y, Z, N, ...)
        In the library's sign convention.
    dims : tuple of str
        Names of the axes after N.
    spectrometer_frequency_mhz, dwell_time_s : float or None
        None if the file does not say; the user must then.
    echo_time_s, repetition_time_s, mixing_time_s : float or None
        In s.
    echo_times_s : tuple of float or None
        Parts of the echo time.
    sequence, nucleus, manufacturer : str or None
        As `sequence_name` and `nucleus_name` return them.
    reference_ppm : float or None
        Chemical shift at zero frequency.
    affine : ndarray of float64, shape (4, 4), or None
        Voxel indices to RAS+ mm.
    inversion_time_s : float or None
        From an inversion before the excitation, in s.
    fat_saturated : bool or None
        Whether lipid was saturated.
    water : ndarray of complex128, shape (X, Y, Z, N, ...), or None
        Water reference from the same file.
    water_dims : tuple of str
        Names of its axes after N.
    notes : tuple of str
        Sentences for the report.
    """

    format: str
    fid: NDArray[np.complex128]
    dims: tuple[str, ...] = ()
    spectrometer_frequency_mhz: float | None = None
    dwell_time_s: float | None = None
    echo_time_s: float | None = None
    repetition_time_s: float | None = None
    mixing_time_s: float | None = None
    echo_times_s: tuple[float, ...] | None = None
    sequence: str | None = None
    nucleus: str | None = None
    manufacturer: str | None = None
    reference_ppm: float | None = None
    affine: NDArray[np.float64] | None = None
    inversion_time_s: float | None = None
    fat_saturated: bool | None = None
    water: NDArray[np.complex128] | None = None
    water_dims: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eEdD][+-]?\d{1,3})?")


def number(text: object) -> float | None:
    """Return a finite number from a header, or None.

    A comma counts as a decimal point and Fortran's ``D`` as an exponent; anything after the first
    word is ignored.

    Examples
    --------
    >>> number(" 30,5 ms"), number("1.5D-3"), number("PRESS")
    (30.5, 0.0015, None)
    """
    if isinstance(text, bool) or text is None:
        return None
    if isinstance(text, (int, float, np.integer, np.floating)):
        try:
            value = float(text)
        except OverflowError:
            return None
        return value if math.isfinite(value) else None
    words = str(text)[:200].split()
    if not words or not _NUMBER.fullmatch(words[0]):
        return None
    value = float(re.sub("[dD]", "e", words[0].replace(",", ".")))
    return value if math.isfinite(value) else None


def whole(text: object) -> int | None:
    """Return a whole number from a header, or None; what a float cannot count is no number.

    Examples
    --------
    >>> whole("2048.000000"), whole("20.5")
    (2048, None)
    >>> whole("1e30") is None
    True
    """
    value = number(text)
    return int(value) if value is not None and value % 1 == 0 and abs(value) < 2**53 else None


def scaled(text: object, unit: float) -> float | None:
    """Return a number from a header times ``unit``, or None.

    Examples
    --------
    >>> scaled("30", 1e-3)
    0.03
    """
    value = number(text)
    if value is None:
        return None
    # division by a power of ten is exact where multiplication by its inverse is not
    return value / round(1 / unit) if 0 < unit < 1 else value * unit


def inversion_time(text: object, unit_s: float) -> float | None:
    """Return an inversion time in s; zero is what every scan without an inversion writes."""
    return within(scaled(text, unit_s), 1e-3, 10.0)


def within(value: float | None, low: float, high: float) -> float | None:
    """Return ``value`` if it lies between ``low`` and ``high``: a header's filler is no number."""
    return value if value is not None and low <= value <= high else None


_MANUFACTURERS: Final = ("Siemens", "Philips", "GE", "Bruker", "Varian", "Agilent", "UIH", "Canon")

_SEQUENCES: Final = (
    ("sLASER", re.compile(r"s-?laser|semi[-_ ]?laser|probe-sl", re.IGNORECASE)),
    ("STEAM", re.compile(r"steam|(?:svs|csi)_st(?![a-z])|probe-s(?![a-z])", re.IGNORECASE)),
    ("PRESS", re.compile(r"press|(?:svs|csi)_se(?![a-z])|probe-p(?![a-z])", re.IGNORECASE)),
    ("SPIN-ECHO", re.compile(r"spin[-_ ]?echo", re.IGNORECASE)),
)
# what these add to a localisation changes the spectrum, so they are not called by its name
_CHANGED: Final = re.compile(rf"{EDITED}|isis|special", re.IGNORECASE)
# in what a person typed, "mega" may be part of another word
_TYPED_EDITED: Final = re.compile(
    r"(?<![a-z])(mega|hermes|hercules)(?![a-z])|(?<![a-z])(mega|hermes)[-_ ]?(?:s?laser|press)",
    re.IGNORECASE,
)


def sequence_name(*words: object, free_text: Sequence[object] = ()) -> str | None:
    """Return the localisation sequence in the field's words.

    Parameters
    ----------
    *words : object
        What the header calls the sequence, best first.
    free_text : sequence of object
        Names that a person typed: looked through for a known sequence, never passed on.

    Returns
    -------
    str or None
        ``"PRESS"``, ``"STEAM"``, ``"sLASER"``, ``"SPIN-ECHO"``, or ``"MEGA"``, ``"HERMES"``,
        ``"HERCULES"`` where only a typed name says so; otherwise the first word, if it is made
        of letters, digits, ``-`` and ``_``; otherwise None.

    Examples
    --------
    >>> sequence_name("*svs_se"), sequence_name("SE"), sequence_name("svs_edit")
    ('PRESS', 'SPIN-ECHO', 'svs_edit')
    >>> sequence_name(free_text=["SV_PRESS_30 Smith"])
    'PRESS'
    >>> sequence_name(free_text=["MEGA_PRESS_GABA"])
    'MEGA'
    """
    typed = [text for text in words if isinstance(text, str)]
    for text in (*typed, *(text for text in free_text if isinstance(text, str))):
        if _CHANGED.search(text):
            continue
        if text.lower().strip(" '\"*") in {"se", "spin"}:
            return "SPIN-ECHO"
        for name, spelling in _SEQUENCES:
            if spelling.search(text):
                return name
    for text in typed:
        token = text.strip(" \t'\"*%\\")
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{1,31}", token):
            return token
    for word in free_text:
        edited = _TYPED_EDITED.search(word) if isinstance(word, str) else None
        if edited is not None:
            return (edited[1] or edited[2]).upper()
    return None


def manufacturer_name(text: object) -> str | None:
    """Return the maker of a scanner, or None if the text names none that is known.

    Examples
    --------
    >>> manufacturer_name("GE MEDICAL SYSTEMS"), manufacturer_name("J. Doe")
    ('GE', None)
    """
    words = re.findall(r"[a-z]+", text.lower()) if isinstance(text, str) else []
    return next((name for name in _MANUFACTURERS if name.lower() in words), None)


def nucleus_name(text: object) -> str | None:
    """Return a nucleus as ``"1H"`` or ``"31P"``, or None if the text names none.

    Examples
    --------
    >>> nucleus_name("H1"), nucleus_name("^31^P"), nucleus_name("water")
    ('1H', '31P', None)
    """
    if not isinstance(text, str):
        return None
    compact = re.sub(r"[^A-Z0-9]", "", text.upper())
    match = re.fullmatch(r"(?:(\d{1,3})([A-Z]{1,2})|([A-Z]{1,2})(\d{1,3}))", compact)
    if match is None:
        return "1H" if compact in {"H", "PROTON"} else None
    name = f"{match[1] or match[4]}{match[2] or match[3]}"
    return name if name in NUCLEI else None


def nucleus_of(spectrometer_frequency_mhz: float | None, field_t: float | None) -> str | None:
    """Return the nucleus that resonates at this frequency in this field, or None if none does.

    Parameters
    ----------
    spectrometer_frequency_mhz, field_t : float or None
        As a header gives them; the field is often rounded, so 2.5 % are allowed.

    Returns
    -------
    str or None
        Name of the nucleus.

    Examples
    --------
    >>> nucleus_of(123.22, 2.9), nucleus_of(49.9, 2.9), nucleus_of(123.22, None)
    ('1H', '31P', None)
    """
    if not spectrometer_frequency_mhz or not field_t or field_t <= 0:
        return None
    relative = spectrometer_frequency_mhz / (field_t * PROTON_MHZ_PER_TESLA)
    name, ratio = min(NUCLEI.items(), key=lambda item: abs(math.log(relative / item[1])))
    return name if abs(relative / ratio - 1.0) < 0.025 else None
