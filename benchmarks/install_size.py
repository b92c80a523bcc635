"""Size of what ``pip install`` brings, package by package; the core's bar is 650 MB.

Counted are the files that the installed distributions own, of the project and of all it depends
on, directly or not, without extras; then what each extra adds. Python itself is not counted.
"""

import re
from importlib.metadata import PackageNotFoundError, distribution

PROJECT = "mrs-necrosis"
BAR_MB = 650


def requirements(name: str, extra: str | None = None) -> set[str]:
    found = set()
    for line in distribution(name).requires or ():
        requirement, _, marker = line.partition(";")
        wants = re.search(r"extra\s*==\s*['\"]([\w.-]+)['\"]", marker)
        if (wants[1] if wants else None) != extra:
            continue
        found.add(canonical(re.match(r"[\w.-]+", requirement.strip())[0]))
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(names: set[str]) -> set[str]:
    found: set[str] = set()
    queue = set(names)
    while queue:
        name = queue.pop()
        try:
            distribution(name)
        except PackageNotFoundError:
            continue  # for another platform, or not installed
        found.add(name)
        queue |= requirements(name) - found
    return found


def megabytes(name: str) -> float:
    files = distribution(name).files or ()
    sizes = (path.stat().st_size for one in files if (path := one.locate()).is_file())
    return sum(sizes) / 1e6


def main() -> None:
    core = closure(requirements(PROJECT))
    sizes = {name: megabytes(name) for name in core}
    print(f"{'package':<24}{'MB':>8}")
    for name in sorted(core, key=sizes.__getitem__, reverse=True):
        if sizes[name] >= 1:
            print(f"{name:<24}{sizes[name]:>8.0f}")
    print(f"{'the rest':<24}{sum(size for size in sizes.values() if size < 1):>8.0f}")
    print(f"{'core, all':<24}{sum(sizes.values()):>8.0f}   bar {BAR_MB}")
    for extra in distribution(PROJECT).metadata.get_all("Provides-Extra") or ():
        direct = requirements(PROJECT, extra)
        added = closure(direct) - core - {PROJECT}
        if PROJECT not in direct and added:
            print(f"{'[' + extra + '] adds':<24}{sum(map(megabytes, added)):>8.0f}")


if __name__ == "__main__":
    main()
