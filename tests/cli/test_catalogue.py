"""The list of attacks that is read as text, against the classes themselves."""

import dataclasses
import json
import subprocess
import sys
from operator import attrgetter

import pytest

from medadv import attacks as package
from medadv import objectives
from medadv.attacks import ATTACKS, BudgetedAttack, Gradient, MinimumNormAttack
from medadv.cli.attack_choice import parse_attacks
from medadv.cli.budgets import default_budgets, unit_of
from medadv.cli.catalogue import catalogue
from medadv.cli.catalogue import objectives as offered


def test_all_attacks_are_there_in_their_order():
    assert list(catalogue()) == list(ATTACKS)


def test_every_class_that_can_be_run_is_listed():
    kinds = [kind for kind in vars(package).values() if isinstance(kind, type)]
    ours = [kind for kind in kinds if issubclass(kind, BudgetedAttack | MinimumNormAttack)]
    runnable = {kind for kind in ours if not kind.__abstractmethods__}
    assert runnable == set(ATTACKS.values())


@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_said_of_an_attack_is_so(name):
    kind, entry = ATTACKS[name], catalogue()[name]
    assert (entry.name, entry.class_name) == (name, kind.__name__)
    assert entry.budget_field == getattr(kind, "budget_field", None)
    assert entry.line == " ".join(kind.__doc__.split("\n\n")[0].split())
    attack = kind()
    if issubclass(kind, MinimumNormAttack):
        assert entry.norm == attack.measure
    fields = {item.name for item in dataclasses.fields(kind)}
    of_gradient = {f"gradient.{item.name}" for item in dataclasses.fields(Gradient)} - {"gradient.diversity"}
    expected = fields - {entry.budget_field, "seed", "gradient", "parts"}
    assert set(entry.options) == expected | (of_gradient if "gradient" in fields else set())
    for option, text in entry.options.items():
        assert eval(text, vars(objectives)) == attrgetter(option)(attack), option


@pytest.mark.parametrize("name", ATTACKS)
def test_default_budgets_rise_and_are_allowed(name):
    entry = catalogue()[name]
    budgets = default_budgets(name, entry.budget_field, entry.norm)
    assert len(budgets) == 4
    assert sorted(set(budgets)) == list(budgets)
    if entry.budget_field is not None:
        assert [ATTACKS[name]().with_budget(budget).budget for budget in budgets] == list(budgets)
    assert unit_of(entry)


def test_every_objective_that_is_offered_can_be_given():
    assert set(objectives.OBJECTIVES) - set(offered()) == {"targeted"}
    for word in offered():
        attack = parse_attacks([f"pgd:objective={word}"])[0].build({})
        assert type(attack.objective) is objectives.OBJECTIVES[word]


def test_the_command(place):
    listed = place.run("attacks")
    assert listed.exit_code == 0
    for name, entry in catalogue().items():
        assert f"\n{name} " in "\n" + listed.stdout
        assert entry.line in listed.stdout
    one = place.run("attacks", "fab").stdout
    assert "--attack fab:NAME=VALUE" in one
    assert "targeted                  False" in one
    assert "objective is one of" not in one
    assert "\nobjective is one of: cross-entropy, margin," in place.run("attacks", "pgd").stdout
    told = json.loads(place.run("attacks", "--json").stdout)
    assert list(told) == list(ATTACKS)
    assert told["ddn"]["looks_for_smallest_change"] is True
    assert told["pgd"]["default_budgets"] == [1 / 255, 2 / 255, 4 / 255, 8 / 255]
    assert place.run("attacks", "lbfgs").exit_code == 2


def test_it_does_not_import_torch():
    code = (
        "import sys; from medadv.cli.main import program; program.main(['attacks'], standalone_mode=False); "
        "sys.exit(9 if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
