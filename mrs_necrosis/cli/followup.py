"""``mrs-necrosis followup``."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import mrs_necrosis
from mrs_necrosis.cli.console import EXIT_OK, print_notes, say
from mrs_necrosis.cli.values import number_value, path_value
from mrs_necrosis.errors import FitError, FormatError, SignalError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mrs_necrosis.analysis import Analysis
    from mrs_necrosis.followup import Visit


def add_followup(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("timeline", nargs="?", type=path_value, metavar="TIMELINE.toml",
                        help="visits and treatments")  # fmt: skip
    parser.add_argument("--visit", nargs=2, action="append", default=[], metavar=("DATE", "INPUT"),
                        help="a further visit: 2012-09 and a scanner's file or a peak table; "
                        "may be repeated")  # fmt: skip
    parser.add_argument("--reproducibility", action="append", default=[], metavar="Cho/Cr=0.1",
                        help="variation from day to day; may be repeated")  # fmt: skip
    parser.add_argument("--level", type=number_value(0, 1), default=0.95,
                        help="coverage of the intervals (0.95)")  # fmt: skip
    parser.add_argument("--out", type=path_value, metavar="DIR",
                        help="write the course there as JSON, page and figure")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result")


def run_followup(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
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
            scatter[name.strip()] = number_value(0, 10)(value)
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
        say(course.summary(result))
    if options.out is not None:
        contents = course.render(result, level=options.level)
        write_files(options.out, contents, overwrite=options.overwrite)
        if not options.quiet:
            say(f"\nwritten to {options.out}", file=sys.stderr)
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
    lesion = None if found.grid_result is None else found.grid_result.lesion
    if lesion is not None and lesion.lesions:
        several = f"its mask holds {len(lesion.lesions)} separate lesions, which were added up"
        print_notes(
            options,
            [f"{several}: a course follows one, so give each lesion a mask and a timeline"],
            f"the visit of {visit.date}: ",
        )
    acquisition = found.acquisition
    made = Visit(
        date=visit.date,
        areas=found.areas,
        mask=mask,
        echo_time_s=found.echo_time_s,
        field_t=visit.field_t if found.field_t is None else found.field_t,
        sequence=visit.sequence if acquisition is None else acquisition.sequence,
        manufacturer=(acquisition and acquisition.manufacturer) or visit.manufacturer,
        inversion_time_s=None if acquisition is None else acquisition.inversion_time_s,
        fat_saturated=None if acquisition is None else acquisition.fat_saturated,
        volume_ml=_volume_ml(found),
        problems=() if found.assessment is None else failed_checks(found.assessment),
    )
    return visit.measured(made)


def _voxels_of_lesion(
    parser: argparse.ArgumentParser, source: Path, found: Analysis
) -> NDArray[np.bool_]:
    """Return which voxels of a visit are good enough and more of the lesion than of the rest."""
    from mrs_necrosis.lesion.masks import usable_voxels

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
