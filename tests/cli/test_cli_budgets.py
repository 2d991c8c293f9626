"""Budgets as they are written on the command line."""

import pytest

from medadv.cli.budgets import DEFAULT_BUDGETS, parse_budgets
from medadv.cli.errors import InputError


@pytest.mark.parametrize(
    ("attacks", "given", "expected"),
    [
        (["pgd"], [], {"pgd": DEFAULT_BUDGETS["pgd"]}),
        (["pgd"], ["4/255"], {"pgd": (4 / 255,)}),
        (["pgd"], ["8/255, 1/255"], {"pgd": (1 / 255, 8 / 255)}),
        (["pgd"], ["pgd=0,1e-3"], {"pgd": (0.0, 0.001)}),
        (["bias-field"], ["6/5"], {"bias-field": (1.2,)}),
        (["bias-field", "pgd"], ["pgd=0.1"], {"bias-field": DEFAULT_BUDGETS["bias-field"], "pgd": (0.1,)}),
        (["pgd", "bias-field"], ["bias-field=1.1,1.2", "pgd=0.1"], {"pgd": (0.1,), "bias-field": (1.1, 1.2)}),
    ],
)
def test_budgets(attacks, given, expected):
    found = parse_budgets(attacks, given)
    assert found == expected
    assert list(found) == attacks


@pytest.mark.parametrize("text", ["", "pgd=", "=0.1x", "1/2/3", "0x10", "1/", "pgd=pgd=1"])
def test_what_is_no_budget(text):
    with pytest.raises(InputError, match="--budget"):
        parse_budgets(["pgd"], [text])
