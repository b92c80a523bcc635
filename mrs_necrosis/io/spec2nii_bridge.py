"""spec2nii behind a door: its conventions undone, its output silenced, its headers filtered.

spec2nii is a converter whose functions are no documented interface. It returns NIfTI-MRS objects,
whose header is read here as a NIfTI-MRS file's would be: the same few keys pass, and nothing that
identifies a person.
"""

from __future__ import annotations

import re
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
# what it adds to the names of unsuppressed water, of GE's sequences, Siemens' XA and CMRR's sLASER
_WATER: Final = re.compile(r"_(?:ref|quant|ecc|rf|vapor)(?:_|$)")
# water with the gradients of the acquisition, which has its eddy currents
_SAME_GRADIENTS: Final = re.compile(r"_(?:ecc|rf_off|vapor_ovs_rfoff)$")


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
        The last object that is neither water nor edited; the water of the same gradients, or
        the last, is its reference. A note says if others were left.

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
            chosen, left = _chosen(list(zip(names, objects, strict=True)))
            recordings = [
                recording_of(
                    source,
                    item.image[:],
                    item.hdr_ext.to_dict(),
                    float(item.dwelltime),
                    item.getAffine("voxel", "world"),
                )
                for item in chosen
            ]
    if failure is not None:
        source.fail(f"is damaged, or of a kind of {name} file that spec2nii cannot read")
    recording = replace(recordings[0], format=name, manufacturer=manufacturer)
    if len(recordings) > 1:
        recording = replace(recording, water=recordings[1].fid, water_dims=recordings[1].dims)
    if left:
        note = f"The file holds {left + 1} acquisitions; the last that is not edited was read."
        recording = replace(recording, notes=(*recording.notes, note))
    return recording


def _chosen(labelled: list[tuple[str, Any]]) -> tuple[list[Any], int]:
    """Return the acquisition, its water if there is one, and how many others there are."""
    water = [one for one in labelled if _WATER.search(one[0])]
    main = [one for one in labelled if not _WATER.search(one[0])]
    if not main:
        return [water[-1][1]], 0
    label, item = ([one for one in main if not one[0].endswith("_edited")] or main)[-1]
    ending = label.partition("_")[2]
    fitting = [one for one in water if ending and one[0].endswith(ending)] or water
    fitting = [one for one in fitting if _SAME_GRADIENTS.search(one[0])] or fitting
    return [item, *(one[1] for one in fitting[-1:])], len(main) - 1
