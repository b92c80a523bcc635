import gzip
import json

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrs_necrosis.areas import PeakAreas
from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier import assess_grid
from mrs_necrosis.errors import OutputError
from mrs_necrosis.maps import Map, label_maps, ratio_maps, write_maps
from mrs_necrosis.maps.grid import (
    Anatomy,
    Surroundings,
    grid_result,
    membership,
    own_tissue,
)
from mrs_necrosis.maps.map import LABEL_CODES, RATIO_CODES, standard_maps
from mrs_necrosis.quality import FitStatus, Quality
from mrs_necrosis.ratios import RatioStatus, ratio

NAMES = ("Cho", "Cr", "NAA", "LL")
AFFINE = np.array(
    [[-8.0, 0.5, 0.0, 60.0], [0.5, 8.0, 0.0, -70.0], [0.0, 0.0, 12.0, 15.0], [0, 0, 0, 1.0]]
)


def grid_areas(shape=(4, 3, 2), seed=1):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.5, 3.0, (*shape, 4))
    values[0, 0, 0] = np.nan
    root = rng.normal(0, 0.05, (*shape, 4, 4))
    covariance = root @ np.swapaxes(root, -1, -2)
    covariance[0, 0, 0] = np.nan
    return PeakAreas(NAMES, values, covariance)


def grid_quality(shape=(4, 3, 2)):
    number = np.full(shape, 12.0)
    status = np.zeros(shape, dtype=np.uint8)
    status[0, 0, 0] = FitStatus.NOT_FINITE
    number[0, 0, 0] = np.nan
    return Quality(number, number, number / 123.2, number, status, np.full(shape, np.nan))


def load(paths, name):
    path = next(p for p in paths if p.name.partition("_")[2] == f"{name}_mrsmap.nii.gz")
    sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    return nibabel.load(path), sidecar


@given(
    corner=st.tuples(*[st.sampled_from([0, 1])] * 3),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    turn=st.floats(-0.5, 0.5),
)
def test_a_bright_corner_voxel_lands_in_its_corner_of_the_world(
    tmp_path_factory, corner, shape, turn
):
    folder = tmp_path_factory.mktemp("corner")
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    affine = np.diag([-7.0, 9.0, 11.0, 1.0])
    affine[:2, :2] = rotation @ affine[:2, :2]
    affine[:3, 3] = (31.0, -42.0, 17.0)
    at = tuple(c * (n - 1) for c, n in zip(corner, shape, strict=True))
    values = np.ones(shape)
    values[at] = 5.0

    [path] = write_maps(folder, "x", [Map("area", values, "Cho", "", "Cho")], affine=affine)

    image = nibabel.load(path)
    brightest = np.unravel_index(np.argmax(image.get_fdata()), shape)
    # the truth is written out by hand, not taken from the file
    expected = [
        affine[r, 0] * at[0] + affine[r, 1] * at[1] + affine[r, 2] * at[2] + affine[r, 3]
        for r in range(3)
    ]
    found = nibabel.affines.apply_affine(image.affine, brightest)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_names_and_values_are_those_of_the_ratio(tmp_path):
    areas = grid_areas()

    paths = write_maps(
        tmp_path,
        "sub-01",
        standard_maps(areas, grid_quality(), cutoffs={"Cho/Cr": (1.5, 1.11)}),
        affine=AFFINE,
        provenance={"version": "1"},
    )

    one = ratio(areas, "Cho", "Cr")
    for desc, expected in (
        ("ratio", one.value),
        ("sd", one.sd),
        ("probability", one.probability_above(1.5)),
        ("probability2", one.probability_above(1.11)),
    ):
        image, sidecar = load(paths, f"met-ChoCr_desc-{desc}")
        assert image.get_data_dtype() == np.float32
        np.testing.assert_allclose(image.get_fdata(), expected, rtol=1e-6, atol=1e-30)
        assert np.isnan(image.get_fdata()[0, 0, 0])
        assert sidecar["Provenance"] == {"version": "1"}
    assert load(paths, "met-ChoCr_desc-probability")[1]["Cutoff"] == 1.5
    assert (tmp_path / "sub-01_met-LL_desc-area_mrsmap.nii.gz").exists()
    assert (tmp_path / "sub-01_desc-snr_mrsmap.nii.gz").exists()


def test_failure_is_nan_or_a_code_and_never_zero(tmp_path):
    paths = write_maps(tmp_path, "x", standard_maps(grid_areas(), grid_quality()), affine=AFFINE)

    assert len(paths) > 20
    for path in paths:
        image = nibabel.load(path)
        value = image.get_fdata()[0, 0, 0]
        if image.get_data_dtype() == np.float32:
            assert np.isnan(value), path.name
        else:
            assert value != 0, path.name


def test_open_intervals_are_infinite_and_their_bound_is_kept():
    # detected over an absent denominator: two-piece; over pure noise: unbounded
    values = np.array([[[[10.0, 0.8]], [[10.0, 0.1]], [[2.0, 4.0]], [[0.5, 0.5]]]])
    covariance = np.broadcast_to(np.diag([0.25, 0.5**2]), (1, 4, 1, 2, 2)).copy()
    covariance[0, 3, 0] = np.diag([1.0, 1.0])
    one = ratio(PeakAreas(("Cho", "Cr"), values, covariance), "Cho", "Cr")
    maps = {m.desc: m.values[0, :, 0] for m in ratio_maps(one)}

    assert maps["status"].tolist() == [2, 2, 0, 3]
    assert maps["lower"][:2].tolist() == [-np.inf, -np.inf]
    assert maps["upper"][:2].tolist() == [np.inf, np.inf]
    assert 0.2 < maps["lower"][2] < 0.3 < 0.5 < 0.7 < maps["upper"][2] < 0.85
    # neither detected is no answer, which is not the same as unbounded
    assert np.isnan([maps["lower"][3], maps["upper"][3]]).all()
    assert (maps["bound"][:2] > 4).all()
    assert np.isnan(maps["bound"][2:]).all()
    assert np.isnan(maps["ratio"][[0, 1, 3]]).all()


def test_status_key_explains_every_code(tmp_path):
    paths = write_maps(tmp_path, "x", standard_maps(grid_areas(), grid_quality()), affine=AFFINE)

    for name in ("met-ChoCr_desc-status", "desc-status"):
        image, sidecar = load(paths, name)
        assert np.issubdtype(image.get_data_dtype(), np.integer)
        assert {str(int(c)) for c in np.unique(image.get_fdata())} <= set(sidecar["Key"])
    assert load(paths, "desc-status")[1]["Key"]["4"] == (
        f"not-finite: {FitStatus.NOT_FINITE.sentence}"
    )
    assert set(RATIO_CODES) == set(RatioStatus)


def test_the_same_maps_give_the_same_bytes(tmp_path):
    maps = standard_maps(grid_areas(), grid_quality())

    first = write_maps(tmp_path / "a", "x", maps, affine=AFFINE)
    second = write_maps(tmp_path / "b", "x", maps, affine=AFFINE)

    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert gzip.decompress(first[0].read_bytes())[344:348] == b"n+1\x00"


def test_without_an_affine_the_position_is_unknown(tmp_path):
    paths = write_maps(tmp_path, "x", [Map("snr", np.ones((2, 2, 1)), "", "")], affine=None)

    image, sidecar = load(paths, "desc-snr")
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 0
    assert sidecar["Position"].startswith("unknown")


def test_labels_and_gates_are_codes_with_a_key():
    labels = np.array([f.value for f in LABEL_CODES]).reshape(2, 2, 1)
    closed = {"snr": labels == "not-evaluable", "near-normal": labels == "indeterminate"}

    label, gates = label_maps(labels, closed_gates=closed)

    assert label.values.ravel().tolist() == list(LABEL_CODES.values())
    assert label.key[2] == Favors.RECURRENCE.value
    assert gates.values.ravel().tolist() == [0, 0, 2, 1]
    assert gates.key == {1: "snr: closed", 2: "near-normal: closed"}
    with pytest.raises(ValueError, match="labels must be among"):
        label_maps(np.full((1, 1, 1), "tumour"))


def test_no_half_written_file_is_left(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mrs_necrosis.maps.files.Path.replace", broken)
    with pytest.raises(OutputError, match=r"cannot write maps.*No space left"):
        write_maps(tmp_path, "x", [Map("snr", np.ones((1, 1, 1)), "", "")], affine=None)

    assert list(tmp_path.iterdir()) == []


def test_a_name_that_could_leave_the_folder_is_refused(tmp_path):
    one = Map("snr", np.ones((1, 1, 1)), "", "")
    with pytest.raises(ValueError, match="plain file name"):
        write_maps(tmp_path, "../x", [one], affine=None)
    with pytest.raises(ValueError, match="same name: desc-snr"):
        write_maps(tmp_path, "x", [one, one], affine=None)
    with pytest.raises(ValueError, match="letters and digits"):
        Map("a/b", np.ones((1, 1, 1)), "", "")
    with pytest.raises(ValueError, match=r"shape \(X, Y, Z\)"):
        Map("a", np.ones(3), "", "")


# ------------------------------------------------------------------ the whole grid


def whole_grid(level=0.95, **surroundings):
    """A column of tumour in a grid of normal tissue, judged and mapped."""
    shape = (12, 10, 1)
    rng = np.random.default_rng(3)
    values = np.array([1.0, 1.0, 1.7, 0.1]) * rng.normal(1, 0.04, (*shape, 4))
    values[2:4, 3:7] = [2.6, 1.0, 0.6, 0.3]
    covariance = np.broadcast_to(np.eye(4) * 0.03**2, (*shape, 4, 4))
    areas = PeakAreas(("Cho", "Cr", "NAA", "LL"), values, covariance)
    number = np.full(shape, 30.0)
    quality = Quality(
        number, number / 5, number / 600, number / 30, np.zeros(shape), np.full(shape, np.nan)
    )
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    affine[:3, 3] = (-55, -45, 0)
    own = own_tissue(areas, quality, affine=affine, surroundings=Surroundings(**surroundings))
    found = assess_grid(areas, quality=quality)
    return grid_result(areas, quality, found, own, level=level), own, affine


def tumour_mask():
    mask = np.zeros((12, 10, 1))
    mask[2:4, 3:7] = 1
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    affine[:3, 3] = (-55, -45, 0)
    return Anatomy(mask, affine)


def test_a_mask_of_two_lesions_is_told_as_two():
    one = tumour_mask()
    mask = one.values.copy()
    mask[8:10, 7:9] = 1  # in normal tissue

    result, own, _ = whole_grid(lesion=Anatomy(mask, one.affine), point_spread="box")

    first, second = result.lesion.lesions
    assert (first.favors, second.favors) == (Favors.RECURRENCE, Favors.NOT_EVALUABLE)
    assert (first.n_voxels, second.n_voxels) == (pytest.approx(8), pytest.approx(4))
    assert result.lesion.favors is Favors.RECURRENCE
    assert len(own.each_lesion) == 2
    assert whole_grid(lesion=one, point_spread="box")[0].lesion.lesions == ()


def test_a_tumour_in_normal_tissue_is_found_with_its_own_reference(tmp_path):
    result, own, affine = whole_grid(lesion=tumour_mask(), point_spread="box")

    assert result.lesion.favors is Favors.RECURRENCE
    assert result.lesion.n_voxels == pytest.approx(8)
    assert (
        result.lesion.fractions["recurrence-favoring"][0] > 0.9
    )  # a label holds in 90 % of draws
    assert own.reference.mask[8:10, 3:7].any()
    assert not own.reference.mask[:6].any()
    label = next(m for m in result.maps if m.name == "desc-label")
    assert (label.values[2:4, 3:7] == LABEL_CODES[Favors.RECURRENCE]).all()
    assert not (label.values == LABEL_CODES[Favors.RECURRENCE])[4:].any()
    paths = write_maps(tmp_path, "x", result.maps, affine=affine)
    names = {p.name for p in paths}
    assert {
        "x_met-ChoNAA_desc-index_mrsmap.nii.gz",
        "x_met-ChoCrn_desc-ratio_mrsmap.nii.gz",
        "x_met-ChonCho_desc-upper_mrsmap.nii.gz",
        "x_desc-lesion_mrsmap.nii.gz",
        "x_desc-gates_mrsmap.nii.gz",
    } <= names


def test_every_interval_has_the_level_that_was_asked_for():
    result, *_ = whole_grid(level=0.8, lesion=tumour_mask(), point_spread="box")

    levels = {m.name: m.details["IntervalLevel"] for m in result.maps if m.desc == "lower"}
    assert {"met-ChoCr_desc-lower", "met-ChoCrn_desc-lower"} <= set(levels)
    assert set(levels.values()) == {0.8}


def test_reasons_of_a_grid_are_where_they_hold():
    result, *_ = whole_grid()

    near_normal = next(s for s in result.statements if s.text.startswith("near-normal"))
    assert near_normal.where[6:].all()
    assert not near_normal.where[2:4, 3:7].any()
    for name in ("desc-likelihoodratio", "desc-labelprobabilitynecrosisfavoring"):
        shown = next(m.values for m in result.maps if m.name == name)
        assert np.isnan(shown[6:]).all()  # near-normal tissue is no necrosis
        assert np.isfinite(shown[2:4, 3:7]).all()
    for_recurrence = [s for s in result.statements if s.kind == "recurrence"]
    assert any(s.where[2:4, 3:7].all() and not s.where[6:].any() for s in for_recurrence)
    assert result.lesion is None


def test_a_chosen_reference_replaces_the_search():
    chosen = np.zeros((12, 10, 1))
    chosen[9:, :3] = 1

    _, own, _ = whole_grid(reference=Anatomy(chosen, tumour_mask().affine), point_spread="box")

    np.testing.assert_array_equal(own.reference.mask, chosen > 0)
    assert "chosen reference region" in own.reference.sentence


def test_suppressed_lipids_are_marked_on_every_map_of_them():
    areas, quality = grid_areas(), grid_quality()
    own = own_tissue(areas, quality, affine=AFFINE)

    result = grid_result(
        areas, quality, assess_grid(areas, quality=quality), own, lipids_suppressed=True
    )

    for one in result.maps:
        touched = "LL" in one.met.split("/")
        assert ("LipidsSuppressed" in one.details) == touched, one.name
        assert ("no area of lipid" in one.description) == touched
    assert any("lipid signals were suppressed" in note for note in result.notes)


def test_scalp_lipid_is_a_map_and_no_normal_tissue():
    shape = (12, 10, 1)
    scalp = np.zeros(shape, dtype=bool)
    scalp[0] = True
    rng = np.random.default_rng(3)
    values = np.array([1.0, 1.0, 1.7, 0.1]) * rng.normal(1, 0.04, (*shape, 4))
    areas = PeakAreas(
        ("Cho", "Cr", "NAA", "LL"), values, np.broadcast_to(np.eye(4) * 0.03**2, (*shape, 4, 4))
    )
    number = np.full(shape, 30.0)
    quality = Quality(
        number, number / 5, number / 600, number / 30, np.zeros(shape), np.full(shape, np.nan)
    )

    own = own_tissue(areas, quality, affine=None, scalp_lipid=scalp)
    result = grid_result(
        areas, quality, assess_grid(areas, quality=quality), own, scalp_lipid=scalp
    )

    assert not own.index.normal[0].any()
    assert not own.reference.mask[0].any()
    flagged = next(m for m in result.maps if m.desc == "scalplipid")
    np.testing.assert_array_equal(flagged.values, scalp)
    assert any("10 voxels at the edge" in note for note in result.notes)


def test_a_mask_needs_a_position():
    areas, quality = grid_areas(), grid_quality()
    with pytest.raises(ValueError, match="needs a grid with a position"):
        own_tissue(areas, quality, affine=None, surroundings=Surroundings(lesion=tumour_mask()))


@pytest.mark.parametrize(
    ("make", "n_voxels"),
    [
        (lambda mask: 0.5 * mask, 4.0),  # shares are shares
        (lambda mask: mask + 0.004, 8 + 0.004 * 112),  # what resampling leaves behind
        (lambda mask: 255 * mask, 8.0),
        (lambda mask: 2 * mask - 1, 8.0),  # a label of -1 is not the lesion
        (lambda mask: np.where(mask, 1.0, np.nan), 8.0),
    ],
    ids=["shares", "resampled", "8 bits", "signed labels", "NaN outside"],
)
def test_a_mask_is_shares_or_labels(make, n_voxels):
    mask = tumour_mask()

    result, own, _ = whole_grid(lesion=Anatomy(make(mask.values), mask.affine), point_spread="box")

    assert own.lesion_weights.sum() == pytest.approx(n_voxels)
    assert result.lesion.n_voxels == pytest.approx(min(n_voxels, 8.0))


def test_an_empty_mask_hinders_no_reference():
    mask = tumour_mask()

    result, own, _ = whole_grid(lesion=Anatomy(0 * mask.values, mask.affine))

    assert result.lesion is None
    assert any("mask is empty or does not touch the grid" in note for note in result.notes)
    assert own.reference.sentence == whole_grid()[1].reference.sentence


def test_a_lesion_elsewhere_is_said():
    far = tumour_mask()
    far.affine[:3, 3] += 5000

    result, *_ = whole_grid(lesion=far)

    assert result.lesion is None
    assert any("does not touch the grid" in note for note in result.notes)


def test_a_number_too_large_for_a_map_is_no_answer_and_an_open_end_stays_one():
    values = Map("x", np.array([[[1e39, np.inf, -np.inf, 1.0]]]), "", "").values

    np.testing.assert_array_equal(values, np.float32([[[np.nan, np.inf, -np.inf, 1.0]]]))


@pytest.mark.parametrize("top", [255, 256, 65535, 65536])
def test_a_code_keeps_its_value_whatever_its_size(top):
    assert Map("x", np.array([[[0, top]]]), "", "", kind="bits").values.max() == top


def test_each_gate_has_a_bit_of_its_own():
    closed = {f"gate-{n}": np.array([[[bool(n & 1), n > 2, n == 4]]]) for n in range(5)}
    labels = np.full((1, 1, 3), "indeterminate")

    gates = label_maps(labels, closed_gates=closed)[-1]

    assert gates.values.ravel().tolist() == [0b01010, 0b11000, 0b10000]
    assert gates.key == {1 << n: f"gate-{n}: closed" for n in range(5)}


@pytest.mark.parametrize(
    ("values", "shares"),
    [
        ([0.0, 1.0, 3.0], [0.0, 1.0, 1.0]),  # labels
        ([0.0, 0.4, 1.0], [0.0, 0.4, 1.0]),  # shares
        ([-0.1, 0.4, 1.2], [0.0, 0.4, 1.0]),  # shares that were resampled
        ([0.0, 0.4, 2.7], [0.0, 1.0, 1.0]),  # labels that were resampled
        ([np.nan, 1.0, 0.0], [0.0, 1.0, 0.0]),
    ],
)
def test_a_mask_is_of_labels_or_of_shares(values, shares):
    assert membership(np.array(values)).tolist() == shares


def test_what_the_lesion_reaches_into_is_not_taken_as_normal():
    mask = tumour_mask()
    values = mask.values.astype(float)
    beside = (0, 0, 0)
    values[beside] = 0.2  # a fifth of that voxel

    *_, own = whole_grid(lesion=Anatomy(values, mask.affine), point_spread="box")[:2]

    assert own.lesion_weights[beside] == pytest.approx(0.2)
    assert not own.index.normal[beside]


@pytest.mark.parametrize(("affine", "code"), [(np.diag([-8.0, 8.0, 8.0, 1.0]), 1), (None, 0)])
def test_a_viewer_is_told_whether_the_place_is_known(tmp_path, affine, code):
    (path,) = write_maps(tmp_path, "x", [Map("y", np.ones((2, 2, 1)), "", "")], affine=affine)

    header = nibabel.load(path).header

    assert (int(header["qform_code"]), int(header["sform_code"])) == (code, code)


def test_an_open_end_does_not_decide_a_viewers_colours(tmp_path):
    values = np.array([-np.inf, -1.0, *np.linspace(0, 1, 100), np.inf, np.nan]).reshape(-1, 1, 1)
    (path,) = write_maps(tmp_path, "x", [Map("y", values, "", "")], affine=None)

    header = nibabel.load(path).header

    low, high = np.percentile(values[np.isfinite(values)], [2, 98])
    assert [float(header["cal_min"]), float(header["cal_max"])] == pytest.approx([low, high])
