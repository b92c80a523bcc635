"""Spectroscopy in a BIDS dataset: which files there are, and what belongs to each.

BIDS 1.10 and later: ``sub-<label>[/ses-<label>]/mrs/`` holds ``_svs`` and ``_mrsi`` files in
NIfTI-MRS and their water references ``_mrsref``, which ``ReferenceSignal`` in the sidecar links.
Sidecars are inherited: one nearer to the file replaces, field by field, one further up. The
sidecar's ``AnatomicalImage`` is what maps or voxel are laid on, and a lesion's mask may come
from a dataset of derivatives: ``sub-<label>[_ses-<label>][...]_label-lesion_mask.nii.gz`` (or
``desc-lesion``).
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mrs_necrosis.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


ENTITIES: Final = ("sub", "ses", "task", "acq", "nuc", "voi", "rec", "run", "echo", "inv")
"""The entities of the datatype ``mrs``, in the order in which BIDS writes them."""

REQUIRED: Final = ("ResonantNucleus", "SpectrometerFrequency", "SpectralWidth", "EchoTime")
"""Fields that BIDS requires in the sidecar of every spectroscopy file."""

_LOGGER = logging.getLogger(__name__)

_SUFFIXES: Final = ("svs", "mrsi")
_LABEL: Final = r"[A-Za-z0-9]+"
_NAME: Final = re.compile(
    rf"(?P<entities>(?:[a-z]+-{_LABEL}_)*)(?P<suffix>[a-z]+)(?P<ending>\.nii(?:\.gz)?|\.json)"
)
_LONG_NAMES: Final = {
    "subject": "sub", "session": "ses", "acquisition": "acq", "nucleus": "nuc", "volume": "voi",
    "reconstruction": "rec", "inversion": "inv",
}  # fmt: skip
_MASK: Final = re.compile(
    rf"(?P<entities>(?:[a-z]+-{_LABEL}_)*(?:label|desc)-lesion_(?:[a-z]+-{_LABEL}_)*)"
    r"mask\.nii(?:\.gz)?"
)
_OF_THE_SCANNER: Final = frozenset({None, "orig", "T1w", "T2w", "FLAIR", "individual", "scanner"})
"""Spaces whose world coordinates are those of the spectra; a template's are not."""

_MAX_SIDECAR_BYTES: Final = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquired:
    """One spectroscopy file of a dataset.

    Parameters
    ----------
    path : Path
        The NIfTI-MRS file.
    entities : mapping of str to str
        Such as ``{"sub": "01", "acq": "press"}``, in the order of BIDS.
    suffix : {"svs", "mrsi"}
        Single voxel or grid.
    metadata : mapping of str to JSON types
        Of all sidecars that apply.
    water : Path or None
        The linked water reference.
    notes : tuple of str
        What is not as BIDS wants it.
    anatomy, lesion : Path or None
        The linked anatomical image, and the lesion's mask.
    problem : str
        Why it cannot be analysed; empty if it can.
    """

    path: Path
    entities: Mapping[str, str]
    suffix: str
    metadata: Mapping[str, Any]
    water: Path | None
    notes: tuple[str, ...] = ()
    anatomy: Path | None = None
    lesion: Path | None = None
    problem: str = ""

    @property
    def base(self) -> str:
        """The file's name without suffix: ``"sub-01_acq-press"``."""
        return "_".join(f"{key}-{value}" for key, value in self.entities.items())

    @property
    def place(self) -> list[str]:
        """Folders of the participant and the session: ``["sub-01", "ses-2"]``."""
        return _place(self.entities)


def check_dataset(root: Path) -> None:
    """Refuse a folder that is no BIDS dataset.

    Parameters
    ----------
    root : Path
        The folder.

    Raises
    ------
    FormatError
        If it has no ``dataset_description.json`` with a name and a version of BIDS.
    """
    if not root.is_dir():
        raise FormatError(root, "is not a folder; give the root of a BIDS dataset")
    description = root / "dataset_description.json"
    if not description.is_file():
        raise FormatError(
            root,
            "is no BIDS dataset: it has no dataset_description.json; give the dataset's root, or "
            "--skip-bids-validation",
        )
    content = _read_json(description)
    if not all(isinstance(content.get(key), str) for key in ("Name", "BIDSVersion")):
        raise FormatError(
            description,
            "lacks the Name or the BIDSVersion that BIDS requires; complete it, or give "
            "--skip-bids-validation",
        )


def find(
    root: Path,
    *,
    participants: Iterable[str] = (),
    sessions: Iterable[str] = (),
    filters: Mapping[str, Mapping[str, Any]] | None = None,
    derivatives: Iterable[Path] = (),
) -> list[Acquired]:
    """Return the spectroscopy files of a dataset, in the order of their names.

    Parameters
    ----------
    root : Path
        The dataset.
    participants, sessions : iterable of str
        Labels to look at, with or without ``sub-`` and ``ses-``; all if empty.
    filters : mapping or None
        What ``read_filters`` returned.
    derivatives : iterable of Path
        Datasets in which masks of lesions are looked for.

    Returns
    -------
    list of Acquired
        ``_svs`` and ``_mrsi``; none if there is nothing.

    Raises
    ------
    FormatError
        If a label is not in the dataset.
    """
    wanted = [label.removeprefix("sub-") for label in participants]
    folders = {p.name.removeprefix("sub-"): p for p in sorted(root.glob("sub-*")) if p.is_dir()}
    missing = [label for label in wanted if label not in folders]
    if missing:
        # the labels came from the user, so they may be shown
        raise FormatError(root, f"has no participant {', '.join(missing)}")
    wanted_sessions = {label.removeprefix("ses-") for label in sessions}
    found = []
    for label in wanted or folders:
        subject = folders[label]
        visits = [p for p in sorted(subject.glob("ses-*")) if p.is_dir()]
        if wanted_sessions:
            visits = [p for p in visits if p.name.removeprefix("ses-") in wanted_sessions]
        elif (subject / "mrs").is_dir():
            visits = [subject, *visits]
        for visit in visits:
            found += _in_folder(root, visit / "mrs", filters or {}, tuple(derivatives))
    if wanted_sessions and not found:
        raise FormatError(root, f"has no spectroscopy in session {', '.join(wanted_sessions)}")
    return found


def _in_folder(
    root: Path,
    folder: Path,
    filters: Mapping[str, Mapping[str, Any]],
    derivatives: tuple[Path, ...],
) -> list[Acquired]:
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None or match["suffix"] not in _SUFFIXES or match["ending"] == ".json":
            continue
        entities = _entities(match["entities"])
        is_in_place = _place(entities) == list(path.relative_to(root).parts[:-2])
        if not (is_in_place and set(entities) <= set(ENTITIES)):
            _LOGGER.warning("a file is not named as BIDS wants it and was left out")
            continue
        if _passes(entities, filters.get(match["suffix"], {})):
            ordered: dict[str, str] = {key: entities[key] for key in ENTITIES if key in entities}
            found.append(_acquired(root, path, ordered, match["suffix"], derivatives))
    return found


def _acquired(
    root: Path,
    path: Path,
    entities: Mapping[str, str],
    suffix: str,
    derivatives: tuple[Path, ...],
) -> Acquired:
    """Return a spectroscopy file with what its sidecars and links lead to."""
    metadata, problem, notes = {}, "", []
    try:
        metadata = sidecar(root, path)
    except FormatError as error:  # of this acquisition alone
        problem = f"one of its sidecars {error.problem}"
    absent = [name for name in REQUIRED if name not in metadata]
    if absent:
        notes.append(f"The sidecar lacks {', '.join(absent)}, which BIDS requires.")
    water, lost = _water(root, path, metadata)
    notes += [lost] if lost else []
    anatomy, lost = _anatomy(root, path, metadata)
    notes += [lost] if lost else []
    lesion, lost = _lesion(derivatives, _place(entities))
    notes += [lost] if lost else []
    return Acquired(
        path=path,
        entities=entities,
        suffix=suffix,
        metadata=metadata,
        water=water,
        notes=tuple(notes),
        anatomy=anatomy,
        lesion=lesion,
        problem=problem,
    )


def _place(entities: Mapping[str, str]) -> list[str]:
    return [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]


def read_filters(path: Path) -> dict[str, dict[str, Any]]:
    """Return which acquisitions a file of BIDS filters lets through.

    Parameters
    ----------
    path : Path
        JSON such as ``{"svs": {"acquisition": "press"}, "mrsi": {"session": ["01", "02"]}}``:
        by suffix, what entities must be. A list holds alternatives; ``null`` is an entity that
        is absent, ``"*"`` one that is there. Parts of other names, of other apps, are left alone.

    Returns
    -------
    dict
        By suffix, the allowed values by the short name of the entity.

    Raises
    ------
    FormatError
        If it is no such file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "filter.json"
    ...     _ = path.write_text('{"svs": {"acquisition": "press", "run": [1, 2]}}')
    ...     read_filters(path)
    {'svs': {'acq': ['press'], 'run': ['1', '2']}}
    """
    filters: dict[str, dict[str, Any]] = {}
    for suffix, wanted in _read_json(path).items():
        if suffix not in _SUFFIXES:
            continue
        if not isinstance(wanted, dict):
            raise FormatError(path, f"must give the entities of {suffix} as an object")
        filters[suffix] = {}
        for name, value in wanted.items():
            if name in {"datatype", "suffix", "extension"}:
                continue  # these say what svs and mrsi say already
            short = _LONG_NAMES.get(name, name)
            values = value if isinstance(value, list) else [value]
            if short not in ENTITIES or not all(
                one is None or isinstance(one, (str, int)) for one in values
            ):
                raise FormatError(
                    path,
                    f"filters {suffix} by what is no entity or no label; entities are "
                    f"{', '.join(ENTITIES)}",
                )
            labels = [None if one in {None, "Query.NONE"} else str(one) for one in values]
            filters[suffix][short] = [
                None if one is None else one.removeprefix(f"{short}-") for one in labels
            ]
    if not filters:
        raise FormatError(path, f"filters neither {' nor '.join(_SUFFIXES)}")
    return filters


def _passes(entities: Mapping[str, str], wanted: Mapping[str, Any]) -> bool:
    for name, values in wanted.items():
        label = entities.get(name)
        if label is not None and not {"*", "Query.ANY"}.isdisjoint(values):
            continue
        # run-01 is run 1
        numbers = {value.lstrip("0") for value in values if value is not None and value.isdigit()}
        if label not in values and (label is None or label.lstrip("0") not in numbers):
            return False
    return True


def _anatomy(
    root: Path, path: Path, metadata: Mapping[str, Any]
) -> tuple[Path | None, str | None]:
    """Return the linked anatomical image, and a note where the link leads nowhere."""
    link = metadata.get("AnatomicalImage")
    if isinstance(link, list) and link:
        link = link[0]
    if not link:
        return None, None
    target = _follow(root, path, link)
    if target is None or not target.name.endswith((".nii", ".nii.gz")):
        return None, "AnatomicalImage does not lead to an image of this dataset; none is shown."
    return target, None


def _lesion(derivatives: Iterable[Path], place: list[str]) -> tuple[Path | None, str | None]:
    """Return the lesion's mask of a participant's visit, and a note where it is not one."""
    of_visit, of_participant = [], []
    for folder in derivatives:
        for candidate in sorted((folder / place[0]).rglob("*_mask.nii*")):
            match = _MASK.fullmatch(candidate.name)
            entities = {} if match is None else _entities(match["entities"])
            if match is None or f"sub-{entities.get('sub')}" != place[0]:
                continue
            if entities.get("space") not in _OF_THE_SCANNER:
                continue
            if "ses" not in entities:
                of_participant.append(candidate)
            elif [f"ses-{entities['ses']}"] == place[1:]:
                of_visit.append(candidate)
    found = of_visit or of_participant
    if len(found) > 1:
        return None, f"There are {len(found)} masks of the lesion; none was used."
    return (found[0] if found else None), None


def _entities(text: str) -> dict[str, str]:
    parts = [part.partition("-") for part in text.split("_") if part]
    return {key: value for key, _, value in parts}


def sidecar(root: Path, path: Path) -> dict[str, Any]:
    """Return the metadata of a file, after the inheritance principle.

    Parameters
    ----------
    root : Path
        The dataset.
    path : Path
        A data file in it.

    Returns
    -------
    dict
        Fields of every JSON file from the root down to the file whose suffix is the same and
        whose entities are all among the file's; the nearer one and the more specific one wins.

    Raises
    ------
    FormatError
        If one of them is no JSON object.
    """
    match = _NAME.fullmatch(path.name)
    assert match is not None
    entities = set(_entities(match["entities"]).items())
    metadata: dict[str, Any] = {}
    levels = [root]
    for part in path.relative_to(root).parts[:-1]:
        levels.append(levels[-1] / part)
    for level in levels:
        applicable = []
        for candidate in level.glob("*.json"):
            name = _NAME.fullmatch(candidate.name)
            if name is None or name["suffix"] != match["suffix"]:
                continue
            theirs = set(_entities(name["entities"]).items())
            if theirs <= entities:
                applicable.append((len(theirs), candidate.name, candidate))
        for _, _, candidate in sorted(applicable):
            metadata |= _read_json(candidate)
    return metadata


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_SIDECAR_BYTES:
            raise FormatError(path, "is too large for a sidecar")
        content = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise FormatError(path, "is no JSON in UTF-8") from None
    if not isinstance(content, dict):
        raise FormatError(path, "is no JSON object")
    return content


def _water(root: Path, path: Path, metadata: Mapping[str, Any]) -> tuple[Path | None, str | None]:
    """Return the linked water reference, and a note where a link leads nowhere."""
    links = metadata.get("ReferenceSignal")
    links = [links] if isinstance(links, str) else links if isinstance(links, list) else []
    found = []
    for link in links:
        target = _follow(root, path, link)
        if target is None:
            return None, "ReferenceSignal does not lead to a file of this dataset; no water used."
        found.append(target)
    # the eddy-current reference has the same coils and gradients; the other is for concentrations
    found.sort(key=lambda target: "_acq-ecc_" not in target.name)
    if found:
        return found[0], None
    if any(path.parent.glob("*_mrsref.nii*")):
        return None, (
            "There is a water reference in the folder, but ReferenceSignal does not link it, "
            "so it was not used."
        )
    return None, None


def _follow(root: Path, path: Path, link: object) -> Path | None:
    if not isinstance(link, str):
        return None
    subject = root / path.relative_to(root).parts[0]
    if link.startswith("bids::"):
        target = root / link.removeprefix("bids::")
    elif link.startswith("bids:"):
        return None  # of another dataset
    else:
        # before BIDS had URIs, paths were relative to the participant's folder
        places = (subject / link, path.parent / link, root / link)
        target = next((place for place in places if place.is_file()), subject / link)
    try:
        inside = target.resolve().is_relative_to(root.resolve())
        return target if inside and target.is_file() else None
    except (OSError, ValueError):
        return None
