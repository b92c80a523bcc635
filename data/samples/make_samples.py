"""Make the samples of this folder: python data/samples/make_samples.py [FOLDER].

All spectra are simulated; none comes from a person. The same versions of Python and numpy give
the same bytes; other ones agree to about 1e-6.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.io import write_nifti_mrs
from mrs_necrosis.simulation.grids import LABELS, grid_phantom
from mrs_necrosis.simulation.phantoms import Phantom, phantom
from mrs_necrosis.simulation.tissues import sums, typical, with_sums
from mrs_necrosis.spectra import Acquisition, SpectralData

SEED = 20120901
REFERENCE = {"LL": 108964.0, "Cho": 33671.0, "Cr": 29534.0, "NAA": 31278.0}
NORMAL_CREATINE = 29534.0 / 0.55  # the unit of the other samples, so that numbers look alike
TRUTH = ("LL", "Cho", "Cr", "NAA", "Lac", "Lip13", "Lip09", "Lip20", "mI", "Glx", "MM")
SVS = {
    "spectrometer_frequency_mhz": 123.2,
    "sequence": "PRESS",
    "repetition_time_s": 2.0,
    "n_samples": 2048,
    "dwell_time_s": 5e-4,
    "affine": np.array(
        [[-20.0, 0, 0, -32.0], [0, -20.0, 0, -41.0], [0, 0, 20.0, 38.0], [0, 0, 0, 1.0]]
    ),
}
CLEAN = {"linewidth_hz": 5.5, "baseline": 0.03, "residual_water": 2.0}
POOR = {"linewidth_hz": 17.0, "baseline": 0.4, "residual_water": 60.0}


def reference_areas(echo_time_s: float) -> PeakAreas:
    """Return the reported values as true areas, everything else as in a typical necrosis.

    The report gives LL alone. That LL is lactate, lipid 1.3 and lipid 0.9 in the proportions of
    the simulator's typical radiation necrosis at this echo time is an ASSUMPTION, as are all
    other metabolites, the macromolecules, and that the four values hold at either echo time.
    """
    tissue = typical("radiation_necrosis", echo_time_s=echo_time_s)
    creatine = REFERENCE["Cr"] / float(tissue.value("Cr"))
    lipid = REFERENCE["LL"] / float(tissue.value("LL"))
    parts = {}
    for name in tissue.names:
        scale = lipid if name in {"Lac", "Lip13", "Lip09", "Lip20"} else creatine
        parts[name] = tissue.value(name) * scale
    parts |= {name: np.array(REFERENCE[name]) for name in ("Cho", "Cr", "NAA")}
    return with_sums({name: value for name, value in parts.items() if name not in sums()})


def class_areas(group: str, echo_time_s: float) -> PeakAreas:
    """Return the typical tissue of a class on the scale of the reference case."""
    tissue = typical(group, echo_time_s=echo_time_s)
    return PeakAreas(tissue.names, tissue.values * NORMAL_CREATINE)


def phosphorus(rng: np.random.Generator) -> SpectralData:
    """Return a 31P FID with the usual lines of muscle, which proton software must refuse."""
    frequency_mhz, dwell_s, n = 49.9, 2.5e-4, 1024
    time_s = np.arange(n) * dwell_s
    lines = (  # ppm, amplitude, width in Hz
        (0.0, 1.0, 8.0), (4.9, 0.25, 15.0), (-2.5, 0.5, 20.0), (-7.6, 0.5, 20.0),
        (-16.2, 0.4, 25.0),
    )  # fmt: skip
    fid = sum(
        amplitude * np.exp((2j * np.pi * ppm * frequency_mhz - np.pi * width) * time_s)
        for ppm, amplitude, width in lines
    )
    noise = 0.02 * (rng.standard_normal(n) + 1j * rng.standard_normal(n))
    return SpectralData(
        fid=(fid + noise).reshape(1, 1, 1, n),
        acquisition=Acquisition(
            spectrometer_frequency_mhz=frequency_mhz,
            dwell_time_s=dwell_s,
            repetition_time_s=3.0,
            sequence="PULSE-ACQUIRE",
            nucleus="31P",
            reference_ppm=0.0,
            manufacturer="simulation",
        ),
        affine=SVS["affine"],
    )


def spectra() -> dict[str, Phantom]:
    """Return the simulated proton samples by name."""
    tumour, normal, necrosis = (
        "recurrent_hgg_low_lipid",
        "normal_white_matter",
        "radiation_necrosis",
    )
    cases = (
        # name, areas, echo time, snr, phase, shift, the rest
        ("reference_case_te30", reference_areas, 0.030, 60.0, 0.3, 2.0, CLEAN),
        ("reference_case_te144", reference_areas, 0.144, 60.0, -0.4, -3.0, CLEAN),
        ("recurrence_te30", tumour, 0.030, 40.0, 0.5, 1.0, CLEAN),
        ("recurrence_te144", tumour, 0.144, 40.0, 0.2, -2.0, CLEAN),
        ("normal_te30", normal, 0.030, 60.0, -0.2, 0.0, CLEAN),
        ("normal_te144", normal, 0.144, 60.0, 0.1, 1.5, CLEAN),
        ("too_poor_te144", necrosis, 0.144, 2.5, 1.0, 4.0, POOR),
    )
    made = {}
    for number, (name, source, echo_time_s, snr, phase_rad, shift_hz, settings) in enumerate(
        cases
    ):
        areas = (
            class_areas(source, echo_time_s) if isinstance(source, str) else source(echo_time_s)
        )
        made[name] = phantom(
            areas,
            np.random.default_rng([SEED, number]),
            echo_time_s=echo_time_s,
            echo_times_s=(0.011, round(echo_time_s - 0.011, 6)),
            snr=snr,
            phase_rad=phase_rad,
            shift_hz=shift_hz,
            **SVS,
            **settings,
        )
    return made


def image() -> Phantom:
    """Return a small spectroscopic image."""
    made = grid_phantom(
        np.random.default_rng([SEED, 100]),
        grid=(10, 10, 1),
        echo_time_s=0.144,
        n_samples=512,
        dwell_time_s=8e-4,
        snr=30.0,
        lesion_radius=0.5,
        b0_hz=6.0,
        voxel_size_mm=(16.0, 16.0, 15.0),
    )
    return Phantom(replace(made.data, fid=made.data.fid * NORMAL_CREATINE), made.truth)


def single_precision(data: SpectralData) -> SpectralData:
    """Return the data as a file in single precision holds them, which also halves the file."""
    return SpectralData(
        fid=data.fid.astype(np.complex64),
        acquisition=data.acquisition,
        dims=data.dims,
        affine=data.affine,
    )


def truth_table(made: dict[str, Phantom], grid: Phantom) -> str:
    """Return the true areas as TOML."""
    lines = [
        "# True areas of the simulated spectra beside this file (make_samples.py). How LL divides",
        "# into lipid and lactate, and all that is not LL, Cho, Cr and NAA, is an assumption of",
        "# the simulation.",
    ]
    for name, one in made.items():
        acquisition = one.data.acquisition
        lines += [
            "",
            f"[{name}]",
            f"echo_time_ms = {1000 * acquisition.echo_time_s:g}",
            f"field_t = {acquisition.field_t:.3f}",
            f"snr = {one.truth.snr.item():g}",
            f"linewidth_hz = {one.truth.parameters['linewidth_hz'].item():g}",
        ]
        lines += [f"{peak} = {one.truth.areas.value(peak).item():.7g}" for peak in TRUTH]
    labels = grid.truth.labels[:, :, 0]
    lines += [
        "",
        "[grid_te144]",
        "# what each voxel is: one row of digits per index along X, one digit per index along Y",
        f"labels = {list(LABELS)}".replace("'", '"'),
        "map = [",
        *(f'  "{"".join(str(label) for label in row)}",' for row in labels),
        "]",
    ]
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    made = spectra()
    for name, one in made.items():
        write_nifti_mrs(folder / f"{name}.nii.gz", single_precision(one.data))
    grid = image()
    write_nifti_mrs(folder / "grid_te144.nii.gz", single_precision(grid.data))
    rng = np.random.default_rng([SEED, 31])
    write_nifti_mrs(folder / "phosphorus_31p.nii.gz", single_precision(phosphorus(rng)))
    (folder / "truth.toml").write_text(truth_table(made, grid), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
