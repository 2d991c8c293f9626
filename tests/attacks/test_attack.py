import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from support.budgets import MODERATE
from support.registry import GRADIENT_ATTACKS as ATTACKS

from medadv import attacks, objectives, perturbations
from medadv.attacks import APGD, BIM, FGSM, PGD, BiasFieldAttack, Gradient
from medadv.objectives import DLR, CrossEntropy, Margin

NAMES = {**vars(attacks), **vars(objectives), **vars(perturbations)}
CHANGES = {
    "steps": 7,
    "step_size": 0.125,
    "momentum": 0.5,
    "adaptive": True,
    "gradient": Gradient(translation=1.0),
    "restarts": 7,
    "random_start": False,
    "draws": 7,
    "stop_early": False,
    "objective": DLR(),
    "seed": 3,
}


# Forward and backward passes per step, and forward passes at the end, of those that differ from (1, 1, 1).
PASSES = {
    "ni-fgsm": (2, 1, 1),
    "si-ni-fgsm": (6, 5, 1),
    "di-fgsm": (2, 1, 1),
    "vmi-fgsm": (21, 21, 1),
    "stabilised": (2, 1, 2),
}


def changed(name, field):
    """The attack with another value of a field, and with what that needs to be allowed."""
    needs = {
        "restarts": {"random_start": True},
        "draws": {"random_start": True},
        "random_start": {"restarts": 1, "draws": 1},
        "adaptive": {"momentum": 0.0, "gradient": Gradient()},
        "momentum": {"adaptive": False},
    }.get(field, {})
    value = CHANGES[field]
    if isinstance(value, bool):
        value = not getattr(ATTACKS[name](), field)
    return ATTACKS[name](**{**needs, field: value})


def budget_of(name):
    return MODERATE.get(name, 0.05)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_values(name):
    kind = ATTACKS[name]
    assert kind.name == name
    assert kind() == kind()
    assert len({kind(), kind(), kind(seed=1)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().steps = 3


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("field", CHANGES)
def test_every_field_shows_in_equality_repr_and_configuration(name, field):
    if (name, field) == ("fgsm", "steps"):
        with pytest.raises(ValueError, match="steps must be 1 for FGSM, got 7: more of them are BIM"):
            FGSM(steps=7)
        return
    plain, other = ATTACKS[name](), changed(name, field)
    assert plain != other
    assert plain.configuration() != other.configuration()
    assert field in repr(other)
    assert eval(repr(other), NAMES) == other
    assert eval(repr(plain), NAMES) == plain


@pytest.mark.parametrize("name", ATTACKS)
def test_with_budget_changes_the_budget_alone(name):
    attack = ATTACKS[name](objective=Margin(), seed=3)
    other = attack.with_budget(budget_of(name))
    assert other.budget == budget_of(name)
    assert attack.budget != other.budget
    assert other.with_budget(attack.budget) == attack


@pytest.mark.parametrize("name", ATTACKS)
def test_configuration_is_plain_and_complete(name):
    configuration = ATTACKS[name]().configuration()
    assert json.loads(json.dumps(configuration)) == configuration
    assert configuration["name"] == name
    assert configuration["objective"] == repr(ATTACKS[name]().objective)
    assert {field.name for field in dataclasses.fields(ATTACKS[name])} <= set(configuration)


def test_equal_numbers_of_another_type_are_the_same_attack():
    assert PGD(eps=1).configuration() == PGD(eps=1.0).configuration()
    assert repr(PGD(eps=1)) == "PGD(eps=1.0, norm='linf', steps=20)"
    assert BiasFieldAttack(gain=2, smoothness=1).configuration()["gain"] == 2.0
    assert PGD(objective=CrossEntropy()) == PGD()


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("budget", [True, float("nan"), -0.5, "0.1", None])
def test_wrong_budgets(name, budget):
    with pytest.raises((TypeError, ValueError), match=f"^{ATTACKS[name].budget_field} must be"):
        ATTACKS[name]().with_budget(budget)


@pytest.mark.parametrize("name", ATTACKS)
def test_default_ids_count_from_zero(lab, name):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (6, 1, 8, 8))
    y = lab.answers(victim, x)
    attack = ATTACKS[name](random_start=True)
    assert torch.equal(attack(victim, x, y).images, attack(victim, x, y, torch.arange(6)).images)
    assert not torch.equal(attack(victim, x, y).images, attack(victim, x, y, torch.arange(6) + 1).images)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_call_asks_the_model_no_more_than_it_says(lab, name):
    victim = lab.curved_victim()
    counting = lab.Counting(victim.module).eval()
    victim.module = counting
    x = lab.images_in((0.0, 1.0), (20, 1, 8, 8))
    y = lab.answers(victim, x)
    counting.shown = counting.differentiated = 0
    steps = 1 if name == "fgsm" else 3
    attack = ATTACKS[name](steps=steps, restarts=1).with_budget(MODERATE.get(name, 0.01))
    result = attack(victim, x, y)
    assert int(result.forwards.sum()) == counting.shown
    assert int(result.backwards.sum()) == counting.differentiated
    shown, differentiated, at_the_end = PASSES.get(name, (1, 1, 1))
    assert result.robust.any()
    before = (attack.draws if attack.draws > 1 else 0) - attack.search.starts_at_the_image(victim)
    assert set(result.forwards[result.robust].tolist()) == {1 + before + steps * shown + at_the_end}
    assert set(result.backwards[result.robust].tolist()) == {steps * differentiated}


def test_the_same_steps_under_another_name_are_another_attack():
    assert BIM() != PGD(steps=10, random_start=False)
    assert BIM().configuration()["name"] == "bim"


def test_longer_is_twice_the_steps():
    assert APGD(eps=0.1, seed=2).longer() == APGD(eps=0.1, seed=2, steps=200)
    assert FGSM(eps=0.1, norm="l2", seed=2).longer() == BIM(eps=0.1, norm="l2", seed=2, steps=2)


def test_importing_attacks_stays_light():
    code = (
        "import sys, medadv.attacks; heavy = {'monai', 'matplotlib', 'duckdb', 'click', 'rich', 'jinja2', 'PIL', "
        "'pydicom', 'nibabel', 'scipy', 'sklearn', 'torchvision', 'ray', 'yaml', 'pydantic'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
