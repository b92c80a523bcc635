r"""Coupled spins: the lines of a metabolite after a localisation sequence.

Density-matrix simulation with ideal (hard, perfect) pulses. Protons that couple with each other
are simulated together, with strong coupling; groups that do not couple are simulated apart. 31P
and 14N couple weakly and are not touched by the proton pulses: each of their spin states only
shifts the protons.

Sequences differ in their refocusing: a PRESS is two spin echoes in a row, an sLASER four, a spin
echo one, each :math:`T_i/2 - 180° - T_i/2` with :math:`\sum_i T_i` the echo time. STEAM keeps
the coherence order :math:`+1` in the first half of the echo time, 0 in the mixing time and
:math:`-1` at the end. Its ideal halving of the signal is divided out, as are relaxation and
diffusion, so that one proton of an uncoupled singlet has the amplitude 1 in every sequence and
an in-phase singlet is real and positive.

Shifts and couplings are data (``resources/spin_systems.toml``, each with its source).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mrs_necrosis.arguments import check_range, read_only
from mrs_necrosis.constants import ECHO_TIME_S, FREQUENCY_MHZ, WATER_PPM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SEQUENCES: Final = ("PRESS", "STEAM", "sLASER", "SPIN-ECHO", "PULSE-ACQUIRE")
"""Sequences that can be simulated."""

_ECHOES: Final = {"PRESS": 2, "sLASER": 4, "SPIN-ECHO": 1}
_SPELLINGS: Final = (
    # looked for in this order in the lower-case word without punctuation
    ("slaser", "sLASER"),
    ("semilaser", "sLASER"),
    ("laser", "sLASER"),
    ("steam", "STEAM"),
    ("vapor", "STEAM"),
    ("svsst", "STEAM"),
    ("press", "PRESS"),
    ("probep", "PRESS"),
    ("svsse", "PRESS"),
    ("csise", "PRESS"),
    ("pulseacquire", "PULSE-ACQUIRE"),
    ("fid", "PULSE-ACQUIRE"),
    ("spinecho", "SPIN-ECHO"),
)
_DEFAULT_MIXING_TIME_S: Final = 0.010
_PRESS_FIRST_ECHO_S: Final = 0.011
"""Scanners make the first echo of a PRESS about as short as it gets and put the rest into the
second. 11 ms is the ISMRM 2016 fitting challenge's (11 and 19 ms); many a basis has 10 and 20."""

_MERGE_HZ: Final = 0.05
"""Lines within this distance become one. An FID that is damped by a linewidth of 3 Hz or more
then changes by about 1e-4 of its protons at most."""

_NEGLIGIBLE: Final = 5e-5
"""Share of the summed magnitudes that may be dropped, smallest lines first."""


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Undamped lines of one metabolite at the echo top.

    Parameters
    ----------
    shift_ppm : ndarray of float64, shape (L,)
        Ascending.
    amplitude : ndarray of complex128, shape (L,)
        One proton of an uncoupled singlet has the amplitude 1.
    assumptions : tuple of str
        Sentences on what was assumed because the caller did not say.
    """

    shift_ppm: NDArray[np.float64]
    amplitude: NDArray[np.complex128]
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shift_ppm", read_only(self.shift_ppm, np.float64))
        object.__setattr__(self, "amplitude", read_only(self.amplitude, np.complex128))
        if self.shift_ppm.ndim != 1 or self.shift_ppm.shape != self.amplitude.shape:
            msg = (
                "shift_ppm and amplitude must both have shape (L,); "
                f"got {self.shift_ppm.shape} and {self.amplitude.shape}"
            )
            raise ValueError(msg)

    def fid(
        self,
        time_s: NDArray[np.float64],
        spectrometer_frequency_mhz: float,
        reference_ppm: float = WATER_PPM,
    ) -> NDArray[np.complex128]:
        """Return the undamped FID.

        Parameters
        ----------
        time_s : ndarray of float64, shape (N,)
            Times after the echo top.
        spectrometer_frequency_mhz : float
            Larmor frequency in MHz.
        reference_ppm : float
            Chemical shift at zero frequency.

        Returns
        -------
        ndarray of complex128, shape (N,)
            In the sign convention of ``spectra``.
        """
        frequency_hz = (self.shift_ppm - reference_ppm) * spectrometer_frequency_mhz
        phases = np.exp(2j * np.pi * np.multiply.outer(np.asarray(time_s), frequency_hz))
        signal: NDArray[np.complex128] = phases @ self.amplitude
        return signal


@cache
def spin_systems() -> Mapping[str, Mapping[str, Any]]:
    """Return the published spin systems by name, as ``spin_systems.toml`` holds them."""
    text = files("mrs_necrosis").joinpath("resources", "spin_systems.toml").read_text("utf-8")
    return tomllib.loads(text)


def _system(name: str) -> Mapping[str, Any]:
    systems = spin_systems()
    if name not in systems:
        msg = f"no spin system {name!r}; there are {', '.join(sorted(systems))}"
        raise KeyError(msg)
    return systems[name]


def metabolite_group_area(name: str) -> int:
    """Return the protons of the group that names a metabolite.

    Parameters
    ----------
    name : str
        A name in ``spin_systems()``, such as ``"NAA"``.

    Returns
    -------
    int
        The area of the naming group at unit concentration, without relaxation.

    Raises
    ------
    KeyError
        If there is no such spin system; the message lists those that there are.

    Examples
    --------
    >>> metabolite_group_area("GPC")
    9
    """
    return int(_system(name)["named_protons"])


def known_sequence(sequence: str | None) -> str | None:
    """Return which of ``SEQUENCES`` a scanner's own word means, or None if it means none.

    Parameters
    ----------
    sequence : str or None
        Any spelling, such as ``"svs_se"`` or ``"semi-LASER"``.

    Returns
    -------
    str or None
        A name in ``SEQUENCES``.

    Examples
    --------
    >>> known_sequence("svs_slaser_dkd"), known_sequence("eja_svs_press"), known_sequence("?")
    ('sLASER', 'PRESS', None)
    """
    if sequence is None:
        return None
    word = "".join(letter for letter in sequence.lower() if letter.isalnum())
    return next((known for spelling, known in _SPELLINGS if spelling in word), None)


def metabolite_lines(
    name: str,
    *,
    spectrometer_frequency_mhz: float,
    sequence: str | None,
    echo_time_s: float,
    echo_times_s: Sequence[float] | None = None,
    mixing_time_s: float | None = None,
) -> Lines:
    """Return the lines of a metabolite after a sequence with ideal pulses.

    Parameters
    ----------
    name : str
        A name in ``spin_systems()``, such as ``"NAA"``.
    spectrometer_frequency_mhz : float
        Proton Larmor frequency, 1 to 1000 MHz.
    sequence : str or None
        One of ``SEQUENCES`` or a scanner's word for it. What is not recognised is simulated as
        a PRESS, and the result says so.
    echo_time_s : float
        In s; not used by PULSE-ACQUIRE.
    echo_times_s : sequence of float, optional
        The lengths of the single echoes (PRESS: TE1 and TE2); they must add up to the echo
        time. Few files tell: by default the first echo of a PRESS has 11 ms (half the echo
        time if that is less than 22 ms) and the echoes of an sLASER are equal. Singlets and
        weakly coupled spins, such as lactate, do not notice.
    mixing_time_s : float, optional
        Of STEAM, in s; 10 ms by default.

    Returns
    -------
    Lines
        Read-only and cached.

    Raises
    ------
    KeyError
        If there is no such spin system.
    ValueError
        If a number is outside its range or the echoes do not add up.

    Examples
    --------
    Lactate's doublet is inverted at 144 ms:

    >>> lines = metabolite_lines(
    ...     "Lac", spectrometer_frequency_mhz=123.2, sequence="PRESS", echo_time_s=0.144
    ... )
    >>> doublet = lines.shift_ppm < 2
    >>> round(float(lines.amplitude[doublet].sum().real), 1)
    -3.0
    """
    _system(name)
    check_range("spectrometer_frequency_mhz", spectrometer_frequency_mhz, *FREQUENCY_MHZ, "MHz")
    check_range("echo_time_s", echo_time_s, *ECHO_TIME_S, "s")
    if mixing_time_s is not None:
        check_range("mixing_time_s", mixing_time_s, 0, 10, "s")
    assumptions: list[str] = []
    known = known_sequence(sequence)
    if known is None:
        known = "PRESS"
        assumptions.append("the sequence is unknown; spins were simulated as in a PRESS")
    n_echoes = _ECHOES.get(known)
    echoes: tuple[float, ...] = (float(echo_time_s),)
    if n_echoes is not None:
        if echo_times_s is None:
            echoes = _assumed_echoes(known, echo_time_s, n_echoes)
            if n_echoes > 1:
                parts = ", ".join(f"{1000 * part:.4g}" for part in echoes)
                assumptions.append(
                    f"how the echo time of the {known} is split is unknown; "
                    f"echoes of {parts} ms were simulated"
                )
        else:
            echoes = tuple(float(part) for part in echo_times_s)
            if min(echoes, default=-1) < 0 or not math.isclose(
                sum(echoes), echo_time_s, rel_tol=1e-3, abs_tol=1e-4
            ):
                msg = (
                    f"echo_times_s must be lengths in s that add up to the echo time "
                    f"{echo_time_s!r}; got {echoes}"
                )
                raise ValueError(msg)
    if known == "STEAM" and mixing_time_s is None:
        mixing_time_s = _DEFAULT_MIXING_TIME_S
        assumptions.append("the mixing time of the STEAM is unknown; 10 ms was simulated")
    shift_ppm, amplitude = _simulated(
        name, float(spectrometer_frequency_mhz), known, echoes, float(mixing_time_s or 0.0)
    )
    return Lines(shift_ppm, amplitude, tuple(assumptions))


def _assumed_echoes(sequence: str, echo_time_s: float, n_echoes: int) -> tuple[float, ...]:
    if sequence == "PRESS":
        first = min(_PRESS_FIRST_ECHO_S, echo_time_s / 2)
        return first, echo_time_s - first
    return (echo_time_s / n_echoes,) * n_echoes


@lru_cache(maxsize=1024)
def _simulated(
    name: str,
    spectrometer_frequency_mhz: float,
    sequence: str,
    echoes: tuple[float, ...],
    mixing_time_s: float,
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    parts = [
        _group_lines(group, spectrometer_frequency_mhz, sequence, echoes, mixing_time_s)
        for group in _system(name)["groups"]
    ]
    frequency = np.concatenate([frequency for frequency, _ in parts])
    amplitude = np.concatenate([amplitude for _, amplitude in parts])
    frequency, amplitude = _merge(frequency, amplitude)
    shift_ppm = frequency / spectrometer_frequency_mhz
    return read_only(shift_ppm, np.float64), read_only(amplitude, np.complex128)


def _merge(
    frequency: NDArray[np.float64], amplitude: NDArray[np.complex128]
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Join lines that no damped FID can tell apart, and drop what it cannot see."""
    size = np.abs(amplitude)
    by_size = np.argsort(size)
    seen = np.cumsum(size[by_size]) > _NEGLIGIBLE * size.sum()
    keep = np.sort(by_size[seen])
    order = keep[np.argsort(frequency[keep], kind="stable")]
    frequency, amplitude, size = frequency[order], amplitude[order], size[order]
    starts = [0]
    for i in range(1, len(frequency)):
        if frequency[i] - frequency[starts[-1]] > _MERGE_HZ:
            starts.append(i)
    weight = np.add.reduceat(size, starts)
    centre = np.add.reduceat(size * frequency, starts) / weight
    return centre, np.add.reduceat(amplitude, starts)


def _group_lines(
    group: Mapping[str, Any],
    spectrometer_frequency_mhz: float,
    sequence: str,
    echoes: tuple[float, ...],
    mixing_time_s: float,
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Return frequencies (Hz from 0 ppm) and amplitudes of spins that couple with each other."""
    site_hz = np.array(group["shift_ppm"], dtype=np.float64) * spectrometer_frequency_mhz
    protons = np.array(group.get("protons", [1] * len(site_hz)))
    couplings = group.get("coupling_hz", [])
    fraction = float(group.get("fraction", 1.0))
    # one proton stands for all of a site that couples with no other proton
    alone = not couplings
    copies = np.ones_like(protons) if alone else protons
    site_of = np.repeat(np.arange(len(site_hz)), copies)
    coupling_hz = np.zeros((len(site_of), len(site_of)))
    for first, second, j_hz in couplings:
        coupling_hz[np.ix_(site_of == first - 1, site_of == second - 1)] = j_hz
    coupling_hz += coupling_hz.T

    # each state of a weakly coupled nucleus is a molecule with shifted protons
    offsets = np.zeros((1, len(site_hz)))
    for key, states in (("phosphorus_hz", (-0.5, 0.5)), ("nitrogen_hz", (-1.0, 0.0, 1.0))):
        if key in group:
            shifted = np.multiply.outer(states, np.array(group[key], dtype=np.float64))
            offsets = (offsets[:, None] + shifted).reshape(-1, len(site_hz))

    frequencies, amplitudes = [], []
    for offset in offsets:
        spin_hz = (site_hz + offset)[site_of]
        if alone:
            frequency = spin_hz
            amplitude = protons.astype(np.complex128)
        else:
            frequency, amplitude = _coupled(spin_hz, coupling_hz, sequence, echoes, mixing_time_s)
        frequencies.append(frequency)
        amplitudes.append(amplitude * fraction / len(offsets))
    return np.concatenate(frequencies), np.concatenate(amplitudes)


def _coupled(
    spin_hz: NDArray[np.float64],
    coupling_hz: NDArray[np.float64],
    sequence: str,
    echoes: tuple[float, ...],
    mixing_time_s: float,
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Return frequencies (Hz) and amplitudes of the single-quantum transitions after a sequence.

    Product basis: bit i of the state's number is set where spin i points down.
    """
    n = len(spin_hz)
    size = 1 << n
    state = np.arange(size)
    m = 0.5 - ((state[:, None] >> np.arange(n)) & 1)  # (states, spins)
    centre_hz = float(spin_hz.mean())  # ideal pulses do not care where zero frequency is
    hamiltonian = np.diag(
        m @ (spin_hz - centre_hz) + 0.5 * np.einsum("si,ij,sj->s", m, coupling_hz, m)
    )
    raising = np.zeros((size, size))
    for i in range(n):
        down = state[m[:, i] < 0]
        raising[down ^ (1 << i), down] = 1.0
        for j in range(i):
            if coupling_hz[i, j]:
                unlike = state[m[:, i] != m[:, j]]
                hamiltonian[unlike ^ (1 << i) ^ (1 << j), unlike] = 0.5 * coupling_hz[i, j]
    energy_hz, vectors = np.linalg.eigh(hamiltonian)
    transition_hz = energy_hz[:, None] - energy_hz[None, :]

    def evolve(density: NDArray[Any], time_s: float) -> NDArray[np.complex128]:
        evolved: NDArray[np.complex128] = density * np.exp(-2j * np.pi * transition_hz * time_s)
        return evolved

    def rotated(operator: NDArray[Any]) -> NDArray[Any]:
        turned: NDArray[Any] = vectors.T @ operator @ vectors
        return turned

    raising_e = rotated(raising)
    if sequence == "STEAM":
        # pulses about y; coherence orders are picked by what gradients leave in a real voxel
        half = np.sqrt(0.5)
        pulse = np.ones((1, 1))
        for _ in range(n):
            pulse = np.kron(np.array([[half, -half], [half, half]]), pulse)
        order = m.sum(axis=1)[:, None] - m.sum(axis=1)[None, :]
        pulse_e = rotated(pulse)
        density = rotated(0.5 * raising)  # order +1 of the transverse magnetisation
        density = pulse_e @ evolve(density, echoes[0] / 2) @ pulse_e.T
        stored = vectors @ density @ vectors.T
        density = evolve(rotated(np.where(np.abs(order) < 0.25, stored, 0.0)), mixing_time_s)
        density = evolve(pulse_e @ density @ pulse_e.T, echoes[0] / 2)
        density = -2.0 * density  # a singlet keeps half, inverted
    else:
        density = rotated(0.5 * (raising + raising.T)).astype(np.complex128)
        flip = rotated(np.eye(size)[::-1])  # 180 degrees about x, up to a phase that cancels
        if sequence != "PULSE-ACQUIRE":
            for length in echoes:
                density = flip @ evolve(density, length / 2) @ flip
                density = evolve(density, length / 2)

    # the signal is the trace of density times raising operator; its frequency is positive
    amplitude = density * raising_e.T / (size / 4)
    seen = np.abs(raising_e.T) > 1e-9
    return centre_hz - transition_hz[seen], amplitude[seen]
