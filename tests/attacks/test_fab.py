"""The last steps of FAB, which look around the nearest image that a search found."""

from types import SimpleNamespace

import pytest
import torch

from medadv.attacks import FAB, fab


def test_the_last_steps_start_at_the_nearest_image_where_this_search_found_it():
    found = torch.tensor([1.0, 2.0, 3.0, 0.0]).reshape(4, 1, 1, 1).expand(4, 1, 2, 2)
    # Of four images another search found the first nearer, and the last was never found.
    distance = torch.tensor([1.0, 2.0, 3.0, torch.inf], dtype=torch.float64)
    before = torch.tensor([1.0, 5.0, torch.inf, torch.inf], dtype=torch.float64)
    hunt = SimpleNamespace(record=SimpleNamespace(distance=distance, parameters={"noise": found}))
    noise = torch.full((4, 1, 2, 2), 7.0)
    start, beta = fab._back_to_the_nearest(hunt, torch.arange(4), noise, before)
    torch.testing.assert_close(beta, torch.tensor([0.9, 0.98, 0.98, 0.9]))
    torch.testing.assert_close(start[:, 0, 0, 0], torch.tensor([7.0, 0.98 * 2, 0.98 * 3, 7.0]))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("targeted", [False, True])
def test_they_bring_images_nearer(lab, monkeypatch, norm, targeted):
    victim = lab.curved_victim(classes=4)
    x = lab.images_in((0.0, 1.0), (40, 1, 8, 8))
    y = lab.answers(victim, x)
    attack = FAB(norm, targeted=targeted, steps=60)
    with_them = attack(victim, x, y)
    monkeypatch.setattr(fab, "_LAST", 0.0)
    without = attack(victim, x, y)
    assert with_them.success.all()
    ratio = with_them.distance / without.distance
    assert float(ratio.log().mean()) < -1e-5
    assert torch.equal(with_them.forwards, without.forwards)


@pytest.mark.parametrize(("steps", "has_them"), [(1, False), (3, False), (49, False), (50, True)])
def test_a_short_search_has_none(lab, monkeypatch, steps, has_them):
    victim = lab.curved_victim()
    x = lab.images_in((0.0, 1.0), (10, 1, 8, 8))
    y = lab.answers(victim, x)
    result = FAB("l2", steps=steps)(victim, x, y)
    monkeypatch.setattr(fab, "_LAST", 0.0)
    assert torch.equal(result.images, FAB("l2", steps=steps)(victim, x, y).images) == (not has_them)
