"""Where the samples are that come with the library.

They are made by ``data/samples/make_samples.py`` and lie in ``data/samples`` of a checkout; an
installed package carries them as ``mrs_necrosis/resources/samples``.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

_SUFFIXES: Final = (".nii.gz", ".toml")


def _folder() -> Path:
    installed = Path(str(files("mrs_necrosis").joinpath("resources", "samples")))
    return installed if installed.is_dir() else Path(__file__).parents[2] / "data" / "samples"


def sample_names() -> tuple[str, ...]:
    """Return the file names of the samples."""
    folder = _folder()
    entries = folder.iterdir() if folder.is_dir() else ()
    return tuple(sorted(path.name for path in entries if path.name.endswith(_SUFFIXES)))


def sample_path(name: str) -> Path:
    """Return the path of a sample, in a checkout or in an installed package.

    Parameters
    ----------
    name : str
        File name, such as ``"reference_case.toml"``.

    Returns
    -------
    Path
        Of an existing file.

    Raises
    ------
    KeyError
        If there is no such sample; the message lists them.

    Examples
    --------
    >>> sample_path("reference_case.toml").name
    'reference_case.toml'
    """
    if name not in sample_names():
        msg = f"no sample {name!r}; there are {', '.join(sample_names()) or 'none installed'}"
        raise KeyError(msg)
    return _folder() / name
