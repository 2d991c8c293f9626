"""The tables of the attack benchmarks, from made-up numbers; the benchmarks themselves are run by hand."""

import math

import pytest
import torch
from torch import nn

from benchmarks import attack_peers, compare_attacks, parity
from benchmarks.attack_cases import Case, ours
from benchmarks.attack_networks import Trained
from benchmarks.attack_run import attacked


def trained(classes=3):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).eval()
    images = torch.rand(6, 1, 8, 8)
    eps = {"linf": 0.05, "l2": 0.3, "l1": 2.0}
    return Trained(network, images, network(images).argmax(1).detach(), classes, 1.0, eps)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_every_case_of_the_parity_table_is_an_attack_of_ours(classes):
    found = trained(classes)
    for case in parity.cases(found):
        short = Case(case.kind, case.norm, min(case.steps, 2), case.eps, classes)
        row = attacked(ours(short), case.norm, found.network, found.images, found.targets)
        near = row["distances"][row["distances"].isfinite()]
        assert row["inside_bounds"]
        assert case.eps is None or float(near.max() if len(near) else 0.0) <= case.eps * (1 + 1e-6)


def test_steps_go_the_same_way_for_everyone():
    assert Case("pgd", "linf", 20, 0.1, 2).step_size == pytest.approx(0.0125)
    assert Case("mi-fgsm", "linf", 10, 0.1, 2).step_size == pytest.approx(0.01)
    assert Case("fgsm", "linf", 1, 0.1, 2).step_size == 0.1


def test_passes_and_distances_are_measured_by_us():
    found = trained()

    def steps_of_a_tenth(network, images, targets):
        images = images.requires_grad_()
        network(images).sum().backward()
        return images.detach() + 0.1

    row = attacked(steps_of_a_tenth, "l2", found.network, found.images, found.targets)
    assert (row["forwards"], row["backwards"], row["inside_bounds"]) == (1.0, 1.0, False)
    wrong = found.network(found.images + 0.1).argmax(1) != found.targets
    assert torch.equal(row["distances"].isfinite(), wrong)
    assert row["distances"][wrong].numpy() == pytest.approx(0.8, abs=1e-5)


def test_libraries_that_are_not_there_are_left_out(monkeypatch):
    monkeypatch.setattr(attack_peers, "LIBRARIES", {"none": "no_such_library"})
    assert attack_peers.attacks(Case("pgd", "linf", 20, 0.1, 2)) == {}


def test_the_parity_table_says_how_far_behind_the_best_a_contender_is():
    shared = {"network": "digits", "case": "pgd linf, 20", "success": 0.5, "forwards": 1, "backwards": 1, "seconds": 1}
    rows = [
        {**shared, "contender": "medadv", "robust_accuracy": 0.25, "mean_distance": 0.125},
        {**shared, "contender": "foolbox", "robust_accuracy": 0.5, "mean_distance": 0.12},
    ]
    _, _, first, second = parity.table(rows).splitlines()
    assert first.endswith("| 0.0000 | 0.0050 |")
    assert second.endswith("| 0.2500 | 0.0000 |")


def test_robust_accuracy_of_minimum_norm_attacks_is_at_the_median_of_the_nearest():
    distances = [torch.tensor([1.0, math.inf, 3.0]), torch.tensor([2.0, 5.0, 2.5])]
    assert parity.budget(Case("fab", "l2", 10, None, 2), distances) == 2.5
    assert parity.budget(Case("pgd", "l2", 10, 0.5, 2), distances) == 0.5


def test_the_table_of_times_has_ratios_of_the_quickest_runs():
    shared = {"operation": "pgd linf, 20", "mode": "attack", "size": "digits", "device": "cpu", "threads": 1}
    passes = {"forwards": 20.0, "backwards": 20.0, "success": 0.5}
    runs = [
        [{**shared, **passes, "contender": name, "seconds": seconds} for name, seconds in times.items()]
        for times in ({"medadv": 0.2, "ART": 0.3}, {"medadv": 0.1, "ART": 0.4})
    ]
    rows = compare_attacks.quickest(runs)
    assert [row["seconds"] for row in rows] == [0.1, 0.3]
    *_, theirs = compare_attacks.table(rows).splitlines()
    assert theirs == "| digits | pgd linf, 20 | ART | 300 | 3.00x | 20.0 | 20.0 | 0.50 |"
