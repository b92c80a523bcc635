"""All units together: their pages and their table, from the markers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from mrs_necrosis.cohort.derivatives import dictionary, replace_ours, writing
from mrs_necrosis.cohort.marker import locked, read_marker
from mrs_necrosis.cohort.unit import STATUS_ENDING
from mrs_necrosis.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path


COHORT_PAGE: Final = "cohort.html"
GROUP_TABLE: Final = "group_desc-ratios_mrs.tsv"

NO_RESULTS: Final = "holds no results yet; run the participant level first"
_GROUP_COLUMNS: Final = {
    "participant_id": "participant, as in the dataset",
    "session_id": "session; n/a if there is none",
    "acquisition": "name of the input without its ending",
}
_RATIOS: Final = re.compile(r"(/ratios|_desc-ratios[a-z]*_mrs)\.tsv$")


def markers(out: Path) -> list[dict[str, Any]]:
    """Return the markers of all units in an output folder, in the order of their places."""
    found = []
    for path in sorted(out.rglob(f"*{STATUS_ENDING}")):
        marker = read_marker(path)
        if marker:
            found.append(marker | {"place": path.relative_to(out).as_posix()})
    return found


def write_pages(out: Path) -> None:
    """Write the page of the cohort and one per participant, from the markers.

    Parameters
    ----------
    out : Path
        The output folder.

    Raises
    ------
    OutputError
        If they cannot be written, or somebody else's file has that name.
    """
    from mrs_necrosis.report.cohort_page import cohort_page

    with writing(out), locked(out, "cohort"):
        # under the lock, so that the last of several runs sees what all have done
        found = markers(out)
        by_participant: dict[str, list[dict[str, Any]]] = {}
        for marker in found:
            folder = marker["place"].partition("/")[0]
            if folder.startswith("sub-"):
                by_participant.setdefault(folder, []).append(marker)
        mark = b'name="generator" content="mrs_necrosis'
        tables = [name for name in (GROUP_TABLE, "ratios.tsv") if (out / name).exists()]
        pages = {COHORT_PAGE: cohort_page(found, tables=tables)}
        pages |= {
            f"{name}.html": cohort_page(theirs, title=name, up=COHORT_PAGE)
            for name, theirs in by_participant.items()
        }
        for name, text in pages.items():
            replace_ours(out / name, text.encode(), mark)


def write_group_table(out: Path, name: str = GROUP_TABLE) -> Path:
    """Gather the ratios of all units that are done in one tidy table with its dictionary.

    Parameters
    ----------
    out : Path
        The output folder.
    name : str
        Name of the table; the dictionary ends in ``.json``.

    Returns
    -------
    Path
        The table.

    Raises
    ------
    FormatError
        If nothing was analysed yet.
    OutputError
        If it cannot be written, or somebody else's file has that name.
    """
    from mrs_necrosis.report.table import COLUMNS, MISSING

    found = markers(out) if out.is_dir() else []
    if not found:
        raise FormatError(out, NO_RESULTS)
    columns = _GROUP_COLUMNS | {key: text for key, text in COLUMNS.items() if key != "source"}
    lines = ["\t".join(columns)]
    for marker in found:
        if marker.get("state") != "done":
            continue
        summary = marker.get("summary", {})
        ids = [summary.get("participant"), summary.get("session"), marker.get("unit")]
        for table in filter(_RATIOS.search, marker["files"]):
            rows = (out / table).read_text("utf-8").splitlines()[1:]
            begin = "\t".join(_plain_cell(text) or MISSING for text in ids)
            # the first column is the source, which "acquisition" names
            lines += [f"{begin}\t{row.partition(chr(9))[2]}" for row in rows]
    header = lines[0].encode()
    with writing(out), locked(out, "cohort"):
        path = out / name
        replace_ours(path, ("\n".join(lines) + "\n").encode(), header)
        text = json.dumps(dictionary(columns), indent=2) + "\n"
        replace_ours(path.with_suffix(".json"), text.encode(), b'"participant_id"')
    return path


def _plain_cell(text: object) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]", "", str(text)) if isinstance(text, str) else ""
