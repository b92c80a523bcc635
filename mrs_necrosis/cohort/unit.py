"""One acquisition of a cohort: analysed, written whole, and marked as done.

Beside its results every unit has a marker, ``*_desc-status.json``, with a fingerprint of the
input, the options and the version, and the checksum of every file. A unit whose marker still
holds is left alone. Only files that a marker lists are ever replaced or removed. A lock that
dies with its process keeps two runs from writing the same unit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import tempfile
import traceback
import warnings
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import mrs_necrosis
from mrs_necrosis.cohort.dataset import check_consistency, given_by, reported
from mrs_necrosis.errors import FormatError, MRSNecrosisError, MRSNecrosisWarning, OutputError
from mrs_necrosis.staging import held, sweep, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mrs_necrosis.analysis import Analysis
    from mrs_necrosis.spectra import SpectralData

STATUS_SCHEMA: Final = "mrs-necrosis/status/1"
STATUS_ENDING: Final = "_desc-status.json"
LOCKS: Final = ".mrs_necrosis"
"""Hidden folder of the locks."""

LOGS: Final = "logs"
"""Folder for what nobody foresaw."""

_LOGGER = logging.getLogger(__name__)
_SHOWN_RATIOS: Final = ("Cho/Cr", "Cho/NAA", "NAA/Cr", "LL/Cr")

State = Literal["done", "unchanged", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One thing to analyse and where its results go.

    Parameters
    ----------
    name : str
        Base of the names of its files: ``"sub-01_acq-press"``.
    source : Path
        The file with the spectra.
    peaks : str
        Peak values in words, such as ``"Cho=33671 Cr=29534"``; `source` is then the table that
        they stand in.
    water : Path or None
        Its water reference.
    anatomy, lesion : Path or None
        Of a grid: the image to lay its maps on, and the lesion's mask.
    folder : str
        Where the results go, relative to the output, with forward slashes.
    figures : str
        Where the figures go; the same as `folder` if empty.
    suffix : str
        ``"svs"`` or ``"mrsi"`` in a BIDS dataset; empty otherwise.
    tag : str
        Added to each ``desc-`` where two files of a dataset would give the same names.
    participant, session : str or None
        Labels, for the tables.
    given : mapping
        What the user says of the acquisition.
    metadata : mapping or None
        The sidecar's fields, of a BIDS dataset.
    sources : tuple of str
        BIDS URIs of the inputs.
    notes : tuple of str
        What a reader must know before the analysis has begun.
    problem : str
        Why it cannot be analysed; empty if it can.
    """

    name: str
    source: Path
    peaks: str = ""
    water: Path | None = None
    anatomy: Path | None = None
    lesion: Path | None = None
    folder: str = ""
    figures: str = ""
    suffix: str = ""
    tag: str = ""
    participant: str | None = None
    session: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] | None = None
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def key(self) -> str:
        """Name that no other unit of the cohort has."""
        return f"{self.name}{'_' if self.suffix else ''}{self.suffix}"

    def path(self, description: str, ending: str, *, folder: str | None = None) -> str:
        """Return the name of one output, relative to the output folder."""
        place = self.folder if folder is None else folder
        suffix = "_mrs" if self.suffix else ""
        return f"{place}/{self.name}_desc-{description}{self.tag}{suffix}{ending}"

    @property
    def marker(self) -> str:
        """Name of the marker, relative to the output folder."""
        return f"{self.folder}/{self.name}{f'_{self.tag}' if self.tag else ''}{STATUS_ENDING}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is the same for every unit.

    Parameters
    ----------
    out : Path
        The output folder.
    keywords : mapping
        Of ``analyze``; what `Unit.given` says comes on top.
    figures : bool
        Whether to draw; drawing takes three times as long as analysing.
    overwrite : bool
        Redo what is done.
    work : Path or None
        For temporary files.
    threads : int or None
        Of one fit; as many as there are processors if None.
    """

    out: Path
    keywords: Mapping[str, Any] = field(default_factory=dict)
    figures: bool = True
    overwrite: bool = False
    work: Path | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one unit.

    Parameters
    ----------
    name : str
        The unit's key.
    state : {"done", "unchanged", "failed"}
        ``"unchanged"`` was done by an earlier run.
    message : str
        Why it failed, in one sentence; empty otherwise.
    is_output_error : bool
        Whether it failed because its results could not be written.
    """

    name: str
    state: State
    message: str = ""
    is_output_error: bool = False


def run_unit(unit: Unit, settings: Settings) -> Outcome:
    """Analyse one unit and write its results, unless they are there already.

    Parameters
    ----------
    unit : Unit
        What to analyse.
    settings : Settings
        How, and where to.

    Returns
    -------
    Outcome
        A failure is an outcome; only an interruption is raised.
    """
    try:
        with locked(settings.out, unit.key):
            return _run_locked(unit, settings)
    except Exception as error:  # noqa: BLE001 - one bad unit must not stop the rest
        return _failure(unit, error)


def _run_locked(unit: Unit, settings: Settings) -> Outcome:
    before = read_marker(settings.out / unit.marker)
    fingerprint = ""
    try:
        if unit.problem:
            raise FormatError(unit.source, unit.problem)  # noqa: TRY301 - handled as the others
        fingerprint = _fingerprint(unit, settings)
        if (
            not settings.overwrite
            and before.get("state") == "done"
            and before.get("fingerprint") == fingerprint
            and _all_there(settings.out, before["files"])
        ):
            return Outcome(name=unit.key, state="unchanged")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", MRSNecrosisWarning)
            analysis = analyze_unit(unit, settings)
            contents = render_unit(unit, settings, analysis)
        notes = [*unit.notes, *dict.fromkeys(str(warning.message) for warning in caught)]
        if analysis.grid_result is not None:
            notes += [note for note in analysis.grid_result.notes if "lesion mask" in note]
        _write(unit, settings, before, contents, {
            "fingerprint": fingerprint, "options": _options(settings),
            "summary": _summary(unit, analysis), "notes": notes,
        })  # fmt: skip
    except Exception as error:  # noqa: BLE001 - one bad unit must not stop the rest
        outcome = _failure(unit, error)
        document = {"fingerprint": fingerprint, "message": outcome.message, "notes": unit.notes}
        # a full disk must not hide why the unit failed
        with contextlib.suppress(OSError, OutputError):
            kept = dict(before.get("files", {}))
            if not outcome.is_output_error:
                # what an earlier run wrote belongs to another input
                _remove(settings.out, kept)
                kept = {}
            if not isinstance(error, (MRSNecrosisError, OSError)):
                kept |= _write_crash(unit, settings.out, error)
            _mark(unit, settings.out, "failed", kept, document)
        return outcome
    return Outcome(name=unit.key, state="done")


def _failure(unit: Unit, error: Exception) -> Outcome:
    if isinstance(error, FormatError):
        # without the file's name, but with what it is
        others = {unit.water: "water reference", unit.anatomy: "anatomical image",
                  unit.lesion: "mask of the lesion"}  # fmt: skip
        message = error.problem
        if error.path in others and error.path != unit.source:
            message = f"its {others[error.path]} {message}"
    elif isinstance(error, MRSNecrosisError):
        message = str(error)
    elif isinstance(error, OSError):
        message = f"its results cannot be written: {error.strerror or type(error).__name__}"
    else:
        # the text of an unforeseen error may quote a header
        message = f"internal error ({type(error).__name__}); {LOGS}/{unit.key}.txt says where"
        _LOGGER.debug("unit failed", exc_info=error)
    is_output = isinstance(error, (OutputError, OSError))
    return Outcome(name=unit.key, state="failed", message=message, is_output_error=is_output)


def _write_crash(unit: Unit, out: Path, error: Exception) -> dict[str, str]:
    """Write where an unforeseen error came from: places in the code, no values and no message."""
    lines = [f"mrs_necrosis {mrs_necrosis.__version__}: {type(error).__name__}, last call last"]
    for frame, line in traceback.walk_tb(error.__traceback__):
        lines.append(f"{frame.f_globals.get('__name__')}:{line} in {frame.f_code.co_name}")
    name, content = f"{LOGS}/{unit.key}.txt", ("\n".join(lines) + "\n").encode()
    (out / LOGS).mkdir(exist_ok=True)
    write_atomically(out / name, content)
    return {name: hashlib.sha256(content).hexdigest()}


def analyze_unit(unit: Unit, settings: Settings) -> Analysis:
    """Return the analysis of one unit.

    Parameters
    ----------
    unit : Unit
        What to analyse.
    settings : Settings
        Options.

    Returns
    -------
    Analysis
        The same whoever computes it.

    Raises
    ------
    MRSNecrosisError
        If the input cannot be used.
    """
    from mrs_necrosis.pipeline import analyze
    from mrs_necrosis.provenance import sha256

    keywords = {**settings.keywords, **unit.given, "threads": settings.threads}
    if unit.metadata is None:
        source = unit.peaks or unit.source
        return analyze(source, water_reference=unit.water, label=unit.name, **keywords)
    data = _read(unit, unit.metadata)
    if unit.anatomy or unit.lesion:
        if _is_placed(data):
            keywords |= {"anatomy": unit.anatomy, "lesion_mask": unit.lesion}
        else:
            msg = "the file does not say where a grid lies: anatomy and mask were not used"
            warnings.warn(msg, MRSNecrosisWarning, stacklevel=2)
    analysis = analyze(data, label=unit.key, **keywords)
    origin = replace(
        analysis.source,
        sha256=sha256(unit.source),
        water_sha256=None if unit.water is None else sha256(unit.water),
    )
    return replace(analysis, source=origin)


def why_refused(unit: Unit) -> str:
    """Return why a unit of a dataset would be refused, without analysing it.

    Parameters
    ----------
    unit : Unit
        Its files are read and looked at as ``run_unit`` would.

    Returns
    -------
    str
        One sentence; empty if only the analysis itself could still fail.
    """
    from mrs_necrosis.inputs import surroundings
    from mrs_necrosis.preprocessing.chain import check_data

    if unit.problem:
        return unit.problem
    try:
        data = _read(unit, unit.metadata or {})
        if _is_placed(data):
            surroundings(unit.lesion, anatomy=unit.anatomy)
        check_data(data)
    except MRSNecrosisError as error:
        return _failure(unit, error).message
    return ""


def _read(unit: Unit, metadata: Mapping[str, Any]) -> SpectralData:
    """Return the data of a dataset's unit with what its sidecar says, too."""
    from mrs_necrosis.io import read

    data = read(unit.source, water_reference=unit.water)
    check_consistency(metadata, data, unit.source)
    known = given_by(metadata, data, unit.source)
    return replace(data, acquisition=replace(data.acquisition, **known))


def _is_placed(data: SpectralData) -> bool:
    return data.affine is not None and data.fid.shape[:3] != (1, 1, 1)


def render_unit(unit: Unit, settings: Settings, analysis: Analysis) -> dict[str, bytes]:
    """Return every output file of one unit, by its path in the output folder.

    Parameters
    ----------
    unit : Unit
        For the names.
    settings : Settings
        Whether to draw.
    analysis : Analysis
        What to write.

    Returns
    -------
    dict of str to bytes
        The same bytes for the same analysis and versions.
    """
    from mrs_necrosis.report.files import MAPS, render
    from mrs_necrosis.report.table import COLUMNS

    stem = unit.name if unit.suffix else "grid"
    formats = ("svg",) if settings.figures else ()
    page = unit.path("grid", ".html").rpartition("/")[2] if unit.suffix else "grid.html"
    said = reported(unit.metadata or {})
    rendered = render(analysis, formats=formats, stem=stem, grid_page=page, said=said)
    if not unit.suffix:
        return {f"{unit.folder}/{name}": content for name, content in rendered.items()}
    contents = {
        unit.path("fit", ".json"): rendered.pop("result.json"),
        unit.path("ratios", ".tsv"): rendered.pop("ratios.tsv"),
        unit.path("ratios", ".json"): _json(dictionary(COLUMNS)),
        unit.path("report", ".html"): rendered.pop("report.html"),
        unit.path("provenance", ".json"): _json({
            **dict(analysis.provenance),
            "input": {"sha256": analysis.source.sha256,
                      "water_sha256": analysis.source.water_sha256},
            "Sources": list(unit.sources),
        }),
    }  # fmt: skip
    contents |= _preprocessed(unit, settings, analysis)
    if analysis.grid_result is not None:
        contents |= _quality_mask(unit, analysis)
    for name, content in rendered.items():
        folder, _, file = name.rpartition("/")
        if folder == MAPS:
            contents[f"{unit.folder}/{file}"] = content
        elif name.endswith((".html", ".tsv")):
            description, dot, ending = file.rpartition(".")
            contents[unit.path(description, dot + ending)] = content
        else:
            description, dot, ending = file.rpartition(".")
            contents[unit.path(description, dot + ending, folder=unit.figures)] = content
    return contents


def _quality_mask(unit: Unit, analysis: Analysis) -> dict[str, bytes]:
    """Return which voxels are good enough to be looked at."""
    from mrs_necrosis.lesion.masks import usable_voxels
    from mrs_necrosis.maps import Map
    from mrs_necrosis.maps.files import map_files
    from mrs_necrosis.quality import QualityThresholds

    assert analysis.fit is not None
    limits = QualityThresholds()
    mask = Map(
        desc="qcmask",
        values=usable_voxels(analysis.fit.quality, limits),
        title="Quality",
        description=f"1 where the fit converged, SNR is at least {limits.snr_fail:g} and the "
        f"linewidth at most {limits.linewidth_fail_ppm:g} ppm",
        kind="code",
        key={0: "not to be used", 1: "good enough"},
    )
    files = map_files(unit.name, [mask], affine=analysis.fit.spectra.affine)
    return {f"{unit.folder}/{name}": content for name, content in files.items()}


def _preprocessed(unit: Unit, settings: Settings, analysis: Analysis) -> dict[str, bytes]:
    """Return what was fitted, as NIfTI-MRS with the sidecar that BIDS requires."""
    from mrs_necrosis.io import write_nifti_mrs

    spectra = analysis.spectra
    assert spectra is not None
    acquisition = spectra.acquisition
    known = {
        "ResonantNucleus": [acquisition.nucleus],
        "SpectrometerFrequency": [acquisition.spectrometer_frequency_mhz],
        "SpectralWidth": acquisition.spectral_width_hz,
        "EchoTime": acquisition.echo_time_s,
        "RepetitionTime": acquisition.repetition_time_s,
        "MixingTime": acquisition.mixing_time_s,
        "NumberOfSpectralPoints": spectra.n_samples,
        "Sources": list(unit.sources) or None,
        "Description": "One FID per voxel as it was fitted: coils combined, averages aligned, "
        "residual water removed, phased and referenced as far as the data asked for it",
    }
    name = f"{unit.folder}/{unit.name}_desc-preproc_{unit.suffix}"
    with tempfile.TemporaryDirectory(dir=settings.work, prefix="mrs-necrosis-") as folder:
        path = Path(folder) / "preprocessed.nii.gz"
        write_nifti_mrs(path, spectra)
        content = path.read_bytes()
    sidecar = {key: value for key, value in known.items() if value is not None}
    return {f"{name}.json": _json(sidecar), f"{name}.nii.gz": content}


def dictionary(columns: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return a data dictionary as BIDS wants it beside a table."""
    return {name: {"Description": text} for name, text in columns.items()}


def _summary(unit: Unit, analysis: Analysis) -> dict[str, Any]:
    """Return the unit's line of the cohort page."""
    from mrs_necrosis.report.document import plain
    from mrs_necrosis.report.rows import ratio_rows

    summary: dict[str, Any] = {
        "participant": unit.participant,
        "session": unit.session,
        "echo_time_s": analysis.echo_time_s,
        "field_t": analysis.field_t,
        "voxels": int(analysis.areas.values[..., 0].size),
        "ratios": {},
    }
    if analysis.assessment is not None:
        summary["favors"] = analysis.assessment.favors.value
        summary["likelihood_ratio"] = plain(analysis.assessment.deciding.likelihood_ratio)
        for row in ratio_rows(analysis, [analysis.first_voxel]):
            if row.name in _SHOWN_RATIOS:
                summary["ratios"][row.name] = {
                    "value": row.value, "text": row.value_text, "interval": row.interval_text,
                }  # fmt: skip
    elif analysis.grid_assessment is not None:
        counts = analysis.grid_assessment.counts()
        summary["counts"] = {str(favors): int(count) for favors, count in counts.items()}
        if analysis.grid_result is not None and analysis.grid_result.lesion is not None:
            summary["lesion"] = analysis.grid_result.lesion.favors.value
    quality = analysis.quality
    if quality is not None:
        import numpy as np

        for name in ("snr", "linewidth_hz", "linewidth_ppm"):
            values = getattr(quality, name)
            finite = values[np.isfinite(values)]
            summary[name] = float(np.median(finite)) if finite.size else None
    return summary


# ---- files ------------------------------------------------------------------------------------


def _write(
    unit: Unit,
    settings: Settings,
    before: Mapping[str, Any],
    contents: Mapping[str, bytes],
    document: Mapping[str, Any],
) -> None:
    out = settings.out
    ours = dict(before.get("files", {}))
    files = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    for name, digest in files.items():
        target = out / name
        if name not in ours and target.exists() and _digest(target) != digest:
            msg = f"{target.name} exists and is not a result of mrs-necrosis; move it away"
            raise OutputError(msg)
    # from here on a killed run has said which files are its own
    _mark(unit, out, "writing", ours | files, document)
    sweep(*(out / name for name in contents))
    for name, data in contents.items():
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, data)
    _remove(out, {name: digest for name, digest in ours.items() if name not in files})
    _mark(unit, out, "done", files, document)


def _mark(
    unit: Unit, out: Path, state: str, files: Mapping[str, str], document: Mapping[str, Any]
) -> None:
    marker = out / unit.marker
    if marker.exists() and not read_marker(marker):
        msg = f"{marker.name} exists and is not a result of mrs-necrosis; move it away"
        raise OutputError(msg)
    marker.parent.mkdir(parents=True, exist_ok=True)
    sweep(marker)
    content = {
        "schema": STATUS_SCHEMA,
        "unit": unit.key,
        "state": state,
        "version": mrs_necrosis.__version__,
        **document,
        "files": dict(sorted(files.items())),
    }
    if "summary" not in content:
        content["summary"] = {"participant": unit.participant, "session": unit.session}
    write_atomically(marker, _json(content))


def read_marker(path: Path) -> dict[str, Any]:
    """Return a unit's marker; empty if there is none that is ours.

    Parameters
    ----------
    path : Path
        Where it would be.

    Returns
    -------
    dict
        Only with names of files that lie below the unit's own folders.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("schema") != STATUS_SCHEMA:
        return {}
    files = content.get("files")
    content["files"] = {
        name: digest
        for name, digest in (files if isinstance(files, dict) else {}).items()
        if re.fullmatch(r"[A-Za-z0-9_][\w.+-]*(/[A-Za-z0-9_][\w.+-]*)*", name)
        and isinstance(digest, str)
    }
    return content


def _fingerprint(unit: Unit, settings: Settings) -> str:
    """Return a checksum of everything that decides about the unit's results."""
    from mrs_necrosis.provenance import sha256

    decides = [
        mrs_necrosis.__version__,
        unit.peaks or sha256(unit.source),
        *(
            None if path is None else sha256(path)
            for path in (unit.water, unit.anatomy, unit.lesion)
        ),
        unit.metadata,
        dict(unit.given),
        dict(settings.keywords),
        settings.figures,
        unit.sources,
        unit.notes,
    ]
    text = json.dumps(decides, sort_keys=True, default=_told)
    return hashlib.sha256(text.encode()).hexdigest()


def _options(settings: Settings) -> str:
    """Return a checksum of what was asked of every unit: labels of others do not compare."""
    asked = [mrs_necrosis.__version__, dict(settings.keywords)]
    text = json.dumps(asked, sort_keys=True, default=_told)
    return hashlib.sha256(text.encode()).hexdigest()


def _told(value: object) -> object:
    """Return what an argument says, where JSON has no word for it."""
    from mrs_necrosis.fitting.model import Model

    if not isinstance(value, Model):
        return repr(value)
    sampled = [c.fid.tobytes().hex() for c in value.components if c.fid is not None]
    return [repr(getattr(value, one.name)) for one in fields(value)] + sampled


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _all_there(out: Path, files: Mapping[str, str]) -> bool:
    return bool(files) and all(_digest(out / name) == digest for name, digest in files.items())


def _remove(out: Path, files: Mapping[str, str]) -> None:
    """Remove files of an earlier run; one that was changed since is somebody's and stays."""
    for name, digest in files.items():
        if _digest(out / name) == digest:
            (out / name).unlink(missing_ok=True)


def _json(content: Mapping[str, Any]) -> bytes:
    from mrs_necrosis.report.document import plain

    text = json.dumps(plain(dict(content)), indent=2, ensure_ascii=True, allow_nan=False)
    return (text + "\n").encode()


@contextlib.contextmanager
def locked(out: Path, key: str) -> Iterator[None]:
    """Hold the lock of one unit; the system releases it when the process dies."""
    folder = out / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / f"{key}.lock") as is_held:
        if not is_held:  # whole files are still written at once
            _LOGGER.info("no lock on this file system")
        yield
