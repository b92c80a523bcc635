"""The assessment: what the evidence favours, with every reason attached. The type only.

It is made by ``classifier.assess`` and drawn by ``report``. It is research output and states no
medical conclusion.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from html import escape
from typing import Final

_WIDTH: Final = 96  # of a terminal


class Favors(StrEnum):
    """What an assessment or a finding favours."""

    NECROSIS = "necrosis-favoring"
    RECURRENCE = "recurrence-favoring"
    INDETERMINATE = "indeterminate"
    NOT_EVALUABLE = "not-evaluable"
    MIXED = "mixed"


LABELS: Final = (
    Favors.NECROSIS,
    Favors.RECURRENCE,
    Favors.INDETERMINATE,
    Favors.NOT_EVALUABLE,
)
"""Labels of a voxel by their code in arrays."""


def not_met(statement: str, side: str) -> str:
    """Return that a criterion is not met, and of which side it is: it speaks for the other one.

    Under "recurrence-favoring", "not met" alone would be read as speaking against recurrence.

    Parameters
    ----------
    statement : str
        The criterion in words.
    side : str
        ``"necrosis"`` or ``"recurrence"``: what it favours where it is met.

    Returns
    -------
    str
        ``"recurrence criterion not met: Cho/Cr > 1.5 (Ando 2004)"``.
    """
    return f"{side} criterion not met: {statement}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One criterion, or one other examination, laid beside the case.

    Parameters
    ----------
    id : str
        The criterion's identifier.
    statement : str
        The criterion in words: ``"Cho/Cr > 1.5 (Ando 2004)"``.
    citation : str
        Where it was published.
    expression : str
        Ratios it looks at: ``"Cho/Cr + 0.5*Cho/NAA"``.
    comparator : str
        ``">"``, ``">="``, ``"<"`` or ``"<="``; empty for a reading.
    cutoff : float or None
        None for a reading.
    value : float or None
        Of the expression; None if it could not be evaluated.
    is_bound : bool
        Whether a peak is not detected, so that `value` is the bound that decides: the true value
        lies farther from the cut-off.
    is_met : bool or None
        Whether the case is as `statement` says; one that is not met favors the side that the
        criterion does not name. None if it could not be evaluated, and for a reading.
    favors : Favors
        NECROSIS, RECURRENCE, INDETERMINATE (exactly silent) or NOT_EVALUABLE.
    family : str
        Criteria that share a numerator and often patients; never multiplied with each other.
    is_scored : bool
        Whether it takes part in the likelihood ratio.
    log_likelihood_ratio : float or None
        Natural logarithm, towards recurrence, after all weights; None if not scored.
    probability : float or None
        Probability that the side named in `favors` is right about the cut-off, given the error
        of the areas; None without covariance.
    weights : mapping of str to float
        ``applicability``, ``borderline``, ``proxy``: the factors that went into it.
    kind : {"spectroscopy", "perfusion", "mri"}
        Kind of examination.
    note : str
        What a reader must know of it: what was not verified, conflicts, proxies.
    """

    id: str
    statement: str
    citation: str
    expression: str = ""
    comparator: str = ""
    cutoff: float | None = None
    value: float | None = None
    is_bound: bool = False
    is_met: bool | None = None
    favors: Favors
    family: str = ""
    is_scored: bool = False
    log_likelihood_ratio: float | None = None
    probability: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    kind: str = "spectroscopy"
    note: str = ""

    @property
    def words(self) -> str:
        """`statement`, and of which side it is the criterion where the case does not meet it."""
        if self.is_met is not False:
            return self.statement
        side = "necrosis" if self.favors is Favors.RECURRENCE else "recurrence"
        return not_met(self.statement, side)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A check that must be open before a label may be given.

    Parameters
    ----------
    name : str
        Short identifier: ``"snr"``, ``"near-normal"``, ….
    is_open : bool
        False withholds a label, or part of the evidence.
    is_checked : bool
        False if what it looks at is unknown; it is then open, and a caveat says so.
    sentence : str
        What was found, for the reader.
    threshold : str
        The number it compares with.
    source : str
        Where the number comes from; ``"assumed"`` where there is no source.
    gives : Favors or None
        The label that a closed gate leads to (NOT_EVALUABLE or INDETERMINATE), or None if it
        only takes some evidence away.
    """

    name: str
    is_open: bool
    is_checked: bool
    sentence: str
    threshold: str = ""
    source: str = "assumed"
    gives: Favors | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Weight of the evidence as a likelihood ratio (above 1 towards recurrence).

    Parameters
    ----------
    likelihood_ratio : float or None
        None if nothing could be scored.
    interval : tuple of float or None
        95 % range of the likelihood ratio over draws of the areas; None without covariance.
    prior : float
        Stated prior probability of recurrence.
    posterior : float or None
        Probability of recurrence for that prior.
    label_probability : mapping of str to float, or None
        Fraction of draws that give each label; None without covariance.
    family_scores : mapping of str to float
        Log-likelihood ratio of each family of criteria.
    favors : Favors or None
        The label that this evidence leads to, gates included.
    """

    likelihood_ratio: float | None
    interval: tuple[float, float] | None = None
    prior: float = 0.5
    posterior: float | None = None
    label_probability: Mapping[str, float] | None = None
    family_scores: Mapping[str, float] = field(default_factory=dict)
    favors: Favors | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Assessment:
    """What one voxel, or one lesion, favours and why. Prints as short paragraphs.

    Parameters
    ----------
    favors : Favors
        The label: of `combined` where it is given, otherwise of `evidence`.
    evidence : Evidence
        Spectroscopy alone.
    findings : tuple of Finding
        One per criterion, agreeing or not, and one per other examination.
    gates : tuple of Gate
        Every check, open or closed.
    caveats : tuple of str
        Sentences.
    suggestions : tuple of str
        What would change the conclusion.
    combined : Evidence or None
        With perfusion and MRI, where they were given.
    paragraph : str
        The whole in words that a tumour board can read: short paragraphs between empty lines;
        a line that begins with ``"- "`` is one of a list.
    """

    favors: Favors
    evidence: Evidence
    findings: tuple[Finding, ...] = ()
    gates: tuple[Gate, ...] = ()
    caveats: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    combined: Evidence | None = None
    paragraph: str = ""

    @property
    def deciding(self) -> Evidence:
        """The evidence that the label rests on: `combined` where it is given."""
        return self.evidence if self.combined is None else self.combined

    def __repr__(self) -> str:
        weight = self.deciding.likelihood_ratio
        evidence = "no evidence" if weight is None else f"likelihood ratio {weight:.3g}"
        closed = [gate.name for gate in self.gates if not gate.is_open]
        gates = f", closed: {', '.join(closed)}" if closed else ""
        return f"<Assessment {self.favors.value}, {evidence}{gates}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        blocks = (self.paragraph or self.favors.value).split("\n\n")
        shown = []
        for first, *rest in (escape(block).split("\n- ") for block in blocks):
            items = "".join(f"<li>{item}</li>" for item in rest)
            shown.append(f"<p>{first}</p>" + (f"<ul>{items}</ul>" if rest else ""))
        return "".join(shown)

    def __str__(self) -> str:
        lines = (self.paragraph or self.favors.value).split("\n")
        return "\n".join(
            textwrap.fill(
                line,
                _WIDTH,
                break_on_hyphens=False,
                subsequent_indent="  " if line.startswith("- ") else "",
            )
            for line in lines
        )
