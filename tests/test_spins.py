"""Coupled spins: closed forms, sum rules, and bases that other programs simulated."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrs_necrosis.constants import LACTATE_J_HZ, PEAK_PPM
from mrs_necrosis.simulation import spins
from mrs_necrosis.simulation.spins import (
    Lines,
    known_sequence,
    metabolite_group_area,
    metabolite_lines,
    spin_systems,
)

F3T = 123.2


def lines_of(name, echo_time_s=0.030, sequence="PRESS", frequency_mhz=F3T, **more):
    return metabolite_lines(
        name,
        spectrometer_frequency_mhz=frequency_mhz,
        sequence=sequence,
        echo_time_s=echo_time_s,
        **more,
    )


def coupled(shifts_hz, couplings, sequence, echoes, mixing_time_s=0.0):
    """Return lines of any spin system, frequencies ascending."""
    j = np.zeros((len(shifts_hz), len(shifts_hz)))
    for a, b, value in couplings:
        j[a, b] = j[b, a] = value
    frequency, amplitude = spins._coupled(
        np.array(shifts_hz, float), j, sequence, echoes, mixing_time_s
    )
    order = np.argsort(frequency)
    return frequency[order], amplitude[order]


def protons(name):
    return sum(
        group.get("fraction", 1.0) * sum(group.get("protons", [1] * len(group["shift_ppm"])))
        for group in spin_systems()[name]["groups"]
    )


@pytest.mark.parametrize("name", sorted(spin_systems()))
def test_without_an_echo_every_proton_counts_once(name):
    lines = lines_of(name, 0.0, "PULSE-ACQUIRE")

    assert lines.amplitude.sum() == pytest.approx(protons(name), rel=1e-4)
    assert np.abs(lines.amplitude.imag).max() < 1e-9
    assert lines.amplitude.real.min() > -1e-9


@pytest.mark.parametrize("name", sorted(spin_systems()))
def test_an_echo_of_no_length_is_no_echo(name):
    plain = lines_of(name, 0.0, "PULSE-ACQUIRE")

    for sequence in ("PRESS", "sLASER", "SPIN-ECHO", "STEAM"):
        echo = lines_of(name, 0.0, sequence, mixing_time_s=0.0)
        time_s = np.arange(64) * 5e-4
        assert echo.fid(time_s, F3T) == pytest.approx(
            plain.fid(time_s, F3T), abs=1e-3 * protons(name)
        )


@pytest.mark.parametrize("sequence", ["PRESS", "sLASER", "SPIN-ECHO", "STEAM"])
@pytest.mark.parametrize("name", ["Cr", "sI", "Gly", "Ace"])
def test_a_singlet_is_real_positive_and_counts_its_protons_in_every_sequence(name, sequence):
    lines = lines_of(name, 0.1, sequence)

    assert lines.amplitude.sum() == pytest.approx(protons(name), rel=1e-9)
    assert lines.amplitude.real.min() > 0


@pytest.mark.parametrize("echo_time_s", [0.020, 0.030, 0.072, 0.100, 0.144, 0.200, 0.288])
def test_the_lactate_doublet_follows_the_cosine_of_j_times_echo_time(echo_time_s):
    lines = lines_of("Lac", echo_time_s, frequency_mhz=1000.0)
    time_s = np.arange(256) * 5e-4
    doublet = lines.shift_ppm < 2
    methyl = Lines(lines.shift_ppm[doublet], lines.amplitude[doublet])

    # closed form of a weakly coupled A3X: the doublet goes on with its modulation after the echo
    expected = 3 * np.cos(np.pi * 6.933 * (echo_time_s + time_s))
    signal = methyl.fid(time_s, 1000.0, 1.3142)
    assert signal == pytest.approx(expected, abs=0.03)


def test_lactate_is_upside_down_at_144_ms_and_upright_at_288_ms():
    methyl = {
        te: lines.amplitude[lines.shift_ppm < 2].sum().real
        for te in (0.144, 0.288)
        for lines in [lines_of("Lac", te)]
    }

    assert methyl[0.144] == pytest.approx(-3, abs=0.02)
    assert methyl[0.288] == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(
    ("peak", "members", "below_ppm"),
    [("NAA", ("NAA",), 2.1), ("Cr", ("Cr", "PCr"), 3.1), ("Cho", ("GPC", "PCh"), 3.25),
     ("Lac", ("Lac",), 2.0)],
)  # fmt: skip
def test_a_peak_lies_where_its_spins_say(peak, members, below_ppm):
    centres = []
    for name in members:
        lines = lines_of(name, 0.0, "PULSE-ACQUIRE", frequency_mhz=600.0)
        named = (lines.shift_ppm < below_ppm) & (lines.shift_ppm > below_ppm - 0.8)
        weight = np.where(named, lines.amplitude.real, 0.0)
        weight[weight < 0.3 * weight.max()] = 0.0
        centres.append(np.average(lines.shift_ppm, weights=weight))

    assert np.mean(centres) == pytest.approx(PEAK_PPM[peak], abs=0.0015)


def test_the_coupling_of_lactate_is_the_constant():
    lines = lines_of("Lac", 0.0, "PULSE-ACQUIRE", frequency_mhz=600.0)
    doublet = lines.shift_ppm < 2
    low, high = lines.shift_ppm[doublet][[0, -1]] * 600.0

    assert high - low == pytest.approx(LACTATE_J_HZ, abs=0.15)


@settings(max_examples=40, deadline=None)
@given(
    separation_hz=st.floats(1, 300),
    j_hz=st.floats(-20, 20).filter(lambda j: abs(j) > 0.5),
)
def test_two_spins_give_the_textbook_ab_quartet(separation_hz, j_hz):
    frequency, amplitude = coupled(
        [-separation_hz / 2, separation_hz / 2], [(0, 1, j_hz)], "PULSE-ACQUIRE", (0.0,)
    )

    c = np.hypot(separation_hz, j_hz)
    expected = np.sort([(s * c + t * j_hz) / 2 for s in (-1, 1) for t in (-1, 1)])
    assert frequency == pytest.approx(expected, abs=1e-8)
    inner = abs(j_hz) / c
    assert np.sort(amplitude.real) == pytest.approx(
        np.sort([(1 - inner) / 2] * 2 + [(1 + inner) / 2] * 2), abs=1e-9
    )


@settings(max_examples=30, deadline=None)
@given(
    shifts=st.lists(st.floats(-200, 200), min_size=3, max_size=3),
    couplings=st.lists(st.floats(-15, 15), min_size=3, max_size=3),
    echoes=st.tuples(st.floats(0, 0.1), st.floats(0, 0.1)),
)
def test_pulses_about_another_axis_change_nothing_but_the_phase(shifts, couplings, echoes):
    # the oracle: the same echo train by brute force, 3 spins as Pauli matrices, all pulses about y
    x = np.array([[0, 1], [1, 0]]) / 2
    y = np.array([[0, -1j], [1j, 0]]) / 2
    z = np.array([[1, 0], [0, -1]]) / 2

    def on(spin, operator):
        product = np.eye(1)
        for i in range(3):
            product = np.kron(product, operator if i == spin else np.eye(2))
        return product

    ham = sum(shifts[i] * on(i, z) for i in range(3)).astype(complex)
    for (a, b), j in zip(((0, 1), (0, 2), (1, 2)), couplings, strict=True):
        ham += j * sum(on(a, o) @ on(b, o) for o in (x, y, z))
    energy, v = np.linalg.eigh(ham)

    def wait(rho, t):
        u = v @ np.diag(np.exp(-2j * np.pi * energy * t)) @ v.conj().T
        return u @ rho @ u.conj().T

    rho = sum(on(i, y) for i in range(3))
    fy_energy, w = np.linalg.eigh(rho)
    flip = w @ np.diag(np.exp(-1j * np.pi * fy_energy)) @ w.conj().T
    for length in echoes:
        rho = wait(flip @ wait(rho, length / 2) @ flip.conj().T, length / 2)
    detect = sum(on(i, x) + 1j * on(i, y) for i in range(3))
    time_s = np.linspace(0, 0.2, 40)
    brute = np.array([np.trace(wait(rho, t) @ detect) for t in time_s]) / 2 / 1j

    frequency, amplitude = coupled(
        shifts, [(0, 1, couplings[0]), (0, 2, couplings[1]), (1, 2, couplings[2])], "PRESS", echoes
    )
    signal = np.exp(2j * np.pi * np.outer(time_s, frequency)) @ amplitude
    assert signal == pytest.approx(brute, abs=1e-9)


@pytest.mark.parametrize(
    ("sequence", "echoes"), [("sLASER", (0.01,) * 4), ("PRESS", (0.011, 0.029))]
)
def test_an_unknown_split_of_the_echo_time_is_that_of_the_sequence(sequence, echoes):
    assumed = lines_of("Glu", 0.04, sequence)
    given_ = lines_of("Glu", 0.04, sequence, echo_times_s=echoes)
    halves = lines_of("Glu", 0.04, "PRESS", echo_times_s=(0.02, 0.02))

    np.testing.assert_array_equal(assumed.amplitude, given_.amplitude)
    time_s = np.arange(512) * 5e-4
    difference = np.abs(assumed.fid(time_s, F3T) - halves.fid(time_s, F3T)).max()
    assert difference > 0.1  # of five protons: the split shows in strongly coupled spins


def test_an_echo_refocuses_the_coupling_to_phosphorus_and_nitrogen():
    # GPC's methyls couple with nitrogen alone: a 1:1:1 triplet that no echo time touches
    short, long = (lines_of("GPC", te, frequency_mhz=600.0) for te in (0.0, 0.2))

    for lines in (short, long):
        near = np.abs(lines.shift_ppm - 3.212) < 0.001
        assert lines.amplitude[near] == pytest.approx([3, 3, 3], rel=1e-9)
        assert np.diff(lines.shift_ppm[near]) * 600.0 == pytest.approx([0.57, 0.57], rel=1e-9)


def test_steam_at_long_mixing_times_leaves_the_stimulated_echo_of_an_ax_pair():
    # closed form for weak coupling, zero-quantum terms apart: x' = cos^2(pi J TE/2) for A and X
    j, te = 7.0, 0.040
    frequency, _ = coupled([-500.0, 500.0], [(0, 1, j)], "STEAM", (te,), 0.0)
    several = np.mean(
        [
            coupled([-500.0, 500.0], [(0, 1, j)], "STEAM", (te,), tm)[1].sum()
            for tm in np.arange(16) / 16 / 1000.0  # one turn of the zero-quantum coherence
        ]
    )

    assert len(frequency) == 4
    assert several.real / 2 == pytest.approx(np.cos(np.pi * j * te / 2) ** 2, abs=0.01)


def test_merging_and_dropping_lines_does_not_show_in_a_damped_fid(monkeypatch):
    time_s = np.arange(0, 2048, 7) * 5e-4
    damping = np.exp(-np.pi * 3.0 * time_s)
    merged = {name: lines_of(name).fid(time_s, F3T) for name in spin_systems()}

    monkeypatch.setattr(spins, "_MERGE_HZ", 0.0)
    monkeypatch.setattr(spins, "_NEGLIGIBLE", 0.0)
    spins._simulated.cache_clear()
    exact = {name: lines_of(name).fid(time_s, F3T) for name in spin_systems()}
    spins._simulated.cache_clear()

    for name in spin_systems():
        error = np.abs((merged[name] - exact[name]) * damping).max() / protons(name)
        assert error < 1.2e-4, name


def test_a_scanners_word_is_understood_and_an_unknown_one_is_said():
    assert known_sequence("svs_se") == "PRESS"
    assert known_sequence("semi-LASER") == "sLASER"
    assert known_sequence(None) is None
    unknown = lines_of("Glu", 0.030, "%CustomerSeq%")

    assert any("sequence is unknown" in text for text in unknown.assumptions)
    assert not any("Customer" in text for text in unknown.assumptions)
    assert np.array_equal(unknown.amplitude, lines_of("Glu", 0.030, "PRESS").amplitude)
    assert lines_of("Glu", 0.030, "PRESS", echo_times_s=(0.011, 0.019)).assumptions == ()


def test_areas_are_those_of_the_group_that_names_the_peak():
    assert [metabolite_group_area(name) for name in ("NAA", "NAAG", "Cr", "GPC", "Lac")] == [
        3, 3, 3, 9, 3,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"name": "Xyl"}, KeyError, "no spin system 'Xyl'; there are Ace"),
        ({"spectrometer_frequency_mhz": 123.2e6}, ValueError, "must be in MHz"),
        ({"echo_time_s": 30.0}, ValueError, "echo_time_s must be in s"),
        ({"echo_times_s": (0.03, 0.03)}, ValueError, "add up to the echo time"),
        ({"echo_times_s": ()}, ValueError, "add up to the echo time"),
    ],
)
def test_misuse_is_refused(change, error, match):
    arguments = {
        "name": "NAA",
        "spectrometer_frequency_mhz": F3T,
        "sequence": "PRESS",
        "echo_time_s": 0.03,
    } | change

    with pytest.raises(error, match=match):
        metabolite_lines(arguments.pop("name"), **arguments)


# --- bases that other programs simulated ------------------------------------------------------


def lcmodel_basis(path):
    """Return spectra by name, higher ppm at the higher index."""
    pattern = r"\$BASIS\s.*?METABO = '(\w+)'.*?\$END\n(.*?)(?=\$NMUSED|\Z)"
    spectra = {}
    for match in re.finditer(pattern, path.read_text(), re.S):
        numbers = np.array(match[2].split(), float)
        stored = np.fft.fftshift(numbers[::2] + 1j * numbers[1::2])
        spectra[match[1]] = np.conj(stored[::-1])
    return spectra


def jmrui_fid(path):
    rows = path.read_text().split("Signal 1 out of 1 in file\n")[1].split("\n")
    numbers = np.array([row.split()[:2] for row in rows if row.strip()], float)
    return numbers[:, 0] + 1j * numbers[:, 1]


def best_match(lines, spectrum, ppm, frequency_mhz, near):
    """Return correlation, real scale and shift of the closest damped copy of the lines."""
    n = len(ppm)
    time_s = np.arange(n) / ((ppm[1] - ppm[0]) * frequency_mhz * n)
    band = (ppm > 0.5) & (ppm < 4.3)
    target = spectrum[band]
    base = lines.fid(time_s, frequency_mhz, float(ppm[n // 2]))
    best = (-1.0, 0.0, 0.0)
    for width_hz in near:
        for shift_ppm in np.arange(-0.006, 0.0061, 0.001):
            decay = np.exp((-np.pi * width_hz + 2j * np.pi * shift_ppm * frequency_mhz) * time_s)
            model = np.fft.fftshift(np.fft.fft(base * decay))[band]
            overlap = np.vdot(model, target).real
            size = np.vdot(model, model).real
            correlation = overlap / np.sqrt(size) / np.linalg.norm(target)
            best = max(best, (correlation, overlap / size, shift_ppm))
    return best


OUR_NAME = {"Ins": "mI", "sIns": "sI", "PCho": "PCh"}


def test_the_lines_are_those_of_an_lcmodel_basis(shared_data):
    frequency_mhz, n, dwell_s = 127.7861, 1024, 5e-4
    frequency = np.fft.fftshift(np.fft.fftfreq(n, dwell_s))
    ppm = (4.65 - frequency / frequency_mhz)[::-1]
    basis = lcmodel_basis(shared_data / "lcmodel" / "brain_3T_press30" / "3t.basis")

    scales = []
    for name, spectrum in basis.items():
        ours = lines_of(
            OUR_NAME.get(name, name),
            frequency_mhz=frequency_mhz,
            echo_times_s=(0.010, 0.020),  # what the file does not say and the match shows
        )
        # the basis keeps its lines' width of 2 Hz (Gaussian and Lorentzian mixed)
        correlation, scale, shift_ppm = best_match(ours, spectrum, ppm, frequency_mhz, WIDTHS)
        assert correlation > 0.98, name
        assert abs(shift_ppm) < 0.004, name
        scales.append(scale)
    assert len(scales) == 17
    assert np.std(scales) / np.mean(scales) < 0.1  # one proton is one proton in all of them


def test_the_lines_are_those_of_the_fitting_challenge(shared_data):
    frequency_mhz, dwell_s = 123.22, 2.5e-4
    found = {}
    for path in sorted((shared_data / "ismrm_challenge" / "basis_jmrui").glob("*.txt")):
        if path.stem == "Mac":
            continue
        fid = jmrui_fid(path)
        frequency = np.fft.fftshift(np.fft.fftfreq(len(fid), dwell_s))
        ours = lines_of(
            OUR_NAME.get(path.stem, path.stem),
            frequency_mhz=frequency_mhz,
            echo_times_s=(0.011, 0.019),
        )
        spectrum = np.fft.fftshift(np.fft.fft(fid))
        ppm = 4.65 + frequency / frequency_mhz
        found[path.stem] = best_match(ours, spectrum, ppm, frequency_mhz, WIDTHS)

    assert len(found) == 11
    # the challenge gives glutamine other shifts (by about 0.004 ppm) than Govindaraju 2000
    assert found.pop("Gln")[0] > 0.94
    for name, (correlation, scale, shift_ppm) in found.items():
        assert correlation > 0.98, name
        assert scale == pytest.approx(1.0, abs=0.06), name
        assert abs(shift_ppm) < 0.006, name


WIDTHS = (0.3, 0.6, 1.0, 1.4, 1.7, 2.0, 2.5, 3.0)
