"""``mrs-necrosis bids``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mrs_necrosis.cli.console import EXIT_OK, EXIT_SOME_FAILED, progress_bar, say
from mrs_necrosis.cli.many import report_cohort, running_many
from mrs_necrosis.cli.options import add_basis, add_cohort, add_context, judged_of
from mrs_necrosis.cli.values import named_path, path_value

if TYPE_CHECKING:
    import argparse

    from mrs_necrosis.cohort.unit import Unit


def add_bids(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "bids_dir", type=path_value, metavar="BIDS_DIR", help="root of the dataset"
    )
    parser.add_argument("output_dir", type=path_value, metavar="OUT_DIR",
                        help="where the derivatives go: .../derivatives/mrs_necrosis")  # fmt: skip
    parser.add_argument("analysis_level", choices=("participant", "group"),
                        help="every acquisition, or one table of all")  # fmt: skip
    choice = parser.add_argument_group("selection")
    for name, prefix in (("participant", "sub-"), ("session", "ses-")):
        choice.add_argument(
            f"--{name}-label", nargs="+", default=[], action="extend", metavar="LABEL",
            help=f"only these, with or without {prefix}",
        )  # fmt: skip
    choice.add_argument("--bids-filter-file", type=path_value, metavar="FILE",
                        help='choose by entities: {"svs": {"acquisition": "press"}}')  # fmt: skip
    choice.add_argument("--skip-bids-validation", action="store_true",
                        help="take a folder without dataset_description.json")  # fmt: skip
    parser.add_argument("-d", "--derivatives", nargs="+", default=[], action="extend",
                        metavar="NAME=PATH", type=named_path,
                        help="datasets of derivatives, in which masks of lesions are looked for "
                        "(sub-01_..._label-lesion_mask.nii.gz)")  # fmt: skip
    add_cohort(parser)
    add_basis(parser)
    parser.add_argument(
        "-w", "--work-dir", type=path_value, metavar="DIR", help="for temporary files"
    )
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
    add_context(parser)


def run_bids(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from mrs_necrosis.cohort import analyze_dataset
    from mrs_necrosis.cohort.listing import dataset_units

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
    keywords = judged_of(options)
    count = 0
    if options.analysis_level == "participant":
        units = dataset_units(options.bids_dir, **selection)
        count = len(units)
        if options.dry_run:
            return _list_units(units)
    elif options.dry_run:
        say(f"{options.output_dir}: one table of all results there")
        return EXIT_OK
    with (
        running_many(options, count) as executor,
        progress_bar(options, "acquisitions") as progress,
    ):
        result = analyze_dataset(
            options.bids_dir, options.output_dir, options.analysis_level, **selection,
            figures=options.figures, overwrite=options.overwrite, work_dir=options.work_dir,
            stop_on_first_crash=options.stop_on_first_crash, reports_only=options.reports_only,
            threads=options.omp_nthreads, executor=executor, progress=progress, **keywords,
        )  # fmt: skip
    return report_cohort(options, result, options.output_dir)


def _list_units(units: list[Unit]) -> int:
    from mrs_necrosis.cohort.run import why_refused

    refused = 0
    for unit in units:
        used = [name for name in ("water", "anatomy", "lesion") if getattr(unit, name)]
        say(f"{unit.folder}/{unit.key}" + (f"  ({', '.join(used)})" if used else ""))
        reason = why_refused(unit)
        refused += bool(reason)
        for text in filter(None, (reason, *unit.notes)):
            say(f"    {text}")
    return EXIT_SOME_FAILED if refused else EXIT_OK
