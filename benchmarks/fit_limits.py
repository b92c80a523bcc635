"""What stops the fit at SNR 100 and 30 ms, one piece of knowledge at a time.

The phantoms of ``fit_accuracy`` with lipids of their nominal width, fitted by models that know
less and less. ``noise``: the Cramer-Rao expectation with every shape known and a baseline of 12
dimensions. ``shapes``: the fit that is told every shape, and chooses the baseline's stiffness.
``creatine``: its line at 3.9 ppm may be weaker than its CH3 says. ``widths``: it is not told by
how much lines differ in width because their T2 do. ``lipids``: it is told the
macromolecules only. ``default``: it is told nothing. ``varied``: so, and the lipids' width and
place vary from voxel to voxel. Median absolute errors in %; in brackets what the fit itself
expects, the median of 0.67 of its standard deviations. 200 spectra a class by default; a number as
argument takes another.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.fit_accuracy import CLASSES, bound, spectra_of
from mrs_necrosis import ratio
from mrs_necrosis.fitting import Component, Model, Parameter, default_model, fit
from mrs_necrosis.simulation.tissues import LIPIDS, decay_rate, macromolecule_names, tissue_data

if TYPE_CHECKING:
    from collections.abc import Callable

SNR, ECHO_TIME_S, SEED, HALF = 100, 0.030, 100, 0.6745
PAIRS = ("Cho/Cr", "NAA/Cr", "LL/Cr")
APART = ("NAA", "Cr", "Cho", "Lac")


def shaped(name: str, area: str, shape: str, rows: list[list[float]]) -> Component:
    ppm, width, weight = zip(*rows, strict=True)
    weights = (1.0,) if len(rows) == 1 else weight
    return Component(name, area, shape, tuple(ppm), tuple(map(complex, weights)), tuple(width))


def told_macromolecules(model: Model) -> Model:
    """Return the model with the simulator's macromolecules: one pattern, one amplitude."""
    rows = [tissue_data()["macromolecules"][name] for name in macromolecule_names()]
    comb = [name for name in model.names if name.startswith("MM")]
    return model.with_components(shaped("MM", "MM", "mm", rows)).without(*comb)


def told_lipids(model: Model) -> Model:
    """Return the model with the simulator's lipids, each with one free amplitude."""
    data = tissue_data()["lipids"]["asymmetric"]
    old = [name for name in model.names if name.startswith("Lip")]
    shapes = dict.fromkeys(LIPIDS, "lip13") | {"Lip09": "m09"}
    new = [shaped(f"{name} told", name, shapes[name], data[name]) for name in LIPIDS]
    return model.with_components(*new).without(*old)


def told_widths(model: Model) -> Model:
    """Return the model that knows by how much the widths of the simulator's lines differ."""
    own = [f"{name}:lorentz_hz" for name in ("NAA", "Cr", "Cho", "Ace", "T2")]
    model = replace(model, parameters=tuple(p for p in model.parameters if p.name not in own))
    widths = tuple(decay_rate(name) / np.pi for name in APART)
    known = Parameter("T2:lorentz_hz", "lorentz", APART, 1.0, 1e-3, 0.9, 1.1, widths)
    return model.with_parameter(known)


def told(model: Model) -> Model:
    """Return the model with the simulator's macromolecules and lipids."""
    return told_lipids(told_macromolecules(model))


KNOWLEDGE: dict[str, Callable[[Model], Model]] = {
    "shapes": lambda model: told_widths(told(model)).without("CrCH2", "LacCH", "NAAasp"),
    "creatine": lambda model: told_widths(told(model)),
    "widths": told,
    "lipids": told_macromolecules,
    "default": lambda model: model,
}


def errors(made, model) -> dict[str, tuple[float, float]]:
    """Return median error and median expected error of each ratio, in %."""
    found = {}
    results = [fit(one.spectra, model) for one in made]
    for pair in PAIRS:
        n, d = pair.split("/")
        true = np.concatenate([one.truth.ratio(n, d).ravel() for one in made])
        ratios = [ratio(one.areas, n, d) for one in results]
        value = np.concatenate([one.value.ravel() for one in ratios])
        sd = np.concatenate([one.sd.ravel() for one in ratios])
        found[pair] = (
            100 * float(np.nanmedian(np.abs(value / true - 1))),
            100 * HALF * float(np.nanmedian(sd / true)),
        )
    return found


def main(n: int) -> None:
    columns = ("noise", *KNOWLEDGE, "varied")
    print(f"PRESS {1e3 * ECHO_TIME_S:.0f} ms, SNR {SNR}, {n} spectra a class")
    print(f"{'class':<26}{'':<8}" + "".join(f"{name:>14}" for name in columns))
    for tissue in CLASSES:
        nominal, varied = (
            spectra_of(tissue, n, SEED, SNR, ECHO_TIME_S, lipid_variation=v) for v in (0.0, 0.2)
        )
        model = default_model(nominal[0].spectra.acquisition)
        table = {name: errors(nominal, tell(model)) for name, tell in KNOWLEDGE.items()}
        table["varied"] = errors(varied, model)
        bounds = [bound(one) for one in nominal]
        for pair in PAIRS:
            if pair == "LL/Cr" and tissue.startswith("normal"):
                continue
            least = 100 * HALF * np.median(np.concatenate([one[pair] for one in bounds]))
            line = f"{tissue:<26}{pair:<8}{least:>14.1f}"
            for name in columns[1:]:
                error, expected = table[name][pair]
                line += f"{error:>7.1f} ({expected:4.1f})"
            print(line, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
