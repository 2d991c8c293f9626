"""The counts of the report against a recount of the fixture with NumPy."""

import numpy as np
import pytest

from medadv.report.results import Rate, read_results
from medadv.sweep.store import Store
from medadv.sweep.unit import Unit


def test_clean_accuracy(store, made):
    right = int((~made.WRONG_AT_FIRST).sum())
    assert read_results(store).clean == Rate(right, made.COUNT)


def test_every_point(store, made):
    series = read_results(store).series
    assert [one.title for one in series] == ["PGD (L∞)", "Bias field"]
    for one, attack in zip(series, ("pgd", "bias-field"), strict=True):
        assert [point.budget for point in one.points] == made.BUDGETS[attack]
        for point in one.points:
            status = made.status_at(attack, point.budget)
            robust, success = int((status == "failed").sum()), int((status == "success").sum())
            wrong = int((status == "already wrong").sum())
            assert point.robust == Rate(robust, made.COUNT)
            assert point.success == Rate(success, made.COUNT - wrong)
            if success:
                np.testing.assert_allclose(point.median_distance, point.budget, rtol=1e-6)
            else:
                assert point.median_distance is None
            forwards = (wrong * 1 + success * 4 + robust * 21) / made.COUNT
            backwards = (success * 3 + robust * 20) / made.COUNT
            np.testing.assert_allclose((point.forwards, point.backwards), (forwards, backwards))


def test_worst_case_is_per_example_and_not_the_least_mean(store, made):
    results = read_results(store)
    robust = np.ones(made.COUNT, bool)
    for attack, budgets in made.BUDGETS.items():
        robust &= made.status_at(attack, budgets[-1]) == "failed"
    assert results.worst == Rate(int(robust.sum()), made.COUNT)
    assert results.worst.value < min(one.points[-1].robust.value for one in results.series)


def test_missing_units(store, tmp_path, made):
    results = read_results(store)
    assert (results.missing, results.planned) == (0, 17)
    partial = read_results(made.make_store(tmp_path / "partial", skip=1))
    assert (partial.missing, partial.planned) == (1, 17)
    # The second shard missed the largest bias field, so only the first met all attacks.
    assert partial.worst.total == made.SHARDS[0][1]
    assert partial.clean.total == made.COUNT


def test_several_seeds_count_as_the_worst_of_them(tmp_path):
    store = Store.create(tmp_path / "sweep", {"data": {}})
    for seed, status in enumerate((["failed", "success", "failed"], ["failed", "failed", "success"])):
        unit = Unit(
            "attack",
            {
                "attack": "pgd",
                "budget": 0.5,
                "seed": seed,
                "first": 0,
                "configuration": {"norm": "l2", "seed": seed, "eps": 0.5},
            },
        )
        columns = {
            "example": np.arange(3),
            "status": status,
            "distance": np.array([0.5, 0.25 + seed, 0.25 + seed]),
            "forwards": np.array([1, 2, 3]),
            "backwards": np.array([1, 1, 1]),
        }
        store.commit(unit, columns)
    (series,) = read_results(store).series
    (point,) = series.points
    assert point.robust == Rate(1, 3)
    assert point.success == Rate(2, 3)
    assert point.median_distance == 0.75
    assert point.forwards == 4
    assert series.title == "PGD (L2)"


def test_same_attack_with_another_configuration_is_a_series_of_its_own(tmp_path, monkeypatch, made):
    store = made.make_store(tmp_path / "sweep", attacks=("pgd",))
    monkeypatch.setitem(made.CONFIGURATIONS, "pgd", {**made.CONFIGURATIONS["pgd"], "steps": 99})
    for unit in made.attack_units("pgd"):
        fields = ("pgd", unit.fields["budget"], unit.fields["first"], unit.fields["last"])
        store.commit(unit, made.attack_columns(*fields))
    titles = [series.title for series in read_results(store).series]
    assert titles == ["PGD (L∞)", "PGD (L∞), configuration 2"]


def test_checks_are_in_the_order_of_their_numbers(store):
    assert [check.number for check in read_results(store).checks] == ["C1", "C2", "C3", "C9", "C10", "C12", "C13"]


def test_a_store_without_attacks_is_refused(tmp_path):
    store = Store.create(tmp_path / "sweep", {})
    with pytest.raises(ValueError, match="at least one finished attack"):
        read_results(store)
