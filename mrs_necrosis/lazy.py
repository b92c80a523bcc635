"""Names of a package that are loaded on first use, so that importing it stays instant."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def loaded_on_use(
    package: str, homes: Mapping[str, str], *, unlisted: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping of str to str
        The module of the package that defines each public name.
    unlisted : mapping of str to str, or None
        Further names that ``dir`` leaves out: a module of the package is its own home, and what
        needs an extra cannot be loaded everywhere.

    Returns
    -------
    tuple of callable
        To be assigned in the package's ``__init__``.
    """

    def get(name: str) -> Any:
        home = homes.get(name) or (unlisted or {}).get(name)
        if home is not None:
            module = import_module(f"{package}.{home}")
            return module if home == name else getattr(module, name)
        msg = f"module {package!r} has no attribute {name!r}"
        raise AttributeError(msg)

    return get, lambda: sorted({*vars(import_module(package)), *homes})
