"""LCModel RAW and H2O: the text input of LCModel, of one voxel or many.

Fortran namelists (``$SEQPAR``, ``$NMID``) and then real and imaginary parts in the format that
``FMTDAT`` names; many voxels follow each other without a mark, columns fastest, then rows, then
slices. Specified in LCModel's manual, section 5. Higher ppm is at negative frequency, unless
``BRUKER = T``. The format knows 1H only.

The file does not hold the dwell time, and often not the frequency, nor how many samples an FID
has: these stand in LCModel's control file, which is looked for beside it and used when its
``FILRAW`` or ``FILH2O`` names this file. FID-A and what follows it (Osprey) add
``NumberOfPoints`` and ``dwellTime`` (in s) to ``$SEQPAR``, which are used.

An own reader: spec2nii's finds no dwell time and reads one FID only.
"""

from __future__ import annotations

import re
from typing import Final

from mrs_necrosis.errors import MissingMetadataError
from mrs_necrosis.io.recording import Recording, number, scaled, sequence_name, whole
from mrs_necrosis.io.source import Source, complex_pairs, decode
from mrs_necrosis.io.text_samples import text_numbers

NAME: Final = "LCModel RAW"
_LONGEST_CONTROL: Final = 2**16
_LONGEST_SINGLE: Final = 8192
_NMID: Final = re.compile(r"[$&]NMID\b", re.IGNORECASE)
_BASIS: Final = re.compile(r"[$&]BASIS\b", re.IGNORECASE)
# Fortran's own end of a namelist is a stroke outside a text
_END: Final = re.compile(r"[$&]END\b|/[ \t]*$", re.IGNORECASE | re.MULTILINE)
_SETTING: Final = re.compile(
    r"([A-Za-z]\w*(?:\(\d+\))?)[ \t]*=[ \t]*('[^'\n]*'|\"[^\"\n]*\"|[^\s,$/]*)"
)


def recognises(source: Source) -> bool:
    """Return whether the file has LCModel's ``$NMID`` namelist and is no basis set."""
    head = source.head_text.upper() if source.is_text else ""
    return _NMID.search(head) is not None and _BASIS.search(head) is None


def parse(source: Source, *, n_samples: int | None = None) -> Recording:
    """Read a RAW or H2O file.

    Parameters
    ----------
    source : Source
        The file.
    n_samples : int or None
        Samples of one FID, where no control file says it.
    """
    text = source.text
    start = _NMID.search(text)
    end = None if start is None else _END.search(text, start.end())
    if end is None:
        source.fail("is truncated: its namelist $NMID does not end")
    settings = settings_of(text[: end.start()])
    if settings.get("seqacq", "").upper().strip(".") in {"T", "TRUE"}:
        source.fail("was sampled sequentially (SEQACQ), which is not supported")
    control = _control(source)
    # numbers in a fixed format may touch where one is negative
    body = re.sub(r"(?<=[0-9.])(?=[+-])", " ", text[end.end() :])
    numbers = text_numbers(source, body)
    if numbers.size % 2 or numbers.size == 0:
        source.fail(f"is truncated: {numbers.size} numbers are no complex samples")
    stored = complex_pairs(numbers)
    if settings.get("bruker", "").upper().strip(".") not in {"T", "TRUE"}:
        stored = stored.conj()
    per_voxel = n_samples or whole(control.get("nunfil")) or whole(settings.get("numberofpoints"))
    grid = _grid(source, stored.size, per_voxel, control)
    x, y, z = grid
    return Recording(
        format=NAME,
        fid=stored.reshape(z, y, x, -1).transpose(2, 1, 0, 3),
        spectrometer_frequency_mhz=_first(
            number(settings.get("hzpppm")), number(control.get("hzpppm"))
        ),
        dwell_time_s=_first(number(control.get("deltat")), number(settings.get("dwelltime"))),
        echo_time_s=_first(
            scaled(settings.get("echot"), 1e-3), scaled(control.get("echot"), 1e-3)
        ),
        sequence=sequence_name(settings.get("seq")),
        nucleus="1H",
        notes=("LCModel's control file beside it was used.",) if control else (),
    )


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def settings_of(text: str) -> dict[str, str]:
    """Return the ``NAME = VALUE`` pairs of a namelist, names in lower case."""
    return {name.lower(): value.strip("'\" ") for name, value in _SETTING.findall(text)}


def _control(source: Source) -> dict[str, str]:
    """Return the settings of the control file beside the file that names it, if one does."""
    try:
        entries = sorted(source.path.parent.iterdir())
    except OSError:
        return {}
    for entry in entries:
        name = entry.name.lower()
        if not (
            name.startswith("control") or entry.suffix.lower() in {".control", ".ctrl", ".ctl"}
        ):
            continue
        try:
            if not entry.is_file() or entry.stat().st_size > _LONGEST_CONTROL:
                continue
            text = decode(entry.read_bytes())
        except OSError:
            continue
        if "$LCMODL" not in text.upper():
            continue
        settings = settings_of(text)
        named = {re.split(r"[\\/]", settings.get(key, ""))[-1] for key in ("filraw", "filh2o")}
        if source.name in named:
            return settings
    return {}


def _grid(
    source: Source, size: int, per_voxel: int | None, control: dict[str, str]
) -> tuple[int, int, int]:
    if per_voxel is None:
        # the file does not say where one FID ends, so only what is certainly one is taken as one
        if size & (size - 1) or size > _LONGEST_SINGLE:
            raise MissingMetadataError(
                source.path,
                f"holds {size} complex samples, which may be several voxels or a truncated one; "
                "give n_samples=... (on the command line --samples), the samples of one FID, "
                "or put LCModel's control file beside it",
            )
        return 1, 1, 1
    if per_voxel < 1 or size % per_voxel:
        source.fail(f"is truncated: {size} complex samples are no multiple of {per_voxel} an FID")
    n_voxels = size // per_voxel
    columns, rows, slices = (
        whole(control.get(name, 1)) or 1 for name in ("ndcols", "ndrows", "ndslic")
    )
    if columns * rows * slices == n_voxels:
        return columns, rows, slices
    if n_voxels > 1 and control:
        source.fail(
            f"is truncated: the control file promises {columns} x {rows} x {slices} voxels of "
            f"{per_voxel} samples, {n_voxels} are there"
        )
    return n_voxels, 1, 1
