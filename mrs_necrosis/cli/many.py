"""Many inputs of one command: the processes that run them, and what became of each."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrs_necrosis.cli.console import say
from mrs_necrosis.cli.options import MEM_MB

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mrs_necrosis.cohort import CohortResult


@contextlib.contextmanager
def running_many(options: argparse.Namespace, count: int) -> Iterator[Any]:
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
        workers = min(workers or available_processors(), memory // MEM_MB)
    if workers == 1 and options.dask is None:
        yield None
        return
    with cluster(None if options.dask in {None, "local"} else options.dask, workers=workers,
                 memory_mb=memory) as executor:  # fmt: skip
        yield executor


def report_cohort(options: argparse.Namespace, result: CohortResult, out: Path) -> int:
    """Print what became of the inputs, write it where asked, and return the exit code."""
    from mrs_necrosis.cohort.batch import write_outcomes

    for outcome in result.outcomes:
        if outcome.state == "failed":
            say(f"mrs-necrosis: {outcome.name}: {outcome.message}", file=sys.stderr)
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
        say(f"{counts or 'all results gathered'}; see {out / 'cohort.html'}")
    return result.exit_code
