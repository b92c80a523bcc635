"""A file as the readers see it: bytes behind limits, and errors that name no person.

Nothing is allocated because a header says so: sizes are held against the size of the file and
against ``MAX_BYTES``. A file compressed with gzip is inflated piece by piece up to that limit, and
looks like the one inside.
"""

from __future__ import annotations

import zlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np

from mrs_necrosis.errors import FormatError

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

MAX_BYTES: Final = 2**31
"""No input may be larger than 2 GiB, compressed or not."""

MAX_TEXT_BYTES: Final = 2**28
"""No text input may be larger than 256 MiB."""

HEAD_BYTES: Final = 8192
"""What a format may look at to recognise a file."""

_GZIP: Final = b"\x1f\x8b"
_CHUNK: Final = 2**20


class Source:
    """One input file.

    Parameters
    ----------
    path : str or PathLike
        The file.

    Raises
    ------
    FormatError
        If it is missing, empty, a folder, larger than ``MAX_BYTES`` or not readable.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        try:
            if self.path.is_dir():
                self.fail("is a folder; give the file inside it")
            if not self.path.is_file():
                self.fail("does not exist or is not a file")
            self.stored_size = self.path.stat().st_size
            if self.stored_size == 0:
                self.fail("is empty")
            if self.stored_size > MAX_BYTES:
                self.fail(
                    f"has {self.stored_size} bytes; at most {MAX_BYTES} can be read in one piece"
                )
            with self.path.open("rb") as stream:
                self.head = stream.read(HEAD_BYTES)
        except (OSError, ValueError) as error:
            reason = type(error).__name__
            self.fail(f"cannot be opened ({reason})")
        self.is_compressed = self.head[:2] == _GZIP
        if self.is_compressed:
            try:
                self.head = zlib.decompressobj(wbits=31).decompress(self.head, HEAD_BYTES)
            except zlib.error:
                self.fail("is compressed and damaged; copy it again")

    def fail(self, problem: str) -> NoReturn:
        """Raise the error that says ``problem`` of this file."""
        raise FormatError(self.path, problem) from None

    @property
    def name(self) -> str:
        """The file's name, without ``.gz`` if it is compressed."""
        name = self.path.name
        return name[:-3] if self.is_compressed and name.lower().endswith(".gz") else name

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        """The last suffix of the name, in lower case."""
        return Path(self.name).suffix.lower()

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return len(self.content) if self.is_compressed else self.stored_size

    @cached_property
    def content(self) -> bytes:
        """The whole content, inflated if the file is compressed."""
        if not self.is_compressed:
            return self._stored()
        pieces: list[bytes] = []
        total = 0
        data = self._stored()
        try:
            while data:
                inflater = zlib.decompressobj(wbits=31)
                while not inflater.eof:
                    piece = inflater.decompress(data, _CHUNK)
                    data = inflater.unconsumed_tail
                    total += len(piece)
                    if total > MAX_BYTES:
                        self.fail(f"expands to more than {MAX_BYTES} bytes")
                    pieces.append(piece)
                    if not data and not inflater.eof and not piece:
                        self.fail("is compressed and ends too early; copy it again")
                data = inflater.unused_data if inflater.unused_data[:2] == _GZIP else b""
        except zlib.error:
            self.fail("is compressed and damaged; copy it again")
        return b"".join(pieces)

    def _stored(self) -> bytes:
        try:
            content = self.path.read_bytes()
        except (OSError, MemoryError) as error:
            self.fail(f"cannot be read ({type(error).__name__})")
        if len(content) != self.stored_size:
            self.fail("changed while it was read")
        return content

    @cached_property
    def is_text(self) -> bool:
        """Whether the beginning has no byte that text files do not have."""
        return b"\x00" not in self.head

    @cached_property
    def head_text(self) -> str:
        """The beginning as text."""
        return decode(self.head)

    @cached_property
    def text(self) -> str:
        """The whole content as text, its lines ended as in Unix."""
        if self.size > MAX_TEXT_BYTES:
            self.fail(f"is too large for a text file: {self.size} bytes")
        return decode(self.content).replace("\r\n", "\n").replace("\r", "\n")

    def sibling(self, *names: str) -> Path | None:
        """Return the file beside this one with one of these names, in any case, or gzipped."""
        names = (*names, *(f"{name}.gz" for name in names))
        wanted = {name.lower(): rank for rank, name in enumerate(reversed(names))}
        best: tuple[int, Path] | None = None
        try:
            for entry in sorted(self.path.parent.iterdir()):
                rank = wanted.get(entry.name.lower(), -1)
                if rank >= 0 and (best is None or rank > best[0]) and entry.is_file():
                    best = (rank, entry)
        except OSError:
            return None
        return None if best is None else best[1]

    def samples(
        self, content: bytes, offset: int, count: int, dtype: str, *, exact: bool = True
    ) -> NDArray[np.float64]:
        """Return ``count`` numbers of ``content`` as float64, shape (count,).

        Parameters
        ----------
        content : bytes
            What to read from.
        offset : int
            Where the first number starts.
        count : int
            How many numbers the header promises.
        dtype : str
            Their type, as numpy spells it.
        exact : bool
            Whether the numbers must reach the end of ``content``.

        Returns
        -------
        ndarray of float64, shape (count,)
            The numbers.

        Raises
        ------
        FormatError
            If there are fewer numbers than promised or, with ``exact``, more.
        """
        size = np.dtype(dtype).itemsize
        available = max(len(content) - offset, 0) // size
        if count < 1 or offset < 0:
            self.fail("says that it holds no samples")
        if available < count:
            self.fail(f"is truncated: its header promises {count} numbers, {available} are there")
        surplus = len(content) - offset - count * size
        if exact and surplus:
            there = f"{available} are" if available > count else f"{surplus} bytes more are"
            self.fail(f"is damaged: its header promises {count} numbers, {there} there")
        numbers: NDArray[np.float64] = np.frombuffer(content, dtype, count, offset).astype(
            np.float64
        )
        return numbers


def decode(content: bytes) -> str:
    """Return ``content`` as text: UTF-8 if it is that, Latin-1 otherwise."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def complex_pairs(numbers: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return real and imaginary parts that alternate, shape (2 N,), as complex, shape (N,)."""
    pairs: NDArray[np.complex128] = np.ascontiguousarray(numbers).view(np.complex128)
    return pairs
