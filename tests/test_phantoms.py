"""Phantoms: the truth they state is the truth they are made of."""

import numpy as np
import pytest

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.constants import WATER_PPM
from mrs_necrosis.simulation.phantoms import phantom
from mrs_necrosis.simulation.signal import voigt_width_hz, voigt_widths_hz
from mrs_necrosis.simulation.tissues import (
    cohort,
    relaxed,
    t2_s,
    tissue_classes,
    tissue_data,
    typical,
)

CLASSES = tissue_classes()


def one_peak(name, area=100.0):
    return PeakAreas((name,), np.array([area]))


def singlets(**areas):
    return PeakAreas(tuple(areas), np.array(list(areas.values()), dtype=float))


def rng(seed=0):
    return np.random.default_rng(seed)


# --- tissues ----------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [name for name in CLASSES if name != "mixed"])
def test_a_cohort_has_the_means_and_spreads_it_is_drawn_from(group):
    n = 20000
    areas = cohort(n, group, rng())
    numbers = tissue_data()["classes"][group]

    for key, name in (("cho_cr", "Cho"), ("naa_cr", "NAA"), ("ll_cr", "LL")):
        mean, sd = numbers[key]
        log = np.log(areas.value(name) / areas.value("Cr"))
        variance = np.log1p((sd / mean) ** 2)
        assert log.mean() == pytest.approx(
            np.log(mean) - variance / 2, abs=4 * np.sqrt(variance / n)
        )
        assert log.std() == pytest.approx(np.sqrt(variance), rel=4 / np.sqrt(2 * n))


def test_log_ratios_have_the_stated_correlations():
    n = 20000
    areas = cohort(n, "radiation_necrosis", rng())
    logs = np.log([areas.value(name) / areas.value("Cr") for name in ("Cho", "NAA", "LL")])

    found = np.corrcoef(logs)[np.triu_indices(3, 1)]
    assert found == pytest.approx([0.2, 0.1, -0.2], abs=4 / np.sqrt(n))


def test_sums_are_the_sums_of_their_parts():
    areas = cohort(10, "mixed", rng(), echo_time_s=0.035)

    ll = areas.value("Lip13") + areas.value("Lip09") + areas.value("Lac")
    assert areas.value("LL") == pytest.approx(ll, rel=1e-12)
    assert areas.value("Glx") == pytest.approx(areas.value("Glu") + areas.value("Gln"), rel=1e-12)


def test_a_mixture_of_amplitudes_lies_between_its_parts():
    mixed = cohort(20000, "mixed", rng())
    necrosis = cohort(20000, "radiation_necrosis", rng())
    tumour = cohort(20000, "recurrent_hgg_low_lipid", rng())

    mean = [areas.value("Cho").mean() for areas in (necrosis, mixed, tumour)]
    assert mean == sorted(mean)
    assert mean[1] == pytest.approx((mean[0] + mean[2]) / 2, rel=0.03)


def test_relaxation_is_undone_by_going_back():
    areas = cohort(5, "radiation_necrosis", rng())
    there = relaxed(areas, from_echo_time_s=0.144, to_echo_time_s=0.030)
    back = relaxed(there, from_echo_time_s=0.030, to_echo_time_s=0.144)

    assert back.names == areas.names
    assert back.values == pytest.approx(areas.values, rel=1e-12)
    gain = there.value("Cr") / areas.value("Cr")
    assert gain == pytest.approx(np.exp(0.114 / t2_s("Cr")), rel=1e-12)


def test_the_creatine_of_normal_tissue_is_the_unit_at_every_echo_time():
    for echo_time_s in (0.030, 0.144, 0.288):
        areas = cohort(5000, "normal_white_matter", rng(), echo_time_s=echo_time_s)
        assert areas.value("Cr").mean() == pytest.approx(1.0, abs=0.01)


def test_the_typical_lesion_is_the_median_of_its_cohort():
    many = cohort(20000, "radiation_necrosis", rng(), echo_time_s=0.030)
    one = typical("radiation_necrosis", echo_time_s=0.030)

    for name, tolerance in (("Cho", 0.02), ("NAA", 0.02), ("Lip13", 0.1), ("mI", 0.02)):
        median = np.median(many.value(name) / many.value("Cr"))
        assert one.value(name) / one.value("Cr") == pytest.approx(median, rel=tolerance), name


def test_an_unknown_class_is_refused_with_the_known_ones():
    with pytest.raises(KeyError, match="no tissue class 'glioma'; there are normal_white_matter"):
        cohort(1, "glioma", rng())
    with pytest.raises(ValueError, match="n must be at least 1"):
        cohort(0, "mixed", rng())


# --- phantoms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Ace", "sI", "Gly", "Lip13", "MM09"])
def test_an_area_is_the_amplitude_at_time_zero(name):
    areas = singlets(**{name: 321.0, "Cr": 1e-9})
    made = phantom(areas, rng(), snr=np.inf, lipid_shape="asymmetric")

    assert made.spectra.fid[0, 0, 0, 0] == pytest.approx(321.0, rel=1e-6)


def test_named_singlets_carry_their_areas_and_not_their_neighbours():
    areas = singlets(NAA=300.0, Cr=200.0, Cho=100.0)
    spectra = phantom(areas, rng(), snr=np.inf, n_samples=8192, linewidth_hz=1.0).spectra

    # integrals of the phased lines over 0.1 ppm, where the rest of the molecules is elsewhere
    line = spectra.spectrum[0, 0, 0].real
    line = line - line[np.abs(spectra.ppm + 2).argmin()]  # half of the first sample lifts it all
    for centre, area in ((2.013, 300.0), (3.028, 200.0), (3.2104, 100.0)):
        near = np.abs(spectra.ppm - centre) < 0.05
        lost = 1 - 2 / np.pi * np.arctan(0.1 * 123.2 / 1.0)  # of a Lorentzian's tails, at most
        assert 2 * line[near].sum() / spectra.n_samples == pytest.approx(area, rel=0.02 + lost)


def test_snr_is_height_over_noise_as_defined():
    made = phantom(
        "recurrent_hgg_low_lipid", rng(), grid=(300, 1, 1), snr=25.0, keep_components=True
    )
    spectra = made.spectra
    clean = np.fft.fftshift(np.fft.fft(made.truth.components["metabolites"], axis=3), axes=3)
    near = np.zeros(spectra.n_samples, dtype=bool)
    for centre in (2.01, 3.03, 3.21):
        near |= np.abs(spectra.ppm - centre) < 0.05

    height = clean[..., near].real.max(axis=3)
    quiet = (spectra.ppm > -3) & (spectra.ppm < -1)
    residual = spectra.spectrum - np.fft.fftshift(
        np.fft.fft(sum(made.truth.components.values()), axis=3), axes=3
    )
    sd = residual[..., quiet].real.std()
    snr = (height / sd) / made.truth.snr * (sd / (made.truth.noise_sd * np.sqrt(1024)))
    assert snr == pytest.approx(np.ones((300, 1, 1)), rel=1e-6)
    samples = residual.real / (made.truth.noise_sd[..., None] * np.sqrt(1024))
    assert samples.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * samples.size))


def test_components_add_up_to_the_data():
    made = phantom(
        "radiation_necrosis", rng(), grid=(2, 2, 1), snr=np.inf, baseline=0.2, residual_water=5.0,
        keep_components=True,
    )  # fmt: skip

    assert sum(made.truth.components.values()) == pytest.approx(made.data.fid, rel=1e-12)
    assert all(np.abs(part).max() > 0 for part in made.truth.components.values())


def test_a_begin_time_is_where_the_samples_start():
    settings = {"grid": (3, 1, 1), "snr": np.inf, "n_samples": 4096, "dwell_time_s": 1e-4}
    first = phantom("recurrent_gbm_high_lipid", rng(), **settings)
    later = phantom("recurrent_gbm_high_lipid", rng(), begin_time_s=3e-4, **settings)

    shifted = first.data.fid[..., 3:]
    assert np.abs(later.data.fid[..., :-3] - shifted).max() < 1e-4 * np.abs(shifted).max()


def test_phase_and_shift_turn_the_fid():
    turned = phantom("mixed", rng(), snr=np.inf, phase_rad=0.7, shift_hz=-4.0)
    plain = phantom("mixed", rng(), snr=np.inf)

    expected = plain.data.fid * np.exp(0.7j - 8j * np.pi * plain.spectra.time_s)
    assert turned.data.fid == pytest.approx(expected, rel=1e-9)


def test_lactate_is_inverted_at_144_ms_and_its_area_is_not():
    for echo_time_s, sign in ((0.030, 1), (0.144, -1), (0.288, 1)):
        made = phantom(
            singlets(Lac=50.0, Cr=1e-9), rng(), snr=np.inf, echo_time_s=echo_time_s,
            linewidth_hz=12.0,
        )  # fmt: skip
        spectra = made.spectra
        near = np.abs(spectra.ppm - 1.31) < 0.1
        assert np.sign(spectra.spectrum[0, 0, 0, near].real.sum()) == sign
        assert made.truth.areas.value("Lac").item() == 50.0
        assert made.truth.areas.value("LL").item() == 50.0


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_linewidth_is_the_full_width_at_half_maximum(share):
    spectra = phantom(
        singlets(Ace=1.0, Cr=1e-9), rng(), snr=np.inf, linewidth_hz=8.0, lorentz_share=share,
        n_samples=16384,
    ).spectra  # fmt: skip
    line = spectra.spectrum[0, 0, 0].real
    line = line - line[np.abs(spectra.ppm + 2).argmin()]  # half of the first sample lifts it all
    above = spectra.frequency_hz[line > line.max() / 2]

    assert above[-1] - above[0] == pytest.approx(8.0, abs=0.3)


@pytest.mark.parametrize(("name", "broader_hz"), [("NAA", -0.72), ("Cho", -0.35), ("Cr", 0.12)])
def test_t2_makes_lines_narrower_or_broader_than_glutamates(name, broader_hz):
    def fid(t2_linewidths):
        made = phantom(singlets(**{name: 1.0}), rng(), snr=np.inf, t2_linewidths=t2_linewidths)
        return made.spectra.fid[0, 0, 0]

    time_s = 5e-4 * np.arange(1024)
    decay = np.log(np.abs(fid(True) / fid(False))[:600])

    np.testing.assert_allclose(decay, -np.pi * broader_hz * time_s[:600], atol=0.01)


def test_voigt_widths_add_up_at_both_ends():
    lorentz, gauss = voigt_widths_hz(5.0, [0.0, 0.5, 1.0])

    assert lorentz == pytest.approx([0.0, 2.5, 5.0])
    assert gauss[[0, 2]] == pytest.approx([5.0, 0.0], abs=0.02)
    assert voigt_width_hz(lorentz, gauss**2) == pytest.approx(5.0, abs=1e-4)


@pytest.mark.parametrize("kind", ["gaussians", "process"])
def test_baselines_are_smooth_and_as_large_as_asked(kind):
    made = phantom(
        "normal_white_matter", rng(), grid=(200, 1, 1), snr=np.inf, baseline=0.1,
        baseline_kind=kind, keep_components=True,
    )  # fmt: skip
    spectrum = np.fft.fftshift(np.fft.fft(made.truth.components["baseline"], axis=3), axes=3)
    clean = np.fft.fftshift(np.fft.fft(made.truth.components["metabolites"], axis=3), axes=3)
    ppm = made.spectra.ppm
    band = (ppm > 0.2) & (ppm < 4.2)
    near = np.abs(ppm - 2.01) < 0.05

    rms = np.sqrt((spectrum[..., band].real ** 2).mean(axis=3))
    assert np.all(rms <= 0.1 * clean[..., band].real.max(axis=3) * 1.0001)
    assert np.median(rms / clean[..., near].real.max(axis=3)) == pytest.approx(0.1, rel=0.2)
    # a baseline has died away when the narrowest metabolites have not: nothing after 30 ms
    late = made.truth.components["baseline"][..., 60:]
    assert np.abs(late).max() < 0.02 * np.abs(made.truth.components["baseline"]).max()


def test_the_two_baseline_generators_differ_in_kind():
    def share_above_6_ppm(kind):
        made = phantom(
            "normal_white_matter", rng(), grid=(400, 1, 1), snr=np.inf, baseline=0.1,
            baseline_kind=kind, keep_components=True,
        )  # fmt: skip
        spectrum = np.fft.fftshift(np.fft.fft(made.truth.components["baseline"], axis=3), axes=3)
        power = (spectrum.real**2).mean(axis=(0, 1, 2))
        ppm = made.spectra.ppm
        return power[(ppm > 6) & (ppm < 10)].mean() / power[(ppm > 0.2) & (ppm < 4.2)].mean()

    # broad peaks live where metabolites live, the stationary process is the same everywhere
    assert share_above_6_ppm("gaussians") < 0.15
    assert share_above_6_ppm("process") > 0.7


def test_unsuppressed_water_dwarfs_the_metabolites():
    made = phantom("normal_white_matter", rng(), residual_water=1000.0)
    spectrum = np.abs(made.spectra.spectrum[0, 0, 0])

    top = made.spectra.ppm[spectrum.argmax()]
    assert abs(top - WATER_PPM) < 0.3
    naa = np.abs(made.spectra.ppm - 2.01) < 0.05
    assert spectrum.max() > 20 * spectrum[naa].max()


def test_coils_combine_to_the_snr_that_was_asked_for():
    made = phantom(
        singlets(Cr=1.0), rng(3), coils=4, averages=16, snr=10.0, water_reference=True,
        n_samples=512,
    )  # fmt: skip
    data = made.data
    assert data.fid.shape == (1, 1, 1, 512, 4, 16)
    assert data.dims == ("DIM_COIL", "DIM_DYN")
    assert data.water.fid.shape == (1, 1, 1, 512, 4)

    # the best combination: noise covariance from the FIDs' ends, sensitivities from the water
    tail = data.fid[0, 0, 0, 384:].transpose(1, 0, 2).reshape(4, -1)
    covariance = np.cov(tail)
    sensitivity = data.water.fid[0, 0, 0, 0]
    weights = np.linalg.solve(covariance, sensitivity)
    weights = weights / (weights.conj() @ sensitivity)
    combined = np.einsum("c,nca->n", weights.conj(), data.fid[0, 0, 0]) / 16
    noise = combined[384:].real.std()
    assert noise * 3000.0 == pytest.approx(made.truth.noise_sd.item(), rel=0.25)


def test_averages_drift_and_average_to_the_snr_that_was_asked_for():
    made = phantom("normal_white_matter", rng(), averages=32, snr=20.0, drift_hz=6.0)
    still = phantom("normal_white_matter", rng(), averages=32, snr=20.0)

    noise = still.data.fid.mean(axis=4)[0, 0, 0, 900:].real.std()
    assert noise == pytest.approx(still.truth.noise_sd.item(), rel=4 / np.sqrt(2 * 124))
    assert made.data.axis_of("DIM_DYN") == 4
    with pytest.raises(ValueError, match="preprocess its data first"):
        _ = made.spectra


def test_an_eddy_current_is_in_the_data_and_in_the_reference_alike():
    bent = phantom("mixed", rng(), snr=np.inf, eddy_current_hz=8.0, water_reference=True)
    straight = phantom("mixed", rng(), snr=np.inf, water_reference=True)

    in_data = np.angle(bent.data.fid / straight.data.fid)[0, 0, 0, :100]
    in_water = np.angle(bent.data.water.fid / straight.data.water.fid)[0, 0, 0, :100]
    assert in_data == pytest.approx(in_water, abs=1e-9)
    assert np.ptp(np.unwrap(in_water)) > 1.0


def test_one_seed_gives_one_phantom():
    settings = {"grid": (5, 1, 1), "baseline": 0.1, "residual_water": 3.0, "lipid_variation": 0.2}

    first, second, other = (phantom("mixed", rng(seed), **settings) for seed in (4, 4, 5))
    assert np.array_equal(first.data.fid, second.data.fid)
    assert not np.array_equal(first.data.fid, other.data.fid)


def test_areas_may_be_given_per_voxel():
    values = np.zeros((4, 1, 1, 2))
    values[..., 0] = 1.0
    values[:, 0, 0, 1] = [0.0, 1.0, 2.0, 3.0]
    made = phantom(PeakAreas(("Cr", "Cho"), values), rng(), grid=(4, 1, 1))

    assert made.truth.ratio("Cho", "Cr")[:, 0, 0] == pytest.approx([0, 1, 2, 3])


def test_noise_can_be_given_where_snr_has_no_meaning():
    made = phantom(one_peak("Ace"), rng(), noise_sd=2.0)

    assert made.data.fid[..., 512:].real.std() == pytest.approx(2.0, rel=4 / np.sqrt(1024))
    assert made.truth.snr.item() == pytest.approx(0.0, abs=0.2)


@pytest.mark.parametrize(
    ("tissue", "settings", "error", "match"),
    [
        (one_peak("LL"), {}, ValueError, "LL is a sum; give its parts Lip13, Lip09, Lac"),
        (one_peak("Xyz"), {}, KeyError, "no peak 'Xyz' can be simulated"),
        (one_peak("NAA", -1.0), {}, ValueError, "finite magnitudes"),
        (one_peak("NAA", np.nan), {}, ValueError, "finite magnitudes"),
        (one_peak("Ace"), {}, ValueError, "there must be NAA, Cr or Cho"),
        ("mixed", {"snr": -1.0}, ValueError, "snr must be positive"),
        ("mixed", {"grid": (0, 1, 1)}, ValueError, "must be at least 1"),
        (
            "mixed",
            {"grid": (1000, 1000, 100)},
            ValueError,
            r"1000 x 1000 x 100 voxels, 1 coils, 1 averages and 1024 samples makes 1,638 GB; "
            r"at most 1 GB are simulated at once: choose fewer",
        ),
        ("mixed", {"coils": 2**10, "averages": 2**7}, ValueError, "makes 2 GB"),
        ("mixed", {"baseline_kind": "wavy"}, ValueError, "baseline_kind must be one of"),
        ("mixed", {"lipid_shape": "round"}, ValueError, "lipid_shape must be one of"),
        ("gliosis", {}, KeyError, "no tissue class 'gliosis'"),
    ],
)
def test_misuse_is_refused(tissue, settings, error, match):
    with pytest.raises(error, match=match):
        phantom(tissue, rng(), **settings)


def test_a_sequence_that_cannot_be_simulated_is_refused():
    with pytest.raises(ValueError, match=r"sequence must be one of PRESS, .+; got 'FOO'"):
        phantom("radiation_necrosis", np.random.default_rng(1), sequence="FOO")


def test_a_phantom_may_be_of_lipid_alone():
    lipid = PeakAreas(("Lip13",), np.ones((1, 1, 1, 1)))

    made = phantom(lipid, np.random.default_rng(1), noise_sd=0.1, keep_components=True)

    assert not made.truth.components["metabolites"].any()
    assert made.truth.components["lipids"].any()
