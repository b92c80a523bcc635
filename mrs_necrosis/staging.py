"""Files that appear whole or not at all, and places that only one process works at."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TEMPORARY = re.compile(r"\.(.+)\.\d+-[0-9a-f]{8}")
"""Name of a staged file: what it shall be called, the process that writes it, chance."""


@contextlib.contextmanager
def staged(path: Path, data: bytes) -> Iterator[Path]:
    """Yield a file beside ``path`` that holds ``data``; it is removed if it still is there.

    Parameters
    ----------
    path : Path
        Where the file shall go; its folder is there.
    data : bytes
        The whole content.

    Yields
    ------
    Path
        A file that nobody else knows, on the disk itself, to be moved to ``path``.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> Path:
    """Write one file so that a reader sees the old one or the new one, never half of it.

    Parameters
    ----------
    path : Path
        Replaced if it is there; its folder is there.
    data : bytes
        The whole content.

    Returns
    -------
    Path
        The same path.
    """
    with staged(path, data) as temporary:
        temporary.replace(path)
    return path


def sweep(*paths: Path) -> None:
    """Remove what killed runs left beside `paths`, which nobody else is writing now.

    Parameters
    ----------
    *paths : Path
        Where files shall go. Each folder is listed once; one that is not there holds nothing.
    """
    for folder in {path.parent for path in paths}:
        names = {path.name for path in paths if path.parent == folder}
        with contextlib.suppress(OSError):
            for other in folder.iterdir():
                leftover = _TEMPORARY.fullmatch(other.name)
                if leftover and leftover[1] in names:
                    other.unlink(missing_ok=True)


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold a file or a folder, after whoever holds it now; a process that dies lets go.

    Parameters
    ----------
    path : Path
        A folder, or a file, which is made if it is not there.

    Yields
    ------
    bool
        Whether it is held. Some network file systems have no locks, and Windows none of folders.
    """
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        yield False
        return
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        is_held = False
        with contextlib.suppress(OSError):
            _lock(descriptor)
            is_held = True
        yield is_held
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
