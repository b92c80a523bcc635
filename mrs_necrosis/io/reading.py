"""``read``: the first format that recognises a file's content reads it.

The formats stand in ``_FORMATS`` in the order in which they are asked. What they find is checked
here, once for all: 1H only, the dwell time and the frequency known, shapes that fit. What a file
does not say stays None unless the user gives it, and what was given stands in the history.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from io import FileIO, TextIOBase
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from mrs_necrosis.arguments import check_path, check_range, check_whole
from mrs_necrosis.errors import FormatError, MissingMetadataError, MRSNecrosisError
from mrs_necrosis.io.recording import NUCLEI, Recording, nucleus_name, sequence_name
from mrs_necrosis.io.source import MAX_BYTES, Source
from mrs_necrosis.spectra import Acquisition, SpectralData, Step

_LOGGER = logging.getLogger(__name__)

_FORMATS: Final = (
    "nifti_mrs",
    "siemens_rda",
    "dicom",
    "ge_pfile",
    "siemens_twix",
    "lcmodel",
    "jmrui",
    "dangerplot",
    "varian",
    "philips_sdat",
    "unreadable",
    "challenge_text",
)
"""Modules of this folder, each with ``recognises(source)`` and ``parse(source)``."""

_NEEDED: Final = (
    ("spectrometer frequency", "spectrometer_frequency_mhz", "--frequency"),
    ("dwell time", "dwell_time_s", "--dwell-time"),
)
_GIVEN: Final = (
    "echo_time_s",
    "repetition_time_s",
    "mixing_time_s",
    "sequence",
    "spectrometer_frequency_mhz",
    "dwell_time_s",
    "nucleus",
    "reference_ppm",
)

_KNOWN_FORMATS: Final = (
    "NIfTI-MRS, Siemens RDA, DICOM (MR Spectroscopy Storage, Siemens CSA), TWIX, Philips "
    "SDAT/SPAR, GE P-file, LCModel RAW, jMRUI, Dangerplot and Varian fid"
)


def read(
    path: str | PathLike[str] | IO[bytes],
    *,
    water_reference: str | PathLike[str] | IO[bytes] | None = None,
    echo_time_s: float | None = None,
    first_echo_time_s: float | None = None,
    repetition_time_s: float | None = None,
    mixing_time_s: float | None = None,
    sequence: str | None = None,
    spectrometer_frequency_mhz: float | None = None,
    dwell_time_s: float | None = None,
    nucleus: str | None = None,
    reference_ppm: float | None = None,
    n_samples: int | None = None,
) -> SpectralData:
    """Read the spectra in a scanner's file.

    Parameters
    ----------
    path : str, PathLike or open binary file
        The file; either file of a pair (SDAT and SPAR, ``fid`` and ``procpar``), the folder of a
        Varian pair, or a folder with one DICOM series of spectra (several files are averages). An
        open file is read from where it stands, a pair only from the beginning of one on the disk.
    water_reference : str, PathLike, open binary file or None
        A second file with the water reference of the same voxels.
    echo_time_s, repetition_time_s, mixing_time_s : float or None
        In s. These and the following are for what the file does not say; where it does say, the
        given value replaces it, and the history says so.
    first_echo_time_s : float or None
        Length of the first of the two echoes of a PRESS, in s: coupled spins depend on it, and
        few files tell. Where none does, the fit allows for 11 ms and for equal echoes.
    sequence : str or None
        Such as ``"PRESS"``.
    spectrometer_frequency_mhz : float or None
        In MHz.
    dwell_time_s : float or None
        In s.
    nucleus : str or None
        ``"1H"`` for a file that names no nucleus.
    reference_ppm : float or None
        Chemical shift at zero frequency, in ppm.
    n_samples : int or None
        Samples of one FID, for an LCModel RAW file of many voxels without its control file.

    Returns
    -------
    SpectralData
        FIDs in the library's sign convention, coils and averages as they were stored. Frames of
        water in the same file are its ``water``.

    Raises
    ------
    FormatError
        If the file is no acquisition of 1H spectra, is damaged, or cannot be read.
    MissingMetadataError
        If the file does not say the dwell time or the frequency and neither was given.
    MissingExtraError
        If the format needs an optional dependency that is not installed.
    ValueError
        If a given value is not what its name says.
    TypeError
        If a path is something else.

    Examples
    --------
    >>> from mrs_necrosis.simulation import sample_path
    >>> data = read(sample_path("reference_case_te30.nii.gz"))
    >>> data.fid.shape, data.acquisition.echo_time_s
    ((1, 1, 1, 2048), 0.03)
    """
    known = checked(
        {
            "echo_time_s": echo_time_s,
            "first_echo_time_s": first_echo_time_s,
            "repetition_time_s": repetition_time_s,
            "mixing_time_s": mixing_time_s,
            "sequence": sequence,
            "spectrometer_frequency_mhz": spectrometer_frequency_mhz,
            "dwell_time_s": dwell_time_s,
            "nucleus": nucleus,
            "reference_ppm": reference_ppm,
            "n_samples": n_samples,
        }
    )
    with _on_disk("path", path) as main, _on_disk("water_reference", water_reference) as water:
        check_path("path", main)
        check_path("water_reference", water, optional=True)
        return _read(main, water, known)  # type: ignore[arg-type]


@contextmanager
def _on_disk(name: str, file: Any) -> Iterator[object]:
    """Yield the path of an open file, or of a copy of what it gives; anything else as it is."""
    if not callable(getattr(file, "read", None)):
        yield file
        return
    if isinstance(file, TextIOBase):
        msg = f"{name} must be a path or a binary file; got one that gives text"
        raise TypeError(msg)
    path = _path_of(file)
    if path is not None:
        yield path  # the other file of a pair lies beside it
        return
    with TemporaryDirectory(prefix="mrs-necrosis-") as folder:
        path = Path(folder) / "open file"
        with path.open("wb") as copy:
            # a pipe gives less than was asked for; Source refuses what is too long
            while copy.tell() <= MAX_BYTES and (block := file.read(2**20)):
                copy.write(block)
        yield path


def _path_of(file: Any) -> Path | None:
    """Return the path of an open file that stands at its beginning.

    A member of an archive has a name, too, which may be that of another file on the disk.
    """
    own = getattr(file, "name", None)
    if not isinstance(getattr(file, "raw", file), FileIO) or not isinstance(own, (str, PathLike)):
        return None
    path = Path(own)
    is_it = path.is_file() and os.path.samestat(os.fstat(file.fileno()), path.stat())
    return path if is_it and file.tell() == 0 else None


def _read(
    path: str | PathLike[str],
    water_reference: str | PathLike[str] | None,
    known: dict[str, Any],
) -> SpectralData:
    n_samples = known.pop("n_samples", None)
    data = _assemble(_sources(path), known, n_samples)
    if water_reference is None:
        return data
    if Path(water_reference).resolve() == Path(path).resolve():
        raise FormatError(
            water_reference, "is the input itself; give the scan without water suppression"
        )
    # what the user says of the acquisition helps its water reference only where that is silent
    water = _assemble(_sources(water_reference), known, n_samples, only_missing=True)
    _check_same_acquisition(data, water, Path(water_reference))
    step = Step(
        "read_water_reference",
        {"format": water.source_format},
        "The water reference is in a second file.",
    )
    return data.done(step, water=water)


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse a wrong value of the user as the user's, before any file is opened.

    Parameters
    ----------
    given : mapping of str to object
        What ``read`` takes of the acquisition, by name.

    Returns
    -------
    dict of str to object
        What is not None, with sequence and nucleus in the library's spelling.

    Raises
    ------
    ValueError
        If a number or a name is not what its name says.
    """
    known = {name: value for name, value in given.items() if value is not None}
    for name, spell, examples in (
        ("sequence", sequence_name, "'PRESS', 'STEAM' or 'sLASER'"),
        ("nucleus", nucleus_name, "'1H'"),
    ):
        if name in known:
            word, known[name] = known[name], spell(known[name])
            if known[name] is None:
                msg = f"{name} must be a name such as {examples}; got {word!r}"
                raise ValueError(msg)
    numbers = known.copy()
    if "n_samples" in numbers:
        check_whole("n_samples", numbers.pop("n_samples"), 1)
    if "first_echo_time_s" in numbers:
        check_range("first_echo_time_s", numbers.pop("first_echo_time_s"), 1e-3, 1.0, "s")
    Acquisition(**{"spectrometer_frequency_mhz": 100.0, "dwell_time_s": 1e-3} | numbers)
    return known


def told(acquisition: Acquisition, given: Mapping[str, Any]) -> Acquisition:
    """Return an acquisition with what the user says of it.

    Parameters
    ----------
    acquisition : Acquisition
        Of spectra in memory.
    given : mapping of str to object
        As ``checked`` returns it.

    Returns
    -------
    Acquisition
        Parts of the echo time that do not fit a new one are left out.

    Raises
    ------
    FormatError
        If the first of the echoes is not shorter than both.
    """
    values = {name: value for name, value in given.items() if name in _GIVEN}
    te = values.get("echo_time_s", acquisition.echo_time_s)
    if "first_echo_time_s" in given:
        values["echo_times_s"] = _echoes(Path("spectra"), given["first_echo_time_s"], te)
    elif te != acquisition.echo_time_s:
        values["echo_times_s"] = None
    return replace(acquisition, **values)


def _sources(path: str | PathLike[str]) -> list[Source]:
    """Return the file, or the files of a folder that are one acquisition."""
    if not fspath(path):  # an unset variable of a shell, which would be the current folder
        nameless = "an input"
        raise FormatError(nameless, "is an empty path; give a file")
    folder = Path(path)
    try:
        if not folder.is_dir():
            return [Source(folder)]
        pair = [folder / name for name in ("fid", "FID") if (folder / name).is_file()]
        if pair:
            return [Source(pair[0])]
        with _refusal(folder, "input"):
            return _series(folder)
    except OSError as error:  # no permission, or a name that is too long
        raise FormatError(path, f"cannot be opened ({type(error).__name__})") from None


def _series(folder: Path) -> list[Source]:
    """Return the DICOM files with spectra among those of a folder, in the order of the series."""
    from mrs_necrosis.io.dicom import series_of

    found: dict[tuple[str, str], tuple[int, Source]] = {}  # a copy of a file counts once
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file() or path.stat().st_size == 0:
            continue
        source = Source(path)
        known = series_of(source)
        if known is not None:
            found.setdefault(known[:2], (known[2], source))
    if not found:
        raise FormatError(
            folder,
            "is a folder without a Varian fid file or a DICOM file that holds spectra; "
            "give the file with the spectra",
        )
    if len({series for series, _ in found}) > 1:
        raise FormatError(
            folder,
            f"is a folder with {len(found)} DICOM files that hold spectra, of more than one "
            "series; give one of them, or a folder with one series",
        )
    return [source for _, source in sorted(found.values(), key=lambda item: item[0])]


@contextmanager
def _refusal(path: Path, name: str) -> Iterator[None]:
    """Turn whatever a parser raises into one sentence without header text."""
    try:
        yield
    except MRSNecrosisError:
        raise
    except (MemoryError, RecursionError, OverflowError) as error:
        _LOGGER.debug("%s reader raised %s", name, type(error).__name__)
        raise FormatError(
            path, f"is damaged: what its {name} header asks for cannot be held in memory"
        ) from None
    except PermissionError:
        raise FormatError(path, "cannot be opened (PermissionError)") from None
    except Exception as error:  # noqa: BLE001 - third-party readers raise anything
        # their messages quote headers, which name patients, so only the type goes to the log
        _LOGGER.debug("%s reader raised %s", name, type(error).__name__)
        raise FormatError(path, f"is damaged or no complete {name} file") from None


def _parse(source: Source, n_samples: int | None) -> Recording:
    for name in _FORMATS:
        module = import_module(f"mrs_necrosis.io.{name}")
        with _refusal(source.path, module.NAME):
            if module.recognises(source):
                known = {"n_samples": n_samples} if name == "lcmodel" else {}
                recording: Recording = module.parse(source, **known)
                return recording
    msg = f"is none of the formats that can be read: {_KNOWN_FORMATS}"
    raise FormatError(source.path, msg)


def _joined(sources: list[Source], n_samples: int | None) -> Recording:
    """Read the files of one series as averages of one acquisition."""
    recordings = [_parse(source, n_samples) for source in sources]
    first = recordings[0]
    for other in recordings[1:]:
        is_same = other.fid.shape == first.fid.shape and not other.dims and other.water is None
        is_same &= all(getattr(other, name) == getattr(first, name) for name in _GIVEN)
        if not is_same or not _same_place(other.affine, first.affine):
            raise FormatError(
                sources[0].path.parent,
                f"is a folder with {len(sources)} DICOM files of spectra that are no averages of "
                "one acquisition; give one of them",
            )
    note = f"{len(sources)} DICOM files of one series were taken as averages of one acquisition."
    return replace(
        first,
        fid=np.stack([one.fid for one in recordings], axis=-1),
        dims=("DIM_DYN",),
        notes=(*first.notes, note),
    )


def _same_place(one: NDArray[np.float64] | None, other: NDArray[np.float64] | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.allclose(one, other))


def _echoes(path: Path, first_s: float, total_s: float | None) -> tuple[float, float]:
    if total_s is None:
        raise MissingMetadataError(
            path, "does not say its echo time; give echo_time_s=... beside first_echo_time_s"
        )
    if first_s >= total_s:
        raise FormatError(
            path,
            f"has an echo time of {1e3 * total_s:g} ms, and the first of two echoes must be "
            f"shorter; got {1e3 * first_s:g} ms",
        )
    return first_s, total_s - first_s


def _assemble(
    sources: list[Source],
    given: dict[str, Any],
    n_samples: int | None,
    *,
    only_missing: bool = False,
) -> SpectralData:
    source = sources[0]
    recording = _parse(source, n_samples) if len(sources) == 1 else _joined(sources, n_samples)
    found = {name: getattr(recording, name) for name in _GIVEN}
    notes = list(recording.notes)
    if found["echo_time_s"] == 0:  # a spectrum of 144 ms would be fitted as one of 0 ms
        found["echo_time_s"] = None
        notes.append("The file's echo time of 0 was taken as not stated.")
    first_echo_time_s = None if only_missing else given.get("first_echo_time_s")
    given = {name: value for name, value in given.items() if name in found}
    if only_missing:
        given = {name: value for name, value in given.items() if found[name] is None}
    replaced = {
        name: found[name]
        for name, value in given.items()
        if found[name] is not None and found[name] != value
    }
    values = found | given
    # a nucleus that the file names cannot be talked away
    _check_protons(source, recording.nucleus or values["nucleus"])
    _check_needed(source, recording.format, values)
    notes += [f"{name} was given and replaced the file's value." for name in replaced]
    echo_times_s = recording.echo_times_s
    if first_echo_time_s is not None:
        echo_times_s = _echoes(source.path, first_echo_time_s, values["echo_time_s"])
        notes.append("The lengths of the two echoes were given.")
    elif echo_times_s and not math.isclose(
        sum(echo_times_s), values["echo_time_s"] or 0.0, rel_tol=1e-3, abs_tol=1e-4
    ):
        echo_times_s = None
        notes.append("The parts of the echo time do not add up to it and were not used.")
    parameters: dict[str, Any] = {"format": recording.format}
    if given:
        parameters["given"] = dict(given)
    if first_echo_time_s is not None:
        parameters["first_echo_time_s"] = first_echo_time_s
    if replaced:
        parameters["replaced"] = replaced
    step = Step("read", parameters, " ".join(notes))
    try:
        acquisition = Acquisition(
            **values,
            echo_times_s=echo_times_s,
            manufacturer=recording.manufacturer,
            inversion_time_s=recording.inversion_time_s,
            fat_saturated=recording.fat_saturated,
        )
        return _spectral_data(recording, acquisition, step)
    except ValueError as error:
        # these messages quote numbers and shapes, never text of the header
        source.fail(f"has an impossible header: {error}")


def _spectral_data(recording: Recording, acquisition: Acquisition, step: Step) -> SpectralData:
    for array in (recording.fid, recording.water):
        if array is not None:
            # nobody else holds it, so the types need not copy it
            array.setflags(write=False)
    same: dict[str, Any] = {
        "acquisition": acquisition,
        "affine": recording.affine,
        "history": (step,),
        "source_format": recording.format,
    }
    water = None
    if recording.water is not None:
        water = SpectralData(fid=recording.water, dims=recording.water_dims, **same)
    return SpectralData(fid=recording.fid, dims=recording.dims, water=water, **same)


def _check_needed(source: Source, file_format: str, values: dict[str, Any]) -> None:
    missing = [one for one in _NEEDED if values[one[1]] is None]
    if missing:
        words, names, options = (" and ".join(some) for some in zip(*missing, strict=True))
        names = names.replace(" and ", "=... and ")
        raise MissingMetadataError(
            source.path,
            f"this {file_format} file does not say its {words}; "
            f"give {names}=... (on the command line {options})",
        )


def _check_protons(source: Source, nucleus: str | None) -> None:
    if nucleus is None:
        raise MissingMetadataError(
            source.path,
            "does not say which nucleus was measured; if it is 1H, give nucleus='1H' "
            "(on the command line --nucleus 1H)",
        )
    if nucleus != "1H":
        name = nucleus if nucleus in NUCLEI else "another nucleus"
        source.fail(f"holds {name} spectra; only 1H spectra can be judged")


def _check_same_acquisition(data: SpectralData, water: SpectralData, path: Path) -> None:
    if water.fid.shape[:3] != data.fid.shape[:3]:
        raise FormatError(
            path,
            f"is no water reference of this input: it has {water.fid.shape[:3]} voxels, "
            f"the input {data.fid.shape[:3]}",
        )
    axes = data.axis_of("DIM_COIL"), water.axis_of("DIM_COIL")
    if axes[0] is not None and axes[1] is not None:
        ours, theirs = data.fid.shape[axes[0]], water.fid.shape[axes[1]]
        if ours != theirs:
            raise FormatError(
                path,
                f"is no water reference of this input: it has {theirs} coils, the input {ours}",
            )
    for name, unit, tolerance in (
        ("dwell_time_s", "s", 0.01),
        ("spectrometer_frequency_mhz", "MHz", 0.01),
    ):
        ours, theirs = getattr(data.acquisition, name), getattr(water.acquisition, name)
        if abs(theirs / ours - 1.0) > tolerance:
            raise FormatError(
                path,
                f"is no water reference of this input: its {name} is {theirs:g} {unit}, "
                f"that of the input {ours:g} {unit}",
            )
