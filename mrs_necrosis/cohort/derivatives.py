"""The output folder: a dataset of derivatives in which only our own files are replaced."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import mrs_necrosis
from mrs_necrosis.cohort.marker import LOGS, locked, not_ours
from mrs_necrosis.errors import OutputError, name_of
from mrs_necrosis.staging import sweep, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


NAME: Final = "mrs_necrosis"
BIDS_VERSION: Final = "1.10.0"

_IGNORED: Final = ("*.html", "group_*", f".{NAME}/", f"{LOGS}/", "**/figures", "**/mrs/**")
"""What the validator does not know: it has no derivatives of spectroscopy."""


def check_ours(out: Path) -> None:
    """Refuse a folder that another program's dataset lies in."""
    description = out / "dataset_description.json"
    if out.exists() and not out.is_dir():
        msg = f"{name_of(out)} exists and is not a folder; choose another"
        raise OutputError(msg)
    if not description.exists():
        return
    try:
        content = json.loads(description.read_bytes())
        names = [maker["Name"] for maker in content["GeneratedBy"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        names = []
    if NAME not in names:
        msg = (
            f"{name_of(out)} holds a dataset that is not from mrs-necrosis; choose another folder"
        )
        raise OutputError(msg)


def prepare(out: Path, links: Mapping[str, str | os.PathLike[str]], root: Path) -> None:
    """Make the output folder a dataset of derivatives."""
    if out.resolve() == root.resolve():
        msg = "the results must not go into the dataset itself; choose another folder"
        raise OutputError(msg)
    check_ours(out)
    description: dict[str, Any] = {
        "Name": f"{NAME} derivatives",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{
            "Name": NAME,
            "Version": mrs_necrosis.__version__,
            "Description": "Metabolite ratios with intervals, and published criteria beside "
            "them. Research use only; not a diagnosis.",
        }],
    }  # fmt: skip
    if links:
        description["DatasetLinks"] = {
            name: _link(Path(folder), out) for name, folder in links.items()
        }
    text = json.dumps(description, indent=2) + "\n"
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        with locked(out, "cohort"):
            _replace(out / "dataset_description.json", text.encode())
            ignore = out / ".bidsignore"
            lines = ignore.read_text("utf-8").splitlines() if ignore.exists() else []
            lines += [line for line in _IGNORED if line not in lines]
            _replace(ignore, ("\n".join(lines) + "\n").encode())


def _link(root: Path, out: Path) -> str:
    try:
        return Path(os.path.relpath(root.resolve(), out.resolve())).as_posix()
    except ValueError:  # another drive
        return root.resolve().as_uri()


def dictionary(columns: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return a data dictionary as BIDS wants it beside a table."""
    return {name: {"Description": text} for name, text in columns.items()}


def replace_ours(path: Path, data: bytes, mark: bytes) -> None:
    """Write a file; one of that name without our mark is left alone and refused."""
    if path.exists():
        with path.open("rb") as file:
            if mark not in file.read(4096):
                raise not_ours(path)
    _replace(path, data)


def _replace(path: Path, data: bytes) -> None:
    sweep(path)
    with contextlib.suppress(OSError):
        if path.read_bytes() == data:
            return
    write_atomically(path, data)


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turn what the system refuses into an ``OutputError``."""
    try:
        yield
    except OSError as error:
        raise OutputError.cannot_write(out, error) from error
