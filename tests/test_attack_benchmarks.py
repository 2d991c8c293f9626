"""The tables of the attack benchmarks, from made-up numbers; the benchmarks themselves are run by hand."""

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import (
    attack_networks,
    attack_peers,
    attack_run,
    attack_times,
    bench_attacks,
    other_seeds,
    parity,
    parity_summary,
    query_curves,
)
from benchmarks.attack_cases import Case, ours
from benchmarks.attack_networks import Trained
from benchmarks.attack_run import attacked
from benchmarks.attack_turns import Turns, order


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


def test_the_verdict_is_timed_apart_from_the_attack(monkeypatch):
    found, clock = trained(), iter([1.0, 4.0, 9.0])
    monkeypatch.setattr(attack_run.time, "process_time", lambda: next(clock))
    row = attacked(lambda network, images, targets: images, "l2", found.network, found.images, found.targets)
    assert (row["seconds"], row["seconds_of_verdict"]) == (3.0, 5.0)


def test_libraries_that_are_not_there_are_left_out(monkeypatch):
    monkeypatch.setattr(attack_peers, "LIBRARIES", {"none": "no_such_library"})
    assert attack_peers.attacks(Case("pgd", "linf", 20, 0.1, 2)) == {}


def test_a_library_that_lacks_what_it_needs_is_not_left_out(tmp_path, monkeypatch):
    (tmp_path / "torchattacks.py").write_text("import what_it_needs\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="what_it_needs"):
        attack_peers.attack("torchattacks", Case("pgd", "linf", 20, 0.1, 2))


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


def parity_row(contender, value, *, case="pgd linf, 20", each=None, calls=20.0):
    key = parity_summary.measure({"case": case})
    row = {
        "network": "digits",
        "case": case,
        "contender": contender,
        "images": 100,
        "forwards": calls,
        "backwards": 1.0,
    }
    row |= {"robust_accuracy": 0.9, "mean_distance": 9.0, "robust_accuracies": [0.9], "mean_distances": [9.0]}
    return row | {key: value, {"mean_distance": "mean_distances"}.get(key, "robust_accuracies"): each or [value]}


def test_the_committed_page_of_parity_is_of_the_committed_results():
    """After a measurement: python -m benchmarks.parity_summary > docs/parity.md."""
    assert (Path(__file__).parents[1] / "docs/parity.md").read_text() == parity_summary.page()


def test_a_line_of_parity_has_the_best_library_and_how_far_ours_are_behind():
    rows = [
        parity_row("medadv", 0.25, each=[0.2, 0.3]),
        parity_row("ART", 0.5),
        parity_row("foolbox", 0.24, calls=40.0),
    ]
    line = "| pgd linf, 20 | 100 | 2 | 0.250 ± 0.071 | 0.240 (foolbox) | +0.010 | 21 | 41 |"
    assert parity_summary.line(rows) == line
    assert not parity_summary.is_behind(rows)  # by no more than 0.010
    assert parity_summary.is_behind([parity_row("medadv", 0.255), *rows[1:]])
    assert "none has it" in parity_summary.line(rows[:1])
    assert not parity_summary.is_behind(rows[:1])


def test_minimum_norm_attacks_are_compared_by_their_distance():
    rows = [parity_row(name, value, case="ddn l2, 100") for name, value in (("medadv", 1.1), ("ART", 2.0))]
    assert parity_summary.line(rows).endswith("| 1.1000 | 2.0000 (ART) | -45.0% | 21 | 21 |")
    assert not parity_summary.is_behind(rows)
    assert parity_summary.is_behind([parity_row("medadv", 2.01, case="ddn l2, 100"), rows[1]])
    minimum_norm = {case.kind for case in parity.cases(trained()) if case.eps is None}
    assert minimum_norm == set(parity.MINIMUM_NORM)


def test_saved_rows_take_the_place_of_those_of_the_same_case(tmp_path):
    def saved(case, value, commit):
        row = parity_row("medadv", value, case=case)
        parity.save(tmp_path, "parity", "digits 32, undefended", [row], {"commit": commit + "0123456"})

    saved("pgd l2, 20", 0.5, "a")
    saved("ddn l2, 100", 1.5, "b")
    saved("pgd l2, 20", 0.25, "c")
    rows = json.loads((tmp_path / "parity-digits-32-undefended.json").read_text())["rows"]
    found = {row["case"]: (row["robust_accuracy"], row["commit"]) for row in rows}
    assert len(rows) == 2
    assert found["pgd l2, 20"] == (0.25, "c012345")
    assert found["ddn l2, 100"][1] == "b012345"


def test_seeds_give_a_mean_and_its_parts(monkeypatch):
    monkeypatch.setattr(attack_peers, "LIBRARIES", {})
    found, square = trained(), Case("square", "linf", 3, 0.05, 3)
    (row,) = parity.compared("digits", square, found, seeds=3)
    numbered = [ours(replace(square, seed=seed)) for seed in range(3)]
    each = [attacked(attack, "linf", found.network, found.images, found.targets) for attack in numbered]
    assert row["robust_accuracies"] == [1 - run["success"] for run in each]
    assert row["robust_accuracy"] == pytest.approx(sum(row["robust_accuracies"]) / 3)
    assert len({run["forwards"] for run in each}) > 1  # another seed, other squares


def test_queries_are_counted_up_to_the_limit_and_the_nearest_wrong_image_is_kept():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).eval()
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0]]))
    image, target = torch.full((1, 1, 2, 2), 0.5), torch.zeros(1).long()
    asked = query_curves.Asked(network, image, target, "l2", limit=4)
    asked(image)
    asked(torch.cat([image - 2, image - 1, image - 0.25]))  # the last one is right still
    assert [asked.distance_by(queries) for queries in (1, 2, 3, 4)] == [math.inf, 4.0, 2.0, 2.0]
    with pytest.raises(query_curves.NoMoreQueriesError):
        asked(image - 0.6)
    assert asked.distance_by(9) == 2.0


def test_the_table_of_queries_has_a_column_per_contender():
    distances = {
        "medadv": torch.tensor([[1.0], [2.0], [3.0]]).double(),
        "ART": torch.tensor([[2.0], [math.inf], [6.0]]).double(),
    }
    rows = query_curves.rows_of("digits", "l2", (500,), distances)
    head, _, line = query_curves.table(rows).splitlines()
    assert head == "| attack | queries | images | medadv | ART |"
    assert line == "| hop-skip-jump l2 | 500 | 2 of 3 | 2.0000 | 4.0000 (+2.0000 ± 1.0000) |"
    assert [row["found"] for row in rows] == pytest.approx([1, 2 / 3])


def played(first, rounds):
    """Who had a turn, round by round; first are the seconds of the first turns, later ones take a tenth."""
    said = []

    def turn(name):
        said.append(name)
        return {"seconds": first[name] / (1 if said.count(name) == 1 else 10)}

    turns = Turns({name: partial(turn, name) for name in first})
    by_round = []
    for _ in range(rounds):
        before = len(said)
        turns.play()
        by_round.append(" ".join(said[before:]))
    return turns, by_round


def test_everyone_has_a_turn_in_every_round_and_comes_after_others_each_time():
    turns, rounds = played({"medadv": 10.0, "a": 12.0, "b": 17.0}, 6)
    assert {name: len(found) for name, found in turns.found.items()} == {"medadv": 6, "a": 6, "b": 6}
    assert rounds == ["medadv a b", "b a medadv", "a b medadv", "medadv b a", "b medadv a", "a medadv b"]
    names = ["a", "b", "c", "d", "e"]
    orders = [order(names, number) for number in range(10)]
    assert all(sorted(each) == names for each in orders)
    assert all(sum(each[place] == name for each in orders) == 2 for name in names for place in range(5))
    assert all(len({each[each.index(name) - 1] for each in orders if each[0] != name}) > 1 for name in names)


def test_ours_and_who_is_near_the_fastest_library_have_every_round():
    turns, rounds = played({"medadv": 30.0, "a": 2.0, "b": 3.0, "c": 3.1, "d": 12.0}, 3)
    assert {name: len(found) for name, found in turns.found.items()} == {"medadv": 3, "a": 3, "b": 3, "c": 1, "d": 1}
    assert rounds == ["medadv a b c d", "b a medadv", "a b medadv"]
    assert turns.seconds() == 35.0
    # A first call of two seconds says little; without libraries there is nobody to be near to.
    assert played({"medadv": 0.01, "a": 0.02, "b": 1.99, "c": 2.01}, 2)[0].near() == ["medadv", "a", "b"]
    assert played({"medadv": 9.0}, 2)[1] == ["medadv", "medadv"]


def test_a_turn_ends_with_the_verdict_for_everyone():
    turns = [
        {"seconds": seconds, "seconds_of_verdict": 0.5, "success": 0.25, "inside_bounds": True, "forwards": 3.0}
        | {"backwards": 2.0}
        for seconds in (4.0, 2.0, 8.0)
    ]
    theirs, told = bench_attacks.times("ART", turns), bench_attacks.times("foolbox", turns)
    assert (theirs["seconds"], theirs["seconds_alone"], theirs["median"], theirs["rounds"]) == (2.5, 2.0, 4.5, 3)
    assert (told["seconds"], told["seconds_alone"], told["median"]) == (2.0, 2.0, 4.0)
    assert bench_attacks.times("medadv", turns)["seconds"] == 2.0
    assert theirs["seconds_by_round"] == [4.5, 2.5, 8.5]
    assert (theirs["forwards"], theirs["backwards"], theirs["success"]) == (3.0, 2.0, 0.25)


class Clock:
    """A benchmark that plays its rounds and measures nothing."""

    def __init__(self):
        self.extra_info = {}

    def pedantic(self, play, rounds):
        for _ in range(rounds):
            play()


def test_a_case_has_a_row_per_contender(monkeypatch):
    found = trained()
    monkeypatch.setattr(bench_attacks, "network", lambda name: found)
    given_back = {"idle": lambda network, images, targets: images}
    monkeypatch.setattr(attack_peers, "attacks", lambda case: given_back)
    benchmark = Clock()
    monkeypatch.setattr(bench_attacks, "SECONDS", 0.0)
    bench_attacks.test_attack(benchmark, "digits 64", "fgsm", "linf", 1)
    ours, idle = benchmark.extra_info["rows"]
    assert (ours["operation"], ours["size"], ours["contender"]) == ("fgsm linf, 1", "digits 64", "medadv")
    assert ours["rounds"] == idle["rounds"] == bench_attacks.ROUNDS["digits 64"]
    assert (idle["contender"], idle["success"], idle["forwards"]) == ("idle", 0.0, 0.0)
    assert ours["success"] > 0
    assert idle["seconds"] > idle["seconds_alone"]  # shown to the network once more
    assert ours["seconds"] == ours["seconds_alone"]
    # A brief attack has more rounds.
    monkeypatch.setattr(bench_attacks, "SECONDS", 1e9)
    most = bench_attacks.ROUNDS["digits 64"] + 2
    monkeypatch.setattr(bench_attacks, "MOST_ROUNDS", most)
    bench_attacks.test_attack(benchmark, "digits 64", "fgsm", "linf", 1)
    assert [row["rounds"] for row in benchmark.extra_info["rows"]] == [most, most]


def times_of(contender, by_round, *, size="digits", verdict=0.0):
    shared = {"operation": "pgd linf, 20", "mode": "attack", "size": size, "device": "cpu", "threads": 1}
    row = {**shared, "contender": contender, "forwards": 20.0, "backwards": 20.0, "success": 0.5}
    row |= {"seconds": min(by_round), "seconds_alone": min(by_round) - verdict, "median": sorted(by_round)[1]}
    return row | {"rounds": len(by_round), "seconds_by_round": by_round}


def test_the_table_of_times_has_ratios_of_the_least_and_round_by_round():
    rows = [
        times_of("medadv", [0.1, 0.2, 0.4]),
        times_of("ART", [0.3, 0.5, 0.4], verdict=0.15),  # 3, 2.5 and 1 times ours in the same round
        {**times_of("slower", [0.5, 0.0]), "seconds": 0.5, "rounds": 1, "seconds_by_round": [0.5]},
    ]
    *_, summary = attack_times.summary(rows).splitlines()
    assert summary == "| digits | pgd linf, 20 | 100 | ART | 3.00x | 2.50x | 1.50x | 3 |"
    *_, theirs, slower = attack_times.table(rows).splitlines()
    assert theirs == "| digits | pgd linf, 20 | ART | 300 | 400 | 3.00x | 2.50x | 1.50x | 3 | 20.0 | 20.0 | 0.50 |"
    assert "| 5.00x | 5.00x |" in slower
    assert attack_times.summary(rows[:1]).count("\n") == 1  # no library, no line


def test_a_table_takes_the_place_of_the_one_before():
    text = f"Words.\n\n{attack_times.HEAD} old |\n| --- |\n| old |\n\nMore\n\n| another |\n"
    assert attack_times.with_table(text, "| new |") == "Words.\n\n| new |\n\nMore\n\n| another |\n"


def test_the_committed_pages_of_times_are_of_the_committed_results():
    """After a measurement: python -m benchmarks.attack_times."""
    page = attack_times.PAGE.read_text()
    assert page == attack_times.with_table(page, attack_times.summary(attack_times.all_rows()))
    for path, rows in attack_times.committed().items():
        assert path.with_suffix(".md").read_text() == attack_times.tables(rows)


def test_two_attacks_are_compared_image_by_image():
    ours = torch.tensor([1.0, 2.0, 4.0, math.inf, 8.0], dtype=torch.float64)
    peers = torch.tensor([2.0, 2.0, 2.0, 3.0, math.inf], dtype=torch.float64)
    row = other_seeds.beside(ours, peers, eps=2.0)
    assert (row["images"], row["broken"], row["peer_broken"]) == (5, 4, 4)
    # Ours: right within the budget twice, the peer's three times; only the third image differs.
    assert (row["robust_accuracy"], row["peer_robust_accuracy"]) == pytest.approx((0.6, 0.4))
    assert row["robust"] == pytest.approx(0.2)
    assert row["robust_error"] == pytest.approx(np.std([0, 0, 1, 0, 0], ddof=1) / math.sqrt(5))
    # Nearer and farther by the same factor.
    assert row["all"] == pytest.approx(0.0)
    assert row["all_error"] == pytest.approx(math.log(2) / math.sqrt(3))
    assert (row["near"], row["near_error"]) == pytest.approx((0.0, row["all_error"]))
    # Within the budget for one of them is enough, whichever that is.
    some, others = torch.tensor([1.0, 1.0, 4.0]), torch.tensor([2.0, 2.0, 4.0])
    assert other_seeds.beside(some, others, eps=1.5)["near"] == pytest.approx(-math.log(2))
    assert other_seeds.beside(others, some, eps=1.5)["near"] == pytest.approx(math.log(2))


def test_the_last_line_of_other_seeds_is_over_the_networks():
    numbers = dict.fromkeys(("robust_error", "near_error", "all_error", "near"), 0.5) | {"peer": "adv-lib"}
    rows = [
        {**numbers, "seed": seed, "images": 10 * seed, "robust_accuracy": 0.5, "peer_robust_accuracy": 0.25}
        | {"robust": robust, "all": robust}
        for seed, robust in ((1, 0.1), (2, 0.3))
    ]
    *_, first, _, last = other_seeds.table(rows).splitlines()
    assert first.startswith("| 1 | adv-lib | 10 | 0.500 | 0.250 | +0.1000 ± 0.5000 |")
    assert last == "| all 2 | adv-lib | 30 | 0.500 | 0.250 | +0.2000 ± 0.1000 | +50.0% ± 0.0% | +20.0% ± 10.0% |"
    assert other_seeds.table(rows[:1]).splitlines()[-1] == first  # of one network there is no such line


def test_networks_of_other_seeds_start_from_other_weights(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(attack_networks, "fit", lambda network, data, epochs: network.eval())
    recipe = attack_networks.SEEDED["digits 32, undefended"]
    zero, again, one = (next(recipe(1, seed).network.parameters()) for seed in (0, 0, 1))
    assert torch.equal(zero, again)
    assert torch.equal(zero, next(attack_networks.undefended_digits(1).network.parameters()))
    assert not torch.equal(zero, one)
