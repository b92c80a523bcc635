"""A basis set that the user gives, in place of the library's own metabolites or macromolecules.

Basis sets come from many makers, and each can be off: its zero of chemical shift, its phase, its
scale, a reference singlet at 0 ppm. So every metabolite that the library knows is laid beside the
library's own, at the basis set's field and echo time: the shift and the extra linewidth that match
best are found by correlation, and tell the offset of the reference, the phase and the scale. A
macromolecule spectrum alone is laid beside the library's. Offsets common to the set are corrected
and noted in ``Model.source``; a set that is mirrored or of another field is refused.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.optimize import least_squares

from mrs_necrosis.constants import WATER_PPM
from mrs_necrosis.errors import FitError
from mrs_necrosis.fitting.matching import (
    ANCHORS,
    MEASURED,
    Match,
    compare,
    settled,
    settled_macromolecules,
)
from mrs_necrosis.fitting.model import Component, Model
from mrs_necrosis.fitting.priors import default_model, usual_macromolecules
from mrs_necrosis.fitting.problem import LEAST_POINTS, LONGEST_FIT_S
from mrs_necrosis.spectra import Acquisition

if TYPE_CHECKING:
    from collections.abc import Collection

CENTRE_PPM: Final = 2.6
"""Middle of what a basis set holds."""

ALIASES: Final = {
    "Ins": "mI", "mIns": "mI", "mIn": "mI", "Scyllo": "sI", "sIns": "sI", "Scy": "sI",
    "PCho": "PCh", "PC": "PCh", "Ace": "Ace", "Acetate": "Ace",
    "Mac": "MM", "MMBL": "MM", "MM_CMR": "MM", "MMmeas": "MM", "MMexp": "MM",
    "Macromolecules": "MM",
}  # fmt: skip
"""What others call the library's components."""

NOT_NEEDED: Final = re.compile(r"-?CrCH2|-?(MM|Lip)[_ ]?\d.*", re.IGNORECASE)
"""What other programs add to metabolites and the library's own model has already: a correction of
creatine, single lines of macromolecules and of lipids."""

SAME_DWELL: Final = 1e-6
"""Relative difference of two dwell times that are one."""

LEAST_WIDTH_PPM: Final = 8.0
"""A narrower spectrum folds the amides at 7 to 8 ppm into the fitted range, and a spline between
so few samples is off: at 7.3 ppm NAA/Cr by 4 %, at 8.1 ppm by 0.05 %."""

LEAST_CYCLES: Final = 3.0
"""Least duration of an FID, in cycles of 1 ppm: offsets of less than 0.3 ppm are to be found."""

NO_SIGNAL: Final = 0.01
NO_MEASURED_SIGNAL: Final = 0.1
"""An FID that ends below this part of its maximum has died away; zeros follow. A measured one
has noise to its end: macromolecules 0.14 ppm wide have 1 % left after 70 ms at 3 T."""

SIZES: Final = (1e-100, 1e100)
"""Largest amplitudes with which all can be calculated."""

UNKNOWN_PRIOR: Final = (0.02, 0.04)
"""Amplitude prior of a metabolite that the library does not know (assumed, as its minor ones)."""


class BasisSet(Protocol):
    """What ``io.read_basis`` returns: K names and FIDs of shape (K, N)."""

    @property
    def names(self) -> tuple[str, ...]:
        """Metabolites."""
        ...

    @property
    def fids(self) -> NDArray[np.complex128]:
        """In the library's sign convention."""
        ...

    @property
    def spectrometer_frequency_mhz(self) -> float:
        """Of the FIDs."""
        ...

    @property
    def dwell_time_s(self) -> float:
        """Of the FIDs."""
        ...

    @property
    def echo_time_s(self) -> float | None:
        """Where it is known."""
        ...

    @property
    def reference_ppm(self) -> float | None:
        """Chemical shift at zero frequency."""
        ...


def model_from_basis(
    basis: BasisSet,
    acquisition: Acquisition,
    *,
    model: Model | None = None,
    others: Literal["keep", "drop"] = "keep",
    lipids: bool = True,
) -> Model:
    """Return a model whose metabolites, macromolecules or both are those of a basis set.

    Parameters
    ----------
    basis : BasisSet
        Such as ``io.read_basis`` returns. A measured macromolecule spectrum (``MM``, ``Mac``)
        replaces the model's macromolecules, with a flat prior, and may stand alone; single lines
        of macromolecules and lipids (``MM09``, ``Lip13``) are left out.
    acquisition : Acquisition
        Of the data that are to be fitted.
    model : Model or None
        Whose metabolites are replaced by name; the default metabolite model by default, at the
        basis set's echo time where the acquisition does not know its own.
    others : {"keep", "drop"}
        What becomes of the model's metabolites that the basis set does not hold.
    lipids : bool
        Whether the model's lipids stay. Without them a lesion's lipids have no place.

    Returns
    -------
    Model
        Its ``source`` and ``assumed`` say what was corrected. It fits data of this dwell time
        only.

    Raises
    ------
    FitError
        If the basis set is of another field, is mirrored, is too short or too narrow, names a
        metabolite twice, or holds nothing known.
    ValueError
        If metabolites are given for a model that has none to replace.
    """
    _check_sampling(basis, acquisition)
    notes: list[str] = []
    echo = basis.echo_time_s
    borrowed = echo if model is None and acquisition.echo_time_s is None else None
    if model is None:
        known_echo_s = borrowed or acquisition.echo_time_s
        model = default_model(replace(acquisition, echo_time_s=known_echo_s), kind="metabolites")
    known = {item.name: item for item in model.components}
    reference = WATER_PPM if basis.reference_ppm is None else basis.reference_ppm
    clean = _cleaned(basis, acquisition, reference, notes)
    matches, offset, phase, scales = _matched(clean, basis, model, reference, notes)
    if echo and acquisition.echo_time_s and abs(echo - acquisition.echo_time_s) > 0.002:
        what = "coupled spins are" if matches else "their sizes beside each other may be"
        notes.append(
            f"its echo time is {1e3 * echo:.0f} ms, the data's "
            f"{1e3 * acquisition.echo_time_s:.0f} ms: {what} not as they should be"
        )
    if borrowed:
        notes.append(
            f"its echo time of {1e3 * borrowed:.0f} ms is taken for the data's, which is unknown"
        )
    new = []
    for name, fid in clean.items():
        sampled = _resampled(fid, basis, reference - offset, acquisition) * np.exp(-1j * phase)
        floor = NO_MEASURED_SIGNAL if name == MEASURED else NO_SIGNAL
        sampled = _lengthened(sampled, acquisition, floor)
        if name == MEASURED:
            new.append(Component(name, name, "mm", fid=sampled / np.abs(sampled).max()))
        else:
            new.append(_component(name, sampled / scales[name], known))
    gone = [c.name for c in model.components if _is_gone(c, clean, others, lipids=lipids)]
    made = model.with_components(*new).without(*gone)
    made = _narrowed(made, matches, notes)
    _check_duration(made, acquisition, notes)
    of_the_set = "; ".join(notes)
    made = replace(made, assumed=(*model.assumed, f"A basis set was given: {of_the_set}."))
    if not matches:  # the metabolites are the model's
        return replace(made, source=f"{model.source}; basis set given by the user: {of_the_set}")
    return replace(made, name="basis", source=f"basis set given by the user: {of_the_set}")


def _time_s(basis: BasisSet) -> NDArray[np.float64]:
    count = basis.fids.shape[1]
    return np.linspace(0.0, (count - 1) * basis.dwell_time_s, count)


def _matched(
    clean: dict[str, NDArray[np.complex128]],
    basis: BasisSet,
    model: Model,
    reference_ppm: float,
    notes: list[str],
) -> tuple[dict[str, Match], float, float, dict[str, float]]:
    """Return how the set's metabolites compare with the model's; its offset, phase and scales."""
    time_s, mhz = _time_s(basis), basis.spectrometer_frequency_mhz
    if tuple(clean) == (MEASURED,):
        match = compare(clean[MEASURED], usual_macromolecules(), time_s, mhz, reference_ppm)
        return {}, *settled_macromolecules(match, notes), {MEASURED: 1.0}
    known = {item.name: item for item in model.components}
    if model.name == "peaks" or ANCHORS[0] not in known:
        msg = (
            "model must be of whole metabolites with NAA among them, such as "
            "default_model(acquisition, kind='metabolites'), for a basis set to take their place"
        )
        raise ValueError(msg)
    matches = {
        name: compare(fid, known[name], time_s, mhz, reference_ppm)
        for name, fid in clean.items()
        if name in known and known[name].fid is None
    }
    return matches, *settled(matches, tuple(clean), notes)


def _is_gone(
    item: Component, given: Collection[str], others: Literal["keep", "drop"], *, lipids: bool
) -> bool:
    """Return whether a component of the model has no place beside what is given."""
    if item.name in given:
        return False
    if item.name.startswith("MM"):
        return MEASURED in given
    if item.name.startswith("Lip"):
        return not lipids
    # coupled lines that were made for this sequence are as they should be
    return others == "drop" or (item.name == "NAAasp" and "NAA" in given)


def _check_sampling(basis: BasisSet, acquisition: Acquisition) -> None:
    mhz = acquisition.spectrometer_frequency_mhz
    if abs(basis.spectrometer_frequency_mhz / mhz - 1) > 0.005:
        msg = (
            f"the basis set is for {basis.spectrometer_frequency_mhz:.2f} MHz, the data are of "
            f"{mhz:.2f} MHz; take one simulated at the data's field"
        )
        raise FitError(msg)
    width_hz = 1.0 / basis.dwell_time_s
    resampled = abs(acquisition.dwell_time_s / basis.dwell_time_s - 1) > SAME_DWELL
    if resampled and width_hz < LEAST_WIDTH_PPM * mhz:
        msg = (
            f"the basis set's spectral width is {width_hz:.0f} Hz; it must be "
            f"{LEAST_WIDTH_PPM * mhz:.0f} Hz or more, or that of the data"
        )
        raise FitError(msg)
    lasts_s = basis.fids.shape[1] * basis.dwell_time_s
    if lasts_s * mhz < LEAST_CYCLES:
        msg = (
            f"the basis set's FIDs last {1e3 * lasts_s:.1f} ms; they must last "
            f"{1e3 * LEAST_CYCLES / mhz:.0f} ms or more to be told apart"
        )
        raise FitError(msg)


def _lengthened(
    fid: NDArray[np.complex128], acquisition: Acquisition, floor: float
) -> NDArray[np.complex128]:
    """Return an FID with zeros behind it if it has died away: it must not shorten the data."""
    size = np.abs(fid)
    missing = int(np.ceil(LONGEST_FIT_S / acquisition.dwell_time_s)) - fid.size
    end = float(np.sqrt(np.mean(size[-max(fid.size // 8, 1) :] ** 2)))
    if missing <= 0 or end > floor * size.max():
        return fid
    return np.pad(fid, (0, missing))


def _check_duration(model: Model, acquisition: Acquisition, notes: list[str]) -> None:
    """Refuse a set that leaves too little of the data to fit; note one that leaves out some."""
    lasts_s = acquisition.dwell_time_s * min(
        c.fid.size for c in model.components if c.fid is not None
    )
    low, high = model.range_ppm
    hz = (high - low) * acquisition.spectrometer_frequency_mhz
    least_s = LEAST_POINTS * (len(model.parameters) + 1) / hz
    if lasts_s < least_s:
        msg = (
            f"the basis set's FIDs end after {1e3 * lasts_s:.0f} ms with signal left; take a set "
            f"of {1e3 * least_s:.0f} ms or longer"
        )
        raise FitError(msg)
    if lasts_s < 0.99 * LONGEST_FIT_S:
        notes.append(
            f"its FIDs end after {1e3 * lasts_s:.0f} ms with signal left: no more of the data is "
            "used"
        )


def _cleaned(
    basis: BasisSet,
    acquisition: Acquisition,
    reference_ppm: float,
    notes: list[str],
) -> dict[str, NDArray[np.complex128]]:
    """Return the set's FIDs by the library's names, without reference singlets."""
    given = dict(zip(basis.names, basis.fids, strict=True))
    spare = [name for name in given if NOT_NEEDED.fullmatch(name)]
    kept = [name for name in given if name not in spare]
    named = {ALIASES.get(name, name): given[name] for name in kept}
    if len(named) < len(kept):
        twice = [a for a in kept if sum(ALIASES.get(a, a) == ALIASES.get(b, b) for b in kept) > 1]
        msg = f"the basis set holds one metabolite by several names: {', '.join(twice)}"
        raise FitError(msg)
    spectra = "1 spectrum" if len(named) == 1 else f"{len(named)} spectra"
    notes.append(f"{spectra} of {', '.join(named)}")
    if spare:
        notes.append(f"its {', '.join(spare)} left out: the library has its own")
    time_s, mhz = _time_s(basis), acquisition.spectrometer_frequency_mhz
    clean, stripped = {}, 0
    for name, fid in named.items():
        if not (np.isfinite(fid).all() and SIZES[0] < np.abs(fid).max() < SIZES[1]):
            msg = f"the basis set's {name} holds no signal, or samples that are no numbers"
            raise FitError(msg)
        clean[name], had = _without_reference_peak(fid, time_s, mhz, reference_ppm)
        stripped += had
    if stripped:
        notes.append(f"reference singlet at 0 ppm removed from {stripped} of them")
    return clean


def _component(name: str, fid: NDArray[np.complex128], known: dict[str, Component]) -> Component:
    """Return the model's component with another FID, or a new one for a new metabolite."""
    if name in known:
        return replace(known[name], shift_ppm=(), weight=(), gauss_ppm=(), fid=fid)
    mean, sd = UNKNOWN_PRIOR
    like = known[ANCHORS[0]]
    return Component(
        name, name, "metabolite", prior_mean=mean, prior_sd=sd,
        shape_sd=like.shape_sd, alike=like.alike, fid=fid,
    )  # fmt: skip


def _narrowed(model: Model, matches: dict[str, Match], notes: list[str]) -> Model:
    """Return the model with what the set's lines already have off the data's linewidth."""
    found = [matches[name].linewidth_hz for name in ANCHORS if name in matches]
    own = float(np.median(found)) if found else 0.0
    for parameter in model.parameters:
        if parameter.name == "lorentz_hz" and own > 0:
            low = parameter.lower - own
            start = max(parameter.start - own, low)
            notes.append(f"its lines have {own:.1f} Hz of their own")
            return model.with_parameter(replace(parameter, lower=low, start=start))
    return model


def _resampled(
    fid: NDArray[np.complex128],
    basis: BasisSet,
    reference_ppm: float,
    acquisition: Acquisition,
) -> NDArray[np.complex128]:
    """Return an FID at the data's dwell time and zero of chemical shift.

    Turned so that the metabolites lie around zero frequency, where a spline of degree 7 is as
    good as band-limited; there is no sample before time 0 that a sinc could use.
    """
    from_mhz, to_mhz = basis.spectrometer_frequency_mhz, acquisition.spectrometer_frequency_mhz
    given_s = np.arange(fid.size) * basis.dwell_time_s
    down = np.exp(-2j * np.pi * (CENTRE_PPM - reference_ppm) * from_mhz * given_s)
    count = int(given_s[-1] / acquisition.dwell_time_s + 1e-6) + 1
    wanted_s = np.arange(count) * acquisition.dwell_time_s
    if abs(acquisition.dwell_time_s / basis.dwell_time_s - 1) <= SAME_DWELL:
        centred = fid * down
    else:
        degree = min(given_s.size - 1, 7)
        curve = make_interp_spline(given_s, fid * down, k=degree)
        centred = curve(np.minimum(wanted_s, given_s[-1]))
    centre_hz = (CENTRE_PPM - acquisition.reference_or_water_ppm) * to_mhz
    turned: NDArray[np.complex128] = centred[:count] * np.exp(2j * np.pi * centre_hz * wanted_s)
    return turned


def _without_reference_peak(
    fid: NDArray[np.complex128],
    time_s: NDArray[np.float64],
    frequency_mhz: float,
    reference_ppm: float,
) -> tuple[NDArray[np.complex128], bool]:
    """Return an FID without a singlet at 0 ppm, and whether there was one.

    The line is a Voigt line on a straight baseline within 0.15 ppm.
    """
    n = time_s.size
    ppm = reference_ppm + np.fft.fftfreq(n, time_s[1]) / frequency_mhz
    window = np.abs(ppm) < 0.15
    if window.sum() < 8:
        return fid, False
    spectrum = np.fft.fft(fid)[window]
    size = np.abs(spectrum)
    beside = float(np.median(size))
    peak = float(ppm[window][size.argmax()])
    if size.max() < 6 * beside or abs(peak) > 0.06:
        return fid, False
    straight = np.stack([np.ones(window.sum()), ppm[window] / 0.15], axis=1)

    def line(x: NDArray[np.float64]) -> NDArray[np.complex128]:
        hz = (x[0] - reference_ppm) * frequency_mhz
        made: NDArray[np.complex128] = np.exp(
            2j * np.pi * hz * time_s - np.pi * x[1] * time_s - (x[2] * time_s) ** 2
        )
        return made

    def solved(x: NDArray[np.float64]) -> tuple[complex, NDArray[np.float64]]:
        columns = np.column_stack([np.fft.fft(line(x))[window], straight])
        amplitudes = np.linalg.lstsq(columns, spectrum, rcond=None)[0]
        left = spectrum - columns @ amplitudes
        return complex(amplitudes[0]), np.concatenate([left.real, left.imag])

    found = least_squares(
        lambda x: solved(x)[1] / beside,
        [peak, 1.0, 2.0],
        bounds=([peak - 0.02, 0.0, 0.0], [peak + 0.02, 30.0, 60.0]),
        x_scale=[0.002, 1.0, 2.0],
    )
    return fid - solved(found.x)[0] * line(found.x), True
