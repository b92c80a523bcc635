"""Labels and probabilities of simulated cohorts: how often right, wrong, or withheld.

The cohorts are those of ``simulation.tissues``: lognormal ratios, anchored in published means
where there are any, otherwise assumed. They say nothing clinical. Both recurrence groups carry one
of the two opposite directions that lipid and lactate have in the literature.

1. Ratios drawn directly: without any error, and with an error of 5 % of normal creatine on every
   peak, which the draw rule then knows of. With nothing known of the acquisition the peaks are
   those of a printed table (LL as one number), otherwise those of a fit.
2. The whole chain from FID to label: phase, shift, residual water, baseline, noise; preprocessing,
   fit, gates, draws.
3. Normal brain: the simulator's, and drawn from concentrations of a source that the gate was not
   set from (NMR Biomed. 1993;6:89-94, PMID 8384470).
4. The trained classifier on patients that were left out, beside the criteria as a probability.

    python benchmarks/evidence.py               # 4000 per group, about half an hour on one core
    python benchmarks/evidence.py --chain 100   # fewer through the chain
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier import (
    NecrosisClassifier,
    assess_grid,
    cross_validate,
    log_ratios,
    reliability,
)
from mrs_necrosis.fitting import fit
from mrs_necrosis.preprocessing import preprocess
from mrs_necrosis.simulation.phantoms import phantom
from mrs_necrosis.simulation.tissues import cohort
from mrs_necrosis.spectra import Acquisition

FITTED = ("Lip13", "Lip09", "Lac", "Cho", "Cr", "NAA")
PRINTED = ("LL", "Cho", "Cr", "NAA")
NECROSIS = "radiation_necrosis"
RECURRENCES = ("recurrent_hgg_low_lipid", "recurrent_gbm_high_lipid", "metastasis_recurrence")
GROUPS = ("normal_white_matter", NECROSIS, *RECURRENCES, "mixed")
BAR, STRETCH, ECE_BAR = 5.0, 1.0, 0.05
ERROR = 0.05
MIXED = "mixed"


def acquisition(echo_time_s: float) -> Acquisition:
    return Acquisition(
        spectrometer_frequency_mhz=123.2,
        dwell_time_s=5e-4,
        echo_time_s=echo_time_s,
        sequence="PRESS",
        nucleus="1H",
    )


def drawn(group: str, n: int, seed: int, error: float, names: tuple[str, ...]) -> PeakAreas:
    """Return measured areas of a group at 144 ms, with the covariance of their error, if any."""
    rng = np.random.default_rng([seed, GROUPS.index(group)])
    truth = cohort(n, group, rng)
    values = np.stack([truth.value(name) for name in names], axis=-1)
    if not error:
        return PeakAreas(names, values)
    values = values + error * rng.standard_normal(values.shape)
    covariance = np.broadcast_to(error**2 * np.eye(len(names)), (n, len(names), len(names)))
    return PeakAreas(names, values, covariance)


def chain(group: str, n: int, seed: int, echo_time_s: float):
    """Return areas, quality and acquisition of a group, fitted from simulated FIDs."""
    rng = np.random.default_rng([seed, GROUPS.index(group)])
    each = (n, 1, 1)
    made = phantom(
        group,
        rng,
        grid=each,
        echo_time_s=echo_time_s,
        snr=np.exp(rng.uniform(np.log(10), np.log(60), each)),
        linewidth_hz=rng.uniform(4, 9, each),
        phase_rad=rng.normal(0, 0.5, each),
        shift_hz=rng.normal(0, 3, each),
        residual_water=rng.uniform(0, 1, each),
        baseline=0.05,
        baseline_kind="process",
        lipid_variation=0.1,
    )
    spectra = preprocess(made.data)
    fitted = fit(spectra)
    return fitted.areas.with_ll(), fitted.quality, spectra.acquisition


HEADER = (
    f"  {'group':<26}{'necrosis':>10}{'recurrence':>12}{'indeterm.':>11}{'not eval.':>11}"
    f"{'wrong':>8}"
)


def row(name: str, counts: dict[Favors, int]) -> float:
    """Print one group; return the percentage of labels on the wrong side."""
    n = sum(counts.values())
    share = {label: 100 * count / n for label, count in counts.items()}
    wrong = share[Favors.RECURRENCE]
    if name in RECURRENCES or name not in GROUPS or name == GROUPS[0]:
        wrong = share[Favors.NECROSIS]
    judged = "" if name == MIXED else f"{wrong:>8.1f}"
    print(
        f"  {name:<26}{share[Favors.NECROSIS]:>10.1f}{share[Favors.RECURRENCE]:>12.1f}"
        f"{share[Favors.INDETERMINATE]:>11.1f}{share[Favors.NOT_EVALUABLE]:>11.1f}{judged}"
    )
    return 0.0 if name == MIXED else wrong


def summary(found: dict[str, dict[Favors, int]], worst: float, *, has_draws: bool) -> None:
    """Print sensitivity and specificity for recurrence, among labels and over all."""
    recurrence = {label: sum(found[g][label] for g in RECURRENCES) for label in Favors
                  if label != Favors.MIXED}  # fmt: skip
    necrosis = found[NECROSIS]
    right, wrong = recurrence[Favors.RECURRENCE], recurrence[Favors.NECROSIS]
    spared, blamed = necrosis[Favors.NECROSIS], necrosis[Favors.RECURRENCE]
    print(
        f"  where a label is given: sensitivity {percent(right, right + wrong)}, specificity "
        f"{percent(spared, spared + blamed)}; labels given: "
        f"{percent(right + wrong, sum(recurrence.values()))} of recurrences, "
        f"{percent(spared + blamed, sum(necrosis.values()))} of necroses"
    )
    verdict = "met" if worst <= BAR else "MISSED"
    if not has_draws:
        verdict = "not applicable: without an error there is no draw rule"
    print(f"  worst wrong-side rate {worst:.1f} % (bar {BAR:g} %): {verdict}\n")


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"


def labels(title: str, cases: dict[str, tuple]) -> None:
    print(f"{title}\n{HEADER}")
    found, worst = {}, 0.0
    for group, (areas, quality, known) in cases.items():
        graded = assess_grid(areas, quality=quality, acquisition=known, n_draws=300)
        found[group] = graded.counts()
        worst = max(worst, row(group, found[group]))
    summary(found, worst, has_draws=areas.covariance is not None)


def normals(n: int) -> None:
    print(f"Normal brain of another source, labels in %\n{HEADER}")
    rng = np.random.default_rng(3)
    for region, moments in {
        "frontal white matter": ((1.9, 0.5), (10.6, 1.3), (16.6, 2.3)),
        "thalamus": ((2.0, 0.4), (11.6, 2.0), (17.2, 1.3)),
    }.items():
        amounts = [np.maximum(rng.normal(mean, sd, n), 0.1 * mean) for mean, sd in moments]
        cho, cr, naa = (a * protons for a, protons in zip(amounts, (9, 3, 3), strict=True))
        ll = cr * np.exp(rng.normal(-2.55, 0.70, n))  # lipid as in the simulator
        areas = PeakAreas(("LL", "Cho", "Cr", "NAA"), np.stack([ll, cho, cr, naa], axis=-1))
        graded = assess_grid(areas)
        wrong = row(region, graded.counts())
        bare = 100 * (graded.log_likelihood_ratio <= np.log(1 / 3)).mean()
        verdict = "stretch met" if wrong <= STRETCH else "met" if wrong <= BAR else "MISSED"
        print(
            f"    without the gate {bare:.0f} %; bar {BAR:g} %, stretch {STRETCH:g} %: {verdict}"
        )
    print()


def probabilities(title: str, cases: dict[str, tuple]) -> None:
    """Print calibration and ranking of the trained classifier and of the criteria."""
    features, errors, classes, posteriors = [], [], [], []
    for group, (areas, _, known) in cases.items():
        if group not in {NECROSIS, *RECURRENCES}:
            continue
        x, error = log_ratios(areas)
        x = x.reshape(-1, x.shape[-1])
        usable = np.isfinite(x).all(axis=1)
        if error is not None:
            error = error.reshape(-1, *error.shape[-2:])
            usable &= np.isfinite(error).all(axis=(1, 2))
            errors.append(error[usable])
        graded = assess_grid(areas, acquisition=known, n_draws=1)
        features.append(x[usable])
        posteriors.append(graded.posterior.reshape(-1)[usable])
        classes += ["necrosis" if group == NECROSIS else "recurrence"] * int(usable.sum())
    x, y = np.concatenate(features), np.array(classes)
    error = np.concatenate(errors) if errors else None
    posterior = np.concatenate(posteriors)
    order = np.random.default_rng(0).permutation(len(y))
    x, y, posterior = x[order], y[order], posterior[order]
    error = None if error is None else error[order]
    trained = cross_validate(
        NecrosisClassifier(priors=(0.5, 0.5)), x, y, patients=np.arange(len(y)), error=error
    )
    weight_note = "three recurrence groups to one of necrosis; even prior"
    even = balanced(y, trained.probability[:, 1])
    scored = np.isfinite(posterior)
    baseline = balanced(y[scored], posterior[scored])
    print(f"{title} ({weight_note}; {len(y)} cases)")
    print(f"  {'':<22}{'AUC':>8}{'ECE':>8}{'Brier':>8}")
    for name, (auc, ece, brier) in {"trained classifier": even, "criteria": baseline}.items():
        print(f"  {name:<22}{auc:>8.3f}{ece:>8.3f}{brier:>8.3f}")
    print(f"  bar: ECE <= {ECE_BAR:g}: {'met' if even[1] <= ECE_BAR else 'MISSED'}\n")


def balanced(y: np.ndarray, probability: np.ndarray) -> tuple[float, float, float]:
    """Return AUC, ECE and Brier score with as many necroses as recurrences."""
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    of = [np.flatnonzero(y == name) for name in ("necrosis", "recurrence")]
    n = min(map(len, of))
    chosen = np.concatenate([rng.choice(some, n, replace=False) for some in of])
    truth = y[chosen] == "recurrence"
    found = reliability(truth, np.clip(probability[chosen], 0, 1))
    auc = float(roc_auc_score(truth, probability[chosen]))
    return auc, found.expected_calibration_error, found.brier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drawn", type=int, default=4000, help="cases per group drawn directly")
    parser.add_argument("--chain", type=int, default=4000, help="spectra per group")
    parser.add_argument("--echo-times", type=float, nargs="+", default=[144.0, 30.0],
                        metavar="MS", help="of the chain")  # fmt: skip
    options = parser.parse_args()

    n = options.drawn
    print(f"Simulated cohorts, labels in %. Ratios drawn directly, {n} per group.\n")
    for title, error, known in (
        ("no error, nothing known of the acquisition", 0.0, None),
        ("no error, 144 ms and 3 T known", 0.0, acquisition(0.144)),
        ("error 5 % of normal creatine, nothing known of the acquisition", ERROR, None),
        ("error 5 % of normal creatine, 144 ms and 3 T known", ERROR, acquisition(0.144)),
    ):
        names = PRINTED if known is None else FITTED
        labels(title, {g: (drawn(g, n, 1, error, names), None, known) for g in GROUPS})
    normals(n)
    for title, error in (("no error", 0.0), ("error 5 % of normal creatine", ERROR)):
        cases = {g: (drawn(g, n, 2, error, PRINTED), None, None) for g in GROUPS}
        probabilities(f"Probability of recurrence, {title}", cases)

    if options.chain < 1:
        return
    m = options.chain
    print(f"Whole chain from FID to label, {m} spectra per group, SNR 10 to 60, 3 T PRESS.\n")
    for te in (1e-3 * ms for ms in options.echo_times):
        start = time.process_time()
        cases = {g: chain(g, m, 7, te) for g in GROUPS}
        seconds = (time.process_time() - start) / (m * len(GROUPS))
        labels(f"TE {1e3 * te:.0f} ms ({1e3 * seconds:.0f} CPU ms a spectrum)", cases)
        probabilities(f"Probability of recurrence, TE {1e3 * te:.0f} ms", cases)


if __name__ == "__main__":
    main()
