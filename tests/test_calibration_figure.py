"""The reliability figure: what it draws, and that it is the same each time."""

import numpy as np
import pytest

from mrs_necrosis.classifier import reliability
from mrs_necrosis.report.calibration import reliability_figure
from mrs_necrosis.report.figure import to_svg


def judged(seed, sharpness=1.0):
    rng = np.random.default_rng(seed)
    stated = rng.beta(0.6, 0.6, 500)
    truth = rng.uniform(size=500) < stated**sharpness
    return reliability(truth, stated)


def test_the_points_are_the_numbers():
    found = judged(1)

    figure = reliability_figure({"trained": found})

    container = figure.axes[0].containers[0]
    x, y = container.lines[0].get_data()
    np.testing.assert_allclose(x, found.probability[found.count > 0])
    np.testing.assert_allclose(y, found.frequency[found.count > 0])
    assert figure.axes[1].get_xlabel() == "stated probability of recurrence"


def test_the_same_numbers_give_the_same_bytes():
    models = {"trained": judged(1), "criteria": judged(2, 2.0)}

    assert to_svg(reliability_figure(models), "a") == to_svg(reliability_figure(models), "a")


def test_empty_bins_are_left_out():
    found = reliability([True, False, True], [0.95, 0.05, 0.97])

    x, _ = reliability_figure({"few": found}).axes[0].containers[0].lines[0].get_data()

    assert len(x) == 2


@pytest.mark.parametrize("models", [{}, {str(i): judged(i) for i in range(5)}], ids=["0", "5"])
def test_nothing_or_too_much_is_refused(models):
    with pytest.raises(ValueError, match="one to 4 models"):
        reliability_figure(models)
