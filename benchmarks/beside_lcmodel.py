"""Real spectra beside LCModel's own results on the same data: molar ratios, no truth known.

The files lie beside the project in ``../shared/data``; without them nothing is measured. Of the
ten multi-voxel spectra, all above the water was filtered away and lipids below 1.8 ppm were
removed upstream: the fit is told so by its range, as LCModel was. Suppression of the water took
60 to 95 % of creatine's line at 3.9 ppm, too; both have a component for that.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mrs_necrosis import preprocess, ratio, read
from mrs_necrosis.fitting import Baseline, default_model, fit, within
from mrs_necrosis.io import read_lcmodel_table

DATA = Path(__file__).parents[2] / "shared" / "data"
BRAIN = DATA / "lcmodel" / "brain_3T_press30"
GRID = DATA / "mrsi" / "lcmodel_multivoxel_10"
PROTONS = {"NAA": 3, "Cho": 9, "mI": 4, "Glx": 2, "Cr": 3}


def ours(result, name):
    one = ratio(result.areas, name, "Cr")
    scale = PROTONS["Cr"] / PROTONS[name]
    return one.value.ravel() * scale, one.sd.ravel() * scale


def lines(title, result, theirs, sds):
    print(title)
    print("voxel" + "".join(f" |{n + '/Cr':>8}{'sd':>6}{'LCModel':>9}{'sd':>6}" for n in theirs))
    columns = {name: ours(result, name) for name in theirs}
    for v in range(result.areas.values.reshape(-1, len(result.areas.names)).shape[0]):
        row = f"{v + 1:>5}"
        for name, value in theirs.items():
            one, sd = columns[name]
            row += f" |{one[v]:8.3f}{sd[v]:6.3f}{value[v]:9.3f}{value[v] * sds[name][v]:6.3f}"
        print(row)
    for name, value in theirs.items():
        difference(name, columns[name][0], value)


def difference(name, value, theirs):
    apart = 100 * (value / theirs - 1)
    print(f"  {name}/Cr: median difference {np.median(apart):+.0f} %, of its size "
          f"{np.median(np.abs(apart)):.0f} %")  # fmt: skip


def table(path, parts):
    """Return sums of LCModel's columns over those of creatine, and their relative sd."""
    found = read_lcmodel_table(path)
    values = {n: np.asarray(found.values)[..., i] for i, n in enumerate(found.names)}
    sds = {n: np.asarray(found.relative_sd)[..., i] for i, n in enumerate(found.names)}
    # LCModel writes voxels in the order it fitted them, from the centre out
    with path.open() as file:
        order = np.argsort([int(row.split(",")[1]) for row in file.readlines()[1:]])
    creatine = parts["Cr"]
    theirs, errors = {}, {}
    for name, column in parts.items():
        if name != "Cr":
            theirs[name] = np.atleast_1d(values[column] / values[creatine])[order]
            errors[name] = np.atleast_1d(sds[column])[order]
    return theirs, errors


def main() -> None:
    if not DATA.is_dir():
        print("no scanner files beside the project; nothing was measured")
        return
    data = read(BRAIN / "data.raw", echo_time_s=0.030, sequence="PRESS")
    parts = {"NAA": "NAA+NAAG", "Cho": "GPC+PCh", "mI": "Ins", "Glx": "Glu+Gln", "Cr": "Cr+PCr"}
    theirs, sds = table(BRAIN / "lcmodel_reference_test-reference-out.csv", parts)
    lines("brain, 3 T PRESS 30 ms", fit(preprocess(data)), theirs, sds)

    data = read(GRID / "multi-voxel.met", water_reference=GRID / "multi-voxel.ref")
    spectra = preprocess(data)
    model = within(default_model(spectra.acquisition), (1.9, 4.0))
    result = fit(spectra, model)
    parts = {"NAA": "NAA+NAAG", "Cho": "GPC+PCh", "mI": "mI", "Glx": "Glu+Gln", "Cr": "Cr"}
    theirs, sds = table(GRID / "test-reference-multi-voxel.csv", parts)
    lines("ten voxels of a CSI, 3 T spin echo 15.6 ms", result, theirs, sds)
    stiff = fit(spectra, replace(model, baseline=Baseline((8.0,))))
    print("the same with a baseline of 8 dimensions, which is stiffer")
    for name, value in theirs.items():
        difference(name, ours(stiff, name)[0], value)


if __name__ == "__main__":
    main()
