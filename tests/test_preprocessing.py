"""Each step of preprocessing against closed forms, and the chain against real files."""

import base64
import itertools
import re
import xml.etree.ElementTree as ET
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrs_necrosis.constants import PEAK_PPM, WATER_PPM
from mrs_necrosis.errors import MRSNecrosisWarning, SignalError
from mrs_necrosis.preprocessing import (
    align_averages,
    average,
    combine_coils,
    correct_eddy_currents,
    find_reference,
    hlsvd,
    preprocess,
    reject_averages,
    remove_water,
)
from mrs_necrosis.preprocessing.eddy_currents import water_area
from mrs_necrosis.preprocessing.noise import noise_sd
from mrs_necrosis.preprocessing.referencing import _lactate_bounds
from mrs_necrosis.simulation import grid_phantom, phantom
from mrs_necrosis.spectra import Acquisition, Spectra, SpectralData

MHZ, DWELL_S, N = 123.2, 5e-4, 1024
TIME_S = np.arange(N) * DWELL_S
ACQUISITION = Acquisition(
    spectrometer_frequency_mhz=MHZ, dwell_time_s=DWELL_S, echo_time_s=0.03, nucleus="1H"
)


def line(ppm, area, fwhm_hz=5.0, time_s=TIME_S):
    rate = 2j * np.pi * (ppm - WATER_PPM) * MHZ - np.pi * fwhm_hz
    return area * np.exp(rate * time_s)


def brain(cho=1.0, cr=1.0, naa=1.5, lac=0.0, lipid=0.0):
    half_ppm = 0.5 * 6.93 / MHZ
    return (
        line(PEAK_PPM["Cho"], cho)
        + line(PEAK_PPM["Cr"], cr)
        + line(3.913, 0.6 * cr)
        + line(PEAK_PPM["NAA"], naa)
        + line(PEAK_PPM["Lac"] - half_ppm, 0.5 * lac)
        + line(PEAK_PPM["Lac"] + half_ppm, 0.5 * lac)
        + line(PEAK_PPM["Lip13"], lipid, 25.0)
        + line(PEAK_PPM["Lip09"], 0.4 * lipid, 25.0)
    )


def noise(rng, sd, *shape):
    return sd * (rng.normal(size=shape) + 1j * rng.normal(size=shape))


def data(fid, dims=(), **kwargs):
    fid = np.asarray(fid)
    if fid.ndim == 1 + len(dims):
        fid = fid[None, None, None]
    return SpectralData(fid=fid, acquisition=ACQUISITION, dims=dims, **kwargs)


def height_at(spectra, ppm, within=0.06):
    near = np.abs(spectra.ppm - ppm) < within
    return spectra.spectrum[..., near].real.max(axis=-1)


def position_near(spectra, ppm, within=0.1):
    near = np.flatnonzero(np.abs(spectra.ppm - ppm) < within)
    return spectra.ppm[near[spectra.spectrum[0, 0, 0, near].real.argmax()]]


# --- noise


@pytest.mark.parametrize("n_samples", [512, 1024, 4096])
def test_noise_sd_is_right_beneath_peaks_a_hundred_times_higher(n_samples):
    rng = np.random.default_rng(1)
    time_s = np.arange(n_samples) * DWELL_S
    fid = sum(line(ppm, 20.0, 8.0, time_s) for ppm in (4.65, 3.2, 3.0, 2.0, 1.3))

    sd = noise_sd(fid + noise(rng, 0.2, 200, n_samples))

    # what is left of the peaks' flanks may raise it; lowering it would be wrong
    assert 0.19 < sd.mean() < 0.215


def test_noise_sd_is_not_taken_from_a_region_that_a_filter_emptied():
    rng = np.random.default_rng(2)
    spectrum = np.fft.fft(noise(rng, 0.2, 200, 1024), axis=-1)
    spectrum[:, 40:500] *= 1e-4

    sd = noise_sd(np.fft.ifft(spectrum, axis=-1))

    # half of the points are left to learn from: choosing the quieter ones lowers it more
    assert sd.mean() == pytest.approx(0.2, rel=0.08)


# --- coils


def test_combined_coils_reach_the_optimal_signal_to_noise_ratio():
    rng = np.random.default_rng(0)
    n_coils, n_dynamics = 8, 6
    mixing = np.eye(n_coils) + 0.25 * rng.normal(size=(n_coils, n_coils))
    covariance = 0.05**2 * mixing @ mixing.T
    sensitivity = rng.normal(size=(3, n_coils)) + 1j * rng.normal(size=(3, n_coils))
    signal = brain()
    white = noise(rng, 0.05, 3, 1, 1, N, n_dynamics, n_coils)
    phases = np.exp(2j * np.pi * rng.random(n_dynamics))
    clean = signal[:, None, None] * phases[:, None] * sensitivity[:, None, None, None, None, :]
    fid = np.moveaxis(clean + white @ mixing.T, -1, 4)

    combined = combine_coils(data(fid, ("DIM_COIL", "DIM_DYN")))

    assert combined.dims == ("DIM_DYN",)
    overlap = np.einsum("xyznd,n->xyzd", combined.fid, signal.conj()) / np.vdot(signal, signal)
    residual = combined.fid - overlap[:, :, :, None, :] * signal[:, None]
    snr = np.abs(overlap).mean(axis=-1).ravel() / residual.real.std(axis=(3, 4)).ravel()
    best = [np.sqrt((s.conj() @ np.linalg.solve(covariance, s)).real) for s in sensitivity]
    # 6 x 1024 residual samples tell the sd to 1 %
    np.testing.assert_allclose(snr, best, rtol=0.04)


@pytest.mark.parametrize("phase_rad", [0.7, -2.5])
def test_combined_coils_have_the_phase_of_the_coil_that_counts_most(phase_rad):
    rng = np.random.default_rng(1)
    sensitivity = np.array([0.4 * np.exp(1.9j), np.exp(1j * phase_rad), 0.3 * np.exp(-1j)])
    fid = brain()[:, None] * sensitivity + noise(rng, 0.02, N, 3)

    combined = combine_coils(data(fid, ("DIM_COIL",))).fid[0, 0, 0]

    # correlations of the noise are estimated from some hundred points, and so known to 0.1
    assert np.angle(np.vdot(brain(), combined) * np.exp(-1j * phase_rad)) == pytest.approx(
        0.0, abs=0.1
    )


def test_coil_weights_come_from_the_water_reference_and_keep_one_scale():
    rng = np.random.default_rng(3)
    sensitivity = rng.normal(size=4) + 1j * rng.normal(size=4)
    water = data(line(WATER_PPM, 1000.0)[:, None] * sensitivity, ("DIM_COIL",))
    weak = 0.01 * brain()[:, None] * sensitivity + noise(rng, 0.02, N, 4)

    combined = combine_coils(data(weak, ("DIM_COIL",), water=water))

    assert combined.history[-1].parameters["weights_from"] == "water reference"
    scale = combined.water.fid[0, 0, 0] / line(WATER_PPM, 1000.0)
    np.testing.assert_allclose(scale, scale[0], rtol=1e-9)
    matched = np.vdot(brain(), combined.fid[0, 0, 0]) / np.vdot(brain(), brain())
    # the noise of the matched filter: 0.02 per part, over the FID's energy, 4 coils
    error = 0.02 * np.sqrt(2.0) / np.linalg.norm(brain())
    assert abs(matched / scale[0] - 0.01) < 5 * error


def test_a_coil_of_nan_is_left_out_like_one_of_zeros():
    made = phantom(
        "normal_white_matter", np.random.default_rng(2), coils=4, averages=3, water_reference=True
    ).data
    broken, dead = np.array(made.fid), np.array(made.fid)
    broken[..., 2, :], dead[..., 2, :] = np.nan, 0.0

    combined = combine_coils(replace(made, fid=broken))

    np.testing.assert_array_equal(combined.fid, combine_coils(replace(made, fid=dead)).fid)
    assert np.isfinite(combined.fid).all()
    assert "1 of them held no number" in combined.history[-1].note
    assert preprocess(replace(made, fid=broken)).reference_confidence.item() > 0.9


def test_a_reference_from_other_coils_is_refused():
    water = data(np.ones((N, 3)), ("DIM_COIL",))

    with pytest.raises(ValueError, match="the data have 2, the reference has 3"):
        combine_coils(data(np.ones((N, 2)), ("DIM_COIL",), water=water))


def test_a_spoilt_voxel_does_not_change_the_combination_of_the_others():
    rng = np.random.default_rng(4)
    fid = noise(rng, 0.1, 3, 1, 1, N, 2) + brain()[:, None]
    spoilt = fid.copy()
    spoilt[1, 0, 0, 5, 0] = np.nan
    without = combine_coils(data(fid[[0, 2]], ("DIM_COIL",))).fid

    combined = combine_coils(data(spoilt, ("DIM_COIL",))).fid

    np.testing.assert_allclose(combined[[0, 2]], without, rtol=1e-12)
    assert np.isnan(combined[1, 0, 0, 5])


# --- averages


def drifting(rng, n_averages, sd):
    shift_hz = rng.uniform(-6, 6, n_averages)
    phase_rad = rng.uniform(-np.pi, np.pi, n_averages)
    unstable = [
        line(4.66, 5 * rng.normal() * np.exp(1j * rng.normal()), 8.0)
        + line(1.3, 3 * rng.normal(), 30.0)
        for _ in range(n_averages)
    ]
    turn = np.exp(1j * (2 * np.pi * shift_hz[:, None] * TIME_S + phase_rad[:, None]))
    fid = (brain() + np.array(unstable)) * turn + noise(rng, sd, n_averages, N)
    return fid.T, shift_hz, phase_rad


def test_alignment_finds_the_drift_although_water_and_lipid_are_unstable():
    rng = np.random.default_rng(5)
    fid, shift_hz, phase_rad = drifting(rng, 24, 0.1)

    aligned = align_averages(data(fid, ("DIM_DYN",)))

    parameters = aligned.history[-1].parameters
    found_hz = np.array(parameters["shift_hz"])
    # a residue of the unstable water's flank is left: a quarter Hz against lines of 5 Hz
    assert np.std(found_hz - shift_hz) < 0.4
    stray = np.exp(1j * (np.radians(parameters["phase_deg"]) - phase_rad))
    assert np.abs(np.angle(stray / stray.mean())).max() < np.radians(25)


def test_alignment_of_noise_alone_changes_nothing():
    rng = np.random.default_rng(6)
    pure = data(noise(rng, 1.0, N, 16), ("DIM_DYN",))

    aligned = align_averages(pure)

    np.testing.assert_array_equal(aligned.fid, pure.fid)
    assert "too little signal" in aligned.history[-1].note


def test_averages_too_weak_alone_are_aligned_together():
    rng = np.random.default_rng(22)
    drift_hz = np.linspace(-4, 4, 64)
    fid = brain() * np.exp(2j * np.pi * drift_hz[:, None] * TIME_S) + noise(rng, 3.0, 64, N)

    aligned = align_averages(data(fid.T, ("DIM_DYN",)))

    parameters = aligned.history[-1].parameters
    assert parameters["together"] > 1
    stray = np.array(parameters["shift_hz"]) - drift_hz
    assert np.std(stray) < 0.4 * np.std(drift_hz)


def test_a_spoilt_average_does_not_keep_the_others_from_being_aligned():
    rng = np.random.default_rng(23)
    fid, shift_hz, _ = drifting(rng, 16, 0.1)
    fid[:, 5] = np.nan

    aligned = align_averages(data(fid, ("DIM_DYN",)))

    sound = np.arange(16) != 5
    found_hz = np.array(aligned.history[-1].parameters["shift_hz"])
    assert np.std((found_hz - shift_hz)[sound]) < 0.4
    assert np.isnan(aligned.fid[0, 0, 0, :, 5]).all()


def test_averages_that_are_aligned_stay_as_they_are():
    rng = np.random.default_rng(7)
    steady = brain()[:, None] + noise(rng, 0.02, N, 8)

    aligned = align_averages(data(steady, ("DIM_DYN",)))

    assert np.abs(aligned.history[-1].parameters["shift_hz"]).max() < 0.1


def test_spoilt_averages_are_left_out_and_named():
    rng = np.random.default_rng(8)
    fid = brain()[:, None] + noise(rng, 0.05, N, 16)
    fid[:, 3] += line(2.5, 3.0, 40.0)
    fid[:, 7] = np.nan
    fid[:, 9] = 0.0

    kept = reject_averages(data(fid, ("DIM_DYN",)))

    assert kept.history[-1].parameters["rejected"] == [3, 7, 9]
    assert kept.fid.shape[4] == 13
    assert "10 is zero throughout" in kept.history[-1].note
    assert "8 holds samples that are not finite" in kept.history[-1].note


def test_good_averages_are_rarely_rejected():
    rejected = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        kept = reject_averages(data(brain()[:, None] + noise(rng, 0.3, N, 16), ("DIM_DYN",)))
        rejected += 16 - kept.fid.shape[4]

    assert rejected <= 2  # of 1600


def test_averaging_is_the_mean_over_all_axes_of_repetitions():
    rng = np.random.default_rng(9)
    fid = noise(rng, 1.0, 2, 1, 1, N, 3, 4)

    averaged = average(data(fid, ("DIM_DYN", "DIM_MEAS")))

    np.testing.assert_allclose(averaged.fid, fid.mean(axis=(4, 5)))
    assert averaged.dims == ()


@pytest.mark.parametrize(
    ("dim", "word"),
    [("DIM_EDIT", "edited"), ("DIM_INDIRECT_0", "indirect"), ("DIM_USER_1", "not known")],
)
def test_axes_that_are_no_repetitions_are_refused(dim, word):
    with pytest.raises(SignalError, match=word):
        preprocess(data(brain()[:, None].repeat(2, axis=1), (dim,)))


# --- eddy currents


def eddy_phase(time_s=TIME_S):
    return 0.7 + 2.0 * np.exp(-time_s / 0.02)


def test_eddy_current_correction_takes_the_phase_of_the_water_out():
    turn = np.exp(1j * eddy_phase())
    rng = np.random.default_rng(10)
    water = line(WATER_PPM + 0.03, 2000.0, 6.0) * turn + noise(rng, 0.05, N)

    corrected = correct_eddy_currents(data(brain() * turn, water=data(water)))

    assert corrected.history[-1].parameters["applied"]
    # the reference's own mean frequency stays, but the mean slope of the eddy phase goes with it
    slope_hz = corrected.history[-1].parameters["water_hz"] - 0.03 * MHZ
    expected = brain() * np.exp(2j * np.pi * slope_hz * TIME_S)
    early = slice(4, 300)
    error = np.linalg.norm((corrected.fid[0, 0, 0] - expected)[early])
    assert error < 0.02 * np.linalg.norm(expected[early])


@pytest.mark.parametrize(("factor", "words"), [(1.1, "1.1"), (0.002, "0.002")])
def test_a_suppressed_reference_is_not_used_and_the_step_says_so(factor, words):
    corrected = correct_eddy_currents(data(brain(), water=data(factor * brain())))

    np.testing.assert_array_equal(corrected.fid[0, 0, 0], brain())
    note = corrected.history[-1].note
    assert f"it is only {words} times as high as the data" in note
    assert "not an unsuppressed water signal" in note


def test_a_reference_at_the_edge_of_the_axis_is_corrected_too():
    edge_ppm = WATER_PPM + 0.5 / DWELL_S / MHZ
    turn = np.exp(1j * eddy_phase())

    corrected = correct_eddy_currents(
        data(brain() * turn, water=data(line(edge_ppm, 2000.0, 6.0) * turn))
    )

    assert corrected.history[-1].parameters["applied"]


@pytest.mark.parametrize(("n_water", "dwell_factor"), [(512, 1), (256, 4), (4096, 0.5)])
def test_a_reference_of_another_length_or_dwell_time_serves_as_well(n_water, dwell_factor):
    time_s = np.arange(n_water) * DWELL_S * dwell_factor
    water = SpectralData(
        fid=np.reshape(
            line(WATER_PPM, 2000.0, 6.0, time_s) * np.exp(1j * eddy_phase(time_s)), (1, 1, 1, -1)
        ),
        acquisition=replace(ACQUISITION, dwell_time_s=DWELL_S * dwell_factor),
    )  # fmt: skip
    turned = brain() * np.exp(1j * eddy_phase())
    alike = data(line(WATER_PPM, 2000.0, 6.0) * np.exp(1j * eddy_phase()))

    corrected = correct_eddy_currents(data(turned, water=water)).fid[0, 0, 0, 4:300]

    expected = correct_eddy_currents(data(turned, water=alike)).fid[0, 0, 0, 4:300]
    assert np.linalg.norm(corrected - expected) < 0.05 * np.linalg.norm(expected)


def test_water_area_is_the_amplitude_at_time_zero():
    fid = line(WATER_PPM, 500.0, 7.0) * np.exp(-((TIME_S / 0.1) ** 2))
    fid[0] *= 0.5  # some scanners' filters halve the first sample

    assert water_area(data(fid))[0, 0, 0] == pytest.approx(500.0, rel=1e-3)


# --- water


def read_hlsvd_reference(path):
    types = {"complex64": ">c8", "complex128": ">c16", "float64": ">f8"}
    fields = {}
    for field in itertools.chain.from_iterable(ET.parse(path).getroot()):
        if field.get("data_type"):
            raw = zlib.decompress(base64.b64decode(field.text))
            fields[field.tag] = np.frombuffer(raw, types[field.get("data_type")])
        else:
            fields[field.tag] = float(field.text)
    return fields


def test_hlsvd_recovers_a_sum_of_damped_exponentials():
    fid = line(4.7, 20.0, 9.0) + 1j * line(3.2, 2.0, 4.0) - line(2.0, 1.0, 6.0)

    found = hlsvd(fid, DWELL_S, 3)

    np.testing.assert_allclose(
        found.frequencies_hz, (np.array([4.7, 3.2, 2.0]) - WATER_PPM) * MHZ, atol=1e-6
    )
    np.testing.assert_allclose(found.dampings_hz, np.pi * np.array([9.0, 4.0, 6.0]), rtol=1e-6)
    np.testing.assert_allclose(found.amplitudes, [20.0, 2.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(
        np.exp(1j * found.phases_rad), np.exp(1j * np.array([0, np.pi / 2, np.pi])), atol=1e-6
    )
    np.testing.assert_allclose(found.fid(N, DWELL_S), fid, atol=1e-6)


def test_hlsvd_agrees_with_the_reference_decomposition(shared_data):
    reference = read_hlsvd_reference(shared_data / "hlsvd_reference" / "data_press_cp0.xml")
    n_used, dwell_s = int(reference["n_data_points"]), 1e-3 * reference["step_size"]
    fid = reference["signals"][:n_used].astype(complex)

    found = hlsvd(
        fid,
        dwell_s,
        int(reference["n_singular_values"]),
        n_columns=int(reference["matrix_size"]),
    )

    frequency_hz = 1e3 * reference["frequencies"]
    rate = 2j * np.pi * frequency_hz + 1e3 / reference["damping_factors"]
    amplitude = reference["amplitudes"] * np.exp(1j * np.radians(reference["phases"]))
    time_s = np.arange(n_used) * dwell_s
    water = np.abs(frequency_hz) < 20.0
    expected = np.exp(np.outer(time_s, rate[water])) @ amplitude[water]
    removed = found.fid(n_used, dwell_s, np.abs(found.frequencies_hz) < 20.0)
    assert np.linalg.norm(expected) > 0.8 * np.linalg.norm(fid)
    # DECISIONS asks for 1e-3; measured 2e-7
    assert np.linalg.norm(removed - expected) < 1e-5 * np.linalg.norm(expected)


def test_hlsvd_agrees_with_what_is_usable_of_the_second_reference(shared_data):
    # its iteration had not converged: one singular value is listed twice, two poles grow, and so
    # all its amplitudes are zero; what is left to compare are singular values and water poles
    reference = read_hlsvd_reference(shared_data / "hlsvd_reference" / "data_25215695.xml")
    n_used, dwell_s = int(reference["n_data_points"]), 1e-3 * reference["step_size"]
    assert not reference["amplitudes"].any()

    found = hlsvd(
        reference["signals"][:n_used].astype(complex),
        dwell_s,
        int(reference["n_singular_values"]),
        n_columns=int(reference["matrix_size"]),
    )

    leading = slice(0, 5)
    scaled = reference["singular_values"][leading] / n_used  # its transforms are not normalised
    np.testing.assert_allclose(found.singular_values[leading], scaled, rtol=1e-4)
    for frequency_hz in 1e3 * reference["frequencies"][[9, 10]]:
        assert np.abs(found.frequencies_hz - frequency_hz).min() < 0.1


def test_hlsvd_is_reproducible_to_the_last_bit():
    fid = brain() + line(4.7, 50.0, 9.0) + noise(np.random.default_rng(11), 0.1, N)

    first, second = hlsvd(fid, DWELL_S), hlsvd(fid, DWELL_S)

    np.testing.assert_array_equal(first.fid(N, DWELL_S), second.fid(N, DWELL_S))


@pytest.mark.parametrize("bad", [np.zeros((2, N)), np.full(N, np.nan), np.zeros(40)])
def test_hlsvd_refuses_what_it_cannot_decompose(bad):
    with pytest.raises(ValueError, match="samples"):
        hlsvd(bad, DWELL_S)


@pytest.mark.parametrize("method", ["hlsvd", "band"])
def test_removing_water_leaves_the_metabolites(method):
    rng = np.random.default_rng(12)
    water = line(4.68, 40.0, 9.0) + 1j * line(4.60, 25.0, 20.0)
    clean = brain(lipid=3.0)
    noisy = clean + noise(rng, 0.05, N)

    removed = remove_water(data(noisy + water), method=method)

    assert removed.history[-1].parameters["method"] == method
    ppm = WATER_PPM + np.fft.fftfreq(N, DWELL_S) / MHZ
    region = (ppm > 0.0) & (ppm < 4.2)
    change = np.fft.fft(removed.fid[0, 0, 0] - noisy)[region]
    # sd of the noise per part of the plain FFT is 1.6; HLSVD may move points by a few of it
    assert np.abs(change).mean() < 0.05 * np.sqrt(2 * N)
    assert np.abs(change).max() < 0.02 * np.abs(np.fft.fft(clean))[region].max()


@pytest.mark.parametrize("dwell_s", [2e-4, 5e-4, 1e-3])
def test_in_the_band_damped_exponentials_are_taken_out_exactly(dwell_s):
    time_s = np.arange(N) * dwell_s
    water = line(4.69, 30.0, 7.0, time_s) + 1j * line(4.62, 10.0, 15.0, time_s)
    others = line(3.56, 0.7, 6.0, time_s) + line(2.01, 1.0, 6.0, time_s)
    acquisition = replace(ACQUISITION, dwell_time_s=dwell_s)
    shape = (1, 1, 1, N)
    made = SpectralData(fid=np.reshape(water + others, shape), acquisition=acquisition)

    removed = remove_water(made, method="band")

    # NAA folds into the band 60 dB down, which is all that is left to disturb the poles
    error = np.linalg.norm(removed.fid[0, 0, 0] - others)
    assert error < 3e-3 * np.linalg.norm(water)


def test_a_large_grid_is_cleaned_in_the_band_nearly_as_well_as_by_hlsvd():
    made = phantom(
        "mixed", np.random.default_rng(26), grid=(80, 1, 1), residual_water=20.0, snr=15.0,
        n_samples=512, dwell_time_s=8e-4, keep_components=True,
    )  # fmt: skip
    clean = made.data.fid - made.truth.components["water"]
    ppm = WATER_PPM + np.fft.fftfreq(512, 8e-4) / MHZ
    metabolites = (ppm > 0.2) & (ppm < 4.1)
    highest = np.abs(np.fft.fft(clean, axis=3))[..., metabolites].max(axis=3)

    worst = {}
    for method in ("auto", "hlsvd"):
        change = np.fft.fft(remove_water(made.data, method=method).fid - clean, axis=3)
        worst[method] = np.abs(change)[..., metabolites].max(axis=3) / highest

    assert remove_water(made.data).history[-1].parameters["method"] == "band"
    # SNR 15: the noise of each point is 7 % of the highest
    assert np.median(worst["auto"]) < 0.04
    assert np.median(worst["auto"]) < 2.5 * np.median(worst["hlsvd"])


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method must be"):
        remove_water(data(brain()), method="subtract")


def test_where_there_is_no_water_nothing_is_removed():
    clean = brain(lipid=20.0) + noise(np.random.default_rng(13), 0.05, N)

    removed = remove_water(data(clean))

    np.testing.assert_array_equal(removed.fid[0, 0, 0], clean)
    assert removed.history[-1].parameters["voxels"] == 0


# --- phase and shift


def reference_of(fid, *, echo_time_s=0.03, **kwargs):
    acquisition = replace(ACQUISITION, echo_time_s=echo_time_s)
    return find_reference(
        Spectra(fid=np.reshape(fid, (-1, 1, 1, N)), acquisition=acquisition), **kwargs
    )


TISSUES = {
    "normal": {"naa": 1.5},
    "tumour": {"cho": 2.0, "cr": 0.6, "naa": 0.3, "lac": 0.8, "lipid": 2.0},
    "no NAA": {"cho": 1.0, "cr": 0.5, "naa": 0.0},
    "no Cr": {"cho": 1.0, "cr": 0.0, "naa": 0.7},
    "no Cho": {"cho": 0.0, "cr": 1.0, "naa": 0.7, "lac": 0.5},
    "necrosis": {"cho": 0.3, "cr": 0.3, "naa": 0.2, "lac": 2.0, "lipid": 15.0},
    "lipid only": {"cho": 0.0, "cr": 0.0, "naa": 0.0, "lipid": 8.0},
}


@pytest.mark.parametrize("tissue", TISSUES)
def test_phase_and_shift_are_found_in(tissue):
    rng = np.random.default_rng(14)
    n_draws = 60
    shift_ppm = rng.uniform(-0.1, 0.1, n_draws)
    phase_rad = rng.uniform(-np.pi, np.pi, n_draws)
    turn = np.exp(1j * (2 * np.pi * shift_ppm[:, None] * MHZ * TIME_S + phase_rad[:, None]))
    clean = brain(**TISSUES[tissue])

    found = reference_of(clean * turn + noise(rng, 0.08, n_draws, N))

    off_ppm = np.abs(found.shift_ppm.ravel() - shift_ppm)
    off_rad = np.abs(np.angle(np.exp(1j * (found.phase_rad.ravel() - phase_rad))))
    # where lipids alone decide, no shift is surer than their own centre
    within_ppm = 0.08 if tissue == "lipid only" else 0.04
    right = (off_ppm < within_ppm) & (off_rad < np.radians(40))
    # the fit that follows refines 0.06 ppm and 40 degrees
    assert right.mean() > 0.96
    assert found.confidence.ravel()[right].mean() > 0.9


def test_inverted_lactate_does_not_turn_the_phase():
    rng = np.random.default_rng(15)
    clean = brain(cho=1.0, cr=0.5, naa=0.4, lac=-2.5)

    found = reference_of(clean + noise(rng, 0.05, 40, N), echo_time_s=0.144)

    assert np.abs(found.phase_rad).max() < np.radians(20)


def test_a_begin_time_is_found_from_the_peaks_phases():
    late_s = 1.2e-3
    late = brain() * 0
    for ppm, area in ((PEAK_PPM["Cho"], 1.0), (PEAK_PPM["Cr"], 1.0), (PEAK_PPM["NAA"], 1.5)):
        turn = np.exp(2j * np.pi * (ppm - WATER_PPM) * MHZ * late_s)
        late = late + line(ppm, area) * turn

    found = reference_of(late + noise(np.random.default_rng(21), 0.02, N))

    assert found.begin_time_s == pytest.approx(late_s, abs=0.1e-3)
    assert abs(found.shift_ppm.item()) < 0.02


@pytest.mark.parametrize("late_s", [-2e-3, 2e-3])
@pytest.mark.parametrize("tissue", ["normal_white_matter", "recurrent_hgg_low_lipid"])
def test_a_begin_time_is_found_though_nothing_is_clear_before_it_is(tissue, late_s):
    made = phantom(
        tissue, np.random.default_rng(3), echo_time_s=0.144, snr=30, begin_time_s=late_s
    )

    found = find_reference(made.spectra)

    # smooth baseline takes a tenth of so large a turn
    assert found.begin_time_s == pytest.approx(late_s, abs=0.2e-3)
    assert abs(found.shift_ppm.item()) < 0.02
    assert found.confidence.item() > 0.9


@pytest.mark.parametrize("missing", [0, 4, 14])
@pytest.mark.parametrize("echo_time_s", [0.03, 0.144])
@pytest.mark.parametrize(
    "tissue", ["radiation_necrosis", "metastasis_recurrence", "recurrent_gbm_high_lipid"]
)
def test_first_samples_that_are_missing_are_found_in_a_lesion(tissue, echo_time_s, missing):
    made = phantom(
        tissue, np.random.default_rng(1), echo_time_s=echo_time_s, snr=30, baseline=0.1,
        shift_hz=5.0, phase_rad=0.5, dwell_time_s=5e-4,
    )  # fmt: skip

    found = find_reference(replace(made.spectra, fid=made.spectra.fid[..., missing:]))

    assert found.begin_time_s == pytest.approx(5e-4 * missing, abs=0.4e-3)
    assert found.shift_ppm.item() == pytest.approx(5.0 / 123.2, abs=0.02)


@pytest.mark.parametrize("off_ppm", [-1.65, -1.0, -0.6, 0.6])
@pytest.mark.parametrize("tissue", ["radiation_necrosis", "normal_white_matter"])
def test_peaks_further_off_than_is_searched_make_no_sure_reference(tissue, off_ppm):
    made = phantom(
        tissue, np.random.default_rng(1), shift_hz=off_ppm * 123.2, snr=30, echo_time_s=0.03
    )

    with pytest.warns(MRSNecrosisWarning, match="uncertain"):
        lost = preprocess(made.data)

    assert lost.reference_confidence.item() < 0.1
    note = next(step for step in lost.history if step.name == "reference_shift").note
    zero_ppm = float(re.search(r"give reference_ppm=([\d.]+)", note)[1])
    assert zero_ppm == pytest.approx(4.65 - off_ppm, abs=0.03)
    told = replace(made.data, acquisition=replace(made.data.acquisition, reference_ppm=zero_ppm))
    assert preprocess(told).reference_confidence.item() > 0.9


@pytest.mark.parametrize(
    ("name", "factor"),
    [("dwell_time_s", 0.8), ("dwell_time_s", 1.1), ("dwell_time_s", 2.0),
     ("spectrometer_frequency_mhz", 0.9), ("spectrometer_frequency_mhz", 63.9 / 123.2),
     ("spectrometer_frequency_mhz", 1.1)],
)  # fmt: skip
@pytest.mark.parametrize("tissue", ["metastasis_recurrence", "normal_white_matter"])
def test_a_header_that_is_wrong_by_a_factor_is_recognised_by_the_peaks(tissue, name, factor):
    made = phantom(
        tissue, np.random.default_rng(1), snr=30, echo_time_s=0.03, residual_water=1.0,
        baseline=0.1, n_samples=2048, dwell_time_s=5e-4,
    )  # fmt: skip
    stored = factor * getattr(made.data.acquisition, name)
    wrong = replace(made.data, acquisition=replace(made.data.acquisition, **{name: stored}))

    with pytest.warns(MRSNecrosisWarning, match="frequency or its dwell time is wrong") as caught:
        lost = preprocess(wrong)

    assert lost.reference_confidence.item() < 0.1
    by = float(re.search(r"lie ([\d.]+) times", str(caught[0].message))[1])
    assert by == pytest.approx(factor, rel=0.02)
    assert preprocess(made.data).reference_confidence.item() > 0.9


@pytest.mark.parametrize("late", [25, 70])
def test_a_signal_behind_the_delay_of_a_filter_is_refused(late):
    made = phantom("metastasis_recurrence", np.random.default_rng(1), snr=50, residual_water=3.0)
    fid = made.data.fid
    delayed = np.concatenate([1e-3 * fid[..., :late][..., ::-1], fid[..., :-late]], axis=3)

    with pytest.raises(SignalError, match=rf"begins late, about {late} samples after the first"):
        preprocess(replace(made.data, fid=delayed))


def test_two_singlets_that_lie_elsewhere_by_chance_do_not_unsettle_a_reference():
    # high SNR and lipid unlike the patterns; what is left of it looked like Cr and Cho elsewhere
    made = phantom(
        "metastasis_recurrence", np.random.default_rng(111), snr=100, echo_time_s=0.144,
        baseline=0.2, shift_hz=8.0, phase_rad=1.0, residual_water=2.0, lipid_shape="asymmetric",
    )  # fmt: skip

    assert preprocess(made.data).reference_confidence.item() > 0.9


def test_a_begin_time_is_found_from_the_strongest_voxels_of_a_grid():
    made = grid_phantom(
        np.random.default_rng(1), grid=(8, 8, 1), echo_time_s=0.03, residual_water=0.0
    )

    late = find_reference(replace(made.spectra, fid=made.spectra.fid[..., 6:]))

    assert late.begin_time_s == pytest.approx(3e-3, abs=0.3e-3)
    assert find_reference(made.spectra).begin_time_s == 0.0


def test_acetate_is_not_called_naa_where_creatine_says_otherwise():
    fid = line(PEAK_PPM["Cr"], 1.0) + line(3.913, 0.6) + line(1.904, 4.0)

    found = reference_of(fid + noise(np.random.default_rng(16), 0.02, N))

    assert abs(found.shift_ppm.item()) < 0.03
    assert "acetate" in found.used[0]


def test_lines_that_no_pattern_explains_make_no_sure_reference():
    strange = (1.5, 1.7, 2.3, 2.6, 3.4, 3.6)
    fid = sum(line(ppm, 1.0) * np.exp(1j * k) for k, ppm in enumerate(strange))

    found = reference_of(fid + noise(np.random.default_rng(0), 0.05, N))

    assert found.confidence.item() < 0.9


@pytest.mark.parametrize("over_noise", [0.3, 0.1, 0.01])
@pytest.mark.parametrize("ppm", [1.5, 1.75, 2.3, 2.6, 2.75, 3.1, 3.4, 3.56])
def test_one_line_where_no_peak_is_expected_makes_no_sure_reference(ppm, over_noise):
    fid = line(ppm, 1.0) + noise(np.random.default_rng(1), over_noise, N)

    assert reference_of(fid).confidence.item() < 0.7  # the gate's limit


@pytest.mark.parametrize("name", ["Cho", "Cr", "NAA"])
def test_one_line_is_a_reference_as_sure_as_the_axis_is_known(name):
    # Cho and Cr are 0.18 ppm apart, and an unseen carrier is known to 0.08 ppm
    fid = line(PEAK_PPM[name], 1.0) + noise(np.random.default_rng(1), 0.3, N)

    without, seen = (reference_of(fid, water_shift_ppm=hint) for hint in (None, 0.0))

    assert abs(seen.shift_ppm.item()) < 0.03
    assert 0.7 < without.confidence.item() < seen.confidence.item() < 1.0


def test_two_lines_tell_each_other_apart():
    fid = line(PEAK_PPM["Cr"], 1.0) + line(PEAK_PPM["NAA"], 1.0)

    assert reference_of(fid + noise(np.random.default_rng(1), 0.1, N)).confidence.item() > 0.99


@pytest.mark.parametrize(
    ("echo_time_s", "sequence", "bounds"),
    [
        (0.030, "PRESS", (0.0, np.inf)),
        (0.144, "PRESS", (-np.inf, 0.0)),
        (0.288, "sLASER", (0.0, np.inf)),
        (0.216, "PRESS", (-np.inf, np.inf)),  # cos(pi J TE) is near zero
        (0.144, "STEAM", (-np.inf, np.inf)),  # depends on the mixing time
        (None, "PRESS", (-np.inf, np.inf)),
    ],
)
def test_lactate_points_where_sequence_and_echo_time_say(echo_time_s, sequence, bounds):
    assert _lactate_bounds(echo_time_s, sequence) == bounds


def test_nothing_is_referenced_by_noise():
    found = reference_of(noise(np.random.default_rng(17), 1.0, 30, N))

    assert (found.confidence < 0.5).mean() > 0.9


# --- the chain


def test_clean_data_pass_unchanged_but_for_phase_and_shift():
    clean = brain() + noise(np.random.default_rng(18), 0.02, N)

    spectra = preprocess(data(clean))

    assert [step.name for step in spectra.history] == ["remove_water", "phase", "reference_shift"]
    assert spectra.history[0].note == "No residual water was found; none removed."
    assert spectra.acquisition.reference_ppm == WATER_PPM
    change = np.vdot(clean, spectra.fid[0, 0, 0]) / np.vdot(clean, clean)
    assert abs(change - 1.0) < 0.1


def test_everything_switched_off_changes_nothing():
    clean = brain() + line(4.7, 30.0)

    spectra = preprocess(data(clean), remove_water=False, phase=False, reference_shift=False)

    np.testing.assert_array_equal(spectra.fid[0, 0, 0], clean)
    assert spectra.history == ()


@given(
    phase_deg=st.floats(-180, 180),
    shift_ppm=st.floats(-0.3, 0.3),
)
@settings(max_examples=10, deadline=None)
def test_a_given_phase_and_shift_are_taken_out_exactly(phase_deg, shift_ppm):
    turn = np.exp(1j * (2 * np.pi * shift_ppm * MHZ * TIME_S + np.radians(phase_deg)))

    spectra = preprocess(data(brain() * turn), phase_deg=phase_deg, shift_ppm=shift_ppm)

    np.testing.assert_allclose(spectra.fid[0, 0, 0], brain(), atol=1e-9)
    assert all(step.parameters["given"] for step in spectra.history[-2:])


def test_a_spoilt_and_an_empty_voxel_pass_through_and_disturb_nothing():
    rng = np.random.default_rng(19)
    grid = brain() + line(4.68, 20.0) + noise(rng, 0.05, 4, 1, 1, N)
    spoilt = grid.copy()
    spoilt[1] = np.nan
    spoilt[2] = 0.0

    spectra = preprocess(data(spoilt))

    alone = preprocess(data(grid[[0, 3]]))
    np.testing.assert_allclose(spectra.fid[[0, 3]], alone.fid, rtol=1e-9, atol=1e-9)
    assert np.isnan(spectra.fid[1]).all()
    assert not spectra.fid[2].any()


@pytest.mark.parametrize(
    ("fid", "sentence"),
    [(np.full(N, np.nan), "every sample of the data is NaN"), (np.zeros(N), "is zero")],
)
def test_data_without_signal_are_refused_in_one_sentence(fid, sentence):
    with pytest.raises(SignalError, match=sentence):
        preprocess(data(fid))


def test_another_nucleus_is_refused():
    other = SpectralData(
        fid=brain()[None, None, None], acquisition=replace(ACQUISITION, nucleus="31P")
    )

    with pytest.raises(SignalError, match="of 31P; only 1H"):
        preprocess(other)


def test_a_demanded_eddy_current_correction_needs_a_reference():
    with pytest.raises(SignalError, match="no water reference"):
        preprocess(data(brain()), correct_eddy_currents=True)


def test_a_spectrum_that_cannot_be_referenced_is_warned_of():
    with pytest.warns(MRSNecrosisWarning, match=r"confidence 0\.00.*give shift_ppm"):
        preprocess(data(noise(np.random.default_rng(25), 1.0, N)))


def test_switches_have_three_values():
    with pytest.raises(ValueError, match="remove_water must be"):
        preprocess(data(brain()), remove_water="yes")
    with pytest.raises(ValueError, match="average=False would leave DIM_DYN"):
        preprocess(data(brain()[:, None], ("DIM_DYN",)), average=False)


def test_the_whole_chain_from_coils_and_drifting_averages_with_a_water_reference():
    rng = np.random.default_rng(20)
    sensitivity = np.array([1.0, 0.5j, -0.7, 0.2 + 0.2j])
    turn = np.exp(1j * eddy_phase())
    fid, _, _ = drifting(rng, 16, 0.02)
    coils = fid[:, None, :] * sensitivity[:, None] * turn[:, None, None]
    coils = coils + noise(rng, 0.05, N, 4, 16)
    water = line(WATER_PPM, 4000.0)[:, None] * sensitivity * turn[:, None]
    reference = data(water + noise(rng, 0.05, N, 4), ("DIM_COIL",))

    spectra = preprocess(data(coils, ("DIM_COIL", "DIM_DYN"), water=reference))

    names = [step.name for step in spectra.history]
    assert names[:3] == ["combine_coils", "align_averages", "average"]
    assert names[-2:] == ["phase", "reference_shift"]
    for peak in ("Cho", "Cr", "NAA"):
        assert position_near(spectra, PEAK_PPM[peak]) == pytest.approx(PEAK_PPM[peak], abs=0.025)
    ratio = height_at(spectra, PEAK_PPM["NAA"]) / height_at(spectra, PEAK_PPM["Cr"])
    assert ratio.item() == pytest.approx(1.5, rel=0.15)
    assert spectra.water_area is not None


@given(
    n_samples=st.sampled_from([16, 17, 64, 100, 256]),
    dims=st.sampled_from([(), ("DIM_COIL",), ("DIM_DYN",), ("DIM_COIL", "DIM_DYN")]),
    megahertz=st.sampled_from([20.0, 63.9, 123.2, 400.0]),
    dwell_s=st.sampled_from([1e-5, 5e-4, 1e-2]),
    scale=st.floats(-12, 12),
    spoilt=st.sampled_from([None, np.nan, np.inf, 0.0]),
    water=st.sampled_from([None, "same coils", "combined"]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_whatever_comes_is_preprocessed_or_refused(
    n_samples, dims, megahertz, dwell_s, scale, spoilt, water, seed
):
    rng = np.random.default_rng(seed)
    shape = (2, 1, 2, n_samples, *(3 for _ in dims))
    fid = 10**scale * noise(rng, 1.0, *shape)
    if spoilt is not None:
        fid[0, 0, 0] = spoilt
    acquisition = Acquisition(spectrometer_frequency_mhz=megahertz, dwell_time_s=dwell_s)
    reference = None
    if water is not None:
        kept = dims if water == "same coils" else ()
        reference = SpectralData(
            fid=np.ones((2, 1, 2, n_samples, *(3 for _ in kept))) * 10 ** (scale + 3),
            acquisition=acquisition,
            dims=kept,
        )

    spectra = preprocess(
        SpectralData(fid=fid, acquisition=acquisition, dims=dims, water=reference)
    )

    assert spectra.fid.shape == shape[:4]
    assert np.isfinite(spectra.fid[1]).all()


@given(scale=st.floats(-6, 6), turn=st.floats(-np.pi, np.pi))
@settings(max_examples=10, deadline=None)
def test_neither_unit_nor_phase_of_the_data_matters(scale, turn):
    fid = brain() + line(4.68, 20.0, 9.0) + noise(np.random.default_rng(24), 0.05, N)
    factor = 10**scale * np.exp(1j * turn)

    turned = preprocess(data(factor * fid)).fid / 10**scale

    plain = preprocess(data(fid)).fid
    # the iteration stops at 1e-3 of the water's singular values, wherever it is turned
    assert np.linalg.norm(turned - plain) < 1e-3 * np.linalg.norm(plain)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_samples_of_an_impossible_size_are_damage(size):
    made = phantom("normal_white_matter", np.random.default_rng(1)).data

    with pytest.raises(SignalError, match="numbers of that size are damage, not a signal"):
        preprocess(replace(made, fid=size * made.fid))
