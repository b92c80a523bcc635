"""The result as JSON: what ``result.json`` holds, and its schema.

``result.schema.json`` beside this module describes every field. Unknown and unanswerable are
``null``; an infinite end of an interval is ``null`` too, and its ``shape`` says so. In a grid the
numbers become nested lists along X, Y and Z. The same analysis gives the same bytes.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from mrs_necrosis.quality import FitStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mrs_necrosis.analysis import Analysis
    from mrs_necrosis.areas import PeakAreas
    from mrs_necrosis.assessment import Assessment, Evidence
    from mrs_necrosis.lesion.summary import LesionSummary
    from mrs_necrosis.quality import Quality
    from mrs_necrosis.ratios import Ratio
    from mrs_necrosis.spectra import Acquisition

SCHEMA = "mrs-necrosis/result/1"
"""Name and major version of the schema; it changes when a field changes its meaning."""

RESEARCH_USE = (
    "For research use. This is not a diagnosis and not a medical device; the criteria were "
    "published on small samples and have not been validated prospectively."
)


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) that every result obeys.

    Returns
    -------
    dict
        Ready for a validator.

    Examples
    --------
    >>> schema()["title"]
    'mrs-necrosis/result/1'
    """
    text = files("mrs_necrosis.report").joinpath("result.schema.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def to_json(analysis: Analysis) -> str:
    """Return the text of ``result.json``."""
    # indenting a large grid would take longer than fitting some of its voxels
    indent = 2 if analysis.is_single else None
    text = json.dumps(document(analysis), indent=indent, ensure_ascii=True, allow_nan=False)
    # arrays of numbers on one line; a string never holds a line end
    rows = re.compile(r"\[\n\s+([^\[\]{}\"]*?)\n\s+\]")
    return rows.sub(lambda m: "[" + re.sub(r"\s*\n\s*", " ", m[1]) + "]", text) + "\n"


def document(analysis: Analysis) -> dict[str, Any]:
    """Return the result as JSON types.

    Parameters
    ----------
    analysis : Analysis
        Any number of voxels.

    Returns
    -------
    dict
        Obeys ``schema()``.
    """
    return {
        "schema": SCHEMA,
        "notice": RESEARCH_USE,
        "source": asdict(analysis.source),
        "acquisition": _acquisition(analysis.acquisition),
        "echo_time_s": analysis.echo_time_s,
        "field_t": analysis.field_t,
        "grid": list(analysis.grid),
        "voxel_size_mm": plain(analysis.spectra.voxel_size_mm) if analysis.spectra else None,
        "placement": None
        if analysis.placement is None
        else {
            "lesion_share": analysis.placement.lesion_share,
            "of_the_lesion": analysis.placement.held,
        },
        "areas": _areas(analysis.areas),
        "ratios": {n: _ratio(r, analysis.level) for n, r in analysis.ratios.items()},
        "quality": _quality(analysis.quality),
        "notes": list(analysis.fit.notes) if analysis.fit else [],
        "assessment": _assessment(analysis.assessment),
        "grid_assessment": _grid_assessment(analysis),
        "provenance": plain(analysis.provenance),
    }


def plain(value: Any) -> Any:
    """Return JSON types: arrays as nested lists, a single voxel as a scalar, NaN as None."""
    if isinstance(value, np.ndarray):
        if value.size == 1:
            return plain(value.reshape(()).tolist())
        if value.dtype.kind == "f":
            cleaned = value.astype(object)
            cleaned[~np.isfinite(value)] = None
            return cleaned.tolist()
        return plain(value.tolist()) if value.dtype.kind == "O" else value.tolist()
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _acquisition(acquisition: Acquisition | None) -> dict[str, Any] | None:
    if acquisition is None:
        return None
    known: dict[str, Any] = plain(asdict(acquisition))
    return known


def _areas(areas: PeakAreas) -> dict[str, Any]:
    peaks = {}
    for name in areas.names:
        sd = areas.sd(name)
        peaks[name] = {
            "value": plain(areas.value(name)),
            "sd": None if sd is None else plain(sd),
            "detected": plain(np.asarray(areas.detected(name))),
        }
    covariance = None
    if areas.covariance is not None and areas.is_single:
        covariance = plain(areas.covariance.reshape(areas.covariance.shape[-2:]).tolist())
    return {
        "quantity": areas.quantity,
        "unit": areas.unit,
        "names": list(areas.names),
        "peaks": peaks,
        "covariance": covariance,
    }


def _ratio(ratio: Ratio, level: float) -> dict[str, Any]:
    interval, bound = ratio.interval(level), ratio.bound(level)
    return {
        "numerator": ratio.numerator,
        "denominator": ratio.denominator,
        "value": plain(ratio.value),
        "sd": None if ratio.sd is None else plain(ratio.sd),
        "interval": None
        if interval is None
        else {
            "lower": plain(interval.lower),
            "upper": plain(interval.upper),
            "shape": plain(interval.shape),
            "method": interval.method,
        },
        "level": level,
        "status": plain(ratio.status),
        "bound": None if bound is None else plain(bound),
    }


def _quality(quality: Quality | None) -> dict[str, Any] | None:
    if quality is None:
        return None
    numbers = {name: plain(getattr(quality, name)) for name in quality.__slots__}
    codes = quality.status
    words = np.array([status.word for status in FitStatus])
    numbers["status"] = plain(words[codes])
    return numbers


def _assessment(assessment: Assessment | None) -> dict[str, Any] | None:
    if assessment is None:
        return None
    return {
        "favors": assessment.favors.value,
        "spectroscopy_favors": (assessment.evidence.favors or assessment.favors).value,
        **_evidence(assessment.evidence),
        "combined": _evidence(assessment.combined) if assessment.combined else None,
        "findings": [plain(asdict(finding)) for finding in assessment.findings],
        "gates": [plain(asdict(gate)) for gate in assessment.gates],
        "caveats": list(assessment.caveats),
        "suggestions": list(assessment.suggestions),
        "paragraph": assessment.paragraph,
    }


def _grid_assessment(analysis: Analysis) -> dict[str, Any] | None:
    found, result = analysis.grid_assessment, analysis.grid_result
    if found is None:
        return None
    labels = np.array([favors.value for favors in found.counts()])
    lesion = None if result is None else result.lesion
    return {
        "favors": plain(labels[found.codes]),
        "likelihood_ratio": plain(np.exp(found.log_likelihood_ratio)),
        "counts": {favors.value: count for favors, count in found.counts().items()},
        "notes": [] if result is None else list(result.notes),
        "lesion": None if lesion is None else _lesion(lesion),
    }


def _lesion(lesion: LesionSummary) -> dict[str, Any]:
    return {
        "favors": lesion.favors.value,
        "voxels": lesion.n_voxels,
        "evaluable_voxels": lesion.n_evaluable,
        "centre_voxel": plain(lesion.centre_voxel),
        "fractions": _shares(lesion.fractions),
        "leaning": _shares(lesion.leaning),
        "worst_voxel": plain(lesion.worst_voxel),
        "worst_likelihood_ratio": plain(lesion.worst_likelihood_ratio),
        "distribution": {
            name: {"p10": low, "median": median, "p90": high}
            for name, (low, median, high) in lesion.distribution.items()
        },
        "lesions": [_lesion(one) for one in lesion.lesions],
        "sentence": lesion.sentence,
    }


def _shares(shares: Mapping[str, tuple[float, float | None, float | None]]) -> dict[str, Any]:
    return {
        label: {"value": value, "lower": lower, "upper": upper}
        for label, (value, lower, upper) in shares.items()
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    interval = evidence.interval
    return {
        "likelihood_ratio": plain(evidence.likelihood_ratio),
        "interval": None
        if interval is None
        else {"lower": plain(interval[0]), "upper": plain(interval[1])},
        "prior": evidence.prior,
        "posterior": plain(evidence.posterior),
        "label_probability": plain(evidence.label_probability),
        "family_scores": plain(evidence.family_scores),
    }
