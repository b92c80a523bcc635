"""Write an analysis to a folder: whole files or none, and never over somebody else's."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrs_necrosis.analysis import Analysis
from mrs_necrosis.arguments import check_folder, check_type
from mrs_necrosis.errors import OutputError, name_of
from mrs_necrosis.report.dicom import dicom_files
from mrs_necrosis.report.document import SCHEMA, plain, to_json
from mrs_necrosis.report.reporting import MRSINMRS_TITLES, mrsinmrs_tsv
from mrs_necrosis.report.table import to_tsv
from mrs_necrosis.staging import held, staged, sweep

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mrs_necrosis.maps.grid import GridResult

MAPS = "maps"
"""Folder of a grid's maps."""

_FORMATS = ("svg", "png")
_DRAWN = frozenset({"desc-label", "met-ChoNAA_desc-index"})
_PICTURES = ("label.png", "index.png", "position.png")
_OF_A_RESULT = re.compile(
    r"(result\.json|(ratios|mrsinmrs)\.tsv|(report|grid)\.html|(spectrum|evidence)\.(svg|png)"
    r"|(label|index|position)\.png|assessment\.dcm|map_\w+\.dcm|maps/\w+(-\w+)*_mrsmap\.(json|nii\.gz))"
)
"""Every file that an analysis may leave in its folder."""


def render(
    analysis: Analysis,
    *,
    formats: Collection[str] = _FORMATS,
    stem: str = "grid",
    grid_page: str = "grid.html",
    said: Mapping[str, str] | None = None,
) -> dict[str, bytes]:
    """Return every output file by its name, ``result.json`` first.

    Parameters
    ----------
    analysis : Analysis
        What to draw.
    formats : collection of {"svg", "png"}
        Kinds of pictures; the page shows figures if they are drawn as SVG. Drawing takes longer
        than all the rest.
    stem : str
        Begin of the names of a grid's maps.
    grid_page : str
        How the report links the grid's page.
    said : mapping of str to str, or None
        Values of the reporting table that the analysis does not know.

    Returns
    -------
    dict of str to bytes
        The same bytes for the same analysis and versions.
    """
    check_type("analysis", analysis, Analysis, "an Analysis, as analyze returns it")
    from mrs_necrosis.report import figure, page

    contents = {
        "result.json": to_json(analysis).encode(),
        "ratios.tsv": to_tsv([analysis]).encode(),
        "mrsinmrs.tsv": mrsinmrs_tsv(analysis, said).encode(),
    }
    drawings = {}
    if formats and analysis.shown_voxel is not None:
        drawings["spectrum"] = figure.spectrum(analysis)
    if formats and analysis.assessment is not None and figure.has_evidence(analysis.assessment):
        drawings["evidence"] = figure.evidence(analysis)
    svgs = {}
    for name, drawing in drawings.items():
        if "svg" in formats:
            svgs[name] = figure.to_svg(drawing, name)
            contents[f"{name}.svg"] = svgs[name].encode()
        if "png" in formats:
            contents[f"{name}.png"] = figure.to_png(drawing)
    more = {}
    if formats and analysis.placement is not None:
        from mrs_necrosis.report.placement_figure import placement_figure

        more["position.png"] = figure.to_png(placement_figure(analysis.placement))
    if analysis.grid_result is not None:
        more = _render_grid(analysis, analysis.grid_result, formats, stem)
    pictures = {name: more[name] for name in _PICTURES if name in more}
    report = page.to_html(analysis, svgs, pictures=pictures, grid_page=grid_page, said=said)
    return {**contents, "report.html": report.encode(), **more}


def _render_grid(
    analysis: Analysis, result: GridResult, formats: Collection[str], stem: str
) -> dict[str, bytes]:
    from mrs_necrosis.maps.files import map_files
    from mrs_necrosis.report.grid_figure import grid_figure, to_png
    from mrs_necrosis.report.grid_page import grid_page

    assert analysis.fit is not None
    affine = analysis.fit.spectra.affine
    where: dict[str, Any] = {"affine": affine, "lesion_weights": result.own.lesion_weights}
    shape = " × ".join(map(str, analysis.grid))  # noqa: RUF001 - the sign of multiplication
    contents = {
        "grid.html": grid_page(
            result.maps,
            quality=analysis.fit.quality,
            curves=analysis.fit.curves,
            statements=result.statements,
            anatomy=result.anatomy,
            lesion=result.lesion,
            notes=(*result.notes, *analysis.fit.notes),
            provenance=plain(analysis.provenance),
            title=f"{analysis.source.label or 'Spectroscopic grid'}, {shape} voxels",
            **where,
        ).encode()
    }
    for one in result.maps:
        if formats and one.name in _DRAWN:
            drawing = grid_figure(one, anatomy=result.anatomy, **where)
            contents[f"{one.name.rpartition('desc-')[2]}.png"] = to_png(drawing)
    provenance = {"source": plain(asdict(analysis.source)), **plain(analysis.provenance)}
    files = map_files(stem, result.maps, affine=affine, provenance=provenance)
    contents.update({f"{MAPS}/{name}": content for name, content in files.items()})
    return contents


def write(
    analysis: Analysis,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    figures: bool = True,
    dicom_source: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Write the JSON, the table, the figures and the page to a folder, all of them or none.

    Parameters
    ----------
    analysis : Analysis
        What to write.
    folder : path
        Made if it is not there.
    overwrite : bool
        Replace an earlier result: those of its files that this one does not have are removed.
        Files that are not from an earlier result are never replaced.
    figures : bool
        Draw; the page is without figures otherwise.
    dicom_source : path or None
        Write DICOM, too, as in ``dicom.dicom_files``.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    OutputError
        If a file exists already, or the folder cannot be written.
    SignalError, FormatError, MissingExtraError
        If the DICOM cannot be made.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from mrs_necrosis import analyze
    >>> found = analyze({"LL": 108964, "Cho": 33671, "Cr": 29534, "NAA": 31278})
    >>> with TemporaryDirectory() as folder:
    ...     files = write(found, folder)
    >>> files[0].name
    'result.json'
    """
    check_folder("folder", folder)
    folder = Path(folder)
    refuse_existing(folder, overwrite=overwrite)
    made = {} if dicom_source is None else dicom_files(analysis, dicom_source)
    contents = {**render(analysis, formats=_FORMATS if figures else ()), **made}
    return write_files(folder, contents, overwrite=overwrite, is_result=True)


def remove_earlier(folder: Path, *, keep: Collection[str] = ()) -> None:
    """Remove the files of an earlier result, which would pass for parts of the new one.

    Parameters
    ----------
    folder : Path
        Left alone if there is no result in it; removed if nothing else was in it.
    keep : collection of str
        Names that are going to be replaced.

    Raises
    ------
    OutputError
        If a file cannot be removed.
    """
    if not is_ours(folder / "result.json"):
        return
    try:
        names = [path.relative_to(folder).as_posix() for path in folder.glob("*")]
        names += [path.relative_to(folder).as_posix() for path in folder.glob(f"{MAPS}/*")]
        # the JSON is the last to go: it is what tells that the others are ours
        for name in sorted(names, key=lambda name: name == "result.json"):
            if _OF_A_RESULT.fullmatch(name) and name not in keep:
                (folder / name).unlink()
        for emptied in (folder / MAPS, folder):
            with contextlib.suppress(OSError):
                emptied.rmdir()
    except OSError as error:
        raise OutputError.cannot_write(folder, error) from error


def refuse_existing(folder: Path, *, overwrite: bool, name: str = "result.json") -> None:
    """Refuse early a folder that holds a result which may not be replaced.

    Parameters
    ----------
    folder : Path
        Where a result shall go.
    overwrite : bool
        Whether an earlier result may be replaced.
    name : str
        File that tells a result.

    Raises
    ------
    OutputError
        If there is one, or the path is not a folder or cannot be written.
    """
    above = folder
    try:
        is_in_the_way = os.path.lexists(folder) and not folder.is_dir()
        while not above.exists() and above != above.parent:
            above = above.parent
    except OSError as error:  # such as a name that is too long
        raise OutputError.cannot_write(folder, error) from None
    if is_in_the_way:
        msg = f"{name_of(folder)} exists and is not a folder; choose another"
        raise OutputError(msg)
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        why = "Permission denied" if above.is_dir() else f"{name_of(above)} is not a folder"
        raise OutputError.cannot_write(folder, why)
    refuse_existing_file(folder / name, overwrite=overwrite)


def refuse_existing_file(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that may not be replaced.

    Parameters
    ----------
    path : Path
        Where a file shall go.
    overwrite : bool
        Whether a file of an earlier result may be replaced.

    Raises
    ------
    OutputError
        If there is one, or it is not from an earlier result.
    """
    if not path.exists():
        return
    if not overwrite:
        msg = f"{path.name} exists already; choose another place or give --overwrite"
        raise OutputError(msg)
    if not is_ours(path):
        msg = f"{path.name} exists and is not a result of mrs-necrosis; choose another place"
        raise OutputError(msg)


def is_ours(path: Path) -> bool:
    """Return whether a file is from an earlier result, by its content.

    Figures and pages carry no mark; they belong to the JSON beside them.
    """
    try:
        if path.suffix == ".tsv":
            with path.open("rb") as file:
                return file.readline() in {to_tsv([]).encode(), MRSINMRS_TITLES.encode()}
        if path.suffix != ".json" or path.parent.name == MAPS:
            home = path.parent.parent if path.parent.name == MAPS else path.parent
            beside = (home / name for name in ("result.json", "followup.json"))
            return any(one.exists() and is_ours(one) for one in beside)
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    first = document[0] if isinstance(document, list) and document else document
    schema = first.get("schema") if isinstance(first, dict) else None
    return isinstance(schema, str) and schema.partition("/")[0] == SCHEMA.partition("/")[0]


def write_files(
    folder: Path,
    contents: Mapping[str, bytes],
    *,
    overwrite: bool = False,
    is_result: bool = False,
) -> list[Path]:
    """Write files, all of them or none.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    contents : mapping of str to bytes
        Bytes by file name.
    overwrite : bool
        Replace files of an earlier result.
    is_result : bool
        Whether they are all there is of a result: others of an earlier one are removed.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    OutputError
        If a file exists that may not be replaced, or the folder cannot be written.
    """
    paths = [folder / name for name in contents]
    made = [one for one in (folder / MAPS, folder) if not one.exists()]
    try:
        for parent in {folder, *(path.parent for path in paths)}:
            parent.mkdir(parents=True, exist_ok=True)
        with held(folder) as is_held, contextlib.ExitStack() as stack:
            # of two commands the last leaves its files and no others
            for path in paths:
                refuse_existing_file(path, overwrite=overwrite)
            if is_held:
                sweep(*paths)
            # nothing is replaced or removed before all of it has found room
            temporaries = [
                stack.enter_context(staged(folder / name, data)) for name, data in contents.items()
            ]
            if overwrite and is_result:
                remove_earlier(folder, keep=contents)
            for temporary, path in zip(temporaries, paths, strict=True):
                temporary.replace(path)
    except OSError as error:
        for one in made:
            with contextlib.suppress(OSError):  # it was not made, or another command wrote to it
                one.rmdir()
        raise OutputError.cannot_write(folder, error) from error
    return paths
