"""What the README and the documentation say in numbers, and the results that they come from.

Two tables of the README are written from the results, between comments that name them. A number
in a sentence is found by a pattern, and by another one in the results: it must be that number,
rounded to the digits that the sentence has.
"""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
GROUPS = {
    "radiation_necrosis": "radiation necrosis",
    "recurrent_hgg_low_lipid": "recurrent high-grade glioma, little lipid",
    "recurrent_gbm_high_lipid": "recurrent glioblastoma, much lipid",
    "metastasis_recurrence": "recurrent metastasis",
    "mixed": "mixed",
    "normal_white_matter": "normal white matter",
}
CHAIN = r"Whole chain[\s\S]*?TE 144 ms"
"""The part of the evidence's table that the README shows begins here."""

_LABELLED = CHAIN + r"[\s\S]*?where a label is given: "
_JUDGED = CHAIN + r"[\s\S]*?AUC +ECE +Brier\n"


def _without_echo_time() -> Iterator[tuple[str, str, str, str]]:
    """Give what intervals cover where the echo time is not told, ratio by ratio."""
    said = (
        ("Cho/Cr then held the truth in {} % at 30 ms, {} % at 68 ms and {} % at", r" +\S+"),
        ("those of NAA/Cr in {}, {} and {} %", r"(?: +\S+){4}"),
        ("those of LL/Cr in {}, {} and {} %", r"(?: +\S+){7}"),
    )
    for sentence, before in said:
        for i, milliseconds in enumerate((30, 68, 144)):
            shown = [r"\d+"] * 3
            shown[i] = r"(\d+)"
            row = rf"\n +{milliseconds}  echo time and sequence not told"
            yield (
                "README.md",
                sentence.format(*shown),
                "fit_robustness",
                row + before + r" +([\d.]+)",
            )


SENTENCES = (
    # page, what it says, the result, where in it
    ("README.md", r"error is ([\d.]+) % for tNAA", "real_files", r"NAA/Cr  own +([\d.]+)"),
    ("README.md", r"([\d.]+) % for tCho/tCr", "real_files", r"Cho/Cr  own +([\d.]+)"),
    ("README.md", r"([\d.]+) % for Ins/tCr", "real_files", r"mI/Cr   own +([\d.]+)"),
    ("README.md", r"([\d.]+) % for Glx/tCr", "real_files", r"Glx/Cr  own +([\d.]+)"),
    ("README.md", r"set it is ([\d.]+), ", "real_files", r"NAA/Cr  theirs +([\d.]+)"),
    ("README.md", r"set it is [\d.]+, ([\d.]+), ", "real_files", r"Cho/Cr  theirs +([\d.]+)"),
    ("README.md", r"set it is [\d., ]+, ([\d.]+) and", "real_files", r"mI/Cr   theirs +([\d.]+)"),
    ("README.md", r"set it is [\d., ]+ and ([\d.]+) %", "real_files", r"Glx/Cr  theirs +([\d.]+)"),
    ("README.md", r"integration: (\d+) %", "real_files", r"NAA/Cr  integration +([\d.]+)"),
    ("README.md", r"tion: \d+ % and (\d+) %", "real_files", r"Cho/Cr  integration +([\d.]+)"),
    ("README.md", r"([\d,]+) spectra per group", "evidence", r"label, (\d+) spectra per group"),
    ("README.md", r"([\d.]+) % of recurrences and", "evidence", _LABELLED + r"\D+([\d.]+)"),
    ("README.md", r"([\d.]+) % of necroses are", "evidence", _LABELLED + r".*ficity ([\d.]+)"),
    ("README.md", r"with it, ([\d.]+) to", "evidence", r"frontal white matter +([\d.]+)"),
    ("README.md", r"with it, [\d.]+ to ([\d.]+) %", "evidence", r"thalamus +([\d.]+)"),
    ("README.md", r"error of ([\d.]+) \(area", "evidence", _JUDGED + r" +\D+[\d.]+ +([\d.]+)"),
    ("README.md", r"under the curve ([\d.]+);", "evidence", _JUDGED + r" +\D+([\d.]+)"),
    ("README.md", r"the criteria: ([\d.]+),", "evidence", _JUDGED + r".*\n\D+\S+ +([\d.]+)"),
    ("README.md", r"criteria: [\d.]+, ([\d.]+)\)", "evidence", _JUDGED + r".*\n\D+([\d.]+)"),
    *_without_echo_time(),
    ("README.md", r"32 . 32 voxels take (\d+) s", "grid", r"in all +[\d.]+ +([\d.]+)"),
    ("README.md", r"32 . 8 voxels take (\d+) MB", "grid", r"== grid.html.*\n\n +([\d.]+) MB"),
    ("docs/validation.md", r"NAA/Cr is (\d+) % above", "beside_lcmodel",
     r"ten voxels[\s\S]*?NAA/Cr: median difference \+(\d+) %"),
)  # fmt: skip


def demo_table(result: str) -> str:
    """Return the reference case's table as it was printed."""
    return "\n".join(line for line in result.splitlines() if line.startswith("|"))


def label_table(result: str) -> str:
    """Return what a label is worth at 144 ms through the whole chain."""
    part = re.split(CHAIN, result, maxsplit=1)[1]
    lines = [
        "| group | necrosis-favoring | recurrence-favoring | indeterminate | not-evaluable |",
        "|---|---|---|---|---|",
    ]
    for group, words in GROUPS.items():
        cells = re.search(rf"^  {group} +(.+)$", part, re.MULTILINE)[1].split()
        lines.append(f"| {words} | {' | '.join(cells[:4])} |")
    return "\n".join(lines)


TABLES = {"demo": demo_table, "evidence": label_table}


def result(name: str) -> str:
    return (RESULTS / f"{name}.txt").read_text("utf-8")


def written(readme: str) -> str:
    """Return the README with its tables as the results have them."""
    for name, table in TABLES.items():
        readme = re.sub(
            rf"(<!-- from benchmarks/results/{name}\.txt -->\n).*?(\n<!-- end -->)",
            lambda found, name=name, table=table: found[1] + table(result(name)) + found[2],
            readme,
            flags=re.DOTALL,
        )
    return readme


def coverage(table: str) -> tuple[int, int]:
    """Return the least and the largest coverage of all cells of the fit's accuracy, in %."""
    cells = [
        int(cell.split()[-2])  # the columns before may touch
        for line in table.splitlines()
        if re.match(r"[a-z_]+ +\d+ \|", line)
        for cell in line.split("|")[1:]
    ]
    return min(cells), max(cells)


def stale() -> list[str]:
    """Return the numbers in sentences that are not those of the results."""
    wrong = []
    least, largest = coverage(result("fit_accuracy"))
    if f"cover {least} to {largest} %" not in (ROOT / "README.md").read_text("utf-8"):
        wrong.append(f"README.md: intervals cover {least} to {largest} % in fit_accuracy.txt")
    for page, said, name, measured in SENTENCES:
        found = re.search(said, (ROOT / page).read_text("utf-8"))
        known = re.search(measured, result(name))
        if found is None or known is None:
            wrong.append(f"{page}: nothing like {said!r}, or {name}.txt has no {measured!r}")
            continue
        text = found[1].replace(",", "")
        digits = len(text.partition(".")[2])
        if abs(float(known[1]) - float(text)) > 0.5 * 10.0**-digits + 1e-9:
            wrong.append(f"{page} says {found[0]!r}, {name}.txt {known[1]}")
    return wrong
