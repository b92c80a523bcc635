"""Files that appear whole or not at all: written beside their place, then moved there."""

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
