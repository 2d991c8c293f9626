"""Attacked images that are written to a file of 8 or 16 bits and read again."""

import pytest
from support.registry import GRADIENT_ATTACKS as ATTACKS

from medadv.attacks import APGD, FGSM, PGD

LEVELS = {8: 255, 16: 65535}
RADII = sorted(name for name, kind in ATTACKS.items() if kind.budget_field == "eps")


def levels(images, bits, bounds):
    low, high = bounds
    return ((images.double() - low) / (high - low) * LEVELS[bits]).round().long()


@pytest.mark.parametrize("name", RADII)
@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1024.0, 3071.0)])
def test_the_linf_budget_holds_in_grey_levels(lab, name, bits, bounds):
    victim = lab.curved_victim(channels=3, bounds=bounds)
    low, high = bounds
    grid = (lab.images_in((0.0, 1.0), (10, 3, 8, 8)) * LEVELS[bits]).round().double()
    x = (low + grid / LEVELS[bits] * (high - low)).float().clamp(low, high)
    y = lab.answers(victim, x)
    allowed = 5 if bits == 8 else 5 * 257
    attack = ATTACKS[name](eps=allowed / LEVELS[bits])
    result = attack(victim, x, y)
    change = (levels(result.images, bits, bounds) - levels(x, bits, bounds)).abs()
    assert 0 < int(change.max()) <= allowed


@pytest.mark.parametrize("attack", [PGD(0.06), APGD(0.06, steps=20), FGSM(0.1), PGD(1.0, "l2"), PGD(6.0, "l1")])
def test_success_survives_sixteen_bits(lab, attack):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (60, 1, 8, 8))
    y = lab.answers(victim, x)
    result = attack(victim, x, y)
    assert int(result.success.sum()) > 10
    saved = (levels(result.images, 16, (0.0, 1.0)).double() / 65535).float()
    still = lab.answers(victim, saved) != y
    assert float(still[result.success].double().mean()) > 0.95
