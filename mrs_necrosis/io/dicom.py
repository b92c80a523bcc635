"""DICOM: recognised here, parsed by pydicom, handed to the module for its kind of object.

A file is told by its SOP class: MR Spectroscopy Storage goes to ``dicom_mrs``, Siemens CSA
Non-Image to ``siemens_csa``. pydicom prints header values in warnings, accepts a length that the
file does not have, inflates without a limit and recurses without one; so warnings and logs are
silenced, sizes are checked by whoever takes samples, deflated files are refused and too deep a
nesting is an error like any other.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from mrs_necrosis.io import dicom_mrs, siemens_csa
from mrs_necrosis.io.recording import Recording, whole
from mrs_necrosis.io.silence import no_warnings

if TYPE_CHECKING:
    from mrs_necrosis.io.source import Source

NAME: Final = "DICOM"
_TOLD: Final = ["SOPClassUID", "SeriesInstanceUID", "SOPInstanceUID", "InstanceNumber"]
_UNDEFINED_LENGTH: Final = 0xFFFFFFFF
_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_LONGEST_META: Final = 2048
_LONGEST_START: Final = 2**18  # long sequences may stand before the number of an instance
_MR_SPECTROSCOPY: Final = "1.2.840.10008.5.1.4.1.1.4.2"
_SIEMENS_CSA: Final = "1.3.12.2.1107.5.9.1"
_PHILIPS_PRIVATE: Final = "1.3.46.670589.11.0.0.12.1"
_FIRST_ELEMENTS: Final = tuple(
    bytes([8, 0, element, 0]) for element in (0x00, 0x01, 0x05, 0x08, 0x12, 0x16)
)
_VALUE_TYPES: Final = (b"UL", b"CS", b"DA", b"UI")


def recognises(source: Source) -> bool:
    """Return whether the file has DICOM's mark, or begins as a file without preamble does."""
    head = source.head
    if head[128:132] == b"DICM":
        return True
    is_explicit = head[4:6] in _VALUE_TYPES
    is_implicit = len(head) > 8 and int.from_bytes(head[4:8], "little") <= 64
    return head[:4] in _FIRST_ELEMENTS and (is_explicit or is_implicit)


def series_of(source: Source) -> tuple[str, str, int] | None:
    """Return a file's series, its identity and its number there; None if it holds no spectra.

    Series and identity are for comparison alone and leave the reader nowhere.
    """
    from pydicom import dcmread

    if not recognises(source) or _DEFLATED in source.head[:_LONGEST_META]:
        return None
    with no_warnings():
        try:
            with source.path.open("rb") as stream:
                start = stream.read(_LONGEST_START)
            dataset = dcmread(
                io.BytesIO(source.content if source.is_compressed else start),
                force=True,
                specific_tags=_TOLD,
            )
            kind = _kind(dataset)
            series, identity, place = (_text(dataset, name) for name in _TOLD[1:])
        except Exception:  # noqa: BLE001 - pydicom raises anything on a damaged file
            return None
    if kind not in {_MR_SPECTROSCOPY, _SIEMENS_CSA}:
        return None
    return series, identity, whole(place) or 0


def parse(source: Source) -> Recording:
    """Read a DICOM object with 1H spectra."""
    with no_warnings():
        return _parse(source)


def _parse(source: Source) -> Recording:
    from pydicom import dcmread

    if _DEFLATED in source.head[:_LONGEST_META]:
        source.fail("is a deflated DICOM file; inflate it first (dcmconv +te)")
    content = source.content
    dataset = dcmread(io.BytesIO(content), force=True)
    for element in dataset.values():
        promised, value = getattr(element, "length", 0), element.value
        if promised != _UNDEFINED_LENGTH and isinstance(value, bytes) and len(value) < promised:
            source.fail(
                f"is truncated: an element promises {promised} bytes, {len(value)} are there"
            )
    kind = _kind(dataset)
    if kind == _MR_SPECTROSCOPY:
        return dicom_mrs.parse(source, dataset)
    if kind == _PHILIPS_PRIVATE:
        source.fail(
            "is a private spectrum of Philips; export SDAT/SPAR or MR Spectroscopy Storage instead"
        )
    if kind != _SIEMENS_CSA:
        source.fail("is a DICOM file without MR spectra (an image, a report or a raw object)")
    return siemens_csa.parse(source, dataset)


def _kind(dataset: Any) -> str:
    return _text(dataset, "SOPClassUID") or _text(dataset.file_meta, "MediaStorageSOPClassUID")


def _text(dataset: Any, keyword: str) -> str:
    value = dataset.get(keyword)
    return str(value).strip("\0 ") if value is not None else ""
