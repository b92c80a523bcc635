"""Every cell in which ``fit_accuracy`` misses its bar, and the limit that stops it there.

The bar: median and 95th percentile of the error within 1.15 times what noise alone allows, and
intervals that cover at most 98 % where they are wider than 1.15 times the bound's. Cells are those
of the last table of ``fit_accuracy``. ``told`` is the median error of the fit that is told every
shape, as in ``fit_limits``: what is missing is knowledge, not a better search. ``spread`` is the
median error where each spectrum draws from the priors what no one is told, as in
``fit_calibration``: there the fit's model is the truth's, and no method expects less. A cell whose
``error`` is below it cannot be bettered but by knowing more of the spectra than is published.
Then the intervals: what they cover in the table and on such drawn spectra, and what they would
cover there if they were made as narrow as the bar asks, 1.15 / ``width`` of what they are. 500
spectra a cell by default; a number as argument takes another.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.fit_accuracy import RATIOS, spectra_of
from benchmarks.fit_calibration import SEED, drawn_like
from benchmarks.fit_limits import KNOWLEDGE
from mrs_necrosis import ratio
from mrs_necrosis.fitting import default_model, fit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TABLE = Path(__file__).parent / "results" / "fit_accuracy.txt"
COLUMNS = (8, 6, 6, 6, 6, 6)
"""Characters of each number of a ratio in that table: it has no spaces where they are large."""
FACTOR, MOST_PERCENT = 1.15, 98
UNJUDGED = "Cho/NAA"
"""Its error has no bar, its intervals have."""


@dataclass(frozen=True)
class Cell:
    """One ratio of one class at one SNR, as ``fit_accuracy`` found it; all but ``width`` in %."""

    error: float
    noise: float
    error_95: float
    noise_95: float
    cover: float
    width: float

    def is_inaccurate(self) -> bool:
        """Return whether the error is above the bar by more than rounding."""
        return (
            self.error - 0.05 > FACTOR * self.noise or self.error_95 - 0.5 > FACTOR * self.noise_95
        )

    def is_wide(self) -> bool:
        """Return whether the interval covers too much for its width."""
        return self.cover > MOST_PERCENT and self.width > FACTOR


def cells(text: str) -> Iterator[tuple[float, str, float, dict[str, Cell]]]:
    """Give echo time, class, SNR and the cells of its ratios, a row of the table each."""
    echo_time_s = 0.0
    for line in text.splitlines():
        if title := re.match(r"PRESS (\d+) ms", line):
            echo_time_s = float(title[1]) / 1e3
        name, *blocks = line.split(" |")
        if not blocks or name.startswith("class"):
            continue
        tissue, snr = name.split()
        ends = np.cumsum(COLUMNS)
        numbers = [
            [float(block[end - size : end]) for end, size in zip(ends, COLUMNS, strict=True)]
            for block in blocks
        ]
        found = {r: Cell(*row) for r, row in zip(RATIOS, numbers, strict=True)}
        yield echo_time_s, tissue, float(snr), found


def told_errors(tissue: str, n: int, snr: float, echo_time_s: float) -> dict[str, float]:
    """Return the median error in % of the fit that is told every shape."""
    made = spectra_of(tissue, n, SEED, snr, echo_time_s, lipid_variation=0.0)
    model = KNOWLEDGE["shapes"](default_model(made[0].spectra.acquisition))
    results = [fit(one.spectra, model) for one in made]
    found = {}
    for name in RATIOS:
        pair = name.split("/")
        errors = [
            ratio(r.areas, *pair).value / m.truth.ratio(*pair) - 1
            for r, m in zip(results, made, strict=True)
        ]
        found[name] = 100 * float(np.nanmedian(np.abs(np.concatenate(errors))))
    return found


class Drawn:
    """Spectra of one cell that draw from the priors what the model leaves open, fitted."""

    def __init__(self, tissue: str, n: int, snr: float, echo_time_s: float) -> None:
        rng = np.random.default_rng(SEED)
        made = spectra_of(tissue, n, SEED, snr, echo_time_s)
        spectra, self.areas = zip(*(drawn_like(one, snr, rng) for one in made), strict=True)
        self.results = [fit(one) for one in spectra]

    def values(self, name: str) -> tuple[Floats, Floats, Floats, Floats]:
        """Return truth, estimate and both ends of the interval, each of shape (V,)."""
        n, d = name.split("/")
        true = [one[n] / one[d] for one in self.areas]
        ratios = [ratio(one.areas, n, d) for one in self.results]
        ends = [one.interval() for one in ratios]
        columns = (
            true,
            [one.value.ravel() for one in ratios],
            [one.lower.ravel() for one in ends],
            [one.upper.ravel() for one in ends],
        )
        return tuple(np.concatenate(column) for column in columns)  # type: ignore[return-value]

    def error(self, name: str) -> float:
        """Return the median absolute error in %."""
        true, value, _, _ = self.values(name)
        return 100 * float(np.nanmedian(np.abs(value / true - 1)))

    def cover(self, name: str, factor: float = 1.0) -> float:
        """Return what the intervals cover in % when both ends come nearer by a factor."""
        true, value, lower, upper = self.values(name)
        known = np.isfinite(value)
        inside = (value - factor * (value - lower) <= true) & (
            true <= value + factor * (upper - value)
        )
        return 100 * float(inside[known].mean())


def main(n: int) -> None:
    inaccurate, wide = [], []
    judged = 0
    for echo_time_s, tissue, snr, found in cells(TABLE.read_text(encoding="utf-8")):
        errors = [r for r, c in found.items() if r != UNJUDGED and c.is_inaccurate()]
        widths = [r for r, c in found.items() if c.is_wide()]
        judged += len(found)
        if not errors + widths:
            continue
        drawn = Drawn(tissue, n, snr, echo_time_s)
        told = told_errors(tissue, n, snr, echo_time_s) if errors else {}
        where = f"{1e3 * echo_time_s:4.0f}  {tissue:<26}{snr:>4.0f}  "
        for name in errors:
            cell, spread = found[name], drawn.error(name)
            line = f"{where}{name:<8}{cell.error:>7.1f}{cell.noise:>7.1f}"
            inaccurate.append((cell.error < spread, line + f"{told[name]:>7.1f}{spread:>8.1f}"))
        for name in widths:
            cell = found[name]
            numbers = (cell.cover, drawn.cover(name), drawn.cover(name, FACTOR / cell.width))
            wide.append(
                f"{where}{name:<8}{cell.width:>6.1f}" + "".join(f"{x:>8.0f}" for x in numbers)
            )
    below = sum(one for one, _ in inaccurate)
    print(f"median error in %, {n} spectra a cell")
    print(f"{'TE':>4}  {'class':<26}{'SNR':>4}  {'ratio':<8}  error  noise   told  spread")
    print("\n".join(line for _, line in inaccurate))
    print(f"{len(inaccurate)} cells above the bar, {below} of them below spread")
    print("\ncoverage of 95 % intervals in %")
    print(f"{'TE':>4}  {'class':<26}{'SNR':>4}  {'ratio':<8} width   table   drawn  narrow")
    print("\n".join(wide))
    print(f"{len(wide)} cells of {judged} above the bar")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
