"""Fixtures that several test modules share."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrs_necrosis import Spectra
from mrs_necrosis.fitting import fit
from mrs_necrosis.fitting.basis import model_from_basis
from mrs_necrosis.io import read
from mrs_necrosis.io.basis import read_basis
from mrs_necrosis.simulation import phantom
from mrs_necrosis.simulation.tissues import tissue_classes

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """Return the folder of real scanner files, which lies beside the project's root."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the scanner files in {SHARED_DATA}, which are not part of the project")
    return SHARED_DATA


@pytest.fixture(scope="session")
def challenge(shared_data):
    """Return number, areas and true concentrations of the challenge's first ten datasets."""
    folder = shared_data / "ismrm_challenge"
    given = read_basis(folder / "basis_jmrui")
    with (folder / "truth_datasets_1-10.csv").open() as file:
        truth = {row["metabolite"]: row for row in csv.DictReader(file)}
    datasets = []
    for k in range(1, 11):
        data = read(folder / "jmrui" / f"dataset{k}_WS.txt")
        acquisition = replace(data.acquisition, echo_time_s=0.03, sequence="PRESS")
        spectra = Spectra(fid=data.fid, acquisition=acquisition)
        # they are of healthy brain: there are no lipids
        areas = fit(spectra, model_from_basis(given, acquisition, lipids=False)).areas
        true = {
            name: float(truth[name][f"dataset{k}"]) for name in ("NAA+NAAG", "GPC+PCho", "Cr+PCr")
        }
        datasets.append((k, areas, true))
    return datasets


@pytest.fixture
def samples():
    """Return the folder of the project's own samples."""
    return ROOT / "data" / "samples"


def _mixed_spectra(per_class, *, seed=0, echo_time_s=0.03, n_samples=1024):
    """Return voxels of every tissue class in a row: SNR 5-60, width 4-10 Hz, some baseline."""
    rng = np.random.default_rng(seed)
    grid = (per_class, 1, 1)
    made = [
        phantom(
            name,
            rng,
            grid=grid,
            echo_time_s=echo_time_s,
            n_samples=n_samples,
            snr=5.0 * 12.0 ** rng.uniform(size=grid),
            linewidth_hz=rng.uniform(4, 10, grid),
            phase_rad=rng.uniform(-0.4, 0.4, grid),
            shift_hz=rng.uniform(-4, 4, grid),
            baseline=0.3,
            lipid_variation=0.1,
        ).spectra
        for name in tissue_classes()
    ]
    fid = np.concatenate([one.fid for one in made])
    return Spectra(fid=fid, acquisition=made[0].acquisition)


@pytest.fixture(scope="session")
def mixed_spectra():
    """Return the function that makes phantoms of every tissue class in one row of voxels."""
    return _mixed_spectra
