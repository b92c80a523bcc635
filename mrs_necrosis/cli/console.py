"""What the command prints: results, notes, progress and errors, and its exit codes."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

from mrs_necrosis.errors import FitError, MRSNecrosisWarning, OutputError, SignalError, name_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from mrs_necrosis.arguments import Progress
    from mrs_necrosis.errors import MRSNecrosisError


EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_BAD_INPUT = 3
EXIT_OUTPUT = 4
EXIT_INTERRUPTED = 130


def report_error(error: MRSNecrosisError, name: str = "") -> int:
    """Print an error, with the name of the input where the error does not know it."""
    where = f"{name_of(name)}: " if name and isinstance(error, (SignalError, FitError)) else ""
    say(f"mrs-necrosis: {where}{error}", file=sys.stderr)
    return EXIT_OUTPUT if isinstance(error, OutputError) else EXIT_BAD_INPUT


def say(text: str, *, file: Any = None) -> None:
    """Print a text of which only what prints is left."""
    # header text could hold terminal commands
    shown = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
    print(shown, file=sys.stdout if file is None else file)


@contextlib.contextmanager
def logging_to_stderr(options: argparse.Namespace) -> Iterator[None]:
    """Log to standard error, as much as the options ask for."""
    logger = logging.getLogger("mrs_necrosis")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel({0: logging.WARNING, 1: logging.INFO}.get(options.verbose, logging.DEBUG))
    if options.quiet:
        logger.setLevel(logging.ERROR)
    # where nothing may be written to the home, matplotlib says so in every run
    figures = logging.getLogger("matplotlib")
    level_of_figures = figures.level
    if not options.verbose:
        figures.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        figures.setLevel(level_of_figures)


@contextlib.contextmanager
def kept_warnings() -> Iterator[Callable[[], list[str]]]:
    """Keep the library's own warnings; others may quote a header and are dropped."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", MRSNecrosisWarning)
        yield lambda: list(dict.fromkeys(str(warning.message) for warning in caught))


@contextlib.contextmanager
def notes_of(options: argparse.Namespace, name: str) -> Iterator[None]:
    """Print what the library warns of while one of several inputs is analysed, with its name."""
    with kept_warnings() as notes:
        yield
    print_notes(options, notes(), f"{name_of(name)}: " if name else "")


def print_notes(options: argparse.Namespace, notes: list[str], name: str = "") -> None:
    """Print notes to standard error, each once."""
    if not options.quiet:
        for note in notes:
            say(f"note: {name}{note}", file=sys.stderr)


@contextlib.contextmanager
def progress_bar(options: argparse.Namespace, what: str = "voxels") -> Iterator[Progress | None]:
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
