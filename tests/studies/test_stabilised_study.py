"""The study of the stabilised attack: its spreads worked out by hand, and from end to end on phantoms."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from medadv.attacks import BIM
from studies._common.command import main
from studies.stabilised.analysis import BETWEEN_IMAGES, BETWEEN_SETS, MEAN, RELATIVE, Samples, set_weights, summary
from studies.stabilised.configuration import FEW_STEPS, QUICK, REFERENCE, Configuration, contenders
from studies.stabilised.study import StabilisedStudy


def outcome(*damage):
    return {"fooled": [int(value > 1) for value in damage], "damage": list(damage)}


@pytest.fixture
def samples():
    outcomes = {"one": [outcome(0.0, 2.0), outcome(2.0, 4.0)], "other": [outcome(5.0, 5.0), outcome(7.0, 7.0)]}
    return Samples(outcomes, set_weights({"one": 2, "other": 2}, 30, 0))


def test_mean_and_spreads_are_those_of_the_sets(samples):
    # Means of the sets: 2 and 6; standard deviations over images of a set: 1 and 1, then 0 and 0.
    found = {key: values[0] for key, values in samples.all("damage").items()}
    assert found[MEAN] == pytest.approx(4)
    assert found[BETWEEN_SETS] == pytest.approx(np.std([2, 6], ddof=1))
    assert found[RELATIVE] == pytest.approx(np.std([2, 6], ddof=1) / 4)
    assert found[BETWEEN_IMAGES] == pytest.approx(0.5)
    assert samples.of_set("one", "fooled")[0] == pytest.approx(0.75)


def test_no_spread_between_sets_where_there_is_one(samples):
    one = Samples({"one": samples.outcomes["one"]}, samples.weights)
    assert np.isnan(one.all("damage")[BETWEEN_SETS]).all()


def test_differences_are_paired(samples):
    more = {
        name: [outcome(*(value + 1 for value in each["damage"])) for each in outcomes]
        for name, outcomes in samples.outcomes.items()
    }
    row = summary(Samples(more, samples.weights), {"plain": samples})
    difference = row["damage"]["less plain"]
    assert difference[MEAN] == pytest.approx({"value": 1, "low": 1, "high": 1})
    assert difference[BETWEEN_SETS] == pytest.approx({"value": 0, "low": 0, "high": 0}, abs=1e-9)
    assert difference[RELATIVE]["value"] < 0
    assert row["damage"]["sets"]["other"]["value"] == pytest.approx(7)


def test_weight_0_is_the_basic_iterative_method_and_calls_are_equal():
    of = {each.label: each for each in contenders(Configuration())}
    assert of[REFERENCE].attack == BIM(steps=15, stop_early=False)
    assert of[FEW_STEPS].attack.objective.weight == 0
    calls = {label: each.attack.steps * (3 if each.smoothed else 2) for label, each in of.items()}
    assert {label for label, count in calls.items() if count == 30} == calls.keys() - {FEW_STEPS, "FGSM"}
    assert len({each.attack for each in of.values()}) == len(of) == 4 + 3 * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("stabilised")
    main(StabilisedStudy(Configuration()), StabilisedStudy(QUICK), ["--quick", "--out", str(out)])
    yield out
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_attacks_raise_the_loss_and_iterating_helps(results):
    rows = {(row["contender"], row["eps"]): row for row in results["rows"]}
    assert len(rows) == len(contenders(QUICK)) * len(QUICK.eps)
    small, large = QUICK.eps
    for contender in contenders(QUICK):
        damage = [rows[contender.label, eps]["damage"][MEAN]["value"] for eps in (small, large)]
        assert 0 < damage[0] < damage[1]
    best, single = (rows[label, large]["damage"][MEAN]["value"] for label in (REFERENCE, "FGSM"))
    assert best > single
    assert rows[REFERENCE, large]["damage"][f"less {REFERENCE}"][MEAN]["value"] == 0


def test_stabilised_attacks_ask_for_the_smoothed_image_too(results):
    passes = {row["contender"]: (row["forwards"], row["backwards"]) for row in results["rows"]}
    # One per step, the first at the clean image, and the last look; with a smoothed image one more per look.
    assert passes["delta, weight 1"] == (2 * 2 + 2, 2)
    assert passes["step, weight 1"] == (2 * 2 + 2 - 1, 2)
    assert passes[REFERENCE] == (3 + 1, 3)
    assert passes["FGSM"] == (1 + 1, 1)


def test_findings_and_figures_are_there(folder):
    text = (folder / "findings.md").read_text()
    for contender in contenders(QUICK):
        assert f"| {contender.label} |" in text
    assert sorted(path.name for path in folder.glob("*.svg")) == ["damage.svg", "sets.svg"]
    for path in folder.glob("*.svg"):
        assert ElementTree.fromstring(path.read_text()).tag.endswith("svg")


def test_a_second_run_reads_what_the_first_computed(folder, results, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("computed again")

    monkeypatch.setattr("studies.stabilised.outcomes._computed", refuse)
    again = StabilisedStudy(QUICK).run(None, folder, folder / "networks", lambda doing, share: None)
    assert json.loads(json.dumps(again)) == {key: value for key, value in results.items() if key != "circumstances"}


def test_some_of_the_sets_can_be_studied_alone():
    some = StabilisedStudy(QUICK).with_sets(["other phantoms"])
    assert [source.name for source in some.configuration.sources] == ["other phantoms"]
    with pytest.raises(ValueError, match="sets must be some of phantoms, other phantoms, got 'films'"):
        StabilisedStudy(QUICK).with_sets(["films"])
