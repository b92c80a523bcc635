"""The parts of the site that are made from the project itself: criteria, commands, benchmarks."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
from pathlib import Path

from mrs_necrosis.criteria import Criterion, load_criteria

ROOT = Path(__file__).resolve().parents[1]
_DOI = re.compile(r"\bdoi (10\.\S+?)(?=[,;]|\s|$)")
_COMMAND = re.compile(r"^    (\w+)", re.MULTILINE)
_PMID = re.compile(r"\bPMID (\d+)")


def write(folder: Path) -> None:
    """Write every generated part into `folder`, touching only what changed."""
    folder.mkdir(exist_ok=True)
    parts = {"criteria.md": criteria_part(), "commands.md": commands_part()}
    parts["benchmarks.md"] = benchmarks_part()
    for name, text in parts.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def criteria_part() -> str:
    """Return all shipped criteria: a table of what scores, then each with its source."""
    criteria = sorted(load_criteria(), key=lambda one: (one.kind != "spectroscopy", one.family))
    head = ["| criterion | favours | family | n | counts | applied |", "|---|---|---|---|---|---|"]
    rows = (
        f"| [{_cell(one.statement)}](#{anchor(one)}) | {one.side} | {one.family} "
        f"| {'' if one.n is None else one.n} "
        f"| {one.counts_basis.replace('_', ' ')} "
        f"| {'yes' if one.enabled else 'no'} |"
        for one in criteria
    )
    return "\n".join([*head, *rows, "", *(entry(one) for one in criteria)]) + "\n"


def anchor(criterion: Criterion) -> str:
    """Return the name of the criterion's place on the page."""
    return "criterion-" + criterion.id.replace("_", "-")


def entry(criterion: Criterion) -> str:
    """Return one criterion as a definition with its source and what was verified."""
    lines = [f"({anchor(criterion)})=", f"## {_cell(criterion.statement)}", ""]
    lines.append(f"- **Source:** {_linked(criterion.citation)}")
    lines.append(f"- **Favours when met:** {criterion.side}; otherwise the other side")
    applies = applies_to(criterion)
    lines.append(f"- **Applies to:** {applies or 'not stated'}")
    reported = [
        f"{word} {100 * value:.0f} %"
        for word, value in (
            ("sensitivity", criterion.sensitivity),
            ("specificity", criterion.specificity),
        )
        if value is not None
    ]
    if criterion.n is not None:
        reported.insert(0, f"{criterion.n} lesions")
    lines.append(f"- **Reported:** {', '.join(reported) or 'no accuracy'}")
    if criterion.counts is not None:
        names = ("true positive", "false negative", "true negative", "false positive")
        counts = ", ".join(
            f"{value:g} {name}" for value, name in zip(criterion.counts, names, strict=True)
        )
        lines.append(
            f"- **Counts, recurrence as the positive class ({criterion.counts_basis}):** {counts}"
        )
    else:
        lines.append("- **Counts:** none, so it is shown and not scored")
    verified = ", ".join(
        f"{key.replace('_', ' ')}: {_verified(value)}" for key, value in criterion.verified.items()
    )
    lines.append(f"- **Read in the source:** {verified}")
    if not criterion.enabled:
        lines.append("- **Not applied.** It cannot be enabled before its cut-off has been read.")
    if criterion.note:
        lines.append(f"- {_cell(criterion.note)}")
    return "\n".join([*lines, ""])


def applies_to(criterion: Criterion) -> str:
    """Return the conditions under which the criterion was found."""
    conditions = criterion.applies_to
    parts = []
    if conditions.echo_time_ms is not None:
        low, high = conditions.echo_time_ms
        parts.append(f"echo time {low:g}" + (f" to {high:g} ms" if high > low else " ms"))
    elif conditions.te_class is not None:
        parts.append(f"{conditions.te_class.replace('_', ' ')} echo time")
    if conditions.field_t:
        parts.append(" or ".join(f"{value:g} T" for value in conditions.field_t))
    if conditions.technique:
        parts.append(conditions.technique)
    if conditions.population:
        parts.append(", ".join(word.replace("_", " ") for word in conditions.population))
    return "; ".join(parts)


def commands_part() -> str:
    """Return the help of every command as it is printed."""
    from mrs_necrosis.cli import main

    os.environ["COLUMNS"] = "92"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main(["--help"])
    names = _COMMAND.findall(printed.getvalue().partition("COMMAND\n")[2].partition("\n\n")[0])
    parts = ["```text", printed.getvalue().rstrip(), "```", ""]
    for name in names:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main([name, "--help"])
        text = printed.getvalue().partition("\nexit codes:")[0].rstrip()
        parts += [f"## mrs-necrosis {name}", "", "```text", text, "```", ""]
    return "\n".join(parts)


def benchmarks_part() -> str:
    """Return each benchmark's purpose, command and kept table."""
    parts = []
    for script in sorted((ROOT / "benchmarks").glob("*.py")):
        text = script.read_text("utf-8")
        if script.stem.startswith("_") or "__main__" not in text or script.stem == "phantoms":
            continue
        purpose = ast.get_docstring(ast.parse(text)) or ""
        title, _, rest = purpose.partition("\n")
        parts += [
            f"## {script.stem.replace('_', ' ').capitalize().replace('lcmodel', 'LCModel')}",
            "",
            title,
            "",
        ]
        parts += [_markdown(rest), ""]
        parts += ["```sh", f"python -m benchmarks {script.stem}", "```", ""]
        table = ROOT / "benchmarks" / "results" / f"{script.stem}.txt"
        if table.exists():
            lines = table.read_text("utf-8").rstrip().splitlines()
            if any(line.startswith("|") for line in lines):
                parts += [line for line in lines if not line.startswith("#")]
            else:
                parts += ["```text", *lines, "```"]
            parts += [""]
        else:
            parts += ["No table of it is kept yet.", ""]
    return "\n".join(parts)


def _markdown(text: str) -> str:
    """Return the rest of a docstring: its commands as code, the rest as it reads."""
    lines, block = [], False
    for line in text.strip("\n").splitlines():
        if line.startswith("    ") != block and line.strip():
            block = not block
            lines.append("```sh" if block else "```")
        lines.append(line.removeprefix("    ") if block else line.replace("``", "`"))
    return "\n".join([*lines, *(["```"] if block else [])])


def _verified(value: bool | str) -> str:
    return value if isinstance(value, str) else "yes" if value else "no"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<").replace("*", "\\*")


def _linked(citation: str) -> str:
    text = _DOI.sub(lambda found: f"[doi {found[1]}](https://doi.org/{found[1]})", _cell(citation))
    return _PMID.sub(
        lambda found: f"[PMID {found[1]}](https://pubmed.ncbi.nlm.nih.gov/{found[1]}/)", text
    )
