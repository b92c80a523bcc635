"""Whole grids, from file to maps and page, against known truth.

A head is simulated as a grid (``simulation.grids``): smooth normal tissue, a lesion with a
necrotic core and a tumour rim, B0 drift of 20 Hz up and down, scalp lipid, residual water in a
third of the voxels, 5 % of the voxels spoiled. It is written as NIfTI-MRS and taken through
``analyze`` as a user would. Printed: time by stage, CPU per voxel, peak memory, errors and
coverage against the truth, what core and rim are labelled, and the page's size.

    python benchmarks/grid.py                 # all of this
    python benchmarks/grid.py --small         # 12 x 12 x 1
    python benchmarks/grid.py --memory        # 64 x 64 x 32 x 1024: memory, 512 voxels fitted
    python benchmarks/grid.py --page          # size and load time of the page of 32 x 32 x 8
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.classifier import assess_grid
from mrs_necrosis.fitting import fit
from mrs_necrosis.io import read, write_nifti_mrs
from mrs_necrosis.pipeline import analyze
from mrs_necrosis.preprocessing import preprocess
from mrs_necrosis.report.files import render
from mrs_necrosis.report.grid_page import grid_page
from mrs_necrosis.simulation.grids import SPOILINGS, grid_phantom
from mrs_necrosis.simulation.phantoms import Phantom, phantom
from mrs_necrosis.spectra import Spectra

RATIOS = ("Cho/Cr", "NAA/Cr", "LL/Cr", "Cho/NAA")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(header: list[str], rows: list[list[object]]) -> None:
    cells = [header, *([str(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        print("  " + "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)))
    print()


def compile_fit(echo_time_s: float) -> None:
    """Fit two voxels, so that compiling the solver once for this machine is not timed."""
    made = phantom("normal_white_matter", np.random.default_rng(0), grid=(2, 1, 1),
                   echo_time_s=echo_time_s)  # fmt: skip
    fit(made.spectra, backend="compiled")


def end_to_end(grid: tuple[int, int, int], echo_time_s: float, seed: int, rim: str) -> None:
    name = " x ".join(map(str, grid))
    print(f"== {name}, TE {1e3 * echo_time_s:.0f} ms, rim {rim}, seed {seed}\n")
    made = grid_phantom(
        np.random.default_rng(seed), grid=grid, echo_time_s=echo_time_s, rim=rim, spoiled=0.05
    )
    truth = made.truth
    labels = np.array(truth.label_names)[truth.labels]
    lesion = np.isin(labels, ["core", "rim"]).astype(float)
    affine = made.data.affine
    voxels = int(np.prod(grid))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.nii.gz"
        write_nifti_mrs(path, made.data)
        wall, cpu = time.perf_counter(), time.process_time()
        stages = []

        def stage(what: str) -> None:
            nonlocal wall, cpu
            now, used = time.perf_counter(), time.process_time()
            stages.append(
                [
                    what,
                    f"{now - wall:.1f}",
                    f"{used - cpu:.1f}",
                    f"{1e3 * (used - cpu) / voxels:.1f}",
                ]
            )
            wall, cpu = now, used

        data = read(path)
        stage("read")
        spectra = preprocess(data)
        stage("preprocess")
        found = analyze(
            spectra, lesion_mask=(lesion, affine), point_spread="box", anatomy=(lesion, affine)
        )
        stage("fit, ratios, evidence, maps")
        contents = render(found)
        stage("write maps, page, pictures")
        total = [sum(float(row[i]) for row in stages) for i in (1, 2)]
        stages.append(
            ["in all", f"{total[0]:.1f}", f"{total[1]:.1f}", f"{1e3 * total[1] / voxels:.1f}"]
        )
    table(["stage", "wall s", "CPU s", "CPU ms/voxel"], stages)
    removed = [s for s in spectra.history if s.name == "remove_water"]
    for step in removed:
        print(f"  water removal: {step.note or dict(step.parameters)}")
    print(
        f"  peak memory {peak_mb():.0f} MB; grid.html {len(contents['grid.html']) / 1e6:.1f} MB; "
        f"{sum(n.endswith('.nii.gz') for n in contents)} maps\n"
    )

    sound = (truth.spoiled == 0) & np.isin(labels, ["normal", "core", "rim"])
    rows = []
    for part in ("normal", "core", "rim"):
        here = sound & (labels == part)
        for ratio in RATIOS:
            one = found.ratios[ratio]
            true = truth.ratio(*ratio.split("/"))
            interval = one.interval(0.95)
            value, expected = one.value[here], true[here]
            known = np.isfinite(value)
            error = 100 * np.abs(value[known] / expected[known] - 1)
            inside = interval.contains(true)[here]
            rows.append(
                [
                    part,
                    ratio,
                    int(here.sum()),
                    f"{100 * (~known).mean():.0f} %",
                    f"{np.median(error):.1f} %",
                    f"{np.percentile(error, 95):.0f} %",
                    f"{100 * np.median(one.sd[here][known] / np.abs(value[known])):.1f} %",
                    f"{100 * inside[known].mean():.0f} %",
                ]
            )
    table(
        ["tissue", "ratio", "voxels", "no value", "median error", "95th", "median sd", "covered"],
        rows,
    )
    words = ("necrosis-favoring", "recurrence-favoring", "indeterminate", "not-evaluable")
    rows = []
    for part, right in (("core", 0), ("rim", 1), ("normal", 3)):
        codes = found.grid_assessment.codes[sound & (labels == part)]
        counts = [int((codes == code).sum()) for code in range(4)]
        wrong = {"core": [1], "rim": [0], "normal": [0, 1]}[part]
        share = [100 * n / max(len(codes), 1) for n in counts]
        rows.append(
            [
                part,
                *(f"{n} ({s:.0f} %)" for n, s in zip(counts, share, strict=True)),
                f"{share[right]:.0f} %",
                f"{sum(share[w] for w in wrong):.0f} %",
            ]
        )
    without_noise = truth_judged(made)
    for part, right in (("core", 0), ("rim", 1)):
        codes = without_noise[sound & (labels == part)]
        share = [100 * float((codes == code).mean()) for code in range(4)]
        rows.append([f"{part}, no noise", *(f"{s:.0f} %" for s in share), f"{share[right]:.0f} %",
                     f"{share[1 - right]:.0f} %"])  # fmt: skip
    table(["tissue", *words, "right", "wrong"], rows)
    parts = [
        found.grid_assessment.log_likelihood_ratio[sound & (labels == part)]
        for part in ("rim", "core")
    ]
    higher = np.mean(parts[0][:, None] > parts[1][None, :])
    print(f"  the likelihood ratio is higher in the rim in {100 * higher:.0f} % of the pairs of a")
    print("  rim's and a core's voxel")
    print(f"  {found.grid_result.lesion.sentence}")
    for note in found.grid_result.notes:
        print(f"  {note}")
    spoiled = truth.spoiled > 0
    statuses = {
        kind: np.unique(found.fit.status[truth.spoiled == code], return_counts=True)
        for code, kind in enumerate(SPOILINGS)
        if code
    }
    print(
        f"\n  {int(spoiled.sum())} voxels spoiled, no exception. Status codes: "
        + "; ".join(
            f"{kind} " + ", ".join(f"{s}: {n}" for s, n in zip(*counts, strict=True))
            for kind, counts in statuses.items()
        )
    )
    labelled = int((found.grid_assessment.codes[spoiled] < 2).sum())
    print(f"  spoiled voxels with a label for either side: {labelled}\n")


def truth_judged(made: Phantom) -> np.ndarray:
    """Return the labels of the true areas: what the criteria alone would say without any error."""
    true = made.truth.areas
    names = [n for n in ("LL", "Lip13", "Lip09", "Lac", "Cho", "Cr", "NAA") if n in true]
    values = np.stack([true.value(name) for name in names], axis=-1)
    at = np.arange(len(names))
    covariance = np.zeros((*values.shape, len(names)))
    covariance[..., at, at] = (1e-3 * np.maximum(values, 1e-9)) ** 2
    areas = PeakAreas(tuple(names), values, covariance)
    return assess_grid(areas, acquisition=made.data.acquisition).codes


def memory(voxels_to_fit: int = 512) -> None:
    grid, n = (64, 64, 32), 1024
    print(f"== memory at {' x '.join(map(str, grid))} x {n}, {voxels_to_fit} voxels fitted\n")
    made = phantom(
        "normal_white_matter",
        np.random.default_rng(0),
        grid=(voxels_to_fit, 1, 1),
        echo_time_s=0.144,
    ).spectra
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fid.npy"
        mapped = np.lib.format.open_memmap(path, "w+", np.complex128, (*grid, n))
        mask = np.zeros(grid, dtype=bool)
        chosen = np.random.default_rng(1).choice(mask.size, voxels_to_fit, replace=False)
        mask.reshape(-1)[chosen] = True
        mapped.reshape(-1, n)[np.sort(chosen)] = made.fid.reshape(-1, n)
        mapped.flush()
        del mapped
        fid = np.load(path, mmap_mode="r")
        tracemalloc.start()  # pages of the file that are mapped do not count
        spectra = Spectra(fid=fid, acquisition=made.acquisition, mask=mask)
        found = fit(spectra)
        after = tracemalloc.get_traced_memory()[1] / 1e6
        assess_grid(found.areas, quality=found.quality, acquisition=made.acquisition)
        print(f"  samples on disk {fid.nbytes / 1e6:.0f} MB")
        evidence = tracemalloc.get_traced_memory()[1] / 1e6
        print(f"  allocated at most: fit {after:.0f} MB, evidence {evidence:.0f} MB")
        results = found.areas.values.nbytes + found.areas.covariance.nbytes
        print(f"  of which areas and covariances {results / 1e6:.0f} MB\n")


def load_s(page: Path) -> tuple[float, float] | None:
    """Return how long headless Chromium takes to draw a page, and an empty one; None if absent.

    The clock of the page itself runs on virtual time there, so the whole process is timed.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return None
    times = []
    for address in (page.as_uri(), "about:blank"):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            began = time.perf_counter()
            text = subprocess.run(
                [
                    browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
                    "--virtual-time-budget=20000", f"--user-data-dir={profile}", address,
                ],
                capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            times.append(time.perf_counter() - began)
        if address != "about:blank" and 'data-ready="yes"' not in text:
            return None
    return times[0], times[1]


def page() -> None:
    """Print size and load time of a page of 32 x 32 x 8 voxels."""
    print("== grid.html of 32 x 32 x 8 voxels\n")
    made = grid_phantom(np.random.default_rng(1), grid=(32, 32, 8))
    found = analyze(made.data)
    fitted = int(np.isfinite(found.areas.value("Cr")).sum())
    began = time.perf_counter()
    text = grid_page(
        found.grid_result.maps,
        quality=found.quality,
        affine=made.data.affine,
        curves=found.fit.curves,
        statements=found.grid_result.statements,
    )
    made_in = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.html"
        path.write_text(text, encoding="utf-8")
        times = load_s(path)
    size = len(text.encode()) / 1e6
    print(
        f"  {size:.1f} MB, {len(found.grid_result.maps)} maps, {fitted} voxels with a spectrum, "
        f"made in {made_in:.0f} s"
    )
    if times is not None:
        print(
            f"  opened and drawn in {times[0]:.1f} s, of which Chromium itself {times[1]:.1f} s\n"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--echo-time", type=float, default=144.0, help="ms")
    parser.add_argument("--rim", default="metastasis_recurrence", help="tissue class of the rim")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    compile_fit(options.echo_time / 1e3)
    everything = not (options.memory or options.page or options.small)
    if options.small:
        end_to_end((12, 12, 1), options.echo_time / 1e3, options.seed, options.rim)
    if everything:
        for grid in ((32, 32, 1), (24, 24, 8)):
            end_to_end(grid, options.echo_time / 1e3, options.seed, options.rim)
    if everything or options.page:
        page()
    if everything or options.memory:
        memory()
    return 0


if __name__ == "__main__":
    sys.exit(main())
