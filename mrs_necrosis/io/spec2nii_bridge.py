"""spec2nii behind a door: its conventions undone, its output silenced, its headers filtered.

spec2nii is a converter whose functions are no documented interface. It returns NIfTI-MRS objects,
whose header is read here as a NIfTI-MRS file's would be: the same few keys pass, and nothing that
identifies a person.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mrs_necrosis.errors import MissingExtraError, MRSNecrosisError
from mrs_necrosis.io.nifti_mrs import recording_of
from mrs_necrosis.io.silence import no_output

if TYPE_CHECKING:
    from collections.abc import Callable

    from mrs_necrosis.io.recording import Recording
    from mrs_necrosis.io.source import Source

_MAX_BYTES: Final = 2**30
_WATER_ENDINGS: Final = ("_ref", "_quant", "_ecc")


def bounded(source: Source) -> None:
    """Refuse what a third-party reader could not open, or not hold beside its own copies."""
    if source.is_compressed:
        source.fail("is compressed; unpack it first (gunzip), its reader cannot")
    if source.size > _MAX_BYTES:
        source.fail(f"has {source.size} bytes; at most {_MAX_BYTES} can be read this way")


def convert(source: Source, name: str, run: Callable[[], Any], *, manufacturer: str) -> Recording:
    """Return what spec2nii's ``run`` makes of a file.

    Parameters
    ----------
    source : Source
        The file, for errors.
    name : str
        Name of the format.
    run : callable
        Imports and calls spec2nii; returns a list of objects and a list of names.
    manufacturer : str
        Of the scanner.

    Returns
    -------
    Recording
        The last object; one whose name says reference is its water.

    Raises
    ------
    MissingExtraError
        If the extra ``vendor`` is not installed.
    FormatError
        If spec2nii fails in any way.
    """
    failure: str | None = None
    with no_output():
        try:
            objects, names = run()
        except ImportError:
            feature = f"reading {name} files"
            raise MissingExtraError(feature, "vendor") from None
        except MRSNecrosisError:
            raise
        except SystemExit:
            failure = "SystemExit"
        except Exception as error:  # noqa: BLE001 - third-party readers raise anything
            failure = type(error).__name__
        if failure is None:
            labelled = list(zip(objects, names, strict=True))
            water = [item for item, label in labelled if label.endswith(_WATER_ENDINGS)]
            main = [item for item, label in labelled if not label.endswith(_WATER_ENDINGS)]
            recordings = [
                recording_of(
                    source,
                    item.image[:],
                    item.hdr_ext.to_dict(),
                    float(item.dwelltime),
                    item.getAffine("voxel", "world"),
                )
                for item in (main or water)[-1:] + (water[-1:] if main else [])
            ]
    if failure is not None:
        source.fail(f"is damaged, or of a kind of {name} file that spec2nii cannot read")
    recording = replace(recordings[0], format=name, manufacturer=manufacturer)
    if len(recordings) > 1:
        recording = replace(recording, water=recordings[1].fid, water_dims=recordings[1].dims)
    return recording
