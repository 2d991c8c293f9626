import dataclasses
import json
import subprocess
import sys

import pytest
import torch

from medadv.attacks import (
    PGD,
    AffineAttack,
    BiasFieldAttack,
    ChainAttack,
    DeformationAttack,
    FlowAttack,
    FrequencyAttack,
    IntensityAttack,
)
from medadv.objectives import CrossEntropy, Margin
from medadv.perturbations import Additive, SplineBiasField, SplineDeformation  # noqa: F401  (what a repr names)

# Every attack, and a budget that is not its default.
BUDGETS = {
    PGD: 0.05,
    BiasFieldAttack: 1.2,
    DeformationAttack: 1.0,
    FlowAttack: 0.25,
    AffineAttack: 0.5,
    IntensityAttack: 1.1,
    FrequencyAttack: 5.0,
    ChainAttack: 0.5,
}
EVERY = pytest.mark.parametrize("kind", BUDGETS, ids=lambda kind: kind.name)
CHANGES = {
    "steps": 7,
    "step_size": 0.125,
    "momentum": 0.5,
    "restarts": 2,
    "random_start": False,
    "stop_early": False,
    "objective": Margin(),
    "seed": 3,
}


@EVERY
def test_attacks_are_values(kind):
    assert kind() == kind()
    assert len({kind(), kind(), kind(seed=1)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().steps = 3


@EVERY
@pytest.mark.parametrize("field", CHANGES)
def test_every_field_shows_in_equality_repr_and_configuration(kind, field):
    plain, changed = kind(), kind(**{field: CHANGES[field]})
    assert plain != changed
    assert plain.configuration() != changed.configuration()
    assert field in repr(changed)
    assert eval(repr(changed)) == changed
    assert eval(repr(plain)) == plain


@EVERY
def test_with_budget_changes_the_budget_alone(kind):
    attack = kind(steps=7, objective=Margin(), seed=3)
    other = attack.with_budget(BUDGETS[kind])
    assert other.budget == BUDGETS[kind]
    assert attack.budget != other.budget
    assert other.with_budget(attack.budget) == attack


@EVERY
def test_configuration_is_plain_and_complete(kind):
    configuration = kind().configuration()
    assert json.loads(json.dumps(configuration)) == configuration
    assert configuration["name"] == kind.name
    assert configuration["objective"] == "CrossEntropy()"
    assert {field.name for field in dataclasses.fields(kind)} <= set(configuration)


def test_equal_numbers_of_another_type_are_the_same_attack():
    assert PGD(eps=1).configuration() == PGD(eps=1.0).configuration()
    assert repr(PGD(eps=1)) == "PGD(eps=1.0, norm='linf', steps=20)"
    assert BiasFieldAttack(gain=2, smoothness=1).configuration()["gain"] == 2.0
    assert PGD(objective=CrossEntropy()) == PGD()


@EVERY
@pytest.mark.parametrize("budget", [True, float("nan"), -0.5, "0.1", None])
def test_wrong_budgets(kind, budget):
    with pytest.raises((TypeError, ValueError), match=f"^{kind.budget_field} must be"):
        kind().with_budget(budget)


@EVERY
def test_default_ids_count_from_zero(lab, kind):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (6, 1, 8, 8))
    y = lab.answers(victim, x)
    attack = kind(steps=2)
    assert torch.equal(attack(victim, x, y).images, attack(victim, x, y, torch.arange(6)).images)
    assert not torch.equal(attack(victim, x, y).images, attack(victim, x, y, torch.arange(6) + 1).images)


@EVERY
def test_a_call_asks_the_model_no_more_than_it_says(lab, kind):
    victim = lab.curved_victim()
    counting = lab.Counting(victim.module).eval()
    victim.module = counting
    x = lab.images_in((0.0, 1.0), (20, 1, 8, 8))
    y = lab.answers(victim, x)
    counting.shown = counting.differentiated = 0
    result = kind(steps=3).with_budget(BUDGETS[kind])(victim, x, y)
    assert int(result.forwards.sum()) == counting.shown
    assert int(result.backwards.sum()) == counting.differentiated
    assert set(result.forwards[result.robust].tolist()) == {1 + 3 + 1}


def test_importing_attacks_stays_light():
    code = (
        "import sys, medadv.attacks; heavy = {'monai', 'matplotlib', 'duckdb', 'click', 'rich', 'jinja2', 'PIL', "
        "'pydicom', 'nibabel', 'scipy', 'sklearn', 'torchvision', 'ray', 'yaml', 'pydantic'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
