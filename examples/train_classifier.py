"""Train, judge and save a NecrosisClassifier: python examples/train_classifier.py [MODEL.json].

Beside the model it writes a reliability figure. The lesions are simulated: put your own peak
areas, classes and patients in their place.
"""

import sys
from pathlib import Path

import numpy as np

from mrs_necrosis import PeakAreas
from mrs_necrosis.classifier import NecrosisClassifier, cross_validate, log_ratios
from mrs_necrosis.report.calibration import reliability_figure
from mrs_necrosis.report.figure import to_png
from mrs_necrosis.simulation.tissues import cohort

PEAKS = ("LL", "Cho", "Cr", "NAA")
RATIOS = ("Cho/Cr", "NAA/Cr", "LL/Cr")
GROUPS = {
    "radiation_necrosis": "necrosis",
    "recurrent_hgg_low_lipid": "recurrence",
    "recurrent_gbm_high_lipid": "recurrence",
}


def measured(group: str, n: int, rng: np.random.Generator) -> PeakAreas:
    """Return simulated peak areas with the covariance of their errors."""
    truth = cohort(n, group, rng)
    values = np.stack([truth.value(name) for name in PEAKS], axis=-1)
    sd = 0.05
    covariance = np.broadcast_to(sd**2 * np.eye(len(PEAKS)), (n, len(PEAKS), len(PEAKS)))
    return PeakAreas(PEAKS, values + sd * rng.standard_normal(values.shape), covariance)


def main(path: str | None) -> None:
    rng = np.random.default_rng(1)
    n, voxels = 300, 2
    features, errors, classes = [], [], []
    for group, word in GROUPS.items():
        x, error = log_ratios(measured(group, n, rng), RATIOS)
        features.append(x)
        errors.append(error)
        classes += [word] * n
    x, error, y = np.concatenate(features), np.concatenate(errors), np.array(classes)
    patients = np.arange(len(y)) // voxels  # two voxels each, never on both sides of a split

    model = NecrosisClassifier()
    judged = cross_validate(model, x, y, patients=patients, error=error)
    calibration = judged.reliability.expected_calibration_error
    print(f"left-out patients: AUC {judged.auc:.2f}, calibration error {calibration:.3f}")

    model.fit(x, y, error, patients)
    case = PeakAreas(PEAKS, [3.69, 1.14, 1.0, 1.06], np.diag([0.18, 0.06, 0.05, 0.05]) ** 2)
    x_case, error_case = log_ratios(case, RATIOS)
    decided = model.decision(x_case[np.newaxis], error_case[np.newaxis])
    chance = decided.probability[0, list(model.classes_).index("recurrence")]
    print(f"the case: {decided.favors[0]}, probability of recurrence {chance:.2f}")
    if path is not None:
        model.save(path, features=RATIOS, trained_on=f"{n} simulated lesions per group")
        figure = reliability_figure({"left-out patients": judged.reliability})
        Path(path).with_suffix(".png").write_bytes(to_png(figure))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
