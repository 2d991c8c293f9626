"""Attacks and budgets as they are written on the command line."""

import pytest

from medadv.attacks import Gradient
from medadv.cli.attack_choice import parse_attacks
from medadv.cli.budgets import default_budgets, parse_budgets
from medadv.cli.errors import InputError

PGD = default_budgets("pgd", "eps", "linf")
HU = (-1024.0, 3071.0)


@pytest.mark.parametrize(
    ("attacks", "given", "expected"),
    [
        (["pgd"], [], {"pgd": PGD}),
        (["pgd"], ["4/255"], {"pgd": (4 / 255,)}),
        (["pgd"], ["8/255, 1/255"], {"pgd": (1 / 255, 8 / 255)}),
        (["pgd"], ["pgd=0,1e-3"], {"pgd": (0.0, 0.001)}),
        (["bias-field"], ["6/5"], {"bias-field": (1.2,)}),
        (["bias-field", "pgd"], ["pgd=0.1"], {"bias-field": (1.1, 1.2, 1.3, 1.5), "pgd": (0.1,)}),
        (["pgd", "bias-field"], ["bias-field=1.1,1.2", "pgd=0.1"], {"pgd": (0.1,), "bias-field": (1.1, 1.2)}),
        (["pgd:norm=l2"], [], {"pgd:norm=l2": (0.25, 0.5, 1.0, 2.0)}),
        (["pgd:norm=l2"], ["pgd=3"], {"pgd:norm=l2": (3.0,)}),
        (["pgd", "pgd:norm=l2"], ["pgd:norm=l2=3", "pgd=0.1"], {"pgd": (0.1,), "pgd:norm=l2": (3.0,)}),
        (["deepfool", "fab"], [], {"deepfool": (0.25, 0.5, 1.0, 2.0), "fab": PGD}),
        (["transfer-mi-fgsm"], ["transfer-mi-fgsm=0.1"], {"transfer-mi-fgsm": (0.1,)}),
    ],
)
def test_budgets(attacks, given, expected):
    found = parse_budgets(parse_attacks(attacks), given)
    assert found == expected
    assert list(found) == attacks


def test_hounsfield_units_are_fractions_of_the_range():
    choices = parse_attacks(["pgd", "ddn"])
    found = parse_budgets(choices, ["pgd=10HU,40HU", "ddn=4095HU"], HU)
    assert found == {"pgd": (10 / 4095, 40 / 4095), "ddn": (1.0,)}
    with pytest.raises(InputError, match="HU need the range of the images, as in --bounds"):
        parse_budgets(choices, ["pgd=10HU"])
    with pytest.raises(InputError, match="a budget of bias-field is not in HU, but: largest factor"):
        parse_budgets(parse_attacks(["bias-field"]), ["10HU"], HU)


@pytest.mark.parametrize("text", ["", "pgd=", "=0.1x", "1/2/3", "0x10", "1/", "pgd=pgd=1", "HU", "1hu"])
def test_what_is_no_budget(text):
    with pytest.raises(InputError, match="--budget"):
        parse_budgets(parse_attacks(["pgd"]), [text], HU)


def test_a_name_that_stands_for_two():
    with pytest.raises(InputError, match="say which pgd it is for, as in --budget pgd:steps=1=..."):
        parse_budgets(parse_attacks(["pgd:steps=1", "pgd:steps=2"]), ["pgd=0.1"])


@pytest.mark.parametrize("attack", ["pgd", "transfer-mi-fgsm", "fmn", "auto-attack"])
def test_more_than_the_whole_range(attack):
    choices = parse_attacks([attack])
    assert parse_budgets(choices, ["1"]) == {attack: (1.0,)}
    with pytest.raises(InputError, match=r"at most 1, got 4; grey levels of 8 bits are written as 4/255"):
        parse_budgets(choices, ["1/255,4"])


@pytest.mark.parametrize("attack", ["pgd:norm=l2", "ddn", "bias-field", "deformation"])
def test_what_is_no_fraction_may_be_above_one(attack):
    assert parse_budgets(parse_attacks([attack]), ["4"]) == {attack: (4.0,)}


# Options


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("pgd", {}),
        ("pgd:norm=l2,steps=40", {"norm": "l2", "steps": 40}),
        ("pgd: step_size = 1/4 , adaptive=false", {"step_size": 0.25, "adaptive": False}),
        ("bias-field:spacing=(8, 16),smoothness=1e-3", {"spacing": (8, 16), "smoothness": 0.001}),
        ("deformation:jacobian=none,padding=reflection", {"jacobian": None, "padding": "reflection"}),
    ],
)
def test_options(text, options):
    (choice,) = parse_attacks([text])
    assert choice.options == options
    assert choice.label == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("newton", "unknown attack, choose from pgd, bias-field"),
        ("pdg", "unknown attack, did you mean pgd"),
        ("transfer-lbfgs", "unknown attack"),
        ("transfer-ddn", "the smallest change does not transfer"),
        ("pgd:stepps=3", "pgd has no option 'stepps'; did you mean steps"),
        ("random-noise:x=3", "random-noise has no option 'x'; it has norm, draws"),
        ("pgd:", "pgd has no option ''"),
        ("pgd:steps", "a value expected, as in steps=20"),
        ("pgd:steps=", "a value expected"),
        ("pgd:steps=1,steps=2", "steps is given twice"),
        ("pgd:eps=0.1", "give eps as --budget"),
        ("pgd:seed=1", "give seed as --seed"),
        ("pgd:gradient=x", "pgd has no option 'gradient'"),
        ("chain:parts=x", "chain has no option 'parts'"),
    ],
)
def test_wrong_options(text, words):
    with pytest.raises(InputError, match=words):
        parse_attacks([text])


def test_attacks_are_built_with_their_own_options_first():
    common = {"steps": 7, "restarts": 2}
    choices = parse_attacks(["pgd:steps=3", "apgd:objective=dlr", "square:queries=9", "transfer-pgd", "ddn"])
    pgd, apgd, square, transferred, ddn = (choice.build(common) for choice in choices)
    assert (pgd.steps, pgd.restarts, pgd.stop_early) == (3, 2, True)
    assert (apgd.steps, repr(apgd.objective)) == (7, "DLR()")
    assert square.queries == 9
    assert transferred.stop_early is False
    assert ddn.steps == 7


def test_options_of_the_gradient_leave_the_others_as_the_attack_has_them():
    (choice,) = parse_attacks(["vmi-fgsm:gradient.samples=3,gradient.translation=1/2,steps=2"])
    attack = choice.build({})
    assert attack.gradient == Gradient(neighbours=20, neighbourhood=1.5, samples=3, translation=0.5)
    assert attack.steps == 2
    assert parse_attacks(["vmi-fgsm"])[0].build({}).gradient == Gradient(neighbours=20, neighbourhood=1.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pgd:norm=l3", "--attack pgd:norm=l3: norm must be one of linf, l2, l1, got 'l3'."),
        ("pgd:steps=1.5", "steps must be a whole number"),
        ("pgd:steps=__import__('os')", "steps must be a whole number"),
        ("pgd:random_start=yes", "random_start must be True or False"),
        ("pgd:objective=hinge", "objective must be one of cross-entropy, margin, dlr, targeted-dlr, stabilised"),
        ("pgd:objective=targeted", "objective must be one of"),
    ],
)
def test_what_the_attack_refuses(text, words):
    (choice,) = parse_attacks([text])
    with pytest.raises(InputError) as error:
        choice.build({})
    assert words in error.value.message


def test_an_unknown_norm_is_named_as_such():
    with pytest.raises(InputError, match="norm must be one of linf, l2, l1, got 'l7'"):
        parse_budgets(parse_attacks(["pgd:norm=l7"]), [])
