"""Files whose truth is known: the ISMRM fitting challenge and the GE two-compartment phantom.

The files lie beside the project in ``../shared/data``; without them nothing is measured. The
challenge: relative error of tNAA/tCr and tCho/tCr against the published concentrations, beside
that of integrated real spectra (0.1 ppm to either side, phased and shifted as preprocessing
finds). The phantom: lactate over creatine of one solution, in voxels from 40 to 12 mm; P1904 has
no creatine.
"""

import csv
from pathlib import Path

import numpy as np

from mrs_necrosis import analyze
from mrs_necrosis.constants import PEAK_PPM, PROTONS

DATA = Path(__file__).parents[2] / "shared" / "data"
CHALLENGE = DATA / "ismrm_challenge"
PARTS = {"Cho": ("GPC", "PCho"), "Cr": ("Cr", "PCr"), "NAA": ("NAA", "NAAG")}
PAIRS = (("NAA", "Cr"), ("Cho", "Cr"))


def truths() -> list[dict[str, float]]:
    with (CHALLENGE / "truth_datasets_1-10.csv").open() as file:
        rows = {row["metabolite"]: row for row in csv.DictReader(file)}
    return [
        {peak: sum(float(rows[part][f"dataset{n}"]) for part in parts)
         for peak, parts in PARTS.items()}
        for n in range(1, 11)
    ]  # fmt: skip


def integral(spectra, name: str) -> float:
    near = np.abs(spectra.ppm - PEAK_PPM[name]) < 0.1
    return float(spectra.spectrum[0, 0, 0, near].real.sum())


def challenge() -> None:
    print("ISMRM challenge, datasets 1-10: fitted over true ratio - 1, in %, and the ratio's sd")
    print(f"{'set':>4}" + "".join(f"{f'{n}/{d}':>9}{'sd':>6}{'integr.':>9}" for n, d in PAIRS))
    errors: dict[tuple[str, str], list[float]] = {}
    for number, truth in enumerate(truths(), 1):
        path = CHALLENGE / "jmrui" / f"dataset{number}_WS.txt"
        found = analyze(path, echo_time_s=0.03, sequence="PRESS")
        line = f"{number:>4}"
        for pair in PAIRS:
            n, d = pair
            protons = PROTONS[n] / PROTONS[d]
            true = truth[n] / truth[d] * protons
            one = found.ratios[f"{n}/{d}"]
            fitted = 100 * (float(one.value.item()) / true - 1)
            sd = 100 * float(one.sd.item()) / true
            rough = 100 * (integral(found.spectra, n) / integral(found.spectra, d) / true - 1)
            errors.setdefault((f"{n}/{d}", "fit"), []).append(fitted)
            errors.setdefault((f"{n}/{d}", "integration"), []).append(rough)
            line += f"{fitted:>9.1f}{sd:>6.1f}{rough:>9.1f}"
        print(line)
    for (name, method), values in errors.items():
        median, worst = np.median(np.abs(values)), np.max(np.abs(values))
        print(f"{name:<8}{method:<12} median |error| {median:6.1f} %   largest {worst:6.1f} %")


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


def main() -> None:
    if not DATA.is_dir():
        print(f"the files are not in {DATA.parent.name}/{DATA.name} beside the project")
        return
    challenge()
    phantom()


if __name__ == "__main__":
    main()
