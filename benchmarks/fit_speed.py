"""CPU time of a fit, beside other ways to minimise the same objective, in the same run.

Process CPU time, BLAS on one thread, 1024 points, the adaptive baseline and the covariance
included in ours; scipy and lmfit minimise with the stiffness given, from the same start, in the
same boxes, without a covariance. Bars: peak model >= 20 x scipy with analytic Jacobian, >= 500 x
lmfit with numerical derivatives, <= 12 ms; linear combination <= 25 ms (stretch 8).

    python -m benchmarks.fit_speed [--spectra 48] [--lmfit 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy.optimize import least_squares
from threadpoolctl import threadpool_limits

from benchmarks.phantoms import mixed_spectra
from mrs_necrosis import Spectra
from mrs_necrosis.fitting import Model, default_model, fit
from mrs_necrosis.fitting.lmfit_bridge import lmfit_problem
from mrs_necrosis.fitting.residuals import VoxelObjective


def _cpu_ms(work: Callable[[], object], repeats: int = 1) -> float:
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return 1e3 * best


def _trf(objective: VoxelObjective) -> None:
    inside = np.clip(objective.start, objective.lower + 1e-9, objective.upper - 1e-9)
    least_squares(
        objective.rows, inside, jac=objective.jacobian, x_scale="jac",
        bounds=(objective.lower, objective.upper),
    )  # fmt: skip


def _row(label: str, spectra: Spectra, model: Model, lmfit_count: int) -> None:
    voxels = spectra.fid.shape[0]
    fit(spectra, model, backend="compiled", threads=1)  # compiles, if need be
    compiled = _cpu_ms(lambda: fit(spectra, model, backend="compiled", threads=1), 3) / voxels
    numpy = _cpu_ms(lambda: fit(spectra, model, backend="numpy")) / voxels
    problems = [lmfit_problem(spectra, model, (i, 0, 0)) for i in range(min(voxels, 12))]
    scipy = _cpu_ms(lambda: [_trf(p.objective) for p in problems], 2) / len(problems)
    line = f"{label:<28} {compiled:9.2f} {numpy:9.1f} {scipy:9.1f} {scipy / compiled:7.1f}"
    if lmfit_count:
        chosen = problems[:lmfit_count]
        lmfit = _cpu_ms(lambda: [p.minimise(max_nfev=20000, method="leastsq") for p in chosen])
        lmfit /= len(chosen)
        line += f" {lmfit:9.0f} {lmfit / compiled:7.0f}"
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spectra", type=int, default=48)
    parser.add_argument("--lmfit", type=int, default=2)
    given = parser.parse_args()
    print("CPU ms per spectrum")
    print(
        f"{'':<28} {'compiled':>9} {'numpy':>9} {'trf':>9} {'ratio':>7} {'lmfit':>9} {'ratio':>7}"
    )
    with threadpool_limits(limits=1):
        for echo_time_s in (0.144, 0.03):
            spectra = mixed_spectra(given.spectra, echo_time_s=echo_time_s)
            for kind in ("peaks", "metabolites"):
                model = default_model(spectra.acquisition, kind=kind)
                label = f"{kind}, {1e3 * echo_time_s:.0f} ms, {len(model.components)} areas"
                _row(label, spectra, model, given.lmfit if kind == "peaks" else 0)
        grid = mixed_spectra(1024, seed=3)
        wall, cpu = time.perf_counter(), time.process_time()
        found = fit(grid, backend="compiled")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"32 x 32 grid, metabolites, 30 ms: {1e3 * cpu / 1024:.1f} CPU ms a voxel, {wall:.1f} s "
        f"wall, {(found.status == 2).sum()} not converged"
    )


if __name__ == "__main__":
    main()
