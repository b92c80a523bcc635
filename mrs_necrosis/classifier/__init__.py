"""From ratios to a label: gates, published criteria, their combination, and a trainable model.

``assess`` judges one voxel and says why; ``assess_grid`` judges any number of voxels at once;
``place`` lays criteria beside a case without combining them; ``NecrosisClassifier`` is a
scikit-learn estimator (extra ``learn``) that people train on their own cohorts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrs_necrosis.lazy import loaded_on_use

if TYPE_CHECKING:
    from mrs_necrosis.classifier.calibration import Reliability as Reliability
    from mrs_necrosis.classifier.calibration import reliability as reliability
    from mrs_necrosis.classifier.context import Context as Context
    from mrs_necrosis.classifier.context import Reading as Reading
    from mrs_necrosis.classifier.context import (
        prior_after_radiosurgery as prior_after_radiosurgery,
    )
    from mrs_necrosis.classifier.decision import GridAssessment as GridAssessment
    from mrs_necrosis.classifier.decision import assess as assess
    from mrs_necrosis.classifier.decision import assess_grid as assess_grid
    from mrs_necrosis.classifier.decision import place as place
    from mrs_necrosis.classifier.estimator import CrossValidation as CrossValidation
    from mrs_necrosis.classifier.estimator import NecrosisClassifier as NecrosisClassifier
    from mrs_necrosis.classifier.estimator import cross_validate as cross_validate
    from mrs_necrosis.classifier.features import log_ratios as log_ratios
    from mrs_necrosis.classifier.scoring import Scoring as Scoring

_HOME = {
    "Context": "context",
    "CrossValidation": "estimator",
    "GridAssessment": "decision",
    "NecrosisClassifier": "estimator",
    "Reading": "context",
    "Reliability": "calibration",
    "Scoring": "scoring",
    "assess": "decision",
    "assess_grid": "decision",
    "cross_validate": "estimator",
    "log_ratios": "features",
    "place": "decision",
    "prior_after_radiosurgery": "context",
    "reliability": "calibration",
}

__all__ = sorted(_HOME)

__getattr__, __dir__ = loaded_on_use(__name__, _HOME)
