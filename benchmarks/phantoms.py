"""Phantoms that several benchmarks share; run alone it only says what they are."""

from __future__ import annotations

import numpy as np

from mrs_necrosis import Spectra
from mrs_necrosis.simulation import phantom
from mrs_necrosis.simulation.tissues import tissue_classes


def mixed_spectra(
    count: int, *, seed: int = 0, echo_time_s: float = 0.03, n_samples: int = 1024
) -> Spectra:
    """Return voxels of all tissue classes in turn: SNR 5-100, width 3-12 Hz, baseline, phase."""
    rng = np.random.default_rng(seed)
    classes = tissue_classes()
    grid = (-(-count // len(classes)), 1, 1)
    made = [
        phantom(
            name,
            rng,
            grid=grid,
            echo_time_s=echo_time_s,
            n_samples=n_samples,
            snr=5.0 * 20.0 ** rng.uniform(size=grid),
            linewidth_hz=rng.uniform(3, 12, grid),
            phase_rad=rng.uniform(-0.4, 0.4, grid),
            begin_time_s=rng.uniform(-1e-4, 1e-4, grid),
            shift_hz=rng.uniform(-4, 4, grid),
            baseline=0.3,
            lipid_variation=0.1,
        ).spectra
        for name in classes
    ]
    # one of each class in turn, so that any first few are mixed
    fid = np.stack([one.fid for one in made], axis=1).reshape(-1, 1, 1, n_samples)[:count]
    return Spectra(fid=fid, acquisition=made[0].acquisition)


if __name__ == "__main__":
    print(mixed_spectra.__doc__)
