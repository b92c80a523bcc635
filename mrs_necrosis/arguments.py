"""What every public function asks of its arguments, refused in one sentence.

A notebook has no type checker: without these, a path that is a number or areas that are the whole
fit end in an ``AttributeError`` far from the slip.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBER: Final = (int, float, np.number)
"""What counts as a number."""

Progress = Callable[[int, int], None]
"""What is told, during long work, how much is done and how much there is to do."""


def check_type(
    name: str,
    value: object,
    kinds: type | tuple[type, ...],
    wanted: str,
    *,
    optional: bool = False,
) -> None:
    """Refuse an argument of another type.

    Parameters
    ----------
    name : str
        Of the argument.
    value : object
        What was given.
    kinds : type or tuple of type
        What it may be.
    wanted : str
        The same in words: ``"PeakAreas, such as fit(...).areas"``.
    optional : bool
        Whether it may be None, too.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if isinstance(value, kinds) or (optional and value is None):
        return
    words = f"{wanted} or None" if optional else wanted
    msg = f"{name} must be {words}; got {type(value).__name__}"
    raise TypeError(msg)


def check_each(name: str, values: object, kinds: type, wanted: str) -> None:
    """Refuse what is no sequence of one type, as in ``check_type``."""
    for value in values if isinstance(values, Sequence) else [values]:
        check_type(name, value, kinds, wanted)


def check_path(name: str, value: object, *, optional: bool = False) -> None:
    """Refuse what is no path, as in ``check_type``."""
    check_type(name, value, (str, PathLike), "a path", optional=optional)


def check_folder(name: str, value: object, *, optional: bool = False) -> None:
    """Refuse what is no path, and an empty one: it would be the current folder."""
    check_path(name, value, optional=optional)
    if value is not None and not os.fspath(value):  # type: ignore[call-overload]
        msg = f"{name} is an empty path, which would be the current folder; write '.' for that"
        raise ValueError(msg)


def check_generator(rng: object) -> None:
    """Refuse what is no random generator, such as a seed, as in ``check_type``."""
    wanted = "a numpy random Generator, such as numpy.random.default_rng(1)"
    check_type("rng", rng, np.random.Generator, wanted)


def check_number(name: str, value: object) -> None:
    """Refuse what is no number, as in ``check_type``."""
    check_type(name, value, NUMBER, "a number")


def check_whole(name: str, value: object, least: int, *, optional: bool = False) -> None:
    """Refuse what is no whole number from ``least`` on.

    Parameters
    ----------
    name : str
        Of the argument.
    value : object
        What was given.
    least : int
        The smallest possible value.
    optional : bool
        Whether it may be None, too.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if optional and value is None:
        return
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_whole or value < least:  # type: ignore[operator]
        words = " or None" if optional else ""
        msg = f"{name} must be a whole number from {least} on{words}; got {value!r}"
        raise ValueError(msg)


def check_progress(progress: object) -> None:
    """Refuse what cannot be called, as in ``check_type``."""
    wanted = "a function of what is done and what is to do"
    check_type("progress", progress, Callable, wanted, optional=True)  # type: ignore[arg-type]


def check_executor(executor: object) -> None:
    """Refuse what takes no work, as in ``check_type``."""
    if executor is not None and not callable(getattr(executor, "submit", None)):
        msg = f"executor must have a method submit, or be None; got {type(executor).__name__}"
        raise TypeError(msg)


def check_range(name: str, value: object, low: float, high: float, unit: str) -> None:
    """Refuse a number outside its range: its unit is probably another one.

    Parameters
    ----------
    name : str
        Of the argument.
    value : object
        What was given.
    low, high : float
        The smallest and the largest possible value.
    unit : str
        Of all three.

    Raises
    ------
    ValueError
        If it lies outside, or is no finite number.
    """
    if isinstance(value, bool) or not isinstance(value, NUMBER) or not math.isfinite(value):
        msg = f"{name} must be a finite number in {unit}; got {value!r}"
        raise ValueError(msg)
    if not low <= value <= high:
        msg = f"{name} must be in {unit}, between {low:g} and {high:g}; got {value!r}"
        raise ValueError(msg)


def check_probability(name: str, value: object) -> None:
    """Refuse what does not lie between 0 and 1.

    Parameters
    ----------
    name : str
        Of the argument.
    value : object
        What was given.

    Raises
    ------
    ValueError
        If it is 0, 1, beyond, or no number.
    """
    if not isinstance(value, NUMBER) or not 0 < value < 1:
        msg = f"{name} must be between 0 and 1; got {value!r}"
        raise ValueError(msg)


def _nobody_writes(array: NDArray[Any]) -> bool:
    """Return whether neither an array nor what it is a view of can be changed."""
    part: object = array
    while isinstance(part, np.ndarray):
        if part.flags.writeable:
            return False
        part = part.base
    return True


def restore(self: Any, state: Sequence[Any]) -> None:
    """Restore a frozen dataclass from a pickle or a deep copy; its arrays stay read-only.

    Parameters
    ----------
    self : dataclass
        Of which this is ``__setstate__``.
    state : sequence
        Values of its fields.
    """
    for one, value in zip(fields(self), state, strict=True):
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
        object.__setattr__(self, one.name, value)


def read_only(values: Any, dtype: Any, name: str = "values") -> NDArray[Any]:
    """Return ``values`` as an array that nobody can change.

    Parameters
    ----------
    values : array_like
        Copied, unless it is a read-only array of that type already (a memory map, or an array
        that came from here): a large grid's covariance is a gigabyte.
    dtype : dtype
        Type of the result.
    name : str
        Of the argument, for the message.

    Returns
    -------
    ndarray
        Read-only.

    Raises
    ------
    TypeError
        If they are no numbers, or no array.
    """
    if isinstance(values, np.ndarray) and values.dtype == dtype and _nobody_writes(values):
        return values
    try:
        is_lost = np.iscomplexobj(values) and not np.issubdtype(dtype, np.complexfloating)
        array = np.array(values, dtype=None if is_lost else dtype)
    except (TypeError, ValueError):
        msg = f"{name} must be an array of numbers; got {type(values).__name__}"
        raise TypeError(msg) from None
    if is_lost:
        msg = f"{name} must be real numbers; got complex ones"
        raise TypeError(msg)
    array.setflags(write=False)
    return array
