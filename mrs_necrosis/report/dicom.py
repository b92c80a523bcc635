"""DICOM for the archive: a voxel's assessment or a grid's maps, beside their source's study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mrs_necrosis.errors import FormatError
from mrs_necrosis.report.dicom_objects import load_highdicom, read_object
from mrs_necrosis.report.parametric_maps import parametric_maps
from mrs_necrosis.report.structured_report import structured_report

if TYPE_CHECKING:
    import os

    from mrs_necrosis.analysis import Analysis


def dicom_files(analysis: Analysis, source: str | os.PathLike[str]) -> dict[str, bytes]:
    """Return the DICOM files of any analysis by name.

    Parameters
    ----------
    analysis : Analysis
        Of a voxel: ``structured_report``. Of a grid: ``parametric_maps``.
    source : path
        A DICOM object, or the folder of one series, as these functions want it.

    Returns
    -------
    dict of str to bytes
        ``"assessment.dcm"``, or ``"map_ChoCr.dcm"``, ….

    Raises
    ------
    SignalError, FormatError, MissingExtraError
        As these functions do.
    """
    if analysis.assessment is not None:
        return {"assessment.dcm": structured_report(analysis, source)}
    return parametric_maps(analysis, _files_of(Path(source)))


def check_source(path: Path) -> None:
    """Refuse what cannot be the DICOM source, before anything is computed or written.

    Parameters
    ----------
    path : Path
        A DICOM object, or a folder of them.

    Raises
    ------
    FormatError
        If the file, or the first file of the folder, is no DICOM object of a study.
    MissingExtraError
        If highdicom is not installed.
    """
    load_highdicom("DICOM output")
    files = _files_of(path)
    if not files:
        raise FormatError(path, "is a folder without DICOM files")
    read_object(files[0])


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.is_file())
