"""The README's table of the reference case: printed values, and two simulated spectra of it."""

from mrs_necrosis import analyze
from mrs_necrosis.report.rows import interval_text, number
from mrs_necrosis.simulation import sample_path

RATIOS = ("Cho/Cr", "NAA/Cr", "Cho/NAA", "LL/Cr", "LL/Cho", "LL/NAA")
SPECTRA = ("reference_case_te30.nii.gz", "reference_case_te144.nii.gz")


def cell(one) -> str:
    interval = one.interval()
    ends = interval_text(interval.lower.item(), interval.upper.item(), str(interval.shape.item()))
    return f"{number(one.value.item())} ({ends})"


def verdict(found) -> str:
    evidence = found.assessment.evidence
    return f"{found.assessment.favors.value}, {evidence.likelihood_ratio:.2f}"


def main() -> None:
    table = analyze(sample_path("reference_case.toml"))
    spectra = [analyze(sample_path(name)) for name in SPECTRA]
    print("| | printed values | simulated, TE 30 ms | simulated, TE 144 ms |")
    print("|---|---|---|---|")
    for name in RATIOS:
        cells = [cell(found.ratios[name]) for found in spectra]
        print(f"| {name} | {number(table.ratios[name].value.item())} | {' | '.join(cells)} |")
    verdicts = " | ".join(verdict(found) for found in (table, *spectra))
    print(f"| label, likelihood ratio | {verdicts} |")


if __name__ == "__main__":
    main()
