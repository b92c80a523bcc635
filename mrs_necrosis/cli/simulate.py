"""``mrs-necrosis simulate``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mrs_necrosis.cli.console import EXIT_OK, say
from mrs_necrosis.cli.values import (
    FIELD,
    FREQUENCY,
    TIME,
    amount_value,
    number_value,
    path_value,
    whole_value,
)
from mrs_necrosis.errors import OutputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mrs_necrosis.simulation.phantoms import Phantom


def add_simulate(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("tissue", metavar="TISSUE",
                        help="tissue class; a wrong one lists them")  # fmt: skip
    parser.add_argument("--out", type=path_value, required=True, metavar="FILE.nii.gz",
                        help="NIfTI-MRS; the truth goes to FILE.truth.json")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--seed", type=whole_value(0), default=0, help="of all chance (0)")
    parser.add_argument("--grid", type=int, nargs=3, default=(1, 1, 1), metavar=("X", "Y", "Z"),
                        help="voxels (1 1 1): one of 20 mm, or many of 10 mm")  # fmt: skip
    parser.add_argument("--echo-time", "--te", type=TIME, default=0.03, metavar="30ms")
    parser.add_argument("--sequence", default="PRESS", help="PRESS, STEAM or sLASER (PRESS)")
    strength = parser.add_mutually_exclusive_group()
    strength.add_argument("--field", type=FIELD, metavar="3T")
    strength.add_argument("--frequency", type=FREQUENCY, default=123.2, metavar="123.2MHz")
    parser.add_argument("--snr", type=number_value(0, math.inf), default=20.0)
    parser.add_argument("--linewidth", type=number_value(0, 1000), default=6.0, metavar="HZ")
    parser.add_argument("--phase", type=number_value(-360, 360), default=0.0, metavar="DEGREES")
    parser.add_argument("--shift", type=number_value(-1000, 1000), default=0.0, metavar="HZ")
    parser.add_argument("--residual-water", type=amount_value(1e6), default=0.0,
                        metavar="X", help="over the largest of Cho, Cr, NAA (0)")  # fmt: skip
    parser.add_argument("--baseline", type=amount_value(100), default=0.0, metavar="X",
                        help="over the height of the tallest peak (0)")  # fmt: skip
    parser.add_argument("--coils", type=int, default=1)
    parser.add_argument("--averages", type=int, default=1)
    parser.add_argument("--water-reference", type=path_value, metavar="FILE.nii.gz",
                        help="write a water reference as well")  # fmt: skip


def run_simulate(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    import numpy as np

    from mrs_necrosis.constants import PROTON_MHZ_PER_TESLA
    from mrs_necrosis.io import write_nifti_mrs
    from mrs_necrosis.simulation import phantom
    from mrs_necrosis.staging import write_atomically

    name = options.out.name
    if not name.endswith((".nii", ".nii.gz")):
        options.parser.error(f"--out must end in .nii or .nii.gz; got {name!r}")
    truth_path = options.out.with_name(name.removesuffix(".gz").removesuffix(".nii"))
    truth_path = truth_path.with_name(truth_path.name + ".truth.json")
    targets = [options.out, truth_path, *filter(None, [options.water_reference])]
    if options.water_reference in targets[:2]:
        options.parser.error("--water-reference and --out must be two files")
    for target in targets:
        if target.exists() and not options.overwrite:
            msg = f"{target.name} exists already; choose another place or give --overwrite"
            raise OutputError(msg)
        if not target.parent.is_dir():
            msg = f"the folder of {target.name} does not exist"
            raise OutputError(msg)
    frequency = options.frequency
    if options.field is not None:
        frequency = options.field * PROTON_MHZ_PER_TESLA
    try:
        made = phantom(
            options.tissue, np.random.default_rng(options.seed), grid=tuple(options.grid),
            spectrometer_frequency_mhz=frequency, echo_time_s=options.echo_time,
            sequence=options.sequence, snr=options.snr, linewidth_hz=options.linewidth,
            phase_rad=math.radians(options.phase), shift_hz=options.shift,
            residual_water=options.residual_water, baseline=options.baseline,
            coils=options.coils, averages=options.averages,
            water_reference=options.water_reference is not None,
            affine=_centred(options.grid),
        )  # fmt: skip
    except (ValueError, KeyError) as error:
        options.parser.error(str(error.args[0]))
    write_nifti_mrs(options.out, made.data)
    if options.water_reference is not None and made.data.water is not None:
        write_nifti_mrs(options.water_reference, made.data.water)
    write_atomically(truth_path, _truth(options, made).encode())
    if not options.quiet:
        say(f"written to {options.out} and {truth_path}")
    return EXIT_OK


def _centred(grid: Sequence[int]) -> NDArray[Any]:
    """Return a place for simulated voxels, so that masks and anatomy can be tried on them."""
    import numpy as np

    edge_mm = 20.0 if tuple(grid) == (1, 1, 1) else 10.0
    affine = np.diag([edge_mm, edge_mm, edge_mm, 1.0])
    affine[:3, 3] = -edge_mm * (np.array(grid) - 1) / 2
    return affine


def _truth(options: argparse.Namespace, made: Phantom) -> str:
    import json

    from mrs_necrosis.report.document import plain

    truth = made.truth
    document = {
        "schema": "mrs-necrosis/truth/1",
        "tissue": options.tissue,
        "seed": options.seed,
        "areas": {name: plain(truth.areas.value(name)) for name in truth.areas.names},
        "snr": plain(truth.snr),
        "noise_sd": plain(truth.noise_sd),
        "parameters": plain(truth.parameters),
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"
