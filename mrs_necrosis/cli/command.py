"""The whole command line: one parser per command, and what every command does around its work."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import sys
import tomllib
from typing import TYPE_CHECKING

import mrs_necrosis
from mrs_necrosis.cli.analyze import add_analyze, run_analyze
from mrs_necrosis.cli.bids import add_bids, run_bids
from mrs_necrosis.cli.console import (
    EXIT_BAD_INPUT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_OUTPUT,
    EXIT_SOME_FAILED,
    EXIT_USAGE,
    kept_warnings,
    logging_to_stderr,
    print_notes,
    report_error,
)
from mrs_necrosis.cli.criteria import add_criteria, run_criteria
from mrs_necrosis.cli.demo import add_demo, run_demo
from mrs_necrosis.cli.followup import add_followup, run_followup
from mrs_necrosis.cli.inputs import inputs_of, take_water_references
from mrs_necrosis.cli.simulate import add_simulate, run_simulate
from mrs_necrosis.cli.values import path_value
from mrs_necrosis.errors import MRSNecrosisError

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    with logging_to_stderr(options), kept_warnings() as notes:
        try:
            code: int = options.run(options)
            sys.stdout.flush()
        except SystemExit as leaving:
            return EXIT_OK if not leaving.code else EXIT_USAGE
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return EXIT_INTERRUPTED
        except MRSNecrosisError as error:
            return report_error(error)
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
        print_notes(options, notes())
    return code


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
        ("analyze", "analyse scanner files or peak tables", add_analyze, run_analyze),
        ("bids", "analyse or gather a BIDS dataset", add_bids, run_bids),
        ("demo", "analyse the shipped reference case", add_demo, run_demo),
        ("simulate", "make a spectrum with known truth", add_simulate, run_simulate),
        ("criteria", "list the published criteria", add_criteria, run_criteria),
        ("followup", "compare the visits of one lesion", add_followup, run_followup),
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
    # argparse, mixing inputs and options, would take a file -x behind "--" for an option
    end = rest.index("--") if "--" in rest else len(rest)
    before, references = take_water_references(one, rest[:end])
    options = one.parse_intermixed_args(before)
    options.parser = one
    options.inputs = inputs_of(one, [*options.inputs, *rest[end + 1 :]], references)
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
    reader.add_argument("--config", type=path_value)
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
