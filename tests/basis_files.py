"""Basis sets as others may bring them: measured macromolecules, and FSL-MRS' JSON."""

import json

import numpy as np

from mrs_necrosis.fitting.model import GAUSS_RATE
from mrs_necrosis.simulation.tissues import tissue_data


def macromolecules(
    *, width_ppm=0.14, offset_ppm=0.0, phase=0.0, mhz=123.2, dwell_time_s=5e-4, n_samples=1200
):
    """Return what a site may have measured: the published lines, all of one width."""
    t = np.arange(n_samples) * dwell_time_s
    fid = np.zeros(t.size, dtype=complex)
    for ppm, _, area in tissue_data()["macromolecules"].values():
        hz = (ppm + offset_ppm - 4.65) * mhz
        fid += area * np.exp(2j * np.pi * hz * t - GAUSS_RATE * (width_ppm * mhz * t) ** 2)
    return 7 * np.exp(1j * phase) * fid


def fsl_json(fid, name, *, mhz=123.2, dwell_time_s=5e-4, **changes):
    """Return the text that FSL-MRS would write."""
    basis = {
        "basis_re": fid.real.tolist(), "basis_im": fid.imag.tolist(), "basis_dwell": dwell_time_s,
        "basis_centre": mhz, "basis_width": 2, "basis_name": name,
    }  # fmt: skip
    return json.dumps({"basis": basis | changes, "meta": {"SimVersion": "x"}})


def macromolecule_json(acquisition, **changes):
    """Return a file's text with macromolecules for the data of an acquisition."""
    of = {
        "mhz": acquisition.spectrometer_frequency_mhz,
        "dwell_time_s": acquisition.dwell_time_s,
    }
    return fsl_json(macromolecules(**of, **changes), "MM", **of)
