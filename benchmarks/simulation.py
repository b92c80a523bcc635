"""Processor time of the simulator, each beside a plainer way to the same spectra.

``spins``: lines of all metabolites at an echo time that was not simulated before, and their FIDs
of 1024 points; beside it the same with every line kept, none merged with its neighbour or dropped.
``phantoms``: spectra of one class at once; beside it one after another. ``grid``: a head of 32 x
32 voxels; beside it as many single voxels.
"""

import time

import numpy as np

from mrs_necrosis.simulation import phantom, spins
from mrs_necrosis.simulation.grids import grid_phantom

COUNT, SIDE, REPEATS = 500, 32, 3


def seconds(work) -> float:
    times = []
    for repeat in range(REPEATS):
        start = time.process_time()
        work(repeat)
        times.append(time.process_time() - start)
    return min(times)


def all_metabolites(repeat: int) -> None:
    time_s = np.arange(1024) * 5e-4
    for name in spins.spin_systems():
        spins.metabolite_lines(
            name, spectrometer_frequency_mhz=123.2, sequence="PRESS",
            echo_time_s=0.0317 + 1e-4 * repeat,
        ).fid(time_s, 123.2)  # fmt: skip


def every_line(repeat: int) -> None:
    kept = spins._MERGE_HZ, spins._NEGLIGIBLE
    spins._MERGE_HZ = spins._NEGLIGIBLE = 0.0
    try:
        all_metabolites(repeat + REPEATS)
    finally:
        spins._MERGE_HZ, spins._NEGLIGIBLE = kept


def spectra(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    phantom("radiation_necrosis", rng, grid=(count, 1, 1), baseline=0.1, residual_water=2.0)


def one_by_one(count: int) -> None:
    for seed in range(count):
        spectra(1, seed)


def head(repeat: int) -> None:
    grid_phantom(np.random.default_rng(repeat), grid=(SIDE, SIDE, 1))


def main() -> None:
    spectra(1, 0)  # what is read once is not counted
    n = len(spins.spin_systems())
    rows = (
        (f"spins of {n} metabolites", all_metabolites, "every line kept", every_line),
        (f"{COUNT} phantoms", lambda r: spectra(COUNT, r), "one by one",
         lambda _: one_by_one(COUNT)),
        (f"{SIDE} x {SIDE} grid", head, "one by one", lambda _: one_by_one(SIDE * SIDE)),
    )  # fmt: skip
    print(f"{'':<26}{'CPU s':>8}  {'beside':<18}{'CPU s':>8}{'ratio':>8}")
    for name, ours, plainer, theirs in rows:
        quick, slow = seconds(ours), seconds(theirs)
        print(f"{name:<26}{quick:>8.2f}  {plainer:<18}{slow:>8.2f}{slow / quick:>8.1f}")


if __name__ == "__main__":
    main()
