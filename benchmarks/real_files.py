"""Files whose truth is known: the ISMRM fitting challenge and the GE two-compartment phantom.

The files lie beside the project in ``../shared/data``; without them nothing is measured. The
challenge: relative error of tNAA, tCho, Ins and Glx over tCr against the published concentrations,
with the library's own model and with the challenge's basis and macromolecules, beside the
Cramer-Rao bound of that basis (everything free) and, for the two that consoles print, beside
integrated real spectra (0.1 ppm to either side, phased and shifted as preprocessing finds). No
truth is known of the tumour-like datasets 25 and 26; LCModel's results beside them were measured
with its tumour mode. The phantom: lactate over creatine of one solution, in voxels from 40 to
12 mm; P1904 has no creatine. The widths: how much T2 makes lines differ in brains, and in the
challenge, where one T2 was simulated.
"""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.fit_accuracy import folded, free_covariance, relative_sd, without_priors
from mrs_necrosis import analyze, ratio
from mrs_necrosis.constants import PEAK_PPM
from mrs_necrosis.fitting import Baseline, default_model, fit
from mrs_necrosis.fitting.basis import model_from_basis
from mrs_necrosis.fitting.problem import noise_sd, prepare
from mrs_necrosis.io.basis import read_basis

DATA = Path(__file__).parents[2] / "shared" / "data"
CHALLENGE = DATA / "ismrm_challenge"
PARTS = {
    "NAA": (3, "NAA", "NAAG"), "Cho": (9, "GPC", "PCho"), "mI": (4, "Ins"),
    "Glx": (2, "Glu", "Gln"), "Cr": (3, "Cr", "PCr"),
}  # fmt: skip
PAIRS = ("NAA/Cr", "Cho/Cr", "mI/Cr", "Glx/Cr")
OWN = (2.0, 5.0, 6.0, 10.0)
GOALS = {"own": OWN, "equal T2": OWN, "theirs": (1.5, 4.2, 5.0, 4.0)}
BRAINS = {
    "3 T PRESS 30": (
        "lcmodel/brain_3T_press30/data.raw",
        {"echo_time_s": 0.03, "sequence": "PRESS"},
    ),
    "3 T PRESS 35": ("philips_sdat/osprey_press35/sub-01_PRESS_35_act.sdat", {}),
    "3 T PRESS 30, another": (
        "philips_sdat/osprey_press30_mm/sub-02_ses-01_PRESS_raw-act_noID.SDAT",
        {},
    ),
    "3 T svs_se 30": ("siemens_ima/brain_3T_SVS_30.IMA", {}),
    "4 T STEAM 4": ("varian_fid/4T_STEAM_TE4ms_human.fid", {}),
    "7 T STEAM 11": ("nifti_mrs/brain_7T_steam11/metab_raw.nii.gz", {}),
    "3 T CSI 15.6, 10 voxels": ("mrsi/lcmodel_multivoxel_10/multi-voxel.met", {}),
}
LCMODEL = {25: (37.6, 0.70), 26: (18.7, 0.65)}
"""LL/tCr and tCho/tCr (molar) of LCModel's tumour mode."""


def truths() -> list[dict[str, float]]:
    """Return the true areas of each dataset, protons included."""
    with (CHALLENGE / "truth_datasets_1-10.csv").open() as file:
        rows = {row["metabolite"]: row for row in csv.DictReader(file)}
    return [
        {peak: protons * sum(float(rows[part][f"dataset{n}"]) for part in parts)
         for peak, (protons, *parts) in PARTS.items()}
        for n in range(1, 11)
    ]  # fmt: skip


def least_sd(spectra, found, model):
    """Return the relative Cramer-Rao sd of each ratio where ``model`` was fitted.

    The challenge's creatine has lost nothing of its CH2, and the bound is told so.
    """
    given = dict(zip(found.parameter_names, found.parameters[0, 0, 0], strict=True))
    theta = folded(model, given)[None]
    model = without_priors(model)
    problem = prepare(spectra, replace(model, baseline=Baseline((12.0,))))
    sd = noise_sd(spectra).ravel() * np.sqrt(problem.time_s.size / spectra.n_samples)
    data = problem.in_band(spectra.fid.reshape(1, -1)) / sd[:, None]
    members = {area: tuple(c.name for c in model.components if c.area == area) for area in PARTS}
    values = {area: found.areas.value(area).ravel() / sd for area in PARTS}
    covariance = free_covariance(problem, data, theta)
    return relative_sd(covariance, model, values, members, PAIRS)


def t2_of(model):
    (t2,) = [p for p in model.parameters if p.name == "T2:lorentz_hz"]
    return t2


def equal_t2(model):
    """Return the model that is told that all lines have one T2, as the challenge's have."""
    return model.with_parameter(replace(t2_of(model), start=0.0, sd=1e-3))


def integral(spectra, name: str) -> float:
    near = np.abs(spectra.ppm - PEAK_PPM[name]) < 0.1
    return float(spectra.spectrum[0, 0, 0, near].real.sum())


def challenge() -> None:
    print("ISMRM challenge, datasets 1-10: fitted over true ratio - 1, in %, and the ratio's sd")
    print(
        "own: the library's model; theirs: with the challenge's macromolecules given as a basis;"
    )
    print("bound: the Cramer-Rao sd with all of its basis; integr.: integration. In the summary,")
    print(
        "whole basis: the challenge's metabolites, too; equal T2: the library's model, told that"
    )
    print("all lines have one T2; the challenge's have, those of tissue have not")
    print(f"{'set':>4}" + "".join(
        f" |{pair:>8}{'sd':>6}{'theirs':>8}{'sd':>6}{'bound':>7}" for pair in PAIRS
    ) + " | integr.")  # fmt: skip
    basis = read_basis(CHALLENGE / "basis_jmrui")
    at = basis.names.index("Mac")
    measured = replace(basis, names=("Mac",), fids=basis.fids[at : at + 1])
    errors: dict[tuple[str, str], list[float]] = {}
    for number, truth in enumerate(truths(), 1):
        path = CHALLENGE / "jmrui" / f"dataset{number}_WS.txt"
        found = analyze(path, echo_time_s=0.03, sequence="PRESS")
        acquisition = found.spectra.acquisition
        theirs = fit(found.spectra, model_from_basis(measured, acquisition))
        whole = fit(found.spectra, model_from_basis(basis, acquisition))
        least = model_from_basis(basis, acquisition, lipids=False)  # there are none
        equal = fit(found.spectra, equal_t2(default_model(acquisition)))
        bounds = least_sd(found.spectra, fit(found.spectra, least), least)
        line = f"{number:>4}"
        rough = ""
        for pair in PAIRS:
            n, d = pair.split("/")
            true = truth[n] / truth[d]
            bound = 100 * float(bounds[pair].item())
            line += " |"
            for method, areas in (("equal T2", equal.areas), ("whole basis", whole.areas)):
                value = float(ratio(areas, n, d).value.item())
                errors.setdefault((pair, method), []).append(100 * (value / true - 1))
            for method, areas in (("own", found.fit.areas), ("theirs", theirs.areas)):
                one = ratio(areas, n, d)
                error = 100 * (float(one.value.item()) / true - 1)
                line += f"{error:>8.1f}{100 * float(one.sd.item()) / true:>6.1f}"
                errors.setdefault((pair, method), []).append(error)
            errors.setdefault((pair, "bound"), []).append(bound)
            line += f"{bound:>7.1f}"
            if n in {"NAA", "Cho"}:
                quotient = integral(found.spectra, n) / integral(found.spectra, d)
                errors.setdefault((pair, "integration"), []).append(100 * (quotient / true - 1))
                rough += f"{errors[pair, 'integration'][-1]:>7.1f}"
        print(line + " |" + rough)
    print(f"{'':<8}{'':<12}{'median':>8}{'largest':>9}{'goal':>7}{'over bound':>12}")
    for number, pair in enumerate(PAIRS):
        for method in ("own", "equal T2", "theirs", "whole basis", "integration"):
            if (pair, method) not in errors:
                continue
            size = np.abs(errors[pair, method])
            goal = f"{GOALS[method][number]:.1f}" if method in GOALS else "-"
            over = np.median(size / np.array(errors[pair, "bound"]))
            print(
                f"{pair:<8}{method:<12}{np.median(size):>8.1f}{size.max():>9.1f}{goal:>7}"
                f"{over:>12.1f}"
            )
    print("\ntumour-like datasets: LL/Cr and tCho/tCr (molar), beside LCModel's tumour mode")
    for number, (lipids, choline) in LCMODEL.items():
        path = CHALLENGE / "jmrui" / f"dataset{number}_WS.txt"
        found = analyze(path, echo_time_s=0.03, sequence="PRESS")
        ll, cho = found.ratios["LL/Cr"], found.ratios["Cho/Cr"]
        print(
            f"{number:>4}  LL/Cr {float(ll.value.item()):5.1f} +/- {float(ll.sd.item()):4.1f}"
            f" ({lipids})   tCho/tCr {float(cho.value.item()) / 3:5.2f} +/- "
            f"{float(cho.sd.item()) / 3:4.2f} ({choline})   {found.assessment.favors.value}"
        )


def phantom() -> None:
    print("\nGE phantom, 1.5 T, TE 30 ms: Lac/Cr of one solution")
    values = []
    for name in ("P1751", "P1806", "P1820", "P1834", "P1851", "P1904"):
        found = analyze(DATA / "ge_pfile" / f"{name}_1.5T_030_2000.7")
        one = found.ratios["Lac/Cr"]
        size = found.spectra.voxel_size_mm
        edge = "unknown" if size is None else f"{np.prod(size) ** (1 / 3):.0f} mm"
        value, bound = float(one.value.item()), float(one.bound().item())
        if np.isfinite(value):
            text = f"{value:.3f} +/- {float(one.sd.item()):.3f}"
            values.append(value)
        else:
            text = "no answer" if np.isnan(bound) else f"above {bound:.2f}"
        print(f"{name}  {edge:>8}  {one.status.item():<26}{text}")
    spread = np.std(values, ddof=1) / np.mean(values)
    print(f"spread over {len(values)} voxel sizes: {100 * spread:.1f} % (standard deviation)")


def widths() -> None:
    """Print how much of the published differences of T2 the widths of lines show."""
    t2 = t2_of(default_model(analyze(CHALLENGE / "jmrui" / "dataset1_WS.txt").acquisition))
    print("\nwidths: 1 as published T2 make them, 0 equal; ", end="")
    print(f"prior {t2.start:g} +/- {t2.sd:g}")
    for name, (path, given) in BRAINS.items():
        spectra = analyze(DATA / path, **given).spectra
        print(f"{name:<26}{np.nanmedian(shown(fit(spectra))):6.2f}")
    basis, found = read_basis(CHALLENGE / "basis_jmrui"), []
    for number in range(1, 11):
        path = CHALLENGE / "jmrui" / f"dataset{number}_WS.txt"
        spectra = analyze(path, echo_time_s=0.03, sequence="PRESS").spectra
        found.append(shown(fit(spectra, model_from_basis(basis, spectra.acquisition))).item())
    print(f"{'challenge, theirs (median)':<26}{np.median(found):6.2f}")


def shown(result):
    return result.parameters[..., result.parameter_names.index("T2:lorentz_hz")]


def main() -> None:
    if not DATA.is_dir():
        print(f"the files are not in {DATA.parent.name}/{DATA.name} beside the project")
        return
    challenge()
    phantom()
    widths()


if __name__ == "__main__":
    main()
