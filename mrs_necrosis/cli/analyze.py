"""``mrs-necrosis analyze``."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mrs_necrosis
from mrs_necrosis.cli.console import (
    EXIT_BAD_INPUT,
    EXIT_OK,
    EXIT_SOME_FAILED,
    notes_of,
    progress_bar,
    report_error,
    say,
)
from mrs_necrosis.cli.many import report_cohort, running_many
from mrs_necrosis.cli.options import (
    GRID,
    STEPS,
    add_acquisition,
    add_basis,
    add_cohort,
    add_context,
    keywords_of,
)
from mrs_necrosis.cli.values import number_value, path_value
from mrs_necrosis.errors import FitError, FormatError, MRSNecrosisError, OutputError, SignalError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mrs_necrosis.analysis import Analysis
    from mrs_necrosis.areas import PeakAreas
    from mrs_necrosis.cli.inputs import Input


def add_analyze(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
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
        "--table", type=path_value, metavar="FILE",
        help="a TSV or CSV with a column input or columns of peaks (Cho, Cr, …), and any of "
        "water_reference, label, echo_time_s, …: one line per voxel; needs --out, and goes on "
        "where an earlier run was",
    )  # fmt: skip
    _add_output(parser)
    # shown in the help; taken out before parsing, because its place decides what it belongs to
    parser.add_argument_group("water").add_argument(
        "--water-reference", metavar="FILE", help="water reference of the input it follows"
    )
    add_cohort(parser)
    add_acquisition(parser)
    add_context(parser).add_argument(
        "--contralateral", metavar="INPUT",
        help="a voxel of the other side: same examination, size and settings",
    )  # fmt: skip
    _add_grids(parser)
    _add_processing(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", type=path_value, metavar="DIR",
        help="write result.json, ratios.tsv, figures and report.html there; several inputs get "
        "numbered folders and one table",
    )  # fmt: skip
    output.add_argument(
        "--json", metavar="FILE|-", help="write the result as JSON; - is standard output"
    )
    output.add_argument("--overwrite", action="store_true", help="replace an earlier result")
    output.add_argument(
        "--dicom-source", type=path_value, metavar="FILE|DIR",
        help="also write DICOM to DIR: of a voxel a structured report (assessment.dcm) with "
        "patient and study of this DICOM object, of a grid Parametric Maps (map_*.dcm) on the "
        "images of one series in this folder",
    )  # fmt: skip
    output.add_argument(
        "--label", help="what the outputs call the input; file names are not written, because "
        "they may name a person",
    )  # fmt: skip
    output.add_argument(
        "--level", type=number_value(0, 1), default=0.95, help="coverage of the intervals (0.95)"
    )


def _add_grids(parser: argparse.ArgumentParser) -> None:
    place = parser.add_argument_group("position")
    place.add_argument(
        "--lesion-mask",
        type=path_value,
        metavar="FILE",
        help="where the lesion is: NIfTI, any space",
    )
    place.add_argument("--anatomy", type=path_value, metavar="FILE",
                       help="image to lay the voxel or the maps on (NIfTI)")  # fmt: skip
    grid = parser.add_argument_group("grids")
    grid.add_argument("--contralateral-mask", type=path_value, metavar="FILE",
                      help="where normal tissue is; found by itself if not given")  # fmt: skip
    grid.add_argument("--point-spread", choices=("hamming", "sinc", "box"), default="hamming",
                      help="response of a voxel, for the masks (hamming)")  # fmt: skip
    grid.add_argument("--midline", type=number_value(-1000, 1000), default=0.0, metavar="MM",
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


def _add_processing(parser: argparse.ArgumentParser) -> None:
    processing = parser.add_argument_group("processing")
    processing.add_argument("--phase", type=number_value(-360, 360), metavar="DEGREES",
                            dest="phase_deg", help="take out this phase")  # fmt: skip
    processing.add_argument("--shift", type=number_value(-10, 10), metavar="PPM", dest="shift_ppm",
                            help="move the peaks down by this")  # fmt: skip
    for step, does in STEPS.items():
        option = "--find-phase" if step == "phase" else f"--{step.replace('_', '-')}"
        processing.add_argument(option, dest=step, choices=("auto", "on", "off"), default="auto",
                                help=f"{does} (auto)")  # fmt: skip
    processing.add_argument(
        "--model", choices=("auto", "metabolites", "peaks"), default="auto",
        help="whole metabolites (auto, too) or free peaks",
    )  # fmt: skip
    add_basis(processing)
    processing.add_argument(
        "--fit-range", nargs=2, type=number_value(-5, 15), metavar=("LOW", "HIGH"),
        help="fit only this, in ppm: where lipid or water were taken out of the data, the rest "
        "(1.9 4.0)",
    )  # fmt: skip


def run_analyze(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from mrs_necrosis.report.files import refuse_existing, refuse_existing_file
    from mrs_necrosis.report.text import summary

    keywords = keywords_of(options)
    if options.contralateral and (options.table is not None or len(options.inputs) != 1):
        options.parser.error("--contralateral belongs to one input")
    if options.table is not None:
        return _analyze_table(options, keywords)
    if options.dicom_source is not None and options.out is None:
        options.parser.error("--dicom-source needs --out")
    if options.nprocs is not None or options.mem_mb is not None:
        options.parser.error("--nprocs and --mem-mb go with --table; --dask spreads one grid")
    if options.out is not None:
        refuse_existing(options.out, overwrite=options.overwrite)
    if options.json and options.json != "-":
        refuse_existing_file(Path(options.json), overwrite=options.overwrite)
    if options.contralateral:
        other = _other_side(options.contralateral, options.inputs[0], keywords)
        keywords["context"] = replace(keywords["context"], contralateral=other)
    many = len(options.inputs) > 1
    done: list[Analysis] = []
    for number, one in enumerate(options.inputs, 1):
        try:
            analysis = _analyze_one(options, one, f"{number:03d}" if many else "", keywords)
        except OutputError:
            raise
        except MRSNecrosisError as error:
            code = report_error(error, one.name)
            if not many:
                return code
            continue
        done.append(analysis)
        if options.json != "-" and not options.quiet:
            if many:
                say(f"{'' if number == 1 else chr(10)}{number:03d}  {one.name}")
            say(summary(analysis))
    if not done:
        return EXIT_BAD_INPUT
    _write(options, done, many=many)
    return EXIT_OK if len(done) == len(options.inputs) else EXIT_SOME_FAILED


def _analyze_one(
    options: argparse.Namespace, one: Input, folder: str, keywords: dict[str, Any]
) -> Analysis:
    """Analyse one input, of several into a folder of its own."""
    try:
        with (
            progress_bar(options) as progress,
            _executor(options) as executor,
            notes_of(options, one.name if folder else ""),
        ):
            return mrs_necrosis.analyze(
                one.source, water_reference=one.water,
                out=None if options.out is None else options.out / folder,
                overwrite=options.overwrite, figures=options.figures,
                dicom_source=options.dicom_source, progress=progress, executor=executor,
                threads=options.omp_nthreads, **keywords,
            )  # fmt: skip
    except ValueError as error:
        if "off" in {options.combine_coils, options.average}:
            options.parser.error(f"{error}; leave out --combine-coils and --average off")
        raise


def _write(options: argparse.Namespace, done: list[Analysis], *, many: bool) -> None:
    """Write what is made of all inputs together."""
    from mrs_necrosis.report.files import write_files
    from mrs_necrosis.report.table import to_tsv

    if options.json:
        _write_json(options, done, many=many)
    if options.out is None:
        return
    if many:
        if options.overwrite:
            _remove_more(options.out, len(options.inputs))
        write_files(options.out, {"ratios.tsv": to_tsv(done).encode()}, overwrite=True)
    if not options.quiet:
        say(f"\nwritten to {options.out}", file=sys.stderr)


def _other_side(source: str, case: Input, keywords: dict[str, Any]) -> PeakAreas:
    """Return the areas of a voxel of the other side, measured with the options of the case."""
    from mrs_necrosis.io import is_peak_table
    from mrs_necrosis.report.text import failed_checks

    of_the_case = {"context", "prior", "criteria", "label", *GRID}
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
    differences = _differences(case, source, told)
    if differences:
        problem = f"cannot stand for the other side; {'; '.join(differences)}"
        raise FormatError(source, problem)
    return found.areas


def _differences(case: Input, source: str, told: dict[str, Any]) -> list[str]:
    """Return in what another side was not measured as the case was."""
    from mrs_necrosis.followup.comparison import settings_compared, volumes_compared
    from mrs_necrosis.inputs import CAN_BE_GIVEN, read_input

    given = {name: value for name, value in told.items() if name in CAN_BE_GIVEN}
    both = read_input(case.source, case.water, given), read_input(source, None, given)
    if _is_same(*both):
        return ["it is the input itself"]
    differences = settings_compared(*(getattr(one, "acquisition", one) for one in both))[0]
    sizes = [getattr(one, "voxel_size_mm", None) for one in both]
    volumes = [None if size is None else math.prod(size) / 1e3 for size in sizes]
    return [*differences, *volumes_compared(volumes[0], volumes[1])]


def _is_same(one: object, other: object) -> bool:
    """Return whether two sources hold the same numbers: a copy may be compressed."""
    import numpy as np

    first, second = (getattr(each, "areas", None) for each in (one, other))
    if first is not None and second is not None:
        return first.names == second.names and np.array_equal(first.values, second.values)
    return np.array_equal(getattr(one, "fid", ()), getattr(other, "fid", ()))


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
    from mrs_necrosis.cohort.listing import table_units

    if options.out is None or options.label:
        options.parser.error("--table needs --out, and has its labels itself")
    if options.dicom_source is not None:
        options.parser.error("--dicom-source does not go with --table")
    del keywords["label"]
    count = len(table_units(options.table))
    with running_many(options, count) as executor, progress_bar(options, "inputs") as progress:
        result = analyze_table(
            options.table, options.out, figures=options.figures, overwrite=options.overwrite,
            threads=options.omp_nthreads, executor=executor, progress=progress, **keywords,
        )  # fmt: skip
    return report_cohort(options, result, options.out)


@contextlib.contextmanager
def _executor(options: argparse.Namespace) -> Iterator[Any]:
    """Yield a Dask cluster if one is asked for."""
    if options.dask is None:
        yield None
        return
    from mrs_necrosis.cohort import cluster

    with cluster(None if options.dask == "local" else options.dask) as executor:
        yield executor
