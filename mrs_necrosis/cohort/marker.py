"""Beside its results every unit has a marker, by which the next run knows what is done.

The marker, ``*_desc-status.json``, holds a fingerprint of the input, the options and the version,
and the checksum of every file. A unit whose marker still holds is left alone. Only files that a
marker lists are ever replaced or removed. A lock that dies with its process keeps two runs from
writing the same unit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
from typing import TYPE_CHECKING, Any, Final

import mrs_necrosis
from mrs_necrosis.errors import OutputError
from mrs_necrosis.staging import held, sweep, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mrs_necrosis.cohort.unit import Unit

STATUS_SCHEMA: Final = "mrs-necrosis/status/1"
LOCKS: Final = ".mrs_necrosis"
"""Hidden folder of the locks."""

LOGS: Final = "logs"
"""Folder for what nobody foresaw."""

_LOGGER = logging.getLogger(__name__)


def write_results(
    unit: Unit,
    out: Path,
    before: Mapping[str, Any],
    contents: Mapping[str, bytes],
    document: Mapping[str, Any],
) -> None:
    """Write the results of a unit with its marker; what an earlier run left is replaced."""
    ours = dict(before.get("files", {}))
    files = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    for name, digest in files.items():
        target = out / name
        if name not in ours and target.exists() and _digest(target) != digest:
            raise not_ours(target)
    # from here on a killed run has said which files are its own
    mark(unit, out, "writing", ours | files, document)
    sweep(*(out / name for name in contents))
    for name, data in contents.items():
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, data)
    remove_ours(out, {name: digest for name, digest in ours.items() if name not in files})
    mark(unit, out, "done", files, document)


def mark(
    unit: Unit, out: Path, state: str, files: Mapping[str, str], document: Mapping[str, Any]
) -> None:
    """Write the marker of a unit."""
    marker = out / unit.marker
    if marker.exists() and not read_marker(marker):
        raise not_ours(marker)
    marker.parent.mkdir(parents=True, exist_ok=True)
    sweep(marker)
    content = {
        "schema": STATUS_SCHEMA,
        "unit": unit.key,
        "state": state,
        "version": mrs_necrosis.__version__,
        **document,
        "files": dict(sorted(files.items())),
    }
    if "summary" not in content:
        content["summary"] = {"participant": unit.participant, "session": unit.session}
    write_atomically(marker, as_json(content))


def read_marker(path: Path) -> dict[str, Any]:
    """Return a unit's marker; empty if there is none that is ours.

    Parameters
    ----------
    path : Path
        Where it would be.

    Returns
    -------
    dict
        Only with names of files that lie below the unit's own folders.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("schema") != STATUS_SCHEMA:
        return {}
    files = content.get("files")
    content["files"] = {
        name: digest
        for name, digest in (files if isinstance(files, dict) else {}).items()
        if re.fullmatch(r"[A-Za-z0-9_][\w.+-]*(/[A-Za-z0-9_][\w.+-]*)*", name)
        and isinstance(digest, str)
    }
    return content


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def all_there(out: Path, files: Mapping[str, str]) -> bool:
    """Return whether files are there, each with its checksum."""
    return bool(files) and all(_digest(out / name) == digest for name, digest in files.items())


def remove_ours(out: Path, files: Mapping[str, str]) -> None:
    """Remove files of an earlier run; one that was changed since is somebody's and stays."""
    for name, digest in files.items():
        if _digest(out / name) == digest:
            (out / name).unlink(missing_ok=True)


def as_json(content: Mapping[str, Any]) -> bytes:
    """Return a document as the bytes of a file, the same for the same content."""
    from mrs_necrosis.report.document import plain

    text = json.dumps(plain(dict(content)), indent=2, ensure_ascii=True, allow_nan=False)
    return (text + "\n").encode()


@contextlib.contextmanager
def locked(out: Path, key: str) -> Iterator[None]:
    """Hold the lock of one unit; the system releases it when the process dies."""
    folder = out / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / f"{key}.lock") as is_held:
        if not is_held:  # whole files are still written at once
            _LOGGER.info("no lock on this file system")
        yield


def not_ours(path: Path) -> OutputError:
    """Return the error that says that somebody else's file is in the way."""
    return OutputError(f"{path.name} exists and is not a result of mrs-necrosis; move it away")
