"""Run benchmarks, keep their tables, and say what changed: ``python -m benchmarks [NAME ...]``.

A benchmark is a module in this folder that prints its table. What it prints is kept as
``benchmarks/results/NAME.txt`` under a few lines that begin with ``#``: the command, the versions
and the machine. The README and the documentation take their numbers from there: its tables are
written anew, and numbers in its sentences that are stale are named.

``--check`` writes nothing and fails if a kept number moved by more than 5 % (or 0.02): fixed
seeds give the same numbers, up to what another version of numpy or scipy rounds differently.
Times and memory belong to the machine; they may move.
"""

import argparse
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks import _readme

HERE = Path(__file__).parent
RESULTS = HERE / "results"
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
OF_THE_MACHINE = re.compile(r"\s*(?:ms|s|min|h|kB|MB|GB|CPU|seconds|minutes)\b")
TITLES = frozenset({"s", "ms", "min", "MB", "GB", "kB", "time", "speed", "times"})
TIMED = frozenset({"import_time", "install_size", "fit_speed", "cohort", "simulation"})
"""Benchmarks of nothing but speed and size."""


def scripts() -> list[str]:
    return [
        path.stem
        for path in sorted(HERE.glob("*.py"))
        if not path.stem.startswith("_") and "__main__" in path.read_text("utf-8")
    ]


def head(name: str) -> str:
    packages = ", ".join(f"{one} {version(one)}" for one in ("numpy", "scipy", "numba"))
    return (
        f"# python -m benchmarks.{name}\n"
        f"# Python {platform.python_version()}, {packages}, {processor()}\n"
    )


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    except OSError:
        names = {platform.processor()}
    return " / ".join(sorted(names)) or platform.machine()


def body(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if not line.startswith("#")]


def moved(before: str, after: str) -> list[str]:
    """Return the lines that differ by more than rounding, marked - and +."""
    old, new = body(before), body(after)
    if len(old) != len(new):
        return [f"the table has {len(new)} lines, and had {len(old)}"]
    marked, title = [], ""
    for one, other in zip(old, new, strict=True):
        if not NUMBER.search(other):
            title = other
        if not same(one, other, title):
            marked += [f"- {one}", f"+ {other}"]
    return marked


def same(one: str, other: str, title: str) -> bool:
    if NUMBER.sub("#", one).split() != NUMBER.sub("#", other).split():
        return False
    units = {word.end() for word in re.finditer(r"\S+", title) if word[0] in TITLES}
    for was, now in zip(NUMBER.finditer(one), NUMBER.finditer(other), strict=True):
        if OF_THE_MACHINE.match(other, now.end()) or now.end() in units:
            continue
        x, y = float(was[0]), float(now[0])
        if abs(x - y) > max(0.02, 0.05 * abs(x)):
            return False
    return True


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(scripts()))
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a change")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(scripts())
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(scripts())}")
        return 2
    RESULTS.mkdir(exist_ok=True)
    failed, changed = [], []
    for name in options.names or scripts():
        start = time.perf_counter()
        run = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"],
            capture_output=True, text=True, check=False, cwd=HERE.parent,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        if run.returncode:
            failed.append(name)
            print(f"== {name}: FAILED after {seconds:.0f} s\n{run.stderr}")
            continue
        if len(run.stdout.splitlines()) < 2:
            print(f"== {name}: {run.stdout.strip()}; what is kept stays")
            continue
        table = RESULTS / f"{name}.txt"
        before = table.read_text("utf-8") if table.exists() else ""
        differences = moved(before, run.stdout) if before else []
        state = "new" if not before else "changed" if differences else "same"
        if differences and name not in TIMED:
            changed.append(name)
        if not options.check:
            table.write_text(head(name) + run.stdout, "utf-8")
        print(f"== {name}: {state}, {seconds:.0f} s\n{run.stdout}")
        if differences:
            print("what changed:\n" + "\n".join(differences))
    readme = HERE.parent / "README.md"
    if not options.check and not _readme.TABLES.keys().isdisjoint(options.names or scripts()):
        readme.write_text(_readme.written(readme.read_text("utf-8")), "utf-8")
    stale = _readme.stale()
    if stale:
        print("stale:\n" + "\n".join(stale))
    if changed:
        print(f"changed: {', '.join(changed)}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed or (options.check and (changed or stale)) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
