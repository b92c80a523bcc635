"""What there is to analyse: the units of a BIDS dataset, or of a table of inputs."""

from __future__ import annotations

import codecs
import csv
import logging
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mrs_necrosis.areas import known_peak
from mrs_necrosis.cohort import dataset
from mrs_necrosis.cohort.unit import Unit
from mrs_necrosis.errors import FormatError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping


_LOGGER = logging.getLogger(__name__)

_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?|nan")
LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TEXT_COLUMNS: Final = ("sequence", "nucleus", "quantity")
_NUMBER_COLUMNS: Final = (
    "echo_time_s", "first_echo_time_s", "repetition_time_s", "mixing_time_s",
    "spectrometer_frequency_mhz", "field_t", "dwell_time_s", "reference_ppm",
)  # fmt: skip
TABLE_COLUMNS: Final = (
    "input", "water_reference", "label", "participant", "session", *_TEXT_COLUMNS,
    *_NUMBER_COLUMNS,
)  # fmt: skip


def dataset_units(
    bids_dir: str | os.PathLike[str],
    *,
    participants: Iterable[str] = (),
    sessions: Iterable[str] = (),
    filter_file: str | os.PathLike[str] | None = None,
    derivatives: Mapping[str, str | os.PathLike[str]] | None = None,
    deidentify: bool = False,
    validate: bool = True,
) -> list[Unit]:
    """Return what there is to analyse in a BIDS dataset.

    Parameters
    ----------
    bids_dir : path
        Root of the dataset.
    participants, sessions : iterable of str
        Labels, with or without ``sub-`` and ``ses-``; all if empty.
    filter_file : path or None
        JSON with further entities to choose by: ``{"svs": {"acquisition": "press"}}``.
    derivatives : mapping of str to path, or None
        Datasets by a name for their links; masks of lesions are looked for in them.
    deidentify : bool
        Call participants, sessions and acquisitions by checksums of their files.
    validate : bool
        Refuse what has no valid ``dataset_description.json``.

    Returns
    -------
    list of Unit
        In the order of their names.

    Raises
    ------
    FormatError
        If it is no dataset, a label is not there, or there is no spectroscopy in it.
    """
    root = Path(bids_dir)
    participants, sessions = tuple(participants), tuple(sessions)
    if validate:
        dataset.check_dataset(root)
    elif not root.is_dir():
        raise FormatError(root, "is not a folder; give the root of a BIDS dataset")
    folders = {name: Path(folder) for name, folder in (derivatives or {}).items()}
    for folder in folders.values():
        if not folder.is_dir():
            raise FormatError(folder, "is not a folder; give the root of a dataset of derivatives")
    found = dataset.find(
        root,
        participants=participants,
        sessions=sessions,
        filters=None if filter_file is None else dataset.read_filters(Path(filter_file)),
        derivatives=folders.values(),
    )
    if not found:
        filtered = "" if filter_file is None else ", or the filter lets none through"
        raise FormatError(
            root, f"has no _svs or _mrsi file in any sub-*/[ses-*/]mrs folder{filtered}"
        )
    twins = Counter(one.base for one in found)
    # sub-01_svs and sub-01_mrsi would give the same names
    units = [
        _unit(one, one.suffix if twins[one.base] > 1 and one.suffix == "mrsi" else "",
              _links(one, root, folders))
        for one in found
    ]  # fmt: skip
    if not deidentify:
        return units
    # a participant is called the same whichever sessions are chosen
    chosen = sessions or filter_file is not None
    everything = dataset.find(root, participants=participants) if chosen else found
    return _deidentified(units, everything)


def _unit(one: dataset.Acquired, tag: str, links: tuple[str, ...]) -> Unit:
    levels = one.place
    return Unit(
        name=one.base,
        source=one.path,
        water=one.water,
        anatomy=one.anatomy,
        lesion=one.lesion,
        folder="/".join([*levels, "mrs"]),
        figures=f"{levels[0]}/figures",
        suffix=one.suffix,
        tag=tag,
        participant=levels[0],
        session=levels[1] if len(levels) > 1 else None,
        metadata=one.metadata,
        sources=links,
        notes=one.notes,
        problem=one.problem,
    )


def _links(one: dataset.Acquired, root: Path, derivatives: Mapping[str, Path]) -> tuple[str, ...]:
    """Return the BIDS URIs of what a unit is made of."""
    links = [_uri("raw", root, path) for path in (one.path, one.water, one.anatomy) if path]
    if one.lesion is not None:
        links += [
            _uri(name, folder, one.lesion)
            for name, folder in derivatives.items()
            if one.lesion.is_relative_to(folder)
        ][:1]
    return tuple(links)


def _uri(name: str, root: Path, path: Path) -> str:
    if not path.is_relative_to(root):
        root, path = root.resolve(), path.resolve()
    return f"bids:{name}:{path.relative_to(root).as_posix()}"


def _deidentified(units: list[Unit], everything: list[dataset.Acquired]) -> list[Unit]:
    """Name everything by checksums: whoever has no copy of the data cannot undo it."""
    from mrs_necrosis.provenance import sha256

    firsts: dict[tuple[str, ...], Path] = {}
    for one in everything:
        who, *visit = one.place
        firsts.setdefault((who,), one.path)
        firsts.setdefault((who, *visit), one.path)
    names = {key: sha256(path)[:12] for key, path in firsts.items()}
    renamed = []
    for unit in units:
        assert unit.participant is not None
        digest = sha256(unit.source)
        who = f"sub-{names[(unit.participant,)]}"
        levels = [who]
        if unit.session is not None:
            levels.append(f"ses-{names[unit.participant, unit.session]}")
        renamed.append(
            replace(
                unit,
                name="_".join([*levels, f"acq-{digest[:12]}"]),
                folder="/".join([*levels, "mrs"]),
                figures=f"{who}/figures",
                tag="",
                anatomy=None,  # a face may be known by it
                participant=who,
                session=levels[1] if len(levels) > 1 else None,
                sources=(),
            )
        )
    twice = [name for name, n in Counter(unit.name for unit in renamed).items() if n > 1]
    if twice:
        # copies of one file are one acquisition
        _LOGGER.warning("%d inputs are copies of another; each is analysed once", len(twice))
    return list({unit.key: unit for unit in renamed}.values())


def table_units(table: str | os.PathLike[str]) -> list[Unit]:
    """Return what a table of inputs lists.

    Parameters
    ----------
    table : path
        Separated by tabs (``.tsv``), commas or semicolons, with a header line. Each line has an
        ``input`` or, in columns named after them, peak values (``Cho``, ``Cr``, …) with or
        without their errors (``Cho_sd``); ``water_reference``, ``label``, ``participant``,
        ``session`` and what ``read`` takes (``echo_time_s``, …) may be there; ``n/a`` or nothing
        is unknown. Paths are relative to the table.

    Returns
    -------
    list of Unit
        One per line, in their order.

    Raises
    ------
    FormatError
        If the table cannot be understood; the message gives the line.
    """
    path = Path(table)
    try:
        content = path.read_bytes()
        # a spreadsheet's "Unicode text" is UTF-16
        is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise FormatError(path, "is no table in UTF-8") from None
    first = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" or "\t" in first else ","
    if delimiter == "," and ";" in first:
        delimiter = ";"
    rows = csv.reader(text.splitlines(), delimiter=delimiter)
    columns = [name.strip() for name in next(rows, [])]
    peaks = {name: peak for name in columns if (peak := _peak_column(name)) is not None}
    unknown = [name for name in columns if name not in TABLE_COLUMNS and name not in peaks]
    is_table = ("input" in columns or peaks) and len(set(columns)) == len(columns)
    if unknown or not is_table or len(set(peaks.values())) != len(peaks):
        raise FormatError(
            path,
            "must begin with a line of column names: input or peaks (Cho, Cho_sd, Cr, …), and "
            f"any of {', '.join(TABLE_COLUMNS[1:])}; a .tsv has tabs between them",
        )
    units: list[Unit] = []
    for number, cells in enumerate(rows, 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise FormatError(
                path, f"line {number} has {len(cells)} columns, the first {len(columns)}"
            )
        row = {
            name: cell.strip()
            for name, cell in zip(columns, cells, strict=True)
            if cell.strip() not in {"", "n/a"}
        }
        if delimiter == ";":  # where a comma is a decimal one
            decimal = {*_NUMBER_COLUMNS, *peaks}
            row = {k: v.replace(",", ".") if k in decimal else v for k, v in row.items()}
        words = _peak_words(path, number, row, peaks)
        units.append(_table_unit(path, number, row, len(units) + 1, words))
    names = Counter(unit.name.lower() for unit in units)
    if not units or max(names.values()) > 1:
        raise FormatError(path, "lists no input" if not units else "has a label twice")
    return units


def _peak_column(title: str) -> str | None:
    """Return the peak, or peak and ``"_sd"``, that a column holds; None if another thing."""
    is_sd = title.lower().endswith("_sd")
    peak = known_peak(title[:-3] if is_sd else title)
    return f"{peak}_sd" if peak and is_sd else peak


def _peak_words(path: Path, line: int, row: Mapping[str, str], peaks: Mapping[str, str]) -> str:
    """Return the peak values of a line in the words of the command line."""
    for name in peaks:
        if name in row and not _NUMBER.fullmatch(row[name]):
            raise FormatError(path, f"line {line}: {name} is no number such as 33671 or 1.5e4")
    values = {peak: row[name] for name, peak in peaks.items() if name in row}
    alone = [name for name in values if name.endswith("_sd") and name[:-3] not in values]
    if alone:
        raise FormatError(path, f"line {line} has {alone[0]} without its peak")
    if values and "input" in row:
        raise FormatError(path, f"line {line} has an input and peaks; one of them is enough")
    return " ".join(
        f"{peak}={value}" + (f"±{values[f'{peak}_sd']}" if f"{peak}_sd" in values else "")
        for peak, value in values.items()
        if not peak.endswith("_sd")
    )


def _table_unit(path: Path, line: int, row: dict[str, str], place: int, peaks: str) -> Unit:
    from mrs_necrosis.inputs import check_given

    if "input" not in row and not peaks:
        raise FormatError(path, f"line {line} names no input")
    label = row.get("label", f"{place:03d}")
    if not LABEL.fullmatch(label):
        raise FormatError(path, f"line {line}: a label is made of letters, digits, - and _")
    given: dict[str, Any] = {name: row[name] for name in _TEXT_COLUMNS if name in row}
    for name in _NUMBER_COLUMNS:
        if name in row:
            try:
                given[name] = float(row[name])
            except ValueError:
                raise FormatError(path, f"line {line}: {name} is no number") from None
    try:
        check_given(given)
    except ValueError as error:
        # in a column that slipped a cell may name a person, so it is not quoted
        said = str(error).partition("; got")[0]
        raise FormatError(path, f"line {line}: {said}") from None
    water = row.get("water_reference")
    return Unit(
        name=label,
        source=path if peaks else path.parent / row["input"],
        peaks=peaks,
        water=None if water is None else path.parent / water,
        folder=label,
        participant=row.get("participant"),
        session=row.get("session"),
        given=given,
    )
