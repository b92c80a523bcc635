"""Error and coverage of the fit on phantoms, beside what noise alone allows.

Four tissue classes, SNR 5 to 100, linewidths of 3 to 12 Hz that differ as T2 do, residual water up
to five times the tallest peak's area, phase, begin time and shift errors, a random baseline of two
kinds, lipids of an asymmetric shape that the model does not have; preprocessed, which takes the
water out. "noise" is the Cramer-Rao expectation on the same spectra with every shape known, no
water, and all parameters free: all amplitudes, a baseline of 12 dimensions, shift, phase, begin
time and two widths. Errors are relative, in %; "width" is the median width of the 95 % interval
over that of the bound. An absent numerator or denominator is judged by its bound. At last the
areas themselves, of the same spectra. 500 spectra a cell by default; a number as argument takes
another.
"""

import sys
from dataclasses import replace

import numpy as np

from mrs_necrosis import preprocess, ratio
from mrs_necrosis.fitting import Baseline, Component, Model, Parameter, default_model, fit
from mrs_necrosis.fitting.objective import Objective
from mrs_necrosis.fitting.problem import prepare
from mrs_necrosis.fitting.varpro import evaluate, normal_equations
from mrs_necrosis.simulation.phantoms import phantom
from mrs_necrosis.simulation.tissues import LIPIDS, macromolecule_names, tissue_data

CLASSES = (
    "normal_white_matter",
    "radiation_necrosis",
    "recurrent_hgg_low_lipid",
    "recurrent_gbm_high_lipid",
)
RATIOS = ("Cho/Cr", "NAA/Cr", "Cho/NAA", "LL/Cr")
AREAS = ("Cho", "Cr", "NAA", "LL")
SNRS = (100, 40, 20, 10, 5)
FREE = 1e-9


def spectra_of(tissue, n, seed, snr, echo_time_s, lipid_variation=0.2, residual_water=0.0):
    made = []
    for offset, kind in enumerate(("gaussians", "process")):
        rng = np.random.default_rng(seed + offset)
        half = n // 2

        def between(low, high, rng=rng, half=half):
            return rng.uniform(low, high, (half, 1, 1))

        made.append(
            phantom(
                tissue, rng, grid=(half, 1, 1), echo_time_s=echo_time_s, snr=snr,
                linewidth_hz=between(3, 12), lorentz_share=between(0.2, 0.8), t2_linewidths=True,
                phase_rad=between(-0.3, 0.3), begin_time_s=between(-1e-4, 1e-4),
                shift_hz=between(-4, 4), baseline=0.05, baseline_kind=kind,
                lipid_shape="asymmetric", lipid_variation=lipid_variation, keep_components=True,
                residual_water=between(0, residual_water),
            )
        )  # fmt: skip
    return made


def true_model(acquisition, lipid_shape="asymmetric"):
    """Return the model that knows the simulator's shapes."""
    base = without_priors(default_model(acquisition))
    absent = {"Ace", "Ch"}
    narrow = [c for c in base.components if not any(c.gauss_ppm) and c.name not in absent]
    components = [
        Component(c.name, c.area, "all", c.shift_ppm, c.weight, c.gauss_ppm) for c in narrow
    ]
    data = tissue_data()
    lines = {name: [data["macromolecules"][name]] for name in macromolecule_names()}
    lines |= {name: data["lipids"][lipid_shape][name] for name in LIPIDS}
    for name, rows in lines.items():
        ppm, width, weight = zip(*rows, strict=True)
        if name in macromolecule_names():
            weight = (1.0,)
        components.append(
            Component(name, name, "all", tuple(ppm), tuple(map(complex, weight)), tuple(width))
        )
    shapes = ("all",)
    parameters = (
        Parameter("phase_rad", "phase", shapes, 0.0, None, -9.0, 9.0),
        Parameter("begin_s", "begin", shapes, 0.0, None, -1e-2, 1e-2),
        Parameter("shift_hz", "shift", shapes, 0.0, None, -50.0, 50.0),
        Parameter("lorentz_hz", "lorentz", shapes, 3.0, None, 0.0, 50.0),
        Parameter("gauss2_hz2", "gauss2", shapes, 9.0, None, 0.0, 2500.0),
    )
    return Model(
        "truth", tuple(components), parameters, Baseline((12.0,)), base.range_ppm, base.scale
    )


def without_priors(model, beside=("CrCH2", "LacCH", "NAAasp")):
    """Return the model without what only priors keep apart from the rest.

    That is creatine's CH2, lactate's CH and NAA's coupled lines beside their CH3, the other
    division of a PRESS's echo time, and T2 beside each line's own width.
    """
    extra = [name for name in model.names if name in beside or name.endswith("echo")]
    kept = tuple(p for p in model.parameters if p.name != "T2:lorentz_hz")
    return replace(model.without(*extra), parameters=kept)


def folded(model, given):
    """Return the parameters of ``without_priors(model)`` that make the same lines, shape (P,)."""
    (t2,) = [p for p in model.parameters if p.name == "T2:lorentz_hz"]
    taken = {
        f"{shape}:lorentz_hz": factor * given[t2.name]
        for shape, factor in zip(t2.shapes, t2.by_shape, strict=True)
    }
    return np.array(
        [given[p.name] + taken.get(p.name, 0.0) for p in without_priors(model).parameters]
    )


def free_covariance(problem, data, theta):
    """Return the components' covariance without any prior, shape (V, K, K)."""
    v, k = data.shape[0], len(problem.model.components)
    objective = Objective(
        replace(problem, sd=np.full_like(problem.sd, np.inf)),
        data,
        precision=np.tile(np.eye(k) * FREE, (v, 1, 1)),
        pull=np.zeros((v, k)),
        shrink=np.tile(problem.candidates(), (v, 1)),
        aim=np.tile(problem.start, (v, 1)),
    )
    hessian, _, _ = normal_equations(objective, evaluate(objective, theta))
    return np.linalg.inv(hessian)[:, :k, :k]


def relative_sd(covariance, model, values, members, pairs):
    """Return the sd of ratios over themselves, shape (V,) by name, by the delta method."""
    rows = np.array([[n in members[a] for n in model.names] for a in members], float)
    small = rows @ covariance @ rows.T
    names = tuple(members)
    found = {}
    for name in pairs:
        i, j = (names.index(part) for part in name.split("/"))
        n, d = values[names[i]], values[names[j]]
        var = small[:, i, i] / n**2 + small[:, j, j] / d**2 - 2 * small[:, i, j] / (n * d)
        found[name] = np.sqrt(np.maximum(var, 0.0))
    return found


def bound(made, lipid_shape="asymmetric", pairs=RATIOS):
    """Return the Cramer-Rao sd of each ratio relative to its truth, shape (V,) by name."""
    spectra, truth = made.spectra, made.truth
    problem = prepare(spectra, true_model(spectra.acquisition, lipid_shape))
    v = spectra.grid[0]
    parts = truth.components
    clean = sum(parts[name] for name in ("metabolites", "lipids", "macromolecules"))
    sd = truth.noise_sd.reshape(v) * np.sqrt(problem.time_s.size)
    data = problem.in_band(clean.reshape(v, -1)) / sd[:, None]
    given = truth.parameters
    columns = (
        given["phase_rad"], given["begin_time_s"], given["shift_hz"], given["lorentz_hz"],
        given["gauss_hz"] ** 2,
    )  # fmt: skip
    theta = np.stack([np.broadcast_to(c, spectra.grid).reshape(v) for c in columns], axis=1)
    members = {
        "Cho": ("GPC", "PCh"), "Cr": ("Cr", "PCr"), "NAA": ("NAA", "NAAG"),
        "LL": ("Lip13", "Lip09", "Lac"),
    }  # fmt: skip
    values = {name: truth.areas.value(name).reshape(v) / sd for name in members}
    covariance = free_covariance(problem, data, theta)
    return relative_sd(covariance, problem.model, values, members, pairs)


def covered(one, true):
    """Return whether what is said of a ratio holds: its interval, or an absent peak's bound."""
    limit = one.bound()
    return np.where(
        one.status == "ok",
        one.interval().contains(true),
        np.where(
            one.status == "below-detection",
            true <= limit,
            np.where(one.status == "denominator-not-detected", true >= limit, True),
        ),
    )


def judged(result, made, name):
    """Return relative errors, covered or not, and the interval's width over the truth."""
    one = ratio(result.areas, *name.split("/"))
    true = made.truth.ratio(*name.split("/"))
    interval = one.interval()
    width = np.where(interval.shape == "bounded", interval.upper - interval.lower, np.inf)
    flat = one.value.ravel() / true.ravel() - 1
    return flat, covered(one, true).ravel(), (width / true).ravel()


def judged_area(result, made, name):
    """Return the relative errors of what was fitted, and if 1.96 of their sd cover them."""
    value, true = result.areas.value(name).ravel(), made.truth.areas.value(name).ravel()
    covered = np.abs(value - true) < 1.96 * result.areas.sd(name).ravel()
    known = np.isfinite(value)
    return (value / true - 1)[known], covered[known]


def main(n: int) -> None:
    rng = np.random.default_rng(0)
    of_areas = []
    for echo_time_s in (0.030, 0.144):
        print(f"PRESS {1000 * echo_time_s:.0f} ms, {n} spectra a cell")
        print(f"{'class':<26}{'SNR':>4}" + "".join(
            f" |{r:>8}{'noise':>6}{'95 %':>6}{'noise':>6}{'cover':>6}{'width':>6}" for r in RATIOS
        ))  # fmt: skip
        for tissue in CLASSES:
            for snr in SNRS:
                made = spectra_of(tissue, n, 100, snr, echo_time_s, residual_water=5.0)
                results = [fit(preprocess(m.data, find_mask=False)) for m in made]  # none is air
                bounds = [bound(m) for m in made]
                line = f"{tissue:<26}{snr:>4}"
                for name in RATIOS:
                    parts = [judged(r, m, name) for r, m in zip(results, made, strict=True)]
                    error, covered, width = (np.concatenate(p) for p in zip(*parts, strict=True))
                    error = 100 * np.abs(error[np.isfinite(error)])
                    ideal = np.concatenate([b[name] for b in bounds])
                    draws = 100 * np.abs(ideal * rng.standard_normal((200, ideal.size)))
                    line += (
                        f" |{np.median(error):8.1f}{np.median(draws):6.1f}"
                        f"{np.percentile(error, 95):6.0f}{np.percentile(draws, 95):6.0f}"
                        f"{100 * covered.mean():6.0f}{np.median(width / (3.92 * ideal)):6.1f}"
                    )
                print(line, flush=True)
                line = f"{1000 * echo_time_s:4.0f}  {tissue:<26}{snr:>4}"
                for name in AREAS:
                    parts = [judged_area(r, m, name) for r, m in zip(results, made, strict=True)]
                    error, covered = (np.concatenate(p) for p in zip(*parts, strict=True))
                    line += f"{100 * np.median(error):>+9.1f}{100 * covered.mean():>7.0f}"
                of_areas.append(line)
    print("areas: median error and coverage, %")
    print(f"{'TE':>4}  {'class':<26}{'SNR':>4}" + "".join(f"{a:>9}{'cover':>7}" for a in AREAS))
    print("\n".join(of_areas))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
