"""Errors and warnings of the library.

Misuse raises ``ValueError``, ``TypeError`` or ``KeyError``; the world's faults raise the classes
below. Messages may quote physical numbers; text of a header that could identify a person is never
quoted.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


_LONGEST = 120  # characters of a name in a message


def printable(text: str) -> str:
    """Return a text in one line, without what a terminal or a page could obey.

    Parameters
    ----------
    text : str
        A name that someone gave.

    Returns
    -------
    str
        White space is one space each; other characters that do not print become ``"?"``.
    """
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def name_of(path: str | PathLike[str]) -> str:
    """Return how a file or folder is called in a message: without the folders above it.

    Parameters
    ----------
    path : str or PathLike
        They may name a person; the current folder is ``"."``.

    Returns
    -------
    str
        In one line, not too long.
    """
    name = printable(Path(path).name or str(path)) or "."
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[-_LONGEST // 2 :]}"


def joined(words: Sequence[str]) -> str:
    """Return words as they stand in a sentence.

    Parameters
    ----------
    words : sequence of str
        Any number of them.

    Returns
    -------
    str
        ``"Cho, Cr and NAA"``.
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


class MRSNecrosisError(Exception):
    """Base of every error that is the world's fault and not the caller's."""


class FormatError(MRSNecrosisError):
    """A file cannot be read, or is not what it seems.

    Parameters
    ----------
    path : str or PathLike
        The file; only its name is shown, because folders may name a person.
    problem : str
        What is wrong, what was expected, and the way out, in one sentence.
    """

    def __init__(self, path: str | PathLike[str], problem: str) -> None:
        self.path = Path(path)
        self.problem = problem
        super().__init__(f"{name_of(path)}: {problem}")

    def __reduce__(self) -> tuple[type[FormatError], tuple[Path, str]]:
        return type(self), (self.path, self.problem)


class MissingMetadataError(FormatError):
    """A file lacks a number without which its spectrum has no meaning."""


class SignalError(MRSNecrosisError):
    """The samples cannot be processed: all are zero or not finite, they are edited, begin late."""


class FitError(MRSNecrosisError):
    """A model cannot be fitted to these spectra at all; a fit that merely fails has a status."""


class OutputError(MRSNecrosisError):
    """An output exists already or cannot be written."""

    @classmethod
    def cannot_write(cls, path: Path, why: OSError | str) -> OutputError:
        """Return the error that says why a place cannot be written to."""
        if isinstance(why, OSError):
            why = why.strerror or type(why).__name__
        return cls(f"cannot write to {name_of(path)}: {why}")


class MissingExtraError(MRSNecrosisError):
    """A feature needs an optional dependency that is not installed.

    Parameters
    ----------
    feature : str
        What was asked for.
    extra : str
        The extra of the distribution that brings it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        self.feature = feature
        self.extra = extra
        super().__init__(
            f"{feature} needs an optional dependency; install it with: "
            f'python -m pip install "mrs-necrosis[{extra}]"'
        )

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self.feature, self.extra)


class MRSNecrosisWarning(UserWarning):
    """Something was assumed or left out that a reader of the result should know."""
