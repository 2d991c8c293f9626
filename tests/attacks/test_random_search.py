import pytest
import torch
from torch import nn

from medadv.attacks import RandomNoise, random_changes, random_search
from medadv.models import Victim
from medadv.objectives import Margin
from medadv.perturbations import Additive, Affine, Flow, SplineBiasField, SplineDeformation

UNIT, CT = (0.0, 1.0), (-1024.0, 3071.0)
FAMILIES = [
    Additive(0.05),
    Additive(0.3, "l2"),
    Additive(1.0, "l1"),
    SplineBiasField(1.3, spacing=4),
    SplineDeformation(1.0, spacing=4),
    Flow(0.5),
    Affine(0.5),
]


def search(perturbation, victim, x, y, ids=None, queries=40, seed=0):
    ids = torch.arange(len(x)) if ids is None else ids
    with torch.no_grad():
        return random_search(perturbation, victim, x, y, ids, victim(x), queries=queries, seed=seed)


@pytest.mark.parametrize("perturbation", FAMILIES, ids=repr)
def test_results_do_not_depend_on_batch_size_or_order(lab, perturbation):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (24, 1, 8, 8))
    y = lab.answers(victim, x)
    y[::7] = (y[::7] + 1) % 3
    whole = search(perturbation, victim, x, y, queries=12)
    assert whole.robust.any()
    shuffled = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    for rows in (torch.arange(5), torch.arange(3, 4), shuffled):
        part = search(perturbation, victim, x[rows], y[rows], ids=rows, queries=12)
        for name in ("images", "status", "predictions", "forwards", "step", "distance"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[rows]), name


@pytest.mark.parametrize("perturbation", FAMILIES, ids=repr)
def test_the_margin_never_falls_with_more_queries_of_the_same_search(lab, perturbation):
    """The first query is a random change; whatever comes later is kept only where it is better."""
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (12, 1, 8, 8))
    y = lab.answers(victim, x)
    first, all_of_them = search(perturbation, victim, x, y, queries=1), search(perturbation, victim, x, y, queries=30)
    assert bool((all_of_them.loss >= first.loss).all())
    assert bool((all_of_them.loss > first.loss)[all_of_them.robust].any())
    assert torch.equal(Margin()(victim(all_of_them.images), y), all_of_them.loss)


@pytest.mark.parametrize("perturbation", FAMILIES, ids=repr)
def test_finds_more_than_as_many_independent_draws(lab, perturbation):
    victim = lab.curved_victim()
    x = lab.images_in(UNIT, (40, 1, 8, 8))
    y = lab.answers(victim, x)
    found = search(perturbation, victim, x, y, queries=60)
    with torch.no_grad():
        drawn = random_changes(perturbation, victim, x, y, torch.arange(40), victim(x), draws=60, seed=0)
    both = found.robust & drawn.robust
    assert int(found.success.sum()) >= int(drawn.success.sum())
    assert float(found.loss[both].mean()) > float(drawn.loss[both].mean())


@pytest.mark.parametrize("bounds", [UNIT, CT])
@pytest.mark.parametrize("axes", [2, 3])
def test_keeps_budget_and_bounds(lab, bounds, axes):
    victim = lab.curved_victim(bounds=bounds, axes=axes)
    x = lab.images_in(bounds, (6, 1, *[5, 6, 4][:axes]))
    result = search(Additive(0.1), victim, x, lab.answers(victim, x))
    change = (result.images - x).abs().max()
    assert 0 < float(change) <= 0.1 * (bounds[1] - bounds[0])
    assert bounds[0] <= float(result.images.min()) <= float(result.images.max()) <= bounds[1]


def test_asks_for_no_gradient_and_counts_every_question(lab):
    victim = lab.curved_victim()
    counting = lab.Counting(victim.module).eval()
    counted = Victim(counting, mean=victim.mean, std=victim.std)
    x = lab.images_in(UNIT, (20, 1, 8, 8))
    y = lab.answers(victim, x)
    y[:3] = (y[:3] + 1) % 3
    with torch.no_grad():
        logits = victim(x)
    result = random_search(Additive(0.05), counted, x, y, torch.arange(20), logits, queries=25, seed=0)
    assert int(result.forwards.sum()) == counting.shown
    assert counting.differentiated == 0
    assert result.forwards[:3].tolist() == [0, 0, 0]
    assert set(result.forwards[result.robust].tolist()) == {25}
    assert torch.equal(result.images[:3], x[:3])


def test_several_labels(lab):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    victim = Victim(net, task="multilabel")
    x = lab.images_in(UNIT, (20, 1, 8, 8))
    y = (net(x) > 0).long()
    result = search(Additive(0.3), victim, x, y, queries=60)
    noise = RandomNoise(0.3, draws=60)(victim, x, y)
    assert int(result.success.sum()) > int(noise.success.sum())
    assert torch.equal((net(result.images) > 0).long() != y, (result.predictions != y))
