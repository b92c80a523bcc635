"""Peak tables: the values a console prints, which go straight to ratios.

Three spellings, and LCModel's result of one voxel. A string, ``"Cho=33671±900 Cr=29534±850"``. A
CSV file, either one peak a line under a title line such as ``peak,value,sd``, or one title line of
peak names and one line of values. A TOML file::

    title = "first follow-up"     # title, date, unit, quantity, echo_time_ms (or echo_time_s),
    quantity = "area"             # field_t and covariance are optional
    [peaks]
    Cho = { value = 33671, sd = 900 }   # or Cho = 33671
    Cr = { value = 29534, sd = 850 }

What is not written stays unknown. A console at an echo time of 120 to 160 ms prints lactate's
inverted doublet and the lipids as one net number, so its LL is called ``LL_net`` here and no lipid
criterion applies to it.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.areas import (
    QUANTITIES,
    PeakAreas,
    Quantity,
    as_printed,
    known_peak,
    peak_called,
)
from mrs_necrosis.arguments import check_range, check_type
from mrs_necrosis.constants import ECHO_TIME_S, FIELD_T, PROTON_MHZ_PER_TESLA
from mrs_necrosis.criteria import te_class
from mrs_necrosis.errors import FormatError
from mrs_necrosis.io.recording import number
from mrs_necrosis.io.source import Source, decode

NAME: Final = "peak table"
_LARGEST: Final = 2**20
_LARGEST_SD: Final = 1e150  # its square is still a number
_NAME: Final = r"[A-Za-z][A-Za-z0-9_+./-]{0,23}"
_VALUE: Final = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_THOUSANDS: Final = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d*)?")
_ASSIGNMENT: Final = re.compile(
    rf"({_NAME})\s*=\s*({_VALUE}|nan|n/a)(?:\s*(?:±|\+-|\+/-)\s*({_VALUE}\s?%?))?(?=[\s,;]|$)",
    re.IGNORECASE,
)
_NAME_TITLES: Final = frozenset({"peak", "name", "metabolite"})
_VALUE_TITLES: Final[dict[str, Quantity]] = {
    "value": "area",
    "area": "area",
    "integral": "area",
    "amplitude": "area",
    "height": "height",
    "concentration": "molar",
    "conc": "molar",
    "conc.": "molar",
}
_UNIT_TITLES: Final = frozenset({"unit", "units"})
_SD_TITLES: Final = frozenset({"sd", "std", "error", "uncertainty"})
_PERCENT_TITLES: Final = frozenset({"crlb", "crb"})
_MOLAR: Final = re.compile(r"\b(?:[mu\xb5\u03bc]m(?:ol)?|mol)\b")  # two signs of micro
_IN_BRACKETS: Final = re.compile(r"\s*[(\[][^)\]]*[)\]]")
_LONGEST_TITLE: Final = 200  # of 100000 brackets the search would take a minute
_TOML_KEYS: Final = (
    "peaks", "areas", "sd", "covariance", "quantity", "unit", "echo_time_s", "echo_time_ms",
    "field_t", "date", "title", "citation", "note",
)  # fmt: skip
_LCMODEL: Final = re.compile(
    r"\A\s*Row,\s*Col,[^\n]*%SD|^ *(?:\$\$CONC *)?\d+ lines in following concentration table",
    re.MULTILINE,
)
_OF_LCMODEL: Final = {
    "Cho": (("GPC+PCh", "PCh+GPC", "GPC+PCho", "PCho+GPC"), ("GPC", "PCh", "PCho", "Cho")),
    "Cr": (("Cr+PCr", "PCr+Cr"), ("Cr", "PCr")),
    "NAA": (("NAA+NAAG", "NAAG+NAA"), ("NAA", "NAAG")),
    "mI": ((), ("Ins", "mI")),
    "Glx": (("Glu+Gln", "Gln+Glu"), ()),
    "Lac": ((), ("Lac",)),
}
"""Sums that LCModel reports with their own error, and the parts of which one alone may be
there."""
_NO_SD: Final = 9.99  # LCModel's 999 %
_ABSENT: Final = frozenset({"", "-", "n/a", "na", "nan"})


@dataclass(frozen=True, slots=True, eq=False)
class PeakTable:
    """Peak areas and what was written beside them.

    Parameters
    ----------
    areas : PeakAreas
        The peaks.
    echo_time_s : float or None
        0 to 2 s.
    field_t : float or None
        Field strength, 0.03 to 23 T.
    date, title : str or None
        As written.

    Raises
    ------
    ValueError
        If a number is outside its range: the unit is probably another one.
    """

    areas: PeakAreas
    echo_time_s: float | None = None
    field_t: float | None = None
    date: str | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        _check_given(self.echo_time_s, self.field_t)


def _check_given(echo_time_s: float | None, field_t: float | None) -> None:
    if echo_time_s is not None:
        check_range("echo_time_s", echo_time_s, *ECHO_TIME_S, "s")
    if field_t is not None:
        check_range("field_t", field_t, *FIELD_T, "T")


def read_peaks(
    source: str | PathLike[str] | Sequence[str], *, echo_time_s: float | None = None
) -> PeakAreas:
    """Read the peak values that a console printed.

    Parameters
    ----------
    source : str, PathLike or sequence of str
        A TOML or CSV file, or text such as ``"LL=108964 Cho=33671"``.
    echo_time_s : float or None
        Where the table does not say; between 120 and 160 ms LL is a net value, ``LL_net``.

    Returns
    -------
    PeakAreas
        Without unit and covariance unless they are written.

    Raises
    ------
    FormatError
        If the file or the text is no peak table.
    ValueError
        If a given value is not what its name says.
    TypeError
        If the source is something else.

    Examples
    --------
    >>> areas = read_peaks("LL=108964 Cho=33671 Cr=29534 NAA=31278")
    >>> areas.names, areas.covariance
    (('LL', 'Cho', 'Cr', 'NAA'), None)
    """
    return read_peak_table(source, echo_time_s=echo_time_s).areas


def read_peak_table(
    source: str | PathLike[str] | Sequence[str],
    *,
    echo_time_s: float | None = None,
    field_t: float | None = None,
    quantity: Quantity | None = None,
) -> PeakTable:
    """Read a peak table with what is written beside its values.

    Parameters
    ----------
    source : str, PathLike or sequence of str
        A TOML or CSV file, a result of LCModel (``.table``, ``.coord``, ``.csv``), or text such
        as ``"LL=108964 Cho=33671"``.
    echo_time_s, field_t, quantity : float, str or None
        Replace what the table says.

    Returns
    -------
    PeakTable
        The areas and their context.

    Raises
    ------
    FormatError
        If the file or the text is no peak table.
    ValueError
        If a given value is not what its name says.
    TypeError
        If the source is something else.

    Examples
    --------
    >>> table = read_peak_table("LL=108964 Cho=33671 Cr=29534 NAA=31278", field_t=3.0)
    >>> table.areas.names, table.field_t
    (('LL', 'Cho', 'Cr', 'NAA'), 3.0)
    """
    wanted = "a path or words such as 'Cho=33671'"
    check_type("source", source, (str, PathLike, tuple, list), wanted)
    _check_given(echo_time_s, field_t)
    if isinstance(source, (str, PathLike)) and not fspath(source):
        _refuse("peak values", "must be written NAME=VALUE, for example LL=108964 Cho=33671")
    path: Path | None = None
    if isinstance(source, (str, PathLike)) and not is_assignments(source):
        path = Path(source)
        content = _content(Source(path))
        if _LCMODEL.search(content):
            table = _lcmodel(path)
        else:
            table = _toml(path, content) if _is_toml(path, content) else _csv(path, content)
    else:
        words = [source] if isinstance(source, (str, PathLike)) else list(source)
        table = _assignments(" ".join(str(word) for word in words))
    given = {"echo_time_s": echo_time_s, "field_t": field_t, "quantity": quantity}
    return _built(path, table | {name: v for name, v in given.items() if v is not None})


def peak_table_of(
    values: Mapping[str, float],
    covariance: NDArray[np.float64] | None = None,
    *,
    echo_time_s: float | None = None,
    field_t: float | None = None,
    quantity: Quantity | None = None,
) -> PeakTable:
    """Return values by name as the table that they would be in a file.

    Parameters
    ----------
    values : mapping of str to float
        NaN is no answer.
    covariance : ndarray of float64, shape (K, K), or None
        Of the values.
    echo_time_s, field_t, quantity :
        As in ``PeakTable`` and ``PeakAreas``.

    Returns
    -------
    PeakTable
        The areas and their context.

    Raises
    ------
    FormatError
        If they are no peaks.

    Examples
    --------
    >>> peak_table_of({"tCho": 2.0, "tCr": 1.0}).areas.names
    ('Cho', 'Cr')
    """
    _check_given(echo_time_s, field_t)
    table: dict[str, Any] = {
        "peaks": [(name, float(value), None) for name, value in values.items()],
        "echo_time_s": echo_time_s,
        "field_t": field_t,
        "quantity": quantity or "area",
    }
    if covariance is not None:
        table["covariance"] = covariance
    return _built(None, table)


def is_peak_table(source: str | PathLike[str] | Sequence[str]) -> bool:
    """Return whether ``source`` is a peak table: a file of one, or text such as ``"Cho=33671"``.

    Parameters
    ----------
    source : str, PathLike or sequence of str
        Anything a user may give on the command line.

    Returns
    -------
    bool
        False for whatever cannot be read, too.

    Examples
    --------
    >>> is_peak_table("Cho=33671"), is_peak_table("scan.rda")
    (True, False)
    """
    if not isinstance(source, (str, PathLike)):
        return bool(source) and all(is_assignments(word) for word in source)
    if is_assignments(source):
        return True
    try:
        read_peak_table(source)
    except (FormatError, ValueError):
        return False
    return True


def is_assignments(text: str | PathLike[str]) -> bool:
    """Return whether a text is peaks and values on the command line, not the name of a file."""
    if not isinstance(text, str) or len(text) > _LARGEST:
        return False
    return bool(_ASSIGNMENT.search(text)) and not _ASSIGNMENT.sub("", text).strip(" ,;\t\n")


def _refuse(path: Path | str, problem: str) -> NoReturn:
    raise FormatError(path, problem) from None


def _content(source: Source) -> str:
    if source.is_compressed:
        source.fail("is no peak table: it is compressed")
    if source.size > _LARGEST:
        source.fail(f"is too large for a peak table: {source.size} bytes")
    if source.head[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:  # a spreadsheet's text
        return source.content.decode("utf-16", errors="replace")
    if not source.is_text:
        source.fail("is no peak table: it is not text")
    return decode(source.content)


def _is_toml(path: Path, content: str) -> bool:
    return (
        path.suffix.lower() == ".toml"
        or re.search(r"^\s*\[(peaks|areas)\]\s*$", content, re.MULTILINE) is not None
    )


def _assignments(text: str) -> dict[str, Any]:
    if not is_assignments(text):
        _refuse("peak values", "must be written NAME=VALUE, for example LL=108964 Cho=33671")
    found = [(name, _float(value), sd) for name, value, sd in _ASSIGNMENT.findall(text)]
    return {"peaks": [(name, value, _deviation(sd, value)) for name, value, sd in found]}


def _deviation(text: str, value: float | None, *, is_percent: bool = False) -> float | None:
    """Return an error that stands beside a value, in the value's unit; None if there is none."""
    sd = number(text.removesuffix("%"))
    if sd is None or not (is_percent or text.endswith("%")):
        return sd
    # a share of nothing is not nothing: how far a peak that was not found may be off is unknown
    return None if not value or math.isnan(value) else abs(value) * sd / 100


def _float(text: str) -> float | None:
    # of "108 964" the first word is a number, too, and a wrong one
    is_plain = len(text.split()) == 1
    return math.nan if text.strip().lower() in _ABSENT else number(text) if is_plain else None


def _toml(path: Path, content: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(content)
    except (tomllib.TOMLDecodeError, RecursionError):
        _refuse(path, "is no peak table: it is not valid TOML")
    entries = document.get("peaks", document.get("areas"))
    if not isinstance(entries, Mapping) or not entries:
        _refuse(path, "is no peak table: it has no [peaks] with NAME = VALUE")
    # te = 144, ignored, would leave a net value to be judged as LL
    if not document.keys() <= set(_TOML_KEYS):
        _refuse(path, f"has a key that means nothing here; known are {', '.join(_TOML_KEYS)}")
    deviations = document.get("sd", {})
    if not isinstance(deviations, Mapping):
        _refuse(path, "must give sd as a table [sd] with NAME = VALUE")
    peaks: list[tuple[str, float | None, float | None]] = []
    for name, entry in entries.items():
        sd = deviations.get(name)
        value = entry
        if isinstance(entry, Mapping):
            if not entry.keys() <= {"value", "sd"}:
                _refuse(path, "must give a peak as a number or as { value = …, sd = … }")
            value, sd = entry.get("value"), entry.get("sd", sd)
        is_nan = isinstance(value, float) and math.isnan(value)
        peaks.append((name, math.nan if is_nan else _toml_number(value), _toml_number(sd)))
    table: dict[str, Any] = {"peaks": peaks}
    for key in ("quantity", "unit", "title", "date", "covariance"):
        if document.get(key) is not None:
            value = document[key]
            table[key] = value if key == "covariance" else str(value)
    if "quantity" not in table and _is_molar(path, [table.get("unit", "")]):
        table["quantity"] = "molar"
    for key, unit in (("echo_time_s", 1.0), ("echo_time_ms", 1e-3), ("field_t", 1.0)):
        if key in document:
            value = _toml_number(document[key])
            if value is None:
                _refuse(path, f"must give {key} as a number")
            table[key.replace("_ms", "_s")] = value * unit
    return table


def _toml_number(value: Any) -> float | None:
    return number(value) if isinstance(value, (int, float)) else None


def _lcmodel(path: Path) -> dict[str, Any]:
    """Return the metabolites of one voxel; lipids are left out, whose scale is not theirs."""
    from mrs_necrosis.io.lcmodel_table import read_lcmodel_table

    found = read_lcmodel_table(path)
    if len(found.values) != 1:
        _refuse(path, "is LCModel's result of many voxels; read_lcmodel_table reads it")
    at = {name: i for i, name in enumerate(found.names)}
    peaks: list[tuple[str, float | None, float | None]] = []
    for name, (sums, parts) in _OF_LCMODEL.items():
        alone = [part for part in parts if part in at]
        chosen = [one for one in sums if one in at] or (alone if len(alone) == 1 else [])
        if chosen:
            value = float(found.values[0, at[chosen[0]]])
            relative = float(found.relative_sd[0, at[chosen[0]]])
            is_known = value > 0 and relative < _NO_SD
            if is_known or name in {"Cho", "Cr", "NAA"}:
                peaks.append((name, value, relative * value if is_known else None))
    if not peaks:
        _refuse(path, "is a result of LCModel without choline, creatine and NAA")
    if any(sd is None for _, _, sd in peaks):  # 0 with 999 %: nobody knows how far it may be off
        peaks = [(name, value, None) for name, value, _ in peaks]
    table = {"peaks": peaks, "quantity": "molar", "echo_time_s": found.echo_time_s}
    if found.spectrometer_frequency_mhz is not None:
        table["field_t"] = found.spectrometer_frequency_mhz / PROTON_MHZ_PER_TESLA
    return table


def _csv(path: Path, content: str) -> dict[str, Any]:
    lines = [
        line for line in content.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    if lines and re.fullmatch(r"sep=.", lines[0].strip().lower()):  # a spreadsheet's own line
        del lines[0]
    if not lines:
        _refuse(path, "is no peak table: it has no line of values")
    delimiter = next((mark for mark in ("\t", ";", ",") if mark in lines[0]), ",")
    try:
        rows = [
            [cell.strip() for cell in row] for row in csv.reader(lines[:1000], delimiter=delimiter)
        ]
    except csv.Error:
        _refuse(path, "is no peak table: it is not valid CSV")
    # between semicolons a comma is a decimal one, as where semicolons are used for that reason
    if delimiter != ";" and any(_THOUSANDS.fullmatch(cell) for row in rows[1:] for cell in row):
        _refuse(path, "has numbers with commas, of thousands or a decimal comma: write 33671")
    titles = [_IN_BRACKETS.sub("", cell[:_LONGEST_TITLE]).strip().lower() for cell in rows[0]]
    value_titles = [title for title in _VALUE_TITLES if title in titles]
    if _NAME_TITLES & set(titles) and value_titles:
        at_name = next(at for at, title in enumerate(titles) if title in _NAME_TITLES)
        at_value = titles.index(value_titles[0])
        at_sd, is_percent = _column_of_sd(path, rows[0], titles)
        units = [row[at] for at, title in enumerate(titles) if title in _UNIT_TITLES
                 for row in rows[1:] if at < len(row)]  # fmt: skip
        return {
            "peaks": [
                _csv_row(path, row, at_name, at_value, at_sd, is_percent) for row in rows[1:]
            ],
            "quantity": (
                "molar"
                if _is_molar(path, [rows[0][at_value]]) or _is_molar(path, units)
                else _VALUE_TITLES[value_titles[0]]
            ),
        }
    if sum(known_peak(title.partition("/")[0]) is not None for title in titles) >= 2:
        if len(rows) > 2:
            _refuse(
                path,
                "has several lines of values: analyse it as a table of inputs (on the command "
                "line --table)",
            )
        if len(rows) == 2 and len(rows[1]) == len(titles):
            names = [_IN_BRACKETS.sub("", cell[:_LONGEST_TITLE]).strip() for cell in rows[0]]
            return {
                "peaks": [
                    (name, _float(cell), None) for name, cell in zip(names, rows[1], strict=True)
                ],
                "quantity": "molar" if _is_molar(path, rows[0]) else "area",
            }
    _refuse(
        path, "is no peak table: it needs the titles peak,value[,sd] or one line of peak names"
    )


def _is_molar(path: Path, units: Sequence[str]) -> bool:
    """Return whether values are concentrations, by the texts that hold their units."""
    found = {_MOLAR.search(unit.lower()) is not None for unit in units}
    if len(found) > 1:
        _refuse(path, "has concentrations (mM) of some peaks and something else of others")
    return True in found


def _column_of_sd(
    path: Path, cells: Sequence[str], titles: Sequence[str]
) -> tuple[int | None, bool]:
    """Return the column of the errors, and whether they are percent of the values."""
    for at, title in enumerate(titles):
        is_percent = "%" in cells[at]
        name = title.replace("%", "").strip()
        if name in _SD_TITLES or (is_percent and name in _PERCENT_TITLES):
            return at, is_percent
        if name in _PERCENT_TITLES:
            _refuse(path, f"has a column {name}: write {name} (%), or sd in the unit of the value")
    return None, False


def _csv_row(
    path: Path, row: list[str], at_name: int, at_value: int, at_sd: int | None, is_percent: bool
) -> tuple[str, float | None, float | None]:
    if len(row) <= max(at_name, at_value):
        _refuse(path, "is no peak table: a line has too few cells")
    value = _float(row[at_value])
    text = row[at_sd] if at_sd is not None and at_sd < len(row) else ""
    if text.lower() in _ABSENT:
        return row[at_name], value, None
    plain = text.removesuffix("%")
    if number(plain) is None or len(plain.split()) != 1:
        # an error that nobody reads would pass for one that nobody reported
        _refuse(path, "has an sd that is no number: write it in the unit of the value, or as 3%")
    return row[at_name], value, _deviation(text, value, is_percent=is_percent)


def _built(path: Path | None, table: dict[str, Any]) -> PeakTable:
    where = path or Path("peak values")
    echo_time_s = table.get("echo_time_s")
    # lactate is inverted at a long echo time, and a console's LL a net value
    is_net = echo_time_s is not None and te_class(echo_time_s) == "long"
    names: list[str] = []
    for name, value, _ in table["peaks"]:
        if not re.fullmatch(_NAME, name):
            _refuse(where, "has a peak whose name is no short word of letters")
        if value is None:
            _refuse(
                where, "has a peak without a plain number such as 33671, free of units and spaces"
            )
        try:
            known = peak_called(name)
        except ValueError as error:
            _refuse(where, f"has {error}")
        names.append("LL_net" if is_net and known == "LL" else known)
    if len(set(names)) != len(names):
        _refuse(where, "names a peak twice")
    if not any(math.isfinite(value) for _, value, _ in table["peaks"]):
        _refuse(where, "has no peak with a value")
    if table.get("quantity", "area") not in QUANTITIES:
        _refuse(where, f"must give quantity as one of {', '.join(QUANTITIES)}")
    try:
        areas = PeakAreas(
            tuple(names),
            np.array([value for _, value, _ in table["peaks"]], dtype=np.float64),
            _covariance(where, table),
            table.get("unit"),
            table.get("quantity", "area"),
        )
        areas = as_printed(areas)
    except ValueError as error:
        _refuse(where, f"has a wrong number: {error}")
    try:
        return PeakTable(
            areas,
            echo_time_s,
            table.get("field_t"),
            table.get("date"),
            table.get("title"),
        )
    except ValueError as error:
        _refuse(where, f"is no peak table: {error}")


def _covariance(where: Path, table: dict[str, Any]) -> np.ndarray | None:
    deviations = [sd for _, _, sd in table["peaks"]]
    if isinstance(table.get("covariance"), np.ndarray):
        return np.asarray(table["covariance"])
    if "covariance" in table:
        try:
            covariance = np.array(table["covariance"], dtype=np.float64)
        except (TypeError, ValueError):
            covariance = np.array(np.nan)
        if not np.isfinite(covariance).all():
            _refuse(where, "must give covariance as a square of numbers")
        return covariance
    if all(sd is None for sd in deviations):
        return None
    wrong = [
        name
        for name, value, sd in table["peaks"]
        if not math.isnan(value) and (sd is None or not 0 <= sd < _LARGEST_SD)
    ]
    if wrong:
        _refuse(
            where,
            f"must give an sd of 0 or more for every peak or for none: see {', '.join(wrong)}",
        )
    values = [value for _, value, _ in table["peaks"]]
    known = [
        math.nan if math.isnan(value) else sd for value, sd in zip(values, deviations, strict=True)
    ]
    covariance = np.diag(np.array(known, dtype=np.float64) ** 2)
    lost = np.isnan(values)
    covariance[lost] = covariance[:, lost] = math.nan
    return covariance
