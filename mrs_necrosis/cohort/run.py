"""One acquisition of a cohort: analysed, written whole, and marked as done."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import tempfile
import traceback
import warnings
from dataclasses import fields, is_dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import mrs_necrosis
from mrs_necrosis.cohort.derivatives import dictionary
from mrs_necrosis.cohort.marker import (
    LOGS,
    all_there,
    as_json,
    locked,
    mark,
    read_marker,
    remove_ours,
    write_results,
)
from mrs_necrosis.cohort.sidecar import check_consistency, given_by, reported
from mrs_necrosis.cohort.unit import Outcome, Settings, Unit
from mrs_necrosis.errors import FormatError, MRSNecrosisError, MRSNecrosisWarning, OutputError
from mrs_necrosis.staging import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mrs_necrosis.analysis import Analysis
    from mrs_necrosis.quality import QualityThresholds
    from mrs_necrosis.spectra import SpectralData

_LOGGER = logging.getLogger(__name__)
_IMAGES: Final = frozenset({"lesion_mask", "contralateral_mask", "anatomy"})
_SHOWN_RATIOS: Final = ("Cho/Cr", "Cho/NAA", "NAA/Cr", "LL/Cr")


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
            and all_there(settings.out, before["files"])
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
        write_results(unit, settings.out, before, contents, {
            "fingerprint": fingerprint, "options": _options(settings),
            "summary": _summary(unit, analysis, _limits(settings)), "notes": notes,
        })  # fmt: skip
    except Exception as error:  # noqa: BLE001 - one bad unit must not stop the rest
        outcome = _failure(unit, error)
        document = {"fingerprint": fingerprint, "message": outcome.message, "notes": unit.notes}
        # a full disk must not hide why the unit failed
        with contextlib.suppress(OSError, OutputError):
            kept = dict(before.get("files", {}))
            if not outcome.is_output_error:
                # what an earlier run wrote belongs to another input
                remove_ours(settings.out, kept)
                kept = {}
            if not isinstance(error, (MRSNecrosisError, OSError)):
                kept |= _write_crash(unit, settings.out, error)
            mark(unit, settings.out, "failed", kept, document)
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
            msg = "the file does not say where its voxels lie: anatomy and mask were not used"
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
    return data.affine is not None


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
        unit.path("ratios", ".json"): as_json(dictionary(COLUMNS)),
        unit.path("report", ".html"): rendered.pop("report.html"),
        unit.path("provenance", ".json"): as_json({
            **dict(analysis.provenance),
            "input": {"sha256": analysis.source.sha256,
                      "water_sha256": analysis.source.water_sha256},
            "Sources": list(unit.sources),
        }),
    }  # fmt: skip
    contents |= _preprocessed(unit, settings, analysis)
    if analysis.grid_result is not None:
        contents |= _quality_mask(unit, analysis, _limits(settings))
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


def _limits(settings: Settings) -> QualityThresholds:
    from mrs_necrosis.quality import QualityThresholds

    return settings.keywords.get("thresholds") or QualityThresholds()


def _quality_mask(unit: Unit, analysis: Analysis, limits: QualityThresholds) -> dict[str, bytes]:
    """Return which voxels are good enough to be looked at."""
    from mrs_necrosis.lesion.masks import usable_voxels
    from mrs_necrosis.maps import Map
    from mrs_necrosis.maps.files import map_files

    assert analysis.fit is not None
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
        "InversionTime": acquisition.inversion_time_s,
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
    return {f"{name}.json": as_json(sidecar), f"{name}.nii.gz": content}


def _summary(unit: Unit, analysis: Analysis, limits: QualityThresholds) -> dict[str, Any]:
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
        "snr_fail": limits.snr_fail,
        "linewidth_fail_ppm": limits.linewidth_fail_ppm,
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
        _with_contents(settings.keywords),
        settings.figures,
        unit.sources,
        unit.notes,
    ]
    return _checksum(decides)


def _options(settings: Settings) -> str:
    """Return a checksum of what was asked of every unit: labels of others do not compare."""
    return _checksum([mrs_necrosis.__version__, _with_contents(settings.keywords)])


def _with_contents(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords with the checksum of a mask or an image in place of its path."""
    from mrs_necrosis.provenance import sha256

    return {
        name: sha256(Path(value)) if isinstance(value, (str, PathLike)) and name in _IMAGES
        else value
        for name, value in keywords.items()
    }  # fmt: skip


def _checksum(decides: list[Any]) -> str:
    text = json.dumps(decides, sort_keys=True, default=_told)
    return hashlib.sha256(text.encode()).hexdigest()


def _told(value: object) -> object:
    """Return what an argument says, where JSON has no word for it."""
    import numpy as np

    from mrs_necrosis.fitting.model import Model

    if isinstance(value, np.ndarray):  # of a large one repr tells the corners
        return [str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    if is_dataclass(value) and not isinstance(value, (type, Model)):  # some are short in repr
        return [type(value).__name__, *(getattr(value, one.name) for one in fields(value))]
    if not isinstance(value, Model):
        return repr(value)
    sampled = [c.fid.tobytes().hex() for c in value.components if c.fid is not None]
    return [repr(getattr(value, one.name)) for one in fields(value)] + sampled
