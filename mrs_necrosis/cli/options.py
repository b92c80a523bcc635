"""Options that several commands share, and what the library is given for them."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from mrs_necrosis.cli.values import (
    FIELD,
    FREQUENCY,
    TIME,
    amount_value,
    nucleus_value,
    number_value,
    path_value,
    prior_value,
    samples_value,
    sequence_value,
    whole_value,
)

if TYPE_CHECKING:
    from mrs_necrosis.classifier import Context
    from mrs_necrosis.criteria import Criterion
    from mrs_necrosis.quality import QualityThresholds


MEM_MB: Final = 700
"""Megabytes that one process of a cohort may need."""

STEPS = {
    "combine_coils": "weight and add the coils",
    "align_averages": "turn averages to one frequency and phase",
    "reject_averages": "leave outlying averages out",
    "average": "average",
    "correct_eddy_currents": "by the water reference",
    "remove_water": "take residual water out (HLSVD)",
    "phase": "find the phase and take it out",
    "reference_shift": "find how far the peaks lie off and move them",
    "find_mask": "leave voxels of mere noise out of a grid",
    "flag_scalp_lipid": "say where scalp lipid reaches into a grid",
}
_ACQUISITION = (
    "echo_time_s", "first_echo_time_s", "repetition_time_s", "mixing_time_s", "sequence",
    "spectrometer_frequency_mhz", "dwell_time_s", "nucleus", "reference_ppm", "n_samples",
)  # fmt: skip


def add_acquisition(parser: argparse.ArgumentParser) -> None:
    """Add what is said of an acquisition."""
    group = parser.add_argument_group("what the source does not say")
    group.add_argument("--echo-time", "--te", type=TIME, dest="echo_time_s", metavar="30ms")
    group.add_argument("--first-echo-time", type=TIME, dest="first_echo_time_s", metavar="11ms",
                       help="of the two echoes of a PRESS, if you know it")  # fmt: skip
    group.add_argument("--repetition-time", "--tr", type=TIME, dest="repetition_time_s",
                       metavar="2s")  # fmt: skip
    group.add_argument("--mixing-time", type=TIME, dest="mixing_time_s", metavar="10ms")
    strength = group.add_mutually_exclusive_group()
    strength.add_argument("--field", type=FIELD, dest="field_t", metavar="3T")
    strength.add_argument("--frequency", type=FREQUENCY, dest="spectrometer_frequency_mhz",
                          metavar="127.7MHz")  # fmt: skip
    group.add_argument("--dwell-time", type=TIME, dest="dwell_time_s", metavar="500us")
    group.add_argument("--nucleus", type=nucleus_value, metavar="1H")
    group.add_argument("--sequence", type=sequence_value, metavar="PRESS")
    group.add_argument("--reference-ppm", type=number_value(-1000, 1000), metavar="PPM",
                       help="chemical shift at zero frequency")  # fmt: skip
    group.add_argument("--samples", type=samples_value, dest="n_samples", metavar="N",
                       help="samples of one FID, for LCModel RAW of many voxels")  # fmt: skip
    group.add_argument("--quantity", choices=("area", "height", "molar"),
                       help="what the values of a peak table are")  # fmt: skip


def add_context(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what is said of a case."""
    group = parser.add_argument_group("evidence")
    group.add_argument(
        "--prior", type=prior_value, default=0.5, metavar="P",
        help="prior probability of recurrence (0.5); narloch: of a metastasis, by "
        "--months-since-irradiation",
    )  # fmt: skip
    group.add_argument("--criteria", type=path_value, metavar="FILE",
                       help="criteria to add or change (TOML)")  # fmt: skip
    group.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="snr_fail=3",
        help="beyond which a label is withheld (fail) or a caveat given (warn): "
        "snr_, linewidth_.._ppm, area_sd_, residual_, reference_; may be repeated",
    )
    group.add_argument("--population", metavar="glioma|metastasis|...")
    group.add_argument("--months-since-irradiation", type=amount_value(1200), metavar="N")
    group.add_argument("--perfusion", choices=("low", "high"), dest="perfusion_reading",
                       help="the perfusion map read by eye")  # fmt: skip
    group.add_argument("--rcbv-grey", type=amount_value(100), metavar="X",
                       help="rCBV of the lesion over grey matter")  # fmt: skip
    group.add_argument("--rcbv-white", type=amount_value(100), metavar="X",
                       help="rCBV of the lesion over white matter")  # fmt: skip
    group.add_argument("--mri", metavar="TEXT", help="reading of the MRI, shown and not scored")
    for name in ("after-bevacizumab", "near-skull", "post-contrast"):
        group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=None)
    return group


def add_basis(group: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """Add a basis set in place of the library's own."""
    group.add_argument("--basis", type=path_value, metavar="PATH",
                       help="metabolites, measured macromolecules (MM) or both in place of the "
                       "library's: LCModel .basis, a folder of FSL-MRS' JSON, NIfTI-MRS or "
                       "jMRUI files, or one such file")  # fmt: skip


def keywords_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what ``analyze`` takes, from the options; a wrong value ends the command here."""
    from mrs_necrosis.inputs import check_given
    from mrs_necrosis.pipeline import is_fit_range

    keywords: dict[str, Any] = {
        name: getattr(options, name)
        for name in (*_ACQUISITION, "field_t", "quantity")
        if getattr(options, name) is not None
    }
    try:
        check_given(keywords)
    except ValueError as error:
        options.parser.error(str(error))
    if "level" not in options:
        return {**keywords, **evidence_of(options)}
    keywords |= judged_of(options)
    switch = {"auto": "auto", "on": True, "off": False}
    keywords["preprocessing"] = {
        **{step: switch[getattr(options, step)] for step in STEPS
           if getattr(options, step) != "auto"},
        **{name: getattr(options, name) for name in ("phase_deg", "shift_ppm")
           if getattr(options, name) is not None},
        **{name: True for name in _ON_DEMAND if getattr(options, name)},
    }  # fmt: skip
    if options.model != "auto":
        keywords["model"] = options.model
    if options.basis is not None and options.model == "peaks":
        options.parser.error("--basis takes the place of whole metabolites, not of peaks")
    if options.fit_range is not None:
        low, high = options.fit_range
        if not is_fit_range(low, high):
            options.parser.error("--fit-range must ascend, and hold 2.6 to 3.03 ppm")
        keywords["fit_range_ppm"] = (low, high)
    keywords |= {name: getattr(options, name) for name in GRID}
    return {**keywords, "level": options.level, "label": options.label}


_ON_DEMAND = ("filter_kspace", "denoise", "suppress_lipids")
GRID = ("lesion_mask", "contralateral_mask", "anatomy", "point_spread", "midline_mm")


def judged_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what ``analyze`` takes of the options that commands with spectra share."""
    basis = {} if options.basis is None else {"basis": options.basis}
    return {**evidence_of(options), **basis, "seed": options.random_seed}


def evidence_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what ``analyze`` takes of the options of ``add_context``."""
    keywords: dict[str, Any] = {"context": context_of(options), "prior": prior_of(options)}
    if options.criteria is not None:
        keywords["criteria"] = criteria_of(options)
    if options.threshold:
        keywords["thresholds"] = thresholds_of(options)
    return keywords


def thresholds_of(options: argparse.Namespace) -> QualityThresholds:
    """Return the thresholds with those of ``--threshold``."""
    from mrs_necrosis.quality import QualityThresholds

    known = [one.name for one in fields(QualityThresholds)]
    given = {}
    for text in options.threshold:
        name, _, value = text.partition("=")
        try:
            given[name.strip()] = float(value)
        except ValueError:
            options.parser.error(f"--threshold is written like snr_fail=3; got {text!r}")
    for name in given.keys() - set(known):
        options.parser.error(f"--threshold knows no {name!r}; there are {', '.join(known)}")
    try:
        thresholds = QualityThresholds(**given)
    except ValueError as error:
        options.parser.error(f"--threshold: {error}")
    return thresholds


def context_of(options: argparse.Namespace) -> Context:
    """Return the context that the options tell."""
    from mrs_necrosis.classifier import Context, Reading

    readings = () if options.mri is None else (Reading(kind="mri", text=options.mri),)
    return Context(
        population=options.population,
        months_since_irradiation=options.months_since_irradiation,
        after_bevacizumab=options.after_bevacizumab,
        near_skull=options.near_skull,
        post_contrast=options.post_contrast,
        rcbv_grey=options.rcbv_grey,
        rcbv_white=options.rcbv_white,
        perfusion_reading=options.perfusion_reading,
        readings=readings,
    )


def prior_of(options: argparse.Namespace) -> float:
    """Return the prior probability that the options ask for."""
    if options.prior != "narloch":
        return float(options.prior)
    from mrs_necrosis.classifier import prior_after_radiosurgery
    from mrs_necrosis.criteria import populations_of

    if options.months_since_irradiation is None:
        options.parser.error("--prior narloch needs --months-since-irradiation")
    population = options.population
    if population is not None and "metastasis" not in populations_of(population):
        options.parser.error("--prior narloch is of metastases, not of another --population")
    return prior_after_radiosurgery(options.months_since_irradiation)


def criteria_of(options: argparse.Namespace) -> tuple[Criterion, ...]:
    """Return the shipped criteria with those of ``--criteria``."""
    from mrs_necrosis.criteria import load_criteria

    return load_criteria(options.criteria)


def add_cohort(parser: argparse.ArgumentParser) -> None:
    """Add what concerns many inputs."""
    group = parser.add_argument_group("many inputs")
    group.add_argument("--nprocs", "--n-cpus", type=whole_value(1), metavar="N",
                       help="processes; by the number of inputs and processors")  # fmt: skip
    group.add_argument("--omp-nthreads", type=whole_value(1), metavar="N",
                       help="threads of one process; as many as processors")  # fmt: skip
    group.add_argument("--mem-mb", type=whole_value(MEM_MB), metavar="N",
                       help=f"memory of all processes together; each is left {MEM_MB} MB, so "
                       "that fewer may run")  # fmt: skip
    group.add_argument("--no-figures", action="store_false", dest="figures",
                       help="reports without figures; a third of the time")  # fmt: skip
    group.add_argument("--random-seed", type=whole_value(0), default=0, metavar="N",
                       help="of the draws from the errors of the areas (0)")  # fmt: skip
    group.add_argument("--config", type=path_value, metavar="FILE.toml",
                       help='options in a file: nprocs = 4, participant-label = ["01", "02"]; '
                       "the command line comes on top")  # fmt: skip
