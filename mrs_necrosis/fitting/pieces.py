"""Long work in pieces: memory stays that of a few pieces, and what was done is kept.

A piece is about a hundred voxels. Pieces go one after the other, or to the workers of an executor,
and each voxel's numbers are the same to the last bit either way. With a folder to keep them in,
finished pieces are written as plain arrays (``.npz``, never pickled objects), and a run that was
interrupted takes them from there. A piece is recognised by the checksum of its samples, the model
and the version of the library, so that nothing stale is ever taken.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

import mrs_necrosis
from mrs_necrosis.spectra import Spectra
from mrs_necrosis.staging import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

PIECE = 128
"""Voxels of a piece: a few seconds of work, a few megabytes."""

AHEAD = 16
"""Pieces that are handed to an executor before the first is awaited."""


class Future(Protocol):
    """What ``submit`` returns."""

    def result(self) -> Any:
        """Return the outcome, or raise what went wrong."""
        ...


class Executor(Protocol):
    """Whatever spreads work: ``concurrent.futures`` or a ``distributed.Client``."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Call the function somewhere else."""
        ...


class _Done:
    """A future of work that is done on the spot, when its result is asked for."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._call = (function, arguments)

    def result(self) -> Any:
        function, arguments = self._call
        return function(*arguments)


class _Kept:
    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays

    def result(self) -> Arrays:
        return self._arrays


def run(
    pieces: Iterator[tuple[Any, ...]],
    work: Callable[..., Arrays],
    *,
    executor: Executor | None = None,
    keep: Path | None = None,
) -> Iterator[Arrays]:
    """Yield the arrays of each piece, in order.

    Parameters
    ----------
    pieces : iterator of tuple
        Arguments of `work`, made when they are needed.
    work : callable
        Returns a mapping of arrays; importable by name, because workers import it.
    executor : Executor or None
        Where the work is done; here if None.
    keep : Path or None
        Folder of finished pieces; made if it is not there.

    Yields
    ------
    mapping of str to ndarray
        Of one piece.
    """
    waiting: deque[tuple[Path | None, Future]] = deque()
    ahead = 1 if executor is None else AHEAD
    for arguments in pieces:
        path = None if keep is None else keep / f"{_checksum(work, arguments)}.npz"
        kept = None if path is None else _load(path)
        if kept is not None:
            waiting.append((None, _Kept(kept)))
        elif executor is None:
            waiting.append((path, _Done(work, arguments)))
        else:
            waiting.append((path, executor.submit(work, *arguments)))
        if len(waiting) >= ahead:
            yield _finished(*waiting.popleft())
    while waiting:
        yield _finished(*waiting.popleft())


def _finished(path: Path | None, future: Future) -> Arrays:
    arrays: Arrays = future.result()
    if path is not None:
        _save(path, arrays)
    return arrays


def _checksum(work: Callable[..., Arrays], arguments: tuple[Any, ...]) -> str:
    # only hashed: nothing is ever unpickled from a folder
    content = pickle.dumps((mrs_necrosis.__version__, work.__qualname__, arguments), protocol=5)
    return hashlib.sha256(content).hexdigest()


def _save(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    write_atomically(path, buffer.getvalue())


def _load(path: Path) -> Arrays | None:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None  # not there, or damaged: it is done again


def some_of(spectra: Spectra, rows: NDArray[np.intp]) -> Spectra:
    """Return some voxels, by their place in the flat grid, as a grid of their own."""
    stated = spectra.noise_sd
    return Spectra(
        fid=spectra.fid.reshape(-1, spectra.n_samples)[rows][:, None, None],
        acquisition=spectra.acquisition,
        noise_sd=None if stated is None else stated.reshape(-1)[rows][:, None, None],
    )
