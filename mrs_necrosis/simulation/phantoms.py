"""Spectra with known truth: tissue, lines, and everything that goes wrong in a scanner."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.arguments import check_generator, check_type, read_only
from mrs_necrosis.constants import WATER_PPM
from mrs_necrosis.simulation.signal import (
    TOPS,
    BaselineKind,
    Voigt,
    baseline_fids,
    broad_fids,
    eddy_current,
    measured,
    metabolite_fids,
    receivers,
    tallest,
    voigt_widths_hz,
    water_fids,
)
from mrs_necrosis.simulation.spins import SEQUENCES, known_sequence, spin_systems
from mrs_necrosis.simulation.tissues import (
    LIPIDS,
    cohort,
    macromolecule_names,
    sums,
    tissue_data,
    with_sums,
)
from mrs_necrosis.spectra import Acquisition, Spectra, SpectralData, Step

if TYPE_CHECKING:
    from collections.abc import Mapping


LipidShape = Literal["gaussian", "asymmetric"]

_MOST_SAMPLES: Final = 2**26  # at once, 1 GB; ten times as much is needed on the way

_WATER_OVER_LARGEST: Final = 3000.0


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What a phantom is made of.

    Parameters
    ----------
    areas : PeakAreas
        Values (X, Y, Z, K) at the echo time: Cho, Cr, NAA, LL, Lac, Lip13, Lip09, Lip20, mI,
        Glx, MM and the parts of the sums. Magnitudes: lactate counts as positive where its
        doublet is inverted.
    noise_sd : ndarray of float64, shape (X, Y, Z)
        Standard deviation of the real part of one sample of the (combined, averaged) FID. In the
        unscaled spectrum it is ``sqrt(N)`` times that.
    snr : ndarray of float64, shape (X, Y, Z)
        Tallest of NAA, Cr and Cho in the noise-free, phased spectrum of the metabolites over the
        standard deviation of the real part of the spectrum's noise.
    parameters : mapping of str to ndarray of float64, shape (X, Y, Z)
        ``phase_rad``, ``begin_time_s``, ``shift_hz``, ``linewidth_hz`` (of the Voigt line),
        ``lorentz_hz``, ``gauss_hz``, ``lipid_width`` (factor), ``lipid_shift_ppm``.
    components : mapping of str to ndarray of complex128, shape (X, Y, Z, N)
        FIDs of ``metabolites``, ``lipids``, ``macromolecules``, ``baseline`` and ``water``, phased
        and shifted as the data are; they add up to the data without noise. Empty unless asked
        for.
    labels : ndarray of uint8, shape (X, Y, Z), or None
        Index of each voxel's tissue in ``label_names``, for grids.
    label_names : tuple of str
        Names of the labels.
    spoiled : ndarray of uint8, shape (X, Y, Z), or None
        What was done to make a voxel useless, as an index of ``grids.SPOILINGS``; 0 is nothing.
    """

    areas: PeakAreas
    noise_sd: NDArray[np.float64]
    snr: NDArray[np.float64]
    parameters: Mapping[str, NDArray[np.float64]]
    components: Mapping[str, NDArray[np.complex128]] = field(default_factory=dict)
    labels: NDArray[np.uint8] | None = None
    label_names: tuple[str, ...] = ()
    spoiled: NDArray[np.uint8] | None = None

    def ratio(self, numerator: str, denominator: str) -> NDArray[np.float64]:
        """Return the true ratio of two areas, shape (X, Y, Z).

        Parameters
        ----------
        numerator, denominator : str
            Names in ``areas``.

        Returns
        -------
        ndarray of float64, shape (X, Y, Z)
            NaN or infinite where the denominator is zero.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            quotient: NDArray[np.float64] = self.areas.value(numerator) / self.areas.value(
                denominator
            )
        return quotient


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """Simulated data and their truth.

    Parameters
    ----------
    data : SpectralData
        As a reader would return it.
    truth : Truth
        What it was made of.
    """

    data: SpectralData
    truth: Truth

    @property
    def spectra(self) -> Spectra:
        """The data as a fit takes it, untouched by any preprocessing.

        Raises
        ------
        ValueError
            If there are coils or averages to combine first.
        """
        if self.data.dims:
            msg = f"the phantom still has {self.data.dims}; preprocess its data first"
            raise ValueError(msg)
        return Spectra(
            fid=self.data.fid,
            acquisition=self.data.acquisition,
            affine=self.data.affine,
            history=self.data.history,
            source_format=self.data.source_format,
        )


def phantom(
    tissue: str | PeakAreas,
    rng: np.random.Generator,
    *,
    grid: tuple[int, int, int] = (1, 1, 1),
    spectrometer_frequency_mhz: float = 123.2,
    echo_time_s: float = 0.030,
    sequence: str = "PRESS",
    echo_times_s: tuple[float, ...] | None = None,
    mixing_time_s: float | None = None,
    repetition_time_s: float | None = 2.0,
    n_samples: int = 1024,
    dwell_time_s: float = 5e-4,
    snr: ArrayLike = 20.0,
    noise_sd: ArrayLike | None = None,
    linewidth_hz: ArrayLike = 6.0,
    lorentz_share: ArrayLike = 0.5,
    t2_linewidths: bool = False,
    phase_rad: ArrayLike = 0.0,
    begin_time_s: ArrayLike = 0.0,
    shift_hz: ArrayLike = 0.0,
    residual_water: ArrayLike = 0.0,
    baseline: ArrayLike = 0.0,
    baseline_kind: BaselineKind = "gaussians",
    lipid_shape: LipidShape = "gaussian",
    lipid_variation: float = 0.0,
    coils: int = 1,
    averages: int = 1,
    drift_hz: float = 0.0,
    phase_jitter_rad: float = 0.0,
    water_reference: bool = False,
    eddy_current_hz: float = 0.0,
    affine: NDArray[np.float64] | None = None,
    keep_components: bool = False,
) -> Phantom:
    """Simulate a grid of spectra with known truth.

    Numbers that are ``array_like`` may differ from voxel to voxel: anything that broadcasts to
    the grid. A batch of V spectra is a grid of (V, 1, 1).

    Parameters
    ----------
    tissue : str or PeakAreas
        A tissue class, of which every voxel gets its own draw, or areas at this echo time whose
        values broadcast to (X, Y, Z, K). Named peaks are Cho, Cr, NAA, Lac, the lipids, the
        macromolecules and any metabolite of ``spin_systems()``; sums (LL, Glx, MM) are ignored
        where their parts are there. LL alone is refused: its parts differ in shape.
    rng : numpy.random.Generator
        Source of all chance.
    grid : tuple of int
        X, Y, Z.
    spectrometer_frequency_mhz, echo_time_s, sequence, echo_times_s, mixing_time_s
        The acquisition, as ``metabolite_lines`` takes them.
    repetition_time_s : float or None
        Only noted in the acquisition; saturation is not simulated.
    n_samples, dwell_time_s
        N and the time between samples.
    snr : array_like
        As ``Truth`` defines it, of combined and averaged data; ``inf`` for no noise.
    noise_sd : array_like, optional
        Instead of `snr`: the standard deviation of the real part of an FID's samples.
    linewidth_hz, lorentz_share : array_like
        Full width at half maximum of the metabolites' lines and its Lorentzian share.
    t2_linewidths : bool
        Whether metabolites are broader or narrower than that by what their T2 (``t2_s``) differ
        from glutamate's, as in tissue.
    phase_rad, begin_time_s, shift_hz : array_like
        Zero-order phase, begin time (first-order phase), frequency shift.
    residual_water : array_like
        Amplitude of the remaining water over the largest of the areas of Cho, Cr and NAA; 0 is
        perfect suppression, some thousands none.
    baseline : array_like
        Root mean square of the real baseline from 0.2 to 4.2 ppm over the height of the tallest
        of NAA, Cr, Cho.
    baseline_kind : {"gaussians", "process"}
        Ten broad Gaussians at random places, or a stationary random process (a quickly decaying
        random start of the FID). Independent of each other, so that a fit can be developed on
        one and tested on the other.
    lipid_shape : {"gaussian", "asymmetric"}
        Shape of the lipids; areas are the same.
    lipid_variation : float
        Standard deviation of the logarithm of the lipids' width from voxel to voxel; their
        shift then varies by 0.1 ppm times this number.
    coils, averages : int
        Channels and repetitions; the noise of each is such that the optimally combined data
        have `snr`.
    drift_hz, phase_jitter_rad : float
        Frequency drift from first to last average; sd of each average's phase.
    water_reference : bool
        Whether the data come with an unsuppressed water reference.
    eddy_current_hz : float
        Initial frequency error of a decaying eddy current (100 ms), in data and reference.
    affine : ndarray of float64, shape (4, 4), or None
        Voxel indices to RAS+ mm.
    keep_components : bool
        Whether the truth holds the FIDs of the parts.

    Returns
    -------
    Phantom
        Its ``truth.areas`` are exact.

    Raises
    ------
    KeyError
        If a tissue class or a peak is not known.
    ValueError
        If a number is outside its range, the sequence is not known, SNR is asked of a spectrum
        without NAA, Cr and Cho, or there would be more than 2**26 samples.
    TypeError
        If `rng` is no random generator, such as a seed.

    Examples
    --------
    >>> made = phantom("radiation_necrosis", np.random.default_rng(7), grid=(4, 1, 1))
    >>> made.spectra.fid.shape, made.truth.ratio("LL", "Cr").shape
    ((4, 1, 1, 1024), (4, 1, 1))
    """
    check_type("tissue", tissue, (str, PeakAreas), "the name of a class or PeakAreas")
    check_generator(rng)
    acquisition = Acquisition(
        spectrometer_frequency_mhz=spectrometer_frequency_mhz,
        dwell_time_s=dwell_time_s,
        echo_time_s=echo_time_s,
        repetition_time_s=repetition_time_s,
        mixing_time_s=mixing_time_s,
        echo_times_s=echo_times_s,
        sequence=sequence,
        nucleus="1H",
        reference_ppm=WATER_PPM,
        manufacturer="simulation",
    )
    _check_size(grid, coils, averages, n_samples)
    if known_sequence(sequence) is None:
        msg = f"sequence must be one of {', '.join(SEQUENCES)}; got {sequence!r}"
        raise ValueError(msg)
    _check_choice("baseline_kind", baseline_kind, get_args(BaselineKind))
    _check_choice("lipid_shape", lipid_shape, get_args(LipidShape))
    n_voxels = math.prod(grid)
    if isinstance(tissue, str):
        parts = _parts(cohort(n_voxels, tissue, rng, echo_time_s=echo_time_s))
    else:
        parts = _given_parts(tissue, grid)

    def per_voxel(values: ArrayLike) -> NDArray[np.float64]:
        return np.broadcast_to(np.asarray(values, dtype=np.float64), grid).reshape(-1, 1)

    lorentz_hz, gauss_hz = voigt_widths_hz(per_voxel(linewidth_hz), per_voxel(lorentz_share))
    damping = Voigt(
        phase_rad=per_voxel(phase_rad),
        begin_time_s=per_voxel(begin_time_s),
        shift_hz=per_voxel(shift_hz),
        lorentz_hz=lorentz_hz,
        gauss_hz=gauss_hz,
    )
    lipid_width = np.exp(lipid_variation * rng.standard_normal((n_voxels, 1)))
    lipid_shift_ppm = 0.1 * lipid_variation * rng.standard_normal((n_voxels, 1))
    time_s = np.asarray(np.arange(n_samples) * dwell_time_s, dtype=np.float64)

    height = tallest(parts, acquisition, time_s, lorentz_hz, gauss_hz, t2_linewidths)
    largest = np.max([parts.get(name, np.zeros(n_voxels)) for name in TOPS], axis=0)
    components = {
        "metabolites": metabolite_fids(parts, acquisition, time_s, damping, t2_linewidths),
        "lipids": broad_fids(
            {name: parts[name] for name in LIPIDS if name in parts},
            tissue_data()["lipids"][lipid_shape],
            acquisition, time_s, damping, lipid_width, lipid_shift_ppm,
        ),
        "macromolecules": broad_fids(
            {name: parts[name] for name in macromolecule_names() if name in parts},
            {name: [[p, w, 1.0]] for name, (p, w, _) in tissue_data()["macromolecules"].items()},
            acquisition, time_s, damping, np.ones((n_voxels, 1)), np.zeros((n_voxels, 1)),
        ),
        "baseline": baseline_fids(
            per_voxel(baseline) * height, baseline_kind, acquisition, time_s, damping, rng
        ),
        "water": water_fids(per_voxel(residual_water)[:, 0] * largest, time_s, damping, rng),
    }  # fmt: skip
    given = None if noise_sd is None else per_voxel(noise_sd)
    deviation, reached = _noise(per_voxel(snr), given, height, largest[:, None], n_samples)
    receive, eddy = receivers(coils, rng), eddy_current(eddy_current_hz, time_s)

    def acquired(
        signal: NDArray[np.complex128], repetitions: int, drift_hz: float, jitter_rad: float
    ) -> SpectralData:
        fid = measured(
            signal * eddy, deviation, time_s, rng, receive, repetitions, drift_hz, jitter_rad
        )
        return SpectralData(
            fid=fid.reshape(*grid, *fid.shape[1:]),
            acquisition=acquisition,
            dims=("DIM_COIL",) * (coils > 1) + ("DIM_DYN",) * (repetitions > 1),
            affine=affine,
            source_format="simulation",
        )

    clean = sum(components.values(), np.zeros((n_voxels, n_samples), dtype=np.complex128))
    data = acquired(clean, averages, drift_hz, phase_jitter_rad)
    step = Step("phantom", {"tissue": tissue if isinstance(tissue, str) else "areas"})
    if water_reference:
        amplitude = np.full((n_voxels, 1), _WATER_OVER_LARGEST * largest.max())
        data = replace(data, water=acquired(amplitude * damping(time_s), 1, 0.0, 0.0))

    parameters = {
        "phase_rad": damping.phase_rad,
        "begin_time_s": damping.begin_time_s,
        "shift_hz": damping.shift_hz,
        "linewidth_hz": per_voxel(linewidth_hz),
        "lorentz_hz": lorentz_hz,
        "gauss_hz": gauss_hz,
        "lipid_width": lipid_width,
        "lipid_shift_ppm": lipid_shift_ppm,
    }
    kept = components if keep_components else {}
    return Phantom(data.done(step), _truth(grid, parts, deviation, reached, parameters, kept))


def _truth(
    grid: tuple[int, int, int],
    parts: Mapping[str, NDArray[np.float64]],
    noise_sd: NDArray[np.float64],
    snr: NDArray[np.float64],
    parameters: Mapping[str, NDArray[np.float64]],
    components: Mapping[str, NDArray[np.complex128]],
) -> Truth:
    """Lay what was flat on the grid."""
    return Truth(
        areas=with_sums({name: value.reshape(grid) for name, value in parts.items()}),
        noise_sd=read_only(noise_sd.reshape(grid), np.float64),
        snr=read_only(snr.reshape(grid), np.float64),
        parameters={
            name: read_only(value.reshape(grid), np.float64) for name, value in parameters.items()
        },
        components={
            name: read_only(value.reshape(*grid, -1), np.complex128)
            for name, value in components.items()
        },
    )


def _check_size(grid: tuple[int, int, int], coils: int, averages: int, n_samples: int) -> None:
    if min(grid) < 1 or coils < 1 or averages < 1 or n_samples < 16:
        msg = (
            "grid, coils and averages must be at least 1 and n_samples at least 16; got "
            f"{grid}, {coils}, {averages} and {n_samples}"
        )
        raise ValueError(msg)
    samples = math.prod(grid) * n_samples * coils * averages
    if samples > _MOST_SAMPLES:
        msg = (
            f"a grid of {' x '.join(map(str, grid))} voxels, {coils} coils, {averages} averages "
            f"and {n_samples} samples makes {16e-9 * samples:,.0f} GB; at most "
            f"{16e-9 * _MOST_SAMPLES:.0f} GB are simulated at once: choose fewer voxels, coils or "
            "averages, or make several grids"
        )
        raise ValueError(msg)


def _check_choice(name: str, chosen: str, known: tuple[str, ...]) -> None:
    if chosen not in known:
        msg = f"{name} must be one of {known}; got {chosen!r}"
        raise ValueError(msg)


def _noise(
    snr: NDArray[np.float64],
    noise_sd: NDArray[np.float64] | None,
    height: NDArray[np.float64],
    largest: NDArray[np.float64],
    n_samples: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the noise of an FID's samples and the SNR, as ``Truth`` defines both, (V, 1)."""
    if noise_sd is None:
        if not (snr > 0).all() or (np.isfinite(snr) & (largest == 0)).any():
            msg = (
                "snr must be positive, and there must be NAA, Cr or Cho for it to have a meaning; "
                "noise_sd can be given instead"
            )
            raise ValueError(msg)
        return height / snr / math.sqrt(n_samples), snr
    with np.errstate(divide="ignore", invalid="ignore"):
        return noise_sd, np.where(largest > 0, height, 0) / noise_sd / math.sqrt(n_samples)


def _parts(areas: PeakAreas) -> dict[str, NDArray[np.float64]]:
    """Return areas by name, without the sums."""
    return {name: areas.value(name) for name in areas.names if name not in sums()}


def _given_parts(areas: PeakAreas, grid: tuple[int, int, int]) -> dict[str, NDArray[np.float64]]:
    """Return the areas that were asked for, flat, one for every voxel."""
    known = {"Cho", *LIPIDS, *macromolecule_names(), *spin_systems()}
    unknown = [name for name in areas.names if name not in known and name not in sums()]
    if unknown:
        msg = f"no peak {unknown[0]!r} can be simulated; there are {', '.join(sorted(known))}"
        raise KeyError(msg)
    for name, members in sums().items():
        if name in areas and not any(member in areas for member in members):
            msg = f"{name} is a sum; give its parts {', '.join(members)}"
            raise ValueError(msg)
    parts = {
        name: np.broadcast_to(value, grid).reshape(-1).astype(np.float64)
        for name, value in _parts(areas).items()
    }
    if not all(np.isfinite(value).all() and (value >= 0).all() for value in parts.values()):
        msg = "areas to simulate must be finite magnitudes, zero or more"
        raise ValueError(msg)
    return parts
