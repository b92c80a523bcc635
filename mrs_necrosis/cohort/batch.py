"""Cohorts: a BIDS dataset or a table of inputs, in one process or on a cluster.

Any ``concurrent.futures.Executor`` runs the units, or what ``cluster`` gives; the results are the
same to the last bit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor as FuturesExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from mrs_necrosis.arguments import Progress, check_folder
from mrs_necrosis.cohort.dask_cluster import DaskExecutor
from mrs_necrosis.cohort.derivatives import check_ours, prepare, replace_ours, writing
from mrs_necrosis.cohort.gathering import NO_RESULTS, markers, write_group_table, write_pages
from mrs_necrosis.cohort.listing import LABEL, dataset_units, table_units
from mrs_necrosis.cohort.marker import read_marker
from mrs_necrosis.cohort.run import run_unit
from mrs_necrosis.cohort.unit import Outcome, Settings, Unit
from mrs_necrosis.errors import FormatError, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

Executor = FuturesExecutor | DaskExecutor

MANY_UNITS: Final = 20
"""From here on starting a local cluster costs less than it saves."""

_OUTCOMES: Final = "mrs-necrosis/outcomes/1"


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
        check_ours(out)
        if level == "group":
            write_group_table(out)
        elif not (out.is_dir() and markers(out)):
            raise FormatError(out, NO_RESULTS)
        write_pages(out)
        return CohortResult()
    keywords = _with_basis(keywords)
    units = dataset_units(
        root, participants=participants, sessions=sessions, filter_file=filter_file,
        derivatives=derivatives, deidentify=deidentify, validate=validate,
    )  # fmt: skip
    prepare(out, {} if deidentify else {"raw": root, **(derivatives or {})}, root)
    settings = Settings(
        out=out, keywords=keywords, figures=figures, overwrite=overwrite, work=_work(work_dir),
        threads=threads,
    )  # fmt: skip
    result = run_units(
        units, settings, executor=executor, progress=progress, stop=stop_on_first_crash
    )
    write_pages(out)
    return result


def _with_basis(keywords: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords with the basis set read: once, and its content decides what is stale."""
    from mrs_necrosis.io.basis import given_basis

    if keywords.get("basis") is None:
        return keywords
    return {**keywords, "basis": given_basis(keywords["basis"])}


def _work(folder: str | os.PathLike[str] | None) -> Path | None:
    if folder is None:
        return None
    with writing(Path(folder)):
        Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


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
    keywords = _with_basis(keywords)
    units = table_units(table)
    out = Path(out_dir)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        out=out, keywords=keywords, figures=figures, overwrite=overwrite, threads=threads
    )
    result = run_units(units, settings, executor=executor, progress=progress)
    if markers(out):  # a full disk holds none, and write_pages says so
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
    if not isinstance(label, str) or not LABEL.fullmatch(label):
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
    with writing(Path(out_dir)):
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
    _compile_first(units)

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


def _compile_first(units: Sequence[Unit]) -> None:
    """Compile the fit before all, where a large grid would compile it between small ones.

    Those before it would differ in the last bit from those after it, and by who runs them.
    """
    from mrs_necrosis.fitting.solver import FEW_VOXELS, choose_backend

    grids = sum(unit.suffix == "mrsi" for unit in units)
    if grids > 1 and choose_backend("auto", FEW_VOXELS) == "compiled":
        from mrs_necrosis.fitting import compiled

        compiled.ensure_compiled()


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
    with writing(path):
        replace_ours(path, result.to_json().encode(), _OUTCOMES.encode())
