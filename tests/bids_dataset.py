"""A small BIDS dataset of simulated spectra, as several test modules and benchmarks need it."""

import json

import numpy as np

from mrs_necrosis.io import write_nifti_mrs
from mrs_necrosis.simulation import phantom

TISSUES = ("radiation_necrosis", "metastasis_recurrence", "normal_white_matter")


def sidecar(data, **more):
    """Return the fields that BIDS requires, and more."""
    acquisition = data.acquisition
    return {
        "ResonantNucleus": ["1H"],
        "SpectrometerFrequency": [acquisition.spectrometer_frequency_mhz],
        "SpectralWidth": acquisition.spectral_width_hz,
        "EchoTime": acquisition.echo_time_s,
        "NumberOfSpectralPoints": data.n_samples,
        **more,
    }


def made(tissue, seed, *, grid=(1, 1, 1), water=False, snr=30.0, n_samples=1024):
    """Return simulated data at an echo time of 144 ms."""
    return phantom(
        tissue, np.random.default_rng(seed), grid=grid, spectrometer_frequency_mhz=123.2,
        echo_time_s=0.144, snr=snr, n_samples=n_samples, water_reference=water,
    ).data  # fmt: skip


def add(root, name, data, *, suffix="svs", metadata=None):
    """Add one acquisition: ``name`` is ``"sub-01_ses-02_acq-press"``."""
    levels = [part for part in name.split("_") if part.startswith(("sub-", "ses-"))]
    folder = root.joinpath(*levels, "mrs")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{suffix}.nii.gz"
    write_nifti_mrs(path, data)
    content = sidecar(data) if metadata is None else metadata
    (folder / f"{name}_{suffix}.json").write_text(json.dumps(content))
    return path


def describe(root):
    """Make the folder a dataset."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text(
        json.dumps({"Name": "simulated spectra", "BIDSVersion": "1.10.0", "License": "CC0"})
    )
    (root / "README").write_text("Simulated single voxels and grids; no person was measured.\n")


def dataset(root, participants=2, **options):
    """Write a dataset of single voxels, one per participant."""
    describe(root)
    for number in range(participants):
        data = made(TISSUES[number % len(TISSUES)], number, **options)
        add(root, f"sub-{number + 1:02d}", data)
    return root
