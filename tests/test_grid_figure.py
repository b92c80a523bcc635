from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.image import imread

from mrs_necrosis.maps import Map, label_maps
from mrs_necrosis.maps.grid import Anatomy
from mrs_necrosis.report.grid_figure import grid_figure, to_png

AFFINE = np.diag([10.0, 10.0, 10.0, 1.0])


def one_panel(values, affine=AFFINE):
    return grid_figure(Map("ratio", values, "Cho/Cr", "", "Cho/Cr"), affine=affine)


def panel(figure):
    [axis] = [a for a in figure.axes if len(a.images) == 2]
    return np.ma.asarray(axis.images[1].get_array())


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_subjects_left_is_on_the_right(sign):
    values = np.zeros((4, 3, 1))
    values[3, :, 0] = 1.0  # the highest index

    shown = panel(one_panel(values, np.diag([sign * 10.0, 10.0, 10.0, 1.0])))

    # x rises towards the subject's right, which is drawn on the left
    expected = np.zeros((3, 4))
    expected[:, 0 if sign > 0 else -1] = 1.0
    np.testing.assert_array_equal(shown, expected)


def test_anterior_is_on_top_and_no_answer_is_left_out():
    values = np.ones((4, 3, 1))
    values[:, 2, 0] = np.nan  # y rises towards anterior

    shown = panel(one_panel(values))

    assert shown.mask[0].all()
    assert not shown.mask[1:].any()


def test_voxels_without_a_label_are_not_drawn():
    labels = np.array(["not-evaluable", "necrosis-favoring"]).reshape(2, 1, 1)

    shown = panel(grid_figure(label_maps(labels)[0], affine=AFFINE))

    assert shown.mask.tolist() == [[False, True]]
    assert shown[0, 0] == 0


def test_the_key_has_the_colours_that_the_labels_are_named_by():
    labels = np.array(["recurrence-favoring", "necrosis-favoring"]).reshape(2, 1, 1)
    anatomy = Anatomy(np.zeros((8, 8, 8)), AFFINE)

    figure = grid_figure(label_maps(labels)[0], affine=AFFINE, anatomy=anatomy)

    # with the map's own transparency they were pale in the key and dark over the anatomy
    [key] = [axis for axis in figure.axes if axis.get_label() == "<colorbar>"]
    assert [one.get_alpha() for one in key.collections if one.get_array() is not None] == [1.0]


def test_the_same_map_gives_the_same_picture():
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 2, (5, 4, 3))
    anatomy = Anatomy(rng.uniform(0, 1, (20, 20, 20)), np.diag([3.0, 3.0, 3.0, 1.0]))
    weights = (values > 1.5).astype(float)

    first, second = (
        to_png(
            grid_figure(
                Map("ratio", values, "Cho/Cr", "", "Cho/Cr"),
                affine=AFFINE,
                anatomy=anatomy,
                lesion_weights=weights,
            )
        )
        for _ in range(2)
    )

    assert first == second
    assert imread(BytesIO(first)).shape[0] > 300


def test_a_picture_without_position_says_so():
    figure = one_panel(np.ones((2, 2, 1)), affine=None)

    assert "orientation unknown" in figure._supxlabel.get_text()


def test_the_names_of_the_labels_of_a_flat_grid_stand_apart():
    labels = np.full((10, 1, 1), "indeterminate")

    figure = grid_figure(label_maps(labels)[0], affine=AFFINE)
    to_png(figure)

    boxes = [text.get_window_extent() for text in figure.axes[-1].get_yticklabels()]
    assert all(low.y1 <= high.y0 for low, high in pairwise(boxes))
