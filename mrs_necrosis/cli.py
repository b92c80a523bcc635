"""The command ``mrs-necrosis``: parses and prints. The only module that prints.

Heavy imports happen inside the functions, so that ``--help`` stays instant. Results go to
standard output, everything else to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import logging
import math
import re
import sys
import time
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import mrs_necrosis
from mrs_necrosis.errors import (
    FitError,
    FormatError,
    MRSNecrosisError,
    MRSNecrosisWarning,
    OutputError,
    SignalError,
    name_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mrs_necrosis.analysis import Analysis
    from mrs_necrosis.areas import PeakAreas
    from mrs_necrosis.classifier import Context
    from mrs_necrosis.cohort import CohortResult
    from mrs_necrosis.cohort.unit import Unit
    from mrs_necrosis.criteria import Criterion
    from mrs_necrosis.followup import Visit
    from mrs_necrosis.simulation.phantoms import Phantom

EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_BAD_INPUT = 3
EXIT_OUTPUT = 4
EXIT_INTERRUPTED = 130

_EPILOG = """\
exit codes:
  0    all inputs were analysed ("not-evaluable" is a result, not a failure)
  1    some inputs failed, the others were analysed; or an internal error
  2    the command line is wrong
  3    an input cannot be used; one sentence on standard error says why
  4    an output exists already or cannot be written
  130  interrupted

Research use only. Not a diagnosis, not a medical device.
"""
_MEM_MB: Final = 700
"""Megabytes that one process of a cohort may need."""

_PEAK: Final = re.compile(r"[A-Za-z][\w+./-]*\s*=.*", re.DOTALL)
_STEPS = {
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        The exit code, see ``--help``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called us
            setattr(sys, name, io.StringIO())
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            # a console that cannot show a character shows a question mark
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    parser, commands = _parsers()
    try:
        options = _parse(parser, commands, arguments)
    except SystemExit as leaving:  # argparse has printed what there is to say
        return EXIT_OK if not leaving.code else EXIT_USAGE
    with _logging(options), _quiet_warnings() as notes:
        try:
            code: int = options.run(options)
            sys.stdout.flush()
        except SystemExit as leaving:
            return EXIT_OK if not leaving.code else EXIT_USAGE
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return EXIT_INTERRUPTED
        except MRSNecrosisError as error:
            return _report_error(error)
        except BrokenPipeError:
            # the reader of our output has seen enough
            sys.stderr.close()
            return EXIT_OK
        except MemoryError:
            print("mrs-necrosis: there is not enough memory for this", file=sys.stderr)
            return EXIT_BAD_INPUT
        except Exception as error:
            if options.verbose:
                raise
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                print("mrs-necrosis: no space is left for the output", file=sys.stderr)
                return EXIT_OUTPUT
            message = f"internal error ({type(error).__name__}); run with -v to see where"
            print(f"mrs-necrosis: {message}", file=sys.stderr)
            return EXIT_SOME_FAILED
        _print_notes(options, notes())
    return code


def _report_error(error: MRSNecrosisError, name: str = "") -> int:
    """Print an error, with the name of the input where the error does not know it."""
    where = f"{name_of(name)}: " if name and isinstance(error, (SignalError, FitError)) else ""
    _print(f"mrs-necrosis: {where}{error}", file=sys.stderr)
    return EXIT_OUTPUT if isinstance(error, OutputError) else EXIT_BAD_INPUT


def _print(text: str, *, file: Any = None) -> None:
    # header text could hold terminal commands
    shown = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
    print(shown, file=sys.stdout if file is None else file)


@contextlib.contextmanager
def _logging(options: argparse.Namespace) -> Iterator[None]:
    logger = logging.getLogger("mrs_necrosis")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel({0: logging.WARNING, 1: logging.INFO}.get(options.verbose, logging.DEBUG))
    if options.quiet:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextlib.contextmanager
def _quiet_warnings() -> Iterator[Callable[[], list[str]]]:
    """Keep the library's own warnings; others may quote a header and are dropped."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", MRSNecrosisWarning)
        yield lambda: list(dict.fromkeys(str(warning.message) for warning in caught))


@contextlib.contextmanager
def _notes(options: argparse.Namespace, name: str) -> Iterator[None]:
    """Print what the library warns of while one of several inputs is analysed, with its name."""
    with _quiet_warnings() as notes:
        yield
    _print_notes(options, notes(), f"{name_of(name)}: " if name else "")


def _print_notes(options: argparse.Namespace, notes: list[str], name: str = "") -> None:
    if not options.quiet:
        for note in notes:
            _print(f"note: {name}{note}", file=sys.stderr)


# ---- the command line -------------------------------------------------------------------------


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="mrs-necrosis",
        description="Radiation necrosis or tumour recurrence? Metabolite ratios with honest\n"
        "intervals from proton MR spectroscopy, and the published criteria beside them.",
        epilog=_EPILOG,
        formatter_class=layout,
    )
    adder = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    version = f"mrs-necrosis {mrs_necrosis.__version__}"
    parser.add_argument("--version", action="version", version=version)
    common = argparse.ArgumentParser(add_help=False)
    talk = common.add_argument_group("messages")
    talk.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice: all")
    talk.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    talk.add_argument("--version", action="version", version=version)
    commands = {}
    for name, summary, add, run in (
        ("analyze", "analyse scanner files or peak tables", _add_analyze, _analyze),
        ("bids", "analyse or gather a BIDS dataset", _add_bids, _bids),
        ("demo", "analyse the shipped reference case", _add_demo, _demo),
        ("simulate", "make a spectrum with known truth", _add_simulate, _simulate),
        ("criteria", "list the published criteria", _add_criteria, _criteria),
        ("followup", "compare the visits of one lesion", _add_followup, _followup),
    ):
        one = adder.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.",
            parents=[common], epilog=_EPILOG, formatter_class=layout,
        )  # fmt: skip
        add(one)
        one.set_defaults(run=run, command=name)
        commands[name] = one
    return parser, commands


def _parse(
    parser: argparse.ArgumentParser,
    commands: dict[str, argparse.ArgumentParser],
    arguments: list[str],
) -> argparse.Namespace:
    if not arguments or arguments[0] not in commands:
        parser.parse_args(arguments)
        parser.error("which command? " + ", ".join(commands))
    one, rest = commands[arguments[0]], _with_config(commands[arguments[0]], arguments[1:])
    if arguments[0] != "analyze":
        options = one.parse_args(rest)
        options.parser = one
        return options
    rest, references = _take_water_references(one, rest)
    options = one.parse_intermixed_args(rest)
    options.parser = one
    options.inputs = _inputs(one, options.inputs, references)
    if bool(options.inputs) == (options.table is not None):
        one.error("give inputs, or --table with a list of them")
    return options


def _with_config(parser: argparse.ArgumentParser, arguments: list[str]) -> list[str]:
    """Spell options with hyphens, and put those of ``--config FILE`` before them."""
    names = [one.partition("=") for one in arguments]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    arguments = [
        f"{name.replace('_', '-')}{equals}{value}" if name.startswith("--") and n < end else one
        for n, (one, (name, equals, value)) in enumerate(zip(arguments, names, strict=True))
    ]
    known = {name for action in parser._actions for name in action.option_strings}
    if "--config" not in known:
        return arguments
    reader = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog=parser.prog)
    reader.add_argument("--config", type=_path)
    path = reader.parse_known_args(arguments[:end])[0].config
    if path is None:
        return arguments
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is no TOML"
        parser.error(f"--config {path.name} cannot be read: {reason}")
    taken: list[str] = []
    for key, value in content.items():
        name = f"--{key.replace('_', '-')}"
        if name not in known or name == "--config":
            parser.error(f"--config {path.name}: there is no option {name}")
        if value is False:
            taken += [f"--no-{name[2:]}"] if f"--no-{name[2:]}" in known else []
        else:
            every = value if isinstance(value, list) else [value]
            taken += [name if one is True else f"{name}={one}" for one in every]
    return taken + arguments


def _take_water_references(
    parser: argparse.ArgumentParser, arguments: list[str]
) -> tuple[list[str], dict[int, str]]:
    """Take ``--water-reference FILE`` out; return the rest and the files by input's number."""
    rest: list[str] = []
    references: dict[int, str] = {}
    queue = list(arguments)
    while queue:
        argument = queue.pop(0)
        option, equals, value = argument.partition("=")
        if option != "--water-reference":
            rest.append(argument)
            continue
        if not equals:
            if not queue:
                parser.error("argument --water-reference: expected one argument")
            value = queue.pop(0)
        # the inputs that stand before it are those of a command line that ends here
        before = parser.parse_known_intermixed_args([*rest, "-"])[0].inputs[:-1]
        if not before:
            parser.error("--water-reference follows the input it belongs to")
        if len(before) - 1 in references:
            parser.error("one input has two --water-reference")
        references[len(before) - 1] = value
    return rest, references


class _Input(NamedTuple):
    """One thing to analyse: a file, or the peak values of the command line."""

    source: str | list[str]
    name: str
    water: str | None


def _inputs(
    parser: argparse.ArgumentParser, words: list[str], references: dict[int, str]
) -> list[_Input]:
    inputs: list[_Input] = []
    peaks: list[str] = []
    for number, text in enumerate(words):
        if _PEAK.fullmatch(text) is None or Path(text).exists():
            inputs.append(_Input(text, text, references.get(number)))
            continue
        if number in references:
            parser.error("peak values have no water reference")
        if not peaks:
            inputs.append(_Input(peaks, "peak values", None))
        peaks.append(text)
    if peaks:
        from mrs_necrosis.io import read_peak_table

        try:
            read_peak_table(peaks)
        except (MRSNecrosisError, ValueError) as error:
            parser.error(str(error))
    return inputs


def _quantity(units: dict[str, float], what: str, example: str) -> Callable[[str], float]:
    """Return a parser of a number with a unit."""

    def parse(text: str) -> float:
        found = re.fullmatch(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*([A-Za-z]*)\s*", text)
        if found is None or found[2] not in units:
            msg = f"{what} is written like {example}; got {text!r}"
            raise argparse.ArgumentTypeError(msg)
        try:
            return float(found[1]) * units[found[2]]
        except ValueError:
            msg = f"{what} is written like {example}; got {text!r}"
            raise argparse.ArgumentTypeError(msg) from None

    return parse


_TIME = _quantity({"ms": 1e-3, "s": 1.0, "us": 1e-6}, "a time", "30ms or 0.03s")
_FIELD = _quantity({"T": 1.0, "": 1.0}, "a field", "3T")
_FREQUENCY = _quantity({"MHz": 1.0, "": 1.0}, "a frequency", "127.7MHz")


def _path(text: str) -> Path:
    if not text:  # an unset variable of a shell
        msg = "is an empty path, which would be the current folder; write . if you mean that"
        raise argparse.ArgumentTypeError(msg)
    return Path(text)


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low < value < high:
            # zero is allowed where the limit lies a hair below it
            least = 0.0 if -1e-6 < low < 0 else low
            msg = f"must be a number between {least:g} and {high:g}; got {text!r}"
            raise argparse.ArgumentTypeError(msg)
        return value

    return parse


def _nucleus(text: str) -> str:
    from mrs_necrosis.io.recording import nucleus_name

    return _word(nucleus_name(text), "a nucleus", "1H", text)


def _sequence(text: str) -> str:
    from mrs_necrosis.io.recording import sequence_name

    return _word(sequence_name(text), "a sequence", "PRESS, STEAM or sLASER", text)


def _word(name: str | None, what: str, example: str, text: str) -> str:
    if name is None:
        msg = f"{what} is written like {example}; got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return name


def _whole(low: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not low <= int(text[:20]) <= 2**32:
            msg = f"must be a whole number from {low} on; got {text!r}"
            raise argparse.ArgumentTypeError(msg)
        return int(text)

    return parse


def _samples(text: str) -> int:
    value = _whole(16)(text)
    if value > 2**24:
        msg = f"must be a whole number up to {2**24}; got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return value


def _prior(text: str) -> float | str:
    return text if text == "narloch" else _number(0, 1)(text)


def _add_analyze(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "mrs-necrosis analyze INPUT [--water-reference FILE] [INPUT ...] [--out DIR]\n"
        "                            [--json FILE|-] [options]"
    )
    parser.add_argument(
        "inputs", nargs="*", metavar="INPUT",
        help="a scanner's file, a peak table (TOML, CSV), or peak values: LL=108964 Cho=33671 "
        "Cr=29534 NAA=31278",
    )  # fmt: skip
    parser.add_argument(
        "--table", type=_path, metavar="FILE",
        help="a TSV or CSV with a column input, and any of water_reference, label, echo_time_s, "
        "…: one line per voxel; needs --out, and goes on where an earlier run was",
    )  # fmt: skip
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", type=_path, metavar="DIR",
        help="write result.json, ratios.tsv, figures and report.html there; several inputs get "
        "numbered folders and one table",
    )  # fmt: skip
    output.add_argument(
        "--json", metavar="FILE|-", help="write the result as JSON; - is standard output"
    )
    output.add_argument("--overwrite", action="store_true", help="replace an earlier result")
    output.add_argument(
        "--dicom-source", type=_path, metavar="FILE|DIR",
        help="also write DICOM to DIR: of a voxel a structured report (assessment.dcm) with "
        "patient and study of this DICOM object, of a grid Parametric Maps (map_*.dcm) on the "
        "images of one series in this folder",
    )  # fmt: skip
    output.add_argument(
        "--label", help="what the outputs call the input; file names are not written, because "
        "they may name a person",
    )  # fmt: skip
    output.add_argument(
        "--level", type=_number(0, 1), default=0.95, help="coverage of the intervals (0.95)"
    )
    # shown in the help; taken out before parsing, because its place decides what it belongs to
    parser.add_argument_group("water").add_argument(
        "--water-reference", metavar="FILE", help="water reference of the input it follows"
    )
    _add_cohort(parser)
    _add_acquisition(parser)
    _add_context(parser).add_argument(
        "--contralateral", metavar="INPUT",
        help="a voxel of the other side: same examination, size and settings",
    )  # fmt: skip
    grid = parser.add_argument_group("grids")
    grid.add_argument(
        "--lesion-mask", metavar="FILE", help="where the lesion is: NIfTI, any space"
    )
    grid.add_argument("--contralateral-mask", metavar="FILE",
                      help="where normal tissue is; found by itself if not given")  # fmt: skip
    grid.add_argument("--anatomy", metavar="FILE", help="image to lay the maps on (NIfTI)")
    grid.add_argument("--point-spread", choices=("hamming", "sinc", "box"), default="hamming",
                      help="response of a voxel, for the masks (hamming)")  # fmt: skip
    grid.add_argument("--midline", type=_number(-1000, 1000), default=0.0, metavar="MM",
                      dest="midline_mm", help="world x of the mid-sagittal plane (0)")  # fmt: skip
    grid.add_argument("--filter-kspace", action="store_true", help="Hamming filter in k-space")
    grid.add_argument("--denoise", action="store_true",
                      help="low-rank denoising; the errors account for it")  # fmt: skip
    grid.add_argument("--suppress-lipids", action="store_true",
                      help="suppress scalp lipid (L2); marks every LL value, whose criteria are "
                      "left out")  # fmt: skip
    grid.add_argument("--dask", nargs="?", const="local", metavar="ADDRESS",
                      help="spread the voxels over a Dask cluster: this machine's cores, or the "
                      "scheduler at ADDRESS (tcp://host:8786)")  # fmt: skip
    processing = parser.add_argument_group("processing")
    processing.add_argument("--phase", type=_number(-360, 360), metavar="DEGREES",
                            dest="phase_deg", help="take out this phase")  # fmt: skip
    processing.add_argument("--shift", type=_number(-10, 10), metavar="PPM", dest="shift_ppm",
                            help="move the peaks down by this")  # fmt: skip
    for step, does in _STEPS.items():
        option = "--find-phase" if step == "phase" else f"--{step.replace('_', '-')}"
        processing.add_argument(option, dest=step, choices=("auto", "on", "off"), default="auto",
                                help=f"{does} (auto)")  # fmt: skip
    processing.add_argument(
        "--model", choices=("auto", "metabolites", "peaks"), default="auto",
        help="whole metabolites, free peaks, or by what is known of the echo time (auto)",
    )  # fmt: skip
    processing.add_argument("--fit-range", nargs=2, type=_number(-5, 15), metavar=("LOW", "HIGH"),
                            help="fit only this, in ppm: where lipid or water were taken out of "
                            "the data, the rest (1.9 4.0)")  # fmt: skip


def _add_acquisition(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what the source does not say")
    group.add_argument("--echo-time", "--te", type=_TIME, dest="echo_time_s", metavar="30ms")
    group.add_argument("--first-echo-time", type=_TIME, dest="first_echo_time_s", metavar="11ms",
                       help="of the two echoes of a PRESS, if you know it")  # fmt: skip
    group.add_argument("--repetition-time", "--tr", type=_TIME, dest="repetition_time_s",
                       metavar="2s")  # fmt: skip
    group.add_argument("--mixing-time", type=_TIME, dest="mixing_time_s", metavar="10ms")
    strength = group.add_mutually_exclusive_group()
    strength.add_argument("--field", type=_FIELD, dest="field_t", metavar="3T")
    strength.add_argument("--frequency", type=_FREQUENCY, dest="spectrometer_frequency_mhz",
                          metavar="127.7MHz")  # fmt: skip
    group.add_argument("--dwell-time", type=_TIME, dest="dwell_time_s", metavar="500us")
    group.add_argument("--nucleus", type=_nucleus, metavar="1H")
    group.add_argument("--sequence", type=_sequence, metavar="PRESS")
    group.add_argument("--reference-ppm", type=_number(-1000, 1000), metavar="PPM",
                       help="chemical shift at zero frequency")  # fmt: skip
    group.add_argument("--samples", type=_samples, dest="n_samples", metavar="N",
                       help="samples of one FID, for LCModel RAW of many voxels")  # fmt: skip
    group.add_argument("--quantity", choices=("area", "height", "molar"),
                       help="what the values of a peak table are")  # fmt: skip


def _add_context(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("evidence")
    group.add_argument(
        "--prior", type=_prior, default=0.5, metavar="P",
        help="prior probability of recurrence (0.5); narloch: of a metastasis, by "
        "--months-since-irradiation",
    )  # fmt: skip
    group.add_argument("--criteria", type=_path, metavar="FILE",
                       help="criteria to add or change (TOML)")  # fmt: skip
    group.add_argument("--population", metavar="glioma|metastasis|...")
    group.add_argument("--months-since-irradiation", type=_number(-1e-9, 1200), metavar="N")
    group.add_argument("--perfusion", choices=("low", "high"), dest="perfusion_reading",
                       help="the perfusion map read by eye")  # fmt: skip
    group.add_argument("--rcbv-grey", type=_number(-1e-9, 100), metavar="X",
                       help="rCBV of the lesion over grey matter")  # fmt: skip
    group.add_argument("--rcbv-white", type=_number(-1e-9, 100), metavar="X",
                       help="rCBV of the lesion over white matter")  # fmt: skip
    group.add_argument("--mri", metavar="TEXT", help="reading of the MRI, shown and not scored")
    for name in ("after-bevacizumab", "near-skull", "post-contrast"):
        group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=None)
    return group


# ---- analyze ----------------------------------------------------------------------------------


def _analyze(options: argparse.Namespace) -> int:
    from mrs_necrosis.report.files import refuse_existing, refuse_existing_file, write_files
    from mrs_necrosis.report.table import to_tsv
    from mrs_necrosis.report.text import summary

    keywords = _keywords(options)
    if options.contralateral and (options.table is not None or len(options.inputs) != 1):
        options.parser.error("--contralateral belongs to one input")
    if options.table is not None:
        return _analyze_table(options, keywords)
    if options.dicom_source is not None and options.out is None:
        options.parser.error("--dicom-source needs --out")
    if options.nprocs is not None or options.mem_mb is not None:
        options.parser.error("--nprocs and --mem-mb go with --table; --dask spreads one grid")
    many = len(options.inputs) > 1
    to_stdout = options.json == "-"
    if options.out is not None:
        refuse_existing(options.out, overwrite=options.overwrite)
    if options.json and not to_stdout:
        refuse_existing_file(Path(options.json), overwrite=options.overwrite)
    if options.contralateral:
        other = _other_side(options.contralateral, options.inputs[0], keywords)
        keywords["context"] = replace(keywords["context"], contralateral=other)
    done: list[Analysis] = []
    failed: list[MRSNecrosisError] = []
    for number, one in enumerate(options.inputs, 1):
        out = options.out
        if out is not None and many:
            out = out / f"{number:03d}"
        try:
            with (
                _progress(options) as progress,
                _executor(options) as executor,
                _notes(options, one.name if many else ""),
            ):
                analysis = mrs_necrosis.analyze(
                    one.source, water_reference=one.water, out=out,
                    overwrite=options.overwrite, figures=options.figures,
                    dicom_source=options.dicom_source, progress=progress, executor=executor,
                    threads=options.omp_nthreads, **keywords,
                )  # fmt: skip
        except OutputError:
            raise
        except ValueError as error:
            if "off" in {options.combine_coils, options.average}:
                options.parser.error(f"{error}; leave out --combine-coils and --average off")
            raise
        except MRSNecrosisError as error:
            code = _report_error(error, one.name)
            if not many:
                return code
            failed.append(error)
            continue
        done.append(analysis)
        if not to_stdout and not options.quiet:
            if many:
                _print(f"{'' if number == 1 else chr(10)}{number:03d}  {one.name}")
            _print(summary(analysis))
    if options.json and done:
        _write_json(options, done, many=many)
    if options.out is not None and many and done:
        if options.overwrite:
            _remove_more(options.out, len(options.inputs))
        write_files(options.out, {"ratios.tsv": to_tsv(done).encode()}, overwrite=True)
    if options.out is not None and done and not options.quiet:
        _print(f"\nwritten to {options.out}", file=sys.stderr)
    if not failed:
        return EXIT_OK
    return EXIT_SOME_FAILED if done else EXIT_BAD_INPUT


def _other_side(source: str, case: _Input, keywords: dict[str, Any]) -> PeakAreas:
    """Return the areas of a voxel of the other side, measured with the options of the case."""
    from mrs_necrosis.io import is_peak_table
    from mrs_necrosis.report.text import failed_checks

    of_the_case = {"context", "prior", "criteria", "label", *_GRID}
    told = {name: value for name, value in keywords.items() if name not in of_the_case}
    by_hand = {"phase_deg", "shift_ppm"}  # of one spectrum alone
    steps = {name: v for name, v in told["preprocessing"].items() if name not in by_hand}
    try:
        found = mrs_necrosis.analyze(source, **{**told, "preprocessing": steps})
    except (SignalError, FitError) as error:
        raise FormatError(source, str(error)) from None
    if (found.fit is None) is not is_peak_table(case.source):
        problem = "the other side must be measured as the case is, as a spectrum or as peak values"
        raise FormatError(source, problem)
    failed = () if found.assessment is None else failed_checks(found.assessment)
    if failed or not found.is_single:
        why = f"it failed its checks ({', '.join(failed)})" if failed else "it has many voxels"
        raise FormatError(source, f"cannot stand for the other side; {why}")
    return found.areas


def _write_json(options: argparse.Namespace, done: list[Analysis], *, many: bool) -> None:
    from mrs_necrosis.report.document import to_json
    from mrs_necrosis.report.files import write_files

    texts = [to_json(analysis) for analysis in done]
    text = texts[0] if not many else "[" + ",\n".join(t.rstrip() for t in texts) + "]\n"
    if options.json == "-":
        sys.stdout.write(text)
    else:
        target = Path(options.json)
        write_files(target.parent, {target.name: text.encode()}, overwrite=options.overwrite)


def _remove_more(out: Path, count: int) -> None:
    """Remove the numbered results of an earlier command that had more inputs."""
    from mrs_necrosis.report.files import remove_earlier

    for folder in sorted(out.iterdir()):
        if re.fullmatch(r"\d{3,}", folder.name) and int(folder.name) > count:
            remove_earlier(folder)


def _analyze_table(options: argparse.Namespace, keywords: dict[str, Any]) -> int:
    from mrs_necrosis.cohort import analyze_table
    from mrs_necrosis.cohort.batch import table_units

    if options.out is None or options.label:
        options.parser.error("--table needs --out, and has its labels itself")
    if options.dicom_source is not None:
        options.parser.error("--dicom-source does not go with --table")
    del keywords["label"]
    count = len(table_units(options.table))
    with _many(options, count) as executor, _progress(options, "inputs") as progress:
        result = analyze_table(
            options.table, options.out, figures=options.figures, overwrite=options.overwrite,
            threads=options.omp_nthreads, executor=executor, progress=progress, **keywords,
        )  # fmt: skip
    return _report_cohort(options, result, options.out)


def _keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Return what ``analyze`` takes, from the options; a wrong value ends the command here."""
    from mrs_necrosis.pipeline import check_given, is_fit_range

    keywords: dict[str, Any] = {
        name: getattr(options, name)
        for name in (*_ACQUISITION, "field_t", "quantity")
        if getattr(options, name) is not None
    }
    try:
        check_given(keywords)
    except ValueError as error:
        options.parser.error(str(error))
    keywords["context"] = _context(options)
    keywords["prior"] = _prior_of(options)
    if options.criteria is not None:
        keywords["criteria"] = _load_criteria(options)
    if "level" not in options:
        return keywords
    switch = {"auto": "auto", "on": True, "off": False}
    keywords["preprocessing"] = {
        **{step: switch[getattr(options, step)] for step in _STEPS
           if getattr(options, step) != "auto"},
        **{name: getattr(options, name) for name in ("phase_deg", "shift_ppm")
           if getattr(options, name) is not None},
        **{name: True for name in _ON_DEMAND if getattr(options, name)},
    }  # fmt: skip
    if options.model != "auto":
        keywords["model"] = options.model
    if options.fit_range is not None:
        low, high = options.fit_range
        if not is_fit_range(low, high):
            options.parser.error("--fit-range must ascend, and hold 2.6 to 3.03 ppm")
        keywords["fit_range_ppm"] = (low, high)
    keywords |= {name: getattr(options, name) for name in _GRID}
    keywords["seed"] = options.random_seed
    return {**keywords, "level": options.level, "label": options.label}


@contextlib.contextmanager
def _executor(options: argparse.Namespace) -> Iterator[Any]:
    """Yield a Dask cluster if one is asked for."""
    if options.dask is None:
        yield None
        return
    from mrs_necrosis.cohort import cluster

    with cluster(None if options.dask == "local" else options.dask) as executor:
        yield executor


_ON_DEMAND = ("filter_kspace", "denoise", "suppress_lipids")
_GRID = ("lesion_mask", "contralateral_mask", "anatomy", "point_spread", "midline_mm")


def _context(options: argparse.Namespace) -> Context:
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


def _prior_of(options: argparse.Namespace) -> float:
    if options.prior != "narloch":
        return float(options.prior)
    from mrs_necrosis.classifier import prior_after_radiosurgery

    if options.months_since_irradiation is None:
        options.parser.error("--prior narloch needs --months-since-irradiation")
    if options.population not in {None, "metastasis"}:
        options.parser.error("--prior narloch is of metastases, not of another --population")
    return prior_after_radiosurgery(options.months_since_irradiation)


def _load_criteria(options: argparse.Namespace) -> tuple[Criterion, ...]:
    from mrs_necrosis.criteria import load_criteria

    return load_criteria(options.criteria)


@contextlib.contextmanager
def _progress(
    options: argparse.Namespace, what: str = "voxels"
) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar on a terminal, from the second second on."""
    if options.quiet or not sys.stderr.isatty():
        yield None
        return
    start = time.monotonic()
    shown = False

    def show(done: int, total: int) -> None:
        nonlocal shown
        elapsed = time.monotonic() - start
        if elapsed < 1 or not total:
            return
        shown = True
        filled = 30 * done // total
        left = f", {elapsed / done * (total - done):.0f} s left" if done else ""
        bar = "#" * filled + "." * (30 - filled)
        sys.stderr.write(f"\r[{bar}] {done} of {total} {what}{left}  \033[K")
        sys.stderr.flush()

    try:
        yield show
    finally:
        if shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


# ---- bids -------------------------------------------------------------------------------------


def _add_bids(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bids_dir", type=_path, metavar="BIDS_DIR", help="root of the dataset")
    parser.add_argument("output_dir", type=_path, metavar="OUT_DIR",
                        help="where the derivatives go: .../derivatives/mrs_necrosis")  # fmt: skip
    parser.add_argument("analysis_level", choices=("participant", "group"),
                        help="every acquisition, or one table of all")  # fmt: skip
    choice = parser.add_argument_group("selection")
    for name, prefix in (("participant", "sub-"), ("session", "ses-")):
        choice.add_argument(
            f"--{name}-label", nargs="+", default=[], action="extend", metavar="LABEL",
            help=f"only these, with or without {prefix}",
        )  # fmt: skip
    choice.add_argument("--bids-filter-file", type=_path, metavar="FILE",
                        help='choose by entities: {"svs": {"acquisition": "press"}}')  # fmt: skip
    choice.add_argument("--skip-bids-validation", action="store_true",
                        help="take a folder without dataset_description.json")  # fmt: skip
    parser.add_argument("-d", "--derivatives", nargs="+", default=[], action="extend",
                        metavar="NAME=PATH", type=_named_path,
                        help="datasets of derivatives, in which lesion masks of grids are looked "
                        "for (sub-01_..._label-lesion_mask.nii.gz)")  # fmt: skip
    _add_cohort(parser)
    parser.add_argument("-w", "--work-dir", type=_path, metavar="DIR", help="for temporary files")
    parser.add_argument("--dask", nargs="?", const="local", metavar="ADDRESS",
                        help="a Dask cluster of this machine's cores, or the scheduler at "
                        "ADDRESS (tcp://host:8786)")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="redo what is done")
    parser.add_argument("--deidentify", action="store_true",
                        help="name everything by checksums of the files")  # fmt: skip
    parser.add_argument("--dry-run", "--validate-only", action="store_true",
                        help="list what would be analysed, and what is wrong with it")  # fmt: skip
    parser.add_argument("--reports-only", action="store_true",
                        help="analyse nothing; write the pages again")  # fmt: skip
    parser.add_argument("--stop-on-first-crash", action="store_true",
                        help="begin nothing more once an acquisition has failed")  # fmt: skip
    parser.add_argument("--json", metavar="FILE|-",
                        help="what became of each, as JSON; - is standard output")  # fmt: skip
    _add_context(parser)


def _named_path(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals:
        name, path = Path(text).name, text
    if not re.fullmatch(r"[A-Za-z0-9_.+-]+", name) or name == "raw" or not path:
        msg = f"is written NAME=PATH, with a name of letters and digits; got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return name, Path(path)


def _add_cohort(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("many inputs")
    group.add_argument("--nprocs", "--n-cpus", type=_whole(1), metavar="N",
                       help="processes; by the number of inputs and processors")  # fmt: skip
    group.add_argument("--omp-nthreads", type=_whole(1), metavar="N",
                       help="threads of one process; as many as processors")  # fmt: skip
    group.add_argument("--mem-mb", type=_whole(_MEM_MB), metavar="N",
                       help=f"memory of all processes together; each is left {_MEM_MB} MB, so "
                       "that fewer may run")  # fmt: skip
    group.add_argument("--no-figures", action="store_false", dest="figures",
                       help="reports without figures; a third of the time")  # fmt: skip
    group.add_argument("--random-seed", type=_whole(0), default=0, metavar="N",
                       help="of the draws from the errors of the areas (0)")  # fmt: skip
    group.add_argument("--config", type=_path, metavar="FILE.toml",
                       help='options in a file: nprocs = 4, participant-label = ["01", "02"]; '
                       "the command line comes on top")  # fmt: skip


def _bids(options: argparse.Namespace) -> int:
    from mrs_necrosis.cohort import analyze_dataset
    from mrs_necrosis.cohort.batch import dataset_units

    if len(dict(options.derivatives)) < len(options.derivatives):
        options.parser.error("--derivatives has a name twice")
    selection: dict[str, Any] = {
        "participants": options.participant_label,
        "sessions": options.session_label,
        "filter_file": options.bids_filter_file,
        "derivatives": dict(options.derivatives),
        "deidentify": options.deidentify,
        "validate": not options.skip_bids_validation,
    }
    keywords: dict[str, Any] = {
        "context": _context(options), "prior": _prior_of(options), "seed": options.random_seed,
    }  # fmt: skip
    if options.criteria is not None:
        keywords["criteria"] = _load_criteria(options)
    count = 0
    if options.analysis_level == "participant":
        units = dataset_units(options.bids_dir, **selection)
        count = len(units)
        if options.dry_run:
            return _list_units(units)
    elif options.dry_run:
        _print(f"{options.output_dir}: one table of all results there")
        return EXIT_OK
    with _many(options, count) as executor, _progress(options, "acquisitions") as progress:
        result = analyze_dataset(
            options.bids_dir, options.output_dir, options.analysis_level, **selection,
            figures=options.figures, overwrite=options.overwrite, work_dir=options.work_dir,
            stop_on_first_crash=options.stop_on_first_crash, reports_only=options.reports_only,
            threads=options.omp_nthreads, executor=executor, progress=progress, **keywords,
        )  # fmt: skip
    return _report_cohort(options, result, options.output_dir)


def _list_units(units: list[Unit]) -> int:
    from mrs_necrosis.cohort.unit import why_refused

    refused = 0
    for unit in units:
        used = [name for name in ("water", "anatomy", "lesion") if getattr(unit, name)]
        _print(f"{unit.folder}/{unit.key}" + (f"  ({', '.join(used)})" if used else ""))
        reason = why_refused(unit)
        refused += bool(reason)
        for text in filter(None, (reason, *unit.notes)):
            _print(f"    {text}")
    return EXIT_SOME_FAILED if refused else EXIT_OK


@contextlib.contextmanager
def _many(options: argparse.Namespace, count: int) -> Iterator[Any]:
    """Yield what runs many inputs; None is this process."""
    from mrs_necrosis.cohort import cluster
    from mrs_necrosis.cohort.batch import MANY_UNITS
    from mrs_necrosis.processors import available_processors

    workers = options.nprocs
    if workers is None and options.dask is None:
        from importlib.util import find_spec

        worth = count > MANY_UNITS and find_spec("distributed") is not None
        workers = min(available_processors(), count) if worth else 1
    memory = options.mem_mb
    if memory is not None:
        workers = min(workers or available_processors(), memory // _MEM_MB)
    if workers == 1 and options.dask is None:
        yield None
        return
    with cluster(None if options.dask in {None, "local"} else options.dask, workers=workers,
                 memory_mb=memory) as executor:  # fmt: skip
        yield executor


def _report_cohort(options: argparse.Namespace, result: CohortResult, out: Path) -> int:
    from mrs_necrosis.cohort.batch import write_outcomes

    for outcome in result.outcomes:
        if outcome.state == "failed":
            _print(f"mrs-necrosis: {outcome.name}: {outcome.message}", file=sys.stderr)
    if options.json == "-":
        sys.stdout.write(result.to_json())
    elif options.json:
        write_outcomes(result, Path(options.json))
    if options.json != "-" and not options.quiet:
        counts = ", ".join(
            f"{result.count(state)} {words}"
            for state, words in (("done", "analysed"), ("unchanged", "done before"),
                                 ("failed", "failed"))
            if result.count(state)
        )  # fmt: skip
        _print(f"{counts or 'all results gathered'}; see {out / 'cohort.html'}")
    return result.exit_code


# ---- criteria ---------------------------------------------------------------------------------


def _add_criteria(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="*", metavar="INPUT",
                        help="show where each criterion would put this case")  # fmt: skip
    parser.add_argument("--all", action="store_true",
                        help="also those that are switched off, unverified ones too")  # fmt: skip
    _add_acquisition(parser)
    _add_context(parser)


def _criteria(options: argparse.Namespace) -> int:
    criteria = _load_criteria(options)
    places = {}
    inputs = _inputs(options.parser, options.inputs, {})
    if len(inputs) > 1:
        options.parser.error("criteria takes one input")
    if inputs:
        from mrs_necrosis.classifier import place
        from mrs_necrosis.report.rows import finding_text

        keywords = _keywords(options)
        found = mrs_necrosis.analyze(inputs[0].source, **keywords)
        if not found.is_single:
            options.parser.error("criteria takes a single voxel")
        conditions: Any = found  # has an echo time and a field
        findings = place(found.areas, acquisition=conditions, criteria=criteria,
                         context=keywords["context"])  # fmt: skip
        places = {finding.id: finding for finding in findings}
    for one in criteria:
        if not (one.enabled or options.all):
            continue
        state = "" if one.enabled else (" [off]" if one.is_verified else " [off, not verified]")
        _print(f"{one.id}{state}")
        _print(f"    {one.statement} favors {one.side}; {one.citation}")
        finding = places.get(one.id)
        if finding is not None:
            value = "" if finding.value is None else f" ({finding_text(finding)})"
            # a cut-off of concentrations is another one for areas
            as_what = "" if finding.statement == one.statement else f", as {finding.statement}"
            _print(f"    this case: {finding.favors.value}{value}{as_what}")
        if one.note and options.verbose:
            _print(f"    {one.note}")
    return EXIT_OK


# ---- followup ---------------------------------------------------------------------------------


def _add_followup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("timeline", nargs="?", type=_path, metavar="TIMELINE.toml",
                        help="visits and treatments")  # fmt: skip
    parser.add_argument("--visit", nargs=2, action="append", default=[], metavar=("DATE", "INPUT"),
                        help="a further visit: 2012-09 and a scanner's file or a peak table; "
                        "may be repeated")  # fmt: skip
    parser.add_argument("--reproducibility", action="append", default=[], metavar="Cho/Cr=0.1",
                        help="variation from day to day; may be repeated")  # fmt: skip
    parser.add_argument("--level", type=_number(0, 1), default=0.95,
                        help="coverage of the intervals (0.95)")  # fmt: skip
    parser.add_argument("--out", type=_path, metavar="DIR",
                        help="write the course there as JSON, page and figure")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result")


def _followup(options: argparse.Namespace) -> int:
    from mrs_necrosis.followup import Date, Timeline, Visit, followup, read_timeline
    from mrs_necrosis.ratios import parse_ratio
    from mrs_necrosis.report import course
    from mrs_necrosis.report.files import refuse_existing, write_files

    if options.timeline is None and not options.visit:
        options.parser.error("give a timeline, or --visit DATE INPUT")
    if options.out is not None:
        refuse_existing(options.out, overwrite=options.overwrite, name="followup.json")
    scatter = {}
    for text in options.reproducibility:
        name, _, value = text.partition("=")
        try:
            parse_ratio(name.strip())
            scatter[name.strip()] = _number(0, 10)(value)
        except (ValueError, argparse.ArgumentTypeError) as error:
            options.parser.error(f"--reproducibility {text!r}: {error}")
    timeline = Timeline(visits=()) if options.timeline is None else read_timeline(options.timeline)
    try:
        more = [Visit(date=Date.parse(date), source=Path(file)) for date, file in options.visit]
    except ValueError as error:
        options.parser.error(str(error))
    visits = [_measured(options, visit) for visit in (*timeline.visits, *more)]
    result = followup(replace(timeline, visits=tuple(visits)), level=options.level,
                      reproducibility=scatter or None)  # fmt: skip
    if not options.quiet:
        _print(course.summary(result))
    if options.out is not None:
        contents = course.render(result, level=options.level)
        write_files(options.out, contents, overwrite=options.overwrite)
        if not options.quiet:
            _print(f"\nwritten to {options.out}", file=sys.stderr)
    return EXIT_OK


def _measured(options: argparse.Namespace, visit: Visit) -> Visit:
    """Return a visit with what its file holds."""
    from mrs_necrosis.followup import Visit
    from mrs_necrosis.report.text import failed_checks

    if visit.source is None:
        return visit
    try:
        found = mrs_necrosis.analyze(
            str(visit.source), echo_time_s=visit.echo_time_s, sequence=visit.sequence,
            lesion_mask=visit.lesion_mask,
        )  # fmt: skip
    except (SignalError, FitError) as error:
        raise FormatError(visit.source, str(error)) from None
    except ValueError as error:
        options.parser.error(f"the visit of {visit.date}: {error}")
    mask = None if found.is_single else _voxels_of_lesion(options.parser, visit.source, found)
    acquisition = found.acquisition
    made = Visit(
        date=visit.date,
        areas=found.areas,
        mask=mask,
        echo_time_s=found.echo_time_s,
        field_t=visit.field_t if found.field_t is None else found.field_t,
        sequence=visit.sequence if acquisition is None else acquisition.sequence,
        manufacturer=(acquisition and acquisition.manufacturer) or visit.manufacturer,
        volume_ml=_volume_ml(found),
        problems=() if found.assessment is None else failed_checks(found.assessment),
    )
    return visit.measured(made)


def _voxels_of_lesion(
    parser: argparse.ArgumentParser, source: Path, found: Analysis
) -> NDArray[np.bool_]:
    """Return which voxels of a visit are good enough and more of the lesion than of the rest."""
    from mrs_necrosis.lesion import usable_voxels

    weights = None if found.grid_result is None else found.grid_result.own.lesion_weights
    if weights is None or found.quality is None:
        parser.error("a visit of many voxels needs its lesion: name a lesion_mask in a timeline")
    mask: NDArray[np.bool_] = usable_voxels(found.quality) & (weights >= 0.5)
    if not mask.any():
        raise FormatError(source, "no voxel of its lesion is good enough, or its mask misses it")
    return mask


def _volume_ml(found: Analysis) -> float | None:
    """Return the volume of a voxel; its place means little, as patients move between visits."""
    size = None if found.spectra is None else found.spectra.voxel_size_mm
    return None if size is None else math.prod(size) / 1e3


# ---- simulate ---------------------------------------------------------------------------------


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tissue", metavar="TISSUE",
                        help="tissue class; a wrong one lists them")  # fmt: skip
    parser.add_argument("--out", type=_path, required=True, metavar="FILE.nii.gz",
                        help="NIfTI-MRS; the truth goes to FILE.truth.json")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--seed", type=_whole(0), default=0, help="of all chance (0)")
    parser.add_argument("--grid", type=int, nargs=3, default=(1, 1, 1), metavar=("X", "Y", "Z"),
                        help="voxels (1 1 1): one of 20 mm, or many of 10 mm")  # fmt: skip
    parser.add_argument("--echo-time", "--te", type=_TIME, default=0.03, metavar="30ms")
    parser.add_argument("--sequence", default="PRESS", help="PRESS, STEAM or sLASER (PRESS)")
    strength = parser.add_mutually_exclusive_group()
    strength.add_argument("--field", type=_FIELD, metavar="3T")
    strength.add_argument("--frequency", type=_FREQUENCY, default=123.2, metavar="123.2MHz")
    parser.add_argument("--snr", type=_number(0, math.inf), default=20.0)
    parser.add_argument("--linewidth", type=_number(0, 1000), default=6.0, metavar="HZ")
    parser.add_argument("--phase", type=_number(-360, 360), default=0.0, metavar="DEGREES")
    parser.add_argument("--shift", type=_number(-1000, 1000), default=0.0, metavar="HZ")
    parser.add_argument("--residual-water", type=_number(-1e-9, 1e6), default=0.0, metavar="X",
                        help="over the largest of Cho, Cr, NAA (0)")  # fmt: skip
    parser.add_argument("--baseline", type=_number(-1e-9, 100), default=0.0, metavar="X",
                        help="over the height of the tallest peak (0)")  # fmt: skip
    parser.add_argument("--coils", type=int, default=1)
    parser.add_argument("--averages", type=int, default=1)
    parser.add_argument("--water-reference", type=_path, metavar="FILE.nii.gz",
                        help="write a water reference as well")  # fmt: skip


def _simulate(options: argparse.Namespace) -> int:
    import numpy as np

    from mrs_necrosis.constants import PROTON_MHZ_PER_TESLA
    from mrs_necrosis.io import write_nifti_mrs
    from mrs_necrosis.simulation import phantom
    from mrs_necrosis.staging import write_atomically

    name = options.out.name
    if not name.endswith((".nii", ".nii.gz")):
        options.parser.error(f"--out must end in .nii or .nii.gz; got {name!r}")
    truth_path = options.out.with_name(name.removesuffix(".gz").removesuffix(".nii"))
    truth_path = truth_path.with_name(truth_path.name + ".truth.json")
    targets = [options.out, truth_path, *filter(None, [options.water_reference])]
    if options.water_reference in targets[:2]:
        options.parser.error("--water-reference and --out must be two files")
    for target in targets:
        if target.exists() and not options.overwrite:
            msg = f"{target.name} exists already; choose another place or give --overwrite"
            raise OutputError(msg)
        if not target.parent.is_dir():
            msg = f"the folder of {target.name} does not exist"
            raise OutputError(msg)
    frequency = options.frequency
    if options.field is not None:
        frequency = options.field * PROTON_MHZ_PER_TESLA
    try:
        made = phantom(
            options.tissue, np.random.default_rng(options.seed), grid=tuple(options.grid),
            spectrometer_frequency_mhz=frequency, echo_time_s=options.echo_time,
            sequence=options.sequence, snr=options.snr, linewidth_hz=options.linewidth,
            phase_rad=math.radians(options.phase), shift_hz=options.shift,
            residual_water=options.residual_water, baseline=options.baseline,
            coils=options.coils, averages=options.averages,
            water_reference=options.water_reference is not None,
            affine=_centred(options.grid),
        )  # fmt: skip
    except (ValueError, KeyError) as error:
        options.parser.error(str(error.args[0]))
    write_nifti_mrs(options.out, made.data)
    if options.water_reference is not None and made.data.water is not None:
        write_nifti_mrs(options.water_reference, made.data.water)
    write_atomically(truth_path, _truth(options, made).encode())
    if not options.quiet:
        _print(f"written to {options.out} and {truth_path}")
    return EXIT_OK


def _centred(grid: Sequence[int]) -> NDArray[Any]:
    """Return a place for simulated voxels, so that masks and anatomy can be tried on them."""
    import numpy as np

    edge_mm = 20.0 if tuple(grid) == (1, 1, 1) else 10.0
    affine = np.diag([edge_mm, edge_mm, edge_mm, 1.0])
    affine[:3, 3] = -edge_mm * (np.array(grid) - 1) / 2
    return affine


def _truth(options: argparse.Namespace, made: Phantom) -> str:
    import json

    from mrs_necrosis.report.document import plain

    truth = made.truth
    document = {
        "schema": "mrs-necrosis/truth/1",
        "tissue": options.tissue,
        "seed": options.seed,
        "areas": {name: plain(truth.areas.value(name)) for name in truth.areas.names},
        "snr": plain(truth.snr),
        "noise_sd": plain(truth.noise_sd),
        "parameters": plain(truth.parameters),
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


# ---- demo -------------------------------------------------------------------------------------


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=_path, default=Path("mrs-necrosis-demo"), metavar="DIR",
                        help="where the reports go (mrs-necrosis-demo)")  # fmt: skip


def _demo(options: argparse.Namespace) -> int:
    from mrs_necrosis.report.text import ratio_table, summary, verdict_words
    from mrs_necrosis.simulation import sample_path

    _print("The reference case: peak values as a console printed them (Zhuang et al. 2016)\n")
    table = sample_path("reference_case.toml")
    found = mrs_necrosis.analyze(table, out=options.out / "peak-table", overwrite=True)
    _print(summary(found))
    for echo_time in ("30", "144"):
        spectrum = sample_path(f"reference_case_te{echo_time}.nii.gz")
        folder = options.out / f"spectrum-te{echo_time}"
        with _progress(options) as progress:
            found = mrs_necrosis.analyze(spectrum, out=folder, overwrite=True, progress=progress)
        _print(f"\nA simulated spectrum with the same areas, echo time {echo_time} ms\n")
        _print(ratio_table(found))
        assert found.assessment is not None
        label, why = found.assessment.favors.value, verdict_words(found.assessment)
        _print(f"\n{label.upper()}: {why}")
    _print(f"\nThe reports are in {options.out}: open report.html in each folder.")
    return EXIT_OK
