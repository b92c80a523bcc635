"""The house's sentence as code: read, preprocess, fit, ratio, assess."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mrs_necrosis.analysis import Analysis
from mrs_necrosis.arguments import (
    NUMBER,
    Progress,
    check_executor,
    check_folder,
    check_path,
    check_probability,
    check_progress,
    check_type,
    check_whole,
)
from mrs_necrosis.classifier.context import Context
from mrs_necrosis.constants import PEAK_PPM, STANDARD_RATIOS
from mrs_necrosis.criteria import Criterion, listed_criteria
from mrs_necrosis.errors import SignalError
from mrs_necrosis.fitting.model import Model
from mrs_necrosis.fitting.pieces import Executor
from mrs_necrosis.inputs import (
    CAN_BE_GIVEN,
    Image,
    Input,
    check_given,
    check_position,
    placed,
    read_input,
    surroundings,
)
from mrs_necrosis.io.basis import Basis, given_basis
from mrs_necrosis.lesion.masks import PointSpread
from mrs_necrosis.provenance import (
    context_values,
    criteria_values,
    origin,
    position_values,
    provenance_of,
    threshold_values,
)
from mrs_necrosis.quality import FitStatus, QualityThresholds
from mrs_necrosis.ratios import standard_ratios
from mrs_necrosis.spectra import Spectra, SpectralData

if TYPE_CHECKING:
    from mrs_necrosis.areas import PeakAreas
    from mrs_necrosis.assessment import Assessment
    from mrs_necrosis.classifier import GridAssessment
    from mrs_necrosis.fitting import Fit
    from mrs_necrosis.maps.grid import GridResult, Surroundings
    from mrs_necrosis.spectra import Acquisition


_LOGGER = logging.getLogger(__name__)

_UNFINISHED = ".unfinished"
"""Folder of a fit's finished pieces, below the output; removed when all is written."""

_LONG_WORK = 512
"""Fewer voxels are done again sooner than kept."""

_LOWEST_MHZ = 8.0
"""Below, the gap that the fit leaves beside water reaches NAA; scanners begin at 20 MHz."""


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
    basis: Basis | str | os.PathLike[str] | None = None,
    fit_range_ppm: tuple[float, float] | None = None,
    criteria: Sequence[Criterion] | None = None,
    thresholds: QualityThresholds | None = None,
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
        or what was read from one. Values may be those of ``uncertainties``, with their errors. A
        peak table goes straight to the ratios.
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
        ``fitting.suited_model`` of the spectra if None.
    basis : Basis, path or None
        Metabolites, macromolecules or both in place of the model's, as ``io.read_basis`` reads
        them; they are checked and put right by ``fitting.basis.model_from_basis``.
    fit_range_ppm : tuple of float or None
        Fit only this, because something was taken out of the rest of the data; nothing is said
        of peaks outside it.
    criteria : sequence of Criterion or None
        The shipped ones if None.
    thresholds : QualityThresholds or None
        Of SNR, linewidth, …, beyond which a label is withheld; the shipped ones if None.
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
        Where the lesion is (any space), of a grid where normal tissue is (found by itself if
        None), and what to lay maps or voxel on. A mask holds shares between 0 and 1, or labels in
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
    from mrs_necrosis.report import dicom, files

    _check_arguments(
        water_reference=water_reference, out=out, dicom_source=dicom_source,
        preprocessing=preprocessing, model=model, basis=basis,
        fit_range_ppm=fit_range_ppm, thresholds=thresholds, context=context,
        level=level, prior=prior, label=label, seed=seed, progress=progress, executor=executor,
        threads=threads, acquisition=acquisition,
    )  # fmt: skip
    criteria = None if criteria is None else listed_criteria(criteria)
    if out is not None:
        files.refuse_existing(Path(out), overwrite=overwrite)
    if dicom_source is not None:
        dicom.check_source(Path(dicom_source))
    basis = given_basis(basis)
    around = surroundings(lesion_mask, contralateral_mask, anatomy, point_spread, midline_mm)
    data = read_input(source, water_reference, acquisition)
    if around is not None:
        check_position(data, around)
    if isinstance(data, SpectralData):
        data = _preprocessed(data, preprocessing or {}, progress)
    fitted = None
    if isinstance(data, Spectra):
        _check_spectra(data)
        laid = _model(data, model, basis, fit_range_ppm)
        keep = None if out is None else Path(out) / _UNFINISHED
        fitted = _fitted(data, laid, progress, executor, keep, threads)
    known, place = placed(context, around, data)
    areas = (data.areas if fitted is None else fitted.areas).with_ll()  # type: ignore[union-attr]
    conditions = data.acquisition if isinstance(data, Spectra) else data
    evidence: dict[str, Any] = {
        "quality": None if fitted is None else fitted.quality,
        "acquisition": conditions,
        "criteria": criteria,
        "thresholds": thresholds,
        "prior": prior,
        "context": known,
        "seed": seed,
    }
    of_voxel, of_grid, maps = _judged(areas, fitted, evidence, around, level)
    parameters = {
        "given": acquisition,
        "preprocessing": preprocessing or {},
        **_of_the_fit(fitted, basis),
        "prior": prior,
        "level": level,
        "seed": seed,
        "context": context_values(context),
        "criteria": criteria_values(criteria),
        "thresholds": threshold_values(thresholds),
        "position": position_values(lesion_mask, contralateral_mask, anatomy, around),
    }
    analysis = Analysis(
        source=origin(source, water_reference, data, label),
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
        placement=place,
        provenance=provenance_of(data, fitted, parameters),
    )
    if out is not None:
        files.write(analysis, out, overwrite=overwrite, figures=figures, dicom_source=dicom_source)
        shutil.rmtree(Path(out) / _UNFINISHED, ignore_errors=True)
    return analysis


def _check_arguments(
    *,
    water_reference: object,
    out: object,
    dicom_source: object,
    preprocessing: object,
    model: object,
    basis: object,
    fit_range_ppm: object,
    thresholds: object,
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
    check_path("water_reference", water_reference, optional=True)
    check_folder("out", out, optional=True)
    check_folder("dicom_source", dicom_source, optional=True)
    if dicom_source is not None and out is None:
        msg = "dicom_source needs out, the folder that the DICOM goes to"
        raise ValueError(msg)
    check_type("preprocessing", preprocessing, Mapping, "a mapping", optional=True)
    if model not in {None, "metabolites", "peaks"}:
        wanted = "a Model, 'metabolites', 'peaks' or None"
        if isinstance(model, str):
            msg = f"model must be {wanted}; got {model!r}"
            raise ValueError(msg)
        check_type("model", model, Model, wanted)
    if basis is not None and model == "peaks":
        msg = "a basis set takes the place of whole metabolites; model cannot be 'peaks' with it"
        raise ValueError(msg)
    check_type("thresholds", thresholds, QualityThresholds, "QualityThresholds", optional=True)
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
    unknown = sorted(acquisition.keys() - CAN_BE_GIVEN)
    if unknown:
        msg = (
            f"analyze takes no {unknown[0]}; what a source does not say is given as "
            f"{', '.join(sorted(CAN_BE_GIVEN))}"
        )
        raise TypeError(msg)
    check_given(acquisition)


def is_fit_range(low: float, high: float) -> bool:
    """Return whether a range in ppm ascends and holds creatine and what lies beside it."""
    return low < 2.6 < PEAK_PPM["Cr"] < high


def _preprocessed(
    data: SpectralData, options: Mapping[str, Any], progress: Progress | None
) -> Spectra:
    from mrs_necrosis.preprocessing import preprocess

    spectra = preprocess(data, progress=progress, **options)
    for step in spectra.history:
        if step.note:
            _LOGGER.info("%s: %s", step.name, step.note)
    return spectra


def _check_spectra(spectra: Spectra) -> None:
    """Refuse what holds nothing to analyse."""
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


def _model(
    spectra: Spectra,
    model: Model | str | None,
    basis: Basis | None,
    fit_range_ppm: tuple[float, float] | None,
) -> Model:
    """Return what is laid under the spectra."""
    from mrs_necrosis.fitting import suited_model, within
    from mrs_necrosis.fitting.basis import model_from_basis

    acquisition = spectra.acquisition
    ranges = [model.range_ppm if isinstance(model, Model) else None, fit_range_ppm]
    _check_band(acquisition, [ends for ends in ranges if ends is not None])
    if basis is None:
        laid = (
            model if isinstance(model, Model)
            else suited_model(spectra, kind=model or "auto")  # type: ignore[arg-type]
        )  # fmt: skip
    else:
        template = model if isinstance(model, Model) else None
        if template is None and not (acquisition.echo_time_s or basis.echo_time_s):
            template = suited_model(spectra, kind="metabolites")
        laid = model_from_basis(basis, acquisition, model=template)
    return laid if fit_range_ppm is None else within(laid, fit_range_ppm)


def _fitted(
    spectra: Spectra,
    model: Model,
    progress: Progress | None,
    executor: Executor | None,
    keep: Path | None,
    threads: int | None,
) -> Fit:
    from mrs_necrosis.fitting import fit

    if np.count_nonzero(spectra.voxels_to_fit) < _LONG_WORK:
        keep = None
    _LOGGER.info("fit: %d voxels", np.count_nonzero(spectra.voxels_to_fit))
    found = fit(
        spectra, model, progress=progress, executor=executor, keep=keep, threads=threads
    )  # fmt: skip
    converged = np.count_nonzero(found.status == FitStatus.OK)
    _LOGGER.info("fit: model %s, %s, %d converged", found.model.name, found.backend, converged)
    return replace(found, notes=(*found.notes, *_assumed(spectra.acquisition, found.model)))


def _check_band(acquisition: Acquisition, ranges_ppm: Sequence[tuple[float, float]]) -> None:
    """Refuse a band without those of Cho, Cr and NAA that lie in all of the ranges.

    They would fold back and pass for absent.
    """
    width_hz = 1.0 / acquisition.dwell_time_s
    half = width_hz / acquisition.spectrometer_frequency_mhz / 2
    centre = acquisition.reference_or_water_ppm
    for name in ("NAA", "Cr", "Cho"):
        is_fitted = all(low <= PEAK_PPM[name] <= high for low, high in ranges_ppm)
        if is_fitted and abs(PEAK_PPM[name] - centre) >= half:
            msg = (
                f"the spectral width of {width_hz:.0f} Hz reaches from {centre - half:.2f} to "
                f"{centre + half:.2f} ppm, which leaves out {name}; dwell time, frequency or "
                "reference are not what they seem, or the peaks fold back into each other"
            )
            raise SignalError(msg)


def _assumed(acquisition: Acquisition, model: Model) -> list[str]:
    """Return what a model of coupled spins took for granted.

    Both change ratios at 30 ms: NAA/Cr by up to 10 %, Glx/Cr by 30 % (`tests/test_pipeline.py`).
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


def _of_the_fit(fitted: Fit | None, basis: Basis | None) -> dict[str, Any]:
    """Return the parameters of a fit, for the provenance; all None without one."""
    if fitted is None:
        return dict.fromkeys(("model", "basis_sha256", "fit_range_ppm"))
    return {
        "model": fitted.model.name,
        "basis_sha256": None if basis is None else basis.sha256,
        "fit_range_ppm": list(fitted.model.range_ppm),
    }


def _judged(
    areas: PeakAreas,
    fitted: Fit | None,
    evidence: dict[str, Any],
    around: Surroundings | None,
    level: float,
) -> tuple[Assessment | None, GridAssessment | None, GridResult | None]:
    """Weigh the evidence of one voxel, of many peak values, or of a grid beside its own tissue."""
    from mrs_necrosis.classifier import assess, assess_grid

    if areas.is_single:
        return assess(areas, **evidence), None, None
    if fitted is None:
        return None, assess_grid(areas, **evidence), None
    return None, *_judge_grid(areas, fitted, evidence, around, level)


def _judge_grid(
    areas: PeakAreas,
    fitted: Fit,
    evidence: dict[str, Any],
    around: Surroundings | None,
    level: float,
) -> tuple[GridAssessment, GridResult]:
    """Find the subject's own normal tissue, weigh the evidence beside it, and map both."""
    from mrs_necrosis.classifier import Context, assess_grid
    from mrs_necrosis.maps.grid import grid_result, own_tissue

    spectra = fitted.spectra
    scalp = spectra.scalp_lipid
    own = own_tissue(
        areas,
        fitted.quality,
        affine=spectra.affine,
        surroundings=around,
        scalp_lipid=scalp,
        thresholds=evidence["thresholds"],
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
