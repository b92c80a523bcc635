"""Cohorts: a BIDS dataset or a table of inputs, in one process or on a cluster.

Any ``concurrent.futures.Executor`` runs the units, or what ``cluster`` gives; the results are the
same to the last bit.
"""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import mrs_necrosis
from mrs_necrosis.arguments import check_folder
from mrs_necrosis.cohort import dataset
from mrs_necrosis.cohort.unit import (
    LOGS,
    STATUS_ENDING,
    Outcome,
    Settings,
    Unit,
    dictionary,
    locked,
    read_marker,
    run_unit,
)
from mrs_necrosis.errors import FormatError, OutputError, name_of
from mrs_necrosis.staging import sweep, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor as FuturesExecutor

    from mrs_necrosis.cohort.dask_cluster import DaskExecutor

    Executor = FuturesExecutor | DaskExecutor
    Progress = Callable[[int, int], None]

COHORT_PAGE: Final = "cohort.html"
GROUP_TABLE: Final = "group_desc-ratios_mrs.tsv"
NAME: Final = "mrs_necrosis"
BIDS_VERSION: Final = "1.10.0"
MANY_UNITS: Final = 20
"""From here on starting a local cluster costs less than it saves."""

_LOGGER = logging.getLogger(__name__)
_IGNORED: Final = ("*.html", "group_*", f".{NAME}/", f"{LOGS}/", "**/figures", "**/mrs/**")
"""What the validator does not know: it has no derivatives of spectroscopy."""

_OUTCOMES: Final = "mrs-necrosis/outcomes/1"
_NO_RESULTS: Final = "holds no results yet; run the participant level first"
_GROUP_COLUMNS: Final = {
    "participant_id": "participant, as in the dataset",
    "session_id": "session; n/a if there is none",
    "acquisition": "name of the input without its ending",
}
_RATIOS: Final = re.compile(r"(/ratios|_desc-ratios[a-z]*_mrs)\.tsv$")
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TEXT_COLUMNS: Final = ("sequence", "nucleus", "quantity")
_NUMBER_COLUMNS: Final = (
    "echo_time_s", "first_echo_time_s", "repetition_time_s", "mixing_time_s",
    "spectrometer_frequency_mhz", "field_t", "dwell_time_s", "reference_ppm",
)  # fmt: skip
_TABLE_COLUMNS: Final = (
    "input", "water_reference", "label", "participant", "session", *_TEXT_COLUMNS,
    *_NUMBER_COLUMNS,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortResult:
    """What became of every unit, in the order of the inputs.

    Parameters
    ----------
    outcomes : tuple of Outcome
        One per unit.
    """

    outcomes: tuple[Outcome, ...] = ()

    def count(self, state: str) -> int:
        """Return how many units came out in one way.

        Parameters
        ----------
        state : {"done", "unchanged", "failed"}
            Of an ``Outcome``.

        Returns
        -------
        int
            Of this run.
        """
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def exit_code(self) -> int:
        """0 all good, 1 some failed, 4 nothing could be written."""
        failed = [outcome for outcome in self.outcomes if outcome.state == "failed"]
        if not failed:
            return 0
        unwritten = all(outcome.is_output_error for outcome in failed)
        return 4 if unwritten and len(failed) == len(self.outcomes) else 1

    def to_json(self) -> str:
        """Return the outcomes for a program: name, state and message of each."""
        outcomes = [
            {"name": one.name, "state": one.state, "message": one.message or None}
            for one in self.outcomes
        ]
        document = {"schema": _OUTCOMES, "exit_code": self.exit_code, "outcomes": outcomes}
        return json.dumps(document, indent=2) + "\n"


# ---- a BIDS dataset ---------------------------------------------------------------------------


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
    units = []
    for one in found:
        levels = [f"{key}-{one.entities[key]}" for key in ("sub", "ses") if key in one.entities]
        links = [_uri("raw", root, path) for path in (one.path, one.water, one.anatomy) if path]
        if one.lesion is not None:
            links += [
                _uri(name, folder, one.lesion)
                for name, folder in folders.items()
                if one.lesion.is_relative_to(folder)
            ][:1]
        units.append(
            Unit(
                name=one.base,
                source=one.path,
                water=one.water,
                anatomy=one.anatomy,
                lesion=one.lesion,
                folder="/".join([*levels, "mrs"]),
                figures=f"{levels[0]}/figures",
                suffix=one.suffix,
                # sub-01_svs and sub-01_mrsi would give the same names
                tag=one.suffix if twins[one.base] > 1 and one.suffix == "mrsi" else "",
                participant=levels[0],
                session=levels[1] if len(levels) > 1 else None,
                metadata=one.metadata,
                sources=tuple(links),
                notes=one.notes,
                problem=one.problem,
            )
        )
    if not deidentify:
        return units
    # a participant is called the same whichever sessions are chosen
    chosen = sessions or filter_file is not None
    everything = dataset.find(root, participants=participants) if chosen else found
    return _deidentified(units, everything)


def _uri(name: str, root: Path, path: Path) -> str:
    if not path.is_relative_to(root):
        root, path = root.resolve(), path.resolve()
    return f"bids:{name}:{path.relative_to(root).as_posix()}"


def _deidentified(units: list[Unit], everything: list[dataset.Acquired]) -> list[Unit]:
    """Name everything by checksums: whoever has no copy of the data cannot undo it."""
    from mrs_necrosis.pipeline import sha256

    firsts: dict[tuple[str, ...], Path] = {}
    for one in everything:
        who, *visit = (f"{key}-{one.entities[key]}" for key in ("sub", "ses")
                       if key in one.entities)  # fmt: skip
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


def analyze_dataset(
    bids_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    level: Literal["participant", "group"] = "participant",
    *,
    participants: Iterable[str] = (),
    sessions: Iterable[str] = (),
    filter_file: str | os.PathLike[str] | None = None,
    derivatives: Mapping[str, str | os.PathLike[str]] | None = None,
    deidentify: bool = False,
    validate: bool = True,
    figures: bool = True,
    overwrite: bool = False,
    stop_on_first_crash: bool = False,
    reports_only: bool = False,
    work_dir: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **keywords: Any,
) -> CohortResult:
    """Analyse the spectroscopy of a BIDS dataset, or gather what was analysed.

    What is done already is left alone: a killed run goes on where it was.

    Parameters
    ----------
    bids_dir : path
        Root of the dataset.
    out_dir : path
        Where the derivatives go; another run may write there at the same time.
    level : {"participant", "group"}
        Analyse every acquisition; or gather all results in ``group_desc-ratios_mrs.tsv``.
    participants, sessions, filter_file, derivatives, deidentify, validate :
        As in ``dataset_units``.
    figures : bool
        Draw; this takes three times as long as the analysis.
    overwrite : bool
        Redo what is done. Files that are not ours are never replaced or removed.
    stop_on_first_crash : bool
        Begin nothing more once an acquisition has failed.
    reports_only : bool
        Analyse nothing; write the pages again from what is done.
    work_dir : path or None
        For temporary files; the system's place by default.
    threads : int or None
        Of one fit; as many as there are processors if None.
    executor : concurrent.futures.Executor or None
        Runs the units; one after the other in this process if None. The results are the same.
    progress : callable or None
        Called with the units done and the units in all.
    **keywords
        Of ``analyze``: ``criteria``, ``prior``, ``context``, ``model``, ….

    Returns
    -------
    CohortResult
        What became of every acquisition; one that failed stops nothing.

    Raises
    ------
    FormatError
        If there is no dataset, or nothing in it.
    OutputError
        If `out_dir` belongs to something else, or cannot be written.

    Examples
    --------
    >>> from mrs_necrosis.cohort import analyze_dataset
    >>> found = analyze_dataset("study", "study/derivatives/mrs_necrosis")  # doctest: +SKIP
    >>> found.exit_code  # doctest: +SKIP
    """
    check_folder("bids_dir", bids_dir)
    check_folder("out_dir", out_dir)
    root, out = Path(bids_dir), Path(out_dir)
    if level == "group" or reports_only:
        _check_ours(out)
        if level == "group":
            write_group_table(out)
        elif not (out.is_dir() and markers(out)):
            raise FormatError(out, _NO_RESULTS)
        write_pages(out)
        return CohortResult()
    units = dataset_units(
        root, participants=participants, sessions=sessions, filter_file=filter_file,
        derivatives=derivatives, deidentify=deidentify, validate=validate,
    )  # fmt: skip
    _prepare(out, {} if deidentify else {"raw": root, **(derivatives or {})}, root)
    settings = Settings(
        out=out, keywords=keywords, figures=figures, overwrite=overwrite, work=_work(work_dir),
        threads=threads,
    )  # fmt: skip
    result = run_units(
        units, settings, executor=executor, progress=progress, stop=stop_on_first_crash
    )
    write_pages(out)
    return result


def _work(folder: str | os.PathLike[str] | None) -> Path | None:
    if folder is None:
        return None
    with _writing(Path(folder)):
        Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


def _check_ours(out: Path) -> None:
    """Refuse a folder that another program's dataset lies in."""
    description = out / "dataset_description.json"
    if out.exists() and not out.is_dir():
        msg = f"{name_of(out)} exists and is not a folder; choose another"
        raise OutputError(msg)
    if not description.exists():
        return
    try:
        content = json.loads(description.read_bytes())
        names = [maker["Name"] for maker in content["GeneratedBy"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        names = []
    if NAME not in names:
        msg = (
            f"{name_of(out)} holds a dataset that is not from mrs-necrosis; choose another folder"
        )
        raise OutputError(msg)


def _prepare(out: Path, links: Mapping[str, str | os.PathLike[str]], root: Path) -> None:
    if out.resolve() == root.resolve():
        msg = "the results must not go into the dataset itself; choose another folder"
        raise OutputError(msg)
    _check_ours(out)
    description: dict[str, Any] = {
        "Name": f"{NAME} derivatives",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{
            "Name": NAME,
            "Version": mrs_necrosis.__version__,
            "Description": "Metabolite ratios with intervals, and published criteria beside "
            "them. Research use only; not a diagnosis.",
        }],
    }  # fmt: skip
    if links:
        description["DatasetLinks"] = {
            name: _link(Path(folder), out) for name, folder in links.items()
        }
    text = json.dumps(description, indent=2) + "\n"
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        with locked(out, "cohort"):
            _replace(out / "dataset_description.json", text.encode())
            ignore = out / ".bidsignore"
            lines = ignore.read_text("utf-8").splitlines() if ignore.exists() else []
            lines += [line for line in _IGNORED if line not in lines]
            _replace(ignore, ("\n".join(lines) + "\n").encode())


def _link(root: Path, out: Path) -> str:
    try:
        return Path(os.path.relpath(root.resolve(), out.resolve())).as_posix()
    except ValueError:  # another drive
        return root.resolve().as_uri()


# ---- a table ----------------------------------------------------------------------------------


def table_units(table: str | os.PathLike[str]) -> list[Unit]:
    """Return what a table of inputs lists.

    Parameters
    ----------
    table : path
        Tab separated (``.tsv``) or comma separated, with a header line. ``input`` is required;
        ``water_reference``, ``label``, ``participant``, ``session`` and what ``read`` takes
        (``echo_time_s``, …) may be there; ``n/a`` or nothing is unknown. Paths are relative to
        the table.

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
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise FormatError(path, "is no table in UTF-8") from None
    delimiter = "\t" if path.suffix.lower() == ".tsv" or "\t" in text.partition("\n")[0] else ","
    rows = csv.reader(text.splitlines(), delimiter=delimiter)
    columns = [name.strip() for name in next(rows, [])]
    unknown = [name for name in columns if name not in _TABLE_COLUMNS]
    if "input" not in columns or unknown or len(set(columns)) != len(columns):
        raise FormatError(
            path,
            "must begin with a line of column names: input, and any of "
            f"{', '.join(_TABLE_COLUMNS[1:])}; a .tsv has tabs between them",
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
        units.append(_table_unit(path, number, row, len(units) + 1))
    names = Counter(unit.name.lower() for unit in units)
    if not units or max(names.values()) > 1:
        raise FormatError(path, "lists no input" if not units else "has a label twice")
    return units


def _table_unit(path: Path, line: int, row: dict[str, str], place: int) -> Unit:
    from mrs_necrosis.pipeline import check_given

    if "input" not in row:
        raise FormatError(path, f"line {line} names no input")
    label = row.get("label", f"{place:03d}")
    if not _LABEL.fullmatch(label):
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
        source=path.parent / row["input"],
        water=None if water is None else path.parent / water,
        folder=label,
        participant=row.get("participant"),
        session=row.get("session"),
        given=given,
    )


def analyze_table(
    table: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    figures: bool = True,
    overwrite: bool = False,
    threads: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **keywords: Any,
) -> CohortResult:
    r"""Analyse every line of a table of inputs, each into a folder of its own.

    Parameters
    ----------
    table : path
        As in ``table_units``.
    out_dir : path
        Gets ``LABEL/result.json``, … per line, ``ratios.tsv`` with all lines, and
        ``cohort.html``.
    figures, overwrite, threads, executor, progress, **keywords :
        As in ``analyze_dataset``.

    Returns
    -------
    CohortResult
        What became of every line.

    Raises
    ------
    FormatError
        If the table cannot be understood.
    OutputError
        If `out_dir` cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from mrs_necrosis.simulation import sample_path
    >>> with TemporaryDirectory() as folder:
    ...     table = Path(folder) / "visits.csv"
    ...     _ = table.write_text(f"input,label\n{sample_path('reference_case.toml')},first\n")
    ...     found = analyze_table(table, Path(folder) / "out", figures=False)
    >>> found.count("done"), found.exit_code
    (1, 0)
    """
    check_folder("out_dir", out_dir)
    units = table_units(table)
    out = Path(out_dir)
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        out=out, keywords=keywords, figures=figures, overwrite=overwrite, threads=threads
    )
    result = run_units(units, settings, executor=executor, progress=progress)
    write_group_table(out, name="ratios.tsv")
    write_pages(out)
    return result


def analyze_file(
    in_file: str,
    out_dir: str,
    water_reference: str | None = None,
    label: str = "result",
    echo_time_s: float | None = None,
    field_t: float | None = None,
    figures: bool = True,
) -> dict[str, str]:
    """Analyse one file: the node of a workflow, with plain types in and out.

    It reads `in_file`, writes only below `out_dir`, does nothing if that is done already, and
    raises if it fails: what Nipype's ``Function``, Pydra's ``python.define`` and Snakemake's
    ``run`` expect.

    Parameters
    ----------
    in_file : str
        A scanner's file or a peak table.
    out_dir : str
        Made if it is not there.
    water_reference : str or None
        Its water reference.
    label : str
        Name of the folder in `out_dir`.
    echo_time_s, field_t : float or None
        What the file does not say.
    figures : bool
        Draw.

    Returns
    -------
    dict of str to str
        ``favors`` (empty for a grid) and the paths ``result``, ``ratios`` and ``report``.

    Raises
    ------
    ValueError
        If the label is no name of a folder.
    FormatError
        If the file cannot be analysed.
    OutputError
        If the results cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from mrs_necrosis.simulation import sample_path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = analyze_file(str(sample_path("reference_case.toml")), folder)
    >>> done["favors"]
    'necrosis-favoring'
    """
    check_folder("out_dir", out_dir)
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        msg = f"label names a folder: letters, digits, - and _; got {label!r}"
        raise ValueError(msg)
    given = {"echo_time_s": echo_time_s, "field_t": field_t}
    unit = Unit(
        name=label,
        source=Path(in_file),
        water=None if water_reference is None else Path(water_reference),
        folder=label,
        given={name: value for name, value in given.items() if value is not None},
    )
    with _writing(Path(out_dir)):
        Path(out_dir).mkdir(parents=True, exist_ok=True)
    outcome = run_unit(unit, Settings(out=Path(out_dir), figures=figures))
    if outcome.state == "failed":
        if outcome.is_output_error:
            raise OutputError(outcome.message)
        raise FormatError(in_file, outcome.message)
    folder = Path(out_dir) / label
    marker = read_marker(Path(out_dir) / unit.marker)
    return {
        "favors": str(marker["summary"].get("favors", "")),
        "result": str(folder / "result.json"),
        "ratios": str(folder / "ratios.tsv"),
        "report": str(folder / "report.html"),
    }


# ---- running ----------------------------------------------------------------------------------


def run_units(
    units: Sequence[Unit],
    settings: Settings,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    stop: bool = False,
) -> CohortResult:
    """Run all units and say what became of each.

    Parameters
    ----------
    units : sequence of Unit
        In any number.
    settings : Settings
        The same for all.
    executor : Executor or None
        Where they run; here if None.
    progress : callable or None
        Called with the units done and the units in all.
    stop : bool
        Begin nothing more once a unit has failed.

    Returns
    -------
    CohortResult
        In the order of `units`; without those that were not begun.
    """
    outcomes: dict[str, Outcome] = {}

    def note(outcome: Outcome) -> None:
        outcomes[outcome.name] = outcome
        if progress is not None:
            progress(len(outcomes), len(units))

    if executor is None:
        for unit in units:
            outcome = run_unit(unit, settings)
            note(outcome)
            if stop and outcome.state == "failed":
                break
    else:
        futures = [executor.submit(run_unit, unit, settings) for unit in units]
        try:
            for unit, future in zip(units, futures, strict=True):
                try:
                    note(future.result())
                except Exception as error:  # noqa: BLE001 - a worker may die of anything
                    message = f"its worker died ({type(error).__name__})"
                    note(Outcome(name=unit.key, state="failed", message=message))
                if stop and outcomes[unit.key].state == "failed":
                    break
        finally:
            for future in futures:
                future.cancel()
    return CohortResult(
        outcomes=tuple(outcomes[unit.key] for unit in units if unit.key in outcomes)
    )


def write_outcomes(result: CohortResult, path: Path) -> None:
    """Write what became of each unit as JSON.

    Parameters
    ----------
    result : CohortResult
        Of a run.
    path : Path
        Replaced if an earlier run wrote it.

    Raises
    ------
    OutputError
        If it cannot be written, or somebody else's file has that name.
    """
    with _writing(path):
        _replace_ours(path, result.to_json().encode(), _OUTCOMES.encode())


# ---- all units together -----------------------------------------------------------------------


def markers(out: Path) -> list[dict[str, Any]]:
    """Return the markers of all units in an output folder, in the order of their places."""
    found = []
    for path in sorted(out.rglob(f"*{STATUS_ENDING}")):
        marker = read_marker(path)
        if marker:
            found.append(marker | {"place": path.relative_to(out).as_posix()})
    return found


def write_pages(out: Path) -> None:
    """Write the page of the cohort and one per participant, from the markers.

    Parameters
    ----------
    out : Path
        The output folder.

    Raises
    ------
    OutputError
        If they cannot be written, or somebody else's file has that name.
    """
    from mrs_necrosis.report.cohort_page import cohort_page

    with _writing(out), locked(out, "cohort"):
        # under the lock, so that the last of several runs sees what all have done
        found = markers(out)
        by_participant: dict[str, list[dict[str, Any]]] = {}
        for marker in found:
            folder = marker["place"].partition("/")[0]
            if folder.startswith("sub-"):
                by_participant.setdefault(folder, []).append(marker)
        mark = b'name="generator" content="mrs_necrosis'
        tables = [name for name in (GROUP_TABLE, "ratios.tsv") if (out / name).exists()]
        pages = {COHORT_PAGE: cohort_page(found, tables=tables)}
        pages |= {
            f"{name}.html": cohort_page(theirs, title=name, up=COHORT_PAGE)
            for name, theirs in by_participant.items()
        }
        for name, text in pages.items():
            _replace_ours(out / name, text.encode(), mark)


def write_group_table(out: Path, name: str = GROUP_TABLE) -> Path:
    """Gather the ratios of all units that are done in one tidy table with its dictionary.

    Parameters
    ----------
    out : Path
        The output folder.
    name : str
        Name of the table; the dictionary ends in ``.json``.

    Returns
    -------
    Path
        The table.

    Raises
    ------
    FormatError
        If nothing was analysed yet.
    OutputError
        If it cannot be written, or somebody else's file has that name.
    """
    from mrs_necrosis.report.table import COLUMNS, MISSING

    found = markers(out) if out.is_dir() else []
    if not found:
        raise FormatError(out, _NO_RESULTS)
    columns = _GROUP_COLUMNS | {key: text for key, text in COLUMNS.items() if key != "source"}
    lines = ["\t".join(columns)]
    for marker in found:
        if marker.get("state") != "done":
            continue
        summary = marker.get("summary", {})
        ids = [summary.get("participant"), summary.get("session"), marker.get("unit")]
        for table in filter(_RATIOS.search, marker["files"]):
            rows = (out / table).read_text("utf-8").splitlines()[1:]
            begin = "\t".join(_plain_cell(text) or MISSING for text in ids)
            # the first column is the source, which "acquisition" names
            lines += [f"{begin}\t{row.partition(chr(9))[2]}" for row in rows]
    header = lines[0].encode()
    with _writing(out), locked(out, "cohort"):
        path = out / name
        _replace_ours(path, ("\n".join(lines) + "\n").encode(), header)
        text = json.dumps(dictionary(columns), indent=2) + "\n"
        _replace_ours(path.with_suffix(".json"), text.encode(), b'"participant_id"')
    return path


def _plain_cell(text: object) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]", "", str(text)) if isinstance(text, str) else ""


def _replace_ours(path: Path, data: bytes, mark: bytes) -> None:
    if path.exists():
        with path.open("rb") as file:
            if mark not in file.read(4096):
                msg = f"{path.name} exists and is not a result of mrs-necrosis; move it away"
                raise OutputError(msg)
    _replace(path, data)


def _replace(path: Path, data: bytes) -> None:
    sweep(path)
    with contextlib.suppress(OSError):
        if path.read_bytes() == data:
            return
    write_atomically(path, data)


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"cannot write to {name_of(out)}: {error.strerror or type(error).__name__}"
        raise OutputError(msg) from error
