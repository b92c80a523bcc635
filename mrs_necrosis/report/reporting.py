"""Text for papers: a methods paragraph and the MRSinMRS reporting table.

MRSinMRS is the consensus list of what a study must report (Lin et al., NMR Biomed. 34, e4484
(2021)). Where the source is silent the table says "not available".
"""

from __future__ import annotations

from collections.abc import Mapping

import mrs_necrosis
from mrs_necrosis.analysis import Analysis
from mrs_necrosis.arguments import check_type
from mrs_necrosis.report.rows import snr_text
from mrs_necrosis.report.text import QUANTITY_WORDS, field_words, milliseconds, size_words

NOT_AVAILABLE = "not available"

MRSINMRS_TITLES = "part\titem\tvalue\n"
"""First line of ``mrsinmrs.tsv``, by which it is known as ours."""


def methods_paragraph(analysis: Analysis) -> str:
    """Return what was done, as a paragraph for a methods section.

    Parameters
    ----------
    analysis : Analysis
        What to report.

    Returns
    -------
    str
        Whole sentences.

    Examples
    --------
    >>> from mrs_necrosis import analyze
    >>> methods_paragraph(analyze({"Cho": 33671, "Cr": 29534})).partition(".")[0]
    'Peak areas were taken from a printed table and not fitted here'
    """
    check_type("analysis", analysis, Analysis, "an Analysis, as analyze returns it")
    sentences = []
    if analysis.spectra is None:
        sentences.append(
            f"Peak {QUANTITY_WORDS[analysis.areas.quantity]} were taken from a printed table and "
            "not fitted here."
        )
    else:
        sentences.append(
            f"Spectra ({analysis.source.format}) were processed and fitted with mrs_necrosis "
            f"{mrs_necrosis.__version__}."
        )
        sentences += [step.note for step in analysis.spectra.history if step.note]
    if analysis.fit is not None:
        sentences.append(
            "A model of resonance lines with a smooth baseline was fitted by variable projection; "
            "an area is a resonance's time-domain amplitude at t = 0 of the group that names it, "
            "protons included and not corrected for relaxation."
        )
        sentences += analysis.fit.notes
    # what a console or another program counted as LL is not known
    meaning = "" if analysis.fit is None else (
        "; LL is lipid 1.3 + lipid 0.9 + lactate as magnitudes"
    )  # fmt: skip
    sentences.append(
        f"Ratios are quotients of {QUANTITY_WORDS[analysis.areas.quantity]}{meaning}."
    )
    if analysis.areas.covariance is None:
        sentences.append("The source reports no uncertainty, so the ratios have no interval.")
    else:
        sentences.append(
            f"Intervals are at {100 * analysis.level:.0f} %, by Fieller's method with the "
            "covariance of both areas; a peak below three standard deviations counts as not "
            "detected."
        )
    if analysis.assessment is not None:
        sentences.append(
            "Published criteria were combined as log-likelihood ratios, averaged within families "
            "that share a numerator, with a prior probability of recurrence of "
            f"{analysis.assessment.evidence.prior:.2g}."
        )
        if analysis.assessment.combined is not None:
            sentences.append(
                "Perfusion was added as a likelihood ratio of its own and shrunk with that of "
                "spectroscopy; the label is that of both."
            )
    return " ".join(sentence.rstrip(".") + "." for sentence in sentences)


def mrsinmrs_tsv(analysis: Analysis, said: Mapping[str, str] | None = None) -> str:
    r"""Return the reporting table as text, tab-separated under a line of titles.

    Parameters
    ----------
    analysis : Analysis
        What to report.
    said : mapping of str to str, or None
        Values of items that the analysis does not know, from elsewhere.

    Returns
    -------
    str
        One line an item.

    Examples
    --------
    >>> from mrs_necrosis import analyze
    >>> text = mrsinmrs_tsv(analyze({"Cho": 33671, "Cr": 29534}))
    >>> text.splitlines()[0].split("\t")
    ['part', 'item', 'value']
    """
    rows = mrsinmrs_rows(analysis, said)
    return MRSINMRS_TITLES + "".join(
        "\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows
    )


def mrsinmrs_rows(
    analysis: Analysis, said: Mapping[str, str] | None = None
) -> list[tuple[str, str, str]]:
    """Return the reporting table as (part, item, value) rows; ``said`` fills what is unknown."""
    check_type("analysis", analysis, Analysis, "an Analysis, as analyze returns it")
    acquisition, spectra, quality = analysis.acquisition, analysis.spectra, analysis.quality

    def known(value: object, form: str = "{}") -> str:
        return NOT_AVAILABLE if value is None else form.format(value)

    rows = [
        ("1 hardware", "field strength", _or_not(field_words(analysis.field_t))),
        ("1 hardware", "manufacturer", known(acquisition and acquisition.manufacturer)),
        ("1 hardware", "model and software", NOT_AVAILABLE),
        ("1 hardware", "coils", known(
            _of_step(analysis, "combine_coils", "coils"), "{} receivers, combined here")),
        ("2 acquisition", "nucleus", known(acquisition and acquisition.nucleus)),
        ("2 acquisition", "sequence", known(acquisition and acquisition.sequence)),
        ("2 acquisition", "volume of interest", NOT_AVAILABLE),
        ("2 acquisition", "nominal voxel size", _or_not(
            size_words(spectra.voxel_size_mm if spectra else None))),
        (
            "2 acquisition", "repetition time, echo time",
            f"{_or_not(milliseconds(acquisition.repetition_time_s if acquisition else None))}, "
            f"{_or_not(milliseconds(analysis.echo_time_s))}",
        ),
        ("2 acquisition", "mixing time", _or_not(
            milliseconds(acquisition.mixing_time_s if acquisition else None))),
        ("2 acquisition", "spectral width", known(
            acquisition and acquisition.spectral_width_hz, "{:.0f} Hz")),
        ("2 acquisition", "points", known(spectra and spectra.n_samples)),
        ("2 acquisition", "averages", known(
            _of_step(analysis, "average", "averages"), "{}, averaged here")),
        ("2 acquisition", "matrix", known(
            None if analysis.is_single else " x ".join(map(str, analysis.grid)))),
        ("2 acquisition", "water suppression, shim", NOT_AVAILABLE),
        ("3 analysis", "software", f"mrs_necrosis {mrs_necrosis.__version__}"),
        ("3 analysis", "processing", _steps(analysis)),
        ("3 analysis", "output measure", "ratios of areas, with intervals"),
        ("3 analysis", "quantification reference", "none; relative to peaks of the same voxel"),
        ("3 analysis", "fit model", "none (peak table)" if analysis.fit is None else
            "lines of named groups with a smooth baseline: " + ", ".join(analysis.areas.names)),
    ]  # fmt: skip
    if quality is not None and analysis.is_single:
        voxel = analysis.first_voxel
        rows += [
            ("4 quality", "SNR (tallest of NAA, Cr, Cho)", snr_text(float(quality.snr[voxel]))),
            ("4 quality", "linewidth", f"{quality.linewidth_hz[voxel]:.1f} Hz"),
            ("4 quality", "fit quality", "standard deviations from the fit's covariance"),
        ]
    rows.append(("4 quality", "exclusion criteria", "the gates of this report"))
    rows.append(
        ("4 quality", "sample spectrum", "in this report" if analysis.fit else NOT_AVAILABLE)
    )
    return [
        (part, item, (said or {}).get(item, value) if value == NOT_AVAILABLE else value)
        for part, item, value in rows
    ]


def _of_step(analysis: Analysis, name: str, parameter: str) -> object:
    """Return what a step of the preprocessing was done with; None if there was no such step."""
    steps = analysis.spectra.history if analysis.spectra is not None else ()
    return next((step.parameters.get(parameter) for step in steps if step.name == name), None)


def _or_not(words: str) -> str:
    return NOT_AVAILABLE if words == "unknown" else words


def _steps(analysis: Analysis) -> str:
    if analysis.spectra is None or not analysis.spectra.history:
        return "none"
    return ", ".join(step.name.replace("_", " ") for step in analysis.spectra.history)
