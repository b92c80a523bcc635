"""Results of LCModel: its table of concentrations in a ``.coord``, ``.table`` or ``.csv`` file.

Own reader: no kept library has one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from os import PathLike
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.arguments import read_only, restore
from mrs_necrosis.constants import ECHO_TIME_S, FREQUENCY_MHZ
from mrs_necrosis.io.lcmodel import settings_of
from mrs_necrosis.io.recording import number, scaled, within
from mrs_necrosis.io.source import Source
from mrs_necrosis.io.text_samples import text_numbers

_ROW: Final = re.compile(
    r"^[ \t]*([-+.\dEe]+)[ \t]+(\d+)%[ \t]+[-+.\dEe]+[ \t]*(\S+)[ \t]*\n", re.MULTILINE
)
_ROWS: Final = re.compile(rf"(?:{_ROW.pattern})+", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LCModelTable:
    """What LCModel reported: concentrations of K metabolites in V voxels.

    Parameters
    ----------
    names : tuple of str
        Metabolites and their sums, as LCModel writes them.
    values : ndarray of float64, shape (V, K)
        Concentrations.
    relative_sd : ndarray of float64, shape (V, K)
        LCModel's %SD (a bound) over 100.
    ppm, data, fit, baseline : ndarray of float64, shape (M,), or None
        From a ``.coord`` file: its axis, falling, the phased data, the fit and the baseline.
    echo_time_s, spectrometer_frequency_mhz : float or None
        As the list of LCModel's input in a ``.coord`` or ``.table`` file says.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    relative_sd: NDArray[np.float64]
    ppm: NDArray[np.float64] | None = None
    data: NDArray[np.float64] | None = None
    fit: NDArray[np.float64] | None = None
    baseline: NDArray[np.float64] | None = None
    echo_time_s: float | None = None
    spectrometer_frequency_mhz: float | None = None

    __setstate__ = restore


def read_lcmodel_table(path: str | PathLike[str]) -> LCModelTable:
    r"""Read LCModel's result for one voxel (``.coord``, ``.table``) or many (``.csv``).

    Parameters
    ----------
    path : str or PathLike
        The file.

    Returns
    -------
    LCModelTable
        In the file's units.

    Raises
    ------
    FormatError
        If the file is no result of LCModel, or damaged.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "voxels.csv"
    ...     _ = path.write_text("Row, Col, NAA, NAA %SD, NAA/Cr\n1, 1, 7.5, 3, 1.2\n")
    ...     table = read_lcmodel_table(path)
    >>> table.names, table.values.tolist(), table.relative_sd.tolist()
    (('NAA',), [[7.5]], [[0.03]])
    """
    source = Source(path)
    if not source.is_text:
        source.fail("is no result of LCModel")
    first = source.head_text.partition("\n")[0]
    if "%SD" in first and "," in first:
        return _csv(source, first)
    return _coord(source)


def _csv(source: Source, titles: str) -> LCModelTable:
    names = [title.strip() for title in titles.split(",")]
    columns = [at for at in range(2, len(names) - 1) if names[at + 1] == f"{names[at]} %SD"]
    rows = [line.split(",") for line in source.text.splitlines()[1:] if line.strip()]
    if not columns or not rows or any(len(row) < columns[-1] + 2 for row in rows):
        source.fail("is damaged: its lines do not fit its titles")
    cells = text_numbers(
        source, " ".join(f"{row[at]} {row[at + 1]}" for row in rows for at in columns)
    ).reshape(len(rows), len(columns), 2)
    return LCModelTable(
        names=tuple(names[at] for at in columns),
        values=read_only(cells[..., 0], np.float64),
        relative_sd=read_only(cells[..., 1] / 100.0, np.float64),
    )


def _coord(source: Source) -> LCModelTable:
    text = source.text
    start = re.search(r"lines in following concentration table[^\n]*\n[^\n]*\n", text)
    if start is None:
        source.fail("is no result of LCModel")
    rows = _ROWS.match(text, start.end())
    # the number of lines in the title may be too large in an edited file; what follows is sure
    if rows is None or "misc. output table" not in text[rows.end() : rows.end() + 200]:
        source.fail("is truncated or damaged: its table does not end where it should")
    found = _ROW.findall(rows[0])
    names = [name for _, _, name in found]
    values = text_numbers(source, " ".join(value for value, _, _ in found))
    deviations = text_numbers(source, " ".join(sd for _, sd, _ in found)) / 100.0
    # below all else, where the metabolites' names cannot pass for settings
    settings = settings_of(text.partition("lines in following table of input changes")[2])
    return LCModelTable(
        names=tuple(names),
        values=read_only(values[None], np.float64),
        relative_sd=read_only(deviations[None], np.float64),
        echo_time_s=within(scaled(settings.get("echot"), 1e-3), *ECHO_TIME_S),
        spectrometer_frequency_mhz=within(number(settings.get("hzpppm")), *FREQUENCY_MHZ),
        **_curves(source, text),
    )


def _curves(source: Source, text: str) -> dict[str, NDArray[np.float64]]:
    axis = re.search(r"(\d+) points on ppm-axis = NY\n", text)
    if axis is None:
        return {}
    count = int(axis[1])
    curves: dict[str, NDArray[np.float64]] = {}
    for name, title in (
        ("ppm", re.escape(axis[0])),
        ("data", r"NY phased data points follow\n"),
        ("fit", r"NY points of the fit to the data follow\n"),
        ("baseline", r"NY background values follow\n"),
    ):
        start = re.search(title, text)
        if start is None:
            continue
        body = re.match(r"\s*(?:[-+.\dEe]+\s+)*", text[start.end() :])
        words = body[0].split() if body else []
        curves[name] = read_only(text_numbers(source, " ".join(words[:count]), count), np.float64)
    return curves
