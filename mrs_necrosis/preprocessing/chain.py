"""All steps in their order, each chosen by what the data hold."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mrs_necrosis.arguments import NUMBER, Progress, check_progress, check_type
from mrs_necrosis.constants import WATER_PPM
from mrs_necrosis.errors import MRSNecrosisWarning, SignalError
from mrs_necrosis.preprocessing import (
    averages,
    coils,
    denoising,
    eddy_currents,
    kspace,
    lipids,
    referencing,
    water,
)
from mrs_necrosis.preprocessing.noise import has_signal
from mrs_necrosis.preprocessing.search import Reference
from mrs_necrosis.spectra import Acquisition, Spectra, SpectralData, Step, check_spectral_data

_LARGEST = 1e100
"""Samples beyond this, or all below its inverse, would leave the range of their squares."""

_START_S = 0.01
_LEAST_START = 0.005
"""Power of the signal's first 10 ms over that of its loudest: suppressed water in antiphase grows
from zero and still has 0.02, what a filter's delay leaves is below 0.0001."""

_FEW_FIDS = 256
"""So many FIDs are looked at for how they begin; one that is damaged does not decide."""

_UNSURE = 0.7
"""A single spectrum whose reference is less sure than this is warned of."""

Switch = bool | Literal["auto"]
"""``"auto"``: where the data call for it; False: never; True: as ``preprocess`` says of each."""


def preprocess(
    data: SpectralData,
    *,
    combine_coils: Switch = "auto",
    align_averages: Switch = "auto",
    reject_averages: Switch = "auto",
    average: Switch = "auto",
    correct_eddy_currents: Switch = "auto",
    remove_water: Switch = "auto",
    phase: Switch = "auto",
    reference_shift: Switch = "auto",
    filter_kspace: bool = False,
    zero_fill_to: tuple[int, int, int] | None = None,
    denoise: bool = False,
    suppress_lipids: bool = False,
    find_mask: Switch = "auto",
    flag_scalp_lipid: Switch = "auto",
    phase_deg: float | None = None,
    shift_ppm: float | None = None,
    progress: Progress | None = None,
) -> Spectra:
    """Reduce what a file holds to one clean, phased and referenced FID per voxel.

    Parameters
    ----------
    data : SpectralData
        As read.
    combine_coils, average : "auto", True or False
        A fit takes one FID per voxel, so False is refused where the data have the axis.
    align_averages, reject_averages : "auto", True or False
        Before averaging, where there is more than one average.
    correct_eddy_currents : "auto", True or False
        Where there is an unsuppressed water reference; True makes its absence an error.
    remove_water : "auto", True or False
        In the voxels where residual water is found, or in all.
    phase, reference_shift : "auto", True or False
        Whether to remove the phase and the offset of the axis.
    filter_kspace, zero_fill_to
        For grids: a Hamming filter and interpolation in k-space, on demand only.
    denoise, suppress_lipids : bool
        For grids, on demand only, because each has a price that its function states.
    find_mask, flag_scalp_lipid : "auto", True or False
        For grids: leave voxels of mere noise out of the fit; say where lipid of the scalp
        reaches in.
    phase_deg, shift_ppm : float or None
        Known phase of the spectrum in degrees and known distance of its peaks above their
        chemical shift, to be taken out instead of what would be found.
    progress : callable or None
        Called with the number of voxels done and to do, during water removal.

    Returns
    -------
    Spectra
        ``history`` tells what was done. Voxels that are zero or not finite pass through.

    Raises
    ------
    SignalError
        If there is nothing to process: no voxel holds finite samples other than zero, the data
        are edited or of another nucleus than 1H, or a step that was asked for cannot be done.
    TypeError
        If the data are something else, such as a path, or another argument is.
    ValueError
        If a switch is none of the three, or the result could not have one FID per voxel.

    Examples
    --------
    >>> import numpy as np
    >>> from mrs_necrosis.simulation import phantom
    >>> rng = np.random.default_rng(1)
    >>> made = phantom("normal_white_matter", rng, coils=2, averages=4)
    >>> spectra = preprocess(made.data)
    >>> made.data.fid.shape, spectra.fid.shape
    ((1, 1, 1, 1024, 2, 4), (1, 1, 1, 1024))
    >>> [step.name for step in spectra.history][1:4]
    ['combine_coils', 'align_averages', 'average']
    """
    check_spectral_data(data)
    switches = {
        "combine_coils": combine_coils,
        "align_averages": align_averages,
        "reject_averages": reject_averages,
        "average": average,
        "correct_eddy_currents": correct_eddy_currents,
        "remove_water": remove_water,
        "phase": phase,
        "reference_shift": reference_shift,
        "find_mask": find_mask,
        "flag_scalp_lipid": flag_scalp_lipid,
    }
    _check_switches(switches)
    _check_known(phase_deg=phase_deg, shift_ppm=shift_ppm)
    for name, asked in (
        ("filter_kspace", filter_kspace), ("denoise", denoise),
        ("suppress_lipids", suppress_lipids),
    ):  # fmt: skip
        check_type(name, asked, bool, "True or False")
    check_progress(progress)
    check_data(data)
    data = _without_single_steps(data)
    _check_axes(data, switches)

    # more threads round sums in another order: the same file would give other last digits
    with threadpool_limits(limits=1, user_api="blas"):
        reduced = _reduced(
            data, align=align_averages is not False, reject=reject_averages is not False
        )
        if filter_kspace or zero_fill_to is not None:
            reduced = kspace.filter_kspace(
                reduced, window="hamming" if filter_kspace else None, zero_fill_to=zero_fill_to
            )
        _check_signal(reduced.fid)
        reason = eddy_currents.why_no_water_reference(reduced)
        if correct_eddy_currents is True and reason:
            raise SignalError(reason)
        if correct_eddy_currents is not False:
            reduced = eddy_currents.correct_eddy_currents(reduced)
        spectra, water_ppm = _without_water(
            reduced, remove_water, has_reference=not reason, progress=progress
        )
        is_grid = spectra.voxels_to_fit.size > 1
        referenced = _referenced(
            spectra,
            water_ppm - WATER_PPM,
            phase_of_water=not reason and correct_eddy_currents is not False,
            phase=phase is not False,
            shift=reference_shift is not False,
            phase_deg=phase_deg,
            shift_ppm=shift_ppm,
        )
        if denoise:
            # what is phased and referenced is more alike, and so of lower rank
            referenced = denoising.denoise(referenced)
        if find_mask is True or (find_mask == "auto" and is_grid):
            referenced = lipids.find_mask(referenced)
        if flag_scalp_lipid is True or (flag_scalp_lipid == "auto" and is_grid):
            referenced = lipids.flag_scalp_lipid(referenced)
        return lipids.suppress_lipids(referenced) if suppress_lipids else referenced


def _check_switches(switches: Mapping[str, object]) -> None:
    for name, switch in switches.items():
        if not isinstance(switch, (bool, str)) or switch not in {True, False, "auto"}:
            msg = f'{name} must be "auto", True or False; got {switch!r}'
            raise ValueError(msg)


def _check_axes(data: SpectralData, switches: Mapping[str, Switch]) -> None:
    """Refuse to leave an axis that a fit cannot take."""
    for name, axes in (("combine_coils", ("DIM_COIL",)), ("average", averages.AVERAGING_DIMS)):
        present = [axis for axis in axes if axis in data.dims]
        if switches[name] is False and present:
            msg = f"{name}=False would leave {present[0]}, but a fit takes one FID per voxel"
            raise ValueError(msg)


def _check_known(**numbers: object) -> None:
    for name, number in numbers.items():
        if number is not None and not (isinstance(number, NUMBER) and math.isfinite(number)):
            msg = f"{name} must be a finite number; got {number!r}"
            raise ValueError(msg)


def _without_water(
    data: SpectralData,
    remove: Switch,
    *,
    has_reference: bool,
    progress: Progress | None,
) -> tuple[Spectra, NDArray[np.float64]]:
    """Return spectra without residual water, and where in ppm water was seen; NaN if nowhere."""
    with_residue, residue_ppm = water.find_water(data)
    height = water.water_height(data)
    if remove is not False:
        data = water.remove_water(data, everywhere=remove is True, progress=progress)
    seen_ppm = np.where(with_residue, residue_ppm, np.nan)
    area = None
    if has_reference and data.water is not None:
        area = eddy_currents.water_area(data.water)
        seen_ppm = _of_the_reference(data.water, data.acquisition, seen_ppm)
    spectra = Spectra(
        fid=data.fid,
        acquisition=data.acquisition,
        affine=data.affine,
        water_area=area,
        history=data.history,
        source_format=data.source_format,
        water_ratio=water.water_ratio(data, height),
    )
    return spectra, seen_ppm


def _of_the_reference(
    water: SpectralData, acquisition: Acquisition, otherwise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return where in ppm the reference shows the water; `otherwise` where it does not."""
    away_ppm = eddy_currents.water_frequency_hz(water) / acquisition.spectrometer_frequency_mhz
    seen = acquisition.reference_or_water_ppm + away_ppm
    found: NDArray[np.float64] = np.where(np.isfinite(seen), seen, otherwise)
    return found


def check_data(data: SpectralData) -> None:
    """Refuse what cannot be processed, whatever the steps.

    Parameters
    ----------
    data : SpectralData
        As read.

    Raises
    ------
    SignalError
        If there is nothing to process, or the data are edited or of another nucleus than 1H.
    """
    if data.acquisition.nucleus not in {None, "1H"}:
        msg = f"the data are of {data.acquisition.nucleus}; only 1H is processed"
        raise SignalError(msg)
    if data.acquisition.is_edited:
        msg = (
            f"the sequence ({data.acquisition.sequence}) edits the spectrum, and the ratios of an "
            "edited spectrum have another meaning; if this is an unedited one, give its sequence, "
            'such as "PRESS" (on the command line --sequence PRESS)'
        )
        raise SignalError(msg)
    _check_signal(data.fid)
    _check_start(data)


def _check_start(data: SpectralData) -> None:
    """Refuse signals that begin late, whose first-order phase no search would find."""
    fids = np.moveaxis(data.fid, 3, -1).reshape(-1, data.n_samples)
    fids = fids[:: len(fids) // _FEW_FIDS + 1]
    power = np.abs(fids[has_signal(fids)]) ** 2
    n = round(_START_S / data.acquisition.dwell_time_s)
    pieces = power[:, : power.shape[1] // n * n].reshape(len(power), -1, n)
    loudness = np.median(pieces, axis=2)  # one spike makes no piece loud
    if not loudness.size or loudness.shape[1] < 2:
        return
    loudest = np.maximum(loudness.max(axis=1), np.finfo(np.float64).tiny)
    if np.median(loudness[:, 0] / loudest) < _LEAST_START:
        late = np.argmax(power > 0.5 * loudest[:, None], axis=1)
        msg = (
            f"the signal begins late, about {np.median(late):.0f} samples after the first: what "
            "lies before it, such as the delay of a digital filter, must be cut off"
        )
        raise SignalError(msg)


def _without_single_steps(data: SpectralData) -> SpectralData:
    """Return the data without axes of one step, which repeat nothing; an edit stays one."""
    kept = {"DIM_COIL", "DIM_DYN", "DIM_EDIT"}
    single = [at for at, name in enumerate(data.dims, 4)
              if data.fid.shape[at] == 1 and name not in kept]  # fmt: skip
    water = None if data.water is None else _without_single_steps(data.water)
    if not single:
        return data if water is data.water else replace(data, water=water)
    dims = tuple(name for at, name in enumerate(data.dims, 4) if at not in single)
    return replace(data, fid=data.fid.squeeze(tuple(single)), dims=dims, water=water)


def _without_infinity(data: SpectralData) -> SpectralData:
    """Return the data with infinite samples as NaN, which arithmetic passes on in silence."""
    water = None if data.water is None else _without_infinity(data.water)
    if not np.isinf(data.fid).any():
        return data if water is data.water else replace(data, water=water)
    return replace(data, fid=np.where(np.isinf(data.fid), np.nan, data.fid), water=water)


def _check_signal(fid: NDArray[np.complex128]) -> None:
    finite = np.isfinite(fid)
    if not finite.any():
        msg = "every sample of the data is NaN or infinite; there is nothing to process"
        raise SignalError(msg)
    if not (finite & (fid != 0)).any():
        msg = "every sample of the data is zero; there is nothing to process"
        raise SignalError(msg)
    largest = float(np.abs(fid[finite]).max())
    if not 1.0 / _LARGEST < largest < _LARGEST:
        msg = f"the largest sample is {largest:.1g}; numbers of that size are damage, not a signal"
        raise SignalError(msg)
    if not has_signal(np.moveaxis(fid, 3, -1)).any():
        msg = (
            "no FID of the data is free of NaN and other than zero throughout; there is nothing "
            "to process"
        )
        raise SignalError(msg)


def _reduced(data: SpectralData, *, align: bool, reject: bool) -> SpectralData:
    """Return one FID per voxel, and one of its water reference."""
    reduced = coils.combine_coils(_without_infinity(data))
    reduced = _averaged(reduced, align=align, reject=reject)
    if reduced.water is None:
        return reduced
    reference = _averaged(coils.combine_coils(reduced.water), align=True, reject=True)
    return replace(reduced, water=reference)


def _averaged(data: SpectralData, *, align: bool, reject: bool) -> SpectralData:
    if align:
        data = averages.align_averages(data)
    if reject:
        data = averages.reject_averages(data)
    return averages.average(data)


def _referenced(
    spectra: Spectra,
    water_shift_ppm: NDArray[np.float64],
    *,
    phase_of_water: bool,
    phase: bool,
    shift: bool,
    phase_deg: float | None,
    shift_ppm: float | None,
) -> Spectra:
    """Remove phase and offset, the given ones or those found."""
    grid = spectra.grid
    found = None
    if (phase and phase_deg is None) or (shift and shift_ppm is None):
        found = referencing.find_reference(
            spectra, water_shift_ppm=water_shift_ppm, phase_of_water=phase_of_water
        )
    if phase_deg is not None:
        turn = np.exp(-1j * np.radians(phase_deg))
        step = Step("phase", {"phase_deg": phase_deg, "given": True}, "The phase was given.")
        spectra = spectra.done(step, fid=spectra.fid * turn)
    elif phase and found is not None:
        spectra = referencing.phase(spectra, found)
    if shift_ppm is not None:
        step = Step(
            "reference_shift",
            {"shift_ppm": shift_ppm, "given": True},
            f"The axis was moved by {-shift_ppm:+.3f} ppm, as given.",
        )
        moved = referencing.moved(spectra, np.full(grid, float(shift_ppm)), step)
        spectra = replace(moved, reference_confidence=np.ones(grid))
    elif shift and found is not None:
        spectra = replace(
            referencing.reference_shift(spectra, found), reference_confidence=found.confidence
        )
        if found.confidence.size == 1 and found.confidence.item() < _UNSURE:
            warnings.warn(_unsure(found, spectra.acquisition), MRSNecrosisWarning, stacklevel=3)
    return spectra


def _unsure(found: Reference, acquisition: Acquisition) -> str:
    if found.stretch != 1.0:
        return found.stretch_sentence(acquisition)
    return (
        f"the chemical shift of this spectrum is uncertain (confidence "
        f"{found.confidence.item():.2f}), and peaks may be taken for others: look at the "
        "figure, or give shift_ppm and phase_deg (on the command line --shift and --phase)"
    )
