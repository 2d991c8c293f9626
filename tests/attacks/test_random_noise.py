import pytest
import torch

from medadv.attacks import Draw, RandomNoise, random_changes
from medadv.perturbations import Additive, SplineBiasField

UNIT = (0.0, 1.0)


@pytest.mark.parametrize("perturbation", [Additive(0.2), Additive(2.0, "l2"), SplineBiasField(1.5)])
def test_the_first_draw_that_breaks_an_image_is_kept(lab, perturbation):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (30, 1, 8, 8))
    y = lab.answers(victim, x)
    ids = torch.arange(30) + 5
    with torch.no_grad():
        logits = victim(x)
    result = random_changes(perturbation, victim, x, y, ids, logits, draws=8, seed=3)
    broken = torch.zeros(30, dtype=torch.bool)
    for number in range(8):
        changed = perturbation.apply(x, perturbation.random(x, Draw(3, ids, 2**32 + number), UNIT), UNIT)
        wrong = lab.answers(victim, changed) != y
        first = wrong & ~broken
        torch.testing.assert_close(result.images[first], changed[first], rtol=0, atol=0)
        assert set(result.step[first].tolist()) <= {number}
        broken |= wrong
    assert torch.equal(result.success, broken)
    assert broken.any()


def test_more_draws_break_more(lab):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (60, 1, 8, 8))
    y = lab.answers(victim, x)
    few, many = (RandomNoise(0.2, draws=draws)(victim, x, y) for draws in (2, 50))
    assert not bool((few.success & many.robust).any())
    assert int(many.success.sum()) > int(few.success.sum())
