"""CPU time of a fit, beside other ways to minimise the same objective, in the same run.

Process CPU time, BLAS on one thread, 1024 points. ``fit`` is everything: start, two searches, the
choice of the baseline averaged, covariance; ``search`` is one search of the compiled solver with
the stiffness given, from the same start and in the same boxes as scipy's trust region (analytic
Jacobian) and lmfit's leastsq (numerical derivatives), without a covariance: ratios are to that,
on the same spectra. How often lmfit evaluates the objective varies a hundredfold between spectra
(``evals`` is its mean), so the peak model's ratio is also given for both echo times together.
Bars: peak model >= 20 x scipy, >= 500 x lmfit, fit <= 12 ms; linear combination <= 25 ms
(stretch 8).

    python -m benchmarks.fit_speed [--spectra 48] [--lmfit 48]
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
from mrs_necrosis.fitting.compiled import CompiledSolver
from mrs_necrosis.fitting.lmfit_bridge import LmfitProblem, lmfit_problem
from mrs_necrosis.fitting.objective import Box, Objective
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


def _search_ms(problems: list[LmfitProblem]) -> float:
    """Return the CPU time of one compiled search on each objective."""
    objectives = [problem.objective for problem in problems]
    first = objectives[0]
    k = len(first.problem.model.components)
    solver = CompiledSolver(first.problem)
    theta = np.stack([np.clip(o.start, o.lower, o.upper)[k:] for o in objectives])
    box = Box(*(np.stack([getattr(o, side)[k:] for o in objectives]) for side in Box._fields))
    objective = Objective(
        first.problem,
        data=np.stack([o.data for o in objectives]),
        precision=np.stack([o.prior_root.T @ o.prior_root for o in objectives]),
        pull=np.stack([o.prior_root.T @ o.prior_target for o in objectives]),
        shrink=np.stack([o.shrink for o in objectives]),
        aim=np.stack([o.aim for o in objectives]),
    )
    return _cpu_ms(lambda: solver.minimise(objective, theta, box), 5) / len(problems)


def _row(label: str, spectra: Spectra, model: Model, lmfit_count: int) -> tuple[float, float]:
    """Print one row; return the CPU time of search and lmfit on the spectra that both saw."""
    voxels = spectra.fid.shape[0]
    fit(spectra, model, backend="compiled", threads=1)  # compiles, if need be
    compiled = _cpu_ms(lambda: fit(spectra, model, backend="compiled", threads=1), 5) / voxels
    numpy = _cpu_ms(lambda: fit(spectra, model, backend="numpy")) / voxels
    problems = [lmfit_problem(spectra, model, (i, 0, 0)) for i in range(voxels)]
    search = _search_ms(problems)
    scipy = _cpu_ms(lambda: [_trf(p.objective) for p in problems], 3) / len(problems)
    line = f"{label:<28} {compiled:7.2f} {numpy:7.1f} {search:7.2f} {scipy:7.1f}"
    line += f" {scipy / search:6.1f}"
    if not lmfit_count:
        print(line, flush=True)
        return np.nan, np.nan
    chosen = problems[:lmfit_count]
    found = []
    lmfit = _cpu_ms(
        lambda: found.extend(p.minimize(max_nfev=20000, method="leastsq") for p in chosen)
    )
    lmfit /= len(chosen)
    search = _search_ms(chosen)
    evaluations = np.mean([result.nfev for result in found])
    line += f" {lmfit:7.0f} {evaluations:6.0f} {lmfit / search:6.0f}"
    print(line, flush=True)
    return search, lmfit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spectra", type=int, default=48)
    parser.add_argument("--lmfit", type=int, default=48)
    given = parser.parse_args()
    print("CPU ms per spectrum")
    print(
        f"{'':<28} {'fit':>7} {'numpy':>7} {'search':>7} {'trf':>7} {'ratio':>6} "
        f"{'lmfit':>7} {'evals':>6} {'ratio':>6}"
    )
    times = []
    with threadpool_limits(limits=1):
        for echo_time_s in (0.144, 0.03):
            spectra = mixed_spectra(given.spectra, echo_time_s=echo_time_s)
            for kind in ("peaks", "metabolites"):
                model = default_model(spectra.acquisition, kind=kind)
                label = f"{kind}, {1e3 * echo_time_s:.0f} ms, {len(model.components)} areas"
                times.append(_row(label, spectra, model, given.lmfit if kind == "peaks" else 0))
        search, lmfit = np.nansum(times, axis=0)
        if given.lmfit:
            print(f"peaks, both echo times: lmfit / search = {lmfit / search:.0f}")
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
