"""The examples at the top of the project do what they say."""

import runpy
from pathlib import Path

import pytest

from mrs_necrosis.criteria import load_criteria

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_the_example_of_criteria_switches_one_off_and_adds_one():
    shipped = {one.id for one in load_criteria() if one.enabled}

    changed = {one.id for one in load_criteria(EXAMPLES / "my_criteria.toml") if one.enabled}

    assert shipped - changed == {"mvthesis_cho_naa"}
    assert changed - shipped == {"our_centre_cho_naa"}


def test_the_example_trains_a_classifier_that_can_be_loaded(tmp_path, capsys):
    pytest.importorskip("sklearn", reason="needs the extra 'learn'")
    from mrs_necrosis.classifier import NecrosisClassifier

    path = tmp_path / "model.json"
    example = runpy.run_path(str(EXAMPLES / "train_classifier.py"))

    example["main"](str(path))

    assert "simulated" in NecrosisClassifier.load(path).trained_on_
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "the case: necrosis-favoring" in capsys.readouterr().out
