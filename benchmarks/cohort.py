"""A cohort of single voxels: seconds per acquisition, alone and on a local cluster.

``python benchmarks/cohort.py [ACQUISITIONS [WORKERS]]``; 1,000 on 2 by default. The acquisitions
are 50 simulated ones, repeated. What a cluster writes is compared with one process byte for byte.
"""

import hashlib
import logging
import os
import resource
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import bids_dataset

from mrs_necrosis.cohort import analyze_dataset, cluster

DISTINCT = 50
SAMPLE = 20
"""Acquisitions that are also analysed in one process."""


def dataset(root: Path, count: int) -> None:
    distinct = min(DISTINCT, count)
    bids_dataset.dataset(root, distinct)
    for number in range(distinct, count):
        first = root / f"sub-{number % distinct + 1:02d}" / "mrs"
        name = f"sub-{number + 1:02d}"
        folder = root / name / "mrs"
        folder.mkdir(parents=True)
        for ending in (".nii.gz", ".json"):
            source = first / f"{first.parent.name}_svs{ending}"
            shutil.copyfile(source, folder / f"{name}_svs{ending}")


def labels(count: int) -> list[str]:
    return [f"{number + 1:02d}" for number in range(count)]


def contents(folder: Path, names: list[str]) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in names
        for path in sorted((folder / f"sub-{name}").rglob("*"))
        if path.is_file()
    }


def cpu() -> float:
    """Return the processor seconds of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in both)


def timed(name: str, count: int, run) -> None:
    wall, processor = time.perf_counter(), cpu()
    result = run()
    wall, processor = time.perf_counter() - wall, cpu() - processor
    failed = result.count("failed")
    print(
        f"{name:<34}{count:>6}{wall:>9.1f}{processor:>9.1f}{1e3 * processor / count:>10.0f}"
        f"{failed:>8}",
        flush=True,
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    workers = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    sample = labels(min(SAMPLE, count))
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="mrs-necrosis-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        home = Path(folder)
        root = home / "raw"
        dataset(root, count)
        print(f"{'':<34}{'inputs':>6}{'wall s':>9}{'CPU s':>9}{'CPU ms/1':>10}{'failed':>8}")
        analyze_dataset(root, home / "warm", participants=sample[:1])
        for name, figures in (("one process, with figures", True),
                              ("one process, without", False)):  # fmt: skip
            out = home / f"alone-{figures}"
            timed(name, len(sample), lambda o=out, f=figures: analyze_dataset(
                root, o, participants=sample, figures=f))  # fmt: skip
        spread = home / "spread"

        def run():
            with cluster(workers=workers) as executor:
                return analyze_dataset(root, spread, figures=False, executor=executor)

        timed(f"{workers} workers, without figures", count, run)
        timed("the same again, nothing to do", count,
              lambda: analyze_dataset(root, spread, figures=False))  # fmt: skip
        same = contents(home / "alone-False", sample) == contents(spread, sample)
        if hasattr(os, "getloadavg"):
            print(f"load of the machine's {os.cpu_count()} processors: {os.getloadavg()[2]:.1f}")
        print(f"bytes of {len(sample)} acquisitions equal to those of one process: {same}")
        if not same:
            sys.exit("the cluster's results differ")


if __name__ == "__main__":
    main()
