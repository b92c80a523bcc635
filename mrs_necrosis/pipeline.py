"""The house's sentence as code: read, preprocess, fit, ratio, assess."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import mrs_necrosis
from mrs_necrosis.analysis import Analysis, Source
from mrs_necrosis.areas import QUANTITIES, PeakAreas, as_printed
from mrs_necrosis.arguments import (
    NUMBER,
    check_executor,
    check_folder,
    check_number,
    check_path,
    check_probability,
    check_progress,
    check_range,
    check_type,
    check_whole,
)
from mrs_necrosis.constants import FIELD_T, PEAK_PPM, PROTON_MHZ_PER_TESLA, STANDARD_RATIOS
from mrs_necrosis.errors import FormatError, SignalError
from mrs_necrosis.ratios import standard_ratios
from mrs_necrosis.spectra import Acquisition, Spectra, SpectralData

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mrs_necrosis.classifier import Context, GridAssessment
    from mrs_necrosis.criteria import Criterion
    from mrs_necrosis.fitting import Fit, Model
    from mrs_necrosis.fitting.pieces import Executor
    from mrs_necrosis.io import PeakTable
    from mrs_necrosis.lesion import PointSpread
    from mrs_necrosis.maps import GridResult, Surroundings

    Progress = Callable[[int, int], None]
    Image = str | os.PathLike[str] | tuple[NDArray[Any], NDArray[np.float64]]

Input = (
    str | os.PathLike[str] | SpectralData | Spectra | PeakAreas | Mapping[str, float]
    | Sequence[str]
)  # fmt: skip
"""What can be analysed: a file, what was read from one, or peak values."""

_UNFINISHED = ".unfinished"
"""Folder of a fit's finished pieces, below the output; removed when all is written."""

_LONG_WORK = 512
"""Fewer voxels are done again sooner than kept."""

_LOWEST_MHZ = 8.0
"""Below, the gap that the fit leaves beside water reaches NAA; scanners begin at 20 MHz."""

_CAN_BE_GIVEN = frozenset({
    "echo_time_s", "first_echo_time_s", "repetition_time_s", "mixing_time_s", "sequence",
    "spectrometer_frequency_mhz", "dwell_time_s", "nucleus", "reference_ppm", "n_samples",
    "field_t", "quantity",
})  # fmt: skip

_SOFTWARE = ("numpy", "scipy", "numba")
_TABLES = frozenset({".toml", ".csv", ".tsv"})


def analyze(
    source: Input,
    *,
    water_reference: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    figures: bool = True,
    dicom_source: str | os.PathLike[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    model: Model | Literal["metabolites", "peaks"] | None = None,
    fit_range_ppm: tuple[float, float] | None = None,
    criteria: Sequence[Criterion] | None = None,
    prior: float = 0.5,
    context: Context | None = None,
    level: float = 0.95,
    label: str | None = None,
    lesion_mask: Image | None = None,
    contralateral_mask: Image | None = None,
    anatomy: Image | None = None,
    point_spread: PointSpread = "hamming",
    midline_mm: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
    executor: Executor | None = None,
    threads: int | None = None,
    **acquisition: Any,
) -> Analysis:
    """Analyse one acquisition or peak table, from the source to the assessment.

    Parameters
    ----------
    source : path, SpectralData, Spectra, PeakAreas, mapping or sequence of str
        A scanner's file, a peak table (a file, values by name, or words such as ``"LL=108964"``),
        or what was read from one. A peak table goes straight to the ratios.
    water_reference : path or None
        Second file with the water reference of the same voxels.
    out : path or None
        Folder for ``result.json``, ``ratios.tsv``, figures and ``report.html``; of a grid also
        ``grid.html`` and ``maps/``. A long fit that is interrupted goes on from there.
    overwrite : bool
        Replace an earlier result in `out`.
    figures : bool
        Draw in `out`; drawing takes longer than all the rest of a single voxel.
    dicom_source : path or None
        Write DICOM to `out`, too: of a voxel a structured report with patient and study of this
        object, of a grid Parametric Maps on the images of one series in this folder.
    preprocessing : mapping or None
        Keyword arguments of ``preprocess``.
    model : Model, "metabolites", "peaks" or None
        Chosen from the acquisition if None.
    fit_range_ppm : tuple of float or None
        Fit only this, because something was taken out of the rest of the data; nothing is said
        of peaks outside it.
    criteria : sequence of Criterion or None
        The shipped ones if None.
    prior : float
        Prior probability of recurrence.
    context : Context or None
        What else is known of the case: time since irradiation, perfusion, ….
    level : float
        Coverage of the intervals.
    label : str or None
        What the source is called in the outputs. File names are not written, because they may
        name a person.
    lesion_mask, contralateral_mask, anatomy : path, (array, affine) or None
        Of a grid: where the lesion is (any space), where normal tissue is (found by itself if
        None), and what to lay the maps on. A mask holds shares between 0 and 1, or labels in
        whole numbers, of which all above 0 count.
    point_spread : {"hamming", "sinc", "box"}
        Response of a voxel of the grid, for the masks.
    midline_mm : float
        World x of the mid-sagittal plane, about which the lesion is mirrored.
    seed : int
        Of the draws from the areas' errors.
    progress : callable or None
        Called with the voxels done and the voxels in all.
    executor : Executor or None
        Where pieces of a grid are fitted: ``concurrent.futures``, or what ``cohort.cluster``
        gives. The numbers are the same as here.
    threads : int or None
        Of the fit here; as many as there are processors if None. The numbers are the same.
    **acquisition
        What the source does not say, as in ``read``: ``echo_time_s=0.03``, …; also ``field_t``,
        and ``quantity`` for a peak table.

    Returns
    -------
    Analysis
        Areas, ratios with intervals, the assessment, and all that led to them.

    Raises
    ------
    MRSNecrosisError
        If the source cannot be read, holds no signal, or is not of protons.
    TypeError, ValueError
        If an argument is not what its name says.
    OutputError
        If `out` holds a result already and `overwrite` is False.

    Examples
    --------
    >>> found = analyze({"LL": 108964, "Cho": 33671, "Cr": 29534, "NAA": 31278})
    >>> round(float(found.ratios["Cho/Cr"].value), 2)
    1.14
    >>> found.assessment.favors.value
    'necrosis-favoring'
    """
    from mrs_necrosis.classifier import assess, assess_grid
    from mrs_necrosis.report import dicom, files

    _check_arguments(
        water_reference=water_reference, out=out, dicom_source=dicom_source,
        preprocessing=preprocessing, model=model,
        fit_range_ppm=fit_range_ppm, context=context, level=level, prior=prior, label=label,
        seed=seed, progress=progress, executor=executor, threads=threads,
        acquisition=acquisition,
    )  # fmt: skip
    if out is not None:
        files.refuse_existing(Path(out), overwrite=overwrite)
    if dicom_source is not None:
        dicom.check_source(Path(dicom_source))
    around = surroundings(lesion_mask, contralateral_mask, anatomy, point_spread, midline_mm)
    data = _read(source, water_reference, acquisition)
    if around is not None:
        _check_position(data)
    if isinstance(data, SpectralData):
        data = _preprocessed(data, preprocessing or {}, progress)
    fitted = None
    keep = None if out is None else Path(out) / _UNFINISHED
    if isinstance(data, Spectra):
        fitted = _fitted(data, model, fit_range_ppm, progress, executor, keep, threads)
    areas = (data.areas if fitted is None else fitted.areas).with_ll()  # type: ignore[union-attr]
    conditions = data.acquisition if isinstance(data, Spectra) else data
    evidence: dict[str, Any] = {
        "quality": None if fitted is None else fitted.quality,
        "acquisition": conditions,
        "criteria": criteria,
        "prior": prior,
        "context": context,
        "seed": seed,
    }
    parameters = {
        "given": acquisition,
        "preprocessing": preprocessing or {},
        "model": None if fitted is None else fitted.model.name,
        "fit_range_ppm": None if fitted is None else list(fitted.model.range_ppm),
        "prior": prior,
        "level": level,
        "seed": seed,
        "context": _known(context),
    }
    single = areas.values.size == len(areas.names)
    of_voxel = of_grid = maps = None
    if single:
        of_voxel = assess(areas, **evidence)
    elif fitted is None:
        of_grid = assess_grid(areas, **evidence)
    else:
        of_grid, maps = _judge_grid(areas, fitted, evidence, around, level)
    analysis = Analysis(
        source=_origin(source, water_reference, data, label),
        areas=areas,
        ratios=standard_ratios(areas),
        assessment=of_voxel,
        grid_assessment=of_grid,
        grid_result=maps,
        spectra=data if isinstance(data, Spectra) else None,
        fit=fitted,
        echo_time_s=conditions.echo_time_s,
        field_t=conditions.field_t,
        level=level,
        provenance=_provenance(data, fitted, parameters),
    )
    if out is not None:
        files.write(analysis, out, overwrite=overwrite, figures=figures, dicom_source=dicom_source)
        shutil.rmtree(Path(out) / _UNFINISHED, ignore_errors=True)
    return analysis


def sha256(path: Path) -> str:
    """Return the checksum of a file, or of all files of a folder in the order of their names.

    Parameters
    ----------
    path : Path
        A file or a folder.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    FormatError
        If there is no such file, or it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        for file in files:
            with file.open("rb") as stream:
                while block := stream.read(2**20):
                    digest.update(block)
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def _check_arguments(
    *,
    water_reference: object,
    out: object,
    dicom_source: object,
    preprocessing: object,
    model: object,
    fit_range_ppm: object,
    context: object,
    level: object,
    prior: object,
    label: object,
    seed: object,
    progress: object,
    executor: object,
    threads: object,
    acquisition: Mapping[str, Any],
) -> None:
    """Refuse a slip before a long fit, and not after it."""
    from mrs_necrosis.classifier import Context

    check_path("water_reference", water_reference, optional=True)
    check_folder("out", out, optional=True)
    check_folder("dicom_source", dicom_source, optional=True)
    if dicom_source is not None and out is None:
        msg = "dicom_source needs out, the folder that the DICOM goes to"
        raise ValueError(msg)
    check_type("preprocessing", preprocessing, Mapping, "a mapping", optional=True)
    if model not in {None, "metabolites", "peaks"}:
        from mrs_necrosis.fitting import Model

        wanted = "a Model, 'metabolites', 'peaks' or None"
        if isinstance(model, str):
            msg = f"model must be {wanted}; got {model!r}"
            raise ValueError(msg)
        check_type("model", model, Model, wanted)
    check_type("context", context, Context, "a Context", optional=True)
    check_probability("level", level)
    check_probability("prior", prior)
    check_type("label", label, str, "text", optional=True)
    check_whole("seed", seed, 0)
    check_progress(progress)
    check_executor(executor)
    check_whole("threads", threads, 1, optional=True)
    if fit_range_ppm is not None:
        given = fit_range_ppm if isinstance(fit_range_ppm, (Sequence, np.ndarray)) else ()
        if len(given) != 2 or not all(isinstance(end, NUMBER) for end in given):
            msg = f"fit_range_ppm must be two numbers in ppm; got {fit_range_ppm!r}"
            raise ValueError(msg)
        if not is_fit_range(given[0], given[1]):
            msg = f"fit_range_ppm must ascend, and hold 2.6 to 3.03 ppm; got {fit_range_ppm!r}"
            raise ValueError(msg)
    unknown = sorted(acquisition.keys() - _CAN_BE_GIVEN)
    if unknown:
        msg = (
            f"analyze takes no {unknown[0]}; what a source does not say is given as "
            f"{', '.join(sorted(_CAN_BE_GIVEN))}"
        )
        raise TypeError(msg)
    check_given(acquisition)


def is_fit_range(low: float, high: float) -> bool:
    """Return whether a range in ppm ascends and holds creatine and what lies beside it."""
    return low < 2.6 < PEAK_PPM["Cr"] < high


def check_given(acquisition: Mapping[str, Any]) -> None:
    """Refuse what is said of an acquisition where it is not what its name says.

    Parameters
    ----------
    acquisition : mapping of str to object
        What ``analyze`` takes; None is unknown.

    Raises
    ------
    ValueError
        If a number is outside its range, or there is no such word.
    """
    from mrs_necrosis.io.reading import checked

    if acquisition.get("field_t") is not None:
        check_range("field_t", acquisition["field_t"], *FIELD_T, "T")
    if acquisition.get("quantity") not in {None, *QUANTITIES}:
        msg = f"quantity must be one of {', '.join(QUANTITIES)}; got {acquisition['quantity']!r}"
        raise ValueError(msg)
    checked({n: v for n, v in acquisition.items() if n not in {"field_t", "quantity"}})


def _read(
    source: Input, water_reference: str | os.PathLike[str] | None, given: Mapping[str, Any]
) -> SpectralData | Spectra | PeakTable:
    from mrs_necrosis.io import PeakTable, is_peak_table, read, read_peak_table
    from mrs_necrosis.io.reading import checked, told

    if water_reference is not None and not isinstance(source, (str, os.PathLike)):
        msg = "water_reference goes with a file; for spectra in memory, give it to read"
        raise ValueError(msg)
    if isinstance(source, PeakAreas):
        if source.covariance is None and source.values.size == len(source.names):
            source = as_printed(source)
        known = _of_a_table(given)
        quantity = known.pop("quantity", source.quantity)
        return PeakTable(replace(source, quantity=quantity), **known)
    if isinstance(source, Mapping):
        for name, value in source.items():
            check_type("the name of a peak", name, str, "text")
            check_number(f"the value of {name}", value)
            if math.isinf(value):
                msg = f"an area cannot be infinite, as that of {name}; NaN means no answer"
                raise ValueError(msg)
        words = [f"{name}={float(value)!r}" for name, value in source.items()]
        return read_peak_table(words, **_of_a_table(given))
    if isinstance(source, (SpectralData, Spectra)):
        acquisition = told(source.acquisition, checked(_without_field(given)))
        data: SpectralData | Spectra = replace(source, acquisition=acquisition)
        return data
    if not isinstance(source, (os.PathLike, str)):
        check_type("source", source, (tuple, list), "a path, spectra or peak areas")
        return read_peak_table(source, **_of_a_table(given))
    if Path(source).suffix.lower() in _TABLES or is_peak_table(source):
        return read_peak_table(source, **_of_a_table(given))
    return read(source, water_reference=water_reference, **_without_field(given))


def _of_a_table(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what can be said of a peak table; the rest has no meaning for it."""
    from mrs_necrosis.io.reading import checked

    known = ("echo_time_s", "field_t", "quantity")
    nucleus = checked({"nucleus": given.get("nucleus")}).get("nucleus", "1H")
    if nucleus != "1H":
        msg = f"the peaks are of {nucleus}; only 1H is analysed"
        raise SignalError(msg)
    table = {name: given[name] for name in known if given.get(name) is not None}
    if given.get("spectrometer_frequency_mhz") is not None:
        table["field_t"] = given["spectrometer_frequency_mhz"] / PROTON_MHZ_PER_TESLA
    return table


def _without_field(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what can be said of a spectrum: a field strength as the frequency of protons.

    Raises
    ------
    SignalError
        If it says what a peak table holds.
    """
    if given.get("quantity") is not None:
        msg = "quantity says what a peak table holds, and this is a spectrum: leave it out"
        raise SignalError(msg)
    spectrum = {name: value for name, value in given.items() if name != "quantity"}
    field_t = spectrum.pop("field_t", None)
    if field_t is not None:
        spectrum["spectrometer_frequency_mhz"] = field_t * PROTON_MHZ_PER_TESLA
    return spectrum


def _preprocessed(
    data: SpectralData, options: Mapping[str, Any], progress: Progress | None
) -> Spectra:
    from mrs_necrosis.preprocessing import preprocess

    return preprocess(data, progress=progress, **options)


def _fitted(
    spectra: Spectra,
    model: Model | str | None,
    fit_range_ppm: tuple[float, float] | None,
    progress: Progress | None,
    executor: Executor | None,
    keep: Path | None,
    threads: int | None,
) -> Fit:
    from mrs_necrosis.fitting import default_model, fit, within

    nucleus = spectra.acquisition.nucleus
    if nucleus not in {None, "1H"}:
        msg = f"the spectra are of {nucleus}; only 1H is analysed"
        raise SignalError(msg)
    mhz = spectra.acquisition.spectrometer_frequency_mhz
    if mhz < _LOWEST_MHZ:
        msg = (
            f"at {mhz:g} MHz water covers the metabolites; the frequency is in MHz, "
            "such as 127.7, and no field in T"
        )
        raise SignalError(msg)
    if not np.isfinite(spectra.fid).all(axis=3).any():
        msg = "no voxel has a finite FID; there is nothing to analyse"
        raise SignalError(msg)
    if not np.nan_to_num(spectra.fid).any():
        msg = "every FID is zero; there is nothing to analyse"
        raise SignalError(msg)
    if isinstance(model, str):
        model = default_model(spectra.acquisition, kind=model)  # type: ignore[arg-type]
    if fit_range_ppm is not None:
        model = within(model or default_model(spectra.acquisition), fit_range_ppm)
    _check_band(
        spectra.acquisition, (model or default_model(spectra.acquisition)).range_ppm
    )  # fmt: skip
    if np.count_nonzero(spectra.voxels_to_fit) < _LONG_WORK:
        keep = None
    found = fit(
        spectra, model, progress=progress, executor=executor, keep=keep, threads=threads
    )  # fmt: skip
    return replace(found, notes=(*found.notes, *_assumed(spectra.acquisition, found.model)))


def _check_band(acquisition: Acquisition, range_ppm: tuple[float, float]) -> None:
    """Refuse a band without Cho, Cr or NAA: they would fold back and pass for absent."""
    width_hz = 1.0 / acquisition.dwell_time_s
    half = width_hz / acquisition.spectrometer_frequency_mhz / 2
    centre = acquisition.reference_or_water_ppm
    for name in ("NAA", "Cr", "Cho"):
        if range_ppm[0] <= PEAK_PPM[name] <= range_ppm[1] and abs(PEAK_PPM[name] - centre) >= half:
            msg = (
                f"the spectral width of {width_hz:.0f} Hz reaches from {centre - half:.2f} to "
                f"{centre + half:.2f} ppm, which leaves out {name}; dwell time, frequency or "
                "reference are not what they seem, or the peaks fold back into each other"
            )
            raise SignalError(msg)


def _assumed(acquisition: Acquisition, model: Model) -> list[str]:
    """Return what a model of coupled spins took for granted.

    Both change ratios by up to 16 % at 30 ms (`tests/test_pipeline.py`).
    """
    from mrs_necrosis.simulation.spins import SEQUENCES, known_sequence

    if acquisition.echo_time_s is None or model.name not in {"metabolites", "peaks"}:
        return []
    known = known_sequence(acquisition.sequence)
    if known is None:
        what = "unknown" if acquisition.sequence is None else f"none of {', '.join(SEQUENCES)}"
        return [
            f"The sequence is {what}: coupled spins were fitted as in a PRESS, and lactate with "
            "the sign that it has there; give the sequence if it was another."
        ]
    if known == "STEAM" and acquisition.mixing_time_s is None:
        return [
            "The mixing time of the STEAM is unknown: coupled spins were fitted as with 10 ms; "
            "give it if it was another."
        ]
    return []


def surroundings(
    lesion: Image | None,
    reference: Image | None = None,
    anatomy: Image | None = None,
    point_spread: PointSpread = "hamming",
    midline_mm: float = 0.0,
) -> Surroundings | None:
    """Read what lies around a grid.

    Parameters
    ----------
    lesion, reference, anatomy : path, (array, affine) or None
        Masks and image.
    point_spread, midline_mm :
        As in ``analyze``.

    Returns
    -------
    Surroundings or None
        None if there is nothing.

    Raises
    ------
    FormatError
        If an image cannot be read, or has more than three axes.
    TypeError, ValueError
        If an argument is not what its name says.
    """
    from mrs_necrosis.lesion import POINT_SPREADS
    from mrs_necrosis.maps import Anatomy, Surroundings

    if point_spread not in POINT_SPREADS:
        msg = f"point_spread must be one of {', '.join(POINT_SPREADS)}; got {point_spread!r}"
        raise ValueError(msg)
    check_range("midline_mm", midline_mm, -1000.0, 1000.0, "mm")

    def image(name: str, given: Image | None) -> Anatomy | None:
        if given is None:
            return None
        kinds = (str, os.PathLike, tuple, list)
        check_type(name, given, kinds, "a path, (array, affine)", optional=True)
        if isinstance(given, (str, os.PathLike)):
            from mrs_necrosis.io import read_image

            values, affine = read_image(given)
            values = values.reshape(values.shape[:3] + tuple(n for n in values.shape[3:] if n > 1))
            if values.ndim != 3:
                raise FormatError(given, "has more than three axes; give one volume")
            return Anatomy(values, affine)
        return Anatomy(np.asarray(given[0]), np.asarray(given[1], dtype=np.float64))

    if lesion is None and reference is None and anatomy is None:
        return None
    return Surroundings(
        lesion=image("lesion_mask", lesion),
        reference=image("contralateral_mask", reference),
        anatomy=image("anatomy", anatomy),
        point_spread=point_spread,
        midline_mm=midline_mm,
    )


def _check_position(data: SpectralData | Spectra | PeakTable) -> None:
    is_grid = isinstance(data, (SpectralData, Spectra)) and np.prod(data.fid.shape[:3]) > 1
    if not is_grid:
        msg = "masks and anatomy belong to a grid of voxels; this is a single one"
        raise SignalError(msg)
    if data.affine is None:  # type: ignore[union-attr]
        msg = (
            "masks and anatomy need the position of the grid, which this file does not give; "
            "convert it to NIfTI-MRS with an affine"
        )
        raise SignalError(msg)


def _judge_grid(
    areas: PeakAreas,
    fitted: Fit,
    evidence: dict[str, Any],
    around: Surroundings | None,
    level: float,
) -> tuple[GridAssessment, GridResult]:
    """Find the subject's own normal tissue, weigh the evidence beside it, and map both."""
    from mrs_necrosis.classifier import Context, assess_grid
    from mrs_necrosis.maps import grid_result, own_tissue

    spectra = fitted.spectra
    scalp = spectra.scalp_lipid
    own = own_tissue(
        areas,
        fitted.quality,
        affine=spectra.affine,
        surroundings=around,
        scalp_lipid=scalp,
    )
    context = evidence["context"] or Context()
    if context.contralateral is None and own.reference.areas is not None:
        context = replace(context, contralateral=own.reference.areas)
    not_of_tissue = np.ones(spectra.grid, dtype=bool) if spectra.lipids_suppressed else scalp
    found = assess_grid(areas, **{**evidence, "context": context}, near_skull=not_of_tissue)
    result = grid_result(
        areas,
        fitted.quality,
        found,
        own,
        level=level,
        cutoffs=_cutoffs(evidence["criteria"]),
        anatomy=None if around is None else around.anatomy,
        scalp_lipid=scalp,
        lipids_suppressed=spectra.lipids_suppressed,
    )
    return found, result


def _cutoffs(criteria: Sequence[Criterion] | None) -> dict[str, list[float]]:
    """Return the published cut-offs of each ratio, for the maps of probability."""
    from mrs_necrosis.criteria import load_criteria

    cutoffs: dict[str, set[float]] = {}
    for one in load_criteria() if criteria is None else criteria:
        for comparison in one.any_of:
            if one.enabled and comparison.expression in STANDARD_RATIOS:
                cutoffs.setdefault(comparison.expression, set()).add(comparison.cutoff)
    return {name: sorted(values) for name, values in cutoffs.items()}


def _origin(
    source: Input,
    water_reference: str | os.PathLike[str] | None,
    data: Spectra | PeakTable,
    label: str | None,
) -> Source:
    name = data.source_format if isinstance(data, Spectra) else "peak table"
    is_file = isinstance(source, (str, os.PathLike)) and Path(source).exists()
    return Source(
        format=name or "spectra from memory",
        sha256=sha256(Path(source)) if is_file else None,  # type: ignore[arg-type]
        water_sha256=None if water_reference is None else sha256(Path(water_reference)),
        label=label,
    )


def _provenance(
    data: Spectra | PeakTable, fitted: Fit | None, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    steps = data.history if isinstance(data, Spectra) else ()
    return {
        "software": {
            "mrs_necrosis": mrs_necrosis.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in _SOFTWARE},
        },
        "machine": platform.machine(),
        "backend": None if fitted is None else fitted.backend,
        "parameters": dict(parameters),
        "steps": [
            {"name": step.name, "parameters": dict(step.parameters), "note": step.note}
            for step in steps
        ],
    }


def _known(context: Context | None) -> dict[str, Any]:
    """Return what a context says in numbers and words."""
    if context is None:
        return {}
    values = {one.name: getattr(context, one.name) for one in fields(context)}
    known: dict[str, Any] = {
        name: v for name, v in values.items() if isinstance(v, (str, float, int))
    }
    other = context.contralateral
    if other is not None:
        known["contralateral"] = dict(zip(other.names, other.values.ravel(), strict=True))
    return known


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
