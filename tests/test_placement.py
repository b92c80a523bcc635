"""A single voxel on the anatomy, and how much of it is lesion."""

import hashlib
import json
import tracemalloc

import nibabel
import numpy as np
import pytest

from mrs_necrosis import analyze, assess, read, read_peaks
from mrs_necrosis.assessment import Favors
from mrs_necrosis.classifier import Context
from mrs_necrosis.errors import MRSNecrosisWarning
from mrs_necrosis.maps.grid import Anatomy, Surroundings
from mrs_necrosis.maps.placement import Placement, placement
from mrs_necrosis.report import placement_figure as drawn
from mrs_necrosis.simulation import sample_path

SAMPLE = "reference_case_te144.nii.gz"
# 1 mm; x is the subject's right, the voxel of the sample has its centre at -32, -41, 38 mm
IMAGE_AFFINE = np.array([[1.0, 0, 0, -70.0], [0, 1, 0, -80.0], [0, 0, 1, 0.0], [0, 0, 0, 1.0]])
SHAPE = (100, 90, 80)


def ball(centre_mm, radius_mm):
    """Return a mask of a ball."""
    mm = np.moveaxis(np.indices(SHAPE), 0, -1) + IMAGE_AFFINE[:3, 3]
    return Anatomy((((mm - centre_mm) ** 2).sum(-1) < radius_mm**2).astype(float), IMAGE_AFFINE)


def turned(angle):
    """Return a voxel of 20 mm at the sample's place, turned about the foot-head axis."""
    c, s = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    affine[:3, :3] = 20.0 * np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    affine[:3, 3] = (-32.0, -41.0, 38.0)
    return affine


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.3])
@pytest.mark.parametrize("radius", [6.0, 8.0, 9.5])
def test_a_lesion_inside_the_voxel_fills_its_share_of_it(angle, radius):
    place = placement(Surroundings(lesion=ball((-32, -41, 38), radius)), turned(angle))

    # a ball of cubes of 1 mm is no ball
    assert place.lesion_share == pytest.approx(4 / 3 * np.pi * radius**3 / 8000, rel=0.04)
    assert place.held == pytest.approx(1.0, abs=0.01)
    assert place.held <= 1.0


def test_a_lesion_elsewhere_or_an_empty_mask_fills_nothing():
    far = placement(Surroundings(lesion=ball((20, -41, 38), 9)), turned(0.0))
    empty = placement(Surroundings(lesion=ball((20, -41, 38), 0)), turned(0.0))

    assert (far.lesion_share, far.held) == (0.0, 0.0)
    assert (empty.lesion_share, empty.held) == (0.0, None)
    assert repr(empty) == "<Placement with lesion: The lesion's mask is empty.>"
    assert empty.sentence == "The lesion's mask is empty."
    assert placement(Surroundings(anatomy=ball((0, 0, 0), 1)), turned(0.0)).sentence == ""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return what is found and written of a voxel of which a quarter is lesion."""
    out = tmp_path_factory.mktemp("placement") / "out"
    lesion, anatomy = ball((-28, -41, 38), 8), ball((-20, -35, 38), 45)
    found = analyze(
        read(sample_path(SAMPLE)),
        out=out,
        lesion_mask=(lesion.values, lesion.affine),
        anatomy=(anatomy.values, anatomy.affine),
    )
    return found, out


def test_a_voxel_that_is_mostly_other_tissue_gets_no_label(written):
    found, out = written
    document = json.loads((out / "result.json").read_text())
    page = (out / "report.html").read_text()

    assert found.assessment.favors == Favors.NOT_EVALUABLE
    assert "% of the voxel: most of what was measured" in str(found)
    assert document["placement"]["lesion_share"] == pytest.approx(2052 / 8000, rel=0.04)
    assert document["placement"]["of_the_lesion"] == pytest.approx(2052 / 2144, rel=0.04)
    assert "Where the voxel lies" in page
    assert page.count("data:image/png;base64") == 1
    assert (out / "position.png").read_bytes()[:4] == b"\x89PNG"


def test_the_provenance_knows_the_images_by_their_checksums(tmp_path):
    lesion = ball((-32, -41, 38), 25)
    path = tmp_path / "Doe_John_lesion.nii"
    nibabel.save(nibabel.Nifti1Image(lesion.values, lesion.affine), path)

    found = analyze(sample_path(SAMPLE), lesion_mask=path, anatomy=(lesion.values, lesion.affine))

    assert found.provenance["parameters"]["position"] == {
        "lesion_mask": hashlib.sha256(path.read_bytes()).hexdigest(), "anatomy": "from memory",
        "point_spread": "hamming", "midline_mm": 0.0,
    }  # fmt: skip


def test_a_voxel_full_of_lesion_keeps_its_label_and_its_picture_goes_when_it_is_redone(written):
    _, out = written
    lesion = ball((-32, -41, 38), 25)

    found = analyze(
        sample_path(SAMPLE), out=out, overwrite=True, figures=False,
        lesion_mask=(lesion.values, lesion.affine),
    )  # fmt: skip
    without = analyze(sample_path(SAMPLE))

    assert found.placement.lesion_share == 1.0
    assert found.assessment.favors == without.assessment.favors == Favors.NECROSIS
    assert found.assessment.caveats == without.assessment.caveats
    assert not (out / "position.png").exists()


@pytest.mark.parametrize(
    ("share", "favors", "words"),
    [
        (0.0, Favors.NOT_EVALUABLE, "outside the lesion's mask; check the mask's space"),
        (0.49, Favors.NOT_EVALUABLE, "fills 49 % of the voxel: most of what was measured"),
        (0.4999, Favors.NOT_EVALUABLE, "fills 49 % of the voxel: most of what was measured"),
        (0.002, Favors.NOT_EVALUABLE, "fills less than 1 % of the voxel: most of what"),
        (0.6, Favors.NECROSIS, "fills 60 % of the voxel: the ratios are pulled towards"),
        (0.95, Favors.NECROSIS, ""),
    ],
)
def test_the_share_that_is_lesion_decides_what_is_said(share, favors, words):
    peaks = read_peaks(sample_path("reference_case.toml"))

    found = assess(peaks, context=Context(lesion_share=share))
    said = " ".join([found.paragraph, *found.caveats])

    assert found.favors == favors
    assert words in said
    assert ("fills" in said) is (0 < share < 0.9)


def test_a_share_beyond_the_voxel_is_refused():
    with pytest.raises(ValueError, match="lesion_share must be"):
        Context(lesion_share=1.2)


def test_the_subjects_right_is_at_the_left_and_the_front_of_the_sagittal_plane():
    right_front_top = Anatomy(np.zeros(SHAPE), IMAGE_AFFINE)
    right_front_top.values[60:, :, :] += 1  # x from -10 mm
    right_front_top.values[:, 60:, :] += 2  # y from -20 mm
    right_front_top.values[:, :, 60:] += 4  # z from 60 mm
    place = Placement(affine=turned(0.0), anatomy=right_front_top)

    figure = drawn.placement_figure(place)
    seen = [axis.images[0].get_array() for axis in figure.axes]

    axial, coronal, sagittal = seen
    assert axial[5, 5] - axial[5, -5] == 1  # right is at the left
    assert axial[5, 5] - axial[-5, 5] == 2  # front is at the top
    assert coronal[5, 5] - coronal[5, -5] == 1
    assert coronal[5, 5] - coronal[-5, 5] == 4
    assert sagittal[5, 5] - sagittal[5, -5] == 2  # front is at the left
    assert sagittal[5, 5] - sagittal[-5, 5] == 4


def test_the_picture_stands_without_anatomy_and_without_a_mask():
    for place in (
        Placement(affine=turned(0.3)),
        placement(Surroundings(lesion=ball((-32, -41, 38), 8)), turned(0.3)),
        placement(Surroundings(anatomy=ball((-32, -41, 38), 30)), turned(0.3)),
    ):
        assert len(drawn.placement_figure(place).axes) == 3


def test_a_voxel_beside_the_anatomy_is_told(tmp_path):
    elsewhere = IMAGE_AFFINE.copy()
    elsewhere[0, 3] += 500.0

    with pytest.warns(MRSNecrosisWarning, match="the voxel lies outside the anatomy"):
        analyze(sample_path(SAMPLE), out=tmp_path / "a", anatomy=(np.ones(SHAPE), elsewhere))

    assert "outside the anatomy; check" in (tmp_path / "a" / "report.html").read_text()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ((np.ones((4, 4)), np.eye(4)), "real numbers with three axes; got float64 of shape"),
        ((np.ones((4, 4, 4), complex), np.eye(4)), "real numbers with three axes; got complex"),
        ((np.ones((0, 4, 4)), np.eye(4)), "real numbers with three axes"),
        ((np.ones((4, 4, 4)), np.zeros((4, 4))), "that can be inverted"),
        ((np.ones((4, 4, 4)), np.eye(3)), "4 x 4 numbers"),
        ((np.ones((4, 4, 4)), np.eye(4) * np.nan), "that can be inverted"),
        ((np.ones((4, 4, 4)), None), "4 x 4 numbers"),
        ((np.ones((4, 4, 4)),), "must be a path or \\(array, affine\\); got 1"),
    ],
)
@pytest.mark.parametrize("name", ["anatomy", "lesion_mask"])
def test_an_image_in_memory_that_is_none_is_refused_before_the_fit(name, image, words):
    with pytest.raises(ValueError, match=f"^{name}.*{words}"):
        analyze(sample_path(SAMPLE), progress=never, **{name: image})


@pytest.mark.parametrize("keywords", [{"thresholds": {"snr_fail": 3}}, {"criteria": ["x"]}])
def test_what_judges_is_looked_at_before_the_fit(keywords):
    with pytest.raises(TypeError, match=f"^{next(iter(keywords))} must be"):
        analyze(sample_path(SAMPLE), progress=never, **keywords)


def never(done, of):
    """Stand for a fit that must not begin."""
    pytest.fail("the fit began")


def test_of_a_large_image_only_what_is_near_the_planes_is_copied():
    image = Anatomy(np.broadcast_to(np.float32(1.0), (2000, 2000, 2000)), np.diag([0.1] * 3 + [1]))
    voxel = np.diag([20.0, 20.0, 20.0, 1.0])
    voxel[:3, 3] = 100.0

    tracemalloc.start()
    drawn.placement_figure(Placement(affine=voxel, anatomy=image, lesion=image))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert most < 5e8  # the image itself would be 64 GB
