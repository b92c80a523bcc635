"""Published criteria as data: what a study compared with what, and how often it was right.

The shipped criteria are TOML files in ``resources/criteria``. A user's file of the same form adds
criteria, or changes shipped ones by naming their ``id``. Each entry says what of it was read in
the source (``verified``); one whose cut-off was not read cannot be enabled.

A file begins with ``schema = 1`` and holds ``[[criterion]]`` tables with the keys of
``Criterion``; ``applies_to`` has ``echo_time_ms`` ([low, high]), ``te_class``, ``field_t``,
``technique`` and ``population``, and what is left out is unknown.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal

from mrs_necrosis.areas import QUANTITIES, Quantity
from mrs_necrosis.arguments import check_each, check_path
from mrs_necrosis.constants import PROTONS
from mrs_necrosis.errors import FormatError

SCHEMA: Final = 1
Side = Literal["necrosis", "recurrence"]
TEClass = Literal["short", "long", "very_long", "between"]
COMPARATORS: Final = (">", ">=", "<", "<=")
COUNTS_BASES: Final = ("reported", "derived", "effective", "model_implied", "none")
KINDS: Final = ("spectroscopy", "perfusion")
LIPID_FAMILY: Final = "lipid-lactate"
"""Family whose criteria depend on the echo time and on lipid from outside the voxel."""

_TERM = re.compile(
    r"\s*(?P<sign>[+-]?)\s*(?:(?P<factor>\d+(?:\.\d+)?)\s*\*\s*)?"
    r"(?P<ratio>[A-Za-z]\w*\s*/\s*[A-Za-z]\w*)\s*"
)


_KINDS: Final = {
    "gbm": "glioma",
    "glioblastoma": "glioma",
    "glioblastoma multiforme": "glioma",
    "astrocytoma": "glioma",
    "oligodendroglioma": "glioma",
    "gliomas": "glioma",
    "high grade glioma": "glioma",
    "low grade glioma": "glioma",
    "hgg": "glioma",
    "lgg": "glioma",
    "metastases": "metastasis",
    "brain metastasis": "metastasis",
    "brain metastases": "metastasis",
}


def populations_of(word: str) -> frozenset[str]:
    """Return a population as it was given and, where it is of one, the wider kind of tumour.

    Examples
    --------
    >>> sorted(populations_of("Glioblastoma"))
    ['Glioblastoma', 'glioma']
    """
    plain = re.sub(r"[\s_-]+", " ", word.strip().lower())
    return frozenset({word, _KINDS.get(plain, plain)})


def te_class(echo_time_s: float) -> TEClass:
    """Return the class of an echo time: published cut-offs do not leave their class.

    Parameters
    ----------
    echo_time_s : float
        In s.

    Returns
    -------
    {"short", "long", "very_long", "between"}
        Below 50 ms, 120 to 160 ms, from 250 ms, and what lies between these (limits assumed).
    """
    # a tenth of a microsecond: 0.12 s times 1000 is not 120 in floating point
    ms = round(echo_time_s * 1e3, 4)
    if ms < 50:
        return "short"
    if 120 <= ms <= 160:
        return "long"
    return "very_long" if ms >= 250 else "between"


def parse_expression(text: str) -> tuple[tuple[float, str], ...]:
    """Read a linear combination of ratios; nothing is ever evaluated as code.

    Parameters
    ----------
    text : str
        Such as ``"Cho/Cr + 0.5*Cho/NAA"``.

    Returns
    -------
    tuple of (float, str)
        Coefficient and ratio of each term.

    Raises
    ------
    ValueError
        If it is anything else than a sum of ratios with coefficients; the message quotes from
        where on it is not understood.

    Examples
    --------
    >>> parse_expression("Cho/Cr + 0.5*Cho/NAA")
    ((1.0, 'Cho/Cr'), (0.5, 'Cho/NAA'))
    """
    terms: list[tuple[float, str]] = []
    at = 0
    while at < len(text):
        found = _TERM.match(text, at)
        if found is None or (terms and not found["sign"]):
            break
        factor = float(found["factor"] or 1.0) * (-1.0 if found["sign"] == "-" else 1.0)
        terms.append((factor, re.sub(r"\s", "", found["ratio"])))
        at = found.end()
    if at < len(text) or not terms:
        msg = (
            "expression must be a sum of ratios like 'Cho/Cr + 0.5*Cho/NAA'; "
            f"not understood from {text[at : at + 30]!r} on"
        )
        raise ValueError(msg)
    return tuple(terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One value compared with one cut-off.

    Parameters
    ----------
    expression : str
        A linear combination of ratios.
    comparator : {">", ">=", "<", "<="}
        How it is compared.
    cutoff : float
        Above zero.
    proxy_for : str or None
        The ratio that was published, where `expression` only stands in for it.

    Attributes
    ----------
    terms : tuple of (float, str)
        Factors and ratios of the expression.
    """

    expression: str
    comparator: str
    cutoff: float
    proxy_for: str | None = None
    terms: tuple[tuple[float, str], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _text("expression", self.expression)
        object.__setattr__(self, "terms", parse_expression(self.expression))
        if self.comparator not in COMPARATORS:
            msg = f"comparator must be one of {COMPARATORS}; got {self.comparator!r}"
            raise ValueError(msg)
        _positive_number("cutoff", self.cutoff)
        if self.proxy_for is not None and len(parse_expression(self.proxy_for)) != 1:
            msg = f"proxy_for must be one ratio; got {self.proxy_for!r}"
            raise ValueError(msg)

    def __str__(self) -> str:
        return f"{self.expression} {self.comparator} {self.cutoff:.4g}"

    @property
    def has_protons(self) -> bool:
        """Whether the number of protons is known of every peak that was published."""
        terms = self.terms if self.proxy_for is None else parse_expression(self.proxy_for)
        return all(peak in PROTONS for _, name in terms for peak in name.split("/"))

    def for_protons(self, power: float) -> Comparison:
        """Return the comparison of areas for that of molar values, or the reverse.

        Parameters
        ----------
        power : float
            1 from molar values to areas, -1 the other way.

        Returns
        -------
        Comparison
            Itself where protons do not tell, as for LL.
        """
        if not self.has_protons:
            return self
        terms = self.terms if self.proxy_for is None else parse_expression(self.proxy_for)
        pairs = [name.split("/") for _, name in terms]
        factors = [(PROTONS[top] / PROTONS[bottom]) ** power for top, bottom in pairs]
        if len(set(factors)) == 1:
            if factors[0] == 1:
                return self
            return dataclasses.replace(self, cutoff=self.cutoff * factors[0])
        # ratios that scale differently: the coefficients take up what the cut-off cannot
        text = " + ".join(
            f"{number / factor:.10g}*{name}"
            for (number, name), factor in zip(terms, factors, strict=True)
        )
        return dataclasses.replace(self, expression=text.replace("+ -", "- "))


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliesTo:
    """Where a criterion was measured; None or empty where the text that was read does not say.

    Parameters
    ----------
    echo_time_ms : tuple of float or None
        Lowest and highest echo time.
    te_class : {"short", "long", "very_long"} or None
        See ``te_class``; taken from `echo_time_ms` where both ends have one class.
    field_t : tuple of float
        Field strengths in T.
    technique : str or None
        As published; shown and not compared.
    population : tuple of str
        Such as ``"glioma"``, ``"metastasis"``. A name that begins with ``mixed`` says neither
        that a case belongs to it nor that it does not.
    """

    echo_time_ms: tuple[float, float] | None = None
    te_class: TEClass | None = None
    field_t: tuple[float, ...] = ()
    technique: str | None = None
    population: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.te_class not in {None, "short", "long", "very_long"}:
            msg = f"te_class must be short, long or very_long; got {self.te_class!r}"
            raise ValueError(msg)
        for name in ("field_t", "population"):
            value = getattr(self, name)
            if isinstance(value, str) or not isinstance(value, (list, tuple)):
                msg = f"{name} must be a list; got {value!r}"
                raise TypeError(msg)
            object.__setattr__(self, name, tuple(value))
        for tesla in self.field_t:
            _positive_number("field_t", tesla)
        if self.echo_time_ms is not None:
            self._check_echo_times(self.echo_time_ms)

    def _check_echo_times(self, given: object) -> None:
        if not isinstance(given, (list, tuple)) or len(given) != 2:
            msg = f"echo_time_ms must be [lowest, highest]; got {given!r}"
            raise ValueError(msg)
        for one in given:
            _positive_number("echo_time_ms", one)
        low, high = (float(one) for one in given)
        if low > high:
            msg = f"echo_time_ms must be [lowest, highest]; got {given!r}"
            raise ValueError(msg)
        classes = {te_class(low / 1e3), te_class(high / 1e3)}
        if self.te_class is None and len(classes) == 1 and "between" not in classes:
            object.__setattr__(self, "te_class", classes.pop())
        elif self.te_class is not None and self.te_class not in classes:
            msg = f"te_class is {self.te_class!r}, which does not hold {low:g} to {high:g} ms"
            raise ValueError(msg)
        object.__setattr__(self, "echo_time_ms", (low, high))

    @property
    def has_mixed_population(self) -> bool:
        """Whether the population is a mixture that neither fits nor misfits a case."""
        return any(name.startswith("mixed") for name in self.population)


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One published criterion, as an entry of a file of criteria.

    Such a file begins with ``schema = 1`` and holds ``[[criterion]]`` tables of these names; in
    one with a single comparison its ``expression``, ``comparator``, ``cutoff`` and ``proxy_for``
    stand in the place of ``any_of``.

    Parameters
    ----------
    id : str
        Distinct.
    label : str
        Short: ``"Ando 2004"``.
    citation : str
        Where it was published.
    side : {"necrosis", "recurrence"}
        What it favours when it is met; otherwise it favours the other.
    family : str
        Criteria of one family share a numerator and are averaged.
    any_of : tuple of Comparison
        Met if one of them is.
    reading : str or None
        A word instead of comparisons: what an examination was read as.
    kind : {"spectroscopy", "perfusion"}
        Examination that it is about.
    applies_to : AppliesTo
        Echo time, field, technique and population of the study.
    quantity : {"area", "height", "molar"} or None
        What the cut-off is of; None if the text read does not say.
    counts : tuple of 4 float, or None
        True positive, false negative, true negative, false positive, with recurrence as the
        positive class. A criterion without counts is shown and not scored.
    counts_basis : {"reported", "derived", "effective", "model_implied", "none"}
        Where the counts come from: as published, from percentages, reduced because samples are
        not independent, from mean and standard deviation.
    n : int or None
        Lesions of the study.
    sensitivity, specificity : float or None
        As reported, 0 to 1.
    verified : mapping of str to bool or str
        What of it was read in the source.
    enabled : bool
        Whether it counts; one whose cut-off was not read cannot.
    note : str
        What a reader must know.

    Raises
    ------
    ValueError, TypeError
        If an entry contradicts itself, or an unverified one is enabled.
    """

    id: str
    label: str
    citation: str
    side: Side
    family: str
    any_of: tuple[Comparison, ...] = ()
    reading: str | None = None
    kind: str = "spectroscopy"
    applies_to: AppliesTo = field(default_factory=AppliesTo)
    quantity: Quantity | None = None
    counts: tuple[float, float, float, float] | None = None
    counts_basis: str = "none"
    n: int | None = None
    sensitivity: float | None = None
    specificity: float | None = None
    verified: Mapping[str, bool | str] = field(default_factory=dict)
    enabled: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("id", "label", "citation", "family", "note", "kind"):
            _text(name, getattr(self, name), may_be_empty=name == "note")
        if self.enabled not in {True, False}:
            msg = f"enabled must be true or false; got {self.enabled!r}"
            raise TypeError(msg)
        for name, word in self.verified.items():
            if not isinstance(word, bool) and (name == "cutoff" or not isinstance(word, str)):
                allowed = "true or false" if name == "cutoff" else "true, false or words"
                msg = f"verified says {name} = {word!r}; it must be {allowed}"
                raise TypeError(msg)
        for name in ("sensitivity", "specificity"):
            _share(name, getattr(self, name))
        if self.n is not None and (type(self.n) is not int or self.n < 1):
            msg = f"n must be a number of lesions from 1 on; got {self.n!r}"
            raise ValueError(msg)
        _one_of("side", self.side, ("necrosis", "recurrence"))
        _one_of("kind", self.kind, KINDS)
        _one_of("counts_basis", self.counts_basis, COUNTS_BASES)
        if self.quantity is not None:
            _one_of("quantity", self.quantity, QUANTITIES)
        if bool(self.any_of) == (self.reading is not None):
            msg = "a criterion has either a comparison (expression or any_of) or a reading"
            raise ValueError(msg)
        object.__setattr__(self, "any_of", tuple(self.any_of))
        if self.counts is not None:
            self._check_counts(self.counts)
        if (self.counts is None) != (self.counts_basis == "none"):
            msg = f"counts_basis is {self.counts_basis!r}, which does not fit counts {self.counts}"
            raise ValueError(msg)
        if self.enabled and not self.is_verified:
            msg = (
                "the cut-off was not read in the source, so it cannot be enabled; check the paper "
                "and set verified = {cutoff = true}"
            )
            raise ValueError(msg)

    def _check_counts(self, counts: tuple[float, ...]) -> None:
        if not isinstance(counts, (list, tuple)) or len(counts) != 4:
            msg = f"counts must be [tp, fn, tn, fp]; got {counts!r}"
            raise ValueError(msg)
        if not all(isinstance(c, (int, float)) and math.isfinite(c) and c >= 0 for c in counts):
            msg = f"counts must not be negative; got {counts!r}"
            raise ValueError(msg)
        if counts[0] + counts[1] <= 0 or counts[2] + counts[3] <= 0:
            msg = f"counts must hold lesions of both kinds; got {counts!r}"
            raise ValueError(msg)
        object.__setattr__(self, "counts", tuple(float(c) for c in counts))

    @property
    def is_verified(self) -> bool:
        """Whether the cut-off (or the reading) was read in the source."""
        return bool(self.verified.get("cutoff", False))

    @property
    def is_proxy(self) -> bool:
        """Whether a ratio stands in for the one that was published."""
        return any(one.proxy_for is not None for one in self.any_of)

    @property
    def rule(self) -> str:
        """The criterion in words, without its source."""
        return " or ".join(str(one) for one in self.any_of) or f"reading: {self.reading}"

    @property
    def statement(self) -> str:
        """The criterion in words: ``"Cho/Cr > 1.5 (Ando 2004)"``."""
        return f"{self.rule} ({self.label})"

    def log_likelihood_ratios(self, *, jeffreys: float, cap: float) -> tuple[float, float]:
        """Return the log-likelihood ratios towards recurrence of both outcomes.

        Parameters
        ----------
        jeffreys : float
            Added to each count: a study without errors is small, not perfect.
        cap : float
            Largest absolute value.

        Returns
        -------
        tuple of float
            On the recurrence side, above zero for a criterion that works; on the necrosis side.

        Raises
        ------
        ValueError
            If the criterion has no counts.
        """
        if self.counts is None:
            msg = f"{self.id} has no counts, so it has no likelihood ratio"
            raise ValueError(msg)
        tp, fn, tn, fp = self.counts
        sensitivity = (tp + jeffreys) / (tp + fn + 2 * jeffreys)
        specificity = (tn + jeffreys) / (tn + fp + 2 * jeffreys)
        for_recurrence = math.log(sensitivity / (1 - specificity))
        for_necrosis = math.log((1 - sensitivity) / specificity)
        return max(-cap, min(cap, for_recurrence)), max(-cap, min(cap, for_necrosis))

    def for_quantity(self, quantity: Quantity) -> Criterion:
        """Return the criterion as it applies to peaks of another quantity.

        Molar cut-offs become cut-offs of areas by the protons behind each peak (Cho 9, Cr 3,
        NAA 3), and the other way round; a published quantity that is not known counts as area.
        A ratio that stands in for the published one is converted as that. What contains LL or
        lipid, which have no proton count, stays as it is. The label then names the published
        cut-off.

        Parameters
        ----------
        quantity : {"area", "height", "molar"}
            What is judged.

        Returns
        -------
        Criterion
            Itself where nothing changes.
        """
        is_molar = self.quantity == "molar"
        if is_molar == (quantity == "molar"):
            return self
        converted = tuple(one.for_protons(1.0 if is_molar else -1.0) for one in self.any_of)
        changed = [one for one, new in zip(self.any_of, converted, strict=True) if new != one]
        if not changed:
            return self
        what = "molar" if is_molar else "of areas"
        published = " and ".join(f"{one.cutoff:g}" for one in changed)
        note = f"Published cut-off {published} {what}, converted by protons."
        return dataclasses.replace(
            self,
            label=f"{self.label}, {published} {what}",
            any_of=converted,
            quantity=quantity if all(one.has_protons for one in self.any_of) else self.quantity,
            note=f"{self.note} {note}".strip(),
        )


def listed_criteria(criteria: Sequence[Criterion] | Criterion) -> Sequence[Criterion]:
    """Return criteria that an argument gave as a sequence; one alone counts as one.

    Raises
    ------
    TypeError
        If they are something else.
    """
    listed = (criteria,) if isinstance(criteria, Criterion) else criteria
    check_each("criteria", listed, Criterion, "Criterion objects, as load_criteria returns")
    return listed


def load_criteria(path: str | PathLike[str] | None = None) -> tuple[Criterion, ...]:
    """Return the shipped criteria, and what a user's file adds or changes.

    Parameters
    ----------
    path : path or None
        A file that begins with ``schema = 1`` and holds ``[[criterion]]`` tables (see
        ``Criterion``). One whose ``id`` is shipped changes the keys that it names (``enabled =
        false`` is enough to switch one off); any other is added.

    Returns
    -------
    tuple of Criterion
        In the order of the files; disabled ones included.

    Raises
    ------
    FormatError
        If a file is malformed: the message names line and reason.
    TypeError
        If `path` is no path.

    Examples
    --------
    >>> sum(one.enabled and one.kind == "spectroscopy" for one in load_criteria())
    11
    """
    check_path("path", path, optional=True)
    shipped, entries = _shipped()
    if path is None:
        return shipped
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        problem = f"the criteria cannot be read: {error.strerror or 'unknown reason'}"
        raise FormatError(path, problem) from None
    criteria = {one.id: one for one in shipped}
    criteria.update({one.id: one for _, one in _read(path, content, entries)})
    return tuple(criteria.values())


@cache
def _shipped() -> tuple[tuple[Criterion, ...], Mapping[str, dict[str, Any]]]:
    """Return the shipped criteria, and their entries as written."""
    folder = resources.files("mrs_necrosis") / "resources" / "criteria"
    entries: dict[str, dict[str, Any]] = {}
    criteria: dict[str, Criterion] = {}
    names = [item.name for item in folder.iterdir() if item.name.endswith(".toml")]
    for name in sorted(names, key=lambda one: (one != "spectroscopy.toml", one)):
        for entry, criterion in _read(name, (folder / name).read_bytes(), {}):
            if criterion.id in criteria:
                raise FormatError(name, f"the criterion {criterion.id!r} is there twice")
            entries[criterion.id], criteria[criterion.id] = entry, criterion
    return tuple(criteria.values()), entries


def _read(
    source: str | PathLike[str], content: bytes, known: Mapping[str, dict[str, Any]]
) -> Iterable[tuple[dict[str, Any], Criterion]]:
    try:
        text = content.decode("utf-8")
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(source, f"not a TOML file of criteria: {error}") from None
    if document.get("schema") != SCHEMA or isinstance(document["schema"], bool):
        problem = f"line 1: criteria begin with 'schema = {SCHEMA}'; this file does not"
        raise FormatError(source, problem)
    unknown = sorted(document.keys() - {"schema", "criterion"})
    tables = document.get("criterion", [])
    if unknown or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        key = re.escape(unknown[0] if unknown else "criterion")
        at = 1 + next(
            (i for i, line in enumerate(text.splitlines())
             if re.match(rf"[\s\[]*{key}[\s\]=.]", line)), 0,
        )  # fmt: skip
        problem = f"line {at}: after the schema come [[criterion]] tables and nothing else"
        raise FormatError(source, problem)
    seen: set[str] = set()
    for position, table in enumerate(tables):
        start = _line_of_table(text, position)
        name = table.get("id")
        try:
            if not isinstance(name, str) or not name:
                _fail("id", "each criterion needs an id")
            if name in seen:
                _fail("id", f"the criterion {name!r} is there twice")
            seen.add(name)
            entry = {**known.get(name, {}), **table}
            if known.get(name, {}).keys() & {"any_of"} and "expression" in table:
                del entry["any_of"]
            yield entry, _build(entry)
        except _EntryError as error:
            at = _line_of_key(text, start, error.key)
            shown = name if isinstance(name, str) else "a criterion"
            raise FormatError(source, f"line {at}: {shown}: {error}") from None
        except (TypeError, ValueError) as error:
            at = _line_of_key(text, start, str(error).split(maxsplit=1)[0])
            raise FormatError(source, f"line {at}: {name}: {error}") from None


class _EntryError(Exception):
    """An entry lacks a key, or has one that nobody knows."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        super().__init__(reason)


def _fail(key: str, reason: str) -> None:
    raise _EntryError(key, reason)


_COMPARISON_KEYS = ("expression", "comparator", "cutoff", "proxy_for")
_CRITERION_KEYS = tuple(f.name for f in dataclasses.fields(Criterion)) + _COMPARISON_KEYS


def _build(entry: Mapping[str, Any]) -> Criterion:
    _only_known_keys(entry, _CRITERION_KEYS, required=("label", "citation", "side", "family"))
    given = {key: value for key, value in entry.items() if key not in _COMPARISON_KEYS}
    if "expression" in entry:
        if "any_of" in entry:
            _fail("any_of", "a criterion has either expression or any_of")
        given["any_of"] = (_comparison({k: entry[k] for k in _COMPARISON_KEYS if k in entry}),)
    elif "any_of" in entry:
        if not isinstance(entry["any_of"], list) or not entry["any_of"]:
            _fail("any_of", "any_of is a list of comparisons")
        given["any_of"] = tuple(_comparison(one) for one in entry["any_of"])
    applies_to = entry.get("applies_to", {})
    _only_known_keys(applies_to, [f.name for f in dataclasses.fields(AppliesTo)])
    given["applies_to"] = AppliesTo(**applies_to)
    verified = entry.get("verified", {})
    if not isinstance(verified, dict):
        _fail("verified", "verified is a table like {cutoff = true}")
    return Criterion(**given)


def _comparison(entry: Any) -> Comparison:
    _only_known_keys(entry, _COMPARISON_KEYS, required=_COMPARISON_KEYS[:3])
    return Comparison(**entry)


def _only_known_keys(entry: Any, known: Iterable[str], required: Iterable[str] = ()) -> None:
    if not isinstance(entry, dict):
        _fail("", f"a table was expected; got {entry!r}")
    known = tuple(known)
    for key in entry:
        if key not in known:
            _fail(key, f"unknown key {key!r}; known are {', '.join(known)}")
    for key in required:
        if key not in entry:
            _fail("", f"{key} is missing")


def _text(name: str, value: object, *, may_be_empty: bool = False) -> None:
    if not isinstance(value, str) or not (value or may_be_empty):
        msg = f"{name} must be text that is not empty; got {value!r}"
        raise TypeError(msg)


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        msg = f"{name} must be one of {', '.join(allowed)}; got {value!r}"
        raise ValueError(msg)


def _positive_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        msg = f"{name} must be a number; got {value!r}"
        raise TypeError(msg)
    if not (math.isfinite(value) and value > 0):
        msg = f"{name} must be above zero; got {value!r}"
        raise ValueError(msg)


def _share(name: str, value: object) -> None:
    if value is None:
        return
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:  # type: ignore[operator]
        msg = f"{name} must be from 0 to 1; got {value!r}"
        raise ValueError(msg)


def _line_of_table(text: str, position: int) -> int:
    """Return the line, from 0, of the n-th ``[[criterion]]``."""
    lines = [
        at for at, line in enumerate(text.splitlines())
        if re.match(r"\s*\[\[\s*criterion\s*\]\]", line)
    ]  # fmt: skip
    return lines[position] if position < len(lines) else 0


def _line_of_key(text: str, start: int, key: str) -> int:
    """Return the line, from 1, where a key stands in the table that begins at ``start``."""
    lines = text.splitlines()
    for at in range(start, len(lines)):
        if at > start and re.match(r"\s*\[\[", lines[at]):
            break
        if key and re.search(rf"(^|[\s{{,.]){re.escape(key)}\s*=", lines[at]):
            return at + 1
    return start + 1
