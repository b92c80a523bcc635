"""Timeline files, in TOML.

``title``, ``citation``, ``diagnosis`` (the underlying disease) and ``lesion``; ``[[visits]]`` with
a ``date`` (``"2012"``, ``"2012-09"`` or ``"2012-09-14"``), what was found in words, and ``peaks``
or ``input``, a file of spectra beside the timeline; ``[[treatments]]`` with ``name``, ``start``
and ``end``. The words ``"not reported"`` stand for any value that the source does not give.
"""

from __future__ import annotations

import math
import tomllib
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mrs_necrosis.areas import PeakAreas, as_printed, peak_called
from mrs_necrosis.arguments import check_path
from mrs_necrosis.constants import FIELD_T
from mrs_necrosis.criteria import te_class
from mrs_necrosis.errors import FormatError
from mrs_necrosis.followup.dates import Date
from mrs_necrosis.followup.visits import Timeline, Treatment, Visit

if TYPE_CHECKING:
    from collections.abc import Mapping


NOT_REPORTED: Final = "not reported"

_READINGS = ("clinical", "mri", "perfusion", "mrs_reading", "conclusion")
_VISIT_KEYS = frozenset({
    *_READINGS, "date", "event", "input", "lesion_mask", "peaks", "peaks_unit", "peaks_sd",
    "echo_time_ms", "field_t", "sequence", "manufacturer",
})  # fmt: skip
_AMOUNTS = {
    "cycles": 1000, "interval_weeks": 520, "dose_mg": 1e5, "dose_mg_per_kg": 1e3, "dose_gy": 1e3,
    "fractions": 1000, "isodose_percent": 100,
}  # fmt: skip
"""Details of a treatment that are numbers, and what they do not exceed."""
_TREATMENT_KEYS = frozenset({"name", "kind", "start", "end", "target", *_AMOUNTS})
_TOP_KEYS = frozenset({"title", "citation", "diagnosis", "lesion", "visits", "treatments"})


def read_timeline(path: str | PathLike[str]) -> Timeline:
    """Read a timeline file (see the module).

    Parameters
    ----------
    path : path
        TOML file.

    Returns
    -------
    Timeline
        Peak tables become areas without covariance unless ``peaks_sd`` is there; at an echo time
        of 120 to 160 ms a printed LL is a net value and is named ``LL_net``.

    Raises
    ------
    FormatError
        If the file is not a timeline; the message says which entry and why.
    TypeError
        If `path` is no path.

    Examples
    --------
    >>> from mrs_necrosis.simulation import sample_path
    >>> timeline = read_timeline(sample_path("reference_case_timeline.toml"))
    >>> len(timeline.visits), timeline.treatments[0].name
    (8, 'erlotinib')
    """
    check_path("path", path)
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror or 'unknown reason'}") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(path, f"not a TOML timeline: {error}") from None
    try:
        _known("the timeline", document, _TOP_KEYS)
        visits = [
            _read_visit(f"visit {at}", entry, Path(path).parent)
            for at, entry in enumerate(_tables(document, "visits"), start=1)
        ]
        treatments = [
            _read_treatment(f"treatment {at}", entry)
            for at, entry in enumerate(_tables(document, "treatments"), start=1)
        ]
        words = {key: _word(key, document) or "" for key in _TOP_KEYS - {"visits", "treatments"}}
    except (ValueError, TypeError) as error:
        raise FormatError(path, str(error)) from None
    if not visits:
        raise FormatError(path, "a timeline needs [[visits]]; there are none")
    return Timeline(
        visits=tuple(sorted(visits, key=lambda visit: visit.date.decimal_year)),
        treatments=tuple(sorted(treatments, key=lambda one: one.start.decimal_year)),
        title=words["title"],
        lesion=words["lesion"],
        disease=words["diagnosis"],
        citation=words["citation"],
    )


def _tables(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    tables = document.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        msg = f"{key} must be written as [[{key}]] tables"
        raise ValueError(msg)
    return tables


def _known(where: str, entry: Mapping[str, Any], keys: frozenset[str]) -> None:
    unknown = sorted(entry.keys() - keys)
    if unknown:
        msg = f"{where} has an unknown key {unknown[0]!r}; known are {', '.join(sorted(keys))}"
        raise ValueError(msg)


def _value(entry: Mapping[str, Any], key: str) -> Any:
    value = entry.get(key)
    return None if value == NOT_REPORTED else value


def _word(key: str, entry: Mapping[str, Any]) -> str | None:
    value = _value(entry, key)
    if value is not None and not isinstance(value, str):
        msg = f"{key} must be text; got {value!r}"
        raise TypeError(msg)
    return value


def _number(key: str, entry: Mapping[str, Any], low: float, high: float) -> float | None:
    value = _value(entry, key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        msg = f'{key} must be a number from {low:g} to {high:g} or "{NOT_REPORTED}"; got {value!r}'
        raise ValueError(msg)
    return float(value)


def _read_visit(where: str, entry: dict[str, Any], folder: Path) -> Visit:
    _known(where, entry, _VISIT_KEYS)
    if "date" not in entry:
        msg = f"{where} has no date"
        raise ValueError(msg)
    if _value(entry, "input") is not None and _value(entry, "peaks") is not None:
        msg = f"{where} has peaks and an input: give one of them"
        raise ValueError(msg)
    if _value(entry, "lesion_mask") is not None and _value(entry, "input") is None:
        msg = f"{where} has a lesion_mask and no input that it could belong to"
        raise ValueError(msg)
    try:
        echo_time_ms = _number("echo_time_ms", entry, 0.1, 2000)
        echo_time_s = None if echo_time_ms is None else echo_time_ms / 1e3
        words = {key: _word(key, entry) for key in _READINGS}
        source, mask = _word("input", entry), _word("lesion_mask", entry)
        return Visit(
            date=Date.parse(entry["date"]),
            areas=_read_peaks(entry, echo_time_s),
            event=_word("event", entry) or "",
            readings={key: text for key, text in words.items() if text},
            echo_time_s=echo_time_s,
            field_t=_number("field_t", entry, *FIELD_T),
            sequence=_word("sequence", entry),
            manufacturer=_word("manufacturer", entry),
            source=None if source is None else folder / source,
            lesion_mask=None if mask is None else folder / mask,
        )
    except (ValueError, TypeError) as error:
        msg = f"{where}: {error}"
        raise ValueError(msg) from None


def _reported(entry: Mapping[str, Any], key: str) -> Any:
    """Return a table without the values that are not reported, or NaN; None if none is left."""
    table = _value(entry, key)
    if not isinstance(table, dict) or not table:
        return table
    return {
        name: value
        for name, value in table.items()
        if value != NOT_REPORTED and not (isinstance(value, float) and math.isnan(value))
    } or None


def _read_peaks(entry: dict[str, Any], echo_time_s: float | None) -> PeakAreas | None:
    peaks, errors = _reported(entry, "peaks"), _reported(entry, "peaks_sd")
    if peaks is None:
        return None
    for name, table in (("peaks", peaks), ("peaks_sd", errors)):
        if table is not None and not (
            isinstance(table, dict)
            and table
            and all(
                isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)
                for x in table.values()
            )
        ):
            msg = f"{name} must be a table of numbers like {{ Cho = 33671, Cr = 29534 }}"
            raise ValueError(msg)
    covariance = None
    if errors is not None:
        if errors.keys() != peaks.keys() or min(errors.values()) < 0:
            msg = "peaks_sd must hold a standard deviation for each peak"
            raise ValueError(msg)
        covariance = np.diag([float(errors[name]) ** 2 for name in peaks])
    is_net = echo_time_s is not None and te_class(echo_time_s) == "long"
    try:
        called = [peak_called(name) for name in peaks]
    except ValueError as error:
        msg = f"peaks has {error}"
        raise ValueError(msg) from None
    names = tuple("LL_net" if name == "LL" and is_net else name for name in called)
    values = np.array(list(peaks.values()), dtype=float)
    return as_printed(PeakAreas(names, values, covariance, _word("peaks_unit", entry)))


def _read_treatment(where: str, entry: dict[str, Any]) -> Treatment:
    _known(where, entry, _TREATMENT_KEYS)
    try:
        name, start, end = (_word(key, entry) for key in ("name", "start", "end"))
        first = None if start is None else Date.parse(start)
        last = None if end is None else Date.parse(end)
        kind, _ = _word("kind", entry) or "", _word("target", entry)
        for key, high in _AMOUNTS.items():
            given = _value(entry, key)
            several = isinstance(given, list) and key == "interval_weeks"
            for one in given if several else [given]:
                _number(key, {key: one}, 0, high)
    except (ValueError, TypeError) as error:
        msg = f"{where}: {error}"
        raise ValueError(msg) from None
    if not name or first is None:
        msg = f"{where}: a treatment needs a name and a start"
        raise ValueError(msg)
    if last is not None and first.surely_after(last):
        msg = f"{where}: it ends ({last}) before it starts ({first})"
        raise ValueError(msg)
    details = {
        key: value for key, value in entry.items()
        if key not in {"name", "kind", "start", "end"} and value != NOT_REPORTED
    }  # fmt: skip
    return Treatment(name=name, start=first, end=last, kind=kind, details=details)
