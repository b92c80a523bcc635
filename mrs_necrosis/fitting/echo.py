"""The model for spectra whose echo time nobody knows: at the one that they look most like."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from mrs_necrosis.fitting.model import Model
from mrs_necrosis.fitting.optimum import noise_in_fit, noise_unit, optimise
from mrs_necrosis.fitting.pieces import PIECE, some_of
from mrs_necrosis.fitting.posterior import log_evidence
from mrs_necrosis.fitting.priors import default_model
from mrs_necrosis.fitting.problem import prepare
from mrs_necrosis.fitting.solver import choose_backend, solver_for
from mrs_necrosis.spectra import Spectra

if TYPE_CHECKING:
    from numpy.typing import NDArray


ECHO_TIMES_S = (0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28)
"""Echo times that are tried: between two of them coupled lines change little."""

MOST_VOXELS = 16
"""Voxels of a grid that are asked: those with most in ``ASKED_PPM``, where scalp has little."""

ASKED_PPM = (1.9, 3.4)


def suited_model(
    spectra: Spectra, *, kind: Literal["auto", "metabolites", "peaks"] = "auto"
) -> Model:
    """Return the model that suits spectra.

    ``default_model`` of their acquisition. Where that does not know its echo time, whole
    metabolites are laid under the spectra as they look at each of ``ECHO_TIMES_S``, and the model
    with the most evidence is taken; the echo time stays unknown to everything else.

    Parameters
    ----------
    spectra : Spectra
        Of any grid.
    kind : {"auto", "metabolites", "peaks"}
        As for ``default_model``, but ``"auto"`` is always metabolites.

    Returns
    -------
    Model
        ``assumed`` says which echo time was taken.

    Raises
    ------
    ValueError
        If the nucleus is known and is not 1H, or there is no such kind.
    FitError
        If no model can be laid under these spectra.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> made = phantom("normal_white_matter", np.random.default_rng(1), echo_time_s=0.144)
    >>> unknown = replace(made.spectra.acquisition, echo_time_s=None)
    >>> model = suited_model(replace(made.spectra, acquisition=unknown))
    >>> "coupled spins were fitted as in a PRESS of 140 ms" in model.assumed[0]
    True
    """
    from mrs_necrosis.simulation.spins import known_sequence

    acquisition = spectra.acquisition
    if acquisition.echo_time_s is not None or kind == "peaks":
        return default_model(acquisition, kind=kind)
    rows = _strongest(spectra)
    if rows.size == 0:
        return default_model(acquisition, kind=kind)
    models = [
        default_model(replace(acquisition, echo_time_s=echo_time_s), kind=kind)
        for echo_time_s in ECHO_TIMES_S
    ]
    strongest = some_of(spectra, rows)
    with threadpool_limits(limits=1, user_api="blas"):
        evidence = np.array([_evidence(strongest, model) for model in models])
    sure = np.isfinite(evidence).all(axis=0)
    if not sure.any():
        return default_model(acquisition, kind=kind)
    likely = int(evidence[:, sure].sum(axis=1).argmax())
    tried = [f"{1e3 * echo_time_s:.0f}" for echo_time_s in ECHO_TIMES_S]
    sequence = known_sequence(acquisition.sequence) or "PRESS"
    return replace(
        models[likely],
        assumed=(
            f"The echo time is unknown: coupled spins were fitted as in a {sequence} of "
            f"{tried[likely]} ms, which the spectra look most like of {', '.join(tried)} ms; give "
            "it if you know it.",
        ),
    )


def _strongest(spectra: Spectra) -> NDArray[np.intp]:
    """Return the voxels that say most of metabolites."""
    rows = np.flatnonzero(spectra.voxels_to_fit)
    asked = (spectra.ppm > ASKED_PPM[0]) & (spectra.ppm < ASKED_PPM[1])
    flat = spectra.fid.reshape(-1, spectra.n_samples)
    energy = np.zeros(rows.size)
    for start in range(0, rows.size, PIECE):
        some = slice(start, start + PIECE)
        lines = np.fft.fftshift(np.fft.fft(flat[rows[some]]), axes=1)[:, asked]
        energy[some] = (np.abs(lines) ** 2).sum(axis=1)
    energy = np.where(np.isfinite(energy), energy, 0.0)
    order = np.argsort(-energy, kind="stable")[:MOST_VOXELS]
    strongest: NDArray[np.intp] = rows[order[energy[order] > 0]]
    return strongest


def _evidence(spectra: Spectra, model: Model) -> NDArray[np.float64]:
    """Return the log evidence of a model in each of a few voxels; NaN where it has none."""
    problem = prepare(spectra, model)
    fids = spectra.fid.reshape(-1, spectra.n_samples)
    solver = solver_for(problem, choose_backend("auto", len(fids) * len(ECHO_TIMES_S)), 1)
    data = problem.in_band(fids)
    data = data / noise_unit(data, noise_in_fit(spectra, problem))[:, None]
    evidence = np.full(len(fids), np.nan)
    for i in range(len(fids)):
        # a voxel under which no model can be laid has nothing to say, and takes none along
        with np.errstate(invalid="ignore", over="ignore"), suppress(np.linalg.LinAlgError):
            evidence[i] = log_evidence(optimise(solver, data[i : i + 1]))[0]
    return evidence
